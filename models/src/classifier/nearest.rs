//! k nearest neighbours: the examples themselves, of which the nearest vote, nearer ones more.
//!
//! A vote weighs 1 / (cosine distance + 0.05): as in scikit-learn's `weights="distance"`, but that an example met again does not
//! drown the others. Exact: every example is compared.

use serde::{Deserialize, Serialize};

use super::Examples;
use crate::embedding::cosine;

/// Added to a vote's distance.
const SOFTENING: f32 = 0.05;

/// The examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    /// How many vote; at least 1.
    pub k: u32,
    /// Unit vectors, one row an example.
    pub rows: Vec<f32>,
    /// The class of each row.
    pub classes: Vec<u32>,
}

pub(super) fn fit(examples: &Examples, k: u32) -> Nearest {
    Nearest {
        k,
        rows: examples.x.iter().copied().collect(),
        // A gallery holds some thousands of people.
        classes: examples.y.iter().map(|&class| class as u32).collect(),
    }
}

impl Nearest {
    pub(super) fn dimension(&self) -> usize {
        self.rows.len() / self.classes.len().max(1)
    }

    pub(super) fn check(&self, classes: usize) -> Result<(), &'static str> {
        if self.k == 0 {
            return Err("nobody votes");
        }
        if self.classes.is_empty()
            || self.rows.is_empty()
            || !self.rows.len().is_multiple_of(self.classes.len())
        {
            return Err("its examples are not one row each");
        }
        if self.classes.iter().any(|&class| class as usize >= classes) {
            return Err("an example is of a class that is not there");
        }
        let finite = self.rows.iter().all(|v| v.is_finite());
        finite
            .then_some(())
            .ok_or("an example is not of finite numbers")
    }

    /// Probabilities of all classes; `None` if the parts do not fit together.
    pub(super) fn probabilities(&self, values: &[f32], classes: usize) -> Option<Vec<f32>> {
        if values.is_empty() || self.rows.len() != self.classes.len() * values.len() {
            return None;
        }
        let rows = self.rows.chunks_exact(values.len());
        let mut near: Vec<(f32, u32)> = rows
            .map(|row| cosine(row, values))
            .zip(self.classes.iter().copied())
            .collect();
        let k = (self.k as usize).min(near.len());
        // Of equally near ones the lower class votes: "none" first.
        let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        near.select_nth_unstable_by(k.checked_sub(1)?, order);
        let mut shares = vec![0.0; classes];
        for (similarity, class) in &near[..k] {
            *shares.get_mut(*class as usize)? += 1.0 / ((1.0 - similarity).max(0.0) + SOFTENING);
        }
        let sum: f32 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= sum);
        Some(shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_vote_by_their_distance() {
        let nearest = Nearest {
            k: 3,
            rows: vec![1.0, 0.0, 0.6, 0.8, 0.8, 0.6, 0.0, 1.0],
            classes: vec![1, 2, 2, 0],
        };
        // Cosines to (1, 0): 1, 0.6, 0.8, 0; the last does not vote.
        let expected = [0.0, 1.0 / 0.05, 1.0 / 0.45 + 1.0 / 0.25];
        let sum: f32 = expected.iter().sum();
        let found = nearest.probabilities(&[1.0, 0.0], 3).unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected / sum).abs() < 1e-5, "{found} {expected}");
        }
        let all = Nearest { k: 99, ..nearest };
        assert!(all.probabilities(&[1.0, 0.0], 3).unwrap()[0] > 0.0);
    }
}
