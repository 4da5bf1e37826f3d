//! What can go wrong with bundles, by whose doing it is, and what a peer is told of it.

use std::io;

use facelatch_protocol::{BundleFault, Refusal};

/// What can go wrong with bundles.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The peer offered more than is taken.
    #[error(
        "bundle of {size} bytes is larger than {limit}: raise max_bundle_bytes or pack fewer parts"
    )]
    TooLarge {
        /// Size of all parts.
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
    /// A chunk, commit or check without an offer.
    #[error("no bundle is being received: offer one first")]
    NotStaging,
    /// A commit of another bundle than the one received.
    #[error("another bundle is being received: offer this one first")]
    OtherBundle,
    /// Bytes of a part that the manifest does not name.
    #[error("bytes of part {part}, but the bundle has {parts} parts: offer it again")]
    UnknownPart {
        /// Which part; counted from 0.
        part: usize,
        /// How many there are.
        parts: usize,
    },
    /// A chunk that leaves a gap, comes twice, or goes past the part's end.
    #[error("chunk at offset {found}, expected {expected}: go on there")]
    Offset {
        /// Where the chunk starts.
        found: u64,
        /// Where the store stands.
        expected: u64,
    },
    /// A commit before the end.
    #[error("received only {received} of {size} bytes: send the rest")]
    Incomplete {
        /// Bytes of all parts that are there.
        received: u64,
        /// Size of all parts.
        size: u64,
    },
    /// Not a bundle, a damaged one, or one that is not for this door.
    #[error("bundle cannot be used: {0}")]
    Bundle(BundleFault),
    /// No bundle to go back from.
    #[error("no bundle is in use: there is nothing to go back from")]
    NoBundle,
    /// Both copies of the state are damaged or gone.
    #[error(
        "the files that say which bundle is in use are damaged, both copies: move the folder `bundles` away, start again \
         and push a bundle"
    )]
    StateDamaged,
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
    pub(super) fn storage(doing: &'static str) -> impl Fn(io::Error) -> Error + Copy {
        move |source| Error::Storage { doing, source }
    }

    /// A part whose bytes are not those the manifest names.
    pub(super) fn part_digest(part: usize) -> Error {
        // A manifest holds at most MAX_PARTS = 16 parts.
        Error::Bundle(BundleFault::PartDigest { part: part as u8 })
    }

    /// What a peer is told.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match *self {
            Error::TooLarge { limit, .. } => Refusal::BundleTooLarge { limit },
            Error::NoSpace { needed, free } => Refusal::NoSpace { needed, free },
            Error::NotStaging => Refusal::NotStaging,
            Error::OtherBundle => Refusal::OtherBundle,
            Error::UnknownPart { .. } => Refusal::Bundle(BundleFault::PartMissing),
            Error::Offset { expected, .. } => Refusal::Offset { expected },
            Error::Incomplete { received, size } => Refusal::Incomplete { received, size },
            Error::Bundle(fault) => Refusal::Bundle(fault),
            Error::NoBundle => Refusal::Internal,
            Error::StateDamaged | Error::Storage { .. } => Refusal::Storage,
        }
    }
}

impl From<BundleFault> for Error {
    fn from(fault: BundleFault) -> Error {
        Error::Bundle(fault)
    }
}
