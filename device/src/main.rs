//! facelatchd: parse, start the door, wait for it or for a signal; or run one verb. Everything else is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use facelatch_device::{
    Device, Error,
    cli::{Args, Cli, Verb},
    cmd, signals,
};

/// A check that found something to mend.
const NO: u8 = 1;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = if cli.verb.is_some() { "warn" } else { "info" };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level)).init();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("facelatchd: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let done = |()| ExitCode::SUCCESS;
    match (&cli.verb, &cli.args) {
        (Some(Verb::Check(args)), _) => Ok(match cmd::check::run(args)? {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(NO),
        }),
        (Some(Verb::Relay(args)), _) => cmd::relay::run(args).map(done),
        (Some(Verb::Completions(args)), _) => cmd::completions::run(args).map(done),
        (Some(Verb::Man(args)), _) => cmd::man::run(args).map(done),
        (None, Some(args)) => serve(args).map(done),
        (None, None) => Err(Error::Call("give the data folder: --data DIR".to_owned())),
    }
}

fn serve(args: &Args) -> Result<(), Error> {
    let device = Device::start(args.settings()?).inspect_err(|error| hint(error, &args.board))?;
    signals::stop(&device.stop_flag())?;
    device.join()
}

/// What helps where a board does not answer. It is never replaced by another one.
fn hint(error: &Error, board: &str) {
    if let Error::Board(_) = error {
        eprintln!(
            "facelatchd: `facelatchd check --board {board}` says what is missing; `--board sim` runs a door without hardware"
        );
    }
}
