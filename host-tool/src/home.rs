//! The operator's workspace folder: enrolled people with their templates, the trained classifier, the embedding cache.
//!
//! ```text
//! HOME/people/ID      one person: name, templates
//! HOME/none           templates of people nobody enrolled
//! HOME/classifier     what `train` made, and of which templates
//! HOME/head           what `train --metric triplet` made; without, people are compared in the network's own space
//! HOME/calibration    what `calibrate` made, and of which templates
//! HOME/policy.toml    who may pass when, written by hand, see `cmd::policy`
//! HOME/counter        counter of the last bundle packed
//! HOME/keys/          this host's keys, see `keys`
//! HOME/doors/         the doors it is paired with, see `doors`
//! HOME/cache/         embeddings by photo; may be deleted
//! ```
//!
//! Templates are personal data: the folder is as confidential as the people's fingerprints would be. Every file but the
//! policy is sealed (see `sealed`), and written whole or not at all.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use facelatch_models::{
    calibrate::Calibration,
    classifier::Classifier,
    embedding::{Embedding, SpaceId},
    metric::{Head, Learned},
};
use facelatch_protocol::{DisplayName, PersonId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, cache::Cache, doors::Doors, keys::Keys, sealed};

/// The folder used when none is named.
pub const DEFAULT_DIR: &str = "facelatch-data";

const PERSON_TAG: [u8; 4] = *b"per1";
const NONE_TAG: [u8; 4] = *b"non1";
const CLASSIFIER_TAG: [u8; 4] = *b"cls2";
const CALIBRATION_TAG: [u8; 4] = *b"cal1";
const HEAD_TAG: [u8; 4] = *b"hed1";
const COUNTER_TAG: [u8; 4] = *b"cnt1";

/// The workspace folder; made when first written to.
#[derive(Debug, Clone)]
pub struct Home {
    dir: PathBuf,
}

/// An enrolled person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// Id.
    pub id: PersonId,
    /// Name to show.
    pub name: DisplayName,
    /// When first enrolled, milliseconds since 1970.
    pub created_unix_ms: u64,
    /// The templates; may be empty.
    pub templates: Vec<Template>,
}

/// A face to recognise, with where it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Embedding space.
    pub space: SpaceId,
    /// The unit vector.
    pub values: Vec<f32>,
    /// SHA-256 of the photo's bytes; zeros for a template pulled from a door.
    pub photo_sha256: [u8; 32],
    /// The photo's file name, or which door it came from.
    pub origin: String,
}

/// Everybody as they are recognised: behind the head, if there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Enrolled {
    /// The people.
    pub people: Vec<Person>,
    /// Templates of people nobody enrolled.
    pub none: Vec<Template>,
    /// The head.
    pub head: Option<Head>,
}

/// What `train` made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// The classifier.
    pub classifier: Classifier,
    /// [`Home::templates_digest`] when it was trained.
    pub templates_digest: [u8; 32],
}

/// What `calibrate` made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// The calibration.
    pub calibration: Calibration,
    /// [`Home::templates_digest`] when it was made.
    pub templates_digest: [u8; 32],
}

impl Template {
    /// The template in a head's space, whether it is of the network's or there already.
    ///
    /// # Errors
    /// [`Error::Models`] if it is of another one.
    pub fn behind(self, head: &Head) -> Result<Template, Error> {
        let embedding = head.bring(self.embedding()?)?;
        Ok(Template {
            space: embedding.space().clone(),
            values: embedding.into_values(),
            ..self
        })
    }

    /// The template as a checked embedding.
    ///
    /// # Errors
    /// [`facelatch_models::Error::Inference`] if the values are not a vector that can be normalised.
    pub fn embedding(&self) -> Result<Embedding, Error> {
        Ok(Embedding::new(self.space.clone(), self.values.clone())?)
    }
}

impl Home {
    /// The workspace in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Home {
        Home {
            dir: dir.to_path_buf(),
        }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The embedding cache.
    #[must_use]
    pub fn cache(&self) -> Cache {
        Cache::new(&self.dir.join("cache"))
    }

