//! Lines of a GPIO character device (version 2, Linux 5.10 and later) through gpiocdev: relay, lights, buzzer, button,
//! contacts.
//!
//! Every line is a request of its own. The kernel knows each line's polarity: "active" here is what the board file calls
//! so. Inputs are debounced by the kernel, and their edges wait in its buffer, with its monotonic time, until they are read.

mod blink;
mod panel;
mod relay;

use std::{path::Path, time::Duration};

use gpiocdev::{
    Request,
    line::{Bias, EdgeDetection, EdgeKind, EventClock, Value},
    request::Builder,
};

pub(crate) use panel::{LineButton, LineBuzzer, LineContact, LineDoorSensor, LineIndicator};
pub(crate) use relay::LineRelay;

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

/// An output that is off from its first moment on: direction and value are set by one call to the kernel.
fn output(chip: &Path, line: u32, active: Level) -> Result<Request, String> {
    request(chip, line, active)
        .as_output(Value::Inactive)
        .request()
        .map_err(|e| e.to_string())
}

/// An input whose edges are kept.
struct Input(Request);

/// One debounced edge.
struct Edge {
    active: bool,
    /// Monotonic, since the system started.
    at: Duration,
}

impl Input {
    fn open(
        chip: &Path,
        line: u32,
        active: Level,
        pull: Pull,
        debounce: Duration,
    ) -> Result<Input, String> {
        let bias = match pull {
            Pull::Up => Bias::PullUp,
            Pull::Down => Bias::PullDown,
            Pull::Off => Bias::Disabled,
        };
        let mut request = request(chip, line, active);
        request
            .as_input()
            .with_bias(bias)
            .with_edge_detection(EdgeDetection::BothEdges)
            .with_event_clock(EventClock::Monotonic);
        if !debounce.is_zero() {
            request.with_debounce_period(debounce);
        }
        request.request().map(Input).map_err(|e| e.to_string())
    }

    fn is_active(&self) -> Result<bool, String> {
        let value = self.0.lone_value().map_err(|e| e.to_string())?;
        Ok(value == Value::Active)
    }

    /// The oldest edge not yet read, without waiting.
    fn edge(&self) -> Result<Option<Edge>, String> {
        if !self.0.has_edge_event().map_err(|e| e.to_string())? {
            return Ok(None);
        }
        let event = self.0.read_edge_event().map_err(|e| e.to_string())?;
        Ok(Some(Edge {
            active: event.kind == EdgeKind::Rising,
            at: Duration::from_nanos(event.timestamp_ns),
        }))
    }
}
