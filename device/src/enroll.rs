//! Enrollment at the door: who vouches, which poses come, which frames are kept, how it ends. Pure: frames and time are
//! arguments.
//!
//! ```text
//! button held --> an admin's face --vouched--> poses, one after the other --enough frames--> done
//! a host's window -----------------------------^      |
//!        |                |                           +-- another face, somebody known already
//!        +----------------+---------------------------+-- given up, time is up, a fault: refused
//! ```
//!
//! One face, followed from frame to frame by where it is and by whom it resembles. The admin, still in view after
//! vouching, is waited out. What follows from an outcome (prompts, gallery, record) is `run`'s affair, see
//! `run/enrolling.rs`; which frames are good enough to be looked at at all is `quality`'s.

use std::{collections::VecDeque, time::Duration};

use facelatch_models::{Error, embedding::Embedding, image::Rect};
use facelatch_protocol::{Coverage, DisplayName, NotEnrolled, PersonId, Prompt, Reason};

use crate::identify::{Evidence, Verdict};

mod pose;
#[cfg(test)]
mod tests;

pub use pose::{Head, Pose};

/// How enrolling goes; from `device.toml`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// From the press to the end.
    pub window: Duration,
    /// A pose that does not come within this is left out; the straight look is waited for.
    pub pose: Duration,
    /// Good frames needed, at least 1.
    pub frames: usize,
    /// Least time between two of them.
    pub spacing: Duration,
    /// A face not seen for longer than this has to be known again by its likeness.
    pub max_gap: Duration,
    /// Least overlap of the face's boxes in two frames.
    pub min_overlap: f32,
}

/// Largest cosine distance to the first frame kept at which a face is the same, in any pose: one in a hundred pairs of
/// strangers is nearer, and it must be in the same place too.
const SAME_FACE: f32 = 0.6;
/// Frames in a row that are too far from the first one before it counts as another face: a turned head may be, once.
const STRANGE: u32 = 2;
/// How often somebody who does not hold the pose asked for is compared with the first frame.
const LIKENESS: Duration = Duration::from_secs(1);
/// How much farther than at the door somebody's template may be to count as theirs: a newcomer so near would be taken for
/// them sooner or later.
const LOOSER: f32 = 0.03;

/// An enrollment that goes on, or none.
#[derive(Debug, Default)]
pub struct Enrollment {
    open: Option<Window>,
}

/// What a host asked the newcomer to be called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Id; `None`: made up.
    pub person: Option<PersonId>,
    /// Name; `None`: made up.
    pub name: Option<DisplayName>,
}

#[derive(Debug)]
struct Window {
    until: Duration,
    wanted: Wanted,
    stage: Stage,
    /// Why the last face was not good enough.
    last: Option<Reason>,
}

#[derive(Debug)]
enum Stage {
    Vouching,
    Posing(Posing),
}

#[derive(Debug)]
struct Posing {
    admin: Option<String>,
    /// Whether the last face was still the admin's.
    admin_in_view: bool,
    /// Poses still to come; the first one is asked for. Never empty.
    plan: VecDeque<Pose>,
    asked_at: Duration,
    hinted: Option<Prompt>,
    taken: Vec<Taken>,
    neutral: Option<Head>,
    /// When a face was looked at closely, whatever came of it.
    looked_at: Option<Duration>,
    /// Where the newcomer's face was last, and when.
    seen: Option<(Rect, Duration)>,
    strange: u32,
}

#[derive(Debug)]
struct Taken {
    pose: Pose,
    luma: f32,
    template: Embedding,
}

/// A good face, looked at closely.
#[derive(Debug)]
pub struct Look<'a> {
    /// Where, in pixels of the frame.
    pub rect: Rect,
    /// How the head is held.
    pub head: Head,
    /// Mean luma of the face, 0 to 255.
    pub luma: f32,
    /// Its template.
    pub template: Embedding,
    /// What identification made of it.
    pub verdict: &'a Verdict,
    /// The distance at which somebody is recognised at this door.
    pub max_distance: f32,
}

