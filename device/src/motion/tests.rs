//! Who wakes the door, and what does not. A person is a patch of another luma, noise is up to two steps each way.

use image::Rgb;

use super::*;

const RULES: Rules = Rules {
    enabled: true,
    luma_change: 8.0,
    cells_share: 0.002,
    awake: Duration::from_secs(2),
    look_every: Duration::from_secs(2),
};
const FRAME: Duration = Duration::from_millis(100);

/// A scene of this luma, with noise that differs from frame to frame.
fn scene(luma: f32, frame: u32) -> RgbImage {
    let mut state = frame.wrapping_mul(2_654_435_761) | 1;
    RgbImage::from_fn(160, 120, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 30) as f32 - 1.5;
        let wall = luma + (x + y) as f32 / 10.0 + noise;
        Rgb([wall.clamp(0.0, 255.0) as u8; 3])
    })
}

/// With somebody whose face is so many pixels large, at x.
fn with_person(mut scene: RgbImage, x: u32, side: u32, luma: u8) -> RgbImage {
    for (px, py, pixel) in scene.enumerate_pixels_mut() {
        if (x..x + side).contains(&px) && (40..40 + side).contains(&py) {
            *pixel = Rgb([luma; 3]);
        }
    }
    scene
}

/// Frames of a scene, ten a second, and those that were searched.
struct Watch {
    motion: Motion,
    frame: u32,
}

impl Watch {
    fn new(rules: Rules) -> Watch {
        Watch {
            motion: Motion::new(rules),
            frame: 0,
        }
    }

    fn see(&mut self, busy: bool, picture: impl FnOnce(u32) -> RgbImage) -> bool {
        let frame = self.frame;
        self.frame += 1;
        self.motion
            .must_search(&picture(frame), busy, frame * FRAME)
    }

    /// How many of so many frames were searched.
    fn searched(&mut self, frames: u32, picture: impl Fn(u32) -> RgbImage) -> u32 {
        (0..frames)
            .map(|_| u32::from(self.see(false, &picture)))
            .sum()
    }
}

fn asleep() -> Watch {
    let mut watch = Watch::new(RULES);
    watch.searched(100, |frame| scene(120.0, frame));
    watch
}

#[test]
fn an_empty_scene_is_searched_now_and_then_only() {
    for luma in [20.0, 120.0, 220.0] {
        let mut watch = Watch::new(RULES);
        assert!(
            watch.see(false, |frame| scene(luma, frame)),
            "the first frame"
        );
        watch.searched(100, |frame| scene(luma, frame));
        let searched = watch.searched(200, |frame| scene(luma, frame));
        assert_eq!(searched, 10, "one in two seconds at {luma}");
    }
}

#[test]
fn the_first_frame_of_a_visit_wakes() {
    // The smallest face that is looked for is 40 px of a 640 px frame: 10 px here.
    let mut failures = vec![];
    for (x, side, luma) in [(0, 10, 90), (75, 10, 160), (149, 11, 200), (50, 60, 100)] {
        for pause in (0..25).step_by(3) {
            let mut watch = asleep();
            watch.searched(pause, |frame| scene(120.0, frame));
            if !watch.see(false, |frame| {
                with_person(scene(120.0, frame), x, side, luma)
            }) {
                failures.push(format!(
                    "{side} px of luma {luma} at {x}, after {pause} frames"
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn whoever_stands_still_is_still_seen() {
    let mut watch = asleep();
    let person = |frame| with_person(scene(120.0, frame), 75, 30, 180);
    assert!(watch.see(false, person));
    // Not found at first (turned away, say), and quite still: usual after a while, and looked for all the same.
    let later: Vec<bool> = (0..1_200).map(|_| watch.see(false, person)).collect();
    assert!(
        later[600..].iter().any(|searched| !searched),
        "it is usual by now"
    );
    for two_seconds in later.chunks(20) {
        assert!(two_seconds.contains(&true));
    }
    // Found: every frame counts.
    assert!((0..100).all(|_| watch.see(true, person)));
    // And when they go, the place where they stood moves.
    assert!(watch.see(false, |frame| scene(120.0, frame)));
}

#[test]
fn daylight_does_not_wake_and_a_lamp_does_not_keep_awake() {
    // From night to day in five minutes.
    let dawn = |frame: u32| scene(30.0 + 150.0 * (frame - 100) as f32 / 3_000.0, frame);
    let mut watch = Watch::new(RULES);
    watch.searched(100, |frame| scene(30.0, frame));
    assert_eq!(watch.searched(3_000, dawn), 150);

    let mut watch = asleep();
    let lit = |frame| scene(200.0, frame);
    assert!(watch.see(false, lit), "a lamp");
    watch.searched(200, lit);
    assert_eq!(watch.searched(200, lit), 10, "twenty seconds later");
}

#[test]
fn it_stays_awake_for_a_while_after_a_movement() {
    let mut watch = asleep();
    // Through the picture in half a second.
    for step in 0..5 {
        assert!(watch.see(false, |frame| with_person(
            scene(120.0, frame),
            step * 25,
            40,
            200
        )));
    }
    assert_eq!(watch.searched(19, |frame| scene(120.0, frame)), 19);
}

#[test]
fn somebody_new_wakes_it_whatever_the_picture_says() {
    let mut watch = asleep();
    watch.searched(1, |frame| scene(120.0, frame));
    watch.motion.wake(watch.frame * FRAME);
    assert_eq!(watch.searched(20, |frame| scene(120.0, frame)), 20);
}

#[test]
fn switched_off_every_frame_is_searched() {
    let mut watch = Watch::new(Rules {
        enabled: false,
        ..RULES
    });
    assert_eq!(watch.searched(50, |frame| scene(120.0, frame)), 50);
}

#[test]
fn a_small_picture_is_the_mean_of_what_is_looked_at() {
    let grey = |value| Small::of(&RgbImage::from_pixel(640, 480, Rgb([value; 3])));
    assert!(grey(77).0.iter().all(|cell| *cell == 77.0));
    // One bright cell, and none of its neighbours.
    let mut frame = RgbImage::new(640, 480);
    for (x, y, pixel) in frame.enumerate_pixels_mut() {
        if x / 8 == 3 && y / 8 == 2 {
            *pixel = Rgb([200; 3]);
        }
    }
    let small = Small::of(&frame);
    let bright: Vec<usize> = (0..COLUMNS * ROWS).filter(|i| small.0[*i] > 0.0).collect();
    assert_eq!(
        (bright, small.0[2 * COLUMNS + 3]),
        (vec![2 * COLUMNS + 3], 200.0)
    );
    // Of any size, even none.
    for (width, height) in [(0, 0), (1, 1), (7, 500), (81, 61), (1_920, 1_080)] {
        let small = Small::of(&RgbImage::from_pixel(width, height, Rgb([9; 3])));
        let want = if width == 0 { 0.0 } else { 9.0 };
        assert!(small.0.iter().all(|cell| *cell == want), "{width}x{height}");
    }
}
