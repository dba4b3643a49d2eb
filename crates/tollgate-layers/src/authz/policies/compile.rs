//! From the section and the files that it names to policies that decide.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::Authorizer;
use parking_lot::RwLock;
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_limit::Zone;

use super::cache::Cache;
use super::load::Loader;
use super::rule::{Principal, Resource, Rule};
use super::table::Builder;
use super::world::{ANYBODY, Place, World};
use super::{Home, Named, Policies, schema};
use crate::authz::{Action, AuthzConfig, PolicyNames, attributes};

/// Names of the types of callers, in the order of [`Policies::named`].
const CALLERS: [&str; 2] = ["Client", "Workload"];

impl Policies {
    /// Reports every mistake, each with its place, then builds what decides. `check` stands in the section.
    pub(in crate::authz) fn compile(
        config: &AuthzConfig,
        check: &mut Checker,
        names: &PolicyNames<'_>,
    ) -> Option<Self> {
        let place = place(config, check);
        let groups = &config.model_groups;
        check_groups(groups, names, check);
        let kinds = attributes::kinds(names.tenants, &mut Checker::default());
        let text = schema::text(kinds.iter().map(|(name, kind)| (name.as_str(), *kind)));
        let schema = schema::parse(&text).map_err(|why| check.problem("policies", why)).ok()?;
        let known = |kind: &str, id: &str| is_known(kind, id, (groups, names));
        let rules = Loader::new(names.source, schema, &known).load(&config.policies, check);
        for rule in
            rules.iter().filter(|rule| Action::ALL.iter().all(|of| rule.is_about(*of) == (*of == Action::Admin)))
        {
            let why = format!(
                "policy `{}` is about `admin` alone: the admin listener asks no policy, it has a key",
                rule.name
            );
            check.warn("policies", why);
        }
        let find = |resource: &Resource| models_of(resource, groups, names.models);
        let mut builder = Builder::new(&rules, names.routes, names.models.len(), find);
        let world = World::new(names, groups, place)?;
        let tenants = tenants(&rules, names, (&mut builder, &world));
        let named = named(&rules, &mut builder);
        let partitions = builder.finish(check);
        warn_of_routes(&rules, names, check);
        let models = names.models.iter().map(|(name, id)| (name.as_str().into(), *id)).collect();
        Some(Self {
            partitions,
            world,
            tenants,
            named,
            stores: RwLock::default(),
            models,
            authorizer: Authorizer::new(),
            cache: Cache::default(),
            failed: Arc::clone(&names.failed),
            rules,
        })
    }
}

fn place(config: &AuthzConfig, check: &mut Checker) -> Place {
    let utc = || Zone::named("UTC").expect("UTC is built in");
    let zone = config.time_zone.as_deref().map(Zone::named);
    let zone = zone.map_or_else(utc, |zone| {
        zone.unwrap_or_else(|unknown| {
            check.problem("time_zone", unknown.to_string());
            utc()
        })
    });
    Place { zone, region: config.region.as_deref().unwrap_or_default().into() }
}

fn check_groups(groups: &BTreeMap<String, Vec<String>>, names: &PolicyNames<'_>, check: &mut Checker) {
    check.within("model_groups", |check| {
        for (group, models) in groups {
            check.require(!group.is_empty() && group.len() <= 128, group.as_str(), "a name has 1 to 128 bytes");
            let mut seen = BTreeSet::new();
            check.within(group.as_str(), |check| {
                for (i, model) in models.iter().enumerate() {
                    check.require(names.models.contains_key(model), i, format!("`{model}` is not a model"));
                    check.require(seen.insert(model), i, format!("`{model}` is listed twice"));
                }
            });
        }
    });
}

