//! One budget: what the configuration says of it, its compilation, and the limit that it is at a moment.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;
use tollgate_core::ruling::{Code, Refusal, Short};
use tollgate_limit::{Calendar, Every, Level, Limit, Mode, Moment, Rate, Window, hash_key};

use super::store::{Consistency, SharedBudget, StoreConfig};
use super::{PublicLevel, headers};

/// The longest window: a year.
const MAX_WINDOW_MS: u64 = 366 * 24 * 3_600_000;

/// One budget. It is one of three: a bucket that refills steadily (`burst` and `refill_per_sec`), a quota for each day, week
/// or month (`quota` and `calendar`), or a quota for any window of a length (`quota` and `window_ms`).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetConfig {
    /// Its name: what tenants list and what `RateLimit` fields show. It begins with a lower-case letter and goes on with
    /// lower-case letters, digits, `_` and `-`; at most 64 characters. A budget that keeps its name, `per`, `unit` and
    /// `calendar` keeps its levels over a reload.
    pub name: String,
    /// Whose budget it is: there is one for each of these. A `key` is one credential; an `address` is one IPv4 address
    /// or one IPv6 /64.
    pub per: Per,
    /// What it counts: `compute` (microseconds of accelerator time), `requests`, `tokens` (read and written), `bytes` (of
    /// bodies, both ways) or `concurrent` (requests at once: such a budget has a `quota` and nothing else). Default:
    /// `compute`.
    #[serde(default)]
    pub unit: Unit,
    /// `enforce`, or `observe`: then it counts and refuses nobody, and requests that it would have refused are recorded as
    /// such. Default: `enforce`.
    #[serde(default)]
    pub mode: BudgetMode,
    /// The most that a bucket holds, in its unit: microseconds, requests, tokens or bytes.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub burst: Option<u64>,
    /// What comes back to a bucket each second, in its unit.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub refill_per_sec: Option<u64>,
    /// How far below zero a request may push a bucket that cost more than was reserved, in its unit; the rest is written
    /// off. Not for `requests` and `concurrent`. Default: as much as `burst`.
    #[serde(default)]
    pub debt: Option<u64>,
    /// The most in each `calendar` period, in any window of `window_ms`, or at once, in its unit.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub quota: Option<u64>,
    /// The period of the quota, `day`, `week` (from Monday) or `month`: it begins at midnight of `time_zone`. Such a quota
    /// survives a restart if `state.directory` is set. Not for `per: address`.
    #[serde(default)]
    pub calendar: Option<Period>,
    /// The time zone of `calendar`: `UTC`, a name such as `Europe/Berlin`, or an offset such as `+05:30`. Default: `UTC`.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// The length of the window, in milliseconds: the quota holds in every window of this length, whenever it begins. Up to
    /// 64 units it is exact to the nanosecond; above, units come back up to a 63rd of the window late.
    #[serde(default)]
    #[schemars(range(min = 1, max = 31_622_400_000_u64))]
    pub window_ms: Option<u64>,
    /// How several gateways share this budget: `lease`, or `strict`, which asks the store for each request. Only with
    /// `limits.store`, and `strict` only for `per: tenant` and `key`. Default: that of the store.
    #[serde(default)]
    pub consistency: Option<Consistency>,
}

/// Whether a budget that is spent refuses.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum BudgetMode {
    /// It does.
    #[default]
    Enforce,
    /// It only counts.
    Observe,
}

/// How long a calendar quota lasts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the first of the next.
    Month,
    /// From Monday to Monday.
    Week,
}

/// Whose bucket a budget is. The order is the one in which a request is charged: likeliest to refuse first, most
/// contended last.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each tenant that lists the budget.
    Tenant,
    /// Each credential of a tenant that lists the budget.
    Key,
    /// Each model, whoever calls it.
    Model,
    /// Each address, whoever calls from it.
    Address,
    /// One bucket for everything.
    Global,
}

impl Period {
    /// The word of the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Week => "week",
        }
    }
}

/// What a budget counts. The numbers are part of what levels are found by over a restart.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes of the request's body, and of the answer's where it comes from a model server.
    Bytes = 2,
    /// Microseconds of accelerator time: reserved as estimated, settled as measured.
    #[default]
    Compute = 0,
    /// Requests that are under way at once, on this node.
    Concurrent = 3,
    /// Requests: one each, never given back once admitted.
    Requests = 1,
    /// Tokens read and written: reserved as declared or estimated, settled as the server said.
    Tokens = 4,
}

