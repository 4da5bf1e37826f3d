//! What comes as a file, or as a part of one, and is read without a key: bundles, manifests, galleries, audit records.

use facelatch_protocol::{
    audit::{AuditPage, Chain, Record},
    bundle::{
        Head, MAX_HEAD, MAX_RECORD, Manifest, PREFIX_LEN, PartKind, encode_record, encode_vector,
        take_record, take_vector,
    },
};

use crate::{rules::policy, wire::stays};

/// A bundle file: its head, then its parts.
pub fn bundle(data: &[u8]) {
    vectors(data);
    let Some(prefix) = data.first_chunk::<PREFIX_LEN>() else {
        assert!(Head::parse(data).is_err());
        return;
    };
    let Ok(length) = Head::length(*prefix) else {
        assert!(Head::parse(data).is_err());
        return;
    };
    assert!((PREFIX_LEN..=MAX_HEAD).contains(&length));
    let Some((head, mut parts)) = data.split_at_checked(length) else {
        return;
    };
    let Ok(head) = Head::parse(head) else { return };
    assert_eq!(head.encode().as_deref(), Ok(&data[..length]));
    let Ok((id, manifest)) = head.manifest() else {
        return;
    };
    assert_eq!(id.counter, manifest.counter);
    for part in &manifest.parts {
        let Some((bytes, after)) = usize::try_from(part.len)
            .ok()
            .and_then(|len| parts.split_at_checked(len))
        else {
            return;
        };
        match part.kind {
            PartKind::Gallery => gallery(bytes),
            PartKind::SelfTest => vectors(bytes),
            PartKind::Policy => policy(bytes),
            PartKind::Networks | PartKind::Classifier | PartKind::Calibration | PartKind::Head => {}
        }
        parts = after;
    }
}

fn vectors(mut data: &[u8]) {
    loop {
        let before = data;
        let Some(vector) = take_vector(&mut data) else {
            assert_eq!(before, data, "nothing was taken, but something is gone");
            return;
        };
        let values: Vec<f32> = vector.values().collect();
        let mut written = vec![];
        encode_vector(
            [vector.width, vector.height],
            vector.rgb,
            &values,
            &mut written,
        )
        .expect("what was taken can be put");
        let taken = &before[..before.len() - data.len()];
        // A quiet NaN may come back for a signalling one.
        assert!(written == taken || values.iter().any(|value| value.is_nan()));
    }
}

/// A bundle's manifest.
pub fn manifest(data: &[u8]) {
    stays::<Manifest>(data);
    let Ok(manifest) = Manifest::parse(data) else {
        return;
    };
    assert!(manifest.parts_len().is_some());
    let mut buffer = [0; MAX_HEAD];
    // One that came in a head fits in a head.
    match manifest.encode(&mut buffer) {
        Ok(written) => assert_eq!(Manifest::parse(written), Ok(manifest)),
        Err(_) => assert!(data.len() > MAX_HEAD),
    }
}

/// A gallery part.
pub fn gallery(mut data: &[u8]) {
    while let Some(record) = take_record(&mut data) {
        let mut buffer = [0; 4 + MAX_RECORD];
        let written = encode_record(&record, &mut buffer).expect("it was in a record");
        let written = written.to_vec();
        let again = take_record(&mut &written[..]).expect("what was put can be taken");
        let mut buffer = [0; 4 + MAX_RECORD];
        assert_eq!(encode_record(&again, &mut buffer), Ok(&written[..]));
    }
}

/// A page of the audit record, and records on their own.
pub fn audit(data: &[u8]) {
    let mut rest = data;
    while let Ok(record) = Record::take(&mut rest) {
        if let Some(entry) = record.entry() {
            assert_eq!(record.seq(), Some(entry.seq));
        }
    }
    let Ok((page, _)) = postcard::take_from_bytes::<AuditPage>(data) else {
        return;
    };
    let first = Chain {
        next_seq: page.first_seq,
        last: page.before,
    };
    let (mut chain, mut taken) = (first, 0);
    let walked = chain.take_page(&page, &mut |record| taken += record.stored_len());
    assert!(taken <= page.records.len());
    assert_eq!(walked.is_ok(), taken == page.records.len());
    assert_eq!(chain == first, taken == 0);
}
