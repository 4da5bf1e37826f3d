//! A network at work: a program, its arena and its split over workers, kept together so that nothing can be mixed up.
//!
//! This is the boundary between safe and unsafe code. Outside, a task takes bytes and gives values; inside, every step's
//! offsets are of the arena allocated beside them, and every part of a step is one worker's alone until the barrier.

use std::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    Kernel, Memory, Part, depthwise,
    memory::{Arena, Scratch},
    pool,
};
use crate::{
    Error, Plan,
    network::GROUP,
    pack::LINE,
    resolve::{self, Conv, Program, Ready},
    workers::{Barrier, Job, Workers},
};

/// A program ready to run.
#[derive(Debug)]
pub(crate) struct Task {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    plan: Arc<Plan>,
    program: Program,
    kernel: &'static Kernel,
    splits: Vec<Split>,
    images: AtomicUsize,
    arena: UnsafeCell<Arena>,
    /// One for each worker, kept for `memory`.
    _scratch: Vec<Scratch>,
    memory: Vec<Memory>,
}

// Safety: the arena is reached through `memory` while a run lasts, by workers in disjoint parts between barriers, and
// through `Task` otherwise, whose `run` takes `&mut self` and returns only when all workers are done.
unsafe impl Sync for Shared {}
// Safety: as above; nothing in it belongs to a thread.
unsafe impl Send for Shared {}

/// How a step is shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    /// By output pixels, in whole tiles.
    Pixels { tile: [usize; 2] },
    /// By groups of output channels.
    Groups { tile: [usize; 2] },
    /// By rows, for what is no convolution.
    Rows,
}

