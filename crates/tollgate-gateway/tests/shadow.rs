//! Mirrored calls before real sockets: they cost nobody anything, delay nothing, take only what is left over, and what
//! their answers are like is told.

use serde_json::Value;
use tollgate_testkit::client::post;
use tollgate_testkit::{Act, Gate, House, ModelServer, Reply, Taken};

const GOOD: &str = r#"{"model_name":"m","id":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[0.5]}]}"#;
const BODY: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}"#;

fn config(blue: &ModelServer, green: &ModelServer, more: &str) -> String {
    format!(
        "runtime: {{ workers: 1 }}
upstreams:
  old: {{ endpoints: [\"{}\"] }}
  new: {{ endpoints: [\"{}\"] }}
models:
  m:
    upstream: old
    contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [batch, 1] }}] }}
    versions: {{ blue: {{ weight: 100 }}, green: {{ upstream: new, shadow: 100 }} }}
    release: {{ {more} }}
limits: {{ budgets: [{{ name: calls, per: tenant, unit: requests, burst: 100000, refill_per_sec: 1 }}] }}
routes:
  - {{ name: tensors, path: \"/v2/models/{{model}}/infer\", methods: [POST], protocol: oip, models: [m] }}
tenants: {{ acme: {{ models: [m], budgets: [calls] }} }}
",
        blue.url(),
        green.url(),
    )
}

async fn server(script: impl Fn(&Taken) -> Vec<Act> + Send + Sync + 'static) -> ModelServer {
    ModelServer::start(script).await
}

async fn ask(house: &House, client: &mut tollgate_testkit::Client, body: &str) -> Reply {
    let fields = format!("Content-Type: application/json\r\n{}", house.bearer("acme"));
    client.ask(post("/v2/models/m/infer", &fields, body)).await
}

/// The comparison of the mirrored answers.
async fn shadow(house: &House) -> Value {
    let told: Value = serde_json::from_str(&house.admin("GET", "/releases").await.text()).expect("JSON");
    told["releases"][0]["versions"][1]["shadow"].clone()
}

/// How the version stands that is mirrored to.
async fn standing(house: &House) -> String {
    let told: Value = serde_json::from_str(&house.admin("GET", "/releases").await.text()).expect("JSON");
    told["releases"][0]["versions"][1]["standing"].as_str().unwrap_or_default().to_owned()
}

async fn told(house: &House, member: &str, count: u64) -> Value {
    for _ in 0..3_000 {
        let shadow = shadow(house).await;
        if shadow[member].as_u64() >= Some(count) {
            return shadow;
        }
        tokio::task::yield_now().await;
    }
    panic!("`{member}` never was {count}: {}", shadow(house).await);
}

#[tokio::test]
async fn a_mirrored_call_is_the_same_call_once_and_never_on_the_bill() {
    let (blue, green) = (server(|_| Act::json(GOOD)).await, server(|_| Act::json(GOOD)).await);
    let house = House::start(&config(&blue, &green, "sticky: request"));
    let mut client = house.plain().await;
    let mut last = String::new();
    for turn in 1..=20 {
        let reply = ask(&house, &mut client, BODY).await;
        assert_eq!((reply.status, reply.field("x-tollgate-version")), (200, Some("blue")), "{}", reply.text());
        // What is left of the budget: one call for each, whatever was mirrored.
        let level = reply.field("ratelimit").unwrap_or_default().to_owned();
        assert!(level.contains(&format!("r={}", 100_000 - turn)), "{level}");
        last = reply.id();
        let compared = told(&house, "compared", turn).await;
        assert_eq!(compared["mismatched"], 0, "{compared}");
    }
    assert_eq!((blue.count(), green.count()), (20, 20));
    let (ours, theirs) = (blue.requests().remove(0), green.requests().remove(0));
    assert_eq!((ours.line(), &ours.body), (theirs.line(), &theirs.body));
    assert!(theirs.fields("authorization").is_empty(), "no credential goes up");
    house.line(&last).await;
    assert_eq!(house.lines().len(), 20, "a mirrored call is no exchange");
    assert_eq!(house.sum("tollgate_requests_total").await.to_bits(), 20f64.to_bits());
    let row = "tollgate_version_mirrored_total{model=\"m\",version=\"green\",outcome=\"same\"}";
    assert_eq!(house.metric(row).await, Some(20.0));
    house.quiet().await;
}

#[tokio::test]
async fn a_shadow_that_hangs_delays_nobody_and_is_given_no_more_than_its_places() {
    let gate = Gate::default();
    let held = gate.clone();
    let green = server(move |_| [vec![Act::Hold(held.clone())], Act::json(GOOD)].concat()).await;
    let blue = server(|_| Act::json(GOOD)).await;
    let house = House::start(&config(&blue, &green, "shadow: { max_inflight: 3 }"));
    let mut client = house.plain().await;
    for _ in 0..50 {
        // Each is answered while nothing mirrored has been.
        assert_eq!(ask(&house, &mut client, BODY).await.status, 200);
    }
    green.has(3).await;
    assert_eq!((blue.count(), green.count()), (50, 3));
    assert_eq!(shadow(&house).await["skipped"], 47);
    gate.open();
    told(&house, "compared", 3).await;
    house.quiet().await;
    assert_eq!(ask(&house, &mut client, BODY).await.status, 200);
    told(&house, "compared", 4).await;
}

#[tokio::test]
async fn a_shadow_that_is_gone_or_full_or_says_too_much_harms_nobody() {
    let blue = server(|_| Act::json(GOOD)).await;
    let scripts: [fn(&Taken) -> Vec<Act>; 4] = [
        |_| vec![Act::Reset],
        |_| Act::answer("429 Too Many Requests", "", ""),
        |_| Act::json(&format!("[{}1]", "1,".repeat(400_000))),
        |_| vec![Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec()), Act::Close],
    ];
    for (script, member) in scripts.into_iter().zip(["status", "skipped", "skipped", "skipped"]) {
        let green = server(script).await;
        let house = House::start(&config(&blue, &green, ""));
        let reply = ask(&house, &mut house.plain().await, BODY).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, GOOD));
        told(&house, member, 1).await;
        house.quiet().await;
    }
}

