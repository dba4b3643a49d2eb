//! The published policy: what the configuration says of budgets, for the people who are held to them. No tenant is named.

use std::fmt::Write as _;

use serde::Serialize;

use super::budget::{BudgetConfig, BudgetMode, Per, Period, Unit};
use super::config::LimitsConfig;

/// Every budget that binds somebody.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyPage {
    /// In the order of the file.
    pub budgets: Vec<PolicyLine>,
    /// What every request costs at least, in microseconds of compute.
    pub min_cost_us: u64,
}

/// One budget.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyLine {
    /// Its name: as it stands in `RateLimit-Policy`.
    pub name: String,
    /// Whose it is.
    pub per: &'static str,
    /// Whether it is for everybody, or only for those whose contract has it.
    pub for_everybody: bool,
    /// What it counts.
    pub unit: &'static str,
    /// The most at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// What comes back each second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refill_per_sec: Option<u64>,
    /// The most in each period or window, or at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// The period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar: Option<&'static str>,
    /// Where its midnight is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The length of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
}

impl LimitsConfig {
    /// The policy that it is, for people. Budgets that only observe bind nobody and are not in it.
    #[must_use]
    pub fn page(&self) -> PolicyPage {
        let binding = self.budgets.iter().filter(|budget| budget.mode == BudgetMode::Enforce);
        PolicyPage { budgets: binding.map(PolicyLine::of).collect(), min_cost_us: self.min_cost_us }
    }
}

impl PolicyLine {
    fn of(budget: &BudgetConfig) -> Self {
        let calendar = budget.calendar.map(Period::name);
        Self {
            name: budget.name.clone(),
            per: budget.per.name(),
            for_everybody: !matches!(budget.per, Per::Key | Per::Tenant),
            unit: budget.unit.name(),
            burst: budget.burst,
            refill_per_sec: budget.refill_per_sec,
            quota: budget.quota,
            calendar,
            time_zone: calendar.map(|_| budget.time_zone.clone().unwrap_or_else(|| "UTC".to_owned())),
            window_ms: budget.window_ms,
        }
    }

    /// Its bound in words.
    fn bound(&self) -> String {
        let unit = if self.unit == Unit::Compute.name() { "µs of compute" } else { self.unit };
        match (self.burst, self.refill_per_sec, self.quota, self.calendar, self.window_ms) {
            (Some(burst), Some(refill), ..) => format!("{burst} {unit} at once, {refill} more each second"),
            (.., Some(quota), Some(period), _) => {
                let zone = self.time_zone.as_deref().unwrap_or("UTC");
                format!("{quota} {unit} each {period} ({zone})")
            }
            (.., Some(quota), None, Some(ms)) => format!("{quota} {unit} in any {} s", ms as f64 / 1000.0),
            (.., Some(quota), None, None) => format!("{quota} requests under way together"),
            _ => String::new(),
        }
    }
}

impl PolicyPage {
    /// As a page for people.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::from("# Quota policy\n\n");
        if self.budgets.is_empty() {
            out.push_str("There are no budgets.\n");
            return out;
        }
        out.push_str("| budget | one for each | for | holds |\n|---|---|---|---|\n");
        for line in &self.budgets {
            let whom = if line.for_everybody { "everybody" } else { "those whose contract has it" };
            // Writing to a string cannot fail.
            let _ = writeln!(out, "| `{}` | {} | {whom} | {} |", line.name, line.per, line.bound());
        }
        let _ = write!(
            out,
            "\nA request is charged to all of its budgets or to none. Every inference costs at least {} µs of compute.\n\
             Answers announce in `RateLimit` what is left, and a refusal says in `Retry-After` when to come back.\n",
            self.min_cost_us
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_binds_and_names_nobody() {
        let yaml = "
budgets:
  - { name: gold, per: tenant, burst: 60000000, refill_per_sec: 4000000 }
  - { name: words, per: key, unit: tokens, quota: 5000, window_ms: 1500 }
  - { name: month, per: tenant, unit: requests, quota: 9, calendar: month, time_zone: Europe/Berlin }
  - { name: hands, per: key, unit: concurrent, quota: 8 }
  - { name: crowd, per: address, unit: requests, burst: 200, refill_per_sec: 20 }
  - { name: next, per: tenant, quota: 1, calendar: day, mode: observe }
";
        let config: LimitsConfig = serde_saphyr::from_str(yaml).expect("it parses");
        let page = config.page();
        let text = page.markdown();
        for line in [
            "| `gold` | tenant | those whose contract has it | 60000000 µs of compute at once, 4000000 more each second |",
            "| `words` | key | those whose contract has it | 5000 tokens in any 1.5 s |",
            "| `month` | tenant | those whose contract has it | 9 requests each month (Europe/Berlin) |",
            "| `hands` | key | those whose contract has it | 8 requests under way together |",
            "| `crowd` | address | everybody | 200 requests at once, 20 more each second |",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("next"), "what only observes binds nobody");
        let json = serde_json::to_value(&page).expect("JSON");
        assert_eq!(json["budgets"][2]["time_zone"], "Europe/Berlin");
        assert_eq!(json["budgets"].as_array().map(Vec::len), Some(5));
        let none: LimitsConfig = serde_saphyr::from_str("{}").expect("it parses");
        assert!(none.page().markdown().contains("no budgets"));
    }
}
