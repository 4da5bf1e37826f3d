//! The one place from which the door tells what happens: audit record first, then listeners on the link, then the log.
//!
//! Holds no opinion on what is told; `run` calls [`Events::record`]. An event has its audit record's number.

use std::collections::VecDeque;

use facelatch_models::openset::Reject;
use facelatch_policy::Refuse;
use facelatch_protocol::{Event, EventKind, PersonId, Reason};

use crate::{
    audit::{Audit, What},
    error::Error,
    identify::Evidence,
    link::EventSink,
    policy::{self, Ruling},
    quality, vote,
};

/// Events kept for listeners who ask for earlier ones; below what a listener's channel holds.
const KEPT: usize = 200;

/// Audit record and listeners.
#[derive(Debug)]
pub struct Events {
    audit: Audit,
    listeners: Vec<EventSink>,
    kept: VecDeque<Event>,
    last_seq: u64,
}

impl Events {
    /// Tells through this audit record.
    #[must_use]
    pub fn new(audit: Audit) -> Events {
        Events {
            audit,
            listeners: vec![],
            kept: VecDeque::new(),
            last_seq: 0,
        }
    }

    /// Adds a listener, first handing it the kept events from `from_seq` on; 0 for none of them.
    pub fn listen(&mut self, mut sink: EventSink, from_seq: u64) {
        let mut wanted = self
            .kept
            .iter()
            .filter(|event| from_seq > 0 && event.seq >= from_seq);
        if wanted.all(|event| sink.send(event)) {
            self.listeners.push(sink);
        }
    }

    /// Writes what happened to the audit record, then tells listeners.
    ///
    /// # Errors
    /// [`Error::Storage`] if it could not be written; listeners are told all the same.
    pub fn record(&mut self, unix_ms: u64, what: What) -> Result<(), Error> {
        let written = self.audit.append(unix_ms, what.clone());
        // Numbers grow, whether an event could be written or not: listeners ask for what they missed by number. So after a
        // failure they run ahead of the record's until the next start.
        let next = self.last_seq + 1;
        self.last_seq = written.as_ref().map_or(next, |seq| next.max(*seq));
        if let What::Event(kind) = what {
            log::info!("{}", Sentence(&kind));
            self.tell(Event {
                seq: self.last_seq,
                unix_ms,
                kind,
            });
        }
        written.map(|_| ())
    }

    fn tell(&mut self, event: Event) {
        self.listeners.retain_mut(|sink| sink.send(&event));
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(event);
    }
}

/// The event that reports a ruling.
#[must_use]
pub fn decision(ruling: &Ruling, evidence: &Evidence, latency_ms: u32) -> EventKind {
    let (granted, reason, person) = match ruling {
        Ruling::Pass { person } => (true, Reason::Granted, Some(person)),
        Ruling::Refuse(reason) => (false, wire_reason(*reason), evidence.nearest.as_ref()),
    };
    EventKind::Decision {
        granted,
        reason,
        person: person.and_then(|id| PersonId::parse(id).ok()),
        distance: evidence.distance,
        probability: evidence.probability,
        latency_ms,
    }
}

/// Our reasons in the words of the link.
pub(crate) fn wire_reason(reason: policy::Reason) -> Reason {
    let reason = match reason {
        policy::Reason::Removed => return Reason::Unknown,
        policy::Reason::Enrolling => return Reason::NotNow,
        policy::Reason::LockedDown => return Reason::LockedDown,
        policy::Reason::LockedOut => return Reason::LockedOut,
        policy::Reason::FaceDisabled => return Reason::FaceDisabled,
        policy::Reason::WrongPin => return Reason::WrongPin,
        policy::Reason::UsedUp => return Reason::NotValid,
        policy::Reason::AlreadyInside => return Reason::AlreadyInside,
        policy::Reason::Fault => return Reason::Fault,
        policy::Reason::Policy(refuse) => return policy_reason(refuse),
        policy::Reason::PolicyLost => return Reason::Fault,
        policy::Reason::NotRecognised(reason) => reason,
    };
    match reason {
        vote::Reason::NoFace => Reason::NoFace,
        vote::Reason::Unsteady => Reason::NotConfirmed,
        vote::Reason::NotLive => Reason::NotLive,
        vote::Reason::Rejected(Reject::EmptyGallery) => Reason::EmptyGallery,
        vote::Reason::Rejected(Reject::Ambiguous) => Reason::Ambiguous,
        vote::Reason::Rejected(
            Reject::TooDistant | Reject::NotConfirmed | Reject::Contradicted,
        ) => Reason::Unknown,
        vote::Reason::Quality(quality::Reason::Dark) => Reason::Dark,
        vote::Reason::Quality(quality::Reason::Bright) => Reason::Bright,
        vote::Reason::Quality(quality::Reason::Blurred) => Reason::Blurred,
        vote::Reason::Quality(quality::Reason::TooSmall) => Reason::TooFar,
        vote::Reason::Quality(quality::Reason::TurnedAway) => Reason::TurnedAway,
        vote::Reason::Quality(quality::Reason::HalfVisible) => Reason::HalfVisible,
        vote::Reason::Quality(quality::Reason::SeveralFaces) => Reason::SeveralFaces,
    }
}

