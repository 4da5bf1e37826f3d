//! [`Graph`] -> ONNX bytes, in float or in standard quantize-dequantize (QDQ) form; the same bytes for the same graph.
//!
//! The file reads `pixels`, u8 `[n, h, w, 3]` RGB, and does everything else itself. Images inside are `[n, c, h, w]`,
//! as ONNX convolutions want them; outputs of fixed `1 x 1` size are flattened to `[n, c]`.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_proto::DataType, tensor_shape_proto::Dimension, tensor_shape_proto::dimension,
    type_proto,
};

use super::{
    graph::{Graph, Node, NodeId, Op, Shape, Window},
    quantize::{IntConv, Quantized},
};
use crate::Error;

/// Operator set: the first with per-channel DequantizeLinear.
const OPSET: i64 = 13;
const IR_VERSION: i64 = 7;

/// Writes the float network.
///
/// # Errors
/// [`Error::Network`] if a dense layer is left (run `simplify` first).
pub fn float(graph: &Graph) -> Result<Vec<u8>, Error> {
    Writer::new(graph, None)?.write()
}

/// Writes the quantized network in QDQ form.
///
/// # Errors
/// As for [`float`].
pub fn qdq(quantized: &Quantized) -> Result<Vec<u8>, Error> {
    Writer::new(&quantized.rounded, Some(quantized))?.write()
}

