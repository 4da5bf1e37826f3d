//! ONNX -> [`Graph`]: the operators of inference-only image networks, channels first or last.
//!
//! A `Graph`'s images have no layout, so transpositions between the two orders only change how later axes and
//! flattenings are read. Networks that are quantized already are refused: there is nothing to calibrate.

use std::collections::HashMap;

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, tensor_proto::DataType,
    tensor_shape_proto::dimension, type_proto,
};

use super::graph::{Conv, Graph, NodeId, Op, Order, Shape, Window};
use crate::Error;

/// Pixel normalisation a network expects on its input: `(x - mean) / scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// Subtracted from a pixel.
    pub mean: f32,
    /// Divides the difference.
    pub scale: f32,
}

/// Reads a float ONNX network with one image input.
///
/// # Errors
/// [`Error::Network`] naming the operator that is not understood.
pub fn import(name: &str, bytes: &[u8], normalisation: Normalisation) -> Result<Graph, Error> {
    let refuse = |why: String| Error::Network {
        name: name.into(),
        why,
    };
    let model = ModelProto::decode(bytes).map_err(|e| refuse(format!("not an ONNX file: {e}")))?;
    let proto = model
        .graph
        .ok_or_else(|| refuse("an ONNX file without a graph".into()))?;
    let mut constants = HashMap::new();
    for tensor in &proto.initializer {
        if let Some(value) = Constant::read(tensor) {
            constants.insert(tensor.name.clone(), value);
        }
    }
    let mut inputs = proto
        .input
        .iter()
        .filter(|i| proto.initializer.iter().all(|t| t.name != i.name));
    let input = inputs.next().ok_or_else(|| refuse("no input".into()))?;
    if let Some(second) = inputs.next() {
        return Err(refuse(format!(
            "a second input, {}: only one image goes in",
            second.name
        )));
    }
    let (layout, shape) = image_input(input).ok_or_else(|| {
        refuse(format!(
            "input {} is not a batch of images with 1, 3 or 4 channels",
            input.name
        ))
    })?;
    let mut graph = Graph::new(name, shape);
    let Normalisation { mean, scale } = normalisation;
    let first = graph.push("normalise", Op::Normalise { mean, scale }, &[0]);
    let mut importer = Importer {
        graph,
        constants,
        values: HashMap::from([(input.name.clone(), Value { id: first, layout })]),
    };
    for node in &proto.node {
        importer.node(node)?;
    }
    for output in &proto.output {
        let value = importer.value(&output.name)?;
        importer.graph.outputs.push((output.name.clone(), value.id));
    }
    Ok(importer.graph)
}

/// How a tensor of the source file holds its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    ChannelsFirst,
    ChannelsLast,
    /// `[n, c]`.
    Vector,
}

#[derive(Debug, Clone, Copy)]
struct Value {
    id: NodeId,
    layout: Layout,
}

#[derive(Debug, Clone)]
struct Constant {
    dims: Vec<usize>,
    floats: Vec<f32>,
}

struct Importer {
    graph: Graph,
    constants: HashMap<String, Constant>,
    values: HashMap<String, Value>,
}

impl Importer {
    fn node(&mut self, node: &NodeProto) -> Result<(), Error> {
        let output = node.output.first().cloned().unwrap_or_default();
        if node.op_type == "Constant" {
            let tensor = attribute(node, "value")
                .and_then(|a| a.t.as_ref())
                .and_then(Constant::read);
            self.constants.extend(tensor.map(|t| (output, t)));
            return Ok(());
        }
        let value = self.convert(node)?;
        self.values.insert(output, value);
        Ok(())
    }

