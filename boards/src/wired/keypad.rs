//! Keypads: a serial line, or rows and columns on GPIO lines. What bytes and scans mean: `crate::keypad`.

mod matrix;
mod serial;

use super::Lines;
use crate::{Error, Keypad, KeypadFacts};

pub(super) fn open(lines: &dyn Lines, facts: &KeypadFacts) -> Result<Box<dyn Keypad>, Error> {
    Ok(match facts {
        KeypadFacts::Serial(facts) => Box::new(serial::SerialKeypad::new(facts.clone())),
        KeypadFacts::Matrix(facts) => Box::new(matrix::MatrixKeypad::open(lines, facts)?),
    })
}

fn failed(at: impl ToString, problem: impl ToString) -> Error {
    Error::KeypadFailed {
        at: at.to_string(),
        problem: problem.to_string(),
    }
}
