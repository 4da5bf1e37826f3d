//! The door besides faces: ways out, alarms, lockdown, remote unlock; the audit record is the witness.

use std::time::{Duration, Instant};

use facelatch_boards::{Latch, Sound, sim::Handle, sim::Input};
use facelatch_device::{Device, audit::What};
use facelatch_protocol::{DoorState, EventKind, Opener, Reason, Refusal, Request, Response};

use crate::{
    host::{Host, admin_key},
    stage::{DEADLINE, Stage, latch, show, visitor, was_unlocked},
};

/// Waits in real time until the door has seen it.
pub(crate) fn until(what: &str, mut seen: impl FnMut() -> bool) {
    let began = Instant::now();
    while !seen() {
        assert!(began.elapsed() < DEADLINE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn pass(device: &Device, seconds: u64) {
    let clock = sim(device).clock.unwrap();
    clock.advance(Duration::from_secs(seconds));
}

fn sim(device: &Device) -> Handle {
    device.sim().unwrap().clone()
}

fn state(host: &mut Host) -> DoorState {
    match host.ask(Request::DoorState) {
        Response::Door(state) => state,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn becomes(host: &mut Host, wanted: DoorState) {
    until(wanted.as_str(), || state(host) == wanted);
}

/// Starts a door, waits until it is locked, and hands back a host.
pub(crate) fn serving(stage: &Stage) -> (Device, Host) {
    let device = stage.start();
    let mut host = Host::connect(&device);
    becomes(&mut host, DoorState::Locked);
    (device, host)
}

/// Stops a door and tells what is on record about it besides faces and faults, without the wall times.
fn record(stage: &Stage, device: Device) -> Vec<String> {
    device.stop();
    device.join().unwrap();
    let told = |entry: facelatch_device::audit::Entry| match entry.what {
        What::Event(EventKind::Door(state)) => Some(state.to_string()),
        What::Event(EventKind::Opened(opener)) => Some(format!("opened by {opener}")),
        What::Event(EventKind::Lockdown { on, host, name }) => {
            assert_eq!(host, admin_key());
            Some(format!("lockdown {on} by {name}"))
        }
        What::Event(EventKind::Alarm { alarm, on }) => Some(format!("{alarm} {on}")),
        _ => None,
    };
    stage.entries().into_iter().filter_map(told).collect()
}

#[test]
fn a_request_to_exit_opens_once_is_on_record_and_ends() {
    let stage = Stage::enrolled();
    let (device, mut host) = serving(&stage);
    let sim = sim(&device);
    sim.panel.request_exit();
    until("let out", || sim.relay.is_on());
    pass(&device, 5);
    becomes(&mut host, DoorState::Locked);
    let latches: Vec<Latch> = latch(&device).iter().map(|edge| edge.latch).collect();
    assert_eq!(latches, [Latch::Locked, Latch::Unlocked, Latch::Locked]);
    assert_eq!(
        record(&stage, device),
        [
            "locked",
            "opened by a request to exit",
            "unlocked",
            "locked",
            "stopped"
        ]
    );
}

#[test]
fn a_forced_door_and_an_open_case_raise_alarms_until_they_are_over() {
    let stage = Stage::enrolled();
    let (device, mut host) = serving(&stage);
    let panel = sim(&device).panel;
    panel.move_door(true);
    becomes(&mut host, DoorState::ForcedOpen);
    assert_eq!(panel.heard(), [Sound::Alarm]);
    panel.turn(Input::Tamper, true);
    panel.move_door(false);
    becomes(&mut host, DoorState::Locked);
    panel.turn(Input::Tamper, false);
    until("silence", || panel.heard() == [Sound::Alarm, Sound::Silent]);
    assert!(!was_unlocked(&latch(&device)));
    let mut told = record(&stage, device);
    // The two contacts may be seen in one tick or in two.
    told.retain(|line| line != "locked" && line != "stopped");
    let position = |line: &str| told.iter().position(|told| told == line).unwrap();
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(position("forced-open true") < position("forced-open false"));
    assert!(position("tamper true") < position("tamper false"));
}

#[test]
fn a_door_left_open_is_an_alarm_and_one_that_closes_locks() {
    let stage = Stage::enrolled();
    let (device, mut host) = serving(&stage);
    let sim = sim(&device);
    sim.panel.request_exit();
    until("let out", || sim.relay.is_on());
    sim.panel.move_door(true);
    let opened = |host: &mut Host| matches!(state(host), DoorState::Unlocked { .. });
    // One answer is one tick: the leaf has been looked at.
    assert!(opened(&mut host) && opened(&mut host));
    pass(&device, 5);
    becomes(&mut host, DoorState::Locked);
    pass(&device, 29);
    assert_eq!(state(&mut host), DoorState::Locked);
    pass(&device, 1);
    becomes(&mut host, DoorState::HeldOpen);
    sim.panel.move_door(false);
    becomes(&mut host, DoorState::Locked);
    assert_eq!(sim.panel.heard(), [Sound::CloseDoor, Sound::Silent]);

    // Through and shut again: locked at once, without time passing.
    sim.panel.request_exit();
    until("let out again", || sim.relay.is_on());
    sim.panel.move_door(true);
    assert!(opened(&mut host) && opened(&mut host));
    sim.panel.move_door(false);
    becomes(&mut host, DoorState::Locked);
    assert!(!sim.relay.is_on());
    let told = record(&stage, device);
    assert_eq!(
        told,
        [
            "locked",
            "opened by a request to exit",
            "unlocked",
            "locked",
            "held-open true",
            "held-open",
            "held-open false",
            "locked",
            "opened by a request to exit",
            "unlocked",
            "locked",
            "stopped"
        ]
    );
}

#[test]
fn a_lockdown_denies_the_enrolled_lets_people_out_and_outlives_a_restart() {
    let stage = Stage::enrolled();
    let (device, mut host) = serving(&stage);
    let lockdown = |on| Request::Lockdown { on };
    let locked_down = Response::Door(DoorState::LockedDown);
    assert_eq!(host.ask(lockdown(true)), locked_down);
    show(&device, visitor("visitors/obama2.jpg"));
    assert!(!was_unlocked(&latch(&device)));
    assert_eq!(
        host.ask(Request::Unlock),
        Response::Refused(Refusal::LockedDown)
    );
    let relay = sim(&device).relay;
    sim(&device).panel.request_exit();
    until("let out", || relay.is_on());
    pass(&device, 5);
    becomes(&mut host, DoorState::LockedDown);
    let person = Some("barack_obama".to_owned());
    let told = record(&stage, device);
    assert!(told.contains(&"lockdown true by test host".to_owned()));
    // Who it is was seen; that it is nobody to be let in now, too.
    let (granted, reason, _) = stage.visits()[0].clone();
    assert_eq!((granted, reason), (false, Reason::LockedDown));

    let device = stage.start();
    let mut host = Host::connect(&device);
    becomes(&mut host, DoorState::LockedDown);
    assert_eq!(host.ask(lockdown(false)), Response::Door(DoorState::Locked));
    show(&device, visitor("visitors/obama3.jpg"));
    assert!(was_unlocked(&latch(&device)));
    drop(device);
    assert_eq!(
        stage.visits().last(),
        Some(&(true, Reason::Granted, person))
    );
}

#[test]
fn fire_opens_whatever_else_there_is() {
    let stage = Stage::enrolled();
    let (device, mut host) = serving(&stage);
    host.ask(Request::Lockdown { on: true });
    let sim = sim(&device);
    sim.panel.turn(Input::Fire, true);
    until("open for fire", || sim.relay.is_on());
    // A fault does not shut people in.
    sim.panel.break_door_sensor(true);
    until("the fault", || host.status().last_fault.is_some());
    assert_eq!(state(&mut host), DoorState::Fire);
    pass(&device, 3_600);
    assert_eq!(state(&mut host), DoorState::Fire);
    assert!(sim.relay.is_on());
    sim.panel.turn(Input::Fire, false);
    becomes(&mut host, DoorState::Fault);
    assert!(!sim.relay.is_on());
    sim.panel.break_door_sensor(false);
    becomes(&mut host, DoorState::LockedDown);
    let told = record(&stage, device);
    let fire = told.iter().position(|line| line == "fire true").unwrap();
    assert_eq!(told[fire + 1], "fire");
}

#[test]
fn a_remote_unlock_names_the_host_on_record_and_ends() {
    let stage = Stage::enrolled();
    let (device, mut host) = serving(&stage);
    let answer = host.ask(Request::Unlock);
    assert!(
        matches!(answer, Response::Door(DoorState::Unlocked { .. })),
        "{answer:?}"
    );
    assert!(sim(&device).relay.is_on());
    pass(&device, 5);
    becomes(&mut host, DoorState::Locked);
    assert!(!sim(&device).relay.is_on());
    let told = record(&stage, device);
    assert_eq!(
        told,
        [
            "locked",
            "opened by host test host",
            "unlocked",
            "locked",
            "stopped"
        ]
    );
    let opener = stage
        .entries()
        .into_iter()
        .find_map(|entry| match entry.what {
            What::Event(EventKind::Opened(Opener::Host { host, name })) => Some((host, name)),
            _ => None,
        });
    let (key, name) = opener.unwrap();
    assert_eq!((key, &*name), (admin_key(), "test host"));
}

#[test]
fn without_a_record_no_host_gets_anybody_in_and_people_get_out() {
    let mut stage = Stage::enrolled();
    // Room for the start's records; whatever comes next begins a file in a folder that is gone.
    stage.config.audit.records_per_file = 2;
    let (device, mut host) = serving(&stage);
    let (folder, away) = (stage.data().join("audit"), stage.data().join("away"));
    std::fs::rename(&folder, &away).unwrap();
    assert_eq!(
        host.ask(Request::Unlock),
        Response::Refused(Refusal::OutOfService)
    );
    let sim = sim(&device);
    assert!(!was_unlocked(&sim.relay.edges()));
    sim.panel.request_exit();
    until("let out", || sim.relay.is_on());
    std::fs::rename(&away, &folder).unwrap();
}

#[test]
fn an_input_that_cannot_be_read_is_a_fault_until_it_can() {
    let stage = Stage::enrolled();
    let (device, mut host) = serving(&stage);
    let panel = sim(&device).panel;
    panel.break_door_sensor(true);
    becomes(&mut host, DoorState::Fault);
    let fault = host.status().last_fault.unwrap();
    assert!(fault.text.contains("door sensor"), "{}", &*fault.text);
    panel.break_door_sensor(false);
    becomes(&mut host, DoorState::Locked);
    assert!(!was_unlocked(&latch(&device)));
}

/// With the networks loaded and the camera answering, on a door of either wiring.
#[test]
fn the_relay_never_pulses_at_the_start() {
    for (safe, expected) in [
        (Latch::Locked, vec![Latch::Locked]),
        (Latch::Unlocked, vec![Latch::Unlocked, Latch::Locked]),
    ] {
        let mut stage = Stage::enrolled();
        stage.board.relay.safe = safe;
        let (device, _host) = serving(&stage);
        let latches: Vec<Latch> = latch(&device).iter().map(|edge| edge.latch).collect();
        assert_eq!(latches, expected, "at rest {safe}");
        let relay = sim(&device).relay;
        drop(device);
        assert_eq!(relay.edges().last().map(|edge| edge.latch), Some(safe));
    }
}
