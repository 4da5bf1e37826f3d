//! N of the last M verdicts on one tracked face -> [`Decision`]. Pure: no I/O, time is an argument.
//!
//! One frame never opens a door. A face is followed from frame to frame by where it is; when the frames stop agreeing
//! on where (a jump, a gap), the votes start again. A track is denied at most once, and never after it was granted.
//! An empty scene is decided too, once, so that "nobody there" is an answer like any other. Called by `run`.

use std::{collections::VecDeque, time::Duration};

use facelatch_models::{image::Rect, openset::Reject};

use crate::{
    identify::{Evidence, Verdict},
    quality,
};

/// How votes are counted; from `device.toml`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Verdicts for the same person needed for a grant; at least 1.
    pub needed: usize,
    /// Verdicts looked back on; at least `needed`.
    pub window: usize,
    /// A face not seen for longer than this is a new track when it comes back.
    pub max_gap: Duration,
    /// A granted track can be granted again after this long.
    pub repeat: Duration,
    /// Least intersection over union of a face's boxes in two frames.
    pub min_overlap: f32,
}

/// What one frame showed.
#[derive(Debug, Clone, PartialEq)]
pub enum Sighting {
    /// The face this frame is about.
    Face {
        /// Where, in pixels of the frame.
        rect: Rect,
        /// Who, or why not.
        verdict: Verdict,
    },
    /// No face.
    Nobody,
    /// Too dark to look for one.
    Dark,
}

/// The outcome for one track or scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Number of the track since start; `None` for an empty scene.
    pub track: Option<u32>,
    /// Who may pass, or why nobody.
    pub outcome: Outcome,
    /// The figures of the latest frame that led here.
    pub evidence: Evidence,
    /// Verdicts counted for this outcome.
    pub votes: usize,
}

/// Granted or denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Enough frames agree on this person.
    Granted {
        /// Person id.
        person: String,
    },
    /// They do not.
    Denied(Reason),
}

/// Why nobody was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No face in the scene.
    NoFace,
    /// A face, but not good enough to be judged; or a scene too dark.
    Quality(quality::Reason),
    /// A good face of nobody we know.
    Rejected(Reject),
    /// Frames named people, but too few of them the same.
    Unsteady,
}

/// Follows one face and counts.
#[derive(Debug)]
pub struct Vote {
    rules: Rules,
    tracks: u32,
    track: Option<Track>,
    scene: Scene,
}

#[derive(Debug)]
struct Track {
    id: u32,
    rect: Rect,
    seen: Duration,
    verdicts: VecDeque<Verdict>,
    granted: Option<Duration>,
    denied: bool,
}

/// Frames in a row without a face, and how many of them were dark.
#[derive(Debug, Default)]
struct Scene {
    empty: usize,
    dark: usize,
    reported: bool,
}

impl Vote {
    /// Starts without any track.
    #[must_use]
    pub fn new(rules: Rules) -> Vote {
        Vote {
            rules,
            tracks: 0,
            track: None,
            scene: Scene::default(),
        }
    }

    /// Counts one frame. `now` is monotonic.
    pub fn count(&mut self, sighting: Sighting, now: Duration) -> Option<Decision> {
        match sighting {
            Sighting::Face { rect, verdict } => {
                self.scene = Scene::default();
                self.face(rect, verdict, now)
            }
            Sighting::Nobody => self.empty(false, now),
            Sighting::Dark => self.empty(true, now),
        }
    }

    /// Starts again: somebody else stands there now. Returns the decision the votes so far amount to, if the frames were
    /// too few for one.
    pub fn visitor_changed(&mut self) -> Option<Decision> {
        let scene = std::mem::take(&mut self.scene);
        match self.track.take() {
            Some(track) if track.granted.is_some() || track.denied => None,
            Some(track) => Some(track.denial()),
            None if scene.reported || scene.empty == 0 => None,
            None => Some(scene.decision()),
        }
    }

    /// Forgets the votes of the current track: the people behind them have changed.
    pub fn forget(&mut self) {
        if let Some(track) = &mut self.track {
            track.verdicts.clear();
        }
    }

    fn empty(&mut self, dark: bool, now: Duration) -> Option<Decision> {
        if self
            .track
            .as_ref()
            .is_some_and(|t| now.saturating_sub(t.seen) > self.rules.max_gap)
        {
            self.track = None;
        }
        self.scene.empty += 1;
        self.scene.dark += usize::from(dark);
        if self.scene.reported || self.scene.empty < self.rules.window {
            return None;
        }
        self.scene.reported = true;
        Some(self.scene.decision())
    }

