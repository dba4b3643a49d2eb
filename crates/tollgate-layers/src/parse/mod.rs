//! One strict pass over the body: bytes become a [`Call`]. A gate: what is malformed is never let through.
//!
//! It also finds the model, because only here all places are known where a dialect may name one. What the values mean
//! for that model is the contract's business.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::indexing_slicing))]

mod config;
mod content_type;
mod fuzz;
#[cfg(test)]
mod tests;
mod upload;

use std::sync::Arc;

use bytes::Bytes;
use tollgate_core::call::{Call, Dialect, ModelId};
use tollgate_core::ruling::{Code, Refusal, Ruling};

use crate::contract::Contract;
use crate::hygiene::Head;
use crate::protocol::openai::Endpoint;
use crate::protocol::{Wrong, json, kserve_v1, oip, openai, plain};
use crate::routes::{Found, Protocol, Route, Verb};
pub use config::ParseConfig;
use content_type::Framing;
pub use fuzz::{fuzz_oip, fuzz_oip_binary, fuzz_plain};

/// The compiled layer.
#[derive(Debug, Default)]
pub struct Parse {
    models: Vec<ParseModel>,
    limits: json::Limits,
}

/// A model, as the parser needs it.
#[derive(Clone, Debug)]
pub struct ParseModel {
    /// Its name, as paths say it.
    pub name: Box<str>,
    /// Its contract: the plain dialect is read by its signature.
    pub contract: Arc<Contract>,
}

/// What a call is parsed from.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The clean head.
    pub head: &'a Head,
    /// The route, what is asked of it, and the model that the path names.
    pub found: &'a Found<'a>,
    /// The whole body, decoded.
    pub body: &'a Bytes,
}

impl Parse {
    /// Takes the models in table order.
    #[must_use]
    pub const fn new(models: Vec<ParseModel>, limits: json::Limits) -> Self {
        Self { models, limits }
    }

    /// Parses a call. Verbs without a body give a call of the dialect `Other`, with the model that they are about.
    ///
    /// # Errors
    /// `not_found` for a model that the route does not serve; `unsupported` for a content type that the dialect does
    /// not have, and for binary tensors; `bad_request` for what is no strict JSON; `invalid_call`, with a spot, for JSON
    /// that is no call.
    pub fn call(&self, given: Given<'_>) -> Ruling<Call> {
        let Given { head, found, body } = given;
        let body_bytes = body.len() as u64;
        if found.route.protocol == Protocol::OipGrpc {
            return self.message(given);
        }
        match found.verb {
            Verb::Infer | Verb::Stream => self.infer(given),
            Verb::Proxy => Ok(Call { body_bytes, ..Call::default() }),
            Verb::Health
            | Verb::LimitsPolicy
            | Verb::ModelList
            | Verb::Quota
            | Verb::ResourceMetadata
            | Verb::ServerLive
            | Verb::ServerMetadata
            | Verb::ServerReady => bodiless(body, None),
            Verb::ModelMetadata | Verb::ModelReady => {
                let (model, _) = self.model(found, found.model)?;
                // A reading verb with binary framing would be a second opinion on where its body ends.
                content_type::refuse_binary(head)?;
                bodiless(body, Some(model))
            }
        }
    }

    /// The model that a refused call is about, for its record: the one that it names if there is one of that name, else
    /// the only one of the route. What a client made up is never written down.
    #[must_use]
    pub fn about(&self, given: Given<'_>) -> Option<ModelId> {
        let Given { head, found, body } = given;
        let spoken = speech(found.route.protocol, head.path()).and_then(|_| json::text_at_root(body, "model"));
        let place = match (spoken.as_deref().or(found.model), found.route.models.as_slice()) {
            (Some(name), _) => self.models.iter().position(|model| *model.name == *name)?,
            (None, [only]) => only.index(),
            (None, _) => return None,
        };
        u32::try_from(place).ok().map(ModelId)
    }

