//! From the text to a [`Policy`] that cannot be wrong: names are looked up, times understood, sizes bounded.

use std::{collections::BTreeMap, time::Duration};

use facelatch_protocol::{DisplayName, PersonId};
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
};
use toml::{Table, Value};

use crate::{
    Error, MAX_BYTES, MAX_GROUPS, MAX_HOLIDAYS, MAX_PEOPLE, MAX_SCHEDULES, Open, Passback,
    PassbackRules, Person, PinHash, Policy, Right,
    nearest::nearest,
    schedule::{Days, Holidays, OnHolidays, Schedule, Window},
    table::Section,
    time::Zone,
};

/// How long somebody counts as inside where the policy does not say: longer than a day's work.
const FORGET_AFTER_MINUTES: u32 = 720;
/// Most minutes of that: a week.
const FORGET_AFTER_MAX_MINUTES: u32 = 7 * 24 * 60;
/// Years that dates are taken from: what a clock without power shows comes before, what cannot be counted after.
const YEARS: std::ops::RangeInclusive<i16> = 2000..=8999;
/// Longest name of a schedule or a group, in bytes.
const MAX_NAME: usize = 48;

const TOP: &[&str] = &[
    "zone",
    "without_clock",
    "unlisted",
    "holidays",
    "schedules",
    "groups",
    "people",
    "open",
    "passback",
];
const SCHEDULE: &[&str] = &["windows", "on_holidays", "pin"];
const GROUP: &[&str] = &["schedules", "doors"];
const PERSON: &[&str] = &[
    "groups",
    "schedules",
    "doors",
    "from",
    "until",
    "visits",
    "disabled",
    "deny",
    "admin",
    "pin",
    "duress_pin",
    "pin_needed",
];
/// What means nothing for somebody who never passes.
const NOT_WITH_DENY: &[&str] = &["admin", "pin", "duress_pin", "pin_needed", "visits"];

pub(crate) fn policy(text: &str) -> Result<Policy, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::TooLong { bytes: text.len() });
    }
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| Error::Syntax(error.to_string().trim_end().to_owned()))?;
    let top = Section::new(String::new(), &table, TOP)?;
    let zone = zone(&top)?;
    let holidays = match top.section("holidays", &["dates"])? {
        Some(section) => holidays(&section)?,
        None => Holidays::default(),
    };
    let schedules = top.named("schedules", SCHEDULE, MAX_SCHEDULES)?;
    let names = Names::new(&top, "schedules", "schedule", &schedules)?;
    let groups = top.named("groups", GROUP, MAX_GROUPS)?;
    let group_names = Names::new(&top, "groups", "group", &groups)?;
    let mut rights = vec![];
    for (_, group) in &groups {
        rights.push(right(group, &names)?);
    }
    let mut people = BTreeMap::new();
    for (id, section) in top.named("people", PERSON, MAX_PEOPLE)? {
        let id = PersonId::parse(id)
            .map_err(|why| Error::value(&top.path("people"), format!("{id:?} {why}")))?;
        let mut own = group_names.listed(&section, "groups")?;
        if own.is_empty() || section.has("schedules") || section.has("doors") {
            own.push(rights.len());
            rights.push(right(&section, &names)?);
        }
        people.insert(id, person(&section, own, &zone)?);
    }
    Ok(Policy {
        allows_without_clock: top
            .word("without_clock", &[("deny", false), ("allow", true)])?
            .unwrap_or(false),
        lets_unlisted: top
            .word("unlisted", &[("always", true), ("never", false)])?
            .unwrap_or(true),
        open: open(&top, &names)?,
        passback: passback(&top)?,
        schedules: schedules
            .iter()
            .map(|(_, section)| schedule(section))
            .collect::<Result<_, _>>()?,
        zone,
        holidays,
        rights,
        people,
    })
}

fn zone(top: &Section<'_>) -> Result<Zone, Error> {
    match top.text("zone")? {
        Some(name) => Zone::named(name).ok_or_else(|| {
            let why = format!("{name:?} is no time zone: write one such as \"Europe/Berlin\"");
            Error::value("zone", why)
        }),
        // What was meant by the times of somebody who did not say where they are cannot be known.
        None if top.has("schedules") || top.has("people") => Err(Error::value(
            "zone",
            "is missing: write the door's time zone, such as \"Europe/Berlin\"",
        )),
        None => Ok(Zone::utc()),
    }
}

