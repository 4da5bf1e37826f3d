//! `facelatch policy`: who may pass when; written by hand, checked and asked here, obeyed by doors.
//!
//! The rules are `facelatch_policy`'s, the code that doors run. PINs are set in `policy/pin.rs`.

mod ask;
mod pin;

use std::{fmt, fs, path::PathBuf};

use facelatch_policy::{Policy, TEMPLATE};
use facelatch_protocol::PersonId;
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    cmd::door::Door,
    home::Home,
    report::{count, warn},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A policy is one TOML file: time zone, holidays, schedules, groups, people. `template` prints one in which everything is
explained. The workspace's, policy.toml, goes into every bundle that `pack` and `push` make; without one, whoever is
enrolled passes at any time. A person's PIN is in it as a slow hash; the file is for its owner alone all the same.

Exit code 1: `ask`: they may not pass. Exit code 2: the policy is wrong, and where. Exit code 3: the door refused.

Example: facelatch policy template > facelatch-data/policy.toml
Example: facelatch policy check
Example: facelatch policy ask --person ada --at 2026-12-24T17:00 --door front
Example: facelatch policy pin ada
Example: facelatch policy status --to front")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print a policy to begin with.
    Template,
    /// Check a policy, and say what it holds.
    Check {
        /// The policy [default: the workspace's].
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Say whether somebody may pass.
    Ask(ask::Args),
    /// Set somebody's PIN in the workspace's policy.
    Pin(pin::Args),
    /// Say which policy a door obeys, and where things stand under it.
    Status {
        #[command(flatten)]
        door: Door,
    },
}

#[derive(Serialize)]
struct Checked {
    file: PathBuf,
    zone: String,
    people: usize,
    /// People who are asked for a PIN and have none.
    without_pin: Vec<String>,
    /// People with rules who are not enrolled in this workspace.
    not_enrolled: Vec<String>,
}

#[derive(Serialize)]
struct Status {
    device: String,
    /// SHA-256 of the policy; null while there is none.
    policy: Option<String>,
    people: u32,
    /// Whether the door knows what time it is.
    clock: bool,
    /// Whether the schedule holds it open.
    open: bool,
    /// Faces denied in a row.
    denials: u32,
    /// Until then no face opens it; null if any may.
    locked_until_unix_ms: Option<u64>,
    /// People inside, as far as anti-passback knows.
    inside: u32,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: good, rules for {}, times of {}",
            self.file.display(),
            count(self.people, "person", "people"),
            self.zone
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.policy {
            Some(sha256) => write!(
                f,
                "{}: rules for {}, sha256 {sha256}",
                self.device,
                count(self.people as usize, "person", "people")
            )?,
            None => write!(
                f,
                "{}: no policy, whoever is enrolled passes at any time",
                self.device
            )?,
        }
        if !self.clock {
            f.write_str("\nit does not know what time it is: push, or let it reach a time server")?;
        }
        if self.open {
            f.write_str("\nheld open by the schedule")?;
        }
        match self.locked_until_unix_ms {
            Some(u64::MAX) => f.write_str("\nno face opens it until a host ends the lockout")?,
            Some(until) => write!(
                f,
                "\nno face opens it until {}",
                crate::cmd::events::clock(until)
            )?,
            None => {}
        }
        if self.denials > 0 {
            write!(
                f,
                "\n{} in a row",
                count(self.denials as usize, "denial", "denials")
            )?;
        }
        if self.inside > 0 {
            write!(
                f,
                "\n{} inside",
                count(self.inside as usize, "person", "people")
            )?;
        }
        Ok(())
    }
}

/// Runs the verb.
///
/// # Errors
/// A policy that is wrong or not there, an unreachable door, or one that refuses.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let home = global.home();
    match &args.verb {
        Verb::Template => print!("{TEMPLATE}"),
        Verb::Check { file } => global.format().print(&check(&home, file.as_ref())?)?,
        Verb::Ask(args) => return Ok(ask::run(global, &home, args)?),
        Verb::Pin(args) => pin::run(global, &home, args)?,
        Verb::Status { door } => {
            let mut client = door.connect(&home)?;
            let status = client.policy_status().map_err(Error::from)?;
            global.format().print(&Status {
                device: client.device().to_owned(),
                policy: status.policy.map(|digest| digest.to_string()),
                people: status.people,
                clock: status.clock,
                open: status.open,
                denials: status.denials,
                locked_until_unix_ms: status.locked_until_unix_ms,
                inside: status.inside,
            })?;
        }
    }
    Ok(Exit::Done)
}

/// A policy as it stands in its file, and read.
struct Read {
    file: PathBuf,
    policy: Policy,
}

/// Reads a policy, the workspace's if none is named.
fn read(home: &Home, file: Option<&PathBuf>) -> Result<Read, Error> {
    let file = match file {
        Some(file) => file.clone(),
        None if home.policy()?.is_none() => {
            return Err(Error::NotReady(format!(
                "this workspace has no policy: write {}, `facelatch policy template` prints one to begin with",
                home.policy_path().display()
            )));
        }
        None => home.policy_path(),
    };
    let text = fs::read_to_string(&file).map_err(|error| Error::Input {
        path: file.clone(),
        why: error.to_string(),
    })?;
    let policy = Policy::parse(&text).map_err(|error| Error::Input {
        path: file.clone(),
        why: error.to_string(),
    })?;
    Ok(Read { file, policy })
}

fn check(home: &Home, file: Option<&PathBuf>) -> Result<Checked, Error> {
    let Read { file, policy } = read(home, file)?;
    let enrolled: Vec<PersonId> = home.people()?.into_iter().map(|p| p.id).collect();
    let names = |people: Vec<&PersonId>| people.into_iter().map(|p| p.to_string()).collect();
    let not_enrolled = policy
        .people()
        .filter(|id| !enrolled.contains(id))
        .collect();
    let checked = Checked {
        file,
        zone: policy.zone().to_owned(),
        people: policy.people_count(),
        without_pin: names(policy.people_without_pin().collect()),
        not_enrolled: names(not_enrolled),
    };
    for (people, what) in [
        (
            &checked.without_pin,
            "asked for a PIN and without one, they do not pass then (`facelatch policy pin`)",
        ),
        (&checked.not_enrolled, "not enrolled in this workspace"),
    ] {
        if !people.is_empty() {
            warn(&format!("{what}: {}", people.join(", ")));
        }
    }
    Ok(checked)
}
