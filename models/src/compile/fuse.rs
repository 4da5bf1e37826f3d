//! Operators become layers: a walk over the nodes, in the file's order, that keeps for every name what it stands for.
//!
//! A convolution stays a sum (accumulators that are real numbers) until something rounds it or wants it in f32, so that
//! what follows it can join it. A name that nothing before made is refused, so that there are no cycles.

use std::collections::HashMap;

use facelatch_int8::Window;
use tract_onnx::pb::{GraphProto, TensorProto};

use super::{
    constant::{Dequantized, Grid, Weights},
    onnx::{self, Node, floats, short},
};

/// What `emit` turns into steps.
pub(super) struct Network<'a> {
    /// Height and width of the picture where fixed.
    pub(super) size: [Option<usize>; 2],
    /// The first is the picture.
    pub(super) tensors: Vec<Tensor>,
    /// In running order.
    pub(super) layers: Vec<Layer<'a>>,
    /// Names and f32 tensors.
    pub(super) outputs: Vec<(&'a str, TensorId)>,
}

pub(super) type TensorId = usize;

pub(super) struct Tensor {
    pub(super) channels: usize,
    size: [Option<usize>; 2],
    /// Of u8; `None` for f32, and for a picture before its DequantizeLinear.
    pub(super) grid: Option<Grid>,
    /// The concatenation that this is a slice of, and its first channel there.
    pub(super) home: Option<(TensorId, usize)>,
    /// Some name of it is read more than once.
    shared: bool,
}

pub(super) enum Layer<'a> {
    Conv {
        sum: Sum<'a>,
        output: TensorId,
    },
    MaxPool {
        input: TensorId,
        window: Window,
        output: TensorId,
    },
    AveragePool {
        input: TensorId,
        window: Window,
        output: TensorId,
    },
    Softmax(TensorId),
}

/// A convolution before rounding.
#[derive(Clone)]
pub(super) struct Sum<'a> {
    pub(super) input: TensorId,
    pub(super) window: Window,
    pub(super) weights: Weights<'a>,
    pub(super) activation: Activation,
    pub(super) residual: Option<TensorId>,
    /// Each channel has a filter of its own.
    pub(super) depthwise: bool,
    size: [Option<usize>; 2],
}

#[derive(Clone, PartialEq)]
pub(super) enum Activation {
    None,
    Relu,
    /// By channel.
    PRelu(Vec<f32>),
}

/// What a name stands for.
#[derive(Clone)]
enum Value<'a> {
    Constant(Dequantized<'a>),
    /// The input as it comes, channels last.
    Pixels,
    /// u8, channels first.
    Codes(TensorId),
    /// The same, dequantized.
    Real(TensorId),
    Sum(Sum<'a>),
    /// An average of a tensor that is not rounded yet.
    Mean(TensorId, Window),
    Floats(TensorId),
}

const PICTURE: TensorId = 0;

/// Walks over the graph.
pub(super) fn fuse(graph: &GraphProto) -> Result<Network<'_>, String> {
    let constants = onnx::initializers(graph);
    let mut inputs = graph
        .input
        .iter()
        .filter(|i| !constants.contains_key(i.name.as_str()));
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err("it has not exactly one input".to_owned());
    };
    let size = onnx::picture(input)?;
    let mut uses: HashMap<&str, usize> = HashMap::new();
    let read = graph.node.iter().flat_map(|n| &n.input);
    for name in read.chain(graph.output.iter().map(|o| &o.name)) {
        *uses.entry(name).or_default() += 1;
    }
    let mut walk = Walk {
        constants,
        uses,
        values: HashMap::from([(input.name.as_str(), Value::Pixels)]),
        tensors: vec![Tensor {
            channels: 3,
            size,
            grid: None,
            home: None,
            shared: true,
        }],
        layers: Vec::new(),
    };
    for node in &graph.node {
        walk.node(Node(node))?;
    }
    let mut outputs = Vec::new();
    for output in &graph.output {
        let tensor = match walk.values.get(output.name.as_str()).cloned() {
            Some(Value::Sum(sum)) => walk.floats(sum)?,
            Some(Value::Floats(tensor)) => tensor,
            Some(_) => {
                let name = short(&output.name);
                return Err(format!(
                    "its output {name} is not the f32 result of a convolution"
                ));
            }
            None => return Err(format!("nothing makes its output {}", short(&output.name))),
        };
        outputs.push((output.name.as_str(), tensor));
    }
    Ok(Network {
        size,
        tensors: walk.tensors,
        layers: walk.layers.into_iter().flatten().collect(),
        outputs,
    })
}

