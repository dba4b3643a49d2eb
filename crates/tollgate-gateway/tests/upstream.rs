//! Model servers that fail in every way: what the client is told, what is tried again, and that nothing leaks.

use tollgate_testkit::client::{begin, get, post};
use tollgate_testkit::{Act, Ca, Gate, House, ModelServer, Reply, Taken, until};

/// A gateway before these endpoints; `more` stands in the upstream.
fn house(endpoints: &[String], more: &str) -> House {
    House::start(&format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ m: {{ endpoints: {endpoints:?}, connect_ms: 1000, first_byte_ms: 500{more} }} }}
routes:
  - {{ name: all, path: \"/{{*rest}}\", methods: [GET, POST, PUT], protocol: none, upstream: m, auth: none }}
"
    ))
}

async fn before(script: impl Fn(&Taken) -> Vec<Act> + Send + Sync + 'static) -> (House, ModelServer) {
    let server = ModelServer::start(script).await;
    (house(&[server.url()], ""), server)
}

/// The problem document of a reply, and that it is nothing else.
fn problem(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}\n{}", reply.head, reply.text());
    assert_eq!(reply.field("content-type"), Some("application/problem+json"));
    assert!(reply.whole);
}

#[tokio::test]
async fn a_server_that_is_killed_in_mid_answer_leaves_a_cut_answer_a_record_and_nothing_else() {
    let part = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf".to_vec();
    let (house, server) = before(move |_| vec![Act::Send(part.clone()), Act::Stay]).await;
    let mut client = house.plain().await;
    client.send(post("/p", "", "{}")).await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    server.kill().await;
    assert_eq!(client.rest().await, b"half", "the connection ends short of the declared length");
    let line = house.line(&head.id()).await;
    assert_eq!((line["outcome"].as_str(), line["stage"].as_str()), (Some("cut"), Some("upstream")), "{line}");
    assert_eq!((line["status"].as_u64(), line["bytes_out"].as_u64()), (Some(200), Some(4)), "{line}");
    house.quiet().await;
    problem(&house.plain().await.ask(get("/p")).await, 502, "upstream_failed");
    house.quiet().await;
}

