//! `facelatch`, the operator's program: enrolls people from photos, trains, evaluates, and provisions doors.
//!
//! ```text
//! photos -> dataset -> embed (cache) -> home (people, classifier) -> pack (sign) -> client -> a door
//!                         \-> evaluate
//! ```
//!
//! One verb, one file under `cmd`; the modules beside it know nothing of the command line.

#![forbid(unsafe_code)]

pub mod cli;
pub mod cmd;

pub mod calibrate;
pub mod dataset;
pub mod demo;
pub mod demo_data;
pub mod embed;
pub mod enroll;
pub mod evaluate;
pub mod export;
pub mod home;
pub mod pack;
pub mod pad;
pub mod predict;
pub mod self_test;
pub mod serve;
pub mod train;

pub mod audit;
pub mod client;
pub mod connect;
pub mod doors;
pub mod keys;

pub mod cache;
pub mod draw;
pub mod progress;
pub mod report;
pub mod sealed;

mod error;
pub use error::{Error, Exit};