fn holidays(section: &Section<'_>) -> Result<Holidays, Error> {
    let place = section.path("dates");
    let mut holidays = Holidays::default();
    for text in section.list_of("dates", MAX_HOLIDAYS, date_text)? {
        if let Some(date) = date(&text) {
            holidays.once.insert(date);
            continue;
        }
        // Of a leap year, so that 02-29 is one.
        let yearly = (text.len() == 5).then(|| date(&format!("2000-{text}")));
        let yearly = yearly.flatten().ok_or_else(|| {
            let why =
                format!("{text:?} is no date: write \"2026-12-25\", or \"12-25\" for each year");
            Error::value(&place, why)
        })?;
        holidays.yearly.insert((yearly.month(), yearly.day()));
    }
    Ok(holidays)
}

fn schedule(section: &Section<'_>) -> Result<Schedule, Error> {
    let place = section.path("windows");
    let windows = section.list("windows")?;
    if windows.is_empty() {
        return Err(Error::value(
            &place,
            "is missing: write [\"mon-fri 07:30-19:00\"]",
        ));
    }
    let windows = windows
        .into_iter()
        .map(Window::with_days)
        .collect::<Result<Vec<(Days, Window)>, String>>()
        .map_err(|why| Error::value(&place, why))?;
    Ok(Schedule {
        windows,
        on_holidays: on_holidays(section)?,
        pin: section.flag("pin")?.unwrap_or(false),
    })
}

fn on_holidays(section: &Section<'_>) -> Result<OnHolidays, Error> {
    let place = section.path("on_holidays");
    match section.value("on_holidays") {
        None => Ok(OnHolidays::Instead(vec![])),
        Some(Value::Array(_)) => {
            let windows = section.list("on_holidays")?.into_iter().map(Window::parse);
            let windows = windows.collect::<Result<_, _>>();
            windows
                .map(OnHolidays::Instead)
                .map_err(|why| Error::value(&place, why))
        }
        Some(_) => {
            let words = [("closed", false), ("as-usual", true)];
            Ok(match section.word("on_holidays", &words)? {
                Some(true) => OnHolidays::AsUsual,
                Some(false) | None => OnHolidays::Instead(vec![]),
            })
        }
    }
}

fn right(section: &Section<'_>, schedules: &Names<'_>) -> Result<Right, Error> {
    Ok(Right {
        doors: doors(section)?,
        schedules: schedules.listed(section, "schedules")?,
    })
}

fn doors(section: &Section<'_>) -> Result<Vec<String>, Error> {
    let doors = section.list("doors")?.into_iter();
    let checked = doors.map(|door| match DisplayName::parse(door) {
        Ok(_) => Ok(door.to_owned()),
        Err(why) => Err(Error::value(
            &section.path("doors"),
            format!("{door:?} {why}"),
        )),
    });
    checked.collect()
}

fn person(section: &Section<'_>, rights: Vec<usize>, zone: &Zone) -> Result<Person, Error> {
    let deny = section.flag("deny")?.unwrap_or(false);
    if deny && let Some(key) = NOT_WITH_DENY.iter().find(|key| section.has(key)) {
        let why = "means nothing beside deny = true: leave one of them out";
        return Err(Error::value(&section.path(key), why));
    }
    let from = validity(section, "from", zone, |_, first| first)?;
    let until = validity(section, "until", zone, |next, _| next)?;
    if let (Some(from), Some(until)) = (from, until)
        && until <= from
    {
        let why = "is over before `from` has begun: give a later one";
        return Err(Error::value(&section.path("until"), why));
    }
    let pin = hash(section, "pin")?;
    let duress_pin = hash(section, "duress_pin")?;
    if pin.is_none() && duress_pin.is_some() {
        let why = "stands there without a `pin`: set that first";
        return Err(Error::value(&section.path("duress_pin"), why));
    }
    Ok(Person {
        rights,
        from,
        until,
        visits: section.number("visits", 1..=1_000_000)?,
        disabled: section.flag("disabled")?.unwrap_or(false),
        deny,
        admin: section.flag("admin")?.unwrap_or(false),
        pin,
        duress_pin,
        pin_needed: section.flag("pin_needed")?,
    })
}

fn hash(section: &Section<'_>, key: &str) -> Result<Option<PinHash>, Error> {
    let Some(text) = section.text(key)? else {
        return Ok(None);
    };
    // The text is not repeated: it may be a PIN that somebody wrote there in clear.
    let why = "is no hash of a PIN: set it with `facelatch policy pin`";
    let hash = PinHash::parse(text).ok_or_else(|| Error::value(&section.path(key), why))?;
    Ok(Some(hash))
}

