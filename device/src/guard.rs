//! The guard: a thread beside the loop that puts the relay at rest when the loop stands still, and feeds the watchdogs.
//!
//! The loop holds the [`Guard`] and moves the relay through it alone. In every turn it says what the door allows
//! ([`Guard::turn`]); whatever is unlocked is a lease of that. The thread looks every [`LOOK`]:
//!
//! | seen | done |
//! |---|---|
//! | an unlocking is over by `watch::GRACE`, or the door says nothing of one | locks, as the loop should have |
//! | no turn for `watchdog.stall_ms` | relay at rest; it refuses to unlock until the loop is back and has said so |
//! | the relay's driver does not answer, or the camera does not | nothing it could do |
//! | any of the last three | feeds no watchdog: systemd starts the daemon again, the hardware resets the board |
//!
//! Unlockings end by the board's clock, which on a real board is the system's monotonic one; a simulated board's manual clock
//! moves with the frames, so a loop that stands still is noticed there by real time alone. A camera that is broken and tried
//! again, or any other fault the door knows, is no standstill: the relay is at rest, people get out, the watchdogs are fed.
//! A loop that stands still cannot see the fire input or the way out: the board's declared safe state rules, and what codes
//! ask for needs wires.
//!
//! Two locks, never held over anything slow but the driver itself: `relay` while it moves, `watch` for a few assignments; who
//! takes both takes `relay` first. What follows from what is in [`watch`], which is pure.

mod watch;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use facelatch_boards::{Clock, Latch, Relay};

use self::watch::{Lease, Order, Watch};
pub(crate) use self::watch::{Rules, Turn};
use crate::{
    door::{Cause, Mode, Position},
    error::Error,
    watchdog::{Feeds, Seen},
};

/// How often the thread looks.
const LOOK: Duration = Duration::from_millis(50);

/// The loop's hold on the relay. Dropping it, by return or by panic, puts the relay at rest for good.
pub(crate) struct Guard {
    shared: Arc<Shared>,
    /// Dropped without a word, the thread ends and leaves the watchdogs running.
    end: Option<Sender<OrderlyEnd>>,
    thread: Option<JoinHandle<()>>,
}

struct OrderlyEnd;

struct Shared {
    clock: Arc<dyn Clock>,
    safe: Latch,
    /// `None` once the guard was dropped.
    relay: Mutex<Option<Box<dyn Relay>>>,
    watch: Mutex<Watch>,
}

