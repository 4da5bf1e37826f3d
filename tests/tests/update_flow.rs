//! A push gives the same state over TCP and over a serial line, and one that is cut anywhere leaves the old state whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;

use facelatch_host::client::Client;
use facelatch_host::connect::Target;
use facelatch_protocol::{GalleryRecord, Status};
use facelatch_tests::PATIENCE;
use facelatch_tests::door::{Door, facelatchd};
use facelatch_tests::line::{SerialLine, cut_after};
use facelatch_tests::people::enrolled;

/// Everything a push may change, as bytes and as the door tells it.
#[derive(Debug, PartialEq)]
struct State {
    digest: facelatch_protocol::Digest,
    gallery: Vec<GalleryRecord>,
    bundles: BTreeMap<String, Vec<u8>>,
}

fn state(door: &Door, data: &Path) -> State {
    let mut client = door.client();
    let status: Status = client.status().expect("the door answers");
    let gallery = client
        .pull()
        .collect::<Result<Vec<_>, _>>()
        .expect("the gallery can be read");
    State {
        digest: status.state,
        gallery,
        bundles: bundles(data),
    }
}

/// Bundle files and the pointer to the active one; what is still being received is no state.
fn bundles(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(data.join("bundles")).expect("a door has bundle slots") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && !name.starts_with("staging-") && !name.ends_with(".tmp") {
            files.insert(name, fs::read(entry.path()).expect("a file"));
        }
    }
    files
}

#[test]
fn tcp_and_serial_give_byte_identical_state() {
    let people = enrolled();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let line = SerialLine::lay();
    let (by_tcp, by_serial) = (folder.path().join("tcp"), folder.path().join("serial"));

    let door = Door::start(&mut facelatchd(&by_tcp));
    let empty = state(&door, &by_tcp);
    door.client()
        .push(&people.bundle(), |_, _| {})
        .expect("a good bundle");
    let tcp = state(&door, &by_tcp);
    assert_ne!(tcp.digest, empty.digest, "a push changes the state");
    assert!(!tcp.gallery.is_empty());

    let door = Door::start(facelatchd(&by_serial).arg("--serial").arg(&line.door));
    let target: Target = line
        .host
        .display()
        .to_string()
        .parse()
        .expect("a device file");
    let mut client = Client::connect(&target, door.credentials(), PATIENCE)
        .expect("the door answers on the serial line");
    client
        .push(&people.bundle(), |_, _| {})
        .expect("a good bundle");
    assert_eq!(state(&door, &by_serial), tcp);
    assert!(
        tcp.bundles
            .values()
            .any(|bytes| *bytes == fs::read(people.bundle()).expect("packed"))
    );
}

#[test]
fn a_push_cut_at_any_byte_leaves_the_old_state_whole() {
    let people = enrolled();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("door");
    let door = Door::start(&mut facelatchd(&data));
    door.client()
        .push(&people.bundle(), |_, _| {})
        .expect("a good bundle");
    let old = state(&door, &data);
    let size = fs::metadata(people.next_bundle()).expect("packed").len();

    // Framing adds to the file's bytes, so every one of these cuts falls before the last chunk is whole.
    let step = (size / 48).max(1);
    let beginnings = [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89];
    let cuts: Vec<u64> = beginnings
        .into_iter()
        .chain((1..48).map(|i| i * step))
        .collect();
    let mut failures = Vec::new();
    for bytes in &cuts {
        let (told, cut) = channel();
        let address = cut_after(door.address(), *bytes, move || {
            told.send(()).expect("the test waits")
        });
        let target: Target = address.to_string().parse().expect("an address");
        let pushed = Client::connect(&target, door.credentials(), PATIENCE)
            .and_then(|mut client| client.push(&people.next_bundle(), |_, _| {}));
        cut.recv_timeout(PATIENCE).expect("the line was cut");
        if let Ok(pushed) = pushed {
            failures.push(format!("cut after {bytes} bytes: {pushed:?}"));
        }
        if state(&door, &data) != old {
            failures.push(format!("cut after {bytes} bytes: the state changed"));
        }
        // Each cut starts from nothing received, so that every position is really reached.
        let mut client = door.client();
        if client.bundle_status().expect("an answer").staging.is_some() {
            client.bundle_abort().expect("an answer");
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    door.client()
        .push(&people.next_bundle(), |_, _| {})
        .expect("an uncut line");
    let new = state(&door, &data);
    assert_ne!(new.bundles, old.bundles);
    assert_eq!(new.gallery, old.gallery, "the same people");
}

#[test]
fn a_door_killed_during_a_push_comes_back_with_the_old_state() {
    let people = enrolled();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("door");
    let mut door = Door::start(&mut facelatchd(&data));
    door.client()
        .push(&people.bundle(), |_, _| {})
        .expect("a good bundle");
    let old = state(&door, &data);
    let size = fs::metadata(people.next_bundle()).expect("packed").len();

    // A push goes on where the last one was cut: these reach ever further into the file, never its end.
    let mut kept = 0;
    let mut cuts = vec![0, 100, size / 8, size / 4, size / 2];
    let mut rounds = 0;
    while let Some(bytes) = cuts.pop() {
        let (told, cut) = channel();
        let address = cut_after(door.address(), bytes, move || {
            told.send(()).expect("the test waits")
        });
        let target: Target = address.to_string().parse().expect("an address");
        Client::connect(&target, door.credentials(), PATIENCE)
            .and_then(|mut client| client.push(&people.next_bundle(), |_, _| {}))
            .expect_err("the line is cut");
        cut.recv_timeout(PATIENCE).expect("the line was cut");
        // A cut line may swallow what was on its way: only what the door says it has must outlive the kill.
        let said = received(&door);
        door.kill();
        door = Door::start(&mut facelatchd(&data));
        assert_eq!(state(&door, &data), old, "killed after {bytes} more bytes");
        kept = received(&door);
        assert!(kept >= said, "{said} bytes were there, {kept} after a kill");
        rounds += 1;
        if cuts.is_empty() && kept == 0 && rounds < 50 {
            cuts.push(size / 2);
        }
    }
    assert!(kept > 0, "nothing ever arrived: nothing was proven");
    let pushed = door
        .client()
        .push(&people.next_bundle(), |_, _| {})
        .expect("an uncut line");
    assert_eq!(pushed.saved, kept);
    assert_ne!(state(&door, &data).bundles, old.bundles);
    assert_eq!(door.stop().code, Some(0));
}

/// How much of a bundle the door has received so far.
fn received(door: &Door) -> u64 {
    let progress = door.client().bundle_status().expect("an answer");
    progress.staging.map_or(0, |staging| staging.received)
}
