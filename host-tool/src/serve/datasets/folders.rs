//! Whose folder is whose, and the photos in it. The API makes folders that are called by ids; one made by hand may be called
//! as the person is, and the id is made of the name, as `facelatch enroll` does it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use facelatch_protocol::PersonId;

use super::{Datasets, names_in};
use crate::{
    Error,
    dataset::NONE,
    home::id_for,
    sealed,
    serve::names::{PhotoName, UserId, Whose},
};

impl Datasets {
    /// The folder of photos, as `Dataset::open` reads it.
    pub(in crate::serve) fn training(&self, user: &UserId) -> PathBuf {
        self.dir(user).join("training")
    }

    pub(in crate::serve) fn photos(
        &self,
        user: &UserId,
        whose: &Whose,
    ) -> Result<Vec<PhotoName>, Error> {
        photos_in(&self.folder(user, whose)?)
    }

    pub(in crate::serve) fn photo_path(
        &self,
        user: &UserId,
        whose: &Whose,
        name: &PhotoName,
    ) -> Result<PathBuf, Error> {
        Ok(self.folder(user, whose)?.join(name.as_str()))
    }

    /// Whose folder holds a photo of this name.
    pub(in crate::serve) fn owner(
        &self,
        user: &UserId,
        name: &PhotoName,
    ) -> Result<Option<Whose>, Error> {
        let mut folders = self.all_folders(user)?.into_iter();
        let owner = folders.find(|(_, folder)| folder.join(name.as_str()).exists());
        Ok(owner.map(|(whose, _)| whose))
    }

    /// A photo's face, cut out, if it was kept; `None` if the photo is not there, too.
    pub(in crate::serve) fn thumb(
        &self,
        user: &UserId,
        whose: &Whose,
        name: &PhotoName,
    ) -> Result<Option<Vec<u8>>, Error> {
        if !self.photo_path(user, whose, name)?.is_file() {
            return Ok(None);
        }
        read(&self.thumb_path(user, whose, name))
    }

    /// Keeps a photo's face, cut out; false if the photo has gone.
    pub(in crate::serve) fn put_thumb(
        &self,
        user: &UserId,
        whose: &Whose,
        name: &PhotoName,
        jpeg: &[u8],
    ) -> Result<bool, Error> {
        let _one = self.writing();
        if !self.photo_path(user, whose, name)?.is_file() {
            return Ok(false);
        }
        sealed::private_dir(&self.thumbs(user, whose))?;
        sealed::write_atomic(&self.thumb_path(user, whose, name), jpeg)?;
        Ok(true)
    }

    /// Where photos' faces, cut out, are kept.
    pub(super) fn thumbs(&self, user: &UserId, whose: &Whose) -> PathBuf {
        self.dir(user).join("thumbs").join(whose.folder())
    }

    /// Named by the photo's whole name: two photos may differ in the extension alone.
    pub(super) fn thumb_path(&self, user: &UserId, whose: &Whose, name: &PhotoName) -> PathBuf {
        let folder = self.thumbs(user, whose);
        folder.join(format!("{}.jpg", name.as_str()))
    }

    /// Where somebody's photos are, or will be.
    pub(super) fn folder(&self, user: &UserId, whose: &Whose) -> Result<PathBuf, Error> {
        let by_id = self.training(user).join(whose.folder());
        if by_id.is_dir() {
            return Ok(by_id);
        }
        let mut by_hand = self.folders_of(user, whose)?.into_iter();
        Ok(by_hand.next().unwrap_or(by_id))
    }

    /// All folders that are somebody's; several, whose names make one id, train nobody before they are made one.
    pub(super) fn folders_of(&self, user: &UserId, whose: &Whose) -> Result<Vec<PathBuf>, Error> {
        let all = self.all_folders(user)?.into_iter();
        let own = all.filter(|(of, _)| of == whose);
        Ok(own.map(|(_, folder)| folder).collect())
    }

    /// Everybody's folder.
    pub(super) fn people_folders(
        &self,
        user: &UserId,
    ) -> Result<BTreeMap<PersonId, PathBuf>, Error> {
        let mut people = BTreeMap::new();
        for (whose, folder) in self.all_folders(user)? {
            if let Whose::Person(id) = whose {
                if folder.ends_with(&*id) {
                    people.insert(id, folder);
                } else {
                    people.entry(id).or_insert(folder);
                }
            }
        }
        Ok(people)
    }

