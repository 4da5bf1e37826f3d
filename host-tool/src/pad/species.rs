//! The synthetic species: what is shown to the camera and how it moves while it tries to follow a challenge.
//!
//! | species | what |
//! |---|---|
//! | still, moved, tilted, bent | a print: held still; moved; turned as the head should turn; the same on a cylinder |
//! | screen | a screen with its pixel grid and a dark frame, turned as the head should turn |
//! | swapped | three prints, the head rendered straight and turned, put one in place of the other |
//! | live-looking, live-turning | a head model with the photo's face: looks on; turns as asked |
//!
//! Everything is drawn from one seed: the same seed, photo and order give the same frames. Called by `clip` and the tests.

use std::{
    f64::consts::{PI, TAU},
    time::Duration,
};

use facelatch_models::liveness::challenge::{Challenge, Turn};
use image::{Rgb, RgbImage};
use serde::{Deserialize, Serialize};

use super::{
    head::{Head, Pose},
    scene::{Camera, Extent, Photo, draw},
};
use crate::evaluate::openset::SplitMix64;

/// Frames a second.
pub const FPS: u32 = 8;
/// Width and height of the frames.
pub const FRAME: [u32; 2] = [288, 224];
/// Time before the first turn.
const STRAIGHT_S: f64 = 1.0;

/// A species of clip. Recorded clips may have any other name: see `clip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Species {
    /// A print held perfectly still: only the sensor's noise differs between frames.
    Still,
    /// A print moved to the sides, nearer and farther, and rolled.
    Moved,
    /// A print tilted about the vertical axis by 25 to 60 degrees to each side asked for, and a little about the other.
    Tilted,
    /// A print on a cylinder of 0.7 to 2.5 eye distances' radius, tilted like that.
    Bent,
    /// A screen, tilted by up to 35 degrees.
    Screen,
    /// Prints of the turned head, swapped in.
    Swapped,
    /// A head that looks on.
    LiveLooking,
    /// A head that turns as asked.
    LiveTurning,
}

impl Species {
    /// All, attacks first.
    pub const ALL: [Species; 8] = [
        Species::Still,
        Species::Moved,
        Species::Tilted,
        Species::Bent,
        Species::Screen,
        Species::Swapped,
        Species::LiveLooking,
        Species::LiveTurning,
    ];

    /// Its name, also its folder's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Species::Still => "still",
            Species::Moved => "moved",
            Species::Tilted => "tilted",
            Species::Bent => "bent",
            Species::Screen => "screen",
            Species::Swapped => "swapped",
            Species::LiveLooking => "live-looking",
            Species::LiveTurning => "live-turning",
        }
    }

    /// Whether it stands for a person.
    #[must_use]
    pub fn live(self) -> bool {
        match self {
            Species::LiveLooking | Species::LiveTurning => true,
            Species::Still
            | Species::Moved
            | Species::Tilted
            | Species::Bent
            | Species::Screen
            | Species::Swapped => false,
        }
    }

    /// Whether the challenge says anything about it: a head that was not asked to turn is not measured by it.
    #[must_use]
    pub fn challenged(self) -> bool {
        self != Species::LiveLooking
    }
}

/// Random numbers from a seed.
#[derive(Debug)]
pub struct Dice(SplitMix64);

impl Dice {
    /// Starts at a seed.
    #[must_use]
    pub fn new(seed: u64) -> Dice {
        Dice(SplitMix64::new(seed))
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next()
    }

    /// Between two numbers.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.between(0.0, 1.0) < probability
    }
}

/// One clip to be rendered.
#[derive(Debug)]
pub struct Script {
    species: Species,
    camera: Camera,
    /// Where the asked turn is, from -1 (right) to 1 (left), over time in seconds.
    turns: Vec<(f64, f64)>,
    frames: usize,
    /// How far each side is turned, in degrees, and how far it is tilted about the other axis meanwhile.
    reach: f64,
    lean: f64,
    /// Of the bent print: its radius at rest and turned, negative for hollow.
    radius: [f64; 2],
    extent: Extent,
    head: Head,
    /// Periods and phases of the small movements.
    sway: [[f64; 2]; 6],
    /// How large they are; 1 is a person's.
    unrest: f64,
    grid: Grid,
    backdrop: [f64; 3],
    noise: f64,
    noise_seed: u64,
    flicker: f64,
}

