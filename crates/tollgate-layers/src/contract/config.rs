//! The `contract` section of a model, and its compilation.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::backend::{Dim, Port, Signature};
use tollgate_core::call::Dtype;
use tollgate_core::check::Checker;

use super::columns::ColumnConfig;
use super::reply::{OutputConfig, ReplyConfig};
use super::rule::{Number, Numbers, Odd, Rule};
use super::schema::Schema;
use super::texts::{
    MediaConfig, Over, default_max_logit_bias, default_max_logprobs, default_max_messages, default_max_prompts,
    default_max_schema_bytes, default_max_stops, default_max_tools, default_one, default_tokenizer,
};
use super::uploads::FormConfig;
use super::urls::MediaUrlsConfig;
use super::{Contract, Input, MAX_SYMBOLS, sizes};
use crate::protocol::tensor::MAX_RANK;

/// The most rules of columns, and the most values of one: each is compared with each row of a call.
pub(super) const MAX_RULES: usize = 256;

/// What a model takes. An embedded model brings its own names, types and shapes: here they are narrowed, never widened.
/// For a model behind an upstream, `inputs` says them all; a model of texts has bounds instead.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContractConfig {
    /// Inputs. Required for a model that is not embedded.
    #[serde(default)]
    pub inputs: Vec<InputConfig>,
    /// Outputs that a caller may ask for. Default: those of an embedded model; any for another.
    #[serde(default)]
    pub outputs: Vec<OutputConfig>,
    /// Bounds of the batch: of the first symbolic dimension.
    #[serde(default)]
    pub batch: BatchConfig,
    /// Bounds of the text that a text model is given (`{"text": …}`).
    #[serde(default)]
    pub text: TextConfig,
    /// Whether members that the protocol does not have, or the model does not name, are let pass. They are counted.
    /// Default: `allow`.
    #[serde(default)]
    pub unknown_members: UnknownMembers,
    /// Whether the whole body may be one raw tensor without JSON (`Inference-Header-Content-Length: 0`). Only for a
    /// contract with one input, not `BYTES`, of whose dimensions at most the first is a name. Default: false.
    #[serde(default)]
    pub raw_body: bool,
    /// The most tokens that one answer may have, in whichever of its spellings a client asks for them. Default: no bound.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_output_tokens: Option<u64>,
    /// The most tokens of everything that a call gives the model to read. Default: whatever fits the body.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_input_tokens: Option<u64>,
    /// How those are counted: `bytes` (an estimate: 4.2 bytes a token), `o200k`, `cl100k`, or the path of a
    /// `tokenizer.json`, relative to this file, where the build has the feature `tokenizers`. Default: `bytes`.
    #[serde(default = "default_tokenizer")]
    pub tokenizer: String,
    /// The tokens that are asked for where a client says nothing. Default: `max_output_tokens`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub default_output_tokens: Option<u64>,
    /// What a wish for more tokens becomes. Default: `refuse`.
    #[serde(default)]
    pub over_output_tokens: Over,
    /// The most answers to one prompt (`n`, `best_of`). Default: 1.
    #[serde(default = "default_one")]
    pub n: u64,
    /// The most messages of a chat, or items of an input. Default: 256.
    #[serde(default = "default_max_messages")]
    pub max_messages: u64,
    /// The most characters of one text. Default: whatever fits the body.
    #[serde(default)]
    pub max_message_chars: Option<u64>,
    /// The most characters of one system text. Default: `max_message_chars`.
    #[serde(default)]
    pub max_system_chars: Option<u64>,
    /// The most characters of all texts together. Default: whatever fits the body.
    #[serde(default)]
    pub max_chars: Option<u64>,
    /// The most prompts, or texts to embed or to rank, in one request: each costs like a request. Default: 64.
    #[serde(default = "default_max_prompts")]
    pub max_prompts: u64,
    /// The most stop sequences. Default: 16.
    #[serde(default = "default_max_stops")]
    pub max_stops: u64,
    /// The most log probabilities of a token. Default: 20.
    #[serde(default = "default_max_logprobs")]
    pub max_logprobs: u64,
    /// The most entries of `logit_bias`. Default: 300.
    #[serde(default = "default_max_logit_bias")]
    pub max_logit_bias: u64,
    /// The most tools. Default: 128.
    #[serde(default = "default_max_tools")]
    pub max_tools: u64,
    /// The most bytes of one schema, of a tool or an answer. Default: 65536 (64 KiB).
    #[serde(default = "default_max_schema_bytes")]
    pub max_schema_bytes: u64,
    /// Whether token ids may stand for text: filters for text do not see them. Default: `deny`.
    #[serde(default)]
    pub token_ids: Odds,
    /// Whether media may be URLs that the server fetches: `deny`, or `{ allow: [hosts] }`. Default: `deny`.
    #[serde(default = "MediaUrlsConfig::deny")]
    pub media_urls: MediaUrlsConfig,
    /// The form that it takes, for uploads.
    #[serde(default)]
    pub form: Option<FormConfig>,
    /// Bounds of images and sounds.
    #[serde(default)]
    pub media: MediaConfig,
    /// A JSON Schema (draft 2020-12) for the bodies of routes with `protocol: json`.
    #[serde(default)]
    pub schema: Option<serde_json::Value>,
    /// Where an OpenAPI document holds that schema, instead of writing it here.
    #[serde(default)]
    pub openapi: Option<OpenApiRef>,
    /// Members that are let pass though they reach into the server, such as `ignore_eos` or `store`. Default: none.
    #[serde(default)]
    pub members: Vec<String>,
    /// What replies are held to. Default: nothing.
    #[serde(default)]
    pub reply: Option<ReplyConfig>,
    /// Whether KServe v1 and TensorFlow Serving may send columns (`inputs`) instead of rows (`instances`): a model that
    /// reads `instances` alone fails on them. Default: `allow`.
    #[serde(default = "Odds::allow")]
    pub columns: Odds,
    /// What a preset lets callers wish for where `max_output_tokens` says nothing.
    #[serde(skip)]
    pub wished_output_tokens: Option<u64>,
}

