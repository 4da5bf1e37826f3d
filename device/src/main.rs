//! facelatchd: parse, start the door, wait for it or for a signal. Everything else is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use facelatch_device::{Device, Error, cli::Args};

fn main() -> ExitCode {
    let args = Args::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    match serve(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("facelatchd: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn serve(args: &Args) -> Result<(), Error> {
    let device = Device::start(args.settings()?)?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, device.stop_flag())
            .map_err(|e| Error::Bug(format!("cannot listen to signals: {e}")))?;
    }
    device.join()
}
