//! The bundle slots: the whole way of a push, every refusal, and a disk that fails or loses power at any operation.
//!
//! The rule under test: whatever happens, the active bundle is the old one or the new one, whole.

mod power_cut;

use std::collections::BTreeMap;

use facelatch_device::store::{
    Error, Store,
    disk::{Disk, Folder},
};
use facelatch_protocol::{
    BundleFault, Digest, Refusal, SpaceName, Staging,
    bundle::{Part, PartKind, PartName},
    bundle_v1::{FORMAT, Header, MAX_HEADER, PREFIX_LEN},
};
use sha2::Digest as _;

use self::power_cut::{Cut, Failure, PowerCutDisk};

const LIMIT: u64 = 1 << 20;
const CHUNK: usize = 160;

fn sha256(bytes: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(bytes).into())
}

/// A bundle file, its digest known.
#[derive(Clone)]
struct File {
    bytes: Vec<u8>,
    digest: Digest,
}

impl File {
    fn new(bytes: Vec<u8>) -> File {
        let digest = sha256(&bytes);
        File { bytes, digest }
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

fn header(counter: u64, parts: &[(PartKind, &str, &[u8])]) -> Header {
    let part = |&(kind, name, bytes): &(PartKind, &str, &[u8])| Part {
        kind,
        name: PartName::parse(name).unwrap(),
        len: bytes.len() as u64,
        sha256: sha256(bytes),
    };
    Header {
        format: FORMAT,
        created_unix_ms: 1_700_000_000_000,
        counter,
        space: SpaceName::parse("test-4").unwrap(),
        parts: parts.iter().map(part).collect(),
    }
}

fn bundle(counter: u64) -> File {
    let net: Vec<u8> = (0..400).map(|i| (i * 7 + counter) as u8).collect();
    let parts: [(PartKind, &str, &[u8]); 3] = [
        (PartKind::Networks, "manifest.toml", b"format = 1\n"),
        (PartKind::Networks, "net.onnx", &net),
        (PartKind::Policy, "policy.toml", b""),
    ];
    let mut buffer = [0; PREFIX_LEN + MAX_HEADER];
    let mut bytes = header(counter, &parts)
        .encode(&mut buffer)
        .unwrap()
        .to_vec();
    parts
        .iter()
        .for_each(|(_, _, part)| bytes.extend_from_slice(part));
    File::new(bytes)
}

/// The device's part of a push, from wherever the store stands.
fn push<D: Disk>(store: &mut Store<D>, file: &File) -> Result<(), Error> {
    store.begin(file.size(), file.digest)?;
    let Some(staging) = store.progress().staging else {
        return Ok(());
    };
    let mut offset = staging.received;
    for chunk in file.bytes[offset as usize..].chunks(CHUNK) {
        store.chunk(offset, chunk)?;
        offset += chunk.len() as u64;
    }
    let candidate = store.verify(file.digest)?;
    store.commit(&candidate)?;
    Ok(())
}

fn active<D>(store: &Store<D>) -> Option<Digest>
where
    D: Disk,
{
    store.active().map(|id| id.digest)
}

#[test]
fn push_after_push_keeps_the_previous_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let files = [bundle(1), bundle(2), bundle(3)];
    let mut store = Store::open(folder.path(), LIMIT).unwrap();
    assert_eq!((store.active(), store.previous()), (None, None));
    for file in &files {
        push(&mut store, file).unwrap();
        assert_eq!(active(&store), Some(file.digest));
    }
    let networks = store.networks(files[2].digest).unwrap();
    assert_eq!(
        std::fs::read(networks.join("manifest.toml")).unwrap(),
        b"format = 1\n"
    );

    let mut names = Folder::open(folder.path()).unwrap().list().unwrap();
    names.sort();
    let mut want = vec![
        "active".to_owned(),
        format!("{}.flb", files[1].digest),
        format!("{}.flb", files[2].digest),
        format!("{}.networks", files[2].digest),
    ];
    want.sort();
    assert_eq!(names, want);

    let mut reopened = Store::open(folder.path(), LIMIT).unwrap();
    assert_eq!(reopened.progress(), store.progress());
    assert_eq!(reopened.active().unwrap().counter, 3);
    assert_eq!(reopened.roll_back().unwrap().digest, files[1].digest);
    assert!(matches!(reopened.roll_back(), Err(Error::NoPrevious)));
    let reopened = Store::open(folder.path(), LIMIT).unwrap();
    assert_eq!(
        (active(&reopened), reopened.previous()),
        (Some(files[1].digest), None)
    );
}

#[test]
fn the_active_bundle_is_not_received_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = bundle(1);
    let mut store = Store::open(folder.path(), LIMIT).unwrap();
    push(&mut store, &file).unwrap();
    store.begin(file.size(), file.digest).unwrap();
    assert_eq!(store.progress().staging, None);
    assert_eq!(store.previous(), None);
}

