//! A network as `build` sees it: a list of operators on `[h, w, c]` images, in execution order.
//!
//! Importers produce it, `simplify` rewrites it, `reference` runs it, `quantize` and `export` write it as ONNX.
//! Batch is implicit; weights are f32; nothing here knows about files.

use crate::Error;

/// Index of a node in [`Graph::nodes`].
pub type NodeId = usize;

/// A network with one input and any number of outputs.
#[derive(Debug, Clone)]
pub struct Graph {
    /// Name for errors.
    pub name: String,
    /// Operators; each uses only earlier ones. Node 0 is the input.
    pub nodes: Vec<Node>,
    /// Named results, in order.
    pub outputs: Vec<(String, NodeId)>,
}

/// One operator and where its inputs come from.
#[derive(Debug, Clone)]
pub struct Node {
    /// Unique, stable name.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The nodes it reads.
    pub inputs: Vec<NodeId>,
}

/// Extents of one image: `[h, w, c]`; height and width are unknown in networks that take any size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Height, if fixed.
    pub h: Option<usize>,
    /// Width, if fixed.
    pub w: Option<usize>,
    /// Channels.
    pub c: usize,
}

/// Window of a convolution or pooling, `[vertical, horizontal]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Extent.
    pub kernel: [usize; 2],
    /// Step.
    pub stride: [usize; 2],
    /// Padding before (top, left).
    pub before: [usize; 2],
    /// Padding after (bottom, right).
    pub after: [usize; 2],
}

/// Operators, all on `[h, w, c]` f32.
#[derive(Debug, Clone)]
pub enum Op {
    /// The network's input: pixels as f32 in 0..=255.
    Input(Shape),
    /// `(x - mean) / scale`.
    Normalise {
        /// Subtracted.
        mean: f32,
        /// Divided by.
        scale: f32,
    },
    /// Convolution, zero padding.
    Conv(Conv),
    /// Fully connected layer on a flattened image; weights `[in][out]`. `simplify` makes it a convolution.
    Dense {
        /// `[in][out]`, row major.
        weights: Vec<f32>,
        /// `[out]`.
        bias: Vec<f32>,
    },
    /// `x * scale[c] + shift[c]`: bias, batch normalisation, multiplication by a constant.
    Affine {
        /// Factor per channel.
        scale: Vec<f32>,
        /// Summand per channel.
        shift: Vec<f32>,
    },
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `slope[c] * x`.
    PRelu(Vec<f32>),
    /// Maximum in the window; padding never wins.
    MaxPool(Window),
    /// Mean in the window, no padding.
    AvgPool(Window),
    /// Mean of the whole image.
    GlobalAvgPool,
    /// Element-wise sum of two images.
    Add,
    /// Concatenation along channels.
    Concat,
    /// Flattening to a vector, in the stated element order.
    Flatten(Order),
    /// Exponentials normalised along channels.
    Softmax,
}

/// Element order of a flattened image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Rows, columns, channels.
    Hwc,
    /// Channels, rows, columns.
    Chw,
}

/// A convolution's weights.
#[derive(Debug, Clone)]
pub struct Conv {
    /// Where it looks.
    pub window: Window,
    /// Input channels a group.
    pub cin: usize,
    /// Output channels, all groups.
    pub cout: usize,
    /// Groups; 1 for an ordinary convolution.
    pub groups: usize,
    /// `[kh][kw][cin][cout]`, row major.
    pub weights: Vec<f32>,
    /// `[cout]`.
    pub bias: Vec<f32>,
}

impl Window {
    /// A window that steps by one and pads nothing.
    #[must_use]
    pub fn valid(kernel: [usize; 2]) -> Window {
        Window {
            kernel,
            stride: [1, 1],
            before: [0, 0],
            after: [0, 0],
        }
    }

    /// True if no padding is added.
    #[must_use]
    pub fn is_unpadded(&self) -> bool {
        self.before == [0, 0] && self.after == [0, 0]
    }

    /// Output extent along axis 0 (vertical) or 1 (horizontal); `None` if the window does not fit.
    #[must_use]
    pub fn output(&self, axis: usize, extent: usize) -> Option<usize> {
        let padded = extent + self.before[axis] + self.after[axis];
        Some(padded.checked_sub(self.kernel[axis])? / self.stride[axis] + 1)
    }
}

