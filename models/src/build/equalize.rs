//! Makes the channels before a depthwise convolution reach equally far, so that one u8 grid serves them all.
//!
//! ```text
//! conv -> [ReLU | PReLU] -> depthwise        rows / s         unchanged: a positive factor        filters * s
//!                                            |     s[c] = channel c's largest magnitude / the largest of all
//! ```
//!
//! The network computes what it did (Nagel et al. 2019, "Data-free quantization through weight equalization and bias
//! correction", section 4.1). Both convolutions have a weight scale for each of these channels, so nothing is lost in return;
//! before an ordinary convolution something would be, and it is left alone. Measured on MobileFaceNet: the cosine of int8 to
//! float, at the median of 25 faces, is 0.965 without and 0.998 with it.

use super::{
    calibrate::Pixels,
    graph::{Graph, NodeId, Op},
    reference,
};
use crate::Error;

/// Least factor: a channel that is silent on these inputs may still speak at a door.
const LEAST: f32 = 1e-3;

/// A convolution, what its results are after an activation, and the depthwise convolution that alone reads them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Chain {
    conv: NodeId,
    reach: NodeId,
    depthwise: NodeId,
}

/// Equalizes a simplified graph by what some inputs cause; `progress` is called after each.
///
/// # Errors
/// [`Error::Network`] if an input does not fit the network.
pub fn equalize(mut graph: Graph, inputs: &[Pixels], progress: &dyn Fn()) -> Result<Graph, Error> {
    let chains = chains(&graph);
    let mut reached: Vec<Vec<f32>> = vec![Vec::new(); graph.nodes.len()];
    for chain in &chains {
        if let Op::Conv(conv) = &graph.nodes[chain.conv].op {
            reached[chain.reach] = vec![0.0; conv.cout];
        }
    }
    for input in inputs.iter().filter(|_| !chains.is_empty()) {
        let pixels: Vec<f32> = input.data.iter().map(|&p| f32::from(p)).collect();
        reference::observe(&graph, input.size, &pixels, &mut |id, values| {
            let most = &mut reached[id];
            for pixel in values.chunks_exact(most.len().max(1)) {
                for (most, value) in most.iter_mut().zip(pixel) {
                    *most = most.max(value.abs());
                }
            }
        })?;
        progress();
    }
    for chain in chains {
        let largest = reached[chain.reach].iter().copied().fold(0.0, f32::max);
        if largest > 0.0 {
            let factors = reached[chain.reach].iter();
            let factors: Vec<f32> = factors.map(|r| (r / largest).max(LEAST)).collect();
            scale(&mut graph, chain, &factors);
        }
    }
    Ok(graph)
}

fn chains(graph: &Graph) -> Vec<Chain> {
    let readers = graph.consumers();
    let only_reader = |id: NodeId| match readers[id].as_slice() {
        &[reader] if graph.outputs.iter().all(|(_, output)| *output != id) => Some(reader),
        _ => None,
    };
    let chain = |conv: NodeId| {
        let mut reach = conv;
        let mut next = only_reader(conv)?;
        if matches!(graph.nodes[next].op, Op::Relu | Op::PRelu(_)) {
            (reach, next) = (next, only_reader(next)?);
        }
        let is_depthwise =
            matches!(&graph.nodes[next].op, Op::Conv(c) if c.cin == 1 && c.cout == c.groups);
        is_depthwise.then_some(Chain {
            conv,
            reach,
            depthwise: next,
        })
    };
    let convs = (0..graph.nodes.len()).filter(|&id| matches!(graph.nodes[id].op, Op::Conv(_)));
    convs.filter_map(chain).collect()
}

/// Divides the results' channels by their factors and multiplies the depthwise filters by them.
fn scale(graph: &mut Graph, chain: Chain, factors: &[f32]) {
    if let Op::Conv(conv) = &mut graph.nodes[chain.conv].op {
        let weights = conv.weights.iter_mut().enumerate();
        weights.for_each(|(i, weight)| *weight /= factors[i % conv.cout]);
        conv.bias.iter_mut().zip(factors).for_each(|(b, f)| *b /= f);
    }
    if let Op::Conv(conv) = &mut graph.nodes[chain.depthwise].op {
        let weights = conv.weights.iter_mut().enumerate();
        weights.for_each(|(i, weight)| *weight *= factors[i % conv.cout]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::{Conv, Shape, Window};
    use super::*;

    fn conv(kernel: usize, cin: usize, cout: usize, groups: usize) -> Conv {
        let count = kernel * kernel * cin * cout;
        Conv {
            window: Window::valid([kernel; 2]),
            cin,
            cout,
            groups,
            weights: (0..count).map(|i| (i * 37 % 19) as f32 - 9.0).collect(),
            bias: (0..cout).map(|i| i as f32 * 50.0).collect(),
        }
    }

    /// A chain with a PReLU and one without, an ordinary convolution at the end.
    fn network() -> Graph {
        let side = Some(7);
        let mut g = Graph::new(
            "test",
            Shape {
                h: side,
                w: side,
                c: 3,
            },
        );
        let mut first = conv(1, 3, 4, 1);
        // One channel far beyond the others.
        first
            .weights
            .iter_mut()
            .step_by(4)
            .for_each(|w| *w *= 100.0);
        let a = g.push("a", Op::Conv(first), &[0]);
        let act = g.push("act", Op::PRelu(vec![0.5, -0.5, 0.1, 0.0]), &[a]);
        let b = g.push("b", Op::Conv(conv(3, 1, 4, 4)), &[act]);
        let c = g.push("c", Op::Conv(conv(3, 1, 4, 4)), &[b]);
        let d = g.push("d", Op::Conv(conv(1, 4, 2, 1)), &[c]);
        g.outputs.push(("y".into(), d));
        g
    }

    #[test]
    fn channels_reach_equally_far_and_the_network_is_the_same() {
        let input = Pixels {
            size: [7, 7],
            data: (0..147).map(|i| (i * 53 % 256) as u8).collect(),
        };
        let pixels: Vec<f32> = input.data.iter().map(|&p| f32::from(p)).collect();
        let before = reference::run(&network(), [7, 7], &pixels).unwrap();
        let graph = equalize(network(), std::slice::from_ref(&input), &|| {}).unwrap();
        let after = reference::run(&graph, [7, 7], &pixels).unwrap();
        let largest = before[0].data.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (x, y) in before[0].data.iter().zip(&after[0].data) {
            assert!((x - y).abs() <= 1e-5 * largest, "{x} became {y}");
        }
        let mut reached = vec![[0f32; 4]; graph.nodes.len()];
        let watch = &mut |id: NodeId, values: &[f32]| {
            for (i, value) in values.iter().enumerate() {
                reached[id][i % 4] = reached[id][i % 4].max(value.abs());
            }
        };
        reference::observe(&graph, [7, 7], &pixels, watch).unwrap();
        for id in [2, 3] {
            let [most, least] =
                [f32::max, f32::min].map(|f| reached[id].into_iter().reduce(f).unwrap());
            assert!(least > 0.99 * most, "{id}: {:?}", reached[id]);
        }
    }

    #[test]
    fn only_what_a_depthwise_convolution_alone_reads_is_a_chain() {
        let ids = |g: &Graph| {
            chains(g)
                .iter()
                .map(|c| [c.conv, c.reach, c.depthwise])
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(&network()), [[1, 2, 3], [3, 3, 4]]);
        let mut read_twice = network();
        read_twice.outputs.push(("b".into(), 3));
        assert_eq!(ids(&read_twice), [[1, 2, 3]]);
    }
}
