//! The rules over real sockets: what is refused tells nothing, what is watched passes, what streams is not held, and rule
//! files are read again without anybody noticing.

use serde_json::Value;
use tollgate_testkit::client::{get, post};
use tollgate_testkit::{Act, Gate, House, ModelServer, Taken, until};

const RULES: &str = r#"
SecRule ARGS|REQUEST_HEADERS "@contains drop table" "id:1,phase:2,deny,status:418,t:lowercase,log,msg:'SECRET-MESSAGE',logdata:'%{MATCHED_VAR}',tag:'attack-sqli'"
SecRule &ARGS "@gt 20" "id:2,phase:2,deny,log"
SecRule RESPONSE_BODY "@contains ORA-00933" "id:3,phase:4,deny,log"
SecRule RESPONSE_HEADERS:X-Leak "@unconditionalMatch" "id:4,phase:3,deny,log"
SecRule REQUEST_HEADERS:X-Odd "@streq 1" "id:5,phase:1,pass,log,setvar:tx.blocking_inbound_anomaly_score=4"
SecRule TX:BLOCKING_INBOUND_ANOMALY_SCORE "@ge %{tx.inbound_anomaly_score_threshold}" "id:6,phase:2,deny,log"
"#;

fn config(server: &ModelServer, mode: &str, more: &str) -> String {
    format!(
        "upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
models:
  m:
    upstream: m
    contract:
      inputs: [{{ name: text, dtype: BYTES, shape: [batch] }}, {{ name: x, dtype: FP32, shape: [n], optional: true }}]
routes:
  - {{ name: typed, path: \"/v2/{{*rest}}\", protocol: oip, models: [m], auth: none }}
  - {{ name: eager, path: /eager, protocol: none, upstream: m, auth: none, waf: {{ inbound_threshold: 3 }} }}
  - {{ name: all, path: \"/{{*rest}}\", methods: [GET, POST], protocol: none, upstream: m, auth: none }}
waf: {{ mode: {mode}, pack: none, rules: [local.conf], inbound_threshold: 9{more} }}
",
        server.url()
    )
    .replace(", { name: x, dtype: FP32, shape: [n], optional: true }", "")
}

fn house(server: &ModelServer, mode: &str, more: &str) -> House {
    House::start_in(&config(server, mode, more), |folder| folder.write("local.conf", RULES))
}

fn infer(text: &str, id: &str, lines: &str) -> String {
    let body = serde_json::json!({
        "id": id,
        "inputs": [{ "name": "text", "datatype": "BYTES", "shape": [1], "data": [text] }],
    });
    post("/v2/models/m/infer", &format!("Content-Type: application/json\r\n{lines}"), &body.to_string())
}

fn rule_log(house: &House) -> Vec<Value> {
    let text = std::fs::read_to_string(house.folder.join("waf.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[tokio::test]
async fn a_refusal_says_nothing_of_the_rule_and_the_record_says_it_all() {
    let server = ModelServer::agreeable().await;
    let house = house(&server, "enforce", "");
    let reply = house.plain().await.ask(get("/a?q=1%20DROP%20TABLE%20x")).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "waf_blocked"));
    let told = format!("{reply:?}{}", reply.text());
    for inside in ["SECRET-MESSAGE", "418", "rule", "DROP", "ARGS"] {
        assert!(!told.contains(inside), "`{inside}` is in {told}");
    }
    let line = house.line(&reply.id()).await;
    assert_eq!(line["stage"], "waf");
    assert_eq!(line["evidence"], "rule 1 in phase 2, in ARGS:q");
    assert_eq!(line["waf_rules"], serde_json::json!([1]));
    assert_eq!(line["waf_variables"], serde_json::json!(["ARGS:q"]));
    assert!(!line.to_string().contains("DROP"), "{line}");
    assert_eq!(server.count(), 0);
    assert_eq!(house.metric("tollgate_waf_matched_total{rule=\"1\"}").await, Some(1.0));
}

#[tokio::test]
async fn a_watched_layer_lets_everything_pass_and_records_what_it_would_have_done() {
    let server = ModelServer::agreeable().await;
    let house = house(&server, "observe", "");
    let reply = house.plain().await.ask(get("/a?q=drop%20table")).await;
    assert_eq!(reply.status, 200);
    let line = house.line(&reply.id()).await;
    assert_eq!(line["would_refuse"], serde_json::json!(["waf"]));
    assert_eq!(line["waf_rules"], serde_json::json!([1]));
}

#[tokio::test]
async fn the_same_string_is_a_question_in_a_prompt_and_an_attack_in_a_header() {
    let server = ModelServer::agreeable().await;
    let house = house(&server, "enforce", "");
    let mut client = house.plain().await;
    let asked = client.ask(infer("How do I DROP TABLE users?", "a", "")).await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    let attacked = client.ask(infer("hello", "a", "X-Note: DROP TABLE users\r\n")).await;
    assert_eq!((attacked.status, attacked.code().as_str()), (403, "waf_blocked"));
}

#[tokio::test]
async fn a_long_prompt_is_judged_on_the_pool_with_the_same_verdict() {
    let server = ModelServer::agreeable().await;
    let house = house(&server, "enforce", "");
    let mut client = house.plain().await;
    let long = "An ordinary sentence about tables. ".repeat(2000);
    let asked = client.ask(infer(&format!("{long} DROP TABLE users"), "a", "")).await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    let body = format!("{{\"note\": \"{long} DROP TABLE users\"}}");
    let attacked = client.ask(post("/a", "Content-Type: application/json\r\n", &body)).await;
    assert_eq!((attacked.status, attacked.code().as_str()), (403, "waf_blocked"), "{}", attacked.text());
    assert_eq!(house.line(&attacked.id()).await["evidence"], "rule 1 in phase 2, in ARGS:json.note");
}

#[tokio::test]
async fn a_long_head_is_judged_with_the_same_verdict() {
    let server = ModelServer::agreeable().await;
    let house = house(&server, "enforce", "");
    let mut client = house.plain().await;
    let cookies = (0..700).map(|n| format!("c{n}=some+text; ")).collect::<String>();
    let head = |note: &str| {
        format!("GET /a HTTP/1.1\r\nHost: a.example\r\nUser-Agent: a\r\nCookie: {cookies}\r\nX-Note: {note}\r\n\r\n")
    };
    assert_eq!(client.ask(head("fine").into_bytes()).await.status, 200);
    let attacked = client.ask(head("DROP TABLE users").into_bytes()).await;
    assert_eq!((attacked.status, attacked.code().as_str()), (403, "waf_blocked"), "{}", attacked.text());
    assert_eq!(house.line(&attacked.id()).await["evidence"], "rule 1 in phase 2, in REQUEST_HEADERS:X-Note");
}

#[tokio::test]
async fn routes_have_their_own_thresholds() {
    let server = ModelServer::agreeable().await;
    let house = house(&server, "enforce", "");
    let mut client = house.plain().await;
    assert_eq!(client.ask(post("/plain", "X-Odd: 1\r\n", "{}")).await.status, 200);
    assert_eq!(client.ask(post("/eager", "X-Odd: 1\r\n", "{}")).await.status, 403);
}

fn replies(taken: &Taken) -> Vec<Act> {
    let body =
        if taken.head.contains("/leak") { "<p>ORA-00933: command not ended".repeat(2) } else { "fine".repeat(10) };
    let lines = match taken.head.split(' ').nth(1) {
        Some("/head") => "Content-Type: text/html\r\nX-Leak: 1\r\n",
        Some("/leak-in-binary") => "Content-Type: image/png\r\n",
        _ => "Content-Type: text/html\r\n",
    };
    Act::answer("200 OK", lines, &body)
}

#[tokio::test]
async fn a_reply_that_must_not_leave_is_a_clean_refusal() {
    let server = ModelServer::start(replies).await;
    let house = house(&server, "enforce", "");
    let mut client = house.plain().await;
    for path in ["/leak", "/head"] {
        let reply = client.ask(get(path)).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "waf_blocked"), "{path}");
        assert!(!reply.text().contains("ORA"));
        assert_eq!(house.line(&reply.id()).await["upstream_status"], 200);
    }
    let fine = client.ask(get("/fine")).await;
    assert_eq!((fine.status, fine.text().as_str()), (200, "fine".repeat(10).as_str()));
    let binary = client.ask(get("/leak-in-binary")).await;
    assert_eq!(binary.status, 200, "only types that the rules ask for are held");
    house.quiet().await;
}

#[tokio::test]
async fn a_long_reply_is_judged_by_its_beginning_and_arrives_whole() {
    let long = "<p>fine</p>".repeat(100_000);
    let expected = long.clone();
    let server = ModelServer::start(move |_| Act::answer("200 OK", "Content-Type: text/html\r\n", &long)).await;
    let house = house(&server, "enforce", "");
    let reply = house.plain().await.ask(get("/long")).await;
    assert_eq!(reply.status, 200);
    assert!(reply.text() == expected, "{} of {} bytes", reply.text().len(), expected.len());
    house.quiet().await;
}

#[tokio::test]
async fn a_stream_is_not_held_back() {
    let gate = Gate::default();
    let opened = gate.clone();
    let server = ModelServer::start(move |_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let event = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        vec![
            Act::Send(format!("{head}{}", event("data: 1\n\n")).into_bytes()),
            Act::Hold(gate.clone()),
            Act::Send(format!("{}0\r\n\r\n", event("data: 2\n\n")).into_bytes()),
        ]
    })
    .await;
    let house = house(&server, "enforce", "");
    let mut client = house.plain().await;
    client.send(get("/stream")).await;
    assert_eq!(client.head().await.status, 200);
    // The first event is here while the server still waits to send the second.
    client.sees(b"data: 1").await;
    opened.open();
    client.sees(b"data: 2").await;
}

#[tokio::test]
async fn a_stream_that_calls_itself_a_document_is_not_held_back_either() {
    let gate = Gate::default();
    let opened = gate.clone();
    let server = ModelServer::start(move |_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        vec![
            Act::Send(format!("{head}8\r\n{{\"a\":1}}\n\r\n").into_bytes()),
            Act::Hold(gate.clone()),
            Act::Send(b"8\r\n{\"a\":2}\n\r\n0\r\n\r\n".to_vec()),
        ]
    })
    .await;
    let house = house(&server, "enforce", "");
    let mut client = house.plain().await;
    client.send(get("/stream")).await;
    assert_eq!(client.head().await.status, 200);
    client.sees(b"{\"a\":1}").await;
    opened.open();
    client.sees(b"{\"a\":2}").await;
}

#[tokio::test]
async fn a_stream_that_is_followed_is_cut_where_a_rule_objects() {
    let server = ModelServer::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let event = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        vec![
            Act::Send(format!("{head}{}", event("data: fine\n\n")).into_bytes()),
            Act::Send(event("data: ORA-00").into_bytes()),
            Act::Send(event("933\n\n").into_bytes()),
            Act::Send(event("data: more\n\n").into_bytes()),
            Act::Stay,
        ]
    })
    .await;
    let house = house(&server, "enforce", ", stream_reply: true");
    let mut client = house.plain().await;
    client.send(get("/stream")).await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    let rest = client.rest().await;
    assert!(!String::from_utf8_lossy(&rest).contains("0\r\n\r\n"), "a cut answer has no end");
    let line = house.line_where("the stream", |line| line["outcome"] == "cut").await;
    assert_eq!(line["waf_rules"], serde_json::json!([3]));
}

