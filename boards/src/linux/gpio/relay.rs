//! The relay on a line of a GPIO character device.
//!
//! The line is claimed at rest: one request sets direction and value. Dropping the relay puts it at rest and gives the line
//! back, and so does the kernel, without the rest, for a process that was killed: what a free line does is the controller's
//! affair (most keep their level), so a pull resistor has to say what rest is.

use std::path::Path;

use gpiocdev::{Request, line::Value};

use super::output;
use crate::{Error, Latch, Level, Relay, RelayFacts};

pub(crate) struct LineRelay {
    facts: RelayFacts,
    line: Request,
    latch: Latch,
}

impl LineRelay {
    pub(crate) fn open(chip: &Path, facts: RelayFacts) -> Result<LineRelay, Error> {
        let line =
            output(chip, facts.line, facts.active).map_err(|problem| Error::RelayUnusable {
                line: facts.line,
                problem,
            })?;
        // Nobody reads this file beside a door that was wired without the resistor.
        log::info!(
            "relay on line {}: at rest. If this process is killed the kernel frees the line, and only a resistor to the \
             resting level ({}) keeps the latch {} until the next start",
            facts.line,
            match facts.active {
                Level::High => "ground",
                Level::Low => "the supply",
            },
            facts.safe,
        );
        Ok(LineRelay {
            facts,
            line,
            latch: facts.safe,
        })
    }

    /// The line at the level for `latch`, and what it reads afterwards.
    fn write(&self, latch: Latch) -> Result<(), String> {
        let value = match latch.energised(self.facts.safe) {
            true => Value::Active,
            false => Value::Inactive,
        };
        self.line.set_lone_value(value).map_err(|e| e.to_string())?;
        match self.line.lone_value().map_err(|e| e.to_string())? {
            read if read == value => Ok(()),
            read => Err(format!(
                "the line does not follow to {value}: it reads {read}"
            )),
        }
    }

    fn rest(&mut self) -> Result<(), String> {
        self.latch = self.facts.safe;
        self.write(self.facts.safe)
    }
}

impl Relay for LineRelay {
    fn set(&mut self, latch: Latch) -> Result<(), Error> {
        if let Err(problem) = self.write(latch) {
            // What failed is told; that resting failed too would say no more.
            let _ = self.rest();
            return Err(Error::RelayFailed {
                line: self.facts.line,
                problem,
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

impl Drop for LineRelay {
    fn drop(&mut self) {
        if let Err(problem) = self.rest() {
            log::error!("relay on line {}: {problem}", self.facts.line);
        }
    }
}
