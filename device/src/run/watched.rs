//! The loop's side of the guard: every turn says what the door allows, and hears whether the loop had stood still.

use std::time::Duration;

use super::Running;
use crate::{
    door::{Cause, Event},
    guard::{Turn, lease},
};

impl Running {
    /// One turn. A loop that had stood still makes that a fault, at rest and on record, before it does anything else; it has
    /// recovered with the next turn.
    pub(super) fn watched(&mut self) {
        let patience = Duration::from_millis(self.config.watchdog.camera_ms);
        let camera_answers = self
            .camera_asked
            .is_none_or(|asked| asked.elapsed() < patience);
        self.relay.turn(Turn {
            lease: lease(self.door.mode()),
            started: self.started,
            camera_answers,
            door: self.door_state().as_str(),
        });
        match self.relay.stood_still() {
            Some(still) => {
                let why = format!("it stood still for {} ms", still.as_millis());
                self.fault(Cause::Loop, &why);
            }
            None if self.door.causes().contains(Cause::Loop) => {
                self.step(Event::Recovered(Cause::Loop));
            }
            None => {}
        }
        if !camera_answers && !self.door.causes().contains(Cause::Camera) {
            let why = format!("it has not answered for {} ms", patience.as_millis());
            self.fault(Cause::Camera, &why);
        }
    }
}
