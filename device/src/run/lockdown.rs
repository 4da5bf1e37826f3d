//! A lockdown outlives the process: whoever cuts the power does not end it. Kept as an empty file in the data folder.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use facelatch_protocol::DoorState;

use super::Running;
use crate::{
    door::{Asker, Event},
    error::Error,
};

const FILE: &str = "lockdown";

/// Whether the last run ended in a lockdown.
pub(crate) fn is_on(data: &Path) -> bool {
    data.join(FILE).exists()
}

impl Running {
    /// Begins or ends a lockdown. It begins at the door first, and ends on disk first.
    pub(crate) fn lockdown(&mut self, on: bool, by: Asker) -> Result<DoorState, Error> {
        if on {
            self.step(Event::Lockdown { on, by });
            keep(&self.data, on)?;
        } else {
            keep(&self.data, on)?;
            self.step(Event::Lockdown { on, by });
        }
        Ok(self.door_state())
    }
}

fn keep(data: &Path, on: bool) -> Result<(), Error> {
    let path = data.join(FILE);
    let done = match on {
        true => File::create(&path).and_then(|file| file.sync_all()),
        false => match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        },
    };
    done.and_then(|()| File::open(data)?.sync_all())
        .map_err(Error::storage("note the lockdown in", &path))
}
