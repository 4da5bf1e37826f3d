//! One frame of Motion-JPEG to RGB.
//!
//! Cameras leave out what every frame would repeat; the rest is the `image` crate's decoder.

use std::borrow::Cow;

use image::{ImageFormat, RgbImage};

/// A JPEG of the size that was agreed.
pub(super) fn decode(bytes: &[u8], width: u32, height: u32) -> Result<RgbImage, String> {
    let whole = with_standard_tables(bytes);
    let image = image::load_from_memory_with_format(&whole, ImageFormat::Jpeg)
        .map_err(|e| e.to_string())?
        .into_rgb8();
    if image.dimensions() != (width, height) {
        let (w, h) = image.dimensions();
        return Err(format!("the JPEG is {w}x{h}, {width}x{height} was agreed"));
    }
    Ok(image)
}

/// Many webcams leave the standard Huffman tables (ITU-T T.81 annex K.3) out of every frame. The decoder supplies them
/// when the file says it is from a Motion-JPEG stream, which an `AVI1` marker does.
fn with_standard_tables(bytes: &[u8]) -> Cow<'_, [u8]> {
    const AVI1: [u8; 11] = *b"\xff\xe0\x00\x09AVI1\0\0\0";
    match bytes {
        [0xff, 0xd8, rest @ ..] if !has_huffman_tables(rest) => {
            Cow::Owned([&[0xff, 0xd8], AVI1.as_slice(), rest].concat())
        }
        _ => Cow::Borrowed(bytes),
    }
}

/// Walks the segments after the start of image, up to the start of the scan.
fn has_huffman_tables(mut rest: &[u8]) -> bool {
    const DHT: u8 = 0xc4;
    const SOS: u8 = 0xda;
    loop {
        match rest {
            [0xff, DHT, ..] => return true,
            [0xff, SOS, ..] => return false,
            [0xff, 0xff, ..] => rest = &rest[1..],
            [0xff, _, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                match rest.get(2 + length..) {
                    Some(next) if length >= 2 => rest = next,
                    // Damaged: the decoder will say how.
                    Some(_) | None => return true,
                }
            }
            _ => return true,
        }
    }
}
