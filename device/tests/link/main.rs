//! The link over real sockets and pseudo-terminals, against a stand-in for the device's loop: rules of a session, roles,
//! bounded sessions, events, a port that vanishes. Pairing is in `door`, hostile peers in the workspace's `bad_peer`,
//! bundles in `store` and in the host's tests.

#[path = "../far_end/mod.rs"]
mod far_end;
mod host;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{Duration, Instant},
};

use facelatch_device::link::{Ask, Call, Config, EventSink, Link, Peer, Routes, needed};
use facelatch_protocol::{
    DoorState, Envelope, EnvelopeReply, Event, EventKind, Packet, Refusal, Reply, Request,
    Response, Role, Text,
    session::{Order, public_key},
};

use self::{
    far_end::{DEADLINE, FarEnd, HELLO},
    host::{
        ADMIN, OPERATOR, Paired, STRANGER, admin, locked, pty, refused_and_ended, serial_admin, tcp,
    },
};

fn config() -> Config {
    Config {
        tcp_listen: "127.0.0.1:0".to_owned(),
        ..Config::default()
    }
}

/// A link whose calls arrive at a channel the test reads.
fn start(config: &Config) -> (Link, Paired, Receiver<Call>) {
    let (sender, calls) = sync_channel(8);
    let routes = Routes {
        device: sender.clone(),
        bundles: sender,
    };
    let paired = Paired::new();
    let link = Link::start(config, "test door", paired.hosts.clone(), routes).unwrap();
    (link, paired, calls)
}

/// A link whose door state is always "locked" and which refuses everything else.
fn start_answering(config: &Config) -> (Link, Paired) {
    let (link, paired, calls) = start(config);
    thread::spawn(move || {
        for call in calls {
            let response = match call.ask {
                Ask::Request(Request::DoorState) => Response::Door(DoorState::Locked),
                _ => Response::Refused(Refusal::NotAllowed),
            };
            call.reply.send(response).ok();
        }
    });
    (link, paired)
}

#[test]
fn a_session_over_tcp_and_over_a_serial_line() {
    let (mut serial, _far, path) = pty();
    let (link, paired) = start_answering(&Config {
        serial_port: Some(path.into()),
        ..config()
    });

    let mut over_tcp = tcp(&link);
    let welcome = over_tcp.open(&ADMIN, &paired.door(), Order::Next).unwrap();
    assert_eq!((&*welcome.device, welcome.role), ("test door", Role::Admin));
    locked(&mut over_tcp);
    assert_eq!(over_tcp.ask(Request::Goodbye), Response::Done);
    over_tcp.expect_end();

    serial_admin(&mut serial, &paired);
    locked(&mut serial);
    // The line stays, the session does not.
    assert_eq!(serial.ask(Request::Goodbye), Response::Done);
    serial.send(Request::DoorState);
    assert_eq!(serial.refusal(), Refusal::HelloFirst);
    serial_admin(&mut serial, &paired);
    locked(&mut serial);
}

#[test]
fn a_call_names_its_peer_and_goes_its_route() {
    let (device, device_calls) = sync_channel(8);
    let (bundles, bundle_calls) = sync_channel(8);
    let paired = Paired::new();
    let routes = Routes { device, bundles };
    let link = Link::start(&config(), "door", paired.hosts.clone(), routes).unwrap();
    let mut host = admin(&link, &paired);
    let address = host.stream.local_addr().unwrap();

    for (request, calls) in [
        (Request::BundleStatus, &bundle_calls),
        (Request::Status, &device_calls),
    ] {
        let id = host.send(request.clone());
        let call = calls.recv_timeout(DEADLINE).unwrap();
        assert_eq!(
            (call.peer, call.host),
            (Peer::Tcp(address), Some(public_key(&ADMIN)))
        );
        assert!(matches!(call.ask, Ask::Request(asked) if asked == request));
        call.reply.send(Response::Done).unwrap();
        let body = Response::Done;
        assert_eq!(host.reply(), Reply { id, body });
    }
}

