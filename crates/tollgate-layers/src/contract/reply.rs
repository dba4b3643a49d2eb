//! What a model may answer: the types, shapes and values of its outputs, a JSON Schema, how much, in which form. What
//! breaks it never leaves; what exactly was wrong stays inside, because nothing of it is the caller's doing.
//!
//! A reply that streams is not judged here; of a stream of messages over gRPC, each is.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::backend::{Dim, Port, Signature};
use tollgate_core::call::{Call, Dialect, Dtype, ModelId};
use tollgate_core::check::Checker;
use tollgate_core::journal::{Fact, Notes};
use tollgate_core::ruling::{Code, Refusal, Ruling};

use super::columns::ColumnConfig;
use super::config::{DimConfig, InputConfig, Odds};
use super::schema::Schema;
use super::{Contract, Contracts, Input, MAX_SYMBOLS, Symbols, sizes};
use crate::protocol::oip::binary;
use crate::protocol::{Wrong, frames, json, kserve_v1, oip};

/// A reply may be nested deeper than a request: an input comes back in it.
const LIMITS: json::Limits = json::Limits { depth: 128, keys: 65_536 };

/// One output.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputConfig {
    /// Its name.
    pub name: String,
    /// Element type, shown in metadata.
    #[serde(default)]
    pub dtype: Option<Dtype>,
    /// Dimensions, shown in metadata. A name that stands in an input as well stands for the same size.
    #[serde(default)]
    pub shape: Option<Vec<DimConfig>>,
    /// Least and greatest value. Default: every finite number of the type. This and what follows holds where `reply`
    /// stands.
    #[serde(default)]
    pub range: Option<[f64; 2]>,
    /// Whether NaN passes. Default: `deny`.
    #[serde(default)]
    pub nan: Odds,
    /// Whether infinities pass. Default: `deny`.
    #[serde(default)]
    pub infinity: Odds,
    /// Rules for places in the last dimension.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub columns: Vec<ColumnConfig>,
    /// The longest string in bytes, of `BYTES`. Default: whatever fits the reply.
    #[serde(default)]
    pub max_length: Option<u64>,
    /// Whether a reply may leave it out. Default: false.
    #[serde(default)]
    pub optional: bool,
}

/// What replies are held to. Where it stands, replies of the model are read whole and judged before their first byte
/// leaves, unless they stream. One that breaks it becomes 502 `upstream_failed`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplyConfig {
    /// The most bytes of a reply, as sent and as decoded. Default: 8388608 (8 MiB).
    #[schemars(range(min = 1, max = 268_435_456))]
    pub max_bytes: u64,
    /// Types of content that it may have. Default: `[application/json]`, and for replies with binary tensors
    /// `[application/octet-stream]`.
    pub content_types: Vec<String>,
    /// A JSON Schema (draft 2020-12) for it, where its protocol has no tensors.
    pub schema: Option<serde_json::Value>,
}

impl Default for ReplyConfig {
    fn default() -> Self {
        Self { max_bytes: 8 << 20, content_types: Vec::new(), schema: None }
    }
}

/// The compiled rule.
#[derive(Debug)]
pub(super) struct ReplyRule {
    max_bytes: u64,
    content_types: Vec<Box<str>>,
    schema: Option<Schema>,
    /// The outputs, as inputs of a contract of their own.
    outputs: Contract,
}

/// What the reply to one call is held to. Made before the call is gone.
#[derive(Clone, Debug)]
pub struct Awaited {
    model: ModelId,
    dialect: Dialect,
    wished: Vec<Box<str>>,
    symbols: Symbols,
    max_bytes: u64,
    /// It is not known which call it answers: sizes are free, and outputs may be missing.
    loose: bool,
}

/// A reply that is held.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// `Content-Type`, if it is one text.
    pub content_type: Option<&'a str>,
    /// Every value of `Inference-Header-Content-Length`.
    pub json_length: &'a [&'a [u8]],
    /// All of it, decoded; `None` where it is too large or coded in a way that nobody here reads.
    pub body: Option<&'a bytes::Bytes>,
}

