//! The far end of a line, frame by frame: what the host's client is too polite to do.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use facelatch_device::link::Link;
use facelatch_protocol::{Deframer, Encoder, Packet, Reply, Request, Response};
use serialport::{SerialPort, TTYPort};

/// Opens a session.
pub(crate) const HELLO: Request = Request::Hello {
    lowest: 1,
    highest: 1,
};
/// Longer than anything here takes, unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The far end of a line, frame by frame.
pub(crate) struct Host<S> {
    pub(crate) stream: S,
    encoder: Box<Encoder>,
    deframer: Box<Deframer>,
    pending: Vec<u8>,
    next_id: u32,
}

impl<S: Read + Write> Host<S> {
    pub(crate) fn new(stream: S) -> Host<S> {
        Host {
            stream,
            encoder: Box::default(),
            deframer: Box::default(),
            pending: Vec::new(),
            next_id: 1,
        }
    }

    pub(crate) fn send(&mut self, body: Request) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        let frame = self.encoder.encode(&Packet { id, body }).unwrap();
        self.stream.write_all(frame).unwrap();
        id
    }

    pub(crate) fn ask(&mut self, body: Request) -> Response {
        let id = self.send(body);
        let reply = self.reply();
        assert_eq!(reply.id, id);
        reply.body
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply(DEADLINE)
            .unwrap()
            .expect("an answer in time")
    }

    /// The next answer; `None` when nothing came in time, an error when the line ended.
    pub(crate) fn try_reply(&mut self, patience: Duration) -> io::Result<Option<Reply>> {
        let since = Instant::now();
        let mut buffer = [0; 512];
        loop {
            let mut input = self.pending.as_slice();
            let reply = self.deframer.next(&mut input);
            self.pending = input.to_vec();
            if let Some(reply) = reply {
                return Ok(Some(reply.unwrap()));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.pending.extend_from_slice(&buffer[..len]),
                Err(error) if is_wait(&error) && since.elapsed() < patience => {}
                Err(error) if is_wait(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Fails unless the device closes the line without another word.
    pub(crate) fn expect_end(&mut self) {
        let end = self.try_reply(DEADLINE);
        assert!(end.is_err(), "{end:?}");
    }

    pub(crate) fn greet(mut self) -> Host<S> {
        assert!(matches!(
            self.ask(HELLO),
            Response::Hello { version: 1, .. }
        ));
        self
    }
}

pub(crate) fn is_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

pub(crate) fn connect(address: SocketAddr) -> Host<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    Host::new(stream)
}

pub(crate) fn tcp(link: &Link) -> Host<TcpStream> {
    connect(link.tcp_address().unwrap())
}

/// A pseudo-terminal: the near end, and the far end kept open under its path.
pub(crate) fn pty() -> (Host<TTYPort>, TTYPort, String) {
    let (near, far) = TTYPort::pair().unwrap();
    let path = far.name().unwrap();
    (Host::new(near), far, path)
}

impl Host<TcpStream> {
    /// As [`Host::ask`], but the device may have ended the line before.
    pub(crate) fn ask_or_end(&mut self, body: Request) -> Option<Response> {
        let id = self.next_id;
        let frame = self.encoder.encode(&Packet { id, body }).unwrap();
        self.stream.write_all(frame).ok()?;
        self.try_reply(DEADLINE)
            .ok()
            .flatten()
            .map(|reply| reply.body)
    }
}
