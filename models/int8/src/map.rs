//! A plan's bytes: mapped from a file, or copied into memory on a 64-byte line.

use std::{fs::File, io, path::Path};

/// Bytes that stay where they are, the first on a 64-byte line.
#[derive(Debug)]
pub(crate) enum Bytes {
    Mapped(memmap2::Mmap),
    Owned { lines: Vec<Line>, len: usize },
}

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; 64]);

impl Bytes {
    pub(crate) fn copy(bytes: &[u8]) -> Bytes {
        let mut lines = Vec::with_capacity(bytes.len().div_ceil(64));
        for chunk in bytes.chunks(64) {
            let mut line = Line([0; 64]);
            line.0[..chunk.len()].copy_from_slice(chunk);
            lines.push(line);
        }
        Bytes::Owned {
            lines,
            len: bytes.len(),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned { lines, len } => &flat(lines)[..*len],
        }
    }
}

#[allow(unsafe_code)]
fn flat(lines: &[Line]) -> &[u8] {
    // Safety: a `Line` is 64 bytes, no padding, any value; the length is that of the slice.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 64) }
}

/// Maps a file, read only.
///
/// The file must not be changed while mapped. It is ours: written beside its place under another name, then renamed,
/// never written again. If someone with the rights to do so shortens it all the same, reading past its end kills the
/// process, which opens no door; if they change weights, embeddings are wrong, but no offset depends on the file.
#[allow(unsafe_code)]
pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    // Safety: the file is not changed while it is mapped, as said above.
    let map = unsafe { memmap2::Mmap::map(&file)? };
    Ok(Bytes::Mapped(map))
}
