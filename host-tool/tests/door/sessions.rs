//! Pairing and sessions: what passes, and that a wrong door, a wrong code and changed answers do not.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use facelatch_host::{
    client::{Blame, Client, Credentials, Error, Paired},
    connect::Target,
    keys::HostSecret,
};
use facelatch_protocol::{
    DisplayName, DoorState, Event, EventKind, PairingCode, PersonId, PublicKey, Refusal, Role,
    SpaceName, Template, audit::Record, session::PairRequest,
};

use super::{PATIENCE, Us};
use crate::fake_door::{FakeDoor, Mischief, Wire, code, id};

fn pair(us: &Us, target: &Target, code: &PairingCode) -> Result<(Client, Paired), Error> {
    let request = PairRequest {
        name: DisplayName::parse("office laptop").unwrap(),
        role: Role::Admin,
        keys: Some(us.keys.trusted().unwrap()),
    };
    let line = Client::reach(target, PATIENCE)?;
    let name = target.to_string();
    Client::pair(line, &name, &us.secret(), code, &request, PATIENCE)
}

fn template(first: f32) -> Template {
    Template {
        space: SpaceName::parse("test-2").unwrap(),
        values: [first, (1.0 - first * first).sqrt()].into_iter().collect(),
    }
}

#[test]
fn a_host_pairs_once_with_the_code_and_is_known_from_then_on() {
    let wire = Wire::new(|_, bytes| bytes);
    let over_serial = FakeDoor::start(Some(&wire));
    let over_tcp = FakeDoor::start(None);
    for (door, target) in [
        (&over_tcp, over_tcp.target()),
        (&over_serial, wire.host_end()),
    ] {
        let us = Us::new();
        let (mut client, paired) = pair(&us, &target, &code()).unwrap();
        let expected = Paired {
            door: door.key(),
            device: "fake".to_owned(),
            role: Role::Admin,
        };
        assert_eq!(paired, expected);
        assert_eq!((client.device(), client.role()), ("fake", Role::Admin));
        assert_eq!(client.door_state().unwrap(), DoorState::Locked);
        assert_eq!(door.state().keys, Some(us.keys.trusted().unwrap()));
        client.goodbye().unwrap();

        let credentials = Credentials {
            secret: us.secret(),
            door: paired.door,
        };
        let mut client = Client::connect(&target, &credentials, PATIENCE).unwrap();
        assert_eq!(client.door_state().unwrap(), DoorState::Locked);
        client.goodbye().unwrap();
        let error = pair(&us, &target, &code()).map(drop).unwrap_err();
        assert_eq!(error.refusal(), Some(&Refusal::PairingClosed));
    }
}

