//! This host's keys in the workspace: the secret that doors know it by, and the two pairs that sign bundles.
//!
//! ```text
//! HOME/keys/host                        X25519 secret key, sealed
//! HOME/keys/signing-1, signing-1.pub    minisign key pair, as the minisign program reads it; not encrypted
//! HOME/keys/signing-2, signing-2.pub    the other; `signing-2` may be moved to a safe place, the `.pub` stays
//! HOME/keys/serial                      serial of the two public keys
//! HOME/keys/next, next.pub, rotation    a rotation that not every door has taken yet
//! ```
//!
//! All readable by their owner only. Made at first need. The only file that names minisign. Called by `pack`, `cmd::door`
//! and the verbs `pair` and `keys`.

use std::{
    fmt, fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use facelatch_protocol::{BundleFault, PublicKey, SigningKey, TrustedKeys, session};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::{Error, sealed};

const HOST_TAG: [u8; 4] = *b"hst1";
const SERIAL_TAG: [u8; 4] = *b"ser1";
const ROTATION_TAG: [u8; 4] = *b"rot1";
const REMEDY: &str = "bring it back from a copy";

/// The host's X25519 secret key, wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct HostSecret([u8; 32]);

impl HostSecret {
    /// The key of these bytes; any 32 bytes are one.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> HostSecret {
        HostSecret(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What doors know it by.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        session::public_key(&self.0)
    }
}

impl Drop for HostSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for HostSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostSecret(..)")
    }
}

/// Which of the two signing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// `signing-1`.
    First,
    /// `signing-2`.
    Second,
}

impl Which {
    fn index(self) -> usize {
        match self {
            Which::First => 0,
            Which::Second => 1,
        }
    }

    fn other(self) -> Which {
        match self {
            Which::First => Which::Second,
            Which::Second => Which::First,
        }
    }

    fn file(self) -> &'static str {
        match self {
            Which::First => "signing-1",
            Which::Second => "signing-2",
        }
    }
}

/// Signs bundles and the next two keys.
pub struct Signer {
    secret: minisign::SecretKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

impl Signer {
    /// The text of a minisign signature over `message`; the comment is signed with it and must be one line.
    ///
    /// # Errors
    /// [`Error::Bug`] if the system gives no randomness.
    pub fn sign(&self, message: &[u8], comment: &str) -> Result<String, Error> {
        let untrusted = Some("signature of facelatch");
        minisign::sign(None, &self.secret, message, Some(comment), untrusted)
            .map(|signature| signature.into_string())
            .map_err(|error| Error::Bug(format!("cannot sign: {error}")))
    }
}

/// Whether one of two trusted keys made this signature over `message`.
///
/// # Errors
/// [`BundleFault::UnknownSigner`], or [`BundleFault::Signature`] for anything else that does not hold.
pub fn verify(keys: &TrustedKeys, message: &[u8], signature: &str) -> Result<(), BundleFault> {
    use minisign_verify::{Error, PublicKey, Signature};
    let signature = Signature::decode(signature).map_err(|_| BundleFault::Signature)?;
    for key in &keys.keys {
        let key = PublicKey::from_base64(&key.to_string()).map_err(|_| BundleFault::Signature)?;
        match key.verify(message, &signature, false) {
            Ok(()) => return Ok(()),
            Err(Error::UnexpectedKeyId) => {}
            Err(_) => return Err(BundleFault::Signature),
        }
    }
    Err(BundleFault::UnknownSigner)
}

/// New keys on their way to the doors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rotation {
    /// The keys to be trusted from then on.
    pub keys: TrustedKeys,
    /// Their statement, signed with a key the doors trust now.
    pub signature: String,
    /// The one that is replaced.
    pub replaces: Which,
    /// Whether it is over: the new key is in use here.
    pub done: bool,
}

/// The folder of keys; made when first needed.
#[derive(Debug, Clone)]
pub struct Keys {
    dir: PathBuf,
}

impl Keys {
    /// The keys in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf) -> Keys {
        Keys { dir }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The host's secret, made now if there is none.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Storage`]; [`Error::Bug`] without randomness.
    pub fn host(&self) -> Result<HostSecret, Error> {
        let path = self.dir.join("host");
        let remedy = "bring it back from a copy, or delete it and pair with every door again";
        if let Some(bytes) = sealed::read(&path, HOST_TAG, remedy)? {
            return Ok(HostSecret(bytes));
        }
        let _alone = self.alone()?;
        if let Some(bytes) = sealed::read(&path, HOST_TAG, remedy)? {
            return Ok(HostSecret(bytes));
        }
        let mut secret = HostSecret([0; 32]);
        getrandom::fill(&mut secret.0)
            .map_err(|error| Error::Bug(format!("the system gives no randomness: {error}")))?;
        self.write("host", &sealed::seal(HOST_TAG, &secret.0)?)?;
        Ok(secret)
    }

