//! The door's inputs: leaf, request to exit, tamper contact, fire panel; looked at in every tick and told to the door.
//!
//! An input that the board file names and that cannot be read is a fault: without it nobody knows whether the door is
//! shut, or whether somebody wants to get out. It is tried again in every tick.

use facelatch_boards::{Contact, DoorSensor, Error};

use super::Running;
use crate::door::{Cause, Event};

/// Changes of one contact taken in one tick; more is a contact that chatters, and waits for the next.
const CHANGES: usize = 8;

impl Running {
    /// Looks at every input. Fire first, then who wants to get out.
    pub(super) fn inputs(&mut self) {
        let mut events = vec![];
        let panel = &mut self.panel;
        let looked = [
            changes(&mut panel.fire, &mut |on| events.push(Event::Fire { on })),
            // Before the leaf: who asked to be let out may have opened it since.
            changes(&mut panel.request_to_exit, &mut |on| {
                events.extend(on.then_some(Event::Exit));
            }),
            changes(&mut panel.tamper, &mut |on| {
                events.push(Event::Tamper { on })
            }),
            leaf(&mut panel.door_sensor, &mut |open| {
                events.push(Event::Leaf { open })
            }),
        ];
        for event in events {
            self.step(event);
        }
        let broken = looked.into_iter().find_map(Result::err);
        let known = self.door.causes().contains(Cause::Inputs);
        match broken {
            // Before the start it shows again with the first frame.
            Some(error) if self.started && !known => self.fault(Cause::Inputs, &error.to_string()),
            None if known => self.step(Event::Recovered(Cause::Inputs)),
            Some(_) | None => {}
        }
    }
}

fn leaf(sensor: &mut Option<Box<dyn DoorSensor>>, told: &mut dyn FnMut(bool)) -> Result<(), Error> {
    if let Some(sensor) = sensor {
        told(sensor.is_open()?);
    }
    Ok(())
}

fn changes(
    contact: &mut Option<Box<dyn Contact>>,
    told: &mut dyn FnMut(bool),
) -> Result<(), Error> {
    let Some(contact) = contact else {
        return Ok(());
    };
    for _ in 0..CHANGES {
        match contact.change()? {
            Some(on) => told(on),
            None => break,
        }
    }
    Ok(())
}
