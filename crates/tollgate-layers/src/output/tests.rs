//! Nothing planted in the head of a model server's reply reaches a client, and no status passes that should not.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use serde::Deserialize;
use tollgate_core::check::Checker;
use tollgate_core::ruling::Stop;

use super::{Output, OutputConfig};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    #[serde(default)]
    given: OutputConfig,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    status: u16,
    retry_after: Option<String>,
    stop: Option<String>,
    wait_secs: Option<u64>,
}

fn output(yaml: &str) -> Output {
    let config: OutputConfig = serde_saphyr::from_str(yaml).expect("it parses");
    compile(&config)
}

fn compile(config: &OutputConfig) -> Output {
    let mut check = Checker::default();
    let output = config.compile(&mut check);
    assert!(check.is_clean(), "{:?}", check.finish());
    output
}

fn plain() -> Output {
    compile(&OutputConfig::default())
}

fn run(yaml: &str) {
    let case: Case = serde_saphyr::from_str(yaml).expect("a case");
    let output = compile(&case.given);
    for step in &case.steps {
        let place = format!("{}: {}", case.what, step.status);
        let mut headers = HeaderMap::new();
        if let Some(wait) = &step.retry_after {
            headers.insert("retry-after", wait.parse().expect("a value"));
        }
        let status = StatusCode::from_u16(step.status).expect("a status");
        match (output.verdict(status, &headers), &step.stop) {
            (Ok(()), None) => {}
            (Err(stop), Some(code)) => {
                let denial = stop.denial();
                assert_eq!(denial.code.name(), code, "{place}");
                assert_eq!(denial.retry_after.map(|wait| wait.as_secs()), step.wait_secs, "{place}");
                let evidence = match &stop {
                    Stop::Fault(fault) => fault.evidence(),
                    Stop::Refuse(refusal) => refusal.evidence(),
                };
                assert_eq!(evidence, format!("the model server answered {}", step.status));
            }
            (ruling, stop) => panic!("{place}: {ruling:?} instead of {stop:?}"),
        }
    }
}

#[test]
fn statuses_are_judged_as_the_cases_say() {
    run(include_str!("cases/statuses.yaml"));
    run(include_str!("cases/relayed.yaml"));
}

#[test]
fn load_is_a_refusal_and_failure_is_a_fault() {
    let mut headers = HeaderMap::new();
    let full = plain().verdict(StatusCode::TOO_MANY_REQUESTS, &headers);
    assert!(matches!(full, Err(Stop::Refuse(_))));
    let down = plain().verdict(StatusCode::SERVICE_UNAVAILABLE, &headers);
    assert!(matches!(down, Err(Stop::Fault(_))));
    headers.insert("retry-after", HeaderValue::from_static("1"));
    let full = plain().verdict(StatusCode::SERVICE_UNAVAILABLE, &headers);
    assert!(matches!(full, Err(Stop::Refuse(_))));
}

/// Names that servers, proxies and frameworks really send, each with a secret.
const PLANTED: &[&str] = &[
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "alt-svc",
    "ce-datacontenttype",
    "ce-endpoint",
    "ce-id",
    "ce-inferenceservicename",
    "ce-source",
    "ce-specversion",
    "cf-ray",
    "clear-site-data",
    "connection",
    "cross-origin-resource-policy",
    "content-location",
    "keep-alive",
    "location",
    "proxy-authenticate",
    "proxy-connection",
    "ratelimit",
    "ratelimit-policy",
    "refresh",
    "report-to",
    "server",
    "server-timing",
    "service-worker-allowed",
    "set-cookie",
    "te",
    "timing-allow-origin",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
    "x-accel-redirect",
    "x-amz-request-id",
    "x-amzn-trace-id",
    "x-api-key",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "x-azure-ref",
    "x-b3-traceid",
    "x-backend-server",
    "x-cache",
    "x-cache-hits",
    "x-debug-token",
    "x-envoy-decorator-operation",
    "x-envoy-upstream-service-time",
    "x-forwarded-for",
    "x-goog-hash",
    "x-kong-proxy-latency",
    "x-kong-upstream-latency",
    "x-ms-request-id",
    "x-powered-by",
    "x-powered-by-plesk",
    "x-ratelimit-remaining-requests",
    "x-real-ip",
    "x-runtime",
    "x-served-by",
    "x-upstream-addr",
    "x-varnish",
];

