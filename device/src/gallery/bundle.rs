//! What a bundle does to the people: taken over, kept beside what was before, confirmed or taken back.
//!
//! ```text
//!                take_over              confirm
//! people --------------------> on trial --------> people, those of before are forgotten
//!    ^                            |
//!    +------- roll_back ----------+   with what was enrolled, renamed, removed at the door meanwhile
//! ```
//!
//! A bundle's people replace those of the bundle before; people and templates enrolled at the door stay, by person id.
//! A template is one person's: the bundle's copy of one that stays at the door, pulled from there, does not double it, and
//! does not bring back the id its person had before they were renamed at the door.
//! Called by `run`; how a change reaches the disk is in `gallery`.

use std::{collections::BTreeMap, sync::Arc};

use facelatch_protocol::{Digest, GalleryRecord, PersonId};

use super::{
    DEVICE_INDEX, Gallery, Limits,
    record::{ClassifierEntry, Entry, Record, Row, check_template},
    state::{Before, Set, State},
    vault::Blob,
};
use crate::error::Error;

/// What a bundle brings.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// The bundle.
    pub bundle: Digest,
    /// The embedding space of its networks.
    pub space: &'a str,
    /// Its people; `None`: they stay as they are, only the bundle is noted.
    pub records: Option<&'a [GalleryRecord]>,
    /// Its classifier, as bytes of no known form. Kept only while it fits the people.
    pub classifier: Option<&'a [u8]>,
    /// The people and templates enrolled at the door go too. Means nothing without `records`.
    pub replace: bool,
}

impl Gallery {
    /// Whether [`Gallery::take_over`] would take this; nothing is changed.
    ///
    /// # Errors
    /// As for [`Gallery::take_over`], except [`Error::Gallery`].
    pub fn accepts(&self, incoming: &Incoming<'_>) -> Result<(), Error> {
        planned(&self.state, self.limits, incoming).map(|_| ())
    }

    /// Takes over what a bundle brings, all or nothing. What was before is kept until [`Gallery::confirm`] or
    /// [`Gallery::roll_back`]; if a bundle is on trial already, what was before that one. Nothing happens if this bundle
    /// was taken over last.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Template`], [`Error::Space`] if what stays is of another space, [`Error::Gallery`].
    pub fn take_over(&mut self, incoming: &Incoming<'_>) -> Result<(), Error> {
        if self.state.bundle == Some(incoming.bundle) {
            return Ok(());
        }
        let people = planned(&self.state, self.limits, incoming)?;
        let (now, blobs) = sealed(&self.state.now, people, incoming)?;
        let before = self.state.before.clone().unwrap_or_else(|| Before {
            bundle: self.state.bundle,
            set: self.state.now.clone(),
        });
        let next = State {
            bundle: Some(incoming.bundle),
            now,
            before: Some(before),
        };
        self.commit(next, &blobs)
    }

    /// The bundle proved itself: what was before is forgotten and its keys destroyed. Nothing happens without a trial.
    ///
    /// # Errors
    /// [`Error::Gallery`].
    pub fn confirm(&mut self) -> Result<(), Error> {
        if self.state.before.is_none() {
            return Ok(());
        }
        let next = State {
            before: None,
            ..self.state.clone()
        };
        self.commit(next, &[])
    }

    /// Back to what was before; whoever was enrolled, renamed or removed at the door meanwhile stays so, whatever the
    /// limits. Templates of a space that does not fit the people before are lost. Nothing happens without a trial.
    ///
    /// # Errors
    /// [`Error::Gallery`].
    pub fn roll_back(&mut self) -> Result<(), Error> {
        let Some(before) = self.state.before.clone() else {
            return Ok(());
        };
        let next = State {
            bundle: before.bundle,
            now: before.set,
            before: None,
        };
        self.commit(next, &[])
    }

    /// While a bundle is on trial, the bundle whose people were taken over before it; the outer `None` without a trial.
    #[must_use]
    pub fn before(&self) -> Option<Option<Digest>> {
        self.state.before.as_ref().map(|before| before.bundle)
    }

    /// The bundle's classifier, as long as nobody was added, changed or removed since.
    #[must_use]
    pub fn classifier(&self) -> Option<&[u8]> {
        let classifier = self.state.now.classifier.as_ref();
        classifier.map(|entry| entry.bytes.as_slice())
    }
}