/// A compiled budget.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) name: Box<str>,
    pub(super) per: Per,
    pub(super) unit: Unit,
    pub(super) mode: Mode,
    bound: Bound,
    /// Hash of name, scope, unit and period.
    pub(super) policy: u64,
    /// What other nodes call it; none where it is this node's own.
    pub(super) shared: Option<SharedBudget>,
}

/// What bounds a budget, whenever that is.
#[derive(Debug)]
enum Bound {
    /// So many at once.
    Places(u64),
    Quota {
        max: u64,
        calendar: Calendar,
    },
    Rate(Rate),
    Window(Window),
}

impl BudgetConfig {
    /// Reports every mistake of the budget, which `check` stands at; what it makes of a mistake is never used.
    pub(super) fn compile(&self, check: &mut Checker, min_cost_us: u64, seed: (u64, u64)) -> Budget {
        let why = format!("`{}` is not a name such as `gold_2`", self.name);
        check.require(is_name(&self.name), "name", why);
        let bound = if self.unit == Unit::Concurrent {
            self.check_places(check)
        } else if self.quota.is_some() || self.calendar.is_some() || self.window_ms.is_some() {
            self.check_quota(check)
        } else {
            self.check_rate(check)
        };
        if self.time_zone.is_some() && self.calendar.is_none() {
            check.problem("time_zone", "a time zone is for a `calendar`");
        }
        let (member, most) = match self.quota {
            Some(quota) => ("quota", quota),
            None => ("burst", self.burst.unwrap_or(u64::MAX)),
        };
        if self.unit == Unit::Compute && most < min_cost_us {
            check.warn(member, format!("below `min_cost_us`: every request takes all of `{}`", self.name));
        }
        Budget {
            name: self.name.as_str().into(),
            per: self.per,
            unit: self.unit,
            mode: if self.mode == BudgetMode::Observe { Mode::Shadow } else { Mode::Enforce },
            bound: bound.unwrap_or_else(|| Bound::Rate(stand_in())),
            policy: hash_key(seed, self.name.as_str(), (self.per.name(), self.unit, self.calendar)),
            shared: None,
        }
    }

    /// How nodes share the budget; none where each has its own.
    pub(super) fn shared(&self, check: &mut Checker, store: Option<&StoreConfig>) -> Option<SharedBudget> {
        let Some(store) = store else {
            let hint = "say where in `limits.store`";
            if self.consistency.is_some() {
                check.problem_hint("consistency", "this budget is not shared", hint);
            }
            return None;
        };
        if self.per == Per::Address {
            // Whoever can invent addresses must not be able to fill the store.
            check.warn("per", "a budget for each address stays with each gateway: several admit so much each");
            let why = "a budget for each address is not shared";
            check.require(self.consistency.is_none(), "consistency", why);
            return None;
        }
        if self.unit == Unit::Concurrent {
            check.warn("unit", "requests at once are not shared: each gateway admits so many");
            check.require(self.consistency.is_none(), "consistency", "requests at once are not shared");
            return None;
        }
        if self.window_ms.is_some() {
            check.problem_hint("window_ms", "windows are not shared between gateways", "say `burst` or `calendar`");
            return None;
        }
        let of_all = matches!(self.per, Per::Global | Per::Model);
        let strict = match self.consistency {
            Some(Consistency::Strict) if of_all => {
                check.problem("consistency", "what everybody shares is always leased");
                false
            }
            Some(asked) => asked == Consistency::Strict,
            None => store.consistency == Consistency::Strict && !of_all,
        };
        let largest = [self.burst, self.quota, self.debt].into_iter().flatten().max().unwrap_or(0);
        check.require(largest < 1 << 53, "name", "a shared budget is below 2^53: the store counts no further");
        let strict = strict && self.mode == BudgetMode::Enforce;
        let period = self.calendar.map_or("", Period::name);
        Some(SharedBudget::new([&self.name, self.per.name(), self.unit.name(), period], self.per, strict))
    }

    fn check_places(&self, check: &mut Checker) -> Option<Bound> {
        let others = [
            ("burst", self.burst.is_some()),
            ("refill_per_sec", self.refill_per_sec.is_some()),
            ("debt", self.debt.is_some()),
            ("calendar", self.calendar.is_some()),
            ("window_ms", self.window_ms.is_some()),
        ];
        for (member, _) in others.into_iter().filter(|(_, there)| *there) {
            check.problem(member, format!("`{member}` is not for requests at once: such a budget has a `quota`"));
        }
        let Some(quota) = self.quota else {
            check.problem_hint("unit", "how many at once?", "say `quota`");
            return None;
        };
        check.require(quota > 0, "quota", "a quota of `0` refuses every request");
        Some(Bound::Places(quota))
    }

