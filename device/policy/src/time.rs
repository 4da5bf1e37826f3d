//! Civil time in a zone: when the clock on the wall shows what. The one place that knows of gaps and folds.

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::{self, AmbiguousOffset, TimeZone, TimeZoneDatabase},
};

/// Times a door can be asked about end in the year 9000: days after them can still be counted.
const END_UNIX_MS: u64 = 221_845_392_000_000;

/// A time zone and the name it was asked for by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Zone {
    name: String,
    zone: TimeZone,
}

/// Milliseconds since 1970 as an instant.
pub(crate) fn instant(unix_ms: u64) -> Option<Timestamp> {
    let fits = unix_ms < END_UNIX_MS;
    let unix_ms = i64::try_from(unix_ms).ok().filter(|_| fits)?;
    Timestamp::from_millisecond(unix_ms).ok()
}

impl Zone {
    pub(crate) fn utc() -> Zone {
        Zone {
            name: "UTC".to_owned(),
            zone: TimeZone::UTC,
        }
    }

    /// A zone by its name: as the system knows it, else as it was known when this was built.
    pub(crate) fn named(name: &str) -> Option<Zone> {
        let zone = tz::db().get(name);
        let zone = zone
            .or_else(|_| TimeZoneDatabase::bundled().get(name))
            .ok()?;
        (!zone.is_unknown()).then(|| Zone {
            name: name.to_owned(),
            zone,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The date the clock shows.
    pub(crate) fn date(&self, at: Timestamp) -> Date {
        self.zone.to_datetime(at).date()
    }

    /// The first instant at which the clock shows this time or has jumped over it. `None` at the end of time.
    pub(crate) fn first(&self, time: DateTime) -> Option<Timestamp> {
        let shown = self.zone.to_ambiguous_timestamp(time);
        let earlier = match shown.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                return shown.earlier().ok();
            }
            AmbiguousOffset::Gap { .. } => shown.earlier().ok()?,
        };
        // The jump comes after what the clock would have shown before it, read with the offset after it.
        let mut jumps = self.zone.following(earlier);
        jumps.next().map(|jump| jump.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_first_shown_or_jumped_over() {
        let cases = [
            // Plain, skipped, and twice; one hour, and half an hour.
            ("Europe/Berlin", "2026-06-01T12:00", "2026-06-01T10:00:00Z"),
            ("Europe/Berlin", "2026-03-29T02:15", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-03-29T03:00", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-10-25T02:15", "2026-10-25T00:15:00Z"),
            ("Europe/Berlin", "2026-10-25T03:00", "2026-10-25T02:00:00Z"),
            (
                "America/Santiago",
                "2026-09-06T00:30",
                "2026-09-06T04:00:00Z",
            ),
            (
                "America/Santiago",
                "2026-04-04T23:30",
                "2026-04-05T02:30:00Z",
            ),
            (
                "Australia/Lord_Howe",
                "2026-10-04T02:10",
                "2026-10-03T15:30:00Z",
            ),
            (
                "Australia/Lord_Howe",
                "2026-04-05T01:45",
                "2026-04-04T14:45:00Z",
            ),
            // A day that was not.
            ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00:00Z"),
        ];
        for (zone, time, first) in cases {
            let found = Zone::named(zone).unwrap().first(time.parse().unwrap());
            assert_eq!(found, Some(first.parse().unwrap()), "{zone} {time}");
        }
    }

    #[test]
    fn a_zone_that_is_none_is_refused() {
        for name in [
            "",
            "Europe/Berln",
            "../../etc/passwd",
            "Etc/Unknown",
            "CET-1",
        ] {
            assert_eq!(Zone::named(name), None, "{name}");
        }
    }

    #[test]
    fn the_end_of_time_is_unknown() {
        assert_eq!(instant(0).map(|t| t.as_second()), Some(0));
        assert_eq!(
            instant(END_UNIX_MS - 1).map(|t| t.to_string()[..4].to_owned()),
            Some("8999".to_owned())
        );
        assert_eq!([END_UNIX_MS, u64::MAX].map(instant), [None, None]);
    }
}