struct Writer<'a> {
    graph: &'a Graph,
    quantized: Option<&'a Quantized>,
    shapes: Vec<Shape>,
    /// Tensor that holds each node's result.
    tensors: Vec<String>,
    proto: GraphProto,
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph, quantized: Option<&'a Quantized>) -> Result<Writer<'a>, Error> {
        let proto = GraphProto {
            name: graph.name.clone(),
            ..Default::default()
        };
        Ok(Writer {
            graph,
            quantized,
            shapes: graph.shapes()?,
            tensors: Vec::new(),
            proto,
        })
    }

    fn write(mut self) -> Result<Vec<u8>, Error> {
        for (id, node) in self.graph.nodes.iter().enumerate() {
            let name = short(&node.name);
            let result = self.node(id, node, &name)?;
            let result = self.round(id, &name, result);
            self.tensors.push(result);
        }
        for (name, id) in self.graph.outputs.clone() {
            let shape = self.shapes[id];
            let source = self.tensors[id].clone();
            let vector = (shape.h, shape.w) == (Some(1), Some(1));
            let (op, attributes) = if vector {
                ("Flatten", vec![int("axis", 1)])
            } else {
                ("Identity", vec![])
            };
            self.op(op, &name, &[&source], attributes);
            let channels = extent(shape.c);
            let dims = if vector {
                vec![free("n"), channels]
            } else {
                vec![
                    free("n"),
                    channels,
                    free(&format!("{name}_h")),
                    free(&format!("{name}_w")),
                ]
            };
            self.proto
                .output
                .push(value_info(&name, DataType::Float, dims));
        }
        let model = ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: OPSET,
            }],
            producer_name: "facelatch".into(),
            graph: Some(self.proto),
            ..Default::default()
        };
        Ok(model.encode_to_vec())
    }

    /// Writes one operator and returns the tensor of its unrounded result.
    fn node(&mut self, id: NodeId, node: &Node, name: &str) -> Result<String, Error> {
        let inputs: Vec<String> = node
            .inputs
            .iter()
            .map(|&i| self.tensors[i].clone())
            .collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let out = format!("{name}.out");
        match &node.op {
            Op::Input(shape) => return Ok(self.input(id, *shape)),
            Op::Normalise { .. } if self.is_centred(id) => {
                self.grid_constants(id, name);
                let inputs = [
                    "pixels.nchw",
                    &format!("{name}.step"),
                    &format!("{name}.zero"),
                ];
                self.op("DequantizeLinear", &out, &inputs, vec![]);
            }
            Op::Normalise { mean, scale } => {
                let (mean_name, scale_name) = (format!("{name}.mean"), format!("{name}.scale"));
                self.floats(&mean_name, &[], &[*mean]);
                self.floats(&scale_name, &[], &[*scale]);
                let centred = format!("{name}.centred");
                self.op("Sub", &centred, &[inputs[0], &mean_name], vec![]);
                self.op("Div", &out, &[&centred, &scale_name], vec![]);
            }
            Op::Conv(conv) => {
                let (weights, bias) = self.conv_constants(id, conv, name);
                let mut attributes = window(&conv.window);
                attributes.push(int("group", conv.groups as i64));
                self.op("Conv", &out, &[inputs[0], &weights, &bias], attributes);
            }
            Op::Dense { .. } => {
                return Err(self
                    .graph
                    .error(&format!("{}: a dense layer is left", node.name)));
            }
            Op::Affine { scale, shift } => {
                let dims = [scale.len(), 1, 1];
                let (scale_name, shift_name) = (format!("{name}.scale"), format!("{name}.shift"));
                self.floats(&scale_name, &dims, scale);
                self.floats(&shift_name, &dims, shift);
                let scaled = format!("{name}.scaled");
                self.op("Mul", &scaled, &[inputs[0], &scale_name], vec![]);
                self.op("Add", &out, &[&scaled, &shift_name], vec![]);
            }
            Op::Relu => self.op("Relu", &out, &inputs, vec![]),
            Op::PRelu(slope) => {
                let slope_name = format!("{name}.slope");
                self.floats(&slope_name, &[slope.len(), 1, 1], slope);
                self.op("PRelu", &out, &[inputs[0], &slope_name], vec![]);
            }
            Op::MaxPool(w) => self.op("MaxPool", &out, &inputs, window(w)),
            Op::AvgPool(w) => self.op("AveragePool", &out, &inputs, window(w)),
            Op::GlobalAvgPool => self.op("GlobalAveragePool", &out, &inputs, vec![]),
            Op::Add => self.op("Add", &out, &inputs, vec![]),
            Op::Concat => self.op("Concat", &out, &inputs, vec![int("axis", 1)]),
            Op::Flatten(_) => {
                return Err(self
                    .graph
                    .error(&format!("{}: a vector is used as an image", node.name)));
            }
            Op::Softmax => self.op("Softmax", &out, &inputs, vec![int("axis", 1)]),
        }
        Ok(out)
    }

    /// Pixels arrive u8 and channels last. On a grid they are dequantized (exactly), else cast.
    fn input(&mut self, id: NodeId, shape: Shape) -> String {
        let axis = |e: Option<usize>, name: &str| e.map_or_else(|| free(name), extent);
        let dims = vec![
            free("n"),
            axis(shape.h, "h"),
            axis(shape.w, "w"),
            extent(shape.c),
        ];
        self.proto
            .input
            .push(value_info("pixels", DataType::Uint8, dims));
        self.op(
            "Transpose",
            "pixels.nchw",
            &["pixels"],
            vec![ints("perm", &[0, 3, 1, 2])],
        );
        let mut readers = self.graph.consumers()[id].clone();
        readers.retain(|&reader| !self.is_centred(reader));
        if readers.is_empty() {
            return "pixels.nchw".into();
        }
        if self.quantized.is_some_and(|q| q.grids[id].is_some()) {
            self.grid_constants(id, "pixels");
            self.op(
                "DequantizeLinear",
                "pixels.real",
                &["pixels.nchw", "pixels.step", "pixels.zero"],
                vec![],
            );
        } else {
            self.op(
                "Cast",
                "pixels.real",
                &["pixels.nchw"],
                vec![int("to", DataType::Float as i64)],
            );
        }
        "pixels.real".into()
    }

    /// Rounds a node's result to its grid, if it has one. The input is on its grid already.
    fn round(&mut self, id: NodeId, name: &str, result: String) -> String {
        let on_grid = self.quantized.is_some_and(|q| q.grids[id].is_some());
        if !on_grid || id == 0 || self.is_centred(id) {
            return result;
        }
        self.grid_constants(id, name);
        let (step, zero) = (format!("{name}.step"), format!("{name}.zero"));
        let (code, real) = (format!("{name}.u8"), format!("{name}.real"));
        self.op("QuantizeLinear", &code, &[&result, &step, &zero], vec![]);
        self.op("DequantizeLinear", &real, &[&code, &step, &zero], vec![]);
        real
    }

    /// The node is pixels less a whole number: to dequantize them by another zero point does it, exactly.
    fn is_centred(&self, id: NodeId) -> bool {
        let node = &self.graph.nodes[id];
        let on_grid = self.quantized.is_some_and(|q| q.grids[id].is_some());
        on_grid && node.inputs == [0] && matches!(node.op, Op::Normalise { .. })
    }

    fn grid_constants(&mut self, id: NodeId, name: &str) {
        if let Some(grid) = self.quantized.and_then(|q| q.grids[id]) {
            self.floats(&format!("{name}.step"), &[], &[grid.scale]);
            self.constant(
                &format!("{name}.zero"),
                DataType::Uint8,
                &[],
                vec![grid.zero],
            );
        }
    }

    /// Writes a convolution's weights and bias and returns the tensors that hold them as f32.
    fn conv_constants(
        &mut self,
        id: NodeId,
        conv: &super::graph::Conv,
        name: &str,
    ) -> (String, String) {
        let [kh, kw] = conv.window.kernel;
        let dims = [conv.cout, conv.cin, kh, kw];
        let (weights, bias) = (format!("{name}.weights"), format!("{name}.bias"));
        let Some(int_conv) = self.quantized.and_then(|q| q.convs[id].as_ref()) else {
            let values = channels_first(conv, &conv.weights);
            self.floats(&weights, &dims, &values);
            self.floats(&bias, &[conv.cout], &conv.bias);
            return (weights, bias);
        };
        let IntConv {
            weights: codes,
            scales,
            bias: biases,
            bias_scales,
        } = int_conv;
        let codes = channels_first(conv, codes)
            .into_iter()
            .map(|w| w.to_le_bytes()[0])
            .collect();
        self.constant(&format!("{name}.weights.s8"), DataType::Int8, &dims, codes);
        self.floats(&format!("{name}.weights.step"), &[conv.cout], scales);
        self.constant(
            &format!("{name}.weights.zero"),
            DataType::Int8,
            &[conv.cout],
            vec![0; conv.cout],
        );
        let bytes = biases.iter().flat_map(|b| b.to_le_bytes()).collect();
        self.constant(
            &format!("{name}.bias.s32"),
            DataType::Int32,
            &[conv.cout],
            bytes,
        );
        self.floats(&format!("{name}.bias.step"), &[conv.cout], bias_scales);
        let zeros = vec![0; conv.cout * 4];
        self.constant(
            &format!("{name}.bias.zero"),
            DataType::Int32,
            &[conv.cout],
            zeros,
        );
        for (real, code) in [(&weights, "s8"), (&bias, "s32")] {
            let inputs = [
                format!("{real}.{code}"),
                format!("{real}.step"),
                format!("{real}.zero"),
            ];
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            self.op("DequantizeLinear", real, &inputs, vec![int("axis", 0)]);
        }
        (weights, bias)
    }

    fn op(&mut self, op: &str, output: &str, inputs: &[&str], attribute: Vec<AttributeProto>) {
        self.proto.node.push(NodeProto {
            name: output.into(),
            op_type: op.into(),
            input: inputs.iter().map(|i| (*i).to_string()).collect(),
            output: vec![output.into()],
            attribute,
            ..Default::default()
        });
    }

    fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) {
        self.constant(
            name,
            DataType::Float,
            dims,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        );
    }

    fn constant(&mut self, name: &str, kind: DataType, dims: &[usize], raw_data: Vec<u8>) {
        self.proto.initializer.push(TensorProto {
            name: name.into(),
            data_type: kind as i32,
            dims: dims.iter().map(|&d| d as i64).collect(),
            raw_data,
            ..Default::default()
        });
    }
}

