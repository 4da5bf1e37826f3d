//! Whether the board's timer is free. It is not opened to see: that would start it.

use std::{ffi::OsStr, fs, path::Path};

use super::{Finding, State, node};
use crate::WatchdogFacts;

/// Where the kernel tells of its timers, each in a folder of its name.
const TIMERS: &str = "/sys/class/watchdog";

pub(super) fn check(facts: &WatchdogFacts, running: Option<u32>) -> Finding {
    let found = node("watchdog", &facts.device);
    let taken = running.is_none() && runs(Path::new(TIMERS), &facts.device);
    match found.state {
        State::Ok | State::Warning if taken => Finding::failed(
            found.part,
            "it runs although no facelatchd does: another program holds it, as a rule systemd",
            "switch systemd's off: write the lines `[Manager]` and `RuntimeWatchdogSec=off` to \
             /etc/systemd/system.conf.d/99-facelatch.conf, then reboot",
        ),
        State::Ok | State::Warning | State::Failed => found,
    }
}

/// Whether a timer runs, as far as the kernel tells: not every kernel is built to.
fn runs(timers: &Path, device: &Path) -> bool {
    let real = fs::canonicalize(device).unwrap_or_else(|_| device.to_owned());
    let name = match real.file_name() {
        // The first one has two nodes, and one folder.
        Some(name) if name == "watchdog" => OsStr::new("watchdog0"),
        Some(name) => name,
        None => return false,
    };
    fs::read_to_string(timers.join(name).join("state")).is_ok_and(|state| state.trim() == "active")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_runs_is_told_from_one_that_rests_and_one_that_says_nothing() {
        let timers = tempfile::tempdir().expect("a temporary folder");
        for (name, state) in [("watchdog0", "active\n"), ("watchdog1", "inactive\n")] {
            let folder = timers.path().join(name);
            fs::create_dir(&folder).expect("a new folder");
            fs::write(folder.join("state"), state).expect("a small file");
        }
        fs::create_dir(timers.path().join("watchdog2")).expect("a new folder");
        for (device, want) in [
            ("/dev/watchdog", true),
            ("/dev/watchdog0", true),
            ("/dev/watchdog1", false),
            ("/dev/watchdog2", false),
            ("/dev/watchdog3", false),
            ("/", false),
        ] {
            assert_eq!(runs(timers.path(), Path::new(device)), want, "{device}");
        }
    }
}
