//! The three calls and the ancestor's, with what they leave on disk.

use std::{fs, path::Path};

use facelatch_tests::programs::data;
use facelatch_tests::server::Server;
use facelatch_tests::workspace::Workspace;
use serde_json::{Value, json};

use crate::photo;

#[test]
fn create_train_predict_on_datasets_side_by_side() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    let acme = "/api/v1/datasets/acme";
    let obama = photo("enroll/barack_obama/obama.jpg");
    let collins = photo("enroll/eileen_collins/astronaut.png");
    let created = server.upload(
        &format!("{acme}/people/obama/photos"),
        &[
            ("o.jpg", &obama),
            ("cat.png", &photo("visitors/chelsea.png")),
        ],
    );
    let created = created.expect(200);
    assert_eq!(created["accepted"], 1);
    assert_eq!(created["photos"][1]["why"], "no face found");
    let name = created["photos"][0]["photo"]
        .as_str()
        .expect("a name")
        .to_owned();
    let kept = folder
        .path()
        .join("datasets/acme/training/obama")
        .join(&name);
    assert_eq!(fs::read(&kept).expect("kept"), obama, "as it was sent");
    let again = server
        .upload(
            &format!("{acme}/people/obama/photos"),
            &[("again.jpg", &obama)],
        )
        .expect(200);
    assert_eq!(again["photos"][0]["photo"], name.as_str(), "kept once");
    let claimed = server
        .upload(
            &format!("{acme}/people/collins/photos"),
            &[("o.jpg", &obama)],
        )
        .expect(200);
    assert!(
        claimed["photos"][0]["why"]
            .as_str()
            .is_some_and(|why| why.contains("folder of obama")),
        "{claimed}"
    );
    server
        .upload(
            &format!("{acme}/people/collins/photos"),
            &[("c.png", &collins)],
        )
        .expect(200);
    let none = server
        .upload(
            &format!("{acme}/people/none/photos"),
            &[("b.jpg", &photo("visitors/biden.jpg"))],
        )
        .expect(200);
    assert_eq!(
        (&none["accepted"], &none["person"]),
        (&json!(1), &json!("none"))
    );

    let untrained = server.upload(&format!("{acme}/predict"), &[("o.jpg", &obama)]);
    assert!(
        untrained.expect(409)["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("enrolled"))
    );
    let job = server
        .ask("POST", &format!("{acme}/train?c=5&max_iterations=200"))
        .expect(202);
    let result = server.finished(&job);
    assert_eq!(
        (&result["figures"]["people"], &result["figures"]["none"]),
        (&json!(2), &json!(1))
    );

    let seen = predict(
        &server,
        &format!("{acme}/predict?all_predictions=true&tagged=true"),
        "visitors/obama2.jpg",
    );
    let face = &seen["faces"][0];
    assert_eq!(
        (&face["label"], &face["reason"]),
        (&json!("obama"), &json!("recognised")),
        "{seen}"
    );
    let labels: Vec<_> = face["all_predictions"]
        .as_array()
        .expect("all")
        .iter()
        .map(|p| p["label"].clone())
        .collect();
    assert_eq!(labels.len(), 3, "two people and none");
    assert_eq!(face["landmarks"].as_array().map(Vec::len), Some(5));
    let tagged = server.ask("GET", seen["tagged"].as_str().expect("it was asked for"));
    assert_eq!(
        (tagged.status.as_u16(), tagged.media_type.as_str()),
        (200, "image/jpeg")
    );
    let stranger = predict(&server, &format!("{acme}/predict"), "visitors/biden.jpg");
    assert_eq!(
        (&stranger["faces"][0]["label"], &stranger["tagged"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        predict(&server, &format!("{acme}/predict"), "visitors/rocket.jpg")["faces"],
        json!([])
    );

    // Another dataset knows nobody of this one.
    server
        .upload(
            "/api/v1/datasets/other/people/collins/photos",
            &[("c.png", &collins)],
        )
        .expect(200);
    let job = server
        .ask("POST", "/api/v1/datasets/other/train")
        .expect(202);
    server.finished(&job);
    let there = predict(
        &server,
        "/api/v1/datasets/other/predict",
        "visitors/obama2.jpg",
    );
    assert_eq!(there["faces"][0]["label"], Value::Null);

    // Whoever is removed is known no more, and says so.
    server.ask("DELETE", &format!("{acme}/people/obama"));
    assert!(!kept.exists());
    let stale = server.upload(&format!("{acme}/predict"), &[("o.jpg", &obama)]);
    assert!(
        stale.expect(409)["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("train"))
    );
    let job = server.ask("POST", &format!("{acme}/train")).expect(202);
    server.finished(&job);
    let gone = predict(&server, &format!("{acme}/predict"), "visitors/obama2.jpg");
    assert_eq!(gone["faces"][0]["label"], Value::Null);
}

#[test]
fn the_ancestors_clients_get_the_answer_they_know() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    let obama = photo("enroll/barack_obama/obama.jpg");
    server
        .upload(
            "/api/v1/datasets/main/people/obama/photos",
            &[("o.jpg", &obama)],
        )
        .expect(200);
    let job = server
        .ask("POST", "/api/v1/datasets/main/train")
        .expect(202);
    server.finished(&job);
    let known = predict(
        &server,
        "/face-recognition?include_predictions=true",
        "visitors/obama2.jpg",
    );
    let [face] = &known["faces"].as_array().expect("faces")[..] else {
        panic!("one face: {known}");
    };
    let keys = |value: &Value| {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&known), ["faces"]);
    assert_eq!(
        keys(face),
        ["all_predictions", "bounding_box", "top_prediction"]
    );
    assert_eq!(keys(&face["top_prediction"]), ["confidence", "label"]);
    assert_eq!(
        keys(&face["bounding_box"]),
        ["bottom", "left", "right", "top"]
    );
    assert_eq!(keys(&face["all_predictions"][0]), ["confidence", "label"]);
    let edge = |name: &str| face["bounding_box"][name].as_f64().expect("a number");
    assert!(edge("left") < edge("right") && edge("top") < edge("bottom"));
    let confidence = face["top_prediction"]["confidence"]
        .as_f64()
        .expect("a number");
    assert!((0.0..=1.0).contains(&confidence));
    let stranger = predict(&server, "/face-recognition", "visitors/biden.jpg");
    assert_eq!(stranger["faces"][0]["top_prediction"]["label"], "none");
    assert_eq!(stranger["faces"][0]["all_predictions"], Value::Null);
}

#[test]
fn the_command_lines_people_stay_with_their_network_and_go_when_removed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let workspace = Workspace::new(folder.path());
    let photos = data("demo").join("enroll").display().to_string();
    workspace.done(&["--net", "facenet", "enroll", &photos]);
    let server = Server::start(folder.path(), &[]);
    let about = server.ask("GET", "/api/v1/about").expect(200);
    let space = about["space"].as_str().expect("a space");
    assert!(space.starts_with("facenet-"), "{space}");

    let obama = "/api/v1/datasets/main/people/barack_obama";
    let sent = [("2.jpg", &photo("visitors/obama2.jpg")[..])];
    server.upload(&format!("{obama}/photos"), &sent).expect(200);
    let job = server
        .ask("POST", "/api/v1/datasets/main/train")
        .expect(202);
    let result = server.finished(&job);
    assert_eq!(
        (
            &result["figures"]["people"],
            &result["figures"]["templates"]
        ),
        (&json!(2), &json!(3)),
        "{result}"
    );
    let person = server.ask("GET", obama).expect(200);
    assert_eq!(person["name"], "Barack Obama", "as it was written there");

    // One through the server, one through the command line.
    assert_eq!(cached(folder.path()), 3);
    assert_eq!(server.ask("DELETE", obama).status, 204);
    assert_eq!(cached(folder.path()), 1, "of Eileen Collins");
    assert!(!folder.path().join("classifier").exists());
    workspace.done(&["people", "remove", "eileen_collins"]);
    assert_eq!(cached(folder.path()), 0);
}

