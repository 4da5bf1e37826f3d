//! The gallery at rest: sealed blobs in two replicas, and the index that says which of them count.
//!
//! Commits a change, heals what is damaged at open, keeps the database small. Knows blobs and their names, not people.
//! Called by `gallery` alone.
//!
//! ```text
//! change:  new blobs -> export, database -> index -> index.copy (acknowledged) -> blobs no longer named are removed
//!          stopped before the index is replaced: as if never begun; after: done, and the rest is made up at open
//! ```
//!
//! A removed person's key is in no file once the change is acknowledged, so what the database's log still holds of the
//! blob cannot be opened. Not covered: whoever kept a copy of an older index and has the device's keys, be it a backup or
//! blocks of the disk that the file system freed and did not yet use again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use facelatch_protocol::Digest;

use super::{
    damaged,
    database::{self, Database},
    export::{self, Export},
    failed,
    index::{self, Contents, Index, Names},
    record::name_of,
};
use crate::{
    error::Error,
    seal::{Key, private_folder},
};

/// A sealed blob under its name, the SHA-256 of its bytes.
pub(super) type Blob = (Digest, Vec<u8>);
pub(super) type Blobs = BTreeMap<Digest, Vec<u8>>;

/// One of the two places where blobs are kept.
pub(super) trait Replica: fmt::Debug + Send {
    /// Every blob as found: nothing is checked yet.
    fn all(&self) -> Result<Blobs, Error>;
    /// What is added is durable on return; what is removed may come back after a power cut.
    fn apply(&mut self, add: &[Blob], remove: &[Digest]) -> Result<(), Error>;
    /// Starts again with these blobs alone; the other replica holds them while this one may not.
    fn renew(&mut self, blobs: &[Blob]) -> Result<(), Error>;
    /// Bytes of its files.
    fn bytes_on_disk(&self) -> Result<u64, Error>;
}

/// The database may take this much, whatever it holds.
const DATABASE_BYTES: u64 = 8 << 20;
/// Beyond that, so many times what it holds.
const DATABASE_FACTOR: u64 = 4;
/// Kept locked while the gallery is open.
const LOCK: &str = "lock";
/// What the format before this one left.
const UNSEALED: &str = "db";

/// The open files.
#[derive(Debug)]
pub(super) struct Vault {
    pub(super) index: Index,
    pub(super) export: Box<dyn Replica>,
    pub(super) database: Box<dyn Replica>,
    generation: u64,
    /// The blobs that count, with their sizes.
    live: BTreeMap<Digest, u64>,
    /// Blobs that no longer count and may still be there.
    stale: Vec<Digest>,
    _lock: fs::File,
}

/// Whether anything of a gallery is in this folder.
pub(super) fn exists(folder: &Path) -> bool {
    let [first, second] = index::NAMES;
    [first, second, export::FOLDER, database::FOLDER, UNSEALED]
        .iter()
        // What cannot be looked at is there.
        .any(|name| folder.join(name).try_exists().unwrap_or(true))
}

impl Vault {
    /// Opens what is there, or makes a new one if nothing is; heals what one of two copies still has.
    pub(super) fn open(folder: &Path, sealing: &Key) -> Result<(Vault, Contents, Blobs), Error> {
        private_folder(folder).map_err(Error::storage("create", folder))?;
        let lock = lock(folder)?;
        let mut index = Index::new(folder, sealing);
        // Left by an interruption; it may hold keys that were never taken over.
        discard(&folder.join("index.new"))?;
        let contents = match index.load()? {
            Some(contents) => contents,
            None if folder.join(UNSEALED).exists() => {
                return Err(damaged(folder, "an older facelatchd wrote it, unsealed"));
            }
            None if exists(folder) => {
                return Err(damaged(folder, "both copies of its index are gone"));
            }
            None => {
                let contents = Contents::new(None, Names::default(), None);
                index.save(&contents)?;
                contents
            }
        };
        // A replacement whose sync failed is made durable before it is believed.
        let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(failed("sync", folder))?;
        let mut export = Export::open(folder)?;
        let (database, blobs) = heal(folder, &contents, &mut export)?;
        let vault = Vault {
            index,
            export: Box::new(export),
            database: Box::new(database),
            generation: contents.generation,
            live: sizes(&blobs),
            stale: vec![],
            _lock: lock,
        };
        Ok((vault, contents, blobs))
    }

