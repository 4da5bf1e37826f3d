//! One session: frames in, a handshake, then one sealed request at a time to its route, sealed answers and events out.
//!
//! The same code on a TCP connection and on a serial port. A connection ends with its session; a serial line has no
//! beginning and no end, so there a hello starts over and bytes before it are skipped. What is refused in clear is what is
//! not of a session. How a handshake goes is in `greeting`.

use std::{
    fmt,
    io::{self, Read, Write},
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, TrySendError, sync_channel},
    time::{Duration, Instant},
};

use facelatch_protocol::{
    Deframer, Encoder, Envelope, EnvelopeReply, Event, FrameError, Packet, Refusal, Request,
    Response, Text,
    session::{Order, Purpose, Sealed},
};

use super::{
    Ask, Call, EventSink, Peer, Shared,
    greeting::{self, Stage},
    needed,
};
use crate::hosts::Pairing;

/// How often a session that waits for bytes looks up: for the stop, for its timeouts.
const TICK: Duration = Duration::from_millis(200);
/// The same while it listens to events: how late an event may come.
const TICK_LISTENING: Duration = Duration::from_millis(20);
/// A listener is sent a sealed sign of life this often in the idle time: so both ends notice that the other is gone, and
/// nobody in between can keep events back unnoticed.
const HEARTBEATS: u32 = 6;

/// A byte line with bounded waits.
pub(super) trait Line: Read + Write {
    /// How long one read waits before it fails with `TimedOut` or `WouldBlock`.
    fn set_read_timeout(&mut self, timeout: Duration) -> io::Result<()>;

    /// True if the line ends with its session, as a connection does.
    fn is_connection(&self) -> bool;
}

/// Why a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The peer said goodbye.
    Goodbye,
    /// The peer closed the line.
    Closed,
    /// The line failed.
    Failed(io::Error),
    /// The peer broke the rules.
    Refused(Refusal),
    /// Nothing was asked for too long, a frame stayed incomplete, or the peer took no bytes.
    TimedOut,
    /// The device stops.
    Stopping,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Goodbye => f.write_str("goodbye"),
            End::Closed => f.write_str("closed by the peer"),
            End::Failed(error) => write!(f, "{error}"),
            End::Refused(refusal) => write!(f, "refused: {refusal}"),
            End::TimedOut => f.write_str("timed out"),
            End::Stopping => f.write_str("the device stops"),
        }
    }
}

