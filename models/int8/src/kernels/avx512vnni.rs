//! x86-64 with AVX-512 VNNI: one vector is a group, `vpdpbusd` multiplies a quad of it by 4 broadcast activations.
//!
//! ```text
//! zmm accumulator i,n += zmm weights n (16 channels x 4) * broadcast of 4 bytes of pixel i     64 multiplications
//! ```
//!
//! A quad loads N vectors of weights and M broadcasts for M x N products, so any tile with both above 1 is bound by
//! multiplications alone, given enough accumulators to hide their latency; 32 registers hold up to 28 and the operands.

use core::arch::x86_64::*;

use super::{
    Kernel, Memory, Part,
    tiles::{self, Tiles},
};
use crate::{
    Isa,
    network::{GROUP, QUAD},
    pack::LINE,
    resolve::{Conv, Route, Target},
};

pub(super) const KERNEL: Kernel = Kernel {
    isa: Isa::Avx512Vnni,
    flip: 0,
    scratch: |_| 0,
    tile: |pixels, groups, quads| TILES.choose(pixels, groups, quads),
    supported,
    convolve,
    peak,
};

fn supported() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

static TILES: Tiles = Tiles {
    tiles: [
        &[
            tile::<1, 1>,
            tile::<2, 1>,
            tile::<3, 1>,
            tile::<4, 1>,
            tile::<5, 1>,
            tile::<6, 1>,
            tile::<7, 1>,
            tile::<8, 1>,
            tile::<9, 1>,
            tile::<10, 1>,
            tile::<11, 1>,
            tile::<12, 1>,
        ],
        &[
            tile::<1, 2>,
            tile::<2, 2>,
            tile::<3, 2>,
            tile::<4, 2>,
            tile::<5, 2>,
            tile::<6, 2>,
            tile::<7, 2>,
            tile::<8, 2>,
            tile::<9, 2>,
            tile::<10, 2>,
        ],
        &[
            tile::<1, 3>,
            tile::<2, 3>,
            tile::<3, 3>,
            tile::<4, 3>,
            tile::<5, 3>,
            tile::<6, 3>,
            tile::<7, 3>,
            tile::<8, 3>,
            tile::<9, 3>,
        ],
        &[
            tile::<1, 4>,
            tile::<2, 4>,
            tile::<3, 4>,
            tile::<4, 4>,
            tile::<5, 4>,
            tile::<6, 4>,
        ],
    ],
    // Two multiplications or two loads a cycle, each accumulator once in 4 cycles.
    cost: |m, n| (4 * m * n).max(4 * (m + n)).max(8 * 4),
    prefetch: |line| {
        // Safety: a prefetch may name any address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
    },
};

/// # Safety
/// As [`super::Convolve`].
unsafe fn convolve(conv: &Conv, part: &Part, memory: &Memory) {
    // Safety: passed on.
    unsafe { tiles::cover(conv, part, memory, &TILES) }
}

