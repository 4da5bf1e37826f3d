//! The train call: which classifiers there are, with their hyper-parameters. The work is in `training/learn.rs`.

mod learn;

use std::collections::BTreeMap;

use facelatch_models::classifier::{Kind, TrainConfig};
use serde::Serialize;
use utoipa::ToSchema;

pub(super) use self::learn::{learn, read};
use super::problem::Problem;

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
