//! What a model takes: names, types, shapes, ranges, counts. A guard: a body that fits no contract can be watched
//! first. What is no well-formed call at all never comes here; `parse` is a gate.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::indexing_slicing))]

mod columns;
mod config;
mod generate;
mod reply;
mod rule;
mod schema;
mod seen;
#[cfg(test)]
mod tests;
mod texts;
mod uploads;
mod urls;

use std::sync::Arc;

use tollgate_core::backend::{Dim, Port, Signature};
use tollgate_core::call::{Call, Dialect, Edit, ModelId, Prompt, Tensor, Values};
use tollgate_core::journal::{Fact, Notes};
use tollgate_core::ruling::{Code, Refusal, Ruling, Spot};

use crate::protocol::openai::{self, Endpoint};
use crate::protocol::{escaped, json, plain, refuse};
use crate::routes::Route;
pub use columns::{At, ColumnConfig};
pub use config::{BatchConfig, ContractConfig, DimConfig, InputConfig, Odds, OpenApiRef, TextConfig, UnknownMembers};
use generate::Generate;
use reply::ReplyRule;
pub use reply::{Awaited, Held, OutputConfig, ReplyConfig, broken};
use rule::Rule;
use schema::Schema;
pub use schema::usable;
pub use seen::{Seen, Span};
pub use texts::{MediaConfig, Over};
use uploads::Form;
pub use uploads::{FieldConfig, FileConfig, FormConfig};
pub use urls::{MediaHostsConfig, MediaUrlsConfig};

/// The compiled layer: one contract for each model, in table order.
#[derive(Debug, Default)]
pub struct Contracts {
    contracts: Vec<Arc<Contract>>,
}

/// What one model takes.
#[derive(Debug, Default)]
pub struct Contract {
    signature: Signature,
    inputs: Vec<Input>,
    /// Names of outputs that may be asked for; empty where they are not known.
    outputs: Vec<Box<str>>,
    /// The symbol that is the batch, and the most that it may be.
    batch: Option<(usize, u64)>,
    unknown_members: UnknownMembers,
    /// Bounds of a model of texts.
    generate: Generate,
    /// What any JSON is held to.
    schema: Option<Schema>,
    /// The form that it takes.
    form: Option<Form>,
    /// What replies are held to.
    reply: Option<Box<ReplyRule>>,
    /// Whether a body may be the one input's raw values.
    raw_body: bool,
    /// Whether rows may come as columns.
    columns: bool,
    /// Bytes of the longest text, for a text model.
    max_text_bytes: u64,
}

/// What one input takes, beside its port in the signature.
#[derive(Debug)]
struct Input {
    sizes: Vec<Size>,
    optional: bool,
    rule: Rule,
}

/// A dimension, its symbol resolved to a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Size {
    Fixed(u64),
    Symbol(usize),
}

/// The most symbolic dimensions of a contract.
pub const MAX_SYMBOLS: usize = 16;

impl Contracts {
    /// Takes the contracts of all models, in table order.
    #[must_use]
    pub const fn new(contracts: Vec<Arc<Contract>>) -> Self {
        Self { contracts }
    }

    /// The contract of a model.
    #[must_use]
    pub fn of(&self, model: ModelId) -> Option<&Contract> {
        self.contracts.get(model.index()).map(|contract| &**contract)
    }

    /// Checks a call against its model's contract. The first mistake is refused, and its spot says where it stands.
    ///
    /// # Errors
    /// `invalid_call`.
    pub fn check(&self, _route: &Route, call: &Call, body: &[u8], notes: &mut Notes<'_>) -> Ruling<()> {
        if call.dialect == Dialect::Other {
            return Ok(());
        }
        if call.unknown_members > 0 {
            notes.note(Fact::UnknownMembers, call.unknown_members);
        }
        let contract = call.model.and_then(|model| self.contracts.get(model.index()));
        // A dialect that is understood always has a model; without a contract nothing vouches for the call.
        let contract = contract.ok_or_else(|| Refusal::new(Code::NotFound).because("the call is for no model"))?;
        contract.check_in(call, body).map_err(Into::into)
    }
}

impl Contract {
    /// Names, types and shapes: what metadata shows and the plain dialect is read by.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The input that a body without JSON is, where the contract takes such.
    #[must_use]
    pub fn raw_body(&self) -> Option<&Port> {
        self.signature.inputs.first().filter(|_| self.raw_body)
    }

    /// What the gateway changes in a request of texts.
    #[must_use]
    pub fn edits(&self, endpoint: Endpoint, request: &openai::Request) -> Vec<Edit> {
        self.generate.edits(endpoint, request, self.unknown_members)
    }

