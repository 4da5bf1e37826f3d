//! Multinomial logistic regression (softmax) over embeddings, with a "none" class for people nobody enrolled.
//!
//! Its probability is never the only gate: see `openset`. The optimiser is `classifier/lbfgs.rs`, the function it
//! minimises `classifier/softmax.rs`, the strangers made up when nobody brought any `classifier/strangers.rs`.

use std::collections::BTreeSet;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    embedding::{Embedding, SpaceId, check_dimension},
};

mod lbfgs;
mod softmax;
mod strangers;

/// A trained classifier. Class 0 is always "none"; class k is `people[k - 1]`.
///
/// The fields are public to be stored; one that was read back is used only after [`Classifier::validate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Classifier {
    /// The space it was trained in.
    pub space: SpaceId,
    /// Person ids, sorted, without "none".
    pub people: Vec<String>,
    /// Weights, `(people + 1) x dim`, row major.
    pub weights: Vec<f32>,
    /// Biases, `people + 1`.
    pub biases: Vec<f32>,
}

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainConfig {
    /// Inverse of L2 regularisation strength, as in scikit-learn; > 0.
    pub c: f64,
    /// Most optimiser iterations.
    pub max_iterations: usize,
    /// Stop when the largest gradient component has fallen to this part of what it was at the start; > 0. (Not a bound on
    /// the gradient itself, as scikit-learn's: with 1,000 people that starts below 1e-4 already.)
    pub tolerance: f64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            c: 10.0,
            max_iterations: 300,
            tolerance: 1e-3,
        }
    }
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
    /// Reads a stored classifier (postcard); `None` if it is none, or [`Classifier::validate`] refuses it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Classifier> {
        let (classifier, []) = postcard::take_from_bytes::<Classifier>(bytes).ok()? else {
            return None;
        };
        classifier.validate().is_ok().then_some(classifier)
    }

    /// Trains on labelled embeddings (`None` = "none"); deterministic, and every class weighs the same however many
    /// examples it has.
    ///
    /// Without any "none" example, made-up strangers stand in: see `classifier/strangers.rs`.
    ///
    /// # Errors
    /// [`Error::Training`] without people or with settings out of range, [`Error::Space`] if spaces are mixed.
    pub fn train(
        examples: &[(Option<&str>, &Embedding)],
        config: &TrainConfig,
    ) -> Result<Classifier, Error> {
        if !(config.c > 0.0 && config.c.is_finite() && config.tolerance > 0.0) {
            return Err(Error::Training(
                "c and the tolerance must be greater than 0".to_owned(),
            ));
        }
        let people: BTreeSet<&str> = examples.iter().filter_map(|(who, _)| *who).collect();
        let people: Vec<&str> = people.into_iter().collect();
        let Some((_, first)) = examples.first().filter(|_| !people.is_empty()) else {
            return Err(Error::Training(
                "nobody is enrolled; give at least one person's photos".to_owned(),
            ));
        };
        let (space, dimension) = (first.space(), first.values().len());
        let mut rows: Vec<f64> = Vec::with_capacity(examples.len() * dimension);
        let mut classes: Vec<usize> = Vec::with_capacity(examples.len());
        for (who, embedding) in examples {
            space.expect(embedding.space())?;
            check_dimension(space, dimension, embedding.values().len())?;
            rows.extend(embedding.values().iter().map(|&v| f64::from(v)));
            // Every name is in the sorted list it was collected into.
            let class = who.map_or(0, |who| people.partition_point(|&p| p < who) + 1);
            classes.push(class);
        }
        if !classes.contains(&0) {
            let made_up = strangers::make(&rows, &classes, people.len(), dimension);
            classes.resize(classes.len() + made_up.len() / dimension, 0);
            rows.extend(made_up);
        }
        let x = Array2::from_shape_vec((classes.len(), dimension), rows)
            .map_err(|e| Error::Training(e.to_string()))?;
        let problem = softmax::Problem::new(x, classes, people.len() + 1, config.c);
        let solution = problem.solve(config.max_iterations, config.tolerance);
        let (weights, biases) = problem.split(&solution);
        #[allow(clippy::cast_possible_truncation)]
        let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let classifier = Classifier {
            space: space.clone(),
            people: people.into_iter().map(str::to_owned).collect(),
            weights: narrow(weights),
            biases: narrow(biases),
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
        let classes = self.people.len() + 1;
        if self.biases.len() != classes {
            return refuse("it has not one bias a class");
        }
        if self.weights.is_empty() || !self.weights.len().is_multiple_of(classes) {
            return refuse("its weights are not one row a class");
        }
        if !self
            .weights
            .iter()
            .chain(&self.biases)
            .all(|v| v.is_finite())
        {
            return refuse("a weight is not a finite number");
        }
        Ok(())
    }

    /// Numbers in the embeddings it takes; 0 if there are none.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.weights.len() / (self.people.len() + 1)
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
        let dimension = self.dimension();
        check_dimension(&self.space, dimension, embedding.values().len())?;
        let classes = self.people.len() + 1;
        if dimension == 0
            || self.biases.len() != classes
            || self.weights.len() != classes * dimension
        {
            self.validate()?;
        }
        let rows = self.weights.chunks_exact(dimension.max(1));
        let scores = rows.zip(&self.biases).map(|(row, &bias)| {
            let terms = row.iter().zip(embedding.values());
            f64::from(bias)
                + terms
                    .map(|(&w, &v)| f64::from(w) * f64::from(v))
                    .sum::<f64>()
        });
        let mut scores: Vec<f64> = scores.collect();
        softmax::in_place(&mut scores);
        #[allow(clippy::cast_possible_truncation)]
        Ok(scores.iter().map(|&p| p as f32).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> SpaceId {
        SpaceId::parse("s").unwrap()
    }

    /// A vector near axis `axis`, moved by a little noise of its own.
    fn near(axis: usize, seed: usize) -> Embedding {
        let values = (0..16).map(|i| {
            let noise = ((seed * 31 + i * 17 + 7) % 23) as f32 / 23.0 - 0.5;
            noise * 0.3 + if i == axis { 1.0 } else { 0.0 }
        });
        Embedding::new(space(), values.collect()).unwrap()
    }

    fn trained(none: &[usize]) -> Classifier {
        let faces: Vec<(Option<&str>, Embedding)> = (0..5)
            .flat_map(|seed| {
                let strangers = none.iter().map(move |&axis| (None, near(axis, seed)));
                [("cid", 2), ("ann", 0), ("bob", 1)]
                    .map(|(who, axis)| (Some(who), near(axis, seed)))
                    .into_iter()
                    .chain(strangers)
            })
            .collect();
        let examples: Vec<_> = faces.iter().map(|(who, e)| (*who, e)).collect();
        Classifier::train(&examples, &TrainConfig::default()).unwrap()
    }

    #[test]
    fn people_are_told_apart_and_strangers_are_none() {
        for none in [&[3usize, 4, 5, 6][..], &[]] {
            let classifier = trained(none);
            assert_eq!(classifier.people, ["ann", "bob", "cid"]);
            assert_eq!(classifier.dimension(), 16);
            for (axis, who) in [(0, Some("ann")), (1, Some("bob")), (2, Some("cid"))] {
                let said = classifier.predict(&near(axis, 77)).unwrap();
                assert_eq!(said.person.as_deref(), who, "{none:?} {said:?}");
                assert!(said.probability > 0.6, "{none:?} {said:?}");
            }
            for axis in [3, 5, 6] {
                let said = classifier.predict(&near(axis, 78)).unwrap();
                assert_eq!(said.person, None, "{none:?} {said:?}");
            }
            let sum: f32 = classifier.probabilities(&near(9, 1)).unwrap().iter().sum();
            assert!((sum - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn training_is_repeatable_and_survives_storage() {
        let classifier = trained(&[]);
        assert_eq!(classifier, trained(&[]));
        let json = serde_json::to_string(&classifier).unwrap();
        assert_eq!(
            serde_json::from_str::<Classifier>(&json).unwrap(),
            classifier
        );
    }

    #[test]
    fn one_person_is_enough() {
        let ann = near(0, 1);
        let examples = [(Some("ann"), &ann)];
        let classifier = Classifier::train(&examples, &TrainConfig::default()).unwrap();
        let said = classifier.predict(&near(0, 2)).unwrap();
        assert_eq!(said.person.as_deref(), Some("ann"), "{said:?}");
        assert_eq!(classifier.predict(&near(7, 2)).unwrap().person, None);
    }

    #[test]
    fn what_cannot_be_trained_is_refused() {
        let config = TrainConfig::default();
        let (ann, bob) = (near(0, 1), near(1, 1));
        let nobody: [(Option<&str>, &Embedding); 0] = [];
        assert!(matches!(
            Classifier::train(&nobody, &config),
            Err(Error::Training(_))
        ));
        let strangers = [(None, &ann)];
        assert!(matches!(
            Classifier::train(&strangers, &config),
            Err(Error::Training(_))
        ));
        let foreign = Embedding::new(SpaceId::parse("t").unwrap(), ann.values().to_vec()).unwrap();
        let longer = Embedding::new(space(), vec![1.0; 17]).unwrap();
        for other in [foreign, longer] {
            let mixed = [(Some("ann"), &ann), (Some("bob"), &other)];
            assert!(matches!(
                Classifier::train(&mixed, &config),
                Err(Error::Space { .. })
            ));
        }
        for c in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let examples = [(Some("ann"), &ann), (Some("bob"), &bob)];
            let config = TrainConfig {
                c,
                ..config.clone()
            };
            assert!(matches!(
                Classifier::train(&examples, &config),
                Err(Error::Training(_))
            ));
        }
    }

    #[test]
    fn damage_is_refused_never_indexed() {
        type Damage = fn(&mut Classifier);
        let cases: [(&str, Damage); 8] = [
            ("no people", |c| c.people.clear()),
            ("unsorted people", |c| c.people.reverse()),
            ("twice the same", |c| c.people[1] = c.people[0].clone()),
            ("a bias missing", |c| c.biases.truncate(3)),
            ("no weights", |c| c.weights.clear()),
            ("a weight missing", |c| c.weights.truncate(63)),
            ("not a number", |c| c.weights[3] = f32::NAN),
            ("infinite", |c| c.biases[0] = f32::INFINITY),
        ];
        for (name, damage) in cases {
            let mut classifier = trained(&[]);
            assert!(classifier.validate().is_ok());
            damage(&mut classifier);
            assert!(
                matches!(classifier.validate(), Err(Error::Training(_))),
                "{name}"
            );
            // Unvalidated use may be refused or be nonsense, but ends in a value.
            let _ = classifier.predict(&near(0, 1));
        }
    }

    #[test]
    fn none_wins_a_tie() {
        assert_eq!(most_likely(&[0.5, 0.5]), 0);
        assert_eq!(most_likely(&[0.2, 0.5, 0.3]), 1);
        assert_eq!(most_likely(&[]), 0);
    }
}