/// A screen's pixel grid.
#[derive(Debug, Clone, Copy)]
struct Grid {
    /// Screen pixels a face unit, across and down.
    pitch: [f64; 2],
    /// How dark the gaps are.
    depth: f64,
}

impl Script {
    /// What is to be seen, for a photo and an order of turns.
    #[must_use]
    pub fn new(
        species: Species,
        photo: &Photo,
        challenge: &Challenge,
        eye_px: f64,
        seed: u64,
    ) -> Script {
        let mut dice = Dice::new(seed);
        let (turns, length) = keyframes(challenge, &mut dice);
        let hollow = dice.chance(0.2);
        let bend = dice.between(0.7, 2.5);
        let bend = if hollow { -(bend + 0.6) } else { bend };
        let constant = dice.chance(0.5);
        // Half of the prints are larger than the camera sees.
        let print = if dice.chance(0.5) { 6.0 } else { 2.6 };
        let extent = match species {
            Species::LiveLooking | Species::LiveTurning => [6.0, 5.0],
            // A hollow print that is wider hides its own face when it is turned.
            Species::Bent if hollow => [1.2, 2.0],
            Species::Bent => [(0.48 * PI * bend).min(print), 3.0],
            Species::Screen => [2.5, 3.0],
            Species::Still | Species::Moved | Species::Tilted | Species::Swapped => [print, print],
        };
        let reach = match species {
            Species::Still | Species::Moved | Species::Swapped | Species::LiveLooking => 0.0,
            Species::Tilted => dice.between(25.0, 60.0),
            Species::Bent => dice.between(20.0, 55.0),
            Species::Screen => dice.between(0.0, 35.0),
            Species::LiveTurning => dice.between(28.0, 40.0),
        };
        let lean = match species {
            Species::Tilted | Species::Bent | Species::Screen => dice.between(-15.0, 15.0),
            Species::LiveTurning => dice.between(-5.0, 5.0),
            Species::Still | Species::Moved | Species::Swapped | Species::LiveLooking => 0.0,
        };
        let centre = [0, 1].map(|i| f64::from(FRAME[i]) / 2.0 + dice.between(-12.0, 12.0));
        Script {
            species,
            camera: Camera {
                size: FRAME,
                centre,
                eye_px,
                off: dice.between(7.0, 14.0),
            },
            turns,
            frames: (length * f64::from(FPS)).ceil() as usize,
            reach,
            lean,
            radius: [if constant { bend } else { bend.signum() * 20.0 }, bend],
            extent,
            head: Head::new(photo.nose(), dice.between(0.34, 0.46)),
            sway: std::array::from_fn(|_| [dice.between(0.9, 3.5), dice.between(0.0, TAU)]),
            unrest: if species == Species::Still {
                0.0
            } else {
                dice.between(0.5, 1.2)
            },
            grid: Grid {
                pitch: [0, 1].map(|_| eye_px * dice.between(0.7, 1.9)),
                depth: dice.between(0.12, 0.4),
            },
            backdrop: std::array::from_fn(|_| dice.between(60.0, 190.0)),
            noise: dice.between(1.5, 3.5),
            noise_seed: dice.bits(),
            flicker: dice.between(0.0, 0.01),
        }
    }

    /// When each frame is taken, from the clip's begin.
    #[must_use]
    pub fn times(&self) -> Vec<Duration> {
        (0..self.frames as u32)
            .map(|i| Duration::from_millis(u64::from(i * 1000 / FPS)))
            .collect()
    }

    /// The frames, in order.
    pub fn frames<'a>(&'a self, photo: &'a Photo) -> impl Iterator<Item = RgbImage> + 'a {
        let shown = self.shown(photo);
        (0..)
            .zip(self.times())
            .map(move |(i, at)| self.frame(&shown, i, self.turn_at(at.as_secs_f64())))
    }

