//! `facelatch push`: set up a door with a bundle, and see whether it proves itself.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use facelatch_protocol::{BundleFault, Refusal};
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    client::{self, Client, Pushed, Trial},
    cmd::{
        door::Door,
        pack::{Gathered, What, gather},
    },
    home::{Home, unix_ms_now},
    progress::Progress,
    report::{hint, warn},
    sealed::write_atomic,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The door checks signature and parts and tries the networks before it switches; until then, and after any interruption, it
goes on with the old bundle. Then the new one is on trial for a number of frames; if it does not prove itself, the door goes
back to the old one, and says why. Parts the door has got, from an earlier bundle or a push that was cut off, are not sent
again: to go on with a push, run it again. People enrolled at the door stay, unless --replace. The door's clock is set
first, unless --keep-time. Takes the role admin.

Exit code 1: the time was up before the trial was over. Exit code 3: the door refused, or went back to the old bundle.

Example: facelatch push --to 192.0.2.7:7117
Example: facelatch push front-door.flb --to /dev/ttyUSB0")]
pub struct Args {
    /// Bundle file written by pack [default: pack the workspace now].
    #[arg(value_name = "FILE", conflicts_with = "what")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    what: What,
    /// Do not set the door's clock.
    #[arg(long)]
    keep_time: bool,
    /// Do not wait for the end of the trial.
    #[arg(long)]
    no_wait: bool,
    /// Longest wait for the end of the trial, in seconds.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        conflicts_with = "no_wait"
    )]
    wait: u32,
}

#[derive(Serialize)]
struct Report {
    device: String,
    sha256: String,
    counter: u64,
    /// Of all parts.
    bytes: u64,
    bytes_sent: u64,
    /// The door had them already.
    bytes_saved: u64,
    /// Until the bundle was on trial.
    seconds: f64,
    /// "confirmed", "rolled-back" or "pending".
    trial: &'static str,
    /// Frames it still has to judge; null once the trial is over.
    frames_left: Option<u32>,
    /// Why the door went back to the bundle before; null if it did not.
    rolled_back: Option<Back>,
    /// How far the door's clock was moved; null if it was left alone.
    clock_moved_ms: Option<i64>,
}

