//! `facelatch push`: set up a door with a bundle.

use std::{fmt, path::PathBuf, time::Instant};

use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    cmd::{door::Door, pack::from_home},
    home::unix_ms_now,
    progress::Progress,
    report::warn,
    sealed::write_atomic,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The door checks the bundle and tries it out before it switches; until then, and after any interruption, it goes on with
the old one. A push that was cut off goes on where it stopped when it is run again with the same bundle FILE. The door's
clock is set first, unless --keep-time.

Exit code 3: the door refused.

Example: facelatch push --to 192.0.2.7:7117
Example: facelatch push front-door.flb --to /dev/ttyUSB0")]
pub struct Args {
    /// Bundle file written by pack [default: pack the enrolled people now].
    #[arg(value_name = "FILE")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    door: Door,
    /// Without FILE: put the networks into the bundle too.
    #[arg(long, conflicts_with = "bundle")]
    with_networks: bool,
    /// Do not set the door's clock.
    #[arg(long)]
    keep_time: bool,
}

#[derive(Serialize)]
struct Report {
    device: String,
    sha256: String,
    counter: u64,
    bytes: u64,
    /// Bytes the door had already.
    resumed_at: u64,
    seconds: f64,
    /// How far the door's clock was moved; null if it was left alone.
    clock_moved_ms: Option<i64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs bundle {} now: {} bytes in {:.1} s, sha256 {}",
            self.device, self.counter, self.bytes, self.seconds, self.sha256
        )?;
        if self.resumed_at > 0 {
            write!(f, " ({} of them were there already)", self.resumed_at)?;
        }
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
    let scratch = tempfile::tempdir().map_err(Error::storage("create", std::env::temp_dir()))?;
    let bundle = match &args.bundle {
        Some(bundle) => bundle.clone(),
        None => {
            let zoo = if args.with_networks {
                Some(global.zoo()?)
            } else {
                None
            };
            let (bytes, _) = from_home(&global.home(), zoo.as_ref())?;
            let path = scratch.path().join("bundle.flb");
            write_atomic(&path, &bytes)?;
            path
        }
    };
    let mut client = args.door.connect().map_err(Error::from)?;
    let device = client.device().to_owned();
    let clock_moved_ms = match args.keep_time {
        true => None,
        false => match client.time_sync(unix_ms_now()) {
            Ok((_, moved_ms)) => Some(moved_ms),
            Err(error) if error.refusal().is_some() => {
                warn(&format!("the clock was not set: {error}"));
                None
            }
            Err(error) => return Err(Error::from(error).into()),
        },
    };
    let start = Instant::now();
    let progress = Progress::bytes(
        "pushing",
        std::fs::metadata(&bundle).map_or(0, |meta| meta.len()),
    );
    let pushed = client
        .push(&bundle, |received, _| progress.set(received))
        .map_err(Error::from)?;
    progress.finish();
    global.format().print(&Report {
        device,
        sha256: pushed.id.digest.to_string(),
        counter: pushed.id.counter,
        bytes: pushed.size,
        resumed_at: pushed.resumed_at,
        seconds: start.elapsed().as_secs_f64(),
        clock_moved_ms,
    })?;
    Ok(Exit::Done)
}
