//! Questions about people; times and what changes of clocks make of them are in `tests/calendar.rs`.

use super::*;

#[test]
fn the_template_is_a_policy_that_restricts_nobody() {
    let policy = Policy::parse(TEMPLATE).unwrap();
    let ada = PersonId::parse("ada").unwrap();
    let pass = policy.may_pass(&ada, Clock::Unknown, "front").unwrap();
    assert!(!pass.pin_needed && pass.visits.is_none());
    assert_eq!(policy.passback().mode, Passback::Off);
}

fn person(id: &str) -> PersonId {
    PersonId::parse(id).unwrap()
}

/// A Friday, 10:00 in UTC.
const FRIDAY: Clock = Clock::Known {
    unix_ms: 1_795_773_600_000,
};
/// The day after, at the same time.
const SATURDAY: Clock = Clock::Known {
    unix_ms: 1_795_860_000_000,
};

const HOUSE: &str = r#"
zone = "UTC"
[schedules.office]
windows = ["mon-fri 08:00-18:00"]
[schedules.guard]
windows = ["daily 00:00-24:00"]
on_holidays = "as-usual"
pin = true
[groups.staff]
schedules = ["office"]
doors = ["front", "lab"]
[groups.guards]
schedules = ["guard"]
[people.ada]
groups = ["staff"]
admin = true
[people.grace]
groups = ["staff"]
doors = ["roof"]
[people.alan]
groups = ["staff", "guards"]
[people.kim]
groups = ["guards"]
pin_needed = false
[people.free]
[people.guest]
from = "2026-11-27"
until = "2026-11-27"
visits = 1
[people.gone]
disabled = true
admin = true
[people.twin]
deny = true
[passback]
mode = "hard"
forget_after_minutes = 30
"#;

#[test]
fn rights_add_up_and_every_refusal_has_its_reason() {
    use Refuse::*;
    let policy = Policy::parse(HOUSE).unwrap();
    // Whether they are asked for a PIN, or why they do not pass.
    let cases = [
        ("ada", FRIDAY, "front", Ok(false)),
        ("ada", SATURDAY, "front", Err(NotNow)),
        ("ada", FRIDAY, "roof", Err(NotHere)),
        ("ada", SATURDAY, "roof", Err(NotHere)),
        ("ada", Clock::Unknown, "front", Err(NoClock)),
        ("ada", Clock::Unknown, "roof", Err(NotHere)),
        // A right of her own beside the group's, at any time.
        ("grace", SATURDAY, "roof", Ok(false)),
        ("grace", Clock::Unknown, "roof", Ok(false)),
        ("grace", SATURDAY, "front", Err(NotNow)),
        // The right without a PIN goes first while it holds.
        ("alan", FRIDAY, "front", Ok(false)),
        ("alan", SATURDAY, "front", Ok(true)),
        ("alan", FRIDAY, "roof", Ok(true)),
        ("kim", SATURDAY, "front", Ok(false)),
        ("kim", Clock::Unknown, "front", Err(NoClock)),
        ("free", Clock::Unknown, "anywhere", Ok(false)),
        ("guest", FRIDAY, "front", Ok(false)),
        ("guest", SATURDAY, "front", Err(NotValid)),
        ("guest", Clock::Unknown, "front", Err(NoClock)),
        ("gone", FRIDAY, "front", Err(Disabled)),
        ("twin", FRIDAY, "front", Err(DenyListed)),
        ("unlisted", Clock::Unknown, "front", Ok(false)),
    ];
    for (id, at, door, expected) in cases {
        let found = policy.may_pass(&person(id), at, door);
        assert_eq!(
            found.map(|pass| pass.pin_needed),
            expected,
            "{id} at {door}, {at:?}"
        );
    }
    let guest = policy.may_pass(&person("guest"), FRIDAY, "front").unwrap();
    assert_eq!((guest.visits, guest.passback), (Some(1), Passback::Hard));
    assert_eq!(policy.passback().forget_after, Duration::from_secs(1_800));
}

