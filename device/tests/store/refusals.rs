//! Everything that is refused: each for its own reason, before anything is received or replaced.

use std::collections::BTreeSet;

use facelatch_device::store::{Error, RESERVE_BYTES, Store};
use facelatch_protocol::{
    BundleFault, Refusal,
    bundle::{MAX_HEAD, Manifest, PartKind},
};

use crate::{
    bundles::{
        File, GALLERY, LIMITS, NETWORK, STRANGER, bundle, establish, files, head, key, offer, on,
        open, pack, push, send, sha256, sign, trusted,
    },
    power_cut::PowerCutDisk,
};

fn fault(fault: BundleFault) -> Refusal {
    Refusal::Bundle(fault)
}

/// A rightly signed head of a manifest that no host would write.
fn strange(change: impl Fn(&mut Manifest)) -> Vec<u8> {
    let mut manifest = bundle(9).manifest;
    change(&mut manifest);
    let bytes = postcard::to_allocvec(&manifest).unwrap();
    head(&bytes, &sign(0, &bytes))
}

fn signed_by(file: &File, signer: usize, message: &[u8]) -> Vec<u8> {
    let bytes = postcard::to_allocvec(&file.manifest).unwrap();
    let message = if message.is_empty() { &bytes } else { message };
    head(&bytes, &sign(signer, message))
}

#[test]
fn a_head_that_is_not_right_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let (active, half, good) = (bundle(5), bundle(7), bundle(9));
    establish(&mut store, &active);
    offer(&mut store, &half).unwrap();
    store.part_chunk(1, 0, &half.parts[1][..100]).unwrap();

    let large = vec![0; LIMITS.max_bundle_bytes as usize + 1];
    let large = pack(9, &[(PartKind::SelfTest, "self-test", &large)]);
    let limit = LIMITS.max_bundle_bytes;
    let highest = 5;
    let other = pack(5, &[(PartKind::Policy, "policy.toml", b"another")]);
    let prefix = |magic: &[u8]| [magic, &good.head[magic.len()..]].concat();
    let cases = [
        ("no bundle", prefix(b"PK"), fault(BundleFault::Magic)),
        ("empty", vec![], fault(BundleFault::Magic)),
        ("format 1", prefix(b"FLB1"), fault(BundleFault::Unsigned)),
        (
            "no signature",
            head(&postcard::to_allocvec(&good.manifest).unwrap(), ""),
            fault(BundleFault::Unsigned),
        ),
        (
            "unknown signer",
            signed_by(&good, STRANGER, b""),
            fault(BundleFault::UnknownSigner),
        ),
        (
            "signature of something else",
            signed_by(&good, 0, b"something else"),
            fault(BundleFault::Signature),
        ),
        (
            "cut",
            good.head[..good.head.len() - 1].to_vec(),
            fault(BundleFault::Length),
        ),
        (
            "longer",
            [&good.head[..], b"x"].concat(),
            fault(BundleFault::Length),
        ),
        (
            "endless",
            [&good.head[..], &[0; MAX_HEAD]].concat(),
            fault(BundleFault::Length),
        ),
        (
            "one name twice",
            strange(|m| m.parts[1].name = m.parts[0].name.clone()),
            fault(BundleFault::Header),
        ),
        (
            "two galleries",
            strange(|m| m.parts[3].kind = PartKind::Gallery),
            fault(BundleFault::Header),
        ),
        (
            "lengths without a sum",
            strange(|m| m.parts.iter_mut().for_each(|p| p.len = u64::MAX)),
            fault(BundleFault::Header),
        ),
        (
            "two lengths for one content",
            strange(|m| m.parts[1].sha256 = m.parts[0].sha256),
            fault(BundleFault::Header),
        ),
        (
            "format 3",
            strange(|m| m.format = 3),
            fault(BundleFault::Format { found: 3 }),
        ),
        (
            "downgrade",
            bundle(4).head,
            fault(BundleFault::Downgrade { highest }),
        ),
        (
            "replay",
            other.head.clone(),
            fault(BundleFault::Replayed { highest }),
        ),
        (
            "too large",
            large.head.clone(),
            Refusal::BundleTooLarge { limit },
        ),
    ];
    let before = (store.progress(), files(folder.path()));
    let mut reasons = BTreeSet::new();
    for (name, head, want) in &cases {
        let error = store.offer(head, Some(&trusted())).unwrap_err();
        assert_eq!(error.refusal(), *want, "{name}: {error}");
        assert!(before == (store.progress(), files(folder.path())), "{name}");
        reasons.insert(format!("{want:?}"));
    }
    assert_eq!(reasons.len(), 10, "{reasons:?}");
    let error = store.offer(&good.head, None).unwrap_err();
    assert_eq!(error.refusal(), fault(BundleFault::UnknownSigner));

    for at in 0..good.head.len() {
        let cut = store.offer(&good.head[..at], Some(&trusted()));
        assert!(cut.is_err(), "cut at {at}");
        let mut flipped = good.head.clone();
        flipped[at] ^= 1 << (at % 8);
        match store.offer(&flipped, Some(&trusted())) {
            // The line above a minisign signature is free text, which nobody signs: the manifest is the same.
            Ok(_) => {
                assert_eq!(store.progress().staging.unwrap().sha256, good.id.digest);
                let signature_at = good.head.len() - sign(0, b"").len() - 12;
                assert!(at > signature_at, "byte {at} flipped");
                offer(&mut store, &half).unwrap();
                store.part_chunk(1, 0, &half.parts[1][..100]).unwrap();
            }
            Err(error) => assert!(matches!(error, Error::Bundle(_)), "{at}: {error}"),
        }
    }
    assert_eq!(before.0, store.progress());
    push(&mut store, &good).unwrap();
    let second = signed_by(&bundle(10), 1, b"");
    assert_eq!(
        store.offer(&second, Some(&trusted())).unwrap(),
        [11, 0, 0, 0],
        "the second key signs too"
    );
}

