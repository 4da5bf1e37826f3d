//! `facelatch audit`: what a door has recorded, as evidence, and whether it holds.

mod entry;

pub(crate) use self::entry::Line;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use facelatch_protocol::{PublicKey, audit::Record};
use serde::Serialize;

use crate::{
    Error, Exit,
    audit::{Export, Flaw, Pin, Seen, Verified},
    cli::Global,
    cmd::door,
    home::unix_ms_now,
    progress::Progress,
    report::count,
    sealed::write_atomic,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A door numbers its records and chains them by their hashes; `verify` finds any that was changed, removed, moved or added.
The chain has no key, so its end, or all of it, could be written anew at the door. So this host remembers the last record it
has verified at each door, and `verify` and `export` say if it is not there any more. The door deletes the oldest records to
make room; export them before.

Exit code 1: the record does not hold; the first record that does not fit is named.

Example: facelatch audit verify --to 192.0.2.7:7117
Example: facelatch audit export --to 192.0.2.7:7117 --out front-door.audit && facelatch audit verify front-door.audit
Example: facelatch audit show --to 192.0.2.7:7117 --from 4000 --json")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write a door's whole record to a file.
    Export {
        #[command(flatten)]
        door: door::Door,
        /// The file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Check a record.
    Verify {
        #[command(flatten)]
        source: Source,
        /// A record that has to be there, as an earlier `verify` printed it.
        #[arg(long, value_name = "SEQ:HASH", value_parser = Pin::parse)]
        head: Option<Pin>,
        /// Forget the record this host saw last at the door: the door was set up anew.
        #[arg(long, conflicts_with_all = ["file", "head"])]
        renew: bool,
    },
    /// Print a record.
    Show {
        #[command(flatten)]
        source: Source,
        /// First record wanted [default: the oldest kept].
        #[arg(
            long,
            value_name = "SEQ",
            default_value_t = 0,
            hide_default_value = true
        )]
        from: u64,
    },
}

/// Where the record is.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// A file written by `facelatch audit export`.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The door: HOST[:PORT], a serial device such as /dev/ttyUSB0[@BAUD], or the name of a paired door.
    #[arg(long, value_name = "HOST:PORT|TTY|NAME")]
    to: Option<String>,
}

/// Whether a record holds.
#[derive(Debug, Serialize)]
struct Report {
    door: String,
    first_seq: u64,
    next_seq: u64,
    holds: bool,
    /// The last record, to be given as --head later.
    head: Option<String>,
    /// The record seen before: "none", "same", or "deleted".
    seen: Option<&'static str>,
    /// Records with words of a newer version.
    unreadable: u64,
    /// Number of the first record that does not fit.
    broken_at: Option<u64>,
    /// Why.
    broken: Option<String>,
    out: Option<PathBuf>,
}

impl Report {
    fn new(export: &Export, judged: &Result<Verified, Flaw>, out: Option<&Path>) -> Report {
        let verified = judged.as_ref().ok();
        let flaw = judged.as_ref().err();
        Report {
            door: export.door.to_string(),
            first_seq: export.head.first_seq,
            next_seq: export.head.next_seq,
            holds: flaw.is_none(),
            head: verified.and_then(|v| v.last).map(|pin| pin.to_string()),
            seen: verified.map(|v| match v.seen {
                Seen::Nothing => "none",
                Seen::Same => "same",
                Seen::Deleted => "deleted",
            }),
            unreadable: verified.map_or(0, |v| v.unreadable),
            broken_at: flaw.map(Flaw::seq),
            broken: flaw.map(Flaw::to_string),
            out: out.map(Path::to_path_buf),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(out) = &self.out {
            writeln!(f, "wrote {}", out.display())?;
        }
        if let Some(broken) = &self.broken {
            return write!(
                f,
                "the record of door {:.12} does not hold: {broken}",
                self.door
            );
        }
        let records = self.next_seq.saturating_sub(self.first_seq) as usize;
        let records = count(records, "record holds", "records hold");
        write!(f, "door {:.12}: {records}", self.door)?;
        if let Some(head) = &self.head {
            write!(f, ", {} to {head}", self.first_seq)?;
        }
        match self.seen {
            Some("same") => f.write_str("\nthe record seen before is there, unchanged")?,
            Some("deleted") => f.write_str(
                "\nthe door has deleted the record seen before to make room: that nothing was written anew since then cannot be told",
            )?,
            Some(_) | None => f.write_str("\nno record of this door was seen before: later ones will be compared with this one")?,
        }
        if self.unreadable > 0 {
            let these = count(self.unreadable as usize, "record is", "records are");
            write!(
                f,
                "\n{these} of a newer version, and cannot be shown by this one"
            )?;
        }
        Ok(())
    }
}

/// Runs the verb.
///
/// # Errors
/// A door that cannot be reached or refuses, or a file that cannot be read or written.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    match &args.verb {
        Verb::Export { door, out } => {
            let (export, seen) = fetch(global, &door.to)?;
            write_atomic(out, &export.to_bytes())?;
            judge_at_door(global, &export, seen, Some(out))
        }
        Verb::Verify {
            source,
            head,
            renew,
        } => {
            let (export, seen) = source.read(global)?;
            match (head, &source.to) {
                (Some(pin), _) => judge_with(global, &export, *pin),
                (None, Some(_)) => judge_at_door(global, &export, seen.filter(|_| !renew), None),
                // A file from before the record seen last need not hold it.
                (None, None) => {
                    let known = seen.filter(|pin| pin.seq < export.head.next_seq);
                    report(global, &export, &export.verify(known), None)
                }
            }
        }
        Verb::Show { source, from } => {
            let (export, _) = source.read(global)?;
            show(global, &export, *from)
        }
    }
}

