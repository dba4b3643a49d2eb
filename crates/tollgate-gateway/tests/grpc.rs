//! The Open Inference Protocol over gRPC, end to end: what reaches the model server, how an answer ends, and how each
//! refusal is told.

#[path = "grpc/bills.rs"]
mod bills;
#[path = "grpc/replies.rs"]
mod replies;
#[path = "grpc/scene.rs"]
mod scene;
#[path = "grpc/streams.rs"]
mod streams;

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use scene::{CALL, Scene, grpc, infer, row, text};
use tokio::time::Instant;
use tollgate_testkit::h2::{Reason, request};
use tollgate_testkit::rpc::{framed, messages};
use tollgate_testkit::{Client, Gate, H2Client, RpcServer, Step, until};

const GOOD: (Option<&str>, Option<&str>) = (Some("0"), None);

#[tokio::test]
async fn a_call_goes_up_as_it_was_judged_and_its_answer_comes_back_with_its_trailers() {
    let server = RpcServer::start(|asked| {
        let end = [("grpc-status", "0"), ("grpc-message", "fine"), ("x-pod", "node-7"), ("x-cost", "5")];
        vec![Step::Raw(asked.body.clone()), Step::End(end.to_vec())]
    })
    .await;
    let scene = Scene::before(server, "output: { trailers: [x-cost] }").await;
    let tls = H2Client::tls(scene.house.at("tls"), &scene.house.trust(&["h2"])).await;
    for mut client in [scene.client().await, tls] {
        let fields = [("grpc-timeout", "30S"), ("x-custom", "kept"), ("grpc-accept-encoding", "gzip")];
        let reply = client.call(grpc("ModelInfer", &fields), &infer(&[1.0, 2.0])).await.expect("an answer");
        assert_eq!((reply.status, reply.field("content-type")), (200, Some("application/grpc")));
        assert_eq!(messages(&reply.body), [infer(&[1.0, 2.0])]);
        assert_eq!(reply.ended(), GOOD);
        let mut left: Vec<_> = reply.end.keys().map(http::HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-message", "grpc-status", "x-cost"], "the rest stays inside");
        let asked = scene.server.asked().pop().expect("a call");
        assert_eq!((asked.path.as_str(), asked.body), (CALL, framed(&infer(&[1.0, 2.0]))));
        let field = |name: &str| asked.fields.get(name).map(|value| value.to_str().expect("ASCII"));
        assert_eq!((field("content-type"), field("te")), (Some("application/grpc"), Some("trailers")));
        assert_eq!((field("x-custom"), field("grpc-accept-encoding")), (Some("kept"), None));
        let id = reply.id();
        assert_eq!(field("x-request-id"), Some(id.as_str()));
        let left = field("grpc-timeout").and_then(|text| text.strip_suffix('m')?.parse::<u64>().ok());
        assert!(left.is_some_and(|left| (20_000..=30_000).contains(&left)), "{left:?}");
        let line = scene.house.line(&id).await;
        assert_eq!((line["outcome"].as_str(), line["grpc_status"].as_u64()), (Some("answered"), Some(0)), "{line}");
        assert_eq!((line["model"].as_str(), line["status"].as_u64()), (Some("linear"), Some(200)), "{line}");
        assert!(line["reserved_us"].as_u64() > Some(0), "{line}");
    }
    assert_eq!(scene.server.connections(), 1, "one connection carries them all");
    scene.house.quiet().await;
}

#[tokio::test]
async fn health_and_metadata_are_answered_here() {
    let scene = Scene::new().await;
    let mut client = scene.client().await;
    let model = b"\x0a\x06linear";
    let table: [(&str, &[u8], &[u8]); 5] = [
        ("ServerLive", b"", b"\x08\x01"),
        ("ServerReady", b"", b"\x08\x01"),
        ("ModelReady", model, b"\x08\x01"),
        (
            "ModelMetadata",
            model,
            b"\x0a\x06linear\x22\x16\x0a\x01x\x12\x04FP32\x1a\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02",
        ),
        ("ServerMetadata", b"", b"\x0a\x08tollgate"),
    ];
    for (name, asked, answer) in table {
        let reply = client.call(grpc(name, &[]), asked).await.expect("an answer");
        assert_eq!(reply.ended(), GOOD, "{name}");
        let [message] = messages(&reply.body).try_into().expect("one message");
        let message: Vec<u8> = message;
        let seen = message.get(..answer.len()).unwrap_or(&message);
        assert_eq!(seen, answer, "{name}");
    }
    for (name, asked, code) in [
        ("ModelReady", &b"\x0a\x05other"[..], "not_found"),
        ("ModelReady", b"\x0a\x06linear\x12\x011", "not_found"),
        ("ModelReady", b"", "invalid_call"),
        ("ServerLive", b"\x08\x01", "bad_request"),
        ("ModelMetadata", b"\xff", "bad_request"),
    ] {
        let reply = client.call(grpc(name, &[]), asked).await.expect("an answer");
        assert_eq!(reply.ended().1, Some(code), "{name} {asked:?}");
    }
    assert_eq!(scene.server.connections(), 0);
}

/// What, the head, the body, the status and what we call it.
type Row = (&'static str, http::Request<()>, Vec<u8>, [&'static str; 2]);

