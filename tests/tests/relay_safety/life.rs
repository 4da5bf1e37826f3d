//! A worker's doors: each lives on the same data folder until it panics or has had its share, with a witness at its relay.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use facelatch_boards::{
    CameraFacts, Clock as _, Gap,
    sim::{Handle, Harm, Input, Part, Picture, Strike, Visitor},
};
use facelatch_device::{Device, Error, audit::What};
use facelatch_protocol::{EventKind, Request, Response};
use image::RgbImage;

use crate::{
    Random, Tally,
    faults::Kind,
    host::Host,
    judge::{Rules, cause, judge},
    stage::{DEADLINE, Stage, photo},
    witness::{Book, Releaser, lock},
};

/// How long an unlocking lasts here.
pub(crate) const UNLOCK: Duration = Duration::from_millis(400);
/// Time between two frames; the boards' clocks move with them.
const FRAME_MS: u32 = 50;
/// The camera moves the clock by one frame while the loop is at the last, and the guard looks between two.
pub(crate) const LATE: Duration = Duration::from_millis(3 * FRAME_MS as u64);
/// A loop that does not turn for this long stands still.
pub(crate) const STALL_MS: u64 = 300;
/// Rounds of one door's life.
const ROUNDS: u32 = 25;
/// Rounds after which a door has noticed that its disk works again.
const HEALING: u32 = 5;

/// One door after the other.
pub(crate) struct Worker {
    pub(crate) random: Random,
    pub(crate) tally: Tally,
    stage: Stage,
    book: Arc<Mutex<Book>>,
    enrolled: RgbImage,
    stranger: RgbImage,
    /// The last bundle's counter.
    pub(crate) counter: u64,
}

/// A door that runs.
pub(crate) struct Life {
    device: Device,
    pub(crate) host: Host,
    pub(crate) address: SocketAddr,
    pub(crate) sim: Handle,
    /// Whether its wall time jumps.
    jumps: bool,
    armed: Vec<(Strike, &'static str)>,
    /// Whether what hangs next stays so until the guard has acted.
    long_hangs: Arc<AtomicBool>,
    releaser: Releaser,
    /// Rounds until the disk counts as whole again.
    healing: u32,
    locked_down: bool,
    book: Arc<Mutex<Book>>,
    pub(crate) data: PathBuf,
}

impl Worker {
    pub(crate) fn new(seed: u64) -> Worker {
        let mut stage = Stage::enrolled();
        let CameraFacts::Replay(replay) = &mut stage.board.camera else {
            panic!("the simulated board plays a replay");
        };
        replay.frame_interval_ms = FRAME_MS;
        replay.gap_frames = 1;
        replay.gap = Gap::Nothing;
        let config = &mut stage.config;
        config.door.unlock_ms = UNLOCK.as_millis() as u64;
        config.watchdog.stall_ms = STALL_MS;
        // Whoever is locked out opens nothing.
        config.lockout.denials = 0;
        config.camera.retry_ms = 20;
        config.update.trial_frames = 5;
        config.update.trial_starts = 1_000;
        // A new file often: a folder that is gone shows only then.
        config.audit.records_per_file = 8;
        config.audit.files = 512;
        let book = Book::of(stage.data().join("audit"));
        // As large as the camera makes it, once and for all.
        let open = |name| {
            let image = facelatch_models::image::open(&photo(name)).expect("a shipped photo");
            let image = image::DynamicImage::ImageRgb8(image);
            image
                .resize(640, 480, image::imageops::FilterType::Triangle)
                .into_rgb8()
        };
        Worker {
            random: Random::new(seed),
            tally: Tally::default(),
            stage,
            book: Arc::new(Mutex::new(book)),
            enrolled: open("visitors/obama2.jpg"),
            stranger: open("visitors/biden.jpg"),
            counter: 0,
        }
    }

    /// Injects so many faults, and tells what came of them.
    pub(crate) fn run(mut self, quota: u64) -> Tally {
        while self.tally.total() < quota && self.tally.violations.is_empty() {
            let mut life = self.begins();
            for _ in 0..ROUNDS {
                if life.device.has_ended() {
                    break;
                }
                self.round(&mut life);
            }
            self.ends(life);
        }
        self.tally
    }

