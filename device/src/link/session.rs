//! One session: frames in, one request at a time to its route, answers and events out.
//!
//! The same code on a TCP connection and on a serial port. A connection ends with its session; a serial line has no
//! beginning and no end, so there a hello starts over and bytes before it are skipped.

use std::{
    fmt,
    io::{self, Read, Write},
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, TrySendError, sync_channel},
    time::{Duration, Instant},
};

use facelatch_protocol::{
    Deframer, Encoder, Event, Packet, Refusal, Reply, Request, Response, Text, VERSION_HIGHEST,
    VERSION_LOWEST,
};

use super::{Call, EventSink, Peer, Shared};

/// How often a session that waits for bytes looks up: for the stop, for its timeouts.
const TICK: Duration = Duration::from_millis(200);
/// The same while it listens to events: how late an event may come.
const TICK_LISTENING: Duration = Duration::from_millis(20);
/// A listener is sent an empty frame this often in the idle time: so both ends notice that the other is gone.
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
        greeted: false,
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
    let reply = Reply {
        id: 0,
        body: Response::Refused(refusal),
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
    greeted: bool,
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
                    Ok(packet) => self.request(packet)?,
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

    fn request(&mut self, Packet { id, body }: Packet<Request>) -> Result<(), End> {
        self.last_request = Instant::now();
        self.listen(None)?;
        if !self.greeted && !matches!(body, Request::Hello { .. }) {
            return self.refuse(id, Refusal::HelloFirst);
        }
        let response = match body {
            Request::Hello { lowest, highest } => match common_version(lowest, highest) {
                Ok(version) => {
                    self.greeted = true;
                    let device = Text::cut(&self.shared.device);
                    Response::Hello { version, device }
                }
                Err(refusal) => return self.refuse(id, refusal),
            },
            Request::Goodbye => {
                self.greeted = false;
                self.send(id, Response::Done)?;
                return if self.line.is_connection() {
                    Err(End::Goodbye)
                } else {
                    Ok(())
                };
            }
            request => return self.call(id, request),
        };
        self.send(id, response)
    }

    /// Passes a request on, and its answer back.
    fn call(&mut self, id: u32, request: Request) -> Result<(), End> {
        let subscription = matches!(request, Request::EventsSubscribe { .. }).then(EventSink::new);
        let (sink, events) = subscription.unzip();
        let (reply, answer) = sync_channel(1);
        let route = self.shared.routes.of(&request);
        let call = Call {
            request,
            peer: self.peer.clone(),
            reply,
            events: sink,
        };
        let response = match route.try_send(call) {
            Ok(()) => self.wait(answer).unwrap_or_else(Response::Refused),
            Err(TrySendError::Full(_)) => Response::Refused(Refusal::Busy),
            Err(TrySendError::Disconnected(_)) => Response::Refused(Refusal::Stopping),
        };
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
                    self.line.write_all(&[0]).map_err(not_taken)?;
                }
                Err(TryRecvError::Empty) => break,
                // The loop is gone: the device stops.
                Err(TryRecvError::Disconnected) => {
                    self.listen(None)?;
                    self.refuse(id, Refusal::Stopping)?;
                }
            }
        }
        Ok(())
    }

    /// A frame that holds no message: noise on a serial line, a foreign program on a connection.
    fn unreadable(&mut self, error: facelatch_protocol::FrameError) -> Result<(), End> {
        log::debug!("{}: {error}", self.peer);
        match (self.greeted, self.line.is_connection()) {
            // Boot messages, a login prompt, half a frame of an earlier session.
            (false, false) => Ok(()),
            (false, true) => self.refuse(0, Refusal::HelloFirst),
            (true, _) => self.refuse(0, Refusal::Malformed),
        }
    }

    fn incomplete_frame(&mut self) -> Result<(), End> {
        if self.line.is_connection() {
            Err(End::TimedOut)
        } else {
            Ok(())
        }
    }

    fn idle(&mut self) -> Result<(), End> {
        let limits = &self.shared.limits;
        // A stranger who does not even greet is given no longer than a frame takes.
        let patience = if self.greeted {
            limits.idle
        } else {
            limits.frame
        };
        if self.listening.is_some() || self.last_request.elapsed() < patience {
            return Ok(());
        }
        if self.line.is_connection() {
            return Err(End::TimedOut);
        }
        self.greeted = false;
        Ok(())
    }

    /// Says no; on a connection that ends the session, except for what the route refused.
    fn refuse(&mut self, id: u32, refusal: Refusal) -> Result<(), End> {
        self.send(id, Response::Refused(refusal.clone()))?;
        if self.line.is_connection() {
            Err(End::Refused(refusal))
        } else {
            Ok(())
        }
    }

    fn send(&mut self, id: u32, body: Response) -> Result<(), End> {
        let frame = self
            .encoder
            .encode(&Reply { id, body })
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

/// The highest version both sides speak.
fn common_version(lowest: u16, highest: u16) -> Result<u16, Refusal> {
    let version = highest.min(VERSION_HIGHEST);
    if version >= lowest.max(VERSION_LOWEST) {
        Ok(version)
    } else {
        Err(Refusal::Version {
            lowest: VERSION_LOWEST,
            highest: VERSION_HIGHEST,
        })
    }
}

fn is_wait(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