/// The schema of a body in an OpenAPI document (3.0 to 3.2).
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct OpenApiRef {
    /// The document, JSON, relative to this file.
    pub file: String,
    /// The path whose `POST` body it is, as the document writes it.
    pub path: String,
}

/// One input.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputConfig {
    /// Its name.
    pub name: String,
    /// Element type: `FP32`, `FP64`, `INT8` to `INT64`, `UINT8` to `UINT64`, `BOOL` or `BYTES`. Default: the embedded
    /// model's.
    #[serde(default)]
    pub dtype: Option<Dtype>,
    /// Dimensions: numbers, or names for dimensions of any size, equal wherever the name stands again. The first name is
    /// the batch. Default: the embedded model's.
    #[serde(default)]
    pub shape: Option<Vec<DimConfig>>,
    /// Least and greatest value. Default: the embedded model's, or every finite number of the type.
    #[serde(default)]
    pub range: Option<[f64; 2]>,
    /// Whether NaN passes; only binary data can hold one. Default: `deny`.
    #[serde(default)]
    pub nan: Odds,
    /// Whether infinities pass; only binary data can hold one. Default: `deny`.
    #[serde(default)]
    pub infinity: Odds,
    /// Whether subnormal numbers pass: an FP16 below 0.000061, an FP32 below 1.2e-38. Default: `allow`.
    #[serde(default = "Odds::allow")]
    pub subnormal: Odds,
    /// Rules for places in the last dimension.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub columns: Vec<ColumnConfig>,
    /// The longest string in bytes, of `BYTES`. Default: whatever fits the body.
    #[serde(default)]
    pub max_length: Option<u64>,
    /// Whether a call may leave it out. Default: false.
    #[serde(default)]
    pub optional: bool,
}

