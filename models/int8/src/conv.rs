//! A convolution's numbers, checked against the contract, and the activations it maps.
//!
//! Used by `reference`, which defines what a convolution gives. The fast path has its own, packed form in `plan`.

use crate::{Error, Window};

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

    pub(crate) fn at(&self, y: usize, x: usize, c: usize) -> u8 {
        self.values[(y * self.shape[1] + x) * self.shape[2] + c]
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
    pub(crate) window: Window,
    /// Input and output channels.
    pub(crate) channels: [usize; 2],
    pub(crate) weights: Vec<i8>,
    pub(crate) bias: Vec<i32>,
    pub(crate) scale: Vec<f32>,
    pub(crate) negative: Vec<f32>,
    pub(crate) input_zero: u8,
    pub(crate) requantize: Requantize,
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
    /// In place of `scale` where the accumulator is negative (PReLU); empty for none.
    pub negative: Vec<f32>,
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
            (
                "the slope",
                Some(if parts.negative.is_empty() { 0 } else { cout }),
                parts.negative.len(),
            ),
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
                && most as f64 * f64::from(scale) <= f64::from(1 << 30)
                && parts
                    .negative
                    .get(channel)
                    .is_none_or(|slope| most as f64 * f64::from(slope.abs()) <= f64::from(1 << 30));
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
            negative,
            input_zero,
            requantize,
        } = parts;
        Ok(Conv {
            window,
            channels,
            weights,
            bias,
            scale,
            negative,
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
            negative: vec![1e-4; 2],
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
        let cases: [(&str, Break); 15] = [
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
            ("a slope missing", |p| p.negative.truncate(1)),
            ("a slope over 32 bits", |p| p.negative[1] = -1e6),
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
}
