//! From a decision about a face to the door: what is remembered of it, what was remembered before, what goes on record.
//!
//! ```text
//! Decision -> policy -> held back? (lockout, visits used up, inside already) -> [PIN, in `second`] -> ledger -> audit -> door
//! ```
//!
//! What somebody uses up is in the ledger before the door opens for them: with a full disk, nobody is let in who is counted.
//! If the door then does not open after all, it is given back. Which denials count is said in `attempts`, with two additions:
//! one face in front of the camera is one denial, however often it is decided about, and every wrong PIN is another. While
//! the door stands open for everybody, or opens for nobody, nothing is counted: there is nothing to be guessed.
//!
//! Who is inside is known for as long as the door let them in and nobody said that they left. A request to exit says that
//! somebody leaves, not who; so it changes nothing here, and only a host says it ([`Running::passed_out`]), be it for a
//! reader inside or for another door.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use facelatch_boards::Pattern;
use facelatch_policy::{Pass, Passback};
use facelatch_protocol::{EventKind, Factor, Lockout, PersonId, Reason};

use super::{DENIED_SHOWN, Running};
use crate::{
    attempts::{self, Lock},
    audit::What,
    door::{self, Asker, Cause, Mode},
    error::Error,
    events,
    identify::Evidence,
    ledger::{Before, Entry, Ledger},
    policy::{self, Ruling},
    vote::{Decision, Outcome},
};

/// Tracks remembered as counted: more than there are people before a door at once.
const COUNTED: usize = 32;

/// What the loop remembers of visits.
pub(crate) struct Visits {
    /// What outlives the process.
    pub(crate) ledger: Ledger,
    /// The tracks counted last, oldest first.
    counted: VecDeque<u32>,
    /// Who was let in, while the door is still unlocked.
    entering: BTreeSet<PersonId>,
}

/// A decision on its way to the door.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) track: Option<u32>,
    pub(super) evidence: Evidence,
    pub(super) latency_ms: u32,
}

/// What was typed beside the face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// Nothing, and nothing was needed.
    Nothing,
    /// The PIN.
    Pin,
    /// The PIN somebody types when made to.
    Duress,
}

impl Visits {
    /// With the ledger as it was kept.
    pub(crate) fn new(ledger: Ledger) -> Visits {
        Visits {
            ledger,
            counted: VecDeque::new(),
            entering: BTreeSet::new(),
        }
    }

    /// The next denial counts, whichever face it is.
    pub(super) fn count_anew(&mut self) {
        self.counted.clear();
    }

    /// Whether a track has not been counted; from now on it has.
    fn counts(&mut self, track: u32) -> bool {
        if self.counted.contains(&track) {
            return false;
        }
        if self.counted.len() == COUNTED {
            self.counted.pop_front();
        }
        self.counted.push_back(track);
        true
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
        let refuse = Ruling::Refuse;
        match self.faces_locked() {
            Some(Lock::Until(_)) if visit.track.is_some() => {
                return refuse(policy::Reason::LockedOut);
            }
            Some(Lock::Disabled) if visit.track.is_some() => {
                return refuse(policy::Reason::FaceDisabled);
            }
            Some(_) | None => {}
        }
        let Ruling::Pass { person } = &ruling else {
            return ruling;
        };
        let Some((id, pass)) = self.terms(person) else {
            return refuse(policy::Reason::Removed);
        };
        let (ledger, now) = (&self.visits.ledger, self.clock.now());
        let pin_lock = ledger.pin_lock(&id, now, &self.config.lockout());
        if pass.pin_needed && pin_lock.is_some() {
            return refuse(policy::Reason::LockedOut);
        }
        if pass.visits.is_some_and(|most| ledger.visits(&id) >= most) {
            return refuse(policy::Reason::UsedUp);
        }
        if pass.passback == Passback::Hard && self.is_inside(&id) {
            return refuse(policy::Reason::AlreadyInside);
        }
        ruling
    }

    /// Whether this is somebody for whom the door is open already, and who would be counted, asked or refused if they were
    /// taken for a second visitor because they still stand there.
    pub(super) fn is_entering(&self, decision: &Decision) -> bool {
        let Outcome::Granted { person } = &decision.outcome else {
            return false;
        };
        let same = self.visits.entering.iter().any(|id| **id == **person);
        let is_counted =
            |pass: Pass| pass.pin_needed || pass.visits.is_some() || pass.passback != Passback::Off;
        let counted = self.terms(person).is_some_and(|(_, pass)| is_counted(pass));
        same && counted && self.is_unlocked()
    }

    /// Somebody may pass: in the ledger, on record, and then the door.
    pub(super) fn passes(&mut self, person: String, visit: &Visit, typed: Typed) {
        let Some((id, pass)) = self.terms(&person) else {
            return self.turned_away(policy::Reason::Removed, visit, false);
        };
        if self.door.lets_in().is_err() {
            return self.turned_away(policy::Reason::Fault, visit, false);
        }
        let again = pass.passback == Passback::Soft && self.is_inside(&id);
        let remembered = pass.passback != Passback::Off;
        let entry = Entry {
            counted: pass.visits.is_some() && !self.stands_open(),
            inside_since_unix_ms: remembered.then(|| self.unix_ms()),
            pin: typed != Typed::Nothing,
        };
        let now = self.clock.now();
        let before = match self.visits.ledger.let_in(&id, entry, now) {
            Ok(before) => before,
            Err(error) => {
                self.fault(Cause::Ledger, &error.to_string());
                return self.turned_away(policy::Reason::Fault, visit, false);
            }
        };
        self.visits.count_anew();
        let ruling = Ruling::Pass {
            person: person.clone(),
        };
        let mut event = events::decision(&ruling, &visit.evidence, visit.latency_ms);
        if again && let EventKind::Decision { reason, .. } = &mut event {
            *reason = Reason::AlreadyInside;
        }
        let mut recorded = self.record(What::Event(event));
        if recorded && typed == Typed::Duress {
            let person = id.clone();
            recorded = self.record(What::Event(EventKind::Duress { person }));
        }
        if recorded {
            self.step(door::Event::Grant { person });
        }
        if self.door.lets_in().is_ok() {
            self.visits.entering.insert(id);
            self.show_ready();
        } else {
            self.takes_back(&id, before);
        }
    }

