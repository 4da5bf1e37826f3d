//! What a decision allows now. Pure: everything it depends on is an argument. Called by `run` between `vote` and `door`.
//!
//! The rules themselves are `facelatch_policy`'s, which the host reads with the same code; here they meet what the door
//! knows. Without a policy, whoever is enrolled may pass at any time.

use std::sync::Arc;

use facelatch_policy::{Pass, Passback, Policy, Refuse};
use facelatch_protocol::Digest;
use sha2::{Digest as _, Sha256};

use crate::vote::{self, Decision, Outcome};

/// What somebody may who has no rules.
pub const FREE: Pass = Pass {
    pin_needed: false,
    visits: None,
    passback: Passback::Off,
};

/// A bundle's policy part, read.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// SHA-256 of the part.
    pub digest: Digest,
    /// The rules in it.
    pub rules: Arc<Policy>,
}

impl InForce {
    /// Reads a policy part.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(part: &[u8]) -> Result<InForce, String> {
        let text = std::str::from_utf8(part).map_err(|e| e.to_string())?;
        Ok(InForce {
            digest: Digest(Sha256::digest(part).into()),
            rules: Arc::new(Policy::parse(text).map_err(|e| e.to_string())?),
        })
    }
}

/// What holds at the moment of the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The granted person is enrolled: nobody removed them since the frames were judged.
    pub enrolled: bool,
    /// Somebody enrolls at the door right now: faces are looked at for that, not to be let in.
    pub enrolling: bool,
    /// There is a lockdown.
    pub lockdown: bool,
    /// What the policy says of the granted person; [`FREE`] without one.
    pub allowed: Result<Pass, Refuse>,
    /// The policy that was in force cannot be read any more.
    pub policy_lost: bool,
    /// A deny-listed face stands at the door: it is the nearest of a frame just judged.
    pub deny_listed: bool,
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
    /// The policy does not let them.
    Policy(Refuse),
    /// Nobody knows what the policy says.
    PolicyLost,
}

/// Rules on a decision.
#[must_use]
pub fn rule(decision: &Decision, facts: Facts) -> Ruling {
    let refuse = match &decision.outcome {
        Outcome::Denied(vote::Reason::Rejected(_) | vote::Reason::Unsteady)
            if facts.deny_listed =>
        {
            Reason::Policy(Refuse::DenyListed)
        }
        Outcome::Denied(reason) => Reason::NotRecognised(*reason),
        Outcome::Granted { .. } if facts.lockdown => Reason::LockedDown,
        Outcome::Granted { .. } if !facts.enrolled => Reason::Removed,
        Outcome::Granted { .. } if facts.policy_lost => Reason::PolicyLost,
        Outcome::Granted { .. } if facts.deny_listed => Reason::Policy(Refuse::DenyListed),
        Outcome::Granted { person } => match facts.allowed {
            // The last one: whoever is refused for this alone may pass, and so may vouch for a newcomer.
            Ok(_) if facts.enrolling => Reason::Enrolling,
            Ok(_) => {
                return Ruling::Pass {
                    person: person.clone(),
                };
            }
            Err(refuse) => Reason::Policy(refuse),
        },
    };
    Ruling::Refuse(refuse)
}

#[cfg(test)]
mod tests {
    use facelatch_models::openset::Reject;

    use super::*;
    use crate::identify::Evidence;

    const FACTS: Facts = Facts {
        enrolled: true,
        enrolling: false,
        lockdown: false,
        allowed: Ok(FREE),
        policy_lost: false,
        deny_listed: false,
    };

    #[test]
    fn only_who_is_enrolled_and_allowed_passes_and_nobody_during_an_enrollment_or_a_lockdown() {
        let granted = Outcome::Granted {
            person: "ada".into(),
        };
        let denied = |reason| Outcome::Denied(reason);
        let pass = Ruling::Pass {
            person: "ada".into(),
        };
        let ambiguous = vote::Reason::Rejected(Reject::Ambiguous);
        let lockdown = Facts {
            lockdown: true,
            ..FACTS
        };
        let deny_listed = Facts {
            deny_listed: true,
            ..FACTS
        };
        let refused = |refuse| Facts {
            allowed: Err(refuse),
            ..FACTS
        };
        let refuse = Ruling::Refuse;
        let cases = [
            (granted.clone(), FACTS, pass),
            (
                granted.clone(),
                Facts {
                    enrolled: false,
                    ..FACTS
                },
                refuse(Reason::Removed),
            ),
            (
                granted.clone(),
                Facts {
                    enrolling: true,
                    ..FACTS
                },
                refuse(Reason::Enrolling),
            ),
            (
                granted.clone(),
                Facts {
                    enrolling: true,
                    ..refused(Refuse::Disabled)
                },
                refuse(Reason::Policy(Refuse::Disabled)),
            ),
            (granted.clone(), lockdown, refuse(Reason::LockedDown)),
            (
                granted.clone(),
                refused(Refuse::NotNow),
                refuse(Reason::Policy(Refuse::NotNow)),
            ),
            (
                granted.clone(),
                Facts {
                    lockdown: true,
                    ..refused(Refuse::Disabled)
                },
                refuse(Reason::LockedDown),
            ),
            (
                granted.clone(),
                Facts {
                    policy_lost: true,
                    ..FACTS
                },
                refuse(Reason::PolicyLost),
            ),
            (
                granted,
                deny_listed,
                refuse(Reason::Policy(Refuse::DenyListed)),
            ),
            (
                denied(vote::Reason::NoFace),
                lockdown,
                refuse(Reason::NotRecognised(vote::Reason::NoFace)),
            ),
            (
                denied(ambiguous),
                FACTS,
                refuse(Reason::NotRecognised(ambiguous)),
            ),
            (
                denied(ambiguous),
                deny_listed,
                refuse(Reason::Policy(Refuse::DenyListed)),
            ),
        ];
        for (outcome, facts, expected) in cases {
            let decision = Decision {
                track: Some(1),
                outcome,
                evidence: Evidence::default(),
                votes: 3,
            };
            assert_eq!(rule(&decision, facts), expected, "{decision:?} {facts:?}");
        }
    }

    #[test]
    fn a_part_that_is_no_policy_is_told_apart_from_one() {
        assert!(InForce::read(b"unlisted = \"never\"").is_ok());
        assert!(InForce::read(b"unlisted = \"maybe\"").is_err());
        assert!(InForce::read(&[0xff]).is_err());
    }
}
