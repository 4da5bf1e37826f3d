//! TensorFlow Lite -> [`Graph`]: the operators of float, inference-only face networks.
//!
//! Field numbers are those of TensorFlow's `schema.fbs`. The batch a file was made for does not matter: a graph sees one
//! picture. Such files spell a PReLU out, and it is put together again:
//!
//! ```text
//! relu(x) + slope/2 * (x - |x|)  =  x where positive, else slope * x
//! ```

use super::{
    flatbuffer::{Table, Words},
    graph::{Conv, Graph, NodeId, Op, Shape, Window},
    onnx::Normalisation,
};
use crate::Error;

const DAMAGED: &str = "the file is cut off or damaged";
/// More than any network we know has.
const MOST: usize = 1 << 12;
const FLOAT32: i8 = 0;
/// `padding` and `fused_activation_function` of the options.
const SAME: i8 = 0;
const NO_ACTIVATION: i8 = 0;
const RELU: i8 = 1;

/// Reads a network with one picture as input and one result.
///
/// # Errors
/// [`Error::Network`] naming what is not understood, or that the file is damaged.
pub fn import(name: &str, bytes: &[u8], normalisation: Normalisation) -> Result<Graph, Error> {
    let refuse = |why: String| Error::Network {
        name: name.to_owned(),
        why,
    };
    let file = File::open(bytes).map_err(refuse)?;
    let (input, shape) = file.input().map_err(refuse)?;
    let mut graph = Graph::new(name, shape);
    let Normalisation { mean, scale } = normalisation;
    let first = graph.push("normalise", Op::Normalise { mean, scale }, &[0]);
    let mut importer = Importer {
        values: vec![None; file.tensors.len],
        file,
        graph,
    };
    importer.values[input] = Some(Value::Node(first));
    let operators = importer.file.graph.words(3).ok_or(DAMAGED);
    let operators = operators.map_err(|why| refuse(why.to_owned()))?;
    for index in 0..operators.len.min(MOST) {
        let done = importer.operator(&operators, index);
        done.map_err(|why| refuse(format!("operator {index}: {why}")))?;
    }
    let id = importer.result().map_err(refuse)?;
    importer.graph.outputs.push(("embedding".to_owned(), id));
    Ok(importer.graph)
}

