//! Who is who: static keys of hosts and doors, their roles, the keys that sign bundles, and the one-time pairing code.
//!
//! Values and their texts only; what they open is in `session` and, on the device, in `hosts`.

use core::fmt;

use data_encoding::{BASE64_NOPAD, Encoding, Specification};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize;

use crate::names::Digest;

/// A host's or a door's static X25519 public key; printed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<PublicKey> {
        Digest::parse(text).map(|digest| PublicKey(digest.0))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest(self.0).fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// What a paired host may ask for. Wire order is frozen: add at the end only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// People, events, the audit record, and how the door is.
    Operator,
    /// Everything: also bundles, the clock, pairing and signing keys.
    Admin,
}

impl Role {
    /// The role as one word of JSON, files and the command line; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// Reads [`Role::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Role> {
        [Role::Operator, Role::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An Ed25519 key that signs bundles, as minisign keeps it: key number and key. Printed as minisign's base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SigningKey {
    /// minisign's key number.
    pub number: [u8; 8],
    /// The key.
    pub key: [u8; 32],
}

impl SigningKey {
    /// Bytes of minisign's form: the algorithm "Ed", key number, key.
    pub const LEN: usize = 42;
    /// Characters of its base64.
    pub const TEXT_LEN: usize = 56;

    /// minisign's form.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..2].copy_from_slice(b"Ed");
        bytes[2..10].copy_from_slice(&self.number);
        bytes[10..].copy_from_slice(&self.key);
        bytes
    }

    /// Reads the base64 line of a minisign public key file.
    #[must_use]
    pub fn parse(text: &str) -> Option<SigningKey> {
        let mut bytes = [0; Self::LEN];
        let text = text.as_bytes();
        // 42 bytes need no padding, and some within the text would pass for an end.
        if text.len() != Self::TEXT_LEN || BASE64_NOPAD.decode_mut(text, &mut bytes).is_err() {
            return None;
        }
        let rest = bytes.strip_prefix(b"Ed")?;
        let (number, key) = rest.split_first_chunk::<8>()?;
        Some(SigningKey {
            number: *number,
            key: *key.first_chunk()?,
        })
    }
}

impl fmt::Display for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; Self::TEXT_LEN];
        BASE64_NOPAD.encode_mut(&self.to_bytes(), &mut text);
        // base64 is ASCII.
        f.write_str(core::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({self})")
    }
}

/// The two keys a door trusts. Either signs bundles; either may name the next two, so that one that is lost or stolen is
/// replaced with the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedKeys {
    /// Grows with every change; a door takes only larger ones.
    pub serial: u64,
    /// The keys.
    pub keys: [SigningKey; 2],
}

impl TrustedKeys {
    /// The text a rotation is signed over, in pieces to be hashed or joined:
    /// `facelatch signing keys 1`, serial, first key, second key, each ended by a newline.
    #[must_use]
    pub fn statement(&self) -> heapless::String<192> {
        use fmt::Write;
        let mut text = heapless::String::new();
        let [first, second] = self.keys;
        // 25 + 21 + 57 + 57 bytes.
        let _ = write!(
            text,
            "facelatch signing keys 1\n{}\n{first}\n{second}\n",
            self.serial
        );
        text
    }
}

/// A one-time code of 80 bits, shown by the device and typed at the host: `7KQM-29FX-...`, 16 characters of Crockford's
/// base 32. It keys the pairing handshake, so whoever does not know it learns nothing from a recorded one but one guess in
/// 2^80 a try.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingCode([u8; 10]);

const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn crockford() -> Option<Encoding> {
    let mut specification = Specification::new();
    specification.symbols.push_str(ALPHABET);
    specification.encoding().ok()
}

impl PairingCode {
    /// Characters, without the dashes.
    pub const LEN: usize = 16;

    /// The code of these random bytes.
    #[must_use]
    pub const fn new(random: [u8; 10]) -> PairingCode {
        PairingCode(random)
    }

