//! The command line of `facelatchd`: text to plain arguments. What they mean for the settings is in [`Args::settings`]; what
//! the verbs do is in `cmd`, one verb a file.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use facelatch_boards::{BoardFile, CameraFacts};
use facelatch_models::liveness::Level;

use crate::{Config, Error, Settings, StopAfter, Supervisor, cmd, seal::private_folder};

/// Watches a door: recognises enrolled people in front of the camera and drives the relay for them.
#[derive(Debug, Parser)]
#[command(
    name = "facelatchd",
    version,
    long_about = None,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do instead of watching a door.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// How to watch one.
    #[command(flatten)]
    pub args: Option<Args>,
}

/// What there is to do beside watching a door.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Look whether this machine has what the board file says, and say what to do where it has not.
    Check(cmd::check::Args),
    /// Try the relay.
    Relay(cmd::relay::Args),
    /// Print completions for a shell.
    Completions(cmd::completions::Args),
    /// Write the manual pages.
    #[command(hide = true)]
    Man(cmd::man::Args),
}

/// How to watch a door.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Board this runs on: sim, pi3, pi4, pi5, zero2w, linux, or the path of a board file.
    #[arg(long, value_name = "NAME|FILE", default_value = "sim")]
    pub board: String,
    /// Folder of everything the door keeps: settings, people, bundles, audit record. Made if needed.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Settings; DIR/device.toml if not given, written with all defaults at the first start.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sim board: photos to show to the camera, in order of name or as its replay.toml says. They do not move: passive
    /// liveness is off.
    #[arg(long, value_name = "DIR")]
    pub replay: Option<PathBuf>,
    /// Address and port for hosts, instead of link.tcp_listen in the settings; "" for none.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Serial device for hosts, instead of link.serial_port in the settings.
    #[arg(long, value_name = "PATH")]
    pub serial: Option<String>,
    /// Folder of the installed networks, instead of the usual places.
    #[arg(long, value_name = "DIR")]
    pub zoo: Option<PathBuf>,
    /// Stop after this many frames.
    #[arg(long, value_name = "N", conflicts_with = "once")]
    pub frames: Option<u64>,
    /// Stop when the replay is over.
    #[arg(long, requires = "replay")]
    pub once: bool,
}

const EXAMPLES: &str = "\
Examples:
  facelatchd --data door                             a simulated door; push a bundle to it with `facelatch push`
  facelatchd --data door --replay photos --once      show it these photos, then stop; the log says who got in
  facelatchd check --board pi4                       is everything there that this board file names?
  facelatchd --board pi4 --data /var/lib/facelatch   a real door

Exit codes: 0 stopped in order, 1 a check found something to mend, 2 the call or a setting is wrong, 4 the machine failed.
Set RUST_LOG=debug for more, RUST_LOG=warn for less.";

impl Args {
    /// What to start.
    ///
    /// # Errors
    /// [`Error::Board`], [`Error::Config`], [`Error::Storage`].
    pub fn settings(&self) -> Result<Settings, Error> {
        let mut board = BoardFile::named(&self.board)?;
        if let Some(folder) = &self.replay {
            let CameraFacts::Replay(replay) = &mut board.camera else {
                let why = format!(
                    "--replay needs a simulated board, {} has a camera",
                    board.name
                );
                return Err(Error::Call(why));
            };
            replay.folder = Some(folder.clone());
            if self.once {
                replay.at_end = facelatch_boards::AtEnd::Stop;
            }
        }
        private_folder(&self.data).map_err(Error::storage("create", &self.data))?;
        let file = self
            .config
            .clone()
            .unwrap_or_else(|| self.data.join("device.toml"));
        let defaults = Config::of_board(&board).map_err(|why| Error::Config {
            path: self.board.clone().into(),
            why,
        })?;
        let mut config = Config::load_or_create(&file, defaults)?;
        config
            .suits(&board)
            .map_err(|why| Error::Config { path: file, why })?;
        if let Some(listen) = &self.listen {
            config.link.tcp_listen.clone_from(listen);
        }
        if let Some(serial) = &self.serial {
            config.link.serial_port.clone_from(serial);
        }
        if self.replay.is_some() && config.liveness.level == Level::Passive {
            log::info!("photos do not move: liveness.level is off for this replay");
            config.liveness.level = Level::Off;
        }
        let stop_after = match (self.once, self.frames) {
            (true, _) => StopAfter::Replay,
            (false, Some(frames)) => StopAfter::Frames(frames),
            (false, None) => StopAfter::Never,
        };
        Ok(Settings {
            board,
            data: self.data.clone(),
            config,
            zoo: self.zoo.clone(),
            stop_after,
            show_codes: true,
            supervisor: Supervisor::from_env(),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn a_door_is_watched_or_a_verb_is_run() {
        Cli::command().debug_assert();
        let cases = [
            ("--data door", Some("watch")),
            ("--data door --board pi4 --frames 3", Some("watch")),
            ("check", Some("verb")),
            ("check --board pi4 --json", Some("verb")),
            ("relay test --yes --pulse-ms 50", Some("verb")),
            ("completions bash", Some("verb")),
            ("man out", Some("verb")),
            ("", None),
            ("--board pi4", None),
            ("--data door check", None),
            ("relay", None),
            ("relay test --pulse-ms 60000", None),
            ("--data door --once", None),
        ];
        let mut failures = vec![];
        for (line, want) in cases {
            let words = ["facelatchd"].into_iter().chain(line.split_whitespace());
            let got = Cli::try_parse_from(words);
            let got = got.ok().map(|cli| match (cli.verb, cli.args) {
                (Some(_), None) => "verb",
                (None, Some(_)) => "watch",
                (Some(_), Some(_)) | (None, None) => "both or neither",
            });
            if got != want {
                failures.push(format!("{line:?}: {got:?}"));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
