//! N of the last M verdicts on each tracked face -> [`Decision`]s. Pure: no I/O, time is an argument.
//!
//! One frame never opens a door. Which face is which from frame to frame is `track`'s affair; a new track starts without
//! votes. A track is denied at most once, and never after it was granted. A grant is settled only by a frame that was
//! searched as a whole, so that it is known who else is there; where several faces count together, only once enough
//! frames named each of them. An empty scene is decided too, once, so that "nobody there" is an answer like any other.
//! Called by `run`.

use std::{collections::VecDeque, time::Duration};

use facelatch_models::openset::Reject;

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
    /// The votes of a face not seen for longer than this are forgotten.
    pub max_gap: Duration,
    /// A granted track can be granted again after this long.
    pub repeat: Duration,
}

/// What one frame showed.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// The faces this frame is about.
    Faces {
        /// Each once, the nearest first.
        faces: Vec<Sighting>,
        /// Whether the whole frame was searched for faces; if not, nobody is granted by it.
        searched: bool,
        /// Whether one of them is granted only with all of them known.
        together: bool,
    },
    /// No face.
    Nobody,
    /// Too dark to look for one.
    Dark,
}

/// One face of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// Its track.
    pub track: u32,
    /// Who, or why not.
    pub verdict: Verdict,
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
    /// Somebody we know, or a picture of them: it did not prove to be alive.
    NotLive,
}

/// Counts, track by track.
#[derive(Debug)]
pub struct Vote {
    rules: Rules,
    tracks: Vec<Track>,
    scene: Scene,
}

#[derive(Debug)]
struct Track {
    id: u32,
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

/// What a frame allows for the tracks in it.
#[derive(Debug, Clone, Copy)]
struct Terms {
    searched: bool,
    /// Everybody whom it takes is known.
    in_company: bool,
}

impl Vote {
    /// Starts without any track.
    #[must_use]
    pub fn new(rules: Rules) -> Vote {
        Vote {
            rules,
            tracks: vec![],
            scene: Scene::default(),
        }
    }

    /// Whether the next frame may settle a grant, and so has to be searched as a whole.
    #[must_use]
    pub fn may_grant(&self, now: Duration) -> bool {
        self.tracks.iter().any(|track| {
            let votes = track.leader().map_or(0, |(_, votes, _)| votes);
            votes + 1 >= self.rules.needed && !track.was_granted(now, &self.rules)
        })
    }

    /// Counts one frame; the decisions it settles, the nearest face's first. `now` is monotonic.
    pub fn count(&mut self, seen: Seen, now: Duration) -> Vec<Decision> {
        let rules = self.rules;
        self.tracks
            .retain(|track| now.saturating_sub(track.seen) <= rules.max_gap);
        match seen {
            Seen::Faces {
                faces,
                searched,
                together,
            } => {
                self.scene = Scene::default();
                self.faces(faces, searched, together, now)
            }
            Seen::Nobody => self.empty(false).into_iter().collect(),
            Seen::Dark => self.empty(true).into_iter().collect(),
        }
    }

    /// Starts again: somebody else stands there now. Returns the decisions the votes so far amount to, where the frames
    /// were too few for one.
    pub fn visitor_changed(&mut self) -> Vec<Decision> {
        let scene = std::mem::take(&mut self.scene);
        let tracks = std::mem::take(&mut self.tracks);
        if tracks.is_empty() {
            let undecided = !scene.reported && scene.empty > 0;
            return undecided.then(|| scene.decision()).into_iter().collect();
        }
        let undecided = |track: &&Track| track.granted.is_none() && !track.denied;
        tracks.iter().filter(undecided).map(Track::denial).collect()
    }

    /// Forgets all votes: the people behind them have changed.
    pub fn forget(&mut self) {
        for track in &mut self.tracks {
            track.verdicts.clear();
        }
    }

    /// Takes the votes of a track again from the begin, as if it had just come.
    pub fn again(&mut self, id: u32) {
        if let Some(track) = self.tracks.iter_mut().find(|track| track.id == id) {
            track.verdicts.clear();
            track.granted = None;
            track.denied = false;
        }
    }

