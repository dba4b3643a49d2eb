//! The whole configuration document: sections of layers, and the sections that only the gateway knows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_core::guard::{Mode, OnFault, Switch};
use tollgate_core::secret::SecretRef;
use tollgate_layers::auth::AuthConfig;
use tollgate_layers::authz::{AuthzConfig, TenantConfig};
use tollgate_layers::contract::ContractConfig;
use tollgate_layers::cost::{CostConfig, ModelCostConfig};
use tollgate_layers::flood::FloodConfig;
use tollgate_layers::hygiene::HygieneConfig;
use tollgate_layers::intake::IntakeConfig;
use tollgate_layers::limits::LimitsConfig;
use tollgate_layers::network::{Exposure, NetworkConfig};
use tollgate_layers::output::OutputConfig;
use tollgate_layers::parse::ParseConfig;
use tollgate_layers::routes::{Preset, RouteConfig};
use tollgate_layers::waf::WafConfig;

use super::backends::{
    BalanceConfig, BreakerConfig, EjectionConfig, EndpointConfig, FallbackConfig, HealthConfig, HedgeConfig,
    RetryConfig, UpstreamDefaults,
};
use super::oauth::OauthConfig;
use super::versions::{ReleaseConfig, Versions};
use super::{ByteSize, DurationText};
use crate::secrets::SecretsConfig;

/// The configuration of one gateway.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of this format: `1`.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// More files, merged into this one: patterns relative to it, such as `tenants/*.yaml`.
    #[serde(default)]
    pub include: Vec<String>,
    /// Threads.
    #[serde(default)]
    pub runtime: RuntimeConfig,
    /// The budget for bytes in flight.
    #[serde(default)]
    pub memory: MemoryConfig,
    /// Caps and deadlines of connections and heads.
    #[serde(default)]
    pub http: HttpConfig,
    /// Sockets, by name.
    pub listeners: BTreeMap<String, ListenerConfig>,
    /// Certificates, by name.
    #[serde(default)]
    pub certs: BTreeMap<String, CertConfig>,
    /// The admin listener's key.
    #[serde(default)]
    pub admin: Option<AdminConfig>,
    /// Model servers and embedded models, by name.
    #[serde(default)]
    pub upstreams: BTreeMap<String, UpstreamConfig>,
    /// Deadlines and pool sizes of every upstream that does not set its own.
    #[serde(default)]
    pub upstream_defaults: UpstreamDefaults,
    /// Models, by name.
    #[serde(default)]
    pub models: BTreeMap<String, ModelConfig>,
    /// Routes, tried in order; after them come those that presets of upstreams open.
    #[serde(default)]
    pub routes: Vec<RouteConfig>,
    /// Tenants, by name.
    #[serde(default)]
    pub tenants: BTreeMap<String, TenantConfig>,
    /// Framing, hosts, paths, header caps.
    #[serde(default)]
    pub hygiene: HygieneConfig,
    /// Address lists and trusted proxies.
    #[serde(default)]
    pub network: NetworkConfig,
    /// Requests per address.
    #[serde(default)]
    pub flood: FloodConfig,
    /// Credentials.
    #[serde(default)]
    pub auth: AuthConfig,
    /// Authorization.
    #[serde(default)]
    pub authz: AuthzConfig,
    /// Rules written for the web.
    #[serde(default)]
    pub waf: WafConfig,
    /// How bodies are read and decoded.
    #[serde(default)]
    pub intake: IntakeConfig,
    /// Bounds of the one strict pass over a body.
    #[serde(default)]
    pub parse: ParseConfig,
    /// Whether contracts are enforced.
    #[serde(default)]
    pub contract: ContractGuard,
    /// What calls cost.
    #[serde(default)]
    pub cost: CostConfig,
    /// Budgets.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// The line before each upstream.
    #[serde(default)]
    pub queue: QueueConfig,
    /// What leaves with an answer.
    #[serde(default)]
    pub output: OutputConfig,
    /// What is written down.
    #[serde(default)]
    pub record: RecordConfig,
    /// How secrets are come by.
    #[serde(default)]
    pub secrets: SecretsConfig,
    /// What survives a restart.
    #[serde(default)]
    pub state: StateConfig,
}

/// What survives a restart. Only a restart can change it.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// A directory for what was used of calendar quotas, relative to this file; it is made if it is missing, and no two
    /// gateways may share one. Used quotas are written each second, so that a `kill -9` loses at most that; the seed beside
    /// them is secret and readable by its owner only. Default: none, and a restart forgets.
    pub directory: Option<String>,
}

/// Threads.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeConfig {
    /// Worker threads, one runtime and one set of listening sockets each. Default: one per usable core.
    #[schemars(range(min = 1, max = 256))]
    pub workers: Option<usize>,
    /// Threads for inspection of large bodies. Default: half the cores, at least one.
    #[schemars(range(min = 1, max = 256))]
    pub compute_threads: Option<usize>,
}

