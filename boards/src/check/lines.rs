//! Every line that a board file names: claimed as the daemon would claim it, read, and given back.

use super::Finding;
#[cfg(any(test, feature = "pi", feature = "gpio"))]
use crate::wired::{After, Lines};
use crate::{BoardFile, RelayDriver};
#[cfg(any(test, feature = "pi", feature = "gpio"))]
use crate::{KeypadFacts, Level, Pull};

/// A line of the board file.
#[cfg(any(test, feature = "pi", feature = "gpio"))]
struct Named {
    what: String,
    line: u32,
    active: Level,
    use_: Use,
}

#[cfg(any(test, feature = "pi", feature = "gpio"))]
#[derive(Clone, Copy)]
enum Use {
    /// At rest or off.
    Output,
    /// What it means when it is at its active level.
    Input { pull: Pull, on: &'static str },
}

pub(super) fn check(file: &BoardFile, running: Option<u32>) -> Vec<Finding> {
    let driver = file.relay.driver;
    match (driver, running) {
        (RelayDriver::Recorded, _) => vec![Finding::ok("lines", "simulated: no line is moved")],
        // Its registers know no holder: what is claimed here would be taken from it.
        (RelayDriver::Rppal, Some(pid)) => vec![Finding::warning(
            "lines",
            format!("not touched: facelatchd runs (process {pid})"),
            "stop it and check again: sudo systemctl stop facelatchd",
        )],
        (RelayDriver::Rppal, None) => pi(file),
        (RelayDriver::Gpiochip, _) => gpiochip(file),
    }
}

#[cfg(feature = "pi")]
fn pi(file: &BoardFile) -> Vec<Finding> {
    let advice =
        "is this a Raspberry Pi, and is the user in group gpio? sudo usermod -aG gpio USER";
    let judge = |named: &Named| judge(&crate::pi::PiLines, named, advice);
    let registers = REGISTERS.map(std::path::Path::new);
    let registers = registers.into_iter().find(|path| path.exists());
    let seen = registers.map(|path| super::node("lines by", path));
    let lacking = seen.filter(|seen| seen.state != super::State::Ok);
    let lines = named(file);
    lacking.into_iter().chain(lines.iter().map(judge)).collect()
}

/// What rppal opens: a Raspberry Pi 5's, and that of those before it.
#[cfg(feature = "pi")]
const REGISTERS: [&str; 2] = ["/dev/gpiomem0", "/dev/gpiomem"];

#[cfg(not(feature = "pi"))]
fn pi(file: &BoardFile) -> Vec<Finding> {
    vec![super::not_built(
        file,
        "lines",
        "Raspberry Pi GPIO",
        "pi,v4l",
    )]
}

#[cfg(feature = "gpio")]
fn gpiochip(file: &BoardFile) -> Vec<Finding> {
    use crate::linux::{ChipLines, Holder};

    let path = file.gpio.chip.clone();
    let seen = super::node("lines of", &path);
    if seen.state == super::State::Failed {
        return vec![Finding {
            says: format!("{}; `gpiodetect` lists the chips there are", seen.says),
            ..seen
        }];
    }
    let lines = ChipLines(path.clone());
    let judge = |named: &Named| match lines.holder(named.line) {
        Ok(Holder::Nobody) => judge(&lines, named, "`gpioinfo` says who holds it"),
        Ok(Holder::Ours) => {
            Finding::ok(part(named), "held by a running facelatchd, as it should be")
        }
        Ok(Holder::Other(who)) => {
            let advice = "choose another line in the board file, or free it (a device tree overlay may hold it)";
            Finding::failed(part(named), format!("held by {who}"), advice)
        }
        Err(problem) => {
            let advice = "`gpioinfo` lists the lines of each chip";
            Finding::failed(part(named), problem, advice)
        }
    };
    let lacking = (seen.state != super::State::Ok).then_some(seen);
    let named = named(file);
    lacking.into_iter().chain(named.iter().map(judge)).collect()
}

#[cfg(not(feature = "gpio"))]
fn gpiochip(file: &BoardFile) -> Vec<Finding> {
    let needs = "the kernel's GPIO character device";
    vec![
        super::not_built(file, "lines", needs, "gpio,v4l"),
        super::node("lines of", &file.gpio.chip),
    ]
}

#[cfg(any(test, feature = "pi", feature = "gpio"))]
fn part(named: &Named) -> String {
    format!("{}, line {}", named.what, named.line)
}

/// Claims a free line, and lets go of it.
#[cfg(any(test, feature = "pi", feature = "gpio"))]
fn judge(lines: &dyn Lines, named: &Named, advice: &str) -> Finding {
    let claimed = match named.use_ {
        Use::Output => lines
            .output(named.line, named.active, After::Kept)
            .and_then(|mut line| line.is_on())
            .map(|on| match on {
                false => Finding::ok(part(named), format!("at rest, {}", level(named.active, on))),
                true => Finding::failed(
                    part(named),
                    "it reads on although it was put at rest",
                    "look at the wiring: something else drives the line",
                ),
            }),
        Use::Input { pull, on: meaning } => lines
            .input(named.line, named.active, pull, None)
            .and_then(|mut line| line.is_active())
            .map(|on| {
                let says = level(named.active, on);
                let meaning = if on { meaning } else { "at rest" };
                Finding::ok(part(named), format!("reads {says}: {meaning}"))
            }),
    };
    claimed.unwrap_or_else(|problem| Finding::failed(part(named), problem, advice))
}

#[cfg(any(test, feature = "pi", feature = "gpio"))]
fn level(active: Level, on: bool) -> &'static str {
    match (active, on) {
        (Level::High, true) | (Level::Low, false) => "high",
        (Level::High, false) | (Level::Low, true) => "low",
    }
}