#[tokio::test]
async fn what_differs_is_told_apart_and_drift_ends_the_trial() {
    let blue = server(|_| Act::json(GOOD)).await;
    let green = server(|taken| match taken.number % 2 {
        0 => Act::json(&GOOD.replace("0.5", "0.75").replace("\"1\"", "\"2\"")),
        _ => Act::json(&GOOD.replace("\"y\"", "\"z\"")),
    })
    .await;
    let house = House::start(&config(&blue, &green, "drift: 0.05, alpha: 0.001"));
    let mut client = house.plain().await;
    let mut compared = 0;
    while standing(&house).await == "trial" {
        assert!(compared < 60, "{}", shadow(&house).await);
        assert_eq!(ask(&house, &mut client, BODY).await.text(), GOOD, "nothing of it reaches a client");
        let so_far = told(&house, "compared", 1).await;
        compared = so_far["compared"].as_u64().unwrap_or(0);
    }
    let ended = |line: &Value| line["act"].as_str().is_some_and(|act| act.starts_with("release."));
    let entry = house.line_where("the end of the trial", ended).await;
    assert!(entry["what"]["why"].as_str().is_some_and(|why| why.contains("differ")), "{entry}");
    let compared = shadow(&house).await;
    assert_eq!(compared["max_abs"], 0.25, "{compared}");
    assert!(compared["numbers"].as_u64() >= Some(1) && compared["labels"].as_u64() >= Some(1), "{compared}");
    house.quiet().await;
    let before = green.count();
    for _ in 0..10 {
        assert_eq!(ask(&house, &mut client, BODY).await.status, 200);
    }
    assert_eq!(green.count(), before, "it is mirrored to no more");
}

#[tokio::test]
async fn large_calls_and_those_that_a_server_would_remember_are_not_mirrored() {
    let (blue, green) = (server(|_| Act::json(GOOD)).await, server(|_| Act::json(GOOD)).await);
    let chat = config(&blue, &green, "shadow: { max_bytes: 300B }")
        .replace("protocol: oip", "protocol: openai")
        .replace("/v2/models/{model}/infer", "/v1/{*rest}")
        .replace("    contract: { inputs: [{ name: x, dtype: FP32, shape: [batch, 1] }] }\n", "");
    let house = House::start(&chat);
    let mut client = house.plain().await;
    let fields = format!("Content-Type: application/json\r\n{}", house.bearer("acme"));
    let mut chat = async |more: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
        let reply = client.ask(post("/v1/chat/completions", &fields, &body)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    chat(r#","store":false"#).await;
    chat(&format!(r#","user":"{}""#, "u".repeat(300))).await;
    assert_eq!(told(&house, "skipped", 2).await["compared"], 0);
    chat("").await;
    told(&house, "compared", 1).await;
    assert_eq!(green.count(), 1);
    house.quiet().await;
}
