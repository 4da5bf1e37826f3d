//! TensorFlow frozen graph -> [`Graph`]: the operators a frozen, inference-only image network uses.
//!
//! Stops at a trailing L2 normalisation (`x * rsqrt(max(sum(x^2), e))`): unit length is [`crate::embedding`]'s work.

use std::collections::HashMap;

use prost::Message;
use tract_tensorflow::tfpb::tensorflow::{GraphDef, NodeDef, TensorProto, attr_value::Value};

use super::{
    graph::{Conv, Graph, NodeId, Op, Order, Shape, Window},
    onnx::Normalisation,
};
use crate::Error;

/// Reads a frozen `GraphDef` whose result is the node `output`.
///
/// # Errors
/// [`Error::Network`] naming the node that is not understood.
pub fn import(
    name: &str,
    bytes: &[u8],
    output: &str,
    normalisation: Normalisation,
) -> Result<Graph, Error> {
    let proto = GraphDef::decode(bytes).map_err(|e| Error::Network {
        name: name.into(),
        why: format!("not a TensorFlow graph: {e}"),
    })?;
    let placeholder = proto.node.iter().find(|n| n.op == "Placeholder");
    let shape = placeholder
        .and_then(placeholder_shape)
        .ok_or_else(|| Error::Network {
            name: name.into(),
            why: "no image placeholder of the form [n, h, w, c]".into(),
        })?;
    let mut graph = Graph::new(name, shape);
    let Normalisation { mean, scale } = normalisation;
    let first = graph.push("normalise", Op::Normalise { mean, scale }, &[0]);
    let mut importer = Importer {
        nodes: proto.node.iter().map(|n| (n.name.as_str(), n)).collect(),
        done: HashMap::new(),
        first,
        graph,
    };
    let result = importer.before_normalisation(output);
    let id = importer.node(&result)?;
    importer.graph.outputs.push(("embedding".into(), id));
    Ok(importer.graph)
}

struct Importer<'a> {
    nodes: HashMap<&'a str, &'a NodeDef>,
    done: HashMap<String, NodeId>,
    /// The normalised image every placeholder stands for.
    first: NodeId,
    graph: Graph,
}

impl<'a> Importer<'a> {
    /// The node an L2 normalisation ending in `output` starts from, or `output` itself.
    fn before_normalisation(&self, output: &str) -> String {
        let scaled = self.nodes.get(output).filter(|n| n.op == "Mul");
        scaled
            .and_then(|mul| {
                let rsqrt = mul
                    .input
                    .iter()
                    .any(|i| self.nodes.get(base(i)).is_some_and(|n| n.op == "Rsqrt"));
                let other = mul
                    .input
                    .iter()
                    .find(|i| self.nodes.get(base(i)).is_some_and(|n| n.op != "Rsqrt"));
                if rsqrt {
                    other.map(|i| base(i).to_string())
                } else {
                    None
                }
            })
            .unwrap_or_else(|| output.to_string())
    }

    /// Imports `name` and all it needs; depth is bounded by the explicit stack, not by the caller's.
    fn node(&mut self, name: &str) -> Result<NodeId, Error> {
        let mut stack = vec![name.to_string()];
        while let Some(top) = stack.last().cloned() {
            if self.done.contains_key(&top) {
                stack.pop();
                continue;
            }
            let def = *self
                .nodes
                .get(top.as_str())
                .ok_or_else(|| self.graph.error(&format!("no node {top}")))?;
            let missing: Vec<String> = image_inputs(def, &self.nodes)
                .into_iter()
                .filter(|i| !self.done.contains_key(*i))
                .map(str::to_string)
                .collect();
            if missing.is_empty() {
                let id = self.convert(def)?;
                self.done.insert(top, id);
                stack.pop();
            } else if stack.len() > self.nodes.len() {
                return Err(self.graph.error("the graph has a cycle"));
            } else {
                stack.extend(missing);
            }
        }
        Ok(self.done[name])
    }

