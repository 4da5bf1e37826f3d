//! From a target FPIR to the gate of one gallery: a common distance, and nearer ones for people with look-alikes.
//!
//! ```text
//! FPIR(d) = 1 - exp(-L * C * sum over people of T^A * FMR(d))     union bound over people; T templates each
//!   FMR   one template, one photo: calibrate/tail.rs
//!   C     share of those near enough whom classifier and margin let pass     \  uncertain: together one Gamma variable,
//!   L     how much more alike than the measured population people here are    }  whose upper end meets the target
//! ```
//!
//! `L` is learned from the operator's own impostor pairs: everybody enrolled against everybody else, and strangers' photos.
//! The host makes a [`Calibration`], the door applies it to whoever is enrolled there now: [`Calibration::thresholds`].
//! It names nobody. Spread and prediction are in `calibrate/predict.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Error,
    embedding::{Embedding, SpaceId, check_dimension, cosine},
    openset::{Gate, Roster},
};

mod predict;
mod tail;

pub use predict::Predicted;
pub use tail::Tail;

/// The target FPIR unless told otherwise: two strangers' photos in a thousand.
pub const DEFAULT_TARGET_FPIR: f64 = 0.002;
/// `A`: with T templates a person is matched by chance as often as T^A people with one. Measured on 63 LFW people: two
/// templates double the rate, three raise it 2.0 to 2.3-fold; 1 would mean independent templates.
const TEMPLATE_EXPONENT: f64 = 0.75;
/// `C`, measured on LFW with the default margin and probability: 0.58 with 10 people enrolled at distance 0.48 and 0.28
/// with 50 at 0.417; nearer, where calibrated gates are, 0.88 with 5 and 0.80 with 10.
const CONFIRMED: f64 = 0.7;
/// Variance of ln `C`: a factor of 1.9 either way at 95 %, which covers the calibrated ones and the first; the last is
/// overestimated, which errs to the safe side.
const CONFIRMED_VARIANCE: f64 = 0.1;
/// Variance of a person's own rate, as a part of its mean's square: 0.6 on LFW; it averages out over the people enrolled.
const PERSON_VARIANCE: f64 = 1.0;
/// Variance of ln FMR added with every tenfold extrapolation: by bootstrap over LFW's people, the deviation of ln FMR is
/// 0.11 at FMR 4e-3, 0.18 at 5e-4, 0.29 at 1e-4 and 0.49 at 4e-5.
const VARIANCE_PER_DECADE: f64 = 0.1;
/// What is believed of `L` beforehand: mean 1, variance 1/3. Pairs of one sex match 1.75 times as often as all do.
const POPULATION_SHAPE: f64 = 3.0;
/// Pairs that share a person are not independent: so many weigh as one.
const DESIGN_EFFECT: f64 = 2.0;
/// The rates at which impostor pairs are counted: the lowest that still promises `ENOUGH` of them, else the first.
const COUNTED_AT: [f64; 3] = [1e-2, 3e-3, 1e-3];
const ENOUGH: f64 = 10.0;
/// Strangers' photos nearer than one in a thousand strangers are taken for one stranger's.
const SAME_STRANGER_FMR: f64 = 1e-3;
/// Look-alikes farther than this never matter: beyond any gate.
const FARTHEST_LOOK_ALIKE: f32 = 0.7;

/// A gate for any gallery of one space. Holds no template and no name.
///
/// The fields are public to be stored; one that was read back is used only after [`Calibration::validate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The embedding space.
    pub space: SpaceId,
    /// FPIR not to be exceeded, with 97.5 % confidence.
    pub target_fpir: f64,
    /// How near strangers come by chance.
    pub tail: Tail,
    /// What is known of `L`.
    pub population: Population,
    /// Templates near which strangers were seen.
    pub strangers: Vec<Seen>,
}

/// `L`: the impostor rate here over that of the measured population; a Gamma variable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Population {
    /// Mean.
    pub mean: f64,
    /// Shape: 1 / (variance / mean^2).
    pub shape: f64,
    /// The FMR at which impostor pairs were counted for it.
    pub counted_at: f64,
    /// Impostor pairs of people counted below that distance, and how many were expected.
    pub found: u32,
    /// How many were expected in the measured population.
    pub expected: f64,
}

/// A stranger near a template.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// [`template_digest`] of the template.
    pub template: u64,
    /// Distance of the nearest stranger's photo.
    pub distance: f32,
}

/// The gate's distances for one gallery.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Thresholds {
    /// Largest distance for everybody without a look-alike.
    pub max_distance: f32,
    /// Everybody, by id.
    pub people: Vec<Limit>,
}

/// One person's own largest distance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limit {
    /// Person id.
    pub person: String,
    /// Templates.
    pub templates: usize,
    /// Largest distance: the common one or, with a look-alike, a nearer one; 0 if the look-alike is too near.
    pub max_distance: f32,
    /// Who is so near that the common distance does not do.
    pub look_alike: Option<LookAlike>,
}

/// Somebody near a person's template.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LookAlike {
    /// Their distance.
    pub distance: f32,
    /// Who: an enrolled person, or a stranger in a photo.
    pub person: Option<String>,
}

