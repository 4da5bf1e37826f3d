//! The whole way of a push: what is sent, what is kept, how it goes on after an interruption.

use facelatch_protocol::{Staging, bundle::PartKind};

use crate::bundles::{
    CHUNK, File, GALLERY, NETWORK, bundle, establish, files, offer, open, pack, push, send, sha256,
    trusted,
};

#[test]
fn push_after_push_keeps_the_previous_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let bundles = [bundle(1), bundle(2), bundle(3)];
    let mut store = open(folder.path());
    assert_eq!((store.in_use(), store.previous()), (None, None));
    for file in &bundles {
        establish(&mut store, file);
        assert_eq!(store.in_use(), Some(file.id));
        assert_eq!(store.highest_counter(), file.id.counter);
    }
    let networks = store.networks(bundles[2].id.digest).unwrap();
    let read = |name| std::fs::read(networks.join(name)).unwrap();
    assert_eq!(read("manifest.toml"), bundles[2].parts[0]);
    assert_eq!(read("net.onnx"), bundles[2].parts[NETWORK]);

    let mut want = vec!["state".to_owned(), "state.copy".to_owned()];
    for file in &bundles[1..] {
        want.push(format!("{}.head", file.id.digest));
        want.extend((0..4).map(|part| file.stored_name(part)));
    }
    let digest = bundles[2].id.digest;
    want.extend(["manifest.toml", "net.onnx"].map(|name| format!("{digest}.networks/{name}")));
    want.sort();
    want.dedup();
    assert_eq!(files(folder.path()).into_keys().collect::<Vec<_>>(), want);

    let reopened = open(folder.path());
    assert_eq!(reopened.progress(), store.progress());
    assert_eq!(reopened.active(), Some(bundles[2].id));
    assert_eq!(reopened.previous(), Some(bundles[1].id));
    let mut open = reopened.bundle(digest).unwrap();
    assert_eq!(open.manifest(), &bundles[2].manifest);
    for (index, part) in bundles[2].parts.iter().enumerate() {
        assert!(open.holds(index));
        assert_eq!(&*open.read(index).unwrap(), part, "part {index}");
    }
    let gallery = open.read_kind(PartKind::Gallery).unwrap();
    assert_eq!(*gallery.unwrap(), bundles[2].parts[GALLERY]);
    assert!(open.read_kind(PartKind::SelfTest).unwrap().is_none());
    assert!(!open.holds(4) && open.read(4).is_err());
}

#[test]
fn what_is_there_is_never_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let network: Vec<u8> = (0..5_000).map(|i| (i % 251) as u8).collect();
    let with = |counter, policy: &[u8]| {
        pack(
            counter,
            &[
                (PartKind::Networks, "net.onnx", &network),
                (PartKind::Policy, "policy.toml", policy),
            ],
        )
    };
    let (first, second) = (with(1, b"first"), with(2, b"second"));
    assert_eq!(offer(&mut store, &first).unwrap(), [0, 0]);
    establish(&mut store, &first);
    for running in ["active", "on trial"] {
        assert_eq!(
            offer(&mut store, &first).unwrap(),
            first.lens(),
            "{running}"
        );
        assert_eq!(store.progress().staging, None, "{running}");
    }
    let held = offer(&mut store, &second).unwrap();
    assert_eq!(held, [5_000, 0]);
    let staging = Staging {
        size: 5_006,
        sha256: second.id.digest,
        received: 5_000,
    };
    assert_eq!(store.progress().staging, Some(staging));
    assert_eq!(send(&mut store, &second, &held).unwrap(), 6);
    let candidate = store.verify(second.id.digest, Some(&trusted())).unwrap();
    store.commit(&candidate).unwrap();
    assert_eq!(store.on_trial(), Some(second.id));
    for file in [&second, &first] {
        assert_eq!(offer(&mut store, file).unwrap(), file.lens());
    }
}

