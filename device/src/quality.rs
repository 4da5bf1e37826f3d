//! Is this frame, and the face in it, good enough to be judged? If not, why: dark, bright, blurred, too small, turned
//! away, half visible, or several faces at once. Pure. Called by `run` and `enroll`.
//!
//! The checks go from cheap to dear and the first that fails is the reason; a dark scene is refused before detection.

use facelatch_models::{
    image::{Rect, resize_area},
    mtcnn::Face,
};
use image::{RgbImage, imageops};

/// What passes; from `device.toml`. Luma is 0 to 255, angles are degrees, faces are measured by their detector box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// A scene is dark if less than 2 % of its pixels are brighter than this.
    pub scene_luma: u8,
    /// Least mean luma of a face.
    pub face_luma_min: f32,
    /// Largest mean luma of a face.
    pub face_luma_max: f32,
    /// Least width of a face in pixels.
    pub face_px: f32,
    /// Least sharpness: see [`Measures::sharpness`].
    pub sharpness: f32,
    /// Largest turn of the head to either side.
    pub yaw_deg: f32,
    /// Largest turn of the head up or down.
    pub pitch_deg: f32,
    /// Largest tilt of the head.
    pub roll_deg: f32,
    /// Least share of the face's box inside the frame.
    pub inside: f32,
    /// What several faces mean.
    pub several: Several,
    /// The nearest face dominates if it is so many times larger than any other, by area.
    pub dominance: f32,
    /// A face is near the door, as the nearest is, if it has this share of the nearest's area.
    pub near_share: f32,
}

/// What to do with several faces in one frame. A face that is not near (see [`Limits::near_share`]) never counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Several {
    /// The nearest alone if it dominates; else everybody near has to be known.
    NearestOrKnown,
    /// The nearest alone if it dominates; else nobody.
    Nearest,
    /// Everybody near has to be known, even where one dominates.
    AllKnown,
    /// Nobody, if a second face is near.
    Refuse,
}

/// The faces that a frame is about, by their places in the detector's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// There is none.
    Nobody,
    /// This one.
    One(usize),
    /// These, the nearest first: each has to be known.
    Together(Vec<usize>),
    /// None of these, the nearest first: they are several.
    Refused(Vec<usize>),
}

/// Why a face is not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The scene or the face has too little light.
    Dark,
    /// The face has too much light.
    Bright,
    /// The face is not sharp.
    Blurred,
    /// The face is too far away.
    TooSmall,
    /// The face looks elsewhere, or is tilted.
    TurnedAway,
    /// Part of the face is outside the frame.
    HalfVisible,
    /// Several faces, none of them clearly the nearest.
    SeveralFaces,
}

/// What was measured of a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measures {
    /// Share of the box inside the frame, in [0, 1].
    pub inside: f32,
    /// Mean luma of the box, Rec. 601.
    pub luma: f32,
    /// Variance of the Laplacian over variance of the luma, of the box scaled to 64 x 64 px: independent of the face's
    /// size and contrast. Sharp photos have 0.1 to 0.9; a Gaussian blur of 2 % of the face's width gives about 0.07.
    pub sharpness: f32,
    /// Turn of the head to the side; 0 looks into the camera.
    pub yaw_deg: f32,
    /// Turn of the head up (positive) or down.
    pub pitch_deg: f32,
    /// Tilt of the head.
    pub roll_deg: f32,
}

/// Whether a scene is too dark to look for faces.
#[must_use]
pub fn scene_is_dark(frame: &RgbImage, limits: &Limits) -> bool {
    let bright = frame
        .pixels()
        .filter(|p| luma(p.0) > f32::from(limits.scene_luma))
        .count();
    bright * 50 < frame.pixels().len()
}

