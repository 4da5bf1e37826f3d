//! Why perception failed, grouped by whose doing it is. Each variant carries the facts its message needs.

use std::path::PathBuf;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operator's: a file that is no photo, or a photo we refuse.
    #[error("cannot read photo {what}: {why}")]
    Photo {
        /// The path, or "bytes".
        what: String,
        /// What the decoder said, or which limit was passed.
        why: String,
    },
    /// Storage: a file could not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The operator's: a network file or its manifest is damaged or not what it says.
    #[error("network {name} is unusable: {why}")]
    Network {
        /// File or network name.
        name: String,
        /// What was wrong.
        why: String,
    },
    /// The operator's: values of two embedding spaces were mixed.
    #[error(
        "embedding space mismatch: expected {expected}, found {found}; embed the photos again with this network"
    )]
    Space {
        /// The space asked for.
        expected: String,
        /// The space met.
        found: String,
    },
    /// The operator's: a setting outside its range.
    #[error("{name} is {found}, but must be {expected}")]
    Setting {
        /// The setting, with its unit.
        name: &'static str,
        /// Its range.
        expected: &'static str,
        /// Its value.
        found: String,
    },
    /// The operator's: `FACELATCH_ISA` or `FACELATCH_THREADS` ask for what there is not.
    #[error(transparent)]
    Engine(#[from] facelatch_int8::Error),
    /// The operator's: training data that cannot be trained on.
    #[error("cannot train: {0}")]
    Training(String),
    /// The operator's: a calibration that is none, or cannot be made.
    #[error("no calibration: {0}")]
    Calibration(String),
    /// A bug here or in the network runtime.
    #[error("inference failed in {name}: {why}")]
    Inference {
        /// The network.
        name: String,
        /// What the runtime said.
        why: String,
    },
}
