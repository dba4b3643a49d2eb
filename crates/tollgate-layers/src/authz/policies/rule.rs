//! One policy, and to which questions it can apply by its scope alone.

use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use super::reads::Reads;
use crate::authz::Action;

/// A policy that was validated.
#[derive(Debug)]
pub(super) struct Rule {
    /// What it is called: its `@id`, or its file and place in it.
    pub(super) name: Box<str>,
    pub(super) policy: Policy,
    pub(super) reads: Reads,
    pub(super) principal: Principal,
    pub(super) resource: Resource,
    actions: [bool; Action::ALL.len()],
}

/// Whom it can apply to.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Principal {
    Anybody,
    /// The one of that type and name.
    One(EntityUid),
    /// Those of a tenant.
    Tenant(Box<str>),
}

/// What it can apply to. It may say more than is true, never less.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Resource {
    Anything,
    Group(Box<str>),
    Model(Box<str>),
    Models,
    Route(Box<str>),
    Routes,
}

impl Rule {
    pub(super) fn new(name: Box<str>, policy: Policy) -> Self {
        let (principal, resource) = (Principal::of(&policy), Resource::of(&policy));
        let named = |uid: &EntityUid| Action::ALL.map(|action| uid.id().unescaped() == action.name());
        let actions = match policy.action_constraint() {
            ActionConstraint::Any => [true; Action::ALL.len()],
            ActionConstraint::Eq(uid) => named(&uid),
            ActionConstraint::In(uids) => uids.iter().map(named).fold([false; Action::ALL.len()], |mut all, one| {
                all.iter_mut().zip(one).for_each(|(all, one)| *all |= one);
                all
            }),
        };
        Self { name, reads: Reads::of(&policy), principal, resource, actions, policy }
    }

    pub(super) fn forbids(&self) -> bool {
        self.policy.effect() == Effect::Forbid
    }

    pub(super) fn is_about(&self, action: Action) -> bool {
        self.actions.get(action as usize).copied().unwrap_or(true)
    }

    /// Whether it says another thing of a route than of the models there, or may.
    pub(super) fn minds_routes(&self) -> bool {
        self.resource != Resource::Anything || self.reads.any(Reads::RESOURCE)
    }
}

impl Principal {
    fn of(policy: &Policy) -> Self {
        match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Self::Anybody,
            PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
                match uid.type_name().basename() {
                    "Tenant" => Self::Tenant(uid.id().unescaped().into()),
                    _ => Self::One(uid),
                }
            }
        }
    }
}

impl Resource {
    fn of(policy: &Policy) -> Self {
        match policy.resource_constraint() {
            ResourceConstraint::Any => Self::Anything,
            ResourceConstraint::Is(kind) if kind.basename() == "Model" => Self::Models,
            ResourceConstraint::Is(_) => Self::Routes,
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                let name = uid.id().unescaped().into();
                match uid.type_name().basename() {
                    "ModelGroup" => Self::Group(name),
                    "Model" => Self::Model(name),
                    _ => Self::Route(name),
                }
            }
        }
    }
}
