//! Lights, buzzer, button and contacts on lines of a GPIO character device. What patterns look like, what a press is and
//! when a contact has changed: `lights.rs`, `presses.rs`, `settle.rs`.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{Input, blink::Blinker, output};
use crate::{
    Button, ButtonFacts, Buzzer, BuzzerFacts, Contact, ContactFacts, DoorSensor, Error, Indicator,
    IndicatorFacts, InputFacts, Pattern, Press, Sound,
    lights::{buzzer, lights},
    presses::Presses,
    settle::Settle,
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

pub(crate) struct LineIndicator {
    facts: IndicatorFacts,
    blinker: Blinker,
    shown: Option<Pattern>,
}

impl LineIndicator {
    pub(crate) fn open(chip: &Path, facts: IndicatorFacts) -> Result<LineIndicator, Error> {
        let dark = |line| output(chip, line, facts.active).map_err(failed("indicator", line));
        let lines = vec![dark(facts.green_line)?, dark(facts.red_line)?];
        let blinker = Blinker::start(lines).map_err(failed("indicator", facts.green_line))?;
        Ok(LineIndicator {
            facts,
            blinker,
            shown: None,
        })
    }
}

impl Indicator for LineIndicator {
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

pub(crate) struct LineBuzzer {
    facts: BuzzerFacts,
    blinker: Blinker,
    heard: Sound,
}

impl LineBuzzer {
    pub(crate) fn open(chip: &Path, facts: BuzzerFacts) -> Result<LineBuzzer, Error> {
        let failed = failed("buzzer", facts.line);
        let line = output(chip, facts.line, facts.active).map_err(&failed)?;
        Ok(LineBuzzer {
            facts,
            blinker: Blinker::start(vec![line]).map_err(&failed)?,
            heard: Sound::Silent,
        })
    }
}

impl Buzzer for LineBuzzer {
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

pub(crate) struct LineButton {
    facts: ButtonFacts,
    input: Input,
    presses: Presses,
}

impl LineButton {
    pub(crate) fn open(chip: &Path, facts: ButtonFacts) -> Result<LineButton, Error> {
        let debounce = millis(facts.debounce_ms);
        let input = Input::open(chip, facts.line, facts.active, facts.pull, debounce)
            .map_err(failed("button", facts.line))?;
        Ok(LineButton {
            facts,
            input,
            presses: Presses::default(),
        })
    }
}

impl Button for LineButton {
    fn pressed(&mut self) -> Result<Option<Press>, Error> {
        let failed = failed("button", self.facts.line);
        while let Some(edge) = self.input.edge().map_err(&failed)? {
            if let Some(press) = self.presses.edge(edge.active, edge.at) {
                return Ok(Some(press));
            }
        }
        Ok(None)
    }
}

pub(crate) struct LineDoorSensor {
    facts: ContactFacts,
    input: Input,
    began: Instant,
    settle: Settle,
    is_open: bool,
}

impl LineDoorSensor {
    pub(crate) fn open(chip: &Path, facts: ContactFacts) -> Result<LineDoorSensor, Error> {
        let debounce = millis(facts.debounce_ms);
        let input = Input::open(chip, facts.line, facts.open, facts.pull, Duration::ZERO)
            .map_err(failed("door sensor", facts.line))?;
        Ok(LineDoorSensor {
            facts,
            input,
            began: Instant::now(),
            settle: Settle::new(debounce),
            is_open: true,
        })
    }
}

impl DoorSensor for LineDoorSensor {
    fn is_open(&mut self) -> Result<bool, Error> {
        let failed = failed("door sensor", self.facts.line);
        // The level is what counts; edges are read so that the kernel's buffer does not fill.
        while self.input.edge().map_err(&failed)?.is_some() {}
        let open = self.input.is_active().map_err(&failed)?;
        if let Some(open) = self.settle.level(open, self.began.elapsed()) {
            self.is_open = open;
        }
        Ok(self.is_open)
    }
}

pub(crate) struct LineContact {
    what: &'static str,
    facts: InputFacts,
    input: Input,
    began: Instant,
    settle: Settle,
}

impl LineContact {
    pub(crate) fn open(
        chip: &Path,
        what: &'static str,
        facts: InputFacts,
    ) -> Result<LineContact, Error> {
        let debounce = millis(facts.debounce_ms);
        let input = Input::open(chip, facts.line, facts.active, facts.pull, debounce)
            .map_err(failed(what, facts.line))?;
        Ok(LineContact {
            what,
            facts,
            input,
            began: Instant::now(),
            settle: Settle::new(debounce),
        })
    }
}

impl Contact for LineContact {
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
