//! What it costs to know who is asking: an API key, a token that was seen before, and an ES256 token that was not. CPU time
//! of the threads that ask, so that other work on the machine does not count; alone, and by two threads that ask the same
//! layer for the same callers.
//!
//! `auth [--json]`. The exit code is 1 if a bar is missed.
#![expect(clippy::print_stdout, reason = "a program that prints its results")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::IpAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method, Version};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tollgate_core::check::Checker;
use tollgate_core::identity::Peer;
use tollgate_core::secret::Secret;
use tollgate_core::time::Tick;
use tollgate_layers::auth::{
    Asking, Auth, AuthConfig, IdKey, KeyFile, KeyNames, KeyRing, KeyRoom, KeySet, Keys, NewKey, PepperValue, Timestamp,
    TokenNames, Tokens,
};
use tollgate_layers::authz::TenantConfig;
use tollgate_layers::hygiene::Head;
use tollgate_layers::routes::AuthNeed;

const NOW: u64 = 1_800_000_000;
/// Different callers.
const CALLERS: usize = 1_000;
/// Rounds of a scene, of which the median counts.
const ROUNDS: usize = 15;
/// Questions of a round, where each is answered out of a table.
const QUESTIONS: usize = 20_000;

struct Row {
    what: &'static str,
    threads: usize,
    us: f64,
    bar_us: f64,
}

fn main() -> ExitCode {
    let scene = Scene::new();
    let mut rows = Vec::new();
    for threads in [1, 2] {
        let (keys, tokens) = (&scene.keys, &scene.tokens);
        let known = scene.auth();
        rows.push(Row { what: "API key", threads, us: median(|| ask(&known, keys, QUESTIONS, threads)), bar_us: 1.5 });
        ask(&known, tokens, CALLERS, 1);
        rows.push(Row {
            what: "token, seen before",
            threads,
            us: median(|| ask(&known, tokens, QUESTIONS, threads)),
            bar_us: 3.0,
        });
        // Threads take turns: each token is new to the layer once.
        let us = median(|| ask(&scene.auth(), tokens, CALLERS / threads, threads));
        rows.push(Row { what: "token, ES256, first", threads, us, bar_us: 150.0 });
    }
    if std::env::args().any(|arg| arg == "--json") {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| json!({ "what": row.what, "threads": row.threads, "us": row.us, "bar_us": row.bar_us }))
            .collect();
        println!("{}", json!({ "rows": rows }));
    } else {
        println!("{:<24} {:>8} {:>14} {:>8}", "credential", "threads", "CPU µs each", "bar");
        for Row { what, threads, us, bar_us } in &rows {
            println!("{what:<24} {threads:>8} {us:>14.2} {bar_us:>8.1}");
        }
    }
    if rows.iter().all(|row| row.us <= row.bar_us) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Scene {
    keys: Vec<Head>,
    tokens: Vec<Head>,
    file: KeyFile,
    room: Arc<KeyRoom>,
}

impl Scene {
    fn new() -> Self {
        let mut file = KeyFile::default();
        let value = pepper();
        let mut random = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).expect("random numbers");
        let issued = Timestamp::of_unix_ms((NOW - 60) * 1000);
        let keys = (0..CALLERS)
            .map(|_| {
                let request =
                    NewKey { env: "bench".into(), tenant: "acme".into(), created_by: "me".into(), ..NewKey::default() };
                let pepper = PepperValue { id: "v1", value: &value };
                let key = file.issue(request, pepper, &mut random, issued).expect("a key");
                head(key.reveal())
            })
            .collect();
        let signer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let (x, y) = signer.public_key().as_ref()[1..].split_at(32);
        let set = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "a", "x": b64(x), "y": b64(y) }] });
        let room = Arc::new(KeyRoom::default());
        room.put(KeySet::parse(set.to_string().as_bytes(), u64::MAX).expect("a key set").0);
        let tokens = (0..CALLERS).map(|i| head(&token(&signer, i))).collect();
        Self { keys, tokens, file, room }
    }

    /// A layer that has seen nobody yet.
    fn auth(&self) -> Auth {
        let config: AuthConfig = serde_json::from_value(config()).expect("a section");
        let tenants = BTreeMap::from([("acme".to_owned(), TenantConfig::default())]);
        let (models, ids) = (BTreeMap::new(), IdKey::new([7; 16]));
        let mut check = Checker::default();
        let peppers = config.compile(&mut check, &BTreeMap::from([("v1".to_owned(), pepper())]));
        let names = KeyNames { tenants: &tenants, models: &models, ids };
        let keys = Keys::compile(&self.file, &mut check, &names, peppers);
        let (room, replays) = (|_: &str| (Arc::clone(&self.room), None), Arc::default());
        let (seed, resource) = ([9; 16], None);
        let names = TokenNames { tenants: &tenants, ids, room: &room, seed, resource, dpop: false, replays: &replays };
        let tokens = Tokens::compile(&config.issuers, &mut check, &names);
        assert!(check.is_clean(), "{:?}", check.finish().0);
        Auth::new(Arc::new(KeyRing::new(keys)), tokens)
    }
}