#[test]
fn what_comes_before_a_session_is_refused_and_ends_the_connection() {
    let (link, paired) = start_answering(&config());
    let mut unsealed = tcp(&link);
    unsealed.send_clear(Envelope::Handshake {
        purpose: facelatch_protocol::session::Purpose::Session,
        message: [7; 96].into_iter().collect(),
    });
    refused_and_ended(unsealed, &Refusal::HelloFirst, "a handshake without hello");

    let mut strange = tcp(&link);
    strange.send_clear(Envelope::Hello {
        lowest: 7,
        highest: 9,
    });
    let refusal = Refusal::Version {
        lowest: 2,
        highest: 2,
    };
    refused_and_ended(strange, &refusal, "versions");

    // An HTTP client, a port scanner.
    let mut foreign = tcp(&link);
    foreign
        .stream
        .write_all(b"GET / HTTP/1.1\r\n\r\n\0")
        .unwrap();
    refused_and_ended(foreign, &Refusal::HelloFirst, "another protocol");

    let mut newer = tcp(&link);
    newer.send_clear(Envelope::Hello {
        lowest: 1,
        highest: 40,
    });
    let answer = newer.try_clear(DEADLINE).unwrap();
    assert!(matches!(
        answer,
        Some(Packet {
            body: EnvelopeReply::Hello { version: 2, .. },
            ..
        })
    ));

    let mut unknown = tcp(&link);
    let refused = unknown.open(&STRANGER, &paired.door(), Order::Next);
    assert_eq!(refused, Err(Refusal::NotPaired));
    unknown.expect_end();
    let mut misled = tcp(&link);
    let refused = misled.open(&ADMIN, &public_key(&STRANGER), Order::Next);
    assert_eq!(refused, Err(Refusal::Handshake));
    misled.expect_end();
}

#[test]
fn a_role_is_asked_for_before_anybody_hears_the_request() {
    let (link, paired, calls) = start(&config());
    let mut operator = tcp(&link);
    let welcome = operator.open(&OPERATOR, &paired.door(), Order::Next);
    assert_eq!(welcome.unwrap().role, Role::Operator);
    let request = Request::TimeSync { unix_ms: 1 };
    assert_eq!(needed(&request), Role::Admin);
    let refused = Refusal::Role {
        needed: Role::Admin,
    };
    assert_eq!(operator.ask(request), Response::Refused(refused));
    assert!(calls.try_recv().is_err());
}

#[test]
fn a_damaged_or_endless_frame_is_refused() {
    let (link, paired) = start_answering(&config());
    let endless = [&[0x55; 20_000][..], &[0]].concat();
    let cases = [
        (b"\x02garbage\0".as_slice(), Refusal::Malformed),
        (&endless, Refusal::TooLong),
    ];
    for (garbage, refusal) in cases {
        let mut host = admin(&link, &paired);
        host.stream.write_all(garbage).unwrap();
        refused_and_ended(host, &refusal, "within a session");
    }
}

#[test]
fn noise_on_a_serial_line_is_skipped() {
    let (mut serial, _far, path) = pty();
    let (_link, paired) = start_answering(&Config {
        serial_port: Some(path.into()),
        tcp_listen: String::new(),
        ..config()
    });
    // Boot messages, then half a frame of an earlier session, ended by the zero that every host sends first.
    let noise = [&b"U-Boot 2023.01\r\nlogin: \0"[..], &[0x33; 9_000], &[0]].concat();
    serial.stream.write_all(&noise).unwrap();
    serial_admin(&mut serial, &paired);

    // Within a session, the peer is told, and may send again.
    serial.stream.write_all(b"\x02zzz\0").unwrap();
    assert_eq!(serial.refusal(), Refusal::Malformed);
    locked(&mut serial);
}

