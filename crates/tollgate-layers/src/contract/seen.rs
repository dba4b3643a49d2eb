//! What calls were like, in numbers: how large, how long, how many. Nothing of what they said, and no name that the
//! contract does not have, so that there is never more of it than the contract has places.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_core::call::{Ask, Call, Dtype, Role, Values};

use super::Contract;
use super::rule::{bf16, fp16};
use crate::protocol::{escaped, tensor};

/// The most places of a document that are followed, and values of one that are looked at.
const MOST_PLACES: usize = 64;
const MOST_VALUES: usize = 20_000;
const MAX_DEPTH: usize = 8;

/// What the calls of a model were like.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Seen {
    /// How many calls.
    pub requests: u64,
    /// Rows of a call.
    pub batch: Span,
    /// Values of inputs: numbers of a tensor, or bytes of its strings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Span>,
    /// Bounds of texts, by the words of the contract.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, Span>,
    /// Places of documents that the schema names, with `*` for every item: numbers, and how long texts and lists are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub places: BTreeMap<String, Span>,
}

/// Least and greatest of something, and how many calls support that.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Span {
    /// How many calls.
    pub requests: u64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl Span {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        // NaN and infinities are no bounds that a contract could have.
        values.filter(|value| value.is_finite()).map(Self::one).fold(Self::default(), |mut all, one| {
            all.widen(one);
            all.requests = 1;
            all
        })
    }

    const fn one(value: f64) -> Self {
        Self { requests: 1, least: value, greatest: value }
    }

    #[expect(clippy::cast_precision_loss, reason = "a length beyond 2^53 bounds nothing")]
    const fn count(value: u64) -> Self {
        Self::one(value as f64)
    }

    fn widen(&mut self, more: Self) {
        if more.requests == 0 {
            return;
        }
        let first = self.requests == 0;
        self.least = if first { more.least } else { self.least.min(more.least) };
        self.greatest = if first { more.greatest } else { self.greatest.max(more.greatest) };
        self.requests = self.requests.saturating_add(more.requests);
    }
}

impl Seen {
    /// Adds what other calls were like.
    pub fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.batch.widen(more.batch);
        for (all, more) in
            [(&mut self.inputs, more.inputs), (&mut self.texts, more.texts), (&mut self.places, more.places)]
        {
            for (name, span) in more {
                all.entry(name).or_default().widen(span);
            }
        }
    }
}

impl Contract {
    /// What one call was like.
    #[must_use]
    pub fn seen(&self, call: &Call) -> Seen {
        let mut seen = Seen { requests: 1, ..Seen::default() };
        for tensor in &call.inputs {
            let Some(port) = self.signature.inputs.iter().find(|port| port.name == tensor.name) else { continue };
            seen.inputs.entry(port.name.to_string()).or_default().widen(values(&tensor.values, tensor.dtype));
            if let (Some(rows), Some(_)) = (tensor.shape.first(), self.batch) {
                seen.batch = Span::count(*rows);
            }
        }
        if !call.prompts.is_empty() {
            seen.texts = texts(call);
        }
        if let (Some(schema), Some(document)) = (&self.schema, &call.document) {
            let mut walk = Walk { root: schema.source(), places: BTreeMap::new(), values: 0 };
            walk.place(schema.source(), document, "", 0);
            seen.places = walk.places;
        }
        seen
    }
}

fn texts(call: &Call) -> BTreeMap<String, Span> {
    let chars = |prompt: &tollgate_core::call::Prompt| prompt.text.chars().count() as u64;
    let system = call.prompts.iter().filter(|prompt| prompt.role == Role::System).map(chars).max();
    let rest = call.prompts.iter().filter(|prompt| prompt.role != Role::System).map(chars).max();
    let mut found = BTreeMap::from([
        ("max_chars".to_owned(), Span::count(call.prompts.iter().map(chars).sum())),
        ("max_input_tokens".to_owned(), Span::count(call.knobs.input_tokens)),
    ]);
    found.extend(system.map(|most| ("max_system_chars".to_owned(), Span::count(most))));
    found.extend(rest.map(|most| ("max_message_chars".to_owned(), Span::count(most))));
    for asked in &call.knobs.asked {
        let name = match asked.what {
            Ask::Choices => "n",
            Ask::Messages => "max_messages",
            Ask::OutputTokens => "max_output_tokens",
            Ask::Prompts => "max_prompts",
            Ask::Stops => "max_stops",
            Ask::Tools => "max_tools",
            _ => continue,
        };
        // Several spellings of one wish are one wish, the largest.
        let wish = found.entry(name.to_owned()).or_default();
        wish.widen(Span::count(asked.value));
        wish.requests = 1;
    }
    found
}

