//! `facelatch evaluate`: how good recognition is on a folder of photos of known people.

mod halves;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use facelatch_models::{classifier::TrainConfig, openset::Gate};
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    dataset::Dataset,
    embed::{Kind, MIN_FACE_PX, Outcome, Reader, detector_config},
    evaluate::{
        groups::{GroupFigures, Groups},
        lfw::{self, FoldFigures, Folds},
        openset::{self, OpenSetFigures, SplitMix64, Trial},
        pairs::{Sample, all_pairs},
        verification::{COMMON_TARGET, Distances, Figures},
    },
    home::read_head,
    report::{percent, warn},
    sealed::write_shared,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
DIR holds one folder per person, as for enroll. Every photo is paired with every other (never with itself) by its main
face: genuine pairs show one person, impostor pairs two. Photos in a folder named none make impostor pairs only.

  FMR  share of impostor pairs accepted      TMR  share of genuine pairs accepted (FNMR = 1 - TMR)
  EER  where FMR = FNMR                      FTA  photos without a face found: counted in images, not in faces

--open-set enrolls some people and lets the others try as strangers, with the gate a door uses:
  FPIR share of strangers' photos accepted   FNIR share of enrolled people's other photos not accepted

Embeddings are cached by photo: a second run takes seconds. Photos of the same bytes are used once.

Example: facelatch evaluate photos --groups groups.csv --json
Example: facelatch evaluate photos --report evaluation.html
Example: facelatch evaluate photos --triplet 128 --halvings 8
Example: facelatch evaluate lfw --pairs pairs.txt
Example: facelatch evaluate photos --open-set --enroll-people 5 --enroll-photos 5")]
pub struct Args {
    /// Folder with one folder of photos per person.
    dir: PathBuf,
    /// CSV of person,group: error rates of each group at the threshold for FMR 1e-3 over everybody.
    #[arg(long, value_name = "CSV", conflicts_with = "open_set")]
    groups: Option<PathBuf>,
    /// LFW's protocol besides: a pairs.txt of folds of photo pairs, NAME n m and NAME n OTHER m.
    #[arg(long, value_name = "TXT", conflicts_with = "open_set")]
    pairs: Option<PathBuf>,
    /// Write a page with charts, a map of the embeddings and the worst cases with their photos.
    #[arg(long, value_name = "HTML", conflicts_with = "open_set")]
    report: Option<PathBuf>,
    /// Compare embeddings behind this head, a workspace's file `head`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["open_set", "triplet"])]
    head: Option<PathBuf>,
    /// Train a head of so many numbers by triplet loss on half of the people, measure with and without it on the others.
    #[arg(long, value_name = "DIMS", conflicts_with_all = ["open_set", "groups", "pairs", "report"])]
    triplet: Option<u32>,
    /// Halve the people at random so many times, from seed 1 on.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "triplet")]
    halvings: u32,
    /// Enroll some people, let the others try.
    #[arg(long)]
    open_set: bool,
    /// People enrolled: the first by name who have photos enough.
    #[arg(long, value_name = "N", default_value_t = 5, requires = "open_set")]
    enroll_people: usize,
    /// Photos enrolled of each: the first by name.
    #[arg(long, value_name = "N", default_value_t = 5, requires = "open_set")]
    enroll_photos: usize,
    /// Choose people and photos at random instead, so many times, and add up the counts.
    #[arg(long, value_name = "N", requires = "open_set")]
    splits: Option<u32>,
    /// Where the random choice starts.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "splits")]
    seed: u64,
    /// Smallest face looked for, in pixels, after a photo is scaled down to at most 640 pixels a side.
    #[arg(long, value_name = "PX", default_value_t = MIN_FACE_PX)]
    min_face_px: f32,
}

