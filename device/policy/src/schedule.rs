//! Schedules: windows of a week, and what holidays make of them.

use std::collections::BTreeSet;

use jiff::{
    Timestamp,
    civil::{Date, Time},
};

use crate::time::Zone;

/// How far ahead a change is looked for, in days: a year and what a leap day moves.
const HORIZON_DAYS: usize = 400;
const DAY_MINUTES: u16 = 24 * 60;
/// The days of a week, as they are written.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// When something holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) windows: Vec<(Days, Window)>,
    pub(crate) on_holidays: OnHolidays,
    /// Whether a PIN is needed beside the face.
    pub(crate) pin: bool,
}

/// What a holiday makes of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OnHolidays {
    AsUsual,
    /// These instead; none: closed.
    Instead(Vec<Window>),
}

/// Days of the week, Monday first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Days([bool; 7]);

/// From one time of a day to another, of the next day if that is not later. Minutes since midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    start: u16,
    end: u16,
}

/// Days on which schedules are other ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holidays {
    pub(crate) once: BTreeSet<Date>,
    /// Month and day.
    pub(crate) yearly: BTreeSet<(i8, i8)>,
}

impl Holidays {
    fn contain(&self, day: Date) -> bool {
        self.once.contains(&day) || self.yearly.contains(&(day.month(), day.day()))
    }
}

impl Schedule {
    /// Whether it holds at an instant.
    pub(crate) fn covers(&self, at: Timestamp, zone: &Zone, holidays: &Holidays) -> bool {
        // A window of yesterday may last; and where the clock goes back across midnight, one of tomorrow has begun.
        let today = zone.date(at);
        let days = [today.yesterday().ok(), Some(today), today.tomorrow().ok()];
        days.into_iter().flatten().any(|day| {
            let mut stretches = self.stretches(day, zone, holidays);
            stretches.any(|(start, end)| start <= at && at < end)
        })
    }

    /// The first instant after this one at which it begins to hold or ends.
    pub(crate) fn next_change(
        &self,
        at: Timestamp,
        zone: &Zone,
        holidays: &Holidays,
    ) -> Option<Timestamp> {
        let covers = self.covers(at, zone, holidays);
        let mut ends = BTreeSet::new();
        let mut day = zone.date(at).yesterday().ok()?;
        for _ in 0..HORIZON_DAYS {
            let stretches = self.stretches(day, zone, holidays);
            ends.extend(stretches.flat_map(|(start, end)| [start, end]));
            day = day.tomorrow().ok()?;
            // Windows of later days begin here at the earliest: all ends before are known.
            let known = zone.first(day.at(0, 0, 0, 0))?;
            while let Some(end) = ends.pop_first() {
                if end >= known {
                    ends.insert(end);
                    break;
                }
                if end > at && self.covers(end, zone, holidays) != covers {
                    return Some(end);
                }
            }
        }
        None
    }

    /// The stretches of time of the windows that start on a day.
    fn stretches(
        &self,
        day: Date,
        zone: &Zone,
        holidays: &Holidays,
    ) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let instead = match &self.on_holidays {
            OnHolidays::Instead(windows) if holidays.contain(day) => Some(windows),
            OnHolidays::Instead(_) | OnHolidays::AsUsual => None,
        };
        let usual = self
            .windows
            .iter()
            .filter(move |(days, _)| days.contain(day));
        let usual = usual.map(|(_, window)| window);
        let usual = usual.filter(move |_| instead.is_none());
        let windows = usual.chain(instead.into_iter().flatten());
        windows.filter_map(move |window| window.on(day, zone))
    }
}

impl Days {
    fn contain(self, day: Date) -> bool {
        // Monday is 0.
        self.0[day.weekday().to_monday_zero_offset() as usize]
    }

    /// Reads `mon`, `mon-fri`, `sat,sun`, `fri-mon`, `daily`.
    fn parse(text: &str) -> Option<Days> {
        if text == "daily" {
            return Some(Days([true; 7]));
        }
        let position = |name: &str| DAYS.iter().position(|day| *day == name);
        let mut days = [false; 7];
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (mut day, last) = (position(first)?, position(last)?);
            loop {
                days[day] = true;
                if day == last {
                    break;
                }
                day = (day + 1) % 7;
            }
        }
        Some(Days(days))
    }
}

impl Window {
    /// Reads days and times, `mon-fri 07:30-19:00`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn with_days(text: &str) -> Result<(Days, Window), String> {
        let (days, times) = text.split_once(' ').ok_or_else(|| {
            format!("{text:?} is no window: write days and times, \"mon-fri 07:30-19:00\"")
        })?;
        let days = Days::parse(days).ok_or_else(|| {
            format!("{days:?} are no days: write mon to sun, \"mon-fri\", \"sat,sun\" or \"daily\"")
        })?;
        Ok((days, Window::parse(times.trim_start())?))
    }

    /// Reads times, `07:30-19:00`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn parse(text: &str) -> Result<Window, String> {
        let parsed = text
            .split_once('-')
            .and_then(|(start, end)| Some((minutes(start)?, minutes(end)?)))
            .ok_or_else(|| format!("{text:?} are no times: write \"07:30-19:00\""))?;
        match parsed {
            (DAY_MINUTES, _) => Err(format!(
                "{text:?} starts when the day is over: a start is 00:00 to 23:59"
            )),
            (start, end) if start == end => Err(format!(
                "{text:?} ends where it starts: for the whole day write 00:00-24:00"
            )),
            (start, end) => Ok(Window { start, end }),
        }
    }

    /// From when to when it lasts if it starts on a day.
    fn on(self, day: Date, zone: &Zone) -> Option<(Timestamp, Timestamp)> {
        let ends_on = match self.end > self.start && self.end < DAY_MINUTES {
            true => day,
            false => day.tomorrow().ok()?,
        };
        let start = zone.first(day.to_datetime(time(self.start)))?;
        let end = zone.first(ends_on.to_datetime(time(self.end % DAY_MINUTES)))?;
        Some((start, end))
    }
}

/// Minutes since midnight of `07:30`; 24:00 is one of them.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        let two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| two)
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= DAY_MINUTES).then_some(minutes)
}

fn time(minutes: u16) -> Time {
    // Less than 24 hours: both fit.
    Time::constant((minutes / 60) as i8, (minutes % 60) as i8, 0, 0)
}
