//! Reading a stored bundle: its manifest, then single parts, each checked, never more than one in memory.
//!
//! Which bundles are stored, and where, is `store`'s; how a part is kept is `parts`'. Called by `store` and `swap`.

use std::io::{self, Seek};

use facelatch_protocol::{
    BundleFault, Digest,
    bundle::{Head, MAX_HEAD, Manifest, PartKind},
};
use zeroize::Zeroizing;

use super::{
    Error,
    disk::{Disk, ReadSeek, read_small},
    parts::PartFile,
};
use crate::seal::Key;

const FAILED: &str = "read a bundle";

/// An open bundle. It stays readable even if the store forgets it meanwhile.
pub struct Bundle {
    manifest: Manifest,
    key: Key,
    /// In the manifest's order; `None` where the part is not there.
    files: Vec<Option<Box<dyn ReadSeek>>>,
}

impl Bundle {
    /// Reads the manifest; the parts are checked when they are read.
    ///
    /// # Errors
    /// [`Error::Bundle`] if the head is damaged, [`Error::Storage`] if it cannot be read.
    pub(super) fn open(disk: &dyn Disk, key: &Key, digest: Digest) -> Result<Bundle, Error> {
        let manifest = manifest(disk, digest)?;
        let files =
            manifest
                .parts
                .iter()
                .map(|part| match disk.reader(&PartFile::of(part).name()) {
                    Ok(file) => Ok(Some(file)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(Error::storage(FAILED)(error)),
                });
        Ok(Bundle {
            files: files.collect::<Result<_, Error>>()?,
            key: key.clone(),
            manifest,
        })
    }

    /// What the bundle holds.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether a part is there, by its place in the manifest. Personal parts that were taken over are not.
    #[must_use]
    pub fn holds(&self, index: usize) -> bool {
        self.files.get(index).is_some_and(Option::is_some)
    }

    /// The first part of a kind, checked; `None` if there is none.
    ///
    /// # Errors
    /// As for [`Bundle::read`].
    pub fn read_kind(&mut self, kind: PartKind) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let parts = &self.manifest.parts;
        let found = parts.iter().position(|part| part.kind == kind);
        found.map(|index| self.read(index)).transpose()
    }

    /// One part by its place in the manifest, checked.
    ///
    /// # Errors
    /// [`Error::Bundle`] if it is not there, or not what the manifest says; [`Error::Storage`].
    pub fn read(&mut self, index: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
        let part = self.manifest.parts.get(index);
        let file = self.files.get_mut(index).and_then(Option::as_mut);
        let (Some(part), Some(file)) = (part, file) else {
            return Err(BundleFault::PartMissing.into());
        };
        let failed = Error::storage(FAILED);
        file.rewind().map_err(failed)?;
        PartFile::of(part)
            .read(&self.key, file)
            .map_err(failed)?
            .ok_or_else(|| Error::part_digest(index))
    }
}

/// The name of a stored bundle's head.
pub(super) fn head_name(digest: Digest) -> String {
    format!("{digest}.head")
}

/// A stored bundle's manifest.
///
/// # Errors
/// As for [`Bundle::open`].
pub(super) fn manifest(disk: &dyn Disk, digest: Digest) -> Result<Manifest, Error> {
    let failed = Error::storage(FAILED);
    let head = read_small(disk, &head_name(digest), MAX_HEAD as u64 + 1)
        .and_then(|head| head.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(failed)?;
    let (id, manifest) = Head::parse(&head)?.manifest()?;
    if id.digest != digest {
        return Err(BundleFault::Header.into());
    }
    Ok(manifest)
}
