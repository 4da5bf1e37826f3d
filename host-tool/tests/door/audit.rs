//! `facelatch audit` at a door whose record is sound, goes on, is cut off, or is written anew.

use std::fs;

use facelatch_protocol::audit::What;

use crate::{
    fake_door::{FakeDoor, code},
    verbs::{expect, facelatch},
};

#[test]
fn a_record_is_exported_shown_and_verified_and_forgeries_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let (home, door) = (folder.path().join("home"), FakeDoor::start(None));
    let to = door.address().to_string();
    let to = to.as_str();
    let verify = ["audit", "verify", "--to", to];
    let code = code().to_string();
    expect(&home, &["pair", "--to", to, "--code", &code], 0, "paired");
    door.state().audit = (1..=7).map(|n| What::KeysReplaced { serial: n }).collect();

    let file = folder.path().join("door.audit");
    let path = file.to_str().unwrap();
    let exported = facelatch(
        &home,
        &["audit", "export", "--to", to, "--out", path, "--json"],
        "",
    );
    let exported = exported.json();
    assert_eq!(exported["holds"], true, "{exported}");
    assert_eq!(
        (&exported["next_seq"], &exported["seen"]),
        (&8.into(), &"none".into())
    );
    let head = exported["head"].as_str().unwrap().to_owned();
    assert!(head.starts_with("7:"), "{head}");
    expect(&home, &["audit", "verify", path], 0, "unchanged");
    let bare = folder.path().join("elsewhere");
    expect(&bare, &["audit", "verify", path], 0, "7 records hold");
    let shown = expect(
        &home,
        &["audit", "show", path, "--from", "6"],
        0,
        "replaced, serial 7",
    );
    assert_eq!(shown.out.lines().count(), 2, "{}", shown.out);
    let shown = facelatch(
        &home,
        &["audit", "show", "--to", to, "--from", "7", "--json"],
        "",
    )
    .json();
    assert_eq!(
        (&shown["what"], &shown["serial"]),
        (&"keys-replaced".into(), &7.into())
    );

    // The record goes on.
    door.state().audit.push(What::Stopped);
    expect(&home, &verify, 0, "unchanged");
    expect(&home, &["audit", "verify", path], 0, "7 records hold");
    expect(
        &home,
        &["audit", "verify", "--to", to, "--head", &head],
        0,
        "unchanged",
    );

    // One byte of the file, in its third record.
    let mut bytes = fs::read(&file).unwrap();
    bytes[156 + 2 * 40 + 5] ^= 1;
    fs::write(&file, &bytes).unwrap();
    for verb in ["verify", "show"] {
        expect(&home, &["audit", verb, path], 1, "record 3 does not hold");
    }
    fs::write(&file, &bytes[..99]).unwrap();
    expect(&home, &["audit", "verify", path], 2, "export it again");

    // Its end is cut off, and it goes on from there.
    let whole = door.state().audit.clone();
    door.state().audit.truncate(5);
    expect(
        &home,
        &verify,
        1,
        "record 6 and those behind it are missing",
    );
    door.state().audit.extend([
        What::PairingClosed,
        What::PairingClosed,
        What::PairingClosed,
    ]);
    let forged = facelatch(&home, &[&verify[..], &["--json"]].concat(), "");
    assert_eq!(
        (forged.code, &forged.json()["broken_at"]),
        (Some(1), &8.into())
    );
    let pinned = ["audit", "verify", "--to", to, "--head", &head];
    expect(
        &home,
        &pinned,
        1,
        "record 7 does not hold: it had another hash",
    );
    // What was found wanting is not remembered.
    door.state().audit = whole;
    expect(&home, &verify, 0, "unchanged");

    // A door set up anew.
    door.state().audit = vec![What::Stopped];
    expect(&home, &verify, 1, "cut off");
    let renewed = [&verify[..], &["--renew"]].concat();
    expect(&home, &renewed, 0, "1 record holds");
    expect(&home, &verify, 0, "unchanged");
}

#[test]
fn calls_that_cannot_be_meant_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let cases: [(&[&str], &str); 5] = [
        (&["audit", "verify"], "required"),
        (
            &["audit", "verify", "f", "--to", "127.0.0.1:1"],
            "cannot be used with",
        ),
        (&["audit", "verify", "f", "--renew"], "cannot be used with"),
        (&["audit", "verify", "f", "--head", "7"], "SEQ:HASH"),
        (&["audit", "verify", "no-such-file"], "cannot be read"),
    ];
    for (args, says) in cases {
        expect(home, args, 2, says);
    }
}
