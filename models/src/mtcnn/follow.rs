//! Looking again where faces were a moment ago: R-Net and O-Net on a few boxes about each place, without P-Net's pyramid.
//!
//! Finds what is still there, about as well as a whole search, for a fraction of its time. It finds nobody new: callers
//! search the whole photo every so often. Which places, and when, is the callers' business: the device's `track`.

use image::RgbImage;

use super::{Candidate, Detector, Face, enlarged};
use crate::{Error, image::Rect};

/// The boxes about a place: shift across and down, in parts of its longer side, and size. About as many as P-Net proposes for
/// a face: what O-Net makes of them is averaged, and few would not average out.
const ABOUT: [[f32; 3]; 15] = [
    [0.0, 0.0, 0.8],
    [0.0, 0.0, 0.9],
    [0.0, 0.0, 1.0],
    [0.0, 0.0, 1.12],
    [0.0, 0.0, 1.25],
    [-0.12, 0.0, 1.0],
    [0.12, 0.0, 1.0],
    [0.0, -0.12, 1.0],
    [0.0, 0.12, 1.0],
    [-0.08, -0.08, 1.1],
    [0.08, -0.08, 1.1],
    [-0.08, 0.08, 1.1],
    [0.08, 0.08, 1.1],
    [-0.06, 0.0, 0.9],
    [0.06, 0.0, 0.9],
];
/// Most places looked at, largest first.
const MOST: usize = 16;

impl Detector {
    /// Finds the faces that are about these places, boxes of [`Detector::detect`] from a moment ago, best score first.
    /// A face that moved by more than half its width, or that nobody knew of, may not be found.
    ///
    /// # Errors
    /// [`Error::Inference`] if a network fails.
    pub fn follow(&mut self, photo: &RgbImage, places: &[Rect]) -> Result<Vec<Face>, Error> {
        let (photo, [sx, sy]) = self.within_limit(photo);
        let mut places: Vec<Rect> = places
            .iter()
            .map(|place| Rect {
                x: place.x / sx,
                y: place.y / sy,
                w: place.w / sx,
                h: place.h / sy,
            })
            .collect();
        places.sort_by(|a, b| b.area().total_cmp(&a.area()));
        places.truncate(MOST);
        let boxes = places.iter().flat_map(about).collect();
        Ok(enlarged(self.search(&photo, boxes)?, [sx, sy]))
    }
}

fn about(place: &Rect) -> impl Iterator<Item = Candidate> {
    let [cx, cy] = place.centre();
    let longer = place.w.max(place.h);
    ABOUT.into_iter().map(move |[right, down, size]| {
        let (cx, cy, half) = (cx + right * longer, cy + down * longer, 0.5 * size * longer);
        Candidate {
            left: cx - half,
            top: cy - half,
            right: cx + half,
            bottom: cy + half,
            score: 1.0,
            offsets: [0.0; 4],
        }
    })
}
