//! `facelatch export`: a dataset with all that was made of it, as files a person can browse and other programs read.
//!
//! ```text
//! OUT/dataset.json            when, of what, how many
//! OUT/originals/PERSON/FILE   the photos, byte for byte
//! OUT/crops/PERSON/FILE.png   the main face as the network sees it
//! OUT/labels.csv              a row a face: person, photo, crop, box, SHA-256
//! OUT/embeddings.npy, .csv    the templates, in the rows' order, in the space people are compared in
//! OUT/head.json               the head, if there is one; classifier.json the classifier with its settings, likewise
//! ```

use std::{
    fmt, fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use facelatch_models::{align::align, image::decode};
use image::ImageFormat;
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    dataset::{Dataset, NONE},
    embed::{Kind, MIN_FACE_PX, Reader, detector_config, photo_bytes, sha256},
    export::{csv, npy},
    report::{count, warn},
    sealed::{private_dir, write_atomic},
};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
DIR holds one folder per person, as for enroll. OUT gets the photos, the faces as the network sees them, their templates as a
NumPy file and as CSV, whose they are, and the workspace's head and classifier with their settings, if there are any. The
folder is readable for you only: templates are personal data.

Example: facelatch export photos --out front-door-2026-11-26")]
pub struct Args {
    /// Folder with one folder of photos per person.
    dir: PathBuf,
    /// Folder to write, which must not be there or be empty.
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    /// Smallest face looked for, in pixels, after a photo is scaled down to at most 640 pixels a side.
    #[arg(long, value_name = "PX", default_value_t = MIN_FACE_PX)]
    min_face_px: f32,
}

#[derive(Debug, Serialize)]
struct Report {
    out: PathBuf,
    /// When, in UTC.
    created: String,
    program: String,
    /// The space of the embeddings.
    space: String,
    dims: usize,
    people: usize,
    /// Of unknown people, too.
    photos: usize,
    /// Rows of labels and embeddings.
    faces: usize,
    /// Photos without a face, or that cannot be read.
    without_face: usize,
    head: bool,
    classifier: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} of {}, {} with a face: {} numbers each in {}",
            count(self.photos, "photo", "photos"),
            count(self.people, "person", "people"),
            self.faces,
            self.dims,
            self.space
        )?;
        for (there, what) in [(self.head, "the head"), (self.classifier, "the classifier")] {
            if there {
                writeln!(f, "with {what}")?;
            }
        }
        write!(f, "written to {}", self.out.display())
    }
}

/// A face and what is said of it.
struct Row {
    cells: Vec<String>,
    values: Vec<f32>,
}

