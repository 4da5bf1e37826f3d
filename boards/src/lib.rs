//! Boards a Facelatch door runs on: facts in TOML, code behind small traits.
//!
//! The daemon sees only the traits ([`Camera`], [`Relay`], [`Indicator`], [`Buzzer`], [`Button`], [`DoorSensor`],
//! [`Contact`], [`Keypad`], [`Clock`]), [`open`], and the hardware [`Watchdog`]. This crate imports nothing of ours, knows
//! no face and takes no decision: it says what the hardware is and
//! moves it. The simulated board in [`sim`] is product code: the demo and every test run on it.
#![forbid(unsafe_code)]

mod camera;
mod clock;
mod error;
mod file;
mod keypad;
mod nearest;
mod open;
mod panel;
mod relay;
mod replay;
mod watchdog;

// Built for tests even where no driver is.
#[cfg(any(test, feature = "pi", feature = "gpio"))]
mod wired;

pub mod check;
pub mod pixels;
pub mod sim;

#[cfg(any(feature = "v4l", feature = "gpio"))]
mod linux;
#[cfg(feature = "pi")]
mod pi;

pub use camera::facts::{CameraFacts, Output, ProgramFacts, Rotation, V4lFacts};
pub use camera::{Camera, Capture, Frame};
pub use clock::{Clock, SystemClock};
pub use error::Error;
pub use file::{
    BUILT_IN, BoardFile, ButtonFacts, BuzzerFacts, ContactFacts, DoorFacts, ExitFacts, GpioFacts,
    HostSerialFacts, IndicatorFacts, InputFacts, Level, Pull, RelayDriver, RelayFacts,
};
pub use keypad::{Key, Keypad, KeypadFacts, MatrixFacts, SerialFacts};
pub use nearest::nearest;
pub use open::{Board, Panel, open, open_relay};
pub use panel::{Button, Buzzer, Contact, DoorSensor, Indicator, Pattern, Press, Sound};
pub use relay::{Latch, Relay};
pub use replay::{AtEnd, Gap, ReplayFacts};
pub use watchdog::{Watchdog, WatchdogFacts};
