//! Bundles to push, signed by the crate `minisign` (the device checks with another one), and the host's part of a push.

use std::{collections::BTreeMap, path::Path, sync::LazyLock};

use facelatch_device::{
    seal::Key,
    store::{Error, Limits, Store, disk::Disk},
};
use facelatch_protocol::{
    BundleId, Digest, SigningKey, SpaceName, TrustedKeys,
    bundle::{FORMAT, Head, MAX_HEAD, Manifest, Part, PartKind, PartName},
};
use minisign::KeyPair;
use sha2::Digest as _;

pub(crate) const LIMITS: Limits = Limits {
    max_bundle_bytes: 1 << 20,
};
pub(crate) const CHUNK: usize = 160;

/// Two trusted signers and a stranger.
static SIGNERS: LazyLock<[KeyPair; 3]> =
    LazyLock::new(|| [(); 3].map(|()| KeyPair::generate_unencrypted_keypair().unwrap()));
pub(crate) const STRANGER: usize = 2;

pub(crate) fn trusted() -> TrustedKeys {
    let key = |signer: usize| SigningKey::parse(&SIGNERS[signer].pk.to_base64()).unwrap();
    TrustedKeys {
        serial: 1,
        keys: [key(0), key(1)],
    }
}

pub(crate) fn sign(signer: usize, bytes: &[u8]) -> String {
    let signed = minisign::sign(None, &SIGNERS[signer].sk, bytes, None, None);
    signed.unwrap().into_string()
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(bytes).into())
}

pub(crate) fn key() -> Key {
    Key::new([9; 32])
}

pub(crate) fn open(folder: &Path) -> Store {
    Store::open(folder, &key(), LIMITS).unwrap()
}

pub(crate) fn on<D: Disk>(disk: D) -> Store<D> {
    Store::on(disk, &key(), LIMITS).unwrap()
}

/// A bundle as the host has it.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) manifest: Manifest,
    pub(crate) head: Vec<u8>,
    pub(crate) id: BundleId,
    pub(crate) parts: Vec<Vec<u8>>,
}

impl File {
    pub(crate) fn lens(&self) -> Vec<u64> {
        self.parts.iter().map(|part| part.len() as u64).collect()
    }

    pub(crate) fn size(&self) -> u64 {
        self.lens().iter().sum()
    }

    /// The file a part is kept in.
    pub(crate) fn stored_name(&self, part: usize) -> String {
        let part = &self.manifest.parts[part];
        let end = if part.kind.is_sealed() {
            "sealed"
        } else {
            "part"
        };
        format!("{}.{end}", part.sha256)
    }
}

pub(crate) fn pack(counter: u64, parts: &[(PartKind, &str, &[u8])]) -> File {
    let part = |&(kind, name, bytes): &(PartKind, &str, &[u8])| Part {
        kind,
        name: PartName::parse(name).unwrap(),
        len: bytes.len() as u64,
        sha256: sha256(bytes),
    };
    let manifest = Manifest {
        format: FORMAT,
        created_unix_ms: 1_700_000_000_000,
        counter,
        space: SpaceName::parse("test-4").unwrap(),
        replace: false,
        parts: parts.iter().map(part).collect(),
    };
    let mut buffer = [0; MAX_HEAD];
    let bytes = manifest.encode(&mut buffer).unwrap();
    File {
        head: head(bytes, &sign(0, bytes)),
        id: BundleId {
            digest: sha256(bytes),
            counter,
        },
        parts: parts.iter().map(|(_, _, bytes)| bytes.to_vec()).collect(),
        manifest,
    }
}

pub(crate) fn head(manifest: &[u8], signature: &str) -> Vec<u8> {
    Head {
        manifest,
        signature,
    }
    .encode()
    .unwrap()
    .to_vec()
}

/// What the gallery part of [`bundle`] holds.
pub(crate) fn gallery(counter: u64) -> Vec<u8> {
    let line = format!("template {counter} of somebody, ");
    line.repeat(300 / line.len() + 1).into_bytes()[..300].to_vec()
}

pub(crate) const NETWORK: usize = 1;
pub(crate) const GALLERY: usize = 2;

/// A bundle of four parts: the first is the same in all, the last is empty.
pub(crate) fn bundle(counter: u64) -> File {
    let net: Vec<u8> = (0..400).map(|i| (i * 7 + counter) as u8).collect();
    pack(
        counter,
        &[
            (PartKind::Networks, "manifest.toml", b"format = 1\n"),
            (PartKind::Networks, "net.onnx", &net),
            (PartKind::Gallery, "gallery", &gallery(counter)),
            (PartKind::Policy, "policy.toml", b""),
        ],
    )
}

pub(crate) fn offer<D: Disk>(store: &mut Store<D>, file: &File) -> Result<Vec<u64>, Error> {
    store.offer(&file.head, Some(&trusted()))
}

/// Sends what is missing, and returns how many bytes that was.
pub(crate) fn send<D: Disk>(
    store: &mut Store<D>,
    file: &File,
    held: &[u64],
) -> Result<usize, Error> {
    let mut sent = 0;
    for (index, (part, &held)) in file.parts.iter().zip(held).enumerate() {
        let mut offset = held as usize;
        for chunk in part[offset..].chunks(CHUNK) {
            store.part_chunk(index, offset as u64, chunk)?;
            offset += chunk.len();
            sent += chunk.len();
        }
    }
    Ok(sent)
}

/// Puts a bundle on trial, from wherever the store stands; nothing happens if it is in use already.
pub(crate) fn push<D: Disk>(store: &mut Store<D>, file: &File) -> Result<(), Error> {
    let held = offer(store, file)?;
    if store.in_use() == Some(file.id) {
        return Ok(());
    }
    send(store, file, &held)?;
    let candidate = store.verify(file.id.digest, Some(&trusted()))?;
    assert_eq!(
        (candidate.id, &candidate.manifest),
        (file.id, &file.manifest)
    );
    store.commit(&candidate).map(|_| ())
}

/// A push all the way: the bundle has proved itself.
pub(crate) fn establish<D: Disk>(store: &mut Store<D>, file: &File) {
    push(store, file).unwrap();
    store.confirm().unwrap();
    assert_eq!(store.active(), Some(file.id));
}

/// All files below a folder, by their names in it.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let inner = files(&path).into_iter();
            found.extend(inner.map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            found.insert(name, std::fs::read(path).unwrap());
        }
    }
    found
}
