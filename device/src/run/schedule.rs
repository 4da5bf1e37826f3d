//! The policy in force in the running door: what it says now of a person and of the door itself, and whether the time is
//! known. The rules are `facelatch_policy`'s; what follows from them is `policy`'s and the door's.
//!
//! A door that had a policy does not do without it by accident: that the bundle in use has one is kept as an empty file in
//! the data folder. If that bundle is damaged and one without a policy, or none, serves its people in its place, nobody passes
//! until another is pushed.

use std::time::Duration;

use facelatch_models::openset::Reject;
use facelatch_policy::{Clock, Pass, Refuse};
use facelatch_protocol::{PersonId, PolicyStatus};

use super::{Running, flag::keep};
use crate::{
    audit::What,
    config::TrustClock,
    door::{Event, Record},
    error::Error,
    identify::Verdict,
    link::handlers::PLAUSIBLE_UNIX_MS,
    policy::{self, InForce},
};

/// There while the bundle in use has a policy.
const FILE: &str = "policy";
/// How long an answer about the schedule is taken for good where it is not known to change.
const LOOK_AGAIN_MS: u64 = 24 * 60 * 60 * 1_000;

/// What the loop knows of time and schedule.
#[derive(Debug, Default)]
pub(crate) struct Hours {
    /// What a host has told since the start.
    told: Option<Told>,
    /// The policy that was in force cannot be read.
    pub(super) policy_lost: bool,
    /// When a frame last showed a deny-listed face.
    pub(super) deny_listed_at: Option<Duration>,
    /// Whether the schedule holds the door open, and for which wall times that was found.
    holds: Option<Holds>,
    /// Somebody was let in while it did.
    entered: bool,
    /// What the door was told.
    open: bool,
}

/// The time as a host told it. It goes on by the clock that does not jump: whoever sets the system's clock later, a time
/// server or a person, has not told the door.
#[derive(Debug, Clone, Copy)]
struct Told {
    unix_ms: u64,
    at: Duration,
    /// The system did not know the time then.
    before_system: bool,
}

#[derive(Debug, Clone, Copy)]
struct Holds {
    open: bool,
    from_unix_ms: u64,
    until_unix_ms: u64,
}

impl Running {
    /// What the policy says of somebody at this door now.
    ///
    /// # Errors
    /// Why they may not pass.
    pub(crate) fn allowed(&self, person: &PersonId) -> Result<Pass, Refuse> {
        match &self.policy {
            Some(InForce { rules, .. }) => {
                rules.may_pass(person, self.time(), self.config.door_name())
            }
            None => Ok(policy::FREE),
        }
    }

    /// Takes over a bundle's policy, or that it has none. `is_meant`: somebody pushed it like that, or its own people came
    /// back with it.
    ///
    /// # Errors
    /// [`Error::Storage`] if it cannot be kept which; then nobody passes.
    pub(super) fn adopt_policy(
        &mut self,
        policy: Option<InForce>,
        is_meant: bool,
    ) -> Result<(), Error> {
        self.hours.holds = None;
        let had_one = self.data.join(FILE).exists();
        self.hours.policy_lost = had_one && policy.is_none() && !is_meant;
        self.policy = policy;
        if self.hours.policy_lost {
            let why = "the bundle with the door's policy is gone: nobody passes, push one again";
            log::error!("{why}");
            self.note_fault(why);
        } else if had_one != self.policy.is_some() {
            let kept = keep(
                &self.data,
                FILE,
                self.policy.is_some(),
                "note the policy in",
            );
            self.hours.policy_lost = kept.is_err();
            kept?;
        }
        Ok(())
    }

    /// What time it is, if that is known.
    pub(crate) fn time(&self) -> Clock {
        let unix_ms = self.unix_ms();
        let is_known = match self.config.policy.trust_clock {
            TrustClock::Synchronised => self.hours.told.is_some() || self.clock.is_trusted(),
            TrustClock::Always => true,
        };
        match is_known && PLAUSIBLE_UNIX_MS.contains(&unix_ms) {
            true => Clock::Known { unix_ms },
            false => Clock::Unknown,
        }
    }

    /// Wall time, milliseconds since 1970: as a host told it, else the system's.
    pub(crate) fn unix_ms(&self) -> u64 {
        match self.hours.told {
            Some(told) => {
                let since = self.clock.now().saturating_sub(told.at).as_millis();
                let since = u64::try_from(since).unwrap_or(u64::MAX);
                told.unix_ms.saturating_add(since)
            }
            None => self.clock.unix_ms(),
        }
    }

