//! `facelatch models quantize`: a user's own float network, calibrated on the user's pictures, as int8 QDQ ONNX.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use facelatch_models::build::{onnx::Normalisation, quantize_own};
use serde::Serialize;

use super::Bars;
use crate::{
    Error, Exit,
    cli::Global,
    report::{count, warn},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: facelatch models quantize sface.onnx --calibrate crops/ --out sface-int8.onnx\n\n\
    Calibrate on what the network will see: for an embedder, aligned crops of many faces, of women and men alike,\n\
    in good and in poor light. Ranges taken from one group of people alone fail the others."
)]
pub(super) struct Args {
    /// Float ONNX network with one image input.
    net: PathBuf,
    /// Folder of pictures (searched through), each scaled to the network's input size.
    #[arg(long, value_name = "DIR")]
    calibrate: PathBuf,
    /// File to write [default: NET-int8.onnx beside the network].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The network expects (pixel - MEAN) / SCALE.
    #[arg(long, default_value_t = 127.5, allow_negative_numbers = true)]
    mean: f32,
    /// See --mean.
    #[arg(long, default_value_t = 128.0)]
    scale: f32,
}

#[derive(Serialize)]
struct Report {
    out: PathBuf,
    bytes: usize,
    pictures: usize,
    skipped: usize,
    minimum_cosine: f64,
    median_cosine: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = self.bytes as f64 / 1e6;
        writeln!(
            f,
            "wrote {} ({mb:.2} MB), calibrated on {}",
            self.out.display(),
            count(self.pictures, "picture", "pictures")
        )?;
        write!(
            f,
            "int8 to float: cosine at least {:.4}, median {:.4}, on the calibration pictures",
            self.minimum_cosine, self.median_cosine
        )
    }
}

/// Runs the verb.
///
/// # Errors
/// A network with an operator that is not supported, or no picture to calibrate on.
pub(super) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    if args.scale == 0.0 || !args.scale.is_finite() || !args.mean.is_finite() {
        return Err(Error::Usage("--mean and --scale must be finite, --scale not 0".into()).into());
    }
    let unusable = |path: &Path, why: String| Error::Input {
        path: path.to_path_buf(),
        why,
    };
    let bytes = fs::read(&args.net).map_err(|e| unusable(&args.net, e.to_string()))?;
    let name = args.net.file_name().unwrap_or_default().to_string_lossy();
    let pictures = pictures(&args.calibrate)?;
    if pictures.is_empty() {
        return Err(unusable(
            &args.calibrate,
            "no picture (JPEG, PNG, WebP, BMP) in this folder".into(),
        )
        .into());
    }
    let normalisation = Normalisation {
        mean: args.mean,
        scale: args.scale,
    };
    let made = quantize_own(&name, &bytes, normalisation, &pictures, &Bars::default())
        .map_err(|error| unusable(&args.net, error.to_string()))?;
    for (path, why) in &made.skipped {
        warn(&format!("skipped {}: {why}", path.display()));
    }
    let out = args.out.clone().unwrap_or_else(|| {
        let stem = args.net.file_stem().unwrap_or_default().to_string_lossy();
        args.net.with_file_name(format!("{stem}-int8.onnx"))
    });
    fs::write(&out, &made.bytes).map_err(Error::storage("write", &out))?;
    global.format().print(&Report {
        bytes: made.bytes.len(),
        pictures: made.pictures,
        skipped: made.skipped.len(),
        minimum_cosine: made.minimum_cosine,
        median_cosine: made.median_cosine,
        out,
    })?;
    Ok(Exit::Done)
}

/// All files below a folder with a picture's extension, in path order.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| Error::Input {
            path: folder.clone(),
            why: e.to_string(),
        })? {
            let entry = entry.map_err(Error::storage("read", &folder))?;
            // Links are not followed: a loop of folders would never end.
            let kind = entry
                .file_type()
                .map_err(Error::storage("read", entry.path()))?;
            let path = entry.path();
            let extension = path
                .extension()
                .map(|e| e.to_ascii_lowercase().to_string_lossy().into_owned());
            if kind.is_dir() {
                folders.push(path);
            } else if extension
                .is_some_and(|e| ["jpg", "jpeg", "png", "webp", "bmp"].contains(&e.as_str()))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
