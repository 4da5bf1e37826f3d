//! Five-point alignment: the similarity that brings a face's landmarks nearest to where a network expects them, and the
//! picture seen through it.
//!
//! ```text
//! to = a * from + b     complex numbers: a turns and scales, b moves; never mirrors
//! a  = sum conj(from') * to' / sum |from'|^2,  b = mean(to) - a * mean(from)      ' less the mean
//! ```
//!
//! That is the least-squares similarity of Umeyama (1991, eq. 40 to 42) in two dimensions. All arithmetic is of f64 that is
//! added, multiplied, divided and rooted in one order: the same bits on every machine.

use image::{Rgb, RgbImage};

use crate::{image::Rect, mtcnn::Face};

/// Where left eye, right eye, nose, left and right mouth corner belong, in pixels of a crop of [`SIDE`] pixels a side: the
/// points that embedders of this kind are trained with.
const REFERENCE: [[f64; 2]; 5] = [
    [38.2946, 51.6963],
    [73.5318, 51.5014],
    [56.0252, 71.7366],
    [41.5493, 92.3655],
    [70.7299, 92.2041],
];
const SIDE: f64 = 112.0;
/// Samples along a crop pixel's side at the most: where a photo is shrunk by more, they stand apart.
const MOST_SAMPLES: usize = 8;

/// Turns, scales and moves: `[re a, im a]`, `[re b, im b]`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Similarity {
    a: [f64; 2],
    b: [f64; 2],
}

/// Cuts the face out so that its landmarks come near the reference points, `width` x `height`.
///
/// A pixel of the crop is the mean of bilinear samples, one for each pixel of the photo along its sides. Beyond the photo
/// are its nearest pixels. Landmarks that make no similarity (all in one place) leave the box, unturned. The photo has at
/// least one pixel.
pub(super) fn five_point(photo: &RgbImage, face: &Face, width: u32, height: u32) -> RgbImage {
    let scale = [f64::from(width) / SIDE, f64::from(height) / SIDE];
    let reference = REFERENCE.map(|[x, y]| [x * scale[0], y * scale[1]]);
    let landmarks = face.landmarks.map(|point| point.map(f64::from));
    let from_crop = Similarity::fit(&reference, &landmarks)
        .filter(Similarity::is_usable)
        .unwrap_or_else(|| Similarity::of_box(&face.rect, width, height));
    look_through(photo, &from_crop, width, height)
}

impl Similarity {
    /// The one that brings `from` nearest to `to`, by the sum of squared distances.
    fn fit(from: &[[f64; 2]; 5], to: &[[f64; 2]; 5]) -> Option<Similarity> {
        let mean = |points: &[[f64; 2]; 5]| {
            [0, 1].map(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / 5.0)
        };
        let (from_mean, to_mean) = (mean(from), mean(to));
        let (mut a, mut square) = ([0.0; 2], 0.0);
        for (f, t) in from.iter().zip(to) {
            let [fx, fy] = [f[0] - from_mean[0], f[1] - from_mean[1]];
            let [tx, ty] = [t[0] - to_mean[0], t[1] - to_mean[1]];
            a[0] += fx * tx + fy * ty;
            a[1] += fx * ty - fy * tx;
            square += fx * fx + fy * fy;
        }
        if square <= 0.0 {
            return None;
        }
        let a = a.map(|part| part / square);
        let turned = Similarity { a, b: [0.0; 2] }.apply(from_mean);
        Some(Similarity {
            a,
            b: [to_mean[0] - turned[0], to_mean[1] - turned[1]],
        })
    }

    /// Leads from a crop's pixels to a box's, whose shorter side fills the crop's.
    fn of_box(rect: &Rect, width: u32, height: u32) -> Similarity {
        let [cx, cy] = rect.centre().map(f64::from);
        let (width, height) = (f64::from(width), f64::from(height));
        let scale = (f64::from(rect.w) / width).min(f64::from(rect.h) / height);
        Similarity {
            a: [scale, 0.0],
            b: [cx - scale * width / 2.0, cy - scale * height / 2.0],
        }
    }

