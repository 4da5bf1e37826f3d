//! The verbs of `facelatchd` beside watching a door, one a file: arguments with their help, and what the verb does.

pub mod check;
pub mod completions;
pub mod man;
pub mod relay;

mod running;
