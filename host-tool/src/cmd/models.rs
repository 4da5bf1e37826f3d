//! `facelatch models`: what the networks are, and how they are made.

mod add;
mod build;
mod centre;
mod crops;
mod plan;
mod quantize;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use facelatch_models::{
    manifest::{Manifest, Network},
    net::Net,
    zoo::sha256_hex,
};
use serde::Serialize;

use crate::{Error, Exit, cli::Global, progress::Progress, report::warn};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: facelatch models list\nExample: facelatch models inspect models/zoo/facenet-int8.onnx"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do with networks.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the networks that ship, with origin, licence and accuracy, and check their digests.
    List,
    /// Say what a network file is: origin if known, size, inputs and outputs.
    Inspect {
        /// An ONNX file.
        file: PathBuf,
    },
    /// Compile the networks that ship for the int8 engine.
    Plan(plan::Args),
    /// Write the face crops that the embedder is shown, as raw pixels.
    Crops(crops::Args),
    /// Make the networks that ship again, from the pinned packages.
    Build(build::Args),
    /// Add a liveness network of your own to a zoo.
    Add(Box<add::Args>),
    /// Make an int8 network of a float one of your own.
    Quantize(quantize::Args),
    /// Measure the mean embedding of a population.
    Centre(centre::Args),
}

/// Progress of the networks' making: one bar a phase.
#[derive(Debug, Default)]
struct Bars(Mutex<Option<Progress>>);

impl facelatch_models::build::Progress for Bars {
    fn start(&self, phase: &str, steps: u64) {
        // A poisoned lock means another thread panicked while it drew: the bar is all it can have spoilt.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Progress::new(phase.to_owned(), steps, "inputs"));
    }

    fn step(&self) {
        if let Some(bar) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.advance(1);
        }
    }
}

#[derive(Serialize)]
struct ListReport {
    zoo: PathBuf,
    networks: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    network: Network,
    /// The file is there and has the manifest's digest.
    intact: bool,
    bytes: Option<u64>,
}

#[derive(Serialize)]
struct InspectReport {
    file: PathBuf,
    bytes: usize,
    sha256: String,
    /// Input size `[h, w]`; null where free.
    input_px: [Option<usize>; 2],
    load_ms: f64,
    /// Output shapes for one input, at 64 x 64 where the size is free.
    output_shapes: Vec<Vec<usize>>,
    /// What the manifest beside the file says of it.
    network: Option<Network>,
}

impl fmt::Display for ListReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.zoo.display())?;
        for listed in &self.networks {
            let state = if listed.intact {
                ""
            } else {
                "  MISSING OR CHANGED"
            };
            let mb = listed.bytes.unwrap_or(0) as f64 / 1e6;
            writeln!(f, "\n{} ({mb:.2} MB){state}", listed.network.name)?;
            describe(f, &listed.network)?;
        }
        Ok(())
    }
}

impl fmt::Display for InspectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |px: Option<usize>| px.map_or("any".to_owned(), |px| px.to_string());
        writeln!(
            f,
            "{}: {} bytes, sha256 {}",
            self.file.display(),
            self.bytes,
            self.sha256
        )?;
        writeln!(
            f,
            "  input  [n, {}, {}, 3] u8 RGB; loads in {:.0} ms",
            side(self.input_px[0]),
            side(self.input_px[1]),
            self.load_ms
        )?;
        for shape in &self.output_shapes {
            writeln!(f, "  output {shape:?} f32")?;
        }
        match &self.network {
            Some(network) => describe(f, network),
            None => write!(
                f,
                "  no manifest beside it names this file with this digest"
            ),
        }
    }
}