    fn begins(&mut self) -> Life {
        self.tally.saw("starts");
        let began = Instant::now();
        let device = loop {
            match self.stage.try_start() {
                Ok(device) => break device,
                // The last one's threads are not done yet.
                Err(Error::DataInUse { .. }) if began.elapsed() < DEADLINE => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("after {:?}: it does not start: {error}", self.tally.faults),
            }
        };
        let sim = device.sim().expect("a simulated board").clone();
        let book = Arc::clone(&self.book);
        sim.relay
            .witnessed_by(move |edge| lock(&book).witness(edge));
        let long_hangs = Arc::new(AtomicBool::new(false));
        let host = Host::connect(&device);
        let mut life = Life {
            releaser: Releaser::start(&sim, &long_hangs, &self.book),
            address: device.tcp_address().expect("it listens"),
            device,
            host,
            sim,
            jumps: self.random.chance(30),
            armed: vec![],
            long_hangs,
            healing: 0,
            locked_down: false,
            book: Arc::clone(&self.book),
            data: self.stage.data(),
        };
        // The last one may have died in one.
        life.ask(Request::Lockdown { on: false });
        life
    }

    /// Some faults, somebody in front of the camera, perhaps somebody who wants in or out.
    fn round(&mut self, life: &mut Life) {
        for _ in 0..1 + self.random.below(4) {
            Kind::any(&mut self.random, life.jumps).strike(self, life);
        }
        let picture = match self.random.below(100) {
            0..10 => self.enrolled.clone(),
            10..16 => self.stranger.clone(),
            _ => RgbImage::from_pixel(64, 48, image::Rgb([90; 3])),
        };
        let frames = if picture.width() > 64 { 5 } else { 2 };
        life.show(picture, frames);
        if self.random.chance(12) {
            life.request_exit();
        }
        if self.random.chance(6) {
            life.sim.panel.move_door(true);
        }
        if self.random.chance(20) {
            life.sim.panel.move_door(false);
        }
        if self.random.chance(3) {
            life.fire(true);
        } else {
            life.fire(false);
        }
        if life.locked_down || self.random.chance(3) {
            life.locked_down = !life.locked_down;
            let on = life.locked_down;
            life.ask(Request::Lockdown { on });
        }
        if self.random.chance(25) {
            life.ask(Request::Unlock);
        }
        life.settle();
    }