/// Runs the verb.
///
/// # Errors
/// A wrong layout, a folder that is not empty or cannot be written, unusable networks.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let dataset = Dataset::open(&args.dir)?;
    for oddity in &dataset.oddities {
        warn(&oddity.to_string());
    }
    must_be_empty(&args.out)?;
    let home = global.home();
    let head = home.head()?;
    let zoo = match global.net {
        Some(_) => global.zoo()?,
        None => global.zoo_of(home.space()?.as_ref())?,
    };
    let (base, spec) = zoo.embedder_facts(zoo.chosen()).map_err(Error::from)?;
    let head = head.filter(|head| head.learned().base == base);
    let reader = Reader::new(&zoo, Some(home.cache()), detector_config(args.min_face_px))?;
    let photos: Vec<PathBuf> = dataset.labelled().map(|(_, p)| p.to_path_buf()).collect();
    let outcomes = reader.read(&photos, Kind::Template)?;
    let mut rows = vec![];
    for ((person, path), outcome) in dataset.labelled().zip(outcomes) {
        let person = person.unwrap_or(NONE);
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = match photo_bytes(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                warn(&error.to_string());
                continue;
            }
        };
        put(
            &args.out.join("originals").join(person).join(&*file),
            &bytes,
        )?;
        let reading = match outcome {
            Ok(reading) => reading,
            Err(error) => {
                warn(&error.to_string());
                continue;
            }
        };
        let (Some(face), Some((_, embedding))) = (reading.main_face(), reading.main.clone()) else {
            warn(&format!("{}: no face found", path.display()));
            continue;
        };
        let photo = decode(&bytes, &path.display().to_string()).map_err(Error::from)?;
        let mut crop = Cursor::new(vec![]);
        let encoded = align(&photo, face, &spec)
            .0
            .write_to(&mut crop, ImageFormat::Png);
        encoded.map_err(|error| Error::Bug(format!("a crop could not be encoded: {error}")))?;
        put(
            &args
                .out
                .join("crops")
                .join(person)
                .join(format!("{file}.png")),
            crop.get_ref(),
        )?;
        let embedding = match &head {
            Some(head) => head.apply(&embedding).map_err(Error::from)?,
            None => embedding,
        };
        let rect = face.rect;
        let mut cells = vec![
            person.to_owned(),
            format!("originals/{person}/{file}"),
            format!("crops/{person}/{file}.png"),
        ];
        cells.extend([rect.x, rect.y, rect.w, rect.h].map(|v| format!("{v:.1}")));
        cells.extend([face.score.to_string(), crate::cache::hex(&sha256(&bytes))]);
        rows.push(Row {
            cells,
            values: embedding.into_values(),
        });
    }
    write_tables(&args.out, &rows)?;
    if let Some(head) = &head {
        put_json(&args.out.join("head.json"), head.learned())?;
    }
    let space = head.as_ref().map_or(&base, |head| head.space());
    let trained = home.trained()?.filter(|t| t.classifier.space == *space);
    if let Some(trained) = &trained {
        put_json(&args.out.join("classifier.json"), &trained.classifier)?;
    }
    let report = Report {
        out: args.out.clone(),
        created: jiff::Timestamp::now().to_string(),
        program: format!("facelatch {}", env!("CARGO_PKG_VERSION")),
        space: space.as_str().to_owned(),
        dims: rows.first().map_or(0, |row| row.values.len()),
        people: dataset.people.len(),
        photos: photos.len(),
        faces: rows.len(),
        without_face: photos.len() - rows.len(),
        head: head.is_some(),
        classifier: trained.is_some(),
    };
    put_json(&args.out.join("dataset.json"), &report)?;
    global.format().print(&report)?;
    Ok(Exit::Done)
}

fn must_be_empty(out: &Path) -> Result<(), Error> {
    match fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::Layout {
                dir: out.to_path_buf(),
                why: "is not empty; name a new folder".into(),
            }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::storage("read", out)(error)),
    }
}

fn write_tables(out: &Path, rows: &[Row]) -> Result<(), Error> {
    let values: Vec<&[f32]> = rows.iter().map(|row| row.values.as_slice()).collect();
    put(&out.join("embeddings.npy"), &npy(&values))?;
    let columns = [
        "person", "photo", "crop", "x", "y", "width", "height", "score", "sha256",
    ];
    let labels = csv(
        &columns.map(str::to_owned),
        rows.iter().map(|row| row.cells.clone()),
    );
    put(&out.join("labels.csv"), labels.as_bytes())?;
    let dims = values.first().map_or(0, |row| row.len());
    let numbered: Vec<String> = std::iter::once("person".to_owned())
        .chain((0..dims).map(|i| format!("v{i}")))
        .collect();
    let embeddings = rows.iter().map(|row| {
        let values = row.values.iter().map(ToString::to_string);
        std::iter::once(row.cells[0].clone())
            .chain(values)
            .collect()
    });
    put(
        &out.join("embeddings.csv"),
        csv(&numbered, embeddings).as_bytes(),
    )
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        private_dir(folder)?;
    }
    write_atomic(path, bytes)
}

fn put_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::Bug(format!("{} has no JSON form: {error}", path.display())))?;
    put(path, &text)
}
