//! `facelatch predict`: who is in a photo, as text and as a tagged picture.

use std::{
    fmt,
    io::Cursor,
    path::{Path, PathBuf},
};

use facelatch_models::{
    metric::Head,
    openset::{Gate, Roster},
};
use image::{ImageFormat, RgbImage};
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    draw::draw,
    embed::{MIN_FACE_PX, Networks, detector_config, photo_bytes},
    home::{Enrolled, Home},
    predict::{Judge, Verdict},
    sealed::write_shared,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Judges every face with the enrolled people, the classifier and the gate of a door: green boxes are enrolled people, red
ones unknown. d is the cosine distance to the nearest template, p the classifier's probability.

Exit code 1: nobody in the photo was recognised.

Example: facelatch predict party.jpg --out tagged.jpg")]
pub struct Args {
    /// The photo (JPEG, PNG, WebP or BMP).
    photo: PathBuf,
    /// Draw boxes, names and scores into a copy (.jpg, .png, .webp or .bmp).
    #[arg(long, value_name = "TAGGED")]
    out: Option<PathBuf>,
    /// Smallest face looked for, in pixels, after the photo is scaled down to at most 640 pixels a side.
    #[arg(long, value_name = "PX", default_value_t = MIN_FACE_PX)]
    min_face_px: f32,
}

#[derive(Serialize)]
struct Report {
    photo: PathBuf,
    out: Option<PathBuf>,
    faces: Vec<Verdict>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.faces.is_empty() {
            writeln!(f, "{}: no face", self.photo.display())?;
        }
        for verdict in &self.faces {
            let [x, y, w, h] = verdict.rect;
            let who = verdict.person.as_deref().unwrap_or("unknown");
            write!(
                f,
                "{who}: face {w:.0} x {h:.0} at {x:.0}, {y:.0}, {}",
                verdict.reason
            )?;
            if let (Some(nearest), Some(distance)) = (&verdict.nearest, verdict.distance) {
                write!(f, ", nearest {nearest} at distance {distance:.3}")?;
            }
            if let Some(probability) = verdict.probability {
                write!(f, ", probability {probability:.3}")?;
            }
            writeln!(f)?;
        }
        match &self.out {
            Some(out) => write!(f, "drawn into {}", out.display()),
            None => Ok(()),
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// An unreadable photo, nobody enrolled, no current classifier, templates of another space than the networks.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let format = args.out.as_deref().map(format_of).transpose()?;
    let judge = judge(&global.home())?;
    let zoo = global.zoo_of(Some(judge.base()))?;
    let bytes = photo_bytes(&args.photo).map_err(Error::from)?;
    let mut photo = facelatch_models::image::decode(&bytes, &args.photo.display().to_string())
        .map_err(Error::from)?;
    let config = detector_config(args.min_face_px);
    let mut networks = Networks::load(&zoo, config)?;
    let verdicts = judge.photo(&mut networks, &photo)?;
    if let (Some(out), Some(format)) = (&args.out, format) {
        let tags: Vec<_> = verdicts
            .iter()
            .map(|(face, verdict)| verdict.tag(face))
            .collect();
        draw(&mut photo, &tags);
        write_shared(out, &encode(&photo, format)?)?;
    }
    let report = Report {
        photo: args.photo.clone(),
        out: args.out.clone(),
        faces: verdicts.into_iter().map(|(_, verdict)| verdict).collect(),
    };
    let recognised = report.faces.iter().any(|verdict| verdict.person.is_some());
    global.format().print(&report)?;
    Ok(if recognised { Exit::Done } else { Exit::No })
}

/// What a workspace's people are judged by.
///
/// # Errors
/// As for [`Home::current_classifier`].
pub fn judge(home: &Home) -> Result<Judge, Error> {
    let Enrolled { people, head, .. } = home.enrolled()?;
    let classifier = home.current_classifier(&people)?.classifier;
    let mut templates = Vec::new();
    for person in &people {
        for template in &person.templates {
            templates.push((person.id.to_string(), template.embedding()?));
        }
    }
    let mut roster = Roster::new(classifier.space.clone(), &templates)?;
    let calibrated = home.calibrated()?.map(|c| c.calibration);
    let gate = head
        .as_ref()
        .map_or_else(|| Gate::of(&classifier.space), Head::gate);
    let gate = match calibrated.filter(|c| c.space == classifier.space) {
        Some(calibration) => calibration.apply(&mut roster, &templates, &gate)?,
        None => gate.tightened(roster.people()),
    };
    Ok(Judge {
        roster,
        classifier,
        gate,
        head,
    })
}

fn format_of(path: &Path) -> Result<ImageFormat, Error> {
    match ImageFormat::from_path(path) {
        Ok(
            format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp),
        ) => Ok(format),
        Ok(_) | Err(_) => Err(Error::Input {
            path: path.to_path_buf(),
            why: "name the picture to write .jpg, .png, .webp or .bmp".into(),
        }),
    }
}

/// A picture's bytes.
///
/// # Errors
/// [`Error::Bug`]: any picture can be encoded.
pub fn encode(photo: &RgbImage, format: ImageFormat) -> Result<Vec<u8>, Error> {
    let mut bytes = Cursor::new(Vec::new());
    photo
        .write_to(&mut bytes, format)
        .map_err(|error| Error::Bug(format!("cannot encode a picture: {error}")))?;
    Ok(bytes.into_inner())
}