impl Task {
    /// Makes a plan ready for pictures of one size, up to `batch` at once.
    pub(crate) fn new(
        plan: &Arc<Plan>,
        size: [usize; 2],
        batch: usize,
        kernel: &'static Kernel,
        workers: usize,
    ) -> Result<Task, Error> {
        let program = resolve::program(plan, size, batch, kernel.flip)?;
        let mut arena = Arena::new(program.arena_bytes, program.arena_floats);
        for buffer in &program.buffers {
            arena.bytes_mut()[buffer.start..buffer.start + buffer.len]
                .fill(buffer.zero ^ kernel.flip);
        }
        let convs = program.steps.iter().filter_map(|step| match step {
            Ready::Conv(conv) => Some(conv),
            Ready::Depthwise(_)
            | Ready::MaxPool(_)
            | Ready::AveragePool(..)
            | Ready::Softmax { .. } => None,
        });
        let wanted = convs.map(|conv| (kernel.scratch)(conv)).max().unwrap_or(0);
        let scratch: Vec<Scratch> = (0..workers).map(|_| Scratch::new(wanted)).collect();
        let memory = scratch
            .iter()
            .map(|own| arena.memory(plan.blob(), own))
            .collect();
        let splits = program
            .steps
            .iter()
            .map(|step| match step {
                Ready::Conv(conv) => split(conv, batch, kernel, workers),
                Ready::Depthwise(_)
                | Ready::MaxPool(_)
                | Ready::AveragePool(..)
                | Ready::Softmax { .. } => Split::Rows,
            })
            .collect();
        let shared = Shared {
            plan: Arc::clone(plan),
            program,
            kernel,
            splits,
            images: AtomicUsize::new(0),
            arena: UnsafeCell::new(arena),
            _scratch: scratch,
            memory,
        };
        Ok(Task {
            shared: Arc::new(shared),
        })
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    pub(crate) fn program(&self) -> &Program {
        &self.shared.program
    }

    /// Runs on packed RGB pictures, `images x h x w x 3` bytes. `workers` has as many as the task was made for.
    pub(crate) fn run(&mut self, pictures: &[u8], workers: &Workers) {
        let program = &self.shared.program;
        let [h, w] = program.size;
        let place = program.places[0];
        let images = pictures.len() / (h * w * 3);
        assert!(images <= program.batch && self.shared.memory.len() == workers.count());
        // Safety: no run lasts, see `Shared`; `&mut self` keeps everybody else away.
        let arena = unsafe { (*self.shared.arena.get()).bytes_mut() };
        for (image, picture) in pictures.chunks_exact(h * w * 3).enumerate() {
            for (y, row) in picture.chunks_exact(w * 3).enumerate() {
                let at = place.start + image * place.image + y * place.row;
                let to = &mut arena[at..at + w * 3];
                match self.shared.kernel.flip {
                    0 => to.copy_from_slice(row),
                    flip => to.iter_mut().zip(row).for_each(|(to, x)| *to = x ^ flip),
                }
            }
        }
        self.shared.images.store(images, Ordering::Relaxed);
        workers.run(&self.shared);
    }

    /// Stored activations and what they are XORed with.
    pub(crate) fn bytes(&self) -> (&[u8], u8) {
        // Safety: no run lasts, see `Shared`, and none starts while the borrow lives.
        let arena = unsafe { &*self.shared.arena.get() };
        (arena.bytes(), self.shared.kernel.flip)
    }

    pub(crate) fn floats(&self) -> &[f32] {
        // Safety: as for `bytes`.
        unsafe { (*self.shared.arena.get()).floats() }
    }
}

impl Job for Shared {
    fn work(&self, worker: usize, barrier: &Barrier) {
        let images = self.images.load(Ordering::Relaxed);
        let workers = self.memory.len();
        let memory = &self.memory[worker];
        for (at, (step, split)) in self.program.steps.iter().zip(&self.splits).enumerate() {
            if at > 0 {
                barrier.wait();
            }
            let rows = |height: usize| share(images * height, 1, worker, workers);
            let flip = self.kernel.flip;
            // Safety, for all: program and arena were made together in `Task::new`, shares of workers are disjoint, no
            // step reads what it writes, and the barrier is between steps.
            match step {
                Ready::Conv(conv) => {
                    let part = part(conv, *split, images, worker, workers);
                    if !part.pixels.is_empty() && !part.groups.is_empty() {
                        unsafe { (self.kernel.convolve)(conv, &part, memory) }
                    }
                }
                Ready::MaxPool(pool) => unsafe {
                    pool::max(pool, rows(pool.output.size[0]), flip, memory);
                },
                Ready::AveragePool(pool, requantize) => unsafe {
                    let rows = rows(pool.output.size[0]);
                    pool::average(pool, requantize, rows, flip, memory);
                },
                Ready::Softmax {
                    place,
                    first,
                    channels,
                } => unsafe {
                    pool::softmax(place, *first, *channels, rows(place.size[0]), memory);
                },
                Ready::Depthwise(conv) => unsafe {
                    depthwise::convolve(conv, rows(conv.output.size[0]), flip, memory);
                },
            }
        }
    }
}

/// Pixels or groups, whichever leaves the least idle; where both do, the one that reads less memory twice.
fn split(conv: &Conv, batch: usize, kernel: &Kernel, workers: usize) -> Split {
    let pixels = batch * conv.pixels;
    let tile =
        |pixels: usize, groups: usize| (kernel.tile)(pixels.max(1), groups.max(1), conv.quads);
    let by_pixels = tile(pixels.div_ceil(workers), conv.groups);
    let by_groups = tile(pixels, conv.groups.div_ceil(workers));
    let busiest = |all: usize, unit: usize| all.div_ceil(unit).div_ceil(workers) * unit;
    let pixel_work = busiest(pixels, by_pixels[0]).min(pixels) * conv.groups;
    let group_work = conv.groups.div_ceil(workers) * pixels;
    let weight_bytes = conv.groups * conv.quads * LINE;
    let pixel_bytes = pixels * conv.groups * GROUP;
    match pixel_work.cmp(&group_work) {
        std::cmp::Ordering::Less => Split::Pixels { tile: by_pixels },
        std::cmp::Ordering::Greater => Split::Groups { tile: by_groups },
        std::cmp::Ordering::Equal if weight_bytes > pixel_bytes => {
            Split::Groups { tile: by_groups }
        }
        std::cmp::Ordering::Equal => Split::Pixels { tile: by_pixels },
    }
}

fn part(conv: &Conv, split: Split, images: usize, worker: usize, workers: usize) -> Part {
    let pixels = images * conv.pixels;
    match split {
        Split::Pixels { tile } => Part {
            pixels: share(pixels, tile[0], worker, workers),
            groups: 0..conv.groups,
            tile,
        },
        Split::Groups { tile } => Part {
            pixels: 0..pixels,
            groups: share(conv.groups, 1, worker, workers),
            tile,
        },
        Split::Rows => Part {
            pixels: 0..0,
            groups: 0..0,
            tile: [1, 1],
        },
    }
}

/// A worker's share of `all`, in whole units but for the end.
fn share(all: usize, unit: usize, worker: usize, workers: usize) -> std::ops::Range<usize> {
    let units = all.div_ceil(unit);
    let at = |worker: usize| (units * worker / workers * unit).min(all);
    at(worker)..at(worker + 1)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_are_everything_once() {
        for all in [0, 1, 5, 9, 64, 289, 5929] {
            for unit in [1, 4, 9] {
                for workers in 1..=4 {
                    let shares = (0..workers).map(|w| share(all, unit, w, workers));
                    let covered: Vec<usize> = shares.flatten().collect();
                    assert_eq!(
                        covered,
                        (0..all).collect::<Vec<_>>(),
                        "{all} {unit} {workers}"
                    );
                }
            }
        }
    }
}
