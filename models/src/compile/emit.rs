//! Layers become the builder's steps: concatenations placed, convolutions side by side merged, numbers rounded once.
//!
//! Every scale is worked out in f64 and rounded to f32 once: the same on every machine.

use std::collections::HashMap;

use facelatch_int8::{Builder, ConvSpec, DepthwiseSpec, Residual, Slice, Window};

use super::{
    constant::Grid,
    fuse::{Activation, Layer, Network, Sum, TensorId},
};

/// Writes a network into a builder.
pub(super) fn emit(network: &Network<'_>) -> Result<Builder, String> {
    let side = |side: Option<usize>| match side.map(u32::try_from) {
        Some(Ok(side)) => Ok(Some(side)),
        Some(Err(_)) => Err("its input is too large".to_owned()),
        None => Ok(None),
    };
    let [h, w] = network.size;
    let mut emitter = Emitter {
        network,
        builder: Builder::new([side(h)?, side(w)?]),
        placed: HashMap::new(),
    };
    if let Some(grid) = network.tensors[0].grid {
        emitter.builder.picture_zero(grid.zero);
    }
    let weights = network.layers.iter().map(|layer| match layer {
        Layer::Conv { sum, .. } => sum.weights.len(),
        Layer::MaxPool { .. } | Layer::AveragePool { .. } | Layer::Softmax(_) => 0,
    });
    // All in one piece from the start: growing would hold two copies at times. Channels that pad a group, biases and
    // scales are the last sixteenth.
    let weights: usize = weights.sum();
    emitter.builder.reserve(weights + weights / 16);
    for step in steps(network) {
        match step {
            Step::Convs(convs) => emitter.convolve(&convs)?,
            Step::Other(layer) => emitter.other(layer)?,
        }
    }
    for &(name, tensor) in &network.outputs {
        let slice = emitter.slice(tensor)?;
        emitter.builder.output(name, slice).map_err(text)?;
    }
    Ok(emitter.builder)
}

enum Step<'a> {
    /// One or more that read the same, with where they write.
    Convs(Vec<(&'a Sum<'a>, TensorId)>),
    Other(&'a Layer<'a>),
}

/// What convolutions must have in common to run as one.
#[derive(PartialEq, Eq, Hash)]
struct Sibling {
    input: TensorId,
    size: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 4],
    /// Zero point and least output; `None` in f32.
    zero_low: Option<(u8, u8)>,
    slopes: bool,
}

/// Siblings run where the first of them stands: what they read is there, and nobody reads them earlier.
fn steps<'a>(network: &'a Network<'a>) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut first: HashMap<Sibling, usize> = HashMap::new();
    for layer in &network.layers {
        let Layer::Conv { sum, output } = layer else {
            steps.push(Step::Other(layer));
            continue;
        };
        let grid = network.tensors[*output].grid;
        let sibling = Sibling {
            input: sum.input,
            size: sum.window.size,
            strides: sum.window.strides,
            pads: sum.window.pads,
            zero_low: grid.map(|g| (g.zero, low(sum, g))),
            slopes: has_slopes(sum, grid),
        };
        if sum.depthwise {
            steps.push(Step::Other(layer));
            continue;
        }
        if sum.residual.is_none()
            && let Some(&at) = first.get(&sibling)
            && let Step::Convs(convs) = &mut steps[at]
        {
            convs.push((sum, *output));
            continue;
        }
        if sum.residual.is_none() {
            first.insert(sibling, steps.len());
        }
        steps.push(Step::Convs(vec![(sum, *output)]));
    }
    steps
}

/// A ReLU's 0 is the output's zero point.
fn low(sum: &Sum<'_>, grid: Grid) -> u8 {
    match sum.activation {
        Activation::Relu => grid.zero,
        Activation::None | Activation::PRelu(_) => 0,
    }
}

/// In f32 nothing is clamped, a ReLU is a slope of 0.
fn has_slopes(sum: &Sum<'_>, grid: Option<Grid>) -> bool {
    match sum.activation {
        Activation::None => false,
        Activation::Relu => grid.is_none(),
        Activation::PRelu(_) => true,
    }
}

struct Emitter<'a> {
    network: &'a Network<'a>,
    builder: Builder,
    /// Tensors that are not slices of others.
    placed: HashMap<TensorId, Slice>,
}