#[test]
fn what_does_not_fit_is_refused_before_a_byte_is_taken() {
    let disk = PowerCutDisk::new();
    let mut store = Store::on(disk.clone(), &key(), LIMITS).unwrap();
    let file = bundle(1);
    let needed = file.size() + RESERVE_BYTES;
    disk.state().free = needed - 1;
    let no_space = |needed| Refusal::NoSpace {
        needed,
        free: needed - 1,
    };
    let refused = offer(&mut store, &file).unwrap_err().refusal();
    assert_eq!(refused, no_space(needed));
    let names: Vec<_> = disk.state().names.keys().cloned().collect();
    assert_eq!(names, ["state", "state.copy"]);

    // What is there already needs no space.
    disk.state().free = needed;
    offer(&mut store, &file).unwrap();
    store.part_chunk(1, 0, &file.parts[1]).unwrap();
    disk.state().free = needed - 400;
    offer(&mut store, &file).unwrap();

    // Somebody else filled the disk meanwhile.
    disk.state().free = needed - 401;
    let refused = store.part_chunk(0, 0, b"format").unwrap_err().refusal();
    assert_eq!(refused, no_space(needed - 400));
    disk.state().free = needed - 400;
    push(&mut store, &file).unwrap();
}

#[test]
fn requests_out_of_order_are_refused_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = bundle(1);
    let mut store = open(folder.path());
    let refusal = |result: Result<(), Error>| result.unwrap_err().refusal();
    let verify = |store: &mut Store, digest| {
        let verified = store.verify(digest, Some(&trusted()));
        refusal(verified.map(|_| ()))
    };
    let digest = file.id.digest;
    assert_eq!(refusal(store.part_chunk(0, 0, b"x")), Refusal::NotStaging);
    assert_eq!(verify(&mut store, digest), Refusal::NotStaging);
    offer(&mut store, &file).unwrap();
    for part in [NETWORK, GALLERY] {
        let bytes = &file.parts[part];
        store.part_chunk(part, 0, &bytes[..10]).unwrap();
        let expected = Refusal::Offset { expected: 10 };
        for (offset, len) in [(0, 10), (11, 5), (9, 1), (10, bytes.len()), (u64::MAX, 1)] {
            let refused = refusal(store.part_chunk(part, offset, &bytes[..len]));
            assert_eq!(refused, expected, "part {part}, {offset} {len}");
        }
    }
    assert_eq!(
        refusal(store.part_chunk(4, 0, b"x")),
        fault(BundleFault::PartMissing)
    );
    assert_eq!(verify(&mut store, sha256(b"")), Refusal::OtherBundle);
    let (received, size) = (20, file.size());
    assert_eq!(
        verify(&mut store, digest),
        Refusal::Incomplete { received, size }
    );
    push(&mut store, &file).unwrap();

    // A candidate that was aborted, offered again, or is not whole any more cannot be committed.
    let next = bundle(2);
    let held = offer(&mut store, &next).unwrap();
    send(&mut store, &next, &held).unwrap();
    let candidate = store.verify(next.id.digest, Some(&trusted())).unwrap();
    offer(&mut store, &next).unwrap();
    assert!(matches!(store.commit(&candidate), Err(Error::NotStaging)));
    let candidate = store.verify(next.id.digest, Some(&trusted())).unwrap();
    let part = folder.path().join(next.stored_name(NETWORK));
    std::fs::remove_file(part).unwrap();
    let error = store.verify(next.id.digest, Some(&trusted())).unwrap_err();
    assert_eq!(error.refusal(), fault(BundleFault::PartMissing));
    assert!(matches!(store.commit(&candidate), Err(Error::NotStaging)));
    let held = offer(&mut store, &next).unwrap();
    send(&mut store, &next, &held).unwrap();
    let candidate = store.verify(next.id.digest, Some(&trusted())).unwrap();
    store.abort();
    assert!(matches!(store.commit(&candidate), Err(Error::NotStaging)));
    assert_eq!(store.in_use(), Some(file.id));
}

