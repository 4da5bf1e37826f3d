//! From a ruling to the door: what is remembered of it, what was remembered before, and what goes on record.
//!
//! ```text
//! Ruling -> held back? (lockout, visits used up, inside already) -> [PIN, in `second`] -> ledger -> audit record -> door
//! ```
//!
//! What somebody uses up is in the ledger before the door opens for them: with a full disk, nobody is let in who is counted.
//! If the door then does not open after all, it is given back. Which denials count is said in `attempts`, with one addition:
//! one face in front of the camera is one denial, however often it is decided about, but every wrong PIN is another. While
//! the door stands open for everybody, or opens for nobody, nothing is counted: there is nothing to be guessed.

use std::time::Duration;

use facelatch_boards::Pattern;
use facelatch_protocol::{EventKind, Factor, Lockout, PersonId, Reason};

use super::{DENIED_SHOWN, Running};
use crate::{
    attempts::{self, Lock},
    audit::What,
    door::{self, Asker, Cause, Mode},
    error::Error,
    events,
    identify::Evidence,
    ledger::{Entry, Ledger},
    policy::{self, Ruling},
    vote::Decision,
};

/// What the loop remembers of visits.
pub(crate) struct Visits {
    /// What outlives the process.
    pub(crate) ledger: Ledger,
    /// The track that was counted last.
    counted: Option<u32>,
}

/// A decision on its way to the door.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) track: Option<u32>,
    pub(super) evidence: Evidence,
    pub(super) latency_ms: u32,
}

impl Visits {
    /// With the ledger as it was kept.
    pub(crate) fn new(ledger: Ledger) -> Visits {
        Visits {
            ledger,
            counted: None,
        }
    }
}

impl Visit {
    pub(super) fn new(decision: &Decision, latency: Duration) -> Visit {
        Visit {
            track: decision.track,
            evidence: decision.evidence.clone(),
            latency_ms: u32::try_from(latency.as_millis()).unwrap_or(u32::MAX),
        }
    }
}

impl Running {
    /// A ruling on a face, seen with what the door remembers. In a lockout no face is told anything else.
    pub(super) fn held_back(&self, ruling: Ruling, visit: &Visit) -> Ruling {
        match self.faces_locked() {
            Some(_) if visit.track.is_none() => ruling,
            Some(Lock::Until(_)) => Ruling::Refuse(policy::Reason::LockedOut),
            Some(Lock::Disabled) => Ruling::Refuse(policy::Reason::FaceDisabled),
            None => ruling,
        }
    }

    /// From a ruling to the door.
    pub(super) fn settled(&mut self, ruling: Ruling, visit: &Visit) {
        let ruling = match ruling {
            Ruling::Pass { person } => self.enters(person),
            Ruling::Refuse(reason) => Ruling::Refuse(reason),
        };
        let event = events::decision(&ruling, &visit.evidence, visit.latency_ms);
        let reason = match &event {
            EventKind::Decision { reason, .. } => *reason,
            // `events::decision` makes nothing else.
            _ => Reason::Fault,
        };
        let recorded = self.record(What::Event(event));
        match ruling {
            Ruling::Pass { person } if recorded => self.step(door::Event::Grant { person }),
            Ruling::Pass { .. } => {}
            Ruling::Refuse(_) => {
                if attempts::counts(reason) && self.is_another(visit) {
                    self.face_denied();
                }
                if recorded {
                    self.ready_at = Some(self.clock.now() + DENIED_SHOWN);
                    self.step(door::Event::Denied);
                }
            }
        }
    }

    /// Writes down what letting this person in uses up.
    fn enters(&mut self, person: String) -> Ruling {
        let entry = Entry {
            counted: false,
            inside_since_unix_ms: None,
            pin: false,
        };
        // The gallery holds nobody whose id is none.
        let Ok(id) = PersonId::parse(&person) else {
            return Ruling::Refuse(policy::Reason::Removed);
        };
        if self.door.lets_in().is_err() {
            return Ruling::Pass { person };
        }
        match self.visits.ledger.let_in(&id, entry, self.clock.now()) {
            Ok(()) => {
                self.visits.counted = None;
                Ruling::Pass { person }
            }
            Err(error) => {
                self.fault(Cause::Ledger, &error.to_string());
                Ruling::Refuse(policy::Reason::Fault)
            }
        }
    }

    /// Whether this face was not counted yet, and is one that could open the door.
    fn is_another(&mut self, visit: &Visit) -> bool {
        let guards = match self.door.mode() {
            Mode::Locked | Mode::Unlocked { .. } | Mode::HeldOpen | Mode::ForcedOpen => true,
            Mode::Starting
            | Mode::OpenBySchedule
            | Mode::LockedDown
            | Mode::Fire
            | Mode::Fault
            | Mode::Stopped => false,
        };
        guards && visit.track.is_some() && self.visits.counted != visit.track && {
            self.visits.counted = visit.track;
            true
        }
    }

