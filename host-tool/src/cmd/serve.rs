//! `facelatch serve`: the HTTP API and the web console.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    report::{Format, warn},
    serve::{self, Limits, Settings, Token},
};

/// Where it listens unless told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7118);

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints a token at its first start, once: programs show it as `Authorization: Bearer TOKEN`, people type it into the console.
The console is at /, the API under /api/v1, its documentation at /docs.

Listens on this machine only. To be reached from others, put a reverse proxy with TLS before it, and name it with --name;
whoever has the token can unlock doors. Stops at ctrl-c or SIGTERM.

Example: facelatch serve
Example: facelatch serve --listen 127.0.0.1:8080 --name doors.example.org")]
pub struct Args {
    /// Address and port to listen on; port 0 lets the system choose.
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = LISTEN)]
    listen: SocketAddr,
    /// A name it may be called by, besides localhost and addresses; may be given several times.
    #[arg(long, value_name = "HOST")]
    name: Vec<String>,
    /// Print the API's OpenAPI document, and serve nothing.
    #[arg(long)]
    openapi: bool,
    /// Make a new token; the old one and all sessions end.
    #[arg(long)]
    new_token: bool,
    /// Largest photo taken, in megabytes.
    #[arg(long, value_name = "MB", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=250))]
    max_photo_mb: u16,
    /// Largest photo taken, in megapixels.
    #[arg(long, value_name = "MPX", default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=64))]
    max_photo_mpx: u16,
    /// Most photos in one request.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    max_photos: u16,
}

/// What it tells once it listens.
#[derive(Serialize)]
struct Started {
    url: String,
    /// The token, if it was made just now.
    token: Option<String>,
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "console   {}/", self.url)?;
        write!(
            f,
            "API       {}/api/v1, documentation {}/docs",
            self.url, self.url
        )?;
        match &self.token {
            Some(token) => write!(
                f,
                "\ntoken     {token}\n          shown this once; --new-token makes another. Signed in: {}/#token={token}",
                self.url
            ),
            None => Ok(()),
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// Networks that cannot be loaded, or are not those of the enrolled people; a workspace that cannot be written, an address
/// that cannot be listened on.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    if args.openapi {
        return print_document();
    }
    let home = global.home();
    let (token, text) = Token::of(&home, args.new_token)?;
    if !args.listen.ip().is_loopback() {
        warn(
            "others on the network can reach this server, and it does not encrypt: put a proxy with TLS before it",
        );
    }
    let limits = Limits {
        photo_bytes: usize::from(args.max_photo_mb) << 20,
        photo_px: u64::from(args.max_photo_mpx) * 1_000_000,
        photos: args.max_photos.into(),
        ..Limits::default()
    };
    let settings = Settings {
        zoo: global.zoo_of(home.space()?.as_ref())?,
        home,
        listen: args.listen,
        names: args.name.clone(),
        limits,
        token,
    };
    let format = global.format();
    let mut printed = Ok::<(), Error>(());
    serve::run(settings, |address| {
        let url = format!("http://{address}");
        printed = format.print(&Started { url, token: text });
    })?;
    printed?;
    Ok(Exit::Done)
}

fn print_document() -> anyhow::Result<Exit> {
    let text = serde_json::to_string_pretty(&serve::document())?;
    Format::Human.say(&text)?;
    Ok(Exit::Done)
}
