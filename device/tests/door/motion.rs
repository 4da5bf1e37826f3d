//! An idle door that looks at a small picture only lets people in as soon as one that searches every frame.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use facelatch_boards::{
    Latch,
    sim::{Moving, Picture, Visitor},
};
use image::{Rgb, RgbImage};

use crate::stage::{Stage, photo, show};

/// Longer than a door stays awake, and between two of its looks.
const EMPTY: u32 = 55;
/// More than a grant takes.
const THERE: u32 = 12;

/// Somebody comes after a while, in a scene that was empty: the number of the frame that unlocks.
fn unlocked_at(enabled: bool) -> u32 {
    let mut stage = Stage::enrolled();
    stage.config.motion.enabled = enabled;
    let device = stage.start();
    let person = facelatch_models::image::open(&photo("visitors/obama2.jpg")).unwrap();
    let empty = RgbImage::from_pixel(person.width(), person.height(), Rgb([120, 118, 110]));
    let frames = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&frames);
    let moving = Moving::new(move || match count.fetch_add(1, Ordering::SeqCst) {
        0..EMPTY => Some(empty.clone()),
        at if at < EMPTY + THERE => Some(person.clone()),
        _ => None,
    });
    let unlocked = Arc::new(AtomicU32::new(0));
    let witness = Arc::clone(&unlocked);
    device.sim().unwrap().relay.witnessed_by(move |edge| {
        if edge.latch == Latch::Unlocked {
            witness.store(frames.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    });
    // One label all along: the picture alone says that somebody has come.
    show(
        &device,
        Visitor {
            picture: Picture::Moving(moving),
            label: "somebody".to_owned(),
            frames: None,
            brightness: 1.0,
        },
    );
    unlocked.load(Ordering::SeqCst)
}

#[test]
fn whoever_comes_to_an_idle_door_waits_no_frame_longer() {
    let searching = unlocked_at(false);
    assert!(searching > EMPTY, "let in");
    assert_eq!(unlocked_at(true), searching);
}
