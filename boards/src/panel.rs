//! What people at the door see, hear and touch besides the latch: indicator, buzzer, buttons, contacts.
//!
//! `sim/panel.rs` and `wired/panel.rs` implement these; keys to type a PIN with are in `keypad.rs`. None of them can open the door by itself.

use serde::{Deserialize, Serialize};

use crate::Error;

/// What the indicator tells the person at the door. One meaning, one pattern; how it looks is the board's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// Nobody gets in until an operator says so.
    LockedDown,
    /// The door was forced, or stays open.
    Alarm,
    /// Look into the camera.
    LookStraight,
    /// Turn the head to your left.
    TurnLeft,
    /// Turn the head to your right.
    TurnRight,
    /// Lift the chin.
    LookUp,
    /// Lower the chin.
    LookDown,
    /// Somebody who may enroll others has to look into the camera.
    ShowAdmin,
    /// Type the PIN.
    EnterPin,
    /// Too many were denied: wait.
    LockedOut,
}

/// What the buzzer lets be heard. One meaning, one sound; how it sounds is the board's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sound {
    /// Nothing.
    Silent,
    /// Come in.
    Granted,
    /// Not you, or not now.
    Denied,
    /// Close the door.
    CloseDoor,
    /// The door was forced, the case opened, or there is a fire.
    Alarm,
    /// Turn the head to your left.
    TurnLeft,
    /// Turn the head to your right.
    TurnRight,
}

/// One press of a button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Press {
    /// How long the button was held.
    pub held: std::time::Duration,
}

/// The light at the door.
pub trait Indicator: Send {
    /// Shows a pattern until the next call.
    ///
    /// # Errors
    ///
    /// [`Error::PanelFailed`]; the door works without its indicator.
    fn show(&mut self, pattern: Pattern) -> Result<(), Error>;
}

/// The buzzer at the door.
pub trait Buzzer: Send {
    /// Lets this be heard until the next call.
    ///
    /// # Errors
    ///
    /// [`Error::PanelFailed`]; the door works without its buzzer.
    fn sound(&mut self, sound: Sound) -> Result<(), Error>;
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

/// A contact that is on or off: a request to exit, the case, the fire panel. Short changes are not lost between two calls.
pub trait Contact: Send {
    /// The oldest change that has not been told yet, without waiting: whether the contact is on from then on. The first
    /// call tells how it stands.
    ///
    /// # Errors
    ///
    /// [`Error::PanelFailed`]; then nobody knows.
    fn change(&mut self) -> Result<Option<bool>, Error>;
}
