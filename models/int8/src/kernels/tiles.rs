//! Covers a part of a convolution with register tiles. Shared by the instruction sets whose kernels are tiles.
//!
//! ```text
//!                  channels, in blocks of 1 to 4 groups of 16          outer loop: a block's weights stay near
//!                +---------+---------+----
//!      pixels,   | tile    | tile    |         a tile keeps pixels x groups accumulators in registers while it walks
//!      in rows   | 8 x 48  | 8 x 48  |         all quads of its window, then requantizes and stores them
//!      of up to  +---------+---------+----
//!      14        | 8 x 48  |                   inner loop: pixels stream past the block
//! ```
//!
//! What is left over at the end is done by a smaller tile: nothing is computed twice, so parts of workers never overlap.

use super::{Memory, Part};
use crate::{pack::LINE, resolve::Conv};

/// Does one tile: its pixels from `pixel`, its groups from `group`.
///
/// # Safety
/// As [`super::Convolve`], for these pixels and groups.
pub(super) type Tile =
    unsafe fn(conv: &Conv, memory: &Memory, pixel: usize, group: usize, ahead: Ahead);

/// Weights that a tile may fetch into the second-level cache while it multiplies, where that pays: in a burst between
/// tiles the fetches would be waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    /// Any address: nothing is read.
    pub(super) from: *const u8,
    /// As many as the tile itself reads, or a quarter of them, or none.
    pub(super) lines: usize,
}

/// The tiles an instruction set has.
pub(super) struct Tiles {
    /// `[groups - 1][pixels - 1]`; every count of pixels from 1 to the most.
    pub(super) tiles: [&'static [Tile]; 4],
    /// What one quad costs a tile of so many pixels and groups, in 1/8 cycles: the model tiles are chosen by.
    pub(super) cost: fn(pixels: usize, groups: usize) -> usize,
}

/// Per tile, beside the quads: loading biases, requantizing, storing. In 1/8 cycles, and per accumulator.
const FIXED: usize = 8 * 24;
const PER_ACCUMULATOR: usize = 8 * 2;

/// Repeats a block for I = 0, 1, ... below a constant. Literal indices keep arrays of vectors in registers, which a
/// loop over them does not, once there are more than 16.
macro_rules! each {
    ($i:ident < $most:expr, $block:block) => { each!(@ $i $most, $block, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15) };
    (@ $i:ident $most:expr, $block:block, $($n:literal)*) => {
        $( if $n < $most { #[allow(non_upper_case_globals)] const $i: usize = $n; $block } )*
    };
}

pub(super) use each;

/// Covers the part.
///
/// # Safety
/// As [`super::Convolve`].
pub(super) unsafe fn cover(conv: &Conv, part: &Part, memory: &Memory, set: &Tiles) {
    let [pixels, most_groups] = part.tile;
    let line_up = |group: usize| conv.weights + group * conv.quads * LINE;
    let mut group = part.groups.start;
    while group < part.groups.end {
        let groups = most_groups.min(part.groups.end - group);
        let tiles = set.tiles[groups - 1];
        let rows = pixels.min(tiles.len());
        let next = match group + groups < part.groups.end {
            true => line_up(group + groups),
            false => conv.next_weights,
        };
        // Few tiles: the first fetches all of the next block. Many: four of them share it, the rest fetch nothing.
        let lines = groups * conv.quads;
        let few = part.pixels.len() < 4 * rows;
        for (at, pixel) in part.pixels.clone().step_by(rows).enumerate() {
            let (from, lines) = match (few, at) {
                (true, 0) => (next, lines),
                (false, 0..4) => (next + at * (lines / 4) * LINE, lines / 4),
                (_, _) => (line_up(group), 0),
            };
            let ahead = Ahead {
                from: memory.blob.as_ptr().cast_const().wrapping_add(from),
                lines,
            };
            let n = rows.min(part.pixels.end - pixel);
            // Safety: passed on; the tile covers `n` pixels and `groups` groups, all within the part.
            unsafe { tiles[n - 1](conv, memory, pixel, group, ahead) };
        }
        group += groups;
    }
}

impl Tiles {
    /// Pixels and groups of a tile that the model says are fastest.
    pub(super) fn choose(&self, pixels: usize, groups: usize, quads: usize) -> [usize; 2] {
        let tile = |n: usize, m: usize| (self.cost)(m, n) * quads + FIXED + PER_ACCUMULATOR * m * n;
        let mut best = (usize::MAX, 1, 1);
        for n in 1..=4.min(groups) {
            for m in 1..=self.tiles[n - 1].len().min(pixels) {
                let row = |n: usize| {
                    let m = m.min(self.tiles[n - 1].len());
                    let (whole, rest) = (pixels / m, pixels % m);
                    whole * tile(n, m) + if rest == 0 { 0 } else { tile(n, rest) }
                };
                let all = groups / n * row(n)
                    + if groups.is_multiple_of(n) {
                        0
                    } else {
                        row(groups % n)
                    };
                if all < best.0 {
                    best = (all, n, m);
                }
            }
        }
        [best.2, best.1]
    }
}