    fn convert(&mut self, node: &NodeProto) -> Result<Value, Error> {
        let name = if node.name.is_empty() {
            &node.output[0]
        } else {
            &node.name
        };
        let x = self.image_operand(node)?;
        let push = |s: &mut Self, op: Op, layout: Layout| Value {
            id: s.graph.push(name, op, &[x.id]),
            layout,
        };
        Ok(match node.op_type.as_str() {
            "Identity" | "Dropout" | "Cast" => x,
            "Transpose" => Value {
                layout: self.transposed(node, x.layout)?,
                ..x
            },
            "Conv" => {
                let conv = self.conv(node, x)?;
                push(self, Op::Conv(conv), x.layout)
            }
            "BatchNormalization" => {
                let op = self.batch_norm(node)?;
                push(self, op, x.layout)
            }
            "Relu" => push(self, Op::Relu, x.layout),
            "PRelu" | "LeakyRelu" => {
                let slope = self.slope(node, x)?;
                push(self, Op::PRelu(slope), x.layout)
            }
            "MaxPool" => {
                let window = self.window(node, x, ints(node, "kernel_shape"))?;
                push(self, Op::MaxPool(window), x.layout)
            }
            "AveragePool" => {
                let window = self.window(node, x, ints(node, "kernel_shape"))?;
                if !window.is_unpadded() {
                    return Err(self.refuse(node, "average pooling with padding is not supported"));
                }
                push(self, Op::AvgPool(window), x.layout)
            }
            "GlobalAveragePool" => push(self, Op::GlobalAvgPool, x.layout),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(node, x, name)?,
            "Concat" => self.concat(node, name)?,
            "Flatten" | "Reshape" => {
                let order = if x.layout == Layout::ChannelsLast {
                    Order::Hwc
                } else {
                    Order::Chw
                };
                push(self, Op::Flatten(order), Layout::Vector)
            }
            "MatMul" | "Gemm" => {
                let op = self.dense(node)?;
                push(self, op, Layout::Vector)
            }
            "Softmax" => {
                let channels: &[i64] = match x.layout {
                    Layout::ChannelsFirst => &[1, -3],
                    Layout::ChannelsLast => &[3, -1],
                    Layout::Vector => &[1, -1],
                };
                if !channels.contains(&int(node, "axis").unwrap_or(-1)) {
                    return Err(self.refuse(node, "softmax along another axis than the channels"));
                }
                push(self, Op::Softmax, x.layout)
            }
            "QuantizeLinear" | "DequantizeLinear" | "QLinearConv" => {
                return Err(self.refuse(
                    node,
                    "the network is quantized already; start from the float one",
                ));
            }
            other => return Err(self.refuse(node, &format!("operator {other} is not supported"))),
        })
    }

    /// The first operand that is an image.
    fn image_operand(&self, node: &NodeProto) -> Result<Value, Error> {
        let image = node.input.iter().find_map(|i| self.values.get(i));
        image
            .copied()
            .ok_or_else(|| self.refuse(node, "no operand comes from the image"))
    }

    fn value(&self, tensor: &str) -> Result<Value, Error> {
        self.values
            .get(tensor)
            .copied()
            .ok_or_else(|| self.graph.error(&format!("nothing computes {tensor}")))
    }

    fn constant(&self, node: &NodeProto, input: usize) -> Result<&Constant, Error> {
        let constant = node.input.get(input).and_then(|i| self.constants.get(i));
        constant.ok_or_else(|| self.refuse(node, &format!("input {input} must be a constant")))
    }

    fn transposed(&self, node: &NodeProto, layout: Layout) -> Result<Layout, Error> {
        match (ints(node, "perm").as_slice(), layout) {
            ([0, 3, 1, 2], Layout::ChannelsLast) => Ok(Layout::ChannelsFirst),
            ([0, 2, 3, 1], Layout::ChannelsFirst) => Ok(Layout::ChannelsLast),
            (perm, _) => {
                Err(self.refuse(node, &format!("transposition {perm:?} is not supported")))
            }
        }
    }

    fn conv(&self, node: &NodeProto, x: Value) -> Result<Conv, Error> {
        let weights = self.constant(node, 1)?;
        let &[cout, cin, kh, kw] = weights.dims.as_slice() else {
            return Err(self.refuse(node, "weights are not [out, in, h, w]"));
        };
        let groups = int(node, "group").unwrap_or(1);
        let groups = usize::try_from(groups)
            .ok()
            .filter(|&g| g > 0 && cout % g == 0);
        let groups =
            groups.ok_or_else(|| self.refuse(node, "groups do not divide the channels"))?;
        let mut taps = Vec::with_capacity(weights.floats.len());
        for tap in 0..kh * kw {
            for c in 0..cin {
                taps.extend((0..cout).map(|o| weights.floats[(o * cin + c) * kh * kw + tap]));
            }
        }
        let bias = if node.input.len() > 2 {
            self.constant(node, 2)?.floats.clone()
        } else {
            vec![0.0; cout]
        };
        if bias.len() != cout {
            return Err(self.refuse(node, "one bias a channel expected"));
        }
        let window = self.window(node, x, vec![kh as i64, kw as i64])?;
        Ok(Conv {
            window,
            cin,
            cout,
            groups,
            weights: taps,
            bias,
        })
    }

