//! Is the promise kept? Random people of a folder are enrolled and the gate calibrated on them alone; everybody else then
//! comes as a stranger.
//!
//! Each split says whether the rate measured lies in the interval predicted for so many photos, and in the one predicted
//! for the rate itself. A photo without a face is a probe too, as in `evaluate`. Called by `cmd/calibrate.rs`.

use std::collections::BTreeMap;

use facelatch_models::{
    calibrate::{Calibration, Predicted, Tail},
    classifier::{Classifier, TrainConfig},
    embedding::{Embedding, SpaceId},
    openset::{Gate, Reject, Roster},
};
use serde::Serialize;

use crate::{
    Error,
    evaluate::{groups::Groups, interval::Rate, openset::Trial},
};

/// One split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Split {
    /// Largest cosine distance for everybody without a look-alike.
    pub max_distance: f32,
    /// People with a nearer one.
    pub look_alikes: usize,
    /// Predicted FPIR, with the 95 % interval of the rate itself.
    pub predicted: Predicted,
    /// The 95 % interval predicted for what so many photos of strangers show.
    pub predicted_interval_95: [f64; 2],
    /// Strangers' photos near enough, which classifier and margin may still refuse.
    pub near_enough: Rate,
    /// Strangers' photos accepted: the measured FPIR.
    pub measured: Rate,
    /// Whether `predicted_interval_95` contains it.
    pub contained: bool,
    /// Enrolled people's other photos not accepted as theirs.
    pub fnir: Rate,
    /// The same by group.
    pub fnir_by_group: BTreeMap<String, Rate>,
}

/// All splits together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Splits {
    /// The target FPIR.
    pub target_fpir: f64,
    /// Splits whose predicted interval contains the measured FPIR.
    pub contained: usize,
    /// Splits whose measured FPIR is at most the target.
    pub within_target: usize,
    /// Strangers' photos near enough in all splits: classifier and margin let pass `measured` of these.
    pub near_enough: Rate,
    /// Strangers' photos accepted in all splits.
    pub measured: Rate,
    /// Enrolled people's other photos not accepted as theirs, in all splits.
    pub fnir: Rate,
    /// The same by group.
    pub fnir_by_group: BTreeMap<String, Rate>,
    /// Split by split.
    pub splits: Vec<Split>,
}

/// Errors of trials, not yet a rate.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    errors: u64,
    trials: u64,
}

impl Count {
    fn add(&mut self, error: bool) {
        self.errors += u64::from(error);
        self.trials += 1;
    }

    fn sum<'a>(rates: impl Iterator<Item = &'a Rate>) -> Rate {
        let sum = rates.fold(Count::default(), |sum, rate| Count {
            errors: sum.errors + rate.errors,
            trials: sum.trials + rate.trials,
        });
        sum.rate()
    }

    fn rate(self) -> Rate {
        Rate::new(self.errors, self.trials)
    }
}

/// Calibrates on each trial's templates and lets its probes try.
///
/// # Errors
/// [`Error::Models`] if spaces are mixed, a trial enrolls nobody or the target is out of range.
pub fn run(
    space: &SpaceId,
    trials: &[Trial],
    tail: &Tail,
    target_fpir: f64,
    groups: Option<&Groups>,
) -> Result<Splits, Error> {
    let splits = trials
        .iter()
        .map(|trial| split(space, trial, tail, target_fpir, groups))
        .collect::<Result<Vec<_>, _>>()?;
    let names = splits.iter().flat_map(|s| s.fnir_by_group.keys());
    let names: std::collections::BTreeSet<_> = names.cloned().collect();
    let of_group = |name: String| {
        let rates = splits.iter().filter_map(|s| s.fnir_by_group.get(&name));
        let rate = Count::sum(rates);
        (name, rate)
    };
    Ok(Splits {
        target_fpir,
        contained: splits.iter().filter(|s| s.contained).count(),
        within_target: splits
            .iter()
            .filter(|s| s.measured.rate <= target_fpir)
            .count(),
        near_enough: Count::sum(splits.iter().map(|s| &s.near_enough)),
        measured: Count::sum(splits.iter().map(|s| &s.measured)),
        fnir: Count::sum(splits.iter().map(|s| &s.fnir)),
        fnir_by_group: names.into_iter().map(of_group).collect(),
        splits,
    })
}

