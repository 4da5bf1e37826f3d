//! `facelatchd man`: the manual pages, for packages.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::{Error, cli::Cli};

/// Section of the manual for programs of the system's administrator.
const SECTION: &str = "8";

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder to write them to; made if needed.
    #[arg(value_name = "DIR")]
    out: PathBuf,
}

/// Writes a page for the program and one for each verb that is shown.
///
/// # Errors
/// [`Error::Storage`].
pub fn run(args: &Args) -> Result<(), Error> {
    fs::create_dir_all(&args.out).map_err(Error::storage("create", &args.out))?;
    let mut program = Cli::command();
    program.build();
    pages(&program, &args.out).map_err(Error::storage("write a page to", &args.out))
}

fn pages(command: &Command, out: &Path) -> io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        pages(verb, out)?;
    }
    Man::new(command.clone())
        .section(SECTION)
        .generate_to(out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_that_is_shown_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("man");
        run(&Args { out: out.clone() }).unwrap();
        let mut pages: Vec<String> = fs::read_dir(&out)
            .unwrap()
            .map(|page| page.unwrap().file_name().into_string().unwrap())
            .collect();
        pages.sort();
        assert_eq!(
            pages,
            [
                "facelatchd-check.8",
                "facelatchd-completions.8",
                "facelatchd-relay-test.8",
                "facelatchd-relay.8",
                "facelatchd.8"
            ]
        );
        let main = fs::read_to_string(out.join("facelatchd.8")).unwrap();
        assert!(
            main.contains(".TH facelatchd 8") && main.contains("Watches a door"),
            "{main}"
        );
    }
}
