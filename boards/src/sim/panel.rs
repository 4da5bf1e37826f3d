//! Indicator, button and door contact without wires: patterns are remembered, presses and the door come from [`Panel`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{BoardFile, Button, Clock, DoorSensor, Error, Indicator, Pattern, Press};

/// A pattern and when it was first shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// When, on the board's monotonic clock.
    pub at: Duration,
    /// What.
    pub pattern: Pattern,
}

type Ends = (
    Option<Box<dyn Indicator>>,
    Option<Box<dyn Button>>,
    Option<Box<dyn DoorSensor>>,
);

#[derive(Debug, Default)]
struct State {
    shown: Vec<Shown>,
    presses: VecDeque<Press>,
    door_is_open: bool,
}

/// The other end of the simulated panel. Clones are the same panel.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    state: Arc<Mutex<State>>,
}

impl Panel {
    /// Every change of the indicator so far.
    pub fn shown(&self) -> Vec<Shown> {
        self.lock().shown.clone()
    }

    /// Presses and releases the button.
    pub fn press(&self, held: Duration) {
        self.lock().presses.push_back(Press { held });
    }

    /// Opens or closes the door leaf.
    pub fn move_door(&self, open: bool) {
        self.lock().door_is_open = open;
    }

    /// The daemon's ends, for the parts the board file names.
    pub(crate) fn ends(&self, file: &BoardFile, clock: &Arc<dyn Clock>) -> Ends {
        let indicator = SimIndicator {
            panel: self.clone(),
            clock: clock.clone(),
        };
        (
            file.indicator.map(|_| Box::new(indicator) as _),
            file.button.map(|_| Box::new(SimButton(self.clone())) as _),
            file.door_sensor
                .map(|_| Box::new(SimDoorSensor(self.clone())) as _),
        )
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each field is changed in one step, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct SimIndicator {
    panel: Panel,
    clock: Arc<dyn Clock>,
}

impl Indicator for SimIndicator {
    fn show(&mut self, pattern: Pattern) -> Result<(), Error> {
        let at = self.clock.now();
        let mut state = self.panel.lock();
        if state
            .shown
            .last()
            .is_none_or(|last| last.pattern != pattern)
        {
            state.shown.push(Shown { at, pattern });
        }
        Ok(())
    }
}

struct SimButton(Panel);

impl Button for SimButton {
    fn pressed(&mut self) -> Result<Option<Press>, Error> {
        Ok(self.0.lock().presses.pop_front())
    }
}

struct SimDoorSensor(Panel);

impl DoorSensor for SimDoorSensor {
    fn is_open(&mut self) -> Result<bool, Error> {
        Ok(self.0.lock().door_is_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::ManualClock;

    #[test]
    fn both_ends_see_the_same_panel() {
        let panel = Panel::default();
        let clock = ManualClock::starting_at(0);
        let mut indicator = SimIndicator {
            panel: panel.clone(),
            clock: Arc::new(clock.clone()),
        };
        for pattern in [Pattern::Ready, Pattern::Ready, Pattern::Granted] {
            indicator.show(pattern).expect("no wires");
            clock.advance(Duration::from_millis(10));
        }
        assert_eq!(
            panel.shown(),
            [
                Shown {
                    at: Duration::ZERO,
                    pattern: Pattern::Ready
                },
                Shown {
                    at: Duration::from_millis(20),
                    pattern: Pattern::Granted
                },
            ]
        );

        let mut button = SimButton(panel.clone());
        assert_eq!(button.pressed().expect("no wires"), None);
        panel.press(Duration::from_secs(3));
        assert_eq!(
            button.pressed().expect("no wires"),
            Some(Press {
                held: Duration::from_secs(3)
            })
        );
        assert_eq!(button.pressed().expect("no wires"), None);

        let mut sensor = SimDoorSensor(panel.clone());
        assert!(!sensor.is_open().expect("no wires"));
        panel.move_door(true);
        assert!(sensor.is_open().expect("no wires"));
    }
}
