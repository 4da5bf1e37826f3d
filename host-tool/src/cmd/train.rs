//! `facelatch train`: the classifier on the enrolled people, and the head before it where asked.

mod head;
mod page;

use std::{fmt, path::PathBuf, time::Instant};

use facelatch_models::{
    calibrate::DEFAULT_TARGET_FPIR,
    classifier::{Descent, ForestConfig, Kind, TrainConfig},
    metric::TripletConfig,
};
use serde::Serialize;

use crate::{
    Error, Exit,
    calibrate::{calibrate, renew},
    cli::Global,
    cmd::train::head::{HeadReport, head_may_go, train_head},
    home::Enrolled,
    progress::Progress,
    report::{count, percent, warn},
    sealed::write_shared,
    train::{TrainingFigures, Tried, compare, grid, train},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Embeddings are kept from `enroll`, so training takes seconds at most. The accuracy on unseen templates tells whether the
photos hang together: a person who does badly has photos of somebody else, or too few. A door that enrolls somebody
trains again the way you chose here.

--metric triplet first trains a head: from the network's numbers to fewer, by FaceNet's triplet loss on the enrolled people,
with those in none/ as strangers. A quarter of all is left out and tells what it is worth, and where its gate is. It needs 20
people with two photos each and some 140 photos in all, and pays off for many more. Later trainings keep it; doors get it
with the next bundle. Its space is its own: whoever was enrolled at a door has to be enrolled there again.

A calibration there is (see `facelatch calibrate`) is made anew for the people enrolled now.

Example: facelatch train --json
Example: facelatch train --classifier svm --c 1
Example: facelatch train --classifier knn --search    (try k, keep the best)
Example: facelatch train --metric triplet --dims 128 --report training.html
Example: facelatch train --compare                    (all classifiers on the same folds, nothing kept)")]
pub struct Args {
    /// The classifier.
    #[arg(long, value_enum, default_value_t = Classifier::Softmax)]
    classifier: Classifier,
    /// softmax, svm: inverse strength of L2 regularisation [default: 10].
    #[arg(long)]
    c: Option<f64>,
    /// softmax, svm: most optimiser iterations [default: 300].
    #[arg(long, value_name = "N")]
    iterations: Option<u32>,
    /// knn: how many neighbours vote [default: 3].
    #[arg(long)]
    k: Option<u32>,
    /// forest: how many trees [default: 100].
    #[arg(long, value_name = "N")]
    trees: Option<u32>,
    /// forest: most splits on the way to a leaf [default: 16].
    #[arg(long, value_name = "N")]
    depth: Option<u32>,
    /// forest, triplet: of the random numbers [default: 1].
    #[arg(long)]
    seed: Option<u64>,
    /// What distances are measured by [default: as before, the network at first].
    #[arg(long, value_enum, conflicts_with = "compare")]
    metric: Option<Metric>,
    /// triplet: numbers in an embedding.
    #[arg(long, value_name = "N", default_value_t = TripletConfig::default().dims)]
    dims: u32,
    /// triplet: how much farther another person has to be, in squared distance.
    #[arg(long, value_name = "DISTANCE", default_value_t = TripletConfig::default().margin)]
    margin: f64,
    /// triplet: most passes over the people.
    #[arg(long, value_name = "N", default_value_t = TripletConfig::default().epochs)]
    epochs: u32,
    /// Write a page with the curves of the head's training, and all classifiers on the same folds.
    #[arg(long, value_name = "HTML", conflicts_with = "compare")]
    report: Option<PathBuf>,
    /// Try a grid of settings by cross-validation and train with the best.
    #[arg(long, conflicts_with = "compare")]
    search: bool,
    /// Compare all classifiers with their default settings on the same folds; keep nothing.
    #[arg(long)]
    compare: bool,
}

/// The classifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Classifier {
    /// Multinomial logistic regression.
    Softmax,
    /// Linear support vector machine, one against the rest.
    Svm,
    /// Random forest.
    Forest,
    /// k nearest neighbours.
    Knn,
    /// Nearest centroid.
    Centroid,
}

