//! A push gives the same state over TCP and over a serial line, and one that is cut anywhere leaves the old state whole.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use facelatch_host::client::{Client, Trial};
use facelatch_host::connect::Target;
use facelatch_protocol::bundle::Head;
use facelatch_protocol::{GalleryRecord, Status};
use facelatch_tests::PATIENCE;
use facelatch_tests::door::{Door, facelatchd};
use facelatch_tests::line::{Passes, SerialLine, cut_after, cut_in_frame};
use facelatch_tests::people::enrolled;
use facelatch_tests::watch::watching;
use facelatch_tests::workspace::Workspace;

/// Everything a push may change, as bytes and as the door tells it.
#[derive(PartialEq)]
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

impl State {
    /// Whether all of it is there; files of a bundle that is still being received may be there too.
    fn is_in(&self, now: &State) -> bool {
        let kept = |(name, bytes): (&String, &Vec<u8>)| now.bundles.get(name) == Some(bytes);
        (self.digest, &self.gallery) == (now.digest, &now.gallery) && self.bundles.iter().all(kept)
    }
}

/// In short: whole templates and files say nothing to a reader.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with", self.digest)?;
        for record in &self.gallery {
            let key = &record.key;
            write!(f, " {} {}", &*key.person, key.index)?;
        }
        for (name, bytes) in &self.bundles {
            write!(f, "\n  {:6} {name}", bytes.len())?;
        }
        self.bundles.get("state").map_or(Ok(()), |state| {
            write!(f, "\n{}", String::from_utf8_lossy(state))
        })
    }
}

/// Heads, parts and the state in both copies. What of a part came so far is no state; parts that came to their end are like
/// those that are in use.
fn bundles(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let is_transfer = |name: &str| {
        let ends = [".coming", ".sealing", ".new"];
        name == "offered" || ends.iter().any(|end| name.ends_with(end))
    };
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(data.join("bundles")).expect("a door has bundle slots") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && !is_transfer(&name) {
            files.insert(name, fs::read(entry.path()).expect("a file"));
        }
    }
    files
}

/// A door with a proven bundle of one person, started anew with nobody in front of it, and a later bundle of which it has
/// nothing yet: with the other person too, and with a self-test of 150 KB.
fn proven(folder: &Path) -> (PathBuf, Door, PathBuf) {
    let [one, both] = ["one", "both"].map(|name| Workspace::enrolled(&folder.join(name)));
    let pack = |host: &Workspace, name: &str, more: &[&str]| {
        let file = folder.join(name);
        let out = file.to_str().expect("a plain path");
        host.done(&[&["pack", "--out", out], more].concat());
        file
    };
    one.done(&["people", "remove", "eileen_collins"]);
    one.done(&["train"]);
    let first = pack(&one, "first.flb", &["--without-self-test"]);
    // Counters are seconds, or one more than the last: two of the same second differ by the workspace's count.
    pack(&both, "next.flb", &[]);
    let next = pack(&both, "next.flb", &[]);
    let data = folder.join("door");
    let door = Door::start(&mut watching(&data, &["rocket.jpg"]));
    door.push_proven(&first);
    assert_eq!(door.stop().code, Some(0));
    let door = Door::start(&mut facelatchd(&data));
    (data, door, next)
}

#[test]
fn tcp_and_serial_give_byte_identical_state() {
    let people = enrolled();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let line = SerialLine::lay();
    let (by_tcp, by_serial) = (folder.path().join("tcp"), folder.path().join("serial"));

    let door = Door::start(&mut watching(&by_tcp, &["rocket.jpg"]));
    let empty = state(&door, &by_tcp);
    door.push_proven(&people.bundle());
    let tcp = state(&door, &by_tcp);
    assert_ne!(tcp.digest, empty.digest, "a push changes the state");
    assert!(!tcp.gallery.is_empty());

    let mut second = watching(&by_serial, &["rocket.jpg"]);
    let door = Door::start(second.arg("--serial").arg(&line.door));
    let target: Target = line
        .host
        .display()
        .to_string()
        .parse()
        .expect("a device file");
    let mut client = Client::connect(&target, door.credentials(), PATIENCE)
        .expect("the door answers on the serial line");
    let pushed = client
        .push(&people.bundle(), |_, _| {})
        .expect("a good bundle");
    let trial = client.await_trial(pushed.id, PATIENCE, |_| {});
    assert_eq!(trial.expect("the door answers"), Trial::Confirmed);
    assert_eq!(state(&door, &by_serial), tcp);

    // What is there is what was packed: the head, and every part that is not personal.
    let file = fs::read(people.bundle()).expect("packed");
    let prefix = file.first_chunk().expect("a bundle");
    let length = Head::length(*prefix).expect("a bundle");
    let (id, manifest) = Head::parse(&file[..length])
        .and_then(|head| head.manifest())
        .expect("a bundle");
    let stored = |name: String| tcp.bundles.get(&name).map(Vec::as_slice);
    let head = stored(format!("{}.head", id.digest));
    assert!(head == Some(&file[..length]), "the head");
    let mut rest = &file[length..];
    for part in &manifest.parts {
        let (bytes, after) = rest.split_at(usize::try_from(part.len).expect("a small part"));
        let kept = (!part.kind.is_personal()).then_some(bytes);
        let part_file = stored(format!("{}.part", part.sha256));
        assert!(part_file == kept, "{}", part.name.as_str());
        rest = after;
    }
    let names: Vec<_> = tcp.bundles.keys().collect();
    assert_eq!(
        tcp.bundles.len(),
        2 + 1
            + manifest
                .parts
                .iter()
                .filter(|part| !part.kind.is_personal())
                .count(),
        "state and its copy, a head, and its parts: {names:?}"
    );
}

