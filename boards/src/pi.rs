//! Raspberry Pi GPIO lines through rppal. The only room that names rppal. What hangs on the lines: `wired.rs`.
//!
//! rppal writes an output's level first and makes the pin an output second, so that a relay never sees a glitch. A line that
//! is kept stays an output when it is dropped: given back as an input it would float.
//!
//! Edges are debounced by the kernel, carry its time, and come by a thread for each pin into a queue of that pin. rppal's
//! polling is not for several pins: all share one place to wait, and one edge of each is remembered.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use rppal::gpio::{Bias, Event, Gpio, InputPin, IoPin, Level, Mode, OutputPin, Pin, Trigger};

use crate::wired::{After, Edge, Input, Lines, Output};
use crate::{Level as Wired, Pull};

/// Edges of a pin that wait to be asked for. The loop asks many times a second, and no contact moves this often meanwhile.
const WAITING: usize = 64;

/// The lines of the header, in BCM numbers.
pub(crate) struct PiLines;

impl Lines for PiLines {
    fn output(&self, number: u32, active: Wired, after: After) -> Result<Box<dyn Output>, String> {
        let (pin, on) = (line(number)?, level(active));
        let mut pin = match !on {
            Level::Low => pin.into_output_low(),
            Level::High => pin.into_output_high(),
        };
        pin.set_reset_on_drop(after == After::Free);
        Ok(Box::new(PiOutput { pin, on }))
    }

    fn drain(&self, number: u32) -> Result<Box<dyn Output>, String> {
        let mut pin = line(number)?.into_io(Mode::Input);
        pin.set_bias(Bias::Off);
        Ok(Box::new(PiDrain(pin)))
    }

    fn input(
        &self,
        number: u32,
        active: Wired,
        pull: Pull,
        debounce: Option<Duration>,
    ) -> Result<Box<dyn Input>, String> {
        let pin = line(number)?;
        let pin = match pull {
            Pull::Up => pin.into_input_pullup(),
            Pull::Down => pin.into_input_pulldown(),
            Pull::Off => pin.into_input(),
        };
        let on = level(active);
        let mut input = PiInput {
            pin,
            on,
            edges: None,
        };
        if let Some(debounce) = debounce {
            input.listen((!debounce.is_zero()).then_some(debounce))?;
        }
        Ok(Box::new(input))
    }
}

/// An unclaimed line, or why not. rppal numbers lines as the BCM chips do, in one byte.
fn line(line: u32) -> Result<Pin, String> {
    let number = u8::try_from(line).map_err(|_| "no such line on a Raspberry Pi".to_string())?;
    Gpio::new()
        .and_then(|gpio| gpio.get(number))
        .map_err(|e| e.to_string())
}

fn level(wired: Wired) -> Level {
    match wired {
        Wired::High => Level::High,
        Wired::Low => Level::Low,
    }
}

struct PiOutput {
    pin: OutputPin,
    on: Level,
}

impl Output for PiOutput {
    fn set(&mut self, on: bool) -> Result<(), String> {
        // Register writes report nothing; what the pin reads is the only answer.
        self.pin.write(if on { self.on } else { !self.on });
        Ok(())
    }

    fn is_on(&mut self) -> Result<bool, String> {
        let level = match self.pin.is_set_high() {
            true => Level::High,
            false => Level::Low,
        };
        Ok(level == self.on)
    }
}

/// An output while it is pulled low, an input while it floats: these chips have no open drain.
struct PiDrain(IoPin);

impl Output for PiDrain {
    fn set(&mut self, on: bool) -> Result<(), String> {
        // The level first, the direction second: it is never driven high.
        self.0.set_low();
        self.0.set_mode(if on { Mode::Output } else { Mode::Input });
        Ok(())
    }

    fn is_on(&mut self) -> Result<bool, String> {
        Ok(self.0.is_low())
    }
}

struct PiInput {
    pin: InputPin,
    on: Level,
    /// None for a line that is only read.
    edges: Option<Edges>,
}

