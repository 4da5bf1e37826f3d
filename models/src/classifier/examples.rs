//! Labelled embeddings as one matrix, with strangers made up where nobody brought any. Called by `Classifier::train`.

use ndarray::Array2;

use super::strangers;
use crate::{
    Error,
    embedding::{Embedding, check_dimension},
};

/// What is learned from. Every class has an example.
pub(super) struct Examples {
    /// `[n, dim]`.
    pub(super) x: Array2<f32>,
    /// The class of each row, 0 for "none".
    pub(super) y: Vec<usize>,
    /// How many classes, "none" among them.
    pub(super) classes: usize,
}

impl Examples {
    /// Of these people, sorted; at least one example is somebody's.
    pub(super) fn gather(
        examples: &[(Option<&str>, &Embedding)],
        people: &[&str],
    ) -> Result<Examples, Error> {
        let Some((_, first)) = examples.first() else {
            return Err(Error::Training("there is nothing to learn from".to_owned()));
        };
        let (space, dimension) = (first.space(), first.values().len());
        let mut rows: Vec<f32> = Vec::with_capacity(examples.len() * dimension);
        let mut y: Vec<usize> = Vec::with_capacity(examples.len());
        for (who, embedding) in examples {
            space.expect(embedding.space())?;
            check_dimension(space, dimension, embedding.values().len())?;
            rows.extend(embedding.values());
            // Every name is in the sorted list it was collected into.
            y.push(who.map_or(0, |who| people.partition_point(|&p| p < who) + 1));
        }
        if !y.contains(&0) {
            let made_up = strangers::make(&rows, &y, people.len(), dimension);
            y.resize(y.len() + made_up.len() / dimension, 0);
            rows.extend(made_up);
        }
        let x = Array2::from_shape_vec((y.len(), dimension), rows)
            .map_err(|e| Error::Training(e.to_string()))?;
        Ok(Examples {
            x,
            y,
            classes: people.len() + 1,
        })
    }

    /// How many examples each class has.
    pub(super) fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        for &class in &self.y {
            counts[class] += 1;
        }
        counts
    }

    /// A weight for each example, so that all classes weigh the same and everything together 1.
    pub(super) fn balanced(&self) -> Vec<f64> {
        let counts = self.counts();
        let weight = |&class: &usize| 1.0 / (self.classes as f64 * counts[class] as f64);
        self.y.iter().map(weight).collect()
    }
}
