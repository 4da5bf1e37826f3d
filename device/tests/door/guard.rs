//! A loop that hangs or panics, and drivers that do not answer: the relay rests without it, and the door says so.

use std::time::{Duration, Instant};

use facelatch_boards::{
    Latch,
    sim::{ClockKind, Handle, Harm, Part, Strike},
};
use facelatch_device::{Device, audit::What};
use facelatch_protocol::{DoorState, EventKind, Request, Response};

use crate::{
    host::Host,
    stage::{DEADLINE, Stage, latch},
};

fn until(what: &str, mut seen: impl FnMut() -> bool) {
    let began = Instant::now();
    while !seen() {
        assert!(began.elapsed() < DEADLINE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn serving(stage: &Stage) -> (Device, Host, Handle) {
    let device = stage.start();
    let mut host = Host::connect(&device);
    becomes(&mut host, DoorState::Locked);
    let sim = device.sim().unwrap().clone();
    (device, host, sim)
}

fn becomes(host: &mut Host, wanted: DoorState) {
    until(wanted.as_str(), || {
        host.ask(Request::DoorState) == Response::Door(wanted)
    });
}

fn hang(sim: &Handle, part: Part) {
    let harm = Harm::Hang;
    sim.strikes.arm(Strike {
        part,
        harm,
        after: 0,
    });
    assert!(sim.strikes.wait_until_hanging(DEADLINE));
}

fn unlocked(host: &mut Host, sim: &Handle) {
    let answer = host.ask(Request::Unlock);
    assert!(
        matches!(answer, Response::Door(DoorState::Unlocked { .. })),
        "{answer:?}"
    );
    assert!(sim.relay.is_on());
}

/// What is on record about faults, and that they are over.
fn faults(stage: &Stage) -> Vec<String> {
    let told = |entry: facelatch_device::audit::Entry| match entry.what {
        What::Event(EventKind::Fault(text)) => {
            Some(text.split(" for ").next().unwrap_or_default().to_owned())
        }
        What::Recovered { what } => Some(format!("{what} works")),
        _ => None,
    };
    stage.entries().into_iter().filter_map(told).collect()
}

/// The clock of this board stands still with the loop: only real time tells.
#[test]
fn a_loop_that_hangs_while_the_door_is_open_loses_the_relay_and_says_so_when_it_is_back() {
    let mut stage = Stage::enrolled();
    stage.config.watchdog.stall_ms = 500;
    let (device, mut host, sim) = serving(&stage);
    unlocked(&mut host, &sim);
    hang(&sim, Part::DoorSensor);
    until("at rest", || !sim.relay.is_on());
    assert!(
        !sim.strikes.hanging().is_empty(),
        "the loop had no part in it"
    );
    sim.strikes.release();
    becomes(&mut host, DoorState::Locked);
    let fault = host.status().last_fault.unwrap();
    assert!(fault.text.contains("stood still"), "{}", &*fault.text);
    // It serves as before.
    unlocked(&mut host, &sim);
    device.stop();
    device.join().unwrap();
    assert_eq!(faults(&stage), ["loop: it stood still", "loop works"]);
    let latches: Vec<Latch> = sim.relay.edges().iter().map(|edge| edge.latch).collect();
    let (locked, unlocked) = (Latch::Locked, Latch::Unlocked);
    assert_eq!(latches, [locked, unlocked, locked, unlocked, locked]);
}

/// A door that the guard has locked in time, its loop still in the hands of a part.
fn locked_late(part: Part) -> (Stage, Device, Host, Handle) {
    let mut stage = Stage::enrolled();
    stage.board.sim.clock = ClockKind::System;
    stage.config.door.unlock_ms = 2_000;
    stage.config.watchdog.stall_ms = 60_000;
    let (device, mut host, sim) = serving(&stage);
    unlocked(&mut host, &sim);
    hang(&sim, part);
    until("locked", || !sim.relay.is_on());
    assert!(
        !sim.strikes.hanging().is_empty(),
        "the loop had no part in it"
    );
    (stage, device, host, sim)
}

#[test]
fn an_unlocking_ends_in_time_though_the_loop_hangs() {
    let (stage, device, mut host, sim) = locked_late(Part::Contact);
    sim.strikes.release();
    becomes(&mut host, DoorState::Locked);
    device.stop();
    device.join().unwrap();
    assert!(faults(&stage).is_empty(), "it was late, and nothing more");
}

/// The loop does not hear that the guard has locked; whoever asks to be let out then is.
#[test]
fn who_asks_to_be_let_out_of_a_door_that_was_locked_late_gets_out() {
    let (_stage, device, mut host, sim) = locked_late(Part::Button);
    sim.panel.request_exit();
    sim.strikes.release();
    until("let out", || sim.relay.is_on());
    becomes(&mut host, DoorState::Locked);
    device.stop();
    device.join().unwrap();
    let (locked, unlocked) = (Latch::Locked, Latch::Unlocked);
    let latches: Vec<Latch> = sim.relay.edges().iter().map(|edge| edge.latch).collect();
    assert_eq!(latches, [locked, unlocked, locked, unlocked, locked]);
}

#[test]
fn a_camera_that_does_not_answer_is_a_fault_until_it_does() {
    let mut stage = Stage::enrolled();
    stage.config.watchdog.camera_ms = 1_000;
    let (device, mut host, sim) = serving(&stage);
    unlocked(&mut host, &sim);
    hang(&sim, Part::Camera);
    becomes(&mut host, DoorState::Fault);
    assert!(!sim.relay.is_on());
    sim.strikes.release();
    becomes(&mut host, DoorState::Locked);
    device.stop();
    device.join().unwrap();
    assert_eq!(
        faults(&stage),
        ["camera: it has not answered", "camera works"]
    );
}

#[test]
fn a_panic_of_the_loop_ends_the_door_with_the_relay_at_rest() {
    let stage = Stage::enrolled();
    let (device, mut host, sim) = serving(&stage);
    unlocked(&mut host, &sim);
    let (part, harm) = (Part::Button, Harm::Panic);
    sim.strikes.arm(Strike {
        part,
        harm,
        after: 0,
    });
    until("at rest", || !sim.relay.is_on());
    let error = device.join().unwrap_err();
    assert_eq!(error.exit_code(), 4, "{error}");
    // And starts again.
    let (device, ..) = serving(&stage);
    assert_eq!(
        latch(&device).last().map(|edge| edge.latch),
        Some(Latch::Locked)
    );
}
