//! Indicator, buzzer, button, contacts and keypad without wires: what is shown and heard is remembered, what is pressed and opened
//! comes from [`Panel`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::strikes::{Part, Strikes};
use crate::{
    BoardFile, Button, Buzzer, Clock, Contact, DoorSensor, Error, Indicator, Key, Keypad, Pattern,
    Press, Sound, open,
};

/// A pattern and when it was first shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// When, on the board's monotonic clock.
    pub at: Duration,
    /// What.
    pub pattern: Pattern,
}

/// The contacts of a simulated panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The request to exit.
    Exit,
    /// The contact of the case.
    Tamper,
    /// The fire panel's.
    Fire,
}

#[derive(Debug, Default)]
struct State {
    shown: Vec<Shown>,
    heard: Vec<Sound>,
    presses: VecDeque<Press>,
    door_is_open: bool,
    door_sensor_fails: bool,
    exit: VecDeque<bool>,
    tamper: VecDeque<bool>,
    fire: VecDeque<bool>,
    keys: VecDeque<Key>,
}

impl State {
    fn changes(&mut self, input: Input) -> &mut VecDeque<bool> {
        match input {
            Input::Exit => &mut self.exit,
            Input::Tamper => &mut self.tamper,
            Input::Fire => &mut self.fire,
        }
    }
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

    /// Every change of the buzzer so far.
    pub fn heard(&self) -> Vec<Sound> {
        self.lock().heard.clone()
    }

    /// Presses and releases the button.
    pub fn press(&self, held: Duration) {
        self.lock().presses.push_back(Press { held });
    }

    /// Opens or closes the door leaf.
    pub fn move_door(&self, open: bool) {
        self.lock().door_is_open = open;
    }

    /// Breaks the door contact, or mends it.
    pub fn break_door_sensor(&self, broken: bool) {
        self.lock().door_sensor_fails = broken;
    }

    /// Presses and releases the request to exit.
    pub fn request_exit(&self) {
        self.turn(Input::Exit, true);
        self.turn(Input::Exit, false);
    }

    /// Turns a contact on or off.
    pub fn turn(&self, input: Input, on: bool) {
        self.lock().changes(input).push_back(on);
    }

    /// Presses keys, as a serial keypad would send them: `"1234#"`.
    pub fn type_keys(&self, keys: &str) {
        self.lock()
            .keys
            .extend(keys.bytes().filter_map(Key::of_ascii));
    }

    /// Keys that the daemon has not taken yet.
    pub fn keys_left(&self) -> usize {
        self.lock().keys.len()
    }

