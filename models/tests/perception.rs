//! The shipped networks on real photos: what is found, what is not, and that damaged network files are refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use facelatch_models::{
    Error,
    align::align,
    embedding::Embedding,
    facenet::Embedder,
    image::{self, Rect, resize_area},
    mtcnn::{Detector, DetectorConfig, Face, main_face},
    net::Net,
    zoo::Zoo,
};

fn photo(name: &str) -> ::image::RgbImage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/demo");
    image::open(&path.join(name)).unwrap()
}

fn zoo() -> Zoo {
    Zoo::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo")).unwrap()
}

fn detector() -> Detector {
    zoo().detector(DetectorConfig::default()).unwrap()
}

#[test]
fn faces_are_found_where_there_are_faces() {
    struct Case {
        photo: &'static str,
        faces: usize,
    }
    let cases = [
        Case {
            photo: "enroll/barack_obama/obama.jpg",
            faces: 1,
        },
        Case {
            photo: "enroll/eileen_collins/astronaut.png",
            faces: 1,
        },
        Case {
            photo: "visitors/biden.jpg",
            faces: 1,
        },
        Case {
            photo: "visitors/chelsea.png",
            faces: 0,
        },
        Case {
            photo: "visitors/rocket.jpg",
            faces: 0,
        },
    ];
    let mut detector = detector();
    let mut wrong = Vec::new();
    for case in cases {
        let found = detector.detect(&photo(case.photo)).unwrap();
        if found.len() != case.faces {
            wrong.push(format!("{}: {found:?}", case.photo));
        }
        for face in found {
            let order = landmarks_out_of_order(&face);
            wrong.extend(order.map(|what| format!("{}: {what} in {face:?}", case.photo)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Upright faces have their eyes above the nose above the mouth, left of right, inside the box.
fn landmarks_out_of_order(face: &Face) -> Option<&'static str> {
    let [left_eye, right_eye, nose, left_mouth, right_mouth] = face.landmarks;
    let rect = face.rect;
    let inside = |[x, y]: [f32; 2]| {
        (rect.x..rect.x + rect.w).contains(&x) && (rect.y..rect.y + rect.h).contains(&y)
    };
    let rules = [
        ("eyes swapped", left_eye[0] < right_eye[0]),
        ("mouth swapped", left_mouth[0] < right_mouth[0]),
        ("nose above an eye", nose[1] > left_eye[1].max(right_eye[1])),
        (
            "mouth above the nose",
            left_mouth[1].min(right_mouth[1]) > nose[1],
        ),
        ("landmark outside", face.landmarks.into_iter().all(inside)),
    ];
    rules
        .iter()
        .find(|(_, holds)| !holds)
        .map(|(what, _)| *what)
}

#[test]
fn a_large_photo_gives_the_boxes_of_a_small_one() {
    let mut detector = detector();
    let small = resize_area(&photo("visitors/obama2.jpg"), 400, 500);
    // Each pixel four times: the same picture, twice the size, over the limit of 640 pixels.
    let large = resize_area(&small, 800, 1000);
    let one = detector.detect(&small).unwrap();
    let two = detector.detect(&large).unwrap();
    let mut found = main_face(&two, &large).unwrap().rect;
    for side in [&mut found.x, &mut found.y, &mut found.w, &mut found.h] {
        *side *= 0.5;
    }
    let expected = main_face(&one, &small).unwrap().rect;
    assert!(found.iou(&expected) > 0.85, "{found:?} {expected:?}");
}

/// Photos of one face each, as a door's camera shows them.
const FRAMED: [&str; 5] = [
    "enroll/barack_obama/obama.jpg",
    "enroll/eileen_collins/astronaut.png",
    "visitors/obama2.jpg",
    "visitors/obama3.jpg",
    "visitors/biden.jpg",
];

fn framed(name: &str) -> ::image::RgbImage {
    let photo = photo(name);
    let height = 400;
    resize_area(&photo, photo.width() * height / photo.height(), height)
}

#[test]
fn a_face_that_is_followed_is_where_a_search_finds_it() {
    let (mut detector, mut embedder) = (detector(), zoo().embedder("facenet").unwrap());
    let mut wrong = Vec::new();
    for name in FRAMED {
        let frame = framed(name);
        let searched = detector.detect(&frame).unwrap();
        let face = main_face(&searched, &frame).unwrap();
        let mut embed = |face: &Face| {
            let crop = align(&frame, face, embedder.crop_spec());
            embedder.embed(&crop).unwrap()
        };
        let expected = embed(face);
        // Where it was a moment ago: shift across and down, and size, in parts of the face.
        for [right, down, size] in [
            [0.0, 0.0, 1.0],
            [0.06, -0.04, 1.0],
            [-0.1, 0.05, 0.95],
            [0.08, 0.08, 1.08],
        ] {
            let Rect { x, y, w, h } = face.rect;
            let place = Rect {
                x: x + right * w,
                y: y + down * h,
                w: w * size,
                h: h * size,
            };
            let followed = detector.follow(&frame, &[place]).unwrap();
            let [found] = followed.as_slice() else {
                wrong.push(format!("{name}: {followed:?} about {place:?}"));
                continue;
            };
            let at = |face: &Face| {
                let Rect { x, y, w, h } = face.rect;
                let points = face.landmarks.iter().flatten().copied();
                [x, y, x + w, y + h]
                    .into_iter()
                    .chain(points)
                    .collect::<Vec<f32>>()
            };
            let off = at(found)
                .into_iter()
                .zip(at(face))
                .map(|(a, b)| (a - b).abs());
            let off = off.fold(0.0, f32::max);
            let apart = embed(found).distance(&expected).unwrap();
            println!(
                "{name}: {:.0} px wide, off by {off:.2} px, {apart:.4} apart",
                face.rect.w
            );
            // O-Net's own scatter from one start to another.
            if off > 3.0 || apart > 0.03 {
                wrong.push(format!("{name}: off by {off} pixels, {apart} apart"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn following_finds_nobody_where_nobody_is() {
    let mut detector = detector();
    let frame = framed("visitors/rocket.jpg");
    let place = |x: f32, side: f32| Rect {
        x,
        y: 100.0,
        w: side,
        h: side,
    };
    let places = [
        place(50.0, 120.0),
        place(f32::NAN, 90.0),
        place(-500.0, 90.0),
        place(0.0, 1e9),
    ];
    assert_eq!(detector.follow(&frame, &places).unwrap(), []);
    assert_eq!(detector.follow(&frame, &[]).unwrap(), []);
    // Half a face away: another place.
    let frame = framed("visitors/biden.jpg");
    let face = detector.detect(&frame).unwrap().remove(0);
    let elsewhere = Rect {
        x: face.rect.x + 2.0 * face.rect.w,
        ..face.rect
    };
    assert_eq!(detector.follow(&frame, &[elsewhere]).unwrap(), []);
}

#[test]
fn embeddings_tell_people_apart() {
    let (mut detector, mut embedder) = (detector(), zoo().embedder("facenet").unwrap());
    let mut embed = |name: &str| embedded(&mut detector, &mut embedder, name);
    let obama = embed("enroll/barack_obama/obama.jpg");
    let collins = embed("enroll/eileen_collins/astronaut.png");
    struct Case(&'static str, bool);
    let cases = [
        Case("visitors/obama2.jpg", true),
        Case("visitors/obama3.jpg", true),
        Case("visitors/biden.jpg", false),
    ];
    for Case(name, same) in cases {
        let [plain, template] = embed(name);
        for probe in [&plain, &template] {
            let length: f32 = probe.values().iter().map(|v| v * v).sum();
            assert!((length - 1.0).abs() < 1e-5);
            let distance = obama[1].distance(probe).unwrap();
            assert_eq!(distance < 0.48, same, "{name}: {distance}");
            assert!(collins[1].distance(probe).unwrap() > 0.6, "{name}");
        }
        assert!(plain.distance(&template).unwrap() < 0.1, "{name}");
    }
}

/// The main face's embedding, plain and as a template.
fn embedded(detector: &mut Detector, embedder: &mut Embedder, name: &str) -> [Embedding; 2] {
    let photo = photo(name);
    let faces = detector.detect(&photo).unwrap();
    let face = main_face(&faces, &photo).unwrap();
    let crop = align(&photo, face, embedder.crop_spec());
    [
        embedder.embed(&crop).unwrap(),
        embedder.embed_template(&crop).unwrap(),
    ]
}

#[test]
fn damaged_networks_are_refused_or_run_but_never_panic() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("zoo/mtcnn-rnet-int8.onnx");
    let good = fs::read(path).unwrap();
    let refused = |bytes: &[u8]| match Net::from_onnx("damaged", bytes) {
        Err(Error::Network { .. }) => true,
        Err(other) => panic!("{other:?}"),
        Ok(mut net) => {
            let pixels = ndarray::Array4::<u8>::zeros((1, 24, 24, 3));
            let _ = net.run(pixels.view());
            false
        }
    };
    assert!(!refused(&good));
    for cut in [0, 1, 10, 1000, good.len() / 2, good.len() - 1] {
        assert!(refused(&good[..cut]), "cut at {cut}");
    }
    // Flipping a byte of the graph's structure, not its weights: names, shapes, links, attributes.
    let mut met = 0;
    for at in (0..good.len()).step_by(good.len() / 120) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        met += usize::from(refused(&bytes));
    }
    assert!(met > 0, "no damage was met at all");
}

#[test]
fn networks_in_each_others_place_are_refused() {
    let net = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo");
        Net::open(&path.join(format!("mtcnn-{name}-int8.onnx"))).unwrap()
    };
    for [p, r, o] in [
        ["rnet", "rnet", "onet"],
        ["pnet", "onet", "rnet"],
        ["pnet", "rnet", "rnet"],
        ["pnet", "pnet", "onet"],
    ] {
        let config = DetectorConfig::default();
        let error = Detector::new(net(p), net(r), net(o), config).err();
        assert!(
            matches!(error, Some(Error::Network { .. })),
            "{p} {r} {o}: {error:?}"
        );
    }
}
