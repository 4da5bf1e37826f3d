//! A keypad of rows and columns: one row after the other is pulled low, and a pressed key pulls its column with it.
//!
//! It is scanned by a thread of its own, since the loop that asks for keys is away for as long as a frame takes to judge.
//! The thread ends, and its lines are free again, when the keypad is dropped.

use std::{
    sync::mpsc::{
        Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::failed;
use crate::keypad::Scanner;
use crate::wired::{Input, Lines, Output};
use crate::{Error, Key, Keypad, Level, MatrixFacts, Pull};

/// From one scan to the next: a key is down for 50 ms at least.
const SCAN: Duration = Duration::from_millis(5);
/// From a failed scan to the next.
const RETRY: Duration = Duration::from_secs(2);
/// How long a row's level takes to reach the columns, generously.
const SETTLES: Duration = Duration::from_micros(20);
/// Keys that wait to be told; more are dropped.
const WAITING: usize = 64;
/// Where a matrix is, as errors say it.
const AT: &str = "rows and columns";

/// What the thread tells: a key, or why it could not scan.
type Told = Result<Key, String>;

pub(super) struct MatrixKeypad {
    told: Receiver<Told>,
    /// Dropped, it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MatrixKeypad {
    pub(super) fn open(lines: &dyn Lines, facts: &MatrixFacts) -> Result<MatrixKeypad, Error> {
        let layout = facts.layout().map_err(|e| failed(AT, e))?;
        let mut matrix = Matrix::claim(lines, facts)?;
        let debounce = Duration::from_millis(u64::from(facts.debounce_ms));
        let mut scanner = Scanner::new(layout, debounce);
        let (tell, told) = sync_channel(WAITING);
        let (stop, stopped) = channel::<()>();
        let scan = move || {
            let began = Instant::now();
            let mut pause = SCAN;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let picture = matrix.picture();
                pause = if picture.is_ok() { SCAN } else { RETRY };
                let key = picture.map(|picture| scanner.scan(picture, began.elapsed()));
                tell_of(key, &tell);
            }
        };
        let thread = thread::Builder::new().name("keypad".to_owned()).spawn(scan);
        Ok(MatrixKeypad {
            told,
            stop: Some(stop),
            thread: Some(thread.map_err(|e| failed(AT, e))?),
        })
    }
}

/// Whoever does not ask for keys loses those that are too many.
fn tell_of(scanned: Result<Option<Key>, String>, to: &SyncSender<Told>) {
    if let Some(told) = scanned.transpose() {
        let _ = to.try_send(told);
    }
}

impl Keypad for MatrixKeypad {
    fn key(&mut self) -> Result<Option<Key>, Error> {
        match self.told.try_recv() {
            Ok(told) => told.map(Some).map_err(|problem| failed(AT, problem)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(failed(AT, "its thread is gone")),
        }
    }
}

impl Drop for MatrixKeypad {
    fn drop(&mut self) {
        self.stop = None;
        // A thread that panicked has nothing more to say.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Matrix {
    rows: Vec<Box<dyn Output>>,
    columns: Vec<Box<dyn Input>>,
}

impl Matrix {
    fn claim(lines: &dyn Lines, facts: &MatrixFacts) -> Result<Matrix, Error> {
        let at = |line: u32| move |problem: String| failed(format!("line {line}"), problem);
        let row = |line: &u32| lines.drain(*line).map_err(at(*line));
        let column = |line: &u32| {
            let claimed = lines.input(*line, Level::Low, Pull::Up, None);
            claimed.map_err(at(*line))
        };
        Ok(Matrix {
            rows: facts.rows.iter().map(row).collect::<Result<_, _>>()?,
            columns: facts.columns.iter().map(column).collect::<Result<_, _>>()?,
        })
    }

    /// One scan: bit `row * columns + column` says whether that key reads as down. All rows but the one looked at float: two
    /// keys of one column never connect two outputs.
    fn picture(&mut self) -> Result<u64, String> {
        let (mut picture, mut bit) = (0, 1);
        for row in &mut self.rows {
            row.set(true)?;
            thread::sleep(SETTLES);
            let down = down(&mut self.columns);
            // Before anything is made of what was read: a row that stays low would be read with the next one.
            row.set(false)?;
            for down in down? {
                picture |= if down { bit } else { 0 };
                bit <<= 1;
            }
            // The next row must not find this one's level on the columns.
            thread::sleep(SETTLES);
        }
        Ok(picture)
    }
}

fn down(columns: &mut [Box<dyn Input>]) -> Result<Vec<bool>, String> {
    columns
        .iter_mut()
        .map(|column| column.is_active())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wired::After;
    use crate::wired::fake::Chip;

    fn facts() -> MatrixFacts {
        MatrixFacts {
            rows: vec![16, 20, 21, 26],
            columns: vec![13, 19, 18],
            keys: ["123", "456", "789", "*0#"].map(str::to_owned).to_vec(),
            debounce_ms: 0,
        }
    }

    /// Lines of the key that is printed so.
    fn crossing(key: char) -> (u32, u32) {
        let facts = facts();
        let letters = facts.keys.concat();
        let at = letters.find(key).expect("a key");
        let columns = facts.columns.len();
        (facts.rows[at / columns], facts.columns[at % columns])
    }

    #[test]
    fn each_key_is_its_own_bit_and_two_rows_are_never_low_at_once() {
        let chip = Chip::default();
        let mut matrix = Matrix::claim(&chip, &facts()).expect("free");
        assert_eq!(matrix.picture(), Ok(0));
        for (at, key) in facts().keys.concat().chars().enumerate() {
            let (row, column) = crossing(key);
            chip.connect(row, column);
            assert_eq!(matrix.picture(), Ok(1 << at), "{key}");
            chip.part(row, column);
        }
        // Two keys of one column connect their rows; three at the corners of a rectangle read as four.
        for key in ['1', '4'] {
            let (row, column) = crossing(key);
            chip.connect(row, column);
        }
        assert_eq!(matrix.picture(), Ok(0b00_1001));
        let (row, column) = crossing('2');
        chip.connect(row, column);
        assert_eq!(matrix.picture(), Ok(0b01_1011));
        assert_eq!(chip.most_drained(), 1, "rows low at once");
        let rest = chip.level(crossing('1').1);
        assert_eq!(rest, Level::High, "between scans no row is pulled low");
    }

    #[test]
    fn keys_are_told_in_order_and_the_lines_are_free_again_afterwards() {
        let chip = Chip::default();
        let mut keypad = MatrixKeypad::open(&chip, &facts()).expect("free");
        assert_eq!(keypad.key().expect("it scans"), None);
        for (letter, expected) in [
            ('7', Key::Digit(7)),
            ('#', Key::Enter),
            ('7', Key::Digit(7)),
        ] {
            let (row, column) = crossing(letter);
            chip.connect(row, column);
            assert_eq!(next(&mut keypad), Ok(expected));
            chip.part(row, column);
            // Seen as let go, before the next one.
            chip.wait_for_reads(column, 8);
        }
        assert!(MatrixKeypad::open(&chip, &facts()).is_err(), "held");
        drop(keypad);
        assert!(MatrixKeypad::open(&chip, &facts()).is_ok());
    }

    #[test]
    fn a_line_that_cannot_be_had_or_read_is_named_and_told() {
        let chip = Chip::default();
        let held = chip.output(18, Level::High, After::Free).expect("free");
        let refused = MatrixKeypad::open(&chip, &facts()).err().expect("held");
        assert!(refused.to_string().contains("line 18"), "{refused}");
        drop(held);

        let mut keypad = MatrixKeypad::open(&chip, &facts()).expect("nothing is held on to");
        chip.break_off(20);
        let told = next(&mut keypad).expect_err("a line is gone");
        assert!(told.contains(AT) && told.contains("20"), "{told}");
    }

    /// What the keypad tells next.
    fn next(keypad: &mut MatrixKeypad) -> Result<Key, String> {
        loop {
            match keypad.key() {
                Ok(Some(key)) => return Ok(key),
                Ok(None) => thread::yield_now(),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
