//! Keypads: the keys of one, as a line of ASCII sends them and as a matrix of rows and columns is scanned.
//!
//! The reading of bytes and of scans is pure and here; `wired/keypad.rs` brings both, `sim/panel.rs` has keys without wires.

use std::path::PathBuf;

use serde::Deserialize;

use crate::Error;

/// One key of a keypad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// 0 to 9.
    Digit(u8),
    /// What ends an entry: `#`.
    Enter,
    /// What takes an entry back: `*`.
    Clear,
}

impl Key {
    /// The key that a byte of a serial keypad, or a letter of a matrix, stands for: `0` to `9`, `#` or a line's end for
    /// enter, `*` for clear. Keypads have other keys (A to D, function keys), which mean nothing here.
    #[must_use]
    pub fn of_ascii(byte: u8) -> Option<Key> {
        match byte {
            b'0'..=b'9' => Some(Key::Digit(byte - b'0')),
            b'#' | b'\r' => Some(Key::Enter),
            b'*' => Some(Key::Clear),
            _ => None,
        }
    }
}

/// Keys at the door.
pub trait Keypad: Send {
    /// The oldest key that was pressed and not told yet, without waiting.
    ///
    /// # Errors
    ///
    /// [`Error::KeypadFailed`]; the door works without its keypad, but lets nobody in who needs a PIN. The next call tries
    /// again.
    fn key(&mut self) -> Result<Option<Key>, Error>;
}

/// How a keypad is connected.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum KeypadFacts {
    /// It sends a byte of ASCII a key.
    Serial(SerialFacts),
    /// Its keys connect a row with a column.
    Matrix(MatrixFacts),
}

/// A keypad on a serial line.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialFacts {
    /// Device node, such as `/dev/ttyUSB0`.
    pub device: PathBuf,
    /// Its speed, in bits a second.
    pub baud: u32,
}

/// A keypad of rows and columns. One row after the other is pulled to ground; a pressed key pulls its column with it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatrixFacts {
    /// Lines of the rows, from the top.
    pub rows: Vec<u32>,
    /// Lines of the columns, from the left; each is held high by a resistor inside the processor.
    pub columns: Vec<u32>,
    /// What is printed on the keys, a text a row: digits, `#` for enter, `*` for clear; anything else means nothing.
    pub keys: Vec<String>,
    /// A change shorter than this is bounce.
    pub debounce_ms: u32,
}

impl KeypadFacts {
    /// The lines it takes.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let (rows, columns) = match self {
            KeypadFacts::Serial(_) => (&[][..], &[][..]),
            KeypadFacts::Matrix(facts) => (facts.rows.as_slice(), facts.columns.as_slice()),
        };
        let rows = rows.iter().map(|line| ("row of the keypad", *line));
        rows.chain(columns.iter().map(|line| ("column of the keypad", *line)))
    }

    /// Whether every PIN can be typed on it.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            KeypadFacts::Serial(_) => Ok(()),
            KeypadFacts::Matrix(facts) => facts.layout().map(|_| ()),
        }
    }
}

/// Rows and columns of the largest keypad.
const MOST: usize = 8;

impl MatrixFacts {
    /// The key of each crossing, row by row.
    pub(crate) fn layout(&self) -> Result<Vec<Option<Key>>, String> {
        for (what, lines) in [("rows", &self.rows), ("columns", &self.columns)] {
            if lines.is_empty() || lines.len() > MOST {
                return Err(format!("keypad.{what} has to name 1 to {MOST} lines"));
            }
        }
        let columns = self.columns.len();
        let fits = |row: &String| row.chars().count() == columns;
        if self.keys.len() != self.rows.len() || !self.keys.iter().all(fits) {
            return Err(format!(
                "keypad.keys has to have a text of {columns} characters for each of {} rows",
                self.rows.len()
            ));
        }
        let key = |letter| u8::try_from(letter).ok().and_then(Key::of_ascii);
        let layout: Vec<Option<Key>> = self
            .keys
            .iter()
            .flat_map(|row| row.chars())
            .map(key)
            .collect();
        for needed in "0123456789#".bytes().filter_map(Key::of_ascii) {
            let there = layout.iter().filter(|key| **key == Some(needed)).count();
            if there != 1 {
                return Err(format!(
                    "keypad.keys names {there} keys for {needed:?}: name one"
                ));
            }
        }
        Ok(layout)
    }
}

#[cfg(any(test, feature = "pi", feature = "gpio"))]
pub(crate) use scan::Scanner;

#[cfg(any(test, feature = "pi", feature = "gpio"))]
mod scan {
    use std::time::Duration;

    use super::Key;

    /// Scans of a matrix to keys.
    ///
    /// A picture of the keys counts once it has stayed the same for as long as bounce lasts. A key is told once, when it
    /// has gone down. Three keys at the corners of a rectangle read as four: so while more than two are down, none is
    /// believed, and those that were down then are not told before they have been let go. Nor are two that go down at
    /// once: nobody knows in which order.
    #[derive(Debug)]
    pub(crate) struct Scanner {
        layout: Vec<Option<Key>>,
        debounce: Duration,
        picture: u64,
        since: Duration,
        settled: u64,
    }

