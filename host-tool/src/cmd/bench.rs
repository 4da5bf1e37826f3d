//! `facelatch bench`: speed and memory on this machine.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Instant,
};

use facelatch_models::{
    align::align,
    classifier::{Classifier, TrainConfig},
    compile::compile,
    image::resize_area,
    mtcnn::main_face,
    openset::{Gate, Roster},
    zoo::Zoo,
};
use image::RgbImage;
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    demo_data,
    embed::{Kind, Networks, detector_config, photo_bytes},
    progress::Progress,
};

/// A door's camera frame.
const FRAME: (u32, u32) = (640, 480);
/// The smallest face a door looks for.
const MIN_FACE_PX: f32 = 60.0;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Medians on a 640 x 480 frame with one face, smallest face 60 pixels:
  load_ms               all networks, from disk to ready
  detect_ms             faces in the frame
  follow_ms             the face again, from where it was
  embed_ms              crop and embedding of one face
  embed_network_ms      the embedder's network alone, on a crop
  plan_compile_ms       the embedder's plan from its ONNX file, which later starts do not do again
  frame_to_decision_ms  detect, crop, embed and judge against an enrolled person
  rss_mb                resident memory of this process with all networks loaded and run

Example: facelatch bench --json")]
pub struct Args {
    /// Runs per figure.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(20..))]
    runs: u32,
    /// A photo to put into the frame instead of the shipped one.
    #[arg(long, value_name = "PHOTO")]
    photo: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    load_ms: f64,
    detect_ms: f64,
    follow_ms: f64,
    embed_ms: f64,
    embed_network_ms: f64,
    plan_compile_ms: f64,
    frame_to_decision_ms: f64,
    rss_mb: f64,
    isa: &'static str,
    threads: usize,
    runs: u32,
    frame: [u32; 2],
    min_face_px: f32,
    faces: usize,
    /// Crops of the frame that R-Net and O-Net are shown.
    rnet_crops: usize,
    onet_crops: usize,
    space: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "load               {:8.1} ms", self.load_ms)?;
        writeln!(f, "detect             {:8.1} ms", self.detect_ms)?;
        writeln!(f, "follow             {:8.1} ms", self.follow_ms)?;
        writeln!(f, "embed              {:8.1} ms", self.embed_ms)?;
        writeln!(f, "  its network      {:8.1} ms", self.embed_network_ms)?;
        writeln!(
            f,
            "  its plan         {:8.1} ms, once",
            self.plan_compile_ms
        )?;
        writeln!(f, "frame to decision  {:8.1} ms", self.frame_to_decision_ms)?;
        writeln!(f, "memory             {:8.1} MB", self.rss_mb)?;
        let [w, h] = self.frame;
        write!(
            f,
            "medians of {} runs, {} with {} thread(s), {w} x {h} frame with {} face, smallest face {} px, {}",
            self.runs, self.isa, self.threads, self.faces, self.min_face_px, self.space
        )
    }
}

/// Runs the verb.
///
/// # Errors
/// Unusable networks, or a photo without a face.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let zoo = global.zoo()?;
    let path = match &args.photo {
        Some(photo) => photo.clone(),
        None => demo_data::folder()?.join(demo_data::BENCH_PHOTO),
    };
    let bytes = photo_bytes(&path).map_err(Error::from)?;
    let photo = facelatch_models::image::decode(&bytes, &path.display().to_string())
        .map_err(Error::from)?;
    let report = measure(&zoo, &in_frame(&photo), args.runs, &path)?;
    global.format().print(&report)?;
    Ok(Exit::Done)
}

/// The photo in the middle of a grey frame, as large as fits.
fn in_frame(photo: &RgbImage) -> RgbImage {
    let (w, h) = photo.dimensions();
    let scale = (FRAME.0 as f32 / w as f32).min(FRAME.1 as f32 / h as f32);
    let side = |px: u32, limit: u32| ((px as f32 * scale).round() as u32).clamp(1, limit);
    let small = resize_area(photo, side(w, FRAME.0), side(h, FRAME.1));
    let mut frame = RgbImage::from_pixel(FRAME.0, FRAME.1, image::Rgb([90; 3]));
    let (left, top) = (
        (FRAME.0 - small.width()) / 2,
        (FRAME.1 - small.height()) / 2,
    );
    image::imageops::replace(&mut frame, &small, i64::from(left), i64::from(top));
    frame
}