#[test]
fn a_wrong_part_is_forgotten_with_its_last_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let file = bundle(1);
    offer(&mut store, &file).unwrap();
    for part in [NETWORK, GALLERY] {
        let mut wrong = file.parts[part].clone();
        wrong[7] ^= 1;
        store.part_chunk(part, 0, &wrong[..200]).unwrap();
        let error = store.part_chunk(part, 200, &wrong[200..]).unwrap_err();
        let digest = BundleFault::PartDigest { part: part as u8 };
        assert_eq!(error.refusal(), fault(digest));
        assert_eq!(store.progress().staging.unwrap().received, 0);
    }
    push(&mut store, &file).unwrap();
}

#[test]
fn a_part_that_is_lost_or_damaged_meanwhile_is_noticed_and_sent_again() {
    let file = bundle(1);
    for part in [NETWORK, GALLERY] {
        for gone in [true, false] {
            let case = format!("part {part}, gone {gone}");
            let folder = tempfile::tempdir().unwrap();
            let mut store = open(folder.path());
            let held = offer(&mut store, &file).unwrap();
            send(&mut store, &file, &held).unwrap();
            let path = folder.path().join(file.stored_name(part));
            let mut bytes = std::fs::read(&path).unwrap();
            let want = if gone {
                std::fs::remove_file(&path).unwrap();
                BundleFault::PartMissing
            } else {
                bytes[50] ^= 1;
                std::fs::write(&path, bytes).unwrap();
                BundleFault::PartDigest { part: part as u8 }
            };
            let error = store.verify(file.id.digest, Some(&trusted())).unwrap_err();
            assert_eq!(error.refusal(), fault(want), "{case}");
            assert_eq!(store.in_use(), None, "{case}");

            let mut want = file.lens();
            want[part] = 0;
            assert_eq!(offer(&mut store, &file).unwrap(), want, "{case}");
            push(&mut store, &file).unwrap();
        }
    }
}

#[test]
fn a_bundle_is_judged_again_when_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let file = bundle(1);
    let held = offer(&mut store, &file).unwrap();
    send(&mut store, &file, &held).unwrap();
    let mut keys = trusted();
    keys.keys[0] = keys.keys[1];
    let error = store.verify(file.id.digest, Some(&keys)).unwrap_err();
    assert_eq!(error.refusal(), fault(BundleFault::UnknownSigner));
    drop(store);

    // The offered head was changed on disk: what it names now was signed by nobody.
    let path = folder.path().join("offered");
    let mut bytes = std::fs::read(&path).unwrap();
    let counter_at = 12 + 1 + 6;
    bytes[counter_at] += 1;
    std::fs::write(&path, bytes).unwrap();
    let mut store = on(facelatch_device::store::disk::Folder::open(folder.path()).unwrap());
    let found = store.progress().staging.unwrap().sha256;
    assert_ne!(found, file.id.digest);
    let error = store.verify(found, Some(&trusted())).unwrap_err();
    assert_eq!(error.refusal(), fault(BundleFault::Signature));
    push(&mut store, &file).unwrap();
}
