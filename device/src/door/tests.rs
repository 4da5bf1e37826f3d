//! Each row of the machine, and the order of what it asks for. What holds for all sequences is in `properties`.

use facelatch_protocol::{DisplayName, PublicKey};

use super::*;

pub(super) const RULES: Rules = Rules {
    unlock: Duration::from_secs(5),
    held_open: Some(Duration::from_secs(30)),
    relock_on_close: true,
    exit_in_lockdown: true,
    rests_locked: true,
};

pub(super) fn grant() -> Event {
    Event::Grant {
        person: "ada".into(),
    }
}

pub(super) fn asker() -> Asker {
    Asker {
        host: PublicKey([1; 32]),
        name: DisplayName::parse("reception").unwrap(),
    }
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn unlock() -> Event {
    Event::Unlock { by: asker() }
}

fn lockdown(on: bool) -> Event {
    Event::Lockdown { on, by: asker() }
}

fn leaf(open: bool) -> Event {
    Event::Leaf { open }
}

fn fire(on: bool) -> Event {
    Event::Fire { on }
}

fn schedule(open: bool) -> Event {
    Event::Schedule { open }
}

/// The state after events, given with their seconds, and everything asked for on the way.
fn after(events: &[(u64, Event)], rules: &Rules) -> (State, Vec<Action>) {
    let mut state = State::starting(false);
    let mut all = vec![];
    for (at, event) in events {
        let (next, actions) = step(state, event.clone(), s(*at), rules);
        state = next;
        all.extend(actions);
    }
    (state, all)
}

struct Case {
    what: &'static str,
    /// Before the last event, after a start at 0 s.
    before: Vec<(u64, Event)>,
    event: (u64, Event),
    mode: Mode,
    relay: Option<Action>,
}

const SAFE: Option<Action> = Some(Action::Relay(Position::Safe));
const LOCKS: Option<Action> = Some(Action::Relay(Position::Locked));
const OPENS: Option<Action> = Some(Action::Relay(Position::Unlocked));
const OUT: Option<Action> = Some(Action::Release);

fn open(until: u64) -> Mode {
    Mode::Unlocked { until: s(until) }
}

fn fails(cases: Vec<Case>, rules: &Rules) -> Vec<String> {
    let mut failures = vec![];
    for case in cases {
        let mut events = vec![(0, Event::Start)];
        events.extend(case.before);
        let (state, _) = after(&events, rules);
        let (state, actions) = step(state, case.event.1, s(case.event.0), rules);
        let relay = actions.into_iter().find(|action| match action {
            Action::Relay(_) | Action::Release => true,
            Action::Record(_) | Action::Indicate(_) | Action::Sound(_) => false,
        });
        if (state.mode(), &relay) != (case.mode, &case.relay) {
            failures.push(format!("{}: {:?}, {relay:?}", case.what, state.mode()));
        }
    }
    failures
}

/// A row of a table of cases.
macro_rules! case {
    ($what:literal: [$($before:expr),*] $event:expr => $mode:expr, $relay:expr) => {
        Case { what: $what, before: vec![$($before),*], event: $event, mode: $mode, relay: $relay }
    };
}

#[test]
fn people_get_in_by_a_grant_a_host_or_the_schedule_and_for_no_longer_than_the_rules_say() {
    let cases = vec![
        case!("grant": [] (1, grant()) => open(6), OPENS),
        case!("remote unlock": [] (1, unlock()) => open(6), OPENS),
        case!("grant again": [(1, grant())] (4, grant()) => open(9), OPENS),
        case!("grant, late: the guard has locked meanwhile": [(1, grant())] (8, grant()) => open(13), OPENS),
        case!("early tick": [(1, grant())] (5, Event::Tick) => open(6), None),
        case!("tick": [(1, grant())] (6, Event::Tick) => Mode::Locked, LOCKS),
        case!("denied": [] (1, Event::Denied) => Mode::Locked, None),
        case!("denied while open": [(1, grant())] (5, Event::Denied) => open(6), None),
        case!("schedule": [] (1, schedule(true)) => Mode::OpenBySchedule, OPENS),
        case!("schedule over": [(1, schedule(true))] (9, schedule(false)) => Mode::Locked, LOCKS),
        case!("grant under schedule": [(1, schedule(true)), (1, grant())] (6, Event::Tick)
            => Mode::OpenBySchedule, OPENS),
        case!("closed after passing": [(1, grant()), (2, leaf(false)), (2, leaf(true))] (3, leaf(false))
            => Mode::Locked, LOCKS),
        case!("started again": [] (1, Event::Start) => Mode::Locked, None),
        case!("stop while open": [(1, grant())] (2, Event::Stop) => Mode::Stopped, SAFE),
        case!("stop twice": [(1, Event::Stop)] (2, Event::Stop) => Mode::Stopped, SAFE),
        case!("grant after stop": [(1, Event::Stop)] (2, grant()) => Mode::Stopped, None),
    ];
    let failures = fails(cases, &RULES);
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn faults_and_lockdowns_shut_people_out_and_end_with_their_cause() {
    use Cause::{Audit, Camera};
    let broken = |cause| (1, Event::Fault(cause));
    let mended = |cause| (2, Event::Recovered(cause));
    let cases = vec![
        case!("fault while open": [(1, grant())] broken(Camera) => Mode::Fault, SAFE),
        case!("grant in fault": [broken(Camera)] (2, grant()) => Mode::Fault, None),
        case!("remote unlock in fault": [broken(Camera)] (2, unlock()) => Mode::Fault, None),
        case!("second fault": [broken(Camera)] broken(Audit) => Mode::Fault, SAFE),
        case!("half recovered": [broken(Camera), broken(Audit)] mended(Camera) => Mode::Fault, None),
        case!("recovered": [broken(Audit)] mended(Audit) => Mode::Locked, LOCKS),
        case!("recovered of nothing": [(1, grant())] mended(Audit) => open(6), None),
        case!("recovered into a schedule": [(0, schedule(true)), broken(Audit)] mended(Audit)
            => Mode::OpenBySchedule, OPENS),
        case!("lockdown while open": [(1, grant())] (2, lockdown(true)) => Mode::LockedDown, LOCKS),
        case!("lockdown under schedule": [(1, schedule(true))] (2, lockdown(true)) => Mode::LockedDown, LOCKS),
        case!("grant in lockdown": [(1, lockdown(true))] (2, grant()) => Mode::LockedDown, None),
        case!("remote unlock in lockdown": [(1, lockdown(true))] (2, unlock()) => Mode::LockedDown, None),
        case!("schedule in lockdown": [(1, lockdown(true))] (2, schedule(true)) => Mode::LockedDown, None),
        case!("lockdown over": [(1, lockdown(true))] (2, lockdown(false)) => Mode::Locked, None),
        case!("fault in lockdown": [(1, lockdown(true))] (2, Event::Fault(Camera)) => Mode::Fault, SAFE),
        case!("recovered in lockdown": [(1, lockdown(true)), broken(Camera)] mended(Camera)
            => Mode::LockedDown, LOCKS),
    ];
    let failures = fails(cases, &RULES);
    assert!(failures.is_empty(), "{failures:#?}");

    let (resumed, _) = step(State::starting(true), Event::Start, s(0), &RULES);
    assert_eq!(resumed.mode(), Mode::LockedDown);
}

#[test]
fn the_way_out_stands_through_faults_lockdowns_and_before_the_first_frame() {
    use Cause::{Camera, Relay};
    let cases = vec![
        case!("exit": [] (1, Event::Exit) => open(6), OUT),
        case!("exit over": [(1, Event::Exit)] (6, Event::Tick) => Mode::Locked, LOCKS),
        case!("exit while open": [(1, grant())] (3, Event::Exit) => open(8), OUT),
        case!("exit in lockdown": [(1, lockdown(true))] (2, Event::Exit) => open(7), OUT),
        case!("exit in lockdown over": [(1, lockdown(true)), (2, Event::Exit)] (7, Event::Tick)
            => Mode::LockedDown, LOCKS),
        case!("exit in fault": [(1, Event::Fault(Camera))] (2, Event::Exit) => open(7), OUT),
        case!("fault during exit": [(1, Event::Exit)] (2, Event::Fault(Camera)) => open(6), None),
        case!("relay fails during exit": [(1, Event::Exit)] (2, Event::Fault(Relay)) => Mode::Fault, SAFE),
        case!("exit in fault over": [(1, Event::Fault(Camera)), (2, Event::Exit)] (7, Event::Tick)
            => Mode::Fault, SAFE),
        case!("fire": [] (1, fire(true)) => Mode::Fire, OUT),
        case!("fire in lockdown": [(1, lockdown(true))] (2, fire(true)) => Mode::Fire, OUT),
        case!("fire in fault": [(1, Event::Fault(Camera))] (2, fire(true)) => Mode::Fire, OUT),
        case!("fault during fire": [(1, fire(true))] (2, Event::Fault(Camera)) => Mode::Fire, None),
        case!("relay fails during fire": [(1, fire(true))] (2, Event::Fault(Relay)) => Mode::Fire, OUT),
        case!("lockdown during fire": [(1, fire(true))] (2, lockdown(true)) => Mode::Fire, None),
        case!("fire over in lockdown": [(1, fire(true)), (2, lockdown(true))] (3, fire(false))
            => Mode::LockedDown, LOCKS),
        case!("stop during fire": [(1, fire(true))] (2, Event::Stop) => Mode::Stopped, SAFE),
    ];
    let mut failures = fails(cases, &RULES);
    let kept_in = Rules {
        exit_in_lockdown: false,
        ..RULES
    };
    let cases = vec![
        case!("exit, board says no": [(1, lockdown(true))] (2, Event::Exit) => Mode::LockedDown, None),
        case!("lockdown, board says no": [(1, Event::Exit)] (2, lockdown(true)) => Mode::LockedDown, LOCKS),
        case!("fire, board says no": [(1, lockdown(true))] (2, fire(true)) => Mode::Fire, OUT),
    ];
    failures.extend(fails(cases, &kept_in));
    assert!(failures.is_empty(), "{failures:#?}");

    let (early, actions) = step(State::starting(true), Event::Exit, s(1), &RULES);
    assert_eq!(early.mode(), open(6));
    assert!(actions.contains(&Action::Release));
}

#[test]
fn a_leaf_opened_by_nobody_or_left_open_is_an_alarm() {
    let shut = (0, leaf(false));
    let tick = |at| (at, Event::Tick);
    let cases = vec![
        case!("forced": [shut.clone()] (1, leaf(true)) => Mode::ForcedOpen, None),
        case!("forced, then shut": [shut.clone(), (1, leaf(true))] (2, leaf(false)) => Mode::Locked, None),
        case!("open at the start is not forced": [] (1, leaf(true)) => Mode::Locked, None),
        case!("open at the start, still": [(1, leaf(true))] tick(31) => Mode::HeldOpen, None),
        case!("opened by a grant": [shut.clone(), (1, grant())] (2, leaf(true)) => open(6), None),
        case!("opened too late to be seen": [shut.clone(), (1, grant()), tick(6)] (6, leaf(true))
            => Mode::Locked, None),
        case!("opened after it locked": [shut.clone(), (1, grant()), tick(6)] (7, leaf(true))
            => Mode::ForcedOpen, None),
        case!("left open": [shut.clone(), (1, grant()), (2, leaf(true)), tick(6)] tick(35) => Mode::Locked, None),
        case!("held open": [shut.clone(), (1, grant()), (2, leaf(true)), tick(6)] tick(36) => Mode::HeldOpen, None),
        case!("granted while held": [(1, leaf(true)), tick(31)] (32, grant()) => open(37), OPENS),
        case!("shut while held": [(1, leaf(true)), tick(31)] (32, leaf(false)) => Mode::Locked, None),
        case!("open under schedule": [(1, schedule(true)), shut, (1, leaf(true))] tick(99)
            => Mode::OpenBySchedule, None),
    ];
    let mut failures = fails(cases, &RULES);
    let lenient = Rules {
        held_open: None,
        relock_on_close: false,
        ..RULES
    };
    let cases = vec![
        case!("never held": [(1, leaf(true))] tick(9_999) => Mode::Locked, None),
        case!("open until the time is over": [(1, leaf(true)), (2, grant())] (3, leaf(false)) => open(7), None),
    ];
    failures.extend(fails(cases, &lenient));
    let rests_open = Rules {
        rests_locked: false,
        ..RULES
    };
    let broken = (1, Event::Fault(Cause::Camera));
    let cases = vec![
        case!("opened in a fault of a fail-safe door": [(0, leaf(false)), broken] (2, leaf(true)) => Mode::Fault, None),
    ];
    failures.extend(fails(cases, &rests_open));
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn alarms_are_recorded_and_heard_once() {
    let events = [
        (0, Event::Start),
        (0, leaf(false)),
        (1, leaf(true)),
        (1, leaf(true)),
        (2, Event::Tamper { on: true }),
        (3, Event::Tamper { on: true }),
        (4, leaf(false)),
        (5, Event::Tamper { on: false }),
    ];
    let (state, actions) = after(&events, &RULES);
    let alarms: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Record(Record::Alarm { alarm, on }) => Some((*alarm, *on)),
            _ => None,
        })
        .collect();
    let expected = [
        (Alarm::ForcedOpen, true),
        (Alarm::Tamper, true),
        (Alarm::ForcedOpen, false),
        (Alarm::Tamper, false),
    ];
    assert_eq!(alarms, expected);
    let sounds: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Sound(sound) => Some(*sound),
            _ => None,
        })
        .collect();
    assert_eq!(sounds, [Sound::Alarm, Sound::Silent]);
    assert_eq!(state.mode(), Mode::Locked);
}

