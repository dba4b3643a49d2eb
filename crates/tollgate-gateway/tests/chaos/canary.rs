//! A canary that turns bad in mid-run, again and again, in another way each time: it must be rolled back by itself, soon,
//! with an entry of the audit, and callers of the baseline must see nothing of it. Then it is repaired and tried again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tollgate_testkit::client::post;
use tollgate_testkit::{Act, Client, House, ModelServer, until};

use crate::Tally;
use crate::chaos::moods::Dice;

/// Two releases of the same versions: one deals each call, the other keeps callers with a version.
const MODELS: [&str; 2] = ["dealt", "loyal"];
const CALLERS: u64 = 12;
const GOOD: &str = r#"{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[0.5]}]}"#;
/// A server under load on a busy machine: what takes longer was not rolled back by itself.
const SOON: Duration = Duration::from_mins(1);
/// Calls of the candidate from the one that turned bad to the one that was the last straw, by kind, for `alpha` 0.0001.
/// Those that are under way at the end come on top.
const WINDOW: [(Ill, u64); 5] =
    [(Ill::Errors, 80), (Ill::Slow, 160), (Ill::Breaks, 80), (Ill::Resets, 80), (Ill::Hangs, 80)];

/// What is wrong with the canary.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Ill {
    Nothing,
    Breaks,
    Errors,
    Hangs,
    Resets,
    Slow,
}

impl Ill {
    /// What the audit says of it.
    const fn words(self) -> &'static str {
        match self {
            Self::Breaks => "break their contract",
            Self::Slow => "slower",
            _ => "fail more often",
        }
    }
}

/// The servers of both versions, and what callers of them saw.
pub(crate) struct Canary {
    blue: ModelServer,
    green: ModelServer,
    ill: Arc<AtomicU8>,
    seen: Arc<Seen>,
}

/// What callers saw.
#[derive(Default)]
struct Seen {
    /// Calls that begin now must not reach the candidate.
    sent_back: AtomicBool,
    /// Callers of `loyal` that the candidate has served since its trial began.
    of_green: Mutex<BTreeSet<u64>>,
    answers: AtomicU64,
}

/// One turn for the worse, as it went.
#[derive(Debug)]
pub(crate) struct Fall {
    ill: Ill,
    took: Duration,
    /// Calls that the candidate served meanwhile, of either model.
    calls: [u64; 2],
}

impl Canary {
    pub(crate) async fn start() -> Self {
        let ill = Arc::new(AtomicU8::new(Ill::Nothing as u8));
        let now = Arc::clone(&ill);
        let green = ModelServer::start(move |_| answer(now.load(Relaxed))).await;
        let blue = ModelServer::start(|_| answer(Ill::Nothing as u8)).await;
        Self { blue, green, ill, seen: Arc::default() }
    }

    /// Upstreams and models of the configuration, and the names of tenants.
    pub(crate) fn config(&self) -> [String; 3] {
        // Where the machine stalls, the baseline's callers wait and see no failure.
        let upstream = |server: &ModelServer, first_byte_ms: u32| {
            let times = format!("first_byte_ms: {first_byte_ms}, breaker: {{ open: 200ms, longest: 200ms }}");
            format!("{{ endpoints: [\"{}\"], inflight: {{ max: 32 }}, {times} }}", server.url())
        };
        let (blue, green) = (upstream(&self.blue, 10_000), upstream(&self.green, 2_000));
        let upstreams = format!("  blue: {blue}\n  green: {green}\n");
        let models = MODELS.map(|model| {
            let sticky = if model == "loyal" { "principal" } else { "request" };
            format!(
                "  {model}:
    upstream: blue
    contract:
      inputs: [{{ name: x, dtype: FP32, shape: [batch, 1] }}]
      outputs: [{{ name: y, dtype: FP32, shape: [batch] }}]
      reply: {{ max_bytes: 10000 }}
    versions: {{ blue: {{ weight: 70 }}, green: {{ weight: 30, upstream: green }} }}
    release: {{ sticky: {sticky}, slower: 2, alpha: 0.0001 }}
"
            )
        });
        let tenants = (0..CALLERS).map(|caller| format!(", c{caller}: {{ models: [dealt, loyal] }}")).collect();
        [upstreams, models.concat(), tenants]
    }

