//! Comparing messages with their frozen bytes, in hexadecimal. Shared by the tests of every version.

use std::fmt::{Debug, Write};

use serde::{Serialize, de::DeserializeOwned};

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Reports every message that is not written as, or not read from, its frozen bytes.
pub(crate) fn check<M: Serialize + DeserializeOwned + PartialEq + Debug>(cases: &[(M, &str)]) {
    let mut broken = String::new();
    for (message, frozen) in cases {
        let mut buffer = [0; 4096];
        let now = hex(postcard::to_slice(message, &mut buffer).unwrap());
        let frozen_bytes = unhex(frozen);
        let read = postcard::take_from_bytes::<M>(&frozen_bytes);
        if now != *frozen {
            writeln!(broken, "{message:?}\n  now    {now}\n  frozen {frozen}").unwrap();
        } else if !matches!(&read, Ok((read, [])) if read == message) {
            writeln!(broken, "{message:?}\n  is read as {read:?}").unwrap();
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}
