//! Runs plans: an engine (instruction set and threads), and runners, each a plan made ready for one picture size.

use std::sync::Arc;

use crate::{
    Error, Isa, MAX_THREADS, Plan,
    isa::threads_from_env,
    kernels::{self, Kernel, Task},
    layout::Place,
    network::Kind,
    workers::Workers,
};

/// An instruction set and its worker threads, shared by all runners of a process.
#[derive(Debug)]
pub struct Engine {
    kernel: &'static Kernel,
    workers: Workers,
}

impl Engine {
    /// What `FACELATCH_ISA` and `FACELATCH_THREADS` say; unset: the best this processor has, one thread.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Unsupported`].
    pub fn from_env() -> Result<Arc<Engine>, Error> {
        Engine::new(Isa::from_env()?, threads_from_env()?)
    }

    /// An engine for an instruction set, with 1 to [`MAX_THREADS`] threads.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the processor lacks it, [`Error::Setting`] if there can be no such threads.
    pub fn new(isa: Isa, threads: usize) -> Result<Arc<Engine>, Error> {
        Engine::with(kernels::find(isa)?, threads)
    }

    /// Engines for tests alone: the source of an instruction set's kernel under another encoding that this processor
    /// has. [`Engine::isa`] is that of the original, which the processor may lack.
    ///
    /// # Errors
    /// As for [`Engine::new`].
    #[doc(hidden)]
    pub fn twins(threads: usize) -> Result<Vec<Arc<Engine>>, Error> {
        kernels::twins()
            .map(|kernel| Engine::with(kernel, threads))
            .collect()
    }

    fn with(kernel: &'static Kernel, threads: usize) -> Result<Arc<Engine>, Error> {
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(Error::Setting {
                name: "FACELATCH_THREADS",
                found: threads.to_string(),
                expected: format!("1 to {MAX_THREADS}"),
            });
        }
        Ok(Arc::new(Engine {
            kernel,
            workers: Workers::new(threads)?,
        }))
    }

    /// The instruction set.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.kernel.isa
    }

    /// Threads that work on a run, the caller's among them.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.count()
    }
}

/// A plan ready to run on pictures of one size. Making one allocates all it needs; running allocates nothing.
#[derive(Debug)]
pub struct Runner {
    engine: Arc<Engine>,
    task: Task,
    images: usize,
}

impl Runner {
    /// Makes a plan ready for pictures of `size` (height, width), up to `batch` of them at once.
    ///
    /// # Errors
    /// [`Error::Input`] for a size the plan does not take, [`Error::Geometry`] for more memory than there should be,
    /// [`Error::Step`] for a network that does not fit together at this size.
    pub fn new(
        plan: &Arc<Plan>,
        size: [usize; 2],
        batch: usize,
        engine: &Arc<Engine>,
    ) -> Result<Runner, Error> {
        Ok(Runner {
            task: Task::new(plan, size, batch, engine.kernel, engine.workers.count())?,
            engine: Arc::clone(engine),
            images: 0,
        })
    }

    /// Height and width of the pictures.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        self.task.program().size
    }

    /// Most pictures at once.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.task.program().batch
    }

    /// Runs on pictures, `[n, h, w, 3]` u8 RGB, `n` from 1 to [`Runner::batch`].
    ///
    /// # Errors
    /// [`Error::Length`] if the bytes are not that many pictures.
    pub fn run(&mut self, pictures: &[u8]) -> Result<(), Error> {
        let [h, w] = self.size();
        let one = h * w * 3;
        let images = pictures.len() / one;
        if images == 0 || images > self.batch() || pictures.len() != images * one {
            return Err(Error::Length {
                what: "the pictures' pixels",
                expected: images.clamp(1, self.batch()) * one,
                found: pictures.len(),
            });
        }
        self.task.run(pictures, &self.engine.workers);
        self.images = images;
        Ok(())
    }

    /// The outputs of the last run, in the plan's order.
    pub fn outputs(&self) -> impl Iterator<Item = Output<'_>> {
        let network = &self.task.plan().network;
        network.outputs.iter().map(|output| {
            let place = self.task.program().places[output.slice.id()];
            let values = match network.tensor(output.slice).kind {
                Kind::Floats => Values::Floats(self.task.floats()),
                Kind::Bytes(_) => {
                    let (bytes, flip) = self.task.bytes();
                    Values::Bytes(bytes, flip)
                }
            };
            Output {
                name: &output.name,
                images: self.images,
                channels: output.slice.channels(),
                place: Place {
                    start: place.start + output.slice.first(),
                    ..place
                },
                values,
            }
        })
    }
}

/// One output of a run: `[n, h, w, channels]`.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    name: &'a str,
    images: usize,
    channels: usize,
    place: Place,
    values: Values<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    Floats(&'a [f32]),
    /// And what they are stored XORed with.
    Bytes(&'a [u8], u8),
}

impl<'a> Output<'a> {
    /// The name in the plan.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Images, height, width, channels.
    #[must_use]
    pub fn shape(&self) -> [usize; 4] {
        let [h, w] = self.place.size;
        [self.images, h, w, self.channels]
    }

    /// The channels of one pixel; `None` outside the output, or where it is not f32.
    #[must_use]
    pub fn pixel(&self, image: usize, y: usize, x: usize) -> Option<&'a [f32]> {
        let at = self.at(image, y, x)?;
        match self.values {
            Values::Floats(values) => values.get(at..at + self.channels),
            Values::Bytes(..) => None,
        }
    }

    /// All values, packed, u8 ones as they are.
    #[must_use]
    pub fn to_vec(&self) -> Vec<f32> {
        let [images, h, w, channels] = self.shape();
        let mut all = Vec::with_capacity(images * h * w * channels);
        for image in 0..images {
            for y in 0..h {
                for at in (0..w).filter_map(|x| self.at(image, y, x)) {
                    match self.values {
                        Values::Floats(values) => all.extend(&values[at..at + channels]),
                        Values::Bytes(values, flip) => {
                            let bytes = values[at..at + channels].iter();
                            all.extend(bytes.map(|b| f32::from(b ^ flip)));
                        }
                    }
                }
            }
        }
        all
    }

    fn at(&self, image: usize, y: usize, x: usize) -> Option<usize> {
        let [h, w] = self.place.size;
        let place = &self.place;
        (image < self.images && y < h && x < w)
            .then(|| place.start + image * place.image + y * place.row + x * place.stride)
    }
}
