//! PINs as they are written down: Argon2id hashes in PHC form, `$argon2id$v=19$m=4096,t=2,p=1$SALT$HASH`.
//!
//! A PIN has at most 27 bits: whoever reads its hash finds it by trying, slow hash or not. What keeps it is that the door
//! seals its policy and locks out who guesses; the hash keeps it from whoever only glances at the file.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64_NOPAD;

/// Shortest PIN, in digits.
pub const MIN_DIGITS: usize = 4;
/// Longest PIN, in digits.
pub const MAX_DIGITS: usize = 8;
/// Working memory of a new hash, in KiB: little enough for the smallest board, for as long as a check takes.
const MEMORY_KIB: u32 = 4_096;
/// Passes over that memory in a new hash.
const PASSES: u32 = 2;
/// What a hash read from a file may ask for: a policy must not be able to stop the door.
const MEMORY_TAKEN_KIB: std::ops::RangeInclusive<u32> = 64..=16_384;
const PASSES_TAKEN: std::ops::RangeInclusive<u32> = 1..=4;
/// Bytes of a salt.
const SALT_LEN: usize = 16;
/// Bytes of a hash.
const HASH_LEN: usize = 32;

/// A PIN in clear: 4 to 8 digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Pin(String);

/// Why a text is no PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPin;

impl fmt::Display for BadPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a PIN has {MIN_DIGITS} to {MAX_DIGITS} digits, and nothing else"
        )
    }
}

impl std::error::Error for BadPin {}

impl Pin {
    /// Takes digits for a PIN.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(digits: &str) -> Result<Pin, BadPin> {
        let fits = (MIN_DIGITS..=MAX_DIGITS).contains(&digits.len());
        match fits && digits.bytes().all(|b| b.is_ascii_digit()) {
            true => Ok(Pin(digits.to_owned())),
            false => Err(BadPin),
        }
    }
}

/// Nothing that logs may print it.
impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}

/// A PIN as it is kept. Printed in PHC form.
#[derive(Clone, PartialEq, Eq)]
pub struct PinHash {
    memory_kib: u32,
    passes: u32,
    salt: [u8; SALT_LEN],
    hash: [u8; HASH_LEN],
}

impl PinHash {
    /// Hashes a PIN with 16 random bytes.
    #[must_use]
    pub fn new(pin: &Pin, salt: [u8; SALT_LEN]) -> PinHash {
        PinHash {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            salt,
            hash: digest(&pin.0, &salt, MEMORY_KIB, PASSES),
        }
    }

    /// Reads one that was printed. `None` if it is none, or would take more memory or time than a door gives.
    #[must_use]
    pub fn parse(text: &str) -> Option<PinHash> {
        let mut fields = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let (costs, salt, hash) = (fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() {
            return None;
        }
        let (memory, passes) = costs
            .strip_prefix("m=")?
            .strip_suffix(",p=1")?
            .split_once(",t=")?;
        let parsed = PinHash {
            memory_kib: memory.parse().ok()?,
            passes: passes.parse().ok()?,
            salt: bytes(salt)?,
            hash: bytes(hash)?,
        };
        let fits =
            MEMORY_TAKEN_KIB.contains(&parsed.memory_kib) && PASSES_TAKEN.contains(&parsed.passes);
        fits.then_some(parsed)
    }

    /// Whether this is the PIN. Slow on purpose, and as slow for any text.
    #[must_use]
    pub(crate) fn matches(&self, digits: &str) -> bool {
        let found = digest(digits, &self.salt, self.memory_kib, self.passes);
        let differs = found
            .iter()
            .zip(&self.hash)
            .fold(0, |d, (a, b)| d | (a ^ b));
        differs == 0
    }
}

impl fmt::Display for PinHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PinHash {
            memory_kib,
            passes,
            salt,
            hash,
        } = self;
        let (salt, hash) = (BASE64_NOPAD.encode(salt), BASE64_NOPAD.encode(hash));
        write!(
            f,
            "$argon2id$v=19$m={memory_kib},t={passes},p=1${salt}${hash}"
        )
    }
}

impl fmt::Debug for PinHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinHash(..)")
    }
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok()
}

fn digest(digits: &str, salt: &[u8; SALT_LEN], memory_kib: u32, passes: u32) -> [u8; HASH_LEN] {
    // Longer text cannot be a PIN, and must not take longer.
    let digits = &digits.as_bytes()[..digits.len().min(2 * MAX_DIGITS)];
    // The costs are in the ranges above, all of which Argon2 takes.
    let params = Params::new(memory_kib, passes, 1, Some(HASH_LEN)).expect("costs are in range");
    let mut hash = [0; HASH_LEN];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(digits, salt, &mut hash)
        // Salt, hash and PIN have lengths Argon2 takes.
        .expect("lengths are in range");
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_digits_match_after_it_was_printed_and_read() {
        let pin = Pin::parse("4711").unwrap();
        let printed = PinHash::new(&pin, [7; SALT_LEN]).to_string();
        let read = PinHash::parse(&printed).unwrap();
        assert_eq!(read.to_string(), printed);
        assert!(read.matches("4711"));
        for other in ["4712", "04711", "47110", "", "4711 "] {
            assert!(!read.matches(other), "{other:?}");
        }
        assert!(!format!("{pin:?} {read:?}").contains("47"));
    }

    #[test]
    fn a_pin_has_four_to_eight_digits() {
        for digits in ["1234", "00000000"] {
            assert!(Pin::parse(digits).is_ok(), "{digits}");
        }
        for text in ["", "123", "123456789", "12a4", "١٢٣٤", "12 34", "-123"] {
            assert_eq!(Pin::parse(text), Err(BadPin), "{text}");
        }
    }

    #[test]
    fn a_hash_that_would_stop_the_door_is_none() {
        let pin = Pin::parse("4711").unwrap();
        let good = PinHash::new(&pin, [7; SALT_LEN]).to_string();
        let changes = [
            ("m=4096", "m=1048576"),
            ("m=4096", "m=0"),
            ("t=2", "t=4000"),
            ("t=2", "t=0"),
            ("p=1", "p=4"),
            ("v=19", "v=16"),
            ("argon2id", "argon2d"),
            ("BwcH", "BwcH!"),
            ("BwcH", ""),
        ];
        for (from, to) in changes {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert_eq!(PinHash::parse(&bad), None, "{bad}");
        }
        assert_eq!(PinHash::parse(&format!("{good}$")), None);
        assert_eq!(PinHash::parse("4711"), None);
    }
}
