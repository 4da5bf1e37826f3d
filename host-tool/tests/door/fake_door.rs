//! A door for the host's tests: the protocol's own sessions over a real socket or pseudo-terminal, people and parts in
//! maps. Obedient unless told to misbehave; what a real door does with bundles is tested with the real one.

mod answers;
mod wire;

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use facelatch_host::connect::Target;
use facelatch_protocol::{
    BundleId, Deframer, Digest, DisplayName, Encoder, Envelope, EnvelopeReply, Event,
    GalleryRecord, Host, Packet, PairingCode, PersonId, PublicKey, Refusal, Request, Response,
    Role, RolledBack, Text, Trial, TrustedKeys, VERSION_HIGHEST, VERSION_LOWEST,
    audit::What,
    bundle::Manifest,
    session::{
        Order, PairingResponder, Purpose, Responder, Sealed, Session, Versions, Welcome, public_key,
    },
};

pub(crate) use self::wire::Wire;

/// The pairing code it shows.
pub(crate) fn code() -> PairingCode {
    PairingCode::new([7; 10])
}

pub(crate) fn id(n: u32) -> PersonId {
    PersonId::parse(&format!("person-{n:03}")).unwrap()
}

/// How it misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mischief {
    /// Not at all.
    None,
    /// One bit of every sealed answer is changed.
    Tampered,
    /// The answer before is sent again instead of the next one.
    Replayed,
    /// Answers are skipped: the next one has a number too high.
    Skipped,
    /// Says in clear that it is busy.
    InClear,
    /// Knows no session any more, as after a restart.
    Amnesia,
    /// Puts garbage on the line before its answer when a person is removed.
    Noise,
    /// Speaks other versions only.
    Versions(u16, u16),
    /// Gives handshake answers that are not its own.
    Impostor,
}

/// What it keeps.
pub(crate) struct State {
    pub(crate) secret: [u8; 32],
    pub(crate) code: Option<PairingCode>,
    pub(crate) tries_left: u8,
    pub(crate) hosts: BTreeMap<PublicKey, Host>,
    pub(crate) keys: Option<TrustedKeys>,
    pub(crate) mischief: Mischief,
    pub(crate) people: BTreeMap<PersonId, (DisplayName, Vec<GalleryRecord>)>,
    pub(crate) events: Vec<Event>,
    /// Parts by digest, whole or begun.
    pub(crate) parts: BTreeMap<Digest, Vec<u8>>,
    pub(crate) offered: Option<(BundleId, Manifest)>,
    pub(crate) active: Option<BundleId>,
    pub(crate) previous: Option<BundleId>,
    pub(crate) trial: Option<Trial>,
    pub(crate) rolled_back: Option<RolledBack>,
    pub(crate) highest: u64,
    /// What its audit record says, at a second each.
    pub(crate) audit: Vec<What>,
    /// Whether bundles prove themselves.
    pub(crate) healthy: bool,
    /// Bytes of parts that arrived.
    pub(crate) arrived: usize,
    /// Connections end after so many more chunks.
    pub(crate) chunks_left: usize,
    pub(crate) lockdown: bool,
    /// Whether somebody is being enrolled.
    pub(crate) enrolling: bool,
}

