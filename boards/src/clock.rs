//! Time as the board tells it: a monotonic clock that decisions use and a wall clock that records use.
//!
//! The manual clock of the simulated board is in `sim/clock.rs`. Pure code never sees a clock; it is given times.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time and waiting. Shared by every thread of the daemon.
pub trait Clock: Send + Sync {
    /// Time since the board was opened; never goes back.
    fn now(&self) -> Duration;

    /// Wall time in milliseconds since 1970-01-01 UTC; may jump when somebody sets the system's clock.
    fn unix_ms(&self) -> u64;

    /// Returns when [`Clock::now`] has reached `at`. The manual clock moves itself there and returns at once.
    fn wait_until(&self, at: Duration);
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts now.
    pub fn new() -> Self {
        SystemClock {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix_ms(&self) -> u64 {
        // A machine whose clock stands before 1970 has no wall time: 0 says so.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn wait_until(&self, at: Duration) {
        let left = at.saturating_sub(self.now());
        if !left.is_zero() {
            thread::sleep(left);
        }
    }
}
