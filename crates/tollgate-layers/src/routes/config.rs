//! The `routes` section, and its compilation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::guard::{Mode, Switches};
use tollgate_core::stage::Stage;
use tollgate_limit::Priority;

use super::{Pattern, Route, Routes};
use crate::protocol::oip::grpc::{PATH, Rpc};
use crate::waf::RouteWaf;

/// One route. What no route lists does not exist: it is answered 404.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Its name in records and metrics.
    pub name: String,
    /// Path pattern: literal segments, `{model}` or another `{name}` for one segment, `{*rest}` for all that is left.
    pub path: String,
    /// Methods that it serves. Default: `[POST]`; `[GET]` for `protocol: health`; `[GET, POST]` where the
    /// protocol has paths to read.
    #[serde(default)]
    pub methods: Option<Vec<MethodName>>,
    /// How its bodies are understood.
    pub protocol: Protocol,
    /// Models that it serves. A plain route whose path names no model serves exactly one.
    #[serde(default)]
    pub models: Vec<String>,
    /// Upstream of a route with `protocol: none`.
    #[serde(default)]
    pub upstream: Option<String>,
    /// Whether a credential is asked for. Default: `required`.
    #[serde(default)]
    pub auth: AuthNeed,
    /// Whether the caller's own credential goes on to the model server, which then sees it. A server with a `key` of its own
    /// gets that alone. Default: false.
    #[serde(default)]
    pub forward_credentials: bool,
    /// How its bodies are read. Default: `inspect`.
    #[serde(default)]
    pub intake: IntakeClass,
    /// The most bytes of a body, as sent and as decoded; of a message for `protocol: oip_grpc`. Default: 1048576 (1 MiB),
    /// and 4194304 (4 MiB) for `protocol: oip_grpc`.
    #[serde(default)]
    #[schemars(range(max = 1_073_741_824))]
    pub max_body_bytes: Option<u64>,
    /// From the first byte of the request to the last of the answer, in milliseconds. Default: 60000.
    #[serde(default = "default_timeout_ms")]
    #[schemars(range(min = 1, max = 86_400_000))]
    pub timeout_ms: u64,
    /// Whether requests cost nothing, such as health checks. Default: false, and true for `protocol: health`.
    #[serde(default)]
    pub free: Option<bool>,
    /// Cost class of `cost.classes` for every request of this route, instead of the model's weights.
    #[serde(default)]
    pub cost_class: Option<String>,
    /// How urgent its requests are in a full queue: `critical`, `high`, `normal` or `batch`. Where their tenant says so, too,
    /// the lower counts. Default: what the tenant says, or `normal`.
    #[serde(default)]
    pub priority: Option<PriorityName>,
    /// How its replies leave: `hold`, `pass` or `window`. Default: what streams flows, and the rest is held as far as the
    /// rules or the contract of its model want to see it.
    #[serde(default)]
    pub reply: Option<ReplyMode>,
    /// The most bytes of a reply, with `reply: hold`. Default: 8388608 (8 MiB).
    #[serde(default)]
    #[schemars(range(min = 1, max = 268_435_456))]
    pub max_reply_bytes: Option<u64>,
    /// Answers that are kept and given again to the same question of the same tenant. Only where every model of the route is
    /// `deterministic`. Default: none are kept.
    #[serde(default)]
    pub cache: Option<CacheConfig>,
    /// Methods that a route with `protocol: oip_grpc` serves. Default: all that are understood.
    #[serde(default)]
    pub rpcs: Option<Vec<Rpc>>,
    /// What this route changes of the section `waf`. Its mode stands under `stages`.
    #[serde(default)]
    pub waf: Option<RouteWaf>,
    /// Modes of single stages for this route.
    #[serde(default)]
    #[schemars(schema_with = "stages")]
    pub stages: BTreeMap<Stage, StageModes>,
}

