//! Who is recognised worst: each person's own farthest pair, and the pairs of two people that are nearest.

use std::collections::BTreeMap;

use crate::{Error, evaluate::pairs::Sample};

/// Two photos, by their place in the samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// The photos.
    pub photos: [usize; 2],
    /// Cosine distance.
    pub distance: f32,
}

/// The most of each kind.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Worst {
    /// For each person with two photos, the two farthest apart; farthest first.
    pub genuine: Vec<Case>,
    /// For each pair of people, the two nearest photos; nearest first.
    pub impostor: Vec<Case>,
}

/// The `most` worst cases of each kind.
///
/// # Errors
/// [`facelatch_models::Error::Space`] if the embeddings are of two spaces.
pub fn worst(samples: &[Sample<'_>], most: usize) -> Result<Worst, Error> {
    let mut genuine: BTreeMap<&str, Case> = BTreeMap::new();
    let mut impostor: BTreeMap<[&str; 2], Case> = BTreeMap::new();
    for (i, a) in samples.iter().enumerate() {
        for (j, b) in samples.iter().enumerate().skip(i + 1) {
            let (Some(first), Some(second)) = (a.person, b.person) else {
                continue;
            };
            let case = Case {
                photos: [i, j],
                distance: 1.0 - a.embedding.cosine(b.embedding)?,
            };
            if first == second {
                let worst = genuine.entry(first).or_insert(case);
                if case.distance > worst.distance {
                    *worst = case;
                }
            } else {
                let people = [first.min(second), first.max(second)];
                let worst = impostor.entry(people).or_insert(case);
                if case.distance < worst.distance {
                    *worst = case;
                }
            }
        }
    }
    let mut genuine: Vec<Case> = genuine.into_values().collect();
    let mut impostor: Vec<Case> = impostor.into_values().collect();
    genuine.sort_by(|a, b| b.distance.total_cmp(&a.distance));
    impostor.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    genuine.truncate(most);
    impostor.truncate(most);
    Ok(Worst { genuine, impostor })
}

#[cfg(test)]
mod tests {
    use facelatch_models::embedding::{Embedding, SpaceId};

    use super::*;

    #[test]
    fn each_person_and_each_pair_of_people_is_named_once() {
        let at = |degrees: f32| {
            let (y, x) = degrees.to_radians().sin_cos();
            Embedding::new(SpaceId::parse("space-1").unwrap(), vec![x, y]).unwrap()
        };
        let all = [at(0.0), at(50.0), at(10.0), at(40.0), at(90.0)];
        let people = [Some("ada"), Some("ada"), Some("ada"), Some("bob"), None];
        let samples: Vec<Sample<'_>> = people
            .iter()
            .zip(&all)
            .map(|(person, embedding)| Sample {
                person: *person,
                embedding,
            })
            .collect();
        let found = worst(&samples, 5).unwrap();
        let places = |cases: &[Case]| cases.iter().map(|c| c.photos).collect::<Vec<_>>();
        assert_eq!(places(&found.genuine), [[0, 1]]);
        assert_eq!(places(&found.impostor), [[1, 3]]);
    }
}
