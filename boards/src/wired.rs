//! Relay, lights, buzzer, button, contacts and keypad on GPIO lines, whoever drives the lines: `pi.rs` or `linux/gpio.rs`.
//!
//! A driver implements [`Lines`] and knows levels; everything above it speaks of on and off, as the board file means them.
//! The tests run on lines that are made up (`fake`), so what they prove holds for every driver that keeps the contract below.

mod blink;
#[cfg(test)]
pub(crate) mod fake;
mod keypad;
mod lights;
mod panel;
mod presses;
mod relay;
mod settle;

use std::time::Duration;

use crate::{BoardFile, Error, Level, Panel, Pull, Relay};

/// What hands out lines.
pub(crate) trait Lines {
    /// A line as an output that is off from its first moment on: its level is set before, or together with, its direction.
    fn output(&self, line: u32, active: Level, after: After) -> Result<Box<dyn Output>, String>;

    /// A line that is pulled low while it is on, and floats while it is off and from its first moment on: whatever else is
    /// connected to it, two such lines never drive against each other. Free when it is dropped.
    fn drain(&self, line: u32) -> Result<Box<dyn Output>, String>;

    /// A line as an input. With `debounce`, its edges are kept until they are asked for, those shorter than that left out;
    /// without, it has none, and can only be read.
    fn input(
        &self,
        line: u32,
        active: Level,
        pull: Pull,
        debounce: Option<Duration>,
    ) -> Result<Box<dyn Input>, String>;
}

/// What becomes of an output that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It stays as it is, where the driver can: a free line may float, and a floating relay board may pull in.
    Kept,
    /// It is given back.
    Free,
}

/// An output line.
pub(crate) trait Output: Send {
    fn set(&mut self, on: bool) -> Result<(), String>;

    /// What the line reads.
    fn is_on(&mut self) -> Result<bool, String>;
}

/// An input line.
pub(crate) trait Input: Send {
    /// The oldest edge not told yet, without waiting.
    fn edge(&mut self) -> Result<Option<Edge>, String>;

    /// Whether the line is at its active level now.
    fn is_active(&mut self) -> Result<bool, String>;
}

/// One debounced edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// What the line is from then on.
    pub(crate) active: bool,
    /// On any clock that does not jump: only differences count.
    pub(crate) at: Duration,
}

/// Claims what the board file names, relay first: whatever fails later, the latch is already safe.
pub(crate) fn open(file: &BoardFile, lines: &dyn Lines) -> Result<(Box<dyn Relay>, Panel), Error> {
    use panel::{WiredButton, WiredBuzzer, WiredContact, WiredDoorSensor, WiredIndicator};

    /// Opens one part if the board file names it.
    macro_rules! part {
        ($facts:expr, $open:expr) => {
            match $facts {
                Some(facts) => Some(Box::new($open(facts)?) as _),
                None => None,
            }
        };
    }
    let relay = relay(file, lines)?;
    let contact = |what| move |facts| WiredContact::open(lines, what, facts);
    let exit = file.request_to_exit.map(|exit| exit.contact());
    let panel = Panel {
        indicator: part!(file.indicator, |facts| WiredIndicator::open(lines, facts)),
        buzzer: part!(file.buzzer, |facts| WiredBuzzer::open(lines, facts)),
        button: part!(file.button, |facts| WiredButton::open(lines, facts)),
        door_sensor: part!(file.door_sensor, |facts| WiredDoorSensor::open(
            lines, facts
        )),
        request_to_exit: part!(exit, contact("request to exit")),
        tamper: part!(file.tamper, contact("tamper contact")),
        fire: part!(file.fire, contact("fire input")),
        keypad: match &file.keypad {
            Some(facts) => Some(keypad::open(lines, facts)?),
            None => None,
        },
    };
    Ok((relay, panel))
}

/// Claims the relay alone.
pub(crate) fn relay(file: &BoardFile, lines: &dyn Lines) -> Result<Box<dyn Relay>, Error> {
    Ok(Box::new(relay::WiredRelay::open(lines, file.relay)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relay_is_claimed_first_and_rests_whatever_fails_later() {
        let file = BoardFile::named("sim").expect("built in");
        let chip = fake::Chip::default();
        let (relay, panel) = open(&file, &chip).expect("all free");
        assert_eq!(relay.latch(), relay.safe());
        assert!(panel.fire.is_some() && panel.buzzer.is_some() && panel.keypad.is_some());
        drop((relay, panel));

        let fire = file.fire.expect("wired").line;
        let _held = chip.input(fire, Level::High, Pull::Up, None);
        let failed = open(&file, &chip).err().expect("one line is held");
        assert!(failed.to_string().contains("fire input"), "{failed}");
        assert!(!chip.history(file.relay.line).contains(&file.relay.active));
        assert_eq!(chip.kept(), [file.relay.line]);
    }
}
