//! What the networks are shown: levels of a photo's pyramid, and batches of crops.
//!
//! Memory is kept from frame to frame. Which levels and which crops is decided in `mtcnn`.

use image::RgbImage;

use crate::image::{Region, Resizer};

/// The pixels shown last.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    resizer: Resizer,
    pixels: Vec<u8>,
}

impl Pictures {
    /// The photo, `w` x `h` large.
    pub(super) fn level(&mut self, photo: &RgbImage, (w, h): (u32, u32)) -> &[u8] {
        self.pixels.resize((w * h * 3) as usize, 0);
        let whole = Region::whole(photo);
        self.resizer.resize(photo, whole, [w, h], &mut self.pixels);
        &self.pixels
    }

    /// Crops, each scaled to a square of `side`, as one batch.
    pub(super) fn crops(&mut self, photo: &RgbImage, regions: &[Region], side: u32) -> &[u8] {
        let each = (side * side * 3) as usize;
        self.pixels.resize(regions.len() * each, 0);
        for (crop, &region) in self.pixels.chunks_exact_mut(each).zip(regions) {
            self.resizer.resize(photo, region, [side, side], crop);
        }
        &self.pixels
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::image::{resize_area, resize_region};

    /// Soft shapes and a hard edge: what a photo has, which noise has not.
    fn scene(w: u32, h: u32) -> RgbImage {
        RgbImage::from_fn(w, h, |x, y| {
            let edge = if x + 2 * y > w { 90 } else { 0 };
            Rgb([
                (x * 150 / w + edge) as u8,
                (y * 150 / h + edge) as u8,
                edge as u8,
            ])
        })
    }

    #[test]
    fn a_level_is_the_resized_photo() {
        let photo = scene(100, 80);
        let mut pictures = Pictures::default();
        for (w, h) in [(50, 40), (17, 13), (71, 57)] {
            let level = pictures.level(&photo, (w, h));
            assert!(level == resize_area(&photo, w, h).as_raw(), "{w} x {h}");
        }
    }

    #[test]
    fn a_batch_holds_each_crop_as_it_is_alone() {
        let photo = scene(200, 150);
        let region = |x, y, side| Region {
            x,
            y,
            w: side,
            h: side,
        };
        let regions = [region(10, 10, 60), region(-5, 100, 80), region(0, 0, 24)];
        let mut pictures = Pictures::default();
        let batch = pictures.crops(&photo, &regions, 24);
        for (crop, &region) in batch.chunks_exact(24 * 24 * 3).zip(&regions) {
            let alone = resize_region(&photo, region, 24, 24);
            assert!(crop == alone.as_raw(), "{region:?}");
        }
    }
}
