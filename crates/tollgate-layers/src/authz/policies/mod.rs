//! Policies in Cedar, asked beside the allow lists: a list or a `permit` allows, a `forbid` always wins, and a policy that
//! fails while it decides denies.
//!
//! A question is about a model where one is named, and about the route else. What cannot be said before the body is read is
//! asked once it is parsed.

mod cache;
mod compile;
mod explain;
mod facts;
mod lists;
mod load;
mod reads;
mod rule;
mod schema;
mod table;
#[cfg(test)]
mod tests;
mod world;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cedar_policy::{AuthorizationError, Authorizer, Decision, Entities, EntityUid, PolicyId, Request, Response};
use parking_lot::RwLock;
use tollgate_core::call::ModelId;
use tollgate_core::identity::Identity;
use tollgate_core::ruling::Ruling;

use super::action::Foreseen;
use super::lists::Tenant;
use super::{Action, Asked, Late, forbidden};
use crate::routes::AuthNeed;
use cache::Cache;
pub use explain::{Explained, Imagined, Step};
use facts::Facts;
use reads::Reads;
use rule::Rule;
use table::{About, Partition, Place, Table};
use world::{ANYBODY, World};

/// The most stores of named callers that are kept.
const MOST_STORES: usize = 1_024;

/// Entities of named callers, by name and tenant.
type Stores = HashMap<(EntityUid, Box<str>), Arc<Entities>>;

/// Policies, ready to decide.
pub struct Policies {
    rules: Vec<Rule>,
    partitions: Vec<Partition>,
    world: World,
    tenants: HashMap<Box<str>, Home>,
    /// Principals that a policy names: clients, then workloads.
    named: [HashMap<Box<str>, Named>; 2],
    /// Stores of named callers, by name and tenant.
    stores: RwLock<Stores>,
    models: HashMap<Box<str>, ModelId>,
    authorizer: Authorizer,
    cache: Cache,
    failed: Arc<AtomicU64>,
}

/// A tenant.
struct Home {
    /// Those that no policy names share one.
    table: Arc<Table>,
    /// Whoever of it no policy names: a client, a workload.
    somebody: [EntityUid; 2],
}

/// A principal that a policy names.
struct Named {
    uid: EntityUid,
    /// What is for this principal alone.
    table: Table,
}

/// What a partition says to a question, in the order of its weight.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
enum Verdict {
    #[default]
    Silent,
    Permitted(u32),
    Forbidden(u32),
    /// Cedar passes over a policy that fails, a `forbid` as well; here it denies.
    Failed(u32),
}

/// Who asks, in the words of policies.
struct Seat<'a> {
    tenant: &'a str,
    uid: EntityUid,
    entities: Cow<'a, Arc<Entities>>,
    tables: [Option<&'a Table>; 2],
}

/// A question to policies.
struct Question<'a> {
    seat: Seat<'a>,
    facts: Facts<'a>,
    action: Action,
    /// Where it is written down what was asked and answered.
    told: Option<&'a RefCell<Vec<Step>>>,
}

impl Policies {
    pub(super) fn permit(&self, asked: &Asked<'_>, tenant: Option<&Tenant>, listed: bool) -> Ruling<()> {
        let (route, foreseen) = (asked.route(), Foreseen::of(asked));
        let action = match foreseen {
            Foreseen::Either => Action::Infer,
            Foreseen::Is(action) => action,
        };
        let Some(question) = self.question((asked, tenant), action, None) else { return Err(lost()) };
        if !asked.names_model() {
            let verdict = self.decide(&question, About::Route(route.index));
            return self.rule(verdict, listed, asked.who);
        }
        if let Some(model) = self.settles(question.seat.tables, asked, foreseen) {
            let listed = listed && tenant.is_none_or(|tenant| tenant.lists_model(model));
            return self.rule(self.decide_model(&question, model, route.index), listed, asked.who);
        }
        let heads = || question.seat.tables.iter().flatten().map(|table| table.head(foreseen, route.index));
        let verdicts = heads().map(|head| self.evaluate(head.forbids, &question, About::Route(route.index)));
        let verdict = verdicts.max().unwrap_or_default();
        self.rule(verdict, listed || heads().any(|head| head.could), asked.who)
    }

