//! Runs a [`Graph`] in plain f32, in one fixed order of operations: the same bits on every machine.
//!
//! Calibration and parity figures come from here, so that rebuilding the zoo gives the same bytes anywhere. Channels
//! lie across lanes and each sums its taps in (row, column, input channel) order, so vectorising changes nothing.

use super::{
    calibrate::Pixels,
    graph::{Conv, Graph, Node, NodeId, Op, Order, Window},
    quantize::Quantized,
};
use crate::Error;

/// One image, `[h, w, c]` row major.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Height.
    pub h: usize,
    /// Width.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// `h * w * c` values.
    pub data: Vec<f32>,
}

/// Runs the network on `[h, w, 3]` pixels (0..=255) and returns its outputs.
///
/// # Errors
/// [`Error::Network`] if the pixels do not fit.
pub fn run(graph: &Graph, size: [usize; 2], pixels: &[f32]) -> Result<Vec<Image>, Error> {
    let mut images = execute(graph, None, size, pixels, &mut |_, _| {})?;
    collect_outputs(graph, &mut images)
}

/// Runs the network as its quantized file computes it: int8 weights, and every quantized tensor rounded to its grid.
///
/// # Errors
/// As for [`run`].
pub fn run_quantized(q: &Quantized, size: [usize; 2], pixels: &[f32]) -> Result<Vec<Image>, Error> {
    let mut images = execute(&q.rounded, Some(q), size, pixels, &mut |_, _| {})?;
    collect_outputs(&q.rounded, &mut images)
}

/// Runs the network and shows every node's result to `observe`.
///
/// # Errors
/// As for [`run`].
pub fn observe(
    graph: &Graph,
    size: [usize; 2],
    pixels: &[f32],
    observe: &mut dyn FnMut(NodeId, &[f32]),
) -> Result<(), Error> {
    execute(graph, None, size, pixels, observe).map(|_| ())
}

/// Cosine between the first outputs of the float network and of its quantized form on one input.
///
/// # Errors
/// As for [`run`].
pub fn parity(graph: &Graph, quantized: &Quantized, input: &Pixels) -> Result<f64, Error> {
    let pixels: Vec<f32> = input.data.iter().map(|&p| f32::from(p)).collect();
    let float = run(graph, input.size, &pixels)?;
    let int8 = run_quantized(quantized, input.size, &pixels)?;
    let (a, b) = (&float[0].data, &int8[0].data);
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum()
    };
    Ok(dot(a, b) / (dot(a, a) * dot(b, b)).sqrt())
}

fn collect_outputs(graph: &Graph, images: &mut [Option<Image>]) -> Result<Vec<Image>, Error> {
    let take = |(name, id): &(String, NodeId)| {
        images[*id]
            .clone()
            .ok_or_else(|| graph.error(&format!("no {name}")))
    };
    graph.outputs.iter().map(take).collect()
}

fn execute(
    graph: &Graph,
    quantized: Option<&Quantized>,
    size: [usize; 2],
    pixels: &[f32],
    observe: &mut dyn FnMut(NodeId, &[f32]),
) -> Result<Vec<Option<Image>>, Error> {
    let last_reader: Vec<NodeId> = graph
        .consumers()
        .iter()
        .map(|r| r.iter().copied().max().unwrap_or(0))
        .collect();
    let mut images: Vec<Option<Image>> = vec![None; graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        let mut image = match &node.op {
            Op::Input(shape) => {
                let image = Image {
                    h: size[0],
                    w: size[1],
                    c: shape.c,
                    data: pixels.to_vec(),
                };
                if image.data.len() != image.h * image.w * image.c {
                    return Err(graph.error(&format!("{} pixel values for {size:?}", pixels.len())));
                }
                image
            }
            _ => {
                apply(node, &images).map_err(|why| graph.error(&format!("{}: {why}", node.name)))?
            }
        };
        if let Some(grid) = quantized.and_then(|q| q.grids[id]) {
            image.data.iter_mut().for_each(|x| *x = grid.round(*x));
        }
        observe(id, &image.data);
        images[id] = Some(image);
        for &input in &node.inputs {
            let kept = graph.outputs.iter().any(|(_, o)| *o == input);
            if last_reader[input] == id && !kept {
                images[input] = None;
            }
        }
    }
    Ok(images)
}

