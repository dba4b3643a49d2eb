//! Every verdict of the layer as data, and what must hold whatever is sent.

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use proptest::prelude::*;
use serde::Deserialize;
use tollgate_core::check::Checker;
use tollgate_core::identity::ExchangeId;
use tollgate_core::ruling::{Code, Ruling, Stop};

use super::{Cookies, Fresh, Head, Hygiene, HygieneConfig, Ours, RawVerdict, Trace, write};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    what: String,
    #[serde(default)]
    given: HygieneConfig,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    request: String,
    /// Filler that would make the file unreadable.
    #[serde(default)]
    more: More,
    refuse: Option<String>,
    /// Part of the evidence: a refusal for another reason is a failure.
    because: Option<String>,
    host: Option<String>,
    path: Option<String>,
    /// The codec's own types cannot hold such a request: it never comes here.
    #[serde(default)]
    codec: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct More {
    fields: usize,
    bytes: usize,
    target: usize,
}

const FILES: [&str; 8] = [
    include_str!("cases/caps.yaml"),
    include_str!("cases/connection.yaml"),
    include_str!("cases/framing.yaml"),
    include_str!("cases/hosts.yaml"),
    include_str!("cases/http2.yaml"),
    include_str!("cases/methods.yaml"),
    include_str!("cases/served_hosts.yaml"),
    include_str!("cases/targets.yaml"),
];

fn compiled(config: &HygieneConfig) -> Hygiene {
    let mut check = Checker::default();
    let layer = config.compile(&mut check);
    assert_eq!(check.finish().0, []);
    layer
}

/// The head as the codec would hand it over; `None` where the codec cannot.
fn parts(text: &str, more: &More) -> Option<Parts> {
    let mut lines = text.lines();
    let first: Vec<&str> = lines.next()?.splitn(2, ' ').collect();
    let (target, version) = first.get(1)?.rsplit_once(' ')?;
    let target = format!("{target}{}", "a".repeat(more.target));
    let version = match version {
        "HTTP/0.9" => Version::HTTP_09,
        "HTTP/1.0" => Version::HTTP_10,
        "HTTP/1.1" => Version::HTTP_11,
        "HTTP/2" => Version::HTTP_2,
        "HTTP/3" => Version::HTTP_3,
        other => panic!("version {other}"),
    };
    let mut headers = HeaderMap::new();
    let mut authority = None;
    for line in lines {
        if let Some(name) = line.strip_prefix(":authority: ") {
            authority = Some(name);
            continue;
        }
        let (name, value) = line.split_once(':')?;
        headers.append(HeaderName::try_from(name).ok()?, HeaderValue::from_bytes(value.trim().as_bytes()).ok()?);
    }
    for i in 0..more.fields {
        headers.append(HeaderName::try_from(format!("x-{i}")).ok()?, HeaderValue::from_static("1"));
    }
    if more.bytes > 0 {
        headers.append("x-filler", HeaderValue::try_from("x".repeat(more.bytes)).ok()?);
    }
    let target = authority.map_or_else(|| target.clone(), |authority| format!("https://{authority}{target}"));
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(first.first()?.as_bytes()).ok()?;
    parts.uri = Uri::try_from(target).ok()?;
    parts.version = version;
    parts.headers = headers;
    Some(parts)
}

fn clean(text: &str) -> Ruling<Head> {
    compiled(&HygieneConfig::default()).clean(parts(text, &More::default()).expect("a head"), None)
}

#[test]
fn every_case_gets_its_verdict() {
    let mut ran = 0;
    for text in FILES {
        let file: File = serde_saphyr::from_str(text).expect("cases parse");
        let layer = compiled(&file.given);
        for case in &file.cases {
            let place = format!("{}: {}", file.what, case.what);
            run(&layer, case, &place);
            ran += 1;
        }
    }
    assert!(ran > 150, "only {ran} cases ran");
}

fn run(layer: &Hygiene, case: &Case, place: &str) {
    let parts = parts(&case.request, &case.more);
    if case.codec {
        assert!(parts.is_none(), "{place}: the codec lets it through");
        return;
    }
    let verdict = layer.clean(parts.unwrap_or_else(|| panic!("{place}: no head")), None);
    match (verdict, &case.refuse) {
        (Ok(head), None) => {
            assert!(case.host.is_some() || case.path.is_some(), "{place}: nothing is expected");
            if let Some(host) = &case.host {
                assert_eq!(&*head.host, host, "{place}");
            }
            if let Some(path) = &case.path {
                assert_eq!(&head.uri.to_string(), path, "{place}");
            }
        }
        (Err(Stop::Refuse(refusal)), Some(code)) => {
            assert_eq!(refusal.code.name(), code, "{place}: {}", refusal.evidence());
            let because = case.because.as_deref().unwrap_or_default();
            assert!(refusal.evidence().contains(because), "{place}: {}", refusal.evidence());
        }
        (verdict, expected) => panic!("{place}: {verdict:?}, not {expected:?}"),
    }
}

