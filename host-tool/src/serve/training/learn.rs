//! The train job: a dataset's photos to templates, templates to classifier, calibration renewed; step by step, so that it can
//! be watched and cancelled.
//!
//! ```text
//! read photos       nothing is held: the dataset may change
//! keep templates    held: of photos that are still there as they were read, under the names written now
//! train             nothing is held
//! keep classifier   held: if people are still those it was trained on, else the job fails
//! ```
//!
//! People may have templates from elsewhere: of the command line's photos, of a door. So a training changes the dataset's own
//! templates alone. These are of a photo (by its SHA-256) that was read here now, or that an earlier training learned from
//! here (`datasets/learned.rs`) and is not here any more, however it went. All others stay, those of `none` too.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use facelatch_models::{classifier::TrainConfig, embedding::SpaceId};
use serde_json::{Value, json};

use crate::{
    Error,
    calibrate::renew,
    cmd::enroll::{display_name, ids, one_space},
    dataset::{Dataset, NONE, PersonFolder},
    embed::{self, Outcome, Reading, photo_bytes, sha256},
    enroll::{Refused, plan},
    home::{Calibrated, Enrolled, Home, Person, Template, Trained, unix_ms_now},
    serve::{
        datasets::Datasets,
        jobs::{Ended, Job},
        names::{PhotoName, UserId},
        problem::Problem,
        state::App,
    },
    train::train,
};

/// A photo, and what was read.
pub(in crate::serve) type Read = (PathBuf, Outcome);

/// Whose a photo is, which, and what was read.
type Labelled<'a> = (Option<&'a str>, &'a Path, &'a Outcome);

/// What a training starts from, once its photos' templates are kept.
struct Kept {
    enrolled: Enrolled,
    refused: Vec<Value>,
}

/// Trains a dataset.
///
/// # Errors
/// [`Ended::Cancelled`] before anything was changed; a dataset that was removed, or whose people changed, meanwhile; people of
/// another embedding space; nobody enrolled; a workspace that cannot be read or written.
pub(in crate::serve) fn learn(
    app: &App,
    user: &UserId,
    config: &TrainConfig,
    job: &Job,
) -> Result<Value, Ended> {
    let before = open(&app.datasets, user)?;
    let read = read(app, &before, embed::Kind::Template, job)?;
    job.phase("training", 0);
    job.step(0)?;
    let Kept { enrolled, refused } = keep(&app.datasets, user, app.engine.space(), &read)?;
    let Enrolled { people, none, head } = &enrolled;
    let (trained, figures) = train(people, none, config)?;
    let calibrated = app.datasets.recogniser(user).calibrated()?;
    let renewed = calibrated
        .map(|old| renew(&old.calibration, people, none, head.as_ref()))
        .transpose()?;
    put(&app.datasets, user, &trained, renewed.as_ref())?;
    Ok(json!({
        "figures": figures,
        "space": trained.classifier.space.as_str(),
        "calibration_renewed": renewed.is_some(),
        "refused": refused,
    }))
}

/// Reads a dataset's photos one by one, so that others get their turn with the networks in between. Of one that was removed
/// meanwhile the cache keeps nothing.
///
/// # Errors
/// [`Ended::Cancelled`]; a photo's own trouble is in its outcome.
pub(in crate::serve) fn read(
    app: &App,
    dataset: &Dataset,
    kind: embed::Kind,
    job: &Job,
) -> Result<Vec<Read>, Ended> {
    let photos: Vec<PathBuf> = dataset
        .labelled()
        .map(|(_, path)| path.to_path_buf())
        .collect();
    job.phase("reading photos", photos.len() as u64);
    let mut read = Vec::with_capacity(photos.len());
    for (done, path) in photos.into_iter().enumerate() {
        job.step(done as u64)?;
        let outcome = match photo_bytes(&path) {
            Ok(bytes) => {
                let path = path.clone();
                app.engine.run_blocking(move |desk| {
                    let outcome = desk.read(&path, &bytes, kind)?;
                    if !path.exists() {
                        desk.forget(sha256(&bytes))?;
                    }
                    Ok(outcome)
                })?
            }
            Err(error) => Err(error),
        };
        read.push((path, outcome));
    }
    job.step(read.len() as u64)?;
    Ok(read)
}

