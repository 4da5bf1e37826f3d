//! The verbs, one a file: arguments with their help, what the verb does, and what it reports.

pub mod audit;
pub mod bench;
pub mod calibrate;
pub mod demo;
pub mod detect;
pub mod door;
pub mod doors;
pub mod embed;
pub mod enroll;
pub mod evaluate;
pub mod events;
pub mod hosts;
pub mod keys;
pub mod latch;
pub mod models;
pub mod pack;
pub mod pad;
pub mod pair;
pub mod people;
pub mod policy;
pub mod predict;
pub mod pull;
pub mod push;
pub mod status;
pub mod train;
