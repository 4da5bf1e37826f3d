//! A score a class, linear in the embedding: the functions that training minimises, their gradients, and what scores mean.
//!
//! ```text
//! f(W, b) = sum_i s_i * loss(W x_i + b, y_i)  +  1/(2 C n) * |W|^2        sum_i s_i = 1, classes balanced
//!
//! softmax        -log softmax(z)[y]                                 probabilities: softmax(z)
//! squared hinge  sum_k max(0, 1 -+ z_k)^2, + for k = y               probabilities: sigmoid(a z + b), summing to 1
//! ```
//!
//! Softmax has the same minimum as scikit-learn's `LogisticRegression(C, class_weight="balanced")`: there the weights s_i =
//! n / (classes * count of y_i) sum to n; biases are free of the penalty. Matrix products are in f32, by several threads; what is
//! summed over examples is summed in an order that does not depend on how many. Parameters are one vector: W row major, then b.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, linalg::general_mat_mul, s};
use serde::{Deserialize, Serialize};

use super::{Descent, Examples, lbfgs, narrow};

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
    let problem = Problem::new(examples, descent.c, Loss::Softmax);
    let solution = problem.solve(descent);
    let (weights, biases) = problem.split(&solution);
    Linear {
        weights: narrow(weights),
        biases: narrow(biases),
        link: Link::Softmax,
    }
}

/// One linear support vector machine a class, against the rest: L2-regularised squared hinge loss (as in Fan et al.,
/// "LIBLINEAR", 2008, section 2). Scores become probabilities by one sigmoid for all classes (Platt, "Probabilistic outputs
/// for support vector machines", 1999, with his targets), which is folded into weights and biases.
pub(super) fn svm(examples: &Examples, descent: &Descent) -> Linear {
    let problem = Problem::new(examples, descent.c, Loss::SquaredHinge);
    let solution = problem.solve(descent);
    let [slope, offset] = problem.sigmoid(&solution);
    let (weights, biases) = problem.split(&solution);
    let scaled = |values: &[f64], plus: f64| -> Vec<f64> {
        values.iter().map(|v| slope * v + plus).collect()
    };
    Linear {
        weights: narrow(&scaled(weights, 0.0)),
        biases: narrow(&scaled(biases, offset)),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Softmax,
    SquaredHinge,
}

/// Examples with their weights, and what is to be minimised over them.
struct Problem<'a> {
    examples: &'a Examples,
    /// s_i.
    weight: Vec<f64>,
    /// 1 / (C n).
    penalty: f64,
    loss: Loss,
}

/// The examples are summed up in so many parts, whoever does them: results do not depend on the number of threads.
const PARTS: usize = 8;
/// Rows taken at once: their scores for 1,000 classes fit a processor's second cache.
const BLOCK: usize = 256;
/// Products below which threads cost more than they bring.
const WORTH_THREADS: usize = 20_000_000;

/// One part's share of value and gradient.
struct Share {
    value: f64,
    weights: Array2<f32>,
    biases: Vec<f64>,
}

