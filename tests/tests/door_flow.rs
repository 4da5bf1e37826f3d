//! From photos to a moved relay: the real daemon on the sim board, people pushed over TCP, visitors replayed from photos.

use std::fs;
use std::path::Path;

use facelatch_protocol::{EventKind, Reason};
use facelatch_tests::door::{Door, facelatchd};
use facelatch_tests::people::enrolled;
use facelatch_tests::programs::data;

/// How long a grant keeps the door unlocked here.
const UNLOCK_MS: u64 = 1_000;
/// Time from one frame to the next; the manual clock moves by no less.
const FRAME_MS: u64 = 100;

struct Visitor {
    photo: &'static str,
    brightness: f32,
    /// Who gets in, if anybody does.
    person: Option<&'static str>,
    /// The one reason for it, where there is only one.
    reason: Option<Reason>,
}

fn visitors() -> [Visitor; 7] {
    let visitor = |photo, brightness, person, reason| Visitor {
        photo,
        brightness,
        person,
        reason,
    };
    [
        visitor(
            "obama2.jpg",
            1.0,
            Some("barack_obama"),
            Some(Reason::Granted),
        ),
        visitor("biden.jpg", 1.0, None, None),
        visitor("chelsea.png", 1.0, None, None),
        visitor(
            "obama3.jpg",
            1.0,
            Some("barack_obama"),
            Some(Reason::Granted),
        ),
        visitor("obama2.jpg", 0.02, None, Some(Reason::Dark)),
        visitor("obama_partial_face.jpg", 1.0, None, None),
        visitor("rocket.jpg", 1.0, None, Some(Reason::NoFace)),
    ]
}

/// Photos in a folder with a `replay.toml` that shows them in this order.
fn replay(folder: &Path, visitors: &[Visitor]) {
    fs::create_dir_all(folder).expect("a new folder");
    let mut list = String::new();
    for (i, visitor) in visitors.iter().enumerate() {
        let from = data("demo/visitors").join(visitor.photo);
        fs::copy(&from, folder.join(visitor.photo)).expect("a shipped photo");
        list.push_str(&format!(
            "[[visitor]]\nphoto = \"{}\"\nbrightness = {:?}\nlabel = \"visitor {i}\"\n",
            visitor.photo, visitor.brightness
        ));
    }
    fs::write(folder.join("replay.toml"), list).expect("a small file");
}

/// The sim board with a clock that moves by the frames, and nothing to see between two visitors.
fn board(folder: &Path) -> std::path::PathBuf {
    let text = facelatch_boards::BUILT_IN
        .iter()
        .find(|(name, _)| *name == "sim")
        .expect("built in")
        .1;
    let text = text
        .replace("gap = \"wall\"", "gap = \"nothing\"")
        .replace(
            "frame_interval_ms = 100",
            &format!("frame_interval_ms = {FRAME_MS}"),
        )
        .replace(
            "clock = \"system\"",
            "clock = \"manual\"\nrelay_record = \"relay.jsonl\"",
        );
    let path = folder.join("board.toml");
    fs::write(&path, text).expect("a small file");
    path
}

/// `(on, at_ms)` for each line of the relay's record.
fn edges(record: &Path) -> Vec<(bool, u64)> {
    let text = fs::read_to_string(record).expect("the relay's record");
    let edge = |line: &str| {
        let edge: serde_json::Value = serde_json::from_str(line).expect("a JSON object a line");
        (
            edge["relay"] == "on",
            edge["at_ms"].as_u64().expect("a time"),
        )
    };
    text.lines().map(edge).collect()
}

