//! What the gallery promises: acknowledged changes survive, what does not fit changes nothing. By subject, below: bundles
//! on trial, damage, interruptions, erasure, space.

use std::fs;

use facelatch_protocol::{GalleryRecord, TemplateKey};
use tempfile::TempDir;

use super::*;

mod damage;
mod erasure;
mod interrupted;
mod rename;
mod space;
mod trial;

const LIMITS: Limits = Limits {
    people: 5,
    templates: 3,
};

fn open(dir: &TempDir) -> Result<Gallery, Error> {
    open_at(&folder(dir))
}

fn open_at(folder: &Path) -> Result<Gallery, Error> {
    Gallery::open(folder, &Key::new([9; 32]), LIMITS)
}

fn folder(dir: &TempDir) -> PathBuf {
    dir.path().join("gallery")
}

/// Where syncing costs nothing, if there is such a place.
fn fast_dir() -> TempDir {
    TempDir::new_in("/dev/shm")
        .or_else(|_| TempDir::new())
        .unwrap()
}

fn id(text: &str) -> PersonId {
    PersonId::parse(text).unwrap()
}

fn name(text: &str) -> DisplayName {
    DisplayName::parse(text).unwrap()
}

fn template(space: &str, direction: usize) -> Template {
    let mut values = [0.0_f32; 8];
    values[direction] = 1.0;
    Template {
        space: SpaceName::parse(space).unwrap(),
        values: values.into_iter().collect(),
    }
}

fn record(person: &str, index: u32, direction: usize) -> GalleryRecord {
    GalleryRecord {
        key: TemplateKey {
            person: id(person),
            index,
        },
        name: name(person),
        created_unix_ms: 7,
        template: template("space-1", direction),
    }
}

fn bundle(number: u8, records: Option<&[GalleryRecord]>) -> Incoming<'_> {
    Incoming {
        bundle: Digest([number; 32]),
        space: "space-1",
        records,
        classifier: None,
        replace: false,
    }
}

/// Everything in it, for comparison.
fn content(gallery: &Gallery) -> Vec<String> {
    let mut after = None;
    let mut lines: Vec<String> = gallery
        .people(None)
        .map(|p| format!("{}:{}", p.person, p.templates))
        .collect();
    while let Some(record) = gallery.next_record(after.as_ref()) {
        lines.push(format!("{}/{}", record.key.person, record.key.index));
        after = Some(record.key);
    }
    lines
}

/// All that has to be the same, for comparison.
type Whole = (
    Vec<String>,
    Vec<u8>,
    Vec<String>,
    Option<Digest>,
    Option<Option<Digest>>,
    Option<Vec<u8>>,
);

fn whole(gallery: &Gallery) -> Whole {
    let names = gallery.people(None).map(|p| p.name.to_string()).collect();
    (
        content(gallery),
        gallery.canonical(),
        names,
        gallery.bundle(),
        gallery.before(),
        gallery.classifier().map(<[u8]>::to_vec),
    )
}

#[test]
fn acknowledged_changes_survive_without_a_clean_close() {
    let dir = TempDir::new().unwrap();
    let mut gallery = open(&dir).unwrap();
    gallery
        .add_person(&id("ada"), &name("Ada Lovelace"), 5)
        .unwrap();
    gallery
        .add_templates(
            &id("ada"),
            &[template("space-1", 0), template("space-1", 1)],
            6,
        )
        .unwrap();
    let before = (content(&gallery), gallery.canonical());

    // As after kill -9: what is on disk now, copied while the database is open.
    let copy = TempDir::new().unwrap();
    copy_folder(dir.path(), copy.path());
    let killed = open(&copy).unwrap();
    assert_eq!((content(&killed), killed.canonical()), before);

    drop(gallery);
    let reopened = open(&dir).unwrap();
    assert_eq!((content(&reopened), reopened.canonical()), before);
    assert_eq!(reopened.name(&id("ada")), Some(&name("Ada Lovelace")));
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn a_second_daemon_is_told_that_the_folder_is_in_use() {
    let dir = TempDir::new().unwrap();
    let _first = open(&dir).unwrap();
    let error = open(&dir).unwrap_err();
    assert!(matches!(error, Error::DataInUse { .. }), "{error}");
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let mut gallery = open(&dir).unwrap();
    gallery.add_person(&id("eve"), &name("Eve"), 9).unwrap();
    gallery
        .add_templates(&id("eve"), &[template("space-1", 3)], 9)
        .unwrap();
    let before = content(&gallery);

    let other = GalleryRecord {
        template: template("space-2", 0),
        ..record("ada", 0, 0)
    };
    let crowd: Vec<_> = (0..5).map(|i| record(&format!("p{i}"), 0, 0)).collect();
    let many: Vec<_> = (0..4).map(|i| record("ada", i, 0)).collect();
    let mut long = template("space-1", 0);
    long.values[1] = 1.0;
    let wrong = GalleryRecord {
        template: long.clone(),
        ..record("ada", 0, 0)
    };
    let mut nan = template("space-1", 0);
    nan.values[1] = f32::NAN;
    let merge = |g: &mut Gallery, space, records: &[GalleryRecord]| {
        g.take_over(&Incoming {
            space,
            ..bundle(9, Some(records))
        })
    };
    let refusals = [
        (
            "another space than the networks'",
            merge(&mut gallery, "space-1", std::slice::from_ref(&other)),
        ),
        (
            "another space than what stays",
            merge(&mut gallery, "space-2", &[other]),
        ),
        (
            "networks of another space",
            gallery.take_over(&Incoming {
                space: "space-2",
                ..bundle(9, None)
            }),
        ),
        ("too many people", merge(&mut gallery, "space-1", &crowd)),
        ("too many templates", merge(&mut gallery, "space-1", &many)),
        ("no unit vector", merge(&mut gallery, "space-1", &[wrong])),
        ("no numbers", gallery.add_templates(&id("eve"), &[nan], 0)),
        (
            "another space at the door",
            gallery.add_templates(&id("eve"), &[template("space-2", 0)], 0),
        ),
        (
            "unknown person",
            gallery.add_templates(&id("ada"), &[template("space-1", 0)], 0),
        ),
        ("remove unknown person", gallery.remove_person(&id("ada"))),
    ];
    for (what, refused) in refusals {
        assert!(refused.is_err(), "{what} was taken");
    }
    assert_eq!(content(&gallery), before);
    assert_eq!((gallery.bundle(), gallery.before()), (None, None));
}

#[test]
fn the_canonical_form_does_not_depend_on_order_names_or_dates() {
    let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (mut left, mut right) = (open(&a).unwrap(), open(&b).unwrap());
    left.add_person(&id("ada"), &name("Ada"), 1).unwrap();
    left.add_person(&id("bob"), &name("Bob"), 2).unwrap();
    right.add_person(&id("bob"), &name("Robert"), 3).unwrap();
    right.add_person(&id("ada"), &name("Ada L."), 4).unwrap();
    for (gallery, at) in [(&mut left, 5), (&mut right, 6)] {
        gallery
            .add_templates(&id("ada"), &[template("space-1", 0)], at)
            .unwrap();
    }
    assert_eq!(left.canonical(), right.canonical());
    right.remove_person(&id("ada")).unwrap();
    assert_ne!(left.canonical(), right.canonical());
}
