//! The real program at a door: pairing, hosts, keys, pushes and their exit codes.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::fake_door::{FakeDoor, Mischief, code};

pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}

/// Runs `facelatch` with its workspace in `home`, and `input` on its standard input.
pub(crate) fn facelatch(home: &Path, args: &[&str], input: &str) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_facelatch"))
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("FACELATCH_HOME", home)
        .env(
            "FACELATCH_ZOO",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/zoo"),
        )
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that asks for nothing may be gone.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    Ended {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs it, and expects this exit code and words on standard output or error.
pub(crate) fn expect(home: &Path, args: &[&str], code: i32, says: &str) -> Ended {
    let ended = facelatch(home, args, "");
    let said = ended.out.contains(says) || ended.err.contains(says);
    assert!(
        ended.code == Some(code) && said,
        "{args:?}: expected {code} and {says:?}, found {:?}: {}{}",
        ended.code,
        ended.out,
        ended.err
    );
    ended
}

#[test]
fn a_door_is_paired_used_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (home, door) = (folder.path().join("home"), FakeDoor::start(None));
    let to = door.address().to_string();
    let to = to.as_str();
    let unpaired = format!("facelatch pair --to {to} --code");
    expect(&home, &["status", "--to", to], 2, &unpaired);
    let at_door = ["pair", "--to", to, "--code"];
    expect(
        &home,
        &[&at_door[..], &["no code"]].concat(),
        2,
        "16 letters",
    );
    let wrong = [&at_door[..], &["7KQM-29FX-ABCD-0123"]].concat();
    expect(&home, &wrong, 3, "2 more tries");

    // The code comes on standard input, typed in lower case.
    let typed = code().to_string().to_lowercase();
    let paired = facelatch(
        &home,
        &["pair", "--to", to, "--name", "desk", "--json"],
        &typed,
    );
    assert_eq!(paired.code, Some(0), "{}", paired.err);
    let paired = paired.json();
    assert_eq!(
        (&paired["device"], &paired["role"]),
        (&"fake".into(), &"admin".into())
    );
    assert_eq!(paired["key"], door.key().to_string());

    // By its place, by its name, and because there is only one.
    for to in [to, "fake", "127.0.0.1:1"] {
        let code = if to == "127.0.0.1:1" { 4 } else { 0 };
        expect(&home, &["status", "--to", to], code, "");
    }
    let status = facelatch(&home, &["status", "--to", to, "--json"], "").json();
    assert_eq!(status["role"], "admin");
    assert_eq!(status["update"]["keys_serial"], 1);
    expect(&home, &["status", "--to", to], 0, "this host as admin");

    let hosts = facelatch(&home, &["hosts", "list", "--to", to, "--json"], "").json();
    assert_eq!(hosts["hosts"][0]["name"], "desk");
    assert_eq!(hosts["hosts"][0]["this"], true);
    let invited = facelatch(&home, &["hosts", "invite", "--to", to, "--json"], "").json();
    let other = folder.path().join("other");
    let invited = invited["code"].as_str().unwrap().to_owned();
    let operator = [
        &at_door[..],
        &[&invited, "--role", "operator", "--name", "porter"],
    ]
    .concat();
    expect(&other, &operator, 0, "as operator");
    expect(&other, &["status", "--to", to], 0, "this host as operator");
    expect(
        &other,
        &["hosts", "list", "--to", to],
        3,
        "takes the role admin",
    );
    expect(&home, &["door", "unlock"], 2, "--to");
    expect(
        &other,
        &["door", "unlock", "--to", to],
        0,
        "unlocked, door unlocked until 2023",
    );
    expect(
        &other,
        &["door", "lockdown", "--to", to],
        3,
        "takes the role admin",
    );
    let locked = facelatch(&home, &["door", "lockdown", "--to", to, "--json"], "").json();
    assert_eq!(
        (&locked["door"], &locked["done"]),
        (&"locked-down".into(), &"locked down".into())
    );
    expect(&other, &["door", "unlock", "--to", to], 3, "door release");
    expect(
        &home,
        &["door", "release", "--to", to],
        0,
        "released, door locked",
    );
    let cleared = ["door", "clear-lockout", "--to", to];
    expect(&other, &cleared, 0, "lockouts ended, door locked");
    expect(
        &other,
        &["door", "passed-out", "ada", "--to", to],
        3,
        "knows no such person",
    );
    expect(
        &home,
        &["door", "passed-out", "not an id", "--to", to],
        2,
        "id",
    );
    expect(&home, &["hosts", "close", "--to", to], 0, "closed");
    expect(
        &home,
        &["hosts", "revoke", "porter", "--to", to],
        0,
        "revoked",
    );
    expect(
        &home,
        &["hosts", "revoke", "porter", "--to", to],
        1,
        "no such host",
    );
    expect(&other, &["status", "--to", to], 3, "not paired");
    expect(&home, &["hosts", "list"], 2, "--to");

    let doors = facelatch(&home, &["doors", "list", "--json"], "").json();
    assert_eq!(doors["doors"][0]["reached_at"][0], to);
    expect(&home, &["doors", "forget", "fake"], 0, "forgotten");
    expect(&home, &["doors", "forget", "fake"], 1, "no such door");
    expect(&home, &["people", "list", "--to", to], 2, "not paired with");
}

