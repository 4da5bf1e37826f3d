//! `facelatch models add`: a network of the user's own beside those of the zoo, for the one slot that ships empty.
//!
//! The zoo in use is copied to a folder, with the network and its entry in the manifest, once it has run as it would at a
//! door. Doors get it with the next push of networks.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use facelatch_models::{
    liveness::network::LivenessNet,
    manifest::{Classes, Crop, Input, Manifest, Network, Output, Recipe, Role as Slot, Source},
    net::Net,
    zoo::{MANIFEST, Zoo, sha256_hex},
};
use serde::Serialize;

use crate::{Error, Exit, cli::Global, report::warn, sealed::write_shared};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The network reads raw RGB pixels, as `models quantize` writes it. It is one more passive cue: it refuses faces whose \
score is below the threshold, and cannot make a door take what other cues refuse. No network ships, because none with a \
licence to ship it has proven itself: measure yours on recorded clips of your own door before you trust it.

Example: facelatch models quantize antispoof.onnx --calibrate crops/ --out antispoof-int8.onnx
Example: facelatch models add antispoof-int8.onnx --role liveness --live 1 --softmax --threshold 0.8 \\
             --enlarge 2.7 --licence Apache-2.0 --out my-zoo
Example: FACELATCH_ZOO=my-zoo facelatch pad report clips/    (what it is worth)
Example: FACELATCH_ZOO=my-zoo facelatch push front-door      (bring it to a door)")]
pub(super) struct Args {
    /// ONNX file with one input of raw pixels, [n, h, w, 3] u8 RGB.
    file: PathBuf,
    /// What the network is for.
    #[arg(long, value_enum)]
    role: Role,
    /// Folder of the zoo to make: all of the zoo in use, and this network. The zoo's own folder changes it in place.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Name in the manifest [default: the file's].
    #[arg(long)]
    name: Option<String>,
    /// Which number of the first output stands for a living face, from 0.
    #[arg(long, value_name = "INDEX")]
    live: usize,
    /// The output is logits: softmax makes probabilities of them.
    #[arg(long)]
    softmax: bool,
    /// Faces with a lower probability of being alive are refused.
    #[arg(long, value_name = "PROBABILITY")]
    threshold: f32,
    /// The detector's box is enlarged by this about its centre before it is cut out.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    enlarge: f32,
    /// The licence of the weights.
    #[arg(long)]
    licence: String,
    /// Where the weights came from.
    #[arg(long, default_value = "")]
    origin: String,
    /// Take the place of the liveness network that is there.
    #[arg(long)]
    replace: bool,
}

/// Roles that may be filled by the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// Says how likely a face is alive.
    Liveness,
}

#[derive(Serialize)]
struct Report {
    zoo: PathBuf,
    name: String,
    role: Slot,
    sha256: String,
    input_px: [usize; 2],
    int8: bool,
    replaced: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [h, w] = self.input_px;
        let engine = if self.int8 {
            "int8"
        } else {
            "f32 by tract: quantize it to make it fast"
        };
        if let Some(replaced) = &self.replaced {
            writeln!(f, "took the place of {replaced}")?;
        }
        let zoo = self.zoo.display();
        writeln!(f, "{} reads {h} x {w} pixels, runs in {engine}", self.name)?;
        writeln!(f, "{zoo} is complete: set FACELATCH_ZOO={zoo} to use it")?;
        write!(f, "measure it before you trust it: facelatch pad report")
    }
}

