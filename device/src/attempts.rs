//! Denials in a row, and the lockouts they lead to. Pure: no I/O, time is an argument.
//!
//! Two things are counted, each by an [`Attempts`] of its own: faces at this door, and each person's PIN. Every
//! `Rules::denials` in a row lock for a while, which doubles each time; `Rules::disable_after` in a row lock until an
//! operator says otherwise. Whoever is let in ends the row.
//!
//! ```text
//! denials   5     10     15     20     25     30 ...      50
//! locked    30 s  1 min  2 min  4 min  8 min  15 min ...  until a host clears it      (the settings' defaults)
//! ```
//!
//! A lockout is time to be waited through while the door runs: it is measured on the monotonic clock, and what is left of it
//! is what is kept ([`Kept`]). So no wall clock shortens it, and a restart begins what was left when it was last kept again.
//!
//! What counts is said in [`counts`]: a guess, made with a face good enough to be judged. Called by `ledger`, which keeps
//! it, and by `run`, which asks it.

use std::time::Duration;

use facelatch_protocol::Reason;
use serde::{Deserialize, Serialize};

/// When denials lock, from `device.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// So many denials in a row lock for a while; 0 for never.
    pub denials: u32,
    /// How long the first time.
    pub first: Duration,
    /// How long at most.
    pub longest: Duration,
    /// So many in a row lock until an operator says otherwise; 0 for never.
    pub disable_after: u32,
}

/// Denials of one factor in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    denials: u32,
    lock: Option<Lock>,
}

/// Nobody passes by this factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Until this instant of the monotonic clock.
    Until(Duration),
    /// Until an operator says otherwise.
    Disabled,
}

/// What is kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// In a row.
    pub denials: u32,
    /// What was left to be waited, in milliseconds; 0 for nothing, [`u64::MAX`] until an operator says otherwise.
    pub left_ms: u64,
}

/// Whether a refusal for this reason counts towards a lockout of faces.
///
/// It does if a face good enough to be judged was tried and was not that of somebody who may pass: each such try is a guess,
/// and guesses are what a lockout makes expensive. So a stranger counts, somebody on the list of those denied, a face between
/// two people, frames that name several, a face that does not live, a wrong PIN.
///
/// It does not if nothing was guessed: nobody there, too far, dark, bright, blurred, turned away, cut off, several faces.
/// Somebody walking past, or the sun, must not shut a door. Nor if somebody known was recognised and may not pass here or
/// now: they are no guess, and who comes too early every day must not lock the others out. Nor while nobody is enrolled, in a
/// lockdown or in a lockout, where faces open nothing anyway.
#[must_use]
pub fn counts(reason: Reason) -> bool {
    match reason {
        Reason::Unknown
        | Reason::Ambiguous
        | Reason::NotConfirmed
        | Reason::NotLive
        | Reason::DenyListed
        | Reason::WrongPin => true,

        Reason::TooFar
        | Reason::Blurred
        | Reason::Dark
        | Reason::Bright
        | Reason::HalfVisible
        | Reason::TurnedAway
        | Reason::SeveralFaces
        | Reason::NoFace => false,

        Reason::NotNow
        | Reason::NotHere
        | Reason::NotValid
        | Reason::Disabled
        | Reason::AlreadyInside
        | Reason::NoClock => false,

        Reason::Granted
        | Reason::EmptyGallery
        | Reason::LockedDown
        | Reason::LockedOut
        | Reason::FaceDisabled
        | Reason::Fault => false,
    }
}

impl Attempts {
    /// As it was kept; what was left to be waited begins now.
    #[must_use]
    pub fn again(kept: Kept, now: Duration) -> Attempts {
        let lock = match kept.left_ms {
            0 => None,
            u64::MAX => Some(Lock::Disabled),
            left => Some(Lock::Until(now.saturating_add(Duration::from_millis(left)))),
        };
        Attempts {
            denials: kept.denials,
            lock,
        }
    }

    /// What to keep.
    #[must_use]
    pub fn kept(&self, now: Duration) -> Kept {
        let left_ms = match self.lock {
            None => 0,
            Some(Lock::Until(until)) => {
                // A begun millisecond counts, so that what is not over is not kept as over.
                let left = until.saturating_sub(now).as_nanos().div_ceil(1_000_000);
                u64::try_from(left).unwrap_or(u64::MAX - 1)
            }
            Some(Lock::Disabled) => u64::MAX,
        };
        Kept {
            denials: self.denials,
            left_ms,
        }
    }

    /// Denials in a row.
    #[must_use]
    pub fn denials(&self) -> u32 {
        self.denials
    }

    /// Whether nobody passes by this factor now. Nothing locks where the rules say never.
    #[must_use]
    pub fn lock(&self, now: Duration, rules: &Rules) -> Option<Lock> {
        self.lock.filter(|lock| match lock {
            Lock::Until(until) => rules.denials > 0 && now < *until,
            Lock::Disabled => rules.disable_after > 0,
        })
    }

    /// One more denial. Returns the lockout that begins with it; none begins within another.
    pub fn denied(&mut self, now: Duration, rules: &Rules) -> Option<Lock> {
        if self.lock(now, rules).is_some() {
            return None;
        }
        self.denials = self.denials.saturating_add(1);
        self.lock = if rules.disable_after > 0 && self.denials >= rules.disable_after {
            Some(Lock::Disabled)
        } else if rules.denials > 0 && self.denials.is_multiple_of(rules.denials) {
            let doublings = self.denials / rules.denials - 1;
            let factor = 2_u32.saturating_pow(doublings);
            let wait = rules.first.saturating_mul(factor).min(rules.longest);
            Some(Lock::Until(now.saturating_add(wait)))
        } else {
            None
        };
        self.lock
    }

