//! Opens a stored bundle, tests its networks, and hands it to the loop, which takes it between two frames; goes back if it
//! does not prove itself.
//!
//! Runs on a thread of its own with the bundle slots, because loading networks takes seconds: until the loop takes over,
//! the old ones serve. A bundle that cannot be opened, fails its test or does not fit the gallery is never committed.
//!
//! ```text
//! commit asked --> verify --> load, self-test --> Offer to the loop --> on trial on disk --> Adopt in the loop
//!                     any failure before it is on trial leaves everything as it was
//! loop: enough healthy frames --> Proven --> active on disk --> Confirm in the loop
//! loop: a frame fails         --> Failed --> the one before on disk --> load it --> GoBack in the loop
//! start: on trial too often, or it does not load --> the one before
//! ```

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, Sender, SyncSender, sync_channel},
    },
};

use facelatch_boards::Clock;
use facelatch_int8::Engine;
use facelatch_models::{
    align::Crop,
    calibrate::Calibration,
    classifier::Classifier,
    facenet::Embedder,
    mtcnn::{Detector, DetectorConfig},
    plans::PlanCache,
    zoo::{MANIFEST, Zoo},
};
use facelatch_protocol::{
    BundleFault, BundleId, BundleProgress, Digest, GalleryRecord, Refusal, Request, Response,
    RollbackReason, RolledBack, Trial, UpdateStatus,
    bundle::{PartKind, Vector, take_record, take_vector},
};
use image::{Rgb, RgbImage};
use zeroize::Zeroizing;

use crate::{
    error::Error,
    hosts::Hosts,
    link::{Ask, Call, handlers},
    run::Input,
    store::{self, Candidate, Store},
};

/// The networks in use.
#[derive(Debug)]
pub struct Networks {
    /// Finds faces.
    pub detector: Detector,
    /// Maps them to embeddings.
    pub embedder: Embedder,
}

/// A bundle, or the installed networks alone, opened and tested.
#[derive(Debug)]
pub struct Prepared {
    /// The bundle; `None` for the installed networks alone.
    pub bundle: Option<BundleId>,
    /// Whether it still has to prove itself.
    pub on_trial: bool,
    /// Networks to change to; `None` if they are the ones in use.
    pub networks: Option<Networks>,
    /// Their embedding space.
    pub space: String,
    /// The gallery part; `None` if the bundle has none, or its people were taken over before.
    pub gallery: Option<Vec<GalleryRecord>>,
    /// The classifier part, which has been read: it came with the gallery.
    pub classifier: Option<Zeroizing<Vec<u8>>>,
    /// The calibration part.
    pub calibration: Option<Calibration>,
    /// Whether the gallery replaces also the people enrolled at the door.
    pub replace: bool,
}

/// What the loop is asked.
#[derive(Debug)]
pub enum Step {
    /// Could this be taken over? It is kept until the next step.
    Offer(Box<Prepared>),
    /// Take over what was offered: it is committed, and on trial.
    Adopt {
        /// What the store holds now.
        progress: BundleProgress,
    },
    /// The bundle on trial is the active one now.
    Confirm {
        /// What the store holds now.
        progress: BundleProgress,
    },
    /// The bundle on trial did not prove itself: take this instead.
    GoBack {
        /// What was there before.
        prepared: Box<Prepared>,
        /// What did not prove itself, and why.
        rolled_back: RolledBack,
        /// What the store holds now.
        progress: BundleProgress,
    },
}

/// What `swap` is asked.
#[derive(Debug)]
pub enum Order {
    /// By a host.
    Call(Box<Call>),
    /// By the loop: this bundle has judged enough frames.
    Proven(Digest),
    /// By the loop: judging a frame with this bundle failed.
    Failed {
        /// The bundle.
        digest: Digest,
        /// What failed.
        text: String,
    },
}

/// Where networks come from.
#[derive(Debug, Clone)]
pub struct Loader {
    /// Folder of the installed networks; `None` to look in the usual places.
    pub zoo: Option<PathBuf>,
    /// The detector's settings.
    pub detector: DetectorConfig,
    plans: PlanCache,
    /// What runs all networks of this process.
    engine: Arc<Engine>,
    /// Digest of the manifest last loaded: a bundle with the same networks needs no loading.
    loaded: Option<[u8; 32]>,
}

