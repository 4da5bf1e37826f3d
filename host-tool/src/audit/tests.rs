//! What is found in a record, and what is not without a pin; any record, any place.

use std::cell::Cell;

use facelatch_protocol::{EventKind, PersonId, Text, audit::What};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        Just(What::Stopped),
        "[ -~]{0,60}".prop_map(|text| What::Event(EventKind::Fault(Text::cut(&text)))),
        "[a-m]{1,9}".prop_map(|id| What::PersonRenamed {
            person: PersonId::parse(&id).unwrap()
        }),
        any::<i64>().prop_map(|moved_ms| What::ClockSet { moved_ms }),
    ]
}

/// A sound record and its records one by one; it begins at a number after `older` deleted ones.
#[derive(Debug, Clone)]
struct Sound {
    export: Export,
    records: Vec<Vec<u8>>,
}

fn sound(most: usize) -> impl Strategy<Value = Sound> {
    (vec(what(), 1..most), 0usize..4, any::<u64>()).prop_map(|(whats, older, unix_ms)| {
        let older = older.min(whats.len() - 1);
        made(&whats, older, unix_ms)
    })
}

fn made(whats: &[What], older: usize, unix_ms: u64) -> Sound {
    let mut chain = Chain::BEGINNING;
    let mut first = chain;
    let mut records = vec![];
    for (i, what) in whats.iter().enumerate() {
        if i == older {
            first = chain;
        }
        let (record, next) = chain.continued(unix_ms, what.clone()).unwrap();
        records.push(record.to_vec());
        chain = next;
    }
    records.drain(..older);
    let export = Export {
        door: PublicKey([7; 32]),
        unix_ms,
        head: AuditHead {
            first_seq: first.next_seq,
            next_seq: chain.next_seq,
            last: chain.last,
        },
        before: first.last,
        records: records.concat(),
    };
    Sound { export, records }
}

impl Sound {
    fn first_seq(&self) -> u64 {
        self.export.head.first_seq
    }

    fn pin(&self, at: usize) -> Pin {
        Pin {
            seq: self.first_seq() + at as u64,
            hash: Digest(*self.records[at].last_chunk().unwrap()),
        }
    }

