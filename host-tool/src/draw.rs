//! Draws what was recognised into a photo: boxes, landmarks and a plate with the name.
//!
//! Lines and letters grow with the photo, so that a tagged picture reads at any size. Called by `predict` and `demo`.

use facelatch_models::{image::Rect, mtcnn::Face};
use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// A colour that stands out from skin and sky, with letters readable on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// An enrolled person.
    Green,
    /// Nobody we know.
    Red,
    /// Not judged.
    Amber,
}

/// One face's tag.
#[derive(Debug, Clone, PartialEq)]
pub struct Tag {
    /// What to draw around.
    pub face: Face,
    /// What the plate says, a line each.
    pub lines: Vec<String>,
    /// Box and plate.
    pub colour: Colour,
}

const WEIGHT: FontWeight = FontWeight::Bold;
const SIZE: RasterHeight = RasterHeight::Size16;
/// Empty pixels between plate and letters, before scaling.
const MARGIN_PX: u32 = 3;
/// The photo's shorter side for each step in line width and letter size.
const SIDE_PER_SCALE_PX: u32 = 400;

impl Colour {
    fn box_rgb(self) -> Rgb<u8> {
        match self {
            Colour::Green => Rgb([0, 150, 60]),
            Colour::Red => Rgb([210, 30, 30]),
            Colour::Amber => Rgb([255, 180, 0]),
        }
    }

    fn letter_rgb(self) -> Rgb<u8> {
        match self {
            Colour::Green | Colour::Red => Rgb([255, 255, 255]),
            Colour::Amber => Rgb([0, 0, 0]),
        }
    }
}

/// Draws the tags into the photo, in order.
pub fn draw(photo: &mut RgbImage, tags: &[Tag]) {
    let scale = scale_for(photo);
    for tag in tags {
        let colour = tag.colour.box_rgb();
        outline(photo, &tag.face.rect, colour, 2 * scale);
        for [x, y] in tag.face.landmarks {
            let r = 1.5 * scale as f32;
            fill(
                photo,
                &Rect {
                    x: x - r,
                    y: y - r,
                    w: 2.0 * r,
                    h: 2.0 * r,
                },
                colour,
            );
        }
    }
    // Plates last: a neighbour's box must not cross a name.
    for tag in tags {
        plate(photo, tag, scale);
    }
}

/// Draws a plate at the photo's foot, for what concerns the whole photo.
pub fn caption(photo: &mut RgbImage, lines: &[String], colour: Colour) {
    let scale = scale_for(photo);
    let (w, h) = plate_size(lines, scale);
    let y = photo.height().saturating_sub(h);
    text_box(
        photo,
        [0, y],
        [w.max(photo.width()), h],
        lines,
        colour,
        scale,
    );
}

fn scale_for(photo: &RgbImage) -> u32 {
    let shorter = photo.width().min(photo.height());
    ((shorter + SIDE_PER_SCALE_PX / 2) / SIDE_PER_SCALE_PX).max(1)
}

/// Above the face if there is room, else below, else at the photo's top; shifted left to stay inside.
fn plate(photo: &mut RgbImage, tag: &Tag, scale: u32) {
    let (w, h) = plate_size(&tag.lines, scale);
    let Rect {
        x, y, h: face_h, ..
    } = tag.face.rect;
    let top = (y - h as f32).round();
    let below = (y + face_h).round();
    let room_below = photo.height().saturating_sub(h) as f32;
    let top = if top >= 0.0 {
        top
    } else if below <= room_below {
        below
    } else {
        0.0
    };
    // A NaN or infinity from nowhere must not become a coordinate.
    let top = top.clamp(0.0, photo.height() as f32);
    let left = (x - scale as f32).clamp(0.0, photo.width().saturating_sub(w) as f32);
    text_box(
        photo,
        [left as u32, top as u32],
        [w, h],
        &tag.lines,
        tag.colour,
        scale,
    );
}

fn plate_size(lines: &[String], scale: u32) -> (u32, u32) {
    let columns = lines
        .iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let w = columns as u32 * get_raster_width(WEIGHT, SIZE) as u32 + 2 * MARGIN_PX;
    let h = (lines.len() * SIZE.val()) as u32 + 2 * MARGIN_PX;
    (w * scale, h * scale)
}

fn text_box(
    photo: &mut RgbImage,
    [left, top]: [u32; 2],
    [w, h]: [u32; 2],
    lines: &[String],
    colour: Colour,
    scale: u32,
) {
    let rect = Rect {
        x: left as f32,
        y: top as f32,
        w: w as f32,
        h: h as f32,
    };
    fill(photo, &rect, colour.box_rgb());
    let advance = get_raster_width(WEIGHT, SIZE) as u32 * scale;
    for (row, line) in lines.iter().enumerate() {
        let y = top + MARGIN_PX * scale + row as u32 * SIZE.val() as u32 * scale;
        for (column, c) in line.chars().enumerate() {
            let x = left + MARGIN_PX * scale + column as u32 * advance;
            letter(photo, [x, y], c, colour.letter_rgb(), scale);
        }
    }
}

