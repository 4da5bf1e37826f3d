//! From events to the world: the door's state machine is stepped here, and its actions carried out.
//!
//! Also what follows from faults: telling them, and looking whether their cause is gone. Decides nothing about people.

use facelatch_boards::{Latch, Pattern};
use facelatch_protocol::{DoorState, EventKind, Text};

use super::Running;
use crate::{
    audit::What,
    door::{self, Action, Cause, Position, Record, State},
    error::Error,
};

impl Running {
    /// One event through the door's state machine, and its actions out to the world.
    pub(super) fn step(&mut self, event: door::Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let now = self.clock.now();
            let reported = match &event {
                door::Event::Fault(cause) => Some(*cause),
                _ => None,
            };
            let (state, actions) = door::step(self.door, event, now, &self.config.door());
            self.door = state;
            for action in actions {
                let failed_before = next.is_some();
                if failed_before && matches!(action, Action::Relay(p) if p != Position::Safe) {
                    continue;
                }
                if let Err((cause, why)) = self.act(action) {
                    log::error!("{cause}: {why}");
                    self.note_fault(&why);
                    // A stopped door keeps no causes: what fails while reporting itself is not reported again.
                    let known = self.door.causes().contains(cause) || reported == Some(cause);
                    next = next.or((!known).then_some(door::Event::Fault(cause)));
                }
            }
        }
    }

    pub(super) fn act(&mut self, action: Action) -> Result<(), (Cause, String)> {
        match action {
            Action::Relay(position) => {
                let latch = match position {
                    Position::Safe => self.relay.safe(),
                    Position::Locked => Latch::Locked,
                    Position::Unlocked => Latch::Unlocked,
                };
                self.relay
                    .set(latch)
                    .map_err(|e| (Cause::Relay, e.to_string()))
            }
            Action::Indicate(pattern) => {
                self.show(pattern);
                Ok(())
            }
            Action::Record(record) => {
                let now = self.unix_ms();
                for what in self.told(&record) {
                    self.events
                        .record(now, what)
                        .map_err(|e| (Cause::Audit, e.to_string()))?;
                }
                Ok(())
            }
        }
    }

    /// A door action in the words of audit record and link.
    pub(super) fn told(&self, record: &Record) -> Vec<What> {
        let state = What::Event(EventKind::Door(self.door_state()));
        match record {
            Record::Started
            | Record::Locked
            | Record::Unlocked { .. }
            | Record::Extended { .. } => {
                vec![state]
            }
            Record::Fault(cause) => {
                let why = self.last_fault.as_ref().map_or("", |fault| &*fault.text);
                let text = Text::cut(&format!("{cause}: {why}"));
                vec![What::Event(EventKind::Fault(text)), state]
            }
            Record::Recovered(cause) => {
                let recovered = What::Recovered {
                    what: Text::cut(&cause.to_string()),
                };
                match self.door.causes().is_empty() {
                    true => vec![recovered, state],
                    false => vec![recovered],
                }
            }
            Record::Stopped => vec![state, What::Stopped],
        }
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

    pub(super) fn note_fault(&mut self, why: &str) {
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
        if causes.contains(Cause::Relay) && self.relay.set(self.relay.safe()).is_ok() {
            self.step(door::Event::Recovered(Cause::Relay));
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
        if let Some(indicator) = &mut self.indicator
            && let Err(error) = indicator.show(pattern)
        {
            log::warn!("{error}");
        }
    }

    /// Wall time, milliseconds since 1970, as set by the last time synchronisation.
    pub(crate) fn unix_ms(&self) -> u64 {
        self.clock
            .unix_ms()
            .saturating_add_signed(self.clock_moved_ms)
    }

    /// Sets the wall time and returns how far it moved, in milliseconds.
    pub(crate) fn set_clock(&mut self, unix_ms: u64) -> i64 {
        let moved_ms = difference_ms(unix_ms, self.unix_ms());
        self.clock_moved_ms = self.clock_moved_ms.saturating_add(moved_ms);
        self.record(What::ClockSet { moved_ms });
        moved_ms
    }

    /// The door's state in the words of the link.
    pub(crate) fn door_state(&self) -> DoorState {
        match self.door {
            State::Stopped if self.stopping => DoorState::Stopped,
            State::Stopped => DoorState::Starting,
            State::Locked => DoorState::Locked,
            State::Unlocked { until } => {
                let left = until.saturating_sub(self.clock.now()).as_millis();
                let left = u64::try_from(left).unwrap_or(u64::MAX);
                DoorState::Unlocked {
                    until_unix_ms: self.unix_ms().saturating_add(left),
                }
            }
            State::Fault { .. } => DoorState::Fault,
        }
    }
}

/// `to - from`, at most what fits.
fn difference_ms(to: u64, from: u64) -> i64 {
    let apart = i64::try_from(to.abs_diff(from)).unwrap_or(i64::MAX);
    if to >= from { apart } else { -apart }
}
