//! `facelatch enroll`: learn faces from a folder of photos, one folder per person.

use std::{fmt, path::PathBuf};

use anyhow::Context;
use facelatch_models::{embedding::SpaceId, metric::Head, mtcnn::DetectorConfig, zoo::Zoo};
use facelatch_protocol::{DisplayName, PersonId};
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    dataset::{Dataset, NONE, PersonFolder},
    embed::{Kind, MIN_FACE_PX, Outcome, Reader, detector_config},
    enroll::{Plan, Refused, plan},
    home::{Home, Person, Template, display_name_for, id_for, unix_ms_now},
    report::{count, warn},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
DIR holds one folder per person, named after the person:
  photos/ada_lovelace/1.jpg, photos/ada_lovelace/2.jpg, photos/bob/portrait.png
A file name.txt in a person's folder gives the name to show. A folder named none holds photos of people who are not to
be let in; they make the recogniser more careful. Three to ten photos a person, in different light, work best.

A photo is refused if it shows no face, a face below 40 pixels, or several faces of similar size. People already
enrolled get exactly the templates of this folder; people who are not in DIR stay as they are.

Exit code 1: somebody could not be enrolled.

Example: facelatch enroll photos && facelatch train")]
pub struct Args {
    /// Folder with one folder of photos per person.
    dir: PathBuf,
    /// Smallest face looked for, in pixels, after a photo is scaled down to at most 640 pixels a side.
    #[arg(long, value_name = "PX", default_value_t = MIN_FACE_PX)]
    min_face_px: f32,
}

/// What was enrolled.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnrollReport {
    /// The workspace folder.
    pub home: PathBuf,
    /// The people of the folder.
    pub people: Vec<PersonReport>,
    /// The unknown people's photos, if there are any.
    pub none: Option<FolderReport>,
    /// What in the folder was not looked at, in words.
    pub skipped: Vec<String>,
}

/// One person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PersonReport {
    /// Id, made from the folder's name.
    pub person: String,
    /// Name to show.
    pub name: String,
    /// The photos.
    #[serde(flatten)]
    pub photos: FolderReport,
}

/// What became of a folder's photos.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FolderReport {
    /// Photos in the folder.
    pub photos: usize,
    /// Templates made.
    pub templates: usize,
    /// Photos refused.
    pub refused: Vec<Refused>,
}

impl From<&Plan> for FolderReport {
    fn from(plan: &Plan) -> FolderReport {
        FolderReport {
            photos: plan.templates.len() + plan.refused.len(),
            templates: plan.templates.len(),
            refused: plan.refused.clone(),
        }
    }
}

impl EnrollReport {
    fn everybody_enrolled(&self) -> bool {
        self.people.iter().all(|p| p.photos.templates > 0)
    }
}

impl fmt::Display for EnrollReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, who: &str, folder: &FolderReport| {
            let templates = count(folder.templates, "template", "templates");
            let photos = count(folder.photos, "photo", "photos");
            writeln!(f, "{who:32} {templates} from {photos}")?;
            folder
                .refused
                .iter()
                .try_for_each(|r| writeln!(f, "    refused {}: {}", r.photo.display(), r.refusal))
        };
        for person in &self.people {
            line(
                f,
                &format!("{} ({})", person.person, person.name),
                &person.photos,
            )?;
            if person.photos.templates == 0 {
                writeln!(f, "    NOT ENROLLED: no usable photo")?;
            }
        }
        if let Some(none) = &self.none {
            line(f, "unknown people (none)", none)?;
        }
        write!(
            f,
            "people are kept in {}; next: facelatch train",
            self.home.display()
        )
    }
}

/// Runs the verb.
///
/// # Errors
/// A wrong layout, unusable networks, a workspace that cannot be written.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let dataset = Dataset::open(&args.dir)?;
    for oddity in &dataset.oddities {
        warn(&oddity.to_string());
    }
    let config = detector_config(args.min_face_px);
    let home = global.home();
    let zoo = match global.net {
        Some(_) => global.zoo()?,
        None => global.zoo_of(home.space()?.as_ref())?,
    };
    let report = enroll(&dataset, &zoo, &home, config)?;
    global.format().print(&report)?;
    Ok(if report.everybody_enrolled() {
        Exit::Done
    } else {
        Exit::No
    })
}