#[test]
fn a_push_reports_what_was_saved_and_a_rollback_ends_with_exit_code_3() {
    let folder = tempfile::tempdir().unwrap();
    let (home, door) = (folder.path().join("home"), FakeDoor::start(None));
    let to = door.address().to_string();
    let code = code().to_string();
    expect(
        &home,
        &["pair", "--to", &to, "--code", &code],
        0,
        "paired with",
    );
    let rules = folder.path().join("rules.toml");
    fs::write(&rules, "# nobody\n".repeat(2_000)).unwrap();
    let rules = rules.to_str().unwrap();
    let push = [
        "push",
        "--to",
        &to,
        "--without-people",
        "--policy",
        rules,
        "--json",
    ];
    let first = facelatch(&home, &push, "").json();
    assert_eq!(first["trial"], "confirmed", "{first}");
    assert_eq!(
        (&first["bytes_saved"], &first["bytes_sent"]),
        (&0.into(), &first["bytes"])
    );
    assert!(first["bytes"].as_u64().unwrap() > 18_000 + 2 * 160 * 160 * 3);
    assert_eq!(first["clock_moved_ms"], 5);
    // The same again is a newer bundle of the same parts.
    let second = facelatch(&home, &push, "").json();
    assert_eq!(
        (&second["bytes_sent"], &second["bytes_saved"]),
        (&0.into(), &first["bytes"])
    );
    assert!(second["counter"].as_u64() > first["counter"].as_u64());
    assert_ne!(second["sha256"], first["sha256"]);

    // The door knows of a later bundle than this workspace.
    door.state().highest += 1_000_000;
    let later = facelatch(&home, &[&push[..], &["--no-wait"]].concat(), "");
    assert_eq!(later.code, Some(0), "{}", later.err);
    assert_eq!(later.json()["trial"], "pending");
    assert!(later.json()["counter"].as_u64() > second["counter"].as_u64().map(|c| c + 999_999));
    let waits = [&push[..], &["--wait", "0"]].concat();
    assert_eq!(facelatch(&home, &waits, "").code, Some(1));

    door.state().healthy = false;
    let back = facelatch(&home, &push, "");
    assert_eq!(back.code, Some(3), "{}", back.err);
    assert_eq!(back.json()["rolled_back"]["reason"], "networks");
    assert_eq!(
        back.json()["rolled_back"]["text"],
        "the embedder gave nonsense"
    );
    expect(&home, &["status", "--to", &to], 0, "went back from");

    // Another workspace's signature.
    let other = folder.path().join("other");
    let file = folder.path().join("other.flb");
    let file = file.to_str().unwrap();
    let pack = [
        "pack",
        "--without-people",
        "--policy",
        rules,
        "--without-self-test",
        "--out",
        file,
    ];
    expect(&other, &pack, 0, "a policy");
    expect(
        &home,
        &["push", file, "--to", &to],
        3,
        "facelatch keys send",
    );
    expect(
        &home,
        &["push", file, "--with-networks", "--to", &to],
        2,
        "cannot be used",
    );
}

#[test]
fn keys_are_rotated_at_every_door_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let doors = [(); 2].map(|()| FakeDoor::start(None));
    let [first, second] = doors.each_ref().map(|door| door.address().to_string());
    let code = code().to_string();
    for (n, to) in [&first, &second].into_iter().enumerate() {
        doors[n].state().secret = [40 + n as u8; 32];
        expect(
            &home,
            &["pair", "--to", to, "--code", &code],
            0,
            "paired with",
        );
    }
    let keys = facelatch(&home, &["keys", "show", "--json"], "").json();
    assert_eq!(
        (&keys["serial"], &keys["rotating"]),
        (&1.into(), &false.into())
    );
    expect(&home, &["keys", "send", "--to", &first], 2, "ever rotated");

    // The second door does not take it: the first has it, the old keys stay.
    doors[1].state().mischief = Mischief::InClear;
    let rotate = ["keys", "rotate", "--to", &first, "--to", &second];
    expect(&home, &rotate, 4, "not by");
    let serial = |n: usize| doors[n].state().keys.map(|keys| keys.serial);
    assert_eq!((serial(0), serial(1)), (Some(2), Some(1)));
    expect(&home, &["keys", "show"], 0, "a rotation is under way");
    doors[1].state().mischief = Mischief::None;
    expect(&home, &rotate, 0, "trusted by 2 doors");
    assert_eq!((serial(0), serial(1)), (Some(2), Some(2)));
    let after = facelatch(&home, &["keys", "show", "--json"], "").json();
    assert_eq!(
        (&after["serial"], &after["rotating"]),
        (&2.into(), &false.into())
    );
    assert_ne!(after["signing"][0], keys["signing"][0]);
    assert_eq!(after["signing"][1], keys["signing"][1]);

    expect(
        &home,
        &["keys", "rotate", "--key", "2", "--to", &first],
        0,
        "1 door",
    );
    expect(&home, &["keys", "send", "--to", &second], 0, "keys 3");
    assert_eq!((serial(0), serial(1)), (Some(3), Some(3)));
}
