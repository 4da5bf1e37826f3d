//! What a door cannot work without, and sets of it.

use std::fmt;

/// Things a door cannot work without.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// No frames.
    Camera,
    /// A network failed.
    Networks,
    /// The gallery cannot be read or written.
    Gallery,
    /// The audit record cannot be written.
    Audit,
    /// The relay did not obey.
    Relay,
    /// An input that the board file names cannot be read.
    Inputs,
    /// The ledger of denials, visits and who is inside is damaged or cannot be written.
    Ledger,
    /// The loop stood still, and the guard put the relay at rest.
    Loop,
}

impl Cause {
    /// Every cause, in the order of [`Causes`]' bits.
    pub const ALL: [Cause; 8] = [
        Cause::Camera,
        Cause::Networks,
        Cause::Gallery,
        Cause::Audit,
        Cause::Relay,
        Cause::Inputs,
        Cause::Ledger,
        Cause::Loop,
    ];

    /// Whether the relay was put at rest whatever the door had told it: who may get out has to be let out again.
    pub(super) fn rests_relay(self) -> bool {
        match self {
            Cause::Relay | Cause::Loop => true,
            Cause::Camera
            | Cause::Networks
            | Cause::Gallery
            | Cause::Audit
            | Cause::Inputs
            | Cause::Ledger => false,
        }
    }

    fn bit(self) -> u8 {
        match self {
            Cause::Camera => 1,
            Cause::Networks => 2,
            Cause::Gallery => 4,
            Cause::Audit => 8,
            Cause::Relay => 16,
            Cause::Inputs => 32,
            Cause::Ledger => 64,
            Cause::Loop => 128,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Camera => "camera",
            Cause::Networks => "networks",
            Cause::Gallery => "gallery",
            Cause::Audit => "audit record",
            Cause::Relay => "relay",
            Cause::Inputs => "inputs",
            Cause::Ledger => "ledger",
            Cause::Loop => "loop",
        })
    }
}

/// A set of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Causes(u8);

impl Causes {
    /// The set with one more cause.
    #[must_use]
    pub fn with(self, cause: Cause) -> Causes {
        Causes(self.0 | cause.bit())
    }

    /// The set with one cause less.
    #[must_use]
    pub fn without(self, cause: Cause) -> Causes {
        Causes(self.0 & !cause.bit())
    }

    /// Whether the set holds this cause.
    #[must_use]
    pub fn contains(self, cause: Cause) -> bool {
        self.0 & cause.bit() != 0
    }

    /// Whether nothing is broken.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The causes in the set.
    pub fn iter(self) -> impl Iterator<Item = Cause> {
        Cause::ALL.into_iter().filter(move |c| self.contains(*c))
    }
}

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, cause) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{cause}")?;
        }
        Ok(())
    }
}
