//! Counters of layer `waf`: what matched, by rule, and what it cost. The number of labels is bounded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tollgate_layers::waf::Turn;

use super::metrics::{head, row};

/// How many rules are counted by themselves; matches of all others count together, under `other`.
const MOST: usize = 1024;

/// Counters of the rules.
#[derive(Default)]
pub struct RuleMeters {
    matched: RwLock<BTreeMap<u64, AtomicU64>>,
    other: AtomicU64,
    budget: [AtomicU64; 5],
    work: AtomicU64,
}

impl RuleMeters {
    /// Counts one exchange.
    pub fn fold(&self, turn: &Turn) {
        if let Some(counter) = turn.spent().and_then(|phase| self.budget.get(usize::from(phase).checked_sub(1)?)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let Some(tally) = turn.tally() else { return };
        if tally.work > 0 {
            self.work.fetch_add(tally.work, Ordering::Relaxed);
        }
        for matched in turn.logged() {
            self.count(matched.id);
        }
    }

    fn count(&self, rule: u64) {
        if let Some(counter) = self.matched.read().get(&rule) {
            counter.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut matched = self.matched.write();
        let full = matched.len() >= MOST && !matched.contains_key(&rule);
        let counter = if full { &self.other } else { matched.entry(rule).or_default() };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes them.
    pub fn render(&self, out: &mut String) {
        head(out, "tollgate_waf_matched_total", "counter", "Rules that matched and want to be logged, by their id.");
        for (rule, counter) in self.matched.read().iter() {
            let total = counter.load(Ordering::Relaxed);
            row(out, "tollgate_waf_matched_total", &[("rule", &rule.to_string())], total);
        }
        row(out, "tollgate_waf_matched_total", &[("rule", "other")], self.other.load(Ordering::Relaxed));
        head(out, "tollgate_waf_budget_total", "counter", "Exchanges that spent the budget of the rules, by phase.");
        for (phase, counter) in (1..).zip(&self.budget) {
            let phase: u8 = phase;
            let total = counter.load(Ordering::Relaxed);
            row(out, "tollgate_waf_budget_total", &[("phase", &phase.to_string())], total);
        }
        head(out, "tollgate_waf_work_total", "counter", "Bytes that rules scanned, times the rules that scanned them.");
        row(out, "tollgate_waf_work_total", &[], self.work.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_beyond_the_bound_count_together() {
        let meters = RuleMeters::default();
        for rule in 0..2000 {
            meters.count(rule);
            meters.count(rule);
        }
        assert_eq!(meters.matched.read().len(), MOST);
        assert_eq!(meters.other.load(Ordering::Relaxed), 2 * (2000 - MOST as u64));
    }
}