#[test]
fn without_a_clock_hours_are_not_asked_if_the_policy_says_so_but_pins_are() {
    let text = format!("without_clock = \"allow\"\nunlisted = \"never\"{HOUSE}");
    let policy = Policy::parse(&text).unwrap();
    let cases = [
        ("ada", "front", Ok(false)),
        ("ada", "roof", Err(Refuse::NotHere)),
        ("alan", "front", Ok(true)),
        ("kim", "front", Ok(false)),
        ("guest", "front", Ok(false)),
        ("gone", "front", Err(Refuse::Disabled)),
        ("twin", "front", Err(Refuse::DenyListed)),
        ("unlisted", "front", Err(Refuse::NotHere)),
    ];
    for (id, door, expected) in cases {
        let found = policy.may_pass(&person(id), Clock::Unknown, door);
        assert_eq!(
            found.map(|pass| pass.pin_needed),
            expected,
            "{id} at {door}"
        );
    }
    // A time nobody plans for is none.
    let never = Clock::Known { unix_ms: u64::MAX };
    let strict = Policy::parse(HOUSE).unwrap();
    assert_eq!(
        strict.may_pass(&person("ada"), never, "front"),
        Err(Refuse::NoClock)
    );
}

#[test]
fn admins_and_the_denied_are_known_without_a_clock() {
    let policy = Policy::parse(HOUSE).unwrap();
    let admins =
        ["ada", "grace", "gone", "twin", "unlisted"].map(|id| policy.is_admin(&person(id)));
    assert_eq!(admins, [true, false, false, false, false]);
    assert!(policy.has_admin());
    let denied = ["ada", "twin", "unlisted"].map(|id| policy.is_denied(&person(id)));
    assert_eq!(denied, [false, true, false]);
    let disabled = HOUSE.replacen("admin = true", "admin = true\ndisabled = true", 1);
    assert!(!Policy::parse(&disabled).unwrap().has_admin());
    let pinless: Vec<_> = policy
        .people_without_pin()
        .map(|id| id.to_string())
        .collect();
    assert_eq!(pinless, ["alan"]);
    assert_eq!(policy.people_count(), 8);
}

#[test]
fn a_pin_is_right_wrong_or_typed_under_duress() {
    let hash = |digits| PinHash::new(&Pin::parse(digits).unwrap(), [3; 16]);
    let (pin, duress) = (hash("4711"), hash("4712"));
    let text = format!(
        "zone = \"UTC\"\n[people.ada]\npin = \"{pin}\"\nduress_pin = \"{duress}\"\n\
         [people.alan]\npin = \"{pin}\"\npin_needed = true\n[people.kim]\n"
    );
    let policy = Policy::parse(&text).unwrap();
    let cases = [
        ("ada", "4711", PinAnswer::Right),
        ("ada", "4712", PinAnswer::Duress),
        ("ada", "4713", PinAnswer::Wrong),
        ("alan", "4711", PinAnswer::Right),
        ("alan", "4712", PinAnswer::Wrong),
        ("alan", "", PinAnswer::Wrong),
        ("kim", "4711", PinAnswer::NoneSet),
        ("unlisted", "4711", PinAnswer::NoneSet),
    ];
    for (id, digits, expected) in cases {
        assert_eq!(
            policy.check_pin(&person(id), digits),
            expected,
            "{id} {digits}"
        );
    }
    assert!(
        policy
            .may_pass(&person("alan"), FRIDAY, "")
            .unwrap()
            .pin_needed
    );
    assert!(!format!("{policy:?}").contains("argon2id"));
}

#[test]
fn a_door_is_held_open_by_its_schedule_and_the_clock_alone() {
    let text = format!(
        "{HOUSE}[open]\nschedule = \"office\"\ndoors = [\"front\"]\nafter_first_entry = true\n"
    );
    let policy = Policy::parse(&text).unwrap();
    assert!(policy.opens_after_first_entry());
    let cases = [
        (FRIDAY, "front", true),
        (SATURDAY, "front", false),
        (FRIDAY, "lab", false),
        (Clock::Unknown, "front", false),
    ];
    for (at, door, expected) in cases {
        assert_eq!(policy.holds_open(at, door), expected, "{door}, {at:?}");
    }
    let Clock::Known { unix_ms } = FRIDAY else {
        unreachable!("it is known");
    };
    let evening = unix_ms + 8 * 3_600_000;
    assert_eq!(policy.next_change(unix_ms, "front"), Some(evening));
    assert_eq!(policy.next_change(unix_ms, "lab"), None);
    let none = Policy::parse(HOUSE).unwrap();
    assert!(!none.holds_open(FRIDAY, "front") && !none.opens_after_first_entry());
}

