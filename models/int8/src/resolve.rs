//! From a plan's channels to a picture's pixels: every offset the kernels will use.
//!
//! No offset is read from a file. All are worked out here from sizes and places that `layout` has bounded; `ready` says
//! why each is within the arena.

use crate::{
    Error, Plan, Window,
    layout::{Buffer, Layout, Place, layout, sizes},
    network::{self, GROUP, Kind, Network, Slice, Step},
};

/// A network made ready for one picture size.
#[derive(Debug)]
pub(crate) struct Program {
    /// Height, width.
    pub(crate) size: [usize; 2],
    pub(crate) batch: usize,
    pub(crate) buffers: Vec<Buffer>,
    /// By tensor.
    pub(crate) places: Vec<Place>,
    pub(crate) steps: Vec<Ready>,
    pub(crate) arena_bytes: usize,
    pub(crate) arena_floats: usize,
}

#[derive(Debug)]
pub(crate) enum Ready {
    Conv(Box<Conv>),
    MaxPool(Pool),
    AveragePool(Pool, Requantize),
    Softmax {
        place: Place,
        first: usize,
        channels: usize,
    },
    Depthwise(Box<Depthwise>),
}

/// A pool, over whole groups of channels.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) input: Place,
    pub(crate) output: Place,
    pub(crate) window: Window,
    pub(crate) channels: usize,
}

/// A convolution of each channel by itself, over whole groups of channels.
#[derive(Debug)]
pub(crate) struct Depthwise {
    /// The input's border is at least as wide as the window's padding.
    pub(crate) input: Place,
    pub(crate) output: Place,
    pub(crate) window: Window,
    /// In whole groups.
    pub(crate) channels: usize,
    /// Byte of the blob where the weights start: `[kh][kw][channels]` i8.
    pub(crate) weights: usize,
    /// By channel.
    pub(crate) bias: Box<[i32]>,
    pub(crate) scale: Box<[f32]>,
    /// Scale of negative accumulators, or empty.
    pub(crate) negative: Box<[f32]>,
    pub(crate) zero: u8,
    pub(crate) low: u8,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Requantize {
    pub(crate) input_zero: u8,
    pub(crate) scale: f32,
    pub(crate) zero: u8,
}

/// A convolution as kernels see it. Output pixels are counted over images, rows, columns.
#[derive(Debug)]
pub(crate) struct Conv {
    /// Output pixels of one image.
    pub(crate) pixels: usize,
    /// Byte of the arena where an output pixel's window starts, by pixel.
    pub(crate) origins: Box<[u32]>,
    /// Runs of input bytes under the window, from the origin.
    pub(crate) runs: Box<[Run]>,
    /// Quads of all runs.
    pub(crate) quads: usize,
    /// Groups of 16 output channels.
    pub(crate) groups: usize,
    /// Byte of the blob where the packed weights start: `[group][quads][16][4]` i8.
    pub(crate) weights: usize,
    /// By output channel. For signed activations, what flipping them adds is in the bias already.
    pub(crate) bias: Box<[i32]>,
    pub(crate) scale: Box<[f32]>,
    /// Scale of negative accumulators, or empty.
    pub(crate) negative: Box<[f32]>,
    pub(crate) zero: i32,
    pub(crate) low: i32,
    pub(crate) residual: Option<Residual>,
    pub(crate) target: Target,
    /// Value of the arena where an output pixel's channel 0 lies, by output and pixel.
    pub(crate) slots: Box<[Box<[u32]>]>,
    /// By group.
    pub(crate) routes: Box<[Route]>,
    /// Byte of the blob where the next convolution's weights start, to fetch them early.
    pub(crate) next_weights: usize,
}

/// Contiguous input bytes. Assembly reads it, hence the fixed order.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Run {
    pub(crate) offset: u32,
    pub(crate) quads: u32,
}

/// Where a group of output channels goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// Which of the slots.
    pub(crate) slot: u32,
    /// Values after the pixel's channel 0.
    pub(crate) channel: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Bytes,
    Floats,
}