    fn convert(&mut self, def: &'a NodeDef) -> Result<NodeId, Error> {
        let inputs: Vec<NodeId> = image_inputs(def, &self.nodes)
            .into_iter()
            .map(|i| self.done[i])
            .collect();
        let channels = |graph: &Graph| graph.shapes().map(|s| s[inputs[0]].c);
        let op = match def.op.as_str() {
            "Placeholder" => return Ok(self.first),
            // A frozen reshape only drops or restores the two unit axes: our images carry them throughout.
            "Reshape" | "Identity" => return Ok(inputs[0]),
            "Conv2D" => Op::Conv(self.conv(def)?),
            "BiasAdd" => {
                let shift = self.constant(def, 1)?.1;
                Op::Affine {
                    scale: vec![1.0; shift.len()],
                    shift,
                }
            }
            "Mul" => {
                let factor = if self.is_constant(def, 0) {
                    self.constant(def, 0)?
                } else {
                    self.constant(def, 1)?
                };
                let &[factor] = factor.1.as_slice() else {
                    return Err(self.graph.error(&format!(
                        "{}: multiplication by other than one number",
                        def.name
                    )));
                };
                let c = channels(&self.graph)?;
                Op::Affine {
                    scale: vec![factor; c],
                    shift: vec![0.0; c],
                }
            }
            "FusedBatchNorm" => self.batch_norm(def)?,
            "Relu" => Op::Relu,
            "Add" | "AddV2" => Op::Add,
            "ConcatV2" => Op::Concat,
            "MaxPool" => Op::MaxPool(self.pool(def)?),
            "AvgPool" => Op::AvgPool(self.pool(def)?),
            "MatMul" => {
                let (shape, weights) = self.constant(def, 1)?;
                let out = shape.last().copied().unwrap_or(0);
                let flat = self.graph.push(
                    &format!("{}/flat", def.name),
                    Op::Flatten(Order::Hwc),
                    &inputs,
                );
                let op = Op::Dense {
                    weights,
                    bias: vec![0.0; out],
                };
                return Ok(self.graph.push(&def.name, op, &[flat]));
            }
            other => {
                return Err(self
                    .graph
                    .error(&format!("{}: operator {other} is not supported", def.name)));
            }
        };
        Ok(self.graph.push(&def.name, op, &inputs))
    }

    fn conv(&self, def: &NodeDef) -> Result<Conv, Error> {
        let (shape, weights) = self.constant(def, 1)?;
        let &[kh, kw, cin, cout] = shape.as_slice() else {
            return Err(self
                .graph
                .error(&format!("{}: weights are not [h, w, in, out]", def.name)));
        };
        let window = self.window(def, [kh, kw])?;
        Ok(Conv {
            window,
            cin,
            cout,
            groups: 1,
            weights,
            bias: vec![0.0; cout],
        })
    }

    fn pool(&self, def: &NodeDef) -> Result<Window, Error> {
        let &[_, kh, kw, _] = ints(def, "ksize").as_slice() else {
            return Err(self.graph.error(&format!("{}: no ksize", def.name)));
        };
        self.window(def, [kh, kw])
    }

    fn window(&self, def: &NodeDef, kernel: [usize; 2]) -> Result<Window, Error> {
        let refuse = |why: &str| self.graph.error(&format!("{}: {why}", def.name));
        if text(def, "data_format") != Some("NHWC")
            || ints(def, "dilations").iter().any(|&d| d != 1)
        {
            return Err(refuse("only undilated NHWC windows are supported"));
        }
        let &[_, sh, sw, _] = ints(def, "strides").as_slice() else {
            return Err(refuse("no strides"));
        };
        let mut window = Window {
            stride: [sh, sw],
            ..Window::valid(kernel)
        };
        match text(def, "padding") {
            Some("VALID") => {}
            // With unit stride, SAME pads k - 1 in all, the smaller half before.
            Some("SAME") if window.stride == [1, 1] => {
                window.before = kernel.map(|k| (k - 1) / 2);
                window.after = kernel.map(|k| k / 2);
            }
            _ => {
                return Err(refuse(
                    "only VALID padding, or SAME with unit stride, is supported",
                ));
            }
        }
        Ok(window)
    }