/// The budget for bytes in flight: every buffered byte of a body, in either direction.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {
    /// Bytes of bodies held at once. Default: `256MiB`, or a quarter of the cgroup's memory limit if that is less.
    pub bodies: Option<ByteSize>,
    /// How many percent of it one tenant may hold. Default: 100.
    #[schemars(range(min = 1, max = 100))]
    pub tenant_share_percent: Option<u8>,
    /// How long a body may wait for room before it is refused, in milliseconds. Default: 1000.
    #[schemars(range(max = 60_000))]
    pub wait_ms: Option<u64>,
}

/// Caps and deadlines of connections and heads.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Open connections of the whole process; above it, none is accepted. Default: 20000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: usize,
    /// Deadlines.
    pub deadlines: DeadlinesConfig,
    /// HTTP/2.
    pub h2: H2Config,
    /// How long running requests may take after a stop was asked for, in milliseconds. Default: 30000.
    #[schemars(range(max = 3_600_000))]
    pub drain_ms: u64,
}

/// Deadlines of a connection, in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadlinesConfig {
    /// For the TLS handshake. Default: 10000.
    #[schemars(range(min = 1, max = 600_000))]
    pub handshake_ms: u64,
    /// For a whole head, from the accept or from its first byte. Default: 10000.
    #[schemars(range(min = 1, max = 600_000))]
    pub head_ms: u64,
    /// For a kept connection without a request. Default: 30000.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub idle_ms: u64,
    /// For a whole body. Default: 120000.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub body_ms: u64,
    /// A body slower than this, over 5 seconds, is refused. Default: 1024.
    pub body_min_bytes_per_sec: u64,
    /// For a client that does not read its answer. Over HTTP/2 that ends the one stream. Default: 30000.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub write_stall_ms: u64,
}

/// HTTP/2.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct H2Config {
    /// Streams at once on one connection. Default: 128.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_concurrent_streams: u32,
    /// Flow-control window of a stream, in bytes. Default: 131072.
    #[schemars(range(min = 65_535, max = 16_777_216))]
    pub stream_window: u32,
    /// Flow-control window of a connection, in bytes. Default: 1048576.
    #[schemars(range(min = 65_535, max = 67_108_864))]
    pub connection_window: u32,
    /// Bytes of a decoded head. Default: 16384.
    #[schemars(range(min = 1024, max = 65_536))]
    pub max_header_list_bytes: u32,
    /// A connection is asked to go after this long, so that load spreads again. Default: 600000.
    #[schemars(range(min = 1000))]
    pub max_connection_age_ms: u64,
    /// For a connection without a stream. Default: 60000.
    #[schemars(range(min = 1))]
    pub idle_ms: u64,
}

/// A listening socket.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Address and port, such as `0.0.0.0:8443`. Port 0 takes a free one.
    pub bind: String,
    /// Who can reach it. An address that is not private must be declared `public`.
    #[serde(default)]
    pub exposure: Exposure,
    /// What it serves. Default: `data`.
    #[serde(default)]
    pub serves: Serves,
    /// TLS. Without it the listener speaks plain HTTP.
    #[serde(default)]
    pub tls: Option<ListenerTls>,
    /// How heads of HTTP/1.1 are checked. Default: `strict`.
    #[serde(default)]
    pub head_checks: HeadChecks,
}

/// How heads of HTTP/1.1 are checked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadChecks {
    /// For conformance runs, on loopback only: what a head check refuses is shown to the rules first, and served where it
    /// can be.
    Lenient,
    /// What is malformed is refused.
    #[default]
    Strict,
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Serves {
    /// Metrics, health, reload: for operators, with a key, on loopback.
    Admin,
    /// Inference.
    #[default]
    Data,
}

/// TLS of a listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// Names of `certs`, chosen by SNI; the first serves clients that name no known host.
    pub certs: Vec<String>,
    /// The lowest version. Default: `"1.2"`.
    #[serde(default)]
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), forward-secret AEAD suites only.
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    V13,
}

/// A certificate from files. Both files are read again on reload and when they change.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertConfig {
    /// Host names that it serves, exact or `*.example.com`.
    pub names: Vec<String>,
    /// PEM file with the chain, leaf first; relative to this file.
    pub cert: String,
    /// The private key, PEM: `secret://file/key.pem`.
    pub key: SecretRef,
}

/// The field that a model server reads its key from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum KeyHeader {
    /// `api-key`, as Azure's OpenAI service does.
    ApiKey,
    /// `Authorization: Bearer …`, as vLLM, llama.cpp, TorchServe and OpenAI do.
    #[default]
    Authorization,
    /// `x-api-key`, as Anthropic does.
    XApiKey,
}