#[test]
fn a_push_cut_anywhere_leaves_the_old_state_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, door, next) = proven(folder.path());
    let old = state(&door, &data);
    let frames = frames_of_a_push();

    // Where the session begins and what commits the bundle, frame by frame; every sixth of the chunks in between.
    let few = 5;
    assert!(frames > 60, "{frames} frames: that is no push of 150 KB");
    let cuts: Vec<(usize, Passes)> = (0..frames)
        .filter(|frame| *frame < few || frame % 6 == 0 || *frame >= frames - few)
        .flat_map(|frame| [Passes::Nothing, Passes::Half, Passes::Almost].map(|p| (frame, p)))
        .collect();
    let mut failures = Vec::new();
    for (frame, passes) in cuts {
        let (told, cut) = channel();
        let address = cut_in_frame(door.address(), frame, passes, move |begun| {
            told.send(begun).expect("the test waits")
        });
        let target: Target = address.to_string().parse().expect("an address");
        let pushed = Client::connect(&target, door.credentials(), PATIENCE)
            .and_then(|mut client| client.push(&next, |_, _| {}));
        let begun = cut.recv_timeout(PATIENCE).expect("the line was cut");
        let name = format!("cut in frame {frame} of {frames}, {passes:?} of it passed");
        if let Ok(pushed) = pushed {
            failures.push(format!("{name}: {pushed:?}"));
        }
        if begun != frame + 1 {
            failures.push(format!("{name}: the host sent {begun} frames only"));
        }
        if !old.is_in(&state(&door, &data)) {
            failures.push(format!("{name}: the state changed"));
        }
        // Each cut starts from nothing received, so that every position is really reached.
        let mut client = door.client();
        if client.bundle_status().expect("an answer").staging.is_some() {
            client.bundle_abort().expect("an answer");
        }
        if bundles(&data) != old.bundles {
            failures.push(format!("{name}: something of it stays for good"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    door.client().push(&next, |_, _| {}).expect("an uncut line");
    let new = state(&door, &data);
    assert!(new.bundles != old.bundles, "another bundle");
    assert!(new.gallery.len() > old.gallery.len(), "one person more");
}

/// How many frames a host sends to push the later bundle of [`proven`] to that door, the commit being the last: measured at
/// another door of that kind.
fn frames_of_a_push() -> usize {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_, door, next) = proven(folder.path());
    // Pairing is no part of it.
    let credentials = door.credentials();
    let (told, counted) = channel();
    let address = cut_in_frame(door.address(), usize::MAX, Passes::Nothing, move |begun| {
        told.send(begun).expect("the test waits")
    });
    let target: Target = address.to_string().parse().expect("an address");
    let mut client = Client::connect(&target, credentials, PATIENCE).expect("the door answers");
    client.push(&next, |_, _| {}).expect("an uncut line");
    drop(client);
    counted.recv_timeout(PATIENCE).expect("the line is closed")
}

#[test]
fn a_door_killed_during_a_push_comes_back_with_the_old_state() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, mut door, next) = proven(folder.path());
    let old = state(&door, &data);
    let size = fs::metadata(&next).expect("packed").len();

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
            .and_then(|mut client| client.push(&next, |_, _| {}))
            .expect_err("the line is cut");
        cut.recv_timeout(PATIENCE).expect("the line was cut");
        // A cut line may swallow what was on its way: only what the door says it has must outlive the kill.
        let said = received(&door);
        door.kill();
        door = Door::start(&mut facelatchd(&data));
        let now = state(&door, &data);
        assert!(old.is_in(&now), "killed after {bytes} more bytes: {now:?}");
        kept = received(&door);
        assert!(kept >= said, "{said} bytes were there, {kept} after a kill");
        rounds += 1;
        if cuts.is_empty() && kept == 0 && rounds < 50 {
            cuts.push(size / 2);
        }
    }
    assert!(kept > 0, "nothing ever arrived: nothing was proven");
    let pushed = door.client().push(&next, |_, _| {}).expect("an uncut line");
    assert_eq!((pushed.saved, pushed.sent), (kept, pushed.size - kept));
    let new = state(&door, &data);
    assert!(new.bundles != old.bundles, "another bundle");
    assert!(new.gallery.len() > old.gallery.len(), "one person more");
    assert_eq!(door.stop().code, Some(0));
}

/// How much of a bundle the door has received so far.
fn received(door: &Door) -> u64 {
    let progress = door.client().bundle_status().expect("an answer");
    progress.staging.map_or(0, |staging| staging.received)
}
