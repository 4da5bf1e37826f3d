//! A disk that fails or loses power at any operation of an update, from the offer to the confirmation or the way back.

use std::collections::BTreeMap;

use facelatch_device::store::{Error, Store};
use facelatch_protocol::{Refusal, RollbackReason};

use crate::{
    bundles::{File, GALLERY, bundle, establish, offer, on, push, send},
    power_cut::{Cut, Failure, PowerCutDisk},
};

/// How an update ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Confirmed,
    RolledBack,
}

/// How far it came: what was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Acknowledged {
    Nothing,
    Commit,
    Start,
    Forgotten,
    End,
}

fn update(
    store: &mut Store<PowerCutDisk>,
    file: &File,
    end: End,
    acknowledged: &mut Acknowledged,
) -> Result<(), Error> {
    push(store, file)?;
    *acknowledged = Acknowledged::Commit;
    assert_eq!(store.start_trial()?, 1);
    *acknowledged = Acknowledged::Start;
    store.forget_personal(file.id.digest)?;
    *acknowledged = Acknowledged::Forgotten;
    match end {
        End::Confirmed => store.confirm()?,
        End::RolledBack => {
            store.roll_back(RollbackReason::Networks, "no", 1)?;
        }
    }
    *acknowledged = Acknowledged::End;
    Ok(())
}

#[test]
fn a_disk_that_fails_at_any_operation_leaves_old_or_new() {
    let files = [bundle(1), bundle(2), bundle(3), bundle(4)];
    let [older, old, new, next] = files.each_ref().map(|file| file.id);
    let mut ended = BTreeMap::new();
    for end in [End::Confirmed, End::RolledBack] {
        let operations = count_operations(&files, end);
        assert!(operations > 50, "an update does {operations} operations");
        for fail_at in 0..operations {
            for failure in [Failure::Once, Failure::ForGood] {
                for cut in Cut::ALL {
                    let case = format!("{end:?}, operation {fail_at}, {failure:?}, {cut:?}");
                    let disk = with_two(&files);
                    let mut store = on(disk.clone());
                    disk.fail_at(fail_at, failure);
                    let mut acknowledged = Acknowledged::Nothing;
                    let done = update(&mut store, &files[2], end, &mut acknowledged);
                    assert_eq!(done.is_ok(), acknowledged == Acknowledged::End, "{case}");

                    let disk = disk.cut(cut);
                    let sealed = files[2].stored_name(GALLERY);
                    let is_forgotten = acknowledged >= Acknowledged::Forgotten;
                    let is_there = disk.state().names.contains_key(&sealed);
                    assert!(!(is_forgotten && is_there), "{case}: not for good");
                    let mut store = on(disk.clone());
                    let case = format!("{case}, acknowledged {acknowledged:?}");
                    let in_use = store.in_use().expect(&case);
                    assert!(store.damaged().is_empty(), "{case}");
                    let allowed: &[_] = match (end, acknowledged) {
                        (_, Acknowledged::Nothing) => &[old, new],
                        (End::Confirmed, _) => &[new],
                        (End::RolledBack, Acknowledged::End) => &[old],
                        (End::RolledBack, _) => &[old, new],
                    };
                    assert!(allowed.contains(&in_use), "{case}: {in_use:?}");
                    let places = [store.on_trial(), store.active(), store.previous()];
                    let coherent = [
                        [None, Some(old), Some(older)],
                        [Some(new), Some(old), Some(older)],
                        [None, Some(new), Some(old)],
                    ];
                    assert!(coherent.contains(&places), "{case}: {places:?}");
                    let least = match acknowledged {
                        Acknowledged::Nothing => old.counter,
                        _ => new.counter,
                    };
                    assert!(store.highest_counter() >= least, "{case}");
                    *ended.entry((in_use == new, acknowledged)).or_insert(0) += 1;

                    let file = &files[in_use.counter as usize - 1];
                    let mut open = store.bundle(in_use.digest).unwrap();
                    for part in (0..4).filter(|&part| part != GALLERY) {
                        assert_eq!(*open.read(part).expect(&case), file.parts[part], "{case}");
                    }
                    match acknowledged {
                        _ if in_use == old => {}
                        Acknowledged::Nothing | Acknowledged::Commit => {
                            assert_eq!(*open.read(GALLERY).expect(&case), file.parts[GALLERY]);
                        }
                        Acknowledged::Start => {}
                        Acknowledged::Forgotten | Acknowledged::End => {
                            assert!(!open.holds(GALLERY), "{case}");
                        }
                    }
                    if store.highest_counter() == old.counter {
                        // It goes on with what survived; a part of other bytes is sent once more.
                        let pushed = push(&mut store, &files[2]);
                        let is_torn = matches!(cut, Cut::Zeros);
                        assert!(pushed.is_ok() || is_torn, "{case}: {pushed:?}");
                        for _ in 0..2 {
                            let _ = push(&mut store, &files[2]);
                        }
                        assert_eq!(store.on_trial(), Some(new), "{case}");
                    }
                    push(&mut store, &files[3]).expect(&case);
                    store.confirm().expect(&case);
                    assert_eq!(store.active(), Some(next), "{case}");
                }
            }
        }
    }
    let count = |is_new| {
        let counts = ended.iter().filter(|((new, _), _)| *new == is_new);
        counts.map(|(_, count)| count).sum::<usize>()
    };
    assert!(count(false) > 200 && count(true) > 200, "{ended:?}");
    assert!(ended.len() >= 8, "{ended:?}");
}

