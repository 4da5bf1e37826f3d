//! Whether a simulated board's wall time is known to be right: as on a real one before and after a time server was heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Clock;

/// Whether the wall time is right. Clones are the same.
#[derive(Clone, Debug)]
pub struct Trust(Arc<AtomicBool>);

impl Trust {
    /// From now on it is, or is not.
    pub fn set(&self, trusted: bool) {
        self.0.store(trusted, Ordering::SeqCst);
    }
}

/// A clock that is trusted as far as [`Trust`] says.
pub(crate) struct TrustedClock {
    clock: Arc<dyn Clock>,
    trust: Trust,
}

impl TrustedClock {
    /// Around any other clock.
    pub(crate) fn around(clock: Arc<dyn Clock>, trusted: bool) -> (Arc<dyn Clock>, Trust) {
        let trust = Trust(Arc::new(AtomicBool::new(trusted)));
        let around = TrustedClock {
            clock,
            trust: trust.clone(),
        };
        (Arc::new(around), trust)
    }
}

impl Clock for TrustedClock {
    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn unix_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    fn is_trusted(&self) -> bool {
        self.trust.0.load(Ordering::SeqCst)
    }

    fn wait_until(&self, at: Duration) {
        self.clock.wait_until(at);
    }
}
