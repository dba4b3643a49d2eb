//! How answers of model servers are read: whatever pieces they come in, wherever they end, and what is left behind them.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tollgate_testkit::client::{begin, get, post};
use tollgate_testkit::{Act, Gate, House, ModelServer, until};

fn house(url: &str, route: &str) -> House {
    House::start(&format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ m: {{ endpoints: [\"{url}\"] }} }}
routes:
  - {{ name: all, path: \"/{{*rest}}\", methods: [GET, HEAD, POST], protocol: none, upstream: m, auth: none{route} }}
"
    ))
}

#[tokio::test]
async fn an_answer_comes_through_whatever_pieces_it_comes_in() {
    let plain = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
    let chunks =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\n0123\r\n006\r\n456789\r\n0\r\nX-T: 1\r\n\r\n";
    for answer in [plain, chunks] {
        for step in [1, 2, 3, 7, answer.len()] {
            // A gate that is open lets others run: each piece is read by itself.
            let gate = Gate::default();
            gate.open();
            let pieces: Vec<Act> = answer
                .as_bytes()
                .chunks(step)
                .flat_map(|piece| [Act::Send(piece.to_vec()), Act::Hold(gate.clone())])
                .collect();
            let server = ModelServer::start(move |_| pieces.clone()).await;
            let house = house(&server.url(), "");
            let mut client = house.plain().await;
            for _ in 0..3 {
                let reply = client.ask(post("/p", "", "{}")).await;
                assert_eq!((reply.status, reply.text().as_str()), (200, "0123456789"), "{step}: {answer}");
            }
            assert_eq!((server.count(), server.connections()), (3, 1), "{step}: {answer}");
            assert_eq!(server.strays(), b"");
            house.quiet().await;
        }
    }
}

#[tokio::test]
async fn large_answers_come_whole_and_their_connections_are_kept() {
    let body: String = (0..400_000).map(|i| format!("{i:08}")).collect();
    let chunked = |text: &str| {
        let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in text.as_bytes().chunks(70_001) {
            out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
        vec![Act::Send(out)]
    };
    for acts in [Act::answer("200 OK", "", &body), chunked(&body)] {
        let server = ModelServer::start(move |_| acts.clone()).await;
        let house = house(&server.url(), "");
        let mut client = house.plain().await;
        for _ in 0..2 {
            let reply = client.ask(get("/p")).await;
            assert!(reply.status == 200 && reply.text() == body, "{} bytes", reply.text().len());
        }
        assert_eq!((server.count(), server.connections()), (2, 1));
        house.quiet().await;
    }
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() {
    for version in ["1.0", "1.1"] {
        let answer = format!("HTTP/{version} 200 OK\r\n\r\nall of it").into_bytes();
        let server = ModelServer::start(move |_| vec![Act::Send(answer.clone()), Act::Close]).await;
        let house = house(&server.url(), "");
        let mut client = house.plain().await;
        for _ in 0..2 {
            let reply = client.ask(get("/p")).await;
            assert_eq!((reply.status, reply.text().as_str(), reply.whole), (200, "all of it", true));
        }
        assert_eq!(server.connections(), 2);
        house.quiet().await;
    }
}

#[tokio::test]
async fn what_stands_behind_an_answer_is_nobody_s_answer() {
    // Response splitting: one client must never be given what was meant for another.
    let stray = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";
    for first in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
    ] {
        let answer = format!("{first}{stray}").into_bytes();
        let server = ModelServer::start(move |_| vec![Act::Send(answer.clone())]).await;
        let house = house(&server.url(), "");
        let mut client = house.plain().await;
        for _ in 0..3 {
            assert_eq!(client.ask(get("/p")).await.text(), "good", "{first}");
        }
        assert_eq!((server.count(), server.connections()), (3, 3), "{first}");
        house.quiet().await;
    }
}

#[tokio::test]
async fn a_stray_answer_on_an_idle_connection_ends_it() {
    let gate = Gate::default();
    let held = gate.clone();
    let server = ModelServer::start(move |taken| {
        let mut acts = Act::json("{}");
        if taken.connection == 0 {
            acts.push(Act::Hold(held.clone()));
            acts.extend(Act::json("\"stray\""));
        }
        acts
    })
    .await;
    let house = house(&server.url(), "");
    let mut client = house.plain().await;
    assert_eq!(client.ask(get("/p")).await.text(), "{}");
    gate.open();
    until("the connection to be given up", || server.open() == 0).await;
    assert_eq!(client.ask(get("/p")).await.text(), "{}");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn answers_that_have_no_body_need_no_length() {
    let server = ModelServer::start(|taken| match taken.head.split(' ').next() {
        Some("HEAD") => vec![Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec())],
        _ => vec![Act::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())],
    })
    .await;
    let house = house(&server.url(), "");
    let mut client = house.plain().await;
    for (request, status) in [(get("/p").replace("GET", "HEAD"), 200), (get("/p"), 204), (get("/p"), 204)] {
        client.send(&request).await;
        assert_eq!(client.head().await.status, status, "{request}");
    }
    assert_eq!((server.count(), server.connections()), (3, 1));
    house.quiet().await;
}

#[tokio::test]
async fn a_body_of_unknown_length_goes_on_in_chunks_and_arrives_as_it_was() {
    let server = ModelServer::agreeable().await;
    let house = house(&server.url(), ", intake: meter");
    let mut client = house.plain().await;
    for _ in 0..2 {
        client.send("POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for piece in ["1\r\na\r\n", "10\r\n0123456789abcdef\r\n", "2\r\nzz\r\n"] {
            client.send(piece).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.ask("0\r\n\r\n").await.status, 200);
    }
    assert_eq!(server.connections(), 1);
    for taken in server.requests() {
        assert_eq!(taken.body, b"a0123456789abcdefzz");
        assert!(taken.head.contains("transfer-encoding: chunked") && !taken.head.contains("content-length"));
    }
    house.quiet().await;
}

#[tokio::test]
async fn a_body_that_the_client_breaks_off_is_never_made_to_look_whole() {
    let server = ModelServer::agreeable().await;
    let house = house(&server.url(), ", intake: meter");
    let mut client = house.plain().await;
    client.send(begin("/p", "", 10)).await;
    client.send("12345").await;
    until("the stream to begin", || server.bytes() > 0).await;
    drop(client);
    until("the server to be let go", || server.open() == 0).await;
    assert_eq!(server.count(), 0);
    house.quiet().await;
}

#[tokio::test]
async fn a_server_that_answers_early_and_reads_no_more_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move {
        let mut served = 0;
        while served < 2 {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut some = [0; 1000];
            stream.read_exact(&mut some).await.expect("the beginning of a request");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").await.expect("an answer");
            // Whatever else is sent is never read: it leaves once we have dropped the connection.
            served += 1;
            let mut rest = Vec::new();
            drop(tokio::time::timeout(std::time::Duration::from_secs(1), stream.read_to_end(&mut rest)).await);
        }
    });
    let house = house(&url, ", max_body_bytes: 33554432");
    let body = "x".repeat(30 << 20);
    for _ in 0..2 {
        let reply = house.plain().await.ask(post("/p", "", &body)).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "early"));
    }
    house.quiet().await;
    serving.join_next().await.expect("a task").expect("both were served");
}
