//! What the x86-64 kernels with 256-bit vectors share: from 8 accumulated channels to 8 stored values.
//!
//! `avx2` and `avxvnni` differ in how they multiply and accumulate; both end with one vector a pixel, its lanes 8
//! channels in order, half a group.

use core::arch::x86_64::*;

use super::{Memory, tiles::each};
use crate::{
    network::GROUP,
    resolve::{Conv, Route, Target},
};

/// Channels of a vector of 32-bit lanes.
pub(super) const LANES: usize = 8;

/// Requantizes and stores half a group of M pixels: the 8 channels from `half * 8` of the group.
///
/// # Safety
/// The processor has AVX2. As [`super::tiles::Tile`], for M pixels and this group; `half` is 0 or 1.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn finish<const M: usize>(
    acc: &[__m256i; M],
    conv: &Conv,
    memory: &Memory,
    pixel: usize,
    group: usize,
    half: usize,
) {
    let channel = group * GROUP + half * LANES;
    // Safety: scales are in whole groups; slots and residuals are given for every pixel and lie in the arena with room
    // for the group.
    unsafe {
        let scale = _mm256_loadu_ps(conv.scale.as_ptr().add(channel));
        let negative = match conv.negative.is_empty() {
            true => scale,
            false => _mm256_loadu_ps(conv.negative.as_ptr().add(channel)),
        };
        let Route { slot, channel: to } = *conv.routes.as_ptr().add(group);
        let to = to as usize + half * LANES;
        let slots = (*conv.slots.as_ptr().add(slot as usize))
            .as_ptr()
            .add(pixel);
        each!(i < M, {
            // The sign bit of an accumulator chooses its scale.
            let factor = _mm256_blendv_ps(scale, negative, _mm256_castsi256_ps(acc[i]));
            let mut real = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[i]), factor);
            let to = *slots.add(i) as usize + to;
            if conv.target == Target::Floats {
                _mm256_storeu_ps(memory.floats.as_ptr().add(to), real);
            } else {
                if let Some(residual) = &conv.residual {
                    let at = *residual.pixels.as_ptr().add(pixel + i) as usize + channel;
                    let r = _mm_loadl_epi64(memory.bytes.as_ptr().add(at).cast());
                    let r =
                        _mm256_sub_epi32(_mm256_cvtepu8_epi32(r), _mm256_set1_epi32(residual.zero));
                    let r = _mm256_mul_ps(_mm256_cvtepi32_ps(r), _mm256_set1_ps(residual.scale));
                    real = _mm256_add_ps(real, r);
                }
                let y = _mm256_add_epi32(_mm256_cvtps_epi32(real), _mm256_set1_epi32(conv.zero));
                let y = _mm256_max_epi32(y, _mm256_set1_epi32(conv.low));
                // Packing saturates from signed 16 bits only.
                let y = _mm256_min_epi32(y, _mm256_set1_epi32(255));
                let y =
                    _mm_packs_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256::<1>(y));
                let to = memory.bytes.as_ptr().add(to);
                _mm_storel_epi64(to.cast(), _mm_packus_epi16(y, y));
            }
        });
    }
}