/// The tables of a file.
struct File<'a> {
    codes: Words<'a>,
    buffers: Words<'a>,
    graph: Table<'a>,
    tensors: Words<'a>,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Result<File<'a>, String> {
        let model = Table::root(bytes, b"TFL3").ok_or("it is no TensorFlow Lite file")?;
        let graphs = model.words(2).ok_or(DAMAGED)?;
        if graphs.len != 1 {
            return Err(format!("it has {} graphs, not one", graphs.len));
        }
        let graph = graphs.table(0).ok_or(DAMAGED)?;
        let file = File {
            codes: model.words(1).ok_or(DAMAGED)?,
            buffers: model.words(4).ok_or(DAMAGED)?,
            graph,
            tensors: graph.words(0).ok_or(DAMAGED)?,
        };
        match file.tensors.len <= MOST {
            true => Ok(file),
            false => Err(format!("it has more than {MOST} tensors")),
        }
    }

    /// The only input tensor and the picture it holds.
    fn input(&self) -> Result<(usize, Shape), String> {
        let inputs = self.graph.words(1).ok_or(DAMAGED)?.numbers();
        let &[input] = inputs.as_slice() else {
            return Err(format!("it has {} inputs, not one", inputs.len()));
        };
        let input = self.index(input)?;
        match self.shape(input)?.as_slice() {
            &[_, h, w, c] => {
                let shape = Shape {
                    h: Some(h),
                    w: Some(w),
                    c,
                };
                Ok((input, shape))
            }
            other => Err(format!("its input is {other:?}, no batch of pictures")),
        }
    }

    fn index(&self, tensor: i32) -> Result<usize, String> {
        let index = usize::try_from(tensor).ok();
        index
            .filter(|&i| i < self.tensors.len)
            .ok_or_else(|| DAMAGED.to_owned())
    }

    /// Extents of a tensor, each at least 1 and below 2^16.
    fn shape(&self, tensor: usize) -> Result<Vec<usize>, String> {
        let table = self.tensors.table(tensor).ok_or(DAMAGED)?;
        let extents = table.words(0).ok_or(DAMAGED)?.numbers();
        let extent = |&e: &i32| usize::try_from(e).ok().filter(|e| (1..1 << 16).contains(e));
        let shape: Option<Vec<usize>> = extents.iter().map(extent).collect();
        shape.ok_or_else(|| format!("a tensor of {extents:?}"))
    }

    /// Extents and numbers of a constant.
    fn constant(&self, tensor: usize) -> Result<(Vec<usize>, Vec<f32>), String> {
        let shape = self.shape(tensor)?;
        let table = self.tensors.table(tensor).ok_or(DAMAGED)?;
        if table.byte(1, FLOAT32) != Some(FLOAT32) {
            return Err("a constant that is not of 32-bit floats".to_owned());
        }
        let buffer = table.word(2, 0).and_then(|b| usize::try_from(b).ok());
        let buffer = self.buffers.table(buffer.ok_or(DAMAGED)?).ok_or(DAMAGED)?;
        let bytes = buffer.bytes(0).ok_or("an operand that is no constant")?;
        let (words, rest) = bytes.as_chunks::<4>();
        let count = shape.iter().try_fold(1usize, |n, &e| n.checked_mul(e));
        match count == Some(words.len()) && rest.is_empty() {
            true => Ok((
                shape,
                words.iter().map(|w| f32::from_le_bytes(*w)).collect(),
            )),
            false => Err(format!("a constant of {} bytes for {shape:?}", bytes.len())),
        }
    }
}

/// What a tensor stands for.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Node(NodeId),
    /// Its size.
    Magnitude(NodeId),
    /// `x - |x|`: twice what is negative of it.
    Negative(NodeId),
    /// The same times a number a channel.
    Sloped(NodeId, Vec<f32>),
}

struct Importer<'a> {
    file: File<'a>,
    values: Vec<Option<Value>>,
    graph: Graph,
}

impl<'a> Importer<'a> {
    fn operator(&mut self, operators: &Words<'a>, index: usize) -> Result<(), String> {
        let operator = operators.table(index).ok_or(DAMAGED)?;
        let code = operator.word(0, 0).and_then(|c| usize::try_from(c).ok());
        let code = self.file.codes.table(code.ok_or(DAMAGED)?).ok_or(DAMAGED)?;
        // Codes above 127 are in the later field alone.
        let code = code.word(3, 0).zip(code.byte(0, 0));
        let (new, old) = code.ok_or(DAMAGED)?;
        let inputs = operator.words(1).ok_or(DAMAGED)?.numbers();
        let inputs = inputs.iter().map(|&i| self.file.index(i));
        let inputs = inputs.collect::<Result<Vec<usize>, String>>()?;
        let outputs = operator.words(2).ok_or(DAMAGED)?.numbers();
        let &[output] = outputs.as_slice() else {
            return Err(format!("{} results", outputs.len()));
        };
        let output = self.file.index(output)?;
        let options = operator.table(4);
        let name = format!("{index}");
        let value = match new.max(i32::from(old)) {
            0 => self.add(&name, &inputs, options)?,
            3 => self.convolve(&name, &inputs, options, false)?,
            4 => self.convolve(&name, &inputs, options, true)?,
            18 => self.multiply(&inputs, options)?,
            19 => Value::Node(self.push_on(&name, Op::Relu, &inputs)?),
            22 => self.flatten(&inputs, output)?,
            41 => self.subtract(&inputs, options)?,
            101 => Value::Magnitude(self.node(&inputs, 0)?),
            other => return Err(format!("operator code {other} is not supported")),
        };
        self.values[output] = Some(value);
        Ok(())
    }

