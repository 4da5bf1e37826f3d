//! The functions that `linear` minimises, along the lines that `lbfgs` walks.
//!
//! ```text
//! f(W, b) = sum_i s_i * loss(W x_i + b, y_i)  +  1/(2 C n) * |W|^2        sum_i s_i = 1, classes balanced
//!
//! softmax        -log softmax(z)[y]
//! squared hinge  sum_k max(0, 1 -+ z_k)^2, + for k = y
//!
//! from (W, b) along (D, d):    scores Z + t (X D^T + d), with Z = X W^T + b known from the line before
//! ```
//!
//! A parameter vector is W, row major, then b / [`BIAS`]. A line costs one product of matrices and the gradient where it ends
//! another; lengths tried in between cost none. Scores beyond [`KEPT`] are not kept but worked out again. Products are in f32, by
//! several threads; what is summed over examples is summed in an order that does not depend on how many.

use std::{mem, ops::Range, thread};

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, linalg::general_mat_mul, s};

use super::super::{
    Descent, Examples,
    lbfgs::{self, dot, largest},
    narrow,
};

/// The examples are taken in so many parts, whoever does them: results do not depend on the number of threads.
const PARTS: usize = 4;
/// Rows taken at once: their scores for 1,000 classes fit a processor's second cache.
const BLOCK: usize = 256;
/// Products below which threads cost more than they bring.
const WORTH_THREADS: usize = 20_000_000;
/// Scores that are kept, and as many changes of scores: 64 MiB each.
const KEPT: usize = 16 << 20;

/// What a step along a bias counts for beside one along a weight. The scores of a class change more with its bias than with a
/// weight, of which a unit vector has many: as equals they take 1.6 times the steps (1,000 people of 10 faces each).
const BIAS: f64 = 0.25;

/// What an example's scores cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    Softmax,
    SquaredHinge,
}

/// Examples with their weights, what is to be minimised over them, and the line it is on.
pub(super) struct Problem<'a> {
    line: Line<'a>,
    parts: Vec<Part>,
    /// 1 / (C n).
    penalty: f64,
    /// 1/2 |W|^2, W . D and 1/2 |D|^2 of the line.
    squares: [f64; 3],
    /// Where it was probed last.
    length: f64,
}

/// From a point along a direction, each a vector of parameters: weights row major, then biases.
struct Line<'a> {
    examples: &'a Examples,
    /// s_i.
    weight: Vec<f64>,
    loss: Loss,
    origin: Vec<f32>,
    direction: Vec<f32>,
}

/// Some of the examples: their scores at the line's origin, how those change along it, and their share of sums.
struct Part {
    rows: Range<usize>,
    /// Of the first rows, as many as are kept.
    scores: Vec<f32>,
    changes: Vec<f32>,
    value: f64,
    slope: f64,
    weights: Array2<f32>,
    biases: Vec<f64>,
}

