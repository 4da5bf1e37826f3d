//! `facelatch hosts`: which hosts a door is paired with.

use std::fmt;

use facelatch_protocol::{Host, PublicKey, Refusal, Role};
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    client::Client,
    cmd::{door::connect, events::clock, pair::role},
    doors::is_key_prefix,
    report::count,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Takes the role admin. `invite` opens the door's pairing window and prints the code for `facelatch pair` at another host;
`revoke` makes the door forget a host at once, by its name or the first 8 digits of its key.

Exit code 1: there is no such host. Exit code 3: the door refused.

Example: facelatch hosts list --to 192.0.2.7:7117
Example: facelatch hosts invite --role operator --to 192.0.2.7:7117
Example: facelatch hosts revoke reception --to 192.0.2.7:7117")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// The door: HOST[:PORT], a serial device such as /dev/ttyUSB0[@BAUD], or the name of a paired door.
    // An argument of all verbs below cannot be required: `run` asks for it.
    #[arg(long, global = true, value_name = "HOST:PORT|TTY|NAME")]
    to: Option<String>,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the hosts.
    List,
    /// Make the door forget a host.
    Revoke {
        /// Its name, its key, or the first digits of it.
        #[arg(value_name = "NAME|KEY")]
        host: String,
    },
    /// Open the pairing window and print the code.
    Invite {
        /// The highest role it gives: admin or operator.
        #[arg(long, default_value = "operator", value_parser = role)]
        role: Role,
    },
    /// Close the pairing window.
    Close,
}

#[derive(Serialize)]
struct List {
    hosts: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    key: String,
    name: String,
    role: &'static str,
    paired_unix_ms: u64,
    /// Whether it is the host that asks.
    this: bool,
}

#[derive(Serialize)]
struct Changed {
    host: String,
    done: &'static str,
}

#[derive(Serialize)]
struct Invitation {
    code: String,
    role: &'static str,
    closes_unix_ms: u64,
}

#[derive(Serialize)]
struct Closed {
    done: &'static str,
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for host in &self.hosts {
            writeln!(
                f,
                "{:.16}  {:9} {:32} since {}{}",
                host.key,
                host.role,
                host.name,
                clock(host.paired_unix_ms),
                if host.this { "  (this host)" } else { "" }
            )?;
        }
        write!(f, "{}", count(self.hosts.len(), "host", "hosts"))
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.host, self.done)
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "code {} for one {}, until {}",
            self.code,
            self.role,
            clock(self.closes_unix_ms)
        )
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.done)
    }
}

/// Runs the verb.
///
/// # Errors
/// An unreachable door, or one that refuses.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let to = args.to.as_deref().ok_or_else(|| {
        Error::Usage("name the door: --to HOST:PORT, a serial device or a door's name".into())
    })?;
    let home = global.home();
    let mut client = connect(&home, to)?;
    let exit = match &args.verb {
        Verb::List => {
            let this = home.keys().host()?.public();
            let hosts = client.hosts().map_err(Error::from)?;
            let listed = hosts.into_iter().map(|host| Listed::new(&host, this));
            global.format().print(&List {
                hosts: listed.collect(),
            })?;
            Exit::Done
        }
        Verb::Revoke { host } => revoke(global, &mut client, host)?,
        Verb::Invite { role } => {
            let (code, closes_unix_ms) = client.pairing_open(*role).map_err(Error::from)?;
            let role = role.as_str();
            global.format().print(&Invitation {
                code,
                role,
                closes_unix_ms,
            })?;
            Exit::Done
        }
        Verb::Close => {
            client.pairing_close().map_err(Error::from)?;
            let done = "the pairing window is closed";
            global.format().print(&Closed { done })?;
            Exit::Done
        }
    };
    Ok(exit)
}

fn revoke(global: &Global, client: &mut Client, named: &str) -> Result<Exit, Error> {
    let hosts = client.hosts()?;
    let mut meant = hosts
        .iter()
        .filter(|host| *host.name == *named || is_key_prefix(&host.key, named));
    let (done, exit) = match (meant.next(), meant.next()) {
        (Some(host), None) => match client.host_revoke(host.key) {
            Ok(()) => ("revoked", Exit::Done),
            Err(error) if error.refusal() == Some(&Refusal::UnknownHost) => {
                ("no such host", Exit::No)
            }
            Err(error) => return Err(error.into()),
        },
        (Some(_), Some(_)) => {
            return Err(Error::Usage(format!(
                "several hosts are named {named}: give the first digits of the key, see `facelatch hosts list`"
            )));
        }
        (None, _) => ("no such host", Exit::No),
    };
    let host = named.to_owned();
    global.format().print(&Changed { host, done })?;
    Ok(exit)
}

impl Listed {
    fn new(host: &Host, this: PublicKey) -> Listed {
        Listed {
            key: host.key.to_string(),
            name: host.name.to_string(),
            role: host.role.as_str(),
            paired_unix_ms: host.paired_unix_ms,
            this: host.key == this,
        }
    }
}
