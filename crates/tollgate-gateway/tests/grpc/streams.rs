//! `ModelStreamInfer`: each message is judged and charged by itself, and whatever is refused ends the stream.

use h2::{RecvStream, SendStream};

use tollgate_testkit::h2::Reason;
use tollgate_testkit::rpc::{framed, messages};
use tollgate_testkit::{Gate, H2Client, RpcServer, Step, soon, until};

use crate::scene::{Scene, grpc, infer, text};

pub(crate) const GOOD: (Option<String>, Option<String>) = (None, None);

/// A stream of a client.
pub(crate) struct Talk {
    pub(crate) up: SendStream<bytes::Bytes>,
    down: RecvStream,
    got: Vec<u8>,
    taken: usize,
    pub(crate) id: String,
    _client: H2Client,
}

impl Talk {
    pub(crate) async fn open(scene: &Scene, more: &[(&str, &str)]) -> Self {
        let mut client = scene.client().await;
        let open = client.open(grpc("ModelStreamInfer", more), false).await.expect("a stream");
        let response = soon("a head", open.response).await.expect("a head");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"application/grpc".parse().expect("a value"))
        );
        let id = response.headers()["x-request-id"].to_str().expect("ASCII").to_owned();
        Self { up: open.body, down: response.into_body(), got: Vec::new(), taken: 0, id, _client: client }
    }

    pub(crate) fn say(&mut self, message: &[u8]) {
        self.up.send_data(framed(message).into(), false).expect("room");
    }

    pub(crate) fn end(&mut self) {
        // A server that has said all may have ended it.
        drop(self.up.send_data(bytes::Bytes::new(), true));
    }

    /// The next answer; `None` at the end of the stream.
    pub(crate) async fn answer(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(message) = messages(&self.got).get(self.taken) {
                self.taken += 1;
                return Some(message.clone());
            }
            let data = soon("an answer", self.down.data()).await?.expect("an answer");
            drop(self.down.flow_control().release_capacity(data.len()));
            self.got.extend_from_slice(&data);
        }
    }

    /// How it ended: nothing for well, else the status and what we call it.
    pub(crate) async fn ended(&mut self) -> (Option<String>, Option<String>) {
        assert_eq!(self.answer().await, None, "no more answers");
        let trailers = soon("trailers", self.down.trailers()).await.expect("trailers").expect("trailers");
        assert!(!format!("{trailers:?}").contains("SECRET"), "{trailers:?}");
        let field = |name: &str| trailers.get(name).map(|value| value.to_str().expect("ASCII").to_owned());
        match field("grpc-status").as_deref() {
            Some("0") => GOOD,
            status => (status.map(str::to_owned), field("tollgate-problem")),
        }
    }
}

pub(crate) fn problem(status: &str, code: &str) -> (Option<String>, Option<String>) {
    (Some(status.to_owned()), Some(code.to_owned()))
}

/// Answers `count` messages, each with its number, once it has come.
fn counting(count: u8) -> Vec<Step> {
    let each = (1..=count).flat_map(|n| [Step::Read(usize::from(n)), answer(n)]);
    each.chain([Step::End(vec![("grpc-status", "0")])]).collect()
}

/// A `ModelStreamInferResponse` whose answer is one byte that nobody looks into.
fn answer(number: u8) -> Step {
    Step::Message(vec![0x12, 2, 0x18, number])
}

#[tokio::test]
async fn each_message_goes_up_once_it_was_judged_and_each_answer_comes_back_at_once() {
    let scene = Scene::before(RpcServer::start(|_| counting(3)).await, "").await;
    let mut talk = Talk::open(&scene, &[]).await;
    assert_eq!(scene.server.connections(), 0, "nothing goes up with the head");
    for number in 1..=3 {
        let half = framed(&infer(&[f32::from(number), 0.0]));
        let (first, rest) = half.split_at(half.len() / 2);
        talk.up.send_data(first.to_vec().into(), false).expect("room");
        talk.up.send_data(rest.to_vec().into(), false).expect("room");
        assert_eq!(talk.answer().await, Some(vec![0x12, 2, 0x18, number]), "before the next one is sent");
    }
    talk.end();
    assert_eq!(talk.ended().await, GOOD);
    let asked = scene.server.asked().remove(0);
    assert_eq!(messages(&asked.body), [infer(&[1.0, 0.0]), infer(&[2.0, 0.0]), infer(&[3.0, 0.0])]);
    assert_eq!(asked.fields["te"], "trailers");
    let line = scene.house.line(&talk.id).await;
    assert_eq!((line["outcome"].as_str(), line["grpc_status"].as_u64()), (Some("answered"), Some(0)), "{line}");
    assert_eq!((line["model"].as_str(), line["bytes_out"].as_u64()), (Some("linear"), Some(12)), "{line}");
    assert!(line["reserved_us"].as_u64() >= Some(3), "each is charged: {line}");
    scene.house.quiet().await;
}

