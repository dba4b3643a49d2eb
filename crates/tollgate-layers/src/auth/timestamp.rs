//! Points in time as a key file writes them: RFC 3339, UTC, whole seconds. Reads no clock and knows no time zones.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A point in time such as `2027-02-18T00:00:00Z`: whole seconds, UTC, years 1970 to 9999, no other spelling.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(u64);

/// What is not a point in time, cut to a length that can be shown.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a time such as `2027-02-18T00:00:00Z`")]
pub struct NotATime(String);

const DAY: u64 = 86_400;
/// The first second of the year 10000.
const END: u64 = 253_402_300_800;
/// From 0000-03-01 to 1970-01-01, in days of the Gregorian calendar.
const EPOCH: u64 = 719_468;
/// Days of 400 years.
const ERA: u64 = 146_097;

impl Timestamp {
    /// The second in which `unix_ms` lies; the last that can be written, if it lies beyond.
    #[must_use]
    pub fn of_unix_ms(unix_ms: u64) -> Self {
        Self((unix_ms / 1_000).min(END - 1))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0 * 1_000
    }

    /// That much later; the last time that can be written, if it lies beyond.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait.as_secs()).min(END - 1))
    }

    /// How long after `earlier`; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// Reads the one spelling.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, NotATime> {
        seconds_of(text.as_bytes()).map(Self).ok_or_else(|| NotATime(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_of(self.0 / DAY);
        let second = self.0 % DAY;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl TryFrom<String> for Timestamp {
    type Error = NotATime;

    fn try_from(text: String) -> Result<Self, NotATime> {
        Self::parse(&text)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A point in time such as `2027-02-18T00:00:00Z`: whole seconds, UTC.",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        })
    }
}

fn seconds_of(text: &[u8]) -> Option<u64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'Z'] = *text else {
        return None;
    };
    let year = number(&[y1, y2, y3, y4])?;
    let month = number(&[m1, m2])?;
    let day = number(&[d1, d2])?;
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
    // No leap seconds: Unix time has none.
    if year < 1970 || hour > 23 || minute > 59 || second > 59 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let days = days_of(year, month, day);
    // 30 February and its like come back as another day.
    (civil_of(days) == (year, month, day)).then_some(days * DAY + hour * 3_600 + minute * 60 + second)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| Some(sum * 10 + u64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?)))
}

/// Days since 1970-01-01 of a date from then on. Years are counted from March, so that the leap day comes last.
const fn days_of(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA + year * 365 + year / 4 - year / 100 + day_of_year - EPOCH
}

/// The date of a day since 1970-01-01: the inverse of [`days_of`].
const fn civil_of(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let (era, day_of_era) = (days / ERA, days % ERA);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + if month <= 2 { 1 } else { 0 };
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{END, Timestamp};

    #[test]
    fn known_times_are_read_and_written_alike() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2027-02-18T00:00:00Z", 1_802_908_800),
            ("9999-12-31T23:59:59Z", END - 1),
        ] {
            let time = Timestamp::parse(text).expect("a time");
            assert_eq!(time, Timestamp(seconds), "{text}");
            assert_eq!(time.to_string(), text);
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for text in [
            "",
            "2027-02-18",
            "2027-02-18T00:00:00z",
            "2027-02-18 00:00:00Z",
            "2027-02-18T00:00:00.000Z",
            "2027-02-18T00:00:00+00:00",
            "2027-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2027-00-01T00:00:00Z",
            "2027-13-01T00:00:00Z",
            "2027-01-00T00:00:00Z",
            "2027-04-31T00:00:00Z",
            "2027-01-01T24:00:00Z",
            "2027-01-01T00:60:00Z",
            "2027-01-01T23:59:60Z",
            "1969-12-31T23:59:59Z",
            "+027-02-18T00:00:00Z",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0..END) {
            let time = Timestamp(seconds);
            assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
        }

        #[test]
        fn later_times_are_later_text(a in 0..END, b in 0..END) {
            assert_eq!(a.cmp(&b), Timestamp(a).to_string().cmp(&Timestamp(b).to_string()));
        }

        #[test]
        fn reading_never_panics(text in any::<String>()) {
            let _time = Timestamp::parse(&text);
        }
    }
}
