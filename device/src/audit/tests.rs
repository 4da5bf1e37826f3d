//! The device's side of the record: power cuts, damage, full disks, rotation, and pages read meanwhile.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use facelatch_protocol::{
    DoorState, EventKind, Text,
    audit::{AuditPage, MAX_PAGE, MAX_RECORD, Record},
};
use tempfile::TempDir;

use super::{files::list, *};

const LIMITS: Limits = Limits {
    records_per_file: 4,
    files: 3,
};

fn locked() -> What {
    What::Event(EventKind::Door(DoorState::Locked))
}

fn filled(records: u64) -> TempDir {
    let dir = TempDir::new().unwrap();
    let mut audit = Audit::open(dir.path(), LIMITS).unwrap();
    for i in 1..=records {
        assert_eq!(audit.append(1000 + i, locked()).unwrap(), i);
    }
    dir
}

fn numbers(dir: &TempDir) -> Vec<u64> {
    let audit = Audit::open(dir.path(), LIMITS).unwrap();
    audit.entries().unwrap().iter().map(|e| e.seq).collect()
}

#[test]
fn records_survive_reopening_and_numbers_go_on() {
    let dir = filled(6);
    let mut audit = Audit::open(dir.path(), LIMITS).unwrap();
    assert_eq!(audit.append(2000, What::Stopped).unwrap(), 7);
    drop(audit);
    assert_eq!(numbers(&dir), (1..=7).collect::<Vec<_>>());
    assert_eq!(Audit::verify(dir.path()).unwrap().records, 7);
}

#[test]
fn it_is_bounded_and_the_rest_still_verifies() {
    let dir = filled(21);
    assert_eq!(numbers(&dir), (13..=21).collect::<Vec<_>>());
    assert_eq!(Audit::verify(dir.path()).unwrap().records, 9);
}

#[test]
fn a_power_cut_at_any_byte_costs_at_most_the_last_record() {
    let dir = filled(3);
    let (_, path) = list(dir.path()).unwrap().remove(0);
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        for zeros in [0, 7] {
            fs::write(&path, [&whole[..len], &vec![0; zeros]].concat()).unwrap();
            let mut audit = Audit::open(dir.path(), LIMITS)
                .unwrap_or_else(|e| panic!("cut at {len}, {zeros} zeros: {e}"));
            let seq = audit.append(5, What::Stopped).unwrap();
            assert!((1..=3).contains(&seq), "cut at {len}: {seq}");
            drop(audit);
            assert_eq!(Audit::verify(dir.path()).unwrap().records, seq);
        }
    }
}

