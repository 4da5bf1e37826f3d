//! Rewrites a [`Graph`] into few, quantizable operators without changing what it computes.
//!
//! Dense layers become convolutions, channel-wise factors and biases move into the convolution before them, pixel
//! normalisation moves into the first convolution, and dead nodes go.

use super::graph::{Conv, Graph, Node, NodeId, Op, Order, Window};
use crate::Error;

/// Runs all passes.
///
/// # Errors
/// [`Error::Network`] if a dense layer's input size is unknown.
pub fn simplify(graph: Graph) -> Result<Graph, Error> {
    let graph = dense_to_conv(graph)?;
    let graph = fold_affine(graph);
    let graph = fold_normalisation(graph);
    Ok(drop_dead(graph))
}

/// Swaps rows and columns: what the network sees as x becomes y. For networks trained on column-major images.
///
/// # Errors
/// [`Error::Network`] if a dense layer is left (run [`simplify`] first).
pub fn transpose_images(mut graph: Graph) -> Result<Graph, Error> {
    let swap = |w: &mut Window| {
        for pair in [&mut w.kernel, &mut w.stride, &mut w.before, &mut w.after] {
            pair.swap(0, 1);
        }
    };
    for node in &mut graph.nodes {
        match &mut node.op {
            Op::Conv(conv) => {
                let [kh, kw] = conv.window.kernel;
                let tap = conv.cin * conv.cout;
                let mut weights = Vec::with_capacity(conv.weights.len());
                for x in 0..kw {
                    for y in 0..kh {
                        let at = (y * kw + x) * tap;
                        weights.extend_from_slice(&conv.weights[at..at + tap]);
                    }
                }
                conv.weights = weights;
                swap(&mut conv.window);
            }
            Op::MaxPool(w) | Op::AvgPool(w) => swap(w),
            Op::Input(shape) => std::mem::swap(&mut shape.h, &mut shape.w),
            Op::Dense { .. } => {
                let why = format!("{}: a dense layer cannot be transposed", node.name);
                return Err(graph.error(&why));
            }
            Op::Normalise { .. }
            | Op::Affine { .. }
            | Op::Relu
            | Op::PRelu(_)
            | Op::GlobalAvgPool => {}
            Op::Add | Op::Concat | Op::Flatten(_) | Op::Softmax => {}
        }
    }
    Ok(graph)
}

/// A dense layer on a flattened `[h, w, c]` image is a convolution whose window is the whole image.
fn dense_to_conv(mut graph: Graph) -> Result<Graph, Error> {
    let shapes = graph.shapes()?;
    for id in 0..graph.nodes.len() {
        let Op::Dense { weights, bias } = graph.nodes[id].op.clone() else {
            continue;
        };
        let mut source = graph.nodes[id].inputs[0];
        let mut order = Order::Hwc;
        if let Op::Flatten(o) = graph.nodes[source].op {
            order = o;
            source = graph.nodes[source].inputs[0];
        }
        let (Some(h), Some(w), c) = (shapes[source].h, shapes[source].w, shapes[source].c) else {
            return Err(graph.error("a dense layer needs a fixed input size"));
        };
        let cout = bias.len();
        let mut taps = Vec::with_capacity(weights.len());
        for y in 0..h {
            for x in 0..w {
                for ch in 0..c {
                    let row = match order {
                        Order::Hwc => (y * w + x) * c + ch,
                        Order::Chw => (ch * h + y) * w + x,
                    };
                    taps.extend_from_slice(&weights[row * cout..(row + 1) * cout]);
                }
            }
        }
        let conv = Conv {
            window: Window::valid([h, w]),
            cin: c,
            cout,
            groups: 1,
            weights: taps,
            bias,
        };
        graph.nodes[id].op = Op::Conv(conv);
        graph.nodes[id].inputs = vec![source];
    }
    Ok(graph)
}

