//! Secrets at rest: keys that are wiped when dropped, sealing with XChaCha20-Poly1305, and this device's own keys.
//!
//! Knows nothing of what is sealed. Called by `gallery`, `store` and `hosts`; `lib` opens the device's keys first.
//!
//! ```text
//! sealed       nonce (24, random) | ciphertext | tag (16)          draft-irtf-cfrg-xchacha-03
//! device.key   "FLK1" | link secret (32) | sealing key (32) | CRC-32 of everything before, little endian
//! ```

use std::{
    fmt, fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::error::Error;

const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
/// Bytes that sealing adds.
pub const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

const FILE: &str = "device.key";
const MAGIC: &[u8; 4] = b"FLK1";
const FILE_LEN: usize = 4 + 32 + 32 + 4;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// A 256-bit key, wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// A new random key.
    ///
    /// # Errors
    /// [`Error::Bug`] if the system gives no randomness.
    pub fn random() -> Result<Key, Error> {
        let mut key = Key([0; 32]);
        fill(&mut key.0)?;
        Ok(key)
    }

    /// The key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Key {
        Key(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one purpose: SHA-256 of the purpose's name, a zero byte, and this key, which is random.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Key {
        let digest = Sha256::new()
            .chain_update(purpose)
            .chain_update([0])
            .chain_update(self.0)
            .finalize();
        Key(digest.into())
    }

    /// Seals bytes; `about` is not stored, but has to be the same when they are opened.
    ///
    /// # Errors
    /// [`Error::Bug`] without randomness, or above 256 GB.
    pub fn seal(&self, about: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce)?;
        let payload = Payload {
            msg: plain,
            aad: about,
        };
        let sealed = XChaCha20Poly1305::new(&self.0.into())
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::Bug("too long to be sealed".to_owned()))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens sealed bytes; `None` if a byte of them, the key or `about` is another.
    #[must_use]
    pub fn open(&self, about: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let payload = Payload {
            msg: sealed,
            aad: about,
        };
        XChaCha20Poly1305::new(&self.0.into())
            .decrypt(&XNonce::from(*nonce), payload)
            .ok()
            .map(Zeroizing::new)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Fills `bytes` from the system's source of randomness.
///
/// # Errors
/// [`Error::Bug`] if it fails.
pub fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|e| Error::Bug(format!("no randomness: {e}")))
}

/// What makes this device itself. Copying them is copying the device; losing them is losing its people and pairings.
#[derive(Debug, Clone)]
pub struct DeviceKeys {
    /// Static X25519 secret of its sessions.
    pub link: Key,
    /// Wraps every other key at rest.
    pub sealing: Key,
}

impl DeviceKeys {
    /// Reads the keys in `folder`, or makes them if neither they nor anything they seal is there.
    ///
    /// `is_new` says that nothing was sealed yet: only then are missing keys no damage.
    ///
    /// # Errors
    /// [`Error::KeysDamaged`], [`Error::Storage`].
    pub fn open(folder: &Path, is_new: bool) -> Result<DeviceKeys, Error> {
        let path = folder.join(FILE);
        let damaged = |why| Error::KeysDamaged {
            path: path.clone(),
            why,
        };
        match fs::read(&path).map(Zeroizing::new) {
            Ok(bytes) => {
                let mode = fs::metadata(&path).map_err(Error::storage("read", &path))?;
                if mode.permissions().mode() & 0o077 != 0 {
                    return Err(damaged("others may read it: chmod 600, and pair again"));
                }
                parse(&bytes).ok_or_else(|| damaged("its bytes were changed or cut"))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && is_new => {
                let keys = DeviceKeys {
                    link: Key::random()?,
                    sealing: Key::random()?,
                };
                write(folder, &keys).map_err(Error::storage("write", &path))?;
                Ok(keys)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(damaged("it is gone")),
            Err(e) => Err(Error::storage("read", &path)(e)),
        }
    }
}

fn parse(bytes: &[u8]) -> Option<DeviceKeys> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if bytes.len() != FILE_LEN || CRC.checksum(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (link, sealing) = body.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
    Some(DeviceKeys {
        link: Key(*link),
        sealing: Key(*sealing.first_chunk()?),
    })
}

fn write(folder: &Path, keys: &DeviceKeys) -> std::io::Result<()> {
    private_folder(folder)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_LEN));
    for piece in [MAGIC.as_slice(), keys.link.bytes(), keys.sealing.bytes()] {
        bytes.extend_from_slice(piece);
    }
    let crc = CRC.checksum(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    replace_private(&folder.join(FILE), &bytes)
}

/// Makes a folder, if it is not there, that only this user may look into.
///
/// # Errors
/// Whatever the system reports.
pub fn private_folder(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Writes a file only this user may read, that is either as before or complete, whatever happens in between.
///
/// # Errors
/// Whatever the system reports; the file may be in either state, never in a third.
pub fn replace_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    // Left over from an interruption, perhaps with other permissions.
    match fs::remove_file(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        Err(_) | Ok(()) => {}
    }
    let mut file = fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_unchanged_with_its_key_and_about() {
        let key = Key::random().unwrap();
        let sealed = key.seal(b"ada", b"template").unwrap();
        assert_eq!(sealed.len(), 8 + OVERHEAD);
        assert_eq!(key.open(b"ada", &sealed).unwrap().as_slice(), b"template");
        assert!(key.open(b"bob", &sealed).is_none(), "about another");
        assert!(key.derive("other").open(b"ada", &sealed).is_none());
        assert_ne!(key.seal(b"ada", b"template").unwrap(), sealed, "a nonce");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(b"ada", &changed).is_none(), "byte {at} changed");
            assert!(key.open(b"ada", &sealed[..at]).is_none(), "cut at {at}");
        }
        assert_eq!(format!("{key:?}"), "Key(..)");
    }

    #[test]
    fn device_keys_are_private_kept_and_every_damage_shows() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        let keys = DeviceKeys::open(&folder, true).unwrap();
        let path = folder.join(FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let again = DeviceKeys::open(&folder, false).unwrap();
        assert!((again.link, again.sealing) == (keys.link, keys.sealing));

        let whole = fs::read(&path).unwrap();
        let is_damage = |what: &str| {
            for is_new in [false, true] {
                let opened = DeviceKeys::open(&folder, is_new).map(|_| ());
                let damaged = matches!(opened, Err(Error::KeysDamaged { .. }));
                assert!(damaged, "{what}: {opened:?}");
            }
        };
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x20;
            fs::write(&path, &changed).unwrap();
            is_damage(&format!("byte {at} changed"));
            fs::write(&path, &whole[..at]).unwrap();
            is_damage(&format!("cut at {at}"));
        }
        fs::write(&path, &whole).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        is_damage("readable by others");
        fs::remove_file(&path).unwrap();
        let gone = DeviceKeys::open(&folder, false).map(|_| ());
        assert!(matches!(gone, Err(Error::KeysDamaged { .. })), "{gone:?}");
    }
}
