//! Board files: the facts of one kind of board in TOML, and the ones built into the program.
//!
//! Facts only: what is wired where, which state is safe, how long this door takes to walk through. Who may pass is the
//! daemon's affair, and its settings may differ from what the file says of the door. `open.rs` turns a [`BoardFile`] into drivers.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::camera::facts::CameraFacts;
use crate::keypad::KeypadFacts;
use crate::nearest::{nearest, with_hint};
use crate::sim::SimFacts;
use crate::watchdog::WatchdogFacts;
use crate::{Error, Latch};

/// The board files built in, by name.
pub const BUILT_IN: [(&str, &str); 6] = [
    ("sim", include_str!("../files/sim.toml")),
    ("pi3", include_str!("../files/pi3.toml")),
    ("pi4", include_str!("../files/pi4.toml")),
    ("pi5", include_str!("../files/pi5.toml")),
    ("zero2w", include_str!("../files/zero2w.toml")),
    ("linux", include_str!("../files/linux.toml")),
];

/// The facts of one board.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardFile {
    /// Short name, as given to `--board`.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Where frames come from.
    pub camera: CameraFacts,
    /// Where lines are numbered; only the GPIO character device has more than one place.
    #[serde(default)]
    pub gpio: GpioFacts,
    /// What moves the latch.
    pub relay: RelayFacts,
    /// Light at the door, if there is one.
    pub indicator: Option<IndicatorFacts>,
    /// Enrollment or exit button, if there is one.
    pub button: Option<ButtonFacts>,
    /// Door contact, if there is one.
    pub door_sensor: Option<ContactFacts>,
    /// What people inside press, or pass, to be let out, if there is one.
    pub request_to_exit: Option<ExitFacts>,
    /// Contact that opens with the case, if there is one.
    pub tamper: Option<InputFacts>,
    /// The fire panel's contact, if there is one.
    pub fire: Option<InputFacts>,
    /// Buzzer at the door, if there is one.
    pub buzzer: Option<BuzzerFacts>,
    /// Keypad at the door, if there is one.
    pub keypad: Option<KeypadFacts>,
    /// How long this door takes; what is left out is the daemon's default.
    #[serde(default)]
    pub door: DoorFacts,
    /// A serial line that hosts are served on, if there is one.
    pub host_serial: Option<HostSerialFacts>,
    /// The hardware watchdog, if it is to reset the board when the daemon stands still.
    pub watchdog: Option<WatchdogFacts>,
    /// How the simulated parts behave; ignored by real hardware.
    #[serde(default)]
    pub sim: SimFacts,
}

/// Where lines are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpioFacts {
    /// The GPIO character device whose lines are meant.
    pub chip: PathBuf,
}

impl Default for GpioFacts {
    fn default() -> Self {
        GpioFacts {
            chip: PathBuf::from("/dev/gpiochip0"),
        }
    }
}

/// What drives the relay's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelayDriver {
    /// Writes a timeline instead of moving a coil.
    Recorded,
    /// Raspberry Pi GPIO registers.
    Rppal,
    /// The kernel's GPIO character device.
    Gpiochip,
}

/// The level that means "on" (energised, lit, pressed, open).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// 3.3 V.
    High,
    /// 0 V.
    Low,
}

impl Level {
    /// The other one.
    #[must_use]
    pub fn opposite(self) -> Level {
        match self {
            Level::High => Level::Low,
            Level::Low => Level::High,
        }
    }
}

/// The resistor inside the processor that holds an input when nothing drives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// To 3.3 V.
    Up,
    /// To 0 V.
    Down,
    /// None: the wiring has its own resistor.
    Off,
}

/// What moves the latch.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayFacts {
    /// What drives the line.
    pub driver: RelayDriver,
    /// Line number (BCM numbering on a Pi; offset on the chip elsewhere).
    pub line: u32,
    /// The level that energises the coil.
    pub active: Level,
    /// What the latch does with the coil at rest, declared by whoever wired the door: `locked` is fail-secure (current
    /// opens), `unlocked` is fail-safe (current holds).
    pub safe: Latch,
}

