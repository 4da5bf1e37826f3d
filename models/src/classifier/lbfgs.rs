//! Limited-memory BFGS for a smooth function with gradient, deterministic; called by `linear` and `centroid`.
//!
//! Nocedal & Wright, "Numerical Optimization", 2nd edition, algorithms 7.4 (two loops) and 7.5; step lengths by the
//! bisection of Lewis & Overton, "Nonsmooth optimization via quasi-Newton methods", 2013, algorithm 2.6.

use std::collections::VecDeque;

use ndarray::ArrayView1;

/// Pairs of steps and gradient changes remembered.
const MEMORY: usize = 10;
/// Wolfe conditions: sufficient decrease and curvature.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.5;
/// Most halvings or doublings of one step.
const STEPS: usize = 40;

/// A smooth function, seen along lines: what all points of a line share is worked out once a line.
pub(super) trait Function {
    /// Value at `at`; the gradient goes to `gradient`, of the same length.
    fn start(&mut self, at: &[f64], gradient: &mut [f64]) -> f64;
    /// The next line: from `at`, the point reached last, along `direction`.
    fn aim(&mut self, at: &[f64], direction: &[f64]);
    /// Value and slope `length` directions along the line.
    fn probe(&mut self, length: f64) -> (f64, f64);
    /// Goes to the point probed last, which is `at`; its gradient goes to `gradient`.
    fn arrive(&mut self, at: &[f64], gradient: &mut [f64]);
    /// How far from flat this gradient is, in the units `tolerance` is meant in.
    fn steepness(&self, gradient: &[f64]) -> f64 {
        largest(gradient)
    }
}

/// Minimises `f(at, gradient) -> value` as [`minimise_along`] does.
pub(super) fn minimise(
    start: Vec<f64>,
    max_iterations: usize,
    tolerance: f64,
    f: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Vec<f64> {
    let mut function = Pointwise {
        f,
        origin: vec![],
        direction: vec![],
        point: vec![],
        gradient: vec![0.0; start.len()],
    };
    minimise_along(&mut function, start, max_iterations, tolerance)
}

/// Minimises from `start`, until the largest gradient component is at most `tolerance` times what it was at the start, no step
/// helps, or `max_iterations` are done.
pub(super) fn minimise_along(
    function: &mut impl Function,
    start: Vec<f64>,
    max_iterations: usize,
    tolerance: f64,
) -> Vec<f64> {
    let mut at = start;
    let mut gradient = vec![0.0; at.len()];
    let mut before = gradient.clone();
    let mut value = function.start(&at, &mut gradient);
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    let enough = tolerance * function.steepness(&gradient);
    for _ in 0..max_iterations {
        if function.steepness(&gradient) <= enough {
            break;
        }
        let mut direction = direction(&gradient, &pairs);
        function.aim(&at, &direction);
        let slope = dot(&gradient, &direction);
        let Some(step) = search(value, slope, |length| function.probe(length)) else {
            break;
        };
        value = step.value;
        direction.iter_mut().for_each(|v| *v *= step.length);
        add(&mut at, 1.0, &direction);
        std::mem::swap(&mut before, &mut gradient);
        function.arrive(&at, &mut gradient);
        let change = gradient.iter().zip(&before).map(|(new, old)| new - old);
        let pair = Pair::new(direction, change.collect());
        // Curvature the step has by the Wolfe condition, unless rounding has eaten it.
        if pair.sy > f64::EPSILON * pair.yy {
            pairs.truncate(MEMORY - 1);
            pairs.push_front(pair);
        }
    }
    at
}

/// One remembered step, its change of gradient, and their products.
struct Pair {
    s: Vec<f64>,
    y: Vec<f64>,
    sy: f64,
    yy: f64,
}

impl Pair {
    fn new(s: Vec<f64>, y: Vec<f64>) -> Pair {
        let (sy, yy) = (dot(&s, &y), dot(&y, &y));
        Pair { s, y, sy, yy }
    }
}

/// -H g by the two loops, newest pair first.
fn direction(gradient: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let alpha = dot(&pair.s, &q) / pair.sy;
        add(&mut q, -alpha, &pair.y);
        alphas.push(alpha);
    }
    let scale = match pairs.front() {
        Some(newest) => newest.sy / newest.yy,
        // The first step has no curvature to go by: length 1.
        None => 1.0 / dot(gradient, gradient).sqrt(),
    };
    q.iter_mut().for_each(|v| *v *= scale);
    for (pair, alpha) in pairs.iter().zip(&alphas).rev() {
        let beta = dot(&pair.y, &q) / pair.sy;
        add(&mut q, alpha - beta, &pair.s);
    }
    q
}

