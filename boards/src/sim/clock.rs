//! The clocks of a simulated board: one that stands still until it is moved, by the replay camera's frames or by a test, and
//! around it, or around the system's, one whose wall time can be set and that can be struck.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::strikes::{Part, Strikes};
use super::trust::Trust;
use crate::Clock;

/// The thread whose questions can be struck: the daemon's loop.
const STRUCK_THREAD: &str = "door";

/// The wall time of a simulated board. Clones are the same wall time.
#[derive(Clone, Debug, Default)]
pub struct Wall {
    moved_ms: Arc<AtomicI64>,
}

impl Wall {
    /// Moves the wall time, either way, as somebody who sets the system's clock does.
    pub fn jump(&self, by_ms: i64) {
        self.moved_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

/// A board's clock: that of `time`, with this wall time, as far as it is trusted, and these strikes.
pub(crate) struct SimClock {
    pub(crate) time: Arc<dyn Clock>,
    pub(crate) wall: Wall,
    pub(crate) trust: Trust,
    pub(crate) strikes: Strikes,
}

impl SimClock {
    fn asked(&self) {
        if thread::current().name() == Some(STRUCK_THREAD) {
            // There is nothing that a clock could report.
            let _ = self.strikes.meet(Part::Clock);
        }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Duration {
        self.asked();
        self.time.now()
    }

    fn unix_ms(&self) -> u64 {
        self.asked();
        let moved_ms = self.wall.moved_ms.load(Ordering::SeqCst);
        self.time.unix_ms().saturating_add_signed(moved_ms)
    }

    fn is_trusted(&self) -> bool {
        self.trust.is_set()
    }

    fn wait_until(&self, at: Duration) {
        self.time.wait_until(at);
    }
}

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