#[test]
fn tampering_is_found() {
    type Damage = fn(&[PathBuf]);
    let damages: [(&str, Damage); 6] = [
        ("file removed", |files| fs::remove_file(&files[1]).unwrap()),
        ("file cut", |files| {
            let bytes = fs::read(&files[0]).unwrap();
            fs::write(&files[0], &bytes[..bytes.len() - 20]).unwrap();
        }),
        ("file emptied", |files| fs::write(&files[1], []).unwrap()),
        ("files exchanged", |files| {
            let bytes = fs::read(&files[0]).unwrap();
            fs::copy(&files[1], &files[0]).unwrap();
            fs::write(&files[1], bytes).unwrap();
        }),
        ("record removed", |files| {
            let bytes = fs::read(&files[2]).unwrap();
            let mut after = &bytes[36..];
            Record::take(&mut after).unwrap();
            fs::write(&files[2], [&bytes[..36], after].concat()).unwrap();
        }),
        ("record repeated", |files| {
            let bytes = fs::read(&files[2]).unwrap();
            let mut after = &bytes[36..];
            Record::take(&mut after).unwrap();
            let record = &bytes[36..bytes.len() - after.len()];
            fs::write(&files[2], [&bytes, record].concat()).unwrap();
        }),
    ];
    let mut failures = vec![];
    for (what, damage) in damages {
        let dir = filled(11);
        damage(&paths(&dir));
        for error in [
            Audit::verify(dir.path()).err(),
            Audit::open(dir.path(), LIMITS).err(),
        ] {
            if !matches!(error, Some(Error::AuditDamaged { .. })) {
                failures.push(format!("{what}: {error:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A changed byte may look like a power cut only where one leaves its mark: in the last record's last bytes, as a zero.
#[test]
fn no_changed_byte_goes_unnoticed() {
    let dir = filled(11);
    let mut failures = vec![];
    for path in paths(&dir) {
        let sound = fs::read(&path).unwrap();
        for at in 0..sound.len() {
            for mask in [0x01, 0x80, 0xff, sound[at]] {
                let mut bytes = sound.clone();
                bytes[at] ^= mask;
                fs::write(&path, &bytes).unwrap();
                let looks_cut = at + 1 == sound.len() && bytes[at] == 0;
                let is_served = page_walk(dir.path());
                match Audit::verify(dir.path()) {
                    Ok(_) if bytes == sound => {}
                    Ok(verified) if looks_cut && verified.records == 10 => {}
                    Err(Error::AuditDamaged { .. }) if bytes != sound => {}
                    other => failures.push(format!("{path:?} at {at}, {mask:#x}: {other:?}")),
                }
                if is_served == Some(11) && bytes != sound {
                    failures.push(format!("{path:?} at {at}, {mask:#x}: served as sound"));
                }
            }
        }
        fs::write(&path, sound).unwrap();
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

fn paths(dir: &TempDir) -> Vec<PathBuf> {
    let files = list(dir.path()).unwrap().into_iter();
    files.map(|(_, path)| path).collect()
}

/// How many records a host gets and finds sound; `None` if one does not hold or the door cannot read them.
fn page_walk(folder: &Path) -> Option<u64> {
    let mut chain: Option<Chain> = None;
    loop {
        let page = page(folder, chain.map_or(0, |chain| chain.next_seq)).ok()?;
        let first = Chain {
            next_seq: page.first_seq,
            last: page.before,
        };
        let chain = chain.get_or_insert(first);
        chain.take_page(&page, &mut |_| {}).ok()?;
        if page.records.is_empty() {
            return (page.head.last == chain.last).then_some(chain.next_seq - 1);
        }
    }
}

#[test]
fn the_disk_it_takes_is_bounded() {
    let dir = TempDir::new().unwrap();
    let mut audit = Audit::open(dir.path(), LIMITS).unwrap();
    let most = LIMITS.files * (HEADER_LEN as u64 + LIMITS.records_per_file * MAX_RECORD as u64);
    for _ in 0..100 {
        let text = Text::cut(&"x".repeat(160));
        audit
            .append(1, What::Event(EventKind::Fault(text)))
            .unwrap();
        let files = paths(&dir);
        let len: u64 = files.iter().map(|f| f.metadata().unwrap().len()).sum();
        assert!(len <= most && files.len() as u64 <= LIMITS.files, "{len}");
    }
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count() as u64,
        LIMITS.files
    );
}

#[test]
fn a_file_cut_short_while_it_was_begun_is_begun_again_even_with_other_limits() {
    let dir = filled(4);
    for left in [0, 10, 35] {
        let begun = dir.path().join("00000000000000000005.log");
        fs::write(&begun, vec![7; left]).unwrap();
        assert_eq!(page_walk(dir.path()), Some(4));
        let wider = Limits {
            records_per_file: 100,
            files: 3,
        };
        drop(Audit::open(dir.path(), wider).unwrap());
        assert!(!begun.exists(), "{left} bytes");
    }
}

#[test]
fn pages_hold_whole_records_from_anywhere() {
    let dir = filled(21);
    let head = page(dir.path(), 0).unwrap().head;
    assert_eq!((head.first_seq, head.next_seq), (13, 22));
    assert_eq!(head.last, Audit::verify(dir.path()).unwrap().last);
    for from in [0, 12, 13, 14, 17, 20, 21] {
        let page = page(dir.path(), from).unwrap();
        assert_eq!((page.head, page.first_seq), (head, from.max(13)));
        assert!(!page.records.is_empty(), "from {from}");
    }
    for from in [22, 23, u64::MAX] {
        let page = page(dir.path(), from).unwrap();
        let AuditPage {
            first_seq,
            before,
            records,
            ..
        } = page;
        assert_eq!((first_seq, before), (22, head.last));
        assert!(records.is_empty());
    }
    assert_eq!(page_walk(dir.path()), Some(21));
    let empty = TempDir::new().unwrap();
    assert_eq!(page_walk(empty.path()), Some(0));
    drop(Audit::open(empty.path(), LIMITS).unwrap());
    assert_eq!(page_walk(empty.path()), Some(0));
}

#[test]
fn a_page_is_full_before_the_next_begins() {
    let dir = TempDir::new().unwrap();
    let limits = Limits {
        records_per_file: 100,
        files: 2,
    };
    let mut audit = Audit::open(dir.path(), limits).unwrap();
    for _ in 0..60 {
        audit.append(1, locked()).unwrap();
    }
    let record = 2 + 5 + 32;
    let page = page(dir.path(), 1).unwrap();
    assert!(page.records.len() + record > MAX_PAGE, "{page:?}");
    assert_eq!(page_walk(dir.path()), Some(60));
}

#[test]
fn half_a_record_is_not_there_yet() {
    let dir = filled(3);
    let path = paths(&dir).remove(0);
    let whole = fs::read(&path).unwrap();
    for len in HEADER_LEN..whole.len() {
        for zeros in [0, 1, 7, 99] {
            fs::write(&path, [&whole[..len], &vec![0; zeros]].concat()).unwrap();
            let records = (len - HEADER_LEN) as u64 * 3 / (whole.len() - HEADER_LEN) as u64;
            let found = page_walk(dir.path());
            // Zeros may be what the record had there.
            let same = whole[len..].iter().take(zeros).all(|byte| *byte == 0);
            assert!(
                found == Some(records) || same,
                "cut at {len}, {zeros} zeros: {found:?}"
            );
        }
    }
}

#[test]
fn pages_hold_while_records_are_added_and_files_go_away() {
    let dir = filled(1);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut audit = Audit::open(dir.path(), LIMITS).unwrap();
            for _ in 0..400 {
                audit.append(1, locked()).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut chain = Chain::BEGINNING;
        while !done.load(Ordering::SeqCst) {
            let page = page(dir.path(), chain.next_seq).unwrap();
            if page.first_seq > chain.next_seq {
                assert_eq!(page.first_seq, page.head.first_seq);
                (chain.next_seq, chain.last) = (page.first_seq, page.before);
            }
            chain.take_page(&page, &mut |_| {}).unwrap();
        }
    });
    assert_eq!(page(dir.path(), 0).unwrap().head.next_seq, 402);
}

/// A disk with little room left.
struct Full {
    written: Vec<u8>,
    room: usize,
}

impl Medium for Full {
    fn append_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.written.truncate(offset as usize);
        let fits = bytes
            .len()
            .min(self.room.saturating_sub(self.written.len()));
        self.written.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

#[test]
fn a_full_disk_refuses_and_later_goes_on_without_a_gap() {
    let mut audit = Audit {
        folder: PathBuf::from("audit"),
        limits: LIMITS,
        medium: Full {
            written: vec![],
            room: 100,
        },
        sound: 0,
        in_file: 0,
        chain: Chain::BEGINNING,
    };
    assert_eq!(audit.append_here(1, locked()).unwrap(), 1);
    assert_eq!(audit.append_here(2, locked()).unwrap(), 2);
    let error = audit.append_here(3, locked()).unwrap_err();
    assert!(matches!(error, Error::Storage { .. }), "{error}");
    audit.medium.room = 1000;
    assert_eq!(audit.append_here(3, What::Stopped).unwrap(), 3);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("00000000000000000001.log");
    fs::write(
        path,
        [b"FLA1".as_slice(), &[0; 32], &audit.medium.written].concat(),
    )
    .unwrap();
    assert_eq!(Audit::verify(dir.path()).unwrap().records, 3);
}
