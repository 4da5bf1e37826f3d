//! How near strangers come by chance: the false match rate of one template and one photo, as a function of distance.
//!
//! ```text
//! FMR  0.1      0.03     0.01     0.003    0.001        0
//!      |--------|--------|--------|--------|- - - - - - -|     body: measured quantiles, straight lines in ln FMR
//!      far                                  nearest            tail: generalised Pareto below the last of them
//! ```
//!
//! Beyond what was measured, the nearest thousandth is continued by a generalised Pareto distribution (Pickands 1975:
//! the limit of what exceeds a high threshold), fitted by probability-weighted moments (Hosking and Wallis 1987).

use serde::{Deserialize, Serialize};

use crate::{Error, embedding::SpaceId, measured::Measured};

/// Quantiles kept, where there are enough scores for them.
const LEVELS: [f32; 5] = [0.1, 0.03, 0.01, 0.003, 0.001];
/// Fewest scores a quantile, and the tail below it, is taken from.
const FEWEST: usize = 50;

/// The nearest impostor distances of an embedding space.
///
/// The fields are public to be stored; one that was read back is used only after [`Tail::validate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// (FMR, distance), both falling.
    pub body: Vec<(f32, f32)>,
    /// Scale of the generalised Pareto distribution below the last of `body`; > 0.
    pub scale: f32,
    /// Its shape, in (-1, 0.5): below 0 the distances have an end, at 0 they fall off exponentially.
    pub shape: f32,
}

impl Tail {
    /// What is known of a space before the operator's own photos: measured on the 610,409 impostor pairs of 1,107 photos
    /// of 595 people (Labeled Faces in the Wild, 30 % women), one photo against one photo, with [`Tail::fit`]; see
    /// `facelatch calibrate --splits`, which reports the fit. `None` for a space nobody measured.
    #[must_use]
    pub fn prior(space: &SpaceId) -> Option<Tail> {
        let measured = Measured::of(space)?;
        let [scale, shape] = measured.tail;
        Some(Tail {
            body: LEVELS.into_iter().zip(measured.body).collect(),
            scale,
            shape,
        })
    }

    /// Fits impostor distances; `None` if they are too few (500) or not spread.
    #[must_use]
    pub fn fit(distances: &[f32]) -> Option<Tail> {
        let mut sorted: Vec<f32> = distances
            .iter()
            .copied()
            .filter(|d| d.is_finite())
            .collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let count = |level: f32| (f64::from(level) * sorted.len() as f64) as usize;
        let body: Vec<(f32, f32)> = LEVELS
            .into_iter()
            .filter(|&level| count(level) >= FEWEST)
            .map(|level| (level, sorted[count(level)]))
            .collect();
        let &(level, end) = body.last()?;
        let excesses = sorted[..count(level)]
            .iter()
            .rev()
            .map(|d| f64::from(end) - f64::from(*d));
        let n = count(level) as f64;
        let (mut a0, mut a1) = (0.0, 0.0);
        for (rank, excess) in excesses.enumerate() {
            a0 += excess / n;
            a1 += excess * (n - rank as f64 - 1.0) / (n * (n - 1.0));
        }
        let below = a0 - 2.0 * a1;
        let tail = Tail {
            body,
            scale: (2.0 * a0 * a1 / below) as f32,
            shape: (2.0 - a0 / below).clamp(-0.99, 0.49) as f32,
        };
        tail.validate().is_ok().then_some(tail)
    }

    /// Refuses numbers that are no such distribution.
    ///
    /// # Errors
    /// [`Error::Calibration`] naming what is wrong.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |why: &str| Err(Error::Calibration(why.to_owned()));
        let inside = |&(fmr, distance): &(f32, f32)| {
            fmr > 0.0 && fmr < 1.0 && (0.0..=2.0).contains(&distance)
        };
        if self.body.is_empty() || self.body.len() > 64 || !self.body.iter().all(inside) {
            return refuse("its quantiles are none");
        }
        let falling = |a: &(f32, f32), b: &(f32, f32)| a.0 > b.0 && a.1 > b.1;
        if !self.body.is_sorted_by(falling) {
            return refuse("its quantiles do not fall");
        }
        if !(self.scale > 0.0 && self.scale.is_finite() && self.shape > -1.0 && self.shape < 0.5) {
            return refuse("its tail is no distribution");
        }
        Ok(())
    }

    /// Share of impostor pairs at most so far apart, in [0, 1]; rises with the distance.
    #[must_use]
    pub fn fmr(&self, distance: f32) -> f64 {
        let d = f64::from(distance);
        let point = |&(fmr, distance): &(f32, f32)| (f64::from(fmr).ln(), f64::from(distance));
        let mut far: Option<(f64, f64)> = None;
        for (ln_fmr, at) in self.body.iter().map(point) {
            if d >= at {
                // Farther than the first, FMR goes on to 1 at distance 1, where unrelated faces are.
                let (far_ln, far_at) = far.unwrap_or((0.0, at.max(1.0) + f64::EPSILON));
                let part = ((d - at) / (far_at - at)).min(1.0);
                return (ln_fmr + part * (far_ln - ln_fmr)).exp();
            }
            far = Some((ln_fmr, at));
        }
        let Some((ln_fmr, end)) = far else {
            return 1.0;
        };
        let (scale, shape) = (f64::from(self.scale), f64::from(self.shape));
        let x = (end - d) / scale;
        let ln_survival = if shape.abs() < 1e-6 {
            -x
        } else {
            -(1.0 + shape * x).max(0.0).ln() / shape
        };
        (ln_fmr + ln_survival).exp()
    }

    /// The distance at which so large a share of impostor pairs is nearer.
    #[must_use]
    pub fn distance(&self, fmr: f64) -> f32 {
        largest(|distance| self.fmr(distance) <= fmr)
    }
}