#[tokio::test]
async fn rule_files_are_read_again_and_a_broken_one_keeps_the_old_rules() {
    let server = ModelServer::agreeable().await;
    let house = house(&server, "enforce", "");
    let mut client = house.plain().await;
    assert_eq!(client.ask(get("/a?q=tea")).await.status, 200);
    house.folder.write("local.conf", "SecRule ARGS \"@contains tea\" \"id:9,phase:2,deny\"\n");
    house.reload().expect("good rules");
    assert_eq!(client.ask(get("/a?q=tea")).await.status, 403);
    house.folder.write(
        "local.conf",
        "SecRule ARGS \"@contains tea\" \"id:9,phase:2,deny\"\nSecRule ARGS \"@bogus\" \"id:10\"\n",
    );
    let error = house.reload().expect_err("a broken rule").to_string();
    assert!(error.contains("local.conf:2:"), "{error}");
    assert_eq!(client.ask(get("/a?q=tea")).await.status, 403, "the old rules go on");
    assert_eq!(house.metric("tollgate_config_rejected").await, Some(1.0));
}

#[tokio::test]
async fn every_request_has_one_line_in_the_log_of_the_rules_also_one_that_no_parser_takes() {
    let server = ModelServer::agreeable().await;
    let log = ", log: { path: waf.jsonl, request_id_header: X-Name, data: true }";
    let house = house(&server, "enforce", log);
    let named = |name: &str| format!("X-Name: {name}\r\n");
    house.plain().await.ask(get("/a?q=drop%20table").replace("\r\n\r\n", &format!("\r\n{}\r\n", named("one")))).await;
    house.plain().await.ask(post("/a", &named("two"), "{}")).await;
    let broken = format!("GET /a HTTP/1.1\r\nHost: gateway.test\r\n{}Bad Name: x\r\n\r\n", named("three"));
    assert_eq!(house.plain().await.ask(broken).await.status, 400);
    house.plain().await.ask(get("/a")).await;
    until("four lines", || rule_log(&house).len() >= 4).await;
    let lines = rule_log(&house);
    assert_eq!(lines.len(), 4, "{lines:?}");
    let of = |name: &str| {
        lines.iter().find(|line| line["request_id"] == name).unwrap_or_else(|| panic!("{name}: {lines:?}"))
    };
    assert_eq!((&of("one")["status"], &of("one")["rule_ids"]), (&403.into(), &serde_json::json!([1])));
    assert_eq!(of("one")["messages"][0], serde_json::json!({ "id": 1, "msg": "SECRET-MESSAGE", "data": "drop table" }));
    assert_eq!(of("two")["status"], 200);
    assert_eq!(of("three")["status"], 400);
    assert!(lines.iter().any(|line| line["request_id"].is_null()));
}