fn measure(zoo: &Zoo, frame: &RgbImage, runs: u32, path: &Path) -> Result<Report, Error> {
    let config = detector_config(MIN_FACE_PX);
    let progress = Progress::new("measuring", u64::from(6 * runs), "runs");
    let mut networks = Networks::load(zoo, config)?;
    let faces = networks.detector.detect(frame)?;
    let Some(face) = main_face(&faces, frame).cloned() else {
        return Err(Error::Input {
            path: path.to_path_buf(),
            why: "no face found in it".into(),
        });
    };
    let [rnet_crops, onet_crops] = networks.detector.crops_shown();
    let detect_ms = median(runs, &progress, || {
        networks.detector.detect(frame)?;
        Ok(())
    })?;
    let places = [face.rect];
    let follow_ms = median(runs, &progress, || {
        networks.detector.follow(frame, &places)?;
        Ok(())
    })?;
    let embed_ms = median(runs, &progress, || {
        let crop = align(frame, &face, networks.embedder.crop_spec());
        networks.embedder.embed(&crop)?;
        Ok(())
    })?;
    let crop = align(frame, &face, networks.embedder.crop_spec());
    let embed_network_ms = median(runs, &progress, || {
        networks.embedder.embed_uncentred(&crop)?;
        Ok(())
    })?;
    let template = networks.embed(frame, &face, Kind::Template)?;
    let classifier = Classifier::train(&[(Some("somebody"), &template)], &TrainConfig::default())?;
    let roster = Roster::new(
        template.space().clone(),
        &[("somebody".to_owned(), template)],
    )?;
    let gate = Gate::of(roster.space());
    let frame_to_decision_ms = median(runs, &progress, || {
        let faces = networks.detector.detect(frame)?;
        if let Some(face) = main_face(&faces, frame) {
            let probe = networks.embed(frame, face, Kind::Probe)?;
            roster.judge(&probe, Some(&classifier), &gate)?;
        }
        Ok(())
    })?;
    let rss_mb = rss_mb()?;
    let space = networks.embedder.space().as_str().to_owned();
    drop(networks);
    let load_ms = median(runs, &progress, || Networks::load(zoo, config).map(drop))?;
    let mut plan_compile_ms = 0.0;
    for (network, _) in zoo.manifest().profile(zoo.chosen())?.networks {
        let onnx = zoo.bytes(network)?;
        let start = Instant::now();
        compile(&network.name, onnx)?;
        plan_compile_ms += start.elapsed().as_secs_f64() * 1e3;
    }
    let engine = zoo.engine()?;
    Ok(Report {
        load_ms,
        detect_ms,
        follow_ms,
        embed_ms,
        embed_network_ms,
        plan_compile_ms,
        frame_to_decision_ms,
        rss_mb,
        isa: engine.isa().name(),
        threads: engine.threads(),
        runs,
        frame: [FRAME.0, FRAME.1],
        min_face_px: MIN_FACE_PX,
        faces: faces.len(),
        rnet_crops,
        onet_crops,
        space,
    })
}

fn median(
    runs: u32,
    progress: &Progress,
    mut work: impl FnMut() -> Result<(), Error>,
) -> Result<f64, Error> {
    let mut times = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        progress.advance(1);
    }
    times.sort_unstable_by(f64::total_cmp);
    let middle = times.len() / 2;
    Ok(if times.len().is_multiple_of(2) {
        (times[middle - 1] + times[middle]) / 2.0
    } else {
        times[middle]
    })
}

/// Resident memory now, in megabytes (10^6 bytes), as the kernel counts it.
fn rss_mb() -> Result<f64, Error> {
    let path = "/proc/self/status";
    let status = fs::read_to_string(path).map_err(Error::storage("read", path))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    kib.map(|kib| kib * 1024.0 / 1e6)
        .ok_or_else(|| Error::Bug(format!("{path} does not say VmRSS in kB")))
}