/// What distances are measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Metric {
    /// The network's own embeddings; a head there is goes.
    Network,
    /// A head trained anew by triplet loss.
    Triplet,
}

impl Args {
    /// How to train the head.
    fn triplet(&self) -> TripletConfig {
        let usual = TripletConfig::default();
        TripletConfig {
            dims: self.dims,
            margin: self.margin,
            epochs: self.epochs,
            seed: self.seed.unwrap_or(usual.seed),
            ..usual
        }
    }

    fn with_head(&self) -> bool {
        self.metric == Some(Metric::Triplet)
    }

    /// Settings of a head are for one that is trained.
    fn check_head(&self) -> Result<(), Error> {
        let usual = TripletConfig::default();
        let asked = self.triplet();
        let changed = [
            ("--dims", asked.dims != usual.dims),
            ("--margin", asked.margin != usual.margin),
            ("--epochs", asked.epochs != usual.epochs),
        ];
        if let Some((flag, _)) = changed.iter().find(|(_, changed)| *changed)
            && !self.with_head()
        {
            return Err(Error::Usage(format!("{flag} goes with --metric triplet")));
        }
        asked.check().map_err(|e| Error::Usage(e.to_string()))
    }

    /// The settings asked for.
    fn config(&self) -> Result<TrainConfig, Error> {
        let config = match self.classifier {
            Classifier::Softmax => TrainConfig::Softmax(self.descent()),
            Classifier::Svm => TrainConfig::Svm(self.descent()),
            Classifier::Forest => {
                let usual = ForestConfig::default();
                TrainConfig::Forest(ForestConfig {
                    trees: self.trees.unwrap_or(usual.trees),
                    depth: self.depth.unwrap_or(usual.depth),
                    seed: self.seed.unwrap_or(usual.seed),
                })
            }
            Classifier::Knn => TrainConfig::Knn {
                k: self.k.unwrap_or(3),
            },
            Classifier::Centroid => TrainConfig::Centroid,
        };
        let given = [
            ("--c", self.c.is_some(), [Kind::Softmax, Kind::Svm]),
            (
                "--iterations",
                self.iterations.is_some(),
                [Kind::Softmax, Kind::Svm],
            ),
            ("--k", self.k.is_some(), [Kind::Knn; 2]),
            ("--trees", self.trees.is_some(), [Kind::Forest; 2]),
            ("--depth", self.depth.is_some(), [Kind::Forest; 2]),
            (
                "--seed",
                self.seed.is_some() && !self.with_head(),
                [Kind::Forest; 2],
            ),
        ];
        let kind = config.kind();
        for (flag, _, kinds) in given.iter().filter(|(_, given, _)| *given) {
            if self.search || self.compare || !kinds.contains(&kind) {
                let why = match self.search || self.compare {
                    true => "--search and --compare choose the settings".to_owned(),
                    false => format!("{} has no such setting", kind.name()),
                };
                return Err(Error::Usage(format!("{flag} does not fit: {why}")));
            }
        }
        config.check().map_err(|e| Error::Usage(e.to_string()))?;
        Ok(config)
    }

    fn descent(&self) -> Descent {
        let usual = Descent::default();
        Descent {
            c: self.c.unwrap_or(usual.c),
            max_iterations: self.iterations.unwrap_or(usual.max_iterations),
            ..usual
        }
    }
}

/// How training went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The head trained before, if one was.
    pub head: Option<HeadReport>,
    /// The figures.
    #[serde(flatten)]
    pub figures: TrainingFigures,
    /// What a search tried, best first; empty without one.
    pub searched: Vec<Tried>,
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
        if let Some(head) = &self.head {
            write!(f, "{head}")?;
        }
        table(f, &self.searched)?;
        writeln!(
            f,
            "{} trained on {} of {} and {} of unknown people in {:.1} s",
            figures.classifier,
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
            if cross.strangers > 0 {
                writeln!(
                    f,
                    "unknown people left out and given to nobody: {} of {}",
                    cross.refused, cross.strangers
                )?;
            }
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

/// Classifiers on the same folds.
#[derive(Debug, Serialize)]
struct Comparison {
    classifiers: Vec<Tried>,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table(f, &self.classifiers)?;
        write!(f, "next: facelatch train --classifier NAME")
    }
}

