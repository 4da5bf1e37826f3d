//! Somebody who holds still for a camera and turns the head as asked: frames of a photo's face on the head model.
//!
//! Synthetic, as everything here. Stands in for a newcomer who is led through the poses of an enrollment at the door.
//! Called by the demo and the tests.

use facelatch_boards::{
    Pattern,
    sim::{self, Moving},
};
use facelatch_models::mtcnn::Face;
use image::RgbImage;

use super::{
    head::{Head, Pose},
    scene::{Camera, Photo, draw},
};

/// Width and height of the frames.
pub const FRAME: [u32; 2] = [640, 480];
/// Between the eyes, in pixels.
const EYE_PX: f64 = 64.0;
/// From the camera, in eye distances.
const OFF: f64 = 10.0;
/// Of the nose's tip before eyes and mouth, in eye distances: between the smallest and the largest in use elsewhere here.
const NOSE_DEPTH: f64 = 0.4;

/// What a light asks for, and how far the head is turned to its left and down for it.
const POSES: [(Pattern, f64, f64); 5] = [
    (Pattern::LookStraight, 0.0, 0.0),
    (Pattern::TurnLeft, 20.0, 0.0),
    (Pattern::TurnRight, -20.0, 0.0),
    (Pattern::LookUp, 0.0, -14.0),
    (Pattern::LookDown, 0.0, 14.0),
];

/// A face and its head.
#[derive(Debug, Clone)]
pub struct Sitter {
    photo: Photo,
    head: Head,
}

impl Sitter {
    /// The face of a photo; `None` without landmarks that make one.
    #[must_use]
    pub fn new(image: &RgbImage, face: &Face) -> Option<Sitter> {
        let photo = Photo::new(image, face, EYE_PX)?;
        Some(Sitter {
            head: Head::new(photo.nose(), NOSE_DEPTH),
            photo,
        })
    }

    /// A frame of the head held like this.
    #[must_use]
    pub fn frame(&self, pose: Pose) -> RgbImage {
        let [width, height] = FRAME;
        let mut frame = RgbImage::new(width, height);
        let camera = Camera {
            size: FRAME,
            centre: FRAME.map(|side| f64::from(side) / 2.0),
            eye_px: EYE_PX,
            off: OFF,
        };
        // A little more than the frame shows.
        let extent = FRAME.map(|side| 0.6 * f64::from(side) / EYE_PX);
        let surface = |on| self.head.surface(on, pose);
        draw(&mut frame, &camera, &self.photo, extent, surface, |_, c| c);
        frame
    }

    /// Somebody before a door who holds the head as its light asks, and goes when it asks for nothing any more.
    #[must_use]
    pub fn obeying(self, panel: &sim::Panel) -> Moving {
        let panel = panel.clone();
        Moving::new(move || Some(self.frame(asked(&panel)?)))
    }
}

/// How a head is held that does what a door's light asks for.
#[must_use]
pub fn asked(panel: &sim::Panel) -> Option<Pose> {
    let light = panel.shown().last()?.pattern;
    let pose = POSES.into_iter().find(|(pattern, ..)| *pattern == light);
    pose.map(|(_, yaw, pitch)| Pose {
        yaw,
        pitch,
        roll: 0.0,
    })
}
