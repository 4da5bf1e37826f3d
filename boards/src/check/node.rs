//! Whether a device node is there and may be used, and who may change that.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access};

use super::Finding;

/// A device node that is to be read and written. It is not opened: opening a watchdog starts it.
#[must_use]
pub fn node(part: &str, path: &Path) -> Finding {
    let part = format!("{part} {}", path.display());
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Finding::failed(
                part,
                "there is no such device",
                "is it connected, and named right in the board file?",
            );
        }
        Err(e) => return Finding::failed(part, e.to_string(), "look at the folders above it"),
    };
    match access(path, Access::READ_OK | Access::WRITE_OK) {
        Ok(()) => Finding::ok(part, "there, and may be used"),
        Err(_) => Finding::failed(
            part,
            "permission denied",
            &who_may(about.mode(), about.gid()),
        ),
    }
}

/// How to get at a node of this mode and group.
fn who_may(mode: u32, gid: u32) -> String {
    const GROUP_READS_AND_WRITES: u32 = 0o060;
    let user = std::env::var("USER").unwrap_or_else(|_| "USER".to_string());
    if mode & GROUP_READS_AND_WRITES != GROUP_READS_AND_WRITES || gid == 0 {
        return "only root may: install the udev rules of boards/deploy".to_string();
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let group = group_name(&groups, gid).unwrap_or_else(|| gid.to_string());
    format!("sudo usermod -aG {group} {user}, then log in again")
}

/// From lines of `name:password:gid:users`.
fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == gid).then(|| name.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::State;

    #[test]
    fn a_node_is_there_or_is_not() {
        let there = node("watchdog", Path::new("/dev/null"));
        assert_eq!(
            (there.state, there.part.as_str()),
            (State::Ok, "watchdog /dev/null")
        );
        let missing = node("keypad", Path::new("/dev/no-such-keypad"));
        assert_eq!(missing.state, State::Failed);
        assert!(missing.says.contains("no such device"), "{missing:?}");
    }

    #[test]
    fn who_may_not_is_told_which_group_may() {
        let groups = "root:x:0:\nvideo:x:44:pi\ngpio:x:997:pi\nbroken\n";
        assert_eq!(group_name(groups, 997).as_deref(), Some("gpio"));
        assert_eq!(group_name(groups, 5), None);
        assert!(who_may(0o660, 1_000_000).contains("usermod -aG 1000000"));
        assert!(who_may(0o600, 44).contains("only root"));
        assert!(who_may(0o660, 0).contains("only root"));
    }
}
