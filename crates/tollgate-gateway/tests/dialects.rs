//! The words of OpenAI, Anthropic, Ollama, KServe and TensorFlow Serving over real sockets: what the model server is sent,
//! what the client is told, and what is counted.

use tollgate_testkit::client::{get, post};
use tollgate_testkit::{Act, Gate, House, ModelServer, Reply, Taken, until};

/// Routes of every dialect before one model server.
async fn before(script: impl Fn(&Taken) -> Vec<Act> + Send + Sync + 'static) -> (House, ModelServer) {
    let server = ModelServer::start(script).await;
    let house = House::start(&format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
models:
  chat:
    upstream: m
    contract: {{ max_output_tokens: 64, max_messages: 2, max_message_chars: 40, unknown_members: drop }}
  clamped: {{ upstream: m, contract: {{ max_output_tokens: 64, over_output_tokens: clamp, unknown_members: deny }} }}
  linear:
    upstream: m
    contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [batch, 2], range: [-1, 1] }}] }}
routes:
  - {{ name: anthropic, path: /v1/messages, protocol: anthropic, models: [chat], auth: none }}
  - {{ name: openai, path: \"/v1/{{*rest}}\", protocol: openai, models: [chat, clamped], auth: none }}
  - {{ name: ollama, path: \"/api/{{*rest}}\", protocol: ollama, models: [chat], auth: none }}
  - {{ name: kserve, path: \"/kserve/{{*rest}}\", protocol: kserve_v1, models: [linear], auth: none }}
  - {{ name: tf, path: \"/tf/{{*rest}}\", protocol: tf_serving, models: [linear], auth: none }}
  - {{ name: oip, path: \"/v2/{{*rest}}\", protocol: oip, models: [linear], auth: none }}
",
        server.url()
    ));
    (house, server)
}

fn chat(more: &str) -> String {
    post("/v1/chat/completions", JSON, &chat_body(more))
}

fn chat_body(more: &str) -> String {
    format!(r#"{{"model":"chat","messages":[{{"role":"user","content":"hi"}}]{more}}}"#)
}

const JSON: &str = "Content-Type: application/json\r\n";

/// A stream of two words and a usage.
const STREAM: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"good\"}}]}\n\n\
                      data: {\"choices\":[{\"delta\":{\"content\":\" day\"}}]}\n\n\
                      data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n\
                      data: [DONE]\n\n";

fn streams() -> Vec<Act> {
    Act::answer("200 OK", "Content-Type: text/event-stream\r\n", STREAM)
}

fn sent(server: &ModelServer, number: usize) -> String {
    let requests = server.requests();
    String::from_utf8(requests[number].body.clone()).expect("UTF-8")
}

#[tokio::test]
async fn a_stream_is_counted_and_only_our_own_usage_is_taken_out() {
    let (house, server) = before(|_| streams()).await;
    let mut client = house.plain().await;
    let reply = client.ask(chat(r#","stream":true"#)).await;
    assert_eq!((reply.status, reply.field("content-type")), (200, Some("text/event-stream")));
    assert!(!reply.text().contains("usage") && reply.text().ends_with("data: [DONE]\n\n"), "{}", reply.text());
    assert_eq!(
        sent(&server, 0),
        chat_body(r#","stream":true,"max_tokens":64,"stream_options":{"include_usage":true}"#)
    );
    let line = house.line(&reply.id()).await;
    assert_eq!((line["tokens_in"].as_u64(), line["tokens_out"].as_u64()), (Some(5), Some(2)), "{line}");
    let asked = r#","stream":true,"stream_options":{"include_usage":true},"max_tokens":9"#;
    let reply = client.ask(chat(asked)).await;
    assert_eq!((reply.text().as_str(), sent(&server, 1)), (STREAM, chat_body(asked)));
    house.quiet().await;
}

#[tokio::test]
async fn an_event_flows_before_the_next_one_comes() {
    let gate = Gate::default();
    let held = gate.clone();
    let (first, rest) = STREAM.split_at(STREAM.find("\n\n").expect("an event") + 2);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let begin = format!("{head}{}", chunk(first)).into_bytes();
    let end = format!("{}0\r\n\r\n", chunk(rest)).into_bytes();
    let (house, _server) =
        before(move |_| vec![Act::Send(begin.clone()), Act::Hold(held.clone()), Act::Send(end.clone())]).await;
    let mut client = house.plain().await;
    client.send(chat(r#","stream":true"#)).await;
    let head = client.head().await;
    client.sees(b"good").await; // while the model still thinks
    gate.open();
    client.sees(b"[DONE]").await;
    assert_eq!(house.line(&head.id()).await["tokens_out"], 2);
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_event_and_is_counted_by_its_text() {
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"twelve bytes\"}}]}\n\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let begin = format!("{head}{:x}\r\n{event}\r\n", event.len()).into_bytes();
    let (house, _server) = before(move |_| vec![Act::Send(begin.clone()), Act::Reset]).await;
    let reply = house.plain().await.ask(chat(r#","stream":true"#)).await;
    assert!(reply.whole, "the stream ends as streams end");
    let text = reply.text();
    let last = text.strip_prefix(event).and_then(|rest| rest.strip_prefix("data: ")).expect("an event more");
    let last: serde_json::Value = serde_json::from_str(last.trim()).expect("JSON");
    assert_eq!((&last["error"]["code"], &last["error"]["type"]), (&"upstream_failed".into(), &"server_error".into()));
    let line = house.line(&reply.id()).await;
    assert_eq!((line["outcome"].as_str(), line["tokens_out"].as_u64()), (Some("cut"), Some(3)), "{line}");
}

#[tokio::test]
async fn a_client_that_closes_at_the_last_event_has_been_answered() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let most = STREAM.strip_suffix("data: [DONE]\n\n").expect("a last event");
    for (sent, seen, outcome) in [(STREAM, "[DONE]", "answered"), (most, "prompt_tokens", "client_left")] {
        let begin = format!("{head}{:x}\r\n{sent}\r\n", sent.len()).into_bytes();
        let (house, server) = before(move |_| vec![Act::Send(begin.clone()), Act::Stay]).await;
        let mut client = house.plain().await;
        client.send(chat(r#","stream":true,"stream_options":{"include_usage":true}"#)).await;
        let head = client.head().await;
        client.sees(seen.as_bytes()).await;
        drop(client);
        let line = house.line(&head.id()).await;
        assert_eq!((line["outcome"].as_str(), line["tokens_out"].as_u64()), (Some(outcome), Some(2)), "{line}");
        until("the server to be let go", || server.open() == 0).await;
    }
}

#[tokio::test]
async fn a_whole_answer_says_its_usage() {
    let (house, server) = before(|_| {
        Act::json(r#"{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":4,"completion_tokens":1}}"#)
    })
    .await;
    let mut client = house.plain().await;
    let reply = client.ask(chat(r#","wonder":{"a":1},"max_completion_tokens":3"#)).await;
    let line = house.line(&reply.id()).await;
    assert_eq!((line["tokens_in"].as_u64(), line["tokens_out"].as_u64()), (Some(4), Some(1)), "{line}");
    assert_eq!(sent(&server, 0), chat_body(r#","max_completion_tokens":3"#), "the unknown member is dropped");
    let clamped = r#"{"model":"clamped","prompt":"hi","max_tokens":500}"#;
    client.ask(post("/v1/completions", JSON, clamped)).await;
    assert_eq!(sent(&server, 1), clamped.replace("500", "64"));
}

#[tokio::test]
async fn what_a_contract_refuses_never_reaches_the_model() {
    let (house, server) = before(|_| Act::json("{}")).await;
    let mut client = house.plain().await;
    let long = format!(r#"{{"model":"chat","messages":[{{"role":"user","content":"{}"}}]}}"#, "é".repeat(41));
    let three = r#"{"model":"chat","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}"#;
    let fetch = r#"{"model":"chat","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://169.254.169.254/x"}}]}]}"#;
    let table: [(&str, String, u16, &str); 14] = [
        ("/v1/chat/completions", chat_body(r#","max_tokens":65"#), 422, "max_tokens"),
        ("/v1/chat/completions", chat_body(r#","max_tokens":"9""#), 422, "max_tokens"),
        ("/v1/chat/completions", chat_body(r#","n":2"#), 422, "n"),
        ("/v1/chat/completions", chat_body(r#","ignore_eos":true"#), 422, "ignore_eos"),
        ("/v1/chat/completions", chat_body(r#","n":1,"n":1"#), 400, ""),
        ("/v1/chat/completions", long, 422, "messages.0.content"),
        ("/v1/chat/completions", three.to_owned(), 422, "messages"),
        ("/v1/chat/completions", fetch.to_owned(), 422, "messages.0.content.0.image_url.url"),
        ("/v1/chat/completions", chat_body("").replace("chat\"", "Chat\""), 404, ""),
        ("/v1/completions", r#"{"model":"chat","prompt":[1,2,3]}"#.to_owned(), 422, "prompt"),
        ("/v1/completions", r#"{"model":"clamped","prompt":"x","wonder":1}"#.to_owned(), 422, ""),
        ("/v1/embeddings", r#"{"model":"chat"}"#.to_owned(), 422, ""),
        ("/v1/load_lora_adapter", "{}".to_owned(), 404, ""),
        ("/v1/messages", r#"{"model":"chat","messages":[{"role":"user","content":"x"}]}"#.to_owned(), 422, ""),
    ];
    for (path, body, status, param) in table {
        let reply = client.ask(post(path, JSON, &body)).await;
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.text());
        let document: serde_json::Value = serde_json::from_str(&reply.text()).expect("JSON");
        if path == "/v1/messages" {
            assert_eq!(
                (&document["type"], &document["error"]["type"]),
                (&"error".into(), &"invalid_request_error".into())
            );
        } else {
            let found = document["error"]["param"].as_str().unwrap_or_default();
            assert_eq!(found, param, "{path} {body}: {document}");
        }
    }
    assert_eq!(server.count(), 0);
    for (body, model) in [
        (chat_body(r#","n":2"#), Some("chat")),
        (chat_body(r#","max_tokens":"9""#), Some("chat")),
        (chat_body("").replace("chat\"", "linear\""), Some("linear")),
        (chat_body("").replace("chat\"", "made up\""), None),
    ] {
        let reply = client.ask(post("/v1/chat/completions", JSON, &body)).await;
        let line = house.line(&reply.id()).await;
        assert_eq!(line["model"].as_str(), model, "only what the policy knows is written down: {line}");
    }
    let reply = client.ask(post("/v2/models/linear/infer", JSON, r#"{"inputs":[]}"#)).await;
    assert_eq!(house.line(&reply.id()).await["model"], "linear");
}

#[tokio::test]
async fn what_a_server_says_beside_the_usage_that_we_asked_for_is_kept() {
    let finish = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#;
    let stream = format!(
        "data: {finish}}}\n\ndata: {{\"choices\":[],\"usage\":{{\"completion_tokens\":2}},\"timings\":{{\"predicted_n\":2}}}}\n\ndata: [DONE]\n\n"
    );
    let (house, _server) = before(move |_| Act::answer("200 OK", "Content-Type: text/event-stream\r\n", &stream)).await;
    let reply = house.plain().await.ask(chat(r#","stream":true"#)).await;
    assert_eq!(reply.text(), format!("data: {finish},\"timings\":{{\"predicted_n\":2}}}}\n\ndata: [DONE]\n\n"));
    assert_eq!(house.line(&reply.id()).await["tokens_out"], 2);
}

#[tokio::test]
async fn a_server_that_pads_its_chunks_is_understood() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nAccess-Control-Allow-Origin: *\r\n\
                  Transfer-Encoding: chunked\r\n\r\n2   \r\n{}\r\n0   \r\n\r\n";
    let (house, _server) = before(move |_| vec![Act::Send(answer.as_bytes().to_vec())]).await;
    let reply = house.plain().await.ask(chat("")).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    assert_eq!(reply.field("access-control-allow-origin"), None, "a server's policy for browsers is not ours");
}

#[tokio::test]
async fn lists_of_models_are_ours() {
    let (house, server) = before(|_| Act::json("{}")).await;
    let mut client = house.plain().await;
    let mut text = async |path: &str| -> Reply { client.ask(get(path)).await };
    let list = text("/v1/models").await.text();
    assert_eq!(
        list,
        r#"{"object":"list","data":[{"id":"chat","object":"model","created":0,"owned_by":"tollgate"},{"id":"clamped","object":"model","created":0,"owned_by":"tollgate"}]}"#
    );
    assert_eq!(text("/api/tags").await.text(), r#"{"models":[{"name":"chat","model":"chat"}]}"#);
    assert_eq!(text("/kserve/v1/models").await.text(), r#"{"models":["linear"]}"#);
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn rows_columns_and_binary_tensors_go_up_as_they_came() {
    let (house, server) = before(|_| Act::json(r#"{"predictions":[0]}"#)).await;
    let mut client = house.plain().await;
    let rows = r#"{"instances":[[0.5,1],[0,-1]]}"#;
    assert_eq!(client.ask(post("/kserve/v1/models/linear:predict", JSON, rows)).await.status, 200);
    assert_eq!(sent(&server, 0), rows);
    let columns = r#"{"inputs":{"x":[[0.5,1]]}}"#;
    assert_eq!(client.ask(post("/tf/v1/models/linear:predict", JSON, columns)).await.status, 200);
    for wrong in [r#"{"instances":[[0.5,2]]}"#, r#"{"instances":[[0.5]]}"#, r#"{"instances":[["0.5",1]]}"#] {
        assert_eq!(client.ask(post("/kserve/v1/models/linear:predict", JSON, wrong)).await.status, 422, "{wrong}");
    }
    let json = r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}"#;
    let lines =
        format!("Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {}\r\n", json.len());
    let body = |values: [f32; 2]| [json.as_bytes(), &values[0].to_le_bytes(), &values[1].to_le_bytes()].concat();
    let request = |values| {
        let body = body(values);
        let head = tollgate_testkit::client::begin("/v2/models/linear/infer", &lines, body.len());
        [head.into_bytes(), body].concat()
    };
    assert_eq!(client.ask(request([0.5, -1.0])).await.status, 200);
    let taken = server.requests()[2].clone();
    assert_eq!(taken.body, body([0.5, -1.0]));
    assert!(taken.head.to_ascii_lowercase().contains("content-type: application/octet-stream"), "{}", taken.head);
    let refused = client.ask(request([0.5, f32::NAN])).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "invalid_call"), "{}", refused.text());
    assert_eq!(client.ask(request([0.5, 1.5])).await.status, 422);
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn ollama_and_anthropic_are_counted_in_their_own_words() {
    let (house, _server) = before(|taken| {
        if taken.head.contains("/api/") {
            let lines = "{\"message\":{\"content\":\"a\"},\"done\":false}\n{\"done\":true,\"prompt_eval_count\":4,\"eval_count\":5}\n";
            return Act::answer("200 OK", "Content-Type: application/x-ndjson\r\n", lines);
        }
        Act::json(r#"{"content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":7,"output_tokens":3}}"#)
    })
    .await;
    let mut client = house.plain().await;
    let reply = client.ask(post("/api/chat", JSON, &chat_body(""))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let line = house.line(&reply.id()).await;
    assert_eq!((line["tokens_in"].as_u64(), line["tokens_out"].as_u64()), (Some(4), Some(5)), "{line}");
    let reply = client.ask(post("/v1/messages", JSON, &chat_body(r#","max_tokens":9"#))).await;
    let line = house.line(&reply.id()).await;
    assert_eq!((line["tokens_in"].as_u64(), line["tokens_out"].as_u64()), (Some(7), Some(3)), "{line}");
}

#[tokio::test]
async fn a_model_of_openai_s_list_is_told_of_here_and_a_strange_one_is_its_error() {
    let (house, server) = before(|_| Act::json("{}")).await;
    let mut client = house.plain().await;
    let reply = client.ask(get("/v1/models/chat")).await;
    let card: serde_json::Value = serde_json::from_str(&reply.text()).expect("JSON");
    assert_eq!((reply.status, &card["id"], &card["object"]), (200, &"chat".into(), &"model".into()));
    let reply = client.ask(get("/v1/models/linear")).await;
    let error: serde_json::Value = serde_json::from_str(&reply.text()).expect("JSON");
    assert_eq!((reply.status, &error["error"]["type"]), (404, &"not_found_error".into()), "{error}");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_preset_and_a_model_are_a_closed_server() {
    let server = ModelServer::start(|_| Act::json(r#"{"choices":[]}"#)).await;
    let house = House::start(&format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ v: {{ preset: vllm, endpoints: [\"{}\"], health: {{ active: false }} }} }}
models: {{ org/chat: {{ upstream: v }} }}
tenants: {{ acme: {{ models: [org/chat] }} }}
contract: {{ drift_every: 0s }}
",
        server.url()
    ));
    let mut client = house.plain().await;
    let fields = format!("{JSON}{}", house.bearer("acme"));
    let body = chat_body("").replace("\"chat\"", "\"org/chat\"");
    let asked = |path: &str, body: &str| post(path, &fields, body);
    assert_eq!(client.ask(post("/v1/chat/completions", JSON, &body)).await.status, 401, "a key is needed");
    assert_eq!(client.ask(asked("/v1/chat/completions", &body)).await.status, 200);
    assert_eq!(sent(&server, 0), body, "nothing is spliced in");
    let wish = body.replacen('{', r#"{"max_tokens":1000000000,"#, 1);
    assert_eq!(client.ask(asked("/v1/chat/completions", &wish)).await.status, 422);
    for path in ["/invocations", "/tokenize", "/v1/load_lora_adapter", "/v1/chat/completions/batch"] {
        assert_eq!(client.ask(asked(path, &body)).await.status, 404, "{path}");
    }
    assert_eq!(server.requests().len(), 1);
}
