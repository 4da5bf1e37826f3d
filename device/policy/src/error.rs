//! What is wrong with a policy, and where. Every message ends in what to do about it where that is not plain.

use thiserror::Error;

use crate::{MAX_BYTES, nearest::did_you_mean};

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// It is no TOML.
    #[error("{0}")]
    Syntax(String),
    /// It is too long to be looked at.
    #[error("{bytes} bytes: a policy has at most {MAX_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A key that means nothing there.
    #[error("{place}: unknown key{}", did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// Where it stands, as a dotted path.
        place: String,
        /// The known key it may be meant for.
        nearest: Option<String>,
    },
    /// The name of something that is not in the policy.
    #[error("{place}: there is no {what} {name:?}{}", did_you_mean(nearest.as_deref()))]
    Dangling {
        /// Where it stands, as a dotted path.
        place: String,
        /// What it should be.
        what: &'static str,
        /// The name.
        name: String,
        /// The known name it may be meant for.
        nearest: Option<String>,
    },
    /// Too much of something.
    #[error("{place}: {found}, at most {limit}")]
    TooMany {
        /// Where it stands, as a dotted path.
        place: String,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A value that cannot be.
    #[error("{place}: {why}")]
    Value {
        /// Where it stands, as a dotted path.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    pub(crate) fn value(place: &str, why: impl Into<String>) -> Error {
        Error::Value {
            place: place.to_owned(),
            why: why.into(),
        }
    }
}
