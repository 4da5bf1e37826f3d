//! The OpenAPI document against the server: every example it shows is run, in order, with curl, in a shell.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use facelatch_tests::door::Door;
use facelatch_tests::programs::{data, root};
use facelatch_tests::server::Server;
use facelatch_tests::watch::watching;
use facelatch_tests::workspace::Workspace;
use serde::Deserialize;

#[derive(Deserialize)]
struct Examples {
    example: Vec<Example>,
}

#[derive(Deserialize)]
struct Example {
    operation: String,
    call: String,
    prints: String,
}

#[test]
fn every_documented_call_has_an_example_that_works() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let door = Door::start(&mut watching(&folder.path().join("door"), &["obama2.jpg"]));
    let home = folder.path().join("home");
    let workspace = Workspace::new(&home);
    let code = door.pairing_code().to_string();
    workspace.done(&["pair", "--to", &door.address().to_string(), "--code", &code]);
    let server = Server::start(&home, &[]);
    let photos = [
        "enroll/barack_obama/obama.jpg",
        "visitors/obama2.jpg",
        "visitors/obama3.jpg",
        "visitors/biden.jpg",
        "visitors/chelsea.png",
    ];
    for photo in photos {
        let from = data("demo").join(photo);
        fs::copy(&from, folder.path().join(from.file_name().expect("a file")))
            .expect("a shipped photo");
    }
    let key = server.ask("GET", "/api/v1/doors").expect(200)["doors"][0]["key"].clone();

    let text =
        fs::read_to_string(root().join("host-tool/src/serve/examples.toml")).expect("shipped");
    let examples: Examples = toml::from_str(&text).expect("well formed");
    let mut failures = Vec::new();
    for example in &examples.example {
        let run = Command::new("bash")
            .args(["-c", &example.call])
            .current_dir(folder.path())
            .env("FACELATCH", server.url())
            .env("TOKEN", server.token())
            .env("AUTH", format!("Authorization: Bearer {}", server.token()))
            .env("DOOR", key.as_str().expect("a key"))
            .output()
            .expect("bash runs");
        let out = String::from_utf8_lossy(&run.stdout);
        if !out.contains(&example.prints) {
            let err = String::from_utf8_lossy(&run.stderr);
            failures.push(format!(
                "{}: no {:?} in {out}{err}",
                example.operation, example.prints
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    let document = server.ask("GET", "/api/v1/openapi.json").expect(200);
    assert_eq!(document["openapi"].as_str().map(|v| &v[..4]), Some("3.1."));
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths
        .values()
        .flat_map(|item| item.as_object().expect("an item").values());
    let documented: BTreeSet<&str> = operations
        .map(|o| o["operationId"].as_str().expect("an id"))
        .collect();
    let run: BTreeSet<&str> = examples
        .example
        .iter()
        .map(|example| example.operation.as_str())
        .collect();
    assert_eq!(documented, run);
}