/// Everybody there would be.
fn planned(
    state: &State,
    limits: Limits,
    incoming: &Incoming<'_>,
) -> Result<BTreeMap<PersonId, Record>, Error> {
    let there = state.now.people.iter();
    let people = match incoming.records {
        None => there
            .map(|(id, entry)| (id.clone(), entry.record.clone()))
            .collect(),
        Some(records) if incoming.replace => merged(BTreeMap::new(), records, limits)?,
        Some(records) => {
            let stays =
                there.filter_map(|(id, entry)| Some((id.clone(), entry.record.without_bundle()?)));
            let stays: BTreeMap<PersonId, Record> = stays.collect();
            let new: Vec<GalleryRecord> = records
                .iter()
                .filter(|record| !is_of_another(record, &stays))
                .cloned()
                .collect();
            merged(stays, &new, limits)?
        }
    };
    if people.len() > state.now.people.len().max(limits.people as usize) {
        return Err(Error::Full {
            what: "people",
            limit: limits.people,
        });
    }
    let spaces = || people.values().flat_map(Record::spaces);
    if let Some(other) = spaces().find(|space| ***space != *incoming.space) {
        return Err(Error::Space {
            expected: incoming.space.to_owned(),
            found: other.to_string(),
        });
    }
    Ok(people)
}

/// Whether a bundle's template is, bit by bit, one that stays at the door under another id.
fn is_of_another(record: &GalleryRecord, stays: &BTreeMap<PersonId, Record>) -> bool {
    let mut others = stays.iter().filter(|(id, _)| **id != record.key.person);
    others.any(|(_, other)| {
        other
            .templates
            .iter()
            .any(|row| row.template == record.template)
    })
}

/// A bundle's records beside what stays; their indices are counted anew.
fn merged(
    mut people: BTreeMap<PersonId, Record>,
    records: &[GalleryRecord],
    limits: Limits,
) -> Result<BTreeMap<PersonId, Record>, Error> {
    let mut sorted: Vec<&GalleryRecord> = records.iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    for of_person in sorted.chunk_by(|a, b| a.key.person == b.key.person) {
        if of_person.len() > limits.templates as usize {
            return Err(Error::Full {
                what: "templates of a person",
                limit: limits.templates,
            });
        }
        let mut templates = vec![];
        for (index, record) in (0..DEVICE_INDEX).zip(of_person) {
            check_template(&record.template)?;
            templates.push(Row {
                index,
                created_unix_ms: record.created_unix_ms,
                template: record.template.clone(),
            });
        }
        // No chunk is empty.
        let last = of_person[of_person.len() - 1];
        // What the host pulled from the door and gives back is the bundle's from now on.
        let at_door = people
            .remove(&last.key.person)
            .map(|record| record.templates);
        let pulled = |row: &Row| of_person.iter().any(|r| r.template == row.template);
        templates.extend(at_door.into_iter().flatten().filter(|row| !pulled(row)));
        let record = Record {
            name: last.name.clone(),
            created_unix_ms: last.created_unix_ms,
            in_bundle: true,
            templates,
        };
        people.insert(last.key.person.clone(), record);
    }
    Ok(people)
}

/// Seals what is not sealed already.
fn sealed(
    old: &Set,
    records: BTreeMap<PersonId, Record>,
    incoming: &Incoming<'_>,
) -> Result<(Set, Vec<Blob>), Error> {
    let mut blobs = vec![];
    let bundles_only = records.values().all(Record::is_of_bundle);
    let mut people = BTreeMap::new();
    for (id, record) in records {
        let entry = match old.people.get(&id) {
            Some(entry) if entry.record == record => Arc::clone(entry),
            Some(_) | None => {
                let (entry, blob) = Entry::seal(&id, record)?;
                blobs.push(blob);
                Arc::new(entry)
            }
        };
        people.insert(id, entry);
    }
    let classifier = match (incoming.classifier, incoming.records) {
        (Some(bytes), _) if bundles_only => {
            let (entry, blob) = ClassifierEntry::seal(bytes)?;
            blobs.push(blob);
            Some(Arc::new(entry))
        }
        (None, None) => old.classifier.clone(),
        (Some(_) | None, _) => None,
    };
    Ok((Set { people, classifier }, blobs))
}