#[tokio::test]
async fn a_reset_in_mid_answer_is_a_cut_also_where_the_answer_came_in_chunks() {
    let part = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n".to_vec();
    let gate = Gate::default();
    let held = gate.clone();
    let (house, _server) = before(move |_| vec![Act::Send(part.clone()), Act::Hold(held.clone()), Act::Reset]).await;
    let mut client = house.plain().await;
    client.send(get("/p")).await;
    let head = client.head().await;
    gate.open();
    let rest = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a cut answer must not look complete: {:?}", String::from_utf8_lossy(&rest));
    assert_eq!(house.line(&head.id()).await["outcome"], "cut");
    house.quiet().await;
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_costs_the_client_nothing() {
    let (house, server) = before(|taken| {
        let mut acts = Act::json("{}");
        // Says nothing of closing, and closes: the common race with servers that end idle connections.
        acts.extend((taken.connection == 0).then_some(Act::Close));
        acts
    })
    .await;
    let mut client = house.plain().await;
    assert_eq!(client.ask(post("/p", "", "{}")).await.status, 200);
    until("the server to close", || server.open() == 0).await;
    assert_eq!(client.ask(post("/p", "", "{}")).await.status, 200);
    assert_eq!((server.connections(), server.count()), (2, 2));
}

#[tokio::test]
async fn a_kept_connection_that_dies_under_a_request_is_replaced_once_where_that_is_safe() {
    // The first request of each connection is answered, the second is met with a reset.
    let script = |taken: &Taken| match taken.number {
        1 => vec![Act::Reset],
        _ => Act::json("{}"),
    };
    for (method, safe) in [("PUT", true), ("POST", false)] {
        let (house, server) = before(script).await;
        let mut client = house.plain().await;
        let request = post("/p", "", "{}").replace("POST", method);
        assert_eq!(client.ask(&request).await.status, 200);
        let reply = client.ask(&request).await;
        let line = house.line(&reply.id()).await;
        if safe {
            assert_eq!((reply.status, server.count()), (200, 3), "{method}");
            assert_eq!(line["retried"], 1, "{line}");
        } else {
            problem(&reply, 502, "upstream_failed");
            assert_eq!(server.count(), 2, "perhaps the server has worked on it: never twice");
        }
        house.quiet().await;
    }
}

#[tokio::test]
async fn an_inference_is_repeated_on_a_kept_connection_that_dies() {
    let server = ModelServer::start(|taken| match taken.number {
        1 => vec![Act::Reset],
        _ => Act::json("{\"outputs\":[]}"),
    })
    .await;
    let house = House::start(&format!(
        "runtime: {{ workers: 1 }}
upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
models: {{ m: {{ upstream: m, contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [batch, 2] }}] }} }} }}
routes:
  - {{ name: oip, path: \"/v2/{{*rest}}\", protocol: oip, models: [m], auth: none }}
",
        server.url()
    ));
    let body = r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#;
    let mut client = house.plain().await;
    for _ in 0..2 {
        let reply = client.ask(post("/v2/models/m/infer", "", body)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(server.count(), 3);
    assert!(server.requests().iter().all(|taken| taken.body == body.as_bytes()), "what was judged is what is sent");
}

#[tokio::test]
async fn nobody_listens_is_a_502() {
    let server = ModelServer::agreeable().await;
    let url = server.url();
    server.kill().await;
    let house = house(std::slice::from_ref(&url), "");
    let reply = house.plain().await.ask(post("/p", "", "{}")).await;
    problem(&reply, 502, "upstream_failed");
    let port = url.rsplit(':').next().expect("a port");
    assert!(!reply.text().contains(port) && !reply.head.contains(port), "no word of the inside");
    let line = house.line(&reply.id()).await;
    assert_eq!((line["stage"].as_str(), line["outcome"].as_str()), (Some("upstream"), Some("denied")), "{line}");
    house.quiet().await;
}

#[tokio::test]
async fn a_first_byte_that_does_not_come_is_a_504_and_frees_the_server() {
    let (house, server) = before(|_| vec![Act::Stay]).await;
    let reply = house.plain().await.ask(post("/p", "", "{}")).await;
    problem(&reply, 504, "upstream_late");
    until("the server to be let go", || server.open() == 0).await;
    assert_eq!(server.count(), 1, "a late answer is not asked for twice");
    house.quiet().await;
}

#[tokio::test]
async fn what_is_no_http_is_a_502() {
    for answer in
        ["", "SSH-2.0-OpenSSH_9.6\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"]
    {
        let answer = answer.as_bytes().to_vec();
        let (house, server) = before(move |_| vec![Act::Send(answer.clone()), Act::Close]).await;
        problem(&house.plain().await.ask(post("/p", "", "{}")).await, 502, "upstream_failed");
        assert_eq!(server.count(), 1);
        house.quiet().await;
    }
}

#[tokio::test]
async fn an_error_of_the_server_keeps_its_words_to_itself() {
    let trace = "Traceback (most recent call last):\n  File \"/srv/model.py\", line 7\nSECRET-OF-THE-SERVER";
    let lines = "X-Internal-Host: gpu-7.SECRET-OF-THE-SERVER\r\nServer: uvicorn\r\n";
    for status in
        ["500 Internal Server Error", "502 Bad Gateway", "501 Not Implemented", "401 Unauthorized", "403 Forbidden"]
    {
        let (house, server) = before(move |_| Act::answer(status, lines, trace)).await;
        let reply = house.plain().await.ask(post("/p", "", "{}")).await;
        problem(&reply, 502, "upstream_failed");
        assert!(!reply.text().contains("SECRET") && !reply.head.contains("SECRET"), "{}\n{}", reply.head, reply.text());
        assert!(!reply.head.contains("uvicorn"), "{}", reply.head);
        assert_eq!(server.count(), 1, "a POST is sent once");
        let line = house.line(&reply.id()).await;
        let upstream: u64 = status[..3].parse().expect("a status");
        assert_eq!(line["upstream_status"].as_u64(), Some(upstream), "{line}");
        house.quiet().await;
    }
}

#[tokio::test]
async fn a_redirect_is_never_passed_on() {
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect", "304 Not Modified"] {
        let location = "Location: http://evil.test/\r\n";
        let (house, _server) = before(move |_| Act::answer(status, location, "")).await;
        let reply = house.plain().await.ask(get("/p")).await;
        problem(&reply, 502, "upstream_failed");
        assert_eq!(reply.field("location"), None);
    }
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_a_502() {
    let (house, server) = before(|_| {
        vec![
            Act::Send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_vec()),
            Act::Stay,
        ]
    })
    .await;
    problem(&house.plain().await.ask(get("/p")).await, 502, "upstream_failed");
    until("the server to be let go", || server.open() == 0).await;
    house.quiet().await;
}

