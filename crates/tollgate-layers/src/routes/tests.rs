//! Routes are found by path, verb and method.

use std::collections::BTreeMap;

use http::{HeaderMap, Method, Version};
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::ruling::{Code, Stop};

use super::{RouteConfig, RouteNames, Routes, Verb, compile};
use crate::hygiene::Head;

fn head(method: Method, target: &str) -> Head {
    let uri = target.parse().expect("a target");
    Head { method, uri, version: Version::HTTP_11, headers: HeaderMap::new(), host: "gate.test".into() }
}

fn routes(yaml: &str) -> (Routes, Vec<String>) {
    let config: Vec<RouteConfig> = serde_saphyr::from_str(yaml).expect("it parses");
    let models = BTreeMap::from([("digits".to_owned(), ModelId(0)), ("fraud".to_owned(), ModelId(1))]);
    let upstreams = BTreeMap::from([("mock".to_owned(), 0)]);
    let mut check = Checker::default();
    let names = RouteNames { models: &models, upstreams: &upstreams, classes: &std::collections::BTreeSet::new() };
    let routes = compile(&config, &mut check, &names);
    let problems = check.finish().0;
    (routes, problems.into_iter().map(|problem| problem.message).collect())
}

const GOOD: &str = "
- { name: oip, path: '/v2/{*rest}', protocol: oip, models: [digits, fraud] }
- { name: plain, path: '/predict/{model}', protocol: plain, models: [digits] }
- { name: health, path: /health, protocol: health }
";

fn verdict(routes: &Routes, method: Method, target: &str) -> Result<(Verb, Option<String>), Code> {
    let head = head(method, target);
    match routes.find(&head) {
        Ok(found) => Ok((found.verb, found.model.map(str::to_owned))),
        Err(Stop::Refuse(refusal)) => Err(refusal.code),
        Err(Stop::Fault(_)) => panic!("a route lookup cannot fail"),
    }
}

#[test]
fn each_path_of_the_protocol_is_found_and_no_other() {
    let (routes, problems) = routes(GOOD);
    assert_eq!(problems, Vec::<String>::new());
    let digits = || Some("digits".to_owned());
    assert_eq!(verdict(&routes, Method::POST, "/v2/models/digits/infer"), Ok((Verb::Infer, digits())));
    assert_eq!(verdict(&routes, Method::GET, "/v2/models/digits"), Ok((Verb::ModelMetadata, digits())));
    assert_eq!(verdict(&routes, Method::GET, "/v2/models/digits/ready"), Ok((Verb::ModelReady, digits())));
    assert_eq!(verdict(&routes, Method::GET, "/v2"), Ok((Verb::ServerMetadata, None)));
    assert_eq!(verdict(&routes, Method::POST, "/predict/digits?x=1"), Ok((Verb::Infer, digits())));
    assert_eq!(verdict(&routes, Method::POST, "/v2/repository/models/digits/unload"), Err(Code::NotFound));
    assert_eq!(verdict(&routes, Method::POST, "/v2/models//infer"), Err(Code::NotFound));
    assert_eq!(verdict(&routes, Method::GET, "/v2/models/digits/infer"), Err(Code::MethodNotAllowed));
    assert_eq!(verdict(&routes, Method::GET, "/metrics"), Err(Code::NotFound));
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
