//! Keypads of a Raspberry Pi door: a serial line, or rows and columns on GPIO lines. What bytes and scans mean:
//! `keypad.rs`.

use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use rppal::gpio::{Bias, InputPin, IoPin, Level, Mode};
use serialport::{SerialPort, TTYPort};

use super::{input, line};
use crate::keypad::Scanner;
use crate::{Error, Key, Keypad, KeypadFacts, MatrixFacts, Pull, SerialFacts};

/// A keypad that was unplugged is looked for again after this long.
const RETRY: Duration = Duration::from_secs(2);
/// From one scan of a matrix to the next: a key is down for 50 ms at least.
const SCAN: Duration = Duration::from_millis(5);
/// How long a row's level takes to reach the columns, generously.
const SETTLES: Duration = Duration::from_micros(20);
/// Keys that wait to be told; more are dropped.
const WAITING: usize = 64;

pub(crate) fn open(facts: &KeypadFacts) -> Result<Box<dyn Keypad>, Error> {
    Ok(match facts {
        KeypadFacts::Serial(facts) => Box::new(SerialKeypad::new(facts.clone())),
        KeypadFacts::Matrix(facts) => Box::new(MatrixKeypad::open(facts)?),
    })
}

fn failed(at: impl ToString, problem: impl ToString) -> Error {
    Error::KeypadFailed {
        at: at.to_string(),
        problem: problem.to_string(),
    }
}

/// A keypad on a tty, which may be unplugged and come back.
struct SerialKeypad {
    facts: SerialFacts,
    tty: Option<TTYPort>,
    tried: Option<Instant>,
}

impl SerialKeypad {
    fn new(facts: SerialFacts) -> SerialKeypad {
        SerialKeypad {
            facts,
            tty: None,
            tried: None,
        }
    }

    fn connect(&mut self) -> Result<Option<&mut TTYPort>, Error> {
        if self.tty.is_none() {
            if self.tried.is_some_and(|at| at.elapsed() < RETRY) {
                return Ok(None);
            }
            self.tried = Some(Instant::now());
            let device = self.facts.device.to_string_lossy().into_owned();
            let tty = serialport::new(&device, self.facts.baud).open_native();
            self.tty = Some(tty.map_err(|e| failed(&device, e))?);
        }
        Ok(self.tty.as_mut())
    }
}

impl Keypad for SerialKeypad {
    fn key(&mut self) -> Result<Option<Key>, Error> {
        let Some(tty) = self.connect()? else {
            return Ok(None);
        };
        match next_key(tty) {
            Ok(key) => Ok(key),
            Err(error) => {
                self.tty = None;
                Err(failed(self.facts.device.display(), error))
            }
        }
    }
}

/// The next key among the bytes that have arrived.
fn next_key(tty: &mut TTYPort) -> io::Result<Option<Key>> {
    while tty.bytes_to_read()? > 0 {
        let mut byte = [0];
        tty.read_exact(&mut byte)?;
        if let Some(key) = Key::of_ascii(byte[0]) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// A matrix, scanned by a thread of its own: the loop that asks for keys is away for as long as a frame takes to judge.
struct MatrixKeypad {
    keys: Receiver<Key>,
}

impl MatrixKeypad {
    fn open(facts: &MatrixFacts) -> Result<MatrixKeypad, Error> {
        let at = "rows and columns";
        let layout = facts.layout().map_err(|e| failed(at, e))?;
        let rows = facts.rows.iter().map(|number| {
            let pin = line(*number).map_err(|e| failed(format!("line {number}"), e))?;
            let mut pin = pin.into_io(Mode::Input);
            pin.set_bias(Bias::Off);
            Ok(pin)
        });
        let columns = facts.columns.iter().map(|number| {
            input(*number, Pull::Up).map_err(|e| failed(format!("line {number}"), e))
        });
        let mut lines = Lines {
            rows: rows.collect::<Result<_, Error>>()?,
            columns: columns.collect::<Result<_, Error>>()?,
        };
        let debounce = Duration::from_millis(u64::from(facts.debounce_ms));
        let mut scanner = Scanner::new(layout, debounce);
        let (sender, keys) = sync_channel(WAITING);
        let scan = move || {
            let began = Instant::now();
            while tell(scanner.scan(lines.picture(), began.elapsed()), &sender) {
                thread::sleep(SCAN);
            }
        };
        let thread = thread::Builder::new().name("keypad".to_owned()).spawn(scan);
        thread.map_err(|e| failed(at, e))?;
        Ok(MatrixKeypad { keys })
    }
}

/// False if nobody listens any more.
fn tell(key: Option<Key>, to: &SyncSender<Key>) -> bool {
    match key.map(|key| to.try_send(key)) {
        None | Some(Ok(()) | Err(TrySendError::Full(_))) => true,
        Some(Err(TrySendError::Disconnected(_))) => false,
    }
}

impl Keypad for MatrixKeypad {
    fn key(&mut self) -> Result<Option<Key>, Error> {
        match self.keys.try_recv() {
            Ok(key) => Ok(Some(key)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                Err(failed("rows and columns", "its thread is gone"))
            }
        }
    }
}

struct Lines {
    rows: Vec<IoPin>,
    columns: Vec<InputPin>,
}

impl Lines {
    /// One scan. All rows but the one looked at float: two keys of one column never connect two outputs.
    fn picture(&mut self) -> u64 {
        let (mut picture, mut bit) = (0, 1);
        for row in &mut self.rows {
            row.set_low();
            row.set_mode(Mode::Output);
            thread::sleep(SETTLES);
            for column in &self.columns {
                if column.read() == Level::Low {
                    picture |= bit;
                }
                bit <<= 1;
            }
            row.set_mode(Mode::Input);
            // The next row must not find this one's level on the columns.
            thread::sleep(SETTLES);
        }
        picture
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_serial_keypad_tells_its_keys_and_survives_being_unplugged() {
        let (mut far, near) = TTYPort::pair().expect("a pair of ttys");
        let mut keypad = SerialKeypad::new(SerialFacts {
            device: "/dev/no-such-keypad".into(),
            baud: 9_600,
        });
        keypad.tty = Some(near);
        assert_eq!(keypad.key().expect("connected"), None);
        far.write_all(b"A1x2\n#").expect("connected");
        far.flush().expect("connected");
        let mut keys = vec![];
        while keys.len() < 3 {
            keys.extend(keypad.key().expect("connected"));
        }
        assert_eq!(keys, [Key::Digit(1), Key::Digit(2), Key::Enter]);
        drop(far);
        while keypad.key().is_ok_and(|key| key.is_none()) && keypad.tty.is_some() {}
        assert!(keypad.tty.is_none());
        // Looked for at once, then every other second.
        let error = keypad.key().expect_err("it is gone").to_string();
        assert!(error.contains("no-such-keypad"), "{error}");
        assert_eq!(keypad.key().expect("not looked for"), None);
    }
}
