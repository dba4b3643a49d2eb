//! Answers over HTTP/2 that nobody reads: their streams end, and nothing else on the connection does.

use h2::RecvStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tollgate_testkit::h2::{Reason, request};
use tollgate_testkit::rpc::framed;
use tollgate_testkit::{Act, Gate, H2Client, House, ModelServer, RpcServer, Step, dial, soon, until};

use crate::{DEADLINE, LATEST};

/// What a client of these tests takes of an answer without reading it.
const WINDOW: u32 = 1000;

const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"}}]}\n\n";

fn scripted(target: &str, gate: &Gate) -> Vec<Act> {
    let events = |count: usize| Act::Send(EVENT.repeat(count).into_bytes());
    let head = Act::Send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n".to_vec());
    match target {
        target if target.contains("endless") => vec![
            Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n".to_vec()),
            Act::Send(vec![b'x'; 64 << 20]),
            Act::Stay,
        ],
        target if target.contains("chat") => vec![head, events(1000), Act::Stay],
        target if target.contains("pause") => {
            vec![head, events(1), Act::Hold(gate.clone()), events(1000), Act::Stay]
        }
        _ => Act::json("{}"),
    }
}

/// A gateway before a server whose pause ends with the gate.
async fn scene() -> (House, ModelServer, Gate) {
    let gate = Gate::default();
    let held = gate.clone();
    let server = ModelServer::start(move |taken| scripted(taken.line(), &held)).await;
    let house = House::start(&format!(
        "http: {{ deadlines: {{ write_stall_ms: 400 }} }}
upstreams: {{ m: {{ endpoints: [\"{}\"], inflight: {{ max: 8 }} }} }}
models: {{ small: {{ upstream: m, contract: {{ max_output_tokens: 64 }} }} }}
routes:
  - {{ name: chat, path: /v1/chat/completions, protocol: openai, models: [small], auth: none }}
  - {{ name: all, path: \"/{{*rest}}\", methods: [GET, POST], protocol: none, upstream: m, auth: none }}
",
        server.url()
    ));
    (house, server, gate)
}

/// Opens a stream, waits for its head, and reads nothing of it.
async fn unread(client: &mut H2Client, request: http::Request<()>, body: &str) -> (String, RecvStream) {
    let mut open = client.open(request, body.is_empty()).await.expect("a stream");
    if !body.is_empty() {
        open.body.send_data(body.to_owned().into(), true).expect("room");
    }
    let (head, body) = soon("a head", open.response).await.expect("a head").into_parts();
    assert_eq!(head.status, 200);
    (head.headers["x-request-id"].to_str().expect("ASCII").to_owned(), body)
}

/// Reads until the stream breaks off, and says why.
async fn reset(body: &mut RecvStream) -> Option<Reason> {
    loop {
        match soon("a reset", body.data()).await? {
            Ok(data) => drop(body.flow_control().release_capacity(data.len())),
            Err(error) => return error.reason(),
        }
    }
}

async fn recorded(house: &House, id: &str) {
    let line = house.line(id).await;
    let seen = ["outcome", "stage", "code"].map(|name| line[name].as_str());
    assert_eq!(seen, [Some("cut"), Some("output"), Some("too_slow")], "{line}");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_reset_and_gives_back_what_it_held() {
    let (house, server, _gate) = scene().await;
    let chat = "{\"model\":\"small\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    let json = [("content-type", "application/json")];
    for (path, body) in [("/endless", ""), ("/v1/chat/completions", chat)] {
        let mut client = H2Client::narrow(house.at("plain"), WINDOW).await;
        let began = Instant::now();
        let (id, mut unread) = unread(&mut client, request("POST", path, &json), body).await;
        let (_, mut read) = self::unread(&mut client, request("POST", "/pause", &[]), "").await;
        assert!(soon("an event", read.data()).await.is_some());
        until("the server to be let go", || server.open() == 1).await;
        assert!((DEADLINE..LATEST).contains(&began.elapsed()), "{path}: {:?}", began.elapsed());
        recorded(&house, &id).await;
        assert_eq!(reset(&mut unread).await, Some(Reason::CANCEL), "{path}");
        let other = client.ask(request("GET", "/p", &[]), "").await.expect("the connection goes on");
        assert_eq!(other.status, 200, "{path}");
        drop((read, client));
        until("the other stream to end", || server.open() == 0).await;
        house.quiet().await;
    }
}

#[tokio::test]
async fn a_stream_of_messages_that_nobody_reads_is_reset() {
    let server = RpcServer::start(move |_| {
        let many = std::iter::repeat_n(Step::Message(vec![0x12, 2, 0x18, 7]), 1000);
        many.chain([Step::Hold(Gate::default())]).collect()
    })
    .await;
    let house = House::start(&format!(
        "http: {{ deadlines: {{ write_stall_ms: 400 }} }}
upstreams: {{ m: {{ grpc: [\"{}\"] }} }}
models: {{ linear: {{ upstream: m, contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [1] }}] }} }} }}
routes:
  - {{ name: grpc, path: \"/inference.GRPCInferenceService/{{method}}\", protocol: oip_grpc, models: [linear], auth: none }}
",
        server.url()
    ));
    let mut client = H2Client::narrow(house.at("plain"), WINDOW).await;
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let head = request("POST", "/inference.GRPCInferenceService/ModelStreamInfer", &fields);
    let mut open = client.open(head, false).await.expect("a stream");
    let message = b"\x0a\x06linear\x2a\x0c\x0a\x01x\x12\x04FP32\x1a\x01\x01\x3a\x04\0\0\0\0";
    let began = Instant::now();
    open.body.send_data(framed(message).into(), false).expect("room");
    let (head, mut body) = soon("a head", open.response).await.expect("a head").into_parts();
    until("the server to be told", || server.resets() == [Reason::CANCEL]).await;
    assert!((DEADLINE..LATEST).contains(&began.elapsed()), "{:?}", began.elapsed());
    recorded(&house, head.headers["x-request-id"].to_str().expect("ASCII")).await;
    assert_eq!(reset(&mut body).await, Some(Reason::CANCEL));
    house.quiet().await;
}

#[tokio::test]
async fn a_client_without_any_window_does_not_keep_its_connection() {
    let (house, _server, _gate) = scene().await;
    let mut client = H2Client::narrow(house.at("plain"), 0).await;
    // An answer of ours, whole from the beginning.
    let open = client.open(request("PUT", "/p", &[]), true).await.expect("a stream");
    let (head, mut body) = soon("a head", open.response).await.expect("a head").into_parts();
    assert_eq!(head.status, 405);
    assert_eq!(reset(&mut body).await, Some(Reason::CANCEL));
    client.closed_by_peer().await.expect("a clean end");
}

#[tokio::test]
async fn slow_readers_and_slow_servers_are_not_cut() {
    let (house, server, gate) = scene().await;
    let mut client = H2Client::narrow(house.at("plain"), WINDOW).await;
    let (_, mut slow) = unread(&mut client, request("POST", "/endless", &[]), "").await;
    let (id, mut waits) = unread(&mut client, request("POST", "/pause", &[]), "").await;
    let first = soon("an event", waits.data()).await.expect("an event").expect("an event");
    drop(waits.flow_control().release_capacity(first.len()));
    let began = Instant::now();
    let mut taken = 0;
    while began.elapsed() < 4 * DEADLINE {
        let data = soon("more", slow.data()).await.expect("more").expect("a stream that goes on");
        taken += data.len();
        drop(slow.flow_control().release_capacity(data.len()));
        tokio::time::sleep(DEADLINE / 100).await;
    }
    assert!(taken > 0);
    assert_eq!(server.open(), 2, "neither was cut");
    gate.open();
    let more = soon("more events", waits.data()).await.expect("more").expect("a stream that goes on");
    assert!(!more.is_empty());
    // From here on nobody reads it.
    drop(slow);
    until("the server to be let go", || server.open() == 0).await;
    recorded(&house, &id).await;
    house.quiet().await;
}

/// A window that is taken back while the stream waits for its server: the answer that then comes has nowhere to go.
#[tokio::test]
async fn a_window_that_is_taken_back_is_shut() {
    let (house, server, gate) = scene().await;
    let io = dial::tcp(house.at("plain")).await.expect("a connection");
    let (requests, mut connection) = h2::client::handshake(io).await.expect("a preface");
    let shut = Gate::default();
    let (order, mut driver) = (shut.clone(), JoinSet::new());
    driver.spawn(async move {
        tokio::select! {
            _ = &mut connection => return,
            () = order.passed() => {}
        }
        connection.set_initial_window_size(0).expect("a window");
        drop(connection.await);
    });
    let mut requests = requests.ready().await.expect("room");
    let (response, _body) = requests.send_request(request("POST", "/pause", &[]), true).expect("a stream");
    let (head, mut body) = soon("a head", response).await.expect("a head").into_parts();
    let first = soon("an event", body.data()).await.expect("an event").expect("an event");
    shut.open();
    // The window is shut once the other side has said so, which nothing shows: a request behind it does.
    let (response, _) = requests.send_request(request("PUT", "/p", &[]), true).expect("a stream");
    assert_eq!(soon("a head", response).await.expect("a head").status(), 405);
    gate.open();
    until("the server to be let go", || server.open() == 0).await;
    recorded(&house, head.headers["x-request-id"].to_str().expect("ASCII")).await;
    drop(first);
    house.quiet().await;
    driver.shutdown().await;
}
