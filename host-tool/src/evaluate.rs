//! How good is recognition on a folder of people? Pure maths over embeddings, in the terms of ISO/IEC 19795-1.
//!
//! ```text
//! pairs         all pairs of photos -> distances of genuine and impostor pairs
//! verification  those distances -> EER, TMR at a fixed FMR, error rates at a threshold
//! groups        the same at one common threshold, group by group
//! openset       some people enrolled, the others strangers -> FPIR and FNIR of the gate a door uses
//! interval      what so many trials can prove: Clopper-Pearson bounds
//! lfw           pairs named by a file, in folds: LFW's own protocol
//! worst         who is recognised worst
//! map           embeddings as points of a plane
//! charts, html  all of it as one page
//! ```
//!
//! Nothing here reads photos or runs networks; `cmd/evaluate.rs` feeds it.

pub mod charts;
pub mod groups;
pub mod html;
pub mod interval;
pub mod lfw;
pub mod map;
pub mod openset;
pub mod pairs;
pub mod verification;
pub mod worst;
