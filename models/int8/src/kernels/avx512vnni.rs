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
    tiles::{self, Ahead, Tiles, each},
};
use crate::{
    Isa,
    network::{GROUP, QUAD},
    pack::LINE,
    resolve::{Conv, Residual, Route, Target},
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

// Larger tiles than these would need stack slots in their loops: `tests/hot_loops.rs`.
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
            tile::<11, 2>,
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
};

/// # Safety
/// As [`super::Convolve`].
unsafe fn convolve(conv: &Conv, part: &Part, memory: &Memory) {
    // Safety: passed on.
    unsafe { tiles::cover(conv, part, memory, &TILES) }
}

/// # Safety
/// As [`tiles::Tile`], for M pixels and N groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const M: usize, const N: usize>(
    conv: &Conv,
    memory: &Memory,
    pixel: usize,
    group: usize,
    Ahead {
        from: mut ahead,
        lines,
    }: Ahead,
) {
    let panel = conv.quads * LINE;
    // Lines fetched for every four quads, of which the tile reads 4 N, and bytes from quad to quad.
    let (fetches, step) = match lines > N * conv.quads / 4 {
        true => (4 * N, N * LINE),
        false => (N, N * LINE / 4),
    };
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
            let mut line = ahead.wrapping_add(k * step);
            for _ in 0..fetches {
                // A prefetch may name any address.
                _mm_prefetch::<_MM_HINT_T1>(line.cast());
                line = line.wrapping_add(LINE);
            }
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
        ahead = ahead.wrapping_add(quads * step);
    }

    // The common endings work on the registers at hand; a call would send them through memory.
    let common = conv.target == Target::Bytes && conv.negative.is_empty();
    macro_rules! end {
        ($acc:ident, $n:literal) => {
            if $n < N {
                let channel = (group + $n) * GROUP;
                // Safety: scales are in whole groups; residuals are given for every pixel and lie in the arena.
                unsafe {
                    let to = Out::new(conv, memory, pixel, group + $n);
                    let scale = _mm512_loadu_ps(conv.scale.as_ptr().add(channel));
                    if !common {
                        // A copy: an array whose address is taken would live in memory, loop and all.
                        let mut copy = [zero; M];
                        each!(i < M, { copy[i] = $acc[i]; });
                        rare(&copy, conv, memory, pixel, group + $n);
                    } else if let Some(residual) = &conv.residual {
                        each!(i < M, {
                            let real = _mm512_mul_ps(_mm512_cvtepi32_ps($acc[i]), scale);
                            let at = (*residual.pixels.as_ptr().add(pixel + i)) as usize + channel;
                            to.store(i, _mm512_add_ps(real, added(memory, at, residual)));
                        });
                    } else {
                        each!(i < M, {
                            to.store(i, _mm512_mul_ps(_mm512_cvtepi32_ps($acc[i]), scale));
                        });
                    }
                }
            }
        };
    }
    end!(a0, 0);
    end!(a1, 1);
    end!(a2, 2);
    end!(a3, 3);
}

/// Where a tile's group goes, and how it is rounded.
#[derive(Clone, Copy)]
struct Out {
    /// The group of a pixel whose slot is 0.
    base: *mut u8,
    /// By pixel of the tile.
    slots: *const u32,
    zero: __m512i,
    low: __m512i,
}

impl Out {
    /// # Safety
    /// As [`tiles::Tile`], for this group.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn new(conv: &Conv, memory: &Memory, pixel: usize, group: usize) -> Out {
        // Safety: routes and slots are given for every group and pixel.
        let (slots, to) = unsafe {
            let Route { slot, channel } = *conv.routes.as_ptr().add(group);
            let slots = (*conv.slots.as_ptr().add(slot as usize)).as_ptr();
            (
                slots.add(pixel),
                memory.bytes.as_ptr().add(channel as usize),
            )
        };
        Out {
            base: to,
            slots,
            zero: _mm512_set1_epi32(conv.zero),
            low: _mm512_set1_epi32(conv.low),
        }
    }

    /// Rounds and stores the group of pixel `i` of the tile.
    ///
    /// # Safety
    /// As [`tiles::Tile`], for this pixel.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store(&self, i: usize, real: __m512) {
        let y = _mm512_max_epi32(
            _mm512_add_epi32(_mm512_cvtps_epi32(real), self.zero),
            self.low,
        );
        // Safety: the slot lies in the arena with room for the group. Saturating as unsigned is right: nothing is below
        // `low`.
        unsafe {
            let to = self.base.add(*self.slots.add(i) as usize);
            _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(y));
        }
    }
}

/// The endings with a slope or in f32, one group of M pixels.
///
/// # Safety
/// As [`tiles::Tile`], for M pixels and this group.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn rare<const M: usize>(
    acc: &[__m512i; M],
    conv: &Conv,
    memory: &Memory,
    pixel: usize,
    group: usize,
) {
    let channel = group * GROUP;
    // Safety: scales are in whole groups; slots and residuals are given for every pixel and lie in the arena.
    unsafe {
        let to = Out::new(conv, memory, pixel, group);
        let scale = _mm512_loadu_ps(conv.scale.as_ptr().add(channel));
        let negative = match conv.negative.is_empty() {
            true => scale,
            false => _mm512_loadu_ps(conv.negative.as_ptr().add(channel)),
        };
        for (i, &acc) in acc.iter().enumerate() {
            let below = _mm512_cmplt_epi32_mask(acc, _mm512_setzero_si512());
            let factor = _mm512_mask_blend_ps(below, scale, negative);
            let real = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), factor);
            match (conv.target, &conv.residual) {
                (Target::Floats, _) => {
                    let at = *to.slots.add(i) + conv.routes[group].channel;
                    _mm512_storeu_ps(memory.floats.as_ptr().add(at as usize), real);
                }
                (Target::Bytes, Some(residual)) => {
                    let at = (*residual.pixels.as_ptr().add(pixel + i)) as usize + channel;
                    to.store(i, _mm512_add_ps(real, added(memory, at, residual)));
                }
                (Target::Bytes, None) => to.store(i, real),
            }
        }
    }
}

/// 16 residual values from byte `at` of the arena, as the reals to add.
///
/// # Safety
/// The bytes are in the arena.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn added(memory: &Memory, at: usize, residual: &Residual) -> __m512 {
    // Safety: passed on.
    let r = unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(memory.bytes.as_ptr().add(at).cast())) };
    let r = _mm512_cvtepi32_ps(_mm512_sub_epi32(r, _mm512_set1_epi32(residual.zero)));
    _mm512_mul_ps(r, _mm512_set1_ps(residual.scale))
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
    let all = acc.into_iter().fold(_mm512_setzero_si512(), |sum, acc| {
        _mm512_add_epi32(sum, acc)
    });
    std::hint::black_box(_mm512_reduce_add_epi32(all));
    u64::from(rounds) * (CHAINS * GROUP * QUAD) as u64
}
