//! Why the device failed, grouped by whose doing it is, and the exit code that tells a script so.
//!
//! What a peer on the link is told is decided in `link::handlers`, not here.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operator's: arguments that do not go together.
    #[error("{0}")]
    Call(String),
    /// The operator's: the settings.
    #[error("{path}: {why}")]
    Config {
        /// The settings file.
        path: PathBuf,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The operator's: the link cannot start.
    #[error(transparent)]
    Link(#[from] crate::link::Error),
    /// The operator's: another daemon works on the same data folder.
    #[error(
        "the data folder {path} is in use by another facelatchd: stop it, or give another --data"
    )]
    DataInUse {
        /// The folder.
        path: PathBuf,
    },
    /// The operator's: templates, classifier and networks are not of one embedding space.
    #[error(
        "the gallery is of embedding space {found}, the networks are of {expected}: push a bundle made with them"
    )]
    Space {
        /// The networks' space.
        expected: String,
        /// The space met.
        found: String,
    },
    /// The operator's or the peer's: no such person.
    #[error("nobody with the id {0} is enrolled")]
    UnknownPerson(String),
    /// The operator's or the peer's: an id that is taken.
    #[error("there is another person with the id {0}")]
    PersonExists(String),
    /// The operator's or the peer's: the gallery is full.
    #[error("{what} are limited to {limit}: remove some, or raise the limit in device.toml")]
    Full {
        /// People, or templates of a person.
        what: &'static str,
        /// The limit.
        limit: u32,
    },
    /// The operator's or the peer's: pairing, revoking or a change of signing keys that is not to be.
    #[error(transparent)]
    Hosts(#[from] crate::hosts::Refused),
    /// The operator's or the peer's: values that are no template of the space.
    #[error("a template has to be a unit vector of {dimension} finite numbers")]
    Template {
        /// How many numbers the space has.
        dimension: usize,
    },
    /// Hardware: board, camera, relay.
    #[error(transparent)]
    Board(#[from] facelatch_boards::Error),
    /// Perception: networks that cannot be loaded or run.
    #[error(transparent)]
    Models(#[from] facelatch_models::Error),
    /// Storage: bundle slots.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// Storage: a file.
    #[error("cannot {doing} {path}: {source}")]
    Storage {
        /// The verb.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Storage: the gallery cannot be read or written.
    #[error("gallery: {0}")]
    Gallery(String),
    /// Storage: the gallery was changed from outside or by a failing disk, beyond what its second copy can heal. Never
    /// opened as an empty one.
    #[error(
        "the gallery in {path} is damaged: {why}; restore the whole data folder, or move this folder away, start again \
         and push the bundle: who was enrolled at the door has to be enrolled again"
    )]
    GalleryDamaged {
        /// The folder.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// Storage: the device's own keys were changed from outside, are gone, or are no secret any more.
    #[error(
        "the device's keys in {path} cannot be used: {why}; restore the file, or move the whole data folder away and set \
         the door up anew"
    )]
    KeysDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// Storage: the ledger of denials, visits and who is inside cannot be read or written. The door stays shut meanwhile.
    #[error("ledger: {0}")]
    Ledger(String),
    /// Storage: the audit record was changed from outside.
    #[error(
        "the audit record {path} is damaged at record {at}: {why}; move the folder away to begin a new one"
    )]
    AuditDamaged {
        /// The file.
        path: PathBuf,
        /// Sequence number of the first wrong record.
        at: u64,
        /// What does not fit.
        why: String,
    },
    /// A bug here.
    #[error("internal fault: {0}; please report it")]
    Bug(String),
}

impl Error {
    /// For `map_err`: a failure of the disk at `path`.
    pub fn storage(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Storage {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// The process exit code: 2 the call was wrong, 4 the machine failed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Board(error) if error.is_operators() => 2,
            Error::Models(facelatch_models::Error::Engine(_)) => 2,
            Error::Call(_)
            | Error::Config { .. }
            | Error::Link(_)
            | Error::DataInUse { .. }
            | Error::Space { .. }
            | Error::UnknownPerson(_)
            | Error::PersonExists(_)
            | Error::Full { .. }
            | Error::Hosts(_)
            | Error::Template { .. } => 2,
            Error::Board(_)
            | Error::Models(_)
            | Error::Store(_)
            | Error::Storage { .. }
            | Error::Gallery(_)
            | Error::GalleryDamaged { .. }
            | Error::KeysDamaged { .. }
            | Error::AuditDamaged { .. }
            | Error::Ledger(_)
            | Error::Bug(_) => 4,
        }
    }
}
