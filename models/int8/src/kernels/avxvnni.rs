//! x86-64 with AVX-VNNI: `vpdpbusd` as `avx512vnni` has it, on 256 bits and 16 registers.
//!
//! ```text
//! ymm accumulator i,v += ymm weights v (8 channels x 4) * broadcast of 4 bytes of pixel i      32 multiplications
//! ```
//!
//! The tiles are written once, for the VEX encoding of AVX-VNNI ([`KERNEL`]) and for the EVEX encoding of AVX-512 VNNI
//! with 256 bits ([`TWIN`]), which does the same. A processor may have one without the other: only the twin is tested
//! where AVX-VNNI is missing, and the VEX instruction itself runs only where it is found.

use core::arch::x86_64::*;

use super::{
    Kernel, Memory, Part,
    tiles::{self, Ahead, Tiles, each},
    x86_256::{LANES, finish},
};
use crate::{
    Isa,
    network::{GROUP, QUAD},
    pack::LINE,
    resolve::Conv,
};

pub(super) const KERNEL: Kernel = vex::KERNEL;
pub(super) const TWIN: Kernel = evex::KERNEL;

/// A kernel over one encoding of the instruction.
macro_rules! encoding {
    ($name:ident, $features:literal, $dot:ident, $supported:expr) => {
        mod $name {
            use super::*;

            pub(super) const KERNEL: Kernel = Kernel {
                isa: Isa::AvxVnni,
                flip: 0,
                scratch: |_| 0,
                tile: |pixels, groups, quads| TILES.choose(pixels, groups, quads),
                supported: $supported,
                convolve,
                peak,
            };

            static TILES: Tiles = Tiles {
                tiles: [
                    &[
                        tile::<1, 1>,
                        tile::<2, 1>,
                        tile::<3, 1>,
                        tile::<4, 1>,
                        tile::<5, 1>,
                        tile::<6, 1>,
                    ],
                    // Three pixels would need 17 registers.
                    &[tile::<1, 2>, tile::<2, 2>],
                    &[],
                    &[],
                ],
                // Two multiplications or two loads a cycle, each accumulator once in 5 cycles.
                cost: |m, n| (8 * m * n).max(4 * (m + 2 * n)).max(8 * 5),
            };

            /// # Safety
            /// As [`super::super::Convolve`].
            unsafe fn convolve(conv: &Conv, part: &Part, memory: &Memory) {
                // Safety: passed on.
                unsafe { tiles::cover(conv, part, memory, &TILES) }
            }

            /// # Safety
            /// As [`tiles::Tile`], for M pixels and N groups.
            #[target_feature(enable = $features)]
            unsafe fn tile<const M: usize, const N: usize>(
                conv: &Conv,
                memory: &Memory,
                pixel: usize,
                group: usize,
                ahead: Ahead,
            ) {
                body!($dot, M, N, conv, memory, pixel, group, ahead);
            }

            /// # Safety
            /// As [`super::super::Peak`].
            #[target_feature(enable = $features)]
            unsafe fn peak(rounds: u32) -> u64 {
                const CHAINS: usize = 12;
                let x = _mm256_set1_epi8(std::hint::black_box(3));
                let w = _mm256_set1_epi8(std::hint::black_box(1));
                let mut acc = [_mm256_setzero_si256(); CHAINS];
                for _ in 0..rounds {
                    for acc in &mut acc {
                        *acc = $dot(*acc, x, w);
                    }
                }
                std::hint::black_box(acc);
                u64::from(rounds) * (CHAINS * LANES * QUAD) as u64
            }
        }
    };
}

/// What a tile does; two accumulators a pixel and group.
macro_rules! body {
    ($dot:ident, $m:ident, $n:ident, $conv:ident, $memory:ident, $pixel:ident, $group:ident, $ahead:ident) => {
        let panel = $conv.quads * LINE;
        let zero = _mm256_setzero_si256();
        let (mut a0, mut a1, mut a2, mut a3) = ([zero; $m], [zero; $m], [zero; $m], [zero; $m]);
        macro_rules! start {
            ($acc:ident, $v:literal) => {
                if $v < 2 * $n {
                    // Safety: biases are in whole groups, of which the tile's are some.
                    let bias = unsafe {
                        let bias = $conv.bias.as_ptr().add($group * GROUP + $v * LANES);
                        _mm256_loadu_si256(bias.cast())
                    };
                    each!(i < $m, {
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
        let mut w: *const u8 =
            unsafe { $memory.blob.as_ptr().add($conv.weights + $group * panel) };
        let mut ahead = $ahead.from;
        let mut from = [$memory.bytes.as_ptr().cast_const(); $m];
        for run in &$conv.runs {
            // Safety: origins are given for every pixel; they and the runs from them lie in the arena.
            each!(i < $m, {
                from[i] = unsafe {
                    let origin = *$conv.origins.as_ptr().add($pixel + i);
                    $memory.bytes.as_ptr().add((origin + run.offset) as usize)
                };
            });
            for quad in 0..run.quads as usize {
                // Safety: N panels have a line of two vectors for each quad of each run.
                let (w0, w1) = unsafe {
                    (
                        _mm256_loadu_si256(w.cast()),
                        _mm256_loadu_si256(w.add(LINE / 2).cast()),
                    )
                };
                let (w2, w3) = match $n > 1 {
                    // Safety: as above.
                    true => unsafe {
                        (
                            _mm256_loadu_si256(w.add(panel).cast()),
                            _mm256_loadu_si256(w.add(panel + LINE / 2).cast()),
                        )
                    },
                    false => (zero, zero),
                };
                each!(i < $m, {
                    // Safety: the quad is within the run.
                    let x = unsafe {
                        let x = from[i].add(quad * QUAD).cast::<i32>();
                        _mm256_set1_epi32(x.read_unaligned())
                    };
                    a0[i] = $dot(a0[i], x, w0);
                    a1[i] = $dot(a1[i], x, w1);
                    if $n > 1 {
                        a2[i] = $dot(a2[i], x, w2);
                        a3[i] = $dot(a3[i], x, w3);
                    }
                });
                // A prefetch may name any address. One line a quad is enough at this speed.
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                ahead = ahead.wrapping_add(LINE);
                // After the last quad this may be past the blob.
                w = w.wrapping_add(LINE);
            }
        }

        macro_rules! end {
            ($acc:ident, $v:literal) => {
                if $v < 2 * $n {
                    // A copy: an array whose address is taken would live in memory, loop and all.
                    let mut sums = [zero; $m];
                    each!(i < $m, {
                        sums[i] = $acc[i];
                    });
                    // Safety: passed on.
                    unsafe {
                        finish::<$m>(&sums, $conv, $memory, $pixel, $group + $v / 2, $v % 2)
                    };
                }
            };
        }
        end!(a0, 0);
        end!(a1, 1);
        end!(a2, 2);
        end!(a3, 3);
    };
}

encoding!(vex, "avx2,avxvnni", _mm256_dpbusd_avx_epi32, || {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni")
});
encoding!(
    evex,
    "avx2,avx512f,avx512vl,avx512vnni",
    _mm256_dpbusd_epi32,
    || {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
    }
);
