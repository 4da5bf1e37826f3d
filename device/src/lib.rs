//! facelatchd, the door daemon: who may pass, when, for how long.
//!
//! [`Device::start`] opens everything a door needs and starts its threads: the loop (`run`), the camera, the link's
//! sessions, and the bundle slots (`swap`). `main` starts one; so do the host's `demo` and every test. Perception is in
//! `models`, hardware in `boards`; here is policy.
#![forbid(unsafe_code)]

pub mod attempts;
pub mod audit;
pub mod config;
pub mod door;
pub mod enroll;
pub mod error;
pub mod events;
pub mod gallery;
mod guard;
pub mod hosts;
pub mod identify;
pub mod ledger;
pub mod link;
pub mod live;
pub mod motion;
pub mod pin;
pub mod policy;
pub mod quality;
pub mod run;
pub mod seal;
pub mod signals;
pub mod store;
pub mod swap;
pub mod track;
pub mod vote;
mod watchdog;

pub mod cli;
pub mod cmd;

use std::{
    fs,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, Sender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use facelatch_boards::{Board, BoardFile, Camera, sim};
use facelatch_models::plans::PlanCache;
use facelatch_protocol::{PairingCode, PublicKey, RollbackReason, RolledBack, SpaceName, Text};

use crate::{
    audit::{Audit, What},
    events::Events,
    gallery::Gallery,
    guard::Guard,
    hosts::Hosts,
    ledger::Ledger,
    link::{Call, Link, Routes},
    run::{Ends, Running, Second, Updates, Visits},
    seal::DeviceKeys,
    store::Store,
    swap::{Around, Loader, Order, Swap, TrialRules},
    watchdog::Feeds,
};
pub use crate::{
    config::Config,
    error::Error,
    run::{Input, StopAfter},
    watchdog::Supervisor,
};

/// Calls that may wait for the loop, or for the bundle slots, before a session is told to try again.
const CALLS_WAITING: usize = 16;

/// Folders of the data folder.
const KEYS: &str = "keys";
const GALLERY: &str = "gallery";
const BUNDLES: &str = "bundles";
const AUDIT: &str = "audit";
/// Beside them, an empty file: all of them were made.
const SET_UP: &str = "set-up";

/// What to start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The board.
    pub board: BoardFile,
    /// Folder of everything the door keeps; made if needed.
    pub data: PathBuf,
    /// The door's settings.
    pub config: Config,
    /// Folder of the installed networks; `None` to look in the usual places.
    pub zoo: Option<PathBuf>,
    /// When to end by itself.
    pub stop_after: StopAfter,
    /// Print pairing codes on standard output.
    pub show_codes: bool,
    /// Who started the daemon and wants to hear that it lives.
    pub supervisor: Supervisor,
}

/// A running door. Dropping it stops it.
pub struct Device {
    tcp_address: Option<SocketAddr>,
    sim: Option<sim::Handle>,
    hosts: Arc<Hosts>,
    inbox: Sender<Input>,
    stop: Arc<AtomicBool>,
    threads: Option<JoinHandle<()>>,
}

