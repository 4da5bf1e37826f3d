//! Opens a stored bundle, tests its networks, and hands it to the loop, which takes it between two frames.
//!
//! Runs on a thread of its own with the bundle slots, because loading networks takes seconds: until the loop takes over,
//! the old ones serve. A bundle that cannot be opened, fails its test or does not fit the gallery is never committed.
//!
//! ```text
//! commit asked --> verify --> load, self-test --> Offer to the loop --> switch the pointer --> Adopt in the loop
//!                     any failure before the pointer is switched leaves everything as it was
//! ```

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, sync_channel},
    },
};

use facelatch_int8::Engine;
use facelatch_models::{
    align::Crop,
    classifier::Classifier,
    facenet::Embedder,
    mtcnn::{Detector, DetectorConfig},
    plans::PlanCache,
    zoo::{MANIFEST, Zoo},
};
use facelatch_protocol::{
    BundleFault, BundleId, BundleProgress, Digest, GalleryRecord, Refusal, Response,
    bundle::{PartKind, take_record},
};
use image::{Rgb, RgbImage};

use crate::{
    error::Error,
    link::{Call, handlers},
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
    /// Networks to change to; `None` if they are the ones in use.
    pub networks: Option<Networks>,
    /// Their embedding space.
    pub space: String,
    /// The classifier that came with the gallery.
    pub classifier: Option<Classifier>,
    /// The gallery part.
    pub gallery: Option<Vec<GalleryRecord>>,
}

/// What the loop is asked during a commit.
#[derive(Debug)]
pub enum Step {
    /// Could this be taken over? It is kept until the next step.
    Offer(Box<Prepared>),
    /// Take over what was offered: it is committed.
    Adopt {
        /// What the store holds now.
        progress: BundleProgress,
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

/// The bundle slots with all that is needed to serve requests about them.
pub struct Swap {
    /// The slots.
    pub store: Store,
    loader: Loader,
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

    /// What to start with: the active bundle, the previous one if that cannot be opened, else the installed networks.
    ///
    /// # Errors
    /// [`Error::Models`] if there are no networks at all.
    pub fn start(&mut self, store: &mut Store) -> Result<Prepared, Error> {
        while let Some(active) = store.active() {
            match self.open(store, active) {
                Ok(prepared) => return Ok(prepared),
                Err(error) => log::error!("bundle {}: {error}; going back", active.digest),
            }
            if store.previous().is_none() {
                break;
            }
            store.roll_back()?;
        }
        let (networks, space) = self.installed()?;
        Ok(Prepared {
            bundle: None,
            networks,
            space,
            classifier: None,
            gallery: None,
        })
    }

    /// Opens a bundle: everything that can fail about it fails here.
    ///
    /// # Errors
    /// [`Error::Store`] with the fault, [`Error::Models`] if it needs the installed networks and there are none.
    pub fn open(&mut self, store: &mut Store, id: BundleId) -> Result<Prepared, Error> {
        let mut bundle = store.bundle(id.digest)?;
        let header = bundle.header().clone();
        let part = |kind| header.parts.iter().position(|part| part.kind == kind);
        let unreadable = |kind| {
            // A header holds at most 24 parts.
            fault(BundleFault::PartUnreadable {
                part: part(kind).unwrap_or(0) as u8,
            })
        };
        if part(PartKind::Policy).is_some() {
            // Rules that are not obeyed must not look as if they were.
            log::warn!("the bundle holds a policy, which this version does not read");
            return Err(unreadable(PartKind::Policy));
        }
        let gallery = match bundle.read_kind(PartKind::Gallery)? {
            Some(bytes) => Some(records(&bytes).ok_or_else(|| unreadable(PartKind::Gallery))?),
            None => None,
        };
        let classifier = match bundle.read_kind(PartKind::Classifier)? {
            Some(bytes) => {
                Some(classifier(&bytes).ok_or_else(|| unreadable(PartKind::Classifier))?)
            }
            None => None,
        };
        let before = self.loaded;
        let (networks, space) = match part(PartKind::Networks) {
            Some(_) => self.load(Zoo::open(&store.networks(id.digest)?)?)?,
            None => self.installed()?,
        };
        let spaces = classifier.iter().map(|c| c.space.as_str().to_owned());
        let mut spaces = spaces.chain([header.space.to_string()]);
        if spaces.any(|found| found != space) {
            self.loaded = before;
            return Err(fault(BundleFault::Space));
        }
        Ok(Prepared {
            bundle: Some(id),
            networks,
            space,
            classifier,
            gallery,
        })
    }

    fn installed(&mut self) -> Result<(Option<Networks>, String), Error> {
        self.load(self.installed_zoo()?)
    }

    fn installed_zoo(&self) -> Result<Zoo, Error> {
        Ok(match &self.zoo {
            Some(dir) => Zoo::open(dir)?,
            None => Zoo::find()?,
        })
    }

    fn load(&mut self, zoo: Zoo) -> Result<(Option<Networks>, String), Error> {
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
        if self.loaded == Some(digest) {
            return Ok((None, space));
        }
        // A network file can be anything; what a panic leaves behind is dropped.
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            let mut networks = Networks {
                detector: zoo.detector(self.detector)?,
                embedder: zoo.embedder(EMBEDDER)?,
            };
            networks.self_test()?;
            Ok::<Networks, Error>(networks)
        }));
        match loaded {
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
    /// Runs every network once: the detector on a scene without a face, the embedder twice on one crop.
    ///
    /// # Errors
    /// [`Error::Models`], or [`BundleFault::SelfTest`] if the embedder does not give the same answer twice.
    pub fn self_test(&mut self) -> Result<(), Error> {
        let scene = gradient(320, 240);
        self.detector.detect(&scene)?;
        let spec = self.embedder.crop_spec();
        let crop = Crop(gradient(spec.width, spec.height));
        if self.embedder.embed(&crop)? != self.embedder.embed(&crop)? {
            return Err(fault(BundleFault::SelfTest));
        }
        Ok(())
    }
}

impl Swap {
    /// Binds the slots to the loop.
    #[must_use]
    pub fn new(store: Store, loader: Loader, loop_inbox: Sender<Input>) -> Swap {
        Swap {
            store,
            loader,
            loop_inbox,
        }
    }

