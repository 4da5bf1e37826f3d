//! Presentation attack detection: making clips of synthetic attacks and heads, and measuring on clips.
//!
//! ```text
//! photo -> head, species (what moves how) -> scene (pixels) -> clip (a folder of frames)  -> judge -> report
//! ```
//!
//! What is made here is synthetic and says so in every clip and report. Rates of synthetic attacks say what the geometry
//! can and cannot be fooled by; they do not say how a door fares against people. Liveness itself is `models`'.

pub mod actor;
pub mod clip;
pub mod head;
pub mod judge;
pub mod report;
pub mod scene;
pub mod sitter;
pub mod species;