/// What was measured on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Material {
    /// Photos.
    pub images: usize,
    /// Photos with a face.
    pub faces: usize,
    /// People with a face.
    pub people: usize,
    /// Photos with more than one face; the main one was used.
    pub several_faces: usize,
    /// Photos without a face.
    pub no_face: Vec<PathBuf>,
    /// Photos that could not be read.
    pub unreadable: Vec<PathBuf>,
    /// Photos with the bytes of an earlier one, not used.
    pub duplicates: usize,
    /// Embedding space.
    pub space: String,
}

#[derive(Debug, Serialize)]
struct Verification {
    #[serde(flatten)]
    material: Material,
    #[serde(flatten)]
    figures: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<BTreeMap<String, GroupFigures>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pairs: Option<FoldFigures>,
}

#[derive(Debug, Serialize)]
struct OpenSet {
    #[serde(flatten)]
    material: Material,
    enrolled_people: usize,
    enrolled_photos: usize,
    splits: usize,
    #[serde(flatten)]
    figures: OpenSetFigures,
}

impl fmt::Display for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} photos of {} people, {} with a face, {} with several; space {}",
            self.images, self.people, self.faces, self.several_faces, self.space
        )?;
        self.no_face
            .iter()
            .try_for_each(|photo| writeln!(f, "  no face: {}", photo.display()))
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        write!(f, "{}", self.material)?;
        writeln!(
            f,
            "{} genuine and {} impostor pairs",
            figures.genuine, figures.impostor
        )?;
        if let (Some(eer), Some(threshold)) = (figures.eer, figures.eer_threshold) {
            writeln!(f, "EER {} (distance {threshold:.3})", percent(eer))?;
        }
        for (target, tmr) in &figures.tmr_at_fmr {
            let threshold = figures
                .threshold_at_fmr
                .get(target)
                .copied()
                .unwrap_or(f64::NAN);
            writeln!(
                f,
                "TMR at FMR {target}: {} (distance {threshold:.3}){}",
                percent(*tmr),
                figures
                    .tmr_interval_95
                    .get(target)
                    .map_or_else(String::new, |[low, high]| {
                        format!("; 95 % interval {} to {}", percent(*low), percent(*high))
                    })
            )?;
        }
        if let Some(pairs) = &self.pairs {
            writeln!(
                f,
                "accuracy on {} pairs in {} folds: {} (standard error {})",
                pairs.pairs,
                pairs.folds.len(),
                percent(pairs.accuracy),
                percent(pairs.standard_error)
            )?;
        }
        for (group, figures) in self.groups.iter().flatten() {
            let [fnmr_low, fnmr_high] = figures.fnmr_interval_95;
            writeln!(
                f,
                "{group}: {} people, FMR {:.2e}, FNMR {} ({} to {})",
                figures.people,
                figures.fmr,
                percent(figures.fnmr),
                percent(fnmr_low),
                percent(fnmr_high)
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for OpenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        write!(f, "{}", self.material)?;
        writeln!(
            f,
            "{} people enrolled with {} photos each, {} splits; distance at most {:.3}",
            self.enrolled_people, self.enrolled_photos, self.splits, figures.gate.max_distance
        )?;
        for (name, what, rate) in [
            ("FPIR", "strangers' photos accepted", figures.non_mated),
            ("FNIR", "enrolled people's photos refused", figures.mated),
        ] {
            let [low, high] = rate.interval_95;
            writeln!(
                f,
                "{name} {}: {} of {} {what}; 95 % interval {} to {}",
                percent(rate.rate),
                rate.errors,
                rate.trials,
                percent(low),
                percent(high)
            )?;
        }
        if self.splits > 1 {
            writeln!(f, "  (splits share photos: the true intervals are wider)")?;
        }
        for (reason, refused) in &figures.refused {
            writeln!(
                f,
                "  {reason}: {} of enrolled people, {} of strangers",
                refused.mated, refused.non_mated
            )?;
        }
        Ok(())
    }
}

/// One photo that counts.
#[derive(Debug)]
pub(super) struct Shot {
    person: Option<String>,
    path: PathBuf,
    /// `None`: no face.
    pub(super) embedding: Option<facelatch_models::embedding::Embedding>,
}

