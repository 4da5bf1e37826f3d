//! Pixels of a bent, tilted or moved surface that carries a photo: a mesh, a pinhole camera and a depth buffer.
//!
//! Coordinates on the photo are face units: the middle of eyes and mouth is the origin, the eyes are one unit apart, x runs
//! along them to the right, y down. Space has the same axes, z towards the camera. Called by `species`.

use facelatch_models::{image::resize_area, mtcnn::Face};
use image::{Rgb, RgbImage};

/// Mesh cells a face unit: about four pixels a cell.
const CELLS_PER_UNIT: f64 = 11.0;

/// A photo with its face's place in it.
#[derive(Debug, Clone)]
pub struct Photo {
    image: RgbImage,
    centre: [f64; 2],
    right: [f64; 2],
    eye_px: f64,
    nose: [f64; 2],
}

impl Photo {
    /// The photo about a detected face, scaled down so that its eyes are about `eye_px` pixels apart. `None` without
    /// landmarks that make a face.
    #[must_use]
    pub fn new(image: &RgbImage, face: &Face, eye_px: f64) -> Option<Photo> {
        let [le, re, nose, ml, mr] = face.landmarks.map(|p| p.map(f64::from));
        let found = (re[0] - le[0]).hypot(re[1] - le[1]);
        if !(found >= 4.0 && found.is_finite()) {
            return None;
        }
        let scale = (1.15 * eye_px / found).min(1.0);
        let side = |px: u32| ((f64::from(px) * scale).round() as u32).max(1);
        let small = resize_area(image, side(image.width()), side(image.height()));
        let sx = f64::from(small.width()) / f64::from(image.width());
        let sy = f64::from(small.height()) / f64::from(image.height());
        let at = |p: [f64; 2]| [p[0] * sx, p[1] * sy];
        let [le, re, nose, ml, mr] = [le, re, nose, ml, mr].map(at);
        let eye = (re[0] - le[0]).hypot(re[1] - le[1]);
        let mut photo = Photo {
            image: small,
            centre: [0, 1].map(|i| (le[i] + re[i] + ml[i] + mr[i]) / 4.0),
            right: [0, 1].map(|i| (re[i] - le[i]) / eye),
            eye_px: eye,
            nose: [0.0, 0.1],
        };
        photo.nose = photo.units(nose);
        Some(photo)
    }

    /// A rendered frame as a photo, for a camera that looked straight at it.
    #[must_use]
    pub fn rendered(image: RgbImage, camera: &Camera, nose: [f64; 2]) -> Photo {
        Photo {
            centre: camera.centre,
            right: [1.0, 0.0],
            eye_px: camera.eye_px,
            nose,
            image,
        }
    }

    /// The nose's tip in face units.
    #[must_use]
    pub fn nose(&self) -> [f64; 2] {
        self.nose
    }

    fn units(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let (dx, dy) = (x - self.centre[0], y - self.centre[1]);
        let [c, s] = self.right;
        [
            (c * dx + s * dy) / self.eye_px,
            (c * dy - s * dx) / self.eye_px,
        ]
    }

    /// The colour at a place in face units, between pixels; beyond the edge, the edge's.
    fn sample(&self, [x, y]: [f64; 2]) -> [f64; 3] {
        let [c, s] = self.right;
        let px = self.centre[0] + (c * x - s * y) * self.eye_px - 0.5;
        let py = self.centre[1] + (s * x + c * y) * self.eye_px - 0.5;
        let (w, h) = (self.image.width() - 1, self.image.height() - 1);
        let px = px.clamp(0.0, f64::from(w));
        let py = py.clamp(0.0, f64::from(h));
        let (x0, y0) = (px as u32, py as u32);
        let (fx, fy) = (px - f64::from(x0), py - f64::from(y0));
        let at = |x: u32, y: u32| self.image.get_pixel(x.min(w), y.min(h)).0.map(f64::from);
        let (a, b) = (at(x0, y0), at(x0 + 1, y0));
        let (c, d) = (at(x0, y0 + 1), at(x0 + 1, y0 + 1));
        std::array::from_fn(|i| {
            (a[i] * (1.0 - fx) + b[i] * fx) * (1.0 - fy) + (c[i] * (1.0 - fx) + d[i] * fx) * fy
        })
    }
}

/// A pinhole camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Camera {
    /// Width and height of its frames.
    pub size: [u32; 2],
    /// Where the origin is seen.
    pub centre: [f64; 2],
    /// Pixels a face unit at the origin's distance.
    pub eye_px: f64,
    /// Its distance from the origin in face units.
    pub off: f64,
}

impl Camera {
    /// Pixel and nearness; nearness is larger for what is nearer.
    fn project(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        // Nothing comes nearer than a tenth of the distance.
        let nearness = self.off / (self.off - z).max(0.1 * self.off);
        [
            self.centre[0] + self.eye_px * x * nearness,
            self.centre[1] + self.eye_px * y * nearness,
            nearness,
        ]
    }
}

/// Half width and half height of the part of the photo that is shown, in face units.
pub type Extent = [f64; 2];

