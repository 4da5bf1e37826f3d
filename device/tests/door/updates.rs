//! Bundles: taken over between two frames, all or nothing, and still there after a restart.

use std::sync::OnceLock;

use facelatch_models::{
    classifier::{Classifier, TrainConfig},
    embedding::{Embedding, SpaceId},
};
use facelatch_protocol::{
    BundleFault, Digest, GalleryRecord, Refusal, Request, Response, SpaceName, Template,
    bundle::{MAX_RECORD, Part, PartKind, PartName, encode_record},
    bundle_v1::{FORMAT, Header, MAX_HEADER, PREFIX_LEN},
};
use sha2::{Digest as _, Sha256};

use crate::{
    host::Host,
    stage::{Stage, latch, records, show, visitor, was_unlocked, zoo},
};

fn bundle(counter: u64, space: &str, parts: &[(PartKind, &str, Vec<u8>)]) -> Vec<u8> {
    let part = |(kind, name, bytes): &(PartKind, &str, Vec<u8>)| Part {
        kind: *kind,
        name: PartName::parse(name).unwrap(),
        len: bytes.len() as u64,
        sha256: Digest(Sha256::digest(bytes).into()),
    };
    let header = Header {
        format: FORMAT,
        created_unix_ms: 1,
        counter,
        space: SpaceName::parse(space).unwrap(),
        parts: parts.iter().map(part).collect(),
    };
    let mut buffer = [0; PREFIX_LEN + MAX_HEADER];
    let mut bytes = header.encode(&mut buffer).unwrap().to_vec();
    parts
        .iter()
        .for_each(|(_, _, part)| bytes.extend_from_slice(part));
    bytes
}

fn space() -> String {
    records()[0].template.space.to_string()
}

fn gallery(records: &[GalleryRecord]) -> (PartKind, &'static str, Vec<u8>) {
    let mut bytes = vec![];
    for record in records {
        bytes.extend_from_slice(encode_record(record, &mut [0; 4 + MAX_RECORD]).unwrap());
    }
    (PartKind::Gallery, "gallery", bytes)
}

fn classifier(records: &[GalleryRecord], space: &str) -> (PartKind, &'static str, Vec<u8>) {
    let embedding = |record: &GalleryRecord| {
        Embedding::new(
            SpaceId::parse(space).unwrap(),
            record.template.values.to_vec(),
        )
        .unwrap()
    };
    let embeddings: Vec<Embedding> = records.iter().map(embedding).collect();
    let people = records.iter().map(|record| Some(&*record.key.person));
    let examples: Vec<_> = people.zip(&embeddings).collect();
    let trained = Classifier::train(&examples, &TrainConfig::default()).unwrap();
    (
        PartKind::Classifier,
        "classifier",
        postcard::to_allocvec(&trained).unwrap(),
    )
}

/// The networks that ship, as parts.
fn networks() -> &'static [(PartKind, &'static str, Vec<u8>)] {
    static PARTS: OnceLock<Vec<(PartKind, &'static str, Vec<u8>)>> = OnceLock::new();
    PARTS.get_or_init(|| {
        let files = [
            "manifest.toml",
            "mtcnn-pnet-int8.onnx",
            "mtcnn-rnet-int8.onnx",
            "mtcnn-onet-int8.onnx",
            "facenet-int8.onnx",
        ];
        let part = |name| {
            (
                PartKind::Networks,
                name,
                std::fs::read(zoo().dir().join(name)).unwrap(),
            )
        };
        files.map(part).to_vec()
    })
}

#[test]
fn a_pushed_bundle_lets_its_people_in_and_survives_a_restart() {
    let stage = Stage::empty();
    let device = stage.start();
    let mut host = Host::connect(&device);
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(!was_unlocked(&latch(&device)));

    let mut parts = networks().to_vec();
    parts.extend([classifier(records(), &space()), gallery(records())]);
    let pushed = host.push(&bundle(1, &space(), &parts));
    let Response::Bundle(progress) = pushed else {
        panic!("{pushed:?}");
    };
    let status = host.status();
    assert_eq!((status.people, status.templates), (2, 2));
    assert_eq!(status.active, progress.active);
    assert_eq!(status.active.unwrap().counter, 1);
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(was_unlocked(&latch(&device)));

    // Only one of them from now on.
    let fewer = bundle(2, &space(), &[gallery(&records()[1..])]);
    assert!(matches!(host.push(&fewer), Response::Bundle(_)));
    let status = host.status();
    assert_eq!((status.people, status.previous.unwrap().counter), (1, 1));
    let before = latch(&device).len();
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(!was_unlocked(&latch(&device)[before..]));
    device.stop();
    device.join().unwrap();

    let device = stage.start();
    let again = Host::connect(&device).status();
    assert_eq!((again.state, again.active), (status.state, status.active));
}

#[test]
fn a_bundle_that_does_not_fit_changes_nothing() {
    let stage = Stage::enrolled();
    let device = stage.start();
    let mut host = Host::connect(&device);
    let before = host.status();
    let of_other_space: Vec<GalleryRecord> = records()
        .iter()
        .map(|record| GalleryRecord {
            template: Template {
                space: SpaceName::parse("other-1").unwrap(),
                ..record.template.clone()
            },
            ..record.clone()
        })
        .collect();
    let torn = (
        PartKind::Gallery,
        "gallery",
        gallery(records()).2[..99].to_vec(),
    );
    let noise = (PartKind::Classifier, "classifier", vec![0xff; 64]);
    let mut damaged_network = networks().to_vec();
    damaged_network[4].2.truncate(1_000);
    let nonsense = vec![(PartKind::Networks, "manifest.toml", b"nonsense".to_vec())];
    let cases = [
        (
            "header of another space",
            bundle(1, "other-1", &[gallery(records())]),
            BundleFault::Space,
        ),
        (
            "gallery of another space",
            bundle(1, &space(), &[gallery(&of_other_space)]),
            BundleFault::Space,
        ),
        (
            "classifier of another space",
            bundle(
                1,
                &space(),
                &[gallery(records()), classifier(records(), "other-1")],
            ),
            BundleFault::Space,
        ),
        (
            "torn gallery",
            bundle(1, &space(), &[torn]),
            BundleFault::PartUnreadable { part: 0 },
        ),
        (
            "noise for a classifier",
            bundle(1, &space(), &[noise]),
            BundleFault::PartUnreadable { part: 0 },
        ),
        (
            "damaged network",
            bundle(1, &space(), &damaged_network),
            BundleFault::SelfTest,
        ),
        (
            "no manifest",
            bundle(1, &space(), &nonsense),
            BundleFault::SelfTest,
        ),
    ];
    for (what, bytes, fault) in cases {
        assert_eq!(
            host.push(&bytes),
            Response::Refused(Refusal::Bundle(fault)),
            "{what}"
        );
    }
    let after = host.status();
    assert_eq!((after.state, after.active), (before.state, before.active));
    assert!(matches!(host.ask(Request::BundleStatus), Response::Bundle(p) if p.staging.is_none()));
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(was_unlocked(&latch(&device)));
}