    /// The two public keys doors are to trust, with the key pairs made now if there are none.
    ///
    /// # Errors
    /// As for [`Keys::host`].
    pub fn trusted(&self) -> Result<TrustedKeys, Error> {
        if let Some(keys) = self.made()? {
            return Ok(keys);
        }
        let _alone = self.alone()?;
        if let Some(keys) = self.made()? {
            return Ok(keys);
        }
        let first = self.make(Which::First.file())?;
        let second = self.make(Which::Second.file())?;
        // Last: without it, both are made anew.
        self.write("serial", &sealed::seal(SERIAL_TAG, &1u64)?)?;
        Ok(TrustedKeys {
            serial: 1,
            keys: [first, second],
        })
    }

    /// Signs with the first of the two secret keys that is here; while one is being replaced, rather with the one that
    /// stays, which doors trust before and after.
    ///
    /// # Errors
    /// [`Error::NotReady`] if both were moved away; as for [`Keys::host`].
    pub fn signer(&self) -> Result<Signer, Error> {
        self.trusted()?;
        let leaving = self.rotation()?.filter(|rotation| !rotation.done);
        let last = leaving.map_or(Which::Second, |rotation| rotation.replaces);
        self.signer_first([last.other(), last])
    }

    /// Which of the two secret keys are here.
    ///
    /// # Errors
    /// As for [`Keys::host`].
    pub fn here(&self) -> Result<[bool; 2], Error> {
        let here = |which| Ok::<_, Error>(self.secret(which)?.is_some());
        Ok([here(Which::First)?, here(Which::Second)?])
    }

    /// The rotation under way, or the last one that ended.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Storage`].
    pub fn rotation(&self) -> Result<Option<Rotation>, Error> {
        let remedy = "delete it and rotate again";
        sealed::read(&self.dir.join("rotation"), ROTATION_TAG, remedy)
    }

    /// Begins to replace a key: makes its successor, and signs both with a key in use, if possible the one that stays.
    /// Goes on with a rotation that is under way. Nothing changes here before [`Keys::finish`].
    ///
    /// # Errors
    /// As for [`Keys::signer`]; [`Error::Usage`] if the other key is being replaced already.
    pub fn rotate(&self, replaces: Which) -> Result<Rotation, Error> {
        match self.rotation()?.filter(|rotation| !rotation.done) {
            Some(under_way) if under_way.replaces == replaces => return Ok(under_way),
            Some(_) => {
                return Err(Error::Usage(
                    "the other key is being replaced: finish that first, with the same `facelatch keys rotate`"
                        .into(),
                ));
            }
            None => {}
        }
        let old = self.trusted()?;
        let signer = self.signer_first([replaces.other(), replaces])?;
        let mut keys = old;
        keys.serial = old.serial.saturating_add(1);
        keys.keys[replaces.index()] = self.make("next")?;
        let rotation = Rotation {
            keys,
            signature: signer.sign(keys.statement().as_bytes(), "facelatch signing keys")?,
            replaces,
            done: false,
        };
        self.put_rotation(&rotation)?;
        Ok(rotation)
    }