#[test]
fn the_record_comes_before_the_relay_when_unlocking_and_after_it_when_locking() {
    let record = |a: &Action| matches!(a, Action::Record(_));
    let relay = |a: &Action| matches!(a, Action::Relay(_) | Action::Release);
    let (locked, _) = after(&[(0, Event::Start)], &RULES);
    let at = |actions: &[Action], wanted: &dyn Fn(&Action) -> bool| {
        actions.iter().position(wanted).expect("action is there")
    };
    for event in [grant(), unlock(), Event::Exit, fire(true), schedule(true)] {
        let (open, actions) = step(locked, event, s(1), &RULES);
        assert!(at(&actions, &record) < at(&actions, &relay), "{actions:?}");
        for event in [Event::Stop, Event::Fault(Cause::Relay)] {
            let (_, actions) = step(open, event, s(9), &RULES);
            if open.mode() != Mode::Fire || actions.contains(&Action::Relay(Position::Safe)) {
                assert!(at(&actions, &relay) < at(&actions, &record), "{actions:?}");
            }
        }
    }
    let (open, _) = step(locked, grant(), s(1), &RULES);
    let (_, actions) = step(open, Event::Tick, s(6), &RULES);
    assert!(at(&actions, &relay) < at(&actions, &record), "{actions:?}");
}

