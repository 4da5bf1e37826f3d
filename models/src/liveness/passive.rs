//! The passive cues over a track, and a verdict from all of them. Weak: see the measured figures in `models/README.md`.
//!
//! ```text
//! still    landmarks move less than a living face's   | each cue is a suspicion from 0 to 1 between two thresholds;
//! flat     the face tilted, the nose went with it     | suspicion of the track = 1 - product of (1 - weight x cue)
//! moire    a regular pattern on the face              | refused at 0.5 and more
//! border   straight edges around the face             | measured, not counted
//! network  a score, where there is one: see `network` | refuses by itself below its own threshold
//! ```
//!
//! The thresholds are chosen so that living people pass: they stop screens, prints that are held quite still or tilted, and
//! nothing else. Straight edges are not counted: living faces before doors and windows have as many as pictures.

use serde::Serialize;

use super::{Observation, Track, network::Score, planar};

/// Least observations for a verdict: about a second.
pub const LEAST: usize = 8;
/// A track with this suspicion or more is refused.
pub const REFUSED: f64 = 0.5;

/// What a cue's measure means: no suspicion at `from`, full at `to`, and how much the full one counts.
struct Ramp {
    from: f64,
    to: f64,
    weight: f64,
}

const STILL: Ramp = Ramp {
    from: 0.006,
    to: 0.004,
    weight: 0.7,
};
const FLAT: Ramp = Ramp {
    from: 0.14,
    to: 0.08,
    weight: 0.7,
};
const MOIRE: Ramp = Ramp {
    from: 4.0,
    to: 4.8,
    weight: 0.7,
};
/// The flat cue needs a face that tilted so far.
const TILTED_DEG: f64 = 25.0;

impl Ramp {
    fn suspicion(&self, measure: f64) -> f64 {
        self.weight * ((measure - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

/// What a track shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cues {
    /// Movement of the face's centre and size from one look to the next, median, in eye distances.
    pub movement: f64,
    /// Largest tilt of the eye-mouth plane against the first look, degrees; each is a median of three.
    pub tilt_deg: f64,
    /// Largest residual of the nose against the eye-mouth plane, across or down, eye distances; each is a median of three.
    pub residual: f64,
    /// Median of [`super::signs::Signs::peak`].
    pub peak: f64,
    /// Median of [`super::signs::Signs::edges`].
    pub edges: f64,
    /// Median of a liveness network's scores; `None` if none looked.
    pub network: Option<Score>,
}

/// The cues of a track; `None` with fewer than [`LEAST`] observations that have a face's landmarks.
#[must_use]
pub fn cues(track: &Track) -> Option<Cues> {
    let seen: Vec<&Observation> = track.iter().filter(|o| o.patch.is_some()).collect();
    let first = seen.first().filter(|_| seen.len() >= LEAST)?;
    let motions: Vec<planar::Motion> = seen
        .iter()
        .filter_map(|o| planar::motion(&first.landmarks, &o.landmarks))
        .collect();
    let steps = seen.windows(2).filter_map(|pair| match pair {
        [a, b] => Some(movement(a, b)),
        _ => None,
    });
    let signs = |of: fn(&Observation) -> f32| median(seen.iter().map(|o| f64::from(of(o))));
    Some(Cues {
        movement: median(steps),
        tilt_deg: largest(motions.iter().map(|m| m.tilt_deg).collect()),
        residual: largest(motions.iter().map(planar::Motion::parallax).collect()),
        peak: signs(|o| o.signs.peak),
        edges: signs(|o| o.signs.edges),
        network: middle(seen.iter().filter_map(|o| o.score).collect()),
    })
}

impl Cues {
    /// How much speaks against a living face, in [0, 1].
    #[must_use]
    pub fn suspicion(&self) -> f64 {
        let flat = if self.tilt_deg >= TILTED_DEG {
            FLAT.suspicion(self.residual)
        } else {
            0.0
        };
        let innocent = [
            STILL.suspicion(self.movement),
            flat,
            MOIRE.suspicion(self.peak),
        ]
        .iter()
        .map(|cue| 1.0 - cue)
        .product::<f64>();
        1.0 - innocent
    }

    /// Whether the track may pass at level `passive`.
    #[must_use]
    pub fn live(&self) -> bool {
        let refused = self
            .network
            .is_some_and(|score| score.live < score.threshold);
        !refused && self.suspicion() < REFUSED
    }
}

/// The median score: the lower of the two in the middle.
fn middle(mut scores: Vec<Score>) -> Option<Score> {
    scores.sort_by(|a, b| a.live.total_cmp(&b.live));
    scores.get(scores.len().saturating_sub(1) / 2).copied()
}

/// How far five points moved on average, in eye distances.
fn movement(a: &Observation, b: &Observation) -> f64 {
    let length = |p: [f32; 2], q: [f32; 2]| f64::from((p[0] - q[0]).hypot(p[1] - q[1]));
    let mean = |o: &Observation| {
        let sum = |axis: usize| o.landmarks.iter().map(|p| p[axis]).sum::<f32>() / 5.0;
        [sum(0), sum(1)]
    };
    let eyes = length(a.landmarks[0], a.landmarks[1]);
    length(mean(a), mean(b)) / eyes.max(1.0)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The largest median of three neighbours: one bad look does not count.
fn largest(values: Vec<f64>) -> f64 {
    values
        .windows(3)
        .map(|three| median(three.iter().copied()))
        .fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cue_refuses_alone_and_borders_never_do() {
        let living = Cues {
            movement: 0.012,
            tilt_deg: 12.0,
            residual: 0.03,
            peak: 3.2,
            edges: 4.0,
            network: None,
        };
        let score = |live| {
            Some(Score {
                live,
                threshold: 0.6,
            })
        };
        struct Case(&'static str, Cues, bool);
        let cases = [
            Case("looks on before a window", living, true),
            Case(
                "turns",
                Cues {
                    tilt_deg: 35.0,
                    residual: 0.25,
                    ..living
                },
                true,
            ),
            Case(
                "stands nearly still",
                Cues {
                    movement: 0.0055,
                    ..living
                },
                true,
            ),
            Case(
                "wears knitwear",
                Cues {
                    peak: 4.2,
                    ..living
                },
                true,
            ),
            Case(
                "held still",
                Cues {
                    movement: 0.001,
                    ..living
                },
                false,
            ),
            Case(
                "tilted",
                Cues {
                    tilt_deg: 35.0,
                    residual: 0.05,
                    ..living
                },
                false,
            ),
            Case(
                "a screen",
                Cues {
                    peak: 5.0,
                    ..living
                },
                false,
            ),
            Case(
                "a network that believes it",
                Cues {
                    network: score(0.6),
                    ..living
                },
                true,
            ),
            Case(
                "a network that does not",
                Cues {
                    network: score(0.59),
                    ..living
                },
                false,
            ),
            Case(
                "a network that believes a screen",
                Cues {
                    network: score(1.0),
                    peak: 5.0,
                    ..living
                },
                false,
            ),
            Case(
                "a little of two",
                Cues {
                    movement: 0.0045,
                    peak: 4.4,
                    ..living
                },
                false,
            ),
        ];
        let mut failures = vec![];
        for Case(what, cues, live) in cases {
            if cues.live() != live {
                failures.push(format!("{what}: {}", cues.suspicion()));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
