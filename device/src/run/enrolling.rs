//! Enrolling at the running door: the button and hosts begin it, `look` hands it the frames, `decided` the admin's face.
//!
//! Here is what follows from what `enroll` says: prompts on the indicator and among the events, the record, the gallery,
//! and the matcher made anew, so that the newcomer is known to the next frame. While an enrollment goes on no face opens
//! the door; a fault, a lockdown or a fire ends it.

use std::time::Duration;

use facelatch_boards::{Pattern, Sound};
use facelatch_models::{align::align, embedding::Embedding, mtcnn::Face};
use facelatch_protocol::{
    DisplayName, Enrollment as Step, EventKind, NameError, NotEnrolled, PersonId, SpaceName,
    Template,
};
use image::RgbImage;

use super::{DENIED_SHOWN, Running, ask::pattern};
use crate::{
    audit::What,
    door::{Asker, Mode},
    enroll::{Head, Look, Newcomer, Progress, Wanted},
    error::Error,
    events::wire_reason,
    policy,
    quality::{self, Choice},
    vote::{self, Decision, Outcome},
};

/// How far a head may be turned while somebody is enrolled, whatever the door allows otherwise; `enroll` asks for less.
const YAW_DEG: f32 = 40.0;
const PITCH_DEG: f32 = 35.0;

impl Running {
    /// What was pressed at the door.
    pub(super) fn button(&mut self) {
        let Some(button) = &mut self.panel.button else {
            return;
        };
        match button.pressed() {
            Ok(None) => {}
            Ok(Some(press)) => self.pressed(press.held),
            Err(error) => {
                log::warn!("{error}; the button is ignored from now on");
                self.panel.button = None;
            }
        }
    }

    fn pressed(&mut self, held: Duration) {
        let pairing = Duration::from_millis(self.config.pairing.hold_ms);
        let enrolling = Duration::from_millis(self.config.enroll.hold_ms);
        if !pairing.is_zero() && held >= pairing {
            self.pairing_by_button();
        } else if self.enrollment.is_open() {
            self.end_enrollment(NotEnrolled::GivenUp);
        } else if !self.config.enroll.button {
            log::info!("button pressed; enrolling at the door is off (enroll.button)");
        } else if held < enrolling {
            let seconds = enrolling.as_secs_f32();
            log::info!("button pressed; hold it for {seconds} s to enroll somebody");
        } else {
            self.begin_enrollment();
        }
    }

    fn begin_enrollment(&mut self) {
        let (now, rules) = (self.clock.now(), self.config.enroll());
        let progress = if self.is_shut() {
            Progress::Refused(NotEnrolled::Fault)
        } else if self.gallery.has_room().is_err() {
            Progress::Refused(NotEnrolled::Full)
        } else {
            self.enrollment.begin(self.has_admin(), now, &rules)
        };
        if self.enrollment.is_open() {
            // Frames of before the press do not vouch for anybody.
            self.forget_faces();
            self.tell(Step::Asked);
        }
        self.enrolled(progress);
    }

    /// A host lets the next face be enrolled, with no admin's face before.
    ///
    /// # Errors
    /// [`Error::PersonExists`], [`Error::Full`], [`Error::Storage`].
    pub(crate) fn open_enrollment(&mut self, wanted: Wanted, by: Asker) -> Result<(), Error> {
        if let Some(person) = &wanted.person
            && self.gallery.contains(person)
        {
            return Err(Error::PersonExists(person.to_string()));
        }
        self.gallery.has_room()?;
        let Asker { host, name } = by;
        self.noted(What::Event(EventKind::Enrollment(Step::Opened {
            host,
            name,
        })))?;
        self.forget_faces();
        let (now, rules) = (self.clock.now(), self.config.enroll());
        let progress = self.enrollment.open(wanted, now, &rules);
        self.enrolled(progress);
        Ok(())
    }

    /// Ends an enrollment, if one goes on.
    pub(crate) fn end_enrollment(&mut self, why: NotEnrolled) {
        let ended = self.enrollment.end(why);
        self.enrolled(ended);
    }

    /// Time passed.
    pub(super) fn enrollment_tick(&mut self) {
        if !self.enrollment.is_open() {
            return;
        }
        if self.is_shut() {
            return self.end_enrollment(NotEnrolled::Fault);
        }
        let progress = self
            .enrollment
            .tick(self.clock.now(), &self.config.enroll());
        self.enrolled(progress);
    }

    /// Whether something beats an enrollment: a fault, a lockdown, a fire.
    pub(crate) fn is_shut(&self) -> bool {
        self.door.lets_in().is_err() || self.door.mode() == Mode::Fire
    }

