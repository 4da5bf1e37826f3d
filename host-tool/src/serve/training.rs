//! The train call: a dataset's photos to templates, templates to classifier, calibration renewed; step by step, so that
//! it can be watched and cancelled. And which classifiers there are, with their hyper-parameters.

use std::{collections::BTreeMap, path::PathBuf};

use facelatch_models::classifier::{Kind, TrainConfig};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    jobs::{Ended, Job},
    names::UserId,
    problem::Problem,
    state::App,
};
use crate::{
    Error,
    calibrate::renew,
    cmd::enroll::{EnrollReport, keep},
    dataset::Dataset,
    embed::{self, Outcome, photo_bytes},
    home::Enrolled,
    train::train,
};

/// A classifier that can be trained.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct Trainer {
    /// Its name, the value of `classifier`.
    #[schema(example = "softmax")]
    pub(super) name: &'static str,
    /// What it is.
    pub(super) about: &'static str,
    /// Its hyper-parameters, as further query values.
    pub(super) parameters: &'static [Parameter],
}

/// A hyper-parameter.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct Parameter {
    /// Its name.
    #[schema(example = "c")]
    pub(super) name: &'static str,
    /// What it does.
    pub(super) about: &'static str,
    /// Its value where none is given.
    #[schema(example = 10.0)]
    pub(super) default: f64,
    /// Smallest value.
    pub(super) min: f64,
    /// Largest value.
    pub(super) max: f64,
}

/// Of what is minimised: softmax and SVM.
const DESCENT: &[Parameter] = &[
    Parameter {
        name: "c",
        about: "inverse strength of L2 regularisation",
        default: 10.0,
        min: 1e-4,
        max: 1e6,
    },
    Parameter {
        name: "max_iterations",
        about: "most steps of the optimiser",
        default: 300.0,
        min: 1.0,
        max: 10_000.0,
    },
    Parameter {
        name: "tolerance",
        about: "the part of its first gradient at which it stops",
        default: 1e-3,
        min: 1e-9,
        max: 1.0,
    },
];

/// All of them, the default first.
pub(super) const TRAINERS: &[Trainer] = &[
    Trainer {
        name: "softmax",
        about: "multinomial logistic regression with a class for unknown people",
        parameters: DESCENT,
    },
    Trainer {
        name: "svm",
        about: "linear support vector machine, one against the rest",
        parameters: DESCENT,
    },
    Trainer {
        name: "forest",
        about: "random forest",
        parameters: &[
            Parameter {
                name: "trees",
                about: "how many trees",
                default: 100.0,
                min: 1.0,
                max: 1000.0,
            },
            Parameter {
                name: "depth",
                about: "most splits on the way to a leaf",
                default: 16.0,
                min: 1.0,
                max: 32.0,
            },
        ],
    },
    Trainer {
        name: "knn",
        about: "nearest neighbours, nearer ones count more",
        parameters: &[Parameter {
            name: "k",
            about: "how many neighbours vote",
            default: 3.0,
            min: 1.0,
            max: 100.0,
        }],
    },
    Trainer {
        name: "centroid",
        about: "the nearest person's mean",
        parameters: &[],
    },
];

/// The settings that query values name.
///
/// # Errors
/// 400 for an unknown classifier or parameter, or a value out of range.
pub(super) fn config(query: &BTreeMap<String, String>) -> Result<TrainConfig, Problem> {
    let wanted = query
        .get("classifier")
        .map_or(TRAINERS[0].name, String::as_str);
    let trainer = TRAINERS
        .iter()
        .find(|trainer| trainer.name == wanted)
        .ok_or_else(|| {
            let names: Vec<_> = TRAINERS.iter().map(|trainer| trainer.name).collect();
            Problem::bad_request(format!(
                "there is no classifier {wanted:?}: {}",
                names.join(", ")
            ))
        })?;
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| kind.name() == trainer.name);
    let mut config = kind.map_or_else(TrainConfig::default, Kind::config);
    for (name, text) in query.iter().filter(|(name, _)| *name != "classifier") {
        let parameter = trainer
            .parameters
            .iter()
            .find(|p| p.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = trainer.parameters.iter().map(|p| p.name).collect();
                Problem::bad_request(format!(
                    "{wanted} has no parameter {name:?}: {}",
                    names.join(", ")
                ))
            })?;
        let (min, max) = (parameter.min, parameter.max);
        let value = text
            .parse()
            .ok()
            .filter(|value| (min..=max).contains(value));
        let value = value.ok_or_else(|| {
            Problem::bad_request(format!(
                "{name} is {text:?}: a number from {min} to {max} is meant"
            ))
        })?;
        set(&mut config, parameter.name, value)?;
    }
    Ok(config)
}

/// Gives a parameter a value within its range.
///
/// # Errors
/// 500 for a parameter of [`TRAINERS`] that is not known here.
fn set(config: &mut TrainConfig, parameter: &str, value: f64) -> Result<(), Problem> {
    match (parameter, config) {
        ("c", TrainConfig::Softmax(descent) | TrainConfig::Svm(descent)) => descent.c = value,
        // Whole numbers within their ranges, from here on.
        ("max_iterations", TrainConfig::Softmax(descent) | TrainConfig::Svm(descent)) => {
            descent.max_iterations = value as u32;
        }
        ("tolerance", TrainConfig::Softmax(descent) | TrainConfig::Svm(descent)) => {
            descent.tolerance = value;
        }
        ("trees", TrainConfig::Forest(forest)) => forest.trees = value as u32,
        ("depth", TrainConfig::Forest(forest)) => forest.depth = value as u32,
        ("k", TrainConfig::Knn { k }) => *k = value as u32,
        (unknown, _) => return Err(Problem::internal(&format!("bug: no parameter {unknown}"))),
    }
    Ok(())
}