#[test]
fn a_push_goes_on_where_it_stopped_even_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = bundle(1);
    let staged = |received| Staging {
        size: file.size(),
        sha256: file.digest,
        received,
    };
    let mut store = Store::open(folder.path(), LIMIT).unwrap();
    store.begin(file.size(), file.digest).unwrap();
    store.chunk(0, &file.bytes[..100]).unwrap();
    store.chunk(100, &file.bytes[100..250]).unwrap();
    store.begin(file.size(), file.digest).unwrap();
    assert_eq!(store.progress().staging, Some(staged(250)));
    drop(store);

    let mut store = Store::open(folder.path(), LIMIT).unwrap();
    assert_eq!(store.progress().staging, Some(staged(250)));
    push(&mut store, &file).unwrap();
    assert_eq!(active(&store), Some(file.digest));

    // Another bundle starts afresh.
    let (second, third) = (bundle(2), bundle(3));
    store.begin(second.size(), second.digest).unwrap();
    store.chunk(0, &second.bytes[..100]).unwrap();
    push(&mut store, &third).unwrap();
    assert_eq!(active(&store), Some(third.digest));
    store.begin(second.size(), second.digest).unwrap();
    assert_eq!(store.progress().staging.unwrap().received, 0);
    store.abort();
    assert_eq!(store.progress().staging, None);
}

#[test]
fn what_does_not_fit_is_refused_before_a_byte_is_taken() {
    let disk = PowerCutDisk::new();
    let mut store = Store::on(disk.clone(), 1_000).unwrap();
    let digest = sha256(b"");
    let refused = |store: &mut Store<_>, size| store.begin(size, digest).unwrap_err().refusal();
    assert_eq!(
        refused(&mut store, 1_001),
        Refusal::BundleTooLarge { limit: 1_000 }
    );
    assert_eq!(refused(&mut store, 8), Refusal::Bundle(BundleFault::Length));
    disk.state().free = 4_500;
    let needed = 2 * 1_000 + facelatch_device::store::RESERVE_BYTES;
    assert_eq!(
        refused(&mut store, 1_000),
        Refusal::NoSpace {
            needed,
            free: 4_500
        }
    );
    assert!(disk.state().names.is_empty());
}

#[test]
fn requests_out_of_order_are_refused_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = bundle(1);
    let mut store = Store::open(folder.path(), LIMIT).unwrap();
    let refusal = |result: Result<(), Error>| result.unwrap_err().refusal();
    let verify = |store: &mut Store, digest| refusal(store.verify(digest).map(|_| ()));

    assert_eq!(refusal(store.chunk(0, b"x")), Refusal::NotStaging);
    assert_eq!(verify(&mut store, file.digest), Refusal::NotStaging);
    store.begin(file.size(), file.digest).unwrap();
    store.chunk(0, &file.bytes[..10]).unwrap();
    let expected = Refusal::Offset { expected: 10 };
    for (offset, len) in [
        (0, 10),
        (11, 5),
        (9, 1),
        (10, file.bytes.len()),
        (u64::MAX, 1),
    ] {
        assert_eq!(
            refusal(store.chunk(offset, &file.bytes[..len])),
            expected,
            "{offset} {len}"
        );
    }
    assert_eq!(verify(&mut store, sha256(b"")), Refusal::OtherBundle);
    let (received, size) = (10, file.size());
    assert_eq!(
        verify(&mut store, file.digest),
        Refusal::Incomplete { received, size }
    );
    push(&mut store, &file).unwrap();

    // A candidate that was aborted cannot be committed any more.
    let next = bundle(2);
    store.begin(next.size(), next.digest).unwrap();
    store.chunk(0, &next.bytes).unwrap();
    let candidate = store.verify(next.digest).unwrap();
    store.abort();
    assert!(matches!(store.commit(&candidate), Err(Error::NotStaging)));
    assert_eq!(active(&store), Some(file.digest));
}

