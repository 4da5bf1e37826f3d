//! `facelatch detect`: the faces in photos.

use std::{fmt, path::PathBuf};

use facelatch_models::mtcnn::Face;
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    embed::{MIN_FACE_PX, detector_config, photo_bytes},
    report::{Format, warn},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --json, prints for each photo a line [{\"box\":[x,y,w,h],\"score\":s,\"landmarks\":[[x,y] x5]}] in pixels of the \
upright photo, best score first; null for a photo that cannot be read. Landmarks: left eye, right eye, nose, left and \
right mouth corner, as seen in the photo.

Exit code 1: no face in any photo.

Example: facelatch detect --json family.jpg")]
pub struct Args {
    /// Photos (JPEG, PNG, WebP or BMP).
    #[arg(required = true, value_name = "PHOTO")]
    photos: Vec<PathBuf>,
    /// Smallest face looked for, in pixels, after the photo is scaled down to at most 640 pixels a side.
    #[arg(long, value_name = "PX", default_value_t = MIN_FACE_PX)]
    min_face_px: f32,
}

/// A face as reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaceReport {
    /// x, y, width, height.
    #[serde(rename = "box")]
    pub rect: [f32; 4],
    /// Face probability.
    pub score: f32,
    /// Left eye, right eye, nose, left mouth corner, right mouth corner.
    pub landmarks: [[f32; 2]; 5],
}

impl From<&Face> for FaceReport {
    fn from(face: &Face) -> FaceReport {
        FaceReport {
            rect: [face.rect.x, face.rect.y, face.rect.w, face.rect.h],
            score: face.score,
            landmarks: face.landmarks,
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Report {
    #[serde(skip)]
    photo: PathBuf,
    faces: Option<Vec<FaceReport>>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let photo = self.photo.display();
        match &self.faces {
            None => write!(f, "{photo}: not readable"),
            Some(faces) if faces.is_empty() => write!(f, "{photo}: no face"),
            Some(faces) => {
                for FaceReport {
                    rect: [x, y, w, h],
                    score,
                    ..
                } in faces
                {
                    writeln!(
                        f,
                        "{photo}: face {w:.0} x {h:.0} at {x:.0}, {y:.0}, score {score:.4}"
                    )?;
                }
                Ok(())
            }
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// If the networks cannot be loaded, or a photo could not be read (after all others were reported).
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = detector_config(args.min_face_px);
    let mut detector = global.zoo()?.detector(config).map_err(Error::from)?;
    let mut found = false;
    let mut failed = None;
    for photo in &args.photos {
        let read = photo_bytes(photo).and_then(|bytes| {
            facelatch_models::image::decode(&bytes, &photo.display().to_string())
        });
        let faces = match read.and_then(|image| detector.detect(&image)) {
            Ok(faces) => Some(faces.iter().map(FaceReport::from).collect::<Vec<_>>()),
            Err(error) => {
                if let Some(earlier) = failed.replace(error) {
                    warn(&earlier.to_string());
                }
                None
            }
        };
        found |= faces.as_ref().is_some_and(|faces| !faces.is_empty());
        let report = Report {
            photo: photo.clone(),
            faces,
        };
        // A person sees the error itself.
        if report.faces.is_some() || global.format() == Format::Json {
            global.format().print(&report)?;
        }
    }
    match failed {
        Some(error) => Err(Error::from(error).into()),
        None if found => Ok(Exit::Done),
        None => Ok(Exit::No),
    }
}