#[test]
fn a_verdict_on_raw_bytes_comes_first() {
    let raw = RawVerdict { code: Code::TooSlow, why: "a head over its deadline" };
    let layer = compiled(&HygieneConfig::default());
    let Some(parts) = parts("post /../ HTTP/1.1", &More::default()) else { panic!("no head") };
    let Err(Stop::Refuse(refusal)) = layer.clean(parts, Some(raw)) else { panic!("it passed") };
    assert_eq!((refusal.code, refusal.evidence()), (Code::TooSlow, "a head over its deadline"));
}

#[test]
fn a_value_cannot_hold_a_line_end_or_nul() {
    // The layer relies on the type for it.
    for byte in [b'\r', b'\n', 0] {
        assert!(HeaderValue::from_bytes(&[b'a', byte, b'b']).is_err());
    }
}

#[test]
fn every_mistake_of_the_section_is_reported() {
    let config: HygieneConfig = serde_saphyr::from_str(
        "{ hosts: [a.test, 'b.test:80', '*.1.2.3.4', 'a b', '*.*.test'], max_headers: 1, max_head_bytes: 600, max_target_bytes: 700 }",
    )
    .expect("it parses");
    let mut check = Checker::default();
    config.compile(&mut check);
    let found: Vec<_> = check
        .finish()
        .0
        .into_iter()
        .map(|problem| {
            let path: Vec<_> = problem.path.iter().map(ToString::to_string).collect();
            format!("{}: {}", path.join("/"), problem.message)
        })
        .collect();
    assert_eq!(
        found,
        [
            "hosts/1: `b.test:80` holds a port: hosts are names alone",
            "hosts/2: `*.1.2.3.4` puts a wildcard before an address",
            "hosts/3: `a b` is not a host name",
            "hosts/4: `*.*.test` is not a host name",
            "max_headers: `1` is not within 8 and 1000",
            "max_target_bytes: a target is part of the head: it must be below `max_head_bytes`",
        ]
    );
}

#[test]
fn the_readme_s_examples_load() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        hygiene: HygieneConfig,
    }
    let blocks: Vec<&str> =
        include_str!("README.md").split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        compiled(&serde_saphyr::from_str::<Page>(block).expect(block).hygiene);
    }
}

#[test]
fn what_is_forwarded_holds_nothing_of_the_hop_and_no_claim_but_ours() {
    let request = "POST /a HTTP/1.1\nHost: gate.test\nConnection: close, X-Hop\nX-Hop: 1\nKeep-Alive: 1\nTE: trailers\n\
        Upgrade: websocket\nProxy-Connection: x\nAuthorization: Bearer k\nX-API-Key: k\nCookie: a=b\nX-Forwarded-For: 1.2.3.4\n\
        X-Forwarded-Proto: http\nForwarded: for=1.2.3.4\nX-Real-IP: 1.2.3.4\nTollgate-Solution: x\nExpect: 100-continue\n\
        Content-Length: 2\nContent-Encoding: gzip\nContent-Type: application/json\nAccept: */*\nX-Request-Id: theirs\n\
        Tracestate: a=b\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let head = clean(request).expect("it is clean");
    assert_eq!(head.single("authorization"), Some("Bearer k"), "credentials are there until they were read");
    let fresh = Fresh { trace_id: 1, span_id: 2, sampled: false };
    let trace = Trace::follow(&head.headers, fresh);
    let client = Some([192, 0, 2, 90].into());
    for content_type in [None, Some("application/x-tensor")] {
        let ours = Ours { id: ExchangeId(255), trace, client, content_type };
        let content_type = format!("content-type: {}", content_type.unwrap_or("application/json"));
        let left = forwarded(&head.headers, Cookies::Drop, &ours);
        let mut left: Vec<String> =
            left.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                "accept: */*",
                content_type.as_str(),
                "traceparent: 00-0af7651916cd43dd8448eb211c80319c-0000000000000002-01",
                "tracestate: a=b",
                "x-forwarded-for: 192.0.2.90",
                "x-request-id: 000000000000000000000000000000ff",
            ]
        );
    }
}

