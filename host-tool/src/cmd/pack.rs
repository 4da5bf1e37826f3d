//! `facelatch pack`: enrolled people, classifier and whatever else a door needs as one signed bundle file.

use std::{fmt, fs, path::PathBuf};

use facelatch_models::{embedding::SpaceId, zoo::Zoo};
use facelatch_policy::Policy;
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    home::{Home, unix_ms_now},
    pack::{Contents, Unsigned, gather as gather_parts},
    report::count,
    sealed::write_atomic,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The bundle holds the calibration too, once `facelatch calibrate` has made one, and the workspace's policy.toml, if there is
one: it is checked first. A door obeys the policy of its bundle, and none if the bundle has none.

The bundle is signed with one of the two keys of this workspace, see `facelatch keys --help`; a door takes it if it trusts
that key. It holds crops with the embeddings the networks give for them here, which the door checks bit for bit.

A door that already has the networks of this embedding space needs only the people and the classifier, a few kilobytes;
--with-networks adds the networks (tens of megabytes), of which a push sends only the files the door has not got.

Example: facelatch pack --out front-door.flb && facelatch push front-door.flb --to 192.0.2.7:7117")]
pub struct Args {
    /// The bundle file to write.
    #[arg(long, value_name = "FILE", default_value = "facelatch.flb")]
    out: PathBuf,
    #[command(flatten)]
    what: What,
}

/// What to put into a bundle.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(id = "what", multiple = true)]
pub struct What {
    /// Put the networks into the bundle too.
    #[arg(long)]
    pub with_networks: bool,
    /// Leave people and classifier out.
    #[arg(long)]
    pub without_people: bool,
    /// Put this policy into the bundle, who may pass when [default: the workspace's policy.toml, if there is one].
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Leave the policy out: whoever is enrolled passes at any time.
    #[arg(long, conflicts_with = "policy")]
    pub without_policy: bool,
    /// Leave the crops out by which the door tests the networks.
    #[arg(long)]
    pub without_self_test: bool,
    /// Have the door forget also the people who were enrolled at the door itself.
    #[arg(long, conflicts_with = "without_people")]
    pub replace: bool,
}

/// What was packed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The file, if one was written.
    pub file: Option<PathBuf>,
    /// Its size.
    pub bytes: usize,
    /// The bundle's name: the digest of its manifest, which holds those of all parts.
    pub sha256: String,
    /// Its counter.
    pub counter: u64,
    /// Embedding space.
    pub space: String,
    /// People in it.
    pub people: usize,
    /// Their templates.
    pub templates: usize,
    /// Whether a calibration is in it.
    pub calibration: bool,
    /// Whether the networks are in it.
    pub networks: bool,
    /// Whether a policy is in it.
    pub policy: bool,
    /// Whether it replaces people enrolled at the door.
    pub replace: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        write!(
            f,
            "bundle {} of {} with {}",
            self.counter,
            count(self.people, "person", "people"),
            count(self.templates, "template", "templates"),
        )?;
        let more = [
            (self.calibration, "a calibration"),
            (self.networks, "the networks"),
            (self.policy, "a policy"),
        ];
        for (_, what) in more.iter().filter(|(there, _)| *there) {
            write!(f, " and {what}")?;
        }
        write!(f, ", {} bytes, sha256 {}", self.bytes, self.sha256)
    }
}

/// Runs the verb.
///
/// # Errors
/// Nobody enrolled, no current classifier, a file that cannot be read or written.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let home = global.home();
    let (bytes, mut report) =
        gather(&home, &args.what, |space| global.zoo_of(space))?.sign(&home, 0)?;
    write_atomic(&args.out, &bytes)?;
    report.file = Some(args.out.clone());
    global.format().print(&report)?;
    Ok(Exit::Done)
}

/// A workspace's parts of a bundle, ready to be signed.
#[derive(Debug)]
pub struct Gathered {
    unsigned: Unsigned,
    space: SpaceId,
    people: usize,
    templates: usize,
    calibration: bool,
    policy: bool,
    what: What,
}

