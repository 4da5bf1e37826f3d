//! The memory that kernels work in: one allocation of bytes, one of floats, shared by the workers of a run.
//!
//! Workers write disjoint pixels and channels of one step, with a barrier between steps, which no reference can express;
//! so the arena hands out pointers, and only `kernels` follows them. Safe code reads and writes it between runs.

use std::ptr::NonNull;

/// A 64-byte line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Zeroed lines, owned. Every pointer into them comes from the one they were allocated with.
struct Lines {
    first: NonNull<Line>,
    count: usize,
}

/// What all workers share.
#[derive(Debug)]
pub(super) struct Arena {
    bytes: Lines,
    floats: Lines,
}

/// What one worker has for itself.
#[derive(Debug)]
pub(super) struct Scratch(Lines);

/// Where everything is, for a kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// u8 activations, XORed with the kernel's flip.
    pub(crate) bytes: NonNull<u8>,
    /// f32 results.
    pub(crate) floats: NonNull<f32>,
    /// The plan's blob; read only.
    pub(crate) blob: NonNull<u8>,
    /// The worker's own, as many bytes as the kernel asked for; of ours only AVX2 does.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub(crate) scratch: NonNull<u8>,
}

impl Arena {
    /// At least this many bytes and floats, zeroed.
    pub(super) fn new(bytes: usize, floats: usize) -> Arena {
        Arena {
            bytes: Lines::new(bytes),
            floats: Lines::new(floats * size_of::<f32>()),
        }
    }

    /// Pointers to all of it.
    pub(super) fn memory(&self, blob: &[u8], scratch: &Scratch) -> Memory {
        Memory {
            bytes: self.bytes.first.cast(),
            floats: self.floats.first.cast(),
            blob: NonNull::from(blob).cast(),
            scratch: scratch.0.first.cast(),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // Safety: lines are plain bytes without padding, and the slice covers exactly them.
        unsafe {
            std::slice::from_raw_parts(self.bytes.first.as_ptr().cast(), self.bytes.count * 64)
        }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.bytes.count * 64;
        // Safety: as for `bytes`, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.first.as_ptr().cast(), len) }
    }

    pub(super) fn floats(&self) -> &[f32] {
        let len = self.floats.count * (64 / size_of::<f32>());
        // Safety: lines are aligned for f32, every bit pattern is one, and the slice covers exactly the lines.
        unsafe { std::slice::from_raw_parts(self.floats.first.as_ptr().cast(), len) }
    }
}

impl Scratch {
    pub(super) fn new(bytes: usize) -> Scratch {
        Scratch(Lines::new(bytes))
    }
}

impl Lines {
    fn new(bytes: usize) -> Lines {
        let count = bytes.div_ceil(64).max(1);
        let lines = Box::leak(vec![Line([0; 64]); count].into_boxed_slice());
        Lines {
            first: NonNull::from(lines).cast(),
            count,
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let lines = std::ptr::slice_from_raw_parts_mut(self.first.as_ptr(), self.count);
        // Safety: this is the box that `new` leaked, given back once.
        drop(unsafe { Box::from_raw(lines) });
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lines({} bytes)", self.count * 64)
    }
}
