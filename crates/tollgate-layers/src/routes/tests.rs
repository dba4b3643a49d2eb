//! Routes are found by path, verb and method.

use std::collections::BTreeMap;

use http::{HeaderMap, Method, Version};
use serde::Deserialize;
use tollgate_core::call::ModelId;
use tollgate_core::check::{Checker, Problem};
use tollgate_core::ruling::Stop;

use super::preset::open;
use super::{Preset, RouteConfig, RouteNames, Routes, Verb, compile};
use crate::hygiene::Head;

fn head(method: Method, target: &str) -> Head {
    let uri = target.parse().expect("a target");
    Head { method, uri, version: Version::HTTP_11, headers: HeaderMap::new(), host: "gate.test".into() }
}

fn routes(yaml: &str) -> (Routes, Vec<String>) {
    compiled(&serde_saphyr::from_str::<Vec<RouteConfig>>(yaml).expect("it parses"))
}

fn compiled(config: &[RouteConfig]) -> (Routes, Vec<String>) {
    let models = BTreeMap::from([("digits".to_owned(), ModelId(0)), ("fraud".to_owned(), ModelId(1))]);
    let upstreams = BTreeMap::from([("mock".to_owned(), 0)]);
    let mut check = Checker::default();
    let names = RouteNames { models: &models, upstreams: &upstreams, classes: &std::collections::BTreeSet::new() };
    let routes = compile(config, &mut check, &names);
    let problems = check.finish().0;
    (routes, problems.into_iter().map(|problem| problem.message).collect())
}

/// The written routes and those of presets; problems and warnings.
fn opened(written: &[RouteConfig], presets: &[Behind]) -> (Vec<RouteConfig>, Vec<String>, Vec<String>) {
    let names: Vec<_> = (0..presets.len()).map(|at| format!("server{at}")).collect();
    let behind = presets.iter().zip(&names).map(|(behind, upstream)| super::Behind {
        faces: super::Faces { rest: true, rpc: false },
        upstream,
        preset: behind.preset,
        models: behind.models.iter().map(String::as_str).collect(),
    });
    let behind: Vec<_> = behind.collect();
    let mut check = Checker::default();
    let more = open(written, &behind, &mut check);
    let (problems, warnings) = check.finish();
    let words = |told: Vec<Problem>| told.into_iter().map(|problem| problem.message).collect();
    (written.iter().cloned().chain(more).collect(), words(problems), words(warnings))
}

/// A file of `cases/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    #[serde(default)]
    routes: Vec<RouteConfig>,
    #[serde(default)]
    presets: Vec<Behind>,
    #[serde(default)]
    warnings: Vec<String>,
    steps: Vec<Step>,
}

/// An upstream with a preset.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Behind {
    preset: Preset,
    models: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    ask: String,
    verb: Option<String>,
    route: Option<String>,
    model: Option<String>,
    refuse: Option<String>,
}

fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Health => "health",
        Verb::Infer => "infer",
        Verb::LimitsPolicy => "limits_policy",
        Verb::ResourceMetadata => "resource_metadata",
        Verb::ModelList => "model_list",
        Verb::ModelMetadata => "model_metadata",
        Verb::ModelReady => "model_ready",
        Verb::Proxy => "proxy",
        Verb::Stream => "stream",
        Verb::Quota => "quota",
        Verb::ServerLive => "server_live",
        Verb::ServerMetadata => "server_metadata",
        Verb::ServerReady => "server_ready",
    }
}

fn judge(routes: &Routes, step: &Step, at: &str) {
    let (method, target) = step.ask.split_once(' ').expect("a method and a target");
    let head = head(method.parse().expect("a method"), target);
    match routes.find(&head) {
        Ok(found) => {
            assert_eq!(step.refuse, None, "{at}");
            assert_eq!(step.verb.as_deref(), Some(verb_name(found.verb)), "{at}");
            assert_eq!(step.model.as_deref(), found.model, "{at}");
            assert!(step.route.as_deref().is_none_or(|name| *name == *found.route.name), "{at}");
        }
        Err(Stop::Refuse(refusal)) => assert_eq!(step.refuse.as_deref(), Some(refusal.code.name()), "{at}"),
        Err(Stop::Fault(_)) => panic!("a route lookup cannot fail"),
    }
}

#[test]
fn every_case_is_found_as_it_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/routes/cases");
    let mut steps = 0;
    for entry in std::fs::read_dir(folder).expect("a folder of cases") {
        let file = entry.expect("a file").path();
        let text = std::fs::read_to_string(&file).expect("a case");
        let case: Case = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let (opened, problems, warnings) = opened(&case.routes, &case.presets);
        assert_eq!((problems, warnings), (Vec::new(), case.warnings), "{}", case.what);
        let (routes, problems) = compiled(&opened);
        assert_eq!(problems, Vec::<String>::new(), "{}", case.what);
        for step in &case.steps {
            judge(&routes, step, &format!("{}: {}", case.what, step.ask));
            steps += 1;
        }
    }
    assert!(steps > 10, "only {steps} steps were found");
}

