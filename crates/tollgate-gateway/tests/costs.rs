//! Costs that are learned: a route's estimate comes to what its calls really cost, through sockets; what a server says of its
//! own time is believed before what was measured; and what was learned outlives the gateway.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tollgate_testkit::client::post;
use tollgate_testkit::{Act, Client, House, ModelServer, Taken};

const JSON: &str = "Content-Type: application/json\r\n";
const TENSOR: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}"#;
const CHAT: &str = r#"{"model":"chat","messages":[{"role":"user","content":"say something"}]}"#;

/// How long the model of tensors works.
const WORK: Duration = Duration::from_millis(12);

fn config(server: &ModelServer, more: &str) -> String {
    format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
models:
  linear:
    upstream: m
    contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [batch, 3] }}] }}
  chat: {{ upstream: m }}
routes:
  - {{ name: oip, path: \"/v2/{{*rest}}\", protocol: oip, models: [linear], auth: none }}
  - {{ name: openai, path: \"/v1/{{*rest}}\", protocol: openai, models: [chat], auth: none }}
  - {{ name: ollama, path: \"/api/{{*rest}}\", protocol: ollama, models: [chat], auth: none }}
{more}",
        server.url()
    )
}

async fn ask(client: &mut Client, path: &str, body: &str) -> Value {
    let reply = client.ask(post(path, JSON, body)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    Value::from(reply.id())
}

/// What was learned of a model.
async fn learned(house: &House, model: &str) -> Value {
    let told: Value = serde_json::from_str(&house.admin("GET", "/costs").await.text()).expect("JSON");
    let costs = told["costs"].as_array().expect("a list");
    costs.iter().find(|cost| cost["model"] == model).cloned().unwrap_or_default()
}

fn us(line: &Value, member: &str) -> f64 {
    line[member].as_f64().expect("a number")
}

#[tokio::test]
async fn what_a_route_reserves_comes_to_what_its_calls_cost() {
    // A server that takes its time: the one wait here is the work that is measured.
    let server = ModelServer::start(|_| {
        std::thread::sleep(WORK);
        Act::json(r#"{"outputs":[]}"#)
    })
    .await;
    let house = House::start(&config(&server, ""));
    let mut client = house.plain().await;
    let first = ask(&mut client, "/v2/models/linear/infer", TENSOR).await;
    let mut last = first.clone();
    for _ in 0..160 {
        last = ask(&mut client, "/v2/models/linear/infer", TENSOR).await;
    }
    let (first, last) =
        (house.line(first.as_str().expect("an id")).await, house.line(last.as_str().expect("an id")).await);
    assert_eq!(us(&first, "reserved_us"), 1_000.0, "nothing was known: {first}");
    let ratio = us(&last, "reserved_us") / us(&last, "spent_us");
    assert!((0.5..=2.0).contains(&ratio), "{last}");
    assert!(us(&last, "reserved_us") >= WORK.as_micros() as f64 * 0.8, "{last}");
    let cost = learned(&house, "linear").await;
    assert!(cost["samples"].as_u64() >= Some(150), "{cost}");
    // Half of all calls were foreseen within a quarter once something was known; the first were not.
    let ratio = "tollgate_cost_error_ratio_bucket{model=\"linear\",upstream=\"m\",le=";
    let below = house.metric(&format!("{ratio}\"4\"}}")).await.expect("a row");
    let all = house.metric(&format!("{ratio}\"+Inf\"}}")).await.expect("a row");
    assert!(all == 161.0 && below >= 100.0, "{below} of {all}");
    let spent = house.metric("tollgate_model_cost_spent_microseconds_total{model=\"linear\",upstream=\"m\"}").await;
    assert!(spent >= Some(161.0 * WORK.as_micros() as f64), "{spent:?}");
}

/// Says that it read 40 tokens and wrote 7, and that this took no time at all.
fn says(taken: &Taken) -> Vec<Act> {
    if taken.line().contains("/api/") {
        return Act::json(
            r#"{"message":{"role":"assistant","content":"hm"},"done":true,"prompt_eval_count":40,"eval_count":7,"total_duration":99000000,"load_duration":90000000,"prompt_eval_duration":40000,"eval_duration":70000}"#,
        );
    }
    Act::json(
        r#"{"choices":[{"message":{"content":"hm"},"finish_reason":"stop"}],"usage":{"prompt_tokens":40,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":8}},"timings":{"prompt_ms":0.04,"predicted_ms":0.07,"cache_n":8}}"#,
    )
}

#[tokio::test]
async fn what_a_server_says_of_its_own_time_is_what_is_spent() {
    let server = ModelServer::start(says).await;
    let house = House::start(&config(&server, "cost: { min_us: 1 }\n"));
    let mut client = house.plain().await;
    for (path, body) in [("/v1/chat/completions", CHAT), ("/api/chat", CHAT)] {
        let id = ask(&mut client, path, body).await;
        let line = house.line(id.as_str().expect("an id")).await;
        assert_eq!(us(&line, "spent_us"), 110.0, "{path}: {line}");
        assert_eq!((us(&line, "tokens_in"), us(&line, "tokens_out")), (40.0, 7.0), "{path}");
    }
}

#[tokio::test]
async fn how_long_answers_become_is_learned_from_what_servers_say() {
    let server = ModelServer::start(says).await;
    let house = House::start(&config(&server, "cost: { min_us: 1 }\n"));
    let mut client = house.plain().await;
    for _ in 0..40 {
        ask(&mut client, "/v1/chat/completions", CHAT).await;
    }
    let cost = learned(&house, "chat").await;
    let answers = &cost["answers"];
    assert!((6.0..=8.0).contains(&us(answers, "mean")), "{cost}");
    assert!((6.0..=9.0).contains(&us(answers, "limit")), "{cost}");
    // Five characters a token would have been guessed: forty were said.
    assert!(us(&cost, "tokens_per_guess") > 1.0, "{cost}");
    assert!(us(&cost, "mean_us") < 30_000.0, "{cost}");
}

#[tokio::test]
async fn failures_and_what_was_cut_teach_nothing() {
    let server = ModelServer::start(|taken: &Taken| match taken.body.len() {
        length if length == TENSOR.len() => Act::answer("500 Oops", "", "{}"),
        _ => vec![
            Act::Send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{".to_vec()),
            Act::Reset,
        ],
    })
    .await;
    let house = House::start(&config(&server, ""));
    for body in [TENSOR.to_owned(), format!("{TENSOR} ")] {
        for _ in 0..5 {
            let mut client = house.plain().await;
            client.send(post("/v2/models/linear/infer", &format!("Connection: close\r\n{JSON}"), &body)).await;
            client.rest().await;
        }
    }
    house.quiet().await;
    assert_eq!(learned(&house, "linear").await["samples"], 0);
}

#[tokio::test]
async fn what_was_learned_outlives_the_gateway_and_damage_is_no_reason_not_to_start() {
    let server = ModelServer::start(says).await;
    let house = House::start(&config(&server, "state: { directory: kept }\n"));
    let mut client = house.plain().await;
    for _ in 0..40 {
        ask(&mut client, "/v1/chat/completions", CHAT).await;
    }
    let before = learned(&house, "chat").await;
    house.reload().expect("the same configuration");
    assert_eq!(learned(&house, "chat").await["samples"], before["samples"], "a reload keeps it");
    drop(client);
    let house = house.restart();
    let after = learned(&house, "chat").await;
    for member in ["samples", "prices", "answers", "tokens_per_guess", "tenants"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!(house.gateway().warnings(), Vec::<String>::new());
    let mut house = house;
    for damage in ["{\"version\":1,\"costs\":[", "{\"version\":2}", "\u{0}\u{0}"] {
        // What runs has learned nothing since, and writes nothing when it ends.
        house.folder.write("kept/costs", damage);
        house = house.restart();
        assert_eq!(learned(&house, "chat").await["samples"], 0, "{damage}");
        let warnings = house.gateway().warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("learned again"), "{warnings:?}");
    }
}

#[tokio::test]
async fn classes_that_are_prices_are_charged_however_long_a_call_took() {
    let server = ModelServer::agreeable().await;
    let more = "cost: { settle: stated }
tenants: { acme: { models: [linear], budgets: [units] } }
limits: { budgets: [{ name: units, per: tenant, burst: 10000000, refill_per_sec: 1 }] }
";
    let priced = config(&server, more).replace(
        "{ name: oip, path: \"/v2/{*rest}\", protocol: oip, models: [linear], auth: none }",
        "{ name: dear, path: /v2/models/linear/infer, protocol: oip, models: [linear], cost_class: very_heavy }",
    );
    let house = House::start(&priced);
    let mut client = house.plain().await;
    let fields = format!("{JSON}{}", house.bearer("acme"));
    let mut statuses = Vec::new();
    for _ in 0..101 {
        statuses.push(client.ask(post("/v2/models/linear/infer", &fields, TENSOR)).await.status);
    }
    assert!(statuses[..100].iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(statuses[100], 429, "10,000 units are 100 calls of 100");
}

#[tokio::test]
async fn what_triton_says_of_its_queue_is_no_cost() {
    let looks = AtomicU64::new(0);
    let server = ModelServer::start(move |taken: &Taken| {
        if !taken.line().contains("/stats") {
            return Act::json(r#"{"outputs":[]}"#);
        }
        // Every look finds a second more of work, of which a quarter was computing.
        let ns = looks.fetch_add(1, Ordering::Relaxed) * 1_000_000_000;
        let time = |ns: u64| format!(r#"{{"count":1,"ns":{ns}}}"#);
        Act::json(&format!(
            r#"{{"model_stats":[{{"name":"linear","version":"1","inference_stats":{{"success":{},"compute_input":{},"compute_infer":{},"compute_output":{}}}}}]}}"#,
            time(ns),
            time(0),
            time(ns / 4),
            time(0)
        ))
    })
    .await;
    let triton = config(&server, "cost: { min_us: 1 }\n").replace("m: { endpoints", "m: { preset: triton, endpoints");
    let house = House::start(&triton);
    let mut client = house.plain().await;
    // Looks are five seconds apart, and come only where there were calls since.
    let mut computing = 1.0;
    for _ in 0..200 {
        ask(&mut client, "/v2/models/linear/infer", TENSOR).await;
        computing = us(&learned(&house, "linear").await, "computing");
        if computing < 1.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(computing, 0.25);
    let id = ask(&mut client, "/v2/models/linear/infer", TENSOR).await;
    let line = house.line(id.as_str().expect("an id")).await;
    assert!(us(&line, "spent_us") <= 0.5 * us(&line, "duration_us"), "{line}");
}

#[tokio::test]
async fn calls_that_share_a_server_are_charged_their_share() {
    let server = ModelServer::start(|_| {
        std::thread::sleep(WORK);
        Act::json(r#"{"outputs":[]}"#)
    })
    .await;
    let batched =
        config(&server, "").replace("    contract: { inputs", "    cost: { batched: true }\n    contract: { inputs");
    let house = House::start(&batched);
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = house.plain().await;
        client.send(post("/v2/models/linear/infer", JSON, TENSOR)).await;
        clients.push(client);
    }
    let mut shares = Vec::new();
    for client in &mut clients {
        let reply = client.reply().await;
        let line = house.line(&reply.id()).await;
        shares.push(us(&line, "spent_us") / us(&line, "duration_us"));
    }
    assert!(shares.iter().any(|share| *share < 0.7), "{shares:?}");
}
