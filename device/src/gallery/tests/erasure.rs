//! Whoever is removed is gone: no file holds the templates, nor a key that opens what files still hold of them.

use std::collections::HashSet;

use super::{
    super::{
        database::Database,
        index::{Index, NAMES},
        record::{ClassifierEntry, Entry},
        vault::Replica,
    },
    *,
};

/// Values of a template that must not be found, in any run of so many.
const RUN: usize = 16;

/// A template of numbers as good as random, the same for the same seed.
fn face(seed: u32) -> Template {
    let mut state = seed;
    let mut values: Vec<f32> = (0..512)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (f64::from(state) / f64::from(u32::MAX) - 0.5) as f32
        })
        .collect();
    let length = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    values.iter_mut().for_each(|v| *v /= length);
    Template {
        space: SpaceName::parse("space-1").unwrap(),
        values: values.into_iter().collect(),
    }
}

fn of_face(person: &str, seed: u32) -> GalleryRecord {
    GalleryRecord {
        template: face(seed),
        ..record(person, 0, 0)
    }
}

fn runs(template: &Template) -> HashSet<Vec<u8>> {
    let run = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    template.values.windows(RUN).map(run).collect()
}

/// Everything that files below `folder` hold, the index's copies also opened.
fn everything(folder: &Path, key: &Key) -> Vec<(String, Vec<u8>)> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(everything(&path, key)),
            false => found.push((path.display().to_string(), fs::read(&path).unwrap())),
        }
        if NAMES.iter().any(|name| path.ends_with(name)) {
            let index = key.derive("facelatch gallery index 1");
            let plain = index.open(b"facelatch gallery index 1", &fs::read(&path).unwrap());
            found.push((
                format!("{} opened", path.display()),
                plain.unwrap().to_vec(),
            ));
        }
    }
    found
}

