//! What the gallery promises: acknowledged changes survive, damage is noticed, a bundle replaces only its own people.

use tempfile::TempDir;

use super::*;

const LIMITS: Limits = Limits {
    people: 5,
    templates: 3,
};

fn open(dir: &TempDir) -> Result<Gallery, Error> {
    Gallery::open(&dir.path().join("gallery"), LIMITS)
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
fn damage_is_never_an_empty_gallery() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("database removed", |folder| {
            fs::remove_dir_all(folder.join("db")).unwrap()
        }),
        ("file emptied", |folder| {
            fs::write(folder.join("db/db"), "").unwrap()
        }),
        ("tail cut off", |folder| {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(folder.join("db/db"))
                .unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }),
        ("bytes changed", |folder| {
            let path = folder.join("db/db");
            let mut bytes = fs::read(&path).unwrap();
            bytes.iter_mut().for_each(|b| *b ^= 0x55);
            fs::write(path, bytes).unwrap();
        }),
    ];
    let mut failures = vec![];
    for (what, damage) in damages {
        let dir = TempDir::new().unwrap();
        let mut gallery = open(&dir).unwrap();
        gallery.add_person(&id("ada"), &name("Ada"), 5).unwrap();
        gallery
            .add_templates(&id("ada"), &[template("space-1", 0)], 6)
            .unwrap();
        drop(gallery);
        damage(&dir.path().join("gallery"));
        if let Ok(gallery) = open(&dir) {
            failures.push(format!("{what}: opened with {:?}", content(&gallery)));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_row_changed_behind_our_back_is_noticed() {
    type Change = fn(&Gallery);
    let changes: [(&str, Change); 3] = [
        ("row removed", |g| {
            drop(g.database.as_ref().unwrap().templates.pop_min().unwrap())
        }),
        ("row changed", |g| {
            let (key, mut value) = g
                .database
                .as_ref()
                .unwrap()
                .templates
                .first()
                .unwrap()
                .unwrap();
            let last = value.len() - 1;
            value[last] ^= 1;
            g.database
                .as_ref()
                .unwrap()
                .templates
                .insert(key, value)
                .unwrap();
        }),
        ("row added", |g| {
            let (_, value) = g
                .database
                .as_ref()
                .unwrap()
                .templates
                .first()
                .unwrap()
                .unwrap();
            let key = template_key(&TemplateKey {
                person: id("ada"),
                index: 99,
            });
            g.database
                .as_ref()
                .unwrap()
                .templates
                .insert(key, value)
                .unwrap();
        }),
    ];
    for (what, change) in changes {
        let dir = TempDir::new().unwrap();
        let mut gallery = open(&dir).unwrap();
        gallery.add_person(&id("ada"), &name("Ada"), 5).unwrap();
        gallery
            .add_templates(&id("ada"), &[template("space-1", 0)], 6)
            .unwrap();
        change(&gallery);
        drop(gallery);
        let error = open(&dir).err().unwrap_or_else(|| panic!("{what}: opened"));
        assert!(
            matches!(error, Error::GalleryDamaged { .. }),
            "{what}: {error}"
        );
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
fn a_bundle_replaces_its_own_people_and_nobody_else() {
    let dir = TempDir::new().unwrap();
    let mut gallery = open(&dir).unwrap();
    let first = [
        record("ada", 0, 0),
        record("ada", 1, 1),
        record("bob", 4, 2),
    ];
    gallery
        .merge(Digest([1; 32]), "space-1", Some(&first))
        .unwrap();
    assert_eq!(
        content(&gallery),
        ["ada:2", "bob:1", "ada/0", "ada/1", "bob/0"]
    );
    assert!(gallery.is_as_in_bundle());

    gallery.add_person(&id("eve"), &name("Eve"), 9).unwrap();
    gallery
        .add_templates(&id("eve"), &[template("space-1", 3)], 9)
        .unwrap();
    gallery
        .add_templates(&id("bob"), &[template("space-1", 4)], 9)
        .unwrap();
    assert!(!gallery.is_as_in_bundle());

    gallery
        .merge(Digest([2; 32]), "space-1", Some(&[record("ada", 0, 5)]))
        .unwrap();
    let expected = [
        "ada:1",
        "bob:1",
        "eve:1",
        "ada/0",
        "bob/1048576",
        "eve/1048576",
    ];
    assert_eq!(content(&gallery), expected);

    gallery.merge(Digest([3; 32]), "space-1", None).unwrap();
    drop(gallery);
    let reopened = open(&dir).unwrap();
    assert_eq!(content(&reopened), expected);
    assert_eq!(reopened.bundle(), Some(Digest([3; 32])));
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
        g.merge(Digest([9; 32]), space, Some(records))
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
            gallery.merge(Digest([9; 32]), "space-2", None),
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
    assert_eq!(gallery.bundle(), None);
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
