//! What holds for every sequence of events, with records and relay failing and the loop standing still at random: a million
//! sequences, judged by a plain account of who may be let through that knows nothing of the machine's states.

use proptest::prelude::*;

use super::{
    tests::{RULES, asker, grant},
    *,
};

/// In a debug build the same test looks at fewer.
const SEQUENCES: u32 = if cfg!(debug_assertions) {
    20_000
} else {
    1_000_000
};

/// What the world did to the door, and what came of it.
struct World {
    rules: Rules,
    now: Duration,
    state: State,
    relay: Position,
    audit_fails: bool,
    relay_fails: bool,
    /// The guard has put the relay at rest, and keeps it there until the loop is told.
    guarded: bool,
    // The account.
    service: Service,
    broken: Causes,
    fire: bool,
    lockdown: bool,
    schedule: bool,
    exit_at: Option<Duration>,
    entry_at: Option<Duration>,
}

impl World {
    fn new(rules: Rules) -> World {
        World {
            rules,
            now: Duration::ZERO,
            state: State::starting(false),
            relay: Position::Safe,
            audit_fails: false,
            relay_fails: false,
            guarded: false,
            service: Service::Starting,
            broken: Causes::default(),
            fire: false,
            lockdown: false,
            schedule: false,
            exit_at: None,
            entry_at: None,
        }
    }

    /// An event, or a change of what works, from a number.
    fn happens(&mut self, what: u8) -> Result<(), TestCaseError> {
        let on = what & 1 == 1;
        let cause = Cause::ALL[usize::from(what >> 1) % Cause::ALL.len()];
        let event = match what % 32 {
            0 | 1 => Event::Start,
            2..=5 => grant(),
            6 | 7 => Event::Unlock { by: asker() },
            8 => Event::Denied,
            9..=11 => Event::Exit,
            12..=15 => Event::Leaf { open: on },
            16 => Event::Tamper { on: what >= 128 },
            17 => Event::Fire { on: what >= 128 },
            18 | 19 => Event::Lockdown { on, by: asker() },
            20 | 21 => Event::Schedule { open: on },
            22 => Event::Fault(cause),
            23..=25 => Event::Recovered(cause),
            26 => Event::Stop,
            27 => {
                self.audit_fails = what >= 160;
                return Ok(());
            }
            28 => {
                self.relay_fails = what >= 160;
                return Ok(());
            }
            29 => {
                self.stands_still();
                Event::Tick
            }
            // In the middle of what follows from an event, while it waits for a disk.
            30 => {
                self.stands_still();
                match what >> 5 {
                    0..=2 => grant(),
                    3 | 4 => Event::Exit,
                    5 => Event::Fire { on: true },
                    6 => Event::Schedule { open: true },
                    _ => Event::Recovered(Cause::Relay),
                }
            }
            _ => {
                self.is_late();
                match what >> 5 {
                    0 | 1 => grant(),
                    2 => Event::Unlock { by: asker() },
                    3 | 4 => Event::Exit,
                    5 => Event::Fire { on: true },
                    6 => Event::Schedule { open: true },
                    _ => Event::Tick,
                }
            }
        };
        self.account(&event);
        self.drive(event)?;
        if std::mem::take(&mut self.guarded) {
            // The loop turns again.
            let told = Event::Fault(Cause::Loop);
            self.account(&told);
            self.drive(told)?;
        }
        // Inputs and grants come before time does.
        if self.state.deadline().is_some_and(|at| at <= self.now) {
            self.drive(Event::Tick)?;
        }
        self.judge()
    }

    /// The loop is busy while a timed unlocking ends, and the guard locks for it.
    fn is_late(&mut self) {
        if let Mode::Unlocked { until } = self.state.mode() {
            self.now = until + Duration::from_millis(300);
            if self.relay == Position::Unlocked {
                self.relay = Position::Locked;
            }
        }
    }

    fn stands_still(&mut self) {
        self.relay = Position::Safe;
        self.guarded = true;
    }

    /// What the event means for who may pass.
    fn account(&mut self, event: &Event) {
        let in_service = self.service != Service::Stopped;
        let serving = self.service == Service::Serving;
        let open_to_all = serving && self.broken.is_empty() && !self.lockdown;
        match event {
            Event::Start => self.service = Service::Serving,
            Event::Grant { .. } | Event::Unlock { .. } if open_to_all => {
                self.entry_at = Some(self.now);
            }
            Event::Exit if in_service && (!self.lockdown || self.rules.exit_in_lockdown) => {
                self.exit_at = Some(self.now);
            }
            Event::Fire { on } if in_service => self.fire = *on,
            Event::Lockdown { on, .. } if in_service => {
                self.lockdown = *on;
                if *on {
                    self.entry_at = None;
                    self.exit_at = self.exit_at.filter(|_| self.rules.exit_in_lockdown);
                }
            }
            Event::Schedule { open } if in_service => self.schedule = *open,
            Event::Fault(cause) => self.breaks(*cause),
            Event::Recovered(cause) => self.broken = self.broken.without(*cause),
            Event::Stop => {
                self.service = Service::Stopped;
                (self.fire, self.schedule) = (false, false);
                (self.entry_at, self.exit_at) = (None, None);
                self.broken = Causes::default();
            }
            Event::Grant { .. }
            | Event::Unlock { .. }
            | Event::Exit
            | Event::Fire { .. }
            | Event::Lockdown { .. }
            | Event::Schedule { .. }
            | Event::Denied
            | Event::Leaf { .. }
            | Event::Tamper { .. }
            | Event::Tick => {}
        }
    }

