//! `facelatch keys`: the two keys that sign bundles, and how doors learn of their successors.

use std::{fmt, path::PathBuf};

use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    cmd::door::connect,
    home::Home,
    keys::{Rotation, Which},
    report::{count, warn},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A door trusts two keys: either signs bundles, and either may name the next two. They are minisign key pairs in
HOME/keys, signing-1 and signing-2, not encrypted and readable by their owner only. Move signing-2 to a safe place (a USB
stick in a drawer; its .pub file stays): if signing-1 is lost or stolen, bring it back and rotate. Another workspace that is
to set up the same doors needs signing-1 and the files signing-*.pub and serial too.

`rotate` makes a new key in place of one, has the other sign both, and gives them to each door named; until all of them have
taken it, the old key stays in use here and the same call goes on. Doors that were not named trust the key that stays: give
them the last rotation later with `send`.

Exit code 3: a door refused.

Example: facelatch keys show
Example: facelatch keys rotate --to front-door --to back-door
Example: facelatch keys send --to shed")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show this host's key and the two signing keys.
    Show,
    /// Replace a signing key, here and at doors.
    Rotate {
        /// The key to replace: 1 or 2.
        #[arg(long, default_value = "1", value_parser = which)]
        key: Which,
        /// A door; can be given several times.
        #[arg(long, required = true, value_name = "HOST:PORT|TTY|NAME")]
        to: Vec<String>,
    },
    /// Give the last rotation to doors that have not got it.
    Send {
        /// A door; can be given several times.
        #[arg(long, required = true, value_name = "HOST:PORT|TTY|NAME")]
        to: Vec<String>,
    },
}

fn which(text: &str) -> Result<Which, &'static str> {
    match text {
        "1" => Ok(Which::First),
        "2" => Ok(Which::Second),
        _ => Err("a key is 1 or 2"),
    }
}

#[derive(Serialize)]
struct Report {
    folder: PathBuf,
    /// What doors know this host by.
    host: String,
    serial: u64,
    signing: [Signing; 2],
    /// A rotation that not every door has taken yet.
    rotating: bool,
}

#[derive(Serialize)]
struct Signing {
    public: String,
    /// Whether the secret key is in the folder.
    here: bool,
}

#[derive(Serialize)]
struct Sent {
    serial: u64,
    doors: Vec<String>,
    /// Doors that could not be reached or refused.
    missing: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "in {}", self.folder.display())?;
        writeln!(f, "  this host  {}", self.host)?;
        for (n, key) in self.signing.iter().enumerate() {
            let place = if key.here { "here" } else { "elsewhere" };
            writeln!(f, "  signing-{}  {}  {place}", n + 1, key.public)?;
        }
        write!(f, "  serial     {}", self.serial)?;
        if self.rotating {
            write!(
                f,
                "\na rotation is under way: go on with `facelatch keys rotate`"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "keys {} are trusted by {}",
            self.serial,
            count(self.doors.len(), "door", "doors")
        )?;
        if !self.missing.is_empty() {
            write!(f, ", not by {}: run this again", self.missing.join(", "))?;
        }
        Ok(())
    }
}

/// Runs the verb.
///
/// # Errors
/// Keys that are missing or damaged, an unreachable door, or one that refuses.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let home = global.home();
    let keys = home.keys();
    match &args.verb {
        Verb::Show => {
            let trusted = keys.trusted()?;
            let [first, second] = keys.here()?;
            let signing = |n: usize, here| Signing {
                public: trusted.keys[n].to_string(),
                here,
            };
            global.format().print(&Report {
                folder: keys.dir().to_path_buf(),
                host: keys.host()?.public().to_string(),
                serial: trusted.serial,
                signing: [signing(0, first), signing(1, second)],
                rotating: keys.rotation()?.is_some_and(|rotation| !rotation.done),
            })?;
            Ok(Exit::Done)
        }
        Verb::Rotate { key, to } => {
            let rotation = keys.rotate(*key)?;
            let exit = send(global, &home, &rotation, to)?;
            if exit == Exit::Done {
                keys.finish(&rotation)?;
            }
            Ok(exit)
        }
        Verb::Send { to } => {
            let rotation = keys.rotation()?.ok_or_else(|| {
                Error::NotReady(
                    "no key was ever rotated here: `facelatch keys rotate` does that".into(),
                )
            })?;
            Ok(send(global, &home, &rotation, to)?)
        }
    }
}

/// Gives the keys to every door; the worst of what came of it.
fn send(global: &Global, home: &Home, rotation: &Rotation, to: &[String]) -> Result<Exit, Error> {
    let (mut doors, mut missing, mut exit) = (Vec::new(), Vec::new(), Exit::Done);
    for to in to {
        let sent = connect(home, to).and_then(|mut client| {
            client.keys_replace(rotation.keys, &rotation.signature)?;
            Ok(())
        });
        match sent {
            Ok(()) => doors.push(to.clone()),
            Err(error) => {
                warn(&error.to_string());
                missing.push(to.clone());
                if error.exit().code() > exit.code() {
                    exit = error.exit();
                }
            }
        }
    }
    global.format().print(&Sent {
        serial: rotation.keys.serial,
        doors,
        missing,
    })?;
    Ok(exit)
}
