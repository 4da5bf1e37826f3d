//! How long training takes on 1,000 people with 10 embeddings of 512 numbers, and how right it is on what it has not seen:
//! `cargo bench -p facelatch-models --bench softmax [-- FOLDER]`. With a folder it writes the data there, for
//! `host-tool/benches/softmax.sh`, which trains scikit-learn on the same in the same run.
//!
//! The data is made up: means in random directions, faces about them at cosines as FaceNet's, strangers elsewhere.

#[path = "made_up/faces.rs"]
mod made_up;

use std::{env, fs, io::Write, path::Path, time::Instant};

use facelatch_models::{
    classifier::{Classifier, Kind},
    embedding::{Embedding, SpaceId},
};

use made_up::{normal, unit};

const PEOPLE: usize = 1_000;
const EACH: usize = 10;
const STRANGERS: usize = 1_000;
const DIMENSION: usize = 512;
/// Faces a person that are not trained on.
const UNSEEN: usize = 3;

struct Set {
    names: Vec<Option<String>>,
    faces: Vec<Vec<f32>>,
}

impl Set {
    fn write(&self, folder: &Path, name: &str) {
        let mut rows = fs::File::create(folder.join(format!("{name}.f32"))).expect("a file");
        for face in &self.faces {
            let bytes: Vec<u8> = face.iter().flat_map(|v| v.to_le_bytes()).collect();
            rows.write_all(&bytes).expect("a disk with space");
        }
        let labels: Vec<String> = self
            .names
            .iter()
            .map(|n| n.clone().unwrap_or("none".into()))
            .collect();
        fs::write(folder.join(format!("{name}.txt")), labels.join("\n")).expect("a file");
    }
}

/// `each` faces of everybody, at cosines to the person's mean from 0.9 for good photos to 0.5 for poor ones, and strangers.
fn faces(means: &[Vec<f32>], each: usize, strangers: usize, random: &mut u64) -> Set {
    let mut set = Set {
        names: vec![],
        faces: vec![],
    };
    for (i, mean) in means.iter().enumerate() {
        for _ in 0..each {
            let poor = 0.5
                + 0.6 * (normal(random) / 6.0).abs()
                + if normal(random) > 1.0 { 0.6 } else { 0.0 };
            let values = mean.iter().map(|m| m + poor * normal(random));
            set.faces.push(unit(values.collect()));
            set.names.push(Some(format!("person-{i:04}")));
        }
    }
    for _ in 0..strangers {
        let values = (0..DIMENSION).map(|_| normal(random));
        set.faces.push(unit(values.collect()));
        set.names.push(None);
    }
    set
}

fn main() {
    let folder = env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let mut random = 7;
    let means: Vec<Vec<f32>> = (0..PEOPLE)
        .map(|_| (0..DIMENSION).map(|_| normal(&mut random)).collect())
        .collect();
    let training = faces(&means, EACH, STRANGERS, &mut random);
    let unseen = faces(&means, UNSEEN, STRANGERS, &mut random);
    if let Some(folder) = &folder {
        training.write(Path::new(folder), "training");
        unseen.write(Path::new(folder), "unseen");
    }
    let space = SpaceId::parse("bench").expect("a good name");
    let embeddings = |set: &Set| -> Vec<Embedding> {
        let embedding = |face: &Vec<f32>| Embedding::new(space.clone(), face.clone());
        set.faces
            .iter()
            .map(|face| embedding(face).expect("a unit vector"))
            .collect()
    };
    let (known, probes) = (embeddings(&training), embeddings(&unseen));
    let names = training.names.iter().map(Option::as_deref);
    let examples: Vec<_> = names.zip(&known).collect();
    let start = Instant::now();
    let classifier = Classifier::train(&examples, &Kind::Softmax.config()).expect("people");
    let seconds = start.elapsed().as_secs_f64();
    let right = probes
        .iter()
        .zip(&unseen.names)
        .filter(|(probe, name)| classifier.predict(probe).expect("one space").person == **name)
        .count();
    println!(
        "{} examples of {PEOPLE} people and strangers: {seconds:.2} s, {:.4} right on {} unseen",
        examples.len(),
        right as f64 / probes.len() as f64,
        probes.len()
    );
}
