//! Int8 convolution: the arithmetic every implementation must produce, bit for bit, and the plain one that defines it.
//!
//! ```text
//! acc[n] = bias[n] + sum (x - input_zero) * w[n]          x: u8, w: i8 in [-127, 127], acc: i32, never overflows
//! y[n]   = clamp(round(f32(acc[n]) * scale[n]) + output_zero, low, high)
//! ```
//!
//! * Activations are u8 with one zero point a tensor, NHWC; what lies outside the picture is the input's zero point.
//! * Weights are symmetric per output channel, laid out `[cout][kh][kw][cin]`. -128 is excluded, so that two products
//!   of a signed activation and a weight add up in 16 bits (the multiply-accumulate pairs of Cortex-A72).
//! * Requantization multiplies in f32, never fused with an addition, and rounds half to even: IEEE 754, the same on
//!   every machine. [`Conv::new`] refuses parameters with which the accumulator or the result could overflow.
//!
//! This crate imports nothing of ours and knows no file format; `models` calls it. Faster implementations, one file an
//! instruction set, will stand beside `reference` and be compared with it.

#![forbid(unsafe_code)]

mod reference;

pub use reference::{convolve, max_pool};

/// Parameters that break the contract; found when a network is loaded, never while it runs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A buffer has another length than its shape says.
    #[error("{what} has {found} values, its shape needs {expected}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// What the shape needs.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// A window, stride or channel count of 0, a padding as large as the window, or a size that no memory holds.
    #[error("the {0} cannot be used")]
    Geometry(&'static str),
    /// A weight of -128.
    #[error("weight {index} is -128, the least allowed is -127")]
    Weight {
        /// Its place in the weights.
        index: usize,
    },
    /// Output channel `channel` could overflow 32 bits, or its scale is not a positive finite number.
    #[error("output channel {channel} can overflow, or its scale is not positive and finite")]
    Range {
        /// The output channel.
        channel: usize,
    },
    /// The input has another number of channels, or is smaller than the window.
    #[error("an input of {found:?} (height, width, channels) does not fit")]
    Input {
        /// Its height, width and channels.
        found: [usize; 3],
    },
}

/// A u8 activation, `[height, width, channels]` row major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    shape: [usize; 3],
    values: Vec<u8>,
}

impl Activation {
    /// Puts values in a shape.
    ///
    /// # Errors
    /// [`Error::Length`] if there are not as many values as the shape says.
    pub fn new(shape: [usize; 3], values: Vec<u8>) -> Result<Activation, Error> {
        let expected = product(&shape).ok_or(Error::Geometry("activation's shape"))?;
        if values.len() != expected {
            return Err(Error::Length {
                what: "the activation",
                expected,
                found: values.len(),
            });
        }
        Ok(Activation { shape, values })
    }

    /// Height, width, channels.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The values, row major.
    #[must_use]
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    fn at(&self, y: usize, x: usize, c: usize) -> u8 {
        self.values[(y * self.shape[1] + x) * self.shape[2] + c]
    }
}

/// Where a window goes: its size, its steps, and how far it reaches over the picture's edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns, at least 1.
    pub size: [usize; 2],
    /// Steps down and right, at least 1.
    pub strides: [usize; 2],
    /// Rows above, columns left, rows below, columns right; each less than the window.
    pub pads: [usize; 4],
}

impl Window {
    /// Height and width of the output.
    ///
    /// # Errors
    /// [`Error::Geometry`] for a window that cannot be used, [`Error::Input`] for an input smaller than it.
    pub fn output(&self, input: [usize; 3]) -> Result<[usize; 2], Error> {
        if self.size.contains(&0) || self.strides.contains(&0) {
            return Err(Error::Geometry("window or stride of 0"));
        }
        let [top, left, bottom, right] = self.pads;
        if top.max(bottom) >= self.size[0] || left.max(right) >= self.size[1] {
            return Err(Error::Geometry("padding as large as the window"));
        }
        let extent = |length: usize, pads: usize, size: usize, stride: usize| {
            let spare = length.checked_add(pads)?.checked_sub(size)?;
            (length > 0).then_some(spare / stride + 1)
        };
        let h = extent(input[0], top + bottom, self.size[0], self.strides[0]);
        let w = extent(input[1], left + right, self.size[1], self.strides[1]);
        match (h, w) {
            (Some(h), Some(w)) => Ok([h, w]),
            (_, _) => Err(Error::Input { found: input }),
        }
    }
}