/// When a bundle has proved itself.
#[derive(Debug, Clone)]
pub struct TrialRules {
    /// Starts it may take.
    pub starts: u32,
    /// Frames it has to judge without a fault.
    pub frames: u32,
    /// How many are left; counted by the loop.
    pub frames_left: Arc<AtomicU32>,
}

/// The bundle slots with all that is needed to serve requests about them.
pub struct Swap {
    /// The slots.
    pub store: Store,
    /// Whose bundles are taken.
    pub hosts: Arc<Hosts>,
    loader: Loader,
    trial: TrialRules,
    audit: PathBuf,
    clock: Arc<dyn Clock>,
    loop_inbox: Sender<Input>,
}

impl Loader {
    /// A loader that has loaded nothing yet; `plans` belongs to it alone.
    ///
    /// # Errors
    /// [`Error::Models`] if `FACELATCH_ISA` or `FACELATCH_THREADS` ask for what there is not.
    pub fn new(
        zoo: Option<PathBuf>,
        detector: DetectorConfig,
        plans: PlanCache,
    ) -> Result<Loader, Error> {
        Ok(Loader {
            zoo,
            detector,
            plans,
            engine: Engine::from_env().map_err(facelatch_models::Error::from)?,
            loaded: None,
        })
    }

    /// What to start with: the bundle on trial unless it has failed too often, the active one, the previous one if that
    /// cannot be opened, else the installed networks.
    ///
    /// # Errors
    /// [`Error::Models`] if there are no networks at all.
    pub fn start(
        &mut self,
        store: &mut Store,
        trial: &TrialRules,
        unix_ms: u64,
    ) -> Result<Prepared, Error> {
        if let Some(on_trial) = store.on_trial() {
            let starts = store.start_trial().unwrap_or_else(|error| {
                log::error!("a start on trial could not be counted: {error}");
                1
            });
            if starts > trial.starts {
                let text = format!("started {} times without proving itself", trial.starts);
                log::error!("bundle {}: {text}; going back", on_trial.digest);
                store.roll_back(RollbackReason::Unproven, &text, unix_ms)?;
            }
        }
        while let Some(in_use) = store.in_use() {
            let error = match self.open(store, in_use) {
                Ok(prepared) => return Ok(prepared),
                Err(error) => error,
            };
            log::error!("bundle {}: {error}; going back", in_use.digest);
            if store.on_trial().is_none() && store.previous().is_none() {
                break;
            }
            store.roll_back(RollbackReason::SelfTest, &error.to_string(), unix_ms)?;
        }
        self.without_bundle()
    }

    fn without_bundle(&mut self) -> Result<Prepared, Error> {
        let (networks, space) = self.installed(&[])?;
        Ok(Prepared {
            bundle: None,
            on_trial: false,
            networks,
            space,
            gallery: None,
            classifier: None,
            calibration: None,
            replace: false,
        })
    }

    /// Opens a bundle: everything that can fail about it fails here.
    ///
    /// # Errors
    /// [`Error::Store`] with the fault, [`Error::Models`] if it needs the installed networks and there are none.
    pub fn open(&mut self, store: &mut Store, id: BundleId) -> Result<Prepared, Error> {
        let mut bundle = store.bundle(id.digest)?;
        let manifest = bundle.manifest().clone();
        let part = |kind| manifest.parts.iter().position(|part| part.kind == kind);
        let unreadable = |kind| {
            // A manifest holds at most MAX_PARTS = 16 parts.
            fault(BundleFault::PartUnreadable {
                part: part(kind).unwrap_or(0) as u8,
            })
        };
        if part(PartKind::Policy).is_some() {
            // Rules that are not obeyed must not look as if they were.
            log::warn!("the bundle holds a policy, which this version does not read");
            return Err(unreadable(PartKind::Policy));
        }
        // What was taken over before is not kept here any longer.
        let personal = |kind, bundle: &mut store::Bundle| match part(kind) {
            Some(index) if bundle.holds(index) => bundle.read(index).map(Some),
            Some(_) | None => Ok(None),
        };
        let gallery = match personal(PartKind::Gallery, &mut bundle)? {
            Some(bytes) => Some(records(&bytes).ok_or_else(|| unreadable(PartKind::Gallery))?),
            None => None,
        };
        let classifier = personal(PartKind::Classifier, &mut bundle)?;
        let read = match &classifier {
            Some(bytes) => Some(
                Classifier::from_bytes(bytes).ok_or_else(|| unreadable(PartKind::Classifier))?,
            ),
            None => None,
        };
        let calibration = match bundle.read_kind(PartKind::Calibration)? {
            Some(bytes) => Some(
                Calibration::from_bytes(&bytes).ok_or_else(|| unreadable(PartKind::Calibration))?,
            ),
            None => None,
        };
        let tests = bundle.read_kind(PartKind::SelfTest)?;
        let tests = tests.as_ref().map_or(&[][..], |bytes| bytes.as_slice());
        let tests = vectors(tests).ok_or_else(|| unreadable(PartKind::SelfTest))?;
        let before = self.loaded;
        let (networks, space) = match part(PartKind::Networks) {
            Some(_) => self.load(Zoo::open(&store.networks(id.digest)?)?, &tests)?,
            None => self.installed(&tests)?,
        };
        let spaces = read.iter().map(|c| c.space.as_str().to_owned());
        let calibrated = calibration.iter().map(|c| c.space.as_str().to_owned());
        let mut spaces = spaces.chain(calibrated).chain([manifest.space.to_string()]);
        if spaces.any(|found| found != space) {
            self.loaded = before;
            return Err(fault(BundleFault::Space));
        }
        Ok(Prepared {
            bundle: Some(id),
            on_trial: store.active() != Some(id),
            networks,
            space,
            gallery,
            classifier,
            calibration,
            replace: manifest.replace,
        })
    }

