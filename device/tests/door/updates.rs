//! Bundles: taken over between two frames, all or nothing, and still there after a restart.

use std::sync::OnceLock;

use facelatch_models::{
    align::Crop,
    classifier::{Classifier, TrainConfig},
    embedding::{Embedding, SpaceId},
};
use facelatch_protocol::{
    BundleFault, EventKind, GalleryRecord, Refusal, Request, Response, RollbackReason, SpaceName,
    Template, UpdateStep,
    bundle::{MAX_RECORD, PartKind, encode_record},
};
use image::RgbImage;

use crate::{
    far_end::bundles::{PartFile, bundle, signed_by},
    host::Host,
    stage::{Stage, default_embedder, latch, records, show, visitor, was_unlocked, zoo},
};

pub(crate) fn space() -> String {
    records()[0].template.space.to_string()
}

pub(crate) fn gallery(records: &[GalleryRecord]) -> PartFile {
    let mut bytes = vec![];
    for record in records {
        bytes.extend_from_slice(encode_record(record, &mut [0; 4 + MAX_RECORD]).unwrap());
    }
    (PartKind::Gallery, "gallery", bytes)
}

fn classifier(records: &[GalleryRecord], space: &str) -> PartFile {
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
        trained.to_bytes().unwrap(),
    )
}