/// Whether policies may name such a thing.
fn is_known(kind: &str, id: &str, (groups, names): (&BTreeMap<String, Vec<String>>, &PolicyNames<'_>)) -> bool {
    match kind {
        "Model" => names.models.contains_key(id),
        "ModelGroup" => groups.contains_key(id),
        "Route" => names.routes.iter().any(|route| *route.name == *id),
        "Tenant" => id == ANYBODY || names.tenants.contains_key(id),
        // Whoever holds a credential. No name that stands for somebody else is taken.
        _ => !id.contains(char::is_control),
    }
}

fn models_of(
    resource: &Resource,
    groups: &BTreeMap<String, Vec<String>>,
    models: &BTreeMap<String, ModelId>,
) -> Vec<ModelId> {
    match resource {
        Resource::Group(name) => {
            groups.get(&**name).into_iter().flatten().filter_map(|model| models.get(model).copied()).collect()
        }
        Resource::Model(name) => models.get(&**name).copied().into_iter().collect(),
        _ => Vec::new(),
    }
}

fn places(rules: &[Rule], mut wanted: impl FnMut(&Rule) -> bool) -> Vec<u32> {
    (0..).zip(rules).filter(|(_, rule)| wanted(rule)).map(|(place, _)| place).collect()
}

/// A table for each tenant that a policy names, and one for all the others.
fn tenants(
    rules: &[Rule],
    names: &PolicyNames<'_>,
    (builder, world): (&mut Builder<'_>, &World),
) -> HashMap<Box<str>, Home> {
    let everybody = places(rules, |rule| rule.principal == Principal::Anybody);
    let rest = Arc::new(builder.table("a tenant that no policy names", &everybody));
    let mut own: HashMap<&str, Vec<u32>> = HashMap::new();
    for (place, rule) in (0..).zip(rules) {
        if let Principal::Tenant(tenant) = &rule.principal {
            own.entry(tenant).or_default().push(place);
        }
    }
    let home = |tenant: &str| {
        let mine = own.get(tenant).map(|mine| {
            let mut mine: Vec<u32> = mine.iter().chain(&everybody).copied().collect();
            mine.sort_unstable();
            Arc::new(builder.table(&format!("tenant `{tenant}`"), &mine))
        });
        let somebody = [false, true].map(|workload| world.somebody(tenant, workload));
        (tenant.into(), Home { table: mine.unwrap_or_else(|| Arc::clone(&rest)), somebody })
    };
    names.tenants.keys().map(String::as_str).chain([ANYBODY]).map(home).collect()
}

/// Every caller that a policy names, with what is for that one alone.
fn named(rules: &[Rule], builder: &mut Builder<'_>) -> [HashMap<Box<str>, Named>; 2] {
    CALLERS.map(|kind| {
        let literals = rules.iter().flat_map(|rule| rule.policy.entity_literals());
        let callers: BTreeSet<_> = literals.filter(|uid| uid.type_name().basename() == kind).collect();
        let mut own: HashMap<_, Vec<u32>> = HashMap::new();
        for (place, rule) in (0..).zip(rules) {
            if let Principal::One(uid) = &rule.principal {
                own.entry(uid).or_default().push(place);
            }
        }
        let named = callers.into_iter().map(|uid| {
            let mine = own.get(&uid).map(Vec::as_slice).unwrap_or_default();
            let table = builder.table(&format!("`{uid}`"), mine);
            (uid.id().unescaped().into(), Named { uid, table })
        });
        named.collect()
    })
}

/// A permission to use a route that serves models says nothing of the models.
fn warn_of_routes(rules: &[Rule], names: &PolicyNames<'_>, check: &mut Checker) {
    let serves = |name: &str| names.routes.iter().any(|route| *route.name == *name && !route.models.is_empty());
    let calls = [Action::Embed, Action::Infer, Action::Stream];
    for rule in rules.iter().filter(|rule| !rule.forbids() && calls.iter().any(|action| rule.is_about(*action))) {
        if let Resource::Route(route) = &rule.resource
            && serves(route)
        {
            let hint = format!("say `when {{ context.route == Route::\"{route}\" }}`, and name models as the resource");
            let why = format!("policy `{}` permits no call: on route `{route}` calls are about models", rule.name);
            check.within("policies", |check| check.warn_here(why, hint));
        }
    }
}
