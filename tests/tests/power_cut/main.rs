//! A real door, killed at random moments while it enrolls, removes, receives, commits, tries and records: nothing that was
//! acknowledged is lost, it always starts again, and the bundle in use is the whole old or the whole new one.
//!
//! A kill (SIGKILL) stops a process between any two instructions; what it had written stays with the system. What a disk
//! loses when its power goes is in the tests of `store`, `gallery` and `audit`, which fail it at every write.

mod door;
#[path = "../../../device/tests/far_end/mod.rs"]
mod far_end;
mod model;

use std::{collections::BTreeMap, thread, time::Duration};

use self::{
    door::Stage,
    model::{Model, PATHS},
};

/// Longest life of a door after it listens, in milliseconds; the shortest is none.
const LIFE_MS: u64 = 500;
/// Longest life of one that is killed while it starts.
const START_MS: u64 = 200;

#[test]
fn a_door_killed_200_times_loses_nothing() {
    kill(200, 0x0fac_e1a7);
}

#[test]
#[ignore = "takes some ten minutes: cargo test --release -p facelatch-tests --test power_cut -- --ignored"]
fn a_door_killed_1000_times_loses_nothing() {
    kill(1_000, 0x1000_cafe);
}

fn kill(kills: u32, seed: u64) {
    let mut random = Random(seed);
    let stage = Stage::new();
    let mut model = Model::new(&mut stage.first_session());
    let mut tally: BTreeMap<&'static str, [u32; 2]> = BTreeMap::new();
    for kill in 0..kills {
        if random.below(4) == 0 {
            stage.start_and_kill_after(Duration::from_millis(random.below(START_MS)));
            continue;
        }
        let door = stage.start();
        let mut session = stage.session(&door);
        model
            .check(&mut session)
            .unwrap_or_else(|why| panic!("after {kill} kills: {why}"));
        let life = Duration::from_millis(random.below(LIFE_MS));
        let cut = thread::spawn(move || {
            thread::sleep(life);
            door.kill();
        });
        // The first thing that fails because the door is gone ends the round.
        while let Ok(done) = model.step(&mut session, &mut random) {
            tally.entry(done).or_default()[0] += 1;
        }
        if let Some(path) = model.in_flight() {
            tally.entry(path).or_default()[1] += 1;
        }
        cut.join().unwrap();
    }
    let door = stage.start();
    let mut session = stage.session(&door);
    model
        .check(&mut session)
        .and_then(|()| model.check_whole_record(&mut session))
        .unwrap_or_else(|why| panic!("at the end: {why}"));
    let (confirmed, recorded) = model.worth();
    println!("{kills} kills; done and cut: {tally:?}; {confirmed} trials, {recorded} records");
    for path in PATHS {
        let cut = tally.get(path).map_or(0, |[_, cut]| *cut);
        assert!(cut > 0, "{path} was never cut: {tally:?}");
    }
    assert!(confirmed > 0 && recorded > 100, "hardly anything was done");
}

/// Marsaglia's xorshift64: as random as a moment has to be, and the same again.
pub(crate) struct Random(u64);

impl Random {
    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
