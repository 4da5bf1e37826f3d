//! The written file reads back, and every mistake is named with what would be right.

use facelatch_boards::{CameraFacts, DoorFacts, HostSerialFacts};

use super::*;

#[test]
fn the_written_file_reads_back_as_the_defaults() {
    let text = Config::default().to_text();
    let parse = |text| Config::parse(text, &Config::default());
    assert_eq!(parse(&text), Ok(Config::default()));
    assert_eq!(parse(""), Ok(Config::default()));
}

#[test]
fn the_link_has_one_set_of_defaults() {
    assert_eq!(Config::default().link(), link::Config::default());
}

#[test]
fn every_key_is_explained_and_no_number_is_written_in_full_length() {
    let text = Config::default().to_text();
    let lines: Vec<&str> = text.lines().collect();
    let keys = lines.iter().enumerate().filter(|(_, l)| l.contains(" = "));
    for (i, line) in keys {
        assert!(lines[i - 1].starts_with("# "), "{line} has no explanation");
        assert!(line.len() < 60, "{line}");
    }
}

#[test]
fn mistakes_are_named_with_what_would_be_right() {
    let cases = [
        (
            "[door]\nunlok_ms = 5",
            "unknown key door.unlok_ms; did you mean unlock_ms?",
        ),
        (
            "[dor]\nunlock_ms = 5",
            "unknown section dor; did you mean door?",
        ),
        (
            "[weather]",
            "unknown section weather; known are camera, motion, detector",
        ),
        (
            "[door]\nweather = 5",
            "unknown key door.weather; known are unlock_ms",
        ),
        (
            "[door]\nunlock_ms = 5",
            "door.unlock_ms is 5: give a value in 100..=300000",
        ),
        ("[door]\nunlock_ms = \"5s\"", "invalid type"),
        (
            "[vote]\nneeded = 6",
            "vote.window is 5: give at least vote.needed, 6",
        ),
        (
            "[pairing]\nhold_ms = 900",
            "enroll.hold_ms is 1000: give less than pairing.hold_ms, 900",
        ),
        (
            "[quality]\nseveral_faces = \"all\"",
            "unknown variant `all`",
        ),
        (
            "[quality]\nsharpness_min = nan",
            "quality.sharpness_min is NaN",
        ),
        ("[door", "TOML parse error"),
    ];
    let mut failures = vec![];
    for (text, expected) in cases {
        let found = Config::parse(text, &Config::default())
            .err()
            .unwrap_or_default();
        if !found.contains(expected) {
            failures.push(format!("{text:?}: {found}"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_first_start_writes_the_file_and_the_next_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("device.toml");
    let load = || Config::load_or_create(&path, Config::default());
    assert_eq!(load().unwrap(), Config::default());
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("unlock_ms = 5000", "unlock_ms = 7000");
    fs::write(&path, text).unwrap();
    assert_eq!(load().unwrap().door.unlock_ms, 7000);
    fs::write(&path, "nonsense").unwrap();
    let error = load().unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error}");
}

#[test]
fn a_door_starts_from_what_its_board_says_and_its_settings_have_the_last_word() {
    let mut board = BoardFile::named("sim").unwrap();
    board.door = DoorFacts {
        unlock_ms: Some(8_000),
        relock_on_close: Some(false),
        held_open_ms: None,
    };
    board.host_serial = Some(HostSerialFacts {
        device: "/dev/serial0".into(),
        baud: 57_600,
    });
    let of_board = Config::of_board(&board).unwrap();
    assert_eq!(of_board.door.unlock_ms, 8_000);
    assert_eq!(of_board.door.held_open_ms, 30_000);
    assert_eq!(of_board.link.serial_port, "/dev/serial0");
    let config = Config::parse(
        "[door]\nunlock_ms = 3000\n[link]\nserial_port = \"\"",
        &of_board,
    );
    let config = config.unwrap();
    assert_eq!(config.door.unlock_ms, 3_000);
    assert!(!config.door.relock_on_close);
    assert_eq!(
        (config.link.serial_port.as_str(), config.link.serial_baud),
        ("", 57_600)
    );
    board.door.unlock_ms = Some(1);
    let problem = Config::of_board(&board).unwrap_err();
    assert!(
        problem.starts_with("board file: door.unlock_ms is 1"),
        "{problem}"
    );
}

#[test]
fn a_camera_may_be_silent_for_less_than_its_watchdog_waits() {
    let mut config = Config::default();
    let mut board = BoardFile::named("pi4").unwrap();
    for (silent, patience, suits) in [
        (2_000, 15_000, true),
        (14_999, 15_000, true),
        (15_000, 15_000, false),
        (600_000, 15_000, false),
        (2_000, 1_000, false),
    ] {
        config.watchdog.camera_ms = patience;
        let CameraFacts::V4l(camera) = &mut board.camera else {
            panic!("a Raspberry Pi has a camera");
        };
        camera.timeout_ms = silent;
        let found = config.suits(&board);
        assert_eq!(found.is_ok(), suits, "{silent} and {patience}: {found:?}");
        if let Err(why) = found {
            let names = ["watchdog.camera_ms", "camera.timeout_ms"];
            assert!(names.iter().all(|name| why.contains(name)), "{why}");
        }
    }
    assert_eq!(config.suits(&BoardFile::named("sim").unwrap()), Ok(()));
}
