//! What the verbs that talk to a door share: its address on the command line, and a session with it.

use std::time::Duration;

use crate::{
    Error,
    client::{Client, Credentials},
    connect::Target,
    doors,
    home::Home,
};

/// How long a door may take to answer the first time.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Which door.
#[derive(Debug, Clone, clap::Args)]
pub struct Door {
    /// The door: HOST[:PORT], a serial device such as /dev/ttyUSB0[@BAUD], or the name of a paired door.
    #[arg(long, value_name = "HOST:PORT|TTY|NAME")]
    pub to: String,
}

impl Door {
    /// A session with the door.
    ///
    /// # Errors
    /// As for [`open`].
    pub fn connect(&self, home: &Home) -> Result<Client, Error> {
        connect(home, &self.to)
    }
}

/// A session with the door that `to` means.
///
/// # Errors
/// As for [`open`].
pub fn connect(home: &Home, to: &str) -> Result<Client, Error> {
    open(home, to).map(|(client, _)| client)
}

/// A session with the door that `to` means, and what the workspace knows of it. Notes where the door was reached, its name
/// and this host's role, if they changed.
///
/// # Errors
/// [`Error::NotReady`] if this host is not paired with it, [`Error::Client`] if the text names no door or as for
/// [`Client::over`], [`Error::Damaged`] or [`Error::Storage`].
pub fn open(home: &Home, to: &str) -> Result<(Client, doors::Door), Error> {
    let paired = home.doors();
    let found = paired.find(to)?;
    let place = match &found {
        // A name stands for where the door was reached last.
        Some(door) if door.name == to && !door.was_reached_at(to) => {
            door.targets.first().map_or(to, String::as_str)
        }
        Some(_) | None => to,
    };
    let target: Target = place.parse().map_err(crate::client::Error::from)?;
    let line = Client::reach(&target, PATIENCE)?;
    let place = place.to_owned();
    let mut door = found.ok_or_else(|| {
        Error::NotReady(format!(
            "not paired with {to}: run `facelatch pair --to {to} --code CODE` with the code the door shows"
        ))
    })?;
    let credentials = Credentials {
        secret: home.keys().host()?,
        door: door.key,
    };
    let client = Client::over(line, &target.to_string(), &credentials, PATIENCE)?;
    let mut news = door.reached_at(&place);
    if (&*door.name, door.role) != (client.device(), client.role()) {
        (door.name, door.role) = (client.device().to_owned(), client.role());
        news = true;
    }
    if news {
        paired.put(&door)?;
    }
    Ok((client, door))
}