    fn check_rate(&self, check: &mut Checker) -> Option<Bound> {
        let (Some(burst), Some(refill)) = (self.burst, self.refill_per_sec) else {
            let (missing, hint) = match (self.burst, self.refill_per_sec) {
                (Some(_), _) => ("a `burst` needs a `refill_per_sec`", "or say `quota` and `calendar`"),
                (_, Some(_)) => ("a `refill_per_sec` needs a `burst`", "or say `quota` and `window_ms`"),
                _ => (
                    "this budget has no limit",
                    "`burst` and `refill_per_sec`, or `quota` and `calendar` or `window_ms`",
                ),
            };
            check.problem_hint("name", missing, hint);
            return None;
        };
        let mut sound = check.require(burst > 0, "burst", "a burst of `0` refuses every request");
        sound &= check.require(refill > 0, "refill_per_sec", "the budget would never refill");
        sound &= check.require(refill <= 1_000_000_000, "refill_per_sec", "at most 1000000000 a second");
        let debt = match (self.unit, self.debt) {
            (Unit::Bytes | Unit::Compute | Unit::Tokens, debt) => debt.unwrap_or(burst),
            (Unit::Concurrent | Unit::Requests, None) => 0,
            (Unit::Concurrent | Unit::Requests, Some(_)) => {
                check.problem("debt", "requests are never in debt: `debt` is for what is measured");
                0
            }
        };
        let rate = Rate::new(burst, refill, debt);
        if sound && rate.is_none() {
            check.problem("burst", "burst and debt would take longer than 36 years to refill");
        }
        rate.map(Bound::Rate)
    }

    fn check_quota(&self, check: &mut Checker) -> Option<Bound> {
        let buckets = [("burst", self.burst), ("refill_per_sec", self.refill_per_sec), ("debt", self.debt)];
        for (member, _) in buckets.into_iter().filter(|(_, value)| value.is_some()) {
            check.problem(member, format!("`{member}` is for a bucket, and this is a quota"));
        }
        let Some(quota) = self.quota else {
            let member = if self.calendar.is_some() { "calendar" } else { "window_ms" };
            check.problem(member, format!("`{member}` needs a `quota`"));
            return None;
        };
        check.require(quota > 0, "quota", "a quota of `0` refuses every request");
        match (self.calendar, self.window_ms) {
            (None, None) => {
                check.problem_hint("quota", "a quota for how long?", "say `calendar` or `window_ms`");
                None
            }
            (Some(_), Some(_)) => {
                check.problem("window_ms", "a quota is for a `calendar` or for a window, not for both");
                None
            }
            (Some(period), None) => self.check_calendar(check, quota, period),
            (None, Some(window_ms)) => {
                let fits = (1..=MAX_WINDOW_MS).contains(&window_ms);
                check.require(fits, "window_ms", format!("at least 1 and at most {MAX_WINDOW_MS}, which is a year"));
                Window::new(quota, Duration::from_millis(window_ms)).map(Bound::Window)
            }
        }
    }

    fn check_calendar(&self, check: &mut Checker, max: u64, period: Period) -> Option<Bound> {
        if self.per == Per::Address {
            let why = "addresses are without number: no calendar quota keeps them all";
            check.problem_hint("calendar", why, "say `window_ms`, or another `per`");
        }
        let every = match period {
            Period::Day => Every::Day,
            Period::Month => Every::Month,
            Period::Week => Every::Week,
        };
        match Calendar::new(every, self.time_zone.as_deref().unwrap_or("UTC")) {
            Ok(calendar) => Some(Bound::Quota { max, calendar }),
            Err(unknown) => {
                check.problem_hint("time_zone", unknown.to_string(), "`UTC`, `Europe/Berlin` or `+05:30` would be");
                None
            }
        }
    }
}

impl Budget {
    /// The limit that the budget is at a moment; `None` where it counts what runs at once.
    pub(super) fn limit(&self, at: Moment) -> Option<Limit> {
        Some(match &self.bound {
            Bound::Places(_) => return None,
            Bound::Quota { max, calendar } => calendar.quota(*max, at).into(),
            Bound::Rate(rate) => (*rate).into(),
            Bound::Window(window) => window.at(at.now).into(),
        })
    }

    /// Whether a lever lowers it: what is counted by the calendar was sold, and stays.
    pub(super) const fn is_lowered(&self) -> bool {
        !matches!(self.bound, Bound::Quota { .. })
    }

