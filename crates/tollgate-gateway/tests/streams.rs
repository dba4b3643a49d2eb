//! Many streams at once: every event of each comes, in its order, and none before its time.

use tollgate_testkit::client::post;
use tollgate_testkit::{Act, Gate, House, ModelServer};

const STREAMS: usize = 200;
const EVENTS: usize = 5;

fn event(number: usize) -> String {
    format!("data: {{\"id\":\"{number}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"word \"}}}}]}}\n\n")
}

#[tokio::test]
async fn two_hundred_streams_lose_nothing_and_keep_their_order() {
    let gates: [Gate; EVENTS] = std::array::from_fn(|_| Gate::default());
    let held = gates.clone();
    let server = ModelServer::start(move |_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut acts = vec![Act::Send(head.as_bytes().to_vec())];
        for (number, gate) in held.iter().enumerate() {
            let event = event(number);
            acts.push(Act::Send(format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()));
            acts.push(Act::Hold(gate.clone()));
        }
        acts.push(Act::Send(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n".to_vec()));
        acts
    })
    .await;
    let house = House::start(&format!(
        "runtime: {{ workers: 2 }}
upstreams: {{ u: {{ endpoints: [\"{}\"], inflight: {{ max: {STREAMS} }} }} }}
models: {{ m: {{ upstream: u }} }}
routes: [{{ name: r, path: \"/v1/{{*rest}}\", protocol: openai, models: [m], auth: none }}]
",
        server.url()
    ));
    let mut clients = Vec::new();
    for _ in 0..STREAMS {
        let mut client = house.plain().await;
        let body = r#"{"model":"m","messages":[{"role":"user","content":"count"}],"stream":true}"#;
        client.send(post("/v1/chat/completions", "Content-Type: application/json\r\n", body)).await;
        clients.push(client);
    }
    let mut ids = Vec::new();
    for client in &mut clients {
        let head = client.head().await;
        assert_eq!((head.status, head.field("content-type")), (200, Some("text/event-stream")));
        ids.push(head.id());
    }
    // No gate is open: whatever a client sees, all others have been sent as much and no more.
    for (number, gate) in gates.iter().enumerate() {
        for client in &mut clients {
            client.sees(event(number).as_bytes()).await;
        }
        gate.open();
    }
    let whole: String = (0..EVENTS).map(event).chain(["data: [DONE]\n\n".to_owned()]).collect();
    for (client, id) in clients.iter_mut().zip(ids) {
        client.sees(b"\r\n0\r\n\r\n").await;
        client.end().await;
        let rest = client.rest().await;
        assert_eq!(unchunked(&rest), whole);
        assert_eq!(house.line(&id).await["outcome"], "answered");
    }
    house.quiet().await;
}

/// The text of a chunked body.
fn unchunked(body: &[u8]) -> String {
    let (mut text, mut rest) = (String::new(), std::str::from_utf8(body).expect("text"));
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        text.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    text
}
