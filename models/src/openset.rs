//! Who is this, if anyone: nearest templates + classifier -> judgement. Pure, shared by device, `evaluate` and `predict`.
//!
//! A stranger is never "the nearest person". Known = the classifier names P, AND P's nearest template is within
//! `max_distance` and the person's own limit (see `calibrate`), AND the second-nearest person is at least `min_margin` further away.

use std::collections::BTreeMap;

use crate::{
    Error,
    classifier::Classifier,
    embedding::{Embedding, SpaceId, check_dimension},
    measured::Measured,
    templates::Templates,
};

/// The open-set gate.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Gate {
    /// Largest cosine distance to the person's nearest template.
    pub max_distance: f32,
    /// Least difference between the second-nearest person's distance and the nearest's.
    pub min_margin: f32,
    /// Least classifier probability of the named person.
    pub min_probability: f32,
    /// How much nearer a template must be for a tenth of the strangers to match by chance, about where `max_distance` is.
    pub distance_per_decade: f32,
}

/// Templates of the enrolled people, ready to search.
#[derive(Debug, Clone)]
pub struct Roster {
    space: SpaceId,
    people: Vec<Enrolled>,
    /// All templates, person after person.
    templates: Templates,
}

#[derive(Debug, Clone)]
struct Enrolled {
    id: String,
    /// Number of templates, at least 1.
    templates: usize,
    /// Largest distance at which this person is recognised, whatever the gate allows.
    max_distance: f32,
}

/// Why a face was not recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reject {
    /// Nobody is enrolled.
    EmptyGallery,
    /// No template is near enough.
    TooDistant,
    /// Two people are about equally near.
    Ambiguous,
    /// The classifier says "none", or too small a probability, or has never seen the nearest person.
    NotConfirmed,
    /// The classifier names somebody else than the nearest template.
    Contradicted,
}

/// A person at a distance.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Person id.
    pub person: String,
    /// Cosine distance of the nearest template.
    pub distance: f32,
}

/// The judgement with all it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Nearest person.
    pub nearest: Option<Candidate>,
    /// Second-nearest person.
    pub second: Option<Candidate>,
    /// The classifier's probability of the nearest person, if there is a classifier; 0 if it does not know them.
    pub probability: Option<f32>,
    /// `Ok(person id)` or the reason.
    pub outcome: Result<String, Reject>,
}

impl Default for Gate {
    /// For FaceNet's shipped space and up to [`Gate::REFERENCE_PEOPLE`] people.
    ///
    /// On 610,409 pairs of strangers (LFW) one in a thousand is nearer than 0.53 and one in ten thousand nearer than
    /// 0.45. With ten LFW people, every split into 5 enrolled by 5 photos each and 5 strangers, no stranger passes,
    /// and at most one of 25 photos of enrolled people is refused; the nearest strangers are at 0.51.
    fn default() -> Self {
        Gate {
            max_distance: 0.48,
            min_margin: 0.05,
            min_probability: 0.4,
            distance_per_decade: 0.09,
        }
    }
}

impl Gate {
    /// Gallery size up to which `max_distance` holds as it stands.
    pub const REFERENCE_PEOPLE: usize = 10;

    /// The gate for a space, up to [`Gate::REFERENCE_PEOPLE`] people: as measured, else the default.
    #[must_use]
    pub fn of(space: &SpaceId) -> Gate {
        match Measured::of(space) {
            Some(measured) => Gate {
                max_distance: measured.max_distance,
                distance_per_decade: measured.distance_per_decade,
                ..Gate::default()
            },
            None => Gate::default(),
        }
    }

