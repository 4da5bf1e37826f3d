//! Hours where the calendar is awkward: clocks that change both ways in four zones, leap days, the year's end, windows
//! across midnight, holidays. Every case says what a clock on the wall shows, and at which instant.

use facelatch_policy::{Clock, Policy, Refuse};
use facelatch_protocol::PersonId;
use proptest::prelude::*;

/// A policy whose one schedule has these windows, and somebody who has these hours.
fn hours(zone: &str, windows: &[&str], on_holidays: &str) -> Policy {
    let text = format!(
        "zone = {zone:?}\n\
         holidays.dates = [\"12-25\", \"2026-05-01\", 2026-10-25, \"02-29\"]\n\
         [schedules.s]\nwindows = {windows:?}\non_holidays = {on_holidays}\n\
         [people.ada]\nschedules = [\"s\"]\n[open]\nschedule = \"s\"\n"
    );
    Policy::parse(&text).unwrap()
}

fn unix_ms(utc: &str) -> u64 {
    let instant: jiff::Timestamp = format!("{utc}Z").parse().unwrap();
    u64::try_from(instant.as_millisecond()).unwrap()
}

fn at(utc: &str) -> Clock {
    Clock::Known {
        unix_ms: unix_ms(utc),
    }
}

/// Times in UTC, each with whether the window is open then.
struct Case {
    why: &'static str,
    zone: &'static str,
    windows: &'static [&'static str],
    on_holidays: &'static str,
    times: &'static [(&'static str, bool)],
}