    /// A message of gRPC, without what stands before it.
    fn message(&self, given: Given<'_>) -> Ruling<Call> {
        let Given { found, body, .. } = given;
        let body_bytes = body.len() as u64;
        let (model, version, request) = match found.verb {
            Verb::Infer | Verb::Stream => {
                let oip::grpc::Infer { model, version, request } = oip::grpc::infer(body)?;
                (model, version, request)
            }
            Verb::ModelMetadata | Verb::ModelReady => {
                let oip::grpc::Named { model, version } = oip::grpc::named(body)?;
                (model, version, oip::Request::default())
            }
            _ => {
                oip::grpc::empty(body)?;
                return Ok(Call { dialect: Dialect::OipGrpc, body_bytes, ..Call::default() });
            }
        };
        let (model, _) = self.model(found, Some(&model))?;
        if version.is_some() {
            // As over REST: a contract is that of a model, and another version may have another one.
            return Err(Refusal::new(Code::NotFound).because("versions of models are not served by number").into());
        }
        Ok(Call { dialect: Dialect::OipGrpc, model: Some(model), body_bytes, ..oip_call(request) })
    }

    fn infer(&self, given: Given<'_>) -> Ruling<Call> {
        let Given { head, found, body } = given;
        if let Some((dialect, endpoint)) = speech(found.route.protocol, head.path()) {
            content_type::refuse_binary(head)?;
            content_type::json(head, false)?;
            return self.spoken(given, dialect, endpoint);
        }
        if found.route.protocol == Protocol::OpenAi {
            content_type::refuse_binary(head)?;
            return self.form_of_openai(given);
        }
        let (model, of) = self.model(found, found.model)?;
        let mut call = match found.route.protocol {
            Protocol::Oip => match content_type::framing(head, body.len())? {
                Framing::Json => oip_call(oip::request(body, self.limits)?),
                Framing::Mixed(json) => oip_call(oip::binary_request(body, json, self.limits)?),
                Framing::Raw => oip_call(raw(&of.contract, body)?),
            },
            Protocol::Plain => {
                content_type::refuse_binary(head)?;
                content_type::json(head, false)?;
                plain_call(body, self.limits, &of.contract)?
            }
            Protocol::Json => {
                content_type::refuse_binary(head)?;
                content_type::json(head, false)?;
                json_call(body, self.limits)?
            }
            Protocol::Media | Protocol::Multipart => {
                content_type::refuse_binary(head)?;
                let read = if found.route.protocol == Protocol::Media { upload::medium } else { upload::form };
                let mut call = read(head, body)?;
                call.knobs.input_tokens = of.contract.count_tokens(&call.prompts);
                call
            }
            Protocol::KserveV1 | Protocol::TfServing => {
                content_type::refuse_binary(head)?;
                content_type::json(head, false)?;
                rows_call(body, self.limits, &of.contract, found.route.protocol)?
            }
            Protocol::Anthropic
            | Protocol::Health
            | Protocol::LimitsPolicy
            | Protocol::None
            | Protocol::OipGrpc
            | Protocol::Ollama
            | Protocol::OpenAi
            | Protocol::Quota
            | Protocol::ResourceMetadata => Call::default(),
        };
        call.model = Some(model);
        call.body_bytes = body.len() as u64;
        Ok(call)
    }

    /// A call whose body names its model: chats, texts to go on with, texts to embed.
    fn spoken(&self, given: Given<'_>, dialect: Dialect, endpoint: Endpoint) -> Ruling<Call> {
        let Given { found, body, .. } = given;
        let request = openai::request(endpoint, body, self.limits)?;
        // llama.cpp answers for any name.
        let (model, of) = self.model(found, Some(&request.model))?;
        let edits = of.contract.edits(endpoint, &request);
        let openai::Request { prompts, media, mut knobs, .. } = request;
        knobs.input_tokens = of.contract.count_tokens(&prompts);
        knobs.output_cap = of.contract.output_cap(endpoint, knobs.output_tokens);
        let unknown = knobs.extras.iter().filter(|extra| !extra.known).count();
        let (unknown_members, model) = (u32::try_from(unknown).unwrap_or(u32::MAX), Some(model));
        let body_bytes = body.len() as u64;
        Ok(Call { dialect, model, prompts, media, knobs, edits, body_bytes, unknown_members, ..Call::default() })
    }

