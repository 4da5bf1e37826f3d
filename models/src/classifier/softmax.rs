//! The function `Classifier::train` minimises, and its gradient, by matrix products in f64.
//!
//! ```text
//! f(W, b) = 1/S * sum_i s_i * -log softmax(W x_i + b)[y_i]  +  1/(2 C S) * |W|^2       S = sum_i s_i
//! ```
//!
//! The same minimum as scikit-learn's `LogisticRegression(C, class_weight="balanced")`: s_i = n / (classes * count of
//! y_i), biases free of the penalty. Parameters are one vector: W row major, then b.

use ndarray::{
    Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, linalg::general_mat_mul,
};

use super::lbfgs;

/// Examples with their classes and weights.
pub(super) struct Problem {
    x: Array2<f64>,
    y: Vec<usize>,
    /// s_i / S: sums to 1.
    weight: Array1<f64>,
    classes: usize,
    /// 1 / (C S).
    penalty: f64,
}

impl Problem {
    /// `x` is `[n, dim]`, `y[i] < classes`; every class has an example.
    pub(super) fn new(x: Array2<f64>, y: Vec<usize>, classes: usize, c: f64) -> Problem {
        let mut count = vec![0usize; classes];
        for &class in &y {
            count[class] += 1;
        }
        // Balanced weights sum to the number of examples, so s_i / S = 1 / (classes * count).
        let weight = y.iter().map(|&k| 1.0 / (classes as f64 * count[k] as f64));
        Problem {
            weight: weight.collect(),
            penalty: 1.0 / (c * y.len() as f64),
            x,
            y,
            classes,
        }
    }

    /// The parameters at the minimum, from zero.
    pub(super) fn solve(&self, max_iterations: usize, tolerance: f64) -> Vec<f64> {
        let start = vec![0.0; self.classes * (self.x.ncols() + 1)];
        lbfgs::minimise(start, max_iterations, tolerance, |at, gradient| {
            self.value(at, gradient)
        })
    }

    /// Weights and biases of a parameter vector.
    pub(super) fn split<'a>(&self, parameters: &'a [f64]) -> (&'a [f64], &'a [f64]) {
        parameters.split_at(self.classes * self.x.ncols())
    }

    /// f at `at`; its gradient goes to `gradient`, of the same length.
    fn value(&self, at: &[f64], gradient: &mut [f64]) -> f64 {
        let shape = (self.classes, self.x.ncols());
        let (weights, biases) = self.split(at);
        let (weight_gradient, bias_gradient) = gradient.split_at_mut(weights.len());
        // The lengths are the shape's product, by `solve`.
        let (Ok(w), Ok(mut dw)) = (
            ArrayView2::from_shape(shape, weights),
            ArrayViewMut2::from_shape(shape, weight_gradient),
        ) else {
            return f64::NAN;
        };
        let mut scores = Array2::zeros((self.x.nrows(), self.classes));
        scores += &ArrayView1::from(biases);
        general_mat_mul(1.0, &self.x, &w.t(), 1.0, &mut scores);

        let mut loss = 0.0;
        for ((mut row, &class), &weight) in scores.outer_iter_mut().zip(&self.y).zip(&self.weight) {
            // Rows of a fresh matrix are slices.
            let row = row.as_slice_mut().unwrap_or_default();
            let own = row[class];
            loss += weight * (in_place(row) - own);
            row[class] -= 1.0;
            row.iter_mut().for_each(|p| *p *= weight);
        }
        dw.assign(&w);
        general_mat_mul(1.0, &scores.t(), &self.x, self.penalty, &mut dw);
        for (d, sum) in bias_gradient.iter_mut().zip(scores.sum_axis(Axis(0))) {
            *d = sum;
        }
        loss + 0.5 * self.penalty * w.iter().map(|v| v * v).sum::<f64>()
    }
}

/// Scores to probabilities; the result is log(sum(exp(scores))).
pub(super) fn in_place(scores: &mut [f64]) -> f64 {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for s in scores.iter_mut() {
        *s = (*s - most).exp();
        sum += *s;
    }
    scores.iter_mut().for_each(|s| *s /= sum);
    most + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toy() -> Problem {
        let x = Array2::from_shape_fn((9, 4), |(i, j)| {
            ((i * 7 + j * 5 + i * j) % 11) as f64 / 11.0
        });
        Problem::new(x, vec![0, 1, 2, 0, 1, 2, 0, 0, 1], 3, 2.0)
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let problem = toy();
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
            let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!(
                (slope - gradient[i]).abs() < 1e-8,
                "{i}: {slope} {}",
                gradient[i]
            );
        }
    }

    /// Two classes, one example each, at -1 and 1. By symmetry W = (-a, a) and b = 0, so with C = 1 and S = 2
    /// f = log(1 + exp(-2a)) + a^2 / 2, least where a = 2 / (1 + exp(2a)): found by bisection here.
    #[test]
    fn a_minimum_known_in_closed_form_is_reached() {
        let x = Array2::from_shape_vec((2, 1), vec![-1.0, 1.0]).unwrap();
        let problem = Problem::new(x, vec![0, 1], 2, 1.0);
        let found = problem.solve(100, 1e-12);
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
            assert!((value - expected).abs() < 1e-9, "{found:?} {low}");
        }
    }

    #[test]
    fn extreme_scores_stay_finite() {
        let mut scores = [1000.0, 0.0, -1000.0];
        assert_eq!(in_place(&mut scores), 1000.0);
        assert_eq!(scores, [1.0, 0.0, 0.0]);
    }
}