/// Which answers a route keeps. Streams never are, nor what a server says is not to be stored; a reload empties it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct CacheConfig {
    /// How long one is kept, in milliseconds; less where the server's `Cache-Control: max-age` says so.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub ttl_ms: u64,
    /// The most answers. Default: 1024.
    #[serde(default = "default_cache_entries")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_entries: usize,
    /// The most bytes of all of them. Default: 67108864 (64 MiB).
    #[serde(default = "default_cache_bytes")]
    #[schemars(range(min = 1024, max = 17_179_869_184_u64))]
    pub max_bytes: u64,
    /// The most bytes of one. Default: 1048576 (1 MiB).
    #[serde(default = "default_cache_entry_bytes")]
    #[schemars(range(min = 1, max = 268_435_456))]
    pub max_entry_bytes: u64,
}

const fn default_cache_entries() -> usize {
    1024
}

const fn default_cache_bytes() -> u64 {
    64 << 20
}

const fn default_cache_entry_bytes() -> u64 {
    1 << 20
}

/// What a route may say of a stage.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageModes {
    /// `enforce`, `observe` or `off`.
    pub mode: Mode,
}

/// A method that a route may serve.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MethodName {
    /// DELETE
    Delete,
    /// GET
    Get,
    /// HEAD
    Head,
    /// OPTIONS
    Options,
    /// PATCH
    Patch,
    /// POST
    Post,
    /// PUT
    Put,
}

/// How urgent a request is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorityName {
    /// Nobody waits for it.
    Batch,
    /// Somebody's life depends on it.
    Critical,
    /// Somebody waits in front of it.
    High,
    /// Everything else.
    Normal,
}

impl From<PriorityName> for Priority {
    fn from(name: PriorityName) -> Self {
        match name {
            PriorityName::Batch => Self::Batch,
            PriorityName::Critical => Self::Critical,
            PriorityName::High => Self::High,
            PriorityName::Normal => Self::Normal,
        }
    }
}

/// How bodies of a route are understood.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Anthropic's messages: `POST …/messages`.
    Anthropic,
    /// Answered here: `{"status":"ok"}`.
    Health,
    /// Any JSON; the model's contract has a `schema`.
    Json,
    /// KServe v1: `POST …/models/{model}:predict`.
    KserveV1,
    /// Answered here: the published policy of `limits`, as JSON or Markdown. Free.
    LimitsPolicy,
    /// The body is one image or sound.
    Media,
    /// The body is a form (`multipart/form-data`); the model's contract has a `form`.
    Multipart,
    /// Not at all: plain proxying. `check` warns.
    None,
    /// Open Inference Protocol v2 (REST, tensors as JSON or binary).
    Oip,
    /// Open Inference Protocol v2 over gRPC: `POST /inference.GRPCInferenceService/{method}`, over HTTP/2.
    OipGrpc,
    /// Ollama's native API: `POST …/api/{chat,embed,generate}`, `GET …/api/tags`.
    Ollama,
    /// OpenAI's API: `POST …/{chat/completions,completions,embeddings,moderations,rerank,responses}`, `GET …/models` and
    /// `…/models/{model}`, and with a `form` in the contract
    /// `POST …/{audio/transcriptions,audio/translations,images/edits,images/variations}`.
    #[serde(rename = "openai")]
    OpenAi,
    /// One JSON object whose members are the model's inputs.
    Plain,
    /// Answered here: the budgets of whoever asks. Free.
    Quota,
    /// Answered here: which issuers of tokens are trusted (RFC 9728), to whoever asks.
    ResourceMetadata,
    /// TensorFlow Serving's REST API: `POST …/models/{model}:predict`.
    TfServing,
}

/// Whether a route asks for a credential.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthNeed {
    /// Anybody may ask. `check` warns, except for `protocol: health` and `resource_metadata`.
    None,
    /// A credential is required.
    #[default]
    Required,
}

/// How bodies of a route are read.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IntakeClass {
    /// The whole body, decoded, to a cap, before any verdict on it.
    #[default]
    Inspect,
    /// Streamed; size, rate and time only.
    Meter,
    /// Streamed; only the head is judged.
    Opaque,
}

