//! The active challenge: turn your head left, turn it right, in an order the person cannot know. Pure.
//!
//! ```text
//!   straight --reference--> turn 1: out to the asked side, held --> turn 2: by the middle, out, held ... --> passed
//!      |                       |                                                             |
//!      +-------- time out, face lost, jumped, flat, wrong side: failed ----------------------+
//! ```
//!
//! Judged by the nose's tip against the eye-mouth plane (`planar`), which a flat picture keeps however it is tilted and a
//! bent one keeps nearly: by the detector's landmarks and by texture (`patch`), which must agree. A film of a turning head
//! on a screen passes if it turns as asked: two turns are guessed one time in two, four turns one time in fourteen.
//!
//! The head that turns must be the person's who was recognised: callers say of each look whether it is ([`Look::same`]), and
//! a turn is not believed before the face was seen in the middle as that person. Who draws the order, shows it, recognises
//! the person before and after, and acts on the outcome: the callers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Landmarks, Observation, patch, planar};

/// Observations that make the reference: the face looking straight ahead.
const REFERENCE: usize = 5;
/// Straight ahead is a yaw up to this ...
const STRAIGHT_DEG: f64 = 20.0;
/// ... and a nose within this of the first observation's, in eye distances: a detector's landmarks move by 0.03.
const STILL: f64 = 0.1;
/// A turn puts the nose so far off the eye-mouth plane's motion, in eye distances, by the detector's landmarks ...
///
/// A head whose nose stands 0.4 in front gets to 0.12 at 18 degrees, and to 0.2 at 30. A flat picture gets nowhere, but one
/// that is bent looks turned to the detector, which then puts the nose up to 0.25 off.
pub const TURNED: f64 = 0.08;
/// ... and by the texture around the nose, which goes no farther than a bent picture's sagitta times the sine of its turn ...
pub const TURNED_TEXTURE: f64 = 0.1;
/// ... and by both together. On heads that lean as they turn either one alone falls short now and then.
pub const TURNED_TOGETHER: f64 = 0.22;
/// Back in the middle is less than this, in so many looks in a row: one noisy look at a head that is still turned is not.
const MIDDLE: f64 = 0.07;
const SETTLED: u32 = 2;
/// No longer turned is less than this.
const LEFT: f64 = 0.12;
/// So many observations more must show the turn than do not.
const HELD: u32 = 3;
/// The residual of a head passes through the values between; that of pictures put one in place of the other jumps.
const JUMP: f64 = 0.16;
/// A plane that tilted so far with so little residual is a picture: a head's nose would be at 0.2 and more.
const FLAT_TILT_DEG: f64 = 38.0;
const FLAT_RESIDUAL: f64 = 0.08;
const FLAT_HELD: u32 = 4;
/// Landmarks of a face tilted further are guesses.
const TILT_MAX_DEG: f64 = 62.0;
/// Longest time without the face.
const GAP: Duration = Duration::from_millis(700);
/// A face that overlaps its last box by less, as intersection over union, is another.
const SAME_FACE: f32 = 0.25;
/// Longest time for looking straight ahead, and for each turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many looks in a row at somebody else end it.
const OTHER_HELD: u32 = 3;

/// A look at the face, and who it shows.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// What was seen.
    pub seen: &'a Observation,
    /// Whether it shows the person the challenge is about; `None` where nobody could tell, as with a turned head.
    pub same: Option<bool>,
}

/// Which way to turn the head, as the person says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    /// To the person's own left: the nose moves to the frame's right.
    Left,
    /// To the person's own right.
    Right,
}

impl Turn {
    /// The residual's sign.
    fn sign(self) -> f64 {
        match self {
            Turn::Left => 1.0,
            Turn::Right => -1.0,
        }
    }
}

/// The turns asked for, in order: both sides are among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Turn>", into = "Vec<Turn>")]
pub struct Challenge(Vec<Turn>);

impl Challenge {
    /// Most turns.
    pub const MOST: usize = 6;