    /// What is held before the camera: the photo, or the prints of the head straight, turned left and turned right.
    pub(super) fn shown(&self, photo: &Photo) -> Vec<Photo> {
        match self.species {
            Species::Swapped => [0.0, 1.0, -1.0]
                .map(|side| self.print_of_turned(photo, side))
                .into(),
            Species::Still
            | Species::Moved
            | Species::Tilted
            | Species::Bent
            | Species::Screen
            | Species::LiveLooking
            | Species::LiveTurning => vec![photo.clone()],
        }
    }

    /// Frame `index` of what is [`Script::shown`], turned by `turn`: from -1, all to the right, to 1.
    pub(super) fn frame(&self, shown: &[Photo], index: u32, turn: f64) -> RgbImage {
        let mut frame = self.backdrop();
        let photo = match shown {
            [_, left, _] if turn > 0.5 => Some(left),
            [_, _, right] if turn < -0.5 => Some(right),
            _ => shown.first(),
        };
        if let Some(photo) = photo {
            let at = f64::from(index) / f64::from(FPS);
            self.draw(&mut frame, photo, at, turn);
        }
        self.sensor(&mut frame, index.into());
        frame
    }

    fn draw(&self, frame: &mut RgbImage, photo: &Photo, t: f64, turn: f64) {
        let sway = |i: usize, size: f64| {
            let [period, phase] = self.sway[i];
            self.unrest * size * (TAU * t / period + phase).sin()
        };
        let shift = [sway(0, 0.04), sway(1, 0.03), sway(2, 0.08)];
        let tremble = Pose {
            yaw: sway(3, 1.5),
            pitch: sway(4, 1.2),
            roll: sway(5, 0.8),
        };
        let pose = Pose {
            yaw: tremble.yaw + self.reach * turn,
            pitch: tremble.pitch + self.lean * turn.abs(),
            roll: tremble.roll,
        };
        let moved = |p: [f64; 3]| [p[0] + shift[0], p[1] + shift[1], p[2] + shift[2]];
        let plain = |_: [f64; 2], colour: [f64; 3]| colour;
        let print = |_: [f64; 2], colour: [f64; 3]| colour.map(|v| 18.0 + 0.88 * v);
        let camera = &self.camera;
        match self.species {
            Species::LiveLooking | Species::LiveTurning => {
                let surface = |on| moved(self.head.surface(on, pose));
                draw(frame, camera, photo, self.extent, surface, plain);
            }
            Species::Still | Species::Tilted | Species::Swapped => {
                let surface = |[x, y]: [f64; 2]| moved(rigid([x, y, 0.0], pose));
                draw(frame, camera, photo, self.extent, surface, print);
            }
            Species::Moved => {
                let pose = Pose {
                    roll: pose.roll + 12.0 * turn,
                    ..pose
                };
                let surface = |[x, y]: [f64; 2]| {
                    let [x, y, z] = moved(rigid([x, y, 0.0], pose));
                    [x + 0.9 * turn, y, z + 1.2 * turn]
                };
                draw(frame, camera, photo, self.extent, surface, print);
            }
            Species::Bent => {
                let curvature = (1.0 - turn.abs()) / self.radius[0] + turn.abs() / self.radius[1];
                let surface = |[x, y]: [f64; 2]| {
                    let angle = x * curvature;
                    let bent = [angle.sin() / curvature, y, (angle.cos() - 1.0) / curvature];
                    moved(rigid(bent, pose))
                };
                draw(frame, camera, photo, self.extent, surface, print);
            }
            Species::Screen => {
                let surface = |[x, y]: [f64; 2]| moved(rigid([x, y, 0.0], pose));
                let shade = |on, colour| self.screen(on, colour);
                draw(frame, camera, photo, self.extent, surface, shade);
            }
        }
    }

    /// A photo of the head turned to a side, for the prints that are swapped.
    fn print_of_turned(&self, photo: &Photo, side: f64) -> Photo {
        let camera = Camera {
            centre: [0, 1].map(|i| f64::from(FRAME[i]) / 2.0),
            ..self.camera
        };
        let pose = Pose {
            yaw: 38.0 * side,
            ..Pose::default()
        };
        let mut frame = self.backdrop();
        let surface = |on| self.head.surface(on, pose);
        draw(&mut frame, &camera, photo, [6.0, 5.0], surface, |_, c| c);
        Photo::rendered(frame, &camera, photo.nose())
    }

