//! The ledger: kept, ended by time and operators, damaged in every byte, on a disk that cannot be written.

use super::*;

const RULES: Rules = Rules {
    denials: 5,
    first: Duration::from_secs(30),
    longest: Duration::from_secs(900),
    disable_after: 50,
};
const NOW: Duration = Duration::from_secs(10);
const VISIT: Entry = Entry {
    counted: true,
    inside_since_unix_ms: Some(1_000),
    pin: false,
};

fn id(text: &str) -> PersonId {
    PersonId::parse(text).unwrap()
}

struct Door {
    folder: tempfile::TempDir,
    key: Key,
}

impl Door {
    fn new() -> Door {
        Door {
            folder: tempfile::tempdir().unwrap(),
            key: Key::random().unwrap(),
        }
    }

    fn open(&self, is_first: bool) -> Ledger {
        Ledger::open(self.folder.path(), &self.key, is_first, NOW).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }
}

#[test]
fn everything_is_there_after_a_restart() {
    let door = Door::new();
    let mut ledger = door.open(true);
    for _ in 0..5 {
        ledger.face_denied(NOW, &RULES).1.unwrap();
        ledger.pin_denied(&id("bob"), NOW, &RULES).1.unwrap();
    }
    let ledger = door.open(false);
    assert_eq!(ledger.faces().denials(), 5);
    let lock = Some(Lock::Until(Duration::from_secs(40)));
    assert_eq!(ledger.faces().lock(NOW, &RULES), lock);
    assert_eq!(ledger.pin_lock(&id("bob"), NOW, &RULES), lock);
    assert_eq!(ledger.pin_lock(&id("ada"), NOW, &RULES), None);

    let mut ledger = door.open(false);
    ledger.let_in(&id("ada"), VISIT, NOW).unwrap();
    let ledger = door.open(false);
    assert_eq!(ledger.faces(), Attempts::default());
    assert!(ledger.pin_lock(&id("bob"), NOW, &RULES).is_some());
    assert_eq!(ledger.visits(&id("ada")), 1);
    assert_eq!(ledger.inside(1_000, Duration::MAX), 1);
    let bytes = fs::read(door.file()).unwrap();
    assert!(!bytes.windows(3).any(|part| part == b"ada"), "in clear");
}

#[test]
fn who_is_inside_leaves_is_forgotten_in_time_or_was_not_let_in() {
    let door = Door::new();
    let mut ledger = door.open(true);
    let (ada, hour) = (id("ada"), Duration::from_secs(3_600));
    assert!(!ledger.is_inside(&ada, 1_000, hour));
    ledger.let_in(&ada, VISIT, NOW).unwrap();
    let inside = [
        (1_000, hour, true),
        // The clock was not set yet.
        (0, hour, true),
        (3_600_999, hour, true),
        (3_601_000, hour, false),
        (u64::MAX, Duration::MAX, true),
    ];
    for (unix_ms, forget_after, expected) in inside {
        assert_eq!(ledger.is_inside(&ada, unix_ms, forget_after), expected);
    }
    ledger.left(&ada, NOW).unwrap();
    assert!(!ledger.is_inside(&ada, 1_000, Duration::MAX));
    assert_eq!(ledger.visits(&ada), 1);
    let before = ledger.let_in(&ada, VISIT, NOW).unwrap();
    let again = ledger.let_in(&ada, VISIT, NOW).unwrap();
    ledger.take_back(&ada, again, NOW).unwrap();
    let inside = ledger.inside(1_000, Duration::MAX);
    assert_eq!((ledger.visits(&ada), inside), (2, 1), "still inside");
    ledger.take_back(&ada, before, NOW).unwrap();
    let ledger = door.open(false);
    let inside = ledger.inside(1_000, Duration::MAX);
    assert_eq!((ledger.visits(&ada), inside), (1, 0));
}

#[test]
fn lockouts_end_by_time_by_an_operator_and_are_not_begun_again() {
    let door = Door::new();
    let mut ledger = door.open(true);
    for _ in 0..5 {
        ledger.face_denied(NOW, &RULES).1.unwrap();
    }
    let over = NOW + Duration::from_secs(30);
    assert!(!ledger.tick(NOW).0);
    let (ended, kept) = ledger.tick(over);
    assert!(ended && kept.is_ok());
    let mut ledger = door.open(false);
    assert_eq!(ledger.faces().lock(NOW, &RULES), None);
    assert_eq!(ledger.faces().denials(), 5, "the next one is longer");
    ledger.clear(NOW).unwrap();
    assert_eq!(door.open(false).faces().denials(), 0);
}

#[test]
fn every_damage_is_one_until_an_operator_begins_anew() {
    let door = Door::new();
    drop(door.open(true));
    let mut ledger = door.open(false);
    ledger.let_in(&id("ada"), VISIT, NOW).unwrap();
    let whole = fs::read(door.file()).unwrap();
    let damages = (0..whole.len()).flat_map(|at| {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        [changed, whole[..at].to_vec()]
    });
    for bytes in damages {
        fs::write(door.file(), &bytes).unwrap();
        // Nor is it made anew because the door takes this for its first start.
        for is_first in [false, true] {
            let mut ledger = door.open(is_first);
            assert!(ledger.damaged().is_some());
            assert!(ledger.let_in(&id("bob"), VISIT, NOW).is_err());
            assert!(ledger.clear(NOW).is_err());
            assert!(ledger.face_denied(NOW, &RULES).1.is_err());
            assert_eq!(fs::read(door.file()).unwrap(), bytes);
        }
    }
    fs::remove_file(door.file()).unwrap();
    let mut ledger = door.open(false);
    assert_eq!(ledger.damaged(), Some("it is gone"));
    ledger.begin_anew(NOW).unwrap();
    assert_eq!(ledger.damaged(), None);
    assert_eq!(door.open(false).damaged(), None);
    assert_eq!(door.open(false).visits(&id("ada")), 0);
}

#[test]
fn what_cannot_be_written_lets_nobody_in_and_forgets_no_denial() {
    let door = Door::new();
    let mut ledger = door.open(true);
    for _ in 0..4 {
        ledger.face_denied(NOW, &RULES).1.unwrap();
    }
    // A folder in its place: root may write anywhere.
    let away = door.folder.path().join("away");
    fs::rename(door.file(), &away).unwrap();
    fs::create_dir(door.file()).unwrap();
    assert!(ledger.let_in(&id("ada"), VISIT, NOW).is_err());
    assert_eq!(ledger.visits(&id("ada")), 0);
    assert_eq!(ledger.faces().denials(), 4);
    assert!(ledger.clear(NOW).is_err());
    let (lock, kept) = ledger.face_denied(NOW, &RULES);
    assert!(lock.is_some() && kept.is_err());
    assert!(ledger.faces().lock(NOW, &RULES).is_some());
    fs::remove_dir(door.file()).unwrap();
    fs::rename(&away, door.file()).unwrap();
    ledger.save(NOW).unwrap();
    assert_eq!(door.open(false).faces().denials(), 5);
}

#[test]
fn people_who_are_gone_are_forgotten_and_renamed_ones_are_not() {
    let door = Door::new();
    let mut ledger = door.open(true);
    for person in ["ada", "bob"] {
        ledger.let_in(&id(person), VISIT, NOW).unwrap();
    }
    ledger.rename(&id("bob"), &id("robert"), NOW).unwrap();
    ledger.keep_only(NOW, |person| **person != *"ada").unwrap();
    let ledger = door.open(false);
    let visits = ["ada", "bob", "robert"].map(|person| ledger.visits(&id(person)));
    assert_eq!(visits, [0, 0, 1]);
}
