//! What a door reports of itself: decisions with their reason, door states, updates, faults.
//!
//! The same words go over the link, into the audit record and into the demo's timeline.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::names::{Digest, PersonId, Text};

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
}

impl Reason {
    /// All reasons, in wire order.
    pub const ALL: [Reason; 17] = [
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
}

impl DoorState {
    /// The state as one word of JSON and log files; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            DoorState::Starting => "starting",
            DoorState::Locked => "locked",
            DoorState::Unlocked { .. } => "unlocked",
            DoorState::Fault => "fault",
            DoorState::Stopped => "stopped",
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
