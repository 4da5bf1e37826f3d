//! `facelatchd relay test`: moves the latch once, so that an installer hears it. At rest before and after, whatever happens.

use std::{
    fs,
    io::{self, BufRead, IsTerminal, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use facelatch_boards::{BoardFile, Relay, open_relay};
use rustix::process::geteuid;

use super::running;
use crate::{
    AUDIT, Config, Error, GALLERY, SET_UP,
    audit::{Audit, What},
    gallery, signals,
};

/// How often the end of a pulse, and a signal, are looked for.
const LOOK: Duration = Duration::from_millis(10);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Move the latch out of its state at rest for a moment, and back. No daemon may run.
    #[command(after_help = "\
A door that is locked at rest is open for that moment: stand at it. The test is put on the audit record of the data folder.

Exit codes: 0 moved and read back, 2 the call is wrong, not confirmed, or a daemon runs, 4 the relay did not do as told.

Example: sudo -u facelatch facelatchd relay test --board pi4 --data /var/lib/facelatch")]
    Test(Test),
}

/// What is moved, and for how long.
#[derive(Debug, clap::Args)]
struct Test {
    /// Board this runs on: sim, pi3, pi4, pi5, zero2w, linux, or the path of a board file.
    #[arg(long, value_name = "NAME|FILE", default_value = "sim")]
    board: String,
    /// The door's data folder, if there is one, for its audit record.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Milliseconds that the latch is moved for.
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u32).range(50..=10_000))]
    pulse_ms: u32,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// Runs the verb.
///
/// # Errors
/// [`Error::Call`], [`Error::DataInUse`], [`Error::Board`], and what the audit record says.
pub fn run(args: &Args) -> Result<(), Error> {
    let Verb::Test(test) = &args.verb;
    let board = BoardFile::named(&test.board)?;
    if let Some(pid) = running::daemon() {
        return Err(Error::Call(format!(
            "facelatchd runs (process {pid}) and holds the relay: stop it first, with `sudo systemctl stop facelatchd`"
        )));
    }
    let data = test.data.as_deref().map(set_up).transpose()?.flatten();
    // Until the end: no daemon starts on this folder meanwhile.
    let _held = data
        .map(|data| gallery::hold(&data.join(GALLERY)))
        .transpose()?;
    let question = format!(
        "{}: the latch is {} at rest and will be {} for {} ms (relay on line {}). Go on? [y/N] ",
        board.summary,
        board.relay.safe,
        board.relay.safe.opposite(),
        test.pulse_ms,
        board.relay.line
    );
    if !test.yes && !confirmed(&question)? {
        return Err(Error::Call("not confirmed: nothing was moved".to_owned()));
    }
    let stop = Arc::new(AtomicBool::new(false));
    signals::stop(&stop)?;
    let mut relay = open_relay(&board)?;
    let audit = data.map(|data| record(data, &board)).transpose()?;
    if stop.load(Ordering::SeqCst) {
        return Err(Error::Call("stopped: nothing was moved".to_owned()));
    }
    if let Some(mut audit) = audit {
        let (line, pulse_ms) = (board.relay.line, test.pulse_ms);
        audit.append(unix_ms(), What::RelayTested { line, pulse_ms })?;
    }
    pulse(
        relay.as_mut(),
        Duration::from_millis(test.pulse_ms.into()),
        &stop,
    )?;
    println!(
        "moved, read back, and at rest again: the latch is {}",
        relay.latch()
    );
    Ok(())
}

/// The folder, if a door was set up in it.
fn set_up(data: &Path) -> Result<Option<&Path>, Error> {
    let mark = data.join(SET_UP);
    if !mark
        .try_exists()
        .map_err(Error::storage("look for", &mark))?
    {
        return Ok(None);
    }
    let owner = fs::metadata(data).map_err(Error::storage("look at", data))?;
    match leaves_files_behind(geteuid().as_raw(), owner.uid()) {
        true => Err(Error::Call(AS_THE_USER.to_owned())),
        false => Ok(Some(data)),
    }
}

const AS_THE_USER: &str = "the data folder is another user's, whose daemon could not open what root writes there: \
                           sudo -u facelatch facelatchd relay test ...";

/// Whether files that this user makes in a folder are not its owner's: root may write anywhere.
fn leaves_files_behind(user: u32, owner: u32) -> bool {
    user == 0 && owner != user
}

fn record(data: &Path, board: &BoardFile) -> Result<Audit, Error> {
    let defaults = Config::of_board(board).map_err(Error::Call)?;
    let config = Config::load_or_create(&data.join("device.toml"), defaults)?;
    Audit::open(&data.join(AUDIT), config.audit())
}

fn unix_ms() -> u64 {
    use facelatch_boards::{Clock as _, SystemClock};

    SystemClock::new().unix_ms()
}

/// Out of rest for so long, or until told to stop, and back.
fn pulse(relay: &mut dyn Relay, length: Duration, stop: &AtomicBool) -> Result<(), Error> {
    let safe = relay.safe();
    relay.set(safe)?;
    let began = Instant::now();
    relay.set(safe.opposite())?;
    while began.elapsed() < length && !stop.load(Ordering::SeqCst) {
        thread::sleep(LOOK.min(length.saturating_sub(began.elapsed())));
    }
    Ok(relay.set(safe)?)
}

/// Asks whoever sits at the terminal.
fn confirmed(question: &str) -> Result<bool, Error> {
    if !io::stdin().is_terminal() {
        let why = "nobody is there to confirm: give --yes if the door may be opened for a moment";
        return Err(Error::Call(why.to_owned()));
    }
    eprint!("{question}");
    let unread = |e: io::Error| Error::Call(format!("cannot ask: {e}"));
    io::stderr().flush().map_err(unread)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(unread)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use facelatch_boards::{Latch, open};

    use super::*;

    #[test]
    fn a_pulse_begins_and_ends_at_rest_and_a_signal_ends_it_at_once() {
        for safe in [Latch::Locked, Latch::Unlocked] {
            let mut file = BoardFile::named("sim").unwrap();
            file.relay.safe = safe;
            let mut board = open(&file).unwrap();
            let timeline = board.sim.unwrap().relay;
            let stop = AtomicBool::new(false);
            pulse(board.relay.as_mut(), Duration::from_millis(1), &stop).unwrap();
            assert_eq!(board.relay.latch(), safe);
            stop.store(true, Ordering::SeqCst);
            // Would last for an hour.
            pulse(board.relay.as_mut(), Duration::from_secs(3_600), &stop).unwrap();
            assert!(!timeline.is_on());
            let on: Vec<bool> = timeline.edges().iter().map(|edge| edge.on).collect();
            assert_eq!(on.iter().filter(|on| **on).count(), 2, "{on:?}");
        }
    }

    #[test]
    fn root_writes_in_no_other_users_folder() {
        assert!(leaves_files_behind(0, 996));
        for (user, owner) in [(0, 0), (996, 996), (996, 0), (996, 1_000)] {
            assert!(!leaves_files_behind(user, owner), "{user} in {owner}'s");
        }
    }

    #[test]
    fn a_relay_that_does_not_obey_is_an_error() {
        let mut file = BoardFile::named("sim").unwrap();
        file.sim.faults.relay_fails_at_move = Some(1);
        let mut board = open(&file).unwrap();
        let stop = AtomicBool::new(false);
        let failed = pulse(board.relay.as_mut(), Duration::ZERO, &stop).unwrap_err();
        assert_eq!(failed.exit_code(), 4, "{failed}");
    }
}