#[tokio::test]
async fn a_refused_message_ends_the_stream_and_never_goes_up() {
    let good = framed(&infer(&[1.0, 2.0]));
    let compressed = [&[1], &good[1..]].concat();
    for (what, bad, end) in [
        ("NaN", framed(&infer(&[f32::NAN, 0.0])), problem("3", "invalid_call")),
        ("another model", framed(&text("other")), problem("12", "not_found")),
        ("no protobuf", framed(b"\xff\xff"), problem("3", "bad_request")),
        ("a flag of 2", [&[2], &good[1..]].concat(), problem("3", "bad_request")),
        ("compressed by nothing", compressed, problem("3", "bad_request")),
        ("too large, by its prefix", vec![0, 0xFF, 0xFF, 0xFF, 0xFF], problem("8", "too_large")),
    ] {
        for after_a_good_one in [false, true] {
            let scene = Scene::before(RpcServer::start(|_| counting(9)).await, "").await;
            let mut talk = Talk::open(&scene, &[]).await;
            if after_a_good_one {
                talk.say(&infer(&[1.0, 2.0]));
                assert!(talk.answer().await.is_some(), "{what}");
            }
            talk.up.send_data(bad.clone().into(), false).expect("room");
            assert_eq!(talk.ended().await, end, "{what}");
            let line = scene.house.line(&talk.id).await;
            assert_eq!(
                (line["code"].as_str(), line["outcome"].as_str()),
                (end.1.as_deref(), Some("cut")),
                "{what}: {line}"
            );
            if after_a_good_one {
                until("the server to be told", || scene.server.resets() == [Reason::CANCEL]).await;
                assert_eq!(messages(&scene.server.asked()[0].body), [infer(&[1.0, 2.0])], "{what}");
            } else {
                assert_eq!(scene.server.connections(), 0, "{what}");
            }
            scene.house.quiet().await;
        }
    }
}

#[tokio::test]
async fn a_stream_that_says_nothing_ends_well_and_one_that_ends_in_a_message_does_not() {
    let scene = Scene::before(RpcServer::start(|_| counting(9)).await, "").await;
    let mut talk = Talk::open(&scene, &[]).await;
    talk.end();
    assert_eq!(talk.ended().await, GOOD);
    let mut talk = Talk::open(&scene, &[]).await;
    talk.up.send_data(vec![0, 0, 0, 0, 9, 1].into(), true).expect("room");
    assert_eq!(talk.ended().await, problem("3", "bad_request"));
    assert_eq!(scene.server.connections(), 0);
}