fn apply(node: &Node, images: &[Option<Image>]) -> Result<Image, String> {
    let inputs: Vec<&Image> = node
        .inputs
        .iter()
        .filter_map(|&i| images[i].as_ref())
        .collect();
    let &x = inputs.first().ok_or("no input")?;
    let map = |f: &dyn Fn(usize, f32) -> f32| Image {
        data: x
            .data
            .iter()
            .enumerate()
            .map(|(i, &v)| f(i % x.c, v))
            .collect(),
        ..Image {
            h: x.h,
            w: x.w,
            c: x.c,
            data: Vec::new(),
        }
    };
    Ok(match &node.op {
        Op::Input(_) => return Err("an input in the middle".into()),
        Op::Normalise { mean, scale } => map(&|_, v| (v - mean) / scale),
        Op::Conv(conv) => convolve(conv, x)?,
        Op::Dense { weights, bias } => dense(weights, bias, x)?,
        Op::Affine { scale, shift } => map(&|c, v| v * scale[c] + shift[c]),
        Op::Relu => map(&|_, v| v.max(0.0)),
        Op::PRelu(slope) => map(&|c, v| if v < 0.0 { v * slope[c] } else { v }),
        Op::MaxPool(window) => pool(window, x, f32::NEG_INFINITY, f32::max, |v, _| v)?,
        Op::AvgPool(window) => pool(window, x, 0.0, |a, b| a + b, |v, n| v / n as f32)?,
        Op::GlobalAvgPool => {
            let window = Window::valid([x.h, x.w]);
            pool(&window, x, 0.0, |a, b| a + b, |v, n| v / n as f32)?
        }
        Op::Add => {
            let &y = inputs
                .get(1)
                .filter(|y| y.data.len() == x.data.len())
                .ok_or("nothing to add")?;
            Image {
                data: x.data.iter().zip(&y.data).map(|(a, b)| a + b).collect(),
                ..x.clone()
            }
        }
        Op::Concat => concat(&inputs),
        Op::Flatten(order) => flatten(*order, x),
        Op::Softmax => softmax(x),
    })
}

/// Output pixels computed side by side, so that a weight is loaded once for all of them.
const PIXELS: usize = 4;
/// Output channels computed side by side.
const LANES: usize = 8;

fn convolve(conv: &Conv, x: &Image) -> Result<Image, String> {
    let w = &conv.window;
    let too_small = || format!("a {:?} window on {}x{} pixels", w.kernel, x.h, x.w);
    let (h_out, w_out) = (
        w.output(0, x.h).ok_or_else(too_small)?,
        w.output(1, x.w).ok_or_else(too_small)?,
    );
    let padded = pad(x, w);
    let mut out = Image {
        h: h_out,
        w: w_out,
        c: conv.cout,
        data: vec![0.0; h_out * w_out * conv.cout],
    };
    let per_group = conv.cout / conv.groups;
    let packed = pack(conv, per_group);
    let panels = per_group.div_ceil(LANES);
    let taps = w.kernel[0] * w.kernel[1] * conv.cin;
    for y in 0..h_out {
        for x0 in (0..w_out).step_by(PIXELS) {
            let n = PIXELS.min(w_out - x0);
            for group in 0..conv.groups {
                for panel in 0..panels {
                    let weights =
                        &packed[(group * panels + panel) * taps * LANES..][..taps * LANES];
                    let first = group * per_group + panel * LANES;
                    let lanes = LANES.min(per_group - panel * LANES);
                    let mut acc = [[0f32; LANES]; PIXELS];
                    for row in &mut acc {
                        row[..lanes].copy_from_slice(&conv.bias[first..first + lanes]);
                    }
                    accumulate(&mut acc, weights, conv, &padded, [y, x0], n, group);
                    for (p, row) in acc.iter().enumerate().take(n) {
                        let at = (y * w_out + x0 + p) * conv.cout + first;
                        out.data[at..at + lanes].copy_from_slice(&row[..lanes]);
                    }
                }
            }
        }
    }
    Ok(out)
}

/// Adds all taps of a `PIXELS x LANES` tile, in order.
fn accumulate(
    acc: &mut [[f32; LANES]; PIXELS],
    weights: &[f32],
    conv: &Conv,
    padded: &Image,
    at: [usize; 2],
    n: usize,
    group: usize,
) {
    let w = &conv.window;
    let mut panel = weights.chunks_exact(LANES);
    for ky in 0..w.kernel[0] {
        let row = (at[0] * w.stride[0] + ky) * padded.w;
        for kx in 0..w.kernel[1] {
            let mut sources = [&[][..]; PIXELS];
            for (p, source) in sources.iter_mut().enumerate() {
                // A tile past the last pixel repeats it; its sums are not stored.
                let column = (at[1] + p.min(n - 1)) * w.stride[1] + kx;
                let start = (row + column) * padded.c + group * conv.cin;
                *source = &padded.data[start..start + conv.cin];
            }
            for (c, taps) in panel.by_ref().take(conv.cin).enumerate() {
                for (row, source) in acc.iter_mut().zip(&sources) {
                    let value = source[c];
                    for (sum, tap) in row.iter_mut().zip(taps) {
                        *sum += value * tap;
                    }
                }
            }
        }
    }
}