impl Device {
    /// Opens everything and starts the threads. Takes seconds: networks are loaded. The relay is opened first, in its
    /// safe state, and rests there until the camera works.
    ///
    /// # Errors
    /// Any of [`Error`]; then nothing runs and the relay is at rest.
    pub fn start(settings: Settings) -> Result<Device, Error> {
        let board = facelatch_boards::open(&settings.board)?;
        let exit_in_lockdown = settings
            .board
            .request_to_exit
            .is_none_or(|exit| exit.during_lockdown);
        let Settings {
            data,
            config,
            zoo,
            stop_after,
            show_codes,
            supervisor,
            board: board_file,
        } = settings;
        seal::private_folder(&data).map_err(Error::storage("create", &data))?;
        let set_up = data.join(SET_UP);
        check_whole(&data, &set_up)?;
        let keys = open_keys(&data)?;
        let hosts = Arc::new(Hosts::open(&data.join(KEYS), &keys)?);
        let limits = Running::gallery_limits(&config);
        let gallery = Gallery::open(&data.join(GALLERY), &keys.sealing, limits)?;
        let now = board.clock.now();
        let ledger = Ledger::open(&data, &keys.sealing, !set_up.exists(), now)?;
        let events = Events::new(Audit::open(&data.join(AUDIT), config.audit())?);
        let slots = store::Limits {
            max_bundle_bytes: config.link.max_bundle_bytes,
        };
        let mut store = Store::open(&data.join(BUNDLES), &keys.sealing, slots)?;
        // From here on, a folder that is not there is one that is gone.
        fs::write(&set_up, "").map_err(Error::storage("write", &set_up))?;
        let plans = PlanCache::at(data.join("plans"));
        let enrolled = gallery.other_space("").cloned();
        let mut loader = Loader::new(zoo, config.detector(), plans)?
            .without_bundle_use(config.recognition.network.clone(), enrolled);
        let trial = TrialRules {
            starts: config.update.trial_starts,
            frames: config.update.trial_frames,
            frames_left: Arc::new(AtomicU32::new(config.update.trial_frames)),
        };
        let rolled_back_before = store.rolled_back().cloned();
        let prepared = loader.start(&mut store, &trial, board.clock.unix_ms(), |prepared| {
            run::people::fits(&gallery, prepared)
        })?;
        let rolled_back = store.rolled_back().cloned();

        let (inbox_sender, inbox) = channel();
        let (orders, swap_orders) = channel();
        let (device, device_calls) = sync_channel(CALLS_WAITING);
        let (bundles, bundle_calls) = sync_channel(CALLS_WAITING);
        let (frame_wanted, frames_wanted) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let sim = board.sim.clone();
        let clock = Arc::clone(&board.clock);
        let ends = Ends {
            inbox,
            camera: frame_wanted,
            stop: Arc::clone(&stop),
            stop_after,
            manual_clock: sim.as_ref().is_some_and(|sim| sim.clock.is_some()),
        };
        let updates = Updates {
            on_trial: None,
            frames_left: Arc::clone(&trial.frames_left),
            orders: orders.clone(),
        };
        // Not before: from here on the board's own timer runs, and networks are loaded.
        let feeds = Feeds::open(&supervisor, board_file.watchdog.as_ref())?;
        let parts = Parts {
            feeds,
            data: data.clone(),
            exit_in_lockdown,
            gallery,
            ledger,
            inbox: inbox_sender.clone(),
            hosts: Arc::clone(&hosts),
            show_codes,
            events,
            progress: store.progress(),
            updates,
        };
        // Before anything is on record: a start that fails for want of a port, again and again, must not fill the record.
        let link = Link::start(
            &config.link(),
            &config.link.name,
            Arc::clone(&hosts),
            Routes { device, bundles },
        )?;
        let tcp_address = link.tcp_address();
        let (mut running, camera) = Running::assemble(board, config, parts, prepared)?;
        if let Some(rolled_back) =
            rolled_back.filter(|now| Some(now) != rolled_back_before.as_ref())
        {
            unless_full(running.rolled_back(&rolled_back))?;
        }
        for damaged in store.damaged() {
            unless_full(running.rolled_back(&RolledBack {
                id: *damaged,
                unix_ms: running.unix_ms(),
                reason: RollbackReason::SelfTest,
                text: Text::cut("it is damaged on the disk: push a bundle again"),
            }))?;
        }
        if let Some(in_use) = store.in_use() {
            // Its people are in the gallery now.
            if let Err(error) = store.forget_personal(in_use.digest) {
                log::error!(
                    "people of bundle {} are there twice: {error}",
                    in_use.digest
                );
            }
        }
        unless_full(running.first_pairing())?;
        let around = Around {
            hosts: Arc::clone(&hosts),
            trial,
            audit: data.join(AUDIT),
            clock,
            loop_inbox: inbox_sender.clone(),
        };
        let swap = Swap::new(store, loader, around);
        let inbox = inbox_sender.clone();
        let threads = thread::Builder::new()
            .name("door".to_owned())
            .spawn(move || {
                let helpers = [
                    spawn("camera", {
                        let inbox = inbox_sender.clone();
                        move || take_frames(camera, &frames_wanted, &inbox)
                    }),
                    spawn("calls", move || {
                        pass_calls(device_calls, &inbox_sender, Input::Call);
                    }),
                    spawn("bundle calls", move || {
                        pass_calls(bundle_calls, &orders, Order::Call);
                    }),
                    spawn("bundles", move || swap.serve(swap_orders)),
                ];
                // A panic in here unwinds through `running`, whose relay rests when dropped.
                running.run(&ends);
                // The link first: its end ends the calls, theirs ends the helpers.
                drop((link, ends));
                for helper in helpers {
                    let _ = helper.join();
                }
            });
        let threads = threads.map_err(|e| Error::Link(link::Error::Thread(e)))?;
        Ok(Device {
            tcp_address,
            sim,
            hosts,
            inbox,
            stop,
            threads: Some(threads),
        })
    }