    fn installed(&mut self, tests: &[Vector<'_>]) -> Result<(Option<Networks>, String), Error> {
        self.load(self.installed_zoo()?, tests)
    }

    fn installed_zoo(&self) -> Result<Zoo, Error> {
        Ok(match &self.zoo {
            Some(dir) => Zoo::open(dir)?,
            None => Zoo::find()?,
        })
    }

    /// Loads networks and tests them; `None` if they are the ones loaded last.
    fn load(
        &mut self,
        zoo: Zoo,
        tests: &[Vector<'_>],
    ) -> Result<(Option<Networks>, String), Error> {
        use sha2::Digest as _;
        let path = zoo.dir().join(MANIFEST);
        let manifest = std::fs::read(&path).map_err(Error::storage("read", &path))?;
        let digest = sha2::Sha256::digest(manifest).into();
        let zoo = zoo
            .with_plans(self.plans.clone())
            .with_engine(Arc::clone(&self.engine));
        // The manifest holds the files' digests: what matches it is what was loaded. At the start there is no time to
        // read them all, nor need: they were good when they came, and a plan is as good as its file.
        if self.loaded.is_some() {
            for network in &zoo.manifest().network {
                zoo.bytes(network)?;
            }
        }
        let (space, _) = zoo.embedder_facts(EMBEDDER)?;
        let space = space.as_str().to_owned();
        let is_loaded = self.loaded == Some(digest);
        if is_loaded && tests.is_empty() {
            return Ok((None, space));
        }
        // A network file can be anything; what a panic leaves behind is dropped.
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            let mut networks = Networks {
                detector: zoo.detector(self.detector)?,
                embedder: zoo.embedder(EMBEDDER)?,
            };
            networks.self_test(tests)?;
            Ok::<Networks, Error>(networks)
        }));
        match loaded {
            // The loop has the same ones.
            Ok(Ok(_)) if is_loaded => Ok((None, space)),
            Ok(Ok(networks)) => {
                self.loaded = Some(digest);
                // Plans of other networks go. What one has mapped stays mapped, and any can be made again.
                let installed = self.installed_zoo().ok();
                let zoos = installed.iter().chain([&zoo]);
                let manifests: Vec<_> = zoos.map(Zoo::manifest).collect();
                self.plans.retain(&manifests);
                Ok((Some(networks), space))
            }
            Ok(Err(error)) => {
                log::error!("{}: {error}", zoo.dir().display());
                Err(error)
            }
            Err(_) => Err(Error::Bug("loading the networks panicked".to_owned())),
        }
    }
}

/// The embedder a door uses.
pub const EMBEDDER: &str = "facenet";