    /// `gamma (x - mean) / sqrt(variance + epsilon) + beta` as one scale and shift.
    fn batch_norm(&self, def: &NodeDef) -> Result<Op, Error> {
        let epsilon = match def.attr.get("epsilon").and_then(|a| a.value.as_ref()) {
            Some(Value::F(e)) => f64::from(*e),
            _ => return Err(self.graph.error(&format!("{}: no epsilon", def.name))),
        };
        let [gamma, beta, mean, variance] = [
            self.constant(def, 1)?.1,
            self.constant(def, 2)?.1,
            self.constant(def, 3)?.1,
            self.constant(def, 4)?.1,
        ];
        let scale: Vec<f64> = gamma
            .iter()
            .zip(&variance)
            .map(|(&g, &v)| f64::from(g) / (f64::from(v) + epsilon).sqrt())
            .collect();
        let shift = beta
            .iter()
            .zip(&mean)
            .zip(&scale)
            .map(|((&b, &m), &s)| (f64::from(b) - f64::from(m) * s) as f32);
        Ok(Op::Affine {
            shift: shift.collect(),
            scale: scale.iter().map(|&s| s as f32).collect(),
        })
    }

    fn is_constant(&self, def: &NodeDef, input: usize) -> bool {
        def.input
            .get(input)
            .and_then(|i| self.nodes.get(base(i)))
            .is_some_and(|n| n.op == "Const")
    }

    fn constant(&self, def: &NodeDef, input: usize) -> Result<(Vec<usize>, Vec<f32>), Error> {
        let source = def.input.get(input).and_then(|i| self.nodes.get(base(i)));
        let tensor = source
            .and_then(|n| n.attr.get("value"))
            .and_then(|a| a.value.as_ref());
        match tensor {
            Some(Value::Tensor(t)) => f32_tensor(t),
            _ => None,
        }
        .ok_or_else(|| {
            self.graph.error(&format!(
                "{}: input {input} is not a constant f32 tensor",
                def.name
            ))
        })
    }
}

/// The inputs of a node that are images (not constants).
fn image_inputs<'a>(def: &'a NodeDef, nodes: &HashMap<&str, &NodeDef>) -> Vec<&'a str> {
    let image = |i: &&str| nodes.get(i).is_none_or(|n| n.op != "Const");
    def.input.iter().map(|i| base(i)).filter(image).collect()
}

/// A node name without its output index.
fn base(input: &str) -> &str {
    input.strip_suffix(":0").unwrap_or(input)
}

fn placeholder_shape(def: &NodeDef) -> Option<Shape> {
    let Some(Value::Shape(shape)) = def.attr.get("shape")?.value.as_ref() else {
        return None;
    };
    let extent = |i: usize| {
        shape
            .dim
            .get(i)
            .map(|d| usize::try_from(d.size).ok().filter(|&s| s > 0))
    };
    Some(Shape {
        h: extent(1)?,
        w: extent(2)?,
        c: extent(3)??,
    })
}

fn text<'a>(def: &'a NodeDef, attr: &str) -> Option<&'a str> {
    match def.attr.get(attr)?.value.as_ref()? {
        Value::S(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn ints(def: &NodeDef, attr: &str) -> Vec<usize> {
    match def.attr.get(attr).and_then(|a| a.value.as_ref()) {
        Some(Value::List(list)) => list
            .i
            .iter()
            .filter_map(|&i| usize::try_from(i).ok())
            .collect(),
        _ => Vec::new(),
    }
}

/// Shape and values of a constant; a single stored value fills the shape, as TensorFlow writes it.
fn f32_tensor(t: &TensorProto) -> Option<(Vec<usize>, Vec<f32>)> {
    let dims = &t.tensor_shape.as_ref()?.dim;
    let shape: Vec<usize> = dims
        .iter()
        .map(|d| usize::try_from(d.size).ok())
        .collect::<Option<_>>()?;
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    let values: Vec<f32> = if t.tensor_content.is_empty() {
        match t.float_val.as_slice() {
            [one] => vec![*one; count],
            many => many.to_vec(),
        }
    } else {
        t.tensor_content
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()
    };
    (values.len() == count).then_some((shape, values))
}