/// The dataset; empty if it has no photos: whoever is enrolled was enrolled elsewhere.
fn open(datasets: &Datasets, user: &UserId) -> Result<Dataset, Error> {
    match Dataset::open(&datasets.training(user)) {
        Err(Error::Layout { .. }) => Ok(Dataset::default()),
        opened => opened,
    }
}

/// Keeps what the photos made, as the dataset is now.
///
/// # Errors
/// 409 if the dataset was removed, or somebody who stays is of another embedding space; then nothing was written.
fn keep(
    datasets: &Datasets,
    user: &UserId,
    space: &SpaceId,
    read: &[Read],
) -> Result<Kept, Problem> {
    let _one = datasets.writing_in(user)?;
    if !read.is_empty() && !datasets.training(user).is_dir() {
        let gone = format!("the photos of {user} were removed meanwhile");
        return Err(Problem::conflict(gone));
    }
    let dataset = open(datasets, user)?;
    let readings = as_read(&dataset, read);
    let ok = readings
        .iter()
        .filter_map(|(_, _, outcome)| outcome.as_ref().ok());
    let present: BTreeSet<[u8; 32]> = ok.map(|reading| reading.sha256).collect();
    let learned = datasets.learned(user)?;
    let own = &learned | &present;

    let home = datasets.recogniser(user);
    let (before, nobody) = (home.people()?, home.none()?);
    let (mut people, mut none) = (before.clone(), nobody.clone());
    let stays = |template: &Template| !own.contains(&template.photo_sha256);
    people
        .iter_mut()
        .for_each(|person| person.templates.retain(stays));
    none.retain(stays);
    if !present.is_empty() {
        check_space(space, &home, &people, &none)?;
    }
    let refused = add(&dataset, &readings, &mut people, &mut none)?;

    // One that is cut off from here on leaves nothing that the next does not know to be its own.
    if own != learned {
        datasets.put_learned(user, &own)?;
    }
    for person in people.iter().filter(|person| !before.contains(person)) {
        home.put_person(person)?;
    }
    if none != nobody {
        home.put_none(&none)?;
    }
    if present != own {
        datasets.put_learned(user, &present)?;
    }
    Ok(Kept {
        enrolled: home.enrolled()?,
        refused,
    })
}

/// Photos of the dataset that are there as they were read, and whose they are now.
fn as_read<'a>(dataset: &'a Dataset, read: &'a [Read]) -> Vec<Labelled<'a>> {
    let read: BTreeMap<&Path, &Outcome> =
        read.iter().map(|(path, o)| (path.as_path(), o)).collect();
    let labelled = dataset.labelled();
    labelled
        .filter_map(|(whose, path)| Some((whose, path, *read.get(path)?)))
        .filter(|(_, _, outcome)| outcome.as_ref().map_or(true, is_as_read))
        .collect()
}