impl Awaited {
    /// How much of the reply is held at most.
    #[must_use]
    pub const fn max_bytes(&self) -> u64 {
        match self.dialect {
            Dialect::OipGrpc => self.max_bytes + frames::grpc::PREFIX as u64,
            _ => self.max_bytes,
        }
    }

    /// Whose reply it is.
    #[must_use]
    pub const fn model(&self) -> ModelId {
        self.model
    }

    /// The same for a reply to some call of that model.
    #[must_use]
    pub fn to_any_call(&self) -> Self {
        Self { wished: Vec::new(), symbols: [0; MAX_SYMBOLS], loose: true, ..self.clone() }
    }
}

impl ReplyConfig {
    /// Reports every mistake, then builds the rule. `embedded` and `symbols` are those of the inputs.
    pub(super) fn compile(
        &self,
        check: &mut Checker,
        outputs: &[OutputConfig],
        embedded: Option<&Signature>,
        symbols: &mut Vec<Box<str>>,
    ) -> ReplyRule {
        let ports: Vec<(usize, Port, InputConfig)> = match embedded {
            Some(signature) => signature.outputs.iter().map(|port| (0, port.clone(), InputConfig::default())).collect(),
            None => check.within("outputs", |check| {
                let outputs = outputs.iter().enumerate();
                outputs
                    .filter_map(|(at, output)| {
                        check.within(at, |check| output.port(check)).map(|(port, rule)| (at, port, rule))
                    })
                    .collect()
            }),
        };
        let mut contract = Contract::default();
        for (at, port, config) in ports {
            let sizes = sizes(&port.dims, symbols);
            check.within("outputs", |check| {
                check.within(at, |check| {
                    check.require(sizes.is_some(), "shape", format!("more than {MAX_SYMBOLS} names of dimensions"));
                    let rule = config.rule(check, &port, None);
                    let (sizes, optional) = (sizes.unwrap_or_default(), config.optional);
                    contract.inputs.push(Input { sizes, optional, rule });
                });
            });
            contract.signature.inputs.push(port);
        }
        check.within("reply", |check| {
            let sane = (1..=1 << 28).contains(&self.max_bytes);
            check.require(sane, "max_bytes", "a number of bytes from 1 to 268435456");
            check.within("content_types", |check| {
                for (at, kind) in self.content_types.iter().enumerate() {
                    let plain = kind.split_once('/').is_some_and(|(of, name)| !of.is_empty() && !name.is_empty());
                    let plain = plain && !kind.bytes().any(|byte| b"; ,*".contains(&byte));
                    check.require(plain, at, format!("`{kind}` is no type of content such as `application/json`"));
                }
            });
            let schema = self.schema.as_ref().and_then(|schema| {
                Schema::new(schema).map_err(|why| check.problem("schema", format!("no usable schema: {why}"))).ok()
            });
            let content_types = self.content_types.iter().map(|kind| kind.to_ascii_lowercase().into()).collect();
            ReplyRule { max_bytes: self.max_bytes, content_types, schema, outputs: contract }
        })
    }
}

impl OutputConfig {
    /// Whether it says anything that only a rule for replies holds a model to.
    pub(super) fn judges(&self) -> bool {
        let odd = self.nan == Odds::Allow || self.infinity == Odds::Allow;
        odd || self.range.is_some() || self.max_length.is_some() || self.optional || !self.columns.is_empty()
    }

    fn port(&self, check: &mut Checker) -> Option<(Port, InputConfig)> {
        let Self { name, dtype, shape, range, nan, infinity, columns, max_length, optional } = self.clone();
        let config = InputConfig {
            name,
            dtype,
            shape,
            range,
            nan,
            infinity,
            columns,
            max_length,
            optional,
            ..InputConfig::default()
        };
        config.port("output", check).map(|port| (port, config))
    }
}