    fn face(&mut self, rect: Rect, verdict: Verdict, now: Duration) -> Option<Decision> {
        let rules = self.rules;
        let track = match self.track.take() {
            Some(track) if track.continues(&rect, now, &rules) => track,
            Some(_) | None => {
                self.tracks = self.tracks.wrapping_add(1);
                Track::new(self.tracks)
            }
        };
        let track = self.track.insert(track);
        track.rect = rect;
        track.seen = now;
        track.verdicts.push_back(verdict);
        if track.verdicts.len() > rules.window {
            track.verdicts.pop_front();
        }
        track.decide(now, &rules)
    }
}

impl Track {
    fn new(id: u32) -> Track {
        Track {
            id,
            rect: Rect {
                x: 0.0,
                y: 0.0,
                w: 0.0,
                h: 0.0,
            },
            seen: Duration::ZERO,
            verdicts: VecDeque::new(),
            granted: None,
            denied: false,
        }
    }

    fn continues(&self, rect: &Rect, now: Duration, rules: &Rules) -> bool {
        now.saturating_sub(self.seen) <= rules.max_gap && self.rect.iou(rect) >= rules.min_overlap
    }

    fn decide(&mut self, now: Duration, rules: &Rules) -> Option<Decision> {
        if let Some((person, votes, evidence)) = self.leader()
            && votes >= rules.needed
        {
            if self.granted.is_some_and(|at| now < at + rules.repeat) {
                return None;
            }
            self.granted = Some(now);
            self.verdicts.clear();
            let outcome = Outcome::Granted { person };
            return Some(Decision {
                track: Some(self.id),
                outcome,
                evidence,
                votes,
            });
        }
        if self.verdicts.len() < rules.window || self.denied || self.granted.is_some() {
            return None;
        }
        self.denied = true;
        Some(self.denial())
    }

    /// The person most verdicts name, how many do, and the latest one's figures.
    fn leader(&self) -> Option<(String, usize, Evidence)> {
        let named = |verdict: &Verdict| match verdict {
            Verdict::Known { person, evidence } => Some((person.clone(), evidence.clone())),
            Verdict::Unknown { .. } | Verdict::Refused(_) => None,
        };
        most_frequent(self.verdicts.iter().filter_map(named))
    }

    /// The reason most verdicts give, the latest one on a tie.
    fn denial(&self) -> Decision {
        let reason = |verdict: &Verdict| match verdict {
            Verdict::Known { .. } => None,
            Verdict::Unknown { reject, evidence } => {
                Some((Reason::Rejected(*reject), evidence.clone()))
            }
            Verdict::Refused(reason) => Some((Reason::Quality(*reason), Evidence::default())),
        };
        let (reason, votes, evidence) = match most_frequent(self.verdicts.iter().filter_map(reason))
        {
            Some(found) => found,
            None => {
                let (_, votes, evidence) = self.leader().unwrap_or_default();
                (Reason::Unsteady, votes, evidence)
            }
        };
        Decision {
            track: Some(self.id),
            outcome: Outcome::Denied(reason),
            evidence,
            votes,
        }
    }
}

impl Scene {
    fn decision(&self) -> Decision {
        let reason = if self.dark * 2 > self.empty {
            Reason::Quality(quality::Reason::Dark)
        } else {
            Reason::NoFace
        };
        Decision {
            track: None,
            outcome: Outcome::Denied(reason),
            evidence: Evidence::default(),
            votes: self.empty,
        }
    }
}

