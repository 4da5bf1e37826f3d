//! What a door must not forget when it is switched off: denials in a row and their lockouts, visits used, who is inside.
//!
//! One small file, sealed since it names people, replaced whole by every change. Whoever could damage it, or take it away,
//! must not gain by that: a ledger that cannot be read is not an empty one, but a fault of the door (`Cause::Ledger`) that
//! ends when an operator begins a new one with [`Ledger::begin_anew`]. A change that takes something away from an attacker
//! (a denial) holds in memory even if it could not be written; one that gives (a visit, the end of a row of denials) holds
//! nowhere then. What counts and for how long is in `attempts`; called by `run`.
//!
//! ```text
//! ledger     sealed with a key derived from the device's sealing key: postcard(Stored)
//! ```
//!
//! Not covered: whoever can write to the disk and puts an older ledger of this door back.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use facelatch_protocol::PersonId;
use serde::{Deserialize, Serialize};

use crate::{
    attempts::{Attempts, Kept, Lock, Rules},
    error::Error,
    seal::{Key, replace_private},
};

const FILE: &str = "ledger";
const PURPOSE: &str = "facelatch ledger 1";
const FORMAT: u16 = 1;

/// The ledger, in memory and on disk.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    key: Key,
    contents: Contents,
    damaged: Option<&'static str>,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Contents {
    faces: Attempts,
    people: BTreeMap<PersonId, Personal>,
}

/// What it says of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Personal {
    pin: Attempts,
    visits: u32,
    inside_since_unix_ms: Option<u64>,
}

/// What letting somebody in changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Whether their visits are counted.
    pub counted: bool,
    /// Whether the door remembers who is inside: since this wall time, in milliseconds since 1970.
    pub inside_since_unix_ms: Option<u64>,
    /// Whether their PIN was right.
    pub pin: bool,
}

/// What was known of somebody before they were let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before(Personal);

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u16,
    faces: Kept,
    people: Vec<StoredPerson>,
}

#[derive(Serialize, Deserialize)]
struct StoredPerson {
    person: PersonId,
    pin: Kept,
    visits: u32,
    inside_since_unix_ms: Option<u64>,
}

impl Ledger {
    /// Reads the ledger in `folder`; makes one if this is the door's first start. One that cannot be understood, or is not
    /// there, is a ledger that says so: see [`Ledger::damaged`].
    ///
    /// # Errors
    /// [`Error::Ledger`] if the disk fails.
    pub fn open(
        folder: &Path,
        sealing: &Key,
        is_first: bool,
        now: Duration,
    ) -> Result<Ledger, Error> {
        let mut ledger = Ledger {
            path: folder.join(FILE),
            key: sealing.derive(PURPOSE),
            contents: Contents::default(),
            damaged: None,
        };
        match fs::read(&ledger.path) {
            Ok(bytes) => match ledger.parse(&bytes, now) {
                Some(contents) => ledger.contents = contents,
                None => ledger.damaged = Some("its bytes were changed or cut"),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound && is_first => ledger.save(now)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => ledger.damaged = Some("it is gone"),
            Err(e) => return Err(ledger.failed("read", &e)),
        }
        Ok(ledger)
    }

    /// Why it says nothing, if it does not.
    #[must_use]
    pub fn damaged(&self) -> Option<&'static str> {
        self.damaged
    }

    /// Denied faces in a row.
    #[must_use]
    pub fn faces(&self) -> Attempts {
        self.contents.faces
    }

    /// Whether nobody passes by this person's PIN now.
    #[must_use]
    pub fn pin_lock(&self, person: &PersonId, now: Duration, rules: &Rules) -> Option<Lock> {
        self.personal(person).pin.lock(now, rules)
    }

    /// How often the door opened for this person while their visits were counted.
    #[must_use]
    pub fn visits(&self, person: &PersonId) -> u32 {
        self.personal(person).visits
    }

    /// Whether this person is inside as far as the door knows: it let them in, nobody said that they left, and less than
    /// `forget_after` has passed. A clock that says that they will come in has not been set yet: then they are inside.
    #[must_use]
    pub fn is_inside(&self, person: &PersonId, unix_ms: u64, forget_after: Duration) -> bool {
        self.personal(person).is_inside(unix_ms, forget_after)
    }

