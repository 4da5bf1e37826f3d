//! The link over real sockets and pseudo-terminals, against a stand-in for the device's loop: rules of a session, bad
//! peers, bounded sessions, events, a port that vanishes. Bundles are in `store` and in the host's tests.

mod host;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{Duration, Instant},
};

use facelatch_device::link::{Call, Config, Error, EventSink, Link, Peer, Routes};
use facelatch_protocol::{DoorState, Event, EventKind, Refusal, Reply, Request, Response, Text};

use self::host::{DEADLINE, HELLO, Host, pty, tcp};

fn config() -> Config {
    Config {
        tcp_listen: "127.0.0.1:0".to_owned(),
        ..Config::default()
    }
}

/// A link whose calls arrive at a channel the test reads.
fn start(config: &Config) -> (Link, Receiver<Call>) {
    let (sender, calls) = sync_channel(8);
    let routes = Routes {
        device: sender.clone(),
        bundles: sender,
    };
    (Link::start(config, "test door", routes).unwrap(), calls)
}

/// A link whose door state is always "locked" and which refuses everything else.
fn start_answering(config: &Config) -> Link {
    let (link, calls) = start(config);
    thread::spawn(move || {
        for call in calls {
            let response = match call.request {
                Request::DoorState => Response::Door(DoorState::Locked),
                _ => Response::Refused(Refusal::NotAllowed),
            };
            call.reply.send(response).ok();
        }
    });
    link
}

#[test]
fn a_session_over_tcp_and_over_a_serial_line() {
    let (mut serial, _far, path) = pty();
    let link = start_answering(&Config {
        serial_port: Some(path.into()),
        ..config()
    });
    let locked = Response::Door(DoorState::Locked);

    let mut over_tcp = tcp(&link);
    let Response::Hello { version, device } = over_tcp.ask(HELLO) else {
        panic!("no hello");
    };
    assert_eq!((version, &*device), (1, "test door"));
    assert_eq!(over_tcp.ask(Request::DoorState), locked);
    assert_eq!(over_tcp.ask(Request::Goodbye), Response::Done);
    over_tcp.expect_end();

    assert!(matches!(
        serial.ask(HELLO),
        Response::Hello { version: 1, .. }
    ));
    assert_eq!(serial.ask(Request::DoorState), locked);
    // The line stays, the session does not.
    assert_eq!(serial.ask(Request::Goodbye), Response::Done);
    assert_eq!(
        serial.ask(Request::DoorState),
        Response::Refused(Refusal::HelloFirst)
    );
    let mut serial = serial.greet();
    assert_eq!(serial.ask(Request::DoorState), locked);
}

#[test]
fn a_call_names_its_peer_and_goes_its_route() {
    let (device, device_calls) = sync_channel(8);
    let (bundles, bundle_calls) = sync_channel(8);
    let link = Link::start(&config(), "door", Routes { device, bundles }).unwrap();
    let mut host = tcp(&link).greet();
    let address = host.stream.local_addr().unwrap();

    for (request, calls) in [
        (Request::BundleStatus, &bundle_calls),
        (Request::Status, &device_calls),
    ] {
        let id = host.send(request.clone());
        let call = calls.recv_timeout(DEADLINE).unwrap();
        assert_eq!((&call.request, call.peer), (&request, Peer::Tcp(address)));
        call.reply.send(Response::Done).unwrap();
        let body = Response::Done;
        assert_eq!(host.reply(), Reply { id, body });
    }
}

#[test]
fn what_comes_before_hello_is_refused_and_ends_the_connection() {
    let link = start_answering(&config());
    let mut host = tcp(&link);
    assert_eq!(
        host.ask(Request::Status),
        Response::Refused(Refusal::HelloFirst)
    );
    host.expect_end();

    let mut host = tcp(&link);
    let strange = Request::Hello {
        lowest: 7,
        highest: 9,
    };
    let refusal = Refusal::Version {
        lowest: 1,
        highest: 1,
    };
    assert_eq!(host.ask(strange), Response::Refused(refusal));
    host.expect_end();

    // An HTTP client, a port scanner.
    let mut host = tcp(&link);
    host.stream.write_all(b"GET / HTTP/1.1\r\n\r\n\0").unwrap();
    let (id, body) = (0, Response::Refused(Refusal::HelloFirst));
    assert_eq!(host.reply(), Reply { id, body });
    host.expect_end();

    let newer = Request::Hello {
        lowest: 1,
        highest: 40,
    };
    assert!(matches!(
        tcp(&link).ask(newer),
        Response::Hello { version: 1, .. }
    ));
}

#[test]
fn a_damaged_or_endless_frame_is_refused() {
    let link = start_answering(&config());
    let endless = [&[0x55; 20_000][..], &[0]].concat();
    for garbage in [b"\x02garbage\0".as_slice(), &endless] {
        let mut host = tcp(&link).greet();
        host.stream.write_all(garbage).unwrap();
        let (id, body) = (0, Response::Refused(Refusal::Malformed));
        assert_eq!(host.reply(), Reply { id, body });
        host.expect_end();
    }
}

