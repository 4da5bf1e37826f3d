//! Calibration inputs: what the networks will see at a door, made from a few photos with known faces.
//!
//! Faces of women and men alike: ranges taken from men's faces alone fail women (cosine 0.68 to float). Each crop also
//! comes mirrored, darker, brighter and blurred, all in integers, so that every machine makes the same inputs.

use image::{Rgb, RgbImage, imageops};

use super::calibrate::Pixels;
use crate::{
    align::{CropSpec, align},
    image::{Region, resize_area, resize_region},
    mtcnn::Face,
};

/// A photo and its faces.
#[derive(Debug)]
pub struct Scene {
    /// Upright photo.
    pub photo: RgbImage,
    /// Its faces, in pixels.
    pub faces: Vec<Face>,
}

/// The crops an embedder sees of a scene's faces.
#[must_use]
pub fn face_crops(scene: &Scene, spec: &CropSpec) -> Vec<RgbImage> {
    let faces = scene.faces.iter();
    faces
        .map(|face| align(&scene.photo, face, spec).0)
        .collect()
}

/// A crop as it is, mirrored, darker, brighter and blurred.
#[must_use]
pub fn variants(crop: &RgbImage) -> [RgbImage; 5] {
    let map = |f: &dyn Fn(u16) -> u16| {
        RgbImage::from_fn(crop.width(), crop.height(), |x, y| {
            Rgb(crop.get_pixel(x, y).0.map(|p| f(p.into()).min(255) as u8))
        })
    };
    [
        crop.clone(),
        imageops::flip_horizontal(crop),
        map(&|p| p * 3 / 5),
        map(&|p| p * 7 / 5),
        blur(crop),
    ]
}

/// The levels of a proposal network's image pyramid.
#[must_use]
pub fn pyramid(photo: &RgbImage) -> Vec<Pixels> {
    const LONGER_SIDE: u32 = 640;
    const WINDOW: u32 = 12;
    let longer = photo.width().max(photo.height());
    let (mut w, mut h) = (photo.width(), photo.height());
    if longer > LONGER_SIDE {
        (w, h) = (w * LONGER_SIDE / longer, h * LONGER_SIDE / longer);
    }
    let mut levels = Vec::new();
    // From the scale at which a face of 24 px fills the window, by 0.7 down.
    (w, h) = (w / 2, h / 2);
    while w.min(h) >= WINDOW {
        levels.push(pixels(&resize_area(photo, w, h)));
        (w, h) = (w * 7 / 10, h * 7 / 10);
    }
    levels
}

/// Squares around the faces, moved and scaled a little, and squares all over the photo, as `side` x `side` inputs.
#[must_use]
pub fn proposals(scene: &Scene, side: u32) -> Vec<Pixels> {
    let mut regions = Vec::new();
    for face in &scene.faces {
        let [cx, cy] = face.rect.centre().map(|c| c as i32);
        let longer = face.rect.w.max(face.rect.h) as i32;
        for size in [longer, longer * 6 / 5] {
            for (dx, dy) in [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)] {
                let (x, y) = (
                    cx - size / 2 + dx * size / 10,
                    cy - size / 2 + dy * size / 10,
                );
                regions.push(Region {
                    x,
                    y,
                    w: size as u32,
                    h: size as u32,
                });
            }
        }
    }
    let (w, h) = (scene.photo.width(), scene.photo.height());
    for size in [w.min(h) / 2, w.min(h) / 5] {
        for y in (0..=h - size).step_by((size * 2) as usize) {
            for x in (0..=w - size).step_by((size * 2) as usize) {
                regions.push(Region {
                    x: x as i32,
                    y: y as i32,
                    w: size,
                    h: size,
                });
            }
        }
    }
    let cut = |&region: &Region| {
        let crop = resize_region(&scene.photo, region, side, side);
        [pixels(&crop), pixels(&imageops::flip_horizontal(&crop))]
    };
    regions.iter().flat_map(cut).collect()
}

/// A picture as a network's input.
#[must_use]
pub fn pixels(picture: &RgbImage) -> Pixels {
    let (w, h) = picture.dimensions();
    Pixels {
        size: [h as usize, w as usize],
        data: picture.as_raw().clone(),
    }
}

/// Three passes of a (1, 2, 1) filter along both axes.
fn blur(picture: &RgbImage) -> RgbImage {
    let (w, h) = picture.dimensions();
    let mut out = picture.clone();
    for _ in 0..3 {
        for (dx, dy) in [(1, 0), (0, 1)] {
            let source = out.clone();
            let at = |x: u32, y: u32, c: usize| u16::from(source.get_pixel(x, y).0[c]);
            for (x, y, pixel) in out.enumerate_pixels_mut() {
                let before = (x.saturating_sub(dx), y.saturating_sub(dy));
                let after = ((x + dx).min(w - 1), (y + dy).min(h - 1));
                for c in 0..3 {
                    let sum = at(before.0, before.1, c) + 2 * at(x, y, c) + at(after.0, after.1, c);
                    pixel.0[c] = ((sum + 2) / 4) as u8;
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_differ_as_their_names_say() {
        let crop = RgbImage::from_fn(8, 8, |x, y| {
            Rgb([(x * 20) as u8, (y * 30) as u8, if x == 3 { 250 } else { 5 }])
        });
        let [same, mirrored, darker, brighter, blurred] = variants(&crop);
        assert_eq!(same, crop);
        assert_eq!(mirrored.get_pixel(0, 2), crop.get_pixel(7, 2));
        assert_eq!(darker.get_pixel(5, 5).0, [60, 90, 3]);
        assert_eq!(brighter.get_pixel(3, 7).0, [84, 255, 255]);
        assert!(blurred.get_pixel(3, 4).0[2] < 200 && blurred.get_pixel(2, 4).0[2] > 5);
    }

    #[test]
    fn pyramid_stops_at_the_window() {
        let levels = pyramid(&RgbImage::new(1280, 960));
        assert_eq!(levels[0].size, [240, 320]);
        assert!(
            levels
                .iter()
                .all(|l| l.size[0] >= 12 && l.data.len() == l.size[0] * l.size[1] * 3)
        );
        assert!(levels.last().is_some_and(|l| l.size[0] * 7 / 10 < 12));
    }
}
