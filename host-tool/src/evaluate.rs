//! How good is recognition on a folder of people? Pure maths over embeddings, in the terms of ISO/IEC 19795-1.
//!
//! ```text
//! pairs         all pairs of photos -> distances of genuine and impostor pairs
//! verification  those distances -> EER, TMR at a fixed FMR, error rates at a threshold
//! groups        the same at one common threshold, group by group
//! openset       some people enrolled, the others strangers -> FPIR and FNIR of the gate a door uses
//! interval      what so many trials can prove: Clopper-Pearson bounds
//! ```
//!
//! Nothing here reads photos or runs networks; `cmd/evaluate.rs` feeds it.

pub mod groups;
pub mod interval;
pub mod openset;
pub mod pairs;
pub mod verification;
