//! The nearest person's mean, as a linear classifier: the score of a person is the scaled cosine to their mean, that of "none"
//! is a constant; scale and constant are those that make the examples likeliest.
//!
//! Two numbers are learned beside the means, so one photo a person is enough to begin with. Real or made-up strangers place
//! the constant.

use super::{Examples, Linear, Link, lbfgs, narrow, strangers::means};

/// Of scale and constant: the examples are few, and their means were made of them.
const PENALTY: f64 = 1e-4;

pub(super) fn fit(examples: &Examples) -> Linear {
    let (people, dimension) = (examples.classes - 1, examples.x.ncols());
    let rows: Vec<f32> = examples.x.iter().copied().collect();
    let means = means(&rows, &examples.y, people, dimension);
    let cosines = |row: &[f32]| -> Vec<f64> {
        let cosine = |mean: &Vec<f64>| row.iter().zip(mean).map(|(v, m)| f64::from(*v) * m).sum();
        means.iter().map(cosine).collect()
    };
    let scores: Vec<Vec<f64>> = rows.chunks_exact(dimension).map(cosines).collect();
    let weights = examples.balanced();
    // Half for "none", half for people: what matters is the border between them.
    let weights: Vec<f64> = weights
        .iter()
        .zip(&examples.y)
        .map(|(w, &class)| {
            w * examples.classes as f64 * if class == 0 { 0.5 } else { 0.5 / people as f64 }
        })
        .collect();
    let found = lbfgs::minimise(vec![10.0, 5.0], 200, 1e-8, |at, gradient| {
        value(at, gradient, &scores, &examples.y, &weights)
    });
    let (scale, none) = (found[0], found[1]);
    let mut all = vec![0.0; dimension];
    all.extend(means.iter().flatten().map(|m| scale * m));
    let mut biases = vec![0.0; examples.classes];
    biases[0] = none;
    Linear {
        weights: narrow(&all),
        biases: narrow(&biases),
        link: Link::Softmax,
    }
}

/// Negative log likelihood of scores `[none, scale x cosines]` under softmax, and its gradient.
fn value(
    at: &[f64],
    gradient: &mut [f64],
    scores: &[Vec<f64>],
    y: &[usize],
    weights: &[f64],
) -> f64 {
    let (scale, none) = (at[0], at[1]);
    let mut value = 0.5 * PENALTY * (scale * scale + none * none);
    gradient[0] = PENALTY * scale;
    gradient[1] = PENALTY * none;
    for ((cosines, &class), weight) in scores.iter().zip(y).zip(weights) {
        let most = cosines.iter().fold(none, |most, c| most.max(scale * c));
        let nobody = (none - most).exp();
        let (mut sum, mut mean) = (nobody, 0.0);
        for c in cosines {
            let e = (scale * c - most).exp();
            sum += e;
            mean += e * c;
        }
        let own = class.checked_sub(1).map(|person| cosines[person]);
        value += weight * (most + sum.ln() - own.map_or(none, |c| scale * c));
        gradient[0] += weight * (mean / sum - own.unwrap_or(0.0));
        gradient[1] += weight * (nobody / sum - if class == 0 { 1.0 } else { 0.0 });
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let scores = [vec![0.9, 0.1], vec![0.2, 0.7], vec![0.3, 0.35]];
        let (y, weights) = ([1, 2, 0], [0.25, 0.25, 0.5]);
        let f = |at: [f64; 2]| {
            let mut gradient = [0.0; 2];
            (value(&at, &mut gradient, &scores, &y, &weights), gradient)
        };
        let at = [7.0, 3.0];
        let (_, gradient) = f(at);
        for i in 0..2 {
            let moved = |by: f64| {
                let mut at = at;
                at[i] += by;
                f(at).0
            };
            let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!(
                (slope - gradient[i]).abs() < 1e-7,
                "{i}: {slope} {gradient:?}"
            );
        }
    }
}