#[test]
fn a_mistake_is_told_with_its_place_and_what_would_be_right() {
    let schedule = "zone = \"UTC\"\n[schedules.s]\n";
    let ada = "zone = \"UTC\"\n[people.ada]\n";
    let cases = [
        (
            "",
            "zon = \"UTC\"",
            "zon: unknown key; did you mean \"zone\"?",
        ),
        ("", "colour = 1", "colour: unknown key"),
        ("", "zone = 1", "zone: write a text in quotes"),
        (
            "",
            "zone = \"Europe/Berln\"",
            "zone: \"Europe/Berln\" is no time zone: write one such as \"Europe/Berlin\"",
        ),
        (
            "",
            "[people.ada]",
            "zone: is missing: write the door's time zone, such as \"Europe/Berlin\"",
        ),
        (
            "",
            "without_clock = \"maybe\"",
            "without_clock: \"maybe\": write \"deny\" or \"allow\"",
        ),
        ("", "unlisted = true", "unlisted: write a text in quotes"),
        ("", "people = 1\nzone = \"UTC\"", "people: write a table"),
        (
            "",
            "people.ada = 1\nzone = \"UTC\"",
            "people.ada: write a table",
        ),
        (
            "",
            "holidays.dates = [\"2026-02-29\"]",
            "holidays.dates: \"2026-02-29\" is no date: write \"2026-12-25\", or \"12-25\" for each year",
        ),
        (
            "",
            "holidays.dates = [\"13-01\"]",
            "holidays.dates: \"13-01\" is no date: write \"2026-12-25\", or \"12-25\" for each year",
        ),
        (
            "",
            "holidays.dates = [\"01-01\", \"01-01\"]",
            "holidays.dates: \"01-01\" stands there twice",
        ),
        (
            "",
            "holidays.dates = [1]",
            "holidays.dates: write a list of texts in quotes",
        ),
        (
            "",
            "[open]\nschedule = \"office\"",
            "open.schedule: there is no schedule \"office\"",
        ),
        ("", "[open]", "open.schedule: is missing: name a schedule"),
        (
            "",
            "passback.mode = \"sfot\"",
            "passback.mode: \"sfot\": write \"off\" or \"soft\" or \"hard\"",
        ),
        (
            "",
            "passback.forget_after_minutes = 0",
            "passback.forget_after_minutes: 0: give 1 to 10080",
        ),
        (
            schedule,
            "",
            "schedules.s.windows: is missing: write [\"mon-fri 07:30-19:00\"]",
        ),
        (
            schedule,
            "windows = [\"07:30-19:00\"]",
            "schedules.s.windows: \"07:30-19:00\" is no window: write days and times, \"mon-fri 07:30-19:00\"",
        ),
        (
            schedule,
            "windows = [\"mo 07:30-19:00\"]",
            "schedules.s.windows: \"mo\" are no days: write mon to sun, \"mon-fri\", \"sat,sun\" or \"daily\"",
        ),
        (
            schedule,
            "windows = [\"mon 7:30-19:00\"]",
            "schedules.s.windows: \"7:30-19:00\" are no times: write \"07:30-19:00\"",
        ),
        (
            schedule,
            "windows = [\"mon 07:60-19:00\"]",
            "schedules.s.windows: \"07:60-19:00\" are no times: write \"07:30-19:00\"",
        ),
        (
            schedule,
            "windows = [\"mon 07:00-24:01\"]",
            "schedules.s.windows: \"07:00-24:01\" are no times: write \"07:30-19:00\"",
        ),
        (
            schedule,
            "windows = [\"mon 07:00-07:00\"]",
            "schedules.s.windows: \"07:00-07:00\" ends where it starts: for the whole day write 00:00-24:00",
        ),
        (
            schedule,
            "windows = [\"mon 24:00-07:00\"]",
            "schedules.s.windows: \"24:00-07:00\" starts when the day is over: a start is 00:00 to 23:59",
        ),
        (
            schedule,
            "windows = [\"mon 07:00-08:00\", \"mon 07:00-08:00\"]",
            "schedules.s.windows: \"mon 07:00-08:00\" stands there twice",
        ),
        (
            schedule,
            "windows = [\"mon 07:00-08:00\"]\non_holidays = \"open\"",
            "schedules.s.on_holidays: \"open\": write \"closed\" or \"as-usual\"",
        ),
        (
            schedule,
            "windows = [\"mon 07:00-08:00\"]\non_holidays = [\"mon 07:00-08:00\"]",
            "schedules.s.on_holidays: \"mon 07:00-08:00\" are no times: write \"07:30-19:00\"",
        ),
        (
            schedule,
            "windows = [\"mon 07:00-08:00\"]\nholidays = 1",
            "schedules.s.holidays: unknown key; did you mean \"on_holidays\"?",
        ),
        (
            ada,
            "schedules = [\"office\"]",
            "people.ada.schedules: there is no schedule \"office\"",
        ),
        (
            ada,
            "groups = [\"staf\"]\n[groups.staff]",
            "people.ada.groups: there is no group \"staf\"; did you mean \"staff\"?",
        ),
        (ada, "doors = [\"\"]", "people.ada.doors: \"\" is empty"),
        (
            ada,
            "untill = \"2026-01-01\"",
            "people.ada.untill: unknown key; did you mean \"until\"?",
        ),
        (
            ada,
            "until = \"2026-13-01\"",
            "people.ada.until: 2026-13-01 is no time: write \"2026-12-24\" or \"2026-12-24T17:00\", in the zone above",
        ),
        (
            ada,
            "until = 2026-12-24T17:00:00Z",
            "people.ada.until: 2026-12-24T17:00:00Z is no time: write \"2026-12-24\" or \"2026-12-24T17:00\", in the zone above",
        ),
        (
            ada,
            "until = \"1999-12-24\"",
            "people.ada.until: 1999-12-24 is no time: write \"2026-12-24\" or \"2026-12-24T17:00\", in the zone above",
        ),
        (
            ada,
            "until = true",
            "people.ada.until: this is no time: write \"2026-12-24\" or \"2026-12-24T17:00\", in the zone above",
        ),
        (
            ada,
            "from = \"2026-12-24\"\nuntil = \"2026-12-23\"",
            "people.ada.until: is over before `from` has begun: give a later one",
        ),
        (ada, "visits = 0", "people.ada.visits: 0: give 1 to 1000000"),
        (
            ada,
            "visits = -1",
            "people.ada.visits: -1: give 1 to 1000000",
        ),
        (
            ada,
            "admin = \"yes\"",
            "people.ada.admin: write true or false",
        ),
        (
            ada,
            "admin = true\ndeny = true",
            "people.ada.admin: means nothing beside deny = true: leave one of them out",
        ),
        (
            ada,
            "pin = \"4711\"",
            "people.ada.pin: is no hash of a PIN: set it with `facelatch policy pin`",
        ),
        (
            "zone = \"UTC\"\n",
            "[people.none]",
            "people: \"none\" is reserved (`none` is, and so is everything that starts with a dot or a dash)",
        ),
        (
            "zone = \"UTC\"\n",
            "[groups.\"a b\"]",
            "groups: \"a b\" is no name: 1 to 48 of A-Z a-z 0-9 . _ -",
        ),
    ];
    let mut wrong = vec![];
    for (head, rest, expected) in cases {
        let found = Policy::parse(&format!("{head}{rest}\n")).map_err(|e| e.to_string());
        if found.as_ref().err().map(String::as_str) != Some(expected) {
            wrong.push(format!("{rest}\n  found {found:?}\n  should be {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let syntax = Policy::parse("zone = \n").unwrap_err();
    assert!(
        matches!(&syntax, Error::Syntax(why) if why.contains("line 1")),
        "{syntax}"
    );
    let hash = PinHash::new(&Pin::parse("4711").unwrap(), [3; 16]);
    let duress = Policy::parse(&format!("{ada}duress_pin = \"{hash}\"")).unwrap_err();
    assert!(duress.to_string().contains("without a `pin`"), "{duress}");
}

#[test]
fn sizes_are_bounded() {
    let people = |count: usize| {
        let people = (0..count).map(|n| format!("[people.p{n}]\n"));
        Policy::parse(&format!("zone = \"UTC\"\n{}", people.collect::<String>()))
    };
    assert_eq!(people(MAX_PEOPLE).unwrap().people_count(), MAX_PEOPLE);
    let too_many = Error::TooMany {
        place: "people".to_owned(),
        found: MAX_PEOPLE + 1,
        limit: MAX_PEOPLE,
    };
    assert_eq!(people(MAX_PEOPLE + 1), Err(too_many));
    let too_long = "#".repeat(MAX_BYTES + 1);
    assert_eq!(
        Policy::parse(&too_long),
        Err(Error::TooLong {
            bytes: MAX_BYTES + 1
        })
    );
    let doors: Vec<String> = (0..=MAX_LISTED).map(|n| format!("d{n}")).collect();
    let text = format!("zone = \"UTC\"\n[groups.g]\ndoors = {doors:?}\n");
    let error = Policy::parse(&text).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooMany {
                limit: MAX_LISTED,
                ..
            }
        ),
        "{error}"
    );
}
