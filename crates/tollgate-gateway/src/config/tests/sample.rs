//! A configuration type with every construct that a real one uses, and files in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ByteSize, DurationText, Loaded, Report, SecretSource as SecretRef, Sources, load};

/// The root.
#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sample {
    /// Version of this format. It is 1.
    #[schemars(range(min = 1, max = 1))]
    pub(super) version: u32,
    /// How strict the defaults are.
    #[serde(default)]
    pub(super) profile: Profile,
    /// Sockets by name.
    pub(super) listeners: BTreeMap<String, Listener>,
    /// Model servers by name.
    #[serde(default)]
    pub(super) upstreams: BTreeMap<String, Upstream>,
    #[serde(default)]
    pub(super) models: BTreeMap<String, Model>,
    #[serde(default)]
    pub(super) routes: Vec<Route>,
    #[serde(default)]
    pub(super) tenants: BTreeMap<String, Tenant>,
    pub(super) memory: Option<Memory>,
}

#[derive(Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Profile {
    #[default]
    Standard,
    Strict,
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) struct Listener {
    /// Address and port. Port 0 asks the system for one.
    #[schemars(extend("format" = "socket-address"))]
    pub(super) bind: String,
    /// Who may reach it.
    #[serde(default)]
    pub(super) exposure: Exposure,
    pub(super) backlog: Option<u16>,
    #[serde(default)]
    pub(super) http2: bool,
}

/// Variants with docs become a `oneOf` of constants.
#[derive(Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Exposure {
    /// This machine only.
    #[default]
    Loopback,
    /// Private networks.
    Private,
    /// Everyone.
    Public,
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) struct Upstream {
    #[schemars(length(min = 1, max = 3))]
    pub(super) endpoints: Vec<String>,
    pub(super) key: Option<SecretRef>,
    #[serde(default = "ten_seconds")]
    pub(super) timeout: DurationText,
    pub(super) balance: Option<Balance>,
    pub(super) health: Option<Health>,
}

fn ten_seconds() -> DurationText {
    DurationText::from_secs(10)
}

/// Externally tagged, with a unit variant.
#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Balance {
    RoundRobin,
    Hash(HashBy),
    Weighted { weights: Vec<u8> },
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) struct HashBy {
    pub(super) header: String,
}

/// Internally tagged.
#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Health {
    Http { path: String, every: Option<DurationText> },
    Probe(Probe),
    Tcp,
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) struct Probe {
    pub(super) port: u16,
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) struct Model {
    /// Name of an upstream.
    pub(super) upstream: String,
    pub(super) range: Option<(f64, f64)>,
    #[serde(default)]
    pub(super) share: f32,
    #[serde(default)]
    pub(super) shape: Vec<Dimension>,
    pub(super) offset: Option<i32>,
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
    pub(super) quota: Option<f64>,
}

/// Untagged scalar: a name or a number.
#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Dimension {
    Fixed(u32),
    Symbol(String),
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) struct Route {
    #[schemars(length(min = 1, max = 16))]
    pub(super) name: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) methods: std::collections::BTreeSet<Method>,
    pub(super) rewrite: Option<Rewrite>,
    #[serde(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Method {
    Get,
    Post,
}

/// Untagged: a string or one of two mappings.
#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Rewrite {
    To(String),
    Parts(Parts),
    Pattern(Pattern),
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) struct Parts {
    pub(super) from: String,
    pub(super) to: String,
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) struct Pattern {
    pub(super) pattern: String,
    pub(super) with: String,
}

/// Flattened into its user.
#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) struct Common {
    pub(super) log: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tenant {
    #[serde(default)]
    pub(super) models: Vec<String>,
    #[serde(default = "one")]
    pub(super) weight: Weight,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) pepper: Option<BTreeMap<String, SecretRef>>,
}

fn one() -> Weight {
    Weight(1)
}

/// Refused by `TryFrom`, beyond what a schema says.
#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "u8", into = "u8")]
#[schemars(with = "u8")]
pub(super) struct Weight(pub(super) u8);

impl Clone for Weight {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl TryFrom<u8> for Weight {
    type Error = String;

    fn try_from(weight: u8) -> Result<Self, String> {
        if weight.is_multiple_of(13) { Err(format!("`{weight}` is a multiple of 13")) } else { Ok(Self(weight)) }
    }
}

impl From<Weight> for u8 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) struct Memory {
    /// Bytes in flight.
    pub(super) bodies: ByteSize,
    pub(super) wait: Option<DurationText>,
}

/// Loads the first of these files, with the others beside it.
pub(super) fn load_files(files: &[(String, Vec<u8>)]) -> Result<Loaded<Sample>, Report> {
    let find = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path);
    let read = |path: &Path| find(path).map(|(_, bytes)| bytes.clone()).ok_or(io::ErrorKind::NotFound.into());
    let list = |directory: &Path| {
        let inside = files.iter().map(|(name, _)| Path::new(name)).filter(|path| path.parent() == Some(directory));
        let names: Vec<String> =
            inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).rev().collect();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    };
    let main = files.first().map_or("main.yaml", |(name, _)| name.as_str());
    load(Path::new(main), &Sources { read: &read, list: &list, env: &environment })
}

/// Loads one file.
pub(super) fn load_text(text: &str) -> Result<Loaded<Sample>, Report> {
    load_files(&[("main.yaml".to_owned(), text.as_bytes().to_vec())])
}

/// The environment of every test. `hunter2` must never show in a message.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "BIND" => "127.0.0.1:8443",
        "EMPTY" => "",
        "HUGE" => "99999999",
        "KEY" => "hunter2",
        "LIST" => "[hunter2, b]\nevil: true",
        "MODE" => "strict",
        "NUMBER" => "16",
        "TRUE" => "true",
        _ => return None,
    };
    Some(value.to_owned())
}

/// A good file that uses everything.
pub(super) const GOOD: &str = r#"# comment
version: 1
profile: strict
listeners:
  public: { bind: "0.0.0.0:8443", exposure: public, backlog: 1024, http2: true }
  admin:
    bind: ${BIND}
upstreams:
  triton:
    endpoints: ["http://10.0.0.5:8000", http://10.0.0.6:8000]
    key: secret://file/keys/triton.key
    timeout: 30s
    balance: round_robin
    health: { kind: http, path: /v2/health/ready, every: 250ms }
  chat.v1:
    endpoints: [x]
    key: "secret://env/CHAT_KEY"
    balance:
      hash: { header: x-user }
    health: { kind: tcp }
  other:
    endpoints: [x]
    balance: { weighted: { weights: [1, 2] } }
    health:
      kind: probe
      port: ${NUMBER}
models:
  llama-3.1: { upstream: chat.v1, range: [-1.5, 1], share: 0.25, shape: [batch, 9], offset: -3, quota: 1 }
routes:
  - name: all
    path: "/v2/models/{model}/infer"
    methods: [POST, GET]
    rewrite: /x
    log: true
  - { name: "$${x}", path: "${NONE:-/default}", rewrite: { from: a, to: b } }
tenants:
  acme:
    models: [llama-3.1]
    weight: 4
    labels: { tier: "gold", port: "${NUMBER}" }
    pepper: { v1: "secret://file:/etc/pepper" }
  empty: {}
memory: { bodies: 256MiB, wait: ~ }
"#;
