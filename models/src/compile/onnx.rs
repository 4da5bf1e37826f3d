//! The protobuf side of the compiler: nodes, attributes and initializers, read with every length checked.
//!
//! Errors are lines for [`crate::Error::Network`]. Nothing here knows what a network computes; `fuse` does.

use std::collections::HashMap;

use facelatch_int8::Window;
use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
    tensor_proto::DataType, tensor_shape_proto::dimension, type_proto,
};

/// Oldest operator set with per-channel DequantizeLinear.
const OPSET: i64 = 13;
/// More than any network we know has; what has more costs time to refuse.
const NODES: usize = 1 << 14;
/// No window we know is larger, nor anything in it.
const MOST: i64 = 256;

/// Reads a file's graph.
pub(super) fn decode(bytes: &[u8]) -> Result<GraphProto, String> {
    let model = ModelProto::decode(bytes).map_err(|e| format!("it is no ONNX file: {e}"))?;
    let opset = model
        .opset_import
        .iter()
        .find(|o| ["", "ai.onnx"].contains(&o.domain.as_str()));
    match opset.map(|o| o.version) {
        Some(version) if version >= OPSET => {}
        Some(version) => {
            return Err(format!(
                "it uses operator set {version}, the int8 compiler reads {OPSET} and later"
            ));
        }
        None => return Err("it states no operator set".to_owned()),
    }
    match model.graph {
        Some(graph) if graph.node.len() <= NODES => Ok(graph),
        Some(_) => Err(format!("it has more than {NODES} nodes")),
        None => Err("it has no graph".to_owned()),
    }
}

/// Initializers by name.
pub(super) fn initializers(graph: &GraphProto) -> HashMap<&str, &TensorProto> {
    let tensors = graph.initializer.iter();
    tensors.map(|t| (t.name.as_str(), t)).collect()
}

/// Height and width of a u8 image input `[n, h, w, 3]`, `None` where free.
pub(super) fn picture(input: &ValueInfoProto) -> Result<[Option<usize>; 2], String> {
    let refuse = |why: &str| Err(format!("its input {} is {why}", short(&input.name)));
    let Some(type_proto::Value::TensorType(tensor)) =
        input.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return refuse("no tensor");
    };
    if tensor.elem_type != DataType::Uint8 as i32 {
        return refuse("not u8");
    }
    let dims = tensor.shape.as_ref().map_or(&[][..], |s| &s.dim);
    let extent = |at: usize| match dims[at].value {
        Some(dimension::Value::DimValue(n)) => usize::try_from(n).ok().filter(|&n| n > 0).map(Some),
        Some(dimension::Value::DimParam(_)) | None => Some(None),
    };
    match dims.len() {
        4 => match (extent(1), extent(2), extent(3)) {
            (Some(h), Some(w), Some(Some(3))) => Ok([h, w]),
            (_, _, _) => refuse("not [n, h, w, 3]"),
        },
        _ => refuse("not [n, h, w, 3]"),
    }
}

/// One operator of the file.
#[derive(Clone, Copy)]
pub(super) struct Node<'a>(pub(super) &'a NodeProto);

impl<'a> Node<'a> {
    pub(super) fn unknown(self) -> String {
        format!(
            "the int8 compiler does not know operator {} (node {})",
            short(&self.0.op_type),
            self.label()
        )
    }

    pub(super) fn refuse(self, why: &str) -> String {
        format!(
            "the int8 compiler cannot take operator {} (node {}): {why}",
            short(&self.0.op_type),
            self.label()
        )
    }

    fn label(self) -> String {
        match (self.0.name.as_str(), self.0.output.first()) {
            ("", Some(output)) => short(output),
            ("", None) => "without a name".to_owned(),
            (name, _) => short(name),
        }
    }