impl Problem<'_> {
    pub(super) fn new(examples: &Examples, c: f64, loss: Loss) -> Problem<'_> {
        Problem::in_parts(examples, c, loss, PARTS, KEPT)
    }

    fn in_parts(examples: &Examples, c: f64, loss: Loss, parts: usize, kept: usize) -> Problem<'_> {
        let (rows, classes, dimension) = (examples.y.len(), examples.classes, examples.x.ncols());
        let kept = kept / parts / classes / BLOCK * BLOCK;
        let part = |i| {
            let rows = i * rows / parts..(i + 1) * rows / parts;
            let kept = kept.min(rows.len()) * classes;
            Part {
                scores: vec![0.0; kept],
                changes: vec![0.0; kept],
                value: 0.0,
                slope: 0.0,
                weights: Array2::zeros((classes, dimension)),
                biases: vec![0.0; classes],
                rows,
            }
        };
        let parameters = classes * (dimension + 1);
        Problem {
            line: Line {
                weight: examples.balanced(),
                examples,
                loss,
                origin: vec![0.0; parameters],
                direction: vec![0.0; parameters],
            },
            parts: (0..parts).map(part).collect(),
            penalty: 1.0 / (c * rows as f64),
            squares: [0.0; 3],
            length: 0.0,
        }
    }

    /// Weights and biases at the minimum, from zero.
    pub(super) fn solve(&mut self, descent: &Descent) -> (Vec<f64>, Vec<f64>) {
        let start = vec![0.0; self.line.origin.len()];
        let iterations = descent.max_iterations as usize;
        let mut weights = lbfgs::minimise_along(self, start, iterations, descent.tolerance);
        let mut biases = weights.split_off(self.line.weights());
        biases.iter_mut().for_each(|b| *b *= BIAS);
        (weights, biases)
    }

    /// Lets every part do something, on as many threads as are worth it.
    fn each(&mut self, work: impl Fn(&Line<'_>, &mut Part) + Sync) {
        let (line, work) = (&self.line, &work);
        let threads = match line.examples.y.len() * line.weights() < WORTH_THREADS {
            true => 1,
            false => thread::available_parallelism().map_or(1, usize::from),
        };
        let a_thread = self.parts.len().div_ceil(threads);
        let mut chunks = self.parts.chunks_mut(a_thread);
        let own = chunks.next();
        thread::scope(|scope| {
            for parts in chunks {
                scope.spawn(move || parts.iter_mut().for_each(|part| work(line, part)));
            }
            own.into_iter().flatten().for_each(|part| work(line, part));
        });
    }
}

impl lbfgs::Function for Problem<'_> {
    fn start(&mut self, at: &[f64], gradient: &mut [f64]) -> f64 {
        // A line that goes nowhere: its changes need no product.
        self.line.origin = self.line.parameters(at);
        self.line.direction.fill(0.0);
        let w = &at[..self.line.weights()];
        self.squares = [0.5 * dot(w, w), 0.0, 0.0];
        self.each(|line, part| {
            line.product(&line.origin, part.rows.start, &mut part.scores);
            part.changes.fill(0.0);
        });
        let (value, _) = self.probe(0.0);
        self.arrive(at, gradient);
        value
    }

    fn aim(&mut self, at: &[f64], direction: &[f64]) {
        self.line.origin = self.line.parameters(at);
        self.line.direction = self.line.parameters(direction);
        let (w, d) = (
            &at[..self.line.weights()],
            &direction[..self.line.weights()],
        );
        self.squares = [0.5 * dot(w, w), dot(w, d), 0.5 * dot(d, d)];
        self.each(|line, part| line.product(&line.direction, part.rows.start, &mut part.changes));
    }

    fn probe(&mut self, length: f64) -> (f64, f64) {
        self.length = length;
        self.each(|line, part| part.probe(line, length as f32));
        let [at, across, along] = self.squares;
        let mut value = self.penalty * (at + length * (across + length * along));
        let mut slope = self.penalty * (across + 2.0 * length * along);
        for part in &self.parts {
            value += part.value;
            slope += part.slope;
        }
        (value, slope)
    }

    fn arrive(&mut self, at: &[f64], gradient: &mut [f64]) {
        let length = self.length as f32;
        self.each(|line, part| part.arrive(line, length));
        let (weights, biases) = gradient.split_at_mut(self.line.weights());
        for (g, w) in weights.iter_mut().zip(at) {
            *g = self.penalty * w;
        }
        biases.fill(0.0);
        for part in &self.parts {
            add(weights, part.weights.iter().map(|&v| f64::from(v)));
            add(biases, part.biases.iter().map(|v| v * BIAS));
        }
    }

    fn steepness(&self, gradient: &[f64]) -> f64 {
        let (weights, biases) = gradient.split_at(self.line.weights());
        largest(weights).max(largest(biases) / BIAS)
    }
}

