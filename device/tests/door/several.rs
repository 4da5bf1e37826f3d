//! Several people before the door at once: who counts, and that somebody who joins the enrolled in time is not overlooked.

use facelatch_boards::sim::{Moving, Picture, Visitor};
use facelatch_device::quality::Several;
use facelatch_models::image::resize_area;
use facelatch_protocol::Reason;
use image::{Rgb, RgbImage, imageops::replace};

use crate::stage::{Stage, Visit, latch, photo, show, was_unlocked};

const OBAMA: &str = "visitors/obama2.jpg";
const BIDEN: &str = "visitors/biden.jpg";
pub(crate) const COLLINS: &str = "enroll/eileen_collins/astronaut.png";

/// Two faces of one size.
const BESIDE: [(&str, u32); 2] = [(OBAMA, 240), (BIDEN, 440)];

/// A photo, so high.
fn scaled(file: &str, height: u32) -> RgbImage {
    let image = facelatch_models::image::open(&photo(file)).unwrap();
    let width = (image.width() * height / image.height()).max(1);
    resize_area(&image, width, height)
}

/// Photos side by side in a camera's frame.
pub(crate) fn scene(people: &[(&str, u32)]) -> RgbImage {
    let mut frame = RgbImage::from_pixel(640, 480, Rgb([110; 3]));
    let mut left = 0;
    for (file, height) in people {
        let photo = scaled(file, *height);
        replace(&mut frame, &photo, left, 0);
        left += i64::from(photo.width());
    }
    frame
}

pub(crate) fn visitor(label: &str, frame: RgbImage) -> Visitor {
    Visitor {
        picture: Picture::Pixels(frame),
        label: label.to_owned(),
        frames: Some(8),
        brightness: 1.0,
    }
}

/// The decisions about one visit with these settings, and whether the door opened.
fn decided(several: Several, people: &[(&str, u32)]) -> (Vec<Visit>, bool) {
    let mut stage = Stage::enrolled();
    stage.config.quality.several_faces = several;
    let device = stage.start();
    show(&device, visitor("several", scene(people)));
    let opened = was_unlocked(&latch(&device));
    device.stop();
    device.join().unwrap();
    (stage.visits(), opened)
}

#[test]
fn several_faces_are_treated_as_the_settings_say() {
    use Several::{AllKnown, Nearest, NearestOrKnown, Refuse};
    let beside_a_stranger = BESIDE;
    let before_a_stranger = [(OBAMA, 420), (BIDEN, 400)];
    let both_known = [(OBAMA, 300), (COLLINS, 440)];
    type People = [(&'static str, u32)];
    let cases: [(Several, &People, bool, Reason); 9] = [
        (
            NearestOrKnown,
            &beside_a_stranger,
            false,
            Reason::SeveralFaces,
        ),
        (NearestOrKnown, &before_a_stranger, true, Reason::Granted),
        (NearestOrKnown, &both_known, true, Reason::Granted),
        (Nearest, &beside_a_stranger, false, Reason::SeveralFaces),
        (Nearest, &before_a_stranger, true, Reason::Granted),
        (AllKnown, &beside_a_stranger, false, Reason::SeveralFaces),
        (AllKnown, &before_a_stranger, false, Reason::SeveralFaces),
        (AllKnown, &both_known, true, Reason::Granted),
        (Refuse, &both_known, false, Reason::SeveralFaces),
    ];
    let mut failures = vec![];
    for (several, people, opens, reason) in cases {
        let (visits, opened) = decided(several, people);
        let told = visits
            .iter()
            .any(|(granted, why, _)| (*granted, *why) == (opens, reason));
        let others = visits.iter().any(|(granted, ..)| *granted != opens);
        if opened != opens || !told || others {
            failures.push(format!(
                "{several:?} {people:?}: opened {opened}, {visits:?}"
            ));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn whoever_joins_in_the_frame_that_would_grant_is_seen() {
    // Two frames alone, then a stranger beside: the third frame alone would have been a grant.
    let stage = Stage::enrolled();
    let device = stage.start();
    let (alone, joined) = (scene(&BESIDE[..1]), scene(&BESIDE));
    let mut frames = 0;
    let who = Moving::new(move || {
        frames += 1;
        Some(if frames <= 2 { &alone } else { &joined }.clone())
    });
    let visitor = Visitor {
        frames: Some(10),
        ..Visitor::moving("joined", who)
    };
    show(&device, visitor);
    assert!(!was_unlocked(&latch(&device)));
    device.stop();
    device.join().unwrap();
    let visits = stage.visits();
    assert!(
        !visits.is_empty() && visits.iter().all(|(granted, ..)| !granted),
        "{visits:?}"
    );
}
