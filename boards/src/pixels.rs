//! Raw camera bytes to upright RGB. Integer arithmetic, no hardware: `linux/camera.rs` calls it, tests run anywhere.

use std::borrow::Cow;

use image::{ImageFormat, RgbImage};

/// The pixel formats we take from a camera, as V4L2 names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PixelFormat {
    /// Two pixels in four bytes: Y0 U Y1 V.
    Yuyv,
    /// One JPEG a frame.
    Mjpeg,
    /// R, G, B, one byte each.
    Rgb3,
}

/// How YUYV spreads light over its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// Black at 16, white at 235: what cameras send unless they say otherwise.
    Limited,
    /// 0 to 255, as in JPEG.
    Full,
}

/// What the bytes of a frame mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) format: PixelFormat,
    pub(crate) range: Range,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Bytes from one line to the next; 0 means no padding.
    pub(crate) stride: u32,
}

/// One frame's bytes as RGB.
///
/// # Errors
///
/// Too few bytes for the layout, or a JPEG that does not decode to the layout's size.
pub(crate) fn to_rgb(bytes: &[u8], layout: &Layout) -> Result<RgbImage, String> {
    match layout.format {
        PixelFormat::Yuyv => {
            // Two pixels share their colour, so a line holds whole pairs.
            let line = layout.width.div_ceil(2) as usize * 4;
            unpack(bytes, layout, line, |line, out| {
                yuyv_line(line, out, layout.range)
            })
        }
        PixelFormat::Rgb3 => unpack(bytes, layout, layout.width as usize * 3, |line, out| {
            out.copy_from_slice(line)
        }),
        PixelFormat::Mjpeg => jpeg(bytes, layout),
    }
}

fn unpack(
    bytes: &[u8],
    layout: &Layout,
    line_bytes: usize,
    convert: impl Fn(&[u8], &mut [u8]),
) -> Result<RgbImage, String> {
    let stride = (layout.stride as usize).max(line_bytes);
    let height = layout.height as usize;
    // The last line needs no padding after it.
    let need = (stride * height.saturating_sub(1)) + line_bytes;
    if layout.width == 0 || height == 0 || bytes.len() < need {
        return Err(format!("{} bytes came, {need} were expected", bytes.len()));
    }
    let mut image = RgbImage::new(layout.width, layout.height);
    let out_line = layout.width as usize * 3;
    for (line, out) in bytes.chunks(stride).zip(image.chunks_exact_mut(out_line)) {
        convert(&line[..line_bytes], out);
    }
    Ok(image)
}

/// ITU-R BT.601 in 8.8 fixed point; at most 1 away from the real-valued formula.
fn yuyv_line(line: &[u8], out: &mut [u8], range: Range) {
    let (offset, scale, [rv, gu, gv, bu]) = match range {
        Range::Limited => (16, 298, [409, 100, 208, 516]),
        Range::Full => (0, 256, [359, 88, 183, 454]),
    };
    for (pair, rgb) in line.chunks_exact(4).zip(out.chunks_mut(6)) {
        let (u, v) = (i32::from(pair[1]) - 128, i32::from(pair[3]) - 128);
        let (r, g, b) = (rv * v + 128, -gu * u - gv * v + 128, bu * u + 128);
        for (y, rgb) in [pair[0], pair[2]].into_iter().zip(rgb.chunks_exact_mut(3)) {
            let y = scale * (i32::from(y) - offset);
            for (channel, colour) in rgb.iter_mut().zip([r, g, b]) {
                *channel = ((y + colour) >> 8).clamp(0, 255) as u8;
            }
        }
    }
}

