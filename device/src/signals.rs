//! The signals that end the program in order, for whoever holds a relay: the daemon and `relay test`.

use std::{
    fs,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::Error;

/// A supervisor's, and those of a terminal: interrupt, quit, and its end. What is not here kills, and leaves the relay as it is.
const ENDING: [i32; 4] = [SIGTERM, SIGINT, SIGQUIT, SIGHUP];

/// From now on each of them sets the flag, and does nothing else. Where SIGHUP was ignored, as `nohup` has it, it stays so.
///
/// # Errors
/// [`Error::Bug`] if the system refuses.
pub fn stop(flag: &Arc<AtomicBool>) -> Result<(), Error> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for signal in ENDING {
        if signal == SIGHUP && is_ignored(signal, &status) {
            continue;
        }
        signal_hook::flag::register(signal, Arc::clone(flag))
            .map_err(|e| Error::Bug(format!("cannot listen to signals: {e}")))?;
    }
    Ok(())
}

/// Whether a process of this `/proc/PID/status` ignores the signal.
fn is_ignored(signal: i32, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_mask() {
        let status = "Name:\tfacelatchd\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000000007\n";
        assert!(is_ignored(SIGHUP, status) && is_ignored(SIGQUIT, status));
        assert!(!is_ignored(SIGTERM, status));
        assert!(!is_ignored(SIGHUP, "SigIgn:\t?\n") && !is_ignored(SIGHUP, ""));
    }
}
