//! Answers that are kept: who is given them, who is not, what they cost, and what is never kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tollgate_core::backend::{Backend, BoxFuture, Dim, Output, Port, Signature};
use tollgate_core::call::{Call, Dtype, Tensor, Values};
use tollgate_core::ruling::Fault;
use tollgate_gateway::start::StartError;
use tollgate_gateway::state::Embed;
use tollgate_testkit::client::post;
use tollgate_testkit::{Act, House, ModelServer, Reply, Taken, until};

fn config(url: &str, cache: &str) -> String {
    format!(
        "runtime: {{ workers: 2 }}
upstreams: {{ m: {{ endpoints: [\"{url}\"] }} }}
models: {{ tiny: {{ upstream: m, deterministic: true, contract: {{ max_output_tokens: 500, default_output_tokens: 100 }} }} }}
cost: {{ classes: {{ small: 1000 }} }}
limits:
  budgets:
    - {{ name: gold, per: tenant, burst: 3000000, refill_per_sec: 1 }}
    - {{ name: words, per: tenant, unit: tokens, burst: 100000, refill_per_sec: 1 }}
routes:
  - {{ name: chat, path: /v1/chat/completions, methods: [POST], protocol: openai, models: [tiny], cost_class: small{cache} }}
tenants:
  acme: {{ models: [tiny], budgets: [gold, words] }}
  other: {{ models: [tiny], budgets: [gold] }}
"
    )
}

const CACHE: &str = ", cache: { ttl_ms: 60000 }";

/// Numbers its answers; what the prompt names is done.
fn script(taken: &Taken, number: usize) -> Vec<Act> {
    let body = format!(r#"{{"number":{number},"choices":[],"usage":{{"prompt_tokens":3,"completion_tokens":4}}}}"#);
    let text = String::from_utf8_lossy(&taken.body).into_owned();
    let says = |word: &str| text.contains(word);
    match () {
        () if says("PRIVATE") => Act::answer("200 OK", "Cache-Control: private\r\n", &body),
        () if says("COOKIE") => Act::answer("200 OK", "Set-Cookie: a=b\r\n", &body),
        () if says("BRIEF") => Act::answer("200 OK", "Cache-Control: max-age=0\r\n", &body),
        () if says("FAILS") => Act::answer("500 Oops", "", &body),
        () if says("\"stream\":true") => {
            let events = format!("data: {body}\n\ndata: [DONE]\n\n");
            Act::answer("200 OK", "Content-Type: text/event-stream\r\n", &events)
        }
        () if says("LONG") => Act::answer("200 OK", "", &format!("{body}{}", " ".repeat(2 << 20))),
        () => Act::answer("200 OK", "Content-Type: application/json\r\n", &body),
    }
}

async fn scene(cache: &str) -> (ModelServer, House) {
    let count = AtomicUsize::new(0);
    let server = ModelServer::start(move |taken| script(taken, count.fetch_add(1, Ordering::Relaxed))).await;
    let house = House::start(&config(&server.url(), cache));
    (server, house)
}

async fn chat(house: &House, tenant: &str, (prompt, more, fields): (&str, &str, &str)) -> Reply {
    let body = format!(r#"{{"model":"tiny","messages":[{{"role":"user","content":"{prompt}"}}]{more}}}"#);
    let fields = format!("{}Content-Type: application/json\r\n{fields}", house.bearer(tenant));
    let reply = house.plain().await.ask(post("/v1/chat/completions", &fields, &body)).await;
    house.quiet().await;
    reply
}

fn state(reply: &Reply) -> (u16, Option<&str>) {
    (reply.status, reply.field("x-tollgate-cache"))
}

const MISS: (u16, Option<&str>) = (200, Some("miss"));
const HIT: (u16, Option<&str>) = (200, Some("hit"));

#[tokio::test]
async fn the_same_question_of_the_same_tenant_is_answered_once_and_then_for_nothing() {
    let (server, house) = scene(CACHE).await;
    let first = chat(&house, "acme", ("hi", "", "")).await;
    assert_eq!((state(&first), first.field("age")), (MISS, None), "{}", first.text());
    let before = first.field("ratelimit").map(str::to_owned);
    for _ in 0..5 {
        let again = chat(&house, "acme", ("hi", "", "User-Agent: another\r\n")).await;
        assert_eq!((state(&again), again.text()), (HIT, first.text()));
        assert_eq!(again.field("age"), Some("0"));
        assert_eq!(again.field("content-type"), Some("application/json"));
        assert_eq!(again.field("cache-control"), Some("no-store"), "nobody else keeps it");
        let line = house.line(&again.id()).await;
        assert_eq!((&line["cached"], &line["reserved_us"], &line["spent_us"]), (&true.into(), &0.into(), &0.into()));
    }
    assert_eq!(server.count(), 1);
    // Three seconds are all there is, and each call reserves one: hits cost nothing, nor do they take from the tokens.
    let after = chat(&house, "acme", ("hi", "", "")).await;
    let left = |level: Option<&str>| level.and_then(|text| text.rsplit("r=").next()).map(str::to_owned);
    assert!(left(after.field("ratelimit")) > left(before.as_deref()), "{:?} {before:?}", after.field("ratelimit"));
    assert_eq!(house.metric("tollgate_cache_answers{route=\"chat\",what=\"hit\"}").await, Some(6.0));
    assert_eq!(house.metric("tollgate_cache_entries{route=\"chat\"}").await, Some(1.0));
}

#[tokio::test]
async fn what_is_asked_otherwise_or_by_somebody_else_is_another_question() {
    let (server, house) = scene(CACHE).await;
    let questions = [
        ("acme", ("hi", "", "")),
        ("other", ("hi", "", "")),
        ("acme", ("hi ", "", "")),
        ("acme", ("hi", r#","max_tokens":100"#, "")),
        ("acme", ("hi", r#","temperature":0"#, "")),
        ("acme", ("hi", "", "Accept: text/plain\r\n")),
        ("acme", ("hi", "", "Accept-Language: de\r\n")),
        ("acme", ("hi", "", "X-Team: a\r\n")),
        ("acme", ("hi", "", "X-Team: b\r\n")),
    ];
    for round in [MISS, HIT] {
        for (tenant, question) in questions {
            assert_eq!(state(&chat(&house, tenant, question).await), round, "{tenant} {question:?}");
        }
    }
    assert_eq!(server.count(), questions.len());
}

#[tokio::test]
async fn both_sides_may_say_no() {
    let (server, house) = scene(CACHE).await;
    for prompt in ["PRIVATE", "COOKIE", "BRIEF"] {
        for _ in 0..2 {
            let reply = chat(&house, "acme", (prompt, "", "")).await;
            assert_eq!(state(&reply), (200, None), "{prompt}");
        }
    }
    assert_eq!(server.count(), 6);
    for _ in 0..2 {
        assert_eq!(chat(&house, "acme", ("FAILS", "", "")).await.status, 502);
    }
    assert_eq!(server.count(), 8);
    // Too large to be kept, and whole all the same.
    for _ in 0..2 {
        let reply = chat(&house, "acme", ("LONG", "", "")).await;
        assert!(state(&reply) == MISS && reply.text().len() > 2 << 20);
    }
    assert_eq!(server.count(), 10);
    for _ in 0..2 {
        assert_eq!(state(&chat(&house, "acme", ("hi", "", "Cache-Control: no-store\r\n")).await), (200, None));
    }
    assert_eq!(server.count(), 12);
    assert_eq!(state(&chat(&house, "acme", ("hi", "", "")).await), MISS);
    let fresh = chat(&house, "acme", ("hi", "", "Cache-Control: no-cache\r\n")).await;
    assert_eq!(state(&fresh), MISS);
    let kept = chat(&house, "acme", ("hi", "", "")).await;
    assert_eq!((state(&kept), kept.text()), (HIT, fresh.text()), "the fresh one took its place");
    assert_eq!(server.count(), 14);
}

#[tokio::test]
async fn streams_are_never_kept_and_routes_keep_nothing_unless_they_say_so() {
    let (server, house) = scene(CACHE).await;
    for _ in 0..2 {
        assert_eq!(state(&chat(&house, "acme", ("hi", r#","stream":true"#, "")).await), (200, None));
    }
    assert_eq!(server.count(), 2);
    let (server, house) = scene("").await;
    for _ in 0..2 {
        assert_eq!(state(&chat(&house, "acme", ("hi", "", "")).await), (200, None));
    }
    assert_eq!(server.count(), 2);
    assert_eq!(house.metric("tollgate_cache_entries{route=\"chat\"}").await, None);
}

#[tokio::test]
async fn a_reload_begins_with_nothing() {
    let (server, house) = scene(CACHE).await;
    assert_eq!(state(&chat(&house, "acme", ("hi", "", "")).await), MISS);
    house.configure(&config(&server.url(), CACHE).replace("max_output_tokens: 500", "max_output_tokens: 400"));
    house.reload().expect("good");
    assert_eq!(state(&chat(&house, "acme", ("hi", "", "")).await), MISS);
    assert_eq!(state(&chat(&house, "acme", ("hi", "", "")).await), HIT);
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn an_answer_that_its_reader_did_not_wait_for_is_not_kept() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let server = ModelServer::start(move |_| match counter.fetch_add(1, Ordering::Relaxed) {
        0 => vec![Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half\":".to_vec()), Act::Stay],
        _ => Act::json("{\"whole\":1}"),
    })
    .await;
    let house = House::start(&config(&server.url(), CACHE));
    let mut client = house.plain().await;
    let body = r#"{"model":"tiny","messages":[{"role":"user","content":"hi"}]}"#;
    let fields = format!("{}Content-Type: application/json\r\n", house.bearer("acme"));
    client.send(post("/v1/chat/completions", &fields, body)).await;
    assert_eq!(client.head().await.status, 200);
    drop(client);
    until("the server to be let go", || server.open() == 0).await;
    house.quiet().await;
    let reply = house.plain().await.ask(post("/v1/chat/completions", &fields, body)).await;
    assert_eq!((state(&reply), reply.text().as_str()), (MISS, "{\"whole\":1}"));
}

#[test]
fn what_cannot_be_kept_is_refused_when_it_is_configured() {
    let problems = |config: &str| {
        let house = House::start(
            "runtime: { workers: 2 }
upstreams: { m: { endpoints: [\"http://127.0.0.1:1\"] } }
routes: [{ name: all, path: /a, protocol: none, upstream: m, auth: none }]
",
        );
        house.configure(config);
        match house.reload() {
            Err(StartError::Config(report)) => {
                report.problems.iter().map(|one| one.message.clone()).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    let good = config("http://127.0.0.1:1", CACHE);
    let found = problems(&good.replace("deterministic: true, ", ""));
    assert_eq!(found, ["model `tiny` is not said to answer the same call the same way every time"]);
    let found = problems(&good.replace("ttl_ms: 60000", "ttl_ms: 60000, max_bytes: 2048, max_entry_bytes: 4096"));
    assert_eq!(found, ["more than `max_bytes`"]);
    let none = "protocol: none, upstream: m, cache: { ttl_ms: 5 }";
    let proxied = good.replace("protocol: openai, models: [tiny], cost_class: small, cache: { ttl_ms: 60000 }", none);
    // A model without a route says what it takes, which is another mistake.
    assert!(problems(&proxied).contains(&"answers of a route with `protocol: none` are not kept".to_owned()));
}

struct Counting(Signature, AtomicUsize);

impl Backend for Counting {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn ready(&self) -> bool {
        true
    }

    fn infer<'a>(&'a self, _: &'a Call) -> BoxFuture<'a, Result<Output, Fault>> {
        let number = self.1.fetch_add(1, Ordering::Relaxed);
        let values = Values::F32(vec![number as f32]);
        let tensor = Tensor { name: "y".into(), dtype: Dtype::Fp32, shape: vec![1, 1], values, at: 0..0 };
        Box::pin(async { Ok(Output { tensors: vec![tensor], compute_us: 5 }) })
    }
}

struct Models;

impl Embed for Models {
    fn shipped(&self, _: &str) -> Result<Arc<dyn Backend>, String> {
        let port = |name: &str| {
            let dims = vec![Dim::Symbolic("batch".into()), Dim::Fixed(1)];
            Port { name: name.into(), dtype: Dtype::Fp32, dims }
        };
        let signature = Signature { inputs: vec![port("x")], outputs: vec![port("y")], ..Signature::default() };
        Ok(Arc::new(Counting(signature, AtomicUsize::new(0))))
    }

    fn file(&self, _: Vec<u8>, _: Option<&str>, _: &[String]) -> Result<Arc<dyn Backend>, String> {
        Err("no files here".to_owned())
    }
}

#[tokio::test]
async fn an_embedded_model_answers_once() {
    let house = House::start_with(
        "runtime: { workers: 1 }
upstreams: { m: { embedded: counting } }
models: { m: { upstream: m, deterministic: true } }
routes: [{ name: oip, path: \"/v2/{*rest}\", protocol: oip, models: [m], cache: { ttl_ms: 60000 } }]
tenants: { acme: { models: [m] } }
",
        Box::new(Models),
    );
    let ask = async |value: u32| {
        let body = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,1],"data":[{value}]}}]}}"#);
        let fields = format!("{}Content-Type: application/json\r\n", house.bearer("acme"));
        house.plain().await.ask(post("/v2/models/m/infer", &fields, &body)).await
    };
    let (first, again, other) = (ask(1).await, ask(1).await, ask(2).await);
    assert_eq!((state(&first), state(&again), state(&other)), (MISS, HIT, MISS), "{}", first.text());
    assert_eq!(first.text(), again.text());
    assert_ne!(first.text(), other.text());
}
