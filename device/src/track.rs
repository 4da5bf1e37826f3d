//! Which face of this frame is which of the last, and where to look for faces next. Pure: faces and time are arguments.
//!
//! ```text
//! places, must_search --> Detector::follow (known places) or detect (the whole frame) --> assign --> an id for each face
//! ```
//!
//! A track is one face from frame to frame. The whole frame is searched when nobody is followed, when somebody who was
//! followed is out of sight, and every so often in any case, so that newcomers are seen. That no grant rests on a frame
//! that was only followed is `vote`'s rule. Called by `run`.

use std::time::Duration;

use facelatch_models::{image::Rect, mtcnn::Face};

/// How faces are followed; from `device.toml`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// A face not seen for longer than this is a new track when it comes back.
    pub max_gap: Duration,
    /// Least intersection over union of a face's boxes in two frames.
    pub min_overlap: f32,
    /// The whole frame is searched at least this often; zero for every frame.
    pub search_every: Duration,
}

/// Landmarks that moved farther on average, in eye distances of the larger face, are another face's.
const FARTHEST: f32 = 1.0;
/// A place looked at next may be this much of the last movement farther on.
const MOMENTUM: f32 = 0.8;

/// The faces in sight.
#[derive(Debug)]
pub struct Tracker {
    rules: Rules,
    tracks: u32,
    known: Vec<Known>,
    /// When the last frame was looked at, and when a whole one was.
    looked: Option<Duration>,
    searched: Option<Duration>,
}

#[derive(Debug)]
struct Known {
    id: u32,
    rect: Rect,
    landmarks: [[f32; 2]; 5],
    /// How far the box's centre went between the last two looks.
    moved: [f32; 2],
    seen: Duration,
}

impl Tracker {
    /// Follows nobody yet.
    #[must_use]
    pub fn new(rules: Rules) -> Tracker {
        Tracker {
            rules,
            tracks: 0,
            known: vec![],
            looked: None,
            searched: None,
        }
    }

    /// Whether the next frame has to be searched as a whole.
    #[must_use]
    pub fn must_search(&self, now: Duration) -> bool {
        let due = self
            .searched
            .is_none_or(|at| now.saturating_sub(at) >= self.rules.search_every);
        let out_of_sight = self
            .known
            .iter()
            .any(|known| Some(known.seen) != self.looked);
        due || out_of_sight || self.known.is_empty()
    }

    /// Whether somebody is in sight, or was a moment ago.
    #[must_use]
    pub fn follows(&self, now: Duration) -> bool {
        let is_near = |known: &Known| now.saturating_sub(known.seen) <= self.rules.max_gap;
        self.known.iter().any(is_near)
    }

    /// Where the faces are expected next.
    #[must_use]
    pub fn places(&self) -> Vec<Rect> {
        let place = |known: &Known| Rect {
            x: known.rect.x + MOMENTUM * known.moved[0],
            y: known.rect.y + MOMENTUM * known.moved[1],
            ..known.rect
        };
        self.known.iter().map(place).collect()
    }

    /// Gives each face of a frame the number of its track, counted from 1 since the start. `searched` says whether the
    /// whole frame was looked at.
    pub fn assign(&mut self, faces: &[Face], searched: bool, now: Duration) -> Vec<u32> {
        let rules = self.rules;
        self.known
            .retain(|known| now.saturating_sub(known.seen) <= rules.max_gap);
        let mut pairs = vec![];
        for (k, known) in self.known.iter().enumerate() {
            for (f, face) in faces.iter().enumerate() {
                let apart = apart(&known.landmarks, &face.landmarks);
                if known.rect.iou(&face.rect) >= rules.min_overlap && apart <= FARTHEST {
                    pairs.push((apart, k, f));
                }
            }
        }
        // The nearest pairs first; each face and each track once.
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut ids: Vec<Option<u32>> = vec![None; faces.len()];
        let mut taken = vec![false; self.known.len()];
        for (_, k, f) in pairs {
            if !taken[k] && ids[f].is_none() {
                taken[k] = true;
                ids[f] = Some(self.known[k].id);
                self.known[k].now_at(&faces[f], now);
            }
        }
        self.looked = Some(now);
        if searched {
            self.searched = Some(now);
        }
        let mut numbered = vec![];
        for (face, id) in faces.iter().zip(ids) {
            numbered.push(id.unwrap_or_else(|| self.begin(face, now)));
        }
        numbered
    }

    /// Somebody else stands there now: whoever is seen next is new.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    fn begin(&mut self, face: &Face, now: Duration) -> u32 {
        self.tracks = self.tracks.wrapping_add(1);
        self.known.push(Known {
            id: self.tracks,
            rect: face.rect,
            landmarks: face.landmarks,
            moved: [0.0; 2],
            seen: now,
        });
        self.tracks
    }
}

impl Known {
    fn now_at(&mut self, face: &Face, now: Duration) {
        let (from, to) = (self.rect.centre(), face.rect.centre());
        self.moved = [to[0] - from[0], to[1] - from[1]];
        self.rect = face.rect;
        self.landmarks = face.landmarks;
        self.seen = now;
    }
}

