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
mod tests;
