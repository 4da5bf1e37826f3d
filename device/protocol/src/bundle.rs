//! The bundle file's head: what a bundle holds, in which order, with which digests, and who vouches for it. Writing,
//! signing, reading and checking the parts is the work of the host's `pack` and the device's `store`.
//!
//! ```text
//! offset 0   4                8                 12
//!        +--------+----------------+-----------------+----------+-----------+--------+--------+-- ...
//!        | "FLB2" | manifest length | signature length | manifest | signature | part 0 | part 1 |
//!        +--------+----------------+-----------------+----------+-----------+--------+--------+-- ...
//!        |<--------------------- head, at most 2048 bytes ----------------->|
//! ```
//!
//! Lengths are u32, little endian; the manifest is postcard; the signature is the text of a minisign signature over the
//! manifest's bytes. The SHA-256 of these names the bundle: two signatures of one manifest are one bundle.

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    message::{BundleId, GalleryRecord},
    names::{Digest, NameError, SpaceName},
    refusal::BundleFault,
};

/// The first bytes of a bundle.
pub const MAGIC: [u8; 4] = *b"FLB2";
/// The first bytes of a bundle of format 1, which was not signed.
const UNSIGNED_MAGIC: [u8; 4] = *b"FLB1";
/// Bytes before the manifest: the magic and two lengths.
pub const PREFIX_LEN: usize = 12;
/// Longest head, in bytes: everything before the first part.
pub const MAX_HEAD: usize = 2048;
/// Longest signature, in bytes of text.
pub const MAX_SIGNATURE: usize = 512;
/// Most parts.
pub const MAX_PARTS: usize = 16;
/// The format written here.
pub const FORMAT: u16 = 2;
/// Longest gallery record in a gallery part, in bytes.
pub const MAX_RECORD: usize = 3072;

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of everything after this number.
    pub format: u16,
    /// When packed, milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Grows with every bundle packed for a door.
    pub counter: u64,
    /// Embedding space of the networks, the classifier and the gallery.
    pub space: SpaceName,
    /// Whether the gallery replaces also the people enrolled at the door.
    pub replace: bool,
    /// The parts, in file order.
    pub parts: Vec<Part, MAX_PARTS>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// File name; `manifest.toml` or a network's for [`PartKind::Networks`].
    pub name: PartName,
    /// Length, in bytes.
    pub len: u64,
    /// SHA-256.
    pub sha256: Digest,
}

/// What a part is. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PartKind {
    /// One file of the networks: the manifest or an ONNX file. Any number, with different names.
    Networks,
    /// The classifier, as postcard. At most one.
    Classifier,
    /// The gallery: for each record its length (u32, little endian), then [`GalleryRecord`] as postcard. At most one.
    Gallery,
    /// Who may pass when, as TOML. At most one.
    Policy,
    /// Face crops with the embeddings the networks must give for them, see [`take_vector`]. At most one.
    SelfTest,
    /// How the gate's distances follow from a target error rate and the people enrolled, as postcard. At most one.
    Calibration,
    /// A linear map behind the network's embedding, into a space of its own: the bundle's. At most one.
    Head,
}

impl PartKind {
    /// Whether the part says something of people: kept sealed.
    #[must_use]
    pub const fn is_sealed(self) -> bool {
        match self {
            PartKind::Gallery | PartKind::Classifier | PartKind::Policy | PartKind::Head => true,
            PartKind::Networks | PartKind::SelfTest | PartKind::Calibration => false,
        }
    }

    /// Whether the part holds people's templates, or numbers made of them: kept only as long as they are enrolled, and so
    /// not in the bundle's own place once they were taken over from it.
    #[must_use]
    pub const fn is_personal(self) -> bool {
        match self {
            PartKind::Gallery | PartKind::Classifier => true,
            // A calibration names nobody and holds no template: its numbers are those of a population, and of templates
            // it knows by a digest, which says nothing without the template. A policy names people, and is needed for as
            // long as its bundle is in use.
            // A head is a map learned from many people together, and needed for as long as its bundle is in use.
            PartKind::Networks
            | PartKind::Policy
            | PartKind::SelfTest
            | PartKind::Calibration
            | PartKind::Head => false,
        }
    }
}

/// A part's file name: 1 to 48 of `[A-Za-z0-9._-]`, not starting with a dot or a dash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String<48>")]
pub struct PartName(String<48>);

