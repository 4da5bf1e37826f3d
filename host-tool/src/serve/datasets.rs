//! Datasets side by side as files a person can browse, one folder a user id; the only file of `serve` that names their
//! paths.
//!
//! ```text
//! HOME/datasets/USER/training/PERSON/*.jpg     photos; name.txt the name to show
//! HOME/datasets/USER/training/none/*.jpg       people who are not to be let in
//! HOME/datasets/USER/output/DATE_tagged.jpg    what `predict` drew
//! HOME/datasets/USER/evaluation/DATE.json      and .html: what `evaluate` found
//! HOME/datasets/USER/unknown/                  faces kept for review, see `unknown`
//! HOME/datasets/USER/thumbs/PERSON/            faces cut out; may be deleted
//! HOME/datasets/USER/learned                   which photos made templates, see `learned`
//! HOME/datasets/USER/recogniser/               templates and classifier, a workspace as `home` has it
//! ```
//!
//! The dataset `main` keeps its templates and classifier in HOME itself: its people are those of the command line.

mod dated;
mod folders;
mod learned;
mod removal;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use facelatch_protocol::{DisplayName, PersonId};
use serde::Serialize;
use utoipa::ToSchema;

use self::folders::photos_in;
use super::names::{PhotoName, UserId, Whose};
use crate::{
    Error,
    dataset::{NAME_FILE, NONE},
    home::{Home, Person, Template, display_name_for},
    sealed,
};

/// All datasets of a workspace.
#[derive(Debug)]
pub(super) struct Datasets {
    home: Home,
    writing: Mutex<()>,
}

/// A person of a dataset, with what is kept of them.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Listed {
    /// Id; the folder's name.
    #[schema(example = "ada_lovelace")]
    pub(super) person: String,
    /// Name to show.
    #[schema(example = "Ada Lovelace")]
    pub(super) name: String,
    /// Photos kept here.
    pub(super) photos: Vec<String>,
    /// Templates made of photos, here or elsewhere.
    pub(super) templates: usize,
    /// Photos not made into templates yet, or not any more.
    pub(super) untrained: usize,
}

/// How a dataset is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Summary {
    /// The user id.
    #[schema(example = "main")]
    pub(super) user: String,
    /// People in it.
    pub(super) people: usize,
    /// Their photos.
    pub(super) photos: usize,
    /// Photos of people who are not to be let in.
    pub(super) none: usize,
    /// Whether a classifier fits the people as they are: else train.
    pub(super) ready: bool,
    /// Whether photos came or went since the last training.
    pub(super) changed: bool,
    /// What has to be done first, in words.
    pub(super) why: Option<String>,
}

impl Datasets {
    pub(super) fn new(home: &Home) -> Datasets {
        Datasets {
            home: home.clone(),
            writing: Mutex::new(()),
        }
    }