/// Adds the templates that photos make, and people who were not there; which photos made none, and why.
fn add(
    dataset: &Dataset,
    readings: &[Labelled<'_>],
    people: &mut Vec<Person>,
    none: &mut Vec<Template>,
) -> Result<Vec<Value>, Error> {
    let mut plans = plan(readings);
    let mut refused = Vec::new();
    for (folder, id) in dataset.people.iter().zip(ids(dataset)?) {
        let plan = plans.remove(&Some(folder.name.clone())).unwrap_or_default();
        refused.extend(plan.refused.iter().map(|photo| told(&id, photo)));
        match people.iter_mut().find(|person| person.id == id) {
            Some(person) => {
                rename(person, folder)?;
                person.templates.extend(plan.templates);
            }
            None if plan.templates.is_empty() => {}
            None => people.push(Person {
                id,
                name: display_name(folder)?,
                created_unix_ms: unix_ms_now(),
                templates: plan.templates,
            }),
        }
    }
    let plan = plans.remove(&None).unwrap_or_default();
    refused.extend(plan.refused.iter().map(|photo| told(NONE, photo)));
    none.extend(plan.templates);
    Ok(refused)
}

/// Whether the file is there with the bytes that were read. A name made of them stands for them.
fn is_as_read(reading: &Reading) -> bool {
    let stem = reading.path.file_stem().unwrap_or_default();
    if *stem == *PhotoName::stem_of(&reading.sha256) {
        return reading.path.is_file();
    }
    photo_bytes(&reading.path).is_ok_and(|bytes| sha256(&bytes) == reading.sha256)
}

fn check_space(
    space: &SpaceId,
    home: &Home,
    people: &[Person],
    none: &[Template],
) -> Result<(), Problem> {
    let nobody = none.iter().map(|template| ("somebody in none", template));
    let people = people
        .iter()
        .flat_map(|person| person.templates.iter().map(|t| (&*person.id, t)));
    one_space(space, home.head()?.as_ref(), people.chain(nobody))
        .map_err(|error| Problem::conflict(error.to_string()))
}

/// The name written here, if one is; else the one they have.
fn rename(person: &mut Person, folder: &PersonFolder) -> Result<(), Error> {
    if folder.display_name.is_some() {
        person.name = display_name(folder)?;
    }
    Ok(())
}

/// Keeps the classifier, and the calibration that goes with it.
///
/// # Errors
/// 409 if the dataset was removed, or people are not those any more; then nothing was written.
fn put(
    datasets: &Datasets,
    user: &UserId,
    trained: &Trained,
    calibrated: Option<&Calibrated>,
) -> Result<(), Problem> {
    let _one = datasets.writing_in(user)?;
    let home = datasets.recogniser(user);
    let Enrolled { people, none, .. } = home.enrolled()?;
    if Home::templates_digest(&people, &none) != trained.templates_digest {
        return Err(Problem::conflict(
            "people changed while training: train again",
        ));
    }
    home.put_trained(trained)?;
    if let Some(calibrated) = calibrated {
        home.put_calibrated(calibrated)?;
    }
    Ok(())
}

/// A photo that made no template: whose, which, and why.
fn told(whose: &str, refused: &Refused) -> Value {
    json!({
        "person": whose,
        "photo": refused.photo.file_name().unwrap_or_default().to_string_lossy(),
        "why": refused.refusal.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use facelatch_models::{embedding::Embedding, image::Rect, mtcnn::Face};
    use facelatch_protocol::{DisplayName, PersonId};

    use super::*;

    const SPACE: &str = "s";

    struct Workspace {
        _dir: tempfile::TempDir,
        home: Home,
        datasets: Datasets,
        user: UserId,
    }

    impl Workspace {
        fn new(user: &str) -> Workspace {
            let dir = tempfile::tempdir().expect("temporary folder");
            let main = Home::new(dir.path());
            let datasets = Datasets::new(&main);
            let user = UserId::parse(user).expect("a user");
            Workspace {
                home: datasets.recogniser(&user),
                _dir: dir,
                datasets,
                user,
            }
        }

        /// A photo put into `training/`; its text is its bytes.
        fn photo(&self, file: &str, text: &str) {
            let path = self.datasets.training(&self.user).join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            fs::write(path, text).expect("writable");
        }

        fn remove(&self, file: &str) {
            fs::remove_file(self.datasets.training(&self.user).join(file)).expect("removable");
        }

        /// What the networks would read now.
        fn read(&self) -> Vec<Read> {
            let dataset = open(&self.datasets, &self.user).expect("readable");
            dataset
                .labelled()
                .map(|(_, path)| {
                    let bytes = fs::read(path).expect("readable");
                    (path.to_path_buf(), Ok(reading(path, &bytes)))
                })
                .collect()
        }

        fn keep(&self, read: &[Read]) -> Result<Kept, Problem> {
            let space = SpaceId::parse(SPACE).expect("a space");
            keep(&self.datasets, &self.user, &space, read)
        }

        /// Whoever is enrolled, with the texts of their photos.
        fn enrolled(&self, texts: &[&'static str]) -> Vec<(String, Vec<&'static str>)> {
            let text = |template: &Template| {
                let made = |text: &&&str| sha256(text.as_bytes()) == template.photo_sha256;
                *texts.iter().find(made).unwrap_or(&"door")
            };
            let row = |who: &str, of: &[Template]| (who.to_owned(), of.iter().map(text).collect());
            let people = self.home.people().expect("readable");
            let mut rows: Vec<_> = people.iter().map(|p| row(&p.id, &p.templates)).collect();
            rows.push(row(NONE, &self.home.none().expect("readable")));
            rows
        }

        fn enroll(&self, who: &str, space: &str, photos: &[&str]) {
            let templates = photos.iter().map(|text| template(space, text)).collect();
            if who == NONE {
                return self.home.put_none(&templates).expect("writable");
            }
            let person = Person {
                id: PersonId::parse(who).expect("an id"),
                name: DisplayName::parse(who).expect("a name"),
                created_unix_ms: 1,
                templates,
            };
            self.home.put_person(&person).expect("writable");
        }
    }

    fn reading(path: &Path, bytes: &[u8]) -> Reading {
        let rect = Rect {
            x: 0.0,
            y: 0.0,
            w: 90.0,
            h: 90.0,
        };
        let face = Face {
            rect,
            score: 1.0,
            landmarks: [[0.0; 2]; 5],
        };
        let space = SpaceId::parse(SPACE).expect("a space");
        let embedding = Embedding::new(space, vec![1.0, 0.0]).expect("a vector");
        Reading {
            path: path.to_path_buf(),
            sha256: sha256(bytes),
            size: [90, 90],
            faces: vec![face],
            main: Some((0, embedding)),
        }
    }

    /// Of a photo with this text; of none if a door made it.
    fn template(space: &str, text: &str) -> Template {
        Template {
            space: SpaceId::parse(space).expect("a space"),
            values: vec![1.0, 0.0],
            photo_sha256: match text {
                "door" => [0; 32],
                text => sha256(text.as_bytes()),
            },
            origin: text.to_owned(),
        }
    }

    fn rows(rows: &[(&str, &[&'static str])]) -> Vec<(String, Vec<&'static str>)> {
        let row = |(who, texts): &(&str, &[&'static str])| ((*who).to_owned(), texts.to_vec());
        rows.iter().map(row).collect()
    }

    #[test]
    fn what_came_from_elsewhere_stays_and_the_datasets_own_is_made_anew() {
        let texts = ["a1", "a2", "cli", "n1", "stranger", "b1"];
        let work = Workspace::new("main");
        work.enroll("ada", SPACE, &["cli", "door"]);
        work.enroll("bob", SPACE, &["door"]);
        work.enroll(NONE, SPACE, &["stranger"]);
        for (file, text) in [
            ("ada/1.jpg", "a1"),
            ("ada/2.jpg", "a2"),
            ("none/1.jpg", "n1"),
        ] {
            work.photo(file, text);
        }
        work.keep(&work.read()).expect("one space");
        let all = rows(&[
            ("ada", &["cli", "door", "a1", "a2"]),
            ("bob", &["door"]),
            (NONE, &["stranger", "n1"]),
        ]);
        assert_eq!(work.enrolled(&texts), all);
        work.keep(&work.read()).expect("one space");
        assert_eq!(work.enrolled(&texts), all, "once each");

        // Photos that went go, by whatever hand; one that moved is the other's.
        work.remove("ada/1.jpg");
        work.remove("ada/2.jpg");
        work.remove("none/1.jpg");
        work.photo("bob/1.jpg", "a2");
        work.keep(&work.read()).expect("one space");
        let left = rows(&[
            ("ada", &["cli", "door"]),
            ("bob", &["door", "a2"]),
            (NONE, &["stranger"]),
        ]);
        assert_eq!(work.enrolled(&texts), left);
        work.remove("bob/1.jpg");
        work.keep(&work.read()).expect("no photo at all");
        assert_eq!(work.enrolled(&texts)[1], ("bob".into(), vec!["door"]));

        // Enrolled elsewhere after it went from here: nothing of the dataset any more.
        work.enroll("bob", SPACE, &["a2"]);
        work.keep(&work.read()).expect("no photo at all");
        assert_eq!(work.enrolled(&texts)[1], ("bob".into(), vec!["a2"]));
    }

    #[test]
    fn what_was_removed_or_renamed_while_photos_were_read_stays_so() {
        let texts = ["a1", "a2", "a3", "b1"];
        let work = Workspace::new("acme");
        for (file, text) in [
            ("ada/1.jpg", "a1"),
            ("ada/2.jpg", "a2"),
            ("ada/3.jpg", "a3"),
            ("bob/1.jpg", "b1"),
        ] {
            work.photo(file, text);
        }
        work.keep(&work.read()).expect("one space");
        let id = |text: &str| PersonId::parse(text).expect("an id");
        let read = work.read();
        work.datasets
            .remove_person(&work.user, &id("bob"))
            .expect("removable");
        work.remove("ada/1.jpg");
        work.photo("ada/2.jpg", "other bytes");
        let name = DisplayName::parse("Ada L.").expect("a name");
        work.datasets
            .name_person(&work.user, &id("ada"), &name)
            .expect("writable");
        let kept = work.keep(&read).expect("one space");
        assert_eq!(
            work.enrolled(&texts),
            rows(&[("ada", &["a3"]), (NONE, &[])])
        );
        assert_eq!(kept.enrolled.people[0].name, name);

        let gone = work.datasets.remove(&work.user, || false);
        assert!(gone.expect("removable"));
        let late = work.keep(&read).err().expect("there is no dataset");
        assert!(late.detail().contains("removed"), "{}", late.detail());
        assert!(!work.datasets.exists(&work.user), "nothing was written");
    }

    #[test]
    fn photos_of_main_removed_while_they_were_read_do_not_come_back() {
        let work = Workspace::new("main");
        work.photo("ada/1.jpg", "a1");
        let read = work.read();
        let gone = work.datasets.remove(&work.user, || false);
        assert!(gone.expect("removable"));
        assert!(work.keep(&read).is_err());
        assert_eq!(work.enrolled(&[]), rows(&[(NONE, &[])]));
    }

    #[test]
    fn spaces_are_never_mixed() {
        for who in ["bob", NONE] {
            let work = Workspace::new("main");
            work.enroll(who, "other", &["door"]);
            work.photo("ada/1.jpg", "a1");
            let before = work.enrolled(&[]);
            let problem = work.keep(&work.read()).err().expect("two spaces");
            assert!(problem.detail().contains("other"), "{}", problem.detail());
            assert_eq!(work.enrolled(&[]), before, "nothing was written");
        }
        // Whoever goes anyway is in nobody's way.
        let work = Workspace::new("main");
        work.enroll("ada", "other", &["a1"]);
        work.photo("ada/1.jpg", "a1");
        let kept = work.keep(&work.read()).expect("one space");
        assert_eq!(kept.enrolled.people[0].templates[0].space.as_str(), SPACE);
    }

    #[test]
    fn a_classifier_of_people_who_changed_is_not_kept() {
        let work = Workspace::new("main");
        work.photo("ada/1.jpg", "a1");
        let Kept { enrolled, .. } = work.keep(&work.read()).expect("one space");
        let config = TrainConfig::Centroid;
        let (trained, _) = train(&enrolled.people, &enrolled.none, &config).expect("trainable");
        work.enroll("bob", SPACE, &["door"]);
        let problem = put(&work.datasets, &work.user, &trained, None).expect_err("others");
        assert!(problem.detail().contains("train again"));
        assert_eq!(work.home.trained().expect("readable"), None);
        let bob = PersonId::parse("bob").expect("an id");
        work.home.remove_person(&bob).expect("removable");
        put(&work.datasets, &work.user, &trained, None).expect("as they were");
        assert!(work.home.trained().expect("readable").is_some());
    }
}
