//! The people of this door and their templates, in sled. The only file that names sled.
//!
//! Everything is held in memory too; a change is written and flushed before it is acknowledged, and every record carries
//! a checksum. A summary (counts, sum of all record digests) is written with each change: a database that lost or gained
//! a record, or is gone, is damaged, never an empty gallery. Who passes is not decided here. Called by `run`.
//! How rows look on disk: `gallery/rows.rs`.

use std::{
    collections::BTreeMap,
    fs, panic,
    path::{Path, PathBuf},
};

use facelatch_models::embedding::{Embedding, SpaceId};
use facelatch_protocol::{
    Digest, DisplayName, GalleryRecord, Person, PersonId, SpaceName, Template, TemplateKey,
};
use sled::transaction::{ConflictableTransactionError, TransactionError, Transactional};

use crate::error::Error;

mod rows;

use rows::{
    FORMAT, PersonRow, Summary, TemplateRow, decode, encode, note, parse_template_key, row_digest,
    template_key,
};

/// Templates enrolled at the door have indices from here on, a bundle's have lower ones.
pub const DEVICE_INDEX: u32 = 1 << 20;
const SUMMARY: &str = "summary";
/// Beside the database: written once it exists, so that a vanished one is noticed.
const MARKER: &str = "gallery.exists";

/// How much it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// People.
    pub people: u32,
    /// Templates of one person.
    pub templates: u32,
}

/// The open gallery. One owner; dropping it closes the database.
#[derive(Debug)]
pub struct Gallery {
    folder: PathBuf,
    limits: Limits,
    database: Option<Database>,
    people: BTreeMap<PersonId, PersonRow>,
    templates: BTreeMap<TemplateKey, TemplateRow>,
    summary: Summary,
}

/// The open database. Trees are closed before it.
#[derive(Debug)]
struct Database {
    people: sled::Tree,
    templates: sled::Tree,
    meta: sled::Tree,
    db: sled::Db,
}

/// A change, worked out in memory before anything is written. `None` removes.
#[derive(Debug, Default)]
struct Change {
    people: BTreeMap<PersonId, Option<PersonRow>>,
    templates: BTreeMap<TemplateKey, Option<TemplateRow>>,
}

impl Gallery {
    /// Opens the gallery in `folder`, creating it if it was never there, and checks every record.
    ///
    /// # Errors
    /// [`Error::GalleryDamaged`], [`Error::DataInUse`], [`Error::Gallery`], [`Error::Storage`].
    pub fn open(folder: &Path, limits: Limits) -> Result<Gallery, Error> {
        let mut gallery = Gallery {
            folder: folder.to_owned(),
            limits,
            database: None,
            people: BTreeMap::new(),
            templates: BTreeMap::new(),
            summary: Summary::default(),
        };
        gallery.reopen()?;
        Ok(gallery)
    }

    /// Closes the database and opens it again: after a failed write, once the reason is gone. On failure the people in
    /// memory are those of before, and nothing can be changed.
    ///
    /// # Errors
    /// As for [`Gallery::open`].
    pub fn reopen(&mut self) -> Result<(), Error> {
        self.database = None;
        let folder = self.folder.clone();
        fs::create_dir_all(&folder).map_err(Error::storage("create", &folder))?;
        let marker = folder.join(MARKER);
        let existed = marker.exists();
        if existed && !folder.join("db/db").exists() {
            return Err(damaged(&folder, "its database is gone"));
        }
        let database = Database::open(&folder.join("db"))?;
        let (people, templates, summary) = database.load(&folder, existed)?;
        (self.people, self.templates, self.summary) = (people, templates, summary);
        self.database = Some(database);
        if !existed {
            self.write(Change::default(), None)?;
            fs::write(&marker, "").map_err(Error::storage("write", &marker))?;
        }
        Ok(())
    }

    /// Number of people.
    #[must_use]
    pub fn people_count(&self) -> usize {
        self.people.len()
    }

    /// Number of templates of all people.
    #[must_use]
    pub fn template_count(&self) -> usize {
        self.templates.len()
    }