    /// A host tells the time. Returns how far it moved, in milliseconds.
    pub(crate) fn time_is_told(&mut self, unix_ms: u64) -> i64 {
        self.take_time(Some(Told {
            unix_ms,
            at: self.clock.now(),
            before_system: !self.clock.is_trusted(),
        }))
    }

    fn take_time(&mut self, told: Option<Told>) -> i64 {
        let before = self.unix_ms();
        self.hours.told = told;
        let moved_ms = difference_ms(self.unix_ms(), before);
        self.record(What::ClockSet { moved_ms });
        moved_ms
    }

    /// Time passed, or was set: the schedule may open or close the door.
    pub(super) fn keep_hours(&mut self) {
        if self.hours.told.is_some_and(|told| told.before_system) && self.clock.is_trusted() {
            self.take_time(None);
        }
        let holds = self.schedule_holds();
        self.hours.entered &= holds;
        let waits = |policy: &InForce| policy.rules.opens_after_first_entry();
        let waits = self.policy.as_ref().is_some_and(waits) && !self.hours.entered;
        let open = holds && !waits;
        if open != self.hours.open {
            self.hours.open = open;
            self.step(Event::Schedule { open });
        }
    }

    /// Whether the schedule holds the door open now, apart from a first entry. Asked again only when it may have changed.
    fn schedule_holds(&mut self) -> bool {
        let (Some(InForce { rules, .. }), Clock::Known { unix_ms }) = (&self.policy, self.time())
        else {
            self.hours.holds = None;
            return false;
        };
        let known = self.hours.holds;
        if let Some(known) = known.filter(|k| (k.from_unix_ms..k.until_unix_ms).contains(&unix_ms))
        {
            return known.open;
        }
        let door = self.config.door_name();
        let open = rules.holds_open(self.time(), door);
        let until = rules.next_change(unix_ms, door);
        self.hours.holds = Some(Holds {
            open,
            from_unix_ms: unix_ms,
            until_unix_ms: until.unwrap_or_else(|| unix_ms.saturating_add(LOOK_AGAIN_MS)),
        });
        open
    }

    /// Somebody was let in: from now on the schedule may hold the door open.
    pub(super) fn note_entry(&mut self, record: &Record) {
        if let Record::Granted { .. } = record {
            self.hours.entered |= self.hours.holds.is_some_and(|holds| holds.open);
        }
    }

    /// A frame was judged: is the nearest to its face somebody who must never be let in?
    pub(super) fn note_deny_listed(&mut self, verdict: &Verdict) {
        let evidence = match verdict {
            Verdict::Known { evidence, .. } => evidence,
            Verdict::Unknown { reject, evidence } => match reject {
                // Near enough, and not clear who.
                Reject::Ambiguous | Reject::NotConfirmed | Reject::Contradicted => evidence,
                Reject::EmptyGallery | Reject::TooDistant => return,
            },
            Verdict::Refused(_) => return,
        };
        let nearest = evidence.nearest.as_deref().map(PersonId::parse);
        let policy = self.policy.as_ref().zip(nearest.and_then(Result::ok));
        if policy.is_some_and(|(policy, nearest)| policy.rules.is_denied(&nearest)) {
            self.hours.deny_listed_at = Some(self.clock.now());
        }
    }

    /// Whether such a face was there so lately that it may still be.
    pub(super) fn sees_deny_listed(&self) -> bool {
        let recent = self.config.vote().max_gap;
        let seen_at = self.hours.deny_listed_at;
        seen_at.is_some_and(|at| self.clock.now() <= at + recent)
    }

    /// The policy in force, and where things stand under it.
    pub(crate) fn policy_status(&self) -> PolicyStatus {
        let (denials, locked_until_unix_ms) = self.lockout();
        let people = self.policy.as_ref().map_or(0, |p| p.rules.people_count());
        PolicyStatus {
            policy: self.policy.as_ref().map(|policy| policy.digest),
            // At most MAX_PEOPLE.
            people: people as u32,
            clock: self.time() != Clock::Unknown,
            open: self.hours.open,
            denials,
            locked_until_unix_ms,
            inside: self.inside(),
        }
    }
}

/// `to - from`, at most what fits.
fn difference_ms(to: u64, from: u64) -> i64 {
    let apart = i64::try_from(to.abs_diff(from)).unwrap_or(i64::MAX);
    if to >= from { apart } else { -apart }
}
