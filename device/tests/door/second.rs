//! Beside the face: PINs, duress codes, visits that are counted, and who is inside. The audit record is the witness.

use facelatch_boards::{Pattern, Sound, sim::Visitor};
use facelatch_device::{Device, audit::What};
use facelatch_policy::{Pin, PinHash};
use facelatch_protocol::{
    DoorState, EventKind, Lockout, PolicyStatus, Request, Response, bundle::PartKind,
};

use crate::{
    far_end::bundles::{PartFile, bundle},
    host::Host,
    latch::{becomes, pass, serving, until},
    stage::{Stage, id, latch, photo, records, show, visitor, was_unlocked},
    updates::{gallery, space},
};

const OBAMA: &str = "barack_obama";

fn hash(digits: &str) -> String {
    PinHash::new(&Pin::parse(digits).unwrap(), [7; 16]).to_string()
}

/// He needs a PIN, 1234, and types 4321 when made to.
fn his_pin() -> String {
    let (pin, duress) = (hash("1234"), hash("4321"));
    format!("[people.{OBAMA}]\npin = \"{pin}\"\nduress_pin = \"{duress}\"\npin_needed = true\n")
}

/// A door with the demo's two people and this policy, and a host.
fn obeying(stage: &Stage, policy: &str) -> (Device, Host) {
    let (device, mut host) = serving(stage);
    let part: PartFile = (
        PartKind::Policy,
        "policy.toml",
        format!("zone = \"UTC\"\n{policy}").into_bytes(),
    );
    let pushed = host.push(&bundle(1, &space(), &[gallery(records()), part]));
    assert!(matches!(pushed, Response::Bundle(_)), "{pushed:?}");
    (device, host)
}

fn obama(device: &Device) -> bool {
    visits(device, visitor("visitors/obama2.jpg"))
}

fn collins(device: &Device) -> bool {
    let portrait = photo("enroll/eileen_collins/astronaut.png");
    let her = Visitor {
        frames: Some(6),
        ..Visitor::photo(portrait)
    };
    visits(device, her)
}

/// Whether the door opens while this visitor is there.
fn visits(device: &Device, visitor: Visitor) -> bool {
    let before = latch(device).len();
    show(device, visitor);
    was_unlocked(&latch(device)[before..])
}

fn types(device: &Device, keys: &str) {
    let panel = &device.sim().unwrap().panel;
    panel.type_keys(keys);
    until("typed", || panel.keys_left() == 0);
}

fn shows(device: &Device, pattern: Pattern) {
    let panel = &device.sim().unwrap().panel;
    until(&format!("{pattern:?}"), || {
        panel.shown().last().map(|shown| shown.pattern) == Some(pattern)
    });
}

fn opens(device: &Device) {
    let relay = &device.sim().unwrap().relay;
    until("open", || relay.is_on());
}

/// Until the door is locked again.
fn leaves(device: &Device, host: &mut Host) {
    pass(device, 6);
    becomes(host, DoorState::Locked);
}

fn policy_status(host: &mut Host) -> PolicyStatus {
    match host.ask(Request::PolicyStatus) {
        Response::Policy(status) => status,
        other => panic!("{other:?}"),
    }
}

/// What is on record of prompts, decisions, lockouts, duress and who left.
fn told(stage: &Stage, device: Device) -> Vec<String> {
    device.stop();
    device.join().unwrap();
    let line = |entry: facelatch_device::audit::Entry| match entry.what {
        What::Event(EventKind::Prompt(prompt)) => Some(prompt.to_string()),
        What::Event(EventKind::Decision {
            granted, reason, ..
        }) => match (granted, reason.as_str()) {
            (true, "granted") => Some("granted".to_owned()),
            (true, reason) => Some(format!("granted though {reason}")),
            (false, reason) => Some(reason.to_owned()),
        },
        What::Event(EventKind::Lockout(Lockout::Cleared { .. })) => Some("cleared".to_owned()),
        What::Event(EventKind::Lockout(lockout)) => Some(lockout.to_string()),
        What::Event(EventKind::Duress { person }) => Some(format!("duress of {person}")),
        What::Event(EventKind::PassedOut { person }) => Some(format!("{person} left")),
        _ => None,
    };
    stage.entries().into_iter().filter_map(line).collect()
}

