//! Many templates, and the two nearest groups of them to a probe: exact, and fast enough for 100,000.
//!
//! ```text
//! probe --8 bits--> a lower and an upper bound of every cosine --second-best group's lower bound--> the few rows that may
//!                   be nearer --f32--> their cosines, and so the two nearest groups
//! ```
//!
//! A row r is kept as s q + e too, q whole numbers of 8 bits: r . p differs from s t (q . u) by at most |e| |p| + |s q| |f|,
//! where p = t u + f is the probe (Cauchy-Schwarz). What is left out is farther away, for certain; the answer is the same, to
//! the bit, as that of comparing every row in f32, which would read four times as much memory. Called by `openset`.

use crate::embedding::cosine;

/// Rows of unit vectors.
#[derive(Debug, Clone)]
pub(crate) struct Templates {
    dimension: usize,
    /// One row a template.
    rows: Vec<f32>,
    /// The same in 8 bits.
    coarse: Vec<i8>,
    /// What each row's 8 bits stand for, and what is lost.
    scales: Vec<Scale>,
}

/// A vector in 8 bits is `step` times whole numbers, and this far off.
#[derive(Debug, Clone, Copy)]
struct Scale {
    step: f32,
    /// Length of what was rounded away.
    lost: f32,
    /// Length of what was kept.
    kept: f32,
}

/// Added to all bounds, for what f32 rounds away in cosines of some hundred numbers.
const SLACK: f32 = 1e-5;

/// The index of a group and the cosine of its nearest row.
pub(crate) type Found = Option<(usize, f32)>;

impl Templates {
    /// Rows of `dimension` numbers, one after the other.
    pub(crate) fn new(rows: Vec<f32>, dimension: usize) -> Templates {
        let mut coarse = Vec::with_capacity(rows.len());
        let scales = rows
            .chunks_exact(dimension.max(1))
            .map(|row| quantize(row, &mut coarse))
            .collect();
        Templates {
            dimension,
            rows,
            coarse,
            scales,
        }
    }

    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// The two groups with the nearest rows to a probe of the same dimension, nearest first; of equals, the first. The rows
    /// are those of groups of these sizes, one after the other; each has one at least.
    pub(crate) fn nearest_two(&self, probe: &[f32], sizes: &[usize]) -> [Found; 2] {
        let (likely, within) = self.bounds(probe);
        let mut lower = Best::default();
        for (group, rows) in groups(sizes) {
            let least = rows
                .map(|row| likely[row] - within[row])
                .fold(-1.0, f32::max);
            lower.offer(group, least);
        }
        // With one group there is no second: every row of it counts.
        let least = lower.0[1].map_or(f32::NEG_INFINITY, |(_, least)| least);
        let mut best = Best::default();
        for (group, rows) in groups(sizes) {
            let near = rows.filter(|&row| likely[row] + within[row] >= least);
            let nearest = near
                .map(|row| cosine(self.row(row), probe))
                .fold(None, |most: Option<f32>, c| {
                    Some(most.map_or(c, |m| m.max(c)))
                });
            if let Some(nearest) = nearest {
                best.offer(group, nearest);
            }
        }
        best.0
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.rows[row * self.dimension..(row + 1) * self.dimension]
    }

    /// An estimate of each row's cosine, and how far off it is at most.
    fn bounds(&self, probe: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let mut coarse = Vec::with_capacity(probe.len());
        let of_probe = quantize(probe, &mut coarse);
        let length = of_probe.kept + of_probe.lost;
        let rows = self.coarse.chunks_exact(self.dimension.max(1));
        rows.zip(&self.scales)
            .map(|(row, scale)| {
                let likely = scale.step * of_probe.step * dot(row, &coarse) as f32;
                let within = scale.lost * length + scale.kept * of_probe.lost + SLACK;
                (likely, within)
            })
            .unzip()
    }
}

/// The two best of what is offered in order.
#[derive(Debug, Default)]
struct Best([Found; 2]);

impl Best {
    fn offer(&mut self, group: usize, similarity: f32) {
        let beats = |other: Found| other.is_none_or(|(_, s)| similarity > s);
        if beats(self.0[0]) {
            self.0 = [Some((group, similarity)), self.0[0]];
        } else if beats(self.0[1]) {
            self.0[1] = Some((group, similarity));
        }
    }
}

