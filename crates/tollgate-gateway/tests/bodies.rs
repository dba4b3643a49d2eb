//! Request bodies: refused before they are read where that is possible, bounded in every dimension where it is not, and
//! complete before a model server hears of them.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tollgate_testkit::client::{begin, post};
use tollgate_testkit::{Client, House, ModelServer, until};

/// A gateway whose route `/in` takes 64 KiB and `/large` takes 256 KiB, with a budget of 1 MiB.
async fn house() -> (House, ModelServer) {
    let server = ModelServer::agreeable().await;
    let house = House::start(&format!(
        "memory: {{ bodies: 1MiB, tenant_share_percent: 50, wait_ms: 300 }}
upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
routes:
  - {{ name: in, path: /in, protocol: none, upstream: m, auth: none, max_body_bytes: 65536 }}
  - {{ name: large, path: /large, protocol: none, upstream: m, auth: none, max_body_bytes: 262144 }}
  - {{ name: ours, path: /ours, protocol: none, upstream: m, max_body_bytes: 262144 }}
tenants:
  acme: {{ routes: [ours] }}
  globex: {{ routes: [ours] }}
",
        server.url()
    ));
    (house, server)
}

#[tokio::test]
async fn a_declared_oversize_is_refused_before_a_100_and_before_a_byte_of_it() {
    let (house, server) = house().await;
    let mut client = house.plain().await;
    let reply = client.ask(begin("/in", "Expect: 100-continue\r\n", 65_537)).await;
    assert_eq!((reply.status, reply.code().as_str()), (413, "too_large"), "{}", reply.text());
    assert_eq!(client.interim, [0; 0], "no 100 before a refusal");
    assert_eq!(client.rest().await, b"", "the connection closes");
    assert_eq!(server.connections(), 0);
    let line = house.line(&reply.id()).await;
    assert_eq!(line["stage"], "intake", "{line}");
}

#[tokio::test]
async fn a_body_that_fits_is_asked_for_with_a_100() {
    let (house, server) = house().await;
    let mut client = house.plain().await;
    client.send(begin("/in", "Expect: 100-continue\r\n", 5)).await;
    assert_eq!(client.head().await.status, 100);
    assert_eq!(client.ask("hello").await.status, 200);
    assert_eq!(server.requests()[0].body, b"hello");
    assert!(server.requests()[0].fields("expect").is_empty(), "our own affair");
}

#[tokio::test]
async fn a_client_in_the_middle_of_a_large_upload_reads_its_413() {
    let (house, server) = house().await;
    for tls in [false, true] {
        for chunked in [false, true] {
            let mut client = match tls {
                false => house.plain().await,
                true => Client::tls(house.at("tls"), &house.trust(&["http/1.1"])).await,
            };
            let piece = match chunked {
                true => [format!("{:x}\r\n", 16_384).as_bytes(), &[b'x'; 16_384], b"\r\n"].concat(),
                false => vec![b'x'; 16_384],
            };
            let head = match chunked {
                true => "POST /in HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                false => begin("/in", "", 20 << 20),
            };
            client.send(head).await;
            // 20 MB, or as much as the gateway cares to take before it closes.
            let mut sent = 0;
            while sent < 1280 && client.try_send(&piece).await.is_ok() {
                sent += 1;
            }
            let reply = client.reply().await;
            assert_eq!((reply.status, reply.whole), (413, true), "tls {tls}, chunked {chunked}");
        }
    }
    assert_eq!(server.connections(), 0);
    house.quiet().await;
}

#[tokio::test]
async fn a_body_in_chunks_that_outgrows_its_route_is_refused_and_one_that_fits_is_not() {
    let (house, server) = house().await;
    let chunks = |count: usize| {
        let mut text = "POST /in HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        for _ in 0..count {
            text.push_str(&format!("1000\r\n{}\r\n", "x".repeat(4096)));
        }
        text + "0\r\n\r\n"
    };
    assert_eq!(house.plain().await.ask(chunks(16)).await.status, 200);
    let taken = server.requests().remove(0);
    assert_eq!((taken.body.len(), taken.fields("content-length")), (65_536, vec!["65536"]));
    assert_eq!(house.plain().await.ask(chunks(17)).await.status, 413);
    assert_eq!(server.count(), 1);
    house.quiet().await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn coded(path: &str, body: &[u8]) -> Vec<u8> {
    [begin(path, "Content-Encoding: gzip\r\n", body.len()).as_bytes(), body].concat()
}

#[tokio::test]
async fn a_gzip_bomb_is_refused_for_its_size_or_for_its_ratio() {
    let (house, server) = house().await;
    let bomb = gzip(&vec![0; 50 << 20]);
    assert!(bomb.len() < 65_536, "{}", bomb.len());
    let reply = house.plain().await.ask(coded("/in", &bomb)).await;
    assert_eq!((reply.status, reply.code().as_str()), (413, "too_large"), "{}", reply.text());
    // Under the cap of its route, and yet a thousand times its own size.
    let thin = gzip(&vec![0; 200 << 10]);
    let reply = house.plain().await.ask(coded("/large", &thin)).await;
    assert_eq!((reply.status, reply.code().as_str()), (413, "too_large"), "{}", reply.text());
    assert_eq!(server.connections(), 0);
    house.quiet().await;
}