    /// Ends a rotation: the new key takes the old one's place. Done again after an interruption, it does no harm.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn finish(&self, rotation: &Rotation) -> Result<(), Error> {
        let file = rotation.replaces.file();
        for (from, to) in [
            ("next", file.to_owned()),
            ("next.pub", format!("{file}.pub")),
        ] {
            let (from, to) = (self.dir.join(from), self.dir.join(to));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed.map_err(Error::storage("rename", from))?,
            }
        }
        self.write("serial", &sealed::seal(SERIAL_TAG, &rotation.keys.serial)?)?;
        let done = Rotation {
            done: true,
            ..rotation.clone()
        };
        self.put_rotation(&done)
    }

    fn put_rotation(&self, rotation: &Rotation) -> Result<(), Error> {
        self.write("rotation", &sealed::seal(ROTATION_TAG, rotation)?)
    }

    fn signer_first(&self, order: [Which; 2]) -> Result<Signer, Error> {
        for which in order {
            if let Some(secret) = self.secret(which)? {
                return Ok(Signer { secret });
            }
        }
        Err(Error::NotReady(format!(
            "neither signing key is in {}: bring signing-1 or signing-2 back",
            self.dir.display()
        )))
    }

    /// A new pair of minisign's in `file` and `file.pub`.
    /// The two public keys, if they were made before.
    fn made(&self) -> Result<Option<TrustedKeys>, Error> {
        let serial = sealed::read(&self.dir.join("serial"), SERIAL_TAG, REMEDY)?;
        let Some(serial) = serial else {
            return Ok(None);
        };
        let keys = [self.public(Which::First)?, self.public(Which::Second)?];
        Ok(Some(TrustedKeys { serial, keys }))
    }

    /// Held while keys are made, so that two programs that start in a new workspace make the same ones.
    fn alone(&self) -> Result<fs::File, Error> {
        sealed::private_dir(&self.dir)?;
        let path = self.dir.join("lock");
        let lock = || {
            let file = fs::File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(Error::storage("lock", &path))
    }

    fn make(&self, file: &str) -> Result<SigningKey, Error> {
        let failed = |error| Error::Bug(format!("cannot make a signing key: {error}"));
        let pair = minisign::KeyPair::generate_unencrypted_keypair().map_err(failed)?;
        let comment = Some("facelatch signing key, not encrypted: keep it secret");
        let mut secret = pair.sk.to_box(comment).map_err(failed)?.into_string();
        let written = self.write(file, secret.as_bytes());
        secret.zeroize();
        written?;
        let public = pair.pk.to_box().map_err(failed)?.into_string();
        self.write(&format!("{file}.pub"), public.as_bytes())?;
        SigningKey::parse(&pair.pk.to_base64())
            .ok_or_else(|| Error::Bug("minisign made a key of another form".into()))
    }

    fn public(&self, which: Which) -> Result<SigningKey, Error> {
        let path = self.dir.join(format!("{}.pub", which.file()));
        let text = fs::read_to_string(&path).map_err(Error::storage("read", &path))?;
        let key = text.lines().nth(1).and_then(SigningKey::parse);
        key.ok_or_else(|| damaged(path, "it is no minisign public key"))
    }

    fn secret(&self, which: Which) -> Result<Option<minisign::SecretKey>, Error> {
        let path = self.dir.join(which.file());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::storage("read", path)(error)),
        };
        let sealed = minisign::SecretKeyBox::from(text);
        match sealed.into_unencrypted_secret_key() {
            Ok(secret) => Ok(Some(secret)),
            Err(_) => Err(damaged(
                path,
                "it is no minisign secret key, or an encrypted one",
            )),
        }
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<(), Error> {
        sealed::private_dir(&self.dir)?;
        sealed::write_atomic(&self.dir.join(file), bytes)
    }
}

