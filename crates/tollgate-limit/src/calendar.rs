//! Days, weeks and months in a time zone: which one a moment belongs to, and when it ends. Wall time is an argument; no
//! clock and no file is read.

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};
use parking_lot::RwLock;

use crate::{Quota, Tick};

/// Days from Monday to the first of January 1970, a Thursday.
const EPOCH_WEEKDAY: i64 = 3;

/// The largest offset that anybody uses is 14 hours.
const MAX_OFFSET_HOURS: i32 = 15;

/// How long a calendar quota lasts.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Every {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first of a month to the first of the next.
    Month,
}

/// One day, week or month.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Period {
    /// Its number: consecutive, and the same in every time zone.
    pub id: u32,
    /// Its first second, since the Unix epoch.
    pub starts_unix: u64,
    /// The first second after it, since the Unix epoch.
    pub ends_unix: u64,
}

/// The days, weeks or months of a time zone.
#[derive(Debug)]
pub struct Calendar {
    every: Every,
    zone: TimeZone,
    /// The period asked for last: nearly always the next one asked for.
    last: RwLock<Period>,
}

/// A time zone that nobody knows.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{name}` is not a time zone")]
pub struct UnknownZone {
    /// What was asked for.
    pub name: String,
}

/// Wall time and monotonic time of one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Moment {
    /// Monotonic.
    pub now: Tick,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// A time zone.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    /// `UTC`, a name such as `Europe/Berlin`, or an offset such as `+05:30`.
    ///
    /// # Errors
    /// If there is no such zone.
    pub fn named(name: &str) -> Result<Self, UnknownZone> {
        let known = if name.starts_with(['+', '-']) { fixed(name) } else { TimeZone::get(name).ok() };
        known.map(Self).ok_or_else(|| UnknownZone { name: name.to_owned() })
    }

    /// The hour of the day, 0 to 23, at a moment in seconds since the Unix epoch.
    #[must_use]
    pub fn hour(&self, unix: u64) -> u8 {
        let moment = i64::try_from(unix).ok().and_then(|unix| Timestamp::from_second(unix).ok());
        u8::try_from(self.0.to_datetime(moment.unwrap_or(Timestamp::MAX)).hour()).unwrap_or(0)
    }
}

impl Calendar {
    /// The calendar of `zone`: `UTC`, a name such as `Europe/Berlin`, or an offset such as `+05:30`.
    ///
    /// # Errors
    /// If there is no such zone.
    pub fn new(every: Every, zone: &str) -> Result<Self, UnknownZone> {
        let Zone(zone) = Zone::named(zone)?;
        let none = Period { id: 0, starts_unix: 1, ends_unix: 0 };
        Ok(Self { every, zone, last: RwLock::new(none) })
    }

    /// A quota of `max` units for the period that `at` is in.
    #[must_use]
    pub fn quota(&self, max: u64, at: Moment) -> Quota {
        Quota::new(max, self.period(at.unix_ms / 1000), at)
    }

    /// The period that a moment is in, seconds since the Unix epoch.
    #[must_use]
    pub fn period(&self, unix: u64) -> Period {
        let last = *self.last.read();
        if (last.starts_unix..last.ends_unix).contains(&unix) {
            return last;
        }
        let period = self.find(unix);
        *self.last.write() = period;
        period
    }

    fn find(&self, unix: u64) -> Period {
        let moment = i64::try_from(unix).ok().and_then(|unix| Timestamp::from_second(unix).ok());
        // Beyond the year 9999 there are no periods: the last one lasts.
        let today = self.zone.to_datetime(moment.unwrap_or(Timestamp::MAX)).date();
        let (first, next) = self.bounds(today);
        let starts_unix = self.midnight(first).unwrap_or(0).min(unix);
        let ends_unix = next.and_then(|next| self.midnight(next)).unwrap_or(u64::MAX).max(unix.saturating_add(1));
        Period { id: self.number(first), starts_unix, ends_unix }
    }

    /// The first day of the period that `today` is in, and of the next one.
    fn bounds(&self, today: Date) -> (Date, Option<Date>) {
        let weekday = i64::from(today.weekday().to_monday_zero_offset());
        let (first, length) = match self.every {
            Every::Day => (today, 1.day()),
            Every::Week => (today.saturating_sub(weekday.days()), 1.week()),
            Every::Month => (today.first_of_month(), 1.month()),
        };
        (first, first.checked_add(length).ok())
    }

    /// When a day begins. Where clocks skip midnight, it begins after the gap; where they pass it twice, with the first.
    fn midnight(&self, day: Date) -> Option<u64> {
        let midnight = self.zone.to_ambiguous_timestamp(day.to_datetime(jiff::civil::Time::midnight()));
        u64::try_from(midnight.compatible().ok()?.as_second()).ok()
    }

    fn number(&self, first: Date) -> u32 {
        const EPOCH: Date = Date::constant(1970, 1, 1);
        let days = EPOCH.duration_until(first).as_hours() / 24;
        let number = match self.every {
            Every::Day => days,
            Every::Week => (days + EPOCH_WEEKDAY).div_euclid(7),
            Every::Month => (i64::from(first.year()) - 1970) * 12 + i64::from(first.month()) - 1,
        };
        u32::try_from(number).unwrap_or(0)
    }
}