    /// This host's keys.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys::new(self.dir.join("keys"))
    }

    /// The doors it is paired with.
    #[must_use]
    pub fn doors(&self) -> Doors {
        Doors::new(self.dir.join("doors"))
    }

    /// Where the policy stands, if there is one.
    #[must_use]
    pub fn policy_path(&self) -> PathBuf {
        self.dir.join("policy.toml")
    }

    /// The policy's text, as it stands there.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn policy(&self) -> Result<Option<String>, Error> {
        let path = self.policy_path();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::storage("read", path)(error)),
        }
    }

    /// All people, by id.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Storage`].
    pub fn people(&self) -> Result<Vec<Person>, Error> {
        let dir = self.dir.join("people");
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::storage("read", dir)(error)),
        };
        let mut people = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::storage("read", &dir))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // What a power cut in the middle of a write leaves behind starts with a dot.
            if name.starts_with('.') {
                continue;
            }
            let remedy = "delete it and enroll the person again";
            if let Some(person) = sealed::read::<Person>(&path, PERSON_TAG, remedy)? {
                if *person.id != *name {
                    return Err(Error::Damaged {
                        path,
                        why: "it belongs to another person",
                        remedy,
                    });
                }
                people.push(person);
            }
        }
        people.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(people)
    }

    /// The space of the networks that the people's templates were made with: of the first there is, a head not counted;
    /// `None` if there is none.
    ///
    /// # Errors
    /// As for [`Home::people`].
    pub fn space(&self) -> Result<Option<SpaceId>, Error> {
        let (people, head) = (self.people()?, self.head()?);
        let mut templates = people.into_iter().flat_map(|person| person.templates);
        Ok(templates.next().map(|template| match head {
            Some(head) if *head.space() == template.space => head.learned().base.clone(),
            Some(_) | None => template.space,
        }))
    }

    /// The people and the unknown ones as they are recognised. Kept are the network's own templates, so that a head can
    /// come and go; those that a door made behind the head stay as they are.
    ///
    /// # Errors
    /// [`Error::NotReady`] if somebody's templates are of neither space; as for [`Home::people`].
    pub fn enrolled(&self) -> Result<Enrolled, Error> {
        let (mut people, mut none, head) = (self.people()?, self.none()?, self.head()?);
        if let Some(head) = &head {
            none = behind(head, none)?;
            for person in &mut people {
                let templates = std::mem::take(&mut person.templates);
                person.templates = behind(head, templates).map_err(|error| {
                    Error::NotReady(format!(
                        "{} was enrolled at a door with another head, or with other networks ({error}): enroll them again \
                         from photos, or remove them",
                        person.id
                    ))
                })?;
            }
        }
        Ok(Enrolled { people, none, head })
    }

    /// The head, if there is one.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Storage`].
    pub fn head(&self) -> Result<Option<Head>, Error> {
        read_head(&self.head_path())
    }

    /// Where the head is kept.
    #[must_use]
    pub fn head_path(&self) -> PathBuf {
        self.dir.join("head")
    }

    /// Keeps a head, or none.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn put_head(&self, head: Option<&Head>) -> Result<(), Error> {
        let path = self.head_path();
        let Some(head) = head else {
            return sealed::remove(&path).map(|_| ());
        };
        sealed::write_atomic(&path, &sealed::seal(HEAD_TAG, head.learned())?)
    }

    /// One person.
    ///
    /// # Errors
    /// As for [`Home::people`].
    pub fn person(&self, id: &PersonId) -> Result<Option<Person>, Error> {
        sealed::read(
            &self.person_path(id),
            PERSON_TAG,
            "delete it and enroll the person again",
        )
    }

    /// Adds a person or replaces one.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn put_person(&self, person: &Person) -> Result<(), Error> {
        sealed::write_atomic(
            &self.person_path(&person.id),
            &sealed::seal(PERSON_TAG, person)?,
        )
    }

    /// Removes a person with all templates, and the classifier if it knows them; false if there is no such person. A
    /// calibration stays: it holds distances, of nobody by name, and the target it was made for.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn remove_person(&self, id: &PersonId) -> Result<bool, Error> {
        // First, so that somebody whose removal was cut off is still there to be removed.
        self.forget_classifier(|known| known == &**id)?;
        sealed::remove(&self.person_path(id))
    }

    /// Removes a classifier that knows one of these people by id, or cannot be read: of some kinds it holds the very
    /// embeddings it was trained on.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn forget_classifier(&self, mut is_meant: impl FnMut(&str) -> bool) -> Result<(), Error> {
        let stays = match self.trained() {
            Ok(trained) => {
                trained.is_some_and(|t| !t.classifier.people.iter().any(|known| is_meant(known)))
            }
            Err(_) => false,
        };
        if !stays {
            sealed::remove(&self.dir.join("classifier"))?;
        }
        Ok(())
    }

    /// SHA-256 of the photos a person's templates were made of; none of somebody who cannot be read.
    #[must_use]
    pub fn photos_of(&self, id: &PersonId) -> BTreeSet<[u8; 32]> {
        let person = self.person(id).ok().flatten();
        let templates = person.into_iter().flat_map(|person| person.templates);
        templates.map(|template| template.photo_sha256).collect()
    }

    /// Templates of people nobody enrolled.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Storage`].
    pub fn none(&self) -> Result<Vec<Template>, Error> {
        let path = self.dir.join("none");
        Ok(sealed::read(&path, NONE_TAG, "delete it and enroll again")?.unwrap_or_default())
    }

    /// Replaces the templates of people nobody enrolled.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn put_none(&self, templates: &Vec<Template>) -> Result<(), Error> {
        sealed::write_atomic(&self.dir.join("none"), &sealed::seal(NONE_TAG, templates)?)
    }

    /// The classifier, if there is one, whatever it was trained on.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Storage`].
    pub fn trained(&self) -> Result<Option<Trained>, Error> {
        let path = self.dir.join("classifier");
        let remedy = "run `facelatch train` again";
        let trained: Option<Trained> = sealed::read(&path, CLASSIFIER_TAG, remedy)?;
        if let Some(Trained { classifier, .. }) = &trained
            && classifier.validate().is_err()
        {
            return Err(Error::Damaged {
                path,
                why: "its numbers contradict each other",
                remedy,
            });
        }
        Ok(trained)
    }

    /// The classifier, made of exactly the templates kept now; `people` are those of [`Home::enrolled`].
    ///
    /// # Errors
    /// [`Error::NotReady`] if `enroll` or `train` has to run first; as for [`Home::trained`].
    pub fn current_classifier(&self, people: &[Person]) -> Result<Trained, Error> {
        if people.is_empty() {
            return Err(Error::NotReady(format!(
                "nobody is enrolled in {}: run `facelatch enroll DIR` first",
                self.dir.display()
            )));
        }
        match self.trained()? {
            None => Err(Error::NotReady(
                "no classifier yet: run `facelatch train` first".into(),
            )),
            Some(trained)
                if trained.templates_digest
                    != Home::templates_digest(people, &self.enrolled()?.none) =>
            {
                Err(Error::NotReady(
                    "people changed since the classifier was made: run `facelatch train` again"
                        .into(),
                ))
            }
            Some(trained) => Ok(trained),
        }
    }

    /// Keeps a classifier.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn put_trained(&self, trained: &Trained) -> Result<(), Error> {
        sealed::write_atomic(
            &self.dir.join("classifier"),
            &sealed::seal(CLASSIFIER_TAG, trained)?,
        )
    }

    /// The calibration, if there is one, whatever it was made of.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Storage`].
    pub fn calibrated(&self) -> Result<Option<Calibrated>, Error> {
        let path = self.dir.join("calibration");
        let remedy = "run `facelatch calibrate` again";
        let calibrated: Option<Calibrated> = sealed::read(&path, CALIBRATION_TAG, remedy)?;
        match calibrated {
            Some(Calibrated { calibration, .. }) if calibration.validate().is_err() => {
                Err(Error::Damaged {
                    path,
                    why: "its numbers contradict each other",
                    remedy,
                })
            }
            calibrated => Ok(calibrated),
        }
    }

    /// Keeps a calibration.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn put_calibrated(&self, calibrated: &Calibrated) -> Result<(), Error> {
        sealed::write_atomic(
            &self.dir.join("calibration"),
            &sealed::seal(CALIBRATION_TAG, calibrated)?,
        )
    }

    /// Digest over everything a classifier is trained on: tells a classifier made of other templates.
    #[must_use]
    pub fn templates_digest(people: &[Person], none: &[Template]) -> [u8; 32] {
        let mut digest = Sha256::new();
        let nobody = none.iter().map(|template| ("none", template));
        let known = people
            .iter()
            .flat_map(|p| p.templates.iter().map(|template| (&*p.id, template)));
        for (whose, template) in known.chain(nobody) {
            // An id holds no line end, so no two sets of templates read the same.
            digest.update(whose);
            digest.update(b"\n");
            digest.update(template.space.as_str());
            digest.update(b"\n");
            digest.update((template.values.len() as u64).to_le_bytes());
            for value in &template.values {
                digest.update(value.to_le_bytes());
            }
        }
        digest.finalize().into()
    }

    /// The counter for the next bundle: larger than all before and than `above`, the door's highest, also when this
    /// folder was made anew (it is never below the seconds since 1970).
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Storage`].
    pub fn next_counter(&self, unix_ms: u64, above: u64) -> Result<u64, Error> {
        let path = self.dir.join("counter");
        let last: u64 = sealed::read(&path, COUNTER_TAG, "delete it")?.unwrap_or(0);
        let next = last.saturating_add(1).max(unix_ms / 1000);
        sealed::write_atomic(&path, &sealed::seal(COUNTER_TAG, &next)?)?;
        // What one door claims is not kept: it would rule the counters of all others.
        Ok(next.max(above.saturating_add(1)))
    }

    fn person_path(&self, id: &PersonId) -> PathBuf {
        self.dir.join("people").join(&**id)
    }
}

/// A head's file; `None` if there is none.
///
/// # Errors
/// [`Error::Damaged`] or [`Error::Storage`].
pub fn read_head(path: &Path) -> Result<Option<Head>, Error> {
    let remedy = "run `facelatch train --metric triplet` again";
    let learned: Option<Learned> = sealed::read(path, HEAD_TAG, remedy)?;
    let head = learned.map(Head::new).transpose();
    head.map_err(|_| Error::Damaged {
        path: path.to_path_buf(),
        why: "its numbers contradict each other",
        remedy,
    })
}

fn behind(head: &Head, templates: Vec<Template>) -> Result<Vec<Template>, Error> {
    templates.into_iter().map(|t| t.behind(head)).collect()
}

/// Milliseconds since 1970, from the machine's clock; 0 before 1970.
#[must_use]
pub fn unix_ms_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// The person id for a folder's name, which may be any name: characters that cannot stand in an id become `-`, and a
/// name that loses too much by it gets a few digits of its SHA-256, so that two people never share an id by accident.
#[must_use]
pub fn id_for(name: &str) -> Option<PersonId> {
    if let Ok(id) = PersonId::parse(name) {
        return Some(id);
    }
    let mut kept = String::new();
    for c in name.chars() {
        let c = if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') {
            c
        } else {
            '-'
        };
        if c != '-' || !kept.ends_with('-') {
            kept.push(c);
        }
    }
    let kept = kept.trim_matches(['-', '.']);
    let only_spaces_lost = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' '));
    if only_spaces_lost && let Ok(id) = PersonId::parse(kept) {
        return Some(id);
    }
    let digest = crate::cache::hex(&Sha256::digest(name.as_bytes()));
    let kept: String = kept.chars().take(PersonId::MAX_LEN - 9).collect();
    let kept = if kept.is_empty() { "person" } else { &kept };
    PersonId::parse(&format!("{kept}-{}", &digest[..8])).ok()
}

/// The name to show for a folder's name: underscores read as spaces, cut to what a display name may hold.
#[must_use]
pub fn display_name_for(name: &str) -> Option<DisplayName> {
    let spaced: String = name
        .chars()
        .map(|c| if c == '_' || c.is_control() { ' ' } else { c })
        .collect();
    let mut cut = String::new();
    for c in spaced.trim().chars() {
        if cut.len() + c.len_utf8() > DisplayName::MAX_LEN {
            break;
        }
        cut.push(c);
    }
    DisplayName::parse(&cut).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(id: &str) -> Person {
        Person {
            id: PersonId::parse(id).expect("an id"),
            name: DisplayName::parse("Ada").expect("a name"),
            created_unix_ms: 1,
            templates: vec![],
        }
    }

    #[test]
    fn folder_names_become_ids() {
        struct Case {
            name: &'static str,
            id: &'static str,
        }
        let cases = [
            Case {
                name: "ada_lovelace",
                id: "ada_lovelace",
            },
            Case {
                name: "Ada  Lovelace",
                id: "Ada-Lovelace",
            },
            Case {
                name: "José",
                id: "Jos-24c2ab65",
            },
            Case {
                name: "李明",
                id: "person-aa227102",
            },
            Case {
                name: "-x",
                id: "x",
            },
            Case {
                name: "abcdefghijklmnopqrstuvwxyz0123456789",
                id: "abcdefghijklmnopqrstuvw-011fc299",
            },
        ];
        let mut failures = Vec::new();
        for case in &cases {
            let found = id_for(case.name)
                .map(|id| id.to_string())
                .unwrap_or_default();
            if found != case.id {
                failures.push(format!(
                    "{}: expected {}, found {found}",
                    case.name, case.id
                ));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
        assert_ne!(
            id_for("José"),
            id_for("Josè"),
            "two people never share an id"
        );
        assert_eq!(
            display_name_for("ada_lovelace").as_deref(),
            Some("ada lovelace")
        );
    }

    #[test]
    fn people_come_back_sorted_and_damage_is_named() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let home = Home::new(&dir.path().join("new"));
        assert_eq!(home.people().expect("empty"), vec![]);
        for id in ["bob", "ada"] {
            home.put_person(&person(id)).expect("writable");
        }
        let ids: Vec<_> = home
            .people()
            .expect("sound")
            .into_iter()
            .map(|p| p.id.to_string())
            .collect();
        assert_eq!(ids, ["ada", "bob"]);
        assert!(home.remove_person(&person("bob").id).expect("removable"));
        assert!(
            !home
                .remove_person(&person("bob").id)
                .expect("nothing to remove")
        );
        let path = home.dir().join("people/ada");
        let sound = fs::read(&path).expect("written");
        fs::write(home.dir().join("people/eve"), &sound).expect("writable");
        assert!(
            matches!(home.people(), Err(Error::Damaged { .. })),
            "ada's file under eve's name"
        );
        fs::write(home.dir().join("people/eve"), &sound[..20]).expect("writable");
        let error = home.people().expect_err("cut short").to_string();
        assert!(
            error.contains("eve") && error.contains("enroll the person again"),
            "{error}"
        );
    }

    #[test]
    fn bundle_counters_only_grow() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let home = Home::new(dir.path());
        let cases = [
            (5_000_000, 0, 5_000, "the seconds"),
            (5_000_000, 0, 5_001, "one more"),
            (1_000, 0, 5_002, "clock set back"),
            (1_000, 9_000, 9_001, "the door knows a later one"),
            (1_000, 0, 5_004, "which is that door's matter"),
        ];
        for (unix_ms, above, want, why) in cases {
            let found = home.next_counter(unix_ms, above).expect("writable");
            assert_eq!(found, want, "{why}");
        }
    }
}
