//! From templates to a classifier, with an honest word on how good it is.
//!
//! The classifier alone never opens a door (`models::openset` asks the distances too); the figures here tell whether
//! the photos hang together: a person the classifier cannot learn has photos of somebody else among theirs. Called by
//! `cmd/train.rs` and the demo.

use std::collections::BTreeMap;

use facelatch_models::{
    classifier::{Classifier, TrainConfig},
    embedding::Embedding,
};
use serde::Serialize;

use crate::{
    Error,
    home::{Home, Person, Template, Trained},
};

/// Most parts the templates are cross-validated in.
const MAX_FOLDS: usize = 10;

/// How training went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingFigures {
    /// People with templates.
    pub people: usize,
    /// Their templates.
    pub templates: usize,
    /// Templates of unknown people.
    pub none: usize,
    /// Share of all templates the classifier gives to the right person.
    pub accuracy: f64,
    /// The same person by person.
    pub per_person: BTreeMap<String, PersonFigures>,
    /// On templates not trained on; absent if nobody has two.
    pub cross_validation: Option<CrossValidation>,
}

/// One person's templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PersonFigures {
    /// Templates.
    pub templates: usize,
    /// Of these, given to the right person.
    pub correct: usize,
    /// Given to the right person when not trained on; templates of people with only one are not tried.
    pub correct_unseen: Option<usize>,
}

/// The classifier on what it was not trained on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CrossValidation {
    /// Parts, each left out once; as many as templates means leave-one-out.
    pub folds: usize,
    /// Templates tried.
    pub tried: usize,
    /// Given to the right person.
    pub correct: usize,
    /// correct / tried.
    pub accuracy: f64,
}

struct Example {
    person: Option<String>,
    embedding: Embedding,
}

/// Trains on everybody's templates and tries the classifier out.
///
/// # Errors
/// [`Error::NotReady`] if nobody has a template, [`Error::Models`] if templates are of different spaces.
pub fn train(
    people: &[Person],
    none: &[Template],
    config: &TrainConfig,
) -> Result<(Trained, TrainingFigures), Error> {
    let examples = examples(people, none)?;
    if examples.iter().all(|e| e.person.is_none()) {
        return Err(Error::NotReady(
            "nobody is enrolled: run `facelatch enroll DIR` first".into(),
        ));
    }
    let classifier = fit(examples.iter(), config)?;
    let mut per_person: BTreeMap<String, PersonFigures> = BTreeMap::new();
    let mut correct = 0;
    for example in &examples {
        let right = classifier.predict(&example.embedding)?.person == example.person;
        correct += usize::from(right);
        if let Some(person) = &example.person {
            let figures = per_person.entry(person.clone()).or_default();
            figures.templates += 1;
            figures.correct += usize::from(right);
        }
    }
    let cross_validation = cross_validate(&examples, &mut per_person, config)?;
    let figures = TrainingFigures {
        people: per_person.len(),
        templates: examples.len() - none.len(),
        none: none.len(),
        accuracy: correct as f64 / examples.len() as f64,
        per_person,
        cross_validation,
    };
    let trained = Trained {
        classifier,
        templates_digest: Home::templates_digest(people, none),
    };
    Ok((trained, figures))
}

fn examples(people: &[Person], none: &[Template]) -> Result<Vec<Example>, Error> {
    let known = people
        .iter()
        .flat_map(|p| p.templates.iter().map(|t| (Some(p.id.to_string()), t)));
    known
        .chain(none.iter().map(|t| (None, t)))
        .map(|(person, template)| {
            Ok(Example {
                person,
                embedding: template.embedding()?,
            })
        })
        .collect()
}

fn fit<'a>(
    examples: impl Iterator<Item = &'a Example>,
    config: &TrainConfig,
) -> Result<Classifier, Error> {
    let examples: Vec<_> = examples
        .map(|e| (e.person.as_deref(), &e.embedding))
        .collect();
    Ok(Classifier::train(&examples, config)?)
}

/// Leaves every fold out once. Only templates of people who have another one can be tried: with its only template left
/// out, a person is nobody.
fn cross_validate(
    examples: &[Example],
    per_person: &mut BTreeMap<String, PersonFigures>,
    config: &TrainConfig,
) -> Result<Option<CrossValidation>, Error> {
    let mut fold_of = Vec::with_capacity(examples.len());
    let tried: usize = per_person
        .values()
        .filter(|p| p.templates > 1)
        .map(|p| p.templates)
        .sum();
    let folds = tried.min(MAX_FOLDS);
    if folds < 2 {
        return Ok(None);
    }
    // Dealt out person by person, so that every fold misses as little of a person as can be.
    let mut next = 0;
    for example in examples {
        let several = |p: &String| per_person.get(p).is_some_and(|f| f.templates > 1);
        match &example.person {
            Some(person) if several(person) => {
                fold_of.push(Some(next % folds));
                next += 1;
            }
            Some(_) | None => fold_of.push(None),
        }
    }
    let mut correct = 0;
    for fold in 0..folds {
        let kept = examples
            .iter()
            .zip(&fold_of)
            .filter(|(_, f)| **f != Some(fold));
        let classifier = fit(kept.map(|(e, _)| e), config)?;
        for (example, _) in examples
            .iter()
            .zip(&fold_of)
            .filter(|(_, f)| **f == Some(fold))
        {
            let right = classifier.predict(&example.embedding)?.person == example.person;
            correct += usize::from(right);
            if let Some(figures) = example.person.as_ref().and_then(|p| per_person.get_mut(p)) {
                *figures.correct_unseen.get_or_insert(0) += usize::from(right);
            }
        }
    }
    Ok(Some(CrossValidation {
        folds,
        tried,
        correct,
        accuracy: correct as f64 / tried as f64,
    }))
}
