//! The things that policies speak of, as Cedar wants them.
//!
//! Who asks stands for many: a policy can tell callers of one tenant apart by their names alone, so all those whom no policy
//! names are the same entity, and no store has to be built for a request.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression as Word};
use tollgate_limit::Zone;

use crate::authz::{Action, Attribute, PolicyNames};

/// Whom nobody has to prove to be.
pub(super) const ANYBODY: &str = "anonymous";

/// What policies speak of.
pub(super) struct World {
    models: Vec<EntityUid>,
    routes: Vec<EntityUid>,
    actions: Vec<EntityUid>,
    types: Types,
    zone: Zone,
    pub(super) region: Box<str>,
    /// Groups, models and routes.
    things: Vec<Entity>,
    tenants: HashMap<Box<str>, Entity>,
    /// Everything, with somebody of each tenant.
    pub(super) entities: Arc<Entities>,
}

struct Types {
    client: EntityTypeName,
    model: EntityTypeName,
    tenant: EntityTypeName,
    workload: EntityTypeName,
}

/// What a gateway is told of itself for its policies.
pub(super) struct Place {
    pub(super) zone: Zone,
    pub(super) region: Box<str>,
}

impl World {
    /// `None` if Cedar would not have it, which is a mistake of ours.
    pub(super) fn new(
        names: &PolicyNames<'_>,
        groups: &BTreeMap<String, Vec<String>>,
        Place { zone, region }: Place,
    ) -> Option<Self> {
        let kind = |name: &str| name.parse::<EntityTypeName>().ok();
        let types = Types {
            client: kind("Client")?,
            model: kind("Model")?,
            tenant: kind("Tenant")?,
            workload: kind("Workload")?,
        };
        let (group, route, action) = (kind("ModelGroup")?, kind("Route")?, kind("Action")?);
        let mut models: Vec<EntityUid> = Vec::new();
        let mut things: Vec<Entity> = groups.keys().map(|name| Entity::with_uid(uid(&group, name))).collect();
        let mut named: Vec<_> = names.models.iter().collect();
        named.sort_by_key(|(_, id)| **id);
        for (name, _) in named {
            let of = groups.iter().filter(|(_, models)| models.contains(name)).map(|(of, _)| uid(&group, of));
            models.push(uid(&types.model, name));
            things.push(Entity::new_no_attrs(uid(&types.model, name), of.collect()));
        }
        let routes: Vec<EntityUid> = names.routes.iter().map(|of| uid(&route, &of.name)).collect();
        things.extend(routes.iter().cloned().map(Entity::with_uid));
        let mut tenants: HashMap<Box<str>, Entity> =
            HashMap::from([(ANYBODY.into(), Entity::with_uid(uid(&types.tenant, ANYBODY)))]);
        for (name, tenant) in names.tenants {
            let attributes = tenant.attributes.iter().map(|(name, attribute)| (name.clone(), word(attribute)));
            let entity = Entity::new(uid(&types.tenant, name), attributes.collect(), HashSet::new()).ok()?;
            tenants.insert(name.as_str().into(), entity);
        }
        let mut all: Vec<Entity> = things.iter().chain(tenants.values()).cloned().collect();
        for tenant in tenants.keys() {
            for workload in [false, true] {
                all.push(types.caller(tenant, &somebody(tenant), workload)?);
            }
        }
        let entities = Arc::new(Entities::from_entities(all, None).ok()?);
        let actions = Action::ALL.iter().map(|of| uid(&action, of.name())).collect();
        Some(Self { models, routes, actions, types, zone, region, things, tenants, entities })
    }

    pub(super) fn model(&self, place: usize) -> Option<&EntityUid> {
        self.models.get(place)
    }

    pub(super) fn route(&self, place: usize) -> Option<&EntityUid> {
        self.routes.get(place)
    }

    pub(super) fn action(&self, action: Action) -> Option<&EntityUid> {
        self.actions.get(action as usize)
    }

    pub(super) fn name_model(&self, name: &str) -> EntityUid {
        uid(&self.types.model, name)
    }

    /// Somebody of a tenant, whom no policy names.
    pub(super) fn somebody(&self, tenant: &str, workload: bool) -> EntityUid {
        uid(self.types.of(workload), &somebody(tenant))
    }

    /// The hour of the day.
    pub(super) fn hour(&self, unix_ms: u64) -> i64 {
        self.zone.hour(unix_ms / 1000).into()
    }

    /// Everything that a decision about `caller` of `tenant` can touch. Slow: it is built anew.
    pub(super) fn with_caller(&self, tenant: &str, caller: &str, workload: bool) -> Option<Entities> {
        let caller = self.types.caller(tenant, caller, workload)?;
        let all = self.things.iter().chain(self.tenants.get(tenant)).cloned().chain([caller]);
        Entities::from_entities(all, None).ok()
    }
}

impl Types {
    const fn of(&self, workload: bool) -> &EntityTypeName {
        if workload { &self.workload } else { &self.client }
    }

    fn caller(&self, tenant: &str, name: &str, workload: bool) -> Option<Entity> {
        let of = uid(&self.tenant, tenant);
        let attributes = HashMap::from([("tenant".to_owned(), Word::new_entity_uid(of.clone()))]);
        Entity::new(uid(self.of(workload), name), attributes, HashSet::from([of])).ok()
    }
}

/// No name of a principal in a policy may look like this: the loader refuses it.
fn somebody(tenant: &str) -> String {
    format!("\0{tenant}")
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn word(attribute: &Attribute) -> Word {
    match attribute {
        Attribute::Flag(flag) => Word::new_bool(*flag),
        Attribute::Number(number) => Word::new_long(*number),
        Attribute::Text(text) => Word::new_string(text.clone()),
        Attribute::Texts(texts) => Word::new_set(texts.iter().cloned().map(Word::new_string)),
    }
}
