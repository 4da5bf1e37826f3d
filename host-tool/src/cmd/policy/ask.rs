//! `facelatch policy ask`: what a door would say, and why.

use std::{fmt, path::PathBuf};

use facelatch_policy::{Clock, Passback, Policy, Refuse};
use facelatch_protocol::{PersonId, Reason};
use serde::Serialize;

use super::{Read, read};
use crate::{
    Error, Exit,
    cli::Global,
    cmd::events::clock,
    home::{Home, unix_ms_now},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Visits that were used up, lockouts and who is inside are known at the door alone.

Example: facelatch policy ask --person ada --at 2026-12-24T17:00 --door front")]
pub(super) struct Args {
    /// The policy [default: the workspace's].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Who.
    #[arg(long, value_name = "ID")]
    person: String,
    /// When: a time in the policy's zone, one with an offset (2026-12-24T16:00Z), "now", or "unknown".
    #[arg(long, value_name = "TIME", default_value = "now")]
    at: String,
    /// Which door, by its name in the policy.
    #[arg(long, value_name = "NAME")]
    door: String,
}

#[derive(Serialize)]
struct Answer {
    person: String,
    door: String,
    /// Null for an unknown time.
    at_unix_ms: Option<u64>,
    passes: bool,
    reason: &'static str,
    pin_needed: bool,
    /// How often in all; null for any number.
    visits: Option<u32>,
    /// "off", "soft" or "hard".
    passback: Option<&'static str>,
    admin: bool,
    /// Whether the schedule holds the door open then.
    held_open: bool,
    /// When that changes; null if not within 400 days.
    held_open_changes_unix_ms: Option<u64>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.passes {
            true => write!(f, "yes: {} passes {}", self.person, self.door)?,
            false => write!(
                f,
                "no: {} does not pass {} ({})",
                self.person, self.door, self.reason
            )?,
        }
        if self.pin_needed {
            f.write_str(", with a PIN")?;
        }
        if let Some(visits) = self.visits {
            write!(f, ", {visits} times in all")?;
        }
        if self.held_open {
            f.write_str("\nthe door is held open by the schedule")?;
        }
        match self.held_open_changes_unix_ms {
            Some(at) if self.held_open => write!(f, " until {}", clock(at)),
            Some(at) => write!(f, "\nthe schedule opens the door at {}", clock(at)),
            None => Ok(()),
        }
    }
}

/// Asks. The answer no is an exit code.
pub(super) fn run(global: &Global, home: &Home, args: &Args) -> Result<Exit, Error> {
    let Read { policy, .. } = read(home, args.file.as_ref())?;
    let person = PersonId::parse(&args.person)
        .map_err(|why| Error::Usage(format!("the person {:?} {why}", args.person)))?;
    let at = time(&policy, &args.at)?;
    let pass = policy.may_pass(&person, at, &args.door);
    let (reason, passes) = match pass {
        Ok(_) => (Reason::Granted, true),
        Err(refuse) => (reason(refuse), false),
    };
    let at_unix_ms = match at {
        Clock::Known { unix_ms } => Some(unix_ms),
        Clock::Unknown => None,
    };
    global.format().print(&Answer {
        person: person.to_string(),
        door: args.door.clone(),
        at_unix_ms,
        passes,
        reason: reason.as_str(),
        pin_needed: pass.is_ok_and(|pass| pass.pin_needed),
        visits: pass.ok().and_then(|pass| pass.visits),
        passback: pass.ok().map(|pass| passback(pass.passback)),
        admin: policy.is_admin(&person),
        held_open: policy.holds_open(at, &args.door),
        held_open_changes_unix_ms: at_unix_ms.and_then(|at| policy.next_change(at, &args.door)),
    })?;
    Ok(if passes { Exit::Done } else { Exit::No })
}

fn time(policy: &Policy, text: &str) -> Result<Clock, Error> {
    let known = |unix_ms| Clock::Known { unix_ms };
    let with_offset = || {
        let instant: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(instant.as_millisecond()).ok()
    };
    match text {
        "unknown" => Ok(Clock::Unknown),
        "now" => Ok(known(unix_ms_now())),
        text => policy
            .unix_ms_of(text)
            .or_else(with_offset)
            .map(known)
            .ok_or_else(|| {
                Error::Usage(format!(
                    "{text:?} is no time: write 2026-12-24T17:00, now or unknown"
                ))
            }),
    }
}

/// What a door puts on record.
fn reason(refuse: Refuse) -> Reason {
    match refuse {
        Refuse::DenyListed => Reason::DenyListed,
        Refuse::Disabled => Reason::Disabled,
        Refuse::NotHere => Reason::NotHere,
        Refuse::NotValid => Reason::NotValid,
        Refuse::NotNow => Reason::NotNow,
        Refuse::NoClock => Reason::NoClock,
    }
}

fn passback(passback: Passback) -> &'static str {
    match passback {
        Passback::Off => "off",
        Passback::Soft => "soft",
        Passback::Hard => "hard",
    }
}
