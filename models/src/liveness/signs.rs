//! What one frame tells of a screen or a print around a face: the energy of regular patterns, and straight edges. Pure.
//!
//! Both are weak: knitwear and blinds are regular, doors and windows have edges. Called once per observation; judged over
//! a track by `passive`.

use image::{Rgb, RgbImage};

use crate::image::Rect;

/// Side of the square that is transformed, in the frame's own pixels.
const SIDE: usize = 64;
/// Periods from 2 to 8 pixels are looked at: slower ones are the face's own.
const LOWEST: f64 = SIDE as f64 / 8.0;
/// A step in luma that counts as an edge.
const EDGE: i32 = 14;

/// The two signs of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Signs {
    /// How far the strongest frequency of the face stands out: the natural logarithm of its power over the median power
    /// at that distance from the origin. Noise alone gives 2 to 3.
    pub peak: f32,
    /// Of the face's four sides, how many have a straight edge beyond them that runs along the whole side; each side counts
    /// by the share of its length that has one, squared. 0 to 4.
    pub edges: f32,
}

impl Signs {
    /// The signs of a face in a frame.
    #[must_use]
    pub fn of(frame: &RgbImage, rect: &Rect) -> Signs {
        Signs {
            peak: peak(frame, rect).unwrap_or(0.0) as f32,
            edges: edges(frame, rect) as f32,
        }
    }
}

fn luma(frame: &RgbImage, x: i64, y: i64) -> i32 {
    let inside = |v: i64, limit: u32| v.clamp(0, i64::from(limit.max(1)) - 1) as u32;
    let (x, y) = (inside(x, frame.width()), inside(y, frame.height()));
    let Rgb([r, g, b]) = frame
        .get_pixel_checked(x, y)
        .copied()
        .unwrap_or(Rgb([0; 3]));
    (299 * i32::from(r) + 587 * i32::from(g) + 114 * i32::from(b)) / 1000
}

/// Whole pixels, no farther out than any picture reaches.
fn whole(px: f32) -> i64 {
    px.clamp(-1e5, 1e5) as i64
}

/// Power spectrum of a square about the face's centre under a Hann window; the largest power against its ring's median.
fn peak(frame: &RgbImage, rect: &Rect) -> Option<f64> {
    let [cx, cy] = rect.centre();
    if !(cx.is_finite() && cy.is_finite()) {
        return None;
    }
    let half = SIDE as i64 / 2;
    let (left, top) = (whole(cx) - half, whole(cy) - half);
    let window: [f64; SIDE] = std::array::from_fn(|i| {
        let angle = std::f64::consts::TAU * (i as f64 + 0.5) / SIDE as f64;
        0.5 - 0.5 * angle.cos()
    });
    let mut re = vec![0.0; SIDE * SIDE];
    let mut im = vec![0.0; SIDE * SIDE];
    for y in 0..SIDE {
        for x in 0..SIDE {
            let value = luma(frame, left + x as i64, top + y as i64);
            re[y * SIDE + x] = f64::from(value) * window[x] * window[y];
        }
    }
    for row in 0..SIDE {
        let range = row * SIDE..(row + 1) * SIDE;
        fft(&mut re[range.clone()], &mut im[range]);
    }
    let mut rings: Vec<Vec<f64>> = vec![Vec::new(); SIDE / 2 + 1];
    for column in 0..SIDE {
        let pick =
            |from: &[f64]| -> Vec<f64> { (0..SIDE).map(|row| from[row * SIDE + column]).collect() };
        let (mut r, mut i) = (pick(&re), pick(&im));
        fft(&mut r, &mut i);
        for (row, (r, i)) in r.iter().zip(&i).enumerate() {
            let signed = |k: usize| {
                let k = k as f64;
                if k > SIDE as f64 / 2.0 {
                    k - SIDE as f64
                } else {
                    k
                }
            };
            let (u, v) = (signed(column), signed(row));
            let radius = u.hypot(v);
            // One half of the plane mirrors the other.
            let ring = radius.round() as usize;
            if radius >= LOWEST && ring < rings.len() && v >= 0.0 {
                rings[ring].push(r * r + i * i + 1.0);
            }
        }
    }
    let prominence = |ring: &mut Vec<f64>| {
        ring.sort_by(f64::total_cmp);
        let (middle, largest) = (ring.get(ring.len() / 2)?, ring.last()?);
        Some((largest / middle).ln())
    };
    rings
        .iter_mut()
        .filter_map(prominence)
        .max_by(f64::total_cmp)
}

/// Radix-2 transform in place (Cooley and Tukey, "An algorithm for the machine calculation of complex Fourier series",
/// 1965); the length is a power of two.
fn fft(re: &mut [f64], im: &mut [f64]) {
    let n = re.len();
    let mut j = 0;
    for i in 1..n {
        let mut bit = n / 2;
        while j & bit != 0 {
            j ^= bit;
            bit /= 2;
        }
        j |= bit;
        if i < j {
            re.swap(i, j);
            im.swap(i, j);
        }
    }
    let mut length = 2;
    while length <= n {
        let angle = -std::f64::consts::TAU / length as f64;
        for start in (0..n).step_by(length) {
            for k in 0..length / 2 {
                let (s, c) = (angle * k as f64).sin_cos();
                let (a, b) = (start + k, start + k + length / 2);
                let (r, i) = (re[b] * c - im[b] * s, re[b] * s + im[b] * c);
                (re[b], im[b]) = (re[a] - r, im[a] - i);
                (re[a], im[a]) = (re[a] + r, im[a] + i);
            }
        }
        length *= 2;
    }
}

