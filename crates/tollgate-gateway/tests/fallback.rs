//! Other ways for calls whose own failed: when they are taken, what is sent there, what the caller is told, and that nobody
//! gets by another way what they would not get by its own.

use tollgate_testkit::client::post;
use tollgate_testkit::{Act, House, ModelServer, Reply};

const CHAT: &str = r#"{"model":"big","messages":[{"role":"user","content":"\"model\":\"big\""}],"max_tokens":16}"#;
const ANSWER: &str =
    r#"{"id":"1","object":"chat.completion","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;

/// A gateway before two upstreams; `ways` are those of model `big`.
fn house(first: &ModelServer, second: &ModelServer, ways: &str, more: &str) -> House {
    House::start(&config(first, second, ways, more))
}

fn config(first: &ModelServer, second: &ModelServer, ways: &str, more: &str) -> String {
    format!(
        "runtime: {{ workers: 1 }}
upstreams:
  one: {{ endpoints: [\"{}\"], first_byte_ms: 600, breaker: {{ failures: 3, open: 30s }} }}
  two: {{ endpoints: [\"{}\"] }}
models:
  big: {{ upstream: one, fallback: {ways} }}
  small: {{ upstream: two, contract: {{ max_output_tokens: 32 }} }}
routes:
  - {{ name: chat, path: /v1/chat/completions, protocol: openai, models: [big, small] }}
tenants:
  acme: {{ models: [big, small], routes: [chat], budgets: [calls] }}
  poor: {{ models: [big], routes: [chat], budgets: [calls] }}
limits: {{ budgets: [{{ name: calls, per: tenant, unit: requests, burst: 100, refill_per_sec: 1 }}] }}
{more}",
        first.url(),
        second.url()
    )
}

async fn ask(house: &House, tenant: &str, body: &str) -> Reply {
    let lines = format!("{}Content-Type: application/json\r\n", house.bearer(tenant));
    house.plain().await.ask(post("/v1/chat/completions", &lines, body)).await
}

async fn failing() -> ModelServer {
    ModelServer::start(|_| Act::answer("500 Internal Server Error", "", "{}")).await
}

async fn answering() -> ModelServer {
    ModelServer::start(|_| Act::json(ANSWER)).await
}

#[tokio::test]
async fn another_upstream_answers_where_the_first_one_fails_and_the_answer_says_so() {
    let (one, two) = (failing().await, answering().await);
    let house = house(&one, &two, "[{ upstream: two }]", "");
    let reply = ask(&house, "acme", CHAT).await;
    assert_eq!((reply.status, reply.field("x-tollgate-fallback")), (200, Some("two")), "{}", reply.text());
    assert_eq!((one.count(), two.count()), (1, 1));
    assert_eq!(two.requests()[0].body, CHAT.as_bytes(), "the same call");
    let line = house.line(&reply.id()).await;
    assert_eq!((line["fallback"].as_str(), line["model"].as_str()), (Some("two"), Some("big")), "{line}");
    let row = "tollgate_fallbacks_total{model=\"big\",fallback=\"two\"}";
    assert_eq!(house.metric(row).await, Some(1.0));
    house.quiet().await;
}

#[tokio::test]
async fn another_model_gets_a_call_of_its_own_name() {
    let (one, two) = (failing().await, answering().await);
    let house = house(&one, &two, "[{ model: small }]", "");
    let reply = ask(&house, "acme", CHAT).await;
    assert_eq!((reply.status, reply.field("x-tollgate-fallback")), (200, Some("small")), "{}", reply.text());
    let expected = CHAT.replace("\"model\":\"big\",", "\"model\":\"small\",");
    assert_eq!(String::from_utf8_lossy(&two.requests()[0].body), expected);
    house.quiet().await;
}

#[tokio::test]
async fn nobody_gets_a_model_by_another_way_that_they_may_not_use_or_whose_contract_they_break() {
    let (one, two) = (failing().await, answering().await);
    let house = house(&one, &two, "[{ model: small }]", "");
    let reply = ask(&house, "poor", CHAT).await;
    assert_eq!((reply.status, reply.field("x-tollgate-fallback")), (502, None), "not theirs");
    let reply = ask(&house, "acme", &CHAT.replace("16", "33")).await;
    assert_eq!(reply.status, 502, "more tokens than that model writes");
    assert_eq!(two.count(), 0);
    assert_eq!(ask(&house, "acme", CHAT).await.status, 200);
    house.quiet().await;
}

#[tokio::test]
async fn ways_are_tried_in_order_and_the_first_failure_is_what_is_told() {
    let (one, two) = (ModelServer::start(|_| vec![Act::Reset]).await, failing().await);
    let house = house(&one, &two, "[{ upstream: two }, { model: small }]", "");
    let reply = ask(&house, "acme", CHAT).await;
    assert_eq!(reply.status, 502);
    assert!(reply.text().contains("\"code\":\"upstream_failed\""), "{}", reply.text());
    assert_eq!(two.count(), 2, "the same call, and then one for the other model");
    let line = house.line(&reply.id()).await;
    assert!(line["evidence"].as_str().is_some_and(|why| why.contains("no answer")), "{line}");
    house.quiet().await;
}

#[tokio::test]
async fn an_open_breaker_is_gone_around_without_waiting() {
    let (one, two) = (ModelServer::start(|_| vec![Act::Reset]).await, answering().await);
    let house = house(&one, &two, "[{ upstream: two }]", "");
    for _ in 0..8 {
        let reply = ask(&house, "acme", CHAT).await;
        assert_eq!((reply.status, reply.field("x-tollgate-fallback")), (200, Some("two")));
    }
    assert!(one.count() <= 3, "{}", one.count());
    assert_eq!(two.count(), 8);
    house.quiet().await;
}

#[tokio::test]
async fn a_hang_is_gone_around_and_a_refusal_of_the_server_is_not() {
    let (one, two) = (ModelServer::start(|_| vec![Act::Stay]).await, answering().await);
    let house_of = house(&one, &two, "[{ upstream: two }]", "");
    assert_eq!(ask(&house_of, "acme", CHAT).await.field("x-tollgate-fallback"), Some("two"));
    house_of.quiet().await;
    for (status, lines) in [("400 Bad Request", ""), ("429 Too Many Requests", "Retry-After: 1\r\n")] {
        let one = ModelServer::start(move |_| Act::answer(status, lines, "{}")).await;
        let house = house(&one, &two, "[{ upstream: two }]", "");
        let reply = ask(&house, "acme", CHAT).await;
        assert!(reply.status >= 400 && reply.field("x-tollgate-fallback").is_none(), "{status}");
        house.quiet().await;
    }
}

#[tokio::test]
async fn a_call_that_went_another_way_is_paid_for_once() {
    let (one, two) = (failing().await, answering().await);
    let house = house(&one, &two, "[{ upstream: two }]", "");
    let left = |reply: &Reply| {
        let level = reply.field("ratelimit").expect("a level").to_owned();
        level.split(";r=").nth(1).and_then(|rest| rest.split(';').next()?.parse::<u32>().ok()).expect("what is left")
    };
    let first = left(&ask(&house, "acme", CHAT).await);
    let second = left(&ask(&house, "acme", CHAT).await);
    assert_eq!(first - second, 1);
}

#[tokio::test]
async fn a_server_cannot_pretend_that_a_call_went_another_way() {
    let (one, two) =
        (ModelServer::start(|_| Act::answer("200 OK", "X-Tollgate-Fallback: x\r\n", ANSWER)).await, answering().await);
    let house = house(&one, &two, "[{ upstream: two }]", "");
    let reply = ask(&house, "acme", CHAT).await;
    assert_eq!((reply.status, reply.field("x-tollgate-fallback")), (200, None));
}

#[tokio::test]
async fn who_stands_in_is_named_to_those_who_proved_who_they_are() {
    let (one, two) = (failing().await, answering().await);
    let text = config(&one, &two, "[{ upstream: two }]", "");
    let house = House::start(&text.replace("models: [big, small] }", "models: [big, small], auth: none }"));
    let lines = "Content-Type: application/json\r\n";
    let reply = house.plain().await.ask(post("/v1/chat/completions", lines, CHAT)).await;
    assert_eq!((reply.status, reply.field("x-tollgate-fallback")), (200, Some("true")), "{}", reply.text());
    house.quiet().await;
}

#[tokio::test]
async fn a_way_that_failed_leaves_nothing_of_its_contract_behind() {
    // The own way fails, then the other model's, whose contract speaks of replies; the third is the own model's again.
    let (one, two) = (
        failing().await,
        ModelServer::start(|taken| match String::from_utf8_lossy(&taken.body).contains("\"small\"") {
            true => Act::answer("503 Service Unavailable", "", "{}"),
            false => Act::answer("200 OK", "Content-Type: application/json\r\n", ANSWER),
        })
        .await,
    );
    let text = config(&one, &two, "[{ model: small }, { upstream: two }]", "");
    let house = House::start(&text.replace("max_output_tokens: 32", "max_output_tokens: 32, reply: { max_bytes: 10 }"));
    let reply = ask(&house, "acme", CHAT).await;
    assert_eq!((reply.status, reply.field("x-tollgate-fallback")), (200, Some("two")), "{}", reply.text());
    house.quiet().await;
}
