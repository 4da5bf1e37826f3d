//! The audit record: append-only, hash-chained, on disk before anybody acts on it, bounded in size.
//!
//! Every decision, door action, update, change of people, fault, start, stop and clock setting is one [`Entry`] with a
//! number that is never used again. Changing, removing or reordering records breaks the chain. What a power cut left
//! of a last record is cut off; anything else that does not fit is damage. Called by `events`.
//!
//! ```text
//! audit/<first number>.log   "FLA1" | hash before | record | record | ...        records: see the protocol's `audit`
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

pub use facelatch_protocol::audit::{Entry, What};
use facelatch_protocol::{
    Digest,
    audit::{Chain as Place, Record, link},
};

use crate::error::Error;

const MAGIC: &[u8; 4] = b"FLA1";
const HEADER_LEN: u64 = 4 + 32;

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
    next_seq: u64,
    last: [u8; 32],
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
        fs::create_dir_all(folder).map_err(Error::storage("create", folder))?;
        let files = files(folder)?;
        let Some((_, newest)) = files.last() else {
            let medium = begin_file(folder, 1, &[0; 32])?;
            let last = [0; 32];
            let (folder, sound) = (folder.to_owned(), HEADER_LEN);
            return Ok(Audit {
                folder,
                limits,
                medium,
                sound,
                in_file: 0,
                next_seq: 1,
                last,
            });
        };
        let chain = check(&files)?;
        let medium = OpenOptions::new()
            .read(true)
            .write(true)
            .open(newest)
            .map_err(Error::storage("open", newest))?;
        Ok(Audit {
            folder: folder.to_owned(),
            limits,
            medium,
            sound: chain.sound,
            in_file: chain.in_file,
            next_seq: chain.next_seq,
            last: chain.last,
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
        for (_, path) in files(&self.folder)? {
            read_file(&path, None, true, &mut |entry| entries.push(entry))?;
        }
        Ok(entries)
    }

    /// Checks every record kept in a folder, without changing anything.
    ///
    /// # Errors
    /// [`Error::AuditDamaged`] naming the first that does not fit, [`Error::Storage`].
    pub fn verify(folder: &Path) -> Result<Verified, Error> {
        let files = files(folder)?;
        let first = files.first().map_or(1, |(seq, _)| *seq);
        let chain = check(&files)?;
        Ok(Verified {
            records: chain.next_seq - first,
            last: Digest(chain.last),
        })
    }

    fn begin_next_file(&mut self) -> Result<(), Error> {
        self.medium = begin_file(&self.folder, self.next_seq, &self.last)?;
        (self.sound, self.in_file) = (HEADER_LEN, 0);
        let files = files(&self.folder)?;
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
        let seq = self.next_seq;
        let place = Place {
            next_seq: seq,
            last: Digest(self.last),
        };
        let (record, next) = place
            .continued(unix_ms, what)
            .map_err(|e| Error::Bug(format!("audit record: {e}")))?;
        self.medium
            .append_at(self.sound, &record)
            .map_err(Error::storage("write the audit record in", &self.folder))?;
        self.sound += record.len() as u64;
        self.in_file += 1;
        self.next_seq += 1;
        self.last = next.last.0;
        Ok(seq)
    }
}

/// Where a checked chain ends.
#[derive(Debug, Clone, Copy)]
struct Chain {
    sound: u64,
    in_file: u64,
    next_seq: u64,
    last: [u8; 32],
}

fn check(files: &[(u64, PathBuf)]) -> Result<Chain, Error> {
    let mut chain = Chain {
        sound: 0,
        in_file: 0,
        next_seq: 1,
        last: [0; 32],
    };
    let mut before = None;
    for (i, (first, path)) in files.iter().enumerate() {
        let is_last = i + 1 == files.len();
        if before.is_some() && *first != chain.next_seq {
            return Err(broken(
                path,
                chain.next_seq,
                "records before this file are missing",
            ));
        }
        let mut next_seq = *first;
        let mut wrong_seq = None;
        let end = read_file(path, before, is_last, &mut |entry| {
            if entry.seq != next_seq {
                wrong_seq.get_or_insert(entry.seq);
            }
            next_seq += 1;
        })?;
        if let Some(found) = wrong_seq {
            return Err(broken(path, found, "the numbers do not follow each other"));
        }
        chain = Chain { next_seq, ..end };
        before = Some(chain.last);
    }
    Ok(chain)
}

