//! Every face of a denial: what it says, and that it never says more than a `Denial` holds.

use tollgate_core::identity::{Method, Person};
use tollgate_core::ruling::{Refusal, Short, Spot, Stop};

use super::*;

#[test]
fn no_code_and_no_face_lets_evidence_out() {
    for code in Code::ALL {
        let stop = Stop::from(Refusal::new(*code).because("EVIDENCE-MARKER"));
        for face in [Face::Anthropic, Face::Grpc, Face::Ollama, Face::OpenAi, Face::Problem] {
            let response = problem(&stop.denial(), ExchangeId(7), face, Figures::default());
            let status = if face == Face::Grpc { 200 } else { code.status() };
            assert_eq!(response.status().as_u16(), status);
            let last = event(&stop.denial(), ExchangeId(7), face);
            let text = format!("{response:?} {last:?}");
            assert!(!text.contains("EVIDENCE-MARKER"), "{code:?} leaks");
        }
    }
}

#[test]
fn a_refusal_over_grpc_is_nothing_but_an_end() {
    let spot = Spot { pointer: "/inputs/0/shape".into(), expected: "100 % é".into(), found: "2".into(), index: None };
    let wait = Some(Duration::from_millis(1500));
    let denial = Denial { code: Code::RateLimited, retry_after: wait, spot: Some(spot.into()), short: None };
    let response = problem(&denial, ExchangeId(1), Face::Grpc, Figures::default());
    assert!(response.body().is_empty());
    let field = |name: &str| response.headers().get(name).map(|value| value.to_str().expect("ASCII").to_owned());
    assert_eq!(field("content-type").as_deref(), Some("application/grpc"));
    assert_eq!(field("grpc-status").as_deref(), Some("8"));
    assert_eq!(field("tollgate-problem").as_deref(), Some("rate_limited"));
    assert_eq!(field("grpc-retry-pushback-ms").as_deref(), Some("1500"));
    let message = field("grpc-message").expect("a message");
    assert!(message.contains("expected 100 %25 %C3%A9, found 2 (exchange "), "{message}");
}

#[test]
fn an_sdk_finds_its_error_object() {
    let denial = Denial { code: Code::RateLimited, retry_after: Some(Duration::from_secs(2)), spot: None, short: None };
    let response = problem(&denial, ExchangeId(1), Face::OpenAi, Figures::default());
    assert_eq!(
        (response.status(), &response.headers()[RETRY_AFTER]),
        (StatusCode::TOO_MANY_REQUESTS, &HeaderValue::from(2))
    );
    let body: Value = serde_json::from_slice(response.body()).expect("json");
    assert_eq!(
        (&body["error"]["type"], &body["error"]["code"]),
        (&json!("rate_limit_error"), &json!("rate_limit_exceeded"))
    );
    let spot =
        Spot { pointer: "/messages/0/role".into(), expected: "a role".into(), found: "a string".into(), index: None };
    let denial = Denial { code: Code::InvalidCall, retry_after: None, spot: Some(spot.into()), short: None };
    let response = problem(&denial, ExchangeId(1), Face::OpenAi, Figures::default());
    let body: Value = serde_json::from_slice(response.body()).expect("json");
    assert_eq!(body["error"]["param"], "messages.0.role");
    let last = event(&denial, ExchangeId(1), Face::Anthropic).expect("an event");
    assert!(last.starts_with(b"event: error\ndata: {") && last.ends_with(b"}\n\n"), "{last:?}");
}

#[test]
fn a_spot_and_a_wait_reach_the_client() {
    let spot = Spot {
        pointer: "/inputs/0/data/3".into(),
        expected: "a finite FP32".into(),
        found: "1e39".into(),
        index: Some(3),
    };
    let denial = Denial {
        code: Code::InvalidCall,
        retry_after: Some(Duration::from_millis(1500)),
        spot: Some(spot.into()),
        short: None,
    };
    let response = problem(&denial, ExchangeId(1), Face::Problem, Figures::default());
    assert_eq!(response.headers()[RETRY_AFTER], "2");
    let body: Value = serde_json::from_slice(response.body()).expect("json");
    assert_eq!(body["pointer"], "/inputs/0/data/3");
    assert_eq!(body["index"], 3);
    assert_eq!(body["retry_after_ms"], 1500);
}

fn short(calendar: bool) -> Box<Short> {
    Box::new(Short { budget: "gold".into(), unit: "compute", calendar, cost: 70, limit: 60 })
}

fn known() -> Seen {
    let person = Person { method: Method::ApiKey, ..Person::default() };
    Seen { who: Some(Identity::new(person)), ..Seen::default() }
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).expect("json")
}

