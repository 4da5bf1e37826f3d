//! The hardware watchdog: a timer beside the processor that resets the board unless it is fed.
//!
//! The kernel shows it as a file (`/dev/watchdog`): opening it starts the timer, every write starts it again, and writing a
//! `V` before closing stops it (the "magic close"; kernels built with `nowayout` ignore it). Without the `V`, a process that
//! dies leaves the timer running, and the board resets, which puts the relay's line back to what the wiring says. The
//! time-out stays as the driver has it. Plain file calls only, so that a test can give a plain file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Deserialize;

use crate::Error;

/// Where the hardware watchdog is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchdogFacts {
    /// Device node. One process at a time may hold it: not together with systemd's `RuntimeWatchdogSec`, which
    /// Raspberry Pi OS switches on.
    pub device: PathBuf,
}

/// A running timer. Dropping it without [`Watchdog::stop`] leaves it running.
#[derive(Debug)]
pub struct Watchdog {
    device: PathBuf,
    file: File,
}

impl Watchdog {
    /// Starts the timer.
    ///
    /// # Errors
    ///
    /// [`Error::WatchdogFailed`]: there is none, or another process holds it.
    pub fn open(facts: &WatchdogFacts) -> Result<Watchdog, Error> {
        let device = facts.device.clone();
        match OpenOptions::new().write(true).open(&device) {
            Ok(file) => Ok(Watchdog { device, file }),
            Err(problem) => Err(failed(device, &problem)),
        }
    }

    /// Starts the timer again.
    ///
    /// # Errors
    ///
    /// [`Error::WatchdogFailed`]; the board will reset unless a later call works.
    pub fn feed(&mut self) -> Result<(), Error> {
        self.write(b".")
    }

    /// Stops the timer, for an orderly end.
    ///
    /// # Errors
    ///
    /// [`Error::WatchdogFailed`]; the board will reset.
    pub fn stop(mut self) -> Result<(), Error> {
        self.write(b"V")
    }

    fn write(&mut self, byte: &[u8; 1]) -> Result<(), Error> {
        self.file
            .write_all(byte)
            .map_err(|problem| failed(self.device.clone(), &problem))
    }
}

fn failed(device: PathBuf, problem: &io::Error) -> Error {
    Error::WatchdogFailed {
        device,
        problem: problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_orderly_end_stops_the_timer() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let device = dir.path().join("watchdog");
        let facts = WatchdogFacts {
            device: device.clone(),
        };
        let missing = Watchdog::open(&facts).expect_err("no such file");
        assert!(missing.to_string().contains("watchdog"), "{missing}");
        assert!(!device.exists(), "a device is never made");

        File::create(&device).expect("a new file");
        let mut died = Watchdog::open(&facts).expect("a file");
        died.feed().expect("a byte");
        died.feed().expect("a byte");
        drop(died);
        assert_eq!(std::fs::read(&device).expect("a file"), b"..");

        File::create(&device).expect("an empty file");
        let mut stopped = Watchdog::open(&facts).expect("a file");
        stopped.feed().expect("a byte");
        stopped.stop().expect("a byte");
        assert_eq!(std::fs::read(&device).expect("a file"), b".V");
    }
}
