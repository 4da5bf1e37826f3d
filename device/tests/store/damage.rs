//! Damage at rest: any byte changed, any file cut or gone. The state comes from its other copy; a bundle that is not whole
//! gives way to the one before; and no bundle is ever taken for "none".

use facelatch_device::store::{Error, Store};
use facelatch_protocol::RollbackReason;

use crate::{
    bundles::{
        File, GALLERY, LIMITS, NETWORK, bundle, establish, files, key, offer, on, open, push, send,
        trusted,
    },
    power_cut::{Cut, PowerCutDisk},
};

const COPIES: [&str; 2] = ["state", "state.copy"];

#[test]
fn the_state_survives_any_damage_to_one_copy_and_none_to_both() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let mut store = open(folder);
    establish(&mut store, &bundle(1));
    push(&mut store, &bundle(2)).unwrap();
    store
        .roll_back(RollbackReason::Networks, "it failed", 5)
        .unwrap();
    push(&mut store, &bundle(3)).unwrap();
    store.start_trial().unwrap();
    let told = |store: &mut Store| {
        let places = [store.on_trial(), store.active(), store.previous()];
        (
            places,
            store.rolled_back().cloned(),
            store.highest_counter(),
        )
    };
    let want = told(&mut store);
    drop(store);
    let whole = std::fs::read(folder.join("state")).unwrap();
    assert_eq!(whole, std::fs::read(folder.join("state.copy")).unwrap());
    let names = || files(folder).into_keys().collect::<Vec<_>>();
    let kept = names();

    let mut damages = vec![None, Some(vec![])];
    for at in 0..whole.len() {
        damages.push(Some(whole[..at].to_vec()));
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        damages.push(Some(flipped));
    }
    let damage = |name: &str, bytes: &Option<Vec<u8>>| match bytes {
        Some(bytes) => std::fs::write(folder.join(name), bytes).unwrap(),
        None => std::fs::remove_file(folder.join(name)).unwrap(),
    };
    for name in COPIES {
        for (case, bytes) in damages.iter().enumerate() {
            damage(name, bytes);
            assert_eq!(told(&mut open(folder)), want, "{name}, case {case}");
            let copies = COPIES.map(|name| std::fs::read(folder.join(name)).unwrap());
            assert!(copies[0] == copies[1], "{name}, case {case}: repaired");
        }
    }
    for (case, bytes) in damages.iter().enumerate() {
        COPIES.iter().for_each(|name| damage(name, bytes));
        let opened = Store::open(folder, &key(), LIMITS).map(|_| ());
        let is_refused = matches!(opened, Err(Error::StateDamaged));
        assert!(is_refused, "case {case}: {opened:?}");
        COPIES
            .iter()
            .for_each(|name| damage(name, &Some(whole.clone())));
    }
    assert_eq!(names(), kept, "nothing was cleared away");
}

#[test]
fn the_newer_copy_holds() {
    let (dir, [_, new]) = two();
    let before = std::fs::read(dir.path().join("state")).unwrap();
    let next = bundle(3);
    establish(&mut open(dir.path()), &next);
    for name in COPIES {
        std::fs::write(dir.path().join(name), &before).unwrap();
        let store = open(dir.path());
        assert_eq!(
            (store.active(), store.previous()),
            (Some(next.id), Some(new.id))
        );
    }
}

#[test]
fn a_state_without_any_bundle_is_not_forgotten_either() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    push(&mut store, &bundle(3)).unwrap();
    store.roll_back(RollbackReason::Networks, "", 5).unwrap();
    drop(store);
    std::fs::write(dir.path().join("state"), "x").unwrap();
    let mut store = open(dir.path());
    assert!(offer(&mut store, &bundle(2)).is_err(), "the counter holds");
    drop(store);
    for name in COPIES {
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    let opened = Store::open(dir.path(), &key(), LIMITS);
    assert!(matches!(opened, Err(Error::StateDamaged)));
}

/// A folder with bundle 1 as previous and bundle 2 as active, its head and parts.
fn two() -> (tempfile::TempDir, [File; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let bundles = [bundle(1), bundle(2)];
    let mut store = open(dir.path());
    bundles.iter().for_each(|file| establish(&mut store, file));
    (dir, bundles)
}

#[test]
fn a_damaged_bundle_gives_way_to_the_previous_one_and_may_come_again() {
    let (dir, [old, new]) = two();
    let names = [
        format!("{}.head", new.id.digest),
        new.stored_name(1),
        new.stored_name(2),
    ];
    for name in names {
        let path = dir.path().join(&name);
        let whole = std::fs::read(&path).unwrap();
        // The head's end is text that nobody signs.
        let checked = if name.ends_with("head") {
            whole.len() - 400
        } else {
            whole.len()
        };
        for at in (0..checked).step_by(7) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            for (what, bytes) in [("flipped", flipped), ("cut", whole[..at].to_vec())] {
                std::fs::write(&path, bytes).unwrap();
                let store = open(dir.path());
                let case = format!("{name} {what} at {at}");
                assert_eq!(store.in_use(), Some(old.id), "{case}");
                assert_eq!(store.damaged(), [new.id], "{case}");
            }
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(open(dir.path()).in_use(), Some(new.id), "not lost");

        std::fs::remove_file(&path).unwrap();
        let mut store = open(dir.path());
        assert_eq!(store.in_use(), Some(old.id), "{name}");
        let held = offer(&mut store, &new).unwrap();
        let missing: Vec<_> = (0..4).filter(|&i| held[i] < new.lens()[i]).collect();
        let want: Vec<_> = (0..4).filter(|&i| new.stored_name(i) == name).collect();
        assert_eq!(missing, want, "{name}");
        push(&mut store, &new).unwrap();
        store.confirm().unwrap();
        let store = open(dir.path());
        assert_eq!(
            (store.active(), store.previous()),
            (Some(new.id), Some(old.id))
        );
    }
}

#[test]
fn a_damaged_part_is_not_taken_for_one_that_is_there() {
    let (dir, [_, new]) = two();
    let path = dir.path().join(new.stored_name(NETWORK));
    std::fs::write(&path, vec![7; 400]).unwrap();
    let mut store = open(dir.path());
    let mut want = new.lens();
    want[NETWORK] = 0;
    assert_eq!(offer(&mut store, &new).unwrap(), want);
    push(&mut store, &new).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), new.parts[NETWORK]);
}

