//! `facelatch pad`: how well liveness tells people from pictures of them, on clips; and synthetic clips to measure on.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use facelatch_models::{
    image::{decode, open},
    liveness::{challenge::Challenge, planar::yaw_deg},
    mtcnn::{Detector, main_face},
};
use image::RgbImage;
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    embed::{detector_config, photo_bytes},
    pad::{
        clip::{Clip, ClipInfo, clips},
        judge::{Eyes, Outcome, judge},
        report::Report,
        scene::Photo,
        species::{Dice, Script, Species},
    },
    progress::Progress,
    report::{count, warn},
};

/// Smallest face looked for: a door's.
const FACE_PX: f32 = 40.0;
/// A photo to make clips of looks straight ahead, within this ...
const STRAIGHT_DEG: f64 = 12.0;
/// ... and its eyes are so many pixels apart in the clips.
const EYE_PX: [f64; 2] = [32.0, 46.0];
/// Turns of a clip's challenge.
const TURNS: usize = 2;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
  APCER  share of an attack species' clips that passed      BPCER  share of people's clips that did not

Clips are folders of frames: DIR/SPECIES/CLIP/clip.toml (species, live, synthetic, origin, challenge, frame_ms) and the
frames beside it. Rates of synthetic clips say what the geometry resists, not how a door fares against people: record
your own (synthetic = false) for that.

Example: facelatch pad generate photos --out clips --clips 20 && facelatch pad report clips")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Measure APCER of each species and BPCER at each liveness level.
    #[command(after_help = "Example: facelatch pad report clips --json")]
    Report {
        /// Folder of clips: one folder per species, in it one folder per clip.
        dir: PathBuf,
        /// Write what was made of each clip to a file, one line of JSON a clip.
        #[arg(long, value_name = "FILE")]
        each: Option<PathBuf>,
    },
    /// Make synthetic clips from photos: prints, screens, and a head model that turns.
    #[command(
        after_help = "Example: facelatch pad generate photos/*.jpg --out clips --clips 50 --seed 7"
    )]
    Generate {
        /// Photos, or folders with photos in them at any depth; those of a face that looks straight ahead are used.
        #[arg(required = true, value_name = "PHOTOS")]
        photos: Vec<PathBuf>,
        /// Folder to make the clips in.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Clips of each species; the photos take turns.
        #[arg(long, value_name = "N", default_value_t = 10)]
        clips: usize,
        /// Where the random choice starts: the same seed and photos give the same clips.
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// Only this species; can be given several times [default: all].
        #[arg(long, value_name = "NAME", value_parser = species)]
        species: Vec<Species>,
    },
}

fn species(name: &str) -> Result<Species, String> {
    let known = Species::ALL.iter().find(|s| s.name() == name).copied();
    known.ok_or_else(|| {
        let names: Vec<&str> = Species::ALL.iter().map(|s| s.name()).collect();
        format!("the species are {}", names.join(", "))
    })
}

#[derive(Debug, Serialize)]
struct Generated {
    synthetic: bool,
    clips: usize,
    photos: usize,
    skipped: Vec<PathBuf>,
    out: PathBuf,
}

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} in {}; {} not used (no face, or not straight ahead)",
            count(self.clips, "synthetic clip", "synthetic clips"),
            count(self.photos, "photo", "photos"),
            self.out.display(),
            count(self.skipped.len(), "photo", "photos")
        )
    }
}

#[derive(Serialize)]
struct Each<'a> {
    species: &'a str,
    clip: &'a Path,
    synthetic: bool,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// Runs the verb.
///
/// # Errors
/// As the exit codes say: 2 for folders and photos that cannot be used, 4 for the machine.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    match &args.verb {
        Verb::Report { dir, each } => report(global, dir, each.as_deref()),
        Verb::Generate {
            photos,
            out,
            clips,
            seed,
            species,
        } => {
            let species = if species.is_empty() {
                &Species::ALL[..]
            } else {
                species
            };
            generate(global, photos, out, *clips, *seed, species)
        }
    }
}

fn report(global: &Global, dir: &Path, each: Option<&Path>) -> anyhow::Result<Exit> {
    let clips = clips(dir)?;
    let progress = Progress::new("judging", clips.len() as u64, "clips");
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Outcome)>, Error> {
        let zoo = global.zoo()?;
        let mut eyes = Eyes {
            detector: zoo.detector(detector_config(FACE_PX))?,
            liveness: zoo.liveness()?,
        };
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(clip) = clips.get(index) else {
                return Ok(done);
            };
            let frames = clip
                .info
                .times()
                .zip(clip.frames.iter().map(|path| frame(path)));
            done.push((
                index,
                judge(&mut eyes, frames, clip.info.challenge.as_ref())?,
            ));
            progress.advance(1);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut outcomes = thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads.min(clips.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let mut outcomes = work()?;
        for helper in helpers {
            let theirs = helper
                .join()
                .map_err(|_| Error::Bug("a judging thread panicked".into()))?;
            outcomes.extend(theirs?);
        }
        Ok::<_, Error>(outcomes)
    })?;
    progress.finish();
    outcomes.sort_by_key(|(index, _)| *index);
    let outcomes: Vec<(&ClipInfo, Outcome)> = clips
        .iter()
        .map(|clip| &clip.info)
        .zip(outcomes.into_iter().map(|(_, outcome)| outcome))
        .collect();
    if let Some(path) = each {
        write_each(path, &clips, &outcomes)?;
    }
    global.format().print(&Report::new(&outcomes))?;
    Ok(Exit::Done)
}