/// Two lights, or one of two colours.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndicatorFacts {
    /// Line of the green light.
    pub green_line: u32,
    /// Line of the red light.
    pub red_line: u32,
    /// The level that lights them.
    pub active: Level,
}

/// A push button.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ButtonFacts {
    /// Line number.
    pub line: u32,
    /// The level of a pressed button.
    pub active: Level,
    /// Resistor inside the processor.
    pub pull: Pull,
    /// A change shorter than this is bounce.
    pub debounce_ms: u32,
}

/// A door contact.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactFacts {
    /// Line number.
    pub line: u32,
    /// The level of an open door.
    pub open: Level,
    /// Resistor inside the processor.
    pub pull: Pull,
    /// A change shorter than this is bounce.
    #[serde(default = "contact_debounce_ms")]
    pub debounce_ms: u32,
}

/// Reed contacts settle within a few milliseconds.
fn contact_debounce_ms() -> u32 {
    50
}

/// A contact that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFacts {
    /// Line number.
    pub line: u32,
    /// The level that means "on": tampered with, on fire. Wired so that a cut wire reads the same.
    pub active: Level,
    /// Resistor inside the processor.
    pub pull: Pull,
    /// A change shorter than this is bounce.
    pub debounce_ms: u32,
}

/// A button, bar or motion sensor that lets people out.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitFacts {
    /// Line number.
    pub line: u32,
    /// The level that asks to be let out.
    pub active: Level,
    /// Resistor inside the processor.
    pub pull: Pull,
    /// A change shorter than this is bounce.
    pub debounce_ms: u32,
    /// Whether it lets people out during a lockdown. Only a door that has another way out may say no.
    #[serde(default = "yes")]
    pub during_lockdown: bool,
}

fn yes() -> bool {
    true
}

impl ExitFacts {
    /// The contact of it.
    #[must_use]
    pub fn contact(&self) -> InputFacts {
        InputFacts {
            line: self.line,
            active: self.active,
            pull: self.pull,
            debounce_ms: self.debounce_ms,
        }
    }
}

/// How long a door takes. The settings of a door that is set up with this board start from these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoorFacts {
    /// Milliseconds that an opening unlocks it.
    pub unlock_ms: Option<u64>,
    /// Whether it locks as soon as its leaf has closed.
    pub relock_on_close: Option<bool>,
    /// Milliseconds after which an open leaf is an alarm; 0 for never.
    pub held_open_ms: Option<u64>,
}

/// A serial line to a host. The settings of a door that is set up with this board start from it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSerialFacts {
    /// Device node, such as `/dev/serial0`.
    pub device: PathBuf,
    /// Its speed, in bits a second.
    pub baud: u32,
}

/// A buzzer that sounds as long as its line is at one level.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuzzerFacts {
    /// Line number.
    pub line: u32,
    /// The level that sounds.
    pub active: Level,
}

impl BoardFile {
    /// The board named `asked`: a built-in name, or the path of a board file (anything with a slash or ending in
    /// `.toml`). Paths inside such a file are relative to its folder.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownBoard`] or [`Error::BoardFile`].
    pub fn named(asked: &str) -> Result<BoardFile, Error> {
        if asked.contains('/') || asked.ends_with(".toml") {
            return BoardFile::read(Path::new(asked));
        }
        match BUILT_IN.iter().find(|(name, _)| *name == asked) {
            Some((name, text)) => BoardFile::parse(text, name),
            None => Err(Error::UnknownBoard {
                asked: asked.to_string(),
                known: BUILT_IN.map(|(name, _)| name).join(", "),
                hint: nearest(asked, BUILT_IN.map(|(name, _)| name))
                    .map(|name| format!("; did you mean \"{name}\"?"))
                    .unwrap_or_default(),
            }),
        }
    }