/// `affine(conv(x))` is a convolution with scaled weights: weights and bias are multiplied in f64, rounded once.
fn fold_affine(mut graph: Graph) -> Graph {
    let mut forward: Vec<NodeId> = (0..graph.nodes.len()).collect();
    for id in 0..graph.nodes.len() {
        for slot in 0..graph.nodes[id].inputs.len() {
            graph.nodes[id].inputs[slot] = forward[graph.nodes[id].inputs[slot]];
        }
        let Op::Affine { scale, shift } = &graph.nodes[id].op else {
            continue;
        };
        let (scale, shift) = (scale.clone(), shift.clone());
        let source = graph.nodes[id].inputs[0];
        let alive = graph
            .nodes
            .iter()
            .zip(&forward)
            .enumerate()
            .filter(|(n, (_, f))| n == *f);
        let readers = alive
            .filter(|(_, (n, _))| n.inputs.iter().any(|&i| forward[i] == source))
            .count();
        if readers != 1 || graph.outputs.iter().any(|(_, o)| *o == source) {
            continue;
        }
        let Op::Conv(conv) = &mut graph.nodes[source].op else {
            continue;
        };
        for (i, weight) in conv.weights.iter_mut().enumerate() {
            *weight = (f64::from(*weight) * f64::from(scale[i % conv.cout])) as f32;
        }
        for (i, bias) in conv.bias.iter_mut().enumerate() {
            *bias = (f64::from(*bias) * f64::from(scale[i]) + f64::from(shift[i])) as f32;
        }
        forward[id] = source;
    }
    for (_, output) in &mut graph.outputs {
        *output = forward[*output];
    }
    graph
}

/// `conv((x - mean) / scale)` is `conv'(x)` where no padding is added: the network then reads raw pixels, which are
/// u8 already, so that quantizing the input loses nothing.
///
/// Where padding is added, it stands for `mean`, so the mean is taken off as a whole number: `conv'(x - 128)`, which u8
/// with a zero point of 128 holds exactly. Inside the picture nothing changes; the padding is half a grey level brighter.
fn fold_normalisation(mut graph: Graph) -> Graph {
    let readers = graph.consumers();
    let Some(id) = graph
        .nodes
        .iter()
        .position(|n| matches!(n.op, Op::Normalise { .. }))
    else {
        return graph;
    };
    let Op::Normalise { mean, scale } = graph.nodes[id].op else {
        return graph;
    };
    let foldable =
        |&r: &NodeId| matches!(&graph.nodes[r].op, Op::Conv(c) if c.window.is_unpadded());
    let is_conv = |&r: &NodeId| matches!(&graph.nodes[r].op, Op::Conv(_));
    let whole = mean.round();
    let (source, mean) = if readers[id].iter().all(foldable) {
        (graph.nodes[id].inputs[0], mean)
    } else if readers[id].iter().all(is_conv) && (0.0..=255.0).contains(&whole) {
        graph.nodes[id].op = Op::Normalise {
            mean: whole,
            scale: 1.0,
        };
        (id, mean - whole)
    } else {
        return graph;
    };
    for &reader in &readers[id] {
        graph.nodes[reader].inputs = vec![source];
        let Op::Conv(conv) = &mut graph.nodes[reader].op else {
            continue;
        };
        let (mean, scale) = (f64::from(mean), f64::from(scale));
        let mut sums = vec![0f64; conv.cout];
        for (i, weight) in conv.weights.iter_mut().enumerate() {
            let scaled = f64::from(*weight) / scale;
            sums[i % conv.cout] += scaled;
            *weight = scaled as f32;
        }
        for (bias, sum) in conv.bias.iter_mut().zip(sums) {
            *bias = (f64::from(*bias) - sum * mean) as f32;
        }
    }
    graph
}

