//! What a server says of its models against what contracts say, and what watched calls were like.

use tollgate_testkit::client::post;
use tollgate_testkit::{Act, House, ModelServer};

fn config(server: &ModelServer, more: &str) -> String {
    format!(
        "runtime: {{ workers: 1 }}
upstreams:
  t: {{ preset: triton, endpoints: [\"{url}\"], health: {{ active: false }} }}
  v: {{ preset: vllm, endpoints: [\"{url}\"], health: {{ active: false }} }}
  dead: {{ preset: triton, endpoints: [\"http://127.0.0.1:1\"], health: {{ active: false }} }}
models:
  linear: {{ upstream: t, contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [batch, 2] }}] }} }}
  gone: {{ upstream: dead, contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [batch, 2] }}] }} }}
  chat: {{ upstream: v }}
tenants: {{ acme: {{ models: [linear, gone, chat] }} }}
{more}
",
        url = server.url(),
    )
}

/// A server whose model has grown a column, and which has lost the other.
async fn changed() -> ModelServer {
    ModelServer::start(|taken| match taken.line() {
        "GET /v2/models/linear HTTP/1.1" => {
            Act::json(r#"{"name":"linear","inputs":[{"name":"x","datatype":"FP32","shape":[-1,3]}],"outputs":[]}"#)
        }
        "GET /v1/models HTTP/1.1" => Act::json(r#"{"object":"list","data":[{"id":"other"}]}"#),
        _ => Act::json(r#"{"outputs":[]}"#),
    })
    .await
}

#[tokio::test]
async fn a_contract_that_no_longer_fits_is_a_metric_and_refuses_nothing() {
    let server = changed().await;
    let house = House::start(&config(&server, ""));
    let row = "tollgate_contract_drift{model=\"linear\",upstream=\"t\"}";
    until_is(&house, row, 1.0).await;
    assert_eq!(house.metric("tollgate_contract_drift{model=\"chat\",upstream=\"v\"}").await, Some(1.0));
    assert_eq!(house.metric("tollgate_contract_drift{model=\"gone\",upstream=\"dead\"}").await, None, "nobody knows");
    let told: serde_json::Value = serde_json::from_str(&house.admin("GET", "/drift").await.text()).expect("JSON");
    let words = told["models"].as_array().expect("a list").iter().map(|found| found["differences"][0].as_str());
    let expected = [
        Some("the server does not list `chat`"),
        Some("input `x` is [batch, 3] at the server, [batch, 2] in the contract"),
    ];
    assert_eq!(words.collect::<Vec<_>>(), expected);
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;
    let fields = format!("Content-Type: application/json\r\n{}", house.bearer("acme"));
    assert_eq!(house.plain().await.ask(post("/v2/models/linear/infer", &fields, body)).await.status, 200);
    // A contract that was mended is found at the next reload.
    house.configure(&config(&server, "").replace("shape: [batch, 2]", "shape: [batch, 3]"));
    house.reload().expect("a good file");
    until_is(&house, row, 0.0).await;
}

async fn until_is(house: &House, row: &str, value: f64) {
    for _ in 0..2_000 {
        if house.metric(row).await == Some(value) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("`{row}` never was {value}: it is {:?}", house.metric(row).await);
}

#[tokio::test]
async fn nobody_is_asked_where_the_configuration_says_so() {
    let server = changed().await;
    let house = House::start(&config(&server, "contract: { drift_every: 0s }"));
    assert_eq!(house.reload().expect("a good file"), 2);
    assert_eq!(house.metric("tollgate_contract_drift{model=\"linear\",upstream=\"t\"}").await, None);
    let heads: Vec<_> = server.requests().iter().map(|taken| taken.line().to_owned()).collect();
    assert_eq!(heads, [""; 0]);
}

#[tokio::test]
async fn watched_calls_leave_numbers_and_enforced_ones_none() {
    let server = changed().await;
    let house = House::start(&config(&server, "contract: { mode: observe, drift_every: 0s }"));
    let mut client = house.plain().await;
    let fields = format!("Content-Type: application/json\r\n{}", house.bearer("acme"));
    for data in ["[1,2,3.5,-4]", "[0,0,7,9,9,9]"] {
        let rows = data.split(',').count() / 2;
        let body = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{rows},2],"data":{data}}}]}}"#);
        assert_eq!(client.ask(post("/v2/models/linear/infer", &fields, &body)).await.status, 200);
    }
    // What the contract would refuse passes, and counts.
    let body = r#"{"inputs":[{"name":"SECRET","datatype":"FP32","shape":[1,1],"data":[99]}]}"#;
    assert_eq!(client.ask(post("/v2/models/linear/infer", &fields, body)).await.status, 200);
    let text = house.admin("GET", "/observed").await.text();
    let seen: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let linear = &seen["models"]["linear"];
    assert_eq!(linear["requests"], 3);
    assert_eq!(linear["batch"], serde_json::json!({ "requests": 2, "least": 2.0, "greatest": 3.0 }));
    assert_eq!(linear["inputs"]["x"], serde_json::json!({ "requests": 2, "least": -4.0, "greatest": 9.0 }));
    assert!(!text.contains("SECRET") && !text.contains("99"), "{text}");
    house.configure(&config(&server, "contract: { drift_every: 0s }"));
    house.reload().expect("a good file");
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;
    assert_eq!(client.ask(post("/v2/models/linear/infer", &fields, body)).await.status, 200);
    let seen: serde_json::Value = serde_json::from_str(&house.admin("GET", "/observed").await.text()).expect("JSON");
    assert_eq!(seen["models"]["linear"]["requests"], 3, "figures outlive the policy, and enforced calls add none");
}

#[tokio::test]
async fn a_schema_from_a_document_is_held_and_its_change_is_told() {
    fn document(most: u32) -> String {
        format!(
            r##"{{"openapi":"3.1.0","paths":{{"/predict":{{"post":{{"requestBody":{{"content":{{"application/json":{{"schema":
            {{"$ref":"#/components/schemas/P"}}}}}}}}}}}}}},"components":{{"schemas":{{"P":{{"type":"array","maxItems":{most}}}}}}}}}"##
        )
    }
    let server = ModelServer::start(|taken| match taken.line() {
        "GET /openapi.json HTTP/1.1" => Act::json(&document(3)),
        _ => Act::json("{}"),
    })
    .await;
    let config = format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ app: {{ preset: fastapi, endpoints: [\"{}\"] }} }}
models: {{ predict: {{ upstream: app, contract: {{ openapi: {{ file: openapi.json, path: /predict }} }} }} }}
routes: [{{ name: predict, path: /predict, protocol: json, models: [predict] }}]
tenants: {{ acme: {{ models: [predict] }} }}
",
        server.url()
    );
    let house = House::start_in(&config, |folder| folder.write("openapi.json", document(2)));
    let fields = format!("Content-Type: application/json\r\n{}", house.bearer("acme"));
    let mut client = house.plain().await;
    assert_eq!(client.ask(post("/predict", &fields, "[1,2]")).await.status, 200);
    assert_eq!(client.ask(post("/predict", &fields, "[1,2,3]")).await.status, 422);
    let row = "tollgate_contract_drift{model=\"predict\",upstream=\"app\"}";
    until_is(&house, row, 1.0).await;
    house.folder.write("openapi.json", document(3));
    house.reload().expect("a good file");
    until_is(&house, row, 0.0).await;
    assert_eq!(client.ask(post("/predict", &fields, "[1,2,3]")).await.status, 200);
}
