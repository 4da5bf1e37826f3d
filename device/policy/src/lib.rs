//! Who may pass which door when: the policy, a TOML text that host and door read with the same code.
//!
//! Pure: the time is an argument, and nothing is opened but the system's time zones. What counts as it goes (visits of a
//! one-time visitor, who is inside, denials in a row) is the device's; here stands only what was written down. Read by the
//! device from a bundle's policy part, by the host before it packs one.
//!
//! ```toml
//! zone = "Europe/Berlin"        # every time below is what a clock on a wall there shows
//! without_clock = "deny"        # people with hours while the door does not know the time: "deny" or "allow"
//! unlisted = "always"           # people who are enrolled and not listed here: "always" or "never"
//!
//! [holidays]
//! dates = ["2026-12-25", "01-01"]             # once, or every year
//!
//! [schedules.office]
//! windows = ["mon-fri 07:30-19:00", "sat 22:00-02:00"]
//! on_holidays = "closed"                      # or "as-usual", or windows without days: ["10:00-14:00"]
//! pin = false                                 # whether a PIN is asked for beside the face
//!
//! [groups.staff]
//! schedules = ["office"]                      # any of them; none: at any time
//! doors = ["front", "lab"]                    # any of them; none: every door
//!
//! [people.ada]
//! groups = ["staff"]
//! schedules = []                              # beside the groups' rights: one of her own
//! doors = []
//! from = "2026-11-01"                         # a date, or "2026-11-01T08:00"
//! until = "2026-12-24"                        # a date: to its end
//! visits = 1                                  # how often in all
//! disabled = false                            # never passes
//! deny = false                                # never passes: enrolled so that this face is known and refused
//! admin = true                                # may vouch for newcomers at a door
//! pin = "$argon2id$..."                       # written by `facelatch policy pin ada`
//! duress_pin = "$argon2id$..."                # opens, and tells those who listen that she was made to
//! pin_needed = true                           # always, or never, whatever the schedule says
//!
//! [open]                                      # when a door is held unlocked
//! schedule = "office"
//! doors = ["front"]
//! after_first_entry = true                    # only once somebody was let in in that time
//!
//! [passback]
//! mode = "soft"                               # "off", "soft": told, "hard": refused
//! forget_after_minutes = 720
//! ```
//!
//! # Rights
//! A group is a right: at these doors, at these times. A person has the rights of all their groups, and one of their own if
//! they have `schedules` or `doors`, or no group at all. They pass if one of their rights says so. A right without doors
//! holds at every door, one without schedules at any time.
//!
//! # Time
//! A window is one stretch of time. It begins when the clock on the wall first shows its start or has jumped over it, and
//! ends when the clock first shows its end or has jumped over it; the end is no longer in it. So, where clocks change:
//!
//! * A window inside the hour that is skipped in spring is empty that day; one that begins in it begins with the jump.
//! * A window that ends in the hour that comes twice in autumn ends the first time, and does not begin again; one inside
//!   that hour holds the first time only; one that begins in it holds from the first time on.
//! * A window across midnight belongs to the day it starts on. On a holiday it is the holiday's rule for that day that
//!   counts, also for the hours after midnight; one from the day before runs on into the holiday.
//! * `from` and `until` with a time follow the same rule; `until` with a date alone holds to the end of that day.
//! * A yearly holiday on `02-29` is there in leap years only.
//!
//! A door that does not know the time is not held open, and lets nobody in who has hours, a `from` or an `until`, unless
//! `without_clock = "allow"`: then these are not asked.

#![forbid(unsafe_code)]

mod error;
mod nearest;
mod pin;
mod read;
mod schedule;
mod table;
mod time;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use facelatch_protocol::PersonId;
use jiff::Timestamp;

pub use self::{
    error::Error,
    pin::{BadPin, MAX_DIGITS, MIN_DIGITS, Pin, PinHash},
};
use self::{
    schedule::{Holidays, Schedule},
    time::Zone,
};

/// Longest policy, in bytes of text.
pub const MAX_BYTES: usize = 4 << 20;
/// Most people with rules.
pub const MAX_PEOPLE: usize = 10_000;
/// Most schedules.
pub const MAX_SCHEDULES: usize = 256;
/// Most groups.
pub const MAX_GROUPS: usize = 256;
/// Most entries of any list: windows of a schedule, doors of a group, groups of a person.
pub const MAX_LISTED: usize = 64;
/// Most holidays.
pub const MAX_HOLIDAYS: usize = 1_024;

/// A policy to begin with: everything is explained, nothing is restricted.
pub const TEMPLATE: &str = include_str!("template.toml");

/// What time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// This.
    Known {
        /// Milliseconds since 1970-01-01 UTC.
        unix_ms: u64,
    },
    /// Nobody knows: the door started without power and has not been told.
    Unknown,
}

