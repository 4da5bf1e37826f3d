//! aarch64 without dot products: two products of bytes add up in 16 bits, and pairs of those in 32.
//!
//! ```text
//! the 32 registers of the largest tile, 2 pixels x 16 channels
//!
//!     v0-v7    sums of pixel 0, 2 channels x 2 each      v16, v17   pixel 0: 2 quads, each in all lanes
//!     v8-v15   sums of pixel 1                           v18, v19   pixel 1
//!     v20-v23  weights: 8 channels of 2 quads            v24-v31    products of 2 pixels x 8 channels
//!
//!     smull    products  = weights of one quad * activations of it          8 multiplications
//!     smlal    products += weights of the next quad * activations of it     at most 2 x 127 x 128 < 2^15
//!     sadalp   sums     += products, in pairs
//! ```
//!
//! A step of 4 quads is 96 of these three and 15 other instructions. Cortex-A72 has one pipe that multiplies, so 2/3 of
//! the 96 are its limit. The loop is written in assembly: `ld2r` needs registers in a row, and Cortex-A53 runs instructions
//! in the order they are in, so that 8 independent products and early loads keep it from waiting.

use core::arch::{aarch64::*, asm};
use std::hint::black_box;

use super::{
    Kernel, Memory, Part,
    aarch64::{biases, fetch, finish},
    tiles::{self, Ahead, Tiles},
};
use crate::{Isa, network::GROUP, pack::LINE, resolve::Conv};

pub(super) const KERNEL: Kernel = Kernel {
    isa: Isa::Neon,
    flip: 0x80,
    scratch: |_| 0,
    tile: |pixels, groups, quads| TILES.choose(pixels, groups, quads),
    supported: || true,
    convolve,
    peak,
};

static TILES: Tiles = Tiles {
    tiles: [&[tile1, tile2], &[], &[], &[]],
    // One multiplication a cycle, 8 for a quad and a pixel; two pairs of weights and the loop besides.
    cost: |m, _| 64 * m + 8,
};

/// # Safety
/// As [`super::Convolve`].
unsafe fn convolve(conv: &Conv, part: &Part, memory: &Memory) {
    // Safety: passed on.
    unsafe { tiles::cover(conv, part, memory, &TILES) }
}

/// Products of one vector of weights and one of activations, by an instruction that sets or adds.
macro_rules! multiply {
    ($op:tt, $w:tt, $x:tt, $low:tt $high:tt) => {
        concat!(
            $op, " ", $low, ".8h, ", $w, ".8b, ", $x, ".8b\n", $op, "2 ", $high, ".8h, ", $w,
            ".16b, ", $x, ".16b\n",
        )
    };
}

/// Adds the products of 8 channels to their sums.
macro_rules! sadalp {
    ($($low:tt $high:tt $lower:tt $higher:tt, $a:tt $b:tt $c:tt $d:tt;)+) => {
        concat!(
            $( "sadalp ", $a, ".4s, ", $low, ".8h\nsadalp ", $b, ".4s, ", $high, ".8h\n", )+
            $( "sadalp ", $c, ".4s, ", $lower, ".8h\nsadalp ", $d, ".4s, ", $higher, ".8h\n", )+
        )
    };
}

/// Multiplies 8 channels of two quads, then does what is given to fill the time until the products are there.
macro_rules! two {
    ($then:expr, $($x:tt $y:tt, $low:tt $high:tt $lower:tt $higher:tt;)+) => {
        concat!(
            $( multiply!("smull", "v20", $x, $low $high), )+
            $( multiply!("smull", "v21", $x, $lower $higher), )+
            $( multiply!("smlal", "v22", $y, $low $high), )+
            $( multiply!("smlal", "v23", $y, $lower $higher), )+
            $then,
        )
    };
}

/// Multiplies 8 channels of a last quad.
macro_rules! one {
    ($v:literal $w:literal, $($x:tt, $low:tt $high:tt $lower:tt $higher:tt;)+) => {
        concat!(
            $( multiply!("smull", $v, $x, $low $high), )+
            $( multiply!("smull", $w, $x, $lower $higher), )+
        )
    };
}

/// Loads 8 channels' weights of two quads.
macro_rules! weights {
    ($first:literal, $second:literal) => {
        concat!(
            "ldp q22, q23, [{w}, ",
            $second,
            "]\nldp q20, q21, [{w}",
            $first,
            "\n"
        )
    };
}

/// Loads two quads of activations of every pixel, each into all lanes.
macro_rules! activations {
    ($($x:tt $y:tt $at:ident;)+) => {
        concat!( $( "ld2r {{", $x, ".4s, ", $y, ".4s}}, [{", stringify!($at), "}], #8\n", )+ )
    };
}

