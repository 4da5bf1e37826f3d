//! The definition: plain loops, no cleverness. Everything faster is compared with this, bit for bit.

use crate::{Activation, Conv, Error, Window};

/// Convolves; what lies outside the input counts as its zero point.
///
/// # Errors
/// [`Error::Input`] if the input has other channels or is smaller than the window.
pub fn convolve(conv: &Conv, input: &Activation) -> Result<Activation, Error> {
    let [cin, cout] = conv.channels;
    if input.shape()[2] != cin {
        return Err(Error::Input {
            found: input.shape(),
        });
    }
    let [rows, columns] = conv.window.output(input.shape())?;
    let mut values = Vec::with_capacity(rows * columns * cout);
    for row in 0..rows {
        for column in 0..columns {
            for n in 0..cout {
                let acc = accumulate(conv, input, row, column, n);
                let scale = match conv.negative.get(n) {
                    Some(&negative) if acc < 0 => negative,
                    Some(_) | None => conv.scale[n],
                };
                values.push(conv.requantize.apply(acc, scale));
            }
        }
    }
    Activation::new([rows, columns, cout], values)
}

fn accumulate(conv: &Conv, input: &Activation, row: usize, column: usize, n: usize) -> i32 {
    let [cin, _] = conv.channels;
    let [kh, kw] = conv.window.size;
    let mut acc = conv.bias[n];
    for ky in 0..kh {
        for kx in 0..kw {
            let Some((y, x)) = source(&conv.window, input.shape(), [row, column], [ky, kx]) else {
                // Outside, x - input_zero is 0.
                continue;
            };
            for c in 0..cin {
                let weight = conv.weights[((n * kh + ky) * kw + kx) * cin + c];
                let value = i32::from(input.at(y, x, c)) - i32::from(conv.input_zero);
                acc += value * i32::from(weight);
            }
        }
    }
    acc
}

/// Convolves each channel with a filter of its own; `conv` has one input channel, and as many outputs as the input has.
///
/// # Errors
/// As for [`convolve`].
pub fn depthwise(conv: &Conv, input: &Activation) -> Result<Activation, Error> {
    let [h, w, channels] = input.shape();
    if conv.channels != [1, channels] {
        return Err(Error::Input {
            found: input.shape(),
        });
    }
    let [rows, columns] = conv.window.output(input.shape())?;
    let mut values = vec![0; rows * columns * channels];
    for n in 0..channels {
        let of_channel = input.values().iter().skip(n).step_by(channels).copied();
        let plane = Activation::new([h, w, 1], of_channel.collect())?;
        for (pixel, value) in values.chunks_exact_mut(channels).enumerate() {
            let acc = accumulate(conv, &plane, pixel / columns, pixel % columns, n);
            let scale = match conv.negative.get(n) {
                Some(&negative) if acc < 0 => negative,
                Some(_) | None => conv.scale[n],
            };
            value[n] = conv.requantize.apply(acc, scale);
        }
    }
    Activation::new([rows, columns, channels], values)
}

/// The greatest value under each window, channel by channel; what lies outside the input does not take part.
///
/// Scale and zero point stay the input's.
///
/// # Errors
/// [`Error::Geometry`] or [`Error::Input`] if the window does not fit.
pub fn max_pool(window: &Window, input: &Activation) -> Result<Activation, Error> {
    let [rows, columns] = window.output(input.shape())?;
    let channels = input.shape()[2];
    let mut values = Vec::with_capacity(rows * columns * channels);
    for row in 0..rows {
        for column in 0..columns {
            for c in 0..channels {
                let mut most = 0;
                for ky in 0..window.size[0] {
                    for kx in 0..window.size[1] {
                        let at = source(window, input.shape(), [row, column], [ky, kx]);
                        most = most.max(at.map_or(0, |(y, x)| input.at(y, x, c)));
                    }
                }
                values.push(most);
            }
        }
    }
    Activation::new([rows, columns, channels], values)
}