impl PartName {
    /// Parses a name.
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn parse(text: &str) -> Result<PartName, NameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match text.chars().find(|&c| !allowed(c)) {
            _ if text.is_empty() => Err(NameError::Empty),
            _ if text.starts_with(['.', '-']) => Err(NameError::Reserved),
            Some(c) => Err(NameError::Character(c)),
            None => String::try_from(text)
                .map(PartName)
                .map_err(|_| NameError::TooLong(48)),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String<48>> for PartName {
    type Error = NameError;

    fn try_from(text: String<48>) -> Result<PartName, NameError> {
        PartName::parse(&text)
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`BundleFault::Format`] for another format, [`BundleFault::Header`] for anything else.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, BundleFault> {
        let (format, _) =
            postcard::take_from_bytes::<u16>(bytes).map_err(|_| BundleFault::Header)?;
        if format != FORMAT {
            return Err(BundleFault::Format { found: format });
        }
        match postcard::take_from_bytes::<Manifest>(bytes) {
            Ok((manifest, [])) if manifest.is_consistent() => Ok(manifest),
            Ok(_) | Err(_) => Err(BundleFault::Header),
        }
    }

    /// The bytes to sign.
    ///
    /// # Errors
    /// [`BundleFault::Header`] if the manifest contradicts itself.
    pub fn encode<'b>(&self, buffer: &'b mut [u8; MAX_HEAD]) -> Result<&'b [u8], BundleFault> {
        if self.format != FORMAT || !self.is_consistent() {
            return Err(BundleFault::Header);
        }
        postcard::to_slice(self, buffer)
            .map(|bytes| &*bytes)
            .map_err(|_| BundleFault::Header)
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

/// A bundle's head, taken apart. Who signed it, and whether rightly, is not looked at here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// The signed bytes.
    pub manifest: &'a [u8],
    /// The text of the minisign signature.
    pub signature: &'a str,
}

impl<'a> Head<'a> {
    /// The head's length, prefix included, from the first bytes of a bundle.
    ///
    /// # Errors
    /// [`BundleFault::Magic`], [`BundleFault::Unsigned`], or [`BundleFault::Header`] if it cannot be one.
    pub fn length(prefix: [u8; PREFIX_LEN]) -> Result<usize, BundleFault> {
        let [m0, m1, m2, m3, lengths @ ..] = prefix;
        match [m0, m1, m2, m3] {
            MAGIC => {}
            UNSIGNED_MAGIC => return Err(BundleFault::Unsigned),
            _ => return Err(BundleFault::Magic),
        }
        let [a0, a1, a2, a3, b0, b1, b2, b3] = lengths;
        let manifest = u32::from_le_bytes([a0, a1, a2, a3]) as usize;
        let signature = u32::from_le_bytes([b0, b1, b2, b3]) as usize;
        if manifest == 0 || manifest > MAX_HEAD || signature > MAX_SIGNATURE {
            return Err(BundleFault::Header);
        }
        let length = PREFIX_LEN + manifest + signature;
        if length > MAX_HEAD {
            return Err(BundleFault::Header);
        }
        Ok(length)
    }

    /// Takes a whole head apart.
    ///
    /// # Errors
    /// As [`Head::length`]; [`BundleFault::Length`] if bytes are missing or follow, [`BundleFault::Unsigned`] without a
    /// signature.
    pub fn parse(bytes: &'a [u8]) -> Result<Head<'a>, BundleFault> {
        let (prefix, rest) = bytes
            .split_first_chunk::<PREFIX_LEN>()
            .ok_or(BundleFault::Magic)?;
        let length = Head::length(*prefix)?;
        if bytes.len() != length {
            return Err(BundleFault::Length);
        }
        let [_, _, _, _, a0, a1, a2, a3, ..] = *prefix;
        let manifest_len = u32::from_le_bytes([a0, a1, a2, a3]) as usize;
        // `length` covers both.
        let (manifest, signature) = rest
            .split_at_checked(manifest_len)
            .ok_or(BundleFault::Length)?;
        if signature.is_empty() {
            return Err(BundleFault::Unsigned);
        }
        let signature = core::str::from_utf8(signature).map_err(|_| BundleFault::Signature)?;
        Ok(Head {
            manifest,
            signature,
        })
    }

    /// The head's bytes.
    ///
    /// # Errors
    /// [`BundleFault::Header`] if it is too long.
    pub fn encode(&self) -> Result<Vec<u8, MAX_HEAD>, BundleFault> {
        let mut bytes = Vec::new();
        let lengths = [self.manifest.len(), self.signature.len()].map(u32::try_from);
        let [Ok(manifest), Ok(signature)] = lengths else {
            return Err(BundleFault::Header);
        };
        if self.signature.len() > MAX_SIGNATURE {
            return Err(BundleFault::Header);
        }
        let pieces: [&[u8]; 5] = [
            &MAGIC,
            &manifest.to_le_bytes(),
            &signature.to_le_bytes(),
            self.manifest,
            self.signature.as_bytes(),
        ];
        for piece in pieces {
            bytes
                .extend_from_slice(piece)
                .map_err(|_| BundleFault::Header)?;
        }
        Ok(bytes)
    }

    /// What the bundle holds, and its name.
    ///
    /// # Errors
    /// As [`Manifest::parse`].
    pub fn manifest(&self) -> Result<(BundleId, Manifest), BundleFault> {
        let manifest = Manifest::parse(self.manifest)?;
        let id = BundleId {
            digest: Digest(Sha256::digest(self.manifest).into()),
            counter: manifest.counter,
        };
        Ok((id, manifest))
    }
}

/// One crop of a self-test part, with the embedding the networks must give for it, bit for bit.
///
/// In the part: width, height and number of values (u32, little endian), `width * height * 3` bytes of RGB, row by row,
/// then the values' bits (u32, little endian).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vector<'a> {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The pixels.
    pub rgb: &'a [u8],
    /// The bits of the values, four bytes each.
    pub values: &'a [u8],
}

/// Longest side of a self-test crop, in pixels.
pub const MAX_VECTOR_SIDE: u32 = 1024;

impl Vector<'_> {
    /// The embedding's values.
    pub fn values(&self) -> impl Iterator<Item = f32> + '_ {
        self.values
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bits| f32::from_bits(u32::from_le_bytes(*bits)))
    }
}

