//! The relay of a Raspberry Pi door.
//!
//! The line is claimed with its resting level: rppal writes the level first and makes the pin an output second, so the
//! coil never sees a glitch. When the relay is dropped the line stays an output at rest: given back as an input it would
//! float, and a floating relay board may pull in. A killed process leaves the line as it was; the daemon's supervisor
//! starts it again, which puts it at rest.

use rppal::gpio::{Level, OutputPin};

use super::{level, line};
use crate::{Error, Latch, Relay, RelayFacts};

pub(crate) struct PiRelay {
    facts: RelayFacts,
    pin: OutputPin,
    latch: Latch,
}

impl PiRelay {
    pub(crate) fn open(facts: RelayFacts) -> Result<PiRelay, Error> {
        let pin = line(facts.line).map_err(|problem| Error::RelayUnusable {
            line: facts.line,
            problem,
        })?;
        let mut pin = match !level(facts.active) {
            Level::Low => pin.into_output_low(),
            Level::High => pin.into_output_high(),
        };
        pin.set_reset_on_drop(false);
        Ok(PiRelay {
            facts,
            pin,
            latch: facts.safe,
        })
    }

    fn level_for(&self, latch: Latch) -> Level {
        let on = level(self.facts.active);
        if latch.energised(self.facts.safe) {
            on
        } else {
            !on
        }
    }

    fn rest(&mut self) {
        self.latch = self.facts.safe;
        self.pin.write(self.level_for(self.facts.safe));
    }
}

impl Relay for PiRelay {
    fn set(&mut self, latch: Latch) -> Result<(), Error> {
        let level = self.level_for(latch);
        self.pin.write(level);
        // Register writes report nothing; what the pin reads is the only answer (a shorted line shows here).
        let follows = match level {
            Level::High => self.pin.is_set_high(),
            Level::Low => self.pin.is_set_low(),
        };
        if !follows {
            self.rest();
            return Err(Error::RelayFailed {
                line: self.facts.line,
                problem: format!("the line does not follow to {level}"),
            });
        }
        self.latch = latch;
        Ok(())
    }

    fn latch(&self) -> Latch {
        self.latch
    }

    fn safe(&self) -> Latch {
        self.facts.safe
    }
}

impl Drop for PiRelay {
    fn drop(&mut self) {
        self.rest();
    }
}
