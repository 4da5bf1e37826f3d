//! Frames out and in: what is said in clear before a session, and sealed requests with their answers in one.
//!
//! On a connection, whatever does not belong to the session is an error. A serial line loses and garbles frames, and what
//! an earlier session left on it may still arrive: there, only what opens counts, and everything else at most means that
//! something has to be said again. Called by `client`, `handshake` and `push`.

use std::{
    io, mem,
    time::{Duration, Instant},
};

use facelatch_protocol::{
    Deframer, Encoder, Envelope, EnvelopeReply, FrameError, Packet, Refusal, Request, Response,
    session::{Order, Session, SessionError},
};

use super::Error;
use crate::connect::Line;

/// A line with its framing, and the session on it once there is one.
pub(super) struct Wire {
    line: Box<dyn Line>,
    target: String,
    encoder: Box<Encoder>,
    deframer: Box<Deframer>,
    /// Bytes read and not yet looked at.
    unread: Vec<u8>,
    last_id: u32,
    session: Option<Session>,
}

impl Wire {
    pub(super) fn new(line: Box<dyn Line>, target: &str) -> Wire {
        Wire {
            line,
            target: target.to_owned(),
            encoder: Box::default(),
            deframer: Box::default(),
            unread: Vec::new(),
            last_id: first_id(),
            session: None,
        }
    }

    pub(super) fn target(&self) -> &str {
        &self.target
    }

    pub(super) fn is_serial(&self) -> bool {
        self.line.is_serial()
    }

    /// How numbers follow each other here.
    pub(super) fn order(&self) -> Order {
        if self.is_serial() {
            Order::Growing
        } else {
            Order::Next
        }
    }

    /// From here on, everything is sealed.
    pub(super) fn begin(&mut self, session: Session) {
        self.session = Some(session);
    }

    /// Ends the session here, and for the door whatever half a frame the line holds.
    pub(super) fn clear(&mut self) -> Result<(), Error> {
        self.session = None;
        self.write(&[0])
    }

    /// Says something in clear.
    pub(super) fn say(&mut self, body: &Envelope) -> Result<u32, Error> {
        let id = self.next_id();
        self.send(&Packet { id, body })?;
        Ok(id)
    }

    /// Seals a request and sends it.
    pub(super) fn ask(&mut self, body: &Request) -> Result<u32, Error> {
        let id = self.next_id();
        let session = self.session.as_mut();
        let sealed = session.map(|session| session.seal(&Packet { id, body }));
        match sealed {
            Some(Ok(sealed)) => {
                let body = Envelope::Sealed(sealed);
                self.send(&Packet { id: 0, body })?;
                Ok(id)
            }
            Some(Err(error)) => self.broken(error),
            None => self.broken(SessionError::Handshake),
        }
    }

    /// The answer to something said in clear, within `patience`.
    pub(super) fn reply(&mut self, id: u32, patience: Duration) -> Result<EnvelopeReply, Error> {
        self.within(patience, |wire| wire.next_in_clear(id))
    }

    /// The answer to a request, within `patience`; answers to earlier ones are skipped.
    pub(super) fn answer(&mut self, id: u32, patience: Duration) -> Result<Response, Error> {
        self.within(patience, |wire| wire.next_sealed(Some(id)))
    }

    /// The first answer of a session, whichever number it bears.
    pub(super) fn first_answer(&mut self, patience: Duration) -> Result<Response, Error> {
        self.within(patience, |wire| wire.next_sealed(None))
    }

    /// What to tell when a request was repeated in vain.
    pub(super) fn given_up(&self, error: Error) -> Error {
        match error {
            Error::Unsealed { target, refusal } if self.is_serial() && is_amnesia(&refusal) => {
                Error::Restarted { target, refusal }
            }
            error => error,
        }
    }

