//! The audit record: its words, the chain that holds its records together, and pages of it on the wire.
//!
//! The device's `audit` keeps the record and serves pages of it, the host's `audit` takes pages and judges them, both
//! with this code. No I/O here.
//!
//! ```text
//! record = length of body (u16, little endian) | body | hash
//! hash = SHA-256(hash before | body)     body = postcard(Entry)     the hash before the first record of all is zero
//! ```

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    event::EventKind,
    keys::{PublicKey, Role},
    names::{Digest, DisplayName, PersonId, Text},
};

/// Longest body of a record, in bytes. The longest [`Entry`] has less than half of it.
pub const MAX_BODY: usize = 512;
/// Longest record, in bytes.
pub const MAX_RECORD: usize = LENGTH_LEN + MAX_BODY + HASH_LEN;
/// Most bytes of records on one page.
pub const MAX_PAGE: usize = 2048;

const LENGTH_LEN: usize = 2;
const HASH_LEN: usize = 32;

// Any record fits on a page.
const _: () = assert!(MAX_RECORD <= MAX_PAGE);

/// What a record says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1; never used again.
    pub seq: u64,
    /// Wall time, milliseconds since 1970.
    pub unix_ms: u64,
    /// What happened.
    pub what: What,
}

/// What happened. Stored order is frozen: add at the end only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// The daemon started.
    Started {
        /// Its version.
        software: Text<32>,
    },
    /// The daemon stopped in order.
    Stopped,
    /// Something listeners on the link are told too.
    Event(EventKind),
    /// A person was added.
    PersonAdded {
        /// Who.
        person: PersonId,
    },
    /// A person and all templates were removed.
    PersonRemoved {
        /// Who.
        person: PersonId,
    },
    /// Templates were added.
    TemplatesAdded {
        /// Whose.
        person: PersonId,
        /// How many.
        count: u32,
    },
    /// The wall time was set.
    ClockSet {
        /// How far, in milliseconds; positive = forward.
        moved_ms: i64,
    },
    /// A fault is gone.
    Recovered {
        /// Which.
        what: Text<32>,
    },
    /// A host was paired.
    HostPaired {
        /// Its key.
        host: PublicKey,
        /// Its name.
        name: DisplayName,
        /// What it may ask for.
        role: Role,
    },
    /// A host was revoked.
    HostRevoked {
        /// Its key.
        host: PublicKey,
    },
    /// The pairing window was opened.
    PairingOpened {
        /// The highest role it gives.
        role: Role,
    },
    /// The pairing window was closed.
    PairingClosed,
    /// Somebody tried to pair with a wrong code.
    WrongCode {
        /// Tries left before the window closes.
        tries_left: u8,
    },
    /// The keys bundles are signed with were set or replaced.
    KeysReplaced {
        /// Serial of the new ones.
        serial: u64,
    },
    /// A person's name to show was changed.
    PersonRenamed {
        /// Who.
        person: PersonId,
    },
    /// The gallery was damaged and read back from its export.
    GalleryRecovered {
        /// What was damaged.
        what: Text<96>,
    },
    /// A person got another id.
    PersonMoved {
        /// The id before.
        person: PersonId,
        /// The id now.
        to: PersonId,
    },
    /// Somebody at the machine tried the relay, while no daemon ran.
    RelayTested {
        /// Its line.
        line: u32,
        /// For how many milliseconds it was moved.
        pulse_ms: u32,
    },
}

/// Which records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Number of the first record kept.
    pub first_seq: u64,
    /// Number of the next record.
    pub next_seq: u64,
    /// Hash of the last record.
    pub last: Digest,
}

/// A page of the audit record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// Which records are kept.
    pub head: AuditHead,
    /// Number of the first record here.
    pub first_seq: u64,
    /// Hash before it.
    pub before: Digest,
    /// Whole records as stored; empty at the end.
    pub records: Vec<u8, MAX_PAGE>,
}

/// One record as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// An [`Entry`], as postcard.
    pub body: &'a [u8],
    /// The hash kept with it.
    pub hash: Digest,
}

impl<'a> Record<'a> {
    /// Takes the next record off the front of `bytes`, unjudged. On an error `bytes` stays as it was.
    ///
    /// # Errors
    /// [`ChainFault::TooLong`], [`ChainFault::Cut`].
    pub fn take(bytes: &mut &'a [u8]) -> Result<Record<'a>, ChainFault> {
        let (length, rest) = bytes.split_first_chunk().ok_or(ChainFault::Cut)?;
        let length = usize::from(u16::from_le_bytes(*length));
        if length > MAX_BODY {
            return Err(ChainFault::TooLong);
        }
        let (body, rest) = rest.split_at_checked(length).ok_or(ChainFault::Cut)?;
        let (hash, rest) = rest.split_first_chunk().ok_or(ChainFault::Cut)?;
        *bytes = rest;
        Ok(Record {
            body,
            hash: Digest(*hash),
        })
    }

    /// Its number; `None` if the body has none.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        let (seq, _) = postcard::take_from_bytes(self.body).ok()?;
        Some(seq)
    }

