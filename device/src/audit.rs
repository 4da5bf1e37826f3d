//! The audit record: append-only, hash-chained, on disk before anybody acts on it, bounded in size.
//!
//! Every decision, door action, update, change of people, fault, start, stop and clock setting is one [`Entry`] with a
//! number that is never used again. Changing, removing or reordering records breaks the chain. What a power cut left
//! of a last record is cut off; anything else that does not fit is damage, and the door does not start on it. Written by
//! `events` alone; [`page`] only reads, on any thread.
//!
//! ```text
//! audit/<first number>.log   "FLA1" | hash before | record | record | ...        records: see the protocol's `audit`
//! ```

mod files;
mod page;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

pub use facelatch_protocol::audit::{Entry, What};
use facelatch_protocol::{Digest, audit::Chain};

use self::files::{HEADER_LEN, Walked};
pub use self::page::page;
use crate::{error::Error, seal::private_folder};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records in one file.
    pub records_per_file: u64,
    /// Files; the oldest is deleted when a new one is begun.
    pub files: u64,
}

/// The open record.
#[derive(Debug)]
pub struct Audit<M = File> {
    folder: PathBuf,
    limits: Limits,
    medium: M,
    /// Bytes of the current file that are sound; what lies behind is a write that failed.
    sound: u64,
    in_file: u64,
    chain: Chain,
}

/// What a file has to do for the record.
pub trait Medium {
    /// Writes all bytes at an offset and returns when they will survive a power cut.
    ///
    /// # Errors
    /// Whatever the system reports; part of the bytes may have been written.
    fn append_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

impl Medium for File {
    fn append_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.set_len(offset)?;
        self.write_all_at(bytes, offset)?;
        self.sync_data()
    }
}

/// The result of checking a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Records checked.
    pub records: u64,
    /// The last one's hash: equal on two equal records.
    pub last: Digest,
}

impl Audit {
    /// Opens the record in a folder, making it if needed, and checks all of it.
    ///
    /// # Errors
    /// [`Error::AuditDamaged`], [`Error::Storage`].
    pub fn open(folder: &Path, limits: Limits) -> Result<Audit, Error> {
        private_folder(folder).map_err(Error::storage("create", folder))?;
        files::remove_unbegun(folder)?;
        let files = files::list(folder)?;
        let (medium, end) = match files.last() {
            Some((_, newest)) => {
                let end = check(&files)?;
                let medium = OpenOptions::new().read(true).write(true).open(newest);
                (medium.map_err(Error::storage("open", newest))?, end)
            }
            None => (
                files::begin(folder, &Chain::BEGINNING)?,
                Walked::from(Chain::BEGINNING),
            ),
        };
        Ok(Audit {
            folder: folder.to_owned(),
            limits,
            medium,
            sound: end.sound,
            in_file: end.records,
            chain: end.chain,
        })
    }

    /// Appends a record and returns its number once it is safe on disk.
    ///
    /// # Errors
    /// [`Error::Storage`]; the record then is as it was before, and the next append tries again.
    pub fn append(&mut self, unix_ms: u64, what: What) -> Result<u64, Error> {
        if self.in_file >= self.limits.records_per_file {
            self.begin_next_file()?;
        }
        self.append_here(unix_ms, what)
    }

    /// All records kept, oldest first.
    ///
    /// # Errors
    /// [`Error::AuditDamaged`], [`Error::Storage`].
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = vec![];
        let files = files::list(&self.folder)?;
        files::check(&files, &mut |entry| entries.push(entry))?;
        Ok(entries)
    }

    /// Checks every record kept in a folder, without changing anything.
    ///
    /// # Errors
    /// [`Error::AuditDamaged`] naming the first that does not fit, [`Error::Storage`].
    pub fn verify(folder: &Path) -> Result<Verified, Error> {
        let files = files::list(folder)?;
        let first = files.first().map_or(1, |(seq, _)| *seq);
        let Chain { next_seq, last } = check(&files)?.chain;
        Ok(Verified {
            records: next_seq - first,
            last,
        })
    }

    fn begin_next_file(&mut self) -> Result<(), Error> {
        self.medium = files::begin(&self.folder, &self.chain)?;
        (self.sound, self.in_file) = (HEADER_LEN as u64, 0);
        let files = files::list(&self.folder)?;
        // Files kept fit in memory, so their number is a usize.
        let surplus = files.len().saturating_sub(self.limits.files as usize);
        for (_, path) in &files[..surplus] {
            fs::remove_file(path).map_err(Error::storage("remove", path))?;
        }
        Ok(())
    }
}

impl<M: Medium> Audit<M> {
    fn append_here(&mut self, unix_ms: u64, what: What) -> Result<u64, Error> {
        let seq = self.chain.next_seq;
        let (record, chain) = self
            .chain
            .continued(unix_ms, what)
            .map_err(|e| Error::Bug(format!("audit record: {e}")))?;
        self.medium
            .append_at(self.sound, &record)
            .map_err(Error::storage("write the audit record in", &self.folder))?;
        self.sound += record.len() as u64;
        self.in_file += 1;
        self.chain = chain;
        Ok(seq)
    }
}

fn check(files: &[(u64, PathBuf)]) -> Result<Walked, Error> {
    files::check(files, &mut |_| {})
}
