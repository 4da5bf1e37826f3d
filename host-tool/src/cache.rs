//! What the networks made of a photo, kept so that it is never computed twice.
//!
//! One small sealed file an entry, named after everything that went into it: the photo's bytes, the networks and the
//! settings. A damaged, foreign or mixed-up entry is as good as none: it is computed again and overwritten. The folder
//! may be deleted at any time. Called by `embed`.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use facelatch_models::{image::Rect, mtcnn::Face};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, sealed};

const TAG: [u8; 4] = *b"emb1";

/// The cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

/// Names an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    photo: [u8; 32],
    recipe: String,
}

/// What is kept of a photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Width and height of the upright photo.
    pub size: [u32; 2],
    /// All faces, best score first.
    pub faces: Vec<Face>,
    /// Which of them the photo is about.
    pub main: Option<usize>,
    /// The main face's embedding, as the network gave it.
    pub embedding: Option<Vec<f32>>,
}

/// [`Cache::forget`] takes the photo from where it stands: first.
#[derive(Serialize, Deserialize)]
struct Stored {
    photo: [u8; 32],
    recipe: String,
    size: [u32; 2],
    faces: Vec<StoredFace>,
    main: Option<u32>,
    embedding: Option<Vec<f32>>,
}

#[derive(Serialize, Deserialize)]
struct StoredFace {
    rect: [f32; 4],
    score: f32,
    landmarks: [[f32; 2]; 5],
}

impl Key {
    /// The key of a photo (SHA-256 of its bytes) under a recipe, a line that names networks and settings.
    #[must_use]
    pub fn new(photo: [u8; 32], recipe: &str) -> Key {
        Key {
            photo,
            recipe: recipe.to_owned(),
        }
    }

    fn file_name(&self) -> String {
        let digest = Sha256::new()
            .chain_update(self.photo)
            .chain_update(&self.recipe)
            .finalize();
        hex(&digest)
    }
}

impl Cache {
    /// The cache in `dir`, which need not exist yet.
    #[must_use]
    pub fn new(dir: &Path) -> Cache {
        Cache {
            dir: dir.to_path_buf(),
        }
    }

    /// The entry of `key`, if there is a sound one.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Entry> {
        let path = self.path(key);
        let bytes = fs::read(&path).ok()?;
        let read = sealed::unseal::<Stored>(TAG, &bytes).and_then(|stored| stored.entry(key));
        read.inspect_err(|why| log::warn!("{}: {why}; computing it again", path.display()))
            .ok()
    }

    /// Keeps an entry.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn put(&self, key: &Key, entry: &Entry) -> Result<(), Error> {
        sealed::write_atomic(
            &self.path(key),
            &sealed::seal(TAG, &Stored::of(key, entry))?,
        )
    }

    /// Forgets the entry of `key`, if there is one.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn remove(&self, key: &Key) -> Result<(), Error> {
        sealed::remove(&self.path(key)).map(|_| ())
    }

    /// Forgets all entries of some photos (SHA-256 of their bytes), whatever the recipe. Looks at every entry's beginning.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn forget(&self, photos: &BTreeSet<[u8; 32]>) -> Result<(), Error> {
        if photos.is_empty() {
            return Ok(());
        }
        for folder in entries(&self.dir)? {
            for path in entries(&folder)? {
                if photo_of(&path).is_some_and(|photo| photos.contains(&photo)) {
                    sealed::remove(&path)?;
                }
            }
        }
        Ok(())
    }

    fn path(&self, key: &Key) -> PathBuf {
        let name = key.file_name();
        // 256 folders keep each short.
        self.dir.join(&name[..2]).join(name)
    }
}

impl Stored {
    fn of(key: &Key, entry: &Entry) -> Stored {
        let faces = entry.faces.iter().map(|face| StoredFace {
            rect: [face.rect.x, face.rect.y, face.rect.w, face.rect.h],
            score: face.score,
            landmarks: face.landmarks,
        });
        Stored {
            photo: key.photo,
            recipe: key.recipe.clone(),
            size: entry.size,
            faces: faces.collect(),
            main: entry.main.and_then(|main| u32::try_from(main).ok()),
            embedding: entry.embedding.clone(),
        }
    }

