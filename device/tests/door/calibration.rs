//! A bundle's calibration at the door: obeyed, kept over a restart, gone with the next bundle, refused if it is none.

use facelatch_models::{
    calibrate::{Calibration, Seen, Tail, template_digest},
    embedding::{Embedding, SpaceId},
};
use facelatch_protocol::{BundleFault, Refusal, Response, bundle::PartKind};

use crate::{
    far_end::bundles::{PartFile, bundle},
    host::Host,
    stage::{Stage, latch, records, show, visitor, was_unlocked},
    updates::{gallery, space},
};

/// Made of the people of the demo, at the default target.
fn calibration() -> Calibration {
    let space = SpaceId::parse(&space()).unwrap();
    let templates: Vec<_> = records()
        .iter()
        .map(|record| {
            let values = record.template.values.to_vec();
            let template = Embedding::new(space.clone(), values).unwrap();
            (record.key.person.to_string(), template)
        })
        .collect();
    let tail = Tail::prior(&space).expect("the shipped networks were measured");
    Calibration::new(&space, tail, 0.002, &templates, &[]).unwrap()
}

fn part(calibration: &Calibration) -> PartFile {
    let bytes = postcard::to_allocvec(calibration).unwrap();
    (PartKind::Calibration, "calibration", bytes)
}

#[test]
fn the_door_obeys_the_calibration_of_its_bundle_and_of_no_other() {
    let mut stage = Stage::empty();
    // Locked again before the next visitor comes.
    stage.config.door.unlock_ms = 300;
    let device = stage.start();
    let mut host = Host::connect(&device);
    let usual = calibration();
    let values = records()[0].template.values.to_vec();
    let template = Embedding::new(usual.space.clone(), values).unwrap();
    // A stranger was seen so near his template that he himself, two years later, is too far.
    let mut look_alike = usual.clone();
    look_alike.strangers.push(Seen {
        template: template_digest(&template),
        distance: 0.06,
    });
    let mut all_alike = usual.clone();
    all_alike.population.mean = 1e12;
    // And there is no distance that strangers never come below.
    all_alike.tail.shape = 0.0;

    let mut opens = |counter, parts: &[PartFile]| {
        let pushed = host.push(&bundle(counter, &space(), parts));
        assert!(matches!(pushed, Response::Bundle(_)), "{pushed:?}");
        let before = latch(&device).len();
        show(&device, visitor("visitors/obama2.jpg"));
        was_unlocked(&latch(&device)[before..])
    };
    assert!(opens(1, &[gallery(records()), part(&usual)]));
    assert!(
        !opens(2, &[gallery(records()), part(&all_alike)]),
        "nobody is near enough"
    );
    assert!(
        opens(3, &[gallery(records())]),
        "without one, the settings' gate"
    );
    assert!(
        !opens(4, &[gallery(records()), part(&look_alike)]),
        "his own limit"
    );
    device.stop();
    device.join().unwrap();

    let device = stage.start();
    Host::connect(&device);
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(
        !was_unlocked(&latch(&device)),
        "still there after a restart"
    );
}

#[test]
fn what_is_no_calibration_of_these_networks_is_refused() {
    let stage = Stage::enrolled();
    let device = stage.start();
    let mut host = Host::connect(&device);
    let noise = (PartKind::Calibration, "calibration", vec![0xff; 64]);
    let mut without_target = calibration();
    without_target.target_fpir = f64::NAN;
    let mut of_other_space = calibration();
    of_other_space.space = SpaceId::parse("other-1").unwrap();
    let unreadable = BundleFault::PartUnreadable { part: 0 };
    let cases = [
        ("noise", noise, unreadable),
        ("no target", part(&without_target), unreadable),
        ("another space", part(&of_other_space), BundleFault::Space),
    ];
    for (what, part, fault) in cases {
        let refused = host.refused(&bundle(1, &space(), &[part]));
        assert_eq!(refused, Refusal::Bundle(fault), "{what}");
    }
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(was_unlocked(&latch(&device)));
}