#[test]
fn noise_on_a_serial_line_is_skipped() {
    let (mut serial, _far, path) = pty();
    let _link = start_answering(&Config {
        serial_port: Some(path.into()),
        tcp_listen: String::new(),
        ..config()
    });
    // Boot messages, then half a frame of an earlier session, ended by the zero that every host sends first.
    let noise = [&b"U-Boot 2023.01\r\nlogin: \0"[..], &[0x33; 9_000], &[0]].concat();
    serial.stream.write_all(&noise).unwrap();
    let mut serial = serial.greet();

    // Within a session, the peer is told, and may send again.
    serial.stream.write_all(b"\x02zzz\0").unwrap();
    let (id, body) = (0, Response::Refused(Refusal::Malformed));
    assert_eq!(serial.reply(), Reply { id, body });
    assert_eq!(
        serial.ask(Request::DoorState),
        Response::Door(DoorState::Locked)
    );
}

#[test]
fn half_a_frame_on_a_serial_line_is_forgotten_in_time() {
    let (mut serial, _far, path) = pty();
    let _link = start_answering(&Config {
        serial_port: Some(path.into()),
        tcp_listen: String::new(),
        frame_timeout_ms: 100,
        ..config()
    });
    serial.stream.write_all(&[9, 1, 2, 3]).unwrap();
    let silence = serial.try_reply(Duration::from_secs(1)).unwrap();
    assert_eq!(silence, None);
    // No zero in front: only a device that has forgotten the half frame understands this.
    serial.greet();
}

#[test]
fn requests_sent_together_are_answered_in_order() {
    let link = start_answering(&config());
    let mut host = tcp(&link);
    let ids = [
        HELLO,
        Request::DoorState,
        Request::Status,
        Request::DoorState,
    ]
    .map(|r| host.send(r));
    let answers = ids.map(|_| host.reply());
    assert_eq!(answers.each_ref().map(|reply| reply.id), ids);
    assert_eq!(answers[2].body, Response::Refused(Refusal::NotAllowed));
    assert_eq!(answers[3].body, Response::Door(DoorState::Locked));
}

#[test]
fn a_frame_that_never_ends_ends_the_connection() {
    let link = start_answering(&Config {
        frame_timeout_ms: 300,
        ..config()
    });
    let mut host = tcp(&link).greet();
    host.stream.write_all(&[3, 1]).unwrap();
    host.expect_end();
    // Nor may a stranger sit there silently.
    tcp(&link).expect_end();
}

#[test]
fn a_silent_session_ends_but_a_listening_one_stays() {
    let (link, calls) = start(&Config {
        idle_timeout_ms: 300,
        ..config()
    });
    let mut silent = tcp(&link).greet();
    let mut listening = tcp(&link).greet();
    let (mut sink, id) = subscribe(&mut listening, &calls);
    silent.expect_end();
    assert!(sink.send(&event(1)));
    let body = Response::Event(event(1));
    assert_eq!(listening.reply(), Reply { id, body });
}

#[test]
fn one_session_too_many_is_told_so() {
    let link = start_answering(&Config {
        max_sessions: 2,
        ..config()
    });
    let first = tcp(&link).greet();
    let _second = tcp(&link).greet();
    let mut third = tcp(&link);
    let (id, body) = (0, Response::Refused(Refusal::Busy));
    assert_eq!(third.reply(), Reply { id, body });
    third.expect_end();

    // A seat given up is free again, at the latest when its session looks up.
    first.stream.shutdown(Shutdown::Both).unwrap();
    let since = Instant::now();
    while matches!(
        tcp(&link).ask_or_end(HELLO),
        None | Some(Response::Refused(Refusal::Busy))
    ) {
        assert!(since.elapsed() < DEADLINE);
    }
}

