//! What exists behind each model server: the paths and verbs that a preset opens. Everything else stays closed.
//!
//! A preset only adds ordinary routes, after those that the configuration writes: what is written decides first.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_core::check::Checker;

use super::config::{AuthNeed, IntakeClass, MethodName, Protocol, RouteConfig};
use super::pattern::Pattern;
use super::{fits, verb_of};

/// A model server, as far as its paths are known.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// BentoML: nothing but the paths that routes name.
    Bentoml,
    /// FastAPI: nothing but the paths that routes name; `/docs` and `/openapi.json` stay closed.
    Fastapi,
    /// KServe's model server: tensors and rows. Loading and unloading models stay closed.
    Kserve,
    /// LitServe: nothing but the paths that routes name.
    Litserve,
    /// llama.cpp: chats, completions, embeddings, responses. `/slots` and `/props` stay closed.
    Llamacpp,
    /// MLServer: tensors. Loading and unloading models stay closed.
    Mlserver,
    /// Ollama: chats, texts, embeddings. Pulling, pushing and deleting models stay closed.
    Ollama,
    /// Any server that speaks OpenAI's API.
    #[serde(rename = "openai")]
    OpenAi,
    /// Ray Serve: nothing but the paths that routes name.
    RayServe,
    /// TensorFlow Serving: `:predict`, state and metadata.
    TfServing,
    /// TorchServe: predictions. What its management port does is never reached.
    Torchserve,
    /// Triton: tensors. Repository, shared memory, trace and logging stay closed.
    Triton,
    /// vLLM: chats, completions, embeddings, responses, messages. `/invocations`, `/tokenize` and what else it leaves open
    /// without a key stay closed.
    Vllm,
}

/// One path that a preset opens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Opening {
    /// Name of its route in records and metrics.
    pub name: &'static str,
    /// Method.
    pub method: MethodName,
    /// Path pattern.
    pub path: &'static str,
    /// How bodies are understood there.
    pub protocol: Protocol,
}

/// How an upstream is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Faces {
    /// It has `endpoints`.
    pub rest: bool,
    /// It has `grpc`.
    pub rpc: bool,
}

/// An upstream with a preset, and the models behind it.
#[derive(Clone, Debug)]
pub struct Behind<'a> {
    /// The upstream's name.
    pub upstream: &'a str,
    /// Its preset.
    pub preset: Preset,
    /// Whether it is reached over REST, and over gRPC.
    pub faces: Faces,
    /// Names of its models.
    pub models: Vec<&'a str>,
}

const fn get(name: &'static str, path: &'static str, protocol: Protocol) -> Opening {
    Opening { name, method: MethodName::Get, path, protocol }
}

const fn post(name: &'static str, path: &'static str, protocol: Protocol) -> Opening {
    Opening { name, method: MethodName::Post, path, protocol }
}

const CHAT: Opening = post("openai.chat_completions", "/v1/chat/completions", Protocol::OpenAi);
const COMPLETIONS: Opening = post("openai.completions", "/v1/completions", Protocol::OpenAi);
const EMBEDDINGS: Opening = post("openai.embeddings", "/v1/embeddings", Protocol::OpenAi);
const RESPONSES: Opening = post("openai.responses", "/v1/responses", Protocol::OpenAi);
const MODELS: Opening = get("openai.models", "/v1/models", Protocol::OpenAi);
// Names of models may hold slashes.
const MODEL: Opening = get("openai.model", "/v1/models/{*model}", Protocol::OpenAi);
const MODERATIONS: Opening = post("openai.moderations", "/v1/moderations", Protocol::OpenAi);
const RERANK: Opening = post("openai.rerank", "/v1/rerank", Protocol::OpenAi);
const MESSAGES: Opening = post("anthropic.messages", "/v1/messages", Protocol::Anthropic);
const OIP_MODELS: Opening = get("oip.models", "/v2/{*rest}", Protocol::Oip);
const OIP_INFER: Opening = post("oip.infer", "/v2/{*rest}", Protocol::Oip);
const OIP_RPC: Opening = post("oip.grpc", "/inference.GRPCInferenceService/{method}", Protocol::OipGrpc);
const KSERVE: &[Opening] = &[
    OIP_MODELS,
    OIP_INFER,
    post("kserve_v1.predict", "/v1/models/{model}", Protocol::KserveV1),
    get("kserve_v1.models", "/v1/models", Protocol::KserveV1),
    get("kserve_v1.model", "/v1/models/{model}", Protocol::KserveV1),
];
const OLLAMA: &[Opening] = &[
    post("ollama.chat", "/api/chat", Protocol::Ollama),
    post("ollama.generate", "/api/generate", Protocol::Ollama),
    post("ollama.embed", "/api/embed", Protocol::Ollama),
    get("ollama.tags", "/api/tags", Protocol::Ollama),
];
const TF_SERVING: &[Opening] = &[
    post("tf_serving.predict", "/v1/models/{model}", Protocol::TfServing),
    get("tf_serving.model", "/v1/models/{model}", Protocol::TfServing),
    get("tf_serving.metadata", "/v1/models/{model}/metadata", Protocol::TfServing),
];
const TORCHSERVE: &[Opening] = &[
    post("torchserve.predictions", "/predictions/{model}", Protocol::Json),
    post("torchserve.version", "/predictions/{model}/{version}", Protocol::Json),
    get("torchserve.ping", "/ping", Protocol::Health),
];

