//! The people of the running door: who can be recognised, bundles taken over, enrollment at the door.
//!
//! Every change drops the matcher and the votes so far; the next frame makes them again.

use std::time::{Duration, Instant};

use facelatch_boards::Pattern;
use facelatch_models::{
    classifier::{Classifier, TrainConfig},
    embedding::{Embedding, SpaceId},
};
use facelatch_protocol::{
    BundleFault, Digest, DisplayName, EventKind, NameError, PersonId, Refusal, SpaceName, Template,
    UpdateStep,
};

use super::{DENIED_SHOWN, Running};
use crate::{
    audit::What,
    config::Config,
    enroll::{self, Progress},
    error::Error,
    gallery,
    identify::Matcher,
    link::handlers,
    swap::{Prepared, Step},
};

impl Running {
    /// The people as `identify` needs them; made again after every change of people or networks.
    pub(super) fn matcher(&mut self) -> Result<&Matcher, Error> {
        let matcher = match self.matcher.take() {
            Some(matcher) => matcher,
            None => self.new_matcher()?,
        };
        Ok(self.matcher.insert(matcher))
    }

    pub(super) fn new_matcher(&self) -> Result<Matcher, Error> {
        let templates = self.gallery.embeddings()?;
        let space = self.networks.embedder.space().clone();
        let classifier = self.current_classifier(&space, &templates)?;
        Ok(Matcher::new(
            space,
            &templates,
            classifier,
            &self.config.gate(),
        )?)
    }

    /// The bundle's classifier while it knows exactly the people with templates, else one trained here and now.
    pub(super) fn current_classifier(
        &self,
        space: &SpaceId,
        templates: &[(String, Embedding)],
    ) -> Result<Option<Classifier>, Error> {
        let mut people: Vec<&str> = templates
            .iter()
            .map(|(person, _)| person.as_str())
            .collect();
        people.dedup();
        let bundled = self.classifier.as_ref().filter(|classifier| {
            self.gallery.is_as_in_bundle()
                && classifier.space == *space
                && classifier.people.iter().eq(people.iter())
        });
        if bundled.is_some() || people.is_empty() {
            return Ok(bundled.cloned());
        }
        let examples: Vec<_> = templates
            .iter()
            .map(|(p, e)| (Some(p.as_str()), e))
            .collect();
        let began = Instant::now();
        let trained = Classifier::train(&examples, &TrainConfig::default())?;
        log::info!(
            "classifier trained for {} people from {} templates in {} ms",
            people.len(),
            examples.len(),
            began.elapsed().as_millis()
        );
        Ok(Some(trained))
    }

    /// Somebody was added, changed or removed: votes and classifier of before count no longer.
    pub(crate) fn people_changed(&mut self, what: What) -> Result<(), Error> {
        self.people_are_new();
        let now = self.unix_ms();
        self.events.record(now, what)
    }

    pub(super) fn people_are_new(&mut self) {
        self.matcher = None;
        self.vote.forget();
    }

    pub(super) fn swap(&mut self, step: Step) -> Result<(), Refusal> {
        match step {
            Step::Offer(prepared) => {
                let space = prepared.space.as_str();
                let fits = self.gallery.accepts(space, prepared.gallery.as_deref());
                if let Err(error) = fits {
                    log::warn!("bundle refused: {error}");
                    return Err(match error {
                        Error::Space { .. } => Refusal::Bundle(BundleFault::Space),
                        other => handlers::refusal(self, &other),
                    });
                }
                self.offered = Some(prepared);
                Ok(())
            }
            Step::Adopt { progress } => {
                self.progress = progress;
                let offered = self.offered.take().ok_or(Refusal::Internal)?;
                self.adopt(*offered).map_err(|error| {
                    let told = handlers::refusal(self, &error);
                    self.storage_failed(&error);
                    told
                })
            }
        }
    }

