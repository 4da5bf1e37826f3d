//! Framing, the same on TCP and serial: `COBS( message ++ CRC-32 little endian ) ++ 0x00`.
//!
//! [`Encoder`] makes frames, [`Deframer`] finds them in whatever a line delivers. A zero byte occurs only between frames,
//! so after any garbage the next zero is a fresh start. Both hold fixed buffers.

use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc};
use heapless::Vec;
use serde::{Serialize, de::DeserializeOwned};

use crate::MAX_ENVELOPE;

/// The checksum: CRC-32 as in Ethernet and zip.
const CRC: Crc<u32, crc::Table<16>> = Crc::<u32, crc::Table<16>>::new(&CRC_32_ISO_HDLC);
const CRC_LEN: usize = 4;
const MAX_PLAIN: usize = MAX_ENVELOPE + CRC_LEN;

/// Longest frame on the wire: COBS adds at most one byte in 254, and one; then the zero.
pub const MAX_FRAME: usize = MAX_PLAIN + MAX_PLAIN.div_ceil(254) + 1;

/// Why bytes between two zeros are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// Longer than any message.
    TooLong,
    /// Not COBS, or shorter than a checksum.
    Coding,
    /// The checksum is wrong.
    Checksum,
    /// A sound frame, but not a message of this version.
    Message,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameError::TooLong => "frame is too long",
            FrameError::Coding => "frame is not well-formed",
            FrameError::Checksum => "frame has a wrong checksum",
            FrameError::Message => "frame holds no known message",
        })
    }
}

impl core::error::Error for FrameError {}

/// Makes frames.
pub struct Encoder {
    plain: [u8; MAX_PLAIN],
    frame: [u8; MAX_FRAME],
}

impl Encoder {
    /// An encoder.
    #[must_use]
    pub const fn new() -> Encoder {
        Encoder {
            plain: [0; MAX_PLAIN],
            frame: [0; MAX_FRAME],
        }
    }

    /// One message as a frame, ready to be written.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] above [`MAX_ENVELOPE`]; nothing of this crate is.
    pub fn encode<M: Serialize>(&mut self, message: &M) -> Result<&[u8], FrameError> {
        let len = postcard::to_slice(message, &mut self.plain[..MAX_ENVELOPE])
            .map_err(|_| FrameError::TooLong)?
            .len();
        let checksum = CRC.checksum(&self.plain[..len]).to_le_bytes();
        self.plain[len..len + CRC_LEN].copy_from_slice(&checksum);
        let end = cobs::try_encode(&self.plain[..len + CRC_LEN], &mut self.frame)
            .map_err(|_| FrameError::TooLong)?;
        // MAX_FRAME leaves room for the zero behind the longest coded message.
        self.frame[end] = 0;
        Ok(&self.frame[..=end])
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder::new()
    }
}

/// Finds messages in a stream of bytes.
pub struct Deframer {
    frame: Vec<u8, MAX_FRAME>,
    /// The frame being read is longer than the buffer: drop until the next zero.
    overlong: bool,
}

impl Deframer {
    /// A deframer at the start of a stream.
    #[must_use]
    pub const fn new() -> Deframer {
        Deframer {
            frame: Vec::new(),
            overlong: false,
        }
    }

    /// Takes bytes off the front of `input` up to the end of the next frame, and returns its message.
    ///
    /// `None` means that `input` is used up and the frame goes on. Empty frames are skipped: a sender may put a zero in
    /// front of its first frame to end whatever the line held before.
    pub fn next<M: DeserializeOwned>(
        &mut self,
        input: &mut &[u8],
    ) -> Option<Result<M, FrameError>> {
        loop {
            let Some(zero) = input.iter().position(|&byte| byte == 0) else {
                self.keep(input);
                *input = &[];
                return None;
            };
            let (rest_of_frame, after) = input.split_at(zero);
            self.keep(rest_of_frame);
            *input = &after[1..];
            if self.is_idle() {
                continue;
            }
            let message = self.message();
            self.reset();
            return Some(message);
        }
    }

    /// True between two frames.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.frame.is_empty() && !self.overlong
    }

    /// Forgets a half-read frame.
    pub fn reset(&mut self) {
        self.frame.clear();
        self.overlong = false;
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.overlong || self.frame.extend_from_slice(bytes).is_err() {
            self.overlong = true;
            self.frame.clear();
        }
    }

    fn message<M: DeserializeOwned>(&mut self) -> Result<M, FrameError> {
        if self.overlong {
            return Err(FrameError::TooLong);
        }
        let len = cobs::decode_in_place(&mut self.frame).map_err(|_| FrameError::Coding)?;
        let (message, checksum) = self.frame[..len]
            .split_last_chunk::<CRC_LEN>()
            .ok_or(FrameError::Coding)?;
        if CRC.checksum(message) != u32::from_le_bytes(*checksum) {
            return Err(FrameError::Checksum);
        }
        match postcard::take_from_bytes(message) {
            Ok((message, [])) => Ok(message),
            Ok(_) | Err(_) => Err(FrameError::Message),
        }
    }
}

impl Default for Deframer {
    fn default() -> Self {
        Deframer::new()
    }
}
