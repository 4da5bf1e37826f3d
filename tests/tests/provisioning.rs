//! Setting up doors as an operator does: `facelatch` and `facelatchd` as processes, from the pairing code to the erasure of
//! a person. What single requests may and may not do is in the crates' own tests; here are the flows.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use facelatch_host::client::{Client, Credentials};
use facelatch_host::pack::wire_template;
use facelatch_protocol::bundle::{Head, PartKind};
use facelatch_protocol::{DisplayName, PersonId};
use facelatch_tests::PATIENCE;
use facelatch_tests::door::{Door, facelatchd};
use facelatch_tests::people::enrolled;
use facelatch_tests::watch::watching;
use facelatch_tests::workspace::Workspace;
use serde_json::Value;
use tempfile::TempDir;

/// The exit codes of `facelatch` that matter here.
const WRONG_CALL: i32 = 2;
const REFUSED: i32 = 3;
/// What shipped photos show.
const OBAMA: &str = "barack_obama";
const COLLINS: &str = "eileen_collins";

/// A folder for a door and its hosts.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Site {
        Site {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A door with somebody enrolled in front of it, paired with the workspace of the demo's people.
    fn watched(&self) -> (Door, Workspace) {
        let door = Door::start(&mut watching(&self.at("door"), &["obama2.jpg"]));
        let admin = Workspace::enrolled(&self.at("admin"));
        pair(&admin, &door);
        (door, admin)
    }
}

fn to(door: &Door) -> String {
    door.address().to_string()
}

/// Pairs as admin with the code the door shows.
fn pair(host: &Workspace, door: &Door) {
    let code = door.pairing_code().to_string();
    let paired = host.done(&["pair", "--to", &to(door), "--code", &code]);
    assert_eq!(paired["role"], "admin", "{paired}");
}

/// Pushes, and sees the bundle proven; the report.
fn push(host: &Workspace, door: &Door, more: &[&str]) -> Value {
    let report = host.done(&[&["push", "--to", &to(door)], more].concat());
    assert_eq!(report["trial"], "confirmed", "{report}");
    report
}

