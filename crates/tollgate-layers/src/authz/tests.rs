//! What no rule allows is denied.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use proptest::prelude::{Strategy, any, proptest};
use serde::Deserialize;
use tollgate_core::call::ModelId;
use tollgate_core::check::{Checker, Problem};
use tollgate_core::guard::{Mode, OnFault, Switch};
use tollgate_core::identity::{Identity, Method, Person};
use tollgate_core::ruling::{Ruling, Stop};

use super::{Asked, Authz, AuthzConfig, Occasion, Scope, TenantConfig, TenantNames, compile};
use crate::routes::{self, Found, RouteConfig, RouteNames, Routes, Verb};

const NOWHERE: Occasion = Occasion { from: IpAddr::V4(Ipv4Addr::LOCALHOST), unix_ms: 0 };

const ROUTES: &str = "
- { name: oip, path: '/v2/{*rest}', protocol: oip, models: [digits, text] }
- { name: fraud, path: /predict, protocol: plain, models: [fraud] }
- { name: raw, path: '/raw/{*rest}', protocol: none, upstream: mock }
- { name: open, path: /open, protocol: plain, models: [fraud], auth: none }
- { name: health, path: /health, protocol: health }
";

fn models() -> BTreeMap<String, ModelId> {
    let names = ["digits", "fraud", "text", "unused"];
    (0..).zip(names).map(|(place, name)| (name.to_owned(), ModelId(place))).collect()
}

fn all_routes() -> Routes {
    let config: Vec<RouteConfig> = serde_saphyr::from_str(ROUTES).expect("it parses");
    let upstreams = BTreeMap::from([("mock".to_owned(), 0)]);
    let mut check = Checker::default();
    let names = RouteNames { models: &models(), upstreams: &upstreams, classes: &BTreeSet::new() };
    let routes = routes::compile(&config, &mut check, &names);
    assert!(check.is_clean());
    routes
}

/// Compiles tenants as the gateway would; problems and warnings come as `place: message`.
fn built(tenants: &BTreeMap<String, TenantConfig>) -> (Authz, Vec<String>, Vec<String>) {
    let (models, routes) = (models(), all_routes());
    let budgets = BTreeSet::from(["gold".to_owned()]);
    let policies = tenants.values().any(|tenant| !tenant.attributes.is_empty());
    let names = TenantNames { models: &models, routes: routes.all(), budgets: &budgets, policies };
    let mut check = Checker::default();
    let authz = compile(tenants, &mut check, &names);
    let (problems, warnings) = check.finish();
    (authz, problems.iter().map(told).collect(), warnings.iter().map(told).collect())
}

fn told(problem: &Problem) -> String {
    let path: Vec<_> = problem.path.iter().map(ToString::to_string).collect();
    format!("{}: {}", path.join("."), problem.message)
}

