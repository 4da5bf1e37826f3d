//! A keypad on a serial line: a byte a key. It may be unplugged and come back.

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

use serialport::{SerialPort, TTYPort};

use super::failed;
use crate::{Error, Key, Keypad, SerialFacts};

/// A keypad that was unplugged is looked for again after this long.
const RETRY: Duration = Duration::from_secs(2);
pub(super) struct SerialKeypad {
    facts: SerialFacts,
    tty: Option<TTYPort>,
    tried: Option<Instant>,
}

impl SerialKeypad {
    pub(super) fn new(facts: SerialFacts) -> SerialKeypad {
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