    /// The record made of these, with a head that fits their number and last hash, as a forger would write it.
    fn forged(&self, records: &[Vec<u8>]) -> Export {
        let last = records.last().and_then(|record| record.last_chunk());
        let head = AuditHead {
            first_seq: self.first_seq(),
            next_seq: self.first_seq() + records.len() as u64,
            last: last.map_or(self.export.before, |hash| Digest(*hash)),
        };
        Export {
            head,
            records: records.concat(),
            ..self.export.clone()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_sound_record_holds_and_survives_its_file(sound in sound(20), pin in any::<Index>()) {
        let export = Export::parse(&sound.export.to_bytes()).unwrap();
        prop_assert_eq!(&export, &sound.export);
        let verified = export.verify(None).unwrap();
        prop_assert_eq!(verified.records, sound.records.len() as u64);
        prop_assert_eq!(verified.last, Some(sound.pin(sound.records.len() - 1)));
        prop_assert_eq!(verified.seen, Seen::Nothing);
        let pin = sound.pin(pin.index(sound.records.len()));
        prop_assert_eq!(export.verify(Some(pin)).unwrap().seen, Seen::Same);
        prop_assert_eq!(Pin::parse(&pin.to_string()), Ok(pin));
    }

    /// Every byte of the file, each with this mask.
    #[test]
    fn every_changed_byte_is_found_and_its_record_named(sound in sound(9), mask in 1u8..) {
        let bytes = sound.export.to_bytes();
        let ends: Vec<usize> = sound.records.iter().scan(HEADER_LEN, |end, record| {
            *end += record.len();
            Some(*end)
        }).collect();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= mask;
            let Some(export) = Export::parse(&changed) else {
                prop_assert!(at < HEADER_LEN, "byte {} of the records", at);
                continue;
            };
            let flaw = export.verify(None).unwrap_err();
            let record = ends.partition_point(|end| *end <= at) as u64;
            prop_assert_eq!(flaw.seq(), sound.first_seq() + record, "byte {}: {}", at, flaw);
        }
    }

    #[test]
    fn every_removed_record_is_found(sound in sound(12)) {
        for at in 0..sound.records.len() {
            let mut records = sound.records.clone();
            records.remove(at);
            let is_last = at == records.len();
            let seq = sound.first_seq() + at as u64;
            let mut kept_head = sound.forged(&records);
            kept_head.head = sound.export.head;
            prop_assert_eq!(kept_head.verify(None).unwrap_err().seq(), seq);
            let pin = sound.pin(sound.records.len() - 1);
            let forged = sound.forged(&records);
            prop_assert_eq!(forged.verify(Some(pin)).unwrap_err().seq(), seq);
            // Without a pin, a shorter record is as good as any.
            prop_assert_eq!(forged.verify(None).is_ok(), is_last);
        }
    }

    #[test]
    fn every_exchange_of_two_records_is_found(sound in sound(12)) {
        for i in 0..sound.records.len() {
            for j in i + 1..sound.records.len() {
                let mut records = sound.records.clone();
                records.swap(i, j);
                let flaw = sound.forged(&records).verify(None).unwrap_err();
                prop_assert_eq!(flaw.seq(), sound.first_seq() + i as u64, "{} and {}", i, j);
            }
        }
    }

    #[test]
    fn every_added_record_is_found(sound in sound(12), other in what(), at in any::<Index>()) {
        let at = at.index(sound.records.len() + 1);
        let seq = sound.first_seq() + at as u64;
        let (stray, _) = Chain { next_seq: seq, last: Digest([3; 32]) }.continued(1, other).unwrap();
        let repeated = sound.records[at.min(sound.records.len() - 1)].clone();
        for added in [stray.to_vec(), repeated] {
            let mut records = sound.records.clone();
            records.insert(at, added);
            let flaw = sound.forged(&records).verify(None).unwrap_err();
            prop_assert!(flaw.seq() == seq || flaw.seq() == seq + 1, "{}", flaw);
        }
    }

    #[test]
    fn a_cut_off_end_and_a_record_written_anew_are_found_by_a_pin(
        sound in sound(12),
        other in vec(what(), 20..24),
        keep in any::<Index>(),
        pin in any::<Index>(),
    ) {
        let pin = sound.pin(pin.index(sound.records.len()));
        let keep = keep.index(sound.records.len());
        let cut = sound.forged(&sound.records[..keep]);
        let is_kept = pin.seq < cut.head.next_seq;
        match cut.verify(Some(pin)) {
            // What was before the first record kept is told by the first record.
            Ok(verified) => prop_assert!(is_kept && verified.seen == Seen::Same),
            Err(flaw) => prop_assert_eq!(
                flaw,
                Flaw::CutOff { seq: pin.seq, next_seq: cut.head.next_seq }
            ),
        }
        let anew = made(&other, 0, 1);
        let found = anew.export.verify(Some(pin));
        prop_assert_eq!(found, Err(Flaw::Rewritten { seq: pin.seq }));
    }

    #[test]
    fn bytes_that_are_no_record_never_verify_and_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert_eq!(Export::parse(&bytes), None);
        let export = Export { records: bytes.clone(), ..made(&[What::Stopped], 0, 1).export };
        prop_assert!(export.verify(None).is_err());
    }

    #[test]
    fn a_record_is_got_whole_whatever_the_pages(
        sound in sound(30),
        per_page in 1usize..5,
        added_meanwhile in any::<bool>(),
    ) {
        let got = fetched(&sound, sound.records.len() - usize::from(added_meanwhile), per_page);
        let verified = got.verify(None).unwrap();
        prop_assert_eq!(verified.first_seq, sound.first_seq());
        prop_assert_eq!(
            verified.records + u64::from(added_meanwhile),
            sound.records.len() as u64
        );
    }
}

