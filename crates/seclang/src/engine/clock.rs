//! TIME_* from a wall time that the caller gives, in UTC.

use crate::parse::ast::Variable;

const DAY_MS: u64 = 86_400_000;

/// The numeric variables of time.
pub(crate) fn fields(unix_ms: u64) -> [(Variable, u64); 8] {
    let days = unix_ms / DAY_MS;
    let seconds = unix_ms % DAY_MS / 1000;
    let (year, month, day) = date(days);
    [
        (Variable::TimeEpoch, unix_ms / 1000),
        (Variable::TimeDay, day),
        (Variable::TimeHour, seconds / 3600),
        (Variable::TimeMin, seconds / 60 % 60),
        (Variable::TimeMon, month),
        (Variable::TimeSec, seconds % 60),
        // 1 January 1970 was a Thursday.
        (Variable::TimeWday, (days + 4) % 7),
        (Variable::TimeYear, year),
    ]
}

/// `TIME`, as `hh:mm:ss`.
pub(crate) fn time(unix_ms: u64) -> String {
    let seconds = unix_ms % DAY_MS / 1000;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Year, month (0 to 11, as ModSecurity counts) and day of a day since 1970, by the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that a leap day is a year's last: 719,468 days lie between year 0 and 1970.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month <= 1);
    (year, month, day)
}
