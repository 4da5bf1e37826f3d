//! Raw camera bytes to upright RGB. No hardware: every camera's bytes come through here, and tests run anywhere.
//!
//! Light and colour are in `yuv`, Motion-JPEG is in `jpeg`; here are the layouts of a frame in memory.

mod jpeg;
mod yuv;

use image::RgbImage;
use serde::Deserialize;

pub use yuv::{Range, yuyv_line, yuyv_line_plain};

/// The pixel formats taken from a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelFormat {
    /// Two pixels in four bytes: Y0 U Y1 V.
    Yuyv,
    /// One JPEG a frame.
    Mjpg,
    /// All of Y, then U and V by turns at half the width and height.
    Nv12,
    /// All of Y, then all of U, then all of V, both at half the width and height.
    Yuv420,
    /// R, G, B, one byte each.
    Rgb3,
    /// Y alone.
    Grey,
}

impl PixelFormat {
    /// Every one, in no order of liking.
    pub const ALL: [PixelFormat; 6] = [
        PixelFormat::Yuyv,
        PixelFormat::Mjpg,
        PixelFormat::Nv12,
        PixelFormat::Yuv420,
        PixelFormat::Rgb3,
        PixelFormat::Grey,
    ];

    /// As V4L2 spells it.
    #[must_use]
    pub fn fourcc(self) -> [u8; 4] {
        match self {
            PixelFormat::Yuyv => *b"YUYV",
            PixelFormat::Mjpg => *b"MJPG",
            PixelFormat::Nv12 => *b"NV12",
            PixelFormat::Yuv420 => *b"YU12",
            PixelFormat::Rgb3 => *b"RGB3",
            PixelFormat::Grey => *b"GREY",
        }
    }
}

impl std::fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(str::from_utf8(&self.fourcc()).unwrap_or_default())
    }
}

/// What the bytes of a frame mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How pixels are written.
    pub format: PixelFormat,
    /// How light is spread over a byte; a JPEG's is its own affair.
    pub range: Range,
    /// Pixels in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Bytes from one line to the next, of the first plane where there are several; 0 means no padding.
    pub stride: u32,
}

impl Layout {
    /// Bytes of a whole frame without what pads the last line; `None` for a format whose frames differ in length.
    #[must_use]
    pub fn frame_bytes(&self) -> Option<usize> {
        let (width, height) = (self.width as usize, self.height as usize);
        let half = (width.div_ceil(2), height.div_ceil(2));
        let plane = |line: usize| self.stride_of(line) * height.saturating_sub(1) + line;
        Some(match self.format {
            PixelFormat::Mjpg => return None,
            // Two pixels share their colour, so a line holds whole pairs.
            PixelFormat::Yuyv => plane(half.0 * 4),
            PixelFormat::Rgb3 => plane(width * 3),
            PixelFormat::Grey => plane(width),
            PixelFormat::Nv12 => {
                let stride = self.stride_of(half.0 * 2);
                stride * (height + half.1.saturating_sub(1)) + half.0 * 2
            }
            PixelFormat::Yuv420 => {
                let stride = self.stride_of(half.0 * 2);
                stride * height + stride / 2 * (2 * half.1).saturating_sub(1) + half.0
            }
        })
    }

    fn stride_of(&self, line_bytes: usize) -> usize {
        (self.stride as usize).max(line_bytes)
    }
}

/// One frame's bytes as RGB.
///
/// # Errors
///
/// Too few bytes for the layout, or a JPEG that does not decode to the layout's size.
pub fn to_rgb(bytes: &[u8], layout: &Layout) -> Result<RgbImage, String> {
    let Some(need) = layout.frame_bytes() else {
        return jpeg::decode(bytes, layout.width, layout.height);
    };
    if layout.width == 0 || layout.height == 0 || bytes.len() < need {
        return Err(format!("{} bytes came, {need} were expected", bytes.len()));
    }
    let (width, range) = (layout.width as usize, layout.range);
    let half = width.div_ceil(2);
    let mut image = RgbImage::new(layout.width, layout.height);
    let out = image.chunks_exact_mut(width * 3);
    let lines = |line: usize| {
        bytes
            .chunks(layout.stride_of(line))
            .map(move |l| &l[..line])
    };
    match layout.format {
        // Frames of a JPEG have no fixed length: returned above.
        PixelFormat::Mjpg => {}
        PixelFormat::Rgb3 => out
            .zip(lines(width * 3))
            .for_each(|(o, l)| o.copy_from_slice(l)),
        PixelFormat::Yuyv => out
            .zip(lines(half * 4))
            .for_each(|(o, l)| yuyv_line(l, o, range)),
        PixelFormat::Grey => out
            .zip(lines(width))
            .for_each(|(o, l)| yuv::grey_line(l, o, range)),
        PixelFormat::Nv12 => {
            let stride = layout.stride_of(half * 2);
            let (luma, colour) = bytes.split_at(stride * layout.height as usize);
            for (row, out) in out.enumerate() {
                let colour = &colour[row / 2 * stride..][..half * 2];
                yuv::nv12_line(&luma[row * stride..][..width], colour, out, range);
            }
        }
        PixelFormat::Yuv420 => {
            let stride = layout.stride_of(half * 2);
            let (luma, colour) = bytes.split_at(stride * layout.height as usize);
            let (u, v) = colour.split_at(stride / 2 * layout.height.div_ceil(2) as usize);
            for (row, out) in out.enumerate() {
                let at = row / 2 * (stride / 2);
                let colour = (&u[at..][..half], &v[at..][..half]);
                yuv::yuv420_line(&luma[row * stride..][..width], colour, out, range);
            }
        }
    }
    Ok(image)
}

#[cfg(test)]
mod tests;
