//! Slow clients: each way to keep a connection busy for nothing ends by its own deadline.

#[path = "slow_clients/unread.rs"]
mod unread;

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;
use tollgate_testkit::client::{begin, get};
use tollgate_testkit::h2::request;
use tollgate_testkit::{Act, Client, H2Client, House, ModelServer, dial, until};

/// Every deadline of these tests.
const DEADLINE: Duration = Duration::from_millis(400);
/// A walk of the ticker late, once again as late for the task that it woke, and a loaded machine.
const LATEST: Duration = Duration::from_millis(400 + 500 + 3000);
const DRIP: Duration = Duration::from_millis(40);

async fn house() -> (House, ModelServer) {
    let server = ModelServer::start(|taken| match taken.line().contains("endless") {
        true => vec![
            Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n".to_vec()),
            Act::Send(vec![b'x'; 64 << 20]),
            Act::Stay,
        ],
        false => Act::json("{}"),
    })
    .await;
    let house = House::start(&format!(
        "http:
  deadlines: {{ handshake_ms: 400, head_ms: 400, idle_ms: 400, body_ms: 400, write_stall_ms: 400 }}
  h2: {{ idle_ms: 400 }}
upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
routes:
  - {{ name: all, path: \"/{{*rest}}\", methods: [GET, POST], protocol: none, upstream: m, auth: none }}
",
        server.url()
    ));
    (house, server)
}

fn in_time(began: Instant) {
    let took = began.elapsed();
    assert!(took >= DEADLINE, "not before its time: {took:?}");
    assert!(took < LATEST, "not for ever: {took:?}");
}

#[tokio::test]
async fn a_connection_without_a_byte_is_closed_without_an_answer() {
    let (house, _server) = house().await;
    let began = Instant::now();
    let mut client = house.plain().await;
    assert_eq!(client.rest().await, b"");
    in_time(began);
    // Over TLS, after the handshake.
    let mut client = Client::tls(house.at("tls"), &house.trust(&["http/1.1"])).await;
    let began = Instant::now();
    assert_eq!(client.rest().await, b"");
    assert!(began.elapsed() < LATEST);
    until("the connections to be counted out", || {
        let meters = &house.gateway().control().state.meters;
        meters.connections.load(std::sync::atomic::Ordering::Relaxed) == 0
    })
    .await;
}

#[tokio::test]
async fn a_dripping_head_is_answered_408() {
    let (house, server) = house().await;
    let began = Instant::now();
    let mut client = house.plain().await;
    let head = format!("GET / HTTP/1.1\r\nHost: gateway.test\r\nX-A: {}", "a".repeat(4000));
    for byte in head.as_bytes() {
        if client.try_send(&[*byte]).await.is_err() || began.elapsed() > LATEST {
            break;
        }
        tokio::time::sleep(DRIP).await;
        if began.elapsed() > DEADLINE + Duration::from_millis(600) {
            break;
        }
    }
    let reply = client.reply().await;
    in_time(began);
    assert_eq!((reply.status, reply.code().as_str()), (408, "too_slow"), "{}", reply.text());
    assert_eq!(client.rest().await, b"", "and the connection closes");
    assert_eq!(server.connections(), 0);
    let line = house.line(&reply.id()).await;
    assert_eq!((line["stage"].as_str(), line["outcome"].as_str()), (Some("hygiene"), Some("denied")), "{line}");
}

#[tokio::test]
async fn half_a_head_and_then_silence_is_answered_408() {
    let (house, server) = house().await;
    let began = Instant::now();
    let mut client = house.plain().await;
    let reply = client.ask("GET / HTTP/1.1\r\nHost: gate").await;
    in_time(began);
    assert_eq!(reply.status, 408);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_dripping_body_is_answered_408() {
    let (house, server) = house().await;
    let mut client = house.plain().await;
    client.send(begin("/p", "", 100_000)).await;
    let began = Instant::now();
    while began.elapsed() < DEADLINE + Duration::from_millis(600) && client.try_send(b"x").await.is_ok() {
        tokio::time::sleep(DRIP).await;
    }
    let reply = client.reply().await;
    assert!(began.elapsed() < LATEST);
    assert_eq!((reply.status, reply.code().as_str()), (408, "too_slow"), "{}", reply.text());
    assert_eq!(client.rest().await, b"", "and the connection closes");
    assert_eq!(server.connections(), 0);
    assert_eq!(house.line(&reply.id()).await["stage"], "intake");
    house.quiet().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_an_answer() {
    let (house, _server) = house().await;
    let mut client = house.plain().await;
    assert_eq!(client.ask(get("/p")).await.status, 200);
    let began = Instant::now();
    assert_eq!(client.rest().await, b"");
    in_time(began);
}

#[tokio::test]
async fn a_connection_that_is_used_is_not_idle() {
    let (house, _server) = house().await;
    let mut client = house.plain().await;
    let began = Instant::now();
    while began.elapsed() < 3 * DEADLINE {
        assert_eq!(client.ask(get("/p")).await.status, 200);
        tokio::time::sleep(DEADLINE / 8).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_dropped_and_the_server_let_go() {
    let (house, server) = house().await;
    let mut client = house.plain().await;
    client.send(get("/endless")).await;
    server.has(1).await;
    until("the server to be let go", || server.open() == 0).await;
    house.quiet().await;
    let line = house.line_where("the endless answer", |line| line["bytes_out"].as_u64() > Some(0)).await;
    assert!(["client_left", "cut"].contains(&line["outcome"].as_str().unwrap_or_default()), "{line}");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut() {
    let (house, _server) = house().await;
    for hello in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let began = Instant::now();
        let mut client = Client::plain(house.at("tls")).await;
        client.send(hello).await;
        client.rest().await;
        in_time(began);
    }
    // The connection closes before it is counted.
    until("the handshakes to be counted", || {
        let meters = &house.gateway().control().state.meters;
        meters.handshakes_failed.load(std::sync::atomic::Ordering::Relaxed) == 3
    })
    .await;
    assert_eq!(house.metric("tollgate_tls_handshakes_failed_total").await, Some(3.0));
}

#[tokio::test]
async fn half_a_preface_is_a_bad_head() {
    let (house, _server) = house().await;
    let mut client = house.plain().await;
    assert_eq!(client.ask(b"PRI * HTTP/2.0\r\n").await.status, 400);
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_preface_and_then_silence_is_closed() {
    let (house, _server) = house().await;
    let mut stream = dial::tcp(house.at("plain")).await.expect("a connection");
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("room");
    let began = Instant::now();
    let mut sink = Vec::new();
    tollgate_testkit::soon("the end", stream.read_to_end(&mut sink)).await.ok();
    assert!(began.elapsed() < LATEST, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_dripping_body_over_h2_costs_its_stream_and_not_its_connection() {
    let (house, server) = house().await;
    let mut client = H2Client::plain(house.at("plain")).await;
    let mut slow = client.open(request("POST", "/p", &[("content-length", "100000")]), false).await.expect("a stream");
    let began = Instant::now();
    while began.elapsed() < DEADLINE + Duration::from_millis(600) {
        if slow.body.send_data("x".into(), false).is_err() {
            break;
        }
        tokio::time::sleep(DRIP).await;
    }
    let reply = slow.reply().await.expect("an answer");
    assert_eq!(reply.status, 408);
    assert_eq!(server.connections(), 0);
    assert_eq!(client.ask(request("GET", "/p", &[]), "").await.expect("an answer").status, 200);
    house.quiet().await;
}

#[tokio::test]
async fn a_body_below_the_minimum_rate_is_answered_408_long_before_its_total() {
    let server = ModelServer::agreeable().await;
    let house = House::start(&format!(
        "http: {{ deadlines: {{ body_ms: 600000, body_min_bytes_per_sec: 1024 }} }}
upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
routes:
  - {{ name: all, path: \"/{{*rest}}\", protocol: none, upstream: m, auth: none }}
",
        server.url()
    ));
    let mut client = house.plain().await;
    client.send(begin("/p", "", 1_000_000)).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(5600) && client.try_send(&[b'x'; 20]).await.is_ok() {
        tokio::time::sleep(DRIP).await;
    }
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.code().as_str()), (408, "too_slow"), "{}", reply.text());
    assert!(began.elapsed() >= Duration::from_secs(5), "the first window is free");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn an_answer_ends_with_its_routes_deadline_however_steadily_its_client_reads() {
    let server = ModelServer::start(|_| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n".to_vec();
        vec![Act::Send(head), Act::Send(vec![b'x'; 256 << 20]), Act::Stay]
    })
    .await;
    let house = House::start(&format!(
        "upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
routes:
  - {{ name: all, path: \"/{{*rest}}\", methods: [GET], protocol: none, upstream: m, auth: none, timeout_ms: 400 }}
",
        server.url()
    ));
    let mut client = house.plain().await;
    client.send(get("/x")).await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    // Some megabytes a second: never so slowly that it counts as not reading, and not a fifth of it in time.
    while client.more().await {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let line = house.line(&head.id()).await;
    assert_eq!((line["outcome"].as_str(), line["code"].as_str()), (Some("cut"), Some("upstream_late")), "{line}");
    until("the model server to be let go", || server.open() == 0).await;
    house.quiet().await;
}