/// Removes nodes no output depends on, and flattenings, which our `[1, 1, c]` images do not need.
fn drop_dead(graph: Graph) -> Graph {
    let mut live = vec![false; graph.nodes.len()];
    live[0] = true;
    for (_, output) in &graph.outputs {
        live[*output] = true;
    }
    for id in (0..graph.nodes.len()).rev() {
        if live[id] {
            for &input in &graph.nodes[id].inputs {
                live[input] = true;
            }
        }
    }
    let mut moved = vec![0; graph.nodes.len()];
    let mut nodes: Vec<Node> = Vec::new();
    for (id, mut node) in graph.nodes.into_iter().enumerate() {
        if live[id] {
            node.inputs.iter_mut().for_each(|i| *i = moved[*i]);
            moved[id] = nodes.len();
            nodes.push(node);
        }
    }
    let outputs = graph
        .outputs
        .into_iter()
        .map(|(name, id)| (name, moved[id]))
        .collect();
    Graph {
        name: graph.name,
        nodes,
        outputs,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{graph::Shape, reference};
    use super::*;

    /// A small network with every pattern the passes rewrite.
    fn network() -> Graph {
        let mut g = Graph::new(
            "test",
            Shape {
                h: Some(6),
                w: Some(5),
                c: 3,
            },
        );
        let fill = |n: usize, seed: usize| {
            (0..n)
                .map(|i| ((i * 37 + seed * 11) % 19) as f32 / 9.0 - 1.0)
                .collect()
        };
        let norm = g.push(
            "norm",
            Op::Normalise {
                mean: 127.5,
                scale: 128.0,
            },
            &[0],
        );
        let window = Window {
            stride: [2, 1],
            ..Window::valid([3, 2])
        };
        let conv = Conv {
            window,
            cin: 3,
            cout: 4,
            groups: 1,
            weights: fill(72, 1),
            bias: fill(4, 2),
        };
        let conv = g.push("conv", Op::Conv(conv), &[norm]);
        let bn = g.push(
            "bn",
            Op::Affine {
                scale: vec![0.5, 2.0, -1.0, 1.5],
                shift: vec![0.1, 0.0, 3.0, -2.0],
            },
            &[conv],
        );
        let act = g.push("act", Op::PRelu(vec![0.1, 0.2, 0.3, 0.4]), &[bn]);
        let hwc = g.push("flat", Op::Flatten(Order::Hwc), &[act]);
        let a = g.push(
            "a",
            Op::Dense {
                weights: fill(32 * 3, 4),
                bias: fill(3, 5),
            },
            &[hwc],
        );
        let chw = g.push("flat2", Op::Flatten(Order::Chw), &[act]);
        let b = g.push(
            "b",
            Op::Dense {
                weights: fill(32 * 3, 6),
                bias: fill(3, 7),
            },
            &[chw],
        );
        let sum = g.push("sum", Op::Add, &[a, b]);
        let dead = g.push("dead", Op::Relu, &[a]);
        assert_eq!(dead, 10);
        g.outputs.push(("y".into(), sum));
        g
    }

    fn pixels() -> Vec<f32> {
        (0..90).map(|i| ((i * 53) % 256) as f32).collect()
    }

    #[test]
    fn simplified_network_computes_the_same() {
        let before = reference::run(&network(), [6, 5], &pixels()).unwrap();
        let simple = simplify(network()).unwrap();
        let after = reference::run(&simple, [6, 5], &pixels()).unwrap();
        for (x, y) in before[0].data.iter().zip(&after[0].data) {
            assert!((x - y).abs() < 1e-3 * (1.0 + x.abs()), "{x} became {y}");
        }
        let names: Vec<&str> = simple.nodes.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["pixels", "conv", "act", "a", "b", "sum"]);
    }

    #[test]
    fn transposed_network_on_transposed_image_computes_the_same() {
        let simple = simplify(network()).unwrap();
        let before = reference::run(&simple, [6, 5], &pixels()).unwrap();
        let turned: Vec<f32> = (0..5)
            .flat_map(|x| (0..6).flat_map(move |y| (0..3).map(move |c| (y * 5 + x) * 3 + c)))
            .map(|i| pixels()[i])
            .collect();
        let after = reference::run(&transpose_images(simple).unwrap(), [5, 6], &turned).unwrap();
        for (x, y) in before[0].data.iter().zip(&after[0].data) {
            assert!((x - y).abs() < 1e-3 * (1.0 + x.abs()), "{x} became {y}");
        }
    }

    #[test]
    fn padded_first_convolution_takes_a_whole_mean_off() {
        let mut g = Graph::new(
            "test",
            Shape {
                h: Some(4),
                w: Some(4),
                c: 1,
            },
        );
        let norm = g.push(
            "norm",
            Op::Normalise {
                mean: 127.5,
                scale: 128.0,
            },
            &[0],
        );
        let window = Window {
            before: [1, 1],
            after: [1, 1],
            ..Window::valid([3, 3])
        };
        let conv = Conv {
            window,
            cin: 1,
            cout: 1,
            groups: 1,
            weights: vec![1.0; 9],
            bias: vec![0.0],
        };
        let conv = g.push("conv", Op::Conv(conv), &[norm]);
        g.outputs.push(("y".into(), conv));
        let pixels: Vec<f32> = (0..16).map(|i| (i * 17) as f32).collect();
        let before = reference::run(&g, [4, 4], &pixels).unwrap();
        let simple = simplify(g).unwrap();
        let Op::Normalise { mean, scale } = simple.nodes[1].op else {
            panic!("{:?}", simple.nodes[1]);
        };
        assert_eq!((mean, scale), (128.0, 1.0));
        let after = reference::run(&simple, [4, 4], &pixels).unwrap();
        for (i, (x, y)) in before[0].data.iter().zip(&after[0].data).enumerate() {
            let at_edge = i % 4 % 3 == 0 || i / 4 % 3 == 0;
            // 5 taps of padding at a corner, half a grey level each.
            let most = if at_edge {
                5.0 * 0.5 / 128.0 + 1e-5
            } else {
                1e-5
            };
            assert!((x - y).abs() < most, "{i}: {x} became {y}");
        }
    }
}