/// Trains a dataset, as `facelatch enroll` and `facelatch train` do one after the other.
///
/// # Errors
/// [`Ended::Cancelled`] before anything was changed; nobody enrolled; a workspace that cannot be read or written.
pub(super) fn learn(
    app: &App,
    user: &UserId,
    config: &TrainConfig,
    job: &Job,
) -> Result<serde_json::Value, Ended> {
    let dataset = match Dataset::open(&app.datasets.training(user)) {
        Ok(dataset) => Some(dataset),
        // No photos here: whoever is enrolled was enrolled elsewhere.
        Err(Error::Layout { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let outcomes = match &dataset {
        Some(dataset) => read(app, dataset, embed::Kind::Template, job)?,
        None => Vec::new(),
    };
    job.phase("training", 0);
    job.step(0)?;
    let home = app.datasets.recogniser(user);
    let _one = app.datasets.writing();
    let enrolled = match &dataset {
        Some(dataset) => Some(keep(dataset, &home, &outcomes)?),
        None => None,
    };
    let Enrolled { people, none, head } = home.enrolled()?;
    let (trained, figures) = train(&people, &none, config)?;
    home.put_trained(&trained)?;
    let calibrated = home.calibrated()?;
    if let Some(calibrated) = &calibrated {
        home.put_calibrated(&renew(
            &calibrated.calibration,
            &people,
            &none,
            head.as_ref(),
        )?)?;
    }
    Ok(json!({
        "figures": figures,
        "space": trained.classifier.space.as_str(),
        "calibration_renewed": calibrated.is_some(),
        "refused": enrolled.as_ref().map_or_else(Vec::new, refused),
    }))
}

/// Reads a dataset's photos one by one, so that others get their turn with the networks in between.
///
/// # Errors
/// [`Ended::Cancelled`]; a photo's own trouble is in its outcome.
pub(super) fn read(
    app: &App,
    dataset: &Dataset,
    kind: embed::Kind,
    job: &Job,
) -> Result<Vec<Outcome>, Ended> {
    let photos: Vec<PathBuf> = dataset
        .labelled()
        .map(|(_, path)| path.to_path_buf())
        .collect();
    job.phase("reading photos", photos.len() as u64);
    let mut outcomes = Vec::with_capacity(photos.len());
    for (done, path) in photos.into_iter().enumerate() {
        job.step(done as u64)?;
        outcomes.push(match photo_bytes(&path) {
            Ok(bytes) => app
                .engine
                .run_blocking(move |desk| Ok(desk.read(&path, &bytes, kind)?))?,
            Err(error) => Err(error),
        });
    }
    job.step(outcomes.len() as u64)?;
    Ok(outcomes)
}

/// Photos that made no template: whose, which, and why.
fn refused(report: &EnrollReport) -> Vec<serde_json::Value> {
    let people = report
        .people
        .iter()
        .map(|person| (person.person.as_str(), &person.photos));
    let folders = people.chain(report.none.iter().map(|none| ("none", none)));
    let refused = folders
        .flat_map(|(person, folder)| folder.refused.iter().map(move |refused| (person, refused)));
    refused
        .map(|(person, refused)| {
            json!({
                "person": person,
                "photo": refused.photo.file_name().unwrap_or_default().to_string_lossy(),
                "why": refused.refusal.to_string(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use facelatch_models::classifier::Descent;

    use super::*;

    fn query(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn query_values_become_settings_or_say_what_would() {
        assert_eq!(
            config(&query(&[])).expect("nothing"),
            TrainConfig::default()
        );
        let set = config(&query(&[
            ("classifier", "svm"),
            ("c", "2.5"),
            ("max_iterations", "7"),
        ]));
        let descent = Descent {
            c: 2.5,
            max_iterations: 7,
            ..Descent::default()
        };
        assert_eq!(set.expect("in range"), TrainConfig::Svm(descent));
        let bad = [
            ("classifier", "oracle", "softmax"),
            ("d", "1", "max_iterations"),
            ("c", "0", "0.0001"),
            ("c", "NaN", "number"),
            ("c", "inf", "number"),
            ("max_iterations", "1e9", "10000"),
        ];
        for (name, value, says) in bad {
            let problem = config(&query(&[(name, value)])).expect_err(name);
            assert!(
                problem.detail().contains(says),
                "{name}={value}: {}",
                problem.detail()
            );
        }
        // Every classifier there is, each with its own defaults.
        let names: Vec<_> = TRAINERS.iter().map(|trainer| trainer.name).collect();
        assert_eq!(names, Kind::ALL.map(Kind::name));
        for (trainer, kind) in TRAINERS.iter().zip(Kind::ALL) {
            for parameter in trainer.parameters {
                let default = parameter.default.to_string();
                let pairs = [("classifier", trainer.name), (parameter.name, &default)];
                let set = config(&query(&pairs)).expect("its own default");
                assert_eq!(set, kind.config(), "{} {}", trainer.name, parameter.name);
            }
        }
    }
}