/// The admin listener's key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Sent as `Authorization: Bearer …`; at least 16 characters.
    pub key: SecretRef,
}

/// Whether contracts are enforced. The contracts themselves stand under `models`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContractGuard {
    /// `enforce`, `observe` or `off`. Default: `enforce`.
    pub mode: Mode,
    /// What a fault means: `close` or `open`. Default: `close`.
    pub on_fault: OnFault,
    /// How often servers with a `preset` are asked whether contracts still fit them, beside the start and each reload; `0s` is
    /// never. Default: `5m`.
    pub drift_every: DurationText,
}

impl Default for ContractGuard {
    fn default() -> Self {
        let drift_every = DurationText(std::time::Duration::from_mins(5));
        Self { mode: Mode::default(), on_fault: OnFault::default(), drift_every }
    }
}

impl ContractGuard {
    /// The guard's settings.
    #[must_use]
    pub const fn switch(&self) -> Switch {
        Switch { mode: self.mode, on_fault: self.on_fault }
    }
}

/// A model server, or a model inside the gateway.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Where the server is: `http://` or `https://`, host and port; host and port alone are `http://`. An endpoint that can
    /// do more has a weight: `{ url: "http://10.0.0.5:8000", weight: 2 }`. At most 256. A server behind `https://` that offers
    /// HTTP/2 is spoken to so.
    #[serde(default)]
    pub endpoints: Vec<EndpointConfig>,
    /// Where the server speaks gRPC, in the same form: HTTP/2 by prior knowledge for `http://`, by ALPN for `https://`.
    #[serde(default)]
    pub grpc: Vec<EndpointConfig>,
    /// A model inside the gateway, instead of endpoints.
    #[serde(default)]
    pub embedded: Option<EmbeddedConfig>,
    /// Which server it is. Its inference paths are opened for the models behind it, and nothing else of it exists; a route
    /// that names a path opens that one, too.
    #[serde(default)]
    pub preset: Option<Preset>,
    /// The server's own key: `secret://file/vllm.key`. Sent with every request in place of the caller's credential, which never
    /// goes up; read again on reload.
    #[serde(default)]
    pub key: Option<SecretRef>,
    /// The field that `key` is sent in. Default: `authorization`.
    #[serde(default)]
    pub key_header: Option<KeyHeader>,
    /// A token in place of `key`: got by client credentials, got anew at four fifths of its life, shown to the server alone.
    #[serde(default)]
    pub oauth: Option<OauthConfig>,
    /// PEM file with the roots for `https://`. Default: the web's public roots.
    #[serde(default)]
    pub ca: Option<String>,
    /// Requests at once.
    #[serde(default)]
    pub inflight: InflightConfig,
    /// What the server says of its own load, where `inflight` moves: a server that says it has too much is given less.
    #[serde(default)]
    pub signals: Option<SignalsConfig>,
    /// How endpoints are asked whether they are ready.
    #[serde(default)]
    pub health: HealthConfig,
    /// When an endpoint is not used because of its answers.
    #[serde(default)]
    pub ejection: EjectionConfig,
    /// When nothing is sent to any of them.
    #[serde(default)]
    pub breaker: BreakerConfig,
    /// What is sent again.
    #[serde(default)]
    pub retry: RetryConfig,
    /// What is sent to a second endpoint while the first is late. Default: nothing.
    #[serde(default)]
    pub hedge: Option<HedgeConfig>,
    /// Which of several endpoints gets a request.
    #[serde(default)]
    pub balance: BalanceConfig,
    /// To connect, TLS included, in milliseconds. Default: from `upstream_defaults`.
    #[serde(default)]
    pub connect_ms: Option<u64>,
    /// To the first byte of an answer, in milliseconds. Default: 600000 behind a preset of a server of texts, else from
    /// `upstream_defaults`.
    #[serde(default)]
    pub first_byte_ms: Option<u64>,
    /// How long a kept connection may be idle, in milliseconds. Default: from `upstream_defaults`.
    #[serde(default)]
    pub idle_ms: Option<u64>,
    /// How long an answer that is being passed on may say nothing, in milliseconds. Default: from `upstream_defaults`.
    #[serde(default)]
    pub stream_idle_ms: Option<u64>,
}

/// A model inside the gateway.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub enum EmbeddedConfig {
    /// A model file.
    File(EmbeddedFile),
    /// A model that ships with the gateway: `digits_cnn`, `fraud_mlp` or `sentiment`.
    Shipped(String),
}

/// An ONNX model file.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedFile {
    /// ONNX file, relative to this file.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal; checked before it is parsed.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Names of the classes, in the order of the first output's last dimension.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// How much an upstream is given at once. With `max` alone, so many requests, whatever they cost. With `initial` or `min`
