//! What a door reports of itself: decisions with their reason, door states, updates, faults.
//!
//! The same words go over the link, into the audit record and into the demo's timeline.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    keys::PublicKey,
    names::{Digest, DisplayName, PersonId, Text},
    visit::{Enrollment, Lockout, Prompt},
};

/// One thing that happened at the door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1 since the device was set up; never reused.
    pub seq: u64,
    /// Wall time, milliseconds since 1970.
    pub unix_ms: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum EventKind {
    /// A visit was decided.
    Decision {
        /// May the person pass?
        granted: bool,
        /// Why.
        reason: Reason,
        /// The enrolled person named, if any; a denied visitor may resemble one.
        person: Option<PersonId>,
        /// Cosine distance to the nearest template, in [0, 2].
        distance: Option<f32>,
        /// The classifier's probability for `person`, in [0, 1].
        probability: Option<f32>,
        /// From the frame that settled it to the decision, in milliseconds.
        latency_ms: u32,
    },
    /// The door changed state.
    Door(DoorState),
    /// A bundle moved a step.
    Update {
        /// Which bundle.
        digest: Digest,
        /// Which step.
        step: UpdateStep,
    },
    /// Something failed; the door is in its safe state until it is repaired.
    Fault(Text<160>),
    /// The listener was too slow, and this many events before this one were not sent.
    Missed {
        /// How many.
        count: u64,
    },
    /// A bundle did not prove itself, and the one before is in use again.
    RolledBack {
        /// Which bundle.
        digest: Digest,
        /// Why.
        reason: RollbackReason,
        /// What failed, in words.
        text: Text<96>,
    },
    /// Something other than a face is about to open the door; the state that follows says until when.
    Opened(Opener),
    /// A host began or ended a lockdown.
    Lockdown {
        /// Whether it began.
        on: bool,
        /// The host's key.
        host: PublicKey,
        /// The host's name, as it said when it paired.
        name: DisplayName,
    },
    /// An alarm began or ended.
    Alarm {
        /// Which.
        alarm: Alarm,
        /// Whether it began.
        on: bool,
    },
    /// Whoever stands at the door is asked for something.
    Prompt(Prompt),
    /// An enrollment at the door moved a step.
    Enrollment(Enrollment),
    /// Denials piled up, or an operator ended that.
    Lockout(Lockout),
    /// Somebody let themselves in with a duress code. Nothing at the door shows it.
    Duress {
        /// Who.
        person: PersonId,
    },
    /// Somebody left, as a reader inside or a host says.
    PassedOut {
        /// Who.
        person: PersonId,
    },
}

/// What opens a door without a face. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opener {
    /// A request to exit, from inside.
    Exit,
    /// A paired host.
    Host {
        /// Its key.
        host: PublicKey,
        /// Its name, as it said when it paired.
        name: DisplayName,
    },
    /// The schedule.
    Schedule,
}

impl fmt::Display for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Opener::Exit => f.write_str("a request to exit"),
            Opener::Host { name, .. } => write!(f, "host {name}"),
            Opener::Schedule => f.write_str("the schedule"),
        }
    }
}

/// What a door raises an alarm for. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Alarm {
    /// The door was opened while it was locked.
    ForcedOpen,
    /// The door stays open.
    HeldOpen,
    /// The case was opened.
    Tamper,
    /// The fire input.
    Fire,
}

impl Alarm {
    /// The alarm as one word of JSON and log files; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Alarm::ForcedOpen => "forced-open",
            Alarm::HeldOpen => "held-open",
            Alarm::Tamper => "tamper",
            Alarm::Fire => "fire",
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a bundle did not prove itself. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RollbackReason {
    /// It could not be loaded, or failed its self-test, at a start while on trial.
    SelfTest,
    /// Judging a frame failed while it was on trial.
    Networks,
    /// Its people could not be taken over.
    Gallery,
    /// The device was started too often while it was on trial.
    Unproven,
}

impl RollbackReason {
    /// The reason as one word of JSON and log files; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            RollbackReason::SelfTest => "self-test",
            RollbackReason::Networks => "networks",
            RollbackReason::Gallery => "gallery",
            RollbackReason::Unproven => "unproven",
        }
    }
}

impl fmt::Display for RollbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a visit ended as it did. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// An enrolled person, confirmed.
    Granted,
    /// Nobody enrolled: no template near enough, or the classifier says so.
    Unknown,
    /// Two enrolled people are too close to tell apart.
    Ambiguous,
    /// Too few frames agreed.
    NotConfirmed,
    /// The face has too few pixels: the person should come nearer.
    TooFar,
    /// The face is not sharp enough.
    Blurred,
    /// The face or the frame is too dark.
    Dark,
    /// The face is overexposed.
    Bright,
    /// Part of the face is outside the picture.
    HalfVisible,
    /// The face is turned away.
    TurnedAway,
    /// More than one face.
    SeveralFaces,
    /// No face.
    NoFace,
    /// Not a living face.
    NotLive,
    /// The person may not pass at this time.
    NotNow,
    /// Too many denied attempts; waiting.
    LockedOut,
    /// Nobody is enrolled.
    EmptyGallery,
    /// Something failed.
    Fault,
    /// There is a lockdown.
    LockedDown,
    /// A face that must never open: it is on the list of those denied.
    DenyListed,
    /// The person may not pass at this door.
    NotHere,
    /// The person's time has not begun, or is over.
    NotValid,
    /// The person is disabled.
    Disabled,
    /// The PIN was wrong, or did not come in time.
    WrongPin,
    /// The person is inside already, as far as the door knows.
    AlreadyInside,
    /// The person has hours, and the door does not know what time it is.
    NoClock,
    /// Faces do not open until an operator says so: too many were denied.
    FaceDisabled,
}