/// Runs the verb.
///
/// # Errors
/// A file that is no such network, a slot that is taken, or a folder that cannot be written.
pub(super) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let zoo = global.zoo()?;
    let unusable = |why: String| Error::Input {
        path: args.file.clone(),
        why,
    };
    let bytes = fs::read(&args.file).map_err(|e| unusable(e.to_string()))?;
    let net = Net::from_onnx(&file_name(&args.file), &bytes)
        .map_err(|error| unusable(error.to_string()))?;
    let [Some(h), Some(w)] = net.input_size() else {
        return Err(unusable("its input has no fixed height and width".into()).into());
    };
    let entry = entry(args, &bytes, [h, w]);
    let int8 = net.is_int8();
    let (crop, classes) = (entry.crop_spec(), entry.classes());
    LivenessNet::new(
        net,
        crop.map_err(wrong_call)?,
        *classes.map_err(wrong_call)?,
    )
    .map_err(|error| unusable(error.to_string()))?;
    let mut manifest = zoo.manifest().clone();
    let replaced = make_room(&mut manifest, args.replace)?;
    manifest.network.push(entry.clone());
    write(&zoo, &manifest, &entry, &bytes, &args.out)?;
    if let (Some(old), true) = (&replaced, same_folder(zoo.dir(), &args.out)) {
        let path = args.out.join(&old.file);
        if old.file != entry.file
            && let Err(error) = fs::remove_file(&path)
        {
            warn(&format!("{} is no longer used: {error}", path.display()));
        }
    }
    global.format().print(&Report {
        zoo: args.out.clone(),
        int8,
        role: entry.role,
        sha256: entry.sha256,
        name: entry.name,
        input_px: [h, w],
        replaced: replaced.map(|network| network.name),
    })?;
    Ok(Exit::Done)
}

/// What the manifest would not take comes from the command line.
fn wrong_call(error: facelatch_models::Error) -> Error {
    Error::Usage(error.to_string())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Takes the network out whose place is wanted.
fn make_room(manifest: &mut Manifest, replace: bool) -> Result<Option<Network>, Error> {
    let taken = |network: &Network| network.role == Slot::Liveness;
    match manifest.network.iter().position(taken) {
        Some(at) if replace => Ok(Some(manifest.network.remove(at))),
        Some(at) => Err(Error::Usage(format!(
            "this zoo has a liveness network, {}: --replace takes its place",
            manifest.network[at].name
        ))),
        None => Ok(None),
    }
}

fn entry(args: &Args, bytes: &[u8], [h, w]: [usize; 2]) -> Network {
    let stem = args.file.file_stem().unwrap_or_default().to_string_lossy();
    let stated = |text: &str| match text {
        "" => "not stated".to_owned(),
        text => text.to_owned(),
    };
    Network {
        name: args.name.clone().unwrap_or_else(|| stem.into_owned()),
        role: match args.role {
            Role::Liveness => Slot::Liveness,
        },
        file: file_name(&args.file),
        sha256: sha256_hex(bytes),
        input: Input {
            name: "pixels".into(),
            dtype: "u8".into(),
            layout: "NHWC".into(),
            colour: "RGB".into(),
            shape: vec!["n".into(), h.to_string(), w.to_string(), "3".into()],
            // The file reads raw pixels; what it does with them is inside.
            mean: 0.0,
            scale: 1.0,
        },
        output: vec![Output {
            name: "class".into(),
            shape: vec!["n".into(), "classes".into()],
            meaning: format!("number {} stands for a living face", args.live),
        }],
        liveness: Some(Classes {
            live: args.live,
            softmax: args.softmax,
            threshold: args.threshold,
        }),
        space: None,
        crop: Some(Crop {
            method: "box".into(),
            enlarge: Some(args.enlarge),
            resize: "area".into(),
        }),
        centre: None,
        source: Source {
            registry: "own".into(),
            package: stated(&args.origin),
            file: file_name(&args.file),
            file_sha256: sha256_hex(bytes),
            licence: args.licence.clone(),
            licence_note: "Brought by whoever runs this zoo.".into(),
            ..Source::default()
        },
        recipe: Recipe {
            quantization: stated(""),
            calibration: stated(""),
            ..Recipe::default()
        },
        parity: None,
    }
}

/// Writes the zoo's files, then its manifest: a folder without one is no zoo.
fn write(
    zoo: &Zoo,
    manifest: &Manifest,
    entry: &Network,
    bytes: &[u8],
    out: &Path,
) -> Result<(), Error> {
    let text = toml::to_string(manifest)
        .map_err(|error| Error::Bug(format!("cannot write the manifest: {error}")))?;
    // What could not be read back is not written.
    Manifest::parse(&text).map_err(wrong_call)?;
    if !same_folder(zoo.dir(), out) {
        for network in &zoo.manifest().network {
            write_shared(&out.join(&network.file), &zoo.bytes(network)?)?;
        }
    }
    write_shared(&out.join(&entry.file), bytes)?;
    write_shared(&out.join(MANIFEST), text.as_bytes())
}

fn same_folder(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
