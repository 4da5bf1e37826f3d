//! One quantized network on its engine. THE SEAM: tract runs the file today, the int8 engine takes its place here.
//!
//! A `Net` maps `[n, h, w, 3]` u8 RGB pixels to its outputs as f32; normalisation is inside the file. Callers are
//! `mtcnn` and `facenet`; nothing above this file knows an engine.

use std::{
    collections::HashMap,
    fmt, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use ndarray::{ArrayD, ArrayView3, ArrayView4, Axis};
use tract_onnx::prelude::{
    Datum, DatumExt as _, Framework, IntoRunnable as _, Symbol, TDim, Tensor, ToDim, TractResult,
    TypedModel, TypedRunnableModel, tvec,
};
use tract_onnx::tract_core::internal::{DimLike as _, bail};
use tract_onnx::tract_hir::infer::{Factoid, InferenceModel, InferenceModelExt};

use crate::Error;

/// Compiled plans kept, one a picture size. A device sees one pyramid, of 5 to 12 sizes; a folder of photos many.
const PLANS: usize = 24;

/// A loaded network.
pub struct Net {
    name: String,
    /// Typed and simplified once; free heights and widths are still symbols.
    model: TypedModel,
    height: Extent,
    width: Extent,
    /// Most recently used last.
    plans: Vec<Plan>,
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

impl Net {
    /// Loads an ONNX file.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Network`] if the file is not a network we can run.
    pub fn open(path: &Path) -> Result<Net, Error> {
        let bytes = fs::read(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        Net::from_onnx(&path.display().to_string(), &bytes)
    }

    /// Loads ONNX bytes; `name` appears in errors.
    ///
    /// # Errors
    /// As for [`Net::open`].
    pub fn from_onnx(name: &str, bytes: &[u8]) -> Result<Net, Error> {
        let refuse = |why: String| Error::Network {
            name: name.to_owned(),
            why,
        };
        let (model, height, width) = contained(|| parse(bytes)).map_err(refuse)?;
        Ok(Net {
            name: name.to_owned(),
            model,
            height,
            width,
            plans: Vec::new(),
        })
    }

    /// The name errors carry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Height and width of the input, `None` where any will do.
    #[must_use]
    pub fn input_size(&self) -> [Option<usize>; 2] {
        [&self.height, &self.width].map(|extent| match extent {
            Extent::Fixed(n) => Some(*n),
            Extent::Free(_) => None,
        })
    }

    /// Runs the network on `[n, h, w, 3]` u8 RGB pixels, `n` at least 1; outputs in the file's order, `n` first.
    ///
    /// # Errors
    /// [`Error::Inference`] if the runtime refuses the shape or fails.
    pub fn run(&mut self, pixels: ArrayView4<'_, u8>) -> Result<Vec<ArrayD<f32>>, Error> {
        // One at a time: tract takes twice as long an item in batches (measured on R- and O-Net).
        let mut stacked: Vec<ArrayD<f32>> = Vec::new();
        for picture in pixels.outer_iter() {
            let outputs = self.run_one(picture)?;
            if stacked.is_empty() {
                stacked = outputs;
                continue;
            }
            for (all, one) in stacked.iter_mut().zip(&outputs) {
                all.append(Axis(0), one.view())
                    .map_err(|e| self.failed(e.to_string()))?;
            }
        }
        if stacked.is_empty() {
            return Err(self.failed("no picture was given".to_owned()));
        }
        Ok(stacked)
    }

    /// Runs the network on one `[h, w, 3]` picture; outputs `[1, ...]`.
    fn run_one(&mut self, picture: ArrayView3<'_, u8>) -> Result<Vec<ArrayD<f32>>, Error> {
        let (h, w, channels) = picture.dim();
        if channels != 3 {
            return Err(self.failed(format!("{channels} channels given, 3 expected")));
        }
        let picture = picture.as_standard_layout();
        // A standard layout is one slice.
        let bytes = picture.as_slice().unwrap_or_default();
        contained(|| {
            let input = Tensor::from_shape(&[1, h, w, 3], bytes)?;
            let outputs = self.plan([h, w])?.run(tvec!(input.into()))?;
            outputs
                .iter()
                .map(|o| Ok(o.to_plain_array_view::<f32>()?.to_owned()))
                .collect::<TractResult<Vec<_>>>()
        })
        .map_err(|why| self.failed(why))
    }

    fn plan(&mut self, size: [usize; 2]) -> TractResult<Arc<TypedRunnableModel>> {
        if let Some(at) = self.plans.iter().position(|p| p.size == size) {
            self.plans[at..].rotate_left(1);
        } else {
            let runnable = self.compile(size)?;
            if self.plans.len() == PLANS {
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

    fn failed(&self, why: String) -> Error {
        Error::Inference {
            name: self.name.clone(),
            why,
        }
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("name", &self.name)
            .field("input_size", &self.input_size())
            .field("plans", &self.plans.len())
            .finish_non_exhaustive()
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
