//! Resizing by area averaging, in whole numbers: the same bits on every machine.
//!
//! ```text
//! source axis  |--0--|--1--|--2--|--3--|--4--|      5 pixels, each `target` = 3 units long
//! target axis  |----0----|----1----|----2----|      3 pixels, each `source` = 5 units long
//! ```
//!
//! Overlaps are whole units, so each target pixel is the exact mean of the area below it, rounded half up. Rows are
//! summed first, bytes beside bytes, in sums as narrow as they can be: that is what the compiler makes vectors of.
//! Called by `decode`'s users through `image`, by `mtcnn` for the pyramid and its crops, and by `align`.

use std::ops::{Add, AddAssign, Mul, Range, Sub};

use image::RgbImage;

mod axis;
mod reciprocal;

use axis::{Axis, Cut};
use reciprocal::Reciprocal;

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

impl Region {
    /// All of a photo.
    #[must_use]
    pub fn whole(photo: &RgbImage) -> Region {
        Region {
            x: 0,
            y: 0,
            w: photo.width(),
            h: photo.height(),
        }
    }
}

/// The sum of this many bytes has 16 bits.
const MOST_NARROW_ROWS: usize = 257;

/// Resizes by averaging the source area under each target pixel; the same bits on every machine.
///
/// `w` and `h` are at least 1. Enlarging repeats pixels weighted by overlap, as area averaging does.
#[must_use]
pub fn resize_area(src: &RgbImage, w: u32, h: u32) -> RgbImage {
    if src.dimensions() == (w, h) {
        return src.clone();
    }
    resize_region(src, Region::whole(src), w, h)
}

/// Cuts a region out and resizes it as [`resize_area`] does; what lies outside the photo counts as black.
///
/// Region and target have at least one pixel; the region's sides are under 2^23, the target's under 2^16.
#[must_use]
pub fn resize_region(src: &RgbImage, region: Region, w: u32, h: u32) -> RgbImage {
    let mut out = RgbImage::new(w, h);
    Resizer::default().resize(src, region, [w, h], &mut out);
    out
}

/// [`resize_region`] for callers with many pictures: working memory is kept from one to the next.
#[derive(Debug, Default)]
pub struct Resizer {
    columns: Axis,
    rows: Axis,
    buffers: Buffers,
}

/// Working memory for one row of the target, by the width of its sums in bits.
#[derive(Debug, Default)]
struct Buffers {
    narrow: Line<u16, u32>,
    middle: Line<u32, u32>,
    wide: Line<u32, u64>,
}

impl Resizer {
    /// Writes the region, `w` x `h` RGB pixels large, into `out`, which has room for exactly these.
    ///
    /// # Panics
    /// If `out` has another length, or a side is 0 or too large.
    pub fn resize(&mut self, src: &RgbImage, region: Region, [w, h]: [u32; 2], out: &mut [u8]) {
        assert_eq!(out.len(), w as usize * h as usize * 3, "room for {w} x {h}");
        let (columns, rows) = (&mut self.columns, &mut self.rows);
        columns.lay_out(src.width(), region.x, region.w, w);
        rows.lay_out(src.height(), region.y, region.h, h);
        if columns.used.is_empty() || rows.used.is_empty() {
            out.fill(0);
            return;
        }
        let area = u64::from(columns.source) * u64::from(rows.source);
        match Reciprocal::new(area) {
            Some(mean) if rows.source as usize <= MOST_NARROW_ROWS => {
                let line = &mut self.buffers.narrow;
                average(src, columns, rows, line, |sum| mean.of(sum), out);
            }
            Some(mean) => {
                let line = &mut self.buffers.middle;
                average(src, columns, rows, line, |sum| mean.of(sum), out);
            }
            None => {
                let line = &mut self.buffers.wide;
                let mean = |sum| ((sum + area / 2) / area) as u8;
                average(src, columns, rows, line, mean, out);
            }
        }
    }
}

/// One row of the target in the making: columns of the source summed into `L`, then these into `T`.
#[derive(Debug, Default)]
struct Line<L, T> {
    /// Each used column's sum over the rows.
    sums: Vec<L>,
    /// Each used column's sum over whole rows, before it is weighted.
    plain: Vec<u16>,
    /// Sums of the columns from one cut's to before the next one's.
    between: Vec<T>,
    /// Each cut's column, and its units left of the cut.
    cut: Vec<L>,
    units: Vec<L>,
}

fn average<L: Sum, T: Sum + From<L>>(
    src: &RgbImage,
    columns: &Axis,
    rows: &Axis,
    line: &mut Line<L, T>,
    mean: impl Fn(T) -> u8,
    out: &mut [u8],
) {
    let stride = src.width() as usize * 3;
    let used = columns.used.start * 3..columns.used.end * 3;
    let row = |y: usize| &src.as_raw()[y * stride..][used.clone()];
    line.lay_out(columns);
    let width = columns.cuts.len() * 3 - 3;
    for (out, cuts) in out.chunks_exact_mut(width).zip(rows.cuts.windows(2)) {
        let sums = &mut line.sums[..used.len()];
        sum_rows(sums, &mut line.plain, row, cuts, rows.target);
        line.gather(columns);
        line.finish(columns.target, &mean, out);
    }
}