fn damaged(path: PathBuf, why: &'static str) -> Error {
    Error::Damaged {
        path,
        why,
        remedy: REMEDY,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn keys() -> (tempfile::TempDir, Keys) {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new(folder.path().join("home/keys"));
        (folder, keys)
    }

    #[test]
    fn programs_that_start_together_make_the_same_keys() {
        let (_folder, keys) = keys();
        let start = std::sync::Barrier::new(8);
        let made: Vec<_> = std::thread::scope(|scope| {
            let make = || {
                start.wait();
                (keys.host().unwrap(), keys.trusted().unwrap())
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let kept = (keys.host().unwrap(), keys.trusted().unwrap());
        assert!(made.iter().all(|keys| *keys == kept), "{made:?}");
    }

    #[test]
    fn keys_are_made_once_and_for_their_owner_only() {
        let (_folder, keys) = keys();
        let (host, trusted) = (keys.host().unwrap(), keys.trusted().unwrap());
        assert_ne!(trusted.keys[0], trusted.keys[1]);
        assert_eq!(keys.host().unwrap(), host);
        assert_eq!(keys.trusted().unwrap(), trusted);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(keys.dir()), 0o700);
        for entry in fs::read_dir(keys.dir()).unwrap().flatten() {
            assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.path());
        }
        assert_eq!(format!("{host:?}"), "HostSecret(..)");
    }

    #[test]
    fn either_key_signs_and_nothing_else_passes() {
        let (_folder, keys) = keys();
        let trusted = keys.trusted().unwrap();
        let first = keys.signer().unwrap().sign(b"manifest", "one").unwrap();
        assert_eq!(verify(&trusted, b"manifest", &first), Ok(()));
        // What the minisign program reads, independently of the crate that wrote it.
        let public = fs::read_to_string(keys.dir().join("signing-1.pub")).unwrap();
        let public = minisign_verify::PublicKey::decode(&public).unwrap();
        let decoded = minisign_verify::Signature::decode(&first).unwrap();
        assert!(public.verify(b"manifest", &decoded, false).is_ok());
        assert_eq!(decoded.trusted_comment(), "one");

        fs::remove_file(keys.dir().join("signing-1")).unwrap();
        assert_eq!(keys.here().unwrap(), [false, true]);
        let second = keys.signer().unwrap().sign(b"manifest", "two").unwrap();
        assert_eq!(verify(&trusted, b"manifest", &second), Ok(()));

        let (_other_folder, other) = super::tests::keys();
        let stranger = other.signer();
        let stranger = stranger.unwrap().sign(b"manifest", "two").unwrap();
        let cases = [
            (b"manifest", &*stranger, BundleFault::UnknownSigner),
            (b"manifesT", &first, BundleFault::Signature),
            (
                b"manifest",
                &first.replace("one", "two"),
                BundleFault::Signature,
            ),
            (b"manifest", &first[..120], BundleFault::Signature),
            (b"manifest", "", BundleFault::Signature),
        ];
        for (message, signature, fault) in cases {
            assert_eq!(
                verify(&trusted, message, signature),
                Err(fault),
                "{signature}"
            );
        }
        fs::remove_file(keys.dir().join("signing-2")).unwrap();
        let error = keys.signer().unwrap_err().to_string();
        assert!(
            error.contains("bring signing-1 or signing-2 back"),
            "{error}"
        );
    }

    #[test]
    fn a_rotation_is_signed_by_the_key_that_stays_and_survives_interruptions() {
        let (_folder, keys) = keys();
        let old = keys.trusted().unwrap();
        let rotation = keys.rotate(Which::First).unwrap();
        assert_eq!(keys.rotate(Which::First).unwrap(), rotation, "gone on with");
        assert!(keys.rotate(Which::Second).is_err());
        assert_eq!(keys.trusted().unwrap(), old, "not before it is over");
        let meanwhile = keys.signer().unwrap().sign(b"x", "c").unwrap();
        for trusted in [&old, &rotation.keys] {
            assert_eq!(verify(trusted, b"x", &meanwhile), Ok(()));
        }
        assert_eq!(rotation.keys.serial, 2);
        assert_eq!(rotation.keys.keys[1], old.keys[1]);
        assert_ne!(rotation.keys.keys[0], old.keys[0]);
        let statement = rotation.keys.statement();
        assert_eq!(
            verify(&old, statement.as_bytes(), &rotation.signature),
            Ok(())
        );
        // Also by those who only know the one that stays.
        let staying = TrustedKeys {
            serial: 1,
            keys: [old.keys[1]; 2],
        };
        assert_eq!(
            verify(&staying, statement.as_bytes(), &rotation.signature),
            Ok(())
        );

        for _ in 0..2 {
            keys.finish(&rotation).unwrap();
            assert_eq!(keys.trusted().unwrap(), rotation.keys);
        }
        let signature = keys.signer().unwrap().sign(b"x", "c").unwrap();
        assert_eq!(verify(&rotation.keys, b"x", &signature), Ok(()));
        assert_eq!(
            verify(&old, b"x", &signature),
            Err(BundleFault::UnknownSigner)
        );
    }

    #[test]
    fn a_damaged_key_is_named_and_never_replaced_silently() {
        let (_folder, keys) = keys();
        keys.host().unwrap();
        keys.trusted().unwrap();
        for file in ["host", "serial", "signing-1", "signing-1.pub"] {
            let path = keys.dir().join(file);
            let sound = fs::read(&path).unwrap();
            fs::write(&path, &sound[..sound.len() / 2]).unwrap();
            let error = keys.host().map(drop).and(keys.signer().map(drop));
            let error = error.unwrap_err().to_string();
            assert!(
                error.contains("is damaged") && error.contains(file),
                "{error}"
            );
            fs::write(&path, sound).unwrap();
        }
        assert!(keys.signer().is_ok());
    }
}