#[tokio::test]
async fn a_busy_server_is_a_503_with_its_wait() {
    for (status, lines, wait) in [
        ("503 Service Unavailable", "Retry-After: 7\r\n", Some("7")),
        ("429 Too Many Requests", "Retry-After: 3\r\n", Some("3")),
    ] {
        let (house, _server) = before(move |_| Act::answer(status, lines, "busy, says SECRET-OF-THE-SERVER")).await;
        let reply = house.plain().await.ask(post("/p", "", "{}")).await;
        problem(&reply, 503, "overloaded");
        assert_eq!(reply.field("retry-after"), wait);
        assert!(!reply.text().contains("SECRET"));
        house.quiet().await;
    }
}

#[tokio::test]
async fn one_dead_endpoint_of_several_is_stepped_over() {
    let (one, dead, two) =
        (ModelServer::agreeable().await, ModelServer::agreeable().await, ModelServer::agreeable().await);
    let endpoints = [one.url(), dead.url(), two.url()];
    dead.kill().await;
    let house = house(&endpoints, "");
    for _ in 0..12 {
        assert_eq!(house.plain().await.ask(post("/p", "", "{}")).await.status, 200);
    }
    assert_eq!(one.count() + two.count(), 12);
    house.quiet().await;
}

#[tokio::test]
async fn fields_that_betray_the_server_or_belong_to_its_connection_do_not_leave() {
    let lines = "Server: TritonServer\r\nX-Powered-By: FastAPI\r\nVia: 1.1 inner\r\nKeep-Alive: timeout=5\r\n\
                 Connection: keep-alive, x-private\r\nX-Private: SECRET-OF-THE-SERVER\r\nX-Model: resnet\r\n";
    let (house, _server) = before(move |_| Act::answer("200 OK", lines, "{}")).await;
    let reply = house.plain().await.ask(get("/p")).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    for field in ["server", "x-powered-by", "via", "keep-alive", "x-private"] {
        assert_eq!(reply.field(field), None, "{}", reply.head);
    }
    assert!(!reply.head.contains("SECRET"));
    assert_eq!(reply.field("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn credentials_and_fields_of_the_clients_connection_never_reach_a_server() {
    let server = ModelServer::agreeable().await;
    let house = House::start(&format!(
        "upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
routes:
  - {{ name: all, path: \"/{{*rest}}\", methods: [GET, POST], protocol: none, upstream: m }}
tenants:
  acme: {{ routes: [all] }}
",
        server.url()
    ));
    let key = house.key("acme").to_owned();
    let hop = "Connection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nTrailer: x-sum\r\n\
               Upgrade: websocket\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\n\
               Cookie: session=1\r\nX-Own: stays\r\n";
    for credential in [format!("Authorization: Bearer {key}\r\n"), format!("X-API-Key: {key}\r\n")] {
        server.forget();
        let reply = house.plain().await.ask(post("/p", &format!("{credential}{hop}"), "{}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let taken = server.requests().remove(0);
        assert!(!taken.head.contains(&key), "{}", taken.head);
        for field in [
            "authorization",
            "x-api-key",
            "connection",
            "x-hop",
            "keep-alive",
            "te",
            "trailer",
            "upgrade",
            "proxy-connection",
            "proxy-authorization",
            "cookie",
        ] {
            assert!(taken.fields(field).is_empty(), "`{field}` in {}", taken.head);
        }
        assert_eq!(taken.fields("x-own"), ["stays"]);
        assert_eq!(taken.fields("host"), [server.at().to_string()]);
        assert_eq!(taken.fields("x-request-id"), [reply.id()]);
        assert_eq!(taken.fields("traceparent").len(), 1, "{}", taken.head);
    }
}

#[tokio::test]
async fn a_server_over_tls_is_trusted_by_its_own_authority_alone() {
    let (own, foreign) = (Ca::new(), Ca::new());
    for (ca, status) in [(&own, 200), (&foreign, 502)] {
        let server = ModelServer::over_tls(ca.server(&["127.0.0.1"]), |_| Act::json("{}")).await;
        let rest = format!(
            "upstreams: {{ m: {{ endpoints: [\"https://{}\"], ca: own.pem }} }}
routes:
  - {{ name: all, path: \"/{{*rest}}\", protocol: none, upstream: m, auth: none }}
",
            server.at()
        );
        let house = House::start_in(&rest, |folder| folder.write("own.pem", own.pem()));
        let reply = house.plain().await.ask(post("/p", "", "{}")).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(server.count(), usize::from(status == 200));
        house.quiet().await;
    }
}

#[tokio::test]
async fn a_connection_is_kept_and_used_again_and_a_closing_one_is_not() {
    for (lines, connections) in [("", 1), ("Connection: close\r\n", 5)] {
        let (house, server) = before(move |_| {
            let mut acts = Act::answer("200 OK", lines, "{}");
            acts.extend((!lines.is_empty()).then_some(Act::Close));
            acts
        })
        .await;
        let mut client = house.plain().await;
        for _ in 0..5 {
            assert_eq!(client.ask(post("/p", "", "{}")).await.status, 200);
        }
        assert_eq!((server.count(), server.connections()), (5, connections));
        assert_eq!(server.strays(), b"");
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_client_has_sent_its_body_waits_for_nobody() {
    // The gateway reads the whole body first, so a server can only be early where the body is streamed.
    let server = ModelServer::start(|_| Act::json("{}")).await;
    let house = House::start(&format!(
        "upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
routes:
  - {{ name: all, path: \"/{{*rest}}\", protocol: none, upstream: m, auth: none, intake: meter }}
",
        server.url()
    ));
    let mut client = house.plain().await;
    client.send(begin("/p", "", 10)).await;
    until("the stream to begin", || server.connections() == 1).await;
    let reply = client.ask("0123456789").await;
    assert_eq!(reply.status, 200);
    assert_eq!(server.requests()[0].body, b"0123456789");
    house.quiet().await;
}

#[tokio::test]
async fn a_call_is_sent_as_json_whatever_the_client_called_it() {
    let server = ModelServer::agreeable().await;
    let house = House::start(&format!(
        "upstreams: {{ m: {{ endpoints: [\"{}\"] }} }}
models: {{ m: {{ upstream: m, contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [batch, 1] }}] }} }} }}
routes:
  - {{ name: oip, path: \"/v2/{{*rest}}\", protocol: oip, models: [m], auth: none }}
",
        server.url()
    ));
    let call = r#"{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]}"#;
    for named in ["", "Content-Type: application/json; charset=utf-8\r\n"] {
        server.forget();
        let reply = house.plain().await.ask(post("/v2/models/m/infer", named, call)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let taken = server.requests().remove(0);
        let sent = taken.head.to_ascii_lowercase();
        assert!(sent.lines().any(|line| line == "content-type: application/json"), "{sent}");
        assert_eq!(sent.matches("content-type").count(), 1, "{sent}");
    }
}
