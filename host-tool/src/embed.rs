//! Photos in, faces and embeddings out: detection and embedding of many photos on a few threads, through the cache.
//!
//! ```text
//! photo file -> SHA-256 -> cache? -> decode -> detect -> main face -> crop -> embed -> cache
//! ```
//!
//! Called by every verb that looks at photos; knows nothing of people.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use facelatch_models::{
    self as models,
    align::align,
    embedding::{Embedding, SpaceId},
    facenet::Embedder,
    image::MAX_PHOTO_BYTES,
    mtcnn::{Detector, DetectorConfig, Face, main_face},
    zoo::Zoo,
};
use image::RgbImage;
use sha2::{Digest, Sha256};

use crate::{
    Error,
    cache::{Cache, Entry, Key, hex},
    progress::Progress,
};

/// The smallest face looked for, in pixels of the scaled photo, unless told otherwise.
pub const MIN_FACE_PX: f32 = 20.0;
/// A further thread has to load the networks first (about two seconds): worth it from so many photos each.
const PHOTOS_PER_THREAD: usize = 16;

/// The detector of every verb that looks at photos.
#[must_use]
pub fn detector_config(min_face_px: f32) -> DetectorConfig {
    DetectorConfig {
        min_face_px,
        ..DetectorConfig::default()
    }
}

/// What the embedding is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To be compared: as a door does it.
    Probe,
    /// To be kept: averaged with the mirrored crop.
    Template,
    /// As other programs that run the same network give it: not centred.
    Uncentred,
}

/// What the networks make of one photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Width and height of the upright photo.
    pub size: [u32; 2],
    /// All faces, best score first, in pixels of the upright photo.
    pub faces: Vec<Face>,
    /// The face the photo is about, with its embedding.
    pub main: Option<(usize, Embedding)>,
}

impl Reading {
    /// The face the photo is about.
    #[must_use]
    pub fn main_face(&self) -> Option<&Face> {
        self.main
            .as_ref()
            .and_then(|(index, _)| self.faces.get(*index))
    }
}

/// The loaded networks of one thread.
#[derive(Debug)]
pub struct Networks {
    /// Finds faces.
    pub detector: Detector,
    /// Embeds crops.
    pub embedder: Embedder,
}

impl Networks {
    /// Loads detector and the embedder chosen.
    ///
    /// # Errors
    /// As for [`Zoo::detector`] and [`Zoo::embedder`].
    pub fn load(zoo: &Zoo, config: DetectorConfig) -> Result<Networks, Error> {
        Ok(Networks {
            detector: zoo.detector(config)?,
            embedder: zoo.embedder(zoo.chosen())?,
        })
    }

    /// Embeds one face of a photo.
    ///
    /// # Errors
    /// [`models::Error::Inference`].
    pub fn embed(
        &mut self,
        photo: &RgbImage,
        face: &Face,
        kind: Kind,
    ) -> Result<Embedding, models::Error> {
        let crop = align(photo, face, self.embedder.crop_spec());
        match kind {
            Kind::Probe => self.embedder.embed(&crop),
            Kind::Template => self.embedder.embed_template(&crop),
            Kind::Uncentred => self.embedder.embed_uncentred(&crop),
        }
    }

    fn entry(&mut self, bytes: &[u8], path: &Path, kind: Kind) -> Result<Entry, models::Error> {
        let photo = models::image::decode(bytes, &path.display().to_string())?;
        let faces = self.detector.detect(&photo)?;
        let main = main_face(&faces, &photo).and_then(|main| faces.iter().position(|f| f == main));
        let embedding = match main {
            Some(main) => Some(self.embed(&photo, &faces[main], kind)?.values().to_vec()),
            None => None,
        };
        Ok(Entry {
            size: [photo.width(), photo.height()],
            faces,
            main,
            embedding,
        })
    }
}

/// Reads photos: networks, settings and cache bound together.
#[derive(Debug)]
pub struct Reader<'a> {
    zoo: &'a Zoo,
    cache: Option<Cache>,
    detector: DetectorConfig,
    space: SpaceId,
    uncentred: SpaceId,
    recipe: String,
}