    /// The most tokens of one answer, after those edits; `asked` by the client.
    #[must_use]
    pub fn output_cap(&self, endpoint: Endpoint, asked: Option<u64>) -> Option<u64> {
        self.generate.output_cap(endpoint, asked)
    }

    /// Tokens of texts that the model will read, in its own measure.
    #[must_use]
    pub fn count_tokens(&self, prompts: &[Prompt]) -> u64 {
        self.generate.count_tokens(prompts)
    }

    /// Checks a call that has no body of JSON, such as a message of gRPC.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(&self, call: &Call) -> Result<(), Refusal> {
        self.check_in(call, &[])
    }

    /// Checks a call. In its `body` the place of a mistake is looked up, and nothing else.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check_in(&self, call: &Call, body: &[u8]) -> Result<(), Refusal> {
        if let (Some(schema), Some(document)) = (&self.schema, &call.document) {
            schema.check(document)?;
        } else if call.dialect == Dialect::Upload || !call.parts.is_empty() {
            self.check_upload(call, body)?;
        } else if matches!(call.dialect, Dialect::Anthropic | Dialect::Ollama | Dialect::OpenAi) {
            self.generate.check(call, body)?;
        } else if self.signature.text && call.dialect == Dialect::Plain && is_text(call) {
            self.check_text(call)?;
        } else {
            self.check_inputs(call, body)?;
            self.generate.check_media(call, body)?;
        }
        self.check_outputs(call)?;
        if self.unknown_members == UnknownMembers::Deny && call.unknown_members > 0 {
            return Err(wrong("", "known members only", format!("{} others", call.unknown_members)));
        }
        Ok(())
    }

    /// Files: a form, or a body that is one.
    fn check_upload(&self, call: &Call, body: &[u8]) -> Result<(), Refusal> {
        match &self.form {
            _ if call.parts.is_empty() => {}
            Some(form) => form.check(call, body)?,
            None => return Err(wrong("", "another body: the model takes no form", "a form")),
        }
        self.generate.check(call, body)
    }

    fn check_text(&self, call: &Call) -> Result<(), Refusal> {
        let longest = call.inputs.iter().map(|tensor| match &tensor.values {
            Values::Bytes(texts) => texts.iter().map(|text| text.len() as u64).max().unwrap_or(0),
            _ => 0,
        });
        let longest = longest.max().unwrap_or(0);
        if longest <= self.max_text_bytes {
            return Ok(());
        }
        Err(wrong("/text", format!("at most {} bytes of text", self.max_text_bytes), format!("{longest} bytes")))
    }

    fn check_inputs(&self, call: &Call, body: &[u8]) -> Result<(), Refusal> {
        if call.columns && !self.columns {
            return Err(wrong("/inputs", "rows, as `instances`", "columns"));
        }
        let mut symbols = [0_u64; MAX_SYMBOLS];
        for (place, tensor) in call.inputs.iter().enumerate() {
            let known = self.signature.inputs.iter().zip(&self.inputs).find(|(port, _)| port.name == tensor.name);
            let Some((port, input)) = known else {
                let pointer = self.pointer(&Asked { call, body, place, tensor }, "name");
                return Err(wrong(pointer, "an input of the model", "another name"));
            };
            self.check_tensor(&Asked { call, body, place, tensor }, port, input, &mut symbols)?;
        }
        for (port, input) in self.signature.inputs.iter().zip(&self.inputs) {
            if !input.optional && !call.inputs.iter().any(|tensor| tensor.name == port.name) {
                let in_rows =
                    call.dialect == Dialect::KserveV1 && call.inputs.iter().any(|tensor| tensor.at.is_empty());
                let pointer = match call.dialect {
                    Dialect::Plain => "",
                    _ if in_rows => "/instances",
                    _ => "/inputs",
                };
                return Err(wrong(pointer, format!("input `{}`", port.name), "none of that name"));
            }
        }
        Ok(())
    }

    fn check_tensor(
        &self,
        asked: &Asked<'_>,
        port: &Port,
        input: &Input,
        symbols: &mut Symbols,
    ) -> Result<(), Refusal> {
        let tensor = asked.tensor;
        if tensor.dtype != port.dtype {
            let pointer = self.pointer(asked, "datatype");
            let expected = format!("{} for input `{}`", port.dtype, port.name);
            return Err(wrong(pointer, expected, tensor.dtype.name()));
        }
        self.check_shape(asked, port, input, symbols)?;
        let width = usize::try_from(tensor.shape.last().copied().unwrap_or(1)).unwrap_or(usize::MAX);
        let Err(misfit) = input.rule.check(&tensor.values, tensor.dtype, width) else {
            return Ok(());
        };
        let pointer = self.pointer(asked, "data");
        let expected = format!("{} in input `{}`", misfit.expected, port.name);
        Err(refuse(Spot { pointer, expected, found: misfit.found, index: Some(misfit.index) }))
    }

    fn check_shape(&self, asked: &Asked<'_>, port: &Port, input: &Input, symbols: &mut Symbols) -> Result<(), Refusal> {
        let Asked { call, tensor, .. } = *asked;
        if tensor.shape.len() != input.sizes.len() {
            let pointer = self.pointer(asked, "shape");
            let expected = format!("{} dimensions of input `{}`", input.sizes.len(), port.name);
            return Err(wrong(pointer, expected, format!("{}", tensor.shape.len())));
        }
        for (axis, (found, size)) in tensor.shape.iter().zip(&input.sizes).enumerate() {
            let Err(expected) = self.check_size(*found, *size, symbols) else { continue };
            let pointer = match call.dialect {
                Dialect::Plain => self.pointer(asked, "shape"),
                _ => self.pointer(asked, &format!("shape/{axis}")),
            };
            let expected = format!("{expected} in dimension {} of input `{}`", axis + 1, port.name);
            return Err(wrong(pointer, expected, format!("{found}")));
        }
        Ok(())
    }

    /// Compares one dimension; a symbol takes the first size it meets. What is expected, if it does not fit.
    fn check_size(&self, found: u64, size: Size, symbols: &mut Symbols) -> Result<(), String> {
        let symbol = match size {
            Size::Fixed(fixed) if fixed == found => return Ok(()),
            Size::Fixed(fixed) => return Err(format!("{fixed}")),
            Size::Symbol(symbol) => symbol,
        };
        if let Some((batch, max)) = self.batch
            && batch == symbol
            && found > max
        {
            return Err(format!("a batch of at most {max}"));
        }
        let Some(bound) = symbols.get_mut(symbol) else { return Err("fewer symbols".to_owned()) };
        if found == 0 {
            return Err("at least 1".to_owned());
        }
        if *bound == 0 {
            *bound = found;
        }
        if *bound == found { Ok(()) } else { Err(format!("{bound}, as before,")) }
    }

    fn check_outputs(&self, call: &Call) -> Result<(), Refusal> {
        if self.outputs.is_empty() {
            return Ok(());
        }
        let unknown = call.outputs.iter().position(|name| !self.outputs.contains(name));
        match unknown {
            None => Ok(()),
            Some(place) => Err(wrong(format!("/outputs/{place}/name"), "an output of the model", "another name")),
        }
    }

    /// Where a member of an input stands in the words of the call's dialect.
    fn pointer(&self, asked: &Asked<'_>, member: &str) -> String {
        let Asked { call, body, place, tensor } = *asked;
        if matches!(call.dialect, Dialect::KserveV1 | Dialect::TfColumns) {
            // Of an input that stands in pieces, a row here and a row there, the list of rows.
            return json::pointer(body, tensor.at.start).unwrap_or_default();
        }
        if call.dialect != Dialect::Plain {
            return format!("/inputs/{place}/{member}");
        }
        match self.signature.inputs.as_slice() {
            [only] if only.name == tensor.name => format!("/{}", plain::FEATURES),
            _ => format!("/{}", escaped(&tensor.name)),
        }
    }
}