impl Emitter<'_> {
    fn slice(&mut self, tensor: TensorId) -> Result<Slice, String> {
        let tensors = &self.network.tensors;
        let (mut whole, mut first) = (tensor, 0);
        // A home comes after its parts, so this ends.
        while let Some((home, start)) = tensors[whole].home {
            (whole, first) = (home, first + start);
        }
        let channels = tensors[tensor].channels;
        if whole == 0 {
            return Ok(self.builder.picture());
        }
        let slice = match self.placed.get(&whole) {
            Some(slice) => *slice,
            None => {
                let all = tensors[whole].channels;
                let slice = match tensors[whole].grid {
                    Some(grid) => self.builder.bytes(all, grid.zero),
                    None => self.builder.floats(all),
                };
                *self.placed.entry(whole).or_insert(slice.map_err(text)?)
            }
        };
        Ok(Slice {
            first,
            channels,
            ..slice
        })
    }

    fn grid(&self, tensor: TensorId) -> Grid {
        // An input is quantized: `fuse` makes no layer that reads f32.
        self.network.tensors[tensor].grid.unwrap_or(Grid {
            scale: 1.0,
            zero: 0,
        })
    }

    fn convolve(&mut self, convs: &[(&Sum<'_>, TensorId)]) -> Result<(), String> {
        let [(one, output), ..] = convs else {
            return Ok(());
        };
        let grid = self.network.tensors[*output].grid;
        let slopes = has_slopes(one, grid);
        let residual = match one.residual {
            Some(tensor) => Some(Residual {
                slice: self.slice(tensor)?,
                scale: ratio(f64::from(self.grid(tensor).scale), grid),
            }),
            None => None,
        };
        let mut spec = ConvSpec {
            input: self.slice(one.input)?,
            window: one.window,
            outputs: Vec::new(),
            weights: Vec::new(),
            bias: Vec::new(),
            scale: Vec::new(),
            negative: Vec::new(),
            low: grid.map_or(0, |g| low(one, g)),
            residual,
        };
        for (sum, output) in convs {
            let grid = self.network.tensors[*output].grid;
            spec.outputs.push(self.slice(*output)?);
            sum.weights.append(&mut spec.weights)?;
            spec.bias.extend(&sum.weights.bias);
            let unit = &sum.weights.unit;
            spec.scale.extend(unit.iter().map(|&u| ratio(u, grid)));
            if slopes {
                let slope = |n: usize| match &sum.activation {
                    Activation::PRelu(slopes) => f64::from(slopes[n]),
                    Activation::Relu | Activation::None => 0.0,
                };
                let negative = unit.iter().enumerate();
                spec.negative
                    .extend(negative.map(|(n, &u)| ratio(u * slope(n), grid)));
            }
        }
        self.builder.convolve(&spec).map_err(text)
    }

    fn depthwise(&mut self, sum: &Sum<'_>, output: TensorId) -> Result<(), String> {
        let grid = self.network.tensors[output].grid;
        let unit = &sum.weights.unit;
        let mut spec = DepthwiseSpec {
            input: self.slice(sum.input)?,
            window: sum.window,
            output: self.slice(output)?,
            weights: Vec::new(),
            bias: sum.weights.bias.clone(),
            scale: unit.iter().map(|&u| ratio(u, grid)).collect(),
            negative: Vec::new(),
            low: grid.map_or(0, |g| low(sum, g)),
        };
        sum.weights.append(&mut spec.weights)?;
        if let Activation::PRelu(slopes) = &sum.activation {
            let negative = unit.iter().zip(slopes);
            spec.negative = negative
                .map(|(&u, &slope)| ratio(u * f64::from(slope), grid))
                .collect();
        }
        self.builder.depthwise(&spec).map_err(text)
    }

    fn other(&mut self, layer: &Layer<'_>) -> Result<(), String> {
        match *layer {
            Layer::Conv { ref sum, output } if sum.depthwise => self.depthwise(sum, output),
            Layer::Conv { ref sum, output } => self.convolve(&[(sum, output)]),
            Layer::MaxPool {
                input,
                window,
                output,
            } => {
                let (input, output) = (self.slice(input)?, self.slice(output)?);
                self.builder.max_pool(input, window, output).map_err(text)
            }
            Layer::AveragePool {
                input,
                window,
                output,
            } => {
                let Window { size: [h, w], .. } = window;
                let mean = f64::from(self.grid(input).scale) / (h * w) as f64;
                let scale = ratio(mean, self.network.tensors[output].grid);
                let (input, output) = (self.slice(input)?, self.slice(output)?);
                self.builder
                    .average_pool(input, window, scale, output)
                    .map_err(text)
            }
            Layer::Softmax(tensor) => {
                let slice = self.slice(tensor)?;
                self.builder.softmax(slice).map_err(text)
            }
        }
    }
}

/// What one unit is in steps of an output's grid; f32 outputs have steps of 1.
fn ratio(unit: f64, grid: Option<Grid>) -> f32 {
    (unit / grid.map_or(1.0, |g| f64::from(g.scale))) as f32
}

fn text(error: facelatch_int8::Error) -> String {
    error.to_string()
}