/// Looks beyond each side of the box, up to one box away, for the straightest edge along it; lines may lean by a tenth.
fn edges(frame: &RgbImage, rect: &Rect) -> f64 {
    if ![rect.x, rect.y, rect.w, rect.h]
        .iter()
        .all(|v| v.is_finite())
    {
        return 0.0;
    }
    let [x, y, w, h] = [rect.x, rect.y, rect.w, rect.h].map(whole);
    let width = i64::from(frame.width());
    let height = i64::from(frame.height());
    let beside = |from: i64, to: i64, limit: i64| from.max(3)..to.min(limit - 3);
    let upright = |columns| {
        straightest(columns, y..y + h, h / 10, |x, y| {
            luma(frame, x + 2, y) - luma(frame, x - 2, y)
        })
    };
    let level = |rows| {
        straightest(rows, x..x + w, w / 10, |y, x| {
            luma(frame, x, y + 2) - luma(frame, x, y - 2)
        })
    };
    let sides = [
        upright(beside(x - w, x - w / 8, width)),
        upright(beside(x + w + w / 8, x + 2 * w, width)),
        level(beside(y - h, y - h / 8, height)),
        level(beside(y + h + h / 8, y + 2 * h, height)),
    ];
    sides.iter().map(|share| share * share).sum()
}

/// The largest share of a side's length that one line has steps of one sign along, over all lines.
fn straightest(
    across: std::ops::Range<i64>,
    along: std::ops::Range<i64>,
    lean: i64,
    step: impl Fn(i64, i64) -> i32,
) -> f64 {
    const SAMPLES: i64 = 24;
    let length = along.end - along.start;
    let mut best = 0;
    for start in across {
        for slope in [-lean, -lean / 2, 0, lean / 2, lean] {
            let mut found = [0; 2];
            for i in 0..SAMPLES {
                let change = step(
                    start + slope * i / SAMPLES,
                    along.start + length * i / SAMPLES,
                );
                found[0] += i64::from(change >= EDGE);
                found[1] += i64::from(change <= -EDGE);
            }
            best = best.max(found[0]).max(found[1]);
        }
    }
    best as f64 / SAMPLES as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACE: Rect = Rect {
        x: 100.0,
        y: 80.0,
        w: 80.0,
        h: 100.0,
    };

    /// Deterministic noise about a grey, and a pattern on it.
    fn frame(pattern: impl Fn(f64, f64) -> f64) -> RgbImage {
        let mut state = 1_u32;
        RgbImage::from_fn(320, 260, |x, y| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(state >> 24) / 255.0 * 16.0 - 8.0;
            let value = 120.0 + noise + pattern(f64::from(x), f64::from(y));
            Rgb([value.clamp(0.0, 255.0) as u8; 3])
        })
    }

    #[test]
    fn a_regular_pattern_stands_out() {
        let plain = Signs::of(&frame(|_, _| 0.0), &FACE);
        let grid = frame(|x, y| 10.0 * (x * 2.0).cos() * (y * 1.3).cos());
        let grid = Signs::of(&grid, &FACE);
        assert!(plain.peak < 4.0, "{plain:?}");
        assert!(grid.peak > 5.0, "{grid:?}");
    }

    #[test]
    fn a_frame_around_the_face_is_seen() {
        let inside = |x: f64, y: f64| (70.0..215.0).contains(&x) && (40.0..225.0).contains(&y);
        let framed = frame(|x, y| if inside(x, y) { 60.0 } else { -60.0 });
        let plain = frame(|x, _| x / 8.0);
        let (framed, plain) = (Signs::of(&framed, &FACE), Signs::of(&plain, &FACE));
        assert!(framed.edges > 3.5, "{framed:?}");
        assert!(plain.edges < 0.5, "{plain:?}");
    }

    #[test]
    fn any_rectangle_is_taken() {
        let small = RgbImage::new(1, 1);
        for v in [f32::NAN, f32::INFINITY, -1e30, 1e30, 0.0] {
            let rect = Rect {
                x: v,
                y: v,
                w: v,
                h: v,
            };
            let _ = Signs::of(&small, &rect);
            let _ = Signs::of(&frame(|_, _| 0.0), &rect);
        }
    }

    #[test]
    fn the_transform_of_a_wave_is_one_line() {
        let mut re: Vec<f64> = (0..16)
            .map(|i| (std::f64::consts::TAU * 3.0 * f64::from(i) / 16.0).cos())
            .collect();
        let mut im = vec![0.0; 16];
        fft(&mut re, &mut im);
        for (k, (r, i)) in re.iter().zip(&im).enumerate() {
            let expected = if k == 3 || k == 13 { 8.0 } else { 0.0 };
            assert!((r - expected).abs() < 1e-9 && i.abs() < 1e-9, "{k}");
        }
    }
}