/// A person's templates.
type People<'a> = BTreeMap<&'a str, Vec<&'a Embedding>>;

impl Calibration {
    /// Calibrates on the enrolled templates, (person id, template), and photos of strangers.
    ///
    /// # Errors
    /// [`Error::Calibration`] if the target is not in [1e-6, 0.5] or the numbers are none, [`Error::Space`] if a template
    /// or photo is of another space.
    pub fn new(
        space: &SpaceId,
        tail: Tail,
        target_fpir: f64,
        templates: &[(String, Embedding)],
        strangers: &[Embedding],
    ) -> Result<Calibration, Error> {
        let people = by_person(space, templates)?;
        for stranger in strangers {
            space.expect(stranger.space())?;
        }
        let population = Population::learn(&tail, &people, strangers)?;
        let mut seen = Vec::new();
        for template in people.values().flatten() {
            let distance = nearest(template, strangers.iter())?;
            if distance <= FARTHEST_LOOK_ALIKE {
                let template = template_digest(template);
                seen.push(Seen { template, distance });
            }
        }
        let calibration = Calibration {
            space: space.clone(),
            target_fpir,
            tail,
            population,
            strangers: seen,
        };
        calibration.validate()?;
        Ok(calibration)
    }

    /// Reads a stored calibration (postcard); `None` if it is none, or [`Calibration::validate`] refuses it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Calibration> {
        let (calibration, []) = postcard::take_from_bytes::<Calibration>(bytes).ok()? else {
            return None;
        };
        calibration.validate().is_ok().then_some(calibration)
    }

    /// Refuses numbers no gate can be made of: from a file or sent by a peer.
    ///
    /// # Errors
    /// [`Error::Calibration`] naming what is wrong.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |why: &str| Err(Error::Calibration(why.to_owned()));
        self.tail.validate()?;
        if !(1e-6..=0.5).contains(&self.target_fpir) {
            return refuse("the target FPIR has to be in 0.000001 to 0.5");
        }
        let Population {
            mean,
            shape,
            counted_at,
            found: _,
            expected,
        } = self.population;
        let is_gamma = mean > 0.0 && mean.is_finite() && shape > 0.0 && shape.is_finite();
        let is_counted = counted_at > 0.0 && counted_at < 1.0 && expected >= 0.0;
        if !(is_gamma && is_counted && expected.is_finite()) {
            return refuse("its population is none");
        }
        if self.strangers.iter().any(|seen| !seen.distance.is_finite()) {
            return refuse("a stranger's distance is no number");
        }
        Ok(())
    }

    /// The gate's distances for these templates; never beyond `gate`'s.
    ///
    /// A person with a look-alike, be it another enrolled person or a stranger seen before, gets a distance that ends
    /// `gate.min_margin` before the look-alike: another photo of them must not pass either.
    ///
    /// # Errors
    /// [`Error::Space`] if a template is of another space.
    pub fn thresholds(
        &self,
        templates: &[(String, Embedding)],
        gate: &Gate,
    ) -> Result<Thresholds, Error> {
        let people = by_person(&self.space, templates)?;
        let counts: Vec<usize> = people.values().map(Vec::len).collect();
        let common = self.max_distance(&counts).min(gate.max_distance);
        let mut look_alikes = self.look_alikes(&people)?;
        let limit = |(&person, templates): (&&str, &Vec<&Embedding>)| {
            let near = look_alikes.remove(person);
            let own = near
                .as_ref()
                .map_or(f32::INFINITY, |l| (l.distance - gate.min_margin).max(0.0));
            Limit {
                person: person.to_owned(),
                templates: templates.len(),
                max_distance: common.min(own),
                look_alike: near.filter(|_| own < common),
            }
        };
        Ok(Thresholds {
            max_distance: common,
            people: people.iter().map(limit).collect(),
        })
    }

    /// Sets a roster's own limits and gives the gate to judge with; `templates` are the roster's.
    ///
    /// # Errors
    /// As for [`Calibration::thresholds`].
    pub fn apply(
        &self,
        roster: &mut Roster,
        templates: &[(String, Embedding)],
        gate: &Gate,
    ) -> Result<Gate, Error> {
        let thresholds = self.thresholds(templates, gate)?;
        for limit in &thresholds.people {
            roster.limit(&limit.person, limit.max_distance);
        }
        Ok(Gate {
            max_distance: thresholds.max_distance,
            ..*gate
        })
    }

    /// The largest distance at which the target is met for people with so many templates each; look-alikes aside.
    #[must_use]
    pub fn max_distance(&self, templates: &[usize]) -> f32 {
        tail::largest(|distance| {
            let limits = templates.iter().map(|&count| (count, distance));
            self.predict_limits(limits).interval_95[1] <= self.target_fpir
        })
    }

    /// Everybody's nearest look-alike.
    fn look_alikes<'a>(&self, people: &People<'a>) -> Result<BTreeMap<&'a str, LookAlike>, Error> {
        let mut found: BTreeMap<&str, LookAlike> = BTreeMap::new();
        let mut near = |whose, distance, person: Option<&str>| {
            let nearer = found.get(whose).is_none_or(|l| distance < l.distance);
            if distance <= FARTHEST_LOOK_ALIKE && nearer {
                let person = person.map(str::to_owned);
                found.insert(whose, LookAlike { distance, person });
            }
        };
        let seen: BTreeMap<u64, f32> = self
            .strangers
            .iter()
            .map(|s| (s.template, s.distance))
            .collect();
        for (&whose, templates) in people {
            for template in templates.iter().filter(|_| !seen.is_empty()) {
                if let Some(&distance) = seen.get(&template_digest(template)) {
                    near(whose, distance, None);
                }
            }
        }
        for (a, b, distance) in pairs(people)? {
            near(a, distance, Some(b));
            near(b, distance, Some(a));
        }
        Ok(found)
    }
}

