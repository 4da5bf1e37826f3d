//! What the verbs that talk to a door share: its address on the command line, and a session with it.

use std::time::Duration;

use crate::{
    client::{Client, Error},
    connect::Target,
};

/// How long a door may take to answer the first time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which door.
#[derive(Debug, Clone, clap::Args)]
pub struct Door {
    /// The door: HOST[:PORT], or a serial device such as /dev/ttyUSB0[@BAUD].
    #[arg(long, value_name = "HOST:PORT|TTY")]
    pub to: String,
}

impl Door {
    /// A session with the door.
    ///
    /// # Errors
    /// As for [`connect`].
    pub fn connect(&self) -> Result<Client, Error> {
        connect(&self.to)
    }
}

/// A session with the door of this name.
///
/// # Errors
/// [`Error::Target`] if the text names no door; as for [`Client::connect`].
pub fn connect(to: &str) -> Result<Client, Error> {
    let target: Target = to.parse()?;
    Client::connect(&target, PATIENCE)
}
