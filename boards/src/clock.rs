//! Time as the board tells it: a monotonic clock that decisions use and a wall clock that records use.
//!
//! The manual clock of the simulated board is in `sim/clock.rs`. Pure code never sees a clock; it is given times.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time and waiting. Shared by every thread of the daemon.
pub trait Clock: Send + Sync {
    /// Time since the board was opened; never goes back.
    fn now(&self) -> Duration;

    /// Wall time in milliseconds since 1970-01-01 UTC; may jump when somebody sets the system's clock.
    fn unix_ms(&self) -> u64;

    /// Whether the wall time is right as far as the board knows: a time server set it since the machine started.
    fn is_trusted(&self) -> bool;

    /// Returns when [`Clock::now`] has reached `at`. The manual clock moves itself there and returns at once.
    fn wait_until(&self, at: Duration);
}

/// There once systemd's time service has set the clock; `/run` is empty after a start.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    /// Once it was synchronised it goes on being right.
    trusted: AtomicBool,
}

impl SystemClock {
    /// A clock that starts now.
    pub fn new() -> Self {
        SystemClock {
            start: Instant::now(),
            trusted: AtomicBool::new(false),
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

    fn is_trusted(&self) -> bool {
        let is_trusted = self.trusted.load(Ordering::Relaxed) || Path::new(SYNCHRONISED).exists();
        self.trusted.store(is_trusted, Ordering::Relaxed);
        is_trusted
    }

    fn wait_until(&self, at: Duration) {
        let left = at.saturating_sub(self.now());
        if !left.is_zero() {
            thread::sleep(left);
        }
    }
}