#[test]
fn a_push_goes_on_where_it_stopped_even_after_a_restart() {
    let file = bundle(1);
    let chunks: Vec<(usize, usize)> = (0..4)
        .flat_map(|part| {
            (0..file.parts[part].len())
                .step_by(CHUNK)
                .map(move |at| (part, at))
        })
        .collect();
    assert_eq!(chunks.len(), 6);
    for stop in 0..=chunks.len() {
        for restart in [false, true] {
            let case = format!("after {stop} chunks, restart {restart}");
            let folder = tempfile::tempdir().unwrap();
            let mut store = open(folder.path());
            offer(&mut store, &file).unwrap();
            let mut want = [0; 4];
            for &(part, at) in &chunks[..stop] {
                let bytes = &file.parts[part][at..];
                let bytes = &bytes[..bytes.len().min(CHUNK)];
                store.part_chunk(part, at as u64, bytes).unwrap();
                want[part] += bytes.len() as u64;
            }
            let staging = store.progress().staging.unwrap();
            assert_eq!(staging.received, want.iter().sum::<u64>(), "{case}");
            if restart {
                drop(store);
                store = open(folder.path());
                assert_eq!(store.progress().staging, Some(staging), "{case}");
            }
            let held = offer(&mut store, &file).unwrap();
            assert_eq!(held, want, "{case}");
            let sent = send(&mut store, &file, &held).unwrap();
            assert_eq!(sent as u64, file.size() - staging.received, "{case}");
            push(&mut store, &file).unwrap();
            assert_eq!(store.in_use(), Some(file.id), "{case}");
        }
    }
}

#[test]
fn another_bundle_takes_the_place_of_a_half_received_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let (first, second) = (bundle(1), bundle(2));
    offer(&mut store, &first).unwrap();
    store.part_chunk(0, 0, &first.parts[0]).unwrap();
    store.part_chunk(1, 0, &first.parts[1][..100]).unwrap();
    store.part_chunk(2, 0, &first.parts[2][..100]).unwrap();
    let held = offer(&mut store, &second).unwrap();
    assert_eq!(held, [11, 0, 0, 0], "the part they share stays");
    assert_eq!(store.progress().staging.unwrap().sha256, second.id.digest);
    let left = files(folder.path());
    assert!(!left.keys().any(|name| name.ends_with("ing")), "{left:?}");
    assert_eq!(offer(&mut store, &first).unwrap(), [11, 0, 0, 0]);

    store.abort();
    assert_eq!(store.progress().staging, None);
    let left: Vec<_> = files(folder.path()).into_keys().collect();
    assert_eq!(left, ["state", "state.copy"]);
}

#[test]
fn equal_parts_come_once_but_personal_ones_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let same = b"the same bytes in all parts".as_slice();
    let kinds = [
        (PartKind::Networks, "a.onnx", same),
        (PartKind::Networks, "b.onnx", same),
        (PartKind::Gallery, "gallery", same),
        (PartKind::Classifier, "classifier", same),
    ];
    let file = pack(1, &kinds);
    let len = same.len() as u64;
    let held = offer(&mut store, &file).unwrap();
    assert_eq!(held, [0, len, 0, len]);
    assert_eq!(store.progress().staging.unwrap().received, 0);
    assert_eq!(send(&mut store, &file, &held).unwrap(), 2 * same.len());
    assert_eq!(store.progress().staging.unwrap().received, 4 * len);
    push(&mut store, &file).unwrap();
    let names: Vec<_> = files(folder.path()).into_keys().collect();
    for end in ["part", "sealed"] {
        assert!(
            names.contains(&format!("{}.{end}", sha256(same))),
            "{names:?}"
        );
    }
    let folder = store.networks(file.id.digest).unwrap();
    for name in ["a.onnx", "b.onnx"] {
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), same);
    }
    store.forget_personal(file.id.digest).unwrap();
    let mut open = store.bundle(file.id.digest).unwrap();
    assert_eq!(&**open.read(1).unwrap(), same);
    assert!(!open.holds(2) && !open.holds(3));
}

#[test]
fn the_networks_folder_is_made_again_whenever_it_is_not_right() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let file = bundle(1);
    establish(&mut store, &file);
    let networks = store.networks(file.id.digest).unwrap();
    let network = networks.join("net.onnx");
    let damages: [(&str, &dyn Fn()); 3] = [
        ("gone", &|| std::fs::remove_file(&network).unwrap()),
        ("another file", &|| {
            std::fs::remove_file(&network).unwrap();
            std::fs::write(&network, b"rotten").unwrap();
        }),
        ("all gone", &|| std::fs::remove_dir_all(&networks).unwrap()),
    ];
    for (name, damage) in damages {
        damage();
        assert_eq!(store.networks(file.id.digest).unwrap(), networks);
        let bytes = std::fs::read(&network).unwrap();
        assert_eq!(bytes, file.parts[NETWORK], "{name}");
    }
    let without = pack(2, &[(PartKind::Policy, "policy.toml", b"x")]);
    push(&mut store, &without).unwrap();
    assert!(store.networks(without.id.digest).is_err());

    // The part itself.
    let File { id, .. } = file;
    std::fs::write(&network, b"rotten").unwrap();
    let error = store.networks(id.digest).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bundle cannot be used: part 1 is damaged"
    );
}
