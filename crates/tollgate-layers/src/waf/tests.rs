//! Rules, requests and verdicts as data; where rule files come from; and what mistakes in them look like.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use tollgate_core::call::{Call, Dialect, Dtype, Tensor, Values};
use tollgate_core::check::{Checker, Problem};
use tollgate_core::guard::{Guard, Mode};
use tollgate_core::identity::{ExchangeId, Facts, Peer};
use tollgate_core::journal::{Event, Journal};
use tollgate_core::stage::Stage;
use tollgate_core::time::Tick;

use super::{Asked, Content, Given, HeadView, Source, Turn, Waf, WafConfig};
use crate::routes::RouteConfig;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    what: String,
    given: WafConfig,
    #[serde(default)]
    routes: Vec<RouteConfig>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    #[serde(default = "get")]
    line: String,
    #[serde(default)]
    fields: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
    /// Stands 20,000 times behind the body.
    repeat: Option<String>,
    /// Pieces of the body that the parser knows, and as what.
    #[serde(default)]
    known: Vec<(String, Dtype)>,
    #[serde(default)]
    reply: Option<Answer>,
    #[serde(default)]
    route: Option<usize>,
    refuse: Option<String>,
    because: Option<String>,
    would_refuse: Option<String>,
    fault: Option<String>,
    #[serde(default)]
    rules: Vec<u64>,
    score: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default)]
    fields: Vec<(String, String)>,
    body: Option<String>,
    /// Whether the layer wants to see the body first.
    wanted: Option<bool>,
}

fn get() -> String {
    "GET / HTTP/1.1".to_owned()
}

const FILES: [&str; 8] = [
    include_str!("cases/budget.yaml"),
    include_str!("cases/exclusions.yaml"),
    include_str!("cases/known.yaml"),
    include_str!("cases/observe.yaml"),
    include_str!("cases/pack.yaml"),
    include_str!("cases/replies.yaml"),
    include_str!("cases/routes.yaml"),
    include_str!("cases/types.yaml"),
];

/// Rule files of a test.
struct Shelf(BTreeMap<String, String>);

impl Source for Shelf {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).map(|text| text.clone().into_bytes()).ok_or_else(|| "no such file".to_owned())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        match pattern.split_once('*') {
            None if self.0.contains_key(pattern) => Ok(vec![pattern.to_owned()]),
            None => Err("there is no such file".to_owned()),
            Some((start, end)) => {
                let fits = |name: &&String| name.starts_with(start) && name.ends_with(end);
                Ok(self.0.keys().filter(fits).cloned().collect())
            }
        }
    }
}

fn compile(config: &WafConfig, routes: &[RouteConfig], shelf: &Shelf) -> (Option<Waf>, Vec<Problem>, Vec<Problem>) {
    let mut check = Checker::default();
    let waf = config.compile(&mut check, &Given { routes, source: shelf, threads: 1 });
    let (problems, warnings) = check.finish();
    (waf, problems, warnings)
}

fn facts() -> Facts {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let peer =
        Peer { ip, port: 4711, local: (ip, 443), listener: "public".into(), sni: None, tls: false, certificate: None };
    Facts { id: ExchangeId(7), peer: Arc::new(peer), started: Tick(0), unix_ms: 1_790_000_000_000 }
}

/// One exchange through all five phases, as the pipeline asks; the journal and the turn are what is left of it.
fn walk(guard: &Guard<Waf>, mode: Option<Mode>, case: &Case) -> (Journal, Turn, Option<bool>) {
    let (facts, mut log, mut turn) = (facts(), Journal::default(), Turn::default());
    if let Some(mode) = mode {
        let mut switches = tollgate_core::guard::Switches::default();
        switches.set(Stage::Waf, mode);
        log.override_switches(switches);
    }
    let asked = Asked { facts: &facts, from: facts.peer.ip, route: case.route, thread: 0 };
    let mut wanted = None;
    let status = ask(guard, &mut log, (&mut turn, &asked), case, &mut wanted).map_or_else(|status| status, |()| 200);
    let layer = guard.layer.as_ref().expect("a layer");
    layer.finish(&mut turn, &asked, guard.mode(&log), status);
    (log, turn, wanted)
}