/// Draws the photo's part within `extent` over `frame`: `surface` says where a place on the photo is in space, `shade`
/// what the surface makes of its colour at a place and a pixel.
pub fn draw(
    frame: &mut RgbImage,
    camera: &Camera,
    photo: &Photo,
    extent: Extent,
    surface: impl Fn([f64; 2]) -> [f64; 3],
    shade: impl Fn([f64; 2], [f64; 3]) -> [f64; 3],
) {
    let [columns, rows] = extent.map(|half| (2.0 * half * CELLS_PER_UNIT).ceil().max(1.0) as usize);
    let place = |column: usize, row: usize| {
        [
            extent[0] * (2.0 * column as f64 / columns as f64 - 1.0),
            extent[1] * (2.0 * row as f64 / rows as f64 - 1.0),
        ]
    };
    let mut corners = Vec::with_capacity((columns + 1) * (rows + 1));
    for row in 0..=rows {
        for column in 0..=columns {
            let on = place(column, row);
            corners.push((on, camera.project(surface(on))));
        }
    }
    let mut nearest = vec![0.0_f64; frame.width() as usize * frame.height() as usize];
    for row in 0..rows {
        for column in 0..columns {
            let i = row * (columns + 1) + column;
            let [a, b, c, d] = [i, i + 1, i + columns + 1, i + columns + 2].map(|i| corners[i]);
            for triangle in [[a, b, c], [b, d, c]] {
                fill(frame, &mut nearest, triangle, |on| {
                    shade(on, photo.sample(on))
                });
            }
        }
    }
}

/// A corner: its place on the photo, then pixel and nearness.
type Corner = ([f64; 2], [f64; 3]);

fn fill(
    frame: &mut RgbImage,
    nearest: &mut [f64],
    triangle: [Corner; 3],
    colour: impl Fn([f64; 2]) -> [f64; 3],
) {
    let [(_, a), (_, b), (_, c)] = triangle;
    let area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
    if area.abs() < 1e-9 {
        return;
    }
    let span = |axis: usize, limit: u32| {
        let low = a[axis].min(b[axis]).min(c[axis]);
        let high = a[axis].max(b[axis]).max(c[axis]);
        // Casts saturate: what is outside the frame is cut off.
        ((low - 0.5).ceil().max(0.0) as u32)..((high + 0.5).floor().max(0.0) as u32).min(limit)
    };
    for y in span(1, frame.height()) {
        for x in span(0, frame.width()) {
            let (px, py) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
            let part = |p: [f64; 3], q: [f64; 3]| {
                ((p[0] - px) * (q[1] - py) - (p[1] - py) * (q[0] - px)) / area
            };
            let parts = [part(b, c), part(c, a), part(a, b)];
            if parts.iter().any(|&part| part < -1e-9) {
                continue;
            }
            let nearness: f64 = parts.iter().zip([a, b, c]).map(|(w, p)| w * p[2]).sum();
            let kept = &mut nearest[(y * frame.width() + x) as usize];
            if nearness <= *kept {
                continue;
            }
            *kept = nearness;
            let on = [0, 1].map(|axis| {
                let sum = |i: usize| parts[i] * triangle[i].0[axis];
                sum(0) + sum(1) + sum(2)
            });
            frame.put_pixel(
                x,
                y,
                Rgb(colour(on).map(|v| v.round().clamp(0.0, 255.0) as u8)),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use facelatch_models::image::Rect;

    use super::*;

    fn photo() -> Photo {
        let image = RgbImage::from_fn(200, 200, |x, y| Rgb([x as u8, y as u8, 90]));
        let face = Face {
            rect: Rect {
                x: 50.0,
                y: 50.0,
                w: 100.0,
                h: 100.0,
            },
            score: 1.0,
            landmarks: [
                [80.0, 80.0],
                [120.0, 80.0],
                [100.0, 104.0],
                [85.0, 120.0],
                [115.0, 120.0],
            ],
        };
        Photo::new(&image, &face, 40.0).unwrap()
    }

    const CAMERA: Camera = Camera {
        size: [160, 120],
        centre: [80.0, 60.0],
        eye_px: 40.0,
        off: 10.0,
    };

    #[test]
    fn a_flat_surface_seen_straight_is_the_photo() {
        let mut frame = RgbImage::new(160, 120);
        let flat = |[x, y]: [f64; 2]| [x, y, 0.0];
        draw(&mut frame, &CAMERA, &photo(), [1.5, 1.0], flat, |_, c| c);
        for (x, y) in [(80, 60), (60, 40), (130, 90)] {
            let [r, g, _] = frame.get_pixel(x, y).0;
            assert!(r.abs_diff((x + 20) as u8) <= 1 && g.abs_diff((y + 40) as u8) <= 1);
        }
        assert_eq!(frame.get_pixel(5, 60).0, [0; 3], "outside the extent");
    }

    #[test]
    fn what_is_nearer_hides_what_is_farther() {
        let mut frame = RgbImage::new(160, 120);
        // The left half folded over the right one.
        let folded = |[x, y]: [f64; 2]| [x.abs(), y, if x < 0.0 { 1.0 } else { 0.0 }];
        draw(
            &mut frame,
            &CAMERA,
            &photo(),
            [1.0, 1.0],
            folded,
            |[x, _], _| {
                if x < 0.0 { [200.0; 3] } else { [50.0; 3] }
            },
        );
        assert_eq!(frame.get_pixel(95, 60).0, [200; 3]);
    }
}
