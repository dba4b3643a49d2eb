//! Features that meet in one call: other ways and the cache, other ways and the bill, versions and what is learned of costs,
//! mirrored calls and budgets, second attempts and the ledger. Each is tested alone elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tollgate_testkit::client::post;
use tollgate_testkit::{Act, Client, House, ModelServer, Reply};

const CHAT: &str = r#"{"model":"big","messages":[{"role":"user","content":"hi"}],"max_tokens":16}"#;
const ANSWER: &str =
    r#"{"id":"1","object":"chat.completion","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
const TENSOR: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}"#;
const TENSORS: &str = r#"{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[0.5]}]}"#;

/// What every call here is paid from: it is full again in no time that a test takes.
const BUDGET: &str = "limits: { budgets: [{ name: gold, per: tenant, quota: 1000000000, window_ms: 360000000 }] }\ncost: { min_us: 1, settle: stated, class_unit_us: 1000, classes: { small: 10, large: 500 } }\n";

/// A server that fails while it is told to.
async fn moody(answer: &'static str) -> (ModelServer, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&fails);
    let bad = || Act::answer("500 Internal Server Error", "", "{}");
    let server = ModelServer::start(move |_| if now.load(Ordering::Relaxed) { bad() } else { Act::json(answer) });
    (server.await, fails)
}

