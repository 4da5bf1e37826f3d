//! The enrollment button's flow: press, look into the camera, done. Pure: frames and time are arguments.
//!
//! One face, followed through a few good frames, becomes a new person. A face that is already somebody's is refused.
//! What to do with the outcome (write the gallery, show a pattern) is `run`'s affair.

use std::time::Duration;

use facelatch_models::{embedding::Embedding, image::Rect};

use crate::identify::Verdict;

/// How enrolling goes; from `device.toml`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// How long after the press.
    pub window: Duration,
    /// Good frames needed.
    pub frames: usize,
    /// Least time between two of them.
    pub spacing: Duration,
    /// Least overlap of the face's boxes in two of them.
    pub min_overlap: f32,
}

/// An enrollment that goes on, or none.
#[derive(Debug, Default)]
pub struct Enrollment {
    open: Option<Window>,
}

#[derive(Debug)]
struct Window {
    until: Duration,
    taken: Vec<Embedding>,
    last: Option<(Rect, Duration)>,
}

/// What a frame or a moment brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Nothing to do.
    Waiting,
    /// Enough: enroll these as one new person.
    Done(Vec<Embedding>),
    /// The face is this person's already.
    AlreadyEnrolled(String),
    /// Time is up.
    TimedOut,
}

impl Enrollment {
    /// Whether an enrollment goes on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The button was pressed: begins, or gives up if one goes on.
    pub fn press(&mut self, now: Duration, rules: &Rules) {
        self.open = match self.open {
            Some(_) => None,
            None => Some(Window {
                until: now + rules.window,
                taken: vec![],
                last: None,
            }),
        };
    }

    /// Time passed.
    pub fn tick(&mut self, now: Duration) -> Progress {
        if self.open.as_ref().is_none_or(|window| now < window.until) {
            return Progress::Waiting;
        }
        self.open = None;
        Progress::TimedOut
    }

    /// Whether a good face in this place would be taken now.
    #[must_use]
    pub fn wants(&self, now: Duration, rules: &Rules) -> bool {
        self.open
            .as_ref()
            .is_some_and(|window| window.last.is_none_or(|(_, at)| now >= at + rules.spacing))
    }

    /// A good face, with what identification made of it.
    pub fn face(
        &mut self,
        rect: Rect,
        embedding: Embedding,
        verdict: &Verdict,
        now: Duration,
        rules: &Rules,
    ) -> Progress {
        let Some(window) = &mut self.open else {
            return Progress::Waiting;
        };
        if let Verdict::Known { person, .. } = verdict {
            self.open = None;
            return Progress::AlreadyEnrolled(person.clone());
        }
        if window
            .last
            .is_some_and(|(last, _)| last.iou(&rect) < rules.min_overlap)
        {
            window.taken.clear();
        }
        window.last = Some((rect, now));
        window.taken.push(embedding);
        if window.taken.len() < rules.frames {
            return Progress::Waiting;
        }
        let taken = std::mem::take(&mut window.taken);
        self.open = None;
        Progress::Done(taken)
    }
}

#[cfg(test)]
mod tests {
    use facelatch_models::{embedding::SpaceId, openset::Reject};

    use super::*;
    use crate::identify::Evidence;

    const RULES: Rules = Rules {
        window: Duration::from_secs(10),
        frames: 2,
        spacing: Duration::from_millis(400),
        min_overlap: 0.3,
    };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn face(enrollment: &mut Enrollment, x: f32, known: bool, at: u64) -> Progress {
        let rect = Rect {
            x,
            y: 0.0,
            w: 100.0,
            h: 100.0,
        };
        let space = SpaceId::parse("space-1").unwrap();
        let embedding = Embedding::new(space, vec![1.0, 0.0]).unwrap();
        let evidence = Evidence::default();
        let verdict = match known {
            true => Verdict::Known {
                person: "ada".into(),
                evidence,
            },
            false => Verdict::Unknown {
                reject: Reject::TooDistant,
                evidence,
            },
        };
        enrollment.face(rect, embedding, &verdict, ms(at), &RULES)
    }

    fn pressed() -> Enrollment {
        let mut enrollment = Enrollment::default();
        enrollment.press(ms(0), &RULES);
        enrollment
    }

    #[test]
    fn enough_good_frames_of_one_face_become_a_person() {
        let mut enrollment = pressed();
        assert!(enrollment.wants(ms(0), &RULES));
        assert_eq!(face(&mut enrollment, 0.0, false, 0), Progress::Waiting);
        assert!(!enrollment.wants(ms(100), &RULES));
        assert!(
            matches!(face(&mut enrollment, 9.0, false, 400), Progress::Done(taken) if taken.len() == 2)
        );
        assert!(!enrollment.is_open());
    }

    #[test]
    fn another_face_starts_over_a_known_one_is_refused_and_time_runs_out() {
        let mut enrollment = pressed();
        face(&mut enrollment, 0.0, false, 0);
        assert_eq!(face(&mut enrollment, 500.0, false, 400), Progress::Waiting);
        assert_eq!(
            face(&mut enrollment, 500.0, true, 800),
            Progress::AlreadyEnrolled("ada".into())
        );
        assert!(!enrollment.is_open());

        let mut enrollment = pressed();
        assert_eq!(enrollment.tick(ms(9_999)), Progress::Waiting);
        assert_eq!(enrollment.tick(ms(10_000)), Progress::TimedOut);
        assert_eq!(enrollment.tick(ms(10_001)), Progress::Waiting);

        let mut enrollment = pressed();
        enrollment.press(ms(5), &RULES);
        assert!(!enrollment.is_open());
        assert_eq!(face(&mut enrollment, 0.0, false, 9), Progress::Waiting);
    }
}