#[tokio::test]
async fn what_goes_up_is_the_decoded_body_without_its_coding() {
    let (house, server) = house().await;
    let reply = house.plain().await.ask(coded("/in", &gzip(b"{\"a\":1}"))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let taken = server.requests().remove(0);
    assert_eq!((taken.body.as_slice(), taken.fields("content-length")), (&b"{\"a\":1}"[..], vec!["7"]));
    assert!(taken.fields("content-encoding").is_empty(), "{}", taken.head);
}

#[tokio::test]
async fn what_is_no_gzip_is_a_bad_request() {
    let (house, server) = house().await;
    let reply = house.plain().await.ask(coded("/in", b"not gzip at all")).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn above_the_budget_for_bodies_there_is_503_with_a_wait_and_never_growth() {
    let (house, server) = house().await;
    let budget = house.gateway().control().state.bodies.clone();
    // Anonymous callers are one tenant, which may hold half of 1 MiB: five of these bodies fit.
    let mut held = Vec::new();
    for _ in 0..12 {
        let mut client = house.plain().await;
        client.send(begin("/large", "", 100_000)).await;
        client.send(vec![b'x'; 90_000]).await;
        held.push(client);
    }
    until("bodies to be held", || budget.held() > 4 * 90_000).await;
    assert!(budget.held() <= 512 << 10, "{}", budget.held());
    let mut refused = 0;
    // Those that got no room are answered while they have not sent the rest.
    until("refusals", || house.lines().len() >= 7).await;
    for line in house.lines() {
        assert_eq!((line["status"].as_u64(), line["code"].as_str()), (Some(503), Some("overloaded")), "{line}");
        refused += 1;
    }
    assert_eq!(refused, 7, "five of twelve fit");
    let (mut full, mut over) = (0, 0);
    for mut client in held {
        drop(client.try_send(&[b'x'; 10_000]).await);
        let reply = client.reply().await;
        assert!(budget.held() <= 512 << 10, "{}", budget.held());
        match reply.status {
            503 => {
                assert!(reply.field("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok_and(|wait| wait > 0)));
                over += 1;
            }
            status => {
                assert_eq!(status, 200);
                full += 1;
            }
        }
    }
    assert_eq!((full, over), (5, 7));
    house.quiet().await;
    assert_eq!(house.metric("tollgate_bodies_held_bytes").await, Some(0.0));
    assert_eq!(server.count(), 5);
}

#[tokio::test]
async fn one_tenant_may_take_its_share_of_the_budget_and_leaves_the_rest_to_others() {
    let (house, server) = house().await;
    let budget = house.gateway().control().state.bodies.clone();
    let mut greedy = Vec::new();
    for _ in 0..2 {
        let mut client = house.plain().await;
        client.send(begin("/ours", &house.bearer("acme"), 254_000)).await;
        client.send(vec![b'x'; 253_999]).await;
        greedy.push(client);
    }
    until("the share to be taken", || budget.held() >= 2 * 253_999).await;
    // Less than two pages of 4 KiB are left of it.
    let body = "x".repeat(8000);
    let refused = house.plain().await.ask(post("/ours", &house.bearer("acme"), &body)).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"), "{}", refused.text());
    let other = house.plain().await.ask(post("/ours", &house.bearer("globex"), &body)).await;
    assert_eq!(other.status, 200, "{}", other.text());
    greedy.clear();
    house.quiet().await;
    let again = house.plain().await.ask(post("/ours", &house.bearer("acme"), "{}")).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_model_server_hears_nothing_before_the_last_byte_of_a_body() {
    let (house, server) = house().await;
    let body: Vec<u8> = (0..50_000_u32).map(|i| b'a' + u8::try_from(i % 26).expect("a letter")).collect();
    for chunked in [false, true] {
        server.forget();
        let connections = server.connections();
        let mut client = house.plain().await;
        let lines = "POST /in HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(if chunked { lines.to_owned() } else { begin("/in", "", body.len()) }).await;
        let budget = house.gateway().control().state.bodies.clone();
        let (mut sent, mut begun) = (0, 0);
        for piece in body.chunks(10_000) {
            assert_eq!(server.connections(), connections, "after {begun} pieces");
            let last = sent + piece.len() == body.len();
            match chunked {
                true => client.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await,
                false if last => client.send(piece.get(..piece.len() - 1).expect("more than one")).await,
                false => client.send(piece).await,
            }
            (sent, begun) = (sent + piece.len(), begun + 1);
            until("the piece to be read", || budget.held() + 1 >= sent.min(body.len() - 1)).await;
        }
        assert_eq!(server.connections(), connections, "all but the end");
        let reply = client.ask(if chunked { b"0\r\n\r\n".as_slice() } else { &body[body.len() - 1..] }).await;
        assert_eq!(reply.status, 200);
        assert_eq!(server.requests()[0].body, body);
        house.quiet().await;
    }
}
