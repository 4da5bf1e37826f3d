//! Handshakes with a peer that sends anything: garbage, a good message changed in one byte, or, being paired or knowing the
//! code, a good message about nonsense.
//!
//! The peer is made of the Noise library itself, so that it can say what this product's own side never would.

use facelatch_protocol::{
    Packet, PairingCode, Request, Response, Role, Text,
    session::{
        Initiator, MAX_HANDSHAKE, MAX_SEALED, Order, PairingResponder, Responder, Sealed, Session,
        SessionError, Versions, Welcome, public_key,
    },
};
use snow::HandshakeState;

const HOST: [u8; 32] = [5; 32];
const DOOR: [u8; 32] = [7; 32];
const VERSIONS: Versions = Versions {
    lowest: 2,
    highest: 2,
    chosen: 2,
};
const PROLOGUES: [&[u8; 17]; 2] = [
    b"facelatch\0s\x02\0\x02\0\x02\0",
    b"facelatch\0p\x02\0\x02\0\x02\0",
];
/// Longest payload of any handshake message: what its keys and tags leave.
const MAX_PAYLOAD: usize = MAX_HANDSHAKE - 128;

/// Who sends what is said by the first byte.
pub fn handshake(data: &[u8]) {
    let [kind, data @ ..] = data else { return };
    match kind % 9 {
        0 => garbage_to_a_door(data),
        1 => garbage_to_a_pairing_door(data),
        2 => garbage_to_a_host(data),
        3 => garbage_to_a_pairing_host(data),
        4 => nonsense_of_a_paired_host(data),
        5 => nonsense_of_a_pairing_host(data),
        6 => nonsense_of_a_door(data),
        7 => nonsense_of_a_pairing_door(data),
        _ => one_wrong_byte(data),
    }
}

fn code() -> PairingCode {
    PairingCode::new([3; 10])
}

fn welcome() -> Welcome {
    Welcome {
        device: Text::cut("door"),
        role: Role::Admin,
    }
}

fn garbage_to_a_door(data: &[u8]) {
    if let Ok(responder) = Responder::session(&DOOR, VERSIONS, data) {
        let _ = responder.accept(&welcome(), Order::Next);
    }
}

fn garbage_to_a_pairing_door(data: &[u8]) {
    let begun = PairingResponder::begin(&DOOR, &code(), VERSIONS, data, &welcome());
    if let Ok((responder, _)) = begun {
        let _ = responder.finish(data, Order::Next);
    }
}

fn garbage_to_a_host(data: &[u8]) {
    let (host, _) = Initiator::session(&HOST, &public_key(&DOOR), VERSIONS).expect("a good key");
    assert!(host.finish(data, Order::Next).is_err());
}

fn garbage_to_a_pairing_host(data: &[u8]) {
    let (host, _) = Initiator::pairing(&HOST, &code(), VERSIONS).expect("randomness");
    // The door's first answer holds nothing secret of the host: an answer may fit by luck only.
    assert!(host.introduce(data).is_err());
}

fn nonsense_of_a_paired_host(data: &[u8]) {
    let mut peer = paired_peer();
    let payload = &data[..data.len().min(MAX_PAYLOAD)];
    let first = said(&mut peer, payload);
    let door = Responder::session(&DOOR, VERSIONS, &first).expect("a good first message");
    assert_eq!(door.host, public_key(&HOST));
    let (answer, mut session) = door.accept(&welcome(), Order::Next).expect("a good answer");
    let mut heard = [0; MAX_HANDSHAKE];
    peer.read_message(&answer, &mut heard).expect("it is read");
    under_seal(peer, &mut session, data);
}

fn nonsense_of_a_pairing_host(data: &[u8]) {
    let mut peer = pairing_peer();
    let first = said(&mut peer, &[]);
    let begun = PairingResponder::begin(&DOOR, &code(), VERSIONS, &first, &welcome());
    let (door, answer) = begun.expect("a good first message");
    let mut heard = [0; MAX_HANDSHAKE];
    peer.read_message(&answer, &mut heard).expect("it is read");
    let last = said(&mut peer, &data[..data.len().min(MAX_PAYLOAD)]);
    match door.finish(&last, Order::Growing) {
        Ok((key, _, mut session)) => {
            assert_eq!(key, public_key(&HOST));
            under_seal(peer, &mut session, data);
        }
        Err(error) => assert_eq!(error, SessionError::Message),
    }
}

