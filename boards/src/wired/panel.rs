//! Lights, buzzer, button and contacts on GPIO lines. What patterns look like, what a press is and when a contact has
//! changed: `lights.rs`, `presses.rs`, `settle.rs`.

use std::time::{Duration, Instant};

use super::{
    After, Input, Lines,
    blink::Blinker,
    lights::{buzzer, lights},
    presses::Presses,
    settle::Settle,
};
use crate::{
    Button, ButtonFacts, Buzzer, BuzzerFacts, Contact, ContactFacts, DoorSensor, Error, Indicator,
    IndicatorFacts, InputFacts, Pattern, Press, Sound,
};

fn failed(what: &'static str, line: u32) -> impl Fn(String) -> Error {
    move |problem| Error::PanelFailed {
        what,
        line,
        problem,
    }
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}

pub(super) struct WiredIndicator {
    facts: IndicatorFacts,
    blinker: Blinker,
    shown: Option<Pattern>,
}

impl WiredIndicator {
    pub(super) fn open(lines: &dyn Lines, facts: IndicatorFacts) -> Result<WiredIndicator, Error> {
        let dark = |line| {
            let output = lines.output(line, facts.active, After::Free);
            output.map_err(failed("indicator", line))
        };
        let lines = vec![dark(facts.green_line)?, dark(facts.red_line)?];
        let blinker = Blinker::start(lines).map_err(failed("indicator", facts.green_line))?;
        Ok(WiredIndicator {
            facts,
            blinker,
            shown: None,
        })
    }
}

impl Indicator for WiredIndicator {
    fn show(&mut self, pattern: Pattern) -> Result<(), Error> {
        if self.shown == Some(pattern) {
            return Ok(());
        }
        let (green, red) = lights(pattern);
        self.blinker
            .show(vec![green, red])
            .map_err(failed("indicator", self.facts.green_line))?;
        self.shown = Some(pattern);
        Ok(())
    }
}

pub(super) struct WiredBuzzer {
    facts: BuzzerFacts,
    blinker: Blinker,
    heard: Sound,
}

impl WiredBuzzer {
    pub(super) fn open(lines: &dyn Lines, facts: BuzzerFacts) -> Result<WiredBuzzer, Error> {
        let failed = failed("buzzer", facts.line);
        let line = lines
            .output(facts.line, facts.active, After::Free)
            .map_err(&failed)?;
        Ok(WiredBuzzer {
            facts,
            blinker: Blinker::start(vec![line]).map_err(&failed)?,
            heard: Sound::Silent,
        })
    }
}

impl Buzzer for WiredBuzzer {
    fn sound(&mut self, sound: Sound) -> Result<(), Error> {
        if self.heard == sound {
            return Ok(());
        }
        self.blinker
            .show(vec![buzzer(sound)])
            .map_err(failed("buzzer", self.facts.line))?;
        self.heard = sound;
        Ok(())
    }
}

pub(super) struct WiredButton {
    facts: ButtonFacts,
    input: Box<dyn Input>,
    presses: Presses,
}

impl WiredButton {
    pub(super) fn open(lines: &dyn Lines, facts: ButtonFacts) -> Result<WiredButton, Error> {
        let debounce = millis(facts.debounce_ms);
        let input = lines
            .input(facts.line, facts.active, facts.pull, Some(debounce))
            .map_err(failed("button", facts.line))?;
        Ok(WiredButton {
            facts,
            input,
            presses: Presses::default(),
        })
    }
}

impl Button for WiredButton {
    fn pressed(&mut self) -> Result<Option<Press>, Error> {
        let failed = failed("button", self.facts.line);
        loop {
            let edge = self.input.edge().map_err(&failed).inspect_err(|_| {
                // Edges may be missing from here on: no press begins before and ends after.
                self.presses = Presses::default();
            })?;
            let Some(edge) = edge else {
                return Ok(None);
            };
            if let Some(press) = self.presses.edge(edge.active, edge.at) {
                return Ok(Some(press));
            }
        }
    }
}

pub(super) struct WiredDoorSensor {
    facts: ContactFacts,
    input: Box<dyn Input>,
    began: Instant,
    settle: Settle,
    is_open: bool,
}

impl WiredDoorSensor {
    pub(super) fn open(lines: &dyn Lines, facts: ContactFacts) -> Result<WiredDoorSensor, Error> {
        let debounce = millis(facts.debounce_ms);
        let input = lines
            .input(facts.line, facts.open, facts.pull, None)
            .map_err(failed("door sensor", facts.line))?;
        Ok(WiredDoorSensor {
            facts,
            input,
            began: Instant::now(),
            settle: Settle::new(debounce),
            is_open: true,
        })
    }
}

impl DoorSensor for WiredDoorSensor {
    fn is_open(&mut self) -> Result<bool, Error> {
        let failed = failed("door sensor", self.facts.line);
        let open = self.input.is_active().map_err(&failed)?;
        if let Some(open) = self.settle.level(open, self.began.elapsed()) {
            self.is_open = open;
        }
        Ok(self.is_open)
    }
}

pub(super) struct WiredContact {
    what: &'static str,
    facts: InputFacts,
    input: Box<dyn Input>,
    began: Instant,
    settle: Settle,
}