    /// The door did not open after all.
    fn takes_back(&mut self, person: &PersonId, before: Before) {
        let now = self.clock.now();
        if let Err(error) = self.visits.ledger.take_back(person, before, now) {
            log::error!("{person} was counted and not let in");
            self.fault(Cause::Ledger, &error.to_string());
        }
    }

    /// Somebody may not pass, and whether that counts towards a lockout.
    pub(super) fn turned_away(&mut self, reason: policy::Reason, visit: &Visit, counts: bool) {
        let recorded = self.refused(reason, visit, counts);
        // Whoever types a PIN is not told of others.
        if recorded && !self.second.asks() {
            self.ready_at = Some(self.clock.now() + DENIED_SHOWN);
            self.step(door::Event::Denied);
        }
    }

    /// A refusal goes on record and, if it counts, into the ledger. False if it could not be recorded.
    pub(super) fn refused(&mut self, reason: policy::Reason, visit: &Visit, counts: bool) -> bool {
        let ruling = Ruling::Refuse(reason);
        let event = events::decision(&ruling, &visit.evidence, visit.latency_ms);
        let recorded = self.record(What::Event(event));
        if counts {
            let (now, rules) = (self.clock.now(), self.config.lockout());
            let (lock, kept) = self.visits.ledger.face_denied(now, &rules);
            self.locked(Factor::Face, None, lock, kept);
        }
        recorded
    }

    /// Whether a refusal is a guess that was not counted yet, at a door that could have opened.
    pub(super) fn is_guess(&mut self, reason: policy::Reason, visit: &Visit) -> bool {
        let guards = match self.door.mode() {
            Mode::Locked | Mode::Unlocked { .. } | Mode::HeldOpen | Mode::ForcedOpen => true,
            Mode::Starting
            | Mode::OpenBySchedule
            | Mode::LockedDown
            | Mode::Fire
            | Mode::Fault
            | Mode::Stopped => false,
        };
        let counts = guards && attempts::counts(events::wire_reason(reason));
        counts && visit.track.is_some_and(|track| self.visits.counts(track))
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
            false if pattern == Pattern::Ready && self.second.asks() => Pattern::EnterPin,
            false => pattern,
        }
    }

    /// Time passed: lockouts end, and so does an entry.
    pub(super) fn visits_tick(&mut self, now: Duration) {
        if !self.is_unlocked() {
            self.visits.entering.clear();
        }
        let (ended, kept) = self.visits.ledger.tick(now);
        if let Err(error) = kept {
            self.fault(Cause::Ledger, &error.to_string());
        }
        if ended {
            self.show_ready();
        }
    }

    /// What the door shows by itself, unless something else is shown for a time.
    pub(super) fn show_ready(&mut self) {
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
        self.visits.count_anew();
        self.step(door::Event::Recovered(Cause::Ledger));
        self.show_ready();
        Ok(())
    }

    /// Somebody left. On record before it is done.
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

    /// Nothing is remembered of somebody who was removed.
    pub(crate) fn forget_visits_of(&mut self, person: &PersonId) -> Result<(), Error> {
        let (now, ledger) = (self.clock.now(), &mut self.visits.ledger);
        ledger.keep_only(now, |known| known != person)
    }

    /// Nothing is remembered of people who are not enrolled any more, once no bundle on trial may bring them back.
    pub(super) fn forget_visits_of_others(&mut self) -> Result<(), Error> {
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

    /// How many people are inside, as far as the door knows.
    pub(crate) fn inside(&self) -> u32 {
        let inside = self
            .visits
            .ledger
            .inside(self.unix_ms(), self.forgets_after());
        u32::try_from(inside).unwrap_or(u32::MAX)
    }

    fn forgets_after(&self) -> Duration {
        let rules = self.policy.as_ref().map(|policy| policy.rules.passback());
        rules.map_or(Duration::MAX, |rules| rules.forget_after)
    }

    fn is_inside(&self, person: &PersonId) -> bool {
        let forgets_after = self.forgets_after();
        self.visits
            .ledger
            .is_inside(person, self.unix_ms(), forgets_after)
    }

    /// Whether everybody can walk in.
    pub(super) fn stands_open(&self) -> bool {
        matches!(self.door.mode(), Mode::OpenBySchedule | Mode::Fire)
    }

    fn is_unlocked(&self) -> bool {
        matches!(self.door.mode(), Mode::Unlocked { .. })
    }

    fn unix_ms_at(&self, at: Duration) -> u64 {
        let left = at.saturating_sub(self.clock.now()).as_millis();
        let left = u64::try_from(left).unwrap_or(u64::MAX);
        self.unix_ms().saturating_add(left)
    }
}