impl Population {
    /// Counts impostor pairs of people: (observed + prior) / (expected + prior), a Gamma-Poisson posterior.
    fn learn(
        tail: &Tail,
        people: &People<'_>,
        strangers: &[Embedding],
    ) -> Result<Population, Error> {
        let strangers = apart(strangers, tail.distance(SAME_STRANGER_FMR))?;
        // (distance, product of how many photos or templates each has).
        let mut distances: Vec<(f32, usize)> = pairs(people)?
            .into_iter()
            .map(|(a, b, distance)| (distance, people[a].len() * people[b].len()))
            .collect();
        for photos in &strangers {
            for templates in people.values() {
                let distance = templates
                    .iter()
                    .map(|t| nearest(t, photos.iter().copied()))
                    .try_fold(f32::INFINITY, |least, d| d.map(|d| least.min(d)))?;
                distances.push((distance, templates.len() * photos.len()));
            }
        }
        let expected = |fmr: f64| {
            let pair = |&(_, count): &(f32, usize)| inflated(fmr, count).min(1.0);
            distances.iter().map(pair).sum::<f64>()
        };
        let enough = |&&fmr: &&f64| expected(fmr) >= ENOUGH * DESIGN_EFFECT;
        let counted_at = *COUNTED_AT
            .iter()
            .rev()
            .find(enough)
            .unwrap_or(&COUNTED_AT[0]);
        let nearer = tail.distance(counted_at);
        let found = distances.iter().filter(|(d, _)| *d <= nearer).count();
        let expected = expected(counted_at);
        let shape = POPULATION_SHAPE + found as f64 / DESIGN_EFFECT;
        Ok(Population {
            mean: shape / (POPULATION_SHAPE + expected / DESIGN_EFFECT),
            shape,
            counted_at,
            found: u32::try_from(found).unwrap_or(u32::MAX),
            expected,
        })
    }
}

/// `count^A * fmr`.
fn inflated(fmr: f64, count: usize) -> f64 {
    fmr * (count as f64).powf(TEMPLATE_EXPONENT)
}

/// Names a template without saying anything of it to whoever has not got it: the first 8 bytes of SHA-256 of its values.
#[must_use]
pub fn template_digest(template: &Embedding) -> u64 {
    let mut digest = Sha256::new();
    for value in template.values() {
        digest.update(value.to_le_bytes());
    }
    let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = digest.finalize().into();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn by_person<'a>(
    space: &SpaceId,
    templates: &'a [(String, Embedding)],
) -> Result<People<'a>, Error> {
    let mut people = People::new();
    let dimension = templates.first().map_or(0, |(_, t)| t.values().len());
    for (person, template) in templates {
        space.expect(template.space())?;
        check_dimension(space, dimension, template.values().len())?;
        people.entry(person).or_default().push(template);
    }
    Ok(people)
}

/// Every two people with the distance of their nearest templates.
fn pairs<'a>(people: &People<'a>) -> Result<Vec<(&'a str, &'a str, f32)>, Error> {
    let all: Vec<_> = people.iter().collect();
    let mut pairs = Vec::with_capacity(all.len() * all.len().saturating_sub(1) / 2);
    for (i, (a, templates)) in all.iter().enumerate() {
        for (b, others) in &all[..i] {
            let mut similarity = -1.0f32;
            for template in *templates {
                for other in *others {
                    similarity = similarity.max(cosine(template.values(), other.values()));
                }
            }
            pairs.push((**a, **b, 1.0 - similarity));
        }
    }
    Ok(pairs)
}

fn nearest<'a>(to: &Embedding, among: impl Iterator<Item = &'a Embedding>) -> Result<f32, Error> {
    let mut least = f32::INFINITY;
    for other in among {
        least = least.min(to.distance(other)?);
    }
    Ok(least)
}

/// Photos by who seems to be on them: each goes to the first stranger whose first photo is within `same`.
fn apart(photos: &[Embedding], same: f32) -> Result<Vec<Vec<&Embedding>>, Error> {
    let mut strangers: Vec<Vec<&Embedding>> = Vec::new();
    'photo: for photo in photos {
        for stranger in &mut strangers {
            if stranger[0].distance(photo)? <= same {
                stranger.push(photo);
                continue 'photo;
            }
        }
        strangers.push(vec![photo]);
    }
    Ok(strangers)
}

#[cfg(test)]
mod tests;
