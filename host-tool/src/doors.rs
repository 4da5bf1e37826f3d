//! The doors this host is paired with, kept in the workspace, and which of them is meant by `--to`.
//!
//! ```text
//! HOME/doors/KEY      one door: name, where it was reached, role, how far its audit record was seen
//! ```
//!
//! Called by `cmd::door` and the verbs `pair` and `doors`; what is said to a door is in `client`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use facelatch_protocol::{PublicKey, Role};
use serde::{Deserialize, Serialize};

use crate::{Error, audit::Pin, connect::Target, sealed};

const DOOR_TAG: [u8; 4] = *b"dor1";
const REMEDY: &str = "delete it and pair with the door again";
/// Places remembered for a door; older ones are forgotten.
const MAX_TARGETS: usize = 8;

/// A door this host is paired with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Door {
    /// Its key: who it is, wherever it is reached.
    pub key: PublicKey,
    /// The name it gave itself.
    pub name: String,
    /// Where it was reached, the latest first, as typed.
    pub targets: Vec<String>,
    /// What this host may ask for.
    pub role: Role,
    /// When paired, milliseconds since 1970.
    pub paired_unix_ms: u64,
    /// The last record of its audit record when that was last verified: it must never be gone, or another one.
    pub audit: Option<Pin>,
}

impl Door {
    /// Whether it was reached at this place.
    #[must_use]
    pub fn was_reached_at(&self, text: &str) -> bool {
        let meant = text.parse::<Target>().ok();
        let same = |target: &String| {
            target == text || (meant.is_some() && target.parse::<Target>().ok() == meant)
        };
        self.targets.iter().any(same)
    }

    /// Notes where it was reached; true if that is news.
    pub fn reached_at(&mut self, text: &str) -> bool {
        if self.targets.first().is_some_and(|first| first == text) {
            return false;
        }
        self.targets.retain(|target| target != text);
        self.targets.insert(0, text.to_owned());
        self.targets.truncate(MAX_TARGETS);
        true
    }
}

/// The folder of doors; made when first written to.
#[derive(Debug, Clone)]
pub struct Doors {
    dir: PathBuf,
}

impl Doors {
    /// The doors in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf) -> Doors {
        Doors { dir }
    }

    /// All doors, by name, then key.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Storage`].
    pub fn all(&self) -> Result<Vec<Door>, Error> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::storage("read", &self.dir)(error)),
        };
        let mut doors = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::storage("read", &self.dir))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // What a power cut in the middle of a write leaves behind starts with a dot.
            if name.starts_with('.') {
                continue;
            }
            if let Some(door) = sealed::read::<Door>(&path, DOOR_TAG, REMEDY)? {
                if door.key.to_string() != *name {
                    return Err(Error::Damaged {
                        path,
                        why: "it belongs to another door",
                        remedy: REMEDY,
                    });
                }
                doors.push(door);
            }
        }
        doors.sort_by(|a, b| (&a.name, a.key).cmp(&(&b.name, b.key)));
        Ok(doors)
    }

    /// Keeps a door. What was reached at its latest place before is not there any more.
    ///
    /// # Errors
    /// As for [`Doors::all`].
    pub fn put(&self, door: &Door) -> Result<(), Error> {
        for mut other in self.all()? {
            if other.key == door.key || door.targets.is_empty() {
                continue;
            }
            let before = other.targets.len();
            other.targets.retain(|target| *target != door.targets[0]);
            if other.targets.len() < before {
                self.write(&other)?;
            }
        }
        self.write(door)
    }

    /// Forgets a door; false if there is no such door.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn forget(&self, key: &PublicKey) -> Result<bool, Error> {
        sealed::remove(&self.path(key))
    }

    /// The door that `text` names: by where it was reached, by its name, by its host with another port, else the only one
    /// there is.
    ///
    /// # Errors
    /// As for [`Doors::all`]; [`Error::Usage`] if two doors have that name.
    pub fn find(&self, text: &str) -> Result<Option<Door>, Error> {
        let mut doors = self.all()?;
        if let Some(at) = doors.iter().position(|door| door.was_reached_at(text)) {
            return Ok(Some(doors.swap_remove(at)));
        }
        if let Some(door) = only(&doors, text, |door| door.name == text)? {
            return Ok(Some(door.clone()));
        }
        let meant = host(text);
        let same_host = |door: &Door| door.targets.iter().any(|target| host(target) == meant);
        if let Some(door) = only(&doors, text, |door| meant.is_some() && same_host(door))? {
            return Ok(Some(door.clone()));
        }
        Ok(match doors.len() {
            1 => doors.pop(),
            _ => None,
        })
    }

    /// The doors whose name is `text` or whose key starts with it.
    ///
    /// # Errors
    /// As for [`Doors::all`].
    pub fn named(&self, text: &str) -> Result<Vec<Door>, Error> {
        let mut doors = self.all()?;
        doors.retain(|door| door.name == text || is_key_prefix(&door.key, text));
        Ok(doors)
    }

    fn write(&self, door: &Door) -> Result<(), Error> {
        sealed::private_dir(&self.dir)?;
        sealed::write_atomic(&self.path(&door.key), &sealed::seal(DOOR_TAG, door)?)
    }

    fn path(&self, key: &PublicKey) -> PathBuf {
        Path::new(&self.dir).join(key.to_string())
    }
}