/// What a frame, a decision, a press or a moment brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Nothing to tell.
    Waiting,
    /// Something else is asked for from now on.
    Ask(Prompt),
    /// What is asked for stays; this would help.
    Hint(Prompt),
    /// A frame was kept.
    Taken {
        /// Frames kept.
        taken: usize,
        /// Frames wanted.
        wanted: usize,
        /// What is asked for from now on, if that is something else.
        ask: Option<Prompt>,
    },
    /// Enough: the newcomer is to be enrolled.
    Done(Newcomer),
    /// It is over.
    Refused(NotEnrolled),
}

/// Somebody to be enrolled.
#[derive(Debug, Clone, PartialEq)]
pub struct Newcomer {
    /// What a host asked for.
    pub wanted: Wanted,
    /// Templates, in the order they were taken.
    pub templates: Vec<Embedding>,
    /// What they cover.
    pub coverage: Coverage,
}

impl Enrollment {
    /// Whether an enrollment goes on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether an admin's face is awaited.
    #[must_use]
    pub fn awaits_admin(&self) -> bool {
        matches!(
            self.open,
            Some(Window {
                stage: Stage::Vouching,
                ..
            })
        )
    }

    /// Whether a newcomer's face is awaited.
    #[must_use]
    pub fn awaits_newcomer(&self) -> bool {
        matches!(
            self.open,
            Some(Window {
                stage: Stage::Posing(_),
                ..
            })
        )
    }

    /// What is asked for now.
    #[must_use]
    pub fn prompt(&self) -> Option<Prompt> {
        self.open.as_ref().map(|window| match &window.stage {
            Stage::Vouching => Prompt::ShowAdmin,
            Stage::Posing(posing) => posing.asked().prompt(),
        })
    }

    /// The button was held: asks for an admin. `has_admin`: somebody is enrolled who may vouch.
    pub fn begin(&mut self, has_admin: bool, now: Duration, rules: &Rules) -> Progress {
        if !has_admin {
            return Progress::Refused(NotEnrolled::NoAdmin);
        }
        self.begin_with(Stage::Vouching, Wanted::default(), now, rules)
    }

    /// A host opened the window: no admin is asked for.
    pub fn open(&mut self, wanted: Wanted, now: Duration, rules: &Rules) -> Progress {
        self.begin_with(
            Stage::Posing(Posing::new(None, now, rules)),
            wanted,
            now,
            rules,
        )
    }

    fn begin_with(
        &mut self,
        stage: Stage,
        wanted: Wanted,
        now: Duration,
        rules: &Rules,
    ) -> Progress {
        self.open = Some(Window {
            until: now + rules.window,
            wanted,
            stage,
            last: None,
        });
        self.prompt().map_or(Progress::Waiting, Progress::Ask)
    }

    /// The face in view was recognised, by as many frames as at the door, as this admin's.
    pub fn vouched(&mut self, admin: &str, now: Duration, rules: &Rules) -> Progress {
        let Some(Window { stage, last, .. }) = &mut self.open else {
            return Progress::Waiting;
        };
        if !matches!(stage, Stage::Vouching) {
            return Progress::Waiting;
        }
        *stage = Stage::Posing(Posing::new(Some(admin.to_owned()), now, rules));
        *last = None;
        self.prompt().map_or(Progress::Waiting, Progress::Ask)
    }

    /// It is over, for this reason; nothing happens if none goes on.
    pub fn end(&mut self, why: NotEnrolled) -> Progress {
        match self.open.take() {
            Some(_) => Progress::Refused(why),
            None => Progress::Waiting,
        }
    }

    /// Time passed.
    pub fn tick(&mut self, now: Duration, rules: &Rules) -> Progress {
        let Some(window) = &mut self.open else {
            return Progress::Waiting;
        };
        if now >= window.until {
            let why = window.timed_out();
            return self.end(why);
        }
        let Stage::Posing(posing) = &mut window.stage else {
            return Progress::Waiting;
        };
        match posing.leave_out(now, rules) {
            true => Progress::Ask(posing.asked().prompt()),
            false => Progress::Waiting,
        }
    }

