//! A door that always has somebody in front of it: the sim board shows the same photos over and over, ten frames a second,
//! so that bundles on trial prove themselves and the enrolled are let in.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::door::facelatchd;
use crate::programs::data;

/// Frames a bundle has to judge in [`watching`] before it has proved itself.
const TRIAL_FRAMES: u32 = 3;

/// `facelatchd` with photos of `demo/visitors` in front of its camera for ever, and a short trial in its settings.
///
/// # Panics
/// As [`watching_with`].
pub fn watching(door: &Path, photos: &[&str]) -> Command {
    let settings = format!("[update]\ntrial_frames = {TRIAL_FRAMES}\n");
    let changes = [("gap_frames = 40", "gap_frames = 5")];
    watching_with(door, photos, &settings, &changes)
}

/// `facelatchd` as [`facelatchd`] starts it, with photos of `demo/visitors` in front of its camera for ever, with these
/// settings and without liveness, and with `changes` made to the sim board's file, each a text and what stands in its place.
///
/// # Panics
/// If its settings, board and photos cannot be written, beside the data folder; if the board's file lacks a text.
pub fn watching_with(
    door: &Path,
    photos: &[&str],
    settings: &str,
    changes: &[(&str, &str)],
) -> Command {
    let shown = door.with_extension("photos");
    fs::create_dir_all(&shown).expect("a new folder");
    for photo in photos {
        let from = data("demo/visitors").join(photo);
        fs::copy(from, shown.join(photo)).expect("a shipped photo");
    }
    fs::create_dir_all(door).expect("a new folder");
    // Photos stand for people, who would move.
    let settings = format!("{settings}\n[liveness]\nlevel = \"off\"\n");
    fs::write(door.join("device.toml"), settings).expect("a small file");
    let sim = facelatch_boards::BUILT_IN;
    let sim = sim.iter().find(|(name, _)| *name == "sim");
    let mut board = sim.expect("built in").1.to_owned();
    for (text, instead) in [("at_end = \"wait\"", "at_end = \"loop\"")]
        .iter()
        .chain(changes)
    {
        assert!(board.contains(text), "the sim board says nothing of {text}");
        board = board.replace(text, instead);
    }
    let file = door.with_extension("board.toml");
    fs::write(&file, board).expect("a small file");
    let mut command = facelatchd(door);
    command.arg("--board").arg(file).arg("--replay").arg(shown);
    command
}
