//! Files this program writes for itself: sealed with a checksum, written whole or not at all.
//!
//! ```text
//! +--------+---------+-----------------+------------------------------+
//! | "FLH1" | tag [4] | body (postcard) | SHA-256 of everything before |
//! +--------+---------+-----------------+------------------------------+
//! ```
//!
//! The tag names the kind of file and its version; a changed body gets a new tag, so that old files are known as such.
//! Called by `home`, `keys`, `doors` and `cache`.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::Error;

const MAGIC: [u8; 4] = *b"FLH1";
/// Bytes before the body.
pub const PREFIX_LEN: usize = 8;
const SEAL_LEN: usize = 32;

/// The bytes of a sealed file.
///
/// # Errors
/// [`Error::Bug`] if the body has no postcard form.
pub fn seal<T: Serialize>(tag: [u8; 4], body: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = [MAGIC, tag].concat();
    bytes = postcard::to_extend(body, bytes)
        .map_err(|error| Error::Bug(format!("cannot encode a file: {error}")))?;
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    Ok(bytes)
}

/// The body of a sealed file, or what does not hold.
///
/// # Errors
/// What is wrong, in a few words.
pub fn unseal<T: DeserializeOwned>(tag: [u8; 4], bytes: &[u8]) -> Result<T, &'static str> {
    let Some((sealed, digest)) = bytes.split_last_chunk::<SEAL_LEN>() else {
        return Err("it is cut short");
    };
    if sealed.len() < PREFIX_LEN || sealed[..4] != MAGIC {
        return Err("it is no file of this program");
    }
    if Sha256::digest(sealed).as_slice() != digest {
        return Err("its checksum does not hold");
    }
    if sealed[4..PREFIX_LEN] != tag {
        return Err("it is of another kind or version");
    }
    match postcard::take_from_bytes(&sealed[PREFIX_LEN..]) {
        Ok((body, [])) => Ok(body),
        Ok((_, _)) | Err(_) => Err("its body cannot be read"),
    }
}

/// The body of the sealed file at `path`; `None` if there is no such file.
///
/// # Errors
/// [`Error::Damaged`] with what to do about it, or [`Error::Storage`].
pub fn read<T: DeserializeOwned>(
    path: &Path,
    tag: [u8; 4],
    remedy: &'static str,
) -> Result<Option<T>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::storage("read", path)(error)),
    };
    match unseal(tag, &bytes) {
        Ok(body) => Ok(Some(body)),
        Err(why) => Err(Error::Damaged {
            path: path.to_path_buf(),
            why,
            remedy,
        }),
    }
}

/// Makes a folder, and those above it, that only their owner may enter; one that is there stays as it is.
///
/// # Errors
/// [`Error::Storage`].
pub fn private_dir(dir: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(Error::storage("create", dir))
}

/// Mode of a file for its owner alone; the folders made for it are too.
const PRIVATE: u32 = 0o600;

/// Writes `bytes` to `path` by way of a temporary file beside it: a reader sees the old file or the new one, also after
/// a power cut. Only the file's owner may read it: what this program keeps of people is personal data.
///
/// # Errors
/// [`Error::Storage`]; the old file is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_with(path, bytes, PRIVATE)
}

/// As [`write_atomic`], but for everybody the system's umask allows: pictures asked for on the command line.
///
/// # Errors
/// As for [`write_atomic`].
pub fn write_shared(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_with(path, bytes, 0o666)
}

/// Removes a file; false if there is none.
///
/// # Errors
/// [`Error::Storage`].
pub fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::storage("remove", path)(error)),
    }
}

fn write_with(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) | None => Path::new("."),
    };
    match mode == PRIVATE {
        true => private_dir(dir)?,
        false => fs::create_dir_all(dir).map_err(Error::storage("create", dir))?,
    }
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(".part-")
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // The rename itself must reach the disk too.
        fs::File::open(dir)?.sync_all()
    };
    write().map_err(Error::storage("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: [u8; 4] = *b"test";

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let body = (7u32, String::from("ada"), vec![0.5f32, -0.25]);
        let bytes = seal(TAG, &body).expect("sealable");
        assert_eq!(unseal::<(u32, String, Vec<f32>)>(TAG, &bytes), Ok(body));
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 0x10;
            assert!(
                unseal::<(u32, String, Vec<f32>)>(TAG, &changed).is_err(),
                "byte {i} changed"
            );
            assert!(
                unseal::<(u32, String, Vec<f32>)>(TAG, &bytes[..i]).is_err(),
                "cut at {i}"
            );
        }
        assert!(unseal::<(u32, String, Vec<f32>)>(*b"othr", &bytes).is_err());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_litter() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("sub/file");
        write_atomic(&path, b"old").expect("writable");
        write_atomic(&path, b"new").expect("writable");
        assert_eq!(fs::read(&path).expect("readable"), b"new");
        // A folder in the way: the rename fails.
        let blocked = dir.path().join("blocked");
        fs::create_dir_all(blocked.join("full")).expect("folder");
        assert!(write_atomic(&blocked, b"x").is_err());
        let left: Vec<_> = fs::read_dir(dir.path())
            .expect("readable")
            .flatten()
            .map(|e| e.file_name())
            .collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
