//! The audit record on the wire: pages of whole records with what is needed to check them.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::names::Digest;

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
    pub records: Vec<u8, 2048>,
}