impl Source {
    /// The record, and the one seen last at its door.
    fn read(&self, global: &Global) -> Result<(Export, Option<Pin>), Error> {
        let Some(path) = &self.file else {
            // One of the two is there: clap asks for it.
            return fetch(global, self.to.as_deref().unwrap_or_default());
        };
        let bytes = fs::read(path).map_err(|error| Error::Input {
            path: path.clone(),
            why: format!("cannot be read: {error}"),
        })?;
        let export = Export::parse(&bytes).ok_or_else(|| Error::Input {
            path: path.clone(),
            why: "is no audit record, or its first bytes were changed; export it again".into(),
        })?;
        let seen = seen(global, &export.door)?;
        Ok((export, seen))
    }
}

fn seen(global: &Global, door: &PublicKey) -> Result<Option<Pin>, Error> {
    let doors = global.home().doors().all()?;
    let door = doors.into_iter().find(|known| known.key == *door);
    Ok(door.and_then(|known| known.audit))
}

/// A door's whole record, and the record seen last there.
fn fetch(global: &Global, to: &str) -> Result<(Export, Option<Pin>), Error> {
    let (mut client, door) = door::open(&global.home(), to)?;
    let progress = Progress::new("reading the record", 0, "records");
    let export = Export::fetch(
        door.key,
        unix_ms_now(),
        &mut |from| client.audit_page(from),
        &mut |done, of| {
            progress.set_total(of);
            progress.set(done);
        },
    )?;
    progress.finish();
    Ok((export, door.audit))
}

/// Judges a door's record by the one seen last, and remembers where it ends now.
fn judge_at_door(
    global: &Global,
    export: &Export,
    seen: Option<Pin>,
    out: Option<&Path>,
) -> anyhow::Result<Exit> {
    let judged = export.verify(seen);
    if let Ok(Verified {
        last: Some(last), ..
    }) = &judged
    {
        let doors = global.home().doors();
        let known = doors.all()?;
        if let Some(mut door) = known.into_iter().find(|door| door.key == export.door) {
            door.audit = Some(*last);
            doors.put(&door)?;
        }
    }
    report(global, export, &judged, out)
}

/// Judges a record by one that has to be there.
fn judge_with(global: &Global, export: &Export, pin: Pin) -> anyhow::Result<Exit> {
    let judged = match export.verify(Some(pin)) {
        Ok(Verified {
            seen: Seen::Deleted,
            ..
        }) => Err(Flaw::Deleted { seq: pin.seq }),
        judged => judged,
    };
    report(global, export, &judged, None)
}

fn report(
    global: &Global,
    export: &Export,
    judged: &Result<Verified, Flaw>,
    out: Option<&Path>,
) -> anyhow::Result<Exit> {
    global.format().print(&Report::new(export, judged, out))?;
    Ok(match judged {
        Ok(_) => Exit::Done,
        Err(_) => Exit::No,
    })
}

fn show(global: &Global, export: &Export, from: u64) -> anyhow::Result<Exit> {
    let format = global.format();
    let mut printed = Ok(());
    let walked = export.walk(&mut |seq, record: Record<'_>| {
        if seq >= from && printed.is_ok() {
            printed = format.print(&Line::new(seq, record.entry()));
        }
    });
    printed?;
    match walked {
        Ok(_) => Ok(Exit::Done),
        Err(flaw) => {
            crate::report::warn(&flaw.to_string());
            Ok(Exit::No)
        }
    }
}
