//! What a gallery's thresholds promise: the FPIR with its 95 % interval, and what so many strangers' photos should show.
//!
//! The FPIR is a Gamma variable: its mean is the formula of `calibrate`, its spread adds what is not known of the
//! population, of classifier and margin, of the people enrolled and of the extrapolated tail. Counts of strangers accepted
//! are then negative binomial (Gelman et al., Bayesian Data Analysis, section 2.6).

use serde::Serialize;

use super::{
    CONFIRMED, CONFIRMED_VARIANCE, Calibration, PERSON_VARIANCE, Thresholds, VARIANCE_PER_DECADE,
    inflated,
};

/// The normal quantile of a two-sided 95 % interval.
const Z_95: f64 = 1.96;

/// A predicted FPIR.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Predicted {
    /// Share of strangers' photos accepted: the mean.
    pub fpir: f64,
    /// Lower and upper end of its 95 % interval (credible interval of the Gamma variable).
    pub interval_95: [f64; 2],
    /// The Gamma variable's shape: 1 / (variance / mean^2).
    pub shape: f64,
}

impl Calibration {
    /// The FPIR of these thresholds.
    #[must_use]
    pub fn predict(&self, thresholds: &Thresholds) -> Predicted {
        let limits = thresholds.people.iter();
        self.predict_limits(limits.map(|limit| (limit.templates, limit.max_distance)))
    }

    /// The FPIR with people of so many templates and such a largest distance each.
    pub(super) fn predict_limits(&self, limits: impl Iterator<Item = (usize, f32)>) -> Predicted {
        let (mut rate, mut people, mut highest) = (0.0, 0.0, 1e-9f64);
        let mut known: Option<(f32, f64)> = None;
        for (templates, distance) in limits {
            // Most people have the common distance.
            let fmr = match known {
                Some((at, fmr)) if at.to_bits() == distance.to_bits() => fmr,
                Some(_) | None => self.tail.fmr(distance),
            };
            known = Some((distance, fmr));
            rate += inflated(fmr, templates);
            people += 1.0;
            highest = highest.max(fmr);
        }
        if people == 0.0 {
            return Predicted {
                fpir: 0.0,
                interval_95: [0.0; 2],
                shape: f64::INFINITY,
            };
        }
        let decades = (self.population.counted_at / highest).log10().max(0.0);
        let variance = 1.0 / self.population.shape
            + CONFIRMED_VARIANCE
            + PERSON_VARIANCE / people
            + VARIANCE_PER_DECADE * decades;
        let shape = 1.0 / variance;
        let mean = self.population.mean * CONFIRMED * rate;
        let any = |factor: f64| -(-mean * factor).exp_m1();
        Predicted {
            fpir: any(1.0),
            interval_95: [-Z_95, Z_95].map(|z| any(gamma_quantile(shape, z))),
            shape,
        }
    }
}

impl Predicted {
    /// The 95 % interval in which the share accepted of `photos` photos of different strangers should lie.
    #[must_use]
    pub fn measured_interval_95(&self, photos: usize) -> [f64; 2] {
        if photos == 0 {
            return [0.0, 1.0];
        }
        let expected = self.fpir * photos as f64;
        [0.025, 0.975]
            .map(|p| negative_binomial_quantile(self.shape, expected, p) as f64 / photos as f64)
    }
}

/// Quantile of a Gamma variable of mean 1, at a normal quantile: Wilson and Hilferty 1931.
fn gamma_quantile(shape: f64, z: f64) -> f64 {
    let ninth = 1.0 / (9.0 * shape);
    (1.0 - ninth + z * ninth.sqrt()).max(0.0).powi(3)
}

/// The least count whose cumulative probability is at least `p`.
fn negative_binomial_quantile(shape: f64, mean: f64, p: f64) -> u32 {
    let success = mean / (shape + mean);
    let mut probability = (-shape * (mean / shape).ln_1p()).exp();
    let (mut sum, mut count) = (probability, 0u32);
    while sum < p && count < 1_000_000 {
        probability *= (f64::from(count) + shape) / f64::from(count + 1) * success;
        sum += probability;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_tables() {
        // Chi-squared tables: quantiles of 2k degrees of freedom, divided by 2k.
        let cases = [
            (1.0, 0.025_3, 3.688_9),
            (2.0, 0.121_1, 2.785_8),
            (5.0, 0.324_7, 2.048_3),
            (25.0, 0.647_2, 1.428_4),
        ];
        for (shape, low, high) in cases {
            let found = [-Z_95, Z_95].map(|z| gamma_quantile(shape, z));
            assert!((found[0] - low).abs() < 0.02, "{shape}: {found:?}");
            assert!((found[1] / high - 1.0).abs() < 0.01, "{shape}: {found:?}");
        }
        // Geometric: P(X <= k) = 1 - (1/2)^(k+1).
        assert_eq!(negative_binomial_quantile(1.0, 1.0, 0.025), 0);
        assert_eq!(negative_binomial_quantile(1.0, 1.0, 0.9), 3);
        // Nearly Poisson of mean 4: P(X <= 8) = 0.979, P(X <= 7) = 0.949, P(X <= 0) = 0.018.
        assert_eq!(negative_binomial_quantile(1e6, 4.0, 0.975), 8);
        assert_eq!(negative_binomial_quantile(1e6, 4.0, 0.025), 1);
    }
}
