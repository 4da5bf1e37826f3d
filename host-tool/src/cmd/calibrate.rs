//! `facelatch calibrate`: the gate for an error rate, from the enrolled people; or, on a folder, whether that holds.

use std::{fmt, path::PathBuf};

use facelatch_models::calibrate::{DEFAULT_TARGET_FPIR, Limit, Tail};
use serde::Serialize;

use super::evaluate::{Material, Selection, choices, read_groups, take, trial, warn_ungrouped};
use crate::{
    Error, Exit,
    calibrate::{
        Figures, calibrate,
        splits::{self, Splits},
    },
    cli::Global,
    dataset::Dataset,
    embed::{MIN_FACE_PX, Reader, detector_config},
    evaluate::pairs::{Sample, all_pairs},
    report::{count, percent, warn},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
  FPIR share of strangers' photos accepted as anybody
  FNIR share of enrolled people's photos not accepted as theirs

A stranger is accepted if anybody enrolled is near enough, so the more people, the nearer they have to be. How near follows
from the target, the people enrolled, how alike these are to each other and to the strangers in none/, and how alike people
were to each other where the network was measured. People with a look-alike get a distance of their own. The calibration is
kept in the workspace; pack and push take it to doors, which apply it to whoever is enrolled there, also later and at the
door. A door's own settings (recognition.max_distance) stay the upper bound.

With DIR (one folder per person), nothing is kept: so many people chosen at random are enrolled and calibrated on, all others
try as strangers, and the prediction is compared with what happens.

Example: facelatch calibrate --target-fpir 0.001
Example: facelatch calibrate photos --splits 10 --people 50 --photos 3 --groups groups.csv --json")]
pub struct Args {
    /// Measure on this folder instead of calibrating the workspace.
    dir: Option<PathBuf>,
    /// FPIR that is not exceeded, with 97.5 % confidence: 0.000001 to 0.5.
    #[arg(long, value_name = "RATE", default_value_t = DEFAULT_TARGET_FPIR)]
    target_fpir: f64,
    /// How often people are chosen.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "dir")]
    splits: u32,
    /// People enrolled of those who have photos enough.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "dir")]
    people: usize,
    /// Photos enrolled of each.
    #[arg(long, value_name = "N", default_value_t = 3, requires = "dir")]
    photos: usize,
    /// Where the random choice starts.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "dir")]
    seed: u64,
    /// CSV of person,group: FNIR of each group too.
    #[arg(long, value_name = "CSV", requires = "dir")]
    groups: Option<PathBuf>,
    /// Smallest face looked for, in pixels, after a photo is scaled down to at most 640 pixels a side.
    #[arg(long, value_name = "PX", default_value_t = MIN_FACE_PX, requires = "dir")]
    min_face_px: f32,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Report(Figures);

#[derive(Debug, Serialize)]
struct Measured {
    #[serde(flatten)]
    material: Material,
    enrolled_people: usize,
    enrolled_photos: usize,
    /// What the impostor pairs of this folder say of the space; absent if they are too few.
    tail_here: Option<Tail>,
    #[serde(flatten)]
    figures: Splits,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report(figures) = self;
        let [low, high] = figures.predicted.interval_95;
        writeln!(
            f,
            "gate for {} with {}: distance at most {:.3} ({:.3} without calibration)",
            count(figures.people, "person", "people"),
            count(figures.templates, "template", "templates"),
            figures.max_distance,
            figures.uncalibrated_max_distance
        )?;
        writeln!(
            f,
            "strangers let in by one photo: {} predicted, 95 % interval {} to {}; target {}",
            fine(figures.predicted.fpir),
            fine(low),
            fine(high),
            fine(figures.target_fpir)
        )?;
        let population = &figures.population;
        writeln!(
            f,
            "people here are {:.2} times as alike as where the network was measured ({} near pairs, {:.1} expected)",
            population.mean, population.found, population.expected
        )?;
        match &figures.fnir {
            Some(fnir) => writeln!(
                f,
                "enrolled people refused by one photo: {} ({} of {} left out in turn), 95 % interval {} to {}",
                percent(fnir.rate),
                fnir.errors,
                fnir.trials,
                percent(fnir.interval_95[0]),
                percent(fnir.interval_95[1])
            )?,
            None => writeln!(
                f,
                "nobody has two templates: how often enrolled people are refused cannot be told"
            )?,
        }
        figures
            .look_alikes
            .iter()
            .try_for_each(|limit| look_alike(limit, f))?;
        write!(
            f,
            "kept for pack and push; a door asks several photos of one face to agree"
        )
    }
}

fn look_alike(limit: &Limit, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(near) = &limit.look_alike else {
        return Ok(());
    };
    let whom = near.person.as_deref().unwrap_or("a stranger in none/");
    write!(
        f,
        "  {} looks like {whom} (distance {:.3}): distance at most {:.3}",
        limit.person, near.distance, limit.max_distance
    )?;
    if limit.max_distance <= 0.1 {
        write!(f, ", so a face will hardly ever do: use another means")?;
    }
    writeln!(f)
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        write!(f, "{}", self.material)?;
        writeln!(
            f,
            "{} people enrolled with {} photos each; target FPIR {}",
            self.enrolled_people,
            self.enrolled_photos,
            fine(figures.target_fpir)
        )?;
        for split in &figures.splits {
            let [low, high] = split.predicted_interval_95;
            writeln!(
                f,
                "  distance {:.3}: FPIR {} predicted, {} to {} for so many photos, {} measured ({} of {}){}; FNIR {}",
                split.max_distance,
                fine(split.predicted.fpir),
                fine(low),
                fine(high),
                fine(split.measured.rate),
                split.measured.errors,
                split.measured.trials,
                if split.contained { "" } else { ": outside" },
                percent(split.fnir.rate)
            )?;
        }
        let total = figures.splits.len();
        writeln!(
            f,
            "{} of {total} measured rates in the predicted interval, {} at most the target",
            figures.contained, figures.within_target
        )?;
        let all = ("all".to_owned(), figures.fnir);
        writeln!(
            f,
            "FPIR over all splits: {} ({} of {}; {} near enough)",
            fine(figures.measured.rate),
            figures.measured.errors,
            figures.measured.trials,
            figures.near_enough.errors
        )?;
        for (group, rate) in figures.fnir_by_group.clone().into_iter().chain([all]) {
            writeln!(
                f,
                "FNIR {group}: {} ({} of {})",
                percent(rate.rate),
                rate.errors,
                rate.trials
            )?;
        }
        write!(f, "  (splits share photos: they are not independent)")
    }
}