#[derive(Debug)]
pub(crate) struct Residual {
    /// Byte of the arena where the residual of channel 0 lies, by pixel.
    pub(crate) pixels: Box<[u32]>,
    pub(crate) zero: i32,
    pub(crate) scale: f32,
}

/// Multiply-accumulates for one picture.
pub(crate) fn macs(network: &Network, size: [usize; 2]) -> Result<u64, Error> {
    let sizes = sizes(network, size)?;
    let mut all = 0;
    for step in &network.steps {
        all += match step {
            Step::Conv(conv) => {
                let [h, w] = sizes[conv.outputs[0].id()];
                let [kh, kw] = conv.window.size;
                let cout: usize = conv.outputs.iter().map(|o| o.channels()).sum();
                (h * w * cout * kh * kw * conv.input.channels()) as u64
            }
            Step::Depthwise(conv) => {
                let [h, w] = sizes[conv.output.id()];
                (h * w * conv.taps() * conv.output.channels()) as u64
            }
            Step::MaxPool { .. } | Step::AveragePool { .. } | Step::Softmax(_) => 0,
        };
    }
    Ok(all)
}

/// Makes a plan ready. `flip` is what a kernel stores activations XORed with: 0, or 0x80 for signed ones.
pub(crate) fn program(
    plan: &Plan,
    size: [usize; 2],
    batch: usize,
    flip: u8,
) -> Result<Program, Error> {
    let network = &plan.network;
    let sizes = sizes(network, size)?;
    if batch == 0 {
        return Err(Error::Geometry("batch of 0"));
    }
    let Layout {
        buffers,
        places,
        bytes,
        floats,
    } = layout(network, &sizes, batch)?;
    let mut steps = Vec::with_capacity(network.steps.len());
    for (at, step) in network.steps.iter().enumerate() {
        steps.push(match step {
            Step::Conv(conv) => {
                let next = network.steps[at + 1..].iter().find_map(|s| match s {
                    Step::Conv(c) => Some(c),
                    Step::Depthwise(_)
                    | Step::MaxPool { .. }
                    | Step::AveragePool { .. }
                    | Step::Softmax(_) => None,
                });
                let next = next.unwrap_or(conv);
                Ready::Conv(Box::new(ready(plan, at, conv, next, &places, batch, flip)))
            }
            Step::MaxPool {
                input,
                window,
                output,
            } => Ready::MaxPool(pool(network, &places, *input, *window, *output)),
            Step::AveragePool {
                input,
                window,
                scale,
                output,
            } => {
                let requantize = Requantize {
                    input_zero: zero(network, *input),
                    scale: *scale,
                    zero: zero(network, *output),
                };
                Ready::AveragePool(pool(network, &places, *input, *window, *output), requantize)
            }
            Step::Softmax(slice) => Ready::Softmax {
                place: places[slice.id()],
                first: slice.first(),
                channels: slice.channels(),
            },
            Step::Depthwise(conv) => Ready::Depthwise(Box::new(depthwise(plan, at, conv, &places))),
        });
    }
    Ok(Program {
        size,
        batch,
        buffers,
        places,
        steps,
        arena_bytes: bytes,
        arena_floats: floats,
    })
}

fn zero(network: &Network, slice: Slice) -> u8 {
    match network.tensor(slice).kind {
        Kind::Bytes(zero) => zero,
        Kind::Floats => 0,
    }
}

/// Where the first of a slice's channels is.
fn place_of(places: &[Place], slice: Slice) -> Place {
    let place = places[slice.id()];
    Place {
        start: place.start + slice.first(),
        ..place
    }
}

/// Whole groups of channels from the slices' first are within their pixels, because strides are whole groups and slices
/// start at one (`Network::check`).
fn depthwise(plan: &Plan, at: usize, conv: &network::Depthwise, places: &[Place]) -> Depthwise {
    let numbers = &plan.numbers[at];
    Depthwise {
        input: place_of(places, conv.input),
        output: place_of(places, conv.output),
        window: conv.window,
        channels: conv.groups() * GROUP,
        weights: conv.weights.start as usize,
        bias: numbers.bias.clone().into(),
        scale: numbers.scale.clone().into(),
        negative: numbers.negative.clone().into(),
        zero: zero(&plan.network, conv.output),
        low: conv.low,
    }
}

