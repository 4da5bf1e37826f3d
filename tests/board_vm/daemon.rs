//! The real `facelatchd` on the emulated board: its board file and settings, its start, its log, its end.

use std::fs;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Instant;

use facelatch_tests::PATIENCE;
use facelatch_tests::programs::root;
use toml::{Table, Value};

use crate::camera::Format;
use crate::machine::{Machine, RELAY};

/// What a processor needs that is emulated, and so some thirty times slower than a Raspberry Pi 5. Photos are held before the
/// camera here, which passive liveness is there to refuse: it is off.
const SETTINGS: &str = r#"
[detector]
min_face_px = 80.0
[camera]
retry_ms = 1000
[vote]
max_gap_ms = 15000
[liveness]
level = "off"
[door]
unlock_ms = 15000
[enroll]
button = true
window_ms = 600000
pose_ms = 60000
spacing_ms = 100
[lockout]
denials = 0
[link]
name = "emulated board"
tcp_listen = ""
serial_port = "/dev/ttyS0"
[update]
trial_frames = 2
[watchdog]
stall_ms = 60000
camera_ms = 60000
"#;

/// Writes settings and board files into the shared folder.
pub(crate) fn prepare(machine: &Machine) {
    fs::write(machine.share.join("device.toml"), SETTINGS).expect("a small file");
    for format in [Format::Yuyv, Format::Mjpg] {
        let text = board_file(format).to_string();
        fs::write(machine.share.join(file_name(format)), text).expect("a small file");
    }
}

fn file_name(format: Format) -> String {
    format!("{}.toml", format.code())
}

/// The shipped file of the `linux` board, its marks taken away as an installer does, with this board's camera and chip.
fn board_file(format: Format) -> Table {
    let path = root().join("boards/files/linux.toml");
    let text = fs::read_to_string(path).expect("a shipped file");
    let (facts, more) = text
        .split_once("# A door may have more")
        .expect("a shipped file");
    let is_toml = |marked: &str| {
        let key = marked.split_once(" = ").map(|(key, _)| key);
        marked.starts_with('[') || key.is_some_and(|key| !key.contains(' '))
    };
    let unmarked = more
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|marked| is_toml(marked));
    let text = [facts].into_iter().chain(unmarked).collect::<Vec<_>>();
    let mut board: Table = text.join("\n").parse().expect("a shipped file");
    // Not wired here: these read "on" then, and the processor has no timer.
    for section in ["door_sensor", "tamper", "fire", "watchdog"] {
        assert!(board.remove(section).is_some(), "{section}");
    }
    set(&mut board, "camera", "device", format.device().into());
    set(&mut board, "camera", "frames_per_second", 10.into());
    set(&mut board, "camera", "timeout_ms", 5_000.into());
    set(&mut board, "gpio", "chip", "/run/gpiochip".into());
    board
}

fn set(board: &mut Table, section: &str, key: &str, value: Value) {
    let section = board.get_mut(section).and_then(Value::as_table_mut);
    let there = section.expect("a section").insert(key.to_owned(), value);
    assert!(there.is_some(), "{key} is new");
}

/// How the daemon is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In order, as systemd does.
    Term,
    Kill,
    Abort,
    /// The kernel finds no memory for it.
    OutOfMemory,
}

impl End {
    fn command(self) -> &'static str {
        match self {
            End::Term => "kill -TERM $(cat /run/door.pid)",
            End::Kill => "kill -KILL $(cat /run/door.pid)",
            End::Abort => "kill -ABRT $(cat /run/door.pid)",
            End::OutOfMemory => "echo 4M >/sys/fs/cgroup/door/memory.max",
        }
    }

    /// What the shell says of it: the signal, or what the daemon returned.
    fn code(self) -> i32 {
        match self {
            End::Term => 0,
            End::Kill | End::OutOfMemory => 128 + 9,
            End::Abort => 128 + 6,
        }
    }
}

/// Starts the daemon; its networks are loaded and its camera has given a frame when this returns.
pub(crate) fn start(machine: &mut Machine, format: Format) -> Vec<String> {
    machine.done("echo max >/sys/fs/cgroup/door/memory.max; rm -f /run/door.code");
    // The daemon alone has its memory limited: the shell around it has to tell how it ended.
    let started = format!(
        "(sh -c 'echo 0 >/sys/fs/cgroup/door/cgroup.procs; exec /share/facelatchd --board /share/{} --data /data/door \
         --config /share/device.toml --zoo /share/zoo' >/dev/ttyS1 2>&1 & \
         echo $! >/run/door.pid; wait $!; echo $? >/run/door.code; echo \"door ended\" >/dev/ttyS1) >/dev/null 2>&1 &",
        file_name(format)
    );
    machine.done(&started);
    heard_until(machine, "door locked")
}

/// Ends the daemon while the relay's line is high, and checks that it ended so.
pub(crate) fn end(machine: &mut Machine, how: End) -> Vec<String> {
    let command = how.command();
    machine.done(&format!(
        "grep -qx 1 /run/lines/sim_gpio{RELAY}/value && {command}"
    ));
    let heard = heard_until(machine, "door ended");
    let code = machine.done("cat /run/door.code");
    assert_eq!(code, how.code().to_string(), "{how:?}: {heard:?}");
    heard
}

/// Waits for a line on the door's console that contains `text`.
pub(crate) fn wait_for(machine: &Machine, text: &str) -> String {
    wait_for_any(machine, &[text])
}

/// Waits for a line on the door's console that contains one of `texts`.
pub(crate) fn wait_for_any(machine: &Machine, texts: &[&str]) -> String {
    let heard = heard_until_any(machine, texts).pop();
    heard.expect("the line waited for")
}

/// What the door writes on its console, up to a line that contains `text`.
pub(crate) fn heard_until(machine: &Machine, text: &str) -> Vec<String> {
    heard_until_any(machine, &[text])
}

fn heard_until_any(machine: &Machine, texts: &[&str]) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut heard = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match machine.console.recv_timeout(left) {
            Ok(line) => {
                println!("         | {line}");
                let found = texts.iter().any(|text| line.contains(text));
                heard.push(line);
                if found {
                    return heard;
                }
            }
            Err(why @ (RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) => {
                panic!("none of {texts:?} ({why}) in:\n{}", heard.join("\n"))
            }
        }
    }
}
