//! `facelatchd completions`: what a shell needs to complete the command line, on standard output.

use std::io;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{Error, cli::Cli};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: facelatchd completions bash | sudo tee /usr/share/bash-completion/completions/facelatchd")]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints them.
///
/// # Errors
/// None that matter: a reader that has gone needs no more.
pub fn run(args: &Args) -> Result<(), Error> {
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "facelatchd",
        &mut io::stdout(),
    );
    Ok(())
}