/// Numbers, or lengths of strings.
#[expect(clippy::cast_precision_loss, reason = "bounds of a proposal, which people round")]
fn values(values: &Values, dtype: Dtype) -> Span {
    match values {
        Values::Bool(_) => Span::default(),
        Values::Bytes(texts) => Span::of(texts.iter().map(|text| text.len() as f64)),
        Values::F32(values) => Span::of(values.iter().map(|value| f64::from(*value))),
        Values::F64(values) => Span::of(values.iter().copied()),
        Values::Int(values) => Span::of(values.iter().map(|value| *value as f64)),
        Values::Raw(raw, _) => raw_values(raw, dtype),
        Values::Uint(values) => Span::of(values.iter().map(|value| *value as f64)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "bounds of a proposal, which people round")]
fn raw_values(raw: &[u8], dtype: Dtype) -> Span {
    fn each<const N: usize>(raw: &[u8], decode: impl Fn([u8; N]) -> f64) -> Span {
        Span::of(raw.as_chunks::<N>().0.iter().map(|cell| decode(*cell)))
    }
    match dtype {
        Dtype::Bf16 => each(raw, |cell| bf16(cell).into()),
        Dtype::Bool => Span::default(),
        Dtype::Bytes => Span::of(tensor::strings(raw).map(|text| text.len() as f64)),
        Dtype::Fp16 => each(raw, |cell| fp16(cell).into()),
        Dtype::Fp32 => each(raw, |cell| f32::from_le_bytes(cell).into()),
        Dtype::Fp64 => each(raw, f64::from_le_bytes),
        Dtype::Int8 => each(raw, |[byte]: [u8; 1]| byte.cast_signed().into()),
        Dtype::Int16 => each(raw, |cell| i16::from_le_bytes(cell).into()),
        Dtype::Int32 => each(raw, |cell| i32::from_le_bytes(cell).into()),
        Dtype::Int64 => each(raw, |cell| i64::from_le_bytes(cell) as f64),
        Dtype::Uint8 => each(raw, |[byte]: [u8; 1]| byte.into()),
        Dtype::Uint16 => each(raw, |cell| u16::from_le_bytes(cell).into()),
        Dtype::Uint32 => each(raw, |cell| u32::from_le_bytes(cell).into()),
        Dtype::Uint64 => each(raw, |cell| u64::from_le_bytes(cell) as f64),
    }
}

/// Follows a document along the properties and items of its schema.
struct Walk<'a> {
    root: &'a Value,
    places: BTreeMap<String, Span>,
    values: usize,
}

impl<'a> Walk<'a> {
    fn place(&mut self, schema: &'a Value, value: &Value, at: &str, depth: usize) {
        self.values += 1;
        let full = self.places.len() >= MOST_PLACES && !self.places.contains_key(at);
        if depth > MAX_DEPTH || self.values > MOST_VALUES || full {
            return;
        }
        let schema = self.meant(schema);
        let size = match value {
            Value::Array(items) => {
                if let Some(inner) = schema.get("items") {
                    let at = format!("{at}/*");
                    for item in items.iter().take(MOST_VALUES) {
                        self.place(inner, item, &at, depth + 1);
                    }
                }
                Some(Span::count(items.len() as u64))
            }
            Value::Number(number) => number.as_f64().map(Span::one),
            Value::Object(members) => {
                for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    if let Some(member) = members.get(name) {
                        self.place(inner, member, &format!("{at}/{}", escaped(name)), depth + 1);
                    }
                }
                None
            }
            Value::String(text) => Some(Span::count(text.chars().count() as u64)),
            Value::Bool(_) | Value::Null => None,
        };
        if let Some(size) = size {
            let known = self.places.entry(at.to_owned()).or_default();
            known.widen(size);
            known.requests = 1;
        }
    }

    /// The schema itself, or the one of `$defs` that it refers to.
    fn meant(&self, schema: &'a Value) -> &'a Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
        name.and_then(|name| self.root.get("$defs")?.get(name)).unwrap_or(schema)
    }
}
