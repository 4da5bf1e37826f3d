//! What can be wrong with a convolution, a plan, or a run.

use std::path::PathBuf;

use crate::Isa;

/// Everything this crate refuses.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // A network breaks the contract: found when it is built or loaded, never while it runs.
    /// A buffer has another length than its shape says.
    #[error("{what} has {found} values, its shape needs {expected}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// What the shape needs.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// A window, stride or channel count of 0, a padding as large as the window, or a size that no memory holds.
    #[error("the {0} cannot be used")]
    Geometry(&'static str),
    /// A weight of -128.
    #[error("weight {index} is -128, the least allowed is -127")]
    Weight {
        /// Its place in the weights.
        index: usize,
    },
    /// Output channel `channel` could overflow 32 bits, or its scale is not a positive finite number.
    #[error("output channel {channel} can overflow, or its scale is not positive and finite")]
    Range {
        /// The output channel.
        channel: usize,
    },
    /// The input has another number of channels, or is smaller than the window.
    #[error("an input of {found:?} (height, width, channels) does not fit")]
    Input {
        /// Its height, width and channels.
        found: [usize; 3],
    },
    /// A step of the network does not fit the tensors it reads and writes.
    #[error("step {step} of the network: {why}")]
    Step {
        /// Its place, from 0.
        step: usize,
        /// What does not fit.
        why: &'static str,
    },

    // A plan file.
    /// The bytes are no plan, or a damaged one.
    #[error("the plan is damaged: {0}; delete it, it will be made again")]
    Damaged(&'static str),
    /// The plan was written by another version of this program.
    #[error(
        "the plan has format {found}, this program reads {}; delete it, it will be made again",
        crate::FORMAT
    )]
    Format {
        /// The version in the file.
        found: u32,
    },
    /// The file could not be opened or mapped.
    #[error("{}: {why}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },

    // The operator's settings.
    /// The processor lacks the instruction set asked for.
    #[error("this processor has no {isa}; it has {available}")]
    Unsupported {
        /// What was asked for.
        isa: Isa,
        /// What there is, best first.
        available: String,
    },
    /// A setting with a value that means nothing.
    #[error("{name}={found}: expected {expected}")]
    Setting {
        /// The environment variable.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
}