#[test]
fn who_needs_a_pin_gets_in_with_it_and_not_without() {
    let stage = Stage::empty();
    let (device, mut host) = obeying(&stage, &his_pin());
    // Typed before anybody asked: dropped.
    types(&device, "1234#");
    assert!(!obama(&device));
    shows(&device, Pattern::EnterPin);
    types(&device, "12*1234#");
    opens(&device);
    // Still there while the door is open: not asked again.
    assert!(!obama(&device));
    leaves(&device, &mut host);

    assert!(!obama(&device));
    types(&device, "1235#");
    shows(&device, Pattern::Denied);
    assert!(!obama(&device));
    types(&device, "1234");
    pass(&device, 16);
    shows(&device, Pattern::Denied);
    types(&device, "#");
    assert!(collins(&device), "nobody asks her for one");
    leaves(&device, &mut host);
    assert!(!obama(&device));
    types(&device, "1234#");
    opens(&device);
    let expected = [
        "enter-pin",
        "granted",
        "enter-pin",
        "wrong-pin",
        "enter-pin",
        "wrong-pin",
        "granted",
        "enter-pin",
        "granted",
    ];
    assert_eq!(told(&stage, device), expected);
}

#[test]
fn a_pin_guessed_too_often_is_locked_for_its_owner_alone_through_a_restart() {
    let mut stage = Stage::empty();
    stage.config.lockout.denials = 3;
    let (device, mut host) = obeying(&stage, &his_pin());
    for _ in 0..3 {
        assert!(!obama(&device));
        types(&device, "1111#");
        shows(&device, Pattern::Denied);
        // She ends the row of denied faces, not that of his PIN.
        assert!(collins(&device));
        leaves(&device, &mut host);
    }
    assert!(!obama(&device));
    device.stop();
    device.join().unwrap();

    let (device, mut host) = serving(&stage);
    assert!(!obama(&device));
    assert!(collins(&device));
    leaves(&device, &mut host);
    pass(&device, 30);
    assert!(!obama(&device));
    types(&device, "1234#");
    opens(&device);
    let guess = ["enter-pin", "wrong-pin", "granted"];
    let expected = [
        &guess[..2],
        &guess[2..],
        &guess,
        &["enter-pin", "wrong-pin"],
        &["pin of barack_obama locked out for a while after 3 denials"],
        &["granted", "locked-out", "locked-out", "granted"],
        &["enter-pin", "granted"],
    ];
    assert_eq!(told(&stage, device), expected.concat());
}

#[test]
fn wrong_pins_count_as_denied_faces_and_those_that_do_not_come_do_not() {
    let mut stage = Stage::empty();
    stage.config.lockout.denials = 2;
    let (device, _host) = obeying(&stage, &his_pin());
    for _ in 0..3 {
        assert!(!obama(&device));
        pass(&device, 16);
        shows(&device, Pattern::Denied);
        pass(&device, 3);
        shows(&device, Pattern::Ready);
    }
    for pattern in [Pattern::Denied, Pattern::LockedOut] {
        assert!(!obama(&device));
        types(&device, "1111#");
        shows(&device, pattern);
    }
    assert!(!collins(&device));
    let told = told(&stage, device);
    let lockouts = [
        "wrong-pin",
        "face locked out for a while after 2 denials",
        "pin of barack_obama locked out for a while after 2 denials",
        "locked-out",
    ];
    assert_eq!(told[told.len() - 4..], lockouts);
    assert_eq!(told.iter().filter(|line| *line == "wrong-pin").count(), 5);
}

