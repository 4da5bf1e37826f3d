//! The daemon as a process: arguments, exit codes, and signals while the door is open.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use facelatch_boards::BUILT_IN;

use crate::stage::{DEADLINE, Stage, photo, zoo};

fn daemon() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_facelatchd"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

#[test]
fn wrong_calls_say_what_is_wrong_and_exit_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("door");
    let data = data.to_str().unwrap();
    let bad = dir.path().join("bad.toml");
    fs::write(&bad, "[door]\nunlok_ms = 5\n").unwrap();
    let bad = bad.to_str().unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&[], "--data"),
        (&["--data", data, "--dtaa", "x"], "--data"),
        (&["--data", data, "--once"], "--replay"),
        (&["--data", data, "--board", "sin"], "sim"),
        (
            &["--data", data, "--config", bad],
            "did you mean unlock_ms?",
        ),
        (
            &["--data", data, "--replay", "/nonexistent"],
            "/nonexistent",
        ),
    ];
    let mut failures = vec![];
    for (args, says) in cases {
        let output = daemon().args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() != Some(2) || !text.contains(says) {
            failures.push(format!("{args:?}: {:?} {text}", output.status.code()));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn help_teaches_with_examples() {
    let output = daemon().arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text.contains("Examples:") && text.contains("--replay photos --once"),
        "{text}"
    );
}

#[test]
fn a_signal_while_the_door_is_open_puts_the_relay_to_rest() {
    let stage = Stage::enrolled();
    let record = stage.dir.path().join("relay.jsonl");
    let photos = stage.dir.path().join("photos");
    fs::create_dir(&photos).unwrap();
    fs::copy(photo("visitors/obama2.jpg"), photos.join("obama2.jpg")).unwrap();
    let (_, sim) = BUILT_IN
        .into_iter()
        .find(|(name, _)| *name == "sim")
        .unwrap();
    let board = stage.dir.path().join("board.toml");
    fs::write(&board, format!("{sim}\nrelay_record = {record:?}\n")).unwrap();
    let mut config = stage.config.clone();
    config.door.unlock_ms = 300_000;
    let settings = stage.dir.path().join("device.toml");
    fs::write(&settings, config.to_text()).unwrap();

    let mut child = daemon()
        .args([
            "--board".as_ref(),
            board.as_os_str(),
            "--data".as_ref(),
            stage.data().as_os_str(),
        ])
        .args([
            "--config".as_ref(),
            settings.as_os_str(),
            "--replay".as_ref(),
            photos.as_os_str(),
        ])
        .args(["--zoo".as_ref(), zoo().dir().as_os_str()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let edges = || fs::read_to_string(&record).unwrap_or_default();
    let began = Instant::now();
    while !edges().contains("unlocked") {
        assert!(began.elapsed() < DEADLINE, "never opened: {}", edges());
        assert!(child.try_wait().unwrap().is_none(), "ended early");
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let edges = edges();
    let last = edges.lines().last().unwrap();
    assert!(
        last.contains("\"relay\":\"off\",\"latch\":\"locked\""),
        "{edges}"
    );
}