/// How replies of a route leave.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyMode {
    /// Read whole before the first byte leaves, also what would stream: the rules see it, and what breaks off or grows too
    /// large is a clean 502.
    Hold,
    /// Never held, and no rule sees its body. Header fields are cleaned and tokens are counted all the same.
    Pass,
    /// Never held; the pattern rules see it in windows while it passes, and cut it where they find something.
    Window,
}

/// The names that routes may use, and their places.
#[derive(Debug)]
pub struct RouteNames<'a> {
    /// Models, in table order.
    pub models: &'a BTreeMap<String, ModelId>,
    /// Upstreams, in table order.
    pub upstreams: &'a BTreeMap<String, usize>,
    /// Cost classes.
    pub classes: &'a BTreeSet<String>,
}

/// A closed list of keys, so that every unknown one is found at once and editors know them all.
fn stages(generator: &mut SchemaGenerator) -> Schema {
    let modes = generator.subschema_for::<StageModes>();
    let mut schema = json_schema!({ "type": "object", "additionalProperties": false });
    let stages = Stage::ALL.iter().map(|stage| (stage.name(), modes.clone().to_value()));
    schema.insert("properties".to_owned(), stages.collect());
    schema
}

const fn default_timeout_ms() -> u64 {
    60_000
}

/// Reports every mistake of the routes, then builds the layer.
pub fn compile(routes: &[RouteConfig], check: &mut Checker, names: &RouteNames<'_>) -> Routes {
    let mut compiled = Vec::with_capacity(routes.len());
    for (index, route) in routes.iter().enumerate() {
        check.within(index, |check| {
            let fresh = routes.iter().take(index).all(|earlier| earlier.name != route.name);
            check.require(fresh, "name", format!("`{}` names two routes", route.name));
            compiled.extend(route.compile(index, check, names).map(Arc::new));
        });
    }
    Routes { routes: compiled }
}

impl RouteConfig {
    /// The most bytes of a body.
    #[must_use]
    pub fn body_cap(&self) -> u64 {
        self.max_body_bytes.unwrap_or(if self.protocol == Protocol::OipGrpc { 4 << 20 } else { 1 << 20 })
    }

    fn compile(&self, index: usize, check: &mut Checker, names: &RouteNames<'_>) -> Option<Route> {
        let pattern = Pattern::new(&self.path).map_err(|why| check.problem("path", why)).ok();
        let models = self.models(check, names);
        let upstream = self.upstream(check, names);
        let switches = self.switches(check);
        if let Some(pattern) = &pattern {
            self.check_models(check, pattern);
        }
        if let Some(class) = &self.cost_class {
            check.require(
                names.classes.contains(class),
                "cost_class",
                format!("`{class}` is not a class of `cost.classes`"),
            );
        }
        if self.auth == AuthNeed::None && !self.protocol.is_for_everybody() {
            check.warn("auth", format!("anybody may call route `{}`", self.name));
        }
        self.check_credentials(check);
        if self.protocol == Protocol::None {
            check.warn("protocol", format!("bodies of route `{}` are not understood, only forwarded", self.name));
        }
        let streamed = self.intake != IntakeClass::Inspect;
        let understood = !self.protocol.is_answered_here() && self.protocol != Protocol::None;
        check.require(!(streamed && understood), "intake", "a body that is understood must be read whole: `inspect`");
        let answered_here = self.protocol.is_answered_here() && self.reply.is_some();
        check.require(!answered_here, "reply", "such a request is answered here");
        let nobody = self.protocol == Protocol::Quota && self.auth == AuthNeed::None;
        check.require(!nobody, "auth", "whose budgets, if nobody in particular asks?");
        let held = self.reply == Some(ReplyMode::Hold);
        check.require(held || self.max_reply_bytes.is_none(), "max_reply_bytes", "only with `reply: hold`");
        let most = self.max_reply_bytes.unwrap_or(8 << 20);
        check.require((1..=1 << 28).contains(&most), "max_reply_bytes", "a number of bytes from 1 to 268435456");
        let rpcs = self.rpcs(check, pattern.as_ref());
        let methods = self.methods.clone().unwrap_or_else(|| self.protocol.methods());
        Some(Route {
            name: self.name.as_str().into(),
            index,
            pattern: pattern?,
            methods: methods.into_iter().map(MethodName::method).collect(),
            protocol: self.protocol,
            models,
            upstream,
            auth: if self.protocol.is_for_everybody() { AuthNeed::None } else { self.auth },
            intake: self.intake,
            max_body_bytes: self.body_cap(),
            timeout_ms: self.timeout_ms,
            reply: self.reply,
            max_reply_bytes: most,
            forward_credentials: self.forward_credentials,
            free: self.free.unwrap_or(self.protocol.is_answered_here()),
            cost_class: self.cost_class.as_deref().map(Into::into),
            priority: self.priority.map(Into::into),
            rpcs,
            switches,
        })
    }