    /// Takes over a bundle's networks and people.
    pub(crate) fn adopt(&mut self, prepared: Prepared) -> Result<(), Error> {
        if let Some(networks) = prepared.networks {
            self.networks = networks;
        }
        self.classifier = prepared.classifier;
        self.people_are_new();
        let Some(bundle) = prepared.bundle else {
            return Ok(());
        };
        if self.gallery.bundle() != Some(bundle.digest) {
            let digest = bundle.digest;
            self.update(digest, UpdateStep::Committed)?;
            self.gallery
                .merge(digest, &prepared.space, prepared.gallery.as_deref())?;
        }
        self.update(bundle.digest, UpdateStep::Running)
    }

    pub(super) fn update(&mut self, digest: Digest, step: UpdateStep) -> Result<(), Error> {
        let now = self.unix_ms();
        self.events
            .record(now, What::Event(EventKind::Update { digest, step }))
    }

    pub(super) fn button(&mut self, now: Duration) {
        let Some(button) = &mut self.button else {
            return;
        };
        match button.pressed() {
            Ok(None) => {}
            Ok(Some(_)) if !self.config.enroll.button => {
                log::info!("button pressed; enrolling at the door is off (enroll.button)");
            }
            Ok(Some(_)) => {
                self.enrollment.press(now, &self.enroll_rules());
                let open = self.enrollment.is_open();
                log::info!("enrollment {}", if open { "begun" } else { "given up" });
                self.show(if open {
                    Pattern::Enrolling
                } else {
                    Pattern::Ready
                });
            }
            Err(error) => {
                log::warn!("{error}; the button is ignored from now on");
                self.button = None;
            }
        }
    }

    pub(super) fn enroll_rules(&self) -> enroll::Rules {
        let e = &self.config.enroll;
        enroll::Rules {
            window: Duration::from_millis(e.window_ms),
            frames: e.frames,
            spacing: Duration::from_millis(e.spacing_ms),
            min_overlap: self.config.vote.min_overlap as f32,
        }
    }

    /// What an enrollment came to.
    pub(super) fn enrolled(&mut self, progress: Progress) {
        let pattern = match progress {
            Progress::Waiting => return,
            Progress::TimedOut => {
                log::info!("enrollment: time is up");
                Pattern::Denied
            }
            Progress::AlreadyEnrolled(person) => {
                log::info!("enrollment: this is {person} already");
                Pattern::Denied
            }
            Progress::Done(embeddings) => match self.enroll(&embeddings) {
                Ok(person) => {
                    log::info!("enrollment: {person} is enrolled");
                    Pattern::Granted
                }
                Err(error) => {
                    log::error!("enrollment: {error}");
                    self.storage_failed(&error);
                    Pattern::Denied
                }
            },
        };
        self.show(pattern);
        self.ready_at = Some(self.clock.now() + DENIED_SHOWN);
    }

    pub(super) fn enroll(&mut self, embeddings: &[Embedding]) -> Result<PersonId, Error> {
        let bug = |e: NameError| Error::Bug(format!("enrollment: {e}"));
        let unix_ms = self.unix_ms();
        let person = PersonId::parse(&format!("door-{unix_ms}")).map_err(bug)?;
        let name = DisplayName::parse(&format!("enrolled at the door, {unix_ms}")).map_err(bug)?;
        let template = |e: &Embedding| {
            let values = e.values().iter().copied().collect();
            Ok(Template {
                space: SpaceName::parse(e.space().as_str()).map_err(bug)?,
                values,
            })
        };
        let templates: Vec<Template> = embeddings
            .iter()
            .map(template)
            .collect::<Result<_, Error>>()?;
        self.gallery.add_person(&person, &name, unix_ms)?;
        self.gallery.add_templates(&person, &templates, unix_ms)?;
        // At most `enroll.frames`, 20.
        let count = templates.len() as u32;
        self.people_changed(What::PersonAdded {
            person: person.clone(),
        })?;
        self.people_changed(What::TemplatesAdded {
            person: person.clone(),
            count,
        })?;
        Ok(person)
    }

    /// Limits of the gallery, from the settings.
    pub(crate) fn gallery_limits(config: &Config) -> gallery::Limits {
        gallery::Limits {
            people: config.gallery.max_people,
            templates: config.gallery.max_templates_per_person,
        }
    }
}
