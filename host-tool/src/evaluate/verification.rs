//! Verification figures from the distances of genuine and impostor pairs. Definitions (ISO/IEC 19795-1), for a threshold
//! t on the cosine distance d, a pair being accepted when d < t:
//!
//! ```text
//! FMR(t)  = impostor pairs accepted / impostor pairs        FNMR(t) = genuine pairs refused / genuine pairs
//! TMR at FMR f = 1 - FNMR(t_f),  t_f = the largest t with FMR(t) <= f
//!              = the (k+1)-th smallest impostor distance,  k = floor(f x impostor pairs)
//! EER     = FMR = FNMR where the two meet, on the line between the last operating point with FMR <= FNMR and the first
//!           with FMR >= FNMR
//! ```
//!
//! Exact: every pair counts, nothing is binned.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::evaluate::interval::Rate;

/// Distances of all pairs, each list ascending.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Distances {
    genuine: Vec<f32>,
    impostor: Vec<f32>,
}

/// One operating point of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TargetFmr {
    /// How the report names it.
    pub name: &'static str,
    /// One impostor pair in so many may be accepted.
    pub one_in: usize,
}

/// The targets reported, where there are impostor pairs enough for at least one acceptance.
pub const TARGETS: [TargetFmr; 3] = [
    TargetFmr {
        name: "1e-2",
        one_in: 100,
    },
    TargetFmr {
        name: "1e-3",
        one_in: 1_000,
    },
    TargetFmr {
        name: "1e-4",
        one_in: 10_000,
    },
];

/// The target at which groups of people are compared: FMR 1e-3.
pub const COMMON_TARGET: TargetFmr = TARGETS[1];

/// The figures of one set of distances.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Genuine pairs.
    pub genuine: usize,
    /// Impostor pairs.
    pub impostor: usize,
    /// Equal error rate; absent without pairs of both kinds.
    pub eer: Option<f64>,
    /// Cosine distance at the equal error rate.
    pub eer_threshold: Option<f64>,
    /// True match rate by target FMR.
    pub tmr_at_fmr: BTreeMap<&'static str, f64>,
    /// Exact 95 % interval of each (pairs share photos and people, so the true interval is wider).
    pub tmr_interval_95: BTreeMap<&'static str, [f64; 2]>,
    /// Accept below this cosine distance to stay within the target FMR.
    pub threshold_at_fmr: BTreeMap<&'static str, f64>,
}

impl Distances {
    /// Distances of all genuine pairs, nearest first.
    #[must_use]
    pub fn genuine(&self) -> &[f32] {
        &self.genuine
    }

    /// Distances of all impostor pairs, nearest first.
    #[must_use]
    pub fn impostor(&self) -> &[f32] {
        &self.impostor
    }

    /// Sorts the distances; they must be finite.
    #[must_use]
    pub fn new(mut genuine: Vec<f32>, mut impostor: Vec<f32>) -> Distances {
        genuine.sort_unstable_by(f32::total_cmp);
        impostor.sort_unstable_by(f32::total_cmp);
        Distances { genuine, impostor }
    }

    /// All figures of this module.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let meeting = self.equal_error();
        let mut figures = Figures {
            genuine: self.genuine.len(),
            impostor: self.impostor.len(),
            eer: meeting.map(|m| m.rate),
            eer_threshold: meeting.map(|m| f64::from(m.threshold)),
            tmr_at_fmr: BTreeMap::new(),
            tmr_interval_95: BTreeMap::new(),
            threshold_at_fmr: BTreeMap::new(),
        };
        for target in TARGETS {
            if let Some(threshold) = self.threshold_at(target)
                && !self.genuine.is_empty()
            {
                figures
                    .tmr_at_fmr
                    .insert(target.name, 1.0 - self.fnmr(threshold));
                let (_, missed) = self.errors(threshold);
                let [low, high] = Rate::new(missed as u64, self.genuine.len() as u64).interval_95;
                figures
                    .tmr_interval_95
                    .insert(target.name, [1.0 - high, 1.0 - low]);
                figures
                    .threshold_at_fmr
                    .insert(target.name, f64::from(threshold));
            }
        }
        figures
    }

    /// The largest threshold within the target FMR; `None` with too few impostor pairs to tell.
    #[must_use]
    pub fn threshold_at(&self, target: TargetFmr) -> Option<f32> {
        let accepted = self.impostor.len() / target.one_in;
        if accepted == 0 {
            return None;
        }
        self.impostor.get(accepted).copied()
    }

    /// Share of impostor pairs accepted below `threshold`; 0 without pairs.
    #[must_use]
    pub fn fmr(&self, threshold: f32) -> f64 {
        share(below(&self.impostor, threshold), self.impostor.len())
    }

    /// Share of genuine pairs not accepted below `threshold`; 0 without pairs.
    #[must_use]
    pub fn fnmr(&self, threshold: f32) -> f64 {
        let accepted = below(&self.genuine, threshold);
        share(self.genuine.len() - accepted, self.genuine.len())
    }

    /// Impostor and genuine pairs wrongly decided at `threshold`.
    #[must_use]
    pub fn errors(&self, threshold: f32) -> (usize, usize) {
        let accepted = below(&self.genuine, threshold);
        (
            below(&self.impostor, threshold),
            self.genuine.len() - accepted,
        )
    }

    /// Number of genuine and of impostor pairs.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.genuine.len(), self.impostor.len())
    }

    fn equal_error(&self) -> Option<Meeting> {
        if self.genuine.is_empty() || self.impostor.is_empty() {
            return None;
        }
        // Below every distance nothing is accepted: FMR 0, FNMR 1. Every other operating point starts at a distance.
        let mut before = (0.0, 1.0);
        let mut thresholds: Vec<f32> = self.genuine.iter().chain(&self.impostor).copied().collect();
        thresholds.sort_unstable_by(f32::total_cmp);
        thresholds.dedup();
        // Past the last distance everything is accepted, so the rates always meet.
        thresholds.push(f32::INFINITY);
        for &threshold in &thresholds {
            let now = (self.fmr(threshold), self.fnmr(threshold));
            if now.0 >= now.1 {
                let (gap_before, gap_now) = (before.1 - before.0, now.0 - now.1);
                let along = if gap_before + gap_now > 0.0 {
                    gap_before / (gap_before + gap_now)
                } else {
                    0.0
                };
                return Some(Meeting {
                    rate: before.0 + along * (now.0 - before.0),
                    threshold: threshold.min(2.0),
                });
            }
            before = now;
        }
        None
    }
}