#[tokio::test]
async fn what_is_refused_says_so_in_grpc_and_nothing_reaches_the_server() {
    let scene = Scene::new().await;
    let mut client = scene.client().await;
    let good = infer(&[1.0, 2.0]);
    let path = |name: &str| request("POST", &format!("/inference.GRPCInferenceService/{name}"), &scene::FIELDS);
    let with = |name, value| grpc("ModelInfer", &[(name, value)]);
    let table: [Row; 16] = [
        ("NaN", grpc("ModelInfer", &[]), framed(&infer(&[f32::NAN, 0.0])), ["3", "invalid_call"]),
        ("out of range", grpc("ModelInfer", &[]), framed(&infer(&[101.0, 0.0])), ["3", "invalid_call"]),
        ("no message", grpc("ModelInfer", &[]), vec![], ["3", "bad_request"]),
        ("two messages", grpc("ModelInfer", &[]), [framed(&good), framed(&good)].concat(), ["3", "bad_request"]),
        ("a length too short", grpc("ModelInfer", &[]), [&framed(&good)[..], b"x"].concat(), ["3", "bad_request"]),
        ("a flag of 2", grpc("ModelInfer", &[]), [&[2], &framed(&good)[1..]].concat(), ["3", "bad_request"]),
        ("compressed by nothing", grpc("ModelInfer", &[]), [&[1], &framed(&good)[1..]].concat(), ["3", "bad_request"]),
        ("no protobuf", grpc("ModelInfer", &[]), framed(b"\xff\xff"), ["3", "bad_request"]),
        ("another model", grpc("ModelInfer", &[]), framed(&text("other")), ["12", "not_found"]),
        ("unload", path("RepositoryModelUnload"), framed(b""), ["12", "not_found"]),
        ("shared memory", path("SystemSharedMemoryRegister"), framed(b""), ["12", "not_found"]),
        ("a coding", with("grpc-encoding", "snappy"), framed(&good), ["3", "unsupported"]),
        ("a coding around it", with("content-encoding", "gzip"), framed(&good), ["3", "unsupported"]),
        ("no time", with("grpc-timeout", "1s"), framed(&good), ["3", "bad_request"]),
        ("a body too large", grpc("ModelInfer", &[]), framed(&vec![0; 70_000]), ["8", "too_large"]),
        ("no route", request("POST", "/elsewhere/ModelInfer", &scene::FIELDS), framed(&good), ["12", "not_found"]),
    ];
    for (what, request, body, [status, code]) in table {
        let mut open = client.open(request, body.is_empty()).await.expect("a stream");
        if !body.is_empty() {
            drop(open.body.send_data(body.into(), true));
        }
        let reply = open.reply().await.expect("an answer");
        assert_eq!((reply.status, reply.ended()), (200, (Some(status), Some(code))), "{what}");
        assert!(reply.body.is_empty() && !reply.trailers, "{what}: nothing but an end");
        assert_eq!(reply.field("content-type"), Some("application/grpc"), "{what}");
        let line = scene.house.line(&reply.id()).await;
        assert_eq!((line["code"].as_str(), line["outcome"].as_str()), (Some(code), Some("denied")), "{what}");
        assert_eq!(line["grpc_status"].as_u64().map(|number| number.to_string()).as_deref(), Some(status), "{what}");
    }
    // What does not call itself gRPC is told in the words of HTTP (gRPC over HTTP/2, "Requests").
    let plain = [("content-type", "application/json")];
    let reply = client.call(request("POST", CALL, &plain), &good).await.expect("an answer");
    assert_eq!((reply.status, reply.field("content-type")), (415, Some("application/problem+json")));
    let mut old = Client::plain(scene.house.at("plain")).await;
    let lines = "Content-Type: application/grpc\r\n";
    let reply = old.ask(tollgate_testkit::client::post(CALL, lines, "\0\0\0\0\0")).await;
    assert_eq!(reply.status, 415);
    assert_eq!((scene.server.connections(), scene.server.begun()), (0, 0));
    scene.house.quiet().await;
}