    fn all_folders(&self, user: &UserId) -> Result<Vec<(Whose, PathBuf)>, Error> {
        let training = self.training(user);
        let mut folders = Vec::new();
        for name in names_in(&training)? {
            let folder = training.join(&name);
            if let Some(whose) = whose(&name).filter(|_| folder.is_dir()) {
                folders.push((whose, folder));
            }
        }
        Ok(folders)
    }
}

/// Whose photos a folder of this name holds; nobody's if it makes no id.
fn whose(folder: &str) -> Option<Whose> {
    match folder.eq_ignore_ascii_case(NONE) {
        true => Some(Whose::Nobody),
        false => id_for(folder).map(Whose::Person),
    }
}

/// The photos in a folder that can be asked for by name.
pub(super) fn photos_in(folder: &Path) -> Result<Vec<PhotoName>, Error> {
    let names = names_in(folder)?;
    let photos = names.iter().filter_map(|name| PhotoName::parse(name).ok());
    Ok(photos.collect())
}

/// A file's bytes; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::storage("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    fn photo(name: &str) -> PhotoName {
        PhotoName::parse(name).expect("a photo's name")
    }

    #[test]
    fn folders_made_by_hand_are_their_peoples() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let datasets = Datasets::new(&Home::new(dir.path()));
        let user = UserId::main();
        let training = datasets.training(&user);
        for file in ["Ada Lovelace/1.jpg", "None/2.jpg", "bob/3.jpg"] {
            let path = training.join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            fs::write(path, b"x").expect("writable");
        }
        fs::write(training.join("list.csv"), b"x").expect("writable");
        let (people, none) = datasets.people(&user).expect("readable");
        let told: Vec<_> = people
            .iter()
            .map(|p| (p.person.as_str(), p.name.as_str(), p.photos.len()))
            .collect();
        assert_eq!(
            told,
            [("Ada-Lovelace", "Ada Lovelace", 1), ("bob", "bob", 1)]
        );
        assert_eq!(none.photos, ["2.jpg"]);

        let id = PersonId::parse("Ada-Lovelace").expect("an id");
        let ada = Whose::Person(id.clone());
        let owner = datasets.owner(&user, &photo("1.jpg")).expect("readable");
        assert_eq!(owner.as_ref(), Some(&ada));
        let more = photo("4.jpg");
        let added = datasets.put_photo(&user, &ada, &more, b"y");
        assert!(added.expect("writable"), "beside those that are there");
        assert_eq!(datasets.photos(&user, &ada).expect("readable").len(), 2);
        let one = datasets.remove_photo(&user, &ada, &photo("1.jpg"));
        assert!(one.expect("removable"));
        assert!(datasets.remove_person(&user, &id).expect("removable"));
        assert!(!training.join("Ada Lovelace").exists());
    }

    #[test]
    fn thumbs_are_of_one_photo_and_go_with_it() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let datasets = Datasets::new(&Home::new(dir.path()));
        let (user, ada) = (UserId::main(), Whose::parse("ada").expect("a person"));
        let (jpg, png) = (photo("1.jpg"), photo("1.png"));
        let thumb = |name| datasets.thumb(&user, &ada, name).expect("readable");
        for (name, bytes) in [(&jpg, b"j"), (&png, b"p")] {
            datasets
                .put_photo(&user, &ada, name, bytes)
                .expect("writable");
            let kept = datasets.put_thumb(&user, &ada, name, bytes);
            assert!(kept.expect("writable"));
        }
        assert_eq!(thumb(&jpg).as_deref(), Some(&b"j"[..]));
        datasets.remove_photo(&user, &ada, &jpg).expect("removable");
        let late = datasets.put_thumb(&user, &ada, &jpg, b"j");
        assert!(!late.expect("readable"), "the photo has gone");
        assert_eq!(thumb(&jpg), None);
        assert_eq!(thumb(&png).as_deref(), Some(&b"p"[..]));
        let by_hand = datasets.photo_path(&user, &ada, &png).expect("readable");
        fs::remove_file(by_hand).expect("removable");
        assert_eq!(thumb(&png), None, "without its photo");
    }
}