    /// A face that was not good enough to be looked at.
    pub fn poor(&mut self, reason: Reason) -> Progress {
        let Some(window) = &mut self.open else {
            return Progress::Waiting;
        };
        window.last = Some(reason);
        if let Stage::Posing(posing) = &mut window.stage {
            posing.admin_in_view = false;
        }
        let helps = [
            (Reason::TooFar, Prompt::ComeNearer),
            (Reason::Blurred, Prompt::HoldStill),
        ];
        let hint = helps.into_iter().find(|(flaw, _)| *flaw == reason);
        match (&mut window.stage, hint) {
            (Stage::Posing(posing), Some((_, hint))) if posing.hinted != Some(hint) => {
                posing.hinted = Some(hint);
                Progress::Hint(hint)
            }
            (Stage::Posing(_) | Stage::Vouching, _) => Progress::Waiting,
        }
    }

    /// Whether a good face in this place, held like this, is to be looked at closely now.
    pub fn wants(&mut self, rect: &Rect, head: Head, now: Duration, rules: &Rules) -> bool {
        let Some(window) = &mut self.open else {
            return false;
        };
        let Stage::Posing(posing) = &mut window.stage else {
            return false;
        };
        let mut spacing = rules.spacing;
        if !posing.asked().is_held(head, posing.neutral) {
            window.last = Some(Reason::TurnedAway);
            posing.follow(rect, now, rules);
            if posing.taken.is_empty() {
                return false;
            }
            // Whoever does not do as asked may be somebody else.
            spacing = spacing.max(LIKENESS);
        }
        let due = |at: Duration| now >= at + spacing;
        posing.looked_at.is_none_or(due)
    }

    /// A good face that was wanted.
    ///
    /// # Errors
    /// [`Error::Space`] if the networks changed meanwhile; the enrollment goes on.
    pub fn face(&mut self, look: Look, now: Duration, rules: &Rules) -> Result<Progress, Error> {
        let Some(window) = &mut self.open else {
            return Ok(Progress::Waiting);
        };
        let Stage::Posing(posing) = &mut window.stage else {
            return Ok(Progress::Waiting);
        };
        posing.looked_at = Some(now);
        let progress = match posing.judge(&look)? {
            Whose::Admins => {
                posing.admin_in_view = true;
                Progress::Waiting
            }
            Whose::Somebodys(person) => {
                return Ok(self.end(NotEnrolled::AlreadyEnrolled { person }));
            }
            Whose::Anothers => {
                posing.strange += 1;
                match posing.strange {
                    STRANGE.. => return Ok(self.end(NotEnrolled::OtherFace)),
                    _ => Progress::Waiting,
                }
            }
            Whose::Newcomers => {
                posing.admin_in_view = false;
                posing.strange = 0;
                let followed = posing.follow(&look.rect, now, rules);
                // By its likeness it is the same: from here on it is followed again.
                posing.seen = Some((look.rect, now));
                let held = posing.asked().is_held(look.head, posing.neutral);
                match followed && held {
                    true => {
                        window.last = None;
                        posing.take(look, now, rules)
                    }
                    false => Progress::Waiting,
                }
            }
        };
        let Some(newcomer) = self.finished() else {
            return Ok(progress);
        };
        Ok(Progress::Done(newcomer))
    }

    /// The newcomer, if all poses were taken.
    fn finished(&mut self) -> Option<Newcomer> {
        let window = self.open.take_if(|window| match &window.stage {
            Stage::Posing(posing) => posing.plan.is_empty(),
            Stage::Vouching => false,
        })?;
        match window.stage {
            Stage::Posing(posing) => Some(Newcomer {
                coverage: posing.coverage(),
                wanted: window.wanted,
                templates: posing.taken.into_iter().map(|t| t.template).collect(),
            }),
            Stage::Vouching => None,
        }
    }
}

impl Window {
    fn timed_out(&self) -> NotEnrolled {
        match &self.stage {
            Stage::Posing(Posing {
                admin: Some(admin),
                admin_in_view: true,
                ..
            }) => PersonId::parse(admin)
                .map_or(NotEnrolled::TimedOut { last: self.last }, |person| {
                    NotEnrolled::AlreadyEnrolled { person }
                }),
            Stage::Posing(_) | Stage::Vouching => NotEnrolled::TimedOut { last: self.last },
        }
    }
}