    /// Whether the head was told all that could be said of the use of `model`.
    pub(super) fn is_settled(&self, asked: &Asked<'_>, model: ModelId, late: &Late<'_>) -> bool {
        let foreseen = Foreseen::of(asked);
        let tables = self.tables(asked.who, asked.route().auth == AuthNeed::None);
        foreseen == Foreseen::Is(Action::of(asked, Some(late)))
            && asked.names_model()
            && self.settles(tables, asked, foreseen) == Some(model)
    }

    pub(super) fn use_model(
        &self,
        (asked, tenant): (&Asked<'_>, Option<&Tenant>),
        (model, listed): (ModelId, bool),
        late: Option<Late<'_>>,
    ) -> Ruling<()> {
        let action = Action::of(asked, late.as_ref());
        let Some(question) = self.question((asked, tenant), action, late) else { return Err(lost()) };
        self.rule(self.decide_model(&question, model, asked.route().index), listed, asked.who)
    }

    /// What the verdict of policies and the allow lists mean together.
    fn rule(&self, verdict: Verdict, listed: bool, who: &Identity) -> Ruling<()> {
        match verdict {
            Verdict::Permitted(_) => Ok(()),
            Verdict::Silent if listed => Ok(()),
            Verdict::Silent => {
                Err(forbidden(format_args!("neither a list nor a policy permits it to `{}`", who.tenant)))
            }
            Verdict::Forbidden(rule) => Err(forbidden(format_args!("policy `{}` forbids it", self.name(rule)))),
            Verdict::Failed(rule) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                Err(forbidden(format_args!("policy `{}` failed", self.name(rule))))
            }
        }
    }

    fn name(&self, rule: u32) -> &str {
        self.rules.get(rule as usize).map_or("", |rule| &rule.name)
    }