/// What the pin's thread tells.
struct Edges {
    told: Receiver<Edge>,
    debounce: Option<Duration>,
}

impl PiInput {
    fn listen(&mut self, debounce: Option<Duration>) -> Result<(), String> {
        // The thread claims the line by itself and keeps a refusal to itself. Claimed here first, it is told now.
        self.pin
            .set_interrupt(Trigger::Both, debounce)
            .map_err(|e| e.to_string())?;
        let (tell, told) = sync_channel(WAITING);
        let (mut queue, on) = (Queue::new(tell), self.on);
        self.pin
            .set_async_interrupt(Trigger::Both, debounce, move |event| {
                queue.put(edge(event, on))
            })
            .map_err(|e| e.to_string())?;
        self.edges = Some(Edges { told, debounce });
        Ok(())
    }
}

fn edge(event: Event, on: Level) -> Edge {
    let level = match event.trigger {
        Trigger::RisingEdge => Level::High,
        Trigger::FallingEdge | Trigger::Disabled | Trigger::Both => Level::Low,
    };
    Edge {
        active: level == on,
        at: event.timestamp,
    }
}

/// The writing end of a pin's edges, bounded.
///
/// When it is full, newer edges are dropped until there is room and one of the kind comes that was kept last. Two of a kind
/// in a row tell the reader that some are missing; otherwise the "down" of one press and the "up" of a later one would make
/// one press of them, long enough to enroll somebody.
struct Queue {
    tell: SyncSender<Edge>,
    last: Option<bool>,
    lost: bool,
}

impl Queue {
    fn new(tell: SyncSender<Edge>) -> Queue {
        Queue {
            tell,
            last: None,
            lost: false,
        }
    }

    fn put(&mut self, edge: Edge) {
        if self.lost && self.last != Some(edge.active) {
            return;
        }
        self.lost = self.tell.try_send(edge).is_err();
        if !self.lost {
            self.last = Some(edge.active);
        }
    }
}

impl Input for PiInput {
    fn edge(&mut self) -> Result<Option<Edge>, String> {
        let Some(edges) = &self.edges else {
            return Ok(None);
        };
        match edges.told.try_recv() {
            Ok(edge) => Ok(Some(edge)),
            Err(TryRecvError::Empty) => Ok(None),
            // The thread has ended, as after a stop and a continue of the process: told once, then listened to anew.
            Err(TryRecvError::Disconnected) => {
                let debounce = edges.debounce;
                let why = self.pin.clear_async_interrupt();
                self.listen(debounce)?;
                Err(why.map_or_else(|e| e.to_string(), |()| "its thread has ended".to_string()))
            }
        }
    }

    fn is_active(&mut self) -> Result<bool, String> {
        Ok(self.pin.read() == self.on)
    }
}

impl Drop for PiInput {
    fn drop(&mut self) {
        // Before rppal takes the pin for free: until its thread has ended, the kernel has the line as held.
        let _ = self.pin.clear_async_interrupt();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(n: u64) -> Edge {
        Edge {
            active: n % 2 == 1,
            at: Duration::from_millis(n),
        }
    }

    #[test]
    fn a_full_queue_keeps_the_oldest_and_shows_where_edges_are_missing() {
        for lost in 0..4 {
            let (tell, told) = sync_channel(WAITING);
            let mut queue = Queue::new(tell);
            let full = WAITING as u64;
            (1..=full + lost).for_each(|n| queue.put(edge(n)));
            let kept: Vec<Edge> = told.try_iter().collect();
            assert_eq!(kept, (1..=full).map(edge).collect::<Vec<Edge>>());

            (full + lost + 1..full + lost + 7).for_each(|n| queue.put(edge(n)));
            let later: Vec<Edge> = told.try_iter().collect();
            let (last, first) = (kept[WAITING - 1], later[0]);
            assert_eq!(last.active == first.active, lost > 0, "{lost} lost");
            let mut pairs = later.windows(2);
            assert!(pairs.all(|two| two[0].active != two[1].active), "{later:?}");
        }
    }
}
