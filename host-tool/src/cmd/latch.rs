//! `facelatch door`: lets somebody in from afar, begins and ends a lockdown, ends lockouts, and says that somebody left.

use std::fmt;

use facelatch_protocol::{DoorState, PersonId};
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    cmd::{door::connect, events::clock, people::parse_id},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
`unlock` lets somebody in, for as long as the door lets anybody in (door.unlock_ms), and takes the role operator.
`lockdown` keeps everybody out until `release`, through restarts of the door too; both take the role admin. Whoever is
inside gets out by request to exit, and everybody by the fire input. The door puts this host's name on record.
`clear-lockout` ends what too many denials in a row have locked, faces and PINs, and begins a new ledger where the door says
that its own is damaged; visits used and who is inside are forgotten then. `passed-out` says that somebody left, for doors
whose policy has a passback rule. Both take the role operator.

Exit code 1: the door does not do it, because something is broken (see `facelatch status`); a lockdown is on record all the
same. Exit code 3: the door refused.

Example: facelatch door unlock --to 192.0.2.7:7117
Example: facelatch door lockdown --to reception --json
Example: facelatch door release --to reception
Example: facelatch door clear-lockout --to reception
Example: facelatch door passed-out ada --to reception")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// The door: HOST[:PORT], a serial device such as /dev/ttyUSB0[@BAUD], or the name of a paired door.
    // An argument of all verbs below cannot be required: `run` asks for it.
    #[arg(long, global = true, value_name = "HOST:PORT|TTY|NAME")]
    to: Option<String>,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Let somebody in now.
    Unlock,
    /// Let nobody in until `release`.
    Lockdown,
    /// End the lockdown.
    Release,
    /// End every lockout: faces and PINs count from zero again.
    ClearLockout,
    /// Say that somebody left.
    PassedOut {
        /// The person's id.
        #[arg(value_parser = parse_id)]
        id: PersonId,
    },
}

#[derive(Serialize)]
struct Report {
    device: String,
    done: &'static str,
    door: &'static str,
    unlocked_until_unix_ms: Option<u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, door {}", self.device, self.done, self.door)?;
        match self.unlocked_until_unix_ms {
            Some(until) => write!(f, " until {}", clock(until)),
            None => Ok(()),
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// An unreachable door, or one that refuses.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let to = args.to.as_deref().ok_or_else(|| {
        Error::Usage("name the door: --to HOST:PORT, a serial device or a door's name".into())
    })?;
    let mut client = connect(&global.home(), to)?;
    let (done, state) = match &args.verb {
        Verb::Unlock => ("unlocked", client.unlock()),
        Verb::Lockdown => ("locked down", client.lockdown(true)),
        Verb::Release => ("released", client.lockdown(false)),
        Verb::ClearLockout => {
            let done = client.clear_lockout();
            ("lockouts ended", done.and_then(|()| client.door_state()))
        }
        Verb::PassedOut { id } => {
            let done = client.passed_out(id);
            ("noted", done.and_then(|()| client.door_state()))
        }
    };
    let state = state.map_err(Error::from)?;
    global.format().print(&Report {
        device: client.device().to_owned(),
        done,
        door: state.as_str(),
        unlocked_until_unix_ms: state.until_unix_ms(),
    })?;
    Ok(match state {
        DoorState::Fault => Exit::No,
        DoorState::Starting
        | DoorState::Locked
        | DoorState::Unlocked { .. }
        | DoorState::Stopped
        | DoorState::OpenBySchedule
        | DoorState::HeldOpen
        | DoorState::ForcedOpen
        | DoorState::LockedDown
        | DoorState::Fire => Exit::Done,
    })
}
