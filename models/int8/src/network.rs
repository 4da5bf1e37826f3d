//! What a plan says: tensors, steps between them, outputs. Sizes in pixels are not here; `resolve` works them out.
//!
//! ```text
//! tensors[0]  the input: [n, h, w, 3] u8 pixels
//! tensors[i]  u8 activations with a zero point, or f32; channels only
//! steps       in running order; a step reads and writes slices of channels (a concatenation is two steps writing
//!             into one tensor)
//! ```
//!
//! [`Network::check`] is the gate for bytes nobody trusts: after it, every index is good and every number in range.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Error, Window};

/// Output channels come in groups of this many: the lanes of one vector of the widest instruction set.
pub(crate) const GROUP: usize = 16;
/// Input bytes multiplied at once, per output channel.
pub(crate) const QUAD: usize = 4;
/// No picture, window, tensor or network we know needs more; what asks for more is not ours.
const MOST: usize = 1 << 14;

/// A network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Network {
    /// Height and width of the input where fixed.
    pub(crate) size: [Option<u32>; 2],
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) steps: Vec<Step>,
    pub(crate) outputs: Vec<Named>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tensor {
    pub(crate) channels: u32,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// u8 with this zero point.
    Bytes(u8),
    /// f32.
    Floats,
}

/// Channels of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slice {
    pub(crate) tensor: u32,
    pub(crate) first: u32,
    pub(crate) channels: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) slice: Slice,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Step {
    Conv(Conv),
    /// Greatest value under the window; outside the picture does not count.
    MaxPool {
        input: Slice,
        window: Window,
        output: Slice,
    },
    /// Mean of the whole picture, requantized with `scale` = input scale / (pixels x output scale).
    AveragePool {
        input: Slice,
        window: Window,
        scale: f32,
        output: Slice,
    },
    /// Over the channels of each pixel, in place.
    Softmax(Slice),
    /// Each channel convolved by itself.
    Depthwise(Depthwise),
}

/// A convolution, or several that read the same tensor with the same window. Arrays lie in the plan's blob.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conv {
    pub(crate) input: Slice,
    pub(crate) window: Window,
    /// Each starts a new group of output channels.
    pub(crate) outputs: Vec<Slice>,
    pub(crate) zero: u8,
    pub(crate) low: u8,
    pub(crate) residual: Option<Residual>,
    /// `[group][quad][16][4]` i8, as `pack` lays them out.
    pub(crate) weights: Extent,
    /// `[group][16]` i32, the input's zero point folded in.
    pub(crate) bias: Extent,
    /// `[group][16]` f32.
    pub(crate) scale: Extent,
    /// `[group][16]` f32, for negative accumulators.
    pub(crate) negative: Option<Extent>,
}

/// A convolution of each channel with a filter of its own. Arrays lie in the plan's blob, over whole groups of channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Depthwise {
    pub(crate) input: Slice,
    pub(crate) window: Window,
    pub(crate) output: Slice,
    pub(crate) low: u8,
    /// `[kh][kw][channels]` i8.
    pub(crate) weights: Extent,
    /// `[channels]` i32, the input's zero point folded in.
    pub(crate) bias: Extent,
    /// `[channels]` f32.
    pub(crate) scale: Extent,
    /// `[channels]` f32, for negative accumulators.
    pub(crate) negative: Option<Extent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Residual {
    pub(crate) slice: Slice,
    pub(crate) scale: f32,
}

/// Bytes of the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) bytes: u64,
}

impl Extent {
    /// The bytes, if they lie in a blob of `len` bytes and start on a 64-byte line.
    pub(crate) fn range(self, len: usize) -> Option<Range<usize>> {
        let start = usize::try_from(self.start).ok()?;
        let end = start.checked_add(usize::try_from(self.bytes).ok()?)?;
        (end <= len && start.is_multiple_of(64)).then_some(start..end)
    }
}

impl Slice {
    pub(crate) fn id(self) -> usize {
        self.tensor as usize
    }

    pub(crate) fn first(self) -> usize {
        self.first as usize
    }

    pub(crate) fn channels(self) -> usize {
        self.channels as usize
    }

    fn groups(self) -> usize {
        self.channels().div_ceil(GROUP)
    }
}

