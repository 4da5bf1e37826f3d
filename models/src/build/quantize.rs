//! Float [`Graph`] + observed ranges -> int8 weights and u8 activation grids.
//!
//! Scheme: activations u8 with one scale and zero point a tensor (zero always on the grid); weights s8 in [-127, 127],
//! symmetric, one scale an output channel; biases i32 at scale `activation * weight`. An activation that only feeds a
//! ReLU or PReLU is not rounded in between: engines fuse the two. The inputs and the result of a concatenation or a
//! maximum pooling share one grid, so that both only move bytes.

use super::{
    calibrate::Ranges,
    graph::{Graph, NodeId, Op},
};
use crate::Error;

/// A u8 grid: `real = (q - zero) * scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Step, > 0.
    pub scale: f32,
    /// The code of 0.0.
    pub zero: u8,
}

/// A convolution in int8; `None` entries of [`Quantized::convs`] are other operators.
#[derive(Debug, Clone)]
pub struct IntConv {
    /// `[kh][kw][cin][cout]`, each in [-127, 127].
    pub weights: Vec<i8>,
    /// Scale per output channel.
    pub scales: Vec<f32>,
    /// Bias per output channel, in units of `bias_scales`.
    pub bias: Vec<i32>,
    /// Input scale times weight scale.
    pub bias_scales: Vec<f32>,
}

/// A network ready to be written as quantized ONNX.
#[derive(Debug, Clone)]
pub struct Quantized {
    /// The graph with every weight and bias replaced by the value its integer stands for.
    pub rounded: Graph,
    /// The grid of every node whose result is rounded.
    pub grids: Vec<Option<Grid>>,
    /// The integers of every convolution.
    pub convs: Vec<Option<IntConv>>,
}

impl Grid {
    /// Pixels as they are: 0..=255.
    pub const PIXELS: Grid = Grid {
        scale: 1.0,
        zero: 0,
    };

    /// The grid of 256 steps over a range, widened to hold zero.
    #[must_use]
    pub fn over(low: f32, high: f32) -> Grid {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / 255.0).max(f32::MIN_POSITIVE);
        let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0) as u8;
        Grid { scale, zero }
    }

    /// The nearest value on the grid, as ONNX QuantizeLinear and DequantizeLinear compute it.
    #[must_use]
    pub fn round(&self, x: f32) -> f32 {
        let zero = f32::from(self.zero);
        (((x / self.scale).round_ties_even() + zero).clamp(0.0, 255.0) - zero) * self.scale
    }
}

/// Quantizes a simplified graph.
///
/// # Errors
/// [`Error::Network`] if an operator is left that has no int8 form.
pub fn quantize(graph: &Graph, ranges: &Ranges) -> Result<Quantized, Error> {
    let grids = grids(graph, ranges);
    let mut rounded = graph.clone();
    let mut convs = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.nodes.iter().enumerate() {
        let Op::Conv(conv) = &node.op else {
            convs.push(None);
            continue;
        };
        let input = grids[node.inputs[0]].ok_or_else(|| {
            graph.error(&format!(
                "{}: its input has no range to quantize by",
                node.name
            ))
        })?;
        let int = int_conv(&conv.weights, &conv.bias, input.scale);
        if let Op::Conv(out) = &mut rounded.nodes[id].op {
            for (i, weight) in out.weights.iter_mut().enumerate() {
                *weight = f32::from(int.weights[i]) * int.scales[i % conv.cout];
            }
            for (i, bias) in out.bias.iter_mut().enumerate() {
                *bias = int.bias[i] as f32 * int.bias_scales[i];
            }
        }
        convs.push(Some(int));
    }
    Ok(Quantized {
        rounded,
        grids,
        convs,
    })
}

fn int_conv(weights: &[f32], bias: &[f32], input_scale: f32) -> IntConv {
    let cout = bias.len();
    let mut scales = vec![0f32; cout];
    for (i, weight) in weights.iter().enumerate() {
        scales[i % cout] = scales[i % cout].max(weight.abs());
    }
    for (scale, bias) in scales.iter_mut().zip(bias) {
        // Wide enough for the bias too: it must fit an i32 at `input * weight` scale.
        let for_bias = bias.abs() / input_scale / (1u32 << 30) as f32;
        *scale = (*scale / 127.0)
            .max(for_bias)
            .max(f32::MIN_POSITIVE / input_scale.min(1.0));
    }
    let bias_scales: Vec<f32> = scales.iter().map(|s| s * input_scale).collect();
    IntConv {
        weights: weights
            .iter()
            .enumerate()
            .map(|(i, w)| {
                (w / scales[i % cout])
                    .round_ties_even()
                    .clamp(-127.0, 127.0) as i8
            })
            .collect(),
        bias: bias
            .iter()
            .zip(&bias_scales)
            .map(|(b, s)| (f64::from(*b) / f64::from(*s)).round_ties_even() as i32)
            .collect(),
        scales,
        bias_scales,
    }
}

