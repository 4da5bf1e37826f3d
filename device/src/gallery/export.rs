//! The gallery's export: every blob as a plain file under its own name, from which the database can be made again.
//!
//! ```text
//! export/<SHA-256 of the bytes>   a sealed blob
//! ```
//!
//! A file's name is its checksum, so a torn or damaged one shows. Called by `gallery/vault.rs`.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use facelatch_protocol::Digest;

use super::{
    failed,
    vault::{Blob, Replica},
};
use crate::{error::Error, seal::private_folder};

pub(super) const FOLDER: &str = "export";
/// From so many files on, one sync of the file system is cheaper than one a file.
const MANY: usize = 8;

/// The open folder.
#[derive(Debug)]
pub(super) struct Export {
    folder: PathBuf,
}

impl Export {
    /// Opens the export below the gallery's folder, making it if it is not there.
    pub(super) fn open(gallery: &Path) -> Result<Export, Error> {
        let folder = gallery.join(FOLDER);
        private_folder(&folder).map_err(failed("create", &folder))?;
        Ok(Export { folder })
    }

    fn files(&self) -> io::Result<Vec<(Digest, PathBuf)>> {
        let mut files = vec![];
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if let Some(digest) = entry.file_name().to_str().and_then(Digest::parse) {
                files.push((digest, entry.path()));
            }
        }
        Ok(files)
    }

    fn add(&self, blobs: &[Blob]) -> io::Result<()> {
        // Opened before anything is written: `syncfs` reports what went wrong since then (Linux 5.8 and later).
        let folder = fs::File::open(&self.folder)?;
        let one_by_one = blobs.len() < MANY;
        for (digest, bytes) in blobs {
            let path = self.folder.join(digest.to_string());
            remove(&path)?;
            let mut file = fs::OpenOptions::new()
                .create_new(true)
                .write(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(bytes)?;
            if one_by_one {
                file.sync_all()?;
            }
        }
        if !one_by_one {
            rustix::fs::syncfs(&folder)?;
        }
        folder.sync_all()
    }
}

impl Replica for Export {
    fn all(&self) -> Result<BTreeMap<Digest, Vec<u8>>, Error> {
        let mut blobs = BTreeMap::new();
        for (digest, path) in self.files().map_err(failed("list", &self.folder))? {
            match fs::read(&path) {
                Ok(bytes) => drop(blobs.insert(digest, bytes)),
                Err(e) => log::error!("gallery: cannot read {}: {e}", path.display()),
            }
        }
        Ok(blobs)
    }

    fn apply(&mut self, add: &[Blob], remove_these: &[Digest]) -> Result<(), Error> {
        if !add.is_empty() {
            self.add(add).map_err(failed("write to", &self.folder))?;
        }
        for digest in remove_these {
            let path = self.folder.join(digest.to_string());
            remove(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    fn renew(&mut self, blobs: &[Blob]) -> Result<(), Error> {
        let there = self.files().map_err(failed("list", &self.folder))?;
        let unwanted = |digest: &Digest| blobs.iter().all(|(wanted, _)| wanted != digest);
        let unwanted: Vec<Digest> = there.into_iter().map(|(d, _)| d).filter(unwanted).collect();
        self.apply(blobs, &unwanted)
    }

    fn bytes_on_disk(&self) -> Result<u64, Error> {
        let size = |(_, path): (_, PathBuf)| Ok(fs::metadata(path)?.len());
        let sizes = self
            .files()
            .and_then(|files| files.into_iter().map(size).sum());
        sizes.map_err(failed("measure", &self.folder))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Err(_) | Ok(()) => Ok(()),
    }
}
