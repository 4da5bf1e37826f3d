//! Lines of a GPIO character device (version 2, Linux 5.10 and later) through gpiocdev. What hangs on them: `wired.rs`.
//!
//! Every line is a request of its own. The kernel knows each line's polarity: "active" here is what the board file calls
//! so. Edges are debounced by the kernel and wait in its buffer, with its monotonic time, until they are read.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use gpiocdev::{
    Request,
    chip::Chip,
    line::{Bias, Drive, EdgeDetection, EdgeKind, EventClock, Value},
    request::Builder,
};

use crate::wired::{After, Edge, Input, Lines, Output};
use crate::{Level, Pull};

/// Who holds a line, as `gpioinfo` shows it.
const CONSUMER: &str = "facelatchd";

fn request(chip: &Path, line: u32, active: Level) -> Builder {
    let mut request = Request::builder();
    request
        .on_chip(chip)
        .with_consumer(CONSUMER)
        .with_line(line);
    match active {
        Level::High => request.as_active_high(),
        Level::Low => request.as_active_low(),
    };
    request
}

/// A chip whose lines are claimed one by one. What becomes of a line that is given back is the controller's affair: most keep
/// their level.
pub(crate) struct ChipLines(pub(crate) PathBuf);

/// Who holds a line.
pub(crate) enum Holder {
    Nobody,
    /// A facelatchd.
    Ours,
    /// As it names itself.
    Other(String),
}

impl ChipLines {
    /// Who holds a line, or why that cannot be told: no such chip, no such line.
    pub(crate) fn holder(&self, line: u32) -> Result<Holder, String> {
        let chip = Chip::from_path(&self.0).map_err(|e| e.to_string())?;
        let about = chip.info().map_err(|e| e.to_string())?;
        if line >= about.num_lines {
            let (chip, lines) = (self.0.display(), about.num_lines);
            return Err(format!(
                "no such line: {chip} ({}) has {lines}",
                about.label
            ));
        }
        let about = chip.line_info(line).map_err(|e| e.to_string())?;
        Ok(match (about.used, about.consumer.as_str()) {
            (false, _) => Holder::Nobody,
            (true, CONSUMER) => Holder::Ours,
            (true, "") => Holder::Other("the kernel".to_string()),
            (true, who) => Holder::Other(who.to_string()),
        })
    }
}

impl Lines for ChipLines {
    fn output(&self, line: u32, active: Level, _: After) -> Result<Box<dyn Output>, String> {
        // One call to the kernel sets direction and value.
        let request = request(&self.0, line, active)
            .as_output(Value::Inactive)
            .request();
        request
            .map(|request| Box::new(ChipLine(request)) as _)
            .map_err(|e| e.to_string())
    }

    fn drain(&self, line: u32) -> Result<Box<dyn Output>, String> {
        // Where the controller has no open drain, the kernel makes it an input while it is off.
        let request = request(&self.0, line, Level::Low)
            .as_output(Value::Inactive)
            .with_drive(Drive::OpenDrain)
            .request();
        request
            .map(|request| Box::new(ChipLine(request)) as _)
            .map_err(|e| e.to_string())
    }

    fn input(
        &self,
        line: u32,
        active: Level,
        pull: Pull,
        debounce: Option<Duration>,
    ) -> Result<Box<dyn Input>, String> {
        let bias = match pull {
            Pull::Up => Bias::PullUp,
            Pull::Down => Bias::PullDown,
            Pull::Off => Bias::Disabled,
        };
        let mut request = request(&self.0, line, active);
        request.as_input().with_bias(bias);
        if let Some(debounce) = debounce {
            request
                .with_edge_detection(EdgeDetection::BothEdges)
                .with_event_clock(EventClock::Monotonic);
            if !debounce.is_zero() {
                request.with_debounce_period(debounce);
            }
        }
        let request = request.request();
        request
            .map(|request| Box::new(ChipLine(request)) as _)
            .map_err(|e| e.to_string())
    }
}

struct ChipLine(Request);

impl ChipLine {
    fn is_at_active(&self) -> Result<bool, String> {
        let value = self.0.lone_value().map_err(|e| e.to_string())?;
        Ok(value == Value::Active)
    }
}

impl Output for ChipLine {
    fn set(&mut self, on: bool) -> Result<(), String> {
        let value = if on { Value::Active } else { Value::Inactive };
        self.0.set_lone_value(value).map_err(|e| e.to_string())
    }

    fn is_on(&mut self) -> Result<bool, String> {
        self.is_at_active()
    }
}

impl Input for ChipLine {
    fn edge(&mut self) -> Result<Option<Edge>, String> {
        if !self.0.has_edge_event().map_err(|e| e.to_string())? {
            return Ok(None);
        }
        let event = self.0.read_edge_event().map_err(|e| e.to_string())?;
        Ok(Some(Edge {
            active: event.kind == EdgeKind::Rising,
            at: Duration::from_nanos(event.timestamp_ns),
        }))
    }

    fn is_active(&mut self) -> Result<bool, String> {
        self.is_at_active()
    }
}
