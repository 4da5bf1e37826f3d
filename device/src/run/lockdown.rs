//! A lockdown outlives the process: whoever cuts the power does not end it. Kept as an empty file in the data folder.

use std::path::Path;

use facelatch_protocol::DoorState;

use super::{Running, flag::keep};
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
            keep(&self.data, FILE, on, "note the lockdown in")?;
        } else {
            keep(&self.data, FILE, on, "note the lockdown in")?;
            self.step(Event::Lockdown { on, by });
        }
        Ok(self.door_state())
    }
}
