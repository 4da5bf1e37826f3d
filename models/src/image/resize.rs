//! Resizing by area averaging, in whole numbers: the same bits on every machine.
//!
//! ```text
//! source axis  |--0--|--1--|--2--|--3--|--4--|      5 pixels, each `target` = 3 units long
//! target axis  |----0----|----1----|----2----|      3 pixels, each `source` = 5 units long
//! ```
//!
//! Overlaps are whole units, so each target pixel is the exact mean of the area below it, rounded half up.
//! Called by `decode`'s users through `image`, by `mtcnn` for the pyramid and its crops, and by `align`.

use image::RgbImage;

/// Whole pixels of a photo; may reach outside it, where it is black.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// First column.
    pub x: i32,
    /// First row.
    pub y: i32,
    /// Columns, at least 1.
    pub w: u32,
    /// Rows, at least 1.
    pub h: u32,
}

/// Resizes by averaging the source area under each target pixel; the same bits on every machine.
///
/// `w` and `h` are at least 1. Enlarging repeats pixels weighted by overlap, as area averaging does.
#[must_use]
pub fn resize_area(src: &RgbImage, w: u32, h: u32) -> RgbImage {
    if src.dimensions() == (w, h) {
        return src.clone();
    }
    let whole = Region {
        x: 0,
        y: 0,
        w: src.width(),
        h: src.height(),
    };
    resize_region(src, whole, w, h)
}

/// Cuts a region out and resizes it as [`resize_area`] does; what lies outside the photo counts as black.
///
/// Region and target have at least one pixel, and sides under 2^23.
#[must_use]
pub fn resize_region(src: &RgbImage, region: Region, w: u32, h: u32) -> RgbImage {
    let columns = Axis::new(src.width(), region.x, region.w, w);
    let rows = Axis::new(src.height(), region.y, region.h, h);
    let stride = src.width() as usize * 3;
    let pixels = src.as_raw();
    let used = columns.first * 3..columns.last * 3;
    let area = u64::from(region.w) * u64::from(region.h);

    let mut out = RgbImage::new(w, h);
    let mut sums = vec![0u32; used.len()];
    for (row, taps) in out.chunks_exact_mut(w as usize * 3).zip(&rows.taps) {
        sums.fill(0);
        for tap in taps.iter() {
            let line = &pixels[tap.0 * stride..][..stride];
            for (sum, &p) in sums.iter_mut().zip(&line[used.clone()]) {
                *sum += tap.1 * u32::from(p);
            }
        }
        average_columns(row, &sums, &columns, area);
    }
    out
}

fn average_columns(row: &mut [u8], sums: &[u32], columns: &Axis, area: u64) {
    for (pixel, taps) in row.chunks_exact_mut(3).zip(&columns.taps) {
        let mut total = [area / 2; 3];
        for tap in taps.iter() {
            let at = (tap.0 - columns.first) * 3;
            for (t, &s) in total.iter_mut().zip(&sums[at..at + 3]) {
                *t += u64::from(tap.1) * u64::from(s);
            }
        }
        for (p, t) in pixel.iter_mut().zip(total) {
            // A mean of bytes is a byte.
            *p = (t / area) as u8;
        }
    }
}

/// Which source pixels lie under each target pixel of one axis, and for how many units.
struct Axis {
    taps: Vec<Taps>,
    /// Source pixels used at all: `first..last`.
    first: usize,
    last: usize,
}

struct Taps {
    start: usize,
    units: Vec<u32>,
}

impl Taps {
    fn iter(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        (self.start..).zip(self.units.iter().copied())
    }
}