#[derive(Debug, Clone, Copy)]
struct Meeting {
    rate: f64,
    threshold: f32,
}

fn below(ascending: &[f32], threshold: f32) -> usize {
    ascending.partition_point(|&d| d < threshold)
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_error_rate_of_small_sets_worked_by_hand() {
        struct Case {
            name: &'static str,
            genuine: &'static [f32],
            impostor: &'static [f32],
            eer: f64,
        }
        let cases = [
            Case {
                name: "apart",
                genuine: &[0.1, 0.2],
                impostor: &[0.8, 0.9],
                eer: 0.0,
            },
            Case {
                name: "swapped",
                genuine: &[0.8, 0.9],
                impostor: &[0.1, 0.2],
                eer: 1.0,
            },
            // t in (0.5, 0.6]: one of four genuine refused, one of four impostors accepted.
            Case {
                name: "one of four",
                genuine: &[0.1, 0.2, 0.3, 0.6],
                impostor: &[0.5, 0.7, 0.8, 0.9],
                eer: 0.25,
            },
            // Points (0, 1/2) at t = 0.3 and (1, 1/2)... one impostor: the line from (0, 1/2) to (1, 1/2) meets at 1/2.
            Case {
                name: "one impostor",
                genuine: &[0.1, 0.6],
                impostor: &[0.3],
                eer: 0.5,
            },
            // From (0, 1) straight to (1, 0): all distances equal.
            Case {
                name: "all equal",
                genuine: &[0.4, 0.4],
                impostor: &[0.4, 0.4],
                eer: 0.5,
            },
            // (0, 1/3) then (1/2, 0): 1/3 (1 - s) = s/2 -> s = 2/5, eer = 1/5.
            Case {
                name: "between points",
                genuine: &[0.1, 0.2, 0.5],
                impostor: &[0.5, 0.7],
                eer: 0.2,
            },
        ];
        let mut failures = Vec::new();
        for case in &cases {
            let found = Distances::new(case.genuine.to_vec(), case.impostor.to_vec()).figures();
            let eer = found.eer.unwrap_or(f64::NAN);
            if (eer - case.eer).abs() > 1e-12 || eer.is_nan() {
                failures.push(format!("{}: expected {}, found {eer}", case.name, case.eer));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn a_target_admits_exactly_its_share_of_impostors() {
        let impostor: Vec<f32> = (0..2_500).map(|i| 0.5 + i as f32 / 10_000.0).collect();
        let distances = Distances::new(vec![0.1, 0.5, 0.500_15, 0.9], impostor);
        let threshold = distances
            .threshold_at(COMMON_TARGET)
            .expect("2,500 pairs suffice for 1e-3");
        assert_eq!(distances.errors(threshold), (2, 1));
        let figures = distances.figures();
        assert_eq!(figures.tmr_at_fmr.get("1e-3"), Some(&0.75));
        // 3 of 4, after Clopper and Pearson.
        let [low, high] = figures.tmr_interval_95["1e-3"];
        assert!((low - 0.194).abs() < 1e-3 && (high - 0.994).abs() < 1e-3);
        assert!(
            !figures.tmr_at_fmr.contains_key("1e-4"),
            "2,500 pairs cannot show 1e-4"
        );
    }

    #[test]
    fn ties_at_the_threshold_are_refused() {
        let distances = Distances::new(vec![0.4, 0.5], [vec![0.3], vec![0.5; 199]].concat());
        let threshold = distances
            .threshold_at(TARGETS[0])
            .expect("200 pairs suffice for 1e-2");
        assert_eq!(threshold, 0.5);
        assert_eq!(distances.fmr(threshold), 1.0 / 200.0);
        assert_eq!(distances.fnmr(threshold), 0.5);
    }

    #[test]
    fn without_pairs_there_are_no_figures() {
        let figures = Distances::new(vec![], vec![0.5]).figures();
        assert_eq!(figures.eer, None);
        assert!(figures.tmr_at_fmr.is_empty());
    }
}
