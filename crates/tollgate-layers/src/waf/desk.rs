//! What tools for rule authors ask: doubtful lines, and what a rule is.

use seclang::ir::RuleInfo;
use seclang::parse::{lint, parse};
use tollgate_core::check::Checker;

use super::{Given, Waf, WafConfig};

impl WafConfig {
    /// What is doubtful about the files that the section and its routes load, besides what keeps them from loading; a
    /// file that several routes load is told of once. To be called at the root of the configuration.
    pub fn lint(&self, check: &mut Checker, given: &Given<'_>) -> Vec<seclang::Problem> {
        let mut found: Vec<seclang::Problem> = Vec::new();
        self.with_files(check, given, &mut |source, files| {
            let parsed = parse(source, files);
            for problem in parsed.problems.into_iter().chain(lint(&parsed.directives)) {
                if !found.contains(&problem) {
                    found.push(problem);
                }
            }
        });
        found
    }
}

impl Waf {
    /// What is known of a rule of a route; beyond the last route, of exchanges without one.
    #[must_use]
    pub fn rule(&self, route: usize, id: u64) -> Option<RuleInfo> {
        self.plan(route)?.rules.rules().find(|rule| rule.id == id)
    }

    /// The ids of the rules of a route, in the order of loading.
    #[must_use]
    pub fn rule_ids(&self, route: usize) -> Vec<u64> {
        self.plan(route).map(|plan| plan.rules.rules().map(|rule| rule.id).collect()).unwrap_or_default()
    }
}