    /// Held while something of a dataset changes: one at a time, and never for long.
    pub(super) fn writing(&self) -> MutexGuard<'_, ()> {
        // It guards files, which are written whole or not at all.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for what is written into a dataset that is there: one that was removed meanwhile does not come back.
    ///
    /// # Errors
    /// [`Error::NotReady`] if it is gone.
    pub(super) fn writing_in(&self, user: &UserId) -> Result<MutexGuard<'_, ()>, Error> {
        let one = self.writing();
        match self.exists(user) {
            true => Ok(one),
            false => Err(Error::NotReady(format!(
                "the dataset {user} was removed meanwhile"
            ))),
        }
    }

    /// Where a dataset's templates and classifier are.
    pub(super) fn recogniser(&self, user: &UserId) -> Home {
        if user.is_main() {
            self.home.clone()
        } else {
            Home::new(&self.dir(user).join("recogniser"))
        }
    }

    /// `main`, and those in which something is kept.
    pub(super) fn all(&self) -> Result<Vec<UserId>, Error> {
        let mut all: BTreeSet<UserId> = names_in(&self.home.dir().join("datasets"))?
            .iter()
            .filter_map(|name| UserId::parse(name).ok())
            .collect();
        all.insert(UserId::main());
        Ok(all.into_iter().collect())
    }

    pub(super) fn exists(&self, user: &UserId) -> bool {
        user.is_main() || self.dir(user).is_dir()
    }

    /// Keeps a photo; true if it was not there.
    pub(super) fn put_photo(
        &self,
        user: &UserId,
        whose: &Whose,
        name: &PhotoName,
        bytes: &[u8],
    ) -> Result<bool, Error> {
        let folder = self.folder(user, whose)?;
        let path = folder.join(name.as_str());
        if path.exists() {
            return Ok(false);
        }
        sealed::private_dir(&folder)?;
        sealed::write_atomic(&path, bytes)?;
        Ok(true)
    }

    /// Gives a person a name to show, and a folder; whoever is enrolled is renamed at once.
    pub(super) fn name_person(
        &self,
        user: &UserId,
        id: &PersonId,
        name: &DisplayName,
    ) -> Result<(), Error> {
        let _one = self.writing();
        let folder = self.folder(user, &Whose::Person(id.clone()))?;
        sealed::private_dir(&folder)?;
        sealed::write_atomic(&folder.join(NAME_FILE), format!("{name}\n").as_bytes())?;
        let home = self.recogniser(user);
        if let Some(person) = home.person(id)? {
            let name = name.clone();
            home.put_person(&Person { name, ..person })?;
        }
        Ok(())
    }

    /// Everybody who has photos here or templates, by id; then those who are not to be let in.
    pub(super) fn people(&self, user: &UserId) -> Result<(Vec<Listed>, Listed), Error> {
        let home = self.recogniser(user);
        let enrolled = home.people()?;
        let folders = self.people_folders(user)?;
        let ids: BTreeSet<&PersonId> = folders
            .keys()
            .chain(enrolled.iter().map(|person| &person.id))
            .collect();
        let mut people = Vec::new();
        for id in ids {
            let person = enrolled.iter().find(|person| person.id == *id);
            let folder = folders.get(id);
            let name = match (person, folder) {
                (Some(person), _) => person.name.to_string(),
                (None, Some(folder)) => written_name(id, folder),
                (None, None) => id.to_string(),
            };
            let photos = folder.map_or_else(|| Ok(Vec::new()), |folder| photos_in(folder))?;
            let templates = person.map_or(&[][..], |person| person.templates.as_slice());
            people.push(listed(id, name, &photos, templates));
        }
        let photos = self.photos(user, &Whose::Nobody)?;
        let name = "not to be let in".to_owned();
        Ok((people, listed(NONE, name, &photos, &home.none()?)))
    }

    pub(super) fn summary(&self, user: &UserId) -> Result<Summary, Error> {
        let home = self.recogniser(user);
        let (people, none) = self.people(user)?;
        let why = match home
            .enrolled()
            .and_then(|enrolled| home.current_classifier(&enrolled.people))
        {
            Ok(_) => None,
            Err(Error::NotReady(why)) => Some(why),
            Err(error) => return Err(error),
        };
        Ok(Summary {
            user: user.to_string(),
            people: people.len(),
            photos: people.iter().map(|person| person.photos.len()).sum(),
            none: none.photos.len(),
            ready: why.is_none(),
            changed: people
                .iter()
                .chain([&none])
                .any(|person| person.untrained > 0),
            why,
        })
    }

    pub(super) fn unknown_dir(&self, user: &UserId) -> PathBuf {
        self.dir(user).join("unknown")
    }

    fn dir(&self, user: &UserId) -> PathBuf {
        self.home.dir().join("datasets").join(user.as_str())
    }
}

/// The name in a person's folder, else one made of the folder's own.
fn written_name(id: &PersonId, folder: &Path) -> String {
    let written = fs::read_to_string(folder.join(NAME_FILE)).unwrap_or_default();
    let own = folder.file_name().unwrap_or_default().to_string_lossy();
    match written.trim() {
        "" => display_name_for(&own).map_or_else(|| id.to_string(), |name| name.to_string()),
        name => name.to_owned(),
    }
}