    /// The device's public key: what a paired host knows it by.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.hosts.own_key()
    }

    /// The code to pair with, while the pairing window is open.
    #[must_use]
    pub fn pairing_code(&self) -> Option<PairingCode> {
        self.hosts.window(Instant::now()).map(|window| window.code)
    }

    /// The TCP address listened on, with the port the system chose if port 0 was configured.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp_address
    }

    /// The other end of a simulated board: send visitors, read the relay's timeline.
    #[must_use]
    pub fn sim(&self) -> Option<&sim::Handle> {
        self.sim.as_ref()
    }

    /// Set this from a signal handler to stop the door.
    #[must_use]
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Whether the door has stopped, or panicked; [`Device::join`] says which.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.threads.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Asks the door to stop; [`Device::join`] waits for it.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        // A door that has ended needs no message.
        let _ = self.inbox.send(Input::Stop);
    }

    /// Waits until the door has stopped.
    ///
    /// # Errors
    /// [`Error::Bug`] if its thread panicked; the relay is at rest even then.
    pub fn join(mut self) -> Result<(), Error> {
        match self.threads.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(Error::Bug("the door's loop panicked".to_owned())),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            self.stop();
            if threads.join().is_err() {
                log::error!("the door's loop had panicked");
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    // Without its helpers the door cannot run; the panic puts the relay at rest.
    thread.expect("the system has threads left")
}

/// A door that was set up has people and bundles, even if there are none: folders that are gone are damage, not emptiness.
fn check_whole(data: &Path, set_up: &Path) -> Result<(), Error> {
    if !set_up.exists() {
        return Ok(());
    }
    let gallery = data.join(GALLERY);
    if !Gallery::exists(&gallery) {
        return Err(Error::GalleryDamaged {
            path: gallery,
            why: "it is gone".to_owned(),
        });
    }
    match data.join(BUNDLES).exists() {
        true => Ok(()),
        false => Err(store::Error::StateDamaged.into()),
    }
}

/// The device's own keys, made at the first start, when there is nothing yet that they could have sealed.
fn open_keys(data: &Path) -> Result<DeviceKeys, Error> {
    let folder = data.join(KEYS);
    let is_new = !Gallery::exists(&data.join(GALLERY))
        && !Hosts::exist(&folder)
        && !data.join(BUNDLES).exists();
    DeviceKeys::open(&folder, is_new)
}

/// What cannot be written at the start, for want of room, keeps no door from starting: people get out. It shows again with
/// the first frame, as a fault that ends when there is room.
fn unless_full(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(error @ Error::Storage { .. }) => {
            log::error!("{error}");
            Ok(())
        }
        done => done,
    }
}