    /// Callers that ask both models until they are told to stop.
    pub(crate) fn callers(&self, house: &House, tally: &Arc<Tally>, stop: &Arc<AtomicBool>) -> JoinSet<()> {
        let mut running = JoinSet::new();
        for number in 0..CALLERS {
            let bearer = house.bearer(&format!("c{number}"));
            let (tally, stop, seen) = (Arc::clone(tally), Arc::clone(stop), Arc::clone(&self.seen));
            running.spawn(Caller { at: house.at("plain"), bearer, number, tally, stop, seen }.run());
        }
        running
    }

    /// Lets the canary turn bad in one way after the other until that time, but in each of the first three at least once.
    /// When it ends, the canary is well and on trial.
    pub(crate) async fn run(&self, house: &House, end: Instant) -> Vec<Fall> {
        let mut falls = Vec::new();
        for (round, (ill, window)) in WINDOW.into_iter().cycle().enumerate() {
            if round >= 3 && Instant::now() >= end {
                break;
            }
            self.warm(house).await;
            let fall = self.fall(house, ill).await;
            for (calls, model) in fall.calls.into_iter().zip(MODELS) {
                assert!(calls <= window, "{model}, {ill:?}: {calls} calls of the candidate");
            }
            self.told(house, (round + 1, ill)).await;
            falls.push(fall);
            self.start_again(house).await;
        }
        falls
    }

    /// Waits until both versions of both models have served well for a while.
    async fn warm(&self, house: &House) {
        let began = Instant::now();
        loop {
            let told = [release(house, 0).await, release(house, 1).await];
            let served = |told: &Value, name: &str| of(told, name)["calls"].as_u64().unwrap_or(0);
            // The mark of what is slow is taken from 64 calls of the baseline.
            if told.iter().all(|told| served(told, "green") >= 30 && served(told, "blue") >= 100) {
                return;
            }
            assert!(began.elapsed() < SOON, "a canary that is well gets no calls: {} {}", told[0], told[1]);
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The canary turns bad; how it went until both releases had rolled it back.
    async fn fall(&self, house: &House, ill: Ill) -> Fall {
        let calls = async || {
            let told = [release(house, 0).await, release(house, 1).await];
            for told in &told {
                assert_ne!(of(told, "blue")["standing"], "rolled_back", "the baseline stays: {told}");
            }
            let back = told.iter().all(|told| of(told, "green")["standing"] == "rolled_back");
            (told.map(|told| of(&told, "green")["calls"].as_u64().unwrap_or(0)), back)
        };
        let (before, back) = calls().await;
        assert!(!back, "rolled back while it was well");
        self.ill.store(ill as u8, Relaxed);
        let began = Instant::now();
        loop {
            let (now, back) = calls().await;
            let took = began.elapsed();
            if back {
                self.seen.sent_back.store(true, Relaxed);
                return Fall { ill, took, calls: [now[0] - before[0], now[1] - before[1]] };
            }
            assert!(took < SOON, "{ill:?}: not rolled back after {now:?} of {before:?}: {}", release(house, 1).await);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The audit tells of every rollback so far, and why.
    async fn told(&self, house: &House, (rounds, ill): (usize, Ill)) {
        for model in MODELS {
            let mut entries = Vec::new();
            let is_one = |line: &Value| line["act"] == "release.rollback" && line["what"]["model"] == model;
            until(format_args!("the audit of {model}"), || {
                entries = house.lines().into_iter().filter(is_one).collect();
                entries.len() >= rounds
            })
            .await;
            assert_eq!(entries.len(), rounds, "one entry for each rollback, and none while it was well: {entries:?}");
            let entry = entries.last().expect("at least one");
            let why = entry["what"]["why"].as_str().unwrap_or_default();
            assert!(why.contains(ill.words()), "{ill:?}: {entry}");
            assert_eq!((&entry["by"], &entry["what"]["version"]), (&json!("gateway"), &json!("green")), "{entry}");
            assert_eq!(
                (&entry["what"]["from_weight"], &entry["what"]["to_weight"]),
                (&json!(30), &json!(0)),
                "{entry}"
            );
        }
    }

    /// Calls go to the baseline alone for a while; then the canary is repaired and its trial begins anew.
    async fn start_again(&self, house: &House) {
        let answers = self.seen.answers.load(Relaxed);
        until("calls after the rollback", || self.seen.answers.load(Relaxed) >= answers + 3 * CALLERS).await;
        let loyal = self.seen.of_green.lock().len() as u64;
        assert!(loyal < CALLERS, "somebody stays with the baseline in all but one of a million rounds");
        self.ill.store(Ill::Nothing as u8, Relaxed);
        self.green.forget();
        self.blue.forget();
        self.seen.of_green.lock().clear();
        self.seen.sent_back.store(false, Relaxed);
        for model in MODELS {
            let order = json!({ "model": model, "act": "start", "version": "green", "weight": 30 });
            assert_eq!(house.order("/releases", &order).await.status, 200);
        }
    }
}

impl std::fmt::Display for Fall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self { ill, calls: [dealt, loyal], .. }, took) = (self, self.took.as_millis());
        write!(f, "{ill:?}: rolled back within {took} ms, {dealt} calls dealt and {loyal} of callers who stay")
    }
}

/// The greatest figures of each kind of turn for the worse.
pub(crate) fn worst(falls: &[Fall]) -> Vec<(usize, Fall)> {
    let kinds = WINDOW.into_iter().map(|(ill, _)| {
        let of: Vec<_> = falls.iter().filter(|fall| fall.ill == ill).collect();
        let most = |place: usize| of.iter().map(|fall| fall.calls[place]).max().unwrap_or(0);
        let took = of.iter().map(|fall| fall.took).max().unwrap_or_default();
        (of.len(), Fall { ill, took, calls: [most(0), most(1)] })
    });
    kinds.filter(|(times, _)| *times > 0).collect()
}

fn answer(ill: u8) -> Vec<Act> {
    match ill {
        _ if ill == Ill::Breaks as u8 => Act::json(&GOOD.replace("[0.5]", "[0.5,0.5]")),
        _ if ill == Ill::Errors as u8 => Act::answer("500 Internal Server Error", "", "{}"),
        _ if ill == Ill::Hangs as u8 => vec![Act::Stay],
        _ if ill == Ill::Resets as u8 => vec![Act::Reset],
        _ if ill == Ill::Slow as u8 => {
            [Act::Wait(Duration::from_millis(400))].into_iter().chain(Act::json(GOOD)).collect()
        }
        _ => Act::json(GOOD),
    }
}

async fn release(house: &House, which: usize) -> Value {
    let path = format!("/releases?model={}", MODELS[which]);
    let told: Value = serde_json::from_str(&house.admin("GET", &path).await.text()).expect("JSON");
    told["releases"][0].clone()
}

/// Members of a version by name.
fn of<'a>(release: &'a Value, name: &str) -> &'a Value {
    let versions = release["versions"].as_array().expect("a list");
    versions.iter().find(|version| version["name"] == name).expect("a version")
}