    /// Makes `contents` the gallery; `new` are those of its blobs that are not there yet. After a failure the vault has to
    /// be opened again: what is on disk is then either as before or as asked.
    pub(super) fn commit(&mut self, mut contents: Contents, new: &[Blob]) -> Result<(), Error> {
        self.export.apply(new, &[])?;
        self.database.apply(new, &[])?;
        contents.generation = self.generation.saturating_add(1);
        self.index.save(&contents)?;
        self.generation = contents.generation;
        self.live
            .extend(new.iter().map(|(digest, bytes)| (*digest, size(bytes))));
        let named: BTreeSet<Digest> = contents.blobs().map(|(digest, _)| digest).collect();
        let gone = self
            .live
            .extract_if(.., |digest, _| !named.contains(digest));
        self.stale.extend(gone.map(|(digest, _)| digest));
        Ok(())
    }

    /// Removes what no longer counts, and makes the database anew when that has become too large.
    pub(super) fn tidy(&mut self) -> Result<(), Error> {
        self.export.apply(&[], &self.stale)?;
        self.database.apply(&[], &self.stale)?;
        self.stale.clear();
        let live: u64 = self.live.values().sum();
        if self.database.bytes_on_disk()? <= DATABASE_BYTES.max(DATABASE_FACTOR * live) {
            return Ok(());
        }
        let mut blobs = self.export.all()?;
        let mut whole = vec![];
        for digest in self.live.keys() {
            let found = blobs
                .remove(digest)
                .filter(|bytes| name_of(bytes) == *digest);
            // The database still has it: opening the vault again heals this.
            let lost = || Error::Gallery(format!("the export has lost {digest}"));
            whole.push((*digest, found.ok_or_else(lost)?));
        }
        self.database.renew(&whole)
    }
}

pub(super) fn lock(folder: &Path) -> Result<fs::File, Error> {
    let path = folder.join(LOCK);
    let mut options = fs::OpenOptions::new();
    let file = options
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let file = file.map_err(Error::storage("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::DataInUse {
            path: folder.parent().unwrap_or(folder).to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(Error::storage("lock", &path)(e)),
    }
}

/// Every blob that counts, after giving each replica what only the other one has.
fn heal(
    folder: &Path,
    contents: &Contents,
    export: &mut Export,
) -> Result<(Database, Blobs), Error> {
    let mut exported = export.all()?;
    let opened = Database::open(folder).and_then(|database| Ok((database.all()?, database)));
    let (mut stored, mut database) = match opened {
        Ok((stored, database)) => (stored, Some(database)),
        Err(error) => {
            log::error!("{error}");
            (Blobs::new(), None)
        }
    };
    let (mut blobs, mut lost) = (Blobs::new(), vec![]);
    for (digest, whose) in contents.blobs() {
        if blobs.contains_key(&digest) {
            continue;
        }
        let whole = |bytes: &Vec<u8>| name_of(bytes) == digest;
        let copies = (
            exported.remove(&digest).filter(whole),
            stored.remove(&digest).filter(whole),
        );
        let bytes = match copies {
            (Some(bytes), Some(_)) => bytes,
            (Some(bytes), None) => {
                // A database that loses what was flushed is not written to again.
                if database.take().is_some() {
                    log::error!("gallery: the database has lost {whose}");
                }
                bytes
            }
            (None, Some(bytes)) => {
                log::error!(
                    "gallery: the export has lost {whose}; it is written again from the database"
                );
                lost.push((digest, bytes.clone()));
                bytes
            }
            (None, None) => {
                let why =
                    format!("{whose} is missing or damaged in both the database and the export");
                return Err(damaged(folder, &why));
            }
        };
        blobs.insert(digest, bytes);
    }
    let stale = |there: Blobs| -> Vec<Digest> { there.into_keys().collect() };
    export.apply(&lost, &stale(exported))?;
    let unused = stale(stored);
    let tidied = database.map(|mut kept| kept.apply(&[], &unused).map(|()| kept));
    match tidied {
        Some(Ok(kept)) => {
            kept.remove_others();
            return Ok((kept, blobs));
        }
        Some(Err(error)) => log::error!("{error}"),
        None => {}
    }
    log::warn!("gallery: the database is made anew from the export");
    let all: Vec<Blob> = blobs
        .iter()
        .map(|(digest, bytes)| (*digest, bytes.clone()))
        .collect();
    Ok((Database::anew(folder, &all)?, blobs))
}

fn sizes(blobs: &Blobs) -> BTreeMap<Digest, u64> {
    blobs
        .iter()
        .map(|(digest, bytes)| (*digest, size(bytes)))
        .collect()
}

fn size(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

fn discard(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path)(e)),
        Err(_) | Ok(()) => Ok(()),
    }
}