/// Chooses what is rounded, and how.
fn grids(graph: &Graph, ranges: &Ranges) -> Vec<Option<Grid>> {
    let readers = graph.consumers();
    let mut shared = Shared::new(graph.nodes.len());
    for (id, node) in graph.nodes.iter().enumerate() {
        if matches!(node.op, Op::Concat | Op::MaxPool(_)) {
            node.inputs.iter().for_each(|&input| shared.join(input, id));
        }
    }
    let mut joint: Vec<Option<(f32, f32)>> = vec![None; graph.nodes.len()];
    for id in 0..graph.nodes.len() {
        let (low, high) = ranges.of(id);
        let all = joint[shared.root(id)].get_or_insert((low, high));
        *all = (all.0.min(low), all.1.max(high));
    }
    let rounded = |id: NodeId| {
        let feeds_activation = |&r: &NodeId| matches!(graph.nodes[r].op, Op::Relu | Op::PRelu(_));
        let float_only =
            |&r: &NodeId| matches!(graph.nodes[r].op, Op::Softmax | Op::Normalise { .. });
        match readers[id].as_slice() {
            [] => false,
            [only] if feeds_activation(only) => false,
            many => !many.iter().all(float_only),
        }
    };
    (0..graph.nodes.len())
        .map(|id| match graph.nodes[id].op {
            _ if !rounded(id) => None,
            Op::Input(_) => Some(Grid::PIXELS),
            // Pixels less a whole number are on a grid already.
            Op::Normalise { mean, scale: 1.0 } if mean == mean.clamp(0.0, 255.0).trunc() => {
                Some(Grid {
                    scale: 1.0,
                    zero: mean as u8,
                })
            }
            _ => joint[shared.root(id)].map(|(low, high)| Grid::over(low, high)),
        })
        .collect()
}

/// Sets of nodes that share a grid.
struct Shared(Vec<NodeId>);

impl Shared {
    fn new(n: usize) -> Shared {
        Shared((0..n).collect())
    }

    fn root(&self, mut id: NodeId) -> NodeId {
        while self.0[id] != id {
            id = self.0[id];
        }
        id
    }

    fn join(&mut self, a: NodeId, b: NodeId) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_hold_zero_and_both_ends() {
        for (low, high) in [
            (0.0, 6.0),
            (-1.0, 1.0),
            (-0.3, 12.5),
            (2.0, 3.0),
            (-5.0, -1.0),
            (0.0, 0.0),
        ] {
            let grid = Grid::over(low, high);
            assert_eq!(grid.round(0.0), 0.0, "{low}..{high}");
            for x in [low, high, (low + high) / 2.0] {
                assert!(
                    (grid.round(x) - x).abs() <= grid.scale * 0.501,
                    "{x} in {low}..{high}"
                );
            }
        }
    }

    #[test]
    fn integers_stand_for_their_weights() {
        let weights = [0.5, -1.0, 0.0, 1e-9, -0.25, 0.75, 0.0, -1e-9];
        let bias = [1.5, -2.0, 0.0, 40.0];
        let int = int_conv(&weights, &bias, 0.02);
        for (i, w) in weights.iter().enumerate() {
            let back = f32::from(int.weights[i]) * int.scales[i % 4];
            assert!(
                (back - w).abs() <= int.scales[i % 4] * 0.501,
                "weight {i}: {w} became {back}"
            );
        }
        for (i, b) in bias.iter().enumerate() {
            let back = int.bias[i] as f32 * int.bias_scales[i];
            assert!(
                (back - b).abs() <= 1e-3 * b.abs().max(1e-6),
                "bias {i}: {b} became {back}"
            );
        }
        assert!(int.weights.iter().all(|&w| w > i8::MIN));
    }
}
