//! Damage: whatever happens to one file is healed; what happens to both copies of something is refused, with its name;
//! nothing is a panic, an empty gallery or another one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// Two people, one with another template before the trial, classifiers.
fn base() -> TempDir {
    let dir = fast_dir();
    let mut gallery = open(&dir).unwrap();
    let first = [record("ada", 0, 0), record("bob", 0, 1)];
    gallery.take_over(&bundle(1, Some(&first))).unwrap();
    gallery.confirm().unwrap();
    let second = [record("ada", 0, 2), record("bob", 0, 1)];
    let incoming = Incoming {
        classifier: Some(b"weights"),
        ..bundle(2, Some(&second))
    };
    gallery.take_over(&incoming).unwrap();
    drop(gallery);
    dir
}

/// Files below a folder, as paths within it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = PathBuf::from(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(
                self::files(&entry.path())
                    .iter()
                    .map(|file| name.join(file)),
            ),
            false => files.push(name),
        }
    }
    files.sort();
    files
}

#[derive(Debug, Clone, Copy)]
enum Harm {
    Missing,
    Cut(usize),
    Flipped(usize),
    Zeroed,
}

fn harm(path: &Path, harm: Harm) {
    match harm {
        Harm::Missing => fs::remove_file(path).unwrap(),
        Harm::Cut(at) => fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|file| file.set_len(at as u64))
            .unwrap(),
        Harm::Flipped(at) => {
            let mut bytes = fs::read(path).unwrap();
            bytes[at] ^= 1 << (at % 8);
            fs::write(path, bytes).unwrap();
        }
        Harm::Zeroed => fs::write(path, vec![0; fs::read(path).unwrap().len()]).unwrap(),
    }
}

/// Every byte of a small file, a spread over a large one and all of its first bytes.
fn harms(len: usize) -> Vec<Harm> {
    let mut harms = vec![Harm::Missing, Harm::Zeroed];
    harms.extend([0, 1, len / 3, len / 2, len.saturating_sub(1)].map(Harm::Cut));
    let step = if len <= 1024 { 1 } else { len / 199 };
    let spread = (0..len).step_by(step);
    let first = (0..len.min(64)).chain((64..len.min(8192)).step_by(61));
    harms.extend(spread.chain(first).map(Harm::Flipped));
    harms
}

/// `Ok`: opened, with exactly the people there were.
fn opened(dir: &TempDir, expected: &Whole) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(|| open(dir))) {
        Err(_) => Err("panicked".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(gallery)) => match whole(&gallery) {
            found if found == *expected => Ok(()),
            found => Err(format!("another gallery: {found:?}")),
        },
    }
}

#[test]
fn any_damage_to_any_one_file_is_healed() {
    let base = base();
    let expected = whole(&open(&base).unwrap());
    let mut failures = vec![];
    let (mut tried, mut made_anew) = (0, 0);
    for file in files(&folder(&base)) {
        let len = fs::read(folder(&base).join(&file)).unwrap().len();
        for done in harms(len) {
            let dir = fast_dir();
            copy_folder(base.path(), dir.path());
            if len == 0 && !matches!(done, Harm::Missing) {
                continue;
            }
            harm(&folder(&dir).join(&file), done);
            tried += 1;
            if let Err(why) = opened(&dir, &expected) {
                failures.push(format!("{} {done:?}: {why}", file.display()));
                continue;
            }
            made_anew += u32::from(!folder(&dir).join("database/1").exists());
            // Healed, not only read around: each half alone is enough now.
            for half in ["index", "database", "export"] {
                let alone = folder(&dir).join(half);
                match alone.is_dir() {
                    true => fs::remove_dir_all(&alone).unwrap(),
                    false => fs::remove_file(&alone).unwrap(),
                }
                if let Err(why) = opened(&dir, &expected) {
                    failures.push(format!(
                        "{} {done:?}, then without {half}: {why}",
                        file.display()
                    ));
                }
            }
        }
    }
    assert!(tried > 1000, "only {tried} kinds of damage");
    assert!(made_anew > 20, "sled noticed only {made_anew}");
    assert!(
        failures.is_empty(),
        "{} of {tried}: {failures:#?}",
        failures.len()
    );
}

