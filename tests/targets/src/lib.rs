//! Every reader of bytes that come from a peer, a file or a disk, as a function of any bytes at all: it must not panic, and
//! what it takes must be the same when it is written and read again.
//!
//! One body a target, called by the libFuzzer programs in `tests/fuzz` and by the replay on stable Rust in
//! `tests/tests/fuzz_replay.rs`, so that the two cannot drift apart. Nothing here generates bytes but [`Target::seeds`].
#![forbid(unsafe_code)]

mod bytes;
#[cfg(feature = "device")]
mod device;
mod handshake;
mod rules;
mod seeds;
mod wire;

pub use self::{
    bytes::{audit, bundle, gallery, manifest},
    handshake::handshake,
    rules::policy,
    wire::{frame, message, names},
};
#[cfg(feature = "device")]
pub use self::{
    device::{classifier, config, record},
    device::{people, store},
};

/// A valid input with the name of its file.
pub type Seed = (&'static str, Vec<u8>);

/// Something that reads bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of the fuzz program and of its folder of seeds.
    pub name: &'static str,
    /// Reads the bytes.
    pub body: fn(&[u8]),
    /// Valid inputs to begin with, the same ones every time.
    pub seeds: fn() -> Vec<Seed>,
    /// No input worth trying is longer, in bytes.
    pub max_len: usize,
}

impl Target {
    const fn new(
        name: &'static str,
        body: fn(&[u8]),
        seeds: fn() -> Vec<Seed>,
        max_len: usize,
    ) -> Target {
        Target {
            name,
            body,
            seeds,
            max_len,
        }
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target::new("frame", frame, seeds::frame, 8192),
    Target::new("message", message, seeds::message, 4096),
    Target::new("names", names, seeds::names, 256),
    Target::new("handshake", handshake, seeds::handshake, 1024),
    Target::new("bundle", bundle, seeds::bundle, 8192),
    Target::new("manifest", manifest, seeds::manifest, 2048),
    Target::new("gallery", gallery, seeds::gallery, 8192),
    Target::new("audit", audit, seeds::audit, 4096),
    Target::new("policy", policy, seeds::policy, 8192),
    #[cfg(feature = "device")]
    Target::new("config", config, seeds::config, 16384),
    #[cfg(feature = "device")]
    Target::new("classifier", classifier, seeds::classifier, 4096),
    #[cfg(feature = "device")]
    Target::new("store", store, seeds::store, 4096),
    #[cfg(feature = "device")]
    Target::new("people", people, seeds::people, 4096),
    #[cfg(feature = "device")]
    Target::new("record", record, seeds::record, 4096),
];