/// The policy's reasons in the words of the link.
fn policy_reason(refuse: Refuse) -> Reason {
    match refuse {
        Refuse::NotNow => Reason::NotNow,
        Refuse::NotHere => Reason::NotHere,
        Refuse::NotValid => Reason::NotValid,
        Refuse::Disabled => Reason::Disabled,
        Refuse::DenyListed => Reason::DenyListed,
        Refuse::NoClock => Reason::NoClock,
    }
}

/// An event as a line of the log.
struct Sentence<'e>(&'e EventKind);

impl std::fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            EventKind::Decision {
                granted,
                reason,
                person,
                distance,
                probability,
                latency_ms,
            } => {
                match (*granted, person) {
                    (true, Some(person)) => write!(f, "granted to {person}")?,
                    (true, None) => f.write_str("granted")?,
                    (false, Some(person)) => write!(f, "denied: {reason}, nearest is {person}")?,
                    (false, None) => write!(f, "denied: {reason}")?,
                }
                if let Some(distance) = distance {
                    write!(f, ", distance {distance:.3}")?;
                }
                if let Some(probability) = probability {
                    write!(f, ", probability {probability:.3}")?;
                }
                write!(f, ", {latency_ms} ms")
            }
            EventKind::Door(state) => write!(f, "door {state}"),
            EventKind::Update { digest, step } => write!(f, "bundle {digest} {step}"),
            EventKind::Fault(text) => write!(f, "fault: {text}"),
            EventKind::RolledBack {
                digest,
                reason,
                text,
            } => write!(f, "bundle {digest} rolled back ({reason}): {text}"),
            EventKind::Missed { count } => write!(f, "{count} events missed"),
            EventKind::Opened(opener) => write!(f, "unlocked by {opener}"),
            EventKind::Lockdown { on, name, .. } => {
                let what = if *on { "lockdown" } else { "lockdown ended" };
                write!(f, "{what} by host {name}")
            }
            EventKind::Alarm { alarm, on: true } => write!(f, "alarm: {alarm}"),
            EventKind::Alarm { alarm, on: false } => write!(f, "alarm over: {alarm}"),
            EventKind::Prompt(prompt) => write!(f, "prompt: {prompt}"),
            EventKind::Enrollment(step) => write!(f, "enrollment: {step}"),
            EventKind::Lockout(lockout) => write!(f, "lockout: {lockout}"),
            EventKind::Duress { person } => write!(f, "{person} is under duress"),
            EventKind::PassedOut { person } => write!(f, "{person} left"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_names_the_person_and_a_denial_the_nearest() {
        let evidence = Evidence {
            nearest: Some("bob".into()),
            distance: Some(0.7),
            ..Evidence::default()
        };
        let pass = Ruling::Pass {
            person: "ada".into(),
        };
        let refuse = Ruling::Refuse(policy::Reason::NotRecognised(vote::Reason::Rejected(
            Reject::TooDistant,
        )));
        assert_eq!(
            Sentence(&decision(&pass, &evidence, 41)).to_string(),
            "granted to ada, distance 0.700, 41 ms"
        );
        assert_eq!(
            Sentence(&decision(&refuse, &evidence, 41)).to_string(),
            "denied: unknown, nearest is bob, distance 0.700, 41 ms"
        );
    }
}