impl WiredContact {
    pub(super) fn open(
        lines: &dyn Lines,
        what: &'static str,
        facts: InputFacts,
    ) -> Result<WiredContact, Error> {
        let debounce = millis(facts.debounce_ms);
        let input = lines
            .input(facts.line, facts.active, facts.pull, Some(debounce))
            .map_err(failed(what, facts.line))?;
        Ok(WiredContact {
            what,
            facts,
            input,
            began: Instant::now(),
            settle: Settle::new(debounce),
        })
    }
}

impl Contact for WiredContact {
    fn change(&mut self) -> Result<Option<bool>, Error> {
        let failed = failed(self.what, self.facts.line);
        while let Some(edge) = self.input.edge().map_err(&failed)? {
            if let Some(change) = self.settle.edge(edge.active) {
                return Ok(Some(change));
            }
        }
        let active = self.input.is_active().map_err(&failed)?;
        Ok(self.settle.level(active, self.began.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Chip;
    use super::*;
    use crate::{Level, Pull};

    const LINE: u32 = 23;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_press_is_told_with_either_polarity() {
        for (active, pull) in [(Level::Low, Pull::Up), (Level::High, Pull::Down)] {
            let chip = Chip::default();
            let facts = ButtonFacts {
                line: LINE,
                active,
                pull,
                debounce_ms: 30,
            };
            let mut button = WiredButton::open(&chip, facts).expect("free");
            assert_eq!(button.pressed().expect("healthy"), None);
            chip.drive(LINE, active, ms(100));
            assert_eq!(button.pressed().expect("healthy"), None);
            chip.drive(LINE, active.opposite(), ms(350));
            let press = button.pressed().expect("healthy");
            assert_eq!(press.map(|press| press.held), Some(ms(250)));
        }
    }

    #[test]
    fn a_press_with_a_failure_in_it_is_none() {
        let chip = Chip::default();
        let facts = ButtonFacts {
            line: LINE,
            active: Level::Low,
            pull: Pull::Up,
            debounce_ms: 30,
        };
        let mut button = WiredButton::open(&chip, facts).expect("free");
        chip.drive(LINE, Level::Low, ms(100));
        assert_eq!(button.pressed().expect("healthy"), None);
        chip.break_off(LINE);
        assert!(button.pressed().is_err());
        chip.mend(LINE);
        chip.drive(LINE, Level::High, ms(9_000));
        assert_eq!(button.pressed().expect("healthy"), None);
    }

    #[test]
    fn a_contact_tells_how_it_stands_and_every_change() {
        let chip = Chip::default();
        let facts = InputFacts {
            line: LINE,
            active: Level::High,
            pull: Pull::Up,
            debounce_ms: 0,
        };
        let mut fire = WiredContact::open(&chip, "fire input", facts).expect("free");
        assert_eq!(fire.change().expect("healthy"), Some(true), "a cut wire");
        chip.drive(LINE, Level::Low, ms(0));
        chip.drive(LINE, Level::High, ms(80));
        let changes: Vec<_> = (0..3).map(|_| fire.change().expect("healthy")).collect();
        assert_eq!(changes, [Some(false), Some(true), None]);
        let other = WiredContact::open(&chip, "tamper contact", facts);
        let held = other.err().expect("one holder").to_string();
        assert!(held.contains("tamper contact on line 23"), "{held}");
    }

    #[test]
    fn a_door_sensor_tells_the_level_and_no_wire_is_an_open_door() {
        let chip = Chip::default();
        let facts = ContactFacts {
            line: LINE,
            open: Level::High,
            pull: Pull::Up,
            debounce_ms: 0,
        };
        let mut sensor = WiredDoorSensor::open(&chip, facts).expect("free");
        assert!(sensor.is_open().expect("healthy"));
        chip.drive(LINE, Level::Low, ms(0));
        // The first look begins the wait for bounce to end.
        let seen: Vec<bool> = (0..2).map(|_| sensor.is_open().expect("healthy")).collect();
        assert!(!seen[1], "{seen:?}");
    }

    #[test]
    fn lights_and_buzzer_are_off_before_and_after() {
        let chip = Chip::default();
        let facts = IndicatorFacts {
            green_line: 22,
            red_line: 27,
            active: Level::Low,
        };
        let mut indicator = WiredIndicator::open(&chip, facts).expect("free");
        indicator.show(Pattern::Granted).expect("healthy");
        let buzzer = BuzzerFacts {
            line: 12,
            active: Level::High,
        };
        let mut buzzer = WiredBuzzer::open(&chip, buzzer).expect("free");
        buzzer.sound(Sound::Granted).expect("healthy");
        // Their threads have done what they were told by the time they have ended.
        drop((indicator, buzzer));
        for (line, on, lit) in [
            (22, Level::Low, true),
            (27, Level::Low, false),
            (12, Level::High, true),
        ] {
            let history = chip.history(line);
            assert_eq!(history.first(), Some(&on.opposite()), "line {line}");
            assert_eq!(history.last(), Some(&on.opposite()), "line {line}");
            assert_eq!(history.contains(&on), lit, "line {line}: {history:?}");
        }
        assert_eq!(chip.kept(), [0u32; 0]);
    }
}