impl Contracts {
    /// What the reply to `call` is held to; `None` where nothing is, or where it streams.
    #[must_use]
    pub fn awaits(&self, call: &Call) -> Option<Box<Awaited>> {
        let model = call.model?;
        let contract = self.contracts.get(model.index())?;
        let rule = contract.reply.as_ref().filter(|_| !call.knobs.stream)?;
        let mut symbols: Symbols = [0; MAX_SYMBOLS];
        for tensor in &call.inputs {
            let known =
                contract.signature.inputs.iter().zip(&contract.inputs).find(|(port, _)| port.name == tensor.name);
            let Some((_, input)) = known else { continue };
            for (found, size) in tensor.shape.iter().zip(&input.sizes) {
                if let super::Size::Symbol(symbol) = size
                    && let Some(bound) = symbols.get_mut(*symbol)
                {
                    *bound = *found;
                }
            }
        }
        let (dialect, wished) = (call.dialect, call.outputs.clone());
        Some(Box::new(Awaited { model, dialect, wished, symbols, max_bytes: rule.max_bytes, loose: false }))
    }

    /// Holds a reply to the contract of its model.
    ///
    /// # Errors
    /// `upstream_failed`: the first thing that is wrong, as evidence alone.
    pub fn judge_reply(&self, awaited: &Awaited, reply: Held<'_>, notes: &mut Notes<'_>) -> Ruling<()> {
        let rule = self.contracts.get(awaited.model.index()).and_then(|contract| contract.reply.as_ref());
        let Some(rule) = rule else { return Ok(()) };
        rule.judge(awaited, reply).map_err(|why| {
            notes.note(Fact::ReplyBroken, 1);
            broken(why).into()
        })
    }

    /// Holds one message of a stream over gRPC, without what frames it, to the contract of its model.
    ///
    /// # Errors
    /// As [`Self::judge_reply`].
    pub fn judge_message(&self, awaited: &Awaited, message: &bytes::Bytes, notes: &mut Notes<'_>) -> Ruling<()> {
        let rule = self.contracts.get(awaited.model.index()).and_then(|contract| contract.reply.as_ref());
        let Some(rule) = rule else { return Ok(()) };
        rule.judge_message(awaited, message).map_err(|why| {
            notes.note(Fact::ReplyBroken, 1);
            broken(why).into()
        })
    }
}

/// The refusal of a reply: the caller did nothing wrong, and is told nothing.
#[must_use]
pub fn broken(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::UpstreamFailed).because(format_args!("the reply breaks its contract: {why}"))
}

impl ReplyRule {
    fn judge(&self, awaited: &Awaited, reply: Held<'_>) -> Result<(), String> {
        let body = reply.body.filter(|body| body.len() as u64 <= awaited.max_bytes());
        let body = body.ok_or_else(|| format!("more than {} bytes, or a coding that is not read", self.max_bytes))?;
        if awaited.dialect == Dialect::OipGrpc {
            let message = frames::grpc::only(body).map_err(|why| format!("it is {why}"))?;
            if message.compressed {
                return Err("a message that is compressed unasked".to_owned());
            }
            return self.judge_message(awaited, &message.bytes);
        }
        let json_length = match reply.json_length {
            [] => None,
            [only] if awaited.dialect == Dialect::Oip => Some(
                binary::json_length(only)
                    .filter(|length| (1..=body.len()).contains(length))
                    .ok_or("a length of its JSON part that is none")?,
            ),
            _ => return Err("a length of its JSON part where one or none is due".to_owned()),
        };
        self.judge_type(reply.content_type, json_length.is_some())?;
        if let Some(schema) = &self.schema {
            json::validate(body, LIMITS).map_err(|malformed| malformed.to_string())?;
            let document = serde_json::from_slice(body).map_err(|_| "no JSON".to_owned())?;
            schema.check(&document).map_err(|refusal| refusal.evidence().to_owned())?;
        }
        let ports = Signature { inputs: self.outputs.signature.inputs.clone(), ..Signature::default() };
        let tensors = match awaited.dialect {
            Dialect::Oip => oip::reply_tensors(body, json_length, LIMITS).map_err(said)?,
            Dialect::KserveV1 | Dialect::TfColumns if !ports.inputs.is_empty() => {
                kserve_v1::reply_tensors(body, LIMITS, &ports).map_err(said)?
            }
            _ => return Ok(()),
        };
        self.judge_outputs(awaited, &Call { dialect: Dialect::Oip, inputs: tensors, ..Call::default() })
    }

