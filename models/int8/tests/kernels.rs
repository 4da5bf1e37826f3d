//! Every instruction set of this processor against the definition, bit for bit.
//!
//! Networks of one convolution, with sizes and numbers at random and at their extremes; whatever is added to the
//! list of kernels is tested here without a change.

use std::sync::Arc;

use facelatch_int8::{
    Activation, Builder, Conv, ConvParts, ConvSpec, DepthwiseSpec, Engine, Isa, Plan, Requantize,
    Runner, Slice, Window, convolve, depthwise, max_pool,
};
use proptest::prelude::*;

/// A small generator, so that a seed is a whole case.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }

    fn bytes(&mut self, n: usize, extreme: bool) -> Vec<u8> {
        let one = |r: u64| match extreme {
            true => [0, 255, 128, 127][r as usize % 4],
            false => r as u8,
        };
        (0..n).map(|_| one(self.next())).collect()
    }

    fn weights(&mut self, n: usize, extreme: bool) -> Vec<i8> {
        let one = |r: u64| match extreme {
            true => [127, -127][r as usize % 2],
            false => ((r % 255) as i32 - 127) as i8,
        };
        (0..n).map(|_| one(self.next())).collect()
    }
}

/// Two convolutions, so that the second reads channels that are stored in groups, and writes bytes.
#[derive(Debug, Clone)]
struct Case {
    size: [usize; 2],
    batch: usize,
    middle: usize,
    cout: usize,
    windows: [Window; 2],
    zeros: [u8; 2],
    relu: bool,
    prelu: bool,
    extreme: bool,
    threads: usize,
    seed: u64,
}

fn window() -> impl Strategy<Value = Window> {
    let side = 1usize..8;
    (side.clone(), side, 1usize..3, 1usize..3, any::<u32>()).prop_map(|(kh, kw, sy, sx, pads)| {
        let pad = |at: usize, size: usize| (pads as usize >> (8 * at)) % size;
        Window {
            size: [kh, kw],
            strides: [sy, sx],
            pads: [pad(0, kh), pad(1, kw), pad(2, kh), pad(3, kw)],
        }
    })
}

fn case() -> impl Strategy<Value = Case> {
    (
        ([1usize..24, 1usize..24], 1usize..4, 1usize..50, 1usize..100),
        [window(), window()],
        any::<[u8; 2]>(),
        any::<[bool; 3]>(),
        (1usize..=4, any::<u64>()),
    )
        .prop_map(
            |(
                ([h, w], batch, middle, cout),
                windows,
                zeros,
                [relu, prelu, extreme],
                (threads, seed),
            )| Case {
                size: [h, w],
                batch,
                middle,
                cout,
                windows,
                zeros,
                relu,
                prelu,
                extreme,
                threads,
                seed,
            },
        )
}

/// One convolution's numbers.
fn parts(
    noise: &mut Noise,
    case: &Case,
    which: usize,
    [cin, cout]: [usize; 2],
    zero_in: u8,
) -> ConvParts {
    let window = case.windows[which];
    let taps = window.size[0] * window.size[1] * cin;
    let weights = noise.weights(cout * taps, case.extreme);
    let bias = (0..cout)
        .map(|_| noise.below(20_001) as i32 - 10_000)
        .collect();
    // So that results spread over the byte's range, and beyond it.
    let spread = 1.0 / ((taps as f32).sqrt() * 73.0);
    let scale: Vec<f32> = (0..cout)
        .map(|_| spread * (0.5 + noise.below(1000) as f32 / 1000.0))
        .collect();
    let negative = match case.prelu {
        true => scale
            .iter()
            .map(|s| s * (noise.below(300) as f32 / 200.0 - 0.5))
            .collect(),
        false => Vec::new(),
    };
    let zero = case.zeros[which];
    ConvParts {
        window,
        channels: [cin, cout],
        weights,
        bias,
        scale,
        negative,
        input_zero: zero_in,
        requantize: Requantize {
            zero,
            low: if case.relu { zero } else { 0 },
            high: 255,
        },
    }
}

fn spec(parts: &ConvParts, input: Slice, outputs: Vec<Slice>) -> ConvSpec {
    ConvSpec {
        input,
        window: parts.window,
        outputs,
        weights: parts.weights.clone(),
        bias: parts.bias.clone(),
        scale: parts.scale.clone(),
        negative: parts.negative.clone(),
        low: parts.requantize.low,
        residual: None,
    }
}

