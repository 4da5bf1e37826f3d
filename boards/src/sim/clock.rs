//! A clock that stands still until it is moved: by the replay camera's frames, or by a test.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Clock;

/// A clock moved by hand. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<Mutex<Duration>>,
    start_unix_ms: u64,
}

impl ManualClock {
    /// A clock at monotonic zero, and at the given wall time.
    pub fn starting_at(unix_ms: u64) -> Self {
        ManualClock {
            now: Arc::default(),
            start_unix_ms: unix_ms,
        }
    }

    /// Moves time on.
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        *now = now.saturating_add(by);
    }

    fn lock(&self) -> MutexGuard<'_, Duration> {
        // A Duration is whole whatever happened to the thread that held it.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        *self.lock()
    }

    fn unix_ms(&self) -> u64 {
        let passed = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX);
        self.start_unix_ms.saturating_add(passed)
    }

    fn is_trusted(&self) -> bool {
        true
    }

    fn wait_until(&self, at: Duration) {
        let mut now = self.lock();
        *now = (*now).max(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_only_forward_and_only_when_moved() {
        let clock = ManualClock::starting_at(1_000);
        assert_eq!((clock.now(), clock.unix_ms()), (Duration::ZERO, 1_000));
        clock.wait_until(Duration::from_millis(250));
        clock.wait_until(Duration::from_millis(100));
        assert_eq!(
            (clock.now(), clock.unix_ms()),
            (Duration::from_millis(250), 1_250)
        );
        clock.clone().advance(Duration::from_secs(1));
        assert_eq!(clock.unix_ms(), 2_250);
    }
}
