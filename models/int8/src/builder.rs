//! Puts a network together, step by step, and writes it as a plan. Called by whoever reads networks from files.

use crate::{
    Error, Window,
    network::{self, Extent, GROUP, Kind, Named, Network, Step, Taps, Tensor},
    pack::pack,
    plan,
};

/// A tensor of the network being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorId(u32);

/// Channels `first..first + channels` of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// The tensor.
    pub tensor: TensorId,
    /// First channel; a multiple of 16.
    pub first: usize,
    /// How many; a multiple of 16, or all to the tensor's end.
    pub channels: usize,
}

/// One convolution, or several side by side that read the same slice with the same window.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvSpec {
    /// What is read, u8.
    pub input: Slice,
    /// Where the window goes.
    pub window: Window,
    /// Where the results go, in the order of the weights' rows: u8, all with the same zero point, or f32.
    pub outputs: Vec<Slice>,
    /// `[cout][kh][kw][cin]` in [-127, 127], `cout` over all outputs.
    pub weights: Vec<i8>,
    /// `[cout]`, in units of input scale x weight scale; the input's zero point not folded in.
    pub bias: Vec<i32>,
    /// `[cout]`: input scale x weight scale / output scale (1 for f32).
    pub scale: Vec<f32>,
    /// `[cout]`, in place of `scale` where the accumulator is negative (PReLU); empty for none.
    pub negative: Vec<f32>,
    /// Least output; the output's zero point for a ReLU, else 0.
    pub low: u8,
    /// What is added before rounding.
    pub residual: Option<Residual>,
}

/// The other side of an addition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Residual {
    /// As many channels as the convolution has, u8.
    pub slice: Slice,
    /// Its scale / output scale.
    pub scale: f32,
}

/// A convolution of each channel with a filter of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthwiseSpec {
    /// What is read, u8.
    pub input: Slice,
    /// Where the window goes.
    pub window: Window,
    /// Where the results go: as many channels, u8.
    pub output: Slice,
    /// `[channels][kh][kw]` in [-127, 127].
    pub weights: Vec<i8>,
    /// As in [`ConvSpec`], like all that follows.
    pub bias: Vec<i32>,
    /// By channel.
    pub scale: Vec<f32>,
    /// By channel, or empty.
    pub negative: Vec<f32>,
    /// Least output.
    pub low: u8,
}

/// A network being built. Tensor 0, the picture, is there from the start.
#[derive(Debug)]
pub struct Builder {
    network: Network,
    blob: Vec<u8>,
}

impl Builder {
    /// Starts with a picture of `size` (height, width; `None` where any will do), 3 channels, u8.
    #[must_use]
    pub fn new(size: [Option<u32>; 2]) -> Builder {
        let picture = Tensor {
            channels: 3,
            kind: Kind::Bytes(0),
        };
        Builder {
            network: Network {
                size,
                tensors: vec![picture],
                steps: Vec::new(),
                outputs: Vec::new(),
            },
            blob: Vec::new(),
        }
    }

    /// Sets the picture's zero point, the value of a pixel beyond its edges; 0 unless set.
    pub fn picture_zero(&mut self, zero: u8) {
        self.network.tensors[0].kind = Kind::Bytes(zero);
    }

    /// The picture.
    #[must_use]
    pub fn picture(&self) -> Slice {
        Slice {
            tensor: TensorId(0),
            first: 0,
            channels: 3,
        }
    }

    /// Adds a u8 tensor.
    ///
    /// # Errors
    /// [`Error::Geometry`] for more channels than there can be.
    pub fn bytes(&mut self, channels: usize, zero: u8) -> Result<Slice, Error> {
        self.add(channels, Kind::Bytes(zero))
    }

    /// Adds an f32 tensor.
    ///
    /// # Errors
    /// As for [`Builder::bytes`].
    pub fn floats(&mut self, channels: usize) -> Result<Slice, Error> {
        self.add(channels, Kind::Floats)
    }

    fn add(&mut self, channels: usize, kind: Kind) -> Result<Slice, Error> {
        let tensor = TensorId(index(self.network.tensors.len())?);
        self.network.tensors.push(Tensor {
            channels: index(channels)?,
            kind,
        });
        Ok(Slice {
            tensor,
            first: 0,
            channels,
        })
    }

