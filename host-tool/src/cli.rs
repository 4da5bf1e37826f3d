//! The command line: what may be asked, with help and examples. Meaning is given in `cmd`, one verb a file.

use std::{env, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use facelatch_models::{embedding::SpaceId, plans::PlanCache, zoo::Zoo};

use crate::{
    Error, cmd,
    home::{DEFAULT_DIR, Home},
    report::Format,
};

/// Enrolls people from photos, trains the recogniser, and provisions Facelatch doors.
#[derive(Debug, Parser)]
#[command(
    name = "facelatch",
    version,
    disable_help_subcommand = true,
    after_help = "Example: enroll the people whose photos lie in photos/NAME/*.jpg, then set up a door:\n  \
        facelatch pair --to 192.0.2.7:7117 --code 7KQM-29FX-...  (the code the door shows)\n  \
        facelatch enroll photos && facelatch train && facelatch push --to 192.0.2.7:7117\n\n\
        Exit codes: 0 done, 1 the answer is no, 2 the call was wrong, 3 the device refused, 4 the machine failed."
)]
pub struct Cli {
    /// Options of every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Print the result as JSON on standard output.
    #[arg(long, global = true)]
    pub json: bool,
    /// Folder for enrolled people, classifier, keys, paired doors and cache [default: $FACELATCH_HOME, else ./facelatch-data].
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Folder of networks with their manifest.toml [default: $FACELATCH_ZOO, else models/zoo].
    #[arg(long, global = true, value_name = "DIR")]
    pub zoo: Option<PathBuf>,
    /// Embedder: facenet, mobilefacenet, or fused, which is both [default: that of the enrolled people, else the manifest's].
    #[arg(long, global = true, value_name = "NAME")]
    pub net: Option<String>,
    /// Say more on standard error (twice: everything).
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Learn faces from a folder of photos, one folder per person.
    Enroll(cmd::enroll::Args),
    /// Train the classifier on the enrolled people.
    Train(cmd::train::Args),
    /// Set the gate for an error rate, on the enrolled people, and say what it promises.
    Calibrate(cmd::calibrate::Args),
    /// Measure recognition on a folder of photos of known people.
    Evaluate(cmd::evaluate::Args),
    /// Write a dataset with crops, embeddings, labels and classifier as files.
    Export(cmd::export::Args),
    /// Print the embedding of a photo's main face.
    Embed(cmd::embed::Args),
    /// Find the faces in photos.
    Detect(cmd::detect::Args),
    /// Measure liveness on clips, and make synthetic ones.
    Pad(cmd::pad::Args),
    /// Say who is in a photo, and draw it.
    Predict(cmd::predict::Args),
    /// Pair with a door that shows a code: from then on, it knows this host.
    Pair(cmd::pair::Args),
    /// Show and change which hosts a door is paired with.
    Hosts(cmd::hosts::Args),
    /// Show and forget the doors this host is paired with.
    Doors(cmd::doors::Args),
    /// Unlock a door, or lock it down.
    Door(cmd::latch::Args),
    /// Show and replace the keys that sign bundles.
    Keys(cmd::keys::Args),
    /// Check and ask who may pass when, and set PINs.
    Policy(cmd::policy::Args),
    /// Write the enrolled people and the classifier to a signed bundle file.
    Pack(cmd::pack::Args),
    /// Set up a door with a bundle.
    Push(cmd::push::Args),
    /// Fetch a door's people.
    Pull(cmd::pull::Args),
    /// Say how a door is.
    Status(cmd::status::Args),
    /// Show and change the enrolled people, here or on a door.
    People(cmd::people::Args),
    /// Print what happens at a door.
    Events(cmd::events::Args),
    /// Export, check and print a door's audit record.
    Audit(cmd::audit::Args),
    /// Serve the HTTP API and the web console.
    Serve(cmd::serve::Args),
    /// Start a simulated door, set it up with shipped photos, and see who gets in.
    Demo(cmd::demo::Args),
    /// Measure speed and memory on this machine.
    Bench(cmd::bench::Args),
    /// List and inspect the networks.
    Models(cmd::models::Args),
    /// Print completions for a shell.
    Completions(cmd::completions::Args),
    /// Write the manual pages.
    #[command(hide = true)]
    Man(cmd::man::Args),
}

impl Global {
    /// How results are printed.
    #[must_use]
    pub fn format(&self) -> Format {
        if self.json {
            Format::Json
        } else {
            Format::Human
        }
    }

    /// The workspace folder.
    #[must_use]
    pub fn home(&self) -> Home {
        let named = self
            .home
            .clone()
            .or_else(|| env::var_os("FACELATCH_HOME").map(PathBuf::from));
        Home::new(&named.unwrap_or_else(|| PathBuf::from(DEFAULT_DIR)))
    }

    /// The networks with the embedder that `--net` says, else the manifest; their plans are kept in the user's cache.
    ///
    /// # Errors
    /// As for [`Zoo::find`], [`Zoo::open`] and [`Zoo::with_embedder`].
    pub fn zoo(&self) -> Result<Zoo, Error> {
        let zoo = match &self.zoo {
            Some(dir) => Zoo::open(dir)?,
            None => Zoo::find()?,
        };
        let zoo = zoo.with_plans(PlanCache::user());
        Ok(match &self.net {
            Some(name) => zoo.with_embedder(name)?,
            None => zoo,
        })
    }

    /// The networks with the embedder of this space, that of templates there are; without any, as [`Global::zoo`].
    ///
    /// # Errors
    /// As for [`Global::zoo`], and [`facelatch_models::Error::Space`] if `--net` names an embedder of another space, or
    /// none is of this one.
    pub fn zoo_of(&self, space: Option<&SpaceId>) -> Result<Zoo, Error> {
        let zoo = self.zoo()?;
        let Some(space) = space else {
            return Ok(zoo);
        };
        if self.net.is_some() {
            space.expect(&zoo.embedder_facts(zoo.chosen())?.0)?;
        }
        Ok(zoo.with_space(space)?)
    }
}
