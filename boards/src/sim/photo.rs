//! Opens one photo for the replay camera: upright, scaled down to the camera's size, as bright as asked.
//!
//! Damaged files and files that would fill the memory are refused with the reason; `camera.rs` then skips them.

use std::path::Path;

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

/// No photo of a door's visitor is larger; a file that claims to be is refused before any memory is taken.
const MAX_SIDE_PX: u32 = 12_000;
const MAX_ALLOC_BYTES: u64 = 512 << 20;

/// The photo at `path` as a camera of `width` x `height` would show it.
pub(super) fn open(path: &Path, width: u32, height: u32) -> Result<RgbImage, String> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE_PX);
    limits.max_image_height = Some(MAX_SIDE_PX);
    limits.max_alloc = Some(MAX_ALLOC_BYTES);
    let mut reader = ImageReader::open(path)
        .and_then(|r| r.with_guessed_format())
        .map_err(|e| e.to_string())?;
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let orientation = decoder.orientation().map_err(|e| e.to_string())?;
    let mut photo = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    photo.apply_orientation(orientation);
    Ok(fit(photo, width, height).into_rgb8())
}

/// Scaled down to fit, keeping its shape; never up.
pub(super) fn fit(photo: DynamicImage, width: u32, height: u32) -> DynamicImage {
    if photo.width() <= width && photo.height() <= height {
        photo
    } else {
        photo.resize(width, height, FilterType::Triangle)
    }
}

/// Every value times `factor`, rounded and kept in range.
pub(super) fn lit(mut image: RgbImage, factor: f32) -> RgbImage {
    if factor != 1.0 {
        let table: [u8; 256] =
            std::array::from_fn(|v| (v as f32 * factor).round().clamp(0.0, 255.0) as u8);
        for value in image.iter_mut() {
            *value = table[usize::from(*value)];
        }
    }
    image
}

/// An empty scene: a plain wall, lighter at the top, with a floor line. No face, no texture that looks like one.
pub(super) fn wall(width: u32, height: u32) -> RgbImage {
    let floor = height - height / 5;
    RgbImage::from_fn(width, height, |_, y| {
        let fall = (40 * y / height.max(1)) as u8;
        let base = if y < floor { 190 } else { 120 };
        image::Rgb([base - fall, base - fall, base - fall - 6])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn light_scales_and_saturates() {
        let image = RgbImage::from_raw(1, 2, vec![0, 10, 200, 100, 255, 1]).expect("six values");
        assert_eq!(lit(image.clone(), 1.0), image);
        assert_eq!(lit(image.clone(), 2.0).as_raw(), &[0, 20, 255, 200, 255, 2]);
        assert_eq!(lit(image.clone(), 0.1).as_raw(), &[0, 1, 20, 10, 26, 0]);
        assert_eq!(lit(image, 0.0).as_raw(), &[0; 6]);
    }

    #[test]
    fn large_photos_shrink_to_fit_and_small_ones_stay() {
        for (size, want) in [
            ((1280, 480), (640, 240)),
            ((300, 960), (150, 480)),
            ((64, 48), (64, 48)),
        ] {
            let photo = DynamicImage::new_rgb8(size.0, size.1);
            let fitted = fit(photo, 640, 480);
            assert_eq!((fitted.width(), fitted.height()), want, "{size:?}");
        }
    }

    #[test]
    fn bad_files_are_refused_with_a_reason() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut png = Vec::new();
        DynamicImage::new_rgb8(8, 8)
            .write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png)
            .expect("encodes");
        // Width and height of a PNG are bytes 16..24, big-endian.
        let mut bomb = png.clone();
        bomb[16..20].copy_from_slice(&20_000u32.to_be_bytes());
        bomb[20..24].copy_from_slice(&20_000u32.to_be_bytes());
        let cases = [
            ("empty.png", Vec::new()),
            ("text.jpg", b"not a photo".to_vec()),
            ("cut.png", png[..png.len() / 2].to_vec()),
            ("bomb.png", bomb),
        ];
        for (name, bytes) in cases {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).expect("a small file");
            assert!(open(&path, 640, 480).is_err(), "{name}");
        }
        let path = dir.path().join("good.png");
        std::fs::write(&path, &png).expect("a small file");
        assert_eq!(open(&path, 640, 480).expect("whole").dimensions(), (8, 8));
    }
}
