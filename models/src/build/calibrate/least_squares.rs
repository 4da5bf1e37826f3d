//! Ranges narrower than what was seen: a few far values would make every step of the grid coarser for all others.
//!
//! ```text
//! inputs -> smallest and largest -> histogram of each node's values between them
//!                                   -> of the ranges that are a part of the whole, the one with the least squared error
//! ```
//!
//! Nagel et al. 2021, "A White Paper on Neural Network Quantization", section 3.1: the mean squared error of rounding and
//! clipping together. Both ends move in by the same part, so that zero stays where it is between them. What only goes into a sum
//! keeps its whole range: plans add it unrounded (`compile`), and a file that clips it would say something else. Counts are whole
//! numbers, so the result does not depend on the order of the inputs. Measured on MobileFaceNet: what int8 loses of the cosine to
//! float falls by a quarter against the whole range.

use super::{Pixels, Ranges, collect};
use crate::{
    Error,
    build::{
        graph::{Graph, NodeId, Op},
        quantize::Grid,
        reference,
    },
};

/// Bins of a histogram: eight for each of a grid's 256 steps.
const BINS: usize = 2048;
/// Narrowest range looked at, and the steps towards it, as parts of the whole range.
const NARROWEST: f32 = 0.3;
const STEPS: usize = 28;

/// How often each node's result had which value, over some inputs.
#[derive(Debug, Clone)]
pub struct Histograms {
    /// Where the bins are.
    over: Ranges,
    /// [`BINS`] for every node.
    counts: Vec<u32>,
    /// Whether a node keeps its whole range.
    whole: Vec<bool>,
}

impl Histograms {
    /// No value counted yet, of a graph whose values are within `over`.
    #[must_use]
    pub fn none(graph: &Graph, over: &Ranges) -> Histograms {
        let readers = graph.consumers();
        let summed = |id: NodeId| {
            let is_conv = matches!(graph.nodes[id].op, Op::Conv(_));
            is_conv && matches!(readers[id][..], [only] if matches!(graph.nodes[only].op, Op::Add))
        };
        Histograms {
            over: over.clone(),
            counts: vec![0; BINS * graph.nodes.len()],
            whole: (0..graph.nodes.len()).map(summed).collect(),
        }
    }

    /// Counts over many inputs, on all processors. Values outside `over` are counted at its ends.
    ///
    /// # Errors
    /// As for [`Ranges::observe`].
    pub fn of(
        graph: &Graph,
        over: &Ranges,
        inputs: &[Pixels],
        progress: &(dyn Fn() + Sync),
    ) -> Result<Histograms, Error> {
        collect(
            graph,
            inputs,
            progress,
            || Histograms::none(graph, over),
            |histograms, input| histograms.observe(graph, input),
            |all, part| all.include(&part),
        )
    }

    fn observe(&mut self, graph: &Graph, input: &Pixels) -> Result<(), Error> {
        let pixels: Vec<f32> = input.data.iter().map(|&p| f32::from(p)).collect();
        reference::observe(graph, input.size, &pixels, &mut |id, values| {
            let (low, high) = self.over.of(id);
            let bins_per_unit = BINS as f32 / (high - low).max(f32::MIN_POSITIVE);
            let counts = &mut self.counts[id * BINS..][..BINS];
            for value in values {
                // A cast keeps what is below the first bin in it.
                let bin = ((value - low) * bins_per_unit) as usize;
                let count = &mut counts[bin.min(BINS - 1)];
                *count = count.saturating_add(1);
            }
        })
    }

    /// Adds the counts of others over the same ranges.
    pub fn include(&mut self, other: &Histograms) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// For every node the part of `within` that is rounded to 256 steps with the least squared error.
    #[must_use]
    pub fn least_squares(&self, within: &Ranges) -> Ranges {
        let nodes = self.whole.iter().enumerate();
        let ranges = nodes.map(|(id, whole)| match whole {
            true => within.of(id),
            false => self.narrowed(id, within.of(id)),
        });
        Ranges(ranges.collect())
    }

    fn narrowed(&self, id: NodeId, (low, high): (f32, f32)) -> (f32, f32) {
        let parts = (0..=STEPS).map(|s| 1.0 - (1.0 - NARROWEST) * s as f32 / STEPS as f32);
        let candidates = parts.map(|part| (low * part, high * part));
        let errors = candidates.map(|range| (self.squared_error(id, range), range));
        // Of equals the widest, which is first.
        let best = errors.reduce(|best, next| if next.0 < best.0 { next } else { best });
        best.map_or((low, high), |(_, range)| range)
    }

    /// Sum of squared differences between values and what a grid over a range makes of them.
    fn squared_error(&self, id: NodeId, (low, high): (f32, f32)) -> f64 {
        let grid = Grid::over(low, high);
        let (first, last) = self.over.of(id);
        let width = (last - first) / BINS as f32;
        let counts = self.counts[id * BINS..][..BINS].iter().enumerate();
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(bin, &count)| {
                let value = first + (bin as f32 + 0.5) * width;
                let error = f64::from(grid.round(value) - value);
                error * error * f64::from(count)
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(values: &[(f32, u32)], over: (f32, f32), whole: bool) -> Histograms {
        let mut counts = vec![0; BINS];
        for (value, count) in values {
            counts[((value - over.0) / (over.1 - over.0) * BINS as f32) as usize] += count;
        }
        Histograms {
            over: Ranges(vec![over]),
            counts,
            whole: vec![whole],
        }
    }

    fn chosen(values: &[(f32, u32)], over: (f32, f32), whole: bool) -> (f32, f32) {
        let ranges = counted(values, over, whole).least_squares(&Ranges(vec![over]));
        ranges.of(0)
    }

    #[test]
    fn a_lone_far_value_is_clipped_and_many_are_not() {
        let over = (0.0, 1.0);
        let near = (0..400).map(|n| (n as f32 / 1000.0, 1000));
        let with = |far: u32| -> Vec<(f32, u32)> { near.clone().chain([(0.999, far)]).collect() };
        let (low, high) = chosen(&with(1), over, false);
        assert!(low == 0.0 && (0.4..0.8).contains(&high), "{low} {high}");
        let (low, high) = chosen(&with(1_000_000), over, false);
        assert!(low == 0.0 && high > 0.99, "{low} {high}");
        assert_eq!(chosen(&with(1), over, true), over);
    }

    #[test]
    fn even_values_and_no_values_keep_the_whole_range() {
        let over = (-1.0, 1.0);
        let even: Vec<(f32, u32)> = (0..BINS)
            .map(|n| (-1.0 + (n as f32 + 0.5) / 1024.0, 10))
            .collect();
        for values in [&even[..], &[]] {
            let (low, high) = chosen(values, over, false);
            assert!(low <= -0.95 && high >= 0.95, "{low} {high}");
        }
    }
}
