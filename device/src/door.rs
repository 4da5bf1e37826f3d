//! The door as a state machine: `step(state, event, now) -> (state, actions)`. Pure: no I/O, time is an argument.
//!
//! ```text
//!            Start               Grant                    any Fault
//! Stopped ----------> Locked ----------> Unlocked{until} -----------> Fault{causes}
//!    ^                  ^  ^---- Tick at until ---'                        |
//!    '---- Stop --------'--------------------- last cause Recovered ------'
//! ```
//!
//! The relay is opened here and nowhere else, and only by `Grant`. Each unlocking puts its record *before* the relay, each
//! locking puts the relay first. Whoever carries out the actions reports what fails as a `Fault`, and after a failure moves
//! the relay nowhere but to `Safe`. Called by `run`.

use std::{fmt, time::Duration};

use facelatch_boards::Pattern;

/// How the door behaves; from `device.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long a grant keeps the door unlocked.
    pub unlock: Duration,
}

/// What the door is doing. Times are monotonic, since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not in service: before `Start` and after `Stop`. Relay safe.
    Stopped,
    /// In service, relay locked.
    Locked,
    /// Relay unlocked until this instant.
    Unlocked {
        /// When it locks again.
        until: Duration,
    },
    /// Something the door depends on is broken. Relay safe until every cause is gone.
    Fault {
        /// What is broken; never empty.
        causes: Causes,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The device is ready to serve.
    Start,
    /// Policy lets this person pass.
    Grant {
        /// Person id.
        person: String,
    },
    /// Somebody was turned away.
    Denied,
    /// Time passed.
    Tick,
    /// Something broke.
    Fault(Cause),
    /// Something works again.
    Recovered(Cause),
    /// The device is going down.
    Stop,
}

/// What has to be done about it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write this to the audit record, on disk before the next action.
    Record(Record),
    /// Drive the relay.
    Relay(Position),
    /// Show this.
    Indicate(Pattern),
}

/// Where the relay goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The board's declared safe state: the relay at rest.
    Safe,
    /// Holding the door shut.
    Locked,
    /// Letting somebody pass.
    Unlocked,
}

/// A door action as the audit record keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// In service.
    Started,
    /// Unlocked for somebody until then.
    Unlocked {
        /// Person id.
        person: String,
        /// When it locks again, monotonic.
        until: Duration,
    },
    /// A second grant while unlocked: locks later.
    Extended {
        /// Person id.
        person: String,
        /// When it locks again, monotonic.
        until: Duration,
    },
    /// Locked again, on time.
    Locked,
    /// A cause of fault appeared; relay safe.
    Fault(Cause),
    /// A cause of fault went away.
    Recovered(Cause),
    /// Out of service; relay safe.
    Stopped,
}

/// Things a door cannot work without.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// No frames.
    Camera,
    /// A network failed.
    Networks,
    /// The gallery cannot be read or written.
    Gallery,
    /// The audit record cannot be written.
    Audit,
    /// The relay did not obey.
    Relay,
}

impl Cause {
    /// Every cause, in the order of [`Causes`]' bits.
    pub const ALL: [Cause; 5] = [
        Cause::Camera,
        Cause::Networks,
        Cause::Gallery,
        Cause::Audit,
        Cause::Relay,
    ];

    fn bit(self) -> u8 {
        match self {
            Cause::Camera => 1,
            Cause::Networks => 2,
            Cause::Gallery => 4,
            Cause::Audit => 8,
            Cause::Relay => 16,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Camera => "camera",
            Cause::Networks => "networks",
            Cause::Gallery => "gallery",
            Cause::Audit => "audit record",
            Cause::Relay => "relay",
        })
    }
}

/// A set of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Causes(u8);

impl Causes {
    /// The set with one more cause.
    #[must_use]
    pub fn with(self, cause: Cause) -> Causes {
        Causes(self.0 | cause.bit())
    }