    /// The gate for a gallery of `people`: `max_distance` shrinks as the gallery grows, because P(stranger
    /// accepted) = 1 - (1 - FMR)^N, so FMR must fall as 1/N.
    ///
    /// `max_distance - distance_per_decade * log10(N / REFERENCE_PEOPLE)`, for N over the reference, and not below 0.
    #[must_use]
    pub fn tightened(&self, people: usize) -> Gate {
        let growth = people.max(Self::REFERENCE_PEOPLE) as f32 / Self::REFERENCE_PEOPLE as f32;
        Gate {
            max_distance: (self.max_distance - self.distance_per_decade * growth.log10()).max(0.0),
            ..*self
        }
    }
}

impl Roster {
    /// Builds a roster; entries are (person id, template). One person may have many templates.
    ///
    /// # Errors
    /// [`Error::Space`] if a template is of another space or dimension.
    pub fn new(space: SpaceId, templates: &[(String, Embedding)]) -> Result<Roster, Error> {
        let dimension = templates.first().map_or(0, |(_, t)| t.values().len());
        let mut by_person: BTreeMap<&str, Vec<&Embedding>> = BTreeMap::new();
        for (person, template) in templates {
            space.expect(template.space())?;
            check_dimension(&space, dimension, template.values().len())?;
            by_person.entry(person).or_default().push(template);
        }
        let rows = by_person.values().flatten();
        let rows: Vec<f32> = rows.flat_map(|t| t.values()).copied().collect();
        let people = by_person.iter().map(|(&id, templates)| Enrolled {
            id: id.to_owned(),
            templates: templates.len(),
            max_distance: f32::INFINITY,
        });
        Ok(Roster {
            people: people.collect(),
            space,
            templates: Templates::new(rows, dimension),
        })
    }

    /// The embedding space.
    #[must_use]
    pub fn space(&self) -> &SpaceId {
        &self.space
    }

    /// Recognises this person only at so small a distance; the gate's holds too. Nothing if there is no such person.
    pub fn limit(&mut self, person: &str, max_distance: f32) {
        if let Ok(i) = self.people.binary_search_by(|p| p.id.as_str().cmp(person)) {
            self.people[i].max_distance = max_distance;
        }
    }

    /// Number of people.
    #[must_use]
    pub fn people(&self) -> usize {
        self.people.len()
    }

    /// Judges one embedding. Without a classifier (nobody trained yet) distance and margin decide alone.
    ///
    /// # Errors
    /// [`Error::Space`] if the embedding or classifier is of another space.
    pub fn judge(
        &self,
        probe: &Embedding,
        classifier: Option<&Classifier>,
        gate: &Gate,
    ) -> Result<Judgement, Error> {
        let ([nearest, second], own_limit) = self.nearest_two(probe)?;
        let probabilities = match classifier {
            Some(classifier) => {
                self.space.expect(&classifier.space)?;
                Some((classifier, classifier.probabilities(probe)?))
            }
            None => None,
        };
        let Some(nearest) = nearest else {
            return Ok(Judgement {
                nearest: None,
                second: None,
                probability: None,
                outcome: Err(Reject::EmptyGallery),
            });
        };
        let opinion = probabilities
            .as_ref()
            .map(|(classifier, p)| Opinion::about(&nearest.person, classifier, p));
        Ok(Judgement {
            outcome: decide(&nearest, own_limit, second.as_ref(), opinion.as_ref(), gate)
                .map(|()| nearest.person.clone()),
            probability: opinion.map(|o| o.probability),
            nearest: Some(nearest),
            second,
        })
    }

    /// The two nearest people by their nearest templates, and the nearest's own limit; exact, every template is compared.
    fn nearest_two(&self, probe: &Embedding) -> Result<([Option<Candidate>; 2], f32), Error> {
        self.space.expect(probe.space())?;
        if self.people.is_empty() {
            return Ok(([None, None], 0.0));
        }
        check_dimension(
            &self.space,
            self.templates.dimension(),
            probe.values().len(),
        )?;
        let sizes: Vec<usize> = self.people.iter().map(|p| p.templates).collect();
        let best = self.templates.nearest_two(probe.values(), &sizes);
        let own_limit = best[0].map_or(0.0, |(i, _)| self.people[i].max_distance);
        let candidates = best.map(|found| {
            found.map(|(i, similarity)| Candidate {
                person: self.people[i].id.clone(),
                distance: 1.0 - similarity,
            })
        });
        Ok((candidates, own_limit))
    }
}

