//! `facelatch evaluate --report`: the page of a verification.

use std::{collections::BTreeMap, path::Path};

use facelatch_models::image::{decode, resize_area};
use image::{ImageFormat, RgbImage};
use ndarray::Array2;

use super::{Shot, Verification};
use crate::{
    Error,
    cmd::predict::encode,
    embed::photo_bytes,
    evaluate::{
        charts,
        html::{Chart, Couple, Page, Table},
        map,
        pairs::Sample,
        verification::{COMMON_TARGET, Distances},
        worst::{Case, worst},
    },
    report::percent,
};

/// Worst cases of each kind.
const CASES: usize = 12;
/// Longest side of a small photo, in pixels.
const SMALL: u32 = 160;

/// The page's text.
pub(super) fn page(
    shots: &[Shot],
    samples: &[Sample<'_>],
    distances: &Distances,
    report: &Verification,
) -> Result<String, Error> {
    let threshold = distances.threshold_at(COMMON_TARGET);
    let mut charts = vec![
        Chart {
            title: "Detection error trade-off",
            text: "Genuine pairs refused (FNMR) over impostor pairs accepted (FMR), for every threshold.".into(),
            svg: charts::det(distances)?,
        },
        Chart {
            title: "Scores",
            text: "Shares of genuine and of impostor pairs by cosine distance; the less they overlap, the better.".into(),
            svg: charts::histogram(distances, threshold)?,
        },
    ];
    charts.extend(maps(samples)?);
    let worst = worst(samples, CASES)?;
    let with_face: Vec<&Shot> = shots
        .iter()
        .filter(|shot| shot.embedding.is_some())
        .collect();
    let couples = |cases: &[Case]| cases.iter().map(|case| couple(&with_face, case)).collect();
    Ok(Page {
        title: "Evaluation",
        about: report.material.to_string(),
        tables: tables(report),
        charts,
        couples: vec![
            ("One person, farthest apart", couples(&worst.genuine)),
            ("Two people, nearest", couples(&worst.impostor)),
        ],
    }
    .to_html())
}

fn tables(report: &Verification) -> Vec<Table> {
    let figures = &report.figures;
    let mut rows = vec![vec![
        "pairs".into(),
        format!("{} genuine, {} impostor", figures.genuine, figures.impostor),
    ]];
    if let Some(eer) = figures.eer {
        rows.push(vec!["EER".into(), percent(eer)]);
    }
    for (target, tmr) in &figures.tmr_at_fmr {
        let interval = figures.tmr_interval_95.get(target);
        let interval = interval.map_or_else(String::new, |[low, high]| {
            format!(" ({} to {})", percent(*low), percent(*high))
        });
        rows.push(vec![
            format!("TMR at FMR {target}"),
            percent(*tmr) + &interval,
        ]);
    }
    if let Some(pairs) = &report.pairs {
        let share = format!(
            "{} ± {}",
            percent(pairs.accuracy),
            percent(pairs.standard_error)
        );
        rows.push(vec![
            format!("accuracy on {} pairs in folds", pairs.pairs),
            share,
        ]);
    }
    let mut tables = vec![Table {
        title: "Figures",
        columns: vec!["figure".into(), "value (95 % interval)".into()],
        rows,
    }];
    if let Some(groups) = &report.groups {
        let row = |(group, figures): (&String, &crate::evaluate::groups::GroupFigures)| {
            let [low, high] = figures.fnmr_interval_95;
            vec![
                group.clone(),
                figures.people.to_string(),
                format!("{:.2e}", figures.fmr),
                format!(
                    "{} ({} to {})",
                    percent(figures.fnmr),
                    percent(low),
                    percent(high)
                ),
            ]
        };
        tables.push(Table {
            title: "Groups at the common threshold",
            columns: ["group", "people", "FMR", "FNMR (95 % interval)"]
                .map(str::to_owned)
                .to_vec(),
            rows: groups.iter().map(row).collect(),
        });
    }
    tables
}

/// Principal components and t-SNE, with the people who have most photos in colour.
fn maps(samples: &[Sample<'_>]) -> Result<[Chart; 2], Error> {
    // Evenly thinned: all people stay in.
    let step = samples.len().div_ceil(map::MOST).max(1);
    let shown: Vec<&Sample<'_>> = samples.iter().step_by(step).collect();
    let dimension = shown
        .first()
        .map_or(0, |sample| sample.embedding.values().len());
    let rows: Vec<f32> = shown
        .iter()
        .flat_map(|sample| sample.embedding.values())
        .copied()
        .collect();
    let embeddings = Array2::from_shape_vec((shown.len(), dimension), rows)
        .map_err(|error| Error::Bug(format!("embeddings of several lengths: {error}")))?;
    let mut photos: BTreeMap<&str, usize> = BTreeMap::new();
    for person in shown.iter().filter_map(|sample| sample.person) {
        *photos.entry(person).or_default() += 1;
    }
    let mut most: Vec<(&str, usize)> = photos
        .into_iter()
        .filter(|(_, photos)| *photos > 1)
        .collect();
    most.sort_by_key(|(_, photos)| std::cmp::Reverse(*photos));
    most.truncate(charts::colours());
    let group = |sample: &&Sample<'_>| {
        let person = sample.person?;
        most.iter().position(|(name, _)| *name == person)
    };
    let groups: Vec<Option<usize>> = shown.iter().map(group).collect();
    let names: Vec<&str> = most.iter().map(|(name, _)| *name).collect();
    let coloured = match names.is_empty() {
        true => String::new(),
        false => format!(" In colour: {}.", names.join(", ")),
    };
    let chart = |title, text: &str, points: &map::Points| {
        Ok::<_, Error>(Chart {
            title,
            text: format!("{} photos. {text}{coloured}", shown.len()),
            svg: charts::scatter(points, &groups)?,
        })
    };
    Ok([
        chart(
            "Map: principal components",
            "The two directions in which embeddings differ most.",
            &map::principal(&embeddings),
        )?,
        chart(
            "Map: t-SNE",
            "Neighbours are alike; how far apart groups lie means little.",
            &map::neighbours(&embeddings),
        )?,
    ])
}

fn couple(shots: &[&Shot], case: &Case) -> Couple {
    let names = case.photos.map(|at| shots[at].path.display().to_string());
    Couple {
        text: format!("{:.3}: {} and {}", case.distance, names[0], names[1]),
        jpegs: case.photos.map(|at| small(&shots[at].path)),
    }
}

/// A photo, small; `None` if it cannot be read any more.
fn small(path: &Path) -> Option<Vec<u8>> {
    let photo: RgbImage = decode(&photo_bytes(path).ok()?, "photo").ok()?;
    let (w, h) = photo.dimensions();
    let scale = f64::from(SMALL) / f64::from(w.max(h)).max(1.0);
    let side = |side: u32| ((f64::from(side) * scale.min(1.0)).round() as u32).max(1);
    encode(&resize_area(&photo, side(w), side(h)), ImageFormat::Jpeg).ok()
}
