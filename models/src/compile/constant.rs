//! Constants behind a DequantizeLinear: a convolution's weights and bias, and the grids of activations.
//!
//! Weights stay in the file's bytes until `emit` packs them; only their scales are worked out here, in f64.

use tract_onnx::pb::{TensorProto, tensor_proto::DataType};

use super::onnx::{Node, dims, floats, integers};

/// Relative difference allowed between a bias's scale and input scale x weight scale, both f32.
const BIAS_SCALE: f64 = 1e-6;

/// `real = (code - zero) * scale`, u8 codes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    pub(super) scale: f32,
    pub(super) zero: u8,
}

impl Grid {
    /// Of a QuantizeLinear or DequantizeLinear of activations.
    pub(super) fn read(
        node: Node<'_>,
        scale: Option<&TensorProto>,
        zero: Option<&TensorProto>,
    ) -> Result<Grid, String> {
        let Some(scale) = scale else {
            return Err(node.refuse("its scale is no constant"));
        };
        let zero = match (zero, node.input(2)) {
            (Some(zero), _) => integers(zero, DataType::Uint8)?,
            (None, None) => vec![0],
            (None, Some(_)) => return Err(node.refuse("its zero point is no constant")),
        };
        match (floats(scale)?.as_slice(), zero.as_slice()) {
            (&[scale], &[zero]) if scale > 0.0 && scale.is_finite() => Ok(Grid {
                scale,
                zero: u8::try_from(zero).map_err(|_| node.refuse("its zero point is no u8"))?,
            }),
            ([_], [_]) => Err(node.refuse("its scale is not positive and finite")),
            (_, _) => Err(node.refuse("activations with a scale a channel")),
        }
    }
}

/// A DequantizeLinear of an initializer.
#[derive(Clone, Copy)]
pub(super) struct Dequantized<'a> {
    pub(super) node: Node<'a>,
    pub(super) codes: &'a TensorProto,
    pub(super) scale: &'a TensorProto,
    pub(super) zero: Option<&'a TensorProto>,
}

impl Dequantized<'_> {
    /// One scale for each of `channels`.
    fn scales(&self, channels: usize) -> Result<Vec<f64>, String> {
        let scales = floats(self.scale)?;
        if scales.iter().any(|s| !(*s > 0.0 && s.is_finite())) {
            return Err(self.node.refuse("its scale is not positive and finite"));
        }
        match scales[..] {
            [scale] => Ok(vec![f64::from(scale); channels]),
            _ if scales.len() != channels => {
                let why = format!("{} scales for {channels} channels", scales.len());
                Err(self.node.refuse(&why))
            }
            _ if ![0, -(self.codes.dims.len() as i64)].contains(&self.node.int("axis", 1)) => {
                Err(self.node.refuse("scales along another axis than the first"))
            }
            _ => Ok(scales.into_iter().map(f64::from).collect()),
        }
    }

    fn symmetric(&self, kind: DataType) -> Result<(), String> {
        let zeros = match self.zero {
            Some(zero) => integers(zero, kind)?,
            None => Vec::new(),
        };
        match zeros.iter().all(|&z| z == 0) {
            true => Ok(()),
            false => Err(self.node.refuse("constants with a zero point other than 0")),
        }
    }
}

/// A convolution's weights `[cout, cin, kh, kw]` and bias.
#[derive(Clone)]
pub(super) struct Weights<'a> {
    codes: &'a TensorProto,
    node: Node<'a>,
    pub(super) cout: usize,
    pub(super) cin: usize,
    pub(super) size: [usize; 2],
    /// Input scale x weight scale, by output channel: what one unit of an accumulator is.
    pub(super) unit: Vec<f64>,
    /// By output channel, in units.
    pub(super) bias: Vec<i32>,
}

impl<'a> Weights<'a> {
    pub(super) fn read(
        node: Node<'a>,
        weights: Dequantized<'a>,
        bias: Option<Dequantized<'a>>,
        input: Grid,
    ) -> Result<Weights<'a>, String> {
        let &[cout, cin, kh, kw] = dims(weights.codes)?.as_slice() else {
            return Err(node.refuse("weights that are not [out, in, h, w]"));
        };
        weights.symmetric(DataType::Int8)?;
        let scales = weights.scales(cout)?;
        let unit: Vec<f64> = scales.iter().map(|s| s * f64::from(input.scale)).collect();
        let bias = match bias {
            Some(bias) => read_bias(node, bias, &unit)?,
            None => vec![0; cout],
        };
        Ok(Weights {
            codes: weights.codes,
            node,
            cout,
            cin,
            size: [kh, kw],
            unit,
            bias,
        })
    }

    /// The weights as the engine wants them, `[cout][kh][kw][cin]`, appended to `all`.
    pub(super) fn append(&self, all: &mut Vec<i8>) -> Result<(), String> {
        let codes = integers(self.codes, DataType::Int8)?;
        let taps = self.size[0] * self.size[1];
        let start = all.len();
        all.reserve(codes.len());
        for filter in codes.chunks_exact(self.cin * taps) {
            for tap in 0..taps {
                // The codes are of type i8.
                all.extend(filter[tap..].iter().step_by(taps).map(|&w| w as i8));
            }
        }
        match all[start..].contains(&i8::MIN) {
            true => Err(self
                .node
                .refuse("a weight of -128, the least allowed is -127")),
            false => Ok(()),
        }
    }
}

fn read_bias(node: Node<'_>, bias: Dequantized<'_>, unit: &[f64]) -> Result<Vec<i32>, String> {
    bias.symmetric(DataType::Int32)?;
    let values = integers(bias.codes, DataType::Int32)?;
    if values.len() != unit.len() || bias.codes.dims.len() != 1 {
        return Err(node.refuse("a bias that is not one number an output channel"));
    }
    let scales = bias.scales(unit.len())?;
    let same = |(a, b): (&f64, &f64)| (a - b).abs() <= BIAS_SCALE * b;
    match scales.iter().zip(unit).all(same) {
        true => Ok(values),
        false => Err(node.refuse("a bias whose scale is not input scale x weight scale")),
    }
}
