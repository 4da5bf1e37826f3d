//! Pages of the audit record for a host, read while it is being written.
//!
//! Only reads, and judges as little as it can: whether the record holds is for the host to say. A page costs two files
//! read, at most one of them in memory: a whole export takes time in proportion to the record's length times a file's.

use std::path::{Path, PathBuf};

use facelatch_protocol::audit::{AuditHead, AuditPage, Chain, ChainFault, Record};

use super::files;
use crate::error::Error;

/// Listings before giving up on a folder whose files go away faster than they are read.
const ATTEMPTS: usize = 8;

/// The records from number `from_seq` on, as many as fit on a page; from the first one kept if that one is gone, and none
/// if there is no such record yet.
///
/// # Errors
/// [`Error::AuditDamaged`] if the place of the record cannot be found, [`Error::Storage`].
pub fn page(folder: &Path, from_seq: u64) -> Result<AuditPage, Error> {
    for _ in 0..ATTEMPTS {
        if let Some(page) = page_of(&files::list(folder)?, from_seq)? {
            return Ok(page);
        }
    }
    let gone = std::io::ErrorKind::NotFound.into();
    Err(Error::storage("read", folder)(gone))
}

/// `None` if a file was deleted after it was listed.
fn page_of(files: &[(u64, PathBuf)], from_seq: u64) -> Result<Option<AuditPage>, Error> {
    let (Some((oldest, _)), Some(newest)) = (files.first(), files.last()) else {
        return Ok(Some(empty(Chain::BEGINNING, 1)));
    };
    let Some(mut bytes) = files::read_if_there(&newest.1)? else {
        return Ok(None);
    };
    let end = end(newest, &bytes)?;
    let from_seq = from_seq.clamp(*oldest, end.next_seq);
    let mut page = empty(end, *oldest);
    // At least the oldest file begins at or before `from_seq`.
    let after = files.partition_point(|(first, _)| *first <= from_seq);
    let holding = &files[after.saturating_sub(1)];
    if holding.0 != newest.0 {
        drop(bytes);
        bytes = match files::read_if_there(&holding.1)? {
            Some(bytes) => bytes,
            None => return Ok(None),
        };
    }
    let (mut chain, mut rest) = records(holding, &bytes)?;
    while chain.next_seq < from_seq {
        let taken = pass(&mut chain, &mut rest);
        taken.map_err(|fault| files::damaged(&holding.1, chain.next_seq, fault))?;
    }
    (page.first_seq, page.before) = (chain.next_seq, chain.last);
    while chain.next_seq < end.next_seq {
        let at = rest;
        if pass(&mut chain, &mut rest).is_err() {
            break;
        }
        let record = &at[..at.len() - rest.len()];
        if page.records.extend_from_slice(record).is_err() {
            break;
        }
    }
    if page.records.is_empty() && from_seq < end.next_seq {
        return Err(files::damaged(&holding.1, from_seq, ChainFault::Cut));
    }
    Ok(Some(page))
}

fn empty(end: Chain, first_seq: u64) -> AuditPage {
    AuditPage {
        head: AuditHead {
            first_seq,
            next_seq: end.next_seq,
            last: end.last,
        },
        first_seq: end.next_seq,
        before: end.last,
        records: Default::default(),
    }
}

/// Where the record ends in its newest file. A last record of which only a part is there is not there yet.
fn end(newest: &(u64, PathBuf), bytes: &[u8]) -> Result<Chain, Error> {
    let (mut chain, mut rest) = records(newest, bytes)?;
    while !rest.is_empty() {
        let (mut next, mut after) = (chain, rest);
        let passed = pass(&mut next, &mut after);
        let is_last = after.iter().all(|byte| *byte == 0);
        let whole = match passed {
            Ok(()) if is_last => chain.clone().take(&mut { rest }).is_ok() || !files::is_torn(rest),
            Ok(()) => true,
            Err(_) if files::is_torn(rest) => false,
            Err(fault) => return Err(files::damaged(&newest.1, chain.next_seq, fault)),
        };
        if !whole {
            break;
        }
        (chain, rest) = (next, after);
    }
    Ok(chain)
}

fn records<'a>(file: &(u64, PathBuf), bytes: &'a [u8]) -> Result<(Chain, &'a [u8]), Error> {
    let (first, path) = file;
    files::split_header(*first, bytes)
        .ok_or_else(|| files::damaged(path, *first, "the file's header is unreadable"))
}

/// Passes over the next record, believing it.
fn pass(chain: &mut Chain, rest: &mut &[u8]) -> Result<(), ChainFault> {
    chain.last = Record::take(rest)?.hash;
    chain.next_seq = chain.next_seq.saturating_add(1);
    Ok(())
}
