//! What a visit to the door can bring beside a decision: prompts, steps of an enrollment, lockouts.
//!
//! Parts of [`crate::EventKind`], and written to the audit record with it.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    event::Reason,
    keys::PublicKey,
    names::{DisplayName, PersonId},
};

/// What whoever stands at the door is asked to do; the indicator shows it too. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Prompt {
    /// Look into the camera.
    LookStraight,
    /// Turn the head to one's own left.
    TurnLeft,
    /// Turn the head to one's own right.
    TurnRight,
    /// Lift the chin.
    LookUp,
    /// Lower the chin.
    LookDown,
    /// Come nearer.
    ComeNearer,
    /// Hold still.
    HoldStill,
    /// Somebody who may enroll others has to look into the camera first.
    ShowAdmin,
    /// Type the PIN.
    EnterPin,
}

impl Prompt {
    /// The prompt as one word of JSON and log files; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Prompt::LookStraight => "look-straight",
            Prompt::TurnLeft => "turn-left",
            Prompt::TurnRight => "turn-right",
            Prompt::LookUp => "look-up",
            Prompt::LookDown => "look-down",
            Prompt::ComeNearer => "come-nearer",
            Prompt::HoldStill => "hold-still",
            Prompt::ShowAdmin => "show-admin",
            Prompt::EnterPin => "enter-pin",
        }
    }
}

impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A step of an enrollment at the door. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Enrollment {
    /// The button was held; an admin's face is awaited.
    Asked,
    /// This admin vouched for the newcomer by their face.
    Vouched {
        /// Which.
        admin: PersonId,
    },
    /// A host opened the window.
    Opened {
        /// Its key.
        host: PublicKey,
        /// Its name, as it said when it paired.
        name: DisplayName,
    },
    /// A good frame was kept.
    Taken {
        /// How many there are now.
        taken: u8,
        /// How many are wanted.
        wanted: u8,
    },
    /// The person is enrolled.
    Done {
        /// Who.
        person: PersonId,
        /// Templates kept.
        templates: u8,
        /// What they cover.
        coverage: Coverage,
    },
    /// It ended without.
    Refused(NotEnrolled),
}

/// What the templates of a person enrolled at the door cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// A frame looking straight.
    pub straight: bool,
    /// One turned to the person's left.
    pub left: bool,
    /// One turned to the right.
    pub right: bool,
    /// One looking up.
    pub up: bool,
    /// One looking down.
    pub down: bool,
    /// Mean luma of the darkest face, 0 to 255.
    pub luma_min: u8,
    /// Mean luma of the brightest face, 0 to 255.
    pub luma_max: u8,
}

/// Why an enrollment at the door ended without a new person. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotEnrolled {
    /// Nobody is enrolled who may vouch for a newcomer: open a window from a host.
    NoAdmin,
    /// The face shown first is not an admin's.
    NotAdmin,
    /// The face is this person's already.
    AlreadyEnrolled {
        /// Whose.
        person: PersonId,
    },
    /// Another face took the newcomer's place.
    OtherFace,
    /// Time was up; the reason of the last frame that was not good enough, if one was not.
    TimedOut {
        /// Which.
        last: Option<Reason>,
    },
    /// The button was pressed again, or a host closed the window.
    GivenUp,
    /// No more people fit.
    Full,
    /// Something failed.
    Fault,
}

impl NotEnrolled {
    /// The reason as one word of JSON and log files; stable.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            NotEnrolled::NoAdmin => "no-admin",
            NotEnrolled::NotAdmin => "not-admin",
            NotEnrolled::AlreadyEnrolled { .. } => "already-enrolled",
            NotEnrolled::OtherFace => "other-face",
            NotEnrolled::TimedOut { .. } => "timed-out",
            NotEnrolled::GivenUp => "given-up",
            NotEnrolled::Full => "full",
            NotEnrolled::Fault => "fault",
        }
    }
}

impl Enrollment {
    /// The step as one word of JSON and log files; stable.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Enrollment::Asked => "asked",
            Enrollment::Vouched { .. } => "vouched",
            Enrollment::Opened { .. } => "opened",
            Enrollment::Taken { .. } => "taken",
            Enrollment::Done { .. } => "done",
            Enrollment::Refused(_) => "refused",
        }
    }
}

impl fmt::Display for Enrollment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Enrollment::Asked => f.write_str("an admin's face is awaited"),
            Enrollment::Vouched { admin } => write!(f, "{admin} vouches"),
            Enrollment::Opened { name, .. } => write!(f, "opened by host {name}"),
            Enrollment::Taken { taken, wanted } => write!(f, "frame {taken} of {wanted}"),
            Enrollment::Done {
                person,
                templates,
                coverage,
            } => write!(f, "{person} is enrolled, {templates} templates, {coverage}"),
            Enrollment::Refused(NotEnrolled::AlreadyEnrolled { person }) => {
                write!(f, "refused: this is {person} already")
            }
            Enrollment::Refused(NotEnrolled::TimedOut { last: Some(reason) }) => {
                write!(f, "refused: timed-out, last frame {reason}")
            }
            Enrollment::Refused(why) => write!(f, "refused: {}", why.as_str()),
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let poses = [
            (self.straight, "straight"),
            (self.left, "left"),
            (self.right, "right"),
            (self.up, "up"),
            (self.down, "down"),
        ];
        let mut said = false;
        for (_, pose) in poses.iter().filter(|(there, _)| *there) {
            if said {
                f.write_str("+")?;
            }
            f.write_str(pose)?;
            said = true;
        }
        if !said {
            f.write_str("no pose")?;
        }
        write!(f, ", luma {} to {}", self.luma_min, self.luma_max)
    }
}

/// What can be locked out. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Factor {
    /// Faces at this door.
    Face,
    /// One person's PIN.
    Pin,
}

impl Factor {
    /// The factor as one word of JSON and log files; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Factor::Face => "face",
            Factor::Pin => "pin",
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Denials piled up, or an operator ended that. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lockout {
    /// Nobody passes by this factor until then.
    Waiting {
        /// Which factor.
        factor: Factor,
        /// Whose PIN.
        person: Option<PersonId>,
        /// Denials in a row.
        denials: u32,
        /// Wall time of its end, milliseconds since 1970.
        until_unix_ms: u64,
    },
    /// Nobody passes by this factor until an operator says so.
    Disabled {
        /// Which factor.
        factor: Factor,
        /// Whose PIN.
        person: Option<PersonId>,
        /// Denials in a row.
        denials: u32,
    },
    /// A host ended all of them.
    Cleared {
        /// Its key.
        host: PublicKey,
        /// Its name, as it said when it paired.
        name: DisplayName,
    },
}

impl Lockout {
    /// The lockout as one word of JSON and log files; stable.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Lockout::Waiting { .. } => "waiting",
            Lockout::Disabled { .. } => "disabled",
            Lockout::Cleared { .. } => "cleared",
        }
    }
}

impl fmt::Display for Lockout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (factor, person, denials) = match self {
            Lockout::Waiting {
                factor,
                person,
                denials,
                ..
            }
            | Lockout::Disabled {
                factor,
                person,
                denials,
            } => (factor, person, denials),
            Lockout::Cleared { name, .. } => return write!(f, "cleared by host {name}"),
        };
        write!(f, "{factor} ")?;
        if let Some(person) = person {
            write!(f, "of {person} ")?;
        }
        match self {
            Lockout::Disabled { .. } => write!(f, "disabled after {denials} denials"),
            Lockout::Waiting { .. } | Lockout::Cleared { .. } => {
                write!(f, "locked out for a while after {denials} denials")
            }
        }
    }
}