/// `[kh][kw][cin][cout]` as `[cout][cin][kh][kw]`.
fn channels_first<T: Copy>(conv: &super::graph::Conv, weights: &[T]) -> Vec<T> {
    let taps = conv.window.kernel[0] * conv.window.kernel[1];
    let mut out = Vec::with_capacity(weights.len());
    for o in 0..conv.cout {
        for c in 0..conv.cin {
            out.extend((0..taps).map(|t| weights[(t * conv.cin + c) * conv.cout + o]));
        }
    }
    out
}

/// A readable tensor name: the long path of the source without what all names share.
fn short(name: &str) -> String {
    name.trim_start_matches("InceptionResnetV1/")
        .replace(':', "_")
}

fn window(w: &Window) -> Vec<AttributeProto> {
    let axes = |a: [usize; 2]| [a[0] as i64, a[1] as i64];
    let pads: Vec<i64> = [axes(w.before), axes(w.after)].concat();
    vec![
        ints("kernel_shape", &axes(w.kernel)),
        ints("strides", &axes(w.stride)),
        ints("pads", &pads),
    ]
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i,
        ..Default::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let r#type = AttributeType::Ints as i32;
    AttributeProto {
        name: name.into(),
        r#type,
        ints: values.to_vec(),
        ..Default::default()
    }
}

fn extent(n: usize) -> Dimension {
    Dimension {
        value: Some(dimension::Value::DimValue(n as i64)),
        ..Default::default()
    }
}

fn free(name: &str) -> Dimension {
    Dimension {
        value: Some(dimension::Value::DimParam(name.into())),
        ..Default::default()
    }
}

fn value_info(name: &str, elem: DataType, dim: Vec<Dimension>) -> ValueInfoProto {
    let tensor = type_proto::Tensor {
        elem_type: elem as i32,
        shape: Some(TensorShapeProto { dim }),
    };
    let r#type = Some(TypeProto {
        value: Some(type_proto::Value::TensorType(tensor)),
        ..Default::default()
    });
    ValueInfoProto {
        name: name.into(),
        r#type,
        ..Default::default()
    }
}
