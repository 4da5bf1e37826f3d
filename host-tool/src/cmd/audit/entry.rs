//! One record as `facelatch audit show` prints it.

use std::fmt;

use facelatch_protocol::{
    Event,
    audit::{Entry, What},
};
use serde::Serialize;

use crate::cmd::events::{self, EventReport, clock};

/// A record as reported.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) seq: u64,
    unix_ms: Option<u64>,
    #[serde(flatten)]
    what: Shown,
}

/// What it says.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
enum Shown {
    Started {
        software: String,
    },
    Stopped,
    Event(events::What),
    PersonAdded {
        person: String,
    },
    PersonRenamed {
        person: String,
    },
    PersonRemoved {
        person: String,
    },
    TemplatesAdded {
        person: String,
        count: u32,
    },
    ClockSet {
        moved_ms: i64,
    },
    Recovered {
        recovered: String,
    },
    HostPaired {
        host: String,
        name: String,
        role: &'static str,
    },
    HostRevoked {
        host: String,
    },
    PairingOpened {
        role: &'static str,
    },
    PairingClosed,
    WrongCode {
        tries_left: u8,
    },
    KeysReplaced {
        serial: u64,
    },
    GalleryRecovered {
        damaged: String,
    },
    PersonMoved {
        person: String,
        to: String,
    },
    RelayTested {
        line: u32,
        pulse_ms: u32,
    },
    /// Words of a newer version.
    Unreadable,
}

impl Line {
    /// The record `seq`; no entry if this version cannot read it.
    pub(crate) fn new(seq: u64, entry: Option<Entry>) -> Line {
        let Some(Entry { unix_ms, what, .. }) = entry else {
            return Line {
                seq,
                unix_ms: None,
                what: Shown::Unreadable,
            };
        };
        let what = match what {
            What::Started { software } => Shown::Started {
                software: software.to_string(),
            },
            What::Stopped => Shown::Stopped,
            What::Event(kind) => Shown::Event(EventReport::from(Event { seq, unix_ms, kind }).what),
            What::PersonAdded { person } => Shown::PersonAdded {
                person: person.to_string(),
            },
            What::PersonRenamed { person } => Shown::PersonRenamed {
                person: person.to_string(),
            },
            What::PersonRemoved { person } => Shown::PersonRemoved {
                person: person.to_string(),
            },
            What::TemplatesAdded { person, count } => Shown::TemplatesAdded {
                person: person.to_string(),
                count,
            },
            What::ClockSet { moved_ms } => Shown::ClockSet { moved_ms },
            What::Recovered { what } => Shown::Recovered {
                recovered: what.to_string(),
            },
            What::HostPaired { host, name, role } => Shown::HostPaired {
                host: host.to_string(),
                name: name.to_string(),
                role: role.as_str(),
            },
            What::HostRevoked { host } => Shown::HostRevoked {
                host: host.to_string(),
            },
            What::PairingOpened { role } => Shown::PairingOpened {
                role: role.as_str(),
            },
            What::PairingClosed => Shown::PairingClosed,
            What::WrongCode { tries_left } => Shown::WrongCode { tries_left },
            What::KeysReplaced { serial } => Shown::KeysReplaced { serial },
            What::GalleryRecovered { what } => Shown::GalleryRecovered {
                damaged: what.to_string(),
            },
            What::PersonMoved { person, to } => Shown::PersonMoved {
                person: person.to_string(),
                to: to.to_string(),
            },
            What::RelayTested { line, pulse_ms } => Shown::RelayTested { line, pulse_ms },
        };
        Line {
            seq,
            unix_ms: Some(unix_ms),
            what,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.unix_ms.map_or_else(String::new, clock);
        write!(f, "{:6} {time} ", self.seq)?;
        match &self.what {
            Shown::Started { software } => write!(f, "started, version {software}"),
            Shown::Stopped => f.write_str("stopped"),
            Shown::Event(what) => what.fmt(f),
            Shown::PersonAdded { person } => write!(f, "added {person}"),
            Shown::PersonRenamed { person } => write!(f, "renamed {person}"),
            Shown::PersonRemoved { person } => write!(f, "removed {person}"),
            Shown::TemplatesAdded { person, count } => {
                write!(f, "{count} templates added to {person}")
            }
            Shown::ClockSet { moved_ms } => write!(f, "clock set, moved by {moved_ms} ms"),
            Shown::Recovered { recovered } => write!(f, "fault is gone: {recovered}"),
            Shown::HostPaired { host, name, role } => {
                write!(f, "paired with host {name} ({host:.12}) as {role}")
            }
            Shown::HostRevoked { host } => write!(f, "revoked host {host:.12}"),
            Shown::PairingOpened { role } => write!(f, "pairing window opened, for {role} at most"),
            Shown::PairingClosed => f.write_str("pairing window closed"),
            Shown::WrongCode { tries_left } => {
                write!(f, "wrong pairing code, {tries_left} more tries")
            }
            Shown::KeysReplaced { serial } => write!(f, "signing keys replaced, serial {serial}"),
            Shown::GalleryRecovered { damaged } => {
                write!(
                    f,
                    "gallery was damaged ({damaged}) and read back from its export"
                )
            }
            Shown::PersonMoved { person, to } => write!(f, "{person} is called {to} now"),
            Shown::RelayTested { line, pulse_ms } => {
                write!(f, "relay on line {line} tried by hand, for {pulse_ms} ms")
            }
            Shown::Unreadable => f.write_str("something this version has no words for"),
        }
    }
}