impl Line<'_> {
    /// How many of the parameters are weights.
    fn weights(&self) -> usize {
        self.examples.classes * self.examples.x.ncols()
    }

    /// Weights and biases of a vector.
    fn parameters(&self, of: &[f64]) -> Vec<f32> {
        let mut parameters = narrow(of);
        let biases = parameters.iter_mut().skip(self.weights());
        biases.for_each(|b| *b *= BIAS as f32);
        parameters
    }

    /// `X W^T + b` of as many rows as `scores` has room for, from row `from` on.
    fn product(&self, parameters: &[f32], from: usize, scores: &mut [f32]) {
        let (classes, dimension) = (self.examples.classes, self.examples.x.ncols());
        let rows = from..from + scores.len() / classes;
        let (weights, biases) = parameters.split_at(self.weights());
        let w = ArrayView2::from_shape((classes, dimension), weights);
        let scores = ArrayViewMut2::from_shape((rows.len(), classes), scores);
        // Lengths are these shapes' products.
        let (Ok(w), Ok(mut scores)) = (w, scores) else {
            return;
        };
        let x = self.examples.x.slice(s![rows, ..]);
        scores.assign(&ArrayView1::from(biases));
        general_mat_mul(1.0, &x, &w.t(), 1.0, &mut scores);
    }
}

impl Part {
    /// Calls `take(part, rows, scores, changes)` for a block of rows after the other.
    fn blocks(
        &mut self,
        line: &Line<'_>,
        mut take: impl FnMut(&mut Part, Range<usize>, &mut [f32], &mut [f32]),
    ) {
        let classes = line.examples.classes;
        let (mut scores, mut changes) = (mem::take(&mut self.scores), mem::take(&mut self.changes));
        let (mut own_scores, mut own_changes) = (vec![], vec![]);
        for from in self.rows.clone().step_by(BLOCK) {
            let rows = from..self.rows.end.min(from + BLOCK);
            let of = (from - self.rows.start) * classes..(rows.end - self.rows.start) * classes;
            if let (Some(scores), Some(changes)) =
                (scores.get_mut(of.clone()), changes.get_mut(of.clone()))
            {
                take(self, rows, scores, changes);
                continue;
            }
            own_scores.resize(of.len(), 0.0);
            own_changes.resize(of.len(), 0.0);
            line.product(&line.origin, from, &mut own_scores);
            line.product(&line.direction, from, &mut own_changes);
            take(self, rows, &mut own_scores, &mut own_changes);
        }
        (self.scores, self.changes) = (scores, changes);
    }

    /// Value and slope so far along the line.
    fn probe(&mut self, line: &Line<'_>, length: f32) {
        let classes = line.examples.classes;
        (self.value, self.slope) = (0.0, 0.0);
        let mut here = vec![0.0; classes];
        self.blocks(line, |part, rows, scores, changes| {
            let lines = scores
                .chunks_exact(classes)
                .zip(changes.chunks_exact(classes));
            for (i, (scores, changes)) in rows.zip(lines) {
                for ((here, score), change) in here.iter_mut().zip(scores).zip(changes) {
                    *here = *score + length * change;
                }
                let loss = line.loss.to_gradient(&mut here, line.examples.y[i]);
                let slope = ArrayView1::from(&here).dot(&ArrayView1::from(changes));
                part.value += line.weight[i] * loss;
                part.slope += line.weight[i] * f64::from(slope);
            }
        });
    }

    /// The gradient so far along the line. What is kept of scores is of that point from now on.
    fn arrive(&mut self, line: &Line<'_>, length: f32) {
        let classes = line.examples.classes;
        self.weights.fill(0.0);
        self.biases.fill(0.0);
        let mut gradients = vec![0.0; BLOCK.min(self.rows.len()) * classes];
        self.blocks(line, |part, rows, scores, changes| {
            for (score, change) in scores.iter_mut().zip(changes) {
                *score += length * *change;
            }
            let gradients = &mut gradients[..scores.len()];
            gradients.copy_from_slice(scores);
            for (i, gradient) in rows.clone().zip(gradients.chunks_exact_mut(classes)) {
                line.loss.to_gradient(gradient, line.examples.y[i]);
                let weight = line.weight[i] as f32;
                gradient.iter_mut().for_each(|g| *g *= weight);
                add(&mut part.biases, gradient.iter().map(|&g| f64::from(g)));
            }
            // As many numbers as rows x classes.
            if let Ok(gradients) = ArrayView2::from_shape((rows.len(), classes), gradients) {
                let x = line.examples.x.slice(s![rows, ..]);
                general_mat_mul(1.0, &gradients.t(), &x, 1.0, &mut part.weights);
            }
        });
    }
}