impl Reason {
    /// All reasons, in wire order.
    pub const ALL: [Reason; 26] = [
        Reason::Granted,
        Reason::Unknown,
        Reason::Ambiguous,
        Reason::NotConfirmed,
        Reason::TooFar,
        Reason::Blurred,
        Reason::Dark,
        Reason::Bright,
        Reason::HalfVisible,
        Reason::TurnedAway,
        Reason::SeveralFaces,
        Reason::NoFace,
        Reason::NotLive,
        Reason::NotNow,
        Reason::LockedOut,
        Reason::EmptyGallery,
        Reason::Fault,
        Reason::LockedDown,
        Reason::DenyListed,
        Reason::NotHere,
        Reason::NotValid,
        Reason::Disabled,
        Reason::WrongPin,
        Reason::AlreadyInside,
        Reason::NoClock,
        Reason::FaceDisabled,
    ];

    /// The reason as one word of JSON and log files; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Granted => "granted",
            Reason::Unknown => "unknown",
            Reason::Ambiguous => "ambiguous",
            Reason::NotConfirmed => "not-confirmed",
            Reason::TooFar => "too-far",
            Reason::Blurred => "blurred",
            Reason::Dark => "dark",
            Reason::Bright => "bright",
            Reason::HalfVisible => "half-visible",
            Reason::TurnedAway => "turned-away",
            Reason::SeveralFaces => "several-faces",
            Reason::NoFace => "no-face",
            Reason::NotLive => "not-live",
            Reason::NotNow => "not-now",
            Reason::LockedOut => "locked-out",
            Reason::EmptyGallery => "empty-gallery",
            Reason::Fault => "fault",
            Reason::LockedDown => "locked-down",
            Reason::DenyListed => "deny-listed",
            Reason::NotHere => "not-here",
            Reason::NotValid => "not-valid",
            Reason::Disabled => "disabled",
            Reason::WrongPin => "wrong-pin",
            Reason::AlreadyInside => "already-inside",
            Reason::NoClock => "no-clock",
            Reason::FaceDisabled => "face-disabled",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the door is doing. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DoorState {
    /// Before the first frame was judged: the relay rests in its safe state.
    Starting,
    /// Locked, watching.
    Locked,
    /// Open for somebody.
    Unlocked {
        /// Wall time at which it locks again, milliseconds since 1970.
        until_unix_ms: u64,
    },
    /// Something failed: the relay rests in its safe state.
    Fault,
    /// The daemon is stopping: the relay rests in its safe state.
    Stopped,
    /// Unlocked by the schedule.
    OpenBySchedule,
    /// Locked, and open for too long.
    HeldOpen,
    /// Locked, and opened all the same.
    ForcedOpen,
    /// Nobody gets in until an admin's host ends it.
    LockedDown,
    /// The fire input opened it.
    Fire,
}

impl DoorState {
    /// When it locks again, in wall time; `None` in a state that no time ends.
    #[must_use]
    pub const fn until_unix_ms(self) -> Option<u64> {
        match self {
            DoorState::Unlocked { until_unix_ms } => Some(until_unix_ms),
            DoorState::Starting
            | DoorState::Locked
            | DoorState::Fault
            | DoorState::Stopped
            | DoorState::OpenBySchedule
            | DoorState::HeldOpen
            | DoorState::ForcedOpen
            | DoorState::LockedDown
            | DoorState::Fire => None,
        }
    }

    /// The state as one word of JSON and log files; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            DoorState::Starting => "starting",
            DoorState::Locked => "locked",
            DoorState::Unlocked { .. } => "unlocked",
            DoorState::Fault => "fault",
            DoorState::Stopped => "stopped",
            DoorState::OpenBySchedule => "open-by-schedule",
            DoorState::HeldOpen => "held-open",
            DoorState::ForcedOpen => "forced-open",
            DoorState::LockedDown => "locked-down",
            DoorState::Fire => "fire",
        }
    }
}

impl fmt::Display for DoorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How far a bundle came. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateStep {
    /// Received and checked, now on trial on disk.
    Committed,
    /// Loaded, tested, and judging frames.
    Running,
    /// It did not prove itself; the previous one is active again.
    RolledBack,
    /// It has proved itself: now the active one.
    Confirmed,
}

impl UpdateStep {
    /// The step as one word of JSON and log files; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            UpdateStep::Committed => "committed",
            UpdateStep::Running => "running",
            UpdateStep::RolledBack => "rolled-back",
            UpdateStep::Confirmed => "confirmed",
        }
    }
}

impl fmt::Display for UpdateStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