    /// Adds a convolution.
    ///
    /// # Errors
    /// The first rule of the contract that it breaks.
    pub fn convolve(&mut self, spec: &ConvSpec) -> Result<(), Error> {
        let [kh, kw] = spec.window.size;
        let cin = spec.input.channels;
        let input = lower(spec.input)?;
        let source = self.known(spec.input)?;
        let cout: usize = spec.outputs.iter().map(|s| s.channels).sum();
        let row = kh * kw * cin;
        let lengths = [
            ("the weights", cout * row, spec.weights.len()),
            ("the bias", cout, spec.bias.len()),
            ("the scale", cout, spec.scale.len()),
            (
                "the slope",
                if spec.negative.is_empty() { 0 } else { cout },
                spec.negative.len(),
            ),
        ];
        expect_lengths(lengths)?;
        let Kind::Bytes(input_zero) = source.kind else {
            return Err(Error::Geometry("input of f32"));
        };
        let zero = match spec.outputs.first().map(|s| self.known(*s)) {
            Some(Ok(tensor)) => match tensor.kind {
                Kind::Bytes(zero) => zero,
                Kind::Floats => 0,
            },
            Some(Err(error)) => return Err(error),
            None => return Err(Error::Geometry("convolution without outputs")),
        };

        let taps = Taps::new(&spec.window, cin, source.stride(input.id()));
        let (mut lines, mut bias, mut scale, mut negative) = (vec![], vec![], vec![], vec![]);
        let mut first = 0;
        for output in &spec.outputs {
            let rows = first..first + output.channels;
            let weights = &spec.weights[rows.start * row..rows.end * row];
            pack(weights, [kh, kw], cin, &taps, &mut lines);
            for n in rows.clone() {
                let sum: i64 = spec.weights[n * row..][..row]
                    .iter()
                    .map(|&w| i64::from(w))
                    .sum();
                let folded = i64::from(spec.bias[n]) - i64::from(input_zero) * sum;
                bias.push(i32::try_from(folded).map_err(|_| Error::Range { channel: n })?);
            }
            scale.extend(&spec.scale[rows.clone()]);
            negative.extend(spec.negative.get(rows.clone()).unwrap_or_default());
            // A channel that pads a group gives its output's zero point.
            let whole = bias.len().next_multiple_of(GROUP);
            bias.resize(whole, 0);
            scale.resize(whole, 1.0);
            if !spec.negative.is_empty() {
                negative.resize(whole, 1.0);
            }
            first = rows.end;
        }

        let outputs: Result<Vec<_>, _> = spec.outputs.iter().map(|s| lower(*s)).collect();
        let residual = match &spec.residual {
            Some(residual) => Some(network::Residual {
                slice: lower(residual.slice)?,
                scale: residual.scale,
            }),
            None => None,
        };
        let conv = network::Conv {
            input,
            window: spec.window,
            outputs: outputs?,
            zero,
            low: spec.low,
            residual,
            weights: self.store(lines.iter().map(|&w| w.cast_unsigned())),
            bias: self.store(bias.iter().flat_map(|b| b.to_le_bytes())),
            scale: self.store(scale.iter().flat_map(|s| s.to_le_bytes())),
            negative: match negative.is_empty() {
                true => None,
                false => Some(self.store(negative.iter().flat_map(|s| s.to_le_bytes()))),
            },
        };
        self.network.steps.push(Step::Conv(conv));
        Ok(())
    }

    /// Adds a depthwise convolution.
    ///
    /// # Errors
    /// The first rule of the contract that it breaks.
    pub fn depthwise(&mut self, spec: &DepthwiseSpec) -> Result<(), Error> {
        let channels = spec.output.channels;
        let taps = spec.window.size[0] * spec.window.size[1];
        let slopes = if spec.negative.is_empty() {
            0
        } else {
            channels
        };
        expect_lengths([
            ("the weights", channels * taps, spec.weights.len()),
            ("the bias", channels, spec.bias.len()),
            ("the scale", channels, spec.scale.len()),
            ("the slope", slopes, spec.negative.len()),
        ])?;
        let Kind::Bytes(input_zero) = self.known(spec.input)?.kind else {
            return Err(Error::Geometry("input of f32"));
        };
        let whole = channels.next_multiple_of(GROUP);
        let mut weights = vec![0i8; taps * whole];
        let mut bias = Vec::with_capacity(whole);
        for (channel, filter) in spec.weights.chunks_exact(taps).enumerate() {
            let sum: i64 = filter.iter().map(|&w| i64::from(w)).sum();
            let folded = i64::from(spec.bias[channel]) - i64::from(input_zero) * sum;
            bias.push(i32::try_from(folded).map_err(|_| Error::Range { channel })?);
            for (tap, &weight) in filter.iter().enumerate() {
                weights[tap * whole + channel] = weight;
            }
        }
        // A channel that pads a group gives its output's zero point.
        bias.resize(whole, 0);
        let padded = |values: &[f32]| {
            let all = values.iter().copied().chain(std::iter::repeat(1.0));
            all.take(whole)
                .flat_map(f32::to_le_bytes)
                .collect::<Vec<u8>>()
        };
        let conv = network::Depthwise {
            input: lower(spec.input)?,
            window: spec.window,
            output: lower(spec.output)?,
            low: spec.low,
            weights: self.store(weights.iter().map(|w| w.cast_unsigned())),
            bias: self.store(bias.iter().flat_map(|b| b.to_le_bytes())),
            scale: self.store(padded(&spec.scale).into_iter()),
            negative: match spec.negative.is_empty() {
                true => None,
                false => Some(self.store(padded(&spec.negative).into_iter())),
            },
        };
        self.network.steps.push(Step::Depthwise(conv));
        Ok(())
    }