/// Repeats a block for I = 0, 1, ... below a constant. Literal indices keep arrays of vectors in registers, which a
/// loop over them does not, once there are more than 16.
macro_rules! each {
    ($i:ident < $most:expr, $block:block) => { each!(@ $i $most, $block, 0 1 2 3 4 5 6 7 8 9 10 11) };
    (@ $i:ident $most:expr, $block:block, $($n:literal)*) => {
        $( if $n < $most { #[allow(non_upper_case_globals)] const $i: usize = $n; $block } )*
    };
}

/// # Safety
/// As [`tiles::Tile`], for M pixels and N groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const M: usize, const N: usize>(
    conv: &Conv,
    memory: &Memory,
    pixel: usize,
    group: usize,
) {
    let panel = conv.quads * LINE;
    let zero = _mm512_setzero_si512();
    let (mut a0, mut a1, mut a2, mut a3) = ([zero; M], [zero; M], [zero; M], [zero; M]);
    macro_rules! start {
        ($acc:ident, $n:literal) => {
            if $n < N {
                // Safety: biases are in whole groups, of which the tile's are some.
                let bias = unsafe {
                    _mm512_loadu_si512(conv.bias.as_ptr().add((group + $n) * GROUP).cast())
                };
                each!(i < M, {
                    $acc[i] = bias;
                });
            }
        };
    }
    start!(a0, 0);
    start!(a1, 1);
    start!(a2, 2);
    start!(a3, 3);

    // Safety: the tile's groups are in the blob, panel after panel.
    let mut w: *const u8 = unsafe { memory.blob.as_ptr().add(conv.weights + group * panel) };
    let mut from = [memory.bytes.as_ptr().cast_const(); M];
    for run in &conv.runs {
        // Safety: origins are given for every pixel; they and the runs from them lie in the arena.
        each!(i < M, {
            from[i] = unsafe {
                let origin = *conv.origins.as_ptr().add(pixel + i);
                memory.bytes.as_ptr().add((origin + run.offset) as usize)
            };
        });
        macro_rules! quad {
            ($k:expr, $line:expr) => {
                // Safety: N panels have a line for each quad of each run.
                let w0 = unsafe { _mm512_loadu_si512(w.add($line * LINE).cast()) };
                let w1 = if N > 1 {
                    unsafe { _mm512_loadu_si512(w.add(panel + $line * LINE).cast()) }
                } else {
                    zero
                };
                let w2 = if N > 2 {
                    unsafe { _mm512_loadu_si512(w.add(2 * panel + $line * LINE).cast()) }
                } else {
                    zero
                };
                let w3 = if N > 3 {
                    unsafe { _mm512_loadu_si512(w.add(3 * panel + $line * LINE).cast()) }
                } else {
                    zero
                };
                each!(i < M, {
                    // Safety: the quad is within the run.
                    let x = unsafe {
                        _mm512_set1_epi32(
                            from[i]
                                .add(($k + $line) * QUAD)
                                .cast::<i32>()
                                .read_unaligned(),
                        )
                    };
                    a0[i] = _mm512_dpbusd_epi32(a0[i], x, w0);
                    if N > 1 {
                        a1[i] = _mm512_dpbusd_epi32(a1[i], x, w1);
                    }
                    if N > 2 {
                        a2[i] = _mm512_dpbusd_epi32(a2[i], x, w2);
                    }
                    if N > 3 {
                        a3[i] = _mm512_dpbusd_epi32(a3[i], x, w3);
                    }
                });
            };
        }
        let quads = run.quads as usize;
        let mut k = 0;
        while k + 4 <= quads {
            quad!(k, 0);
            quad!(k, 1);
            quad!(k, 2);
            quad!(k, 3);
            k += 4;
            // Safety: after the last quad this is the end of the panel, which is in the blob or its end.
            w = unsafe { w.add(4 * LINE) };
        }
        while k < quads {
            quad!(k, 0);
            k += 1;
            // Safety: as above.
            w = unsafe { w.add(LINE) };
        }
    }

    // Safety: passed on.
    unsafe {
        finish::<M>(&a0, conv, memory, pixel, group);
        if N > 1 {
            finish::<M>(&a1, conv, memory, pixel, group + 1);
        }
        if N > 2 {
            finish::<M>(&a2, conv, memory, pixel, group + 2);
        }
        if N > 3 {
            finish::<M>(&a3, conv, memory, pixel, group + 3);
        }
    }
}

/// Requantizes and stores one group of M pixels.
///
/// # Safety
/// As [`tiles::Tile`], for M pixels and this group.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn finish<const M: usize>(
    acc: &[__m512i; M],
    conv: &Conv,
    memory: &Memory,
    pixel: usize,
    group: usize,
) {
    let channel = group * GROUP;
    // Safety: scales are in whole groups; slots and residuals are given for every pixel and lie in the arena with room
    // for the group.
    unsafe {
        let scale = _mm512_loadu_ps(conv.scale.as_ptr().add(channel));
        let Route { slot, channel: to } = *conv.routes.as_ptr().add(group);
        let slots = (*conv.slots.as_ptr().add(slot as usize))
            .as_ptr()
            .add(pixel);
        let zero = _mm512_set1_epi32(conv.zero);
        let low = _mm512_set1_epi32(conv.low);
        let store = |at: u32, real: __m512| {
            let y = _mm512_max_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(real), zero), low);
            let to = memory.bytes.as_ptr().add((at + to) as usize);
            // Saturating from unsigned is right: nothing is below `low`.
            _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(y));
        };
        if conv.target == Target::Floats || !conv.negative.is_empty() {
            let negative = match conv.negative.is_empty() {
                true => scale,
                false => _mm512_loadu_ps(conv.negative.as_ptr().add(channel)),
            };
            each!(i < M, {
                let below = _mm512_cmplt_epi32_mask(acc[i], _mm512_setzero_si512());
                let factor = _mm512_mask_blend_ps(below, scale, negative);
                let mut real = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[i]), factor);
                if conv.target == Target::Floats {
                    let at = *slots.add(i) + to;
                    _mm512_storeu_ps(memory.floats.as_ptr().add(at as usize), real);
                } else {
                    if let Some(residual) = &conv.residual {
                        let at = (*residual.pixels.as_ptr().add(pixel + i)) as usize + channel;
                        real =
                            _mm512_add_ps(real, added(memory, at, residual.zero, residual.scale));
                    }
                    store(*slots.add(i), real);
                }
            });
        } else if let Some(residual) = &conv.residual {
            each!(i < M, {
                let real = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[i]), scale);
                let at = (*residual.pixels.as_ptr().add(pixel + i)) as usize + channel;
                let real = _mm512_add_ps(real, added(memory, at, residual.zero, residual.scale));
                store(*slots.add(i), real);
            });
        } else {
            each!(i < M, {
                store(
                    *slots.add(i),
                    _mm512_mul_ps(_mm512_cvtepi32_ps(acc[i]), scale),
                );
            });
        }
    }
}

/// 16 residual values from byte `at` of the arena, as the reals to add.
///
/// # Safety
/// The bytes are in the arena.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn added(memory: &Memory, at: usize, zero: i32, scale: f32) -> __m512 {
    // Safety: passed on.
    let r = unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(memory.bytes.as_ptr().add(at).cast())) };
    let r = _mm512_cvtepi32_ps(_mm512_sub_epi32(r, _mm512_set1_epi32(zero)));
    _mm512_mul_ps(r, _mm512_set1_ps(scale))
}

/// # Safety
/// As [`super::Peak`].
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn peak(rounds: u32) -> u64 {
    const CHAINS: usize = 24;
    let x = _mm512_set1_epi8(std::hint::black_box(3));
    let w = _mm512_set1_epi8(std::hint::black_box(1));
    let mut acc = [_mm512_setzero_si512(); CHAINS];
    for _ in 0..rounds {
        for acc in &mut acc {
            *acc = _mm512_dpbusd_epi32(*acc, x, w);
        }
    }
    std::hint::black_box(acc);
    u64::from(rounds) * (CHAINS * GROUP * QUAD) as u64
}
