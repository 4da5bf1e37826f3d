//! `facelatch models centre`: the mean embedding of a population, for a zoo's recipe.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use facelatch_models::{align::align, mtcnn::main_face};
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    dataset::Dataset,
    embed::{MIN_FACE_PX, Networks, detector_config},
    evaluate::groups::Groups,
    progress::Progress,
    report::warn,
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Faces share a direction that the network learned from whom it was trained on. Taking its mean off makes embeddings of \
different people less alike, above all those of people the training data held few of. Measure it on many people, of \
women and men alike, who are not the people your doors will know.

Prints the [centre.NET] table of a recipe.toml: each person's mean, then each group's, then the mean of the groups.

Example: facelatch models centre photos --groups groups.csv --net mobilefacenet > centre.toml")]
pub(super) struct Args {
    /// One folder per person.
    dir: PathBuf,
    /// CSV of person,group: groups then weigh alike, however many people each has.
    #[arg(long, value_name = "CSV")]
    groups: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    network: String,
    over: String,
    people: usize,
    values: Vec<f32>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self.values.iter().map(|v| format!("{v:.5}")).collect();
        writeln!(
            f,
            "[centre.{}]\nover = {:?}\npeople = {}",
            self.network, self.over, self.people
        )?;
        write!(f, "values = [{}]", values.join(", "))
    }
}

/// Sum of vectors, and how many.
#[derive(Debug, Clone, Default)]
struct Mean {
    sum: Vec<f64>,
    count: u32,
}

impl Mean {
    fn add(&mut self, values: &[f64]) {
        self.sum.resize(values.len(), 0.0);
        self.sum
            .iter_mut()
            .zip(values)
            .for_each(|(sum, v)| *sum += v);
        self.count += 1;
    }

    fn value(&self) -> Vec<f64> {
        self.sum.iter().map(|s| s / f64::from(self.count)).collect()
    }
}

/// Runs the verb.
///
/// # Errors
/// No zoo, a folder without people, or no face in it.
pub(super) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let unreadable = |path: &Path| {
        let path = path.to_path_buf();
        move |error: std::io::Error| Error::Input {
            path,
            why: error.to_string(),
        }
    };
    let groups = match &args.groups {
        Some(path) => Some(Groups::parse(
            &fs::read_to_string(path).map_err(unreadable(path))?,
            path,
        )?),
        None => None,
    };
    let dataset = Dataset::open(&args.dir)?;
    let zoo = global.zoo()?;
    let profile = zoo.manifest().profile(zoo.chosen())?;
    let [(network, _)] = profile.networks.as_slice() else {
        return Err(Error::Usage(format!(
            "{} is of several networks, each with a mean of its own: say which with --net",
            profile.name
        ))
        .into());
    };
    let mut networks = Networks::load(&zoo, detector_config(MIN_FACE_PX))?;
    let progress = Progress::new("embedding", dataset.photos() as u64, "photos");
    let mut people: BTreeMap<&str, Mean> = BTreeMap::new();
    for (person, path) in dataset.labelled() {
        if let Some(values) = embed(&mut networks, path)? {
            people
                .entry(person.unwrap_or("none"))
                .or_default()
                .add(&values);
        }
        progress.advance(1);
    }
    progress.finish();
    let mut means: BTreeMap<&str, Mean> = BTreeMap::new();
    for (person, mean) in &people {
        let group = groups.as_ref().map_or(Some(""), |g| g.of(person));
        match group {
            Some(group) => means.entry(group).or_default().add(&mean.value()),
            None => warn(&format!("{person} is in no group and is left out")),
        }
    }
    let mut centre = Mean::default();
    means.values().for_each(|mean| centre.add(&mean.value()));
    if centre.count == 0 {
        return Err(Error::Layout {
            dir: args.dir.clone(),
            why: "no face found in any photo".into(),
        }
        .into());
    }
    let counts: Vec<String> = means
        .iter()
        .map(|(group, mean)| format!("{} {group}", mean.count))
        .collect();
    let each = if groups.is_some() {
        ", then each group's, then the mean of the groups"
    } else {
        ", then the mean of all"
    };
    let counted = means.values().map(|m| m.count as usize).sum();
    global.format().print(&Report {
        network: network.name.clone(),
        over: format!(
            "{} of {}: each person's mean{each}",
            counts.join(" and ").trim(),
            args.dir.display()
        ),
        people: counted,
        // Five decimals: finer than one photo more or less would change it.
        values: centre
            .value()
            .iter()
            .map(|v| ((v * 1e5).round() / 1e5) as f32)
            .collect(),
    })?;
    Ok(Exit::Done)
}

fn embed(networks: &mut Networks, path: &Path) -> Result<Option<Vec<f64>>, Error> {
    let photo = match facelatch_models::image::open(path) {
        Ok(photo) => photo,
        Err(error) => {
            warn(&error.to_string());
            return Ok(None);
        }
    };
    let faces = networks.detector.detect(&photo)?;
    let Some(face) = main_face(&faces, &photo) else {
        warn(&format!("{}: no face", path.display()));
        return Ok(None);
    };
    let crop = align(&photo, face, networks.embedder.crop_spec());
    let unit = networks.embedder.embed_uncentred(&crop)?;
    Ok(Some(unit.values().iter().map(|&v| f64::from(v)).collect()))
}
