//! Pushes: what is sent and what is saved, over noise and interruptions, and how a trial ends.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use facelatch_host::{
    client::{Blame, Trial},
    pack::{Contents, gather},
};
use facelatch_models::{classifier::Classifier, embedding::SpaceId};
use facelatch_protocol::{BundleFault, BundleId, Refusal, RollbackReason};

use super::Us;
use crate::fake_door::{FakeDoor, Wire};

/// A bundle file on disk.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) id: BundleId,
    pub(crate) size: u64,
    _folder: tempfile::TempDir,
}

/// A bundle with a part of so many bytes that is the same in all of them, and one that `counter` decides.
pub(crate) fn bundle(us: &Us, counter: u64, len: usize) -> File {
    // Neither all zeros nor free of them.
    let policy: Vec<u8> = (0..len as u64).map(|i| (i * i) as u8).collect();
    let space = SpaceId::parse("test-2").unwrap();
    let people = vec![format!("person-{counter}")];
    let classifier = Classifier::softmax(space.clone(), people, vec![0.5; 4], vec![0.0; 2]);
    let unsigned = gather(&Contents {
        space: &space,
        networks: None,
        head: None,
        classifier: Some(&classifier),
        calibration: None,
        people: None,
        policy: Some(&policy),
        self_test: None,
        replace: false,
    });
    let unsigned = unsigned.unwrap();
    let signer = us.keys.signer().unwrap();
    let (bytes, id) = unsigned.sign(counter, 1_700_000_000_000, &signer).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("door.flb");
    fs::write(&path, &bytes).unwrap();
    File {
        path,
        id,
        size: unsigned.size(),
        _folder: folder,
    }
}

/// Whether a door holds every part of a bundle file, byte for byte.
fn holds(door: &FakeDoor, file: &Path) -> bool {
    let bytes = fs::read(file).unwrap();
    let (_, manifest) = facelatch_host::pack::check(&bytes, None).unwrap();
    let mut at = bytes.len() - manifest.parts_len().unwrap() as usize;
    manifest.parts.iter().all(|part| {
        let there = &bytes[at..at + part.len as usize];
        at += part.len as usize;
        door.state().parts.get(&part.sha256).map(Vec::as_slice) == Some(there)
    })
}

const TRIAL: Duration = Duration::from_secs(20);

#[test]
fn a_push_sends_what_is_missing_and_is_followed_to_the_end_of_its_trial() {
    let us = Us::new();
    let wire = Wire::new(|_, bytes| bytes);
    let by_serial = FakeDoor::start(Some(&wire));
    let by_tcp = FakeDoor::start(None);
    for (door, target) in [(&by_tcp, by_tcp.target()), (&by_serial, wire.host_end())] {
        let (first, second) = (bundle(&us, 1, 30_000), bundle(&us, 2, 30_000));
        let mut client = us.reach(door, &target);
        let mut told = Vec::new();
        let pushed = client
            .push(&first.path, |there, size| told.push((there, size)))
            .unwrap();
        assert_eq!(pushed.id, first.id);
        assert_eq!((pushed.sent, pushed.saved), (first.size, 0));
        assert_eq!(told.first(), Some(&(0, first.size)));
        assert_eq!(told.last(), Some(&(first.size, first.size)));
        assert!(told.is_sorted());
        assert!(holds(door, &first.path));

        let mut left = Vec::new();
        let trial = client.await_trial(first.id, TRIAL, |frames| left.push(frames));
        assert_eq!((trial.unwrap(), left), (Trial::Confirmed, vec![1, 0]));

        // What the door has got is not sent again: neither a part nor a whole bundle.
        let pushed = client.push(&second.path, |_, _| ()).unwrap();
        assert_eq!(pushed.saved, 30_000);
        assert_eq!(pushed.sent, second.size - 30_000);
        let trial = client.await_trial(second.id, TRIAL, |_| ());
        assert_eq!(trial.unwrap(), Trial::Confirmed);
        let again = client.push(&second.path, |_, _| ()).unwrap();
        assert_eq!((again.sent, again.saved), (0, second.size));
        assert_eq!(client.trial(second.id).unwrap(), Trial::Confirmed);
        let arrived = door.state().arrived as u64;
        assert_eq!(arrived, first.size + second.size - 30_000);
        let active = client.bundle_status().unwrap().active;
        assert_eq!(active, Some(second.id));
    }
}

#[test]
fn a_bundle_that_does_not_prove_itself_is_reported_with_the_doors_reason() {
    let (us, door) = (Us::new(), FakeDoor::start(None));
    let mut client = us.reach(&door, &door.target());
    let (good, bad) = (bundle(&us, 1, 100), bundle(&us, 2, 100));
    client.push(&good.path, |_, _| ()).unwrap();
    client.await_trial(good.id, TRIAL, |_| ()).unwrap();
    door.state().healthy = false;
    client.push(&bad.path, |_, _| ()).unwrap();
    let pending = client.await_trial(bad.id, Duration::ZERO, |_| ());
    assert_eq!(pending.unwrap(), Trial::Pending { frames_left: 1 });
    let Trial::RolledBack(back) = client.await_trial(bad.id, TRIAL, |_| ()).unwrap() else {
        panic!("it proved itself");
    };
    assert_eq!((back.id, back.reason), (bad.id, RollbackReason::Networks));
    assert_eq!(&*back.text, "the embedder gave nonsense");
    assert_eq!(client.bundle_status().unwrap().active, Some(good.id));
}

