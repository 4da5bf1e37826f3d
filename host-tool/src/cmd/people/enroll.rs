//! `facelatch people enroll`: opens an enrollment at a door, and follows it.

use std::fmt;

use facelatch_protocol::{Enrollment, EventKind};
use serde::Serialize;

use super::{parse_id, parse_name};
use crate::{
    Error, Exit,
    cli::Global,
    cmd::{door::connect, events::EventReport},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Id to give [default: the door makes one up; rename it later].
    #[arg(long, value_name = "ID")]
    person: Option<String>,
    /// Name to show [default: the id, or one the door makes up].
    #[arg(long)]
    name: Option<String>,
    /// Tell what the door asks for, until somebody is enrolled or refused.
    #[arg(long)]
    follow: bool,
}

#[derive(Serialize)]
struct Opened {
    device: String,
    done: &'static str,
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.device, self.done)
    }
}

/// Runs the verb.
///
/// # Errors
/// A wrong id or name, no door, one that refuses, or a connection that was lost.
pub(super) fn run(global: &Global, args: &Args, to: Option<&str>) -> anyhow::Result<Exit> {
    let person = args.person.as_deref().map(parse_id).transpose()?;
    let name = args.name.as_deref().or(args.person.as_deref());
    let name = name.map(parse_name).transpose()?;
    let to = to.ok_or_else(|| {
        Error::Usage("name the door: --to HOST:PORT, a serial device or a door's name".into())
    })?;
    let mut client = connect(&global.home(), to)?;
    // The first event of this enrollment, or one just before it.
    let next_seq = client
        .audit_page(u64::MAX)
        .map_err(Error::from)?
        .head
        .next_seq;
    client.enrollment_open(person, name).map_err(Error::from)?;
    global.format().print(&Opened {
        device: client.device().to_owned(),
        done: "waiting for somebody to enroll",
    })?;
    if !args.follow {
        return Ok(Exit::Done);
    }
    for event in client.events(next_seq).map_err(Error::from)? {
        let event = event.map_err(Error::from)?;
        let ended = match &event.kind {
            EventKind::Enrollment(Enrollment::Done { .. }) => Some(Exit::Done),
            EventKind::Enrollment(Enrollment::Refused(_)) => Some(Exit::Refused),
            EventKind::Enrollment(
                Enrollment::Asked
                | Enrollment::Vouched { .. }
                | Enrollment::Opened { .. }
                | Enrollment::Taken { .. },
            )
            | EventKind::Prompt(_)
            | EventKind::Fault(_)
            | EventKind::Missed { .. } => None,
            EventKind::Decision { .. }
            | EventKind::Door(_)
            | EventKind::Update { .. }
            | EventKind::RolledBack { .. }
            | EventKind::Opened(_)
            | EventKind::Lockdown { .. }
            | EventKind::Alarm { .. }
            | EventKind::Lockout(_)
            | EventKind::Duress { .. }
            | EventKind::PassedOut { .. } => continue,
        };
        global.format().print(&EventReport::from(event))?;
        if let Some(exit) = ended {
            return Ok(exit);
        }
    }
    Ok(Exit::Failed)
}
