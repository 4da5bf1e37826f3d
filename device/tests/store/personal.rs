//! Parts that hold people's templates: sealed from their first byte, and gone when they were taken over.

use facelatch_device::{seal::Key, store::Store};
use facelatch_protocol::bundle::PartKind;

use crate::bundles::{
    CHUNK, GALLERY, LIMITS, bundle, establish, files, gallery, offer, open, pack, push, trusted,
};

/// No file holds 16 bytes in a row of what is secret.
fn assert_nothing_in_clear(folder: &std::path::Path, secret: &[u8], when: &str) {
    for (name, bytes) in files(folder) {
        let found = secret
            .windows(16)
            .step_by(4)
            .any(|run| bytes.windows(16).any(|window| window == run));
        assert!(!found, "{name} {when}");
    }
}

#[test]
fn personal_parts_are_never_on_disk_in_clear_and_gone_when_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let classifier: Vec<u8> = (0..40_000u32).flat_map(|i| (i * i).to_le_bytes()).collect();
    let file = pack(
        1,
        &[
            (PartKind::Networks, "net.onnx", b"network"),
            (PartKind::Gallery, "gallery", &gallery(1)),
            (PartKind::Classifier, "classifier", &classifier),
        ],
    );
    let secrets = [gallery(1), classifier[..2_000].to_vec()];
    let check = |when: &str| {
        for secret in &secrets {
            assert_nothing_in_clear(folder.path(), secret, when);
        }
    };
    let mut store = open(folder.path());
    offer(&mut store, &file).unwrap();
    store.part_chunk(0, 0, &file.parts[0]).unwrap();
    for part in [1, 2] {
        // The last chunk is longer than what is sealed at once.
        for at in [0, CHUNK] {
            let end = if at == 0 {
                CHUNK
            } else {
                file.parts[part].len()
            };
            let chunk = &file.parts[part][at..end];
            store.part_chunk(part, at as u64, chunk).unwrap();
            check(&format!("with {end} bytes of part {part}"));
        }
    }
    let candidate = store.verify(file.id.digest, Some(&trusted())).unwrap();
    check("verified");
    store.commit(&candidate).unwrap();
    check("on trial");
    let mut bundle = store.bundle(file.id.digest).unwrap();
    assert_eq!(*bundle.read(2).unwrap(), classifier);
    drop(store);

    let mut store = open(folder.path());
    let mut bundle = store.bundle(file.id.digest).unwrap();
    let read = bundle.read_kind(PartKind::Gallery).unwrap();
    assert_eq!(*read.unwrap(), gallery(1));
    store.forget_personal(file.id.digest).unwrap();
    store.forget_personal(file.id.digest).unwrap();
    let names: Vec<_> = files(folder.path()).into_keys().collect();
    assert!(!names.iter().any(|name| name.contains("seal")), "{names:?}");
    let bundle = store.bundle(file.id.digest).unwrap();
    assert_eq!(
        [0, 1, 2].map(|part| bundle.holds(part)),
        [true, false, false]
    );

    // It is whole without them, now and after a restart.
    store.confirm().unwrap();
    drop(store);
    let mut store = open(folder.path());
    assert_eq!(store.active(), Some(file.id));
    assert_eq!(offer(&mut store, &file).unwrap(), file.lens());
    let mut next = file.manifest.clone();
    next.counter = 2;
    let next = pack(2, &[(PartKind::Gallery, "gallery", &gallery(1))]);
    assert_eq!(offer(&mut store, &next).unwrap(), [0], "it comes again");
}

#[test]
fn what_another_bundle_is_receiving_is_forgotten_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let first = bundle(1);
    establish(&mut store, &first);
    let next = pack(2, &[(PartKind::Gallery, "gallery", &gallery(1))]);
    assert_eq!(offer(&mut store, &next).unwrap(), [300]);
    let candidate = store.verify(next.id.digest, Some(&trusted())).unwrap();
    store.forget_personal(first.id.digest).unwrap();
    assert_eq!(store.progress().staging.unwrap().received, 0);
    assert!(store.commit(&candidate).is_err());
    push(&mut store, &next).unwrap();
}

#[test]
fn a_personal_part_that_is_lost_or_sealed_by_another_device_makes_the_bundle_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (bundle(1), bundle(2));
    let mut store = open(folder.path());
    establish(&mut store, &old);
    store.forget_personal(old.id.digest).unwrap();
    establish(&mut store, &new);
    drop(store);
    let other = Store::open(folder.path(), &Key::new([1; 32]), LIMITS).unwrap();
    assert_eq!(other.in_use(), Some(old.id), "another device's key");
    assert_eq!(other.damaged(), [new.id]);
    drop(other);
    assert_eq!(open(folder.path()).in_use(), Some(new.id));
    std::fs::remove_file(folder.path().join(new.stored_name(GALLERY))).unwrap();
    assert_eq!(open(folder.path()).in_use(), Some(old.id), "it is gone");
}

#[test]
fn half_a_personal_part_of_another_device_starts_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = bundle(1);
    let mut store = open(folder.path());
    offer(&mut store, &file).unwrap();
    store
        .part_chunk(GALLERY, 0, &file.parts[GALLERY][..100])
        .unwrap();
    drop(store);
    let mut store = Store::open(folder.path(), &Key::new([1; 32]), LIMITS).unwrap();
    assert_eq!(offer(&mut store, &file).unwrap(), [0, 0, 0, 0]);
    push(&mut store, &file).unwrap();
}
