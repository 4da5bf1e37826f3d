//! Whether a device node is there and may be used, and who may change that.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::process::geteuid;

use super::Finding;

/// The service's user, and the groups it is in, by `deploy/facelatchd.service` and `deploy/facelatch.sysusers`.
const USER: &str = "facelatch";
const GROUPS: [&str; 4] = [USER, "gpio", "video", "dialout"];

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
    let node = Node {
        mode: about.mode(),
        owner: name_of(about.uid(), "/etc/passwd"),
        group: name_of(about.gid(), "/etc/group"),
    };
    match access(path, Access::READ_OK | Access::WRITE_OK) {
        // Nothing is refused to root.
        Ok(()) if geteuid().is_root() => node.for_the_service(part),
        Ok(()) => Finding::ok(part, "there, and may be used"),
        Err(_) => Finding::failed(part, "permission denied", &node.who_may()),
    }
}

const NO_RULES: &str = "install the udev rules of boards/deploy";

/// Whose a node is, and what they may.
struct Node {
    mode: u32,
    owner: String,
    group: String,
}

impl Node {
    /// Whether these may read and write: 0o600, 0o060 or 0o006.
    fn lets(&self, who: u32) -> bool {
        self.mode & who == who
    }

    fn lets_a_group(&self) -> bool {
        self.lets(0o060) && self.group != "root"
    }

    /// How whoever asks gets at it.
    fn who_may(&self) -> String {
        if !self.lets_a_group() {
            return format!("only {} may: {NO_RULES}", self.owner);
        }
        let user = std::env::var("USER").unwrap_or_else(|_| "USER".to_string());
        format!("sudo usermod -aG {} {user}, then log in again", self.group)
    }

    /// What root finds out: whether the service's user may.
    fn for_the_service(&self, part: String) -> Finding {
        let group = self.group.as_str();
        if self.lets(0o006) || (self.lets(0o600) && self.owner == USER) {
            return Finding::ok(part, "there; root may, and so may the service's user");
        }
        if !self.lets_a_group() {
            let says = format!("there; root may, the service's user {USER} may not");
            return Finding::warning(part, says, NO_RULES);
        }
        if GROUPS.contains(&group) {
            let says = format!("there; root may; the service's user may as a member of {group}");
            return Finding::ok(part, says);
        }
        let says =
            format!("there; root may, the service's user {USER} is not in its group {group}");
        let advice = format!(
            "add SupplementaryGroups={group} below [Service]: sudo systemctl edit facelatchd"
        );
        Finding::warning(part, says, &advice)
    }
}

/// The name of a number, in a file of lines `name:password:number:...`; the number if it has none.
fn name_of(number: u32, file: &str) -> String {
    let lines = fs::read_to_string(file).unwrap_or_default();
    name_in(&lines, number).unwrap_or_else(|| number.to_string())
}

fn name_in(lines: &str, number: u32) -> Option<String> {
    lines.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let its: u32 = fields.nth(1)?.parse().ok()?;
        (its == number).then(|| name.to_string())
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

    fn of(mode: u32, owner: &str, group: &str) -> Node {
        Node {
            mode: 0o020_000 | mode,
            owner: owner.to_string(),
            group: group.to_string(),
        }
    }

    #[test]
    fn who_may_not_is_told_which_group_may() {
        let groups = "root:x:0:\nvideo:x:44:pi\ngpio:x:997:pi\nbroken\n";
        assert_eq!(name_in(groups, 997).as_deref(), Some("gpio"));
        assert_eq!(name_in(groups, 5), None);
        assert_eq!(name_of(1_000_000, "/etc/no-such-file"), "1000000");
        let who_may = |mode, group| of(mode, "root", group).who_may();
        assert!(who_may(0o660, "plugdev").contains("usermod -aG plugdev"));
        assert!(who_may(0o600, "video").contains("only root"));
        assert!(who_may(0o660, "root").contains("only root"));
    }

    #[test]
    fn root_is_told_whether_the_service_may() {
        let cases = [
            (0o660, "root", "gpio", State::Ok, "as a member of gpio"),
            (
                0o666,
                "root",
                "root",
                State::Ok,
                "so may the service's user",
            ),
            (
                0o600,
                "facelatch",
                "root",
                State::Ok,
                "so may the service's user",
            ),
            (0o600, "root", "gpio", State::Warning, "may not"),
            (0o660, "root", "root", State::Warning, "may not"),
            (0o640, "root", "video", State::Warning, "may not"),
            (
                0o660,
                "root",
                "plugdev",
                State::Warning,
                "not in its group plugdev",
            ),
        ];
        for (mode, owner, group, state, says) in cases {
            let found = of(mode, owner, group).for_the_service("camera".to_string());
            assert_eq!(found.state, state, "{mode:o} {owner} {group}: {found:?}");
            assert!(
                found.says.contains(says),
                "{mode:o} {owner} {group}: {found:?}"
            );
            assert_eq!(found.advice.is_some(), state != State::Ok);
        }
    }

    #[test]
    fn the_groups_are_those_of_the_unit_and_of_the_user() {
        let unit = include_str!("../../deploy/facelatchd.service");
        let users = include_str!("../../deploy/facelatch.sysusers");
        let lines = [
            format!("User={USER}"),
            format!("Group={USER}"),
            format!("SupplementaryGroups={}", GROUPS[1..].join(" ")),
        ];
        assert!(lines.iter().all(|line| unit.lines().any(|l| l == line)));
        let mut members = GROUPS[1..].iter().map(|group| format!("m {USER} {group}"));
        assert!(members.all(|line| users.lines().any(|l| l == line)));
    }
}
