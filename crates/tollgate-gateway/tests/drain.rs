//! A stop that nobody notices: whoever has sent a byte is answered, and nobody can hold the gateway for ever.

use std::time::Duration;

use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;
use tollgate_testkit::client::{begin, get, post};
use tollgate_testkit::h2::request;
use tollgate_testkit::{Act, Client, Gate, H2Client, House, ModelServer, until};

fn config(server: &ModelServer, drain_ms: u64) -> String {
    format!(
        "http: {{ drain_ms: {drain_ms} }}
upstreams: {{ m: {{ endpoints: [\"{}\"], inflight: {{ max: 4 }} }} }}
routes:
  - {{ name: all, path: \"/{{*rest}}\", methods: [GET, POST], protocol: none, upstream: m, auth: none }}
",
        server.url()
    )
}

/// A server that holds answers to `/slow` back until the gate opens.
async fn slow(gate: &Gate) -> ModelServer {
    let gate = gate.clone();
    ModelServer::start(move |taken| match taken.line().contains("/slow") {
        true => [vec![Act::Hold(gate.clone())], Act::json("{}")].concat(),
        false => Act::json("{}"),
    })
    .await
}

#[tokio::test]
async fn whoever_has_sent_a_byte_is_answered() {
    let gate = Gate::default();
    let server = slow(&gate).await;
    let mut house = House::start(&config(&server, 20_000));
    let mut idle = house.plain().await;
    assert_eq!(idle.ask(get("/idle")).await.status, 200);
    // At the server, in the queue, in the middle of a body, in the middle of a head, over HTTP/2.
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let mut client = house.plain().await;
        client.send(post("/slow", "", "{}")).await;
        waiting.push(client);
    }
    server.has(5).await;
    let state = house.gateway().control().state.clone();
    let queue = state.policy().upstreams[0].queue.clone();
    for _ in 0..3 {
        let mut client = house.plain().await;
        client.send(post("/slow", "", "{}")).await;
        waiting.push(client);
    }
    until("three to queue", || queue.level() == (4, 3)).await;
    let mut body = house.plain().await;
    body.send(begin("/p", "", 10) + "01234").await;
    until("half a body to be held", || state.bodies.held() > 7 * 4096).await;
    let mut head = house.plain().await;
    head.send("GET /p HTTP/1.1\r\nHost: gate").await;
    let mut h2 = H2Client::plain(house.at("plain")).await;
    let stream = h2.open(request("POST", "/slow", &[]), true).await.expect("a stream");
    until("the stream to queue", || queue.level() == (4, 4)).await;

    let admin = house.at("admin");
    let drained = spawn_blocking({
        let gateway = house.take();
        move || gateway.drain()
    });
    until("the gateway to drain", || !state.is_ready()).await;
    let mut operator = Client::plain(admin).await;
    let ask = "GET /readyz HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer the-admin-key-of-a-test\r\n\r\n";
    let ready = operator.ask(ask).await;
    assert_eq!((ready.status, ready.text().contains("draining")), (503, true), "{}", ready.text());
    assert_eq!(idle.rest().await, b"", "an idle connection is closed at once");

    body.send("56789").await;
    head.send("way.test\r\n\r\n").await;
    gate.open();
    assert_eq!(body.reply().await.status, 200, "in the middle of its body");
    assert_eq!(head.reply().await.status, 200, "in the middle of its head");
    for (i, client) in waiting.iter_mut().enumerate() {
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.whole), (200, true), "client {i}");
    }
    assert_eq!(stream.reply().await.expect("an answer").status, 200, "over HTTP/2");
    tollgate_testkit::soon("the drain to end", drained).await.expect("no panic");
    assert!(tollgate_testkit::dial::tcp(house.at("plain")).await.is_err(), "nobody listens any more");
    assert_eq!(house.lines().len(), 11, "each in one record: {:?}", house.lines());
}

#[tokio::test]
async fn under_load_no_request_that_was_begun_goes_unanswered() {
    let server = ModelServer::agreeable().await;
    let mut house = House::start(&config(&server, 20_000));
    let mut load = JoinSet::new();
    for _ in 0..8 {
        let at = house.at("plain");
        load.spawn(async move {
            let (mut answered, mut begun) = (0_u32, 0_u32);
            let mut client = Client::plain(at).await;
            loop {
                // A connection that closes between two requests is no failure; one that closes after the first byte of
                // a request was read is. Only the gateway's records can tell: they are counted below.
                begun += 1;
                if client.try_send(post("/p", "", "{}").as_bytes()).await.is_err() {
                    return (answered, begun);
                }
                match client.next().await {
                    Some(reply) => {
                        assert_eq!((reply.status, reply.whole), (200, true));
                        answered += 1;
                        if reply.field("connection") == Some("close") {
                            return (answered, begun);
                        }
                    }
                    None => return (answered, begun),
                }
            }
        });
    }
    server.has(100).await;
    let gateway = house.take();
    spawn_blocking(move || gateway.drain()).await.expect("no panic");
    let mut answered = 0;
    while let Some(done) = load.join_next().await {
        answered += done.expect("no panic").0;
    }
    let lines = house.lines();
    assert!(
        lines.iter().all(|line| line["outcome"] == "answered"),
        "{:?}",
        lines.iter().find(|l| l["outcome"] != "answered")
    );
    assert_eq!(u32::try_from(lines.len()).expect("a number"), answered, "every exchange that was begun was answered");
}

#[tokio::test]
async fn nobody_holds_the_gateway_beyond_its_hard_deadline() {
    let server = slow(&Gate::default()).await;
    let mut house = House::start(&config(&server, 600));
    let mut client = house.plain().await;
    client.send(post("/slow", "", "{}")).await;
    server.has(1).await;
    let mut dripping = house.plain().await;
    dripping.send("GET /p HTTP/1.1\r\nHost: gate").await;
    let gateway = house.take();
    let began = Instant::now();
    tollgate_testkit::soon("the drain", spawn_blocking(move || gateway.drain())).await.expect("no panic");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(600), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    client.rest().await;
    dripping.rest().await;
    until("the server to be let go", || server.open() == 0).await;
    let line = house.line_where("the request that was aborted", |line| line["route"] == "all").await;
    assert_eq!(line["outcome"], "client_left", "{line}");
}
