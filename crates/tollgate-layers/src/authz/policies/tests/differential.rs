//! Partitions, tables for the lists and two questions decide as one set of all policies over all entities does.
//!
//! The other side is built from the same files with Cedar alone: the allow lists written out as policies, real principals,
//! the whole context. `PROPTEST_CASES=20000` asks more than 100,000 questions.

use std::str::FromStr as _;

use cedar_policy::{Authorizer, Context, Decision, Effect, Entities, EntityUid, PolicySet, Request as Cedar};
use proptest::prelude::{ProptestConfig, any, proptest};
use serde_json::{Value, json};
use tollgate_core::call::{Call, Knobs, Media};
use tollgate_core::identity::{Identity, Method, Person};

use super::{Built, Occasion, Request, built, models};
use crate::authz::Scope;
use crate::routes::Verb;

const CONDITIONS: [&str; 22] = [
    "true",
    "context.mtls",
    "context.hour < 12",
    "context.ip.isInRange(ip(\"10.0.0.0/8\"))",
    "context.scopes.contains(\"reports\")",
    "context.scopes.contains(\"list\")",
    "context.region == \"eu\"",
    "context.route == Route::\"chat\"",
    "context has payload && context.payload.bytes > 100",
    "context has payload && context.payload has max_tokens && context.payload.max_tokens > 10",
    "context has payload && context.payload.has_url",
    "context has payload",
    "context has cost && context.cost > 50",
    "context has models && context.models.contains(Model::\"digits\")",
    "resource is Route",
    "resource in ModelGroup::\"small\"",
    "resource == Model::\"text\" || resource == Route::\"raw\"",
    "principal.tenant has tier && principal.tenant.tier == \"gold\"",
    "principal.tenant has most && context.hour * principal.tenant.most > 100",
    "principal == Client::\"ann\"",
    "action == Action::\"stream\"",
    "principal is Workload",
];
const PRINCIPALS: [&str; 9] = [
    "principal",
    "principal",
    "principal in Tenant::\"acme\"",
    "principal in Tenant::\"globex\"",
    "principal in Tenant::\"hooli\"",
    "principal == Client::\"ann\"",
    "principal == Workload::\"ann\"",
    "principal is Client in Tenant::\"acme\"",
    "principal in Tenant::\"anonymous\"",
];
const ACTIONS: [&str; 6] = [
    "action",
    "action",
    "action == Action::\"infer\"",
    "action in [Action::\"infer\", Action::\"stream\"]",
    "action == Action::\"embed\"",
    "action == Action::\"list\"",
];
const RESOURCES: [&str; 9] = [
    "resource",
    "resource",
    "resource is Model",
    "resource is Route",
    "resource == Model::\"text\"",
    "resource == Model::\"fraud\"",
    "resource in ModelGroup::\"small\"",
    "resource == Route::\"chat\"",
    "resource == Route::\"oip\"",
];

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % most as u64).expect("it is below")
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn policy(&mut self) -> String {
        let effect = self.one(&["permit", "permit", "permit", "forbid"]);
        let (principal, action, resource) = (self.one(&PRINCIPALS), self.one(&ACTIONS), self.one(&RESOURCES));
        let (kind, condition) = (self.one(&["when", "when", "unless"]), self.one(&CONDITIONS));
        let also = self.one(&CONDITIONS);
        let more = if self.below(3) == 0 { format!(" && ({also})") } else { String::new() };
        // A bare `forbid` of everything teaches nothing.
        let (kind, condition) = if effect == "forbid" && kind == "unless" && condition == "true" {
            ("when", "context.mtls")
        } else {
            (kind, condition)
        };
        format!("{effect}({principal}, {action}, {resource}) {kind} {{ ({condition}){more} }};\n")
    }

    fn request(&mut self) -> Request {
        let boxed = |list: Vec<&str>| list.into_iter().map(Into::into).collect();
        let scopes = self.one::<&[&str]>(&[
            &[],
            &[],
            &["infer"],
            &["list"],
            &["infer", "reports"],
            &["reports"],
            &["admin", "infer"],
        ]);
        let held = self.one::<&[&str]>(&[&[], &[], &["digits"], &["text", "other"]]);
        let person = Person {
            principal: self.one(&["ann", "bob", "key1"]).into(),
            tenant: self.one(&["acme", "globex", "initech", "hooli"]).into(),
            scopes: boxed(scopes.to_vec()),
            models: boxed(held.to_vec()),
            method: self.one(&[Method::ApiKey, Method::ApiKey, Method::Certificate]),
            ..Person::default()
        };
        let at = Occasion {
            from: self.one(&["10.0.0.1", "192.0.2.7", "::1"]).parse().expect("an address"),
            unix_ms: self.below(24) as u64 * 3_600_000,
        };
        let url = Media { kind: Media::FETCHED, size: [0, 0], frames: 1, duration_ms: None, bytes: 0, at: 0..0 };
        let call = Call {
            body_bytes: self.one(&[10, 1_000]),
            media: if self.below(4) == 0 { vec![url] } else { Vec::new() },
            knobs: Knobs { output_tokens: self.one(&[None, Some(5), Some(50)]), ..Knobs::default() },
            ..Call::default()
        };
        let (mtls, cost) = (self.below(3) == 0, self.one(&[10, 90]));
        let who = Identity::new(person);
        let who = if mtls { who.over(true) } else { who };
        self.aimed(&Request { who, call, cost, at, ..Request::oip(Person::default(), "text") })
    }

    fn aimed(&mut self, request: &Request) -> Request {
        let model = self.one(&["text", "digits"]);
        let on = |route, verb, path| Request { route, verb, path, named: None, model: None, ..request.clone() };
        match self.below(8) {
            0 => Request { named: Some(model), model: Some(model), ..on("oip", Verb::Infer, "/v2/x") },
            1 => Request { named: Some(model), model: Some(model), ..on("oip", Verb::ModelMetadata, "/v2/x") },
            2 => on("oip", Verb::ServerReady, "/v2"),
            3 => Request { model: Some("fraud"), ..on("fraud", Verb::Infer, "/predict") },
            4 => on("raw", Verb::Proxy, "/raw/x"),
            5 => Request { who: Identity::anonymous(), model: Some("fraud"), ..on("open", Verb::Infer, "/open") },
            6 => Request { model: Some(model), ..on("chat", Verb::Infer, "/v1/embeddings") },
            _ => {
                let mut chat = Request { model: Some(model), ..on("chat", Verb::Infer, "/v1/chat/completions") };
                chat.call.knobs.stream = self.below(2) == 0;
                chat
            }
        }
    }
}

