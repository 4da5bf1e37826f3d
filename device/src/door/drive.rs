//! One event and everything that follows from it, failures included: the one way in which the machine meets the world.

use std::{collections::VecDeque, time::Duration};

use super::{Action, Cause, Event, Position, Rules, State, step};

/// Takes one event through the machine and has its actions carried out by `act`. What `act` cannot do is a fault, which is
/// taken through the machine as well; from the first failure on, the relay goes nowhere but to its safe state or to let
/// somebody out.
pub fn drive(
    state: &mut State,
    event: Event,
    now: Duration,
    rules: &Rules,
    act: &mut dyn FnMut(&State, Action) -> Result<(), Cause>,
) {
    let mut waiting = VecDeque::from([event]);
    let mut failed = false;
    while let Some(event) = waiting.pop_front() {
        let reported = match &event {
            Event::Fault(cause) => Some(*cause),
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
            | Event::Tick
            | Event::Recovered(_)
            | Event::Stop => None,
        };
        let (after, actions) = step(*state, event, now, rules);
        *state = after;
        for action in actions {
            if failed && !may_follow_a_failure(&action) {
                continue;
            }
            let releases = action == Action::Release;
            if let Err(cause) = act(state, action) {
                failed = true;
                // A stopped door keeps no causes: what fails while reporting itself is not reported again. A way out that did
                // not open is: the door has to know that it is not open.
                let known = state.causes().contains(cause) && !releases;
                let known = known || reported == Some(cause);
                let fault = Event::Fault(cause);
                if !known && !waiting.contains(&fault) {
                    waiting.push_back(fault);
                }
            }
        }
    }
}

fn may_follow_a_failure(action: &Action) -> bool {
    match action {
        Action::Relay(Position::Safe) | Action::Release => true,
        Action::Relay(Position::Locked | Position::Unlocked) => false,
        Action::Record(_) | Action::Indicate(_) | Action::Sound(_) => true,
    }
}