#[test]
fn the_enrolled_get_in_and_nobody_else_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let door_data = folder.path().join("door");
    fs::create_dir(&door_data).expect("a new folder");
    fs::write(
        door_data.join("device.toml"),
        // Photos stand for people, who would move.
        format!("[door]\nunlock_ms = {UNLOCK_MS}\n[liveness]\nlevel = \"off\"\n"),
    )
    .expect("a small file");

    let door = Door::start(&mut facelatchd(&door_data));
    door.client()
        .push(&enrolled().bundle(), |_, _| {})
        .expect("a good bundle");
    assert_eq!(door.stop().code, Some(0), "stopped in order");

    let visitors = visitors();
    let photos = folder.path().join("visitors");
    replay(&photos, &visitors);
    let board = board(folder.path());
    let door = Door::start(
        facelatchd(&door_data)
            .arg("--board")
            .arg(&board)
            .arg("--replay")
            .arg(&photos)
            .arg("--once"),
    );
    // All events from the first on; the stream ends when the door does.
    let client = door.client();
    let mut decisions = Vec::new();
    for event in client
        .events(1)
        .expect("the door answers")
        .map_while(Result::ok)
    {
        if let EventKind::Decision {
            granted,
            reason,
            person,
            ..
        } = event.kind
        {
            decisions.push((granted, reason, person));
        }
    }
    let ended = door.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.err);

    let mut failures = Vec::new();
    for (i, visitor) in visitors.iter().enumerate() {
        let name = format!(
            "{i}: {} at brightness {}",
            visitor.photo, visitor.brightness
        );
        match decisions.get(i) {
            None => failures.push(format!("{name}: no decision")),
            Some((granted, reason, person)) => {
                let person = person
                    .as_ref()
                    .filter(|_| *granted)
                    .map(ToString::to_string);
                if *granted != visitor.person.is_some() || person.as_deref() != visitor.person {
                    failures.push(format!("{name}: granted {granted}, {reason:?}, {person:?}"));
                }
                if visitor.reason.is_some_and(|want| want != *reason) {
                    failures.push(format!("{name}: {reason:?}, not {:?}", visitor.reason));
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{}\n{decisions:?}\n{}",
        failures.join("\n"),
        ended.err
    );
    assert_eq!(
        decisions.len(),
        visitors.len(),
        "one decision a visitor: {decisions:?}"
    );

    let edges = edges(&folder.path().join("relay.jsonl"));
    let grants = visitors.iter().filter(|v| v.person.is_some()).count();
    assert_eq!(
        edges.first().map(|e| e.0),
        Some(false),
        "at rest from the start"
    );
    assert_eq!(
        edges.len(),
        1 + 2 * grants,
        "on and off for each grant, nothing else: {edges:?}"
    );
    for pair in edges[1..].chunks(2) {
        let [(true, on), (false, off)] = pair else {
            panic!("on, then off: {edges:?}")
        };
        let held = off - on;
        assert!(
            (UNLOCK_MS..=UNLOCK_MS + 2 * FRAME_MS).contains(&held),
            "unlocked for {held} ms"
        );
    }
}

#[test]
fn a_fault_puts_the_relay_at_rest_and_the_log_says_which() {
    struct Case {
        name: &'static str,
        faults: &'static str,
        says: &'static str,
        /// What the relay did: off, or off, on, off.
        edges: usize,
    }
    let cases = [
        Case {
            name: "the camera vanishes while the door is unlocked",
            // The grant comes with the third good frame at the earliest; the visit has ten.
            faults: "camera_lost_at_frame = 8",
            says: "injected fault at frame 8",
            edges: 3,
        },
        Case {
            name: "the relay fails when it is to unlock",
            faults: "relay_fails_at_move = 0",
            says: "injected fault at move 0",
            edges: 1,
        },
    ];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let door_data = folder.path().join("door");
    fs::create_dir(&door_data).expect("a new folder");
    let settings = "[liveness]\nlevel = \"off\"\n";
    fs::write(door_data.join("device.toml"), settings).expect("a small file");
    let door = Door::start(&mut facelatchd(&door_data));
    door.client()
        .push(&enrolled().bundle(), |_, _| {})
        .expect("a good bundle");
    assert_eq!(door.stop().code, Some(0), "stopped in order");
    let photos = folder.path().join("visitors");
    replay(&photos, &visitors()[..1]);

    for case in cases {
        let board = board(folder.path());
        let text = fs::read_to_string(&board).expect("just written");
        fs::write(&board, format!("{text}\n[sim.faults]\n{}\n", case.faults))
            .expect("a small file");
        let record = folder.path().join("relay.jsonl");
        if record.exists() {
            fs::remove_file(&record).expect("the last case's");
        }
        let mut door = Door::start(
            facelatchd(&door_data)
                .arg("--board")
                .arg(&board)
                .arg("--replay")
                .arg(&photos),
        );
        door.wait_for(case.says);
        // The door says so once its relay has been told.
        door.wait_for("door fault");
        assert_eq!(
            edges(&record).len(),
            case.edges,
            "{}: {:?}",
            case.name,
            edges(&record)
        );
        assert_eq!(
            edges(&record).last().map(|e| e.0),
            Some(false),
            "{}",
            case.name
        );
        door.stop();
        assert_eq!(
            edges(&record).last().map(|e| e.0),
            Some(false),
            "{}: after the stop",
            case.name
        );
    }
}
