//! The record's files: listing, beginning, and checking them from the first record to the last.
//!
//! What a power cut left of the last record is told from damage here. Called by `audit` and `page`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use facelatch_protocol::{
    Digest,
    audit::{Chain, Entry, MAX_BODY},
};

use crate::error::Error;

const MAGIC: &[u8; 4] = b"FLA1";
/// Bytes before the first record of a file.
pub(super) const HEADER_LEN: usize = 4 + 32;

/// How far a file was walked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walked {
    /// What the next record has to continue.
    pub(super) chain: Chain,
    /// Bytes of the file that are sound.
    pub(super) sound: u64,
    /// Records in it.
    pub(super) records: u64,
}

impl From<Chain> for Walked {
    /// At the start of a file.
    fn from(chain: Chain) -> Walked {
        Walked {
            chain,
            sound: HEADER_LEN as u64,
            records: 0,
        }
    }
}

/// The record's files with their first numbers, oldest first. A newest file whose header is not whole holds nothing: it
/// is just being begun, or was when the power was cut.
pub(super) fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut found = all(folder)?;
    found.pop_if(|(_, newest)| is_unbegun(newest));
    Ok(found)
}

/// Removes a newest file that was just being begun when the power was cut.
pub(super) fn remove_unbegun(folder: &Path) -> Result<(), Error> {
    match all(folder)?.last() {
        Some((_, newest)) if is_unbegun(newest) => {
            fs::remove_file(newest).map_err(Error::storage("remove", newest))
        }
        Some(_) | None => Ok(()),
    }
}

fn all(folder: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).map_err(Error::storage("read", folder))? {
        let path = entry.map_err(Error::storage("read", folder))?.path();
        found.extend(first_seq(&path).map(|seq| (seq, path)));
    }
    found.sort();
    Ok(found)
}

fn is_unbegun(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| m.len() < HEADER_LEN as u64)
}

fn first_seq(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".log")?;
    digits.parse().ok()
}

/// Begins the file of the record that continues `chain`, on disk when this returns.
pub(super) fn begin(folder: &Path, chain: &Chain) -> Result<File, Error> {
    let path = folder.join(format!("{:020}.log", chain.next_seq));
    let begun = || {
        // Truncated: a beginning that was interrupted holds no record yet.
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)?;
        file.write_all(&[MAGIC.as_slice(), &chain.last.0].concat())?;
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
        Ok(file)
    };
    begun().map_err(Error::storage("begin", &path))
}

/// What the first record of a file has to continue, and its records; `None` without a whole header.
pub(super) fn split_header(first: u64, bytes: &[u8]) -> Option<(Chain, &[u8])> {
    let (before, records) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
    let chain = Chain {
        next_seq: first,
        last: Digest(*before),
    };
    Some((chain, records))
}

/// Checks all files and tells every entry; ends where the next record goes.
pub(super) fn check(
    files: &[(u64, PathBuf)],
    each: &mut dyn FnMut(Entry),
) -> Result<Walked, Error> {
    let mut end = Walked::from(Chain::BEGINNING);
    for (i, (first, path)) in files.iter().enumerate() {
        let bytes = fs::read(path).map_err(Error::storage("read", path))?;
        let due = (i > 0 || *first == 1).then_some(end.chain);
        let is_newest = i + 1 == files.len();
        end = check_file(*first, path, &bytes, due, is_newest, each)?;
    }
    Ok(end)
}

fn check_file(
    first: u64,
    path: &Path,
    bytes: &[u8],
    due: Option<Chain>,
    is_newest: bool,
    each: &mut dyn FnMut(Entry),
) -> Result<Walked, Error> {
    let Some((chain, mut rest)) = split_header(first, bytes) else {
        return Err(damaged(path, first, "the file's header is unreadable"));
    };
    if let Some(due) = due
        && due != chain
    {
        let why = "the file does not continue the one before";
        return Err(damaged(path, due.next_seq, why));
    }
    let mut walked = Walked::from(chain);
    while !rest.is_empty() {
        let seq = walked.chain.next_seq;
        let record = match walked.chain.take(&mut rest) {
            Ok(record) => record,
            Err(_) if is_newest && is_torn(rest) => {
                let (path, torn) = (path.display(), rest.len());
                log::warn!("{path}: {torn} bytes of an unfinished record cut off");
                break;
            }
            Err(fault) => return Err(damaged(path, seq, fault)),
        };
        let Some(entry) = record.entry() else {
            return Err(damaged(path, seq, "it cannot be read by this version"));
        };
        each(entry);
        walked.sound += record.stored_len() as u64;
        walked.records += 1;
    }
    Ok(walked)
}

/// Whether bytes that are no record may be what is there of one that is being written, or what a power cut left of it:
/// a record's beginning, with zeros where the rest should be.
pub(super) fn is_torn(bytes: &[u8]) -> bool {
    let kept = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    let Some((length, body)) = bytes[..kept].split_first_chunk() else {
        return true;
    };
    let length = usize::from(u16::from_le_bytes(*length));
    if length > MAX_BODY || body.len() >= length + 32 {
        return false;
    }
    match postcard::take_from_bytes::<Entry>(body) {
        Ok((_, after)) => body.len() - after.len() == length,
        Err(error) => error == postcard::Error::DeserializeUnexpectedEnd && body.len() < length,
    }
}

/// Record `at` is damaged, or the place where it should be.
pub(super) fn damaged(path: &Path, at: u64, why: impl ToString) -> Error {
    Error::AuditDamaged {
        path: path.to_owned(),
        at,
        why: why.to_string(),
    }
}

/// A file's bytes; `None` if it is gone.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::storage("read", path)(e)),
    }
}
