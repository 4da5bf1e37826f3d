//! x86-64 with AVX2 alone: `vpmaddwd` on activations widened beforehand, exact where `vpmaddubsw` would saturate.
//!
//! ```text
//! scratch     where the block starts | u8 -> i16, all bytes under the windows of a block of pixels, once for all groups
//!
//! ymm accumulator i,v += vpmaddwd(ymm weights v (4 channels x 4, widened), broadcast of 4 i16 of pixel i)
//!                        lanes: n0 k01, n0 k23, n1 k01, n1 k23, ...    added in pairs at the end, to 4 channels
//! ```
//!
//! A tile does one group, half after half: 6 pixels x 8 channels are 12 accumulators, which with 2 vectors of weights,
//! a broadcast and a product fill the 16 registers. Both 128-bit loads of weights are widened once for the 6 pixels.

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

pub(super) const KERNEL: Kernel = Kernel {
    isa: Isa::Avx2,
    flip: 0,
    scratch,
    tile: |pixels, groups, quads| TILES.choose(pixels, groups, quads),
    supported: || is_x86_feature_detected!("avx2"),
    convolve,
    peak,
};

static TILES: Tiles = Tiles {
    tiles: [
        &[
            tile::<1>, tile::<2>, tile::<3>, tile::<4>, tile::<5>, tile::<6>,
        ],
        &[],
        &[],
        &[],
    ],
    // Four widenings, and four multiplications and additions a pixel, at about 13 pairs in 8 cycles.
    cost: |m, n| 8 * n * (4 + 5 * m) / 2,
};

/// Pixels of the largest tile.
const MOST: usize = 6;
/// Bytes of the arena that a block of pixels reads, if that is more than one tile: widened, a part of a 512 KiB cache.
const BLOCK: usize = 96 << 10;
/// Activations widened at once.
const STEP: usize = 16;

/// Bytes of the arena from the start of the first of some pixels' windows to the end of the last's. Origins ascend.
fn span(conv: &Conv, first: usize, end: usize) -> usize {
    let reach = conv
        .runs
        .last()
        .map_or(0, |run| run.offset as usize + run.quads as usize * QUAD);
    (conv.origins[end - 1] - conv.origins[first]) as usize + reach
}

/// One line to say where the block starts, and room for any block that `convolve` can choose.
fn scratch(conv: &Conv) -> usize {
    let all = conv.origins.len();
    let tiles = (0..all).map(|first| span(conv, first, all.min(first + MOST)));
    let largest = tiles.max().unwrap_or(0);
    let block = largest.max(BLOCK.min(span(conv, 0, all)));
    LINE + size_of::<i16>() * block.next_multiple_of(STEP)
}

/// # Safety
/// As [`super::Convolve`].
unsafe fn convolve(conv: &Conv, part: &Part, memory: &Memory) {
    let Part {
        pixels,
        groups,
        tile,
    } = part;
    let mut first = pixels.start;
    while first < pixels.end {
        let mut end = pixels.end.min(first + tile[0]);
        while end < pixels.end {
            let next = pixels.end.min(end + tile[0]);
            if span(conv, first, next) > BLOCK {
                break;
            }
            end = next;
        }
        let block = Part {
            pixels: first..end,
            groups: groups.clone(),
            tile: *tile,
        };
        // Safety: the block is within the part, and its windows were just widened.
        unsafe {
            widen(conv, first, end, memory);
            tiles::cover(conv, &block, memory, &TILES);
        }
        first = end;
    }
}

/// Widens what the windows of a block of pixels cover into the scratch, for `tile`.
///
/// # Safety
/// As [`super::Convolve`], for these pixels; they are a tile's at the most, or span `BLOCK` bytes at the most.
#[target_feature(enable = "avx2")]
unsafe fn widen(conv: &Conv, first: usize, end: usize, memory: &Memory) {
    let start = conv.origins[first];
    let steps = span(conv, first, end).div_ceil(STEP);
    // Safety: windows lie in the arena, and less than a step after them is in the buffer's slack, which nobody writes;
    // `scratch` counted the line and the steps.
    unsafe {
        memory.scratch.as_ptr().cast::<u32>().write(start);
        let from = memory.bytes.as_ptr().add(start as usize);
        let to = memory.scratch.as_ptr().add(LINE);
        for step in 0..steps {
            let x = _mm_loadu_si128(from.add(step * STEP).cast());
            let to = to.add(step * STEP * size_of::<i16>());
            _mm256_store_si256(to.cast(), _mm256_cvtepu8_epi16(x));
        }
    }
}