#[test]
fn figures_are_for_callers_who_proved_who_they_are() {
    let wait = Some(Duration::from_micros(1_499_500));
    let denial = Denial { code: Code::RateLimited, retry_after: wait, spot: None, short: Some(short(false)) };
    for seen in [Seen::default(), Seen { who: Some(Identity::anonymous()), ..Seen::default() }] {
        let figures = Figures::of(&denial, &seen);
        for face in [Face::Anthropic, Face::Grpc, Face::Ollama, Face::OpenAi, Face::Problem] {
            let text = format!("{:?}", problem(&denial, ExchangeId(1), face, figures));
            assert!(!text.contains("gold") && !text.contains("70"), "{face:?}: {text}");
        }
    }
    let seen = known();
    let figures = Figures::of(&denial, &seen);
    let members = json!({
        "violated-policies": ["gold"], "unit": "compute", "cost": 70, "limit": 60, "retry_after_ms": 1500,
    });
    let has = |found: &Value| members.as_object().expect("members").iter().all(|(name, value)| found[name] == *value);
    assert!(has(&body(&problem(&denial, ExchangeId(1), Face::Problem, figures))));
    assert!(has(&body(&problem(&denial, ExchangeId(1), Face::OpenAi, figures))["error"]));
    assert!(has(&body(&problem(&denial, ExchangeId(1), Face::Anthropic, figures))["error"]));
    assert!(has(&body(&problem(&denial, ExchangeId(1), Face::Ollama, figures))));
    let over_grpc = problem(&denial, ExchangeId(1), Face::Grpc, figures);
    let message = over_grpc.headers()["grpc-message"].to_str().expect("ASCII");
    assert!(message.contains("budget `gold` gives at most 60 %C2%B5s of compute"), "{message}");
}

#[test]
fn openai_s_words_are_told_where_openai_is_spoken() {
    let words = |code: Code, calendar: bool| {
        let denial = Denial { code, retry_after: None, spot: None, short: Some(short(calendar)) };
        let seen = known();
        let response = problem(&denial, ExchangeId(1), Face::OpenAi, Figures::of(&denial, &seen));
        assert_eq!(response.headers()["tollgate-problem"], code.name());
        let body = body(&response);
        let word = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
        (response.status().as_u16(), word("type"), word("code"))
    };
    let owned = |status: u16, kind: &str, code: &str| (status, kind.to_owned(), code.to_owned());
    assert_eq!(words(Code::RateLimited, false), owned(429, "rate_limit_error", "rate_limit_exceeded"));
    assert_eq!(words(Code::RateLimited, true), owned(429, "insufficient_quota", "insufficient_quota"));
    assert_eq!(words(Code::Overloaded, false), owned(503, "service_unavailable_error", "server_is_overloaded"));
    assert_eq!(words(Code::Unavailable, false), owned(503, "service_unavailable_error", "unavailable"));
    assert_eq!(words(Code::TooExpensive, false), owned(413, "invalid_request_error", "cost_exceeds_capacity"));
    assert_eq!(words(Code::UpstreamFailed, false), owned(502, "server_error", "upstream_failed"));
}

#[test]
fn clients_are_told_when_to_come_back_and_when_not_to() {
    let told = |code: Code, wait: Option<Duration>| {
        let denial = Denial { code, retry_after: wait, spot: None, short: None };
        let http = problem(&denial, ExchangeId(1), Face::OpenAi, Figures::default());
        let rpc = problem(&denial, ExchangeId(1), Face::Grpc, Figures::default());
        let of =
            |headers: &HeaderMap, name: &str| headers.get(name).map(|value| value.to_str().expect("ASCII").to_owned());
        let field = |name: &str| of(http.headers(), name);
        let pushback = of(rpc.headers(), "grpc-retry-pushback-ms");
        [field("retry-after"), field("retry-after-ms"), field("x-should-retry"), pushback]
    };
    let owned = |texts: [Option<&str>; 4]| texts.map(|text| text.map(str::to_owned));
    let wait = |ms: u64| Some(Duration::from_millis(ms));
    assert_eq!(told(Code::RateLimited, wait(250)), owned([Some("1"), Some("250"), None, Some("250")]));
    assert_eq!(told(Code::Overloaded, wait(120_000)), owned([Some("120"), Some("120000"), None, Some("120000")]));
    let long = owned([Some("121"), Some("120001"), Some("false"), Some("-1")]);
    assert_eq!(told(Code::RateLimited, wait(120_001)), long);
    assert_eq!(told(Code::TooExpensive, None), owned([None, None, Some("false"), Some("-1")]));
    assert_eq!(told(Code::Unavailable, None), owned([None, None, None, None]));
}

#[test]
fn a_registered_problem_type_is_used_where_one_fits() {
    let kind = |code: Code| type_of(code).trim_start_matches("https://iana.org/assignments/").to_owned();
    assert_eq!(kind(Code::RateLimited), "http-problem-types#quota-exceeded");
    assert_eq!(kind(Code::Overloaded), "http-problem-types#temporary-reduced-capacity");
    assert_eq!(kind(Code::Unavailable), "http-problem-types#temporary-reduced-capacity");
    assert_eq!(kind(Code::AbnormalUsage), "http-problem-types#abnormal-usage-detected");
    assert_eq!(type_of(Code::TooExpensive), format!("{DOCS}#too_expensive"));
}
