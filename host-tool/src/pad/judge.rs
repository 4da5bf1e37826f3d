//! What each level makes of a clip: detection on every frame, one track, the challenge and the passive cues.
//!
//! A clip is one try. Level `off` takes every face, `passive` what no cue speaks against enough, `challenge` what turned as
//! asked. A clip without a face passes nowhere. Called by `pad report` and the tests.

use std::time::Duration;

use facelatch_models::{
    Error,
    liveness::{
        Level, Observation, Track,
        challenge::{Challenge, Failure, Look, State, step},
        network::LivenessNet,
        passive::{Cues, cues},
    },
    mtcnn::{Detector, main_face},
};
use image::RgbImage;
use serde::Serialize;

/// How the challenge ended on a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// The head turned as asked.
    Passed,
    /// The clip was over first.
    Unfinished,
    /// It failed.
    Failed(Failure),
}

/// What was made of one clip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Frames with a face.
    pub faces: usize,
    /// The passive cues; `None` with too few faces.
    pub cues: Option<Cues>,
    /// How the challenge ended; `None` if the clip has none.
    pub challenge: Option<Ended>,
}

impl Outcome {
    /// Whether a level lets the clip pass; `None` if it was not measured.
    #[must_use]
    pub fn passes(&self, level: Level) -> Option<bool> {
        match level {
            Level::Off => Some(self.faces > 0),
            Level::Passive => Some(self.cues.is_some_and(|cues| cues.live())),
            Level::Challenge => self.challenge.map(|ended| ended == Ended::Passed),
        }
    }
}

/// The networks that look at a clip.
#[derive(Debug)]
pub struct Eyes {
    /// Finds faces.
    pub detector: Detector,
    /// Scores them, where somebody brought such a network.
    pub liveness: Option<LivenessNet>,
}

impl Eyes {
    fn look(&mut self, at: Duration, frame: &RgbImage) -> Result<Option<Observation>, Error> {
        let found = self.detector.detect(frame)?;
        let Some(face) = main_face(&found, frame) else {
            return Ok(None);
        };
        let score = |network: &mut LivenessNet| network.score(frame, face);
        let score = self.liveness.as_mut().map(score).transpose()?;
        Ok(Some(Observation::new(at, frame, face).scored(score)))
    }
}

/// Judges the frames of a clip, each with its time.
///
/// # Errors
/// What reading a frame gives, or [`Error::Inference`].
pub fn judge<E: From<Error>>(
    eyes: &mut Eyes,
    frames: impl Iterator<Item = (Duration, Result<RgbImage, E>)>,
    challenge: Option<&Challenge>,
) -> Result<Outcome, E> {
    let mut track = Track::new();
    let mut faces = 0;
    let mut state = State::begin(Duration::ZERO);
    for (at, frame) in frames {
        let seen = eyes.look(at, &frame?)?;
        if let Some(challenge) = challenge {
            // Who it is, is not measured here: every look counts as the person's.
            let look = seen.as_ref().map(|seen| Look {
                seen,
                same: Some(true),
            });
            state = step(challenge, state, look, at);
        }
        if let Some(seen) = seen {
            faces += 1;
            track.push(seen);
        }
    }
    let ended = match state {
        State::Passed => Ended::Passed,
        State::Failed(why) => Ended::Failed(why),
        State::Straight { .. } | State::Turning(_) => Ended::Unfinished,
    };
    Ok(Outcome {
        faces,
        cues: cues(&track),
        challenge: challenge.map(|_| ended),
    })
}