/// One end of the time somebody's rules hold: a date and time, or a date, of which `whole` takes the beginning of the
/// next day or its own.
fn validity(
    section: &Section<'_>,
    key: &str,
    zone: &Zone,
    whole: impl Fn(DateTime, DateTime) -> DateTime,
) -> Result<Option<Timestamp>, Error> {
    let Some(value) = section.value(key) else {
        return Ok(None);
    };
    let text = date_text(value);
    let time = text.as_deref().and_then(|text| {
        if let Some(day) = date(text) {
            let start = day.at(0, 0, 0, 0);
            return Some(whole(day.tomorrow().ok()?.at(0, 0, 0, 0), start));
        }
        date_time(text)
    });
    let instant = time.and_then(|time| zone.first(time));
    let wrong = || {
        let why = format!(
            "{} is no time: write \"2026-12-24\" or \"2026-12-24T17:00\", in the zone above",
            text.as_deref().unwrap_or("this")
        );
        Error::value(&section.path(key), why)
    };
    instant.map(Some).ok_or_else(wrong)
}

/// A date or time, in quotes or not.
fn date_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Datetime(time) => Some(time.to_string()),
        Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Array(_)
        | Value::Table(_) => None,
    }
}

/// Reads `2026-12-24`.
fn date(text: &str) -> Option<Date> {
    let is_plain = text.len() == 10 && is_digits_and(text, "-");
    let date: Date = text.parse().ok().filter(|_| is_plain)?;
    YEARS.contains(&date.year()).then_some(date)
}

/// Reads `2026-12-24T17:00`, with seconds or without. An offset or zone is refused: there is one zone.
pub(crate) fn date_time(text: &str) -> Option<DateTime> {
    let is_plain = matches!(text.len(), 16 | 19) && is_digits_and(text, "-:T ");
    let time: DateTime = text.parse().ok().filter(|_| is_plain)?;
    YEARS.contains(&time.year()).then_some(time)
}

fn is_digits_and(text: &str, others: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_digit() || others.contains(c))
}

fn open(top: &Section<'_>, schedules: &Names<'_>) -> Result<Option<Open>, Error> {
    let Some(section) = top.section("open", &["schedule", "doors", "after_first_entry"])? else {
        return Ok(None);
    };
    let place = section.path("schedule");
    let schedule = section
        .text("schedule")?
        .ok_or_else(|| Error::value(&place, "is missing: name a schedule"))?;
    Ok(Some(Open {
        schedule: schedules.index(&place, schedule)?,
        doors: doors(&section)?,
        after_first_entry: section.flag("after_first_entry")?.unwrap_or(false),
    }))
}

fn passback(top: &Section<'_>) -> Result<PassbackRules, Error> {
    let section = top.section("passback", &["mode", "forget_after_minutes"])?;
    let (mode, minutes) = match &section {
        Some(section) => {
            let words = [
                ("off", Passback::Off),
                ("soft", Passback::Soft),
                ("hard", Passback::Hard),
            ];
            let minutes = 1..=FORGET_AFTER_MAX_MINUTES;
            (
                section.word("mode", &words)?,
                section.number("forget_after_minutes", minutes)?,
            )
        }
        None => (None, None),
    };
    let minutes = minutes.unwrap_or(FORGET_AFTER_MINUTES);
    Ok(PassbackRules {
        mode: mode.unwrap_or_default(),
        forget_after: Duration::from_secs(u64::from(minutes) * 60),
    })
}

/// The names of schedules, or of groups, in the order they are kept in.
struct Names<'a> {
    what: &'static str,
    names: BTreeMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    fn new(
        top: &Section<'_>,
        key: &str,
        what: &'static str,
        sections: &[(&'a str, Section<'a>)],
    ) -> Result<Names<'a>, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_name =
            |name: &str| (1..=MAX_NAME).contains(&name.len()) && name.chars().all(allowed);
        let names: BTreeMap<_, _> = sections.iter().map(|(name, _)| *name).zip(0..).collect();
        match names.keys().find(|name| !is_name(name)) {
            Some(name) => {
                let why = format!("{name:?} is no name: 1 to {MAX_NAME} of A-Z a-z 0-9 . _ -");
                Err(Error::value(&top.path(key), why))
            }
            None => Ok(Names { what, names }),
        }
    }

    /// The indices of those a section lists.
    fn listed(&self, section: &Section<'_>, key: &str) -> Result<Vec<usize>, Error> {
        let names = section.list(key)?;
        let place = section.path(key);
        names.iter().map(|name| self.index(&place, name)).collect()
    }

    fn index(&self, place: &str, name: &str) -> Result<usize, Error> {
        let index = self.names.get(name).copied();
        index.ok_or_else(|| Error::Dangling {
            place: place.to_owned(),
            what: self.what,
            name: name.to_owned(),
            nearest: nearest(name, self.names.keys().copied()),
        })
    }
}
