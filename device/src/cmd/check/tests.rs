//! What is found on a machine without a door, and how it is told.

use facelatch_boards::sim::ClockKind;

use super::*;

fn args(board: &str, data: Option<&Path>) -> Args {
    Args {
        board: board.to_owned(),
        data: data.map(Path::to_owned),
        config: None,
        zoo: None,
        json: false,
    }
}

fn state_of(report: &Report, part: &str) -> Option<(State, String)> {
    let found = report.findings.iter().find(|f| f.part.starts_with(part));
    found.map(|finding| (finding.state, finding.says.clone()))
}

#[test]
fn the_simulated_board_has_all_it_needs_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("door");
    let report = args("sim", Some(&folder)).report().unwrap();
    assert!(report.state < State::Failed, "{report}");
    assert!(!folder.exists());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["board"], "sim");
    assert_eq!(json["findings"][0]["state"], "ok");
    let text = report.to_string();
    assert!(
        text.contains("ok       camera") && text.contains("board sim: "),
        "{text}"
    );
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("door");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("device.toml"), "[door]\nunlok_ms = 5").unwrap();
    let report = Args {
        zoo: Some(dir.path().join("no-networks")),
        ..args("linux", Some(&folder))
    };
    let report = report.report().unwrap();
    assert_eq!(report.state, State::Failed);
    for (part, says) in [
        ("settings", "did you mean unlock_ms"),
        ("networks", "no-networks"),
    ] {
        let (state, found) = state_of(&report, part).unwrap();
        assert_eq!(state, State::Failed, "{part}");
        assert!(found.contains(says), "{part}: {found}");
    }
    let failed = report.findings.iter().filter(|f| f.state == State::Failed);
    assert!(failed.clone().all(|finding| finding.advice.is_some()));
    let open = state_of(&report, "data").unwrap();
    assert_eq!(open.0, State::Warning, "{open:?}: others may look into it");
    assert!(args("p4", None).report().is_err());
}

#[test]
fn a_console_on_the_serial_port_is_found() {
    let kernel = "console=serial0,115200 console=tty1 root=/dev/mmcblk0p2";
    for (port, is) in [
        ("/dev/tty1", true),
        ("/dev/serial0", true),
        ("/dev/ttyUSB7", false),
    ] {
        assert_eq!(is_console(kernel, port), is, "{port}");
    }
}

#[test]
fn a_clock_in_the_past_and_one_that_nobody_has_set() {
    let mut file = BoardFile::named("sim").unwrap();
    file.sim.clock = ClockKind::Manual;
    file.sim.clock_untrusted = true;
    let board = facelatch_boards::open(&file).unwrap();
    assert_eq!(clock(board.clock.as_ref()).state, State::Warning);
    board.sim.as_ref().unwrap().trust.set(true);
    assert_eq!(clock(board.clock.as_ref()).state, State::Ok);
    // From now, whenever that is, to 2024.
    board
        .sim
        .unwrap()
        .wall
        .jump(PLAUSIBLE_UNIX_MS as i64 - 1 - board.clock.unix_ms() as i64);
    assert_eq!(clock(board.clock.as_ref()).state, State::Failed);
}
