//! What an endpoint's own answers say against it: failures in a row, and, seen beside its siblings, a share of failures or
//! a slowness that is not the work's fault.
//!
//! Pure: outcomes in, reasons out. What an ejection does, and how many there may be, is the business of `standing`. The
//! rules are those of Envoy's outlier detection; where ours differ, the reference of `ejection` says so.

use std::time::Duration;

/// How one attempt ended, as far as its endpoint is to blame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Answered, with any status below 500.
    Answered,
    /// The same as far as its head; its body is still to come.
    Began,
    /// A status of 500 and above that is no gateway's: 500, 501, 505 and so on.
    Errored,
    /// 502, 503 or 504.
    Gateway,
    /// Too much to do: 429, or 503 with `Retry-After`. Neither a success nor a failure.
    Load,
    /// No answer, or a broken one: it did not let itself be reached, hung up, said what is no HTTP, or took too long.
    Local,
}

/// Why an endpoint is ejected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Failures of any kind in a row, as statuses.
    Consecutive5xx,
    /// 502, 503 and 504 in a row.
    ConsecutiveGateway,
    /// No answer, several times in a row.
    ConsecutiveLocal,
    /// Too large a share of failures.
    FailurePercentage,
    /// Far slower than its siblings at the same work.
    Latency,
    /// Fewer successes than its siblings.
    SuccessRate,
    /// The one request that it got on its way back failed.
    Trial,
}

impl Reason {
    /// Every reason, alphabetical.
    pub const ALL: [Self; 7] = [
        Self::Consecutive5xx,
        Self::ConsecutiveGateway,
        Self::ConsecutiveLocal,
        Self::FailurePercentage,
        Self::Latency,
        Self::SuccessRate,
        Self::Trial,
    ];

    /// The word of metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "consecutive_5xx",
            Self::ConsecutiveGateway => "consecutive_gateway",
            Self::ConsecutiveLocal => "consecutive_local",
            Self::FailurePercentage => "failure_percentage",
            Self::Latency => "latency",
            Self::SuccessRate => "success_rate",
            Self::Trial => "trial",
        }
    }
}

/// When an endpoint is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EjectionRules {
    /// Statuses of 500 and above in a row; 0 never.
    pub consecutive_5xx: u16,
    /// 502, 503 and 504 in a row; 0 never.
    pub consecutive_gateway: u16,
    /// Attempts without an answer in a row; 0 never.
    pub consecutive_local: u16,
    /// How often siblings are compared.
    pub sweep: Duration,
    /// The first ejection lasts this long, the n-th in a row n times as long.
    pub base: Duration,
    /// The longest ejection.
    pub longest: Duration,
    /// How many percent of the endpoints may be ejected at once; the last one never is.
    pub most_percent: u8,
    /// A share of failures of at least so many percent; 0 never.
    pub failure_percent: u8,
    /// Slower than so many times the median; 0 never.
    pub slower_than_median: f64,
}

/// Endpoints that must have answers enough before their success rates are compared.
const RATE_HOSTS: usize = 5;
/// Answers that each of them must have had since the last sweep.
const RATE_REQUESTS: u64 = 100;
/// How many standard deviations below the mean is an outlier.
const RATE_DEVIATIONS: f64 = 1.9;
/// Answers before a share of failures means anything.
const SHARE_REQUESTS: u64 = 20;
/// Endpoints with measured answers before a median means anything.
const LATENCY_HOSTS: usize = 3;
/// Measured answers that each of them must have had.
const LATENCY_REQUESTS: u64 = 20;

/// Failures in a row, of each kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Streaks {
    failed: u16,
    gateway: u16,
    local: u16,
}

impl Streaks {
    /// From one word.
    #[must_use]
    pub const fn unpacked(word: u64) -> Self {
        Self { failed: (word & 0xffff) as u16, gateway: (word >> 16 & 0xffff) as u16, local: (word >> 32) as u16 }
    }

    /// As one word: zero where there is none.
    #[must_use]
    pub const fn packed(self) -> u64 {
        self.failed as u64 | (self.gateway as u64) << 16 | (self.local as u64) << 32
    }

