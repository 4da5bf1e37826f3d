//! A door's audit record at the host: got page by page, kept as a file of evidence, judged from the first record to the
//! last.
//!
//! ```text
//! "FLR1" | door's key (32) | got at (ms) | first number | hash before (32) | next number | last hash (32)
//!        | SHA-256 of everything before | records
//! ```
//!
//! Numbers are u64, little endian; records as the door stores them, see the protocol's `audit`. No hash is keyed: whoever
//! owns the door may write a whole new chain, or cut off its end. That is found by a [`Pin`] from before. Nothing here asks
//! a door or reads a file: `cmd::audit` does.

#[cfg(test)]
mod tests;

use std::fmt;

use facelatch_protocol::{
    Digest, PublicKey,
    audit::{AuditHead, AuditPage, Chain, ChainFault, Record},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::client;

const MAGIC: &[u8; 4] = b"FLR1";
const HEADER_LEN: usize = 4 + 32 + 8 + 8 + 32 + 8 + 32 + 32;
/// Longest record that is taken, in bytes: a door keeps far less.
const MAX_LEN: usize = 1 << 30;

/// A record as it was got, unjudged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Whose.
    pub door: PublicKey,
    /// When it was got, milliseconds since 1970.
    pub unix_ms: u64,
    /// What the door said of its record.
    pub head: AuditHead,
    /// Hash before the first record.
    pub before: Digest,
    /// The records, as stored.
    pub records: Vec<u8>,
}

/// A record seen before: its number and hash, which no honest record ever changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The number.
    pub seq: u64,
    /// The hash.
    pub hash: Digest,
}

impl Pin {
    /// Reads `SEQ:HASH`, the hash as 64 hexadecimal digits.
    ///
    /// # Errors
    /// What is expected, in words.
    pub fn parse(text: &str) -> Result<Pin, String> {
        let read = |(seq, hash): (&str, &str)| {
            Some(Pin {
                seq: seq.parse().ok()?,
                hash: Digest::parse(hash)?,
            })
        };
        text.split_once(':')
            .and_then(read)
            .ok_or_else(|| "expected SEQ:HASH, as `facelatch audit verify` prints it".to_owned())
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// A record that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Number of the first record.
    pub first_seq: u64,
    /// How many there are.
    pub records: u64,
    /// Those among them with words of a newer version.
    pub unreadable: u64,
    /// The last record; `None` of an empty record.
    pub last: Option<Pin>,
    /// What the record says of the one seen before.
    pub seen: Seen,
}

/// What a record says of one seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// None was.
    Nothing,
    /// It is there, unchanged: everything since then was only added.
    Same,
    /// The door has deleted it since, to make room: what became of it cannot be told.
    Deleted,
}

/// Why a record does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// A record does not continue the one before: it, or what was around it, was changed, removed, moved or added.
    Record {
        /// The number due.
        seq: u64,
        /// Why.
        fault: ChainFault,
    },
    /// The first record of all has one before it.
    Beginning,
    /// The records end elsewhere than the door says.
    End {
        /// The number due next.
        seq: u64,
        /// The number the door says is next.
        said: u64,
    },
    /// The records end where the door says, but not with the hash it says.
    EndHash {
        /// The last number.
        seq: u64,
    },
    /// A record seen before is there with another hash: the record was written anew.
    Rewritten {
        /// Its number.
        seq: u64,
    },
    /// A record that had to be there has been deleted by the door, to make room.
    Deleted {
        /// Its number.
        seq: u64,
    },
    /// A record seen before is not there any more: the record's end was cut off.
    CutOff {
        /// Its number.
        seq: u64,
        /// The number that is next now.
        next_seq: u64,
    },
}

impl Flaw {
    /// Number of the first record that does not fit.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Flaw::Record { seq, .. }
            | Flaw::End { seq, .. }
            | Flaw::EndHash { seq }
            | Flaw::Rewritten { seq }
            | Flaw::Deleted { seq } => *seq,
            Flaw::Beginning => 1,
            Flaw::CutOff { next_seq, .. } => *next_seq,
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Record { seq, fault } => write!(
                f,
                "record {seq} does not hold: {fault}; it or a record next to it was changed, removed, moved or added"
            ),
            Flaw::Beginning => {
                f.write_str("record 1 does not hold: something is said to be before it")
            }
            Flaw::End { seq, said } => write!(
                f,
                "record {seq} does not hold: it is the first that is missing, or one too many; the end is said to be before {said}"
            ),
            Flaw::EndHash { seq } => write!(
                f,
                "record {seq} does not hold: the door says that its hash, the last one, is another"
            ),
            Flaw::Rewritten { seq } => write!(
                f,
                "record {seq} does not hold: it had another hash when it was seen before, so the record was written anew"
            ),
            Flaw::Deleted { seq } => write!(
                f,
                "record {seq} is not kept any more: the door has deleted it to make room"
            ),
            Flaw::CutOff { seq, next_seq } => write!(
                f,
                "record {next_seq} and those behind it are missing: record {seq} was seen before, so the end was cut off"
            ),
        }
    }
}

