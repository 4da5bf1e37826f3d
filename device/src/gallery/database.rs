//! The gallery's blobs in sled: the only file that names sled.
//!
//! ```text
//! database/<number>/   a sled database: SHA-256 of the blob -> the blob. The highest number counts.
//! ```
//!
//! It is made anew, under the next number, when it grew too large or lost something; until the new one is whole the old
//! one stays, and an interruption in between is healed from the export. sled panics on some kinds of damage; here that
//! is damage like any other. Called by `gallery/vault.rs`.

use std::{
    collections::BTreeMap,
    fs, io, panic,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use facelatch_protocol::Digest;

use super::{
    failed,
    vault::{Blob, Replica},
};
use crate::{error::Error, seal::private_folder};

pub(super) const FOLDER: &str = "database";
/// An instance just closed keeps its lock until its threads are done.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The open database.
#[derive(Debug)]
pub(super) struct Database {
    root: PathBuf,
    number: u64,
    // `None` only while it is dropped.
    db: Option<sled::Db>,
}

impl Database {
    /// Opens the database below the gallery's folder, making an empty one if there is none.
    pub(super) fn open(gallery: &Path) -> Result<Database, Error> {
        let root = gallery.join(FOLDER);
        let number = numbers(&root)?.into_iter().max().unwrap_or(1);
        let db = open_number(&root, number)?;
        Ok(Database {
            root,
            number,
            db: Some(db),
        })
    }

    /// A new one with these blobs; what was there before is removed, whatever state it is in.
    pub(super) fn anew(gallery: &Path, blobs: &[Blob]) -> Result<Database, Error> {
        let database = Database::next(&gallery.join(FOLDER), blobs)?;
        database.remove_others();
        Ok(database)
    }

    fn next(root: &Path, blobs: &[Blob]) -> Result<Database, Error> {
        let last = numbers(root)?.into_iter().max().unwrap_or(0);
        let number = last.saturating_add(1);
        let db = open_number(root, number)?;
        let mut database = Database {
            root: root.to_owned(),
            number,
            db: Some(db),
        };
        database.apply(blobs, &[])?;
        for folder in [&root.join(number.to_string()), root] {
            let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(failed("sync", folder))?;
        }
        Ok(database)
    }

    /// Removes what an interruption left of older or newer ones.
    pub(super) fn remove_others(&self) {
        let others = numbers(&self.root).unwrap_or_default();
        for other in others.into_iter().filter(|number| *number != self.number) {
            let path = self.root.join(other.to_string());
            if let Err(e) = fs::remove_dir_all(&path) {
                log::warn!("gallery: cannot remove {}: {e}", path.display());
            }
        }
    }

    fn guarded<T>(
        &self,
        doing: &str,
        work: impl FnOnce(&sled::Db) -> sled::Result<T>,
    ) -> Result<T, Error> {
        let path = self.root.join(self.number.to_string());
        let error = |why: &str| Error::Gallery(format!("cannot {doing} {}: {why}", path.display()));
        let db = self.db.as_ref().ok_or_else(|| error("it is closed"))?;
        // After a panic the caller closes the database: nothing half-done is used again.
        match panic::catch_unwind(panic::AssertUnwindSafe(|| work(db))) {
            Ok(done) => done.map_err(|e| error(&e.to_string())),
            Err(_) => Err(error("sled panicked")),
        }
    }
}

impl Replica for Database {
    fn all(&self) -> Result<BTreeMap<Digest, Vec<u8>>, Error> {
        self.guarded("read", |db| {
            let mut blobs = BTreeMap::new();
            for row in db.iter() {
                let (key, value) = row?;
                match <[u8; 32]>::try_from(key.as_ref()) {
                    Ok(name) => drop(blobs.insert(Digest(name), value.to_vec())),
                    Err(_) => log::error!("gallery: the database holds a row of no known kind"),
                }
            }
            Ok(blobs)
        })
    }

    fn apply(&mut self, add: &[Blob], remove: &[Digest]) -> Result<(), Error> {
        self.guarded("write", |db| {
            for (digest, bytes) in add {
                db.insert(digest.0, bytes.as_slice())?;
            }
            for digest in remove {
                db.remove(digest.0)?;
            }
            match add.is_empty() {
                true => Ok(()),
                false => db.flush().map(drop),
            }
        })
    }

    fn renew(&mut self, blobs: &[Blob]) -> Result<(), Error> {
        // The old one is closed before its files go.
        *self = Database::next(&self.root, blobs)?;
        self.remove_others();
        Ok(())
    }

    fn bytes_on_disk(&self) -> Result<u64, Error> {
        let path = self.root.join(self.number.to_string());
        folder_bytes(&path).map_err(failed("measure", &path))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let db = self.db.take();
        // Closing a damaged one may panic too.
        if panic::catch_unwind(panic::AssertUnwindSafe(|| drop(db))).is_err() {
            log::error!("gallery: the database could not be closed");
        }
    }
}

/// The databases there are.
fn numbers(root: &Path) -> Result<Vec<u64>, Error> {
    private_folder(root).map_err(failed("create", root))?;
    let mut numbers = vec![];
    for entry in fs::read_dir(root).map_err(failed("list", root))? {
        let name = entry.map_err(failed("list", root))?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    Ok(numbers)
}

fn open_number(root: &Path, number: u64) -> Result<sled::Db, Error> {
    let path = root.join(number.to_string());
    let config = sled::Config::new()
        .path(&path)
        .cache_capacity(8 << 20)
        .flush_every_ms(None);
    let unusable = |why: &str| Error::Gallery(format!("cannot open {}: {why}", path.display()));
    for _ in 0..LOCK_TRIES {
        // Nothing of a half-opened database is used again.
        match panic::catch_unwind(panic::AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(sled::Error::Io(e))) if e.to_string().contains("lock") => {
                thread::sleep(LOCK_PAUSE);
            }
            Ok(Err(e)) => return Err(unusable(&e.to_string())),
            Err(_) => return Err(unusable("sled panicked")),
        }
    }
    Err(unusable("it stays locked"))
}

fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(facts) if facts.is_dir() => folder_bytes(&entry.path())?,
            Ok(facts) => facts.len(),
            // sled removes files of its own accord.
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
    }
    Ok(bytes)
}
