//! Why a door could not be asked, or said no, and whose doing it is.

use std::{io, path::PathBuf, time::Duration};

use facelatch_protocol::{BundleFault, FrameError, Refusal};

use crate::connect::TargetError;

/// Why a door could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's: no such kind of door.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The operator's: not a bundle.
    #[error("{path}: not a bundle that could be pushed: {fault}")]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: BundleFault,
    },
    /// The operator's or the machine's: the bundle file could not be read.
    #[error("{path}: could not read the bundle: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system reported.
        source: io::Error,
    },
    /// The peer's decision.
    #[error("{target} refused: {refusal}")]
    Refused {
        /// The door.
        target: String,
        /// Why.
        refusal: Refusal,
    },
    /// The machine's: no line to the door.
    #[error("could not reach {target}: {source}; is the device on, and is the address right?")]
    Unreachable {
        /// The door.
        target: String,
        /// What the system reported.
        source: io::Error,
    },
    /// The machine's: the line broke.
    #[error("lost the connection to {target}: {source}")]
    Lost {
        /// The door.
        target: String,
        /// What the system reported.
        source: io::Error,
    },
    /// The machine's: the line stands, but nobody answers.
    #[error("{target} did not answer within {} s; is facelatchd running there?", .after.as_secs())]
    Silent {
        /// The door.
        target: String,
        /// How long.
        after: Duration,
    },
    /// The machine's: what came back was no answer.
    #[error(
        "{target} answers, but not as a door ({error}): is it another program, or a noisy line?"
    )]
    Garbled {
        /// The door.
        target: String,
        /// What was wrong with the frame.
        error: FrameError,
    },
    /// The peer's fault: an answer to another question.
    #[error("{target} answered something else than it was asked: use the facelatch of its version")]
    Confused {
        /// The door.
        target: String,
    },
}

/// Who can do something about an error, as an exit code tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The call was wrong: exit code 2.
    Operator,
    /// The device refused: exit code 3.
    Device,
    /// The machine or the line failed: exit code 4.
    Machine,
}

impl Error {
    /// Who can do something about it.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Error::Target(_) | Error::Bundle { .. } => Blame::Operator,
            Error::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Blame::Operator
            }
            Error::Refused { .. } => Blame::Device,
            Error::File { .. }
            | Error::Unreachable { .. }
            | Error::Lost { .. }
            | Error::Silent { .. }
            | Error::Garbled { .. }
            | Error::Confused { .. } => Blame::Machine,
        }
    }

    /// The refusal, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Error::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }
}