/// Mean distance of five points, in eye distances of the face whose eyes are farther apart; infinite for no face.
fn apart(a: &[[f32; 2]; 5], b: &[[f32; 2]; 5]) -> f32 {
    let length = |p: [f32; 2], q: [f32; 2]| (p[0] - q[0]).hypot(p[1] - q[1]);
    let eyes = length(a[0], a[1]).max(length(b[0], b[1]));
    let mean = a.iter().zip(b).map(|(p, q)| length(*p, *q)).sum::<f32>() / 5.0;
    let apart = mean / eyes;
    if apart.is_finite() {
        apart
    } else {
        f32::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        max_gap: Duration::from_millis(1000),
        min_overlap: 0.3,
        search_every: Duration::from_millis(400),
    };

    fn face(x: f32, side: f32) -> Face {
        let at = |u: f32, v: f32| [x + u * side, v * side];
        Face {
            rect: Rect {
                x,
                y: 0.0,
                w: side,
                h: side,
            },
            score: 1.0,
            landmarks: [
                at(0.3, 0.4),
                at(0.7, 0.4),
                at(0.5, 0.6),
                at(0.35, 0.75),
                at(0.65, 0.75),
            ],
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn faces_keep_their_numbers() {
        struct Case {
            what: &'static str,
            /// Time and the faces' places of each frame.
            frames: &'static [(u64, &'static [(f32, f32)])],
            ids: &'static [&'static [u32]],
        }
        let cases = [
            Case {
                what: "one that moves a little",
                frames: &[
                    (0, &[(0.0, 100.0)]),
                    (100, &[(20.0, 104.0)]),
                    (200, &[(40.0, 108.0)]),
                ],
                ids: &[&[1], &[1], &[1]],
            },
            Case {
                what: "one that jumps",
                frames: &[(0, &[(0.0, 100.0)]), (100, &[(500.0, 100.0)])],
                ids: &[&[1], &[2]],
            },
            Case {
                what: "one that grows faster than anybody comes nearer",
                frames: &[(0, &[(0.0, 100.0)]), (100, &[(0.0, 200.0)])],
                ids: &[&[1], &[2]],
            },
            Case {
                what: "away for a moment",
                frames: &[(0, &[(0.0, 100.0)]), (100, &[]), (1000, &[(10.0, 100.0)])],
                ids: &[&[1], &[], &[1]],
            },
            Case {
                what: "away for too long",
                frames: &[(0, &[(0.0, 100.0)]), (100, &[]), (1001, &[(10.0, 100.0)])],
                ids: &[&[1], &[], &[2]],
            },
            Case {
                what: "two side by side, told in another order",
                frames: &[
                    (0, &[(0.0, 100.0), (60.0, 100.0)]),
                    (100, &[(62.0, 100.0), (2.0, 100.0)]),
                ],
                ids: &[&[1, 2], &[2, 1]],
            },
            Case {
                what: "a second one",
                frames: &[(0, &[(0.0, 100.0)]), (100, &[(300.0, 80.0), (0.0, 100.0)])],
                ids: &[&[1], &[2, 1]],
            },
        ];
        let mut failures = vec![];
        for case in cases {
            let mut tracker = Tracker::new(RULES);
            let ids: Vec<Vec<u32>> = case
                .frames
                .iter()
                .map(|(at, places)| {
                    let faces: Vec<Face> = places.iter().map(|&(x, side)| face(x, side)).collect();
                    tracker.assign(&faces, true, ms(*at))
                })
                .collect();
            if ids != case.ids {
                failures.push(format!("{}: {ids:?}", case.what));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn the_whole_frame_is_searched_when_it_has_to_be() {
        let mut tracker = Tracker::new(RULES);
        let mut look = |at: u64, faces: &[Face]| {
            let searched = tracker.must_search(ms(at));
            tracker.assign(faces, searched, ms(at));
            searched
        };
        let one = [face(0.0, 100.0)];
        assert!(look(0, &[]), "nothing was seen yet");
        assert!(look(100, &one), "nobody is followed");
        for at in [200, 300, 400] {
            assert!(!look(at, &one), "{at}: followed");
        }
        assert!(look(500, &one), "400 ms have passed");
        assert!(!look(600, &[]), "followed, and not found");
        assert!(look(700, &one), "somebody is out of sight");
        assert!(!look(800, &one), "there again");
        assert!(tracker.follows(ms(1_800)) && !tracker.follows(ms(1_801)));
        tracker.forget();
        assert!(!tracker.follows(ms(900)));
        assert!(tracker.must_search(ms(900)));
        assert!(tracker.places().is_empty());

        let always = Rules {
            search_every: Duration::ZERO,
            ..RULES
        };
        let mut tracker = Tracker::new(always);
        tracker.assign(&one, true, ms(0));
        assert!(tracker.must_search(ms(0)));
    }

    #[test]
    fn a_face_that_moves_is_looked_for_farther_on() {
        let mut tracker = Tracker::new(RULES);
        tracker.assign(&[face(0.0, 100.0)], true, ms(0));
        assert_eq!(tracker.places(), [face(0.0, 100.0).rect]);
        tracker.assign(&[face(20.0, 100.0)], false, ms(100));
        assert_eq!(tracker.places(), [face(36.0, 100.0).rect]);
    }

    #[test]
    fn landmarks_of_no_face_are_new() {
        let mut broken = face(0.0, 100.0);
        broken.landmarks = [[f32::NAN; 2]; 5];
        let mut tracker = Tracker::new(RULES);
        assert_eq!(tracker.assign(&[broken.clone()], true, ms(0)), [1]);
        assert_eq!(tracker.assign(&[broken], true, ms(100)), [2]);
    }
}
