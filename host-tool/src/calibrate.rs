//! The gate for the enrolled people, with what it promises: predicted FPIR, and FNIR by leaving templates out.
//!
//! ```text
//! calibrate            people, strangers, target -> Calibrated (kept in the workspace, packed for doors) + figures
//! calibrate/splits.rs  the same on random people of a folder, against the strangers left: is the promise kept?
//! ```
//!
//! The maths are `models::calibrate`'s, which the door applies to whoever is enrolled there. Called by `cmd/calibrate.rs`
//! and, to keep an existing calibration current, by `cmd/train.rs`.

use facelatch_models::{
    calibrate::{Calibration, Limit, Population, Predicted, Tail},
    classifier::{Classifier, TrainConfig},
    embedding::{Embedding, SpaceId},
    metric::Head,
    openset::{Gate, Roster},
};
use serde::Serialize;

use crate::{
    Error,
    evaluate::interval::Rate,
    home::{Calibrated, Home, Person, Template},
};

pub mod splits;

/// Most parts the templates are left out in.
const MAX_FOLDS: usize = 10;

/// What the calibrated gate promises.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Embedding space.
    pub space: String,
    /// People with templates.
    pub people: usize,
    /// Their templates.
    pub templates: usize,
    /// Photos of people nobody enrolled.
    pub strangers: usize,
    /// The target FPIR.
    pub target_fpir: f64,
    /// Largest cosine distance for everybody without a look-alike.
    pub max_distance: f32,
    /// The same without a calibration.
    pub uncalibrated_max_distance: f32,
    /// Predicted FPIR with its 95 % interval.
    pub predicted: Predicted,
    /// What the enrolled people and the strangers say of the population.
    pub population: Population,
    /// People with a nearer distance of their own.
    pub look_alikes: Vec<Limit>,
    /// Templates not recognised as their person when left out; absent if nobody has two.
    pub fnir: Option<Rate>,
}

/// Calibrates on what is enrolled.
///
/// # Errors
/// [`Error::NotReady`] if nobody has a template, [`Error::Models`] if templates are of different spaces, if the target is
/// out of range, or if nothing is known of how alike strangers are in this space.
pub fn calibrate(
    people: &[Person],
    none: &[Template],
    head: Option<&Head>,
    target_fpir: f64,
) -> Result<(Calibrated, Figures), Error> {
    let (templates, strangers) = embeddings(people, none)?;
    let Some((_, first)) = templates.first() else {
        return Err(Error::NotReady(
            "nobody is enrolled: run `facelatch enroll DIR` first".into(),
        ));
    };
    let space = first.space().clone();
    let tail = tail(&space, head, &templates, &strangers)?;
    let calibration = Calibration::new(&space, tail, target_fpir, &templates, &strangers)?;
    let gate = gate_of(&space, head);
    let thresholds = calibration.thresholds(&templates, &gate)?;
    let fnir = leave_one_out(&calibration, &gate, &templates, &strangers)?;
    let predicted = calibration.predict(&thresholds);
    let limits = thresholds.people.into_iter();
    let people_count = limits.len();
    let figures = Figures {
        space: space.as_str().to_owned(),
        people: people_count,
        templates: templates.len(),
        strangers: strangers.len(),
        target_fpir,
        max_distance: thresholds.max_distance,
        uncalibrated_max_distance: gate.tightened(people_count).max_distance,
        predicted,
        population: calibration.population,
        look_alikes: limits.filter(|l| l.look_alike.is_some()).collect(),
        fnir,
    };
    let calibrated = Calibrated {
        calibration,
        templates_digest: Home::templates_digest(people, none),
    };
    Ok((calibrated, figures))
}

/// The calibration made anew for people that changed, under the same target; without the figures.
///
/// # Errors
/// As for [`calibrate`].
pub fn renew(
    old: &Calibration,
    people: &[Person],
    none: &[Template],
    head: Option<&Head>,
) -> Result<Calibrated, Error> {
    let (templates, strangers) = embeddings(people, none)?;
    let space = templates.first().map_or(&old.space, |(_, t)| t.space());
    let tail = tail(space, head, &templates, &strangers)?;
    Ok(Calibrated {
        calibration: Calibration::new(space, tail, old.target_fpir, &templates, &strangers)?,
        templates_digest: Home::templates_digest(people, none),
    })
}

type Labelled = Vec<(String, Embedding)>;

fn embeddings(people: &[Person], none: &[Template]) -> Result<(Labelled, Vec<Embedding>), Error> {
    let mut templates = Vec::new();
    for person in people {
        for template in &person.templates {
            templates.push((person.id.to_string(), template.embedding()?));
        }
    }
    let strangers = none.iter().map(Template::embedding);
    Ok((templates, strangers.collect::<Result<_, _>>()?))
}

/// The gate of a space before anybody calibrates: as measured for it.
fn gate_of(space: &SpaceId, head: Option<&Head>) -> Gate {
    let head = head.filter(|head| head.space() == space);
    head.map_or_else(|| Gate::of(space), Head::gate)
}

