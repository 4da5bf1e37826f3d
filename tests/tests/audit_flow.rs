//! The audit record of a real door in the hands of `facelatch audit`: what happened is on it, and whoever changes it at the
//! door, while it runs or before it starts, is found out.

use std::{fs, path::PathBuf};

use facelatch_tests::{
    door::{Door, facelatchd},
    programs::{Ended, facelatch, run},
};
use serde_json::Value;

/// A door with its folder, and a workspace that is paired with it.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The file of the first records.
    fn record(&self) -> PathBuf {
        self.data().join("audit/00000000000000000001.log")
    }

    fn start(&self) -> Door {
        Door::start(&mut facelatchd(&self.data()))
    }

    /// `facelatch VERB... --to DOOR`.
    fn at(&self, door: &Door, verb: &[&str]) -> Ended {
        let to = door.address().to_string();
        run(facelatch(&self.home()).args(verb).args(["--to", &to]))
    }

    /// Runs it, and expects an exit code and words.
    fn expect(&self, door: &Door, verb: &[&str], code: i32, says: &str) -> Ended {
        let ended = self.at(door, verb);
        let said = ended.out.contains(says) || ended.err.contains(says);
        assert!(
            ended.code == Some(code) && said,
            "{verb:?}: expected {code} and {says:?}: {ended:?}"
        );
        ended
    }
}

const VERIFY: [&str; 2] = ["audit", "verify"];

#[test]
fn what_happened_is_on_record_and_a_changed_record_is_found() {
    let scene = Scene {
        folder: tempfile::tempdir().expect("a temporary folder"),
    };
    let door = scene.start();
    let code = door.pairing_code().to_string();
    scene.expect(&door, &["pair", "--code", &code], 0, "paired with");
    scene.expect(&door, &["people", "add", "ada"], 0, "ada");
    scene.expect(&door, &["people", "remove", "ada"], 0, "ada");
    scene.expect(&door, &VERIFY, 0, "hold");
    assert_eq!(
        kinds(&scene.expect(&door, &["audit", "show", "--json"], 0, "ada")),
        ["started", "host-paired", "person-added", "person-removed"]
    );
    let file = scene.folder.path().join("door.audit");
    let path = file.to_str().expect("a path of letters");
    scene.expect(&door, &["audit", "export", "--out", path], 0, "unchanged");
    let verified = run(facelatch(&scene.home()).args(["audit", "verify", path]));
    assert_eq!(verified.code, Some(0), "{verified:?}");

    // Somebody at the door's disk takes ada's name out of its memory.
    let sound = fs::read(scene.record()).expect("the record");
    let mut forged = sound.clone();
    let at = find(&forged, b"ada").expect("her record");
    forged[at..at + 3].copy_from_slice(b"bob");
    fs::write(scene.record(), &forged).expect("the record");
    scene.expect(&door, &VERIFY, 1, "does not hold: its hash is wrong");
    assert_eq!(door.stop().code, Some(0));

    let refused = run(&mut facelatchd(&scene.data()));
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.err.contains("damaged at record"), "{refused:?}");

    // The same with the end of the record gone: the chain holds, and only the host knows better.
    fs::write(scene.record(), &sound[..cut(&sound, 2)]).expect("the record");
    let door = scene.start();
    scene.expect(&door, &VERIFY, 1, "does not hold");
    scene.expect(&door, &[&VERIFY[..], &["--renew"]].concat(), 0, "hold");
    scene.expect(&door, &VERIFY, 0, "unchanged");
}

/// What is on record, leaving out what the door's own work adds.
fn kinds(shown: &Ended) -> Vec<String> {
    let kind = |line: &str| {
        let record: Value = serde_json::from_str(line).expect("a record a line");
        record["what"].as_str().expect("what happened").to_owned()
    };
    let kinds = shown.out.lines().map(kind);
    kinds
        .filter(|kind| {
            !matches!(
                kind.as_str(),
                "event" | "pairing-opened" | "pairing-closed" | "clock-set" | "keys-replaced"
            )
        })
        .collect()
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

/// Where the `records`th record of a file ends.
fn cut(file: &[u8], records: usize) -> usize {
    let mut rest = &file[36..];
    for _ in 0..records {
        facelatch_protocol::audit::Record::take(&mut rest).expect("a whole record");
    }
    file.len() - rest.len()
}
