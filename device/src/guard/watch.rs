//! What the guard knows of the loop and of the relay, and what has to be done about it. Pure: time is an argument.

use std::time::Duration;

/// How late the loop may lock before it is done for it.
pub(crate) const GRACE: Duration = Duration::from_millis(200);

/// How patient the guard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// A loop that has not turned for this long stands still.
    pub(crate) stall: Duration,
    /// The longest that a timed unlocking may last, whatever the door says.
    pub(crate) longest: Duration,
}

/// For how long the relay may be unlocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lease {
    /// Until this time of the board's monotonic clock.
    Until(Duration),
    /// As long as the loop turns and says so.
    WhileTurning,
}

/// What the loop says in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// What the door allows.
    pub(crate) lease: Option<Lease>,
    /// Whether the first frame was taken.
    pub(crate) started: bool,
    /// Whether the camera answers, be it with a failure.
    pub(crate) camera_answers: bool,
    /// What the door does, in a word.
    pub(crate) door: &'static str,
}

/// What has to be done about the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Nothing,
    /// End an unlocking.
    Lock,
    /// Put the coil at rest.
    Rest,
}

impl Order {
    pub(super) fn why(self) -> &'static str {
        match self {
            Order::Nothing => "all is well",
            Order::Lock => "an unlocking is over and the loop did not end it",
            Order::Rest => "the loop stands still",
        }
    }
}

#[derive(Debug)]
pub(super) struct Watch {
    rules: Rules,
    /// The latest turn; `None` before the first.
    turn: Option<Turn>,
    /// Whether the loop has turned since the last look.
    turned: bool,
    /// How long it has not turned.
    still: Duration,
    /// It stood still this long, and has not been told.
    stall: Option<Duration>,
    /// Whether the relay was put at rest for that.
    rested: bool,
    /// Whether the loop has unlocked the relay.
    unlocked: bool,
    lease: Option<Lease>,
    order: Order,
}

impl Watch {
    pub(super) fn new(rules: Rules) -> Watch {
        Watch {
            rules,
            turn: None,
            turned: false,
            still: Duration::ZERO,
            stall: None,
            rested: false,
            unlocked: false,
            lease: None,
            order: Order::Nothing,
        }
    }

    /// The loop turned at `now`.
    pub(super) fn turns(&mut self, turn: Turn, now: Duration) {
        self.turned = true;
        self.turn = Some(turn);
        self.lease = self.bounded(turn.lease, now);
    }

    /// The loop is about to unlock; false if it must not, since it stood still.
    pub(super) fn unlocks(&mut self, lease: Option<Lease>, now: Duration) -> bool {
        if self.stands_still() {
            return false;
        }
        self.unlocked = true;
        self.lease = self.bounded(lease, now);
        self.order = Order::Nothing;
        true
    }

    /// The loop locked, or the relay is at rest.
    pub(super) fn locks(&mut self) {
        self.unlocked = false;
        if self.order == Order::Lock {
            self.order = Order::Nothing;
        }
    }

    fn bounded(&self, lease: Option<Lease>, now: Duration) -> Option<Lease> {
        let longest = now.saturating_add(self.rules.longest);
        lease.map(|lease| match lease {
            Lease::Until(until) => Lease::Until(until.min(longest)),
            Lease::WhileTurning => Lease::WhileTurning,
        })
    }

    /// One look: `passed` since the last one, in real time; `now` is the board's clock.
    pub(super) fn look(&mut self, passed: Duration, now: Duration) -> Order {
        self.still = match std::mem::take(&mut self.turned) || self.turn.is_none() {
            true => Duration::ZERO,
            false => self.still.saturating_add(passed),
        };
        if self.still >= self.rules.stall {
            self.stall = Some(self.still);
        }
        let over = match self.lease {
            Some(Lease::Until(until)) => now > until.saturating_add(GRACE),
            Some(Lease::WhileTurning) => false,
            None => true,
        };
        self.order = match self.stall {
            Some(_) if !self.rested => Order::Rest,
            Some(_) => Order::Nothing,
            None if self.unlocked && over => Order::Lock,
            None => Order::Nothing,
        };
        self.order
    }

    /// What had to be done at the last look and has not been done since.
    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// It was done.
    pub(super) fn carried_out(&mut self, order: Order) {
        self.unlocked = false;
        self.rested |= order == Order::Rest;
        self.order = Order::Nothing;
    }

    /// Whether the loop stood still and has not been told.
    pub(super) fn stands_still(&self) -> bool {
        self.stall.is_some()
    }

    /// The loop turns again, and is told how long it had not.
    pub(super) fn come_back(&mut self) -> Option<Duration> {
        let stall = self.stall.take()?;
        (self.rested, self.order) = (false, Order::Nothing);
        Some(stall)
    }

