//! Who may do what: the allow lists of tenants, and policies in Cedar beside them.

use std::sync::Arc;

use tollgate_core::check::Checker;
use tollgate_layers::authz::{self, Authz};
use tollgate_layers::routes::Routes;

use super::Desk;
use crate::config::rules::RuleFiles;

impl Desk<'_> {
    pub(super) fn authz(&self, routes: &Routes, check: &mut Checker) -> Authz {
        let config = self.config;
        let budgets = config.limits.budgets.iter().map(|budget| budget.name.clone()).collect();
        let authz = check.within("tenants", |check| {
            let policies = !config.authz.policies.is_empty();
            let names = authz::TenantNames { models: &self.models, routes: routes.all(), budgets: &budgets, policies };
            authz::compile(&config.tenants, check, &names)
        });
        check.within("authz", |check| {
            let (source, failed) = (&RuleFiles::new(self.base), Arc::clone(&self.state.meters.policies_failed));
            let names = authz::PolicyNames {
                tenants: &config.tenants,
                models: &self.models,
                routes: routes.all(),
                source,
                failed,
            };
            authz.with(config.authz.policies(check, &names))
        })
    }
}