/// One photo's outcome: a photo that cannot be read never loses the others.
pub type Outcome = Result<Reading, models::Error>;

impl<'a> Reader<'a> {
    /// Binds them; loads nothing yet.
    ///
    /// # Errors
    /// [`models::Error::Network`] if the manifest names no usable embedder, [`models::Error::Setting`].
    pub fn new(
        zoo: &'a Zoo,
        cache: Option<Cache>,
        detector: DetectorConfig,
    ) -> Result<Reader<'a>, Error> {
        detector.check()?;
        let (space, _) = zoo.embedder_facts(zoo.chosen())?;
        let uncentred = space.uncentred()?;
        // The manifest names every network's digest, and how crops and embeddings are made.
        let manifest = serde_json::to_vec(zoo.manifest())
            .map_err(|error| Error::Bug(format!("manifest has no JSON form: {error}")))?;
        // The version stands for the code between the networks.
        let version = env!("CARGO_PKG_VERSION");
        let recipe = format!(
            "facelatch {version} compiler {} networks {} space {space}",
            models::compile::VERSION,
            hex(&sha256(&manifest))
        );
        Ok(Reader {
            zoo,
            cache,
            detector,
            space,
            uncentred,
            recipe,
        })
    }

    /// The embedding space of probes and templates.
    #[must_use]
    pub fn space(&self) -> &SpaceId {
        &self.space
    }

    /// Reads the photos, in order, on as many threads as pay off.
    ///
    /// # Errors
    /// If the networks cannot be loaded; a photo's own trouble is in its [`Outcome`].
    pub fn read(&self, photos: &[PathBuf], kind: Kind) -> Result<Vec<Outcome>, Error> {
        let recipe = self.recipe(kind);
        let mut outcomes: Vec<Option<Outcome>> = photos
            .iter()
            .map(|path| self.cached(path, kind, &recipe))
            .collect();
        let missing: Vec<usize> = (0..photos.len())
            .filter(|&i| outcomes[i].is_none())
            .collect();
        if !missing.is_empty() {
            let computed = self.compute(photos, &missing, kind, &recipe)?;
            for (index, outcome) in computed {
                outcomes[index] = Some(outcome);
            }
        }
        outcomes
            .into_iter()
            .map(|outcome| outcome.ok_or_else(|| Error::Bug("a photo was passed over".into())))
            .collect()
    }

    /// Reads one photo whose bytes are here, with networks that are loaded: through the cache like all others.
    ///
    /// # Errors
    /// [`Error::Storage`] if the cache cannot be written; the photo's own trouble is in its [`Outcome`].
    pub fn read_with(
        &self,
        networks: &mut Networks,
        path: &Path,
        bytes: &[u8],
        kind: Kind,
    ) -> Result<Outcome, Error> {
        let recipe = self.recipe(kind);
        match self.cached_bytes(path, bytes, kind, &recipe) {
            Some(outcome) => Ok(outcome),
            None => self.compute_one(path, bytes, networks, kind, &recipe),
        }
    }

    /// Has the cache forget a photo that these networks read.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn forget(&self, sha256: [u8; 32]) -> Result<(), Error> {
        let Some(cache) = &self.cache else {
            return Ok(());
        };
        for kind in [Kind::Probe, Kind::Template, Kind::Uncentred] {
            cache.remove(&Key::new(sha256, &self.recipe(kind)))?;
        }
        Ok(())
    }

    fn space_of(&self, kind: Kind) -> &SpaceId {
        match kind {
            Kind::Probe | Kind::Template => &self.space,
            Kind::Uncentred => &self.uncentred,
        }
    }

    /// Everything besides the photo that the result depends on, as one line.
    fn recipe(&self, kind: Kind) -> String {
        let DetectorConfig {
            min_face_px,
            thresholds: [p, r, o],
            factor,
            max_side_px,
        } = self.detector;
        let kind = match kind {
            Kind::Probe => "probe",
            Kind::Template => "template",
            Kind::Uncentred => "uncentred",
        };
        format!(
            "{} min_face {min_face_px} thresholds {p} {r} {o} factor {factor} side {max_side_px} {kind}",
            self.recipe,
        )
    }

    fn cached(&self, path: &Path, kind: Kind, recipe: &str) -> Option<Outcome> {
        self.cache.as_ref()?;
        self.cached_bytes(path, &photo_bytes(path).ok()?, kind, recipe)
    }

    fn cached_bytes(&self, path: &Path, bytes: &[u8], kind: Kind, recipe: &str) -> Option<Outcome> {
        let sha256 = sha256(bytes);
        let entry = self.cache.as_ref()?.get(&Key::new(sha256, recipe))?;
        // An embedding that is no unit vector after all is computed again.
        reading(path, sha256, entry, self.space_of(kind))
            .ok()
            .map(Ok)
    }

    fn compute(
        &self,
        photos: &[PathBuf],
        missing: &[usize],
        kind: Kind,
        recipe: &str,
    ) -> Result<Vec<(usize, Outcome)>, Error> {
        let progress = Progress::new("reading photos", missing.len() as u64, "photos");
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, Outcome)>, Error> {
            let mut networks = Networks::load(self.zoo, self.detector)?;
            let mut done = Vec::new();
            while let Some(&index) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((
                    index,
                    self.read_one(&photos[index], &mut networks, kind, recipe)?,
                ));
                progress.advance(1);
            }
            Ok(done)
        };
        thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads(missing.len()))
                .map(|_| scope.spawn(work))
                .collect();
            let mut done = work()?;
            for helper in helpers {
                let more = helper
                    .join()
                    .map_err(|_| Error::Bug("a reading thread panicked".into()))?;
                done.append(&mut more?);
            }
            Ok(done)
        })
    }

    fn read_one(
        &self,
        path: &Path,
        networks: &mut Networks,
        kind: Kind,
        recipe: &str,
    ) -> Result<Outcome, Error> {
        match photo_bytes(path) {
            Ok(bytes) => self.compute_one(path, &bytes, networks, kind, recipe),
            Err(error) => Ok(Err(error)),
        }
    }

    fn compute_one(
        &self,
        path: &Path,
        bytes: &[u8],
        networks: &mut Networks,
        kind: Kind,
        recipe: &str,
    ) -> Result<Outcome, Error> {
        let sha256 = sha256(bytes);
        let entry = match networks.entry(bytes, path, kind) {
            Ok(entry) => entry,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(cache) = &self.cache {
            cache.put(&Key::new(sha256, recipe), &entry)?;
        }
        Ok(reading(path, sha256, entry, self.space_of(kind)))
    }
}