    /// The set with one cause less.
    #[must_use]
    pub fn without(self, cause: Cause) -> Causes {
        Causes(self.0 & !cause.bit())
    }

    /// Whether the set holds this cause.
    #[must_use]
    pub fn contains(self, cause: Cause) -> bool {
        self.0 & cause.bit() != 0
    }

    /// Whether nothing is broken.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The causes in the set.
    pub fn iter(self) -> impl Iterator<Item = Cause> {
        Cause::ALL.into_iter().filter(move |c| self.contains(*c))
    }
}

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, cause) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{cause}")?;
        }
        Ok(())
    }
}

impl State {
    /// Where the relay stands in this state.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            State::Stopped | State::Fault { .. } => Position::Safe,
            State::Locked => Position::Locked,
            State::Unlocked { .. } => Position::Unlocked,
        }
    }

    /// What is broken now.
    #[must_use]
    pub fn causes(&self) -> Causes {
        match self {
            State::Stopped | State::Locked | State::Unlocked { .. } => Causes::default(),
            State::Fault { causes } => *causes,
        }
    }

    /// When this state needs a `Tick`.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        match self {
            State::Stopped | State::Locked | State::Fault { .. } => None,
            State::Unlocked { until } => Some(*until),
        }
    }
}

/// One step. `now` is monotonic and must not run backwards.
#[must_use]
pub fn step(state: State, event: Event, now: Duration, rules: &Rules) -> (State, Vec<Action>) {
    match (state, event) {
        (State::Stopped, Event::Start) => (State::Locked, enter_service()),
        (State::Locked | State::Unlocked { .. } | State::Fault { .. }, Event::Start) => {
            (state, vec![])
        }

        (State::Stopped | State::Fault { .. }, Event::Grant { .. }) => (state, vec![]),
        (State::Locked, Event::Grant { person }) => unlock(person, now, rules),
        (State::Unlocked { .. }, Event::Grant { person }) => extend(person, now, rules),

        (State::Locked, Event::Denied) => (state, vec![Action::Indicate(Pattern::Denied)]),
        (State::Stopped | State::Unlocked { .. } | State::Fault { .. }, Event::Denied) => {
            (state, vec![])
        }

        (State::Unlocked { until }, Event::Tick) if now >= until => (State::Locked, relock()),
        (
            State::Stopped | State::Locked | State::Unlocked { .. } | State::Fault { .. },
            Event::Tick,
        ) => (state, vec![]),

        (State::Stopped, Event::Fault(_)) => (state, vec![Action::Relay(Position::Safe)]),
        (State::Locked | State::Unlocked { .. } | State::Fault { .. }, Event::Fault(cause)) => {
            break_down(state.causes(), cause)
        }

        (State::Fault { causes }, Event::Recovered(cause)) => recover(causes, cause),
        (State::Stopped | State::Locked | State::Unlocked { .. }, Event::Recovered(_)) => {
            (state, vec![])
        }

        (State::Stopped, Event::Stop) => (state, vec![Action::Relay(Position::Safe)]),
        (State::Locked | State::Unlocked { .. } | State::Fault { .. }, Event::Stop) => {
            (State::Stopped, leave_service())
        }
    }
}

fn enter_service() -> Vec<Action> {
    vec![
        Action::Record(Record::Started),
        Action::Relay(Position::Locked),
        Action::Indicate(Pattern::Ready),
    ]
}

fn leave_service() -> Vec<Action> {
    vec![
        Action::Relay(Position::Safe),
        Action::Indicate(Pattern::Starting),
        Action::Record(Record::Stopped),
    ]
}

fn unlock(person: String, now: Duration, rules: &Rules) -> (State, Vec<Action>) {
    let until = now + rules.unlock;
    let actions = vec![
        Action::Record(Record::Unlocked { person, until }),
        Action::Relay(Position::Unlocked),
        Action::Indicate(Pattern::Granted),
    ];
    (State::Unlocked { until }, actions)
}

