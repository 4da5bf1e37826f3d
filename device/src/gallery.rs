//! The people of this door and their templates: who is enrolled, and the changes a host or the door itself makes.
//!
//! Everything is held in memory; a change is sealed, written twice and synced before it is acknowledged, and memory
//! follows only then. Damage is healed or refused at open, never taken for an empty gallery. Who passes is not decided
//! here. Called by `run` and the link's handlers.
//!
//! ```text
//! gallery ── bundle      what a bundle brings: trial, confirm, roll back
//!    └── state ── record      people as values, sealed one by one, each under its own key
//!          └── vault ── index        which blobs count, and their keys (two copies)
//!                ├── database             the blobs in sled
//!                └── export               the blobs as files
//! ```

use std::{
    fs::File,
    io,
    ops::Bound,
    path::{Path, PathBuf},
};

use facelatch_models::embedding::{Embedding, SpaceId};
use facelatch_protocol::{
    Digest, DisplayName, GalleryRecord, Person, PersonId, SpaceName, Template, TemplateKey,
};

use crate::{error::Error, seal::Key};

mod bundle;
mod state;

mod record;
mod vault;

mod database;
mod export;
mod index;

pub use bundle::Incoming;
use record::{Record, Row, check_template};
use state::State;
use vault::{Blob, Vault};

/// Templates enrolled at the door have indices from here on, a bundle's have lower ones.
pub const DEVICE_INDEX: u32 = 1 << 20;

/// Whether unsealed bytes are an index, and whether they are a person's record. Asked by the fuzzer, which has no key.
#[doc(hidden)]
#[must_use]
pub fn is_readable(plain: &[u8]) -> [bool; 2] {
    let index = index::Contents::parse(plain).is_ok_and(|contents| contents.is_some());
    [index, Record::parse(plain).is_some()]
}

/// How much it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// People.
    pub people: u32,
    /// Templates of one person.
    pub templates: u32,
}

/// Keeps a gallery closed to others for as long as the file is held.
///
/// # Errors
/// [`Error::DataInUse`], [`Error::Storage`].
pub fn hold(folder: &Path) -> Result<File, Error> {
    vault::lock(folder)
}

/// Whether somebody else works on the gallery in this folder.
#[must_use]
pub fn is_held(folder: &Path) -> bool {
    vault::exists(folder) && matches!(vault::lock(folder), Err(Error::DataInUse { .. }))
}

/// The open gallery. One owner; dropping it closes its files.
#[derive(Debug)]
pub struct Gallery {
    folder: PathBuf,
    sealing: Key,
    limits: Limits,
    /// `None` after a failure, until it is reopened.
    vault: Option<Vault>,
    state: State,
}

impl Gallery {
    /// Whether anything of a gallery is in this folder: then it needs the sealing key it was made with.
    #[must_use]
    pub fn exists(folder: &Path) -> bool {
        vault::exists(folder)
    }

    /// Opens the gallery in `folder`, creating it if it was never there. Every blob is checked, and healed if one of the
    /// two copies of it is whole.
    ///
    /// # Errors
    /// [`Error::GalleryDamaged`], [`Error::DataInUse`], [`Error::Gallery`], [`Error::Storage`].
    pub fn open(folder: &Path, sealing: &Key, limits: Limits) -> Result<Gallery, Error> {
        let mut gallery = Gallery {
            folder: folder.to_owned(),
            sealing: sealing.clone(),
            limits,
            vault: None,
            state: State::default(),
        };
        gallery.reopen()?;
        Ok(gallery)
    }

    /// Closes all files and opens them again: after a failed write, once the reason is gone. On failure the people in
    /// memory are those of before, and nothing can be changed.
    ///
    /// # Errors
    /// As for [`Gallery::open`].
    pub fn reopen(&mut self) -> Result<(), Error> {
        self.vault = None;
        let (vault, contents, blobs) = Vault::open(&self.folder, &self.sealing)?;
        self.state = State::open(&self.folder, &contents, &blobs)?;
        self.vault = Some(vault);
        Ok(())
    }

    /// Number of people.
    #[must_use]
    pub fn people_count(&self) -> usize {
        self.state.now.people.len()
    }

    /// Number of templates of all people.
    #[must_use]
    pub fn template_count(&self) -> usize {
        self.records()
            .map(|(_, record)| record.templates.len())
            .sum()
    }

    /// Whether this person is enrolled.
    #[must_use]
    pub fn contains(&self, person: &PersonId) -> bool {
        self.state.now.people.contains_key(person)
    }

    /// The name to show for a person.
    #[must_use]
    pub fn name(&self, person: &PersonId) -> Option<&DisplayName> {
        self.record(person).map(|record| &record.name)
    }

