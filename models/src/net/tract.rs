//! A network run by tract, in f32: the fallback for networks the int8 compiler refuses, and the oracle of its tests.
//!
//! tract runs a QDQ file operator by operator, in float: 15 times slower than the engine, and seconds to load. What a
//! network is and what it takes is said in [`super::Net`], the only caller.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use ndarray::{ArrayViewD, Axis};
use tract_onnx::prelude::{
    Datum, DatumExt as _, Framework, IntoRunnable as _, Symbol, TDim, Tensor, ToDim, TractResult,
    TypedModel, TypedRunnableModel, tvec,
};
use tract_onnx::tract_core::internal::{DimLike as _, bail};
use tract_onnx::tract_hir::infer::{Factoid, InferenceModel, InferenceModelExt};

use super::SIZES;

/// A loaded network.
pub(super) struct Float {
    /// Typed and simplified once; free heights and widths are still symbols.
    model: TypedModel,
    height: Extent,
    width: Extent,
    /// Most recently used last.
    plans: Vec<Plan>,
    /// Outputs of the last run.
    outputs: Vec<Plain>,
}

/// One output, `[n, h, w, channels]`, packed.
#[derive(Debug, Clone, Default)]
pub(super) struct Plain {
    pub(super) shape: [usize; 4],
    pub(super) values: Vec<f32>,
}

/// One axis of the input.
#[derive(Debug, Clone, PartialEq)]
enum Extent {
    Fixed(usize),
    Free(Symbol),
}

struct Plan {
    size: [usize; 2],
    runnable: Arc<TypedRunnableModel>,
}

impl Float {
    pub(super) fn new(onnx: &[u8]) -> Result<Float, String> {
        let (model, height, width) = contained(|| parse(onnx))?;
        Ok(Float {
            model,
            height,
            width,
            plans: Vec::new(),
            outputs: Vec::new(),
        })
    }

    pub(super) fn input_size(&self) -> [Option<usize>; 2] {
        [&self.height, &self.width].map(|extent| match extent {
            Extent::Fixed(n) => Some(*n),
            Extent::Free(_) => None,
        })
    }

    /// One picture at a time: tract takes twice as long an item in batches (measured on R- and O-Net).
    pub(super) fn run(&mut self, pixels: &[u8], size: [usize; 2]) -> Result<&[Plain], String> {
        self.outputs.clear();
        for picture in pixels.chunks_exact(size[0] * size[1] * 3) {
            let outputs = contained(|| {
                let input = Tensor::from_shape(&[1, size[0], size[1], 3], picture)?;
                let outputs = self.plan(size)?.run(tvec!(input.into()))?;
                self.outputs.resize_with(outputs.len(), Plain::default);
                for (all, one) in self.outputs.iter_mut().zip(&outputs) {
                    all.append(&one.to_plain_array_view::<f32>()?)?;
                }
                Ok(())
            });
            outputs?;
        }
        Ok(&self.outputs)
    }

    fn plan(&mut self, size: [usize; 2]) -> TractResult<Arc<TypedRunnableModel>> {
        if let Some(at) = self.plans.iter().position(|p| p.size == size) {
            self.plans[at..].rotate_left(1);
        } else {
            let runnable = self.compile(size)?;
            if self.plans.len() == SIZES {
                self.plans.remove(0);
            }
            self.plans.push(Plan { size, runnable });
        }
        // The one wanted was just put last.
        Ok(Arc::clone(&self.plans[self.plans.len() - 1].runnable))
    }

    fn compile(&self, size: [usize; 2]) -> TractResult<Arc<TypedRunnableModel>> {
        let mut bound: HashMap<Symbol, TDim> = HashMap::new();
        for (extent, size) in [&self.height, &self.width].into_iter().zip(size) {
            match extent {
                Extent::Fixed(n) if *n == size => {}
                Extent::Fixed(n) => {
                    bail!("{size} pixels given along a side of {n}")
                }
                Extent::Free(symbol) => {
                    bound.insert(symbol.clone(), size.to_dim());
                }
            }
        }
        let mut model = match bound.is_empty() {
            true => self.model.clone(),
            false => self.model.set_symbols(&bound)?,
        };
        model.optimize()?;
        model.into_runnable()
    }
}

impl Plain {
    /// Appends the result for one picture, `[1, c, h, w]` or `[1, c]`.
    fn append(&mut self, one: &ArrayViewD<'_, f32>) -> TractResult<()> {
        let mut view = one.view();
        while matches!(view.ndim(), 2 | 3) {
            let end = view.ndim();
            view.insert_axis_inplace(Axis(end));
        }
        let &[1, c, h, w] = view.shape() else {
            bail!("an output has the shape {:?}", one.shape());
        };
        let before = self.shape[0];
        if before > 0 && self.shape != [before, h, w, c] {
            bail!("an output changes its shape");
        }
        self.shape = [before + 1, h, w, c];
        view.swap_axes(1, 2);
        view.swap_axes(2, 3);
        self.values.extend(&view);
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> TractResult<(TypedModel, Extent, Extent)> {
    let mut model: InferenceModel = tract_onnx::onnx().model_for_read(&mut &*bytes)?;
    let [input] = model.input_outlets()? else {
        bail!("it has {} inputs, not one", model.input_outlets()?.len());
    };
    let fact = model.outlet_fact(*input)?;
    if fact.datum_type.concretize() != Some(u8::datum_type()) {
        bail!("its input is not u8 pixels");
    }
    let shape: Vec<Option<TDim>> = fact.shape.dims().map(|d| d.concretize()).collect();
    let [_, h, w, c] = shape.as_slice() else {
        bail!("its input has {} axes, not [n, h, w, 3]", shape.len());
    };
    if c.as_ref().is_some_and(|c| *c != 3.to_dim()) {
        bail!("its input has not 3 channels last");
    }
    let symbols = model.symbols.clone();
    let extent = |dim: &Option<TDim>, name: &str| match dim.as_ref().map(TDim::to_usize) {
        Some(Ok(n)) => Extent::Fixed(n),
        Some(Err(_)) | None => Extent::Free(symbols.new_with_prefix(name)),
    };
    let (height, width) = (extent(h, "h"), extent(w, "w"));
    let dim = |e: &Extent| match e {
        Extent::Fixed(n) => n.to_dim(),
        Extent::Free(symbol) => symbol.to_dim(),
    };
    let shape = [1.to_dim(), dim(&height), dim(&width), 3.to_dim()];
    model.set_input_fact(0, u8::fact(shape).into())?;
    Ok((model.into_typed()?.into_decluttered()?, height, width))
}

/// Runs tract and turns its failures into a line of text.
///
/// Caught panics included: tract indexes and asserts on what a file says (an output that no node makes, a weight
/// of the wrong rank), and a damaged file must not take a door down. Nothing half-changed is kept: a `Net` is built
/// only on success, and a plan is added only when compiled.
fn contained<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(one_line(&format!("{error:#}"))),
        Err(panic) => {
            let said = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(format!("the runtime gave up on it: {}", one_line(said)))
        }
    }
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