struct Walk<'a> {
    constants: HashMap<&'a str, &'a TensorProto>,
    /// How often a name is read.
    uses: HashMap<&'a str, usize>,
    values: HashMap<&'a str, Value<'a>>,
    tensors: Vec<Tensor>,
    /// `None` where a layer has joined a later one.
    layers: Vec<Option<Layer<'a>>>,
}

impl<'a> Walk<'a> {
    fn node(&mut self, node: Node<'a>) -> Result<(), String> {
        let [output] = node.0.output.as_slice() else {
            return Err(node.unknown());
        };
        let value = match node.operator().unwrap_or_default() {
            "Transpose" => self.transpose(node)?,
            "DequantizeLinear" => self.dequantize(node)?,
            "QuantizeLinear" => self.quantize(node)?,
            "Conv" => Value::Sum(self.conv(node)?),
            "Relu" | "PRelu" => Value::Sum(self.activate(node)?),
            "Add" => Value::Sum(self.add(node)?),
            "Concat" => Value::Real(self.concat(node)?),
            "MaxPool" => Value::Real(self.max_pool(node)?),
            "AveragePool" => self.average_pool(node)?,
            "Softmax" => Value::Floats(self.softmax(node)?),
            "Identity" => {
                node.only(&[])?;
                self.value(node, 0)?.clone()
            }
            "Flatten" => self.flatten(node)?,
            _ => return Err(node.unknown()),
        };
        if let Value::Codes(tensor) | Value::Real(tensor) = value {
            let readers = self.uses.get(output.as_str());
            self.tensors[tensor].shared |= readers.is_some_and(|&n| n > 1);
        }
        let made_twice = self.constants.contains_key(output.as_str())
            || self.values.insert(output, value).is_some();
        match made_twice {
            true => Err(node.refuse(&format!("{} is made twice", short(output)))),
            false => Ok(()),
        }
    }