    /// Stops it, if it has not died, and judges it.
    fn ends(&mut self, life: Life) {
        let Life {
            device,
            sim,
            jumps,
            armed,
            releaser,
            book,
            ..
        } = life;
        let left = sim.strikes.disarm();
        for (strike, kind) in struck(armed.clone(), &left) {
            self.tally.struck(kind);
            self.tally.saw(match strike.part {
                Part::Clock => "struck wherever the loop was",
                Part::Camera => "struck in the camera",
                Part::Relay => "struck in the relay",
                Part::Indicator
                | Part::Buzzer
                | Part::Button
                | Part::DoorSensor
                | Part::Contact
                | Part::Keypad => "struck in the panel",
            });
        }
        device.stop();
        let joined = device.join();
        releaser.stop();
        let mut book = lock(&book);
        book.read();
        let panicked = |(strike, _): &(Strike, &str)| strike.harm == Harm::Panic;
        self.tally.saw(match &joined {
            Ok(()) => "stopped in order",
            Err(_) => "died of a panic",
        });
        if let Err(error) = joined
            && !armed.iter().any(panicked)
        {
            book.wrong.push(format!("died of nothing: {error}"));
        }
        let edges = sim.relay.edges();
        if edges.last().is_none_or(|edge| edge.on) || edges[0].on {
            book.wrong.push(format!("not at rest: {edges:?}"));
        }
        // The first edge is the opening of the board, before there was a witness.
        if edges.len() != book.seen.len() + 1 {
            book.wrong.push("an edge without its witness".to_owned());
        }
        let rules = Rules {
            unlock: UNLOCK,
            late: LATE,
            wall_jumps: jumps,
        };
        let wrong = judge(&book.seen, &book.entries, &rules);
        if !wrong.is_empty() || !book.wrong.is_empty() {
            let tail = book.entries.len().saturating_sub(40);
            self.tally.violations.extend(wrong);
            self.tally.violations.append(&mut book.wrong);
            let story = format!("{:#?}", &book.entries[tail..]);
            self.tally.violations.push(story);
        }
        for entry in &book.entries {
            if let Some(cause) = cause(entry) {
                self.tally.saw(cause);
            }
            if matches!(&entry.what, What::Event(EventKind::Fault(text)) if text.contains("stood still"))
            {
                self.tally.saw("a standstill on record");
            }
        }
        for seen in &book.seen {
            self.tally
                .saw(if seen.open { "unlocked" } else { "locked" });
            if seen.open && seen.unrecordable {
                self.tally.saw("unlocked with a full disk");
            }
        }
        book.turn_page();
    }
}

/// What has struck of what was armed, given what is left.
fn struck(mut armed: Vec<(Strike, &'static str)>, left: &[Strike]) -> Vec<(Strike, &'static str)> {
    for waiting in left {
        let same = |(strike, _): &(Strike, &str)| {
            (strike.part, strike.harm) == (waiting.part, waiting.harm)
        };
        if let Some(at) = armed.iter().rposition(same) {
            armed.remove(at);
        }
    }
    armed
}

impl Life {
    pub(crate) fn arm(&mut self, strike: Strike, kind: &'static str) {
        self.armed.push((strike, kind));
        self.sim.strikes.arm(strike);
    }

    /// What hangs next stays so until the guard has acted.
    pub(crate) fn hang_long(&self, long: bool) {
        self.long_hangs.fetch_or(long, Ordering::SeqCst);
    }

    /// Somebody, or something, in front of the camera.
    pub(crate) fn show(&self, picture: RgbImage, frames: u32) {
        self.sim.visitors.arrive(Visitor {
            picture: Picture::Pixels(picture),
            label: "somebody".to_owned(),
            frames: Some(frames),
            brightness: 1.0,
        });
    }

    /// Asks the door something; it may be dead, and may refuse.
    pub(crate) fn ask(&mut self, request: Request) -> Option<Response> {
        if self.device.has_ended() {
            return None;
        }
        self.host.end.try_ask(request).ok()
    }

    pub(crate) fn request_exit(&mut self) {
        let now = self.now();
        let mut book = lock(&self.book);
        // It is seen within some frames.
        book.exit_until = book.exit_until.max(now + UNLOCK + Duration::from_secs(2));
        drop(book);
        self.sim.panel.request_exit();
    }

    fn fire(&mut self, on: bool) {
        let mut book = lock(&self.book);
        if book.fire == on {
            return;
        }
        if on {
            book.fire = true;
        } else {
            // From now on it is as if somebody had asked to be let out.
            book.fire = false;
            let now = self.now();
            book.exit_until = book.exit_until.max(now + Duration::from_secs(2));
        }
        drop(book);
        self.sim.panel.turn(Input::Fire, on);
    }

    fn now(&self) -> Duration {
        let clock = self.sim.clock.as_ref();
        clock.expect("a manual clock").now()
    }

    /// Takes the record's folder away for a few frames.
    pub(crate) fn full_disk(&mut self) -> bool {
        let (folder, away) = (self.data.join("audit"), self.data.join("away"));
        let mut book = lock(&self.book);
        book.no_disk = true;
        drop(book);
        self.healing = HEALING;
        fs::rename(&folder, &away).expect("the folder is there");
        self.show(RgbImage::from_pixel(64, 48, image::Rgb([90; 3])), 2);
        self.request_exit();
        self.ask(Request::Unlock);
        self.wait();
        fs::rename(&away, &folder).expect("nobody made another");
        true
    }

    /// Until everybody was shown, or the door is dead.
    fn wait(&self) {
        let began = Instant::now();
        while !self
            .sim
            .visitors
            .wait_until_shown(Duration::from_millis(20))
        {
            if self.device.has_ended() {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "the door takes no frames");
        }
    }

    fn settle(&mut self) {
        self.wait();
        let mut book = lock(&self.book);
        book.read();
        if !book.fire {
            self.healing = self.healing.saturating_sub(1);
        }
        book.no_disk &= self.healing > 0;
    }
}