/// # Safety
/// As [`tiles::Tile`], for M pixels and one group; `widen` was called for a block with these pixels.
#[target_feature(enable = "avx2")]
unsafe fn tile<const M: usize>(
    conv: &Conv,
    memory: &Memory,
    pixel: usize,
    group: usize,
    ahead: Ahead,
) {
    for half in 0..GROUP / LANES {
        // One line a quad is enough at this speed.
        let ahead = ahead.from.wrapping_add(half * conv.quads * LINE);
        // Safety: passed on.
        unsafe { half_of::<M>(conv, memory, pixel, group, half, ahead) };
    }
}

/// # Safety
/// As [`tile`], for 8 channels of the group.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn half_of<const M: usize>(
    conv: &Conv,
    memory: &Memory,
    pixel: usize,
    group: usize,
    half: usize,
    mut ahead: *const u8,
) {
    let zero = _mm256_setzero_si256();
    let (mut a0, mut a1) = ([zero; M], [zero; M]);
    // Safety: the group's panel is in the blob; the scratch holds the block's start and its bytes.
    let (mut w, block, start) = unsafe {
        let panel = conv.weights + group * conv.quads * LINE;
        (
            memory.blob.as_ptr().add(panel + half * LANES * QUAD),
            memory.scratch.as_ptr().add(LINE).cast_const(),
            memory.scratch.as_ptr().cast::<u32>().read(),
        )
    };
    let mut from = [block; M];
    for run in &conv.runs {
        // Safety: origins are given for every pixel; they are of this block, and the runs from them widened with it.
        each!(i < M, {
            from[i] = unsafe {
                let origin = *conv.origins.as_ptr().add(pixel + i) - start;
                block.add((origin + run.offset) as usize * size_of::<i16>())
            };
        });
        for quad in 0..run.quads as usize {
            // Safety: half a line holds two loads.
            let (w0, w1) = unsafe {
                (
                    _mm256_cvtepi8_epi16(_mm_loadu_si128(w.cast())),
                    _mm256_cvtepi8_epi16(_mm_loadu_si128(w.add(LINE / 4).cast())),
                )
            };
            each!(i < M, {
                // Safety: the quad is within the run.
                let x = unsafe {
                    let x = from[i].add(quad * QUAD * size_of::<i16>());
                    _mm256_set1_epi64x(x.cast::<i64>().read_unaligned())
                };
                a0[i] = _mm256_add_epi32(a0[i], _mm256_madd_epi16(x, w0));
                a1[i] = _mm256_add_epi32(a1[i], _mm256_madd_epi16(x, w1));
            });
            // A prefetch may name any address.
            _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
            ahead = ahead.wrapping_add(LINE);
            // A line for each quad of all runs; after the last this may be past the blob.
            w = w.wrapping_add(LINE);
        }
    }
    // Safety: biases are in whole groups.
    let bias = unsafe {
        let bias = conv.bias.as_ptr().add(group * GROUP + half * LANES);
        _mm256_loadu_si256(bias.cast())
    };
    // An array of its own: one whose address is taken would live in memory, loop and all.
    let mut sums = [zero; M];
    each!(i < M, {
        // Sums of pairs are n0 n1 n4 n5 n2 n3 n6 n7.
        let pairs = _mm256_hadd_epi32(a0[i], a1[i]);
        sums[i] = _mm256_add_epi32(_mm256_permute4x64_epi64::<0b11_01_10_00>(pairs), bias);
    });
    // Safety: passed on.
    unsafe { finish::<M>(&sums, conv, memory, pixel, group, half) }
}

/// # Safety
/// As [`super::Peak`].
#[target_feature(enable = "avx2")]
unsafe fn peak(rounds: u32) -> u64 {
    const CHAINS: usize = 12;
    let w = _mm256_set1_epi16(std::hint::black_box(1));
    let mut acc = [_mm256_set1_epi32(std::hint::black_box(3)); CHAINS];
    for _ in 0..rounds {
        // A product of the accumulator itself, so that it cannot be taken out of the loop.
        for acc in &mut acc {
            *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(*acc, w));
        }
    }
    std::hint::black_box(acc);
    u64::from(rounds) * (CHAINS * LANES * 2) as u64
}