/// A running door.
pub(crate) struct FakeDoor {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl FakeDoor {
    /// On TCP, and on a serial line if one is given.
    pub(crate) fn start(wire: Option<&Wire>) -> FakeDoor {
        let state = Arc::new(Mutex::new(State {
            secret: [9; 32],
            code: Some(code()),
            tries_left: 3,
            hosts: BTreeMap::new(),
            keys: None,
            mischief: Mischief::None,
            people: BTreeMap::new(),
            events: Vec::new(),
            parts: BTreeMap::new(),
            offered: None,
            active: None,
            previous: None,
            trial: None,
            rolled_back: None,
            highest: 0,
            audit: vec![What::Stopped; 2],
            healthy: true,
            arrived: 0,
            chunks_left: usize::MAX,
            lockdown: false,
            enrolling: false,
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut threads = vec![thread::spawn({
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
            move || {
                thread::scope(|scope| {
                    for stream in listener.incoming() {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        scope.spawn(|| serve_tcp(stream.unwrap(), &state, &stop));
                    }
                });
            }
        })];
        if let Some(wire) = wire {
            let mut port = wire.door_end();
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
            threads.push(thread::spawn(move || {
                Conversation::new(&mut port, &state, Order::Growing).run(&stop);
            }));
        }
        FakeDoor {
            address,
            state,
            stop,
            threads,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn target(&self) -> Target {
        self.address.to_string().parse().unwrap()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn key(&self) -> PublicKey {
        public_key(&self.state().secret)
    }

    /// Knows this host from now on.
    pub(crate) fn knows(&self, host: PublicKey, role: Role) {
        let known = Host {
            key: host,
            name: DisplayName::parse("test").unwrap(),
            role,
            paired_unix_ms: 5,
        };
        self.state().hosts.insert(host, known);
    }
}

impl Drop for FakeDoor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn serve_tcp(mut stream: TcpStream, state: &Mutex<State>, stop: &AtomicBool) {
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    Conversation::new(&mut stream, state, Order::Next).run(stop);
}

/// What is said on one line.
struct Conversation<'s, L> {
    line: &'s mut L,
    state: &'s Mutex<State>,
    order: Order,
    versions: Option<Versions>,
    pairing: Option<PairingResponder>,
    session: Option<(PublicKey, Session)>,
    last: Option<Sealed>,
    encoder: Encoder,
}

impl<'s, L: Read + Write> Conversation<'s, L> {
    fn new(line: &'s mut L, state: &'s Mutex<State>, order: Order) -> Self {
        Conversation {
            line,
            state,
            order,
            versions: None,
            pairing: None,
            session: None,
            last: None,
            encoder: Encoder::new(),
        }
    }

    fn run(&mut self, stop: &AtomicBool) {
        let mut deframer = Deframer::new();
        let mut buffer = [0; 4096];
        while !stop.load(Ordering::Relaxed) {
            let len = match self.line.read(&mut buffer) {
                Ok(0) => return,
                Ok(len) => len,
                Err(error) => match error.kind() {
                    io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => continue,
                    _ => return,
                },
            };
            let mut input = &buffer[..len];
            while let Some(frame) = deframer.next::<Packet<Envelope>>(&mut input) {
                let goes_on = match frame {
                    Ok(packet) => self.hear(packet),
                    Err(_) => self.say(0, EnvelopeReply::Refused(Refusal::Malformed)),
                };
                if !goes_on {
                    return;
                }
            }
        }
    }

    /// Answers one envelope; false ends the connection.
    fn hear(&mut self, packet: Packet<Envelope>) -> bool {
        let id = packet.id;
        let answer = match packet.body {
            Envelope::Hello { lowest, highest } => self.hello(lowest, highest),
            Envelope::Handshake { purpose, message } => match self.handshake(purpose, &message) {
                Some(answer) => answer,
                None => return true,
            },
            Envelope::Sealed(sealed) => return self.sealed(&sealed),
        };
        let refused = matches!(answer, EnvelopeReply::Refused(_));
        self.say(id, answer) && (!refused || self.order == Order::Growing)
    }

    fn hello(&mut self, lowest: u16, highest: u16) -> EnvelopeReply {
        (self.session, self.pairing) = (None, None);
        let (ours_lowest, ours_highest) = match self.state.lock().unwrap().mischief {
            Mischief::Versions(lowest, highest) => (lowest, highest),
            _ => (VERSION_LOWEST, VERSION_HIGHEST),
        };
        if lowest > ours_highest || highest < ours_lowest {
            return EnvelopeReply::Refused(Refusal::Version {
                lowest: ours_lowest,
                highest: ours_highest,
            });
        }
        let chosen = highest.min(ours_highest);
        self.versions = Some(Versions {
            lowest,
            highest,
            chosen,
        });
        EnvelopeReply::Hello {
            version: chosen,
            device: Text::cut(""),
        }
    }

    /// `None` if there is nothing to answer in clear.
    fn handshake(&mut self, purpose: Purpose, message: &[u8]) -> Option<EnvelopeReply> {
        let Some(versions) = self.versions else {
            return Some(EnvelopeReply::Refused(Refusal::HelloFirst));
        };
        match (purpose, self.pairing.take()) {
            (Purpose::Session, _) => Some(self.session(versions, message)),
            (Purpose::Pairing, None) => Some(self.pairing(versions, message)),
            (Purpose::Pairing, Some(pairing)) => self.paired(pairing, message),
        }
    }

    fn session(&mut self, versions: Versions, message: &[u8]) -> EnvelopeReply {
        let state = self.state.lock().unwrap();
        let Ok(responder) = Responder::session(&state.secret, versions, message) else {
            return EnvelopeReply::Refused(Refusal::Handshake);
        };
        let Some(host) = state.hosts.get(&responder.host) else {
            return EnvelopeReply::Refused(Refusal::NotPaired);
        };
        let (key, welcome) = (responder.host, welcome(host.role));
        let (mut answer, session) = responder.accept(&welcome, self.order).unwrap();
        if state.mischief == Mischief::Impostor {
            answer[40] ^= 1;
        }
        self.session = Some((key, session));
        EnvelopeReply::Handshake(answer)
    }

    fn pairing(&mut self, versions: Versions, message: &[u8]) -> EnvelopeReply {
        let mut state = self.state.lock().unwrap();
        let Some(code) = state.code.clone() else {
            return EnvelopeReply::Refused(Refusal::PairingClosed);
        };
        let welcome = welcome(Role::Admin);
        match PairingResponder::begin(&state.secret, &code, versions, message, &welcome) {
            Ok((responder, answer)) => {
                self.pairing = Some(responder);
                EnvelopeReply::Handshake(answer)
            }
            Err(_) => {
                state.tries_left -= 1;
                let tries_left = state.tries_left;
                if tries_left == 0 {
                    state.code = None;
                }
                EnvelopeReply::Refused(Refusal::WrongCode { tries_left })
            }
        }
    }

    fn paired(&mut self, pairing: PairingResponder, message: &[u8]) -> Option<EnvelopeReply> {
        let Ok((key, request, session)) = pairing.finish(message, self.order) else {
            return Some(EnvelopeReply::Refused(Refusal::Handshake));
        };
        let mut state = self.state.lock().unwrap();
        let role = request.role;
        state.hosts.insert(
            key,
            Host {
                key,
                name: request.name,
                role,
                paired_unix_ms: 5,
            },
        );
        if let (None, Some(keys)) = (state.keys, request.keys) {
            state.keys = Some(keys);
        }
        state.code = None;
        drop(state);
        self.session = Some((key, session));
        self.tell(1, &Response::Paired { role });
        None
    }

    fn sealed(&mut self, sealed: &Sealed) -> bool {
        let mischief = self.state.lock().unwrap().mischief;
        if mischief == Mischief::Amnesia {
            self.session = None;
        }
        let Some((host, session)) = &mut self.session else {
            return self.say(0, EnvelopeReply::Refused(Refusal::HelloFirst));
        };
        let host = *host;
        let Ok(packet) = session.open::<Request>(sealed) else {
            return self.say(0, EnvelopeReply::Refused(Refusal::Sealed));
        };
        if mischief == Mischief::InClear {
            return self.say(0, EnvelopeReply::Refused(Refusal::Busy));
        }
        if mischief == Mischief::Noise
            && let Request::PersonRemove { .. } = packet.body
        {
            self.line.write_all(&[3, 1, 4, 0]).unwrap();
        }
        let answer = answers::answer(&mut self.state.lock().unwrap(), host, &packet.body);
        let Some(answer) = answer else {
            return false;
        };
        let ends = packet.body == Request::Goodbye;
        let told = self.tell(packet.id, &answer);
        if let Request::EventsSubscribe { from_seq } = packet.body {
            let events = self.state.lock().unwrap().events.clone();
            for event in events.into_iter().filter(|event| event.seq >= from_seq) {
                // A sign of life may come at any time.
                self.tell(packet.id, &Response::Done);
                self.tell(packet.id, &Response::Event(event));
            }
        }
        told && !(ends && self.order == Order::Next)
    }

    fn tell(&mut self, id: u32, body: &Response) -> bool {
        let mischief = self.state.lock().unwrap().mischief;
        let Some((_, session)) = &mut self.session else {
            return false;
        };
        if mischief == Mischief::Skipped {
            session.seal(&Packet { id, body }).unwrap();
        }
        let mut sealed = session.seal(&Packet { id, body }).unwrap();
        match mischief {
            Mischief::Tampered => sealed.bytes[3] ^= 4,
            Mischief::Replayed => sealed = self.last.take().unwrap_or(sealed),
            _ => {}
        }
        self.last = Some(sealed.clone());
        self.say(0, EnvelopeReply::Sealed(sealed))
    }

    fn say(&mut self, id: u32, body: EnvelopeReply) -> bool {
        let frame = self.encoder.encode(&Packet { id, body }).unwrap();
        // In small pieces: a pseudo-terminal takes no more.
        frame
            .chunks(64)
            .all(|piece| self.line.write_all(piece).is_ok())
    }
}

fn welcome(role: Role) -> Welcome {
    Welcome {
        device: Text::cut("fake"),
        role,
    }
}
