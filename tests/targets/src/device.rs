//! What a door reads from its own folder, and parts of bundles that need the daemon or the networks' crate to be read.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Cursor},
    path::Path,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use facelatch_boards::BoardFile;
use facelatch_device::{
    Config,
    audit::{self, Audit},
    gallery,
    seal::Key,
    store::{
        Limits, Store,
        disk::{Disk, ReadSeek},
    },
};
use facelatch_models::{
    calibrate::Calibration, classifier::Classifier, embedding::Embedding, manifest::Manifest,
};
use facelatch_protocol::{
    Digest, SigningKey, TrustedKeys,
    audit::Chain,
    bundle::{Head, MAX_HEAD},
};
use minisign::KeyPair;

/// `device.toml`, a board file, and the `manifest.toml` of networks.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let parse = |text: &str| Config::parse(text, &Config::default());
    if let Ok(config) = parse(&text) {
        assert_eq!(parse(&config.to_text()), Ok(config));
    }
    let _ = BoardFile::parse(&text, "board.toml");
    let _ = Manifest::parse(&text);
}

/// The classifier part of a bundle, and the calibration part.
pub fn classifier(data: &[u8]) {
    if let Some(calibration) = Calibration::from_bytes(data) {
        let written = postcard::to_allocvec(&calibration).expect("memory is the only limit");
        assert_eq!(Calibration::from_bytes(&written), Some(calibration));
    }
    let Some(classifier) = Classifier::from_bytes(data) else {
        return;
    };
    let written = classifier.to_bytes().expect("memory is the only limit");
    assert_eq!(Classifier::from_bytes(&written), Some(classifier.clone()));
    let mut values = vec![0.0; classifier.dimension()];
    values[0] = 1.0;
    let face = Embedding::new(classifier.space.clone(), values).expect("a unit vector");
    let said = classifier.predict(&face).expect("its own dimension");
    assert!(
        said.person
            .is_none_or(|person| classifier.class_of(&person).is_some())
    );
}

/// What the people are kept as, once it is unsealed.
pub fn people(data: &[u8]) {
    let _ = gallery::is_readable(data);
    let key = Key::new([1; 32]);
    assert!(key.open(b"about", data).is_none());
}

/// A file of the audit record, in a folder of its own.
pub fn record(data: &[u8]) {
    thread_local! {
        static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a folder can be made");
    }
    FOLDER.with(|folder| {
        let file = folder.path().join("00000000000000000001.log");
        fs::write(&file, data).expect("the file can be written");
        let verified = Audit::verify(folder.path());
        let walked = walk(folder.path());
        if let Ok(verified) = verified {
            assert_eq!(walked, Some(verified.records), "{data:02x?}");
        }
        // Opening removes a file that was only begun.
        let limits = audit::Limits {
            records_per_file: 16,
            files: 2,
        };
        assert_eq!(
            Audit::open(folder.path(), limits).is_ok(),
            verified_again(folder.path())
        );
    });
}

fn verified_again(folder: &Path) -> bool {
    Audit::verify(folder).is_ok()
}

/// How many records a host gets and finds sound; `None` if one does not hold, or the door cannot find its place.
fn walk(folder: &Path) -> Option<u64> {
    let mut chain = Chain::BEGINNING;
    loop {
        let page = audit::page(folder, chain.next_seq).ok()?;
        chain.take_page(&page, &mut |_| {}).ok()?;
        if page.records.is_empty() {
            assert_eq!(page.head.next_seq, chain.next_seq);
            return Some(chain.next_seq - 1);
        }
    }
}

/// A bundle store: first a disk that holds anything as its state, then a bundle about anything by somebody who may sign.
///
/// The first byte says how long the state, or the manifest, is; the rest comes as the chunks of parts.
pub fn store(data: &[u8]) {
    let [length, data @ ..] = data else { return };
    let (head, rest) = data.split_at(data.len().min(usize::from(*length) * 8));
    let disk = Ram::default();
    disk.put("state", head);
    disk.put("offered", head);
    // A state that is sound as far as its checksum tells.
    let crc = format!("crc32 {:08x}\n", crc32fast::hash(head));
    disk.put("state.copy", &[head, crc.as_bytes()].concat());
    let _ = opened(&disk);
    let Ok(mut store) = opened(&Ram::default()) else {
        panic!("an empty disk is refused");
    };
    let signature = signed(head);
    let offer = Head {
        manifest: head,
        signature: &signature,
    };
    let Ok(offer) = offer.encode() else { return };
    let digest = Digest(sha256(head));
    if store.offer(&offer, Some(&SIGNERS.trusted)).is_err() {
        return;
    }
    for (part, bytes) in rest.chunks(64).enumerate() {
        let _ = store.part_chunk(part % 3, (part / 3 * 64) as u64, bytes);
    }
    if let Ok(candidate) = store.verify(digest, Some(&SIGNERS.trusted)) {
        let id = store.commit(&candidate).expect("it was just verified");
        assert_eq!(store.in_use(), Some(id));
    }
}

fn opened(disk: &Ram) -> Result<Store<Ram>, facelatch_device::store::Error> {
    let limits = Limits {
        max_bundle_bytes: 1 << 20,
    };
    Store::on(disk.clone(), &Key::new([1; 32]), limits)
}

struct Signers {
    pair: KeyPair,
    trusted: TrustedKeys,
}

/// Keys that sign bundles; random, as which they are makes no difference.
static SIGNERS: LazyLock<Signers> = LazyLock::new(|| {
    let pair = KeyPair::generate_unencrypted_keypair().expect("randomness");
    let key = SigningKey::parse(&pair.pk.to_base64()).expect("it is minisign's");
    Signers {
        pair,
        trusted: TrustedKeys {
            serial: 1,
            keys: [key, key],
        },
    }
});

fn signed(message: &[u8]) -> String {
    minisign::sign(None, &SIGNERS.pair.sk, message, Some("a bundle"), Some(""))
        .expect("bytes in memory can be read")
        .into_string()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let head = Head {
        manifest: bytes,
        signature: "-",
    };
    // The digest is the head's own; of bytes that are no manifest it is never asked for.
    head.manifest().map_or([0; 32], |(id, _)| id.digest.0)
}

/// A disk in memory.
#[derive(Debug, Clone, Default)]
struct Ram(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Ram {
    fn files<T>(&self, f: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        self.files(|files| files.insert(name.to_owned(), bytes.to_vec()));
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for Ram {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files(|files| files.keys().cloned().collect()))
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        Ok(self.files(|files| files.get(name).map(|bytes| bytes.len() as u64)))
    }

    fn reader(&self, name: &str) -> io::Result<Box<dyn ReadSeek>> {
        let bytes = self.files(|files| files.get(name).cloned());
        Ok(Box::new(Cursor::new(bytes.ok_or_else(missing)?)))
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        self.files(|files| {
            let file = files.entry(name.to_owned()).or_default();
            file.resize(file.len().max(at + bytes.len()), 0);
            file[at..at + bytes.len()].copy_from_slice(bytes);
        });
        Ok(())
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.files(|files| {
            let file = files.get_mut(name).ok_or_else(missing)?;
            file.truncate(usize::try_from(len).map_err(io::Error::other)?);
            Ok(())
        })
    }

    fn sync(&mut self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.files(|files| {
            let bytes = files.remove(from).ok_or_else(missing)?;
            files.insert(to.to_owned(), bytes);
            Ok(())
        })
    }

    fn sync_names(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.files(|files| files.remove(name));
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 30)
    }
}

const _: () = assert!(255 * 8 < MAX_HEAD);
