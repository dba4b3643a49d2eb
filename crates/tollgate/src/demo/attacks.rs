//! The second half of the tour: what an attacker would try. Every attempt is made for real, and held against what was
//! promised: status, code, and the stage that stops it.

use std::io::Write as _;

use anyhow::Context as _;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, USER_AGENT};
use http::{HeaderValue, Request};
use serde::Serialize;
use serde_json::{Value, json};
use tollgate_core::ruling::Code;
use tollgate_core::stage::Stage;
use tollgate_model::samples::samples;

use super::client::post;
use super::records::Records;
use super::setup::Scene;
use super::tour::question;

/// What a gzip bomb becomes.
const BOMB: usize = 200_000_000;
/// Arrays inside each other.
const NESTED: usize = 50_000;

/// One attempt.
pub(super) struct Attack {
    name: String,
    promised: Verdict,
    how: How,
}

enum How {
    Raw(Vec<u8>),
    Request(Box<Request<Bytes>>),
}

/// An attempt, and what came of it.
#[derive(Serialize)]
pub(super) struct Row {
    /// What was sent.
    pub(super) sent: String,
    pub(super) promised: Verdict,
    pub(super) got: Verdict,
    /// What the record keeps for the operator, and the client never sees.
    pub(super) evidence: Option<String>,
    pub(super) took_us: u64,
    pub(super) as_promised: bool,
}

/// How a request ends.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(super) struct Verdict {
    pub(super) status: u16,
    pub(super) code: Option<String>,
    /// The stage that gave it; none for a request that was served.
    pub(super) stage: Option<String>,
}

impl Verdict {
    pub(super) fn refusal(code: Code, stage: Stage) -> Self {
        Self { status: code.status(), code: Some(code.name().to_owned()), stage: Some(stage.name().to_owned()) }
    }

    const fn served() -> Self {
        Self { status: 200, code: None, stage: None }
    }
}

impl Attack {
    /// Makes the attempt.
    pub(super) async fn run(self, scene: &Scene, records: &Records) -> anyhow::Result<Row> {
        let start = records.end();
        let answer = match self.how {
            How::Raw(bytes) => scene.client.raw(&bytes).await,
            How::Request(request) => scene.client.once(*request).await,
        };
        let answer = answer.with_context(|| format!("trying: {}", self.name))?;
        let found = records.find(answer.id.as_deref(), start).await?;
        let code = answer.code().map(str::to_owned).or(found.code);
        let got = Verdict { status: answer.status, code, stage: found.stage };
        Ok(Row {
            sent: self.name,
            as_promised: got == self.promised,
            promised: self.promised,
            got,
            evidence: found.evidence,
            took_us: super::micros(answer.took),
        })
    }
}

/// Every attempt but the cost flood, which has a file of its own.
pub(super) fn all(scene: &Scene) -> anyhow::Result<Vec<Attack>> {
    let mut attacks = callers(scene)?;
    attacks.extend(calls(scene)?);
    attacks.extend(bodies(scene)?);
    attacks.extend(ruled(scene)?);
    attacks.extend(framing(scene));
    attacks.push(Attack {
        name: "and then an honest request".to_owned(),
        promised: Verdict::served(),
        how: How::Request(Box::new(post("/predict", &scene.keys.demo, digit()?.to_string()))),
    });
    Ok(attacks)
}

fn request(name: impl Into<String>, code: Code, stage: Stage, request: Request<Bytes>) -> Attack {
    Attack { name: name.into(), promised: Verdict::refusal(code, stage), how: How::Request(Box::new(request)) }
}

/// Who asks, and for what.
fn callers(scene: &Scene) -> anyhow::Result<Vec<Attack>> {
    let (key, body) = (&scene.keys.demo, digit()?.to_string());
    let mut keyless = post("/predict", key, body.clone());
    keyless.headers_mut().remove(AUTHORIZATION);
    let mut twice = post("/predict", key, body.clone());
    twice.headers_mut().insert("x-api-key", HeaderValue::try_from(key)?);
    // A key of the right form and a true checksum would be a key that somebody drew; this one is a letter off.
    let last = if key.ends_with('a') { 'b' } else { 'a' };
    let forged: String = key.chars().take(key.chars().count() - 1).chain([last]).collect();
    let unload = post("/v2/repository/models/digits/unload", key, "{}");
    Ok(vec![
        request("no key", Code::Unauthenticated, Stage::Auth, keyless),
        request("a forged key", Code::Unauthenticated, Stage::Auth, post("/predict", &forged, body.clone())),
        request("two credentials in one request", Code::BadRequest, Stage::Auth, twice),
        request("model control: unload a model", Code::NotFound, Stage::Routes, unload),
        request("a model that nobody serves", Code::NotFound, Stage::Parse, post("/predict/gpt", key, body.clone())),
        request(
            "a model of another tenant",
            Code::Forbidden,
            Stage::Authz,
            post("/predict/digits", &scene.keys.flood, body),
        ),
    ])
}

