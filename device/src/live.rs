//! From "this is ada" to "this is ada, and not a picture of her": between vote and policy. Pure: looks, random numbers and
//! time are arguments.
//!
//! ```text
//! off        granted --------------------------------------------------------------------------> pass
//! passive    granted --cues of the track, once there are enough--> confirmed by another vote ---> pass, or not live
//! challenge  granted --turn as asked--> look straight, confirmed by another vote ---------------> pass, or not live
//! ```
//!
//! One face is examined at a time, on one track: a face that is lost, that another takes the place of, or that somebody
//! else's embedding comes from, has failed. The second vote obeys all the rules of the first, so that whoever came
//! meanwhile counts. Called by `run`; what a turn is, is judged in `models::liveness`.

use std::time::Duration;

use facelatch_models::{
    liveness::{
        self, Level, Observation,
        challenge::{self, Challenge, Look, Turn},
        passive, planar,
    },
    mtcnn::Face,
};
use facelatch_protocol::Prompt;

use crate::{
    identify::Verdict,
    quality,
    vote::{Decision, Outcome, Reason},
};

/// How liveness is proven; from `device.toml`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// How much is asked.
    pub level: Level,
    /// Turns of a challenge.
    pub turns: usize,
    /// A face not seen for longer than this has gone.
    pub max_gap: Duration,
}

/// Longest time for enough passive cues, and for the vote that confirms.
const PATIENCE: Duration = Duration::from_secs(5);
/// A face that has passed a challenge and is followed since is not asked again for so long.
const PROVEN_FOR: Duration = Duration::from_secs(30);
/// A face that is examined tells who it is while it is turned by no more than this.
const LOOKS_ON_DEG: f64 = 20.0;
/// Tracks whose looks are kept; a door sees fewer faces that count.
const MOST_TRACKS: usize = 8;

/// One face in one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its track.
    pub track: u32,
    /// What was seen of it.
    pub observation: Observation,
    /// Who it is, if anybody could tell: an enrolled person, or somebody else.
    pub who: Who,
}

/// Whether a face under examination looks straight enough ahead to be recognised.
#[must_use]
pub fn looks_on(face: &Face) -> bool {
    planar::yaw_deg(&face.landmarks).is_some_and(|yaw| yaw.abs() <= LOOKS_ON_DEG)
}

/// Whom a look shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// This person.
    Person(String),
    /// Nobody we know.
    Stranger,
    /// It was not good enough to tell.
    Unclear,
    /// It was not judged because of others beside it.
    Crowded,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Ask for this, by light, sound and event.
    Ask(Prompt),
    /// Take the votes of this track again from the begin.
    VoteAgain(u32),
    /// The outcome of this track is the decision that follows: leave it alone for a while.
    Told(u32),
    /// Decided.
    Decided(Decision),
}

/// Examines faces that a vote has granted.
#[derive(Debug)]
pub struct Liveness {
    rules: Rules,
    tracks: Vec<(u32, liveness::Track, Duration)>,
    exam: Option<Exam>,
    proven: Option<Proven>,
}

/// Who has passed a challenge and still stands there.
#[derive(Debug)]
struct Proven {
    track: u32,
    person: String,
    until: Duration,
}

/// One face, examined.
#[derive(Debug)]
struct Exam {
    track: u32,
    /// The grant that is to be believed.
    granted: Decision,
    person: String,
    phase: Phase,
    /// When the face was last seen.
    seen: Duration,
    /// Whether it was last seen beside others that may not be there.
    crowded: bool,
    asked: Option<Prompt>,
}

#[derive(Debug)]
enum Phase {
    /// Too few looks for the passive cues.
    Watching { since: Duration },
    /// Turning.
    Challenged {
        challenge: Challenge,
        state: challenge::State,
    },
    /// Alive; now the person is to be seen again.
    Confirming { since: Duration },
}

impl From<&Verdict> for Who {
    fn from(verdict: &Verdict) -> Who {
        match verdict {
            Verdict::Known { person, .. } => Who::Person(person.clone()),
            Verdict::Unknown { .. } => Who::Stranger,
            Verdict::Refused(quality::Reason::SeveralFaces) => Who::Crowded,
            Verdict::Refused(_) => Who::Unclear,
        }
    }
}

impl Liveness {
    /// Examines nobody yet.
    #[must_use]
    pub fn new(rules: Rules) -> Liveness {
        Liveness {
            rules,
            tracks: vec![],
            exam: None,
            proven: None,
        }
    }

