//! Names that cannot be wrong: person ids, display names, embedding spaces, digests and bounded text.
//!
//! Each checks itself when parsed and again when decoded from the wire or from a file, so that no later stage has to.

use core::{fmt, ops::Deref};

use heapless::String;
use serde::{Deserialize, Serialize};

/// Why a text is not a name. Holds the rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Nothing in it.
    Empty,
    /// More than this many bytes.
    TooLong(usize),
    /// A character outside the allowed set.
    Character(char),
    /// A word kept for other use, or a leading dot or dash.
    Reserved,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("is empty"),
            NameError::TooLong(limit) => write!(f, "is longer than {limit} bytes"),
            NameError::Character(c) => write!(f, "holds the character {c:?}, which is not allowed"),
            NameError::Reserved => f.write_str(
                "is reserved (`none` is, and so is everything that starts with a dot or a dash)",
            ),
        }
    }
}

impl core::error::Error for NameError {}

/// A person's id: 1 to 32 of `[A-Za-z0-9._-]`, safe as a folder name, never `none`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String<32>")]
pub struct PersonId(String<32>);

/// A name to show people: 1 to 64 bytes of UTF-8 without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String<64>")]
pub struct DisplayName(String<64>);

/// The name of an embedding space: 1 to 48 of `[a-z0-9.-]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String<48>")]
pub struct SpaceName(String<48>);

impl PersonId {
    /// Longest id, in bytes.
    pub const MAX_LEN: usize = 32;

    /// Parses an id.
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn parse(text: &str) -> Result<PersonId, NameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let id = bounded(text, allowed)?;
        if id.starts_with(['.', '-']) || id == "none" {
            return Err(NameError::Reserved);
        }
        Ok(PersonId(id))
    }
}

impl DisplayName {
    /// Longest name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Parses a name.
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn parse(text: &str) -> Result<DisplayName, NameError> {
        bounded(text, |c| !c.is_control()).map(DisplayName)
    }
}

impl SpaceName {
    /// Longest name, in bytes.
    pub const MAX_LEN: usize = 48;

    /// Parses a name.
    ///
    /// # Errors
    /// The rule that was broken.
    pub fn parse(text: &str) -> Result<SpaceName, NameError> {
        let allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
        bounded(text, allowed).map(SpaceName)
    }
}

/// Copies `text` if every character is allowed and it is neither empty nor too long.
fn bounded<const N: usize>(
    text: &str,
    allowed: impl Fn(char) -> bool,
) -> Result<String<N>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(c) = text.chars().find(|&c| !allowed(c)) {
        return Err(NameError::Character(c));
    }
    String::try_from(text).map_err(|_| NameError::TooLong(N))
}

macro_rules! text_name {
    ($name:ident, $len:literal) => {
        impl TryFrom<String<$len>> for $name {
            type Error = NameError;

            fn try_from(text: String<$len>) -> Result<$name, NameError> {
                $name::parse(&text)
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_name!(PersonId, 32);
text_name!(DisplayName, 64);
text_name!(SpaceName, 48);

/// Text for people, at most `N` bytes; made from longer text by cutting it at a character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String<N>")]
pub struct Text<const N: usize>(String<N>);

impl<const N: usize> From<String<N>> for Text<N> {
    /// A peer's text is shown on a terminal: it must not hold control sequences.
    fn from(text: String<N>) -> Text<N> {
        Text::cut(&text)
    }
}

impl<const N: usize> Text<N> {
    /// As much of `text` as fits; control characters become spaces.
    #[must_use]
    pub fn cut(text: &str) -> Text<N> {
        let mut kept = String::new();
        for c in text.chars() {
            if kept.push(if c.is_control() { ' ' } else { c }).is_err() {
                break;
            }
        }
        Text(kept)
    }
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A SHA-256; printed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Digest> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Some(Digest(bytes))
    }
}

/// The value of one hexadecimal digit of either case.
fn hex_digit(digit: u8) -> Option<u8> {
    // A base-16 digit is below 16.
    (digit as char).to_digit(16).map(|value| value as u8)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{format, string::ToString};

    use super::*;

    #[test]
    fn person_ids_are_safe_folder_names() {
        struct Case {
            text: &'static str,
            want: Result<(), NameError>,
        }
        let cases = [
            Case {
                text: "ada",
                want: Ok(()),
            },
            Case {
                text: "Ada.Lovelace_1815-b",
                want: Ok(()),
            },
            Case {
                text: "12345678901234567890123456789012",
                want: Ok(()),
            },
            Case {
                text: "123456789012345678901234567890123",
                want: Err(NameError::TooLong(32)),
            },
            Case {
                text: "",
                want: Err(NameError::Empty),
            },
            Case {
                text: "none",
                want: Err(NameError::Reserved),
            },
            Case {
                text: "..",
                want: Err(NameError::Reserved),
            },
            Case {
                text: "-rf",
                want: Err(NameError::Reserved),
            },
            Case {
                text: "a/b",
                want: Err(NameError::Character('/')),
            },
            Case {
                text: "a b",
                want: Err(NameError::Character(' ')),
            },
            Case {
                text: "é",
                want: Err(NameError::Character('é')),
            },
            Case {
                text: "a\0",
                want: Err(NameError::Character('\0')),
            },
        ];
        for Case { text, want } in cases {
            assert_eq!(PersonId::parse(text).map(|_| ()), want, "{text:?}");
        }
    }

    #[test]
    fn a_wrong_name_is_refused_when_decoded() {
        let mut buffer = [0; 80];
        let bytes = postcard::to_slice("../../etc", &mut buffer).unwrap();
        assert!(postcard::from_bytes::<PersonId>(bytes).is_err());
        let bytes = postcard::to_slice("bell\x07", &mut buffer).unwrap();
        assert!(postcard::from_bytes::<DisplayName>(bytes).is_err());
        let bytes = postcard::to_slice("Ada Lovelace", &mut buffer).unwrap();
        assert_eq!(
            &*postcard::from_bytes::<DisplayName>(bytes).unwrap(),
            "Ada Lovelace"
        );
    }

    #[test]
    fn text_is_cut_at_a_character() {
        assert_eq!(&*Text::<4>::cut("abéé"), "abé");
        assert_eq!(&*Text::<9>::cut("two\nlines"), "two lines");
        let mut buffer = [0; 80];
        let bytes = postcard::to_slice("\x1b[2J", &mut buffer).unwrap();
        assert_eq!(&*postcard::from_bytes::<Text<9>>(bytes).unwrap(), " [2J");
    }

    #[test]
    fn digests_print_and_parse() {
        let digest = Digest([0xa5; 32]);
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse(&format!("{digest}0")), None);
        assert_eq!(Digest::parse(&"g".repeat(64)), None);
        assert_eq!(Digest::parse(&"é".repeat(32)), None);
    }
}
