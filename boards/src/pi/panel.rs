//! Lights, buzzer, button and contacts of a Raspberry Pi door. What patterns look like, what a press is and when a contact
//! has changed: `lights.rs`, `presses.rs`, `settle.rs`.

use std::time::{Duration, Instant};

use rppal::gpio::{InputPin, Level, OutputPin, Trigger};

use super::{input, level, line};
use crate::lights::{Light, buzzer, lights};
use crate::presses::Presses;
use crate::settle::Settle;
use crate::{
    Button, ButtonFacts, Buzzer, BuzzerFacts, Contact, ContactFacts, DoorSensor, Error, Indicator,
    IndicatorFacts, InputFacts, Pattern, Press, Sound,
};

fn failed(what: &'static str, line: u32, problem: impl ToString) -> Error {
    Error::PanelFailed {
        what,
        line,
        problem: problem.to_string(),
    }
}

pub(crate) struct PiIndicator {
    facts: IndicatorFacts,
    green: OutputPin,
    red: OutputPin,
    shown: Option<Pattern>,
}

impl PiIndicator {
    pub(crate) fn open(facts: IndicatorFacts) -> Result<PiIndicator, Error> {
        let dark = |number| off("indicator", number, level(facts.active));
        Ok(PiIndicator {
            facts,
            green: dark(facts.green_line)?,
            red: dark(facts.red_line)?,
            shown: None,
        })
    }
}

/// An output that is off. Reset on drop stays on: a daemon that has gone shows no light and is silent.
fn off(what: &'static str, number: u32, active: Level) -> Result<OutputPin, Error> {
    let pin = line(number).map_err(|e| failed(what, number, e))?;
    Ok(match !active {
        Level::Low => pin.into_output_low(),
        Level::High => pin.into_output_high(),
    })
}

impl Indicator for PiIndicator {
    fn show(&mut self, pattern: Pattern) -> Result<(), Error> {
        if self.shown == Some(pattern) {
            return Ok(());
        }
        let (green, red) = lights(pattern);
        let active = level(self.facts.active);
        for (pin, light, number) in [
            (&mut self.green, green, self.facts.green_line),
            (&mut self.red, red, self.facts.red_line),
        ] {
            apply(pin, light, active).map_err(|e| failed("indicator", number, e))?;
        }
        self.shown = Some(pattern);
        Ok(())
    }
}

fn apply(pin: &mut OutputPin, light: Light, active: Level) -> rppal::gpio::Result<()> {
    pin.clear_pwm()?;
    match light {
        Light::Off => pin.write(!active),
        Light::On => pin.write(active),
        // Half and half: the same picture for either polarity.
        Light::Blink(period) => pin.set_pwm(period, period / 2)?,
    }
    Ok(())
}

pub(crate) struct PiBuzzer {
    facts: BuzzerFacts,
    pin: OutputPin,
    heard: Sound,
}

impl PiBuzzer {
    pub(crate) fn open(facts: BuzzerFacts) -> Result<PiBuzzer, Error> {
        Ok(PiBuzzer {
            facts,
            pin: off("buzzer", facts.line, level(facts.active))?,
            heard: Sound::Silent,
        })
    }
}

impl Buzzer for PiBuzzer {
    fn sound(&mut self, sound: Sound) -> Result<(), Error> {
        if self.heard == sound {
            return Ok(());
        }
        apply(&mut self.pin, buzzer(sound), level(self.facts.active))
            .map_err(|e| failed("buzzer", self.facts.line, e))?;
        self.heard = sound;
        Ok(())
    }
}

pub(crate) struct PiButton {
    facts: ButtonFacts,
    pin: InputPin,
    presses: Presses,
}

impl PiButton {
    pub(crate) fn open(facts: ButtonFacts) -> Result<PiButton, Error> {
        let mut pin = input(facts.line, facts.pull).map_err(|e| failed("button", facts.line, e))?;
        let debounce = Duration::from_millis(u64::from(facts.debounce_ms));
        pin.set_interrupt(Trigger::Both, Some(debounce))
            .map_err(|e| failed("button", facts.line, e))?;
        Ok(PiButton {
            facts,
            pin,
            presses: Presses::default(),
        })
    }
}

impl Button for PiButton {
    fn pressed(&mut self) -> Result<Option<Press>, Error> {
        let down = match level(self.facts.active) {
            Level::High => Trigger::RisingEdge,
            Level::Low => Trigger::FallingEdge,
        };
        loop {
            let event = self
                .pin
                .poll_interrupt(false, Some(Duration::ZERO))
                .map_err(|e| failed("button", self.facts.line, e))?;
            let Some(event) = event else { return Ok(None) };
            if let Some(press) = self.presses.edge(event.trigger == down, event.timestamp) {
                return Ok(Some(press));
            }
        }
    }
}

pub(crate) struct PiDoorSensor {
    facts: ContactFacts,
    pin: InputPin,
    began: Instant,
    settle: Settle,
    is_open: bool,
}

impl PiDoorSensor {
    pub(crate) fn open(facts: ContactFacts) -> Result<PiDoorSensor, Error> {
        let pin =
            input(facts.line, facts.pull).map_err(|e| failed("door sensor", facts.line, e))?;
        Ok(PiDoorSensor {
            facts,
            pin,
            began: Instant::now(),
            settle: Settle::new(Duration::from_millis(u64::from(facts.debounce_ms))),
            is_open: true,
        })
    }
}

impl DoorSensor for PiDoorSensor {
    fn is_open(&mut self) -> Result<bool, Error> {
        let open = self.pin.read() == level(self.facts.open);
        if let Some(open) = self.settle.level(open, self.began.elapsed()) {
            self.is_open = open;
        }
        Ok(self.is_open)
    }
}

pub(crate) struct PiContact {
    what: &'static str,
    facts: InputFacts,
    pin: InputPin,
    began: Instant,
    settle: Settle,
}

impl PiContact {
    pub(crate) fn open(what: &'static str, facts: InputFacts) -> Result<PiContact, Error> {
        let unusable = |e: String| failed(what, facts.line, e);
        let mut pin = input(facts.line, facts.pull).map_err(unusable)?;
        let debounce = Duration::from_millis(u64::from(facts.debounce_ms));
        pin.set_interrupt(Trigger::Both, Some(debounce))
            .map_err(|e| unusable(e.to_string()))?;
        Ok(PiContact {
            what,
            facts,
            pin,
            began: Instant::now(),
            settle: Settle::new(debounce),
        })
    }
}

impl Contact for PiContact {
    fn change(&mut self) -> Result<Option<bool>, Error> {
        let active = level(self.facts.active);
        let on = match active {
            Level::High => Trigger::RisingEdge,
            Level::Low => Trigger::FallingEdge,
        };
        loop {
            let edge = self
                .pin
                .poll_interrupt(false, Some(Duration::ZERO))
                .map_err(|e| failed(self.what, self.facts.line, e))?;
            let Some(edge) = edge else { break };
            if let Some(change) = self.settle.edge(edge.trigger == on) {
                return Ok(Some(change));
            }
        }
        let now = self.began.elapsed();
        Ok(self.settle.level(self.pin.read() == active, now))
    }
}