    /// The outcome of a track was told: its votes start again, and nobody is granted by them for a while, as after a grant.
    pub fn told(&mut self, id: u32, now: Duration) {
        let track = self.track(id);
        track.seen = now;
        track.verdicts.clear();
        track.granted = Some(now);
    }

    fn empty(&mut self, dark: bool) -> Option<Decision> {
        self.scene.empty += 1;
        self.scene.dark += usize::from(dark);
        if self.scene.reported || self.scene.empty < self.rules.window {
            return None;
        }
        self.scene.reported = true;
        Some(self.scene.decision())
    }

    fn faces(
        &mut self,
        faces: Vec<Sighting>,
        searched: bool,
        together: bool,
        now: Duration,
    ) -> Vec<Decision> {
        let rules = self.rules;
        let seen: Vec<u32> = faces.iter().map(|face| face.track).collect();
        for face in faces {
            let track = self.track(face.track);
            track.seen = now;
            track.verdicts.push_back(face.verdict);
            if track.verdicts.len() > rules.window {
                track.verdicts.pop_front();
            }
        }
        let known = |id: &u32| {
            let track = self.tracks.iter().find(|track| track.id == *id);
            let leader = track.and_then(Track::leader);
            leader.is_some_and(|(_, votes, _)| votes >= rules.needed)
        };
        let terms = Terms {
            searched,
            in_company: !together || seen.iter().all(known),
        };
        let mut decisions = vec![];
        for id in seen {
            decisions.extend(self.track(id).decide(terms, now, &rules));
        }
        decisions
    }

    fn track(&mut self, id: u32) -> &mut Track {
        let at = self.tracks.iter().position(|track| track.id == id);
        let at = at.unwrap_or_else(|| {
            self.tracks.push(Track::new(id));
            self.tracks.len() - 1
        });
        &mut self.tracks[at]
    }
}

impl Track {
    fn new(id: u32) -> Track {
        Track {
            id,
            seen: Duration::ZERO,
            verdicts: VecDeque::new(),
            granted: None,
            denied: false,
        }
    }

    /// Whether it was granted so lately that it is not granted again.
    fn was_granted(&self, now: Duration, rules: &Rules) -> bool {
        self.granted.is_some_and(|at| now < at + rules.repeat)
    }

    fn decide(&mut self, terms: Terms, now: Duration, rules: &Rules) -> Option<Decision> {
        let leader = self.leader().filter(|(_, votes, _)| *votes >= rules.needed);
        match leader {
            Some(_) if self.was_granted(now, rules) || !terms.searched => None,
            Some((person, votes, evidence)) if terms.in_company => {
                self.granted = Some(now);
                self.verdicts.clear();
                Some(Decision {
                    track: Some(self.id),
                    outcome: Outcome::Granted { person },
                    evidence,
                    votes,
                })
            }
            Some(_) | None => {
                if self.verdicts.len() < rules.window || self.denied || self.granted.is_some() {
                    return None;
                }
                self.denied = true;
                let denial = self.denial();
                Some(match leader {
                    // Known, but not alone.
                    Some((_, votes, evidence)) => Decision {
                        outcome: Outcome::Denied(Reason::Quality(quality::Reason::SeveralFaces)),
                        evidence,
                        votes,
                        ..denial
                    },
                    None => denial,
                })
            }
        }
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
    };

    fn known(person: &str) -> Verdict {
        Verdict::Known {
            person: person.into(),
            evidence: Evidence::default(),
        }
    }

    fn alone(track: u32, verdict: Verdict) -> Seen {
        Seen::Faces {
            faces: vec![Sighting { track, verdict }],
            searched: true,
            together: false,
        }
    }