/// How near strangers come: as measured for this space, or with its head, else as the operator's own people and strangers
/// say.
fn tail(
    space: &SpaceId,
    head: Option<&Head>,
    templates: &Labelled,
    strangers: &[Embedding],
) -> Result<Tail, Error> {
    if let Some(tail) = Tail::prior(space) {
        return Ok(tail);
    }
    if let Some(head) = head.filter(|head| head.space() == space) {
        return Ok(head.learned().strangers.clone());
    }
    let mut distances = Vec::new();
    for (i, (person, template)) in templates.iter().enumerate() {
        for (other, rival) in &templates[..i] {
            if other != person {
                distances.push(template.distance(rival)?);
            }
        }
        for stranger in strangers {
            distances.push(template.distance(stranger)?);
        }
    }
    Tail::fit(&distances).ok_or_else(|| {
        let why = format!(
            "nobody has measured how alike strangers are in the space {space}, and {} pairs of people here are too few; \
             put photos of more strangers into none/, enough for 500 pairs",
            distances.len()
        );
        facelatch_models::Error::Calibration(why).into()
    })
}

/// Every template of a person with another one is tried once, by everything but itself and, so that it takes minutes even
/// for many people, the templates of other people that are left out with it.
fn leave_one_out(
    calibration: &Calibration,
    gate: &Gate,
    templates: &Labelled,
    strangers: &[Embedding],
) -> Result<Option<Rate>, Error> {
    let fold_of = folds(templates);
    let Some(last) = fold_of.iter().flatten().max() else {
        return Ok(None);
    };
    let limits = calibration.thresholds(templates, gate)?;
    let gate = Gate {
        max_distance: limits.max_distance,
        ..*gate
    };
    let (mut tried, mut missed) = (0, 0);
    for fold in 0..=*last {
        let is_left_out = |i: &usize| fold_of[*i] == Some(fold);
        let kept = (0..templates.len()).filter(|i| !is_left_out(i));
        let kept: Labelled = kept.map(|i| templates[i].clone()).collect();
        let known = kept.iter().map(|(who, t)| (Some(who.as_str()), t));
        let examples: Vec<_> = known.chain(strangers.iter().map(|s| (None, s))).collect();
        let classifier = Classifier::train(&examples, &TrainConfig::default())?;
        let mut roster = Roster::new(calibration.space.clone(), &kept)?;
        for limit in &limits.people {
            roster.limit(&limit.person, limit.max_distance);
        }
        for i in (0..templates.len()).filter(is_left_out) {
            let (who, template) = &templates[i];
            let judged = roster.judge(template, Some(&classifier), &gate)?;
            tried += 1;
            missed += u64::from(judged.outcome.as_ref() != Ok(who));
        }
    }
    Ok(Some(Rate::new(missed, tried)))
}

/// Which part each template is left out with; `None` for a person's only one.
fn folds(templates: &Labelled) -> Vec<Option<usize>> {
    let of = |who: &String| templates.iter().filter(|(p, _)| p == who).count();
    let several: Vec<bool> = templates.iter().map(|(who, _)| of(who) > 1).collect();
    let parts = several.iter().filter(|s| **s).count().min(MAX_FOLDS);
    let mut next = 0;
    let mut deal = |several: bool| {
        several.then(|| {
            next += 1;
            (next - 1) % parts
        })
    };
    several.into_iter().map(&mut deal).collect()
}

#[cfg(test)]
mod tests {
    use facelatch_protocol::{DisplayName, PersonId};

    use super::*;

    fn person(id: &str, faces: &[[f32; 3]]) -> Person {
        let template = |values: &[f32; 3]| Template {
            space: SpaceId::parse("facenet-512-8ae262ba0655f498").expect("a space"),
            values: values.to_vec(),
            photo_sha256: [0; 32],
            origin: "1.jpg".into(),
        };
        Person {
            id: PersonId::parse(id).expect("an id"),
            name: DisplayName::parse(id).expect("a name"),
            created_unix_ms: 1,
            templates: faces.iter().map(template).collect(),
        }
    }

    #[test]
    fn left_out_templates_are_found_again_or_counted() {
        let people = [
            person("ada", &[[1.0, 0.0, 0.0], [1.0, 0.05, 0.0]]),
            person("bob", &[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
            person("cid", &[[-1.0, -1.0, -1.0]]),
        ];
        let (made, figures) = calibrate(&people, &[], None, 0.002).expect("a known space");
        let fnir = figures.fnir.expect("two have two");
        assert_eq!(
            (fnir.errors, fnir.trials),
            (2, 4),
            "bob's two are two people"
        );
        assert_eq!((figures.people, figures.templates), (3, 5));
        assert_eq!(figures.look_alikes, [], "nobody is near");
        assert!(figures.predicted.interval_95[1] <= 0.002, "{figures:?}");
        let renewed = renew(&made.calibration, &people[..2], &[], None).expect("a known space");
        assert_eq!(renewed.calibration.target_fpir, 0.002);
        assert_ne!(renewed.templates_digest, made.templates_digest);
    }

    #[test]
    fn without_people_or_knowledge_of_the_space_nothing_is_made_up() {
        assert!(matches!(
            calibrate(&[], &[], None, 0.002),
            Err(Error::NotReady(_))
        ));
        let mut unknown = person("ada", &[[1.0, 0.0, 0.0]]);
        unknown.templates[0].space = SpaceId::parse("other").expect("a space");
        let why = calibrate(&[unknown], &[], None, 0.002)
            .expect_err("unknown")
            .to_string();
        assert!(why.contains("none/"), "{why}");
        for target in [0.0, 0.9, f64::NAN] {
            let people = [person("ada", &[[1.0, 0.0, 0.0]])];
            assert!(calibrate(&people, &[], None, target).is_err(), "{target}");
        }
    }
}
