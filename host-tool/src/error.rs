//! Why a verb failed, grouped by who can do something about it, and the exit code that says so.
//!
//! Every error of this crate is an [`Error`]; `main` turns the first one it finds into an [`Exit`].

use std::{io, path::PathBuf};

use crate::client::Blame;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operator's: a folder that is not laid out as a verb needs it.
    #[error("{dir}: {why}")]
    Layout {
        /// The folder.
        dir: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// The operator's: a file named on the command line that cannot be used.
    #[error("{path}: {why}")]
    Input {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The operator's: a step is missing before this one.
    #[error("{0}")]
    NotReady(String),
    /// The operator's: a value that cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// The machine's: reading or writing failed.
    #[error("cannot {doing} {path}: {source}")]
    Storage {
        /// "read", "write", ...
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The machine's: a file this program wrote is damaged.
    #[error("{path} is damaged ({why}); {remedy}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        why: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Perception's own errors.
    #[error(transparent)]
    Models(#[from] facelatch_models::Error),
    /// A door's answer, or its silence.
    #[error(transparent)]
    Client(#[from] crate::client::Error),
    /// The machine's: the demo's own door failed.
    #[error("the demo's door: {0}")]
    Demo(String),
    /// A bug in this program.
    #[error("bug: {0}")]
    Bug(String),
}

/// How a verb ended, as the shell sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; for a question, the answer is yes.
    Done,
    /// The answer is no.
    No,
    /// The call was wrong: the operator can mend it.
    Usage,
    /// The device refused.
    Refused,
    /// The machine failed: disk, network, device out of reach, bug.
    Failed,
}

impl Exit {
    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::No => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Failed => 4,
        }
    }
}

impl Error {
    /// The exit code this error leads to.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Error::Layout { .. } | Error::Input { .. } | Error::NotReady(_) | Error::Usage(_) => {
                Exit::Usage
            }
            Error::Storage { .. } | Error::Damaged { .. } | Error::Demo(_) | Error::Bug(_) => {
                Exit::Failed
            }
            Error::Models(error) => models_exit(error),
            Error::Client(error) => match error.blame() {
                Blame::Operator => Exit::Usage,
                Blame::Device => Exit::Refused,
                Blame::Machine => Exit::Failed,
            },
        }
    }

    /// A storage error about `path`; the closure form fits `map_err`.
    pub fn storage(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Storage {
            doing,
            path,
            source,
        }
    }
}

/// The exit code of an error of `models`.
#[must_use]
fn models_exit(error: &facelatch_models::Error) -> Exit {
    match error {
        facelatch_models::Error::Photo { .. }
        | facelatch_models::Error::Space { .. }
        | facelatch_models::Error::Setting { .. }
        | facelatch_models::Error::Engine(_)
        | facelatch_models::Error::Training(_)
        | facelatch_models::Error::Calibration(_) => Exit::Usage,
        facelatch_models::Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Exit::Usage
        }
        // Another crate's enum, open for growth: whatever it adds, the machine failed.
        _ => Exit::Failed,
    }
}
