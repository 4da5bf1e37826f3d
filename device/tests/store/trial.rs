//! On trial, active, previous, rolled back: every step holds after a restart.

use facelatch_device::store::{Error, Store};
use facelatch_protocol::{BundleFault, BundleId, Refusal, RollbackReason, RolledBack, Text};

use crate::bundles::{bundle, establish, files, offer, open, push};

/// On trial, active, previous.
fn places(store: &Store) -> [Option<BundleId>; 3] {
    [store.on_trial(), store.active(), store.previous()]
}

#[test]
fn trial_starts_confirmation_and_rollback_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let bundles = [bundle(1), bundle(2), bundle(3), bundle(4)];
    let [first, second, third, fourth] = bundles.each_ref().map(|file| Some(file.id));

    let mut store = open(folder);
    assert_eq!(store.start_trial().unwrap(), 0);
    push(&mut store, &bundles[0]).unwrap();
    assert_eq!(store.start_trial().unwrap(), 1);
    assert_eq!(open(folder).start_trial().unwrap(), 2);
    let mut store = open(folder);
    assert_eq!(store.start_trial().unwrap(), 3);
    assert_eq!(places(&store), [first, None, None]);
    assert_eq!(store.in_use(), first);
    store.confirm().unwrap();
    assert_eq!(store.start_trial().unwrap(), 0);
    assert_eq!(places(&open(folder)), [None, first, None]);
    store.confirm().unwrap();
    assert_eq!(places(&open(folder)), [None, first, None]);

    let mut store = open(folder);
    push(&mut store, &bundles[1]).unwrap();
    assert_eq!(store.start_trial().unwrap(), 1, "counted anew");
    let mut store = open(folder);
    assert_eq!(places(&store), [second, first, None]);
    let back = store.roll_back(RollbackReason::SelfTest, "crop 3\ndiffers", 17);
    assert_eq!(back.unwrap(), first);
    let told = RolledBack {
        id: bundles[1].id,
        unix_ms: 17,
        reason: RollbackReason::SelfTest,
        text: Text::cut("crop 3 differs"),
    };
    let mut store = open(folder);
    assert_eq!(places(&store), [None, first, None]);
    assert_eq!(store.rolled_back(), Some(&told));
    assert_eq!(store.highest_counter(), 2);
    let again = offer(&mut store, &bundles[1]).unwrap_err();
    assert_eq!(
        again.refusal(),
        Refusal::Bundle(BundleFault::Replayed { highest: 2 })
    );

    // Another one on trial before the last one proved itself: the active one stays.
    push(&mut store, &bundles[2]).unwrap();
    assert_eq!(store.start_trial().unwrap(), 1);
    push(&mut store, &bundles[3]).unwrap();
    let mut store = open(folder);
    assert_eq!(places(&store), [fourth, first, None]);
    assert_eq!(store.start_trial().unwrap(), 1);
    assert_eq!(store.rolled_back(), Some(&told));
    store.confirm().unwrap();
    let mut store = open(folder);
    assert_eq!(places(&store), [None, fourth, first]);
    assert_eq!(store.rolled_back(), None, "another one proved itself");
    assert_ne!(store.in_use(), third);

    // Without a trial: to the previous one, and then to none.
    let back = store.roll_back(RollbackReason::Gallery, "", 18).unwrap();
    assert_eq!(back, first);
    let mut store = open(folder);
    assert_eq!(places(&store), [None, first, None]);
    assert_eq!(
        store.roll_back(RollbackReason::Unproven, "", 19).unwrap(),
        None
    );
    let mut store = open(folder);
    assert_eq!(places(&store), [None; 3]);
    assert_eq!(store.rolled_back().unwrap().unix_ms, 19);
    let none = store.roll_back(RollbackReason::Unproven, "", 20);
    assert!(matches!(none, Err(Error::NoBundle)));
    assert_eq!(store.highest_counter(), 4);
    assert!(offer(&mut store, &bundles[0]).is_err());
    let left: Vec<_> = files(folder).into_keys().collect();
    assert_eq!(left, ["state", "state.copy"]);
}

#[test]
fn going_back_passes_over_a_bundle_that_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let bundles = [bundle(1), bundle(2), bundle(3)];
    let mut store = open(dir.path());
    establish(&mut store, &bundles[0]);
    establish(&mut store, &bundles[1]);
    push(&mut store, &bundles[2]).unwrap();
    std::fs::remove_file(dir.path().join(bundles[1].stored_name(1))).unwrap();
    let back = store.roll_back(RollbackReason::Networks, "", 1).unwrap();
    assert_eq!(back, Some(bundles[0].id));
    assert_eq!(store.damaged(), [bundles[1].id]);
}