#[cfg(any(test, feature = "pi", feature = "gpio"))]
fn named(file: &BoardFile) -> Vec<Named> {
    let output = |what: &str, line, active| Named {
        what: what.to_string(),
        line,
        active,
        use_: Use::Output,
    };
    let input = |what: &str, line, active, pull, on| Named {
        use_: Use::Input { pull, on },
        ..output(what, line, active)
    };
    let mut lines = vec![output("relay", file.relay.line, file.relay.active)];
    if let Some(light) = file.indicator {
        lines.push(output("green light", light.green_line, light.active));
        lines.push(output("red light", light.red_line, light.active));
    }
    lines.extend(file.buzzer.map(|b| output("buzzer", b.line, b.active)));
    lines.extend(
        file.button
            .map(|b| input("button", b.line, b.active, b.pull, "pressed")),
    );
    lines.extend(
        file.door_sensor
            .map(|s| input("door sensor", s.line, s.open, s.pull, "the door is open")),
    );
    lines.extend(file.request_to_exit.map(|e| {
        input(
            "request to exit",
            e.line,
            e.active,
            e.pull,
            "somebody wants out",
        )
    }));
    lines.extend(file.tamper.map(|t| {
        input(
            "tamper contact",
            t.line,
            t.active,
            t.pull,
            "the case is open",
        )
    }));
    lines.extend(
        file.fire
            .map(|f| input("fire input", f.line, f.active, f.pull, "there is a fire")),
    );
    if let Some(KeypadFacts::Matrix(keypad)) = &file.keypad {
        let row = |line: &u32| input("row of the keypad", *line, Level::Low, Pull::Off, "low");
        let column = |line: &u32| {
            input(
                "column of the keypad",
                *line,
                Level::Low,
                Pull::Up,
                "a key is pressed",
            )
        };
        lines.extend(keypad.rows.iter().map(row));
        lines.extend(keypad.columns.iter().map(column));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::State;
    use crate::wired::fake::Chip;

    #[test]
    fn every_line_is_claimed_at_rest_read_and_let_go() {
        let file = BoardFile::named("sim").expect("built in");
        let chip = Chip::default();
        chip.drive(6, Level::High, Duration::ZERO);
        chip.short(12, Level::High);
        let held = chip.output(22, Level::High, After::Free).expect("free");
        let findings: Vec<Finding> = named(&file)
            .iter()
            .map(|n| judge(&chip, n, "look"))
            .collect();
        let of = |part: &str| {
            let found = findings.iter().find(|f| f.part.starts_with(part));
            found.map(|f| (f.state, f.says.clone()))
        };
        let ok = |says: &str| Some((State::Ok, says.to_string()));
        assert_eq!(of("relay, line 17"), ok("at rest, low"));
        assert_eq!(of("button"), ok("reads high: at rest"));
        assert_eq!(of("door sensor"), ok("reads high: the door is open"));
        assert_eq!(of("fire input"), ok("reads high: there is a fire"));
        assert_eq!(of("green light").map(|f| f.0), Some(State::Failed));
        assert_eq!(of("buzzer").map(|f| f.0), Some(State::Failed), "shorted");
        assert_eq!(findings.len(), 9 + 7);
        assert!(!chip.history(17).contains(&Level::High), "never moved");
        drop(held);
        // All were let go: they can be claimed again, and a second look finds the same, but for the one that was held.
        let again: Vec<Finding> = named(&file)
            .iter()
            .map(|n| judge(&chip, n, "look"))
            .collect();
        let failed =
            |findings: &[Finding]| findings.iter().filter(|f| f.state == State::Failed).count();
        assert_eq!((failed(&findings), failed(&again)), (2, 1));
    }
}