#[test]
fn another_face_does_not_help_with_a_pin() {
    let stage = Stage::empty();
    let hers = format!(
        "[people.eileen_collins]\npin = \"{}\"\npin_needed = true\n",
        hash("5678")
    );
    let (device, _host) = obeying(&stage, &(his_pin() + &hers));
    assert!(!obama(&device));
    assert!(!collins(&device));
    types(&device, "1234#");
    shows(&device, Pattern::Denied);
    // A stranger neither helps nor hinders.
    assert!(!obama(&device));
    show(&device, visitor("visitors/biden.jpg"));
    shows(&device, Pattern::EnterPin);
    types(&device, "1234#");
    opens(&device);
    let expected = [
        "enter-pin",
        "wrong-pin",
        "enter-pin",
        "wrong-pin",
        "enter-pin",
        "unknown",
        "granted",
    ];
    assert_eq!(told(&stage, device), expected);
}

#[test]
fn what_holds_when_the_pin_is_there_decides() {
    let stage = Stage::empty();
    let (device, mut host) = obeying(&stage, &his_pin());
    assert!(!obama(&device));
    host.ask(Request::Lockdown { on: true });
    types(&device, "1234#");
    let sim = device.sim().unwrap().clone();
    until("looked at", || {
        host.ask(Request::DoorState);
        sim.panel.heard().last() == Some(&Sound::Denied) || sim.relay.is_on()
    });
    assert!(!was_unlocked(&latch(&device)));
    assert_eq!(told(&stage, device), ["enter-pin", "locked-down"]);
}

#[test]
fn without_a_keypad_nobody_gets_in_who_needs_a_pin() {
    let mut stage = Stage::empty();
    stage.board.keypad = None;
    let (device, _host) = obeying(&stage, &his_pin());
    assert!(!obama(&device));
    assert!(collins(&device));
    assert_eq!(told(&stage, device), ["wrong-pin", "granted"]);
}

#[test]
fn a_duress_code_opens_as_the_pin_does_and_is_on_record() {
    let visit = |digits: &str| {
        let stage = Stage::empty();
        let (device, mut host) = obeying(&stage, &his_pin());
        let mut listener = Host::connect(&device);
        listener.ask(Request::EventsSubscribe { from_seq: 0 });
        assert!(!obama(&device));
        types(&device, digits);
        opens(&device);
        let until_open =
            |event: &EventKind| !matches!(event, EventKind::Door(DoorState::Unlocked { .. }));
        let heard: Vec<EventKind> = std::iter::repeat_with(|| listener.event().kind)
            .take_while(until_open)
            .collect();
        leaves(&device, &mut host);
        let panel = device.sim().unwrap().panel.clone();
        until("silence", || panel.heard().last() == Some(&Sound::Silent));
        let shown: Vec<Pattern> = panel.shown().iter().map(|shown| shown.pattern).collect();
        let moved: Vec<_> = latch(&device).iter().map(|edge| edge.latch).collect();
        let seen = (shown, panel.heard(), moved);
        (seen, heard, told(&stage, device))
    };
    let (calm, _, told_calm) = visit("1234#");
    let (forced, heard, told_forced) = visit("4321#");
    assert_eq!(calm, forced, "somebody at the door could tell");
    assert_eq!(told_calm, ["enter-pin", "granted"]);
    assert_eq!(
        told_forced,
        ["enter-pin", "granted", "duress of barack_obama"]
    );
    assert!(
        heard.contains(&EventKind::Duress { person: id(OBAMA) }),
        "{heard:?}"
    );
}

#[test]
fn a_visitor_comes_as_often_as_allowed_and_no_restart_brings_a_visit_back() {
    let stage = Stage::empty();
    let policy = format!("[people.{OBAMA}]\nvisits = 2\n");
    let (device, mut host) = obeying(&stage, &policy);
    // Stands in the open door for longer than a second visit would take: one visit.
    lingers(&device);
    leaves(&device, &mut host);
    device.stop();
    device.join().unwrap();

    let (device, mut host) = serving(&stage);
    assert!(obama(&device));
    leaves(&device, &mut host);
    assert!(!obama(&device));
    device.stop();
    device.join().unwrap();

    let (device, _host) = serving(&stage);
    assert!(!obama(&device));
    assert!(collins(&device));
    let expected = ["granted", "granted", "not-valid", "not-valid", "granted"];
    assert_eq!(told(&stage, device), expected);
}