/// From accumulator to activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requantize {
    /// The output's zero point.
    pub zero: u8,
    /// Least output; the zero point for a ReLU.
    pub low: u8,
    /// Greatest output.
    pub high: u8,
}

impl Requantize {
    /// One accumulator. `|acc * scale|` is at most 2^30.
    #[must_use]
    pub fn apply(&self, acc: i32, scale: f32) -> u8 {
        let product = acc as f32 * scale;
        let rounded = product.round_ties_even() as i32;
        // Within a byte by the clamp.
        (rounded + i32::from(self.zero)).clamp(i32::from(self.low), i32::from(self.high)) as u8
    }
}

/// A convolution with all its numbers, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    window: Window,
    /// Input and output channels.
    channels: [usize; 2],
    weights: Vec<i8>,
    bias: Vec<i32>,
    scale: Vec<f32>,
    input_zero: u8,
    requantize: Requantize,
}

/// What a [`Conv`] is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvParts {
    /// The window.
    pub window: Window,
    /// Input and output channels, at least 1.
    pub channels: [usize; 2],
    /// `[cout][kh][kw][cin]`, each in [-127, 127].
    pub weights: Vec<i8>,
    /// One an output channel, in units of input scale x weight scale.
    pub bias: Vec<i32>,
    /// One an output channel: input scale x weight scale / output scale.
    pub scale: Vec<f32>,
    /// The input's zero point.
    pub input_zero: u8,
    /// The output's side.
    pub requantize: Requantize,
}

impl Conv {
    /// Checks the parts against the contract.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn new(parts: ConvParts) -> Result<Conv, Error> {
        let [cin, cout] = parts.channels;
        let [kh, kw] = parts.window.size;
        if cin == 0 || cout == 0 {
            return Err(Error::Geometry("channel count of 0"));
        }
        // A window's own rules, on an input it surely covers.
        parts.window.output([kh, kw, cin])?;
        if parts.requantize.low > parts.requantize.high {
            return Err(Error::Geometry("empty range of outputs"));
        }
        let taps = product(&[kh, kw, cin]).ok_or(Error::Geometry("window's size"))?;
        let lengths = [
            ("the weights", product(&[taps, cout]), parts.weights.len()),
            ("the bias", Some(cout), parts.bias.len()),
            ("the scale", Some(cout), parts.scale.len()),
        ];
        for (what, expected, found) in lengths {
            let expected = expected.ok_or(Error::Geometry("weights' size"))?;
            if expected != found {
                return Err(Error::Length {
                    what,
                    expected,
                    found,
                });
            }
        }
        if let Some(index) = parts.weights.iter().position(|&w| w == i8::MIN) {
            return Err(Error::Weight { index });
        }
        for (channel, row) in parts.weights.chunks_exact(taps).enumerate() {
            let sum: i64 = row.iter().map(|&w| i64::from(w).abs()).sum();
            let most = sum * 255 + i64::from(parts.bias[channel]).abs();
            let scale = parts.scale[channel];
            let bounded = most <= i64::from(i32::MAX)
                && scale > 0.0
                && most as f64 * f64::from(scale) <= f64::from(1 << 30);
            if !bounded {
                return Err(Error::Range { channel });
            }
        }
        let ConvParts {
            window,
            channels,
            weights,
            bias,
            scale,
            input_zero,
            requantize,
        } = parts;
        Ok(Conv {
            window,
            channels,
            weights,
            bias,
            scale,
            input_zero,
            requantize,
        })
    }
}

