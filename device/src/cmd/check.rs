//! `facelatchd check`: has this machine what the board file says, and what else a door needs? Looks, and changes nothing.
//!
//! The board's parts are `boards`' affair; here are clock, settings, data folder, serial port and networks, and the table.

use std::{
    fmt, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use facelatch_boards::{
    BoardFile, Clock, SystemClock,
    check::{Finding, State, check, node},
};
use facelatch_models::zoo::Zoo;
use rustix::fs::{Access, access, statvfs};
use serde::Serialize;

use super::running;
use crate::{Config, Error, GALLERY, SET_UP, gallery};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Outputs are claimed at rest and let go; with a daemon running, what it holds is left alone.

Exit codes: 0 all well, 1 something is to be mended, 2 the call is wrong.

Example: sudo -u facelatch facelatchd check --board pi4 --data /var/lib/facelatch")]
pub struct Args {
    /// Board this runs on: sim, pi3, pi4, pi5, zero2w, linux, or the path of a board file.
    #[arg(long, value_name = "NAME|FILE", default_value = "sim")]
    board: String,
    /// The door's data folder, if there is one.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Settings; DIR/device.toml if not given.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the installed networks, instead of the usual places.
    #[arg(long, value_name = "DIR")]
    zoo: Option<PathBuf>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub struct Report {
    board: String,
    /// The worst of all.
    state: State,
    findings: Vec<Finding>,
}

/// Looks at everything and prints it; true if nothing has to be mended.
///
/// # Errors
/// [`Error::Board`] if there is no such board, [`Error::Bug`] if the report cannot be written as JSON.
pub fn run(args: &Args) -> Result<bool, Error> {
    let report = args.report()?;
    if args.json {
        let text = serde_json::to_string_pretty(&report);
        let text = text.map_err(|e| Error::Bug(format!("the report: {e}")))?;
        println!("{text}");
    } else {
        print!("{report}");
    }
    Ok(report.state != State::Failed)
}

impl Args {
    fn report(&self) -> Result<Report, Error> {
        let board = BoardFile::named(&self.board)?;
        let running = running::daemon();
        let mut findings = check(&board, running);
        let (settings, config) = self.settings(&board);
        findings.extend(serial(&config));
        findings.push(clock(&SystemClock::new()));
        findings.push(settings);
        findings.extend(self.data.as_deref().map(data));
        findings.push(networks(self.zoo.as_deref()));
        findings.push(match running {
            Some(pid) => Finding::ok("daemon", format!("runs, process {pid}")),
            None => Finding::ok("daemon", "does not run"),
        });
        let worst = findings.iter().map(|finding| finding.state).max();
        Ok(Report {
            board: board.name,
            state: worst.unwrap_or(State::Ok),
            findings,
        })
    }

    /// The settings as the daemon would take them, without writing any.
    fn settings(&self, board: &BoardFile) -> (Finding, Config) {
        let part = "settings";
        let defaults = match Config::of_board(board) {
            Ok(defaults) => defaults,
            Err(why) => {
                let advice = "correct the board file";
                return (Finding::failed(part, why, advice), Config::default());
            }
        };
        let in_data = self.data.as_ref().map(|data| data.join("device.toml"));
        let Some(path) = self.config.clone().or(in_data) else {
            let says = "the defaults: no --data was given";
            return (suited(part, says, &defaults, board), defaults);
        };
        let part = format!("{part} {}", path.display());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let says = "not there yet: written with all defaults at the first start";
                return (suited(part, says, &defaults, board), defaults);
            }
            Err(e) => return (Finding::failed(part, e.to_string(), AS_THE_USER), defaults),
        };
        match Config::parse(&text, &defaults) {
            Ok(config) => (suited(part, "understood", &config, board), config),
            Err(why) => (Finding::failed(part, why, "correct the file"), defaults),
        }
    }
}

/// Settings that were read, unless they and the board file do not go together.
fn suited(part: impl Into<String>, says: &str, config: &Config, board: &BoardFile) -> Finding {
    match config.suits(board) {
        Ok(()) => Finding::ok(part, says),
        Err(why) => Finding::failed(part, why, "correct one of the two"),
    }
}

const AS_THE_USER: &str = "check as the service's user: sudo -u facelatch facelatchd check ...";

