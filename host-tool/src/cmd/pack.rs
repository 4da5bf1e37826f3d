//! `facelatch pack`: enrolled people and classifier as one bundle file.

use std::{fmt, path::PathBuf};

use facelatch_models::zoo::Zoo;
use serde::Serialize;

use crate::{
    Error, Exit,
    cache::hex,
    cli::Global,
    embed::sha256,
    home::{Home, unix_ms_now},
    pack::{Contents, pack},
    report::count,
    sealed::write_atomic,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A door that already has the networks of this embedding space needs only the people and the classifier, a few kilobytes;
--with-networks adds the networks (tens of megabytes: minutes over a serial line).

Example: facelatch pack --out front-door.flb && facelatch push front-door.flb --to 192.0.2.7:7117")]
pub struct Args {
    /// The bundle file to write.
    #[arg(long, value_name = "FILE", default_value = "facelatch.flb")]
    out: PathBuf,
    /// Put the networks into the bundle too.
    #[arg(long)]
    with_networks: bool,
}

/// What was packed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The file, if one was written.
    pub file: Option<PathBuf>,
    /// Its size.
    pub bytes: usize,
    /// Its digest.
    pub sha256: String,
    /// Its counter.
    pub counter: u64,
    /// Embedding space.
    pub space: String,
    /// People in it.
    pub people: usize,
    /// Their templates.
    pub templates: usize,
    /// Whether the networks are in it.
    pub networks: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        write!(
            f,
            "bundle {} of {} with {}{}, {} bytes, sha256 {}",
            self.counter,
            count(self.people, "person", "people"),
            count(self.templates, "template", "templates"),
            if self.networks {
                " and the networks"
            } else {
                ""
            },
            self.bytes,
            self.sha256
        )
    }
}

/// Runs the verb.
///
/// # Errors
/// Nobody enrolled, no current classifier, a file that cannot be read or written.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let zoo = if args.with_networks {
        Some(global.zoo()?)
    } else {
        None
    };
    let (bytes, mut report) = from_home(&global.home(), zoo.as_ref())?;
    write_atomic(&args.out, &bytes)?;
    report.file = Some(args.out.clone());
    global.format().print(&report)?;
    Ok(Exit::Done)
}

/// Packs a workspace.
///
/// # Errors
/// As for [`run`].
pub fn from_home(home: &Home, networks: Option<&Zoo>) -> Result<(Vec<u8>, Report), Error> {
    let people = home.people()?;
    let trained = home.current_classifier(&people)?;
    let space = &trained.classifier.space;
    let now = unix_ms_now();
    let counter = home.next_counter(now)?;
    let contents = Contents {
        space,
        classifier: &trained.classifier,
        people: &people,
        networks,
        counter,
        created_unix_ms: now,
    };
    let bytes = pack(&contents)?;
    let report = Report {
        file: None,
        bytes: bytes.len(),
        sha256: hex(&sha256(&bytes)),
        counter,
        space: space.as_str().to_owned(),
        people: people.len(),
        templates: people.iter().map(|p| p.templates.len()).sum(),
        networks: networks.is_some(),
    };
    Ok((bytes, report))
}
