//! What goes when something is removed: files, templates, faces cut out, what the cache has of a photo, and the classifier
//! that knows it. Tagged pictures, evaluations and faces for review may show anybody: they go with the dataset.
//!
//! Photos go before the cache forgets them: who reads one meanwhile looks whether it is still there, and forgets it as well.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use facelatch_protocol::PersonId;

use super::{Datasets, names_in};
use crate::{
    Error,
    embed::{photo_bytes, sha256},
    home::Template,
    serve::names::{PhotoName, UserId, Whose},
};

impl Datasets {
    /// Removes all of a dataset; of `main` only what this server keeps, not the command line's people. False if there is
    /// none.
    ///
    /// # Errors
    /// [`Error::NotReady`] if somebody is busy with it.
    pub(in crate::serve) fn remove(
        &self,
        user: &UserId,
        is_busy: impl FnOnce() -> bool,
    ) -> Result<bool, Error> {
        let _one = self.writing();
        if is_busy() {
            return Err(Error::NotReady(format!(
                "a job about {user} is under way: wait for it or cancel it"
            )));
        }
        let mut photos = BTreeSet::new();
        for name in names_in(&self.training(user))? {
            photos.append(&mut digests(&self.training(user).join(name))?);
        }
        if !user.is_main() {
            let home = self.recogniser(user);
            let people = home.people().unwrap_or_default();
            let templates = people.into_iter().flat_map(|person| person.templates);
            photos.extend(templates.map(|template| template.photo_sha256));
        }
        let was_there = remove_folder(&self.dir(user))?;
        self.home.cache().forget(&photos)?;
        Ok(was_there)
    }

    /// Removes a photo, and the template made of it at once; false if there is none.
    pub(in crate::serve) fn remove_photo(
        &self,
        user: &UserId,
        whose: &Whose,
        name: &PhotoName,
    ) -> Result<bool, Error> {
        let _one = self.writing();
        let path = self.photo_path(user, whose, name)?;
        let Ok(bytes) = fs::read(&path) else {
            return Ok(false);
        };
        let sha256 = sha256(&bytes);
        fs::remove_file(&path).map_err(Error::storage("remove", &path))?;
        let _ = fs::remove_file(self.thumb_path(user, whose, name));
        let home = self.recogniser(user);
        let of_another = |template: &Template| template.photo_sha256 != sha256;
        match whose {
            Whose::Nobody => {
                let mut none = home.none()?;
                if !none.iter().all(of_another) {
                    none.retain(of_another);
                    home.put_none(&none)?;
                    home.forget_classifier(|_| true)?;
                }
            }
            Whose::Person(id) => {
                if let Some(mut person) = home.person(id)?
                    && !person.templates.iter().all(of_another)
                {
                    person.templates.retain(of_another);
                    home.put_person(&person)?;
                    home.forget_classifier(|_| true)?;
                }
            }
        }
        let photo = BTreeSet::from([sha256]);
        self.forget_learned(user, &photo)?;
        self.home.cache().forget(&photo)?;
        Ok(true)
    }

    /// Removes a person with all photos and templates, and what the cache and the classifier have of them; false if there is
    /// none.
    pub(in crate::serve) fn remove_person(
        &self,
        user: &UserId,
        id: &PersonId,
    ) -> Result<bool, Error> {
        let _one = self.writing();
        let whose = Whose::Person(id.clone());
        let home = self.recogniser(user);
        let mut photos = home.photos_of(id);
        let mut was_there = false;
        for folder in self.folders_of(user, &whose)? {
            photos.append(&mut digests(&folder)?);
            was_there |= remove_folder(&folder)?;
        }
        was_there |= remove_folder(&self.thumbs(user, &whose))?;
        self.home.cache().forget(&photos)?;
        self.forget_learned(user, &photos)?;
        Ok(home.remove_person(id)? || was_there)
    }
}

/// SHA-256 of all photos in a folder; of a file that cannot be read nobody has anything.
fn digests(folder: &Path) -> Result<BTreeSet<[u8; 32]>, Error> {
    let files: Vec<PathBuf> = match folder.is_dir() {
        true => names_in(folder)?
            .iter()
            .map(|name| folder.join(name))
            .collect(),
        false => Vec::new(),
    };
    let bytes = files.iter().filter_map(|file| photo_bytes(file).ok());
    Ok(bytes.map(|bytes| sha256(&bytes)).collect())
}

/// False if there is none.
fn remove_folder(folder: &Path) -> Result<bool, Error> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::storage("remove", folder)(error)),
    }
}

#[cfg(test)]
mod tests {
    use facelatch_models::{
        classifier::{Classifier, TrainConfig},
        embedding::{Embedding, SpaceId},
    };
    use facelatch_protocol::DisplayName;

    use super::*;
    use crate::{
        cache::{Entry, Key},
        home::{Home, Person, Trained},
    };

    fn id(text: &str) -> PersonId {
        PersonId::parse(text).expect("an id")
    }

