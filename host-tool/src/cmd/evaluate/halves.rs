//! `facelatch evaluate --triplet`: a head trained on half of the people, measured on the others. Nothing is kept.
//!
//! The halves are people's, not photos': nobody measured on had any part in the training, the held-out quarter that says
//! when to stop included. Photos in none/ are trained on as negatives only.

use std::{collections::BTreeSet, fmt};

use facelatch_models::metric::{HeldOut, TripletConfig, fit};
use serde::Serialize;

use super::{Material, Shot};
use crate::{
    Error,
    evaluate::{
        openset::SplitMix64,
        pairs::{Sample, all_pairs},
        verification::{COMMON_TARGET, Figures},
    },
    progress::Progress,
    report::percent,
};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    material: Material,
    config: TripletConfig,
    halvings: Vec<Halving>,
}

/// One way to halve the people.
#[derive(Debug, Serialize)]
struct Halving {
    /// Of the halving and of the training.
    seed: u64,
    people_trained_on: usize,
    templates_trained_on: usize,
    best_epoch: usize,
    held_out: HeldOut,
    people_measured_on: usize,
    /// By the network's own embeddings.
    network: Figures,
    /// By the head's.
    head: Figures,
}

impl Halving {
    /// TMR at the common target, without and with the head; `None` if there are too few pairs for it.
    fn common(&self) -> Option<[f64; 2]> {
        let of = |figures: &Figures| figures.tmr_at_fmr.get(COMMON_TARGET.name).copied();
        Some([of(&self.network)?, of(&self.head)?])
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.material)?;
        let mut differences = vec![];
        for halving in &self.halvings {
            write!(
                f,
                "seed {}: trained on {} templates (epoch {}), measured on {} others, {} genuine and {} impostor pairs",
                halving.seed,
                halving.templates_trained_on,
                halving.best_epoch,
                halving.people_measured_on,
                halving.network.genuine,
                halving.network.impostor
            )?;
            match halving.common() {
                Some([network, head]) => {
                    differences.push(head - network);
                    writeln!(
                        f,
                        ": TMR at FMR {} {} by the network, {} behind a head of {}",
                        COMMON_TARGET.name,
                        percent(network),
                        percent(head),
                        self.config.dims
                    )?;
                }
                None => writeln!(f, ": too few for FMR {}", COMMON_TARGET.name)?,
            }
        }
        let mean = differences.iter().sum::<f64>() / differences.len().max(1) as f64;
        let worst = differences.iter().copied().fold(f64::INFINITY, f64::min);
        if worst.is_finite() {
            write!(
                f,
                "difference: {:+.2} points on average, {:+.2} at worst",
                mean * 100.0,
                worst * 100.0
            )?;
        }
        Ok(())
    }
}

/// Halves, trains and measures so many times.
///
/// # Errors
/// [`Error::Models`] if half of the people are too few to train on.
pub(super) fn run(
    shots: &[Shot],
    material: Material,
    dims: u32,
    halvings: u32,
) -> Result<Report, Error> {
    let config = TripletConfig {
        dims,
        ..TripletConfig::default()
    };
    let mut done = vec![];
    let progress = Progress::new("training heads", halvings.into(), "heads");
    for seed in 1..=u64::from(halvings) {
        done.push(halve(
            shots,
            &TripletConfig {
                seed,
                ..config.clone()
            },
        )?);
        progress.advance(1);
    }
    progress.finish();
    Ok(Report {
        material,
        config,
        halvings: done,
    })
}

fn halve(shots: &[Shot], config: &TripletConfig) -> Result<Halving, Error> {
    let samples: Vec<Sample<'_>> = shots.iter().filter_map(Shot::sample).collect();
    let people: BTreeSet<&str> = samples.iter().filter_map(|s| s.person).collect();
    let mut people: Vec<&str> = people.into_iter().collect();
    SplitMix64::new(config.seed).shuffle(&mut people);
    let (trained_on, measured_on) = people.split_at(people.len() / 2);
    let measured: Vec<&Sample<'_>> = samples
        .iter()
        .filter(|s| s.person.is_some_and(|p| measured_on.contains(&p)))
        .collect();
    let examples: Vec<_> = samples
        .iter()
        .filter(|s| s.person.is_none_or(|p| trained_on.contains(&p)))
        .map(|s| (s.person, s.embedding))
        .collect();
    let fitted = fit(&examples, config, |_| ())?;
    let mapped = measured
        .iter()
        .map(|s| fitted.head.apply(s.embedding))
        .collect::<Result<Vec<_>, _>>()?;
    let figures = |behind: bool| {
        let sample = |(s, mapped)| {
            let s: &&Sample<'_> = s;
            Sample {
                person: s.person,
                embedding: if behind { mapped } else { s.embedding },
            }
        };
        let samples: Vec<Sample<'_>> = measured.iter().zip(&mapped).map(sample).collect();
        Ok::<_, Error>(all_pairs(&samples)?.figures())
    };
    Ok(Halving {
        seed: config.seed,
        people_trained_on: trained_on.len(),
        templates_trained_on: fitted.templates,
        best_epoch: fitted.best_epoch,
        held_out: fitted.held_out,
        people_measured_on: measured_on.len(),
        network: figures(false)?,
        head: figures(true)?,
    })
}