/// Names that a client needs.
const USEFUL: &[&str] = &[
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "etag",
    "inference-header-content-length",
    "retry-after",
    "triton-request-id",
    "vary",
    "x-compute-time",
    "x-request-id",
];

fn planted() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in PLANTED {
        for _ in 0..2 {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("SECRET-inside-7f3a"));
        }
    }
    headers
}

fn holds_secret(headers: &HeaderMap) -> bool {
    headers.values().any(|value| value.as_bytes().windows(6).any(|window| window == b"SECRET"))
}

#[test]
fn no_planted_secret_leaves_and_what_is_useful_does() {
    let mut headers = planted();
    for name in USEFUL {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static("useful"));
    }
    let mut trailers = headers.clone();
    plain().clean_head(&mut headers, true);
    assert!(!holds_secret(&headers), "{headers:?}");
    assert!(USEFUL.iter().all(|name| headers.get(*name).is_some_and(|value| value == "useful")));
    plain().clean_trailers(&mut trailers);
    assert!(!holds_secret(&trailers), "{trailers:?}");
    assert_eq!(trailers.len(), USEFUL.len());
}

#[test]
fn what_connection_names_goes_with_it() {
    let mut headers = HeaderMap::new();
    headers.append("connection", HeaderValue::from_static("close, X-Hop-One"));
    headers.append("connection", HeaderValue::from_static(" x-hop-two ,,\t, bad name"));
    headers.insert("x-hop-one", HeaderValue::from_static("SECRET"));
    headers.insert("x-hop-two", HeaderValue::from_static("SECRET"));
    headers.insert("x-end", HeaderValue::from_static("stays"));
    plain().clean_head(&mut headers, false);
    assert!(!holds_secret(&headers));
    assert_eq!(headers["x-end"], "stays");
}

