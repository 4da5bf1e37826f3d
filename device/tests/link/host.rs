//! Paired hosts of the test link, on TCP and on a pseudo-terminal.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use facelatch_device::{
    hosts::{Hosts, Pairing},
    link::Link,
    seal::DeviceKeys,
};
use facelatch_protocol::{
    DisplayName, PublicKey, Refusal, Request, Response, Role,
    session::{Order, public_key},
};
use serialport::{SerialPort, TTYPort};
use tempfile::TempDir;

use crate::far_end::{DEADLINE, FarEnd, connect};

/// Secret of a paired admin.
pub(crate) const ADMIN: [u8; 32] = [1; 32];
/// Secret of a paired operator.
pub(crate) const OPERATOR: [u8; 32] = [2; 32];
/// Secret of nobody.
pub(crate) const STRANGER: [u8; 32] = [3; 32];

/// Who may talk to the test link.
pub(crate) struct Paired {
    pub(crate) hosts: Arc<Hosts>,
    _dir: TempDir,
}

impl Paired {
    pub(crate) fn new() -> Paired {
        let dir = TempDir::new().unwrap();
        let keys = DeviceKeys::open(dir.path(), true).unwrap();
        let hosts = Hosts::open(dir.path(), &keys).unwrap();
        for (secret, role) in [(ADMIN, Role::Admin), (OPERATOR, Role::Operator)] {
            let now = Instant::now();
            let window = hosts.open_window(role, now, DEADLINE).unwrap();
            let pairing = Pairing {
                host: public_key(&secret),
                name: DisplayName::parse("test host").unwrap(),
                role,
                keys: None,
                code: window.code,
            };
            hosts.pair(&pairing, 1, now).unwrap();
        }
        Paired {
            hosts: Arc::new(hosts),
            _dir: dir,
        }
    }

    pub(crate) fn door(&self) -> PublicKey {
        self.hosts.own_key()
    }
}

/// A connection, nothing said yet.
pub(crate) fn tcp(link: &Link) -> FarEnd<TcpStream> {
    connect(link.tcp_address().unwrap())
}

/// An admin's session over TCP.
pub(crate) fn admin(link: &Link, paired: &Paired) -> FarEnd<TcpStream> {
    let mut host = tcp(link);
    host.open(&ADMIN, &paired.door(), Order::Next).unwrap();
    host
}

/// A pseudo-terminal: the near end, and the far end kept open under its path.
pub(crate) fn pty() -> (FarEnd<TTYPort>, TTYPort, String) {
    let (mut near, far) = TTYPort::pair().unwrap();
    near.set_timeout(Duration::from_millis(20)).unwrap();
    let path = far.name().unwrap();
    (FarEnd::new(near), far, path)
}

/// Opens an admin's session on a serial line.
pub(crate) fn serial_admin<S: Read + Write>(host: &mut FarEnd<S>, paired: &Paired) {
    host.open(&ADMIN, &paired.door(), Order::Growing).unwrap();
}

/// Fails unless the answer is this refusal, and the connection then ends.
pub(crate) fn refused_and_ended(mut host: FarEnd<TcpStream>, want: &Refusal, what: &str) {
    assert_eq!(&host.refusal(), want, "{what}");
    host.expect_end();
}

/// A request that every host may make.
pub(crate) fn locked(host: &mut FarEnd<impl Read + Write>) {
    let locked = Response::Door(facelatch_protocol::DoorState::Locked);
    assert_eq!(host.ask(Request::DoorState), locked);
}