macro_rules! tile {
    ($name:ident, $pixels:literal, $(
        $i:literal at $p:ident $q:ident, $x:tt $y:tt, $low:tt $high:tt $lower:tt $higher:tt,
        $a:tt $b:tt $c:tt $d:tt $e:tt $f:tt $g:tt $h:tt;
    )+) => {
        /// # Safety
        /// As [`tiles::Tile`], for this many pixels and one group.
        unsafe fn $name(conv: &Conv, memory: &Memory, pixel: usize, group: usize, ahead: Ahead) {
            fetch(ahead);
            // Safety: origins are given for every pixel. They and the runs from them lie in the arena; the group's lines
            // lie in the blob.
            unsafe {
                let zero = vdupq_n_s32(0);
                let bias = biases(conv, group);
                let start = bias.map(|b| [vzip1q_s32(b, zero), vzip2q_s32(b, zero)]);
                let mut sums = [start; $pixels];
                let origins = conv.origins.as_ptr().add(pixel);
                let bytes = memory.bytes.as_ptr().cast_const();
                let runs = conv.runs.as_ptr_range();
                asm!(
                    "2:",
                    "ldp {offset:w}, {steps:w}, [{run}], #8",
                    $( concat!("add {", stringify!($q), "}, {", stringify!($p), "}, {offset}"), )+
                    "and {rest:w}, {steps:w}, #3",
                    "lsr {steps:w}, {steps:w}, #2",
                    "cbz {steps:w}, 4f",
                    "3:",
                    activations!($($x $y $q;)+),
                    weights!("]", "#64"),
                    two!(weights!(", #32]", "#96"), $($x $y, $low $high $lower $higher;)+),
                    sadalp!($($low $high $lower $higher, $a $b $c $d;)+),
                    two!(
                        concat!(activations!($($x $y $q;)+), weights!(", #128]", "#192")),
                        $($x $y, $low $high $lower $higher;)+
                    ),
                    sadalp!($($low $high $lower $higher, $e $f $g $h;)+),
                    two!(weights!(", #160]", "#224"), $($x $y, $low $high $lower $higher;)+),
                    sadalp!($($low $high $lower $higher, $a $b $c $d;)+),
                    two!("add {w}, {w}, #256\n", $($x $y, $low $high $lower $higher;)+),
                    sadalp!($($low $high $lower $higher, $e $f $g $h;)+),
                    "subs {steps:w}, {steps:w}, #1",
                    "b.ne 3b",
                    "4:",
                    "cbz {rest:w}, 6f",
                    "5:",
                    $( concat!("ld1r {{", $x, ".4s}}, [{", stringify!($q), "}], #4"), )+
                    "ldp q22, q23, [{w}, #32]",
                    "ldp q20, q21, [{w}], #64",
                    one!("v20" "v21", $($x, $low $high $lower $higher;)+),
                    sadalp!($($low $high $lower $higher, $a $b $c $d;)+),
                    one!("v22" "v23", $($x, $low $high $lower $higher;)+),
                    sadalp!($($low $high $lower $higher, $e $f $g $h;)+),
                    "subs {rest:w}, {rest:w}, #1",
                    "b.ne 5b",
                    "6:",
                    "cmp {run}, {end}",
                    "b.ne 2b",
                    $(
                        $p = in(reg) bytes.add(*origins.add($i) as usize),
                        $q = out(reg) _,
                    )+
                    w = inout(reg) memory.blob.as_ptr().add(conv.weights + group * conv.quads * LINE) => _,
                    run = inout(reg) runs.start => _,
                    end = in(reg) runs.end,
                    offset = out(reg) _,
                    steps = out(reg) _,
                    rest = out(reg) _,
                    $(
                        inout($a) sums[$i][0][0],
                        inout($b) sums[$i][0][1],
                        inout($c) sums[$i][1][0],
                        inout($d) sums[$i][1][1],
                        inout($e) sums[$i][2][0],
                        inout($f) sums[$i][2][1],
                        inout($g) sums[$i][3][0],
                        inout($h) sums[$i][3][1],
                    )+
                    out("v16") _, out("v17") _, out("v18") _, out("v19") _,
                    out("v20") _, out("v21") _, out("v22") _, out("v23") _,
                    out("v24") _, out("v25") _, out("v26") _, out("v27") _,
                    out("v28") _, out("v29") _, out("v30") _, out("v31") _,
                    options(nostack, readonly),
                );
                let whole = sums.map(|of| of.map(|[near, far]| vpaddq_s32(near, far)));
                finish(whole, conv, memory, pixel, group);
            }
        }
    };
}

tile!(
    tile1, 1,
    0 at p0 q0, "v16" "v17", "v24" "v25" "v26" "v27", "v0" "v1" "v2" "v3" "v4" "v5" "v6" "v7";
);
tile!(
    tile2, 2,
    0 at p0 q0, "v16" "v17", "v24" "v25" "v26" "v27", "v0" "v1" "v2" "v3" "v4" "v5" "v6" "v7";
    1 at p1 q1, "v18" "v19", "v28" "v29" "v30" "v31", "v8" "v9" "v10" "v11" "v12" "v13" "v14" "v15";
);

/// # Safety
/// As [`super::Peak`].
#[target_feature(enable = "neon")]
unsafe fn peak(rounds: u32) -> u64 {
    const CHAINS: usize = 8;
    let (x, w) = (vdupq_n_s8(black_box(3)), vdupq_n_s8(black_box(1)));
    let mut sums = [vdupq_n_s32(0); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            // Safety: touches registers only.
            unsafe {
                asm!(
                    "smull {product:v}.8h, {w:v}.8b, {x:v}.8b",
                    "smlal2 {product:v}.8h, {w:v}.16b, {x:v}.16b",
                    "sadalp {sum:v}.4s, {product:v}.8h",
                    sum = inout(vreg) *sum,
                    product = out(vreg) _,
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