fn caller(tenant: Option<&str>, scopes: &[String], models: &[String]) -> Identity {
    let boxed = |list: &[String]| list.iter().map(|text| text.as_str().into()).collect();
    tenant.map_or_else(Identity::anonymous, |tenant| {
        Identity::new(Person {
            principal: "key".into(),
            tenant: tenant.into(),
            scopes: boxed(scopes),
            models: boxed(models),
            method: Method::ApiKey,
            ..Person::default()
        })
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    given: BTreeMap<String, TenantConfig>,
    steps: Vec<Step>,
}

/// One question: `permit` without a model, `use_model` with one, `administer` where it says so.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    tenant: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    models: Vec<String>,
    route: Option<String>,
    #[serde(default)]
    verb: Word,
    model: Option<String>,
    #[serde(default)]
    admin: bool,
    is: String,
    because: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Health,
    #[default]
    Infer,
    Metadata,
    Proxy,
}

impl Step {
    fn ask(&self, authz: &Authz, routes: &Routes) -> Ruling<()> {
        let who = caller(self.tenant.as_deref(), &self.scopes, &self.models);
        if self.admin {
            return authz.administer(&who);
        }
        let name = self.route.as_deref().expect("a question is about a route");
        let route = routes.all().iter().find(|route| &*route.name == name).expect("the route is there");
        let found = Found { route, verb: self.verb.verb(), model: None };
        let asked = Asked::new(&who, &found, "/", NOWHERE);
        match &self.model {
            Some(model) => authz.may_use(&asked, models()[model], None),
            None => authz.permit(&asked),
        }
    }
}

impl Word {
    const fn verb(self) -> Verb {
        match self {
            Self::Health => Verb::Health,
            Self::Infer => Verb::Infer,
            Self::Metadata => Verb::ModelMetadata,
            Self::Proxy => Verb::Proxy,
        }
    }
}

#[test]
fn every_case_of_the_folder_holds() {
    let routes = all_routes();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/authz/cases");
    let mut steps = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let case: Case = serde_saphyr::from_str(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let (authz, problems, _) = built(&case.given);
        assert_eq!(problems, Vec::<String>::new(), "{}", case.what);
        for (i, step) in case.steps.iter().enumerate() {
            let place = format!("{}, step {i}", case.what);
            let (verdict, why) = match step.ask(&authz, &routes) {
                Ok(()) => ("ok", None),
                Err(Stop::Refuse(refusal)) => (refusal.code.name(), Some(refusal.evidence().to_owned())),
                Err(Stop::Fault(fault)) => panic!("{place}: {}", fault.evidence()),
            };
            assert_eq!(verdict, step.is, "{place}: {why:?}");
            assert_eq!(why, step.because, "{place}");
        }
        steps += case.steps.len();
    }
    assert!(steps > 40, "only {steps} steps were found");
}

#[test]
fn a_gate_without_tenants_permits_nobody() {
    let routes = all_routes();
    let authz = Authz::default();
    let who = caller(Some("acme"), &[], &[]);
    for route in routes.all() {
        let found = Found { route, verb: Verb::Infer, model: None };
        let permitted = authz.permit(&Asked::new(&who, &found, "/", NOWHERE)).is_ok();
        assert_eq!(permitted, matches!(&*route.name, "open" | "health"), "{}", route.name);
    }
    let found = Found { route: &routes.all()[0], verb: Verb::Infer, model: None };
    let asked = Asked::new(&who, &found, "/", NOWHERE);
    authz.may_use(&asked, ModelId(u32::MAX), None).expect_err("there is no such model");
}

#[test]
fn every_mistake_is_reported() {
    let yaml = "
'a b': {}
anonymous: {}
acme: { models: [digits, nobody, digits, unused], routes: [oip, oip, nowhere, fraud, health], budgets: [gold, tin], weight: 0 }
globex: { models: [fraud], routes: [raw], scopes: [list, list], weight: 1001 }
";
    let tenants: BTreeMap<String, TenantConfig> = serde_saphyr::from_str(yaml).expect("it parses");
    let (_, problems, warnings) = built(&tenants);
    assert_eq!(
        problems,
        [
            "a b: `a b` is not 1 to 64 of letters, digits, `_`, `-`, `.`",
            "acme.models.1: `nobody` is not a model",
            "acme.models.2: `digits` is listed twice",
            "acme.routes.1: `oip` is listed twice",
            "acme.routes.2: `nowhere` is not a route",
            "acme.budgets.1: `tin` is not a budget",
            "acme.weight: a weight is a number from 1 to 1000",
            "anonymous: `anonymous` is who asks without a credential",
            "globex.scopes.1: `list` is listed twice",
            "globex.weight: a weight is a number from 1 to 1000",
        ]
    );
    assert_eq!(
        warnings,
        [
            "acme.routes.3: route `fraud` serves no model of this tenant",
            "acme.routes.4: anybody may use route `health`: there is no need to list it",
            "acme.models.3: no route of this tenant serves `unused`",
            "globex.models.0: no route of this tenant serves `fraud`",
        ]
    );
}

#[test]
fn failing_open_is_refused_and_not_enforcing_is_warned_of() {
    let switch = |yaml: &str| {
        let config: AuthzConfig = serde_saphyr::from_str(yaml).expect("it parses");
        let mut check = Checker::default();
        let switch = config.switch(&mut check);
        let (problems, warnings) = check.finish();
        (switch, problems.iter().map(told).collect::<Vec<_>>(), warnings.len())
    };
    assert_eq!(switch("{}"), (Switch::default(), vec![], 0));
    let (open, problems, _) = switch("{ on_fault: open }");
    assert_eq!(open.on_fault, OnFault::Close);
    assert_eq!(problems, ["on_fault: `authz` cannot fail open"]);
    assert_eq!(switch("{ mode: observe }"), (Switch { mode: Mode::Observe, on_fault: OnFault::Close }, vec![], 1));
    assert_eq!(switch("{ mode: off }"), (Switch { mode: Mode::Off, on_fault: OnFault::Close }, vec![], 1));
}

#[test]
fn a_tenant_weighs_one_unless_it_says_otherwise() {
    let tenant: TenantConfig = serde_saphyr::from_str("{}").expect("it parses");
    assert_eq!((tenant.weight, TenantConfig::default().weight), (1, 1));
}

#[test]
fn the_blocks_of_the_page_load() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        authz: AuthzConfig,
        tenants: BTreeMap<String, TenantConfig>,
    }
    let blocks: Vec<&str> = include_str!("README.md").split("```yaml\n").skip(1).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let page: Page = serde_saphyr::from_str(block.split("```").next().expect("a block ends")).expect("it parses");
        let mut check = Checker::default();
        assert_eq!(page.authz.switch(&mut check), Switch::default());
        assert!(check.is_clean());
        let (_, problems, warnings) = built(&page.tenants);
        assert_eq!((problems, warnings), (vec![], vec![]));
    }
}