impl Export {
    /// Gets a door's whole record as it is when first asked, from whoever gets pages by their first number. `each` is told
    /// how many records are there, and of how many. Stops where the pages do not fit together; [`Export::verify`] says so.
    ///
    /// # Errors
    /// As for `page`.
    pub fn fetch(
        door: PublicKey,
        unix_ms: u64,
        page: &mut dyn FnMut(u64) -> Result<AuditPage, client::Error>,
        each: &mut dyn FnMut(u64, u64),
    ) -> Result<Export, client::Error> {
        let begun = |first: &AuditPage| Export {
            door,
            unix_ms,
            head: AuditHead {
                first_seq: first.first_seq,
                ..first.head
            },
            before: first.before,
            records: vec![],
        };
        let mut got = page(0)?;
        let mut export = begun(&got);
        loop {
            let due = export.add(&got);
            let AuditHead {
                first_seq,
                next_seq,
                ..
            } = export.head;
            each(due - first_seq, next_seq.saturating_sub(first_seq));
            let is_whole = due >= next_seq || export.records.len() > MAX_LEN;
            // A page that brings nothing, or less than whole records, is the last that is any use.
            if is_whole || due == got.first_seq {
                return Ok(export);
            }
            got = page(due)?;
            if got.first_seq > due && got.first_seq == got.head.first_seq {
                // The door deleted its oldest records meanwhile: the record is what is left.
                export = begun(&got);
            } else if got.first_seq != due {
                return Ok(export);
            }
        }
    }

    /// Adds a page's records up to the head; the number due next.
    fn add(&mut self, page: &AuditPage) -> u64 {
        let mut due = page.first_seq;
        let mut rest = page.records.as_slice();
        while due < self.head.next_seq && Record::take(&mut rest).is_ok() {
            due += 1;
        }
        let added = page.records.len() - rest.len();
        let kept = if due < self.head.next_seq {
            // What is no record is kept as well: it is why the record does not hold.
            page.records.len()
        } else {
            added
        };
        self.records.extend_from_slice(&page.records[..kept]);
        due
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let AuditHead {
            first_seq,
            next_seq,
            last,
        } = self.head;
        let [unix_ms, first_seq, next_seq] =
            [self.unix_ms, first_seq, next_seq].map(u64::to_le_bytes);
        let header: [&[u8]; 7] = [
            MAGIC,
            &self.door.0,
            &unix_ms,
            &first_seq,
            &self.before.0,
            &next_seq,
            &last.0,
        ];
        let header = header.concat();
        let checksum = Sha256::digest(&header);
        [&header, checksum.as_slice(), &self.records].concat()
    }

    /// Reads a file; `None` if it is none of these, or what is before its records was changed.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Export> {
        let (header, records) = bytes.split_at_checked(HEADER_LEN)?;
        let (mut rest, checksum) = header.split_last_chunk::<32>()?;
        if Sha256::digest(rest).as_slice() != checksum || take(&mut rest)? != *MAGIC {
            return None;
        }
        let door = PublicKey(take(&mut rest)?);
        let unix_ms = u64::from_le_bytes(take(&mut rest)?);
        let first_seq = u64::from_le_bytes(take(&mut rest)?);
        let before = Digest(take(&mut rest)?);
        let next_seq = u64::from_le_bytes(take(&mut rest)?);
        let last = Digest(take(&mut rest)?);
        Some(Export {
            door,
            unix_ms,
            head: AuditHead {
                first_seq,
                next_seq,
                last,
            },
            before,
            records: records.to_vec(),
        })
    }

    /// Judges the whole record: every hash and number, its beginning and end, and the record seen before.
    ///
    /// # Errors
    /// The first [`Flaw`].
    pub fn verify(&self, seen: Option<Pin>) -> Result<Verified, Flaw> {
        let mut unreadable = 0;
        let mut pinned = seen.filter(|pin| pin.seq.checked_add(1) == Some(self.head.first_seq));
        if let Some(pin) = &mut pinned {
            *pin = Pin {
                hash: self.before,
                ..*pin
            };
        }
        let end = self.walk(&mut |seq, record| {
            unreadable += u64::from(record.entry().is_none());
            if seen.is_some_and(|pin| pin.seq == seq) {
                pinned = Some(Pin {
                    seq,
                    hash: record.hash,
                });
            }
        })?;
        let first_seq = self.head.first_seq;
        let seen = match (seen, pinned) {
            (None, _) => Seen::Nothing,
            (Some(pin), Some(found)) if pin == found => Seen::Same,
            (Some(pin), Some(_)) => return Err(Flaw::Rewritten { seq: pin.seq }),
            (Some(pin), None) if pin.seq < first_seq => Seen::Deleted,
            (Some(pin), None) => {
                return Err(Flaw::CutOff {
                    seq: pin.seq,
                    next_seq: end.next_seq,
                });
            }
        };
        let records = end.next_seq - first_seq;
        let last = Pin {
            seq: end.next_seq.saturating_sub(1),
            hash: end.last,
        };
        Ok(Verified {
            first_seq,
            records,
            unreadable,
            last: (last.seq > 0).then_some(last),
            seen,
        })
    }

    /// Goes over the records as long as they hold.
    ///
    /// # Errors
    /// The first [`Flaw`], but those of a pin.
    pub fn walk(&self, each: &mut dyn FnMut(u64, Record<'_>)) -> Result<Chain, Flaw> {
        let mut chain = Chain {
            next_seq: self.head.first_seq,
            last: self.before,
        };
        let is_beginning = chain.next_seq <= Chain::BEGINNING.next_seq;
        if is_beginning && chain != Chain::BEGINNING {
            return Err(Flaw::Beginning);
        }
        let mut rest = self.records.as_slice();
        while !rest.is_empty() {
            let seq = chain.next_seq;
            let record = chain
                .take(&mut rest)
                .map_err(|fault| Flaw::Record { seq, fault })?;
            each(seq, record);
        }
        let AuditHead { next_seq, last, .. } = self.head;
        if next_seq != chain.next_seq {
            return Err(Flaw::End {
                seq: chain.next_seq.min(next_seq),
                said: next_seq,
            });
        }
        if last != chain.last {
            return Err(Flaw::EndHash { seq: next_seq - 1 });
        }
        Ok(chain)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}