impl Axis {
    /// `length` pixels of the photo; a region of `source` pixels from `offset` becomes `target` pixels.
    fn new(length: u32, offset: i32, source: u32, target: u32) -> Axis {
        assert!(
            (1..1 << 23).contains(&source) && (1..1 << 23).contains(&target),
            "a region of {source} pixels cannot become {target}"
        );
        let (source, target) = (i64::from(source), i64::from(target));
        let (length, offset) = (i64::from(length), i64::from(offset));
        let inside = (-offset).clamp(0, source)..(length - offset).clamp(0, source);
        let taps = (0..target).map(|i| {
            let (from, to) = (i * source, (i + 1) * source);
            let first = (from / target).max(inside.start);
            let end = ((to + target - 1) / target).min(inside.end);
            let overlap = |j: i64| (to.min((j + 1) * target) - from.max(j * target)) as u32;
            Taps {
                start: (first + offset).max(0) as usize,
                units: (first..end).map(overlap).collect(),
            }
        });
        Axis {
            taps: taps.collect(),
            first: (inside.start + offset).clamp(0, length) as usize,
            last: (inside.end + offset).clamp(0, length) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// The plain reference: for every target pixel, every source pixel of the region, in f64.
    fn reference(src: &RgbImage, region: Region, w: u32, h: u32) -> RgbImage {
        let overlap = |i: u32, j: u32, source: u32, target: u32| {
            let scale = f64::from(source) / f64::from(target);
            let (from, to) = (f64::from(i) * scale, f64::from(i + 1) * scale);
            (to.min(f64::from(j + 1)) - from.max(f64::from(j))).max(0.0) / scale
        };
        RgbImage::from_fn(w, h, |x, y| {
            let mut mean = [0f64; 3];
            for sy in 0..region.h {
                for sx in 0..region.w {
                    let (px, py) = (region.x + sx as i32, region.y + sy as i32);
                    let inside =
                        px >= 0 && py >= 0 && px < src.width() as i32 && py < src.height() as i32;
                    if inside {
                        let weight = overlap(x, sx, region.w, w) * overlap(y, sy, region.h, h);
                        let p = src.get_pixel(px as u32, py as u32).0;
                        for c in 0..3 {
                            mean[c] += weight * f64::from(p[c]);
                        }
                    }
                }
            }
            // The nudge is far below the smallest step two exact means can differ by here.
            Rgb(mean.map(|m| (m + 0.5 + 1e-9) as u8))
        })
    }

    fn noise(w: u32, h: u32) -> RgbImage {
        let mut state = 0x9e37_79b9u32;
        RgbImage::from_fn(w, h, |_, _| {
            Rgb([(); 3].map(|()| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state as u8
            }))
        })
    }

    #[test]
    fn agrees_with_the_plain_reference() {
        struct Case {
            src: (u32, u32),
            region: (i32, i32, u32, u32),
            to: (u32, u32),
        }
        #[rustfmt::skip]
        let cases = [
            Case { src: (20, 16), region: (0, 0, 20, 16), to: (10, 8) },
            Case { src: (20, 16), region: (0, 0, 20, 16), to: (7, 5) },
            Case { src: (20, 16), region: (0, 0, 20, 16), to: (20, 16) },
            Case { src: (20, 16), region: (0, 0, 20, 16), to: (31, 24) },
            Case { src: (20, 16), region: (0, 0, 20, 16), to: (1, 1) },
            Case { src: (20, 16), region: (0, 0, 20, 16), to: (33, 3) },
            Case { src: (20, 16), region: (3, 4, 9, 11), to: (24, 24) },
            Case { src: (20, 16), region: (-5, -3, 15, 15), to: (8, 8) },
            Case { src: (20, 16), region: (12, 9, 15, 15), to: (24, 24) },
            Case { src: (20, 16), region: (-7, -7, 40, 40), to: (24, 24) },
            Case { src: (20, 16), region: (100, 2, 5, 5), to: (4, 4) },
            Case { src: (20, 16), region: (-30, -30, 5, 5), to: (4, 4) },
            Case { src: (1, 1), region: (0, 0, 1, 1), to: (5, 3) },
        ];
        for Case { src, region, to } in cases {
            let photo = noise(src.0, src.1);
            let (x, y, w, h) = region;
            let region = Region { x, y, w, h };
            let found = resize_region(&photo, region, to.0, to.1);
            assert!(
                found == reference(&photo, region, to.0, to.1),
                "{src:?} {region:?} {to:?}"
            );
        }
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        let photo = RgbImage::from_pixel(97, 61, Rgb([255, 0, 77]));
        for (w, h) in [(13, 8), (160, 160), (96, 62), (97, 61)] {
            let found = resize_area(&photo, w, h);
            assert!(found.pixels().all(|p| p.0 == [255, 0, 77]), "{w} x {h}");
        }
    }
}
