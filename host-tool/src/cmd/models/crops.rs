//! `facelatch models crops`: what the embedder is shown, as raw pixels.
//!
//! For running a plan elsewhere on the very same input: a program that only knows plans can read this file.

use std::{fmt, fs, path::PathBuf};

use facelatch_models::{align::align, image::open, mtcnn::main_face};
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    embed::{MIN_FACE_PX, detector_config},
    report::warn,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file holds one crop after another, each height x width x 3 bytes, RGB, of each photo's main face.

Exit code 1: a photo shows no face.

Example: facelatch models crops --out faces.rgb ada.jpg grace.jpg")]
pub(super) struct Args {
    /// Photos (JPEG, PNG, WebP or BMP).
    #[arg(required = true, value_name = "PHOTO")]
    photos: Vec<PathBuf>,
    /// Write the crops here.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Report {
    file: PathBuf,
    /// Height and width of a crop.
    size_px: [u32; 2],
    crops: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [h, w] = self.size_px;
        write!(
            f,
            "{}: {} crops of {h} x {w}",
            self.file.display(),
            self.crops
        )
    }
}

/// Runs the verb.
///
/// # Errors
/// Unusable networks, an unreadable photo, a file that cannot be written.
pub(super) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let zoo = global.zoo()?;
    let mut detector = zoo.detector(detector_config(MIN_FACE_PX))?;
    let (_, spec) = zoo.embedder_facts(zoo.chosen())?;
    let mut pixels = Vec::new();
    let mut crops = 0;
    for path in &args.photos {
        let photo = open(path)?;
        let faces = detector.detect(&photo)?;
        match main_face(&faces, &photo) {
            Some(face) => {
                pixels.extend(align(&photo, face, &spec).0.into_raw());
                crops += 1;
            }
            None => warn(&format!("{}: no face found", path.display())),
        }
    }
    fs::write(&args.out, &pixels).map_err(|source| Error::Storage {
        doing: "write",
        path: args.out.clone(),
        source,
    })?;
    global.format().print(&Report {
        file: args.out.clone(),
        size_px: [spec.height(), spec.width()],
        crops,
    })?;
    Ok(match crops == args.photos.len() {
        true => Exit::Done,
        false => Exit::No,
    })
}