    /// Rows and columns of pixels with dark gaps, sampled by the camera's own grid: moire. Dark beyond the picture.
    fn screen(&self, [x, y]: [f64; 2], colour: [f64; 3]) -> [f64; 3] {
        if x.abs() > self.extent[0] - 0.3 || y.abs() > self.extent[1] - 0.3 {
            return [14.0; 3];
        }
        let gap = |place: f64, pitch: f64| 0.5 - 0.5 * (TAU * place * pitch).cos();
        let light = 1.0
            - self.grid.depth * gap(x, self.grid.pitch[0]) * 0.6
            - self.grid.depth * gap(y, self.grid.pitch[1]) * 0.4;
        [0, 1, 2].map(|i| (6.0 + 1.08 * colour[i]) * light * [0.97, 1.0, 1.06][i])
    }

    /// What is behind a print.
    fn backdrop(&self) -> RgbImage {
        RgbImage::from_fn(FRAME[0], FRAME[1], |x, y| {
            let light = 1.0 - 0.3 * f64::from(y) / f64::from(FRAME[1])
                + 0.1 * f64::from(x) / f64::from(FRAME[0]);
            Rgb(self.backdrop.map(|v| (v * light) as u8))
        })
    }

    /// Noise of the sensor and of the light, different in every frame.
    fn sensor(&self, frame: &mut RgbImage, index: u64) {
        let mut dice = Dice::new(self.noise_seed.wrapping_add(index));
        let light = 1.0 + dice.between(-self.flicker, self.flicker);
        for pixel in frame.pixels_mut() {
            // The sum of four uniform numbers is nearly normal; its variance is a third of one's range.
            let bits = dice.bits();
            let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xffff).sum();
            let noise = self.noise * (sum as f64 / 65536.0 - 2.0) * 3.0_f64.sqrt();
            pixel.0 = pixel
                .0
                .map(|v| (f64::from(v) * light + noise).round().clamp(0.0, 255.0) as u8);
        }
    }

    /// Where the turn is at a time: from one keyframe to the next as a head goes, slow at both ends.
    fn turn_at(&self, t: f64) -> f64 {
        let after = self.turns.partition_point(|(at, _)| *at <= t);
        match (
            after.checked_sub(1).and_then(|i| self.turns.get(i)),
            self.turns.get(after),
        ) {
            (Some((t0, a)), Some((t1, b))) => {
                let s = (t - t0) / (t1 - t0);
                a + (b - a) * s * s * (3.0 - 2.0 * s)
            }
            (Some((_, last)), None) => *last,
            (None, _) => 0.0,
        }
    }
}

/// Straight, then each turn: out, held, and on to the next (by way of the middle where it is to the same side).
fn keyframes(challenge: &Challenge, dice: &mut Dice) -> (Vec<(f64, f64)>, f64) {
    let mut t = STRAIGHT_S;
    let mut side: f64 = 0.0;
    let mut keys = vec![(0.0, 0.0), (t, 0.0)];
    for turn in challenge.turns() {
        let next = match turn {
            Turn::Left => 1.0,
            Turn::Right => -1.0,
        };
        if side == next {
            t += dice.between(0.6, 0.9);
            keys.push((t, 0.0));
            t += 0.3;
            keys.push((t, 0.0));
            side = 0.0;
        }
        t += dice.between(0.6, 0.9) * (next - side).abs();
        keys.push((t, next));
        t += dice.between(0.6, 0.9);
        keys.push((t, next));
        side = next;
    }
    (keys, t)
}

/// A flat thing turned about its middle.
fn rigid([x, y, z]: [f64; 3], pose: Pose) -> [f64; 3] {
    let turn = |angle: f64, [a, b]: [f64; 2]| {
        let (s, c) = angle.to_radians().sin_cos();
        [c * a + s * b, c * b - s * a]
    };
    let [x, z] = turn(pose.yaw, [x, z]);
    let [y, z] = turn(pose.pitch, [y, z]);
    let [y, x] = turn(pose.roll, [y, x]);
    [x, y, z]
}
