//! What callers are told of their budgets, and the lever that lowers them: pulled and let go over the admin listener, on record
//! before it is answered, over a reload and a restart.

use serde_json::{Value, json};
use tollgate_testkit::client::{get, post};
use tollgate_testkit::{Act, Client, House, ModelServer, Reply};

const ANSWER: &str = r#"{"id":"1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":40,"completion_tokens":60,"total_tokens":100}}"#;

fn config(url: &str, more: &str) -> String {
    format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ m: {{ endpoints: [\"{url}\"] }} }}
models: {{ tiny: {{ upstream: m, contract: {{ max_output_tokens: 500, default_output_tokens: 100 }} }} }}
cost: {{ classes: {{ small: 10 }} }}
limits:
  budgets:
    - {{ name: pace, per: tenant, unit: requests, burst: 10, refill_per_sec: 1 }}
    - {{ name: words, per: key, unit: tokens, quota: 1000, window_ms: 3600000 }}
    - {{ name: gold, per: tenant, burst: 1000000, refill_per_sec: 1000 }}
    - {{ name: machine, per: model, burst: 9000000, refill_per_sec: 1 }}
routes:
  - {{ name: chat, path: /v1/chat/completions, methods: [POST], protocol: openai, models: [tiny], cost_class: small }}
  - {{ name: policy, path: /.tollgate/policy, protocol: limits_policy, auth: none }}
tenants:
  acme: {{ models: [tiny], budgets: [pace, words, gold] }}
  other: {{ models: [tiny], budgets: [gold] }}
{more}"
    )
}

async fn house(more: &str) -> (ModelServer, House) {
    let server = ModelServer::start(|_| Act::json(ANSWER)).await;
    let house = House::start(&config(&server.url(), more));
    (server, house)
}

fn chat(house: &House, tenant: &str, more: &str) -> String {
    let body = format!(r#"{{"model":"tiny","messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
    let fields = format!("{}Content-Type: application/json\r\n", house.bearer(tenant));
    post("/v1/chat/completions", &fields, &body)
}

async fn ask(house: &House, text: String) -> Reply {
    house.plain().await.ask(text).await
}

fn body(reply: &Reply) -> Value {
    serde_json::from_str(&reply.text()).unwrap_or_else(|_| panic!("{}", reply.text()))
}

/// `GET /.tollgate/quota` with a key.
async fn quota(house: &House, tenant: &str) -> Value {
    let head = format!("GET /.tollgate/quota HTTP/1.1\r\nHost: gateway.test\r\n{}\r\n", house.bearer(tenant));
    let reply = ask(house, head).await;
    assert_eq!((reply.status, reply.field("cache-control")), (200, Some("no-store")), "{}", reply.text());
    body(&reply)
}

async fn admin(house: &House, method: &str, what: &Value) -> Reply {
    let text = what.to_string();
    let head = format!(
        "{method} /limits/overrides HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer the-admin-key-of-a-test\r\n\
         Content-Length: {}\r\n\r\n{text}",
        text.len()
    );
    Client::plain(house.at("admin")).await.ask(head).await
}

#[tokio::test]
async fn callers_see_their_own_budgets_and_nobody_else_s() {
    let (_server, house) = house("").await;
    assert_eq!(ask(&house, chat(&house, "acme", "")).await.status, 200);
    house.quiet().await;
    let told = quota(&house, "acme").await;
    let of =
        |name: &str| told["budgets"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name)).cloned();
    let names: Vec<_> = told["budgets"].as_array().expect("budgets").iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["pace", "gold", "words"], "budgets that are shared with others are not shown");
    let words = of("words").expect("tokens");
    assert_eq!(
        (&words["unit"], &words["quota"], &words["remaining"]),
        (&json!("tokens"), &json!(1000), &json!(900)),
        "what the server said that it used: {words}"
    );
    assert_eq!(of("pace").expect("requests")["remaining"], 9);
    assert_eq!((&told["tenant"], told.get("override")), (&json!("acme"), None));
    let others = quota(&house, "other").await;
    assert_eq!(others["budgets"].as_array().map(Vec::len), Some(1));
    assert_eq!(others["budgets"][0]["remaining"], 1000);
    // Nobody in particular has no budgets, and no query opens anybody else's.
    assert_eq!(ask(&house, get("/.tollgate/quota")).await.status, 401);
    let probe =
        format!("GET /.tollgate/quota?tenant=other HTTP/1.1\r\nHost: gateway.test\r\n{}\r\n", house.bearer("acme"));
    assert_eq!(body(&ask(&house, probe).await)["tenant"], "acme");
    assert_eq!(ask(&house, post("/.tollgate/quota", &house.bearer("acme"), "{}")).await.status, 405);
}

#[tokio::test]
async fn the_policy_is_published_as_json_and_as_a_page() {
    let (_server, house) = house("").await;
    let told = body(&ask(&house, get("/.tollgate/policy")).await);
    assert_eq!(told["budgets"].as_array().map(Vec::len), Some(4));
    let page = "GET /.tollgate/policy HTTP/1.1\r\nHost: gateway.test\r\nAccept: text/markdown\r\n\r\n".to_owned();
    let page = ask(&house, page).await;
    assert_eq!(page.field("content-type"), Some("text/markdown; charset=utf-8"));
    assert!(page.text().contains("| `words` | key |") && !page.text().contains("acme"), "{}", page.text());
}

#[tokio::test]
async fn tokens_are_announced_reserved_and_settled_on_openai_s_routes() {
    let (_server, house) = house("").await;
    let reply = ask(&house, chat(&house, "acme", r#","max_tokens":300"#)).await;
    let field = |reply: &Reply, name: &str| reply.field(name).map(str::to_owned);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(field(&reply, "x-ratelimit-limit-tokens").as_deref(), Some("1000"));
    assert_eq!(field(&reply, "x-ratelimit-limit-requests").as_deref(), Some("10"));
    assert_eq!(field(&reply, "x-ratelimit-remaining-requests").as_deref(), Some("9"));
    house.quiet().await;
    // 900 are left: what was asked for and not used is back.
    let refused = ask(&house, chat(&house, "acme", r#","max_tokens":500,"n":1"#)).await;
    assert_eq!(refused.status, 200, "{}", refused.text());
    house.quiet().await;
    for _ in 0..4 {
        assert_eq!(ask(&house, chat(&house, "acme", "")).await.status, 200);
        house.quiet().await;
    }
    let refused = ask(&house, chat(&house, "acme", r#","max_tokens":450"#)).await;
    let told = body(&refused);
    assert_eq!((refused.status, &told["error"]["code"]), (429, &json!("rate_limit_exceeded")), "{told}");
    assert_eq!(told["error"]["violated-policies"], json!(["words"]));
    assert_eq!(
        (refused.field("x-should-retry"), refused.field("tollgate-problem")),
        (Some("false"), Some("rate_limited"))
    );
}

#[tokio::test]
async fn a_lever_is_pulled_on_record_and_let_go() {
    let (_server, house) = house("").await;
    for bad in [
        json!({ "tenant": "acme", "factor": 1.0, "for_ms": 60_000 }),
        json!({ "tenant": "acme", "factor": -0.1, "for_ms": 60_000 }),
        json!({ "tenant": "acme", "factor": 0.00001, "for_ms": 60_000 }),
        json!({ "tenant": "acme", "factor": 0.1 }),
        json!({ "tenant": "acme", "key": "k", "factor": 0.1, "for_ms": 60_000 }),
        json!({ "tenant": "nobody", "factor": 0.1, "for_ms": 60_000 }),
        json!({ "cidr": "10.0.0.0/33", "factor": 0.1, "for_ms": 60_000 }),
        json!({ "tenant": "acme", "factor": 0.1, "for_ms": 1 }),
    ] {
        assert_eq!(admin(&house, "POST", &bad).await.status, 422, "{bad}");
    }
    assert_eq!(admin(&house, "POST", &json!({ "all": true })).await.status, 400);
    assert_eq!(admin(&house, "PUT", &json!({})).await.status, 405);
    assert_eq!(house.lines().len(), 0, "what was not done is not on record");
    let pull = json!({ "tenant": "acme", "factor": 0, "for_ms": 60_000, "reason": "a flood" });
    let told = admin(&house, "POST", &pull).await;
    assert_eq!(told.status, 200, "{}", told.text());
    // It was on record before the answer: no waiting here.
    let lines = house.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["act"], &lines[0]["by"]), (&json!("limits.override"), &json!("admin_key")));
    assert_eq!((&lines[0]["what"]["tenant"], &lines[0]["what"]["reason"]), (&json!("acme"), &json!("a flood")));
    let refused = ask(&house, chat(&house, "acme", "")).await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.field("retry-after").and_then(|text| text.parse().ok()).expect("a wait");
    assert!((50..=60).contains(&wait), "{wait}");
    assert_eq!(quota(&house, "acme").await["override"]["factor"], 0.0);
    assert_eq!(ask(&house, chat(&house, "other", "")).await.status, 200, "others are left alone");
    // A reload leaves it.
    house.reload().expect("the same configuration");
    assert_eq!(ask(&house, chat(&house, "acme", "")).await.status, 429);
    let listed = body(&admin(&house, "GET", &json!({})).await);
    assert_eq!(listed["overrides"].as_array().map(Vec::len), Some(1));
    assert_eq!(admin(&house, "DELETE", &json!({ "tenant": "acme" })).await.status, 200);
    assert_eq!(admin(&house, "DELETE", &json!({ "tenant": "acme" })).await.status, 404);
    assert_eq!(ask(&house, chat(&house, "acme", "")).await.status, 200);
}

#[tokio::test]
async fn a_network_is_lowered_and_a_stranger_cannot_pull() {
    let (_server, house) = house("").await;
    let head = "POST /limits/overrides HTTP/1.1\r\nHost: admin\r\nContent-Length: 2\r\n\r\n{}".to_owned();
    assert_eq!(Client::plain(house.at("admin")).await.ask(head).await.status, 401);
    let pull = json!({ "cidr": "127.0.0.0/8", "factor": 0.1, "for_ms": 60_000 });
    assert_eq!(admin(&house, "POST", &pull).await.status, 200);
    let statuses = [ask(&house, chat(&house, "acme", "")).await, ask(&house, chat(&house, "acme", "")).await];
    assert_eq!(statuses.map(|reply| reply.status), [200, 429], "one of ten requests at once is left");
}
