//! Every kind of classifier, on vectors near axes.

use super::*;

fn space() -> SpaceId {
    SpaceId::parse("s").unwrap()
}

/// A vector near axis `axis`, moved by a little noise of its own.
fn near(axis: usize, seed: usize) -> Embedding {
    let values = (0..16).map(|i| {
        let noise = ((seed * 31 + i * 17 + 7) % 23) as f32 / 23.0 - 0.5;
        noise * 0.3 + if i == axis { 1.0 } else { 0.0 }
    });
    Embedding::new(space(), values.collect()).unwrap()
}

fn trained(none: &[usize], kind: Kind) -> Classifier {
    let faces: Vec<(Option<&str>, Embedding)> = (0..5)
        .flat_map(|seed| {
            let strangers = none.iter().map(move |&axis| (None, near(axis, seed)));
            [("cid", 2), ("ann", 0), ("bob", 1)]
                .map(|(who, axis)| (Some(who), near(axis, seed)))
                .into_iter()
                .chain(strangers)
        })
        .collect();
    let examples: Vec<_> = faces.iter().map(|(who, e)| (*who, e)).collect();
    Classifier::train(&examples, &kind.config()).unwrap()
}

#[test]
fn people_are_told_apart_and_strangers_are_none() {
    let mut failures = vec![];
    for kind in Kind::ALL {
        for none in [&[3usize, 4, 5, 6][..], &[]] {
            let classifier = trained(none, kind);
            assert_eq!(classifier.people, ["ann", "bob", "cid"]);
            assert_eq!(classifier.dimension(), 16);
            let strangers = [3, 5, 6].map(|axis| (axis, 78, None));
            let people = [
                (0, 77, Some("ann")),
                (1, 77, Some("bob")),
                (2, 77, Some("cid")),
            ];
            for (axis, seed, who) in people.into_iter().chain(strangers) {
                let said = classifier.predict(&near(axis, seed)).unwrap();
                let sure = who.is_none() || said.probability > 0.5;
                if said.person.as_deref() != who || !sure {
                    failures.push(format!("{} {none:?} {axis}: {said:?}", kind.name()));
                }
            }
            let probabilities = classifier.probabilities(&near(9, 1)).unwrap();
            let sum: f32 = probabilities.iter().sum();
            assert!(
                (sum - 1.0).abs() < 1e-5,
                "{}: {probabilities:?}",
                kind.name()
            );
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn training_is_repeatable_and_survives_storage() {
    for kind in Kind::ALL {
        let classifier = trained(&[], kind);
        assert_eq!(classifier, trained(&[], kind), "{}", kind.name());
        assert_eq!(classifier.config, kind.config());
        let bytes = classifier.to_bytes().unwrap();
        assert_eq!(Classifier::from_bytes(&bytes), Some(classifier));
    }
}

#[test]
fn one_person_is_enough() {
    let ann = near(0, 1);
    let examples = [(Some("ann"), &ann)];
    for kind in Kind::ALL {
        let classifier = Classifier::train(&examples, &kind.config()).unwrap();
        let said = classifier.predict(&near(7, 2)).unwrap();
        assert_eq!(said.person, None, "{}", kind.name());
        // A forest cannot tell one example from what is near it.
        let said = classifier.predict(&near(0, 2)).unwrap();
        if kind != Kind::Forest {
            assert_eq!(
                said.person.as_deref(),
                Some("ann"),
                "{}: {said:?}",
                kind.name()
            );
        }
    }
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let config = TrainConfig::default();
    let (ann, bob) = (near(0, 1), near(1, 1));
    let nobody: [(Option<&str>, &Embedding); 0] = [];
    assert!(matches!(
        Classifier::train(&nobody, &config),
        Err(Error::Training(_))
    ));
    let strangers = [(None, &ann)];
    assert!(matches!(
        Classifier::train(&strangers, &config),
        Err(Error::Training(_))
    ));
    let foreign = Embedding::new(SpaceId::parse("t").unwrap(), ann.values().to_vec()).unwrap();
    let longer = Embedding::new(space(), vec![1.0; 17]).unwrap();
    for other in [foreign, longer] {
        let mixed = [(Some("ann"), &ann), (Some("bob"), &other)];
        assert!(matches!(
            Classifier::train(&mixed, &config),
            Err(Error::Space { .. })
        ));
    }
    let descent = |c: f64| Descent {
        c,
        ..Descent::default()
    };
    let forest = |trees, depth| {
        TrainConfig::Forest(ForestConfig {
            trees,
            depth,
            seed: 1,
        })
    };
    let wrong = [0.0, -1.0, f64::NAN, f64::INFINITY]
        .into_iter()
        .flat_map(|c| {
            [
                TrainConfig::Softmax(descent(c)),
                TrainConfig::Svm(descent(c)),
            ]
        })
        .chain([forest(0, 5), forest(1001, 5), forest(5, 0), forest(5, 33)])
        .chain([TrainConfig::Knn { k: 0 }, TrainConfig::Knn { k: 101 }]);
    for config in wrong {
        let examples = [(Some("ann"), &ann), (Some("bob"), &bob)];
        let refused = Classifier::train(&examples, &config);
        assert!(matches!(refused, Err(Error::Training(_))), "{config}");
    }
}

fn linear(classifier: &mut Classifier) -> &mut Linear {
    match &mut classifier.model {
        Model::Linear(linear) => linear,
        other => panic!("{other:?}"),
    }
}

fn nearest(classifier: &mut Classifier) -> &mut Nearest {
    match &mut classifier.model {
        Model::Nearest(nearest) => nearest,
        other => panic!("{other:?}"),
    }
}

#[test]
fn damage_is_refused_never_indexed() {
    type Damage = fn(&mut Classifier);
    let cases: [(&str, Kind, Damage); 15] = [
        ("no people", Kind::Softmax, |c| c.people.clear()),
        ("unsorted people", Kind::Softmax, |c| c.people.reverse()),
        ("twice the same", Kind::Knn, |c| {
            c.people[1] = c.people[0].clone()
        }),
        ("a way that cannot be", Kind::Softmax, |c| {
            c.config = TrainConfig::Knn { k: 0 }
        }),
        ("a bias missing", Kind::Softmax, |c| {
            linear(c).biases.truncate(3)
        }),
        ("no weights", Kind::Svm, |c| linear(c).weights.clear()),
        ("a weight missing", Kind::Centroid, |c| {
            linear(c).weights.truncate(63)
        }),
        ("not a number", Kind::Softmax, |c| {
            linear(c).weights[3] = f32::NAN
        }),
        ("infinite", Kind::Svm, |c| {
            linear(c).biases[0] = f32::INFINITY
        }),
        ("no examples", Kind::Knn, |c| nearest(c).classes.clear()),
        ("half an example", Kind::Knn, |c| {
            nearest(c).rows.truncate(17)
        }),
        ("no such class", Kind::Knn, |c| nearest(c).classes[0] = 4),
        ("nobody votes", Kind::Knn, |c| nearest(c).k = 0),
        ("a person too few", Kind::Forest, |c| c.people.truncate(1)),
        ("a person too few for the examples", Kind::Knn, |c| {
            c.people.truncate(2)
        }),
    ];
    for (name, kind, damage) in cases {
        let mut classifier = trained(&[], kind);
        assert!(classifier.validate().is_ok());
        damage(&mut classifier);
        assert!(
            matches!(classifier.validate(), Err(Error::Training(_))),
            "{name}"
        );
        // Unvalidated use may be refused or be nonsense, but ends in a value.
        let _ = classifier.predict(&near(0, 1));
    }
}

#[test]
fn none_wins_a_tie() {
    assert_eq!(most_likely(&[0.5, 0.5]), 0);
    assert_eq!(most_likely(&[0.2, 0.5, 0.3]), 1);
    assert_eq!(most_likely(&[]), 0);
}