#[test]
fn damage_to_both_copies_is_refused_and_named() {
    let base = base();
    let expected = whole(&open(&base).unwrap());
    let gallery = open(&base).unwrap();
    let of_bob = gallery.state.now.people[&id("bob")].at.digest;
    let of_before = gallery.state.before.as_ref().unwrap().set.people[&id("ada")]
        .at
        .digest;
    drop(gallery);
    struct Case {
        what: &'static str,
        gone: Vec<String>,
        says: Option<&'static str>,
    }
    let gone = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let cases = [
        Case {
            what: "one index and the database",
            gone: gone(&["index", "database"]),
            says: None,
        },
        Case {
            what: "the other index and the export",
            gone: gone(&["index.copy", "export"]),
            says: None,
        },
        Case {
            what: "both indexes",
            gone: gone(&["index", "index.copy"]),
            says: Some("both copies of its index are gone"),
        },
        Case {
            what: "both indexes and the export",
            gone: gone(&["index", "index.copy", "export"]),
            says: Some("both copies of its index are gone"),
        },
        Case {
            what: "both indexes and the database",
            gone: gone(&["index", "index.copy", "database"]),
            says: Some("both copies of its index are gone"),
        },
        Case {
            what: "database and export",
            gone: gone(&["database", "export"]),
            says: Some("ada is missing or damaged in both"),
        },
        Case {
            what: "database and one person's export",
            gone: vec!["database".to_owned(), format!("export/{of_bob}")],
            says: Some("bob is missing or damaged in both"),
        },
        Case {
            what: "database and the export of somebody before the trial",
            gone: vec!["database".to_owned(), format!("export/{of_before}")],
            says: Some("ada is missing or damaged in both"),
        },
    ];
    let mut failures = vec![];
    for Case { what, gone, says } in cases {
        for by in [
            Harm::Missing,
            Harm::Cut(20),
            Harm::Flipped(30),
            Harm::Zeroed,
        ] {
            let dir = fast_dir();
            copy_folder(base.path(), dir.path());
            for name in &gone {
                let path = folder(&dir).join(name);
                match (by, path.is_dir()) {
                    (Harm::Missing, true) => fs::remove_dir_all(path).unwrap(),
                    (_, false) => harm(&path, by),
                    (_, true) => {
                        for file in files(&path) {
                            // A flipped bit here and there is what the test above is about.
                            harm(
                                &path.join(file),
                                if matches!(by, Harm::Flipped(_)) {
                                    Harm::Zeroed
                                } else {
                                    by
                                },
                            );
                        }
                    }
                }
            }
            let says = match (says, by) {
                (Some(says), Harm::Missing) => Some(says),
                (Some(says), _) if says.contains("index") => Some("no copy of its index"),
                (says, _) => says,
            };
            match (opened(&dir, &expected), says) {
                (Ok(()), None) => {}
                (Err(why), Some(says)) if why.contains(says) && why.contains("is damaged") => {}
                (found, _) => failures.push(format!("{what}, {by:?}: {found:?}")),
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn damage_to_the_database_beside_a_lost_export_is_healed_or_refused() {
    let base = base();
    let expected = whole(&open(&base).unwrap());
    let of_bob = open(&base).unwrap().state.now.people[&id("bob")].at.digest;
    let mut failures = vec![];
    for file in files(&folder(&base).join("database")) {
        let file = Path::new("database").join(file);
        let len = fs::read(folder(&base).join(&file)).unwrap().len();
        for done in harms(len) {
            let dir = fast_dir();
            copy_folder(base.path(), dir.path());
            harm(&folder(&dir).join(&file), done);
            harm(
                &folder(&dir).join(format!("export/{of_bob}")),
                Harm::Missing,
            );
            match opened(&dir, &expected) {
                Ok(()) => {}
                Err(why) if why.contains("bob is missing or damaged in both") => {}
                Err(why) => failures.push(format!("{} {done:?}: {why}", file.display())),
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn with_another_key_or_from_an_older_format_it_is_refused() {
    let base = base();
    let other = Gallery::open(&folder(&base), &Key::new([8; 32]), LIMITS).unwrap_err();
    assert!(matches!(other, Error::GalleryDamaged { .. }), "{other}");
    assert!(open(&base).is_ok(), "nothing was changed");

    let dir = TempDir::new().unwrap();
    assert!(!Gallery::exists(&folder(&dir)));
    fs::create_dir_all(folder(&dir).join("db")).unwrap();
    assert!(Gallery::exists(&folder(&dir)));
    let unsealed = open(&dir).unwrap_err().to_string();
    assert!(unsealed.contains("unsealed"), "{unsealed}");
}

#[test]
fn a_first_start_cut_short_is_no_damage() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(folder(&dir)).unwrap();
    for left in ["lock", "index.new"] {
        fs::write(folder(&dir).join(left), "").unwrap();
    }
    assert!(!Gallery::exists(&folder(&dir)));
    drop(open(&dir).unwrap());
    fs::remove_file(folder(&dir).join("index.copy")).unwrap();
    for left in ["database", "export"] {
        fs::remove_dir_all(folder(&dir).join(left)).unwrap();
    }
    assert_eq!(open(&dir).unwrap().people_count(), 0);
}

#[test]
fn a_database_left_by_an_interruption_is_removed() {
    let base = base();
    let expected = whole(&open(&base).unwrap());
    for copied in [true, false] {
        let dir = fast_dir();
        copy_folder(base.path(), dir.path());
        let database = folder(&dir).join("database");
        match copied {
            true => copy_folder(&database.join("1"), &database.join("2")),
            false => fs::create_dir(database.join("2")).unwrap(),
        }
        assert_eq!(opened(&dir, &expected), Ok(()));
        assert!(!database.join("1").exists());
        assert_eq!(fs::read_dir(database).unwrap().count(), 1);
    }
}