/// Four and a half seconds before the camera, with the door open for five.
fn lingers(device: &Device) {
    let long = Visitor {
        frames: Some(45),
        ..visitor("visitors/obama2.jpg")
    };
    assert!(visits(device, long));
}

#[test]
fn a_visit_that_cannot_be_written_down_opens_nothing_and_is_not_lost() {
    let stage = Stage::empty();
    let policy = format!("[people.{OBAMA}]\nvisits = 1\n");
    let (device, mut host) = obeying(&stage, &policy);
    // A folder in its place: root may write anywhere.
    let (ledger, away) = (stage.data().join("ledger"), stage.data().join("away"));
    std::fs::rename(&ledger, &away).unwrap();
    std::fs::create_dir(&ledger).unwrap();
    assert!(!obama(&device));
    becomes(&mut host, DoorState::Fault);
    std::fs::remove_dir(&ledger).unwrap();
    std::fs::rename(&away, &ledger).unwrap();
    pass(&device, 3);
    becomes(&mut host, DoorState::Locked);
    assert!(obama(&device));
    leaves(&device, &mut host);
    assert!(!obama(&device));
    assert_eq!(told(&stage, device), ["fault", "granted", "not-valid"]);
}

#[test]
fn a_visit_for_which_the_relay_does_not_move_is_given_back() {
    let mut stage = Stage::empty();
    // Move 0 locks at the start, move 1 would let somebody in.
    stage.board.sim.faults.relay_fails_at_move = Some(1);
    let policy = format!("[people.{OBAMA}]\nvisits = 1\n");
    let (device, mut host) = obeying(&stage, &policy);
    assert!(!obama(&device));
    becomes(&mut host, DoorState::Fault);
    device.stop();
    device.join().unwrap();
    stage.board.sim.faults.relay_fails_at_move = None;
    let (device, _host) = serving(&stage);
    assert!(obama(&device));
    assert_eq!(told(&stage, device), ["granted", "granted"]);
}

#[test]
fn hard_passback_refuses_who_is_inside_until_a_host_says_they_left() {
    let stage = Stage::empty();
    let policy = "[passback]\nmode = \"hard\"\nforget_after_minutes = 60\n";
    let (device, mut host) = obeying(&stage, policy);
    lingers(&device);
    leaves(&device, &mut host);
    assert_eq!(policy_status(&mut host).inside, 1);
    assert!(!obama(&device));
    assert!(collins(&device), "she is outside");
    leaves(&device, &mut host);
    // Somebody goes out by the button: nobody knows who.
    let sim = device.sim().unwrap().clone();
    sim.panel.request_exit();
    until("let out", || sim.relay.is_on());
    leaves(&device, &mut host);
    assert!(!obama(&device));
    let person = id(OBAMA);
    assert_eq!(host.ask(Request::PassedOut { person }), Response::Done);
    assert_eq!(policy_status(&mut host).inside, 1);
    assert!(obama(&device));
    leaves(&device, &mut host);
    device.stop();
    device.join().unwrap();

    let (device, _host) = serving(&stage);
    assert!(!obama(&device));
    // Beside the hour, what went by on the clock of the run before.
    pass(&device, 3_600 + 300);
    assert!(obama(&device), "forgotten after an hour");
    let expected = [
        "granted",
        "already-inside",
        "granted",
        "already-inside",
        "barack_obama left",
        "granted",
        "already-inside",
        "granted",
    ];
    assert_eq!(told(&stage, device), expected);
}

#[test]
fn soft_passback_lets_them_in_and_says_so() {
    let stage = Stage::empty();
    let (device, mut host) = obeying(&stage, "[passback]\nmode = \"soft\"\n");
    for _ in 0..2 {
        assert!(obama(&device));
        leaves(&device, &mut host);
    }
    let expected = ["granted", "granted though already-inside"];
    assert_eq!(told(&stage, device), expected);
}
