//! A simulated door and its visitors: the real daemon in this process, real networks, TCP between host and door; only
//! camera and relay are simulated.
//!
//! ```text
//! visitors.toml -> Stage::show -> sim camera -> facelatchd's loop -> relay's timeline
//!                      ^--------- events over TCP ------'  '------- Visit
//! ```
//!
//! Time is the sim board's: ten frames a second of simulated time, as fast as the machine can, so that the outcome does
//! not depend on the machine's speed. Called by `cmd/demo.rs`.

mod enrolling;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use facelatch_boards::{
    BoardFile, CameraFacts, Clock, Gap,
    sim::{ClockKind, Handle, Picture, Visitor},
};
use facelatch_device::{Config, Device, Settings, StopAfter, Supervisor};
use facelatch_models::{liveness::Level, mtcnn::Face};
use facelatch_protocol::{DisplayName, Event, EventKind, Role};
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    client::{Client, Credentials},
    cmd::pair,
    connect::Target,
    home::Home,
    pad::{
        actor::{self, Actor},
        scene::Photo,
        species::Species,
    },
};

/// How long a grant keeps the demo's door unlocked, in simulated milliseconds.
pub const UNLOCK_MS: u64 = 2_000;
/// How long each visitor stands in front of the camera, in frames of a tenth of a second.
const FRAMES: u32 = 10;
/// How long somebody who is asked to turn may take, in frames: a challenge that nobody follows has failed by then.
const ACTING_FRAMES: u32 = 75;
/// The rendered visitors' random numbers.
const SEED: u64 = 1;
/// Frames between two visitors: time for the door to lock again.
const GAP_FRAMES: u32 = 30;
/// Longest real time one visitor may take, networks on a slow machine included.
const VISIT_PATIENCE: Duration = Duration::from_secs(120);
/// Everything a visit caused has arrived when nothing more comes for this long.
const QUIET: Duration = Duration::from_millis(150);
/// How long the door may take to answer the first time.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// `visitors.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Programme {
    visitor: Vec<Entry>,
}

/// One visitor of the programme.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// File in the folder of visitors.
    pub photo: PathBuf,
    /// What it shows, in words.
    pub what: String,
    /// Factor on every pixel value.
    #[serde(default = "unchanged")]
    pub brightness: f32,
    /// The person who gets in, or "nobody".
    pub expect: String,
}

fn unchanged() -> f32 {
    1.0
}

/// How a visit ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Visit {
    /// The photo.
    pub photo: String,
    /// What it shows.
    pub what: String,
    /// Who was let in.
    pub person: Option<String>,
    /// "granted" or "denied"; of an enrollment, "enrolled" or "refused".
    pub decision: &'static str,
    /// Why.
    pub reason: &'static str,
    /// Cosine distance to the nearest template, if a face was judged.
    pub distance: Option<f32>,
    /// The classifier's probability, if a face was judged.
    pub probability: Option<f32>,
    /// How long the relay was on, in simulated milliseconds; 0 if it did not move.
    pub relay_ms: u64,
    /// From the deciding frame to the decision, in real milliseconds.
    pub latency_ms: u32,
    /// When the visitor came, in simulated milliseconds since the first one.
    pub at_ms: u64,
    /// Decision and person are the ones expected.
    pub expected: bool,
}

/// The door and both ends of it.
pub struct Stage {
    device: Device,
    sim: Handle,
    address: SocketAddr,
    credentials: Option<Credentials>,
    events: Option<Receiver<Event>>,
    first_at: Option<Duration>,
}

/// Who comes, in order.
///
/// # Errors
/// [`Error::Input`] if the list cannot be read, or names a photo that is not there.
pub fn programme(folder: &Path) -> Result<Vec<Entry>, Error> {
    let path = folder.join("visitors.toml");
    let input = |why: String| Error::Input {
        path: path.clone(),
        why,
    };
    let text = fs::read_to_string(&path).map_err(|error| input(error.to_string()))?;
    let programme: Programme = toml::from_str(&text).map_err(|error| input(error.to_string()))?;
    for entry in &programme.visitor {
        let photo = folder.join("visitors").join(&entry.photo);
        if !photo.is_file() {
            return Err(input(format!("{} is not there", photo.display())));
        }
    }
    Ok(programme.visitor)
}

impl Stage {
    /// Starts the door with its data in `data`, listening on a port the system chooses.
    ///
    /// # Errors
    /// [`Error::Demo`] if the daemon does not start.
    pub fn start(data: &Path, zoo: &Path) -> Result<Stage, Error> {
        // Photos stand for people: they do not move.
        Stage::start_at(data, zoo, Level::Off)
    }

    /// Stops the door and starts it again on the same data, asking for a challenge now: photos stand for photos.
    ///
    /// # Errors
    /// As for [`Stage::start`] and [`Stage::stop`]; [`Error::Client`].
    pub fn challenging(self, data: &Path, zoo: &Path) -> Result<Stage, Error> {
        let credentials = self.credentials.clone();
        self.stop()?;
        let mut stage = Stage {
            credentials,
            ..Stage::start_at(data, zoo, Level::Challenge)?
        };
        stage.listen()?;
        Ok(stage)
    }

