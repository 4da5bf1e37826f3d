//! The door as a state machine: `step(state, event, now, rules) -> (state, actions)`. Pure: no I/O, time is an argument.
//!
//! A [`State`] is a set of conditions. What the door does, its [`Mode`], is the first line here whose condition holds:
//!
//! | | condition | mode | relay | ends |
//! |---|---|---|---|---|
//! | 1 | taken out of service | `Stopped` | safe | with the next start |
//! | 2 | fire input | `Fire` | unlocked | when the input goes off |
//! | 3 | request to exit | `Unlocked` | unlocked | after `unlock`, or when the leaf has closed |
//! | 4 | no frame seen yet | `Starting` | safe | with the first one |
//! | 5 | something is broken | `Fault` | safe | when everything works again |
//! | 6 | lockdown | `LockedDown` | locked | when an admin's host ends it |
//! | 7 | grant, remote unlock | `Unlocked` | unlocked | as 3 |
//! | 8 | schedule | `OpenBySchedule` | unlocked | by the schedule |
//! | 9 | the leaf was opened and nobody had unlocked it | `ForcedOpen` | locked | when the leaf closes |
//! | 10 | the leaf stays open | `HeldOpen` | locked | when the leaf closes |
//! | 11 | none of these | `Locked` | locked | |
//!
//! The way out comes first (2, 3): building codes let an electric lock keep people out, never in. It stands through faults
//! and lockdowns (a board file can say `during_lockdown = false`) and even where its record cannot be written. Every other
//! unlocking puts its record *before* the relay, and ends with a fault or a lockdown. A fault beats a lockdown, since what a
//! door does without a working controller is the installer's word; on a fail-secure door both hold it shut. What codes ask
//! beyond that (an exit button and a fire panel that cut the lock's power themselves) no program can promise.
//!
//! Called by `run`, through [`drive`].

mod causes;
mod drive;
mod words;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::time::Duration;

use facelatch_boards::{Pattern, Sound};
use facelatch_protocol::Alarm;

pub use self::{
    causes::{Cause, Causes},
    drive::drive,
    words::{Action, Asker, Event, Position, Record, Rules},
};

/// A leaf that opens this soon after the door locked was still let open: sensors are looked at between frames.
const GRACE: Duration = Duration::from_millis(500);

/// The conditions a door is in. Times are monotonic, since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    service: Service,
    causes: Causes,
    fire: bool,
    tamper: bool,
    lockdown: bool,
    schedule: bool,
    exit: Option<Duration>,
    entry: Option<Duration>,
    leaf: Leaf,
    locked_at: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Starting,
    Serving,
    Stopped,
}

/// What is known of the door leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf {
    /// There is no sensor, or it has not spoken yet.
    Unknown,
    Closed,
    /// Open while the door is unlocked.
    Passing,
    /// Open, and the door is locked again: it has to close by then.
    Closing {
        by: Option<Duration>,
    },
    Held,
    Forced,
}

/// What the door is doing; see the table above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Before the first frame.
    Starting,
    /// Locked, watching.
    Locked,
    /// Unlocked until this instant.
    Unlocked {
        /// When it locks again.
        until: Duration,
    },
    /// Unlocked by the schedule.
    OpenBySchedule,
    /// The relay is locked and the leaf open for too long.
    HeldOpen,
    /// The leaf was opened while the relay was locked.
    ForcedOpen,
    /// Nobody gets in until an admin says so.
    LockedDown,
    /// Everybody gets out.
    Fire,
    /// Something the door depends on is broken.
    Fault,
    /// Out of service.
    Stopped,
}

impl Mode {
    /// Where the relay stands.
    #[must_use]
    pub fn position(self) -> Position {
        match self {
            Mode::Starting | Mode::Fault | Mode::Stopped => Position::Safe,
            Mode::Locked | Mode::HeldOpen | Mode::ForcedOpen | Mode::LockedDown => Position::Locked,
            Mode::Unlocked { .. } | Mode::OpenBySchedule | Mode::Fire => Position::Unlocked,
        }
    }

    /// What the indicator shows.
    #[must_use]
    pub fn pattern(self) -> Pattern {
        match self {
            Mode::Starting | Mode::Stopped => Pattern::Starting,
            Mode::Locked => Pattern::Ready,
            Mode::Unlocked { .. } | Mode::OpenBySchedule | Mode::Fire => Pattern::Granted,
            Mode::HeldOpen | Mode::ForcedOpen => Pattern::Alarm,
            Mode::LockedDown => Pattern::LockedDown,
            Mode::Fault => Pattern::Fault,
        }
    }

