//! What breaks leads to the safe state and nowhere else, is said, and ends when its cause does.

use std::fs;

use facelatch_boards::{CameraFacts, Latch, sim::Visitor};
use facelatch_device::{StopAfter, audit::What};
use facelatch_protocol::{DoorState, EventKind, Reason, Request, Response};

use crate::{
    host::Host,
    stage::{Stage, latch, photo, show, visitor, was_unlocked},
};

fn faults(stage: &Stage) -> Vec<String> {
    let fault = |entry: facelatch_device::audit::Entry| match entry.what {
        What::Event(EventKind::Fault(text)) => Some(text.to_string()),
        _ => None,
    };
    stage.entries().into_iter().filter_map(fault).collect()
}

#[test]
fn a_vanished_camera_locks_an_open_door_at_once() {
    let mut stage = Stage::enrolled();
    stage.board.sim.faults.camera_lost_at_frame = Some(5);
    let device = stage.start();
    let mut host = Host::connect(&device);
    // Frames 0 to 4 show an enrolled person, who is let in by the third; then the camera is gone.
    let sim = device.sim().unwrap().clone();
    sim.visitors.arrive(visitor("visitors/obama2.jpg"));
    while host.ask(Request::DoorState) != Response::Door(DoorState::Fault) {}
    assert!(!sim.relay.is_on());
    let status = host.status();
    assert!(
        status
            .last_fault
            .is_some_and(|f| f.text.contains("injected fault"))
    );
    assert_eq!(status.frames, 5);
    device.stop();
    device.join().unwrap();
    let latches: Vec<Latch> = sim.relay.edges().iter().map(|edge| edge.latch).collect();
    assert_eq!(latches, [Latch::Locked, Latch::Unlocked, Latch::Locked]);
    let said = faults(&stage);
    assert!(
        said.len() == 1 && said[0].starts_with("camera: "),
        "{said:?}"
    );
}

#[test]
fn damaged_frames_are_skipped_and_cost_nobody_the_way_in() {
    let mut stage = Stage::enrolled();
    stage.board.sim.faults.damaged_frames = vec![1, 3];
    let device = stage.start();
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(was_unlocked(&latch(&device)));
    device.stop();
    device.join().unwrap();
    assert!(faults(&stage).is_empty());
}

#[test]
fn a_relay_that_does_not_obey_is_a_fault() {
    let mut stage = Stage::enrolled();
    // Move 0 locks at the start, move 1 would let somebody in.
    stage.board.sim.faults.relay_fails_at_move = Some(1);
    let device = stage.start();
    let mut host = Host::connect(&device);
    show(&device, visitor("visitors/obama2.jpg"));
    assert_eq!(
        host.ask(Request::DoorState),
        Response::Door(DoorState::Fault)
    );
    assert!(!was_unlocked(&latch(&device)));
    device.stop();
    device.join().unwrap();
    assert!(faults(&stage)[0].starts_with("relay: "));
}

#[test]
fn nobody_is_said_to_be_let_in_while_something_is_broken() {
    let stage = Stage::enrolled();
    let device = stage.start();
    let mut host = Host::connect(&device);
    while host.ask(Request::DoorState) != Response::Door(DoorState::Locked) {}
    device.sim().unwrap().panel.break_door_sensor(true);
    while host.ask(Request::DoorState) != Response::Door(DoorState::Fault) {}
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(!was_unlocked(&latch(&device)));
    device.stop();
    device.join().unwrap();
    let told: Vec<_> = stage
        .visits()
        .into_iter()
        .map(|(granted, why, _)| (granted, why))
        .collect();
    assert_eq!(told, [(false, Reason::Fault)]);
}

