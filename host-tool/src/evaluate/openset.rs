//! The open-set trial: some people are enrolled, everybody else is a stranger, and the door's own gate decides.
//!
//! Definitions (ISO/IEC 19795-1, identification), decided by the same `models::openset` code a door runs:
//!
//! ```text
//! FPIR = non-mated probes (strangers) accepted as anybody / non-mated probes
//! FNIR = mated probes (enrolled people, photos not enrolled) not accepted as themselves / mated probes
//! ```
//!
//! A photo in which no face was found is a probe too: a stranger's cannot be accepted, an enrolled person's is a miss.
//! The classifier sees the enrolled templates only, never a stranger.

use std::collections::BTreeMap;

use facelatch_models::{
    classifier::{Classifier, TrainConfig},
    embedding::{Embedding, SpaceId},
    openset::{Gate, Reject, Roster},
};
use serde::Serialize;

use crate::{Error, evaluate::interval::Rate};

/// Who is enrolled and who comes to the door.
#[derive(Debug, Clone, Default)]
pub struct Trial {
    /// Enrolled: person and template, any number a person.
    pub templates: Vec<(String, Embedding)>,
    /// Probes of enrolled people; `None` where no face was found.
    pub mated: Vec<(String, Option<Embedding>)>,
    /// Probes of strangers.
    pub non_mated: Vec<Option<Embedding>>,
}

/// How one or more trials ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpenSetFigures {
    /// False positive identification rate.
    pub fpir: f64,
    /// False negative identification rate.
    pub fnir: f64,
    /// Strangers accepted, of all strangers' probes.
    pub non_mated: Rate,
    /// Enrolled people not accepted as themselves, of all their probes.
    pub mated: Rate,
    /// Of the misses, those accepted as another enrolled person.
    pub misidentified: u64,
    /// Why probes were refused: by reason, enrolled people's and strangers' ones.
    pub refused: BTreeMap<&'static str, Refused>,
    /// The gate, as tightened for the number of people enrolled.
    pub gate: Gate,
}

/// Probes refused for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Refused {
    /// Enrolled people's.
    pub mated: u64,
    /// Strangers'.
    pub non_mated: u64,
}

#[derive(Debug, Default)]
struct Tally {
    mated: u64,
    misses: u64,
    misidentified: u64,
    non_mated: u64,
    accepted: u64,
    refused: BTreeMap<&'static str, Refused>,
}

/// Runs the trials, all with the same gate, and adds their counts.
///
/// # Errors
/// [`Error::Usage`] without a trial, [`Error::Models`] if spaces are mixed or a trial enrolls nobody.
pub fn run(
    space: &SpaceId,
    trials: &[Trial],
    gate: &Gate,
    config: &TrainConfig,
) -> Result<OpenSetFigures, Error> {
    let mut tally = Tally::default();
    let mut tightened = *gate;
    for trial in trials {
        tightened = tally.add(space, trial, gate, config)?;
    }
    let (mated, non_mated) = (
        Rate::new(tally.misses, tally.mated),
        Rate::new(tally.accepted, tally.non_mated),
    );
    Ok(OpenSetFigures {
        fpir: non_mated.rate,
        fnir: mated.rate,
        non_mated,
        mated,
        misidentified: tally.misidentified,
        refused: tally.refused,
        gate: tightened,
    })
}

impl Tally {
    fn add(
        &mut self,
        space: &SpaceId,
        trial: &Trial,
        gate: &Gate,
        config: &TrainConfig,
    ) -> Result<Gate, Error> {
        let examples: Vec<_> = trial
            .templates
            .iter()
            .map(|(who, t)| (Some(who.as_str()), t))
            .collect();
        let classifier = Classifier::train(&examples, config)?;
        let roster = Roster::new(space.clone(), &trial.templates)?;
        let gate = gate.tightened(roster.people());
        let judge = |probe: &Option<Embedding>| match probe {
            Some(probe) => {
                let judgement = roster.judge(probe, Some(&classifier), &gate)?;
                Ok::<_, Error>(judgement.outcome.map_err(reason))
            }
            None => Ok(Err("no-face")),
        };
        for (who, probe) in &trial.mated {
            self.mated += 1;
            match judge(probe)? {
                Ok(named) if named == *who => continue,
                Ok(_) => self.misidentified += 1,
                Err(reason) => self.refused.entry(reason).or_default().mated += 1,
            }
            self.misses += 1;
        }
        for probe in &trial.non_mated {
            self.non_mated += 1;
            match judge(probe)? {
                Ok(_) => self.accepted += 1,
                Err(reason) => self.refused.entry(reason).or_default().non_mated += 1,
            }
        }
        Ok(gate)
    }
}

/// A refusal as one word of JSON; the same words as serde's.
#[must_use]
pub fn reason(reject: Reject) -> &'static str {
    match reject {
        Reject::EmptyGallery => "empty-gallery",
        Reject::TooDistant => "too-distant",
        Reject::Ambiguous => "ambiguous",
        Reject::NotConfirmed => "not-confirmed",
        Reject::Contradicted => "contradicted",
    }
}

/// A small generator of reproducible splits: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Starts at a seed.
    #[must_use]
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A random order (Fisher and Yates). The bias of taking a remainder is below 2^-40 for any dataset.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = (self.next() % (i as u64 + 1)) as usize;
            items.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffles_are_permutations_and_reproducible() {
        // The generator's published first values from seed 1234567.
        let mut random = SplitMix64::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
        let shuffled = |seed| {
            let mut items: Vec<u32> = (0..50).collect();
            SplitMix64::new(seed).shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        let mut sorted = shuffled(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }

    /// Two people on orthogonal axes, probes at known angles: every count is known beforehand.
    #[test]
    fn counts_mated_and_non_mated_probes() {
        let space = SpaceId::parse("test-4").expect("a space");
        let at =
            |values: [f32; 4]| Embedding::new(space.clone(), values.to_vec()).expect("a vector");
        let (ada, bob) = (at([1.0, 0.05, 0.0, 0.0]), at([0.0, 1.0, 0.05, 0.0]));
        let trial = Trial {
            templates: vec![("ada".into(), ada.clone()), ("bob".into(), bob.clone())],
            mated: vec![
                ("ada".into(), Some(at([1.0, 0.0, 0.05, 0.0]))),
                ("ada".into(), Some(bob)),
                ("bob".into(), None),
                ("bob".into(), Some(at([0.0, 0.0, 0.0, 1.0]))),
            ],
            non_mated: vec![None, Some(at([0.0, 0.0, 0.0, -1.0])), Some(ada)],
        };
        let gate = Gate {
            max_distance: 0.3,
            min_margin: 0.05,
            min_probability: 0.2,
            ..Gate::default()
        };
        let figures = run(&space, &[trial], &gate, &TrainConfig::default()).expect("one space");
        assert_eq!(
            (figures.mated.errors, figures.mated.trials),
            (3, 4),
            "{figures:?}"
        );
        assert_eq!(
            (figures.non_mated.errors, figures.non_mated.trials),
            (1, 3),
            "{figures:?}"
        );
        assert_eq!(figures.misidentified, 1);
        assert_eq!(
            figures.refused["no-face"],
            Refused {
                mated: 1,
                non_mated: 1
            }
        );
    }
}