/// A zone such as `+05:30` or `-08`.
fn fixed(text: &str) -> Option<TimeZone> {
    let (sign, digits) = text.split_at_checked(1)?;
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "00"));
    let number = |text: &str| {
        let sound = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        sound.then(|| text.parse::<i32>().ok())?
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if hours >= MAX_OFFSET_HOURS || minutes >= 60 {
        return None;
    }
    let seconds = hours * 3600 + minutes * 60;
    let offset = Offset::from_seconds(if sign == "-" { -seconds } else { seconds }).ok()?;
    Some(TimeZone::fixed(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(text: &str) -> u64 {
        let moment: Timestamp = text.parse().expect("a timestamp");
        u64::try_from(moment.as_second()).expect("after 1970")
    }

    fn bounds(every: Every, zone: &str, at: &str) -> (String, String) {
        let period = Calendar::new(every, zone).expect("a zone").period(unix(at));
        let text = |unix: u64| Timestamp::from_second(unix.try_into().expect("small")).expect("in range").to_string();
        (text(period.starts_unix), text(period.ends_unix))
    }

    fn expect(every: Every, zone: &str, at: &str, [starts, ends]: [&str; 2]) {
        assert_eq!(bounds(every, zone, at), (starts.to_owned(), ends.to_owned()), "{every:?} {zone} {at}");
    }

    #[test]
    fn periods_begin_at_midnight_of_the_zone() {
        let at = "2026-11-20T23:30:00Z";
        expect(Every::Day, "UTC", at, ["2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"]);
        expect(Every::Day, "Europe/Berlin", at, ["2026-11-20T23:00:00Z", "2026-11-21T23:00:00Z"]);
        expect(Every::Day, "+05:30", at, ["2026-11-20T18:30:00Z", "2026-11-21T18:30:00Z"]);
        expect(Every::Day, "-08", at, ["2026-11-20T08:00:00Z", "2026-11-21T08:00:00Z"]);
        expect(Every::Week, "UTC", at, ["2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"]);
        expect(Every::Month, "UTC", at, ["2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"]);
        expect(Every::Month, "Asia/Tokyo", "2026-12-31T15:00:00Z", ["2026-12-31T15:00:00Z", "2027-01-31T15:00:00Z"]);
    }

    #[test]
    fn a_leap_day_belongs_to_its_month() {
        expect(Every::Month, "UTC", "2028-02-29T12:00:00Z", ["2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"]);
        expect(Every::Day, "UTC", "2028-02-29T12:00:00Z", ["2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"]);
    }

    #[test]
    fn days_of_a_clock_change_last_23_and_25_hours() {
        expect(Every::Day, "Europe/Berlin", "2026-03-29T12:00:00Z", ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]);
        expect(Every::Day, "Europe/Berlin", "2026-10-25T12:00:00Z", ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"]);
    }

    #[test]
    fn a_skipped_midnight_begins_after_the_gap_and_a_doubled_one_with_the_first() {
        // Beirut goes from 00:00 to 01:00; Havana goes from 01:00 back to 00:00.
        expect(Every::Day, "Asia/Beirut", "2024-03-31T12:00:00Z", ["2024-03-30T22:00:00Z", "2024-03-31T21:00:00Z"]);
        expect(Every::Day, "America/Havana", "2024-11-03T12:00:00Z", ["2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"]);
    }

    #[test]
    fn a_day_that_a_zone_left_out_is_no_period() {
        // Samoa crossed the date line and had no 30 December 2011.
        expect(Every::Day, "Pacific/Apia", "2011-12-30T09:59:59Z", ["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"]);
        expect(Every::Day, "Pacific/Apia", "2011-12-30T10:00:00Z", ["2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"]);
    }

    #[test]
    fn periods_follow_each_other_without_a_gap_and_with_consecutive_numbers() {
        for zone in ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Africa/Casablanca", "-03:30"] {
            for every in [Every::Day, Every::Week, Every::Month] {
                let calendar = Calendar::new(every, zone).expect("a zone");
                let mut period = calendar.period(unix("2015-12-31T12:00:00Z"));
                for _ in 0..800 {
                    assert_eq!(calendar.period(period.starts_unix), period);
                    assert_eq!(calendar.period(period.ends_unix - 1), period);
                    let next = calendar.period(period.ends_unix);
                    assert_eq!((next.id, next.starts_unix), (period.id + 1, period.ends_unix), "{zone} {every:?}");
                    period = next;
                }
            }
        }
    }

    #[test]
    fn the_ends_of_time_are_periods_too() {
        for every in [Every::Day, Every::Week, Every::Month] {
            for zone in ["UTC", "+14:00", "-12:00"] {
                let calendar = Calendar::new(every, zone).expect("a zone");
                for unix in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
                    let period = calendar.period(unix);
                    assert!(period.starts_unix <= unix && period.ends_unix >= unix, "{every:?} {zone} {unix}");
                }
            }
        }
    }

    #[test]
    fn zones_that_nobody_knows_are_refused() {
        for zone in ["", "Mars/Olympus", "+", "+1", "+25:00", "+15:00", "+01:60", "+01:0", "++1:00", "+01:00:00", "-é8"]
        {
            assert!(Calendar::new(Every::Day, zone).is_err(), "{zone}");
        }
        let error = Calendar::new(Every::Day, "Mars/Olympus").expect_err("no such zone");
        assert_eq!(error.to_string(), "`Mars/Olympus` is not a time zone");
    }
}