fn product(factors: &[usize]) -> Option<usize> {
    factors
        .iter()
        .try_fold(1usize, |all, &f| all.checked_mul(f))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> ConvParts {
        ConvParts {
            window: Window {
                size: [3, 3],
                strides: [2, 2],
                pads: [1, 1, 1, 1],
            },
            channels: [4, 2],
            weights: vec![127; 72],
            bias: vec![0; 2],
            scale: vec![1e-3; 2],
            input_zero: 128,
            requantize: Requantize {
                zero: 2,
                low: 2,
                high: 255,
            },
        }
    }

    #[test]
    fn broken_parameters_are_refused() {
        assert!(Conv::new(parts()).is_ok());
        type Break = fn(&mut ConvParts);
        let cases: [(&str, Break); 13] = [
            ("no channels", |p| p.channels[0] = 0),
            ("no window", |p| p.window.size = [0, 3]),
            ("no stride", |p| p.window.strides = [1, 0]),
            ("wide padding", |p| p.window.pads[3] = 3),
            ("a weight missing", |p| p.weights.truncate(71)),
            ("a bias missing", |p| p.bias.truncate(1)),
            ("a scale missing", |p| p.scale.truncate(1)),
            ("-128", |p| p.weights[70] = -128),
            ("an accumulator over 32 bits", |p| p.bias[1] = i32::MIN),
            ("a result over 32 bits", |p| p.scale[1] = 1e6),
            ("a negative scale", |p| p.scale[0] = -1e-3),
            ("a scale that is no number", |p| p.scale[0] = f32::NAN),
            ("an empty range", |p| p.requantize.high = 1),
        ];
        for (name, broken) in cases {
            let mut p = parts();
            broken(&mut p);
            assert!(Conv::new(p).is_err(), "{name}");
        }
    }

    #[test]
    fn rounding_is_half_to_even_and_clamped() {
        struct Case(i32, f32, u8);
        let r = Requantize {
            zero: 100,
            low: 90,
            high: 250,
        };
        #[rustfmt::skip]
        let cases = [
            Case(0, 0.5, 100),
            Case(1, 0.5, 100), Case(3, 0.5, 102), Case(5, 0.5, 102), Case(7, 0.5, 104),
            Case(-1, 0.5, 100), Case(-3, 0.5, 98), Case(-5, 0.5, 98),
            Case(1000, 1.0, 250), Case(-1000, 1.0, 90),
            // An accumulator over 2^24 is itself rounded half to even on its way to f32.
            Case((1 << 24) + 1, 1.0 / 262_144.0, 164),
            Case(i32::MAX, 0.5 / 8.0, 250),
        ];
        for Case(acc, scale, expected) in cases {
            assert_eq!(r.apply(acc, scale), expected, "{acc} * {scale}");
        }
    }

    #[test]
    fn windows_are_counted() {
        struct Case(
            [usize; 2],
            [usize; 2],
            [usize; 4],
            [usize; 3],
            Option<[usize; 2]>,
        );
        #[rustfmt::skip]
        let cases = [
            Case([3, 3], [2, 2], [0; 4], [160, 160, 3], Some([79, 79])),
            Case([3, 3], [1, 1], [1; 4], [17, 17, 8], Some([17, 17])),
            Case([1, 7], [1, 1], [0, 3, 0, 3], [8, 8, 1], Some([8, 8])),
            Case([2, 2], [2, 2], [0, 0, 1, 1], [5, 5, 1], Some([3, 3])),
            Case([3, 3], [1, 1], [0; 4], [2, 9, 1], None),
            Case([3, 3], [1, 1], [2; 4], [0, 9, 1], None),
        ];
        for Case(size, strides, pads, input, expected) in cases {
            let window = Window {
                size,
                strides,
                pads,
            };
            assert_eq!(
                window.output(input).ok(),
                expected,
                "{window:?} on {input:?}"
            );
        }
    }
}