/// The key seen most often, how often, and what came with its latest sighting; the latest key on a tie.
fn most_frequent<K: PartialEq, V>(items: impl Iterator<Item = (K, V)>) -> Option<(K, usize, V)> {
    let mut counts: Vec<(K, usize, usize, V)> = vec![];
    for (order, (key, value)) in items.enumerate() {
        match counts.iter_mut().find(|entry| entry.0 == key) {
            Some(entry) => (entry.1, entry.2, entry.3) = (entry.1 + 1, order, value),
            None => counts.push((key, 1, order, value)),
        }
    }
    let best = counts.into_iter().max_by_key(|entry| (entry.1, entry.2))?;
    Some((best.0, best.1, best.3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules {
        needed: 3,
        window: 5,
        max_gap: Duration::from_millis(1000),
        repeat: Duration::from_millis(2000),
        min_overlap: 0.3,
    };

    fn rect(x: f32) -> Rect {
        Rect {
            x,
            y: 0.0,
            w: 100.0,
            h: 100.0,
        }
    }

    fn known(person: &str) -> Verdict {
        Verdict::Known {
            person: person.into(),
            evidence: Evidence::default(),
        }
    }

    /// One letter a frame: a, b = that person; s = stranger; t = turned away; `.` = nobody; d = dark; `|` = new visitor;
    /// `>` = the face jumps across the frame; `_` = two seconds pass.
    fn replay(frames: &str) -> Vec<String> {
        let mut vote = Vote::new(RULES);
        let mut now = Duration::ZERO;
        let mut at = 0.0;
        let mut decisions = vec![];
        for frame in frames.chars() {
            now += Duration::from_millis(100);
            let verdict = match frame {
                'a' | 'b' => known(&frame.to_string()),
                's' => Verdict::Unknown {
                    reject: Reject::TooDistant,
                    evidence: Evidence::default(),
                },
                't' => Verdict::Refused(quality::Reason::TurnedAway),
                '.' | 'd' => {
                    let empty = if frame == 'd' {
                        Sighting::Dark
                    } else {
                        Sighting::Nobody
                    };
                    decisions.extend(vote.count(empty, now));
                    continue;
                }
                '|' => {
                    decisions.extend(vote.visitor_changed());
                    continue;
                }
                '>' => {
                    at += 500.0;
                    continue;
                }
                '_' => {
                    now += Duration::from_secs(2);
                    continue;
                }
                other => panic!("no frame is called {other}"),
            };
            decisions.extend(vote.count(
                Sighting::Face {
                    rect: rect(at),
                    verdict,
                },
                now,
            ));
        }
        decisions
            .iter()
            .map(|d| format!("{:?}:{:?}", d.track, d.outcome))
            .collect()
    }

    #[test]
    fn frames_become_decisions() {
        let granted = |track: u32, person: &str| {
            let outcome = Outcome::Granted {
                person: person.into(),
            };
            format!("{:?}:{outcome:?}", Some(track))
        };
        let denied =
            |track: Option<u32>, reason| format!("{track:?}:{:?}", Outcome::Denied(reason));
        let stranger = Reason::Rejected(Reject::TooDistant);
        let turned = Reason::Quality(quality::Reason::TurnedAway);
        let dark = Reason::Quality(quality::Reason::Dark);
        let cases = [
            ("", vec![]),
            ("aa", vec![]),
            ("aaa", vec![granted(1, "a")]),
            ("atata", vec![granted(1, "a")]),
            ("atatta", vec![denied(Some(1), turned)]),
            ("aa>a", vec![]),
            ("aa_a", vec![]),
            ("aa.a", vec![granted(1, "a")]),
            ("aa>aaa", vec![granted(2, "a")]),
            ("aaaaaaa", vec![granted(1, "a")]),
            ("aaattttttttttttttttttttt", vec![granted(1, "a")]),
            (&"a".repeat(24), vec![granted(1, "a"), granted(1, "a")]),
            ("sssss", vec![denied(Some(1), stranger)]),
            ("ssssssssssss", vec![denied(Some(1), stranger)]),
            ("sttst", vec![denied(Some(1), turned)]),
            ("sssssaaa", vec![denied(Some(1), stranger), granted(1, "a")]),
            ("ababa", vec![granted(1, "a")]),
            ("abab|", vec![denied(Some(1), Reason::Unsteady)]),
            ("ss|", vec![denied(Some(1), stranger)]),
            ("sssss|", vec![denied(Some(1), stranger)]),
            (
                "aaa|aa|",
                vec![granted(1, "a"), denied(Some(2), Reason::Unsteady)],
            ),
            (".....", vec![denied(None, Reason::NoFace)]),
            ("...........", vec![denied(None, Reason::NoFace)]),
            ("..|", vec![denied(None, Reason::NoFace)]),
            ("ddddd", vec![denied(None, dark)]),
            (
                ".....|.....",
                vec![denied(None, Reason::NoFace), denied(None, Reason::NoFace)],
            ),
            ("||", vec![]),
        ];
        let mut failures = vec![];
        for (frames, expected) in cases {
            let found = replay(frames);
            if found != expected {
                failures.push(format!("{frames}: {found:?}, not {expected:?}"));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    proptest! {
        #[test]
        fn nobody_is_granted_without_enough_frames_of_them(frames in "[abst.d|>_]{0,60}") {
            let granted = replay(&frames).iter().filter(|d| d.contains("Granted")).count();
            let named = frames.chars().filter(|c| "ab".contains(*c)).count();
            prop_assert!(granted * RULES.needed <= named);
        }

        #[test]
        fn the_order_of_a_short_visit_does_not_make_two_people_one(frames in "[ab]{0,2}") {
            prop_assert!(replay(&frames).is_empty());
        }
    }
}
