//! From events to the world: the door's state machine is stepped here, and its actions carried out.
//!
//! Also what follows from faults: telling them, and looking whether their cause is gone. Decides nothing about people.

use facelatch_boards::{Pattern, Sound};
use facelatch_protocol::{DoorState, EventKind, Opener, Text};

use super::{HEARD, Running};
use crate::{
    audit::What,
    door::{self, Action, Asker, Cause, Mode, Position, Record},
    error::Error,
};

impl Running {
    /// One event through the door's state machine, and its actions out to the world.
    pub(crate) fn step(&mut self, event: door::Event) {
        let (now, rules) = (self.clock.now(), self.rules);
        let mut door = self.door;
        door::drive(&mut door, event, now, &rules, &mut |door, action| {
            self.door = *door;
            self.act(action).map_err(|(cause, why)| {
                log::error!("{cause}: {why}");
                self.note_fault(&why);
                cause
            })
        });
        self.door = door;
    }

    pub(super) fn act(&mut self, action: Action) -> Result<(), (Cause, String)> {
        match action {
            Action::Relay(position) => self.relay(position),
            Action::Release => self.relay(Position::Unlocked),
            Action::Indicate(pattern) => {
                self.indicate(pattern);
                Ok(())
            }
            Action::Sound(sound) => {
                let ends = matches!(sound, Sound::Granted | Sound::Denied);
                self.quiet_at = ends.then(|| self.clock.now() + HEARD);
                self.sound(sound);
                Ok(())
            }
            Action::Record(record) => {
                self.note_entry(&record);
                let now = self.unix_ms();
                let Some(what) = self.told(&record) else {
                    return Ok(());
                };
                self.events
                    .record(now, what)
                    .map_err(|e| (Cause::Audit, e.to_string()))
            }
        }
    }

    fn relay(&mut self, position: Position) -> Result<(), (Cause, String)> {
        self.relay.set(position, self.door.mode())
    }

    /// A door action in the words of audit record and link.
    pub(super) fn told(&self, record: &Record) -> Option<What> {
        Some(match record {
            // Each is told by what comes before or after it: the decision, or the state the door is in from then on.
            Record::Started | Record::Granted { .. } | Record::Schedule { open: false } => {
                return None;
            }
            Record::Mode(mode) => What::Event(EventKind::Door(self.state_of(*mode))),
            Record::Exit => What::Event(EventKind::Opened(Opener::Exit)),
            Record::Schedule { open: true } => What::Event(EventKind::Opened(Opener::Schedule)),
            Record::Remote(Asker { host, name }) => {
                let (host, name) = (*host, name.clone());
                What::Event(EventKind::Opened(Opener::Host { host, name }))
            }
            Record::Lockdown { on, by } => What::Event(EventKind::Lockdown {
                on: *on,
                host: by.host,
                name: by.name.clone(),
            }),
            Record::Alarm { alarm, on } => What::Event(EventKind::Alarm {
                alarm: *alarm,
                on: *on,
            }),
            Record::Fault(cause) => {
                let why = self.last_fault.as_ref().map_or("", |fault| &*fault.text);
                What::Event(EventKind::Fault(Text::cut(&format!("{cause}: {why}"))))
            }
            Record::Recovered(cause) => What::Recovered {
                what: Text::cut(&cause.to_string()),
            },
            Record::Stopped => What::Stopped,
        })
    }

    /// Writes a record; a failure is a fault. False if it failed.
    pub(super) fn record(&mut self, what: What) -> bool {
        let now = self.unix_ms();
        match self.events.record(now, what) {
            Ok(()) => true,
            Err(error) => {
                self.fault(Cause::Audit, &error.to_string());
                false
            }
        }
    }

    pub(super) fn fault(&mut self, cause: Cause, why: &str) {
        if !self.door.causes().contains(cause) {
            log::error!("{cause}: {why}");
            self.note_fault(why);
        }
        // Until `Start` nothing depends on anything; a fault there shows again with the first frame.
        self.step(door::Event::Fault(cause));
    }

