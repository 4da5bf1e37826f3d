//! Raspberry Pi GPIO lines through rppal. The only room that names rppal. What hangs on the lines: `wired.rs`.
//!
//! rppal writes an output's level first and makes the pin an output second, so that a relay never sees a glitch. A line that
//! is kept stays an output when it is dropped: given back as an input it would float.

use std::time::Duration;

use rppal::gpio::{Bias, Gpio, InputPin, IoPin, Level, Mode, OutputPin, Pin, Trigger};

use crate::wired::{After, Edge, Input, Lines, Output};
use crate::{Level as Wired, Pull};

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
        let mut pin = match pull {
            Pull::Up => pin.into_input_pullup(),
            Pull::Down => pin.into_input_pulldown(),
            Pull::Off => pin.into_input(),
        };
        if let Some(debounce) = debounce {
            let debounce = (!debounce.is_zero()).then_some(debounce);
            pin.set_interrupt(Trigger::Both, debounce)
                .map_err(|e| e.to_string())?;
        }
        let on = level(active);
        Ok(Box::new(PiInput { pin, on }))
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
}

impl Input for PiInput {
    fn edge(&mut self) -> Result<Option<Edge>, String> {
        let event = self
            .pin
            .poll_interrupt(false, Some(Duration::ZERO))
            .map_err(|e| e.to_string())?;
        let rises = |trigger| match trigger {
            Trigger::RisingEdge => Level::High,
            Trigger::FallingEdge | Trigger::Disabled | Trigger::Both => Level::Low,
        };
        Ok(event.map(|event| Edge {
            active: rises(event.trigger) == self.on,
            at: event.timestamp,
        }))
    }

    fn is_active(&mut self) -> Result<bool, String> {
        Ok(self.pin.read() == self.on)
    }
}