    /// The most that one request can take.
    pub(super) fn most(&self) -> u64 {
        match &self.bound {
            Bound::Places(max) | Bound::Quota { max, .. } => *max,
            Bound::Rate(rate) => rate.burst(),
            Bound::Window(window) => window.max(),
        }
    }

    /// The refusal of what can never fit.
    pub(super) fn too_small(&self, declared: u64) -> Refusal {
        let (name, most) = (&self.name, self.most());
        let what = if matches!(self.bound, Bound::Rate(_)) { "burst" } else { "quota" };
        let why = format_args!("declared cost {declared} exceeds the {what} {most} of budget `{name}`");
        Refusal::new(Code::TooExpensive).short_of(self.short(declared)).because(why)
    }

    /// The refusal of what does not fit now.
    /// `apart`: it was judged without the store that should have judged it.
    pub(super) fn spent(&self, cost: u64, apart: bool) -> Refusal {
        let how = if apart { ": this node's share, the store is away" } else { "" };
        let why = format_args!("budget `{}` is spent{how}", self.name);
        Refusal::new(Code::RateLimited).short_of(self.short(cost)).because(why)
    }

    /// The figures of a refusal that its caller may know.
    fn short(&self, cost: u64) -> Short {
        let calendar = matches!(self.bound, Bound::Quota { .. });
        Short { budget: self.name.clone(), unit: self.unit.name(), calendar, cost, limit: self.most() }
    }

    pub(super) fn public(&self, level: &Level, at: Moment) -> PublicLevel<'_> {
        // Compute is announced in milliseconds.
        let scale = if self.unit == Unit::Compute { 1000 } else { 1 };
        let (window, reset) = self.spans(level, scale, at);
        PublicLevel {
            name: &self.name,
            per: self.per,
            unit: self.unit,
            quota: self.most() / scale,
            window_secs: headers::whole_secs(window),
            remaining: level.remaining / scale,
            reset_secs: headers::whole_secs(reset),
            wait: if level.remaining < scale { reset } else { Duration::ZERO },
            full_in: level.full_in,
        }
    }

    /// The same of requests at once, of which `taken` are under way.
    pub(super) fn public_places(&self, taken: u64) -> PublicLevel<'_> {
        let (quota, second) = (self.most(), Duration::from_secs(1));
        let remaining = quota.saturating_sub(taken);
        PublicLevel {
            name: &self.name,
            per: self.per,
            unit: self.unit,
            quota,
            window_secs: 1,
            remaining,
            reset_secs: 1,
            wait: if remaining == 0 { second } else { Duration::ZERO },
            full_in: if taken == 0 { Duration::ZERO } else { second },
        }
    }

    /// The time in which an empty budget becomes full, and how long what remains lasts; if nothing does, the wait.
    fn spans(&self, level: &Level, scale: u64, at: Moment) -> (Duration, Duration) {
        match &self.bound {
            Bound::Places(_) => (Duration::from_secs(1), Duration::from_secs(1)),
            Bound::Rate(rate) => {
                let lasts = if level.remaining < scale {
                    level.wait.max(rate.refill_time(scale.saturating_sub(level.remaining).min(rate.burst())))
                } else {
                    rate.refill_time(level.remaining)
                };
                (rate.refill_time(rate.burst()), lasts)
            }
            Bound::Quota { max, calendar } => {
                let period = calendar.period(at.unix_ms / 1000);
                let length = Duration::from_secs(period.ends_unix.saturating_sub(period.starts_unix));
                (length, calendar.quota(*max, at).ends_in(at.now))
            }
            Bound::Window(window) => {
                (window.span(), if level.remaining < scale { level.wait.max(level.full_in) } else { window.span() })
            }
        }
    }
}

/// For a budget with mistakes, whose policy is never used.
fn stand_in() -> Rate {
    Rate::new(1, 1, 0).expect("one unit in one second is a rate")
}

impl Per {
    /// The word of the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Key => "key",
            Self::Model => "model",
            Self::Address => "address",
            Self::Global => "global",
        }
    }

    /// Whether only tenants that list it are charged to it.
    pub(super) const fn is_listed(self) -> bool {
        matches!(self, Self::Key | Self::Tenant)
    }
}

impl Unit {
    /// The word of the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Compute => "compute",
            Self::Concurrent => "concurrent",
            Self::Requests => "requests",
            Self::Tokens => "tokens",
        }
    }
}

/// Names go into structured fields as they are: nothing in them may need escaping.
pub(super) fn is_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    text.len() <= 64 && text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(word)
}