    fn start_at(data: &Path, zoo: &Path, level: Level) -> Result<Stage, Error> {
        let mut config = Config::default();
        config.liveness.level = level;
        config.link.name = "demo door".to_owned();
        config.link.tcp_listen = "127.0.0.1:0".to_owned();
        config.door.unlock_ms = UNLOCK_MS;
        config.enroll.button = true;
        let device = Device::start(Settings {
            board: board()?,
            data: data.to_path_buf(),
            config,
            zoo: Some(zoo.to_path_buf()),
            stop_after: StopAfter::Never,
            show_codes: false,
            supervisor: Supervisor::default(),
        })
        .map_err(|error| Error::Demo(error.to_string()))?;
        let sim = device.sim().cloned();
        match (sim, device.tcp_address()) {
            (Some(sim), Some(address)) => Ok(Stage {
                device,
                sim,
                address,
                credentials: None,
                events: None,
                first_at: None,
            }),
            (_, _) => Err(Error::Bug(
                "the demo's door has no simulated board or no address".into(),
            )),
        }
    }

    /// Where the door listens.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::Tcp {
            host: self.address.ip().to_string(),
            port: self.address.port(),
        }
    }

    /// Pairs a workspace with the door as its admin, with the code the door shows at its first start.
    ///
    /// # Errors
    /// [`Error::Demo`] if it shows none, [`Error::Client`].
    pub fn pair(&mut self, home: &Home) -> Result<Client, Error> {
        let code = self.device.pairing_code();
        let code = code.ok_or_else(|| Error::Demo("it shows no pairing code".into()))?;
        let name = DisplayName::parse("demo")
            .map_err(|why| Error::Bug(format!("the demo's name {why}")))?;
        let request = pair::request(home, name, Role::Admin)?;
        let (target, secret) = (self.target(), home.keys().host()?);
        let line = Client::reach(&target, ANSWER_PATIENCE)?;
        let target = target.to_string();
        let (client, paired) =
            Client::pair(line, &target, &secret, &code, &request, ANSWER_PATIENCE)?;
        let door = paired.door;
        self.credentials = Some(Credentials { secret, door });
        Ok(client)
    }

    /// Starts listening to what happens at the door.
    ///
    /// # Errors
    /// [`Error::Client`]; [`Error::Bug`] before [`Stage::pair`].
    pub fn listen(&mut self) -> Result<(), Error> {
        let credentials = self.credentials.as_ref();
        let credentials = credentials
            .ok_or_else(|| Error::Bug("nobody is paired with the demo's door".into()))?;
        let events = Client::connect(&self.target(), credentials, ANSWER_PATIENCE)?.events(0)?;
        let (sender, receiver) = channel();
        thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || {
                // The connection ends with the door.
                for event in events.map_while(Result::ok) {
                    if sender.send(event).is_err() {
                        return;
                    }
                }
            })
            .map_err(Error::storage("start", "a thread"))?;
        self.events = Some(receiver);
        Ok(())
    }

    /// Lets one visitor come and go, and says how it ended.
    ///
    /// # Errors
    /// [`Error::Demo`] if the door does not decide, [`Error::Bug`] before [`Stage::listen`].
    pub fn show(&mut self, folder: &Path, entry: &Entry) -> Result<Visit, Error> {
        let visitor = Visitor {
            picture: Picture::File(folder.join("visitors").join(&entry.photo)),
            label: format!("{} x {}", entry.photo.display(), entry.brightness),
            frames: Some(FRAMES),
            brightness: entry.brightness,
        };
        self.visit(visitor, entry)
    }

    /// Lets the entry's photo come as a print, or as a rendered head with that face, which does as the light asks.
    ///
    /// # Errors
    /// As for [`Stage::show`]; [`Error::Demo`] if there is no face in the photo.
    pub fn act(
        &mut self,
        photo: &RgbImage,
        face: &Face,
        species: Species,
        entry: &Entry,
    ) -> Result<Visit, Error> {
        let photo = Photo::new(photo, face, actor::EYE_PX)
            .ok_or_else(|| Error::Demo(format!("{} shows no face", entry.photo.display())))?;
        let who = Actor::new(species, &photo, SEED).obeying(&self.sim.panel);
        let visitor = Visitor {
            frames: Some(ACTING_FRAMES),
            ..Visitor::moving(species.name(), who)
        };
        self.visit(visitor, entry)
    }

    fn visit(&mut self, visitor: Visitor, entry: &Entry) -> Result<Visit, Error> {
        let came_at = self.now();
        let first_at = *self.first_at.get_or_insert(came_at);
        let edges_before = self.sim.relay.edges().len();
        let name = entry.photo.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        self.sim.visitors.arrive(visitor);
        let decision = self.decision(&name)?;
        let relay_ms = self.relay_ms(edges_before);
        let let_in = decision.granted.then(|| decision.person.clone()).flatten();
        Ok(Visit {
            photo: name,
            what: entry.what.clone(),
            expected: let_in.as_deref().unwrap_or("nobody") == entry.expect
                && (relay_ms > 0) == let_in.is_some(),
            person: let_in,
            decision: if decision.granted {
                "granted"
            } else {
                "denied"
            },
            reason: decision.reason,
            distance: decision.distance,
            probability: decision.probability,
            relay_ms,
            latency_ms: decision.latency_ms,
            at_ms: millis(came_at.saturating_sub(first_at)),
        })
    }

    /// Lets so much simulated time pass, with nobody in sight.
    pub fn wait(&self, time: Duration) {
        if let Some(clock) = &self.sim.clock {
            clock.advance(time);
        }
    }

    /// Stops the door and waits for it.
    ///
    /// # Errors
    /// [`Error::Demo`] if it did not stop in order.
    pub fn stop(self) -> Result<(), Error> {
        self.device.stop();
        self.device
            .join()
            .map_err(|error| Error::Demo(error.to_string()))
    }

    /// What the door decided about the visitor just sent: a grant if there was one, else the first denial.
    fn decision(&self, visitor: &str) -> Result<Decided, Error> {
        let events = self.events.as_ref();
        let events =
            events.ok_or_else(|| Error::Bug("nobody listens to the demo's door".into()))?;
        let deadline = Instant::now() + VISIT_PATIENCE;
        let mut decided: Option<Decided> = None;
        loop {
            match events.recv_timeout(QUIET) {
                Ok(event) => {
                    if let EventKind::Fault(text) = &event.kind {
                        return Err(Error::Demo(format!("the door failed at {visitor}: {text}")));
                    }
                    let new = Decided::from_event(event.kind);
                    let keeps = decided
                        .as_ref()
                        .is_some_and(|d| d.granted || !new.as_ref().is_some_and(|n| n.granted));
                    if !keeps && new.is_some() {
                        decided = new;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Demo(format!("the door went away at {visitor}")));
                }
                // Gone, locked again and quiet: nothing more comes of this visit.
                Err(RecvTimeoutError::Timeout) => match decided.take() {
                    Some(decided) if self.sim.visitors.left() == 0 && !self.sim.relay.is_on() => {
                        return Ok(decided);
                    }
                    undecided => decided = undecided,
                },
            }
            if Instant::now() >= deadline {
                let seconds = VISIT_PATIENCE.as_secs();
                return Err(Error::Demo(format!(
                    "no decision about {visitor} within {seconds} s"
                )));
            }
        }
    }

    /// How long the relay was on since it had made so many moves.
    fn relay_ms(&self, moves_before: usize) -> u64 {
        let edges = self.sim.relay.edges();
        let mut on_since = None;
        let mut total = Duration::ZERO;
        for edge in edges.iter().skip(moves_before) {
            match (edge.on, on_since) {
                (true, None) => on_since = Some(edge.at),
                (false, Some(since)) => {
                    total += edge.at.saturating_sub(since);
                    on_since = None;
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
        millis(total)
    }

    fn now(&self) -> Duration {
        self.sim.clock.as_ref().map_or(Duration::ZERO, Clock::now)
    }
}

#[derive(Debug, Clone)]
struct Decided {
    granted: bool,
    reason: &'static str,
    person: Option<String>,
    distance: Option<f32>,
    probability: Option<f32>,
    latency_ms: u32,
}

impl Decided {
    fn from_event(kind: EventKind) -> Option<Decided> {
        match kind {
            EventKind::Decision {
                granted,
                reason,
                person,
                distance,
                probability,
                latency_ms,
            } => Some(Decided {
                granted,
                reason: reason.as_str(),
                person: person.map(|person| person.to_string()),
                distance,
                probability,
                latency_ms,
            }),
            EventKind::Door(_)
            | EventKind::Update { .. }
            | EventKind::Fault(_)
            | EventKind::Missed { .. }
            | EventKind::Opened(_)
            | EventKind::Lockdown { .. }
            | EventKind::Alarm { .. }
            | EventKind::Prompt(_)
            | EventKind::Enrollment(_)
            | EventKind::Lockout(_)
            | EventKind::Duress { .. }
            | EventKind::PassedOut { .. }
            | EventKind::RolledBack { .. } => None,
        }
    }
}

/// The sim board, with a clock that moves by the frames and nothing to see between two visitors.
fn board() -> Result<BoardFile, Error> {
    let mut board = BoardFile::named("sim").map_err(|error| Error::Demo(error.to_string()))?;
    let CameraFacts::Replay(replay) = &mut board.camera else {
        return Err(Error::Bug("the sim board has no replay camera".into()));
    };
    replay.gap = Gap::Nothing;
    replay.gap_frames = GAP_FRAMES;
    board.sim.clock = ClockKind::Manual;
    Ok(board)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