    fn result(&self) -> Result<NodeId, String> {
        let outputs = self.file.graph.words(2).ok_or(DAMAGED)?.numbers();
        match outputs.as_slice() {
            &[output] => match &self.values[self.file.index(output)?] {
                Some(Value::Node(id)) => Ok(*id),
                _ => Err("nothing makes its result".to_owned()),
            },
            other => Err(format!("it has {} results, not one", other.len())),
        }
    }

    fn value(&self, inputs: &[usize], at: usize) -> Result<&Value, String> {
        let tensor = *inputs.get(at).ok_or("an operand is missing")?;
        let value = self.values[tensor].as_ref();
        value.ok_or_else(|| format!("operand {at} is made by nothing before it"))
    }

    fn node(&self, inputs: &[usize], at: usize) -> Result<NodeId, String> {
        match self.value(inputs, at)? {
            Value::Node(id) => Ok(*id),
            _ => Err("half a PReLU is used for something else".to_owned()),
        }
    }

    fn push_on(&mut self, name: &str, op: Op, inputs: &[usize]) -> Result<NodeId, String> {
        let x = self.node(inputs, 0)?;
        Ok(self.graph.push(name, op, &[x]))
    }

    fn add(
        &mut self,
        name: &str,
        inputs: &[usize],
        options: Option<Table<'_>>,
    ) -> Result<Value, String> {
        plain(options)?;
        let (a, b) = (
            self.value(inputs, 0)?.clone(),
            self.value(inputs, 1)?.clone(),
        );
        match (a, b) {
            (Value::Node(a), Value::Node(b)) => {
                Ok(Value::Node(self.graph.push(name, Op::Add, &[a, b])))
            }
            (Value::Node(relu), Value::Sloped(x, halves))
            | (Value::Sloped(x, halves), Value::Node(relu)) => {
                let is_relu = matches!(self.graph.nodes[relu].op, Op::Relu);
                if !is_relu || self.graph.nodes[relu].inputs != [x] {
                    return Err("half a PReLU without the other".to_owned());
                }
                let slopes = halves.iter().map(|half| 2.0 * half).collect();
                let id = self.graph.push(name, Op::PRelu(slopes), &[x]);
                Ok(Value::Node(id))
            }
            (_, _) => Err("a sum of parts of PReLUs".to_owned()),
        }
    }

    fn subtract(&self, inputs: &[usize], options: Option<Table<'_>>) -> Result<Value, String> {
        plain(options)?;
        match (self.value(inputs, 0)?, self.value(inputs, 1)?) {
            (Value::Node(x), Value::Magnitude(same)) if x == same => Ok(Value::Negative(*x)),
            (_, _) => Err("a difference that is no part of a PReLU".to_owned()),
        }
    }

    fn multiply(&self, inputs: &[usize], options: Option<Table<'_>>) -> Result<Value, String> {
        plain(options)?;
        for (image, constant) in [(1, 0), (0, 1)] {
            let Ok(Value::Negative(x)) = self.value(inputs, image) else {
                continue;
            };
            let (_, slopes) = self.file.constant(inputs[constant])?;
            let shapes = self.graph.shapes().map_err(|e| e.to_string())?;
            return match slopes.len() == shapes[*x].c {
                true => Ok(Value::Sloped(*x, slopes)),
                false => Err(format!(
                    "{} slopes for {} channels",
                    slopes.len(),
                    shapes[*x].c
                )),
            };
        }
        Err("a product that is no part of a PReLU".to_owned())
    }

    /// One pixel may lose its axes, which our images carry throughout.
    fn flatten(&self, inputs: &[usize], output: usize) -> Result<Value, String> {
        let x = self.node(inputs, 0)?;
        let shape = self.graph.shapes().map_err(|e| e.to_string())?[x];
        match self.file.shape(output)?.as_slice() {
            &[_, c] if shape.elements() == Some(c) && shape.c == c => Ok(Value::Node(x)),
            other => Err(format!("{shape:?} made {other:?}")),
        }
    }

