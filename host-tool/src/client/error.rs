//! Why a door could not be asked, or said no, and whose doing it is.

use std::{io, path::PathBuf, time::Duration};

use facelatch_protocol::{
    BundleFault, FrameError, Refusal, VERSION_HIGHEST, VERSION_LOWEST, session::SessionError,
};

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
    /// The peer's decision: no version both speak.
    #[error("{target} speaks protocol versions {lowest} to {highest}, this program {} to {}: update {}",
        VERSION_LOWEST, VERSION_HIGHEST, outdated(*.lowest))]
    Version {
        /// The door.
        target: String,
        /// Lowest the door speaks.
        lowest: u16,
        /// Highest the door speaks.
        highest: u16,
    },
    /// The line's: who answers is not the door this host is paired with.
    #[error(
        "whoever answers at {target} cannot show to be the door this host is paired with: is somebody in between, or was \
         the door set up anew? If it was, run `facelatch doors forget`, then `facelatch pair`"
    )]
    Stranger {
        /// The door.
        target: String,
    },
    /// The line's: who answers does not know the pairing code.
    #[error(
        "whoever answers at {target} does not know the pairing code: is it the door that shows this code?"
    )]
    NotTheCode {
        /// The door.
        target: String,
    },
    /// The line's: an answer of the session that was changed, repeated or made up.
    #[error(
        "an answer of {target} was changed on its way ({error}): nothing of it is used; try again, or look who is on the line"
    )]
    Forged {
        /// The door.
        target: String,
        /// What did not hold.
        error: SessionError,
    },
    /// The line's: words in clear where only sealed ones count, so nobody vouches for them.
    #[error("{target} broke the session off; it says, unsealed: {refusal}")]
    Unsealed {
        /// The door.
        target: String,
        /// What it says.
        refusal: Refusal,
    },
    /// The machine's: the door does not know the session any more.
    #[error(
        "{target} does not know this session any more (it says, unsealed: {refusal}): was it started anew? Run the command again"
    )]
    Restarted {
        /// The door.
        target: String,
        /// What it says.
        refusal: Refusal,
    },
    /// The machine's: this side cannot go on with the session.
    #[error("the session with {target} cannot go on: {error}")]
    Session {
        /// The door.
        target: String,
        /// Why.
        error: SessionError,
    },
    /// The peer's: the update was taken back, or never came on trial.
    #[error("{target} does not have the bundle that was committed: push again")]
    Vanished {
        /// The door.
        target: String,
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

/// Who has to be updated if the door's lowest version is this one.
fn outdated(lowest: u16) -> &'static str {
    if lowest > VERSION_HIGHEST {
        "this facelatch"
    } else {
        "facelatchd on the door"
    }
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
            Error::Refused { .. } | Error::Version { .. } | Error::Vanished { .. } => Blame::Device,
            Error::File { .. }
            | Error::Unreachable { .. }
            | Error::Stranger { .. }
            | Error::NotTheCode { .. }
            | Error::Forged { .. }
            | Error::Unsealed { .. }
            | Error::Restarted { .. }
            | Error::Session { .. }
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
