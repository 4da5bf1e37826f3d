//! `facelatch completions`: what a shell needs to complete the command line, on standard output.

use std::io;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{
    Exit,
    cli::{Cli, Global},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: facelatch completions bash | sudo tee /usr/share/bash-completion/completions/facelatch")]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints them.
///
/// # Errors
/// None.
pub fn run(_: &Global, args: &Args) -> anyhow::Result<Exit> {
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "facelatch",
        &mut io::stdout(),
    );
    Ok(Exit::Done)
}
