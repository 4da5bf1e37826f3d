//! Which photos of a dataset become templates of whom, and why others do not. Pure: readings in, plan out.
//!
//! A photo is refused, never guessed about: a template of the wrong face lets the wrong person in. Called by
//! `cmd/enroll.rs` and the demo.

use std::{collections::BTreeMap, fmt, path::Path};

use facelatch_models::mtcnn::Face;
use serde::Serialize;

use crate::{
    embed::{Outcome, Reading},
    home::Template,
};

/// The main face must have this many times the area of any other, or nobody can tell whose photo it is.
pub const DOMINANCE: f32 = 3.0;
/// The shorter side of a face that makes a good template, in pixels of the photo.
pub const MIN_TEMPLATE_FACE_PX: f32 = 40.0;

/// Why a photo makes no template.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Refusal {
    /// It cannot be read.
    Unreadable {
        /// What the reader said.
        error: String,
    },
    /// It shows no face.
    NoFace,
    /// It shows several faces and none dominates.
    SeveralFaces {
        /// How many.
        faces: usize,
    },
    /// The face is too small.
    TooSmall {
        /// Its shorter side in pixels.
        face_px: u32,
    },
    /// The same file stands in another person's folder.
    AlsoOf {
        /// Whose.
        person: String,
    },
    /// The same file is already used for this person.
    Duplicate,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unreadable { error } => f.write_str(error),
            Refusal::NoFace => f.write_str("no face found"),
            Refusal::SeveralFaces { faces } => write!(
                f,
                "{faces} faces and none has {DOMINANCE} times the area of every other: crop the photo to one person"
            ),
            Refusal::TooSmall { face_px } => write!(
                f,
                "the face is {face_px} pixels wide; a template needs {MIN_TEMPLATE_FACE_PX}"
            ),
            Refusal::AlsoOf { person } => write!(f, "the same file is in the folder of {person}"),
            Refusal::Duplicate => f.write_str("the same file is there twice"),
        }
    }
}

/// A refused photo.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Refused {
    /// The file.
    pub photo: std::path::PathBuf,
    /// Why.
    #[serde(flatten)]
    pub refusal: Refusal,
}

/// What becomes of one folder's photos.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The templates.
    pub templates: Vec<Template>,
    /// The photos refused.
    pub refused: Vec<Refused>,
}

/// Sorts readings (whose folder, which file, what was read) into plans by folder; `None` is the folder of unknown
/// people, of whom the main face is taken however many there are.
#[must_use]
pub fn plan(readings: &[(Option<&str>, &Path, &Outcome)]) -> BTreeMap<Option<String>, Plan> {
    let mut plans: BTreeMap<Option<String>, Plan> = BTreeMap::new();
    for (index, (person, path, outcome)) in readings.iter().enumerate() {
        let plan = plans.entry(person.map(str::to_owned)).or_default();
        let accepted = match outcome {
            Err(error) => Err(Refusal::Unreadable {
                error: error.to_string(),
            }),
            Ok(reading) => clash(readings, index, reading)
                .map_or_else(|| template(reading, person.is_none()), Err),
        };
        match accepted {
            Ok(template) => plan.templates.push(template),
            Err(refusal) => plan.refused.push(Refused {
                photo: path.to_path_buf(),
                refusal,
            }),
        }
    }
    plans
}

/// The same bytes under another name; with two people claiming it, neither gets it.
fn clash(
    readings: &[(Option<&str>, &Path, &Outcome)],
    index: usize,
    reading: &Reading,
) -> Option<Refusal> {
    let (person, ..) = readings[index];
    let same = |outcome: &Outcome| outcome.as_ref().is_ok_and(|r| r.sha256 == reading.sha256);
    let others = || {
        readings
            .iter()
            .enumerate()
            .filter(|&(i, (_, _, o))| i != index && same(o))
    };
    if let Some((_, (other, ..))) = others().find(|(_, (other, ..))| *other != person) {
        return Some(Refusal::AlsoOf {
            person: other.unwrap_or(crate::dataset::NONE).to_owned(),
        });
    }
    others()
        .any(|(i, _)| i < index)
        .then_some(Refusal::Duplicate)
}

