//! Bundles on disk: received, checked, on trial, active, and the previous one to go back to. Parts are kept by the digest of
//! their content, so bundles share them, and what is there is never received again.
//!
//! Nothing here loads networks or judges faces: `swap` does, between [`Store::verify`] and [`Store::commit`]. Called by
//! the link's handlers and by `swap`.
//!
//! ```text
//! bundles/
//!   state, state.copy        which bundle is on trial, active, previous; see `state`
//!   <manifest>.head          a stored bundle: its manifest and signature
//!   <sha256>.part, .sealed   a whole part; see `parts`
//!   <sha256>.coming, .sealing, offered     what was received so far, and of which bundle; see `receive`
//!   <manifest>.networks/     its networks under their file names, for the loader; made again whenever missing or damaged
//! ```
//!
//! The state decides: what neither it nor `offered` names does not exist, so an interruption anywhere leaves the old or the
//! new state whole.

mod bundle;
pub mod disk;
mod error;
mod garbage;
mod networks;
mod parts;
mod receive;
pub(crate) mod signature;
mod state;

use std::path::Path;

use facelatch_protocol::{
    BundleFault, BundleId, BundleProgress, Digest, RollbackReason, RolledBack, Text,
    bundle::{Manifest, Part},
};

pub use self::{bundle::Bundle, error::Error};
use self::{
    bundle::manifest,
    disk::{Disk, Folder},
    parts::{Found, PartFile},
    receive::Incoming,
    state::{State, Stored},
};
use crate::seal::Key;

/// Left free on the disk when a bundle is accepted: room for the state, the gallery's and the record's growth.
pub const RESERVE_BYTES: u64 = 4 << 20;

/// What a store takes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest size of all parts of a bundle.
    pub max_bundle_bytes: u64,
}

/// A bundle that was received and checked, not yet in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub id: BundleId,
    /// What it holds.
    pub manifest: Manifest,
}

/// The stored bundles.
pub struct Store<D = Folder> {
    disk: D,
    /// Seals personal parts.
    key: Key,
    limits: Limits,
    state: State,
    /// Whether both copies on the disk hold the state.
    is_settled: bool,
    /// Bundles that the state on disk names, but that are not whole.
    damaged: Vec<BundleId>,
    incoming: Option<Incoming>,
}

impl Store<Folder> {
    /// Opens the bundles in a folder, making it if needed. Personal parts are sealed with a key derived from `key`.
    ///
    /// # Errors
    /// As for [`Store::on`].
    pub fn open(folder: &Path, key: &Key, limits: Limits) -> Result<Store, Error> {
        let disk = Folder::open(folder).map_err(Error::storage("open the bundle folder"))?;
        Store::on(disk, key, limits)
    }
}

impl<D: Disk> Store<D> {
    /// Opens the bundles on a disk: reads the state, checks the bundle in use, and clears away what nothing names.
    ///
    /// If the bundle in use is not whole, the one before it takes its place, until the next change only in memory: what
    /// cannot be read now may be readable after the next start. [`Store::damaged`] names it.
    ///
    /// # Errors
    /// [`Error::StateDamaged`] if it cannot be known which bundle is in use, [`Error::Storage`].
    pub fn on(disk: D, key: &Key, limits: Limits) -> Result<Store<D>, Error> {
        let (state, is_settled) = state::load(&disk)?;
        let is_new = state == State::default();
        let mut store = Store {
            disk,
            key: key.derive("facelatch bundle parts 1"),
            limits,
            state,
            is_settled,
            damaged: vec![],
            incoming: None,
        };
        if !is_new && let Err(error) = store.settle() {
            log::warn!("{error}");
        }
        store.fall_back();
        store.resume();
        store.collect_garbage();
        Ok(store)
    }

    /// The bundle on trial, else the active one; `None` without any, or if none is whole.
    #[must_use]
    pub fn in_use(&self) -> Option<BundleId> {
        self.state.in_use().map(|stored| stored.id)
    }

    /// The bundle that has proved itself; in use unless another is on trial.
    #[must_use]
    pub fn active(&self) -> Option<BundleId> {
        self.state.active.map(|stored| stored.id)
    }

