//! Is the face in front of the camera a head, or a picture of one? Pure: observations and times are arguments.
//!
//! ```text
//! [Observation] -> Track -> planar    what a flat picture cannot do: the nose's tip against the eye-mouth plane
//!                        -> challenge turn your head left, right, as the light asks (level `challenge`)
//!                        -> passive   weak cues over a track: depth, micro-motion, moire, borders (level `passive`)
//! ```
//!
//! Frames, detection and what a refusal means at a door are the callers' business: the device's loop and `facelatch pad`.

use std::{collections::VecDeque, time::Duration};

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::{image::Rect, mtcnn::Face};

pub mod challenge;
pub mod network;
pub mod passive;
pub mod patch;
pub mod planar;
pub mod signs;

use network::Score;
use patch::Patch;
use signs::Signs;

/// How much is asked of a face before it is believed to be a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Nothing: a photo opens.
    Off,
    /// The track's passive cues must not speak against it. Weak.
    #[default]
    Passive,
    /// The head must turn as asked.
    Challenge,
}

/// Left eye, right eye, nose, left and right mouth corner, as seen in the frame: x right, y down, in pixels.
pub type Landmarks = [[f32; 2]; 5];

/// One look at a face.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// When the frame was taken, on any clock that never goes back.
    pub at: Duration,
    /// The detector's box.
    pub rect: Rect,
    /// The five landmarks.
    pub landmarks: Landmarks,
    /// The straightened face; `None` where the landmarks make no face.
    pub patch: Option<Patch>,
    /// What the frame itself tells against the face.
    pub signs: Signs,
    /// What a liveness network makes of it; `None` without one.
    pub score: Option<Score>,
}

impl Observation {
    /// What is kept of a face in a frame taken at `at`: 3 kB.
    #[must_use]
    pub fn new(at: Duration, frame: &RgbImage, face: &Face) -> Observation {
        Observation {
            at,
            rect: face.rect,
            landmarks: face.landmarks,
            patch: Patch::cut(frame, &face.landmarks),
            signs: Signs::of(frame, &face.rect),
            score: None,
        }
    }

    /// The same, with a liveness network's score.
    #[must_use]
    pub fn scored(self, score: Option<Score>) -> Observation {
        Observation { score, ..self }
    }
}

/// The last observations of one face, oldest first; at most [`Track::MOST`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Track(VecDeque<Observation>);

impl Track {
    /// Observations kept: about four seconds of a door's frames.
    pub const MOST: usize = 40;

    /// An empty track.
    #[must_use]
    pub fn new() -> Track {
        Track::default()
    }

    /// Adds the newest observation and lets go of the oldest where there are too many.
    pub fn push(&mut self, observation: Observation) {
        if self.0.len() == Track::MOST {
            self.0.pop_front();
        }
        self.0.push_back(observation);
    }

    /// The observations, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Observation> {
        self.0.iter()
    }

    /// The newest observation.
    #[must_use]
    pub fn last(&self) -> Option<&Observation> {
        self.0.back()
    }

    /// How many observations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_their_names() {
        let names: Vec<String> = [Level::Off, Level::Passive, Level::Challenge]
            .iter()
            .map(|level| serde_json::to_string(level).unwrap())
            .collect();
        assert_eq!(names, ["\"off\"", "\"passive\"", "\"challenge\""]);
        assert_eq!(Level::default(), Level::Passive);
    }

    #[test]
    fn a_track_keeps_the_newest() {
        let mut track = Track::new();
        for ms in 0..100 {
            track.push(Observation {
                at: Duration::from_millis(ms),
                rect: Rect {
                    x: 0.0,
                    y: 0.0,
                    w: 1.0,
                    h: 1.0,
                },
                landmarks: [[0.0; 2]; 5],
                patch: None,
                signs: Signs::default(),
                score: None,
            });
        }
        assert_eq!(track.len(), Track::MOST);
        assert_eq!(track.iter().next().unwrap().at, Duration::from_millis(60));
        assert_eq!(track.last().unwrap().at, Duration::from_millis(99));
    }
}
