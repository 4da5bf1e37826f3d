//! What goes into the door's state machine and what comes out: events, actions, records.

use std::time::Duration;

use facelatch_boards::{Pattern, Sound};
use facelatch_protocol::{Alarm, DisplayName, PublicKey};

use super::{Cause, Mode};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The device is ready to serve.
    Start,
    /// Policy lets this person pass.
    Grant {
        /// Person id.
        person: String,
    },
    /// Somebody was turned away.
    Denied,
    /// Somebody inside asks to be let out.
    Exit,
    /// The door leaf was seen to be open or closed.
    Leaf {
        /// Whether it is open.
        open: bool,
    },
    /// The tamper contact.
    Tamper {
        /// Whether the case is open.
        on: bool,
    },
    /// The fire input.
    Fire {
        /// Whether there is a fire.
        on: bool,
    },
    /// A host asks to let somebody in.
    Unlock {
        /// Who asks.
        by: Asker,
    },
    /// A host begins or ends a lockdown.
    Lockdown {
        /// Whether it begins.
        on: bool,
        /// Who asks.
        by: Asker,
    },
    /// The schedule says that the door stands open now, or not any more.
    Schedule {
        /// Whether it does.
        open: bool,
    },
    /// Time passed.
    Tick,
    /// Something broke.
    Fault(Cause),
    /// Something works again.
    Recovered(Cause),
    /// The device is going down.
    Stop,
}

/// A paired host that asks something of the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Its key.
    pub host: PublicKey,
    /// Its name, as it said when it paired.
    pub name: DisplayName,
}

/// What has to be done about it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write this to the audit record, on disk before the next action.
    Record(Record),
    /// Drive the relay; not to `Unlocked` if a record before it could not be written.
    Relay(Position),
    /// Unlock for whoever leaves, even if a record before it could not be written: nobody is kept in for a full disk.
    Release,
    /// Show this.
    Indicate(Pattern),
    /// Let this be heard.
    Sound(Sound),
}

/// Where the relay goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The board's declared safe state: the relay at rest.
    Safe,
    /// Holding the door shut.
    Locked,
    /// Letting somebody pass.
    Unlocked,
}

/// A door action as the audit record keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// In service.
    Started,
    /// Somebody may pass; the decision is on record already.
    Granted {
        /// Person id.
        person: String,
    },
    /// Somebody asked to be let out.
    Exit,
    /// A host let somebody in.
    Remote(Asker),
    /// A host began or ended a lockdown.
    Lockdown {
        /// Whether it began.
        on: bool,
        /// Who.
        by: Asker,
    },
    /// The schedule opened or closed the door.
    Schedule {
        /// Whether it opened it.
        open: bool,
    },
    /// An alarm began or ended.
    Alarm {
        /// Which.
        alarm: Alarm,
        /// Whether it began.
        on: bool,
    },
    /// A cause of fault appeared.
    Fault(Cause),
    /// A cause of fault went away.
    Recovered(Cause),
    /// What the door does from now on; follows what led to it.
    Mode(Mode),
    /// Out of service; relay safe.
    Stopped,
}

/// How the door behaves: from `device.toml`, and from the board file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long a grant, a request to exit or a remote unlock keeps the door unlocked.
    pub unlock: Duration,
    /// A leaf that is still open this long after the door locked is held open; `None` for never.
    pub held_open: Option<Duration>,
    /// Whether a leaf that closes ends what was unlocked for a time.
    pub relock_on_close: bool,
    /// Whether people may leave by request to exit during a lockdown.
    pub exit_in_lockdown: bool,
    /// Whether the latch holds the door shut with the relay at rest: fail-secure.
    pub rests_locked: bool,
}
