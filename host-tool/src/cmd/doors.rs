//! `facelatch doors`: the doors this host is paired with, as the workspace knows them.

use std::fmt;

use serde::Serialize;

use crate::{Error, Exit, cli::Global, cmd::events::clock, doors::Door, report::count};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks no door. A door that is forgotten here still knows this host: let it forget too, with `facelatch hosts revoke`.

Exit code 1: there is no such door.

Example: facelatch doors list
Example: facelatch doors forget front-door")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the doors.
    List,
    /// Forget a door.
    Forget {
        /// Its name, its key, or the first digits of it.
        #[arg(value_name = "NAME|KEY")]
        door: String,
    },
}

#[derive(Serialize)]
struct List {
    doors: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    key: String,
    role: &'static str,
    reached_at: Vec<String>,
    paired_unix_ms: u64,
}

#[derive(Serialize)]
struct Changed {
    door: String,
    done: &'static str,
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for door in &self.doors {
            writeln!(
                f,
                "{:.16}  {:9} {:24} since {}  {}",
                door.key,
                door.role,
                door.name,
                clock(door.paired_unix_ms),
                door.reached_at.join(", ")
            )?;
        }
        write!(f, "{}", count(self.doors.len(), "door", "doors"))
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.door, self.done)
    }
}

impl From<Door> for Listed {
    fn from(door: Door) -> Listed {
        Listed {
            name: door.name,
            key: door.key.to_string(),
            role: door.role.as_str(),
            reached_at: door.targets,
            paired_unix_ms: door.paired_unix_ms,
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// A workspace that cannot be read or written.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let doors = global.home().doors();
    match &args.verb {
        Verb::List => {
            let doors = doors.all()?.into_iter().map(Listed::from).collect();
            global.format().print(&List { doors })?;
            Ok(Exit::Done)
        }
        Verb::Forget { door: named } => {
            let (done, exit) = match doors.named(named)?.as_slice() {
                [] => ("no such door", Exit::No),
                [door] => {
                    doors.forget(&door.key)?;
                    ("forgotten", Exit::Done)
                }
                _ => {
                    return Err(Error::Usage(format!(
                        "several doors are named {named}: give the first digits of the key, see `facelatch doors list`"
                    ))
                    .into());
                }
            };
            let door = named.clone();
            global.format().print(&Changed { door, done })?;
            Ok(exit)
        }
    }
}