impl Loss {
    /// The loss of one example; its scores become the loss's gradient.
    fn to_gradient(self, scores: &mut [f32], class: usize) -> f64 {
        match self {
            Loss::Softmax => {
                let (own, most) = (scores[class], most(scores));
                scores.iter_mut().for_each(|s| *s = exp(*s - most));
                let sum = ArrayView1::from(&*scores).sum();
                let scale = 1.0 / sum;
                scores.iter_mut().for_each(|s| *s *= scale);
                scores[class] -= 1.0;
                f64::from(most - own) + f64::from(sum).ln()
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

/// The largest, in eight lanes.
fn most(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 8];
    let chunks = values.chunks_exact(8);
    let rest = chunks.remainder().iter().copied();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    rest.chain(lanes).fold(f32::NEG_INFINITY, f32::max)
}

/// e^x for x <= 0, within 2e-7 of it; below -87 it is what it is there. Nothing in it keeps a compiler from taking several
/// numbers at once: e^x = 2^n e^r, with n whole and |r| <= ln(2)/2, and e^r by its series.
fn exp(x: f32) -> f32 {
    /// Adding it rounds to a whole number, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first with zeros at its end: n times it is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let x = if x < -87.0 { -87.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let series = [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let series = series.iter().fold(1.0 / 5040.0, |sum, term| sum * r + term);
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    power * series
}

fn add(to: &mut [f64], what: impl Iterator<Item = f64>) {
    for (t, w) in to.iter_mut().zip(what) {
        *t += w;
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::lbfgs::Function, *};

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
            let mut problem = Problem::new(&toy, 2.0, loss);
            let at: Vec<f64> = (0..15).map(|i| (f64::from(i) * 0.7).sin()).collect();
            let (mut gradient, mut unused) = (vec![0.0; 15], vec![0.0; 15]);
            problem.start(&at, &mut gradient);
            for i in 0..15 {
                let mut moved = |by: f64| {
                    let mut at = at.clone();
                    at[i] += by;
                    problem.start(&at, &mut unused)
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

    /// A walk of three lines ends with the value, the slope and the gradient that its last point has by itself.
    #[test]
    fn along_lines_it_is_the_same_function() {
        let toy = toy();
        for loss in [Loss::Softmax, Loss::SquaredHinge] {
            let mut problem = Problem::new(&toy, 2.0, loss);
            let (mut at, mut gradient) = (vec![0.1; 15], vec![0.0; 15]);
            problem.start(&at, &mut gradient);
            for turn in 1..=3 {
                let direction: Vec<f64> = (0..15).map(|i| f64::from(i * turn).cos()).collect();
                problem.aim(&at, &direction);
                problem.probe(5.0);
                let (value, slope) = problem.probe(0.3);
                add(&mut at, direction.iter().map(|by| 0.3 * by));
                problem.arrive(&at, &mut gradient);
                let mut again = vec![0.0; 15];
                let expected = Problem::new(&toy, 2.0, loss).start(&at, &mut again);
                assert!((value - expected).abs() < 1e-5, "{value} {expected}");
                assert!((slope - dot(&again, &direction)).abs() < 1e-5, "{slope}");
                for (walked, expected) in gradient.iter().zip(&again) {
                    assert!((walked - expected).abs() < 1e-5, "{walked} {expected}");
                }
            }
        }
    }

    /// Whether two classes of one example each, at -1 and 1, with C = 1 and n = 2 end at these weights and biases.
    fn assert_two_end_at(loss: Loss, expected: [f64; 4]) {
        let two = examples(vec![-1.0, 1.0], vec![0, 1], 2);
        let (weights, biases) = Problem::new(&two, 1.0, loss).solve(&Descent {
            c: 1.0,
            max_iterations: 100,
            tolerance: 1e-9,
        });
        let found = weights.iter().chain(&biases);
        for (value, expected) in found.zip(expected) {
            assert!((value - expected).abs() < 1e-5, "{value} {expected}");
        }
    }

    /// By symmetry W = (-a, a) and b = 0, so f = log(1 + exp(-2a)) + a^2 / 2, least where a = 2 / (1 + exp(2a)): found by
    /// bisection here.
    #[test]
    fn a_minimum_known_in_closed_form_is_reached() {
        let (mut low, mut high) = (0.0f64, 1.0f64);
        for _ in 0..60 {
            let a = 0.5 * (low + high);
            if -2.0 / (1.0 + (2.0 * a).exp()) + a < 0.0 {
                low = a;
            } else {
                high = a;
            }
        }
        assert_two_end_at(Loss::Softmax, [-low, low, 0.0, 0.0]);
    }

    /// Each class's machine has f_k = 2 * 1/2 * max(0, 1 - a)^2 + a^2 / 4 of its own, least at a = 4/5.
    #[test]
    fn the_margin_is_the_one_in_closed_form() {
        assert_two_end_at(Loss::SquaredHinge, [-0.8, 0.8, 0.0, 0.0]);
    }

    /// Enough products for threads, and blocks and parts with remainders.
    #[test]
    fn neither_threads_nor_blocks_nor_what_is_kept_change_anything() {
        let (n, dimension, classes) = (2_200, 64, 150);
        let x = (0..n * dimension).map(|i| ((i * 37 + i / 64) % 101) as f32 / 101.0 - 0.5);
        let many = examples(x.collect(), (0..n).map(|i| i % classes).collect(), classes);
        assert!(n * classes * dimension >= WORTH_THREADS);
        let number = |i: usize| (i as f64 * 0.3).sin();
        let at: Vec<f64> = (0..classes * (dimension + 1)).map(number).collect();
        let walk = |mut problem: Problem<'_>| {
            let (mut at, mut gradient) = (at.clone(), vec![0.0; at.len()]);
            let start = problem.start(&at, &mut gradient);
            let direction: Vec<f64> = gradient.iter().map(|g| -10.0 * g).collect();
            problem.aim(&at, &direction);
            let (value, slope) = problem.probe(0.5);
            add(&mut at, direction.iter().map(|by| 0.5 * by));
            problem.arrive(&at, &mut gradient);
            gradient.extend([start, value, slope]);
            gradient
        };
        let parted = walk(Problem::new(&many, 10.0, Loss::Softmax));
        let again = walk(Problem::new(&many, 10.0, Loss::Softmax));
        assert_eq!(parted, again, "the same bits each time");
        let blocks_of_one = 256 * classes;
        for (parts, kept) in [(1, KEPT), (3, 3 * blocks_of_one), (PARTS, 0)] {
            let other = walk(Problem::in_parts(&many, 10.0, Loss::Softmax, parts, kept));
            for (a, b) in parted.iter().zip(&other) {
                assert!((a - b).abs() < 1e-6 * a.abs().max(1.0), "{a} {b}");
            }
        }
    }

    #[test]
    fn extreme_scores_stay_finite() {
        let mut row = [1000.0, 0.0];
        assert_eq!(Loss::Softmax.to_gradient(&mut row, 1), 1000.0);
        assert_eq!(row, [1.0, -1.0]);
    }

    #[test]
    fn the_exponential_is_as_exact_as_its_numbers() {
        for i in 0..870_000u32 {
            let x = -(i as f32) * 1e-4;
            let expected = f64::from(x).exp();
            let off = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(off < 2e-7, "{x}: {off}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), exp(-87.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_largest_is_found_wherever_it_is() {
        for n in 1..20 {
            for at in 0..n {
                let values: Vec<f32> = (0..n).map(|i| if i == at { -1.0 } else { -2.0 }).collect();
                assert_eq!(most(&values), -1.0);
            }
        }
    }
}