    fn convolve(
        &mut self,
        name: &str,
        inputs: &[usize],
        options: Option<Table<'_>>,
        depthwise: bool,
    ) -> Result<Value, String> {
        let options = options.ok_or("no options")?;
        let x = self.node(inputs, 0)?;
        let &[_, weights, bias] = inputs else {
            return Err(format!("{} operands, not three", inputs.len()));
        };
        let ((dims, weights), (_, bias)) =
            (self.file.constant(weights)?, self.file.constant(bias)?);
        let &[first, kh, kw, last] = dims.as_slice() else {
            return Err(format!("weights of {dims:?}"));
        };
        let shape = self.graph.shapes().map_err(|e| e.to_string())?[x];
        let window = window(options, [kh, kw], shape)?;
        // Depthwise options have the number of filters a channel before the activation.
        let (activation, dilations) = if depthwise { (4, [5, 6]) } else { (3, [4, 5]) };
        if dilations.iter().any(|&d| options.word(d, 1) != Some(1)) {
            return Err("only undilated windows are supported".to_owned());
        }
        let conv = match depthwise {
            // [1, kh, kw, channels]
            true => Conv {
                window,
                cin: 1,
                cout: last,
                groups: last,
                weights,
                bias,
            },
            // [out, kh, kw, in]
            false => Conv {
                window,
                cin: last,
                cout: first,
                groups: 1,
                weights: outputs_last(&weights, first),
                bias,
            },
        };
        let one_a_channel = !depthwise || (first == 1 && options.word(3, 1) == Some(1));
        if !one_a_channel || conv.bias.len() != conv.cout {
            return Err(format!(
                "weights of {dims:?} with {} biases",
                conv.bias.len()
            ));
        }
        let id = self.graph.push(name, Op::Conv(conv), &[x]);
        // What does not fit its input is found here.
        self.graph.shapes().map_err(|e| e.to_string())?;
        match options.byte(activation, NO_ACTIVATION) {
            Some(NO_ACTIVATION) => Ok(Value::Node(id)),
            Some(RELU) => {
                let name = format!("{name}/relu");
                Ok(Value::Node(self.graph.push(&name, Op::Relu, &[id])))
            }
            _ => Err("its activation is not supported".to_owned()),
        }
    }
}

fn window(options: Table<'_>, kernel: [usize; 2], shape: Shape) -> Result<Window, String> {
    let stride = |field| options.word(field, 0).and_then(|s| usize::try_from(s).ok());
    let strides = stride(2)
        .zip(stride(1))
        .filter(|&(down, right)| down > 0 && right > 0);
    let (down, right) = strides.ok_or("no strides")?;
    let mut window = Window {
        stride: [down, right],
        ..Window::valid(kernel)
    };
    let (Some(h), Some(w)) = (shape.h, shape.w) else {
        return Err("an input of no fixed size".to_owned());
    };
    if options.byte(0, SAME) == Some(SAME) {
        // ceil(extent / stride) results; the larger half of the padding comes after.
        for (axis, extent) in [h, w].into_iter().enumerate() {
            let (kernel, stride) = (kernel[axis], window.stride[axis]);
            let covered = (extent.div_ceil(stride) - 1) * stride + kernel;
            let padding = covered.saturating_sub(extent);
            window.before[axis] = padding / 2;
            window.after[axis] = padding - padding / 2;
        }
    }
    Ok(window)
}

/// `[out][taps and in]` as `[taps and in][out]`.
fn outputs_last(weights: &[f32], cout: usize) -> Vec<f32> {
    let row = weights.len() / cout;
    let column = |i: usize| weights[i..].iter().step_by(row).copied();
    (0..row).flat_map(column).collect()
}