    /// Whether this person may vouch for newcomers by their face: the policy's admins, so nobody without one.
    fn may_vouch(&self, person: &PersonId) -> bool {
        let policy = self.policy.as_ref();
        policy.is_some_and(|policy| policy.rules.is_admin(person))
    }

    fn has_admin(&self) -> bool {
        let mut people = self.gallery.people(None);
        people.any(|person| person.templates > 0 && self.may_vouch(&person.person))
    }

    /// Whether a decision is about the admin's face that is awaited, and so is told. All others are about faces that are
    /// looked at for another reason than to be let in.
    pub(super) fn tells_of_admin(&mut self, decision: &Decision) -> bool {
        match (&decision.outcome, decision.track) {
            (Outcome::Denied(vote::Reason::Quality(reason)), Some(_)) => {
                let progress = self.poor(*reason);
                self.enrolled(progress);
                false
            }
            (
                Outcome::Granted { .. }
                | Outcome::Denied(vote::Reason::Rejected(_) | vote::Reason::NotLive),
                Some(_),
            ) => self.enrollment.awaits_admin(),
            (Outcome::Granted { .. } | Outcome::Denied(_), _) => false,
        }
    }

    /// The face awaited was decided on, and for which reason it does not open the door.
    pub(super) fn admin_decided(&mut self, decision: &Decision, refused: policy::Reason) {
        let admin = match &decision.outcome {
            // Whoever would be refused anyway vouches for nobody.
            Outcome::Granted { person } if refused == policy::Reason::Enrolling => {
                PersonId::parse(person).ok()
            }
            Outcome::Granted { .. } | Outcome::Denied(_) => None,
        };
        let Some(admin) = admin.filter(|admin| self.may_vouch(admin)) else {
            return self.end_enrollment(NotEnrolled::NotAdmin);
        };
        self.forget_faces();
        self.tell(Step::Vouched {
            admin: admin.clone(),
        });
        let (now, rules) = (self.clock.now(), self.config.enroll());
        let progress = self.enrollment.vouched(&admin, now, &rules);
        self.enrolled(progress);
    }

    /// A frame's faces, while a newcomer's is awaited: true, and nothing else is made of the frame. False: nobody's is, and
    /// the frame goes its usual way.
    pub(super) fn enrolling(&mut self, image: &RgbImage, faces: &[Face]) -> Result<bool, Error> {
        if !self.enrollment.awaits_newcomer() {
            return Ok(false);
        }
        let progress = self.newcomer(image, faces)?;
        self.enrolled(progress);
        Ok(true)
    }

    fn newcomer(&mut self, image: &RgbImage, faces: &[Face]) -> Result<Progress, Error> {
        let limits = self.config.limits();
        let limits = quality::Limits {
            yaw_deg: limits.yaw_deg.max(YAW_DEG),
            pitch_deg: limits.pitch_deg.max(PITCH_DEG),
            ..limits
        };
        let good = match quality::choose(faces, &limits) {
            Choice::Nobody => return Ok(Progress::Waiting),
            Choice::One(face) => {
                let face = &faces[face];
                quality::check(image, face, &limits).map(|measures| (face, measures))
            }
            Choice::Together(_) | Choice::Refused(_) => Err(quality::Reason::SeveralFaces),
        };
        let (face, measures) = match good {
            Ok(good) => good,
            Err(reason) => return Ok(self.poor(reason)),
        };
        let (now, rules) = (self.clock.now(), self.config.enroll());
        let head = Head {
            yaw_deg: measures.yaw_deg,
            pitch_deg: measures.pitch_deg,
        };
        if !self.enrollment.wants(&face.rect, head, now, &rules) {
            return Ok(Progress::Waiting);
        }
        let crop = align(image, face, self.networks.embedder.crop_spec());
        let probe = self.networks.embedder.embed(&crop)?;
        let matcher = self.matcher()?;
        let verdict = matcher.identify(&probe)?;
        let max_distance = matcher.gate().max_distance;
        let look = Look {
            rect: face.rect,
            head,
            luma: measures.luma,
            template: self.networks.embedder.embed_template(&crop)?,
            verdict: &verdict,
            max_distance,
        };
        Ok(self.enrollment.face(look, now, &rules)?)
    }

    /// A face that is not good enough, in the words of the link.
    fn poor(&mut self, reason: quality::Reason) -> Progress {
        let reason = policy::Reason::NotRecognised(vote::Reason::Quality(reason));
        self.enrollment.poor(wire_reason(reason))
    }