    /// Whether this person is enrolled.
    #[must_use]
    pub fn contains(&self, person: &PersonId) -> bool {
        self.people.contains_key(person)
    }

    /// The name to show for a person.
    #[must_use]
    pub fn name(&self, person: &PersonId) -> Option<&DisplayName> {
        self.people.get(person).map(|row| &row.name)
    }

    /// People by id, after `after`.
    pub fn people(&self, after: Option<&PersonId>) -> impl Iterator<Item = Person> {
        let after = after.cloned();
        let rows = self
            .people
            .iter()
            .filter(move |(id, _)| after.as_ref().is_none_or(|a| *id > a));
        rows.map(|(id, row)| Person {
            person: id.clone(),
            name: row.name.clone(),
            created_unix_ms: row.created_unix_ms,
            // At most `limits.templates`, a u32.
            templates: self.templates_of(id).count() as u32,
        })
    }

    /// The first template after a key.
    #[must_use]
    pub fn next_record(&self, after: Option<&TemplateKey>) -> Option<GalleryRecord> {
        let found = self
            .templates
            .iter()
            .find(|(key, _)| after.is_none_or(|a| *key > a));
        found.map(|(key, row)| self.record(key, row))
    }

    /// All templates as (person id, embedding), ready for a roster or for training.
    ///
    /// # Errors
    /// [`Error::Models`] if a stored template is no embedding any more.
    pub fn embeddings(&self) -> Result<Vec<(String, Embedding)>, Error> {
        let embed = |(key, row): (&TemplateKey, &TemplateRow)| {
            let space = SpaceId::parse(&row.template.space)?;
            let embedding = Embedding::new(space, row.template.values.to_vec())?;
            Ok((key.person.to_string(), embedding))
        };
        self.templates.iter().map(embed).collect()
    }

    /// The first space of a template that is not `space`.
    #[must_use]
    pub fn other_space(&self, space: &str) -> Option<&SpaceName> {
        self.templates
            .values()
            .map(|row| &row.template.space)
            .find(|found| ***found != *space)
    }

    /// Whether all templates came with the last bundle: then its classifier knows exactly these people.
    #[must_use]
    pub fn is_as_in_bundle(&self) -> bool {
        self.templates.keys().all(|key| key.index < DEVICE_INDEX)
    }

    /// The bundle whose gallery was merged last.
    #[must_use]
    pub fn bundle(&self) -> Option<Digest> {
        self.summary.bundle
    }

