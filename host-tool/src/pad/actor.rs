//! A synthetic visitor of a simulated door who follows its light: the same heads and prints as in clips, without a script.
//!
//! Called by `demo` and the tests. What it shows is rendered: it says what the door does, not how it fares against people.

use facelatch_boards::{
    Pattern,
    sim::{self, Moving},
};
use facelatch_models::liveness::challenge::{Challenge, Turn};
use image::RgbImage;

use super::{
    scene::Photo,
    species::{FPS, Script, Species},
};

/// From straight ahead to all the way, in seconds.
const TURN_S: f64 = 0.7;
/// Pixels between the eyes.
pub const EYE_PX: f64 = 40.0;

/// Somebody, or something, before the camera.
#[derive(Debug)]
pub struct Actor {
    script: Script,
    shown: Vec<Photo>,
    turn: f64,
    frames: u32,
}

impl Actor {
    /// A species made of a photo; the same seed gives the same frames.
    #[must_use]
    pub fn new(species: Species, photo: &Photo, seed: u64) -> Actor {
        // The order of turns is the door's.
        let script = Script::new(species, photo, &Challenge::draw(2, seed), EYE_PX, seed);
        Actor {
            shown: script.shown(photo),
            script,
            turn: 0.0,
            frames: 0,
        }
    }

    /// The next frame, an eighth of a second after the last, of somebody who is asked to turn, or to look straight ahead.
    pub fn frame(&mut self, asked: Option<Turn>) -> RgbImage {
        let goal = match asked {
            Some(Turn::Left) => 1.0,
            Some(Turn::Right) => -1.0,
            None => 0.0,
        };
        let most = 1.0 / (TURN_S * f64::from(FPS));
        self.turn += (goal - self.turn).clamp(-most, most);
        let frame = self.script.frame(&self.shown, self.frames, self.turn);
        self.frames += 1;
        frame
    }

    /// This actor before a door, doing as its light asks.
    #[must_use]
    pub fn obeying(mut self, panel: &sim::Panel) -> Moving {
        let panel = panel.clone();
        Moving::new(move || Some(self.frame(asked(&panel))))
    }
}

/// The turn that a door's light asks for.
#[must_use]
pub fn asked(panel: &sim::Panel) -> Option<Turn> {
    match panel.shown().last().map(|shown| shown.pattern) {
        Some(Pattern::TurnLeft) => Some(Turn::Left),
        Some(Pattern::TurnRight) => Some(Turn::Right),
        Some(_) | None => None,
    }
}