#[test]
fn methods_of_grpc_are_found_where_they_are_listed() {
    let (found, problems) = routes(
        r#"
- { name: some, path: "/inference.GRPCInferenceService/{method}", protocol: oip_grpc, models: [digits], rpcs: [ModelInfer] }
"#,
    );
    assert_eq!(problems, Vec::<String>::new());
    let asked = |method, name: &str| {
        let head = head(method, &format!("/inference.GRPCInferenceService/{name}"));
        found.find(&head).map(|found| verb_name(found.verb)).map_err(|stop| stop.denial().code.name())
    };
    assert_eq!(asked(Method::POST, "ModelInfer"), Ok("infer"));
    assert_eq!(asked(Method::GET, "ModelInfer"), Err("method_not_allowed"));
    for name in ["ModelReady", "ModelStreamInfer", "RepositoryModelUnload", "modelinfer", ""] {
        assert_eq!(asked(Method::POST, name), Err("not_found"), "{name}");
    }
}

#[test]
fn methods_of_grpc_that_no_path_leads_to_are_mistakes() {
    let (_, problems) = routes(
        r#"
- { name: a, path: /inference.GRPCInferenceService/ModelInfer, protocol: oip_grpc, models: [digits], rpcs: [ServerLive] }
- { name: b, path: /elsewhere, protocol: oip_grpc, models: [digits] }
- { name: c, path: "/v2/{*rest}", protocol: oip, models: [digits], rpcs: [ModelInfer] }
- { name: d, path: "/inference.GRPCInferenceService/{method}", methods: [GET], protocol: oip_grpc, models: [digits] }
"#,
    );
    let expected = [
        "the path does not lead to `ServerLive`",
        "the path leads to no method that is understood",
        "`rpcs` is for routes with `protocol: oip_grpc`",
        "gRPC knows one method of HTTP: `POST`",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn what_the_page_shows_loads() {
    #[derive(Deserialize)]
    struct Page {
        routes: Vec<RouteConfig>,
    }
    let blocks: Vec<_> = include_str!("README.md").split("```yaml\n").skip(1).collect();
    assert_eq!(blocks.len(), 5);
    for block in blocks {
        let text = block.split("```").next().expect("a block ends");
        let page: Page = serde_saphyr::from_str(text).expect("it parses");
        assert_eq!(compiled(&page.routes).1, Vec::<String>::new(), "{text}");
    }
}

#[test]
fn every_mistake_is_reported() {
    let (_, problems) = routes(
        "
- { name: a, path: 'x', protocol: oip, models: [nobody] }
- { name: a, path: '/{*rest}/y', protocol: plain, models: [digits, fraud] }
- { name: c, path: '/c', protocol: none, stages: { auth: { mode: off } } }
- { name: d, path: '/d', protocol: plain, models: [digits, fraud], intake: meter }
",
    );
    assert_eq!(
        problems,
        [
            "`x` does not begin with `/`",
            "`nobody` is not a model",
            "`a` names two routes",
            "`{*rest}` can only be the last segment",
            "a route with `protocol: none` needs an `upstream`",
            "`auth` cannot be switched: it is a gate",
            "a `plain` route whose path has no `{model}` serves exactly one model",
            "a body that is understood must be read whole: `inspect`",
        ]
    );
}

#[test]
fn one_path_in_two_dialects_is_a_mistake_until_a_route_decides() {
    let presets = [
        Behind { preset: Preset::Vllm, models: vec!["digits".to_owned()] },
        Behind { preset: Preset::Kserve, models: vec!["fraud".to_owned()] },
    ];
    let (_, problems, _) = opened(&[], &presets);
    assert_eq!(
        problems,
        [
            "`GET /v1/models` is `kserve_v1` here and `openai` behind another preset",
            "`GET /v1/models/{model}` is `kserve_v1` here and `openai` behind another preset",
        ]
    );
    let written = "
- { name: list, path: /v1/models, methods: [GET], protocol: openai, models: [digits, fraud] }
- { name: one, path: '/v1/models/{*model}', methods: [GET], protocol: openai, models: [digits, fraud] }
";
    let written: Vec<RouteConfig> = serde_saphyr::from_str(written).expect("it parses");
    let (routes, problems, warnings) = opened(&written, &presets);
    assert_eq!((problems, warnings), (vec![], vec![]));
    assert_eq!(compiled(&routes).1, Vec::<String>::new());
}

#[test]
fn no_preset_opens_a_path_twice_or_what_it_asks_for_itself() {
    for preset in Preset::ALL {
        let mut seen = Vec::new();
        for opening in preset.opens() {
            assert!(!seen.contains(&(opening.method, opening.path)), "{}: {}", preset.name(), opening.path);
            seen.push((opening.method, opening.path));
        }
        assert_eq!(serde_saphyr::from_str::<Preset>(preset.name()).expect("its own word"), preset);
        assert!(preset.ready_path().starts_with('/'));
    }
}
