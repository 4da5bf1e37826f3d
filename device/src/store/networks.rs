//! A stored bundle's networks under their file names, in a folder of their own: links to the parts, made again whenever
//! missing or damaged.
//!
//! Loading them is `swap`'s.

use std::{fs, path::PathBuf};

use facelatch_protocol::{
    BundleFault, Digest,
    bundle::{Part, PartKind},
};

use super::{Error, Store, bundle::manifest, disk::Folder, parts::PartFile};

impl Store<Folder> {
    /// The folder with a stored bundle's networks under their file names; makes it if it is missing or damaged.
    ///
    /// # Errors
    /// [`Error::Bundle`] if there are no networks, or their parts are damaged; [`Error::Storage`].
    pub fn networks(&mut self, digest: Digest) -> Result<PathBuf, Error> {
        let failed = Error::storage("lay out a bundle's networks");
        let folder = self.disk.path().join(folder_name(digest));
        let manifest = manifest(&self.disk, digest)?;
        let networks = || {
            let parts = manifest.parts.iter().enumerate();
            parts.filter(|(_, part)| part.kind == PartKind::Networks)
        };
        if networks().next().is_none() {
            return Err(BundleFault::PartMissing.into());
        }
        let is_sound = |part: &Part| {
            fs::File::open(folder.join(part.name.as_str()))
                .and_then(|file| PartFile::of(part).is_in(&self.key, file))
                .unwrap_or(false)
        };
        if networks().all(|(_, part)| is_sound(part)) {
            return Ok(folder);
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        fs::create_dir(&folder).map_err(failed)?;
        for (index, part) in networks() {
            self.check_part(index, part)?;
            let stored = self.disk.path().join(PartFile::of(part).name());
            let named = folder.join(part.name.as_str());
            // Not every file system has links.
            fs::hard_link(&stored, &named)
                .or_else(|_| fs::copy(&stored, &named).map(|_| ()))
                .map_err(failed)?;
        }
        Ok(folder)
    }
}

/// The name of the folder.
pub(super) fn folder_name(digest: Digest) -> String {
    format!("{digest}.networks")
}
