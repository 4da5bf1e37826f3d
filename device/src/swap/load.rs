//! From a stored bundle, or the installed networks, to something the loop can take: every part read, its spaces compared,
//! its networks loaded and tested. Everything that can fail about a bundle fails here.
//!
//! Decides nothing about which bundle is in use, except at the start. Called by `swap` and, at the start, by `lib`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
};

use facelatch_int8::Engine;
use facelatch_models::{
    align::Crop,
    calibrate::Calibration,
    classifier::Classifier,
    embedding::SpaceId,
    facenet::Embedder,
    liveness::network::LivenessNet,
    metric::Head,
    mtcnn::{Detector, DetectorConfig},
    plans::PlanCache,
    zoo::{MANIFEST, Zoo},
};
use facelatch_protocol::{
    BundleFault, BundleId, GalleryRecord, RollbackReason, SpaceName,
    bundle::{PartKind, Vector, take_record, take_vector},
};
use image::{Rgb, RgbImage};
use zeroize::Zeroizing;

use super::TrialRules;
use crate::{
    error::Error,
    policy::InForce,
    store::{self, Store},
};

/// The networks in use.
#[derive(Debug)]
pub struct Networks {
    /// Finds faces.
    pub detector: Detector,
    /// Maps them to embeddings.
    pub embedder: Embedder,
    /// Says how likely they are alive, where somebody brought such a network.
    pub liveness: Option<LivenessNet>,
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
    /// The policy part.
    pub policy: Option<InForce>,
    /// Whether the gallery replaces also the people enrolled at the door.
    pub replace: bool,
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
    /// The embedder to use without a bundle; empty for that of the people enrolled, else the manifest's default.
    network: String,
    /// The embedding space of the people enrolled at the start.
    enrolled: Option<SpaceName>,
    /// Digest of the manifest and the space last loaded: a bundle with the same networks needs no loading.
    pub(super) loaded: Option<[u8; 32]>,
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
            network: String::new(),
            enrolled: None,
            loaded: None,
        })
    }

    /// What to use without a bundle: the embedder of this name; of no name, that of the people enrolled.
    #[must_use]
    pub fn without_bundle_use(self, network: String, enrolled: Option<SpaceName>) -> Loader {
        Loader {
            network,
            enrolled,
            ..self
        }
    }

    /// What to start with: the bundle on trial unless it has failed too often, the active one, the previous one if that
    /// cannot be opened, else the installed networks. A bundle whose networks the people at the door do not `fit` is none
    /// of these: people stay, whatever becomes of bundles.
    ///
    /// # Errors
    /// [`Error::Models`] if there are no networks at all.
    pub fn start(
        &mut self,
        store: &mut Store,
        trial: &TrialRules,
        unix_ms: u64,
        fits: impl Fn(&Prepared) -> Result<(), Error>,
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
            let opened = self.open(store, in_use);
            let error = match opened.and_then(|prepared| fits(&prepared).map(|()| prepared)) {
                Ok(prepared) => return Ok(prepared),
                Err(error) => error,
            };
            // Whatever was loaded is gone with it.
            self.loaded = None;
            log::error!("bundle {}: {error}; going back", in_use.digest);
            if store.on_trial().is_none() && store.previous().is_none() {
                break;
            }
            store.roll_back(RollbackReason::SelfTest, &error.to_string(), unix_ms)?;
        }
        self.without_bundle()
    }

    /// The installed networks alone.
    ///
    /// # Errors
    /// [`Error::Models`] if there are none.
    pub(super) fn without_bundle(&mut self) -> Result<Prepared, Error> {
        let zoo = self.installed_zoo()?;
        let enrolled = self.enrolled.as_ref();
        let enrolled = enrolled.and_then(|space| zoo.manifest().profile_of(space));
        let name = match (self.network.as_str(), &enrolled) {
            ("", Some(profile)) => profile.name.to_owned(),
            ("", None) => zoo.chosen().to_owned(),
            (name, _) => name.to_owned(),
        };
        let (networks, space) = self.load(zoo.with_embedder(&name)?, &[])?;
        Ok(Prepared {
            bundle: None,
            on_trial: false,
            networks,
            space,
            gallery: None,
            classifier: None,
            calibration: None,
            policy: None,
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
        let policy = match bundle.read_kind(PartKind::Policy)? {
            Some(bytes) => Some(InForce::read(&bytes).map_err(|why| {
                // Rules that are not obeyed must not look as if they were.
                log::warn!("the bundle's policy: {why}");
                unreadable(PartKind::Policy)
            })?),
            None => None,
        };
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
        let head = match bundle.read_kind(PartKind::Head)? {
            Some(bytes) => {
                Some(Head::from_bytes(&bytes).ok_or_else(|| unreadable(PartKind::Head))?)
            }
            None => None,
        };
        let tests = bundle.read_kind(PartKind::SelfTest)?;
        let tests = tests.as_ref().map_or(&[][..], |bytes| bytes.as_slice());
        let tests = vectors(tests).ok_or_else(|| unreadable(PartKind::SelfTest))?;
        let before = self.loaded;
        let zoo = match part(PartKind::Networks) {
            Some(_) => Zoo::open(&store.networks(id.digest)?)?,
            None => self.installed_zoo()?,
        };
        let wanted = SpaceId::parse(&manifest.space).map_err(|_| fault(BundleFault::Space))?;
        // A head is part of what the space is of: without the right one, no embedder here is of the bundle's.
        let zoo = match head {
            Some(head) if *head.space() == wanted => zoo.with_head(head),
            Some(_) | None => zoo.with_space(&wanted),
        };
        let zoo = zoo.map_err(|error| {
            log::warn!("the bundle's space: {error}");
            fault(BundleFault::Space)
        })?;
        let (networks, space) = self.load(zoo, &tests)?;
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
            policy,
            replace: manifest.replace,
        })
    }

    fn installed_zoo(&self) -> Result<Zoo, Error> {
        Ok(match &self.zoo {
            Some(dir) => Zoo::open(dir)?,
            None => Zoo::find()?,
        })
    }

    /// Loads the detector and the embedder chosen, and tests them; `None` if they are the ones loaded last.
    fn load(
        &mut self,
        zoo: Zoo,
        tests: &[Vector<'_>],
    ) -> Result<(Option<Networks>, String), Error> {
        use sha2::Digest as _;
        let path = zoo.dir().join(MANIFEST);
        let manifest = std::fs::read(&path).map_err(Error::storage("read", &path))?;
        let (space, _) = zoo.embedder_facts(zoo.chosen())?;
        let space = space.as_str().to_owned();
        let both = sha2::Sha256::new().chain_update(manifest);
        let digest = both.chain_update(&space).finalize().into();
        let zoo = zoo
            .with_plans(self.plans.clone())
            .with_engine(Arc::clone(&self.engine));
        // The manifest holds the files' digests: what matches it is what was loaded. At the start there is no time to
        // read them all, nor need: they were good when they came, and a plan is as good as its file.
        if self.loaded.is_some() {
            for network in &zoo.manifest().only_embedder(zoo.chosen())?.network {
                zoo.bytes(network)?;
            }
        }
        let is_loaded = self.loaded == Some(digest);
        if is_loaded && tests.is_empty() {
            return Ok((None, space));
        }
        // A network file can be anything; what a panic leaves behind is dropped.
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            let mut networks = Networks {
                detector: zoo.detector(self.detector)?,
                embedder: zoo.embedder(zoo.chosen())?,
                liveness: zoo.liveness()?,
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
            (spec.width(), spec.height())
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