fn serial(config: &Config) -> Option<Finding> {
    let port = &config.link.serial_port;
    if port.is_empty() {
        return None;
    }
    let found = node("serial port", Path::new(port));
    let kernel = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    match found.state == State::Ok && is_console(&kernel, port) {
        true => Some(Finding::failed(
            found.part,
            "the kernel's console is on it",
            "switch the login shell off: sudo raspi-config, interface options, serial port; then start again",
        )),
        false => Some(found),
    }
}

/// Whether the kernel was told to print on this port: `console=ttyAMA0,115200`.
fn is_console(kernel_line: &str, port: &str) -> bool {
    let real = fs::canonicalize(port).unwrap_or_else(|_| port.into());
    let name = real
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let consoles = kernel_line
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("console="));
    let mut names = consoles.filter_map(|console| console.split(',').next());
    name.is_some_and(|name| names.any(|console| console == name))
}

/// Before this a machine has not been told the time: 2025-01-01.
const PLAUSIBLE_UNIX_MS: u64 = 1_735_689_600_000;

fn clock(clock: &dyn Clock) -> Finding {
    let part = "clock";
    if clock.unix_ms() < PLAUSIBLE_UNIX_MS {
        let advice = "connect to a time server (timedatectl), or set it: people with hours do not pass like this";
        return Finding::failed(part, "it shows a time in the past", advice);
    }
    match clock.is_trusted() {
        true => Finding::ok(part, "set by a time server since the machine started"),
        false => Finding::warning(
            part,
            "no time server has set it since the machine started",
            "people with hours pass only once one has, or a host has told the time; with a clock on battery: \
             policy.trust_clock = \"always\"",
        ),
    }
}

/// Less room than this is soon none: bundles are tens of megabytes.
const LITTLE_ROOM: u64 = 256 << 20;

fn data(folder: &Path) -> Finding {
    let part = format!("data {}", folder.display());
    let Ok(about) = fs::metadata(folder) else {
        let parent = folder
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        return match access(parent, Access::WRITE_OK) {
            Ok(()) => Finding::ok(
                part,
                "not there yet: made at the first start, with keys and a pairing code",
            ),
            Err(e) => Finding::failed(part, format!("cannot be made: {e}"), AS_THE_USER),
        };
    };
    if let Err(e) = access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        return Finding::failed(part, e.to_string(), AS_THE_USER);
    }
    let room = statvfs(folder).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if room < LITTLE_ROOM {
        let says = format!("{} MB are free", room >> 20);
        return Finding::warning(
            part,
            says,
            "make room: a new bundle needs tens of megabytes",
        );
    }
    if about.permissions().mode() & 0o077 != 0 {
        return Finding::warning(
            part,
            "others may look into it",
            "chmod 700, and see whose it is",
        );
    }
    if gallery::is_held(&folder.join(GALLERY)) {
        return Finding::ok(part, "in use by a running daemon");
    }
    match folder.join(SET_UP).exists() {
        true => Finding::ok(part, "set up"),
        false => Finding::ok(
            part,
            "empty: set up at the first start, which shows a pairing code",
        ),
    }
}

fn networks(zoo: Option<&Path>) -> Finding {
    let part = "networks";
    let advice = "install the package's networks, or give --zoo";
    let zoo = match zoo.map_or_else(Zoo::find, Zoo::open) {
        Ok(zoo) => zoo,
        Err(error) => return Finding::failed(part, error.to_string(), advice),
    };
    let networks = &zoo.manifest().network;
    for network in networks {
        if let Err(error) = zoo.bytes(network) {
            return Finding::failed(part, error.to_string(), advice);
        }
    }
    let folder = zoo.dir().display();
    Finding::ok(
        part,
        format!("{} in {folder}, each as its manifest says", networks.len()),
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .findings
            .iter()
            .map(|finding| finding.part.chars().count())
            .max();
        let width = width.unwrap_or(0);
        for Finding {
            part,
            state,
            says,
            advice,
        } in &self.findings
        {
            writeln!(f, "{:<8} {part:<width$}  {says}", word(*state))?;
            if let Some(advice) = advice {
                writeln!(f, "{:<8} {:<width$}  -> {advice}", "", "")?;
            }
        }
        match self.state {
            State::Ok => writeln!(f, "board {}: all well", self.board),
            State::Warning => writeln!(
                f,
                "board {}: the door works; look at the warnings",
                self.board
            ),
            State::Failed => writeln!(f, "board {}: the door does not work like this", self.board),
        }
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Failed => "FAILED",
    }
}

#[cfg(test)]
mod tests;