/// Serves a line until it ends.
pub(super) fn serve(line: &mut dyn Line, peer: &Peer, shared: &Shared) -> End {
    let now = Instant::now();
    let mut session = Session {
        line,
        peer,
        shared,
        encoder: Box::default(),
        stage: Stage::Silent,
        began: now,
        listening: None,
        last_request: now,
    };
    match session.run() {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

/// Tells a peer that there is no room for it.
pub(super) fn turn_away(line: &mut dyn Line, refusal: Refusal) -> io::Result<()> {
    let reply = Packet {
        id: 0,
        body: EnvelopeReply::Refused(refusal),
    };
    let mut encoder = Box::<Encoder>::default();
    let frame = encoder.encode(&reply).map_err(io::Error::other)?;
    line.write_all(frame)
}

struct Session<'a> {
    line: &'a mut dyn Line,
    peer: &'a Peer,
    shared: &'a Shared,
    encoder: Box<Encoder>,
    stage: Stage,
    /// When the connection, or on a serial line the handshake, began.
    began: Instant,
    listening: Option<Listening>,
    last_request: Instant,
}

/// A running event subscription.
struct Listening {
    id: u32,
    events: Receiver<Event>,
    last_sent: Instant,
}

impl Session<'_> {
    fn run(&mut self) -> Result<std::convert::Infallible, End> {
        let mut deframer = Box::<Deframer>::default();
        let mut buffer = [0; 4096];
        let mut frame_began = None;
        self.line.set_read_timeout(TICK).map_err(End::Failed)?;
        loop {
            if self.shared.stop.is_set() {
                return Err(End::Stopping);
            }
            let mut input: &[u8] = match self.line.read(&mut buffer) {
                Ok(0) => return Err(End::Closed),
                Ok(len) => &buffer[..len],
                Err(error) if is_wait(&error) => &[],
                Err(error) => return Err(End::Failed(error)),
            };
            while let Some(packet) = deframer.next(&mut input) {
                frame_began = None;
                match packet {
                    Ok(packet) => self.packet(packet)?,
                    Err(error) => self.unreadable(error)?,
                }
            }
            if deframer.is_idle() {
                frame_began = None;
            } else if frame_began.get_or_insert_with(Instant::now).elapsed()
                >= self.shared.limits.frame
            {
                self.incomplete_frame()?;
                deframer.reset();
                frame_began = None;
            }
            self.idle()?;
            self.pass_events()?;
        }
    }

    fn packet(&mut self, Packet { id, body }: Packet<Envelope>) -> Result<(), End> {
        match body {
            Envelope::Hello { lowest, highest } => {
                self.listen(None)?;
                // Whoever keeps saying hello on a connection does not get more time by it.
                if matches!(self.stage, Stage::Open(_)) || !self.line.is_connection() {
                    self.began = Instant::now();
                }
                match greeting::hello(lowest, highest) {
                    Ok(versions) => {
                        self.stage = Stage::Greeted(versions);
                        let version = versions.chosen;
                        let device = Text::cut("");
                        self.send_clear(id, EnvelopeReply::Hello { version, device })
                    }
                    Err(refusal) => self.refuse_clear(id, refusal),
                }
            }
            Envelope::Handshake { purpose, message } => self.handshake(id, purpose, &message),
            Envelope::Sealed(sealed) => self.sealed(&sealed),
        }
    }

    fn handshake(&mut self, id: u32, purpose: Purpose, message: &[u8]) -> Result<(), End> {
        let (hosts, device) = (&*self.shared.hosts, self.shared.device.as_str());
        let order = self.order();
        let stage = std::mem::replace(&mut self.stage, Stage::Silent);
        if !self.turn()? {
            return self.refuse_clear(id, Refusal::Busy);
        }
        let stepped = match (stage, purpose) {
            (Stage::Greeted(versions), Purpose::Session) => {
                greeting::paired(hosts, device, versions, order, message)
                    .map(|(open, answer)| (Stage::Open(Box::new(open)), answer))
            }
            (Stage::Greeted(versions), Purpose::Pairing) => greeting::pairing(
                hosts, device, versions, message,
            )
            .map(|(responder, window, answer)| {
                (Stage::Pairing(Box::new(responder), window), answer)
            }),
            (Stage::Pairing(responder, window), Purpose::Pairing) => {
                return match greeting::introduced(*responder, window, order, message) {
                    Ok((open, pairing)) => {
                        self.stage = Stage::Open(Box::new(open));
                        self.pair(id, pairing)
                    }
                    Err(refusal) => self.refuse_clear(id, refusal),
                };
            }
            (Stage::Silent | Stage::Open(_), _) | (Stage::Pairing(..), Purpose::Session) => {
                Err(Refusal::HelloFirst)
            }
        };
        match stepped {
            Ok((stage, answer)) => {
                self.stage = stage;
                self.last_request = Instant::now();
                self.send_clear(id, EnvelopeReply::Handshake(answer))
            }
            Err(refusal) => {
                if let Refusal::WrongCode { tries_left } = refusal {
                    log::warn!("{}: wrong pairing code, {tries_left} tries left", self.peer);
                    self.ask(Ask::WrongCode { tries_left }, None);
                }
                self.refuse_clear(id, refusal)
            }
        }
    }

    /// Waits for a turn to work on a handshake; false if none came in time.
    fn turn(&mut self) -> Result<bool, End> {
        loop {
            let wait = self.shared.handshakes.take(Instant::now());
            if wait.is_zero() {
                return Ok(true);
            }
            if self.shared.stop.wait(wait) {
                return Err(End::Stopping);
            }
            if Instant::now() >= self.deadline() {
                return Ok(false);
            }
        }
    }

    /// Has the host remembered; only then the session is one.
    fn pair(&mut self, id: u32, pairing: Pairing) -> Result<(), End> {
        let name = pairing.name.clone();
        let response = self.ask(Ask::Pair(pairing), None);
        log::info!("{}: pairing with {name}: {response:?}", self.peer);
        let paired = matches!(response, Response::Paired { .. });
        self.last_request = Instant::now();
        self.send(id, response)?;
        if !paired {
            self.stage = Stage::Silent;
        }
        Ok(())
    }

    fn sealed(&mut self, sealed: &Sealed) -> Result<(), End> {
        let Stage::Open(open) = &mut self.stage else {
            return self.refuse_clear(0, Refusal::HelloFirst);
        };
        let Some(role) = self.shared.hosts.role(&open.host) else {
            return self.revoked();
        };
        match open.seals.open::<Request>(sealed) {
            Ok(Packet { id, body }) => {
                self.last_request = Instant::now();
                self.listen(None)?;
                let needed = needed(&body);
                if role < needed {
                    return self.send(id, Response::Refused(Refusal::Role { needed }));
                }
                self.request(id, body)
            }
            Err(error) => {
                log::debug!("{}: {error}", self.peer);
                self.refuse_clear(0, greeting::refusal(error))
            }
        }
    }

    fn request(&mut self, id: u32, request: Request) -> Result<(), End> {
        match request {
            // Said in clear, before a session.
            Request::Hello { .. } => self.send(id, Response::Refused(Refusal::Malformed)),
            Request::Goodbye => {
                self.send(id, Response::Done)?;
                self.stage = Stage::Silent;
                if self.line.is_connection() {
                    Err(End::Goodbye)
                } else {
                    Ok(())
                }
            }
            request => self.call(id, request),
        }
    }

    /// Passes a request on, and its answer back.
    fn call(&mut self, id: u32, request: Request) -> Result<(), End> {
        let subscription = matches!(request, Request::EventsSubscribe { .. }).then(EventSink::new);
        let (sink, events) = subscription.unzip();
        let response = self.ask(Ask::Request(request), sink);
        let subscribed = matches!(response, Response::Done);
        // The wait may have been long: the peer's idle time starts now.
        self.last_request = Instant::now();
        self.send(id, response)?;
        match events {
            Some(events) if subscribed => {
                let last_sent = Instant::now();
                self.listen(Some(Listening {
                    id,
                    events,
                    last_sent,
                }))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Has something done by whoever owns it.
    fn ask(&self, ask: Ask, events: Option<EventSink>) -> Response {
        let (reply, answer) = sync_channel(1);
        let route = self.shared.routes.of(&ask);
        let call = Call {
            ask,
            peer: self.peer.clone(),
            host: match &self.stage {
                Stage::Open(open) => Some(open.host),
                Stage::Silent | Stage::Greeted(_) | Stage::Pairing(..) => None,
            },
            reply,
            events,
        };
        match route.try_send(call) {
            Ok(()) => self.wait(answer).unwrap_or_else(Response::Refused),
            Err(TrySendError::Full(_)) => Response::Refused(Refusal::Busy),
            Err(TrySendError::Disconnected(_)) => Response::Refused(Refusal::Stopping),
        }
    }

    /// Waits for the answer to a call.
    fn wait(&self, answer: Receiver<Response>) -> Result<Response, Refusal> {
        let asked = Instant::now();
        loop {
            match answer.recv_timeout(TICK.min(self.shared.limits.reply)) {
                Ok(response) => return Ok(response),
                Err(RecvTimeoutError::Disconnected) => return Err(Refusal::Internal),
                Err(RecvTimeoutError::Timeout) if self.shared.stop.is_set() => {
                    return Err(Refusal::Stopping);
                }
                Err(RecvTimeoutError::Timeout) if asked.elapsed() >= self.shared.limits.reply => {
                    return Err(Refusal::Busy);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn listen(&mut self, listening: Option<Listening>) -> Result<(), End> {
        if listening.is_some() != self.listening.is_some() {
            let tick = if listening.is_some() {
                TICK_LISTENING
            } else {
                TICK
            };
            self.line.set_read_timeout(tick).map_err(End::Failed)?;
        }
        self.listening = listening;
        Ok(())
    }

    fn pass_events(&mut self) -> Result<(), End> {
        let heartbeat = self.shared.limits.idle / HEARTBEATS;
        while let Some(listening) = &mut self.listening {
            let id = listening.id;
            match listening.events.try_recv() {
                Ok(event) => {
                    listening.last_sent = Instant::now();
                    self.send(id, Response::Event(event))?;
                }
                Err(TryRecvError::Empty) if listening.last_sent.elapsed() >= heartbeat => {
                    listening.last_sent = Instant::now();
                    self.send(id, Response::Done)?;
                }
                Err(TryRecvError::Empty) => break,
                // The loop is gone: the device stops.
                Err(TryRecvError::Disconnected) => {
                    self.listen(None)?;
                    self.send(id, Response::Refused(Refusal::Stopping))?;
                    return self.ended(Refusal::Stopping);
                }
            }
        }
        Ok(())
    }

    /// A frame that holds no message: noise on a serial line, a foreign program on a connection.
    fn unreadable(&mut self, error: FrameError) -> Result<(), End> {
        log::debug!("{}: {error}", self.peer);
        let refusal = match (&self.stage, error) {
            // Boot messages, a login prompt, half a frame of an earlier session.
            (Stage::Silent, _) if !self.line.is_connection() => return Ok(()),
            (_, FrameError::TooLong) => Refusal::TooLong,
            (Stage::Silent, _) => Refusal::HelloFirst,
            (Stage::Greeted(_) | Stage::Pairing(..) | Stage::Open(_), _) => Refusal::Malformed,
        };
        self.refuse_clear(0, refusal)
    }

    fn incomplete_frame(&mut self) -> Result<(), End> {
        if self.line.is_connection() {
            self.refuse_clear(0, Refusal::TimedOut)
        } else {
            Ok(())
        }
    }

    /// Nobody may sit there for nothing: a stranger no longer than a handshake takes, a host no longer than it is patient.
    fn idle(&mut self) -> Result<(), End> {
        let over = match &self.stage {
            Stage::Open(open) if self.shared.hosts.role(&open.host).is_none() => {
                return self.revoked();
            }
            Stage::Open(_) => {
                self.listening.is_none() && self.last_request.elapsed() >= self.shared.limits.idle
            }
            Stage::Silent if !self.line.is_connection() => false,
            Stage::Silent | Stage::Greeted(_) | Stage::Pairing(..) => {
                Instant::now() >= self.deadline()
            }
        };
        match over {
            true if self.line.is_connection() => self.refuse_clear(0, Refusal::TimedOut),
            true => {
                self.stage = Stage::Silent;
                Ok(())
            }
            false => Ok(()),
        }
    }

    /// When a handshake must be done.
    fn deadline(&self) -> Instant {
        self.began + self.shared.limits.frame
    }

    /// On a serial line, a message may be lost to noise.
    fn order(&self) -> Order {
        if self.line.is_connection() {
            Order::Next
        } else {
            Order::Growing
        }
    }

    fn revoked(&mut self) -> Result<(), End> {
        self.listen(None)?;
        self.send(0, Response::Refused(Refusal::NotPaired))?;
        self.stage = Stage::Silent;
        self.ended(Refusal::NotPaired)
    }

    /// Says no to what is not of a session.
    fn refuse_clear(&mut self, id: u32, refusal: Refusal) -> Result<(), End> {
        self.send_clear(id, EnvelopeReply::Refused(refusal.clone()))?;
        self.ended(refusal)
    }

    /// A connection ends with its session.
    fn ended(&self, refusal: Refusal) -> Result<(), End> {
        if self.line.is_connection() {
            Err(End::Refused(refusal))
        } else {
            Ok(())
        }
    }

    fn send(&mut self, id: u32, body: Response) -> Result<(), End> {
        let Stage::Open(open) = &mut self.stage else {
            return Ok(());
        };
        let sealed = open.seals.seal(&Packet { id, body });
        let sealed = sealed.map_err(|error| End::Failed(io::Error::other(error)))?;
        self.send_clear(0, EnvelopeReply::Sealed(sealed))
    }

    fn send_clear(&mut self, id: u32, body: EnvelopeReply) -> Result<(), End> {
        let frame = self
            .encoder
            .encode(&Packet { id, body })
            .map_err(|error| End::Failed(io::Error::other(error)))?;
        self.line.write_all(frame).map_err(not_taken)
    }
}

/// Why a peer did not take what was written.
fn not_taken(error: io::Error) -> End {
    if is_wait(&error) {
        End::TimedOut
    } else {
        End::Failed(error)
    }
}

fn is_wait(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
