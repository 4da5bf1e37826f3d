//! Photos in, pixels out: decoding with EXIF orientation, rectangles, cropping and area-averaging resize.
//!
//! Files are known by their content, never by their name. What is in the picture is `mtcnn`'s business.

use std::{fs, io::Cursor, path::Path};

use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage,
    error::LimitErrorKind,
};

use crate::Error;

mod jpeg;
mod resize;

pub use resize::{Region, Resizer, resize_area, resize_region};

/// Largest photo we decode, in pixels (width x height).
pub const MAX_PHOTO_PX: u64 = 64_000_000;

/// Longest side of a photo we decode, in pixels: what a JPEG can have.
pub const MAX_SIDE_PX: u32 = 65_535;

/// What a decoder may take for what stands before the picture, such as a colour profile, and for a row.
const HEADER_BYTES: u64 = 16 << 20;

/// Largest photo file we read, in bytes: no format needs more than four bytes a pixel and a header.
pub const MAX_PHOTO_BYTES: u64 = 4 * MAX_PHOTO_PX + (1 << 20);

/// Reads a JPEG, PNG, WebP or BMP file as upright RGB.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Photo`] if it is no photo, larger than [`MAX_PHOTO_PX`] or longer than
/// [`MAX_SIDE_PX`].
pub fn open(path: &Path) -> Result<RgbImage, Error> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let what = path.display().to_string();
    let metadata = fs::metadata(path).map_err(io)?;
    if metadata.is_file() && metadata.len() > MAX_PHOTO_BYTES {
        return Err(refuse(
            &what,
            format!(
                "the file has {} bytes; at most {MAX_PHOTO_BYTES} are read",
                metadata.len()
            ),
        ));
    }
    decode(&fs::read(path).map_err(io)?, &what)
}

/// Decodes JPEG, PNG, WebP or BMP bytes as upright RGB. `what` names them in errors.
///
/// A JPEG that ends before its end marker is refused: decoders fill the missing part with grey.
///
/// # Errors
/// [`Error::Photo`] as for [`open`].
pub fn decode(bytes: &[u8], what: &str) -> Result<RgbImage, Error> {
    if bytes.is_empty() {
        return Err(refuse(what, "the file is empty".to_owned()));
    }
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| refuse(what, e.to_string()))?;
    let format = reader.format();
    match format {
        Some(ImageFormat::Jpeg) => jpeg::check_complete(bytes).map_err(|why| refuse(what, why))?,
        Some(ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp) => {}
        Some(_) | None => {
            return Err(refuse(
                what,
                "it is not a JPEG, PNG, WebP or BMP picture".to_owned(),
            ));
        }
    }
    let decoding = |e| refuse(what, decoder_said(&e));
    let mut header = Limits::default();
    header.max_alloc = Some(HEADER_BYTES);
    reader.limits(header);
    let mut decoder = reader.into_decoder().map_err(decoding)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PHOTO_PX {
        return Err(refuse(
            what,
            format!(
                "{width} x {height} pixels are more than the {MAX_PHOTO_PX} allowed; scale it down"
            ),
        ));
    }
    if width.max(height) > MAX_SIDE_PX {
        let why =
            format!("{width} x {height} pixels: a side may have {MAX_SIDE_PX}; scale it down");
        return Err(refuse(what, why));
    }
    if pixels == 0 {
        return Err(refuse(what, "it has no pixels".to_owned()));
    }
    let mut limits = Limits::default();
    // 16-bit RGBA is the widest pixel the formats have; as much again for what a decoder keeps aside.
    limits.max_alloc = Some(2 * 8 * pixels + (1 << 20));
    decoder.set_limits(limits).map_err(decoding)?;
    let orientation = decoder.orientation().map_err(decoding)?;
    let mut photo = DynamicImage::from_decoder(decoder).map_err(decoding)?;
    photo.apply_orientation(orientation);
    Ok(flatten(photo))
}

/// RGB, with transparent parts on white: what a person sees, not the colour hidden below.
fn flatten(photo: DynamicImage) -> RgbImage {
    if !photo.color().has_alpha() {
        return photo.into_rgb8();
    }
    let rgba = photo.into_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0;
        let over = |c: u8| {
            let (c, a) = (u32::from(c), u32::from(a));
            // A mean of two bytes is a byte.
            ((c * a + 255 * (255 - a) + 127) / 255) as u8
        };
        image::Rgb([over(r), over(g), over(b)])
    })
}