/// Sizes of symbols met so far; 0 for none.
type Symbols = [u64; MAX_SYMBOLS];

/// A tensor of a call, and its place among the inputs.
#[derive(Clone, Copy)]
struct Asked<'a> {
    call: &'a Call,
    body: &'a [u8],
    place: usize,
    tensor: &'a Tensor,
}

/// Whether the only tensor is the text of a plain body.
fn is_text(call: &Call) -> bool {
    matches!(call.inputs.as_slice(), [only] if &*only.name == plain::TEXT)
}

fn wrong(pointer: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Refusal {
    refuse(spot(pointer, expected, found))
}

fn spot(pointer: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Spot {
    Spot { pointer: pointer.into(), expected: expected.into(), found: found.into(), index: None }
}

/// The dimensions of a port with its symbols resolved; new symbols are added, `None` when there are too many.
fn sizes(dims: &[Dim], symbols: &mut Vec<Box<str>>) -> Option<Vec<Size>> {
    let resolve = |dim: &Dim| match dim {
        Dim::Fixed(size) => Some(Size::Fixed(*size)),
        Dim::Symbolic(name) => {
            let place = symbols.iter().position(|symbol| symbol == name).unwrap_or_else(|| {
                symbols.push(name.clone());
                symbols.len() - 1
            });
            (place < MAX_SYMBOLS).then_some(Size::Symbol(place))
        }
    };
    dims.iter().map(resolve).collect()
}
