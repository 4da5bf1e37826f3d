//! A frame's way from pixels to a decision: find faces, follow them, judge those that count, vote, prove them alive.
//!
//! ```text
//! Frame -> motion -> faces -> track -> choose -> judge each -> Sighting -> vote -> Decision -> live -> decided
//! ```
//!
//! Every stage is in a file of its own and knows none of the others; here they are strung together. What a decision does
//! to the door is `run`'s and `policy`'s affair.

use std::time::{Duration, Instant};

use facelatch_boards::Frame;
use facelatch_models::{
    align::align,
    liveness::{Observation, network::Score},
    mtcnn::Face,
};
use facelatch_protocol::{EventKind, Prompt};
use image::RgbImage;

use super::Running;
use crate::{
    audit::What,
    door::Cause,
    error::Error,
    identify::Verdict,
    live::{self, Step},
    quality::{self, Choice, Limits},
    vote::{self, Decision, Outcome, Seen, Sighting},
};

/// What one frame showed: to the vote, and to liveness.
struct View {
    seen: Seen,
    looks: Vec<live::Seen>,
}

impl Running {
    /// The frame's way, from pixels to the door. True if the networks had to judge it.
    pub(super) fn frame(&mut self, frame: &Frame) -> Result<bool, Error> {
        let began = Instant::now();
        self.visitor(frame.label.as_deref());
        let now = self.clock.now();
        let busy = self.is_busy(now);
        let is_searched = self.motion.must_search(&frame.image, busy, now);
        let view = match is_searched {
            true => self.look(frame)?,
            false => Some(nothing(Seen::Nobody)),
        };
        let Some(View { seen, looks }) = view else {
            return Ok(true);
        };
        let judged = is_searched && !matches!(seen, Seen::Dark);
        let now = self.clock.now();
        let steps = self.liveness.look(looks, now);
        self.take(steps, began);
        for decision in self.vote.count(seen, now) {
            // That nobody is there is told of visits only.
            if decision.track.is_none() && frame.label.is_none() {
                continue;
            }
            let steps = self.liveness.decided(decision, random()?, now);
            self.take(steps, began);
        }
        Ok(judged)
    }

    /// Whether every frame counts, even if nothing moves: somebody is in sight, is being enrolled or examined, or networks
    /// have to prove themselves.
    fn is_busy(&self, now: Duration) -> bool {
        self.tracker.follows(now)
            || self.vote.may_grant(now)
            || self.liveness.is_examining()
            || self.enrollment.is_open()
            || self.updates.on_trial.is_some()
            || self.door.causes().contains(Cause::Networks)
    }

    /// From pixels to what one frame says; `None` if it went to an enrollment.
    fn look(&mut self, frame: &Frame) -> Result<Option<View>, Error> {
        let limits = self.config.limits();
        let image = &frame.image;
        if quality::scene_is_dark(image, &limits) {
            return Ok(Some(nothing(Seen::Dark)));
        }
        let (faces, searched) = self.faces(image)?;
        let tracks = self.tracker.assign(&faces, searched, self.clock.now());
        self.tick();
        if self.enrolling(image, &faces)? {
            return Ok(None);
        }
        let mut chosen = match quality::choose(&faces, &limits) {
            Choice::Nobody => return Ok(Some(nothing(Seen::Nobody))),
            Choice::One(face) => Chosen::these(vec![face]),
            Choice::Together(faces) => Chosen {
                together: true,
                ..Chosen::these(faces)
            },
            Choice::Refused(several) => Chosen {
                refused: true,
                ..Chosen::these(several)
            },
        };
        if chosen.refused {
            // One denial tells of all: that of the face under examination, or else of the one that was there first.
            let first = |face: &usize| (!self.liveness.examines(tracks[*face]), tracks[*face]);
            chosen.faces = chosen
                .faces
                .into_iter()
                .min_by_key(first)
                .into_iter()
                .collect();
        }
        let (mut sightings, mut looks) = (vec![], vec![]);
        for face in chosen.faces {
            let (face, track) = (&faces[face], tracks[face]);
            let verdict = match chosen.refused {
                true => Verdict::Refused(quality::Reason::SeveralFaces),
                false => self.judge(image, face, track, &limits)?,
            };
            if self.liveness.observes(track) {
                let score = self.score(image, face, &verdict)?;
                looks.push(live::Seen {
                    track,
                    observation: Observation::new(frame.at, image, face).scored(score),
                    who: (&verdict).into(),
                });
            }
            // Under examination only looks straight ahead are voted on.
            if !(self.liveness.examines(track) && matches!(verdict, Verdict::Refused(_))) {
                sightings.push(Sighting { track, verdict });
            }
        }
        Ok(Some(View {
            seen: Seen::Faces {
                faces: sightings,
                searched,
                together: chosen.together,
            },
            looks,
        }))
    }