    fn window(&self, node: &NodeProto, x: Value, kernel: Vec<i64>) -> Result<Window, Error> {
        if x.layout != Layout::ChannelsFirst || ints(node, "dilations").iter().any(|&d| d != 1) {
            return Err(self.refuse(node, "only undilated, channels-first windows are supported"));
        }
        let natural = |v: &[i64]| {
            v.iter()
                .map(|&i| usize::try_from(i).ok())
                .collect::<Option<Vec<usize>>>()
        };
        let (Some(kernel), Some(stride), Some(pads)) = (
            natural(&kernel),
            natural(&ints(node, "strides")),
            natural(&ints(node, "pads")),
        ) else {
            return Err(self.refuse(node, "a negative extent"));
        };
        let &[kh, kw] = kernel.as_slice() else {
            return Err(self.refuse(node, "a window that is not 2-D"));
        };
        let mut window = Window::valid([kh, kw]);
        if let &[sh, sw] = stride.as_slice() {
            window.stride = [sh, sw];
        }
        if kh == 0 || kw == 0 || window.stride.contains(&0) {
            return Err(self.refuse(node, "an empty window or stride"));
        }
        if let &[top, left, bottom, right] = pads.as_slice() {
            (window.before, window.after) = ([top, left], [bottom, right]);
        }
        if attribute(node, "auto_pad").is_some_and(|a| a.s == b"SAME_UPPER") {
            self.pad_same_upper(node, x, &mut window)?;
        }
        Ok(window)
    }

    /// SAME_UPPER: ceil(extent / stride) results; the larger half of the padding comes after.
    fn pad_same_upper(&self, node: &NodeProto, x: Value, window: &mut Window) -> Result<(), Error> {
        let shape = self.graph.shapes()?[x.id];
        for (axis, extent) in [shape.h, shape.w].into_iter().enumerate() {
            let (kernel, stride) = (window.kernel[axis], window.stride[axis]);
            let total = match extent {
                Some(extent) => {
                    ((extent.div_ceil(stride) - 1) * stride + kernel).saturating_sub(extent)
                }
                None if stride == 1 => kernel - 1,
                // Windows side by side: one more at most, and rounding down drops it where it is not needed.
                None if kernel == 2 && stride == 2 => 1,
                None => return Err(self.refuse(node, "SAME padding needs a fixed input size here")),
            };
            window.before[axis] = total / 2;
            window.after[axis] = total - total / 2;
        }
        Ok(())
    }

    fn batch_norm(&self, node: &NodeProto) -> Result<Op, Error> {
        let epsilon = attribute(node, "epsilon").map_or(1e-5, |a| f64::from(a.f));
        let of = |i: usize| self.constant(node, i).map(|c| &c.floats);
        let (gamma, beta, mean, variance) = (of(1)?, of(2)?, of(3)?, of(4)?);
        let scale: Vec<f64> = gamma
            .iter()
            .zip(variance)
            .map(|(&g, &v)| f64::from(g) / (f64::from(v) + epsilon).sqrt())
            .collect();
        let shift = beta
            .iter()
            .zip(mean)
            .zip(&scale)
            .map(|((&b, &m), &s)| (f64::from(b) - f64::from(m) * s) as f32);
        Ok(Op::Affine {
            shift: shift.collect(),
            scale: scale.iter().map(|&s| s as f32).collect(),
        })
    }

    fn slope(&self, node: &NodeProto, x: Value) -> Result<Vec<f32>, Error> {
        let channels = self.graph.shapes()?[x.id].c;
        if node.op_type == "LeakyRelu" {
            return Ok(vec![
                attribute(node, "alpha").map_or(0.01, |a| a.f);
                channels
            ]);
        }
        self.per_channel(node, self.constant(node, 1)?, channels)
    }

    /// One value a channel, from a tensor that broadcasts along channels only.
    fn per_channel(
        &self,
        node: &NodeProto,
        constant: &Constant,
        channels: usize,
    ) -> Result<Vec<f32>, Error> {
        match constant.floats.len() {
            1 => Ok(vec![constant.floats[0]; channels]),
            n if n == channels => Ok(constant.floats.clone()),
            n => Err(self.refuse(
                node,
                &format!("a constant of {n} values for {channels} channels"),
            )),
        }
    }

    fn arithmetic(&mut self, node: &NodeProto, x: Value, name: &str) -> Result<Value, Error> {
        let constant = node.input.iter().find_map(|i| self.constants.get(i));
        let Some(constant) = constant else {
            let [a, b] = [self.value(&node.input[0])?, self.value(&node.input[1])?];
            if node.op_type != "Add" || a.layout != b.layout {
                return Err(self.refuse(node, "two images can only be added, in the same layout"));
            }
            return Ok(Value {
                id: self.graph.push(name, Op::Add, &[a.id, b.id]),
                ..a
            });
        };
        let channels = self.graph.shapes()?[x.id].c;
        let values = self.per_channel(node, constant, channels)?;
        let image_first = self.values.contains_key(&node.input[0]);
        let (scale, shift) = match (node.op_type.as_str(), image_first) {
            ("Add", _) => (vec![1.0; channels], values),
            ("Sub", true) => (vec![1.0; channels], values.iter().map(|v| -v).collect()),
            ("Sub", false) => (vec![-1.0; channels], values),
            ("Mul", _) => (values, vec![0.0; channels]),
            ("Div", true) => (
                values.iter().map(|v| 1.0 / v).collect(),
                vec![0.0; channels],
            ),
            _ => return Err(self.refuse(node, "division by an image is not supported")),
        };
        Ok(Value {
            id: self.graph.push(name, Op::Affine { scale, shift }, &[x.id]),
            ..x
        })
    }

