//! A change that stops at any write is as if never begun, or done: on the disk as it was at that moment, in memory, and
//! when opened again. What was acknowledged is done.

use std::sync::{Arc, Mutex, MutexGuard};

use super::{
    super::{
        index::Slot,
        vault::{Blobs, Replica},
    },
    *,
};

/// Burns down with every write. Each write is three steps: stopped before it, halfway, and after it but before it said so.
#[derive(Debug, Clone)]
struct Fuse(Arc<Mutex<Burning>>);

#[derive(Debug)]
struct Burning {
    left: usize,
    blown: bool,
    folder: PathBuf,
    /// Gets the disk as it was when the fuse blew.
    cut: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stop {
    Never,
    Before,
    Halfway,
    After,
}

impl Fuse {
    fn burning(&self) -> MutexGuard<'_, Burning> {
        self.0.lock().unwrap()
    }

    /// Does one write, or as much of it as the fuse allows.
    fn write(&self, whole: impl FnOnce(), half: impl FnOnce()) -> Result<(), Error> {
        let mut burning = self.burning();
        let stop = match burning.left {
            _ if burning.blown => Stop::Before,
            0 => Stop::Before,
            1 => Stop::Halfway,
            2 => Stop::After,
            _ => Stop::Never,
        };
        match stop {
            Stop::Before => {}
            Stop::Halfway => half(),
            Stop::Never | Stop::After => whole(),
        }
        if stop == Stop::Never {
            burning.left -= 3;
            return Ok(());
        }
        if !burning.blown {
            copy_folder(&burning.folder, &burning.cut);
        }
        burning.blown = true;
        Err(Error::Gallery("the power is cut".to_owned()))
    }
}

#[derive(Debug)]
struct Failing {
    inner: Box<dyn Replica>,
    fuse: Fuse,
    always_too_large: bool,
}

impl Replica for Failing {
    fn all(&self) -> Result<Blobs, Error> {
        self.inner.all()
    }

    fn apply(&mut self, add: &[Blob], remove: &[Digest]) -> Result<(), Error> {
        let inner = std::cell::RefCell::new(&mut self.inner);
        let mut some: Vec<Blob> = add[..add.len().div_ceil(2)].to_vec();
        if let Some((_, torn)) = some.last_mut() {
            torn.truncate(torn.len() / 2);
        }
        self.fuse.write(
            || inner.borrow_mut().apply(add, remove).unwrap(),
            || {
                let fewer = &remove[..remove.len() / 2];
                inner.borrow_mut().apply(&some, fewer).unwrap();
            },
        )
    }

    fn renew(&mut self, blobs: &[Blob]) -> Result<(), Error> {
        let inner = std::cell::RefCell::new(&mut self.inner);
        self.fuse.write(
            || inner.borrow_mut().renew(blobs).unwrap(),
            || inner.borrow_mut().renew(&blobs[..blobs.len() / 2]).unwrap(),
        )
    }

    fn bytes_on_disk(&self) -> Result<u64, Error> {
        match self.always_too_large {
            true => Ok(u64::MAX),
            false => self.inner.bytes_on_disk(),
        }
    }
}

#[derive(Debug)]
struct FailingSlot {
    inner: Box<dyn Slot>,
    fuse: Fuse,
}

impl Slot for FailingSlot {
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        self.inner.read()
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        let new = self.fuse.burning().folder.join("index.new");
        let written = self.fuse.write(
            || self.inner.replace(bytes).unwrap(),
            || fs::write(new, &bytes[..bytes.len() / 2]).unwrap(),
        );
        written.map_err(io::Error::other)
    }
}

/// Stands where the inner one was while it is wrapped.
#[derive(Debug)]
struct Nothing;

