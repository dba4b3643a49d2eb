//! What stands in the place of policies in a build without Cedar: nothing that could exist.

use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::ruling::Ruling;

use super::lists::Tenant;
use super::{Asked, AuthzConfig, Late, PolicyNames};

/// Policies, which this build does not have.
#[derive(Debug)]
pub enum Policies {}

impl Policies {
    pub(super) fn compile(config: &AuthzConfig, check: &mut Checker, _: &PolicyNames<'_>) -> Option<Self> {
        if !config.policies.is_empty() {
            let hint = "build it with the feature `cedar`, which is on by default";
            check.problem_hint("policies", "this build knows no policies", hint);
        }
        None
    }

    pub(super) fn permit(&self, _: &Asked<'_>, _: Option<&Tenant>, _: bool) -> Ruling<()> {
        match *self {}
    }

    pub(super) fn is_settled(&self, _: &Asked<'_>, _: ModelId, _: &Late<'_>) -> bool {
        match *self {}
    }

    pub(super) fn use_model(
        &self,
        _: (&Asked<'_>, Option<&Tenant>),
        _: (ModelId, bool),
        _: Option<Late<'_>>,
    ) -> Ruling<()> {
        match *self {}
    }
}