    /// After one more outcome.
    #[must_use]
    pub fn after(self, outcome: Outcome) -> Self {
        let Self { failed, gateway, local } = self;
        match outcome {
            Outcome::Answered => Self::default(),
            // Who says that it will answer, and never does, has not answered.
            Outcome::Began => Self { local, ..Self::default() },
            // What said something was reached.
            Outcome::Errored => Self { failed: failed.saturating_add(1), gateway: 0, local: 0 },
            Outcome::Gateway => Self { failed: failed.saturating_add(1), gateway: gateway.saturating_add(1), local: 0 },
            Outcome::Load => Self { local: 0, ..self },
            Outcome::Local => Self { local: local.saturating_add(1), ..self },
        }
    }

    /// Why these are too many, if they are.
    #[must_use]
    pub fn verdict(self, rules: &EjectionRules) -> Option<Reason> {
        let over = |count: u16, most: u16| most > 0 && count >= most;
        if over(self.local, rules.consecutive_local) {
            Some(Reason::ConsecutiveLocal)
        } else if over(self.gateway, rules.consecutive_gateway) {
            Some(Reason::ConsecutiveGateway)
        } else if over(self.failed, rules.consecutive_5xx) {
            Some(Reason::Consecutive5xx)
        } else {
            None
        }
    }
}

/// What an endpoint did since the last sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    /// Attempts that were answered below 500.
    pub answered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Answers whose time was taken.
    pub timed: u64,
    /// Their mean slowness: the time they took for the time that was expected of them.
    pub slowness: f64,
}

/// Who is an outlier among its siblings, and why. Endpoints that are out already are not asked about: their place is
/// `None`.
#[must_use]
pub fn outliers(windows: &[Option<Window>], rules: &EjectionRules) -> Vec<(usize, Reason)> {
    let rate = rate_bar(windows);
    let slow = slow_bar(windows, rules.slower_than_median);
    let mut found = Vec::new();
    for (place, window) in windows.iter().enumerate() {
        let Some(window) = window else { continue };
        let all = window.answered + window.failed;
        let failing = rules.failure_percent > 0
            && all >= SHARE_REQUESTS
            && window.failed * 100 >= all * u64::from(rules.failure_percent);
        let below = |bar: f64| all >= RATE_REQUESTS && success(window) < bar;
        let slower = |bar: f64| window.timed >= LATENCY_REQUESTS && window.slowness > bar;
        let reason = match () {
            () if failing => Reason::FailurePercentage,
            () if rate.is_some_and(below) => Reason::SuccessRate,
            () if slow.is_some_and(slower) => Reason::Latency,
            () => continue,
        };
        found.push((place, reason));
    }
    found
}

#[expect(clippy::cast_precision_loss, reason = "counts of ten seconds")]
fn success(window: &Window) -> f64 {
    window.answered as f64 / (window.answered + window.failed).max(1) as f64
}

/// The success rate below which an endpoint is an outlier.
#[expect(clippy::cast_precision_loss, reason = "at most some hundred endpoints")]
fn rate_bar(windows: &[Option<Window>]) -> Option<f64> {
    let busy = windows.iter().flatten().filter(|window| window.answered + window.failed >= RATE_REQUESTS);
    let rates: Vec<f64> = busy.map(success).collect();
    if rates.len() < RATE_HOSTS {
        return None;
    }
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / rates.len() as f64;
    Some(RATE_DEVIATIONS.mul_add(-variance.sqrt(), mean))
}

/// The slowness above which an endpoint is an outlier.
fn slow_bar(windows: &[Option<Window>], times: f64) -> Option<f64> {
    let busy = windows.iter().flatten().filter(|window| window.timed >= LATENCY_REQUESTS);
    let mut slowness: Vec<f64> = busy.map(|window| window.slowness).collect();
    if slowness.len() < LATENCY_HOSTS || times <= 0.0 {
        return None;
    }
    slowness.sort_by(f64::total_cmp);
    // The lower one of two: half of the endpoints being slow must not hide them.
    slowness.get((slowness.len() - 1) / 2).map(|median| median * times)
}

impl Default for EjectionRules {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway: 5,
            consecutive_local: 5,
            sweep: Duration::from_secs(10),
            base: Duration::from_secs(30),
            longest: Duration::from_mins(5),
            most_percent: 50,
            failure_percent: 50,
            slower_than_median: 3.0,
        }
    }
}

#[cfg(test)]
mod tests;