fn pool(network: &Network, places: &[Place], input: Slice, window: Window, output: Slice) -> Pool {
    let at = |slice| place_of(places, slice);
    // Whole groups where both sides have them: what pads a group is never read with a weight.
    let whole = input.channels().next_multiple_of(GROUP);
    let room = |slice: Slice| network.tensor(slice).stride(slice.id()) - slice.first();
    Pool {
        input: at(input),
        output: at(output),
        window,
        channels: whole.min(room(input)).min(room(output)),
    }
}

/// All offsets of a convolution.
///
/// A window's origin is inside its input's image with border, because the border is at least the window's padding and
/// [`Window::output`] counts only windows that fit; from there the last run ends at most `QUAD - 1` bytes after the
/// window's last byte, within the buffer and its slack. An output's group of 16 values ends within the pixel, because
/// strides are whole groups and slices start at one (`Network::check`).
fn ready(
    plan: &Plan,
    at: usize,
    conv: &network::Conv,
    next: &network::Conv,
    places: &[Place],
    batch: usize,
    flip: u8,
) -> Conv {
    let network = &plan.network;
    let numbers = &plan.numbers[at];
    let taps = network.taps(conv);
    let input = places[conv.input.id()];
    let [top, left, _, _] = conv.window.pads;
    let [down, right] = conv.window.strides;
    let [rows, columns] = places[conv.outputs[0].id()].size;
    let pixels = |place: &Place, start: usize, down: usize, right: usize| -> Box<[u32]> {
        let mut offsets = Vec::with_capacity(batch * rows * columns);
        for image in 0..batch {
            for y in 0..rows {
                for x in 0..columns {
                    let offset =
                        image * place.image + y * down * place.row + x * right * place.stride;
                    // Within the arena, which is less than 2^32.
                    offsets.push((start + offset) as u32);
                }
            }
        }
        offsets.into()
    };
    let origin = input.start + conv.input.first() - top * input.row - left * input.stride;
    let [kh, kw] = conv.window.size;
    let runs = (0..kh).flat_map(|y| (0..kw / taps.columns).map(move |x| (y, x)));
    let target = match network.tensor(conv.outputs[0]).kind {
        Kind::Bytes(_) => Target::Bytes,
        Kind::Floats => Target::Floats,
    };
    let routes = conv.routes().enumerate().flat_map(|(slot, (_, slice))| {
        (0..slice.channels().div_ceil(GROUP)).map(move |group| Route {
            slot: slot as u32,
            channel: (group * GROUP) as u32,
        })
    });
    let flipped = if flip == 0 { 0 } else { 128 };
    Conv {
        pixels: rows * columns,
        origins: pixels(&input, origin, down, right),
        runs: runs
            .map(|(y, x)| Run {
                offset: (y * input.row + x * input.stride) as u32,
                quads: taps.quads as u32,
            })
            .collect(),
        quads: taps.all_quads(),
        groups: conv.groups(),
        weights: conv.weights.start as usize,
        // With x' = x - 128 stored, sum x w = sum x' w + 128 sum w; the check bounds 255 sum |w| + |bias|.
        bias: numbers
            .bias
            .iter()
            .zip(&numbers.sums)
            .map(|(bias, sum)| bias + flipped * sum)
            .collect(),
        scale: numbers.scale.clone().into(),
        negative: numbers.negative.clone().into(),
        zero: i32::from(conv.zero),
        low: i32::from(conv.low),
        residual: conv.residual.map(|residual| {
            let place = places[residual.slice.id()];
            Residual {
                pixels: pixels(&place, place.start + residual.slice.first(), 1, 1),
                zero: match network.tensor(residual.slice).kind {
                    Kind::Bytes(zero) => i32::from(zero),
                    Kind::Floats => 0,
                },
                scale: residual.scale,
            }
        }),
        target,
        slots: conv
            .outputs
            .iter()
            .map(|slice| {
                let place = places[slice.id()];
                pixels(&place, place.start + slice.first(), 1, 1)
            })
            .collect(),
        routes: routes.collect(),
        next_weights: next.weights.start as usize,
    }
}