    pub(crate) fn note_fault(&mut self, why: &str) {
        let unix_ms = self.unix_ms();
        self.last_fault = Some(facelatch_protocol::Fault {
            unix_ms,
            text: Text::cut(why),
        });
    }

    /// Looks whether what was broken works again. Camera and networks are tried by every frame.
    pub(super) fn retry(&mut self) {
        let causes = self.door.causes();
        if causes.contains(Cause::Audit) {
            self.step(door::Event::Recovered(Cause::Audit));
        }
        if causes.contains(Cause::Relay) && self.relay(Position::Safe).is_ok() {
            self.step(door::Event::Recovered(Cause::Relay));
        }
        if causes.contains(Cause::Ledger) && self.visits.ledger.save(self.clock.now()).is_ok() {
            self.step(door::Event::Recovered(Cause::Ledger));
        }
        if causes.contains(Cause::Gallery) {
            match self.gallery.reopen() {
                Ok(()) => {
                    self.people_are_new();
                    self.step(door::Event::Recovered(Cause::Gallery));
                }
                Err(error) => log::warn!("still broken: {error}"),
            }
        }
    }

    /// A request failed: if storage was the reason, the door cannot go on as if nothing were.
    pub(crate) fn storage_failed(&mut self, error: &Error) {
        match error {
            Error::Gallery(_) | Error::GalleryDamaged { .. } => {
                self.fault(Cause::Gallery, &error.to_string());
            }
            Error::Ledger(_) => self.fault(Cause::Ledger, &error.to_string()),
            Error::AuditDamaged { .. } | Error::Storage { .. } => {
                self.fault(Cause::Audit, &error.to_string());
            }
            Error::Call(_)
            | Error::Config { .. }
            | Error::Link(_)
            | Error::DataInUse { .. }
            | Error::KeysDamaged { .. }
            | Error::Space { .. }
            | Error::UnknownPerson(_)
            | Error::PersonExists(_)
            | Error::Full { .. }
            | Error::Hosts(_)
            | Error::Template { .. }
            | Error::Board(_)
            | Error::Models(_)
            | Error::Store(_)
            | Error::Bug(_) => {}
        }
    }

    /// The door works without its light.
    pub(super) fn show(&mut self, pattern: Pattern) {
        let pattern = self.pattern(pattern);
        if let Some(indicator) = &mut self.panel.indicator
            && let Err(error) = indicator.show(pattern)
        {
            log::warn!("{error}");
        }
    }

    /// And without its buzzer.
    pub(super) fn sound(&mut self, sound: Sound) {
        if let Some(buzzer) = &mut self.panel.buzzer
            && let Err(error) = buzzer.sound(sound)
        {
            log::warn!("{error}");
        }
    }

    /// The door's state in the words of the link.
    pub(crate) fn door_state(&self) -> DoorState {
        self.state_of(self.door.mode())
    }

    fn state_of(&self, mode: Mode) -> DoorState {
        match mode {
            Mode::Starting => DoorState::Starting,
            Mode::Locked => DoorState::Locked,
            Mode::Unlocked { until } => {
                // In this order: time that passes in between makes it earlier, never later than it is.
                let unix_ms = self.unix_ms();
                let left = until.saturating_sub(self.clock.now()).as_millis();
                let left = u64::try_from(left).unwrap_or(u64::MAX);
                DoorState::Unlocked {
                    until_unix_ms: unix_ms.saturating_add(left),
                }
            }
            Mode::OpenBySchedule => DoorState::OpenBySchedule,
            Mode::HeldOpen => DoorState::HeldOpen,
            Mode::ForcedOpen => DoorState::ForcedOpen,
            Mode::LockedDown => DoorState::LockedDown,
            Mode::Fire => DoorState::Fire,
            Mode::Fault => DoorState::Fault,
            Mode::Stopped => DoorState::Stopped,
        }
    }
}