#[tokio::test]
async fn nothing_goes_up_before_the_verdict() {
    let scene = Scene::new().await;
    let mut client = scene.client().await;
    let body = framed(&infer(&[1.0, 2.0]));
    let mut open = client.open(grpc("ModelInfer", &[]), false).await.expect("a stream");
    for byte in &body[..body.len() - 1] {
        open.body.send_data(vec![*byte].into(), false).expect("room");
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(scene.server.connections(), 0);
    }
    open.body.send_data(body[body.len() - 1..].to_vec().into(), true).expect("room");
    assert_eq!(open.reply().await.expect("an answer").ended(), GOOD);
    assert_eq!(scene.server.begun(), 1);
}

#[tokio::test]
async fn compressed_messages_are_judged_and_go_up_plain() {
    let scene = Scene::new().await;
    let mut client = scene.client().await;
    let packed = |bytes: &[u8]| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(bytes).expect("memory");
        gzip.finish().expect("memory")
    };
    let zlib = |bytes: &[u8]| {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(bytes).expect("memory");
        zlib.finish().expect("memory")
    };
    let flagged = |mut frame: Vec<u8>| {
        frame[0] = 1;
        frame
    };
    let (good, bad) = (infer(&[1.0, 2.0]), infer(&[f32::NAN, 2.0]));
    for (coding, body, end) in [
        ("gzip", flagged(framed(&packed(&good))), GOOD),
        ("deflate", flagged(framed(&zlib(&good))), GOOD),
        ("gzip", framed(&good), GOOD),
        ("gzip", flagged(framed(&packed(&bad))), (Some("3"), Some("invalid_call"))),
        ("gzip", flagged(framed(&packed(&vec![0; 1 << 20]))), (Some("8"), Some("too_large"))),
        ("gzip", flagged(framed(&good)), (Some("3"), Some("bad_request"))),
    ] {
        let mut open = client.open(grpc("ModelInfer", &[("grpc-encoding", coding)]), false).await.expect("a stream");
        open.body.send_data(body.into(), true).expect("room");
        assert_eq!(open.reply().await.expect("an answer").ended(), end, "{coding}");
    }
    let asked = scene.server.asked();
    assert_eq!(asked.len(), 3);
    for call in asked {
        assert_eq!(call.body, framed(&good));
        assert!(!call.fields.contains_key("grpc-encoding"), "{:?}", call.fields);
    }
}

