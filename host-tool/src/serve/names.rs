//! Names that come in requests and become files: parsed here into types that cannot lead anywhere else.

use std::fmt;

use facelatch_protocol::PersonId;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::dataset::NONE;

/// The dataset that is the workspace itself: the command line's people.
pub(super) const MAIN: &str = "main";

/// Whose dataset: `[A-Za-z0-9_][A-Za-z0-9._-]*`, at most 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UserId(String);

/// A folder of photos: a person's, or the one of people who are not to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    /// An enrolled person.
    Person(PersonId),
    /// Unknown people.
    Nobody,
}

/// A stored photo: `[A-Za-z0-9_][A-Za-z0-9._-]*` with a photo's extension. One that came through the API is called by the
/// first 32 hexadecimal digits of its SHA-256; one put there by hand as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PhotoName(String);

/// The digits of a name made of bytes.
const DIGITS: usize = 32;
const LONGEST_PHOTO_NAME: usize = 100;
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "bmp"];

impl UserId {
    /// # Errors
    /// The rule that was broken.
    pub(super) fn parse(text: &str) -> Result<UserId, String> {
        // The rules of a person's id make a safe file name; `none` is no dataset either.
        match PersonId::parse(text) {
            Ok(id) => Ok(UserId(id.to_string())),
            Err(why) => Err(format!("the user id {text:?} {why}")),
        }
    }

    /// The dataset of the workspace itself.
    pub(super) fn main() -> UserId {
        UserId(MAIN.to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_main(&self) -> bool {
        self.0 == MAIN
    }
}

impl Whose {
    /// # Errors
    /// The rule that was broken.
    pub(super) fn parse(text: &str) -> Result<Whose, String> {
        if text.eq_ignore_ascii_case(NONE) {
            return Ok(Whose::Nobody);
        }
        match PersonId::parse(text) {
            Ok(id) => Ok(Whose::Person(id)),
            Err(why) => Err(format!("the person {text:?} {why}")),
        }
    }

    /// The folder's name.
    pub(super) fn folder(&self) -> &str {
        match self {
            Whose::Person(id) => id,
            Whose::Nobody => NONE,
        }
    }

    pub(super) fn person(&self) -> Option<&PersonId> {
        match self {
            Whose::Person(id) => Some(id),
            Whose::Nobody => None,
        }
    }
}

impl PhotoName {
    /// The name for a photo's bytes, whose format is known by them; `None` if they are no photo.
    pub(super) fn of(bytes: &[u8]) -> Option<PhotoName> {
        let extension = match image::guess_format(bytes).ok()? {
            image::ImageFormat::Jpeg => "jpg",
            image::ImageFormat::Png => "png",
            image::ImageFormat::WebP => "webp",
            image::ImageFormat::Bmp => "bmp",
            _ => return None,
        };
        let stem = PhotoName::stem_of(&crate::embed::sha256(bytes));
        Some(PhotoName(format!("{stem}.{extension}")))
    }

    /// The beginning of such a name for a photo with this digest.
    pub(super) fn stem_of(sha256: &[u8; 32]) -> String {
        let mut digest = crate::cache::hex(sha256);
        digest.truncate(DIGITS);
        digest
    }

    /// The name without its extension.
    pub(super) fn stem(&self) -> &str {
        self.0.rsplit_once('.').map_or(&self.0, |(stem, _)| stem)
    }

    /// # Errors
    /// What a name looks like.
    pub(super) fn parse(text: &str) -> Result<PhotoName, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let extension = text.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase());
        let is_photo = extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()));
        if text.len() > LONGEST_PHOTO_NAME
            || text.starts_with(['.', '-'])
            || !text.chars().all(allowed)
            || !is_photo
        {
            return Err(format!(
                "{text:?} names no photo: letters, digits, '.', '_' and '-', ending in .jpg, .png, .webp or .bmp"
            ));
        }
        Ok(PhotoName(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn media_type(&self) -> &'static str {
        match self
            .0
            .rsplit('.')
            .next()
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            Some("png") => "image/png",
            Some("webp") => "image/webp",
            Some("bmp") => "image/bmp",
            Some(_) | None => "image/jpeg",
        }
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}

macro_rules! deserialize_by_parsing {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = String::deserialize(deserializer)?;
                $name::parse(&text).map_err(D::Error::custom)
            }
        }
    )*};
}
deserialize_by_parsing!(UserId, Whose, PhotoName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_folder() {
        let digits = "0123456789abcdef0123456789abcdef";
        let bad = [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "/etc",
            "a\0b",
            "-rf",
            ".hidden",
            "a b",
            "é",
            "%2e%2e",
            "123456789012345678901234567890123",
        ];
        for text in bad {
            assert!(UserId::parse(text).is_err(), "user {text:?}");
            assert!(Whose::parse(text).is_err(), "person {text:?}");
            for name in [
                text.to_owned(),
                format!("{text}/{digits}.jpg"),
                format!("../{text}.jpg"),
            ] {
                assert!(PhotoName::parse(&name).is_err(), "photo {name:?}");
            }
        }
        for name in
            [".gif", ".jpg.exe", "", "jpg", "/x.jpg", ".jpg\0"].map(|e| format!("{digits}{e}"))
        {
            assert!(PhotoName::parse(&name).is_err(), "{name}");
        }
        for name in [".jpg", "-x.jpg", "é.jpg", "a b.jpg"] {
            assert!(PhotoName::parse(name).is_err(), "{name}");
        }
        for name in [
            "1.jpg",
            "IMG_0001.JPG",
            "a.b.webp",
            "0123456789abcdef0123456789abcdef.bmp",
        ] {
            assert!(PhotoName::parse(name).is_ok(), "{name}");
        }
        assert!(UserId::parse("none").is_err());
        assert_eq!(Whose::parse("None"), Ok(Whose::Nobody));
        assert_eq!(
            UserId::parse("acme-2").map(|u| u.to_string()).as_deref(),
            Ok("acme-2")
        );
    }

    #[test]
    fn photos_are_named_after_their_bytes() {
        let png = b"\x89PNG\r\n\x1a\nx";
        let name = PhotoName::of(png).expect("a PNG by its first bytes");
        assert_eq!(PhotoName::parse(name.as_str()), Ok(name.clone()));
        assert_eq!(name.media_type(), "image/png");
        assert_eq!(PhotoName::of(b"GIF89a......"), None);
        assert_eq!(PhotoName::of(b""), None);
    }
}