fn describe(f: &mut fmt::Formatter<'_>, network: &Network) -> fmt::Result {
    let (input, source) = (&network.input, &network.source);
    writeln!(
        f,
        "  input  {} {} [{}], (x - {}) / {} inside",
        input.dtype,
        input.layout,
        input.shape.join(", "),
        input.mean,
        input.scale
    )?;
    for output in &network.output {
        writeln!(
            f,
            "  output {} [{}]: {}",
            output.name,
            output.shape.join(", "),
            output.meaning
        )?;
    }
    if let Some(classes) = &network.liveness {
        writeln!(
            f,
            "  alive  number {} of the first output{}, at least {}",
            classes.live,
            if classes.softmax {
                " after softmax"
            } else {
                ""
            },
            classes.threshold
        )?;
    }
    if let Some(space) = &network.space {
        writeln!(f, "  space  {space}")?;
    }
    writeln!(
        f,
        "  made   {}; {}",
        network.recipe.quantization, network.recipe.calibration
    )?;
    if let Some(parity) = &network.parity {
        writeln!(
            f,
            "  parity cosine to float at least {:.4}, median {:.4} over {} crops ({})",
            parity.minimum, parity.median, parity.crops, parity.over
        )?;
    }
    writeln!(
        f,
        "  from   {} {} {}, {} ({})",
        source.registry, source.package, source.version, source.file, source.licence
    )?;
    writeln!(f, "  note   {}", source.licence_note)
}

/// Runs the verb.
///
/// # Errors
/// No zoo, or a file that is no network.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    match &args.verb {
        Verb::List => list(global),
        Verb::Inspect { file } => inspect(global, file),
        Verb::Plan(args) => plan::run(global, args),
        Verb::Crops(args) => crops::run(global, args),
        Verb::Build(args) => build::run(global, args),
        Verb::Add(args) => add::run(global, args),
        Verb::Quantize(args) => quantize::run(global, args),
        Verb::Centre(args) => centre::run(global, args),
    }
}

fn list(global: &Global) -> anyhow::Result<Exit> {
    let zoo = global.zoo()?;
    let mut networks = Vec::new();
    for network in &zoo.manifest().network {
        let bytes = zoo
            .bytes(network)
            .inspect_err(|error| warn(&error.to_string()))
            .ok();
        networks.push(Listed {
            network: network.clone(),
            intact: bytes.is_some(),
            bytes: bytes.map(|bytes| bytes.len() as u64),
        });
    }
    let report = ListReport {
        zoo: zoo.dir().to_path_buf(),
        networks,
    };
    global.format().print(&report)?;
    let intact = report.networks.iter().all(|listed| listed.intact);
    Ok(if intact { Exit::Done } else { Exit::No })
}

fn inspect(global: &Global, file: &Path) -> anyhow::Result<Exit> {
    let unusable = |why: String| Error::Input {
        path: file.to_path_buf(),
        why,
    };
    let bytes = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    let sha256 = sha256_hex(&bytes);
    let start = Instant::now();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let mut net = Net::from_onnx(&name, &bytes).map_err(|error| unusable(error.to_string()))?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    let input_px = net.input_size();
    let [h, w] = input_px.map(|px| px.unwrap_or(64));
    let probe = ndarray::Array4::<u8>::from_elem((1, h, w, 3), 127);
    let outputs = net
        .run(probe.view())
        .map_err(|error| unusable(error.to_string()))?;
    global.format().print(&InspectReport {
        file: file.to_path_buf(),
        bytes: bytes.len(),
        network: described_beside(file, &sha256),
        sha256,
        input_px,
        load_ms,
        output_shapes: outputs
            .iter()
            .map(|output| output.shape().to_vec())
            .collect(),
    })?;
    Ok(Exit::Done)
}

fn described_beside(file: &Path, sha256: &str) -> Option<Network> {
    let manifest = file.parent()?.join(facelatch_models::zoo::MANIFEST);
    let manifest = Manifest::parse(&std::fs::read_to_string(manifest).ok()?).ok()?;
    manifest
        .network
        .into_iter()
        .find(|network| network.sha256 == sha256)
}