/// Some of the words, in any order.
fn some(words: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(proptest::sample::select(words), 0..4)
        .prop_map(|list| list.into_iter().map(str::to_owned).collect())
}

proptest! {
    /// The rules once more, as a sentence over the configuration instead of compiled tables.
    #[test]
    fn whatever_is_permitted_follows_from_the_configuration(
        allowed in some(&["digits", "fraud", "text", "unused"]),
        listed in proptest::option::of(some(&["oip", "fraud", "raw"])),
        scopes in some(&["admin", "infer", "list"]),
        held in some(&["digits", "fraud", "text", "other"]),
        place in 0_usize..3,
        model in 0_u32..5,
        infer in any::<bool>(),
    ) {
        let routes = all_routes();
        let route = &routes.all()[place];
        let mut config = TenantConfig { models: allowed, routes: listed, ..TenantConfig::default() };
        config.models.sort();
        config.models.dedup();
        if let Some(routes) = &mut config.routes {
            routes.sort();
            routes.dedup();
        }
        let (authz, problems, _) = built(&BTreeMap::from([("acme".to_owned(), config.clone())]));
        assert_eq!(problems, Vec::<String>::new());
        let who = caller(Some("acme"), &scopes, &held);

        let name_of = |id: &ModelId| models().into_iter().find(|(_, known)| known == id).map(|(name, _)| name);
        let serves_mine = route.models.iter().filter_map(name_of).any(|name| config.models.contains(&name));
        let may_route = config.routes.as_ref().map_or(serves_mine, |listed| listed.iter().any(|name| **name == *route.name));
        let has = |scope: Scope| scopes.is_empty() || scopes.iter().any(|held| held == scope.name());
        let may_verb = has(Scope::Infer) || (!infer && has(Scope::List));
        let verb = if infer { Verb::Infer } else { Verb::ServerReady };
        let found = Found { route, verb, model: None };
        let asked = Asked::new(&who, &found, "/", NOWHERE);
        assert_eq!(authz.permit(&asked).is_ok(), may_route && may_verb);

        let id = ModelId(model);
        let may_model = route.models.contains(&id)
            && name_of(&id).is_some_and(|name| config.models.contains(&name) && (held.is_empty() || held.contains(&name)));
        assert_eq!(authz.may_use(&asked, id, None).is_ok(), may_model);
    }
}