impl Shot {
    /// As a sample for pairs; `None` without a face.
    pub(super) fn sample(&self) -> Option<Sample<'_>> {
        let embedding = self.embedding.as_ref()?;
        Some(Sample {
            person: self.person.as_deref(),
            embedding,
        })
    }
}

/// How many are enrolled, and how they are chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selection {
    pub(super) people: usize,
    pub(super) photos: usize,
    /// How often, and from which seed; `None` for the first by name.
    pub(super) splits: Option<(u32, u64)>,
}

/// Runs the verb.
///
/// # Errors
/// A wrong layout, unusable networks, an unreadable group table.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let dataset = Dataset::open(&args.dir)?;
    for oddity in &dataset.oddities {
        warn(&oddity.to_string());
    }
    // A wrong table is found before the long work.
    let groups = args.groups.as_ref().map(read_groups).transpose()?;
    let folds = args.pairs.as_ref().map(read_folds).transpose()?;
    let zoo = global.zoo()?;
    let config = detector_config(args.min_face_px);
    let reader = Reader::new(&zoo, Some(global.home().cache()), config)?;
    let head = match &args.head {
        Some(path) => Some(read_head(path)?.ok_or_else(|| Error::Input {
            path: path.clone(),
            why: "no such file".into(),
        })?),
        None => None,
    };
    let (mut shots, mut material) = take(&dataset, &reader)?;
    if let Some(head) = &head {
        for shot in &mut shots {
            let embedding = shot.embedding.take();
            shot.embedding = embedding
                .map(|e| head.bring(e))
                .transpose()
                .map_err(Error::from)?;
        }
        material.space = head.space().as_str().to_owned();
    }
    if let Some(dims) = args.triplet {
        let report = halves::run(&shots, material, dims, args.halvings)?;
        global.format().print(&report)?;
        return Ok(Exit::Done);
    }
    if args.open_set {
        let report = open_set(args, &shots, material, &reader)?;
        global.format().print(&report)?;
    } else {
        let samples: Vec<Sample<'_>> = shots.iter().filter_map(Shot::sample).collect();
        let distances = all_pairs(&samples)?;
        let pairs = folds
            .map(|folds| fold_figures(&folds, args, &shots))
            .transpose()?;
        let report = verification(&samples, &distances, material, groups.as_ref(), pairs)?;
        if let Some(file) = &args.report {
            let page = report::page(&shots, &samples, &distances, &report)?;
            write_shared(file, page.as_bytes())?;
        }
        global.format().print(&report)?;
    }
    Ok(Exit::Done)
}

/// Every photo against every other, as the report's JSON and as its page.
///
/// # Errors
/// As for [`run`].
pub(crate) fn verify(
    dataset: &Dataset,
    reader: &Reader<'_>,
) -> Result<(serde_json::Value, String), Error> {
    let (shots, material) = take(dataset, reader)?;
    let samples: Vec<Sample<'_>> = shots.iter().filter_map(Shot::sample).collect();
    let distances = all_pairs(&samples)?;
    let report = verification(&samples, &distances, material, None, None)?;
    let page = report::page(&shots, &samples, &distances, &report)?;
    let json = serde_json::to_value(&report)
        .map_err(|error| Error::Bug(format!("result has no JSON form: {error}")))?;
    Ok((json, page))
}

