//! Contracts of replies over real sockets: what breaks one becomes a clean 502 with a record, and nothing of it leaves.

use tollgate_testkit::client::post;
use tollgate_testkit::{Act, House, ModelServer, Reply, Taken};

const JSON: &str = "Content-Type: application/json\r\n";
/// Stands wherever a broken reply could leak from.
const MARKER: &str = "EVIDENCE-MARKER";
const CALL: &str = r#"{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[0,0,0,0]}]}"#;
const GOOD: &str = r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[0,1]}]}"#;

/// A model whose replies are held, behind routes that enforce, watch and speak another dialect.
async fn before(script: impl Fn(&Taken) -> Vec<Act> + Send + Sync + 'static) -> (House, ModelServer) {
    before_with("", script).await
}

async fn before_with(more: &str, script: impl Fn(&Taken) -> Vec<Act> + Send + Sync + 'static) -> (House, ModelServer) {
    let server = ModelServer::start(script).await;
    let house = House::start(&format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
models:
  linear:
    upstream: m
    contract:
      inputs: [{{ name: x, dtype: FP32, shape: [batch, 2] }}]
      outputs: [{{ name: y, dtype: FP32, shape: [batch], range: [0, 1] }}]
      reply: {{ max_bytes: 100000 }}
  chat: {{ upstream: m, contract: {{ reply: {{ max_bytes: 200 }} }} }}
  scorer:
    upstream: m
    contract:
      schema: {{ type: object }}
      reply: {{ schema: {{ type: object, required: [score], properties: {{ score: {{ type: number, maximum: 1 }} }} }} }}
cost: {{ min_us: 1 }}
routes:
  - {{ name: oip, path: \"/v2/{{*rest}}\", protocol: oip, models: [linear], auth: none }}
  - {{ name: kserve, path: \"/v1/models/{{*rest}}\", protocol: kserve_v1, models: [linear], auth: none, stages: {{ contract: {{ mode: observe }} }} }}
  - {{ name: openai, path: \"/v1/{{*rest}}\", protocol: openai, models: [chat], auth: none }}
  - {{ name: json, path: /score, protocol: json, models: [scorer], auth: none }}
{more}
",
        server.url()
    ));
    (house, server)
}

/// The reply to one call where the model server answers `body`.
async fn answered(lines: &str, body: &[u8]) -> (House, Reply) {
    let head = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: {}\r\n\r\n", body.len());
    let whole = [head.as_bytes(), body].concat();
    let (house, _server) = before(move |_| vec![Act::Send(whole.clone())]).await;
    let reply = house.plain().await.ask(post("/v2/models/linear/infer", JSON, CALL)).await;
    (house, reply)
}

#[tokio::test]
async fn a_reply_that_breaks_its_contract_is_a_502_without_a_word_of_it() {
    let (house, reply) = answered(JSON, GOOD.as_bytes()).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, GOOD));
    assert_eq!(house.metric(r#"tollgate_replies_broken_total{route="oip"}"#).await, Some(0.0));
    let large = format!("{GOOD}{}", " ".repeat(100_000));
    for (lines, body, why) in [
        (JSON, GOOD.replace("[0,1]", "[0,2]"), "expected numbers from 0.0 to 1.0 in output `y`, found 2.0"),
        (JSON, GOOD.replace("[2]", "[1]").replace("[0,1]", "[0]"), "as before"),
        (JSON, GOOD.replace("\"y\"", &format!("\"{MARKER}\"")), "output `y` is missing"),
        (JSON, MARKER.to_owned(), "found a bare word"),
        (JSON, large, "more than 100000 bytes"),
        ("Content-Type: text/html\r\n", MARKER.to_owned(), "another type of content"),
        ("Content-Type: application/json\r\nContent-Encoding: zstd\r\n", GOOD.to_owned(), "a coding that is not read"),
    ] {
        let (house, reply) = answered(lines, body.as_bytes()).await;
        assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_failed"), "{body}");
        assert!(!reply.text().contains(MARKER) && !reply.text().contains("pointer"), "{}", reply.text());
        let line = house.line(&reply.id()).await;
        assert_eq!(
            (line["stage"].as_str(), line["code"].as_str()),
            (Some("contract"), Some("upstream_failed")),
            "{line}"
        );
        assert!(line["evidence"].as_str().is_some_and(|evidence| evidence.contains(why)), "{line}");
        assert!(!line.to_string().contains(MARKER), "{line}");
        let is_free = line["spent_us"] == 0;
        assert_eq!(
            is_free,
            why != "more than 100000 bytes",
            "who can make it large must not get it for nothing: {line}"
        );
        assert_eq!(house.metric(r#"tollgate_replies_broken_total{route="oip"}"#).await, Some(1.0));
        house.quiet().await;
    }
}

#[tokio::test]
async fn an_error_that_is_relayed_is_no_reply_to_hold_to_a_contract() {
    const WHY: &str = r#"{"error":"no such row"}"#;
    let head = format!("HTTP/1.1 422 Unprocessable Content\r\n{JSON}Content-Length: {}\r\n\r\n{WHY}", WHY.len());
    let script = move |_: &Taken| vec![Act::Send(head.clone().into_bytes())];
    let (house, _server) = before_with("output: { errors: relay_4xx }", script).await;
    let reply = house.plain().await.ask(post("/v2/models/linear/infer", JSON, CALL)).await;
    assert_eq!((reply.status, reply.text().as_str()), (422, WHY));
    assert_eq!(house.metric(r#"tollgate_replies_broken_total{route="oip"}"#).await, Some(0.0));
}

#[tokio::test]
async fn a_binary_reply_is_judged_where_it_stands() {
    let head = r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}}]}"#;
    let lines = |length: &str| {
        format!("Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {length}\r\n")
    };
    let body = |values: [f32; 2]| [head.as_bytes(), &values.map(f32::to_le_bytes).concat()].concat();
    let length = head.len().to_string();
    let (_house, reply) = answered(&lines(&length), &body([0.0, 1.0])).await;
    assert_eq!((reply.status, reply.field("inference-header-content-length")), (200, Some(length.as_str())));
    assert_eq!(reply.body, body([0.0, 1.0]));
    for (length, values) in [(length.as_str(), [0.0, f32::NAN]), (&format!("+{length}"), [0.0, 1.0]), ("7", [0.0, 1.0])]
    {
        let (_house, reply) = answered(&lines(length), &body(values)).await;
        assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_failed"), "{length}");
    }
}

#[tokio::test]
async fn a_contract_that_is_watched_lets_the_reply_pass_and_counts_it() {
    let (house, _server) = before(|_| Act::json(r#"{"predictions":[0,7]}"#)).await;
    let mut client = house.plain().await;
    let reply = client.ask(post("/v1/models/linear:predict", JSON, r#"{"instances":[[0,0],[0,0]]}"#)).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"predictions":[0,7]}"#));
    let line = house.line(&reply.id()).await;
    assert_eq!(line["would_refuse"], serde_json::json!(["contract"]), "{line}");
    assert_eq!(house.metric(r#"tollgate_replies_broken_total{route="kserve"}"#).await, Some(1.0));
}

#[tokio::test]
async fn any_json_has_its_schema_and_a_chat_its_size_in_the_face_of_its_route() {
    let (house, _server) = before(|taken| match taken.head.contains("/score") {
        true => Act::json(r#"{"score":1.5}"#),
        false => Act::json(&format!(r#"{{"choices":[{{"message":{{"content":"{}"}}}}]}}"#, "a".repeat(300))),
    })
    .await;
    let mut client = house.plain().await;
    let reply = client.ask(post("/score", JSON, "{}")).await;
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_failed"));
    let chat = r#"{"model":"chat","messages":[{"role":"user","content":"hi"}]}"#;
    let reply = client.ask(post("/v1/chat/completions", JSON, chat)).await;
    let document: serde_json::Value = serde_json::from_str(&reply.text()).expect("JSON");
    assert_eq!((reply.status, &document["error"]["code"]), (502, &"upstream_failed".into()), "{document}");
}

#[tokio::test]
async fn a_reply_that_streams_is_not_held() {
    let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "a".repeat(300));
    let stream = event.clone();
    let (house, _server) = before(move |_| Act::answer("200 OK", "Content-Type: text/event-stream\r\n", &stream)).await;
    let chat = r#"{"model":"chat","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let reply = house.plain().await.ask(post("/v1/chat/completions", JSON, chat)).await;
    assert_eq!((reply.status, reply.text()), (200, event));
}