    fn question<'a>(
        &'a self,
        (asked, tenant): (&Asked<'a>, Option<&'a Tenant>),
        action: Action,
        late: Option<Late<'a>>,
    ) -> Option<Question<'a>> {
        let seat = self.seat(asked.who, tenant.is_none())?;
        let facts = Facts { who: asked.who, tenant, route: asked.route().index, at: asked.at, late };
        Some(Question { seat, facts, action, told: asked.told })
    }

    fn seat<'a>(&'a self, who: &'a Identity, open: bool) -> Option<Seat<'a>> {
        let tenant = if open { ANYBODY } else { &*who.tenant };
        let tables = self.tables(who, open);
        let workload = facts::is_workload(who);
        let Some(Named { uid, .. }) = self.named(who).filter(|_| !open) else {
            let uid = self.tenants.get(tenant)?.somebody.get(usize::from(workload && !open))?.clone();
            return Some(Seat { tenant, uid, entities: Cow::Borrowed(&self.world.entities), tables });
        };
        let entities = self.store(uid, tenant, (&who.principal, workload))?;
        Some(Seat { tenant, uid: uid.clone(), entities: Cow::Owned(entities), tables })
    }

    fn named(&self, who: &Identity) -> Option<&Named> {
        self.named.get(usize::from(facts::is_workload(who)))?.get(&who.principal)
    }

    /// `open` is a route that everybody may use: nobody is anybody there.
    fn tables<'a>(&'a self, who: &Identity, open: bool) -> [Option<&'a Table>; 2] {
        let tenant = self.tenants.get(if open { ANYBODY } else { &*who.tenant });
        [tenant.map(|home| &*home.table), self.named(who).filter(|_| !open).map(|named| &named.table)]
    }

    /// The store in which a named caller belongs to that tenant.
    fn store(&self, uid: &EntityUid, tenant: &str, (name, workload): (&str, bool)) -> Option<Arc<Entities>> {
        let key = (uid.clone(), tenant.into());
        if let Some(known) = self.stores.read().get(&key) {
            return Some(Arc::clone(known));
        }
        let built = Arc::new(self.world.with_caller(tenant, name, workload)?);
        let mut stores = self.stores.write();
        if stores.len() >= MOST_STORES {
            stores.clear();
        }
        stores.insert(key, Arc::clone(&built));
        Some(built)
    }

    /// The model of a request about which nothing remains to be asked once its head is judged.
    fn settles(&self, tables: [Option<&Table>; 2], asked: &Asked<'_>, foreseen: Foreseen) -> Option<ModelId> {
        let Foreseen::Is(action) = foreseen else { return None };
        let model = asked.pinned(|name| self.models.get(name).copied())?;
        let early = |place: Place| !self.partition(place).is_some_and(|partition| partition.reads.any(Reads::LATE));
        let settled = tables.iter().flatten().all(|table| {
            early(table.cell(action, About::Model(model))) && early(table.bound(action, asked.route().index))
        });
        settled.then_some(model)
    }

    fn partition(&self, place: Place) -> Option<&Partition> {
        self.partitions.get(place as usize).filter(|partition| partition.size > 0)
    }

    /// The whole question about a model: what is said of it, and what forbids its route.
    fn decide_model(&self, question: &Question<'_>, model: ModelId, route: usize) -> Verdict {
        let bound = question.seat.tables.iter().flatten().map(|table| {
            let bound = table.bound(question.action, route);
            self.evaluate(bound, question, About::Route(route))
        });
        bound.max().unwrap_or_default().max(self.decide(question, About::Model(model)))
    }

    fn decide(&self, question: &Question<'_>, about: About) -> Verdict {
        let cells = question.seat.tables.iter().flatten().map(|table| table.cell(question.action, about));
        cells.map(|place| self.evaluate(place, question, about)).max().unwrap_or_default()
    }

    /// What a partition says.
    fn evaluate(&self, place: Place, question: &Question<'_>, about: About) -> Verdict {
        let Some(partition) = self.partition(place) else { return Verdict::Silent };
        let Question { seat, facts, action, told } = question;
        if partition.reads.any(Reads::VOLATILE) || told.is_some() {
            return self.ask(partition, question, about);
        }
        let read = |fact: Reads| partition.reads.any(fact);
        let who = (seat.tenant, &seat.uid, read(Reads::MTLS) && facts.who.mtls);
        let what = (place, *action, about, read(Reads::ROUTE).then_some(facts.route));
        let scopes = read(Reads::SCOPES).then(|| facts.scopes().collect::<Vec<_>>());
        let models = read(Reads::MODELS).then_some(&facts.who.models);
        self.cache.find((who, what, scopes, models), || self.ask(partition, question, about))
    }

    fn ask(&self, partition: &Partition, question: &Question<'_>, about: About) -> Verdict {
        let Some(response) = self.respond(partition, question, about) else { return Verdict::Failed(u32::MAX) };
        let first = |ids: &mut dyn Iterator<Item = &PolicyId>| ids.map(place_of).min();
        let said = response.diagnostics();
        let mut failed = said.errors().map(failing);
        let verdict = match (first(&mut failed), first(&mut said.reason()), response.decision()) {
            (Some(failed), ..) => Verdict::Failed(failed),
            (None, Some(rule), Decision::Allow) => Verdict::Permitted(rule),
            (None, Some(rule), Decision::Deny) => Verdict::Forbidden(rule),
            (None, None, _) => Verdict::Silent,
        };
        if let Some(told) = question.told {
            told.borrow_mut().push(self.step(partition, question, about, &response));
        }
        verdict
    }

    fn respond(&self, partition: &Partition, question: &Question<'_>, about: About) -> Option<Response> {
        let Question { seat, facts, action, .. } = question;
        let resource = match about {
            About::Model(model) => self.world.model(model.index()),
            About::Route(route) => self.world.route(route),
        };
        let context = facts.tell(partition.reads, *action, &self.world)?;
        let action = self.world.action(*action)?.clone();
        let request = Request::new(seat.uid.clone(), action, resource?.clone(), context, None).ok()?;
        Some(self.authorizer.is_authorized(&request, &partition.set, &seat.entities))
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies").field("rules", &self.rules.len()).finish_non_exhaustive()
    }
}

/// The policy that failed.
fn failing(error: &AuthorizationError) -> &PolicyId {
    let AuthorizationError::PolicyEvaluationError(error) = error;
    error.policy_id()
}

/// Ids of policies are their places.
fn place_of(id: &PolicyId) -> u32 {
    let id: &str = id.as_ref();
    id.parse().unwrap_or(u32::MAX)
}

/// A request that could not be put into words is not allowed.
fn lost() -> tollgate_core::ruling::Stop {
    forbidden("it could not be put to the policies")
}
