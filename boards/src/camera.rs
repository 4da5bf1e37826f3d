//! What a camera is to the daemon: the newest frame, or a reason why there is none.
//!
//! The daemon's loop calls the trait. `sim/camera.rs` implements it with photos, `camera/reopening.rs` with raw bytes from a
//! device (`linux/camera.rs`) or a program's pipe (`camera/program.rs`); what they have in common and is pure is here too.

#[cfg(any(test, feature = "v4l"))]
pub(crate) mod choose;
pub(crate) mod facts;
pub(crate) mod program;
pub(crate) mod reopening;
mod split;

use std::time::Duration;

use image::RgbImage;

use crate::Error;

/// One picture of the scene in front of the door.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Upright RGB pixels, `[height, width, 3]` u8.
    pub image: RgbImage,
    /// When the picture was taken, on the board's monotonic clock ([`crate::Clock::now`]).
    pub at: Duration,
    /// Which visitor a replay shows; a real camera never has one, and no decision may read it.
    pub label: Option<String>,
}

/// What asking a camera brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Capture {
    /// The newest frame; older ones that nobody asked for are gone.
    Frame(Frame),
    /// No frame yet: ask again. The camera has waited up to one frame interval before saying so.
    Waiting,
    /// The replay is over and was told to stop. A real camera never ends, it fails.
    Ended,
}

/// A source of frames. One thread owns it.
pub trait Camera: Send {
    /// The newest frame. Blocks for at most the camera's own time-out.
    ///
    /// # Errors
    ///
    /// [`Error::FrameDamaged`]: this one frame is lost, the next may be whole. [`Error::CameraLost`] and everything
    /// else: the camera is gone; the next call looks whether it is back.
    fn next(&mut self) -> Result<Capture, Error>;

    /// What the camera is, for the log and the status message: device, size, pixel format.
    fn describe(&self) -> String;
}