/// Each group with its rows.
fn groups(sizes: &[usize]) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
    sizes.iter().enumerate().scan(0, |next, (group, size)| {
        let from = *next;
        *next += size;
        Some((group, from..*next))
    })
}

/// Appends a vector's 8 bits.
fn quantize(values: &[f32], to: &mut Vec<i8>) -> Scale {
    let largest = values.iter().fold(0f32, |most, v| most.max(v.abs()));
    let step = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    let (mut lost, mut kept) = (0f64, 0f64);
    for v in values {
        // At most 127 either way.
        let whole = (v / step).round().clamp(-127.0, 127.0);
        to.push(whole as i8);
        let stands_for = f64::from(step * whole);
        lost += (f64::from(*v) - stands_for).powi(2);
        kept += stands_for.powi(2);
    }
    Scale {
        step,
        lost: lost.sqrt() as f32,
        kept: kept.sqrt() as f32,
    }
}

/// Of at most 2^31 / 127^2 = 133,000 numbers from -127 to 127, whose products fit 16 bits: four times as fast as products of 32.
fn dot(a: &[i8], b: &[i8]) -> i32 {
    let (a_blocks, a_rest) = a.as_chunks::<16>();
    let (b_blocks, b_rest) = b.as_chunks::<16>();
    let product = |x: i8, y: i8| i32::from(i16::from(x) * i16::from(y));
    let mut lanes = [0i32; 8];
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for i in 0..8 {
            lanes[i] += product(x[i], y[i]) + product(x[i + 8], y[i + 8]);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(&x, &y)| product(x, y));
    lanes.iter().sum::<i32>() + rest.sum::<i32>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every row compared in f32.
    fn plain(rows: &[f32], dimension: usize, probe: &[f32], sizes: &[usize]) -> [Found; 2] {
        let mut best = Best::default();
        for (group, range) in groups(sizes) {
            let cosines = range.map(|i| cosine(&rows[i * dimension..(i + 1) * dimension], probe));
            best.offer(group, cosines.fold(-1.0, f32::max));
        }
        best.0
    }

    fn unit(values: &[f32]) -> Vec<f32> {
        let length = values.iter().map(|v| v * v).sum::<f32>().sqrt();
        values.iter().map(|v| v / length.max(1e-6)).collect()
    }

    proptest! {
        /// Coarse numbers, so that there are ties and near ties.
        #[test]
        fn the_answer_is_that_of_comparing_everything(
            numbers in prop::collection::vec(prop::collection::vec(-4i8..=4, 9), 1..60),
            probe in prop::collection::vec(-4i8..=4, 9),
            cuts in prop::collection::vec(1usize..6, 60),
        ) {
            let floats = |row: &Vec<i8>| unit(&row.iter().map(|&v| f32::from(v)).collect::<Vec<_>>());
            let rows: Vec<f32> = numbers.iter().flat_map(floats).collect();
            let probe = floats(&probe);
            let mut left = numbers.len();
            let mut sizes = vec![];
            for cut in cuts {
                let size = cut.min(left);
                if size > 0 {
                    sizes.push(size);
                }
                left -= size;
            }
            let templates = Templates::new(rows.clone(), 9);
            prop_assert_eq!(
                templates.nearest_two(&probe, &sizes),
                plain(&rows, 9, &probe, &sizes)
            );
        }
    }

    #[test]
    fn bounds_hold_every_cosine() {
        let row = |seed: usize| {
            let values =
                (0..512).map(|i| ((seed * 7919 + i * 104_729) % 2003) as f32 / 1001.0 - 1.0);
            unit(&values.collect::<Vec<_>>())
        };
        let rows: Vec<f32> = (0..200).flat_map(row).collect();
        let templates = Templates::new(rows, 512);
        let probe = row(777);
        let (likely, within) = templates.bounds(&probe);
        for i in 0..200 {
            let exact = cosine(templates.row(i), &probe);
            assert!((exact - likely[i]).abs() <= within[i], "{i}");
            assert!(
                within[i] < 0.03,
                "{i}: a bound that tells nothing: {}",
                within[i]
            );
        }
    }
}