    /// These turns; `None` unless there are 2 to [`Challenge::MOST`] with both sides among them.
    #[must_use]
    pub fn new(turns: &[Turn]) -> Option<Challenge> {
        let both = turns.contains(&Turn::Left) && turns.contains(&Turn::Right);
        (both && turns.len() <= Challenge::MOST).then(|| Challenge(turns.to_vec()))
    }

    /// So many turns (2 to [`Challenge::MOST`], else the nearest) in the order that `random` gives; all orders that have
    /// both sides are equally likely where `random` is uniform.
    #[must_use]
    pub fn draw(turns: usize, random: u64) -> Challenge {
        let turns = turns.clamp(2, Challenge::MOST);
        // Numbers from 1 to 2^turns - 2: neither all left nor all right.
        let orders = (1_u64 << turns) - 2;
        let bits = 1 + random % orders;
        let side = |i: usize| match bits >> i & 1 {
            0 => Turn::Left,
            _ => Turn::Right,
        };
        Challenge((0..turns).map(side).collect())
    }

    /// The turns.
    #[must_use]
    pub fn turns(&self) -> &[Turn] {
        &self.0
    }
}

impl TryFrom<Vec<Turn>> for Challenge {
    type Error = &'static str;

    fn try_from(turns: Vec<Turn>) -> Result<Challenge, &'static str> {
        Challenge::new(&turns)
            .ok_or("a challenge has 2 to 6 turns, \"left\" and \"right\" among them")
    }
}

impl From<Challenge> for Vec<Turn> {
    fn from(challenge: Challenge) -> Vec<Turn> {
        challenge.0
    }
}

/// Why a challenge failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// Too slow: no straight look, or not the turn that was asked for.
    TimedOut,
    /// The face went away, or another took its place.
    Lost,
    /// The face changed faster than a head turns.
    Jumped,
    /// The face tilted as a picture does: the nose went with it.
    Flat,
    /// It turned to the other side.
    WrongSide,
    /// Somebody else took the person's place.
    OtherFace,
}

/// How far a challenge has got.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Waiting for a straight look.
    Straight {
        /// Since when.
        since: Duration,
        /// What was seen so far, the newest last.
        seen: Vec<Observation>,
        /// Looks at somebody else, one after the other.
        others: u32,
    },
    /// Waiting for a turn.
    Turning(Turning),
    /// The head turned as asked.
    Passed,
    /// It did not.
    Failed(Failure),
}

/// Waiting for one of the turns.
#[derive(Debug, Clone, PartialEq)]
pub struct Turning {
    /// Which of the challenge's turns: 0 is the first.
    index: usize,
    /// Since when it is asked for.
    since: Duration,
    /// The face looking straight ahead.
    reference: Box<Observation>,
    /// The newest observation, and the nose's place in it.
    last: Observation,
    across: f64,
    /// Whether the person was seen between the turn before and this one: the turn counts from then on.
    ready: bool,
    /// Whether the head came to rest in the middle since: only from then on is it known to turn to the wrong side.
    settled: bool,
    /// Looks in the middle, one after the other.
    middle: u32,
    /// Observations that show the turn, and the turn to the other side, less those that do not; and a flat picture, in a row.
    held: u32,
    wrong: u32,
    flat: u32,
    /// Looks at somebody else, one after the other.
    others: u32,
}

impl State {
    /// A challenge that begins now.
    #[must_use]
    pub fn begin(now: Duration) -> State {
        State::Straight {
            since: now,
            seen: Vec::new(),
            others: 0,
        }
    }

