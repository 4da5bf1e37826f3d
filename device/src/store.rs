//! Bundle slots on disk: receive into staging, check, then switch one pointer file; the previous bundle is kept.
//!
//! Nothing here loads networks or judges faces: `swap` does, between [`Store::verify`] and [`Store::commit`]. Called by
//! the link's handlers and by `swap`.
//!
//! ```text
//! bundles/
//!   active                          the pointer: digests of the active and the previous bundle
//!   <digest>.flb                    a slot: one complete, checked bundle
//!   <digest>.networks/              its networks unpacked, made again whenever missing or damaged
//!   staging-<digest>-<size>.part    what was received so far; its length is the offset to go on from
//! ```
//!
//! The pointer decides: a slot it does not name does not exist, so an interruption anywhere leaves the old state whole.

pub mod bundle;
pub mod disk;
mod error;
mod pointer;

use std::{io, path::Path, path::PathBuf};

use facelatch_protocol::{
    BundleFault, BundleId, BundleProgress, Digest, Staging,
    bundle::PartKind,
    bundle_v1::{Header, PREFIX_LEN},
};

pub use self::error::Error;
use self::{
    bundle::Bundle,
    disk::{Disk, Folder, replace, write_synced},
    pointer::Pointer,
};

const POINTER: &str = "active";

/// Left free on the disk when a bundle is accepted: room for the pointer, the gallery's and the record's growth.
pub const RESERVE_BYTES: u64 = 4 << 20;

/// A bundle that was received and checked, not yet active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub id: BundleId,
    /// What it holds.
    pub header: Header,
}

/// The bundle slots.
pub struct Store<D = Folder> {
    disk: D,
    max_bundle_bytes: u64,
    staging: Option<Staging>,
    candidate: Option<Digest>,
    active: Option<BundleId>,
    previous: Option<BundleId>,
}

impl Store<Folder> {
    /// Opens the slots in a folder, making it if needed.
    ///
    /// # Errors
    /// As for [`Store::on`].
    pub fn open(folder: &Path, max_bundle_bytes: u64) -> Result<Store, Error> {
        let disk = Folder::open(folder).map_err(Error::storage("open the bundle folder"))?;
        Store::on(disk, max_bundle_bytes)
    }

    /// The folder a bundle's networks are unpacked in; unpacks them if they are missing or damaged.
    ///
    /// # Errors
    /// [`Error::Bundle`], [`Error::Storage`].
    pub fn networks(&mut self, digest: Digest) -> Result<PathBuf, Error> {
        let unpacked = self.disk.path().join(networks_name(digest));
        let mut bundle = self.bundle(digest)?;
        let parts: Vec<_> = bundle.header().parts.iter().cloned().enumerate().collect();
        let networks = || {
            parts
                .iter()
                .filter(|(_, part)| part.kind == PartKind::Networks)
        };
        if networks().next().is_none() {
            return Err(Error::Bundle(BundleFault::PartMissing));
        }
        let whole = networks().all(|(_, part)| {
            std::fs::read(unpacked.join(part.name.as_str()))
                .is_ok_and(|bytes| bundle::matches(part, &bytes))
        });
        if whole {
            return Ok(unpacked);
        }
        let failed = "unpack a bundle's networks";
        if unpacked.exists() {
            std::fs::remove_dir_all(&unpacked).map_err(Error::storage(failed))?;
        }
        std::fs::create_dir(&unpacked).map_err(Error::storage(failed))?;
        for (index, part) in networks() {
            let bytes = bundle.read(*index)?;
            write_synced(&unpacked.join(part.name.as_str()), &bytes)
                .map_err(Error::storage(failed))?;
        }
        Ok(unpacked)
    }
}