    /// What an enrollment came to.
    fn enrolled(&mut self, progress: Progress) {
        match progress {
            Progress::Waiting => {}
            Progress::Ask(prompt) => {
                self.ask(prompt);
            }
            Progress::Hint(prompt) => {
                self.record(What::Event(EventKind::Prompt(prompt)));
            }
            Progress::Taken { taken, wanted, ask } => {
                // At most `enroll.frames`, 20.
                let (taken, wanted) = (taken as u8, wanted as u8);
                self.tell(Step::Taken { taken, wanted });
                if let Some(prompt) = ask {
                    self.ask(prompt);
                }
            }
            Progress::Done(newcomer) => {
                // Who stands there was nobody until now.
                self.forget_faces();
                // At most `enroll.frames`, 20.
                let (templates, coverage) = (newcomer.templates.len() as u8, newcomer.coverage);
                let (taken, wanted) = (templates, templates);
                self.tell(Step::Taken { taken, wanted });
                match self.admit(newcomer) {
                    Ok(person) => {
                        self.tell(Step::Done {
                            person,
                            templates,
                            coverage,
                        });
                        self.show_end(Pattern::Granted, Sound::Granted);
                    }
                    Err(error) => self.not_admitted(&error),
                }
            }
            Progress::Refused(why) => {
                self.forget_faces();
                self.tell(Step::Refused(why));
                self.show_end(Pattern::Denied, Sound::Denied);
            }
        }
    }

    /// Writes the newcomer to the gallery in one piece, and learns them.
    fn admit(&mut self, newcomer: Newcomer) -> Result<PersonId, Error> {
        let bug = |e: NameError| Error::Bug(format!("enrollment: {e}"));
        let unix_ms = self.unix_ms();
        let Wanted { person, name } = newcomer.wanted;
        let person = person.map_or_else(|| self.made_up(unix_ms).map_err(bug), Ok)?;
        let made_up = || DisplayName::parse(&format!("enrolled at the door, {unix_ms}"));
        let name = name.map_or_else(|| made_up().map_err(bug), Ok)?;
        let template = |e: &Embedding| {
            let values = e.values().iter().copied().collect();
            Ok(Template {
                space: SpaceName::parse(e.space().as_str()).map_err(bug)?,
                values,
            })
        };
        let templates: Vec<Template> = newcomer
            .templates
            .iter()
            .map(template)
            .collect::<Result<_, Error>>()?;
        self.gallery.enroll(&person, &name, &templates, unix_ms)?;
        self.people_are_new();
        self.noted(What::PersonAdded {
            person: person.clone(),
        })?;
        self.noted(What::TemplatesAdded {
            person: person.clone(),
            // At most `enroll.frames`, 20.
            count: templates.len() as u32,
        })?;
        // The classifier too: the next frame knows the newcomer.
        self.matcher()?;
        Ok(person)
    }

    /// An id nobody has.
    fn made_up(&self, unix_ms: u64) -> Result<PersonId, NameError> {
        let mut number = unix_ms;
        loop {
            let id = PersonId::parse(&format!("door-{number}"))?;
            if !self.gallery.contains(&id) {
                return Ok(id);
            }
            number = number.wrapping_add(1);
        }
    }

    fn not_admitted(&mut self, error: &Error) {
        log::error!("enrollment: {error}");
        let why = match matches!(error, Error::Full { .. }) {
            true => NotEnrolled::Full,
            false => NotEnrolled::Fault,
        };
        self.tell(Step::Refused(why));
        self.show_end(Pattern::Denied, Sound::Denied);
        self.storage_failed(error);
    }

    /// What was seen of anybody until now counts no longer.
    fn forget_faces(&mut self) {
        self.vote.visitor_changed();
        self.liveness.visitor_changed();
    }

    fn tell(&mut self, step: Step) {
        self.record(What::Event(EventKind::Enrollment(step)));
    }

    /// Shows and sounds how it ended, for a while; what ended it, if that has to be seen.
    fn show_end(&mut self, pattern: Pattern, sound: Sound) {
        if self.is_shut() {
            return self.show(self.door.mode().pattern());
        }
        self.show(pattern);
        self.ready_at = Some(self.clock.now() + DENIED_SHOWN);
        self.sound_shortly(sound);
    }

    /// Shows the door's pattern; while somebody is being enrolled, what they are asked for instead of "ready".
    pub(super) fn indicate(&mut self, shown: Pattern) {
        let prompt = self.enrollment.prompt().filter(|_| shown == Pattern::Ready);
        self.show(prompt.map_or(shown, pattern));
    }
}
