//! The exported files, run by an independent runtime, compute what the reference computes.
#![cfg(feature = "build")]

use facelatch_models::{
    build::{
        calibrate::{Pixels, calibrate},
        export,
        graph::{Conv, Graph, Op, Shape, Window},
        onnx::{self, Normalisation},
        quantize::quantize,
        reference,
        simplify::simplify,
    },
    net::Net,
};
use ndarray::ArrayView4;

fn values(n: usize, seed: usize, spread: f32) -> Vec<f32> {
    (0..n)
        .map(|i| (((i * 7919 + seed * 104_729) % 1013) as f32 / 506.0 - 1.0) * spread)
        .collect()
}

fn conv(kernel: [usize; 2], cin: usize, cout: usize, seed: usize) -> Conv {
    let weights = values(kernel[0] * kernel[1] * cin * cout, seed, 0.4);
    Conv {
        window: Window::valid(kernel),
        cin,
        cout,
        groups: 1,
        weights,
        bias: values(cout, seed + 1, 0.3),
    }
}

/// Every operator an exported network can hold.
fn network() -> Graph {
    let mut g = Graph::new(
        "every-operator",
        Shape {
            h: Some(20),
            w: Some(18),
            c: 3,
        },
    );
    let x = g.push(
        "normalise",
        Op::Normalise {
            mean: 127.5,
            scale: 128.0,
        },
        &[0],
    );
    let mut first = conv([3, 3], 3, 8, 1);
    first.window.stride = [2, 1];
    let x = g.push("first", Op::Conv(first), &[x]);
    let x = g.push("first/act", Op::PRelu(values(8, 3, 0.3)), &[x]);
    let pool = Window {
        kernel: [3, 3],
        stride: [2, 2],
        before: [0, 0],
        after: [1, 1],
    };
    let x = g.push("pool", Op::MaxPool(pool), &[x]);
    let mut wide = conv([1, 3], 8, 6, 5);
    (wide.window.before, wide.window.after) = ([0, 1], [0, 1]);
    let a = g.push("a", Op::Conv(wide), &[x]);
    let a = g.push("a/relu", Op::Relu, &[a]);
    let b = g.push("b", Op::Conv(conv([1, 1], 8, 2, 7)), &[x]);
    let b = g.push("b/relu", Op::Relu, &[b]);
    let joined = g.push("joined", Op::Concat, &[a, b]);
    let up = g.push("up", Op::Conv(conv([1, 1], 8, 8, 9)), &[joined]);
    let sum = g.push("sum", Op::Add, &[x, up]);
    let sum = g.push("sum/relu", Op::Relu, &[sum]);
    let depthwise = Conv {
        groups: 8,
        ..conv([3, 3], 1, 8, 13)
    };
    let x = g.push("depthwise", Op::Conv(depthwise), &[sum]);
    let mean = g.push("mean", Op::AvgPool(Window::valid([2, 2])), &[x]);
    let score = g.push("score", Op::Conv(conv([1, 4], 8, 2, 11)), &[mean]);
    let probability = g.push("probability", Op::Softmax, &[score]);
    let global = g.push("global", Op::GlobalAvgPool, &[mean]);
    let out = g.push(
        "out",
        Op::Dense {
            weights: values(8 * 5, 15, 0.5),
            bias: values(5, 16, 0.5),
        },
        &[global],
    );
    g.outputs = vec![("probability".into(), probability), ("vector".into(), out)];
    g
}

fn pictures(n: usize) -> Vec<Pixels> {
    let pixel = |seed: usize| move |i: usize| ((i * (seed * 2 + 31) + i / 7 * seed) % 256) as u8;
    (1..=n)
        .map(|seed| Pixels {
            size: [20, 18],
            data: (0..20 * 18 * 3).map(pixel(seed)).collect(),
        })
        .collect()
}

fn run_by_tract(bytes: &[u8], picture: &Pixels) -> Vec<Vec<f32>> {
    let mut net = Net::by_tract("exported", bytes).unwrap();
    let pixels = ArrayView4::from_shape((1, 20, 18, 3), &picture.data).unwrap();
    net.run(pixels)
        .unwrap()
        .iter()
        .map(|o| o.iter().copied().collect())
        .collect()
}

/// A reference result in the file's element order.
fn channels_first(image: &reference::Image) -> Vec<f32> {
    (0..image.c)
        .flat_map(|c| image.data.iter().skip(c).step_by(image.c).copied())
        .collect()
}

/// Largest difference of two results, relative to the largest value.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let top = b.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
    a.iter()
        .zip(b)
        .map(|(x, y)| (x - y).abs() / top)
        .fold(0.0, f32::max)
}

#[test]
fn float_file_matches_reference() {
    let graph = simplify(network()).unwrap();
    let bytes = export::float(&graph).unwrap();
    for picture in pictures(3) {
        let input: Vec<f32> = picture.data.iter().map(|&p| f32::from(p)).collect();
        let expected = reference::run(&graph, picture.size, &input).unwrap();
        for (found, expected) in run_by_tract(&bytes, &picture).iter().zip(&expected) {
            assert!(
                difference(found, &channels_first(expected)) < 1e-4,
                "{found:?} is not {expected:?}"
            );
        }
    }
}

