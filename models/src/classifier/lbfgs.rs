//! Limited-memory BFGS for a smooth function with gradient, deterministic; called by `softmax`.
//!
//! Nocedal & Wright, "Numerical Optimization", 2nd edition, algorithms 7.4 (two loops) and 7.5; step lengths by the
//! bisection of Lewis & Overton, "Nonsmooth optimization via quasi-Newton methods", 2013, algorithm 2.6.

use std::collections::VecDeque;

/// Pairs of steps and gradient changes remembered.
const MEMORY: usize = 10;
/// Wolfe conditions: sufficient decrease and curvature.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Most halvings or doublings of one step.
const STEPS: usize = 40;

/// Minimises `f(at, gradient) -> value` from `start`, until the largest gradient component is at most `tolerance` times
/// what it was at the start, no step helps, or `max_iterations` are done.
pub(super) fn minimise(
    start: Vec<f64>,
    max_iterations: usize,
    tolerance: f64,
    mut f: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Vec<f64> {
    let mut at = start;
    let mut gradient = vec![0.0; at.len()];
    let mut value = f(&at, &mut gradient);
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    let largest = |gradient: &[f64]| gradient.iter().fold(0f64, |most, g| most.max(g.abs()));
    let enough = tolerance * largest(&gradient);
    for _ in 0..max_iterations {
        if largest(&gradient) <= enough {
            break;
        }
        let direction = direction(&gradient, &pairs);
        let Some(step) = search(&at, value, &gradient, &direction, &mut f) else {
            break;
        };
        let s: Vec<f64> = step.at.iter().zip(&at).map(|(n, o)| n - o).collect();
        let y: Vec<f64> = step
            .gradient
            .iter()
            .zip(&gradient)
            .map(|(n, o)| n - o)
            .collect();
        let sy = dot(&s, &y);
        // Curvature the step has by the Wolfe condition, unless rounding has eaten it.
        if sy > f64::EPSILON * dot(&y, &y) {
            pairs.truncate(MEMORY - 1);
            pairs.push_front(Pair { s, y, sy });
        }
        Step {
            at,
            value,
            gradient,
        } = step;
    }
    at
}

/// One remembered step, its change of gradient, and their product.
struct Pair {
    s: Vec<f64>,
    y: Vec<f64>,
    sy: f64,
}

struct Step {
    at: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
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
        Some(newest) => newest.sy / dot(&newest.y, &newest.y),
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

/// A step along `direction` that meets the weak Wolfe conditions; `None` if there is none.
fn search(
    at: &[f64],
    value: f64,
    gradient: &[f64],
    direction: &[f64],
    f: &mut impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Option<Step> {
    let slope = dot(gradient, direction);
    // Not a descent, or not a number.
    if slope >= 0.0 || slope.is_nan() {
        return None;
    }
    let (mut low, mut high, mut length) = (0.0, f64::INFINITY, 1.0);
    let mut step = Step {
        at: at.to_vec(),
        value,
        gradient: vec![0.0; at.len()],
    };
    for _ in 0..STEPS {
        step.at.copy_from_slice(at);
        add(&mut step.at, length, direction);
        step.value = f(&step.at, &mut step.gradient);
        let most = value + DECREASE * length * slope;
        if step.value > most || step.value.is_nan() {
            high = length;
        } else if dot(&step.gradient, direction) < CURVATURE * slope {
            low = length;
        } else {
            return Some(step);
        }
        length = if high.is_finite() {
            0.5 * (low + high)
        } else {
            2.0 * low
        };
    }
    None
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
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