/// Refuses an activation fused into an addition, a subtraction or a product.
fn plain(options: Option<Table<'_>>) -> Result<(), String> {
    match options.map(|o| o.byte(0, NO_ACTIVATION)) {
        None | Some(Some(NO_ACTIVATION)) => Ok(()),
        Some(_) => Err("a fused activation is not supported".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::reference;

    const NORMALISATION: Normalisation = Normalisation {
        mean: 0.0,
        scale: 1.0,
    };

    /// What a file is made of, written with a table's fields first and what they lead to after them.
    enum Part {
        Table(Vec<(u16, Part)>),
        Tables(Vec<Part>),
        Words(Vec<i32>),
        Bytes(Vec<u8>),
        Byte(i8),
        Word(i32),
    }

    use Part::{Byte, Bytes, Table as T, Tables, Word, Words as W};

    /// Appends a part and returns where offsets to it lead.
    fn write(part: Part, out: &mut Vec<u8>) -> usize {
        let length = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
        match part {
            T(fields) => {
                let count = fields.iter().map(|(field, _)| field + 1).max().unwrap_or(0);
                let vtable = out.len();
                let mut offsets = vec![0u16; usize::from(count)];
                for (at, (field, _)) in fields.iter().enumerate() {
                    offsets[usize::from(*field)] = 4 + 4 * at as u16;
                }
                let sizes = [4 + 2 * count, 4 + 4 * fields.len() as u16];
                out.extend(
                    sizes
                        .iter()
                        .chain(&offsets)
                        .flat_map(|half| half.to_le_bytes()),
                );
                let table = out.len();
                out.extend(length(table - vtable));
                out.resize(table + 4 + 4 * fields.len(), 0);
                for (at, (_, part)) in fields.into_iter().enumerate() {
                    let field = table + 4 + 4 * at;
                    let value = match part {
                        Byte(value) => i32::from(value).to_le_bytes(),
                        Word(value) => value.to_le_bytes(),
                        child => length(write(child, out) - field),
                    };
                    out[field..field + 4].copy_from_slice(&value);
                }
                table
            }
            Tables(tables) => {
                let start = out.len();
                out.extend(length(tables.len()));
                out.resize(start + 4 + 4 * tables.len(), 0);
                for (at, table) in tables.into_iter().enumerate() {
                    let element = start + 4 + 4 * at;
                    let offset = length(write(table, out) - element);
                    out[element..element + 4].copy_from_slice(&offset);
                }
                start
            }
            W(words) => {
                let start = out.len();
                out.extend(length(words.len()));
                out.extend(words.iter().flat_map(|w| w.to_le_bytes()));
                start
            }
            Bytes(bytes) => {
                let start = out.len();
                out.extend(length(bytes.len()));
                out.extend(bytes);
                start
            }
            Byte(_) | Word(_) => unreachable!("numbers are in tables"),
        }
    }

    fn tensor(shape: &[i32], buffer: i32) -> Part {
        T(vec![
            (0, W(shape.to_vec())),
            (1, Byte(0)),
            (2, Word(buffer)),
        ])
    }

    fn floats(values: &[f32]) -> Part {
        T(vec![(
            0,
            Bytes(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        )])
    }

    fn operator(code: i32, inputs: &[i32], output: i32, options: Vec<(u16, Part)>) -> Part {
        T(vec![
            (0, Word(code)),
            (1, W(inputs.to_vec())),
            (2, W(vec![output])),
            (4, T(options)),
        ])
    }

    /// A batch of two 3 x 3 pictures: a convolution of stride 2 with SAME padding, a PReLU spelt out, a depthwise
    /// convolution of all that is left, and its one pixel flattened.
    fn sample() -> Vec<u8> {
        let codes = [3, 19, 101, 41, 18, 0, 4, 22];
        let code = |c: &i32| T(vec![(0, Byte(*c as i8)), (3, Word(*c))]);
        let tensors = vec![
            tensor(&[2, 3, 3, 1], 0),
            tensor(&[2, 2, 2, 1], 1),
            tensor(&[2], 2),
            tensor(&[2, 2, 2, 2], 0),
            tensor(&[2, 2, 2, 2], 0),
            tensor(&[2, 2, 2, 2], 0),
            tensor(&[2, 2, 2, 2], 0),
            tensor(&[2], 3),
            tensor(&[2, 2, 2, 2], 0),
            tensor(&[2, 2, 2, 2], 0),
            tensor(&[1, 2, 2, 2], 4),
            tensor(&[2], 5),
            tensor(&[2, 1, 1, 2], 0),
            tensor(&[2, 2], 0),
        ];
        let stride = |n| vec![(1, Word(n)), (2, Word(n))];
        let valid = |mut options: Vec<(u16, Part)>| {
            options.push((0, Byte(1)));
            options
        };
        let operators = vec![
            operator(0, &[0, 1, 2], 3, stride(2)),
            operator(1, &[3], 4, vec![]),
            operator(2, &[3], 5, vec![]),
            operator(3, &[3, 5], 6, vec![]),
            operator(4, &[7, 6], 8, vec![]),
            operator(5, &[4, 8], 9, vec![]),
            operator(6, &[9, 10, 11], 12, valid(stride(1))),
            operator(7, &[12], 13, vec![]),
        ];
        let graph = T(vec![
            (0, Tables(tensors)),
            (1, W(vec![0])),
            (2, W(vec![13])),
            (3, Tables(operators)),
        ]);
        let buffers = vec![
            T(vec![]),
            // The first filter sums its four taps, the second takes the last from the first.
            floats(&[1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, -1.0]),
            floats(&[0.5, 0.0]),
            floats(&[0.25, 0.05]),
            floats(&[1.0, 1.0, 10.0, 10.0, 100.0, 100.0, 1000.0, 1000.0]),
            floats(&[0.0, 3.0]),
        ];
        let model = T(vec![
            (1, Tables(codes.iter().map(code).collect())),
            (2, Tables(vec![graph])),
            (4, Tables(buffers)),
        ]);
        let mut file = vec![0; 4];
        file.extend(b"TFL3");
        let root = u32::try_from(write(model, &mut file)).unwrap();
        file[..4].copy_from_slice(&root.to_le_bytes());
        file
    }

    #[test]
    fn a_network_computes_what_its_file_says() {
        let graph = import("sample", &sample(), NORMALISATION).unwrap();
        let picture: Vec<f32> = (1..=9).map(|v| v as f32).collect();
        let found = reference::run(&graph, [3, 3], &picture).unwrap();
        // Padded below and to the right, its windows start at 1, 3, 7 and 9. Sums 12, 9, 15, 9, and a half each. Differences
        // 1 - 5, 3 - 0, 7 - 0, 9 - 0; the slope is twice 0.05: -0.4, 3, 7, 9.
        let sums = 12.5 + 95.0 + 1550.0 + 9500.0;
        let differences = -0.4 + 30.0 + 700.0 + 9000.0 + 3.0;
        assert_eq!(found[0].data.len(), 2);
        assert!(
            (found[0].data[0] - sums).abs() < 1e-2,
            "{:?}",
            found[0].data
        );
        assert!(
            (found[0].data[1] - differences).abs() < 1e-2,
            "{:?}",
            found[0].data
        );
    }

    #[test]
    fn what_is_damaged_is_refused_or_another_network_but_no_panic() {
        let whole = sample();
        for cut in 0..whole.len() {
            let found = import("cut", &whole[..cut], NORMALISATION);
            assert!(matches!(found, Err(Error::Network { .. })), "cut at {cut}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 2, 127, 128, 255] {
                let mut changed = whole.clone();
                changed[at] = value;
                if let Ok(graph) = import("changed", &changed, NORMALISATION) {
                    let _ = graph.shapes();
                }
            }
        }
    }

    #[test]
    fn other_operators_are_named() {
        let mut file = sample();
        // The code of the first operator, 3, in both of its places.
        let codes = [3, 0, 0, 0, 3, 0, 0, 0];
        let at = file.windows(8).position(|w| w == codes).unwrap();
        (file[at], file[at + 4]) = (9, 9);
        let said = import("other", &file, NORMALISATION)
            .unwrap_err()
            .to_string();
        assert!(said.contains("operator 0: operator code 9"), "{said}");
    }
}