/// Takes the next crop off a self-test part; `None` if what is left is not one.
pub fn take_vector<'a>(part: &mut &'a [u8]) -> Option<Vector<'a>> {
    let mut rest = *part;
    let mut number = || {
        let (bytes, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        Some(u32::from_le_bytes(*bytes))
    };
    let (width, height, count) = (number()?, number()?, number()?);
    let sides = 1..=MAX_VECTOR_SIDE;
    if !sides.contains(&width) || !sides.contains(&height) || count as usize > crate::MAX_TEMPLATE {
        return None;
    }
    let (rgb, rest) = rest.split_at_checked(width as usize * height as usize * 3)?;
    let (values, rest) = rest.split_at_checked(count as usize * 4)?;
    *part = rest;
    Some(Vector {
        width,
        height,
        rgb,
        values,
    })
}

/// Puts one crop with its embedding at the end of a self-test part.
///
/// # Errors
/// [`BundleFault::Header`] if the sides, the pixels and the values are not what [`take_vector`] takes.
pub fn encode_vector(
    [width, height]: [u32; 2],
    rgb: &[u8],
    values: &[f32],
    part: &mut impl Extend<u8>,
) -> Result<(), BundleFault> {
    let sides = 1..=MAX_VECTOR_SIDE;
    let fits = sides.contains(&width)
        && sides.contains(&height)
        && rgb.len() == width as usize * height as usize * 3
        && values.len() <= crate::MAX_TEMPLATE;
    if !fits {
        return Err(BundleFault::Header);
    }
    // At most MAX_TEMPLATE.
    let numbers = [width, height, values.len() as u32];
    part.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
    part.extend(rgb.iter().copied());
    part.extend(
        values
            .iter()
            .flat_map(|value| value.to_bits().to_le_bytes()),
    );
    Ok(())
}

/// One record of a gallery part as it stands in the file: its length, then its bytes.
///
/// # Errors
/// [`BundleFault::Header`] if it does not fit [`MAX_RECORD`]; no valid record is that long.
pub fn encode_record<'b>(
    record: &GalleryRecord,
    buffer: &'b mut [u8; 4 + MAX_RECORD],
) -> Result<&'b [u8], BundleFault> {
    let (prefix, rest) = buffer.split_at_mut(4);
    let len = postcard::to_slice(record, rest)
        .map_err(|_| BundleFault::Header)?
        .len();
    // At most MAX_RECORD.
    prefix.copy_from_slice(&(len as u32).to_le_bytes());
    Ok(&buffer[..4 + len])
}

/// Takes the next record off a gallery part; `None` if what is left is not one.
pub fn take_record(part: &mut &[u8]) -> Option<GalleryRecord> {
    let (prefix, rest) = part.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*prefix)).ok()?;
    if len > MAX_RECORD || len > rest.len() {
        return None;
    }
    let (bytes, after) = rest.split_at(len);
    let (record, []) = postcard::take_from_bytes(bytes).ok()? else {
        return None;
    };
    *part = after;
    Some(record)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    #[test]
    fn self_test_crops_come_back_bit_for_bit_and_wrong_ones_are_refused() {
        let values = [1.0, -0.0, f32::MIN_POSITIVE];
        let mut part = Vec::new();
        encode_vector([2, 1], &[1, 2, 3, 4, 5, 6], &values, &mut part).unwrap();
        encode_vector([1, 1], &[7, 8, 9], &[], &mut part).unwrap();
        let mut rest = part.as_slice();
        let first = take_vector(&mut rest).unwrap();
        assert_eq!((first.width, first.height), (2, 1));
        assert_eq!(first.rgb, [1, 2, 3, 4, 5, 6]);
        let bits: Vec<u32> = first.values().map(f32::to_bits).collect();
        assert_eq!(bits, values.map(f32::to_bits));
        let second = take_vector(&mut rest).unwrap();
        assert_eq!((second.rgb, second.values().count()), (&[7, 8, 9][..], 0));
        assert!(rest.is_empty());

        let cases: [([u32; 2], usize, usize); 5] = [
            ([0, 1], 0, 1),
            ([1, 0], 0, 1),
            ([1025, 1], 1025 * 3, 1),
            ([2, 1], 5, 1),
            ([1, 1], 3, crate::MAX_TEMPLATE + 1),
        ];
        for (sides, pixels, values) in cases {
            let mut part = Vec::new();
            let (rgb, values) = (std::vec![0; pixels], std::vec![0.0; values]);
            let found = encode_vector(sides, &rgb, &values, &mut part);
            assert_eq!(
                (found, part.len()),
                (Err(BundleFault::Header), 0),
                "{sides:?}"
            );
        }
    }
}