fn bytes(report: &Value, key: &str) -> u64 {
    report[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no {key} in {report}"))
}

/// Ids of people with the number of their templates, on a door or in the workspace.
fn people(host: &Workspace, more: &[&str]) -> Vec<(String, u64)> {
    let list = host.done(&[&["people", "list"], more].concat());
    let listed = list["people"].as_array().expect("a list").iter();
    let row = |person: &Value| {
        let id = person["person"].as_str().expect("an id");
        (id.to_owned(), bytes(person, "templates"))
    };
    listed.map(row).collect()
}

fn ids(people: &[(String, u64)]) -> Vec<&str> {
    people.iter().map(|(id, _)| id.as_str()).collect()
}

fn is_grant(event: &Value, person: &str) -> bool {
    event["event"] == "decision" && event["decision"] == "granted" && event["person"] == person
}

#[test]
fn hosts_are_paired_by_code_work_by_their_role_and_are_revoked() {
    let site = Site::new();
    let door = Door::start(&mut facelatchd(&site.at("door")));
    let to = &*to(&door);
    let admin = Workspace::enrolled(&site.at("admin"));
    let operator = Workspace::new(&site.at("operator"));
    let code = door.pairing_code().to_string();
    let wrong = "0000-0000-0000-0000";
    let status = ["status", "--to", to];

    admin.refused(&status, WRONG_CALL, &["not paired", "facelatch pair"]);
    admin.refused(
        &["pair", "--to", to, "--code", wrong],
        REFUSED,
        &["code is wrong", "2 more tries"],
    );
    let paired = admin.told(
        &["pair", "--to", to, "--name", "office"],
        &code.to_lowercase(),
    );
    assert_eq!(paired.code, Some(0), "{}{}", paired.out, paired.err);
    assert!(paired.out.contains("as admin office"), "{}", paired.out);
    // The code worked once.
    operator.refused(
        &["pair", "--to", to, "--code", &code],
        REFUSED,
        &["window is closed", "facelatch hosts invite"],
    );
    let hosts = |host: &Workspace| -> Vec<(String, String, bool)> {
        let list = host.done(&["hosts", "list", "--to", to]);
        let text = |host: &Value, key: &str| host[key].as_str().expect("a text").to_owned();
        let row = |host: &Value| (text(host, "name"), text(host, "role"), host["this"] == true);
        let mut rows: Vec<_> = list["hosts"]
            .as_array()
            .expect("a list")
            .iter()
            .map(row)
            .collect();
        rows.sort();
        rows
    };
    let doors = admin.done(&["doors", "list"]);
    let name = doors["doors"][0]["name"].as_str().expect("a name");
    assert_eq!(admin.done(&["status", "--to", name])["device"], name);
    let office = ("office".to_owned(), "admin".to_owned(), true);
    assert_eq!(hosts(&admin), std::slice::from_ref(&office));

    let invite = ["hosts", "invite", "--role", "operator", "--to", to];
    let invited = admin.done(&invite);
    assert_eq!(invited["role"], "operator");
    let code = invited["code"].as_str().expect("a code");
    assert_eq!(
        door.pairing_code().to_string(),
        code,
        "the door shows it too"
    );
    // Asking for more than was offered gives what was offered.
    let paired = operator.done(&["pair", "--to", to, "--code", code, "--name", "reception"]);
    assert_eq!(paired["role"], "operator", "{paired}");
    let reception = ("reception".to_owned(), "operator".to_owned(), false);
    assert_eq!(hosts(&admin), [office.clone(), reception]);

    let added = operator.done(&["people", "add", "ada", "--to", to]);
    assert_eq!(added["person"], "ada");
    assert_eq!(people(&operator, &["--to", to]), [("ada".to_owned(), 0)]);
    assert!(!operator.lines(&["events", "--to", to]).is_empty());
    assert_eq!(operator.done(&status)["role"], "operator");
    let bundle = enrolled().bundle();
    let bundle = bundle.to_str().expect("a plain path");
    for refused in [
        &["push", bundle, "--to", to][..],
        &["hosts", "list", "--to", to],
        &["hosts", "invite", "--to", to],
        &["hosts", "revoke", "office", "--to", to],
    ] {
        operator.refused(refused, REFUSED, &["role admin"]);
    }
    assert_eq!(admin.done(&status)["update"]["highest_counter"], 0);

    let listener = operator.follow(to);
    listener.wait_for("event", |event| bytes(event, "seq") > 0);
    let revoked = admin.done(&["hosts", "revoke", "reception", "--to", to]);
    assert_eq!(revoked["done"], "revoked");
    assert_eq!(hosts(&admin), [office]);
    let cut_off = listener.ended();
    assert_eq!(cut_off.code, Some(REFUSED), "at once: {}", cut_off.err);
    assert!(cut_off.err.contains("not paired"), "{}", cut_off.err);
    operator.refused(&status, REFUSED, &["not paired", "run `facelatch pair`"]);
    admin.refused(
        &["hosts", "revoke", "office", "--to", to],
        REFUSED,
        &["last admin"],
    );

    // Three wrong codes close a window, for the right code too.
    let invited = admin.done(&invite);
    let code = invited["code"].as_str().expect("a code");
    for left in ["2 more tries", "1 more tries", "closed now"] {
        operator.refused(&["pair", "--to", to, "--code", wrong], REFUSED, &[left]);
    }
    operator.refused(&["pair", "--to", to, "--code", code], REFUSED, &["closed"]);
    assert_eq!(door.stop().code, Some(0));
}

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
fn people_enrolled_at_the_door_stay_reach_the_workspace_and_go_when_asked_for() {
    let site = Site::new();
    let (door, admin) = site.watched();
    let to = &*to(&door);
    push(&admin, &door, &[]);
    enroll_at(&door, &admin, "carol");
    let at_door = |host: &Workspace| people(host, &["--to", to]);
    assert_eq!(ids(&at_door(&admin)), [OBAMA, "carol", COLLINS]);

    push(&admin, &door, &[]);
    assert_eq!(
        ids(&at_door(&admin)),
        [OBAMA, "carol", COLLINS],
        "a push merges"
    );

    let before = people(&admin, &[]);
    let pulled = admin.done(&["pull", "--to", to]);
    assert_eq!(
        (
            bytes(&pulled, "new_people"),
            bytes(&pulled, "new_templates")
        ),
        (1, 1)
    );
    let mut with_carol = before.clone();
    with_carol.insert(1, ("carol".to_owned(), 1));
    assert_eq!(people(&admin, &[]), with_carol);
    let again = admin.done(&["pull", "--to", to]);
    assert_eq!(
        (bytes(&again, "new_people"), bytes(&again, "new_templates")),
        (0, 0)
    );

    admin.done(&["people", "remove", "carol"]);
    admin.done(&["train"]);
    push(&admin, &door, &[]);
    assert_eq!(
        ids(&at_door(&admin)),
        [OBAMA, "carol", COLLINS],
        "still enrolled at the door"
    );
    push(&admin, &door, &["--replace"]);
    assert_eq!(
        at_door(&admin),
        before,
        "what the workspace holds, nothing else"
    );
}

/// Enrolls somebody with one template, as a host does over the link.
fn enroll_at(door: &Door, host: &Workspace, id: &str) {
    let home = host.home();
    let known = home.doors().find(&to(door)).expect("a workspace");
    let credentials = Credentials {
        secret: home.keys().host().expect("a workspace"),
        door: known.expect("paired").key,
    };
    let mut client = Client::connect(&door.target(), &credentials, PATIENCE).expect("it answers");
    let person = PersonId::parse(id).expect("an id");
    let name = DisplayName::parse(id).expect("a name");
    client
        .person_add(person.clone(), name)
        .expect("a new person");
    // A unit vector like nobody's.
    let someone = home.people().expect("enrolled").swap_remove(0);
    let mut template = someone.templates[0].clone();
    template.values.fill(0.0);
    template.values[0] = 1.0;
    let template = wire_template(&person, &template).expect("a template");
    client
        .template_add(person, template)
        .expect("a unit vector");
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

#[test]
fn a_removed_person_leaves_no_trace_and_the_other_one_stays() {
    let site = Site::new();
    let (data, file) = (site.at("door"), site.at("packed.flb"));
    let admin = Workspace::enrolled(&site.at("admin"));
    let traces = [COLLINS, OBAMA].map(|id| Traces::of(&admin, id));
    let packed = file.to_str().expect("a plain path");
    admin.done(&["pack", "--out", packed]);
    let gallery_parts = gallery_parts(&file);
    assert!(
        traces.iter().all(|traces| traces.are_in(&file)) && !gallery_parts.is_empty(),
        "a bundle file holds templates in clear: the search finds them there"
    );
    let look = |when: &str| {
        let mut failures = Vec::new();
        for path in files_under(&data) {
            if traces.iter().any(|traces| traces.are_in(&path)) {
                failures.push(format!("{when}: templates in {}", path.display()));
            }
            let name = path.file_name().expect("a file").to_string_lossy();
            let sealed = [".sealed", ".sealing"]
                .iter()
                .any(|end| name.ends_with(end));
            if sealed || gallery_parts.iter().any(|part| name.contains(part)) {
                failures.push(format!("{when}: a personal part, {}", path.display()));
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    };
    let remove = |door: &Door| {
        let removed = admin.done(&["people", "remove", COLLINS, "--to", &to(door)]);
        assert_eq!(removed["done"], "removed");
        assert_eq!(ids(&people(&admin, &["--to", &to(door)])), [OBAMA]);
    };

    // While the bundle that brought both is on trial: nobody is in front of this door.
    let door = Door::start(&mut facelatchd(&data));
    pair(&admin, &door);
    admin.done(&["push", packed, "--no-wait", "--to", &to(&door)]);
    assert_eq!(
        ids(&people(&admin, &["--to", &to(&door)])),
        [OBAMA, COLLINS]
    );
    remove(&door);
    look("removed while on trial");
    assert_eq!(door.stop().code, Some(0));
    look("stopped");

    // Started again, it proves itself without her. The next bundle brings her back, and she is removed once more.
    let door = Door::start(&mut watching(&data, &["obama2.jpg"]));
    let events = admin.follow(&to(&door));
    let confirmed = |event: &Value| event["event"] == "update" && event["step"] == "confirmed";
    events.wait_for("confirmed bundle", confirmed);
    assert_eq!(ids(&people(&admin, &["--to", &to(&door)])), [OBAMA]);
    push(&admin, &door, &[]);
    assert_eq!(
        ids(&people(&admin, &["--to", &to(&door)])),
        [OBAMA, COLLINS]
    );
    remove(&door);
    look("removed when proven");
    assert_eq!(door.stop().code, Some(0));

    let door = Door::start(&mut watching(&data, &["obama2.jpg"]));
    assert_eq!(ids(&people(&admin, &["--to", &to(&door)])), [OBAMA]);
    let seen = admin.lines(&["events", "--to", &to(&door)]).pop();
    let last = seen.map_or(0, |event| bytes(&event, "seq"));
    let events = admin.follow(&to(&door));
    events.wait_for("grant", |event| {
        bytes(event, "seq") > last && is_grant(event, OBAMA)
    });
    look("started again");
}

/// 64 bytes of a person's templates, 16 numbers, from every place in them: none of it comes about by chance.
struct Traces {
    windows: HashSet<[u8; 64]>,
}

impl Traces {
    fn of(host: &Workspace, id: &str) -> Traces {
        let id = PersonId::parse(id).expect("an id");
        let person = host.home().person(&id).expect("a workspace");
        let mut windows = HashSet::new();
        for template in person.expect("enrolled").templates {
            let values = template.values.iter().flat_map(|value| value.to_le_bytes());
            let bytes: Vec<u8> = values.collect();
            for window in bytes.windows(64) {
                windows.insert(window.try_into().expect("64 bytes"));
            }
        }
        assert!(windows.len() > 1_000);
        Traces { windows }
    }

    fn are_in(&self, path: &Path) -> bool {
        let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        bytes
            .windows(64)
            .any(|window| self.windows.contains(window))
    }
}

/// Digests of a bundle file's gallery parts.
fn gallery_parts(file: &Path) -> Vec<String> {
    let bytes = fs::read(file).expect("packed");
    let length = Head::length(*bytes.first_chunk().expect("a bundle")).expect("a bundle");
    let head = Head::parse(&bytes[..length]).expect("a bundle");
    let (_, manifest) = head.manifest().expect("a bundle");
    let gallery = manifest
        .parts
        .iter()
        .filter(|part| part.kind == PartKind::Gallery);
    gallery.map(|part| part.sha256.to_string()).collect()
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else {
            files.push(path);
        }
    }
    files
}