#[test]
fn security_fields_are_ours_whatever_the_server_says() {
    let mut headers = HeaderMap::new();
    for name in ["content-security-policy", "referrer-policy", "strict-transport-security", "x-content-type-options"] {
        headers.append(name, HeaderValue::from_static("SECRET"));
        headers.append(name, HeaderValue::from_static("SECRET"));
    }
    plain().clean_head(&mut headers, true);
    let fields: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
    assert_eq!(fields.len(), 5);
    for field in [
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("referrer-policy", "no-referrer"),
        ("strict-transport-security", "max-age=31536000"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert!(fields.contains(&field), "{field:?} in {fields:?}");
    }
}

#[test]
fn transport_security_is_never_announced_in_the_clear() {
    let mut headers = HeaderMap::new();
    headers.insert("strict-transport-security", HeaderValue::from_static("max-age=1"));
    plain().clean_head(&mut headers, false);
    assert!(!headers.contains_key("strict-transport-security"));
}

#[test]
fn a_cache_rule_of_the_server_stays() {
    let mut headers = HeaderMap::new();
    headers.insert("cache-control", HeaderValue::from_static("private, max-age=5"));
    plain().clean_head(&mut headers, true);
    assert_eq!(headers["cache-control"], "private, max-age=5");
}

#[test]
fn a_reply_of_our_own_keeps_what_it_says_and_gets_the_security_fields() {
    let mut headers = HeaderMap::new();
    headers.insert("ratelimit", HeaderValue::from_static("\"rpm\";r=1;t=1"));
    headers.insert("www-authenticate", HeaderValue::from_static("Bearer"));
    plain().secure(&mut headers, true);
    assert_eq!(headers.len(), 7);
}

#[test]
fn without_security_fields_heads_are_cleaned_all_the_same() {
    let mut headers = planted();
    output("security_headers: false").clean_head(&mut headers, true);
    assert!(headers.is_empty(), "{headers:?}");
}

#[test]
fn the_configuration_adds_and_spares_names_but_never_those_of_a_connection() {
    let output = output(
        "{ drop_headers: [X-Model-Node, 'x-inner-*', server-name], keep_headers: [server-timing, 'ce-*', 'proxy-*'] }",
    );
    let mut headers = HeaderMap::new();
    for name in ["x-model-node", "x-inner-", "x-inner-pod", "server-name", "server", "proxy-authenticate", "via"] {
        headers.insert(name, HeaderValue::from_static("SECRET"));
    }
    for name in ["server-timing", "ce-id", "x-model", "x-inner"] {
        headers.insert(name, HeaderValue::from_static("kept"));
    }
    output.clean_trailers(&mut headers);
    assert!(!holds_secret(&headers), "{headers:?}");
    assert_eq!(headers.len(), 4);
}

#[test]
fn every_mistake_is_reported_where_it_stands() {
    let config: OutputConfig = serde_saphyr::from_str(
        "
drop_headers: ['bad name', 'x-*-y', '*', content-type, Set-Cookie]
keep_headers: [Connection, 'é', set-cookie]
",
    )
    .expect("it parses");
    let mut check = Checker::default();
    check.within("output", |check| config.compile(check));
    let problems = check.finish().0.into_iter().map(|problem| {
        let path: Vec<_> = problem.path.iter().map(ToString::to_string).collect();
        format!("{}: {}", path.join("/"), problem.message)
    });
    assert_eq!(
        problems.collect::<Vec<_>>(),
        [
            "output/drop_headers/0: `bad name` is not a field name, nor the beginning of one with `*`",
            "output/drop_headers/1: `x-*-y` is not a field name, nor the beginning of one with `*`",
            "output/drop_headers/2: `*` is not a field name, nor the beginning of one with `*`",
            "output/keep_headers/1: `é` is not a field name, nor the beginning of one with `*`",
            "output/drop_headers/3: `content-type` is needed to understand the reply",
            "output/keep_headers/0: `Connection` belongs to one connection and never passes",
            "output/keep_headers/2: `set-cookie` is also in `drop_headers`",
        ]
    );
}

#[test]
fn weak_settings_are_warned_of() {
    let config: OutputConfig =
        serde_saphyr::from_str("{ errors: relay_4xx, security_headers: false }").expect("parses");
    let mut check = Checker::default();
    config.compile(&mut check);
    assert_eq!(check.finish().1.len(), 2);
}

#[test]
fn every_block_of_the_users_page_loads() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        output: OutputConfig,
    }
    let blocks: Vec<_> = include_str!("README.md").split("```yaml\n").skip(1).collect();
    assert_eq!(blocks.len(), 1);
    for block in blocks {
        let yaml = block.split("```").next().expect("an end");
        let page: Page = serde_saphyr::from_str(yaml).expect("it loads");
        compile(&page.output);
    }
}

proptest! {
    #[test]
    fn arbitrary_heads_never_panic_and_are_clean_after_one_pass(
        fields in prop::collection::vec(("[a-zA-Z0-9_-]{1,20}", prop::collection::vec(any::<u8>(), 0..40)), 0..30),
        planted_at in prop::collection::vec(prop::sample::select(PLANTED.to_vec()), 0..5),
        connection in prop::collection::vec(any::<u8>(), 0..60),
        tls in any::<bool>(),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in &fields {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        for name in planted_at {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("SECRET"));
        }
        if let Ok(value) = HeaderValue::from_bytes(&connection) {
            headers.append("connection", value);
        }
        plain().clean_head(&mut headers, tls);
        prop_assert!(!holds_secret(&headers));
        let once = headers.clone();
        plain().clean_head(&mut headers, tls);
        prop_assert_eq!(headers, once);
    }

    #[test]
    fn only_success_ever_passes(status in 100_u16..1000, wait in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&wait) {
            headers.insert("retry-after", value);
        }
        let status = StatusCode::from_u16(status).expect("a status");
        let passes = plain().verdict(status, &headers).is_ok();
        prop_assert_eq!(passes, status.is_success());
    }
}
