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

#[cfg(test)]
mod tests {
    //! On a Raspberry Pi, or an emulated one: `tests/board_raspi3b` runs these there, and looks at the line meanwhile.

    use std::io::stdin;
    use std::process::Command;

    use super::*;
    use crate::relay::contract;

    const FACTS: RelayFacts = RelayFacts {
        driver: crate::RelayDriver::Rppal,
        line: 17,
        active: crate::Level::High,
        safe: Latch::Locked,
    };

    /// Whether the line is high in GPLEV0 of the BCM2837, as another process reads it.
    fn high() -> bool {
        let read = Command::new("devmem").arg("0x3f200034").output();
        let read = String::from_utf8(read.expect("busybox has devmem").stdout).expect("a number");
        let levels = read.trim().trim_start_matches("0x");
        let levels = u32::from_str_radix(levels, 16).expect("a number");
        levels >> FACTS.line & 1 == 1
    }

    #[test]
    #[ignore = "takes a Raspberry Pi: tests/board_raspi3b/run.sh"]
    fn rests_from_start_to_end() {
        let relay = PiRelay::open(FACTS).expect("a Raspberry Pi");
        assert!(!high());
        drop(relay);
        assert!(!high());
    }

    #[test]
    #[ignore = "takes a Raspberry Pi: tests/board_raspi3b/run.sh"]
    fn keeps_the_contract() {
        for (active, safe) in [
            (crate::Level::High, Latch::Locked),
            (crate::Level::High, Latch::Unlocked),
            (crate::Level::Low, Latch::Locked),
            (crate::Level::Low, Latch::Unlocked),
        ] {
            let facts = RelayFacts { active, safe, ..FACTS };
            let mut relay = PiRelay::open(facts).expect("a Raspberry Pi");
            contract::holds(&mut relay, &|| high() == (active == crate::Level::High));
            drop(relay);
            assert_eq!(high(), active == crate::Level::Low, "at rest when dropped");
        }
    }

    #[test]
    #[ignore = "takes a Raspberry Pi: tests/board_raspi3b/run.sh"]
    fn unlocks_until_told() {
        let mut relay = PiRelay::open(FACTS).expect("a Raspberry Pi");
        relay.set(Latch::Unlocked).expect("a healthy relay moves");
        println!("unlocked");
        let mut word = String::new();
        stdin().read_line(&mut word).expect("a word");
        assert_eq!(word.trim(), "lock");
    }
}