/// The fields that go on, as a server would read them.
fn forwarded(headers: &HeaderMap, cookies: Cookies, ours: &Ours) -> HeaderMap {
    let (mut out, mut fields) = (Vec::new(), HeaderMap::new());
    write(&mut out, headers, cookies, ours);
    assert!(out.ends_with(b"\r\n"));
    for line in out[..out.len() - 2].split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|byte| *byte == b':').expect("a field");
        let name = HeaderName::from_bytes(&line[..colon]).expect("a name");
        fields.append(name, HeaderValue::from_bytes(&line[colon + 2..]).expect("a value"));
    }
    fields
}

/// Ours, for tests that look at what is not.
fn ours() -> Ours {
    let trace = Trace::follow(&HeaderMap::new(), Fresh { trace_id: 0, span_id: 0, sampled: false });
    Ours { id: ExchangeId(1), trace, client: None, content_type: None }
}

#[test]
fn addresses_are_written_as_they_are() {
    for text in ["0.0.0.0", "1.20.100.255", "10.9.99.109", "2001:db8::1", "::1"] {
        let client = Some(text.parse().expect("an address"));
        let fields = forwarded(&HeaderMap::new(), Cookies::Drop, &Ours { client, ..ours() });
        assert_eq!(fields["x-forwarded-for"], text);
    }
}

#[test]
fn cookies_go_on_only_when_kept() {
    let headers = clean("GET / HTTP/1.1\nHost: h\nCookie: a=b").expect("clean").headers;
    assert!(forwarded(&headers, Cookies::Keep, &ours()).contains_key(COOKIE));
    assert!(!forwarded(&headers, Cookies::Drop, &ours()).contains_key(COOKIE));
}

#[test]
fn a_trace_goes_on_or_begins_anew() {
    let fresh = Fresh { trace_id: 7, span_id: 9, sampled: true };
    let follow = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("traceparent", HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        Trace::follow(&headers, fresh)
    };
    let id = "0af7651916cd43dd8448eb211c80319c";
    let good = format!("00-{id}-b7ad6b7169203331-00");
    let went_on = follow(&[&good]);
    assert_eq!(went_on.to_string(), format!("00-{id}-0000000000000009-00"));
    assert_eq!(went_on.parent, Some(0xb7ad_6b71_6920_3331));
    let later = follow(&[&format!("cc-{id}-b7ad6b7169203331-01-what-comes-later")]);
    assert_eq!(later.to_string(), format!("00-{id}-0000000000000009-01"));

    let anew = "00-00000000000000000000000000000007-0000000000000009-01";
    let bad = [
        String::new(),
        "garbage".into(),
        format!("00-{id}-b7ad6b7169203331"),
        format!("00-{id}-b7ad6b7169203331-01-more"),
        format!("ff-{id}-b7ad6b7169203331-01"),
        format!("00-{}-b7ad6b7169203331-01", id.to_uppercase()),
        format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
        format!("00-{id}-0000000000000000-01"),
        format!("00-{id}-b7ad6b716920333-01"),
        format!("00-{id}-+7ad6b7169203331-01"),
        format!("00-{id}é-b7ad6b7169203331-01"),
    ];
    for value in &bad {
        let trace = follow(&[value]);
        assert_eq!((trace.to_string().as_str(), trace.parent), (anew, None), "{value}");
    }
    assert_eq!(follow(&[&good, &good]).parent, None, "two parents are none");
    assert_eq!(follow(&[]).to_string(), anew);
}

#[test]
fn a_tracestate_does_not_outlive_its_trace() {
    let mut headers = HeaderMap::new();
    headers.insert("tracestate", HeaderValue::from_static("a=b"));
    let trace = Trace::follow(&headers, Fresh { trace_id: 0, span_id: 0, sampled: false });
    assert_eq!(trace.to_string(), "00-00000000000000000000000000000001-0000000000000001-00");
    let headers = forwarded(&headers, Cookies::Drop, &Ours { trace, ..ours() });
    assert!(!headers.contains_key("tracestate"));
    assert!(!headers.contains_key("x-forwarded-for"));
}

/// Fields of the hop by RFC 9110 §7.6.1 and by custom.
const HOP: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

fn any_name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-api-key",
        "x-forwarded-for",
        "x-hop",
        "x_api_key",
        "tollgate-x",
        "traceparent",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => "[!#-'*+.^-z|~A-Z0-9-]{1,12}"]
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec!["chunked", "close", "5", "gate.test", "100-continue", "trailers", "x-hop"]);
    let listed = prop::collection::vec(any_name(), 0..4).prop_map(|names| names.join(", ").into_bytes());
    prop_oneof![known.prop_map(|text| text.as_bytes().to_vec()), listed, prop::collection::vec(any::<u8>(), 0..24),]
}

