//! Real daemons, killed at random moments while people come and go: whatever they had done was on record, and none held the
//! door open for longer than configured while it lived. What a killed process leaves its relay at is the wiring's affair;
//! the next start puts it at rest.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use facelatch_boards::BUILT_IN;
use facelatch_device::audit::Entry;
use facelatch_tests::programs::program;

use crate::{
    Random,
    judge::{Rules, Seen, cause, door, judge, opens},
    seed,
    stage::{DEADLINE, Stage, photo, zoo},
};

const UNLOCK: Duration = Duration::from_millis(200);
/// A machine that is busy elsewhere may let the daemon wait this long; the manual clocks of `life` are exact.
const BUSY: Duration = Duration::from_secs(2);
/// The longest life, in milliseconds from the start; and from an unlocking.
const LIFE_MS: u64 = 1_000;
const OPEN_MS: u64 = 400;

#[test]
fn daemons_killed_at_any_moment_had_opened_nothing_unrecorded() {
    kill(100);
}

#[test]
#[ignore = "takes a quarter of an hour: cargo test --release -p facelatch-tests --test relay_safety -- --ignored"]
fn daemons_killed_a_thousand_times_had_opened_nothing_unrecorded() {
    kill(1_000);
}

struct Doors {
    stage: Stage,
    relay: PathBuf,
}

impl Doors {
    fn set_up() -> Doors {
        let stage = Stage::enrolled();
        let path = |name: &str| stage.dir.path().join(name);
        fs::create_dir(path("photos")).unwrap();
        fs::copy(photo("visitors/obama2.jpg"), path("photos/a.jpg")).unwrap();
        fs::copy(photo("visitors/rocket.jpg"), path("photos/b.jpg")).unwrap();
        let sim = BUILT_IN.into_iter().find(|(name, _)| *name == "sim");
        let mut board = sim.expect("built in").1.to_owned();
        for (text, instead) in [
            ("at_end = \"wait\"", "at_end = \"loop\""),
            ("frame_interval_ms = 100", "frame_interval_ms = 20"),
            ("frames_per_photo = 10", "frames_per_photo = 4"),
            ("gap_frames = 40", "gap_frames = 3"),
        ] {
            assert!(board.contains(text), "the sim board says nothing of {text}");
            board = board.replace(text, instead);
        }
        let relay = path("relay.jsonl");
        fs::write(
            path("board.toml"),
            format!("{board}\nrelay_record = {relay:?}\n"),
        )
        .unwrap();
        let mut config = stage.config.clone();
        config.door.unlock_ms = UNLOCK.as_millis() as u64;
        config.camera.frame_interval_ms = 20;
        config.vote.repeat_ms = 100;
        config.lockout.denials = 0;
        config.audit.files = 10_000;
        fs::write(path("device.toml"), config.to_text()).unwrap();
        Doors { stage, relay }
    }

    /// Starts one, and ends it after a while, counted from its first unlocking or from its start, with this signal; when that
    /// was, in wall time.
    fn live(&self, opens_first: bool, life: Duration, signal: &str) -> u64 {
        let opened = self.unlockings();
        let path = |name: &str| self.stage.dir.path().join(name);
        let mut child = Command::new(program("facelatchd"))
            .arg("--board")
            .arg(path("board.toml"))
            .arg("--config")
            .arg(path("device.toml"))
            .arg("--data")
            .arg(self.stage.data())
            .arg("--replay")
            .arg(path("photos"))
            .arg("--zoo")
            .arg(zoo().dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while opens_first && self.unlockings() == opened {
            assert!(began.elapsed() < DEADLINE, "it never opens");
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            thread::sleep(Duration::from_millis(2));
        }
        thread::sleep(life);
        let pid = child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success(), "it ended by itself");
        child.wait().unwrap();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        since.as_millis() as u64
    }

    fn unlockings(&self) -> usize {
        let text = fs::read_to_string(&self.relay).unwrap_or_default();
        text.matches("unlocked").count()
    }