/// Weights as `[group][panel of LANES channels][tap][LANES]`, zero where channels run out.
fn pack(conv: &Conv, per_group: usize) -> Vec<f32> {
    let taps = conv.window.kernel[0] * conv.window.kernel[1] * conv.cin;
    let panels = per_group.div_ceil(LANES);
    let mut packed = vec![0f32; conv.groups * panels * taps * LANES];
    for group in 0..conv.groups {
        for channel in 0..per_group {
            let (panel, lane) = (channel / LANES, channel % LANES);
            for tap in 0..taps {
                let to = ((group * panels + panel) * taps + tap) * LANES + lane;
                packed[to] = conv.weights[tap * conv.cout + group * per_group + channel];
            }
        }
    }
    packed
}

fn pad(x: &Image, w: &Window) -> Image {
    let (h, width) = (
        x.h + w.before[0] + w.after[0],
        x.w + w.before[1] + w.after[1],
    );
    let mut out = Image {
        h,
        w: width,
        c: x.c,
        data: vec![0.0; h * width * x.c],
    };
    for y in 0..x.h {
        let to = ((y + w.before[0]) * width + w.before[1]) * x.c;
        out.data[to..to + x.w * x.c].copy_from_slice(&x.data[y * x.w * x.c..(y + 1) * x.w * x.c]);
    }
    out
}

fn dense(weights: &[f32], bias: &[f32], x: &Image) -> Result<Image, String> {
    if weights.len() != x.data.len() * bias.len() {
        return Err("dense layer of another input size".into());
    }
    let mut out = bias.to_vec();
    for (value, row) in x.data.iter().zip(weights.chunks_exact(bias.len())) {
        for (sum, weight) in out.iter_mut().zip(row) {
            *sum += value * weight;
        }
    }
    Ok(Image {
        h: 1,
        w: 1,
        c: out.len(),
        data: out,
    })
}

fn pool(
    w: &Window,
    x: &Image,
    start: f32,
    combine: impl Fn(f32, f32) -> f32,
    finish: impl Fn(f32, usize) -> f32,
) -> Result<Image, String> {
    let too_small = || format!("a {:?} window on {}x{} pixels", w.kernel, x.h, x.w);
    let (h_out, w_out) = (
        w.output(0, x.h).ok_or_else(too_small)?,
        w.output(1, x.w).ok_or_else(too_small)?,
    );
    let mut out = Image {
        h: h_out,
        w: w_out,
        c: x.c,
        data: Vec::with_capacity(h_out * w_out * x.c),
    };
    let inside = |o: usize, axis: usize, extent: usize| {
        let first = o * w.stride[axis];
        let skip = w.before[axis].saturating_sub(first);
        let start = (first + skip).saturating_sub(w.before[axis]);
        start
            ..(first + w.kernel[axis])
                .saturating_sub(w.before[axis])
                .min(extent)
    };
    for oy in 0..h_out {
        for ox in 0..w_out {
            for c in 0..x.c {
                let (rows, columns) = (inside(oy, 0, x.h), inside(ox, 1, x.w));
                let count = rows.len() * columns.len();
                let mut value = start;
                for y in rows {
                    for column in columns.clone() {
                        value = combine(value, x.data[(y * x.w + column) * x.c + c]);
                    }
                }
                out.data.push(finish(value, count));
            }
        }
    }
    Ok(out)
}

fn concat(inputs: &[&Image]) -> Image {
    let (h, w) = (inputs[0].h, inputs[0].w);
    let c = inputs.iter().map(|i| i.c).sum();
    let mut data = Vec::with_capacity(h * w * c);
    for pixel in 0..h * w {
        for input in inputs {
            data.extend_from_slice(&input.data[pixel * input.c..(pixel + 1) * input.c]);
        }
    }
    Image { h, w, c, data }
}

fn flatten(order: Order, x: &Image) -> Image {
    let data = match order {
        Order::Hwc => x.data.clone(),
        Order::Chw => (0..x.c)
            .flat_map(|c| x.data.iter().skip(c).step_by(x.c).copied())
            .collect(),
    };
    Image {
        h: 1,
        w: 1,
        c: data.len(),
        data,
    }
}