#[tokio::test]
async fn a_server_that_fails_in_mid_stream_is_told_in_our_words() {
    let error = Step::Message([&b"\x0a\x06SECRET"[..], b"\x12\x02\x18\x07"].concat());
    let refused = Step::End(vec![("grpc-status", "3"), ("grpc-message", "SECRET")]);
    for (steps, end) in [
        (vec![refused], problem("3", "invalid_call")),
        (vec![Step::End(vec![("grpc-status", "13"), ("grpc-message", "SECRET")])], problem("14", "upstream_failed")),
        (vec![Step::Reset(Reason::INTERNAL_ERROR)], problem("14", "upstream_failed")),
        (vec![Step::Sever], problem("14", "upstream_failed")),
        (vec![Step::Raw(vec![0, 0, 0, 0, 9]), Step::End(vec![("grpc-status", "0")])], problem("14", "upstream_failed")),
        (vec![Step::EndAlone(vec![("grpc-status", "16")])], problem("14", "upstream_failed")),
    ] {
        let script = [vec![Step::Read(1)], steps].concat();
        let what = format!("{script:?}");
        let scene = Scene::before(RpcServer::start(move |_| script.clone()).await, "").await;
        let mut talk = Talk::open(&scene, &[]).await;
        talk.say(&infer(&[1.0, 2.0]));
        assert_eq!(talk.ended().await, end, "{what}");
        assert_eq!(scene.house.line(&talk.id).await["outcome"], "cut");
        scene.house.quiet().await;
    }
    let script = vec![Step::Read(1), error, Step::End(vec![("grpc-status", "0")])];
    let scene = Scene::before(RpcServer::start(move |_| script.clone()).await, "").await;
    let mut talk = Talk::open(&scene, &[]).await;
    talk.say(&infer(&[1.0, 2.0]));
    let answer = talk.answer().await.expect("an answer");
    assert!(answer.ends_with(b"\x12\x02\x18\x07"), "who it is for stays: {answer:?}");
    assert!(!answer.windows(6).any(|window| window == b"SECRET"));
    assert_eq!(talk.ended().await, GOOD);
}

#[tokio::test]
async fn whoever_leaves_resets_the_stream_of_the_server() {
    let gate = Gate::default();
    let held = gate.clone();
    let server = RpcServer::start(move |_| vec![Step::Read(1), answer(1), Step::Hold(held.clone())]).await;
    let scene = Scene::before(server, "").await;
    let mut talk = Talk::open(&scene, &[]).await;
    talk.say(&infer(&[1.0, 2.0]));
    assert!(talk.answer().await.is_some());
    talk.up.send_reset(Reason::CANCEL);
    until("the server to be told", || scene.server.resets() == [Reason::CANCEL]).await;
    let line = scene.house.line(&talk.id).await;
    assert_eq!((line["outcome"].as_str(), line["bytes_out"].as_u64()), (Some("client_left"), Some(4)), "{line}");
    assert!(line["spent_us"].as_u64() > Some(0), "what was answered is paid for: {line}");
    scene.house.quiet().await;
}

