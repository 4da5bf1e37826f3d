//! What a verb tells: one struct, printed as text for people (`Display`) or as JSON (`Serialize`).
//!
//! Results go to standard output, everything else (progress, warnings, errors) to standard error. A reader that closed
//! the pipe (`facelatch evaluate ... | head`) ends the program quietly.

use std::{
    fmt::Display,
    io::{self, Write},
};

use serde::Serialize;

use crate::Error;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    Human,
    /// One JSON value a line.
    Json,
}

impl Format {
    /// Prints one result and a line end.
    ///
    /// # Errors
    /// [`Error::Storage`] if standard output cannot be written; a closed pipe is no error.
    pub fn print<R: Serialize + Display>(self, result: &R) -> Result<(), Error> {
        match self {
            Format::Human => print_line(&result.to_string()),
            Format::Json => print_line(
                &serde_json::to_string(result)
                    .map_err(|error| Error::Bug(format!("result has no JSON form: {error}")))?,
            ),
        }
    }

    /// Tells people, and only people, something beside the results.
    ///
    /// # Errors
    /// As for [`Format::print`].
    pub fn say(self, text: &str) -> Result<(), Error> {
        match self {
            Format::Human => print_line(text),
            Format::Json => Ok(()),
        }
    }
}

fn print_line(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Error::storage("write", "standard output")),
    }
}

/// Prints a warning on standard error.
pub fn warn(text: &str) {
    // Nowhere is left to complain to when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "warning: {text}");
}

/// Prints on standard error what the operator can do about the error that follows.
pub fn hint(text: &str) {
    // As for a warning.
    let _ = writeln!(io::stderr().lock(), "hint: {text}");
}

/// A share as a percentage for people: `1.11 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// "1 photo", "2 photos".
#[must_use]
pub fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
