//! `facelatch events`: what happens at a door, as it happens.

use std::{
    fmt,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use facelatch_protocol::{Enrollment, Event, EventKind, Lockout, NotEnrolled, Opener};
use serde::Serialize;

use crate::{Error, Exit, cli::Global, cmd::door::Door};

/// Without --follow, what the door kept has come when nothing more comes for this long.
const QUIET: Duration = Duration::from_secs(1);

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints the events the door has kept, one a line; with --follow goes on with new ones until interrupted or the door ends.
seq counts from 1 and never repeats: give --from the last one plus 1 to go on.

Exit code 4: the connection was lost.

Example: facelatch events --to 192.0.2.7:7117 --follow --json")]
pub struct Args {
    #[command(flatten)]
    door: Door,
    /// Go on with new events.
    #[arg(long)]
    follow: bool,
    /// First event wanted [default: the oldest kept; with --follow: only new ones].
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
}

/// An event as reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventReport {
    /// Its number.
    pub seq: u64,
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A visit was decided.
    Decision {
        /// "granted" or "denied".
        decision: &'static str,
        /// Why.
        reason: &'static str,
        /// The enrolled person named.
        person: Option<String>,
        /// Cosine distance to the nearest template.
        distance: Option<f32>,
        /// The classifier's probability.
        probability: Option<f32>,
        /// From frame to decision.
        latency_ms: u32,
    },
    /// The door changed state.
    Door {
        /// Its state.
        door: &'static str,
        /// When it locks again.
        until_unix_ms: Option<u64>,
    },
    /// A bundle moved a step.
    Update {
        /// Which.
        sha256: String,
        /// Which step.
        step: String,
    },
    /// A bundle did not prove itself; the one before is in use again.
    RolledBack {
        /// Which.
        sha256: String,
        /// Why, in a word.
        reason: &'static str,
        /// What failed.
        text: String,
    },
    /// Something failed.
    Fault {
        /// What.
        text: String,
    },
    /// Events before this one were not sent.
    Missed {
        /// How many.
        count: u64,
    },
    /// Something other than a face opens the door.
    Opened {
        /// "exit", "host" or "schedule".
        by: &'static str,
        /// The host's key.
        host: Option<String>,
        /// The host's name.
        name: Option<String>,
    },
    /// A host began or ended a lockdown.
    Lockdown {
        /// Whether it began.
        on: bool,
        /// The host's key.
        host: String,
        /// The host's name.
        name: String,
    },
    /// An alarm began or ended.
    Alarm {
        /// Which.
        alarm: &'static str,
        /// Whether it began.
        on: bool,
    },
    /// Whoever stands at the door is asked for something.
    Prompt {
        /// What.
        prompt: &'static str,
    },
    /// An enrollment at the door moved a step.
    Enrollment {
        /// Which step.
        enrollment: &'static str,
        /// The newcomer, the admin who vouches, or whose face it is already.
        person: Option<String>,
        /// The step in words.
        text: String,
    },
    /// Denials piled up, or an operator ended that.
    Lockout {
        /// "waiting", "disabled" or "cleared".
        lockout: &'static str,
        /// Whose PIN.
        person: Option<String>,
        /// When it ends.
        until_unix_ms: Option<u64>,
        /// In words.
        text: String,
    },
    /// Somebody let themselves in with a duress code.
    Duress {
        /// Who.
        person: String,
    },
    /// Somebody left.
    PassedOut {
        /// Who.
        person: String,
    },
}

impl From<Enrollment> for What {
    fn from(step: Enrollment) -> What {
        let person = match &step {
            Enrollment::Vouched { admin } => Some(admin),
            Enrollment::Done { person, .. }
            | Enrollment::Refused(NotEnrolled::AlreadyEnrolled { person }) => Some(person),
            Enrollment::Asked
            | Enrollment::Opened { .. }
            | Enrollment::Taken { .. }
            | Enrollment::Refused(_) => None,
        };
        What::Enrollment {
            enrollment: step.as_str(),
            person: person.map(ToString::to_string),
            text: step.to_string(),
        }
    }
}

impl From<Lockout> for What {
    fn from(lockout: Lockout) -> What {
        let (person, until_unix_ms) = match &lockout {
            Lockout::Waiting {
                person,
                until_unix_ms,
                ..
            } => (person.as_ref(), Some(*until_unix_ms)),
            Lockout::Disabled { person, .. } => (person.as_ref(), None),
            Lockout::Cleared { .. } => (None, None),
        };
        What::Lockout {
            lockout: lockout.as_str(),
            person: person.map(ToString::to_string),
            until_unix_ms,
            text: lockout.to_string(),
        }
    }
}

impl From<Opener> for What {
    fn from(opener: Opener) -> What {
        let (by, host, name) = match opener {
            Opener::Exit => ("exit", None, None),
            Opener::Schedule => ("schedule", None, None),
            Opener::Host { host, name } => ("host", Some(host.to_string()), Some(name.to_string())),
        };
        What::Opened { by, host, name }
    }
}

