//! A box on its way through the cascade: where it is, how sure the last network was, and how it wants to be moved.
//!
//! Pure geometry, called by `mtcnn` between two networks.

use image::RgbImage;

use super::nms::Scored;
use crate::image::{Rect, Region};

/// A possible face.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) right: f32,
    pub(super) bottom: f32,
    pub(super) score: f32,
    /// How far each edge should move, left, top, right, bottom, as a part of the box's side.
    pub(super) offsets: [f32; 4],
}

impl Candidate {
    /// What a network said about a crop.
    pub(super) fn in_region(region: Region, score: f32, offsets: [f32; 4]) -> Candidate {
        let (left, top) = (region.x as f32, region.y as f32);
        Candidate {
            left,
            top,
            right: left + region.w as f32,
            bottom: top + region.h as f32,
            score,
            offsets,
        }
    }

    fn width(&self) -> f32 {
        self.right - self.left
    }

    fn height(&self) -> f32 {
        self.bottom - self.top
    }

    /// From a pyramid level to the photo.
    pub(super) fn scaled(self, sx: f32, sy: f32) -> Candidate {
        Candidate {
            left: self.left * sx,
            top: self.top * sy,
            right: self.right * sx,
            bottom: self.bottom * sy,
            ..self
        }
    }

    /// The box with its edges moved as the network asked (box regression, section 3.1 of the paper).
    pub(super) fn calibrated(&self) -> Candidate {
        let (w, h) = (self.width(), self.height());
        let [left, top, right, bottom] = self.offsets;
        Candidate {
            left: self.left + left * w,
            top: self.top + top * h,
            right: self.right + right * w,
            bottom: self.bottom + bottom * h,
            score: self.score,
            offsets: [0.0; 4],
        }
    }

    /// The square about the same centre with the longer side.
    pub(super) fn square(&self) -> Candidate {
        let half = 0.5 * self.width().max(self.height());
        let [cx, cy] = self.rect().centre();
        Candidate {
            left: cx - half,
            top: cy - half,
            right: cx + half,
            bottom: cy + half,
            ..self.clone()
        }
    }

    /// The whole pixels to cut for the next network; `None` for a box that no network should have made: not finite,
    /// empty, off the photo, or larger than four photos.
    pub(super) fn region(&self, photo: &RgbImage) -> Option<Region> {
        let (pw, ph) = (photo.width() as f32, photo.height() as f32);
        let rect = self.rect();
        let most = 4.0 * pw.max(ph);
        let sane = |side: f32| side >= 1.0 && side <= most;
        let whole = Rect {
            x: 0.0,
            y: 0.0,
            w: pw,
            h: ph,
        };
        let usable = sane(rect.w) && sane(rect.h) && rect.overlap(&whole) > 0.0;
        if !usable {
            return None;
        }
        Some(Region {
            x: rect.x.round() as i32,
            y: rect.y.round() as i32,
            w: rect.w.round() as u32,
            h: rect.h.round() as u32,
        })
    }

    /// O-Net's ten numbers, five x then five y as parts of the box's sides, as points of the photo.
    pub(super) fn points(&self, numbers: [f32; 10]) -> [[f32; 2]; 5] {
        std::array::from_fn(|i| {
            [
                self.left + numbers[i] * self.width(),
                self.top + numbers[i + 5] * self.height(),
            ]
        })
    }
}

impl Scored for Candidate {
    fn rect(&self) -> Rect {
        Rect {
            x: self.left,
            y: self.top,
            w: self.width(),
            h: self.height(),
        }
    }

    fn score(&self) -> f32 {
        self.score
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(left: f32, top: f32, right: f32, bottom: f32) -> Candidate {
        Candidate {
            left,
            top,
            right,
            bottom,
            score: 0.9,
            offsets: [0.1, -0.1, 0.2, 0.5],
        }
    }

    #[test]
    fn edges_move_by_parts_of_the_side() {
        let moved = candidate(10.0, 20.0, 30.0, 60.0).calibrated();
        assert_eq!(
            (moved.left, moved.top, moved.right, moved.bottom),
            (12.0, 16.0, 34.0, 80.0)
        );
        assert_eq!(moved.calibrated(), moved, "offsets are used once");
    }

    #[test]
    fn squares_keep_the_centre() {
        let square = candidate(10.0, 20.0, 30.0, 60.0).square();
        assert_eq!(
            (square.left, square.top, square.right, square.bottom),
            (0.0, 20.0, 40.0, 60.0)
        );
    }

    #[test]
    fn insane_boxes_are_dropped() {
        let photo = RgbImage::new(100, 80);
        struct Case(f32, f32, f32, f32, Option<(i32, i32, u32, u32)>);
        let nan = f32::NAN;
        let cases = [
            Case(10.4, 20.6, 30.5, 40.5, Some((10, 21, 20, 20))),
            Case(-5.0, -5.0, 10.0, 10.0, Some((-5, -5, 15, 15))),
            Case(95.0, 75.0, 120.0, 100.0, Some((95, 75, 25, 25))),
            Case(200.0, 10.0, 220.0, 30.0, None),
            Case(-50.0, 10.0, 0.0, 60.0, None),
            Case(10.0, 10.0, 10.5, 10.5, None),
            Case(30.0, 30.0, 10.0, 10.0, None),
            Case(-1e9, -1e9, 1e9, 1e9, None),
            Case(nan, 0.0, 10.0, 10.0, None),
            Case(0.0, 0.0, f32::INFINITY, 10.0, None),
        ];
        for Case(l, t, r, b, expected) in cases {
            let found = candidate(l, t, r, b).region(&photo);
            let found = found.map(|r| (r.x, r.y, r.w, r.h));
            assert_eq!(found, expected, "{l} {t} {r} {b}");
        }
    }

    #[test]
    fn landmarks_are_five_x_then_five_y() {
        let numbers = [0.0, 1.0, 0.5, 0.25, 0.75, 0.0, 0.0, 0.5, 1.0, 1.0];
        let points = candidate(100.0, 200.0, 140.0, 280.0).points(numbers);
        assert_eq!(
            points,
            [
                [100.0, 200.0],
                [140.0, 200.0],
                [120.0, 240.0],
                [110.0, 280.0],
                [130.0, 280.0]
            ]
        );
    }
}