/// The networks that ship, as parts.
fn networks() -> &'static [PartFile] {
    static PARTS: OnceLock<Vec<PartFile>> = OnceLock::new();
    PARTS.get_or_init(|| {
        let files = [
            "manifest.toml",
            "mtcnn-pnet-int8.onnx",
            "mtcnn-rnet-int8.onnx",
            "mtcnn-onet-int8.onnx",
            "facenet-int8.onnx",
            "mobilefacenet-int8.onnx",
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

/// A crop and the embedding the shipped network gives for it, some bits of which may be turned.
fn self_test(turned: u32) -> PartFile {
    let mut embedder = default_embedder();
    let (width, height) = (embedder.crop_spec().width(), embedder.crop_spec().height());
    let crop = Crop(RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([x as u8, y as u8, (x * y) as u8])
    }));
    let embedding = embedder.embed(&crop).unwrap();
    let numbers = [width, height, embedding.values().len() as u32];
    let mut part: Vec<u8> = numbers.into_iter().flat_map(u32::to_le_bytes).collect();
    part.extend_from_slice(crop.0.as_raw());
    for value in embedding.values() {
        part.extend_from_slice(&(value.to_bits() ^ turned).to_le_bytes());
    }
    (PartKind::SelfTest, "self-test", part)
}

#[test]
fn a_pushed_bundle_lets_its_people_in_and_survives_a_restart() {
    let stage = Stage::empty();
    let device = stage.start();
    let mut host = Host::connect(&device);
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(!was_unlocked(&latch(&device)));

    let mut parts = networks().to_vec();
    parts.extend([
        classifier(records(), &space()),
        gallery(records()),
        self_test(0),
    ]);
    let whole = bundle(1, &space(), &parts);
    let pushed = host.push(&whole);
    assert!(matches!(pushed, Response::Bundle(_)), "{pushed:?}");
    let status = host.status();
    assert_eq!((status.people, status.templates), (2, 2));
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(was_unlocked(&latch(&device)));

    // Only one of them from now on.
    let fewer = bundle(2, &space(), &[gallery(&records()[1..])]);
    assert!(matches!(host.push(&fewer), Response::Bundle(_)));
    assert_eq!(host.status().people, 1);
    let before = latch(&device).len();
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(!was_unlocked(&latch(&device)[before..]));
    let status = host.status();
    device.stop();
    device.join().unwrap();

    let device = stage.start();
    let again = Host::connect(&device).status();
    assert_eq!((again.state, again.active), (status.state, status.active));
    assert_eq!(again.people, 1);
}

#[test]
fn a_bundle_is_on_trial_until_it_has_judged_enough_frames() {
    let mut stage = Stage::empty();
    stage.config.update.trial_frames = 8;
    let device = stage.start();
    let mut host = Host::connect(&device);
    let first = bundle(1, &space(), &[gallery(records())]);
    assert!(matches!(host.push(&first), Response::Bundle(_)));
    let trial = host.update().trial;
    assert_eq!(trial.map(|trial| trial.id), Some(first.id));
    assert_eq!(host.status().active, None, "not proven yet");

    for _ in 0..3 {
        show(&device, visitor("visitors/rocket.jpg"));
    }
    let update = host.update();
    assert_eq!((update.trial, update.rolled_back), (None, None));
    assert_eq!(host.status().active, Some(first.id));
    let stopped = device;
    stopped.stop();
    stopped.join().unwrap();
    let steps: Vec<UpdateStep> = stage
        .entries()
        .into_iter()
        .filter_map(|entry| match entry.what {
            facelatch_device::audit::What::Event(EventKind::Update { step, .. }) => Some(step),
            _ => None,
        })
        .collect();
    let want = [
        UpdateStep::Committed,
        UpdateStep::Running,
        UpdateStep::Confirmed,
    ];
    assert_eq!(steps, want);
}

/// A classifier that can be read and names the right space and people, but fails at the first face.
pub(crate) fn failing_classifier(records: &[GalleryRecord]) -> PartFile {
    let mut people: Vec<String> = records.iter().map(|r| r.key.person.to_string()).collect();
    people.sort();
    let classes = people.len() + 1;
    let space = SpaceId::parse(&space()).unwrap();
    let (weights, biases) = (vec![0.5; 4 * classes], vec![0.0; classes]);
    let broken = Classifier::softmax(space, people, weights, biases);
    let bytes = broken.to_bytes().unwrap();
    (PartKind::Classifier, "classifier", bytes)
}

#[test]
fn a_bundle_that_fails_at_a_face_is_taken_back_with_its_people() {
    let stage = Stage::empty();
    let device = stage.start();
    let mut host = Host::connect(&device);
    let good = bundle(1, &space(), &[gallery(&records()[..1])]);
    assert!(matches!(host.push(&good), Response::Bundle(_)));
    while host.update().trial.is_some() {
        show(&device, visitor("visitors/rocket.jpg"));
    }
    let before = host.status();

    let bad = bundle(
        2,
        &space(),
        &[gallery(records()), failing_classifier(records())],
    );
    assert!(matches!(host.push(&bad), Response::Bundle(_)));
    assert_eq!(host.status().people, 2);
    let moves = latch(&device).len();
    show(&device, visitor("visitors/biden.jpg"));
    let update = host.update();
    assert_eq!(update.trial, None);
    let rolled_back = update.rolled_back.unwrap();
    assert_eq!(
        (rolled_back.id, rolled_back.reason),
        (bad.id, RollbackReason::Networks)
    );
    assert_eq!(update.highest_counter, 2);
    let after = host.status();
    assert_eq!((after.active, after.state), (before.active, before.state));
    assert_eq!(after.people, 1);
    assert!(!was_unlocked(&latch(&device)[moves..]));
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(was_unlocked(&latch(&device)[moves..]));
    let replayed = BundleFault::Replayed { highest: 2 };
    assert_eq!(host.refused(&bad), Refusal::Bundle(replayed));
    device.stop();
    device.join().unwrap();
    let on_record = stage.entries().into_iter().any(|entry| {
        matches!(
            entry.what,
            facelatch_device::audit::What::Event(EventKind::RolledBack { digest, .. })
                if digest == bad.id.digest
        )
    });
    assert!(on_record);
}

/// The people stay when their bundle is lost; the bundle before it was made for other networks.
#[test]
fn a_door_whose_bundle_is_lost_starts_though_the_one_before_is_of_another_space() {
    let mut stage = Stage::empty();
    stage.config.update.trial_frames = 2;
    let device = stage.start();
    let mut host = Host::connect(&device);
    let policy = (
        PartKind::Policy,
        "policy.toml",
        b"zone = \"UTC\"\n".to_vec(),
    );
    let facenet = zoo().embedder_facts("facenet").unwrap().0;
    let bundles = [
        bundle(1, facenet.as_str(), &[]),
        bundle(2, &space(), &[gallery(records()), policy.clone()]),
    ];
    for bundle in &bundles {
        assert!(matches!(host.push(bundle), Response::Bundle(_)));
        while host.update().trial.is_some() {
            show(&device, visitor("visitors/rocket.jpg"));
        }
    }
    device.stop();
    device.join().unwrap();
    let sealed = std::fs::read_dir(stage.data().join("bundles")).unwrap();
    let mut sealed = sealed.map(|entry| entry.unwrap().path());
    let of_policy = sealed.find(|path| path.extension().is_some_and(|end| end == "sealed"));
    std::fs::remove_file(of_policy.expect("the policy's part is sealed")).unwrap();

    let device = stage.start();
    let mut host = Host::connect(&device);
    assert_eq!(host.status().people, 2);
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(!was_unlocked(&latch(&device)), "his rules are not known");
    let again = bundle(3, &space(), &[gallery(records()), policy]);
    assert!(matches!(host.push(&again), Response::Bundle(_)));
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(was_unlocked(&latch(&device)));
}

#[test]
fn a_bundle_that_never_proves_itself_is_taken_back_after_some_starts() {
    let mut stage = Stage::empty();
    stage.config.update.trial_starts = 2;
    let device = stage.start();
    let pushed = bundle(5, &space(), &[gallery(records())]);
    assert!(matches!(
        Host::connect(&device).push(&pushed),
        Response::Bundle(_)
    ));
    drop(device);
    for start in 1..=2 {
        let device = stage.start();
        let mut host = Host::connect(&device);
        let trial = host.update().trial.map(|trial| trial.id);
        assert_eq!(trial, Some(pushed.id), "start {start}");
        assert_eq!(host.status().people, 2);
    }
    let device = stage.start();
    let mut host = Host::connect(&device);
    let update = host.update();
    assert_eq!((update.trial, update.highest_counter), (None, 5));
    let reason = update.rolled_back.map(|rolled_back| rolled_back.reason);
    assert_eq!(reason, Some(RollbackReason::Unproven));
    assert_eq!(host.status().people, 0);
}

#[test]
fn who_signed_and_how_old_is_judged_before_anything_is_received() {
    let stage = Stage::empty();
    let device = stage.start();
    let mut host = Host::connect(&device);
    let parts = [gallery(records())];
    let current = bundle(7, &space(), &parts);
    assert!(matches!(host.push(&current), Response::Bundle(_)));
    let before = host.status();

    let good = bundle(8, &space(), &parts);
    let mut unsigned = good.clone();
    // The head without its signature: manifest length, signature length 0.
    let manifest_len = u32::from_le_bytes(*good.head[4..].first_chunk().unwrap()) as usize;
    unsigned.head.truncate(12 + manifest_len);
    unsigned.head[8..12].fill(0);
    let mut turned = good.clone();
    turned.head[12 + manifest_len - 1] ^= 1;
    let mut cut = good.clone();
    cut.head.pop();
    let mut other_magic = good.clone();
    other_magic.head[0] = b'G';
    let cases = [
        ("unsigned", unsigned, BundleFault::Unsigned),
        (
            "a stranger's",
            signed_by(2, 8, &space(), &parts),
            BundleFault::UnknownSigner,
        ),
        ("changed", turned, BundleFault::Signature),
        ("cut", cut, BundleFault::Length),
        ("no bundle", other_magic, BundleFault::Magic),
        (
            "older",
            bundle(6, &space(), &parts),
            BundleFault::Downgrade { highest: 7 },
        ),
        (
            "as old",
            bundle(7, &space(), &[gallery(&records()[..1])]),
            BundleFault::Replayed { highest: 7 },
        ),
    ];
    for (what, bundle, fault) in cases {
        assert_eq!(host.refused(&bundle), Refusal::Bundle(fault), "{what}");
    }
    let mut damaged = good.clone();
    damaged.parts[0][9] ^= 1;
    let fault = BundleFault::PartDigest { part: 0 };
    assert_eq!(host.refused(&damaged), Refusal::Bundle(fault));
    let old_way = Request::BundleBegin {
        size: 100,
        sha256: good.id.digest,
    };
    let unsigned = Response::Refused(Refusal::Bundle(BundleFault::Unsigned));
    assert_eq!(host.ask(old_way), unsigned);
    let after = host.status();
    assert_eq!((after.state, after.active), (before.state, before.active));
    // The other trusted key signs as well.
    let by_second = signed_by(1, 8, &space(), &parts);
    assert!(matches!(host.push(&by_second), Response::Bundle(_)));
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
            "another embedding than promised",
            bundle(1, &space(), &[gallery(records()), self_test(1)]),
            BundleFault::SelfTest,
        ),
        (
            "noise for a self-test",
            bundle(
                1,
                &space(),
                &[(PartKind::SelfTest, "self-test", vec![7; 99])],
            ),
            BundleFault::PartUnreadable { part: 0 },
        ),
        (
            "a policy that is none",
            bundle(
                1,
                &space(),
                &[(PartKind::Policy, "policy.toml", b"x".to_vec())],
            ),
            BundleFault::PartUnreadable { part: 0 },
        ),
        (
            "no manifest",
            bundle(1, &space(), &nonsense),
            BundleFault::SelfTest,
        ),
    ];
    for (what, bundle, fault) in cases {
        assert_eq!(host.refused(&bundle), Refusal::Bundle(fault), "{what}");
    }
    let after = host.status();
    assert_eq!((after.state, after.active), (before.state, before.active));
    assert!(matches!(host.ask(Request::BundleStatus), Response::Bundle(p) if p.staging.is_none()));
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(was_unlocked(&latch(&device)));
}