impl<D: Disk> Store<D> {
    /// Opens the slots on a disk: reads the pointer, checks the active bundle, and clears away what nothing names.
    ///
    /// Without a whole active bundle the previous one is taken, without a whole pointer none. Both are logged.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn on(disk: D, max_bundle_bytes: u64) -> Result<Store<D>, Error> {
        let mut store = Store {
            disk,
            max_bundle_bytes,
            staging: None,
            candidate: None,
            active: None,
            previous: None,
        };
        let named = store.load_pointer()?;
        store.fall_back();
        store.staging = store.find_staging()?;
        if named == (digest_of(store.active), digest_of(store.previous)) {
            store.collect_garbage();
        }
        Ok(store)
    }

    /// The active bundle.
    #[must_use]
    pub fn active(&self) -> Option<BundleId> {
        self.active
    }

    /// The bundle to go back to.
    #[must_use]
    pub fn previous(&self) -> Option<BundleId> {
        self.previous
    }

    /// Where everything stands.
    #[must_use]
    pub fn progress(&self) -> BundleProgress {
        BundleProgress {
            staging: self.staging,
            active: self.active,
            previous: self.previous,
        }
    }

    /// Free space, in bytes.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn free_bytes(&self) -> Result<u64, Error> {
        self.disk
            .free_bytes()
            .map_err(Error::storage("ask for free space"))
    }

    /// Starts receiving a bundle, or goes on if the same one was begun before. Nothing is received if it is active
    /// already: then [`Store::progress`] names no staging.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::NoSpace`], [`Error::Bundle`] if it is too short for a bundle, [`Error::Storage`].
    pub fn begin(&mut self, size: u64, sha256: Digest) -> Result<(), Error> {
        if size > self.max_bundle_bytes {
            let limit = self.max_bundle_bytes;
            return Err(Error::TooLarge { size, limit });
        }
        if size <= PREFIX_LEN as u64 {
            return Err(Error::Bundle(BundleFault::Length));
        }
        let same = self
            .staging
            .filter(|s| s.size == size && s.sha256 == sha256);
        let is_active = self.active.is_some_and(|active| active.digest == sha256);
        if same.is_none() || is_active {
            self.abort();
        }
        if is_active {
            return Ok(());
        }
        let received = same.map_or(0, |staging| staging.received);
        // Its networks are unpacked beside it later.
        let needed = (size - received) + size + RESERVE_BYTES;
        let free = self.free_bytes()?;
        if free < needed {
            return Err(Error::NoSpace { needed, free });
        }
        let staging = Staging {
            size,
            sha256,
            received,
        };
        if same.is_none() {
            self.disk
                .write_at(&staging_name(&staging), 0, &[])
                .map_err(Error::storage("start receiving a bundle"))?;
        }
        self.staging = Some(staging);
        Ok(())
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Error::NotStaging`], [`Error::Offset`], [`Error::NoSpace`], [`Error::Storage`]; the store stands where it stood,
    /// and the same chunk may be sent again.
    pub fn chunk(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut staging = self.staging.ok_or(Error::NotStaging)?;
        let end = offset.checked_add(bytes.len() as u64);
        let end = end.filter(|&end| offset == staging.received && end <= staging.size);
        let Some(end) = end else {
            let expected = staging.received;
            return Err(Error::Offset {
                found: offset,
                expected,
            });
        };
        let written = self.disk.write_at(&staging_name(&staging), offset, bytes);
        if let Err(source) = written {
            if source.kind() == io::ErrorKind::StorageFull {
                let needed = staging.size - offset;
                let free = self.disk.free_bytes().unwrap_or(0).min(needed);
                return Err(Error::NoSpace { needed, free });
            }
            return Err(Error::storage("write to a bundle")(source));
        }
        staging.received = end;
        self.staging = Some(staging);
        Ok(())
    }

    /// Checks a completely received bundle and gives it a slot of its own, which the pointer does not name yet.
    ///
    /// A bundle that fails is forgotten.
    ///
    /// # Errors
    /// [`Error::NotStaging`], [`Error::OtherBundle`], [`Error::Incomplete`], [`Error::Digest`], [`Error::Bundle`],
    /// [`Error::Storage`].
    pub fn verify(&mut self, sha256: Digest) -> Result<Candidate, Error> {
        let staging = self.staging.ok_or(Error::NotStaging)?;
        if staging.sha256 != sha256 {
            return Err(Error::OtherBundle);
        }
        if staging.received != staging.size {
            let (received, size) = (staging.received, staging.size);
            return Err(Error::Incomplete { received, size });
        }
        match self.move_to_slot(&staging) {
            Ok(header) => {
                self.staging = None;
                self.candidate = Some(sha256);
                let counter = header.counter;
                let id = BundleId {
                    digest: sha256,
                    counter,
                };
                Ok(Candidate { id, header })
            }
            Err(error @ (Error::Digest | Error::Bundle(_))) => {
                self.abort();
                Err(error)
            }
            Err(error) => {
                // The file may have been renamed already: then the transfer starts over.
                self.staging = self.find_staging().unwrap_or(None);
                Err(error)
            }
        }
    }

    /// Makes a checked bundle the active one: the moment the pointer file is replaced.
    ///
    /// # Errors
    /// [`Error::NotStaging`] if the candidate was aborted meanwhile, [`Error::Storage`]; then the old or the new bundle is
    /// active, as [`Store::active`] says.
    pub fn commit(&mut self, candidate: &Candidate) -> Result<BundleId, Error> {
        if self.candidate != Some(candidate.id.digest) {
            return Err(Error::NotStaging);
        }
        self.point_to(Some(candidate.id), self.active)?;
        self.candidate = None;
        self.collect_garbage();
        Ok(candidate.id)
    }

    /// Forgets what was received, and a candidate that was not committed.
    pub fn abort(&mut self) {
        self.candidate = None;
        self.staging = None;
        self.collect_garbage();
    }

    /// Goes back to the previous bundle and forgets the active one.
    ///
    /// # Errors
    /// [`Error::NoPrevious`], [`Error::Storage`].
    pub fn roll_back(&mut self) -> Result<BundleId, Error> {
        let previous = self.previous.ok_or(Error::NoPrevious)?;
        self.point_to(Some(previous), None)?;
        self.collect_garbage();
        Ok(previous)
    }

    /// Opens a stored bundle: the active one, the previous one or a candidate.
    ///
    /// # Errors
    /// [`Error::Bundle`], [`Error::Storage`].
    pub fn bundle(&self, digest: Digest) -> Result<Bundle, Error> {
        let file = self
            .disk
            .reader(&slot_name(digest))
            .map_err(Error::storage("open a bundle"))?;
        Bundle::open(file)
    }

    /// Checks the staged file, then renames it to its slot.
    fn move_to_slot(&mut self, staging: &Staging) -> Result<Header, Error> {
        let name = staging_name(staging);
        let failed = "store a received bundle";
        // Left over from a chunk whose write failed half way and that was not sent again.
        self.disk
            .truncate(&name, staging.size)
            .map_err(Error::storage(failed))?;
        self.disk.sync(&name).map_err(Error::storage(failed))?;
        let file = self.disk.reader(&name).map_err(Error::storage(failed))?;
        let header = bundle::check(file, staging.sha256)?;
        self.disk
            .rename(&name, &slot_name(staging.sha256))
            .map_err(Error::storage(failed))?;
        self.disk.sync_names().map_err(Error::storage(failed))?;
        Ok(header)
    }

    /// Replaces the pointer; on failure, believes what the disk says now.
    fn point_to(
        &mut self,
        active: Option<BundleId>,
        previous: Option<BundleId>,
    ) -> Result<(), Error> {
        let text = pointer::text(active, previous);
        match replace(&mut self.disk, POINTER, text.as_bytes()) {
            Ok(()) => {
                (self.active, self.previous) = (active, previous);
                Ok(())
            }
            Err(source) => {
                self.load_pointer()?;
                self.fall_back();
                Err(Error::storage("switch the active bundle")(source))
            }
        }
    }

    /// Reads the pointer and the headers of the bundles it names; returns what it names.
    fn load_pointer(&mut self) -> Result<Pointer, Error> {
        let failed = "read which bundle is active";
        let mut text = Vec::new();
        if self
            .disk
            .len(POINTER)
            .map_err(Error::storage(failed))?
            .is_some()
        {
            let file = self.disk.reader(POINTER).map_err(Error::storage(failed))?;
            io::Read::read_to_end(&mut io::Read::take(file, 1024), &mut text)
                .map_err(Error::storage(failed))?;
        }
        let (active, previous) = if text.is_empty() {
            (None, None)
        } else if let Some(named) = pointer::parse(&text) {
            named
        } else {
            log::error!("the file that names the active bundle is damaged: push a bundle again");
            (None, None)
        };
        self.active = active.and_then(|digest| self.identify(digest));
        self.previous = previous.and_then(|digest| self.identify(digest));
        Ok((active, previous))
    }

    /// The counter of a bundle the pointer names; `None` and a log line if its slot cannot be read.
    fn identify(&self, digest: Digest) -> Option<BundleId> {
        match self.bundle(digest) {
            Ok(bundle) => Some(BundleId {
                digest,
                counter: bundle.header().counter,
            }),
            Err(error) => {
                log::error!("stored bundle {digest}: {error}");
                None
            }
        }
    }

    /// Reads the active bundle through; if it is not whole, the previous one takes its place.
    ///
    /// Only in memory: what cannot be read now may be readable after the next start. The next commit makes it final.
    fn fall_back(&mut self) {
        let whole = |id: &BundleId| {
            let file = self.disk.reader(&slot_name(id.digest));
            file.map_err(Error::storage("open a bundle"))
                .and_then(|file| bundle::check(file, id.digest))
                .inspect_err(|error| log::error!("stored bundle {}: {error}", id.digest))
                .is_ok()
        };
        if self.active.as_ref().is_some_and(whole) {
            return;
        }
        self.active = self.previous.take().filter(whole);
        if let Some(active) = self.active {
            log::error!("going back to the previous bundle {}", active.digest);
        }
    }

    /// What was being received when the store was last open.
    fn find_staging(&mut self) -> Result<Option<Staging>, Error> {
        let failed = "look for a half-received bundle";
        for name in self.disk.list().map_err(Error::storage(failed))? {
            let Some((sha256, size)) = parse_staging_name(&name) else {
                continue;
            };
            let received = self.disk.len(&name).map_err(Error::storage(failed))?;
            if let Some(received) = received.filter(|&len| len <= size) {
                return Ok(Some(Staging {
                    size,
                    sha256,
                    received,
                }));
            }
        }
        Ok(None)
    }

    /// Removes what neither the pointer nor a running transfer names. Failing is no harm: it is tried again.
    fn collect_garbage(&mut self) {
        let mut keep = vec![POINTER.to_owned()];
        keep.extend(self.staging.as_ref().map(staging_name));
        let slots = [self.active, self.previous].map(digest_of);
        for digest in slots.into_iter().chain([self.candidate]).flatten() {
            keep.extend([slot_name(digest), networks_name(digest)]);
        }
        let cleared = self.disk.list().and_then(|names| {
            names
                .iter()
                .filter(|name| !keep.contains(name))
                .try_for_each(|name| self.disk.remove(name))
        });
        if let Err(error) = cleared {
            log::warn!("could not clear the bundle folder: {error}");
        }
    }
}

fn digest_of(id: Option<BundleId>) -> Option<Digest> {
    id.map(|id| id.digest)
}

fn slot_name(digest: Digest) -> String {
    format!("{digest}.flb")
}

fn networks_name(digest: Digest) -> String {
    format!("{digest}.networks")
}

fn staging_name(staging: &Staging) -> String {
    format!("staging-{}-{}.part", staging.sha256, staging.size)
}

fn parse_staging_name(name: &str) -> Option<(Digest, u64)> {
    let (digest, size) = name
        .strip_prefix("staging-")?
        .strip_suffix(".part")?
        .split_once('-')?;
    Some((Digest::parse(digest)?, size.parse().ok()?))
}