/// too, as much *cost* as the server bears without becoming slower, in requests of mean cost: the limit moves between `min`
/// and `max` four times a second, and counts requests (`initial` of them) until costs are learned.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InflightConfig {
    /// Where a limit that moves begins. Default: 8, within `min` and `max`.
    #[schemars(range(min = 1, max = 65_536))]
    pub initial: Option<u32>,
    /// The least that a limit that moves comes down to. Default: 1.
    #[schemars(range(min = 1, max = 65_536))]
    pub min: Option<u32>,
    /// The most that run at once. Default: 8.
    #[schemars(range(min = 1, max = 65_536))]
    pub max: Option<u32>,
}

/// Pages of metrics that tell of a server's load: of vLLM, SGLang, TensorRT-LLM or Triton with it. More than two requests that
/// wait inside, or more than 90 % of the cache used, is too much.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SignalsConfig {
    /// Where they are, such as `http://10.0.0.5:8002/metrics`. Default: `/metrics` of each of `endpoints` behind the presets
    /// `openai` (which SGLang and TensorRT-LLM speak) and `vllm`, and of port 8002 of their hosts behind `triton`.
    pub metrics: Vec<String>,
    /// How often they are read; `0s` is never. Default: `1s`.
    pub every: DurationText,
}

impl Default for SignalsConfig {
    fn default() -> Self {
        Self { metrics: Vec::new(), every: DurationText(std::time::Duration::from_secs(1)) }
    }
}

/// A model.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Name of `upstreams` that serves it.
    pub upstream: String,
    /// What its inputs must be. An embedded model's file says the rest.
    #[serde(default)]
    pub contract: ContractConfig,
    /// What its calls cost.
    #[serde(default)]
    pub cost: ModelCostConfig,
    /// Whether the same call always has the same answer, so that a route may keep it (`routes[].cache`). Default: false.
    #[serde(default)]
    pub deterministic: bool,
    /// Other ways for its inferences, tried in order where nothing behind its upstream is ready, its breaker is open, or it
    /// failed before the first byte of an answer. The answer then says so: `x-tollgate-fallback: NAME`. Fallbacks of a
    /// fallback are not followed.
    #[serde(default)]
    pub fallback: Vec<FallbackConfig>,
    /// Versions that share its calls, by name: a canary, blue and green, a shadow.
    #[serde(default)]
    pub versions: Versions,
    /// How a new version comes in. Default: what stands below, where there are `versions`.
    #[serde(default)]
    pub release: Option<ReleaseConfig>,
}

/// The line before each upstream.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// How long a request may wait, whatever its own deadline is. Default: `30s`.
    pub deadline: DurationText,
    /// How many may wait before one upstream. Default: 4096.
    #[schemars(range(max = 1_000_000))]
    pub max_entries: usize,
    /// How many bytes of bodies may wait before one upstream. Default: `256MiB`.
    pub max_bytes: ByteSize,
    /// How priorities share what an upstream does.
    pub priorities: PrioritiesConfig,
    /// Whether critical requests go before all others, whatever the weights: others may then wait for ever. Default: false.
    pub strict_critical: bool,
}

/// Weights of the priorities: where all four wait, each gets its part of the sum. So the last is served, too.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrioritiesConfig {
    /// Of critical requests. Default: 64.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub critical: u32,
    /// Of requests that somebody waits for. Default: 16.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub high: u32,
    /// Of everything else. Default: 4.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub normal: u32,
    /// Of requests that nobody waits for. Default: 1.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch: u32,
}

impl Default for PrioritiesConfig {
    fn default() -> Self {
        Self { critical: 64, high: 16, normal: 4, batch: 1 }
    }
}

/// What is written down.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecordConfig {
    /// Where access lines go: `off`, `stdout`, or a file that is appended to, relative to this file. Default: `stdout`.
    pub access: Option<String>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            deadlines: DeadlinesConfig::default(),
            h2: H2Config::default(),
            drain_ms: 30_000,
        }
    }
}

impl Default for DeadlinesConfig {
    fn default() -> Self {
        Self {
            handshake_ms: 10_000,
            head_ms: 10_000,
            idle_ms: 30_000,
            body_ms: 120_000,
            body_min_bytes_per_sec: 1024,
            write_stall_ms: 30_000,
        }
    }
}

impl Default for H2Config {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 128,
            stream_window: 131_072,
            connection_window: 1_048_576,
            max_header_list_bytes: 16_384,
            max_connection_age_ms: 600_000,
            idle_ms: 60_000,
        }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            deadline: DurationText(std::time::Duration::from_secs(30)),
            max_entries: 4096,
            max_bytes: ByteSize(256 << 20),
            priorities: PrioritiesConfig::default(),
            strict_critical: false,
        }
    }
}