#[test]
fn quantized_file_matches_reference_and_stays_near_float() {
    let graph = simplify(network()).unwrap();
    let ranges = calibrate(&graph, &pictures(6), &|| ()).unwrap();
    let quantized = quantize(&graph, &ranges).unwrap();
    let bytes = export::qdq(&quantized).unwrap();
    for picture in pictures(3) {
        let input: Vec<f32> = picture.data.iter().map(|&p| f32::from(p)).collect();
        let expected = reference::run_quantized(&quantized, picture.size, &input).unwrap();
        let float = reference::run(&graph, picture.size, &input).unwrap();
        for ((found, expected), float) in run_by_tract(&bytes, &picture)
            .iter()
            .zip(&expected)
            .zip(&float)
        {
            // A sum next to a rounding boundary may fall to either side: one step of one tensor.
            assert!(
                difference(found, &channels_first(expected)) < 0.02,
                "{found:?} is not {expected:?}"
            );
            assert!(
                difference(&expected.data, &float.data) < 0.08,
                "{:?} is far from {:?}",
                expected.data,
                float.data
            );
        }
    }
}

#[test]
fn exported_float_file_is_imported_again() {
    let graph = simplify(network()).unwrap();
    let bytes = export::float(&graph).unwrap();
    let again = onnx::import(
        "again",
        &bytes,
        Normalisation {
            mean: 0.0,
            scale: 1.0,
        },
    );
    let again = simplify(again.unwrap()).unwrap();
    let picture = &pictures(1)[0];
    let input: Vec<f32> = picture.data.iter().map(|&p| f32::from(p)).collect();
    let (a, b) = (
        reference::run(&graph, [20, 18], &input).unwrap(),
        reference::run(&again, [20, 18], &input).unwrap(),
    );
    for (a, b) in a.iter().zip(&b) {
        assert!(difference(&a.data, &b.data) < 1e-5);
    }
}

#[test]
fn refusals_name_the_operator() {
    let graph = simplify(network()).unwrap();
    let ranges = calibrate(&graph, &pictures(1), &|| ()).unwrap();
    let qdq = export::qdq(&quantize(&graph, &ranges).unwrap()).unwrap();
    let plain = Normalisation {
        mean: 0.0,
        scale: 1.0,
    };
    let cases: [(&str, Vec<u8>, &str); 3] = [
        ("quantized twice", qdq, "quantized already"),
        ("not ONNX", b"hello".to_vec(), "not an ONNX file"),
        ("empty", Vec::new(), "without a graph"),
    ];
    for (name, bytes, expected) in cases {
        let error = onnx::import("net", &bytes, plain).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

/// The int8 engine's contract and the quantized network mean the same integers.
#[test]
fn int8_contract_computes_the_quantized_convolution() {
    let mut g = Graph::new(
        "one-layer",
        Shape {
            h: Some(9),
            w: Some(7),
            c: 3,
        },
    );
    let x = g.push(
        "normalise",
        Op::Normalise {
            mean: 127.5,
            scale: 128.0,
        },
        &[0],
    );
    let x = g.push("first", Op::Conv(conv([3, 2], 3, 5, 21)), &[x]);
    let first = g.push("first/relu", Op::Relu, &[x]);
    let out = g.push("out", Op::Conv(conv([1, 1], 5, 2, 22)), &[first]);
    g.outputs = vec![("first".into(), first), ("out".into(), out)];
    let graph = simplify(g).unwrap();
    let picture = Pixels {
        size: [9, 7],
        data: (0..189).map(|i| (i * 73 % 256) as u8).collect(),
    };
    let ranges = calibrate(&graph, std::slice::from_ref(&picture), &|| ()).unwrap();
    let quantized = quantize(&graph, &ranges).unwrap();
    let input: Vec<f32> = picture.data.iter().map(|&p| f32::from(p)).collect();
    let expected = reference::run_quantized(&quantized, [9, 7], &input).unwrap();

    let grid = quantized.grids[2].unwrap();
    let int = quantized.convs[1].as_ref().unwrap();
    let taps = 3 * 2 * 3;
    let contract = facelatch_int8::Conv::new(facelatch_int8::ConvParts {
        window: facelatch_int8::Window {
            size: [3, 2],
            strides: [1, 1],
            pads: [0; 4],
        },
        channels: [3, 5],
        weights: (0..5)
            .flat_map(|o| (0..taps).map(move |t| (t, o)))
            .map(|(t, o)| int.weights[t * 5 + o])
            .collect(),
        bias: int.bias.clone(),
        scale: int.bias_scales.iter().map(|s| s / grid.scale).collect(),
        input_zero: 0,
        requantize: facelatch_int8::Requantize {
            zero: grid.zero,
            low: grid.zero,
            high: 255,
        },
    });
    let pixels = facelatch_int8::Activation::new([9, 7, 3], picture.data.clone()).unwrap();
    let found = facelatch_int8::convolve(&contract.unwrap(), &pixels).unwrap();
    let codes: Vec<u8> = expected[0]
        .data
        .iter()
        .map(|v| (v / grid.scale).round() as u8 + grid.zero)
        .collect();
    assert_eq!(found.values(), codes);
}
