//! Names and forms of the fields that announce limits: the only place that knows them, because the draft is unstable.
//!
//! `RateLimit-Policy` and `RateLimit` follow draft-ietf-httpapi-ratelimit-headers-11 (May 2026), `Retry-After` follows
//! RFC 9110. Pure formatting: what is announced was decided elsewhere.

use std::fmt::Write;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{PublicLevel, Unit};

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
        // `compute` is not among the registered units, so it is a parameter of our own.
        let unit = if level.unit == Unit::Compute { ";tollgate-unit=\"compute-ms\"" } else { "" };
        let quota = level.quota.min(MAX_INTEGER);
        // Writing to a string cannot fail.
        let _ = write!(policies, "{comma}{name};q={quota};w={}{unit}", window.min(MAX_INTEGER));
        let _ = write!(states, "{comma}{name};r={};t={}", remaining.min(MAX_INTEGER), reset.min(MAX_INTEGER));
    }
    let policy = HeaderValue::try_from(policies).ok()?;
    Some(Fields { policy, level: HeaderValue::try_from(states).ok()? })
}

/// The value of `Retry-After`: whole seconds, never less than the wait and never 0.
#[must_use]
pub fn retry_after(wait: Duration) -> HeaderValue {
    HeaderValue::from(whole_secs(wait))
}

/// Whether a client library should be told not to retry by itself (`x-should-retry: false`): some ignore waits above
/// two minutes and come back within seconds.
#[must_use]
pub fn is_too_long_to_retry(wait: Duration) -> bool {
    wait > Duration::from_mins(2)
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