struct Step {
    length: f64,
    value: f64,
}

/// A step that meets the weak Wolfe conditions, from a point of this value and this slope; `None` if there is none.
fn search(value: f64, slope: f64, mut probe: impl FnMut(f64) -> (f64, f64)) -> Option<Step> {
    // Not a descent, or not a number.
    if slope >= 0.0 || slope.is_nan() {
        return None;
    }
    let (mut low, mut high, mut length) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..STEPS {
        let (here, slope_here) = probe(length);
        let most = value + DECREASE * length * slope;
        if here > most || here.is_nan() {
            high = length;
        } else if slope_here < CURVATURE * slope {
            low = length;
        } else {
            return Some(Step {
                length,
                value: here,
            });
        }
        length = match high.is_finite() {
            true => 0.5 * (low + high),
            false => 2.0 * length,
        };
    }
    None
}

/// A function that knows values and gradients of single points.
struct Pointwise<F> {
    f: F,
    origin: Vec<f64>,
    direction: Vec<f64>,
    point: Vec<f64>,
    gradient: Vec<f64>,
}

impl<F: FnMut(&[f64], &mut [f64]) -> f64> Function for Pointwise<F> {
    fn start(&mut self, at: &[f64], gradient: &mut [f64]) -> f64 {
        (self.f)(at, gradient)
    }

    fn aim(&mut self, at: &[f64], direction: &[f64]) {
        self.origin = at.to_vec();
        self.direction = direction.to_vec();
    }

    fn probe(&mut self, length: f64) -> (f64, f64) {
        self.point.clone_from(&self.origin);
        add(&mut self.point, length, &self.direction);
        let value = (self.f)(&self.point, &mut self.gradient);
        (value, dot(&self.gradient, &self.direction))
    }

    fn arrive(&mut self, _: &[f64], gradient: &mut [f64]) {
        gradient.copy_from_slice(&self.gradient);
    }
}

/// The largest size of a number.
pub(super) fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, v| most.max(v.abs()))
}

/// Summed in eight lanes: one after the other would wait for each sum.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    ArrayView1::from(a).dot(&ArrayView1::from(b))
}

fn add(to: &mut [f64], factor: f64, what: &[f64]) {
    for (t, w) in to.iter_mut().zip(what) {
        *t += factor * w;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quadratic_is_solved() {
        // Curvatures from 1 to 1000, minimum at (1, 2, ..., 8).
        let found = minimise(vec![0.0; 8], 200, 1e-14, |at, gradient| {
            let mut value = 0.0;
            for (i, (x, g)) in at.iter().zip(gradient).enumerate() {
                let k = 1000f64.powf(i as f64 / 7.0);
                let d = x - (i + 1) as f64;
                value += 0.5 * k * d * d;
                *g = k * d;
            }
            value
        });
        for (i, x) in found.iter().enumerate() {
            assert!((x - (i + 1) as f64).abs() < 1e-9, "{found:?}");
        }
    }

    #[test]
    fn the_banana_valley_is_walked() {
        let found = minimise(vec![-1.2, 1.0], 200, 1e-12, |at, gradient| {
            let (x, y) = (at[0], at[1]);
            gradient[0] = -2.0 * (1.0 - x) - 400.0 * x * (y - x * x);
            gradient[1] = 200.0 * (y - x * x);
            (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2)
        });
        assert!(
            (found[0] - 1.0).abs() < 1e-8 && (found[1] - 1.0).abs() < 1e-8,
            "{found:?}"
        );
    }

    #[test]
    fn what_cannot_be_minimised_ends() {
        assert_eq!(minimise(vec![], 10, 1e-6, |_, _| 0.0), Vec::<f64>::new());
        let nan = minimise(vec![3.0], 10, 1e-6, |_, gradient| {
            gradient[0] = f64::NAN;
            f64::NAN
        });
        assert_eq!(nan, [3.0]);
        // No minimum: it must stop, and not by a panic.
        minimise(vec![0.0], 10, 1e-6, |at, gradient| {
            gradient[0] = -1.0;
            -at[0]
        });
    }
}
