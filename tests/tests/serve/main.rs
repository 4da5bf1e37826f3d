//! The HTTP API of `facelatch serve`: the real server, real photos, a real simulated door.

mod calls;
mod document;
mod errors;
mod stress;

use std::fs;

use facelatch_tests::programs::data;

/// A shipped photo's bytes.
fn photo(path: &str) -> Vec<u8> {
    fs::read(data("demo").join(path)).expect("a shipped photo")
}