fn holds(found: &[(String, Vec<u8>)], sought: &HashSet<Vec<u8>>, len: usize) -> Vec<String> {
    let has = |bytes: &[u8]| bytes.windows(len).any(|window| sought.contains(window));
    found
        .iter()
        .filter(|(_, bytes)| has(bytes))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Keys and blobs of ada, and of the classifiers, as they are now.
fn note(gallery: &Gallery, keys: &mut HashSet<Vec<u8>>, blobs: &mut Vec<Vec<u8>>) {
    let before = gallery.state.before.as_ref().map(|before| &before.set);
    for set in [Some(&gallery.state.now), before].into_iter().flatten() {
        let person = set.people.get(&id("ada")).map(|entry| &entry.at);
        let classifier = set.classifier.as_ref().map(|entry| &entry.at);
        for at in [person, classifier].into_iter().flatten() {
            keys.insert(at.key.bytes().to_vec());
            let file = gallery.folder.join("export").join(at.digest.to_string());
            blobs.push(fs::read(file).unwrap());
        }
    }
}

type Step = fn(&mut Gallery);

struct Case {
    what: &'static str,
    steps: &'static [Step],
}

fn push(gallery: &mut Gallery, number: u8, records: &[GalleryRecord]) {
    let incoming = Incoming {
        classifier: Some(b"weights made of faces, at least thirty-two bytes long"),
        ..bundle(number, Some(records))
    };
    gallery.take_over(&incoming).unwrap();
}

const ENROLL: Step = |g| {
    g.add_person(&id("ada"), &name("Ada"), 1).unwrap();
    g.add_templates(&id("ada"), &[face(1), face(2)], 1).unwrap();
};
const PUSH: Step = |g| push(g, 1, &[of_face("ada", 1), of_face("bob", 3)]);
const PUSH_OTHER: Step = |g| push(g, 2, &[of_face("ada", 2), of_face("bob", 3)]);
const PUSH_WITHOUT: Step = |g| push(g, 3, &[of_face("bob", 3)]);
const CONFIRM: Step = |g| g.confirm().unwrap();
const REMOVE: Step = |g| g.remove_person(&id("ada")).unwrap();
const CHURN: Step = |g| {
    for at in 0..40 {
        g.add_person(&id("guest"), &name("Guest"), at).unwrap();
        g.add_templates(&id("guest"), &[face(9)], at).unwrap();
        g.remove_person(&id("guest")).unwrap();
    }
};
const RENEW: Step = |g| {
    let vault = g.vault.as_mut().unwrap();
    let blobs: Vec<Blob> = vault.export.all().unwrap().into_iter().collect();
    vault.database.renew(&blobs).unwrap();
};

#[test]
fn a_removed_person_is_in_no_file_and_opened_by_no_key() {
    let cases = [
        Case {
            what: "enrolled at the door",
            steps: &[ENROLL, REMOVE],
        },
        Case {
            what: "enrolled, renamed, then others came",
            steps: &[ENROLL, ENROLL_AGAIN, CHURN, REMOVE, CHURN],
        },
        Case {
            what: "pushed",
            steps: &[PUSH, CONFIRM, REMOVE],
        },
        Case {
            what: "removed during a trial",
            steps: &[PUSH, CONFIRM, PUSH_OTHER, REMOVE],
        },
        Case {
            what: "only in the people before a trial",
            steps: &[PUSH, CONFIRM, PUSH_WITHOUT, REMOVE],
        },
        Case {
            what: "left out by a bundle that proved itself",
            steps: &[PUSH, CONFIRM, PUSH_OTHER, CONFIRM, PUSH_WITHOUT, CONFIRM],
        },
        Case {
            what: "removed before the database was made anew",
            steps: &[PUSH, CONFIRM, REMOVE, RENEW],
        },
    ];
    let key = Key::new([9; 32]);
    let mut failures = vec![];
    for Case { what, steps } in cases {
        let dir = fast_dir();
        let mut gallery = open(&dir).unwrap();
        let (mut keys, mut blobs) = (HashSet::new(), vec![]);
        for step in steps {
            step(&mut gallery);
            note(&gallery, &mut keys, &mut blobs);
        }
        // Who is left, and the classifier of the bundle without ada, stay.
        let mut left = HashSet::new();
        let mut left_blobs = vec![];
        note(&gallery, &mut left, &mut left_blobs);
        keys.retain(|key| !left.contains(key));
        blobs.retain(|blob| !left_blobs.contains(blob));
        assert!(!keys.is_empty() && !blobs.is_empty(), "{what}");

        for when in ["at once", "closed", "opened again"] {
            match when {
                "at once" => {}
                "closed" => gallery.vault = None,
                _ => gallery.reopen().unwrap(),
            }
            let found = everything(dir.path(), &key);
            let templates = [face(1), face(2)].iter().flat_map(runs).collect();
            for file in holds(&found, &templates, 4 * RUN) {
                failures.push(format!("{what}, {when}: a template is in {file}"));
            }
            for file in holds(&found, &keys, 32) {
                failures.push(format!("{what}, {when}: a key is in {file}"));
            }
        }
        drop(gallery);

        let contents = Index::new(&folder(&dir), &key).load().unwrap().unwrap();
        let before = contents.before.iter().map(|(_, names)| names);
        let names: Vec<_> = before.chain([&contents.now]).collect();
        let people = names.iter().flat_map(|names| names.people.values());
        let known: Vec<_> = people
            .chain(names.iter().filter_map(|n| n.classifier.as_ref()))
            .collect();
        let stored = Database::open(&folder(&dir)).unwrap().all().unwrap();
        let exported = everything(&folder(&dir).join("export"), &key);
        let there = stored
            .into_values()
            .chain(exported.into_iter().map(|(_, bytes)| bytes));
        for blob in there.chain(blobs) {
            for at in &known {
                let opened = Entry::open(&id("ada"), at, &blob).is_some()
                    || (!left_blobs.contains(&blob) && ClassifierEntry::open(at, &blob).is_some());
                if opened {
                    failures.push(format!("{what}: a blob is opened by a key in the index"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

const ENROLL_AGAIN: Step = |g| {
    g.add_person(&id("ada"), &name("Ada L."), 2).unwrap();
    g.add_templates(&id("ada"), &[face(1)], 2).unwrap();
};

#[test]
fn the_search_finds_what_is_there() {
    let dir = fast_dir();
    let mut gallery = open(&dir).unwrap();
    ENROLL(&mut gallery);
    let (mut keys, mut blobs) = (HashSet::new(), vec![]);
    note(&gallery, &mut keys, &mut blobs);
    let found = everything(dir.path(), &Key::new([9; 32]));
    assert_eq!(holds(&found, &keys, 32).len(), 2, "in both copies, opened");
    let blobs = blobs.iter().map(|blob| blob[..64].to_vec()).collect();
    assert!(holds(&found, &blobs, 64).len() >= 2, "in both replicas");
    assert!(holds(&found, &runs(&face(1)), 4 * RUN).is_empty());
    let bytes: Vec<u8> = face(1).values[100..120]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    fs::write(dir.path().join("leak"), bytes).unwrap();
    let found = everything(dir.path(), &Key::new([9; 32]));
    assert_eq!(holds(&found, &runs(&face(1)), 4 * RUN).len(), 1);
}