/// Every kernel that runs here: the instruction sets of this processor, then the twins, whose instruction set it may lack.
fn engines(threads: usize) -> Vec<(String, Arc<Engine>)> {
    let named = |isa: Isa| {
        (
            format!("{isa} x {threads}"),
            Engine::new(isa, threads).unwrap(),
        )
    };
    let twins = Engine::twins(threads).unwrap().into_iter();
    let twins = twins.map(|engine| (format!("twin of {} x {threads}", engine.isa()), engine));
    Isa::available()
        .into_iter()
        .map(named)
        .chain(twins)
        .collect()
}

fn output(
    plan: &Arc<Plan>,
    engine: &Arc<Engine>,
    size: [usize; 2],
    batch: usize,
    pixels: &[u8],
) -> Vec<Vec<f32>> {
    let mut runner = Runner::new(plan, size, batch, engine).unwrap();
    // Once more than needed: nothing of a run may be left for the next.
    runner.run(&vec![255; pixels.len()]).unwrap();
    runner.run(pixels).unwrap();
    runner.outputs().map(|o| o.to_vec()).collect()
}

fn agree(case: &Case) -> Result<(), TestCaseError> {
    let [h, w] = case.size;
    let mut noise = Noise(case.seed | 1);
    let first = parts(&mut noise, case, 0, [3, case.middle], 0);
    let second = parts(&mut noise, case, 1, [case.middle, case.cout], case.zeros[0]);
    let pixels = noise.bytes(case.batch * h * w * 3, case.extreme);

    let mut expected = Vec::new();
    let (one, two) = (
        Conv::new(first.clone()).unwrap(),
        Conv::new(second.clone()).unwrap(),
    );
    for picture in pixels.chunks(h * w * 3) {
        let input = Activation::new([h, w, 3], picture.to_vec()).unwrap();
        let Ok(middle) = convolve(&one, &input) else {
            return Ok(());
        };
        let Ok(last) = convolve(&two, &middle) else {
            return Ok(());
        };
        expected.extend(last.values().iter().map(|&v| f32::from(v)));
    }

    let mut builder = Builder::new([None, None]);
    let middle = builder.bytes(case.middle, case.zeros[0]).unwrap();
    let last = builder.bytes(case.cout, case.zeros[1]).unwrap();
    let picture = builder.picture();
    builder
        .convolve(&spec(&first, picture, vec![middle]))
        .unwrap();
    builder
        .convolve(&spec(&second, middle, vec![last]))
        .unwrap();
    builder.output("last", last).unwrap();
    let plan = Plan::from_bytes(&builder.finish([7; 32]).unwrap()).unwrap();
    for (name, engine) in engines(case.threads) {
        let found = output(&plan, &engine, case.size, case.batch, &pixels);
        prop_assert_eq!(&found[0], &expected, "{}", name);
    }
    Ok(())
}

/// As many cases as `PROPTEST_CASES` says, for machines that are emulated.
fn cases() -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(if cfg!(debug_assertions) { 20 } else { 300 }),
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn all_kernels_agree_with_the_definition(case in case()) {
        agree(&case)?;
    }

    #[test]
    fn depthwise_agrees_with_the_definition_everywhere(case in case()) {
        depthwise_agrees(&case)?;
    }
}

/// A convolution of a picture with an odd zero point, then one of each channel by itself, then one that reads its groups.
fn depthwise_agrees(case: &Case) -> Result<(), TestCaseError> {
    let [h, w] = case.size;
    let mut noise = Noise(case.seed | 1);
    let first = parts(&mut noise, case, 0, [3, case.middle], case.zeros[1]);
    let mut each = parts(&mut noise, case, 1, [1, case.middle], case.zeros[0]);
    each.requantize.high = 255;
    let pixels = noise.bytes(case.batch * h * w * 3, case.extreme);
    let (one, two) = (
        Conv::new(first.clone()).unwrap(),
        Conv::new(each.clone()).unwrap(),
    );
    let mut expected = Vec::new();
    for picture in pixels.chunks(h * w * 3) {
        let input = Activation::new([h, w, 3], picture.to_vec()).unwrap();
        let last = convolve(&one, &input).and_then(|middle| depthwise(&two, &middle));
        let Ok(last) = last else { return Ok(()) };
        expected.extend(last.values().iter().map(|&v| f32::from(v)));
    }
    let mut builder = Builder::new([None, None]);
    builder.picture_zero(case.zeros[1]);
    let middle = builder.bytes(case.middle, case.zeros[0]).unwrap();
    let last = builder.bytes(case.middle, case.zeros[1]).unwrap();
    let picture = builder.picture();
    builder
        .convolve(&spec(&first, picture, vec![middle]))
        .unwrap();
    let each = DepthwiseSpec {
        input: middle,
        window: each.window,
        output: last,
        weights: each.weights,
        bias: each.bias,
        scale: each.scale,
        negative: each.negative,
        low: each.requantize.low,
    };
    builder.depthwise(&each).unwrap();
    builder.output("last", last).unwrap();
    let plan = Plan::from_bytes(&builder.finish([7; 32]).unwrap()).unwrap();
    for (name, engine) in engines(case.threads) {
        let found = output(&plan, &engine, case.size, case.batch, &pixels);
        prop_assert_eq!(&found[0], &expected, "{}", name);
    }
    Ok(())
}

