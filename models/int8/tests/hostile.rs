//! Plans that somebody damaged or made up: refused, or run within bounds; never a panic.
//!
//! The checksum only finds accidents, so here it is mended after every change: what is tested is the check behind it.

use std::sync::Arc;

use facelatch_int8::{
    Builder, ConvSpec, DepthwiseSpec, Engine, Error, Isa, Plan, Residual, Runner, Slice, Window,
};
use proptest::prelude::*;

const HEADER: usize = 64;

/// A small network with every kind of step.
fn plan() -> Vec<u8> {
    let window = |side: usize, pad: usize| Window {
        size: [side; 2],
        strides: [1; 2],
        pads: [pad; 4],
    };
    let mut b = Builder::new([None, None]);
    let spec = |input: Slice, outputs: Vec<Slice>, window: Window, residual| {
        let cout: usize = outputs.iter().map(|o| o.channels).sum();
        let taps = window.size[0] * window.size[1] * input.channels;
        ConvSpec {
            input,
            window,
            weights: (0..cout * taps)
                .map(|i| (i * 37 % 255) as u8 as i8)
                .map(|w| w.max(-127))
                .collect(),
            bias: vec![100; cout],
            scale: vec![0.01; cout],
            negative: Vec::new(),
            low: 0,
            residual,
            outputs,
        }
    };
    let stem = b.bytes(20, 7).unwrap();
    let (joined, sum) = (b.bytes(32, 7).unwrap(), b.bytes(32, 3).unwrap());
    let left = Slice {
        channels: 16,
        ..joined
    };
    let right = Slice { first: 16, ..left };
    let each = b.bytes(32, 9).unwrap();
    let (pooled, mean) = (b.bytes(32, 3).unwrap(), b.bytes(32, 3).unwrap());
    let head = b.floats(5).unwrap();
    let picture = b.picture();
    let mut slope = spec(picture, vec![stem], window(3, 1), None);
    slope.negative = vec![-0.001; 20];
    b.convolve(&slope).unwrap();
    b.convolve(&spec(stem, vec![left, right], window(1, 0), None))
        .unwrap();
    let residual = Residual {
        slice: joined,
        scale: 0.5,
    };
    b.convolve(&spec(joined, vec![sum], window(1, 0), Some(residual)))
        .unwrap();
    b.depthwise(&DepthwiseSpec {
        input: sum,
        window: window(3, 1),
        output: each,
        weights: vec![-5; 32 * 9],
        bias: vec![7; 32],
        scale: vec![0.01; 32],
        negative: vec![0.002; 32],
        low: 0,
    })
    .unwrap();
    b.max_pool(each, window(2, 1), pooled).unwrap();
    b.average_pool(pooled, window(3, 0), 0.1, mean).unwrap();
    b.convolve(&spec(mean, vec![head], window(1, 0), None))
        .unwrap();
    b.softmax(head).unwrap();
    b.output("head", head).unwrap();
    b.finish([9; 32]).unwrap()
}

