//! `tollgate contract learn`: what it prints loads, holds what the server takes, and nothing that a server says breaks out
//! of it.

use std::process::{Command, Output, Stdio};

use serde_json::json;
use tollgate_testkit::{Act, Ca, Folder, ModelServer};

const MAIN: &str = "version: 1
include: [learned.yaml]
listeners: { local: { bind: \"127.0.0.1:0\" } }
upstreams: { server: { preset: PRESET, endpoints: [\"http://127.0.0.1:1\"] } }
";

/// Runs the verb, off the runtime that the server lives on.
async fn learn(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["contract", "learn"]).args(args).env_clear().stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().expect("the program runs")).await.expect("it ends")
}

/// What was printed, after `tollgate check` found a configuration good that includes it.
fn good(output: &Output, preset: &str) -> String {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let folder = Folder::fresh();
    folder.write("learned.yaml", &text);
    folder.write("tollgate.yaml", MAIN.replace("PRESET", preset));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let checked =
        command.arg("check").arg(folder.join("tollgate.yaml")).env_clear().output().expect("the program runs");
    let told = [checked.stdout, checked.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(checked.status.success(), "{text}\n{told}");
    let opens = matches!(preset, "triton" | "vllm");
    assert_eq!(told.contains("a preset opens POST /v"), opens, "{told}");
    text
}

fn schemas() -> serde_json::Value {
    json!({ "Predict": { "type": "object", "required": ["features"], "properties": {
        "features": { "type": "array", "minItems": 10, "maxItems": 10, "items": { "type": "number" } },
        "request_id": { "type": "string", "enum": ["^${a}[A-Z\u{7f}\u{2028}]$"], "title": "no\nway" },
        "${key": { "type": "string" },
    } } })
}

fn openapi(schemas: &serde_json::Value) -> String {
    let body = json!({ "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Predict" } } } });
    let score = json!({ "type": "object", "required": ["score"], "properties": {
        "score": { "type": "number", "maximum": 1 }, "at": { "type": "string", "format": "date-time", "enum": ["${b}"] },
    } });
    let answer = json!({ "200": { "content": { "application/json": { "schema": score } } }, "422": {} });
    let paths = json!({
        "/predict": { "post": { "requestBody": body, "responses": answer } },
        "/health\n  evil: yes": { "get": {} },
    });
    let look = json!({ "type": "string", "pattern": "(?=a)" });
    let look = json!({ "content": { "application/json": { "schema": look } } });
    let mut paths = paths;
    paths["/look"] = json!({ "post": { "requestBody": look } });
    json!({ "openapi": "3.1.0", "paths": paths, "components": { "schemas": schemas } }).to_string()
}

#[tokio::test]
async fn metadata_becomes_a_contract_that_loads() {
    let metadata = r#"{"name":"linear","inputs":[{"name":"x: y","datatype":"FP32","shape":[-1,4]}],
        "outputs":[{"name":"n","datatype":"BYTES","shape":[-1,-1]}]}"#;
    let server = ModelServer::start(move |taken| match taken.line() {
        "GET /v2/models/linear HTTP/1.1" => Act::json(metadata),
        "GET /v2/models/linear/config HTTP/1.1" => Act::json(r#"{"max_batch_size":16,"input":[],"output":[]}"#),
        _ => Act::answer("404 Not Found", "", ""),
    })
    .await;
    let text = good(&learn(&["--from", &server.url(), "--model", "linear"]).await, "triton");
    assert!(text.contains("batch: { max: 16 }"), "{text}");
    assert!(text.contains(r#"- { name: "x: y", dtype: FP32, shape: [batch, 4] }"#), "{text}");
    assert!(text.contains(r#"- { name: "n", dtype: BYTES, shape: [batch, n_1] }"#), "{text}");
    assert!(text.contains("# From the outputs that are told: ") && text.contains("\n      reply: {}\n"), "{text}");
    let folder = Folder::fresh();
    let seen = json!({ "models": { "linear": {
        "requests": 9, "batch": { "requests": 9, "least": 1, "greatest": 3 },
        "inputs": { "x: y": { "requests": 9, "least": -0.5, "greatest": 1e30 } },
    } } });
    folder.write("seen.json", seen.to_string());
    let (from, seen) = (format!("{}/v2/models/linear", server.url()), folder.join("seen.json"));
    let text = good(&learn(&["--from", &from, "--observed", seen.to_str().expect("UTF-8")]).await, "triton");
    assert!(text.contains("batch: { max: 5 } # 1 to 3 in 9 requests"), "{text}");
    assert!(text.contains("range: [-0.5, 1e30] } # -0.5 to 1e30 in 9 requests"), "{text}");
}

#[tokio::test]
async fn an_openapi_document_becomes_routes_that_load() {
    let mut schemas = schemas();
    let bad = openapi(&schemas);
    let server = ModelServer::start(move |taken| match taken.line() {
        "GET /openapi.json HTTP/1.1" => Act::json(&bad),
        _ => Act::answer("404 Not Found", "", ""),
    })
    .await;
    let output = learn(&["--from", &server.url()]).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{told}");
    assert!(told.contains("`${key`"), "a key that would be filled in is told: {told}");
    if let Some(properties) = schemas.pointer_mut("/Predict/properties").and_then(|all| all.as_object_mut()) {
        properties.remove("${key");
    }
    let folder = Folder::fresh();
    folder.write("openapi.json", openapi(&schemas));
    let file = folder.join("openapi.json");
    let text = good(&learn(&["--from", file.to_str().expect("UTF-8")]).await, "fastapi");
    assert!(text.contains("- { name: predict, path: /predict, protocol: json, models: [predict] }"), "{text}");
    assert!(text.contains(r#"enum: ["^$${a}[A-Z\u007f\u2028]$"]"#), "{text}");
    assert!(text.contains("# Closed: GET /health   evil: yes\n"), "one line: {text}");
    assert!(text.contains("# Closed: POST /look: "), "{text}");
    assert!(!text.contains("no way"), "words for people stay outside: {text}");
    let (_, reply) = text.split_once("      reply:").expect("a contract for replies");
    assert!(reply.contains("score") && reply.contains("maximum: 1") && reply.contains(r#"enum: ["$${b}"]"#), "{text}");
    assert!(
        text.contains("# From the only good answer that the document tells") && !reply.contains("date-time"),
        "{text}"
    );
}

#[tokio::test]
async fn a_list_of_models_becomes_bounded_models() {
    let list = r#"{"object":"list","data":[{"id":"org/a-1","max_model_len":2048},{"id":"b c"},{"id":"yes"}]}"#;
    let server = ModelServer::start(move |taken| match taken.line() {
        "GET /v1/models HTTP/1.1" => Act::json(list),
        _ => Act::answer("404 Not Found", "", ""),
    })
    .await;
    let text = good(&learn(&["--from", &format!("{}/", server.url())]).await, "vllm");
    assert!(
        text.contains("  org/a-1:\n    upstream: server\n    contract:\n      max_output_tokens: 2048 #"),
        "{text}"
    );
    assert!(text.contains("  \"yes\":\n"), "{text}");
    assert!(text.contains("# Left out: \"b c\" can be no name of a model here."), "{text}");
}

#[tokio::test]
async fn files_of_models_become_contracts_that_load() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/fraud_mlp.onnx");
    let text = good(&learn(&["--from", file]).await, "triton");
    assert!(text.contains("  fraud_mlp:\n") && text.contains("dtype: FP32"), "{text}");
    assert!(text.contains("\n      reply: {}\n"), "{text}");
    let folder = Folder::fresh();
    folder.write("config.pbtxt", "name: \"m\"\ninput { name: \"x\" data_type: TYPE_FP32 dims: [ 3, 224 ] }\n");
    let file = folder.join("config.pbtxt");
    let text = good(&learn(&["--from", file.to_str().expect("UTF-8")]).await, "triton");
    assert!(text.contains("shape: [3, 224]") && !text.contains("reply"), "no outputs are told: {text}");
}

#[tokio::test]
async fn a_server_cannot_send_it_elsewhere_or_feed_it_without_end() {
    let other = ModelServer::start(|_| Act::json("{}")).await;
    let to = other.url();
    let server = ModelServer::start(move |taken| match taken.line() {
        "GET /away HTTP/1.1" => Act::answer("302 Found", &format!("Location: {to}/x\r\n"), ""),
        "GET /large HTTP/1.1" => {
            Act::answer("200 OK", "Content-Type: application/json\r\n", &format!("\"{}\"", "x".repeat(9 << 20)))
        }
        "GET /deep HTTP/1.1" => Act::json(&"[".repeat(1 << 20)),
        _ => Act::json("null"),
    })
    .await;
    for (path, why) in
        [("/away", "not followed"), ("/large", "larger than 8 MiB"), ("/deep", "no JSON"), ("/x", "neither")]
    {
        let output = learn(&["--from", &format!("{}{path}", server.url())]).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(69), 0), "{path}: {told}");
        assert!(told.contains(why), "{path}: {told}");
    }
    assert_eq!(other.count(), 0);
}

#[tokio::test]
async fn a_server_over_tls_is_believed_by_its_certificate_alone() {
    let (ca, folder) = (Ca::new(), Folder::fresh());
    folder.write("ca.pem", ca.pem());
    let list = r#"{"object":"list","data":[{"id":"a"}]}"#;
    let server = ModelServer::over_tls(ca.server(&["localhost"]), |_| Act::json(list)).await;
    let from = format!("https://localhost:{}/v1/models", server.at().port());
    let pem = folder.join("ca.pem");
    let text = good(&learn(&["--from", &from, "--ca", pem.to_str().expect("UTF-8")]).await, "vllm");
    assert!(text.contains("  a:\n"), "{text}");
    let output = learn(&["--from", &from]).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{told}");
    assert!(told.contains("cannot connect"), "{told}");
}