/// The input pixel under tap `[ky, kx]` of the window at an output pixel; `None` outside the picture.
fn source(
    window: &Window,
    shape: [usize; 3],
    [row, column]: [usize; 2],
    [ky, kx]: [usize; 2],
) -> Option<(usize, usize)> {
    let y = (row * window.strides[0] + ky).checked_sub(window.pads[0])?;
    let x = (column * window.strides[1] + kx).checked_sub(window.pads[1])?;
    (y < shape[0] && x < shape[1]).then_some((y, x))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{ConvParts, Requantize};

    const PLAIN: Requantize = Requantize {
        zero: 0,
        low: 0,
        high: 255,
    };

    #[test]
    fn a_convolution_worked_by_hand() {
        // 2 x 2 input of one channel, 2 x 2 window, one row of padding below.
        let input = Activation::new([2, 2, 1], vec![10, 20, 30, 40]).unwrap();
        let conv = Conv::new(ConvParts {
            window: Window {
                size: [2, 2],
                strides: [1, 1],
                pads: [0, 0, 1, 0],
            },
            channels: [1, 2],
            weights: vec![1, 2, 3, 4, -1, 0, 0, 1],
            bias: vec![5, -7],
            scale: vec![0.5, 1.0],
            negative: Vec::new(),
            input_zero: 8,
            requantize: Requantize {
                zero: 3,
                low: 3,
                high: 255,
            },
        })
        .unwrap();
        // Less the zero point: 2 12 / 22 32. Row 0: 2 + 24 + 66 + 128 + 5 = 225 -> 112.5 -> 112 -> 115;
        // -2 + 32 - 7 = 23 -> 26. Row 1, below it nothing: 22 + 64 + 5 = 91 -> 45.5 -> 46 -> 49; -22 - 7 -> low.
        let out = convolve(&conv, &input).unwrap();
        assert_eq!(out.shape(), [2, 1, 2]);
        assert_eq!(out.values(), [115, 26, 49, 3]);
    }

    #[test]
    fn a_pool_worked_by_hand() {
        let input = Activation::new([3, 3, 1], vec![1, 9, 2, 3, 4, 5, 8, 6, 7]).unwrap();
        let window = Window {
            size: [2, 2],
            strides: [2, 2],
            pads: [0, 0, 1, 1],
        };
        let out = max_pool(&window, &input).unwrap();
        assert_eq!(out.shape(), [2, 2, 1]);
        assert_eq!(out.values(), [9, 5, 8, 7]);
    }

    #[test]
    fn a_wrong_input_is_refused() {
        let input = Activation::new([1, 1, 2], vec![0, 0]).unwrap();
        let window = Window {
            size: [2, 1],
            strides: [1, 1],
            pads: [0; 4],
        };
        assert!(max_pool(&window, &input).is_err());
        let conv = Conv::new(ConvParts {
            window: Window {
                size: [1, 1],
                ..window
            },
            channels: [3, 1],
            weights: vec![1; 3],
            bias: vec![0],
            scale: vec![1.0],
            negative: Vec::new(),
            input_zero: 0,
            requantize: PLAIN,
        })
        .unwrap();
        assert!(convolve(&conv, &input).is_err());
        assert!(Activation::new([1, 1, 2], vec![0]).is_err());
    }

    proptest! {
        /// The accumulator is the exact sum, whatever the order: the padded picture is built and walked in f64, where
        /// whole numbers of this size are exact.
        #[test]
        fn agrees_with_real_arithmetic(
            (h, w, cin, cout) in (1usize..7, 1usize..7, 1usize..4, 1usize..4),
            (kh, kw) in (1usize..4, 1usize..4),
            (sh, sw) in (1usize..3, 1usize..3),
            pads in prop::array::uniform4(0usize..3),
            zero in any::<u8>(),
            seed in any::<u64>(),
        ) {
            let mut state = seed | 1;
            let mut next = || { state ^= state << 13; state ^= state >> 7; state ^= state << 17; state };
            let pads = [pads[0].min(kh - 1), pads[1].min(kw - 1), pads[2].min(kh - 1), pads[3].min(kw - 1)];
            let window = Window { size: [kh, kw], strides: [sh, sw], pads };
            let values: Vec<u8> = (0..h * w * cin).map(|_| next() as u8).collect();
            let weights: Vec<i8> = (0..cout * kh * kw * cin).map(|_| ((next() % 255) as i32 - 127) as i8).collect();
            let bias: Vec<i32> = (0..cout).map(|_| (next() % 20_001) as i32 - 10_000).collect();
            let conv = Conv::new(ConvParts {
                window, channels: [cin, cout], weights: weights.clone(), bias: bias.clone(),
                scale: vec![1.0 / 1024.0; cout], negative: Vec::new(), input_zero: zero,
                requantize: Requantize { zero: 128, low: 0, high: 255 },
            }).unwrap();
            let input = Activation::new([h, w, cin], values.clone()).unwrap();
            let Ok(out) = convolve(&conv, &input) else {
                prop_assert!(h + pads[0] + pads[2] < kh || w + pads[1] + pads[3] < kw);
                return Ok(());
            };
            let (ph, pw) = (h + pads[0] + pads[2], w + pads[1] + pads[3]);
            let mut padded = vec![f64::from(zero); ph * pw * cin];
            for y in 0..h { for x in 0..w { for c in 0..cin {
                padded[((y + pads[0]) * pw + x + pads[1]) * cin + c] = f64::from(values[(y * w + x) * cin + c]);
            }}}
            let [rows, columns, _] = out.shape();
            for oy in 0..rows { for ox in 0..columns { for n in 0..cout {
                let mut sum = f64::from(bias[n]);
                for ky in 0..kh { for kx in 0..kw { for c in 0..cin {
                    let x = padded[((oy * sh + ky) * pw + ox * sw + kx) * cin + c] - f64::from(zero);
                    sum += x * f64::from(weights[((n * kh + ky) * kw + kx) * cin + c]);
                }}}
                // A power of two as scale: the product is exact, so f64 and f32 round alike.
                let expected = ((sum / 1024.0).round_ties_even() + 128.0).clamp(0.0, 255.0) as u8;
                prop_assert_eq!(out.at(oy, ox, n), expected);
            }}}
        }
    }
}
