//! An override that is pulled on one gateway holds on the other one, through the store that they share.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_testkit::{Client, House, Reply, StoreServer};

const CONFIG: &str = r#"
runtime: { workers: 1 }
upstreams: { nobody: { endpoints: ["http://127.0.0.1:1"] } }
limits:
  budgets: [{ name: rpm, per: tenant, unit: requests, burst: 1000, refill_per_sec: 1000 }]
  store: { url: "secret://file/store.url" }
routes: [{ name: all, path: "/{*rest}", methods: [GET], protocol: none, upstream: nobody }]
tenants: { acme: { routes: [all], budgets: [rpm] }, other: { routes: [all], budgets: [rpm] } }
"#;

#[expect(clippy::print_stdout, reason = "says what was not run")]
fn not_run(how: &str) {
    println!("not run: {how}");
    assert!(std::env::var_os("CI").is_none(), "{how}");
}

/// Two gateways and their store; none where no server is installed.
async fn two() -> Option<(StoreServer, [House; 2])> {
    let store = match StoreServer::start_one() {
        Ok(store) => store,
        Err(how) => {
            not_run(how);
            return None;
        }
    };
    let start = || House::start_in(CONFIG, |folder| folder.write("store.url", store.url()));
    let houses = [start(), start()];
    for house in &houses {
        until("the store is found", async || house.metric("tollgate_store_up").await == Some(1.0)).await;
    }
    Some((store, houses))
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let come = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tollgate_testkit::soon(what, come).await;
}

const PATH: &str = "/limits/overrides";

fn told(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_str(&reply.text()).expect("JSON")
}

async fn overrides(house: &House) -> usize {
    told(&house.admin("GET", PATH).await)["overrides"].as_array().map_or(0, Vec::len)
}

async fn clear(house: &House, what: &Value) -> Value {
    let head = format!("DELETE {PATH} HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer the-admin-key-of-a-test\r\n");
    let text = what.to_string();
    let length = text.len();
    let mut client = Client::plain(house.at("admin")).await;
    told(&client.ask(format!("{head}Content-Length: {length}\r\n\r\n{text}")).await)
}

async fn status(house: &House, tenant: &str) -> u16 {
    let head = format!("GET /x HTTP/1.1\r\nHost: gateway.test\r\n{}\r\n", house.bearer(tenant));
    house.plain().await.ask(head).await.status
}

#[tokio::test]
async fn an_override_holds_on_both_gateways_and_each_has_it_on_record() {
    let Some((_store, [one, other])) = two().await else { return };
    let pull = json!({ "tenant": "acme", "factor": 0, "for_ms": 60_000, "reason": "a flood" });
    assert_eq!(told(&one.order(PATH, &pull).await)["nodes"], "all");
    let began = tokio::time::Instant::now();
    until("it holds on the other", async || overrides(&other).await == 1).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((status(&other, "acme").await, status(&one, "acme").await), (429, 429));
    assert_ne!(status(&other, "other").await, 429, "others are left alone");
    let line = other.line_where("it is on record", |line| line["act"] == "limits.override").await;
    assert_eq!((&line["by"], &line["what"]["reason"]), (&json!("another_node"), &json!("a flood")));
    let line = one.line_where("it is on record", |line| line["act"] == "limits.override").await;
    assert_eq!(line["by"], "admin_key");
    // Whoever lets it go, it is gone everywhere.
    assert_eq!(clear(&other, &json!({ "tenant": "acme" })).await["nodes"], "all");
    until("it is let go on the first", async || overrides(&one).await == 0).await;
    assert_ne!(status(&one, "acme").await, 429);
    let line = one.line_where("that is on record", |line| line["act"] == "limits.override.clear").await;
    assert_eq!(line["by"], "another_node");
    assert_eq!(overrides(&other).await, 0, "and it does not come back");
}

#[tokio::test]
async fn an_override_stays_where_it_was_pulled_while_the_store_is_away_and_says_so() {
    let Some((mut store, [one, other])) = two().await else { return };
    store.kill();
    for house in [&one, &other] {
        until("it is missed", async || house.metric("tollgate_store_up").await == Some(0.0)).await;
    }
    let pull = json!({ "cidr": "127.0.0.1/8", "factor": 0, "for_ms": 60_000 });
    assert_eq!(told(&one.order(PATH, &pull).await)["nodes"], "this_one");
    assert_eq!((overrides(&one).await, overrides(&other).await), (1, 0));
    store.start();
    until("the other hears of it", async || overrides(&other).await == 1).await;
}
