//! Exact division by multiplication, for the means of [`super::Resizer`]: baseline SSE2 and NEON divide no integers.

/// Division by an area as a multiplication.
///
/// With `d = 2 area`, `2^l >= d`, `2^k >= 2^8 2^2l` and `m = 2^k / d` rounded up, `n m / 2^k` exceeds `n / d` by less
/// than `n / 2^k`, so by less than `1 / d` for every `n < 2^8 d`: rounded down, both are the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reciprocal {
    area: u32,
    m: u32,
    /// `k - 32`.
    shift: u32,
}

impl Reciprocal {
    /// `None` where `m` would need more than 32 bits.
    pub(super) fn new(area: u64) -> Option<Reciprocal> {
        let d = 2 * area;
        let k = (8 + 2 * d.next_power_of_two().ilog2()).max(32);
        (area <= 1 << 22).then(|| Reciprocal {
            area: area as u32,
            m: (1u64 << k).div_ceil(d) as u32,
            shift: k - 32,
        })
    }

    /// The mean, rounded half up, of bytes that have this sum over the area.
    pub(super) fn of(self, sum: u32) -> u8 {
        let n = 2 * sum + self.area;
        let high = (u64::from(n) * u64::from(self.m)) >> 32;
        (high as u32 >> self.shift) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_where_division_has_it() {
        let powers = (0..=22).flat_map(|l| [(1u64 << l) - 1, 1 << l, (1 << l) + 1]);
        let some = (1..=1 << 22).step_by(1009);
        let areas = (1..3000).chain(powers).chain(some);
        for area in areas.filter(|area| (1..=1 << 22).contains(area)) {
            let mean = Reciprocal::new(area).unwrap();
            for byte in 0..=255u64 {
                // The sums at and just before which the mean becomes this byte, and the largest sum that has it.
                let step = (byte * area).saturating_sub(area / 2);
                for sum in [step.saturating_sub(1), step, byte * area] {
                    let expected = (2 * sum + area) / (2 * area);
                    assert_eq!(u64::from(mean.of(sum as u32)), expected, "{sum} / {area}");
                }
            }
        }
        assert!(Reciprocal::new((1 << 22) + 1).is_none());
    }
}
