//! The fuzz targets on stable Rust: every committed input, then inputs made from them and at random, as many as fit in
//! `FACELATCH_FUZZ_SECONDS` a target (3 unless set; 60 in continuous integration). What libFuzzer does for longer is in
//! `tests/fuzz`; the bodies are the same.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use facelatch_fuzz_targets::{TARGETS, Target};
use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};

/// Inputs between two looks at the clock.
const ROUND: u32 = 64;

fn corpus(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target.name)
}

/// All committed inputs of a target, by name.
fn committed(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = corpus(target);
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        fs::read(entry.path()).map(|bytes| (name, bytes))
    };
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| read(entry).unwrap_or_else(|e| panic!("{}: {e}", folder.display())))
        .collect();
    inputs.sort();
    inputs
}

/// One change of an input.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    /// A length or a count, as postcard or a header writes it, becomes the largest there is.
    Huge(Index),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<Index>(), 1usize..40).prop_map(|(at, len)| Change::Remove(at, len)),
        (any::<Index>(), 1usize..40).prop_map(|(at, len)| Change::Repeat(at, len)),
        any::<Index>().prop_map(Change::Huge),
        any::<Index>().prop_map(Change::Cut),
    ]
}

fn changed(mut bytes: Vec<u8>, change: &Change) -> Vec<u8> {
    if bytes.is_empty() {
        return match change {
            Change::Insert(_, inserted) => inserted.clone(),
            _ => bytes,
        };
    }
    let place = |at: &Index| at.index(bytes.len());
    match change {
        Change::Flip(at, bit) => {
            let at = place(at);
            bytes[at] ^= 1 << bit;
        }
        Change::Set(at, byte) => {
            let at = place(at);
            bytes[at] = *byte;
        }
        Change::Insert(at, inserted) => {
            let at = place(at);
            bytes.splice(at..at, inserted.iter().copied());
        }
        Change::Remove(at, len) => {
            let at = place(at);
            bytes.drain(at..bytes.len().min(at + len));
        }
        Change::Repeat(at, len) => {
            let at = place(at);
            let repeated = bytes[at..bytes.len().min(at + len)].to_vec();
            bytes.splice(at..at, repeated);
        }
        Change::Huge(at) => {
            let at = place(at);
            bytes.splice(at..at + 1, [0xff, 0xff, 0xff, 0xff, 0x0f]);
        }
        Change::Cut(at) => {
            let at = place(at);
            bytes.truncate(at);
        }
    }
    bytes
}

/// Committed inputs with up to eight changes, their tail perhaps another's, and now and then bytes at random.
fn input(target: &Target) -> impl Strategy<Value = Vec<u8>> + use<> {
    let inputs: Vec<Vec<u8>> = committed(target)
        .into_iter()
        .map(|(_, bytes)| bytes)
        .collect();
    let max_len = target.max_len;
    let one = prop::sample::select(inputs.clone());
    let tail = prop::option::weighted(0.2, (prop::sample::select(inputs), any::<Index>()));
    let mutated = (one, tail, vec(change(), 0..8)).prop_map(move |(mut bytes, tail, changes)| {
        if let Some((other, at)) = tail {
            let at = at.index(bytes.len().min(other.len()).max(1));
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(at..).unwrap_or_default());
        }
        let mut bytes = changes.iter().fold(bytes, changed);
        bytes.truncate(max_len);
        bytes
    });
    prop_oneof![9 => mutated, 1 => vec(any::<u8>(), 0..max_len)]
}

fn time_a_target() -> Duration {
    let seconds = env::var("FACELATCH_FUZZ_SECONDS").ok();
    let seconds = seconds.map_or(3, |text| {
        text.parse()
            .unwrap_or_else(|e| panic!("FACELATCH_FUZZ_SECONDS={text}: {e}"))
    });
    Duration::from_secs(seconds)
}

/// Runs a target on its committed inputs, then on made ones until its time is over. Proptest makes what fails smaller, and
/// prints it.
fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| panic!("no target {name}"));
    for (_, bytes) in committed(target) {
        (target.body)(&bytes);
    }
    let input = input(target);
    let begun = Instant::now();
    let mut inputs = 0;
    while begun.elapsed() < time_a_target() {
        let mut runner = TestRunner::new(Config {
            cases: ROUND,
            failure_persistence: None,
            ..Config::default()
        });
        let run = runner.run(&input, |bytes| {
            (target.body)(&bytes);
            Ok(())
        });
        run.unwrap_or_else(|error| panic!("{name}: {error}"));
        inputs += ROUND;
    }
    println!("{name}: {inputs} inputs");
}

macro_rules! replay {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )+

        #[test]
        fn every_target_is_replayed_and_has_a_fuzz_program() {
            let replayed = [$(stringify!($name)),+];
            let targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(targets, replayed);
            let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
            let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
            for name in targets {
                let path = format!("targets/{name}.rs");
                assert!(manifest.contains(&format!("path = \"{path}\"")), "{name}");
                let program = fs::read_to_string(fuzz.join(path)).unwrap();
                assert!(program.contains(&format!("facelatch_fuzz_targets::{name}(data)")), "{name}");
            }
        }
    };
}

replay! {
    frame message names handshake bundle manifest gallery audit policy
    config classifier store people record
}

/// The recipe of the committed inputs is the crate `tests/targets`; more may lie beside them, such as what once failed.
#[test]
fn the_seeds_are_committed_as_they_are_made() {
    let mut failures = vec![];
    for target in TARGETS {
        let committed = committed(target);
        for (name, bytes) in (target.seeds)() {
            let same = committed.iter().any(|(n, b)| n == name && *b == bytes);
            if !same {
                failures.push(format!("{}/{name}", target.name));
            }
            assert!(bytes.len() <= target.max_len, "{}/{name}", target.name);
        }
    }
    assert!(
        failures.is_empty(),
        "write them again with the example `seeds` of facelatch-fuzz-targets: {failures:?}"
    );
}
