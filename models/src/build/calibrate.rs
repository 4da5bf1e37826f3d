//! Which values each tensor takes on real input: the smallest and largest seen, node by node, or the range inside them that
//! is rounded best ([`least_squares`]).

pub mod least_squares;

use super::{
    graph::{Graph, NodeId},
    reference,
};
use crate::Error;

/// Smallest and largest value of every node's result.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranges(Vec<(f32, f32)>);

/// One calibration input: `[h, w, c]` u8 pixels.
#[derive(Debug, Clone)]
pub struct Pixels {
    /// Height and width.
    pub size: [usize; 2],
    /// `h * w * c` values.
    pub data: Vec<u8>,
}

impl Ranges {
    /// Nothing seen yet.
    #[must_use]
    pub fn none(graph: &Graph) -> Ranges {
        Ranges(vec![(f32::INFINITY, f32::NEG_INFINITY); graph.nodes.len()])
    }

    /// The range of one node; `(0, 0)` if it was never run.
    #[must_use]
    pub fn of(&self, id: NodeId) -> (f32, f32) {
        let (low, high) = self.0[id];
        if low <= high { (low, high) } else { (0.0, 0.0) }
    }

    /// Widens these ranges to hold others of the same graph.
    pub fn include(&mut self, other: &Ranges) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (mine.0.min(theirs.0), mine.1.max(theirs.1));
        }
    }

    /// Widens these ranges by what one input causes.
    ///
    /// # Errors
    /// [`Error::Network`] if the input does not fit the network.
    pub fn observe(&mut self, graph: &Graph, input: &Pixels) -> Result<(), Error> {
        let pixels: Vec<f32> = input.data.iter().map(|&p| f32::from(p)).collect();
        reference::observe(graph, input.size, &pixels, &mut |id, values| {
            let range = &mut self.0[id];
            for &value in values {
                *range = (range.0.min(value), range.1.max(value));
            }
        })
    }
}

/// Ranges over many inputs, on all processors; the order of inputs does not matter to the result.
///
/// `progress` is called after each input, from any thread.
///
/// # Errors
/// As for [`Ranges::observe`].
pub fn calibrate(
    graph: &Graph,
    inputs: &[Pixels],
    progress: &(dyn Fn() + Sync),
) -> Result<Ranges, Error> {
    collect(
        graph,
        inputs,
        progress,
        || Ranges::none(graph),
        |ranges, input| ranges.observe(graph, input),
        |all, part| all.include(&part),
    )
}

/// Looks at many inputs on all processors, each with a collection of its own, and puts the collections together.
fn collect<T: Send>(
    graph: &Graph,
    inputs: &[Pixels],
    progress: &(dyn Fn() + Sync),
    none: impl Fn() -> T + Sync,
    observe: impl Fn(&mut T, &Pixels) -> Result<(), Error> + Sync,
    include: impl Fn(&mut T, T),
) -> Result<T, Error> {
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(inputs.len().max(1));
    let parts: Vec<Result<T, Error>> = std::thread::scope(|scope| {
        let (none, observe) = (&none, &observe);
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let mut part = none();
                    for input in inputs.iter().skip(worker).step_by(workers) {
                        observe(&mut part, input)?;
                        progress();
                    }
                    Ok(part)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| {
                t.join()
                    .unwrap_or_else(|_| Err(graph.error("a calibration thread panicked")))
            })
            .collect()
    });
    let mut all = none();
    for part in parts {
        include(&mut all, part?);
    }
    Ok(all)
}
