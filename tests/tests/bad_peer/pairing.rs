//! Peers that want to be paired and should not be: no window, wrong codes, handshakes of others.

use facelatch_protocol::{
    Envelope, PairingCode, Refusal, Request, Response, Role,
    session::{Initiator, Order, Purpose},
};

use crate::{
    Case,
    stage::{End, STRANGER, Stage, wants},
};

fn code(byte: u8) -> PairingCode {
    PairingCode::new([byte; 10])
}

fn pair(stage: &Stage, code: &PairingCode) -> Refusal {
    let mut end = stage.raw();
    let wants = wants(Role::Admin);
    end.pair(&STRANGER, code, &wants, Order::Next).unwrap_err()
}

fn close(stage: &Stage) {
    let closed = stage.admin().ask(Request::PairingClose);
    assert_eq!(closed, Response::Done);
}

/// A host that has shown that it knows the code of a window just opened; its last message is not sent.
fn introduced(stage: &Stage) -> (End, Vec<u8>) {
    let code = stage.open_window(Role::Operator);
    let (mut end, versions) = stage.greeted();
    let (initiator, first) = Initiator::pairing(&STRANGER, &code, versions).unwrap();
    let answer = end.handshake(Purpose::Pairing, &first).unwrap();
    let introduced = initiator.introduce(&answer).unwrap();
    let (last, session) = introduced
        .finish(&wants(Role::Operator), Order::Next)
        .unwrap();
    end.session = Some(session);
    (end, last.to_vec())
}

fn last(end: &mut End, message: &[u8]) -> Refusal {
    end.send_clear(Envelope::Handshake {
        purpose: Purpose::Pairing,
        message: message.iter().copied().collect(),
    });
    match end.reply().body {
        Response::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, want, run| Case { name, want, run };
    vec![
        case("a code without a window", Refusal::PairingClosed, |stage| {
            pair(stage, &code(1))
        }),
        case(
            "a wrong code",
            Refusal::WrongCode { tries_left: 2 },
            |stage| {
                stage.open_window(Role::Operator);
                pair(stage, &code(1))
            },
        ),
        case(
            "a wrong code again",
            Refusal::WrongCode { tries_left: 1 },
            |stage| pair(stage, &code(2)),
        ),
        case(
            "the last wrong code",
            Refusal::WrongCode { tries_left: 0 },
            |stage| pair(stage, &code(3)),
        ),
        case("one more", Refusal::PairingClosed, |stage| {
            pair(stage, &code(4))
        }),
        case("the right code too late", Refusal::PairingClosed, |stage| {
            let code = stage.open_window(Role::Operator);
            close(stage);
            pair(stage, &code)
        }),
        case(
            "an older window's code",
            Refusal::WrongCode { tries_left: 2 },
            |stage| {
                let old = stage.open_window(Role::Operator);
                stage.open_window(Role::Operator);
                let told = pair(stage, &old);
                close(stage);
                told
            },
        ),
        case(
            "noise for a pairing",
            Refusal::WrongCode { tries_left: 2 },
            |stage| {
                stage.open_window(Role::Operator);
                let (mut end, _) = stage.greeted();
                let told = end.handshake(Purpose::Pairing, &[7; 48]).unwrap_err();
                close(stage);
                told
            },
        ),
        case("noise for the last message", Refusal::Handshake, |stage| {
            let (mut end, _) = introduced(stage);
            let told = last(&mut end, &[7; 100]);
            close(stage);
            told
        }),
        case(
            "another pairing's last message",
            Refusal::Handshake,
            |stage| {
                let (_, recorded) = introduced(stage);
                let (mut end, _) = introduced(stage);
                let told = last(&mut end, &recorded);
                close(stage);
                told
            },
        ),
        case(
            "a session's handshake in a pairing",
            Refusal::HelloFirst,
            |stage| {
                let (mut end, _) = introduced(stage);
                let told = end.handshake(Purpose::Session, &[7; 96]).unwrap_err();
                close(stage);
                told
            },
        ),
        case(
            "introduces itself after the window closed",
            Refusal::PairingClosed,
            |stage| {
                let (mut end, message) = introduced(stage);
                close(stage);
                last(&mut end, &message)
            },
        ),
        case(
            "introduces itself to the next window",
            Refusal::PairingClosed,
            |stage| {
                let (mut end, message) = introduced(stage);
                stage.open_window(Role::Operator);
                let told = last(&mut end, &message);
                close(stage);
                told
            },
        ),
        case(
            "knows the code and stops there",
            Refusal::TimedOut,
            |stage| {
                let (mut end, _) = introduced(stage);
                let told = end.refusal();
                close(stage);
                told
            },
        ),
        case(
            "a recorded first message, played again",
            Refusal::Handshake,
            |stage| {
                let code = stage.open_window(Role::Operator);
                let (mut end, versions) = stage.greeted();
                let (_, recorded) = Initiator::pairing(&STRANGER, &code, versions).unwrap();
                end.handshake(Purpose::Pairing, &recorded).unwrap();
                let (mut replay, _) = stage.greeted();
                replay.handshake(Purpose::Pairing, &recorded).unwrap();
                let told = last(&mut replay, &[7; 100]);
                close(stage);
                told
            },
        ),
    ]
}
