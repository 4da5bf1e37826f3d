//! Depthwise convolutions: plain Rust over rows that `resolve` has bounded, 16 channels at a time.
//!
//! They are a fiftieth of a network's multiplications, so one kernel serves all instruction sets; the compiler makes
//! vectors of its loops. A product of a byte and a weight fits 16 bits: 255 x 127 is less than 2^15.

use std::ops::Range;

use super::{
    Memory,
    pool::{pixel, pixel_mut, rounded},
};
use crate::{layout::Place, network::GROUP, resolve::Depthwise};

/// Convolves. Rows are counted over all images.
///
/// # Safety
/// `conv` comes from `resolve::program`, `memory` is the arena made for it and the blob of its plan; the rows are the
/// caller's alone.
pub(super) unsafe fn convolve(conv: &Depthwise, rows: Range<usize>, flip: u8, memory: &Memory) {
    let [height, columns] = conv.output.size;
    for row in rows {
        let (image, y) = (row / height, row % height);
        for x in 0..columns {
            for channel in (0..conv.channels).step_by(GROUP) {
                // Safety: passed on; the pixel is of the output, the group of its channels.
                unsafe { group_of(conv, [image, y, x], channel, flip, memory) };
            }
        }
    }
}

/// One pixel, 16 channels.
///
/// # Safety
/// As [`convolve`], for this pixel and the group from `channel`.
unsafe fn group_of(
    conv: &Depthwise,
    [image, y, x]: [usize; 3],
    channel: usize,
    flip: u8,
    memory: &Memory,
) {
    let [kh, kw] = conv.window.size;
    let [down, right] = conv.window.strides;
    let [top, left, _, _] = conv.window.pads;
    // The border is part of the buffer, so counting from its corner no tap lies before it.
    let corner = conv.input.start + channel - top * conv.input.row - left * conv.input.stride;
    let under = Place {
        start: corner,
        ..conv.input
    };
    let at = |place: &Place| Place {
        start: place.start + channel,
        ..*place
    };
    let mut acc = [0i32; GROUP];
    acc.copy_from_slice(&conv.bias[channel..channel + GROUP]);
    for ky in 0..kh {
        for kx in 0..kw {
            let tap = ky * kw + kx;
            // Safety: the window lies within the picture and its border; the weights are in the blob, whole groups.
            let (bytes, weights) = unsafe {
                let (y, x) = (y * down + ky, x * right + kx);
                let weights = memory
                    .blob
                    .add(conv.weights + tap * conv.channels + channel);
                let weights = std::slice::from_raw_parts(weights.as_ptr(), GROUP);
                (pixel(&under, memory, image, y, x, GROUP), weights)
            };
            for ((acc, byte), weight) in acc.iter_mut().zip(bytes).zip(weights) {
                *acc += i32::from(i16::from(byte ^ flip) * i16::from(weight.cast_signed()));
            }
        }
    }
    // Safety: the pixel is of the output, and the row is the caller's.
    let out = unsafe { pixel_mut(&at(&conv.output), memory, image, y, x, GROUP) };
    let scale = &conv.scale[channel..channel + GROUP];
    let negative = match conv.negative.is_empty() {
        true => scale,
        false => &conv.negative[channel..channel + GROUP],
    };
    for (((out, acc), scale), negative) in out.iter_mut().zip(acc).zip(scale).zip(negative) {
        let real = acc as f32 * if acc < 0 { *negative } else { *scale };
        let y = rounded(real) + i32::from(conv.zero);
        *out = y.clamp(i32::from(conv.low), 255) as u8 ^ flip;
    }
}