impl Networks {
    /// Runs every network once: the detector on a scene without a face, the embedder twice on one crop, then on every crop
    /// the bundle brought, whose embeddings have to be the expected ones, bit for bit.
    ///
    /// # Errors
    /// [`Error::Models`], or [`BundleFault::SelfTest`] if an embedding is another one.
    pub fn self_test(&mut self, tests: &[Vector<'_>]) -> Result<(), Error> {
        let scene = gradient(320, 240);
        self.detector.detect(&scene)?;
        let (width, height) = {
            let spec = self.embedder.crop_spec();
            (spec.width, spec.height)
        };
        let crop = Crop(gradient(width, height));
        if self.embedder.embed(&crop)? != self.embedder.embed(&crop)? {
            return Err(fault(BundleFault::SelfTest));
        }
        for (index, test) in tests.iter().enumerate() {
            let is_crop = (test.width, test.height) == (width, height);
            let picture = RgbImage::from_raw(test.width, test.height, test.rgb.to_vec());
            let picture = picture.filter(|_| is_crop);
            let embedding = match picture {
                Some(picture) => self.embedder.embed(&Crop(picture))?,
                None => return Err(fault(BundleFault::SelfTest)),
            };
            let found = embedding.values().iter().map(|value| value.to_bits());
            if !found.eq(test.values().map(f32::to_bits)) {
                log::error!("the embedding of the bundle's test crop {index} is another one");
                return Err(fault(BundleFault::SelfTest));
            }
        }
        Ok(())
    }
}

/// What a [`Swap`] works with, beside the slots and the loader.
pub struct Around {
    /// Whose bundles are taken.
    pub hosts: Arc<Hosts>,
    /// When a bundle has proved itself.
    pub trial: TrialRules,
    /// Folder of the audit record.
    pub audit: PathBuf,
    /// For the time a bundle was taken back at.
    pub clock: Arc<dyn Clock>,
    /// The loop's inbox.
    pub loop_inbox: Sender<Input>,
}

impl Swap {
    /// Binds the slots to the loop.
    #[must_use]
    pub fn new(store: Store, loader: Loader, around: Around) -> Swap {
        let Around {
            hosts,
            trial,
            audit,
            clock,
            loop_inbox,
        } = around;
        Swap {
            store,
            hosts,
            loader,
            trial,
            audit,
            clock,
            loop_inbox,
        }
    }

    /// Serves until the link and the loop are gone.
    pub fn serve(mut self, orders: Receiver<Order>) {
        for order in orders {
            match order {
                Order::Call(call) if removes_somebody(&call) => {
                    // What is half received may hold them, too; only then the loop forgets them.
                    self.store.abort();
                    // Without a loop, the call is dropped and with it refused.
                    let _ = self.loop_inbox.send(Input::Call(call));
                }
                Order::Call(call) => {
                    let response = handlers::bundle(&mut self, call.ask);
                    // A session that gave up waiting needs no answer.
                    let _ = call.reply.send(response);
                }
                Order::Proven(digest) => self.proven(digest),
                Order::Failed { digest, text } => {
                    self.go_back(digest, RollbackReason::Networks, &text);
                }
            }
        }
    }

    /// Makes the received bundle the one in use, on trial.
    ///
    /// # Errors
    /// Why not; then the bundle in use is still the one before.
    pub fn commit(&mut self, sha256: Digest) -> Result<(), Refusal> {
        if self.store.in_use().is_some_and(|id| id.digest == sha256) {
            return self.store.settle().map_err(|e| logged(e).refusal());
        }
        let trusted = self.hosts.trusted();
        let candidate = self
            .store
            .verify(sha256, trusted.as_ref())
            .map_err(|e| logged(e).refusal())?;
        let loaded_before = self.loader.loaded;
        let offered = self.try_candidate(&candidate);
        if offered.is_err() {
            self.loader.loaded = loaded_before;
            self.store.abort();
        }
        offered?;
        self.trial
            .frames_left
            .store(self.trial.frames, Ordering::SeqCst);
        let progress = self.store.progress();
        if let Err(refusal) = self.ask(Step::Adopt { progress }) {
            self.go_back(sha256, RollbackReason::Gallery, &refusal.to_string());
            return Err(refusal);
        }
        self.taken_over(sha256);
        Ok(())
    }

    /// Up to the moment it is on trial on disk.
    fn try_candidate(&mut self, candidate: &Candidate) -> Result<(), Refusal> {
        let prepared = self
            .loader
            .open(&mut self.store, candidate.id)
            .map_err(|e| refusal(&logged(e)))?;
        self.ask(Step::Offer(Box::new(prepared)))?;
        match self.store.commit(candidate) {
            Ok(_) => Ok(()),
            // Half of the change is on the disk, and it is the half that counts.
            Err(error) if self.store.in_use() == Some(candidate.id) => {
                log::warn!("bundle {}: {error}", candidate.id.digest);
                Ok(())
            }
            Err(error) => Err(logged(error).refusal()),
        }
    }

