//! What breaks on a simulated board while it runs: armed from the other end or by the board file, met by the parts.
//!
//! A [`Strike`] waits for its part to be used, harms that one use, and is gone. `camera.rs`, `relay.rs`, `panel.rs` and
//! `clock.rs` ask [`Strikes::meet`] at every use; nothing else does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;

/// A part of a simulated board that can be struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The camera, asked for a frame.
    Camera,
    /// The relay, told to move: one use before it moves and one after.
    Relay,
    /// The light.
    Indicator,
    /// The buzzer.
    Buzzer,
    /// The button.
    Button,
    /// The door sensor.
    DoorSensor,
    /// Request to exit, tamper contact, fire input.
    Contact,
    /// The keypad.
    Keypad,
    /// The clock, asked for the time by the thread named `door`: wherever the daemon's loop is just then. It cannot fail,
    /// so it only panics or hangs.
    Clock,
}

/// What a strike does to one use of its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// It reports a failure: the camera is gone, the relay did not obey.
    Fail,
    /// The camera's frame arrives damaged; other parts fail.
    Damage,
    /// The driver panics.
    Panic,
    /// The driver does not answer until [`Strikes::release`].
    Hang,
}

/// One thing that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strike {
    /// Which part.
    pub part: Part,
    /// How.
    pub harm: Harm,
    /// How many uses of the part go well before.
    #[serde(default)]
    pub after: u32,
}

#[derive(Debug, Default)]
struct State {
    armed: Vec<Strike>,
    hanging: Vec<Part>,
    /// Counts releases: what hangs waits for the next one.
    released: u64,
}

/// The strikes of a board. Clones are the same strikes.
#[derive(Clone, Debug, Default)]
pub struct Strikes {
    shared: Arc<(Mutex<State>, Condvar)>,
    /// How many are armed: parts look here first.
    armed: Arc<AtomicUsize>,
}

impl Strikes {
    pub(crate) fn of(strikes: &[Strike]) -> Strikes {
        let all = Strikes::default();
        strikes.iter().for_each(|strike| all.arm(*strike));
        all
    }

    /// Arms a strike; it comes after those armed before for the same part.
    pub fn arm(&self, strike: Strike) {
        let mut state = self.lock();
        state.armed.push(strike);
        self.armed.store(state.armed.len(), Ordering::SeqCst);
    }

    /// Takes back what has not struck yet.
    pub fn disarm(&self) -> Vec<Strike> {
        let mut state = self.lock();
        self.armed.store(0, Ordering::SeqCst);
        std::mem::take(&mut state.armed)
    }

    /// Waits in real time, at most `limit`, until a driver hangs. `false` if the time was not enough.
    pub fn wait_until_hanging(&self, limit: Duration) -> bool {
        let (_state, waited) = self
            .shared
            .1
            .wait_timeout_while(self.lock(), limit, |state| state.hanging.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    /// The parts whose drivers hang now.
    pub fn hanging(&self) -> Vec<Part> {
        self.lock().hanging.clone()
    }

    /// Lets every driver that hangs now answer.
    pub fn release(&self) {
        self.lock().released += 1;
        self.shared.1.notify_all();
    }

    /// A part is used: the harm it has to report, if there is one. Panics, or hangs, if that is the harm.
    pub(super) fn meet(&self, part: Part) -> Option<Harm> {
        if self.armed.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let mut state = self.lock();
        let at = state.armed.iter().position(|strike| strike.part == part)?;
        if state.armed[at].after > 0 {
            state.armed[at].after -= 1;
            return None;
        }
        let harm = state.armed.remove(at).harm;
        self.armed.store(state.armed.len(), Ordering::SeqCst);
        match harm {
            Harm::Fail | Harm::Damage => Some(harm),
            Harm::Panic => {
                drop(state);
                panic!("injected fault: {part:?}");
            }
            Harm::Hang => {
                state.hanging.push(part);
                self.shared.1.notify_all();
                let released = state.released;
                let mut state = self
                    .shared
                    .1
                    .wait_while(state, |state| state.released == released)
                    .unwrap_or_else(PoisonError::into_inner);
                // All that hung were released.
                state.hanging.retain(|hanging| *hanging != part);
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is whole before anything panics.
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strike_harms_one_use_of_its_part_in_order() {
        let strike = |part, harm, after| Strike { part, harm, after };
        let strikes = Strikes::of(&[
            strike(Part::Relay, Harm::Fail, 1),
            strike(Part::Camera, Harm::Damage, 0),
        ]);
        strikes.arm(strike(Part::Relay, Harm::Panic, 0));
        assert_eq!(strikes.meet(Part::Clock), None);
        assert_eq!(strikes.meet(Part::Camera), Some(Harm::Damage));
        assert_eq!(strikes.meet(Part::Camera), None);
        let met = [(); 2].map(|()| strikes.meet(Part::Relay));
        assert_eq!(met, [None, Some(Harm::Fail)]);
        let panics = std::panic::catch_unwind(|| strikes.meet(Part::Relay));
        assert!(panics.is_err());
        let late = strike(Part::Clock, Harm::Hang, 7);
        strikes.arm(late);
        assert_eq!(strikes.disarm(), [late]);
        assert_eq!(strikes.meet(Part::Clock), None);
    }

    #[test]
    fn what_hangs_answers_when_it_is_released() {
        let strikes = Strikes::of(&[Strike {
            part: Part::Contact,
            harm: Harm::Hang,
            after: 0,
        }]);
        assert!(!strikes.wait_until_hanging(Duration::ZERO));
        let driver = std::thread::spawn({
            let strikes = strikes.clone();
            move || strikes.meet(Part::Contact)
        });
        assert!(strikes.wait_until_hanging(Duration::from_secs(60)));
        assert_eq!(strikes.hanging(), [Part::Contact]);
        strikes.release();
        assert_eq!(driver.join().expect("it answers"), None);
        assert_eq!(strikes.hanging(), []);
    }
}