    fn within<T>(
        &mut self,
        patience: Duration,
        mut next: impl FnMut(&mut Wire) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(found) = next(self)? {
                return Ok(found);
            }
            if left.is_zero() || !self.read(left)? && Instant::now() >= deadline {
                return self.silent(patience);
            }
        }
    }

    /// The answer to something said in clear among the bytes already read, if it is there.
    fn next_in_clear(&mut self, id: u32) -> Result<Option<EnvelopeReply>, Error> {
        while let Some(packet) = self.next_packet() {
            let packet = packet?;
            match packet.body {
                EnvelopeReply::Refused(refusal) if packet.id == id => {
                    return Err(self.refused(refusal));
                }
                EnvelopeReply::Refused(refusal) if packet.id == 0 => {
                    // On a serial line, this may be about bytes of an earlier session.
                    if refusal == Refusal::Malformed || self.is_serial() && is_amnesia(&refusal) {
                        return self.garbled(FrameError::Message);
                    }
                    return Err(self.refused(refusal));
                }
                EnvelopeReply::Sealed(_) | EnvelopeReply::Refused(_) => {}
                body if packet.id == id => return Ok(Some(body)),
                EnvelopeReply::Hello { .. } | EnvelopeReply::Handshake(_) => {}
            }
        }
        Ok(None)
    }

    /// The answer to a request, or any answer, among the bytes already read, if it is there.
    fn next_sealed(&mut self, id: Option<u32>) -> Result<Option<Response>, Error> {
        while let Some(packet) = self.next_packet() {
            let sealed = match packet?.body {
                EnvelopeReply::Sealed(sealed) => sealed,
                EnvelopeReply::Refused(refusal) => {
                    let target = self.target.clone();
                    return Err(Error::Unsealed { target, refusal });
                }
                // Late answers to a repeated hello.
                EnvelopeReply::Hello { .. } | EnvelopeReply::Handshake(_) if self.is_serial() => {
                    continue;
                }
                EnvelopeReply::Hello { .. } | EnvelopeReply::Handshake(_) => {
                    return self.confused();
                }
            };
            let Some(session) = &mut self.session else {
                return self.broken(SessionError::Handshake);
            };
            match session.open::<Response>(&sealed) {
                Ok(packet) => match packet.body {
                    // The device could not read what it had opened.
                    Response::Refused(refusal) if packet.id == 0 => {
                        return Err(self.refused(refusal));
                    }
                    body if id.is_none_or(|id| packet.id == id) => {
                        return self.accept(body).map(Some);
                    }
                    _ => {}
                },
                // A number that was there before: not the session's doing, and without effect.
                Err(SessionError::Order { .. }) if self.is_serial() => {}
                Err(error) => {
                    let target = self.target.clone();
                    return Err(Error::Forged { target, error });
                }
            }
        }
        Ok(None)
    }

    /// The next whole frame among the bytes already read.
    fn next_packet(&mut self) -> Option<Result<Packet<EnvelopeReply>, Error>> {
        let unread = mem::take(&mut self.unread);
        let mut input = unread.as_slice();
        let found = self.deframer.next::<Packet<EnvelopeReply>>(&mut input);
        self.unread = input.to_vec();
        Some(match found? {
            Ok(packet) => Ok(packet),
            Err(error) => self.garbled(error),
        })
    }

    fn accept(&self, response: Response) -> Result<Response, Error> {
        match response {
            Response::Refused(refusal) => Err(self.refused(refusal)),
            response => Ok(response),
        }
    }

    fn next_id(&mut self) -> u32 {
        // Zero answers what could not be read.
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    fn send<M: serde::Serialize>(&mut self, packet: &Packet<M>) -> Result<(), Error> {
        let mut encoder = mem::take(&mut self.encoder);
        let written = match encoder.encode(packet) {
            Ok(frame) => self.write(frame),
            Err(error) => self.garbled(error),
        };
        self.encoder = encoder;
        written
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.line
            .write_all(bytes)
            .and_then(|()| self.line.flush())
            .map_err(|source| self.lost(source))
    }

    /// Reads what is there, waiting at most `patience`; false if nothing came.
    fn read(&mut self, patience: Duration) -> Result<bool, Error> {
        let mut buffer = [0; 8192];
        let patience = patience.max(Duration::from_millis(1));
        let read = self
            .line
            .set_patience(patience)
            .and_then(|()| self.line.read(&mut buffer));
        match read {
            Ok(0) => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(len) => {
                self.unread.extend_from_slice(&buffer[..len]);
                Ok(true)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Ok(false),
                io::ErrorKind::Interrupted => Ok(true),
                _ => Err(self.lost(error)),
            },
        }
    }

    pub(super) fn refused(&self, refusal: Refusal) -> Error {
        let target = self.target.clone();
        match refusal {
            Refusal::Version { lowest, highest } => Error::Version {
                target,
                lowest,
                highest,
            },
            refusal => Error::Refused { target, refusal },
        }
    }

    fn lost(&self, source: io::Error) -> Error {
        let target = self.target.clone();
        Error::Lost { target, source }
    }

    pub(super) fn silent<T>(&self, after: Duration) -> Result<T, Error> {
        let target = self.target.clone();
        Err(Error::Silent { target, after })
    }

    pub(super) fn garbled<T>(&self, error: FrameError) -> Result<T, Error> {
        let target = self.target.clone();
        Err(Error::Garbled { target, error })
    }

    pub(super) fn broken<T>(&self, error: SessionError) -> Result<T, Error> {
        let target = self.target.clone();
        Err(Error::Session { target, error })
    }

    pub(super) fn confused<T>(&self) -> Result<T, Error> {
        let target = self.target.clone();
        Err(Error::Confused { target })
    }
}

/// What a door says to a frame of a session it does not have.
fn is_amnesia(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::HelloFirst | Refusal::Sealed | Refusal::TooLong | Refusal::TimedOut
    )
}

/// Where to start counting requests: elsewhere than the last session on the same serial line did.
fn first_id() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // From 2^28 on all numbers are encoded in five bytes, so that equal sessions have equal lengths.
    now.map_or(0, |now| now.subsec_nanos()) + (1 << 28)
}
