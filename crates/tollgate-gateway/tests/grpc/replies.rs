//! Answers over gRPC before the contracts of their models.

use tollgate_testkit::rpc::{framed, messages};
use tollgate_testkit::{House, RpcServer, Step};

use crate::scene::{Scene, answer_to, called, field};
use crate::streams::{GOOD, Talk, problem};

/// A gateway whose model answers `y` with numbers from 0 to 1, as many as it got rows.
async fn before(script: Vec<Step>, more: &str) -> Scene {
    let server = RpcServer::start(move |_| script.clone()).await;
    let house = House::start(&format!(
        "upstreams: {{ m: {{ grpc: [\"{}\"] }} }}
models:
  linear:
    upstream: m
    contract:
      inputs: [{{ name: x, dtype: FP32, shape: [batch, 2] }}]
      outputs: [{{ name: y, dtype: FP32, shape: [batch], range: [0, 1] }}]
      batch: {{ max: 64 }}
      reply: {{ max_bytes: 1000 }}
routes:
  - {{ name: grpc, path: \"/inference.GRPCInferenceService/{{method}}\", protocol: oip_grpc, models: [linear], auth: none }}
{more}
",
        server.url()
    ));
    Scene { house, server }
}

/// A `ModelInferResponse` with one output.
fn reply(name: &str, values: &[f32]) -> Vec<u8> {
    let shape = [u8::try_from(values.len()).expect("few")];
    let output = [field(1, name.as_bytes()), field(2, b"FP32"), field(3, &shape)].concat();
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    [field(1, b"linear"), field(5, &output), field(6, &raw)].concat()
}

/// The same as a message of a stream.
fn streamed(id: &str, name: &str, values: &[f32]) -> Vec<u8> {
    field(2, &[reply(name, values), field(3, id.as_bytes())].concat())
}

fn end() -> Step {
    Step::End(vec![("grpc-status", "0")])
}

async fn broken(house: &House) -> f64 {
    house.sum("tollgate_replies_broken_total").await
}

#[tokio::test]
async fn a_reply_that_keeps_its_contract_passes_as_it_is() {
    let scene = before(vec![Step::Message(reply("y", &[0.5])), end()], "").await;
    let seen = scene.ask().await;
    assert_eq!((seen.ended(), messages(&seen.body)), ((Some("0"), None), vec![reply("y", &[0.5])]));
    assert_eq!(scene.house.line(&seen.id()).await["outcome"], "answered");
    assert!(broken(&scene.house).await < 0.5);
    scene.house.quiet().await;
}

#[tokio::test]
async fn a_reply_that_breaks_its_contract_is_unavailable_and_costs_nothing() {
    let good = framed(&reply("y", &[0.5]));
    let packed = [&[1], &good[1..]].concat();
    let large = [reply("y", &[0.5]), field(2, &[b'1'; 1000])].concat();
    for (what, body) in [
        ("beyond its range", framed(&reply("y", &[1.5]))),
        ("NaN", framed(&reply("y", &[f32::NAN]))),
        ("more rows than were asked for", framed(&reply("y", &[0.5, 0.5]))),
        ("another output", framed(&reply("z", &[0.5]))),
        ("no output", framed(&field(1, b"linear"))),
        ("no message of that kind", framed(b"\xff\xff")),
        ("two messages", [good.clone(), good.clone()].concat()),
        ("half a message", good[..good.len() - 1].to_vec()),
        ("compressed unasked", packed),
        ("larger than it may be", framed(&large)),
    ] {
        let scene = before(vec![Step::Raw(body), end()], "").await;
        let seen = scene.ask().await;
        assert_eq!((seen.ended(), seen.body.len()), ((Some("14"), Some("upstream_failed")), 0), "{what}");
        let line = scene.house.line(&seen.id()).await;
        let said = ["stage", "code", "outcome"].map(|name| line[name].as_str().unwrap_or_default());
        assert_eq!(said, ["contract", "upstream_failed", "denied"], "{what}: {line}");
        // Who can make it large must not get it for nothing.
        assert_eq!(line["spent_us"] == 0, !what.starts_with("larger"), "{what}: {line}");
        assert!(broken(&scene.house).await > 0.5, "{what}");
        scene.house.quiet().await;
    }
}

#[tokio::test]
async fn a_call_that_failed_behind_its_message_broke_no_contract() {
    let steps =
        vec![Step::Message(reply("y", &[9.0])), Step::End(vec![("grpc-status", "3"), ("grpc-message", "SECRET")])];
    let scene = before(steps, "").await;
    let seen = scene.ask().await;
    assert_eq!((seen.ended(), seen.body.len()), ((Some("3"), Some("invalid_call")), 0));
    assert_eq!(scene.house.line(&seen.id()).await["stage"], "upstream");
}

#[tokio::test]
async fn a_watched_contract_lets_replies_pass_and_counts_them() {
    let steps = vec![Step::Message(reply("y", &[1.5])), end()];
    let scene = before(steps, "contract: { mode: observe }").await;
    let seen = scene.ask().await;
    assert_eq!((seen.ended(), messages(&seen.body)), ((Some("0"), None), vec![reply("y", &[1.5])]));
    assert_eq!(scene.house.line(&seen.id()).await["would_refuse"][0], "contract");
    assert!(broken(&scene.house).await > 0.5);
}

#[tokio::test]
async fn each_answer_of_a_stream_is_held_to_the_contract() {
    let good = |id: &str| Step::Message(streamed(id, "y", &[0.5]));
    for (what, bad) in [
        ("beyond its range", streamed("b", "y", &[1.5])),
        ("more rows than were asked for", streamed("b", "y", &[0.5, 0.5])),
        ("for nobody", streamed("c", "y", &[1.5])),
        ("nothing", answer_to("b", None)),
        ("a last one that is the only one", answer_to("b", Some(true))),
        ("no message of that kind", field(2, b"\xff")),
    ] {
        let scene = before(vec![Step::Read(2), good("a"), Step::Message(bad), good("b"), end()], "").await;
        let mut talk = Talk::open(&scene, &[]).await;
        talk.say(&called("a"));
        talk.say(&called("b"));
        assert_eq!(talk.answer().await, Some(streamed("a", "y", &[0.5])), "{what}");
        assert_eq!(talk.ended().await, problem("14", "upstream_failed"), "{what}");
        let line = scene.house.line(&talk.id).await;
        let said = ["stage", "code", "outcome"].map(|name| line[name].as_str().unwrap_or_default());
        assert_eq!(said, ["contract", "upstream_failed", "cut"], "{what}: {line}");
        assert!(broken(&scene.house).await > 0.5, "{what}");
        scene.house.quiet().await;
    }
}

#[tokio::test]
async fn many_answers_to_one_request_and_their_empty_end_keep_the_contract() {
    let part = Step::Message(field(2, &[reply("y", &[0.5]), answer_to("a", Some(false))[2..].to_vec()].concat()));
    let last = Step::Message(answer_to("a", Some(true)));
    let stray = Step::Message(streamed("x", "y", &[0.1, 0.2]));
    let scene = before(vec![Step::Read(1), part.clone(), part, last, stray, end()], "").await;
    let mut talk = Talk::open(&scene, &[]).await;
    talk.say(&called("a"));
    talk.end();
    for _ in 0..4 {
        assert!(talk.answer().await.is_some());
    }
    assert_eq!(talk.ended().await, GOOD);
    assert!(broken(&scene.house).await < 0.5);
}