#[tokio::test]
async fn a_server_that_fails_is_told_in_our_words() {
    let end = |status, message| vec![("grpc-status", status), ("grpc-message", message)];
    for (script, expected, outcome) in [
        (vec![Step::EndAlone(end("3", "SECRET"))], (Some("3"), Some("invalid_call")), "denied"),
        (vec![Step::EndAlone(end("13", "SECRET"))], (Some("14"), Some("upstream_failed")), "denied"),
        (vec![Step::EndAlone(end("4", "SECRET"))], (Some("4"), Some("upstream_late")), "denied"),
        (vec![Step::EndAlone(end("16", "SECRET"))], (Some("14"), Some("upstream_failed")), "denied"),
        (vec![Step::Raw(vec![]), Step::End(end("5", "SECRET"))], (Some("12"), Some("not_found")), "denied"),
        (vec![Step::Raw(vec![]), Step::End(vec![])], (Some("14"), Some("upstream_failed")), "denied"),
        (vec![Step::Message(vec![1]), Step::End(end("13", "SECRET"))], (Some("14"), Some("upstream_failed")), "cut"),
        (vec![Step::Message(vec![1]), Step::End(vec![])], (Some("14"), Some("upstream_failed")), "cut"),
        // A reset overtakes what the server has not sent yet.
        (vec![Step::Message(vec![1]), Step::Reset(Reason::INTERNAL_ERROR)], (Some("14"), Some("upstream_failed")), ""),
        (vec![Step::Reset(Reason::INTERNAL_ERROR)], (Some("14"), Some("upstream_failed")), "denied"),
        (vec![Step::Message(vec![1]), Step::Sever], (Some("14"), Some("upstream_failed")), ""),
    ] {
        let what = format!("{script:?}");
        let server = RpcServer::start(move |_| script.clone()).await;
        let scene = Scene::before(server, "").await;
        let reply = scene.ask().await;
        assert_eq!((reply.status, reply.ended()), (200, expected), "{what}");
        assert!(!format!("{:?} {:?}", reply.fields, reply.end).contains("SECRET"), "{what}");
        let line = scene.house.line(&reply.id()).await;
        assert!(outcome.is_empty() || line["outcome"] == outcome, "{what}: {line}");
        scene.house.quiet().await;
    }
}

#[tokio::test]
async fn a_call_that_a_server_did_not_begin_is_sent_again() {
    let server = RpcServer::start(|asked| match asked.number {
        1 => vec![Step::Reset(Reason::REFUSED_STREAM)],
        _ => vec![Step::Raw(asked.body.clone()), Step::End(vec![("grpc-status", "0")])],
    })
    .await;
    let scene = Scene::before(server, "").await;
    let mut client = scene.client().await;
    for retried in [0, 1] {
        let reply = client.call(grpc("ModelInfer", &[]), &infer(&[1.0, 2.0])).await.expect("an answer");
        assert_eq!(reply.ended(), GOOD);
        assert_eq!(scene.house.line(&reply.id()).await["retried"].as_u64().unwrap_or(0), retried);
    }
    assert_eq!(scene.server.begun(), 3);
}

