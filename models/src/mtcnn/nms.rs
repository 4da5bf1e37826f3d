//! Non-maximum suppression: of boxes that overlap too much, the best score stays.
//!
//! Greedy and quadratic; `mtcnn` bounds the number of boxes before calling.

use crate::image::Rect;

/// A box with a score.
pub(super) trait Scored {
    fn rect(&self) -> Rect;
    fn score(&self) -> f32;
}

/// What an overlap is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overlap {
    /// The area of both boxes together.
    Union,
    /// The area of the smaller box: a box inside another one overlaps it wholly.
    Smaller,
}

/// Keeps the boxes that overlap no better one by more than `threshold`, best first; equal scores keep their order.
pub(super) fn suppress<T: Scored>(mut items: Vec<T>, threshold: f32, overlap: Overlap) -> Vec<T> {
    items.sort_by(|a, b| b.score().total_cmp(&a.score()));
    let mut kept: Vec<T> = Vec::new();
    // Left, top, right, bottom, area of the kept ones.
    let mut edges: Vec<[f32; 5]> = Vec::new();
    for item in items {
        let rect = item.rect();
        let (right, bottom, area) = (rect.x + rect.w, rect.y + rect.h, rect.area());
        let hidden = edges
            .iter()
            .any(|&[x, y, other_right, other_bottom, other_area]| {
                let w = right.min(other_right) - rect.x.max(x);
                let h = bottom.min(other_bottom) - rect.y.max(y);
                let shared = w.max(0.0) * h.max(0.0);
                let whole = match overlap {
                    Overlap::Union => area + other_area - shared,
                    Overlap::Smaller => area.min(other_area),
                };
                shared > threshold * whole
            });
        if !hidden {
            edges.push([rect.x, rect.y, right, bottom, area]);
            kept.push(item);
        }
    }
    kept
}

/// Keeps the `most` best scores.
pub(super) fn keep_best<T: Scored>(items: &mut Vec<T>, most: usize) {
    if items.len() > most {
        items.sort_by(|a, b| b.score().total_cmp(&a.score()));
        items.truncate(most);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::candidate::Candidate, *};

    fn square(left: f32, side: f32, score: f32) -> Candidate {
        Candidate {
            left,
            top: 0.0,
            right: left + side,
            bottom: side,
            score,
            offsets: [0.0; 4],
        }
    }

    #[test]
    fn the_best_of_overlapping_boxes_stays() {
        struct Case {
            name: &'static str,
            boxes: Vec<Candidate>,
            overlap: Overlap,
            kept: Vec<f32>,
        }
        let cases = [
            Case {
                name: "none",
                boxes: vec![],
                overlap: Overlap::Union,
                kept: vec![],
            },
            Case {
                name: "apart",
                boxes: vec![square(0.0, 10.0, 0.7), square(20.0, 10.0, 0.9)],
                overlap: Overlap::Union,
                kept: vec![0.9, 0.7],
            },
            Case {
                name: "one third shared",
                boxes: vec![square(0.0, 10.0, 0.7), square(5.0, 10.0, 0.9)],
                overlap: Overlap::Union,
                kept: vec![0.9, 0.7],
            },
            Case {
                name: "nine elevenths shared",
                boxes: vec![square(0.0, 10.0, 0.7), square(1.0, 10.0, 0.9)],
                overlap: Overlap::Union,
                kept: vec![0.9],
            },
            Case {
                name: "a suppressed box suppresses nobody",
                boxes: vec![
                    square(0.0, 10.0, 0.9),
                    square(3.0, 10.0, 0.8),
                    square(6.0, 10.0, 0.7),
                ],
                overlap: Overlap::Union,
                kept: vec![0.9, 0.7],
            },
            Case {
                name: "small inside large, union",
                boxes: vec![square(0.0, 10.0, 0.9), square(2.0, 4.0, 0.8)],
                overlap: Overlap::Union,
                kept: vec![0.9, 0.8],
            },
            Case {
                name: "small inside large, smaller",
                boxes: vec![square(0.0, 10.0, 0.9), square(2.0, 4.0, 0.8)],
                overlap: Overlap::Smaller,
                kept: vec![0.9],
            },
        ];
        for case in cases {
            let kept = suppress(case.boxes, 0.5, case.overlap);
            let scores: Vec<f32> = kept.iter().map(|c| c.score).collect();
            assert_eq!(scores, case.kept, "{}", case.name);
        }
    }

    #[test]
    fn only_the_best_are_kept() {
        let mut boxes: Vec<Candidate> = (0..10)
            .map(|i| square(0.0, 1.0, (i * 7 % 10) as f32))
            .collect();
        keep_best(&mut boxes, 3);
        let scores: Vec<f32> = boxes.iter().map(|c| c.score).collect();
        assert_eq!(scores, [9.0, 8.0, 7.0]);
    }
}
