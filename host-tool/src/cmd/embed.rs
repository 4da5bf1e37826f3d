//! `facelatch embed`: the embedding of each photo's main face.

use std::{fmt, path::PathBuf};

use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    embed::{Kind, MIN_FACE_PX, Reader, detector_config},
    report::{Format, warn},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --json, prints for each photo a line {\"space\":\"...\",\"values\":[...]}: a unit vector in that embedding space; \
null for a photo without a face. Vectors of different spaces must never be compared. By default it is the network's own \
output, as other programs that run the same network give it; --matching and --template give what doors compare and keep, \
which has the population's mean taken off. The main face is the one with the largest area minus twice the squared \
distance of its centre from the photo's centre.

Exit code 1: a photo shows no face.

Example: facelatch embed --json ada.jpg > ada.json")]
pub struct Args {
    /// Photos (JPEG, PNG, WebP or BMP).
    #[arg(required = true, value_name = "PHOTO")]
    photos: Vec<PathBuf>,
    /// As a door compares it: less the population's mean.
    #[arg(long)]
    matching: bool,
    /// As a gallery keeps it: less the population's mean, averaged with the mirrored face.
    #[arg(long, conflicts_with = "matching")]
    template: bool,
    /// Smallest face looked for, in pixels, after the photo is scaled down to at most 640 pixels a side.
    #[arg(long, value_name = "PX", default_value_t = MIN_FACE_PX)]
    min_face_px: f32,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Report {
    #[serde(skip)]
    photo: PathBuf,
    embedding: Option<Vector>,
}

#[derive(Serialize)]
struct Vector {
    space: String,
    values: Vec<f32>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let photo = self.photo.display();
        let Some(Vector { space, values }) = &self.embedding else {
            return write!(f, "{photo}: no face");
        };
        let first: Vec<_> = values.iter().take(6).map(|v| format!("{v:.4}")).collect();
        write!(
            f,
            "{photo}: {} numbers in {space}: {} ...",
            values.len(),
            first.join(" ")
        )
    }
}

/// Runs the verb.
///
/// # Errors
/// If the networks cannot be loaded, or a photo could not be read (after all others were reported).
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let zoo = global.zoo()?;
    let config = detector_config(args.min_face_px);
    let reader = Reader::new(&zoo, None, config)?;
    let kind = match (args.template, args.matching) {
        (true, _) => Kind::Template,
        (false, true) => Kind::Probe,
        (false, false) => Kind::Uncentred,
    };
    let mut all = true;
    let mut failed = None;
    for (photo, outcome) in args.photos.iter().zip(reader.read(&args.photos, kind)?) {
        let embedding = match outcome {
            Ok(reading) => reading.main.map(|(_, embedding)| Vector {
                space: embedding.space().as_str().to_owned(),
                values: embedding.values().to_vec(),
            }),
            Err(error) => {
                if let Some(earlier) = failed.replace(error) {
                    warn(&earlier.to_string());
                }
                if global.format() == Format::Json {
                    global.format().print(&Report {
                        photo: photo.clone(),
                        embedding: None,
                    })?;
                }
                continue;
            }
        };
        all &= embedding.is_some();
        if embedding.is_none() {
            warn(&format!("{}: no face found", photo.display()));
        }
        global.format().print(&Report {
            photo: photo.clone(),
            embedding,
        })?;
    }
    match failed {
        Some(error) => Err(Error::from(error).into()),
        None if all => Ok(Exit::Done),
        None => Ok(Exit::No),
    }
}