    /// What it says; `None` if this version cannot read it.
    #[must_use]
    pub fn entry(&self) -> Option<Entry> {
        match postcard::take_from_bytes(self.body) {
            Ok((entry, [])) => Some(entry),
            Ok(_) | Err(_) => None,
        }
    }

    /// Length as stored, in bytes.
    #[must_use]
    pub const fn stored_len(&self) -> usize {
        LENGTH_LEN + self.body.len() + HASH_LEN
    }
}

/// The hash of a record that follows one with the hash `before`.
#[must_use]
pub fn link(before: &Digest, body: &[u8]) -> Digest {
    let hash = Sha256::new().chain_update(before.0).chain_update(body);
    Digest(hash.finalize().into())
}

/// A place in the chain: what the next record has to continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Number of the next record.
    pub next_seq: u64,
    /// Hash of the record before it.
    pub last: Digest,
}

/// Why a record does not continue the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainFault {
    /// The bytes end within it.
    Cut,
    /// It is longer than any record.
    TooLong,
    /// Its hash does not follow from the record before and its body.
    Hash,
    /// It has another number than the one due; `None` if it has none.
    Number {
        /// The number found.
        found: Option<u64>,
    },
    /// The page starts with another number, or after another hash, than the one due.
    Page,
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChainFault::Cut => f.write_str("the bytes end within it"),
            ChainFault::TooLong => f.write_str("its length is impossible"),
            ChainFault::Hash => f.write_str("its hash is wrong"),
            ChainFault::Number { found: Some(found) } => write!(f, "it has the number {found}"),
            ChainFault::Number { found: None } => f.write_str("it has no number"),
            ChainFault::Page => f.write_str("it does not continue the record before"),
        }
    }
}

impl core::error::Error for ChainFault {}

impl Chain {
    /// Before the first record of all.
    pub const BEGINNING: Chain = Chain {
        next_seq: 1,
        last: Digest([0; HASH_LEN]),
    };

    /// Takes the next record off the front of `bytes` if it continues the chain. On an error nothing has changed.
    ///
    /// # Errors
    /// [`ChainFault`], but [`ChainFault::Page`].
    pub fn take<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Record<'a>, ChainFault> {
        let mut rest = *bytes;
        let record = Record::take(&mut rest)?;
        if link(&self.last, record.body) != record.hash {
            return Err(ChainFault::Hash);
        }
        let found = record.seq();
        if found != Some(self.next_seq) {
            return Err(ChainFault::Number { found });
        }
        // A record with the number u64::MAX has no successor.
        self.next_seq = self.next_seq.saturating_add(1);
        self.last = record.hash;
        *bytes = rest;
        Ok(record)
    }

    /// Takes all records of a page, telling each one that continues the chain. On an error the chain stands before the
    /// record that does not.
    ///
    /// # Errors
    /// [`ChainFault`].
    pub fn take_page<'a>(
        &mut self,
        page: &'a AuditPage,
        each: &mut dyn FnMut(Record<'a>),
    ) -> Result<(), ChainFault> {
        if (page.first_seq, page.before) != (self.next_seq, self.last) {
            return Err(ChainFault::Page);
        }
        let mut rest = page.records.as_slice();
        while !rest.is_empty() {
            each(self.take(&mut rest)?);
        }
        Ok(())
    }

    /// The next record as stored, and the chain behind it.
    ///
    /// # Errors
    /// [`ChainFault::TooLong`]; no entry of this version is.
    pub fn continued(
        &self,
        unix_ms: u64,
        what: What,
    ) -> Result<(Vec<u8, MAX_RECORD>, Chain), ChainFault> {
        let entry = Entry {
            seq: self.next_seq,
            unix_ms,
            what,
        };
        let mut buffer = [0; MAX_BODY];
        let body = postcard::to_slice(&entry, &mut buffer).map_err(|_| ChainFault::TooLong)?;
        let last = link(&self.last, body);
        // At most MAX_BODY.
        let length = (body.len() as u16).to_le_bytes();
        let mut record = Vec::new();
        for piece in [length.as_slice(), body, &last.0] {
            record
                .extend_from_slice(piece)
                .map_err(|_| ChainFault::TooLong)?;
        }
        let next_seq = self.next_seq.saturating_add(1);
        Ok((record, Chain { next_seq, last }))
    }
}