    /// Whether a face at the door is told no.
    fn turns_away(self) -> bool {
        match self {
            Mode::Locked | Mode::HeldOpen | Mode::ForcedOpen | Mode::LockedDown => true,
            Mode::Starting
            | Mode::Unlocked { .. }
            | Mode::OpenBySchedule
            | Mode::Fire
            | Mode::Fault
            | Mode::Stopped => false,
        }
    }
}

/// Why nobody can be let in now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shut {
    /// There is a lockdown.
    LockedDown,
    /// The door is not in service, or something is broken.
    OutOfService,
}

impl State {
    /// Before the first frame; in the lockdown that the last run ended in.
    #[must_use]
    pub fn starting(lockdown: bool) -> State {
        State {
            service: Service::Starting,
            causes: Causes::default(),
            fire: false,
            tamper: false,
            lockdown,
            schedule: false,
            exit: None,
            entry: None,
            leaf: Leaf::Unknown,
            locked_at: None,
        }
    }

    /// What the door is doing.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match (self.service, self.exit.max(self.entry)) {
            (Service::Stopped, _) => Mode::Stopped,
            (Service::Starting | Service::Serving, _) if self.fire => Mode::Fire,
            (Service::Starting | Service::Serving, Some(until)) if self.exit.is_some() => {
                Mode::Unlocked { until }
            }
            (Service::Starting, _) => Mode::Starting,
            (Service::Serving, _) if !self.causes.is_empty() => Mode::Fault,
            (Service::Serving, _) if self.lockdown => Mode::LockedDown,
            (Service::Serving, Some(until)) => Mode::Unlocked { until },
            (Service::Serving, None) if self.schedule => Mode::OpenBySchedule,
            (Service::Serving, None) => match self.leaf {
                Leaf::Forced => Mode::ForcedOpen,
                Leaf::Held => Mode::HeldOpen,
                Leaf::Unknown | Leaf::Closed | Leaf::Passing | Leaf::Closing { .. } => Mode::Locked,
            },
        }
    }

    /// What is broken now.
    #[must_use]
    pub fn causes(&self) -> Causes {
        self.causes
    }

    /// Whether there is a lockdown, whatever else there is.
    #[must_use]
    pub fn lockdown(&self) -> bool {
        self.lockdown
    }

    /// What is heard at the door, apart from the short sounds for a face.
    #[must_use]
    pub fn sound(&self) -> Sound {
        match (self.service, self.leaf) {
            (Service::Stopped, _) => Sound::Silent,
            (Service::Starting | Service::Serving, _) if self.fire || self.tamper => Sound::Alarm,
            (Service::Starting | Service::Serving, Leaf::Forced) => Sound::Alarm,
            (Service::Starting | Service::Serving, Leaf::Held) => Sound::CloseDoor,
            (
                Service::Starting | Service::Serving,
                Leaf::Unknown | Leaf::Closed | Leaf::Passing | Leaf::Closing { .. },
            ) => Sound::Silent,
        }
    }

    /// When this state needs a `Tick`.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let late = match self.leaf {
            Leaf::Closing { by } => by,
            Leaf::Unknown | Leaf::Closed | Leaf::Passing | Leaf::Held | Leaf::Forced => None,
        };
        [self.exit, self.entry, late].into_iter().flatten().min()
    }

    /// Whether anybody can be let in now.
    ///
    /// # Errors
    /// Why not.
    pub fn lets_in(&self) -> Result<(), Shut> {
        match self.service {
            Service::Starting | Service::Stopped => Err(Shut::OutOfService),
            Service::Serving if self.lockdown => Err(Shut::LockedDown),
            Service::Serving if !self.causes.is_empty() => Err(Shut::OutOfService),
            Service::Serving => Ok(()),
        }
    }

    /// Whether the leaf can be pulled open as far as we know.
    fn is_unlocked(&self, rules: &Rules) -> bool {
        match self.mode().position() {
            Position::Unlocked => true,
            Position::Locked => false,
            Position::Safe => !rules.rests_locked,
        }
    }

    fn way_out(&self) -> bool {
        self.fire || self.exit.is_some()
    }
}