    /// How many people are inside, judged as in [`Ledger::is_inside`].
    #[must_use]
    pub fn inside(&self, unix_ms: u64, forget_after: Duration) -> usize {
        let people = self.contents.people.values();
        people
            .filter(|personal| personal.is_inside(unix_ms, forget_after))
            .count()
    }

    /// A face was denied. Returns the denials in a row and the lockout that begins with it.
    ///
    /// # Errors
    /// [`Error::Ledger`]: it counts, but would be forgotten at a restart.
    pub fn face_denied(
        &mut self,
        now: Duration,
        rules: &Rules,
    ) -> (Option<(u32, Lock)>, Result<(), Error>) {
        let lock = self.contents.faces.denied(now, rules);
        let denials = self.contents.faces.denials();
        (lock.map(|lock| (denials, lock)), self.save(now))
    }

    /// A PIN was wrong; as [`Ledger::face_denied`].
    ///
    /// # Errors
    /// [`Error::Ledger`]: it counts, but would be forgotten at a restart.
    pub fn pin_denied(
        &mut self,
        person: &PersonId,
        now: Duration,
        rules: &Rules,
    ) -> (Option<(u32, Lock)>, Result<(), Error>) {
        let people = &mut self.contents.people;
        let pin = &mut people.entry(person.clone()).or_default().pin;
        let lock = pin.denied(now, rules);
        let denials = pin.denials();
        (lock.map(|lock| (denials, lock)), self.save(now))
    }

    /// Somebody is about to be let in: ends the row of denied faces, and counts what is counted. On an error nobody has been
    /// counted and nobody may be let in. Returns what [`Ledger::take_back`] needs.
    ///
    /// # Errors
    /// [`Error::Ledger`].
    pub fn let_in(
        &mut self,
        person: &PersonId,
        entry: Entry,
        now: Duration,
    ) -> Result<Before, Error> {
        let before = Before(self.personal(person));
        self.change(now, |contents| {
            contents.faces.forget();
            let mut personal = contents.people.remove(person).unwrap_or_default();
            if entry.pin {
                personal.pin.forget();
            }
            personal.visits = personal.visits.saturating_add(u32::from(entry.counted));
            if let Some(since) = entry.inside_since_unix_ms {
                personal.inside_since_unix_ms = Some(since);
            }
            contents.put(person, personal);
        })?;
        Ok(before)
    }

    /// The door did not open for them after all: their visits and whether they are inside are as before.
    ///
    /// # Errors
    /// [`Error::Ledger`]: the visit stays used.
    pub fn take_back(
        &mut self,
        person: &PersonId,
        before: Before,
        now: Duration,
    ) -> Result<(), Error> {
        self.change(now, |contents| {
            contents.people.remove(person);
            contents.put(person, before.0);
        })
    }

    /// Somebody left.
    ///
    /// # Errors
    /// [`Error::Ledger`]: they are still inside.
    pub fn left(&mut self, person: &PersonId, now: Duration) -> Result<(), Error> {
        self.change(now, |contents| {
            let mut personal = contents.people.remove(person).unwrap_or_default();
            personal.inside_since_unix_ms = None;
            contents.put(person, personal);
        })
    }

    /// Ends every lockout, and every row of denials.
    ///
    /// # Errors
    /// [`Error::Ledger`]: they go on.
    pub fn clear(&mut self, now: Duration) -> Result<(), Error> {
        self.change(now, |contents| {
            contents.faces.forget();
            for personal in contents.people.values_mut() {
                personal.pin.forget();
            }
            contents.people.retain(|_, personal| !personal.is_none());
        })
    }

    /// Begins a new ledger in place of a damaged one: nothing was denied, nobody has visited, nobody is inside.
    ///
    /// # Errors
    /// [`Error::Ledger`]: it is as damaged as before.
    pub fn begin_anew(&mut self, now: Duration) -> Result<(), Error> {
        let damaged = self.damaged.take();
        let before = std::mem::take(&mut self.contents);
        let saved = self.save(now);
        if saved.is_err() {
            (self.damaged, self.contents) = (damaged, before);
        }
        saved
    }

    /// Forgets everybody but these.
    ///
    /// # Errors
    /// [`Error::Ledger`].
    pub fn keep_only(
        &mut self,
        now: Duration,
        is_known: impl Fn(&PersonId) -> bool,
    ) -> Result<(), Error> {
        // A damaged one knows nobody.
        if self.damaged.is_some() {
            return Ok(());
        }
        self.change(now, |contents| {
            contents.people.retain(|person, _| is_known(person));
        })
    }