    fn concat(&mut self, node: &NodeProto, name: &str) -> Result<Value, Error> {
        let parts = node
            .input
            .iter()
            .map(|i| self.value(i))
            .collect::<Result<Vec<Value>, Error>>()?;
        let layout = parts[0].layout;
        let channels: &[i64] = if layout == Layout::ChannelsLast {
            &[3, -1]
        } else {
            &[1, -3]
        };
        if parts.iter().any(|p| p.layout != layout)
            || !int(node, "axis").is_some_and(|a| channels.contains(&a))
        {
            return Err(self.refuse(node, "only concatenation along channels is supported"));
        }
        let ids: Vec<NodeId> = parts.iter().map(|p| p.id).collect();
        Ok(Value {
            id: self.graph.push(name, Op::Concat, &ids),
            layout,
        })
    }

    fn dense(&self, node: &NodeProto) -> Result<Op, Error> {
        let matrix = self.constant(node, 1)?;
        let &[rows, columns] = matrix.dims.as_slice() else {
            return Err(self.refuse(node, "weights are not a matrix"));
        };
        if ["alpha", "beta"]
            .iter()
            .any(|a| attribute(node, a).is_some_and(|a| a.f != 1.0))
        {
            return Err(self.refuse(node, "alpha and beta other than 1 are not supported"));
        }
        let weights = if int(node, "transB") == Some(1) {
            (0..columns)
                .flat_map(|i| (0..rows).map(move |o| o * columns + i))
                .map(|at| matrix.floats[at])
                .collect()
        } else {
            matrix.floats.clone()
        };
        let out = if int(node, "transB") == Some(1) {
            rows
        } else {
            columns
        };
        let bias = if node.input.len() > 2 {
            self.constant(node, 2)?.floats.clone()
        } else {
            vec![0.0; out]
        };
        Ok(Op::Dense { weights, bias })
    }

    fn refuse(&self, node: &NodeProto, why: &str) -> Error {
        let name = if node.name.is_empty() {
            &node.op_type
        } else {
            &node.name
        };
        self.graph.error(&format!("{name}: {why}"))
    }
}

impl Constant {
    /// `None` for anything but f32: no supported operator takes other numbers.
    fn read(tensor: &TensorProto) -> Option<Constant> {
        if tensor.data_type != DataType::Float as i32 {
            return None;
        }
        let dims: Vec<usize> = tensor
            .dims
            .iter()
            .map(|&d| usize::try_from(d).ok())
            .collect::<Option<_>>()?;
        let raw = tensor
            .raw_data
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let floats: Vec<f32> = if tensor.raw_data.is_empty() {
            tensor.float_data.clone()
        } else {
            raw.collect()
        };
        let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        (floats.len() == count).then_some(Constant { dims, floats })
    }
}

/// Layout and shape of an image input.
fn image_input(info: &ValueInfoProto) -> Option<(Layout, Shape)> {
    let type_proto::Value::TensorType(tensor) = info.r#type.as_ref()?.value.as_ref()?;
    let dims: Vec<Option<usize>> = tensor
        .shape
        .as_ref()?
        .dim
        .iter()
        .map(|d| match d.value {
            Some(dimension::Value::DimValue(v)) => usize::try_from(v).ok().filter(|&v| v > 0),
            _ => None,
        })
        .collect();
    let colours = |d: Option<usize>| d.filter(|c| [1, 3, 4].contains(c));
    match dims.as_slice() {
        [_, h, w, c] if colours(*c).is_some() => {
            let shape = Shape {
                h: *h,
                w: *w,
                c: (*c)?,
            };
            Some((Layout::ChannelsLast, shape))
        }
        [_, c, h, w] if colours(*c).is_some() => {
            let shape = Shape {
                h: *h,
                w: *w,
                c: (*c)?,
            };
            Some((Layout::ChannelsFirst, shape))
        }
        _ => None,
    }
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

fn int(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).map(|a| a.i)
}

fn ints(node: &NodeProto, name: &str) -> Vec<i64> {
    attribute(node, name)
        .map(|a| a.ints.clone())
        .unwrap_or_default()
}
