//! Bundles on disk: the whole way of a push, every refusal, damage at rest, and a disk that fails or loses power at any
//! operation.
//!
//! The rule under test: whatever happens, the bundle in use is the old one or the new one, whole.

mod bundles;
mod damage;
mod interrupted;
mod personal;
mod power_cut;
mod push;
mod refusals;
mod trial;