    /// Adds a max pool; what lies outside the picture does not count.
    ///
    /// # Errors
    /// [`Error::Geometry`] for an unknown tensor.
    pub fn max_pool(&mut self, input: Slice, window: Window, output: Slice) -> Result<(), Error> {
        self.network.steps.push(Step::MaxPool {
            input: lower(input)?,
            window,
            output: lower(output)?,
        });
        Ok(())
    }

    /// Adds an average pool without padding; `scale` is input scale / (pixels of the window x output scale).
    ///
    /// # Errors
    /// As for [`Builder::max_pool`].
    pub fn average_pool(
        &mut self,
        input: Slice,
        window: Window,
        scale: f32,
        output: Slice,
    ) -> Result<(), Error> {
        self.network.steps.push(Step::AveragePool {
            input: lower(input)?,
            window,
            scale,
            output: lower(output)?,
        });
        Ok(())
    }

    /// Adds a softmax over the channels of each pixel of an f32 slice, in place.
    ///
    /// # Errors
    /// As for [`Builder::max_pool`].
    pub fn softmax(&mut self, slice: Slice) -> Result<(), Error> {
        self.network.steps.push(Step::Softmax(lower(slice)?));
        Ok(())
    }

    /// Names a result.
    ///
    /// # Errors
    /// As for [`Builder::max_pool`].
    pub fn output(&mut self, name: &str, slice: Slice) -> Result<(), Error> {
        self.network.outputs.push(Named {
            name: name.to_owned(),
            slice: lower(slice)?,
        });
        Ok(())
    }

    /// Takes memory for so many more bytes of weights at once.
    pub fn reserve(&mut self, bytes: usize) {
        self.blob.reserve(bytes);
    }

    /// Writes the plan; `source` is the SHA-256 of the file that the network came from.
    ///
    /// # Errors
    /// The first rule that the network breaks: what is written can be read.
    pub fn finish(self, source: [u8; 32]) -> Result<Vec<u8>, Error> {
        self.network.check()?;
        let bytes = plan::write(&self.network, source, self.blob);
        plan::parse(&bytes)?;
        Ok(bytes)
    }

    fn known(&self, slice: Slice) -> Result<Tensor, Error> {
        let tensor = self.network.tensors.get(slice.tensor.0 as usize);
        tensor.copied().ok_or(Error::Geometry("unknown tensor"))
    }

    fn store(&mut self, bytes: impl Iterator<Item = u8>) -> Extent {
        let start = self.blob.len().next_multiple_of(64);
        self.blob.resize(start, 0);
        self.blob.extend(bytes);
        Extent {
            start: start as u64,
            bytes: (self.blob.len() - start) as u64,
        }
    }
}

fn expect_lengths(lengths: [(&'static str, usize, usize); 4]) -> Result<(), Error> {
    let mut wrong = lengths
        .into_iter()
        .filter(|(_, expected, found)| expected != found);
    match wrong.next() {
        Some((what, expected, found)) => Err(Error::Length {
            what,
            expected,
            found,
        }),
        None => Ok(()),
    }
}

fn lower(slice: Slice) -> Result<network::Slice, Error> {
    Ok(network::Slice {
        tensor: slice.tensor.0,
        first: index(slice.first)?,
        channels: index(slice.channels)?,
    })
}

fn index(n: usize) -> Result<u32, Error> {
    u32::try_from(n).map_err(|_| Error::Geometry("number of tensors or channels"))
}
