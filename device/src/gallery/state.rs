//! Who is in the gallery now and, while a bundle is on trial, who was before it; as values, and as the index names them.
//!
//! Here is what a change of a person means for both sets, so that it survives going back. What a bundle brings is in
//! `gallery/bundle.rs`. Called by `gallery`.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use facelatch_protocol::{Digest, PersonId, SpaceName};

use super::{
    damaged,
    index::{Contents, Names},
    record::{ClassifierEntry, Entry, Record},
    vault::{Blob, Blobs},
};
use crate::error::Error;

/// One set of people. What two sets have in common is there once.
#[derive(Debug, Clone, Default)]
pub(super) struct Set {
    pub(super) people: BTreeMap<PersonId, Arc<Entry>>,
    pub(super) classifier: Option<Arc<ClassifierEntry>>,
}

/// What a bundle on trial took over from.
#[derive(Debug, Clone)]
pub(super) struct Before {
    pub(super) bundle: Option<Digest>,
    pub(super) set: Set,
}

/// Everything the gallery holds.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) bundle: Option<Digest>,
    pub(super) now: Set,
    pub(super) before: Option<Before>,
}

impl Set {
    /// The first space of a template that is not `space`.
    pub(super) fn other_space(&self, space: &str) -> Option<&SpaceName> {
        let records = self.people.values().map(|entry| &entry.record);
        records
            .flat_map(Record::spaces)
            .find(|found| ***found != *space)
    }

    fn names(&self) -> Names {
        let name = |(id, entry): (&PersonId, &Arc<Entry>)| (id.clone(), entry.at.clone());
        Names {
            people: self.people.iter().map(name).collect(),
            classifier: self.classifier.as_ref().map(|entry| entry.at.clone()),
        }
    }
}

impl State {
    /// Opens everything the index names.
    pub(super) fn open(folder: &Path, contents: &Contents, blobs: &Blobs) -> Result<State, Error> {
        let now = open_set(folder, &contents.now, blobs, &Set::default())?;
        let before = match &contents.before {
            Some((bundle, names)) => Some(Before {
                bundle: *bundle,
                set: open_set(folder, names, blobs, &now)?,
            }),
            None => None,
        };
        Ok(State {
            bundle: contents.bundle,
            now,
            before,
        })
    }

    /// As the index names it.
    pub(super) fn contents(&self) -> Contents {
        let before = self.before.as_ref();
        let before = before.map(|before| (before.bundle, before.set.names()));
        Contents::new(self.bundle, self.now.names(), before)
    }

    /// Changes a person in both sets: `edit` gets a set and the person's record there, and returns the new one, or `None`
    /// for nobody. Returns the new blobs.
    pub(super) fn change(
        &mut self,
        id: &PersonId,
        edit: impl Fn(&Set, Option<Record>) -> Option<Record>,
    ) -> Result<Vec<Blob>, Error> {
        let (mut blobs, mut made) = (vec![], None::<Arc<Entry>>);
        let before = self.before.as_mut().map(|before| &mut before.set);
        for set in [Some(&mut self.now), before].into_iter().flatten() {
            let old = set.people.get(id).map(|entry| entry.record.clone());
            let new = edit(set, old.clone());
            if new == old {
                continue;
            }
            let templates = |record: &Option<Record>| record.as_ref().map(|r| r.templates.clone());
            // Templates of nobody are not those of somebody without.
            if templates(&new) != templates(&old) {
                set.classifier = None;
            }
            let Some(record) = new else {
                set.people.remove(id);
                continue;
            };
            let entry = match &made {
                Some(entry) if entry.record == record => Arc::clone(entry),
                Some(_) | None => {
                    let (entry, blob) = Entry::seal(id, record)?;
                    blobs.push(blob);
                    Arc::new(entry)
                }
            };
            made = Some(Arc::clone(&entry));
            set.people.insert(id.clone(), entry);
        }
        Ok(blobs)
    }
}

fn open_set(folder: &Path, names: &Names, blobs: &Blobs, like: &Set) -> Result<Set, Error> {
    let unreadable =
        |whose: &str| damaged(folder, &format!("the record of {whose} cannot be opened"));
    let mut people = BTreeMap::new();
    for (id, at) in &names.people {
        let entry = match like.people.get(id) {
            Some(entry) if entry.at == *at => Arc::clone(entry),
            Some(_) | None => {
                let blob = blobs.get(&at.digest);
                let entry = blob.and_then(|blob| Entry::open(id, at, blob));
                Arc::new(entry.ok_or_else(|| unreadable(id))?)
            }
        };
        people.insert(id.clone(), entry);
    }
    let classifier = match (&names.classifier, &like.classifier) {
        (None, _) => None,
        (Some(at), Some(entry)) if entry.at == *at => Some(Arc::clone(entry)),
        (Some(at), _) => {
            let blob = blobs.get(&at.digest);
            let entry = blob.and_then(|blob| ClassifierEntry::open(at, blob));
            Some(Arc::new(entry.ok_or_else(|| unreadable("the classifier"))?))
        }
    };
    Ok(Set { people, classifier })
}