impl Shape {
    /// Elements, if both extents are fixed.
    #[must_use]
    pub fn elements(&self) -> Option<usize> {
        Some(self.h? * self.w? * self.c)
    }
}

impl Graph {
    /// A graph of just its input.
    #[must_use]
    pub fn new(name: &str, input: Shape) -> Graph {
        let node = Node {
            name: "pixels".into(),
            op: Op::Input(input),
            inputs: Vec::new(),
        };
        Graph {
            name: name.into(),
            nodes: vec![node],
            outputs: Vec::new(),
        }
    }

    /// Appends a node.
    pub fn push(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> NodeId {
        self.nodes.push(Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
        });
        self.nodes.len() - 1
    }

    /// For every node, the nodes that read it.
    #[must_use]
    pub fn consumers(&self) -> Vec<Vec<NodeId>> {
        let mut readers = vec![Vec::new(); self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            for &input in &node.inputs {
                readers[input].push(id);
            }
        }
        readers
    }

    /// The shape of every node's result.
    ///
    /// # Errors
    /// [`Error::Network`] if operators do not fit together.
    pub fn shapes(&self) -> Result<Vec<Shape>, Error> {
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let inputs: Vec<Shape> = node.inputs.iter().map(|&i| shapes[i]).collect();
            let shape = node
                .op
                .shape(&inputs)
                .map_err(|why| self.error(&format!("{}: {why}", node.name)))?;
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// An error about this network.
    #[must_use]
    pub fn error(&self, why: &str) -> Error {
        Error::Network {
            name: self.name.clone(),
            why: why.into(),
        }
    }
}

impl Op {
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        if let Op::Input(shape) = self {
            return Ok(*shape);
        }
        let &first = inputs.first().ok_or("an operator without input")?;
        let window = |w: &Window, c: usize| -> Result<Shape, String> {
            let along = |axis: usize, extent: Option<usize>| match extent {
                Some(e) => w
                    .output(axis, e)
                    .map(Some)
                    .ok_or(format!("window of {:?} is larger than its input", w.kernel)),
                None => Ok(None),
            };
            Ok(Shape {
                h: along(0, first.h)?,
                w: along(1, first.w)?,
                c,
            })
        };
        let channels = |n: usize| {
            if n == first.c {
                Ok(first)
            } else {
                Err(format!("{n} channels expected, {} found", first.c))
            }
        };
        match self {
            Op::Input(shape) => Ok(*shape),
            Op::Normalise { .. } | Op::Relu | Op::Softmax => Ok(first),
            Op::Conv(conv) => {
                channels(conv.cin * conv.groups)?;
                window(&conv.window, conv.cout)
            }
            Op::Dense { weights, bias } => {
                let elements = first
                    .elements()
                    .ok_or("a dense layer needs a fixed input size")?;
                if elements * bias.len() != weights.len() {
                    return Err(format!(
                        "dense layer of {} weights on {elements} inputs",
                        weights.len()
                    ));
                }
                Ok(Shape {
                    h: Some(1),
                    w: Some(1),
                    c: bias.len(),
                })
            }
            Op::Affine { scale, .. } => channels(scale.len()),
            Op::PRelu(slope) => channels(slope.len()),
            Op::MaxPool(w) | Op::AvgPool(w) => window(w, first.c),
            Op::GlobalAvgPool => Ok(Shape {
                h: Some(1),
                w: Some(1),
                c: first.c,
            }),
            Op::Add => match inputs {
                [a, b] if a == b => Ok(first),
                _ => Err("sum of images of different shape".into()),
            },
            Op::Concat => {
                if inputs.iter().any(|s| (s.h, s.w) != (first.h, first.w)) {
                    return Err("concatenation of images of different size".into());
                }
                Ok(Shape {
                    c: inputs.iter().map(|s| s.c).sum(),
                    ..first
                })
            }
            Op::Flatten(_) => {
                let c = first
                    .elements()
                    .ok_or("flattening needs a fixed input size")?;
                Ok(Shape {
                    h: Some(1),
                    w: Some(1),
                    c,
                })
            }
        }
    }
}
