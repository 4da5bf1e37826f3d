//! Error rates from outcomes, in the terms of ISO/IEC 30107-3: APCER for each attack species, BPCER for people.
//!
//! Intervals are Clopper-Pearson's and take clips as independent; clips of one photo are not, so the true ones are wider.

use std::{collections::BTreeMap, fmt};

use facelatch_models::liveness::Level;
use serde::Serialize;

use super::{clip::ClipInfo, judge::Outcome};
use crate::{
    evaluate::interval::Rate,
    report::{count, percent},
};

/// What was measured on a folder of clips.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Clips.
    pub clips: usize,
    /// Of them synthetic.
    pub synthetic: usize,
    /// What must be known to read the figures.
    pub note: &'static str,
    /// Each species' rates.
    pub species: BTreeMap<String, Figures>,
}

/// The rates of one species.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// "APCER" for attacks: the share that passed; "BPCER" for people: the share that did not.
    pub rate: &'static str,
    /// "synthetic", "recorded" or "mixed".
    pub origin: &'static str,
    /// Clips.
    pub clips: usize,
    /// Clips in which no frame had a face: they count as not passed.
    pub no_face: usize,
    /// By level, `off`, `passive` and `challenge`; the last only over clips that have one.
    pub levels: BTreeMap<&'static str, Rate>,
}

impl Report {
    /// Counts outcomes.
    #[must_use]
    pub fn new(outcomes: &[(&ClipInfo, Outcome)]) -> Report {
        // A species folder may hold people and attacks only by mistake; they are counted apart all the same.
        let mut groups: BTreeMap<(&str, bool), Vec<&(&ClipInfo, Outcome)>> = BTreeMap::new();
        for outcome in outcomes {
            let (info, _) = outcome;
            groups
                .entry((&info.species, info.live))
                .or_default()
                .push(outcome);
        }
        let several = |name: &str| {
            [true, false]
                .iter()
                .all(|&live| groups.contains_key(&(name, live)))
        };
        let species = groups
            .iter()
            .map(|((name, live), group)| {
                let name = match (several(name), live) {
                    (true, true) => format!("{name} (live)"),
                    (true, false) | (false, _) => (*name).to_owned(),
                };
                (name, Figures::new(*live, group))
            })
            .collect();
        let synthetic = outcomes.iter().filter(|(info, _)| info.synthetic).count();
        Report {
            clips: outcomes.len(),
            synthetic,
            note: match synthetic {
                0 => "recorded clips",
                n if n == outcomes.len() => {
                    "all clips are synthetic: the rates say what the geometry resists, not how a door fares against people"
                }
                _ => "some clips are synthetic: see each species",
            },
            species,
        }
    }
}

impl Figures {
    fn new(live: bool, group: &[&(&ClipInfo, Outcome)]) -> Figures {
        let synthetic = group.iter().filter(|(info, _)| info.synthetic).count();
        let mut levels = BTreeMap::new();
        for (name, level) in [
            ("off", Level::Off),
            ("passive", Level::Passive),
            ("challenge", Level::Challenge),
        ] {
            let passed: Vec<bool> = group.iter().filter_map(|(_, o)| o.passes(level)).collect();
            let errors = passed.iter().filter(|&&passed| passed != live).count();
            if !passed.is_empty() {
                levels.insert(name, Rate::new(errors as u64, passed.len() as u64));
            }
        }
        Figures {
            rate: if live { "BPCER" } else { "APCER" },
            origin: match synthetic {
                0 => "recorded",
                n if n == group.len() => "synthetic",
                _ => "mixed",
            },
            clips: group.len(),
            no_face: group.iter().filter(|(_, o)| o.faces == 0).count(),
            levels,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, {} of them synthetic; {}",
            count(self.clips, "clip", "clips"),
            self.synthetic,
            self.note
        )?;
        for (name, figures) in &self.species {
            writeln!(
                f,
                "{name}: {} {}, {} without a face",
                figures.clips, figures.origin, figures.no_face
            )?;
            for level in ["off", "passive", "challenge"] {
                let Some(rate) = figures.levels.get(level) else {
                    continue;
                };
                let [low, high] = rate.interval_95;
                writeln!(
                    f,
                    "  {level:9} {} {}: {} of {}; 95 % interval {} to {}",
                    figures.rate,
                    percent(rate.rate),
                    rate.errors,
                    rate.trials,
                    percent(low),
                    percent(high)
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use facelatch_models::liveness::challenge::Challenge;

    use super::*;
    use crate::pad::judge::Ended;

    fn info(species: &str, live: bool, synthetic: bool) -> ClipInfo {
        ClipInfo {
            species: species.into(),
            live,
            synthetic,
            origin: "a test".into(),
            challenge: Some(Challenge::draw(2, 0)),
            frame_ms: vec![0],
        }
    }

    fn outcome(faces: usize, challenge: Option<Ended>) -> Outcome {
        Outcome {
            faces,
            cues: None,
            challenge,
        }
    }

    #[test]
    fn rates_are_counted_by_species_and_level() {
        let (bent, person) = (info("bent", false, true), info("ada", true, false));
        let mut outcomes = vec![
            (&bent, outcome(9, Some(Ended::Passed))),
            (&bent, outcome(0, Some(Ended::Unfinished))),
            (&person, outcome(9, Some(Ended::Passed))),
            (&person, outcome(9, None)),
        ];
        outcomes.extend((0..23).map(|_| (&bent, outcome(9, Some(Ended::Unfinished)))));
        let report = Report::new(&outcomes);
        let bent = &report.species["bent"];
        assert_eq!(
            (bent.rate, bent.origin, bent.no_face),
            ("APCER", "synthetic", 1)
        );
        // Golden bounds of 1 in 25 as in `interval`.
        let [low, high] = bent.levels["challenge"].interval_95;
        assert!((low - 0.001_012_200).abs() < 1e-8 && (high - 0.203_516_914).abs() < 1e-8);
        assert_eq!(bent.levels["off"].errors, 24);
        assert_eq!(bent.levels["passive"].errors, 0);
        let ada = &report.species["ada"];
        assert_eq!((ada.rate, ada.origin), ("BPCER", "recorded"));
        assert_eq!(
            (
                ada.levels["challenge"].errors,
                ada.levels["challenge"].trials
            ),
            (0, 1)
        );
        assert_eq!(ada.levels["passive"].errors, 2);
        assert!(report.to_string().contains("25 of them synthetic"));
    }
}