impl Slot for Nothing {
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn replace(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

impl Replica for Nothing {
    fn all(&self) -> Result<Blobs, Error> {
        Ok(Blobs::new())
    }

    fn apply(&mut self, _: &[Blob], _: &[Digest]) -> Result<(), Error> {
        Ok(())
    }

    fn renew(&mut self, _: &[Blob]) -> Result<(), Error> {
        Ok(())
    }

    fn bytes_on_disk(&self) -> Result<u64, Error> {
        Ok(0)
    }
}

fn light(gallery: &mut Gallery, left: usize, cut: &Path) -> Fuse {
    let fuse = Fuse(Arc::new(Mutex::new(Burning {
        left,
        blown: false,
        folder: gallery.folder.clone(),
        cut: cut.to_owned(),
    })));
    let vault = gallery.vault.as_mut().unwrap();
    for (replica, always_too_large) in [(&mut vault.export, false), (&mut vault.database, true)] {
        let inner = std::mem::replace(replica, Box::new(Nothing));
        *replica = Box::new(Failing {
            inner,
            fuse: fuse.clone(),
            always_too_large,
        });
    }
    for slot in &mut vault.index.slots {
        let inner = std::mem::replace(slot, Box::new(Nothing));
        *slot = Box::new(FailingSlot {
            inner,
            fuse: fuse.clone(),
        });
    }
    fuse
}

type Change = fn(&mut Gallery) -> Result<(), Error>;

const CHANGES: [(&str, Change); 9] = [
    ("add a person", |g| {
        g.add_person(&id("new"), &name("New"), 1)
    }),
    ("rename a person", |g| {
        g.add_person(&id("ada"), &name("A."), 1)
    }),
    ("enroll a person", |g| {
        let templates = [template("space-1", 6), template("space-1", 7)];
        g.enroll(&id("new"), &name("New"), &templates, 1)
    }),
    ("give a person another id", |g| {
        g.rename_person(&id("ada"), &id("zoe"), &name("Zoe"))
    }),
    ("remove a person", |g| g.remove_person(&id("ada"))),
    ("add templates", |g| {
        g.add_templates(&id("ada"), &[template("space-1", 6)], 1)
    }),
    ("take over", |g| {
        let records = [record("bob", 0, 1), record("gus", 0, 2)];
        g.take_over(&Incoming {
            classifier: Some(b"third"),
            replace: true,
            ..bundle(3, Some(&records))
        })
    }),
    ("confirm", Gallery::confirm),
    ("roll back", Gallery::roll_back),
];

/// A gallery with a bundle on trial, and a classifier before and after.
fn on_trial(folder: &Path) {
    let mut gallery = open_at(folder).unwrap();
    for (number, records) in [(1, [record("ada", 0, 0)]), (2, [record("ada", 0, 5)])] {
        let incoming = Incoming {
            classifier: Some(b"weights"),
            ..bundle(number, Some(&records))
        };
        gallery.take_over(&incoming).unwrap();
        if number == 1 {
            gallery.confirm().unwrap();
        }
    }
}

#[test]
fn stopped_at_any_write_it_is_the_old_gallery_or_the_new_one() {
    let base = fast_dir();
    on_trial(&folder(&base));
    let old = whole(&open(&base).unwrap());
    let mut failures = vec![];
    for (what, change) in CHANGES {
        let done = fast_dir();
        copy_folder(base.path(), done.path());
        let mut gallery = open(&done).unwrap();
        change(&mut gallery).unwrap();
        let new = whole(&gallery);
        assert_ne!(old, new, "{what} changes something");
        for left in 0.. {
            let (dir, cut) = (fast_dir(), fast_dir());
            copy_folder(base.path(), dir.path());
            let mut gallery = open(&dir).unwrap();
            let fuse = light(&mut gallery, left, &folder(&cut));
            let told = change(&mut gallery);
            if !fuse.burning().blown {
                told.unwrap();
                // At least two replicas and two copies of the index.
                assert!(left >= 12, "{what} wrote only {left} steps");
                break;
            }
            let in_memory = whole(&gallery);
            drop(gallery);
            let states = [
                ("in memory", in_memory.clone()),
                ("opened again", whole(&open(&dir).unwrap())),
                ("on the disk of then", whole(&open(&cut).unwrap())),
            ];
            for (place, state) in &states {
                let right = *state == new || (*state == old && told.is_err());
                if !right {
                    failures.push(format!("{what}, step {left}, {place}: {told:?}, {state:?}"));
                }
            }
            if in_memory != states[1].1 {
                failures.push(format!("{what}, step {left}: memory and disk differ"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_failed_write_is_a_gallery_error_and_closes_it_only_while_the_disk_fails() {
    let dir = fast_dir();
    on_trial(&folder(&dir));
    let mut gallery = open(&dir).unwrap();
    let before = whole(&gallery);
    // A file where the folder was: nothing can be written.
    let export = folder(&dir).join("export");
    fs::rename(&export, dir.path().join("away")).unwrap();
    fs::write(&export, "").unwrap();
    for _ in 0..2 {
        let error = gallery.add_person(&id("new"), &name("New"), 1).unwrap_err();
        assert!(matches!(error, Error::Gallery(_)), "{error}");
        assert_eq!(whole(&gallery), before);
    }
    fs::remove_file(&export).unwrap();
    gallery.reopen().unwrap();
    assert_eq!(whole(&gallery), before);
    gallery.remove_person(&id("ada")).unwrap();
    assert_eq!(gallery.people_count(), 0);
}
