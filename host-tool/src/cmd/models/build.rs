//! `facelatch models build`: the shipped networks again, from the pinned packages.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use facelatch_models::{
    build::{Places, build_zoo},
    manifest::Parity,
};
use serde::Serialize;

use super::Bars;
use crate::{Exit, cli::Global};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, in the source tree:\n  \
    models/zoo/fetch.sh target/packages\n  \
    facelatch models build --packages target/packages --out target/zoo\n\n\
    Takes about two minutes. The files are the same, byte for byte, on every machine.")]
pub(super) struct Args {
    /// Folder with the package archives that `models/zoo/fetch.sh` fetched.
    #[arg(long, value_name = "DIR", default_value = "target/packages")]
    packages: PathBuf,
    /// Which packages, and which faces to calibrate on [default: recipe.toml in the zoo].
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Folder to write the networks and manifest.toml to.
    #[arg(long, value_name = "DIR", default_value = "target/zoo")]
    out: PathBuf,
    /// Also write the float networks here, in the same form: references for comparison, never shipped.
    #[arg(long, value_name = "DIR")]
    float_out: Option<PathBuf>,
    /// Make this network alone; the manifest's entries of all others stay as they are in the zoo.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

#[derive(Serialize)]
struct Report {
    out: PathBuf,
    networks: Vec<Built>,
}

#[derive(Serialize)]
struct Built {
    name: String,
    file: String,
    sha256: String,
    /// The zoo that ships holds the same bytes; null if there is none to compare with.
    same_as_shipped: Option<bool>,
    parity: Option<Parity>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "wrote {}", self.out.display())?;
        for net in &self.networks {
            let same = match net.same_as_shipped {
                Some(true) => "the shipped bytes",
                Some(false) => "DIFFERS from the shipped file",
                None => "nothing shipped to compare with",
            };
            writeln!(f, "  {} {} ({same})", net.file, net.sha256)?;
            if let Some(parity) = &net.parity {
                writeln!(
                    f,
                    "    cosine to float at least {:.4}, median {:.4} over {} crops",
                    parity.minimum, parity.median, parity.crops
                )?;
            }
        }
        Ok(())
    }
}

/// Runs the verb.
///
/// # Errors
/// A package that is missing or is not the pinned one; a folder that cannot be written.
pub(super) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let shipped = global.zoo().ok();
    let recipe = match (&args.recipe, &shipped) {
        (Some(recipe), _) => recipe.clone(),
        (None, Some(zoo)) => zoo.dir().join("recipe.toml"),
        (None, None) => Path::new("models/zoo/recipe.toml").to_path_buf(),
    };
    // Read before the build, which may write to the zoo itself.
    let before = shipped.map(|zoo| zoo.manifest().clone());
    if args.only.is_some() && before.is_none() {
        let why = "--only keeps the other entries of a zoo: name it with --zoo";
        return Err(crate::Error::Usage(why.to_owned()).into());
    }
    let places = Places {
        only: args.only.clone().zip(before.clone()),
        packages: args.packages.clone(),
        recipe,
        out: args.out.clone(),
        float_out: args.float_out.clone(),
    };
    let manifest = build_zoo(&places, &Bars::default())?;
    let networks: Vec<Built> = manifest
        .network
        .into_iter()
        .map(|net| Built {
            same_as_shipped: before
                .as_ref()
                .map(|m| m.network.iter().any(|n| n.sha256 == net.sha256)),
            name: net.name,
            file: net.file,
            sha256: net.sha256,
            parity: net.parity,
        })
        .collect();
    global.format().print(&Report {
        out: args.out.clone(),
        networks,
    })?;
    Ok(Exit::Done)
}