impl Preset {
    /// Every preset, in the order of their names.
    pub const ALL: [Self; 13] = [
        Self::Bentoml,
        Self::Fastapi,
        Self::Kserve,
        Self::Litserve,
        Self::Llamacpp,
        Self::Mlserver,
        Self::Ollama,
        Self::OpenAi,
        Self::RayServe,
        Self::TfServing,
        Self::Torchserve,
        Self::Triton,
        Self::Vllm,
    ];

    /// The word of the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bentoml => "bentoml",
            Self::Fastapi => "fastapi",
            Self::Kserve => "kserve",
            Self::Litserve => "litserve",
            Self::Llamacpp => "llamacpp",
            Self::Mlserver => "mlserver",
            Self::Ollama => "ollama",
            Self::OpenAi => "openai",
            Self::RayServe => "ray_serve",
            Self::TfServing => "tf_serving",
            Self::Torchserve => "torchserve",
            Self::Triton => "triton",
            Self::Vllm => "vllm",
        }
    }

    /// What it opens; nothing where every application has paths of its own.
    #[must_use]
    pub const fn opens(self) -> &'static [Opening] {
        match self {
            Self::Bentoml | Self::Fastapi | Self::Litserve | Self::RayServe => &[],
            Self::Kserve => KSERVE,
            Self::Llamacpp => &[CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, MODELS, MODEL],
            Self::Mlserver | Self::Triton => &[OIP_MODELS, OIP_INFER],
            Self::Ollama => OLLAMA,
            Self::OpenAi => &[CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, MODERATIONS, RERANK, MODELS, MODEL],
            Self::TfServing => TF_SERVING,
            Self::Torchserve => TORCHSERVE,
            Self::Vllm => &[CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, MESSAGES, MODELS, MODEL],
        }
    }

    /// What it opens of a server that is also reached over gRPC.
    #[must_use]
    pub const fn opens_rpc(self) -> &'static [Opening] {
        match self {
            Self::Kserve | Self::Mlserver | Self::Triton => &[OIP_RPC],
            _ => &[],
        }
    }

    /// Where the server itself says that it is ready. For us alone: no preset opens it to clients.
    #[must_use]
    pub const fn ready_path(self) -> &'static str {
        match self {
            Self::Bentoml => "/readyz",
            Self::Fastapi | Self::Litserve | Self::Llamacpp | Self::Vllm => "/health",
            Self::Kserve | Self::Mlserver | Self::Triton => "/v2/health/ready",
            Self::Ollama => "/api/version",
            Self::OpenAi | Self::TfServing => "/v1/models",
            Self::RayServe => "/-/healthz",
            Self::Torchserve => "/ping",
        }
    }

    /// Where the server says whether a model of it is ready: 2xx, or it is not. `None` where it speaks of itself alone.
    #[must_use]
    pub fn model_ready_path(self, model: &str) -> Option<String> {
        match self {
            Self::Kserve | Self::Mlserver | Self::Triton => Some(format!("/v2/models/{model}/ready")),
            Self::TfServing => Some(format!("/v1/models/{model}")),
            _ => None,
        }
    }

    /// Where the server lists what it can serve: what is missing there is answered with 404.
    #[must_use]
    pub const fn list_path(self) -> Option<&'static str> {
        match self {
            Self::Ollama => Some("/api/tags"),
            Self::Vllm => Some("/v1/models"),
            _ => None,
        }
    }

    /// Where the server says what a model takes, or that it is there; `None` where it does not, or says it of any name
    /// (llama.cpp).
    #[must_use]
    pub fn metadata_path(self, model: &str) -> Option<String> {
        match self {
            Self::Kserve | Self::Mlserver | Self::Triton => Some(format!("/v2/models/{model}")),
            Self::Ollama => Some("/api/tags".to_owned()),
            Self::OpenAi | Self::Vllm => Some("/v1/models".to_owned()),
            Self::TfServing => Some(format!("/v1/models/{model}/metadata")),
            Self::Bentoml | Self::Fastapi | Self::Litserve | Self::Llamacpp | Self::RayServe | Self::Torchserve => None,
        }
    }

    /// Whether it serves models of texts, which may take minutes and write without end.
    #[must_use]
    pub const fn is_of_texts(self) -> bool {
        matches!(self, Self::Llamacpp | Self::Ollama | Self::OpenAi | Self::Vllm)
    }
}