pub(super) fn take(dataset: &Dataset, reader: &Reader<'_>) -> Result<(Vec<Shot>, Material), Error> {
    let photos: Vec<PathBuf> = dataset
        .labelled()
        .map(|(_, path)| path.to_path_buf())
        .collect();
    let outcomes = reader.read(&photos, Kind::Probe)?;
    let mut material = Material {
        images: photos.len(),
        faces: 0,
        people: 0,
        several_faces: 0,
        no_face: Vec::new(),
        unreadable: Vec::new(),
        duplicates: 0,
        space: reader.space().as_str().to_owned(),
    };
    let mut seen = BTreeSet::new();
    let mut people = BTreeSet::new();
    let mut shots = Vec::new();
    for ((person, path), outcome) in dataset.labelled().zip(outcomes) {
        let reading = match outcome {
            Ok(reading) => reading,
            Err(error) => {
                warn(&error.to_string());
                material.unreadable.push(path.to_path_buf());
                continue;
            }
        };
        if !seen.insert(reading.sha256) {
            warn(&format!(
                "{} has the bytes of an earlier photo: not used",
                path.display()
            ));
            material.duplicates += 1;
            continue;
        }
        if reading.main.is_some() {
            material.faces += 1;
            material.several_faces += usize::from(reading.faces.len() > 1);
            people.extend(person.map(str::to_owned));
        } else {
            material.no_face.push(path.to_path_buf());
        }
        shots.push(Shot {
            person: person.map(str::to_owned),
            path: path.to_path_buf(),
            embedding: reading.main.map(|(_, embedding)| embedding),
        });
    }
    material.people = people.len();
    Ok((shots, material))
}

pub(super) fn read_groups(path: &PathBuf) -> Result<Groups, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::Input {
        path: path.clone(),
        why: error.to_string(),
    })?;
    Groups::parse(&text, path)
}

fn read_folds(path: &PathBuf) -> Result<Folds, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::Input {
        path: path.clone(),
        why: error.to_string(),
    })?;
    Folds::parse(&text, path)
}

/// The pairs' distances, from the photos that were taken.
fn fold_figures(folds: &Folds, args: &Args, shots: &[Shot]) -> Result<FoldFigures, Error> {
    let taken: BTreeMap<&PathBuf, &Shot> = shots.iter().map(|shot| (&shot.path, shot)).collect();
    let mut faces = BTreeMap::new();
    for (name, number) in folds.photos() {
        let path = lfw::photo(&args.dir, &name, number)?;
        let face = taken.get(&path).and_then(|shot| shot.embedding.as_ref());
        faces.insert((name, number), face);
    }
    let distance = |pair: &lfw::Pair| {
        let [a, b] =
            [&pair.photos[0], &pair.photos[1]].map(|photo| faces.get(photo).copied().flatten());
        let distance = match (a, b) {
            (Some(a), Some(b)) => Some(1.0 - a.cosine(b)?),
            (Some(_) | None, _) => None,
        };
        Ok::<_, Error>((distance, pair.genuine))
    };
    let judged: Vec<lfw::Judged> = folds
        .0
        .iter()
        .map(|fold| fold.iter().map(distance).collect())
        .collect::<Result<_, _>>()?;
    Ok(lfw::figures(&judged))
}