/// One step. `now` is monotonic and must not run backwards.
#[must_use]
pub fn step(before: State, event: Event, now: Duration, rules: &Rules) -> (State, Vec<Action>) {
    // What puts the relay at rest whether it should be there already or not, and what tries again to let people out.
    let (rests, retries) = match &event {
        Event::Fault(cause) => (true, cause.rests_relay()),
        Event::Recovered(cause) => (false, cause.rests_relay() && before.causes.contains(*cause)),
        Event::Stop => (true, false),
        Event::Start
        | Event::Grant { .. }
        | Event::Denied
        | Event::Exit
        | Event::Leaf { .. }
        | Event::Tamper { .. }
        | Event::Fire { .. }
        | Event::Unlock { .. }
        | Event::Lockdown { .. }
        | Event::Schedule { .. }
        | Event::Tick => (false, false),
    };
    let denied = event == Event::Denied;
    let mut state = before;
    let mut records = state.take(event, now, rules);
    records.extend(state.settle(before.is_unlocked(rules), now, rules));
    let (was, mode) = (before.mode(), state.mode());
    if mode != was {
        let end = records.len() - usize::from(records.last() == Some(&Record::Stopped));
        records.insert(end, Record::Mode(mode));
    }
    let (from, to) = (was.position(), mode.position());
    let moves = from != to
        || match to {
            Position::Safe => rests,
            // Whatever goes on unlocked, for longer or for another reason, is said again: the guard locks when what it was
            // told before is over, and a loop that is late does not see it.
            Position::Unlocked => retries || mode != was,
            Position::Locked => false,
        };
    let relay = moves.then(|| match to {
        Position::Unlocked if state.way_out() => Action::Release,
        Position::Safe | Position::Locked | Position::Unlocked => Action::Relay(to),
    });
    let mut signs = vec![];
    if mode.pattern() != was.pattern() {
        signs.push(Action::Indicate(mode.pattern()));
    } else if denied && mode.turns_away() {
        signs.push(Action::Indicate(Pattern::Denied));
    }
    signs.extend(sounds(&before, &state, &records, denied));
    // Towards less security, and out of the safe state, only once it is on record; towards more at once.
    let relay_first = to == Position::Safe || (from, to) == (Position::Unlocked, Position::Locked);
    let records = records.into_iter().map(Action::Record);
    let actions = match relay_first {
        true => relay.into_iter().chain(signs).chain(records).collect(),
        false => records.chain(relay).chain(signs).collect(),
    };
    (state, actions)
}

/// A sound that goes on if it changed, else a short one for a face; never over an alarm.
fn sounds(before: &State, after: &State, records: &[Record], denied: bool) -> Option<Action> {
    let granted = |record: &Record| matches!(record, Record::Granted { .. } | Record::Remote(_));
    let sound = match after.sound() {
        sound if sound != before.sound() => sound,
        Sound::Silent if records.iter().any(granted) => Sound::Granted,
        Sound::Silent if denied && after.mode().turns_away() => Sound::Denied,
        Sound::Silent
        | Sound::Granted
        | Sound::Denied
        | Sound::CloseDoor
        | Sound::Alarm
        | Sound::TurnLeft
        | Sound::TurnRight => return None,
    };
    Some(Action::Sound(sound))
}

impl State {
    /// What an event changes, and what goes on record for it.
    fn take(&mut self, event: Event, now: Duration, rules: &Rules) -> Vec<Record> {
        use Service::{Serving, Starting, Stopped};
        let until = now + rules.unlock;
        match (self.service, event) {
            (Starting | Stopped, Event::Start) => {
                self.service = Serving;
                vec![Record::Started]
            }
            (Serving, Event::Start) => vec![],

            (Serving, Event::Grant { person }) if self.lets_in().is_ok() => {
                self.entry = Some(until);
                vec![Record::Granted { person }]
            }
            (Serving, Event::Unlock { by }) if self.lets_in().is_ok() => {
                self.entry = Some(until);
                vec![Record::Remote(by)]
            }
            (Starting | Serving | Stopped, Event::Grant { .. } | Event::Unlock { .. }) => vec![],
            (Starting | Serving | Stopped, Event::Denied | Event::Tick) => vec![],

            (Starting | Serving, Event::Exit) if !self.lockdown || rules.exit_in_lockdown => {
                self.exit = Some(until);
                vec![Record::Exit]
            }
            (Starting | Serving | Stopped, Event::Exit) => vec![],

            (Starting | Serving, Event::Leaf { open }) => self.moved(open, now, rules),
            (Starting | Serving, Event::Tamper { on }) => {
                alarm(&mut self.tamper, on, Alarm::Tamper)
            }
            (Starting | Serving, Event::Fire { on }) => alarm(&mut self.fire, on, Alarm::Fire),
            (Stopped, Event::Leaf { .. } | Event::Tamper { .. } | Event::Fire { .. }) => vec![],

            (Starting | Serving, Event::Lockdown { on, by }) if self.lockdown != on => {
                self.lockdown = on;
                if on {
                    self.entry = None;
                    self.exit = self.exit.filter(|_| rules.exit_in_lockdown);
                }
                vec![Record::Lockdown { on, by }]
            }
            (Starting | Serving, Event::Schedule { open }) if self.schedule != open => {
                self.schedule = open;
                vec![Record::Schedule { open }]
            }
            (Starting | Serving | Stopped, Event::Lockdown { .. } | Event::Schedule { .. }) => {
                vec![]
            }

            (service @ (Starting | Serving), Event::Fault(cause)) => {
                self.entry = None;
                self.exit = self.exit.filter(|_| cause != Cause::Relay);
                let known = self.causes.contains(cause);
                // Until `Start` nothing depends on anything; a fault there shows again with the first frame.
                if service == Starting || known {
                    return vec![];
                }
                self.causes = self.causes.with(cause);
                vec![Record::Fault(cause)]
            }
            (Serving, Event::Recovered(cause)) if self.causes.contains(cause) => {
                self.causes = self.causes.without(cause);
                vec![Record::Recovered(cause)]
            }
            (Stopped, Event::Fault(_)) => vec![],
            (Starting | Serving | Stopped, Event::Recovered(_)) => vec![],

            (Starting | Serving, Event::Stop) => {
                *self = State {
                    service: Stopped,
                    ..State::starting(self.lockdown)
                };
                vec![Record::Stopped]
            }
            (Stopped, Event::Stop) => vec![],
        }
    }

