//! Names and forms of the fields that announce limits: the only place that knows them, because the draft is unstable.
//!
//! `RateLimit-Policy` and `RateLimit` follow draft-ietf-httpapi-ratelimit-headers-11 (May 2026), `Retry-After` follows
//! RFC 9110; `x-ratelimit-*` and `anthropic-ratelimit-*` are those two's own. Pure formatting: what is announced was decided
//! elsewhere.

use std::fmt::Write;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{PublicLevel, Unit};
use crate::auth::Timestamp;

/// The field that says which budgets there are.
pub const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The field that says where they stand.
pub const LEVEL: HeaderName = HeaderName::from_static("ratelimit");
/// The largest integer of a structured field (RFC 9651, 3.3.1).
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// The values of both fields.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fields {
    /// Of [`POLICY`].
    pub policy: HeaderValue,
    /// Of [`LEVEL`].
    pub level: HeaderValue,
}

/// Announces `levels`; `None` if there are none. With `retry_after`, the wait of a refusal, no effective window is
/// longer than that wait, and what remains is lowered to what such a window refills: the draft asks for both (6).
#[must_use]
pub fn fields(levels: &[PublicLevel<'_>], retry_after: Option<Duration>) -> Option<Fields> {
    if levels.is_empty() {
        return None;
    }
    let (mut policies, mut states) = (String::new(), String::new());
    for level in levels {
        let comma = if policies.is_empty() { "" } else { ", " };
        let (name, window) = (Text(level.name), level.window_secs.max(1));
        let (remaining, reset) = level.within(retry_after);
        // Two of ours are not among the registered units, so they are a parameter of our own.
        let unit = match level.unit {
            Unit::Bytes => ";qu=\"content-bytes\"",
            Unit::Compute => ";tollgate-unit=\"compute-ms\"",
            Unit::Concurrent => ";qu=\"concurrent-requests\"",
            Unit::Requests => "",
            Unit::Tokens => ";tollgate-unit=\"tokens\"",
        };
        let (quota, remaining) = (level.quota.min(MAX_INTEGER), remaining.min(MAX_INTEGER));
        // Writing to a string cannot fail.
        if level.unit == Unit::Concurrent {
            let _ = write!(policies, "{comma}{name};q={quota}{unit}");
            let _ = write!(states, "{comma}{name};r={remaining}");
        } else {
            let _ = write!(policies, "{comma}{name};q={quota};w={}{unit}", window.min(MAX_INTEGER));
            let _ = write!(states, "{comma}{name};r={remaining};t={}", reset.min(MAX_INTEGER));
        }
    }
    let policy = HeaderValue::try_from(policies).ok()?;
    Some(Fields { policy, level: HeaderValue::try_from(states).ok()? })
}

/// The value of `Retry-After`: whole seconds, never less than the wait and never 0.
#[must_use]
pub fn retry_after(wait: Duration) -> HeaderValue {
    HeaderValue::from(whole_secs(wait))
}

/// The wait in milliseconds, which OpenAI's and Anthropic's SDKs prefer to whole seconds: never less than it is.
#[must_use]
pub fn retry_after_ms(wait: Duration) -> HeaderValue {
    HeaderValue::from(whole_ms(wait))
}

/// Adds `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, as OpenAI's API announces them: of the budget that has the
/// least left.
pub fn openai(levels: &[PublicLevel<'_>], out: &mut HeaderMap) {
    for (unit, [limit, remaining, reset]) in OPENAI {
        let Some(level) = tightest(levels, unit) else { continue };
        out.insert(HeaderName::from_static(limit), HeaderValue::from(level.quota));
        out.insert(HeaderName::from_static(remaining), HeaderValue::from(level.remaining));
        if let Ok(text) = HeaderValue::try_from(go_duration(level.full_in)) {
            out.insert(HeaderName::from_static(reset), text);
        }
    }
}

/// The same as Anthropic's API announces it, where `reset` is a moment.
pub fn anthropic(levels: &[PublicLevel<'_>], unix_ms: u64, out: &mut HeaderMap) {
    for (unit, [limit, remaining, reset]) in ANTHROPIC {
        let Some(level) = tightest(levels, unit) else { continue };
        out.insert(HeaderName::from_static(limit), HeaderValue::from(level.quota));
        out.insert(HeaderName::from_static(remaining), HeaderValue::from(level.remaining));
        // Whole seconds, as theirs: rounded up.
        let full = Duration::from_millis(unix_ms).saturating_add(level.full_in);
        let full = Duration::from_secs(full.as_secs().saturating_add(u64::from(full.subsec_nanos() > 0)));
        let moment = Timestamp::of_unix_ms(whole_ms(full));
        if let Ok(text) = HeaderValue::try_from(moment.to_string()) {
            out.insert(HeaderName::from_static(reset), text);
        }
    }
}

const OPENAI: [(Unit, [&str; 3]); 2] = [
    (Unit::Requests, ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]),
    (Unit::Tokens, ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]),
];

const ANTHROPIC: [(Unit, [&str; 3]); 2] = [
    (
        Unit::Requests,
        [
            "anthropic-ratelimit-requests-limit",
            "anthropic-ratelimit-requests-remaining",
            "anthropic-ratelimit-requests-reset",
        ],
    ),
    (
        Unit::Tokens,
        [
            "anthropic-ratelimit-tokens-limit",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-tokens-reset",
        ],
    ),
];

/// These dialects have room for one budget of a unit.
fn tightest<'a, 'b>(levels: &'a [PublicLevel<'b>], unit: Unit) -> Option<&'a PublicLevel<'b>> {
    levels.iter().filter(|level| level.unit == unit).min_by_key(|level| level.remaining)
}