impl From<Event> for EventReport {
    fn from(event: Event) -> EventReport {
        let what = match event.kind {
            EventKind::Decision {
                granted,
                reason,
                person,
                distance,
                probability,
                latency_ms,
            } => What::Decision {
                decision: if granted { "granted" } else { "denied" },
                reason: reason.as_str(),
                person: person.map(|person| person.to_string()),
                distance,
                probability,
                latency_ms,
            },
            EventKind::Door(state) => What::Door {
                door: state.as_str(),
                until_unix_ms: state.until_unix_ms(),
            },
            EventKind::Update { digest, step } => What::Update {
                sha256: digest.to_string(),
                step: step.to_string(),
            },
            EventKind::RolledBack {
                digest,
                reason,
                text,
            } => What::RolledBack {
                sha256: digest.to_string(),
                reason: reason.as_str(),
                text: text.to_string(),
            },
            EventKind::Fault(text) => What::Fault {
                text: text.to_string(),
            },
            EventKind::Missed { count } => What::Missed { count },
            EventKind::Opened(opener) => opener.into(),
            EventKind::Lockdown { on, host, name } => What::Lockdown {
                on,
                host: host.to_string(),
                name: name.to_string(),
            },
            EventKind::Alarm { alarm, on } => What::Alarm {
                alarm: alarm.as_str(),
                on,
            },
            EventKind::Prompt(prompt) => What::Prompt {
                prompt: prompt.as_str(),
            },
            EventKind::Enrollment(step) => step.into(),
            EventKind::Lockout(lockout) => lockout.into(),
            EventKind::Duress { person } => What::Duress {
                person: person.to_string(),
            },
            EventKind::PassedOut { person } => What::PassedOut {
                person: person.to_string(),
            },
        };
        EventReport {
            seq: event.seq,
            unix_ms: event.unix_ms,
            what,
        }
    }
}

impl fmt::Display for EventReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6} {} {}", self.seq, clock(self.unix_ms), self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Decision {
                decision,
                reason,
                person,
                distance,
                probability,
                latency_ms,
            } => {
                match person {
                    Some(person) if *decision == "granted" => write!(f, "granted {person}")?,
                    Some(nearest) => write!(f, "denied somebody, nearest {nearest} ({reason})")?,
                    None => write!(f, "{decision} somebody ({reason})")?,
                }
                if let Some(distance) = distance {
                    write!(f, ", distance {distance:.3}")?;
                }
                if let Some(probability) = probability {
                    write!(f, ", probability {probability:.3}")?;
                }
                write!(f, ", {latency_ms} ms")
            }
            What::Door { door, .. } => write!(f, "door {door}"),
            What::Update { sha256, step } => write!(f, "bundle {:.12} {step}", sha256),
            What::RolledBack {
                sha256,
                reason,
                text,
            } => write!(f, "bundle {sha256:.12} rolled back ({reason}): {text}"),
            What::Fault { text } => write!(f, "fault: {text}"),
            What::Missed { count } => write!(f, "{count} events before this one were not sent"),
            What::Opened { by, host, name } => match (name, host) {
                (Some(name), Some(host)) => write!(f, "unlocked by {name} ({host:.8})"),
                (Some(_) | None, _) => write!(f, "unlocked by {by}"),
            },
            What::Lockdown { on, host, name } => {
                let what = if *on { "lockdown" } else { "lockdown ended" };
                write!(f, "{what} by {name} ({host:.8})")
            }
            What::Alarm { alarm, on: true } => write!(f, "alarm: {alarm}"),
            What::Alarm { alarm, on: false } => write!(f, "alarm over: {alarm}"),
            What::Prompt { prompt } => write!(f, "prompt: {prompt}"),
            What::Enrollment { text, .. } => write!(f, "enrollment: {text}"),
            What::Lockout { text, .. } => write!(f, "lockout: {text}"),
            What::Duress { person } => write!(f, "DURESS: {person} was made to open"),
            What::PassedOut { person } => write!(f, "{person} left"),
        }
    }
}

/// A wall time for people, in UTC.
#[must_use]
pub fn clock(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| format!("{unix_ms} ms"), |time| format!("{time:.3}"))
}

/// Runs the verb.
///
/// # Errors
/// An unreachable door, one that refuses, or a connection that was lost.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let client = args.door.connect(&global.home())?;
    // 0 means new ones only.
    let from = args.from.unwrap_or(if args.follow { 0 } else { 1 });
    let events = client.events(from).map_err(Error::from)?;
    if args.follow {
        for event in events {
            global
                .format()
                .print(&EventReport::from(event.map_err(Error::from)?))?;
        }
        return Ok(Exit::Done);
    }
    let (sender, receiver) = channel();
    // Left waiting for a further event when this returns: the end of the process ends it.
    thread::Builder::new()
        .name("events".to_owned())
        .spawn(move || {
            for event in events {
                if sender.send(event).is_err() {
                    return;
                }
            }
        })
        .map_err(Error::storage("start", "a thread"))?;
    loop {
        match receiver.recv_timeout(QUIET) {
            Ok(event) => global
                .format()
                .print(&EventReport::from(event.map_err(Error::from)?))?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Ok(Exit::Done);
            }
        }
    }
}
