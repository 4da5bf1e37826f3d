//! Keys to a PIN, while the door waits for one. Pure: no I/O, time is an argument.
//!
//! Digits are added, "clear" takes all of them back, "enter" ends it. What is typed is wiped from memory when it is dropped,
//! never written and never shown, not even by `{:?}`. Whether it is the right PIN is asked elsewhere. Called by `run`.

use std::{fmt, time::Duration};

use facelatch_boards::Key;
use zeroize::Zeroizing;

/// Digits that are taken; a longer entry is kept one digit longer than this, which no PIN is.
pub const MAX_DIGITS: usize = 16;

/// What was typed. Wiped when dropped.
pub struct Digits(Zeroizing<String>);

impl Digits {
    /// The digits, as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn none() -> Digits {
        // With all its room from the start: a text that grows leaves copies behind.
        Digits(Zeroizing::new(String::with_capacity(MAX_DIGITS + 1)))
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digits(..)")
    }
}

/// A PIN being typed.
#[derive(Debug)]
pub struct Entry {
    digits: Digits,
    until: Duration,
}

impl Entry {
    /// Waits for a PIN from `now` on, on the monotonic clock, and at most for `limit`.
    #[must_use]
    pub fn new(now: Duration, limit: Duration) -> Entry {
        Entry {
            digits: Digits::none(),
            until: now.saturating_add(limit),
        }
    }

    /// Takes a key; the digits if it was "enter" and there are any.
    pub fn key(&mut self, key: Key) -> Option<Digits> {
        match key {
            Key::Digit(digit) => {
                if self.digits.0.len() <= MAX_DIGITS {
                    self.digits.0.push(char::from(b'0' + digit % 10));
                }
                None
            }
            Key::Clear => {
                self.digits = Digits::none();
                None
            }
            Key::Enter if self.digits.0.is_empty() => None,
            Key::Enter => Some(std::mem::replace(&mut self.digits, Digits::none())),
        }
    }

    /// When time is up.
    #[must_use]
    pub fn until(&self) -> Duration {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_pins() {
        let sixteen = "1234567890123456";
        let cases = [
            ("1234#", vec!["1234"]),
            ("0000#", vec!["0000"]),
            ("1234", vec![]),
            ("#", vec![]),
            ("12*34#", vec!["34"]),
            ("1234*#", vec![]),
            ("12#34#", vec!["12", "34"]),
            ("1234567890123456#", vec![sixteen]),
            ("12345678901234567#", vec!["12345678901234567"]),
            // Longer than any PIN stays longer than any PIN.
            ("123456789012345678901#", vec!["12345678901234567"]),
        ];
        for (keys, expected) in cases {
            let mut entry = Entry::new(Duration::ZERO, Duration::from_secs(15));
            let entered: Vec<String> = keys
                .bytes()
                .filter_map(|byte| entry.key(Key::of_ascii(byte).expect("a key")))
                .map(|digits| digits.as_str().to_owned())
                .collect();
            assert_eq!(entered, expected, "{keys}");
        }
    }

    #[test]
    fn nothing_shows_what_was_typed() {
        let mut entry = Entry::new(Duration::ZERO, Duration::from_secs(15));
        for digit in [1, 2, 3, 4] {
            entry.key(Key::Digit(digit));
        }
        assert!(!format!("{entry:?}").contains('2'), "{entry:?}");
        let digits = entry.key(Key::Enter).expect("digits");
        assert_eq!(format!("{digits:?}"), "Digits(..)");
        assert_eq!(entry.until(), Duration::from_secs(15));
    }
}
