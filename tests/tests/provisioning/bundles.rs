//! Bundles: on trial and proven, what is sent again, and which ones are refused.

use facelatch_tests::door::{Door, facelatchd};
use facelatch_tests::watch::watching;
use facelatch_tests::workspace::Workspace;
use serde_json::Value;

use crate::site::{OBAMA, REFUSED, Site, bytes, is_grant, pair, push, to};

#[test]
fn pushed_people_get_in_and_what_is_there_is_not_sent_again() {
    let site = Site::new();
    let door = Door::start(&mut facelatchd(&site.at("door")));
    let admin = Workspace::enrolled(&site.at("admin"));
    pair(&admin, &door);

    // Nobody is in front of this door: the bundle stays on trial.
    let first = admin.done(&["push", "--no-wait", "--to", &to(&door)]);
    assert_eq!(
        (&first["trial"], bytes(&first, "bytes_saved")),
        (&"pending".into(), 0)
    );
    assert_eq!(bytes(&first, "bytes_sent"), bytes(&first, "bytes"));
    let status = admin.done(&["status", "--to", &to(&door)]);
    assert_eq!(
        status["update"]["trial"]["sha256"], first["sha256"],
        "{status}"
    );
    assert_eq!(status["update"]["trial"]["counter"], first["counter"]);
    assert!(bytes(&status["update"]["trial"], "frames_left") > 0);
    assert!(status["active"].is_null(), "{status}");
    assert_eq!(bytes(&status, "people"), 2);
    assert_eq!(door.stop().code, Some(0));

    // Now somebody is.
    let door = Door::start(&mut watching(&site.at("door"), &["obama2.jpg"]));
    let events = admin.follow(&to(&door));
    events.wait_for("confirmed bundle", |event| {
        event["event"] == "update" && event["step"] == "confirmed"
    });
    events.wait_for("grant", |event| is_grant(event, OBAMA));
    let status = admin.done(&["status", "--to", &to(&door)]);
    assert!(status["update"]["trial"].is_null(), "{status}");
    assert!(status["update"]["rolled_back"].is_null(), "{status}");
    assert_eq!(status["active"]["sha256"], first["sha256"]);

    // The door keeps no people beside its gallery, so they come again; the self-test does not.
    let again = push(&admin, &door, &[]);
    assert_ne!(
        again["sha256"], first["sha256"],
        "another bundle of the same parts"
    );
    let (size, sent) = (bytes(&again, "bytes"), bytes(&again, "bytes_sent"));
    let saved = bytes(&again, "bytes_saved");
    assert_eq!(sent + saved, size);
    assert!(saved > 100_000 && sent < 50_000, "{again}");

    let networks = push(&admin, &door, &["--with-networks"]);
    assert!(bytes(&networks, "bytes_sent") > 20_000_000, "{networks}");
    assert_eq!(bytes(&networks, "bytes_saved"), saved);
    let again = push(&admin, &door, &["--with-networks"]);
    assert_eq!(bytes(&again, "bytes_sent"), sent, "{again}");
    assert_eq!(
        bytes(&again, "bytes_saved"),
        bytes(&networks, "bytes") - sent
    );
    let status = admin.done(&["status", "--to", &to(&door)]);
    assert_eq!(status["active"]["sha256"], again["sha256"]);
    assert_eq!(status["previous"]["sha256"], networks["sha256"]);
    let from = events.wait_for("confirmed bundle", |event| {
        event["event"] == "update"
            && event["step"] == "confirmed"
            && event["sha256"] == again["sha256"]
    });
    events.wait_for("grant after it", |event| {
        bytes(event, "seq") > bytes(&from, "seq") && is_grant(event, OBAMA)
    });
}

#[test]
fn replaced_keys_and_older_bundles_are_refused() {
    let site = Site::new();
    let (door, admin) = site.watched();
    let to = &*to(&door);
    let pack = |name: &str| {
        let file = site.at(name).to_str().expect("a plain path").to_owned();
        admin.done(&["pack", "--out", &file]);
        file
    };
    let older = pack("older.flb");
    let newer = push(&admin, &door, &[]);
    let downgrade = format!("older than bundle {}", newer["counter"]);
    let push_older = ["push", &older, "--to", to];
    admin.refused(
        &push_older,
        REFUSED,
        &[&downgrade, "packs a bundle that is newer"],
    );

    let by_old_key = pack("by-old-key.flb");
    let shown = admin.done(&["keys", "show"]);
    let rotated = admin.done(&["keys", "rotate", "--to", to]);
    assert_eq!(
        rotated["missing"].as_array().map(Vec::len),
        Some(0),
        "{rotated}"
    );
    let now = admin.done(&["keys", "show"]);
    assert_ne!(now["signing"][0]["public"], shown["signing"][0]["public"]);
    assert_eq!(now["signing"][1]["public"], shown["signing"][1]["public"]);
    assert!(bytes(&now, "serial") > bytes(&shown, "serial"));
    assert_eq!(now["rotating"], false);

    // Newer than all the door has, but the key it is signed with is trusted no longer.
    admin.refused(
        &["push", &by_old_key, "--to", to],
        REFUSED,
        &["a key the device does not trust", "facelatch keys"],
    );
    let by_new_key = push(&admin, &door, &[]);
    let status = admin.done(&["status", "--to", to]);
    assert_eq!(status["active"]["sha256"], by_new_key["sha256"]);
    assert_eq!(status["previous"]["sha256"], newer["sha256"]);
    assert_eq!(status["update"]["keys_serial"], now["serial"]);
    assert_eq!(status["update"]["rolled_back"], Value::Null);
}
