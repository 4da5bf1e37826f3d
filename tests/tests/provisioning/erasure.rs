//! Removing a person: nothing of the templates is left in any file of the door, whenever it is done.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use facelatch_protocol::PersonId;
use facelatch_protocol::bundle::{Head, PartKind};
use facelatch_tests::door::{Door, facelatchd};
use facelatch_tests::watch::watching;
use facelatch_tests::workspace::Workspace;
use serde_json::Value;

use crate::site::{COLLINS, OBAMA, Site, bytes, ids, is_grant, pair, people, push, to};

#[test]
fn a_removed_person_leaves_no_trace_and_the_other_one_stays() {
    let site = Site::new();
    let (data, file) = (site.at("door"), site.at("packed.flb"));
    let admin = Workspace::enrolled(&site.at("admin"));
    let traces = [COLLINS, OBAMA].map(|id| Traces::of(&admin, id));
    let packed = file.to_str().expect("a plain path");
    admin.done(&["pack", "--out", packed]);
    let gallery_parts = gallery_parts(&file);
    assert!(
        traces.iter().all(|traces| traces.are_in(&file)) && !gallery_parts.is_empty(),
        "a bundle file holds templates in clear: the search finds them there"
    );
    let look = |when: &str| {
        let mut failures = Vec::new();
        for path in files_under(&data) {
            if traces.iter().any(|traces| traces.are_in(&path)) {
                failures.push(format!("{when}: templates in {}", path.display()));
            }
            let name = path.file_name().expect("a file").to_string_lossy();
            let sealed = [".sealed", ".sealing"]
                .iter()
                .any(|end| name.ends_with(end));
            if sealed || gallery_parts.iter().any(|part| name.contains(part)) {
                failures.push(format!("{when}: a personal part, {}", path.display()));
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    };
    let remove = |door: &Door| {
        let removed = admin.done(&["people", "remove", COLLINS, "--to", &to(door)]);
        assert_eq!(removed["done"], "removed");
        assert_eq!(ids(&people(&admin, &["--to", &to(door)])), [OBAMA]);
    };

    // While the bundle that brought both is on trial: nobody is in front of this door.
    let door = Door::start(&mut facelatchd(&data));
    pair(&admin, &door);
    admin.done(&["push", packed, "--no-wait", "--to", &to(&door)]);
    assert_eq!(
        ids(&people(&admin, &["--to", &to(&door)])),
        [OBAMA, COLLINS]
    );
    remove(&door);
    look("removed while on trial");
    assert_eq!(door.stop().code, Some(0));
    look("stopped");

    // Started again, it proves itself without her. The next bundle brings her back, and she is removed once more.
    let door = Door::start(&mut watching(&data, &["obama2.jpg"]));
    let events = admin.follow(&to(&door));
    let confirmed = |event: &Value| event["event"] == "update" && event["step"] == "confirmed";
    events.wait_for("confirmed bundle", confirmed);
    assert_eq!(ids(&people(&admin, &["--to", &to(&door)])), [OBAMA]);
    push(&admin, &door, &[]);
    assert_eq!(
        ids(&people(&admin, &["--to", &to(&door)])),
        [OBAMA, COLLINS]
    );
    remove(&door);
    look("removed when proven");
    assert_eq!(door.stop().code, Some(0));

    let door = Door::start(&mut watching(&data, &["obama2.jpg"]));
    assert_eq!(ids(&people(&admin, &["--to", &to(&door)])), [OBAMA]);
    let seen = admin.lines(&["events", "--to", &to(&door)]).pop();
    let last = seen.map_or(0, |event| bytes(&event, "seq"));
    let events = admin.follow(&to(&door));
    events.wait_for("grant", |event| {
        bytes(event, "seq") > last && is_grant(event, OBAMA)
    });
    look("started again");
}

/// 64 bytes of a person's templates, 16 numbers, from every place in them: none of it comes about by chance.
struct Traces {
    windows: HashSet<[u8; 64]>,
}

impl Traces {
    fn of(host: &Workspace, id: &str) -> Traces {
        let id = PersonId::parse(id).expect("an id");
        let person = host.home().person(&id).expect("a workspace");
        let mut windows = HashSet::new();
        for template in person.expect("enrolled").templates {
            let values = template.values.iter().flat_map(|value| value.to_le_bytes());
            let bytes: Vec<u8> = values.collect();
            for window in bytes.windows(64) {
                windows.insert(window.try_into().expect("64 bytes"));
            }
        }
        assert!(windows.len() > 1_000);
        Traces { windows }
    }

    fn are_in(&self, path: &Path) -> bool {
        let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        bytes
            .windows(64)
            .any(|window| self.windows.contains(window))
    }
}

/// Digests of a bundle file's gallery parts.
fn gallery_parts(file: &Path) -> Vec<String> {
    let bytes = fs::read(file).expect("packed");
    let length = Head::length(*bytes.first_chunk().expect("a bundle")).expect("a bundle");
    let head = Head::parse(&bytes[..length]).expect("a bundle");
    let (_, manifest) = head.manifest().expect("a bundle");
    let gallery = manifest
        .parts
        .iter()
        .filter(|part| part.kind == PartKind::Gallery);
    gallery.map(|part| part.sha256.to_string()).collect()
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else {
            files.push(path);
        }
    }
    files
}
