//! How replies of a route leave: held whole, in windows that the rules see, or unseen.

use tollgate_testkit::client::get;
use tollgate_testkit::{Act, Gate, House, ModelServer, Taken};

const RULES: &str = "SecResponseBodyMimeType application/json text/event-stream\nSecRule RESPONSE_BODY \"@contains ORA-00933\" \"id:3,phase:4,deny,log\"\n";

async fn before(script: impl Fn(&Taken) -> Vec<Act> + Send + Sync + 'static) -> (House, ModelServer) {
    let server = ModelServer::start(script).await;
    let rest = format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
routes:
  - {{ name: hold, path: /hold, methods: [GET], protocol: none, upstream: m, auth: none, reply: hold, max_reply_bytes: 1000 }}
  - {{ name: pass, path: /pass, methods: [GET], protocol: none, upstream: m, auth: none, reply: pass }}
  - {{ name: window, path: /window, methods: [GET], protocol: none, upstream: m, auth: none, reply: window }}
  - {{ name: default, path: /default, methods: [GET], protocol: none, upstream: m, auth: none }}
waf: {{ mode: enforce, pack: none, rules: [local.conf] }}
",
        server.url()
    );
    (House::start_in(&rest, |folder| folder.write("local.conf", RULES)), server)
}

const LEAK: &str = r#"{"error":"ORA-00933"}"#;

#[tokio::test]
async fn rules_see_what_is_held_follow_what_passes_in_windows_and_miss_what_passes() {
    let (house, _server) = before(|_| Act::json(LEAK)).await;
    for (path, status) in [("/hold", 403), ("/default", 403), ("/pass", 200)] {
        let reply = house.plain().await.ask(get(path)).await;
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(reply.text().contains("ORA"), path == "/pass", "{path}");
    }
    let padded = format!("{LEAK}{}", " ".repeat(9_000));
    let (house, _server) = before(move |_| Act::json(&padded)).await;
    let mut client = house.plain().await;
    client.send(get("/window")).await;
    assert_eq!(client.head().await.status, 200, "it is not held");
    client.rest().await;
    let line = house.line_where("the reply", |line| line["outcome"] == "cut").await;
    assert_eq!(line["waf_rules"], serde_json::json!([3]), "{line}");
}

#[tokio::test]
async fn a_stream_that_is_held_is_whole_or_a_clean_502() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let (one, two) = (chunk("data: one\n\n"), chunk("data: two\n\n"));
    let (begin, end) = (format!("{head}{one}"), format!("{two}0\r\n\r\n"));
    let gate = Gate::default();
    let held = gate.clone();
    let acts = move |taken: &Taken| match taken.number {
        0 => vec![Act::Send(begin.clone().into_bytes()), Act::Hold(held.clone()), Act::Send(end.clone().into_bytes())],
        1 => vec![Act::Send(begin.clone().into_bytes()), Act::Reset],
        2 => Act::answer("200 OK", "Content-Type: text/event-stream\r\n", &"data: x\n\n".repeat(200)),
        _ => Act::answer("200 OK", "Content-Type: text/event-stream\r\n", "data: ORA-00933\n\n"),
    };
    let (house, _server) = before(acts).await;
    let mut client = house.plain().await;
    client.send(get("/hold")).await;
    gate.open();
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "data: one\n\ndata: two\n\n"));
    for (what, status, code) in [
        ("it breaks off", 502, "upstream_failed"),
        ("it is too large", 502, "upstream_failed"),
        ("a rule refuses it", 403, "waf_blocked"),
    ] {
        let reply = house.plain().await.ask(get("/hold")).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{what}");
        assert!(!reply.text().contains("data:"), "{what}");
    }
    house.quiet().await;
}
