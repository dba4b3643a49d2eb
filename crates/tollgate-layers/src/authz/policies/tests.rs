//! Policies add to the lists and take from them; what fails denies; what is wrong is not loaded.

mod differential;
mod loading;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tollgate_core::call::{Call, Dialect, Knobs, Media, ModelId};
use tollgate_core::check::{Checker, Problem};
use tollgate_core::identity::{Identity, Method, Person};
use tollgate_core::ruling::{Ruling, Stop};

use crate::authz::{Asked, Authz, AuthzConfig, Late, Occasion, PolicyNames, TenantConfig, TenantNames, compile};
use crate::routes::{self, Found, RouteConfig, RouteNames, Routes, Verb};
use crate::waf::Source;

const ROUTES: &str = "
- { name: oip, path: '/v2/{*rest}', protocol: oip, models: [digits, text] }
- { name: fraud, path: /predict, protocol: plain, models: [fraud] }
- { name: raw, path: '/raw/{*rest}', protocol: none, upstream: mock }
- { name: open, path: /open, protocol: plain, models: [fraud], auth: none }
- { name: chat, path: '/v1/{*rest}', protocol: openai, models: [text, digits] }
";
const TENANTS: &str = "
acme: { models: [digits, fraud], attributes: { tier: gold, most: 9223372036854775807 } }
globex: { models: [text], routes: [chat, raw], attributes: { tier: tin } }
initech: { scopes: [list] }
hooli: { }
";
/// The same without what only policies read.
const PLAIN: &str = "
acme: { models: [digits, fraud] }
globex: { models: [text], routes: [chat, raw] }
initech: { scopes: [list] }
hooli: { }
";
const AUTHZ: &str = "
policies: ['*.cedar']
region: eu
time_zone: '+01:00'
model_groups: { small: [digits, fraud] }
";
const PLACE: Occasion = Occasion { from: IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)), unix_ms: 9 * 3_600_000 };