impl Clock {
    /// `None` too if it is no year people plan for.
    fn instant(self) -> Option<Timestamp> {
        match self {
            Clock::Known { unix_ms } => time::instant(unix_ms),
            Clock::Unknown => None,
        }
    }
}

/// They may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Only with their PIN.
    pub pin_needed: bool,
    /// How often in all; `None`: as often as they like.
    pub visits: Option<u32>,
    /// What happens if they are inside already.
    pub passback: Passback,
}

/// Why somebody may not pass. The first that holds, in this order but for the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuse {
    /// Nobody may let this face in.
    DenyListed,
    /// They are disabled.
    Disabled,
    /// Not at this door.
    NotHere,
    /// Their time has not begun, or is over.
    NotValid,
    /// Not at this hour.
    NotNow,
    /// They have hours, and the door does not know the time. Stands where the answer would take the time.
    NoClock,
}

/// What is done about somebody who comes in twice without having left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Passback {
    /// Nothing.
    #[default]
    Off,
    /// They pass, and it is told.
    Soft,
    /// They do not pass.
    Hard,
}

/// The rules against passing a credential back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassbackRules {
    /// What is done.
    pub mode: Passback,
    /// Whoever came in longer ago than this counts as gone; at least a minute.
    pub forget_after: Duration,
}

/// What a typed PIN is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinAnswer {
    /// Theirs.
    Right,
    /// The one they type when made to.
    Duress,
    /// Neither.
    Wrong,
    /// They have none.
    NoneSet,
}

/// Who may pass when. See the crate's documentation for the text it is read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    zone: Zone,
    allows_without_clock: bool,
    lets_unlisted: bool,
    holidays: Holidays,
    schedules: Vec<Schedule>,
    rights: Vec<Right>,
    people: BTreeMap<PersonId, Person>,
    open: Option<Open>,
    passback: PassbackRules,
}

/// At these doors, at these times; an empty list is no restriction.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Right {
    doors: Vec<String>,
    /// Indices into [`Policy::schedules`].
    schedules: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
struct Person {
    /// Indices into [`Policy::rights`].
    rights: Vec<usize>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    visits: Option<u32>,
    disabled: bool,
    deny: bool,
    admin: bool,
    pin: Option<PinHash>,
    duress_pin: Option<PinHash>,
    pin_needed: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    schedule: usize,
    doors: Vec<String>,
    after_first_entry: bool,
}

