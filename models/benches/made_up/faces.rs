//! Made-up embeddings for the benchmarks: normal numbers from a seed, and unit vectors.

/// SplitMix64, twelve uniform numbers at a time.
pub(crate) fn normal(state: &mut u64) -> f32 {
    let uniform = |state: &mut u64| {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..12).map(|_| uniform(state)).sum::<f32>() - 6.0
}

/// Scaled to length 1.
pub(crate) fn unit(mut values: Vec<f32>) -> Vec<f32> {
    let length = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    values.iter_mut().for_each(|v| *v /= length);
    values
}