#[test]
fn a_wrong_bit_anywhere_in_a_handshake_on_a_serial_line_costs_time_and_no_more() {
    let us = Us::new();
    let mut failures = Vec::new();
    for at in (0..520).step_by(13) {
        // In both directions, once.
        let wire = Wire::new(move |passed, mut bytes| {
            if (passed..passed + bytes.len()).contains(&at) {
                bytes[at - passed] ^= 0x20;
            }
            bytes
        });
        let door = FakeDoor::start(Some(&wire));
        let paired = pair(&us, &wire.host_end(), &code()).map(|(_, paired)| paired.door);
        if !matches!(paired, Ok(key) if key == door.key()) {
            failures.push(format!("byte {at}: {paired:?}"));
        }
        if !door.state().hosts.contains_key(&us.secret().public()) {
            failures.push(format!("byte {at}: the door does not know the host"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn wrong_codes_are_counted_and_close_the_window() {
    let (us, door) = (Us::new(), FakeDoor::start(None));
    let wrong = PairingCode::new([8; 10]);
    for tries_left in [2, 1, 0] {
        let error = pair(&us, &door.target(), &wrong).map(drop).unwrap_err();
        assert_eq!(error.refusal(), Some(&Refusal::WrongCode { tries_left }));
        assert_eq!(error.blame(), Blame::Device);
    }
    let error = pair(&us, &door.target(), &code()).map(drop).unwrap_err();
    assert_eq!(error.refusal(), Some(&Refusal::PairingClosed), "{error}");
    assert!(door.state().hosts.is_empty());
}

/// Everything a host can ask, once.
fn provision(client: &mut Client) -> Vec<String> {
    for n in 0..40 {
        let name = DisplayName::parse(&format!("Person {n}")).unwrap();
        client.person_add(id(n), name).unwrap();
    }
    client.template_add(id(3), template(0.6)).unwrap();
    client.template_add(id(3), template(0.8)).unwrap();
    let unknown = client.template_add(id(99), template(0.6)).unwrap_err();
    assert_eq!(unknown.refusal(), Some(&Refusal::UnknownPerson));
    assert_eq!(unknown.blame(), Blame::Device);
    client.person_remove(id(7)).unwrap();

    let people = client.people().unwrap();
    let ids: Vec<PersonId> = people.iter().map(|person| person.person.clone()).collect();
    assert_eq!(ids, (0..40).filter(|&n| n != 7).map(id).collect::<Vec<_>>());
    let pulled: Vec<_> = client.pull().map(Result::unwrap).collect();
    assert_eq!(pulled.len(), 2);
    assert_eq!(pulled[1].template, template(0.8));
    assert_eq!(client.time_sync(1_700).unwrap(), (1_700, 5));

    let page = client.audit_page(2).unwrap();
    assert_eq!((page.first_seq, page.head.next_seq), (2, 3));
    assert_eq!(
        Record::take(&mut page.records.as_slice()).unwrap().seq(),
        Some(2)
    );
    let (shown, _) = client.pairing_open(Role::Operator).unwrap();
    assert_eq!(PairingCode::parse(&shown), Some(code()));
    client.pairing_close().unwrap();
    let update = client.update_status().unwrap();
    assert_eq!((update.trial, update.keys_serial), (None, Some(1)));
    people
        .iter()
        .map(|person| person.name.to_string())
        .collect()
}

#[test]
fn everything_can_be_asked_over_tcp_and_serial_alike() {
    let us = Us::new();
    let over_tcp = FakeDoor::start(None);
    let wire = Wire::new(|_, bytes| bytes);
    let over_serial = FakeDoor::start(Some(&wire));
    let by_tcp = provision(&mut us.reach(&over_tcp, &over_tcp.target()));
    let by_serial = provision(&mut us.reach(&over_serial, &wire.host_end()));
    assert_eq!(by_tcp, by_serial);
}

#[test]
fn hosts_are_listed_page_by_page_and_revoked() {
    let (us, door) = (Us::new(), FakeDoor::start(None));
    let mut client = us.reach(&door, &door.target());
    for n in 1..40 {
        door.knows(PublicKey([n; 32]), Role::Operator);
    }
    assert_eq!(client.hosts().unwrap().len(), 40);
    client.host_revoke(PublicKey([5; 32])).unwrap();
    let error = client.host_revoke(PublicKey([5; 32])).unwrap_err();
    assert_eq!(error.refusal(), Some(&Refusal::UnknownHost));
    let error = client.host_revoke(us.secret().public()).unwrap_err();
    assert_eq!(error.refusal(), Some(&Refusal::LastAdmin));
    assert_eq!(client.hosts().unwrap().len(), 39);
}

#[test]
fn another_door_and_a_host_that_is_not_paired_are_told() {
    let (us, door) = (Us::new(), FakeDoor::start(None));
    // The door's key is another than the one remembered: it cannot even read the first message.
    let credentials = us.known_to(&door);
    door.state().secret = [4; 32];
    let error = Client::connect(&door.target(), &credentials, PATIENCE).map(drop);
    assert_eq!(error.unwrap_err().refusal(), Some(&Refusal::Handshake));
    door.state().secret = [9; 32];

    // Somebody in between makes the answer up.
    door.state().mischief = Mischief::Impostor;
    let error = us.try_reach(&door, &door.target()).map(drop).unwrap_err();
    assert!(matches!(error, Error::Stranger { .. }), "{error}");
    assert_eq!(error.blame(), Blame::Machine);
    door.state().mischief = Mischief::None;

    let stranger = Credentials {
        secret: HostSecret::new([5; 32]),
        door: door.key(),
    };
    let error = Client::connect(&door.target(), &stranger, PATIENCE).map(drop);
    let error = error.unwrap_err();
    assert_eq!(error.refusal(), Some(&Refusal::NotPaired));
    assert!(error.to_string().contains("facelatch pair"), "{error}");
}

#[test]
fn changed_repeated_and_skipped_answers_are_never_taken() {
    let us = Us::new();
    let cases = [
        (Mischief::Tampered, "changed on its way"),
        (Mischief::Replayed, "changed on its way"),
        (Mischief::Skipped, "changed on its way"),
        (Mischief::InClear, "says, unsealed: it is busy"),
        (Mischief::Amnesia, "says, unsealed"),
    ];
    for (mischief, says) in cases {
        let door = FakeDoor::start(None);
        let mut client = us.reach(&door, &door.target());
        assert_eq!(client.door_state().unwrap(), DoorState::Locked);
        door.state().mischief = mischief;
        let error = client.door_state().unwrap_err();
        assert!(error.to_string().contains(says), "{mischief:?}: {error}");
        assert_eq!(error.blame(), Blame::Machine, "{mischief:?}");
    }
}

#[test]
fn a_serial_line_skips_what_does_not_belong_to_the_session_or_gives_up_with_the_reason() {
    let us = Us::new();
    let fails = |mischief| {
        let wire = Wire::new(|_, bytes| bytes);
        let door = FakeDoor::start(Some(&wire));
        let mut client = us.reach(&door, &wire.host_end());
        client.set_patience(Duration::from_millis(500));
        assert_eq!(client.door_state().unwrap(), DoorState::Locked);
        door.state().mischief = mischief;
        client.door_state()
    };
    // A number was skipped: as if noise had swallowed an answer.
    assert_eq!(fails(Mischief::Skipped).unwrap(), DoorState::Locked);
    let error = fails(Mischief::Tampered).unwrap_err();
    assert!(matches!(error, Error::Forged { .. }), "{error}");
    // An old answer is skipped, and no other comes.
    let error = fails(Mischief::Replayed).unwrap_err();
    assert!(matches!(error, Error::Silent { .. }), "{error}");
    let error = fails(Mischief::InClear).unwrap_err();
    assert!(matches!(error, Error::Unsealed { .. }), "{error}");
    let error = fails(Mischief::Amnesia).unwrap_err();
    assert!(matches!(error, Error::Restarted { .. }), "{error}");
    assert!(
        error.to_string().contains("Run the command again"),
        "{error}"
    );
}

#[test]
fn what_must_not_be_done_twice_is_not_repeated_on_a_noisy_line() {
    let us = Us::new();
    let wire = Wire::new(|_, bytes| bytes);
    let door = FakeDoor::start(Some(&wire));
    let mut client = us.reach(&door, &wire.host_end());
    client
        .person_add(id(1), DisplayName::parse("One").unwrap())
        .unwrap();
    door.state().mischief = Mischief::Noise;
    let error = client.person_remove(id(1)).unwrap_err();
    assert!(matches!(error, Error::Garbled { .. }), "{error}");
    // What came too late is skipped.
    assert_eq!(client.people().unwrap(), []);
}

#[test]
fn the_side_with_the_older_version_is_named() {
    let us = Us::new();
    let cases = [
        (1, 1, "update facelatchd on the door"),
        (3, 9, "update this facelatch"),
    ];
    for (lowest, highest, says) in cases {
        let door = FakeDoor::start(None);
        door.state().mischief = Mischief::Versions(lowest, highest);
        let error = us.try_reach(&door, &door.target()).map(drop).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.blame(), Blame::Device);
        let error = pair(&us, &door.target(), &code()).map(drop).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

fn events(count: u64) -> Vec<Event> {
    (1..=count)
        .map(|seq| Event {
            seq,
            unix_ms: 5,
            kind: EventKind::Door(DoorState::Locked),
        })
        .collect()
}

#[test]
fn events_come_in_order_and_the_next_host_is_not_confused_by_them() {
    let us = Us::new();
    let wire = Wire::new(|_, bytes| bytes);
    let door = FakeDoor::start(Some(&wire));
    door.state().events = events(60);
    for target in [wire.host_end(), door.target()] {
        let heard = us.reach(&door, &target).events(11).unwrap();
        let heard: Vec<_> = heard.take(50).map(|event| event.unwrap().seq).collect();
        assert_eq!(heard, (11..=60).collect::<Vec<_>>());
    }
    for _ in 0..5 {
        // A listener that dies leaves a line full of events, and part of one may be read before it goes.
        let mut listener = us.reach(&door, &wire.host_end()).events(1).unwrap();
        assert!(listener.next().unwrap().is_ok());
        drop(listener);
        let mut next = us.reach(&door, &wire.host_end());
        assert_eq!(next.door_state().unwrap(), DoorState::Locked);
    }
}

#[test]
fn half_a_frame_of_the_last_host_does_not_swallow_the_hello() {
    let us = Us::new();
    let wire = Wire::new(|_, bytes| bytes);
    let door = FakeDoor::start(Some(&wire));
    let mut last = wire.host_end().open(PATIENCE).unwrap();
    last.write_all(&[9, 1, 2, 3]).unwrap();
    drop(last);
    // Sooner than a second hello would be sent.
    let soon = Duration::from_millis(800);
    assert!(Client::connect(&wire.host_end(), &us.known_to(&door), soon).is_ok());
}

fn target(address: SocketAddr) -> Target {
    address.to_string().parse().unwrap()
}

#[test]
fn peers_that_are_dead_or_no_doors_are_told_apart() {
    let short = Duration::from_millis(300);
    let credentials = Credentials {
        secret: HostSecret::new([1; 32]),
        door: PublicKey([2; 32]),
    };
    let fails = |target: &Target| Client::connect(target, &credentials, short).err().unwrap();

    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = fails(&target(unused));
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&unused.to_string()), "{error}");

    let error = fails(&"/dev/facelatch-no-such-port".parse().unwrap());
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = fails(&target(silent.local_addr().unwrap()));
    assert!(
        matches!(error, Error::Silent { after, .. } if after == short),
        "{error}"
    );

    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let web_address = web.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = web.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n\0")
            .unwrap();
        stream.read_to_end(&mut Vec::new()).ok();
    });
    let error = fails(&target(web_address));
    assert!(matches!(error, Error::Garbled { .. }), "{error}");

    let wire = Wire::new(|_, bytes| bytes);
    let error = fails(&wire.host_end());
    assert!(matches!(error, Error::Silent { .. }), "{error}");
    assert_eq!(error.blame(), Blame::Machine);
}

#[test]
fn a_door_that_dies_during_a_session_is_noticed() {
    let (us, door) = (Us::new(), FakeDoor::start(None));
    let mut client = us.reach(&door, &door.target());
    let mut events = us.reach(&door, &door.target()).events(0).unwrap();
    drop(door);
    let error = client.status().unwrap_err();
    assert_eq!(error.blame(), Blame::Machine, "{error}");
    assert!(events.next().unwrap().is_err());
    assert!(events.next().is_none());
}