/// Makes the parts; `zoo` is only opened if they take it, for the space of the people if they go along.
///
/// # Errors
/// As for [`run`].
pub fn gather(
    home: &Home,
    what: &What,
    zoo: impl FnOnce(Option<&SpaceId>) -> Result<Zoo, Error>,
) -> Result<Gathered, Error> {
    let people = match what.without_people {
        true => None,
        false => Some(home.enrolled()?.people),
    };
    let head = home.head()?;
    let trained = match &people {
        Some(people) => Some(home.current_classifier(people)?),
        None => None,
    };
    let policy = policy(home, what)?;
    let needs_zoo = what.with_networks || !what.without_self_test || trained.is_none();
    let space = trained.as_ref().map(|trained| &trained.classifier.space);
    // The networks' own space, which the head's is made from.
    let base = head.as_ref().map(|head| &head.learned().base).or(space);
    let zoo = match (needs_zoo, &head) {
        (false, _) => None,
        (true, None) => Some(zoo(base)?),
        (true, Some(head)) => Some(zoo(base)?.with_head(head.clone())?),
    };
    let space = match (space, &zoo) {
        (Some(space), _) => space.clone(),
        (None, Some(zoo)) => zoo.embedder_facts(zoo.chosen())?.0,
        (None, None) => return Err(Error::Bug("a bundle without a space".into())),
    };
    // It fits any people of its space: a door with other people applies it to those.
    let calibrated = home.calibrated()?.map(|c| c.calibration);
    let calibration = calibrated.filter(|c| c.space == space);
    let unsigned = gather_parts(&Contents {
        space: &space,
        networks: zoo.as_ref().filter(|_| what.with_networks),
        head: head.as_ref(),
        classifier: trained.as_ref().map(|trained| &trained.classifier),
        calibration: calibration.as_ref(),
        people: people.as_deref(),
        policy: policy.as_deref().map(str::as_bytes),
        self_test: zoo.as_ref().filter(|_| !what.without_self_test),
        replace: what.replace,
    })?;
    let people = people.unwrap_or_default();
    Ok(Gathered {
        unsigned,
        space,
        people: people.len(),
        templates: people.iter().map(|p| p.templates.len()).sum(),
        calibration: calibration.is_some(),
        policy: policy.is_some(),
        what: what.clone(),
    })
}

/// The policy that goes along: one that doors can read.
fn policy(home: &Home, what: &What) -> Result<Option<String>, Error> {
    let (path, text) = match &what.policy {
        _ if what.without_policy => return Ok(None),
        Some(path) => {
            let read = fs::read_to_string(path).map_err(|error| error.to_string());
            (path.clone(), read)
        }
        None => match home.policy()? {
            Some(text) => (home.policy_path(), Ok(text)),
            None => return Ok(None),
        },
    };
    let checked = text.and_then(|text| match Policy::parse(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(error.to_string()),
    });
    checked.map(Some).map_err(|why| Error::Input { path, why })
}

impl Gathered {
    /// Whether there is no policy in it, and nobody said that there should be none.
    #[must_use]
    pub fn leaves_policy_open(&self) -> bool {
        !self.policy && !self.what.without_policy
    }

    /// Signs them under a counter that is larger than all this workspace gave before, and than `above`.
    ///
    /// # Errors
    /// Signing keys or a counter that cannot be read or written.
    pub fn sign(&self, home: &Home, above: u64) -> Result<(Vec<u8>, Report), Error> {
        let now = unix_ms_now();
        let signer = home.keys().signer()?;
        let counter = home.next_counter(now, above)?;
        let (bytes, id) = self.unsigned.sign(counter, now, &signer)?;
        let report = Report {
            file: None,
            bytes: bytes.len(),
            sha256: id.digest.to_string(),
            counter,
            space: self.space.as_str().to_owned(),
            people: self.people,
            templates: self.templates,
            calibration: self.calibration,
            networks: self.what.with_networks,
            policy: self.policy,
            replace: self.what.replace,
        };
        Ok((bytes, report))
    }
}