/// Tensors that break the contract.
fn calls(scene: &Scene) -> anyhow::Result<Vec<Attack>> {
    let key = &scene.keys.demo;
    let infer = |body: String| post("/v2/models/digits/infer", key, body);
    let claim = |rows: u64| {
        let tensor = json!({ "name": "image", "shape": [rows, 1, 8, 8], "datatype": "FP32", "data": [0] });
        json!({ "inputs": [tensor] }).to_string()
    };
    // 64 pixels each.
    let (giga, tera) = (claim(15_625_000), claim(15_625_000_000));
    let pixels = vec![1; 56];
    let tensor = json!({ "name": "image", "shape": [1, 1, 7, 8], "datatype": "FP32", "data": pixels });
    let shape = json!({ "inputs": [tensor] }).to_string();
    let mut bright = digit()?;
    *bright.pointer_mut("/features/10").context("a digit has 64 pixels")? = json!(99);
    let nan = digit()?.to_string().replacen("[0.0", "[NaN", 1);
    let dear = json!({ "name": "x", "shape": [64, 4], "datatype": "FP32", "data": vec![0; 256] });
    let dear = json!({ "inputs": [dear] }).to_string();
    Ok(vec![
        request("wrong shape: 7x8 pixels for 8x8", Code::InvalidCall, Stage::Contract, infer(shape)),
        request("out of range: a pixel of 99, of 16", Code::InvalidCall, Stage::Contract, {
            post("/predict", key, bright.to_string())
        }),
        request("NaN for a pixel", Code::BadRequest, Stage::Parse, post("/predict", key, nan)),
        request(claimed("10^9", &giga), Code::InvalidCall, Stage::Parse, infer(giga)),
        request(claimed("10^12", &tera), Code::InvalidCall, Stage::Parse, infer(tera)),
        request("a call dearer than its budget can ever hold", Code::TooExpensive, Stage::Limits, {
            post("/v2/models/slow/infer", &scene.keys.flood, dear)
        }),
    ])
}

fn claimed(elements: &str, body: &str) -> String {
    format!("{elements} elements claimed in {} bytes", body.len())
}

/// Bodies that break parsers.
fn bodies(scene: &Scene) -> anyhow::Result<Vec<Attack>> {
    let key = &scene.keys.demo;
    let deep = format!("{{\"features\":{}{}}}", "[".repeat(NESTED), "]".repeat(NESTED));
    let digit = digit()?;
    let features = digit.get("features").context("a digit has pixels")?;
    let twice = format!("{{\"features\":{features},\"features\":{features}}}");
    let bomb = bomb()?;
    let name = format!("gzip bomb: {} kB become {} MB", bomb.len() / 1000, BOMB / 1_000_000);
    let mut bomb = post("/predict", key, bomb);
    bomb.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Ok(vec![
        request(
            format!("{NESTED} arrays inside each other"),
            Code::BadRequest,
            Stage::Parse,
            post("/predict", key, deep),
        ),
        request("one key twice in an object", Code::BadRequest, Stage::Parse, post("/predict", key, twice)),
        request(name, Code::TooLarge, Stage::Intake, bomb),
    ])
}

/// What only the rules know to be bad: both are sound requests of a sound caller.
fn ruled(scene: &Scene) -> anyhow::Result<Vec<Attack>> {
    let key = &scene.keys.demo;
    let mut scan = post("/predict", key, digit()?.to_string());
    scan.headers_mut().insert(USER_AGENT, HeaderValue::from_static("sqlmap/1.8.4#stable (https://sqlmap.org)"));
    let mut fetch = digit()?;
    fetch["image_url"] = json!("http://169.254.169.254/latest/meta-data/iam/");
    Ok(vec![
        request("a scanner that says its name", Code::WafBlocked, Stage::Waf, scan),
        request("a URL of the cloud's metadata service", Code::WafBlocked, Stage::Waf, {
            post("/predict", key, fetch.to_string())
        }),
    ])
}

/// White space, which JSON allows anywhere: what is left after a parser without a cap has read it is a good request.
fn bomb() -> anyhow::Result<Vec<u8>> {
    let block = vec![b' '; 1_000_000];
    let mut coder = GzEncoder::new(Vec::new(), Compression::default());
    for _ in 0..BOMB / block.len() {
        coder.write_all(&block)?;
    }
    Ok(coder.finish()?)
}

/// What no HTTP client sends: bytes by hand over the same TLS.
fn framing(scene: &Scene) -> Vec<Attack> {
    let (host, key) = (scene.address, &scene.keys.demo);
    let raw = |name: &str, code, stage, bytes: String| Attack {
        name: name.to_owned(),
        promised: Verdict::refusal(code, stage),
        how: How::Raw(bytes.into_bytes()),
    };
    let head = format!("POST /predict HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n");
    let json = "Content-Type: application/json\r\n";
    let hidden = format!("0\r\n\r\nGET /v2 HTTP/1.1\r\nHost: {host}\r\n\r\n");
    vec![
        raw(
            "smuggling: Content-Length and chunked",
            Code::BadRequest,
            Stage::Hygiene,
            format!("{head}{json}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{hidden}"),
        ),
        raw(
            "smuggling: two Content-Lengths",
            Code::BadRequest,
            Stage::Hygiene,
            format!("{head}{json}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()),
        ),
        raw(
            "smuggling: lines that end in a bare LF",
            Code::BadRequest,
            Stage::Hygiene,
            format!("GET /health HTTP/1.1\nHost: {host}\n\n"),
        ),
        raw(
            "32 MiB announced, not a byte of it sent",
            Code::TooLarge,
            Stage::Intake,
            format!("{head}{json}Content-Length: {}\r\n\r\n", 32_u32 << 20),
        ),
    ]
}

/// A question that the gateway answers: the first held-out digit.
fn digit() -> anyhow::Result<Value> {
    Ok(question(samples("digits_cnn").first().context("the samples are in the binary")?))
}