    /// Whether looks have to be observed at all.
    #[must_use]
    pub fn observes(&self, track: u32) -> bool {
        match self.rules.level {
            Level::Off => false,
            Level::Passive => true,
            Level::Challenge => self.examines(track),
        }
    }

    /// Whether passive cues decide, a liveness network's score among them.
    #[must_use]
    pub fn uses_cues(&self) -> bool {
        self.rules.level == Level::Passive
    }

    /// Whether this face is being examined: only looks straight ahead tell who it is, and no others are to be voted on.
    #[must_use]
    pub fn examines(&self, track: u32) -> bool {
        self.exam.as_ref().is_some_and(|exam| exam.track == track)
    }

    /// Whether somebody is being examined: every frame is then searched as a whole.
    #[must_use]
    pub fn is_examining(&self) -> bool {
        self.exam.is_some()
    }

    /// Takes the faces of a frame, before the vote on it. `now` is monotonic.
    pub fn look(&mut self, seen: Vec<Seen>, now: Duration) -> Vec<Step> {
        let mine = self.exam.as_ref().map(|exam| exam.track);
        let mut examined = None;
        for look in seen {
            if self.uses_cues() {
                self.keep(look.track, look.observation.clone(), now);
            }
            if Some(look.track) == mine {
                examined = Some(look);
            }
        }
        let cues = mine.and_then(|track| self.cues(track));
        let max_gap = self.rules.max_gap;
        let Some(exam) = &mut self.exam else {
            return vec![];
        };
        match exam.advance(examined.as_ref(), cues, now, max_gap) {
            Progress::Awaiting(prompt) => exam.ask(prompt).into_iter().collect(),
            Progress::Alive => {
                let asked = exam.asked.map(|_| Prompt::LookStraight);
                exam.phase = Phase::Confirming { since: now };
                let again = Step::VoteAgain(exam.track);
                [again].into_iter().chain(exam.ask(asked)).collect()
            }
            Progress::Failed => self.failed(),
        }
    }

    /// Takes what a vote decided. `random` is uniform, and another one each time.
    pub fn decided(&mut self, decision: Decision, random: u64, now: Duration) -> Vec<Step> {
        let granted = match &decision.outcome {
            Outcome::Granted { person } => Some(person),
            Outcome::Denied(_) => None,
        };
        let Some(exam) = &self.exam else {
            return match (decision.track, granted) {
                (Some(track), Some(person)) => {
                    let person = person.clone();
                    self.begin(track, person, decision, random, now)
                }
                (_, _) => vec![Step::Decided(decision)],
            };
        };
        match (decision.track == Some(exam.track), &exam.phase) {
            (true, Phase::Confirming { .. }) if granted == Some(&exam.person) => {
                self.proven = Some(Proven {
                    track: exam.track,
                    person: exam.person.clone(),
                    until: now + PROVEN_FOR,
                });
                self.exam = None;
                vec![Step::Decided(decision)]
            }
            (true, Phase::Confirming { .. }) => self.failed(),
            // Votes of before, or of a face on its way.
            (true, Phase::Watching { .. } | Phase::Challenged { .. }) => vec![],
            // One at a time: who is granted meanwhile votes again later.
            (false, _) if granted.is_some() => vec![],
            (false, _) => vec![Step::Decided(decision)],
        }
    }

    /// Somebody else stands there now: who was being examined has failed.
    pub fn visitor_changed(&mut self) -> Option<Decision> {
        self.tracks.clear();
        self.proven = None;
        self.exam.take().map(Exam::not_live)
    }

    fn begin(
        &mut self,
        track: u32,
        person: String,
        granted: Decision,
        random: u64,
        now: Duration,
    ) -> Vec<Step> {
        let is_proven = self.proven.as_ref().is_some_and(|proven| {
            proven.track == track && proven.person == person && now < proven.until
        });
        let (phase, asked) = match (self.rules.level, self.cues(track)) {
            (Level::Off, _) => return vec![Step::Decided(granted)],
            (Level::Challenge, _) if is_proven => return vec![Step::Decided(granted)],
            (Level::Passive, Some(cues)) if cues.live() => return vec![Step::Decided(granted)],
            (Level::Passive, Some(_)) => {
                return vec![Step::Decided(not_live(granted, Reason::NotLive))];
            }
            (Level::Passive, None) => (Phase::Watching { since: now }, None),
            (Level::Challenge, _) => {
                let challenge = Challenge::draw(self.rules.turns, random);
                let state = challenge::State::begin(now);
                let phase = Phase::Challenged { challenge, state };
                (phase, Some(Prompt::LookStraight))
            }
        };
        self.exam = Some(Exam {
            track,
            granted,
            person,
            phase,
            seen: now,
            crowded: false,
            asked,
        });
        asked.map(Step::Ask).into_iter().collect()
    }