#[test]
fn half_a_frame_on_a_serial_line_is_forgotten_in_time() {
    let (mut serial, _far, path) = pty();
    let (_link, paired) = start_answering(&Config {
        serial_port: Some(path.into()),
        tcp_listen: String::new(),
        frame_timeout_ms: 500,
        ..config()
    });
    serial.stream.write_all(&[9, 1, 2, 3]).unwrap();
    let silence = serial.try_clear(Duration::from_secs(2)).unwrap();
    assert_eq!(silence, None);
    // No zero in front: only a device that has forgotten the half frame understands this.
    serial_admin(&mut serial, &paired);
}

#[test]
fn requests_sent_together_are_answered_in_order() {
    let (link, paired) = start_answering(&config());
    let mut host = admin(&link, &paired);
    let ids = [Request::DoorState, Request::Status, Request::DoorState].map(|r| host.send(r));
    let answers = ids.map(|_| host.reply());
    assert_eq!(answers.each_ref().map(|reply| reply.id), ids);
    assert_eq!(answers[1].body, Response::Refused(Refusal::NotAllowed));
    assert_eq!(answers[2].body, Response::Door(DoorState::Locked));
}

#[test]
fn a_frame_that_never_ends_ends_the_connection() {
    let (link, paired) = start_answering(&Config {
        frame_timeout_ms: 1_000,
        ..config()
    });
    let mut host = admin(&link, &paired);
    host.stream.write_all(&[3, 1]).unwrap();
    refused_and_ended(host, &Refusal::TimedOut, "half a frame");
    // Nor may a stranger sit there silently, or keep saying hello.
    refused_and_ended(tcp(&link), &Refusal::TimedOut, "silence");
    let mut polite = tcp(&link);
    let since = Instant::now();
    while let Ok(Some(answer)) = polite.try_clear(Duration::ZERO).and_then(|_| {
        polite.write(1, HELLO)?;
        polite.try_clear(DEADLINE)
    }) {
        assert!(since.elapsed() < DEADLINE);
        if matches!(answer.body, EnvelopeReply::Refused(Refusal::TimedOut)) {
            break;
        }
        thread::yield_now();
    }
}

#[test]
fn a_silent_session_ends_but_a_listening_one_stays() {
    let (link, paired, calls) = start(&Config {
        idle_timeout_ms: 900,
        ..config()
    });
    let mut listening = admin(&link, &paired);
    let (mut sink, id) = subscribe(&mut listening, &calls);
    refused_and_ended(admin(&link, &paired), &Refusal::TimedOut, "silence");
    assert!(sink.send(&event(1)));
    assert_eq!(next_event(&mut listening), (id, event(1)));
}

#[test]
fn one_session_too_many_is_told_so() {
    let (link, paired) = start_answering(&Config {
        max_sessions: 2,
        ..config()
    });
    let first = admin(&link, &paired);
    let _second = admin(&link, &paired);
    refused_and_ended(tcp(&link), &Refusal::Busy, "the third");

    // A seat given up is free again, at the latest when its session looks up.
    first.stream.shutdown(Shutdown::Both).unwrap();
    let since = Instant::now();
    loop {
        let mut another = tcp(&link);
        if another.write(1, HELLO).is_ok()
            && let Ok(Some(answer)) = another.try_clear(DEADLINE)
            && matches!(answer.body, EnvelopeReply::Hello { .. })
        {
            break;
        }
        assert!(since.elapsed() < DEADLINE);
    }
}

#[test]
fn a_loop_that_does_not_answer_costs_one_refusal() {
    let (link, paired, calls) = start(&Config {
        reply_timeout_ms: 200,
        ..config()
    });
    let mut host = admin(&link, &paired);
    // Too slow: the call is kept and not answered.
    assert_eq!(host.ask(Request::Status), Response::Refused(Refusal::Busy));
    let slow = calls.recv_timeout(DEADLINE).unwrap();
    assert!(
        slow.reply.send(Response::Done).is_err(),
        "a late answer goes nowhere"
    );
    // Dropped unanswered.
    let id = host.send(Request::DoorState);
    drop(calls.recv_timeout(DEADLINE).unwrap());
    let body = Response::Refused(Refusal::Internal);
    assert_eq!(host.reply(), Reply { id, body });
    // Gone.
    drop(calls);
    assert_eq!(
        host.ask(Request::DoorState),
        Response::Refused(Refusal::Stopping)
    );
}

