//! What can go wrong with bundles, by whose doing it is, and what a peer is told of it.

use std::io;

use facelatch_protocol::{BundleFault, Refusal};

/// What can go wrong with bundles.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The peer announced more than is taken.
    #[error(
        "bundle of {size} bytes is larger than {limit}: raise max_bundle_bytes or pack fewer parts"
    )]
    TooLarge {
        /// Announced.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The disk is too full.
    #[error("disk has {free} bytes free and needs {needed}: free some space")]
    NoSpace {
        /// Needed, in bytes.
        needed: u64,
        /// Free, in bytes.
        free: u64,
    },
    /// A chunk, commit or check without a begin.
    #[error("no bundle is being received")]
    NotStaging,
    /// A commit of another bundle than the one received.
    #[error("another bundle is being received")]
    OtherBundle,
    /// A chunk that leaves a gap, comes twice, or goes past the announced end.
    #[error("chunk at offset {found}, expected {expected}")]
    Offset {
        /// Where the chunk starts.
        found: u64,
        /// Where the store stands.
        expected: u64,
    },
    /// A commit before the end.
    #[error("received only {received} of {size} bytes")]
    Incomplete {
        /// Received so far.
        received: u64,
        /// The announced size.
        size: u64,
    },
    /// The received bytes are not the announced ones.
    #[error("received bytes have another digest than announced")]
    Digest,
    /// Not a bundle, or a damaged one.
    #[error("bundle cannot be used: {0}")]
    Bundle(BundleFault),
    /// No bundle to go back to.
    #[error("no previous bundle to go back to")]
    NoPrevious,
    /// The disk failed.
    #[error("could not {doing}: {source}")]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// What the system reported.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: a failure of the disk while doing something.
    pub(super) fn storage(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Storage { doing, source }
    }

    /// What a peer is told.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match *self {
            Error::TooLarge { limit, .. } => Refusal::BundleTooLarge { limit },
            Error::NoSpace { needed, free } => Refusal::NoSpace { needed, free },
            Error::NotStaging => Refusal::NotStaging,
            Error::OtherBundle => Refusal::OtherBundle,
            Error::Offset { expected, .. } => Refusal::Offset { expected },
            Error::Incomplete { received, size } => Refusal::Incomplete { received, size },
            Error::Digest => Refusal::Digest,
            Error::Bundle(fault) => Refusal::Bundle(fault),
            Error::NoPrevious => Refusal::NotStaging,
            Error::Storage { .. } => Refusal::Storage,
        }
    }
}