fn page(sound: &Sound, from: u64, head: AuditHead, per_page: usize) -> AuditPage {
    let at = (from.max(sound.first_seq()) - sound.first_seq()) as usize;
    let bytes: Vec<u8> = sound.records[at..]
        .iter()
        .take(per_page)
        .flatten()
        .copied()
        .collect();
    AuditPage {
        head,
        first_seq: sound.first_seq() + at as u64,
        before: at
            .checked_sub(1)
            .map_or(sound.export.before, |at| sound.pin(at).hash),
        records: bytes.into_iter().collect(),
    }
}

/// Gets the record from a door that says at first that it has `said` records, and has more by the next page.
fn fetched(sound: &Sound, said: usize, per_page: usize) -> Export {
    let first = sound.forged(&sound.records[..said]).head;
    let mut asked = 0;
    Export::fetch(
        sound.export.door,
        1,
        &mut |from| {
            asked += 1;
            let head = if asked == 1 { first } else { sound.export.head };
            Ok(page(sound, from, head, per_page))
        },
        &mut |_, _| {},
    )
    .unwrap()
}

#[test]
fn a_door_that_deletes_while_it_is_read_is_read_from_what_is_left() {
    let whats = vec![What::Stopped; 12];
    let (whole, left) = (made(&whats, 0, 1), made(&whats, 5, 1));
    let asked = Cell::new(0);
    let got = Export::fetch(
        whole.export.door,
        1,
        &mut |from| {
            asked.set(asked.get() + 1);
            let now = if asked.get() < 3 { &whole } else { &left };
            Ok(page(now, from, now.export.head, 2))
        },
        &mut |_, _| {},
    );
    assert_eq!(got.unwrap(), left.export);
}

#[test]
fn a_door_that_lies_is_found_out_and_never_asked_forever() {
    let sound = made(&vec![What::Stopped; 6], 0, 1);
    type Lie = fn(&Sound, u64, AuditPage) -> AuditPage;
    let lies: [(&str, Lie, u64); 6] = [
        (
            "says more than it has",
            |_, _, mut page| {
                page.head.next_seq = 9;
                page
            },
            7,
        ),
        (
            "leaves a page out",
            |sound, from, page| {
                let left_out = from == 3;
                if left_out {
                    self::page(sound, 5, page.head, 2)
                } else {
                    page
                }
            },
            3,
        ),
        (
            "repeats itself",
            |sound, from, page| {
                if from == 3 {
                    self::page(sound, 1, page.head, 2)
                } else {
                    page
                }
            },
            3,
        ),
        (
            "cuts a record",
            |_, from, mut page| {
                if from == 3 {
                    page.records.truncate(9);
                }
                page
            },
            3,
        ),
        (
            "says another last hash",
            |_, _, mut page| {
                page.head.last = Digest([1; 32]);
                page
            },
            6,
        ),
        (
            "has nothing",
            |_, _, mut page| {
                page.records.clear();
                page
            },
            1,
        ),
    ];
    let mut failures = vec![];
    for (name, lie, at) in lies {
        let got = Export::fetch(
            sound.export.door,
            1,
            &mut |from| Ok(lie(&sound, from, page(&sound, from, sound.export.head, 2))),
            &mut |_, _| {},
        );
        match got.unwrap().verify(None) {
            Err(flaw) if flaw.seq() == at => {}
            other => failures.push(format!("{name}: {other:?}")),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_pin_the_door_deleted_is_no_fault_and_one_just_before_the_record_still_counts() {
    let whats = vec![What::Stopped; 8];
    let (whole, left) = (made(&whats, 0, 1), made(&whats, 4, 1));
    assert_eq!(
        left.export.verify(Some(whole.pin(2))).unwrap().seen,
        Seen::Deleted
    );
    assert_eq!(
        left.export.verify(Some(whole.pin(3))).unwrap().seen,
        Seen::Same
    );
    let other = Pin {
        hash: Digest([1; 32]),
        ..whole.pin(3)
    };
    assert_eq!(
        left.export.verify(Some(other)),
        Err(Flaw::Rewritten { seq: 4 })
    );
}

#[test]
fn pins_are_read_as_they_are_printed() {
    for wrong in ["", "5", "5:", ":", "x:00", &format!("5:{}", "0".repeat(63))] {
        assert!(Pin::parse(wrong).is_err(), "{wrong}");
    }
}
