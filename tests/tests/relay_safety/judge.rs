//! The judge: what the relay did against what was on record. Pure, and tested against relays that did wrong.

use std::time::Duration;

use facelatch_device::audit::{Entry, What};
use facelatch_protocol::{Alarm, DoorState, EventKind};

/// A move of the relay as its witness saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// When, on the board's monotonic clock.
    pub(crate) at: Duration,
    /// When, in wall time.
    pub(crate) unix_ms: u64,
    /// Whether the door can be opened from then on.
    pub(crate) open: bool,
    /// The number of the last record on disk at that moment.
    pub(crate) seq: u64,
    /// Whether the test kept the door from writing its record just then.
    pub(crate) unrecordable: bool,
    /// Until when somebody was to be let out, by the test's own account: nobody is kept in for a full disk.
    pub(crate) way_out_until: Duration,
}

/// What is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How long an unlocking lasts.
    pub(crate) unlock: Duration,
    /// How late a door may lock: what its clock moves by between two looks.
    pub(crate) late: Duration,
    /// Whether somebody set the wall time meanwhile, so that times on record are of no use.
    pub(crate) wall_jumps: bool,
}

/// Everything that is wrong with a life of a door. `entries` are those of this life.
pub(crate) fn judge(seen: &[Seen], entries: &[Entry], rules: &Rules) -> Vec<String> {
    let mut wrong = vec![];
    for entry in entries {
        let longest = entry.unix_ms + rules.unlock.as_millis() as u64;
        if let Some(DoorState::Unlocked { until_unix_ms }) = door(entry)
            && until_unix_ms > longest
        {
            wrong.push(format!("record {} unlocks for too long", entry.seq));
        }
    }
    for (i, opened) in seen.iter().enumerate().filter(|(_, seen)| seen.open) {
        let let_out = opened.unrecordable && opened.way_out_until >= opened.at;
        if !is_granted(span(entries, opened.seq)) && !let_out {
            wrong.push(format!("unlocked without a record of why: {opened:?}"));
        }
        match seen[i + 1..].iter().find(|later| !later.open) {
            Some(closed) => wrong.extend(too_long(opened, closed, entries, rules)),
            None => wrong.push(format!("still unlocked at the end: {opened:?}")),
        }
    }
    wrong
}

/// The records since the door was last known shut, up to this one.
fn span(entries: &[Entry], seq: u64) -> &[Entry] {
    let end = entries.partition_point(|entry| entry.seq <= seq);
    let shut = |entry: &Entry| {
        matches!(entry.what, What::Started { .. }) || door(entry).is_some_and(|state| !opens(state))
    };
    let begin = entries[..end].iter().rposition(shut).map_or(0, |at| at + 1);
    &entries[begin..end]
}

fn is_granted(span: &[Entry]) -> bool {
    let opened = span.iter().position(|e| door(e).is_some_and(opens));
    opened.is_some_and(|opened| span[..opened].iter().any(|e| cause(e).is_some()))
}

/// What let somebody through, in a word.
pub(crate) fn cause(entry: &Entry) -> Option<&'static str> {
    use facelatch_protocol::Opener;
    match &entry.what {
        What::Event(EventKind::Decision { granted: true, .. }) => Some("granted to a face"),
        What::Event(EventKind::Opened(Opener::Exit)) => Some("let out by request"),
        What::Event(EventKind::Opened(Opener::Schedule)) => Some("opened by the schedule"),
        What::Event(EventKind::Opened(Opener::Host { .. })) => Some("let in by a host"),
        What::Event(EventKind::Alarm {
            alarm: Alarm::Fire,
            on: true,
        }) => Some("opened for fire"),
        _ => None,
    }
}

fn too_long(opened: &Seen, closed: &Seen, entries: &[Entry], rules: &Rules) -> Option<String> {
    let records = span(entries, closed.seq);
    let states: Vec<DoorState> = records.iter().filter_map(door).collect();
    let recorded = match states.last() {
        Some(DoorState::Unlocked { until_unix_ms }) if !rules.wall_jumps => {
            // Both clocks move together.
            let began = opened.unix_ms.saturating_sub(opened.at.as_millis() as u64);
            Some(Duration::from_millis(until_unix_ms.saturating_sub(began)))
        }
        Some(DoorState::Unlocked { .. }) => {
            // Each of them unlocks once more.
            Some(opened.at + rules.unlock * states.len() as u32)
        }
        // For as long as there is a fire, or the schedule says.
        Some(_) => return None,
        None => None,
    };
    let let_out = closed.unrecordable.then_some(closed.way_out_until);
    match recorded.max(let_out) {
        Some(until) if closed.at <= until + rules.late => None,
        Some(until) => Some(format!(
            "unlocked for too long, until {until:?}: {opened:?} {closed:?}"
        )),
        None => Some(format!(
            "unlocked though the record says shut: {opened:?} {closed:?}"
        )),
    }
}

pub(crate) fn door(entry: &Entry) -> Option<DoorState> {
    match entry.what {
        What::Event(EventKind::Door(state)) => Some(state),
        _ => None,
    }
}

pub(crate) fn opens(state: DoorState) -> bool {
    match state {
        DoorState::Unlocked { .. } | DoorState::OpenBySchedule | DoorState::Fire => true,
        DoorState::Starting
        | DoorState::Locked
        | DoorState::Fault
        | DoorState::Stopped
        | DoorState::HeldOpen
        | DoorState::ForcedOpen
        | DoorState::LockedDown => false,
    }
}

#[cfg(test)]
mod tests {
    use facelatch_protocol::{Opener, Reason};