fn table(f: &mut fmt::Formatter<'_>, tried: &[Tried]) -> fmt::Result {
    if tried.is_empty() {
        return Ok(());
    }
    writeln!(
        f,
        "{:28} {:>12} {:>18} {:>8}",
        "", "right person", "strangers refused", "seconds"
    )?;
    for one in tried {
        let cross = &one.cross_validation;
        let refused = match cross.strangers {
            0 => "none tried".to_owned(),
            strangers => format!("{} of {strangers}", cross.refused),
        };
        writeln!(
            f,
            "{:28} {:>12} {:>18} {:>8.2}",
            one.config.to_string(),
            percent(cross.accuracy),
            refused,
            one.seconds
        )?;
    }
    writeln!(f)
}

/// Runs the verb.
///
/// # Errors
/// Nobody enrolled, templates of several embedding spaces, a workspace that cannot be read or written.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let home = global.home();
    let asked = args.config()?;
    args.check_head()?;
    let start = Instant::now();
    let head = match args.metric {
        Some(Metric::Triplet) => {
            let fitted = train_head(&home, &args.triplet())?;
            home.put_head(Some(&fitted.head))?;
            let report = HeadReport::from(&fitted);
            if report.does_harm() {
                warn(
                    "the people left out are recognised worse behind this head than without it: enroll more people, or go \
                     back with --metric network",
                );
            }
            Some(report)
        }
        Some(Metric::Network) => {
            head_may_go(&home, &home.people()?)?;
            home.put_head(None)?;
            None
        }
        None => None,
    };
    let Enrolled {
        people,
        none,
        head: behind,
    } = home.enrolled()?;
    let behind = behind.as_ref();
    let try_all = |configs: &[TrainConfig]| {
        let progress = Progress::new("trying", configs.len() as u64, "classifiers");
        let tried = compare(&people, &none, configs, |_| progress.advance(1));
        progress.finish();
        tried
    };
    if args.compare {
        let configs: Vec<_> = Kind::ALL.iter().map(|kind| kind.config()).collect();
        let classifiers = try_all(&configs)?;
        global.format().print(&Comparison { classifiers })?;
        return Ok(Exit::Done);
    }
    let searched = match args.search {
        true => try_all(&grid(asked.kind()))?,
        false => Vec::new(),
    };
    let config = searched.first().map_or(asked, |best| best.config.clone());
    let (trained, figures) = train(&people, &none, &config)?;
    if global.net.is_some() {
        let space = behind.map_or(&trained.classifier.space, |head| &head.learned().base);
        global.zoo_of(Some(space))?;
    }
    home.put_trained(&trained)?;
    let calibrated = home.calibrated()?;
    if let Some(calibrated) = &calibrated {
        home.put_calibrated(&renew(&calibrated.calibration, &people, &none, behind)?)?;
        if config.kind() != Kind::Softmax {
            warn(
                "how many near strangers a classifier lets pass was measured with softmax: with another, the rate of \
                 `facelatch calibrate` may be up to 1.4 times the predicted one",
            );
        }
    }
    // A head's gate is nobody's default: it goes to doors with what was measured of it.
    if let (None, Some(head)) = (&calibrated, behind) {
        home.put_calibrated(&calibrate(&people, &none, Some(head), DEFAULT_TARGET_FPIR)?.0)?;
    }
    let report = Report {
        head,
        figures,
        searched,
        space: trained.classifier.space.as_str().to_owned(),
        calibration_renewed: calibrated.is_some(),
        seconds: start.elapsed().as_secs_f64(),
    };
    if let Some(file) = &args.report {
        let configs: Vec<_> = Kind::ALL.iter().map(|kind| kind.config()).collect();
        write_shared(file, page::page(&report, &try_all(&configs)?)?.as_bytes())?;
    }
    global.format().print(&report)?;
    Ok(Exit::Done)
}
