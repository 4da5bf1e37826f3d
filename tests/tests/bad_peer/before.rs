//! Peers that are nobody: noise, other protocols, handshakes that do not hold, nothing at all.

use std::{io::Write, time::Duration};

use facelatch_protocol::{
    Envelope, EnvelopeReply, MAX_ENVELOPE, Packet, PairingCode, PublicKey, Refusal, Request,
    session::{Initiator, MAX_HANDSHAKE, Order, Purpose, Sealed, Versions, public_key},
};

use crate::{
    Case,
    far_end::{DEADLINE, HELLO},
    stage::{ADMIN, End, STRANGER, Stage},
};

/// What these bytes, sent first, are told.
fn told(stage: &Stage, bytes: &[u8]) -> Refusal {
    let mut end = stage.raw();
    end.stream.write_all(bytes).unwrap();
    end.refusal()
}

fn told_envelope(stage: &Stage, envelope: Envelope) -> Refusal {
    let mut end = stage.raw();
    end.send_clear(envelope);
    end.refusal()
}

/// What a first handshake message is told.
fn told_handshake(stage: &Stage, purpose: Purpose, message: &[u8]) -> Refusal {
    let (mut end, _) = stage.greeted();
    end.handshake(purpose, message).unwrap_err()
}

/// A good first message to a door with this key.
fn first(versions: Versions, door: &PublicKey) -> Vec<u8> {
    let (_, first) = Initiator::session(&ADMIN, door, versions).unwrap();
    first.to_vec()
}

fn changed(stage: &Stage, change: impl FnOnce(&mut Vec<u8>)) -> Refusal {
    let (mut end, versions) = stage.greeted();
    let mut message = first(versions, &stage.key);
    change(&mut message);
    end.handshake(Purpose::Session, &message).unwrap_err()
}

fn hello(lowest: u16, highest: u16) -> Envelope {
    Envelope::Hello { lowest, highest }
}

const VERSION: Refusal = Refusal::Version {
    lowest: 2,
    highest: 2,
};

fn sealed(bytes: &[u8]) -> Envelope {
    Envelope::Sealed(Sealed {
        nonce: 0,
        bytes: bytes.iter().copied().collect(),
    })
}

