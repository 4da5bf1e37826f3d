//! One person's record, and how it is sealed: everything about a person under one random key, made anew whenever the
//! record changes, so that no key opens what was before.
//!
//! Pure; called by `gallery` and `gallery/state.rs`. Where sealed records are kept is the affair of `gallery/vault.rs`.
//!
//! ```text
//! blob of a person       seal(key, "facelatch person 1" 0x00 id, postcard(Record))
//! blob of a classifier   seal(key, "facelatch classifier 1", bytes)
//! name of either         SHA-256 of the blob
//! ```

use facelatch_protocol::{Digest, DisplayName, PersonId, SpaceName, Template};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{DEVICE_INDEX, index::BlobRef, vault::Blob};
use crate::{error::Error, seal::Key};

const CLASSIFIER: &[u8] = b"facelatch classifier 1";

/// A person and all templates, by index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: DisplayName,
    pub(super) created_unix_ms: u64,
    pub(super) in_bundle: bool,
    pub(super) templates: Vec<Row>,
}

/// A template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) index: u32,
    pub(super) created_unix_ms: u64,
    pub(super) template: Template,
}

/// A record with where it is kept.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: BlobRef,
    pub(super) record: Record,
}

/// A bundle's classifier with where it is kept.
#[derive(Debug)]
pub(super) struct ClassifierEntry {
    pub(super) at: BlobRef,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Record {
    /// Reads unsealed bytes; `None` if they are no record.
    pub(super) fn parse(plain: &[u8]) -> Option<Record> {
        let (record, rest) = postcard::take_from_bytes::<Record>(plain).ok()?;
        let ordered = record.templates.is_sorted_by(|a, b| a.index < b.index);
        (ordered && rest.is_empty()).then_some(record)
    }

    /// Adds templates enrolled at the door, after those there are.
    pub(super) fn push(&mut self, templates: &[Template], created_unix_ms: u64) {
        let next = self
            .templates
            .last()
            .map_or(0, |row| row.index.saturating_add(1));
        for (index, template) in (next.max(DEVICE_INDEX)..).zip(templates) {
            self.templates.push(Row {
                index,
                created_unix_ms,
                template: template.clone(),
            });
        }
    }

    /// What stays when the bundle's people are replaced: the person if enrolled at the door, the templates enrolled there.
    pub(super) fn without_bundle(&self) -> Option<Record> {
        let at_door = |row: &&Row| row.index >= DEVICE_INDEX;
        let templates: Vec<Row> = self.templates.iter().filter(at_door).cloned().collect();
        (!self.in_bundle || !templates.is_empty()).then(|| Record {
            in_bundle: false,
            templates,
            ..self.clone()
        })
    }

    /// The same under another name, as if all of it had been enrolled at the door: no bundle replaces it.
    pub(super) fn at_door(&self, name: &DisplayName) -> Record {
        let rows = (DEVICE_INDEX..).zip(&self.templates);
        Record {
            name: name.clone(),
            created_unix_ms: self.created_unix_ms,
            in_bundle: false,
            templates: rows
                .map(|(index, row)| Row {
                    index,
                    ..row.clone()
                })
                .collect(),
        }
    }

    /// Whether all its templates came with a bundle.
    pub(super) fn is_of_bundle(&self) -> bool {
        self.templates.iter().all(|row| row.index < DEVICE_INDEX)
    }

    /// The spaces of its templates.
    pub(super) fn spaces(&self) -> impl Iterator<Item = &SpaceName> {
        self.templates.iter().map(|row| &row.template.space)
    }
}

impl Entry {
    /// Seals a record under a new key.
    pub(super) fn seal(id: &PersonId, record: Record) -> Result<(Entry, Blob), Error> {
        // Twice the numbers' bytes is more than the rest takes: the plain bytes are not copied while they grow.
        let numbers: usize = record
            .templates
            .iter()
            .map(|row| row.template.values.len())
            .sum();
        let room = Vec::with_capacity(8 * numbers + 256);
        let plain = postcard::to_extend(&record, room)
            .map(Zeroizing::new)
            .map_err(|e| Error::Bug(format!("gallery record: {e}")))?;
        let (at, blob) = seal(&about(id), &plain)?;
        Ok((Entry { at, record }, blob))
    }

    /// Opens a sealed record; `None` if it is not this person's or not whole.
    pub(super) fn open(id: &PersonId, at: &BlobRef, blob: &[u8]) -> Option<Entry> {
        let plain = at.key.open(&about(id), blob)?;
        let (at, record) = (at.clone(), Record::parse(&plain)?);
        Some(Entry { at, record })
    }
}

impl ClassifierEntry {
    pub(super) fn seal(bytes: &[u8]) -> Result<(ClassifierEntry, Blob), Error> {
        let (at, blob) = seal(CLASSIFIER, bytes)?;
        let bytes = Zeroizing::new(bytes.to_vec());
        Ok((ClassifierEntry { at, bytes }, blob))
    }

    pub(super) fn open(at: &BlobRef, blob: &[u8]) -> Option<ClassifierEntry> {
        let bytes = at.key.open(CLASSIFIER, blob)?;
        Some(ClassifierEntry {
            at: at.clone(),
            bytes,
        })
    }
}

/// A unit vector of finite numbers, to within what f32 and another machine's rounding leave.
pub(super) fn check_template(template: &Template) -> Result<(), Error> {
    let length: f64 = template.values.iter().map(|v| f64::from(*v).powi(2)).sum();
    if !template.values.is_empty() && (length - 1.0).abs() < 1e-3 {
        return Ok(());
    }
    Err(Error::Template {
        dimension: template.values.len(),
    })
}

/// The name of a blob.
pub(super) fn name_of(blob: &[u8]) -> Digest {
    Digest(Sha256::digest(blob).into())
}

fn about(id: &PersonId) -> Vec<u8> {
    [b"facelatch person 1\0", id.as_bytes()].concat()
}

fn seal(about: &[u8], plain: &[u8]) -> Result<(BlobRef, Blob), Error> {
    let key = Key::random()?;
    let blob = key.seal(about, plain)?;
    let digest = name_of(&blob);
    Ok((BlobRef { key, digest }, (digest, blob)))
}
