//! Pools and softmax: plain Rust over rows that `resolve` has bounded; the compiler vectorises them well enough.

use std::ops::Range;

use super::Memory;
use crate::{
    layout::Place,
    network::GROUP,
    resolve::{Pool, Requantize},
};

/// Greatest value under the window. Rows are counted over all images.
///
/// # Safety
/// `pool` comes from `resolve::program`, `memory` is the arena made for it; the rows are the caller's alone.
pub(super) unsafe fn max(pool: &Pool, rows: Range<usize>, flip: u8, memory: &Memory) {
    for row in rows {
        // Safety: passed on.
        unsafe {
            match flip {
                0 => max_row(pool, row, memory, u8::max),
                _ => max_row(pool, row, memory, |a, b| {
                    a.cast_signed().max(b.cast_signed()).cast_unsigned()
                }),
            }
        }
    }
}

/// # Safety
/// As [`max`], for one row.
#[inline(always)]
unsafe fn max_row(pool: &Pool, row: usize, memory: &Memory, greater: impl Fn(u8, u8) -> u8) {
    let [rows, columns] = pool.output.size;
    let (image, y) = (row / rows, row % rows);
    let [sy, sx] = pool.window.strides;
    let [top, left, _, _] = pool.window.pads;
    let [h, w] = pool.input.size;
    let [kh, kw] = pool.window.size;
    let under = |at: usize, stride: usize, pad: usize, size: usize, most: usize| {
        (at * stride).saturating_sub(pad)..(at * stride + size - pad).min(most)
    };
    let ys = under(y, sy, top, kh, h);
    for x in 0..columns {
        let xs = under(x, sx, left, kw, w);
        // Safety: the pixel is of the output, and the rows are the caller's.
        let out = unsafe { pixel_mut(&pool.output, memory, image, y, x, pool.channels) };
        // A window with no pixel of the picture under it cannot be: padding is smaller than the window.
        let mut first = true;
        for y in ys.clone() {
            for x in xs.clone() {
                // Safety: the pixel is of the input, another buffer than the output's.
                let tap = unsafe { pixel(&pool.input, memory, image, y, x, pool.channels) };
                if first {
                    out.copy_from_slice(tap);
                    first = false;
                } else {
                    for (out, &tap) in out.iter_mut().zip(tap) {
                        *out = greater(*out, tap);
                    }
                }
            }
        }
    }
}

/// Mean under the window.
///
/// # Safety
/// As [`max`].
pub(super) unsafe fn average(
    pool: &Pool,
    requantize: &Requantize,
    rows: Range<usize>,
    flip: u8,
    memory: &Memory,
) {
    let [height, columns] = pool.output.size;
    let [kh, kw] = pool.window.size;
    let [sy, sx] = pool.window.strides;
    // Within the check's bound of 2^20 pixels.
    let zero = (kh * kw) as i32 * i32::from(requantize.input_zero);
    for row in rows {
        let (image, y) = (row / height, row % height);
        for x in 0..columns {
            for first in (0..pool.channels).step_by(GROUP) {
                let n = GROUP.min(pool.channels - first);
                let at = |place: &Place| Place {
                    start: place.start + first,
                    ..*place
                };
                let mut sums = [-zero; GROUP];
                for ky in 0..kh {
                    for kx in 0..kw {
                        // Safety: the pixel is of the input: the window has no padding.
                        let tap = unsafe {
                            pixel(&at(&pool.input), memory, image, y * sy + ky, x * sx + kx, n)
                        };
                        for (sum, &tap) in sums.iter_mut().zip(tap) {
                            *sum += i32::from(tap ^ flip);
                        }
                    }
                }
                // Safety: the pixel is of the output, and the rows are the caller's.
                let out = unsafe { pixel_mut(&at(&pool.output), memory, image, y, x, n) };
                for (out, sum) in out.iter_mut().zip(sums) {
                    let y = rounded(sum as f32 * requantize.scale) + i32::from(requantize.zero);
                    *out = y.clamp(0, 255) as u8 ^ flip;
                }
            }
        }
    }
}

/// Rounds half to even what lies within a few hundred of 0, and anything else to something farther out.
///
/// Adding 1.5 x 2^23 leaves no bits for a fraction, so the addition itself rounds.
pub(super) fn rounded(real: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    ((real.clamp(-1024.0, 1024.0) + SHIFT) - SHIFT) as i32
}

/// Softmax over some channels of each pixel.
///
/// # Safety
/// As [`max`].
pub(super) unsafe fn softmax(
    place: &Place,
    first: usize,
    channels: usize,
    rows: Range<usize>,
    memory: &Memory,
) {
    let [height, columns] = place.size;
    for row in rows {
        let (image, y) = (row / height, row % height);
        for x in 0..columns {
            let at = place.start + image * place.image + y * place.row + x * place.stride + first;
            // Safety: the pixel is of the tensor, in the float arena, and the rows are the caller's.
            let values =
                unsafe { std::slice::from_raw_parts_mut(memory.floats.as_ptr().add(at), channels) };
            let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for value in &mut *values {
                *value = match *value == most {
                    true => 1.0,
                    false => libm::expf(*value - most),
                };
                sum += *value;
            }
            for value in values {
                *value /= sum;
            }
        }
    }
}

/// # Safety
/// The pixel is of the place, which is in the byte arena with `channels` values a pixel; nobody writes it meanwhile.
pub(super) unsafe fn pixel<'a>(
    place: &Place,
    memory: &'a Memory,
    image: usize,
    y: usize,
    x: usize,
    channels: usize,
) -> &'a [u8] {
    let at = place.start + image * place.image + y * place.row + x * place.stride;
    // Safety: passed on.
    unsafe { std::slice::from_raw_parts(memory.bytes.as_ptr().add(at), channels) }
}

/// # Safety
/// As [`pixel`], and nobody else reads it meanwhile.
#[allow(clippy::mut_from_ref)]
pub(super) unsafe fn pixel_mut<'a>(
    place: &Place,
    memory: &'a Memory,
    image: usize,
    y: usize,
    x: usize,
    channels: usize,
) -> &'a mut [u8] {
    let at = place.start + image * place.image + y * place.row + x * place.stride;
    // Safety: passed on.
    unsafe { std::slice::from_raw_parts_mut(memory.bytes.as_ptr().add(at), channels) }
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn rounding_is_half_to_even() {
        for half in -2000..=2000 {
            let real = half as f32 / 2.0;
            assert_eq!(rounded(real), real.round_ties_even() as i32, "{real}");
        }
        assert!(rounded(1e9) >= 1024 && rounded(-1e9) <= -1024);
    }
}
