//! Which route serves a request. Default deny: what no route lists does not exist.

mod config;
mod pattern;
pub mod preset;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tollgate_core::call::ModelId;
use tollgate_core::guard::Switches;
use tollgate_core::ruling::{Code, Refusal, Ruling};
use tollgate_limit::Priority;

use crate::hygiene::Head;
use crate::protocol::oip::grpc::Rpc;
use crate::protocol::openai::Endpoint;
pub use config::{
    AuthNeed, CacheConfig, IntakeClass, MethodName, PriorityName, Protocol, ReplyMode, RouteConfig, RouteNames,
    StageModes, compile,
};
pub use pattern::Pattern;
pub use preset::{Behind, Faces, Opening, Preset};

/// The compiled layer: every route, in the order of the file.
#[derive(Debug, Default)]
pub struct Routes {
    routes: Vec<Arc<Route>>,
}

/// One compiled route.
#[derive(Debug)]
pub struct Route {
    /// Its name in records and metrics.
    pub name: Box<str>,
    /// Its place in tables indexed by route.
    pub index: usize,
    /// Which paths it serves.
    pub pattern: Pattern,
    /// Which methods it serves.
    pub methods: Vec<http::Method>,
    /// How its bodies are understood.
    pub protocol: Protocol,
    /// Models that it serves.
    pub models: Vec<ModelId>,
    /// Place of the upstream of a route without models.
    pub upstream: Option<usize>,
    /// Whether a credential is asked for.
    pub auth: AuthNeed,
    /// Whether the caller's own credential goes on to the model server.
    pub forward_credentials: bool,
    /// How its bodies are read.
    pub intake: IntakeClass,
    /// The most bytes of a body, as sent and as decoded.
    pub max_body_bytes: u64,
    /// From the first byte of the request to the last byte of the answer, in milliseconds.
    pub timeout_ms: u64,
    /// How its replies leave, where it says so.
    pub reply: Option<ReplyMode>,
    /// The most bytes of a reply that is held whole.
    pub max_reply_bytes: u64,
    /// Whether requests cost nothing.
    pub free: bool,
    /// Named cost class.
    pub cost_class: Option<Box<str>>,
    /// How urgent its requests are, where it says so.
    pub priority: Option<Priority>,
    /// Methods of a gRPC service that it serves.
    pub rpcs: Vec<Rpc>,
    /// Modes of stages for this route.
    pub switches: Switches,
}

/// A route, and what the path said.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The route.
    pub route: &'a Arc<Route>,
    /// What is asked of it.
    pub verb: Verb,
    /// The model that the path names.
    pub model: Option<&'a str>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// Whether the gateway lives: answered here.
    Health,
    /// An inference.
    Infer,
    /// What everybody is held to: answered from the policy.
    LimitsPolicy,
    /// The models of the route that the caller may use: answered from the policy.
    ModelList,
    /// A model's metadata: answered from the policy.
    ModelMetadata,
    /// Whether a model is ready: answered from the policy and the upstream's state.
    ModelReady,
    /// Whatever the upstream makes of it: a route with `protocol: none`.
    Proxy,
    /// The caller's own budgets: answered here.
    Quota,
    /// Which issuers of tokens are trusted: answered from the policy.
    ResourceMetadata,
    /// Whether the server lives: answered here.
    ServerLive,
    /// The server's metadata: answered here.
    ServerMetadata,
    /// Whether the server is ready: answered here.
    ServerReady,
    /// Inferences on one stream, each judged by itself.
    Stream,
}

impl Routes {
    /// Finds the route of a clean head.
    ///
    /// # Errors
    /// `not_found` where no route has the path, `method_not_allowed` where one has it with another method.
    pub fn find<'a>(&'a self, head: &'a Head) -> Ruling<Found<'a>> {
        let path = head.path();
        let mut other_method = false;
        for route in &self.routes {
            let Some(matched) = route.pattern.matches(path) else { continue };
            let Some((verb, model)) = verb_of(route.protocol, path, matched.model) else { continue };
            if Rpc::of(path).is_some_and(|rpc| route.protocol == Protocol::OipGrpc && !route.rpcs.contains(&rpc)) {
                continue;
            }
            if route.methods.contains(&head.method) && fits(route.protocol, verb, &head.method) {
                return Ok(Found { route, verb, model });
            }
            other_method = true;
        }
        let code = if other_method { Code::MethodNotAllowed } else { Code::NotFound };
        Err(Refusal::new(code).into())
    }

    /// Every route, in order.
    #[must_use]
    pub fn all(&self) -> &[Arc<Route>] {
        &self.routes
    }
}