/// Each column's sum over the rows between two cuts.
fn sum_rows<'a, L: Sum>(
    sums: &mut [L],
    plain: &mut [u16],
    row: impl Fn(usize) -> &'a [u8],
    cuts: &[Cut],
    whole: u16,
) {
    let (from, to) = (cuts[0], cuts[1]);
    let units = |y: usize| {
        let end = if y == to.pixel { to.units } else { whole };
        let start = if y == from.pixel { from.units } else { 0 };
        end - start
    };
    let end = to.pixel + usize::from(to.units > 0);
    let inner = from.pixel + usize::from(from.units > 0)..to.pixel;
    sums.fill(L::from(0u8));
    if inner.len() < 4 {
        add_rows(sums, from.pixel..end, row, units);
        return;
    }
    add_rows(sums, from.pixel..inner.start, &row, units);
    add_rows(sums, inner.end..end, &row, units);
    // Many whole rows: one multiplication for as many as 16 bits hold.
    for start in inner.clone().step_by(MOST_NARROW_ROWS) {
        plain.fill(0);
        let some = start..inner.end.min(start + MOST_NARROW_ROWS);
        add_rows(plain, some, &row, |_| 1);
        for (sum, &p) in sums.iter_mut().zip(&*plain) {
            *sum += L::from(p) * L::from(whole);
        }
    }
}

fn add_rows<'a, L: Sum>(
    sums: &mut [L],
    rows: Range<usize>,
    row: impl Fn(usize) -> &'a [u8],
    units: impl Fn(usize) -> u16,
) {
    let tap = |y: usize| (row(y), units(y));
    for y in rows.clone().step_by(4) {
        match rows.end - y {
            1 => add(sums, [tap(y)]),
            2 => add(sums, [tap(y), tap(y + 1)]),
            3 => add(sums, [tap(y), tap(y + 1), tap(y + 2)]),
            _ => add(sums, [tap(y), tap(y + 1), tap(y + 2), tap(y + 3)]),
        }
    }
}

fn add<L: Sum, const N: usize>(sums: &mut [L], taps: [(&[u8], u16); N]) {
    let taps = taps.map(|(row, units)| (&row[..sums.len()], units));
    for (i, sum) in sums.iter_mut().enumerate() {
        let mut s = *sum;
        for (row, units) in taps {
            s += L::from(row[i]) * L::from(units);
        }
        *sum = s;
    }
}

impl<L: Sum, T: Sum + From<L>> Line<L, T> {
    /// Room for one row. Pixels are read and written four wide, the fourth for nothing.
    fn lay_out(&mut self, columns: &Axis) {
        fn zeros<N: Sum>(buffer: &mut Vec<N>, len: usize) {
            buffer.clear();
            buffer.resize(len, N::from(0u8));
        }
        zeros(&mut self.sums, columns.used.len() * 3 + 4);
        zeros(&mut self.plain, columns.used.len() * 3);
        zeros(&mut self.between, columns.cuts.len() * 3 - 2);
        zeros(&mut self.cut, columns.cuts.len() * 3 + 1);
        self.units.clear();
        let units = columns.cuts.iter().map(|cut| L::from(cut.units));
        self.units.extend(units.flat_map(|units| [units; 3]));
    }

    fn gather(&mut self, columns: &Axis) {
        let first = columns.used.start;
        for (i, cut) in columns.cuts.iter().enumerate() {
            let pixel = &self.sums[(cut.pixel - first) * 3..][..4];
            self.cut[i * 3..][..4].copy_from_slice(pixel);
        }
        for (i, cuts) in columns.cuts.windows(2).enumerate() {
            let pixels = &self.sums[(cuts[0].pixel - first) * 3..(cuts[1].pixel - first) * 3 + 1];
            let mut sum = [T::from(0u8); 4];
            for pixel in pixels.windows(4).step_by(3) {
                for c in 0..4 {
                    sum[c] += T::from(pixel[c]);
                }
            }
            self.between[i * 3..][..4].copy_from_slice(&sum);
        }
    }

    fn finish(&self, whole: u16, mean: impl Fn(T) -> u8, out: &mut [u8]) {
        let whole = T::from(whole);
        let n = out.len();
        let (between, cut, units) = (&self.between[..n], &self.cut[..n + 3], &self.units[..n + 3]);
        for x in 0..n {
            let left = T::from(cut[x]) * T::from(units[x]);
            let right = T::from(cut[x + 3]) * T::from(units[x + 3]);
            out[x] = mean(between[x] * whole + right - left);
        }
    }
}

/// A width of sums. Which one is wide enough is decided in [`Resizer::resize`].
trait Sum:
    Copy
    + From<u8>
    + From<u16>
    + AddAssign
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
{
}

impl Sum for u16 {}
impl Sum for u32 {}
impl Sum for u64 {}

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
            // Sums of 32 bits: rows few, rows many, and more of them than one sum of 16 bits holds.
            Case { src: (30, 299), region: (0, 0, 30, 299), to: (4, 150) },
            Case { src: (30, 299), region: (0, 0, 30, 299), to: (4, 7) },
            Case { src: (5, 1031), region: (-1, 0, 7, 1031), to: (3, 2) },
            // Sums of 64 bits.
            Case { src: (2053, 2051), region: (0, 0, 2053, 2051), to: (1, 1) },
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
    fn a_resizer_forgets_the_last_picture() {
        let photo = noise(40, 30);
        let mut resizer = Resizer::default();
        for (x, y, side, to) in [
            (0, 0, 40, 31),
            (-9, 4, 30, 7),
            (90, 90, 5, 9),
            (20, 5, 3, 16),
        ] {
            let region = Region {
                x,
                y,
                w: side,
                h: side,
            };
            let mut out = vec![77; (to * to * 3) as usize];
            resizer.resize(&photo, region, [to, to], &mut out);
            assert!(
                out == *reference(&photo, region, to, to).as_raw(),
                "{region:?}"
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
