//! The policy verbs of the real program: exit codes, what they say, and what is left in the workspace.

use std::{fs, path::Path};

use facelatch_policy::{PinAnswer, Policy};
use facelatch_protocol::PersonId;

use crate::{
    fake_door::{FakeDoor, code},
    verbs::{expect, facelatch},
};

const RULES: &str = "\
# Ours.
zone = \"Europe/Berlin\"
[schedules.office]
windows = [\"mon-fri 08:00-18:00\"]
[people.ada] # the first
schedules = [\"office\"]
doors = [\"front\"]
[open]
schedule = \"office\"
";

fn write(home: &Path, text: &str) {
    fs::create_dir_all(home).unwrap();
    fs::write(home.join("policy.toml"), text).unwrap();
}

#[test]
fn a_policy_is_begun_checked_and_asked() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    expect(&home, &["policy", "check"], 2, "facelatch policy template");
    let template = facelatch(&home, &["policy", "template"], "");
    assert_eq!(template.code, Some(0), "{}", template.err);
    write(&home, &template.out);
    expect(&home, &["policy", "check"], 0, "good, rules for 0 people");
    write(&home, RULES);
    let checked = facelatch(&home, &["policy", "check", "--json"], "");
    assert!(checked.err.contains("not enrolled in this workspace: ada"));
    let checked = checked.json();
    assert_eq!(
        (&checked["people"], &checked["zone"]),
        (&1.into(), &"Europe/Berlin".into())
    );

    let ask = |at, door| {
        let asked = [
            "policy", "ask", "--person", "ada", "--at", at, "--door", door,
        ];
        facelatch(&home, &[&asked[..], &["--json"]].concat(), "")
    };
    let cases = [
        ("2026-06-05T10:00", "front", 0, "granted"),
        ("2026-06-05T08:00Z", "front", 0, "granted"),
        ("2026-06-05T17:00Z", "front", 1, "not-now"),
        ("2026-06-05T10:00", "lab", 1, "not-here"),
        ("unknown", "front", 1, "no-clock"),
    ];
    for (at, door, code, reason) in cases {
        let answer = ask(at, door);
        assert_eq!(answer.code, Some(code), "{at} {door}: {}", answer.err);
        assert_eq!(answer.json()["reason"], reason, "{at} {door}");
    }
    // Six in the evening in Berlin.
    let answer = ask("2026-06-05T10:00", "front").json();
    assert_eq!(answer["held_open"], true);
    assert_eq!(answer["held_open_changes_unix_ms"], 1_780_675_200_000_u64);
    assert_eq!(ask("tomorrow", "front").code, Some(2));
    let ask = ["policy", "ask", "--person", "ada", "--door", "lab"];
    expect(&home, &ask, 1, "no: ada does not pass lab (not-here)");

    write(&home, &RULES.replace("windows", "window"));
    let says = "schedules.office.window: unknown key; did you mean \"windows\"?";
    expect(&home, &["policy", "check"], 2, says);
    expect(&home, &ask, 2, says);
    let pack = ["pack", "--without-people", "--without-self-test"];
    expect(&home, &pack, 2, says);
}

#[test]
fn pins_are_set_where_the_comments_stay() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    write(&home, RULES);
    let set = |person, digits: &str, more: &[&str]| {
        let call = ["policy", "pin", person, "--stdin"];
        facelatch(&home, &[&call[..], more].concat(), digits)
    };
    let read = || fs::read_to_string(home.join("policy.toml")).unwrap();
    let duress = &["--duress"][..];
    // What cannot be, and why.
    let refused = [
        ("ada", "123\n", &[][..], "4 to 8 digits"),
        ("ada", "12345678901\n", &[], "4 to 8 digits"),
        ("ada", "12a4\n", &[], "4 to 8 digits"),
        ("ada", "", &[], "4 to 8 digits"),
        ("ada", "4711\n", duress, "no PIN yet"),
        ("none", "4711\n", &[], "reserved"),
    ];
    for (person, digits, more, says) in refused {
        let ended = set(person, digits, more);
        assert_eq!(ended.code, Some(2), "{digits:?}");
        assert!(ended.err.contains(says), "{digits:?}: {}", ended.err);
        assert_eq!(read(), RULES);
    }
    expect(&home, &["policy", "pin", "ada"], 2, "--stdin");
    assert_eq!(set("ada", "4711\n", &[]).code, Some(0));
    let same = set("ada", "4711\n", duress);
    assert!(same.err.contains("has to be another one"), "{}", same.err);
    assert_eq!(set("ada", "4712", duress).code, Some(0));
    assert_eq!(
        set("ada", "4712\n", &[]).code,
        Some(2),
        "it is the duress code"
    );
    let text = read();
    assert!(text.starts_with("# Ours.\n") && text.contains("[people.ada] # the first\n"));
    assert!(!text.contains("4711"));
    let policy = Policy::parse(&text).unwrap();
    let ada = PersonId::parse("ada").unwrap();
    let answers = ["4711", "4712", "4713"].map(|pin| policy.check_pin(&ada, pin));
    assert_eq!(
        answers,
        [PinAnswer::Right, PinAnswer::Duress, PinAnswer::Wrong]
    );

    // Nobody gets a right by being given a PIN.
    write(&home, &format!("unlisted = \"never\"\n{RULES}"));
    let ended = set("alan", "4711\n", &[]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("[people.alan]"), "{}", ended.err);
}

#[test]
fn the_workspaces_policy_goes_into_every_bundle_unless_it_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let out = folder.path().join("a.flb").display().to_string();
    let pack = |more: &[&str]| {
        let call = [
            "pack",
            "--without-people",
            "--without-self-test",
            "--json",
            "--out",
            &out,
        ];
        let ended = facelatch(&home, &[&call[..], more].concat(), "");
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended.json()["policy"].clone()
    };
    assert_eq!(pack(&["--with-networks"]), false);
    write(&home, RULES);
    assert_eq!(pack(&[]), true);
    assert_eq!(pack(&["--without-policy", "--with-networks"]), false);
    let other = folder.path().join("other.toml");
    fs::write(&other, "unlisted = \"never\"\n").unwrap();
    assert_eq!(pack(&["--policy", other.to_str().unwrap()]), true);
    fs::write(&other, "unlisted = 1\n").unwrap();
    let wrong = [
        "pack",
        "--without-people",
        "--policy",
        other.to_str().unwrap(),
    ];
    expect(&home, &wrong, 2, "unlisted: write a text in quotes");
}

#[test]
fn a_door_says_which_policy_it_obeys() {
    let folder = tempfile::tempdir().unwrap();
    let (home, door) = (folder.path().join("home"), FakeDoor::start(None));
    let to = door.address().to_string();
    let code = code().to_string();
    let pair = ["pair", "--to", &to, "--code", &code];
    expect(&home, &pair, 0, "paired with");
    let status = ["policy", "status", "--to", &to];
    expect(&home, &status, 0, "rules for 2 people");
    let status = facelatch(&home, &[&status[..], &["--json"]].concat(), "").json();
    assert_eq!(status["policy"], "05".repeat(32));
    assert_eq!(
        (&status["clock"], &status["open"]),
        (&true.into(), &false.into())
    );
    // A workspace without one does not drop it by accident.
    let push = [
        "push",
        "--without-people",
        "--with-networks",
        "--no-wait",
        "--to",
        &to,
    ];
    expect(
        &home,
        &push,
        2,
        "obeys a policy, and this workspace has none",
    );
    let dropped = [&push[..], &["--without-policy"]].concat();
    // It is offered then; this door has no room for networks.
    expect(&home, &dropped, 3, "bundles of at most");
}
