//! What people at the door see and touch besides the latch: indicator, buttons, the door contact.
//!
//! `sim/panel.rs` and `pi/panel.rs` implement these. None of them can open the door by itself.

use serde::{Deserialize, Serialize};

use crate::Error;

/// What the indicator tells the person at the door. One meaning, one pattern; how it looks is the board's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// Not ready: networks are loading.
    Starting,
    /// Ready, nobody there.
    Ready,
    /// A face is being looked at.
    Looking,
    /// Come in.
    Granted,
    /// Not you, or not now.
    Denied,
    /// Waiting for a person to enroll.
    Enrolling,
    /// Something is wrong; the door is in its safe state.
    Fault,
}

/// One press of a button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Press {
    /// How long the button was held.
    pub held: std::time::Duration,
}

/// The light (or sound) at the door.
pub trait Indicator: Send {
    /// Shows a pattern until the next call.
    ///
    /// # Errors
    ///
    /// [`Error::PanelFailed`]; the door works without its indicator.
    fn show(&mut self, pattern: Pattern) -> Result<(), Error>;
}

/// A button; what a press means is the daemon's affair.
pub trait Button: Send {
    /// The oldest press since the last call that has ended, without waiting.
    ///
    /// # Errors
    ///
    /// [`Error::PanelFailed`].
    fn pressed(&mut self) -> Result<Option<Press>, Error>;
}

/// The contact that tells whether the door leaf is open.
pub trait DoorSensor: Send {
    /// Whether the door leaf is open now.
    ///
    /// # Errors
    ///
    /// [`Error::PanelFailed`]; then nobody knows, and the daemon must not take the door for closed.
    fn is_open(&mut self) -> Result<bool, Error>;
}