    /// Reads a board file from disk.
    ///
    /// # Errors
    ///
    /// [`Error::BoardFile`].
    pub fn read(path: &Path) -> Result<BoardFile, Error> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|e| Error::BoardFile {
            file: file.clone(),
            problem: e.to_string(),
        })?;
        let mut board = BoardFile::parse(&text, &file)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        match &mut board.camera {
            CameraFacts::Replay(replay) => {
                if let Some(photos) = &mut replay.folder {
                    *photos = folder.join(&photos);
                }
            }
            CameraFacts::V4l(_) | CameraFacts::Program(_) => {}
        }
        if let Some(record) = &mut board.sim.relay_record {
            *record = folder.join(&record);
        }
        if let Some(watchdog) = &mut board.watchdog {
            watchdog.device = folder.join(&watchdog.device);
        }
        Ok(board)
    }

    /// Understands the text of a board file; `file` is its name in messages.
    ///
    /// # Errors
    ///
    /// [`Error::BoardFile`]: not TOML, a key unknown or missing, or two functions on one line.
    pub fn parse(text: &str, file: &str) -> Result<BoardFile, Error> {
        let problem = |problem: String| Error::BoardFile {
            file: file.to_string(),
            problem,
        };
        let board: BoardFile =
            toml::from_str(text).map_err(|e| problem(with_hint(&e.to_string())))?;
        board.camera.check().map_err(problem)?;
        if let Some(keypad) = &board.keypad {
            keypad.check().map_err(problem)?;
        }
        board.check_lines().map_err(problem)?;
        Ok(board)
    }

    fn check_lines(&self) -> Result<(), String> {
        let mut used = vec![("relay", self.relay.line)];
        if let Some(indicator) = &self.indicator {
            used.push(("indicator's green light", indicator.green_line));
            used.push(("indicator's red light", indicator.red_line));
        }
        if let Some(button) = &self.button {
            used.push(("button", button.line));
        }
        if let Some(sensor) = &self.door_sensor {
            used.push(("door sensor", sensor.line));
        }
        if let Some(exit) = &self.request_to_exit {
            used.push(("request to exit", exit.line));
        }
        for (what, input) in [("tamper contact", &self.tamper), ("fire input", &self.fire)] {
            used.extend(input.map(|facts| (what, facts.line)));
        }
        used.extend(self.buzzer.map(|facts| ("buzzer", facts.line)));
        used.extend(self.keypad.iter().flat_map(KeypadFacts::lines));
        for (i, (what, line)) in used.iter().enumerate() {
            if let Some((other, _)) = used[..i].iter().find(|(_, l)| l == line) {
                return Err(format!("{other} and {what} are both on line {line}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_board_parses_and_bears_its_name() {
        for (name, text) in BUILT_IN {
            let board = BoardFile::parse(text, name).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(board.name, name);
            assert_eq!(
                board.relay.safe,
                Latch::Locked,
                "{name}: shipped boards are fail-secure"
            );
            match (&board.camera, board.relay.driver) {
                (CameraFacts::Replay(_), RelayDriver::Recorded) => assert_eq!(name, "sim"),
                (
                    CameraFacts::V4l(_) | CameraFacts::Program(_),
                    RelayDriver::Rppal | RelayDriver::Gpiochip,
                ) => {}
                other => panic!("{name} mixes real and simulated parts: {other:?}"),
            }
        }
    }

    #[test]
    fn what_a_file_offers_in_its_comments_parses() {
        for name in ["pi3", "pi4", "pi5", "zero2w", "linux"] {
            let (_, text) = BUILT_IN.iter().find(|(n, _)| *n == name).expect("built in");
            let (_, offered) = text.split_once("#\n").expect("offers more");
            let unmarked = |line: &str| line.trim_start_matches('#').to_string() + "\n";
            let whole = format!(
                "{text}\n{}",
                offered.lines().map(unmarked).collect::<String>()
            );
            let board = BoardFile::parse(&whole, name).unwrap_or_else(|e| panic!("{e}"));
            assert!(board.fire.is_some() && board.tamper.is_some() && board.buzzer.is_some());
            assert!(board.door_sensor.is_some());
            assert!(board.keypad.is_some());
            assert_eq!(board.door.unlock_ms, Some(5_000));
            assert!(board.host_serial.is_some() && board.watchdog.is_some());
            assert!(
                board
                    .request_to_exit
                    .is_some_and(|exit| exit.during_lockdown)
            );
        }
    }

    #[test]
    fn wrong_files_are_refused_with_what_to_change() {
        let sim = BUILT_IN[0].1;
        let pi4 = BUILT_IN[2].1;
        struct Case {
            name: &'static str,
            text: String,
            says: &'static [&'static str],
        }
        let cases = [
            Case {
                name: "unknown key",
                text: pi4.replace("width_px", "widht_px"),
                says: &["widht_px", "did you mean `width_px`?"],
            },
            Case {
                name: "unknown key at the top",
                text: format!("colour = 1\n{sim}"),
                says: &["colour", "name"],
            },
            Case {
                name: "unknown key in a replay",
                text: sim.replace("frames_per_photo", "frame_per_photo"),
                says: &["frame_per_photo", "did you mean `frames_per_photo`?"],
            },
            Case {
                name: "unknown safe state",
                text: sim.replace("safe = \"locked\"", "safe = \"shut\""),
                says: &["shut", "locked", "unlocked"],
            },
            Case {
                name: "no relay",
                text: sim
                    .split("[relay]")
                    .next()
                    .expect("split gives one part")
                    .to_string(),
                says: &["relay"],
            },
            Case {
                name: "two things on one line",
                text: pi4.replace("green_line = 22", "green_line = 17"),
                says: &["relay", "green", "17"],
            },
            Case {
                name: "an input on another's line",
                text: sim.replace("line = 6", "line = 25"),
                says: &["request to exit", "fire input", "25"],
            },
            Case {
                name: "a keypad on another's line",
                text: sim.replace("columns = [13, 19, 18]", "columns = [13, 19, 12]"),
                says: &["buzzer", "column of the keypad", "12"],
            },
            Case {
                name: "a keypad without a key",
                text: sim.replace("\"456\"", "\"45-\""),
                says: &["keypad.keys", "Digit(6)"],
            },
            Case {
                name: "a contact without its polarity",
                text: format!("{pi4}\n[fire]\nline = 6\npull = \"up\"\ndebounce_ms = 50\n"),
                says: &["active"],
            },
            Case {
                name: "a camera of no size",
                text: sim.replace("width_px = 640", "width_px = 0"),
                says: &["width_px"],
            },
            Case {
                name: "unknown key of the door",
                text: format!("{pi4}\n[door]\nunlok_ms = 5\n"),
                says: &["unlok_ms", "did you mean `unlock_ms`?"],
            },
            Case {
                name: "not toml",
                text: "]]".to_string(),
                says: &["test.toml"],
            },
        ];
        let mut failures = Vec::new();
        for case in &cases {
            match BoardFile::parse(&case.text, "test.toml") {
                Ok(_) => failures.push(format!("{}: accepted", case.name)),
                Err(e) => {
                    let message = e.to_string();
                    for part in case.says {
                        if !message.contains(part) {
                            failures.push(format!("{}: no {part:?} in {message}", case.name));
                        }
                    }
                }
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    #[test]
    fn a_mistyped_board_name_gets_a_hint() {
        let message = BoardFile::named("p4")
            .expect_err("there is no p4")
            .to_string();
        assert!(message.contains("did you mean \"pi4\"?"), "{message}");
        assert!(message.contains("zero2w"), "{message}");
    }

    #[test]
    fn a_file_on_disk_has_paths_relative_to_itself() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("door.toml");
        let text = BUILT_IN[0].1.replace(
            "kind = \"replay\"",
            "kind = \"replay\"\nfolder = \"photos\"",
        );
        fs::write(&path, text).expect("a small file");
        let board = BoardFile::named(path.to_str().expect("utf-8")).expect("a good file");
        match board.camera {
            CameraFacts::Replay(replay) => {
                assert_eq!(replay.folder, Some(dir.path().join("photos")))
            }
            CameraFacts::V4l(_) | CameraFacts::Program(_) => panic!("sim has a replay"),
        }
    }
}