    fn is_usable(&self) -> bool {
        let numbers = [self.a, self.b].concat();
        self.scale() > 0.0 && numbers.iter().all(|v| v.is_finite())
    }

    fn scale(&self) -> f64 {
        (self.a[0] * self.a[0] + self.a[1] * self.a[1]).sqrt()
    }

    fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [re, im] = self.a;
        [re * x - im * y + self.b[0], im * x + re * y + self.b[1]]
    }
}

fn look_through(photo: &RgbImage, from_crop: &Similarity, width: u32, height: u32) -> RgbImage {
    // Float to integer casts saturate, and NaN becomes 0.
    let samples = (from_crop.scale().ceil() as usize).clamp(1, MOST_SAMPLES);
    let within = |i: usize| (i as f64 + 0.5) / samples as f64 - 0.5;
    let count = (samples * samples) as f64;
    RgbImage::from_fn(width, height, |x, y| {
        let mut sum = [0.0; 3];
        for i in 0..samples {
            for j in 0..samples {
                let at = [f64::from(x) + within(j), f64::from(y) + within(i)];
                let sample = bilinear(photo, from_crop.apply(at));
                sum.iter_mut().zip(sample).for_each(|(sum, s)| *sum += s);
            }
        }
        // A mean of bytes is one.
        Rgb(sum.map(|sum| (sum / count + 0.5) as u8))
    })
}

/// The photo between four pixels; a pixel's own place is a whole number.
fn bilinear(photo: &RgbImage, [x, y]: [f64; 2]) -> [f64; 3] {
    let (columns, left, right) = between(x, photo.width());
    let (rows, top, bottom) = between(y, photo.height());
    let at = |x, y| photo.get_pixel(x, y).0.map(f64::from);
    let (a, b) = (at(left, top), at(right, top));
    let (c, d) = (at(left, bottom), at(right, bottom));
    [0, 1, 2].map(|i| {
        let upper = a[i] + columns * (b[i] - a[i]);
        let lower = c[i] + columns * (d[i] - c[i]);
        upper + rows * (lower - upper)
    })
}

