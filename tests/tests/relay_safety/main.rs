//! The relay under fire: faults injected at random into doors on the sim board, and into daemons that are killed; judged by
//! what the relay did, beside what was on disk at that moment.
//!
//! Held against every run: no unlocking without a granting cause on record before it (a decision, a host, a request to exit,
//! fire), none longer than configured, the relay at rest at the end. The seed is printed; `FACELATCH_SEED` sets another.
//! The networks are the real ones, on small frames; some visits are of somebody enrolled, so that doors do open.
//!
//! `judge` is the judge, and tests itself; `life` is a door, with a `witness` beside it; `faults` is what breaks; `killed` are the kills.

#[path = "../../../device/tests/far_end/mod.rs"]
mod far_end;
mod faults;
#[path = "../../../device/tests/door/host.rs"]
#[allow(dead_code, reason = "other tests ask more")]
mod host;
mod judge;
mod killed;
mod life;
#[path = "../../../device/tests/door/stage.rs"]
#[allow(dead_code, reason = "other tests ask more")]
mod stage;
mod witness;

use std::{collections::BTreeMap, thread, time::Instant};

use self::life::Worker;

/// Doors that run side by side.
const WORKERS: u64 = 4;

/// What came of a run.
#[derive(Default)]
pub(crate) struct Tally {
    /// Faults that struck, by kind.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// What is right: unlockings by what granted them, starts, and so on.
    pub(crate) seen: BTreeMap<&'static str, u64>,
    /// What must never be.
    pub(crate) violations: Vec<String>,
}

impl Tally {
    pub(crate) fn struck(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub(crate) fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub(crate) fn total(&self) -> u64 {
        self.faults.values().sum()
    }

    fn add(&mut self, other: Tally) {
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (what, count) in other.seen {
            *self.seen.entry(what).or_default() += count;
        }
        self.violations.extend(other.violations);
    }
}

#[test]
fn ten_thousand_faults_open_nothing_unrecorded_and_nothing_for_too_long() {
    bombard(10_000);
}

#[test]
#[ignore = "takes some half an hour: cargo test --release -p facelatch-tests --test relay_safety -- --ignored"]
fn a_hundred_thousand_faults_open_nothing_unrecorded_and_nothing_for_too_long() {
    bombard(100_000);
}

fn bombard(faults: u64) {
    quiet_injected_panics();
    let (seed, began) = (seed(), Instant::now());
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let quota = faults.div_ceil(WORKERS);
            thread::spawn(move || Worker::new(seed.wrapping_add(number)).run(quota))
        })
        .collect();
    let mut tally = Tally::default();
    for worker in workers {
        tally.add(worker.join().expect("a worker's own asserts hold"));
    }
    println!(
        "{} faults in {:?}: {:?}",
        tally.total(),
        began.elapsed(),
        tally.faults
    );
    println!("seen: {:?}", tally.seen);
    assert!(
        tally.violations.is_empty(),
        "FACELATCH_SEED={seed}: {:#?}",
        tally.violations
    );
    assert!(tally.total() >= faults);
    for (_, kind, _) in faults::KINDS {
        let struck = tally.faults.get(kind).copied().unwrap_or(0);
        assert!(
            struck > 0,
            "FACELATCH_SEED={seed}: {kind} never struck: {:?}",
            tally.faults
        );
    }
    // A door that never opens proves nothing.
    let seen = |what| tally.seen.get(what).copied().unwrap_or(0);
    for (what, least) in [
        ("unlocked", faults / 40),
        ("granted to a face", faults / 400),
        ("let in by a host", faults / 100),
        ("let out by request", faults / 100),
        ("opened for fire", faults / 1_000),
        ("a standstill on record", faults / 400),
        ("died of a panic", faults / 1_000),
        ("stopped in order", faults / 1_000),
    ] {
        assert!(
            seen(what) >= least,
            "FACELATCH_SEED={seed}: {what} {} times: {:?}",
            seen(what),
            tally.seen
        );
    }
}

/// The run's seed: the one asked for, or always the same.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("FACELATCH_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0x5afe_d00a);
    println!("FACELATCH_SEED={seed}");
    seed
}

/// Thousands of injected panics would bury what a failure has to say.
fn quiet_injected_panics() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let injected = |text: &str| text.starts_with("injected fault");
        if !panic.payload_as_str().is_some_and(injected) {
            told(panic);
        }
    }));
}

/// Marsaglia's xorshift64: as random as a fault has to be, and the same again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        // Neighbouring seeds go different ways; 0 would go nowhere.
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// True so many times of a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn one_of<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.below(things.len() as u64) as usize]
    }
}