fn decoder_said(error: &ImageError) -> String {
    match error {
        ImageError::Limits(limit) => match limit.kind() {
            LimitErrorKind::DimensionError | LimitErrorKind::InsufficientMemory => {
                format!(
                    "it claims more pixels than the {MAX_PHOTO_PX} allowed, or has too much before them"
                )
            }
            _ => "it is over the decoder's limits".to_owned(),
        },
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the file is cut off before the picture's end".to_owned()
        }
        _ => format!("it is damaged or cut off ({error})"),
    }
}

fn refuse(what: &str, why: String) -> Error {
    Error::Photo {
        what: what.to_owned(),
        why,
    }
}

/// A rectangle in pixels of an upright photo; may lie partly outside it.
///
/// Half open: `x` is the left edge of the first column, `x + w` the right edge of the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Rect {
    /// Area in square pixels; 0 if a side is negative.
    #[must_use]
    pub fn area(&self) -> f32 {
        self.w.max(0.0) * self.h.max(0.0)
    }

    /// The centre.
    #[must_use]
    pub fn centre(&self) -> [f32; 2] {
        [self.x + 0.5 * self.w, self.y + 0.5 * self.h]
    }

    /// Area shared with another rectangle.
    #[must_use]
    pub fn overlap(&self, other: &Rect) -> f32 {
        let w = (self.x + self.w).min(other.x + other.w) - self.x.max(other.x);
        let h = (self.y + self.h).min(other.y + other.h) - self.y.max(other.y);
        w.max(0.0) * h.max(0.0)
    }

    /// Intersection over union with another rectangle, in [0, 1].
    #[must_use]
    pub fn iou(&self, other: &Rect) -> f32 {
        let shared = self.overlap(other);
        let union = self.area() + other.area() - shared;
        if union > 0.0 { shared / union } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, codecs::jpeg::JpegEncoder};

    use super::*;

    fn gradient(w: u32, h: u32) -> RgbImage {
        RgbImage::from_fn(w, h, |x, y| {
            Rgb([(x * 255 / w) as u8, (y * 255 / h) as u8, 128])
        })
    }

    fn encoded(photo: &RgbImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        photo.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn why(bytes: &[u8]) -> String {
        match decode(bytes, "x") {
            Err(Error::Photo { why, .. }) => why,
            other => panic!("not refused: {:?}", other.map(|p| p.dimensions())),
        }
    }

    #[test]
    fn all_four_formats_are_read_by_content() {
        let photo = gradient(40, 30);
        for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP] {
            let back = decode(&encoded(&photo, format), "x").unwrap();
            assert_eq!(back, photo, "{format:?}");
        }
        let back = decode(&encoded(&photo, ImageFormat::Jpeg), "x").unwrap();
        assert_eq!(back.dimensions(), (40, 30));
        let worst = back
            .iter()
            .zip(photo.iter())
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(worst < Some(24), "{worst:?}");

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("called.txt");
        fs::write(&path, encoded(&photo, ImageFormat::Png)).unwrap();
        assert_eq!(open(&path).unwrap(), photo);
        assert!(matches!(
            open(&dir.path().join("missing.png")),
            Err(Error::Io { .. })
        ));
    }

    #[test]
    fn every_cut_of_every_format_is_refused() {
        let photo = gradient(40, 30);
        for format in [
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::Bmp,
            ImageFormat::WebP,
        ] {
            let bytes = encoded(&photo, format);
            // A PNG is whole without its last chunk, 12 bytes of no content.
            let whole = match format {
                ImageFormat::Png => bytes.len() - 12,
                _ => bytes.len(),
            };
            for cut in 0..whole {
                assert!(
                    decode(&bytes[..cut], "x").is_err(),
                    "{format:?} cut at {cut} of {}",
                    bytes.len()
                );
            }
        }
    }

    #[test]
    fn bad_files_are_told_apart() {
        assert_eq!(why(b""), "the file is empty");
        assert!(why(b"not a picture at all, only text").contains("not a JPEG"));
        assert!(why(b"GIF89a\x01\0\x01\0").contains("not a JPEG"));
        let jpeg = encoded(&gradient(200, 200), ImageFormat::Jpeg);
        assert!(why(&jpeg[..jpeg.len() / 2]).contains("cut off"));
        let png = encoded(&gradient(200, 200), ImageFormat::Png);
        assert!(why(&png[..png.len() / 2]).contains("cut off"));
    }

    #[test]
    fn bombs_are_refused_before_they_are_decoded() {
        let mut png = encoded(&gradient(4, 4), ImageFormat::Png);
        for side in [20_000u32, u32::MAX / 4] {
            png[16..20].copy_from_slice(&side.to_be_bytes());
            png[20..24].copy_from_slice(&side.to_be_bytes());
            let crc = crc32(&png[12..29]);
            png[29..33].copy_from_slice(&crc.to_be_bytes());
            let said = why(&png);
            assert!(said.contains("the 64000000 allowed"), "{said}");
        }
        let strip = encoded(&RgbImage::new(MAX_SIDE_PX + 1, 1), ImageFormat::Png);
        assert!(why(&strip).contains("65536 x 1"), "{}", why(&strip));
        let strip = encoded(&RgbImage::new(1, MAX_SIDE_PX), ImageFormat::Png);
        assert!(decode(&strip, "x").is_ok());
        let mut bmp = encoded(&gradient(4, 4), ImageFormat::Bmp);
        bmp[18..22].copy_from_slice(&20_000u32.to_le_bytes());
        bmp[22..26].copy_from_slice(&20_000u32.to_le_bytes());
        assert!(why(&bmp).contains("20000 x 20000"));
    }

    #[test]
    fn exif_orientation_is_honoured() {
        // Red above blue; each case says where red is once the tag is obeyed.
        let photo = RgbImage::from_fn(32, 64, |_, y| {
            if y < 32 {
                Rgb([255, 0, 0])
            } else {
                Rgb([0, 0, 255])
            }
        });
        struct Case {
            tag: u8,
            size: (u32, u32),
            red: (u32, u32),
        }
        let cases = [
            Case {
                tag: 1,
                size: (32, 64),
                red: (16, 8),
            },
            Case {
                tag: 3,
                size: (32, 64),
                red: (16, 56),
            },
            Case {
                tag: 6,
                size: (64, 32),
                red: (56, 16),
            },
            Case {
                tag: 8,
                size: (64, 32),
                red: (8, 16),
            },
        ];
        for Case { tag, size, red } in cases {
            let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
            exif.extend([tag, 0, 0, 0, 0, 0, 0, 0]);
            let mut plain = Vec::new();
            JpegEncoder::new_with_quality(&mut plain, 95)
                .encode_image(&photo)
                .unwrap();
            let mut jpeg = plain[..2].to_vec();
            jpeg.extend([0xff, 0xe1]);
            jpeg.extend(u16::try_from(exif.len() + 2).unwrap().to_be_bytes());
            jpeg.extend(&exif);
            jpeg.extend(&plain[2..]);
            let upright = decode(&jpeg, "x").unwrap();
            assert_eq!(upright.dimensions(), size, "tag {tag}");
            let [r, _, b] = upright.get_pixel(red.0, red.1).0;
            assert!(r > 200 && b < 50, "tag {tag}: {r} {b}");
        }
    }

    #[test]
    fn transparency_becomes_white() {
        let rgba = image::RgbaImage::from_fn(2, 1, |x, _| {
            image::Rgba([10, 20, 30, if x == 0 { 255 } else { 0 }])
        });
        let mut bytes = Cursor::new(Vec::new());
        rgba.write_to(&mut bytes, ImageFormat::Png).unwrap();
        let photo = decode(&bytes.into_inner(), "x").unwrap();
        assert_eq!(photo.get_pixel(0, 0).0, [10, 20, 30]);
        assert_eq!(photo.get_pixel(1, 0).0, [255, 255, 255]);
    }

    #[test]
    fn overlap_is_measured() {
        let rect = |x, y, w, h| Rect { x, y, w, h };
        let a = rect(0.0, 0.0, 10.0, 10.0);
        assert_eq!(a.iou(&a), 1.0);
        assert_eq!(a.iou(&rect(5.0, 0.0, 10.0, 10.0)), 50.0 / 150.0);
        assert_eq!(a.iou(&rect(10.0, 0.0, 10.0, 10.0)), 0.0);
        assert_eq!(a.iou(&rect(20.0, 20.0, 1.0, 1.0)), 0.0);
        assert_eq!(a.iou(&rect(0.0, 0.0, -5.0, 10.0)), 0.0);
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for &byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
            }
        }
        !crc
    }
}