impl Guard {
    /// Takes a relay that is at rest, and starts the thread. It waits for the loop's first turn.
    ///
    /// # Errors
    /// [`Error::Bug`] if the system has no thread left.
    pub(crate) fn start(
        relay: Box<dyn Relay>,
        clock: Arc<dyn Clock>,
        rules: Rules,
        feeds: Feeds,
    ) -> Result<Guard, Error> {
        let shared = Arc::new(Shared {
            clock,
            safe: relay.safe(),
            relay: Mutex::new(Some(relay)),
            watch: Mutex::new(Watch::new(rules)),
        });
        let (end, ended) = channel();
        let thread = thread::Builder::new().name("guard".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.serve(feeds, &ended)
        });
        let thread = thread.map_err(|e| Error::Bug(format!("cannot start the guard: {e}")))?;
        Ok(Guard {
            shared,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Moves the relay for a door in this mode.
    ///
    /// # Errors
    /// [`Cause::Relay`] if it did not obey; [`Cause::Loop`] if it was to unlock and the loop has not yet said that it had
    /// stood still. The relay then was asked to rest.
    pub(crate) fn set(&self, position: Position, mode: Mode) -> Result<(), (Cause, String)> {
        let now = self.shared.clock.now();
        let mut held = self.shared.relay();
        let relay = held.as_mut();
        let relay = relay.ok_or((Cause::Relay, "the relay was given back".to_owned()))?;
        let unlocks = position == Position::Unlocked;
        let stood_still = || (Cause::Loop, "too late to unlock: it stood still".to_owned());
        if unlocks && !self.shared.watch().unlocks(lease(mode), now) {
            return Err(stood_still());
        }
        let moved = relay.set(match position {
            Position::Safe => relay.safe(),
            Position::Locked => Latch::Locked,
            Position::Unlocked => Latch::Unlocked,
        });
        let not_obeyed = |e: facelatch_boards::Error| (Cause::Relay, e.to_string());
        // Before this line a driver that panics leaves the relay to the thread.
        if !unlocks || moved.is_err() {
            self.shared.watch().locks();
        }
        moved.map_err(not_obeyed)?;
        // The driver may have taken its time.
        if unlocks && self.shared.watch().stands_still() {
            relay.set(self.shared.safe).map_err(not_obeyed)?;
            self.shared.watch().locks();
            return Err(stood_still());
        }
        Ok(())
    }

    /// The loop turns, and says what the door allows.
    pub(crate) fn turn(&self, turn: Turn) {
        let now = self.shared.clock.now();
        self.shared.watch().turns(turn, now);
    }

    /// How long the loop had stood still, once it turns again and has not been told yet. From then on the relay unlocks again:
    /// the caller makes it a fault before anything else.
    pub(crate) fn stood_still(&self) -> Option<Duration> {
        self.shared.watch().come_back()
    }

    /// The door stops in order: the watchdogs are told, and not waited for any more.
    pub(crate) fn close(&mut self) {
        if let Some(end) = self.end.take() {
            // A thread that is gone tells nobody.
            let _ = end.send(OrderlyEnd);
        }
        self.join();
    }

    fn join(&mut self) {
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            log::error!("the guard had panicked");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The relay first, whatever state the thread is in: drivers rest when they are dropped.
        drop(self.shared.relay().take());
        drop(self.end.take());
        self.join();
    }
}

impl Shared {
    fn serve(&self, mut feeds: Feeds, ended: &Receiver<OrderlyEnd>) {
        let mut looked = Instant::now();
        let mut said = false;
        loop {
            match ended.recv_timeout(LOOK) {
                Ok(OrderlyEnd) => return feeds.stop(),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            // A process that was stopped as a whole, or a machine that slept, is no standstill of the loop.
            let passed = (now - looked).min(2 * LOOK);
            looked = now;
            let order = self.watch().look(passed, self.clock.now());
            let done = match order {
                Order::Nothing => true,
                Order::Lock => self.carry_out(order, Latch::Locked),
                Order::Rest => self.carry_out(order, self.safe),
            };
            if !done && !said {
                log::error!("guard: the relay's driver does not do as told");
            }
            said = !done;
            let watch = self.watch();
            let seen = Seen {
                trouble: watch.trouble(),
                turn: watch.turn(),
            };
            drop(watch);
            feeds.look(seen, now);
        }
    }

    /// Does what the loop did not do; false if the driver does not let it.
    fn carry_out(&self, order: Order, latch: Latch) -> bool {
        let mut held = match self.relay.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(held)) => held.into_inner(),
            // The loop is in the driver, and comes out of it or not.
            Err(TryLockError::WouldBlock) => return false,
        };
        // The loop may have come back, or have moved the relay itself.
        let (Some(relay), true) = (held.as_mut(), self.watch().order() == order) else {
            return true;
        };
        log::error!("guard: {}: the latch is {latch}", order.why());
        let moved = catch_unwind(AssertUnwindSafe(|| relay.set(latch)));
        let done = matches!(moved, Ok(Ok(())));
        if done {
            self.watch().carried_out(order);
        }
        done
    }

    fn relay(&self) -> MutexGuard<'_, Option<Box<dyn Relay>>> {
        // A driver that panicked is asked again, if only to rest.
        self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        // Every change is whole.
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For how long a door in this mode may be unlocked.
pub(crate) fn lease(mode: Mode) -> Option<Lease> {
    match mode {
        Mode::Unlocked { until } => Some(Lease::Until(until)),
        Mode::OpenBySchedule | Mode::Fire => Some(Lease::WhileTurning),
        Mode::Starting
        | Mode::Locked
        | Mode::HeldOpen
        | Mode::ForcedOpen
        | Mode::LockedDown
        | Mode::Fault
        | Mode::Stopped => None,
    }
}

#[cfg(test)]
mod tests {
    use facelatch_boards::{
        BoardFile, WatchdogFacts, open,
        sim::{Handle, Harm, Part, Strike},
    };

    use super::*;
    use crate::watchdog::Supervisor;

    const OPEN: Mode = Mode::Fire;
    const DEADLINE: Duration = Duration::from_secs(60);

    fn guard(stall_ms: u64, feeds: Feeds) -> (Guard, Handle) {
        let board = open(&BoardFile::named("sim").unwrap()).unwrap();
        let rules = Rules {
            stall: Duration::from_millis(stall_ms),
            longest: Duration::from_secs(5),
        };
        let guard = Guard::start(board.relay, board.clock, rules, feeds).unwrap();
        (guard, board.sim.unwrap())
    }

    fn no_feeds() -> Feeds {
        Feeds::open(&Supervisor::default(), None).unwrap()
    }

    fn turn(guard: &Guard, mode: Mode) {
        guard.turn(Turn {
            lease: lease(mode),
            started: true,
            camera_answers: true,
            door: "fire",
        });
    }

    fn until(what: &str, mut seen: impl FnMut() -> bool) {
        let began = Instant::now();
        while !seen() {
            assert!(began.elapsed() < DEADLINE, "never: {what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn strike(sim: &Handle, harm: Harm, after: u32) {
        let part = Part::Relay;
        sim.strikes.arm(Strike { part, harm, after });
    }

    #[test]
    fn a_loop_that_stands_still_loses_the_relay_and_gets_it_back_once_told() {
        let (guard, sim) = guard(200, no_feeds());
        turn(&guard, OPEN);
        guard.set(Position::Unlocked, OPEN).unwrap();
        assert!(sim.relay.is_on());
        until("at rest", || !sim.relay.is_on());
        let (cause, _) = guard.set(Position::Unlocked, OPEN).unwrap_err();
        assert_eq!(cause, Cause::Loop);
        turn(&guard, OPEN);
        assert!(guard.set(Position::Unlocked, OPEN).is_err(), "not told yet");
        assert!(guard.set(Position::Locked, OPEN).is_ok());
        assert!(guard.stood_still().is_some());
        guard.set(Position::Unlocked, OPEN).unwrap();
        assert!(sim.relay.is_on());
    }

    #[test]
    fn an_unlocking_ends_though_the_loop_turns_on_and_on() {
        let (guard, sim) = guard(60_000, no_feeds());
        let until_ms = |ms| Mode::Unlocked {
            until: guard.shared.clock.now() + Duration::from_millis(ms),
        };
        let mode = until_ms(100);
        turn(&guard, mode);
        guard.set(Position::Unlocked, mode).unwrap();
        until("locked by time", || {
            turn(&guard, mode);
            !sim.relay.is_on()
        });
        let mode = until_ms(4_000);
        guard.set(Position::Unlocked, mode).unwrap();
        until("locked as the door says", || {
            turn(&guard, Mode::Locked);
            !sim.relay.is_on()
        });
        assert_eq!(guard.stood_still(), None);
    }

    #[test]
    fn a_driver_that_hangs_starves_the_watchdog_and_does_not_stay_unlocked() {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("watchdog");
        std::fs::write(&device, "").unwrap();
        let facts = WatchdogFacts {
            device: device.clone(),
        };
        let feeds = Feeds::open(&Supervisor::default(), Some(&facts)).unwrap();
        let (mut guard, sim) = guard(200, feeds);
        // It moves, and never says that it has.
        strike(&sim, Harm::Hang, 1);
        turn(&guard, OPEN);
        thread::scope(|scope| {
            let moved = scope.spawn(|| guard.set(Position::Unlocked, OPEN));
            assert!(sim.strikes.wait_until_hanging(DEADLINE));
            until("trouble", || guard.shared.watch().trouble().is_some());
            sim.strikes.release();
            let moved = moved.join().unwrap();
            assert_eq!(moved.unwrap_err().0, Cause::Loop);
        });
        assert!(!sim.relay.is_on());
        turn(&guard, OPEN);
        assert!(guard.stood_still().is_some());
        guard.close();
        let fed = std::fs::read(&device).unwrap();
        assert_eq!(fed.last(), Some(&b'V'), "closed in order");
    }

    #[test]
    fn a_panic_in_the_driver_leaves_the_relay_at_rest() {
        let (guard, sim) = guard(60_000, no_feeds());
        turn(&guard, OPEN);
        strike(&sim, Harm::Panic, 1);
        let panics = catch_unwind(AssertUnwindSafe(|| guard.set(Position::Unlocked, OPEN)));
        assert!(
            panics.is_err() && sim.relay.is_on(),
            "unlocked when it panicked"
        );
        guard.set(Position::Locked, Mode::Locked).unwrap();
        assert!(!sim.relay.is_on(), "a poisoned lock is no obstacle");

        guard.set(Position::Unlocked, OPEN).unwrap();
        let dropped = catch_unwind(AssertUnwindSafe(move || {
            let _loop = guard;
            panic!("the loop");
        }));
        assert!(dropped.is_err() && !sim.relay.is_on());
    }
}
