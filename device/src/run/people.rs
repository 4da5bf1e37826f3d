//! The people of the running door: who can be recognised, and bundles taken over.
//!
//! Every change drops the matcher and the votes so far; the next frame makes them again.

use std::time::Instant;

use facelatch_models::{
    classifier::Classifier,
    embedding::{Embedding, SpaceId},
};
use facelatch_protocol::{
    BundleFault, Digest, EventKind, NotEnrolled, Refusal, RolledBack, UpdateStep,
};

use super::Running;
use crate::{
    audit::What,
    config::Config,
    error::Error,
    gallery::{self, Gallery, Incoming},
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
        let calibration = self.calibration.as_ref().filter(|c| c.space == space);
        let gate = self.config.gate(&self.networks.embedder.gate());
        Ok(Matcher::new(
            space,
            &templates,
            classifier,
            &gate,
            calibration,
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
            self.gallery.classifier().is_some()
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
        // As the operator chose to train it.
        let config = self.classifier.as_ref().map(|c| c.config.clone());
        let trained = Classifier::train(&examples, &config.unwrap_or_default())?;
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
        self.classifier = self.gallery.classifier().and_then(Classifier::from_bytes);
        self.matcher = None;
        self.vote.forget();
    }

    pub(super) fn swap(&mut self, step: Step) -> Result<(), Refusal> {
        let done = match step {
            Step::Offer(prepared) => {
                if let Err(error) = fits(&self.gallery, &prepared) {
                    log::warn!("bundle refused: {error}");
                    return Err(match error {
                        Error::Space { .. } => Refusal::Bundle(BundleFault::Space),
                        other => handlers::refusal(self, &other),
                    });
                }
                self.offered = Some(prepared);
                return Ok(());
            }
            Step::Adopt { progress } => {
                let Some(prepared) = self.offered.take() else {
                    return Err(Refusal::Internal);
                };
                self.progress = progress;
                self.adopt(*prepared)
            }
            Step::Confirm { progress } => {
                self.progress = progress;
                self.confirm()
            }
            Step::GoBack {
                prepared,
                rolled_back,
                progress,
            } => {
                self.progress = progress;
                self.offered = None;
                self.rolled_back(&rolled_back)
                    .and_then(|()| self.adopt(*prepared))
            }
        };
        done.map_err(|error| {
            log::error!("bundle: {error}");
            let told = handlers::refusal(self, &error);
            self.storage_failed(&error);
            told
        })
    }

    /// Takes over a bundle's people and networks. What was there before of people is kept while it is on trial.
    pub(crate) fn adopt(&mut self, prepared: Prepared) -> Result<(), Error> {
        match self.install(prepared)? {
            Some(bundle) => self.note_running(bundle),
            None => Ok(()),
        }
    }

    /// The bundle taken over is in use now: on record.
    pub(crate) fn note_running(&mut self, bundle: Digest) -> Result<(), Error> {
        self.update(bundle, UpdateStep::Running)
    }

    /// As [`Running::adopt`], but for the last word on record; the bundle that is in use now.
    pub(crate) fn install(&mut self, prepared: Prepared) -> Result<Option<Digest>, Error> {
        let bundle = prepared.bundle.map(|bundle| bundle.digest);
        // Its templates would be of the networks of before.
        self.end_enrollment(NotEnrolled::Fault);
        self.updates.on_trial = None;
        let mut is_meant = prepared.on_trial;
        if self.gallery.bundle() == bundle {
            if !prepared.on_trial && self.gallery.before().is_some() {
                self.gallery.confirm()?;
            }
        } else if self.gallery.before() == Some(bundle) {
            self.gallery.roll_back()?;
            is_meant = true;
        } else if let (Some(digest), Some(incoming)) = (bundle, incoming(&prepared)) {
            self.update(digest, UpdateStep::Committed)?;
            self.gallery.take_over(&incoming)?;
            if !prepared.on_trial {
                self.gallery.confirm()?;
            }
        }
        if let Some(networks) = prepared.networks {
            self.networks = networks;
        }
        self.calibration = prepared.calibration;
        self.adopt_policy(prepared.policy, is_meant)?;
        self.people_are_new();
        self.updates.on_trial = bundle.filter(|_| prepared.on_trial);
        Ok(bundle)
    }

    /// The bundle on trial has proved itself.
    fn confirm(&mut self) -> Result<(), Error> {
        self.gallery.confirm()?;
        self.forget_visits_of_others()?;
        match self.progress.active {
            Some(bundle) => self.update(bundle.digest, UpdateStep::Confirmed),
            None => Ok(()),
        }
    }

    /// A bundle did not prove itself: why, on record.
    pub(crate) fn rolled_back(&mut self, rolled_back: &RolledBack) -> Result<(), Error> {
        let RolledBack {
            id, reason, text, ..
        } = rolled_back;
        let kind = EventKind::RolledBack {
            digest: id.digest,
            reason: *reason,
            text: text.clone(),
        };
        self.noted(What::Event(kind))
    }

    pub(super) fn update(&mut self, digest: Digest, step: UpdateStep) -> Result<(), Error> {
        let now = self.unix_ms();
        self.events
            .record(now, What::Event(EventKind::Update { digest, step }))
    }

    /// Limits of the gallery, from the settings.
    pub(crate) fn gallery_limits(config: &Config) -> gallery::Limits {
        gallery::Limits {
            people: config.gallery.max_people,
            templates: config.gallery.max_templates_per_person,
        }
    }
}

/// Whether [`Running::adopt`] has a place for what a bundle brings.
///
/// # Errors
/// As for [`Gallery::accepts`].
pub(crate) fn fits(gallery: &Gallery, prepared: &Prepared) -> Result<(), Error> {
    let bundle = prepared.bundle.map(|bundle| bundle.digest);
    let was_there = gallery.bundle() == bundle || gallery.before() == Some(bundle);
    match incoming(prepared) {
        Some(incoming) if !was_there => gallery.accepts(&incoming),
        Some(_) | None => Ok(()),
    }
}

/// What a bundle brings to the gallery; `None` for the installed networks alone.
fn incoming(prepared: &Prepared) -> Option<Incoming<'_>> {
    prepared.bundle.map(|bundle| Incoming {
        bundle: bundle.digest,
        space: &prepared.space,
        records: prepared.gallery.as_deref(),
        classifier: prepared.classifier.as_ref().map(|bytes| bytes.as_slice()),
        replace: prepared.replace,
    })
}
