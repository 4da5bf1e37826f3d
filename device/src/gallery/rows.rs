//! How the gallery's rows look on disk: keys, checksummed values, and the digest a summary adds up. Pure; called by
//! `gallery` alone.
//!
//! ```text
//! people     id                     -> crc32 | postcard(PersonRow)
//! templates  id 0x00 index(u32 BE)  -> crc32 | postcard(TemplateRow)
//! meta       "summary"              -> crc32 | postcard(Summary)
//! ```

use facelatch_protocol::{Digest, DisplayName, PersonId, Template, TemplateKey};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// Format of the stored rows.
pub(super) const FORMAT: u32 = 1;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PersonRow {
    pub(super) name: DisplayName,
    pub(super) created_unix_ms: u64,
    pub(super) in_bundle: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TemplateRow {
    pub(super) created_unix_ms: u64,
    pub(super) template: Template,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) format: u32,
    pub(super) people: u64,
    pub(super) templates: u64,
    /// Wrapping sum over all rows of the first eight bytes of SHA-256(tree, key, value).
    pub(super) sum: u64,
    /// The bundle whose gallery was merged last.
    pub(super) bundle: Option<Digest>,
}

pub(super) fn template_key(key: &TemplateKey) -> Vec<u8> {
    let mut bytes = key.person.as_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(&key.index.to_be_bytes());
    bytes
}

pub(super) fn parse_template_key(bytes: &[u8]) -> Option<TemplateKey> {
    let (person, index) = bytes.split_last_chunk::<4>()?;
    let (0, person) = person.split_last()? else {
        return None;
    };
    let person = PersonId::parse(std::str::from_utf8(person).ok()?).ok()?;
    Some(TemplateKey {
        person,
        index: u32::from_be_bytes(*index),
    })
}

/// Brings count and sum up to date for one row and returns its new value as stored.
pub(super) fn note<Row: Serialize>(
    sum: &mut u64,
    count: &mut u64,
    tree: u8,
    key: &[u8],
    old: Option<&Row>,
    new: &Option<Row>,
) -> Result<Option<Vec<u8>>, Error> {
    if let Some(old) = old {
        *sum = sum.wrapping_sub(row_digest(tree, key, &encode(old)?));
        *count -= 1;
    }
    let Some(new) = new else {
        return Ok(None);
    };
    let value = encode(new)?;
    *sum = sum.wrapping_add(row_digest(tree, key, &value));
    *count += 1;
    Ok(Some(value))
}

pub(super) fn row_digest(tree: u8, key: &[u8], value: &[u8]) -> u64 {
    let digest = Sha256::new()
        .chain_update([tree])
        .chain_update(key)
        .chain_update(value)
        .finalize();
    u64::from_be_bytes(std::array::from_fn(|i| digest[i]))
}

pub(super) fn encode<Row: Serialize>(row: &Row) -> Result<Vec<u8>, Error> {
    let body = postcard::to_allocvec(row).map_err(|e| Error::Bug(format!("gallery row: {e}")))?;
    let mut bytes = CRC.checksum(&body).to_be_bytes().to_vec();
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

pub(super) fn decode<Row: DeserializeOwned>(bytes: &[u8]) -> Option<Row> {
    let (crc, body) = bytes.split_first_chunk::<4>()?;
    if CRC.checksum(body) != u32::from_be_bytes(*crc) {
        return None;
    }
    match postcard::take_from_bytes(body) {
        Ok((row, [])) => Some(row),
        Ok(_) | Err(_) => None,
    }
}