    fn failed(&mut self) -> Vec<Step> {
        let Some(exam) = self.exam.take() else {
            return vec![];
        };
        vec![Step::Told(exam.track), Step::Decided(exam.not_live())]
    }

    fn keep(&mut self, id: u32, observation: Observation, now: Duration) {
        let max_gap = self.rules.max_gap;
        self.tracks
            .retain(|(_, _, seen)| now.saturating_sub(*seen) <= max_gap);
        let at = self.tracks.iter().position(|(track, ..)| *track == id);
        let at = at.unwrap_or_else(|| {
            if self.tracks.len() == MOST_TRACKS {
                self.tracks.remove(0);
            }
            self.tracks.push((id, liveness::Track::new(), now));
            self.tracks.len() - 1
        });
        let (_, track, seen) = &mut self.tracks[at];
        track.push(observation);
        *seen = now;
    }

    fn cues(&self, id: u32) -> Option<passive::Cues> {
        let (_, track, _) = self.tracks.iter().find(|(track, ..)| *track == id)?;
        passive::cues(track)
    }
}

/// How far one frame has brought an exam.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// It goes on, asking for this.
    Awaiting(Option<Prompt>),
    /// The face was found alive.
    Alive,
    Failed,
}

impl Exam {
    fn advance(
        &mut self,
        seen: Option<&Seen>,
        cues: Option<passive::Cues>,
        now: Duration,
        max_gap: Duration,
    ) -> Progress {
        if let Some(seen) = seen {
            self.seen = now;
            self.crowded = seen.who == Who::Crowded;
        }
        if now.saturating_sub(self.seen) > max_gap {
            return Progress::Failed;
        }
        let look = seen.and_then(|seen| self.look(seen));
        let is_late = |since: Duration| now.saturating_sub(since) > PATIENCE;
        match &mut self.phase {
            Phase::Watching { since } => match cues {
                Some(cues) if cues.live() => Progress::Alive,
                None if !is_late(*since) => Progress::Awaiting(None),
                Some(_) | None => Progress::Failed,
            },
            Phase::Challenged { challenge, state } => {
                let before = std::mem::replace(state, challenge::State::begin(now));
                *state = challenge::step(challenge, before, look, now);
                match state {
                    challenge::State::Failed(why) => {
                        log::info!("challenge failed: {why:?}");
                        Progress::Failed
                    }
                    challenge::State::Passed => Progress::Alive,
                    challenge::State::Straight { .. } | challenge::State::Turning(_) => {
                        Progress::Awaiting(Some(match state.asked(challenge) {
                            Some(Turn::Left) => Prompt::TurnLeft,
                            Some(Turn::Right) => Prompt::TurnRight,
                            None => Prompt::LookStraight,
                        }))
                    }
                }
            }
            Phase::Confirming { since } if is_late(*since) => Progress::Failed,
            Phase::Confirming { .. } => Progress::Awaiting(self.asked),
        }
    }

    /// What the challenge may see of a frame: nothing while others stand beside the face that may not.
    fn look<'s>(&self, seen: &'s Seen) -> Option<Look<'s>> {
        let same = match &seen.who {
            Who::Person(who) => Some(*who == self.person),
            Who::Stranger => Some(false),
            Who::Unclear => None,
            Who::Crowded => return None,
        };
        Some(Look {
            seen: &seen.observation,
            same,
        })
    }

    fn ask(&mut self, prompt: Option<Prompt>) -> Option<Step> {
        if self.asked == prompt {
            return None;
        }
        self.asked = prompt;
        prompt.map(Step::Ask)
    }

    fn not_live(self) -> Decision {
        let reason = match self.crowded {
            true => Reason::Quality(quality::Reason::SeveralFaces),
            false => Reason::NotLive,
        };
        not_live(self.granted, reason)
    }
}

fn not_live(granted: Decision, reason: Reason) -> Decision {
    Decision {
        outcome: Outcome::Denied(reason),
        ..granted
    }
}

#[cfg(test)]
mod tests;