    /// The people of a bundle are in the gallery: here they are not kept.
    fn taken_over(&mut self, digest: Digest) {
        if let Err(error) = self.store.forget_personal(digest) {
            log::error!("people of bundle {digest} taken over are still there too: {error}");
        }
    }

    fn proven(&mut self, digest: Digest) {
        if self.store.on_trial().is_none_or(|id| id.digest != digest) {
            return;
        }
        if let Err(error) = self.store.confirm() {
            // It stays on trial, and proves itself again after the next start.
            log::error!("bundle {digest} has proved itself, but is not confirmed: {error}");
            return;
        }
        let progress = self.store.progress();
        if let Err(refusal) = self.ask(Step::Confirm { progress }) {
            log::error!("bundle {digest}: the loop did not confirm it: {refusal}");
        }
    }

    /// Back to the bundle before.
    fn go_back(&mut self, digest: Digest, reason: RollbackReason, text: &str) {
        if self.store.on_trial().is_none_or(|id| id.digest != digest) {
            return;
        }
        log::error!("bundle {digest} {reason}: {text}; going back");
        let unix_ms = self.clock.unix_ms();
        let gone_back = self
            .store
            .roll_back(reason, text, unix_ms)
            .map_err(Error::from)
            .and_then(|_| match self.store.in_use() {
                Some(before) => self.loader.open(&mut self.store, before),
                None => self.loader.without_bundle(),
            });
        let rolled_back = self.store.rolled_back().cloned();
        let step = gone_back.map(|prepared| (Box::new(prepared), rolled_back));
        match step {
            Ok((prepared, Some(rolled_back))) => {
                let progress = self.store.progress();
                let back = Step::GoBack {
                    prepared,
                    rolled_back,
                    progress,
                };
                if let Err(refusal) = self.ask(back) {
                    log::error!("the loop did not go back: {refusal}");
                }
            }
            Ok((_, None)) => log::error!("going back left no trace"),
            Err(error) => log::error!("going back failed, the door stays at rest: {error}"),
        }
    }

    fn ask(&self, step: Step) -> Result<(), Refusal> {
        let (reply, answer): (SyncSender<_>, _) = sync_channel(1);
        self.loop_inbox
            .send(Input::Swap(step, reply))
            .map_err(|_| Refusal::Stopping)?;
        answer.recv().map_err(|_| Refusal::Stopping)?
    }

    /// Where everything stands.
    #[must_use]
    pub fn progress(&self) -> Response {
        Response::Bundle(self.store.progress())
    }

    /// How the last update went.
    #[must_use]
    pub fn update_status(&self) -> UpdateStatus {
        let frames_left = self.trial.frames_left.load(Ordering::SeqCst);
        UpdateStatus {
            trial: self.store.on_trial().map(|id| Trial { id, frames_left }),
            rolled_back: self.store.rolled_back().cloned(),
            highest_counter: self.store.highest_counter(),
            keys_serial: self.hosts.trusted().map(|keys| keys.serial),
        }
    }

    /// Folder of the audit record.
    #[must_use]
    pub fn audit_folder(&self) -> &Path {
        &self.audit
    }
}

fn removes_somebody(call: &Call) -> bool {
    matches!(call.ask, Ask::Request(Request::PersonRemove { .. }))
}

/// What the peer is told about a bundle that cannot be opened.
fn refusal(error: &Error) -> Refusal {
    match error {
        Error::Store(error) => error.refusal(),
        Error::Storage { .. } => Refusal::Storage,
        Error::Models(facelatch_models::Error::Space { .. }) => Refusal::Bundle(BundleFault::Space),
        _ => Refusal::Bundle(BundleFault::SelfTest),
    }
}

fn logged<E: std::fmt::Display>(error: E) -> E {
    log::warn!("bundle refused: {error}");
    error
}

fn fault(fault: BundleFault) -> Error {
    Error::Store(store::Error::Bundle(fault))
}

fn records(mut bytes: &[u8]) -> Option<Vec<GalleryRecord>> {
    let mut records = vec![];
    while !bytes.is_empty() {
        records.push(take_record(&mut bytes)?);
    }
    Some(records)
}

fn vectors(mut bytes: &[u8]) -> Option<Vec<Vector<'_>>> {
    let mut vectors = vec![];
    while !bytes.is_empty() {
        vectors.push(take_vector(&mut bytes)?);
    }
    Some(vectors)
}

fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        // Each at most 255.
        Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 128])
    })
}
