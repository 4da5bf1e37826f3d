//! Who gets in, who does not, and for how long.

use std::time::Duration;

use facelatch_boards::{Latch, Pattern, sim::Visitor};
use facelatch_protocol::Reason;

use crate::stage::{DEADLINE, Stage, Visit, latch, show, visitor, was_unlocked};

#[test]
fn the_enrolled_get_in_and_nobody_else() {
    let stage = Stage::enrolled();
    let dark = Visitor {
        brightness: 0.05,
        label: "dark".into(),
        ..visitor("visitors/obama2.jpg")
    };
    let cases: [(Visitor, bool, Reason, Option<&str>); 8] = [
        (
            visitor("visitors/obama2.jpg"),
            true,
            Reason::Granted,
            Some("barack_obama"),
        ),
        (
            visitor("visitors/obama3.jpg"),
            true,
            Reason::Granted,
            Some("barack_obama"),
        ),
        (visitor("visitors/biden.jpg"), false, Reason::Unknown, None),
        (
            visitor("visitors/obama_partial_face.jpg"),
            false,
            Reason::HalfVisible,
            None,
        ),
        (
            visitor("visitors/obama_partial_face2.jpg"),
            false,
            Reason::HalfVisible,
            None,
        ),
        (visitor("visitors/chelsea.png"), false, Reason::NoFace, None),
        (visitor("visitors/rocket.jpg"), false, Reason::NoFace, None),
        (dark, false, Reason::Dark, None),
    ];
    let device = stage.start();
    for (visitor, granted, ..) in &cases {
        let before = latch(&device).len();
        show(&device, visitor.clone());
        let moved = was_unlocked(&latch(&device)[before..]);
        assert_eq!(moved, *granted, "{}", visitor.label);
        // An empty scene long enough for the door to lock again.
        device
            .sim()
            .unwrap()
            .clock
            .as_ref()
            .unwrap()
            .advance(Duration::from_secs(6));
    }
    device.stop();
    device.join().unwrap();
    let expected: Vec<_> = cases
        .into_iter()
        .map(|(_, granted, reason, person)| (granted, reason, person.map(str::to_owned)))
        .collect();
    // Whom a stranger resembles most is nobody's business here.
    let named = |(granted, reason, person): Visit| (granted, reason, person.filter(|_| granted));
    let visits: Vec<Visit> = stage.visits().into_iter().map(named).collect();
    assert_eq!(visits, expected);
}

#[test]
fn the_door_locks_again_after_the_configured_time_and_rests_at_the_end() {
    let mut stage = Stage::enrolled();
    stage.config.door.unlock_ms = 1_500;
    let device = stage.start();
    let long = Visitor {
        frames: Some(4),
        ..visitor("visitors/obama2.jpg")
    };
    show(&device, long);
    show(
        &device,
        Visitor {
            frames: Some(30),
            ..visitor("visitors/rocket.jpg")
        },
    );
    let edges = latch(&device);
    let latches: Vec<Latch> = edges.iter().map(|edge| edge.latch).collect();
    assert_eq!(latches, [Latch::Locked, Latch::Unlocked, Latch::Locked]);
    let open = edges[2].at - edges[1].at;
    let frame = Duration::from_millis(100);
    let unlock = Duration::from_millis(1_500);
    assert!(
        open >= unlock && open <= unlock + frame,
        "open for {open:?}"
    );

    let shown = device.sim().unwrap().panel.shown();
    let patterns: Vec<Pattern> = shown.iter().map(|s| s.pattern).collect();
    assert!(
        patterns.starts_with(&[Pattern::Ready, Pattern::Granted, Pattern::Ready]),
        "{patterns:?}"
    );

    // Stopped while open: the relay goes to its safe state.
    let sim = device.sim().unwrap().clone();
    sim.visitors.arrive(visitor("visitors/obama2.jpg"));
    assert!(sim.visitors.wait_until_shown(DEADLINE));
    assert!(sim.relay.is_on());
    device.stop();
    device.join().unwrap();
    assert!(!sim.relay.is_on());
}

#[test]
fn two_frames_are_not_enough_and_a_visit_cut_short_is_decided() {
    let stage = Stage::enrolled();
    let device = stage.start();
    show(
        &device,
        Visitor {
            frames: Some(2),
            ..visitor("visitors/obama2.jpg")
        },
    );
    assert!(!was_unlocked(&latch(&device)));
    device.stop();
    device.join().unwrap();
    let person = Some("barack_obama".to_owned());
    assert_eq!(stage.visits(), [(false, Reason::NotConfirmed, person)]);
}

#[test]
fn nobody_enrolled_means_nobody_gets_in() {
    let stage = Stage::empty();
    let device = stage.start();
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(!was_unlocked(&latch(&device)));
    device.stop();
    device.join().unwrap();
    assert_eq!(stage.visits(), [(false, Reason::EmptyGallery, None)]);
}