/// Walks one file. In the last file, what a power cut left of a record may follow the sound ones.
fn read_file(
    path: &Path,
    before: Option<[u8; 32]>,
    is_last: bool,
    each: &mut dyn FnMut(Entry),
) -> Result<Chain, Error> {
    let mut bytes = vec![];
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(Error::storage("read", path))?;
    let first = first_seq(path).unwrap_or(0);
    let header = bytes
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.split_first_chunk::<32>());
    let Some((start, mut rest)) = header else {
        return Err(broken(path, first, "the file's header is unreadable"));
    };
    if before.is_some_and(|hash| hash != *start) || (first == 1 && *start != [0; 32]) {
        return Err(broken(
            path,
            first,
            "the file does not continue the one before",
        ));
    }
    let mut chain = Chain {
        sound: HEADER_LEN,
        in_file: 0,
        next_seq: first,
        last: *start,
    };
    while !rest.is_empty() {
        let mut after = rest;
        let Ok(record) = Record::take(&mut after) else {
            return torn(path, chain, rest, is_last);
        };
        let hash = record.hash.0;
        if link(&Digest(chain.last), record.body).0 != hash {
            // A power cut can leave zeros where the end of the last record should be.
            let zero_end = hash.ends_with(&[0]) && after.iter().all(|b| *b == 0);
            return match zero_end {
                true => torn(path, chain, rest, is_last),
                false => Err(broken(path, chain.next_seq, "its hash is wrong")),
            };
        }
        let Some(entry) = record.entry() else {
            return Err(broken(
                path,
                chain.next_seq,
                "it cannot be read by this version",
            ));
        };
        each(entry);
        chain.sound += (rest.len() - after.len()) as u64;
        chain.in_file += 1;
        chain.next_seq += 1;
        chain.last = hash;
        rest = after;
    }
    Ok(chain)
}

fn torn(path: &Path, chain: Chain, rest: &[u8], is_last: bool) -> Result<Chain, Error> {
    if !is_last {
        return Err(broken(path, chain.next_seq, "the file ends within it"));
    }
    log::warn!(
        "{}: {} bytes of an unfinished record cut off",
        path.display(),
        rest.len()
    );
    Ok(chain)
}

fn broken(path: &Path, at: u64, why: &str) -> Error {
    Error::AuditDamaged {
        path: path.to_owned(),
        at,
        why: why.to_owned(),
    }
}

fn begin_file(folder: &Path, first: u64, last: &[u8; 32]) -> Result<File, Error> {
    let path = folder.join(format!("{first:020}.log"));
    let begun = || {
        // Truncated: a beginning that was interrupted holds no record yet.
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)?;
        file.write_all(&[MAGIC.as_slice(), last].concat())?;
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
        Ok(file)
    };
    begun().map_err(Error::storage("begin", &path))
}

fn first_seq(path: &Path) -> Option<u64> {
    path.file_name()?
        .to_str()?
        .strip_suffix(".log")?
        .parse()
        .ok()
}