impl Tensor {
    /// Values from one pixel to the next. Pixels stay packed; all else is in whole groups.
    pub(crate) fn stride(&self, id: usize) -> usize {
        match id {
            0 => self.channels as usize,
            _ => (self.channels as usize).next_multiple_of(GROUP),
        }
    }
}

/// How a convolution's taps lie in memory: runs of bytes that are contiguous for one output pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taps {
    /// Runs, and window columns that one run covers (all, or 1 where only some of a tensor's channels are read).
    pub(crate) runs: usize,
    pub(crate) columns: usize,
    /// Bytes from one column to the next in a run.
    pub(crate) stride: usize,
    /// Quads of one run.
    pub(crate) quads: usize,
}

impl Taps {
    /// Of a window over `channels` channels of a tensor with `stride` bytes a pixel.
    pub(crate) fn new(window: &Window, channels: usize, stride: usize) -> Taps {
        let [kh, kw] = window.size;
        if channels.next_multiple_of(GROUP).min(stride) == stride {
            Taps {
                runs: kh,
                columns: kw,
                stride,
                quads: (kw * stride).div_ceil(QUAD),
            }
        } else {
            Taps {
                runs: kh * kw,
                columns: 1,
                stride,
                quads: channels.div_ceil(QUAD),
            }
        }
    }

    pub(crate) fn all_quads(&self) -> usize {
        self.runs * self.quads
    }
}

impl Depthwise {
    pub(crate) fn groups(&self) -> usize {
        self.output.groups()
    }

    pub(crate) fn taps(&self) -> usize {
        self.window.size[0] * self.window.size[1]
    }
}

impl Conv {
    pub(crate) fn groups(&self) -> usize {
        self.outputs.iter().map(|s| s.groups()).sum()
    }

    /// First group of each output.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (usize, Slice)> + '_ {
        self.outputs.iter().scan(0, |next, &slice| {
            let first = *next;
            *next += slice.groups();
            Some((first, slice))
        })
    }
}

impl Network {
    pub(crate) fn tensor(&self, slice: Slice) -> &Tensor {
        &self.tensors[slice.id()]
    }

    pub(crate) fn taps(&self, conv: &Conv) -> Taps {
        let stride = self.tensor(conv.input).stride(conv.input.id());
        Taps::new(&conv.window, conv.input.channels(), stride)
    }