    /// The relay's record: one life after the other, each begun by the opening of the board.
    fn lives(&self, entries: &[Entry]) -> Vec<Vec<Seen>> {
        let text = fs::read_to_string(&self.relay).unwrap();
        let mut lives: Vec<Vec<Seen>> = vec![];
        for line in text.lines() {
            let edge: serde_json::Value = serde_json::from_str(line).unwrap();
            let at = Duration::from_millis(edge["at_ms"].as_u64().unwrap());
            let unix_ms = edge["unix_ms"].as_u64().unwrap();
            let mut seen = Seen {
                at,
                unix_ms,
                open: edge["relay"] == "on",
                seq: 0,
                unrecordable: false,
                way_out_until: Duration::ZERO,
            };
            let seq = |before: u64| {
                let known = entries.partition_point(|entry| entry.unix_ms < before);
                known.checked_sub(1).map_or(0, |at| entries[at].seq)
            };
            // A relay turns on and off and on again, by a clock that begins with its board.
            let goes_on = |life: &&mut Vec<Seen>| {
                life.last()
                    .is_some_and(|last| last.open != seen.open && last.at <= at)
            };
            match lives.last_mut().filter(goes_on) {
                Some(life) => {
                    // Records come before the unlocking and after the locking, often within the same millisecond.
                    seen.seq = match life.last().filter(|_| !seen.open) {
                        Some(opened) => opened.seq.max(seq(unix_ms)),
                        None => opening(entries, unix_ms),
                    };
                    life.push(seen);
                }
                None => lives.push(vec![seen]),
            }
        }
        lives
    }
}

/// The number of the last record before an unlocking in this millisecond: the one that says so. What else was recorded in
/// the same millisecond came after it.
fn opening(entries: &[Entry], unix_ms: u64) -> u64 {
    let known = entries.partition_point(|entry| entry.unix_ms <= unix_ms);
    let after = |entry: &&Entry| entry.unix_ms == unix_ms && !door(entry).is_some_and(opens);
    let after = entries[..known].iter().rev().take_while(after).count();
    let before = known - after;
    before.checked_sub(1).map_or(0, |at| entries[at].seq)
}

fn kill(kills: u32) {
    let seed = seed();
    let mut random = Random::new(seed);
    let doors = Doors::set_up();
    let mut ends = vec![];
    for kill in 0..kills {
        // The first one compiles the networks in its own time.
        let opens_first = kill == 0 || random.chance(60);
        let longest = if opens_first { OPEN_MS } else { LIFE_MS };
        let life = Duration::from_millis(random.below(longest));
        let signal = if random.chance(15) { "-TERM" } else { "-KILL" };
        ends.push((doors.live(opens_first, life, signal), signal));
    }
    let entries = doors.stage.entries();
    let rules = Rules {
        unlock: UNLOCK,
        late: BUSY,
        wall_jumps: false,
    };
    let (mut opened, mut died_open, mut violations) = (0, 0, vec![]);
    for mut life in doors.lives(&entries) {
        let last = *life.last().expect("a life begins with an edge");
        let (ended, signal) = *ends
            .iter()
            .find(|(ended, _)| *ended >= last.unix_ms)
            .expect("every life was ended");
        if life[0].open {
            violations.push(format!("it did not start at rest: {:?}", life[0]));
        }
        opened += life.iter().filter(|seen| seen.open).count();
        if last.open {
            died_open += 1;
            if signal == "-TERM" {
                violations.push(format!("stopped in order, and open: {last:?}"));
            }
            // It held the door until it died.
            life.push(Seen {
                at: last.at + Duration::from_millis(ended - last.unix_ms),
                unix_ms: ended,
                open: false,
                ..last
            });
        }
        violations.extend(judge(&life, &entries, &rules));
    }
    let granted = entries
        .iter()
        .filter(|entry| cause(entry).is_some())
        .count();
    println!("{kills} kills; {granted} grants, {opened} unlockings, {died_open} killed in one");
    assert!(
        violations.is_empty(),
        "FACELATCH_SEED={seed}: {violations:#?}"
    );
    assert!(
        opened >= kills as usize / 3 && died_open > 0,
        "FACELATCH_SEED={seed}: hardly any door opened"
    );
}
