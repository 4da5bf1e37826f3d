//! `facelatch train`: the classifier on the enrolled people.

use std::{fmt, time::Instant};

use facelatch_models::classifier::TrainConfig;
use serde::Serialize;

use crate::{
    Exit,
    calibrate::renew,
    cli::Global,
    report::{count, percent},
    train::{TrainingFigures, train},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Embeddings are kept from `enroll`, so training takes seconds at most. The accuracy on unseen templates tells whether the
photos hang together: a person who does badly has photos of somebody else, or too few.

A calibration there is (see `facelatch calibrate`) is made anew for the people enrolled now.

Example: facelatch train --json")]
pub struct Args {
    /// Inverse strength of L2 regularisation.
    #[arg(long, default_value_t = TrainConfig::default().c)]
    c: f64,
}

/// How training went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The figures.
    #[serde(flatten)]
    pub figures: TrainingFigures,
    /// Embedding space.
    pub space: String,
    /// Whether the calibration was made anew for these people; false if there is none.
    pub calibration_renewed: bool,
    /// How long it took, in seconds, cross-validation included.
    pub seconds: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        writeln!(
            f,
            "trained on {} of {} and {} of unknown people in {:.1} s",
            count(figures.templates, "template", "templates"),
            count(figures.people, "person", "people"),
            figures.none,
            self.seconds
        )?;
        writeln!(
            f,
            "right on what it was trained on: {}",
            percent(figures.accuracy)
        )?;
        if let Some(cross) = &figures.cross_validation {
            writeln!(
                f,
                "right on what was left out: {} ({} of {}, {} folds)",
                percent(cross.accuracy),
                cross.correct,
                cross.tried,
                cross.folds
            )?;
        }
        for (person, figures) in &figures.per_person {
            if let Some(unseen) = figures.correct_unseen.filter(|&n| n < figures.templates) {
                writeln!(
                    f,
                    "  {person}: {unseen} of {} templates recognised when left out: check the photos",
                    figures.templates
                )?;
            }
        }
        if self.calibration_renewed {
            writeln!(f, "calibrated anew for these people, under the same target")?;
        }
        write!(f, "next: facelatch push --to DOOR, or facelatch pack")
    }
}

/// Runs the verb.
///
/// # Errors
/// Nobody enrolled, templates of several embedding spaces, a workspace that cannot be read or written.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let home = global.home();
    let config = TrainConfig {
        c: args.c,
        ..TrainConfig::default()
    };
    let start = Instant::now();
    let (people, none) = (home.people()?, home.none()?);
    let (trained, figures) = train(&people, &none, &config)?;
    if global.net.is_some() {
        global.zoo_of(Some(&trained.classifier.space))?;
    }
    home.put_trained(&trained)?;
    let calibrated = home.calibrated()?;
    if let Some(calibrated) = &calibrated {
        home.put_calibrated(&renew(&calibrated.calibration, &people, &none)?)?;
    }
    global.format().print(&Report {
        figures,
        space: trained.classifier.space.as_str().to_owned(),
        calibration_renewed: calibrated.is_some(),
        seconds: start.elapsed().as_secs_f64(),
    })?;
    Ok(Exit::Done)
}