    /// People and templates in canonical form: sorted, the same bytes on every device that would decide alike. Names and
    /// dates decide nothing and are left out.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let mut bytes = vec![];
        for (key, row) in &self.templates {
            for text in [&*key.person, &*row.template.space] {
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
        let row = match self.people.get(id) {
            Some(row) => PersonRow {
                name: name.clone(),
                ..row.clone()
            },
            None => {
                self.room_for_people(1)?;
                PersonRow {
                    name: name.clone(),
                    created_unix_ms: unix_ms,
                    in_bundle: false,
                }
            }
        };
        let mut change = Change::default();
        change.people.insert(id.clone(), Some(row));
        self.write(change, self.summary.bundle)
    }

    /// Removes a person and all templates.
    ///
    /// # Errors
    /// [`Error::UnknownPerson`], [`Error::Gallery`].
    pub fn remove_person(&mut self, id: &PersonId) -> Result<(), Error> {
        if !self.contains(id) {
            return Err(Error::UnknownPerson(id.to_string()));
        }
        let mut change = Change::default();
        change.people.insert(id.clone(), None);
        change.templates = self
            .templates_of(id)
            .map(|(key, _)| (key.clone(), None))
            .collect();
        self.write(change, self.summary.bundle)
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
        if !self.contains(id) {
            return Err(Error::UnknownPerson(id.to_string()));
        }
        if self.templates_of(id).count() + templates.len() > self.limits.templates as usize {
            return Err(Error::Full {
                what: "templates of a person",
                limit: self.limits.templates,
            });
        }
        let last = self
            .templates_of(id)
            .map(|(key, _)| key.index + 1)
            .max()
            .unwrap_or(0);
        let mut change = Change::default();
        for (index, template) in (last.max(DEVICE_INDEX)..).zip(templates) {
            check_template(template)?;
            if let Some(other) = self.other_space(&template.space) {
                let expected = other.to_string();
                return Err(Error::Space {
                    expected,
                    found: template.space.to_string(),
                });
            }
            let row = TemplateRow {
                created_unix_ms: unix_ms,
                template: template.clone(),
            };
            change.templates.insert(
                TemplateKey {
                    person: id.clone(),
                    index,
                },
                Some(row),
            );
        }
        self.write(change, self.summary.bundle)
    }

    /// Takes over a bundle's gallery, all or nothing: its people replace those of the bundle before; people and templates
    /// enrolled at the door stay. Without records (`None`) only the bundle's name is noted.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Template`], [`Error::Space`] if what stays is of another space, [`Error::Gallery`].
    pub fn merge(
        &mut self,
        bundle: Digest,
        space: &str,
        records: Option<&[GalleryRecord]>,
    ) -> Result<(), Error> {
        let change = self.plan(space, records)?;
        self.write(change, Some(bundle))
    }

    /// Whether [`Gallery::merge`] would take this; nothing is changed.
    ///
    /// # Errors
    /// As for [`Gallery::merge`], except [`Error::Gallery`].
    pub fn accepts(&self, space: &str, records: Option<&[GalleryRecord]>) -> Result<(), Error> {
        self.plan(space, records).map(|_| ())
    }

    fn plan(&self, space: &str, records: Option<&[GalleryRecord]>) -> Result<Change, Error> {
        let change = match records {
            Some(records) => self.merged(records)?,
            None => Change::default(),
        };
        let stays = self
            .templates
            .iter()
            .filter(|(key, _)| !matches!(change.templates.get(key), Some(None)));
        let kept = stays.map(|(key, row)| {
            change
                .templates
                .get(key)
                .and_then(Option::as_ref)
                .unwrap_or(row)
        });
        let added = change.templates.values().flatten();
        if let Some(other) = kept.chain(added).find(|row| *row.template.space != *space) {
            let found = other.template.space.to_string();
            return Err(Error::Space {
                expected: space.to_owned(),
                found,
            });
        }
        Ok(change)
    }

    fn merged(&self, records: &[GalleryRecord]) -> Result<Change, Error> {
        let mut change = Change::default();
        for (key, _) in self
            .templates
            .iter()
            .filter(|(key, _)| key.index < DEVICE_INDEX)
        {
            change.templates.insert(key.clone(), None);
        }
        for (id, row) in self.people.iter().filter(|(_, row)| row.in_bundle) {
            let enrolled_here = self
                .templates_of(id)
                .any(|(key, _)| key.index >= DEVICE_INDEX);
            let kept = enrolled_here.then(|| PersonRow {
                in_bundle: false,
                ..row.clone()
            });
            change.people.insert(id.clone(), kept);
        }
        let mut sorted: Vec<&GalleryRecord> = records.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        let mut next: BTreeMap<&PersonId, u32> = BTreeMap::new();
        for record in sorted {
            check_template(&record.template)?;
            let id = &record.key.person;
            let created_unix_ms = record.created_unix_ms;
            let person = PersonRow {
                name: record.name.clone(),
                created_unix_ms,
                in_bundle: true,
            };
            change.people.insert(id.clone(), Some(person));
            let index = next.entry(id).or_insert(0);
            if *index >= self.limits.templates {
                let limit = self.limits.templates;
                return Err(Error::Full {
                    what: "templates of a person",
                    limit,
                });
            }
            let key = TemplateKey {
                person: id.clone(),
                index: *index,
            };
            let row = TemplateRow {
                created_unix_ms,
                template: record.template.clone(),
            };
            change.templates.insert(key, Some(row));
            *index += 1;
        }
        let gone = change.people.values().filter(|row| row.is_none()).count();
        let new = change
            .people
            .iter()
            .filter(|(id, row)| row.is_some() && !self.contains(id))
            .count();
        if new > gone {
            self.room_for_people(new - gone)?;
        }
        Ok(change)
    }

    fn room_for_people(&self, more: usize) -> Result<(), Error> {
        let limit = self.limits.people;
        if self.people.len() + more > limit as usize {
            return Err(Error::Full {
                what: "people",
                limit,
            });
        }
        Ok(())
    }

    fn templates_of(&self, id: &PersonId) -> impl Iterator<Item = (&TemplateKey, &TemplateRow)> {
        let first = TemplateKey {
            person: id.clone(),
            index: 0,
        };
        let last = TemplateKey {
            person: id.clone(),
            index: u32::MAX,
        };
        self.templates.range(first..=last)
    }

    fn record(&self, key: &TemplateKey, row: &TemplateRow) -> GalleryRecord {
        GalleryRecord {
            key: key.clone(),
            // `load` and every change keep each template's person in `people`.
            name: self.people[&key.person].name.clone(),
            created_unix_ms: row.created_unix_ms,
            template: row.template.clone(),
        }
    }

    /// Writes a change to disk in one transaction and flushes it; memory follows only then.
    fn write(&mut self, change: Change, bundle: Option<Digest>) -> Result<(), Error> {
        let mut summary = Summary {
            bundle,
            ..self.summary.clone()
        };
        let mut people = vec![];
        for (id, row) in &change.people {
            let old = self.people.get(id);
            let value = note(
                &mut summary.sum,
                &mut summary.people,
                b'p',
                id.as_bytes(),
                old,
                row,
            )?;
            people.push((id.as_bytes().to_vec(), value));
        }
        let mut templates = vec![];
        for (key, row) in &change.templates {
            let old = self.templates.get(key);
            let bytes = template_key(key);
            let value = note(
                &mut summary.sum,
                &mut summary.templates,
                b't',
                &bytes,
                old,
                row,
            )?;
            templates.push((bytes, value));
        }
        let summary_row = encode(&summary)?;
        let closed = || Error::Gallery("is closed after a failure".to_owned());
        let database = self.database.as_ref().ok_or_else(closed)?;
        database.write(&people, &templates, &summary_row)?;
        self.summary = summary;
        apply(&mut self.people, change.people);
        apply(&mut self.templates, change.templates);
        Ok(())
    }
}

/// Rows as stored: key, and value or `None` to remove.
type Rows = Vec<(Vec<u8>, Option<Vec<u8>>)>;
type Loaded = (
    BTreeMap<PersonId, PersonRow>,
    BTreeMap<TemplateKey, TemplateRow>,
    Summary,
);

impl Database {
    fn open(path: &Path) -> Result<Database, Error> {
        let db = open_database(path)?;
        let tree = |name: &str| db.open_tree(name).map_err(failed("open a table"));
        let (people, templates, meta) = (tree("people")?, tree("templates")?, tree("meta")?);
        Ok(Database {
            people,
            templates,
            meta,
            db,
        })
    }