/// Photos that the workspace's cache knows.
fn cached(home: &Path) -> usize {
    let folders = fs::read_dir(home.join("cache")).expect("a cache");
    let files = folders.map(|folder| fs::read_dir(folder.expect("an entry").path()));
    files.map(|files| files.expect("a folder").count()).sum()
}

#[test]
fn a_job_that_is_cancelled_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    let obama = photo("enroll/barack_obama/obama.jpg");
    // Photos put there by hand are read by the job itself: that takes it a while.
    let by_hand = folder.path().join("datasets/main/training/obama");
    fs::create_dir_all(&by_hand).expect("a new folder");
    for n in 0..40u8 {
        // Bytes behind a JPEG's end change its digest, not its picture.
        fs::write(
            by_hand.join(format!("{n}.jpg")),
            [&obama[..], &[n]].concat(),
        )
        .expect("writable");
    }
    let job = server
        .ask("POST", "/api/v1/datasets/main/train")
        .expect(202);
    let path = format!("/api/v1/jobs/{}", job["id"]);
    let second = server.ask("POST", "/api/v1/datasets/main/train");
    assert_eq!(second.expect(409)["status"], 409, "one at a time");
    let removed = server.ask("DELETE", "/api/v1/datasets/main");
    assert_eq!(removed.expect(409)["status"], 409, "under its hands");
    server.ask("DELETE", &path).expect(202);
    let events = server.ask("GET", &format!("{path}/events")).text();
    assert!(events.contains("event: cancelled"), "{events}");
    let summary = server.ask("GET", "/api/v1/datasets/main").expect(200);
    assert_eq!(
        (&summary["ready"], &summary["photos"]),
        (&json!(false), &json!(40))
    );
}

fn predict(server: &Server, path: &str, shown: &str) -> Value {
    server.upload(path, &[("photo", &photo(shown))]).expect(200)
}
