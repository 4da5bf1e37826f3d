//! How long a probe takes against 100,000 templates, beside comparing every one in f32: `cargo bench -p facelatch-models --bench
//! search`. One thread; both in one run, so that the ratio says something on a busy machine.

#[path = "made_up/faces.rs"]
mod made_up;

use std::time::{Duration, Instant};

use facelatch_models::{
    embedding::{Embedding, SpaceId},
    openset::{Gate, Roster},
};

use made_up::{normal, unit};

const PEOPLE: usize = 10_000;
const EACH: usize = 10;
const DIMENSION: usize = 512;
const PROBES: usize = 60;

/// A face of somebody: cosines between two of one person are about 0.7, as FaceNet's.
fn face(mean: &[f32], random: &mut u64) -> Vec<f32> {
    let values = mean.iter().map(|m| m + 0.65 * normal(random));
    unit(values.collect())
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn main() {
    let space = SpaceId::parse("bench").expect("a good name");
    let mut random = 1;
    let means: Vec<Vec<f32>> = (0..PEOPLE)
        .map(|_| (0..DIMENSION).map(|_| normal(&mut random)).collect())
        .collect();
    let mut rows = Vec::with_capacity(PEOPLE * EACH * DIMENSION);
    let mut templates = Vec::with_capacity(PEOPLE * EACH);
    for (i, mean) in means.iter().enumerate() {
        for _ in 0..EACH {
            let values = face(mean, &mut random);
            rows.extend_from_slice(&values);
            let template = Embedding::new(space.clone(), values).expect("a unit vector");
            templates.push((format!("person-{i:05}"), template));
        }
    }
    let start = Instant::now();
    let roster = Roster::new(space.clone(), &templates).expect("one space");
    println!(
        "{} templates, roster made in {:.2?}",
        templates.len(),
        start.elapsed()
    );
    drop(templates);

    let gate = Gate::default();
    let (mut search, mut plain, mut right) = (vec![], vec![], 0);
    for i in 0..PROBES {
        let mean = &means[i * PEOPLE / PROBES];
        // Every other probe is a stranger's.
        let values = match i % 2 {
            0 => face(mean, &mut random),
            _ => unit((0..DIMENSION).map(|_| normal(&mut random)).collect()),
        };
        let probe = Embedding::new(space.clone(), values.clone()).expect("a unit vector");
        let start = Instant::now();
        let judged = roster.judge(&probe, None, &gate).expect("one space");
        search.push(start.elapsed());

        let start = Instant::now();
        let mut best = (0, f32::MIN);
        for (row, template) in rows.chunks_exact(DIMENSION).enumerate() {
            let cosine = dot(template, &values);
            if cosine > best.1 {
                best = (row, cosine);
            }
        }
        plain.push(start.elapsed());
        let nearest = judged.nearest.expect("somebody").person;
        right += usize::from(nearest == format!("person-{:05}", best.0 / EACH));
    }
    let (search, plain) = (median(search), median(plain));
    println!("nearest two of {PEOPLE} people: {search:.2} ms a probe, one thread, exact");
    println!(
        "every template in f32: {plain:.2} ms; ratio {:.2}",
        search / plain
    );
    println!("the same nearest person: {right} of {PROBES}");
    assert_eq!(right, PROBES, "the search is not exact");
}

/// Eight sums side by side, as the product does it.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for i in 0..8 {
            lanes[i] += x[i] * y[i];
        }
    }
    lanes.iter().sum()
}
