//! The bundle file's header: what a bundle holds, in which order, with which digests. Writing, reading and checking
//! the parts is the work of the host's `pack` and the device's `store`.
//!
//! ```text
//! offset 0   4            8                    8 + header length
//!        +--------+-------------+--------------------+--------+--------+-- ...
//!        | "FLB1" | length, LE  | header (postcard)  | part 0 | part 1 |
//!        +--------+-------------+--------------------+--------+--------+-- ...
//! ```

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::{
    bundle::{Part, PartKind},
    names::SpaceName,
    refusal::BundleFault,
};

/// The first bytes of a bundle.
pub const MAGIC: [u8; 4] = *b"FLB1";
/// Bytes before the header: the magic and the header's length.
pub const PREFIX_LEN: usize = 8;
/// Longest header, in bytes.
pub const MAX_HEADER: usize = 4096;
/// Most parts.
pub const MAX_PARTS: usize = 24;
/// The format written here. A signed format will have another number.
pub const FORMAT: u16 = 1;

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Format of everything after this number.
    pub format: u16,
    /// When packed, milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Grows with every bundle packed for a door.
    pub counter: u64,
    /// Embedding space of the networks, the classifier and the gallery.
    pub space: SpaceName,
    /// The parts, in file order.
    pub parts: Vec<Part, MAX_PARTS>,
}

impl Header {
    /// The header's length, from the first [`PREFIX_LEN`] bytes of a bundle.
    ///
    /// # Errors
    /// [`BundleFault::Magic`] or [`BundleFault::Header`] if it cannot be one.
    pub fn length(prefix: [u8; PREFIX_LEN]) -> Result<usize, BundleFault> {
        let [m0, m1, m2, m3, l0, l1, l2, l3] = prefix;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(BundleFault::Magic);
        }
        match usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])) {
            Ok(len) if (1..=MAX_HEADER).contains(&len) => Ok(len),
            Ok(_) | Err(_) => Err(BundleFault::Header),
        }
    }

    /// Reads a header from exactly its bytes, and checks that it does not contradict itself.
    ///
    /// # Errors
    /// [`BundleFault::Format`] for another format, [`BundleFault::Header`] for anything else.
    pub fn parse(bytes: &[u8]) -> Result<Header, BundleFault> {
        let (format, _) =
            postcard::take_from_bytes::<u16>(bytes).map_err(|_| BundleFault::Header)?;
        if format != FORMAT {
            return Err(BundleFault::Format { found: format });
        }
        match postcard::take_from_bytes::<Header>(bytes) {
            Ok((header, [])) if header.is_consistent() => Ok(header),
            Ok(_) | Err(_) => Err(BundleFault::Header),
        }
    }

    /// Prefix and header as the bytes a bundle starts with.
    ///
    /// # Errors
    /// [`BundleFault::Header`] if the header contradicts itself.
    pub fn encode<'b>(
        &self,
        buffer: &'b mut [u8; PREFIX_LEN + MAX_HEADER],
    ) -> Result<&'b [u8], BundleFault> {
        if self.format != FORMAT || !self.is_consistent() {
            return Err(BundleFault::Header);
        }
        let (prefix, rest) = buffer.split_at_mut(PREFIX_LEN);
        let len = postcard::to_slice(self, rest)
            .map_err(|_| BundleFault::Header)?
            .len();
        prefix[..4].copy_from_slice(&MAGIC);
        // At most MAX_HEADER.
        prefix[4..].copy_from_slice(&(len as u32).to_le_bytes());
        Ok(&buffer[..PREFIX_LEN + len])
    }

    /// Length of all parts together, in bytes.
    #[must_use]
    pub fn parts_len(&self) -> Option<u64> {
        self.parts
            .iter()
            .try_fold(0u64, |sum, part| sum.checked_add(part.len))
    }

    /// Lengths that can be added up, different names, and no kind twice that may occur once.
    fn is_consistent(&self) -> bool {
        let clash = |(i, part): (usize, &Part)| {
            self.parts[..i].iter().any(|earlier| {
                earlier.name == part.name
                    || (earlier.kind == part.kind && part.kind != PartKind::Networks)
            })
        };
        self.parts_len().is_some() && !self.parts.iter().enumerate().any(clash)
    }
}