/// How far a place is between two pixels, and which; outside, the outermost one.
fn between(place: f64, length: u32) -> (f64, u32, u32) {
    let last = length - 1;
    // NaN becomes 0 below.
    let place = place.clamp(0.0, f64::from(last));
    let before = (place.floor() as u32).min(last);
    let part = place - f64::from(before);
    let part = if part.is_finite() { part } else { 0.0 };
    (part, before, (before + 1).min(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(landmarks: [[f32; 2]; 5]) -> Face {
        Face {
            rect: Rect {
                x: 30.0,
                y: 20.0,
                w: 56.0,
                h: 70.0,
            },
            score: 1.0,
            landmarks,
        }
    }

    /// Where the reference points lie in a photo that shows them turned, scaled and moved.
    fn seen(turn: f64, scale: f64, by: [f64; 2]) -> [[f32; 2]; 5] {
        let seen = Similarity {
            a: [scale * turn.cos(), scale * turn.sin()],
            b: by,
        };
        REFERENCE.map(|point| seen.apply(point).map(|v| v as f32))
    }

    #[test]
    fn a_similarity_is_found_again() {
        for (turn, scale, by) in [
            (0.0, 1.0, [0.0, 0.0]),
            (0.3, 2.5, [40.0, -7.0]),
            (-1.2, 0.4, [3.0, 200.0]),
            (3.0, 1.0, [100.0, 100.0]),
        ] {
            let to = seen(turn, scale, by).map(|p| p.map(f64::from));
            let found = Similarity::fit(&REFERENCE, &to).unwrap();
            let expected = [scale * turn.cos(), scale * turn.sin(), by[0], by[1]];
            for (found, expected) in found.a.iter().chain(&found.b).zip(expected) {
                assert!((found - expected).abs() < 1e-4, "{turn} {scale} {by:?}");
            }
        }
    }

    /// The definition of least squares: no neighbour is better.
    #[test]
    fn points_that_fit_no_similarity_are_met_as_nearly_as_can_be() {
        let to = [
            [10.0, 12.0],
            [61.0, 9.0],
            [30.0, 50.0],
            [22.0, 70.0],
            [55.0, 66.0],
        ];
        let best = Similarity::fit(&REFERENCE, &to).unwrap();
        let error = |s: &Similarity| -> f64 {
            let squares = REFERENCE.iter().zip(&to).map(|(&f, t)| {
                let [x, y] = s.apply(f);
                (x - t[0]) * (x - t[0]) + (y - t[1]) * (y - t[1])
            });
            squares.sum()
        };
        for step in [-1e-3, 1e-3] {
            for which in 0..4 {
                let mut other = best;
                if which < 2 {
                    other.a[which] += step;
                } else {
                    other.b[which - 2] += step;
                }
                assert!(error(&other) > error(&best), "{which} {step}");
            }
        }
    }

    /// A photo whose colours are straight planes looks the same through any similarity: colours are where they were.
    #[test]
    fn every_pixel_comes_from_where_the_similarity_says() {
        let photo = RgbImage::from_fn(250, 250, |x, y| Rgb([x as u8, y as u8, 77]));
        for (turn, scale, by) in [
            (0.0, 1.0, [20.0, 30.0]),
            (0.4, 0.7, [60.0, 20.0]),
            (-0.3, 1.6, [20.0, 60.0]),
        ] {
            let landmarks = seen(turn, scale, by);
            let crop = five_point(&photo, &face(landmarks), 112, 112);
            let to_photo = Similarity {
                a: [scale * turn.cos(), scale * turn.sin()],
                b: by,
            };
            for (x, y, pixel) in crop.enumerate_pixels() {
                let [px, py] = to_photo.apply([f64::from(x), f64::from(y)]);
                let inside = |v: f64| (1.0..248.0).contains(&v);
                if inside(px) && inside(py) {
                    let far =
                        (f64::from(pixel.0[0]) - px).abs() + (f64::from(pixel.0[1]) - py).abs();
                    assert!(
                        far < 1.2 && pixel.0[2] == 77,
                        "{x} {y}: {pixel:?} {px} {py}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_finer_than_the_crop_becomes_grey() {
        let board = RgbImage::from_fn(600, 600, |x, y| {
            Rgb([if (x + y) % 2 == 0 { 0 } else { 255 }; 3])
        });
        let crop = five_point(&board, &face(seen(0.1, 4.0, [60.0, 40.0])), 112, 112);
        assert!(crop.pixels().all(|p| p.0[0].abs_diff(128) < 40), "aliased");
    }

    #[test]
    fn landmarks_that_are_none_leave_the_box() {
        let photo = RgbImage::from_fn(120, 120, |x, y| Rgb([x as u8, y as u8, 0]));
        for landmarks in [[[5.0; 2]; 5], [[f32::NAN; 2]; 5], [[f32::INFINITY; 2]; 5]] {
            let crop = five_point(&photo, &face(landmarks), 112, 112);
            let [x, y, _] = crop.get_pixel(56, 56).0;
            assert!(x.abs_diff(58) < 2 && y.abs_diff(55) < 2, "{x} {y}");
        }
        // Nor does anything else panic.
        let mut wild = face([[f32::NAN; 2]; 5]);
        wild.rect.w = f32::NAN;
        assert_eq!(five_point(&photo, &wild, 112, 112).dimensions(), (112, 112));
        let far = face(seen(0.0, 1e6, [-1e9, 1e9]));
        assert_eq!(five_point(&photo, &far, 7, 9).dimensions(), (7, 9));
    }
}