    /// A form of OpenAI's API: its field `model` names the model.
    fn form_of_openai(&self, given: Given<'_>) -> Ruling<Call> {
        let mut call = upload::form(given.head, given.body)?;
        let named = upload::field(&call, "model").ok_or_else(|| Wrong::here("a part `model`", "none"))?;
        let (model, of) = self.model(given.found, Some(named))?;
        call.model = Some(model);
        // It is no field of the model, nor a text that it reads.
        let at = call.parts.iter().position(|part| &*part.name == "model").map(|place| call.parts.remove(place).at);
        call.prompts.retain(|prompt| Some(&prompt.at) != at.as_ref());
        call.knobs.input_tokens = of.contract.count_tokens(&call.prompts);
        Ok(call)
    }

    /// The model that is asked for by name, or the only one of the route.
    fn model(&self, found: &Found<'_>, name: Option<&str>) -> Ruling<(ModelId, &ParseModel)> {
        let route: &Route = found.route;
        let served = route.models.iter().filter_map(|id| Some((*id, self.models.get(id.index())?)));
        let model = match (name, route.models.as_slice()) {
            (Some(name), _) => served.into_iter().find(|(_, model)| *model.name == *name),
            (None, [_]) => served.into_iter().next(),
            (None, _) => None,
        };
        model.ok_or_else(|| Refusal::new(Code::NotFound).because("the route serves no such model").into())
    }
}

fn oip_call(request: oip::Request) -> Call {
    let oip::Request { id, inputs, outputs, unknown_members } = request;
    Call { dialect: Dialect::Oip, id, inputs, outputs, unknown_members, ..Call::default() }
}

/// A body that is one tensor, for a contract that takes such.
fn raw(contract: &Contract, body: &Bytes) -> Ruling<oip::Request> {
    let Some(port) = contract.raw_body() else {
        return Err(Refusal::new(Code::Unsupported).because("a body without JSON").into());
    };
    Ok(oip::binary::raw(port, body)?)
}

fn plain_call(body: &[u8], limits: json::Limits, contract: &Contract) -> Result<Call, Wrong> {
    let plain::Request { id, inputs, unknown_members } = plain::request(body, limits, contract.signature())?;
    Ok(Call { dialect: Dialect::Plain, id, inputs, unknown_members, ..Call::default() })
}

/// A document for a schema. The strict reader comes first: it refuses what two readers could understand differently.
fn json_call(body: &[u8], limits: json::Limits) -> Result<Call, Wrong> {
    json::validate(body, limits)?;
    let document = serde_json::from_slice(body).map_err(|_| Wrong::here("a JSON document", "another text"))?;
    Ok(Call { dialect: Dialect::Json, document: Some(document), ..Call::default() })
}

fn rows_call(body: &[u8], limits: json::Limits, contract: &Contract, protocol: Protocol) -> Result<Call, Wrong> {
    let request = kserve_v1::request(body, limits, contract.signature())?;
    let kserve_v1::Request { inputs, unknown_members, columns, media } = request;
    let by_columns = columns && protocol == Protocol::TfServing;
    let dialect = if by_columns { Dialect::TfColumns } else { Dialect::KserveV1 };
    Ok(Call { dialect, inputs, media, unknown_members, columns, ..Call::default() })
}

/// The dialect and the endpoint of a route whose bodies name their model.
fn speech(protocol: Protocol, path: &str) -> Option<(Dialect, Endpoint)> {
    match protocol {
        Protocol::Anthropic => Some((Dialect::Anthropic, Endpoint::Messages)),
        Protocol::Ollama => Some((Dialect::Ollama, Endpoint::of_ollama(path)?)),
        Protocol::OpenAi => Some((Dialect::OpenAi, Endpoint::of_openai(path)?)),
        _ => None,
    }
}

/// A verb that has no body.
fn bodiless(body: &[u8], model: Option<ModelId>) -> Ruling<Call> {
    if body.is_empty() {
        return Ok(Call { model, ..Call::default() });
    }
    Err(Refusal::new(Code::BadRequest).because("a reading verb with a body").into())
}