    fn write(&self, people: &Rows, templates: &Rows, summary: &[u8]) -> Result<(), Error> {
        let trees = (&self.people, &self.templates, &self.meta);
        let written = trees.transaction(|(people_tree, templates_tree, meta_tree)| {
            for (tree, rows) in [(people_tree, people), (templates_tree, templates)] {
                for (key, value) in rows {
                    match value {
                        Some(value) => tree.insert(key.as_slice(), value.as_slice())?,
                        None => tree.remove(key.as_slice())?,
                    };
                }
            }
            meta_tree.insert(SUMMARY, summary)?;
            Ok::<(), ConflictableTransactionError<std::convert::Infallible>>(())
        });
        written.map_err(|e| match e {
            TransactionError::Abort(never) => match never {},
            TransactionError::Storage(e) => failed("write")(e),
        })?;
        self.db.flush().map_err(failed("write"))?;
        Ok(())
    }

    /// Reads and checks everything.
    fn load(&self, folder: &Path, existed: bool) -> Result<Loaded, Error> {
        let (mut people, mut templates) = (BTreeMap::new(), BTreeMap::new());
        let mut found = Summary {
            format: FORMAT,
            ..Summary::default()
        };
        for row in &self.people {
            let (key, value) = row.map_err(failed("read"))?;
            let id = std::str::from_utf8(&key)
                .ok()
                .and_then(|text| PersonId::parse(text).ok());
            let id = id.ok_or_else(|| damaged(folder, "a person's id is unreadable"))?;
            let row = decode(&value).ok_or_else(|| damaged(folder, &format!("person {id}")))?;
            found.people += 1;
            found.sum = found.sum.wrapping_add(row_digest(b'p', &key, &value));
            people.insert(id, row);
        }
        for row in &self.templates {
            let (key, value) = row.map_err(failed("read"))?;
            let parsed = parse_template_key(&key).filter(|key| people.contains_key(&key.person));
            let parsed = parsed.ok_or_else(|| damaged(folder, "a template belongs to nobody"))?;
            let row = decode(&value)
                .ok_or_else(|| damaged(folder, &format!("a template of {}", parsed.person)))?;
            found.templates += 1;
            found.sum = found.sum.wrapping_add(row_digest(b't', &key, &value));
            templates.insert(parsed, row);
        }
        let Some(stored) = self.meta.get(SUMMARY).map_err(failed("read"))? else {
            return match existed || found.people + found.templates > 0 {
                true => Err(damaged(folder, "its summary is gone")),
                false => Ok((people, templates, found)),
            };
        };
        let stored: Summary = decode(&stored).ok_or_else(|| damaged(folder, "its summary"))?;
        if stored.format != FORMAT {
            let format = stored.format;
            return Err(Error::Gallery(format!(
                "format {format} was written by a newer facelatchd"
            )));
        }
        found.bundle = stored.bundle;
        if stored != found {
            let why = format!(
                "{} people and {} templates are there, {} and {} were written",
                found.people, found.templates, stored.people, stored.templates
            );
            return Err(damaged(folder, &why));
        }
        Ok((people, templates, stored))
    }
}

/// sled panics on some kinds of damage; here that is damage like any other.
fn open_database(path: &Path) -> Result<sled::Db, Error> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(8 << 20)
        .flush_every_ms(None);
    // Nothing of a half-opened database is used again.
    match panic::catch_unwind(panic::AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(e))) if e.to_string().contains("lock") => {
            let data = path.ancestors().nth(2).unwrap_or(path);
            Err(Error::DataInUse {
                path: data.to_owned(),
            })
        }
        Ok(Err(sled::Error::Io(e))) => Err(Error::storage("open", path)(e)),
        Ok(Err(e)) => Err(damaged(path, &e.to_string())),
        Err(_) => Err(damaged(path, "the database cannot be opened")),
    }
}

fn failed(doing: &'static str) -> impl Fn(sled::Error) -> Error {
    move |e| Error::Gallery(format!("cannot {doing}: {e}"))
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::GalleryDamaged {
        path: PathBuf::from(path),
        why: why.to_owned(),
    }
}

/// A unit vector of finite numbers, to within what f32 and another machine's rounding leave.
fn check_template(template: &Template) -> Result<(), Error> {
    let length: f64 = template.values.iter().map(|v| f64::from(*v).powi(2)).sum();
    if !template.values.is_empty() && (length - 1.0).abs() < 1e-3 {
        return Ok(());
    }
    Err(Error::Template {
        dimension: template.values.len(),
    })
}

fn apply<K: Ord, Row>(rows: &mut BTreeMap<K, Row>, change: BTreeMap<K, Option<Row>>) {
    for (key, row) in change {
        match row {
            Some(row) => rows.insert(key, row),
            None => rows.remove(&key),
        };
    }
}

#[cfg(test)]
mod tests;