/// A duration as Go writes it: `20ms`, `1.5s`, `6m0s`, `1h0m5s`. Whole milliseconds, rounded up.
fn go_duration(time: Duration) -> String {
    let all = whole_ms(time);
    let (seconds, ms) = (all / 1000, all % 1000);
    if seconds == 0 {
        return if ms == 0 { "0s".to_owned() } else { format!("{ms}ms") };
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let mut out = String::new();
    // Writing to a string cannot fail.
    if hours > 0 {
        let _ = write!(out, "{hours}h");
    }
    if seconds >= 60 {
        let _ = write!(out, "{minutes}m");
    }
    let _ = write!(out, "{}", seconds % 60);
    if ms > 0 {
        let fraction = format!("{ms:03}");
        let _ = write!(out, ".{}", fraction.trim_end_matches('0'));
    }
    out.push('s');
    out
}

/// Whether a client library should be told not to retry by itself (`x-should-retry: false`): some ignore waits above
/// two minutes and come back within seconds.
#[must_use]
pub fn is_too_long_to_retry(wait: Duration) -> bool {
    wait > Duration::from_mins(2)
}

/// Milliseconds, rounded up.
fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Seconds, rounded up, at least 1.
pub(super) fn whole_secs(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1)
}

impl PublicLevel<'_> {
    /// What remains and how long it lasts, in a window no longer than `wait`.
    fn within(&self, wait: Option<Duration>) -> (u64, u64) {
        let Some(wait) = wait.map(whole_secs).filter(|wait| *wait < self.reset_secs) else {
            return (self.remaining, self.reset_secs);
        };
        let refilled = u128::from(self.quota) * u128::from(wait) / u128::from(self.window_secs.max(1));
        (self.remaining.min(u64::try_from(refilled).unwrap_or(u64::MAX)), wait)
    }
}

/// A structured-field string; what it cannot hold is left out.
struct Text<'a>(&'a str);