/// What the classifier thinks of one person.
struct Opinion {
    probability: f32,
    /// The most likely class is this person.
    named: bool,
    /// The most likely class is somebody else, not "none".
    another: bool,
}

impl Opinion {
    fn about(person: &str, classifier: &Classifier, probabilities: &[f32]) -> Opinion {
        let own = classifier.class_of(person);
        let best = crate::classifier::most_likely(probabilities);
        Opinion {
            probability: own.map_or(0.0, |class| probabilities[class]),
            named: own == Some(best),
            another: best != 0 && own != Some(best),
        }
    }
}

fn decide(
    nearest: &Candidate,
    own_limit: f32,
    second: Option<&Candidate>,
    opinion: Option<&Opinion>,
    gate: &Gate,
) -> Result<(), Reject> {
    // Written so that a NaN in gate or distance refuses.
    let near = nearest.distance <= gate.max_distance && nearest.distance <= own_limit;
    let clear = second.is_none_or(|s| s.distance - nearest.distance >= gate.min_margin);
    let confirmed = opinion.is_none_or(|o| o.named && o.probability >= gate.min_probability);
    match (near, clear, confirmed) {
        (true, true, true) => Ok(()),
        (false, _, _) => Err(Reject::TooDistant),
        (true, false, _) => Err(Reject::Ambiguous),
        (true, true, false) if opinion.is_some_and(|o| o.another) => Err(Reject::Contradicted),
        (true, true, false) => Err(Reject::NotConfirmed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> SpaceId {
        SpaceId::parse("s").unwrap()
    }

    /// A unit vector in the plane, at this angle.
    fn at(degrees: f32) -> Embedding {
        let (y, x) = degrees.to_radians().sin_cos();
        Embedding::new(space(), vec![x, y]).unwrap()
    }

    fn roster(entries: &[(&str, f32)]) -> Roster {
        let entries: Vec<_> = entries
            .iter()
            .map(|&(person, degrees)| (person.to_owned(), at(degrees)))
            .collect();
        Roster::new(space(), &entries).unwrap()
    }

    /// A classifier over "none", ann and bob with these constant log probabilities.
    fn saying(none: f32, ann: f32, bob: f32) -> Classifier {
        Classifier::softmax(
            space(),
            vec!["ann".to_owned(), "bob".to_owned()],
            vec![0.0; 6],
            vec![none.ln(), ann.ln(), bob.ln()],
        )
    }

    #[test]
    fn every_gate_must_open() {
        struct Case {
            name: &'static str,
            gallery: &'static [(&'static str, f32)],
            probe: f32,
            classifier: Option<[f32; 3]>,
            outcome: Result<&'static str, Reject>,
        }
        // max_distance 0.2 is 37 degrees; a margin of 0.1 between 10 and 30 degrees is open, between 20 and 30 not.
        let two: &[(&str, f32)] = &[("bob", 90.0), ("ann", 0.0)];
        let gate = Gate {
            max_distance: 0.2,
            min_margin: 0.1,
            min_probability: 0.6,
            ..Gate::default()
        };
        #[rustfmt::skip]
        let cases = [
            Case { name: "nobody", gallery: &[], probe: 0.0, classifier: None, outcome: Err(Reject::EmptyGallery) },
            Case { name: "nobody, but a classifier", gallery: &[], probe: 0.0, classifier: Some([0.1, 0.8, 0.1]), outcome: Err(Reject::EmptyGallery) },
            Case { name: "alone and near", gallery: &[("ann", 0.0)], probe: 30.0, classifier: None, outcome: Ok("ann") },
            Case { name: "alone and far", gallery: &[("ann", 0.0)], probe: 45.0, classifier: None, outcome: Err(Reject::TooDistant) },
            Case { name: "opposite", gallery: &[("ann", 0.0)], probe: 180.0, classifier: None, outcome: Err(Reject::TooDistant) },
            Case { name: "nearest of two", gallery: two, probe: 10.0, classifier: None, outcome: Ok("ann") },
            Case { name: "the other of two", gallery: two, probe: 80.0, classifier: None, outcome: Ok("bob") },
            Case { name: "far from both", gallery: two, probe: 45.0, classifier: None, outcome: Err(Reject::TooDistant) },
            Case { name: "between twins", gallery: &[("ann", 0.0), ("bob", 40.0)], probe: 19.0, classifier: None, outcome: Err(Reject::Ambiguous) },
            Case { name: "own second template is no rival", gallery: &[("ann", 0.0), ("ann", 40.0), ("bob", 180.0)], probe: 19.0, classifier: None, outcome: Ok("ann") },
            Case { name: "confirmed", gallery: two, probe: 10.0, classifier: Some([0.1, 0.8, 0.1]), outcome: Ok("ann") },
            Case { name: "too unsure", gallery: two, probe: 10.0, classifier: Some([0.25, 0.5, 0.25]), outcome: Err(Reject::NotConfirmed) },
            Case { name: "none", gallery: two, probe: 10.0, classifier: Some([0.8, 0.1, 0.1]), outcome: Err(Reject::NotConfirmed) },
            Case { name: "somebody else", gallery: two, probe: 10.0, classifier: Some([0.1, 0.1, 0.8]), outcome: Err(Reject::Contradicted) },
            Case { name: "unknown to the classifier", gallery: &[("eve", 0.0)], probe: 0.0, classifier: Some([0.8, 0.1, 0.1]), outcome: Err(Reject::NotConfirmed) },
            Case { name: "far whatever the classifier says", gallery: two, probe: 45.0, classifier: Some([0.0, 1.0, 0.0]), outcome: Err(Reject::TooDistant) },
        ];
        for case in cases {
            let classifier = case.classifier.map(|[n, a, b]| saying(n, a, b));
            let judged = roster(case.gallery)
                .judge(&at(case.probe), classifier.as_ref(), &gate)
                .unwrap();
            let expected = case.outcome.map(str::to_owned);
            assert_eq!(judged.outcome, expected, "{}: {judged:?}", case.name);
        }
    }

    #[test]
    fn the_judgement_says_what_it_rests_on() {
        let gallery = roster(&[("bob", 90.0), ("ann", 0.0), ("ann", -60.0)]);
        let judged = gallery
            .judge(&at(60.0), Some(&saying(0.2, 0.1, 0.7)), &Gate::default())
            .unwrap();
        let (nearest, second) = (judged.nearest.unwrap(), judged.second.unwrap());
        assert_eq!(
            (nearest.person.as_str(), second.person.as_str()),
            ("bob", "ann")
        );
        assert!((nearest.distance - (1.0 - 30f32.to_radians().cos())).abs() < 1e-6);
        assert!((second.distance - 0.5).abs() < 1e-6);
        assert!((judged.probability.unwrap() - 0.7).abs() < 1e-6);
        assert_eq!(gallery.people(), 2);
    }

    #[test]
    fn a_gate_that_is_not_a_number_stays_shut() {
        let nan = f32::NAN;
        for gate in [
            Gate {
                max_distance: nan,
                ..Gate::default()
            },
            Gate {
                min_margin: nan,
                ..Gate::default()
            },
            Gate {
                min_probability: nan,
                ..Gate::default()
            },
        ] {
            let judged = roster(&[("ann", 0.0), ("bob", 90.0)])
                .judge(&at(0.0), Some(&saying(0.0, 1.0, 0.0)), &gate)
                .unwrap();
            assert!(judged.outcome.is_err(), "{gate:?}");
        }
    }

    #[test]
    fn a_person_can_have_a_nearer_limit_of_their_own() {
        let gate = Gate {
            max_distance: 0.5,
            ..Gate::default()
        };
        let mut gallery = roster(&[("ann", 0.0), ("bob", 90.0), ("cid", 180.0)]);
        gallery.limit("bob", 0.1);
        gallery.limit("cid", f32::NAN);
        gallery.limit("eve", 0.0);
        let named = |degrees| gallery.judge(&at(degrees), None, &gate).unwrap().outcome;
        // 35 degrees are a distance of 0.18, 20 of 0.06.
        assert_eq!(named(-35.0), Ok("ann".to_owned()));
        assert_eq!(named(125.0), Err(Reject::TooDistant));
        assert_eq!(named(110.0), Ok("bob".to_owned()));
        assert_eq!(
            named(180.0),
            Err(Reject::TooDistant),
            "no number is no limit kept"
        );
    }

    #[test]
    fn spaces_are_not_mixed() {
        let other = SpaceId::parse("t").unwrap();
        let foreign = Embedding::new(other.clone(), vec![1.0, 0.0]).unwrap();
        let longer = Embedding::new(space(), vec![1.0, 0.0, 0.0]).unwrap();
        let gate = Gate::default();
        let gallery = roster(&[("ann", 0.0)]);
        let refused = |r: Result<Judgement, Error>| matches!(r, Err(Error::Space { .. }));
        assert!(refused(gallery.judge(&foreign, None, &gate)));
        assert!(refused(gallery.judge(&longer, None, &gate)));
        let mut classifier = saying(0.2, 0.4, 0.4);
        classifier.space = other;
        assert!(refused(gallery.judge(&at(0.0), Some(&classifier), &gate)));
        for bad in [foreign, longer] {
            let entries = [("ann".to_owned(), at(0.0)), ("bob".to_owned(), bad)];
            assert!(matches!(
                Roster::new(space(), &entries),
                Err(Error::Space { .. })
            ));
        }
    }

    #[test]
    fn gates_tighten_as_galleries_grow() {
        let gate = Gate::default();
        for people in [0, 1, Gate::REFERENCE_PEOPLE] {
            assert_eq!(gate.tightened(people), gate, "{people}");
        }
        let hundred = gate.tightened(100);
        assert!((gate.max_distance - hundred.max_distance - 0.09).abs() < 1e-6);
        assert_eq!(hundred.min_margin, gate.min_margin);
        assert_eq!(gate.tightened(usize::MAX).max_distance, 0.0);
    }

    #[test]
    fn search_is_exact() {
        let vector = |seed: u32| {
            let mut s = seed.wrapping_mul(2_654_435_761) | 1;
            let values = (0..64).map(|_| {
                s ^= s << 13;
                s ^= s >> 17;
                s ^= s << 5;
                s as f32 / u32::MAX as f32 - 0.5
            });
            Embedding::new(space(), values.collect()).unwrap()
        };
        let entries: Vec<(String, Embedding)> = (0..600)
            .map(|i| (format!("p{:03}", i % 97), vector(i)))
            .collect();
        let roster = Roster::new(space(), &entries).unwrap();
        for seed in 1000..1020 {
            let probe = vector(seed);
            let mut plain: BTreeMap<&str, f32> = BTreeMap::new();
            for (person, template) in &entries {
                let d = probe.distance(template).unwrap();
                let least = plain.entry(person).or_insert(f32::INFINITY);
                *least = least.min(d);
            }
            let mut plain: Vec<_> = plain.into_iter().collect();
            plain.sort_by(|a, b| a.1.total_cmp(&b.1));
            let judged = roster.judge(&probe, None, &Gate::default()).unwrap();
            for (found, (person, distance)) in [judged.nearest, judged.second]
                .into_iter()
                .flatten()
                .zip(plain)
            {
                assert_eq!((found.person.as_str(), found.distance), (person, distance));
            }
        }
    }
}
