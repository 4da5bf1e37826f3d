//! A score a class, linear in the embedding: how it is learned, and what the scores mean. What is minimised is in `problem`.
//!
//! ```text
//! softmax        probabilities: softmax(z)
//! SVM            probabilities: sigmoid(a z + b), summing to 1
//! ```
//!
//! Softmax has the same minimum as scikit-learn's `LogisticRegression(C, class_weight="balanced")`: there the weights s_i =
//! n / (classes * count of y_i) sum to n; biases are free of the penalty.

use ndarray::{ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use super::{Descent, Examples, lbfgs, narrow};
use problem::{Loss, Problem};

mod problem;

/// Weights and biases, and how their scores become probabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// Weights, `classes x dim`, row major.
    pub weights: Vec<f32>,
    /// Biases, one a class.
    pub biases: Vec<f32>,
    /// From scores to probabilities.
    pub link: Link,
}

/// From scores to probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// All together.
    Softmax,
    /// Each by its sigmoid, then scaled to sum to 1.
    Sigmoid,
}

/// Multinomial logistic regression.
pub(super) fn softmax(examples: &Examples, descent: &Descent) -> Linear {
    let (weights, biases) = Problem::new(examples, descent.c, Loss::Softmax).solve(descent);
    Linear {
        weights: narrow(&weights),
        biases: narrow(&biases),
        link: Link::Softmax,
    }
}

/// One linear support vector machine a class, against the rest: L2-regularised squared hinge loss (as in Fan et al.,
/// "LIBLINEAR", 2008, section 2). Scores become probabilities by one sigmoid for all classes (Platt, "Probabilistic outputs
/// for support vector machines", 1999, with his targets), which is folded into weights and biases.
pub(super) fn svm(examples: &Examples, descent: &Descent) -> Linear {
    let (weights, biases) = Problem::new(examples, descent.c, Loss::SquaredHinge).solve(descent);
    let [slope, offset] = sigmoid(examples, &narrow(&weights), &narrow(&biases));
    let scaled = |values: &[f64], plus: f64| -> Vec<f64> {
        values.iter().map(|v| slope * v + plus).collect()
    };
    Linear {
        weights: narrow(&scaled(&weights, 0.0)),
        biases: narrow(&scaled(&biases, offset)),
        link: Link::Sigmoid,
    }
}

impl Linear {
    pub(super) fn check(&self, classes: usize) -> Result<(), &'static str> {
        if self.biases.len() != classes {
            return Err("it has not one bias a class");
        }
        if self.weights.is_empty() || !self.weights.len().is_multiple_of(classes) {
            return Err("its weights are not one row a class");
        }
        let finite = self
            .weights
            .iter()
            .chain(&self.biases)
            .all(|v| v.is_finite());
        finite
            .then_some(())
            .ok_or("a weight is not a finite number")
    }

    /// Probabilities of all classes; `None` if weights, biases and `values` do not fit together.
    pub(super) fn probabilities(&self, values: &[f32], classes: usize) -> Option<Vec<f32>> {
        let dimension = values.len();
        let fits = dimension > 0
            && self.biases.len() == classes
            && self.weights.len() == classes * dimension;
        if !fits {
            return None;
        }
        let rows = self.weights.chunks_exact(dimension);
        let scores = rows.zip(&self.biases).map(|(row, &bias)| {
            let terms = row.iter().zip(values);
            f64::from(bias)
                + terms
                    .map(|(&w, &v)| f64::from(w) * f64::from(v))
                    .sum::<f64>()
        });
        let mut scores: Vec<f64> = scores.collect();
        match self.link {
            Link::Softmax => softmax_of(&mut scores),
            Link::Sigmoid => sigmoids_of(&mut scores),
        }
        Some(narrow(&scores))
    }
}

fn softmax_of(scores: &mut [f64]) {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|s| *s = (*s - most).exp());
    to_sum_one(scores);
}

/// What no class wants is nobody's: the rest goes to "none".
fn sigmoids_of(scores: &mut [f64]) {
    scores
        .iter_mut()
        .for_each(|s| *s = 1.0 / (1.0 + (-*s).exp()));
    let sum: f64 = scores.iter().sum();
    match scores.first_mut() {
        Some(none) if sum < 1.0 => *none += 1.0 - sum,
        Some(_) | None => to_sum_one(scores),
    }
}

fn to_sum_one(values: &mut [f64]) {
    let sum: f64 = values.iter().sum();
    values.iter_mut().for_each(|v| *v /= sum);
}

/// Slope and offset of the sigmoid that fits the scores of all classes best.
fn sigmoid(examples: &Examples, weights: &[f32], biases: &[f32]) -> [f64; 2] {
    let shape = (examples.classes, examples.x.ncols());
    let Ok(w) = ArrayView2::from_shape(shape, weights) else {
        return [1.0, 0.0];
    };
    let scores = examples.x.dot(&w.t()) + ArrayView1::from(biases);
    let own = examples.y.len() as f64;
    let others = own * (examples.classes - 1) as f64;
    let targets = [1.0 / (others + 2.0), (own + 1.0) / (own + 2.0)];
    // Own scores and others' weigh the same: there are many more others.
    let weights = [0.5 / others.max(1.0), 0.5 / own];
    let found = lbfgs::minimise(vec![1.0, 0.0], 100, 1e-6, |at, gradient| {
        gradient.fill(0.0);
        let mut value = 0.0;
        for (row, &class) in scores.outer_iter().zip(&examples.y) {
            for (k, &z) in row.iter().enumerate() {
                let is_own = usize::from(k == class);
                let (target, weight) = (targets[is_own], weights[is_own]);
                let t = at[0] * f64::from(z) + at[1];
                // log(1 + exp(t)) without overflow.
                value += weight * (t.max(0.0) + (-t.abs()).exp().ln_1p() - target * t);
                let off = weight * (1.0 / (1.0 + (-t).exp()) - target);
                gradient[0] += off * f64::from(z);
                gradient[1] += off;
            }
        }
        value
    });
    [found[0], found[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_scores_stay_finite() {
        let mut scores = [1000.0, 0.0, -1000.0];
        softmax_of(&mut scores);
        assert_eq!(scores, [1.0, 0.0, 0.0]);
        let mut scores = [-1000.0, -1000.0, 1000.0];
        sigmoids_of(&mut scores);
        assert_eq!(scores, [0.0, 0.0, 1.0]);
        let mut scores = [-1000.0, -1000.0];
        sigmoids_of(&mut scores);
        assert_eq!(scores, [1.0, 0.0], "nobody's");
    }
}
