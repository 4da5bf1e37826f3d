//! The demo, as the README has it: the real program, every outcome as expected, tagged pictures written.

use std::fs;

use facelatch_tests::programs::{cache, program, root, run};
use serde_json::Value;

#[test]
fn the_demo_ends_well_and_says_so_in_json() {
    ends_well(&[]);
}

#[test]
fn the_demo_ends_well_with_every_network() {
    ends_well(&["--net", "mobilefacenet"]);
    ends_well(&["--net", "fused"]);
}

fn ends_well(more: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Run where a newcomer would not: its photos and networks must be found all the same.
    let mut demo = std::process::Command::new(program("facelatch"));
    demo.args(["demo", "--json"]).args(more);
    demo.current_dir(folder.path());
    demo.env("FACELATCH_ZOO", root().join("models/zoo"));
    demo.env("XDG_CACHE_HOME", cache());
    let ended = run(&mut demo);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);

    let among = |list: &[String], name: &str| list.iter().any(|photo| photo.contains(name));
    let mut granted = Vec::new();
    let mut denied = Vec::new();
    let mut enrolled = Vec::new();
    let (mut not_live, mut locked_out) = (0, 0);
    for line in ended.out.lines().filter(|line| !line.trim().is_empty()) {
        let visitor: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        for key in [
            "photo",
            "person",
            "decision",
            "reason",
            "distance",
            "probability",
            "relay_ms",
            "latency_ms",
        ] {
            assert!(visitor.get(key).is_some(), "no {key} in {line}");
        }
        let photo = visitor["photo"].as_str().expect("a photo").to_string();
        match visitor["decision"].as_str() {
            Some("granted") => {
                assert!(
                    visitor["relay_ms"].as_u64().is_some_and(|ms| ms > 0),
                    "{line}"
                );
                assert!(visitor["person"].is_string(), "{line}");
                granted.push(photo);
            }
            Some("denied") => {
                not_live += usize::from(visitor["reason"] == "not-live");
                locked_out += usize::from(visitor["reason"] == "locked-out");
                denied.push(photo);
            }
            Some("enrolled") => {
                assert!(among(&denied, &photo) && !among(&granted, &photo), "{line}");
                assert_eq!(visitor["relay_ms"], 0, "{line}");
                enrolled.push(photo);
            }
            other => panic!("{other:?} in {line}"),
        }
    }
    for photo in ["obama2", "obama3", "biden"] {
        assert!(among(&granted, photo), "{photo} is not among {granted:?}");
    }
    assert_eq!(enrolled, ["biden.jpg"], "a stranger until then");
    for photo in ["biden", "chelsea", "partial_face"] {
        assert!(among(&denied, photo), "{photo} is not among {denied:?}");
    }
    for photo in ["chelsea", "partial_face"] {
        assert!(!among(&granted, photo), "{photo} is among {granted:?}");
    }
    assert_eq!(not_live, 1, "the photo that was held up");
    assert_eq!(locked_out, 1, "who came while faces were locked out");
    let pictures = fs::read_dir(folder.path().join("demo-output")).expect("tagged pictures");
    assert!(
        pictures.count() >= granted.len(),
        "a picture for everybody who got in"
    );
}