#[test]
fn a_loop_that_does_not_answer_costs_one_refusal() {
    let (link, calls) = start(&Config {
        reply_timeout_ms: 200,
        ..config()
    });
    let mut host = tcp(&link).greet();
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
    let link = Link::start(&config(), "door", Routes { device, bundles }).unwrap();
    let mut host = tcp(&link).greet();
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
fn subscribe<S: Read + Write>(host: &mut Host<S>, calls: &Receiver<Call>) -> (EventSink, u32) {
    let id = host.send(Request::EventsSubscribe { from_seq: 0 });
    let call = calls.recv_timeout(DEADLINE).unwrap();
    call.reply.send(Response::Done).unwrap();
    let body = Response::Done;
    assert_eq!(host.reply(), Reply { id, body });
    (call.events.unwrap(), id)
}

#[test]
fn events_flow_until_the_next_request_over_both_lines() {
    let (serial, _far, path) = pty();
    let (link, calls) = start(&Config {
        serial_port: Some(path.into()),
        ..config()
    });
    fn listen<S: Read + Write>(host: Host<S>, calls: &Receiver<Call>) {
        let mut host = host.greet();
        let (mut sink, id) = subscribe(&mut host, calls);
        for seq in 1..=40 {
            assert!(sink.send(&event(seq)));
        }
        for seq in 1..=40 {
            let body = Response::Event(event(seq));
            assert_eq!(host.reply(), Reply { id, body });
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
    listen(tcp(&link), &calls);
    listen(serial, &calls);
}

#[test]
fn a_refused_subscription_stays_silent() {
    let (link, calls) = start(&config());
    let mut host = tcp(&link).greet();
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
    let (link, calls) = start(&config());
    let mut host = tcp(&link).greet();
    let (sink, id) = subscribe(&mut host, &calls);
    drop(sink);
    let body = Response::Refused(Refusal::Stopping);
    assert_eq!(host.reply(), Reply { id, body });
}

#[test]
fn a_listener_without_events_hears_a_heartbeat() {
    let (link, calls) = start(&Config {
        idle_timeout_ms: 600,
        ..config()
    });
    let mut host = tcp(&link).greet();
    let (mut sink, id) = subscribe(&mut host, &calls);
    let mut heartbeat = [9];
    host.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    host.stream.read_exact(&mut heartbeat).unwrap();
    assert_eq!(heartbeat, [0]);
    assert!(sink.send(&event(1)));
    let body = Response::Event(event(1));
    assert_eq!(host.reply(), Reply { id, body });
}

#[test]
fn a_listener_that_takes_nothing_is_given_up() {
    let (link, calls) = start(&Config {
        write_timeout_ms: 100,
        ..config()
    });
    let mut host = tcp(&link).greet();
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
    let (link, calls) = start(&config());
    let mut host = tcp(&link).greet();
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
    let link = start_answering(&Config {
        serial_port: Some(port.clone()),
        ..config()
    });
    let mut watcher = tcp(&link).greet();
    for _ in 0..2 {
        // First the port is not there, then it is, then it is gone again.
        let locked = Response::Door(DoorState::Locked);
        assert_eq!(watcher.ask(Request::DoorState), locked);
        let (mut serial, far, path) = pty();
        point_to(&path);
        let since = Instant::now();
        let hello = loop {
            serial.send(HELLO);
            match serial.try_reply(Duration::from_millis(500)).unwrap() {
                Some(reply) => break reply.body,
                None => assert!(since.elapsed() < DEADLINE),
            }
        };
        assert!(matches!(hello, Response::Hello { .. }));
        drop((serial, far));
    }
    assert!(Path::new(&port).is_symlink());
}

#[test]
fn addresses_the_network_can_reach_need_leave() {
    struct Case {
        listen: &'static str,
        allow: bool,
        refused: bool,
    }
    let cases = [
        Case {
            listen: "127.0.0.1:0",
            allow: false,
            refused: false,
        },
        Case {
            listen: "127.0.0.9:0",
            allow: false,
            refused: false,
        },
        Case {
            listen: "0.0.0.0:0",
            allow: false,
            refused: true,
        },
        Case {
            listen: "[::]:0",
            allow: false,
            refused: true,
        },
        Case {
            listen: "192.0.2.1:0",
            allow: false,
            refused: true,
        },
        Case {
            listen: "[::ffff:192.0.2.1]:0",
            allow: false,
            refused: true,
        },
        Case {
            listen: "0.0.0.0:0",
            allow: true,
            refused: false,
        },
    ];
    for Case {
        listen,
        allow,
        refused,
    } in cases
    {
        let config = Config {
            tcp_listen: listen.to_owned(),
            allow_unauthenticated_network: allow,
            ..config()
        };
        let (device, _calls) = sync_channel(1);
        let bundles = device.clone();
        let started = Link::start(&config, "door", Routes { device, bundles });
        let got = matches!(started, Err(Error::Unauthenticated { .. }));
        assert_eq!(got, refused, "{listen} allow {allow}");
        assert_eq!(started.is_ok(), !refused, "{listen} allow {allow}");
    }
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
        let error = Link::start(&config, "door", Routes { device, bundles })
            .err()
            .unwrap();
        assert!(error.to_string().contains(&message), "{error}");
    }
}

#[test]
fn stopping_ends_every_session_and_frees_the_port() {
    let (serial, _far, path) = pty();
    let (link, calls) = start(&Config {
        serial_port: Some(path.into()),
        ..config()
    });
    let address = link.tcp_address().unwrap();
    let mut idle = tcp(&link).greet();
    let mut listening = tcp(&link).greet();
    let _sink = subscribe(&mut listening, &calls);
    let _serial = serial.greet();
    drop(link);
    idle.expect_end();
    listening.expect_end();
    assert!(TcpStream::connect(address).is_err());
}