/// Enrolls a dataset's people in a workspace.
///
/// # Errors
/// As for [`run`].
pub fn enroll(
    dataset: &Dataset,
    zoo: &Zoo,
    home: &Home,
    config: DetectorConfig,
) -> anyhow::Result<EnrollReport> {
    // Names that cannot be used are found before the long work.
    let ids = ids(dataset)?;
    let reader = Reader::new(zoo, Some(home.cache()), config)?;
    let stay = home.people()?;
    let stay = stay.iter().filter(|person| !ids.contains(&person.id));
    let stay = stay.flat_map(|person| person.templates.iter().map(|t| (&*person.id, t)));
    one_space(reader.space(), home.head()?.as_ref(), stay)?;
    let photos: Vec<PathBuf> = dataset
        .labelled()
        .map(|(_, path)| path.to_path_buf())
        .collect();
    let outcomes = reader.read(&photos, Kind::Template)?;
    keep(dataset, home, &outcomes)
}

/// Keeps the people of a dataset whose photos were read, in the order of [`Dataset::labelled`].
fn keep(dataset: &Dataset, home: &Home, outcomes: &[Outcome]) -> anyhow::Result<EnrollReport> {
    let readings: Vec<_> = dataset
        .labelled()
        .zip(outcomes)
        .map(|((who, path), o)| (who, path, o))
        .collect();
    let mut plans = plan(&readings);
    let mut people = Vec::new();
    for (folder, id) in dataset.people.iter().zip(ids(dataset)?) {
        let plan = plans.remove(&Some(folder.name.clone())).unwrap_or_default();
        people.push(put(home, folder, id, &plan).context("nobody after this person was enrolled")?);
    }
    let none = match plans.remove(&None) {
        Some(plan) => {
            home.put_none(&plan.templates)?;
            Some(FolderReport::from(&plan))
        }
        None => None,
    };
    let skipped = dataset.oddities.iter().map(ToString::to_string).collect();
    Ok(EnrollReport {
        home: home.dir().to_path_buf(),
        people,
        none,
        skipped,
    })
}

/// Refuses a space other than that of the templates that stay as they are; whose each is stands beside it.
///
/// # Errors
/// [`Error::Usage`].
pub(crate) fn one_space<'a>(
    space: &SpaceId,
    head: Option<&Head>,
    stay: impl IntoIterator<Item = (&'a str, &'a Template)>,
) -> Result<(), Error> {
    let behind = head.filter(|head| head.learned().base == *space);
    let behind = behind.map(Head::space);
    for (whose, template) in stay {
        if template.space != *space && Some(&template.space) != behind {
            return Err(Error::Usage(format!(
                "{whose} is enrolled in the space {}, these networks are of {space}: enroll everybody again with one \
                 network, or use another --home",
                template.space
            )));
        }
    }
    Ok(())
}

/// Keeps one person; somebody without a usable photo is left as before.
fn put(
    home: &Home,
    folder: &PersonFolder,
    id: PersonId,
    plan: &Plan,
) -> Result<PersonReport, Error> {
    let name = display_name(folder)?;
    if !plan.templates.is_empty() {
        let earlier = home.person(&id)?;
        home.put_person(&Person {
            id: id.clone(),
            name: name.clone(),
            created_unix_ms: earlier.map_or_else(unix_ms_now, |person| person.created_unix_ms),
            templates: plan.templates.clone(),
        })?;
    }
    Ok(PersonReport {
        person: id.to_string(),
        name: name.to_string(),
        photos: FolderReport::from(plan),
    })
}

pub(crate) fn display_name(folder: &PersonFolder) -> Result<DisplayName, Error> {
    match &folder.display_name {
        Some(text) => DisplayName::parse(text).map_err(|why| {
            Error::Usage(format!(
                "the name in {}/{} {why}",
                folder.name,
                crate::dataset::NAME_FILE
            ))
        }),
        None => display_name_for(&folder.name).ok_or_else(|| {
            Error::Usage(format!("the folder name {:?} shows nothing", folder.name))
        }),
    }
}

/// One id a folder; two folders must not end up with one id.
pub(crate) fn ids(dataset: &Dataset) -> Result<Vec<PersonId>, Error> {
    let mut ids: Vec<PersonId> = Vec::new();
    for folder in &dataset.people {
        let unusable = || {
            Error::Usage(format!(
                "the folder name {:?} makes no person id",
                folder.name
            ))
        };
        let id = id_for(&folder.name).ok_or_else(unusable)?;
        if let Some(at) = ids.iter().position(|other| *other == id) {
            return Err(Error::Usage(format!(
                "the folders {:?} and {:?} both become the person id {id}: rename one ({NONE} is for unknown people)",
                dataset.people[at].name, folder.name
            )));
        }
        ids.push(id);
    }
    Ok(ids)
}