#[test]
fn a_full_queue_is_busy() {
    let (device, _calls) = sync_channel(0);
    let bundles = device.clone();
    let paired = Paired::new();
    let routes = Routes { device, bundles };
    let link = Link::start(&config(), "door", paired.hosts.clone(), routes).unwrap();
    let mut host = admin(&link, &paired);
    assert_eq!(host.ask(Request::Status), Response::Refused(Refusal::Busy));
}

fn event(seq: u64) -> Event {
    Event {
        seq,
        unix_ms: 1_000 + seq,
        kind: EventKind::Door(DoorState::Locked),
    }
}

/// Subscribes and plays the loop's part of it.
fn subscribe<S: Read + Write>(host: &mut FarEnd<S>, calls: &Receiver<Call>) -> (EventSink, u32) {
    let id = host.send(Request::EventsSubscribe { from_seq: 0 });
    let call = calls.recv_timeout(DEADLINE).unwrap();
    call.reply.send(Response::Done).unwrap();
    let body = Response::Done;
    assert_eq!(host.reply(), Reply { id, body });
    (call.events.unwrap(), id)
}

/// The next event, signs of life skipped.
fn next_event<S: Read + Write>(host: &mut FarEnd<S>) -> (u32, Event) {
    loop {
        match host.reply() {
            Reply {
                id,
                body: Response::Event(event),
            } => return (id, event),
            Reply {
                body: Response::Done,
                ..
            } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn events_flow_until_the_next_request_over_both_lines() {
    let (mut serial, _far, path) = pty();
    let (link, paired, calls) = start(&Config {
        serial_port: Some(path.into()),
        ..config()
    });
    fn listen<S: Read + Write>(mut host: FarEnd<S>, calls: &Receiver<Call>) {
        let (mut sink, id) = subscribe(&mut host, calls);
        for seq in 1..=40 {
            assert!(sink.send(&event(seq)));
        }
        for seq in 1..=40 {
            assert_eq!(next_event(&mut host), (id, event(seq)));
        }
        let id = host.send(Request::DoorState);
        let call = calls.recv_timeout(DEADLINE).unwrap();
        assert!(
            !sink.send(&event(41)),
            "the subscription ended with the request"
        );
        call.reply.send(Response::Door(DoorState::Locked)).unwrap();
        let body = Response::Door(DoorState::Locked);
        assert_eq!(host.reply(), Reply { id, body });
    }
    listen(admin(&link, &paired), &calls);
    serial_admin(&mut serial, &paired);
    listen(serial, &calls);
}

#[test]
fn a_refused_subscription_stays_silent() {
    let (link, paired, calls) = start(&config());
    let mut host = admin(&link, &paired);
    let id = host.send(Request::EventsSubscribe { from_seq: 0 });
    let mut call = calls.recv_timeout(DEADLINE).unwrap();
    let refused = Response::Refused(Refusal::NotAllowed);
    call.reply.send(refused.clone()).unwrap();
    assert_eq!(host.reply(), Reply { id, body: refused });
    // Once the next request arrives, the session has done with this one.
    host.send(Request::DoorState);
    let _next = calls.recv_timeout(DEADLINE).unwrap();
    assert!(!call.events.as_mut().unwrap().send(&event(1)));
}

#[test]
fn a_listener_hears_that_the_loop_stopped() {
    let (link, paired, calls) = start(&config());
    let mut host = admin(&link, &paired);
    let (sink, id) = subscribe(&mut host, &calls);
    drop(sink);
    let body = Response::Refused(Refusal::Stopping);
    assert_eq!(host.reply(), Reply { id, body });
}

#[test]
fn a_listener_without_events_hears_a_heartbeat() {
    let (link, paired, calls) = start(&Config {
        idle_timeout_ms: 1_200,
        ..config()
    });
    let mut host = admin(&link, &paired);
    let (mut sink, id) = subscribe(&mut host, &calls);
    let body = Response::Done;
    assert_eq!(host.reply(), Reply { id, body });
    assert!(sink.send(&event(1)));
    assert_eq!(next_event(&mut host), (id, event(1)));
}

#[test]
fn a_listener_that_takes_nothing_is_given_up() {
    let (link, paired, calls) = start(&Config {
        write_timeout_ms: 100,
        ..config()
    });
    let mut host = admin(&link, &paired);
    let (mut sink, _) = subscribe(&mut host, &calls);
    let since = Instant::now();
    let long = Event {
        kind: EventKind::Fault(Text::cut(&"x".repeat(160))),
        ..event(1)
    };
    while sink.send(&long) {
        assert!(since.elapsed() < DEADLINE);
        thread::yield_now();
    }
}

#[test]
fn a_call_that_is_never_answered_does_not_hold_up_the_stop() {
    let (link, paired, calls) = start(&config());
    let mut host = admin(&link, &paired);
    host.send(Request::Status);
    let _unanswered = calls.recv_timeout(DEADLINE).unwrap();
    let since = Instant::now();
    drop(link);
    assert!(since.elapsed() < DEADLINE);
}

#[test]
fn a_serial_port_that_vanishes_is_served_again_and_disturbs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("tty");
    let point_to = |path: &str| {
        let new = folder.path().join("new");
        std::os::unix::fs::symlink(path, &new).unwrap();
        std::fs::rename(new, &port).unwrap();
    };
    let (link, paired) = start_answering(&Config {
        serial_port: Some(port.clone()),
        ..config()
    });
    let mut watcher = admin(&link, &paired);
    for _ in 0..2 {
        // First the port is not there, then it is, then it is gone again.
        locked(&mut watcher);
        let (mut serial, far, path) = pty();
        point_to(&path);
        let since = Instant::now();
        let hello = loop {
            serial.send_clear(HELLO);
            match serial.try_clear(Duration::from_millis(500)).unwrap() {
                Some(reply) => break reply.body,
                None => assert!(since.elapsed() < DEADLINE),
            }
        };
        assert!(matches!(hello, EnvelopeReply::Hello { .. }));
        drop((serial, far));
    }
    assert!(Path::new(&port).is_symlink());
}

#[test]
fn a_port_in_use_and_a_bad_address_are_said_clearly() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let cases = [
        (address.to_string(), format!("{address} is in use")),
        (
            "nonsense".to_owned(),
            "\"nonsense\" is not an address and port".to_owned(),
        ),
    ];
    for (listen, message) in cases {
        let config = Config {
            tcp_listen: listen,
            ..config()
        };
        let (device, _calls) = sync_channel(1);
        let bundles = device.clone();
        let routes = Routes { device, bundles };
        let error = Link::start(&config, "door", Paired::new().hosts.clone(), routes)
            .err()
            .unwrap();
        assert!(error.to_string().contains(&message), "{error}");
    }
}

#[test]
fn stopping_ends_every_session_and_frees_the_port() {
    let (mut serial, _far, path) = pty();
    let (link, paired, calls) = start(&Config {
        serial_port: Some(path.into()),
        ..config()
    });
    let address = link.tcp_address().unwrap();
    let mut idle = admin(&link, &paired);
    let mut listening = admin(&link, &paired);
    let _sink = subscribe(&mut listening, &calls);
    serial_admin(&mut serial, &paired);
    drop(link);
    idle.expect_end();
    listening.expect_end();
    assert!(TcpStream::connect(address).is_err());
}
