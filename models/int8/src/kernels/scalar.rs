//! The plain kernel: one multiplication at a time, on any processor. The oracle of all others in whole networks.

use super::{Kernel, Memory, Part};
use crate::{
    Isa,
    network::{GROUP, QUAD},
    pack::LINE,
    resolve::{Conv, Target},
};

pub(super) const KERNEL: Kernel = Kernel {
    isa: Isa::Scalar,
    flip: 0,
    scratch: |_| 0,
    tile: |_, _, _| [1, 1],
    supported: || true,
    convolve,
    peak,
};

/// # Safety
/// As [`super::Convolve`].
unsafe fn convolve(conv: &Conv, part: &Part, memory: &Memory) {
    for pixel in part.pixels.clone() {
        for group in part.groups.clone() {
            // Safety: passed on; pixel and group are within the part.
            unsafe { group_of(conv, memory, pixel, group) };
        }
    }
}

/// One pixel, 16 channels.
///
/// # Safety
/// As [`super::Convolve`], for this pixel and group.
unsafe fn group_of(conv: &Conv, memory: &Memory, pixel: usize, group: usize) {
    let channel = group * GROUP;
    let mut acc = [0i32; GROUP];
    acc.copy_from_slice(&conv.bias[channel..channel + GROUP]);
    // Safety: the group's lines are in the blob.
    let mut lines = unsafe { memory.blob.add(conv.weights + group * conv.quads * LINE) };
    for run in &conv.runs {
        let start = conv.origins[pixel] as usize + run.offset as usize;
        for quad in 0..run.quads as usize {
            for (n, acc) in acc.iter_mut().enumerate() {
                for k in 0..QUAD {
                    // Safety: the run's bytes are in the arena, the line's in the blob.
                    let (x, w) = unsafe {
                        let x = memory.bytes.add(start + quad * QUAD + k).read();
                        (x, lines.add(n * QUAD + k).read().cast_signed())
                    };
                    *acc += i32::from(x) * i32::from(w);
                }
            }
            // Safety: there is one line for each quad of all runs; after the last one this is the blob's end at most.
            lines = unsafe { lines.add(LINE) };
        }
    }
    for (n, acc) in acc.into_iter().enumerate() {
        // Safety: passed on.
        unsafe { finish(conv, memory, pixel, channel + n, acc) };
    }
}

/// From one accumulator to one value in the arena.
///
/// # Safety
/// As [`super::Convolve`], for this pixel and channel.
unsafe fn finish(conv: &Conv, memory: &Memory, pixel: usize, channel: usize, acc: i32) {
    let scale = match conv.negative.get(channel) {
        Some(&negative) if acc < 0 => negative,
        Some(_) | None => conv.scale[channel],
    };
    let mut real = acc as f32 * scale;
    let route = conv.routes[channel / GROUP];
    let slot = conv.slots[route.slot as usize][pixel];
    let to = (slot + route.channel) as usize + channel % GROUP;
    match conv.target {
        // Safety: the output's groups are in the arena.
        Target::Floats => unsafe { memory.floats.add(to).write(real) },
        Target::Bytes => {
            if let Some(residual) = &conv.residual {
                let from = residual.pixels[pixel] as usize + channel;
                // Safety: the residual has as many channels as the output, and is in the arena.
                let r = unsafe { memory.bytes.add(from).read() };
                real += (i32::from(r) - residual.zero) as f32 * residual.scale;
            }
            let y = (real.round_ties_even() as i32 + conv.zero).clamp(conv.low, 255);
            // Safety: as above; a byte by the clamp.
            unsafe { memory.bytes.add(to).write(y as u8) }
        }
    }
}

/// # Safety
/// None needed.
unsafe fn peak(rounds: u32) -> u64 {
    let mut acc = [0i32; GROUP];
    for round in 0..rounds {
        let x = std::hint::black_box(round.cast_signed() & 0xff);
        for (n, acc) in acc.iter_mut().enumerate() {
            *acc = acc.wrapping_add(x * n as i32);
        }
    }
    std::hint::black_box(acc);
    u64::from(rounds) * GROUP as u64
}