#[tokio::test]
async fn a_server_that_asks_to_go_gets_the_next_call_on_another_connection() {
    let gate = Gate::default();
    let held = gate.clone();
    let server = RpcServer::start(move |asked| {
        let answer = [Step::Raw(asked.body.clone()), Step::End(vec![("grpc-status", "0")])];
        let before = if asked.number == 0 { vec![Step::GoAway, Step::Hold(held.clone())] } else { vec![] };
        [before, answer.to_vec()].concat()
    })
    .await;
    let scene = Scene::before(server, "").await;
    let mut client = scene.client().await;
    let mut first = client.open(grpc("ModelInfer", &[]), false).await.expect("a stream");
    first.body.send_data(framed(&infer(&[1.0, 2.0])).into(), true).expect("room");
    scene.server.has(1).await;
    until("calls on another connection", || scene.server.connections() > 0).await;
    let mut calls = 0;
    while scene.server.connections() < 2 {
        let reply = client.call(grpc("ModelInfer", &[]), &infer(&[1.0, 2.0])).await.expect("an answer");
        assert_eq!(reply.ended(), GOOD);
        calls += 1;
        assert!(calls < 1000, "GOAWAY is never obeyed");
    }
    gate.open();
    assert_eq!(first.reply().await.expect("an answer").ended(), GOOD, "what was begun is finished");
    scene.house.quiet().await;
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again() {
    let scene = Scene::new().await;
    assert_eq!(scene.ask().await.ended(), GOOD);
    let Scene { house, server } = scene;
    server.stop().await;
    let mut client = H2Client::plain(house.at("plain")).await;
    let reply = client.call(grpc("ModelInfer", &[]), &infer(&[1.0, 2.0])).await.expect("an answer");
    assert_eq!(reply.ended(), (Some("14"), Some("upstream_failed")));
    house.quiet().await;
}

#[tokio::test]
async fn whoever_leaves_resets_the_stream_of_the_server() {
    for answers_first in [false, true] {
        let gate = Gate::default();
        let held = gate.clone();
        let server = RpcServer::start(move |_| {
            let first = if answers_first { vec![Step::Message(vec![1])] } else { vec![] };
            [first, vec![Step::Hold(held.clone())]].concat()
        })
        .await;
        let scene = Scene::before(server, "").await;
        let mut client = scene.client().await;
        let mut open = client.open(grpc("ModelInfer", &[]), false).await.expect("a stream");
        open.body.send_data(framed(&infer(&[1.0, 2.0])).into(), true).expect("room");
        scene.server.has(1).await;
        open.body.send_reset(Reason::CANCEL);
        let left = Instant::now();
        until("the server to be told", || scene.server.resets() == [Reason::CANCEL]).await;
        assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
        let line = scene.house.line_where("the call", |line| line["route"] == "grpc").await;
        assert_eq!(line["outcome"], "client_left", "{line}");
        scene.house.quiet().await;
    }
}

#[tokio::test]
async fn the_deadline_of_the_caller_and_that_of_the_route_end_a_call() {
    for (timeout, route) in [("400m", 60_000), ("60S", 400)] {
        let gate = Gate::default();
        let server = RpcServer::start(move |_| vec![Step::Hold(gate.clone())]).await;
        let scene = Scene::routed(server, "", &format!(", timeout_ms: {route}")).await;
        let mut client = scene.client().await;
        let good = infer(&[1.0, 2.0]);
        let reply = client.call(grpc("ModelInfer", &[("grpc-timeout", timeout)]), &good).await.expect("an answer");
        assert_eq!(reply.ended(), (Some("4"), Some("upstream_late")), "{timeout}");
        until("the server to be told", || scene.server.resets() == [Reason::CANCEL]).await;
        let reply = client.call(grpc("ModelInfer", &[("grpc-timeout", timeout)]), &good).await.expect("an answer");
        assert_eq!(reply.ended().1, Some("upstream_late"));
        assert_eq!(scene.server.connections(), 2, "a connection on which a call was late takes no more");
    }
}

#[tokio::test]
async fn a_large_message_passes_both_ways_under_flow_control() {
    let scene = Scene::routed(RpcServer::echo().await, "", ", max_body_bytes: 8388608").await;
    let mut client = scene.client().await;
    let values: Vec<f32> = vec![0.5; 1 << 20];
    let message = row(&values);
    let reply = client.call(grpc("ModelInfer", &[]), &message).await.expect("an answer");
    assert_eq!(reply.ended(), GOOD);
    assert!(messages(&reply.body) == [message]);
    scene.house.quiet().await;
}

#[tokio::test]
async fn connections_are_bounded_in_streams_and_in_age() {
    let gate = Gate::default();
    let held = gate.clone();
    let server = RpcServer::start(move |asked| {
        let answer = [Step::Raw(asked.body.clone()), Step::End(vec![("grpc-status", "0")])];
        [vec![Step::Hold(held.clone())], answer.to_vec()].concat()
    })
    .await;
    let more = "upstream_defaults: { h2: { max_streams_per_connection: 2, max_connection_age_ms: 1000 } }";
    let scene = Scene::before(server, more).await;
    let mut client = scene.client().await;
    let mut open = Vec::new();
    for calls in 1..=5 {
        let mut call = client.open(grpc("ModelInfer", &[]), false).await.expect("a stream");
        call.body.send_data(framed(&infer(&[1.0, 2.0])).into(), true).expect("room");
        open.push(call);
        scene.server.has(calls).await;
        assert_eq!(scene.server.connections(), calls.div_ceil(2), "{calls} calls");
    }
    gate.open();
    for call in open {
        assert_eq!(call.reply().await.expect("an answer").ended(), GOOD);
    }
    until("old connections to be closed", || scene.server.open() == 0).await;
    assert_eq!(scene.ask().await.ended(), GOOD);
    assert_eq!(scene.server.connections(), 4);
}

#[tokio::test]
async fn a_server_behind_tls_must_speak_http_2() {
    let ca = tollgate_testkit::Ca::new();
    for (alpn, expected) in [("h2", GOOD), ("http/1.1", (Some("14"), Some("upstream_failed")))] {
        let mut tls = (*ca.server(&["localhost"])).clone();
        tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let server = RpcServer::over_tls(tls.into(), |asked| {
            vec![Step::Raw(asked.body.clone()), Step::End(vec![("grpc-status", "0")])]
        })
        .await;
        let url = format!("https://localhost:{}", server.at().port());
        let house = scene::house_with(&url, ", ca: upstream.pem", "", ", auth: none", |folder| {
            folder.write("upstream.pem", ca.pem());
        });
        let mut client = H2Client::plain(house.at("plain")).await;
        let reply = client.call(grpc("ModelInfer", &[]), &infer(&[1.0, 2.0])).await.expect("an answer");
        assert_eq!(reply.ended(), expected, "{alpn}");
    }
}

#[tokio::test]
async fn quotas_and_keys_hold_over_grpc_as_they_do_over_rest() {
    let more = "tenants: { acme: { models: [linear], budgets: [small] } }
limits: { budgets: [{ name: small, per: tenant, unit: requests, burst: 1, refill_per_sec: 1 }] }
";
    let scene = Scene::keyed(RpcServer::echo().await, more).await;
    let mut client = scene.client().await;
    let key = format!("Bearer {}", scene.house.key("acme"));
    let call = |fields: &[(&str, &str)]| grpc("ModelInfer", fields);
    let reply = client.call(call(&[]), &infer(&[1.0, 2.0])).await.expect("an answer");
    assert_eq!(reply.ended(), (Some("16"), Some("unauthenticated")));
    let mine = [("authorization", key.as_str())];
    assert_eq!(client.call(call(&mine), &infer(&[1.0, 2.0])).await.expect("an answer").ended(), GOOD);
    let reply = client.call(call(&mine), &infer(&[1.0, 2.0])).await.expect("an answer");
    assert_eq!(reply.ended(), (Some("8"), Some("rate_limited")));
    assert!(reply.field("grpc-retry-pushback-ms").is_some(), "{:?}", reply.fields);
    assert!(!scene.server.asked().iter().any(|asked| asked.fields.contains_key("authorization")));
    assert_eq!(scene.server.begun(), 1);
}

#[tokio::test]
async fn texts_in_tensors_are_shown_to_the_rules() {
    let server = RpcServer::echo().await;
    let waf = "waf: { mode: enforce, pack: none, rules: [local.conf] }";
    let rule = "SecRuleEngine On\nSecRequestBodyAccess On\nSecRule ARGS \"@contains <script\" \"id:7,phase:2,deny,status:403\"\n";
    let house = scene::house_with(&server.url(), "", waf, ", auth: none", |folder| {
        folder.write("local.conf", rule);
    });
    let scene = Scene { house, server };
    let mut client = scene.client().await;
    for (said, end) in [("good day", GOOD), ("<script>", (Some("7"), Some("waf_blocked")))] {
        let reply = client.call(grpc("ModelInfer", &[]), &scene::spoken(said)).await.expect("an answer");
        assert_eq!(reply.ended(), end, "{said}");
    }
    assert_eq!(scene.server.begun(), 1);
}

#[tokio::test]
async fn a_method_that_is_named_by_a_route_passes_whole_and_the_others_do_not_exist() {
    let server = RpcServer::echo().await;
    let house = scene::named(&server.url());
    let mut client = H2Client::plain(house.at("plain")).await;
    let reply = client.call(grpc("ModelConfig", &[]), b"\x0a\x06linear").await.expect("an answer");
    assert_eq!((reply.ended(), messages(&reply.body)), (GOOD, vec![b"\x0a\x06linear".to_vec()]));
    let reply = client.call(grpc("RepositoryIndex", &[]), b"").await.expect("an answer");
    assert_eq!(reply.ended(), (Some("12"), Some("not_found")));
    assert_eq!(server.begun(), 1);
    house.quiet().await;
}
