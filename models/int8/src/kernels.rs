//! The kernels, and the one door to their unsafe code.
//!
//! A kernel does a part of a convolution: some output pixels, some groups of 16 output channels. What it may touch is
//! fixed by [`Conv`], whose offsets `resolve` has worked out and bounded. Adding an instruction set: one file with
//! a `KERNEL`, one line in [`ALL`]; tests and benchmarks walk the list.

#![allow(unsafe_code)]

use std::ops::Range;

use crate::{Error, Isa, isa, resolve::Conv};

mod depthwise;
mod memory;
mod pool;
mod scalar;
mod task;
mod tiles;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512vnni;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86_256;

use memory::Memory;
pub(crate) use task::Task;

/// One instruction set's kernels.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) isa: Isa,
    /// What stored activations are XORed with: 0, or 0x80 where multiplication wants them signed.
    pub(crate) flip: u8,
    /// Bytes that [`Kernel::convolve`] wants for itself, on a 64-byte line, for the largest part of this step.
    pub(crate) scratch: fn(&Conv) -> usize,
    /// Pixels and groups of the tiles that cover a part of so many pixels and groups, with so many quads.
    tile: fn(pixels: usize, groups: usize, quads: usize) -> [usize; 2],
    supported: fn() -> bool,
    convolve: Convolve,
    peak: Peak,
}

/// Does a part of a convolution.
///
/// # Safety
/// The processor has the kernel's instruction set. `conv` comes from `resolve::program`, `memory` is the arena made for
/// it and the blob of its plan. The part is within `conv`, and while it runs nobody else writes what it reads or writes.
type Convolve = unsafe fn(conv: &Conv, part: &Part, memory: &Memory);

/// Multiplies and accumulates in registers only, `rounds` times; returns how many multiply-accumulates that was.
///
/// # Safety
/// The processor has the kernel's instruction set.
type Peak = unsafe fn(rounds: u32) -> u64;

/// A part of a convolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Output pixels, counted over all images.
    pub(crate) pixels: Range<usize>,
    /// Groups of output channels.
    pub(crate) groups: Range<usize>,
    /// What [`Kernel::tile`] chose.
    pub(crate) tile: [usize; 2],
}

/// Best first.
static ALL: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    avx512vnni::KERNEL,
    #[cfg(target_arch = "x86_64")]
    avxvnni::KERNEL,
    #[cfg(target_arch = "x86_64")]
    avx2::KERNEL,
    #[cfg(target_arch = "aarch64")]
    dotprod::KERNEL,
    #[cfg(target_arch = "aarch64")]
    neon::KERNEL,
    scalar::KERNEL,
];

/// The source of a kernel of [`ALL`] under another encoding of its instructions. No setting chooses one: they let tests
/// run that source on processors that lack the encoding of the original, which itself runs only where it is supported.
static TWINS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    avxvnni::TWIN,
];

pub(crate) fn available() -> impl Iterator<Item = &'static Kernel> {
    ALL.iter().filter(|kernel| (kernel.supported)())
}

pub(crate) fn twins() -> impl Iterator<Item = &'static Kernel> {
    TWINS.iter().filter(|kernel| (kernel.supported)())
}

pub(crate) fn best() -> &'static Kernel {
    // The scalar kernel is always supported.
    available().next().unwrap_or(&scalar::KERNEL)
}

pub(crate) fn find(isa: Isa) -> Result<&'static Kernel, Error> {
    available()
        .find(|kernel| kernel.isa == isa)
        .ok_or_else(|| Error::Unsupported {
            isa,
            available: isa::list(&Isa::available()),
        })
}

/// Multiply-accumulates done, at the most this processor can, in a loop of `rounds` rounds over registers alone.
///
/// # Errors
/// [`Error::Unsupported`] if the processor lacks the instruction set.
pub fn peak(isa: Isa, rounds: u32) -> Result<u64, Error> {
    let kernel = find(isa)?;
    // Safety: `find` returns only what the processor supports.
    Ok(unsafe { (kernel.peak)(rounds) })
}
