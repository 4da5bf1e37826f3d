//! A real door and everybody it should not trust: each hostile behaviour gets its typed refusal, the latch does not move,
//! memory stays bounded, and frames go on being judged.

mod before;
#[path = "../../../device/tests/far_end/mod.rs"]
mod far_end;
mod floods;
mod pairing;
mod stage;
mod within;

use facelatch_protocol::Refusal;

use self::stage::Stage;

/// One hostile behaviour: what it is told.
struct Case {
    name: &'static str,
    want: Refusal,
    run: fn(&Stage) -> Refusal,
}

/// Resident memory a door may take, in kB, whatever it is asked.
const MEMORY_KB: u64 = 150_000;

#[test]
fn every_hostile_behaviour_is_refused_and_disturbs_nothing() {
    let stage = Stage::start();
    let tables = [
        before::cases(),
        within::cases(),
        within::bundles(),
        pairing::cases(),
        floods::cases(),
    ];
    let cases: Vec<Case> = tables.into_iter().flatten().collect();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut failures = vec![];
    let before = stage.status();
    let mut frames = before.frames;
    for Case { name, want, run } in &cases {
        // One that hangs, panics or is told something else is one failure, and the rest still run.
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&stage)));
        match told {
            Ok(told) if told == *want => {}
            Ok(told) => failures.push(format!("{name}: told {told:?}, not {want:?}")),
            Err(_) => failures.push(format!("{name}: no typed refusal")),
        }
        let now = stage.wait_for_frame_after(frames);
        frames = now.frames;
        if (now.state, now.active) != (before.state, before.active) {
            failures.push(format!("{name}: the door's people or bundle changed"));
        }
    }
    let kb = stage.peak_memory_kb();
    println!(
        "{} hostile behaviours, {kb} kB resident at the peak",
        cases.len()
    );
    assert!(kb < MEMORY_KB, "{kb} kB resident at the peak");
    assert_eq!(stage.unlocked(), 0, "the latch moved");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