    /// The faces of a frame, and whether all of it was searched: always where the frame may settle a grant.
    fn faces(&mut self, image: &RgbImage) -> Result<(Vec<Face>, bool), Error> {
        let now = self.clock.now();
        let must_search = self.tracker.must_search(now)
            || self.vote.may_grant(now)
            || self.liveness.is_examining();
        let detector = &mut self.networks.detector;
        if !must_search {
            let places = self.tracker.places();
            let followed = detector.follow(image, &places)?;
            if followed.len() >= places.len() {
                return Ok((followed, false));
            }
        }
        Ok((detector.detect(image)?, true))
    }

    /// Who one face is.
    fn judge(
        &mut self,
        image: &RgbImage,
        face: &Face,
        track: u32,
        limits: &Limits,
    ) -> Result<Verdict, Error> {
        if let Err(reason) = quality::check(image, face, limits) {
            return Ok(Verdict::Refused(reason));
        }
        if self.liveness.examines(track) && !live::looks_on(face) {
            return Ok(Verdict::Refused(quality::Reason::TurnedAway));
        }
        let crop = align(image, face, self.networks.embedder.crop_spec());
        let embedding = self.networks.embedder.embed(&crop)?;
        let verdict = self.matcher()?.identify(&embedding)?;
        self.note_deny_listed(&verdict);
        Ok(verdict)
    }

    /// What the liveness network makes of a face that somebody's grant may come of; `None` without one.
    fn score(
        &mut self,
        image: &RgbImage,
        face: &Face,
        verdict: &Verdict,
    ) -> Result<Option<Score>, Error> {
        let Some(network) = &mut self.networks.liveness else {
            return Ok(None);
        };
        Ok(match verdict {
            Verdict::Known { .. } if self.liveness.uses_cues() => Some(network.score(image, face)?),
            Verdict::Known { .. } | Verdict::Unknown { .. } | Verdict::Refused(_) => None,
        })
    }

    /// What liveness wants done.
    fn take(&mut self, steps: Vec<Step>, began: Instant) {
        for step in steps {
            match step {
                Step::Ask(prompt) => {
                    self.ask(prompt);
                }
                Step::VoteAgain(track) => self.vote.again(track),
                Step::Told(track) => self.vote.told(track, self.clock.now()),
                Step::Decided(decision) => self.conclude(&decision, began),
            }
        }
    }

    /// A decision, and what the person could do about it.
    fn conclude(&mut self, decision: &Decision, began: Instant) {
        self.decided(decision, began.elapsed());
        if let Some(prompt) = hint(&decision.outcome) {
            self.record(What::Event(EventKind::Prompt(prompt)));
        }
    }

    /// Who a replay shows. A visit that ends undecided is decided by what was seen of it.
    pub(super) fn visitor(&mut self, label: Option<&str>) {
        if self.label.as_deref() == label {
            return;
        }
        let before = std::mem::replace(&mut self.label, label.map(str::to_owned));
        self.tracker.forget();
        self.motion.wake(self.clock.now());
        self.hours.deny_listed_at = None;
        let examined = self.liveness.visitor_changed();
        let mut last = self.vote.visitor_changed();
        if let Some(examined) = examined {
            last.retain(|decision| decision.track != examined.track);
            last.insert(0, examined);
        }
        for decision in last.iter().filter(|_| before.is_some()) {
            self.decided(decision, Duration::ZERO);
        }
    }
}

fn nothing(seen: Seen) -> View {
    View {
        seen,
        looks: vec![],
    }
}

/// The faces that a frame is about.
struct Chosen {
    faces: Vec<usize>,
    together: bool,
    refused: bool,
}

impl Chosen {
    fn these(faces: Vec<usize>) -> Chosen {
        Chosen {
            faces,
            together: false,
            refused: false,
        }
    }
}

/// What would help, told beside the denial.
fn hint(outcome: &Outcome) -> Option<Prompt> {
    let Outcome::Denied(vote::Reason::Quality(reason)) = outcome else {
        return None;
    };
    match reason {
        quality::Reason::TooSmall => Some(Prompt::ComeNearer),
        quality::Reason::Blurred => Some(Prompt::HoldStill),
        quality::Reason::TurnedAway => Some(Prompt::LookStraight),
        quality::Reason::Dark
        | quality::Reason::Bright
        | quality::Reason::HalfVisible
        | quality::Reason::SeveralFaces => None,
    }
}

/// Of the system's random numbers: nobody foresees the order of a challenge.
fn random() -> Result<u64, Error> {
    getrandom::u64().map_err(|e| Error::Bug(format!("the system has no random numbers: {e}")))
}
