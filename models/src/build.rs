//! From published weights to the files that ship: import, simplify, calibrate, quantize, write. The host's work only.
//!
//! ```text
//! TensorFlow graph -> tensorflow \                                             / float ONNX
//! TensorFlow Lite  -> tflite      > Graph -> simplify -> calibrate -> quantize -> export
//! ONNX             -> onnx       /              \______ reference ______/       \ QDQ int8 ONNX
//! ```
//!
//! `shipped` runs this for the zoo from pinned packages; `own` for a network of the user's.

pub mod calibrate;
pub mod equalize;
pub mod export;
mod flatbuffer;
pub mod graph;
pub mod inputs;
pub mod onnx;
pub mod own;
pub mod packages;
pub mod quantize;
pub mod reference;
pub mod shipped;
pub mod simplify;
pub mod tensorflow;
pub mod tflite;

pub use own::{OwnNetwork, quantize_own};
pub use shipped::{Places, build_zoo};

/// Told how long work gets on; steps may come from any thread.
pub trait Progress: Sync {
    /// A phase of `steps` steps begins.
    fn start(&self, phase: &str, steps: u64);
    /// One step is done.
    fn step(&self);
}

/// Tells nobody.
impl Progress for () {
    fn start(&self, _phase: &str, _steps: u64) {}
    fn step(&self) {}
}
