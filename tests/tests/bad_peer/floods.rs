//! Many at once: connections, handshakes, requests, a listener that never listens. The same floods, with a clock beside
//! them, are in the benchmark `latency`.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use facelatch_protocol::{
    Envelope, EnvelopeReply, Refusal, Request, Response,
    session::{Purpose, Sealed},
};

use crate::{
    Case,
    far_end::{DEADLINE, HELLO},
    stage::{End, Stage},
};

/// Connections, handshakes or requests of a flood.
const MANY: usize = 200;

/// Asks again until there is a seat: others may just be leaving.
fn seated(stage: &Stage) -> End {
    let since = Instant::now();
    loop {
        let mut end = stage.raw();
        // Turned away, the line is closed under the hello.
        let answer = match end.write(1, HELLO) {
            Ok(()) => end.try_clear(DEADLINE).ok().flatten(),
            Err(_) => None,
        };
        if answer.is_some_and(|answer| matches!(answer.body, EnvelopeReply::Hello { .. })) {
            return end;
        }
        assert!(since.elapsed() < DEADLINE, "no seat is left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, want, run| Case { name, want, run };
    vec![
        case(
            "half-open connections by the hundred",
            Refusal::Busy,
            |stage| {
                // Who has a seat keeps it for a second; whoever comes meanwhile is told that there is none.
                let mut taken: Vec<End> = (0..8).map(|_| stage.raw()).collect();
                let mut told = Refusal::TimedOut;
                while told != Refusal::Busy && taken.len() < MANY {
                    let mut end = stage.raw();
                    if let Ok(Some(answer)) = end.try_clear(Duration::from_millis(50)) {
                        match answer.body {
                            EnvelopeReply::Refused(refusal) => told = refusal,
                            other => panic!("{other:?}"),
                        }
                    }
                    taken.push(end);
                }
                drop(taken);
                seated(stage);
                told
            },
        ),
        case("handshakes by the hundred", Refusal::Handshake, |stage| {
            let mut told = Refusal::Busy;
            for _ in 0..MANY / 4 {
                let mut end = seated(stage);
                end.send_clear(Envelope::Handshake {
                    purpose: Purpose::Session,
                    message: [9; 96].into_iter().collect(),
                });
                told = end.refusal();
            }
            told
        }),
        case("sealed noise by the hundred", Refusal::Sealed, |stage| {
            let mut end = stage.operator();
            for nonce in 0..MANY as u64 {
                let bytes = [7; 3_000].into_iter().collect();
                // The first one ends the connection; the rest fall on deaf ears.
                if end
                    .write(0, Envelope::Sealed(Sealed { nonce, bytes }))
                    .is_err()
                {
                    break;
                }
            }
            end.refusal()
        }),
        case(
            "requests without end, no answer read",
            Refusal::UnknownPerson,
            |stage| {
                let mut end = stage.operator();
                for _ in 0..MANY {
                    end.send(Request::Status);
                }
                drop(end);
                let mut next = stage.operator();
                let person = facelatch_protocol::PersonId::parse("nobody").unwrap();
                match next.ask(Request::PersonRemove { person }) {
                    Response::Refused(refusal) => refusal,
                    other => panic!("{other:?}"),
                }
            },
        ),
        case(
            "listeners that never listen",
            Refusal::UnknownPerson,
            |stage| {
                let deaf: Vec<End> = (0..4)
                    .map(|_| {
                        let mut end = stage.operator();
                        end.send(Request::EventsSubscribe { from_seq: 1 });
                        end
                    })
                    .collect();
                stage.wait_for_frame_after(stage.status().frames + 3);
                drop(deaf);
                let mut next = stage.operator();
                let person = facelatch_protocol::PersonId::parse("nobody").unwrap();
                match next.ask(Request::PersonRemove { person }) {
                    Response::Refused(refusal) => refusal,
                    other => panic!("{other:?}"),
                }
            },
        ),
        case("a megabyte of noise", Refusal::TooLong, |stage| {
            let mut end = stage.operator();
            let mut noise = vec![7; 1 << 20];
            noise.push(0);
            // The door may hang up before it is all written.
            let _ = end.stream.write_all(&noise);
            end.refusal()
        }),
    ]
}
