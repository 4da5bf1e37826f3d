//! The relay that moves the latch, spoken of by what the latch does, never by volts.
//!
//! Wiring (which level energises the coil, what the latch does at rest) is a fact of the board file and stays inside
//! the implementation, so the daemon cannot get a polarity wrong. `sim/relay.rs` and `wired/relay.rs` implement it.

use serde::{Deserialize, Serialize};

use crate::Error;

/// What the latch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Latch {
    /// The door holds.
    Locked,
    /// The door can be pushed open.
    Unlocked,
}

impl Latch {
    /// The other one.
    pub fn opposite(self) -> Latch {
        match self {
            Latch::Locked => Latch::Unlocked,
            Latch::Unlocked => Latch::Locked,
        }
    }

    /// Whether the coil must be energised for this, when the latch does `at_rest` without current:
    ///
    /// | at rest (declared safe) | to lock | to unlock |
    /// |---|---|---|
    /// | locked (fail-secure strike) | off | on |
    /// | unlocked (fail-safe magnet) | on | off |
    pub fn energised(self, at_rest: Latch) -> bool {
        self != at_rest
    }

    /// `"locked"` or `"unlocked"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Latch::Locked => "locked",
            Latch::Unlocked => "unlocked",
        }
    }
}

impl std::fmt::Display for Latch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The relay of one door. Opened in its safe state, and put back into it when dropped.
pub trait Relay: Send {
    /// Moves the latch.
    ///
    /// # Errors
    ///
    /// [`Error::RelayFailed`]: the latch may be in either state; the coil was asked to rest.
    fn set(&mut self, latch: Latch) -> Result<(), Error>;

    /// What the latch was last told to do; [`Relay::safe`] straight after opening.
    fn latch(&self) -> Latch;

    /// What the latch does with the coil at rest: the board file's declared safe state, the only one a fault may lead
    /// to.
    fn safe(&self) -> Latch;
}

#[cfg(test)]
pub(crate) mod contract {
    //! What every relay must do, whatever drives it. Each implementation's tests call [`holds`].

    use super::{Latch, Relay};

    /// Drives `relay` through every transition and checks the trait's promises. `coil` reads the level that the
    /// hardware (or its record) shows.
    pub(crate) fn holds(relay: &mut dyn Relay, coil: &dyn Fn() -> bool) {
        let safe = relay.safe();
        assert_eq!(relay.latch(), safe, "a relay opens in its safe state");
        assert!(!coil(), "the safe state needs no current");
        let (locked, unlocked) = (Latch::Locked, Latch::Unlocked);
        for to in [unlocked, locked, locked, unlocked, unlocked, locked, safe] {
            relay.set(to).expect("a healthy relay moves");
            assert_eq!(relay.latch(), to);
            assert_eq!(coil(), to.energised(safe), "coil for {to} at rest {safe}");
            assert_eq!(relay.safe(), safe, "the safe state never moves");
        }
        assert!(!coil());
    }
}