#[test]
fn without_a_record_nobody_gets_in_and_everybody_gets_out() {
    for (event, moved) in [
        (grant(), vec![Position::Safe]),
        (unlock(), vec![Position::Safe]),
        (schedule(true), vec![Position::Safe]),
        (Event::Exit, vec![Position::Unlocked]),
        (fire(true), vec![Position::Unlocked]),
    ] {
        let (mut state, _) = after(&[(0, Event::Start)], &RULES);
        let mut relay = vec![];
        drive(&mut state, event.clone(), s(1), &RULES, &mut |_, action| {
            match action {
                Action::Record(_) => return Err(Cause::Audit),
                Action::Relay(position) => relay.push(position),
                Action::Release => relay.push(Position::Unlocked),
                Action::Indicate(_) | Action::Sound(_) => {}
            }
            Ok(())
        });
        assert_eq!(relay, moved, "{event:?}");
        assert!(state.causes().contains(Cause::Audit), "{event:?}");
    }
}

/// The guard has put the relay at rest meanwhile, whatever the door had told it.
#[test]
fn a_loop_that_stood_still_lets_nobody_in_and_everybody_out_again() {
    let stood_still = Event::Fault(Cause::Loop);
    let turns = Event::Recovered(Cause::Loop);
    for (event, mode, relay) in [
        (grant(), Mode::Fault, Action::Relay(Position::Safe)),
        (schedule(true), Mode::Fault, Action::Relay(Position::Safe)),
        (Event::Exit, open(6), Action::Release),
        (fire(true), Mode::Fire, Action::Release),
    ] {
        let (state, _) = after(&[(0, Event::Start), (1, event.clone())], &RULES);
        let (state, actions) = step(state, stood_still.clone(), s(4), &RULES);
        assert_eq!(state.mode(), mode, "{event:?}");
        assert!(actions.contains(&relay), "{event:?}: {actions:?}");
        assert!(actions.contains(&Action::Record(Record::Fault(Cause::Loop))));
        let (state, _) = step(state, turns.clone(), s(4), &RULES);
        let kept = [Mode::Fire, Mode::OpenBySchedule, open(6)].contains(&state.mode());
        assert_eq!(kept, event != grant(), "{event:?}: {:?}", state.mode());
    }
}
