//! Who is in a photo: every face found, judged by the same open-set rule a door uses, and drawn.
//!
//! One photo is one frame: a door asks for several in agreement before it opens. Called by `cmd/predict.rs` and the
//! demo's tagged pictures.

use facelatch_models::{
    classifier::Classifier,
    embedding::{Embedding, SpaceId},
    metric::Head,
    mtcnn::Face,
    openset::{Gate, Judgement, Roster},
};
use image::RgbImage;
use serde::Serialize;

use crate::{
    Error,
    draw::{Colour, Tag},
    embed::{Kind, Networks},
    evaluate::openset::reason,
};

/// Everything one face is judged by.
#[derive(Debug, Clone)]
pub struct Judge {
    /// Everybody's templates.
    pub roster: Roster,
    /// The classifier.
    pub classifier: Classifier,
    /// The gate, tightened for the number of people.
    pub gate: Gate,
    /// What the networks' embeddings go through first.
    pub head: Option<Head>,
}

/// One face and who it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// x, y, width, height in pixels of the upright photo.
    #[serde(rename = "box")]
    pub rect: [f32; 4],
    /// Face probability.
    pub score: f32,
    /// The enrolled person, if recognised.
    pub person: Option<String>,
    /// "recognised", or why not.
    pub reason: &'static str,
    /// The nearest enrolled person, recognised or not.
    pub nearest: Option<String>,
    /// Cosine distance to the nearest person's nearest template.
    pub distance: Option<f32>,
    /// The classifier's probability of the nearest person.
    pub probability: Option<f32>,
}

impl Judge {
    /// The space of the networks to use.
    #[must_use]
    pub fn base(&self) -> &SpaceId {
        let head = self.head.as_ref();
        head.map_or(&self.classifier.space, |head| &head.learned().base)
    }

    /// Finds and judges all faces of a photo, best score first.
    ///
    /// # Errors
    /// [`Error::Models`] if a network fails or is of another space than the templates.
    pub fn photo(
        &self,
        networks: &mut Networks,
        photo: &RgbImage,
    ) -> Result<Vec<(Face, Verdict)>, Error> {
        let faces = networks.detector.detect(photo)?;
        let mut verdicts = Vec::with_capacity(faces.len());
        for face in faces {
            let (_, verdict) = self.face(networks, photo, &face)?;
            verdicts.push((face, verdict));
        }
        Ok(verdicts)
    }

    /// Judges one face of a photo; its embedding as well.
    ///
    /// # Errors
    /// As for [`Judge::photo`].
    pub fn face(
        &self,
        networks: &mut Networks,
        photo: &RgbImage,
        face: &Face,
    ) -> Result<(Embedding, Verdict), Error> {
        let mut probe = networks.embed(photo, face, Kind::Probe)?;
        if let Some(head) = &self.head {
            probe = head.bring(probe)?;
        }
        let judgement = self
            .roster
            .judge(&probe, Some(&self.classifier), &self.gate)?;
        Ok((probe, Verdict::new(face, judgement)))
    }
}

impl Verdict {
    fn new(face: &Face, judgement: Judgement) -> Verdict {
        let (person, reason) = match judgement.outcome {
            Ok(person) => (Some(person), "recognised"),
            Err(reject) => (None, reason(reject)),
        };
        Verdict {
            rect: [face.rect.x, face.rect.y, face.rect.w, face.rect.h],
            score: face.score,
            person,
            reason,
            distance: judgement.nearest.as_ref().map(|nearest| nearest.distance),
            nearest: judgement.nearest.map(|nearest| nearest.person),
            probability: judgement.probability,
        }
    }

    /// The verdict as drawn into the photo: green for somebody enrolled, red for anybody else.
    #[must_use]
    pub fn tag(&self, face: &Face) -> Tag {
        let mut figures = Vec::new();
        figures.extend(self.distance.map(|d| format!("d {d:.2}")));
        figures.extend(self.probability.map(|p| format!("p {p:.2}")));
        let (who, colour) = match &self.person {
            Some(person) => (person.clone(), Colour::Green),
            None => (format!("unknown: {}", self.reason), Colour::Red),
        };
        Tag {
            face: face.clone(),
            lines: vec![who, figures.join("  ")],
            colour,
        }
    }
}