impl std::fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_char('"')?;
        for letter in self.0.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ') {
            if matches!(letter, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(letter)?;
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Per;

    fn level(unit: Unit, quota: u64, remaining: u64, full_in: Duration) -> PublicLevel<'static> {
        let (wait, reset_secs) = (Duration::ZERO, 1);
        PublicLevel { name: "one", per: Per::Key, unit, quota, window_secs: 60, remaining, reset_secs, wait, full_in }
    }

    #[test]
    fn durations_are_written_as_go_reads_them() {
        let cases = [
            (0, "0s"),
            (1, "1ms"),
            (20_000_000, "20ms"),
            (20_000_001, "21ms"),
            (999_000_000, "999ms"),
            (999_000_001, "1s"),
            (1_500_000_000, "1.5s"),
            (1_050_000_000, "1.05s"),
            (60_000_000_000, "1m0s"),
            (360_000_000_000, "6m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (90_061_001_000_000, "25h1m1.001s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
        }
        assert!(go_duration(Duration::MAX).ends_with('s'));
    }

    #[test]
    fn each_dialect_announces_the_tightest_budget_of_its_units_and_nothing_of_others() {
        let tokens = level(Unit::Tokens, 5000, 17, Duration::from_mins(2));
        let wide = level(Unit::Requests, 1000, 900, Duration::from_secs(1));
        let tight = level(Unit::Requests, 100, 40, Duration::from_millis(6_020));
        let compute = level(Unit::Compute, 100, 1, Duration::from_secs(9));
        let field = |fields: &HeaderMap, name: &str| {
            fields.get(name).map(|value| value.to_str().expect("ASCII").to_owned()).unwrap_or_default()
        };
        let mut out = HeaderMap::new();
        openai(&[compute, wide, tight, tokens], &mut out);
        let found = ["limit", "remaining", "reset"].map(|what| field(&out, &format!("x-ratelimit-{what}-requests")));
        assert_eq!((found, out.len()), (["100", "40", "6.02s"].map(str::to_owned), 6));
        let found = ["limit", "remaining", "reset"].map(|what| field(&out, &format!("x-ratelimit-{what}-tokens")));
        assert_eq!(found, ["5000", "17", "2m0s"].map(str::to_owned));
        let mut out = HeaderMap::new();
        anthropic(&[compute, wide, tight], 1_795_176_000_000, &mut out);
        let name = |what: &str| format!("anthropic-ratelimit-requests-{what}");
        let found = ["limit", "remaining", "reset"].map(|what| field(&out, &name(what)));
        assert_eq!((found, out.len()), (["100", "40", "2026-11-20T12:00:07Z"].map(str::to_owned), 3));
        let mut out = HeaderMap::new();
        openai(&[compute], &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn every_unit_is_announced_in_registered_words_or_in_a_parameter_of_ours() {
        let of = |unit| fields(&[level(unit, 9, 4, Duration::ZERO)], None).expect("a level");
        let units = [Unit::Bytes, Unit::Compute, Unit::Concurrent, Unit::Requests, Unit::Tokens];
        let policies = units.map(|unit| of(unit).policy.to_str().expect("ASCII").to_owned());
        let expected = [
            r#""one";q=9;w=60;qu="content-bytes""#,
            r#""one";q=9;w=60;tollgate-unit="compute-ms""#,
            r#""one";q=9;qu="concurrent-requests""#,
            r#""one";q=9;w=60"#,
            r#""one";q=9;w=60;tollgate-unit="tokens""#,
        ];
        assert_eq!(policies, expected.map(str::to_owned));
        assert_eq!(of(Unit::Concurrent).level, r#""one";r=4"#);
    }

    #[test]
    fn a_wait_in_milliseconds_is_never_shorter_than_it_is() {
        assert_eq!(retry_after_ms(Duration::from_nanos(1)), "1");
        assert_eq!(retry_after_ms(Duration::from_millis(1500)), "1500");
        assert_eq!(retry_after_ms(Duration::MAX), u64::MAX.to_string());
    }
}