/// One caller of both models.
struct Caller {
    at: std::net::SocketAddr,
    bearer: String,
    number: u64,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    seen: Arc<Seen>,
}

impl Caller {
    async fn run(self) {
        let mut dice = Dice(self.number);
        let mut turn = 0;
        while !self.stop.load(Relaxed) {
            turn += 1;
            self.ask(MODELS[turn % 2]).await;
            sleep(Duration::from_millis(dice.below(40))).await;
        }
    }

    async fn ask(&self, model: &str) {
        let sent_back = self.seen.sent_back.load(Relaxed);
        let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}"#;
        let mut client = Client::plain(self.at).await;
        let fields = format!("{}Content-Type: application/json\r\n", self.bearer);
        let reply = client.ask(post(&format!("/v2/models/{model}/infer"), &fields, body)).await;
        let version = reply.field("x-tollgate-version").unwrap_or("none");
        self.tally.count(format!("{model} of {version} {}", reply.status));
        self.seen.answers.fetch_add(1, Relaxed);
        // A trial that is started anew may have begun meanwhile.
        let still = sent_back && self.seen.sent_back.load(Relaxed);
        match (version, reply.status) {
            ("blue", 200) => {}
            ("green", _) if !still => {
                if model == "loyal" {
                    self.seen.of_green.lock().insert(self.number);
                }
            }
            _ => {
                let what = format!("{model} of {version}, sent back: {still}: {} {}", reply.status, reply.text());
                self.tally.strange.lock().push(what);
            }
        }
    }
}