    fn check_credentials(&self, check: &mut Checker) {
        if !self.forward_credentials {
            return;
        }
        check.require(!self.protocol.is_answered_here(), "forward_credentials", "such a request is answered here");
        check.require(
            self.cache.is_none(),
            "forward_credentials",
            "an answer that is kept is given to other keys as well",
        );
        check.warn(
            "forward_credentials",
            format!("the model servers of route `{}` see the keys of its callers", self.name),
        );
    }

    fn models(&self, check: &mut Checker, names: &RouteNames<'_>) -> Vec<ModelId> {
        let mut found = Vec::new();
        check.within("models", |check| {
            for (i, model) in self.models.iter().enumerate() {
                match names.models.get(model) {
                    Some(id) if found.contains(id) => check.problem(i, format!("`{model}` is listed twice")),
                    Some(id) => found.push(*id),
                    None => check.problem_hint(i, format!("`{model}` is not a model"), "name it under `models`"),
                }
            }
        });
        found
    }

    fn upstream(&self, check: &mut Checker, names: &RouteNames<'_>) -> Option<usize> {
        match (&self.upstream, self.protocol) {
            (Some(name), Protocol::None) => {
                let found = names.upstreams.get(name).copied();
                check.require(found.is_some(), "upstream", format!("`{name}` is not an upstream"));
                found
            }
            (Some(_), _) => {
                check.problem("upstream", "only a route with `protocol: none` names an upstream; others list `models`");
                None
            }
            (None, Protocol::None) => {
                check.problem("protocol", "a route with `protocol: none` needs an `upstream`");
                None
            }
            (None, _) => None,
        }
    }

    fn check_models(&self, check: &mut Checker, pattern: &Pattern) {
        match self.protocol {
            Protocol::Json | Protocol::Media | Protocol::Multipart | Protocol::Plain if !pattern.has_model() => {
                let one = self.models.len() == 1;
                let message = format!(
                    "a `{}` route whose path has no `{{model}}` serves exactly one model",
                    self.protocol.name()
                );
                check.require(one, "models", message);
            }
            Protocol::Health
            | Protocol::LimitsPolicy
            | Protocol::None
            | Protocol::Quota
            | Protocol::ResourceMetadata => {
                let none = self.models.is_empty();
                check.require(none, "models", format!("a `{}` route serves no models", self.protocol.name()));
            }
            other => {
                let message = format!("a route with `protocol: {}` lists the models that it serves", other.name());
                check.require(!self.models.is_empty(), "models", message);
            }
        }
    }

    /// The methods of a gRPC service that the route serves: those that are listed, at paths that it has.
    fn rpcs(&self, check: &mut Checker, pattern: Option<&Pattern>) -> Vec<Rpc> {
        if self.protocol != Protocol::OipGrpc {
            check.require(self.rpcs.is_none(), "rpcs", "`rpcs` is for routes with `protocol: oip_grpc`");
            return Vec::new();
        }
        let post = self.methods.as_deref().is_none_or(|methods| methods == [MethodName::Post]);
        check.require(post, "methods", "gRPC knows one method of HTTP: `POST`");
        let Some(pattern) = pattern else { return Vec::new() };
        let has = |rpc: &Rpc| pattern.matches(&format!("{PATH}{}", rpc.name())).is_some();
        let listed = self.rpcs.as_deref().unwrap_or(&Rpc::ALL);
        check.within("rpcs", |check| {
            for (i, rpc) in self.rpcs.iter().flatten().enumerate() {
                check.require(has(rpc), i, format!("the path does not lead to `{}`", rpc.name()));
            }
        });
        let rpcs: Vec<Rpc> = listed.iter().copied().filter(has).collect();
        if self.rpcs.is_none() && rpcs.is_empty() {
            check.problem_hint("path", "the path leads to no method that is understood", format!("`{PATH}{{method}}`"));
        }
        rpcs
    }