fn softmax(x: &Image) -> Image {
    let mut data = x.data.clone();
    for pixel in data.chunks_exact_mut(x.c) {
        let top = pixel.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        pixel.iter_mut().for_each(|v| *v = (*v - top).exp());
        let sum: f32 = pixel.iter().sum();
        pixel.iter_mut().for_each(|v| *v /= sum);
    }
    Image { data, ..*x }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of convolution, term by term.
    fn naive(conv: &Conv, x: &Image) -> Vec<f32> {
        let w = &conv.window;
        let per_group = conv.cout / conv.groups;
        let mut out = Vec::new();
        for oy in 0..w.output(0, x.h).unwrap() {
            for ox in 0..w.output(1, x.w).unwrap() {
                for o in 0..conv.cout {
                    let mut sum = conv.bias[o];
                    for ky in 0..w.kernel[0] {
                        for kx in 0..w.kernel[1] {
                            let y = (oy * w.stride[0] + ky).wrapping_sub(w.before[0]);
                            let column = (ox * w.stride[1] + kx).wrapping_sub(w.before[1]);
                            for c in 0..conv.cin {
                                let source = o / per_group * conv.cin + c;
                                let value = if y < x.h && column < x.w {
                                    x.data[(y * x.w + column) * x.c + source]
                                } else {
                                    0.0
                                };
                                sum += value
                                    * conv.weights
                                        [((ky * w.kernel[1] + kx) * conv.cin + c) * conv.cout + o];
                            }
                        }
                    }
                    out.push(sum);
                }
            }
        }
        out
    }

    #[test]
    fn tiled_convolution_has_the_bits_of_the_definition() {
        struct Case {
            hw: [usize; 2],
            kernel: [usize; 2],
            stride: [usize; 2],
            pad: [usize; 2],
            cin: usize,
            cout: usize,
            groups: usize,
        }
        let cases = [
            Case {
                hw: [5, 9],
                kernel: [3, 3],
                stride: [1, 1],
                pad: [1, 1],
                cin: 3,
                cout: 10,
                groups: 1,
            },
            Case {
                hw: [8, 7],
                kernel: [1, 7],
                stride: [1, 1],
                pad: [0, 3],
                cin: 4,
                cout: 17,
                groups: 1,
            },
            Case {
                hw: [9, 9],
                kernel: [3, 3],
                stride: [2, 2],
                pad: [0, 0],
                cin: 2,
                cout: 8,
                groups: 1,
            },
            Case {
                hw: [6, 6],
                kernel: [3, 3],
                stride: [1, 1],
                pad: [1, 1],
                cin: 1,
                cout: 5,
                groups: 5,
            },
            Case {
                hw: [4, 4],
                kernel: [2, 2],
                stride: [2, 1],
                pad: [0, 0],
                cin: 3,
                cout: 12,
                groups: 2,
            },
        ];
        for (i, case) in cases.iter().enumerate() {
            let value = |n: usize, k: usize| {
                (0..n)
                    .map(|j| (((j * 31 + k) % 23) as f32 - 11.0) / 7.0)
                    .collect()
            };
            let channels = case.cin * case.groups;
            let x = Image {
                h: case.hw[0],
                w: case.hw[1],
                c: channels,
                data: value(case.hw[0] * case.hw[1] * channels, 3),
            };
            let conv = Conv {
                window: Window {
                    kernel: case.kernel,
                    stride: case.stride,
                    before: case.pad,
                    after: case.pad,
                },
                cin: case.cin,
                cout: case.cout,
                groups: case.groups,
                weights: value(case.kernel[0] * case.kernel[1] * case.cin * case.cout, 5),
                bias: value(case.cout, 8),
            };
            assert_eq!(
                convolve(&conv, &x).unwrap().data,
                naive(&conv, &x),
                "case {i}"
            );
        }
    }

    #[test]
    fn pooling_ignores_padding() {
        let x = Image {
            h: 3,
            w: 3,
            c: 1,
            data: (1..=9).map(|v| -(v as f32)).collect(),
        };
        let window = Window {
            kernel: [2, 2],
            stride: [2, 2],
            before: [0, 0],
            after: [1, 1],
        };
        let y = pool(&window, &x, f32::NEG_INFINITY, f32::max, |v, _| v).unwrap();
        assert_eq!((y.h, y.w, y.data), (2, 2, vec![-1.0, -3.0, -7.0, -9.0]));
    }
}