    fn judge_message(&self, awaited: &Awaited, message: &bytes::Bytes) -> Result<(), String> {
        if message.len() as u64 > self.max_bytes {
            return Err(format!("a message of more than {} bytes", self.max_bytes));
        }
        let inputs = oip::grpc::reply_tensors(message).map_err(said)?;
        self.judge_outputs(awaited, &Call { dialect: Dialect::Oip, inputs, ..Call::default() })
    }

    fn judge_type(&self, found: Option<&str>, binary: bool) -> Result<(), String> {
        let found = found.ok_or("no single type of content")?;
        let essence = found.split(';').next().unwrap_or_default().trim();
        let fits = match self.content_types.as_slice() {
            [] if binary => essence.eq_ignore_ascii_case("application/octet-stream"),
            [] => essence.eq_ignore_ascii_case("application/json"),
            listed => listed.iter().any(|kind| essence.eq_ignore_ascii_case(kind)),
        };
        if fits { Ok(()) } else { Err("another type of content".to_owned()) }
    }

    /// As inputs are judged, with the sizes that the call gave to names.
    fn judge_outputs(&self, awaited: &Awaited, answer: &Call) -> Result<(), String> {
        let known = &self.outputs.signature.inputs;
        let is_wished = |name: &str| awaited.wished.is_empty() || awaited.wished.iter().any(|wish| **wish == *name);
        for (port, output) in known.iter().zip(&self.outputs.inputs) {
            let is_there = answer.inputs.iter().any(|tensor| tensor.name == port.name);
            if is_wished(&port.name) && !output.optional && !awaited.loose && !is_there {
                return Err(format!("output `{}` is missing", port.name));
            }
        }
        let mut symbols = awaited.symbols;
        for (place, tensor) in answer.inputs.iter().enumerate() {
            let known = known.iter().zip(&self.outputs.inputs).find(|(port, _)| port.name == tensor.name);
            let judged = match known {
                Some((port, output)) => {
                    let asked = super::Asked { call: answer, body: b"", place, tensor };
                    self.outputs.check_tensor(&asked, port, output, &mut symbols)
                }
                None if self.outputs.inputs.is_empty() => unnamed(tensor),
                None => return Err("an output that the model does not have".to_owned()),
            };
            judged.map_err(|refusal| {
                refusal.evidence().replacen("/inputs/", "/outputs/", 1).replace(" input `", " output `")
            })?;
        }
        Ok(())
    }
}

/// What is wrong, for operators.
fn said(wrong: Wrong) -> String {
    wrong.refusal().evidence().to_owned()
}

/// Of an output of which nothing is known, the values are held to their own type: no number but a finite one.
fn unnamed(tensor: &tollgate_core::call::Tensor) -> Result<(), Refusal> {
    let dims = tensor.shape.iter().map(|dim| Dim::Fixed(*dim)).collect();
    let rule = super::rule::Rule::of(&Port { name: tensor.name.clone(), dtype: tensor.dtype, dims });
    rule.check(&tensor.values, tensor.dtype, 1)
        .map_err(|misfit| super::wrong("/outputs", format!("{} at {}", misfit.expected, misfit.index), misfit.found))
}

#[cfg(test)]
mod tests;