    fn face_denied(&mut self) {
        let (now, rules) = (self.clock.now(), self.config.lockout());
        let (lock, kept) = self.visits.ledger.face_denied(now, &rules);
        self.locked(Factor::Face, None, lock, kept);
    }

    /// What follows from a denial that was counted.
    pub(super) fn locked(
        &mut self,
        factor: Factor,
        person: Option<PersonId>,
        lock: Option<(u32, Lock)>,
        kept: Result<(), Error>,
    ) {
        if let Some((denials, lock)) = lock {
            let lockout = match lock {
                Lock::Until(until) => Lockout::Waiting {
                    factor,
                    person,
                    denials,
                    until_unix_ms: self.unix_ms_at(until),
                },
                Lock::Disabled => Lockout::Disabled {
                    factor,
                    person,
                    denials,
                },
            };
            self.record(What::Event(EventKind::Lockout(lockout)));
        }
        if let Err(error) = kept {
            self.fault(Cause::Ledger, &error.to_string());
        }
    }

    /// Whether no face opens the door now.
    pub(super) fn faces_locked(&self) -> Option<Lock> {
        let faces = self.visits.ledger.faces();
        faces.lock(self.clock.now(), &self.config.lockout())
    }

    /// What the indicator shows where the door alone would show `pattern`.
    pub(super) fn pattern(&self, pattern: Pattern) -> Pattern {
        let waits = matches!(pattern, Pattern::Ready | Pattern::Denied);
        match waits && self.faces_locked().is_some() {
            true => Pattern::LockedOut,
            false => pattern,
        }
    }

    /// Time passed: lockouts end.
    pub(super) fn visits_tick(&mut self, now: Duration) {
        let (ended, kept) = self.visits.ledger.tick(now);
        if let Err(error) = kept {
            self.fault(Cause::Ledger, &error.to_string());
        }
        if ended {
            self.show_ready();
        }
    }

    /// What the door shows by itself, unless something else is shown for a time.
    fn show_ready(&mut self) {
        let busy = self.ready_at.is_some() || self.enrollment.is_open();
        if !busy && self.door.mode() != Mode::Stopped {
            self.show(self.door.mode().pattern());
        }
    }

    /// The ledger is looked at when the door goes into service: a damaged one is a fault from the start.
    pub(super) fn ledger_is_whole(&mut self) {
        if let Some(why) = self.visits.ledger.damaged() {
            let why = format!("{why}: `facelatch door clear-lockout` begins a new one");
            self.fault(Cause::Ledger, &why);
        }
    }

    /// A host ends every lockout, and begins a new ledger if the one there is damaged. On record before it is done.
    pub(crate) fn clear_lockout(&mut self, by: Asker) -> Result<(), Error> {
        let Asker { host, name } = by;
        let cleared = Lockout::Cleared { host, name };
        self.noted(What::Event(EventKind::Lockout(cleared)))?;
        let now = self.clock.now();
        let ledger = &mut self.visits.ledger;
        match ledger.damaged() {
            Some(_) => ledger.begin_anew(now)?,
            None => ledger.clear(now)?,
        }
        self.visits.counted = None;
        self.step(door::Event::Recovered(Cause::Ledger));
        self.show_ready();
        Ok(())
    }

    /// Somebody left. A request to exit says only that somebody does, not who: it changes nothing here. On record before it
    /// is done.
    pub(crate) fn passed_out(&mut self, person: PersonId) -> Result<(), Error> {
        if !self.gallery.contains(&person) {
            return Err(Error::UnknownPerson(person.to_string()));
        }
        let left = EventKind::PassedOut {
            person: person.clone(),
        };
        self.noted(What::Event(left))?;
        self.visits.ledger.left(&person, self.clock.now())
    }

    /// Nothing is remembered of people who are not enrolled any more.
    pub(crate) fn forget_visits(&mut self) -> Result<(), Error> {
        let (now, gallery) = (self.clock.now(), &self.gallery);
        let is_enrolled = |person: &PersonId| gallery.contains(person);
        self.visits.ledger.keep_only(now, is_enrolled)
    }

    /// Denials in a row, and when faces open again, milliseconds since 1970: `u64::MAX` for not before a host says so.
    pub(crate) fn lockout(&self) -> (u32, Option<u64>) {
        let until = self.faces_locked().map(|lock| match lock {
            Lock::Until(until) => self.unix_ms_at(until),
            Lock::Disabled => u64::MAX,
        });
        (self.visits.ledger.faces().denials(), until)
    }

    fn unix_ms_at(&self, at: Duration) -> u64 {
        let left = at.saturating_sub(self.clock.now()).as_millis();
        let left = u64::try_from(left).unwrap_or(u64::MAX);
        self.unix_ms().saturating_add(left)
    }
}