/// What `path` asks for in the words of `protocol`; `None` where the protocol has no such path.
fn verb_of<'a>(protocol: Protocol, path: &'a str, model: Option<&'a str>) -> Option<(Verb, Option<&'a str>)> {
    match protocol {
        Protocol::Health => Some((Verb::Health, None)),
        Protocol::LimitsPolicy => Some((Verb::LimitsPolicy, None)),
        Protocol::Quota => Some((Verb::Quota, None)),
        Protocol::ResourceMetadata => Some((Verb::ResourceMetadata, None)),
        Protocol::None => Some((Verb::Proxy, model)),
        Protocol::Oip => oip_verb(path),
        // The model stands in the message.
        Protocol::OipGrpc => Rpc::of(path).map(|rpc| (rpc_verb(rpc), None)),
        Protocol::Json | Protocol::Media | Protocol::Multipart | Protocol::Plain => Some((Verb::Infer, model)),
        Protocol::Anthropic => path.ends_with("/messages").then_some((Verb::Infer, None)),
        Protocol::KserveV1 | Protocol::TfServing => predict_verb(path),
        Protocol::Ollama if path.ends_with("/api/tags") => Some((Verb::ModelList, None)),
        Protocol::Ollama => Endpoint::of_ollama(path).map(|_| (Verb::Infer, None)),
        Protocol::OpenAi if path.ends_with("/models") => Some((Verb::ModelList, None)),
        Protocol::OpenAi if Endpoint::takes_form(path) => Some((Verb::Infer, None)),
        Protocol::OpenAi => match Endpoint::of_openai(path) {
            Some(_) => Some((Verb::Infer, None)),
            None => one_model(path).map(|model| (Verb::ModelMetadata, Some(model))),
        },
    }
}

/// The model that `…/models/NAME` names. Names may hold slashes.
fn one_model(path: &str) -> Option<&str> {
    let (_, model) = path.split_once("/models/")?;
    (!model.is_empty()).then_some(model)
}

/// Paths of KServe v1 and TensorFlow Serving. Versions, labels, `:explain`, `:classify` and `:regress` are absent.
fn predict_verb(path: &str) -> Option<(Verb, Option<&str>)> {
    let (_, rest) = path.split_once("/models")?;
    let Some(rest) = rest.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
        return rest.is_empty().then_some((Verb::ModelList, None));
    };
    let (model, verb) = match rest.split_once(':') {
        Some((model, "predict")) => (model, Verb::Infer),
        Some(_) => return None,
        None => match rest.split_once('/') {
            Some((model, "metadata")) => (model, Verb::ModelMetadata),
            Some(_) => return None,
            None => (rest, Verb::ModelReady),
        },
    };
    (!model.is_empty() && !model.contains('/')).then_some((verb, Some(model)))
}

/// Paths of the Open Inference Protocol v2 (REST). Repository, shared memory, trace, logging and the like are absent.
fn oip_verb(path: &str) -> Option<(Verb, Option<&str>)> {
    let rest = path.strip_prefix("/v2")?;
    match rest {
        "" | "/" => return Some((Verb::ServerMetadata, None)),
        "/health/live" => return Some((Verb::ServerLive, None)),
        "/health/ready" => return Some((Verb::ServerReady, None)),
        _ => {}
    }
    let (model, verb) = match rest.strip_prefix("/models/")?.split_once('/') {
        None => (rest.strip_prefix("/models/")?, ""),
        Some((model, verb)) => (model, verb),
    };
    let verb = match verb {
        "" => Verb::ModelMetadata,
        "infer" => Verb::Infer,
        "ready" => Verb::ModelReady,
        _ => return None,
    };
    (!model.is_empty()).then_some((verb, Some(model)))
}

const fn rpc_verb(rpc: Rpc) -> Verb {
    match rpc {
        Rpc::ModelInfer => Verb::Infer,
        Rpc::ModelMetadata => Verb::ModelMetadata,
        Rpc::ModelReady => Verb::ModelReady,
        Rpc::ModelStreamInfer => Verb::Stream,
        Rpc::ServerLive => Verb::ServerLive,
        Rpc::ServerMetadata => Verb::ServerMetadata,
        Rpc::ServerReady => Verb::ServerReady,
    }
}

/// Reading verbs are for GET, inference is for POST, as everything is in gRPC.
fn fits(protocol: Protocol, verb: Verb, method: &http::Method) -> bool {
    match verb {
        _ if protocol == Protocol::OipGrpc => method == http::Method::POST,
        Verb::Infer | Verb::Stream => method == http::Method::POST,
        Verb::Proxy => true,
        _ => method == http::Method::GET || method == http::Method::HEAD,
    }
}