/// Whether `text` is the beginning of a key, of at least eight digits.
#[must_use]
pub fn is_key_prefix(key: &PublicKey, text: &str) -> bool {
    text.len() >= 8 && key.to_string().starts_with(&text.to_ascii_lowercase())
}

fn host(text: &str) -> Option<String> {
    match text.parse() {
        Ok(Target::Tcp { host, .. }) => Some(host),
        Ok(Target::Serial { path, .. }) => Some(path),
        Err(_) => None,
    }
}

fn only<'d>(
    doors: &'d [Door],
    text: &str,
    is_meant: impl Fn(&Door) -> bool,
) -> Result<Option<&'d Door>, Error> {
    let mut meant = doors.iter().filter(|door| is_meant(door));
    match (meant.next(), meant.next()) {
        (found, None) => Ok(found),
        (_, Some(_)) => Err(Error::Usage(format!(
            "{text} may be one of several doors: name the place where one was reached before, see `facelatch doors list`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(n: u8, name: &str, targets: &[&str]) -> Door {
        Door {
            key: PublicKey([n; 32]),
            name: name.to_owned(),
            targets: targets.iter().map(|&text| text.to_owned()).collect(),
            role: Role::Admin,
            paired_unix_ms: 5,
            audit: None,
        }
    }

    #[test]
    fn doors_are_found_by_place_name_host_or_because_there_is_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let doors = Doors::new(folder.path().join("doors"));
        assert_eq!(doors.find("192.0.2.7").unwrap(), None);
        doors
            .put(&door(1, "front", &["192.0.2.7:7117", "/dev/ttyUSB0"]))
            .unwrap();
        let found = |text: &str| doors.find(text).unwrap().map(|door| door.key.0[0]);
        assert_eq!(found("anywhere:1"), Some(1), "the only one");
        doors
            .put(&door(2, "back", &["192.0.2.8:7117", "192.0.2.9:1"]))
            .unwrap();
        doors.put(&door(3, "shed", &["192.0.2.9:2"])).unwrap();
        let cases = [
            ("192.0.2.7:7117", Some(1)),
            ("192.0.2.7", Some(1)),
            ("/dev/ttyUSB0", Some(1)),
            ("/dev/ttyUSB0@9600", Some(1)),
            ("front", Some(1)),
            ("192.0.2.8:9", Some(2)),
            ("192.0.2.9:2", Some(3)),
            ("192.0.2.1:7117", None),
            ("/dev/ttyUSB1", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(found(text), want, "{text}");
        }
        assert!(matches!(doors.find("192.0.2.9:3"), Err(Error::Usage(_))));

        // Another door answers there now.
        doors.put(&door(4, "new", &["192.0.2.7:7117"])).unwrap();
        assert_eq!(found("192.0.2.7:7117"), Some(4));
        assert_eq!(doors.named("front").unwrap()[0].targets, ["/dev/ttyUSB0"]);
        assert_eq!(doors.named("04040404").unwrap().len(), 1);
        assert_eq!(doors.named("0404").unwrap().len(), 0);
        assert!(doors.forget(&PublicKey([4; 32])).unwrap());
        assert!(!doors.forget(&PublicKey([4; 32])).unwrap());
        assert_eq!(doors.all().unwrap().len(), 3);
    }

    #[test]
    fn places_are_kept_latest_first() {
        let mut door = door(1, "front", &["a:1", "b:1"]);
        assert!(!door.reached_at("a:1"));
        assert!(door.reached_at("b:1"));
        assert_eq!(door.targets, ["b:1", "a:1"]);
        for n in 0..20 {
            assert!(door.reached_at(&format!("c:{n}")));
        }
        assert_eq!(door.targets.len(), MAX_TARGETS);
    }

    #[test]
    fn a_damaged_door_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let doors = Doors::new(folder.path().to_path_buf());
        doors.put(&door(1, "front", &["a:1"])).unwrap();
        let path = folder.path().join(PublicKey([1; 32]).to_string());
        fs::rename(&path, folder.path().join(PublicKey([2; 32]).to_string())).unwrap();
        let error = doors.all().unwrap_err().to_string();
        assert!(error.contains("pair with the door again"), "{error}");
    }
}
