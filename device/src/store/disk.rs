//! The few file operations the bundle store needs, over one flat folder.
//!
//! [`Folder`] is the real thing. The store's own tests put a disk behind [`Disk`] that fails or loses power at any
//! operation.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::seal::private_folder;

/// Something to read a stored file from.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// File operations on one flat folder. Names are plain file names.
pub trait Disk: Send {
    /// All names in the folder.
    ///
    /// # Errors
    /// Whatever the system reports.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A file's length, in bytes; `None` if there is none.
    ///
    /// # Errors
    /// Whatever the system reports.
    fn len(&self, name: &str) -> io::Result<Option<u64>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// Whatever the system reports.
    fn reader(&self, name: &str) -> io::Result<Box<dyn ReadSeek>>;

    /// Writes all of `bytes` at `offset`, making the file if needed.
    ///
    /// # Errors
    /// Whatever the system reports; part of the bytes may have been written.
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file to `len` bytes.
    ///
    /// # Errors
    /// Whatever the system reports.
    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()>;

    /// Returns when a file's content will survive a power cut.
    ///
    /// # Errors
    /// Whatever the system reports.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Gives a file another name, replacing the file of that name at once.
    ///
    /// # Errors
    /// Whatever the system reports.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Returns when the folder's names will survive a power cut.
    ///
    /// # Errors
    /// Whatever the system reports.
    fn sync_names(&mut self) -> io::Result<()>;

    /// Removes a file, or a folder with all in it.
    ///
    /// # Errors
    /// Whatever the system reports.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Free space, in bytes.
    ///
    /// # Errors
    /// Whatever the system reports.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// A folder of the file system.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens a folder, making it if needed.
    ///
    /// # Errors
    /// Whatever the system reports.
    pub fn open(path: &Path) -> io::Result<Folder> {
        private_folder(path)?;
        Ok(Folder {
            path: path.to_owned(),
        })
    }

    /// The folder's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // The store gives no name that is not UTF-8, so such an entry is not the store's to touch.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.path.join(name)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn reader(&self, name: &str) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(File::open(self.path.join(name))?))
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path.join(name))?
            .write_all_at(bytes, offset)
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .open(self.path.join(name))?
            .set_len(len)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        File::open(self.path.join(name))?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        if fs::symlink_metadata(&path)?.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let volume = rustix::fs::statvfs(&self.path)?;
        Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
    }
}

/// Writes a whole file that is either as before or complete, whatever happens in between.
///
/// # Errors
/// Whatever the system reports; the file may be in either state, never in a third.
pub(super) fn replace(disk: &mut dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = format!("{name}.new");
    if disk.len(&new)?.is_some() {
        disk.remove(&new)?;
    }
    disk.write_at(&new, 0, bytes)?;
    disk.sync(&new)?;
    disk.rename(&new, name)?;
    disk.sync_names()
}

/// The first `limit` bytes of a file; `None` if there is none.
///
/// # Errors
/// Whatever the system reports.
pub(super) fn read_small(disk: &dyn Disk, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match disk.reader(name) {
        Ok(file) => file.take(limit).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(bytes))
}
