//! From templates to a classifier, with an honest word on how good it is, beside others or other settings where asked.
//!
//! The classifier alone never opens a door (`models::openset` asks the distances too); the figures here tell whether
//! the photos hang together: a person the classifier cannot learn has photos of somebody else among theirs. Called by
//! `cmd/train.rs` and the demo.

use std::{collections::BTreeMap, time::Instant};

use facelatch_models::{
    classifier::{Classifier, Descent, ForestConfig, Kind, TrainConfig},
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
    /// The classifier and its hyper-parameters.
    pub classifier: TrainConfig,
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
    /// Templates of unknown people tried.
    pub strangers: usize,
    /// Of these, given to nobody.
    pub refused: usize,
}

impl CrossValidation {
    /// What is compared: the share of templates given to the right person or to nobody, people and strangers alike in weight.
    #[must_use]
    pub fn score(&self) -> f64 {
        match self.strangers {
            0 => self.accuracy,
            strangers => 0.5 * (self.accuracy + self.refused as f64 / strangers as f64),
        }
    }
}

/// One classifier of several that were tried on the same folds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    /// The classifier and its hyper-parameters.
    pub config: TrainConfig,
    /// On templates not trained on.
    pub cross_validation: CrossValidation,
    /// What is compared; 1 is best.
    pub score: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// The settings that a search tries for one kind, the default first.
#[must_use]
pub fn grid(kind: Kind) -> Vec<TrainConfig> {
    let descents = [10.0, 0.1, 1.0, 100.0, 1000.0].map(|c| Descent {
        c,
        ..Descent::default()
    });
    let forest = |(trees, depth)| {
        TrainConfig::Forest(ForestConfig {
            trees,
            depth,
            ..ForestConfig::default()
        })
    };
    match kind {
        Kind::Softmax => descents.map(TrainConfig::Softmax).into(),
        Kind::Svm => descents.map(TrainConfig::Svm).into(),
        Kind::Forest => [(100, 16), (50, 8), (300, 16), (300, 32)]
            .map(forest)
            .into(),
        Kind::Knn => [3, 1, 2, 5, 9].map(|k| TrainConfig::Knn { k }).into(),
        Kind::Centroid => vec![TrainConfig::Centroid],
    }
}

/// Tries classifiers on the same folds, best first; of equals, the one given first.
///
/// # Errors
/// As for [`train`]; [`Error::NotReady`] if nobody has two templates.
pub fn compare(
    people: &[Person],
    none: &[Template],
    configs: &[TrainConfig],
    tried: impl Fn(&Tried),
) -> Result<Vec<Tried>, Error> {
    let examples = examples(people, none)?;
    let mut all = Vec::with_capacity(configs.len());
    for config in configs {
        let start = Instant::now();
        let cross_validation = cross_validate(&examples, &mut BTreeMap::new(), config)?;
        let Some(cross_validation) = cross_validation else {
            return Err(Error::NotReady(
                "nobody has two photos: classifiers cannot be compared on what they have not seen"
                    .into(),
            ));
        };
        let one = Tried {
            config: config.clone(),
            score: cross_validation.score(),
            cross_validation,
            seconds: start.elapsed().as_secs_f64(),
        };
        tried(&one);
        all.push(one);
    }
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(all)
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
        classifier: config.clone(),
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
    let mut templates: BTreeMap<&str, usize> = BTreeMap::new();
    for person in examples.iter().filter_map(|e| e.person.as_deref()) {
        *templates.entry(person).or_default() += 1;
    }
    let is_tried = |example: &Example| match &example.person {
        Some(person) => templates.get(person.as_str()).is_some_and(|&n| n > 1),
        None => true,
    };
    let known = |example: &&Example| example.person.is_some() && is_tried(example);
    let folds = examples.iter().filter(known).count().min(MAX_FOLDS);
    if folds < 2 {
        return Ok(None);
    }
    // Dealt out person by person, so that every fold misses as little of a person as can be.
    let mut next = 0;
    let mut deal = |example: &Example| {
        is_tried(example).then(|| {
            next += 1;
            (next - 1) % folds
        })
    };
    let fold_of: Vec<Option<usize>> = examples.iter().map(&mut deal).collect();
    let mut found = CrossValidation {
        folds,
        tried: 0,
        correct: 0,
        accuracy: 0.0,
        strangers: 0,
        refused: 0,
    };
    for fold in 0..folds {
        let is_left_out = |(_, f): &(&Example, &Option<usize>)| **f == Some(fold);
        let kept = examples.iter().zip(&fold_of).filter(|e| !is_left_out(e));
        let classifier = fit(kept.map(|(e, _)| e), config)?;
        for (example, _) in examples.iter().zip(&fold_of).filter(is_left_out) {
            let right = classifier.predict(&example.embedding)?.person == example.person;
            let Some(person) = &example.person else {
                found.strangers += 1;
                found.refused += usize::from(right);
                continue;
            };
            found.tried += 1;
            found.correct += usize::from(right);
            if let Some(figures) = per_person.get_mut(person) {
                *figures.correct_unseen.get_or_insert(0) += usize::from(right);
            }
        }
    }
    found.accuracy = found.correct as f64 / found.tried as f64;
    Ok(Some(found))
}
