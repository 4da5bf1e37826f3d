//! The signals that end the program in order, for whoever holds a relay: the daemon and `relay test`.

use std::sync::{Arc, atomic::AtomicBool};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::Error;

/// A supervisor's, and those of a terminal: interrupt, quit, and its end. What is not here kills, and leaves the relay as it is.
const ENDING: [i32; 4] = [SIGTERM, SIGINT, SIGQUIT, SIGHUP];

/// From now on each of them sets the flag, and does nothing else.
///
/// # Errors
/// [`Error::Bug`] if the system refuses.
pub fn stop(flag: &Arc<AtomicBool>) -> Result<(), Error> {
    for signal in ENDING {
        signal_hook::flag::register(signal, Arc::clone(flag))
            .map_err(|e| Error::Bug(format!("cannot listen to signals: {e}")))?;
    }
    Ok(())
}