/// A small share as a percentage: `0.074 %`.
fn fine(share: f64) -> String {
    format!("{:.3} %", share * 100.0)
}

/// Runs the verb.
///
/// # Errors
/// Nobody enrolled, a target out of range, a space nobody measured; with a folder, as for `evaluate --open-set`.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    if let Some(dir) = &args.dir {
        let measured = measure(global, args, Dataset::open(dir)?)?;
        global.format().print(&measured)?;
        return Ok(Exit::Done);
    }
    let home = global.home();
    let enrolled = home.enrolled()?;
    let (calibrated, figures) = calibrate(
        &enrolled.people,
        &enrolled.none,
        enrolled.head.as_ref(),
        args.target_fpir,
    )?;
    home.put_calibrated(&calibrated)?;
    global.format().print(&Report(figures))?;
    Ok(Exit::Done)
}

fn measure(global: &Global, args: &Args, dataset: Dataset) -> Result<Measured, Error> {
    for oddity in &dataset.oddities {
        warn(&oddity.to_string());
    }
    let groups = args.groups.as_ref().map(read_groups).transpose()?;
    let zoo = global.zoo()?;
    let config = detector_config(args.min_face_px);
    let reader = Reader::new(&zoo, Some(global.home().cache()), config)?;
    let (shots, material) = take(&dataset, &reader)?;
    let samples: Vec<Sample<'_>> = shots.iter().filter_map(|shot| shot.sample()).collect();
    if let Some(groups) = &groups {
        warn_ungrouped(&samples, groups);
    }
    let tail_here = Tail::fit(all_pairs(&samples)?.impostor());
    let tail = Tail::prior(reader.space()).or_else(|| tail_here.clone());
    let tail = tail.ok_or_else(|| {
        Error::Usage(format!(
            "too few photos to tell how alike strangers are in the space {}",
            reader.space()
        ))
    })?;
    let selection = Selection {
        people: args.people,
        photos: args.photos,
        splits: Some((args.splits, args.seed)),
    };
    let mut trials = Vec::new();
    for enrolled in choices(selection, &shots)? {
        trials.push(trial(&shots, &enrolled, &reader)?);
    }
    let figures = splits::run(
        reader.space(),
        &trials,
        &tail,
        args.target_fpir,
        groups.as_ref(),
    )?;
    Ok(Measured {
        material,
        enrolled_people: args.people,
        enrolled_photos: args.photos,
        tail_here,
        figures,
    })
}
