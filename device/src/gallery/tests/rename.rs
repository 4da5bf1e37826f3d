//! A person under another id: templates go with them, and no bundle brings the old id back with the same templates.

use super::*;

fn newcomer(gallery: &mut Gallery, person: &str, directions: &[usize]) {
    let templates: Vec<_> = directions.iter().map(|d| template("space-1", *d)).collect();
    gallery
        .enroll(&id(person), &name("at the door"), &templates, 9)
        .unwrap();
}

#[test]
fn another_id_takes_everything_along_in_both_sets_and_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let mut gallery = open(&dir).unwrap();
    newcomer(&mut gallery, "door-1", &[3, 4]);
    let records = [record("ada", 0, 0)];
    gallery.take_over(&bundle(1, Some(&records))).unwrap();
    let canonical = gallery.canonical();
    gallery
        .rename_person(&id("door-1"), &id("eve"), &name("Eve"))
        .unwrap();
    let expected = ["ada:1", "eve:2", "ada/0", "eve/1048576", "eve/1048577"];
    for _ in 0..2 {
        assert_eq!(content(&gallery), expected);
        assert_eq!(gallery.name(&id("eve")), Some(&name("Eve")));
        assert_ne!(gallery.canonical(), canonical, "the id counts");
        drop(gallery);
        gallery = open(&dir).unwrap();
    }
    gallery.roll_back().unwrap();
    assert_eq!(
        content(&gallery),
        ["eve:2", "eve/1048576", "eve/1048577"],
        "also in what was before the bundle"
    );
}

#[test]
fn a_taken_id_and_an_unknown_one_change_nothing() {
    let dir = TempDir::new().unwrap();
    let mut gallery = open(&dir).unwrap();
    gallery
        .take_over(&bundle(1, Some(&[record("old", 0, 5)])))
        .unwrap();
    gallery.confirm().unwrap();
    let records = [record("ada", 0, 0), record("bob", 0, 1)];
    gallery.take_over(&bundle(2, Some(&records))).unwrap();
    let before = whole(&gallery);
    let rename =
        |g: &mut Gallery, from: &str, to: &str| g.rename_person(&id(from), &id(to), &name("X"));
    for taken in ["bob", "old"] {
        let error = rename(&mut gallery, "ada", taken).unwrap_err();
        assert!(matches!(error, Error::PersonExists(_)), "{error}");
    }
    let error = rename(&mut gallery, "eve", "zoe").unwrap_err();
    assert!(matches!(error, Error::UnknownPerson(_)), "{error}");
    let taken = gallery.enroll(&id("ada"), &name("X"), &[], 1).unwrap_err();
    assert!(matches!(taken, Error::PersonExists(_)), "{taken}");
    let many: Vec<_> = (0..4).map(|d| template("space-1", d)).collect();
    let full = gallery
        .enroll(&id("eve"), &name("X"), &many, 1)
        .unwrap_err();
    assert!(matches!(full, Error::Full { .. }), "{full}");
    let other = [template("space-2", 1)];
    let space = gallery.enroll(&id("eve"), &name("X"), &other, 1);
    assert!(matches!(space, Err(Error::Space { .. })), "{space:?}");
    assert_eq!(whole(&gallery), before);

    rename(&mut gallery, "ada", "ada").unwrap();
    assert_eq!(gallery.name(&id("ada")), Some(&name("X")), "the name alone");
}

#[test]
fn a_bundle_made_before_the_rename_does_not_bring_the_old_id_back() {
    let dir = TempDir::new().unwrap();
    let mut gallery = open(&dir).unwrap();
    newcomer(&mut gallery, "door-1", &[3, 4]);
    gallery
        .take_over(&bundle(1, Some(&[record("ada", 0, 0)])))
        .unwrap();
    gallery.confirm().unwrap();
    for (from, to) in [("door-1", "eve"), ("ada", "ada_l")] {
        gallery
            .rename_person(&id(from), &id(to), &name(to))
            .unwrap();
    }
    // A host that pulled before, and does not know of it.
    let records = [
        record("ada", 0, 0),
        record("bob", 0, 1),
        record("door-1", 0, 3),
        record("door-1", 1, 4),
    ];
    gallery.take_over(&bundle(2, Some(&records))).unwrap();
    let expected = [
        "ada_l:1",
        "bob:1",
        "eve:2",
        "ada_l/1048576",
        "bob/0",
        "eve/1048576",
        "eve/1048577",
    ];
    assert_eq!(content(&gallery), expected);
    gallery.confirm().unwrap();

    // One that pulled since: what it gives back is the bundle's, and not doubled.
    let records = [
        record("ada_l", 0, 0),
        record("eve", 0, 3),
        record("eve", 1, 4),
    ];
    let incoming = Incoming {
        classifier: Some(b"weights"),
        ..bundle(3, Some(&records))
    };
    gallery.take_over(&incoming).unwrap();
    assert_eq!(
        content(&gallery),
        ["ada_l:1", "eve:2", "ada_l/0", "eve/0", "eve/1"]
    );
    assert_eq!(gallery.classifier(), Some(b"weights".as_slice()));
}