fn verification(
    samples: &[Sample<'_>],
    distances: &Distances,
    material: Material,
    groups: Option<&Groups>,
    pairs: Option<FoldFigures>,
) -> Result<Verification, Error> {
    let groups = match (groups, distances.threshold_at(COMMON_TARGET)) {
        (None, _) => None,
        (Some(_), None) => {
            return Err(Error::Usage(format!(
                "too few impostor pairs ({}) to set a threshold for FMR {}: groups cannot be compared",
                distances.counts().1,
                COMMON_TARGET.name
            )));
        }
        (Some(groups), Some(threshold)) => {
            warn_ungrouped(samples, groups);
            Some(groups.figures(samples, threshold)?)
        }
    };
    Ok(Verification {
        material,
        figures: distances.figures(),
        groups,
        pairs,
    })
}

pub(super) fn warn_ungrouped(samples: &[Sample<'_>], groups: &Groups) {
    let missing: BTreeSet<&str> = samples
        .iter()
        .filter_map(|s| s.person)
        .filter(|p| groups.of(p).is_none())
        .collect();
    if let Some(first) = missing.first() {
        warn(&format!(
            "{} people are in no group, {first} among them",
            missing.len()
        ));
    }
}

fn open_set(
    args: &Args,
    shots: &[Shot],
    material: Material,
    reader: &Reader<'_>,
) -> Result<OpenSet, Error> {
    let selection = Selection {
        people: args.enroll_people,
        photos: args.enroll_photos,
        splits: args.splits.map(|splits| (splits, args.seed)),
    };
    let choices = choices(selection, shots)?;
    let mut trials = Vec::new();
    for enrolled in &choices {
        trials.push(trial(shots, enrolled, reader)?);
    }
    let gate = Gate::of(reader.space());
    let figures = openset::run(reader.space(), &trials, &gate, &TrainConfig::default())?;
    Ok(OpenSet {
        material,
        enrolled_people: args.enroll_people,
        enrolled_photos: args.enroll_photos,
        splits: choices.len(),
        figures,
    })
}

/// Which shots are enrolled, split by split: indices by person.
pub(super) fn choices(
    selection: Selection,
    shots: &[Shot],
) -> Result<Vec<BTreeMap<&str, Vec<usize>>>, Error> {
    let Selection {
        people: enroll_people,
        photos: enroll_photos,
        splits,
    } = selection;
    let mut by_person: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, shot) in shots.iter().enumerate() {
        if let (Some(person), Some(_)) = (&shot.person, &shot.embedding) {
            by_person.entry(person).or_default().push(index);
        }
    }
    let able: Vec<_> = by_person
        .iter()
        .filter(|(_, s)| s.len() > enroll_photos)
        .collect();
    if enroll_people == 0 || enroll_photos == 0 || able.len() < enroll_people {
        return Err(Error::Usage(format!(
            "cannot enroll {} people with {} photos each: {} people have a further photo to be recognised by",
            enroll_people,
            enroll_photos,
            able.len()
        )));
    }
    if by_person.len() == enroll_people && shots.iter().all(|s| s.person.is_some()) {
        return Err(Error::Usage(
            "nobody is left to be a stranger: enroll fewer people".into(),
        ));
    }
    fn first<'a>(
        people: &[(&&'a str, &Vec<usize>)],
        selection: Selection,
    ) -> BTreeMap<&'a str, Vec<usize>> {
        let chosen = people.iter().take(selection.people);
        chosen
            .map(|(person, shots)| (**person, shots[..selection.photos].to_vec()))
            .collect()
    }
    let Some((splits, seed)) = splits else {
        return Ok(vec![first(&able, selection)]);
    };
    let mut random = SplitMix64::new(seed);
    let mut choices = Vec::new();
    for _ in 0..splits {
        let mut people = able.clone();
        random.shuffle(&mut people);
        let mut photos: Vec<(&&str, Vec<usize>)> = people
            .iter()
            .take(enroll_people)
            .map(|(p, s)| (*p, (*s).clone()))
            .collect();
        photos
            .iter_mut()
            .for_each(|(_, shots)| random.shuffle(shots));
        let view: Vec<_> = photos.iter().map(|(p, s)| (*p, s)).collect();
        choices.push(first(&view, selection));
    }
    Ok(choices)
}

/// Enrolled photos become templates (mirrored average), all others are probes.
pub(super) fn trial(
    shots: &[Shot],
    enrolled: &BTreeMap<&str, Vec<usize>>,
    reader: &Reader<'_>,
) -> Result<Trial, Error> {
    let mut trial = Trial::default();
    let mut used = BTreeSet::new();
    for (person, indices) in enrolled {
        let photos: Vec<PathBuf> = indices.iter().map(|&i| shots[i].path.clone()).collect();
        for outcome in reader.read(&photos, Kind::Template)? {
            // The same photo gave a face as a probe.
            let Outcome::Ok(reading) = outcome else {
                continue;
            };
            if let Some((_, template)) = reading.main {
                trial.templates.push(((*person).to_owned(), template));
            }
        }
        used.extend(indices.iter().copied());
    }
    for (_, shot) in shots.iter().enumerate().filter(|(i, _)| !used.contains(i)) {
        match &shot.person {
            Some(person) if enrolled.contains_key(person.as_str()) => {
                trial.mated.push((person.clone(), shot.embedding.clone()));
            }
            Some(_) | None => trial.non_mated.push(shot.embedding.clone()),
        }
    }
    Ok(trial)
}