/// A dimension.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum DimConfig {
    /// Always this many.
    Fixed(u64),
    /// Any number, under a name.
    Symbolic(String),
}

/// Whether numbers of some kind pass.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Odds {
    /// They pass, whatever the range.
    Allow,
    /// A call with one is refused.
    #[default]
    Deny,
}

impl Odds {
    pub(super) const fn allow() -> Self {
        Self::Allow
    }
}

/// Bounds of the batch.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// The most rows of one call. Default: 1024.
    #[serde(default = "default_batch_max")]
    #[schemars(range(min = 1))]
    pub max: u64,
}

/// Bounds of a text.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// The longest text, in bytes of UTF-8. Default: 16384 (16 KiB).
    #[serde(default = "default_text_max_bytes")]
    #[schemars(range(min = 1))]
    pub max_bytes: u64,
}

/// What happens to members that nothing names.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum UnknownMembers {
    /// They are counted and pass.
    #[default]
    Allow,
    /// The call is refused.
    Deny,
    /// They are taken out of the body, where the protocol is one of texts; elsewhere as `allow`.
    Drop,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { max: default_batch_max() }
    }
}

impl Default for TextConfig {
    fn default() -> Self {
        Self { max_bytes: default_text_max_bytes() }
    }
}

const fn default_batch_max() -> u64 {
    1_024
}

const fn default_text_max_bytes() -> u64 {
    16_384
}

impl ContractConfig {
    /// Reports every mistake, then builds the contract. `embedded` is the signature of a model inside the process.
    pub fn compile(&self, check: &mut Checker, embedded: Option<&Signature>) -> Contract {
        check.within("batch", |check| check.require(self.batch.max >= 1, "max", "a batch of `0` refuses every call"));
        let ports = self.ports(check, embedded);
        let mut symbols = Vec::new();
        let mut inputs = Vec::new();
        for port in &ports {
            let (sizes, config) = (sizes(&port.dims, &mut symbols), self.input(&port.name));
            let range = embedded.and_then(|signature| signature.range_of(&port.name));
            let at = config.map_or(0, |(at, _)| at);
            let rule = check.within("inputs", |check| {
                check.within(at, |check| match config {
                    Some((_, config)) => config.rule(check, port, range),
                    None => InputConfig::default().rule(check, port, range),
                })
            });
            if sizes.is_none() {
                let message = format!("more than {MAX_SYMBOLS} names of dimensions");
                check.within("inputs", |check| check.within(at, |check| check.problem("shape", message)));
            }
            let optional = config.is_some_and(|(_, config)| config.optional);
            inputs.push(Input { sizes: sizes.unwrap_or_default(), optional, rule });
        }
        let outputs = self.outputs(check, embedded);
        // The first symbol met is the batch.
        let batch = (!symbols.is_empty()).then_some((0, self.batch.max));
        let reply =
            self.reply.as_ref().map(|reply| reply.compile(check, &self.outputs, embedded, &mut symbols)).map(Box::new);
        if self.raw_body {
            let message = "only for one input, not `BYTES`, of whose dimensions at most the first is a name";
            check.require(takes_raw(&ports), "raw_body", message);
        }
        Contract {
            raw_body: self.raw_body,
            columns: self.columns == Odds::Allow,
            generate: self.generate(check),
            form: self.form.as_ref().map(|form| check.within("form", |check| form.compile(check))),
            schema: self.schema.as_ref().and_then(|schema| {
                Schema::new(schema).map_err(|why| check.problem("schema", format!("no usable schema: {why}"))).ok()
            }),
            batch,
            reply,
            outputs: match embedded {
                Some(signature) => signature.outputs.iter().map(|port| port.name.clone()).collect(),
                None => self.outputs.iter().map(|output| output.name.as_str().into()).collect(),
            },
            inputs,
            unknown_members: self.unknown_members,
            max_text_bytes: self.text.max_bytes,
            signature: Signature {
                inputs: ports,
                outputs,
                labels: embedded.map_or_else(Vec::new, |signature| signature.labels.clone()),
                text: embedded.is_some_and(|signature| signature.text),
                ranges: embedded.map_or_else(Vec::new, |signature| signature.ranges.clone()),
            },
        }
    }

