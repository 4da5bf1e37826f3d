//! Sizes and buffers: how large each tensor is for a picture, and where in the arena it lies.
//!
//! ```text
//! one image of a tensor in the arena: a picture with a border as wide as its widest reader reaches
//!
//!     zzzzzzzz      z: the zero point, filled in once. A window of kh rows is kh runs of kw x stride bytes from its
//!     z......z         origin; strides and padding are in the origins, so kernels know neither.
//!     z......z      images of a batch follow one another.
//!     zzzzzzzz
//! ```
//!
//! A tensor's buffer is taken over by a later one of the same shape and border once its last reader has run, so the
//! border stays good. Called by `resolve`, which works out the offsets.

use std::collections::HashMap;

use crate::{
    Error,
    network::{GROUP, Kind, Network, QUAD, Slice, Step},
};

/// Bytes after every buffer, so that a vector that starts inside it may end outside.
const SLACK: usize = 64;
/// Most bytes of all buffers together.
const MOST_BYTES: usize = 1 << 30;

/// Where all tensors are.
pub(crate) struct Layout {
    pub(crate) buffers: Vec<Buffer>,
    /// By tensor.
    pub(crate) places: Vec<Place>,
    pub(crate) bytes: usize,
    pub(crate) floats: usize,
}

/// Bytes of the arena with one zero point, or floats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffer {
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) zero: u8,
}

/// Where a tensor's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Of the first pixel of the first image, in the byte or float arena.
    pub(crate) start: usize,
    /// Height, width.
    pub(crate) size: [usize; 2],
    /// From pixel to pixel, row to row, image to image, in values.
    pub(crate) stride: usize,
    pub(crate) row: usize,
    pub(crate) image: usize,
}

/// Height and width by tensor.
pub(crate) fn sizes(network: &Network, size: [usize; 2]) -> Result<Vec<[usize; 2]>, Error> {
    let fits = network.size.iter().zip(size).all(|(fixed, given)| {
        given > 0 && given <= 1 << 14 && fixed.is_none_or(|f| f as usize == given)
    });
    if !fits {
        return Err(Error::Input {
            found: [size[0], size[1], 3],
        });
    }
    let mut sizes: Vec<Option<[usize; 2]>> = vec![None; network.tensors.len()];
    sizes[0] = Some(size);
    for (at, step) in network.steps.iter().enumerate() {
        let (input, window, outputs) = match step {
            Step::Conv(conv) => (conv.input, &conv.window, &conv.outputs[..]),
            Step::MaxPool {
                input,
                window,
                output,
            }
            | Step::AveragePool {
                input,
                window,
                output,
                ..
            } => (*input, window, std::slice::from_ref(output)),
            Step::Depthwise(conv) => (conv.input, &conv.window, std::slice::from_ref(&conv.output)),
            Step::Softmax(slice) => {
                sizes[slice.id()].ok_or(unwritten(at))?;
                continue;
            }
        };
        let [h, w] = sizes[input.id()].ok_or(unwritten(at))?;
        let found = window.output([h, w, input.channels()])?;
        for output in outputs {
            if *sizes[output.id()].get_or_insert(found) != found {
                return Err(Error::Step {
                    step: at,
                    why: "writes pictures of two sizes into one tensor",
                });
            }
        }
        if let Step::Conv(conv) = step
            && let Some(residual) = conv.residual
            && sizes[residual.slice.id()] != Some(found)
        {
            return Err(Error::Step {
                step: at,
                why: "adds a picture of another size",
            });
        }
    }
    for output in &network.outputs {
        sizes[output.slice.id()].ok_or(Error::Geometry("output that nothing writes"))?;
    }
    // A tensor that nothing writes is never read, as just seen; it gets a pixel.
    Ok(sizes.into_iter().map(|s| s.unwrap_or([1, 1])).collect())
}

fn unwritten(step: usize) -> Error {
    Error::Step {
        step,
        why: "reads a tensor before it is written",
    }
}

/// What makes a buffer fit another tensor: size, border, stride, zero point.
type Form = ([usize; 2], [usize; 4], usize, u8);

