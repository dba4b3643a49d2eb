//! Which answer of a stream settles which request.

use std::time::Duration;

use tollgate_testkit::rpc::Asked;
use tollgate_testkit::{Gate, RpcServer, Step, until};

use crate::scene::{Scene, answer_to, called, error_to, infer};
use crate::streams::{GOOD, Talk};

/// Reads so many requests, says `answers`, and ends well once the gate opens.
fn saying(requests: usize, answers: Vec<Vec<u8>>, gate: Gate) -> impl Fn(&Asked) -> Vec<Step> {
    move |_| {
        let answers = answers.iter().cloned().map(Step::Message);
        let end = [Step::Hold(gate.clone()), Step::End(vec![("grpc-status", "0")])];
        std::iter::once(Step::Read(requests)).chain(answers).chain(end).collect()
    }
}

/// Places that are taken before the model server.
fn placed(scene: &Scene) -> u32 {
    let policy = scene.house.gateway().control().state.policy();
    policy.upstreams.iter().map(|upstream| upstream.queue.level().0).sum()
}

async fn said(ids: &[&str], answers: Vec<Vec<u8>>) -> (Scene, Talk, Gate) {
    let gate = Gate::default();
    let count = answers.len();
    let server = RpcServer::start(saying(ids.len(), answers, gate.clone())).await;
    let scene = Scene::before(server, "").await;
    let mut talk = Talk::open(&scene, &[]).await;
    for id in ids {
        talk.say(&if id.is_empty() { infer(&[1.0, 2.0]) } else { called(id) });
    }
    for _ in 0..count {
        assert!(talk.answer().await.is_some());
    }
    (scene, talk, gate)
}

#[tokio::test]
async fn further_answers_to_one_request_do_not_settle_another() {
    for (ids, answers, left) in [
        (&["a", "b"][..], vec![answer_to("a", None); 5], 1),
        (&["a", "b"], vec![answer_to("c", None); 5], 2),
        (&["a", "b"], vec![answer_to("b", Some(true)), answer_to("b", Some(true))], 1),
        (&["a", "b"], vec![answer_to("b", Some(true)), answer_to("a", Some(true))], 0),
        (&["a", "b"], vec![error_to("b"), error_to("b")], 1),
        (&["a", "", ""], vec![answer_to("", None); 2], 1),
        (&["a", "b"], vec![answer_to("", None); 2], 0),
        // The place is free once the server has begun to answer: few servers say which answer is the last.
        (&["a", "b"], vec![answer_to("a", Some(false)); 5], 1),
    ] {
        let what = format!("{ids:?} {answers:?}");
        let (scene, mut talk, gate) = said(ids, answers).await;
        until(format_args!("{left} places, found {} for {what}", placed(&scene)), || placed(&scene) == left).await;
        gate.open();
        talk.end();
        assert_eq!(talk.ended().await, GOOD, "{what}");
        scene.house.quiet().await;
    }
}

#[tokio::test]
async fn a_request_without_a_last_answer_costs_the_time_until_the_last_that_came() {
    let (scene, mut talk, gate) = said(&["a"], vec![answer_to("a", Some(false)); 3]).await;
    // Time passes on a stream where nothing is asked for: this is what the test is about.
    tokio::time::sleep(Duration::from_millis(700)).await;
    gate.open();
    talk.end();
    assert_eq!(talk.ended().await, GOOD);
    let line = scene.house.line(&talk.id).await;
    assert!((1..500_000).contains(&line["spent_us"].as_u64().unwrap_or(0)), "{line}");
}

#[tokio::test]
async fn a_request_that_failed_costs_nothing() {
    let (scene, mut talk, gate) = said(&["a"], vec![error_to("a")]).await;
    gate.open();
    talk.end();
    assert_eq!(talk.ended().await, GOOD);
    assert_eq!(scene.house.line(&talk.id).await["spent_us"], 0);
}