#[test]
fn a_noisy_serial_line_slows_a_push_down_and_no_more() {
    let us = Us::new();
    let file = bundle(&us, 1, 40_000);
    // One wrong bit in every 5,003 bytes, in both directions.
    let wire = Wire::new(|passed, mut bytes| {
        for (at, byte) in bytes.iter_mut().enumerate() {
            let at = passed + at;
            if at % 5_003 == 5_002 {
                *byte ^= 1 << (at / 5_003 % 8);
            }
        }
        bytes
    });
    let door = FakeDoor::start(Some(&wire));
    let mut client = us.reach(&door, &wire.host_end());
    client.set_patience(Duration::from_secs(2));
    let pushed = client.push(&file.path, |_, _| ()).unwrap();
    assert!(holds(&door, &file.path));
    assert!(
        pushed.sent > file.size,
        "{pushed:?}: nothing was sent twice"
    );
    assert!(wire.passed() > 45_000, "{} bytes passed", wire.passed());
    let trial = client.await_trial(file.id, TRIAL, |_| ());
    assert_eq!(trial.unwrap(), Trial::Confirmed);
}

#[test]
fn a_push_cut_off_after_any_chunk_goes_on_where_it_stopped() {
    let us = Us::new();
    let len = 20_000;
    let chunks = (len + 100) / facelatch_protocol::MAX_CHUNK + 1;
    let mut resumed = 0;
    for cut in 0..=chunks {
        let door = FakeDoor::start(None);
        // The interrupted push and the next differ in counter and time, as two calls without a file do.
        let (first, second) = (bundle(&us, 1, len), bundle(&us, 2, len));
        door.state().chunks_left = cut;
        let mut client = us.reach(&door, &door.target());
        if let Err(error) = client.push(&first.path, |_, _| ()) {
            assert_eq!(error.blame(), Blame::Machine, "cut after {cut}: {error}");
        }
        let there = door.state().arrived as u64;
        door.state().chunks_left = usize::MAX;
        assert_eq!(door.state().active, None);
        let pushed = us
            .reach(&door, &door.target())
            .push(&second.path, |_, _| ())
            .unwrap();
        assert!(pushed.saved + 200 >= there, "{pushed:?}, {there} there");
        assert_eq!(pushed.sent + pushed.saved, second.size, "cut after {cut}");
        assert!(holds(&door, &second.path));
        resumed += usize::from(pushed.saved > 0);
    }
    assert!(resumed > 5, "{resumed} pushes went on");
}

#[test]
fn a_file_that_is_no_bundle_is_never_sent() {
    let us = Us::new();
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read(&bundle(&us, 1, 500).path).unwrap();
    let mut cut = good.clone();
    cut.pop();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let old = [b"FLB1", &good[4..]].concat();
    let cases: [(&str, Option<&[u8]>, &str); 7] = [
        ("missing", None, "could not read"),
        ("empty", Some(b""), "not a facelatch bundle"),
        (
            "photo",
            Some(b"\xff\xd8\xff\xe0 JFIF and more"),
            "not a facelatch bundle",
        ),
        ("cut", Some(&cut), "do not add up"),
        ("flipped", Some(&flipped), "part 1 is damaged"),
        ("head only", Some(&good[..20]), "do not add up"),
        ("old", Some(&old), "not signed"),
    ];
    let door = FakeDoor::start(None);
    let mut client = us.reach(&door, &door.target());
    for (name, bytes, message) in cases {
        let path = folder.path().join(name);
        if let Some(bytes) = bytes {
            fs::write(&path, bytes).unwrap();
        }
        let error = client
            .push(&path, |_, _| panic!("{name}: sent"))
            .unwrap_err();
        assert_eq!(error.blame(), Blame::Operator, "{name}");
        let text = error.to_string();
        assert!(text.contains(message) && text.contains(name), "{text}");
    }
    assert_eq!(client.bundle_status().unwrap().staging, None);
}

#[test]
fn what_the_door_refuses_is_said_in_its_words() {
    let (us, them, door) = (Us::new(), Us::new(), FakeDoor::start(None));
    let mut client = us.reach(&door, &door.target());
    let known = bundle(&us, 5, 100);
    client.push(&known.path, |_, _| ()).unwrap();
    client.await_trial(known.id, TRIAL, |_| ()).unwrap();
    let limit = 1 << 20;
    let highest = 5;
    let cases = [
        (bundle(&us, 6, 2 << 20), Refusal::BundleTooLarge { limit }),
        (
            bundle(&us, 4, 100),
            Refusal::Bundle(BundleFault::Downgrade { highest }),
        ),
        (
            bundle(&us, 5, 101),
            Refusal::Bundle(BundleFault::Replayed { highest }),
        ),
        (
            bundle(&them, 7, 100),
            Refusal::Bundle(BundleFault::UnknownSigner),
        ),
    ];
    for (file, refusal) in cases {
        let error = client.push(&file.path, |_, _| ()).unwrap_err();
        assert_eq!(error.blame(), Blame::Device);
        assert_eq!(error.refusal(), Some(&refusal), "{error}");
        assert!(error.to_string().contains(&refusal.to_string()), "{error}");
    }
}
