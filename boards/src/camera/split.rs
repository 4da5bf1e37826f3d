//! Frames out of a stream of bytes that has no other marks than theirs: JPEGs by their markers, raw frames by their length.
//!
//! A stream may begin anywhere and break off anywhere. Pure: `program.rs` brings the bytes.

use crate::pixels::Layout;

/// A JPEG larger than this is none: a stream without an end.
const LARGEST_JPEG: usize = 16 << 20;

/// Cuts a stream into frames.
pub(super) enum Split {
    Jpeg(JpegSplit),
    /// Every so many bytes.
    Every(usize, Vec<u8>),
}

impl Split {
    pub(super) fn of(layout: &Layout) -> Split {
        match layout.frame_bytes() {
            Some(length) => Split::Every(length, Vec::new()),
            None => Split::Jpeg(JpegSplit::default()),
        }
    }

    /// Takes bytes, gives the frames that end in them, in order.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut frame: impl FnMut(Vec<u8>)) {
        match self {
            Split::Jpeg(split) => split.push(bytes, frame),
            Split::Every(length, held) => {
                while held.len() + bytes.len() >= *length {
                    let (head, rest) = bytes.split_at(*length - held.len());
                    held.extend_from_slice(head);
                    frame(std::mem::take(held));
                    bytes = rest;
                }
                held.extend_from_slice(bytes);
            }
        }
    }
}

/// Walks the structure of a JPEG (ITU-T T.81 annex B), so that a picture inside a segment ends nothing:
///
/// ```text
/// Seek --start of image--> Segments --start of scan--> Scan --end of image--> a frame
///   ^                        |    ^----any other marker--|
///   '----what cannot be------'    ^----start of image----'  (the frame before was cut off)
/// ```
#[derive(Default)]
pub(super) struct JpegSplit {
    held: Vec<u8>,
    at: At,
}

#[derive(Clone, Copy, Default)]
enum At {
    #[default]
    Seek,
    /// `held` begins with a start of image; the next marker is here.
    Segments(usize),
    /// Looked at up to here.
    Scan(usize),
}

/// What the bytes seen so far say.
enum Next {
    Look(At),
    /// The first so many bytes are a frame.
    Frame(usize),
    /// The first so many bytes are none.
    Drop(usize, At),
    More,
}

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

impl JpegSplit {
    fn push(&mut self, bytes: &[u8], mut frame: impl FnMut(Vec<u8>)) {
        self.held.extend_from_slice(bytes);
        loop {
            match self.next() {
                Next::Look(at) => self.at = at,
                Next::Frame(end) => {
                    let rest = self.held.split_off(end);
                    frame(std::mem::replace(&mut self.held, rest));
                    self.at = At::Seek;
                }
                Next::Drop(end, at) => {
                    self.held.drain(..end);
                    self.at = at;
                }
                Next::More if self.held.len() > LARGEST_JPEG => {
                    self.held.clear();
                    self.at = At::Seek;
                }
                Next::More => return,
            }
        }
    }

    fn next(&self) -> Next {
        match self.at {
            At::Seek => seek(&self.held),
            At::Segments(at) => segment(self.held.get(at..).unwrap_or_default(), at),
            At::Scan(at) => scan(&self.held[at..], at),
        }
    }
}

fn seek(held: &[u8]) -> Next {
    match held.windows(3).position(|w| w == [0xff, SOI, 0xff]) {
        Some(start) => Next::Drop(start, At::Segments(2)),
        // The mark may have come in part.
        None if held.len() > 2 => Next::Drop(held.len() - 2, At::Seek),
        None => Next::More,
    }
}

