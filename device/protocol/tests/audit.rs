//! The audit record's chain over pages: what fits, what is found, and that no bytes make a reader fail.

use facelatch_protocol::{
    Digest, DisplayName, EventKind, PersonId, PublicKey, Role, RollbackReason, Text,
    audit::{AuditHead, AuditPage, Chain, ChainFault, Entry, MAX_BODY, MAX_PAGE, Record, What},
};
use proptest::{collection::vec, prelude::*, sample::Index};

fn what() -> impl Strategy<Value = What> {
    let person = || {
        "[a-z]{1,32}"
            .prop_filter("reserved", |id| id != "none")
            .prop_map(|id| PersonId::parse(&id).unwrap())
    };
    prop_oneof![
        Just(What::Stopped),
        "[ -~]{0,160}".prop_map(|text| What::Event(EventKind::Fault(Text::cut(&text)))),
        person().prop_map(|person| What::PersonRenamed { person }),
        any::<i64>().prop_map(|moved_ms| What::ClockSet { moved_ms }),
        any::<[u8; 32]>().prop_map(|key| What::HostRevoked {
            host: PublicKey(key)
        }),
    ]
}

/// The records, each as stored.
fn stored(whats: &[What]) -> (Vec<Vec<u8>>, Chain) {
    let mut chain = Chain::BEGINNING;
    let mut records = vec![];
    for (i, what) in whats.iter().enumerate() {
        let (record, next) = chain.continued(1_000 + i as u64, what.clone()).unwrap();
        records.push(record.to_vec());
        chain = next;
    }
    (records, chain)
}

/// Pages of up to `per_page` records.
fn pages(records: &[Vec<u8>], end: Chain, per_page: usize) -> Vec<AuditPage> {
    let mut before = Digest([0; 32]);
    let mut pages = vec![];
    for (i, group) in records.chunks(per_page).enumerate() {
        let bytes = group.concat();
        pages.push(AuditPage {
            head: AuditHead {
                first_seq: 1,
                next_seq: end.next_seq,
                last: end.last,
            },
            first_seq: (i * per_page + 1) as u64,
            before,
            records: bytes.iter().copied().collect(),
        });
        before = Digest(*bytes.last_chunk().unwrap());
    }
    pages
}

#[test]
fn the_longest_entries_are_far_from_the_longest_body() {
    let long = "x".repeat(200);
    let whats = [
        What::Event(EventKind::Fault(Text::cut(&long))),
        What::Event(EventKind::RolledBack {
            digest: Digest([255; 32]),
            reason: RollbackReason::Unproven,
            text: Text::cut(&long),
        }),
        What::HostPaired {
            host: PublicKey([255; 32]),
            name: DisplayName::parse(&long[..64]).unwrap(),
            role: Role::Admin,
        },
        What::GalleryRecovered {
            what: Text::cut(&long),
        },
    ];
    for what in whats {
        let entry = Entry {
            seq: u64::MAX,
            unix_ms: u64::MAX,
            what,
        };
        let len = postcard::to_slice(&entry, &mut [0; MAX_BODY])
            .unwrap()
            .len();
        assert!(len <= MAX_BODY / 2, "{entry:?}: {len}");
    }
}

#[test]
fn a_record_that_lies_about_its_length_or_number_is_refused() {
    let (record, _) = Chain::BEGINNING.continued(1, What::Stopped).unwrap();
    let mut chain = Chain {
        next_seq: 2,
        ..Chain::BEGINNING
    };
    let found = chain.take(&mut record.as_slice());
    assert_eq!(found, Err(ChainFault::Number { found: Some(1) }));
    let too_long = [vec![0x01, 0x02], vec![0; 600]].concat();
    assert_eq!(
        Record::take(&mut too_long.as_slice()),
        Err(ChainFault::TooLong)
    );
    assert_eq!(Record::take(&mut &record[..9]), Err(ChainFault::Cut));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_are_walked_to_their_end(whats in vec(what(), 1..40), per_page in 1usize..9) {
        let (records, end) = stored(&whats);
        let mut chain = Chain::BEGINNING;
        let mut read = vec![];
        for page in &pages(&records, end, per_page) {
            chain.take_page(page, &mut |record| read.push(record.entry().unwrap().what)).unwrap();
        }
        prop_assert_eq!(read, whats);
        prop_assert_eq!(chain, end);
    }

    #[test]
    fn a_page_that_is_lost_repeated_or_moved_is_found(
        whats in vec(what(), 3..20),
        one in any::<Index>(),
        other in any::<Index>(),
    ) {
        let (records, end) = stored(&whats);
        let sound = pages(&records, end, 1);
        let (one, other) = (one.index(sound.len() - 1), other.index(sound.len()));
        let mut lost = sound.clone();
        lost.remove(one);
        let mut repeated = sound.clone();
        repeated.insert(one, sound[one].clone());
        let mut moved = sound.clone();
        moved.swap(one, other);
        for pages in [lost, repeated, moved] {
            if pages == sound {
                continue;
            }
            let mut chain = Chain::BEGINNING;
            let walked = pages.iter().try_for_each(|page| chain.take_page(page, &mut |_| {}));
            prop_assert!(matches!(walked, Err(ChainFault::Page)));
        }
    }

    #[test]
    fn no_bytes_make_a_reader_fail(bytes in vec(any::<u8>(), 0..MAX_PAGE), first_seq in any::<u64>()) {
        let head = AuditHead { first_seq, next_seq: 0, last: Digest([0; 32]) };
        let records = bytes.iter().copied().collect();
        let page = AuditPage { head, first_seq, before: head.last, records };
        let mut chain = Chain { next_seq: first_seq, last: head.last };
        let walked = chain.take_page(&page, &mut |_| {});
        prop_assert!(walked.is_err() || bytes.is_empty());
    }
}