/// Files in memory.
struct Files(Vec<(&'static str, String)>);

impl Source for Files {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let found = self.0.iter().find(|(name, _)| *name == path);
        found.map(|(_, text)| text.clone().into_bytes()).ok_or_else(|| "it cannot be read".to_owned())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        let all = self.0.iter().map(|(name, _)| (*name).to_owned());
        Ok(all.filter(|name| pattern == "*.cedar" || name == pattern).collect())
    }
}

fn models() -> BTreeMap<String, ModelId> {
    (0..).zip(["digits", "fraud", "text"]).map(|(place, name)| (name.to_owned(), ModelId(place))).collect()
}

fn all_routes() -> Routes {
    let config: Vec<RouteConfig> = serde_saphyr::from_str(ROUTES).expect("it parses");
    let upstreams = BTreeMap::from([("mock".to_owned(), 0)]);
    let mut check = Checker::default();
    let names = RouteNames { models: &models(), upstreams: &upstreams, classes: &BTreeSet::new() };
    routes::compile(&config, &mut check, &names)
}

fn told(problem: &Problem) -> String {
    match &problem.place {
        Some(place) => format!("{}:{}:{}: {}", place.file, place.line, place.column, problem.message),
        None => {
            let path: Vec<_> = problem.path.iter().map(ToString::to_string).collect();
            format!("{}: {}", path.join("."), problem.message)
        }
    }
}

/// What the gateway does with a configuration: the layer, what failed while deciding, problems, warnings.
struct Built {
    authz: Authz,
    routes: Routes,
    failed: Arc<AtomicU64>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

fn built_from(tenants: &str, authz: &str, files: Vec<(&'static str, String)>) -> Built {
    let tenants: BTreeMap<String, TenantConfig> = serde_saphyr::from_str(tenants).expect("it parses");
    let config: AuthzConfig = serde_saphyr::from_str(authz).expect("it parses");
    let (models, routes, budgets, mut check) = (models(), all_routes(), BTreeSet::new(), Checker::default());
    let policies = !config.policies.is_empty();
    let names = TenantNames { models: &models, routes: routes.all(), budgets: &budgets, policies };
    let layer = check.within("tenants", |check| compile(&tenants, check, &names));
    let failed = Arc::<AtomicU64>::default();
    let source = &Files(files);
    let names =
        PolicyNames { tenants: &tenants, models: &models, routes: routes.all(), source, failed: Arc::clone(&failed) };
    let authz = check.within("authz", |check| layer.with(config.policies(check, &names)));
    let (problems, warnings) = check.finish();
    let said = |list: &[Problem]| list.iter().map(told).collect();
    let (problems, warnings) = (said(&problems), said(&warnings));
    Built { authz, failed, problems, warnings, routes }
}

fn built(policies: &str) -> Built {
    let built = built_from(TENANTS, AUTHZ, vec![("all.cedar", policies.to_owned())]);
    assert_eq!(built.problems, Vec::<String>::new(), "{policies}");
    built
}

fn caller(tenant: &str, principal: &str) -> Person {
    Person { principal: principal.into(), tenant: tenant.into(), method: Method::ApiKey, ..Person::default() }
}

/// A request as the gateway asks about it.
#[derive(Clone)]
struct Request {
    who: Identity,
    route: &'static str,
    verb: Verb,
    /// The model that the path names.
    named: Option<&'static str>,
    path: &'static str,
    /// The model that is found in the end.
    model: Option<&'static str>,
    call: Call,
    cost: u64,
    at: Occasion,
}

impl Request {
    fn chat(who: Person, model: &'static str) -> Self {
        Self {
            who: Identity::new(who),
            route: "chat",
            verb: Verb::Infer,
            named: None,
            path: "/v1/chat/completions",
            model: Some(model),
            call: Call { dialect: Dialect::OpenAi, body_bytes: 64, ..Call::default() },
            cost: 40,
            at: PLACE,
        }
    }

    fn oip(who: Person, model: &'static str) -> Self {
        Self { route: "oip", path: "/v2/x", named: Some(model), ..Self::chat(who, model) }
    }

    /// The head's answer, then that of the call.
    fn ask(&self, Built { authz, routes, .. }: &Built) -> Ruling<()> {
        let route = routes.all().iter().find(|route| *route.name == *self.route).expect("the route is there");
        let found = Found { route, verb: self.verb, model: self.named };
        let asked = Asked::new(&self.who, &found, self.path, self.at);
        authz.permit(&asked)?;
        let late = Late::Parsed { call: &self.call, cost: &|| self.cost };
        self.model.map_or(Ok(()), |model| authz.use_model(&asked, models()[model], late))
    }

    fn why(&self, built: &Built) -> String {
        match self.ask(built) {
            Ok(()) => "ok".to_owned(),
            Err(Stop::Refuse(refusal)) => refusal.evidence().to_owned(),
            Err(Stop::Fault(fault)) => panic!("{}", fault.evidence()),
        }
    }
}

#[test]
fn a_permit_adds_to_the_lists_and_a_forbid_takes_from_them() {
    let of = built(
        "@id(\"more\") permit(principal in Tenant::\"acme\", action == Action::\"infer\", resource == Model::\"text\");
         @id(\"less\") forbid(principal in Tenant::\"acme\", action, resource == Model::\"fraud\");",
    );
    let acme = || caller("acme", "a");
    assert_eq!(Request::oip(acme(), "digits").why(&of), "ok", "listed");
    assert_eq!(Request::oip(acme(), "text").why(&of), "ok", "permitted");
    assert_eq!(Request::chat(acme(), "text").why(&of), "ok", "permitted, though its body names it");
    let fraud = Request { route: "fraud", named: None, ..Request::oip(acme(), "fraud") };
    assert_eq!(fraud.why(&of), "policy `less` forbids it");
    let neither = "neither a list nor a policy permits it to `hooli`";
    assert_eq!(Request::oip(caller("hooli", "h"), "text").why(&of), neither);
    let streamed = Request { verb: Verb::Stream, ..Request::oip(acme(), "text") };
    assert_eq!(streamed.why(&of), "neither a list nor a policy permits it to `acme`", "`infer` is not `stream`");
}

#[test]
fn the_body_decides_which_model_and_whether_it_streams() {
    let of = built(
        "@id(\"whole\") permit(principal in Tenant::\"hooli\", action == Action::\"infer\", resource == Model::\"text\");
         @id(\"small\") forbid(principal, action, resource) when { context has payload && context.payload.bytes > 100 };",
    );
    let chat = |model| Request::chat(caller("hooli", "h"), model);
    let route = of.routes.all().iter().find(|route| &*route.name == "chat").expect("it is there");
    let (who, found) = (Identity::new(caller("hooli", "h")), Found { route, verb: Verb::Infer, model: None });
    let asked = Asked::new(&who, &found, "/v1/chat/completions", PLACE);
    of.authz.permit(&asked).expect("something might be permitted");
    assert_eq!(chat("text").why(&of), "ok");
    assert_eq!(chat("digits").why(&of), "neither a list nor a policy permits it to `hooli`");
    let mut streamed = chat("text");
    streamed.call.knobs = Knobs { stream: true, ..Knobs::default() };
    assert_eq!(streamed.why(&of), "neither a list nor a policy permits it to `hooli`");
    let mut large = chat("text");
    large.call.body_bytes = 101;
    assert_eq!(large.why(&of), "policy `small` forbids it");
    let embedding = Asked::new(&who, &found, "/v1/embeddings", PLACE);
    of.authz.permit(&embedding).expect_err("no policy permits to embed: said before the body is read");
}

#[test]
fn what_the_head_settled_is_not_asked_again_and_what_it_could_not_is() {
    let early = built(
        "permit(principal in Tenant::\"hooli\", action, resource == Model::\"text\") when { context.hour == 10 };",
    );
    let late = built(
        "permit(principal in Tenant::\"hooli\", action, resource == Model::\"text\")
         when { context has cost && context.cost < 50 };",
    );
    for (of, settled) in [(early, true), (late, false)] {
        let request = Request::oip(caller("hooli", "h"), "text");
        let route = of.routes.all().iter().find(|route| &*route.name == "oip").expect("it is there");
        let found = Found { route, verb: Verb::Infer, model: Some("text") };
        let asked = Asked::new(&request.who, &found, "/v2/x", PLACE);
        let calls = AtomicU64::new(0);
        let late = Late::Parsed { call: &request.call, cost: &|| calls.fetch_add(1, Ordering::Relaxed) };
        let policies = of.authz.policies.as_ref().expect("there are");
        assert_eq!(policies.is_settled(&asked, models()["text"], &late), settled);
        assert!(!policies.is_settled(&asked, models()["digits"], &late), "that is another model");
        of.authz.permit(&asked).expect("it may");
        of.authz.use_model(&asked, models()["text"], late).expect("it may");
        assert_eq!(calls.load(Ordering::Relaxed), u64::from(!settled), "a price is worked out if it is asked for");
        let dear = Request { cost: 50, ..request };
        assert_eq!(dear.ask(&of).is_ok(), settled);
    }
}

#[test]
fn an_erring_policy_denies_and_is_counted() {
    for effect in ["permit", "forbid"] {
        let of = built(&format!(
            "@id(\"sum\") {effect}(principal, action, resource)
             when {{ principal.tenant has most && context.hour * principal.tenant.most > 0 }};"
        ));
        assert_eq!(Request::oip(caller("acme", "a"), "digits").why(&of), "policy `sum` failed", "{effect}");
        assert!(of.failed.load(Ordering::Relaxed) > 0);
        let before = of.failed.load(Ordering::Relaxed);
        assert_eq!(Request::chat(caller("globex", "g"), "text").why(&of), "ok", "its sum does not overflow");
        assert_eq!(of.failed.load(Ordering::Relaxed), before);
    }
}

#[test]
fn what_is_missing_denies() {
    let of = built(
        "permit(principal, action, resource) when { principal.tenant has tier && principal.tenant.tier == \"gold\" };
         permit(principal in Tenant::\"hooli\", action, resource == Route::\"raw\");",
    );
    assert_eq!(Request::oip(caller("acme", "a"), "text").why(&of), "ok");
    assert_eq!(
        Request::oip(caller("hooli", "h"), "text").why(&of),
        "neither a list nor a policy permits it to `hooli`",
        "it has no attribute"
    );
    assert_eq!(Request::oip(caller("nobody", "n"), "text").why(&of), "tenant `nobody` is unknown");
    let proxied = |tenant| Request {
        route: "raw",
        verb: Verb::Proxy,
        model: None,
        named: None,
        ..Request::oip(caller(tenant, "p"), "text")
    };
    assert_eq!(proxied("hooli").why(&of), "ok");
    assert!(proxied("initech").ask(&of).is_err());
}

#[test]
fn scopes_and_models_of_a_credential_hold_whatever_policies_permit() {
    let of = built("permit(principal, action, resource);");
    let with = |tenant, scopes: &[&str], models: &[&str]| Person {
        scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
        models: models.iter().map(|model| (*model).into()).collect(),
        ..caller(tenant, "k")
    };
    assert_eq!(Request::oip(with("hooli", &[], &[]), "text").why(&of), "ok");
    assert_eq!(Request::oip(with("hooli", &["list"], &[]), "text").why(&of), "credential `k` lacks scope `infer`");
    assert_eq!(Request::oip(with("initech", &[], &[]), "text").why(&of), "tenant `initech` lacks scope `infer`");
    assert_eq!(
        Request::oip(with("hooli", &[], &["digits"]), "text").why(&of),
        "credential `k` is not for model `text`"
    );
}

#[test]
fn routes_without_a_credential_are_open_to_all_but_whom_a_policy_forbids() {
    let open =
        || Request { who: Identity::anonymous(), route: "open", named: None, ..Request::oip(caller("", ""), "fraud") };
    assert_eq!(open().why(&built("permit(principal in Tenant::\"acme\", action, resource);")), "ok");
    let of =
        built("@id(\"lan\") forbid(principal, action, resource) when { context.ip.isInRange(ip(\"10.0.0.0/8\")) };");
    assert_eq!(open().why(&of), "policy `lan` forbids it");
    let of = built("@id(\"who\") forbid(principal in Tenant::\"anonymous\", action, resource is Model);");
    assert_eq!(open().why(&of), "policy `who` forbids it");
}

#[test]
fn a_route_is_forbidden_with_all_its_models_also_by_what_its_body_says() {
    let of = built(
        "@id(\"route\") forbid(principal in Tenant::\"acme\", action, resource == Route::\"oip\");
         @id(\"urls\") forbid(principal, action, resource == Route::\"chat\")
         when { context has payload && context.payload.has_url };",
    );
    assert_eq!(Request::oip(caller("acme", "a"), "digits").why(&of), "policy `route` forbids it");
    let mut chat = Request::chat(caller("globex", "g"), "text");
    assert_eq!(chat.why(&of), "ok");
    let fetched = Media { kind: Media::FETCHED, size: [0, 0], frames: 1, duration_ms: None, bytes: 0, at: 0..0 };
    chat.call.media = vec![fetched];
    assert_eq!(chat.why(&of), "policy `urls` forbids it");
}

#[test]
fn callers_that_policies_name_are_told_apart_and_keep_their_tenant() {
    let of = built(
        "@id(\"ann\") forbid(principal == Client::\"ann\", action, resource);
         permit(principal == Workload::\"spiffe://x/w\", action, resource);
         @id(\"body\") forbid(principal, action, resource) when { principal == Client::\"bob\" };
         @id(\"own\") forbid(principal in Tenant::\"hooli\", action, resource) unless { principal is Workload && context.mtls };",
    );
    let ask = |tenant, name| Request::oip(caller(tenant, name), "digits").why(&of);
    assert_eq!(ask("acme", "ann"), "policy `ann` forbids it");
    assert_eq!(ask("acme", "bob"), "policy `body` forbids it");
    assert_eq!(ask("acme", "cyd"), "ok");
    assert_eq!(ask("acme", "spiffe://x/w"), "ok", "a client of that name is listed as the others are");
    let workload = |tenant| Person { method: Method::Certificate, ..caller(tenant, "spiffe://x/w") };
    assert_eq!(Request::oip(workload("hooli"), "text").why(&of), "ok");
    assert_eq!(Request::oip(workload("globex"), "digits").why(&of), "ok");
    assert_eq!(ask("hooli", "spiffe://x/w"), "policy `own` forbids it");
}

#[test]
fn a_decision_that_comes_again_is_remembered_only_where_nothing_changes() {
    let of = built(
        "@id(\"hour\") forbid(principal in Tenant::\"globex\", action, resource) when { context.hour == 11 };
         permit(principal in Tenant::\"acme\", action, resource) when { context.scopes.contains(\"reports\") };",
    );
    let later = Occasion { unix_ms: 10 * 3_600_000, ..PLACE };
    for _ in 0..2 {
        assert_eq!(Request::chat(caller("globex", "g"), "text").why(&of), "ok", "it is ten in that zone");
        assert_eq!(
            Request { at: later, ..Request::chat(caller("globex", "g"), "text") }.why(&of),
            "policy `hour` forbids it"
        );
        let with = Person { scopes: vec!["reports".into(), "infer".into()], ..caller("acme", "a") };
        assert_eq!(Request::oip(with, "text").why(&of), "ok");
        assert!(Request::oip(caller("acme", "a"), "text").ask(&of).is_err());
    }
}
