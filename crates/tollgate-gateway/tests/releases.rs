//! Versions of a model before real sockets: how calls are dealt, what becomes of a version that turns bad, and what
//! outlives a reload and a restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_testkit::client::post;
use tollgate_testkit::{Act, Client, House, ModelServer, Reply, Taken};

const GOOD: &str = r#"{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[0.5]}]}"#;

/// Two versions before two servers; `versions` and `more` stand in the model.
fn config(blue: &ModelServer, green: &ModelServer, versions: &str, more: &str) -> String {
    format!(
        "runtime: {{ workers: 1 }}
state: {{ directory: kept }}
upstreams:
  old: {{ endpoints: [\"{}\"] }}
  new: {{ endpoints: [\"{}\"] }}
models:
  m:
    upstream: old
    contract:
      inputs: [{{ name: x, dtype: FP32, shape: [batch, 1] }}]
      outputs: [{{ name: y, dtype: FP32, shape: [batch] }}]
      reply: {{ max_bytes: 10000 }}
    versions: {{ {versions} }}
    release: {{ {more} }}
routes:
  - {{ name: tensors, path: \"/v2/models/{{model}}/infer\", methods: [POST], protocol: oip, models: [m] }}
tenants:
{}",
        blue.url(),
        green.url(),
        (0..12).map(|i| format!("  t{i}: {{ models: [m] }}\n")).collect::<String>(),
    )
}

const SPLIT: &str = "blue: { weight: 70 }, green: { weight: 30, upstream: new }";

fn call(fields: &str) -> String {
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}"#;
    post("/v2/models/m/infer", &format!("Content-Type: application/json\r\n{fields}"), body)
}

/// A server that does as it is told from the moment that it turns bad.
async fn turning(bad: impl Fn(&Taken) -> Vec<Act> + Send + Sync + 'static) -> (ModelServer, Arc<AtomicBool>) {
    let turned = Arc::new(AtomicBool::new(false));
    let has_turned = Arc::clone(&turned);
    let server =
        ModelServer::start(move |taken| if has_turned.load(Ordering::Relaxed) { bad(taken) } else { Act::json(GOOD) });
    (server.await, turned)
}

async fn good() -> ModelServer {
    ModelServer::start(|_| Act::json(GOOD)).await
}

fn version(reply: &Reply) -> String {
    reply.field("x-tollgate-version").unwrap_or("none").to_owned()
}

async fn release(house: &House) -> Value {
    let told: Value = serde_json::from_str(&house.admin("GET", "/releases").await.text()).expect("JSON");
    told["releases"][0].clone()
}

/// Members of a version by name.
fn of<'a>(release: &'a Value, name: &str) -> &'a Value {
    let versions = release["versions"].as_array().expect("a list");
    versions.iter().find(|version| version["name"] == name).expect("a version")
}

fn weights(release: &Value) -> (u64, u64) {
    let weight = |name: &str| of(release, name)["weight"].as_u64().expect("a weight");
    (weight("blue"), weight("green"))
}

/// Entries of the audit so far.
fn audited(house: &House) -> Vec<Value> {
    house
        .lines()
        .into_iter()
        .filter(|line| line["act"].as_str().is_some_and(|act| act.starts_with("release.")))
        .collect()
}

#[tokio::test]
async fn calls_are_dealt_by_weight_and_the_version_is_told_to_known_callers_and_recorded() {
    let (blue, green) = (good().await, good().await);
    let house = House::start(&config(&blue, &green, SPLIT, "sticky: request"));
    let mut client = house.plain().await;
    let mut counts = BTreeMap::new();
    let bearer = house.bearer("t0");
    for _ in 0..600 {
        let reply = client.ask(call(&bearer)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        *counts.entry(version(&reply)).or_insert(0u64) += 1;
    }
    let (of_blue, of_green) = (counts["blue"], counts["green"]);
    assert_eq!(((blue.count() as u64), (green.count() as u64)), (of_blue, of_green), "each is where it is said to be");
    assert!((130..=230).contains(&of_green), "{counts:?}: 5 standard deviations around 180");
    let reply = client.ask(call(&bearer)).await;
    assert_eq!(house.line(&reply.id()).await["version"], version(&reply));
    let row = |name: &str| format!("tollgate_version_calls_total{{model=\"m\",version=\"{name}\"}}");
    let counted = house.metric(&row("blue")).await.unwrap_or(0.0) + house.metric(&row("green")).await.unwrap_or(0.0);
    assert_eq!(counted.to_bits(), 601f64.to_bits());
    assert_eq!(house.metric("tollgate_version_weight_percent{model=\"m\",version=\"green\"}").await, Some(30.0));
    house.configure(
        &config(&blue, &green, SPLIT, "").replace("models: [m] }\ntenants", "models: [m], auth: none }\ntenants"),
    );
    house.reload().expect("a good file");
    let reply = client.ask(call("")).await;
    assert_eq!((reply.status, reply.field("x-tollgate-version")), (200, None), "strangers are told nothing");
    let line = house.line(&reply.id()).await;
    assert!(["blue", "green"].contains(&line["version"].as_str().unwrap_or_default()), "{line}");
}

#[tokio::test]
async fn callers_stay_with_a_version_or_go_by_a_field_also_over_a_restart() {
    let (blue, green) = (good().await, good().await);
    let half = "blue: { weight: 50 }, green: { weight: 50, upstream: new }";
    let house = House::start(&config(&blue, &green, half, ""));
    let mut given = BTreeMap::new();
    let mut client = house.plain().await;
    for round in 0..5 {
        for tenant in 0..12 {
            let version = version(&client.ask(call(&house.bearer(&format!("t{tenant}")))).await);
            let first = given.entry(tenant).or_insert_with(|| version.clone());
            assert_eq!(*first, version, "t{tenant} in round {round}");
        }
    }
    assert_eq!(given.values().collect::<std::collections::BTreeSet<_>>().len(), 2, "1 in 2,048 has all on one side");
    let house = house.restart();
    let mut client = house.plain().await;
    for (tenant, before) in &given {
        assert_eq!(version(&client.ask(call(&house.bearer(&format!("t{tenant}")))).await), *before);
    }
    let by_field = "sticky: header, sticky_header: x-session";
    house.configure(&config(&blue, &green, half, by_field));
    house.reload().expect("a good file");
    let mut client = house.plain().await;
    let mut sessions = BTreeMap::new();
    for turn in 0..60 {
        let session = turn % 15;
        let fields = format!("{}X-Session: s{session}\r\n", house.bearer("t0"));
        let version = version(&client.ask(call(&fields)).await);
        assert_eq!(*sessions.entry(session).or_insert_with(|| version.clone()), version, "session {session}");
    }
    assert!(sessions.values().any(|version| version == "blue") && sessions.values().any(|version| version == "green"));
}

/// Calls until the release is rolled back; how many of them the candidate served.
async fn calls_until_rolled_back(house: &House, client: &mut Client, most: u32) -> Option<u32> {
    let mut served = 0;
    for _ in 0..most {
        served += u32::from(version(&client.ask(call(&house.bearer("t1"))).await) == "green");
        if !audited(house).is_empty() {
            return Some(served);
        }
    }
    None
}

/// A canary that serves well, then turns bad, is found within so many of its own calls.
async fn falls(bad: impl Fn(&Taken) -> Vec<Act> + Send + Sync + 'static, most: u32, why: &str) {
    // On a busy machine one server may be slower than the other by chance.
    let slower = if why == "slower" { 2 } else { 100 };
    let (green, turned) = turning(bad).await;
    let blue = good().await;
    let house = House::start(&config(&blue, &green, SPLIT, &format!("sticky: request, slower: {slower}")));
    let mut client = house.plain().await;
    for _ in 0..150 {
        assert_eq!(client.ask(call(&house.bearer("t1"))).await.status, 200);
    }
    assert_eq!((audited(&house), weights(&release(&house).await)), (Vec::new(), (70, 30)));
    turned.store(true, Ordering::Relaxed);
    let served = calls_until_rolled_back(&house, &mut client, 2_000).await;
    assert!(served.is_some_and(|served| served <= most), "{why}: {served:?}");
    let told = release(&house).await;
    assert_eq!((weights(&told), of(&told, "green")["standing"].as_str()), ((100, 0), Some("rolled_back")), "{told}");
    let entry = audited(&house).remove(0);
    assert_eq!((entry["act"].as_str(), entry["by"].as_str()), (Some("release.rollback"), Some("gateway")), "{entry}");
    let what = &entry["what"];
    assert_eq!((what["model"].as_str(), what["version"].as_str()), (Some("m"), Some("green")), "{entry}");
    assert_eq!((what["from_weight"].as_u64(), what["to_weight"].as_u64()), (Some(30), Some(0)), "{entry}");
    assert!(what["why"].as_str().is_some_and(|words| words.contains(why)), "{entry}");
    // The exchange that was the last straw says so.
    let id = entry["id"].as_str().unwrap_or_default();
    house.line_where("the last straw", |line| line["id"] == id && line["version"].is_string()).await;
    let turns = "tollgate_release_turns{model=\"m\",act=\"rollback\"}";
    assert_eq!(house.metric(turns).await, Some(1.0));
    for _ in 0..30 {
        assert_eq!(version(&client.ask(call(&house.bearer("t1"))).await), "blue");
    }
}

#[tokio::test]
async fn a_canary_that_turns_to_errors_is_rolled_back_by_itself() {
    falls(|_| Act::answer("500 Internal Server Error", "", "{}"), 40, "fail more often").await;
}

#[tokio::test]
async fn a_canary_that_turns_to_resets_is_rolled_back_by_itself() {
    falls(|_| vec![Act::Reset], 40, "fail more often").await;
}

#[tokio::test]
async fn a_canary_whose_replies_break_their_contract_is_rolled_back_by_itself() {
    falls(|_| Act::json(&GOOD.replace("[0.5]", "[0.5,0.5]")), 40, "break their contract").await;
}

#[tokio::test]
async fn a_canary_that_turns_slow_is_rolled_back_by_itself() {
    let slow = |_: &Taken| {
        std::thread::sleep(Duration::from_millis(120));
        Act::json(GOOD)
    };
    falls(slow, 60, "slower").await;
}

#[tokio::test]
async fn a_good_canary_stays_also_while_both_versions_fail() {
    let (blue, blue_turned) = turning(|_| Act::answer("500 Internal Server Error", "", "{}")).await;
    let (green, green_turned) = turning(|_| Act::answer("500 Internal Server Error", "", "{}")).await;
    // A lot may fall badly: here, in one run of ten thousand. Latency is no matter on a busy machine.
    let house = House::start(&config(&blue, &green, SPLIT, "sticky: request, slower: 100, alpha: 0.0001"));
    let mut client = house.plain().await;
    for turn in 0..900 {
        let outage = (300..600).contains(&turn);
        blue_turned.store(outage, Ordering::Relaxed);
        green_turned.store(outage, Ordering::Relaxed);
        let reply = client.ask(call(&house.bearer("t1"))).await;
        assert_eq!(reply.status == 200, !outage);
    }
    let told = release(&house).await;
    assert_eq!((audited(&house), weights(&told)), (Vec::new(), (70, 30)), "{told}");
    assert!(of(&told, "green")["failed"].as_u64() >= Some(50), "{told}");
}

#[tokio::test]
async fn what_one_version_answered_is_never_given_for_another() {
    let (blue, green) = (good().await, good().await);
    let none = "blue: { weight: 100 }, green: { upstream: new }";
    let kept = config(&blue, &green, none, "sticky: request")
        .replace("    upstream: old\n    contract", "    upstream: old\n    deterministic: true\n    contract")
        .replace("models: [m] }\ntenants", "models: [m], cache: { ttl_ms: 600000 } }\ntenants");
    let house = House::start(&kept);
    let mut client = house.plain().await;
    let mut said = async |house: &House| {
        let reply = client.ask(call(&house.bearer("t1"))).await;
        (version(&reply), reply.field("x-tollgate-cache").unwrap_or("none").to_owned())
    };
    let told = |version: &str, cache: &str| (version.to_owned(), cache.to_owned());
    assert_eq!((said(&house).await, said(&house).await), (told("blue", "miss"), told("blue", "hit")));
    let switch = json!({ "model": "m", "act": "promote", "version": "green", "weight": 100 });
    assert_eq!(house.order("/releases", &switch).await.status, 200);
    assert_eq!((said(&house).await, said(&house).await), (told("green", "miss"), told("green", "hit")));
    // Sent back and started again, it may be another build of the same name.
    for act in ["rollback", "start"] {
        let order = json!({ "model": "m", "act": act, "version": "green" });
        assert_eq!(house.order("/releases", &order).await.status, 200);
    }
    assert_eq!(house.order("/releases", &switch).await.status, 200);
    assert_eq!(said(&house).await, told("green", "miss"));
    assert_eq!((blue.count(), green.count()), (1, 2));
}

/// Bursts of refusals and of failures, resets and broken replies now and then: as bad as it gets without being worse.
fn troubled(taken: &Taken, salt: usize) -> Vec<Act> {
    let dice = taken.number.wrapping_mul(2_654_435_761).wrapping_add(salt) >> 7;
    match dice % 100 {
        _ if taken.number % 400 < 40 => Act::answer("429 Too Many Requests", "Retry-After: 1\r\n", ""),
        0..4 => Act::answer("500 Internal Server Error", "", "{}"),
        4 => vec![Act::Reset],
        5 => Act::json("{}"),
        _ => Act::json(GOOD),
    }
}

#[tokio::test]
async fn among_servers_in_trouble_the_worse_one_is_found_and_the_other_never() {
    let turned = Arc::new(AtomicBool::new(false));
    let has_turned = Arc::clone(&turned);
    let blue = ModelServer::start(|taken| troubled(taken, 1)).await;
    let green = ModelServer::start(move |taken| match taken.number % 3 {
        0 if has_turned.load(Ordering::Relaxed) => Act::answer("503 Service Unavailable", "", "{}"),
        _ => troubled(taken, 77),
    })
    .await;
    let house = House::start(&config(&blue, &green, SPLIT, "sticky: request, slower: 100, alpha: 0.0001"));
    let mut client = house.plain().await;
    for _ in 0..1_500 {
        client.ask(call(&house.bearer("t1"))).await;
    }
    assert_eq!((audited(&house), weights(&release(&house).await)), (Vec::new(), (70, 30)));
    turned.store(true, Ordering::Relaxed);
    let served = calls_until_rolled_back(&house, &mut client, 4_000).await;
    assert!(served.is_some_and(|served| served <= 250), "{served:?}: {}", release(&house).await);
    house.quiet().await;
}

#[tokio::test]
async fn two_callers_who_stay_do_not_hide_a_canary_that_fails() {
    let (blue, green) = (good().await, ModelServer::start(|_| vec![Act::Reset]).await);
    let half = "blue: { weight: 50 }, green: { weight: 50, upstream: new }";
    let house = House::start(&config(&blue, &green, half, ""));
    let mut client = house.plain().await;
    // Callers of each version, as they were dealt.
    let mut callers: BTreeMap<String, usize> = BTreeMap::new();
    for tenant in 0..12 {
        let reply = client.ask(call(&house.bearer(&format!("t{tenant}")))).await;
        callers.insert(version(&reply), tenant);
    }
    let (of_blue, of_green) = (callers["blue"], callers["green"]);
    let mut sent = 0;
    while audited(&house).is_empty() {
        sent += 1;
        assert!(sent < 400, "{}", release(&house).await);
        for tenant in [of_blue, of_green] {
            client.ask(call(&house.bearer(&format!("t{tenant}")))).await;
        }
    }
    assert_eq!(weights(&release(&house).await), (100, 0));
}

#[tokio::test]
async fn the_admin_api_starts_promotes_switches_and_rolls_back() {
    let (blue, green) = (good().await, good().await);
    let none = "blue: { weight: 100 }, green: { upstream: new }";
    let house = House::start(&config(&blue, &green, none, "sticky: request"));
    let mut client = house.plain().await;
    let order = |act: &str, more: Value| {
        let mut body = json!({ "model": "m", "act": act });
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        body
    };
    assert_eq!(version(&client.ask(call(&house.bearer("t1"))).await), "blue");
    let started = house.order("/releases", &order("start", json!({ "weight": 40 }))).await;
    assert_eq!(started.status, 200, "{}", started.text());
    let told: Value = serde_json::from_slice(&started.body).expect("JSON");
    assert_eq!((told["done"]["by"].as_str(), weights(&told["release"])), (Some("operator"), (60, 40)));
    assert_eq!(house.order("/releases", &order("promote", json!({}))).await.status, 200);
    for _ in 0..20 {
        assert_eq!(version(&client.ask(call(&house.bearer("t1"))).await), "green", "all of it");
    }
    assert_eq!(house.order("/releases", &order("rollback", json!({}))).await.status, 200);
    assert_eq!(version(&client.ask(call(&house.bearer("t1"))).await), "blue");
    assert_eq!(audited(&house).iter().filter(|entry| entry["by"] == "admin_key").count(), 3);
    for (body, status) in [
        (order("promote", json!({ "version": "green" })), 409),
        (order("start", json!({ "version": "red" })), 409),
        (json!({ "model": "other", "act": "start" }), 404),
        (json!({ "model": "m", "act": "destroy" }), 400),
        (json!({ "model": "m", "act": "start", "weight": 400 }), 400),
    ] {
        let reply = house.order("/releases", &body).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text());
    }
    assert_eq!(house.admin("DELETE", "/releases").await.status, 405);
    assert_eq!(house.admin("GET", "/releases?model=other").await.status, 404);
    assert_eq!(house.admin("GET", "/releases?model=m").await.status, 200);
    let mut stranger = Client::plain(house.at("admin")).await;
    assert_eq!(stranger.ask(post("/releases", "", "{}")).await.status, 401);
}

#[tokio::test]
async fn a_release_outlives_reload_and_restart_until_its_versions_are_others() {
    let (blue, green) = (good().await, good().await);
    let house = House::start(&config(&blue, &green, SPLIT, ""));
    let rollback = json!({ "model": "m", "act": "rollback", "version": "green" });
    assert_eq!(house.order("/releases", &rollback).await.status, 200);
    let stands = |told: &Value| (weights(told), of(told, "green")["standing"].as_str() == Some("rolled_back"));
    // Other terms are the same release; a file with a mistake changes nothing.
    house.configure(&config(&blue, &green, SPLIT, "alpha: 0.05, slower: 3"));
    house.reload().expect("a good file");
    assert_eq!(stands(&release(&house).await), ((100, 0), true));
    house.configure(&config(&blue, &green, &SPLIT.replace("70", "60"), ""));
    assert!(house.reload().is_err(), "60 and 30 are not 100");
    assert_eq!(stands(&release(&house).await), ((100, 0), true));
    house.configure(&config(&blue, &green, SPLIT, ""));
    let house = house.restart();
    let told = release(&house).await;
    assert_eq!(stands(&told), ((100, 0), true), "{told}");
    assert_eq!(told["history"][0]["act"], "rollback");
    house.configure(&config(&blue, &green, &SPLIT.replace("70", "60").replace("30", "40"), ""));
    house.reload().expect("a good file");
    assert_eq!(stands(&release(&house).await), ((60, 40), false), "other weights begin anew");
    // Written by nobody we know: to begin anew would start again what was sent back.
    let mut house = house;
    drop(house.take());
    house.folder.write("kept/releases", "{\"m\": 1}");
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| house.restart()));
    let why = broken.err().and_then(|why| why.downcast_ref::<String>().cloned()).unwrap_or_default();
    assert!(why.contains("restoring `releases`"), "{why}");
}

#[tokio::test]
async fn a_canary_takes_its_steps_by_itself_where_it_may() {
    let (blue, green) = (good().await, good().await);
    let first = "blue: { weight: 90 }, green: { weight: 10, upstream: new }";
    let steps = "sticky: request, slower: 100, steps: [10, 50, 100], hold: 0s, min_calls: 5";
    let house = House::start(&config(&blue, &green, first, steps));
    let mut client = house.plain().await;
    let mut calls = 0u32;
    while weights(&release(&house).await) != (0, 100) {
        calls += 1;
        assert!(calls < 20_000, "{}", release(&house).await);
        client.ask(call(&house.bearer("t1"))).await;
    }
    let promoted: Vec<_> = audited(&house).iter().map(|entry| entry["what"]["to_weight"].as_u64()).collect();
    assert_eq!(promoted, [Some(50), Some(100)]);
    assert_eq!(release(&house).await["baseline"], "green");
}