    /// The bundle to go back to from the active one.
    #[must_use]
    pub fn previous(&self) -> Option<BundleId> {
        self.state.previous.map(|stored| stored.id)
    }

    /// The bundle that has to prove itself.
    #[must_use]
    pub fn on_trial(&self) -> Option<BundleId> {
        self.state.trial.map(|stored| stored.id)
    }

    /// The last bundle that did not prove itself, until another one does.
    #[must_use]
    pub fn rolled_back(&self) -> Option<&RolledBack> {
        self.state.rolled_back.as_ref()
    }

    /// The highest counter ever committed; 0 before the first. A bundle needs a larger one.
    #[must_use]
    pub fn highest_counter(&self) -> u64 {
        self.state.highest
    }

    /// Bundles that should be in use, but were found damaged on disk: others serve in their place.
    #[must_use]
    pub fn damaged(&self) -> &[BundleId] {
        &self.damaged
    }

    /// Where everything stands.
    #[must_use]
    pub fn progress(&self) -> BundleProgress {
        BundleProgress {
            staging: self.incoming.as_ref().map(Incoming::progress),
            active: self.active(),
            previous: self.previous(),
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

    /// Puts a checked bundle on trial: the moment the state is replaced. Another one on trial is dropped, unproven.
    ///
    /// # Errors
    /// [`Error::NotStaging`] if the candidate was aborted meanwhile, [`Error::Storage`]; then the old or the new bundle is
    /// in use, as [`Store::in_use`] says.
    pub fn commit(&mut self, candidate: &Candidate) -> Result<BundleId, Error> {
        let id = candidate.id;
        // After a change that failed half way.
        let is_committed = self.on_trial() == Some(id);
        let is_candidate = |incoming: &Incoming| incoming.is_verified && incoming.id == id;
        if !self.incoming.as_ref().is_some_and(is_candidate) {
            return Err(Error::NotStaging);
        }
        if is_committed {
            self.settle()?;
            self.abort();
            return Ok(id);
        }
        let state = State {
            highest: self.state.highest.max(id.counter),
            starts: 0,
            trial: Some(Stored {
                id,
                is_taken: false,
            }),
            ..self.state.clone()
        };
        self.change("put a bundle on trial", state)?;
        self.incoming = None;
        self.collect_garbage();
        Ok(id)
    }

    /// Counts a start of the bundle on trial, on disk, before it is loaded; returns how many there were, 0 if none is on
    /// trial.
    ///
    /// # Errors
    /// [`Error::Storage`]; the start may be counted or not.
    pub fn start_trial(&mut self) -> Result<u32, Error> {
        if self.state.trial.is_none() {
            return Ok(0);
        }
        let starts = self.state.starts.saturating_add(1);
        let state = State {
            starts,
            ..self.state.clone()
        };
        self.change("count a start", state)?;
        Ok(starts)
    }

    /// The bundle on trial has proved itself: it is active now, and the one before is the one to go back to. Nothing
    /// happens if none is on trial.
    ///
    /// # Errors
    /// [`Error::Storage`]; then it is on trial or active, as [`Store::on_trial`] says.
    pub fn confirm(&mut self) -> Result<(), Error> {
        let Some(trial) = self.state.trial else {
            return self.settle();
        };
        let state = State {
            starts: 0,
            trial: None,
            active: Some(trial),
            previous: self.state.active,
            rolled_back: None,
            ..self.state.clone()
        };
        self.change("make a bundle active", state)?;
        self.collect_garbage();
        Ok(())
    }

    /// Drops the bundle on trial for the active one, or without a trial the active one for the previous one, and remembers
    /// why. Returns the bundle in use now; `None` if that was the last one.
    ///
    /// # Errors
    /// [`Error::NoBundle`] if none is in use; [`Error::Storage`]: then the old or the new one is, as [`Store::in_use`] says.
    pub fn roll_back(
        &mut self,
        reason: RollbackReason,
        text: &str,
        unix_ms: u64,
    ) -> Result<Option<BundleId>, Error> {
        let id = self.in_use().ok_or(Error::NoBundle)?;
        let mut state = self.state.clone();
        state.drop_in_use();
        state.rolled_back = Some(RolledBack {
            id,
            unix_ms,
            reason,
            text: Text::cut(text),
        });
        self.change("go back to the bundle before", state)?;
        // The one before was not looked at while this one served.
        self.fall_back();
        self.collect_garbage();
        Ok(self.in_use())
    }

    /// Makes sure that what this store says will still hold after a power cut. Only after a failed change is there
    /// anything to do.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn settle(&mut self) -> Result<(), Error> {
        if self.is_settled {
            return Ok(());
        }
        self.change("write which bundle is in use", self.state.clone())
    }

    /// Opens a stored bundle: the one in use, the previous one or a candidate.
    ///
    /// # Errors
    /// [`Error::Bundle`], [`Error::Storage`].
    pub fn bundle(&self, digest: Digest) -> Result<Bundle, Error> {
        Bundle::open(&self.disk, &self.key, digest)
    }

    /// Removes a stored bundle's personal parts for good: they were taken over elsewhere. A later bundle with the same
    /// parts brings them again.
    ///
    /// # Errors
    /// [`Error::Bundle`], [`Error::Storage`]; then they may be there or not, and it has to be called again.
    pub fn forget_personal(&mut self, digest: Digest) -> Result<(), Error> {
        let manifest = manifest(&self.disk, digest)?;
        let personal = manifest.parts.iter().filter(|part| part.kind.is_personal());
        let personal: Vec<_> = personal.map(PartFile::of).collect();
        let mut state = self.state.clone();
        let places = [&mut state.trial, &mut state.active, &mut state.previous];
        for stored in places.into_iter().flatten() {
            stored.is_taken |= stored.id.digest == digest;
        }
        if state == self.state {
            self.settle()?;
        } else {
            self.change("forget personal parts", state)?;
        }
        if let Some(incoming) = &mut self.incoming {
            incoming.forget(&personal);
        }
        let mut forget = || {
            for name in personal.iter().flat_map(|f| [f.name(), f.coming_name()]) {
                if self.disk.len(&name)?.is_some() {
                    self.disk.remove(&name)?;
                }
            }
            self.disk.sync_names()
        };
        forget().map_err(Error::storage("forget personal parts"))
    }

    /// Whether a bundle is on trial or active.
    fn is_running(&self, digest: Digest) -> bool {
        let running = [self.state.trial, self.state.active];
        running.iter().flatten().any(|one| one.id.digest == digest)
    }

    /// Writes what holds from now on; on failure, believes what the disk says now.
    fn change(&mut self, doing: &'static str, state: State) -> Result<(), Error> {
        let generation = self.state.generation.saturating_add(1);
        let state = State {
            generation,
            ..state
        };
        if let Err(source) = state::save(&mut self.disk, &state) {
            self.is_settled = false;
            match state::load(&self.disk) {
                Ok((state, _)) => self.state = state,
                Err(error) => log::error!("{error}"),
            }
            // Higher than anything the disk may hold.
            self.state.generation = generation;
            self.damaged.clear();
            self.fall_back();
            return Err(Error::storage(doing)(source));
        }
        self.state = state;
        self.is_settled = true;
        self.damaged.clear();
        Ok(())
    }

    /// Reads the bundle in use through; while it is not whole, the one before takes its place.
    fn fall_back(&mut self) {
        while let Some(stored) = self.state.in_use() {
            let Err(error) = self.check(stored) else {
                break;
            };
            log::error!("stored bundle {}: {error}; going back", stored.id.digest);
            self.damaged.push(stored.id);
            self.state.drop_in_use();
        }
    }

    /// Whether everything of a stored bundle is there.
    fn check(&self, stored: Stored) -> Result<(), Error> {
        let manifest = manifest(&self.disk, stored.id.digest)?;
        let parts = manifest.parts.iter().enumerate();
        parts
            .filter(|(_, part)| !(stored.is_taken && part.kind.is_personal()))
            .try_for_each(|(index, part)| self.check_part(index, part))
    }

    fn check_part(&self, index: usize, part: &Part) -> Result<(), Error> {
        let found = PartFile::of(part).find(&self.disk, &self.key);
        match found.map_err(Error::storage("check a stored bundle"))? {
            Found::Whole => Ok(()),
            Found::Damaged => Err(Error::part_digest(index)),
            Found::Missing => Err(BundleFault::PartMissing.into()),
        }
    }
}