    fn switches(&self, check: &mut Checker) -> Switches {
        let mut switches = Switches::default();
        check.within("stages", |check| {
            for (stage, modes) in &self.stages {
                let guard = Protocol::GUARDS.contains(stage);
                check.require(guard, stage.name(), format!("`{}` cannot be switched: it is a gate", stage.name()));
                if modes.mode != Mode::Enforce {
                    check.warn(stage.name(), format!("route `{}` does not enforce `{}`", self.name, stage.name()));
                }
                switches.set(*stage, modes.mode);
            }
        });
        switches
    }
}

impl Protocol {
    /// Stages that a route may switch: the guards asked after the route is known.
    const GUARDS: [Stage; 6] = [Stage::Network, Stage::Flood, Stage::Authz, Stage::Waf, Stage::Contract, Stage::Limits];

    /// The word of the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Health => "health",
            Self::Json => "json",
            Self::KserveV1 => "kserve_v1",
            Self::LimitsPolicy => "limits_policy",
            Self::Media => "media",
            Self::Multipart => "multipart",
            Self::None => "none",
            Self::Oip => "oip",
            Self::OipGrpc => "oip_grpc",
            Self::Ollama => "ollama",
            Self::OpenAi => "openai",
            Self::Plain => "plain",
            Self::Quota => "quota",
            Self::ResourceMetadata => "resource_metadata",
            Self::TfServing => "tf_serving",
        }
    }

    /// Whether no model and no server is needed for an answer.
    #[must_use]
    pub const fn is_answered_here(self) -> bool {
        matches!(self, Self::Health | Self::LimitsPolicy | Self::Quota | Self::ResourceMetadata)
    }

    /// Whether nobody in particular may ask.
    #[must_use]
    pub const fn is_for_everybody(self) -> bool {
        matches!(self, Self::Health | Self::ResourceMetadata)
    }

    /// Whether its calls are tensors, so that a model says its `inputs`.
    #[must_use]
    pub const fn has_tensors(self) -> bool {
        matches!(self, Self::KserveV1 | Self::Oip | Self::OipGrpc | Self::Plain | Self::TfServing)
    }

    /// Whether its calls are answered with texts that a model writes.
    #[must_use]
    pub const fn writes_text(self) -> bool {
        matches!(self, Self::Anthropic | Self::Ollama | Self::OpenAi)
    }

    pub(super) fn methods(self) -> Vec<MethodName> {
        match self {
            Self::Health | Self::LimitsPolicy | Self::Quota | Self::ResourceMetadata => vec![MethodName::Get],
            Self::Anthropic | Self::Json | Self::Media | Self::Multipart | Self::None | Self::OipGrpc | Self::Plain => {
                vec![MethodName::Post]
            }
            Self::KserveV1 | Self::Oip | Self::Ollama | Self::OpenAi | Self::TfServing => {
                vec![MethodName::Get, MethodName::Post]
            }
        }
    }
}

impl MethodName {
    /// As it stands in a request.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }

    pub(super) fn method(self) -> http::Method {
        match self {
            Self::Delete => http::Method::DELETE,
            Self::Get => http::Method::GET,
            Self::Head => http::Method::HEAD,
            Self::Options => http::Method::OPTIONS,
            Self::Patch => http::Method::PATCH,
            Self::Post => http::Method::POST,
            Self::Put => http::Method::PUT,
        }
    }
}