fn listed(person: &str, name: String, photos: &[PhotoName], templates: &[Template]) -> Listed {
    let made: BTreeSet<String> = templates
        .iter()
        .map(|t| PhotoName::stem_of(&t.photo_sha256))
        .collect();
    let by_hand: BTreeSet<&str> = templates.iter().map(|t| t.origin.as_str()).collect();
    let is_made =
        |photo: &&PhotoName| made.contains(photo.stem()) || by_hand.contains(photo.as_str());
    Listed {
        person: person.to_owned(),
        name,
        untrained: photos.len() - photos.iter().filter(is_made).count(),
        photos: photos
            .iter()
            .map(|photo| photo.as_str().to_owned())
            .collect(),
        templates: templates.len(),
    }
}

/// What a folder holds, sorted; nothing if it is not there. Hidden files, and names that are not UTF-8, are left out.
fn names_in(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::storage("read", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(Error::storage("read", folder))?.file_name();
        if let Ok(name) = name.into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PersonId {
        PersonId::parse(text).expect("an id")
    }

    #[test]
    fn people_are_photos_here_and_templates_from_elsewhere() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let home = Home::new(dir.path());
        let datasets = Datasets::new(&home);
        let user = UserId::main();
        let photo = b"\x89PNG\r\n\x1a\nada";
        let name = PhotoName::of(photo).expect("a PNG");
        let ada = Whose::Person(id("ada"));
        assert!(
            datasets
                .put_photo(&user, &ada, &name, photo)
                .expect("writable")
        );
        assert!(
            !datasets
                .put_photo(&user, &ada, &name, photo)
                .expect("writable"),
            "there already"
        );
        assert_eq!(
            datasets.owner(&user, &name).expect("readable"),
            Some(ada.clone())
        );
        let template = |photo_sha256| Template {
            space: facelatch_models::embedding::SpaceId::parse("s").expect("a space"),
            values: vec![1.0],
            photo_sha256,
            origin: "x".into(),
        };
        let person = |who: &str, templates| Person {
            id: id(who),
            name: DisplayName::parse(who).expect("a name"),
            created_unix_ms: 1,
            templates,
        };
        home.put_person(&person("bob", vec![template([0; 32])]))
            .expect("writable");
        let listed = |datasets: &Datasets| {
            let (people, _) = datasets.people(&user).expect("readable");
            let row = |p: Listed| (p.person, p.photos.len(), p.templates, p.untrained);
            people.into_iter().map(row).collect::<Vec<_>>()
        };
        assert_eq!(
            listed(&datasets),
            [("ada".into(), 1, 0, 1), ("bob".into(), 0, 1, 0)]
        );

        let made = crate::embed::sha256(photo);
        home.put_person(&person("ada", vec![template(made), template([7; 32])]))
            .expect("writable");
        assert_eq!(listed(&datasets)[0], ("ada".into(), 1, 2, 0));
        assert!(
            datasets
                .remove_photo(&user, &ada, &name)
                .expect("removable")
        );
        assert!(!datasets.remove_photo(&user, &ada, &name).expect("gone"));
        assert_eq!(
            listed(&datasets)[0],
            ("ada".into(), 0, 1, 0),
            "its template went with it"
        );
        datasets
            .name_person(
                &user,
                &id("ada"),
                &DisplayName::parse("Ada L.").expect("a name"),
            )
            .expect("writable");
        assert_eq!(
            datasets.people(&user).expect("readable").0[0].name,
            "Ada L."
        );
        assert!(
            datasets
                .remove_person(&user, &id("ada"))
                .expect("removable")
        );
        assert!(!datasets.remove_person(&user, &id("ada")).expect("gone"));
        assert_eq!(datasets.all().expect("readable").len(), 1);
    }
}
