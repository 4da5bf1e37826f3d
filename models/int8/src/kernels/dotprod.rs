//! aarch64 with dot products: `sdot` multiplies 4 channels' weights by 4 activations picked by index.
//!
//! ```text
//! the 32 registers of the largest tile, 6 pixels x 16 channels
//!
//!     a0 b0 c0 d0    sums of pixel 0, 4 channels each        x0    its next 16 activations, 4 quads
//!         ...                                                ...
//!     a5 b5 c5 d5    sums of pixel 5                         x5                    w0 w1    weights of 4 channels each
//! ```
//!
//! A step of 4 quads is 96 multiplications and 17 other instructions. The loop is written in assembly, because compilers
//! load weights early and have no register left for them. `vdotq_s32` is not stable besides.

use core::arch::{aarch64::*, asm};
use std::{arch::is_aarch64_feature_detected, hint::black_box};

use super::{
    Kernel, Memory, Part,
    aarch64::{biases, fetch, finish},
    tiles::{self, Ahead, Tiles},
};
use crate::{Isa, network::GROUP, pack::LINE, resolve::Conv};

pub(super) const KERNEL: Kernel = Kernel {
    isa: Isa::DotProd,
    flip: 0x80,
    scratch: |_| 0,
    tile: |pixels, groups, quads| TILES.choose(pixels, groups, quads),
    supported: || is_aarch64_feature_detected!("dotprod"),
    convolve,
    peak,
};

static TILES: Tiles = Tiles {
    tiles: [&[tile1, tile2, tile3, tile4, tile5, tile6], &[], &[], &[]],
    // Two multiplications a cycle; besides, two pairs of weights and the loop.
    cost: |m, _| 16 * m + 8,
};

/// # Safety
/// As [`super::Convolve`].
unsafe fn convolve(conv: &Conv, part: &Part, memory: &Memory) {
    // Safety: passed on.
    unsafe { tiles::cover(conv, part, memory, &TILES) }
}

/// Multiplies two vectors of weights by quad `$j` of a pixel's activations.
macro_rules! sdot {
    ($x:ident[$j:literal], $a:ident, $b:ident) => {
        concat!(
            "sdot {",
            stringify!($a),
            ":v}.4s, {w0:v}.16b, {",
            stringify!($x),
            ":v}.4b[",
            $j,
            "]\n",
            "sdot {",
            stringify!($b),
            ":v}.4s, {w1:v}.16b, {",
            stringify!($x),
            ":v}.4b[",
            $j,
            "]\n",
        )
    };
}

/// One quad of all pixels, with the addresses of the two halves of its line.
macro_rules! quad {
    ($j:literal, $low:literal, $high:literal, $($x:ident: $a:ident $b:ident $c:ident $d:ident,)+) => {
        concat!(
            "ldp {w0:q}, {w1:q}, ", $high, "\n",
            $( sdot!($x[$j], $c, $d), )+
            "ldp {w0:q}, {w1:q}, ", $low, "\n",
            $( sdot!($x[$j], $a, $b), )+
        )
    };
}