    /// Somebody has another id.
    ///
    /// # Errors
    /// [`Error::Ledger`].
    pub fn rename(&mut self, from: &PersonId, to: &PersonId, now: Duration) -> Result<(), Error> {
        // A damaged one knows nobody.
        if self.damaged.is_some() {
            return Ok(());
        }
        self.change(now, |contents| {
            if let Some(personal) = contents.people.remove(from) {
                contents.put(to, personal);
            }
        })
    }

    /// Time passed. Whether the lockout of faces has just ended; that is kept, so that a restart does not begin it again.
    ///
    /// # Errors
    /// [`Error::Ledger`]: it has ended, but would begin again.
    pub fn tick(&mut self, now: Duration) -> (bool, Result<(), Error>) {
        let faces = self.contents.faces.tick(now);
        let mut pins = false;
        for personal in self.contents.people.values_mut() {
            pins |= personal.pin.tick(now);
        }
        match faces || pins {
            true => (faces, self.save(now)),
            false => (false, Ok(())),
        }
    }

    /// Writes what is in memory.
    ///
    /// # Errors
    /// [`Error::Ledger`].
    pub fn save(&self, now: Duration) -> Result<(), Error> {
        // What could not be read is kept as it is, for whoever wants to know what happened to it.
        if let Some(why) = self.damaged {
            return Err(self.failed("use", &io::Error::other(why)));
        }
        let stored = self.contents.stored(now);
        let bytes = postcard::to_stdvec(&stored)
            .map_err(|e| Error::Bug(format!("the ledger cannot be written: {e}")))?;
        let sealed = self.key.seal(PURPOSE.as_bytes(), &bytes)?;
        replace_private(&self.path, &sealed).map_err(|e| self.failed("write", &e))
    }

    /// Changes what it says; on an error nothing has changed. Nothing is written if nothing changes.
    fn change(&mut self, now: Duration, change: impl FnOnce(&mut Contents)) -> Result<(), Error> {
        let mut contents = self.contents.clone();
        change(&mut contents);
        if contents == self.contents && self.damaged.is_none() {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.contents, contents);
        let saved = self.save(now);
        if saved.is_err() {
            self.contents = before;
        }
        saved
    }

    fn personal(&self, person: &PersonId) -> Personal {
        let found = self.contents.people.get(person);
        found.copied().unwrap_or_default()
    }

    fn parse(&self, sealed: &[u8], now: Duration) -> Option<Contents> {
        let bytes = self.key.open(PURPOSE.as_bytes(), sealed)?;
        let (stored, rest): (Stored, _) = postcard::take_from_bytes(&bytes).ok()?;
        if stored.format != FORMAT || !rest.is_empty() {
            return None;
        }
        let people = stored.people.into_iter().map(|stored| {
            let personal = Personal {
                pin: Attempts::again(stored.pin, now),
                visits: stored.visits,
                inside_since_unix_ms: stored.inside_since_unix_ms,
            };
            (stored.person, personal)
        });
        Some(Contents {
            faces: Attempts::again(stored.faces, now),
            people: people.collect(),
        })
    }

    fn failed(&self, doing: &'static str, why: &io::Error) -> Error {
        Error::Ledger(format!("cannot {doing} {}: {why}", self.path.display()))
    }
}

impl Contents {
    fn put(&mut self, person: &PersonId, personal: Personal) {
        if !personal.is_none() {
            self.people.insert(person.clone(), personal);
        }
    }

    fn stored(&self, now: Duration) -> Stored {
        let people = self.people.iter().map(|(person, personal)| StoredPerson {
            person: person.clone(),
            pin: personal.pin.kept(now),
            visits: personal.visits,
            inside_since_unix_ms: personal.inside_since_unix_ms,
        });
        Stored {
            format: FORMAT,
            faces: self.faces.kept(now),
            people: people.collect(),
        }
    }
}

impl Personal {
    fn is_none(&self) -> bool {
        *self == Personal::default()
    }

    fn is_inside(&self, unix_ms: u64, forget_after: Duration) -> bool {
        self.inside_since_unix_ms.is_some_and(|since| {
            let inside = Duration::from_millis(unix_ms.saturating_sub(since));
            inside < forget_after
        })
    }
}
