//! Denials in a row lock the door for faces: for how long, what ends it, and what does not. The audit record is the witness.

use facelatch_boards::{Pattern, sim::Visitor};
use facelatch_device::{Device, audit::What};
use facelatch_protocol::{DoorState, EventKind, Lockout, Refusal, Request, Response, Role};

use crate::{
    host::Host,
    latch::{becomes, pass, serving, until},
    stage::{Stage, latch, show, visitor, was_unlocked},
};

/// Somebody nobody enrolled, so many times, one visit after the other.
fn strangers(device: &Device, count: usize) {
    for _ in 0..count {
        let stranger = Visitor {
            frames: Some(5),
            ..visitor("visitors/biden.jpg")
        };
        show(device, stranger);
    }
}

/// Somebody enrolled; whether that opened the door.
fn obama(device: &Device) -> bool {
    let before = latch(device).len();
    show(device, visitor("visitors/obama2.jpg"));
    was_unlocked(&latch(device)[before..])
}

/// Stops a door and tells its decisions and lockouts, one word each, with the seconds of a lockout.
fn told(stage: &Stage, device: Device) -> Vec<String> {
    device.stop();
    device.join().unwrap();
    record(stage)
}

fn record(stage: &Stage) -> Vec<String> {
    let line = |entry: facelatch_device::audit::Entry| match entry.what {
        What::Event(EventKind::Decision { reason, .. }) => Some(reason.to_string()),
        What::Event(EventKind::Lockout(Lockout::Waiting {
            factor,
            denials,
            until_unix_ms,
            ..
        })) => {
            let wait = until_unix_ms - entry.unix_ms;
            Some(format!("{factor} locked after {denials} for {wait} ms"))
        }
        What::Event(EventKind::Lockout(Lockout::Disabled {
            factor, denials, ..
        })) => Some(format!("{factor} disabled after {denials}")),
        What::Event(EventKind::Lockout(Lockout::Cleared { name, .. })) => {
            Some(format!("cleared by {name}"))
        }
        What::Event(EventKind::Fault(text)) => Some(format!("fault {text}")),
        _ => None,
    };
    stage.entries().into_iter().filter_map(line).collect()
}

fn patterns(device: &Device) -> Vec<Pattern> {
    let shown = device.sim().unwrap().panel.shown();
    shown.iter().map(|shown| shown.pattern).collect()
}

fn shows(device: &Device, pattern: Pattern) {
    until(&format!("{pattern:?}"), || {
        patterns(device).last() == Some(&pattern)
    });
}

#[test]
fn five_strangers_lock_faces_for_half_a_minute_then_for_one_and_a_grant_ends_the_row() {
    let stage = Stage::enrolled();
    let (device, _host) = serving(&stage);
    strangers(&device, 4);
    assert!(obama(&device), "four are not enough");
    pass(&device, 6);
    strangers(&device, 5);
    assert_eq!(patterns(&device).last(), Some(&Pattern::LockedOut));
    // Whoever comes now is told nothing else and counts for nothing.
    assert!(!obama(&device));
    strangers(&device, 1);
    assert_eq!(patterns(&device).last(), Some(&Pattern::LockedOut));
    pass(&device, 30);
    shows(&device, Pattern::Ready);
    strangers(&device, 5);
    pass(&device, 31);
    assert!(!obama(&device), "twice as long now");
    pass(&device, 30);
    shows(&device, Pattern::Ready);
    assert!(obama(&device));
    pass(&device, 6);
    strangers(&device, 5);

    let unknown = |count| vec!["unknown".to_owned(); count];
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let expected: Vec<Vec<String>> = vec![
        unknown(4),
        words(&["granted"]),
        unknown(5),
        words(&[
            "face locked after 5 for 30000 ms",
            "locked-out",
            "locked-out",
        ]),
        unknown(5),
        words(&["face locked after 10 for 60000 ms", "locked-out", "granted"]),
        unknown(5),
        words(&["face locked after 5 for 30000 ms"]),
    ];
    assert_eq!(told(&stage, device), expected.concat());
}

#[test]
fn what_is_no_guess_locks_nobody_out_and_one_visit_is_one_denial() {
    let stage = Stage::enrolled();
    let (device, _host) = serving(&stage);
    for _ in 0..3 {
        for photo in ["chelsea.png", "obama_partial_face.jpg", "rocket.jpg"] {
            show(&device, visitor(&format!("visitors/{photo}")));
        }
        let dark = Visitor {
            brightness: 0.05,
            ..visitor("visitors/biden.jpg")
        };
        show(&device, dark);
    }
    // Looks into the camera ten times as long as a decision takes.
    let patient = Visitor {
        frames: Some(50),
        ..visitor("visitors/biden.jpg")
    };
    show(&device, patient);
    assert!(obama(&device));
    let told = told(&stage, device);
    assert!(!told.iter().any(|line| line.contains("locked")), "{told:?}");
    assert_eq!(told.iter().filter(|line| *line == "unknown").count(), 1);
}

