//! Chaos: model servers that hang, reset, are slow, lie, fail in bursts, say that they are busy, disappear and return, and a
//! canary that turns bad, under load, for as long as `TOLLGATE_CHAOS_SECONDS` says (`cargo xtask chaos`); a few seconds in
//! the test suite.
//!
//! What must hold: every answer belongs to its request; what a caller is told is one of few things, and a 503 says when to
//! come back; ejection never takes more than half of the endpoints; what is ejected or behind an open breaker gets no calls
//! but those that try it (`chaos/drill.rs`); a canary that turns bad is rolled back by itself within its window, and callers
//! of the baseline see nothing (`chaos/canary.rs`); nothing panics; memory does not grow; and once it is over, everything is
//! well again and nothing is left behind.

mod chaos {
    pub(crate) mod canary;
    pub(crate) mod drill;
    pub(crate) mod moods;
}

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use chaos::canary::{Canary, Fall, worst};
use chaos::drill::{self, Drill};
use chaos::moods::{BAD, Dice, Mood, Moody, acts};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tollgate_testkit::client::post;
use tollgate_testkit::{House, ModelServer};

fn config(servers: &[Moody], spare: &ModelServer, canary: &Canary) -> String {
    let [upstreams, versions, callers] = canary.config();
    let urls: Vec<String> = servers.iter().map(|server| format!("http://{}", server.at)).collect();
    let (tensors, chats) = urls.split_at(4);
    format!(
        "runtime: {{ workers: 2 }}
queue: {{ deadline: 2s }}
upstreams:
  m:
    endpoints: {tensors:?}
    connect_ms: 500
    first_byte_ms: 700
    stream_idle_ms: 700
    inflight: {{ max: 32 }}
    health: {{ path: /v2/health/ready, every: 500ms, timeout: 300ms, passes: 1 }}
    ejection: {{ sweep: 500ms, base: 1s, longest: 3s }}
    breaker: {{ open: 200ms, longest: 1s }}
    balance: {{ slow_start: 1s }}
  chat:
    endpoints: {chats:?}
    connect_ms: 500
    first_byte_ms: 700
    stream_idle_ms: 700
    inflight: {{ max: 32 }}
    ejection: {{ sweep: 500ms, base: 1s, longest: 3s }}
    breaker: {{ open: 200ms, longest: 1s }}
    balance: {{ prefix_affinity: true, slow_start: 1s }}
  spare: {{ endpoints: [\"{}\"], inflight: {{ max: 64 }} }}
{upstreams}models:
  m: {{ upstream: m, contract: {{ inputs: [{{ name: x, dtype: FP32, shape: [batch, 2] }}] }} }}
  talks: {{ upstream: chat, fallback: [{{ upstream: spare }}] }}
{versions}routes:
  - {{ name: dealt, path: /v2/models/dealt/infer, methods: [POST], protocol: oip, models: [dealt], timeout_ms: 12000 }}
  - {{ name: loyal, path: /v2/models/loyal/infer, methods: [POST], protocol: oip, models: [loyal], timeout_ms: 12000 }}
  - {{ name: oip, path: \"/v2/{{*rest}}\", protocol: oip, models: [m], auth: none, timeout_ms: 3000 }}
  - {{ name: chat, path: /v1/chat/completions, protocol: openai, models: [talks], timeout_ms: 3000 }}
tenants: {{ acme: {{ models: [talks, m], routes: [chat], budgets: [compute] }}{callers} }}
limits:
  budgets: [{{ name: compute, per: tenant, burst: 1000000000, refill_per_sec: 1000000000 }}]
record: {{ access: \"off\" }}
",
        spare.url()
    )
}

/// What was seen.
#[derive(Default)]
struct Tally {
    statuses: Mutex<BTreeMap<String, u64>>,
    mixed_up: AtomicUsize,
    waitless: AtomicUsize,
    strange: Mutex<Vec<String>>,
    /// How often a breaker was seen that is not closed.
    open: AtomicUsize,
    answered: AtomicU64,
    sent: AtomicU64,
}

impl Tally {
    fn count(&self, what: String) {
        *self.statuses.lock().entry(what).or_default() += 1;
    }
}

struct Asker {
    at: SocketAddr,
    bearer: String,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
}

impl Asker {
    async fn run(self, number: u64) {
        let mut dice = Dice(number);
        let mut round = 0;
        while !self.stop.load(Relaxed) {
            round += 1;
            let id = format!("{number}-{round}");
            let chats = dice.below(2) == 0;
            let leaves = dice.below(20) == 0;
            let patience = if leaves { Duration::from_millis(dice.below(120)) } else { Duration::from_secs(12) };
            match timeout(patience, self.ask(&id, chats)).await {
                Ok(()) => {}
                Err(_) if leaves => self.tally.count("left".to_owned()),
                Err(_) => self.tally.strange.lock().push(format!("no answer for {id}")),
            }
            sleep(Duration::from_millis(dice.below(20))).await;
        }
    }

    async fn ask(&self, id: &str, chats: bool) {
        let tally = &self.tally;
        tally.sent.fetch_add(1, Relaxed);
        let mut client = tollgate_testkit::Client::plain(self.at).await;
        let request = if chats {
            // Long enough for beginnings to be told apart.
            let text = "s".repeat(1500);
            let body = format!(
                "{{\"model\":\"talks\",\"stream\":true,\"user\":\"{id}\",\"max_tokens\":8,\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]}}"
            );
            post("/v1/chat/completions", &format!("{}Content-Type: application/json\r\n", self.bearer), &body)
        } else {
            let body = format!(
                "{{\"id\":\"{id}\",\"inputs\":[{{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,2]}}]}}"
            );
            post("/v2/models/m/infer", "", &body)
        };
        let reply = client.ask(request).await;
        let text = reply.text();
        let kind = if chats { "chat" } else { "tensors" };
        match reply.status {
            200 => {
                let other = text.contains("\"id\":\"") && !text.contains(&format!("\"id\":\"{id}\""));
                // A liar's own id is its own.
                if other && !text.contains("\"id\":\"none\"") {
                    tally.mixed_up.fetch_add(1, Relaxed);
                }
                tally.answered.fetch_add(1, Relaxed);
                let whole = if reply.whole { "" } else { " cut" };
                let way = reply.field("x-tollgate-fallback").map_or("", |_| " by fallback");
                tally.count(format!("{kind} 200{whole}{way}"));
            }
            502 | 504 => tally.count(format!("{kind} {}", reply.status)),
            503 => {
                if reply.field("retry-after").is_none() {
                    tally.waitless.fetch_add(1, Relaxed);
                }
                tally.count(format!("{kind} 503 {}", reply.code()));
            }
            status => tally.strange.lock().push(format!("{kind} {status}: {text}")),
        }
    }
}

/// Resident memory of this process, servers and clients included, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// Looks at how every endpoint stands: ejection takes half of them at most, and a breaker is seen when it is open.
async fn look(house: &House, tally: &Tally) {
    for face in shown(house).await["backends"].as_array().expect("a list") {
        let endpoints = face["endpoints"].as_array().expect("a list");
        let out = |endpoint: &&Value| matches!(endpoint["state"].as_str(), Some("ejected" | "half_open"));
        if endpoints.iter().filter(out).count() > endpoints.len() / 2 {
            tally.strange.lock().push(format!("more than half are ejected: {face}"));
        }
        if face["breaker"] != "closed" {
            tally.open.fetch_add(1, Relaxed);
        }
    }
}

async fn shown(house: &House) -> Value {
    serde_json::from_str(&house.admin("GET", "/backends").await.text()).expect("JSON")
}

async fn wait_for(what: &str, house: &House, mut holds: impl FnMut(&Value) -> bool) {
    let began = Instant::now();
    loop {
        let text = house.admin("GET", "/backends").await.text();
        if holds(&serde_json::from_str(&text).unwrap_or_default()) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain: {what}: {text}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn all_well(shown: &Value) -> bool {
    let faces = shown["backends"].as_array().map_or(&[][..], Vec::as_slice);
    !faces.is_empty()
        && faces.iter().all(|face| {
            let endpoints = face["endpoints"].as_array().map_or(&[][..], Vec::as_slice);
            let well = |endpoint: &Value| {
                matches!(endpoint["state"].as_str(), Some("ready" | "slow_start")) && endpoint["running"] == 0.0
            };
            face["breaker"] == "closed" && endpoints.iter().all(well)
        })
}

#[tokio::test]
async fn a_gateway_before_servers_that_misbehave_stays_well() {
    let seconds = std::env::var_os("TOLLGATE_CHAOS_SECONDS").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(6);
    let seed = std::env::var_os("TOLLGATE_CHAOS_SEED").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(1);
    let mut servers = Vec::new();
    for _ in 0..6 {
        servers.push(Moody::start().await);
    }
    let spare = ModelServer::start(|taken| acts(Mood::Well as u8, taken)).await;
    let canary = Canary::start().await;
    let house = House::start(&config(&servers, &spare, &canary));
    let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let mut askers = JoinSet::new();
    for number in 0..16 {
        let (tally, stop) = (Arc::clone(&tally), Arc::clone(&stop));
        let asker = Asker { at: house.at("plain"), bearer: house.bearer("acme"), tally, stop };
        askers.spawn(asker.run(seed * 1000 + number));
    }
    let mut callers = canary.callers(&house, &tally, &stop);
    let drill = drill::run(&house, &mut servers).await;
    let end = Instant::now() + Duration::from_secs(seconds);
    let (memory, falls) =
        tokio::join!(drive(&house, &mut servers, (&spare, &tally), (seconds, seed)), canary.run(&house, end));
    // It is over.
    for server in &mut servers {
        server.turn(Mood::Well).await;
    }
    wait_for("every endpoint to be well while requests come", &house, |shown| {
        let states = shown.to_string();
        !states.contains("ejected")
            && !states.contains("half_open")
            && !states.contains("unready")
            && !states.contains("\"breaker\":\"open\"")
    })
    .await;
    stop.store(true, Relaxed);
    for running in [&mut askers, &mut callers] {
        while let Some(asker) = running.join_next().await {
            asker.expect("no asker panics");
        }
    }
    house.quiet().await;
    wait_for("every endpoint to be well and at rest", &house, all_well).await;
    report(&house, &tally, (&memory, &drill, &falls)).await;
}

/// How much memory there was, in MiB: the least in the second quarter of the time, and the most ever.
struct Memory {
    least: u64,
    most: u64,
}

/// Changes moods for so long.
async fn drive(
    house: &House,
    servers: &mut [Moody],
    (spare, tally): (&ModelServer, &Tally),
    (seconds, seed): (u64, u64),
) -> Memory {
    let (began, whole) = (Instant::now(), Duration::from_secs(seconds));
    let (mut dice, mut memory) = (Dice(seed), Memory { least: u64::MAX, most: 0 });
    while began.elapsed() < whole {
        // Mostly one or two are bad; now and then all of them.
        let storm = dice.below(8) == 0;
        let bad = BAD[usize::try_from(dice.below(BAD.len() as u64)).expect("small")];
        for server in &mut *servers {
            let chance = if storm { 1 } else { 4 };
            let mood = if dice.below(chance) == 0 { bad } else { Mood::Well };
            server.turn(mood).await;
        }
        spare.forget();
        let until = Instant::now() + Duration::from_millis(300 + dice.below(1500));
        while Instant::now() < until {
            look(house, tally).await;
            sleep(Duration::from_millis(100)).await;
        }
        let now = resident();
        memory.most = memory.most.max(now);
        if (whole / 4..whole / 2).contains(&began.elapsed()) || memory.least == u64::MAX {
            memory.least = memory.least.min(now);
        }
    }
    memory
}

#[expect(clippy::print_stdout, reason = "what `cargo xtask chaos` is run for")]
async fn report(house: &House, tally: &Tally, (memory, drill, falls): (&Memory, &Drill, &[Fall])) {
    let ejections = house.sum("tollgate_upstream_ejections_total").await;
    let retries = house.sum("tollgate_upstream_retries_total").await;
    let fallbacks = house.sum("tollgate_fallbacks_total").await;
    let (sent, answered) = (tally.sent.load(Relaxed), tally.answered.load(Relaxed));
    let open = tally.open.load(Relaxed);
    println!("{sent} sent, {answered} answered; {ejections} ejections, {retries} retries, {fallbacks} fallbacks");
    println!("breakers were seen open {open} times");
    for (what, count) in tally.statuses.lock().iter() {
        println!("{count:>9} {what}");
    }
    println!("{drill}");
    for (times, fall) in worst(falls) {
        println!("{times} times, at most: {fall}");
    }
    // At rest: what is held while so many connections are open, by the servers and callers of this process as well, is not
    // what grows.
    let (Memory { least, most }, after) = (memory, resident());
    println!(
        "resident: at least {least} MiB in the second quarter, {most} MiB at most, {after} MiB at rest in the end"
    );
    assert_eq!(*tally.strange.lock(), Vec::<String>::new());
    assert_eq!(tally.mixed_up.load(Relaxed), 0, "an answer to somebody else");
    assert_eq!(tally.waitless.load(Relaxed), 0, "a 503 that does not say when to come back");
    assert_eq!(house.metric("tollgate_panics_total").await, Some(0.0));
    assert_eq!(house.metric("tollgate_running_exchanges").await, Some(0.0));
    assert!(after <= least + 64 && *most <= least + 512, "memory grew from {least} to {most} and {after} MiB");
    assert!(sent > 100 && answered * 2 > sent, "{answered} of {sent} were answered");
    // In a few seconds there may be no storm.
    assert!(sent < 20_000 || open > 0, "no breaker ever opened");
    assert!(ejections >= 1.0 && fallbacks >= 1.0, "nothing was tried");
}