#[test]
fn hours_hold_where_the_calendar_is_awkward() {
    let closed = "\"closed\"";
    let as_usual = "\"as-usual\"";
    let cases = [
        Case {
            why: "plain: the end is out, and Berlin is two hours ahead in summer, one in winter",
            zone: "Europe/Berlin",
            windows: &["mon-fri 07:30-19:00"],
            on_holidays: closed,
            times: &[
                ("2026-07-03T05:29:59", false),
                ("2026-07-03T05:30:00", true),
                ("2026-07-03T16:59:59", true),
                ("2026-07-03T17:00:00", false),
                ("2026-07-04T10:00:00", false),
                ("2026-12-04T06:29:59", false),
                ("2026-12-04T06:30:00", true),
            ],
        },
        Case {
            why: "Berlin in spring: 02:00 to 03:00 is not; a window in it is empty",
            zone: "Europe/Berlin",
            windows: &["sun 02:15-02:45"],
            on_holidays: closed,
            times: &[
                ("2026-03-29T00:59:59", false),
                ("2026-03-29T01:00:00", false),
                ("2026-03-29T01:15:00", false),
                ("2026-03-29T01:30:00", false),
                ("2026-04-05T00:15:00", true),
            ],
        },
        Case {
            why: "Berlin in spring: a window that begins in the gap begins with the jump, one that ends in it ends there",
            zone: "Europe/Berlin",
            windows: &["sun 02:30-04:00", "sat 23:00-02:30"],
            on_holidays: closed,
            times: &[
                ("2026-03-28T21:59:59", false),
                ("2026-03-28T22:00:00", true),
                ("2026-03-29T00:59:59", true),
                ("2026-03-29T01:00:00", true),
                ("2026-03-29T01:59:59", true),
                ("2026-03-29T02:00:00", false),
            ],
        },
        Case {
            why: "Berlin in autumn: a window that ends in the hour that comes twice ends the first time, for good",
            zone: "Europe/Berlin",
            windows: &["sat 22:00-02:30"],
            on_holidays: as_usual,
            times: &[
                ("2026-10-24T20:00:00", true),
                ("2026-10-25T00:29:59", true),
                ("2026-10-25T00:30:00", false),
                ("2026-10-25T01:00:00", false),
                ("2026-10-25T01:29:59", false),
                ("2026-10-25T01:30:00", false),
            ],
        },
        Case {
            why: "Berlin in autumn: one inside that hour holds the first time; one that begins in it goes on",
            zone: "Europe/Berlin",
            windows: &["sun 02:10-02:20", "sun 02:50-03:10"],
            on_holidays: as_usual,
            times: &[
                ("2026-10-25T00:10:00", true),
                ("2026-10-25T00:20:00", false),
                ("2026-10-25T00:50:00", true),
                ("2026-10-25T01:10:00", true),
                ("2026-10-25T02:09:59", true),
                ("2026-10-25T02:10:00", false),
            ],
        },
        Case {
            why: "Auckland goes forward in September and back in April",
            zone: "Pacific/Auckland",
            windows: &["sun 01:00-02:30"],
            on_holidays: closed,
            times: &[
                // 02:00 becomes 03:00: half an hour is missing.
                ("2026-09-26T13:00:00", true),
                ("2026-09-26T13:59:59", true),
                ("2026-09-26T14:00:00", false),
                // 03:00 becomes 02:00: it ends the first time.
                ("2026-04-04T12:00:00", true),
                ("2026-04-04T13:29:59", true),
                ("2026-04-04T13:30:00", false),
                ("2026-04-04T14:15:00", false),
            ],
        },
        Case {
            why: "Santiago changes at midnight: Sunday begins at 01:00 in September, Saturday has an hour more in April",
            zone: "America/Santiago",
            windows: &["sun 00:00-00:30", "sat 23:30-00:15"],
            on_holidays: closed,
            times: &[
                // The end of Saturday's window and all of Sunday's are skipped: it ends with the jump at 04:00 UTC.
                ("2026-09-06T03:30:00", true),
                ("2026-09-06T03:59:59", true),
                ("2026-09-06T04:00:00", false),
                // 23:30 comes twice, 00:00 once: from the first 23:30 to 00:15, an hour and three quarters.
                ("2026-04-05T02:29:59", false),
                ("2026-04-05T02:30:00", true),
                ("2026-04-05T03:10:00", true),
                ("2026-04-05T04:14:59", true),
                ("2026-04-05T04:29:59", true),
                ("2026-04-05T04:30:00", false),
            ],
        },
        Case {
            why: "Lord Howe moves by half an hour, both ways",
            zone: "Australia/Lord_Howe",
            windows: &["sun 02:10-02:20", "sun 01:40-01:50"],
            on_holidays: closed,
            times: &[
                // 02:00 becomes 02:30 in October, at 15:30 UTC.
                ("2026-10-03T15:29:59", false),
                ("2026-10-03T15:30:00", false),
                ("2026-10-03T15:45:00", false),
                // A week later it is there.
                ("2026-10-10T15:10:00", true),
                ("2026-10-10T15:20:00", false),
                // 02:00 becomes 01:30 in April, at 15:00 UTC: 01:40 comes twice, the first counts.
                ("2026-04-04T14:40:00", true),
                ("2026-04-04T14:50:00", false),
                ("2026-04-04T15:10:00", false),
                ("2026-04-04T15:19:59", false),
                ("2026-04-04T15:40:00", true),
            ],
        },
        Case {
            why: "the whole day is 23, 24 or 25 hours, and days leave no crack",
            zone: "Europe/Berlin",
            windows: &["fri-sun 00:00-24:00"],
            on_holidays: as_usual,
            times: &[
                ("2026-03-26T22:59:59", false),
                ("2026-03-26T23:00:00", true),
                ("2026-03-28T22:59:59", true),
                ("2026-03-28T23:00:00", true),
                ("2026-03-29T21:59:59", true),
                ("2026-03-29T22:00:00", false),
                ("2026-10-25T22:59:59", true),
                ("2026-10-25T23:00:00", false),
            ],
        },
        Case {
            why: "leap day: there in 2028, not in 2026; Saturday night runs from it into March",
            zone: "UTC",
            windows: &["tue 22:00-02:00"],
            on_holidays: as_usual,
            times: &[
                ("2028-02-29T21:59:59", false),
                ("2028-02-29T22:00:00", true),
                ("2028-03-01T01:59:59", true),
                ("2028-03-01T02:00:00", false),
                ("2026-03-01T01:00:00", false),
            ],
        },
        Case {
            why: "leap day as a yearly holiday closes in leap years only",
            zone: "UTC",
            windows: &["daily 09:00-17:00"],
            on_holidays: closed,
            times: &[
                ("2028-02-28T10:00:00", true),
                ("2028-02-29T10:00:00", false),
                ("2028-03-01T10:00:00", true),
                ("2026-03-01T10:00:00", true),
            ],
        },
        Case {
            why: "the year's end: Thursday night of 2026 runs into Friday of 2027",
            zone: "Europe/Berlin",
            windows: &["thu 22:00-06:00"],
            on_holidays: closed,
            times: &[
                ("2026-12-31T20:59:59", false),
                ("2026-12-31T21:00:00", true),
                ("2026-12-31T23:00:00", true),
                ("2027-01-01T04:59:59", true),
                ("2027-01-01T05:00:00", false),
            ],
        },
        Case {
            why: "a window across midnight that starts on a holiday is closed to its end; one from the day before runs on",
            zone: "UTC",
            windows: &["thu 22:00-06:00", "fri 22:00-06:00"],
            on_holidays: closed,
            times: &[
                // 2026-12-25 is a Friday.
                ("2026-12-24T23:00:00", true),
                ("2026-12-25T05:59:59", true),
                ("2026-12-25T22:00:00", false),
                ("2026-12-26T01:00:00", false),
                // A week later it is not.
                ("2027-01-01T22:00:00", true),
                ("2027-01-02T05:59:59", true),
            ],
        },
        Case {
            why: "windows of holidays replace the day's, on whatever day; once or yearly",
            zone: "UTC",
            windows: &["mon-fri 09:00-17:00"],
            on_holidays: "[\"10:00-12:00\", \"23:00-01:00\"]",
            times: &[
                ("2026-05-01T09:30:00", false),
                ("2026-05-01T10:00:00", true),
                ("2026-05-01T12:00:00", false),
                ("2026-05-01T23:30:00", true),
                ("2026-05-02T00:59:59", true),
                ("2026-05-02T01:00:00", false),
                // Only once; and Christmas on a Saturday.
                ("2027-05-03T09:30:00", true),
                ("2027-12-25T10:00:00", true),
            ],
        },
        Case {
            why: "as usual: a holiday changes nothing",
            zone: "UTC",
            windows: &["mon-fri 09:00-17:00"],
            on_holidays: as_usual,
            times: &[("2026-05-01T09:30:00", true)],
        },
        Case {
            why: "days around the week's end",
            zone: "UTC",
            windows: &["sat-mon 08:00-09:00", "wed,fri 10:00-11:00"],
            on_holidays: closed,
            times: &[
                ("2026-11-27T08:30:00", false),
                ("2026-11-28T08:30:00", true),
                ("2026-11-29T08:30:00", true),
                ("2026-11-30T08:30:00", true),
                ("2026-12-01T08:30:00", false),
                ("2026-12-02T10:30:00", true),
                ("2026-12-03T10:30:00", false),
                ("2026-12-04T10:30:00", true),
            ],
        },
        Case {
            why: "a day that was left out: Apia had no 30 December 2011",
            zone: "Pacific/Apia",
            windows: &["fri 08:00-16:00", "thu 22:00-02:00", "sat 08:00-09:00"],
            on_holidays: closed,
            times: &[
                ("2011-12-30T09:00:00", true),
                ("2011-12-30T09:59:59", true),
                ("2011-12-30T10:00:00", false),
                ("2011-12-30T18:00:00", true),
                ("2011-12-30T19:00:00", false),
            ],
        },
    ];
    let ada = PersonId::parse("ada").unwrap();
    let mut wrong = vec![];
    for case in cases {
        let policy = hours(case.zone, case.windows, case.on_holidays);
        for &(time, open) in case.times {
            let passes = policy.may_pass(&ada, at(time), "front").map(|_| ());
            let expected = if open { Ok(()) } else { Err(Refuse::NotNow) };
            if passes != expected || policy.holds_open(at(time), "front") != open {
                wrong.push(format!(
                    "{time}: {passes:?}, should be {expected:?}: {}",
                    case.why
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn validity_begins_and_ends_by_the_clock_on_the_wall() {
    let cases = [
        // A date: from its beginning, to its end.
        ("from = \"2026-11-01\"", "2026-10-31T22:59:59", false),
        ("from = \"2026-11-01\"", "2026-10-31T23:00:00", true),
        ("until = \"2026-11-01\"", "2026-11-01T22:59:59", true),
        ("until = \"2026-11-01\"", "2026-11-01T23:00:00", false),
        // Unquoted, and a time with and without seconds.
        ("until = 2026-11-01", "2026-11-01T22:59:59", true),
        ("until = 2026-11-01T12:00:30", "2026-11-01T11:00:29", true),
        (
            "until = \"2026-11-01T12:00:30\"",
            "2026-11-01T11:00:30",
            false,
        ),
        ("from = \"2026-11-01T12:00\"", "2026-11-01T10:59:59", false),
        ("from = \"2026-11-01T12:00\"", "2026-11-01T11:00:00", true),
        // The day with 25 hours, the leap day, the last of the year.
        ("until = \"2026-10-25\"", "2026-10-25T22:59:59", true),
        ("until = \"2026-10-25\"", "2026-10-25T23:00:00", false),
        ("until = \"2028-02-29\"", "2028-02-29T22:59:59", true),
        ("until = \"2028-02-29\"", "2028-02-29T23:00:00", false),
        ("until = \"2026-12-31\"", "2026-12-31T22:59:59", true),
        ("until = \"2026-12-31\"", "2026-12-31T23:00:00", false),
        // In the hour that is skipped, and in the one that comes twice: as it is first shown or jumped over.
        ("until = \"2026-03-29T02:30\"", "2026-03-29T00:59:59", true),
        ("until = \"2026-03-29T02:30\"", "2026-03-29T01:00:00", false),
        ("until = \"2026-10-25T02:30\"", "2026-10-25T00:29:59", true),
        ("until = \"2026-10-25T02:30\"", "2026-10-25T00:30:00", false),
        ("until = \"2026-10-25T02:30\"", "2026-10-25T01:15:00", false),
        ("from = \"2026-10-25T02:30\"", "2026-10-25T01:15:00", true),
    ];
    let ada = PersonId::parse("ada").unwrap();
    for (rule, time, valid) in cases {
        let text = format!("zone = \"Europe/Berlin\"\n[people.ada]\n{rule}\n");
        let found = Policy::parse(&text)
            .unwrap()
            .may_pass(&ada, at(time), "front");
        let expected = if valid { Ok(()) } else { Err(Refuse::NotValid) };
        assert_eq!(found.map(|_| ()), expected, "{rule} at {time}");
    }
}

#[test]
fn a_time_of_the_wall_is_found() {
    let policy = hours("Europe/Berlin", &["daily 00:00-24:00"], "\"closed\"");
    let found = |text| policy.unix_ms_of(text);
    assert_eq!(
        found("2026-06-05T10:00"),
        Some(unix_ms("2026-06-05T08:00:00"))
    );
    assert_eq!(
        found("2026-03-29T02:30"),
        Some(unix_ms("2026-03-29T01:00:00"))
    );
    for text in [
        "2026-06-05",
        "2026-06-05T10:00Z",
        "2026-06-05T10:00+02:00",
        "now",
        "",
    ] {
        assert_eq!(found(text), None, "{text}");
    }
}

#[test]
fn a_change_is_looked_for_through_a_year() {
    let policy = hours("Europe/Berlin", &["mon-fri 07:30-19:00"], "\"closed\"");
    let next = |time: &str| policy.next_change(unix_ms(time), "front");
    // From Friday evening to Monday, over Christmas (a Friday), and across the jump in spring.
    assert_eq!(
        next("2026-12-04T18:00:00"),
        Some(unix_ms("2026-12-07T06:30:00"))
    );
    assert_eq!(
        next("2026-12-24T18:00:00"),
        Some(unix_ms("2026-12-28T06:30:00"))
    );
    assert_eq!(
        next("2026-03-27T18:00:00"),
        Some(unix_ms("2026-03-30T05:30:00"))
    );
    // The end of what is on now, not its beginning.
    assert_eq!(
        next("2026-12-04T06:30:00"),
        Some(unix_ms("2026-12-04T18:00:00"))
    );
    // Windows that touch are one.
    let always = hours(
        "Europe/Berlin",
        &["daily 00:00-12:00", "daily 12:00-24:00"],
        "\"as-usual\"",
    );
    assert_eq!(
        always.next_change(unix_ms("2026-12-04T06:30:00"), "front"),
        None
    );
    assert_eq!(policy.next_change(u64::MAX, "front"), None);
}

const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "America/Havana",
    "America/St_Johns",
    "Asia/Kathmandu",
];

/// Days around which clocks change somewhere, and others: the first of each is looked at from its beginning, in UTC.
const DAYS: [&str; 10] = [
    "2026-03-07T12:00:00",
    "2026-03-28T12:00:00",
    "2026-04-04T00:00:00",
    "2026-09-05T12:00:00",
    "2026-10-03T00:00:00",
    "2026-10-24T12:00:00",
    "2026-10-31T12:00:00",
    "2028-02-28T12:00:00",
    "2026-12-31T00:00:00",
    // St John's changed a minute after midnight then.
    "2008-11-01T12:00:00",
];

fn any_time() -> impl Strategy<Value = u32> {
    // Mostly at night, when clocks change, and to the quarter of an hour.
    prop_oneof![3 => (0..20_u32).prop_map(|n| n * 15), 1 => 0..1440_u32]
}

prop_compose! {
    fn any_window()(days in 0..4_usize, start in any_time(), length in 1..1440_u32) -> String {
        let end = (start + length) % 1440;
        let days = ["daily", "sat-mon", "sun", "mon,wed,fri"][days];
        let text = |minutes: u32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        format!("{days} {}-{}", text(start), text(end))
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Minute by minute through two days: the door changes when the change was foretold, and at no other time.
    #[test]
    fn the_next_change_is_when_the_door_changes(
        zone in proptest::sample::select(&ZONES[..]),
        day in proptest::sample::select(&DAYS[..]),
        windows in prop::collection::hash_set(any_window(), 1..4),
        on_holidays in proptest::sample::select(&["\"closed\"", "\"as-usual\"", "[\"01:30-02:30\"]"][..]),
    ) {
        let windows: Vec<&str> = windows.iter().map(String::as_str).collect();
        let policy = hours(zone, &windows, on_holidays);
        let holds = |unix_ms| policy.holds_open(Clock::Known { unix_ms }, "front");
        let start = unix_ms(day);
        let mut next = policy.next_change(start, "front");
        let mut before = holds(start);
        for minute in 1..=2 * 1440 {
            let now = start + minute * 60_000;
            let holds = holds(now);
            prop_assert_eq!(holds != before, next == Some(now), "{} {:?} minute {}", zone, windows, minute);
            if holds != before {
                next = policy.next_change(now, "front");
                prop_assert!(next.is_none_or(|next| next > now));
            }
            before = holds;
        }
    }
}