fn any_head() -> impl Strategy<Value = Parts> {
    let methods = prop::sample::select(vec!["GET", "POST", "HEAD", "post", "CONNECT"]);
    let targets = prop_oneof![
        "/[ -~é]{0,20}",
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        prop::sample::select(vec!["/a", "http://gate.test/a", "*", "gate.test:80"]).prop_map(str::to_owned),
    ];
    let versions = prop::sample::select(vec![Version::HTTP_10, Version::HTTP_11, Version::HTTP_2]);
    let fields = prop::collection::vec((any_name(), any_value()), 0..8);
    (methods, targets, versions, fields, any::<bool>()).prop_map(|(method, target, version, fields, hosted)| {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = Method::from_bytes(method.as_bytes()).expect("a method");
        parts.uri = Uri::try_from(target).unwrap_or_else(|_| Uri::from_static("/b"));
        parts.version = version;
        if hosted {
            parts.headers.insert("host", HeaderValue::from_static("gate.test"));
        }
        for (name, value) in fields {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(&value)) {
                parts.headers.append(name, value);
            }
        }
        parts
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_head_panics_and_a_clean_one_is_in_origin_form(parts in any_head()) {
        let layer = compiled(&HygieneConfig::default());
        if let Ok(head) = layer.clean(parts, None) {
            prop_assert!(head.path().starts_with('/'));
            prop_assert!(head.uri.authority().is_none());
            prop_assert!(!head.path().split('/').any(|segment| segment == "." || segment == ".."));
            prop_assert!(!head.host.is_empty());
        }
    }

    #[test]
    fn connection_never_takes_a_credential_and_never_leaves_a_hop_s_field(
        options in prop::collection::vec(any_name(), 0..4),
        fields in prop::collection::vec((any_name(), any_value()), 0..6),
    ) {
        let mut parts = parts("POST / HTTP/1.1\nHost: h\nAuthorization: Bearer k\nX-API-Key: k", &More::default())
            .expect("a head");
        for (name, value) in fields {
            let name = HeaderName::try_from(name).expect("a name");
            // A second host or credential is another matter.
            if let Ok(value) = HeaderValue::from_bytes(&value) && !parts.headers.contains_key(&name) {
                parts.headers.insert(name, value);
            }
        }
        let list = options.join(" ,");
        parts.headers.append("connection", HeaderValue::try_from(&list).expect("names"));
        if let Ok(head) = compiled(&HygieneConfig::default()).clean(parts, None) {
            prop_assert_eq!(head.single("authorization"), Some("Bearer k"));
            prop_assert_eq!(head.single("x-api-key"), Some("k"));
            let headers = forwarded(&head.headers, Cookies::Keep, &ours());
            for name in HOP.iter().copied().chain(options.iter().map(String::as_str)) {
                prop_assert!(!headers.contains_key(name), "{} goes on", name);
            }
            prop_assert!(!headers.contains_key(AUTHORIZATION));
            prop_assert!(!headers.keys().any(|name| name.as_str().starts_with("tollgate-")));
        }
    }

    #[test]
    fn stripping_any_fields_leaves_none_of_the_hop_s(parts in any_head()) {
        let headers = forwarded(&parts.headers, Cookies::Drop, &ours());
        for name in HOP {
            prop_assert!(!headers.contains_key(name));
        }
        prop_assert!(!headers.contains_key(COOKIE) && !headers.contains_key("x-api-key"));
    }
}

#[test]
fn a_lenient_listener_serves_what_can_be_served_and_notes_the_rest() {
    use tollgate_core::guard::Gate;
    use tollgate_core::journal::{Event, Journal};
    use tollgate_core::stage::Stage;

    let gate = Gate { stage: Stage::Hygiene, layer: HygieneConfig::default().compile(&mut Checker::default()) };
    let ask = |target: &str, host: &str, lenient: bool| {
        let mut log = Journal::default();
        let request = Request::builder().uri(target).header("host", host).body(()).expect("a request");
        let head = gate.demand(&mut log, |h, notes| h.receive(request.into_parts().0, None, lenient, notes));
        let noted = log.entries().iter().any(|entry| matches!(entry.event, Event::WouldRefuse(_)));
        (head.map(|head| head.uri.to_string()).ok(), noted)
    };
    assert_eq!(ask("/a//b", "x", false), (None, false));
    assert_eq!(ask("/a//b", "x", true), (Some("/a//b".to_owned()), true));
    assert_eq!(ask("/a/b", "x", true), (Some("/a/b".to_owned()), false));
    assert_eq!(ask("/a/b", "", true), (None, false), "a host is not forgiven");
}