/// Whose face it is.
enum Whose {
    Newcomers,
    /// The admin's, who has not stepped aside yet.
    Admins,
    Somebodys(PersonId),
    /// Not the one of the first frame.
    Anothers,
}

impl Posing {
    fn new(admin: Option<String>, now: Duration, rules: &Rules) -> Posing {
        Posing {
            admin,
            admin_in_view: false,
            plan: Pose::plan(rules.frames.max(1)).into(),
            asked_at: now,
            hinted: None,
            taken: vec![],
            neutral: None,
            looked_at: None,
            seen: None,
            strange: 0,
        }
    }

    fn asked(&self) -> Pose {
        self.plan.front().copied().unwrap_or(Pose::Straight)
    }

    /// Leaves the pose asked for out, if it did not come in time; straight looks make up for it.
    fn leave_out(&mut self, now: Duration, rules: &Rules) -> bool {
        let pose = self.asked();
        if pose == Pose::Straight || now < self.asked_at + rules.pose {
            return false;
        }
        let before = self.plan.len();
        self.plan.retain(|planned| *planned != pose);
        let left_out = before - self.plan.len();
        self.plan
            .extend(std::iter::repeat_n(Pose::Straight, left_out));
        self.ask(now);
        true
    }

    fn ask(&mut self, now: Duration) {
        self.asked_at = now;
        self.hinted = None;
    }

    fn judge(&self, look: &Look) -> Result<Whose, Error> {
        if let Some(first) = self.taken.first() {
            let is_same = first.template.distance(&look.template)? <= SAME_FACE;
            if !is_same {
                return Ok(Whose::Anothers);
            }
        }
        let resembled = match look.verdict {
            Verdict::Known { person, .. } => Some(person),
            Verdict::Unknown {
                evidence: Evidence {
                    nearest, distance, ..
                },
                ..
            } => nearest.as_ref().filter(|_| {
                distance.is_some_and(|distance| distance <= look.max_distance + LOOSER)
            }),
            Verdict::Refused(_) => None,
        };
        let Some(resembled) = resembled else {
            return Ok(Whose::Newcomers);
        };
        if self.taken.is_empty() && self.admin.as_ref() == Some(resembled) {
            return Ok(Whose::Admins);
        }
        // Ids of the gallery are ids.
        let person = PersonId::parse(resembled);
        Ok(person.map_or(Whose::Anothers, Whose::Somebodys))
    }

    /// Whether a face in this place continues the one followed so far.
    fn follow(&mut self, rect: &Rect, now: Duration, rules: &Rules) -> bool {
        let Some((last, at)) = &mut self.seen else {
            return self.taken.is_empty();
        };
        let goes_on =
            now.saturating_sub(*at) <= rules.max_gap && last.iou(rect) >= rules.min_overlap;
        if goes_on {
            (*last, *at) = (*rect, now);
        }
        goes_on
    }

    fn take(&mut self, look: Look, now: Duration, rules: &Rules) -> Progress {
        self.neutral.get_or_insert(look.head);
        let asked = self.asked();
        self.plan.pop_front();
        self.taken.push(Taken {
            pose: asked,
            luma: look.luma,
            template: look.template,
        });
        self.ask(now);
        let next = self.plan.front().filter(|next| **next != asked);
        Progress::Taken {
            taken: self.taken.len(),
            wanted: rules.frames.max(1),
            ask: next.map(|next| next.prompt()),
        }
    }

    fn coverage(&self) -> Coverage {
        let has = |pose| self.taken.iter().any(|taken| taken.pose == pose);
        let lumas = || self.taken.iter().map(|taken| taken.luma);
        // A mean of bytes is between 0 and 255; casts saturate.
        let byte = |luma: f32| luma.round() as u8;
        Coverage {
            straight: has(Pose::Straight),
            left: has(Pose::Left),
            right: has(Pose::Right),
            up: has(Pose::Up),
            down: has(Pose::Down),
            luma_min: byte(lumas().fold(255.0, f32::min)),
            luma_max: byte(lumas().fold(0.0, f32::max)),
        }
    }
}
