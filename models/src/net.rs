//! One quantized network: run by the int8 engine from its plan, or by tract in f32 if the compiler refuses it.
//!
//! A `Net` maps `[n, h, w, 3]` u8 RGB pixels to its outputs as f32; normalisation is inside the file. Callers are
//! `mtcnn` and `facenet`; nothing above this file knows an engine.

mod engine;
mod tract;

use std::{fmt, fs, path::Path, sync::Arc};

use facelatch_int8::{Engine, Plan, Runner};
use ndarray::{Array4, ArrayD, ArrayView4, Axis};

use self::{
    engine::Int8,
    tract::{Float, Plain},
};
use crate::{Error, compile::compile};

/// Picture sizes kept ready. A device sees one pyramid, of 5 to 12 sizes; a folder of photos many.
const SIZES: usize = 24;

/// A loaded network.
pub struct Net {
    name: String,
    by: By,
}

enum By {
    Engine(Int8),
    Tract(Box<Float>),
}

impl Net {
    /// Loads an ONNX file, with an engine of its own; [`crate::zoo::Zoo`] shares one and keeps plans.
    ///
    /// # Errors
    /// [`Error::Io`], or as for [`Net::from_onnx`].
    pub fn open(path: &Path) -> Result<Net, Error> {
        let bytes = fs::read(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        Net::from_onnx(&path.display().to_string(), &bytes)
    }

    /// Loads ONNX bytes, with an engine of its own; `name` appears in errors. What the int8 compiler refuses runs in
    /// f32, with a warning that says why.
    ///
    /// # Errors
    /// [`Error::Network`] if the file is not a network we can run, [`Error::Engine`] for settings that cannot be.
    pub fn from_onnx(name: &str, bytes: &[u8]) -> Result<Net, Error> {
        let engine = Engine::from_env()?;
        let planned = compile(name, bytes.to_vec()).and_then(|plan| {
            let plan = Plan::from_bytes(&plan).map_err(|e| unusable(name, &e))?;
            Net::from_plan(name, plan, &engine)
        });
        planned.or_else(|refusal| Net::instead(name, bytes, &refusal))
    }

    /// Puts a plan to use; `name` appears in errors.
    ///
    /// # Errors
    /// [`Error::Network`] if the plan does not work at its own picture size.
    pub fn from_plan(name: &str, plan: Arc<Plan>, engine: &Arc<Engine>) -> Result<Net, Error> {
        let net = Int8::new(plan, engine).map_err(|e| unusable(name, &e))?;
        Ok(Net {
            name: name.to_owned(),
            by: By::Engine(net),
        })
    }

    /// Loads ONNX bytes to be run by tract, in f32.
    ///
    /// # Errors
    /// [`Error::Network`] if the file is not a network tract can run.
    pub fn by_tract(name: &str, bytes: &[u8]) -> Result<Net, Error> {
        let net = Float::new(bytes).map_err(|why| Error::Network {
            name: name.to_owned(),
            why,
        })?;
        Ok(Net {
            name: name.to_owned(),
            by: By::Tract(Box::new(net)),
        })
    }

    /// By tract, because the compiler refused.
    pub(crate) fn instead(name: &str, bytes: &[u8], refusal: &Error) -> Result<Net, Error> {
        let net = Net::by_tract(name, bytes)?;
        log::warn!("{refusal}; it runs in f32, slower and in more memory");
        Ok(net)
    }

    /// The name errors carry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the int8 engine runs it.
    #[must_use]
    pub fn is_int8(&self) -> bool {
        matches!(self.by, By::Engine(_))
    }

    /// Height and width of the input, `None` where any will do.
    #[must_use]
    pub fn input_size(&self) -> [Option<usize>; 2] {
        match &self.by {
            By::Engine(net) => net.input_size(),
            By::Tract(net) => net.input_size(),
        }
    }

    /// Most pictures of `size` (height, width) that [`Net::infer`] takes at once.
    #[must_use]
    pub fn batch(&self, size: [usize; 2]) -> usize {
        match &self.by {
            By::Engine(net) => net.batch(size),
            By::Tract(_) => 1,
        }
    }

    /// Runs the network on `n` pictures, `shape` `[n, h, w]`, 3 bytes a pixel, `n` at most [`Net::batch`]. The engine
    /// allocates nothing here, but where a size is new.
    ///
    /// # Errors
    /// [`Error::Inference`] if the shape is refused or the runtime fails.
    pub fn infer(&mut self, pixels: &[u8], shape: [usize; 3]) -> Result<Outputs<'_>, Error> {
        let [n, h, w] = shape;
        let failed = |why: String| Error::Inference {
            name: self.name.clone(),
            why,
        };
        let batch = match &self.by {
            By::Engine(net) => net.batch([h, w]),
            By::Tract(_) => 1,
        };
        let bytes = [n, h, w]
            .iter()
            .try_fold(3usize, |all, &side| all.checked_mul(side));
        if bytes != Some(pixels.len()) || pixels.is_empty() || n > batch {
            return Err(failed(format!(
                "{} bytes given for {n} pictures of {h} x {w}; 1 to {batch} fit",
                pixels.len()
            )));
        }
        match &mut self.by {
            By::Engine(net) => match net.run(pixels, [h, w]) {
                Ok(runner) => Ok(Outputs(Source::Runner(runner))),
                Err(error) => Err(failed(error.to_string())),
            },
            By::Tract(net) => match net.run(pixels, [h, w]) {
                Ok(plain) => Ok(Outputs(Source::Plain(plain))),
                Err(why) => Err(failed(why)),
            },
        }
    }