/// One letter, its pixels repeated `scale` times; what the font lacks is drawn as a question mark.
fn letter(photo: &mut RgbImage, [left, top]: [u32; 2], c: char, rgb: Rgb<u8>, scale: u32) {
    let Some(raster) = get_raster(c, WEIGHT, SIZE).or_else(|| get_raster('?', WEIGHT, SIZE)) else {
        return;
    };
    for (row, pixels) in raster.rows().enumerate() {
        for (column, &strength) in pixels.iter().enumerate() {
            for (dy, dx) in (0..scale).flat_map(|dy| (0..scale).map(move |dx| (dy, dx))) {
                let (x, y) = (
                    left + column as u32 * scale + dx,
                    top + row as u32 * scale + dy,
                );
                if let Some(pixel) = photo.get_pixel_mut_checked(x, y) {
                    *pixel = mix(*pixel, rgb, strength);
                }
            }
        }
    }
}

fn mix(under: Rgb<u8>, over: Rgb<u8>, strength: u8) -> Rgb<u8> {
    let strength = u32::from(strength);
    let channel = |i: usize| {
        let sum = u32::from(under.0[i]) * (255 - strength) + u32::from(over.0[i]) * strength;
        // A weighted mean of two bytes is a byte.
        (sum / 255) as u8
    };
    Rgb([channel(0), channel(1), channel(2)])
}

fn outline(photo: &mut RgbImage, rect: &Rect, rgb: Rgb<u8>, width: u32) {
    let t = width as f32;
    let Rect { x, y, w, h } = *rect;
    for side in [
        Rect {
            x: x - t,
            y: y - t,
            w: w + 2.0 * t,
            h: t,
        },
        Rect {
            x: x - t,
            y: y + h,
            w: w + 2.0 * t,
            h: t,
        },
        Rect {
            x: x - t,
            y,
            w: t,
            h,
        },
        Rect {
            x: x + w,
            y,
            w: t,
            h,
        },
    ] {
        fill(photo, &side, rgb);
    }
}

/// Fills the part of `rect` that lies in the photo.
fn fill(photo: &mut RgbImage, rect: &Rect, rgb: Rgb<u8>) {
    // A float outside u32's range saturates, a negative one becomes 0: both are clipped to the photo.
    let clip = |v: f32, limit: u32| (v.round() as u32).min(limit);
    let (width, height) = photo.dimensions();
    for y in clip(rect.y, height)..clip(rect.y + rect.h, height) {
        for x in clip(rect.x, width)..clip(rect.x + rect.w, width) {
            photo.put_pixel(x, y, rgb);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: Rgb<u8> = Rgb([128, 128, 128]);

    fn tag(rect: Rect, text: &str) -> Tag {
        let face = Face {
            rect,
            score: 1.0,
            landmarks: [[rect.x + rect.w / 2.0, rect.y + rect.h / 2.0]; 5],
        };
        Tag {
            face,
            lines: vec![text.to_owned()],
            colour: Colour::Green,
        }
    }

    #[test]
    fn a_box_surrounds_the_face_and_leaves_it_visible() {
        let mut photo = RgbImage::from_pixel(200, 200, GREY);
        draw(
            &mut photo,
            &[tag(
                Rect {
                    x: 50.0,
                    y: 60.0,
                    w: 80.0,
                    h: 90.0,
                },
                "",
            )],
        );
        let green = Colour::Green.box_rgb();
        for (x, y) in [(49, 100), (130, 100), (90, 59), (90, 150)] {
            assert_eq!(*photo.get_pixel(x, y), green, "edge at {x},{y}");
        }
        assert_eq!(*photo.get_pixel(60, 70), GREY, "inside the box");
    }

    #[test]
    fn a_plate_says_something_and_stays_in_the_photo() {
        let places = [
            Rect {
                x: 10.0,
                y: 100.0,
                w: 40.0,
                h: 40.0,
            },
            Rect {
                x: 170.0,
                y: -5.0,
                w: 40.0,
                h: 40.0,
            },
            Rect {
                x: -20.0,
                y: -20.0,
                w: 300.0,
                h: 300.0,
            },
        ];
        for rect in places {
            let mut photo = RgbImage::from_pixel(200, 200, GREY);
            draw(&mut photo, &[tag(rect, "Añ漢")]);
            let white = photo
                .pixels()
                .filter(|p| p.0.iter().all(|&c| c > 240))
                .count();
            assert!(white > 25, "{rect:?}: {white} letter pixels");
        }
    }

    #[test]
    fn no_rectangle_is_too_wild() {
        let mut photo = RgbImage::from_pixel(20, 10, GREY);
        for x in [f32::NAN, f32::INFINITY, -1e30, 1e30] {
            draw(
                &mut photo,
                &[tag(
                    Rect {
                        x,
                        y: x,
                        w: x,
                        h: 5.0,
                    },
                    "a very long name indeed",
                )],
            );
        }
        caption(&mut photo, &["x".repeat(100)], Colour::Red);
        assert_eq!(photo.dimensions(), (20, 10));
    }
}
