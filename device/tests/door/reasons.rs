//! Every reason a frame can give: real photos made dark, blurred, far, turned, crowded; each reaches record, events and
//! light, with a hint where one helps.

use facelatch_boards::{
    Pattern,
    sim::{Picture, Visitor},
};
use facelatch_device::audit::What;
use facelatch_models::image::resize_area;
use facelatch_protocol::{EventKind, Prompt, Reason};
use image::{
    Rgb, RgbImage,
    imageops::{blur, replace},
};

use crate::stage::{Stage, photo, show};

fn open(file: &str) -> RgbImage {
    facelatch_models::image::open(&photo(file)).unwrap()
}

fn obama() -> RgbImage {
    let image = open("visitors/obama2.jpg");
    let width = image.width() * 400 / image.height();
    resize_area(&image, width, 400)
}

/// In the middle of a camera's frame.
fn framed(image: &RgbImage) -> RgbImage {
    let mut frame = RgbImage::from_pixel(640, 480, Rgb([110; 3]));
    let (x, y) = ((640 - image.width()) / 2, (480 - image.height()) / 2);
    replace(&mut frame, image, i64::from(x), i64::from(y));
    frame
}

/// Turned in the picture by so many degrees.
fn tilted(image: &RgbImage, degrees: f32) -> RgbImage {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let centre = [image.width() as f32 / 2.0, image.height() as f32 / 2.0];
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let (dx, dy) = (x as f32 - centre[0], y as f32 - centre[1]);
        let (x, y) = (
            centre[0] + cos * dx + sin * dy,
            centre[1] + cos * dy - sin * dx,
        );
        let inside = x >= 0.0 && y >= 0.0;
        let pixel = inside.then(|| image.get_pixel_checked(x as u32, y as u32));
        pixel.flatten().copied().unwrap_or(Rgb([110; 3]))
    })
}

fn lit(image: &RgbImage, factor: f32) -> RgbImage {
    let mut image = image.clone();
    for value in image.iter_mut() {
        *value = (f32::from(*value) * factor) as u8;
    }
    image
}

#[test]
fn each_reason_is_told_everywhere() {
    let mut two = RgbImage::from_pixel(640, 480, Rgb([110; 3]));
    // Two faces of one size.
    for (left, file, height) in [
        (0, "visitors/obama2.jpg", 240),
        (320, "visitors/biden.jpg", 440),
    ] {
        let image = open(file);
        let small = resize_area(&image, image.width() * height / image.height(), height);
        replace(&mut two, &small, left, 0);
    }
    let small = resize_area(&obama(), obama().width() / 3, obama().height() / 3);
    // The face is dark before a bright wall.
    let backlit = framed(&lit(&obama(), 0.15));
    let cases: [(&str, RgbImage, Reason, Option<Prompt>); 8] = [
        ("unknown", open("visitors/biden.jpg"), Reason::Unknown, None),
        (
            "too far",
            framed(&small),
            Reason::TooFar,
            Some(Prompt::ComeNearer),
        ),
        (
            "blurred",
            framed(&blur(&obama(), 6.0)),
            Reason::Blurred,
            Some(Prompt::HoldStill),
        ),
        ("dark face", backlit, Reason::Dark, None),
        ("dark scene", lit(&obama(), 0.03), Reason::Dark, None),
        (
            "tilted",
            framed(&tilted(&obama(), 36.0)),
            Reason::TurnedAway,
            Some(Prompt::LookStraight),
        ),
        ("two faces", two, Reason::SeveralFaces, None),
        ("nobody", framed(&RgbImage::new(1, 1)), Reason::NoFace, None),
    ];
    let mut failures = vec![];
    for (what, frame, reason, hint) in cases {
        let mut stage = Stage::enrolled();
        if what == "too far" {
            stage.config.quality.face_width_min_px = 100.0;
        }
        let device = stage.start();
        let visitor = Visitor {
            picture: Picture::Pixels(frame),
            label: what.to_owned(),
            frames: Some(6),
            brightness: 1.0,
        };
        show(&device, visitor);
        let panel = device.sim().unwrap().panel.clone();
        device.stop();
        device.join().unwrap();
        let mut told = vec![];
        let mut hints = vec![];
        for entry in stage.entries() {
            match entry.what {
                What::Event(EventKind::Decision { reason, .. }) => told.push(reason),
                What::Event(EventKind::Prompt(prompt)) => hints.push(prompt),
                _ => {}
            }
        }
        let shown = panel.shown().iter().any(|s| s.pattern == Pattern::Denied);
        if told.first() != Some(&reason) || hints.first() != hint.as_ref() || !shown {
            failures.push(format!("{what}: {told:?}, {hints:?}, shown {shown}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