fn mend(bytes: &mut [u8]) {
    if bytes.len() >= HEADER {
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Reads and, if it is not refused, runs it everywhere, at several sizes.
fn attempt(bytes: &[u8]) -> Result<(), Error> {
    let plan = Plan::from_bytes(bytes)?;
    for isa in Isa::available() {
        let engine = Engine::new(isa, 2)?;
        for size in [[6, 7], [1, 1], [24, 24]] {
            run(&plan, size, &engine).ok();
        }
    }
    Ok(())
}

fn run(plan: &Arc<Plan>, size: [usize; 2], engine: &Arc<Engine>) -> Result<(), Error> {
    let mut runner = Runner::new(plan, size, 2, engine)?;
    runner.run(&vec![200; 2 * size[0] * size[1] * 3])?;
    for output in runner.outputs() {
        let [n, h, w, c] = output.shape();
        assert_eq!(output.to_vec().len(), n * h * w * c);
    }
    Ok(())
}

#[test]
fn the_plan_itself_runs() {
    let plan = Plan::from_bytes(&plan()).unwrap();
    let engine = Engine::from_env().unwrap();
    run(&plan, [6, 7], &engine).unwrap();
    assert_eq!(plan.source(), &[9; 32]);
    assert_eq!(plan.outputs().collect::<Vec<_>>(), ["head"]);
}

#[test]
fn every_cut_is_refused() {
    let whole = plan();
    for cut in 0..whole.len() {
        let mut bytes = whole[..cut].to_vec();
        assert!(Plan::from_bytes(&bytes).is_err(), "cut at {cut}");
        mend(&mut bytes);
        assert!(
            Plan::from_bytes(&bytes).is_err(),
            "cut at {cut}, checksum mended"
        );
    }
    let mut longer = whole;
    longer.push(0);
    mend(&mut longer);
    assert!(Plan::from_bytes(&longer).is_err());
}

#[test]
fn every_flipped_bit_is_refused_by_the_checksum() {
    let whole = plan();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(Plan::from_bytes(&bytes).is_err(), "byte {at}");
    }
}

#[test]
fn every_byte_of_the_table_changed_leads_to_no_harm() {
    let whole = plan();
    let table = u64::from_le_bytes(whole[48..56].try_into().unwrap()) as usize;
    let (mut refused, mut ran) = (0, 0);
    for at in (0..12).chain(16..HEADER + table) {
        for change in [1, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            mend(&mut bytes);
            match attempt(&bytes) {
                Ok(()) => ran += 1,
                Err(_) => refused += 1,
            }
        }
    }
    // Names, zero points and the source may be anything; offsets and sizes may not.
    assert!(refused > ran / 2 && ran > 0, "{refused} refused, {ran} ran");
}

#[test]
fn a_forbidden_weight_and_numbers_that_overflow_are_refused() {
    let whole = plan();
    let table = u64::from_le_bytes(whole[48..56].try_into().unwrap()) as usize;
    let blob = (HEADER + table).next_multiple_of(64);
    let mut weight = whole.clone();
    weight[blob] = 0x80;
    mend(&mut weight);
    assert!(matches!(Plan::from_bytes(&weight), Err(Error::Damaged(_))));
    // 0.01 as f32 is a scale; in its place, numbers that no scale may be.
    let scale = 0.01f32.to_le_bytes();
    let at = (blob..whole.len() - 4)
        .find(|&at| whole[at..at + 4] == scale)
        .unwrap();
    for bad in [0.0, -0.01, f32::NAN, f32::INFINITY, 1e30] {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&bad.to_le_bytes());
        mend(&mut bytes);
        let found = Plan::from_bytes(&bytes).map(|_| ());
        assert!(
            matches!(found, Err(Error::Range { channel: 0 })),
            "{bad}: {found:?}"
        );
    }
}

#[test]
fn another_format_is_named() {
    let mut bytes = plan();
    bytes[8] = 99;
    mend(&mut bytes);
    let said = Plan::from_bytes(&bytes).unwrap_err().to_string();
    assert!(said.contains("format 99"), "{said}");
}

#[test]
fn a_file_is_mapped_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("small.plan");
    let said = Plan::open(&path).unwrap_err().to_string();
    assert!(said.contains("small.plan"), "{said}");
    std::fs::write(&path, b"").unwrap();
    assert!(Plan::open(&path).is_err());
    std::fs::write(&path, plan()).unwrap();
    let plan = Plan::open(&path).unwrap();
    run(&plan, [9, 9], &Engine::from_env().unwrap()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Several bytes at once, anywhere.
    #[test]
    fn scrambled_plans_do_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
        let mut bytes = plan();
        let table = u64::from_le_bytes(bytes[48..56].try_into().unwrap()) as usize;
        for (at, value) in changes {
            // Mostly the table: that is where offsets and sizes could lie.
            let at = at.index(HEADER + table + 64).min(bytes.len() - 1);
            bytes[at] = value;
        }
        mend(&mut bytes);
        attempt(&bytes).ok();
    }

    /// A picture of the wrong length, or no picture.
    #[test]
    fn wrong_pictures_are_refused(len in 0usize..2000) {
        let plan = Plan::from_bytes(&plan()).unwrap();
        let mut runner = Runner::new(&plan, [6, 7], 2, &Engine::from_env().unwrap()).unwrap();
        let fits = len == 126 || len == 252;
        prop_assert_eq!(runner.run(&vec![0; len]).is_ok(), fits);
    }
}