/// The routes that presets open beside the `written` ones, which decide first. Presets of several upstreams that open the
/// same path share its route.
pub fn open(written: &[RouteConfig], presets: &[Behind<'_>], check: &mut Checker) -> Vec<RouteConfig> {
    let mut opened: Vec<RouteConfig> = Vec::new();
    for behind in presets {
        let at = |check: &mut Checker, tell: &mut dyn FnMut(&mut Checker)| {
            check.within("upstreams", |check| check.within(behind.upstream, tell));
        };
        for opening in behind.openings() {
            if let Some(route) = written.iter().find(|route| opening.is_served_by(route)) {
                at(check, &mut |check| behind.check_written(opening, route, check));
                continue;
            }
            let same = |route: &&mut RouteConfig| meets(&route.path, opening.path) && route.serves(opening.method);
            match opened.iter_mut().find(same) {
                Some(route) if route.protocol == opening.protocol => route.models.extend(opening.models(behind)),
                Some(route) => {
                    let other = route.protocol.name();
                    at(check, &mut |check| {
                        let message = format!(
                            "`{} {}` is `{}` here and `{other}` behind another preset",
                            opening.method.name(),
                            opening.path,
                            opening.protocol.name(),
                        );
                        check.problem_hint("preset", message, "write a route for that path: it says what is served");
                    });
                }
                None => opened.push(opening.route(behind)),
            }
        }
    }
    opened
}

/// Whether two patterns differ in no more than how long a last placeholder is.
fn meets(one: &str, other: &str) -> bool {
    one.replace("{*", "{") == other.replace("{*", "{")
}

impl Behind<'_> {
    /// What its preset opens, where it is reached that way and serves anything.
    fn openings(&self) -> impl Iterator<Item = &'static Opening> + use<> {
        let Self { preset, faces, .. } = *self;
        let rest = if faces.rest { preset.opens() } else { &[] };
        let rpc = if faces.rpc { preset.opens_rpc() } else { &[] };
        let serves = !self.models.is_empty();
        rest.iter().chain(rpc).filter(move |_| serves)
    }

    /// Warns of models that a written route takes the path from.
    fn check_written(&self, opening: &Opening, route: &RouteConfig, check: &mut Checker) {
        let missing = self.models.iter().find(|model| !route.models.iter().any(|listed| listed == *model));
        if let Some(model) = missing.filter(|_| opening.protocol != Protocol::Health) {
            let place = format!("{} {}", opening.method.name(), opening.path);
            check.warn(
                "preset",
                format!("`{place}` is served by route `{}`, which does not list `{model}`", route.name),
            );
        }
    }
}

impl Opening {
    /// Whether a written route decides about this path.
    fn is_served_by(&self, route: &RouteConfig) -> bool {
        let predicts = matches!(self.protocol, Protocol::KserveV1 | Protocol::TfServing);
        let verb = if predicts && self.method == MethodName::Post { ":predict" } else { "" };
        let path = format!("{}{verb}", self.path);
        let Ok(pattern) = Pattern::new(&route.path) else { return false };
        let method = self.method.method();
        let served =
            |model| verb_of(route.protocol, &path, model).is_some_and(|(verb, _)| fits(route.protocol, verb, &method));
        route.serves(self.method)
            && (route.path == self.path || pattern.matches(&path).is_some_and(|matched| served(matched.model)))
    }

    fn models(&self, behind: &Behind<'_>) -> impl Iterator<Item = String> {
        let listed: &[&str] = if self.protocol == Protocol::Health { &[] } else { &behind.models };
        listed.iter().map(|model| (*model).to_owned()).collect::<Vec<_>>().into_iter()
    }

    fn route(&self, behind: &Behind<'_>) -> RouteConfig {
        let texts = behind.preset.is_of_texts();
        RouteConfig {
            name: self.name.to_owned(),
            path: self.path.to_owned(),
            methods: Some(vec![self.method]),
            protocol: self.protocol,
            models: self.models(behind).collect(),
            upstream: None,
            forward_credentials: false,
            auth: AuthNeed::Required,
            intake: IntakeClass::Inspect,
            // Texts with images in them, or tensors of a batch of pictures.
            max_body_bytes: match self.protocol {
                Protocol::OipGrpc => None,
                _ if texts => Some(4 << 20),
                _ => Some(16 << 20),
            },
            reply: None,
            max_reply_bytes: None,
            timeout_ms: if texts { 600_000 } else { 60_000 },
            free: None,
            cost_class: None,
            priority: None,
            cache: None,
            rpcs: None,
            waf: None,
            stages: std::collections::BTreeMap::new(),
        }
    }
}

impl RouteConfig {
    fn serves(&self, method: MethodName) -> bool {
        self.methods.as_ref().map_or_else(|| self.protocol.methods().contains(&method), |all| all.contains(&method))
    }
}