    fn template(photo: &[u8], values: [f32; 2]) -> Template {
        Template {
            space: SpaceId::parse("s").expect("a space"),
            values: values.to_vec(),
            photo_sha256: sha256(photo),
            origin: "x".into(),
        }
    }

    /// Ada and Bob, two photos each, one of them here, with all that is kept of somebody.
    fn workspace(home: &Home) -> Datasets {
        let datasets = Datasets::new(home);
        let mut examples = Vec::new();
        for (who, values) in [("ada", [1.0, 0.0]), ("bob", [0.0, 1.0])] {
            let (here, elsewhere) = (format!("{who} here"), format!("{who} elsewhere"));
            let photos = [here.as_bytes(), elsewhere.as_bytes()];
            let name = PhotoName::parse("1.jpg").expect("a name");
            let whose = Whose::Person(id(who));
            let user = UserId::main();
            datasets
                .put_photo(&user, &whose, &name, photos[0])
                .expect("writable");
            datasets
                .put_thumb(&user, &whose, &name, b"thumb")
                .expect("writable");
            let templates = photos.map(|photo| template(photo, values));
            examples.push((who, templates[0].embedding().expect("a vector")));
            home.put_person(&Person {
                id: id(who),
                name: DisplayName::parse(who).expect("a name"),
                created_unix_ms: 1,
                templates: templates.to_vec(),
            })
            .expect("writable");
            for photo in photos {
                for recipe in ["probe", "template"] {
                    let entry = Entry {
                        size: [1, 1],
                        faces: Vec::new(),
                        main: None,
                        embedding: None,
                    };
                    home.cache()
                        .put(&Key::new(sha256(photo), recipe), &entry)
                        .expect("writable");
                }
            }
        }
        put_classifier(home, &examples);
        datasets
    }

    fn put_classifier(home: &Home, examples: &[(&str, Embedding)]) {
        let examples: Vec<_> = examples.iter().map(|(who, e)| (Some(*who), e)).collect();
        let knn = TrainConfig::Knn { k: 1 };
        home.put_trained(&Trained {
            classifier: Classifier::train(&examples, &knn).expect("trainable"),
            templates_digest: [0; 32],
        })
        .expect("writable");
    }

    fn cached(home: &Home, photo: &str) -> bool {
        ["probe", "template"].iter().any(|recipe| {
            let key = Key::new(sha256(photo.as_bytes()), recipe);
            home.cache().get(&key).is_some()
        })
    }

    #[test]
    fn nothing_is_kept_of_somebody_removed() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let home = Home::new(dir.path());
        let datasets = workspace(&home);
        let user = UserId::main();
        let learned = ["ada here", "bob here"].map(|photo| sha256(photo.as_bytes()));
        datasets
            .put_learned(&user, &learned.into())
            .expect("writable");
        assert!(
            datasets
                .remove_person(&user, &id("ada"))
                .expect("removable")
        );
        assert!(!datasets.remove_person(&user, &id("ada")).expect("gone"));
        let kept = ["ada here", "ada elsewhere", "bob here", "bob elsewhere"]
            .map(|photo| cached(&home, photo));
        assert_eq!(kept, [false, false, true, true]);
        assert_eq!(home.trained().expect("readable"), None);
        assert_eq!(
            datasets.learned(&user).expect("readable"),
            BTreeSet::from([learned[1]])
        );
        let mut folders = vec![dir.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                assert!(!path.ends_with("ada"), "{}", path.display());
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
    }

    #[test]
    fn a_photo_takes_its_template_and_the_classifier_along() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let home = Home::new(dir.path());
        let datasets = workspace(&home);
        let (user, bob) = (UserId::main(), Whose::Person(id("bob")));
        let name = PhotoName::parse("1.jpg").expect("a name");
        assert!(
            datasets
                .remove_photo(&user, &bob, &name)
                .expect("removable")
        );
        let left = home.person(&id("bob")).expect("readable").expect("kept");
        assert_eq!(left.templates, [template(b"bob elsewhere", [0.0, 1.0])]);
        assert_eq!(home.trained().expect("readable"), None);
        assert_eq!(
            ["bob here", "bob elsewhere"].map(|photo| cached(&home, photo)),
            [false, true]
        );
    }

    #[test]
    fn a_dataset_goes_with_what_was_computed_but_not_under_somebodys_hands() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let home = Home::new(dir.path());
        let datasets = workspace(&home);
        let user = UserId::main();
        let busy = datasets.remove(&user, || true);
        assert!(matches!(busy, Err(Error::NotReady(_))), "{busy:?}");
        assert!(datasets.remove(&user, || false).expect("removable"));
        assert!(!datasets.remove(&user, || false).expect("gone"));
        assert_eq!(
            ["bob here", "bob elsewhere"].map(|photo| cached(&home, photo)),
            [false, true]
        );
        assert_eq!(home.people().expect("readable").len(), 2, "still enrolled");
    }
}