#[test]
fn a_bad_bundle_is_refused_whole_and_forgotten() {
    let good = bundle(5);
    let header_len = good.bytes.len() - 400 - 11;
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.bytes.clone();
        change(&mut bytes);
        File::new(bytes)
    };
    let fault = Refusal::Bundle;
    let cases = [
        ("magic", damaged(&|b| b[0] ^= 1), fault(BundleFault::Magic)),
        (
            "format",
            damaged(&|b| b[PREFIX_LEN] = 9),
            fault(BundleFault::Format { found: 9 }),
        ),
        (
            "endless header",
            damaged(&|b| b[7] = 1),
            fault(BundleFault::Header),
        ),
        (
            "empty header",
            damaged(&|b| b[4..8].fill(0)),
            fault(BundleFault::Header),
        ),
        (
            "no header",
            damaged(&|b| b.truncate(9)),
            fault(BundleFault::Header),
        ),
        (
            "first part",
            damaged(&|b| b[header_len] ^= 1),
            fault(BundleFault::PartDigest { part: 0 }),
        ),
        (
            "second part",
            damaged(&|b| b[header_len + 11] ^= 1),
            fault(BundleFault::PartDigest { part: 1 }),
        ),
        (
            "short",
            damaged(&|b| b.truncate(b.len() - 1)),
            fault(BundleFault::Length),
        ),
        ("long", damaged(&|b| b.push(0)), fault(BundleFault::Length)),
        (
            "transfer",
            File {
                digest: sha256(b"announced"),
                ..good.clone()
            },
            Refusal::Digest,
        ),
        (
            "transfer of a header",
            File {
                digest: good.digest,
                ..damaged(&|b| b[0] ^= 1)
            },
            Refusal::Digest,
        ),
    ];
    let old = bundle(1);
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), LIMIT).unwrap();
    push(&mut store, &old).unwrap();
    for (name, file, want) in cases {
        let error = push(&mut store, &file).unwrap_err();
        assert_eq!(error.refusal(), want, "{name}: {error}");
        assert_eq!(store.progress().staging, None, "{name}");
        assert_eq!(active(&store), Some(old.digest), "{name}");
    }
    let left = Folder::open(folder.path()).unwrap().list().unwrap();
    assert_eq!(left.len(), 2, "{left:?}");
    push(&mut store, &good).unwrap();
}

#[test]
fn parts_are_checked_when_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = bundle(1);
    let mut store = Store::open(folder.path(), LIMIT).unwrap();
    push(&mut store, &file).unwrap();
    let mut open = store.bundle(file.digest).unwrap();
    assert_eq!(open.read_kind(PartKind::Policy).unwrap(), Some(vec![]));
    assert_eq!(open.read_kind(PartKind::Gallery).unwrap(), None);
    assert_eq!(open.read(1).unwrap(), file.bytes[file.bytes.len() - 400..]);

    // A network file that rotted on disk is unpacked again.
    let networks = store.networks(file.digest).unwrap();
    std::fs::write(networks.join("net.onnx"), b"rotten").unwrap();
    let again = store.networks(file.digest).unwrap();
    assert_eq!(std::fs::read(again.join("net.onnx")).unwrap().len(), 400);

    let slot = folder.path().join(format!("{}.flb", file.digest));
    let mut bytes = file.bytes.clone();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&slot, &bytes).unwrap();
    let error = store.bundle(file.digest).unwrap().read(1).unwrap_err();
    assert_eq!(
        error.refusal(),
        Refusal::Bundle(BundleFault::PartDigest { part: 1 })
    );
}

#[test]
fn a_rotten_active_bundle_gives_way_to_the_previous_one() {
    let folder = tempfile::tempdir().unwrap();
    let files = [bundle(1), bundle(2)];
    let slot = |file: &File| folder.path().join(format!("{}.flb", file.digest));
    let mut store = Store::open(folder.path(), LIMIT).unwrap();
    files
        .iter()
        .for_each(|file| push(&mut store, file).unwrap());

    std::fs::write(slot(&files[1]), &files[1].bytes[..300]).unwrap();
    let store = Store::open(folder.path(), LIMIT).unwrap();
    assert_eq!(
        (active(&store), store.previous()),
        (Some(files[0].digest), None)
    );

    std::fs::remove_file(slot(&files[0])).unwrap();
    let mut store = Store::open(folder.path(), LIMIT).unwrap();
    assert_eq!((store.active(), store.previous()), (None, None));
    push(&mut store, &files[1]).unwrap();

    for pointer in [
        "",
        "active",
        "facelatch bundles 2\nactive -\nprevious -\n",
        "\0\0\0\0",
    ] {
        std::fs::write(folder.path().join("active"), pointer).unwrap();
        let mut store = Store::open(folder.path(), LIMIT).unwrap();
        assert_eq!(store.active(), None, "{pointer:?}");
        push(&mut store, &files[1]).unwrap();
    }
}