fn split(
    space: &SpaceId,
    trial: &Trial,
    tail: &Tail,
    target_fpir: f64,
    groups: Option<&Groups>,
) -> Result<Split, Error> {
    let templates = &trial.templates;
    let calibration = Calibration::new(space, tail.clone(), target_fpir, templates, &[])?;
    let examples: Vec<_> = templates
        .iter()
        .map(|(who, t)| (Some(who.as_str()), t))
        .collect();
    let classifier = Classifier::train(&examples, &TrainConfig::default())?;
    let mut roster = Roster::new(space.clone(), templates)?;
    let gate = Gate::of(space);
    let thresholds = calibration.thresholds(templates, &gate)?;
    let gate = calibration.apply(&mut roster, templates, &gate)?;
    let named = |probe: &Option<Embedding>| match probe {
        Some(probe) => {
            let judged = roster.judge(probe, Some(&classifier), &gate)?;
            Ok::<_, Error>(judged.outcome)
        }
        None => Ok(Err(Reject::TooDistant)),
    };
    let (mut near_enough, mut accepted) = (Count::default(), Count::default());
    for probe in &trial.non_mated {
        let outcome = named(probe)?;
        near_enough.add(outcome != Err(Reject::TooDistant));
        accepted.add(outcome.is_ok());
    }
    let mut missed = Count::default();
    let mut by_group: BTreeMap<String, Count> = BTreeMap::new();
    for (who, probe) in &trial.mated {
        let miss = named(probe)?.as_ref() != Ok(who);
        missed.add(miss);
        if let Some(group) = groups.and_then(|groups| groups.of(who)) {
            by_group.entry(group.to_owned()).or_default().add(miss);
        }
    }
    let predicted = calibration.predict(&thresholds);
    let interval = predicted.measured_interval_95(trial.non_mated.len());
    let measured = accepted.rate();
    let limits = &thresholds.people;
    Ok(Split {
        max_distance: thresholds.max_distance,
        look_alikes: limits.iter().filter(|l| l.look_alike.is_some()).count(),
        predicted,
        predicted_interval_95: interval,
        near_enough: near_enough.rate(),
        measured,
        contained: (interval[0]..=interval[1]).contains(&measured.rate),
        fnir: missed.rate(),
        fnir_by_group: by_group.into_iter().map(|(g, c)| (g, c.rate())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_probe_is_counted_where_it_belongs() {
        let space = SpaceId::parse("facenet-512-8ae262ba0655f498").expect("a space");
        let at =
            |values: [f32; 3]| Embedding::new(space.clone(), values.to_vec()).expect("a vector");
        let (ada, bob) = (at([1.0, 0.0, 0.0]), at([0.0, 1.0, 0.0]));
        let trial = Trial {
            templates: vec![("ada".into(), ada.clone()), ("bob".into(), bob.clone())],
            mated: vec![
                ("ada".into(), Some(ada.clone())),
                ("ada".into(), None),
                ("bob".into(), Some(ada.clone())),
            ],
            non_mated: vec![None, Some(at([0.0, 0.0, -1.0])), Some(bob)],
        };
        let groups = Groups::parse("ada,women\nbob,men\n", Path::new("g")).expect("a table");
        let tail = Tail::prior(&space).expect("measured");
        let all = run(&space, &[trial.clone(), trial], &tail, 0.002, Some(&groups));
        let all = all.expect("one space");
        let counts = |rate: &Rate| (rate.errors, rate.trials);
        assert_eq!(counts(&all.measured), (2, 6));
        assert_eq!(counts(&all.fnir), (4, 6));
        assert_eq!(counts(&all.fnir_by_group["women"]), (2, 4));
        assert_eq!(counts(&all.fnir_by_group["men"]), (2, 2));
        assert_eq!((all.contained, all.within_target), (0, 0), "a third got in");
        assert_eq!(all.splits.len(), 2);
    }
}