    /// One letter a frame: a, b = that person; s = stranger; t = turned away; `.` = nobody; d = dark; `|` = new visitor;
    /// `>` = another track; `_` = two seconds pass.
    fn replay(frames: &str) -> Vec<String> {
        let mut vote = Vote::new(RULES);
        let mut now = Duration::ZERO;
        let mut track = 1;
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
                        Seen::Dark
                    } else {
                        Seen::Nobody
                    };
                    decisions.extend(vote.count(empty, now));
                    continue;
                }
                '|' => {
                    decisions.extend(vote.visitor_changed());
                    track += 1;
                    continue;
                }
                '>' => {
                    track += 1;
                    continue;
                }
                '_' => {
                    now += Duration::from_secs(2);
                    continue;
                }
                other => panic!("no frame is called {other}"),
            };
            decisions.extend(vote.count(alone(track, verdict), now));
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
            ("aa_aaa", vec![granted(1, "a")]),
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

    /// One word a frame: its letters are faces, nearest first, as in [`replay`]; `-` before it for a frame that was only
    /// followed.
    fn together(frames: &str) -> Vec<String> {
        let mut vote = Vote::new(RULES);
        let mut decisions = vec![];
        for (i, frame) in frames.split_whitespace().enumerate() {
            let now = Duration::from_millis(100 * i as u64);
            let searched = !frame.starts_with('-');
            let faces = frame.trim_start_matches('-').chars().zip(1..);
            let faces = faces
                .map(|(who, track)| Sighting {
                    track,
                    verdict: match who {
                        's' => Verdict::Unknown {
                            reject: Reject::TooDistant,
                            evidence: Evidence::default(),
                        },
                        't' => Verdict::Refused(quality::Reason::TurnedAway),
                        person => known(&person.to_string()),
                    },
                })
                .collect();
            let seen = Seen::Faces {
                faces,
                searched,
                together: true,
            };
            decisions.extend(vote.count(seen, now));
        }
        let told = |d: &Decision| match &d.outcome {
            Outcome::Granted { person } => format!("{:?}+{person}", d.track.unwrap_or(0)),
            Outcome::Denied(reason) => format!("{:?}-{reason:?}", d.track.unwrap_or(0)),
        };
        decisions.iter().map(told).collect()
    }

    #[test]
    fn several_faces_are_voted_at_once() {
        let several = "1-Quality(SeveralFaces)";
        let stranger = "2-Rejected(TooDistant)";
        let cases: [(&str, &[&str]); 8] = [
            ("ab ab ab", &["1+a", "2+b"]),
            ("a ab ab", &[]),
            ("a ab ab ab", &["1+a", "2+b"]),
            ("as as as as as", &[several, stranger]),
            (
                "at at at ab ab ab",
                &[several, "2-Quality(TurnedAway)", "1+a", "2+b"],
            ),
            ("as as as as as a", &[several, stranger, "1+a"]),
            ("a a -a", &[]),
            ("a -a -a -a a", &["1+a"]),
        ];
        let mut failures = vec![];
        for (frames, expected) in cases {
            let found = together(frames);
            if found != expected {
                failures.push(format!("{frames}: {found:?}, not {expected:?}"));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn a_track_can_be_judged_again_or_left_alone_for_a_while() {
        let mut vote = Vote::new(RULES);
        let at = |frame: u64| Duration::from_millis(100 * frame);
        let grants = |vote: &mut Vote, frames: std::ops::Range<u64>| {
            let count = |frame| vote.count(alone(1, known("a")), at(frame)).len();
            frames.map(count).sum::<usize>()
        };
        assert!(!vote.may_grant(at(0)));
        assert_eq!(grants(&mut vote, 0..2), 0);
        assert!(vote.may_grant(at(2)), "the third may settle it");
        assert_eq!(grants(&mut vote, 2..3), 1);
        assert!(!vote.may_grant(at(3)));
        vote.again(1);
        assert_eq!(grants(&mut vote, 3..5), 0);
        assert_eq!(grants(&mut vote, 5..6), 1, "from the begin");
        vote.told(1, at(6));
        assert_eq!(grants(&mut vote, 6..26), 0);
        assert_eq!(grants(&mut vote, 26..27), 1, "after two seconds");
    }

    proptest! {
        #[test]
        fn nobody_is_granted_by_frames_that_were_only_followed(
            frames in proptest::collection::vec("-[abst]{1,2}", 0..40)
        ) {
            prop_assert!(!together(&frames.join(" ")).iter().any(|d| d.contains('+')));
        }

        #[test]
        fn nobody_is_granted_beside_a_stranger(
            frames in proptest::collection::vec("-?[abst][st]", 0..40)
        ) {
            prop_assert!(!together(&frames.join(" ")).iter().any(|d| d.contains('+')));
        }

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