    /// Reports that a model without a file says no inputs, though a route speaks of its tensors.
    pub fn check_tensors(&self, check: &mut Checker) {
        check.require(!self.inputs.is_empty(), "inputs", "a model that is not embedded says its `inputs`");
    }

    /// Reports that a route of any JSON has no schema to hold it to.
    pub fn check_schema(&self, check: &mut Checker) {
        check.require(self.schema.is_some(), "schema", "a model behind a route with `protocol: json` needs a `schema`");
    }

    /// Reports that a route of forms has no form to hold it to.
    pub fn check_form(&self, check: &mut Checker) {
        check.require(self.form.is_some(), "form", "a model behind a route with `protocol: multipart` needs a `form`");
    }

    fn input(&self, name: &str) -> Option<(usize, &InputConfig)> {
        self.inputs.iter().enumerate().find(|(_, input)| input.name == name)
    }

    /// The ports of the inputs: of the embedded model, narrowed, or as written.
    fn ports(&self, check: &mut Checker, embedded: Option<&Signature>) -> Vec<Port> {
        let mut written = Vec::new();
        check.within("inputs", |check| {
            for (at, input) in self.inputs.iter().enumerate() {
                let twice = self.inputs.iter().take(at).any(|earlier| earlier.name == input.name);
                check.within(at, |check| {
                    check.require(!twice, "name", format!("`{}` names two inputs", input.name));
                    match embedded {
                        Some(signature) => input.check_narrows(check, signature),
                        None => written.extend(input.port("input", check)),
                    }
                });
            }
        });
        let Some(signature) = embedded else { return written };
        let narrowed = |port: &Port| match self.input(&port.name).and_then(|(_, input)| input.shape.as_ref()) {
            Some(shape) => Port { dims: dims(shape), ..port.clone() },
            None => port.clone(),
        };
        signature.inputs.iter().map(narrowed).collect()
    }

    /// The ports of the outputs, for metadata.
    fn outputs(&self, check: &mut Checker, embedded: Option<&Signature>) -> Vec<Port> {
        let mut ports = Vec::new();
        check.within("outputs", |check| {
            for (at, output) in self.outputs.iter().enumerate() {
                let twice = self.outputs.iter().take(at).any(|earlier| earlier.name == output.name);
                check.within(at, |check| {
                    check.require(!twice, "name", format!("`{}` names two outputs", output.name));
                    let held = self.reply.is_some() || !output.judges();
                    check.require(held, "name", "what values an output may have needs `reply` beside `outputs`");
                    if embedded.is_some() {
                        check.problem("name", "the outputs of an embedded model are known");
                    }
                });
                if let (Some(dtype), Some(shape)) = (output.dtype, &output.shape) {
                    ports.push(Port { name: output.name.as_str().into(), dtype, dims: dims(shape) });
                }
            }
        });
        embedded.map_or(ports, |signature| signature.outputs.clone())
    }
}

/// Whether a body's size tells the shape.
fn takes_raw(ports: &[Port]) -> bool {
    let [Port { dtype, dims, .. }] = ports else { return false };
    *dtype != Dtype::Bytes && dims.iter().skip(1).all(|dim| matches!(dim, Dim::Fixed(_)))
}

/// An input of which nothing is said.
impl Default for InputConfig {
    fn default() -> Self {
        let (name, dtype, shape, range, columns, max_length, optional) = Default::default();
        let (nan, infinity, subnormal) = (Odds::Deny, Odds::Deny, Odds::Allow);
        Self { name, dtype, shape, range, nan, infinity, subnormal, columns, max_length, optional }
    }
}

