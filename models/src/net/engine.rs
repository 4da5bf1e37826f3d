//! A network run by the int8 engine: one runner a picture size, made when the size is first seen.
//!
//! What a network is and what it takes is said in [`super::Net`], the only caller.

use std::sync::Arc;

use facelatch_int8::{Engine, Error, Plan, Runner};

use super::SIZES;

/// Bytes of pixels run at once, and most pictures: 32 R-Net crops, 16 O-Net crops, one face.
const BATCH_BYTES: usize = 16 * 48 * 48 * 3;
const BATCH: usize = 32;

/// A loaded network.
pub(super) struct Int8 {
    plan: Arc<Plan>,
    engine: Arc<Engine>,
    /// Most recently used last.
    runners: Vec<Runner>,
}

impl Int8 {
    /// Where the picture's size is fixed, all memory is taken here.
    pub(super) fn new(plan: Arc<Plan>, engine: &Arc<Engine>) -> Result<Int8, Error> {
        let mut net = Int8 {
            plan,
            engine: Arc::clone(engine),
            runners: Vec::new(),
        };
        if let [Some(h), Some(w)] = net.input_size() {
            net.runner([h, w])?;
        }
        Ok(net)
    }

    pub(super) fn input_size(&self) -> [Option<usize>; 2] {
        self.plan.size()
    }

    /// Most pictures of a size at once. A network of any size sees each picture alone.
    pub(super) fn batch(&self, [h, w]: [usize; 2]) -> usize {
        match self.input_size() {
            [Some(_), Some(_)] => (BATCH_BYTES / (h * w * 3).max(1)).clamp(1, BATCH),
            [_, _] => 1,
        }
    }

    pub(super) fn run(&mut self, pixels: &[u8], size: [usize; 2]) -> Result<&Runner, Error> {
        let runner = self.runner(size)?;
        runner.run(pixels)?;
        Ok(runner)
    }

    fn runner(&mut self, size: [usize; 2]) -> Result<&mut Runner, Error> {
        if let Some(at) = self.runners.iter().position(|r| r.size() == size) {
            self.runners[at..].rotate_left(1);
        } else {
            let batch = self.batch(size);
            let runner = Runner::new(&self.plan, size, batch, &self.engine)?;
            if self.runners.len() == SIZES {
                self.runners.remove(0);
            }
            self.runners.push(runner);
        }
        // The one wanted was just put last.
        let last = self.runners.len() - 1;
        Ok(&mut self.runners[last])
    }
}
