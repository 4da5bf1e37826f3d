//! A bundle's head at the door: run behind the networks, part of what the space is, kept over a restart, gone with the next
//! bundle, refused if it is none or another one.

use facelatch_models::{
    calibrate::Tail,
    embedding::{Embedding, SpaceId},
    metric::{Head, Learned, TripletConfig},
};
use facelatch_protocol::{
    BundleFault, GalleryRecord, Refusal, Response, SpaceName, Template, bundle::PartKind,
};

use crate::{
    far_end::bundles::{PartFile, bundle},
    host::Host,
    stage::{Stage, latch, records, show, visitor, was_unlocked, zoo},
    updates::{gallery, space},
};

const DIMS_OUT: usize = 128;

/// A random map, which keeps distances roughly (Johnson and Lindenstrauss 1984).
fn head(seed: u64) -> Head {
    let base = SpaceId::parse(&space()).unwrap();
    let dims_in = records()[0].template.values.len();
    let mut state = seed;
    let mut sign = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        if state >> 63 == 0 { 1.0 } else { -1.0 }
    };
    Head::new(Learned {
        dims_in: dims_in as u32,
        dims_out: DIMS_OUT as u32,
        weights: (0..dims_in * DIMS_OUT).map(|_| sign()).collect(),
        config: TripletConfig::default(),
        strangers: Tail::prior(&base).expect("the shipped networks were measured"),
        base,
    })
    .unwrap()
}

fn part(head: &Head) -> PartFile {
    (PartKind::Head, "head", head.to_bytes().unwrap())
}

/// The demo's people behind a head.
fn behind(head: &Head) -> Vec<GalleryRecord> {
    let record = |record: &GalleryRecord| {
        let base = SpaceId::parse(&record.template.space).unwrap();
        let template = Embedding::new(base, record.template.values.to_vec()).unwrap();
        let values = head.apply(&template).unwrap().into_values();
        GalleryRecord {
            template: Template {
                space: SpaceName::parse(head.space().as_str()).unwrap(),
                values: values.into_iter().collect(),
            },
            ..record.clone()
        }
    };
    records().iter().map(record).collect()
}

#[test]
fn people_are_recognised_behind_the_head_until_a_bundle_without_one_comes() {
    let mut stage = Stage::empty();
    // Locked again before the next visitor comes.
    stage.config.door.unlock_ms = 300;
    let device = stage.start();
    let mut host = Host::connect(&device);
    let head = head(1);
    let parts = [part(&head), gallery(&behind(&head))];
    let pushed = host.push(&bundle(1, head.space().as_str(), &parts));
    assert!(matches!(pushed, Response::Bundle(_)), "{pushed:?}");
    let space_now = |host: &mut Host| host.status().space.map(|s| s.to_string());
    assert_eq!(space_now(&mut host).as_deref(), Some(head.space().as_str()));
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(was_unlocked(&latch(&device)));
    let before = latch(&device).len();
    show(&device, visitor("visitors/biden.jpg"));
    assert!(!was_unlocked(&latch(&device)[before..]), "a stranger");
    drop(host);
    drop(device);

    let device = stage.start();
    let mut host = Host::connect(&device);
    assert_eq!(space_now(&mut host).as_deref(), Some(head.space().as_str()));
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(was_unlocked(&latch(&device)), "after a restart");

    // Everybody came with the bundle, so that the next one's people replace them.
    let pushed = host.push(&bundle(2, &space(), &[gallery(records())]));
    assert!(matches!(pushed, Response::Bundle(_)), "{pushed:?}");
    assert_eq!(space_now(&mut host), Some(space()));
    let before = latch(&device).len();
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(was_unlocked(&latch(&device)[before..]), "without the head");
}

#[test]
fn a_head_that_does_not_fit_its_bundle_is_refused() {
    let stage = Stage::empty();
    let device = stage.start();
    let mut host = Host::connect(&device);
    let (ours, other) = (head(1), head(2));
    let of_other_networks = Head::new(Learned {
        base: SpaceId::parse("other-512-0").unwrap(),
        ..ours.learned().clone()
    })
    .unwrap();
    let mut damaged = part(&ours);
    damaged.2.truncate(1000);
    // A random crop's embedding by the network alone.
    let mut bare = zoo().embedder("facenet").unwrap();
    let (width, height) = (bare.crop_spec().width(), bare.crop_spec().height());
    let crop = facelatch_models::align::Crop(image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([x as u8, y as u8, 9])
    }));
    let embedding = bare.embed(&crop).unwrap();
    let numbers = [width, height, embedding.values().len() as u32];
    let mut test: Vec<u8> = numbers.into_iter().flat_map(u32::to_le_bytes).collect();
    test.extend_from_slice(crop.0.as_raw());
    test.extend(embedding.values().iter().flat_map(|v| v.to_le_bytes()));
    let self_test = (PartKind::SelfTest, "self-test", test);

    let behind_ours = || gallery(&behind(&ours));
    let cases: Vec<(&str, &str, Vec<PartFile>, BundleFault)> = vec![
        (
            "no head",
            ours.space().as_str(),
            vec![behind_ours()],
            BundleFault::Space,
        ),
        (
            "another head",
            ours.space().as_str(),
            vec![part(&other), behind_ours()],
            BundleFault::Space,
        ),
        (
            "people of another head",
            ours.space().as_str(),
            vec![part(&ours), gallery(&behind(&other))],
            BundleFault::Space,
        ),
        (
            "people of the network alone",
            ours.space().as_str(),
            vec![part(&ours), gallery(records())],
            BundleFault::Space,
        ),
        (
            "a head of other networks",
            of_other_networks.space().as_str(),
            vec![part(&of_other_networks)],
            BundleFault::Space,
        ),
        (
            "a damaged head",
            ours.space().as_str(),
            vec![damaged, behind_ours()],
            BundleFault::PartUnreadable { part: 0 },
        ),
        (
            "a self-test of the network alone",
            ours.space().as_str(),
            vec![part(&ours), behind_ours(), self_test],
            BundleFault::SelfTest,
        ),
    ];
    for (counter, (name, space, parts, fault)) in (1..).zip(cases) {
        let refused = host.refused(&bundle(counter, space, &parts));
        assert_eq!(refused, Refusal::Bundle(fault), "{name}");
        assert_eq!(host.status().people, 0, "{name}");
    }
    // It still takes what fits.
    let parts = [part(&ours), behind_ours()];
    let pushed = host.push(&bundle(20, ours.space().as_str(), &parts));
    assert!(matches!(pushed, Response::Bundle(_)), "{pushed:?}");
    assert_eq!(host.status().people, 2);
}