#[tokio::test]
async fn each_message_is_charged_and_a_spent_quota_ends_the_stream() {
    let more = "tenants: { acme: { models: [linear], budgets: [small] } }
limits: { budgets: [{ name: small, per: tenant, unit: requests, burst: 2, refill_per_sec: 1 }] }
";
    let scene = Scene::keyed(RpcServer::start(|_| counting(9)).await, more).await;
    let key = format!("Bearer {}", scene.house.key("acme"));
    let mut talk = Talk::open(&scene, &[("authorization", key.as_str())]).await;
    for _ in 0..2 {
        talk.say(&infer(&[1.0, 2.0]));
        assert!(talk.answer().await.is_some());
    }
    talk.say(&infer(&[1.0, 2.0]));
    talk.say(&infer(&[1.0, 2.0]));
    assert_eq!(talk.ended().await, problem("8", "rate_limited"));
    assert_eq!(messages(&scene.server.asked()[0].body).len(), 2);
    scene.house.quiet().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_deadline() {
    let gate = Gate::default();
    let server = RpcServer::start(move |_| vec![Step::Hold(gate.clone())]).await;
    let scene = Scene::before(server, "").await;
    let mut talk = Talk::open(&scene, &[("grpc-timeout", "400m")]).await;
    talk.say(&infer(&[1.0, 2.0]));
    assert_eq!(talk.ended().await, problem("4", "upstream_late"));
    until("the server to be told", || scene.server.resets() == [Reason::CANCEL]).await;
    scene.house.quiet().await;
}

#[tokio::test]
async fn a_connection_that_answers_no_stream_in_time_carries_no_further_calls() {
    for (answered, connections) in [(false, 2), (true, 1)] {
        let gate = Gate::default();
        let server = RpcServer::start(move |asked| {
            if asked.path.ends_with("/ModelInfer") {
                return vec![Step::Raw(asked.body.clone()), Step::End(vec![("grpc-status", "0")])];
            }
            let first = if answered { vec![Step::Read(1), answer(1)] } else { vec![] };
            [first, vec![Step::Hold(gate.clone())]].concat()
        })
        .await;
        let scene = Scene::before(server, "").await;
        let mut talk = Talk::open(&scene, &[("grpc-timeout", "400m")]).await;
        talk.say(&infer(&[1.0, 2.0]));
        if answered {
            assert!(talk.answer().await.is_some());
        }
        assert_eq!(talk.ended().await, problem("4", "upstream_late"));
        assert_eq!(scene.ask().await.ended().0, Some("0"));
        assert_eq!(scene.server.connections(), connections, "answered: {answered}");
    }
}

#[tokio::test]
async fn a_message_that_has_begun_comes_at_the_minimum_rate_and_a_silence_between_messages_is_fine() {
    let scene =
        Scene::before(RpcServer::start(|_| counting(2)).await, "http: { deadlines: { body_ms: 600000 } }").await;
    let message = framed(&infer(&[1.0, 2.0]));
    let mut talk = Talk::open(&scene, &[]).await;
    talk.say(&infer(&[1.0, 2.0]));
    assert!(talk.answer().await.is_some());
    // Longer than a window of the minimum rate: this is what the test is about.
    tokio::time::sleep(std::time::Duration::from_millis(5500)).await;
    talk.say(&infer(&[1.0, 2.0]));
    assert!(talk.answer().await.is_some(), "a client may take its time between messages");
    let mut slow = Talk::open(&scene, &[]).await;
    let began = tokio::time::Instant::now();
    slow.up.send_data(message[..10].to_vec().into(), false).expect("room");
    assert_eq!(slow.ended().await, problem("4", "too_slow"));
    assert!(began.elapsed() >= std::time::Duration::from_secs(5), "the first window is free");
    scene.house.quiet().await;
}

#[tokio::test]
async fn the_room_of_a_large_message_is_given_back_when_it_has_gone_up() {
    let gate = Gate::default();
    let held = gate.clone();
    let script = move |_: &tollgate_testkit::rpc::Asked| {
        let large = Step::Message([&[0x12, 0x80, 0x80, 0x40, 0x1a, 0xFC, 0xFF, 0x3F][..], &[b'x'; 0xF_FFFC]].concat());
        [vec![Step::Read(1), large], (2..=4).flat_map(|n| [Step::Read(usize::from(n)), answer(n)]).collect()]
            .concat()
            .into_iter()
            .chain([Step::Hold(held.clone()), Step::End(vec![("grpc-status", "0")])])
            .collect()
    };
    let scene = Scene::routed(RpcServer::start(script).await, "", ", max_body_bytes: 2097152").await;
    let mut talk = Talk::open(&scene, &[]).await;
    let large: Vec<f32> = vec![1.0; 1 << 18];
    for piece in framed(&crate::scene::row(&large)).chunks(16_384) {
        talk.up.send_data(piece.to_vec().into(), false).expect("room");
    }
    assert!(talk.answer().await.is_some_and(|answer| answer.len() > 1 << 20));
    for _ in 0..3 {
        talk.say(&infer(&[1.0, 2.0]));
        assert!(talk.answer().await.is_some());
    }
    let bodies = std::sync::Arc::clone(&scene.house.gateway().control().state.bodies);
    until(format_args!("room to be given back, {} are held", bodies.held()), || bodies.held() < 64 << 10).await;
    gate.open();
    talk.end();
    assert_eq!(talk.ended().await, GOOD);
    scene.house.quiet().await;
}

#[tokio::test]
async fn what_is_sent_faster_than_it_is_answered_waits_within_the_queue() {
    let scene = Scene::inflight(RpcServer::start(|_| counting(40)).await, 2).await;
    let mut talk = Talk::open(&scene, &[]).await;
    for _ in 0..40 {
        talk.say(&infer(&[1.0, 2.0]));
    }
    talk.end();
    for number in 1..=40 {
        assert_eq!(talk.answer().await, Some(vec![0x12, 2, 0x18, number]));
    }
    assert_eq!(talk.ended().await, GOOD);
    scene.house.quiet().await;
}
