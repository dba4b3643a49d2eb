//! Requests of REST to servers behind TLS that choose HTTP/2: one connection for many, and everything else as before.

use std::sync::Arc;

use tollgate_testkit::client::{get, post};
use tollgate_testkit::h2::Reason;
use tollgate_testkit::rpc::Asked;
use tollgate_testkit::{Act, Ca, Gate, House, ModelServer, RpcServer, Step, until};

fn alpn(ca: &Ca, offered: &[&str]) -> Arc<rustls::ServerConfig> {
    let mut tls = (*ca.server(&["localhost"])).clone();
    tls.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
    tls.into()
}

fn house(port: u16, ca: &Ca) -> House {
    let rest = format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ m: {{ endpoints: [\"https://localhost:{port}\"], ca: upstream.pem, inflight: {{ max: 64 }}, first_byte_ms: 800 }} }}
routes:
  - {{ name: all, path: \"/{{*rest}}\", methods: [GET, HEAD, POST], protocol: none, upstream: m, auth: none }}
"
    );
    House::start_in(&rest, |folder| folder.write("upstream.pem", ca.pem()))
}

/// A gateway before a server that speaks HTTP/2 alone.
async fn before(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> (House, RpcServer) {
    let ca = Ca::new();
    let server = RpcServer::over_tls(alpn(&ca, &["h2"]), script).await;
    (house(server.at().port(), &ca), server)
}

fn echo(asked: &Asked) -> Vec<Step> {
    vec![Step::Raw(asked.body.clone()), Step::End(vec![("x-sum", "1"), ("grpc-status", "13")])]
}

#[tokio::test]
async fn bodies_of_every_size_pass_over_one_connection() {
    let (house, server) = before(echo).await;
    let mut client = house.plain().await;
    for size in [0, 1, 70_000, 1 << 20] {
        let body = "x".repeat(size);
        let reply = client.ask(post("/p?q=1", "X-A: b\r\nTE: trailers\r\n", &body)).await;
        assert_eq!((reply.status, reply.body.len()), (200, size), "{}", reply.text().len());
        let asked = server.asked().pop().expect("a request");
        assert_eq!((asked.path.as_str(), asked.body.len()), ("/p", size));
        let field = |name: &str| asked.fields.get(name).map(|value| value.to_str().expect("ASCII").to_owned());
        assert_eq!(field("content-length"), (size > 0).then(|| size.to_string()));
        assert_eq!((field("x-a").as_deref(), field("te"), field("grpc-timeout")), (Some("b"), None, None));
        assert_eq!(field("x-request-id"), Some(reply.id()));
        let line = house.line(&reply.id()).await;
        assert_eq!(
            (line["outcome"].as_str(), line["bytes_out"].as_u64()),
            (Some("answered"), Some(size as u64)),
            "{line}"
        );
        assert!(line.get("grpc_status").is_none(), "trailers of REST say nothing: {line}");
    }
    assert_eq!(client.ask(get("/p")).await.status, 200);
    client.send("HEAD /p HTTP/1.1\r\nHost: gateway.test\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(server.connections(), 1);
    house.quiet().await;
}

#[tokio::test]
async fn requests_that_begin_together_share_a_connection() {
    let gate = Gate::default();
    let held = gate.clone();
    let (house, server) = before(move |asked| [vec![Step::Hold(held.clone())], echo(asked)].concat()).await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = house.plain().await;
        client.send(post("/p", "", "{}")).await;
        clients.push(client);
    }
    server.has(40).await;
    assert_eq!(server.connections(), 1);
    gate.open();
    for mut client in clients {
        assert_eq!(client.reply().await.status, 200);
    }
    house.quiet().await;
}

#[tokio::test]
async fn a_server_that_chooses_http_1_1_is_spoken_to_so_and_its_connection_is_kept() {
    for offered in [&["http/1.1"][..], &[]] {
        let ca = Ca::new();
        let server = ModelServer::over_tls(alpn(&ca, offered), |_| Act::json("{}")).await;
        let house = house(server.at().port(), &ca);
        let mut client = house.plain().await;
        for _ in 0..3 {
            assert_eq!(client.ask(post("/p", "", "{}")).await.status, 200, "{offered:?}");
        }
        assert_eq!((server.count(), server.connections()), (3, 1), "{offered:?}");
        house.quiet().await;
    }
}

#[tokio::test]
async fn an_answer_streams_and_whoever_leaves_resets_it() {
    let gate = Gate::default();
    let held = gate.clone();
    let (house, server) = before(move |_| {
        vec![Step::Raw(b"first".to_vec()), Step::Hold(held.clone()), Step::Raw(b"second".to_vec()), Step::End(vec![])]
    })
    .await;
    let mut client = house.plain().await;
    client.send(get("/p")).await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    client.sees(b"first").await;
    drop(client);
    until("the server to be told", || server.resets() == [Reason::CANCEL]).await;
    assert_eq!(house.line(&head.id()).await["outcome"], "client_left");
    gate.open();
    house.quiet().await;
    assert_eq!(house.plain().await.ask(get("/p")).await.text(), "firstsecond");
    assert_eq!(server.connections(), 1, "the others keep their connection");
}

#[tokio::test]
async fn what_a_server_did_not_begin_with_is_sent_again() {
    let (house, server) = before(|asked| match asked.number {
        1 => vec![Step::Reset(Reason::REFUSED_STREAM)],
        _ => echo(asked),
    })
    .await;
    let mut client = house.plain().await;
    for _ in 0..2 {
        let reply = client.ask(post("/p", "Content-Type: application/json\r\n", "{}")).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    }
    assert_eq!(server.begun(), 3);
    house.quiet().await;
}

#[tokio::test]
async fn failures_are_told_as_over_http_1_1() {
    let gate = Gate::default();
    let held = gate.clone();
    let (house, server) = before(move |asked| match asked.path.as_str() {
        "/reset" => vec![Step::Reset(Reason::INTERNAL_ERROR)],
        "/sever" => vec![Step::Sever, Step::Hold(held.clone())],
        "/late" => vec![Step::Hold(held.clone())],
        "/cut" => vec![Step::Raw(b"half".to_vec()), Step::Hold(held.clone()), Step::Reset(Reason::INTERNAL_ERROR)],
        _ => echo(asked),
    })
    .await;
    for (path, status, code) in
        [("/reset", 502, "upstream_failed"), ("/late", 504, "upstream_late"), ("/sever", 502, "upstream_failed")]
    {
        let reply = house.plain().await.ask(post(path, "", "{}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path}");
    }
    let mut client = house.plain().await;
    client.send(get("/cut")).await;
    let head = client.head().await;
    client.sees(b"half").await;
    gate.open();
    client.rest().await;
    assert_eq!(house.line(&head.id()).await["outcome"], "cut");
    assert_eq!(house.plain().await.ask(post("/p", "", "{}")).await.status, 200, "a new connection takes over");
    assert!(server.connections() > 1);
    house.quiet().await;
}