/// The camera's thread: one frame for each that is wanted.
fn take_frames(mut camera: Box<dyn Camera>, wanted: &Receiver<()>, inbox: &Sender<Input>) {
    for () in wanted {
        let capture = catch_unwind(AssertUnwindSafe(|| camera.next()));
        let capture = match capture {
            Ok(capture) => capture.map_err(Some),
            Err(_) => Err(None),
        };
        if inbox.send(Input::Capture(capture)).is_err() {
            return;
        }
    }
}

/// Puts calls into the one inbox of whoever answers them.
fn pass_calls<T>(calls: Receiver<Call>, inbox: &Sender<T>, as_input: impl Fn(Box<Call>) -> T) {
    for call in calls {
        if inbox.send(as_input(Box::new(call))).is_err() {
            return;
        }
    }
}

/// What the loop is made of beside board and settings.
struct Parts {
    feeds: Feeds,
    data: PathBuf,
    exit_in_lockdown: bool,
    gallery: Gallery,
    ledger: Ledger,
    inbox: Sender<Input>,
    hosts: Arc<Hosts>,
    show_codes: bool,
    events: Events,
    progress: facelatch_protocol::BundleProgress,
    updates: Updates,
}

impl Running {
    fn assemble(
        board: Board,
        config: Config,
        parts: Parts,
        mut prepared: swap::Prepared,
    ) -> Result<(Running, Box<dyn Camera>), Error> {
        let Parts {
            feeds,
            data,
            exit_in_lockdown,
            gallery,
            ledger,
            inbox,
            hosts,
            show_codes,
            events,
            progress,
            updates,
        } = parts;
        let networks = prepared.networks.take();
        let networks = networks.ok_or_else(|| Error::Bug("started without networks".to_owned()))?;
        log::info!("board {}, camera {}", board.name, board.camera.describe());
        let rules = config.door(exit_in_lockdown, board.relay.safe());
        let patience = guard::Rules {
            stall: Duration::from_millis(config.watchdog.stall_ms),
            longest: rules.unlock,
        };
        let guard = Guard::start(board.relay, Arc::clone(&board.clock), patience, feeds)?;
        let mut running = Running {
            motion: motion::Motion::new(config.motion()),
            tracker: track::Tracker::new(config.track()),
            vote: vote::Vote::new(config.vote()),
            liveness: live::Liveness::new(config.live()),
            rules,
            config,
            board: board.name,
            clock: board.clock,
            relay: guard,
            panel: board.panel,
            networks,
            classifier: None,
            calibration: None,
            policy: None,
            hours: run::Hours::default(),
            gallery,
            visits: Visits::new(ledger),
            second: Second::new(inbox),
            hosts,
            show_codes,
            matcher: None,
            enrollment: enroll::Enrollment::default(),
            door: door::State::starting(run::lockdown_was_on(&data)),
            data,
            started: false,
            stopping: false,
            events,
            progress,
            offered: None,
            updates,
            frames: 0,
            damaged: 0,
            camera_asked: None,
            last_fault: None,
            label: None,
            ready_at: None,
            quiet_at: None,
            retry_at: Duration::ZERO,
        };
        let software = Text::cut(env!("CARGO_PKG_VERSION"));
        unless_full(running.noted(What::Started { software }))?;
        if let Some(bundle) = running.install(prepared)? {
            unless_full(running.note_running(bundle))?;
        }
        running.people_fit()?;
        Ok((running, board.camera))
    }

    /// People whose networks are gone.
    ///
    /// # Errors
    /// [`Error::Space`] without a bundle: whoever installed other networks is there to hear of it. Where a bundle was lost,
    /// the door starts, nobody passes, and a host can push another.
    fn people_fit(&mut self) -> Result<(), Error> {
        let expected = self.networks.embedder.space().as_str().to_owned();
        let Some(found) = self
            .gallery
            .other_space(&expected)
            .map(SpaceName::to_string)
        else {
            return Ok(());
        };
        let error = Error::Space { expected, found };
        if self.progress.active.is_none() {
            return Err(error);
        }
        log::error!("{error}");
        self.note_fault(&error.to_string());
        Ok(())
    }
}
