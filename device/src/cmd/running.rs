//! Whether a daemon runs on this machine, as the process table tells it.
//!
//! A Raspberry Pi's registers know no holder, so nothing else would keep a verb from moving a relay that a daemon holds.

use std::{fs, path::Path};

/// What may stand behind the program's name without it being a daemon.
const VERBS: [&str; 4] = ["check", "relay", "completions", "man"];

/// The process of a daemon that is not this process, if there is one.
pub(super) fn daemon() -> Option<u32> {
    find(Path::new("/proc"), std::process::id())
}

fn find(table: &Path, own: u32) -> Option<u32> {
    let processes = fs::read_dir(table).ok()?.filter_map(Result::ok);
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut others = numbers.filter(|pid| *pid != own);
    others.find(|pid| {
        let folder = table.join(pid.to_string());
        let is_ours = fs::read_to_string(folder.join("comm"))
            .is_ok_and(|name| name.trim_end() == "facelatchd");
        is_ours && fs::read(folder.join("cmdline")).is_ok_and(|line| watches(&line))
    })
}

/// Whether a command line, words ended by zero bytes, is a daemon's. That of a process that has ended is empty.
fn watches(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == 0);
    let is_there = words.next().is_some_and(|name| !name.is_empty());
    let first = words.next().unwrap_or_default();
    is_there && !VERBS.iter().any(|verb| verb.as_bytes() == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_told_from_a_verb_a_stranger_and_oneself() {
        let table = tempfile::tempdir().unwrap();
        let process = |pid: u32, name: &str, line: &str| {
            let folder = table.path().join(pid.to_string());
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
            fs::write(folder.join("cmdline"), line.replace(' ', "\0")).unwrap();
        };
        fs::create_dir(table.path().join("self")).unwrap();
        process(2, "sh", "sh -c facelatchd");
        process(3, "facelatchd", "facelatchd check --board pi4");
        process(4, "facelatchd", "/usr/bin/facelatchd relay test");
        process(5, "facelatchd", "");
        process(6, "facelatchd", "facelatchd --data door");
        assert_eq!(find(table.path(), 6), None);
        process(
            7,
            "facelatchd",
            "/usr/bin/facelatchd --board pi4 --data /var/lib/facelatch",
        );
        assert_eq!(find(table.path(), 6), Some(7));
        assert_eq!(find(&table.path().join("8"), 1), None);
    }
}