/// Root may write anywhere, so the disk is made unwritable by taking the folder of the next file away.
#[test]
fn without_an_audit_record_the_door_stays_shut_until_it_can_be_written_again() {
    let mut stage = Stage::enrolled();
    // Room for the start's records; the decision begins the next file.
    stage.config.audit.records_per_file = 2;
    let device = stage.start();
    let mut host = Host::connect(&device);
    show(
        &device,
        Visitor {
            frames: Some(1),
            ..visitor("visitors/rocket.jpg")
        },
    );
    let folder = stage.data().join("audit");
    let away = stage.data().join("away");
    fs::rename(&folder, &away).unwrap();
    show(&device, visitor("visitors/obama2.jpg"));
    assert_eq!(
        host.ask(Request::DoorState),
        Response::Door(DoorState::Fault)
    );
    assert!(!was_unlocked(&latch(&device)), "opened without a record");

    fs::rename(&away, &folder).unwrap();
    show(
        &device,
        Visitor {
            frames: Some(30),
            ..visitor("visitors/rocket.jpg")
        },
    );
    assert_eq!(
        host.ask(Request::DoorState),
        Response::Door(DoorState::Locked)
    );
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(was_unlocked(&latch(&device)));
    device.stop();
    device.join().unwrap();
    stage.entries();
}

#[test]
fn what_cannot_be_started_says_why_and_with_which_exit_code() {
    let damaged_gallery = Stage::enrolled();
    for copy in ["gallery/index", "gallery/index.copy"] {
        fs::write(damaged_gallery.data().join(copy), "").unwrap();
    }
    let damaged_audit = Stage::empty();
    fs::create_dir_all(damaged_audit.data().join("audit")).unwrap();
    fs::write(
        damaged_audit.data().join("audit/00000000000000000001.log"),
        [7; 99],
    )
    .unwrap();
    let mut no_replay = Stage::empty();
    if let CameraFacts::Replay(replay) = &mut no_replay.board.camera {
        replay.folder = Some(photo("nothing-here"));
    }
    let set_up = |gone: &str| {
        let stage = Stage::enrolled();
        drop(stage.start());
        fs::remove_dir_all(stage.data().join(gone)).unwrap();
        stage
    };
    let [no_gallery, no_bundles, no_keys] = ["gallery", "bundles", "keys"].map(set_up);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut port = Stage::empty();
    port.config.link.tcp_listen = taken.local_addr().unwrap().to_string();
    let in_use = Stage::empty();
    let _first = in_use.start();

    let cases = [
        (&damaged_gallery, "damaged", 4),
        (&damaged_audit, "damaged at record 1", 4),
        (&no_replay, "nothing-here", 2),
        (&no_gallery, "is damaged: it is gone", 4),
        (&no_bundles, "which bundle is in use", 4),
        (&no_keys, "device.key cannot be used: it is gone", 4),
        (&port, "is in use", 2),
        (&in_use, "in use by another facelatchd", 2),
    ];
    let mut failures = vec![];
    for (stage, says, code) in cases {
        match stage.try_start() {
            Ok(_) => failures.push(format!("{says}: started")),
            Err(error) if error.to_string().contains(says) && error.exit_code() == code => {}
            Err(error) => failures.push(format!("{says}: {error} ({})", error.exit_code())),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_replay_that_is_over_stops_the_door_or_is_a_fault_as_asked() {
    let mut stage = Stage::enrolled();
    if let CameraFacts::Replay(replay) = &mut stage.board.camera {
        replay.folder = Some(photo("visitors"));
        replay.frames_per_photo = 1;
        replay.at_end = facelatch_boards::AtEnd::Stop;
    }
    stage.stop_after = StopAfter::Replay;
    stage.start().join().unwrap();
    assert_eq!(stage.visits().len(), 7);
    assert!(faults(&stage).is_empty());

    stage.stop_after = StopAfter::Never;
    let device = stage.start();
    let mut host = Host::connect(&device);
    while host.ask(Request::DoorState) != Response::Door(DoorState::Fault) {}
    device.stop();
    device.join().unwrap();
    assert_eq!(faults(&stage), ["camera: the replay is over"]);
}
