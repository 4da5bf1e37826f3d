//! Parses the command line, runs one verb, and turns its outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use facelatch_host::{
    Error, Exit,
    cli::{Cli, Global, Verb},
    cmd,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads any more (a closed pipe) is no failure.
            let _ = error.print();
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            return ExitCode::from(exit.code());
        }
    };
    start_log(cli.global.verbose);
    let exit = match run(&cli.global, &cli.verb) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("error: {error:#}");
            exit_of(&error)
        }
    };
    ExitCode::from(exit.code())
}

fn run(global: &Global, verb: &Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::Enroll(args) => cmd::enroll::run(global, args),
        Verb::Train(args) => cmd::train::run(global, args),
        Verb::Calibrate(args) => cmd::calibrate::run(global, args),
        Verb::Evaluate(args) => cmd::evaluate::run(global, args),
        Verb::Embed(args) => cmd::embed::run(global, args),
        Verb::Export(args) => cmd::export::run(global, args),
        Verb::Detect(args) => cmd::detect::run(global, args),
        Verb::Pad(args) => cmd::pad::run(global, args),
        Verb::Predict(args) => cmd::predict::run(global, args),
        Verb::Pair(args) => cmd::pair::run(global, args),
        Verb::Hosts(args) => cmd::hosts::run(global, args),
        Verb::Doors(args) => cmd::doors::run(global, args),
        Verb::Door(args) => cmd::latch::run(global, args),
        Verb::Keys(args) => cmd::keys::run(global, args),
        Verb::Policy(args) => cmd::policy::run(global, args),
        Verb::Pack(args) => cmd::pack::run(global, args),
        Verb::Push(args) => cmd::push::run(global, args),
        Verb::Pull(args) => cmd::pull::run(global, args),
        Verb::Status(args) => cmd::status::run(global, args),
        Verb::People(args) => cmd::people::run(global, args),
        Verb::Events(args) => cmd::events::run(global, args),
        Verb::Audit(args) => cmd::audit::run(global, args),
        Verb::Serve(args) => cmd::serve::run(global, args),
        Verb::Demo(args) => cmd::demo::run(global, args),
        Verb::Bench(args) => cmd::bench::run(global, args),
        Verb::Models(args) => cmd::models::run(global, args),
        Verb::Completions(args) => cmd::completions::run(global, args),
        Verb::Man(args) => cmd::man::run(global, args),
    }
}

/// The exit code of the first error in the chain that knows its own; anything else is the machine's failure.
fn exit_of(error: &anyhow::Error) -> Exit {
    let known = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Error>());
    known.map_or(Exit::Failed, Error::exit)
}

fn start_log(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        2.. => log::LevelFilter::Debug,
    };
    // The network runtime has much to say that is of no use to an operator.
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Error)
        .filter_module("facelatch", level)
        .filter_module("facelatch_host", level)
        .filter_module("facelatch_models", level)
        .filter_module("facelatch_device", level)
        .filter_module("facelatch_boards", level)
        .init();
}
