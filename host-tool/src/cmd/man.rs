//! `facelatch man`: the manual pages, for packages.

use std::{fs, path::PathBuf};

use clap::CommandFactory as _;

use crate::{
    Error, Exit,
    cli::{Cli, Global},
};

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
pub fn run(_: &Global, args: &Args) -> anyhow::Result<Exit> {
    let written = fs::create_dir_all(&args.out)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.out));
    written.map_err(|source| Error::Storage {
        doing: "write pages to",
        path: args.out.clone(),
        source,
    })?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn every_verb_that_is_shown_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("man");
        let cli = Cli::parse_from(["facelatch", "man", &out.to_string_lossy()]);
        let args = Args { out: out.clone() };
        run(&cli.global, &args).unwrap();
        let verbs = Cli::command();
        let verbs = verbs.get_subcommands().filter(|verb| !verb.is_hide_set());
        for verb in verbs {
            let page = out.join(format!("facelatch-{}.1", verb.get_name()));
            let page =
                fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
            assert!(page.contains(".SH OPTIONS"), "{page}");
        }
        assert!(
            out.join("facelatch-hosts-list.1").exists() && !out.join("facelatch-man.1").exists()
        );
        let main = fs::read_to_string(out.join("facelatch.1")).unwrap();
        assert!(main.contains(".TH facelatch 1"), "{main}");
    }
}