/// A frame of any message, whole and with a right checksum.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let crc = crc32fast::hash(message).to_le_bytes();
    let plain = [message, &crc].concat();
    let mut frame = cobs::encode_vec(&plain);
    frame.push(0);
    frame
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, want, run| Case { name, want, run };
    vec![
        case("says nothing", Refusal::TimedOut, |stage| {
            stage.raw().refusal()
        }),
        case("stops within a frame", Refusal::TimedOut, |stage| {
            told(stage, &[9, 1, 2])
        }),
        case("a byte now and then", Refusal::TimedOut, |stage| {
            let mut end = stage.raw();
            loop {
                // Written to a door that has hung up: its word is still there to be read.
                let _ = end.stream.write_all(&[0x55]);
                if let Some(answer) = end.try_clear(Duration::from_millis(60)).unwrap() {
                    break match answer.body {
                        EnvelopeReply::Refused(refusal) => refusal,
                        other => panic!("{other:?}"),
                    };
                }
            }
        }),
        case("only zeros", Refusal::TimedOut, |stage| {
            told(stage, &[0; 4096])
        }),
        case("greets and waits", Refusal::TimedOut, |stage| {
            stage.greeted().0.refusal()
        }),
        case("HTTP", Refusal::HelloFirst, |stage| {
            told(stage, b"GET / HTTP/1.1\r\nHost: door\r\n\r\n\0")
        }),
        case("TLS", Refusal::HelloFirst, |stage| {
            told(
                stage,
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x9e\x8e\0",
            )
        }),
        case("SSH", Refusal::HelloFirst, |stage| {
            told(stage, b"SSH-2.0-OpenSSH_9.6\r\n\0")
        }),
        case("coded badly", Refusal::HelloFirst, |stage| {
            told(stage, b"\xff\x01\x02\0")
        }),
        case("a wrong checksum", Refusal::HelloFirst, |stage| {
            let mut frame = framed(&[1, 0, 2, 2]);
            frame[2] ^= 1;
            told(stage, &frame)
        }),
        case(
            "a checksum and nothing else",
            Refusal::HelloFirst,
            |stage| told(stage, &framed(&[])),
        ),
        case("an unknown envelope", Refusal::HelloFirst, |stage| {
            told(stage, &framed(&[1, 9]))
        }),
        case("more than an envelope", Refusal::HelloFirst, |stage| {
            told(stage, &framed(&[1, 0, 2, 2, 7]))
        }),
        case("a frame too long", Refusal::TooLong, |stage| {
            told(stage, &framed(&vec![7; MAX_ENVELOPE + 100]))
        }),
        case("a frame without end", Refusal::TimedOut, |stage| {
            told(stage, &[7; 100_000])
        }),
        case("only older versions", VERSION, |stage| {
            told_envelope(stage, hello(1, 1))
        }),
        case("only newer versions", VERSION, |stage| {
            told_envelope(stage, hello(3, 900))
        }),
        case("versions the wrong way round", VERSION, |stage| {
            told_envelope(stage, hello(9, 1))
        }),
        case(
            "a request in clear, as in version 1",
            Refusal::HelloFirst,
            |stage| {
                let mut bytes = [0; 64];
                let request = Packet {
                    id: 1,
                    body: Request::Status,
                };
                told(
                    stage,
                    &framed(postcard::to_slice(&request, &mut bytes).unwrap()),
                )
            },
        ),
        case("a handshake first", Refusal::HelloFirst, |stage| {
            let message = [7; 96].into_iter().collect();
            let purpose = Purpose::Session;
            told_envelope(stage, Envelope::Handshake { purpose, message })
        }),
        case("something sealed first", Refusal::HelloFirst, |stage| {
            told_envelope(stage, sealed(&[7; 40]))
        }),
        case(
            "something sealed before a handshake",
            Refusal::HelloFirst,
            |stage| {
                let (mut end, _) = stage.greeted();
                end.send_clear(sealed(&[7; 40]));
                end.refusal()
            },
        ),
        case("an empty handshake", Refusal::Handshake, |stage| {
            told_handshake(stage, Purpose::Session, &[])
        }),
        case(
            "a handshake of zeros: a point of low order",
            Refusal::Handshake,
            |stage| told_handshake(stage, Purpose::Session, &[0; 96]),
        ),
        case(
            "the longest handshake, of noise",
            Refusal::Handshake,
            |stage| told_handshake(stage, Purpose::Session, &[0xa5; MAX_HANDSHAKE]),
        ),
        case("a handshake too long", Refusal::Malformed, |stage| {
            let (mut end, _) = stage.greeted();
            let mut message = vec![1, 1, 0, 0xc1, 0x02];
            message.extend([7; 321]);
            end.stream.write_all(&framed(&message)).unwrap();
            end.refusal()
        }),
        case("a handshake cut short", Refusal::Handshake, |stage| {
            changed(stage, |message| message.truncate(95))
        }),
        case(
            "a handshake with a byte more",
            Refusal::Handshake,
            |stage| changed(stage, |message| message.push(1)),
        ),
        case("a changed ephemeral key", Refusal::Handshake, |stage| {
            changed(stage, |message| message[3] ^= 1)
        }),
        case("a changed static key", Refusal::Handshake, |stage| {
            changed(stage, |message| message[40] ^= 1)
        }),
        case("a changed seal", Refusal::Handshake, |stage| {
            changed(stage, |message| *message.last_mut().unwrap() ^= 0x80)
        }),
        case(
            "a handshake for another door",
            Refusal::Handshake,
            |stage| {
                let (mut end, versions) = stage.greeted();
                let message = first(versions, &public_key(&STRANGER));
                end.handshake(Purpose::Session, &message).unwrap_err()
            },
        ),
        case("versions changed on the way", Refusal::Handshake, |stage| {
            let (mut end, versions) = stage.greeted();
            let lied = Versions {
                highest: 3,
                ..versions
            };
            let message = first(lied, &stage.key);
            end.handshake(Purpose::Session, &message).unwrap_err()
        }),
        case("a key nobody paired", Refusal::NotPaired, |stage| {
            let mut end = stage.raw();
            end.open(&STRANGER, &stage.key, Order::Next).unwrap_err()
        }),
        case("the door's own key", Refusal::NotPaired, |stage| {
            // Whoever knows the door's public key knows no secret of it: any other key is a stranger's.
            let mut end = stage.raw();
            end.open(&stage.key.0, &stage.key, Order::Next).unwrap_err()
        }),
        case(
            "a recorded handshake played again",
            Refusal::Sealed,
            |stage| {
                let (mut end, versions) = stage.greeted();
                let recorded = first(versions, &stage.key);
                end.handshake(Purpose::Session, &recorded).unwrap();
                let mut replay: End = stage.raw();
                replay.hello().unwrap();
                // It is answered, with an answer only the one who made the message can read; nothing can be asked.
                replay.handshake(Purpose::Session, &recorded).unwrap();
                replay.send_clear(sealed(&[7; 40]));
                replay.refusal()
            },
        ),
        case(
            "a pairing handshake as a session's",
            Refusal::Handshake,
            |stage| {
                let (mut end, versions) = stage.greeted();
                let code = PairingCode::new([7; 10]);
                let (_, message) = Initiator::pairing(&STRANGER, &code, versions).unwrap();
                end.handshake(Purpose::Session, &message).unwrap_err()
            },
        ),
        case(
            "greets twice, then something sealed",
            Refusal::HelloFirst,
            |stage| {
                let (mut end, _) = stage.greeted();
                end.hello().unwrap();
                end.send_clear(sealed(&[]));
                end.refusal()
            },
        ),
        case("keeps greeting", Refusal::TimedOut, |stage| {
            let mut end = stage.raw();
            loop {
                // Written to a door that has hung up: its word is still there to be read.
                let _ = end.write(1, HELLO);
                match end.try_clear(DEADLINE).unwrap().unwrap().body {
                    EnvelopeReply::Refused(refusal) => break refusal,
                    EnvelopeReply::Hello { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }),
    ]
}
