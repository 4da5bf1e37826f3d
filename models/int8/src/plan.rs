//! Plan files: a network compiled for the kernels, with its packed weights.
//!
//! ```text
//!   0  "FACELPLN"      8 bytes
//!   8  format          u32, little-endian like everything here
//!  12  CRC-32          u32, of all that follows
//!  16  source          32 bytes, SHA-256 of the file that the network came from
//!  48  table length    u64, bytes
//!  56  blob length     u64, bytes
//!  64  table           the `Network`, postcard
//!   x  blob            from the next 64-byte line: packed weights, biases, scales
//! ```
//!
//! A plan is a cache of a file with a digest and can be made again at any time, so damage is no disaster; but nothing
//! in it is believed: the table is checked, every extent and every weight, bias and scale, before a `Plan` exists.
//! The offsets that kernels use are not in the file at all; `resolve` works them out.

use std::{ops::Range, path::Path, sync::Arc};

use crate::{
    Error,
    map::{Bytes, map},
    network::{Conv, Depthwise, Extent, GROUP, Network, Step},
    pack::{self, LINE},
};

/// Version of the file format and of the packing.
pub const FORMAT: u32 = 2;

const MAGIC: &[u8; 8] = b"FACELPLN";
const HEADER: usize = 64;

/// A checked network with its numbers. Cheap to share; runners keep what they need of it alive.
#[derive(Debug)]
pub struct Plan {
    pub(crate) network: Network,
    source: [u8; 32],
    bytes: Bytes,
    blob: Range<usize>,
    /// By step; empty for a step that is no convolution.
    pub(crate) numbers: Vec<Numbers>,
}

/// A convolution's numbers by output channel, whole groups.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) bias: Vec<i32>,
    pub(crate) scale: Vec<f32>,
    pub(crate) negative: Vec<f32>,
    /// Sums of the channel's weights; empty for a depthwise convolution.
    pub(crate) sums: Vec<i32>,
}

impl Plan {
    /// Maps a plan file.
    ///
    /// # Errors
    /// [`Error::Io`], or what [`Plan::from_bytes`] refuses.
    pub fn open(path: &Path) -> Result<Arc<Plan>, Error> {
        let bytes = map(path).map_err(|error| Error::Io {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        Plan::read(bytes)
    }

    /// Reads a plan from memory, which it copies.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Format`] for bytes that are no plan of ours, else the rule of the contract broken.
    pub fn from_bytes(bytes: &[u8]) -> Result<Arc<Plan>, Error> {
        Plan::read(Bytes::copy(bytes))
    }

    /// SHA-256 of the file the network came from.
    #[must_use]
    pub fn source(&self) -> &[u8; 32] {
        &self.source
    }

    /// Height and width of the picture, `None` where any will do.
    #[must_use]
    pub fn size(&self) -> [Option<usize>; 2] {
        self.network.size.map(|side| side.map(|s| s as usize))
    }

    /// The outputs' names, in order.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.network.outputs.iter().map(|o| o.name.as_str())
    }

    /// Multiply-accumulates of the network as it is written, without padding, for a picture of `size`.
    ///
    /// # Errors
    /// As for [`crate::Runner::new`].
    pub fn macs(&self, size: [usize; 2]) -> Result<u64, Error> {
        crate::resolve::macs(&self.network, size)
    }

    pub(crate) fn blob(&self) -> &[u8] {
        &self.bytes.as_slice()[self.blob.clone()]
    }

    fn read(bytes: Bytes) -> Result<Arc<Plan>, Error> {
        let Parsed {
            source,
            network,
            numbers,
            blob,
        } = parse(bytes.as_slice())?;
        Ok(Arc::new(Plan {
            network,
            source,
            bytes,
            blob,
            numbers,
        }))
    }
}

/// What a plan's bytes say.
pub(crate) struct Parsed {
    source: [u8; 32],
    network: Network,
    numbers: Vec<Numbers>,
    blob: Range<usize>,
}

/// Reads and checks everything.
pub(crate) fn parse(all: &[u8]) -> Result<Parsed, Error> {
    let (source, table, blob) = split(all)?;
    let network: Network = postcard::from_bytes(&all[table])
        .map_err(|_| Error::Damaged("its table cannot be read"))?;
    network.check()?;
    let numbers: Result<Vec<Numbers>, Error> = network
        .steps
        .iter()
        .map(|step| match step {
            Step::Conv(conv) => numbers(&network, conv, &all[blob.clone()]),
            Step::Depthwise(conv) => depthwise_numbers(conv, &all[blob.clone()]),
            Step::MaxPool { .. } | Step::AveragePool { .. } | Step::Softmax(_) => {
                Ok(Numbers::default())
            }
        })
        .collect();
    Ok(Parsed {
        source,
        numbers: numbers?,
        network,
        blob,
    })
}

/// Source, table and blob of a file.
type Split = ([u8; 32], Range<usize>, Range<usize>);

/// Where everything is, if the header holds.
fn split(all: &[u8]) -> Result<Split, Error> {
    let Some((header, rest)) = all.split_at_checked(HEADER) else {
        return Err(Error::Damaged("it is cut off"));
    };
    if &header[..8] != MAGIC {
        return Err(Error::Damaged("it does not start like one"));
    }
    let u32_at = |at: usize| {
        header[at..at + 4]
            .iter()
            .rev()
            .fold(0, |n, &b| n << 8 | u32::from(b))
    };
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    if u32_at(8) != FORMAT {
        return Err(Error::Format { found: u32_at(8) });
    }
    let table = HEADER.checked_add(usize::try_from(u64_at(48)).unwrap_or(usize::MAX));
    let blob = table.and_then(|end| end.checked_next_multiple_of(64));
    let end = blob.and_then(|b| b.checked_add(usize::try_from(u64_at(56)).ok()?));
    let (Some(table), Some(blob), Some(end)) = (table, blob, end) else {
        return Err(Error::Damaged("its lengths are impossible"));
    };
    if end != all.len() {
        return Err(Error::Damaged("it is cut off, or something follows it"));
    }
    // `rest` and the digest: everything after the checksum itself.
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[16..]);
    crc.update(rest);
    if crc.finalize() != u32_at(12) {
        return Err(Error::Damaged("its checksum is wrong"));
    }
    let mut source = [0; 32];
    source.copy_from_slice(&header[16..48]);
    Ok((source, HEADER..table, blob..end))
}

