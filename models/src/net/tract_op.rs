//! A plan as one operator of a tract model: u8 `[n, h, w, 3]` in, the plan's f32 outputs `[n, c, h, w]` out.
//!
//! For models that tract runs and that hold an int8 part, such as a tail of operators the compiler does not know. `Net`
//! runs plans without tract.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use facelatch_int8::{Engine, Error, Plan, Runner};
use ndarray::{Array4, s};
use tract_onnx::prelude::{
    Datum, DatumExt as _, IntoTensor as _, TDim, TValue, TVec, ToDim, TractResult, TypedFact,
};
use tract_onnx::tract_core::internal::*;

/// One plan for pictures of one size.
#[derive(Clone)]
pub struct Int8Graph {
    plan: Arc<Plan>,
    size: [usize; 2],
    /// `[c, h, w]` of every output.
    outputs: Vec<[usize; 3]>,
    runner: Arc<Mutex<Runner>>,
}

impl Int8Graph {
    /// Makes a plan ready for pictures of `size` (height, width), run one after the other.
    ///
    /// # Errors
    /// As for [`Runner::new`], and [`Error::Geometry`] if an output is not f32.
    pub fn new(
        plan: &Arc<Plan>,
        size: [usize; 2],
        engine: &Arc<Engine>,
    ) -> Result<Int8Graph, Error> {
        let mut runner = Runner::new(plan, size, 1, engine)?;
        runner.run(&vec![0; size[0] * size[1] * 3])?;
        let outputs = runner.outputs().map(|output| {
            let [_, h, w, c] = output.shape();
            output.pixel(0, 0, 0).map(|_| [c, h, w])
        });
        let outputs: Option<Vec<[usize; 3]>> = outputs.collect();
        Ok(Int8Graph {
            plan: Arc::clone(plan),
            size,
            outputs: outputs.ok_or(Error::Geometry("output that is not f32"))?,
            runner: Arc::new(Mutex::new(runner)),
        })
    }
}

impl fmt::Debug for Int8Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [h, w] = self.size;
        write!(f, "Int8Graph({h} x {w})")
    }
}

impl PartialEq for Int8Graph {
    fn eq(&self, other: &Int8Graph) -> bool {
        Arc::ptr_eq(&self.plan, &other.plan) && self.size == other.size
    }
}

impl Eq for Int8Graph {}

impl Op for Int8Graph {
    fn name(&self) -> StaticName {
        "Int8Graph".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Int8Graph {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let pixels = inputs[0].to_plain_array_view::<u8>()?;
        let &[n, h, w, 3] = pixels.shape() else {
            bail!("an input of {:?}", pixels.shape());
        };
        ensure!(
            [h, w] == self.size,
            "pictures of {h} x {w}, not {:?}",
            self.size
        );
        let arrays = self
            .outputs
            .iter()
            .map(|&[c, h, w]| Array4::<f32>::zeros((n, c, h, w)));
        let mut arrays: Vec<Array4<f32>> = arrays.collect();
        // A poisoned lock means that a run panicked: the next one writes everything it reads.
        let mut runner = self.runner.lock().unwrap_or_else(PoisonError::into_inner);
        let pixels = pixels.as_standard_layout();
        let pixels = pixels.as_slice().unwrap_or_default();
        for (image, picture) in pixels.chunks_exact(h * w * 3).enumerate() {
            runner.run(picture)?;
            for (array, output) in arrays.iter_mut().zip(runner.outputs()) {
                let [_, h, w, _] = output.shape();
                for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                    let values = output.pixel(0, y, x).unwrap_or_default();
                    let mut pixel = array.slice_mut(s![image, .., y, x]);
                    pixel
                        .iter_mut()
                        .zip(values)
                        .for_each(|(to, from)| *to = *from);
                }
            }
        }
        Ok(arrays.into_iter().map(|a| a.into_tensor().into()).collect())
    }
}

impl TypedOp for Int8Graph {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let [h, w] = self.size;
        ensure!(
            inputs[0].datum_type == u8::datum_type(),
            "an input that is not u8"
        );
        let [_, given @ ..] = inputs[0].shape.dims() else {
            bail!("an input without axes");
        };
        ensure!(
            given == [h.to_dim(), w.to_dim(), 3.to_dim()],
            "an input of {given:?}"
        );
        let n: TDim = inputs[0].shape[0].clone();
        let facts = self
            .outputs
            .iter()
            .map(|&[c, h, w]| f32::fact([n.clone(), c.to_dim(), h.to_dim(), w.to_dim()]));
        Ok(facts.collect())
    }

    as_op!();
}