/// The largest distance in [0, 2] that `holds`, which is true up to somewhere and false from there on.
pub(super) fn largest(holds: impl Fn(f32) -> bool) -> f32 {
    let (mut low, mut high) = (0.0f32, 2.0f32);
    for _ in 0..30 {
        let middle = f32::midpoint(low, high);
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles of 1 - (a normal variable of deviation 0.133), as impostor cosines about are, from its known inverse.
    fn normal_distances(count: u32) -> Vec<f32> {
        let quantile = |p: f64| {
            // Abramowitz and Stegun 26.2.23, absolute error below 4.5e-4.
            let t = (-2.0 * p.min(1.0 - p).ln()).sqrt();
            let z = t
                - (2.515_517 + 0.802_853 * t + 0.010_328 * t * t)
                    / (1.0 + 1.432_788 * t + 0.189_269 * t * t + 0.001_308 * t * t * t);
            if p < 0.5 { -z } else { z }
        };
        let at = |i| 1.0 + 0.133 * quantile((f64::from(i) + 0.5) / f64::from(count));
        (0..count).map(|i| at(i) as f32).collect()
    }

    #[test]
    fn the_tail_of_a_known_distribution_is_found_and_continued() {
        let tail = Tail::fit(&normal_distances(200_000)).unwrap();
        assert_eq!(tail.body.len(), LEVELS.len());
        // z and P(Z < -z), from tables; the last two are beyond all quantiles kept, the last beyond all but one score.
        let cases = [
            (1.2816, 0.1),
            (2.3263, 0.01),
            (3.0902, 0.001),
            (3.719, 1e-4),
            (4.2649, 1e-5),
        ];
        let mut failures = vec![];
        for (z, p) in cases {
            let found = tail.fmr((1.0 - 0.133 * z) as f32);
            let tolerance = if p < 1e-4 { 0.5 } else { 0.1 };
            if (found / p).ln().abs() > tolerance {
                failures.push(format!("{z}: expected {p:e}, found {found:e}"));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn rates_rise_with_distance_and_distances_are_their_inverse() {
        let space = SpaceId::parse("facenet-512-8ae262ba0655f498").unwrap();
        let tail = Tail::prior(&space).unwrap();
        tail.validate().unwrap();
        let mut before = 0.0;
        for step in 0..=200 {
            let rate = tail.fmr(step as f32 / 100.0);
            assert!(rate >= before && rate <= 1.0, "{step}: {before} {rate}");
            before = rate;
        }
        assert_eq!(before, 1.0);
        for fmr in [0.5, 0.03, 1e-3, 1e-4, 1e-6] {
            let found = tail.fmr(tail.distance(fmr));
            assert!((found / fmr).ln().abs() < 1e-3, "{fmr}: {found}");
        }
    }

    #[test]
    fn too_few_and_damaged_numbers_are_refused() {
        assert_eq!(Tail::fit(&normal_distances(499)), None);
        assert_eq!(Tail::fit(&[0.5; 5000]), None);
        let good = Tail::fit(&normal_distances(5000)).unwrap();
        type Damage = fn(&mut Tail);
        let cases: [(&str, Damage); 6] = [
            ("no quantile", |t| t.body.clear()),
            ("not falling", |t| t.body.reverse()),
            ("no number", |t| t.body[0].1 = f32::NAN),
            ("no scale", |t| t.scale = 0.0),
            ("endless", |t| t.shape = 0.5),
            ("no shape", |t| t.shape = f32::NAN),
        ];
        for (name, damage) in cases {
            let mut tail = good.clone();
            damage(&mut tail);
            assert!(
                matches!(tail.validate(), Err(Error::Calibration(_))),
                "{name}"
            );
        }
    }
}