#[test]
fn a_passing_failure_is_got_over_without_a_restart() {
    let files = [bundle(1), bundle(2), bundle(3)];
    for fail_at in 0..count_operations(&files, End::Confirmed) {
        let disk = with_two(&files);
        let mut store = on(disk.clone());
        disk.fail_at(fail_at, Failure::Once);
        let mut acknowledged = Acknowledged::Nothing;
        let first = update(&mut store, &files[2], End::Confirmed, &mut acknowledged);
        let case = format!("operation {fail_at}, {first:?}");
        push(&mut store, &files[2]).expect(&case);
        store.forget_personal(files[2].id.digest).expect(&case);
        store.confirm().expect(&case);
        // Everything was acknowledged now: it has to be on the disk.
        let store = on(disk.cut(Cut::AllUnsynced));
        let places = [store.on_trial(), store.active(), store.previous()];
        let want = [None, Some(files[2].id), Some(files[1].id)];
        assert_eq!(places, want, "{case}");
    }
}

#[test]
fn the_same_bytes_may_be_sent_again_after_a_failed_write() {
    let file = bundle(1);
    for part in [1, GALLERY] {
        // The first piece is shorter when it is sent again.
        for again in [100, 160] {
            let disk = PowerCutDisk::new();
            let mut store = on(disk.clone());
            offer(&mut store, &file).unwrap();
            disk.fail_at(0, Failure::Once);
            let bytes = &file.parts[part];
            let error = store.part_chunk(part, 0, &bytes[..160]).unwrap_err();
            let is_no_space = matches!(error.refusal(), Refusal::NoSpace { .. });
            assert!(is_no_space, "{error}");
            assert_eq!(store.progress().staging.unwrap().received, 0);
            store.part_chunk(part, 0, &bytes[..again]).unwrap();
            store
                .part_chunk(part, again as u64, &bytes[again..])
                .unwrap();
            push(&mut store, &file).unwrap();
        }
    }
}

#[test]
fn a_part_that_came_whole_survives_a_power_cut() {
    let file = bundle(1);
    let disk = PowerCutDisk::new();
    let mut store = on(disk.clone());
    let held = offer(&mut store, &file).unwrap();
    send(&mut store, &file, &held).unwrap();
    let mut store = on(disk.cut(Cut::AllUnsynced));
    assert_eq!(offer(&mut store, &file).unwrap(), file.lens());
}

/// A disk with bundle 1 as previous and bundle 2 as active, both taken over.
fn with_two(files: &[File]) -> PowerCutDisk {
    let disk = PowerCutDisk::new();
    let mut store = on(disk.clone());
    for file in &files[..2] {
        establish(&mut store, file);
        store.forget_personal(file.id.digest).unwrap();
    }
    disk.cut(Cut::AllUnsynced)
}

/// How many operations the update to the third bundle takes.
fn count_operations(files: &[File], end: End) -> usize {
    let disk = with_two(files);
    let mut store = on(disk.clone());
    let before = disk.state().operations;
    update(&mut store, &files[2], end, &mut Acknowledged::Nothing).unwrap();
    disk.state().operations - before
}