fn jpeg(bytes: &[u8], layout: &Layout) -> Result<RgbImage, String> {
    let whole = with_standard_tables(bytes);
    let image = image::load_from_memory_with_format(&whole, ImageFormat::Jpeg)
        .map_err(|e| e.to_string())?
        .into_rgb8();
    if image.dimensions() != (layout.width, layout.height) {
        let ((w, h), (want_w, want_h)) = (image.dimensions(), (layout.width, layout.height));
        return Err(format!("the JPEG is {w}x{h}, {want_w}x{want_h} was agreed"));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(format: PixelFormat, width: u32, height: u32, stride: u32) -> Layout {
        Layout {
            format,
            range: Range::Limited,
            width,
            height,
            stride,
        }
    }

    /// ITU-R BT.601 as written, in real numbers.
    fn reference(y: u8, u: u8, v: u8, range: Range) -> [f64; 3] {
        let (y, c) = match range {
            Range::Limited => ((f64::from(y) - 16.0) * 255.0 / 219.0, 255.0 / 224.0),
            Range::Full => (f64::from(y), 1.0),
        };
        let (u, v) = ((f64::from(u) - 128.0) * c, (f64::from(v) - 128.0) * c);
        let (kr, kb) = (0.299, 0.114);
        let (r, b) = (y + 2.0 * (1.0 - kr) * v, y + 2.0 * (1.0 - kb) * u);
        let g = (y - kr * r - kb * b) / (1.0 - kr - kb);
        [r, g, b].map(|x| x.clamp(0.0, 255.0))
    }

    #[test]
    fn yuyv_is_within_one_of_the_real_formula_everywhere() {
        for range in [Range::Limited, Range::Full] {
            let mut worst: f64 = 0.0;
            for y in (0..=255u8).step_by(3) {
                for u in (0..=255u8).step_by(5) {
                    for v in (0..=255u8).step_by(5) {
                        let mut out = [0; 6];
                        yuyv_line(&[y, u, 255 - y, v], &mut out, range);
                        let want =
                            [reference(y, u, v, range), reference(255 - y, u, v, range)].concat();
                        for (got, want) in out.iter().zip(want) {
                            worst = worst.max((f64::from(*got) - want).abs());
                        }
                    }
                }
            }
            // Half a step of rounding and the fixed-point coefficients.
            assert!(worst < 1.3, "{range:?}: {worst}");
        }
    }

    #[test]
    fn yuyv_known_colours() {
        // Values of the 75 % colour bars of ITU-R BT.801, limited range.
        let bars = [
            ("white", [180, 128, 128], [191, 191, 191]),
            ("yellow", [162, 44, 142], [191, 191, 0]),
            ("cyan", [131, 156, 44], [0, 191, 191]),
            ("green", [112, 72, 58], [0, 191, 0]),
            ("red", [65, 100, 212], [191, 0, 0]),
            ("blue", [35, 212, 114], [0, 0, 191]),
            ("black", [16, 128, 128], [0, 0, 0]),
        ];
        for (name, [y, u, v], want) in bars {
            let image =
                to_rgb(&[y, u, y, v], &layout(PixelFormat::Yuyv, 2, 1, 0)).expect("4 bytes");
            for (got, want) in image.get_pixel(1, 0).0.into_iter().zip(want) {
                assert!(
                    (i32::from(got) - want).abs() <= 2,
                    "{name}: {:?}",
                    image.get_pixel(1, 0)
                );
            }
        }
    }

    #[test]
    fn padding_odd_widths_and_missing_last_padding() {
        // Two lines of one pixel, stride 8; the second line's padding is missing.
        let bytes = [235, 128, 0, 128, 9, 9, 9, 9, 16, 128, 0, 128];
        let image = to_rgb(&bytes, &layout(PixelFormat::Yuyv, 1, 2, 8)).expect("enough bytes");
        assert_eq!(image.as_raw(), &[255, 255, 255, 0, 0, 0]);
        let rgb = to_rgb(&[1, 2, 3, 0, 4, 5, 6], &layout(PixelFormat::Rgb3, 1, 2, 4))
            .expect("enough bytes");
        assert_eq!(rgb.as_raw(), &[1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn short_and_empty_frames_are_refused() {
        let cases = [
            (
                "one byte short",
                vec![0; 11],
                layout(PixelFormat::Yuyv, 1, 2, 8),
            ),
            ("nothing", vec![], layout(PixelFormat::Rgb3, 1, 1, 0)),
            ("no size", vec![0; 64], layout(PixelFormat::Yuyv, 0, 4, 0)),
            ("no jpeg", vec![0; 64], layout(PixelFormat::Mjpeg, 4, 4, 0)),
            (
                "cut jpeg",
                gradient_jpeg()[..200].to_vec(),
                layout(PixelFormat::Mjpeg, 32, 16, 0),
            ),
            (
                "other size",
                gradient_jpeg(),
                layout(PixelFormat::Mjpeg, 16, 32, 0),
            ),
        ];
        for (name, bytes, layout) in cases {
            assert!(to_rgb(&bytes, &layout).is_err(), "{name}");
        }
    }

    fn gradient_jpeg() -> Vec<u8> {
        let image = RgbImage::from_fn(32, 16, |x, y| {
            image::Rgb([(x * 8) as u8, (y * 16) as u8, 128])
        });
        let mut bytes = Vec::new();
        image
            .write_to(&mut std::io::Cursor::new(&mut bytes), ImageFormat::Jpeg)
            .expect("encodes to memory");
        bytes
    }

    /// Removes every Huffman table segment, as webcams do. Our encoder writes the standard tables.
    fn without_tables(jpeg: &[u8]) -> Vec<u8> {
        let mut out = jpeg[..2].to_vec();
        let mut at = 2;
        while jpeg[at + 1] != 0xda {
            let end = at + 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            if jpeg[at + 1] != 0xc4 {
                out.extend_from_slice(&jpeg[at..end]);
            }
            at = end;
        }
        out.extend_from_slice(&jpeg[at..]);
        out
    }

    #[test]
    fn a_webcam_jpeg_without_tables_decodes_like_the_whole_one() {
        let whole = gradient_jpeg();
        let bare = without_tables(&whole);
        assert!(bare.len() + 400 < whole.len(), "tables were removed");
        let layout = layout(PixelFormat::Mjpeg, 32, 16, 0);
        let want = to_rgb(&whole, &layout).expect("whole");
        assert_eq!(to_rgb(&bare, &layout).expect("tables supplied"), want);
    }
}