/// Gives every tensor a place.
pub(crate) fn layout(
    network: &Network,
    sizes: &[[usize; 2]],
    batch: usize,
) -> Result<Layout, Error> {
    let (first, last) = lifetimes(network);
    let borders = borders(network);
    let mut free: HashMap<Form, Vec<usize>> = HashMap::new();
    let mut buffers: Vec<Buffer> = Vec::new();
    let mut owner: Vec<Option<(usize, Form)>> = vec![None; network.tensors.len()];
    let nowhere = Place {
        start: 0,
        size: [0; 2],
        stride: 0,
        row: 0,
        image: 0,
    };
    let mut places = vec![nowhere; network.tensors.len()];
    let (mut bytes, mut floats) = (0usize, 0usize);

    // Tensors in the order they are first written; a buffer is free again after the step of its last use.
    let mut order: Vec<usize> = (0..network.tensors.len()).collect();
    order.sort_by_key(|&t| first[t]);
    let mut ending: Vec<usize> = order.clone();
    ending.sort_by_key(|&t| last[t]);
    let mut ended = ending.into_iter().peekable();
    for t in order {
        while let Some(old) = ended.next_if(|&old| last[old] < first[t]) {
            if let Some((buffer, form)) = owner[old] {
                free.entry(form).or_default().push(buffer);
            }
        }
        let [h, w] = sizes[t];
        let stride = network.tensors[t].stride(t);
        let [top, left, bottom, right] = borders[t];
        let row = (w + left + right).checked_mul(stride);
        let image = row.and_then(|r| r.checked_mul(h + top + bottom));
        let all = image.and_then(|i| i.checked_mul(batch));
        let (Some(row), Some(image), Some(all)) = (row, image, all) else {
            return Err(Error::Geometry("picture's size"));
        };
        let origin = top * row + left * stride;
        let start = match network.tensors[t].kind {
            Kind::Floats => {
                let start = floats;
                floats = grown(floats, all)?;
                start
            }
            Kind::Bytes(zero) => {
                let form = ([h, w], borders[t], stride, zero);
                let reused = free.get_mut(&form).and_then(Vec::pop);
                let buffer = match reused {
                    Some(buffer) => buffer,
                    None => {
                        buffers.push(Buffer {
                            start: bytes,
                            len: all,
                            zero,
                        });
                        bytes = grown(bytes, all)?;
                        buffers.len() - 1
                    }
                };
                owner[t] = Some((buffer, form));
                buffers[buffer].start
            }
        };
        places[t] = Place {
            start: start + origin,
            size: [h, w],
            stride,
            row,
            image,
        };
    }
    Ok(Layout {
        buffers,
        places,
        bytes,
        floats,
    })
}

fn grown(used: usize, more: usize) -> Result<usize, Error> {
    let end = used
        .checked_add(more)
        .map(|end| (end + SLACK).next_multiple_of(64));
    end.filter(|&end| end <= MOST_BYTES)
        .ok_or(Error::Geometry("picture's size"))
}

/// First and last step that touches each tensor; outputs live to the end.
fn lifetimes(network: &Network) -> (Vec<usize>, Vec<usize>) {
    let mut first = vec![usize::MAX; network.tensors.len()];
    let mut last = vec![0; network.tensors.len()];
    for (at, step) in network.steps.iter().enumerate() {
        let touched: Vec<Slice> = match step {
            Step::Conv(conv) => {
                let residual = conv.residual.iter().map(|r| r.slice);
                [conv.input]
                    .into_iter()
                    .chain(conv.outputs.clone())
                    .chain(residual)
                    .collect()
            }
            Step::MaxPool { input, output, .. } | Step::AveragePool { input, output, .. } => {
                vec![*input, *output]
            }
            Step::Depthwise(conv) => vec![conv.input, conv.output],
            Step::Softmax(slice) => vec![*slice],
        };
        for slice in touched {
            first[slice.id()] = first[slice.id()].min(at);
            last[slice.id()] = last[slice.id()].max(at);
        }
    }
    first[0] = 0;
    for output in &network.outputs {
        last[output.slice.id()] = usize::MAX;
    }
    (first, last)
}

/// Top, left, bottom, right by tensor: the widest of its convolutions' padding.
fn borders(network: &Network) -> Vec<[usize; 4]> {
    let mut borders = vec![[0; 4]; network.tensors.len()];
    for step in &network.steps {
        let (input, window) = match step {
            Step::Conv(conv) => (conv.input, conv.window),
            Step::Depthwise(conv) => (conv.input, conv.window),
            Step::MaxPool { .. } | Step::AveragePool { .. } | Step::Softmax(_) => continue,
        };
        for (border, pad) in borders[input.id()].iter_mut().zip(window.pads) {
            *border = pad.max(*border);
        }
    }
    borders
}

const _: () = assert!(SLACK >= GROUP + QUAD);
