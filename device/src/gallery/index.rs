//! The index: which blobs are the gallery, and the only place their keys are kept. Replacing it is what commits a change.
//!
//! Two copies, `index` and `index.copy`, written one after the other; each is replaced as a whole and synced. The newer
//! whole one counts. A key that is in neither is destroyed. Called by `gallery/vault.rs`; knows nothing of records.
//!
//! ```text
//! a copy   seal(sealing key derived for "facelatch gallery index 1", the same words, postcard(Contents))
//! ```

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use facelatch_protocol::{Digest, PersonId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{damaged, failed};
use crate::{
    error::Error,
    seal::{self, Key},
};

pub(super) const NAMES: [&str; 2] = ["index", "index.copy"];
const LABEL: &str = "facelatch gallery index 1";
const VERSION: u32 = 1;

/// A sealed blob: its key and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlobRef {
    #[serde(with = "key_bytes")]
    pub(super) key: Key,
    pub(super) digest: Digest,
}

/// The blobs of one set of people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Names {
    pub(super) people: BTreeMap<PersonId, BlobRef>,
    pub(super) classifier: Option<BlobRef>,
}

/// What an index says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    version: u32,
    /// Grows with every change.
    pub(super) generation: u64,
    /// The bundle whose people were taken over last.
    pub(super) bundle: Option<Digest>,
    pub(super) now: Names,
    /// While a bundle is on trial: the bundle and the people before it.
    pub(super) before: Option<(Option<Digest>, Names)>,
}

impl Contents {
    pub(super) fn new(
        bundle: Option<Digest>,
        now: Names,
        before: Option<(Option<Digest>, Names)>,
    ) -> Contents {
        Contents {
            version: VERSION,
            generation: 0,
            bundle,
            now,
            before,
        }
    }

    /// Reads unsealed bytes; `None` if they are no index.
    pub(super) fn parse(plain: &[u8]) -> Result<Option<Contents>, Error> {
        match postcard::take_from_bytes::<u32>(plain) {
            Ok((VERSION, _)) => {}
            Ok((version, _)) => {
                return Err(Error::Gallery(format!(
                    "format {version} was written by a newer facelatchd"
                )));
            }
            Err(_) => return Ok(None),
        }
        Ok(match postcard::take_from_bytes(plain) {
            Ok((contents, [])) => Some(contents),
            Ok(_) | Err(_) => None,
        })
    }

    /// Every blob it names, and whose it is; the same one twice if it is in both sets.
    pub(super) fn blobs(&self) -> impl Iterator<Item = (Digest, &str)> {
        let before = self.before.as_ref().map(|(_, names)| names);
        [Some(&self.now), before]
            .into_iter()
            .flatten()
            .flat_map(|names| {
                let people = names.people.iter().map(|(id, at)| (at.digest, &**id));
                let classifier = names
                    .classifier
                    .iter()
                    .map(|at| (at.digest, "the classifier"));
                people.chain(classifier)
            })
    }
}

/// A place for one copy.
pub(super) trait Slot: fmt::Debug + Send {
    /// Its bytes; `None` if there are none.
    fn read(&self) -> io::Result<Option<Vec<u8>>>;
    /// Durable on return; after a failure the old or the new bytes are there.
    fn replace(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A copy in a file.
#[derive(Debug)]
struct FileSlot(PathBuf);

impl Slot for FileSlot {
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.0) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        seal::replace_private(&self.0, bytes)
    }
}

/// Both copies.
#[derive(Debug)]
pub(super) struct Index {
    folder: PathBuf,
    key: Key,
    pub(super) slots: [Box<dyn Slot>; 2],
}

impl Index {
    pub(super) fn new(folder: &Path, sealing: &Key) -> Index {
        Index {
            folder: folder.to_owned(),
            key: sealing.derive(LABEL),
            slots: NAMES.map(|name| Box::new(FileSlot(folder.join(name))) as Box<dyn Slot>),
        }
    }

    /// The newer whole copy, after making the other one like it; `None` if there is not a trace of either.
    pub(super) fn load(&mut self) -> Result<Option<Contents>, Error> {
        let mut found: Vec<Option<Vec<u8>>> = vec![];
        let mut newest: Option<(Contents, usize)> = None;
        for (at, slot) in self.slots.iter().enumerate() {
            let bytes = slot.read().unwrap_or_else(|e| {
                log::error!("gallery: cannot read {}: {e}", NAMES[at]);
                // As damaged as it gets, but there.
                Some(vec![])
            });
            if let Some(contents) = bytes
                .as_deref()
                .map(|b| self.open(b))
                .transpose()?
                .flatten()
                && newest
                    .as_ref()
                    .is_none_or(|(best, _)| contents.generation > best.generation)
            {
                newest = Some((contents, at));
            }
            found.push(bytes);
        }
        let Some((contents, good)) = newest else {
            return match found.iter().any(Option::is_some) {
                true => Err(damaged(
                    &self.folder,
                    "no copy of its index can be opened with this device's key",
                )),
                false => Ok(None),
            };
        };
        // Two entries, one for each slot.
        let other = 1 - good;
        if let Some(bytes) = found[good].take()
            && found[other].as_ref() != Some(&bytes)
        {
            log::warn!(
                "gallery: {} is missing, damaged or older; it is written again from {}",
                NAMES[other],
                NAMES[good]
            );
            self.write(other, &bytes)?;
        }
        Ok(Some(contents))
    }

    /// Writes both copies; only then is what it no longer names destroyed.
    pub(super) fn save(&mut self, contents: &Contents) -> Result<(), Error> {
        let names = contents.blobs().count();
        // A person's entry is at most 98 bytes: the keys are not copied while the bytes grow.
        let room = Vec::with_capacity(100 * names + 256);
        let plain = postcard::to_extend(contents, room)
            .map(Zeroizing::new)
            .map_err(|e| Error::Bug(format!("gallery index: {e}")))?;
        let bytes = self.key.seal(LABEL.as_bytes(), &plain)?;
        (0..self.slots.len()).try_for_each(|at| self.write(at, &bytes))
    }

    fn write(&mut self, at: usize, bytes: &[u8]) -> Result<(), Error> {
        let path = self.folder.join(NAMES[at]);
        self.slots[at]
            .replace(bytes)
            .map_err(failed("write", &path))
    }

    /// `None` if it is damaged or sealed with another key.
    fn open(&self, bytes: &[u8]) -> Result<Option<Contents>, Error> {
        let Some(plain) = self.key.open(LABEL.as_bytes(), bytes) else {
            return Ok(None);
        };
        Contents::parse(&plain)
    }
}

/// A key as 32 bytes.
mod key_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::seal::Key;

    pub(super) fn serialize<S: Serializer>(key: &Key, to: S) -> Result<S::Ok, S::Error> {
        key.bytes().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
        <[u8; 32]>::deserialize(from).map(Key::new)
    }
}