/// The bytes of a plan file, in the blob's memory.
pub(crate) fn write(network: &Network, source: [u8; 32], mut blob: Vec<u8>) -> Vec<u8> {
    // Into a growing vector nothing runs out of room, and the types have no maps or unsized parts.
    let table = postcard::to_allocvec(network).unwrap_or_default();
    let mut bytes = Vec::with_capacity(HEADER + table.len() + 64);
    bytes.extend(MAGIC);
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(source);
    bytes.extend((table.len() as u64).to_le_bytes());
    bytes.extend((blob.len() as u64).to_le_bytes());
    bytes.extend(&table);
    bytes.resize(bytes.len().next_multiple_of(64), 0);
    blob.splice(0..0, bytes);
    let crc = crc32fast::hash(&blob[16..]);
    blob[12..16].copy_from_slice(&crc.to_le_bytes());
    blob
}

/// A convolution's numbers, every one within the contract.
fn numbers(network: &Network, conv: &Conv, blob: &[u8]) -> Result<Numbers, Error> {
    let groups = conv.groups();
    let quads = network.taps(conv).all_quads();
    let lines = extent(conv.weights, blob, groups * quads * LINE)?;
    let mut numbers = Numbers::read([conv.bias, conv.scale], conv.negative, groups, blob)?;
    for (group, lines) in lines.chunks_exact(quads * LINE).enumerate() {
        let Some((sums, magnitudes)) = pack::sums(lines) else {
            return Err(Error::Damaged("a weight is -128"));
        };
        for (n, magnitude) in magnitudes.iter().enumerate() {
            numbers.check(group * GROUP + n, *magnitude)?;
        }
        numbers.sums.extend(sums);
    }
    Ok(numbers)
}

/// The same of a depthwise convolution, which needs no sums.
fn depthwise_numbers(conv: &Depthwise, blob: &[u8]) -> Result<Numbers, Error> {
    let groups = conv.groups();
    let channels = groups * GROUP;
    let weights = extent(conv.weights, blob, conv.taps() * channels)?;
    let numbers = Numbers::read([conv.bias, conv.scale], conv.negative, groups, blob)?;
    let mut magnitudes = vec![0i32; channels];
    for tap in weights.chunks_exact(channels) {
        for (magnitude, weight) in magnitudes.iter_mut().zip(tap) {
            if weight.cast_signed() == i8::MIN {
                return Err(Error::Damaged("a weight is -128"));
            }
            *magnitude += i32::from(weight.cast_signed()).abs();
        }
    }
    for (channel, magnitude) in magnitudes.into_iter().enumerate() {
        numbers.check(channel, magnitude)?;
    }
    Ok(numbers)
}

impl Numbers {
    /// Without the sums.
    fn read(
        [bias, scale]: [Extent; 2],
        negative: Option<Extent>,
        groups: usize,
        blob: &[u8],
    ) -> Result<Numbers, Error> {
        let word = |w: &[u8]| u32::from_le_bytes([w[0], w[1], w[2], w[3]]);
        let words = |at: Extent| -> Result<Vec<u32>, Error> {
            let bytes = extent(at, blob, groups * GROUP * 4)?;
            Ok(bytes.chunks_exact(4).map(word).collect())
        };
        let floats = |at| -> Result<Vec<f32>, Error> {
            Ok(words(at)?.into_iter().map(f32::from_bits).collect())
        };
        Ok(Numbers {
            bias: words(bias)?.iter().map(|w| w.cast_signed()).collect(),
            scale: floats(scale)?,
            negative: negative.map(floats).transpose()?.unwrap_or_default(),
            sums: Vec::new(),
        })
    }

    /// Refuses a channel whose weights' magnitudes add up to so much that it could overflow.
    fn check(&self, channel: usize, magnitude: i32) -> Result<(), Error> {
        let most = i64::from(magnitude) * 255 + i64::from(self.bias[channel]).abs();
        let fits = |factor: f32| most as f64 * f64::from(factor.abs()) <= f64::from(1 << 30);
        let scaled = self.scale[channel] > 0.0 && fits(self.scale[channel]);
        let slope = self.negative.get(channel).copied().unwrap_or(0.0);
        match most <= i64::from(i32::MAX) && scaled && fits(slope) {
            true => Ok(()),
            false => Err(Error::Range { channel }),
        }
    }
}

fn extent(at: Extent, blob: &[u8], expected: usize) -> Result<&[u8], Error> {
    match at.range(blob.len()) {
        Some(range) if range.len() == expected => Ok(&blob[range]),
        Some(range) => Err(Error::Length {
            what: "an array of the plan",
            expected,
            found: range.len(),
        }),
        None => Err(Error::Damaged("an array lies outside it")),
    }
}