/// Cedar alone, over everything.
struct Whole {
    all: PolicySet,
    forbids: PolicySet,
}

impl Whole {
    fn new(built: &Built, policies: &str) -> Self {
        let lists = built.authz.lists_as_policies(&built.routes.all().iter().map(|route| &**route));
        let all = PolicySet::from_str(&format!("{lists}\n{policies}")).expect("lists are policies");
        let forbids = all.policies().filter(|policy| policy.effect() == Effect::Forbid).cloned();
        let forbids = PolicySet::from_policies(forbids).expect("their ids differ");
        Self { all, forbids }
    }

    fn allows(&self, request: &Request) -> bool {
        let (entities, late) = (entities(request), request.model.is_some());
        let ask = |resource: Value, set: &PolicySet| {
            let cedar = Cedar::new(
                principal(request),
                uid("Action", action(request)),
                uid_of(&resource),
                context(request, late),
                None,
            );
            Authorizer::new().is_authorized(&cedar.expect("no schema refuses it"), set, &entities)
        };
        let route = || entity("Route", request.route);
        let Some(model) = request.model else {
            let said = ask(route(), &self.all);
            return said.decision() == Decision::Allow && said.diagnostics().errors().next().is_none();
        };
        let (said, bound) = (ask(entity("Model", model), &self.all), ask(route(), &self.forbids));
        let clean = [&said, &bound].iter().all(|said| said.diagnostics().errors().next().is_none());
        said.decision() == Decision::Allow && bound.diagnostics().reason().next().is_none() && clean
    }
}

fn entity(kind: &str, id: &str) -> Value {
    json!({ "type": kind, "id": id })
}

fn uid_of(of: &Value) -> EntityUid {
    EntityUid::from_json(of.clone()).expect("a uid")
}

fn uid(kind: &str, id: &str) -> EntityUid {
    uid_of(&entity(kind, id))
}

fn caller(request: &Request) -> Value {
    let kind = if request.who.method == Method::Certificate { "Workload" } else { "Client" };
    entity(kind, &request.who.principal)
}

fn principal(request: &Request) -> EntityUid {
    uid_of(&caller(request))
}

fn action(request: &Request) -> &'static str {
    match (request.verb, request.path) {
        (Verb::Infer, "/v1/embeddings") => "embed",
        (Verb::Infer, _) if request.call.knobs.stream => "stream",
        (Verb::Infer | Verb::Proxy, _) => "infer",
        _ => "list",
    }
}

