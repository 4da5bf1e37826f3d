//! Embedding + templates + classifier -> [`Verdict`]: who one face in one frame is, if anyone. Pure.
//!
//! The rule itself is `models::openset`, shared with the host's evaluation; here it is bound to the people of this door.
//! Votes over several frames are counted in `vote`. Called by `run`.

use facelatch_models::{
    Error,
    calibrate::Calibration,
    classifier::Classifier,
    embedding::{Embedding, SpaceId},
    openset::{Gate, Judgement, Reject, Roster},
};

use crate::quality;

/// Everything needed to recognise the people of this door, all of one embedding space.
#[derive(Debug, Clone)]
pub struct Matcher {
    roster: Roster,
    classifier: Option<Classifier>,
    gate: Gate,
}

/// What one frame says about one face.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// An enrolled person.
    Known {
        /// Person id.
        person: String,
        /// What it rests on.
        evidence: Evidence,
    },
    /// Nobody we know.
    Unknown {
        /// Which gate refused.
        reject: Reject,
        /// What it rests on.
        evidence: Evidence,
    },
    /// Not good enough to be judged.
    Refused(quality::Reason),
}

/// The figures behind a verdict.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// Person id of the nearest person, whether recognised or not.
    pub nearest: Option<String>,
    /// Cosine distance to the nearest person's nearest template.
    pub distance: Option<f32>,
    /// How much further the second-nearest person is.
    pub margin: Option<f32>,
    /// The classifier's probability of the nearest person.
    pub probability: Option<f32>,
}

impl Matcher {
    /// Binds templates, an optional classifier and the gate together; the gate tightens with the number of people: by the
    /// calibration, which gives look-alikes distances of their own, or without one by [`Gate::tightened`].
    ///
    /// # Errors
    /// [`Error::Space`] if templates, classifier and calibration are not of `space`.
    pub fn new(
        space: SpaceId,
        templates: &[(String, Embedding)],
        classifier: Option<Classifier>,
        gate: &Gate,
        calibration: Option<&Calibration>,
    ) -> Result<Matcher, Error> {
        if let Some(classifier) = &classifier
            && classifier.space != space
        {
            return Err(Error::Space {
                expected: space.as_str().to_owned(),
                found: classifier.space.as_str().to_owned(),
            });
        }
        let mut roster = Roster::new(space, templates)?;
        let gate = match calibration {
            Some(calibration) => {
                roster.space().expect(&calibration.space)?;
                calibration.apply(&mut roster, templates, gate)?
            }
            None => gate.tightened(roster.people()),
        };
        Ok(Matcher {
            roster,
            classifier,
            gate,
        })
    }

    /// Number of people who can be recognised.
    #[must_use]
    pub fn people(&self) -> usize {
        self.roster.people()
    }

    /// The gate in force, tightened for this many people.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Judges one embedding.
    ///
    /// # Errors
    /// [`Error::Space`] if the embedding is of another space.
    pub fn identify(&self, probe: &Embedding) -> Result<Verdict, Error> {
        let judgement = self
            .roster
            .judge(probe, self.classifier.as_ref(), &self.gate)?;
        Ok(Verdict::from(judgement))
    }
}

impl From<Judgement> for Verdict {
    fn from(judgement: Judgement) -> Verdict {
        let distance = judgement.nearest.as_ref().map(|c| c.distance);
        let second = judgement.second.as_ref().map(|c| c.distance);
        let evidence = Evidence {
            nearest: judgement.nearest.map(|c| c.person),
            distance,
            margin: second
                .zip(distance)
                .map(|(second, nearest)| second - nearest),
            probability: judgement.probability,
        };
        match judgement.outcome {
            Ok(person) => Verdict::Known { person, evidence },
            Err(reject) => Verdict::Unknown { reject, evidence },
        }
    }
}

#[cfg(test)]
mod tests {
    use facelatch_models::openset::Candidate;

    use super::*;

    #[test]
    fn a_judgement_becomes_a_verdict_with_its_figures() {
        let candidate = |person: &str, distance| {
            Some(Candidate {
                person: person.into(),
                distance,
            })
        };
        let judgement = Judgement {
            nearest: candidate("ada", 0.25),
            second: candidate("bob", 0.75),
            probability: Some(0.9),
            outcome: Ok("ada".into()),
        };
        let evidence = Evidence {
            nearest: Some("ada".into()),
            distance: Some(0.25),
            margin: Some(0.5),
            probability: Some(0.9),
        };
        assert_eq!(
            Verdict::from(judgement),
            Verdict::Known {
                person: "ada".into(),
                evidence
            }
        );

        let empty = Judgement {
            nearest: None,
            second: None,
            probability: None,
            outcome: Err(Reject::EmptyGallery),
        };
        assert_eq!(
            Verdict::from(empty),
            Verdict::Unknown {
                reject: Reject::EmptyGallery,
                evidence: Evidence::default()
            }
        );
    }
}