fn template(reading: &Reading, of_unknown: bool) -> Result<Template, Refusal> {
    let Some((main, embedding)) = &reading.main else {
        return Err(Refusal::NoFace);
    };
    let face = &reading.faces[*main];
    if !of_unknown && !dominates(&reading.faces, *main) {
        return Err(Refusal::SeveralFaces {
            faces: reading.faces.len(),
        });
    }
    let shorter = face.rect.w.min(face.rect.h);
    if shorter < MIN_TEMPLATE_FACE_PX {
        return Err(Refusal::TooSmall {
            face_px: shorter as u32,
        });
    }
    Ok(Template {
        space: embedding.space().clone(),
        values: embedding.values().to_vec(),
        photo_sha256: reading.sha256,
        origin: reading
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    })
}

fn dominates(faces: &[Face], main: usize) -> bool {
    let area = |face: &Face| face.rect.w * face.rect.h;
    let others = faces.iter().enumerate().filter(|&(i, _)| i != main);
    others
        .map(|(_, other)| area(other))
        .all(|other| area(&faces[main]) >= DOMINANCE * other)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use facelatch_models::{
        embedding::{Embedding, SpaceId},
        image::Rect,
    };

    use super::*;

    fn read(file: &str, photo: u8, widths: &[f32]) -> (PathBuf, Outcome) {
        let face = |w: &f32| Face {
            rect: Rect {
                x: 0.0,
                y: 0.0,
                w: *w,
                h: *w,
            },
            score: 0.9,
            landmarks: [[0.0; 2]; 5],
        };
        let space = SpaceId::parse("test-2").expect("a space");
        let embedding = Embedding::new(space, vec![1.0, f32::from(photo)]).expect("a vector");
        let path = PathBuf::from(file);
        let reading = Reading {
            path: path.clone(),
            sha256: [photo; 32],
            size: [200, 200],
            faces: widths.iter().map(face).collect(),
            main: (!widths.is_empty()).then_some((0, embedding)),
        };
        (path, Ok(reading))
    }

    #[test]
    fn each_photo_becomes_a_template_or_is_refused_with_a_reason() {
        struct Case {
            person: Option<&'static str>,
            read: (PathBuf, Outcome),
            refused: Option<&'static str>,
        }
        let unreadable = facelatch_models::Error::Photo {
            what: "b/0.jpg".into(),
            why: "the file is empty".into(),
        };
        let cases = [
            Case {
                person: Some("a"),
                read: read("a/1.jpg", 1, &[90.0]),
                refused: None,
            },
            Case {
                person: Some("a"),
                read: read("a/2.jpg", 2, &[90.0, 50.0]),
                refused: None,
            },
            Case {
                person: Some("a"),
                read: read("a/3.jpg", 3, &[90.0, 60.0]),
                refused: Some("2 faces"),
            },
            Case {
                person: Some("a"),
                read: read("a/4.jpg", 4, &[]),
                refused: Some("no face"),
            },
            Case {
                person: Some("a"),
                read: read("a/5.jpg", 5, &[30.0]),
                refused: Some("30 pixels"),
            },
            Case {
                person: Some("a"),
                read: read("a/6.jpg", 1, &[90.0]),
                refused: Some("twice"),
            },
            Case {
                person: Some("a"),
                read: read("a/7.jpg", 7, &[90.0]),
                refused: Some("folder of b"),
            },
            Case {
                person: Some("b"),
                read: read("b/7.jpg", 7, &[90.0]),
                refused: Some("folder of a"),
            },
            Case {
                person: Some("b"),
                read: ("b/0.jpg".into(), Err(unreadable)),
                refused: Some("is empty"),
            },
            Case {
                person: None,
                read: read("none/8.jpg", 8, &[90.0, 90.0]),
                refused: None,
            },
        ];
        let readings: Vec<_> = cases
            .iter()
            .map(|c| (c.person, c.read.0.as_path(), &c.read.1))
            .collect();
        let plans = plan(&readings);
        let mut failures = Vec::new();
        for case in &cases {
            let plan = &plans[&case.person.map(str::to_owned)];
            let refused = plan
                .refused
                .iter()
                .find(|r| r.photo == case.read.0)
                .map(|r| r.refusal.to_string());
            let as_expected = match (case.refused, &refused) {
                (None, None) => true,
                (Some(says), Some(said)) => said.contains(says),
                (None, Some(_)) | (Some(_), None) => false,
            };
            if !as_expected {
                failures.push(format!(
                    "{}: expected {:?}, found {refused:?}",
                    case.read.0.display(),
                    case.refused
                ));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
        assert_eq!(plans[&Some("a".into())].templates.len(), 2);
        assert_eq!(plans[&Some("b".into())].templates.len(), 0);
    }
}
