//! What a decision allows now. Pure: everything it depends on is an argument. Called by `run` between `vote` and `door`.

use crate::vote::{self, Decision, Outcome};

/// What holds at the moment of the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The granted person is enrolled: nobody removed them since the frames were judged.
    pub enrolled: bool,
    /// Somebody enrolls at the door right now: faces are looked at for that, not to be let in.
    pub enrolling: bool,
    /// There is a lockdown.
    pub lockdown: bool,
}

/// May they pass?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Yes.
    Pass {
        /// Person id.
        person: String,
    },
    /// No.
    Refuse(Reason),
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nobody was recognised.
    NotRecognised(vote::Reason),
    /// The person was removed meanwhile.
    Removed,
    /// An enrollment is going on.
    Enrolling,
    /// There is a lockdown.
    LockedDown,
    /// Too many faces were denied: all wait.
    LockedOut,
    /// Far too many were: until an operator says otherwise.
    FaceDisabled,
    /// Their PIN was wrong, or did not come.
    WrongPin,
    /// They were here as often as they may.
    UsedUp,
    /// They are inside already.
    AlreadyInside,
    /// What they would use up could not be written down.
    Fault,
}

/// Rules on a decision.
#[must_use]
pub fn rule(decision: &Decision, facts: Facts) -> Ruling {
    match &decision.outcome {
        Outcome::Denied(reason) => Ruling::Refuse(Reason::NotRecognised(*reason)),
        Outcome::Granted { .. } if facts.lockdown => Ruling::Refuse(Reason::LockedDown),
        Outcome::Granted { .. } if facts.enrolling => Ruling::Refuse(Reason::Enrolling),
        Outcome::Granted { .. } if !facts.enrolled => Ruling::Refuse(Reason::Removed),
        Outcome::Granted { person } => Ruling::Pass {
            person: person.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identify::Evidence;

    #[test]
    fn only_an_enrolled_person_passes_and_nobody_during_an_enrollment_or_a_lockdown() {
        let granted = Outcome::Granted {
            person: "ada".into(),
        };
        let denied = Outcome::Denied(vote::Reason::NoFace);
        let pass = Ruling::Pass {
            person: "ada".into(),
        };
        let cases = [
            (&granted, true, [false, false], pass),
            (
                &granted,
                false,
                [false, false],
                Ruling::Refuse(Reason::Removed),
            ),
            (
                &granted,
                true,
                [true, false],
                Ruling::Refuse(Reason::Enrolling),
            ),
            (
                &granted,
                true,
                [false, true],
                Ruling::Refuse(Reason::LockedDown),
            ),
            (
                &denied,
                true,
                [false, true],
                Ruling::Refuse(Reason::NotRecognised(vote::Reason::NoFace)),
            ),
        ];
        for (outcome, enrolled, [enrolling, lockdown], expected) in cases {
            let decision = Decision {
                track: Some(1),
                outcome: outcome.clone(),
                evidence: Evidence::default(),
                votes: 3,
            };
            assert_eq!(
                rule(
                    &decision,
                    Facts {
                        enrolled,
                        enrolling,
                        lockdown,
                    }
                ),
                expected
            );
        }
    }
}