    /// The leaf, as the sensor tells it.
    fn moved(&mut self, open: bool, now: Duration, rules: &Rules) -> Vec<Record> {
        match (self.leaf, open) {
            (Leaf::Unknown, true) => {
                self.leaf = Leaf::Passing;
                vec![]
            }
            (Leaf::Closed, true) => {
                let locked_for = self.locked_at.map(|at| now.saturating_sub(at));
                if self.is_unlocked(rules) || locked_for.is_some_and(|time| time <= GRACE) {
                    self.leaf = Leaf::Passing;
                    return vec![];
                }
                self.leaf = Leaf::Forced;
                vec![begun(Alarm::ForcedOpen)]
            }
            (Leaf::Passing | Leaf::Closing { .. } | Leaf::Held | Leaf::Forced, true) => vec![],
            (Leaf::Unknown | Leaf::Closed, false) => {
                self.leaf = Leaf::Closed;
                vec![]
            }
            (Leaf::Passing | Leaf::Closing { .. }, false) => self.closed(rules, None),
            (Leaf::Held, false) => self.closed(rules, Some(Alarm::HeldOpen)),
            (Leaf::Forced, false) => self.closed(rules, Some(Alarm::ForcedOpen)),
        }
    }

    fn closed(&mut self, rules: &Rules, ends: Option<Alarm>) -> Vec<Record> {
        self.leaf = Leaf::Closed;
        if rules.relock_on_close {
            (self.entry, self.exit) = (None, None);
        }
        let ended = |alarm| Record::Alarm { alarm, on: false };
        ends.map(ended).into_iter().collect()
    }

    /// What follows from time, and from the door being unlocked or not.
    fn settle(&mut self, was_unlocked: bool, now: Duration, rules: &Rules) -> Option<Record> {
        self.exit = self.exit.filter(|until| now < *until);
        self.entry = self.entry.filter(|until| now < *until);
        let unlocked = self.is_unlocked(rules);
        if was_unlocked && !unlocked {
            self.locked_at = Some(now);
        }
        match self.leaf {
            Leaf::Closing { .. } if unlocked => self.leaf = Leaf::Passing,
            Leaf::Passing if !unlocked => {
                self.leaf = Leaf::Closing {
                    by: rules.held_open.map(|delay| now + delay),
                };
            }
            Leaf::Closing { by: Some(by) } if now >= by => {
                self.leaf = Leaf::Held;
                return Some(begun(Alarm::HeldOpen));
            }
            Leaf::Unknown
            | Leaf::Closed
            | Leaf::Passing
            | Leaf::Closing { .. }
            | Leaf::Held
            | Leaf::Forced => {}
        }
        None
    }
}

fn begun(alarm: Alarm) -> Record {
    Record::Alarm { alarm, on: true }
}

fn alarm(contact: &mut bool, on: bool, alarm: Alarm) -> Vec<Record> {
    match std::mem::replace(contact, on) == on {
        true => vec![],
        false => vec![Record::Alarm { alarm, on }],
    }
}
