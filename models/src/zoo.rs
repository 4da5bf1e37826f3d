//! The networks that ship: `manifest.toml`, the files beside it, and how to find them.
//!
//! A device's bundle slot holds the same: a manifest and the files it names. Files are read only by plain names
//! beside the manifest, and only with the digest it states.

use std::{
    collections::HashMap,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use facelatch_int8::{Engine, Plan};
use sha2::{Digest, Sha256};

use crate::{
    Error,
    align::CropSpec,
    compile::compile,
    embedding::SpaceId,
    facenet::{Embedder, Part},
    liveness::network::LivenessNet,
    manifest::{Manifest, Network, Role},
    metric::Head,
    mtcnn::{Detector, DetectorConfig},
    net::Net,
    plans::PlanCache,
};

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.toml";

/// A folder of networks with its manifest, digests checked at load.
#[derive(Debug)]
pub struct Zoo {
    dir: PathBuf,
    manifest: Manifest,
    plans: PlanCache,
    engine: OnceLock<Arc<Engine>>,
    /// The embedder somebody chose; none, and the manifest does.
    chosen: Option<String>,
    /// Behind the embedder of its base space.
    head: Option<Arc<Head>>,
    /// Plans in use, by their files' digest: threads that load the same networks share them.
    opened: Mutex<HashMap<String, Weak<Plan>>>,
}

impl Zoo {
    /// Finds the zoo: `$FACELATCH_ZOO`, `models/zoo` below the current folder, `../share/facelatch/zoo` beside the
    /// program, then the source tree it was built from. A set `$FACELATCH_ZOO` is the only place looked at.
    ///
    /// # Errors
    /// [`Error::Network`] naming every place looked at.
    pub fn find() -> Result<Zoo, Error> {
        if let Some(dir) = env::var_os("FACELATCH_ZOO") {
            return Zoo::open(Path::new(&dir));
        }
        let program = env::current_exe().unwrap_or_default();
        let places = [
            PathBuf::from("models/zoo"),
            program
                .parent()
                .unwrap_or(Path::new("."))
                .join("../share/facelatch/zoo"),
            Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo"),
        ];
        if let Some(place) = places.iter().find(|p| p.join(MANIFEST).is_file()) {
            return Zoo::open(place);
        }
        let looked: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
        Err(Error::Network {
            name: "zoo".to_owned(),
            why: format!(
                "no {MANIFEST} in {}; set FACELATCH_ZOO to the folder of networks",
                looked.join(", ")
            ),
        })
    }

    /// Opens one folder.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Network`].
    pub fn open(dir: &Path) -> Result<Zoo, Error> {
        let path = dir.join(MANIFEST);
        let text = fs::read_to_string(&path).map_err(|source| Error::Io { path, source })?;
        Ok(Zoo {
            dir: dir.to_owned(),
            manifest: Manifest::parse(&text)?,
            plans: PlanCache::none(),
            engine: OnceLock::new(),
            chosen: None,
            head: None,
            opened: Mutex::default(),
        })
    }

    /// Keeps compiled plans; without, they are made at every load.
    #[must_use]
    pub fn with_plans(self, plans: PlanCache) -> Zoo {
        Zoo { plans, ..self }
    }

    /// Runs the networks on this engine.
    #[must_use]
    pub fn with_engine(self, engine: Arc<Engine>) -> Zoo {
        Zoo {
            engine: OnceLock::from(engine),
            ..self
        }
    }

    /// Chooses an embedder by its name.
    ///
    /// # Errors
    /// [`Error::Network`] naming the embedders there are.
    pub fn with_embedder(self, name: &str) -> Result<Zoo, Error> {
        let chosen = Some(self.manifest.profile(name)?.name.to_owned());
        Ok(Zoo { chosen, ..self })
    }

    /// Chooses the embedder of a space.
    ///
    /// # Errors
    /// [`Error::Space`] if none is of this space.
    pub fn with_space(self, space: &SpaceId) -> Result<Zoo, Error> {
        let found = self.manifest.profile_of(space.as_str());
        let chosen = found.map(|profile| profile.name.to_owned());
        match chosen {
            Some(_) => Ok(Zoo { chosen, ..self }),
            None => Err(Error::Space {
                expected: space.as_str().to_owned(),
                found: self.embedder_facts(self.chosen())?.0.as_str().to_owned(),
            }),
        }
    }

    /// Chooses the embedder a head was made for, with the head behind it: that embedder's space is the head's from now on.
    ///
    /// # Errors
    /// [`Error::Space`] if no embedder is of the space it maps from.
    pub fn with_head(self, head: Head) -> Result<Zoo, Error> {
        let zoo = Zoo { head: None, ..self }.with_space(&head.learned().base)?;
        Ok(Zoo {
            head: Some(Arc::new(head)),
            ..zoo
        })
    }

    /// Name of the embedder to use: the one chosen, else the manifest's default.
    #[must_use]
    pub fn chosen(&self) -> &str {
        let chosen = self.chosen.as_deref();
        chosen.unwrap_or_else(|| self.manifest.default_embedder())
    }

    /// The engine that all networks of this zoo share; if none was given, the one that `FACELATCH_ISA` and
    /// `FACELATCH_THREADS` ask for.
    ///
    /// # Errors
    /// [`Error::Engine`] if they ask for what there is not.
    pub fn engine(&self) -> Result<&Arc<Engine>, Error> {
        match self.engine.get() {
            Some(engine) => Ok(engine),
            None => {
                let engine = Engine::from_env()?;
                Ok(self.engine.get_or_init(|| engine))
            }
        }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the folder says about its networks.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Loads the three MTCNN networks.
    ///
    /// # Errors
    /// [`Error::Network`] if a file is missing or its digest differs from the manifest's.
    pub fn detector(&self, config: DetectorConfig) -> Result<Detector, Error> {
        let load = |role| self.load(self.manifest.only(role)?);
        Detector::new(
            load(Role::DetectorP)?,
            load(Role::DetectorR)?,
            load(Role::DetectorO)?,
            config,
        )
    }

    /// Loads the embedder named `name` ("facenet", "mobilefacenet", "fused").
    ///
    /// # Errors
    /// As for [`Zoo::detector`].
    pub fn embedder(&self, name: &str) -> Result<Embedder, Error> {
        let profile = self.manifest.profile(name)?;
        let parts = profile.networks.iter().map(|&(network, weight)| {
            let centre = network.centre.as_ref();
            Ok(Part {
                net: self.load(network)?,
                centre: centre.map_or_else(Vec::new, |c| c.values.clone()),
                weight,
            })
        });
        let parts = parts.collect::<Result<Vec<Part>, Error>>()?;
        let head = self.head_of(&profile.space).cloned();
        let embedder = Embedder::new(parts, profile.space, profile.crop)?;
        match head {
            Some(head) => embedder.with_head(head),
            None => Ok(embedder),
        }
    }

    fn head_of(&self, base: &SpaceId) -> Option<&Arc<Head>> {
        let head = self.head.as_ref();
        head.filter(|head| head.learned().base == *base)
    }

    /// Loads the liveness network; `None` if the manifest has none.
    ///
    /// # Errors
    /// As for [`Zoo::detector`]; more than one is refused too.
    pub fn liveness(&self) -> Result<Option<LivenessNet>, Error> {
        let is_one = |network: &&Network| network.role == Role::Liveness;
        if self.manifest.network.iter().find(is_one).is_none() {
            return Ok(None);
        }
        let network = self.manifest.only(Role::Liveness)?;
        let (crop, classes) = (network.crop_spec()?, *network.classes()?);
        LivenessNet::new(self.load(network)?, crop, classes).map(Some)
    }

    /// The embedding space and crop of the embedder named `name`, without loading it.
    ///
    /// # Errors
    /// [`Error::Network`] if the manifest has no such embedder.
    pub fn embedder_facts(&self, name: &str) -> Result<(SpaceId, CropSpec), Error> {
        let profile = self.manifest.profile(name)?;
        let head = self.head_of(&profile.space);
        let space = head.map(|head| head.space().clone());
        Ok((space.unwrap_or(profile.space), profile.crop))
    }

    /// A network's bytes, digest checked.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Network`] if the digest differs.
    pub fn bytes(&self, network: &Network) -> Result<Vec<u8>, Error> {
        let path = self.dir.join(&network.file);
        let bytes = fs::read(&path).map_err(|source| Error::Io { path, source })?;
        let found = sha256_hex(&bytes);
        if found != network.sha256 {
            return Err(network.unusable(format!(
                "the SHA-256 of {} is {found}, the manifest says {}; fetch the file again",
                network.file, network.sha256
            )));
        }
        Ok(bytes)
    }

    fn load(&self, network: &Network) -> Result<Net, Error> {
        let engine = self.engine()?;
        let planned = self
            .plan(network)
            .and_then(|plan| Net::from_plan(&network.name, plan, engine));
        match planned {
            Err(refusal @ Error::Network { .. }) => {
                Net::instead(&network.name, &self.bytes(network)?, &refusal)
            }
            other => other,
        }
    }

    /// A plan in use, else the kept one, which stands for the file with the manifest's digest, else from that file.
    fn plan(&self, network: &Network) -> Result<Arc<Plan>, Error> {
        // A poisoned lock means a panic in the compiler: what is in the table was opened before.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = opened.get(&network.sha256).and_then(Weak::upgrade) {
            return Ok(plan);
        }
        let plan = match self.plans.find(&network.sha256) {
            Some(plan) => plan,
            None => {
                let plan = compile(&network.name, self.bytes(network)?)?;
                let kept = self.plans.keep(&network.sha256, plan);
                kept.map_err(|e| network.unusable(e.to_string()))?
            }
        };
        opened.insert(network.sha256.clone(), Arc::downgrade(&plan));
        Ok(plan)
    }
}

/// SHA-256 as lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
            // Writing to a String does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::EXAMPLE;

    fn folder(manifest: &str, files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(MANIFEST), manifest).unwrap();
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        dir
    }

    #[test]
    fn a_changed_or_missing_file_is_refused() {
        let missing = folder(EXAMPLE, &[]);
        let zoo = Zoo::open(missing.path()).unwrap();
        assert!(matches!(zoo.embedder("facenet"), Err(Error::Io { .. })));

        let changed = folder(EXAMPLE, &[("facenet-int8.onnx", b"not it")]);
        let zoo = Zoo::open(changed.path()).unwrap();
        let said = zoo.embedder("facenet").unwrap_err().to_string();
        assert!(said.contains("SHA-256"), "{said}");
        let said = zoo.embedder("mobilefacenet").unwrap_err().to_string();
        assert!(said.contains("mobilefacenet"), "{said}");
    }

    #[test]
    fn a_file_that_is_no_network_is_refused() {
        let bytes = b"\x08\x07 surely not a network";
        let manifest = EXAMPLE.replace(&"0".repeat(64), &sha256_hex(bytes));
        let dir = folder(&manifest, &[("facenet-int8.onnx", bytes)]);
        let error = Zoo::open(dir.path()).unwrap().embedder("facenet");
        assert!(matches!(error, Err(Error::Network { .. })), "{error:?}");
    }

    #[test]
    fn a_folder_without_manifest_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let said = Zoo::open(dir.path()).unwrap_err().to_string();
        assert!(said.contains(MANIFEST), "{said}");
    }

    #[test]
    fn digests_are_sha256() {
        assert_eq!(
            sha256_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