    fn value(&self, node: Node<'a>, input: usize) -> Result<&Value<'a>, String> {
        let name = node.input(input).unwrap_or_default();
        self.values.get(name).ok_or_else(|| {
            node.refuse(&format!(
                "its input {input} ({}) is made by nothing before it",
                short(name)
            ))
        })
    }

    fn constant(&self, node: Node<'a>, input: usize) -> Option<&'a TensorProto> {
        self.constants.get(node.input(input)?).copied()
    }

    /// A u8 tensor that was dequantized, and its grid.
    fn real(&self, node: Node<'a>, input: usize) -> Result<(TensorId, Grid), String> {
        match self.value(node, input)? {
            Value::Real(tensor) => match self.tensors[*tensor].grid {
                Some(grid) => Ok((*tensor, grid)),
                None => Err(node.refuse("an input that is not quantized")),
            },
            _ => Err(node.refuse("an input that is not quantized")),
        }
    }

    fn sum(&self, node: Node<'a>) -> Result<Sum<'a>, String> {
        match self.value(node, 0)? {
            Value::Sum(sum) => Ok(sum.clone()),
            _ => Err(node.refuse("it does not follow a convolution")),
        }
    }

    fn transpose(&self, node: Node<'a>) -> Result<Value<'a>, String> {
        node.only(&["perm"])?;
        match (self.value(node, 0)?, node.ints("perm")) {
            (Value::Pixels, [0, 3, 1, 2]) => Ok(Value::Codes(PICTURE)),
            (_, _) => Err(node.refuse("anything but the input's pixels to channels first")),
        }
    }

    fn dequantize(&mut self, node: Node<'a>) -> Result<Value<'a>, String> {
        node.only(&["axis"])?;
        if let Some(codes) = self.constant(node, 0) {
            let Some(scale) = self.constant(node, 1) else {
                return Err(node.refuse("its scale is no constant"));
            };
            let zero = self.constant(node, 2);
            if zero.is_none() && node.input(2).is_some() {
                return Err(node.refuse("its zero point is no constant"));
            }
            return Ok(Value::Constant(Dequantized {
                node,
                codes,
                scale,
                zero,
            }));
        }
        let &Value::Codes(tensor) = self.value(node, 0)? else {
            return Err(node.refuse("an input that is not quantized"));
        };
        let grid = Grid::read(node, self.constant(node, 1), self.constant(node, 2))?;
        match self.tensors[tensor].grid {
            None => {
                self.tensors[tensor].grid = Some(grid);
                Ok(Value::Real(tensor))
            }
            Some(same) if same == grid => Ok(Value::Real(tensor)),
            Some(_) => Err(node.refuse("another scale or zero point than its input's")),
        }
    }

    fn quantize(&mut self, node: Node<'a>) -> Result<Value<'a>, String> {
        node.only(&["axis"])?;
        let grid = Grid::read(node, self.constant(node, 1), self.constant(node, 2))?;
        let tensor = match self.value(node, 0)?.clone() {
            // On its own grid a tensor stays as it is.
            Value::Real(tensor) if self.tensors[tensor].grid == Some(grid) => tensor,
            Value::Real(_) => return Err(node.refuse("a second quantization on another grid")),
            Value::Sum(sum) => {
                let output = self.tensor(sum.weights.cout, sum.size, Some(grid));
                self.layers.push(Some(Layer::Conv { sum, output }));
                output
            }
            Value::Mean(input, window) => {
                let size = self.through(node, input, &window)?;
                let output = self.tensor(self.tensors[input].channels, size, Some(grid));
                self.layers.push(Some(Layer::AveragePool {
                    input,
                    window,
                    output,
                }));
                output
            }
            Value::Constant(_) | Value::Pixels | Value::Codes(_) | Value::Floats(_) => {
                return Err(node.refuse("an input that cannot be quantized"));
            }
        };
        Ok(Value::Codes(tensor))
    }

    fn conv(&self, node: Node<'a>) -> Result<Sum<'a>, String> {
        node.only(&[
            "auto_pad",
            "dilations",
            "group",
            "kernel_shape",
            "pads",
            "strides",
        ])?;
        let (input, grid) = self.real(node, 0)?;
        let dequantized = |at: usize| match self.value(node, at) {
            Ok(Value::Constant(constant)) => Ok(*constant),
            _ => Err(node.refuse("weights or bias that are no dequantized constants")),
        };
        let bias = node.input(2).map(|_| dequantized(2)).transpose()?;
        let weights = Weights::read(node, dequantized(1)?, bias, grid)?;
        let channels = self.tensors[input].channels;
        let depthwise = match usize::try_from(node.int("group", 1)) {
            Ok(1) => false,
            Ok(groups) if groups == channels && weights.cout == channels && input != PICTURE => {
                true
            }
            _ => return Err(node.refuse("groups other than one, or one a channel")),
        };
        if weights.cin != if depthwise { 1 } else { channels } {
            return Err(node.refuse("weights for another number of input channels"));
        }
        let window = node.window(Some(weights.size))?;
        Ok(Sum {
            input,
            window,
            size: self.through(node, input, &window)?,
            weights,
            activation: Activation::None,
            residual: None,
            depthwise,
        })
    }

    fn activate(&self, node: Node<'a>) -> Result<Sum<'a>, String> {
        node.only(&[])?;
        let mut sum = self.sum(node)?;
        if sum.activation != Activation::None {
            return Err(node.refuse("a second activation"));
        }
        sum.activation = match node.operator() {
            Some("Relu") => Activation::Relu,
            _ if sum.residual.is_some() => return Err(node.refuse("it follows an addition")),
            _ => Activation::PRelu(self.slopes(node, sum.weights.cout)?),
        };
        Ok(sum)
    }

    fn slopes(&self, node: Node<'a>, channels: usize) -> Result<Vec<f32>, String> {
        let Some(slope) = self.constant(node, 1) else {
            return Err(node.refuse("its slope is no constant"));
        };
        let slopes = floats(slope)?;
        let count = slopes.len() as i64;
        match slope.dims.as_slice() {
            _ if count == 1 => Ok(vec![slopes[0]; channels]),
            [c, 1, 1] | [1, c, 1, 1] if *c == count && slopes.len() == channels => Ok(slopes),
            _ => Err(node.refuse("slopes that are not one a channel")),
        }
    }

    fn add(&mut self, node: Node<'a>) -> Result<Sum<'a>, String> {
        node.only(&[])?;
        for (branch, other) in [(1, 0), (0, 1)] {
            let Ok((residual, _)) = self.real(node, other) else {
                continue;
            };
            let Some(mut sum) = self.released(self.value(node, branch)?.clone()) else {
                continue;
            };
            let tensor = &self.tensors[residual];
            if residual == PICTURE
                || tensor.channels != sum.weights.cout
                || together(tensor.size, sum.size).is_none()
            {
                return Err(node.refuse("operands of two shapes"));
            }
            sum.residual = Some(residual);
            return Ok(sum);
        }
        Err(node.refuse("neither side is a convolution that nothing else reads"))
    }

    /// The convolution behind a value if it can join what follows: it then runs no more by itself.
    fn released(&mut self, value: Value<'a>) -> Option<Sum<'a>> {
        let plain = |sum: &Sum<'_>| {
            sum.activation == Activation::None && sum.residual.is_none() && !sum.depthwise
        };
        match value {
            Value::Sum(sum) if plain(&sum) => Some(sum),
            Value::Real(tensor) if !self.tensors[tensor].shared => {
                let layer = self.layers.iter_mut().rev().find(|layer| {
                    matches!(layer, Some(Layer::Conv { sum, output }) if *output == tensor && plain(sum))
                })?;
                match layer.take() {
                    Some(Layer::Conv { sum, .. }) => Some(sum),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn concat(&mut self, node: Node<'a>) -> Result<TensorId, String> {
        node.only(&["axis"])?;
        if ![1, -3].contains(&node.int("axis", 0)) {
            return Err(node.refuse("another axis than the channels"));
        }
        let parts = (0..node.0.input.len()).map(|at| self.real(node, at));
        let parts: Vec<(TensorId, Grid)> = parts.collect::<Result<_, _>>()?;
        let Some(&(first, grid)) = parts.first() else {
            return Err(node.refuse("no inputs"));
        };
        let whole = self.tensor(0, self.tensors[first].size, Some(grid));
        for (part, part_grid) in parts {
            let start = self.tensors[whole].channels;
            let tensor = &self.tensors[part];
            if part_grid != grid {
                return Err(node.refuse("parts on two grids"));
            }
            if !start.is_multiple_of(16) {
                return Err(node.refuse("a part that does not start at a multiple of 16 channels"));
            }
            if part == PICTURE || tensor.home.is_some() {
                return Err(node.refuse("a part that is the picture, or part of two"));
            }
            let Some(size) = together(self.tensors[whole].size, tensor.size) else {
                return Err(node.refuse("parts of two sizes"));
            };
            self.tensors[whole].channels += tensor.channels;
            self.tensors[whole].size = size;
            self.tensors[part].home = Some((whole, start));
        }
        Ok(whole)
    }

    fn max_pool(&mut self, node: Node<'a>) -> Result<TensorId, String> {
        let known = ["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads"];
        node.only(&[&known[..], &["storage_order", "strides"]].concat())?;
        let (input, grid) = self.real(node, 0)?;
        let window = node.window(None)?;
        let size = self.through(node, input, &window)?;
        let output = self.tensor(self.tensors[input].channels, size, Some(grid));
        self.layers.push(Some(Layer::MaxPool {
            input,
            window,
            output,
        }));
        Ok(output)
    }

    fn average_pool(&self, node: Node<'a>) -> Result<Value<'a>, String> {
        let known = ["auto_pad", "ceil_mode", "count_include_pad", "dilations"];
        node.only(&[&known[..], &["kernel_shape", "pads", "strides"]].concat())?;
        let (input, _) = self.real(node, 0)?;
        let window = node.window(None)?;
        match window.pads {
            [0, 0, 0, 0] => Ok(Value::Mean(input, window)),
            _ => Err(node.refuse("padding")),
        }
    }

    fn softmax(&mut self, node: Node<'a>) -> Result<TensorId, String> {
        node.only(&["axis"])?;
        if node.int("axis", -1) != 1 {
            return Err(node.refuse("another axis than the channels"));
        }
        let sum = self.sum(node)?;
        let tensor = self.floats(sum)?;
        self.layers.push(Some(Layer::Softmax(tensor)));
        Ok(tensor)
    }

    /// A picture of one pixel is flat already.
    fn flatten(&self, node: Node<'a>) -> Result<Value<'a>, String> {
        node.only(&["axis"])?;
        let value = self.value(node, 0)?;
        let size = match value {
            Value::Sum(sum) => sum.size,
            Value::Floats(tensor) => self.tensors[*tensor].size,
            _ => return Err(node.refuse("it does not end the network")),
        };
        match size == [Some(1); 2] && node.int("axis", 1) == 1 {
            true => Ok(value.clone()),
            false => Err(node.refuse("more than one pixel, or another axis than the channels")),
        }
    }

    /// Adds the layer that leaves a convolution's results in f32.
    fn floats(&mut self, sum: Sum<'a>) -> Result<TensorId, String> {
        if sum.residual.is_some() {
            return Err("it has an addition that is not quantized".to_owned());
        }
        if sum.depthwise {
            return Err("it has a depthwise convolution that is not quantized".to_owned());
        }
        let output = self.tensor(sum.weights.cout, sum.size, None);
        self.layers.push(Some(Layer::Conv { sum, output }));
        Ok(output)
    }

    fn tensor(
        &mut self,
        channels: usize,
        size: [Option<usize>; 2],
        grid: Option<Grid>,
    ) -> TensorId {
        self.tensors.push(Tensor {
            channels,
            size,
            grid,
            home: None,
            shared: false,
        });
        self.tensors.len() - 1
    }

    /// Height and width behind a window, where known.
    fn through(
        &self,
        node: Node<'a>,
        input: TensorId,
        window: &Window,
    ) -> Result<[Option<usize>; 2], String> {
        // A side that is free is as long as it needs to be.
        let size = self.tensors[input].size;
        let [h, w] = size.map(|side| side.unwrap_or(1 << 14));
        let [h, w] = window
            .output([h, w, 1])
            .map_err(|e| node.refuse(&e.to_string()))?;
        Ok([size[0].and(Some(h)), size[1].and(Some(w))])
    }
}

/// The size of two that must be one; `None` if they cannot be.
fn together(a: [Option<usize>; 2], b: [Option<usize>; 2]) -> Option<[Option<usize>; 2]> {
    let side = |a: Option<usize>, b: Option<usize>| match (a, b) {
        (Some(a), Some(b)) if a != b => None,
        (a, b) => Some(a.or(b)),
    };
    Some([side(a[0], b[0])?, side(a[1], b[1])?])
}