    /// Why no watchdog is fed; `None` if all is well.
    pub(super) fn trouble(&self) -> Option<&'static str> {
        match self.turn {
            _ if self.stall.is_some() => Some("the loop stands still"),
            Some(turn) if !turn.camera_answers => Some("the camera does not answer"),
            Some(_) | None => None,
        }
    }

    pub(super) fn turn(&self) -> Option<Turn> {
        self.turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        stall: Duration::from_millis(400),
        longest: Duration::from_millis(5_000),
    };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn turn(lease: Option<Lease>) -> Turn {
        Turn {
            lease,
            started: true,
            camera_answers: true,
            door: "locked",
        }
    }

    /// A watch that has seen a turn and an unlocking at 0, with this lease.
    fn unlocked(lease: Lease) -> Watch {
        let mut watch = Watch::new(RULES);
        watch.turns(turn(None), ms(0));
        assert!(watch.unlocks(Some(lease), ms(0)));
        watch
    }

    #[test]
    fn a_loop_that_has_not_begun_is_not_waited_for() {
        let mut watch = Watch::new(RULES);
        for _ in 0..100 {
            assert_eq!(watch.look(ms(100), ms(0)), Order::Nothing);
        }
        assert_eq!(watch.trouble(), None);
    }

    #[test]
    fn an_unlocking_ends_with_its_lease_and_a_turn_renews_only_what_the_door_allows() {
        struct Case {
            what: &'static str,
            lease: Lease,
            /// What the loop says at that time, if it turns.
            says: Option<(Option<Lease>, u64)>,
            at: u64,
            order: Order,
        }
        let until = |at| Lease::Until(ms(at));
        let case = |what, lease, says, at, order| Case {
            what,
            lease,
            says,
            at,
            order,
        };
        let cases = [
            case("in time", until(1_000), None, 1_000, Order::Nothing),
            case("a little late", until(1_000), None, 1_200, Order::Nothing),
            case("over", until(1_000), None, 1_201, Order::Lock),
            case(
                "a turn does not make it longer",
                until(1_000),
                Some((Some(until(1_000)), 1_190)),
                1_201,
                Order::Lock,
            ),
            case(
                "another grant does",
                until(1_000),
                Some((Some(until(2_000)), 900)),
                1_201,
                Order::Nothing,
            ),
            case(
                "the door says nothing of it",
                until(1_000),
                Some((None, 100)),
                150,
                Order::Lock,
            ),
            case(
                "longer than configured",
                until(60_000),
                None,
                5_201,
                Order::Lock,
            ),
            case(
                "a schedule goes on",
                Lease::WhileTurning,
                Some((Some(Lease::WhileTurning), 900_000)),
                900_000,
                Order::Nothing,
            ),
            case(
                "until it does not",
                Lease::WhileTurning,
                Some((None, 900_000)),
                900_000,
                Order::Lock,
            ),
        ];
        let mut failures = vec![];
        for case in cases {
            let mut watch = unlocked(case.lease);
            if let Some((lease, at)) = case.says {
                watch.turns(turn(lease), ms(at));
            }
            let order = watch.look(ms(50), ms(case.at));
            if order != case.order || watch.stands_still() {
                failures.push(format!("{}: {order:?}", case.what));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn what_was_locked_is_not_locked_again() {
        let mut watch = unlocked(Lease::Until(ms(1_000)));
        assert_eq!(watch.look(ms(50), ms(2_000)), Order::Lock);
        watch.locks();
        assert_eq!(watch.order(), Order::Nothing);
        assert_eq!(watch.look(ms(50), ms(2_050)), Order::Nothing);
    }

    #[test]
    fn a_loop_that_stands_still_loses_the_relay_until_it_was_told() {
        let mut watch = unlocked(Lease::WhileTurning);
        // The first look sees the turn before it.
        let orders = [(); 5].map(|()| watch.look(ms(100), ms(0)));
        assert_eq!(orders[..4], [Order::Nothing; 4]);
        assert_eq!(orders[4], Order::Rest);
        assert_eq!(watch.trouble(), Some("the loop stands still"));
        // The driver hangs: it stays to be done.
        assert_eq!(watch.look(ms(100), ms(0)), Order::Rest);
        watch.carried_out(Order::Rest);
        assert_eq!(watch.look(ms(100), ms(0)), Order::Nothing);
        assert!(watch.stands_still());
        // It turns, but was not told yet.
        watch.turns(turn(Some(Lease::WhileTurning)), ms(0));
        assert_eq!(watch.look(ms(100), ms(0)), Order::Nothing);
        assert!(watch.stands_still());
        assert_eq!(watch.come_back(), Some(ms(600)));
        assert_eq!((watch.come_back(), watch.trouble()), (None, None));
    }

    #[test]
    fn a_relay_the_loop_took_back_is_left_to_it() {
        let mut watch = unlocked(Lease::WhileTurning);
        for _ in 0..5 {
            watch.look(ms(100), ms(0));
        }
        assert_eq!(watch.order(), Order::Rest);
        watch.turns(turn(Some(Lease::WhileTurning)), ms(0));
        assert!(!watch.unlocks(Some(Lease::WhileTurning), ms(0)));
        assert!(watch.come_back().is_some());
        assert!(watch.unlocks(Some(Lease::WhileTurning), ms(0)));
        assert_eq!(watch.order(), Order::Nothing);
    }

    #[test]
    fn a_silent_camera_is_trouble_and_a_broken_one_is_not() {
        let mut watch = Watch::new(RULES);
        watch.turns(turn(None), ms(0));
        assert_eq!(watch.trouble(), None);
        let silent = Turn {
            camera_answers: false,
            ..turn(None)
        };
        watch.turns(silent, ms(0));
        assert_eq!(watch.trouble(), Some("the camera does not answer"));
    }
}