fn entities(request: &Request) -> Entities {
    let tenant = |name: &str, attrs: Value| json!({ "uid": entity("Tenant", name), "attrs": attrs, "parents": [] });
    let model = |name: &str, small: bool| {
        let parents = if small { vec![entity("ModelGroup", "small")] } else { vec![] };
        json!({ "uid": entity("Model", name), "attrs": {}, "parents": parents })
    };
    let of = entity("Tenant", &request.who.tenant);
    let all = json!([
        tenant("acme", json!({ "tier": "gold", "most": i64::MAX })),
        tenant("globex", json!({ "tier": "tin" })),
        tenant("initech", json!({})),
        tenant("hooli", json!({})),
        tenant("anonymous", json!({})),
        model("digits", true),
        model("fraud", true),
        model("text", false),
        { "uid": caller(request), "attrs": { "tenant": { "__entity": of } }, "parents": [of] },
    ]);
    Entities::from_json_value(all, None).expect("entities")
}

/// Scopes as the page of the layer says: the credential's that its tenant has, or all of that but `admin`.
fn scopes(request: &Request) -> Vec<String> {
    let who = &request.who;
    let tenant: &[&str] = if &*who.tenant == "initech" { &["list"] } else { &["infer", "list"] };
    let has = |list: &[&str], scope: &str| list.contains(&scope) || (scope == "list" && list.contains(&"infer"));
    let held: Vec<&str> = who.scopes.iter().map(|scope| &**scope).collect();
    let mut all: Vec<String> = Vec::new();
    for scope in ["infer", "list"] {
        if has(tenant, scope) && (held.is_empty() || has(&held, scope)) {
            all.push(scope.to_owned());
        }
    }
    all.extend(held.iter().filter(|held| Scope::of(held).is_none()).map(|held| (*held).to_owned()));
    all
}

fn context(request: &Request, late: bool) -> Context {
    let mut told = json!({
        "scopes": scopes(request),
        "mtls": request.who.mtls,
        "ip": { "__extn": { "fn": "ip", "arg": request.at.from.to_string() } },
        // The zone is an hour ahead.
        "hour": (request.at.unix_ms / 3_600_000 + 1) % 24,
        "region": "eu",
        "route": { "__entity": entity("Route", request.route) },
    });
    let held: Vec<_> = request.who.models.iter().map(|name| json!({ "__entity": entity("Model", name) })).collect();
    if !held.is_empty() {
        told["models"] = Value::Array(held);
    }
    if late && action(request) != "list" {
        told["cost"] = request.cost.into();
        let call = &request.call;
        told["payload"] = json!({
            "kind": if call.media.is_empty() { "other" } else { "media" },
            "bytes": call.body_bytes, "batch": 1, "has_url": !call.media.is_empty(),
        });
        if let Some(most) = call.knobs.output_tokens {
            told["payload"]["max_tokens"] = most.into();
        }
    }
    Context::from_json_value(told, None).expect("a context")
}

/// An eighth of the usual number of cases: each loads a set of policies.
fn fewer() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.div_ceil(8), ..usual }
}

proptest! {
    #![proptest_config(fewer())]

    #[test]
    fn partitions_lists_and_two_questions_decide_as_the_whole_set_does(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let policies: String = (0..dice.below(16) + 1).map(|_| dice.policy()).collect();
        let built = built(&policies);
        let whole = Whole::new(&built, &policies);
        let mut allowed = 0;
        for _ in 0..40 {
            let request = dice.request();
            let decided = request.ask(&built).is_ok();
            allowed += usize::from(decided);
            assert_eq!(
                decided,
                whole.allows(&request),
                "{policies}\n{:?} of {:?} on {} for {:?}: {}",
                action(&request), *request.who, request.route, request.model, request.why(&built),
            );
        }
        assert!(models().len() == 3 && allowed <= 40);
    }

    /// With no policy but one that says nothing, what is left are the lists: the tables of the small users, in Cedar.
    #[test]
    fn the_lists_mean_what_they_mean_as_policies(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let silent = "permit(principal, action, resource) when { context.region == \"nowhere\" };";
        let (with, without) = (built(silent), super::built_from(super::PLAIN, "{}", vec![]));
        let whole = Whole::new(&without, "");
        for _ in 0..40 {
            let request = dice.request();
            let listed = request.ask(&without).is_ok();
            assert_eq!(listed, whole.allows(&request), "{request:?}: {}", request.why(&without), request = *request.who);
            assert_eq!(listed, request.ask(&with).is_ok());
        }
    }
}