impl InputConfig {
    /// The port of an input, or another `kind` of tensor, that stands in no model file.
    pub(super) fn port(&self, kind: &str, check: &mut Checker) -> Option<Port> {
        check.require(!self.name.is_empty(), "name", format!("an {kind} has a name"));
        let typed = check.require(self.dtype.is_some(), "dtype", format!("{kind} `{}` has no `dtype`", self.name));
        let shaped = check.require(self.shape.is_some(), "shape", format!("{kind} `{}` has no `shape`", self.name));
        if let Some(shape) = &self.shape {
            check_shape(check, shape);
        }
        if !(typed && shaped) {
            return None;
        }
        Some(Port { name: self.name.as_str().into(), dtype: self.dtype?, dims: dims(self.shape.as_ref()?) })
    }

    /// Reports what does not narrow an embedded model's input.
    fn check_narrows(&self, check: &mut Checker, signature: &Signature) {
        let Some(port) = signature.inputs.iter().find(|port| *port.name == *self.name) else {
            let names: Vec<_> = signature.inputs.iter().map(|port| format!("`{}`", port.name)).collect();
            let hint = format!("the model file has {}", names.join(", "));
            return check.problem_hint("name", format!("`{}` is not an input of the model", self.name), hint);
        };
        check.require(!self.optional, "optional", "an embedded model needs all its inputs");
        if let Some(dtype) = self.dtype {
            let message = format!("the model file says `{}`", port.dtype);
            check.require(dtype == port.dtype, "dtype", message);
        }
        let Some(shape) = &self.shape else { return };
        check_shape(check, shape);
        if shape.len() != port.dims.len() {
            return check.problem("shape", format!("the model file has {} dimensions", port.dims.len()));
        }
        for (at, (dim, own)) in shape.iter().zip(&port.dims).enumerate() {
            if let Dim::Fixed(size) = own {
                let message = format!("the model file says `{size}`; a contract may narrow it, never widen it");
                check.within("shape", |check| check.require(*dim == DimConfig::Fixed(*size), at, message));
            }
        }
    }

    /// The rule of the values of `port`.
    /// `made_for` is the range of an embedded model's input.
    pub(super) fn rule(&self, check: &mut Checker, port: &Port, made_for: Option<[f64; 2]>) -> Rule {
        let text = port.dtype == Dtype::Bytes;
        check.require(text || self.max_length.is_none(), "max_length", "only `BYTES` have a length");
        let float = matches!(port.dtype, Dtype::Bf16 | Dtype::Fp16 | Dtype::Fp32 | Dtype::Fp64);
        let odd = [("nan", self.nan, Odds::Deny), ("infinity", self.infinity, Odds::Deny)];
        for (name, odds, default) in odd.into_iter().chain([("subnormal", self.subnormal, Odds::Allow)]) {
            check.require(float || odds == default, name, format!("`{}` has no such numbers", port.dtype));
        }
        let numeric = !matches!(port.dtype, Dtype::Bytes | Dtype::Bool);
        check.require(numeric || self.range.is_none(), "range", format!("`{}` has no range", port.dtype));
        check.require(numeric || self.columns.is_empty(), "columns", format!("`{}` has no columns", port.dtype));
        match Rule::of(port) {
            Rule::Bytes(all) => Rule::Bytes(self.max_length.unwrap_or(all)),
            Rule::F32(_) => Rule::F32(self.numbers(check, port, made_for)),
            Rule::F64(_) => Rule::F64(self.numbers(check, port, made_for)),
            Rule::Int(_) => Rule::Int(self.numbers(check, port, made_for)),
            Rule::Uint(_) => Rule::Uint(self.numbers(check, port, made_for)),
            Rule::Any => Rule::Any,
        }
    }