/// The faces a frame is about: the nearest, which is the largest, and those that count beside it.
#[must_use]
pub fn choose(faces: &[Face], limits: &Limits) -> Choice {
    let area = |i: usize| faces[i].rect.area();
    let mut by_area: Vec<usize> = (0..faces.len()).collect();
    by_area.sort_by(|&a, &b| area(b).total_cmp(&area(a)));
    let Some(&nearest) = by_area.first() else {
        return Choice::Nobody;
    };
    let others = &by_area[1..];
    let dominates = others
        .iter()
        .all(|&other| area(nearest) >= area(other) * limits.dominance);
    by_area.retain(|&face| area(face) >= area(nearest) * limits.near_share);
    let alone = by_area.len() == 1;
    match limits.several {
        Several::Nearest | Several::NearestOrKnown if dominates => Choice::One(nearest),
        Several::NearestOrKnown | Several::AllKnown | Several::Refuse if alone => {
            Choice::One(nearest)
        }
        Several::NearestOrKnown | Several::AllKnown => Choice::Together(by_area),
        Several::Nearest | Several::Refuse => Choice::Refused(by_area),
    }
}

/// Whether a face is good enough to be judged.
///
/// # Errors
/// The first [`Reason`] found.
pub fn check(frame: &RgbImage, face: &Face, limits: &Limits) -> Result<Measures, Reason> {
    if face.rect.w < limits.face_px {
        return Err(Reason::TooSmall);
    }
    let measures = measure(frame, face).ok_or(Reason::HalfVisible)?;
    if measures.inside < limits.inside || !landmarks_inside(frame, face) {
        return Err(Reason::HalfVisible);
    }
    if measures.luma < limits.face_luma_min {
        return Err(Reason::Dark);
    }
    if measures.luma > limits.face_luma_max {
        return Err(Reason::Bright);
    }
    let within = |angle: f32, limit: f32| angle.abs() <= limit;
    if !within(measures.yaw_deg, limits.yaw_deg)
        || !within(measures.pitch_deg, limits.pitch_deg)
        || !within(measures.roll_deg, limits.roll_deg)
    {
        return Err(Reason::TurnedAway);
    }
    if measures.sharpness < limits.sharpness {
        return Err(Reason::Blurred);
    }
    Ok(measures)
}

/// Measures a face; `None` if its box is wholly outside the frame.
#[must_use]
pub fn measure(frame: &RgbImage, face: &Face) -> Option<Measures> {
    let (x, y, w, h) = visible(&face.rect, frame)?;
    let cut = imageops::crop_imm(frame, x, y, w, h).to_image();
    let lumas: Vec<f32> = cut.pixels().map(|p| luma(p.0)).collect();
    let [yaw_deg, pitch_deg, roll_deg] = pose(&face.landmarks);
    Some(Measures {
        inside: (w as f32 * h as f32 / (face.rect.w * face.rect.h)).min(1.0),
        luma: mean(&lumas),
        sharpness: sharpness(&cut),
        yaw_deg,
        pitch_deg,
        roll_deg,
    })
}

/// The visible part of a rectangle in whole pixels: x, y, width, height.
fn visible(rect: &Rect, frame: &RgbImage) -> Option<(u32, u32, u32, u32)> {
    let clip = |from: f32, len: f32, limit: u32| {
        let start = from.round().clamp(0.0, limit as f32);
        let end = (from + len).round().clamp(0.0, limit as f32);
        // Both are whole numbers between 0 and a picture's width or height.
        (start as u32, (end - start).max(0.0) as u32)
    };
    let (x, w) = clip(rect.x, rect.w, frame.width());
    let (y, h) = clip(rect.y, rect.h, frame.height());
    (w > 0 && h > 0).then_some((x, y, w, h))
}

fn landmarks_inside(frame: &RgbImage, face: &Face) -> bool {
    let (w, h) = (frame.width() as f32, frame.height() as f32);
    face.landmarks
        .iter()
        .all(|[x, y]| (0.0..w).contains(x) && (0.0..h).contains(y))
}

fn luma([r, g, b]: [u8; 3]) -> f32 {
    0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len().max(1) as f32
}

fn variance(values: &[f32]) -> f32 {
    let mean = mean(values);
    values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len().max(1) as f32
}

/// Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000 (variance of the Laplacian), divided by
/// the variance of the picture. A flat picture has none.
fn sharpness(cut: &RgbImage) -> f32 {
    const SIDE: usize = 64;
    let small = resize_area(cut, SIDE as u32, SIDE as u32);
    let g: Vec<f32> = small.pixels().map(|p| luma(p.0)).collect();
    let mut laplacian = Vec::with_capacity((SIDE - 2) * (SIDE - 2));
    for y in 1..SIDE - 1 {
        for x in 1..SIDE - 1 {
            let i = y * SIDE + x;
            laplacian.push(g[i - 1] + g[i + 1] + g[i - SIDE] + g[i + SIDE] - 4.0 * g[i]);
        }
    }
    variance(&laplacian) / variance(&g).max(1.0)
}

