//! How many handshakes the device works on: a few in a row, then a steady trickle, so that a flood of them costs the
//! frame loop nothing. Called by `greeting`, from every session's thread.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Handshakes that may come at once. One takes about a millisecond of a slow core.
const BURST: u32 = 16;
/// From then on, one in this time.
const EVERY: Duration = Duration::from_millis(50);

/// Turns for handshakes.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// When the turns given so far are used up.
    used_until: Mutex<Option<Instant>>,
}

impl Throttle {
    /// Takes a turn: zero if it is now, else how long to wait before asking again.
    pub(super) fn take(&self, now: Instant) -> Duration {
        let mut used_until = self
            .used_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let used = used_until.map_or(now, |until| until.max(now)) + EVERY;
        let ahead = used.saturating_duration_since(now);
        let wait = ahead.saturating_sub(EVERY * BURST);
        if wait.is_zero() {
            *used_until = Some(used);
        }
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_at_a_time() {
        let throttle = Throttle::default();
        let start = Instant::now();
        for i in 0..BURST {
            assert_eq!(throttle.take(start), Duration::ZERO, "{i}");
        }
        assert_eq!(throttle.take(start), EVERY);
        assert_eq!(throttle.take(start + EVERY / 2), EVERY / 2);
        assert_eq!(throttle.take(start + EVERY), Duration::ZERO);
        assert_ne!(throttle.take(start + EVERY), Duration::ZERO);
        let later = start + EVERY * 10 * BURST;
        let at_once = (0..100)
            .take_while(|_| throttle.take(later).is_zero())
            .count();
        assert_eq!(at_once, BURST as usize, "saved up turns are bounded");
    }
}