macro_rules! tile {
    ($name:ident, $pixels:literal, $($i:literal at $p:ident, $x:ident: $a:ident $b:ident $c:ident $d:ident,)+) => {
        /// # Safety
        /// As [`tiles::Tile`], for this many pixels and one group.
        #[target_feature(enable = "dotprod")]
        unsafe fn $name(conv: &Conv, memory: &Memory, pixel: usize, group: usize, ahead: Ahead) {
            fetch(ahead);
            // Safety: biases are in whole groups, origins are given for every pixel. They and the runs from them lie in
            // the arena, whose slack lets the last 16 activations end outside; the group's lines lie in the blob.
            unsafe {
                let mut sums = [biases(conv, group); $pixels];
                let origins = conv.origins.as_ptr().add(pixel);
                let bytes = memory.bytes.as_ptr().cast_const();
                let runs = conv.runs.as_ptr_range();
                asm!(
                    "2:",
                    "ldp {k:w}, {steps:w}, [{run}], #8",
                    "and {rest:w}, {steps:w}, #3",
                    "lsr {steps:w}, {steps:w}, #2",
                    "cbz {steps:w}, 4f",
                    "3:",
                    $( concat!("ldr {", stringify!($x), ":q}, [{", stringify!($p), "}, {k}]"), )+
                    quad!(1, "[{w}, #64]", "[{w}, #96]", $($x: $a $b $c $d,)+),
                    quad!(2, "[{w}, #128]", "[{w}, #160]", $($x: $a $b $c $d,)+),
                    quad!(3, "[{w}, #192]", "[{w}, #224]", $($x: $a $b $c $d,)+),
                    quad!(0, "[{w}], #256", "[{w}, #32]", $($x: $a $b $c $d,)+),
                    "add {k}, {k}, #16",
                    "subs {steps:w}, {steps:w}, #1",
                    "b.ne 3b",
                    "4:",
                    "cbz {rest:w}, 6f",
                    $( concat!("ldr {", stringify!($x), ":q}, [{", stringify!($p), "}, {k}]"), )+
                    "5:",
                    quad!(0, "[{w}], #64", "[{w}, #32]", $($x: $a $b $c $d,)+),
                    $( concat!("ext {", stringify!($x), ":v}.16b, {", stringify!($x), ":v}.16b, {", stringify!($x), ":v}.16b, #4"), )+
                    "subs {rest:w}, {rest:w}, #1",
                    "b.ne 5b",
                    "6:",
                    "cmp {run}, {end}",
                    "b.ne 2b",
                    $(
                        $p = in(reg) bytes.add(*origins.add($i) as usize),
                        $x = out(vreg) _,
                        $a = inout(vreg) sums[$i][0],
                        $b = inout(vreg) sums[$i][1],
                        $c = inout(vreg) sums[$i][2],
                        $d = inout(vreg) sums[$i][3],
                    )+
                    w0 = out(vreg) _,
                    w1 = out(vreg) _,
                    w = inout(reg) memory.blob.as_ptr().add(conv.weights + group * conv.quads * LINE) => _,
                    run = inout(reg) runs.start => _,
                    end = in(reg) runs.end,
                    k = out(reg) _,
                    steps = out(reg) _,
                    rest = out(reg) _,
                    options(nostack, readonly),
                );
                finish(sums, conv, memory, pixel, group);
            }
        }
    };
}

tile!(
    tile1, 1,
    0 at p0, x0: a0 b0 c0 d0,
);
tile!(
    tile2, 2,
    0 at p0, x0: a0 b0 c0 d0,
    1 at p1, x1: a1 b1 c1 d1,
);
tile!(
    tile3, 3,
    0 at p0, x0: a0 b0 c0 d0,
    1 at p1, x1: a1 b1 c1 d1,
    2 at p2, x2: a2 b2 c2 d2,
);
tile!(
    tile4, 4,
    0 at p0, x0: a0 b0 c0 d0,
    1 at p1, x1: a1 b1 c1 d1,
    2 at p2, x2: a2 b2 c2 d2,
    3 at p3, x3: a3 b3 c3 d3,
);
tile!(
    tile5, 5,
    0 at p0, x0: a0 b0 c0 d0,
    1 at p1, x1: a1 b1 c1 d1,
    2 at p2, x2: a2 b2 c2 d2,
    3 at p3, x3: a3 b3 c3 d3,
    4 at p4, x4: a4 b4 c4 d4,
);
tile!(
    tile6, 6,
    0 at p0, x0: a0 b0 c0 d0,
    1 at p1, x1: a1 b1 c1 d1,
    2 at p2, x2: a2 b2 c2 d2,
    3 at p3, x3: a3 b3 c3 d3,
    4 at p4, x4: a4 b4 c4 d4,
    5 at p5, x5: a5 b5 c5 d5,
);

/// # Safety
/// As [`super::Peak`].
#[target_feature(enable = "dotprod")]
unsafe fn peak(rounds: u32) -> u64 {
    const CHAINS: usize = 16;
    let (x, w) = (vdupq_n_s8(black_box(3)), vdupq_n_s8(black_box(1)));
    let mut sums = [vdupq_n_s32(0); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            // Safety: touches registers only.
            unsafe {
                asm!(
                    "sdot {sum:v}.4s, {w:v}.16b, {x:v}.4b[0]",
                    sum = inout(vreg) *sum,
                    w = in(vreg) w,
                    x = in(vreg) x,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
        }
    }
    black_box(sums);
    u64::from(rounds) * (CHAINS * GROUP) as u64
}