#[test]
fn any_damage_to_what_is_being_received_is_got_over() {
    let file = bundle(1);
    let half = tempfile::tempdir().unwrap();
    let mut store = open(half.path());
    offer(&mut store, &file).unwrap();
    for part in [NETWORK, GALLERY] {
        let bytes = &file.parts[part][..200];
        store.part_chunk(part, 0, bytes).unwrap();
    }
    drop(store);
    let kept = files(half.path());
    let left = [
        "offered".to_owned(),
        file.stored_name(NETWORK).replace(".part", ".coming"),
        file.stored_name(GALLERY).replace(".sealed", ".sealing"),
    ];
    for name in left {
        for at in (0..kept[&name].len()).step_by(5) {
            let mut flipped = kept[&name].clone();
            flipped[at] ^= 1 << (at % 8);
            for bytes in [flipped, kept[&name][..at].to_vec()] {
                let case = format!("{name} at {at}, {} bytes", bytes.len());
                let dir = tempfile::tempdir().unwrap();
                for (name, bytes) in &kept {
                    std::fs::write(dir.path().join(name), bytes).unwrap();
                }
                std::fs::write(dir.path().join(&name), bytes).unwrap();
                let mut store = open(dir.path());
                // A damaged part shows with its last byte, and is sent once more.
                let pushed = push(&mut store, &file).or_else(|_| push(&mut store, &file));
                pushed.expect(&case);
                let mut open = store.bundle(file.id.digest).unwrap();
                for (index, part) in file.parts.iter().enumerate() {
                    assert_eq!(*open.read(index).expect(&case), *part, "{case}");
                }
            }
        }
    }
}

#[test]
fn all_of_a_part_but_with_wrong_bytes_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let file = bundle(1);
    offer(&mut store, &file).unwrap();
    let coming = file.stored_name(NETWORK).replace(".part", ".coming");
    std::fs::write(dir.path().join(coming), vec![7; 400]).unwrap();
    assert_eq!(offer(&mut store, &file).unwrap(), [0, 0, 0, 0]);
    push(&mut store, &file).unwrap();
}

#[test]
fn without_any_whole_bundle_none_is_in_use() {
    let (dir, [old, new]) = two();
    for file in [&old, &new] {
        std::fs::remove_file(dir.path().join(file.stored_name(NETWORK))).unwrap();
    }
    let mut store = open(dir.path());
    assert_eq!(store.in_use(), None);
    assert_eq!(store.damaged(), [new.id, old.id]);
    assert_eq!(store.highest_counter(), 2);
    assert!(offer(&mut store, &old).is_err(), "older all the same");
    push(&mut store, &new).unwrap();
    assert_eq!(store.in_use(), Some(new.id));
}

#[test]
fn a_bundle_that_cannot_be_read_once_is_not_lost() {
    let disk = PowerCutDisk::new();
    let bundles = [bundle(1), bundle(2), bundle(3)];
    let mut store = on(disk.clone());
    bundles[..2]
        .iter()
        .for_each(|file| establish(&mut store, file));
    let disk = disk.cut(Cut::AllUnsynced);
    let kept = disk.cut(Cut::AllUnsynced);
    let network = bundles[1].stored_name(NETWORK);
    disk.state().unreadable = Some(network.clone());
    assert_eq!(on(disk.clone()).in_use(), Some(bundles[0].id));
    disk.state().unreadable = None;
    assert_eq!(on(disk.clone()).in_use(), Some(bundles[1].id));

    // The same for the previous one's head, though nothing is asked of it yet.
    disk.state().unreadable = Some(format!("{}.head", bundles[0].id.digest));
    let mut store = on(disk.clone());
    disk.state().unreadable = None;
    let back = store.roll_back(RollbackReason::Networks, "", 1).unwrap();
    assert_eq!(back, Some(bundles[0].id));

    // For good, it is gone with the next change.
    let disk = kept;
    disk.state().unreadable = Some(network.clone());
    let mut store = on(disk.clone());
    let held = offer(&mut store, &bundles[2]).unwrap();
    send(&mut store, &bundles[2], &held).unwrap();
    assert!(disk.state().names.contains_key(&network));
    let digest = bundles[2].id.digest;
    let candidate = store.verify(digest, Some(&trusted())).unwrap();
    store.commit(&candidate).unwrap();
    assert_eq!(store.active(), Some(bundles[0].id));
    assert!(!disk.state().names.contains_key(&network));
}