    /// Runs the network on `[n, h, w, 3]` u8 RGB pixels, `n` at least 1. Outputs in the file's order: `[n, c]` where the
    /// picture's size is fixed and one pixel comes out, else `[n, c, h, w]`.
    ///
    /// # Errors
    /// [`Error::Inference`] if the runtime refuses the shape or fails.
    pub fn run(&mut self, pixels: ArrayView4<'_, u8>) -> Result<Vec<ArrayD<f32>>, Error> {
        let (n, h, w, channels) = pixels.dim();
        if channels != 3 || n == 0 {
            let why = format!("{n} pictures of {channels} channels given, not 1 or more of 3");
            return Err(self.failed(why));
        }
        let flat = self.input_size().iter().all(Option::is_some);
        let batch = self.batch([h, w]);
        let pixels = pixels.as_standard_layout();
        // A standard layout is one slice.
        let pixels = pixels.as_slice().unwrap_or_default();
        let mut all: Vec<ArrayD<f32>> = Vec::new();
        for pictures in pixels.chunks((batch * h * w * 3).max(1)) {
            let images = pictures.len() / (h * w * 3).max(1);
            let name = self.name.clone();
            let outputs = self.infer(pictures, [images, h, w])?;
            for (at, output) in outputs.iter().enumerate() {
                let one = output.to_array(flat).ok_or_else(|| Error::Inference {
                    name: name.clone(),
                    why: "an output is not f32".to_owned(),
                })?;
                match all.get_mut(at) {
                    None => all.push(one),
                    Some(array) => {
                        let appended = array.append(Axis(0), one.view());
                        appended.map_err(|e| Error::Inference {
                            name: name.clone(),
                            why: e.to_string(),
                        })?;
                    }
                }
            }
        }
        Ok(all)
    }

    fn failed(&self, why: String) -> Error {
        Error::Inference {
            name: self.name.clone(),
            why,
        }
    }
}

/// What a run gave, until the next.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a>(Source<'a>);

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    Runner(&'a Runner),
    Plain(&'a [Plain]),
}

impl<'a> Outputs<'a> {
    /// All of them, in the file's order.
    pub fn iter(self) -> impl Iterator<Item = Output<'a>> {
        let (runner, plain) = match self.0 {
            Source::Runner(runner) => (Some(runner), None),
            Source::Plain(plain) => (None, Some(plain)),
        };
        let runner = runner.into_iter().flat_map(Runner::outputs);
        let plain = plain.into_iter().flatten();
        runner
            .map(|o| Output(One::Engine(o)))
            .chain(plain.map(|p| Output(One::Plain(p))))
    }

    /// The one at a place in the file's order.
    #[must_use]
    pub fn get(self, at: usize) -> Option<Output<'a>> {
        self.iter().nth(at)
    }
}

/// One output, `[n, h, w, channels]`.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a>(One<'a>);

#[derive(Debug, Clone, Copy)]
enum One<'a> {
    Engine(facelatch_int8::Output<'a>),
    Plain(&'a Plain),
}

impl<'a> Output<'a> {
    /// Images, height, width, channels.
    #[must_use]
    pub fn shape(&self) -> [usize; 4] {
        match self.0 {
            One::Engine(output) => output.shape(),
            One::Plain(plain) => plain.shape,
        }
    }

    /// The channels of one pixel; `None` outside the output.
    #[must_use]
    pub fn pixel(&self, image: usize, y: usize, x: usize) -> Option<&'a [f32]> {
        match self.0 {
            One::Engine(output) => output.pixel(image, y, x),
            One::Plain(plain) => {
                let [n, h, w, channels] = plain.shape;
                let at = ((image * h + y) * w + x) * channels;
                let inside = image < n && y < h && x < w;
                inside
                    .then(|| plain.values.get(at..at + channels))
                    .flatten()
            }
        }
    }

    /// `[n, c, h, w]`; `[n, c]` if it is one pixel and `flat`.
    fn to_array(self, flat: bool) -> Option<ArrayD<f32>> {
        let [n, h, w, channels] = self.shape();
        let mut array = Array4::zeros((n, channels, h, w));
        for image in 0..n {
            for y in 0..h {
                for x in 0..w {
                    for (c, &value) in self.pixel(image, y, x)?.iter().enumerate() {
                        array[[image, c, y, x]] = value;
                    }
                }
            }
        }
        Some(match (flat, h, w) {
            (true, 1, 1) => array
                .index_axis_move(Axis(3), 0)
                .index_axis_move(Axis(2), 0)
                .into_dyn(),
            (_, _, _) => array.into_dyn(),
        })
    }
}

fn unusable(name: &str, error: &facelatch_int8::Error) -> Error {
    Error::Network {
        name: name.to_owned(),
        why: error.to_string(),
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("name", &self.name)
            .field("input_size", &self.input_size())
            .field("int8", &self.is_int8())
            .finish_non_exhaustive()
    }
}