    /// Serves requests about bundles until the link is gone.
    pub fn serve(mut self, calls: Receiver<Call>) {
        for call in calls {
            let response = handlers::bundle(&mut self, call.request);
            // A session that gave up waiting needs no answer.
            let _ = call.reply.send(response);
        }
    }

    /// Makes the received bundle the one in use.
    ///
    /// # Errors
    /// Why not; then the bundle in use is still the one before.
    pub fn commit(&mut self, sha256: Digest) -> Result<(), Refusal> {
        if self
            .store
            .active()
            .is_some_and(|active| active.digest == sha256)
        {
            return Ok(());
        }
        let candidate = self.store.verify(sha256).map_err(|e| logged(e).refusal())?;
        let committed = self.try_candidate(&candidate);
        if committed.is_err() {
            self.store.abort();
        }
        committed
    }

    fn try_candidate(&mut self, candidate: &Candidate) -> Result<(), Refusal> {
        let id = candidate.id;
        let loaded_before = self.loader.loaded;
        let prepared = self
            .loader
            .open(&mut self.store, id)
            .map_err(|e| refusal(&logged(e)))?;
        let offered = self.ask(Step::Offer(Box::new(prepared))).and_then(|()| {
            self.store
                .commit(candidate)
                .map_err(|e| logged(e).refusal())
        });
        if offered.is_err() {
            self.loader.loaded = loaded_before;
        }
        offered?;
        self.ask(Step::Adopt {
            progress: self.store.progress(),
        })
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

fn classifier(bytes: &[u8]) -> Option<Classifier> {
    let (classifier, []) = postcard::take_from_bytes::<Classifier>(bytes).ok()? else {
        return None;
    };
    let classes = classifier.people.len() + 1;
    let shapes_fit = classifier.biases.len() == classes
        && !classifier.weights.is_empty()
        && classifier.weights.len().is_multiple_of(classes);
    let sorted = classifier.people.is_sorted();
    let finite = classifier
        .weights
        .iter()
        .chain(&classifier.biases)
        .all(|v| v.is_finite());
    (shapes_fit && sorted && finite).then_some(classifier)
}

fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        // Each at most 255.
        Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 128])
    })
}

#[cfg(test)]
mod tests {
    use facelatch_models::embedding::SpaceId;

    use super::*;

    #[test]
    fn a_classifier_part_is_taken_only_if_its_shapes_fit() {
        let good = Classifier {
            space: SpaceId::parse("space-1").unwrap(),
            people: vec!["ada".into(), "bob".into()],
            weights: vec![0.5; 3 * 4],
            biases: vec![0.0; 3],
        };
        let bytes = |c: &Classifier| postcard::to_allocvec(c).unwrap();
        assert_eq!(classifier(&bytes(&good)), Some(good.clone()));
        let bad = [
            Classifier {
                weights: vec![0.5; 13],
                ..good.clone()
            },
            Classifier {
                weights: vec![],
                ..good.clone()
            },
            Classifier {
                biases: vec![0.0; 2],
                ..good.clone()
            },
            Classifier {
                biases: vec![f32::NAN; 3],
                ..good.clone()
            },
            Classifier {
                people: vec!["bob".into(), "ada".into()],
                ..good.clone()
            },
        ];
        for wrong in bad {
            assert_eq!(classifier(&bytes(&wrong)), None, "{wrong:?}");
        }
        let whole = bytes(&good);
        assert!((0..whole.len()).all(|len| classifier(&whole[..len]).is_none()));
    }
}
