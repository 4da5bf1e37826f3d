//! From a face in a photo to the crop an embedder expects.
//!
//! Two ways to cut. FaceNet wants the detector's own box shape, not rotated: measured on 1,109 photos, squaring the box or
//! aligning the eyes loses it 5 points of its true matches at a false match rate of 1e-3. MobileFaceNet wants the five
//! landmarks where it knows them (`align/five_point.rs`): without, it tells nobody apart.

mod five_point;

use image::{GenericImage, RgbImage};

use crate::{
    image::{Rect, Region, resize_region},
    mtcnn::Face,
};

/// How an embedder wants its crops cut; read from the manifest.
///
/// Embedders of several networks want several views of a face; a crop holds them below one another, from its left edge.
#[derive(Debug, Clone, PartialEq)]
pub struct CropSpec(Vec<View>);

/// One network's view of a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// What it shows.
    pub cut: Cut,
}

/// How a view is cut out of a photo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cut {
    /// The detector's box, not rotated, clipped to the photo, resized by area averaging.
    Box {
        /// The box is enlarged by this factor about its centre (1.25 for FaceNet: 32 px of margin at 160).
        enlarge: f32,
    },
    /// The landmarks brought near to reference points, by a similarity.
    FivePoint,
}

impl From<View> for CropSpec {
    fn from(view: View) -> CropSpec {
        CropSpec(vec![view])
    }
}

impl CropSpec {
    /// The views of several specs, one after the other.
    #[must_use]
    pub fn stacked(specs: impl IntoIterator<Item = CropSpec>) -> CropSpec {
        CropSpec(specs.into_iter().flat_map(|spec| spec.0).collect())
    }

    /// The views, top to bottom.
    #[must_use]
    pub fn views(&self) -> &[View] {
        &self.0
    }

    /// Crop width in pixels: the widest view's.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.0.iter().map(|view| view.width).max().unwrap_or(0)
    }

    /// Crop height in pixels: that of all views.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.0.iter().map(|view| view.height).sum()
    }

    /// Where each view lies in a crop.
    pub(crate) fn regions(&self) -> impl Iterator<Item = Region> + '_ {
        self.0.iter().scan(0i32, |top, view| {
            let y = *top;
            // Views are a few hundred pixels high.
            *top += view.height as i32;
            Some(Region {
                x: 0,
                y,
                w: view.width,
                h: view.height,
            })
        })
    }
}

/// A face, cut and scaled for one embedder: [`CropSpec::width`] x [`CropSpec::height`] RGB.
#[derive(Debug, Clone, PartialEq)]
pub struct Crop(pub RgbImage);

/// Cuts the face out of the photo, once for every view; what no view covers is black.
///
/// The photo has at least one pixel. A face outside the photo gives the nearest pixels, never a panic.
#[must_use]
pub fn align(photo: &RgbImage, face: &Face, spec: &CropSpec) -> Crop {
    if let [view] = spec.views() {
        return Crop(cut(photo, face, view));
    }
    let mut sheet = RgbImage::new(spec.width(), spec.height());
    for (view, region) in spec.views().iter().zip(spec.regions()) {
        // The sheet is as wide as the widest view, and as high as all together.
        let placed = sheet.copy_from(&cut(photo, face, view), 0, region.y as u32);
        debug_assert!(placed.is_ok());
    }
    Crop(sheet)
}

fn cut(photo: &RgbImage, face: &Face, view: &View) -> RgbImage {
    match view.cut {
        Cut::Box { enlarge } => {
            let region = clipped(photo, &face.rect, enlarge);
            resize_region(photo, region, view.width, view.height)
        }
        Cut::FivePoint => five_point::five_point(photo, face, view.width, view.height),
    }
}

fn clipped(photo: &RgbImage, rect: &Rect, enlarge: f32) -> Region {
    let [cx, cy] = rect.centre();
    let (x, w) = clip(cx, rect.w * enlarge, photo.width());
    let (y, h) = clip(cy, rect.h * enlarge, photo.height());
    Region { x, y, w, h }
}

/// First pixel and number of pixels of `side` about `centre`, inside `0..length`, at least one.
fn clip(centre: f32, side: f32, length: u32) -> (i32, u32) {
    // Float to integer casts saturate, and NaN becomes 0.
    let last = i64::from(length) - 1;
    let from = ((centre - 0.5 * side).round() as i64).clamp(0, last);
    let to = ((centre + 0.5 * side).round() as i64).clamp(from + 1, last + 1);
    (from as i32, (to - from) as u32)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    const VIEW: View = View {
        width: 16,
        height: 16,
        cut: Cut::Box { enlarge: 1.25 },
    };

    fn face(x: f32, y: f32, w: f32, h: f32) -> Face {
        Face {
            rect: Rect { x, y, w, h },
            score: 1.0,
            landmarks: [[0.0; 2]; 5],
        }
    }

    #[test]
    fn boxes_are_enlarged_and_clipped() {
        struct Case {
            rect: (f32, f32, f32, f32),
            region: (i32, i32, u32, u32),
        }
        #[rustfmt::skip]
        let cases = [
            Case { rect: (20.0, 20.0, 40.0, 40.0), region: (15, 15, 50, 50) },
            Case { rect: (20.0, 20.0, 20.0, 40.0), region: (18, 15, 25, 50) },
            Case { rect: (-4.0, 2.0, 40.0, 40.0), region: (0, 0, 41, 47) },
            Case { rect: (70.0, 50.0, 40.0, 40.0), region: (65, 45, 35, 35) },
            Case { rect: (-99.0, 500.0, 10.0, 10.0), region: (0, 79, 1, 1) },
            Case { rect: (f32::NAN, f32::NAN, f32::NAN, f32::NAN), region: (0, 0, 1, 1) },
            Case { rect: (f32::MIN, f32::MIN, f32::MAX, f32::INFINITY), region: (0, 0, 100, 80) },
        ];
        let photo = RgbImage::new(100, 80);
        for Case { rect, region } in cases {
            let found = clipped(&photo, &face(rect.0, rect.1, rect.2, rect.3).rect, 1.25);
            assert_eq!((found.x, found.y, found.w, found.h), region, "{rect:?}");
        }
    }

    #[test]
    fn the_crop_shows_the_face() {
        let inside = |x: u32, y: u32| (30..70).contains(&x) && (10..50).contains(&y);
        let photo = RgbImage::from_fn(100, 80, |x, y| {
            if inside(x, y) {
                Rgb([200, 0, 0])
            } else {
                Rgb([0, 0, 90])
            }
        });
        let face = face(30.0, 10.0, 40.0, 40.0);
        let Crop(crop) = align(&photo, &face, &VIEW.into());
        assert_eq!(crop.dimensions(), (16, 16));
        assert_eq!(crop.get_pixel(8, 8).0, [200, 0, 0]);
        assert_eq!(crop.get_pixel(0, 0).0, [0, 0, 90]);

        let small = View { width: 8, ..VIEW };
        let spec = CropSpec::stacked([VIEW.into(), small.into()]);
        let Crop(both) = align(&photo, &face, &spec);
        assert_eq!(both.dimensions(), (16, 32));
        assert_eq!(both.get_pixel(4, 24).0, [200, 0, 0]);
        assert_eq!(
            both.get_pixel(12, 24).0,
            [0, 0, 0],
            "beside the smaller view"
        );
        let upper = both.enumerate_pixels().filter(|(_, y, _)| *y < 16);
        assert!(upper.eq(crop.enumerate_pixels()), "the first view is alone");
    }
}
