//! The simulated board: replay camera, recorded relay, panel and clock that a program or a test holds the other end of.
//!
//! Product code: `facelatchd --board sim`, the demo and the whole test suite run on it. [`Handle`] is that other end:
//! send visitors, press the button, read the relay's timeline. Nothing here opens hardware.

mod camera;
mod clock;
mod panel;
mod photo;
mod relay;
mod strikes;
mod trust;
mod visitors;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

pub use clock::{ManualClock, Wall};
pub use panel::{Input, Panel, Shown};
pub use relay::{Edge, Timeline};
pub use strikes::{Harm, Part, Strike, Strikes};
pub use trust::Trust;
pub use visitors::{Moving, Picture, Skipped, Visitor, Visitors};

pub(crate) use camera::ReplayCamera;
pub(crate) use clock::SimClock;
pub(crate) use relay::RecordedRelay;

use crate::clock::{Clock, SystemClock};

/// How the simulated parts of a board behave.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimFacts {
    /// Which clock the board has.
    pub clock: ClockKind,
    /// Where the relay's timeline is also written, one JSON object a line, as it happens.
    pub relay_record: Option<PathBuf>,
    /// The wall time is not known to be right, until [`Handle::trust`] says otherwise.
    pub clock_untrusted: bool,
    /// What breaks, and when.
    pub faults: Faults,
}

/// Which clock a simulated board has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockKind {
    /// The system's clocks: a replay takes as long as it says.
    #[default]
    System,
    /// Time moves by the frames; nothing sleeps.
    Manual,
}

/// Faults to inject, counted from the opening of the board. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// The camera is gone from this frame on.
    pub camera_lost_at_frame: Option<u64>,
    /// These frames arrive damaged.
    pub damaged_frames: Vec<u64>,
    /// The relay fails at this move and at every later one.
    pub relay_fails_at_move: Option<u64>,
    /// Parts that break for one use; [`Handle::strikes`] arms more while the board runs.
    pub strikes: Vec<Strike>,
}

/// The other end of a simulated board. Clones are the same board.
#[derive(Clone)]
pub struct Handle {
    /// Who comes to the camera.
    pub visitors: Visitors,
    /// What the relay did, and when.
    pub relay: Timeline,
    /// Indicator, buzzer, button and contacts.
    pub panel: Panel,
    /// Whether its wall time is known to be right.
    pub trust: Trust,
    /// The manual clock, if the board has one.
    pub clock: Option<ManualClock>,
    /// The wall time, which somebody may set.
    pub wall: Wall,
    /// What breaks, while the board runs.
    pub strikes: Strikes,
}

pub(crate) fn clock(kind: ClockKind) -> (Arc<dyn Clock>, Option<ManualClock>) {
    match kind {
        ClockKind::System => (Arc::new(SystemClock::new()), None),
        ClockKind::Manual => {
            let clock = ManualClock::starting_at(SystemClock::new().unix_ms());
            (Arc::new(clock.clone()), Some(clock))
        }
    }
}
