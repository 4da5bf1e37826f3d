//! The networks and the maths between them: the same code on host and device.
//!
//! ```text
//! photo bytes -> image -> mtcnn (Detector) -> [Face] -> align -> Crop -> facenet (Embedder) -> Embedding -> classifier
//!                            \______ net (int8 engine, else tract) _____/
//! ```
//!
//! Policy (who may pass) and storage live in `device`; nothing here touches hardware or the network.

pub mod align;
#[cfg(feature = "build")]
pub mod build;
pub mod calibrate;
pub mod classifier;
pub mod compile;
pub mod embedding;
pub mod facenet;
pub mod image;
pub mod liveness;
pub mod manifest;
mod measured;
pub mod metric;
pub mod mtcnn;
pub mod net;
pub mod openset;
pub mod plans;
mod templates;
pub mod zoo;

mod error;
pub use error::Error;