fn at_door(doors: &[String], door: &str) -> bool {
    doors.is_empty() || doors.iter().any(|one| one == door)
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The first thing that is wrong, where it stands, and what would be right.
    pub fn parse(text: &str) -> Result<Policy, Error> {
        read::policy(text)
    }

    /// Whether somebody who was recognised may pass a door.
    ///
    /// # Errors
    /// Why not.
    pub fn may_pass(&self, person: &PersonId, at: Clock, door: &str) -> Result<Pass, Refuse> {
        let Some(rules) = self.people.get(person) else {
            return match self.lets_unlisted {
                true => Ok(Pass {
                    pin_needed: false,
                    visits: None,
                    passback: self.passback.mode,
                }),
                false => Err(Refuse::NotHere),
            };
        };
        if rules.deny {
            return Err(Refuse::DenyListed);
        }
        if rules.disabled {
            return Err(Refuse::Disabled);
        }
        let rights = rules.rights.iter().map(|&index| &self.rights[index]);
        let here: Vec<&Right> = rights.filter(|r| at_door(&r.doors, door)).collect();
        if here.is_empty() {
            return Err(Refuse::NotHere);
        }
        let by_schedule = match at.instant() {
            Some(at) => self.pin_at(rules, &here, at)?,
            None => self.pin_without_clock(rules, &here)?,
        };
        Ok(Pass {
            pin_needed: rules.pin_needed.unwrap_or(by_schedule),
            visits: rules.visits,
            passback: self.passback.mode,
        })
    }

    /// Whether every right that holds now asks for a PIN.
    fn pin_at(&self, rules: &Person, here: &[&Right], at: Timestamp) -> Result<bool, Refuse> {
        let is_early = rules.from.is_some_and(|from| at < from);
        let is_late = rules.until.is_some_and(|until| at >= until);
        if is_early || is_late {
            return Err(Refuse::NotValid);
        }
        if here.iter().any(|right| right.schedules.is_empty()) {
            return Ok(false);
        }
        let schedules = here.iter().flat_map(|right| &right.schedules);
        let covering = schedules
            .map(|&index| &self.schedules[index])
            .filter(|schedule| schedule.covers(at, &self.zone, &self.holidays))
            .map(|schedule| schedule.pin);
        covering.reduce(|a, b| a && b).ok_or(Refuse::NotNow)
    }

    /// Without the time, a PIN is asked for if any of their schedules does.
    fn pin_without_clock(&self, rules: &Person, here: &[&Right]) -> Result<bool, Refuse> {
        let has_hours = here.iter().all(|right| !right.schedules.is_empty());
        let takes_time = has_hours || rules.from.is_some() || rules.until.is_some();
        if takes_time && !self.allows_without_clock {
            return Err(Refuse::NoClock);
        }
        let mut schedules = here.iter().flat_map(|right| &right.schedules);
        Ok(has_hours && schedules.any(|&index| self.schedules[index].pin))
    }

    /// Whether somebody may vouch for newcomers, at doors and times at which they may pass themselves: see
    /// [`Policy::may_pass`]. Disabled and deny-listed people may not.
    #[must_use]
    pub fn is_admin(&self, person: &PersonId) -> bool {
        self.people.get(person).is_some_and(Person::is_admin)
    }

    /// Whether anybody may vouch for newcomers.
    #[must_use]
    pub fn has_admin(&self) -> bool {
        self.people.values().any(Person::is_admin)
    }

    /// Whether this face must never open a door.
    #[must_use]
    pub fn is_denied(&self, person: &PersonId) -> bool {
        self.people.get(person).is_some_and(|rules| rules.deny)
    }

    /// Looks at what somebody typed. Takes the time of two slow hashes, whether they have a duress code or not and
    /// whatever was typed; none if they have no PIN.
    #[must_use]
    pub fn check_pin(&self, person: &PersonId, digits: &str) -> PinAnswer {
        let Some(rules) = self.people.get(person) else {
            return PinAnswer::NoneSet;
        };
        let Some(pin) = &rules.pin else {
            return PinAnswer::NoneSet;
        };
        let is_right = pin.matches(digits);
        let duress = rules.duress_pin.as_ref();
        let is_duress = duress.unwrap_or(pin).matches(digits);
        match (is_right, is_duress && duress.is_some()) {
            (_, true) => PinAnswer::Duress,
            (true, false) => PinAnswer::Right,
            (false, false) => PinAnswer::Wrong,
        }
    }

    /// Whether the schedule holds a door unlocked now. Not without a clock. If [`Policy::opens_after_first_entry`], only
    /// once somebody was let in since this became true.
    #[must_use]
    pub fn holds_open(&self, at: Clock, door: &str) -> bool {
        match (self.open_schedule(door), at.instant()) {
            (Some(schedule), Some(at)) => schedule.covers(at, &self.zone, &self.holidays),
            (Some(_) | None, Some(_) | None) => false,
        }
    }

    /// Whether what [`Policy::holds_open`] says waits for the first person let in.
    #[must_use]
    pub fn opens_after_first_entry(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.after_first_entry)
    }

    /// When [`Policy::holds_open`] next says something else, milliseconds since 1970; `None` if not within 400 days.
    #[must_use]
    pub fn next_change(&self, at_unix_ms: u64, door: &str) -> Option<u64> {
        let at = time::instant(at_unix_ms)?;
        let schedule = self.open_schedule(door)?;
        let change = schedule.next_change(at, &self.zone, &self.holidays)?;
        u64::try_from(change.as_millisecond()).ok()
    }

    fn open_schedule(&self, door: &str) -> Option<&Schedule> {
        let open = self.open.as_ref()?;
        at_door(&open.doors, door).then(|| &self.schedules[open.schedule])
    }

    /// The rules against passing a credential back.
    #[must_use]
    pub fn passback(&self) -> PassbackRules {
        self.passback
    }

    /// How many people have rules.
    #[must_use]
    pub fn people_count(&self) -> usize {
        self.people.len()
    }

    /// Those who have rules, by id.
    pub fn people(&self) -> impl Iterator<Item = &PersonId> {
        self.people.keys()
    }

    /// The zone its times are in, by name.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.zone.name()
    }

    /// When the clock on the wall first shows a time such as `2026-12-24T17:00` or has jumped over it, milliseconds since
    /// 1970. `None` for anything else, also for a time with an offset.
    #[must_use]
    pub fn unix_ms_of(&self, text: &str) -> Option<u64> {
        let instant = self.zone.first(read::date_time(text)?)?;
        u64::try_from(instant.as_millisecond()).ok()
    }

    /// People who are asked for a PIN, at least by one of their schedules, and have none: they do not pass then.
    pub fn people_without_pin(&self) -> impl Iterator<Item = &PersonId> {
        let asked = |rules: &Person| {
            let rights = rules.rights.iter().map(|&index| &self.rights[index]);
            let mut schedules = rights.flat_map(|right| &right.schedules);
            rules
                .pin_needed
                .unwrap_or_else(|| schedules.any(|&index| self.schedules[index].pin))
        };
        let people = self.people.iter();
        people
            .filter(move |(_, rules)| rules.pin.is_none() && !rules.deny && asked(rules))
            .map(|(person, _)| person)
    }
}

impl Person {
    fn is_admin(&self) -> bool {
        self.admin && !self.disabled && !self.deny
    }
}