/// Both ways, computed and cached, pass here, so that they agree bit for bit.
fn reading(path: &Path, sha256: [u8; 32], entry: Entry, space: &SpaceId) -> Outcome {
    let main = match (entry.main, entry.embedding) {
        (Some(main), Some(values)) => Some((main, Embedding::new(space.clone(), values)?)),
        (_, _) => None,
    };
    Ok(Reading {
        path: path.to_path_buf(),
        sha256,
        size: entry.size,
        faces: entry.faces,
        main,
    })
}

/// The bytes of a photo file, unless it is larger than any photo or no ordinary file.
///
/// # Errors
/// [`models::Error::Io`] or [`models::Error::Photo`].
pub fn photo_bytes(path: &Path) -> Result<Vec<u8>, models::Error> {
    let io = |source| models::Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let refused = |why: &str| models::Error::Photo {
        what: path.display().to_string(),
        why: why.into(),
    };
    let meta = fs::metadata(path).map_err(io)?;
    if !meta.is_file() {
        return Err(refused("it is no file"));
    }
    if meta.len() > MAX_PHOTO_BYTES {
        return Err(refused("the file is larger than any photo read here"));
    }
    fs::read(path).map_err(io)
}

/// SHA-256 of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn threads(photos: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.min(photos.div_ceil(PHOTOS_PER_THREAD)).max(1)
}