    /// The turn the person is to make now; `None` while they should look straight ahead, and at the end.
    #[must_use]
    pub fn asked(&self, challenge: &Challenge) -> Option<Turn> {
        match self {
            State::Turning(turning) if turning.ready => {
                challenge.turns().get(turning.index).copied()
            }
            State::Turning(_) | State::Straight { .. } | State::Passed | State::Failed(_) => None,
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn ended(&self) -> bool {
        match self {
            State::Passed | State::Failed(_) => true,
            State::Straight { .. } | State::Turning(_) => false,
        }
    }
}

/// The next state: `look` is the newest look at the face, `None` a frame without it. `now` never goes back.
#[must_use]
pub fn step(challenge: &Challenge, state: State, look: Option<Look<'_>>, now: Duration) -> State {
    match (state, look) {
        (State::Passed, _) => State::Passed,
        (State::Failed(why), _) => State::Failed(why),
        (State::Straight { since, .. }, _) if now.saturating_sub(since) > PATIENCE => {
            State::Failed(Failure::TimedOut)
        }
        (State::Turning(turning), _) if now.saturating_sub(turning.since) > PATIENCE => {
            State::Failed(Failure::TimedOut)
        }
        (State::Turning(turning), _) if now.saturating_sub(turning.last.at) > GAP => {
            State::Failed(Failure::Lost)
        }
        (waiting @ (State::Straight { .. } | State::Turning(_)), None) => waiting,
        (
            State::Straight {
                since,
                seen,
                others,
            },
            Some(newest),
        ) => straight(since, seen, others_after(others, newest.same), newest, now),
        (State::Turning(turning), Some(newest)) => turning.look(challenge, newest, now),
    }
}

/// Looks at somebody else in a row; one that nobody could tell changes nothing.
fn others_after(others: u32, same: Option<bool>) -> u32 {
    match same {
        Some(true) => 0,
        Some(false) => others + 1,
        None => others,
    }
}

/// Things in a row: one more, or none.
fn count(was: u32, shown: bool) -> u32 {
    if shown { was + 1 } else { 0 }
}

/// How many more show a thing than do not: one bad look takes back one good one, not all.
fn tally(was: u32, shown: bool) -> u32 {
    if shown {
        was + 1
    } else {
        was.saturating_sub(1)
    }
}

/// Gathers the reference; whatever is not straight, still and the same face begins it anew.
fn straight(
    since: Duration,
    mut seen: Vec<Observation>,
    others: u32,
    look: Look<'_>,
    now: Duration,
) -> State {
    if others >= OTHER_HELD {
        return State::Failed(Failure::OtherFace);
    }
    let newest = look.seen;
    let fits = |last: &Observation, first: &Observation| {
        last.rect.iou(&newest.rect) >= SAME_FACE
            && newest.at.saturating_sub(last.at) <= GAP
            && planar::motion(&first.landmarks, &newest.landmarks)
                .is_some_and(|m| m.residual[0].hypot(m.residual[1]) <= STILL)
    };
    let goes_on = match (seen.last(), seen.first()) {
        (Some(last), Some(first)) => fits(last, first),
        (None, _) | (_, None) => true,
    };
    let looks_on = planar::yaw_deg(&newest.landmarks).is_some_and(|yaw| yaw.abs() <= STRAIGHT_DEG);
    if !goes_on || !looks_on {
        seen.clear();
    }
    if looks_on && look.same == Some(true) {
        seen.push(newest.clone());
    }
    match (seen.len() >= REFERENCE).then(|| most_usual(seen.clone())) {
        Some(Some(reference)) => State::Turning(Turning {
            index: 0,
            since: now,
            reference: Box::new(reference),
            last: newest.clone(),
            across: 0.0,
            ready: true,
            settled: true,
            middle: 0,
            held: 0,
            wrong: 0,
            flat: 0,
            others: 0,
        }),
        Some(None) | None => State::Straight {
            since,
            seen,
            others,
        },
    }
}

impl Turning {
    /// The residual of the points found by texture; `None` without a patch, or where the nose is not found.
    fn by_texture(&self, newest: &Observation) -> Option<f64> {
        let (reference, patch) = (self.reference.patch.as_ref()?, newest.patch.as_ref()?);
        let tracked = patch::track(
            (&self.reference.landmarks, reference),
            (&newest.landmarks, patch),
        )?;
        planar::motion(&self.reference.landmarks, &tracked).map(|motion| motion.residual[0])
    }

    /// The turn before this one.
    fn before(&self, challenge: &Challenge) -> Option<Turn> {
        challenge.turns().get(self.index.checked_sub(1)?).copied()
    }

    fn look(mut self, challenge: &Challenge, look: Look<'_>, now: Duration) -> State {
        let newest = look.seen;
        self.others = others_after(self.others, look.same);
        if self.others >= OTHER_HELD {
            return State::Failed(Failure::OtherFace);
        }
        if self.last.rect.iou(&newest.rect) < SAME_FACE {
            return State::Failed(Failure::Lost);
        }
        let motion = planar::motion(&self.reference.landmarks, &newest.landmarks)
            .filter(|motion| motion.tilt_deg <= TILT_MAX_DEG);
        let Some(motion) = motion else {
            // Seen, but too far turned to be measured: it shows nothing, and ends what was being shown.
            (self.held, self.wrong, self.flat) = (0, 0, 0);
            self.last = newest.clone();
            return State::Turning(self);
        };
        let [across, down] = motion.residual;
        if (across - self.across).abs() > JUMP {
            return State::Failed(Failure::Jumped);
        }
        self.across = across;
        self.last = newest.clone();

        // A challenge has a turn for every index a state reaches; without one there is nothing left to ask.
        let Some(asked) = challenge.turns().get(self.index) else {
            return State::Passed;
        };
        let as_the_person = look.same == Some(true);
        self.middle = count(self.middle, as_the_person && across.abs() < MIDDLE);
        self.settled |= self.middle >= SETTLED;
        // A head that swings from side to side is in the middle for a look or two: no longer turned is enough.
        let swings = self.before(challenge).is_some_and(|before| {
            before != *asked && before.sign() * across < LEFT && as_the_person
        });
        self.ready |= self.settled || swings;
        let by_texture = self.by_texture(newest).unwrap_or(0.0);
        let turned = |side: f64| {
            side * across >= TURNED
                && side * by_texture >= TURNED_TEXTURE
                && side * (across + by_texture) >= TURNED_TOGETHER
                // A nod puts it off downwards.
                && 2.0 * across.abs() >= down.abs()
        };
        self.held = tally(self.held, self.ready && turned(asked.sign()));
        self.wrong = tally(self.wrong, self.settled && turned(-asked.sign()));
        self.flat = count(
            self.flat,
            motion.tilt_deg >= FLAT_TILT_DEG && across.hypot(down) <= FLAT_RESIDUAL,
        );
        if self.flat >= FLAT_HELD {
            return State::Failed(Failure::Flat);
        }
        if self.wrong >= HELD {
            return State::Failed(Failure::WrongSide);
        }
        if self.held < HELD {
            return State::Turning(self);
        }
        if self.index + 1 == challenge.turns().len() {
            return State::Passed;
        }
        State::Turning(Turning {
            index: self.index + 1,
            since: now,
            ready: false,
            settled: false,
            middle: 0,
            held: 0,
            wrong: 0,
            ..self
        })
    }
}

/// The observation whose landmarks are nearest to the medians of all: one bad look of five is not taken.
fn most_usual(seen: Vec<Observation>) -> Option<Observation> {
    let median = |point: usize, axis: usize| {
        let mut values: Vec<f32> = seen.iter().map(|o| o.landmarks[point][axis]).collect();
        values.sort_by(f32::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let medians: Landmarks =
        std::array::from_fn(|point| std::array::from_fn(|axis| median(point, axis)));
    let off = |o: &Observation| {
        let pairs = o.landmarks.iter().flatten().zip(medians.iter().flatten());
        pairs.map(|(a, b)| (a - b).powi(2)).sum::<f32>()
    };
    seen.into_iter().min_by(|a, b| off(a).total_cmp(&off(b)))
}

#[cfg(test)]
mod tests;