fn nonsense_of_a_door(data: &[u8]) {
    let (host, first) =
        Initiator::session(&HOST, &public_key(&DOOR), VERSIONS).expect("a good key");
    let mut peer = peer("Noise_IK_25519_ChaChaPoly_BLAKE2s", PROLOGUES[0], &DOOR)
        .build_responder()
        .expect("a good pattern");
    peer.read_message(&first, &mut [0; MAX_HANDSHAKE])
        .expect("it is read");
    let answer = said(&mut peer, &data[..data.len().min(MAX_PAYLOAD)]);
    match host.finish(&answer, Order::Next) {
        Ok((mut session, _)) => under_seal(peer, &mut session, data),
        Err(error) => assert_eq!(error, SessionError::Message),
    }
}

fn nonsense_of_a_pairing_door(data: &[u8]) {
    let (host, first) = Initiator::pairing(&HOST, &code(), VERSIONS).expect("randomness");
    let psk = code().psk();
    let mut peer = peer("Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s", PROLOGUES[1], &DOOR)
        .psk(0, &psk)
        .and_then(snow::Builder::build_responder)
        .expect("a good pattern");
    peer.read_message(&first, &mut [0; MAX_HANDSHAKE])
        .expect("it is read");
    let answer = said(&mut peer, &data[..data.len().min(MAX_PAYLOAD)]);
    match host.introduce(&answer) {
        Ok(introduced) => assert_eq!(introduced.door, public_key(&DOOR)),
        Err(error) => assert_eq!(error, SessionError::Message),
    }
}

/// A good first message, one byte of it changed: where, and how, the data says.
fn one_wrong_byte(data: &[u8]) {
    let [at, mask, ..] = data else { return };
    for (mut peer, is_pairing) in [(paired_peer(), false), (pairing_peer(), true)] {
        let mut first = said(&mut peer, &[]);
        let at = usize::from(*at) % first.len();
        // The top bit of an X25519 key does not count, but the handshake's hash covers it.
        first[at] ^= (*mask).max(1);
        let refused = if is_pairing {
            PairingResponder::begin(&DOOR, &code(), VERSIONS, &first, &welcome()).is_err()
        } else {
            Responder::session(&DOOR, VERSIONS, &first).is_err()
        };
        assert!(refused, "byte {at} of the first message was changed");
    }
}

/// A session whose peer seals anything: it opens once, as what it is, and never again.
fn under_seal(peer: HandshakeState, session: &mut Session, data: &[u8]) {
    let peer = peer
        .into_stateless_transport_mode()
        .expect("the handshake is over");
    let plain = &data[..data.len().min(MAX_SEALED - 16)];
    let mut bytes = [0; MAX_SEALED];
    let len = peer.write_message(0, plain, &mut bytes).expect("it fits");
    let mut sealed = Sealed {
        nonce: 0,
        bytes: bytes[..len].iter().copied().collect(),
    };
    if let Some(byte) = sealed.bytes.first_mut() {
        *byte ^= 1;
        let opened = session.open::<Packet<Request>>(&sealed);
        assert_eq!(opened.err(), Some(SessionError::Seal));
    }
    if let Some(byte) = sealed.bytes.first_mut() {
        *byte ^= 1;
    }
    match session.open::<Packet<Request>>(&sealed) {
        Ok(_) | Err(SessionError::Message) => {}
        Err(error) => panic!("a good seal is refused: {error}"),
    }
    let again = session.open::<Packet<Response>>(&sealed);
    assert!(matches!(again, Err(SessionError::Order { .. })));
}

fn paired_peer() -> HandshakeState {
    let door = public_key(&DOOR);
    peer("Noise_IK_25519_ChaChaPoly_BLAKE2s", PROLOGUES[0], &HOST)
        .remote_public_key(&door.0)
        .and_then(snow::Builder::build_initiator)
        .expect("a good pattern")
}

fn pairing_peer() -> HandshakeState {
    let psk = code().psk();
    peer("Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s", PROLOGUES[1], &HOST)
        .psk(0, &psk)
        .and_then(snow::Builder::build_initiator)
        .expect("a good pattern")
}

fn peer<'a>(pattern: &str, prologue: &'a [u8], own: &'a [u8; 32]) -> snow::Builder<'a> {
    snow::Builder::new(pattern.parse().expect("a good pattern"))
        .local_private_key(own)
        .and_then(|builder| builder.prologue(prologue))
        .expect("nothing is set twice")
}

fn said(peer: &mut HandshakeState, payload: &[u8]) -> Vec<u8> {
    let mut message = [0; 1024];
    let len = peer
        .write_message(payload, &mut message)
        .expect("the payload fits");
    message[..len].to_vec()
}