fn ask(
    guard: &Guard<Waf>,
    log: &mut Journal,
    (turn, asked): (&mut Turn, &Asked<'_>),
    case: &Case,
    wanted: &mut Option<bool>,
) -> Result<(), u16> {
    let parts: Vec<&str> = case.line.split(' ').collect();
    let fields: Vec<(&[u8], &[u8])> = case.fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    let view = HeadView {
        line: case.line.as_bytes(),
        method: parts[0].as_bytes(),
        target: parts[1].as_bytes(),
        protocol: parts[2].as_bytes(),
        headers: &fields,
    };
    let no = |denial: tollgate_core::ruling::Denial| denial.code.status();
    guard.ask(log, |waf, notes| waf.head(turn, asked, &view, notes)).map_err(no)?;
    let much = case.repeat.as_deref().unwrap_or_default().repeat(20_000);
    let bytes = case.body.as_ref().map(|body| Bytes::from(format!("{body}{much}")));
    let call = call(case);
    guard.ask(log, |waf, _| waf.body(turn, Content { bytes: bytes.as_ref(), call: &call }, 0)).map_err(no)?;
    let Some(reply) = &case.reply else { return Ok(()) };
    let mut headers = HeaderMap::new();
    for (name, value) in &reply.fields {
        let name = HeaderName::try_from(name).expect("a name");
        headers.append(name, HeaderValue::try_from(value).expect("a value"));
    }
    guard.ask(log, |waf, _| waf.reply_head(turn, StatusCode::OK, &headers, 0)).map_err(no)?;
    *wanted = guard.layer.as_ref().map(|waf| waf.wants_reply(turn, &headers, false));
    if let Some(body) = reply.body.clone().filter(|_| *wanted == Some(true)) {
        guard.ask(log, |waf, _| waf.reply_body(turn, Bytes::from(body), 0)).map_err(no)?;
    }
    Ok(())
}

/// The call that a parser would make of the body.
fn call(case: &Case) -> Call {
    let body = case.body.clone().unwrap_or_default();
    let tensor = |(text, dtype): &(String, Dtype)| {
        let start = body.find(text.as_str()).unwrap_or_else(|| panic!("`{text}` is not in the body"));
        let values = if *dtype == Dtype::Bytes { Values::Bytes(Vec::new()) } else { Values::F64(Vec::new()) };
        Tensor { name: "t".into(), dtype: *dtype, shape: Vec::new(), values, at: start..start + text.len() }
    };
    let dialect = if case.known.is_empty() { Dialect::Other } else { Dialect::Oip };
    Call { dialect, inputs: case.known.iter().map(tensor).collect(), ..Call::default() }
}

#[test]
fn every_case_gets_its_verdict() {
    let mut ran = 0;
    for text in FILES {
        let file: File = serde_saphyr::from_str(text).expect("cases parse");
        let (layer, problems, _) = compile(&file.given, &file.routes, &Shelf(file.files.clone()));
        assert_eq!(problems, [], "{}", file.what);
        let guard = Guard { stage: Stage::Waf, switch: file.given.switch(), layer };
        for case in &file.cases {
            let stages = case.route.map(|route| &file.routes[route].stages);
            let mode = stages.and_then(|stages| stages.get(&Stage::Waf)).map(|modes| modes.mode);
            run(&guard, mode, case, &format!("{}: {}", file.what, case.what));
            ran += 1;
        }
    }
    assert!(ran >= 25, "only {ran} cases ran");
}

fn run(guard: &Guard<Waf>, mode: Option<Mode>, case: &Case, place: &str) {
    let (log, turn, wanted) = walk(guard, mode, case);
    let (mut refused, mut because, mut fault) = (None, None, None);
    for entry in log.entries() {
        match &entry.event {
            Event::Refused(refusal) => {
                refused = Some(refusal.code.name().to_owned());
                because = Some(refusal.evidence().to_owned());
            }
            Event::Faulted(found) => fault = Some(found.evidence().to_owned()),
            _ => {}
        }
    }
    assert_eq!(refused, case.refuse, "{place}");
    assert_eq!(fault, case.fault, "{place}");
    if case.because.is_some() {
        assert_eq!(because, case.because, "{place}");
    }
    let watched = (guard.mode(&log) == Mode::Observe).then(|| turn.spared()).flatten();
    assert_eq!(watched.map(|refusal| refusal.evidence().to_owned()), case.would_refuse, "{place}");
    let rules: Vec<u64> = turn.logged().map(|matched| matched.id).collect();
    assert_eq!(rules, case.rules, "{place}");
    if case.score.is_some() {
        assert_eq!(turn.tally().and_then(|tally| tally.inbound), case.score, "{place}");
    }
    if let Some(expected) = case.reply.as_ref().and_then(|reply| reply.wanted) {
        assert_eq!(wanted, Some(expected), "{place}");
    }
}

fn shelf(files: &[(&str, &str)]) -> Shelf {
    Shelf(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
}

fn config(yaml: &str) -> WafConfig {
    serde_saphyr::from_str(yaml).expect("it parses")
}

fn routes(yaml: &str) -> Vec<RouteConfig> {
    serde_saphyr::from_str(yaml).expect("it parses")
}

fn told(problem: &Problem) -> String {
    let path: Vec<_> = problem.path.iter().map(ToString::to_string).collect();
    match &problem.place {
        Some(place) => format!("{}:{}:{}: {}", place.file, place.line, place.column, problem.message),
        None => format!("{}: {}", path.join("/"), problem.message),
    }
}

#[test]
fn mistakes_are_told_where_they_stand_and_once() {
    let shelf = shelf(&[("broken.conf", "SecRuleEngine On\nSecRule ARGS \"@nonsense x\" \"id:1,phase:2,deny\"\n")]);
    let config = config(
        "{ pack: none, rules: [broken.conf, gone.conf], exclusions: [SecRuleRemoveById 1, SecNonsense On], paranoia: 9 }",
    );
    let routes = routes("[{ name: a, path: /a, protocol: health, waf: { rules: [lost.conf], exclusions: [SecFoo] } }]");
    let (layer, problems, _) = compile(&config, &routes, &shelf);
    assert!(layer.is_none());
    let mut told: Vec<String> = problems.iter().map(told).collect();
    told.sort();
    let count = told.len();
    told.dedup();
    assert_eq!(told.len(), count, "each is told once: {told:?}");
    for expected in [
        "waf/paranoia: a level from 1 to 4",
        "waf/rules/1: `gone.conf`: there is no such file",
        "routes/0/waf/rules/0: `lost.conf`: there is no such file",
    ] {
        assert!(told.iter().any(|told| told == expected), "{expected} is not among {told:#?}");
    }
    for start in ["broken.conf:2:", "waf/exclusions/1: ", "routes/0/waf/exclusions/0: "] {
        assert!(told.iter().any(|told| told.starts_with(start)), "{start} is not among {told:#?}");
    }
}

#[test]
fn a_missing_core_rule_set_is_told() {
    let (layer, problems, warnings) = compile(&WafConfig::default(), &[], &shelf(&[]));
    assert!(layer.is_some());
    assert_eq!(problems, []);
    let told: Vec<String> = warnings.iter().map(told).collect();
    assert!(told.iter().any(|told| told.starts_with("waf: without the Core Rule Set")), "{told:?}");
    let (_, problems, _) = compile(&config("{ crs: nowhere }"), &[], &shelf(&[]));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.starts_with("`nowhere` holds no Core Rule Set"), "{}", problems[0].message);
}

#[test]
fn the_core_rule_set_is_taken_with_its_setup_or_the_example_of_it() {
    let rule = |id: u32| format!("SecAction \"id:{id},phase:1,pass,nolog\"\n");
    let mut files = BTreeMap::from([
        ("crs/crs-setup.conf.example".to_owned(), rule(900_001)),
        ("crs/rules/REQUEST-901.conf".to_owned(), rule(901_001)),
    ]);
    let ids = |files: &BTreeMap<String, String>| {
        let (layer, problems, warnings) = compile(&config("{ crs: crs, pack: none }"), &[], &Shelf(files.clone()));
        assert_eq!(problems, []);
        assert!(warnings.iter().all(|warning| !warning.message.contains("without the Core Rule Set")));
        let layer = layer.expect("a layer");
        let plan = layer.plan(0).expect("a plan");
        plan.rules.rules().map(|rule| rule.id).filter(|id| *id >= 900_000).collect::<Vec<_>>()
    };
    assert_eq!(ids(&files), [900_001, 901_001]);
    files.insert("crs/crs-setup.conf".to_owned(), rule(900_002));
    assert_eq!(ids(&files), [900_002, 901_001]);
}

#[test]
fn routes_of_equal_settings_share_one_rule_set() {
    let routes = routes(
        "[{ name: a, path: /a, protocol: health }, { name: b, path: /b, protocol: health, waf: { paranoia: 3 } },
          { name: c, path: /c, protocol: health, waf: { profile: stock } },
          { name: d, path: /d, protocol: health, stages: { waf: { mode: off } } }]",
    );
    let (layer, problems, _) = compile(&WafConfig::default(), &routes, &shelf(&[]));
    assert_eq!(problems, []);
    let layer = layer.expect("a layer");
    let rules = |route: usize| &layer.plan(route).expect("a plan").rules;
    assert!(Arc::ptr_eq(rules(0), rules(1)) && Arc::ptr_eq(rules(0), rules(99)));
    assert!(!Arc::ptr_eq(rules(0), rules(2)));
    assert!(layer.plan(3).is_none());
}