    fn entry(self, key: &Key) -> Result<Entry, &'static str> {
        if self.photo != key.photo || self.recipe != key.recipe {
            return Err("it belongs to another photo");
        }
        let main = self.main.map(|main| main as usize);
        if main.is_some_and(|main| main >= self.faces.len())
            || main.is_some() != self.embedding.is_some()
        {
            return Err("it contradicts itself");
        }
        let faces = self.faces.into_iter().map(|face| {
            let [x, y, w, h] = face.rect;
            Face {
                rect: Rect { x, y, w, h },
                score: face.score,
                landmarks: face.landmarks,
            }
        });
        Ok(Entry {
            size: self.size,
            faces: faces.collect(),
            main,
            embedding: self.embedding,
        })
    }
}

/// The photo an entry is of; `None` if the file is too short for one.
fn photo_of(path: &Path) -> Option<[u8; 32]> {
    let mut start = [0; sealed::PREFIX_LEN + 32];
    fs::File::open(path).ok()?.read_exact(&mut start).ok()?;
    start.last_chunk().copied()
}

/// What a folder holds; nothing if it is no folder.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = match fs::read_dir(dir) {
        Ok(read) => read,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(Error::storage("read", dir)(error)),
    };
    let paths = read.map(|entry| entry.map(|entry| entry.path()));
    paths
        .collect::<Result<_, _>>()
        .map_err(Error::storage("read", dir))
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let face = Face {
            rect: Rect {
                x: 1.5,
                y: -2.0,
                w: 30.0,
                h: 40.0,
            },
            score: 0.875,
            landmarks: [[1.0, 2.0]; 5],
        };
        Entry {
            size: [64, 48],
            faces: vec![face],
            main: Some(0),
            embedding: Some(vec![0.6, 0.8]),
        }
    }

    #[test]
    fn an_entry_comes_back_only_under_its_own_key() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let cache = Cache::new(dir.path());
        let key = Key::new([1; 32], "networks a");
        assert_eq!(cache.get(&key), None);
        cache.put(&key, &entry()).expect("writable");
        assert_eq!(cache.get(&key), Some(entry()));
        assert_eq!(
            cache.get(&Key::new([2; 32], "networks a")),
            None,
            "another photo"
        );
        assert_eq!(
            cache.get(&Key::new([1; 32], "networks b")),
            None,
            "other networks"
        );
    }

    #[test]
    fn a_photo_is_forgotten_under_all_recipes_and_alone() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let cache = Cache::new(&dir.path().join("cache"));
        let photos = BTreeSet::from([[1; 32], [3; 32]]);
        cache.forget(&photos).expect("nothing to forget");
        let keys = [(1, "a"), (1, "b"), (2, "a"), (3, "a")].map(|(n, r)| Key::new([n; 32], r));
        for key in &keys {
            cache.put(key, &entry()).expect("writable");
        }
        fs::write(dir.path().join("cache/stray"), b"x").expect("writable");
        cache.forget(&photos).expect("removable");
        let kept = keys.each_ref().map(|key| cache.get(key).is_some());
        assert_eq!(kept, [false, false, true, false]);
        cache.remove(&keys[2]).expect("removable");
        assert_eq!(cache.get(&keys[2]), None);
    }

    #[test]
    fn damaged_and_misplaced_entries_are_never_trusted() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let cache = Cache::new(dir.path());
        let (key, other) = (Key::new([1; 32], "r"), Key::new([2; 32], "r"));
        cache.put(&key, &entry()).expect("writable");
        let sound = fs::read(cache.path(&key)).expect("written");
        for i in (0..sound.len()).step_by(7) {
            let mut damaged = sound.clone();
            damaged[i] ^= 1;
            fs::write(cache.path(&key), damaged).expect("writable");
            assert_eq!(cache.get(&key), None, "byte {i} changed");
        }
        // Sound bytes under another name.
        cache.put(&other, &entry()).expect("writable");
        fs::copy(cache.path(&other), cache.path(&key)).expect("writable");
        assert_eq!(cache.get(&key), None);
        // A body that contradicts itself although its seal holds.
        for broken in [
            Entry {
                main: Some(1),
                ..entry()
            },
            Entry {
                embedding: None,
                ..entry()
            },
            Entry {
                main: None,
                ..entry()
            },
        ] {
            cache.put(&key, &broken).expect("writable");
            assert_eq!(cache.get(&key), None, "{broken:?}");
        }
    }
}