fn frame(path: &Path) -> Result<RgbImage, Error> {
    let bytes = photo_bytes(path)?;
    Ok(decode(&bytes, &path.display().to_string())?)
}

fn write_each(path: &Path, clips: &[Clip], outcomes: &[(&ClipInfo, Outcome)]) -> Result<(), Error> {
    let mut text = String::new();
    for (clip, (info, outcome)) in clips.iter().zip(outcomes) {
        let line = serde_json::to_string(&Each {
            species: &info.species,
            clip: &clip.dir,
            synthetic: info.synthetic,
            outcome,
        });
        text +=
            &line.map_err(|error| Error::Bug(format!("an outcome has no JSON form: {error}")))?;
        text.push('\n');
    }
    fs::write(path, text).map_err(Error::storage("write", path))
}

fn generate(
    global: &Global,
    photos: &[PathBuf],
    out: &Path,
    clips: usize,
    seed: u64,
    species: &[Species],
) -> anyhow::Result<Exit> {
    let mut files = Vec::new();
    for path in photos {
        gather(path, &mut files)?;
    }
    if out.exists()
        && fs::read_dir(out)
            .map_err(Error::storage("read", out))?
            .next()
            .is_some()
    {
        return Err(
            Error::Usage(format!("{} is not empty; name a new folder", out.display())).into(),
        );
    }
    let mut detector = global
        .zoo()?
        .detector(detector_config(FACE_PX))
        .map_err(Error::from)?;
    let (mut used, mut skipped) = (Vec::new(), Vec::new());
    let progress = Progress::new("looking at photos", files.len() as u64, "photos");
    for path in files {
        match straight(&mut detector, &path) {
            Ok(true) => used.push(path),
            Ok(false) => skipped.push(path),
            Err(error) => {
                warn(&error.to_string());
                skipped.push(path);
            }
        }
        progress.advance(1);
    }
    progress.finish();
    if used.is_empty() {
        return Err(Error::Usage("no photo shows a face that looks straight ahead".into()).into());
    }
    let progress = Progress::new("rendering", (clips * species.len()) as u64, "clips");
    for index in 0..clips {
        // Not empty, see above.
        let path = &used[index % used.len()];
        for &species in species {
            one_clip(&mut detector, path, species, out, index, seed)?;
            progress.advance(1);
        }
    }
    progress.finish();
    global.format().print(&Generated {
        synthetic: true,
        clips: clips * species.len(),
        photos: used.len().min(clips),
        skipped,
        out: out.to_owned(),
    })?;
    Ok(Exit::Done)
}

/// Renders and writes one clip of a photo that was found to be straight.
fn one_clip(
    detector: &mut Detector,
    path: &Path,
    species: Species,
    out: &Path,
    index: usize,
    seed: u64,
) -> Result<(), Error> {
    let mut dice = Dice::new(seed ^ ((index as u64) << 8 | species as u64));
    let eye_px = dice.between(EYE_PX[0], EYE_PX[1]);
    let challenge = Challenge::draw(TURNS, dice.bits());
    let image = open(path)?;
    let faces = detector.detect(&image)?;
    let photo = main_face(&faces, &image).and_then(|face| Photo::new(&image, face, eye_px));
    let Some(photo) = photo else {
        return Err(Error::Bug(format!("{} lost its face", path.display())));
    };
    let script = Script::new(species, &photo, &challenge, eye_px, dice.bits());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let info = ClipInfo {
        species: species.name().into(),
        live: species.live(),
        synthetic: true,
        origin: format!("{name}, seed {seed}"),
        challenge: species.challenged().then_some(challenge),
        // A clip lasts seconds.
        frame_ms: script
            .times()
            .iter()
            .map(|t| t.as_millis() as u32)
            .collect(),
    };
    let dir = out.join(species.name()).join(format!("{index:04}"));
    Clip::write(&dir, &info, script.frames(&photo))
}

fn straight(detector: &mut Detector, path: &Path) -> Result<bool, Error> {
    let image = open(path)?;
    let faces = detector.detect(&image)?;
    let face = main_face(&faces, &image);
    Ok(face
        .and_then(|face| yaw_deg(&face.landmarks))
        .is_some_and(|yaw| yaw.abs() <= STRAIGHT_DEG))
}

/// Files named, and all picture files below folders named, in order.
fn gather(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let read = |error| Error::storage("read", path)(error);
    let mut children = fs::read_dir(path)
        .map_err(read)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(read)?;
    children.sort();
    for child in children {
        let picture = child.extension().is_some_and(|e| {
            ["jpg", "jpeg", "png", "webp", "bmp"]
                .iter()
                .any(|known| e.eq_ignore_ascii_case(known))
        });
        if child.is_dir() || picture {
            gather(&child, files)?;
        }
    }
    Ok(())
}