fn config() -> Value {
    json!({
        "keys": { "file": "keys.yaml", "pepper": { "v1": "secret://file/x" } },
        "issuers": { "corp": {
            "issuer": "https://id.test/", "audience": ["https://api.test"], "jwks": { "file": "corp.jwks" }, "tenant": "acme",
        } },
    })
}

fn pepper() -> Secret {
    Secret::new(b"a pepper of a benchmark, 32 bytes".to_vec())
}

fn token(signer: &EcdsaKeyPair, i: usize) -> String {
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": "a" });
    let claims = json!({
        "iss": "https://id.test/", "aud": "https://api.test", "sub": format!("service-{i}"), "client_id": "batch-scoring",
        "jti": format!("6f1d2c4e-{i:04}"), "iat": NOW, "exp": NOW + 3_600, "scope": "infer list",
    });
    let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = signer.sign(&SystemRandom::new(), signed.as_bytes()).expect("it signs");
    format!("{signed}.{}", b64(signature))
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn head(credential: &str) -> Head {
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("*/*"));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {credential}")).expect("a value"));
    let (uri, host) = ("/predict".parse().expect("a target"), "gate.test".into());
    Head { method: Method::POST, uri, version: Version::HTTP_11, headers, host }
}

/// CPU microseconds that one question takes, with so many threads that each ask so many.
fn ask(auth: &Auth, heads: &[Head], questions: usize, threads: usize) -> f64 {
    let spent: u64 = std::thread::scope(|scope| {
        let run = |thread: usize| move || asked(auth, heads, (thread * questions)..((thread + 1) * questions));
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(run(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("it asked")).sum()
    });
    #[expect(clippy::cast_precision_loss, reason = "for the eye")]
    let each = spent as f64 / 1000.0 / (questions * threads) as f64;
    each
}

/// CPU nanoseconds of this thread for these questions.
fn asked(auth: &Auth, heads: &[Head], questions: std::ops::Range<usize>) -> u64 {
    let ip: IpAddr = [192, 0, 2, 7].into();
    let peer =
        Peer { ip, port: 4711, local: (ip, 443), listener: "public".into(), sni: None, tls: true, certificate: None };
    let began = cpu_ns();
    for (i, question) in questions.enumerate() {
        // Spread over the callers; each of a first round once.
        let head = &heads[question % heads.len()];
        let unix_ms = NOW * 1000 + i as u64 / 1_000;
        let asking = Asking { head, peer: &peer, from: ip, at: Tick(0), unix_ms, need: AuthNeed::Required };
        let answer = pin!(auth.identify(black_box(&asking))).poll(&mut Context::from_waker(Waker::noop()));
        match answer {
            Poll::Ready(Ok(who)) => drop(black_box(who)),
            other => panic!("not accepted: {other:?}"),
        }
    }
    cpu_ns() - began
}

fn cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

fn median(run: impl Fn() -> f64) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| run()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds.get(ROUNDS / 2).copied().unwrap_or_default()
}
