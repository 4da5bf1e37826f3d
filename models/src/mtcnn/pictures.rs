//! What the networks are shown: levels of a photo's pyramid, and batches of crops.
//!
//! Memory is kept from frame to frame. Which levels and which crops is decided in `mtcnn`.

use image::RgbImage;
use ndarray::{ArrayView4, ShapeError};

use crate::image::{Region, Resizer, halve};

/// Shorter side of the smallest halving made: of twice the smallest level.
const LEAST_HALF_PX: u32 = 24;

/// One photo's halvings, and the pixels shown last.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    resizer: Resizer,
    pixels: Vec<u8>,
    /// Each half of the one before, the first of the photo; `halvings` of them are of this photo.
    halves: Vec<RgbImage>,
    halvings: usize,
}

impl Pictures {
    /// Halves the photo as often as its sides are even. To be called before its levels are asked for.
    pub(super) fn halve(&mut self, photo: &RgbImage) {
        self.halvings = 0;
        loop {
            let n = self.halvings;
            if self.halves.len() == n {
                self.halves.push(RgbImage::default());
            }
            let (made, rest) = self.halves.split_at_mut(n);
            let last = made.last().unwrap_or(photo);
            let (w, h) = last.dimensions();
            if w.min(h) < 2 * LEAST_HALF_PX || !halve(last, &mut rest[0]) {
                return;
            }
            self.halvings += 1;
        }
    }

    /// The photo, `w` x `h` large: of its smallest halving that is still twice as large, else of itself.
    ///
    /// A mean of means, its pixels' edges at whole pixels of the halving: on photos a grey level or two from the mean.
    pub(super) fn level(
        &mut self,
        photo: &RgbImage,
        (w, h): (u32, u32),
    ) -> Result<ArrayView4<'_, u8>, ShapeError> {
        let large = |half: &&RgbImage| half.width() >= 2 * w && half.height() >= 2 * h;
        let halves = &self.halves[..self.halvings];
        let source = halves.iter().rev().find(large).unwrap_or(photo);
        self.pixels.resize((w * h * 3) as usize, 0);
        let whole = Region::whole(source);
        self.resizer.resize(source, whole, [w, h], &mut self.pixels);
        ArrayView4::from_shape((1, h as usize, w as usize, 3), &self.pixels)
    }

    /// Crops, each scaled to a square of `side`, as one batch.
    pub(super) fn crops(
        &mut self,
        photo: &RgbImage,
        regions: &[Region],
        side: u32,
    ) -> Result<ArrayView4<'_, u8>, ShapeError> {
        let each = (side * side * 3) as usize;
        self.pixels.resize(regions.len() * each, 0);
        for (crop, &region) in self.pixels.chunks_exact_mut(each).zip(regions) {
            self.resizer.resize(photo, region, [side, side], crop);
        }
        let side = side as usize;
        ArrayView4::from_shape((regions.len(), side, side, 3), &self.pixels)
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
    fn levels_are_near_the_exact_resize() {
        let mut pictures = Pictures::default();
        for (w, h) in [(640, 480), (640, 360), (250, 250), (321, 240), (100, 80)] {
            let photo = scene(w, h);
            pictures.halve(&photo);
            for (lw, lh) in [(128, 96), (91, 69), (46, 35), (17, 13)] {
                let exact = resize_area(&photo, lw, lh);
                let level = pictures.level(&photo, (lw, lh)).unwrap();
                let apart = |(a, b): (&u8, &u8)| u32::from(a.abs_diff(*b));
                let total: u32 = level.iter().zip(exact.as_raw()).map(apart).sum();
                let worst = level.iter().zip(exact.as_raw()).map(apart).max();
                let mean = f64::from(total) / f64::from(lw * lh * 3);
                assert!(mean < 0.75, "{w} x {h} to {lw} x {lh}: {mean} apart");
                // At the hard edge of 90 grey levels.
                assert!(
                    worst < Some(16),
                    "{w} x {h} to {lw} x {lh}: {worst:?} apart"
                );
            }
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
        let batch = pictures.crops(&photo, &regions, 24).unwrap();
        for (crop, &region) in batch.outer_iter().zip(&regions) {
            let alone = resize_region(&photo, region, 24, 24);
            assert!(crop.iter().eq(alone.as_raw()), "{region:?}");
        }
    }
}