/// Tiles of every size: pixel and channel counts around what tiles hold.
#[test]
fn every_remainder_of_every_tile_agrees() {
    let point = |size| Window {
        size,
        strides: [1, 1],
        pads: [0; 4],
    };
    let mut wrong = Vec::new();
    for pixels in 1..=33 {
        for groups in 1..=9 {
            let case = Case {
                size: [1, pixels + 2],
                batch: 1,
                middle: 20,
                cout: groups * 16,
                windows: [point([1, 2]), point([1, 2])],
                zeros: [3, 9],
                relu: groups % 2 == 0,
                prelu: groups % 3 == 0,
                extreme: pixels % 2 == 0,
                threads: 1,
                seed: 1 + pixels as u64 * 64 + groups as u64,
            };
            if let Err(error) = agree(&case) {
                wrong.push(format!("{pixels} pixels, {groups} groups: {error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// More activations than a kernel takes at once, where it works through them in blocks.
#[test]
fn a_large_picture_agrees() {
    let window = |pad| Window {
        size: [3, 3],
        strides: [1, 1],
        pads: [pad; 4],
    };
    let case = Case {
        size: [70, 61],
        batch: 2,
        middle: 48,
        cout: 20,
        windows: [window(1), window(0)],
        zeros: [77, 5],
        relu: true,
        prelu: false,
        extreme: false,
        threads: 3,
        seed: 11,
    };
    agree(&case).unwrap();
}

/// A residual block as FaceNet has them: branches beside each other, concatenated, added, pooled, in f32 at the end.
#[test]
fn a_residual_block_gives_the_same_everywhere() {
    for seed in 1..=20u64 {
        let mut noise = Noise(seed * 7919);
        let plan = residual_block(&mut noise);
        let pixels = noise.bytes(2 * 9 * 11 * 3, seed % 2 == 0);
        let expected = output(
            &plan,
            &Engine::new(Isa::Scalar, 1).unwrap(),
            [9, 11],
            2,
            &pixels,
        );
        assert!(
            expected[1].iter().any(|&v| v != expected[1][0]),
            "nothing to compare"
        );
        for (name, engine) in (1..=4).flat_map(engines) {
            let found = output(&plan, &engine, [9, 11], 2, &pixels);
            let bits =
                |v: &[Vec<f32>]| -> Vec<u32> { v.iter().flatten().map(|x| x.to_bits()).collect() };
            assert_eq!(bits(&found), bits(&expected), "{name}, seed {seed}");
        }
    }
}

fn residual_block(noise: &mut Noise) -> Arc<Plan> {
    let same = |size: [usize; 2]| Window {
        size,
        strides: [1, 1],
        pads: [size[0] / 2, size[1] / 2, size[0] / 2, size[1] / 2],
    };
    let mut b = Builder::new([Some(9), Some(11)]);
    let conv = |b: &mut Builder,
                noise: &mut Noise,
                input: Slice,
                outputs: Vec<Slice>,
                size,
                residual,
                low| {
        let cout: usize = outputs.iter().map(|o| o.channels).sum();
        let taps = size_of_taps(size) * input.channels;
        let spread = 1.0 / ((taps as f32).sqrt() * 73.0);
        let spec = ConvSpec {
            input,
            window: same(size),
            weights: noise.weights(cout * taps, false),
            bias: (0..cout).map(|_| noise.below(2001) as i32 - 1000).collect(),
            scale: (0..cout)
                .map(|_| spread * (0.5 + noise.below(100) as f32 / 100.0))
                .collect(),
            negative: Vec::new(),
            low,
            residual,
            outputs,
        };
        b.convolve(&spec).unwrap();
    };
    let stem = b.bytes(64, 0).unwrap();
    let (one, two) = (b.bytes(32, 0).unwrap(), b.bytes(16, 0).unwrap());
    let joined = b.bytes(80, 0).unwrap();
    let slice = |first, channels| Slice {
        first,
        channels,
        ..joined
    };
    let sum = b.bytes(64, 40).unwrap();
    let pooled = b.bytes(64, 40).unwrap();
    let mean = b.bytes(64, 70).unwrap();
    let (head, classes) = (b.floats(10).unwrap(), b.floats(2).unwrap());
    let picture = b.picture();
    conv(&mut b, noise, picture, vec![stem], [3, 3], None, 0);
    conv(
        &mut b,
        noise,
        stem,
        vec![slice(0, 32), one, two],
        [1, 1],
        None,
        0,
    );
    conv(&mut b, noise, one, vec![slice(32, 32)], [1, 7], None, 0);
    conv(&mut b, noise, two, vec![slice(64, 16)], [3, 3], None, 0);
    let residual = facelatch_int8::Residual {
        slice: stem,
        scale: 0.5,
    };
    conv(&mut b, noise, joined, vec![sum], [1, 1], Some(residual), 0);
    let pool = Window {
        size: [3, 3],
        strides: [2, 2],
        pads: [0, 0, 1, 1],
    };
    b.max_pool(sum, pool, pooled).unwrap();
    let all = Window {
        size: [4, 5],
        strides: [1, 1],
        pads: [0; 4],
    };
    b.average_pool(pooled, all, 1.25 / 20.0, mean).unwrap();
    conv(&mut b, noise, mean, vec![head, classes], [1, 1], None, 0);
    // Part of a wider tensor: one run for each tap.
    let part = b.bytes(32, 5).unwrap();
    conv(&mut b, noise, slice(32, 32), vec![part], [3, 3], None, 5);
    b.softmax(classes).unwrap();
    b.output("part", part).unwrap();
    b.output("head", head).unwrap();
    b.output("classes", classes).unwrap();
    Plan::from_bytes(&b.finish([1; 32]).unwrap()).unwrap()
}

fn size_of_taps([h, w]: [usize; 2]) -> usize {
    h * w
}

/// Pools against their definition.
#[test]
fn max_pools_agree_with_the_definition() {
    for (size, strides, pads) in [
        ([3, 3], [2, 2], [0, 0, 1, 1]),
        ([2, 2], [2, 2], [0; 4]),
        ([3, 2], [1, 1], [1, 1, 2, 0]),
    ] {
        let mut noise = Noise(99);
        let window = Window {
            size,
            strides,
            pads,
        };
        let case = Case {
            size: [12, 9],
            batch: 2,
            middle: 20,
            cout: 16,
            windows: [window; 2],
            zeros: [200, 0],
            relu: false,
            prelu: false,
            extreme: false,
            threads: 2,
            seed: 5,
        };
        let first = parts(&mut noise, &case, 0, [3, 20], 0);
        let pixels = noise.bytes(2 * 12 * 9 * 3, false);
        let mut b = Builder::new([None, None]);
        let (middle, last) = (b.bytes(20, 200).unwrap(), b.bytes(20, 200).unwrap());
        let picture = b.picture();
        b.convolve(&spec(&first, picture, vec![middle])).unwrap();
        b.max_pool(middle, window, last).unwrap();
        b.output("last", last).unwrap();
        let plan = Plan::from_bytes(&b.finish([0; 32]).unwrap()).unwrap();
        let conv = Conv::new(first).unwrap();
        let expected: Vec<f32> = pixels
            .chunks(12 * 9 * 3)
            .flat_map(|picture| {
                let input = Activation::new([12, 9, 3], picture.to_vec()).unwrap();
                let pooled = max_pool(&window, &convolve(&conv, &input).unwrap()).unwrap();
                pooled
                    .values()
                    .iter()
                    .map(|&v| f32::from(v))
                    .collect::<Vec<_>>()
            })
            .collect();
        for (name, engine) in engines(2) {
            let found = output(&plan, &engine, [12, 9], 2, &pixels);
            assert_eq!(found[0], expected, "{name} {size:?}");
        }
    }
}
