//! Lights, button and door contact of a Raspberry Pi door. What patterns look like and what a press is: `lights.rs`,
//! `presses.rs`.

use std::time::Duration;

use rppal::gpio::{InputPin, Level, OutputPin, Trigger};

use super::{input, level, line};
use crate::lights::{Light, lights};
use crate::presses::Presses;
use crate::{
    Button, ButtonFacts, ContactFacts, DoorSensor, Error, Indicator, IndicatorFacts, Pattern, Press,
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
        let dark = |number: u32| {
            let pin = line(number).map_err(|e| failed("indicator", number, e))?;
            // Reset on drop stays on: a daemon that has gone shows no light.
            Ok::<OutputPin, Error>(match !level(facts.active) {
                Level::Low => pin.into_output_low(),
                Level::High => pin.into_output_high(),
            })
        };
        Ok(PiIndicator {
            facts,
            green: dark(facts.green_line)?,
            red: dark(facts.red_line)?,
            shown: None,
        })
    }
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
}

impl PiDoorSensor {
    pub(crate) fn open(facts: ContactFacts) -> Result<PiDoorSensor, Error> {
        let pin =
            input(facts.line, facts.pull).map_err(|e| failed("door sensor", facts.line, e))?;
        Ok(PiDoorSensor { facts, pin })
    }
}

impl DoorSensor for PiDoorSensor {
    fn is_open(&mut self) -> Result<bool, Error> {
        Ok(self.pin.read() == level(self.facts.open))
    }
}
