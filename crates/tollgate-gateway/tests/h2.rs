//! HTTP/2 at the front: by ALPN and by prior knowledge, with its own ways of framing a body and of ending a connection.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_testkit::h2::{Reason, request};
use tollgate_testkit::{Act, Client, Gate, H2Client, House, ModelServer, until};

fn config(server: &ModelServer, h2: &str) -> String {
    format!(
        "http: {{ h2: {{ {h2} }} }}
upstreams: {{ m: {{ endpoints: [\"{}\"], inflight: {{ max: 64 }} }} }}
routes:
  - {{ name: all, path: \"/{{*rest}}\", methods: [GET, POST, HEAD], protocol: none, upstream: m, auth: none }}
",
        server.url()
    )
}

async fn house() -> (House, ModelServer) {
    let server = ModelServer::agreeable().await;
    (House::start(&config(&server, "")), server)
}

async fn clients(house: &House) -> [H2Client; 2] {
    let tls = H2Client::tls(house.at("tls"), &house.trust(&["h2"])).await;
    [H2Client::plain(house.at("plain")).await, tls]
}

#[tokio::test]
async fn bodies_pass_both_ways_over_tls_and_in_plain_text() {
    let (house, server) = house().await;
    for mut client in clients(&house).await {
        server.forget();
        for body in [String::new(), "x".into(), "x".repeat(70_000), "x".repeat(1 << 20)] {
            let mut open = client.open(request("POST", "/p", &[]), body.is_empty()).await.expect("a stream");
            if !body.is_empty() {
                open.body.send_data(body.clone().into(), true).expect("room");
            }
            let reply = open.reply().await.expect("an answer");
            assert_eq!((reply.status, reply.body.as_slice()), (200, &b"{\"ok\":true}"[..]));
            let taken = server.requests().pop().expect("a request");
            assert_eq!(taken.body, body.as_bytes());
            let length = body.len().to_string();
            assert_eq!(taken.fields("content-length"), if body.is_empty() { vec![] } else { vec![length.as_str()] });
            assert!(taken.line().ends_with("/p HTTP/1.1"), "{}", taken.head);
        }
    }
    house.quiet().await;
}

#[tokio::test]
async fn large_answers_come_whole() {
    let large: String =
        (0..300_000_u32).map(|number| char::from(b'a' + u8::try_from(number % 23).expect("a letter"))).collect();
    let answer = large.clone();
    let server = ModelServer::start(move |_| Act::answer("200 OK", "Content-Type: text/plain\r\n", &answer)).await;
    let house = House::start(&config(&server, ""));
    for mut client in clients(&house).await {
        for _ in 0..2 {
            let reply = client.ask(request("GET", "/p", &[]), "").await.expect("an answer");
            assert!(reply.body == large.as_bytes(), "{} bytes of {}", reply.body.len(), large.len());
            assert_eq!(reply.field("content-length"), Some("300000"));
            let line = house.line(&reply.id()).await;
            assert_eq!(
                (line["outcome"].as_str(), line["bytes_out"].as_u64()),
                (Some("answered"), Some(300_000)),
                "{line}"
            );
        }
    }
    house.quiet().await;
}

#[tokio::test]
async fn alpn_decides_and_http_1_1_is_there_for_those_who_ask_for_it() {
    let (house, _server) = house().await;
    let mut h1 = Client::tls(house.at("tls"), &house.trust(&["http/1.1"])).await;
    assert_eq!(h1.ask("GET /p HTTP/1.1\r\nHost: gateway.test\r\n\r\n").await.status, 200);
    let mut nothing = Client::tls(house.at("tls"), &house.trust(&[])).await;
    assert_eq!(nothing.ask("GET /p HTTP/1.1\r\nHost: gateway.test\r\n\r\n").await.status, 200);
    let mut both = H2Client::tls(house.at("tls"), &house.trust(&["h2", "http/1.1"])).await;
    assert_eq!(both.ask(request("GET", "/p", &[]), "").await.expect("an answer").status, 200);
    let foreign = house.trust(&["spdy/3"]);
    assert!(tollgate_testkit::dial::tls(house.at("tls"), &foreign).await.is_err(), "no common protocol");
}

#[tokio::test]
async fn trailers_end_a_body_and_are_dropped() {
    let (house, server) = house().await;
    for mut client in clients(&house).await {
        server.forget();
        let mut open = client.open(request("POST", "/p", &[]), false).await.expect("a stream");
        open.body.send_data("hello".into(), false).expect("room");
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("1"));
        open.body.send_trailers(trailers).expect("room");
        let reply = open.reply().await.expect("an answer");
        assert_eq!((reply.status, reply.trailers), (200, false));
        let taken = server.requests().remove(0);
        assert_eq!(taken.body, b"hello");
        assert!(!taken.head.to_lowercase().contains("x-sum"), "{}", taken.head);
    }
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_declared_never_reaches_a_server() {
    let (house, server) = house().await;
    for mut client in clients(&house).await {
        for (declared, body) in [("5", "hell"), ("4", "hello"), ("0", "x")] {
            let mut open =
                client.open(request("POST", "/p", &[("content-length", declared)]), false).await.expect("a stream");
            open.body.send_data(body.into(), true).expect("room");
            match open.reply().await {
                Ok(reply) => assert_eq!(reply.status, 400, "{declared} for {}", body.len()),
                Err(error) => assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "{error}"),
            }
        }
        let good = client.ask(request("GET", "/p", &[]), "").await.expect("the connection goes on");
        assert_eq!(good.status, 200);
    }
    assert!(server.requests().iter().all(|taken| taken.line().starts_with("GET")), "{:?}", server.requests());
    house.quiet().await;
}

#[tokio::test]
async fn a_body_on_a_get_is_refused_whether_it_is_announced_or_not() {
    let (house, server) = house().await;
    for mut client in clients(&house).await {
        for method in ["GET", "HEAD"] {
            for fields in [&[][..], &[("content-length", "5")]] {
                let reply = client.ask(request(method, "/p", fields), "hello").await.expect("an answer");
                assert_eq!(reply.status, 400, "{method} {fields:?}");
                let line = house.line(&reply.id()).await;
                assert_eq!(
                    (line["stage"].as_str(), line["code"].as_str()),
                    (Some("hygiene"), Some("bad_request")),
                    "{line}"
                );
            }
            let reply = client.ask(request(method, "/p", &[]), "").await.expect("an answer");
            assert_eq!(reply.status, 200, "{method} without a body");
        }
    }
    assert_eq!(server.count(), 4);
}

#[tokio::test]
async fn fields_of_a_connection_are_refused() {
    let (house, server) = house().await;
    let mut client = H2Client::plain(house.at("plain")).await;
    for (name, value) in [("te", "gzip"), ("connection", "close"), ("transfer-encoding", "chunked"), ("upgrade", "h2c")]
    {
        // The codec resets what RFC 9113 calls malformed, and hygiene answers what is left.
        match client.open(request("POST", "/p", &[(name, value)]), true).await {
            Ok(open) => match open.reply().await {
                Ok(reply) => assert_eq!(reply.status, 400, "{name}"),
                Err(error) => assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "{name}: {error}"),
            },
            // Our own client would not send it.
            Err(error) => assert!(!error.is_io() && !error.is_go_away(), "{name}: {error}"),
        }
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_head_above_its_cap_costs_its_stream_alone() {
    let (house, server) = house().await;
    let mut client = H2Client::plain(house.at("plain")).await;
    let large = "x".repeat(20_000);
    let refused = client.ask(request("GET", "/p", &[("x-a", &large)]), "").await;
    assert!(refused.as_ref().map_or(true, |reply| reply.status == 431), "{refused:?}");
    assert_eq!(client.ask(request("GET", "/p", &[]), "").await.expect("an answer").status, 200);
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn many_streams_run_at_once_on_one_connection() {
    let gate = Gate::default();
    let held = gate.clone();
    let server = ModelServer::start(move |_| [vec![Act::Hold(held.clone())], Act::json("{}")].concat()).await;
    let house = House::start(&config(&server, ""));
    let mut client = H2Client::plain(house.at("plain")).await;
    let mut open = Vec::new();
    for _ in 0..40 {
        open.push(client.open(request("POST", "/p", &[]), true).await.expect("a stream"));
    }
    server.has(40).await;
    gate.open();
    for open in open {
        assert_eq!(open.reply().await.expect("an answer").status, 200);
    }
    house.quiet().await;
}

#[tokio::test]
async fn an_idle_connection_is_asked_to_go_and_a_busy_one_is_not() {
    let gate = Gate::default();
    let held = gate.clone();
    let server = ModelServer::start(move |_| [vec![Act::Hold(held.clone())], Act::json("{}")].concat()).await;
    let house = House::start(&config(&server, "idle_ms: 400"));
    let mut client = H2Client::plain(house.at("plain")).await;
    let open = client.open(request("POST", "/p", &[]), true).await.expect("a stream");
    server.has(1).await;
    // Time passes while a stream runs: this is what the test is about, and no way to wait for something.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    gate.open();
    assert_eq!(open.reply().await.expect("an answer").status, 200, "a stream that runs keeps its connection");
    let began = Instant::now();
    client.closed_by_peer().await.expect("a clean end");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(client.open(request("GET", "/p", &[]), true).await.is_err(), "no more streams");
}

#[tokio::test]
async fn an_old_connection_is_asked_to_go_and_finishes_what_it_began() {
    let gate = Gate::default();
    let held = gate.clone();
    let server = ModelServer::start(move |taken| match taken.line().contains("slow") {
        true => [vec![Act::Hold(held.clone())], Act::json("{}")].concat(),
        false => Act::json("{}"),
    })
    .await;
    let house = House::start(&config(&server, "max_connection_age_ms: 1000"));
    let mut client = H2Client::plain(house.at("plain")).await;
    let slow = client.open(request("POST", "/slow", &[]), true).await.expect("a stream");
    server.has(1).await;
    let began = Instant::now();
    let refused = loop {
        match client.ask(request("GET", "/p", &[]), "").await {
            Ok(reply) => assert_eq!(reply.status, 200),
            Err(error) => break error,
        }
        assert!(began.elapsed() < Duration::from_secs(10), "never asked to go");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(refused.is_go_away() || refused.is_reset(), "{refused}");
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    gate.open();
    assert_eq!(slow.reply().await.expect("an answer").status, 200, "what was begun is finished");
    until("the server's answers", || server.count() > 1).await;
    house.quiet().await;
}
