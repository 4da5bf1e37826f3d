//! What the tests of whole flows share: the real programs, a running door, lines that can be cut, prepared people.
//!
//! Nothing here replaces a part of the product. Waiting is always for an event (a line of output, a message, the end of a
//! process) with a deadline, never for time to pass.
#![forbid(unsafe_code)]

pub mod door;
pub mod line;
pub mod people;
pub mod programs;
pub mod server;
pub mod watch;
pub mod workspace;

/// How long anything may take before a test gives up: far above what a slow machine needs.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(180);
