//! `facelatch status`: how a door is.

use std::fmt;

use facelatch_protocol::{BundleId, DoorState, Refusal, Role, Status, UpdateStatus};
use serde::Serialize;

use crate::{Error, Exit, cli::Global, client::Client, cmd::door::Door, report::count};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
state is a digest over people and bundle: equal on two doors that would decide alike.

trial is a bundle that has yet to prove itself, rolled_back the last one that did not, with the reason.

Exit code 1: the door is in its safe state because something failed.

Example: facelatch status --to 192.0.2.7:7117 --json")]
pub struct Args {
    #[command(flatten)]
    door: Door,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = DoorStatus)]
pub(crate) struct Report {
    device: String,
    board: String,
    software: String,
    protocol: u16,
    space: Option<String>,
    people: u32,
    templates: u32,
    active: Option<Bundle>,
    previous: Option<Bundle>,
    state: String,
    uptime_ms: u64,
    unix_ms: u64,
    frames: u64,
    door: &'static str,
    unlocked_until_unix_ms: Option<u64>,
    last_fault: Option<Fault>,
    free_bytes: u64,
    /// This host's.
    role: &'static str,
    /// Null if the door does not tell a host of this role.
    update: Option<Update>,
}

/// How the last update went.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = DoorUpdate)]
pub(crate) struct Update {
    trial: Option<Trial>,
    rolled_back: Option<RolledBack>,
    highest_counter: u64,
    keys_serial: Option<u64>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = DoorTrial)]
pub(crate) struct Trial {
    sha256: String,
    counter: u64,
    frames_left: u32,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = DoorRolledBack)]
pub(crate) struct RolledBack {
    sha256: String,
    counter: u64,
    unix_ms: u64,
    reason: &'static str,
    text: String,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = DoorBundle)]
pub(crate) struct Bundle {
    sha256: String,
    counter: u64,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = DoorFault)]
pub(crate) struct Fault {
    unix_ms: u64,
    text: String,
}

impl From<BundleId> for Bundle {
    fn from(id: BundleId) -> Bundle {
        Bundle {
            sha256: id.digest.to_string(),
            counter: id.counter,
        }
    }
}

impl From<UpdateStatus> for Update {
    fn from(update: UpdateStatus) -> Update {
        Update {
            trial: update.trial.map(|trial| Trial {
                sha256: trial.id.digest.to_string(),
                counter: trial.id.counter,
                frames_left: trial.frames_left,
            }),
            rolled_back: update.rolled_back.map(|back| RolledBack {
                sha256: back.id.digest.to_string(),
                counter: back.id.counter,
                unix_ms: back.unix_ms,
                reason: back.reason.as_str(),
                text: back.text.to_string(),
            }),
            highest_counter: update.highest_counter,
            keys_serial: update.keys_serial,
        }
    }
}

impl Report {
    fn new(status: Status, role: Role, update: Option<UpdateStatus>) -> Report {
        Report {
            device: status.device.to_string(),
            board: status.board.to_string(),
            software: status.software.to_string(),
            protocol: status.protocol,
            space: status.space.map(|space| space.to_string()),
            people: status.people,
            templates: status.templates,
            active: status.active.map(Bundle::from),
            previous: status.previous.map(Bundle::from),
            state: status.state.to_string(),
            uptime_ms: status.uptime_ms,
            unix_ms: status.unix_ms,
            frames: status.frames,
            door: status.door.as_str(),
            unlocked_until_unix_ms: status.door.until_unix_ms(),
            last_fault: status.last_fault.map(|fault| Fault {
                unix_ms: fault.unix_ms,
                text: fault.text.to_string(),
            }),
            free_bytes: status.free_bytes,
            role: role.as_str(),
            update: update.map(Update::from),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.device, self.door)?;
        let people = count(self.people as usize, "person", "people");
        let templates = count(self.templates as usize, "template", "templates");
        writeln!(f, "  people    {people}, {templates}")?;
        writeln!(
            f,
            "  networks  {}",
            self.space.as_deref().unwrap_or("none yet")
        )?;
        match &self.active {
            Some(bundle) => writeln!(f, "  bundle    {} ({})", bundle.counter, bundle.sha256)?,
            None => writeln!(f, "  bundle    none yet")?,
        }
        if let Some(update) = &self.update {
            update.fmt(f)?;
        }
        writeln!(f, "  state     {}", self.state)?;
        writeln!(
            f,
            "  runs      {} frames in {:.0} s",
            self.frames,
            self.uptime_ms as f64 / 1e3
        )?;
        writeln!(
            f,
            "  software  {} on {}, protocol {}",
            self.software, self.board, self.protocol
        )?;
        writeln!(f, "  disk      {:.0} MB free", self.free_bytes as f64 / 1e6)?;
        writeln!(f, "  paired    this host as {}", self.role)?;
        match &self.last_fault {
            Some(fault) => write!(
                f,
                "  last fault at {}: {}",
                super::events::clock(fault.unix_ms),
                fault.text
            ),
            None => Ok(()),
        }
    }
}

impl Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(trial) = &self.trial {
            let left = count(trial.frames_left as usize, "frame", "frames");
            writeln!(f, "  on trial  {} ({left} left)", trial.counter)?;
        }
        if let Some(back) = &self.rolled_back {
            writeln!(
                f,
                "  went back from {} at {} ({}): {}",
                back.counter,
                super::events::clock(back.unix_ms),
                back.reason,
                back.text
            )?;
        }
        match self.keys_serial {
            Some(serial) => writeln!(
                f,
                "  highest   bundle {}, signing keys {serial}",
                self.highest_counter
            ),
            None => writeln!(
                f,
                "  highest   bundle {}, no signing keys yet",
                self.highest_counter
            ),
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// An unreachable door, or one that refuses.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let mut client = args.door.connect(&global.home())?;
    let report = ask(&mut client)?;
    global.format().print(&report)?;
    let faulty = report.door == DoorState::Fault.as_str();
    Ok(if faulty { Exit::No } else { Exit::Done })
}

/// Asks a door how it is.
///
/// # Errors
/// As any request.
pub(crate) fn ask(client: &mut Client) -> Result<Report, Error> {
    let status = client.status()?;
    let update = match client.update_status() {
        Ok(update) => Some(update),
        Err(error) if matches!(error.refusal(), Some(Refusal::Role { .. })) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Report::new(status, client.role(), update))
}