    fn breaks(&mut self, cause: Cause) {
        self.entry_at = None;
        if cause == Cause::Relay {
            self.exit_at = None;
        }
        if self.service == Service::Serving {
            self.broken = self.broken.with(cause);
        }
    }

    fn drive(&mut self, event: Event) -> Result<(), TestCaseError> {
        let mut state = self.state;
        let (mut written, mut unwritten, mut tried) = (0, 0, 0);
        let mut wrong = None;
        let retries_relay = [Cause::Relay, Cause::Loop]
            .into_iter()
            .any(|cause| [Event::Fault(cause), Event::Recovered(cause)].contains(&event));
        let rules = self.rules;
        drive(&mut state, event, self.now, &rules, &mut |_, action| {
            let failed = match action {
                Action::Record(_) => {
                    tried += 1;
                    match self.audit_fails {
                        true => unwritten += 1,
                        false => written += 1,
                    }
                    self.audit_fails.then_some(Cause::Audit)
                }
                Action::Relay(Position::Unlocked) if written == 0 || unwritten > 0 => {
                    wrong = Some("unlocked without a record");
                    None
                }
                Action::Release if tried == 0 && !retries_relay => {
                    wrong = Some("let out without trying to record it");
                    None
                }
                Action::Relay(position) => self.moves(position),
                Action::Release => self.moves(Position::Unlocked),
                Action::Indicate(_) | Action::Sound(_) => None,
            };
            failed.map_or(Ok(()), |cause| {
                self.breaks(cause);
                Err(cause)
            })
        });
        self.state = state;
        prop_assert!(wrong.is_none(), "{wrong:?}");
        Ok(())
    }

    fn moves(&mut self, position: Position) -> Option<Cause> {
        if self.guarded && position == Position::Unlocked {
            return Some(Cause::Loop);
        }
        // A relay that fails is at rest.
        self.relay = if self.relay_fails {
            Position::Safe
        } else {
            position
        };
        self.relay_fails.then_some(Cause::Relay)
    }

    fn judge(&self) -> Result<(), TestCaseError> {
        let in_force = |since: Option<Duration>| {
            since.is_some_and(|since| self.now < since + self.rules.unlock)
        };
        let out = self.service != Service::Stopped && (self.fire || in_force(self.exit_at));
        let inward = self.service == Service::Serving
            && self.broken.is_empty()
            && !self.lockdown
            && (self.schedule || in_force(self.entry_at));
        if self.relay == Position::Unlocked {
            prop_assert!(out || inward, "unlocked for nobody: {:?}", self.state);
        }
        let shut = self.service != Service::Serving || !self.broken.is_empty();
        if shut && !out {
            prop_assert_eq!(self.relay, Position::Safe, "not safe: {:?}", self.state);
        }
        if self.fire && self.service != Service::Stopped && !self.relay_fails {
            let kept_in = self.relay != Position::Unlocked;
            // A relay that failed is tried again when it recovers.
            prop_assert!(
                !kept_in || self.broken.contains(Cause::Relay) || self.service == Service::Starting
            );
        }
        prop_assert_eq!(self.state.causes(), self.broken);
        let position = self.state.mode().position();
        if position != Position::Unlocked || !self.broken.contains(Cause::Relay) {
            let agrees = position == self.relay || self.service != Service::Serving;
            prop_assert!(agrees, "{position:?} and {:?}", self.relay);
        }
        prop_assert!(self.state.deadline().is_none_or(|at| at > self.now));
        Ok(())
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    any::<[bool; 4]>().prop_map(|[held, relock, exit, rests]| Rules {
        held_open: held.then_some(Duration::from_secs(3)),
        relock_on_close: relock,
        exit_in_lockdown: exit,
        rests_locked: rests,
        ..RULES
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: SEQUENCES,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_relay_is_unlocked_only_while_somebody_may_pass_and_never_unrecorded(
        rules in rules(),
        events in prop::collection::vec(any::<(u8, u16)>(), 1..24),
    ) {
        let mut world = World::new(rules);
        world.happens(0)?;
        for (what, after) in events {
            // Up to 3.3 s; a loop ticks at every deadline on the way.
            let then = world.now + Duration::from_millis(u64::from(after) / 20);
            while let Some(deadline) = world.state.deadline().filter(|at| *at <= then) {
                world.now = deadline;
                world.drive(Event::Tick)?;
                world.judge()?;
            }
            world.now = then;
            world.happens(what)?;
        }
    }
}