    /// People by id, after `after`.
    pub fn people(&self, after: Option<&PersonId>) -> impl Iterator<Item = Person> {
        let after = after.cloned();
        let records = self.records();
        let records = records.filter(move |(id, _)| after.as_ref().is_none_or(|a| *id > a));
        records.map(|(id, record)| Person {
            person: id.clone(),
            name: record.name.clone(),
            created_unix_ms: record.created_unix_ms,
            // Limits are counted in u32.
            templates: record.templates.len() as u32,
        })
    }

    /// The first template after a key.
    #[must_use]
    pub fn next_record(&self, after: Option<&TemplateKey>) -> Option<GalleryRecord> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Included(&after.person));
        let mut people = self
            .state
            .now
            .people
            .range::<PersonId, _>((from, Bound::Unbounded));
        people
            .find_map(|(id, entry)| {
                let mut rows = entry.record.templates.iter();
                let row =
                    rows.find(|row| after.is_none_or(|a| (id, row.index) > (&a.person, a.index)))?;
                Some((id, &entry.record, row))
            })
            .map(|(id, record, row)| GalleryRecord {
                key: TemplateKey {
                    person: id.clone(),
                    index: row.index,
                },
                name: record.name.clone(),
                created_unix_ms: row.created_unix_ms,
                template: row.template.clone(),
            })
    }

    /// All templates as (person id, embedding), ready for a roster or for training.
    ///
    /// # Errors
    /// [`Error::Models`] if a stored template is no embedding any more.
    pub fn embeddings(&self) -> Result<Vec<(String, Embedding)>, Error> {
        let embed = |(id, row): (&PersonId, &Row)| {
            let space = SpaceId::parse(&row.template.space)?;
            let embedding = Embedding::new(space, row.template.values.to_vec())?;
            Ok((id.to_string(), embedding))
        };
        self.templates().map(embed).collect()
    }

    /// The first space of a template that is not `space`.
    #[must_use]
    pub fn other_space(&self, space: &str) -> Option<&SpaceName> {
        self.state.now.other_space(space)
    }

    /// Whether all templates came with the last bundle: then its classifier knows exactly these people.
    #[must_use]
    pub fn is_as_in_bundle(&self) -> bool {
        self.records().all(|(_, record)| record.is_of_bundle())
    }

    /// The bundle whose people were taken over last.
    #[must_use]
    pub fn bundle(&self) -> Option<Digest> {
        self.state.bundle
    }

    /// People and templates in canonical form: sorted, the same bytes on every device that would decide alike. Names and
    /// dates decide nothing and are left out.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let mut bytes = vec![];
        for (id, row) in self.templates() {
            for text in [&**id, &*row.template.space] {
                bytes.extend_from_slice(text.as_bytes());
                bytes.push(0);
            }
            // At most MAX_TEMPLATE numbers.
            bytes.extend_from_slice(&(row.template.values.len() as u32).to_be_bytes());
            for value in &row.template.values {
                bytes.extend_from_slice(&value.to_bits().to_be_bytes());
            }
        }
        bytes
    }

    /// Adds a person, or renames one.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Gallery`].
    pub fn add_person(
        &mut self,
        id: &PersonId,
        name: &DisplayName,
        unix_ms: u64,
    ) -> Result<(), Error> {
        let is_new = !self.contains(id);
        if is_new {
            self.has_room()?;
        }
        self.change(id, |_, record| match record {
            Some(record) => Some(Record {
                name: name.clone(),
                ..record
            }),
            None => is_new.then(|| Record {
                name: name.clone(),
                created_unix_ms: unix_ms,
                in_bundle: false,
                templates: vec![],
            }),
        })
    }

    /// Whether another person fits.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub fn has_room(&self) -> Result<(), Error> {
        if self.people_count() < self.limits.people as usize {
            return Ok(());
        }
        Err(Error::Full {
            what: "people",
            limit: self.limits.people,
        })
    }

    /// Adds a person with templates, all or nothing.
    ///
    /// # Errors
    /// [`Error::PersonExists`]; as for [`Gallery::add_person`] and [`Gallery::add_templates`].
    pub fn enroll(
        &mut self,
        id: &PersonId,
        name: &DisplayName,
        templates: &[Template],
        unix_ms: u64,
    ) -> Result<(), Error> {
        if self.contains(id) {
            return Err(Error::PersonExists(id.to_string()));
        }
        self.has_room()?;
        self.may_hold(0, templates)?;
        let mut record = Record {
            name: name.clone(),
            created_unix_ms: unix_ms,
            in_bundle: false,
            templates: vec![],
        };
        record.push(templates, unix_ms);
        self.change(id, |set, there| {
            let fits = templates
                .iter()
                .all(|template| set.other_space(&template.space).is_none());
            fits.then(|| record.clone()).or(there)
        })
    }

    /// Gives a person another id, another name, or both; templates go with it, all or nothing. The person is this door's
    /// own from then on: see [`Gallery::take_over`].
    ///
    /// # Errors
    /// [`Error::UnknownPerson`], [`Error::PersonExists`], also if `to` was there before a bundle on trial,
    /// [`Error::Gallery`].
    pub fn rename_person(
        &mut self,
        id: &PersonId,
        to: &PersonId,
        name: &DisplayName,
    ) -> Result<(), Error> {
        let record = self.record(id).cloned();
        let record = record.ok_or_else(|| Error::UnknownPerson(id.to_string()))?;
        if id == to {
            return self.add_person(id, name, record.created_unix_ms);
        }
        let before = self.state.before.as_ref();
        if self.contains(to) || before.is_some_and(|before| before.set.people.contains_key(to)) {
            return Err(Error::PersonExists(to.to_string()));
        }
        let mut next = self.state.clone();
        let mut blobs = next.change(to, |set, there| {
            let moved = set.people.get(id).map(|entry| entry.record.at_door(name));
            moved.or(there)
        })?;
        blobs.extend(next.change(id, |_, _| None)?);
        self.commit(next, &blobs)
    }

    /// Removes a person and all templates, also from what was before a bundle on trial. Once this returns, what the files
    /// still hold of them cannot be opened by anybody.
    ///
    /// # Errors
    /// [`Error::UnknownPerson`], [`Error::Gallery`].
    pub fn remove_person(&mut self, id: &PersonId) -> Result<(), Error> {
        let before = self.state.before.as_ref();
        if !self.contains(id) && before.is_none_or(|before| !before.set.people.contains_key(id)) {
            return Err(Error::UnknownPerson(id.to_string()));
        }
        self.change(id, |_, _| None)
    }

    /// Adds templates to a person who is enrolled.
    ///
    /// # Errors
    /// [`Error::UnknownPerson`], [`Error::Full`], [`Error::Template`], [`Error::Space`], [`Error::Gallery`].
    pub fn add_templates(
        &mut self,
        id: &PersonId,
        templates: &[Template],
        unix_ms: u64,
    ) -> Result<(), Error> {
        let record = self.record(id).cloned();
        let record = record.ok_or_else(|| Error::UnknownPerson(id.to_string()))?;
        self.may_hold(record.templates.len(), templates)?;
        let Some(first) = templates.first() else {
            return Ok(());
        };
        self.change(id, |set, there| {
            if set.other_space(&first.space).is_some() {
                return there;
            }
            let mut with = there.unwrap_or_else(|| Record {
                in_bundle: false,
                templates: vec![],
                ..record.clone()
            });
            with.push(templates, unix_ms);
            Some(with)
        })
    }

    /// Whether somebody with so many templates may get these.
    fn may_hold(&self, there: usize, templates: &[Template]) -> Result<(), Error> {
        if there + templates.len() > self.limits.templates as usize {
            return Err(Error::Full {
                what: "templates of a person",
                limit: self.limits.templates,
            });
        }
        let Some(first) = templates.first() else {
            return Ok(());
        };
        for template in templates {
            check_template(template)?;
            let other = (template.space != first.space).then_some(&first.space);
            if let Some(other) = other.or_else(|| self.other_space(&template.space)) {
                return Err(Error::Space {
                    expected: other.to_string(),
                    found: template.space.to_string(),
                });
            }
        }
        Ok(())
    }

    fn records(&self) -> impl Iterator<Item = (&PersonId, &Record)> {
        let people = self.state.now.people.iter();
        people.map(|(id, entry)| (id, &entry.record))
    }

    fn record(&self, id: &PersonId) -> Option<&Record> {
        self.state.now.people.get(id).map(|entry| &entry.record)
    }

    fn templates(&self) -> impl Iterator<Item = (&PersonId, &Row)> {
        self.records()
            .flat_map(|(id, record)| record.templates.iter().map(move |row| (id, row)))
    }

    fn change(
        &mut self,
        id: &PersonId,
        edit: impl Fn(&state::Set, Option<Record>) -> Option<Record>,
    ) -> Result<(), Error> {
        let mut next = self.state.clone();
        let blobs = next.change(id, edit)?;
        self.commit(next, &blobs)
    }

    /// Makes `next` durable; memory follows only then. After a failure both are what is on disk, or nothing can be changed
    /// until that can be read again.
    fn commit(&mut self, next: State, new: &[Blob]) -> Result<(), Error> {
        let closed = || Error::Gallery("is closed after a failure".to_owned());
        let vault = self.vault.as_mut().ok_or_else(closed)?;
        if let Err(error) = vault.commit(next.contents(), new) {
            if let Err(again) = self.reopen() {
                log::error!("{again}");
            }
            return Err(error);
        }
        let tidied = vault.tidy();
        self.state = next;
        // The change is done; what could not be removed is removed at open.
        if let Err(error) = tidied {
            log::warn!("{error}; opening the gallery again");
            if let Err(again) = self.reopen() {
                log::error!("{again}");
            }
        }
        Ok(())
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |e| Error::Gallery(format!("cannot {doing} {}: {e}", path.display()))
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::GalleryDamaged {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests;
