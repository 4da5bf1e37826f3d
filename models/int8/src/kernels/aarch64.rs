//! What the aarch64 kernels share: from accumulators to values in the arena, 16 channels at a time.
//!
//! Activations are stored signed (value - 128, the bits of value ^ 0x80). After rounding, everything is done in saturating
//! 16 and 8 bits: what saturates lies far outside of a byte, so that the clamp would have cut it to the same end.

use core::arch::{aarch64::*, asm};

use super::{
    Memory,
    tiles::{Ahead, each},
};
use crate::{
    network::GROUP,
    pack::LINE,
    resolve::{Conv, Residual, Route, Target},
};

/// The sums of 16 channels of one pixel.
pub(super) type Sums = [int32x4_t; 4];

/// What the sums of a group start from.
///
/// # Safety
/// The group is of the convolution.
#[inline(always)]
pub(super) unsafe fn biases(conv: &Conv, group: usize) -> Sums {
    // Safety: biases are in whole groups.
    unsafe {
        let from = conv.bias.as_ptr().add(group * GROUP);
        [
            vld1q_s32(from),
            vld1q_s32(from.add(4)),
            vld1q_s32(from.add(8)),
            vld1q_s32(from.add(12)),
        ]
    }
}

/// Requantizes and stores one group of M pixels.
///
/// # Safety
/// As [`super::tiles::Tile`], for M pixels and this group.
#[inline(always)]
pub(super) unsafe fn finish<const M: usize>(
    sums: [Sums; M],
    conv: &Conv,
    memory: &Memory,
    pixel: usize,
    group: usize,
) {
    let channel = group * GROUP;
    // Safety: scales are in whole groups; slots and residuals are given for every pixel and lie in the arena with room
    // for the group.
    unsafe {
        let scale = reals(conv.scale.as_ptr().add(channel));
        let Route { slot, channel: to } = *conv.routes.as_ptr().add(group);
        let slots = (*conv.slots.as_ptr().add(slot as usize))
            .as_ptr()
            .add(pixel);
        let zero = vdupq_n_s16((conv.zero - 128) as i16);
        let low = vdupq_n_s8((conv.low - 128) as i8);
        let bytes = memory.bytes.as_ptr().add(to as usize);
        let store = |at: u32, real: [float32x4_t; 4]| {
            let half = |a, b| {
                let y = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(a)), vcvtnq_s32_f32(b));
                vqaddq_s16(y, zero)
            };
            let [a, b, c, d] = real;
            let y = vqmovn_high_s16(vqmovn_s16(half(a, b)), half(c, d));
            vst1q_s8(bytes.add(at as usize).cast(), vmaxq_s8(y, low));
        };
        if conv.target == Target::Floats || !conv.negative.is_empty() {
            let negative = match conv.negative.is_empty() {
                true => scale,
                false => reals(conv.negative.as_ptr().add(channel)),
            };
            each!(i < M, {
                let real = product(sums[i], |n, sum| {
                    vbslq_f32(vcltzq_s32(sum), negative[n], scale[n])
                });
                if conv.target == Target::Floats {
                    let at = *slots.add(i) + to;
                    let at = memory.floats.as_ptr().add(at as usize);
                    each!(n < 4, {
                        vst1q_f32(at.add(4 * n), real[n]);
                    });
                } else if let Some(residual) = &conv.residual {
                    store(
                        *slots.add(i),
                        added(real, residual, memory, pixel + i, channel),
                    );
                } else {
                    store(*slots.add(i), real);
                }
            });
        } else if let Some(residual) = &conv.residual {
            each!(i < M, {
                let real = product(sums[i], |n, _| scale[n]);
                store(
                    *slots.add(i),
                    added(real, residual, memory, pixel + i, channel),
                );
            });
        } else {
            each!(i < M, {
                store(*slots.add(i), product(sums[i], |n, _| scale[n]));
            });
        }
    }
}

/// 16 consecutive floats.
///
/// # Safety
/// There are as many.
#[inline(always)]
unsafe fn reals(from: *const f32) -> [float32x4_t; 4] {
    // Safety: passed on.
    unsafe {
        [
            vld1q_f32(from),
            vld1q_f32(from.add(4)),
            vld1q_f32(from.add(8)),
            vld1q_f32(from.add(12)),
        ]
    }
}

#[inline(always)]
fn product(sums: Sums, factor: impl Fn(usize, int32x4_t) -> float32x4_t) -> [float32x4_t; 4] {
    // Safety: every aarch64 we build for has NEON.
    let one = |n: usize| unsafe { vmulq_f32(vcvtq_f32_s32(sums[n]), factor(n, sums[n])) };
    [one(0), one(1), one(2), one(3)]
}

/// Adds a pixel's residual.
///
/// # Safety
/// The pixel and the group from `channel` are of the residual.
#[inline(always)]
unsafe fn added(
    real: [float32x4_t; 4],
    residual: &Residual,
    memory: &Memory,
    pixel: usize,
    channel: usize,
) -> [float32x4_t; 4] {
    // Safety: residuals are given for every pixel and lie in the arena.
    unsafe {
        let at = *residual.pixels.as_ptr().add(pixel) as usize + channel;
        let r = vld1q_s8(memory.bytes.as_ptr().add(at).cast());
        let zero = vdupq_n_s8((residual.zero - 128) as i8);
        let scale = vdupq_n_f32(residual.scale);
        let near = vsubl_s8(vget_low_s8(r), vget_low_s8(zero));
        let far = vsubl_high_s8(r, zero);
        let sum = |real, r| vaddq_f32(real, vmulq_f32(vcvtq_f32_s32(r), scale));
        [
            sum(real[0], vmovl_s16(vget_low_s16(near))),
            sum(real[1], vmovl_high_s16(near)),
            sum(real[2], vmovl_s16(vget_low_s16(far))),
            sum(real[3], vmovl_high_s16(far)),
        ]
    }
}

/// Fetches what a tile is asked to into the second-level cache.
pub(super) fn fetch(ahead: Ahead) {
    for line in 0..ahead.lines {
        let at = ahead.from.wrapping_add(line * LINE);
        // Safety: a prefetch may name any address.
        unsafe {
            asm!("prfm pldl2keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly));
        }
    }
}