    /// Reads a typed code: either case, with or without dashes and spaces; O counts as 0, I and L as 1.
    #[must_use]
    pub fn parse(text: &str) -> Option<PairingCode> {
        let mut symbols = heapless::Vec::<u8, { Self::LEN }>::new();
        for c in text.chars().filter(|c| !matches!(c, '-' | ' ')) {
            let symbol = match c.to_ascii_uppercase() {
                'O' => b'0',
                'I' | 'L' => b'1',
                // Not ASCII: no symbol, refused below.
                other => u8::try_from(other).ok()?,
            };
            symbols.push(symbol).ok()?;
        }
        let mut bytes = [0; 10];
        if symbols.len() != Self::LEN {
            return None;
        }
        crockford()?.decode_mut(&symbols, &mut bytes).ok()?;
        Some(PairingCode(bytes))
    }

    /// The handshake's pre-shared key: SHA-256 of a label and the code.
    #[must_use]
    pub fn psk(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(b"facelatch pairing 2\0")
            .chain_update(self.0)
            .finalize()
            .into()
    }
}

impl Drop for PairingCode {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Display for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut symbols = [0; Self::LEN];
        if let Some(encoding) = crockford() {
            encoding.encode_mut(&self.0, &mut symbols);
        }
        for (i, group) in symbols.chunks_exact(4).enumerate() {
            if i > 0 {
                f.write_str("-")?;
            }
            // The alphabet is ASCII.
            f.write_str(core::str::from_utf8(group).unwrap_or_default())?;
        }
        Ok(())
    }
}

impl fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairingCode(..)")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{format, string::ToString};

    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = PairingCode::new([0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99]);
        let text = code.to_string();
        assert_eq!(text.len(), 19);
        let typed = [
            text.clone(),
            text.to_lowercase(),
            text.replace('-', ""),
            text.replace('-', " ").replace('0', "o").replace('1', "l"),
        ];
        for typed in typed {
            assert_eq!(PairingCode::parse(&typed), Some(code.clone()), "{typed}");
        }
        let wrong = [
            String::new(),
            text[..18].to_string(),
            format!("{text}0"),
            text.replacen('0', "U", 1),
            text.replacen('0', "é", 1),
        ];
        for wrong in wrong {
            assert_eq!(PairingCode::parse(&wrong), None, "{wrong}");
        }
        assert_eq!(format!("{code:?}"), "PairingCode(..)");
    }

    use std::string::String;

    #[test]
    fn the_psk_depends_on_every_byte_of_the_code() {
        let psk = PairingCode::new([7; 10]).psk();
        for i in 0..10 {
            let mut other = [7; 10];
            other[i] ^= 0x80;
            assert_ne!(PairingCode::new(other).psk(), psk, "byte {i}");
        }
    }

    #[test]
    fn signing_keys_are_minisigns() {
        // Key number 0102030405060708 and a key of 0xab bytes, encoded independently.
        let key = SigningKey {
            number: [1, 2, 3, 4, 5, 6, 7, 8],
            key: [0xab; 32],
        };
        let text = "RWQBAgMEBQYHCKurq6urq6urq6urq6urq6urq6urq6urq6urq6urq6ur";
        assert_eq!(key.to_string(), text);
        assert_eq!(SigningKey::parse(text), Some(key));
        assert_eq!(SigningKey::parse(&text[1..]), None);
        assert_eq!(SigningKey::parse(&text.replace("RW", "RX")), None);
        assert_eq!(SigningKey::parse(&text.replace("HCKur", "HCK=r")), None);
        let keys = TrustedKeys {
            serial: u64::MAX,
            keys: [key, key],
        };
        assert_eq!(
            keys.statement().as_str(),
            format!("facelatch signing keys 1\n{}\n{text}\n{text}\n", u64::MAX)
        );
    }
}