    /// The daemon's ends, for the parts the board file names.
    pub(crate) fn ends(
        &self,
        file: &BoardFile,
        clock: &Arc<dyn Clock>,
        strikes: &Strikes,
    ) -> open::Panel {
        let end = || End {
            panel: self.clone(),
            strikes: strikes.clone(),
        };
        let indicator = SimIndicator {
            end: end(),
            clock: clock.clone(),
        };
        let contact = |input| Box::new(SimContact { end: end(), input }) as Box<dyn Contact>;
        open::Panel {
            indicator: file.indicator.map(|_| Box::new(indicator) as _),
            buzzer: file.buzzer.map(|_| Box::new(SimBuzzer(end())) as _),
            button: file.button.map(|_| Box::new(SimButton(end())) as _),
            door_sensor: file
                .door_sensor
                .map(|_| Box::new(SimDoorSensor(end())) as _),
            request_to_exit: file.request_to_exit.map(|_| contact(Input::Exit)),
            tamper: file.tamper.map(|_| contact(Input::Tamper)),
            fire: file.fire.map(|_| contact(Input::Fire)),
            keypad: file
                .keypad
                .as_ref()
                .map(|_| Box::new(SimKeypad(end())) as _),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each field is changed in one step, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What every part has: the panel, and what breaks.
struct End {
    panel: Panel,
    strikes: Strikes,
}

impl End {
    /// The panel, unless the part is struck.
    fn used(&self, part: Part, what: &'static str) -> Result<MutexGuard<'_, State>, Error> {
        match self.strikes.meet(part) {
            Some(_) => Err(broken(what)),
            None => Ok(self.panel.lock()),
        }
    }
}

fn broken(what: &'static str) -> Error {
    Error::PanelFailed {
        what,
        line: 0,
        problem: "injected fault".to_string(),
    }
}

struct SimIndicator {
    end: End,
    clock: Arc<dyn Clock>,
}

impl Indicator for SimIndicator {
    fn show(&mut self, pattern: Pattern) -> Result<(), Error> {
        let at = self.clock.now();
        let mut state = self.end.used(Part::Indicator, "indicator")?;
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

struct SimBuzzer(End);

impl Buzzer for SimBuzzer {
    fn sound(&mut self, sound: Sound) -> Result<(), Error> {
        let heard = &mut self.0.used(Part::Buzzer, "buzzer")?.heard;
        if *heard.last().unwrap_or(&Sound::Silent) != sound {
            heard.push(sound);
        }
        Ok(())
    }
}

struct SimContact {
    end: End,
    input: Input,
}

impl Contact for SimContact {
    fn change(&mut self) -> Result<Option<bool>, Error> {
        let mut state = self.end.used(Part::Contact, "contact")?;
        Ok(state.changes(self.input).pop_front())
    }
}

struct SimKeypad(End);

impl Keypad for SimKeypad {
    fn key(&mut self) -> Result<Option<Key>, Error> {
        match self.0.strikes.meet(Part::Keypad) {
            Some(_) => Err(Error::KeypadFailed {
                at: "sim".to_string(),
                problem: "injected fault".to_string(),
            }),
            None => Ok(self.0.panel.lock().keys.pop_front()),
        }
    }
}

struct SimButton(End);

impl Button for SimButton {
    fn pressed(&mut self) -> Result<Option<Press>, Error> {
        Ok(self.0.used(Part::Button, "button")?.presses.pop_front())
    }
}

struct SimDoorSensor(End);

impl DoorSensor for SimDoorSensor {
    fn is_open(&mut self) -> Result<bool, Error> {
        let state = self.0.used(Part::DoorSensor, "door sensor")?;
        match state.door_sensor_fails {
            true => Err(broken("door sensor")),
            false => Ok(state.door_is_open),
        }
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
        let end = || End {
            panel: panel.clone(),
            strikes: Strikes::default(),
        };
        let mut indicator = SimIndicator {
            end: end(),
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

        let mut button = SimButton(end());
        assert_eq!(button.pressed().expect("no wires"), None);
        panel.press(Duration::from_secs(3));
        assert_eq!(
            button.pressed().expect("no wires"),
            Some(Press {
                held: Duration::from_secs(3)
            })
        );
        assert_eq!(button.pressed().expect("no wires"), None);

        let mut sensor = SimDoorSensor(end());
        assert!(!sensor.is_open().expect("no wires"));
        panel.move_door(true);
        assert!(sensor.is_open().expect("no wires"));
        panel.break_door_sensor(true);
        assert!(sensor.is_open().is_err());

        let mut exit = SimContact {
            end: end(),
            input: Input::Exit,
        };
        panel.request_exit();
        panel.turn(Input::Fire, true);
        let changes: Vec<Option<bool>> = (0..3).map(|_| exit.change().expect("no wires")).collect();
        assert_eq!(changes, [Some(true), Some(false), None]);

        let mut keypad = SimKeypad(end());
        panel.type_keys("1#");
        assert_eq!(panel.keys_left(), 2);
        let keys: Vec<Option<Key>> = (0..3).map(|_| keypad.key().expect("no wires")).collect();
        assert_eq!(keys, [Some(Key::Digit(1)), Some(Key::Enter), None]);

        let mut buzzer = SimBuzzer(end());
        for sound in [Sound::Silent, Sound::Alarm, Sound::Alarm, Sound::Silent] {
            buzzer.sound(sound).expect("no wires");
        }
        assert_eq!(panel.heard(), [Sound::Alarm, Sound::Silent]);
    }
}
