//! A device for tests: the real link and the real bundle store, with a loop that keeps people in a map.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use facelatch_device::{
    link::{Call, Config, EventSink, Link, Routes},
    store::Store,
};
use facelatch_host::connect::Target;
use facelatch_protocol::{
    Digest, DoorState, Event, EventKind, GalleryRecord, PeoplePage, Person, PersonId, Refusal,
    Request, Response, SpaceName, Status, TemplateKey, Text, UpdateStep,
    bundle::{Part, PartKind, PartName},
    bundle_v1::{FORMAT, Header, MAX_HEADER, PREFIX_LEN},
};
use serialport::{SerialPort, TTYPort};
use sha2::{Digest as _, Sha256};

pub(crate) const MAX_BUNDLE_BYTES: u64 = 1 << 20;
pub(crate) const MAX_SESSIONS: usize = 8;

pub(crate) fn id(n: u32) -> PersonId {
    PersonId::parse(&format!("person-{n:03}")).unwrap()
}

/// A bundle file on disk.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
    len: u64,
    _folder: tempfile::TempDir,
}

impl File {
    pub(crate) fn size(&self) -> u64 {
        self.len
    }
}

/// A bundle whose one network has so many bytes.
pub(crate) fn bundle(counter: u64, len: usize) -> File {
    // Neither all zeros nor free of them.
    let network: Vec<u8> = (0..len as u64).map(|i| (i * i + counter) as u8).collect();
    let sha256 = |bytes: &[u8]| Digest(Sha256::digest(bytes).into());
    let part = Part {
        kind: PartKind::Networks,
        name: PartName::parse("net.onnx").unwrap(),
        len: len as u64,
        sha256: sha256(&network),
    };
    let header = Header {
        format: FORMAT,
        created_unix_ms: 1_700_000_000_000,
        counter,
        space: SpaceName::parse("test-2").unwrap(),
        parts: [part].into_iter().collect(),
    };
    let mut buffer = [0; PREFIX_LEN + MAX_HEADER];
    let bytes = [header.encode(&mut buffer).unwrap(), &network].concat();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("door.flb");
    std::fs::write(&path, &bytes).unwrap();
    File {
        path,
        digest: sha256(&bytes),
        len: bytes.len() as u64,
        _folder: folder,
    }
}