#[test]
fn an_active_bundle_that_cannot_be_read_once_is_not_lost() {
    let files = [bundle(1), bundle(2)];
    let disk = with_two(&files);
    disk.state().unreadable = Some(format!("{}.flb", files[1].digest));
    let store = Store::on(disk.clone(), LIMIT).unwrap();
    assert_eq!(active(&store), Some(files[0].digest));

    disk.state().unreadable = None;
    let mut store = Store::on(disk.clone(), LIMIT).unwrap();
    assert_eq!(active(&store), Some(files[1].digest));

    // For good, it is gone with the next commit.
    disk.state().unreadable = Some(format!("{}.flb", files[1].digest));
    store = Store::on(disk.clone(), LIMIT).unwrap();
    push(&mut store, &bundle(3)).unwrap();
    assert_eq!(store.previous().map(|id| id.digest), Some(files[0].digest));
    assert!(
        !disk
            .list()
            .unwrap()
            .contains(&format!("{}.flb", files[1].digest))
    );
}

#[test]
fn a_disk_that_fails_at_any_operation_leaves_old_or_new() {
    let files = [bundle(1), bundle(2), bundle(3)];
    let (older, old, new) = (files[0].digest, files[1].digest, files[2].digest);
    let operations = count_operations(&files);
    assert!(operations > 10, "the push does {operations} operations");
    let mut ended = BTreeMap::new();
    for fail_at in 0..operations {
        for failure in [Failure::Once, Failure::ForGood] {
            for cut in Cut::ALL {
                let case = format!("operation {fail_at}, {failure:?}, {cut:?}");
                let disk = with_two(&files);
                let mut store = Store::on(disk.clone(), LIMIT).unwrap();
                disk.fail_at(fail_at, failure);
                let pushed = push(&mut store, &files[2]);
                // The garbage is cleared after the switch: failing there fails nothing.
                assert!(pushed.is_err() || active(&store) == Some(new), "{case}");

                let mut store = Store::on(disk.cut(cut), LIMIT).unwrap();
                let now = (active(&store), store.previous().map(|id| id.digest));
                let whole = [(Some(old), Some(older)), (Some(new), Some(old))];
                assert!(whole.contains(&now), "{case}: {now:?}");
                assert!(
                    pushed.is_err() || now == whole[1],
                    "{case}: acknowledged, then lost"
                );
                *ended.entry(now == whole[1]).or_insert(0) += 1;

                let mut open = store.bundle(now.0.unwrap()).unwrap();
                (0..3).for_each(|part| drop(open.read(part).expect(&case)));
                push(&mut store, &files[2])
                    .or_else(|_| push(&mut store, &files[2]))
                    .expect(&case);
                assert_eq!(active(&store), Some(new), "{case}");
            }
        }
    }
    assert!(
        ended[&false] > 20 && ended[&true] > 5,
        "both ends were reached: {ended:?}"
    );
}

#[test]
fn a_passing_failure_is_got_over_without_a_restart() {
    let files = [bundle(1), bundle(2), bundle(3)];
    for fail_at in 0..count_operations(&files) {
        let disk = with_two(&files);
        let mut store = Store::on(disk.clone(), LIMIT).unwrap();
        disk.fail_at(fail_at, Failure::Once);
        let first = push(&mut store, &files[2]);
        push(&mut store, &files[2]).unwrap_or_else(|error| panic!("operation {fail_at}: {error}"));
        assert_eq!(
            active(&store),
            Some(files[2].digest),
            "operation {fail_at}, {first:?}"
        );
        let mut open = store.bundle(files[2].digest).unwrap();
        (0..3).for_each(|part| drop(open.read(part).unwrap()));
    }
}

#[test]
fn a_disk_that_fills_up_during_a_push_says_so() {
    let disk = with_two(&[bundle(1), bundle(2)]);
    let mut store = Store::on(disk.clone(), LIMIT).unwrap();
    // Operation 0 makes the staging file, 1 writes the first chunk.
    disk.fail_at(1, Failure::Once);
    let error = push(&mut store, &bundle(3)).unwrap_err();
    assert!(
        matches!(error.refusal(), Refusal::NoSpace { .. }),
        "{error}"
    );
    assert_eq!(store.progress().staging.unwrap().received, 0);
}

/// A disk with bundle 1 as previous and bundle 2 as active.
fn with_two(files: &[File]) -> PowerCutDisk {
    let disk = PowerCutDisk::new();
    let mut store = Store::on(disk.clone(), LIMIT).unwrap();
    files[..2]
        .iter()
        .for_each(|file| push(&mut store, file).unwrap());
    disk.cut(Cut::AllUnsynced)
}

/// How many operations the push of the third bundle takes.
fn count_operations(files: &[File]) -> usize {
    let disk = with_two(files);
    let mut store = Store::on(disk.clone(), LIMIT).unwrap();
    let before = disk.state().operations;
    push(&mut store, &files[2]).unwrap();
    disk.state().operations - before
}
