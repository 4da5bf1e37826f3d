//! `facelatch pair`: make a door know this host.

use std::{
    fmt, fs,
    io::{self, BufRead, IsTerminal, Write},
};

use facelatch_protocol::{DisplayName, PairingCode, Role, session::PairRequest};
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    client::{self, Client},
    cmd::door::{Door, PATIENCE},
    connect::Target,
    doors,
    home::{Home, unix_ms_now},
    report::warn,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A door shows a code while its pairing window is open: at its first start, while its button is held, or after `facelatch
hosts invite` by a host that is an admin already. The code works once. From then on, the door serves this host by its key,
and this host knows the door by its own: nobody in between can read or change what they say.

An operator may work with people, events and the audit record; an admin also with bundles, the clock, pairing and keys. The
first admin gives the door the two keys that sign bundles, see `facelatch keys --help`.

Without --code, the code is read from the terminal or standard input; case, dashes and spaces do not matter.

Exit code 3: the door refused.

Example: facelatch pair --to 192.0.2.7:7117 --code 7KQM-29FX-ABCD-0123
Example: facelatch pair --to /dev/ttyUSB0 --role operator --name reception")]
pub struct Args {
    #[command(flatten)]
    door: Door,
    /// The code the door shows [default: asked for].
    #[arg(long)]
    code: Option<String>,
    /// Name of this host, as the door is to list it [default: the machine's name].
    #[arg(long)]
    name: Option<String>,
    /// What this host wants to do: admin or operator.
    #[arg(long, default_value = "admin", value_parser = role)]
    role: Role,
}

/// Reads a role on the command line.
///
/// # Errors
/// What would be one.
pub fn role(text: &str) -> Result<Role, &'static str> {
    Role::parse(text).ok_or("a role is admin or operator")
}

#[derive(Serialize)]
struct Report {
    device: String,
    key: String,
    role: &'static str,
    to: String,
    host: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "paired with {} at {} as {} {}\n  door's key {}",
            self.device, self.to, self.role, self.host, self.key
        )
    }
}

/// Runs the verb.
///
/// # Errors
/// No code, an unreachable door, or one that refuses.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let home = global.home();
    let to = &args.door.to;
    let target: Target = to
        .parse()
        .map_err(client::Error::from)
        .map_err(Error::from)?;
    let code = match &args.code {
        Some(code) => code.clone(),
        None => ask_for_code(to)?,
    };
    let code = parse_code(&code)?;
    let name = host_name(args.name.as_deref())?;
    let request = request(&home, name.clone(), args.role)?;
    let line = Client::reach(&target, PATIENCE).map_err(Error::from)?;
    let secret = home.keys().host()?;
    let paired = Client::pair(
        line,
        &target.to_string(),
        &secret,
        &code,
        &request,
        PATIENCE,
    );
    let (_, paired) = paired.map_err(Error::from)?;
    let known = home.doors().named(&paired.door.to_string())?.pop();
    let mut door = doors::Door {
        key: paired.door,
        name: paired.device.clone(),
        targets: known
            .as_ref()
            .map_or_else(Vec::new, |door| door.targets.clone()),
        role: paired.role,
        paired_unix_ms: unix_ms_now(),
        audit: known.and_then(|door| door.audit),
    };
    door.reached_at(to);
    home.doors().put(&door)?;
    if paired.role < args.role {
        warn(&format!("the door gave the role {} only", paired.role));
    }
    global.format().print(&Report {
        device: paired.device,
        key: paired.door.to_string(),
        role: paired.role.as_str(),
        to: to.clone(),
        host: name.to_string(),
    })?;
    Ok(Exit::Done)
}

/// What a host of this workspace tells when it pairs.
///
/// # Errors
/// [`Error::Damaged`] or [`Error::Storage`].
pub fn request(home: &Home, name: DisplayName, role: Role) -> Result<PairRequest, Error> {
    let keys = match role {
        Role::Admin => Some(home.keys().trusted()?),
        Role::Operator => None,
    };
    Ok(PairRequest { name, role, keys })
}

/// Reads a typed code.
///
/// # Errors
/// [`Error::Usage`].
pub fn parse_code(text: &str) -> Result<PairingCode, Error> {
    PairingCode::parse(text.trim()).ok_or_else(|| {
        Error::Usage(
            "that is no pairing code: the door shows 16 letters and digits, such as 7KQM-29FX-ABCD-0123".into(),
        )
    })
}

fn ask_for_code(to: &str) -> Result<String, Error> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        // A prompt that cannot be shown is no reason not to listen.
        let _ = write!(io::stderr().lock(), "the code that {to} shows: ");
    }
    let mut line = String::new();
    stdin
        .lock()
        .read_line(&mut line)
        .map_err(Error::storage("read", "standard input"))?;
    Ok(line)
}

fn host_name(given: Option<&str>) -> Result<DisplayName, Error> {
    if let Some(name) = given {
        return DisplayName::parse(name)
            .map_err(|why| Error::Usage(format!("the name {name:?} {why}")));
    }
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    DisplayName::parse(machine.trim())
        .or_else(|_| DisplayName::parse("facelatch"))
        .map_err(|why| Error::Bug(format!("the default name {why}")))
}