/// The record's files, oldest first. A newest file whose header was cut short by a power cut holds nothing: it is left
/// out, and begun again when its turn comes.
fn files(folder: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).map_err(Error::storage("read", folder))? {
        let path = entry.map_err(Error::storage("read", folder))?.path();
        found.extend(first_seq(&path).map(|seq| (seq, path)));
    }
    found.sort();
    if let Some((_, newest)) = found.last()
        && newest.metadata().is_ok_and(|m| m.len() < HEADER_LEN)
    {
        found.pop();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use facelatch_protocol::{DoorState, EventKind};
    use tempfile::TempDir;

    use super::*;

    const LIMITS: Limits = Limits {
        records_per_file: 4,
        files: 3,
    };

    fn locked() -> What {
        What::Event(EventKind::Door(DoorState::Locked))
    }

    fn filled(records: u64) -> TempDir {
        let dir = TempDir::new().unwrap();
        let mut audit = Audit::open(dir.path(), LIMITS).unwrap();
        for i in 1..=records {
            assert_eq!(audit.append(1000 + i, locked()).unwrap(), i);
        }
        dir
    }

    fn numbers(dir: &TempDir) -> Vec<u64> {
        let audit = Audit::open(dir.path(), LIMITS).unwrap();
        audit.entries().unwrap().iter().map(|e| e.seq).collect()
    }

    #[test]
    fn records_survive_reopening_and_numbers_go_on() {
        let dir = filled(6);
        let mut audit = Audit::open(dir.path(), LIMITS).unwrap();
        assert_eq!(audit.append(2000, What::Stopped).unwrap(), 7);
        drop(audit);
        assert_eq!(numbers(&dir), (1..=7).collect::<Vec<_>>());
        assert_eq!(Audit::verify(dir.path()).unwrap().records, 7);
    }

    #[test]
    fn it_is_bounded_and_the_rest_still_verifies() {
        let dir = filled(21);
        assert_eq!(numbers(&dir), (13..=21).collect::<Vec<_>>());
        assert_eq!(Audit::verify(dir.path()).unwrap().records, 9);
    }

    #[test]
    fn a_power_cut_at_any_byte_costs_at_most_the_last_record() {
        let dir = filled(3);
        let (_, path) = files(dir.path()).unwrap().remove(0);
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            for zeros in [0, 7] {
                fs::write(&path, [&whole[..len], &vec![0; zeros]].concat()).unwrap();
                let mut audit = Audit::open(dir.path(), LIMITS)
                    .unwrap_or_else(|e| panic!("cut at {len}, {zeros} zeros: {e}"));
                let seq = audit.append(5, What::Stopped).unwrap();
                assert!((1..=3).contains(&seq), "cut at {len}: {seq}");
                drop(audit);
                assert_eq!(Audit::verify(dir.path()).unwrap().records, seq);
            }
        }
    }

    #[test]
    fn tampering_is_found() {
        type Damage = fn(&[PathBuf]);
        let damages: [(&str, Damage); 5] = [
            ("byte changed", |files| {
                let mut bytes = fs::read(&files[0]).unwrap();
                bytes[50] ^= 1;
                fs::write(&files[0], bytes).unwrap();
            }),
            ("file removed", |files| fs::remove_file(&files[1]).unwrap()),
            ("file cut", |files| {
                let bytes = fs::read(&files[0]).unwrap();
                fs::write(&files[0], &bytes[..bytes.len() - 20]).unwrap();
            }),
            ("record removed", |files| {
                let bytes = fs::read(&files[2]).unwrap();
                let mut after = &bytes[36..];
                Record::take(&mut after).unwrap();
                fs::write(&files[2], [&bytes[..36], after].concat()).unwrap();
            }),
            ("header changed", |files| {
                let mut bytes = fs::read(&files[2]).unwrap();
                bytes[10] ^= 1;
                fs::write(&files[2], bytes).unwrap();
            }),
        ];
        for (what, damage) in damages {
            let dir = filled(11);
            let paths: Vec<PathBuf> = files(dir.path())
                .unwrap()
                .into_iter()
                .map(|(_, path)| path)
                .collect();
            damage(&paths);
            for error in [
                Audit::verify(dir.path()).err(),
                Audit::open(dir.path(), LIMITS).err(),
            ] {
                let damaged = matches!(error, Some(Error::AuditDamaged { .. }));
                assert!(damaged, "{what}: {error:?}");
            }
        }
    }

    /// A disk with little room left.
    struct Full {
        written: Vec<u8>,
        room: usize,
    }

    impl Medium for Full {
        fn append_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.written.truncate(offset as usize);
            let fits = bytes
                .len()
                .min(self.room.saturating_sub(self.written.len()));
            self.written.extend_from_slice(&bytes[..fits]);
            if fits < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_refuses_and_later_goes_on_without_a_gap() {
        let mut audit = Audit {
            folder: PathBuf::from("audit"),
            limits: LIMITS,
            medium: Full {
                written: vec![],
                room: 100,
            },
            sound: 0,
            in_file: 0,
            next_seq: 1,
            last: [0; 32],
        };
        assert_eq!(audit.append_here(1, locked()).unwrap(), 1);
        assert_eq!(audit.append_here(2, locked()).unwrap(), 2);
        let error = audit.append_here(3, locked()).unwrap_err();
        assert!(matches!(error, Error::Storage { .. }), "{error}");
        audit.medium.room = 1000;
        assert_eq!(audit.append_here(3, What::Stopped).unwrap(), 3);
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("00000000000000000001.log");
        fs::write(
            path,
            [MAGIC.as_slice(), &[0; 32], &audit.medium.written].concat(),
        )
        .unwrap();
        assert_eq!(Audit::verify(dir.path()).unwrap().records, 3);
    }
}
