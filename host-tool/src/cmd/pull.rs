//! `facelatch pull`: fetch a door's people.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use facelatch_models::embedding::SpaceId;
use facelatch_protocol::{GalleryRecord, PersonId};
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    cmd::door::Door,
    home::{Home, Person, Template},
    progress::Progress,
    report::count,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Adds the door's people and templates to the workspace: templates already there are not doubled, and nobody is removed.
With --out they go into another workspace folder, which then holds exactly what the door holds. Run train afterwards.

Example: facelatch pull --to 192.0.2.7:7117
Example: facelatch pull --to /dev/ttyUSB0 --out backup && facelatch people list --home backup")]
pub struct Args {
    #[command(flatten)]
    door: Door,
    /// Write into this new folder instead of the workspace.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    device: String,
    home: PathBuf,
    people: usize,
    templates: usize,
    /// Of these, not in the workspace before.
    new_people: usize,
    new_templates: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} with {}; new in {}: {} and {}",
            self.device,
            count(self.people, "person", "people"),
            count(self.templates, "template", "templates"),
            self.home.display(),
            count(self.new_people, "person", "people"),
            count(self.new_templates, "template", "templates"),
        )
    }
}

/// Runs the verb.
///
/// # Errors
/// An unreachable door, or a workspace that cannot be written; nothing is kept of a pull that was cut off.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let home = match &args.out {
        Some(out) => new_home(out)?,
        None => global.home(),
    };
    let mut client = args.door.connect(&global.home())?;
    let device = client.device().to_owned();
    let total = client.status().map_err(Error::from)?.templates;
    let progress = Progress::new("pulling", u64::from(total), "templates");
    // People without templates come by this list only.
    let mut pulled: BTreeMap<PersonId, Person> = BTreeMap::new();
    for person in client.people().map_err(Error::from)? {
        pulled.insert(
            person.person.clone(),
            Person {
                id: person.person,
                name: person.name,
                created_unix_ms: person.created_unix_ms,
                templates: Vec::new(),
            },
        );
    }
    for record in client.pull() {
        add(&mut pulled, record.map_err(Error::from)?, &device)?;
        progress.advance(1);
    }
    progress.finish();
    let report = merge(&home, pulled, device)?;
    global.format().print(&report)?;
    Ok(Exit::Done)
}

fn new_home(dir: &Path) -> Result<Home, Error> {
    let home = Home::new(dir);
    if home.people()?.is_empty() {
        return Ok(home);
    }
    Err(Error::Layout {
        dir: dir.to_path_buf(),
        why: "holds people already; name a new folder".into(),
    })
}

fn add(
    pulled: &mut BTreeMap<PersonId, Person>,
    record: GalleryRecord,
    device: &str,
) -> Result<(), Error> {
    let template = Template {
        space: SpaceId::parse(&record.template.space)?,
        values: record.template.values.to_vec(),
        photo_sha256: [0; 32],
        origin: format!("pulled from {device}"),
    };
    let id = record.key.person;
    let person = pulled.entry(id.clone()).or_insert_with(|| Person {
        id,
        name: record.name,
        created_unix_ms: record.created_unix_ms,
        templates: Vec::new(),
    });
    person.templates.push(template);
    Ok(())
}

fn merge(home: &Home, pulled: BTreeMap<PersonId, Person>, device: String) -> Result<Report, Error> {
    let mut report = Report {
        device,
        home: home.dir().to_path_buf(),
        people: pulled.len(),
        templates: 0,
        new_people: 0,
        new_templates: 0,
    };
    let head = home.head()?;
    // A template that came from here went to the door behind the head.
    let behind = |t: &Template| head.as_ref().and_then(|head| t.clone().behind(head).ok());
    for (id, pulled) in pulled {
        report.templates += pulled.templates.len();
        let known = home.person(&id)?;
        report.new_people += usize::from(known.is_none());
        let mut person = match known {
            Some(known) => known,
            None => Person {
                templates: Vec::new(),
                ..pulled.clone()
            },
        };
        for template in pulled.templates {
            let equal = |t: &Template| t.space == template.space && t.values == template.values;
            let same = |t: &Template| equal(t) || behind(t).is_some_and(|t| equal(&t));
            if !person.templates.iter().any(same) {
                person.templates.push(template);
                report.new_templates += 1;
            }
        }
        home.put_person(&person)?;
    }
    Ok(report)
}