impl Problem<'_> {
    fn new(examples: &Examples, c: f64, loss: Loss) -> Problem<'_> {
        Problem {
            weight: examples.balanced(),
            penalty: 1.0 / (c * examples.y.len() as f64),
            examples,
            loss,
        }
    }

    /// The parameters at the minimum, from zero.
    fn solve(&self, descent: &Descent) -> Vec<f64> {
        let start = vec![0.0; self.examples.classes * (self.examples.x.ncols() + 1)];
        let iterations = descent.max_iterations as usize;
        lbfgs::minimise(start, iterations, descent.tolerance, |at, gradient| {
            self.value(at, gradient)
        })
    }

    /// Weights and biases of a parameter vector.
    fn split<'a>(&self, parameters: &'a [f64]) -> (&'a [f64], &'a [f64]) {
        parameters.split_at(self.examples.classes * self.examples.x.ncols())
    }

    /// f at `at`; its gradient goes to `gradient`, of the same length.
    fn value(&self, at: &[f64], gradient: &mut [f64]) -> f64 {
        let (weights, biases) = self.split(at);
        let (w, b) = (narrow(weights), narrow(biases));
        let shape = (self.examples.classes, self.examples.x.ncols());
        // The lengths are the shape's product, by `solve`.
        let Ok(w) = ArrayView2::from_shape(shape, &w) else {
            return f64::NAN;
        };
        let shares = self.shares(w, ArrayView1::from(&b));
        let (weight_gradient, bias_gradient) = gradient.split_at_mut(weights.len());
        for (g, w) in weight_gradient.iter_mut().zip(weights) {
            *g = self.penalty * w;
        }
        bias_gradient.fill(0.0);
        let mut value = 0.5 * self.penalty * weights.iter().map(|v| v * v).sum::<f64>();
        for share in shares {
            value += share.value;
            add(weight_gradient, share.weights.iter().map(|&v| f64::from(v)));
            add(bias_gradient, share.biases.into_iter());
        }
        value
    }

    /// The shares of all parts, in order.
    fn shares(&self, w: ArrayView2<'_, f32>, b: ArrayView1<'_, f32>) -> Vec<Share> {
        let rows = self.examples.y.len();
        let threads = match rows * w.len() < WORTH_THREADS {
            true => 1,
            false => thread::available_parallelism().map_or(1, usize::from),
        };
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                if part >= PARTS {
                    return done;
                }
                let (from, to) = (part * rows / PARTS, (part + 1) * rows / PARTS);
                done.push((part, self.share(from..to, w, b)));
            }
        };
        let mut shares = thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads.min(PARTS)).map(|_| scope.spawn(work)).collect();
            let mut shares = work();
            for helper in helpers {
                match helper.join() {
                    Ok(theirs) => shares.extend(theirs),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            shares
        });
        shares.sort_by_key(|(part, _)| *part);
        shares.into_iter().map(|(_, share)| share).collect()
    }

    /// What some rows add to value and gradient.
    fn share(
        &self,
        rows: std::ops::Range<usize>,
        w: ArrayView2<'_, f32>,
        b: ArrayView1<'_, f32>,
    ) -> Share {
        let classes = self.examples.classes;
        let mut share = Share {
            value: 0.0,
            weights: Array2::zeros(w.dim()),
            biases: vec![0.0; classes],
        };
        let mut buffer = vec![0.0; BLOCK.min(rows.len()) * classes];
        for from in rows.clone().step_by(BLOCK) {
            let to = rows.end.min(from + BLOCK);
            let x = self.examples.x.slice(s![from..to, ..]);
            let taken = &mut buffer[..(to - from) * classes];
            // As many numbers as rows x classes.
            let Ok(mut scores) = ArrayViewMut2::from_shape((to - from, classes), taken) else {
                continue;
            };
            scores.assign(&b);
            general_mat_mul(1.0, &x, &w.t(), 1.0, &mut scores);
            for (mut row, i) in scores.axis_iter_mut(Axis(0)).zip(from..) {
                // Rows of a fresh matrix are slices.
                let row = row.as_slice_mut().unwrap_or_default();
                let (class, weight) = (self.examples.y[i], self.weight[i]);
                share.value += weight * self.loss.to_gradient(row, class);
                row.iter_mut().for_each(|p| *p *= weight as f32);
                add(&mut share.biases, row.iter().map(|&v| f64::from(v)));
            }
            general_mat_mul(1.0, &scores.t(), &x, 1.0, &mut share.weights);
        }
        share
    }

    /// Slope and offset of the sigmoid that fits the scores of all classes best.
    fn sigmoid(&self, solution: &[f64]) -> [f64; 2] {
        let (weights, biases) = self.split(solution);
        let (w, b) = (narrow(weights), narrow(biases));
        let shape = (self.examples.classes, self.examples.x.ncols());
        let Ok(w) = ArrayView2::from_shape(shape, &w) else {
            return [1.0, 0.0];
        };
        let scores = self.examples.x.dot(&w.t()) + ArrayView1::from(&b);
        let own = self.examples.y.len() as f64;
        let others = own * (self.examples.classes - 1) as f64;
        let targets = [1.0 / (others + 2.0), (own + 1.0) / (own + 2.0)];
        // Own scores and others' weigh the same: there are many more others.
        let weights = [0.5 / others.max(1.0), 0.5 / own];
        let found = lbfgs::minimise(vec![1.0, 0.0], 100, 1e-6, |at, gradient| {
            gradient.fill(0.0);
            let mut value = 0.0;
            for (row, &class) in scores.outer_iter().zip(&self.examples.y) {
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
}

impl Loss {
    /// The loss of one example; its scores become the loss's gradient.
    fn to_gradient(self, scores: &mut [f32], class: usize) -> f64 {
        match self {
            Loss::Softmax => {
                let own = scores[class];
                let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mut sum = 0.0;
                for s in scores.iter_mut() {
                    *s = (*s - most).exp();
                    sum += f64::from(*s);
                }
                let scale = (1.0 / sum) as f32;
                scores.iter_mut().for_each(|s| *s *= scale);
                scores[class] -= 1.0;
                f64::from(most - own) + sum.ln()
            }
            Loss::SquaredHinge => {
                let mut loss = 0.0;
                for (k, s) in scores.iter_mut().enumerate() {
                    let side = if k == class { 1.0 } else { -1.0 };
                    let short = (1.0 - side * *s).max(0.0);
                    loss += f64::from(short * short);
                    *s = -2.0 * side * short;
                }
                loss
            }
        }
    }
}

fn add(to: &mut [f64], what: impl Iterator<Item = f64>) {
    for (t, w) in to.iter_mut().zip(what) {
        *t += w;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(x: Vec<f32>, y: Vec<usize>, classes: usize) -> Examples {
        let shape = (y.len(), x.len() / y.len());
        Examples {
            x: Array2::from_shape_vec(shape, x).unwrap(),
            y,
            classes,
        }
    }

    fn toy() -> Examples {
        let x = (0..9usize)
            .flat_map(|i| (0..4).map(move |j| ((i * 7 + j * 5 + i * j) % 11) as f32 / 11.0));
        examples(x.collect(), vec![0, 1, 2, 0, 1, 2, 0, 0, 1], 3)
    }

    #[test]
    fn the_gradients_agree_with_finite_differences() {
        let toy = toy();
        for loss in [Loss::Softmax, Loss::SquaredHinge] {
            let problem = Problem::new(&toy, 2.0, loss);
            let at: Vec<f64> = (0..15).map(|i| (f64::from(i) * 0.7).sin()).collect();
            let mut gradient = vec![0.0; 15];
            problem.value(&at, &mut gradient);
            let mut unused = vec![0.0; 15];
            for i in 0..15 {
                let mut moved = |by: f64| {
                    let mut at = at.clone();
                    at[i] += by;
                    problem.value(&at, &mut unused)
                };
                // Scores are f32: their rounding over the step is 1e-4.
                let slope = (moved(1e-3) - moved(-1e-3)) / 2e-3;
                assert!(
                    (slope - gradient[i]).abs() < 1e-3,
                    "{loss:?} {i}: {slope} {}",
                    gradient[i]
                );
            }
        }
    }

    /// Two classes, one example each, at -1 and 1. By symmetry W = (-a, a) and b = 0, so with C = 1 and n = 2
    /// f = log(1 + exp(-2a)) + a^2 / 2, least where a = 2 / (1 + exp(2a)): found by bisection here.
    #[test]
    fn a_minimum_known_in_closed_form_is_reached() {
        let two = examples(vec![-1.0, 1.0], vec![0, 1], 2);
        let problem = Problem::new(&two, 1.0, Loss::Softmax);
        let found = problem.solve(&Descent {
            c: 1.0,
            max_iterations: 100,
            tolerance: 1e-9,
        });
        let (mut low, mut high) = (0.0f64, 1.0f64);
        for _ in 0..60 {
            let a = 0.5 * (low + high);
            if -2.0 / (1.0 + (2.0 * a).exp()) + a < 0.0 {
                low = a;
            } else {
                high = a;
            }
        }
        for (value, expected) in found.iter().zip([-low, low, 0.0, 0.0]) {
            assert!((value - expected).abs() < 1e-5, "{found:?} {low}");
        }
    }

    /// Squared hinge on the same two: each class's machine has f_k = 2 * 1/2 * max(0, 1 - a)^2 + a^2 / 4 of its own, least at
    /// a = 4/5.
    #[test]
    fn the_margin_is_the_one_in_closed_form() {
        let two = examples(vec![-1.0, 1.0], vec![0, 1], 2);
        let problem = Problem::new(&two, 1.0, Loss::SquaredHinge);
        let found = problem.solve(&Descent {
            c: 1.0,
            max_iterations: 100,
            tolerance: 1e-9,
        });
        for (value, expected) in found.iter().zip([-0.8, 0.8, 0.0, 0.0]) {
            assert!((value - expected).abs() < 1e-5, "{found:?}");
        }
    }

    /// Enough products for threads, and blocks and parts with remainders.
    #[test]
    fn threads_and_blocks_change_nothing() {
        let (n, dimension, classes) = (2_200, 64, 150);
        let x = (0..n * dimension).map(|i| ((i * 37 + i / 64) % 101) as f32 / 101.0 - 0.5);
        let many = examples(x.collect(), (0..n).map(|i| i % classes).collect(), classes);
        let problem = Problem::new(&many, 10.0, Loss::Softmax);
        let at: Vec<f64> = (0..classes * (dimension + 1))
            .map(|i| (i as f64 * 0.3).sin())
            .collect();
        assert!(n * classes * dimension >= WORTH_THREADS);
        let (w, b) = (
            narrow(&at[..classes * dimension]),
            narrow(&at[classes * dimension..]),
        );
        let w = ArrayView2::from_shape((classes, dimension), &w).unwrap();
        let shares = problem.shares(w, ArrayView1::from(&b));
        let whole = problem.share(0..n, w, ArrayView1::from(&b));
        let value: f64 = shares.iter().map(|share| share.value).sum();
        assert!((value - whole.value).abs() < 1e-6 * value.abs());
        let sum = shares
            .iter()
            .fold(Array2::zeros(w.dim()), |sum, share| sum + &share.weights);
        let off: Array2<f32> = &sum - &whole.weights;
        let off = off.iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(off < 1e-6, "{off}");
        let again = problem.shares(w, ArrayView1::from(&b));
        for (a, b) in shares.iter().zip(&again) {
            assert_eq!(a.weights, b.weights, "the same bits each time");
        }
    }

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
        let mut row = [1000.0, 0.0];
        assert_eq!(Loss::Softmax.to_gradient(&mut row, 1), 1000.0);
        assert_eq!(row, [1.0, -1.0]);
    }
}
