//! The relay on a GPIO line.
//!
//! Claimed at rest, moved, read back, and put at rest when a move fails and when it is dropped. A process that was killed
//! leaves the line to its driver: what is free or kept then does what the wiring says, so a pull resistor has to say rest.

use super::{After, Lines, Output};
use crate::{Error, Latch, Level, Relay, RelayFacts};

pub(super) struct WiredRelay {
    facts: RelayFacts,
    line: Box<dyn Output>,
    latch: Latch,
}

impl WiredRelay {
    pub(super) fn open(lines: &dyn Lines, facts: RelayFacts) -> Result<WiredRelay, Error> {
        let line = lines.output(facts.line, facts.active, After::Kept);
        let line = line.map_err(|problem| Error::RelayUnusable {
            line: facts.line,
            problem,
        })?;
        log::info!("relay on line {}: at rest; {}", facts.line, wanted(facts));
        Ok(WiredRelay {
            line,
            facts,
            latch: facts.safe,
        })
    }

    /// The line as `latch` needs it, and what it reads afterwards: a shorted line shows here.
    fn write(&mut self, latch: Latch) -> Result<(), String> {
        let on = latch.energised(self.facts.safe);
        self.line.set(on)?;
        match self.line.is_on()? {
            read if read == on => Ok(()),
            true => Err("the line does not follow to off: it reads on".to_string()),
            false => Err("the line does not follow to on: it reads off".to_string()),
        }
    }

    fn rest(&mut self) -> Result<(), String> {
        self.latch = self.facts.safe;
        self.write(self.facts.safe)
    }
}

/// What no program can promise.
fn wanted(facts: RelayFacts) -> String {
    let rest = match facts.active {
        Level::High => "ground",
        Level::Low => "the supply",
    };
    format!(
        "while no program holds it, after a kill until the next start, only a resistor to {rest} keeps the latch {}",
        facts.safe
    )
}

impl Relay for WiredRelay {
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

impl Drop for WiredRelay {
    fn drop(&mut self) {
        if let Err(problem) = self.rest() {
            log::error!("relay on line {}: {problem}", self.facts.line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Chip;
    use super::*;
    use crate::{RelayDriver, relay::contract};

    const LINE: u32 = 17;

    fn facts(active: Level, safe: Latch) -> RelayFacts {
        RelayFacts {
            driver: RelayDriver::Gpiochip,
            line: LINE,
            active,
            safe,
        }
    }

    #[test]
    fn the_contract_holds_for_every_wiring() {
        for active in [Level::High, Level::Low] {
            for safe in [Latch::Locked, Latch::Unlocked] {
                let chip = Chip::default();
                let mut relay = WiredRelay::open(&chip, facts(active, safe)).expect("free");
                let coil = || chip.level(LINE) == active;
                contract::holds(&mut relay, &coil);
                relay.set(safe.opposite()).expect("healthy");
                assert!(coil());
                drop(relay);
                assert!(!coil(), "at rest when dropped: {active:?} at rest {safe}");
                // Off, never on, until the first command; and at rest the line is kept.
                let first = chip.history(LINE)[0];
                assert_ne!(first, active);
                assert_eq!(chip.kept(), [LINE]);
            }
        }
    }

    #[test]
    fn a_line_that_does_not_follow_is_an_error_and_a_held_one_cannot_be_claimed() {
        let chip = Chip::default();
        let mut relay = WiredRelay::open(&chip, facts(Level::High, Latch::Locked)).expect("free");
        let held = WiredRelay::open(&chip, facts(Level::High, Latch::Locked));
        let held = held.err().expect("one holder").to_string();
        assert!(held.contains("line 17"), "{held}");

        chip.short(LINE, Level::Low);
        let failed = relay.set(Latch::Unlocked).expect_err("shorted").to_string();
        assert!(failed.contains("does not follow to on"), "{failed}");
        assert_eq!(relay.latch(), Latch::Locked);
        assert_eq!(chip.history(LINE).last(), Some(&Level::Low), "put at rest");
        chip.short(LINE, Level::High);
        assert!(relay.set(Latch::Locked).is_err());
    }
}
