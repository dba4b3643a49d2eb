//! What a verb needs to ask policies without serving: routes, tenants and `authz` of a configuration. No secret is opened,
//! no rule is compiled, no model is loaded.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tollgate_core::call::ModelId;
use tollgate_core::check::{Checker, Problem};
use tollgate_layers::authz::{self, Authz, PolicyNames, TenantNames};
use tollgate_layers::routes::{self, RouteNames, Routes};

use super::{Located, Report, RuleFiles, Sources, load_config, presets};
use crate::start::StartError;

/// Who may do what, by a configuration.
pub struct PolicyDesk {
    /// The layer.
    pub authz: Authz,
    /// The routes.
    pub routes: Routes,
    /// What is no mistake and yet worth a word.
    pub warnings: Vec<Located>,
}

impl PolicyDesk {
    /// Reads the configuration at `path`.
    ///
    /// # Errors
    /// Every mistake of its form, its routes, tenants and policies.
    pub fn open(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, StartError> {
        let loaded = load_config(path, &Sources::disk(env)).map_err(StartError::Config)?;
        let (mut check, base) = (Checker::default(), path.parent().map(Path::to_path_buf).unwrap_or_default());
        let (config, _) = presets::opened(&loaded.value, &mut check);
        let models = (0..).map(ModelId).zip(config.models.keys()).map(|(id, name)| (name.clone(), id)).collect();
        let upstreams = config.upstreams.keys().cloned().enumerate().map(|(place, name)| (name, place)).collect();
        let classes = config.cost.names();
        let routes = check.within("routes", |check| {
            let names = RouteNames { models: &models, upstreams: &upstreams, classes: &classes };
            routes::compile(&config.routes, check, &names)
        });
        let budgets: BTreeSet<_> = config.limits.budgets.iter().map(|budget| budget.name.clone()).collect();
        let layer = check.within("tenants", |check| {
            let policies = !config.authz.policies.is_empty();
            let names = TenantNames { models: &models, routes: routes.all(), budgets: &budgets, policies };
            authz::compile(&config.tenants, check, &names)
        });
        let authz = check.within("authz", |check| {
            let source = &RuleFiles::new(&base);
            let tenants = &config.tenants;
            let names = PolicyNames { tenants, models: &models, routes: routes.all(), source, failed: Arc::default() };
            layer.with(config.authz.policies(check, &names))
        });
        let (problems, warnings) = check.finish();
        let located = |list: &[Problem]| list.iter().map(|problem| loaded.places.locate(problem)).collect();
        if !problems.is_empty() {
            return Err(StartError::Config(Report::new(located(&problems))));
        }
        Ok(Self { authz, routes, warnings: located(&warnings) })
    }
}