/// Yaw, pitch and roll in degrees from five landmarks.
///
/// A head with eyes one unit apart, the nose's tip half a unit in front of the eyes' plane, and the mouth below: turning
/// moves the tip against the line from the eyes' middle to the mouth's middle. The tip stands at 0.545 of that line
/// when a head looks into the camera (median of 100 photos). Degenerate landmarks count as turned away.
fn pose(landmarks: &[[f32; 2]; 5]) -> [f32; 3] {
    const NOSE_DEPTH: f32 = 0.5;
    const NOSE_AT: f32 = 0.545;
    const NOSE_DEPTH_PER_FACE: f32 = 0.45;
    let [left_eye, right_eye, nose, mouth_left, mouth_right] = *landmarks;
    let middle = |a: [f32; 2], b: [f32; 2]| [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
    let minus = |a: [f32; 2], b: [f32; 2]| [a[0] - b[0], a[1] - b[1]];
    let dot = |a: [f32; 2], b: [f32; 2]| a[0] * b[0] + a[1] * b[1];

    let across = minus(right_eye, left_eye);
    let apart = across[0].hypot(across[1]);
    let eyes = middle(left_eye, right_eye);
    let right = [across[0] / apart, across[1] / apart];
    let down = [-right[1], right[0]];
    let face = minus(middle(mouth_left, mouth_right), eyes);
    let length = dot(face, down);
    let to_nose = minus(nose, eyes);
    let along = dot(to_nose, down) / length;
    let aside = (dot(to_nose, right) - along * dot(face, right)) / apart;
    let angles = [
        (aside / NOSE_DEPTH).atan().to_degrees(),
        ((NOSE_AT - along) / NOSE_DEPTH_PER_FACE)
            .atan()
            .to_degrees(),
        across[1].atan2(across[0]).to_degrees(),
    ];
    if length > 0.0 && angles.iter().all(|a| a.is_finite()) {
        angles
    } else {
        [90.0; 3]
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::config::Config;

    fn limits() -> Limits {
        Config::default().limits()
    }

    /// A frontal face: landmarks where a detector puts them in a box of this size.
    fn face(rect: Rect) -> Face {
        let at = |x: f32, y: f32| [rect.x + x * rect.w, rect.y + y * rect.h];
        Face {
            rect,
            score: 1.0,
            landmarks: [
                at(0.28, 0.38),
                at(0.72, 0.38),
                at(0.5, 0.58),
                at(0.32, 0.75),
                at(0.68, 0.75),
            ],
        }
    }

    fn rect(x: f32, y: f32, w: f32, h: f32) -> Rect {
        Rect { x, y, w, h }
    }

    /// Stripes of this width, between two lumas: sharp when narrow.
    fn frame(stripe: u32, low: u8, high: u8) -> RgbImage {
        RgbImage::from_fn(640, 480, |x, y| {
            Rgb([if (x / stripe + y / stripe).is_multiple_of(2) {
                low
            } else {
                high
            }; 3])
        })
    }

    struct Case {
        what: &'static str,
        frame: RgbImage,
        face: Face,
        expected: Option<Reason>,
    }

    #[test]
    fn each_flaw_has_its_reason() {
        let good = rect(200.0, 100.0, 120.0, 160.0);
        let mut turned = face(good);
        turned.landmarks[2][0] += 0.25 * good.w;
        let mut tilted = face(good);
        tilted.landmarks[1][1] += 0.4 * good.h;
        let mut degenerate = face(good);
        degenerate.landmarks = [[260.0, 180.0]; 5];
        let mut looking_up = face(good);
        looking_up.landmarks[2][1] -= 0.16 * good.h;
        let cases = [
            Case {
                what: "good",
                frame: frame(8, 60, 190),
                face: face(good),
                expected: None,
            },
            Case {
                what: "dark",
                frame: frame(8, 5, 30),
                face: face(good),
                expected: Some(Reason::Dark),
            },
            Case {
                what: "bright",
                frame: frame(8, 235, 255),
                face: face(good),
                expected: Some(Reason::Bright),
            },
            Case {
                what: "flat",
                frame: frame(640, 90, 90),
                face: face(good),
                expected: Some(Reason::Blurred),
            },
            Case {
                what: "far",
                frame: frame(8, 60, 190),
                face: face(rect(200.0, 100.0, 30.0, 40.0)),
                expected: Some(Reason::TooSmall),
            },
            Case {
                what: "turned",
                frame: frame(8, 60, 190),
                face: turned,
                expected: Some(Reason::TurnedAway),
            },
            Case {
                what: "looking up",
                frame: frame(8, 60, 190),
                face: looking_up,
                expected: Some(Reason::TurnedAway),
            },
            Case {
                what: "tilted",
                frame: frame(8, 60, 190),
                face: tilted,
                expected: Some(Reason::TurnedAway),
            },
            Case {
                what: "degenerate",
                frame: frame(8, 60, 190),
                face: degenerate,
                expected: Some(Reason::TurnedAway),
            },
            Case {
                what: "over the left edge",
                frame: frame(8, 60, 190),
                face: face(rect(-20.0, 100.0, 120.0, 160.0)),
                expected: Some(Reason::HalfVisible),
            },
            Case {
                what: "over the lower edge",
                frame: frame(8, 60, 190),
                face: face(rect(200.0, 400.0, 120.0, 160.0)),
                expected: Some(Reason::HalfVisible),
            },
            Case {
                what: "outside",
                frame: frame(8, 60, 190),
                face: face(rect(900.0, 400.0, 120.0, 160.0)),
                expected: Some(Reason::HalfVisible),
            },
        ];
        let mut failures = vec![];
        for case in cases {
            let found = check(&case.frame, &case.face, &limits()).err();
            if found != case.expected {
                failures.push(format!("{}: {found:?}", case.what));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn a_dark_scene_is_told_from_a_lit_face_in_the_night() {
        let night = RgbImage::from_pixel(640, 480, Rgb([4, 4, 6]));
        assert!(scene_is_dark(&night, &limits()));
        let mut lit = night;
        for (x, y) in (200..300).flat_map(|x| (100..230).map(move |y| (x, y))) {
            lit.put_pixel(x, y, Rgb([120, 100, 90]));
        }
        assert!(!scene_is_dark(&lit, &limits()));
        assert!(scene_is_dark(&RgbImage::new(1, 1), &limits()));
    }

    #[test]
    fn several_faces_are_judged_as_the_settings_say() {
        let near = face(rect(0.0, 0.0, 200.0, 200.0));
        let behind = face(rect(300.0, 0.0, 120.0, 120.0));
        let far = face(rect(300.0, 0.0, 60.0, 60.0));
        let beside = face(rect(300.0, 0.0, 190.0, 190.0));
        let one = Choice::One;
        let both = || Choice::Together(vec![1, 0]);
        let refused = |faces: [usize; 2]| Choice::Refused(faces.into());
        use Several::{AllKnown, Nearest, NearestOrKnown, Refuse};
        let all = [NearestOrKnown, Nearest, AllKnown, Refuse];
        // The faces, and what each setting makes of them.
        let cases = [
            (vec![], [(); 4].map(|()| Choice::Nobody)),
            (vec![near.clone()], [(); 4].map(|()| one(0))),
            (vec![far.clone(), near.clone()], [(); 4].map(|()| one(1))),
            (
                vec![behind, near.clone()],
                [one(1), one(1), both(), refused([1, 0])],
            ),
            (
                vec![beside.clone(), near.clone()],
                [both(), refused([1, 0]), both(), refused([1, 0])],
            ),
            (
                vec![far, near, beside],
                [
                    Choice::Together(vec![1, 2]),
                    refused([1, 2]),
                    Choice::Together(vec![1, 2]),
                    refused([1, 2]),
                ],
            ),
        ];
        let mut failures = vec![];
        for (faces, choices) in cases {
            for (several, expected) in all.into_iter().zip(choices) {
                let limits = Limits {
                    several,
                    ..limits()
                };
                let found = choose(&faces, &limits);
                if found != expected {
                    let sides: Vec<f32> = faces.iter().map(|face| face.rect.w).collect();
                    failures.push(format!("{several:?} of {sides:?}: {found:?}"));
                }
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
