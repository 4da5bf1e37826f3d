//! The one error type of this crate, grouped by who is at fault, and what a person can do about it.

use std::path::PathBuf;

/// What went wrong with a board.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // The operator: a name or a file is wrong.
    /// No board of this name is built in and no file of this path exists.
    #[error("no board \"{asked}\": name one of {known}, or give the path of a board file{hint}")]
    UnknownBoard {
        /// What was asked for.
        asked: String,
        /// The built-in names, comma separated.
        known: String,
        /// "; did you mean ...?", or nothing.
        hint: String,
    },
    /// A board file could not be understood.
    #[error("board file {file}: {problem}")]
    BoardFile {
        /// Its path, or the built-in's name.
        file: String,
        /// What is wrong, with line and column where known.
        problem: String,
    },
    /// The board needs a driver that this program was built without.
    #[error(
        "board {board} needs {needs}, and this program was built without it: build with --features {feature}"
    )]
    NotBuilt {
        /// The board's name.
        board: String,
        /// What it needs.
        needs: &'static str,
        /// The Cargo features that bring everything a real board needs.
        feature: &'static str,
    },
    /// A replay folder or its `replay.toml` cannot be used.
    #[error("replay {path}: {problem}")]
    Replay {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    // The hardware.
    /// The camera cannot be opened or offers nothing usable.
    #[error("camera {device}: {problem}")]
    CameraUnusable {
        /// Device node or replay.
        device: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The camera stopped delivering: unplugged, timed out or reset.
    #[error("camera {device} is gone: {problem}")]
    CameraLost {
        /// Device node or replay.
        device: String,
        /// What was seen last.
        problem: String,
    },
    /// One frame is damaged; the camera itself still works.
    #[error("camera {device}: frame {frame} is damaged: {problem}")]
    FrameDamaged {
        /// Device node or replay.
        device: String,
        /// Count of frames since the camera was opened, from 0.
        frame: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The relay's line cannot be claimed.
    #[error("relay on line {line}: {problem}")]
    RelayUnusable {
        /// GPIO line number.
        line: u32,
        /// What is wrong with it.
        problem: String,
    },
    /// The relay did not do as told.
    #[error("relay on line {line}: {problem}; the coil was put at rest")]
    RelayFailed {
        /// GPIO line number.
        line: u32,
        /// What is wrong with it.
        problem: String,
    },
    /// A line could not be claimed or read.
    #[error("{what} on line {line}: {problem}")]
    PanelFailed {
        /// Indicator, buzzer, button, door sensor or contact.
        what: &'static str,
        /// GPIO line number.
        line: u32,
        /// What is wrong with it.
        problem: String,
    },
    /// A keypad could not be opened or read.
    #[error("keypad at {at}: {problem}")]
    KeypadFailed {
        /// Device node or lines.
        at: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The hardware watchdog cannot be opened or fed.
    #[error("watchdog {device}: {problem}")]
    WatchdogFailed {
        /// Device node.
        device: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    // Storage.
    /// A record of the simulated board could not be written.
    #[error("cannot write {path}: {source}")]
    Record {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether whoever called the program can mend it: a name, a file or a folder is wrong, nothing is broken.
    pub fn is_operators(&self) -> bool {
        match self {
            Error::UnknownBoard { .. }
            | Error::BoardFile { .. }
            | Error::NotBuilt { .. }
            | Error::Replay { .. } => true,
            Error::CameraUnusable { .. }
            | Error::CameraLost { .. }
            | Error::FrameDamaged { .. }
            | Error::RelayUnusable { .. }
            | Error::RelayFailed { .. }
            | Error::PanelFailed { .. }
            | Error::KeypadFailed { .. }
            | Error::WatchdogFailed { .. }
            | Error::Record { .. } => false,
        }
    }

    /// Whether the camera still works and only this frame is lost.
    pub fn is_one_frame(&self) -> bool {
        matches!(self, Error::FrameDamaged { .. })
    }
}