/// Why a door went back.
#[derive(Serialize)]
struct Back {
    reason: &'static str,
    text: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            device, counter, ..
        } = self;
        match (&self.rolled_back, self.frames_left) {
            (Some(Back { reason, text }), _) => write!(
                f,
                "{device} went back to the bundle before, bundle {counter} did not prove itself ({reason}): {text}"
            )?,
            (None, Some(left)) => write!(
                f,
                "{device} has bundle {counter} on trial, with {left} frames to judge"
            )?,
            (None, None) => write!(f, "{device} runs bundle {counter} now")?,
        }
        write!(
            f,
            "\n{} bytes sent in {:.1} s, {} of {} saved: they were there already; sha256 {}",
            self.bytes_sent, self.seconds, self.bytes_saved, self.bytes, self.sha256
        )?;
        match self.clock_moved_ms {
            Some(moved) if moved.abs() >= 1000 => {
                write!(f, "\nits clock was moved by {:.1} s", moved as f64 / 1e3)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// Nothing to push, an unreachable door, or one that refuses.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let home = global.home();
    // Before the door is asked anything: this takes a while.
    let gathered = match &args.bundle {
        Some(_) => None,
        None => Some(gather(&home, &args.what, |space| global.zoo_of(space))?),
    };
    let mut client = args.door.connect(&home)?;
    let report = push(&home, args, gathered.as_ref(), &mut client).inspect_err(|error| {
        if let Error::Client(client::Error::Refused { refusal, .. }) = error
            && let Some(text) = what_to_do(refusal)
        {
            hint(text);
        }
    })?;
    global.format().print(&report)?;
    Ok(match (report.trial, args.no_wait) {
        ("rolled-back", _) => Exit::Refused,
        ("pending", false) => Exit::No,
        (_, _) => Exit::Done,
    })
}

fn push(
    home: &Home,
    args: &Args,
    gathered: Option<&Gathered>,
    client: &mut Client,
) -> Result<Report, Error> {
    let clock_moved_ms = if args.keep_time {
        None
    } else {
        set_clock(client)?
    };
    let scratch = tempfile::tempdir().map_err(Error::storage("create", std::env::temp_dir()))?;
    let bundle = match (&args.bundle, gathered) {
        (Some(bundle), _) => bundle.clone(),
        (None, Some(gathered)) => {
            keeps_policy(gathered, client)?;
            let highest = client.update_status()?.highest_counter;
            let path = scratch.path().join("bundle.flb");
            write_atomic(&path, &gathered.sign(home, highest)?.0)?;
            path
        }
        (None, None) => return Err(Error::Bug("neither a file nor parts to push".into())),
    };
    let start = Instant::now();
    let pushed = send(client, &bundle)?;
    let seconds = start.elapsed().as_secs_f64();
    let patience = Duration::from_secs(if args.no_wait { 0 } else { args.wait.into() });
    let trial = follow(client, &pushed, patience)?;
    let (word, frames_left, rolled_back) = match trial {
        Trial::Confirmed => ("confirmed", None, None),
        Trial::Pending { frames_left } => ("pending", Some(frames_left), None),
        Trial::RolledBack(back) => {
            let (reason, text) = (back.reason.as_str(), back.text.to_string());
            ("rolled-back", None, Some(Back { reason, text }))
        }
    };
    Ok(Report {
        device: client.device().to_owned(),
        sha256: pushed.id.digest.to_string(),
        counter: pushed.id.counter,
        bytes: pushed.size,
        bytes_sent: pushed.sent,
        bytes_saved: pushed.saved,
        seconds,
        trial: word,
        frames_left,
        rolled_back,
        clock_moved_ms,
    })
}

/// A door's policy is not dropped by a workspace that only has none, such as another admin's.
fn keeps_policy(gathered: &Gathered, client: &mut Client) -> Result<(), Error> {
    if gathered.leaves_policy_open() && client.policy_status()?.policy.is_some() {
        return Err(Error::NotReady(format!(
            "{} obeys a policy, and this workspace has none: put policy.toml there, or drop the door's with --without-policy",
            client.device()
        )));
    }
    Ok(())
}

fn set_clock(client: &mut Client) -> Result<Option<i64>, Error> {
    match client.time_sync(unix_ms_now()) {
        Ok((_, moved_ms)) => Ok(Some(moved_ms)),
        Err(error) if error.refusal().is_some() => {
            warn(&format!("the clock was not set: {error}"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn send(client: &mut Client, bundle: &Path) -> Result<Pushed, Error> {
    let size = std::fs::metadata(bundle).map_or(0, |meta| meta.len());
    let progress = Progress::bytes("pushing", size);
    let pushed = client.push(bundle, |there, _| progress.set(there))?;
    progress.finish();
    Ok(pushed)
}

fn follow(client: &mut Client, pushed: &Pushed, patience: Duration) -> Result<Trial, Error> {
    let mut progress: Option<(Progress, u32)> = None;
    let trial = client.await_trial(pushed.id, patience, |left| {
        let (bar, total) = progress
            .get_or_insert_with(|| (Progress::new("on trial", left.into(), "frames"), left));
        bar.set(total.saturating_sub(left).into());
    })?;
    Ok(trial)
}

/// What the operator can do about a refusal, beyond its own words.
fn what_to_do(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal {
        Refusal::Bundle(BundleFault::UnknownSigner) => {
            "the door trusts other keys than this workspace's: if one was rotated, run `facelatch keys send`; else use the \
             keys of the workspace that paired with it first, see `facelatch keys --help`"
        }
        Refusal::Bundle(BundleFault::Unsigned | BundleFault::Format { .. }) => {
            "the file is of another version of this program: pack it again"
        }
        Refusal::Bundle(BundleFault::Space) | Refusal::Space { .. } => {
            "the door's networks are others: push with --with-networks, or enroll and train with the door's"
        }
        Refusal::Bundle(BundleFault::PartMissing) => {
            "the door has no networks of its own for this bundle: push with --with-networks"
        }
        Refusal::Bundle(BundleFault::SelfTest) => {
            "the door's networks give other embeddings than this machine's: push with --with-networks"
        }
        Refusal::Bundle(BundleFault::Downgrade { .. } | BundleFault::Replayed { .. }) => {
            "without a FILE, push packs a bundle that is newer than all the door had"
        }
        Refusal::Role { .. } => {
            "this host is an operator at this door: an admin can invite it again"
        }
        Refusal::Keys => "see `facelatch keys --help`",
        Refusal::Busy => {
            "another bundle may be on trial, or another host may be pushing: wait, then try again"
        }
        _ => return None,
    })
}