/// A running device.
pub(crate) struct Device {
    link: Option<Link>,
    thread: Option<JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl Device {
    /// On TCP, and on a serial line if one is given.
    pub(crate) fn start(wire: Option<&Wire>) -> Device {
        Device::start_in(tempfile::tempdir().unwrap(), wire)
    }

    fn start_in(folder: tempfile::TempDir, wire: Option<&Wire>) -> Device {
        let config = Config {
            tcp_listen: "127.0.0.1:0".to_owned(),
            serial_port: wire.map(Wire::device_end),
            max_sessions: MAX_SESSIONS,
            frame_timeout_ms: 1_000,
            ..Config::default()
        };
        let (sender, calls) = sync_channel(MAX_SESSIONS);
        let routes = Routes {
            device: sender.clone(),
            bundles: sender,
        };
        let link = Link::start(&config, "stand-in", routes).unwrap();
        let store = Store::open(folder.path(), MAX_BUNDLE_BYTES).unwrap();
        let thread = thread::spawn(move || Loop::new(store).run(calls));
        Device {
            link: Some(link),
            thread: Some(thread),
            folder,
        }
    }

    /// Stops the daemon and starts it again on the same data.
    pub(crate) fn restart(mut self) -> Device {
        self.stop();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Device::start_in(folder, None)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.link.as_ref().unwrap().tcp_address().unwrap()
    }

    pub(crate) fn target(&self) -> Target {
        self.address().to_string().parse().unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn stop(&mut self) {
        drop(self.link.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the device's loop owns.
struct Loop {
    store: Store,
    people: BTreeMap<PersonId, Vec<GalleryRecord>>,
    names: BTreeMap<PersonId, facelatch_protocol::DisplayName>,
    events: Vec<Event>,
    listeners: Vec<EventSink>,
}

impl Loop {
    fn new(store: Store) -> Loop {
        Loop {
            store,
            people: BTreeMap::new(),
            names: BTreeMap::new(),
            events: Vec::new(),
            listeners: Vec::new(),
        }
    }

    fn run(mut self, calls: Receiver<Call>) {
        for mut call in calls {
            let response = self.answer(&call.request).unwrap_or_else(Response::Refused);
            if let (Request::EventsSubscribe { from_seq }, Some(mut sink)) =
                (&call.request, call.events.take())
            {
                let kept = self.events.iter().filter(|event| event.seq >= *from_seq);
                for event in kept {
                    let _ = sink.send(event);
                }
                self.listeners.push(sink);
            }
            call.reply.send(response).ok();
        }
    }

    fn answer(&mut self, request: &Request) -> Result<Response, Refusal> {
        let stored = |error: facelatch_device::store::Error| error.refusal();
        match request {
            Request::Hello { .. } | Request::Goodbye => unreachable!("the session answers these"),
            Request::Status => return Ok(Response::Status(self.status())),
            Request::DoorState => return Ok(Response::Door(DoorState::Locked)),
            Request::EventsSubscribe { .. } => {}
            Request::TimeSync { unix_ms } => {
                let (unix_ms, moved_ms) = (*unix_ms, 5);
                return Ok(Response::Time { unix_ms, moved_ms });
            }
            Request::People { after } => return Ok(Response::People(self.page(after.as_ref()))),
            Request::PersonAdd { person, name } => {
                self.people.entry(person.clone()).or_default();
                self.names.insert(person.clone(), name.clone());
            }
            Request::PersonRemove { person } => {
                self.people.remove(person).ok_or(Refusal::UnknownPerson)?;
            }
            Request::TemplateAdd { person, template } => {
                let records = self.people.get_mut(person).ok_or(Refusal::UnknownPerson)?;
                let (person, index) = (person.clone(), records.len() as u32);
                records.push(GalleryRecord {
                    name: self.names[&person].clone(),
                    key: TemplateKey { person, index },
                    created_unix_ms: 1_700_000_000_000,
                    template: template.clone(),
                });
            }
            Request::GalleryPull { after } => {
                let next = self
                    .people
                    .values()
                    .flatten()
                    .find(|r| Some(&r.key) > after.as_ref());
                return Ok(Response::Gallery(next.cloned()));
            }
            Request::BundleBegin { size, sha256 } => {
                self.store.begin(*size, *sha256).map_err(stored)?;
                return Ok(Response::Bundle(self.store.progress()));
            }
            Request::BundleChunk(chunk) => {
                self.store
                    .chunk(chunk.offset, &chunk.bytes)
                    .map_err(stored)?;
                return Ok(Response::Bundle(self.store.progress()));
            }
            Request::BundleCommit { sha256 } => {
                let candidate = self.store.verify(*sha256).map_err(stored)?;
                self.store.commit(&candidate).map_err(stored)?;
                let (digest, step) = (*sha256, UpdateStep::Committed);
                self.tell(EventKind::Update { digest, step });
                return Ok(Response::Bundle(self.store.progress()));
            }
            Request::BundleAbort => {
                self.store.abort();
                return Ok(Response::Bundle(self.store.progress()));
            }
            Request::BundleStatus => return Ok(Response::Bundle(self.store.progress())),
            Request::BundleOffer(_)
            | Request::PartChunk { .. }
            | Request::UpdateStatus
            | Request::AuditRead { .. }
            | Request::Hosts { .. }
            | Request::HostRevoke { .. }
            | Request::PairingOpen { .. }
            | Request::PairingClose
            | Request::KeysReplace { .. } => return Err(Refusal::Internal),
        }
        Ok(Response::Done)
    }

    fn tell(&mut self, kind: EventKind) {
        let event = Event {
            seq: self.events.len() as u64 + 1,
            unix_ms: 1_700_000_000_000,
            kind,
        };
        self.listeners.retain_mut(|sink| sink.send(&event));
        self.events.push(event);
    }

    fn page(&self, after: Option<&PersonId>) -> PeoplePage {
        let rest = self.people.iter().filter(|(id, _)| Some(*id) > after);
        let person = |(id, records): (&PersonId, &Vec<GalleryRecord>)| Person {
            person: id.clone(),
            name: self.names[id].clone(),
            created_unix_ms: 1_700_000_000_000,
            templates: records.len() as u32,
        };
        PeoplePage {
            people: rest
                .map(person)
                .take(facelatch_protocol::PEOPLE_PER_PAGE)
                .collect(),
        }
    }

    fn status(&self) -> Status {
        let mut state = Sha256::new();
        for record in self.people.values().flatten() {
            state.update(format!("{record:?}"));
        }
        state.update(format!("{:?}", self.store.progress()));
        Status {
            device: Text::cut("stand-in"),
            board: Text::cut("sim"),
            software: Text::cut("0.1.0"),
            protocol: 1,
            space: None,
            people: self.people.len() as u32,
            templates: self
                .people
                .values()
                .map(|records| records.len() as u32)
                .sum(),
            active: self.store.active(),
            previous: self.store.previous(),
            state: Digest(state.finalize().into()),
            uptime_ms: 1,
            unix_ms: 1_700_000_000_000,
            frames: 0,
            door: DoorState::Locked,
            last_fault: None,
            free_bytes: 0,
        }
    }
}

/// A serial cable: two pseudo-terminals, joined.
pub(crate) struct Wire {
    ends: [TTYPort; 2],
    passed: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Wire {
    /// `disturb` is given how many bytes passed before in this direction, and the next ones.
    pub(crate) fn new(disturb: fn(usize, Vec<u8>) -> Vec<u8>) -> Wire {
        let [(near_a, far_a), (near_b, far_b)] = [(); 2].map(|()| TTYPort::pair().unwrap());
        let passed = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let copy = |mut from: TTYPort, mut to: TTYPort| {
            let (passed, stop) = (Arc::clone(&passed), Arc::clone(&stop));
            thread::spawn(move || {
                let mut buffer = [0; 256];
                let mut this_way = 0;
                while !stop.load(Ordering::Relaxed) {
                    match from.read(&mut buffer) {
                        Ok(len) => {
                            let bytes = disturb(this_way, buffer[..len].to_vec());
                            this_way += len;
                            passed.fetch_add(len, Ordering::Relaxed);
                            to.write_all(&bytes).unwrap();
                        }
                        Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                        Err(_) => return,
                    }
                }
            })
        };
        let threads = vec![
            copy(
                near_a.try_clone_native().unwrap(),
                near_b.try_clone_native().unwrap(),
            ),
            copy(near_b, near_a),
        ];
        let mut ends = [far_a, far_b];
        ends.iter_mut()
            .for_each(|end| end.set_timeout(Duration::from_millis(20)).unwrap());
        Wire {
            ends,
            passed,
            stop,
            threads,
        }
    }

    pub(crate) fn device_end(&self) -> PathBuf {
        self.ends[0].name().unwrap().into()
    }

    pub(crate) fn host_end(&self) -> Target {
        self.ends[1].name().unwrap().parse().unwrap()
    }

    /// Bytes that passed, both ways together.
    pub(crate) fn passed(&self) -> usize {
        self.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}