/// Chats of a model whose calls have another way: another upstream, or another model.
fn chats(one: &ModelServer, two: &ModelServer, way: &str) -> House {
    House::start(&format!(
        "runtime: {{ workers: 1 }}
upstreams:
  one: {{ endpoints: [\"{}\"], breaker: {{ failures: 0 }} }}
  two: {{ endpoints: [\"{}\"], breaker: {{ failures: 0 }} }}
models:
  big: {{ upstream: one, deterministic: true, cost: {{ class: large }}, fallback: [{{ {way} }}] }}
  small: {{ upstream: two, deterministic: true, cost: {{ class: small }} }}
routes:
  - {{ name: chat, path: /v1/chat/completions, protocol: openai, models: [big, small], cache: {{ ttl_ms: 600000 }} }}
tenants: {{ acme: {{ models: [big, small], budgets: [gold] }} }}
{BUDGET}",
        one.url(),
        two.url()
    ))
}

async fn chat(house: &House) -> Reply {
    let fields = format!("{}Content-Type: application/json\r\n", house.bearer("acme"));
    house.plain().await.ask(post("/v1/chat/completions", &fields, CHAT)).await
}

/// Which way a call went, and what became of it in the cache.
fn way(reply: &Reply) -> (u16, Option<&str>, Option<&str>) {
    (reply.status, reply.field("x-tollgate-fallback"), reply.field("x-tollgate-cache"))
}

/// Milliseconds that are gone from the budget of `acme`, once nothing runs any more.
async fn gone(house: &House) -> u64 {
    house.quiet().await;
    let head = format!("GET /.tollgate/quota HTTP/1.1\r\nHost: gateway.test\r\n{}\r\n", house.bearer("acme"));
    let told: Value = serde_json::from_str(&house.plain().await.ask(head).await.text()).expect("JSON");
    let left = told["budgets"][0]["remaining"].as_u64();
    1_000_000 - left.unwrap_or_else(|| panic!("no budget in {told}"))
}

#[tokio::test]
async fn what_another_way_answered_is_never_kept_for_the_first() {
    for other in ["upstream: two", "model: small"] {
        let ((one, fails), (two, _)) = (moody(ANSWER).await, moody(ANSWER).await);
        let house = chats(&one, &two, other);
        fails.store(true, Ordering::Relaxed);
        let name = other.split(": ").nth(1);
        assert_eq!(way(&chat(&house).await), (200, name, None), "{other}");
        assert_eq!(way(&chat(&house).await), (200, name, None), "not kept: {other}");
        assert_eq!(two.count(), 2, "{other}");
        fails.store(false, Ordering::Relaxed);
        assert_eq!(way(&chat(&house).await), (200, None, Some("miss")), "{other}");
        // What its own way has answered needs no way at all.
        fails.store(true, Ordering::Relaxed);
        let before = (one.count(), two.count(), gone(&house).await);
        assert_eq!(way(&chat(&house).await), (200, None, Some("hit")), "{other}");
        assert_eq!((one.count(), two.count(), gone(&house).await), before, "and costs nothing: {other}");
    }
}

#[tokio::test]
async fn the_bill_is_settled_once_at_the_price_of_what_answered() {
    for (other, price) in [("upstream: two", 500), ("model: small", 10)] {
        let ((one, one_fails), (two, two_fails)) = (moody(ANSWER).await, moody(ANSWER).await);
        let house = chats(&one, &two, other);
        one_fails.store(true, Ordering::Relaxed);
        let reply = chat(&house).await;
        assert_eq!(reply.status, 200, "{other}: {}", reply.text());
        assert_eq!(gone(&house).await, price, "{other}");
        assert_eq!(house.line(&reply.id()).await["spent_us"], price * 1_000, "{other}");
        // Where nothing answers, nothing is paid, by whichever way it was tried.
        two_fails.store(true, Ordering::Relaxed);
        assert_eq!(chat(&house).await.status, 502, "{other}");
        assert_eq!((gone(&house).await, one.count(), two.count()), (price, 2, 2), "{other}");
        // And its own price is its own again.
        one_fails.store(false, Ordering::Relaxed);
        assert_eq!(chat(&house).await.status, 200, "{other}");
        assert_eq!(gone(&house).await, price + 500, "{other}");
    }
}

/// Versions of a model of tensors; `more` stands in the model.
fn versions(blue: &ModelServer, green: &ModelServer, (split, more): (&str, &str)) -> String {
    format!(
        "runtime: {{ workers: 1 }}
state: {{ directory: kept }}
upstreams:
  old: {{ endpoints: [\"{}\"] }}
  new: {{ endpoints: [\"{}\"] }}
models:
  m:
    upstream: old
    contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [batch, 1] }}] }}
    versions: {{ {split} }}
    release: {{ sticky: request, slower: 100, alpha: 0.0001 }}
    {more}
routes:
  - {{ name: tensors, path: \"/v2/models/{{model}}/infer\", methods: [POST], protocol: oip, models: [m] }}
tenants: {{ acme: {{ models: [m], budgets: [gold] }} }}
{BUDGET}",
        blue.url(),
        green.url()
    )
}

async fn infer(house: &House, client: &mut Client) -> Reply {
    let fields = format!("Content-Type: application/json\r\n{}", house.bearer("acme"));
    client.ask(post("/v2/models/m/infer", &fields, TENSOR)).await
}

/// A server that says how many milliseconds it took, and takes longer than that.
async fn stating(ms: &'static str) -> ModelServer {
    ModelServer::start(move |_| {
        std::thread::sleep(std::time::Duration::from_millis(4));
        Act::answer("200 OK", &format!("Content-Type: application/json\r\nX-Inference-Time: {ms}\r\n"), TENSORS)
    })
    .await
}

/// Samples that were learned of the model at an upstream, and what a call costs there.
async fn learned(house: &House, upstream: &str) -> (u64, f64) {
    let told: Value = serde_json::from_str(&house.admin("GET", "/costs").await.text()).expect("JSON");
    let costs = told["costs"].as_array().expect("a list");
    let samples = |cost: &Value| cost["samples"].as_u64().unwrap_or(0);
    let found = costs.iter().find(|cost| cost["upstream"] == upstream);
    let sum = format!("tollgate_model_cost_spent_microseconds_total{{model=\"m\",upstream=\"{upstream}\"}}");
    let spent = house.metric(&sum).await.unwrap_or(0.0);
    let samples = found.map_or(0, samples);
    (samples, spent / f64::from(u32::try_from(samples.max(1)).expect("few")))
}

#[tokio::test]
async fn calls_that_another_version_answers_teach_what_its_server_costs() {
    let (blue, green) = (stating("0.5").await, stating("3").await);
    let split = ("blue: { weight: 60 }, green: { weight: 40, upstream: new }", "");
    let house = House::start(&versions(&blue, &green, split).replace("settle: stated, ", ""));
    let mut client = house.plain().await;
    for _ in 0..100 {
        assert_eq!(infer(&house, &mut client).await.status, 200);
    }
    house.quiet().await;
    let (old, new) = (learned(&house, "old").await, learned(&house, "new").await);
    assert_eq!((old.0, new.0), (blue.count() as u64, green.count() as u64), "each at its own server");
    assert!((old.1 - 500.0).abs() < 1.0 && (new.1 - 3_000.0).abs() < 1.0, "{old:?} {new:?}");
    // Also what is known of a version's server outlives a reload and a restart.
    house.reload().expect("the same file");
    assert_eq!(learned(&house, "new").await.0, new.0);
    let house = house.restart();
    assert_eq!((learned(&house, "old").await.0, learned(&house, "new").await.0), (old.0, new.0));
}

#[tokio::test]
async fn a_mirrored_call_takes_nothing_from_a_budget_and_teaches_nothing() {
    let (blue, green) = (stating("0.5").await, stating("3").await);
    let split = ("blue: { weight: 100 }, green: { upstream: new, shadow: 100 }", "cost: { class: small }");
    let house = House::start(&versions(&blue, &green, split));
    let mut client = house.plain().await;
    for turn in 1..=10 {
        assert_eq!(infer(&house, &mut client).await.status, 200);
        green.has(turn).await;
    }
    assert_eq!((gone(&house).await, blue.count()), (100, 10), "ten calls of ten");
    assert_eq!(learned(&house, "new").await.0, 0);
}

#[tokio::test]
async fn a_call_that_was_sent_twice_is_paid_for_once_and_one_that_nobody_answered_never() {
    let gateway_error = || Act::answer("502 Bad Gateway", "", "{}");
    let (bad, good) =
        (ModelServer::start(move |_| gateway_error()).await, ModelServer::start(|_| Act::json(TENSORS)).await);
    let config = |endpoints: &[String]| {
        format!(
            "runtime: {{ workers: 1 }}
upstreams:
  m: {{ endpoints: {endpoints:?}, breaker: {{ failures: 0 }}, ejection: {{ max_percent: 0 }}, retry: {{ budget_percent: 100, min: 50 }} }}
models: {{ m: {{ upstream: m, contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [batch, 1] }}] }}, cost: {{ class: small }} }} }}
routes:
  - {{ name: tensors, path: \"/v2/models/{{model}}/infer\", methods: [POST], protocol: oip, models: [m] }}
tenants: {{ acme: {{ models: [m], budgets: [gold] }} }}
{BUDGET}"
        )
    };
    let house = House::start(&config(&[bad.url(), good.url()]));
    let mut client = house.plain().await;
    for _ in 0..20 {
        let reply = infer(&house, &mut client).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert!(bad.count() >= 1, "some were sent twice");
    assert_eq!((gone(&house).await, good.count()), (200, 20));
    house.configure(&config(&[bad.url()]));
    house.reload().expect("a good file");
    assert_eq!(infer(&house, &mut client).await.status, 502);
    assert_eq!(gone(&house).await, 200);
}
