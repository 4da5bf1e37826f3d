//! Raspberry Pi GPIO through rppal: relay, lights, buzzer, button, contacts, keypad. The only room that names rppal.

mod keypad;
mod panel;
mod relay;

pub(crate) use keypad::open as keypad;
pub(crate) use panel::{PiButton, PiBuzzer, PiContact, PiDoorSensor, PiIndicator};
pub(crate) use relay::PiRelay;

use rppal::gpio::{Gpio, InputPin, Level, Pin};

use crate::{Level as Wired, Pull};

/// An unclaimed line, or why not. rppal numbers lines as the BCM chips do, in one byte.
fn line(line: u32) -> Result<Pin, String> {
    let number = u8::try_from(line).map_err(|_| "no such line on a Raspberry Pi".to_string())?;
    Gpio::new()
        .and_then(|gpio| gpio.get(number))
        .map_err(|e| e.to_string())
}

fn input(number: u32, pull: Pull) -> Result<InputPin, String> {
    let pin = line(number)?;
    Ok(match pull {
        Pull::Up => pin.into_input_pullup(),
        Pull::Down => pin.into_input_pulldown(),
        Pull::Off => pin.into_input(),
    })
}

fn level(wired: Wired) -> Level {
    match wired {
        Wired::High => Level::High,
        Wired::Low => Level::Low,
    }
}