#[test]
fn a_limit_of_the_rules_lowers_the_cap_of_a_route_and_a_higher_one_is_told() {
    let routes = routes("[{ name: a, path: /a, protocol: health, max_body_bytes: 1000 }]");
    let limited = |bytes: u32| {
        let shelf = shelf(&[("l.conf", &format!("SecRequestBodyLimit {bytes}\n"))]);
        let (layer, problems, warnings) = compile(&config("{ pack: none, rules: [l.conf] }"), &routes, &shelf);
        assert_eq!(problems, []);
        let told = warnings.iter().map(told).find(|told| told.starts_with("routes/0/max_body_bytes"));
        (layer.expect("a layer").body_limit(0), told)
    };
    assert_eq!(limited(500), (Some(500), None));
    let (limit, told) = limited(5000);
    assert_eq!(limit, Some(5000));
    assert!(told.is_some_and(|told| told.contains("5000") && told.contains("1000")));
}

#[test]
fn a_collection_that_would_outlive_a_request_is_warned_about_once_where_it_stands() {
    let routes = routes(
        "[{ name: a, path: /a, protocol: health }, { name: b, path: /b, protocol: health, waf: { profile: stock } }]",
    );
    let shelf = shelf(&[(
        "c.conf",
        "SecAction \"id:1,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR}\"\n\
         SecAction \"id:2,phase:1,pass,nolog,initcol:global=g\"\n",
    )]);
    let (layer, problems, warnings) = compile(&config("{ pack: none, rules: [c.conf] }"), &routes, &shelf);
    assert!(layer.is_some());
    assert_eq!(problems, []);
    let warnings: Vec<String> = warnings.iter().map(told).filter(|told| told.contains("initcol")).collect();
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.starts_with("c.conf:1:36: `initcol` opens a collection"), "{warning}");
    assert!(warning.contains("here and in 1 more place"), "{warning}");
    // Nobody is left to believe that it is kept.
    let named = serde_saphyr::from_str::<WafConfig>("{ store: valkey }").expect_err("no store is wired yet");
    assert!(named.to_string().contains("store"), "{named}");
}

#[test]
fn the_readme_s_examples_load() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        waf: WafConfig,
        #[serde(default)]
        routes: Vec<RouteConfig>,
    }
    let blocks: Vec<&str> =
        include_str!("README.md").split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 3);
    for block in blocks {
        let page: Page = serde_saphyr::from_str(block).expect(block);
        assert!(page.routes.len() < 2 && page.waf.max_args == 1000);
    }
}
