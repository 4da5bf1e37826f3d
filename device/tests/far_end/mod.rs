//! The far end of a line to a door, frame by frame: what the host's client is too polite to do. Shared by the tests of the
//! link, of the whole door, and of hostile peers.

#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod bundles;

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use facelatch_protocol::{
    Deframer, Encoder, Envelope, EnvelopeReply, Packet, PairingCode, PublicKey, Refusal, Reply,
    Request, Response, Role, VERSION_HIGHEST, VERSION_LOWEST,
    session::{Initiator, Order, PairRequest, Purpose, Session, Versions, Welcome},
};

/// What our own hosts say first.
pub(crate) const HELLO: Envelope = Envelope::Hello {
    lowest: VERSION_LOWEST,
    highest: VERSION_HIGHEST,
};
/// Longer than anything here takes, unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// The far end of a line.
pub(crate) struct FarEnd<S> {
    /// The line itself.
    pub(crate) stream: S,
    /// Seals and opens, once a session stands.
    pub(crate) session: Option<Session>,
    encoder: Box<Encoder>,
    deframer: Box<Deframer>,
    pending: Vec<u8>,
    next_id: u32,
}

impl<S: Read + Write> FarEnd<S> {
    pub(crate) fn new(stream: S) -> FarEnd<S> {
        FarEnd {
            stream,
            session: None,
            encoder: Box::default(),
            deframer: Box::default(),
            pending: Vec::new(),
            next_id: 1,
        }
    }

    /// One envelope in clear.
    pub(crate) fn send_clear(&mut self, body: Envelope) -> u32 {
        let id = self.number();
        self.write(id, body).unwrap();
        id
    }

    /// One sealed request.
    pub(crate) fn send(&mut self, body: Request) -> u32 {
        let id = self.number();
        let sealed = self.seal(id, body);
        self.write(0, sealed).unwrap();
        id
    }

    /// A sealed request that is not sent.
    pub(crate) fn seal(&mut self, id: u32, body: Request) -> Envelope {
        let session = self.session.as_mut().expect("a session stands");
        Envelope::Sealed(session.seal(&Packet { id, body }).unwrap())
    }

    pub(crate) fn write(&mut self, id: u32, body: Envelope) -> io::Result<()> {
        let frame = self.encoder.encode(&Packet { id, body }).unwrap();
        self.stream.write_all(frame)
    }

    pub(crate) fn ask(&mut self, body: Request) -> Response {
        self.try_ask(body).unwrap()
    }

    /// As [`FarEnd::ask`], to a door that may be gone.
    pub(crate) fn try_ask(&mut self, body: Request) -> io::Result<Response> {
        let id = self.number();
        let sealed = self.seal(id, body);
        self.write(0, sealed)?;
        let reply = self.try_reply(DEADLINE)?.expect("an answer in time");
        if !matches!(reply.body, Response::Refused(_)) || reply.id != 0 {
            assert_eq!(reply.id, id);
        }
        Ok(reply.body)
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply(DEADLINE)
            .unwrap()
            .expect("an answer in time")
    }

    /// The next answer, opened; a refusal in clear counts as one. `None` when nothing came in time, an error when the line
    /// ended.
    pub(crate) fn try_reply(&mut self, patience: Duration) -> io::Result<Option<Reply>> {
        let Some(Packet { id, body }) = self.try_clear(patience)? else {
            return Ok(None);
        };
        match body {
            EnvelopeReply::Sealed(sealed) => {
                let session = self.session.as_mut().expect("a session stands");
                Ok(Some(session.open(&sealed).unwrap()))
            }
            EnvelopeReply::Refused(refusal) => Ok(Some(Reply {
                id,
                body: Response::Refused(refusal),
            })),
            other => panic!("{other:?}"),
        }
    }

    /// The next envelope, as it is.
    pub(crate) fn try_clear(
        &mut self,
        patience: Duration,
    ) -> io::Result<Option<Packet<EnvelopeReply>>> {
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

    /// The refusal that comes next in clear.
    pub(crate) fn refusal(&mut self) -> Refusal {
        match self.try_clear(DEADLINE) {
            Ok(Some(Packet {
                body: EnvelopeReply::Refused(refusal),
                ..
            })) => refusal,
            other => panic!("{other:?}"),
        }
    }

    /// Fails unless the device closes the line without another word.
    pub(crate) fn expect_end(&mut self) {
        let end = self.try_clear(DEADLINE);
        assert!(end.is_err(), "{end:?}");
    }

    /// Agrees on versions.
    pub(crate) fn hello(&mut self) -> Result<Versions, Refusal> {
        let id = self.send_clear(HELLO);
        let packet = self.answer()?;
        assert_eq!(packet.id, id);
        match packet.body {
            EnvelopeReply::Hello { version, .. } => Ok(Versions {
                lowest: VERSION_LOWEST,
                highest: VERSION_HIGHEST,
                chosen: version,
            }),
            other => panic!("{other:?}"),
        }
    }

    /// Opens a session as a paired host.
    pub(crate) fn open(
        &mut self,
        secret: &[u8; 32],
        door: &PublicKey,
        order: Order,
    ) -> Result<Welcome, Refusal> {
        let versions = self.hello()?;
        let (initiator, first) = Initiator::session(secret, door, versions).unwrap();
        let answer = self.handshake(Purpose::Session, &first)?;
        let (session, welcome) = initiator.finish(&answer, order).unwrap();
        self.session = Some(session);
        Ok(welcome)
    }

    /// Pairs, and has a session then.
    pub(crate) fn pair(
        &mut self,
        secret: &[u8; 32],
        code: &PairingCode,
        request: &PairRequest,
        order: Order,
    ) -> Result<(PublicKey, Role), Refusal> {
        let versions = self.hello()?;
        let (initiator, first) = Initiator::pairing(secret, code, versions).unwrap();
        let answer = self.handshake(Purpose::Pairing, &first)?;
        let introduced = initiator.introduce(&answer).unwrap();
        let door = introduced.door;
        let (last, session) = introduced.finish(request, order).unwrap();
        self.session = Some(session);
        self.send_clear(Envelope::Handshake {
            purpose: Purpose::Pairing,
            message: last,
        });
        match self.reply().body {
            Response::Paired { role } => Ok((door, role)),
            Response::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    /// One handshake message, and the answer to it.
    pub(crate) fn handshake(
        &mut self,
        purpose: Purpose,
        message: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let message = message.iter().copied().collect();
        self.send_clear(Envelope::Handshake { purpose, message });
        match self.answer()?.body {
            EnvelopeReply::Handshake(answer) => Ok(answer.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self) -> Result<Packet<EnvelopeReply>, Refusal> {
        let packet = self.try_clear(DEADLINE).unwrap();
        match packet.expect("an answer in time") {
            Packet {
                body: EnvelopeReply::Refused(refusal),
                ..
            } => Err(refusal),
            packet => Ok(packet),
        }
    }

    fn number(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

pub(crate) fn is_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

/// A connection to a door, nothing said yet.
pub(crate) fn connect(address: SocketAddr) -> FarEnd<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    FarEnd::new(stream)
}