fn extend(person: String, now: Duration, rules: &Rules) -> (State, Vec<Action>) {
    let until = now + rules.unlock;
    let actions = vec![Action::Record(Record::Extended { person, until })];
    (State::Unlocked { until }, actions)
}

fn relock() -> Vec<Action> {
    vec![
        Action::Relay(Position::Locked),
        Action::Indicate(Pattern::Ready),
        Action::Record(Record::Locked),
    ]
}

fn break_down(before: Causes, cause: Cause) -> (State, Vec<Action>) {
    let causes = before.with(cause);
    let mut actions = vec![Action::Relay(Position::Safe)];
    if causes != before {
        actions.push(Action::Indicate(Pattern::Fault));
        actions.push(Action::Record(Record::Fault(cause)));
    }
    (State::Fault { causes }, actions)
}

/// The relay leaves its safe state only after the record of the recovery is on disk.
fn recover(before: Causes, cause: Cause) -> (State, Vec<Action>) {
    let causes = before.without(cause);
    if causes == before {
        return (State::Fault { causes }, vec![]);
    }
    let mut actions = vec![Action::Record(Record::Recovered(cause))];
    if !causes.is_empty() {
        return (State::Fault { causes }, actions);
    }
    actions.push(Action::Relay(Position::Locked));
    actions.push(Action::Indicate(Pattern::Ready));
    (State::Locked, actions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules {
        unlock: Duration::from_secs(5),
    };

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn grant() -> Event {
        Event::Grant {
            person: "ada".into(),
        }
    }

    fn broken(causes: &[Cause]) -> State {
        let causes = causes.iter().fold(Causes::default(), |set, c| set.with(*c));
        State::Fault { causes }
    }

    struct Case {
        what: &'static str,
        before: State,
        event: Event,
        now: u64,
        after: State,
        relay: Option<Position>,
    }

    #[test]
    fn each_step_leads_where_it_should() {
        use Cause::{Audit, Camera};
        use Position::{Locked, Safe, Unlocked};
        let open = |until| State::Unlocked { until: s(until) };
        let cases = [
            Case {
                what: "start",
                before: State::Stopped,
                event: Event::Start,
                now: 0,
                after: State::Locked,
                relay: Some(Locked),
            },
            Case {
                what: "grant before start",
                before: State::Stopped,
                event: grant(),
                now: 0,
                after: State::Stopped,
                relay: None,
            },
            Case {
                what: "grant",
                before: State::Locked,
                event: grant(),
                now: 1,
                after: open(6),
                relay: Some(Unlocked),
            },
            Case {
                what: "grant again",
                before: open(6),
                event: grant(),
                now: 4,
                after: open(9),
                relay: None,
            },
            Case {
                what: "early tick",
                before: open(6),
                event: Event::Tick,
                now: 5,
                after: open(6),
                relay: None,
            },
            Case {
                what: "tick",
                before: open(6),
                event: Event::Tick,
                now: 6,
                after: State::Locked,
                relay: Some(Locked),
            },
            Case {
                what: "denied while open",
                before: open(6),
                event: Event::Denied,
                now: 5,
                after: open(6),
                relay: None,
            },
            Case {
                what: "fault while open",
                before: open(6),
                event: Event::Fault(Camera),
                now: 2,
                after: broken(&[Camera]),
                relay: Some(Safe),
            },
            Case {
                what: "grant in fault",
                before: broken(&[Camera]),
                event: grant(),
                now: 2,
                after: broken(&[Camera]),
                relay: None,
            },
            Case {
                what: "second fault",
                before: broken(&[Camera]),
                event: Event::Fault(Audit),
                now: 2,
                after: broken(&[Camera, Audit]),
                relay: Some(Safe),
            },
            Case {
                what: "half recovered",
                before: broken(&[Camera, Audit]),
                event: Event::Recovered(Camera),
                now: 2,
                after: broken(&[Audit]),
                relay: None,
            },
            Case {
                what: "recovered",
                before: broken(&[Audit]),
                event: Event::Recovered(Audit),
                now: 2,
                after: State::Locked,
                relay: Some(Locked),
            },
            Case {
                what: "recovered of nothing",
                before: open(6),
                event: Event::Recovered(Audit),
                now: 2,
                after: open(6),
                relay: None,
            },
            Case {
                what: "stop while open",
                before: open(6),
                event: Event::Stop,
                now: 2,
                after: State::Stopped,
                relay: Some(Safe),
            },
            Case {
                what: "stop twice",
                before: State::Stopped,
                event: Event::Stop,
                now: 2,
                after: State::Stopped,
                relay: Some(Safe),
            },
        ];
        let mut failures = vec![];
        for case in cases {
            let (after, actions) = step(case.before, case.event, s(case.now), &RULES);
            let relay = actions.iter().find_map(|a| match a {
                Action::Relay(position) => Some(*position),
                Action::Record(_) | Action::Indicate(_) => None,
            });
            if (after, relay) != (case.after, case.relay) {
                failures.push(format!("{}: {after:?}, {relay:?}", case.what));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    fn index_of(actions: &[Action], wanted: impl Fn(&Action) -> bool) -> usize {
        actions.iter().position(wanted).expect("action is there")
    }

    #[test]
    fn the_record_comes_before_the_relay_when_unlocking_and_after_it_when_locking() {
        let record = |a: &Action| matches!(a, Action::Record(_));
        let relay = |a: &Action| matches!(a, Action::Relay(_));
        let (open, actions) = step(State::Locked, grant(), s(0), &RULES);
        assert!(index_of(&actions, record) < index_of(&actions, relay));
        for event in [Event::Tick, Event::Stop, Event::Fault(Cause::Camera)] {
            let (_, actions) = step(open, event, s(9), &RULES);
            assert!(index_of(&actions, relay) < index_of(&actions, record));
        }
    }

    fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
        let cause = prop::sample::select(Cause::ALL.to_vec());
        let event = prop_oneof![
            1 => Just(Event::Start),
            3 => Just(grant()),
            1 => Just(Event::Denied),
            4 => Just(Event::Tick),
            1 => cause.clone().prop_map(Event::Fault),
            2 => cause.prop_map(Event::Recovered),
            1 => Just(Event::Stop),
        ];
        prop::collection::vec((event, 0..4_000_u64), 1..200)
    }

    proptest! {
        #[test]
        fn unlocked_only_by_a_grant_and_never_for_longer_than_configured(events in events()) {
            let mut state = State::Stopped;
            let mut relay = Position::Safe;
            let mut now = Duration::ZERO;
            let mut last_grant: Option<Duration> = None;
            for (event, after_ms) in events {
                now += Duration::from_millis(after_ms);
                let granted = matches!(event, Event::Grant { .. });
                let stopping = matches!(event, Event::Stop | Event::Fault(_));
                let ticked = matches!(event, Event::Tick);
                let (next, actions) = step(state, event, now, &RULES);
                for action in actions {
                    if let Action::Relay(position) = action {
                        if position == Position::Unlocked {
                            prop_assert!(granted, "unlocked without a grant");
                            prop_assert_eq!(state, State::Locked);
                        }
                        relay = position;
                    }
                }
                if granted {
                    last_grant = Some(now);
                }
                prop_assert_eq!(next.position(), relay, "state and relay disagree");
                if stopping {
                    prop_assert_eq!(relay, Position::Safe);
                }
                if let State::Unlocked { until } = next {
                    let granted_at = last_grant.expect("an unlocked door was granted");
                    prop_assert!(until <= granted_at + RULES.unlock);
                    prop_assert!(!ticked || now < until, "a tick left the door open too long");
                }
                if let State::Fault { causes } = next {
                    prop_assert!(!causes.is_empty());
                }
                state = next;
            }
        }
    }
}
