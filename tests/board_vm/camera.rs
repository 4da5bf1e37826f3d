//! What stands in front of the board's cameras: photos and drawn heads, as a camera of 640 x 480 pixels gives them.
//!
//! The encoders are the tests' own, so that a mistake in the daemon's decoders is not made twice.

use std::fs;
use std::path::Path;

use facelatch_host::pad::sitter::FRAME;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, replace, resize};
use image::{Rgb, RgbImage};

/// How a camera packs its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Yuyv,
    Mjpg,
}

impl Format {
    /// Its code, as Video4Linux has it.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Format::Yuyv => "YUYV",
            Format::Mjpg => "MJPG",
        }
    }

    /// The loopback camera that `guest/init` made for it.
    pub(crate) fn device(self) -> &'static str {
        match self {
            Format::Yuyv => "/dev/video10",
            Format::Mjpg => "/dev/video11",
        }
    }

    /// Its frame in the shared folder.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Format::Yuyv => "frame.yuyv",
            Format::Mjpg => "frame.mjpg",
        }
    }

    /// Puts a picture in front of its camera: the frames after the one it is writing show nothing else.
    pub(crate) fn show(self, share: &Path, picture: &RgbImage) {
        let frame = fitted(picture);
        let bytes = match self {
            Format::Yuyv => yuyv(&frame),
            Format::Mjpg => jpeg(&frame),
        };
        let next = share.join("frame.next");
        fs::write(&next, bytes).expect("a frame");
        fs::rename(next, share.join(self.file())).expect("a frame");
    }
}

/// The whole picture, as large as fits into a frame, on a grey wall.
fn fitted(picture: &RgbImage) -> RgbImage {
    let [width, height] = FRAME;
    let scale = (f64::from(width) / f64::from(picture.width()))
        .min(f64::from(height) / f64::from(picture.height()));
    let [w, h] = [picture.width(), picture.height()].map(|side| (f64::from(side) * scale) as u32);
    let mut frame = RgbImage::from_pixel(width, height, Rgb([96, 96, 96]));
    let scaled = resize(picture, w, h, FilterType::Triangle);
    replace(
        &mut frame,
        &scaled,
        i64::from(width - w) / 2,
        i64::from(height - h) / 2,
    );
    frame
}

/// `Y0 U Y1 V` for each two pixels of a row: BT.601, limited range.
fn yuyv(frame: &RgbImage) -> Vec<u8> {
    let pixels: Vec<&Rgb<u8>> = frame.pixels().collect();
    pixels
        .chunks_exact(2)
        .flat_map(|pair| {
            let [(y0, u0, v0), (y1, u1, v1)] = [yuv(pair[0]), yuv(pair[1])];
            [y0, (u0 + u1) / 2.0, y1, (v0 + v1) / 2.0].map(|value| value.round() as u8)
        })
        .collect()
}

/// ITU-R BT.601, 2.5: luma 16 to 235, colour differences 16 to 240.
fn yuv(Rgb(rgb): &Rgb<u8>) -> (f64, f64, f64) {
    let [r, g, b] = rgb.map(|value| f64::from(value) / 255.0);
    let y = 0.299 * r + 0.587 * g + 0.114 * b;
    (
        16.0 + 219.0 * y,
        128.0 + 224.0 * (b - y) / 1.772,
        128.0 + 224.0 * (r - y) / 1.402,
    )
}

fn jpeg(frame: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    frame
        .write_with_encoder(encoder)
        .expect("memory takes a picture");
    bytes
}
