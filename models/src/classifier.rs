//! Who is it, by everything enrolled: a trained classifier over embeddings, with a "none" class for people nobody enrolled.
//!
//! ```text
//! examples --TrainConfig--> softmax, svm, centroid: Linear | knn: Nearest | forest: Forest   --probabilities--> [none, p1, ...]
//! ```
//!
//! Its probability is never the only gate: see `openset`. Host and device train and use the same code: a device that enrolls
//! somebody trains again as it was told to. What is minimised is in `linear`, how in `lbfgs`; strangers made up when nobody
//! brought any, in `strangers`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    Error,
    embedding::{Embedding, SpaceId, check_dimension},
};

mod centroid;
mod config;
mod examples;
mod forest;
mod lbfgs;
mod linear;
mod nearest;
pub(crate) mod random;
mod stored;
mod strangers;

pub use config::{Descent, ForestConfig, Kind, TrainConfig};
use examples::Examples;
pub use forest::{Forest, Node};
pub use linear::{Linear, Link};
pub use nearest::Nearest;

/// A trained classifier. Class 0 is always "none"; class k is `people[k - 1]`.
///
/// The fields are public to be stored; one that was read back is used only after [`Classifier::validate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Classifier {
    /// The space it was trained in.
    pub space: SpaceId,
    /// Person ids, sorted, without "none".
    pub people: Vec<String>,
    /// How it was trained: how it is trained again when somebody is enrolled.
    pub config: TrainConfig,
    /// What it learned.
    pub model: Model,
}

/// What a classifier learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Model {
    /// A score a class, linear in the embedding: softmax, SVM and nearest centroid.
    Linear(Linear),
    /// The examples themselves.
    Nearest(Nearest),
    /// Decision trees.
    Forest(Forest),
}

/// What the classifier makes of an embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Most likely person id, `None` for the "none" class.
    pub person: Option<String>,
    /// Its probability, in [0, 1].
    pub probability: f32,
}

impl Classifier {
    /// A softmax classifier of these weights, `(people + 1) x dim` row major, and biases; not validated.
    #[must_use]
    pub fn softmax(
        space: SpaceId,
        people: Vec<String>,
        weights: Vec<f32>,
        biases: Vec<f32>,
    ) -> Classifier {
        Classifier {
            space,
            people,
            config: TrainConfig::default(),
            model: Model::Linear(Linear {
                weights,
                biases,
                link: Link::Softmax,
            }),
        }
    }

    /// Trains on labelled embeddings (`None` = "none"); deterministic. Softmax, SVM and forest let every class weigh the
    /// same, however many examples it has.
    ///
    /// Without any "none" example, made-up strangers stand in: see `classifier/strangers.rs`.
    ///
    /// # Errors
    /// [`Error::Training`] without people or with settings out of range, [`Error::Space`] if spaces are mixed.
    pub fn train(
        examples: &[(Option<&str>, &Embedding)],
        config: &TrainConfig,
    ) -> Result<Classifier, Error> {
        config.check()?;
        let people: BTreeSet<&str> = examples.iter().filter_map(|(who, _)| *who).collect();
        let people: Vec<&str> = people.into_iter().collect();
        let Some((_, first)) = examples.first().filter(|_| !people.is_empty()) else {
            return Err(Error::Training(
                "nobody is enrolled; give at least one person's photos".to_owned(),
            ));
        };
        let space = first.space();
        let gathered = Examples::gather(examples, &people)?;
        let model = match config {
            TrainConfig::Softmax(descent) => Model::Linear(linear::softmax(&gathered, descent)),
            TrainConfig::Svm(descent) => Model::Linear(linear::svm(&gathered, descent)),
            TrainConfig::Centroid => Model::Linear(centroid::fit(&gathered)),
            TrainConfig::Knn { k } => Model::Nearest(nearest::fit(&gathered, *k)),
            TrainConfig::Forest(forest) => Model::Forest(forest::fit(&gathered, forest)),
        };
        let classifier = Classifier {
            space: space.clone(),
            people: people.into_iter().map(str::to_owned).collect(),
            config: config.clone(),
            model,
        };
        classifier.validate()?;
        Ok(classifier)
    }

    /// Refuses a classifier whose parts do not fit together: one read from a file or sent by a peer.
    ///
    /// # Errors
    /// [`Error::Training`] naming the part.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |why: &str| Err(Error::Training(format!("the classifier is damaged: {why}")));
        if self.people.is_empty() || !self.people.is_sorted_by(|a, b| a < b) {
            return refuse("its people are not a sorted list without repeats");
        }
        if self.config.check().is_err() {
            return refuse("it was trained in a way that cannot be");
        }
        let classes = self.people.len() + 1;
        let sound = match &self.model {
            Model::Linear(linear) => linear.check(classes),
            Model::Nearest(nearest) => nearest.check(classes),
            Model::Forest(forest) => forest.check(classes),
        };
        sound.or_else(refuse)
    }

    /// Numbers in the embeddings it takes; 0 if there are none.
    #[must_use]
    pub fn dimension(&self) -> usize {
        match &self.model {
            Model::Linear(linear) => linear.weights.len() / (self.people.len() + 1),
            Model::Nearest(nearest) => nearest.dimension(),
            Model::Forest(forest) => forest.dimension as usize,
        }
    }

    /// The class of a person, `None` if they were not in training.
    #[must_use]
    pub fn class_of(&self, person: &str) -> Option<usize> {
        let found = self.people.binary_search_by(|p| p.as_str().cmp(person));
        found.ok().map(|i| i + 1)
    }

    /// Probabilities of all classes, "none" first, summing to 1.
    ///
    /// # Errors
    /// [`Error::Space`] if the embedding is of another space, [`Error::Training`] as for [`Classifier::validate`].
    pub fn probabilities(&self, embedding: &Embedding) -> Result<Vec<f32>, Error> {
        self.space.expect(embedding.space())?;
        check_dimension(&self.space, self.dimension(), embedding.values().len())?;
        let (values, classes) = (embedding.values(), self.people.len() + 1);
        let probabilities = match &self.model {
            Model::Linear(linear) => linear.probabilities(values, classes),
            Model::Nearest(nearest) => nearest.probabilities(values, classes),
            Model::Forest(forest) => forest.probabilities(values, classes),
        };
        match probabilities {
            Some(probabilities) => Ok(probabilities),
            None => {
                self.validate()?;
                Err(Error::Training(
                    "the classifier gives no probabilities".to_owned(),
                ))
            }
        }
    }

    /// The most likely class.
    ///
    /// # Errors
    /// As for [`Classifier::probabilities`].
    pub fn predict(&self, embedding: &Embedding) -> Result<Prediction, Error> {
        let probabilities = self.probabilities(embedding)?;
        let best = most_likely(&probabilities);
        Ok(Prediction {
            person: best
                .checked_sub(1)
                .and_then(|i| self.people.get(i))
                .cloned(),
            probability: probabilities.get(best).copied().unwrap_or(0.0),
        })
    }
}

/// The class of the largest probability, the first of equals: "none" wins a tie.
pub(crate) fn most_likely(probabilities: &[f32]) -> usize {
    let mut best = 0;
    for (class, p) in probabilities.iter().enumerate() {
        if p.total_cmp(&probabilities[best]).is_gt() {
            best = class;
        }
    }
    best
}

/// Numbers for storage.
fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

#[cfg(test)]
mod tests;
