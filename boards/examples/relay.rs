//! Moves the relay of a board as it is told, for wiring one and for `tests/board_raspi3b`: nothing but the relay is opened.
//!
//! A word a line on standard input: `lock`, `unlock`, or `panic`, which ends it as a mistake would. Each is answered with what
//! the latch does then; the end of the input ends it in order. `relay BOARD`, a board's name or file.

use std::io::stdin;
use std::process::ExitCode;

use facelatch_boards::{BoardFile, Error, Latch, open_relay};

fn main() -> ExitCode {
    let Some(board) = std::env::args().nth(1) else {
        eprintln!("usage: relay BOARD < WORDS");
        return ExitCode::from(2);
    };
    match obey(&board) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay: {error}");
            ExitCode::from(4)
        }
    }
}

fn obey(board: &str) -> Result<(), Error> {
    let mut relay = open_relay(&BoardFile::named(board)?)?;
    println!("{}", relay.latch());
    for word in stdin().lines().map_while(Result::ok) {
        match word.trim() {
            "lock" => relay.set(Latch::Locked)?,
            "unlock" => relay.set(Latch::Unlocked)?,
            "panic" => panic!("told to"),
            other => eprintln!("relay: no word: {other:?}"),
        }
        println!("{}", relay.latch());
    }
    Ok(())
}
