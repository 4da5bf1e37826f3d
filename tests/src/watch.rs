//! A door that always has somebody in front of it: the sim board shows the same photos over and over, ten frames a second,
//! so that bundles on trial prove themselves and the enrolled are let in.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::door::facelatchd;
use crate::programs::data;

/// Frames a bundle has to judge here before it has proved itself.
const TRIAL_FRAMES: u32 = 3;

/// `facelatchd` as [`facelatchd`] starts it, with photos of `demo/visitors` in front of its camera. A short trial is part of
/// its settings from then on.
///
/// # Panics
/// If its settings, board and photos cannot be written, beside the data folder.
pub fn watching(door: &Path, photos: &[&str]) -> Command {
    let shown = door.with_extension("photos");
    fs::create_dir_all(&shown).expect("a new folder");
    for photo in photos {
        let from = data("demo/visitors").join(photo);
        fs::copy(from, shown.join(photo)).expect("a shipped photo");
    }
    fs::create_dir_all(door).expect("a new folder");
    let settings = format!("[update]\ntrial_frames = {TRIAL_FRAMES}\n");
    fs::write(door.join("device.toml"), settings).expect("a small file");
    let sim = facelatch_boards::BUILT_IN;
    let sim = sim.iter().find(|(name, _)| *name == "sim");
    let board = sim
        .expect("built in")
        .1
        .replace("at_end = \"wait\"", "at_end = \"loop\"")
        .replace("gap_frames = 40", "gap_frames = 5");
    let file = door.with_extension("board.toml");
    fs::write(&file, board).expect("a small file");
    let mut command = facelatchd(door);
    command.arg("--board").arg(file).arg("--replay").arg(shown);
    command
}