    use super::*;

    const RULES: Rules = Rules {
        unlock: Duration::from_millis(400),
        late: Duration::from_millis(100),
        wall_jumps: false,
    };
    /// Wall time at the board's zero.
    const BEGAN: u64 = 1_000_000;

    fn record(seq: u64, at: u64, kind: EventKind) -> Entry {
        Entry {
            seq,
            unix_ms: BEGAN + at,
            what: What::Event(kind),
        }
    }

    fn decision(seq: u64, at: u64, granted: bool) -> Entry {
        let kind = EventKind::Decision {
            granted,
            reason: Reason::Granted,
            person: None,
            distance: None,
            probability: None,
            latency_ms: 0,
        };
        record(seq, at, kind)
    }

    fn unlocked(seq: u64, at: u64, until: u64) -> Entry {
        let until_unix_ms = BEGAN + until;
        record(
            seq,
            at,
            EventKind::Door(DoorState::Unlocked { until_unix_ms }),
        )
    }

    fn state(seq: u64, at: u64, state: DoorState) -> Entry {
        record(seq, at, EventKind::Door(state))
    }

    fn seen(at: u64, open: bool, seq: u64) -> Seen {
        Seen {
            at: Duration::from_millis(at),
            unix_ms: BEGAN + at,
            open,
            seq,
            unrecordable: false,
            way_out_until: Duration::ZERO,
        }
    }

    /// A grant at 1000 ms, and the door shut again.
    fn visit() -> Vec<Entry> {
        vec![
            state(1, 0, DoorState::Locked),
            decision(2, 1_000, true),
            unlocked(3, 1_000, 1_400),
            state(4, 1_400, DoorState::Locked),
        ]
    }

    #[test]
    fn a_relay_that_does_wrong_is_found_out() {
        struct Case {
            what: &'static str,
            seen: Vec<Seen>,
            entries: Vec<Entry>,
            jumps: bool,
            /// Part of what is said; `None` if all is right.
            wrong: Option<&'static str>,
        }
        let case = |what, seen: &[Seen], entries, wrong| Case {
            what,
            seen: seen.to_vec(),
            entries,
            jumps: false,
            wrong,
        };
        let unrecorded = Some("without a record");
        let long = Some("too long");
        let out = |seen| Seen {
            unrecordable: true,
            way_out_until: Duration::from_millis(2_000),
            ..seen
        };
        let (on, off) = (seen(1_000, true, 3), seen(1_400, false, 3));
        let exit = record(5, 1_300, EventKind::Opened(Opener::Exit));
        let fire = |seq, on| {
            let alarm = Alarm::Fire;
            record(seq, 1_000, EventKind::Alarm { alarm, on })
        };
        let burning = || {
            vec![
                state(1, 0, DoorState::Locked),
                fire(2, true),
                state(3, 1_000, DoorState::Fire),
            ]
        };
        let longer = |until| {
            let mut entries = visit();
            entries.truncate(3);
            entries.extend([exit.clone(), unlocked(6, 1_300, until)]);
            entries
        };
        let mut cases = vec![
            case("a visit", &[on, off], visit(), None),
            case("a moment late", &[on, seen(1_500, false, 3)], visit(), None),
            case("too late", &[on, seen(1_501, false, 3)], visit(), long),
            case("nobody's", &[on, off], vec![], unrecorded),
            case(
                "before its record",
                &[seen(1_000, true, 1), off],
                visit(),
                unrecorded,
            ),
            case(
                "after a denial",
                &[on, off],
                vec![decision(2, 1_000, false), unlocked(3, 1_000, 1_400)],
                unrecorded,
            ),
            case(
                "once more for the same grant",
                &[on, off, seen(1_450, true, 4), seen(1_460, false, 4)],
                visit(),
                unrecorded,
            ),
            case(
                "while the record says shut",
                &[on, seen(1_450, false, 4)],
                visit(),
                Some("the record says shut"),
            ),
            case("never locked", &[on], visit(), Some("at the end")),
            case(
                "extended on record",
                &[on, seen(1_700, false, 6)],
                longer(1_700),
                None,
            ),
            case(
                "on record for too long",
                &[on, seen(1_700, false, 6)],
                longer(1_800),
                long,
            ),
            case(
                "as long as it burns",
                &[on, seen(900_000, false, 3)],
                burning(),
                None,
            ),
            case(
                "let out with a full disk",
                &[out(seen(1_900, true, 0)), out(seen(2_100, false, 0))],
                vec![],
                None,
            ),
            case(
                "let out with a full disk, for ever",
                &[out(seen(1_900, true, 0)), out(seen(2_101, false, 0))],
                vec![],
                long,
            ),
            case(
                "let in with a full disk",
                &[out(seen(2_001, true, 0)), out(seen(2_002, false, 0))],
                vec![],
                unrecorded,
            ),
        ];
        for (late, wrong) in [(1_500, None), (1_501, long)] {
            cases.push(Case {
                jumps: true,
                ..case(
                    "by a clock that was set",
                    &[on, seen(late, false, 3)],
                    vec![decision(2, 77, true), unlocked(3, 5_077, 5_400)],
                    wrong,
                )
            });
        }
        let mut failures = vec![];
        for case in cases {
            let rules = Rules {
                wall_jumps: case.jumps,
                ..RULES
            };
            let said = judge(&case.seen, &case.entries, &rules);
            let right = match case.wrong {
                None => said.is_empty(),
                Some(wrong) => said.iter().any(|text| text.contains(wrong)),
            };
            if !right {
                failures.push(format!("{}: {said:?}", case.what));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
