//! Synthetic clips of the shipped photos through the real detector: heads that turn pass the challenge, nothing flat does.
//!
//! The passive cues' figures are printed, not asserted: they are weak and said to be.

use std::path::{Path, PathBuf};

use facelatch_host::{
    Error,
    embed::detector_config,
    pad::{
        judge::{Ended, Eyes, Outcome, judge},
        scene::Photo,
        species::{Dice, Script, Species},
    },
};
use facelatch_models::{
    liveness::{Level, challenge::Challenge},
    mtcnn::main_face,
    zoo::Zoo,
};

const PHOTOS: [&str; 2] = [
    "enroll/barack_obama/obama.jpg",
    "enroll/eileen_collins/astronaut.png",
];

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn clip(eyes: &mut Eyes, species: Species, photo: &str, seed: u64) -> Outcome {
    let image = facelatch_models::image::open(&shipped("../tests/data/demo").join(photo)).unwrap();
    let faces = eyes.detector.detect(&image).unwrap();
    let photo = Photo::new(&image, main_face(&faces, &image).unwrap(), 40.0).unwrap();
    let challenge = Challenge::draw(2, Dice::new(seed).bits());
    let script = Script::new(species, &photo, &challenge, 40.0, seed);
    let frames = script
        .times()
        .into_iter()
        .zip(script.frames(&photo).map(Ok::<_, Error>));
    judge(eyes, frames, Some(&challenge)).unwrap()
}

#[test]
fn turning_heads_pass_the_challenge_and_synthetic_attacks_do_not() {
    let zoo = Zoo::open(&shipped("../models/zoo")).unwrap();
    let mut eyes = Eyes {
        detector: zoo.detector(detector_config(40.0)).unwrap(),
        liveness: zoo.liveness().unwrap(),
    };
    assert!(eyes.liveness.is_none(), "none ships");
    let mut failures = vec![];
    for species in Species::ALL {
        let turns = species == Species::LiveTurning;
        let mut passive = 0;
        for (i, photo) in PHOTOS.iter().enumerate() {
            let outcome = clip(&mut eyes, species, photo, 100 + i as u64);
            passive += usize::from(outcome.passes(Level::Passive) == Some(true));
            if (outcome.challenge == Some(Ended::Passed)) != turns {
                failures.push(format!("{} of {photo}: {outcome:?}", species.name()));
            }
        }
        println!(
            "synthetic {}: {passive} of {} pass the passive cues",
            species.name(),
            PHOTOS.len()
        );
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_same_seed_gives_the_same_frames() {
    let zoo = Zoo::open(&shipped("../models/zoo")).unwrap();
    let mut detector = zoo.detector(detector_config(40.0)).unwrap();
    let image =
        facelatch_models::image::open(&shipped("../tests/data/demo").join(PHOTOS[1])).unwrap();
    let faces = detector.detect(&image).unwrap();
    let photo = Photo::new(&image, &faces[0], 40.0).unwrap();
    let challenge = Challenge::draw(2, 0);
    let first = |seed| {
        let script = Script::new(Species::Screen, &photo, &challenge, 40.0, seed);
        script.frames(&photo).nth(3).unwrap()
    };
    assert_eq!(first(5), first(5));
    assert_ne!(first(5), first(6));
}