    /// Somebody was let in, or an operator ended it. Whether that changed anything.
    pub fn forget(&mut self) -> bool {
        std::mem::take(self) != Attempts::default()
    }

    /// Time passed: whether a lockout has just ended.
    pub fn tick(&mut self, now: Duration) -> bool {
        let over = |lock: &mut Lock| match lock {
            Lock::Until(until) => now >= *until,
            Lock::Disabled => false,
        };
        self.lock.take_if(over).is_some()
    }

    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Attempts::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules {
        denials: 5,
        first: Duration::from_secs(30),
        longest: Duration::from_secs(900),
        disable_after: 50,
    };

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn every_fifth_denial_locks_for_twice_as_long_and_the_fiftieth_for_good() {
        let (mut attempts, mut now) = (Attempts::default(), Duration::ZERO);
        let mut waits = vec![];
        for denial in 1..=50 {
            match attempts.denied(now, &RULES) {
                None => assert_ne!(denial % 5, 0, "denial {denial}"),
                Some(Lock::Until(until)) => {
                    assert_eq!(denial % 5, 0, "denial {denial}");
                    waits.push((until - now).as_secs());
                    // A try within it neither counts nor makes it longer.
                    assert_eq!(attempts.denied(until - s(1), &RULES), None);
                    assert_eq!(attempts.denials(), denial);
                    assert!(attempts.lock(until - s(1), &RULES).is_some());
                    assert!(!attempts.tick(until - s(1)) && attempts.tick(until));
                    assert_eq!(attempts.lock(until, &RULES), None);
                    now = until;
                }
                Some(Lock::Disabled) => assert_eq!(denial, 50),
            }
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900, 900, 900]);
        assert_eq!(attempts.lock(s(1 << 40), &RULES), Some(Lock::Disabled));
        assert!(!attempts.tick(s(1 << 40)));
        assert!(attempts.forget());
        assert_eq!(attempts.lock(s(1 << 40), &RULES), None);
    }

    #[test]
    fn whoever_is_let_in_ends_the_row() {
        let mut attempts = Attempts::default();
        for _ in 0..20 {
            for _ in 0..4 {
                assert_eq!(attempts.denied(s(1), &RULES), None);
            }
            assert!(attempts.forget());
            assert!(!attempts.forget());
        }
    }

    #[test]
    fn zero_is_never() {
        let never = Rules {
            denials: 0,
            disable_after: 0,
            ..RULES
        };
        let mut attempts = Attempts::default();
        assert!((0..200).all(|_| attempts.denied(s(1), &never).is_none()));
        // A lockout from before the settings said so.
        let kept = |left_ms| Kept {
            denials: 50,
            left_ms,
        };
        for left_ms in [1_000, u64::MAX] {
            let attempts = Attempts::again(kept(left_ms), s(1));
            assert!(attempts.lock(s(1), &RULES).is_some());
            assert_eq!(attempts.lock(s(1), &never), None);
        }
    }

    #[test]
    fn a_restart_begins_what_was_left_again() {
        let mut attempts = Attempts::default();
        for _ in 0..5 {
            attempts.denied(s(100), &RULES);
        }
        let kept = attempts.kept(s(110));
        assert_eq!((kept.denials, kept.left_ms), (5, 20_000));
        // The monotonic clock begins at zero again.
        let again = Attempts::again(kept, s(3));
        assert_eq!(again.lock(s(22), &RULES), Some(Lock::Until(s(23))));
        assert_eq!(again.lock(s(23), &RULES), None);
        let almost = attempts.kept(s(130) - Duration::from_nanos(1));
        assert_eq!(almost.left_ms, 1, "what is not over is not kept as over");
    }

    #[test]
    fn guesses_count_and_nothing_else() {
        let counted: Vec<&str> = Reason::ALL
            .into_iter()
            .filter(|reason| counts(*reason))
            .map(Reason::as_str)
            .collect();
        assert_eq!(
            counted,
            [
                "unknown",
                "ambiguous",
                "not-confirmed",
                "not-live",
                "deny-listed",
                "wrong-pin"
            ]
        );
    }

    proptest! {
        /// Whatever is tried and however often the door starts again: between two tries that are judged at all lies at
        /// least the wait that was due.
        #[test]
        fn no_order_of_tries_and_restarts_gives_more_of_them(
            steps in prop::collection::vec((0_u8..4, 0_u64..40), 0..300)
        ) {
            let (mut attempts, mut now) = (Attempts::default(), Duration::ZERO);
            let (mut tries, mut waited) = (0_u32, Duration::ZERO);
            for (what, seconds) in steps {
                match what {
                    // A try.
                    0 | 1 => {
                        if attempts.lock(now, &RULES).is_none() {
                            tries += 1;
                            attempts.denied(now, &RULES);
                        }
                    }
                    // Time.
                    2 => {
                        if let Some(Lock::Until(until)) = attempts.lock(now, &RULES) {
                            waited += s(seconds).min(until - now);
                        }
                        now += s(seconds);
                        attempts.tick(now);
                    }
                    // A restart; what the clock says then is nothing it can rely on.
                    _ => {
                        let kept = attempts.kept(now);
                        now = s(seconds);
                        attempts = Attempts::again(kept, now);
                    }
                }
            }
            let due: u64 = (1..=tries.saturating_sub(1) / 5)
                .map(|lockout| (30_u64 << (lockout - 1).min(10)).min(900))
                .sum();
            prop_assert!(tries <= 50);
            prop_assert!(waited >= s(due), "{tries} tries after {waited:?}");
        }
    }
}
