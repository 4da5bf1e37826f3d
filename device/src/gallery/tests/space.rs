//! What the gallery takes on disk stays bounded, however often people come and go.

use super::*;

/// Bytes of all files below a folder.
fn bytes_in(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        bytes += match entry.metadata() {
            Ok(facts) if facts.is_dir() => bytes_in(&entry.path()),
            Ok(facts) => facts.len(),
            // sled removes files of its own accord.
            Err(_) => 0,
        };
    }
    bytes
}

struct Case {
    what: &'static str,
    cycles: u64,
    templates: usize,
    most: u64,
}

#[test]
fn however_many_people_come_and_go_the_space_is_bounded() {
    let cases = [
        Case {
            what: "10,000 people with a template each",
            cycles: 10_000,
            templates: 1,
            most: 8 << 20,
        },
        Case {
            what: "500 people with 64 templates each",
            cycles: 500,
            templates: 64,
            most: 16 << 20,
        },
    ];
    let limits = Limits {
        templates: 64,
        ..LIMITS
    };
    let mut failures = vec![];
    for case in cases {
        let dir = fast_dir();
        let open = || Gallery::open(&folder(&dir), &Key::new([9; 32]), limits).unwrap();
        let mut gallery = open();
        let mut template = template("space-1", 0);
        template.values.resize_default(512).unwrap();
        gallery.add_person(&id("ada"), &name("Ada"), 1).unwrap();
        gallery
            .add_templates(&id("ada"), std::slice::from_ref(&template), 1)
            .unwrap();
        let before = gallery.canonical();
        let templates = vec![template; case.templates];
        let mut most = 0;
        for cycle in 0..case.cycles {
            let person = id(&format!("guest-{cycle}"));
            gallery.add_person(&person, &name("Guest"), cycle).unwrap();
            gallery.add_templates(&person, &templates, cycle).unwrap();
            gallery.remove_person(&person).unwrap();
            if cycle % 16 == 0 {
                most = most.max(bytes_in(&folder(&dir)));
            }
        }
        let same = gallery.canonical() == before;
        drop(gallery);
        if !same || most > case.most || open().canonical() != before {
            failures.push(format!("{}: at most {most} bytes", case.what));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_database_grown_too_large_is_made_anew_and_holds_the_same() {
    let dir = fast_dir();
    let mut gallery = open(&dir).unwrap();
    gallery.add_person(&id("ada"), &name("Ada"), 1).unwrap();
    gallery
        .add_templates(&id("ada"), &[template("space-1", 0)], 1)
        .unwrap();
    let before = whole(&gallery);
    // Nothing the gallery knows of: as large as sled's own waste could be.
    let waste = folder(&dir).join("database/1/waste");
    fs::write(&waste, vec![7; 9 << 20]).unwrap();
    gallery.add_person(&id("ada"), &name("Ada"), 1).unwrap();
    assert!(!waste.exists());
    assert!(bytes_in(&folder(&dir).join("database")) < 2 << 20);
    assert_eq!(whole(&gallery), before);
    fs::remove_dir_all(folder(&dir).join("export")).unwrap();
    drop(gallery);
    assert_eq!(
        whole(&open(&dir).unwrap()),
        before,
        "from the database alone"
    );
}