    fn numbers<T: Number>(&self, check: &mut Checker, port: &Port, made_for: Option<[f64; 2]>) -> Numbers<T> {
        // What a model says of itself is no mistake of the configuration.
        let own = made_for.and_then(|range| bounds(&mut Checker::default(), range, port.dtype));
        let widest = own.unwrap_or_else(|| T::widest(port.dtype));
        let range = self.range.and_then(|range| bounds(check, range, port.dtype)).unwrap_or(widest);
        let narrows = widest.0 <= range.0 && range.1 <= widest.1;
        let message = format!("wider than what the model was made for: {:?} to {:?}", widest.0, widest.1);
        check.require(narrows, "range", message);
        let message = format!("at most {MAX_RULES} rules of columns");
        check.require(self.columns.len() <= MAX_RULES, "columns", message);
        let columns = check.within("columns", |check| {
            let columns = self.columns.iter().enumerate();
            columns.filter_map(|(at, column)| check.within(at, |check| column.compile(check, port))).collect()
        });
        let allows = |odds| odds == Odds::Allow;
        let odd = Odd { infinity: allows(self.infinity), nan: allows(self.nan), subnormal: allows(self.subnormal) };
        Numbers { range, odd, columns }
    }
}

impl Rule {
    /// The rule where nothing is configured: finite numbers of the type, strings of any length.
    pub(super) fn of(port: &Port) -> Self {
        let dtype = port.dtype;
        match dtype {
            Dtype::Bool => Self::Any,
            Dtype::Bytes => Self::Bytes(u64::MAX),
            Dtype::Bf16 | Dtype::Fp16 | Dtype::Fp32 => {
                Self::F32(Numbers { range: f32::widest(dtype), odd: Odd::default(), columns: Vec::new() })
            }
            Dtype::Fp64 => Self::F64(Numbers { range: f64::widest(dtype), odd: Odd::default(), columns: Vec::new() }),
            Dtype::Int8 | Dtype::Int16 | Dtype::Int32 | Dtype::Int64 => {
                Self::Int(Numbers { range: i64::widest(dtype), odd: Odd::default(), columns: Vec::new() })
            }
            Dtype::Uint8 | Dtype::Uint16 | Dtype::Uint32 | Dtype::Uint64 => {
                Self::Uint(Numbers { range: u64::widest(dtype), odd: Odd::default(), columns: Vec::new() })
            }
        }
    }
}

/// A range of the configuration in the type of the values.
pub(super) fn bounds<T: Number>(check: &mut Checker, [low, high]: [f64; 2], dtype: Dtype) -> Option<(T, T)> {
    let (least, greatest) = T::widest(dtype);
    let bounds = T::at_least(low).zip(T::at_most(high));
    let fits = bounds.filter(|(low, high)| least <= *low && low <= high && *high <= greatest);
    check.require(fits.is_some(), "range", format!("not two numbers of `{dtype}`, the lesser first"));
    fits
}

fn check_shape(check: &mut Checker, shape: &[DimConfig]) {
    check.require(shape.len() <= MAX_RANK, "shape", format!("more than {MAX_RANK} dimensions"));
    check.within("shape", |check| {
        for (at, dim) in shape.iter().enumerate() {
            match dim {
                DimConfig::Fixed(size) => check.require(*size >= 1, at, "a dimension of `0` refuses every call"),
                DimConfig::Symbolic(name) => {
                    let named = name.starts_with(|letter: char| letter.is_ascii_alphabetic());
                    check.require(named, at, format!("`{name}` is not a name such as `batch`"))
                }
            };
        }
    });
}

fn dims(shape: &[DimConfig]) -> Vec<Dim> {
    let dim = |dim: &DimConfig| match dim {
        DimConfig::Fixed(size) => Dim::Fixed(*size),
        DimConfig::Symbolic(name) => Dim::Symbolic(name.as_str().into()),
    };
    shape.iter().map(dim).collect()
}
