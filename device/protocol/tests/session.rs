//! Sessions, both sides in one process: what passes, and that everything else does not.

use facelatch_protocol::{
    DisplayName, Packet, PairingCode, Request, Role, Text,
    session::{
        Initiator, Order, PairRequest, PairingResponder, Responder, Session, SessionError,
        Versions, Welcome, public_key,
    },
};

const HOST: [u8; 32] = [1; 32];
const DOOR: [u8; 32] = [2; 32];
const STRANGER: [u8; 32] = [3; 32];
const VERSIONS: Versions = Versions {
    lowest: 2,
    highest: 2,
    chosen: 2,
};

fn welcome() -> Welcome {
    Welcome {
        device: Text::cut("front door"),
        role: Role::Admin,
    }
}

/// A paired host's session: host's end, door's end.
fn session(order: Order) -> (Session, Session) {
    let (initiator, first) = Initiator::session(&HOST, &public_key(&DOOR), VERSIONS).unwrap();
    let responder = Responder::session(&DOOR, VERSIONS, &first).unwrap();
    assert_eq!(responder.host, public_key(&HOST));
    let (answer, door) = responder.accept(&welcome(), order).unwrap();
    let (host, told) = initiator.finish(&answer, order).unwrap();
    assert_eq!(told, welcome());
    (host, door)
}

fn request(id: u32) -> Packet<Request> {
    Packet {
        id,
        body: Request::Status,
    }
}

#[test]
fn a_paired_host_is_known_and_heard() {
    let (mut host, mut door) = session(Order::Next);
    for id in 1..5 {
        let sealed = host.seal(&request(id)).unwrap();
        assert_eq!(door.open::<Request>(&sealed), Ok(request(id)));
        let sealed = door.seal(&request(id)).unwrap();
        assert_eq!(host.open::<Request>(&sealed), Ok(request(id)));
    }
}

#[test]
fn a_handshake_for_another_door_or_with_changed_bytes_or_versions_fails() {
    let (_, first) = Initiator::session(&HOST, &public_key(&STRANGER), VERSIONS).unwrap();
    let failed = Responder::session(&DOOR, VERSIONS, &first).map(|_| ());
    assert_eq!(failed, Err(SessionError::Handshake), "another door");

    let (_, first) = Initiator::session(&HOST, &public_key(&DOOR), VERSIONS).unwrap();
    for at in 0..first.len() {
        let mut changed = first.clone();
        changed[at] ^= 0x10;
        let failed = Responder::session(&DOOR, VERSIONS, &changed).map(|_| ());
        assert_eq!(failed, Err(SessionError::Handshake), "byte {at} changed");
        let failed = Responder::session(&DOOR, VERSIONS, &first[..at]).map(|_| ());
        assert_eq!(failed, Err(SessionError::Handshake), "cut at {at}");
    }
    let lowered = Versions {
        highest: 3,
        ..VERSIONS
    };
    let failed = Responder::session(&DOOR, lowered, &first).map(|_| ());
    assert_eq!(failed, Err(SessionError::Handshake), "other versions");
}

#[test]
fn the_doors_answer_cannot_be_changed_or_made_by_another() {
    let (initiator, first) = Initiator::session(&HOST, &public_key(&DOOR), VERSIONS).unwrap();
    let responder = Responder::session(&DOOR, VERSIONS, &first).unwrap();
    let (mut answer, _) = responder.accept(&welcome(), Order::Next).unwrap();
    let last = answer.len() - 1;
    answer[last] ^= 1;
    let failed = initiator.finish(&answer, Order::Next).map(|_| ());
    assert_eq!(failed, Err(SessionError::Handshake));
}

#[test]
fn replayed_reordered_and_changed_messages_are_refused_and_change_nothing() {
    let (mut host, mut door) = session(Order::Next);
    let sealed: Vec<_> = (1..=3).map(|id| host.seal(&request(id)).unwrap()).collect();
    let order = |expected, found| Err(SessionError::Order { expected, found });
    assert_eq!(door.open::<Request>(&sealed[1]), order(0, 1), "ahead");
    assert_eq!(door.open::<Request>(&sealed[0]), Ok(request(1)));
    assert_eq!(door.open::<Request>(&sealed[0]), order(1, 0), "replayed");
    for at in 0..sealed[1].bytes.len() {
        let mut changed = sealed[1].clone();
        changed.bytes[at] ^= 1;
        assert_eq!(door.open::<Request>(&changed), Err(SessionError::Seal));
    }
    let mut renumbered = sealed[0].clone();
    renumbered.nonce = 1;
    assert_eq!(door.open::<Request>(&renumbered), Err(SessionError::Seal));
    assert_eq!(door.open::<Request>(&sealed[1]), Ok(request(2)));
    let (mut other, _) = session(Order::Next);
    for _ in 0..3 {
        let foreign = other.seal(&request(9)).unwrap();
        assert!(door.open::<Request>(&foreign).is_err(), "another session's");
    }
    assert_eq!(door.open::<Request>(&sealed[2]), Ok(request(3)));
}

#[test]
fn a_serial_line_may_lose_messages_but_none_comes_twice() {
    let (mut host, mut door) = session(Order::Growing);
    let sealed: Vec<_> = (1..=3).map(|id| host.seal(&request(id)).unwrap()).collect();
    assert_eq!(door.open::<Request>(&sealed[1]), Ok(request(2)));
    let late = SessionError::Order {
        expected: 2,
        found: 0,
    };
    assert_eq!(door.open::<Request>(&sealed[0]), Err(late));
    assert_eq!(door.open::<Request>(&sealed[2]), Ok(request(3)));
}

#[test]
fn pairing_tells_each_the_others_key_and_only_with_the_code() {
    let code = PairingCode::new([9; 10]);
    let wanted = PairRequest {
        name: DisplayName::parse("office laptop").unwrap(),
        role: Role::Admin,
        keys: None,
    };
    let (initiator, first) = Initiator::pairing(&HOST, &code, VERSIONS).unwrap();
    let wrong = PairingCode::new([8; 10]);
    let failed = PairingResponder::begin(&DOOR, &wrong, VERSIONS, &first, &welcome()).map(|_| ());
    assert_eq!(failed, Err(SessionError::WrongCode));

    let (responder, answer) =
        PairingResponder::begin(&DOOR, &code, VERSIONS, &first, &welcome()).unwrap();
    let introduced = initiator.introduce(&answer).unwrap();
    assert_eq!(introduced.door, public_key(&DOOR));
    assert_eq!(introduced.welcome, welcome());
    let (last, mut host) = introduced.finish(&wanted, Order::Next).unwrap();
    let (key, request_made, mut door) = responder.finish(&last, Order::Next).unwrap();
    assert_eq!((key, request_made), (public_key(&HOST), wanted));
    let sealed = host.seal(&request(1)).unwrap();
    assert_eq!(door.open::<Request>(&sealed), Ok(request(1)));
}
