//! Doors and workspaces side by side in one folder, and the verbs that every flow here begins with. Called by the flows.

use std::path::PathBuf;

use facelatch_tests::door::Door;
use facelatch_tests::watch::watching;
use facelatch_tests::workspace::Workspace;
use serde_json::Value;
use tempfile::TempDir;

/// The exit codes of `facelatch` that matter here.
pub(crate) const WRONG_CALL: i32 = 2;
pub(crate) const REFUSED: i32 = 3;
/// What shipped photos show.
pub(crate) const OBAMA: &str = "barack_obama";
pub(crate) const COLLINS: &str = "eileen_collins";

/// A folder for a door and its hosts.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    pub(crate) fn new() -> Site {
        Site {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A door with somebody enrolled in front of it, paired with the workspace of the demo's people.
    pub(crate) fn watched(&self) -> (Door, Workspace) {
        let door = Door::start(&mut watching(&self.at("door"), &["obama2.jpg"]));
        let admin = Workspace::enrolled(&self.at("admin"));
        pair(&admin, &door);
        (door, admin)
    }
}

pub(crate) fn to(door: &Door) -> String {
    door.address().to_string()
}

/// Pairs as admin with the code the door shows.
pub(crate) fn pair(host: &Workspace, door: &Door) {
    let code = door.pairing_code().to_string();
    let paired = host.done(&["pair", "--to", &to(door), "--code", &code]);
    assert_eq!(paired["role"], "admin", "{paired}");
}

/// Pushes, and sees the bundle proven; the report.
pub(crate) fn push(host: &Workspace, door: &Door, more: &[&str]) -> Value {
    let report = host.done(&[&["push", "--to", &to(door)], more].concat());
    assert_eq!(report["trial"], "confirmed", "{report}");
    report
}

pub(crate) fn bytes(report: &Value, key: &str) -> u64 {
    report[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no {key} in {report}"))
}

/// Ids of people with the number of their templates, on a door or in the workspace.
pub(crate) fn people(host: &Workspace, more: &[&str]) -> Vec<(String, u64)> {
    let list = host.done(&[&["people", "list"], more].concat());
    let listed = list["people"].as_array().expect("a list").iter();
    let row = |person: &Value| {
        let id = person["person"].as_str().expect("an id");
        (id.to_owned(), bytes(person, "templates"))
    };
    listed.map(row).collect()
}

pub(crate) fn ids(people: &[(String, u64)]) -> Vec<&str> {
    people.iter().map(|(id, _)| id.as_str()).collect()
}

pub(crate) fn is_grant(event: &Value, person: &str) -> bool {
    event["event"] == "decision" && event["decision"] == "granted" && event["person"] == person
}