    impl Scanner {
        /// For keys as [`super::MatrixFacts::layout`] gives them.
        pub(crate) fn new(layout: Vec<Option<Key>>, debounce: Duration) -> Scanner {
            Scanner {
                layout,
                debounce,
                picture: 0,
                since: Duration::ZERO,
                settled: 0,
            }
        }

        /// One scan: bit `row * columns + column` says whether that key reads as down.
        pub(crate) fn scan(&mut self, picture: u64, now: Duration) -> Option<Key> {
            if picture != self.picture {
                (self.picture, self.since) = (picture, now);
            }
            if now.saturating_sub(self.since) < self.debounce || picture == self.settled {
                return None;
            }
            let new = picture & !self.settled;
            self.settled = picture;
            if picture.count_ones() > 2 || new.count_ones() != 1 {
                return None;
            }
            // At most 64 keys.
            let at = new.trailing_zeros() as usize;
            self.layout.get(at).copied().flatten()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn matrix() -> MatrixFacts {
        MatrixFacts {
            rows: vec![16, 20, 21, 26],
            columns: vec![13, 19, 18],
            keys: ["123", "456", "789", "*0#"].map(str::to_owned).to_vec(),
            debounce_ms: 20,
        }
    }

    #[test]
    fn bytes_are_keys_or_nothing() {
        let keys: Vec<Key> = (0..=u8::MAX).filter_map(Key::of_ascii).collect();
        assert_eq!(keys.len(), 13);
        assert_eq!(Key::of_ascii(b'7'), Some(Key::Digit(7)));
        assert_eq!(Key::of_ascii(b'\r'), Some(Key::Enter));
        // What ends a line after a carriage return must not end an entry twice.
        assert_eq!(Key::of_ascii(b'\n'), None);
    }

    /// One letter a scan, 10 ms apart: a key that reads as down; `.` for none, `(` to `)` for several at once.
    fn typed(scans: &str) -> Vec<Key> {
        let facts = matrix();
        let letters: Vec<char> = facts.keys.concat().chars().collect();
        let bit = |letter| 1_u64 << letters.iter().position(|l| *l == letter).expect("a key");
        let mut scanner = Scanner::new(facts.layout().expect("whole"), Duration::from_millis(20));
        let (mut now, mut open, mut picture, mut keys) = (Duration::ZERO, false, 0, vec![]);
        for letter in scans.chars() {
            match letter {
                '(' => open = true,
                ')' => open = false,
                '.' => {}
                key => picture |= bit(key),
            }
            if !open {
                now += Duration::from_millis(10);
                keys.extend(scanner.scan(picture, now));
                picture = 0;
            }
        }
        keys
    }

    #[test]
    fn scans_become_keys_without_bounce_and_ghosts() {
        use Key::{Clear, Digit, Enter};
        let cases: [(&str, Vec<Key>); 14] = [
            ("", vec![]),
            ("......", vec![]),
            ("111", vec![Digit(1)]),
            ("1111111111", vec![Digit(1)]),
            ("11.", vec![]),
            ("1.1.1.111...", vec![Digit(1)]),
            ("111...111...", vec![Digit(1), Digit(1)]),
            ("111.111", vec![Digit(1)]),
            (
                "111...000...###...***",
                vec![Digit(1), Digit(0), Enter, Clear],
            ),
            // The next key before the one before it is let go, as fast typists do.
            ("111(12)(12)(12)222...", vec![Digit(1), Digit(2)]),
            ("(12)(12)(12)...", vec![]),
            // 1, 2 and 4 read as 1, 2, 4 and 5.
            (
                "111(12)(12)(12)(1245)(1245)(1245)(24)(24)(24)444",
                vec![Digit(1), Digit(2)],
            ),
            ("(1245)(1245)(1245)555...", vec![]),
            ("(123456789)(123456789)(123456789)...111", vec![Digit(1)]),
        ];
        let mut failures = vec![];
        for (scans, expected) in cases {
            let found = typed(scans);
            if found != expected {
                failures.push(format!("{scans}: {found:?}, not {expected:?}"));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn a_matrix_on_which_no_pin_could_be_typed_is_refused() {
        type Change = fn(&mut MatrixFacts);
        let cases: [(&str, Change); 5] = [
            ("keypad.rows", |facts| facts.rows.clear()),
            ("keypad.columns", |facts| facts.columns = vec![1; 9]),
            ("3 characters for each of 4", |facts| {
                facts.keys[0] = "12".to_owned();
            }),
            ("Enter", |facts| facts.keys[3] = "*0-".to_owned()),
            ("Digit(1)", |facts| facts.keys[3] = "10#".to_owned()),
        ];
        for (says, change) in cases {
            let mut facts = matrix();
            change(&mut facts);
            let problem = facts.layout().expect_err(says);
            assert!(problem.contains(says), "{problem}");
        }
        assert_eq!(matrix().layout().map(|keys| keys.len()), Ok(12));
    }
}