    /// The operator's type, if it is one of ONNX's own.
    pub(super) fn operator(self) -> Option<&'a str> {
        let own = ["", "ai.onnx"].contains(&self.0.domain.as_str());
        own.then_some(self.0.op_type.as_str())
    }

    /// Refuses attributes of other names.
    pub(super) fn only(self, known: &[&str]) -> Result<(), String> {
        let mut attributes = self.0.attribute.iter();
        match attributes.find(|a| !known.contains(&a.name.as_str())) {
            Some(other) => Err(self.refuse(&format!("attribute {}", short(&other.name)))),
            None => Ok(()),
        }
    }

    /// The name of input `at`; an optional input left out is `None`.
    pub(super) fn input(self, at: usize) -> Option<&'a str> {
        let name = self.0.input.get(at).map(String::as_str);
        name.filter(|name| !name.is_empty())
    }

    fn attribute(self, name: &str) -> Option<&'a AttributeProto> {
        self.0.attribute.iter().find(|a| a.name == name)
    }

    pub(super) fn int(self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.i)
    }

    pub(super) fn ints(self, name: &str) -> &'a [i64] {
        self.attribute(name).map_or(&[], |a| &a.ints)
    }

    /// The window of a convolution (whose weights say its size) or of a pool.
    pub(super) fn window(self, weights: Option<[usize; 2]>) -> Result<Window, String> {
        let automatic = self
            .attribute("auto_pad")
            .is_some_and(|a| a.s != b"NOTSET" && !a.s.is_empty());
        if automatic {
            return Err(self.refuse("automatic padding; state the pads"));
        }
        for name in ["ceil_mode", "storage_order"] {
            if self.int(name, 0) != 0 {
                return Err(self.refuse(&format!("{name} other than 0")));
            }
        }
        if self.ints("dilations").iter().any(|&d| d != 1) {
            return Err(self.refuse("dilations other than 1"));
        }
        let size = match (self.small::<2>("kernel_shape", 0)?, weights) {
            (None, Some(size)) => size,
            (Some(size), Some(weights)) if size != weights => {
                return Err(self.refuse("a kernel_shape other than the weights'"));
            }
            (Some(size), _) => size,
            (None, None) => return Err(self.refuse("no kernel_shape")),
        };
        let most = MOST as usize;
        if size.iter().any(|&s| s == 0 || s > most) {
            return Err(self.refuse(&format!("a window of {size:?}")));
        }
        Ok(Window {
            size,
            strides: self.small("strides", 1)?.unwrap_or([1; 2]),
            pads: self.small("pads", 0)?.unwrap_or([0; 4]),
        })
    }

    fn small<const N: usize>(self, name: &str, least: i64) -> Result<Option<[usize; N]>, String> {
        let values = self.ints(name);
        if values.is_empty() {
            return Ok(None);
        }
        let refuse = || self.refuse(&format!("{name} {values:?}"));
        let good = |n: &i64| (least..=MOST).contains(n);
        let values: [i64; N] = values.try_into().map_err(|_| refuse())?;
        match values.iter().all(good) {
            true => Ok(Some(values.map(|n| n as usize))),
            false => Err(refuse()),
        }
    }
}

/// Extents of an initializer, none of them 0, that as many values as they say follow.
pub(super) fn dims(tensor: &TensorProto, kind: DataType) -> Result<Vec<usize>, String> {
    if tensor.data_type != kind as i32 {
        let found = DataType::try_from(tensor.data_type);
        let found = found.map_or("of an unknown type", |k| k.as_str_name());
        let why = format!("is {found}, {} is expected", kind.as_str_name());
        return Err(refuse(tensor, &why));
    }
    let extent = |&d: &i64| usize::try_from(d).ok().filter(|&d| d > 0);
    let extents: Option<Vec<usize>> = tensor.dims.iter().map(extent).collect();
    let Some(extents) = extents else {
        return Err(refuse(tensor, "has a shape that cannot be"));
    };
    let width = match kind {
        DataType::Int8 | DataType::Uint8 => 1,
        _ => 4,
    };
    let found = match (tensor.raw_data.len(), kind) {
        (0, DataType::Float) => tensor.float_data.len(),
        (0, _) => tensor.int32_data.len(),
        (bytes, _) if bytes.is_multiple_of(width) => bytes / width,
        (_, _) => return Err(refuse(tensor, "is cut off")),
    };
    let expected = extents.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    match expected == Some(found) {
        true => Ok(extents),
        false => {
            let why = format!("has {found} values, not as many as its shape says");
            Err(refuse(tensor, &why))
        }
    }
}

/// An initializer of f32, flat.
pub(super) fn floats(tensor: &TensorProto) -> Result<Vec<f32>, String> {
    dims(tensor, DataType::Float)?;
    let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    Ok(match tensor.raw_data.as_slice() {
        [] => tensor.float_data.clone(),
        raw => raw.chunks_exact(4).map(float).collect(),
    })
}

/// An initializer of i8, u8 or i32, flat.
pub(super) fn integers(tensor: &TensorProto, kind: DataType) -> Result<Vec<i32>, String> {
    dims(tensor, kind)?;
    let word = |b: &[u8]| i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    Ok(match (tensor.raw_data.as_slice(), kind) {
        ([], _) => tensor.int32_data.clone(),
        (raw, DataType::Int8) => raw.iter().map(|b| i32::from(b.cast_signed())).collect(),
        (raw, DataType::Uint8) => raw.iter().map(|&b| i32::from(b)).collect(),
        (raw, _) => raw.chunks_exact(4).map(word).collect(),
    })
}

fn refuse(tensor: &TensorProto, why: &str) -> String {
    format!("its constant {} {why}", short(&tensor.name))
}

/// A name as an error shows it: a hostile one fills no log.
pub(super) fn short(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}