#[test]
fn too_many_strangers_disable_faces_until_a_host_says_otherwise_through_restarts_and_clocks() {
    let mut stage = Stage::enrolled();
    stage.config.lockout.denials = 2;
    stage.config.lockout.disable_after = 4;
    let (device, mut host) = serving(&stage);
    strangers(&device, 2);
    pass(&device, 30);
    shows(&device, Pattern::Ready);
    strangers(&device, 2);
    pass(&device, 1_000_000);
    assert!(!obama(&device));
    // A host opens the door all the same, and whoever is inside gets out.
    assert!(matches!(
        host.ask(Request::Unlock),
        Response::Door(DoorState::Unlocked { .. })
    ));
    pass(&device, 6);
    becomes(&mut host, DoorState::Locked);
    device.stop();
    device.join().unwrap();

    let (device, mut host) = serving(&stage);
    let later = host.status().unix_ms + 1_000_000_000;
    host.ask(Request::TimeSync { unix_ms: later });
    assert!(!obama(&device));
    shows(&device, Pattern::LockedOut);
    assert_eq!(host.ask(Request::LockoutClear), Response::Done);
    shows(&device, Pattern::Ready);
    assert!(obama(&device));
    assert_eq!(
        told(&stage, device),
        [
            "unknown",
            "unknown",
            "face locked after 2 for 30000 ms",
            "unknown",
            "unknown",
            "face disabled after 4",
            "face-disabled",
            "face-disabled",
            "cleared by test host",
            "granted"
        ]
    );
}

#[test]
fn neither_a_restart_nor_the_wall_clock_shortens_a_lockout() {
    let stage = Stage::enrolled();
    let (device, mut host) = serving(&stage);
    strangers(&device, 5);
    pass(&device, 20);
    let later = host.status().unix_ms + 3_600_000;
    host.ask(Request::TimeSync { unix_ms: later });
    assert!(!obama(&device));
    // As after a power cut: nothing was written since the lockout began.
    device.stop();
    device.join().unwrap();

    let (device, _host) = serving(&stage);
    shows(&device, Pattern::LockedOut);
    pass(&device, 28);
    assert!(!obama(&device), "what was left was to be waited again");
    pass(&device, 2);
    shows(&device, Pattern::Ready);
    device.stop();
    device.join().unwrap();

    // Its end is kept: it does not begin a third time.
    let (device, _host) = serving(&stage);
    shows(&device, Pattern::Ready);
    assert!(obama(&device));
    drop(device);
    let told = record(&stage);
    assert_eq!(
        told[told.len() - 3..],
        ["locked-out", "locked-out", "granted"]
    );
}

#[test]
fn without_a_limit_nobody_is_locked_out() {
    let mut stage = Stage::enrolled();
    stage.config.lockout.denials = 0;
    stage.config.lockout.disable_after = 0;
    let (device, _host) = serving(&stage);
    strangers(&device, 12);
    assert!(obama(&device));
}

#[test]
fn a_ledger_that_is_damaged_or_gone_is_a_fault_until_a_host_clears_it() {
    for damage in ["changed", "gone"] {
        let stage = Stage::enrolled();
        let (device, _host) = serving(&stage);
        strangers(&device, 4);
        device.stop();
        device.join().unwrap();
        let ledger = stage.data().join("ledger");
        match damage {
            "gone" => std::fs::remove_file(&ledger).unwrap(),
            _ => {
                let mut bytes = std::fs::read(&ledger).unwrap();
                bytes[30] ^= 1;
                std::fs::write(&ledger, bytes).unwrap();
            }
        }
        let device = stage.start();
        let mut host = Host::connect(&device);
        becomes(&mut host, DoorState::Fault);
        assert!(!obama(&device), "{damage}");
        pass(&device, 60);
        assert_eq!(
            host.ask(Request::DoorState),
            Response::Door(DoorState::Fault)
        );
        let fault = host.status().last_fault.unwrap();
        assert!(fault.text.contains("clear-lockout"), "{}", &*fault.text);
        assert_eq!(host.ask(Request::LockoutClear), Response::Done);
        becomes(&mut host, DoorState::Locked);
        assert!(obama(&device), "{damage}");
        let told = told(&stage, device);
        assert!(
            told.iter().any(|line| line.starts_with("fault ledger")),
            "{told:?}"
        );
        assert!(told.contains(&"cleared by test host".to_owned()));
    }
}

#[test]
fn a_denial_that_cannot_be_written_down_counts_and_shuts_the_door_until_it_can() {
    let mut stage = Stage::enrolled();
    stage.config.lockout.denials = 2;
    let (device, mut host) = serving(&stage);
    strangers(&device, 1);
    // A folder in its place: root may write anywhere.
    let (ledger, away) = (stage.data().join("ledger"), stage.data().join("away"));
    std::fs::rename(&ledger, &away).unwrap();
    std::fs::create_dir(&ledger).unwrap();
    strangers(&device, 1);
    becomes(&mut host, DoorState::Fault);
    assert!(!obama(&device));
    std::fs::remove_dir(&ledger).unwrap();
    pass(&device, 3);
    becomes(&mut host, DoorState::Locked);
    assert!(!obama(&device));
    let told = told(&stage, device);
    assert!(
        told.contains(&"face locked after 2 for 30000 ms".to_owned()),
        "{told:?}"
    );
    assert_eq!(told.last().map(String::as_str), Some("locked-out"));
    // Written as soon as it could be: the next start knows.
    let (device, _host) = serving(&stage);
    shows(&device, Pattern::LockedOut);
    drop(device);
}

#[test]
fn operators_end_lockouts_and_say_who_left_of_those_the_door_knows() {
    let person = crate::stage::id("nobody");
    let left = Request::PassedOut { person };
    for request in [&Request::LockoutClear, &left] {
        assert_eq!(facelatch_device::link::needed(request), Role::Operator);
    }
    let stage = Stage::enrolled();
    let (_device, mut host) = serving(&stage);
    let unknown = Response::Refused(Refusal::UnknownPerson);
    assert_eq!(host.ask(left), unknown);
}