fn segment(rest: &[u8], at: usize) -> Next {
    // Past the mark that was no start of a frame.
    let no_jpeg = Next::Drop(2, At::Seek);
    match rest {
        [] | [0xff] => Next::More,
        [0xff, 0xff, ..] => Next::Look(At::Segments(at + 1)),
        [0xff, SOI, ..] => Next::Drop(at, At::Segments(2)),
        [0xff, 0x00 | EOI, ..] => no_jpeg,
        [0xff, 0x01 | 0xd0..=0xd7, ..] => Next::Look(At::Segments(at + 2)),
        [0xff, _] | [0xff, _, _] => Next::More,
        [0xff, marker, high, low, ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            match (*marker, length) {
                (_, 0 | 1) => no_jpeg,
                (SOS, _) if rest.len() < 2 + length => Next::More,
                (SOS, _) => Next::Look(At::Scan(at + 2 + length)),
                _ => Next::Look(At::Segments(at + 2 + length)),
            }
        }
        _ => no_jpeg,
    }
}

fn scan(rest: &[u8], at: usize) -> Next {
    let Some(mark) = rest.iter().position(|byte| *byte == 0xff) else {
        return match rest {
            [] => Next::More,
            _ => Next::Look(At::Scan(at + rest.len())),
        };
    };
    let here = at + mark;
    match rest[mark + 1..] {
        [] if mark == 0 => Next::More,
        [] => Next::Look(At::Scan(here)),
        [0xff, ..] => Next::Look(At::Scan(here + 1)),
        // A byte of the picture, or a restart in it.
        [0x00 | 0xd0..=0xd7, ..] => Next::Look(At::Scan(here + 2)),
        [EOI, ..] => Next::Frame(here + 2),
        [SOI, ..] => Next::Drop(here, At::Segments(2)),
        [_, ..] => Next::Look(At::Segments(here)),
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, Rgb, RgbImage};
    use proptest::prelude::*;

    use super::*;

    fn jpeg(seed: u32) -> Vec<u8> {
        let image = RgbImage::from_fn(24 + seed % 3 * 8, 16, |x, y| {
            let noise = (x * 31 + y * 17).wrapping_mul(seed * 2 + 1);
            Rgb([noise as u8, (noise >> 3) as u8, seed as u8])
        });
        let mut bytes = std::io::Cursor::new(vec![]);
        image
            .write_to(&mut bytes, ImageFormat::Jpeg)
            .expect("encodes to memory");
        bytes.into_inner()
    }

    /// A JPEG with a smaller one in a segment of its own, as a thumbnail is.
    fn with_thumbnail() -> Vec<u8> {
        let (outer, inner) = (jpeg(1), jpeg(2));
        let length = u16::try_from(inner.len() + 2)
            .expect("a small one")
            .to_be_bytes();
        [&outer[..2], &[0xff, 0xe1], &length, &inner, &outer[2..]].concat()
    }

    fn split(mut split: Split, stream: &[u8], chunk: usize) -> Vec<Vec<u8>> {
        let mut frames = vec![];
        for bytes in stream.chunks(chunk.max(1)) {
            split.push(bytes, |frame| frames.push(frame));
        }
        frames
    }

    fn split_jpegs(stream: &[u8], chunk: usize) -> Vec<Vec<u8>> {
        split(Split::Jpeg(JpegSplit::default()), stream, chunk)
    }

    #[test]
    fn a_picture_inside_a_picture_is_no_frame() {
        let frame = with_thumbnail();
        let stream = [&frame[..], &frame].concat();
        for chunk in [1, 7, stream.len()] {
            assert_eq!(split_jpegs(&stream, chunk), [&frame[..], &frame], "{chunk}");
        }
    }

    #[test]
    fn a_stream_without_an_end_is_given_up() {
        let mut stream = jpeg(1);
        let length = stream.len();
        stream.truncate(length - 2);
        stream.resize(LARGEST_JPEG + 2, 0);
        let frame = jpeg(2);
        stream.extend_from_slice(&frame);
        assert_eq!(split_jpegs(&stream, 1 << 16), [frame]);
    }

    /// A marker, and the most that its length can say.
    const LONGEST_SEGMENT: usize = 2 + (1 << 16);

    /// Where the scan of a frame begins.
    fn scan_of(frame: &[u8]) -> usize {
        let start = frame.windows(2).position(|w| w == [0xff, SOS]).unwrap();
        let length = u16::from_be_bytes([frame[start + 2], frame[start + 3]]);
        start + 2 + usize::from(length)
    }

    #[derive(Clone, Debug)]
    enum Piece {
        Whole(u32),
        /// One that breaks off after so many bytes of its scan.
        CutInScan(u32, usize),
        /// One that breaks off in its head, and what such a cut may cost: the length of a segment is read from what follows.
        CutInHead(u32, usize),
        Garbage(Vec<u8>),
    }

    fn piece() -> impl Strategy<Value = Piece> {
        prop_oneof![
            3 => (0..6u32).prop_map(Piece::Whole),
            1 => (0..6u32, 0..2_000usize).prop_map(|(seed, at)| Piece::CutInScan(seed, at)),
            1 => (0..6u32, 1..2_000usize).prop_map(|(seed, at)| Piece::CutInHead(seed, at)),
            // Anything but a mark: what looks like the start of a frame has to be taken for one.
            1 => prop::collection::vec(0..=0xfeu8, 0..200).prop_map(Piece::Garbage),
        ]
    }

    proptest! {
        #[test]
        fn whole_frames_come_out_whole_and_a_cut_costs_one_more_at_most(
            pieces in prop::collection::vec(piece(), 0..12),
            chunk in 1..900usize,
        ) {
            let (mut stream, mut whole, mut must) = (vec![], vec![], vec![]);
            let mut after_cut = false;
            for piece in &pieces {
                match piece {
                    Piece::Whole(seed) => {
                        stream.extend(jpeg(*seed));
                        whole.push(jpeg(*seed));
                        if !after_cut {
                            must.push(jpeg(*seed));
                        }
                        after_cut = false;
                    }
                    Piece::CutInScan(seed, at) => {
                        let frame = jpeg(*seed);
                        let end = scan_of(&frame) + at;
                        stream.extend_from_slice(&frame[..end.min(frame.len() - 1)]);
                        after_cut = true;
                    }
                    Piece::CutInHead(seed, at) => {
                        let frame = jpeg(*seed);
                        stream.extend_from_slice(&frame[..*at.min(&scan_of(&frame))]);
                        stream.resize(stream.len() + LONGEST_SEGMENT, 0);
                        after_cut = false;
                    }
                    // A scan that was cut off may end in half a mark, which this would complete.
                    Piece::Garbage(_) if after_cut => {}
                    Piece::Garbage(bytes) => stream.extend_from_slice(bytes),
                }
            }
            // Nothing is waited for any more.
            stream.resize(stream.len() + LONGEST_SEGMENT, 0);
            let frames = split_jpegs(&stream, chunk);
            for frame in &frames {
                prop_assert!(frame.starts_with(&[0xff, SOI, 0xff]) && frame.ends_with(&[0xff, EOI]));
            }
            // All that have to come have come, in order, and no whole one twice.
            let mut left = frames.iter();
            for frame in &must {
                prop_assert!(left.any(|f| f == frame), "a frame is missing");
            }
            prop_assert!(frames.len() <= whole.len() + pieces.len());
        }

        #[test]
        fn any_bytes_at_all_are_survived(
            stream in prop::collection::vec(prop_oneof![Just(0xffu8), Just(SOI), Just(SOS), Just(EOI), any::<u8>()], 0..3_000),
            chunk in 1..500usize,
        ) {
            let total: usize = split_jpegs(&stream, chunk).iter().map(Vec::len).sum();
            prop_assert!(total <= stream.len());
        }

        #[test]
        fn raw_frames_are_cut_by_their_length(count in 0..9usize, length in 1..50usize, chunk in 1..120usize) {
            let stream: Vec<u8> = (0..count * length + length / 2).map(|i| (i % 251) as u8).collect();
            let frames = split(Split::Every(length, vec![]), &stream, chunk);
            prop_assert_eq!(frames.len(), count);
            prop_assert_eq!(frames.concat(), &stream[..count * length]);
        }
    }
}