    /// Everything but the numbers in the blob, which [`crate::Plan`] checks.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let sizes = self.size.iter().flatten();
        if sizes.clone().any(|&s| s == 0 || s as usize > MOST) {
            return Err(Error::Geometry("input's size"));
        }
        let counts = [self.tensors.len(), self.steps.len(), self.outputs.len()];
        if counts.iter().any(|&n| n == 0 || n > MOST) {
            return Err(Error::Geometry("number of tensors, steps or outputs"));
        }
        let channels = self.tensors.iter().map(|t| t.channels as usize);
        if channels.clone().any(|c| c == 0 || c > MOST) {
            return Err(Error::Geometry("number of channels"));
        }
        let input = self.tensors[0];
        if !matches!(input.kind, Kind::Bytes(_)) || input.channels != 3 {
            return Err(Error::Geometry("input that is not u8 with 3 channels"));
        }
        for (at, step) in self.steps.iter().enumerate() {
            self.check_step(step)
                .map_err(|why| Error::Step { step: at, why })?;
        }
        for output in &self.outputs {
            self.check_slice(output.slice)
                .map_err(|_| Error::Geometry("output"))?;
        }
        Ok(())
    }

    fn check_step(&self, step: &Step) -> Result<(), &'static str> {
        match step {
            Step::Conv(conv) => self.check_conv(conv),
            Step::MaxPool {
                input,
                window,
                output,
            } => self.check_pool(*input, window, *output),
            Step::AveragePool {
                input,
                window,
                scale,
                output,
            } => {
                self.check_pool(*input, window, *output)?;
                if window.pads != [0; 4] {
                    return Err("an average over the picture's edge");
                }
                // At most 2^28 in the sum, so that the product stays below 2^30.
                if window.size[0] * window.size[1] > 1 << 20 || !(*scale > 0.0 && *scale <= 4.0) {
                    return Err("an average that can overflow");
                }
                Ok(())
            }
            Step::Softmax(slice) => {
                self.check_slice(*slice)?;
                match self.tensor(*slice).kind {
                    Kind::Floats => Ok(()),
                    Kind::Bytes(_) => Err("a softmax of bytes"),
                }
            }
            Step::Depthwise(conv) => {
                self.check_pool(conv.input, &conv.window, conv.output)?;
                match self.starts_a_group(conv.input) {
                    true => Ok(()),
                    false => Err("an input that is not in whole groups of channels"),
                }
            }
        }
    }

    fn check_conv(&self, conv: &Conv) -> Result<(), &'static str> {
        self.check_bytes(conv.input)?;
        check_window(&conv.window)?;
        let whole = conv.input.channels == self.tensor(conv.input).channels;
        if !whole && !self.starts_a_group(conv.input) {
            return Err("an input that is not in whole groups of channels");
        }
        if conv.outputs.is_empty() || conv.groups() * GROUP > MOST {
            return Err("no outputs, or too many");
        }
        let kind = self
            .tensors
            .get(conv.outputs[0].id())
            .map(|tensor| tensor.kind);
        for output in &conv.outputs {
            self.check_slice(*output)?;
            if output.tensor == conv.input.tensor || output.id() == 0 {
                return Err("an output that is its own input");
            }
            if Some(self.tensor(*output).kind) != kind {
                return Err("outputs of two kinds");
            }
            if !self.starts_a_group(*output) {
                return Err("an output that is not in whole groups of channels");
            }
        }
        let overlap = |a: &Slice, b: &Slice| {
            a.tensor == b.tensor && a.first < b.first + b.channels && b.first < a.first + a.channels
        };
        let mut pairs = (1..conv.outputs.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
        if pairs.any(|(i, j)| overlap(&conv.outputs[i], &conv.outputs[j])) {
            return Err("outputs that overlap");
        }
        if let Kind::Bytes(zero) = self.tensor(conv.outputs[0]).kind
            && zero != conv.zero
        {
            return Err("another zero point than its output");
        }
        if let Some(residual) = conv.residual {
            self.check_bytes(residual.slice)?;
            let [output] = conv.outputs[..] else {
                return Err("a residual with several outputs");
            };
            let fits = residual.slice.channels == output.channels
                && residual.slice.tensor != output.tensor
                && self.starts_a_group(residual.slice)
                && kind != Some(Kind::Floats);
            if !fits {
                return Err("a residual that does not fit its output");
            }
            if !(residual.scale > 0.0 && residual.scale <= (1 << 20) as f32) {
                return Err("a residual that can overflow");
            }
        }
        Ok(())
    }

    fn check_pool(&self, input: Slice, window: &Window, output: Slice) -> Result<(), &'static str> {
        self.check_bytes(input)?;
        self.check_bytes(output)?;
        check_window(window)?;
        if input.channels != output.channels
            || input.tensor == output.tensor
            || output.tensor == 0
            || !self.starts_a_group(output)
        {
            return Err("an output that does not fit the input");
        }
        Ok(())
    }

    /// Writing whole groups from here stays within the pixel, and touches no channel of a neighbour.
    fn starts_a_group(&self, slice: Slice) -> bool {
        let tensor = self.tensor(slice);
        let ends_well = slice.channels().is_multiple_of(GROUP)
            || slice.first + slice.channels == tensor.channels;
        slice.id() != 0 && slice.first().is_multiple_of(GROUP) && ends_well
    }

    fn check_bytes(&self, slice: Slice) -> Result<(), &'static str> {
        self.check_slice(slice)?;
        match self.tensor(slice).kind {
            Kind::Bytes(_) => Ok(()),
            Kind::Floats => Err("a tensor of f32 where bytes are read or written"),
        }
    }

    fn check_slice(&self, slice: Slice) -> Result<(), &'static str> {
        let Some(tensor) = self.tensors.get(slice.id()) else {
            return Err("a tensor that is not there");
        };
        match slice.first.checked_add(slice.channels) {
            Some(end) if end <= tensor.channels && slice.channels > 0 => Ok(()),
            _ => Err("channels that the tensor does not have"),
        }
    }
}

fn check_window(window: &Window) -> Result<(), &'static str> {
    let small = |n: usize| n <= 256;
    let all_small = window.size.into_iter().all(small) && window.strides.into_iter().all(small);
    match window.output([MOST, MOST, 1]) {
        Ok(_) if all_small => Ok(()),
        _ => Err("a window that cannot be used"),
    }
}
