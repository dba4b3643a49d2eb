//! What a request does, in the words of policies, and which scope that takes.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Asked, Late, Scope};
use crate::protocol::openai::Endpoint;
use crate::routes::{Protocol, Verb};

/// What a request does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The admin listener.
    Admin,
    /// Turning text into vectors.
    Embed,
    /// An answer in one piece.
    Infer,
    /// Reading what there is: lists, metadata, readiness.
    List,
    /// An answer in pieces.
    Stream,
}

/// What is known of the action before the body is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Foreseen {
    /// The body says whether the answer comes in pieces: `infer` or `stream`.
    Either,
    /// This one.
    Is(Action),
}

/// What an action asks of the scopes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need {
    Admin,
    Infer,
    Nothing,
    Read,
}

impl Action {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Embed, Self::Infer, Self::List, Self::Stream];

    /// The word of policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Embed => "embed",
            Self::Infer => "infer",
            Self::List => "list",
            Self::Stream => "stream",
        }
    }

    /// What a parsed call does.
    pub(super) fn of(asked: &Asked<'_>, late: Option<&Late<'_>>) -> Self {
        match (Foreseen::of(asked), late) {
            (Foreseen::Is(Self::Infer) | Foreseen::Either, Some(Late::Parsed { call, .. })) if call.knobs.stream => {
                Self::Stream
            }
            (Foreseen::Is(action), _) => action,
            (Foreseen::Either, _) => Self::Infer,
        }
    }
}

impl Foreseen {
    pub(super) fn of(asked: &Asked<'_>) -> Self {
        if let Some(action) = asked.action {
            return Self::Is(action);
        }
        match asked.found.verb {
            Verb::Infer => Self::of_inference(asked.found.route.protocol, asked.path),
            Verb::Proxy => Self::Is(Action::Infer),
            Verb::Stream => Self::Is(Action::Stream),
            _ => Self::Is(Action::List),
        }
    }

    fn of_inference(protocol: Protocol, path: &str) -> Self {
        let endpoint = match protocol {
            Protocol::Anthropic => return Self::Either,
            Protocol::Ollama => Endpoint::of_ollama(path),
            Protocol::OpenAi => Endpoint::of_openai(path),
            _ => return Self::Is(Action::Infer),
        };
        match endpoint {
            Some(Endpoint::Embeddings | Endpoint::OllamaEmbed) => Self::Is(Action::Embed),
            Some(Endpoint::Moderations | Endpoint::Rerank) => Self::Is(Action::Infer),
            _ => Self::Either,
        }
    }
}

impl Need {
    pub(super) const fn of(verb: Verb) -> Self {
        match verb {
            Verb::Health | Verb::LimitsPolicy | Verb::Quota | Verb::ResourceMetadata => Self::Nothing,
            Verb::Infer | Verb::Proxy | Verb::Stream => Self::Infer,
            Verb::ModelList
            | Verb::ModelMetadata
            | Verb::ModelReady
            | Verb::ServerLive
            | Verb::ServerMetadata
            | Verb::ServerReady => Self::Read,
        }
    }

    /// What may be called may be described: `infer` also reads.
    pub(super) fn met_by(self, has: impl Fn(Scope) -> bool) -> bool {
        match self {
            Self::Admin => has(Scope::Admin),
            Self::Infer => has(Scope::Infer),
            Self::Nothing => true,
            Self::Read => has(Scope::List) || has(Scope::Infer),
        }
    }

    /// The smallest scope that meets it.
    pub(super) const fn scope(self) -> Scope {
        match self {
            Self::Admin => Scope::Admin,
            Self::Infer => Scope::Infer,
            Self::Nothing | Self::Read => Scope::List,
        }
    }
}
