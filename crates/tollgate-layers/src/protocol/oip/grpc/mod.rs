//! `inference.ModelInferRequest` of the Open Inference Protocol v2 over gRPC, decoded by hand.
//!
//! Field numbers are those of the published `grpc_service.proto`. What protobuf libraries let pass silently is refused:
//! unknown fields, singular fields twice (they merge or take the last), typed contents beside raw ones, raw contents
//! without an input (Triton and MLServer ignore them), a typed field of another datatype (KServe and MLServer pick one).

mod reply;
mod service;
mod stream;

use bytes::{Bytes, BytesMut};
use tollgate_core::call::{Dtype, Tensor};

use super::parameters::{self, Place};
use super::{Request, binary};
use crate::protocol::Wrong;
use crate::protocol::name::{check_id, check_name};
use crate::protocol::protobuf::{Field, Fields, Wire, once};
use crate::protocol::tensor::{self, Dims, MAX_RANK};
pub use reply::{reply, reply_tensors};
pub use service::{Named, PATH, Rpc, empty, model_metadata, named, server_metadata, state};
pub use stream::{Heard, heard};

/// The longest `id`.
const MAX_ID: usize = 128;
/// The most inputs, outputs and parameters of a message.
const MAX_ENTRIES: usize = 128;

/// A request, and the model that it names.
#[derive(Clone, Debug, Default)]
pub struct Infer {
    /// `model_name`
    pub model: Box<str>,
    /// `model_version`; `None` where it is absent or empty.
    pub version: Option<Box<str>>,
    /// The rest.
    pub request: Request,
}

/// Decodes a message.
///
/// # Errors
/// The first mistake.
pub fn infer(message: &Bytes) -> Result<Infer, Wrong> {
    let mut parser = Parser::default();
    let mut fields = Fields::new(message, 0);
    while let Some(field) = fields.next()? {
        parser.field(&field)?;
    }
    parser.finish(message)
}

#[derive(Debug, Default)]
struct Parser {
    model: Option<Box<str>>,
    version: Option<Box<str>>,
    id: Option<Box<str>>,
    parameters: Vec<Box<str>>,
    inputs: Vec<Input>,
    outputs: Vec<Box<str>>,
    raw: Vec<std::ops::Range<usize>>,
}

impl Parser {
    fn field(&mut self, field: &Field<'_>) -> Result<(), Wrong> {
        match field.number {
            1 => once(&mut self.model, text(field)?, field),
            2 => once(&mut self.version, text(field)?, field),
            3 => once(&mut self.id, text(field)?, field),
            4 => parameter(field, Place::Request, &mut self.parameters).map_err(|wrong| wrong.under("parameters")),
            5 => {
                room(self.inputs.len())?;
                let at = self.inputs.len();
                self.inputs.push(
                    Input::read(field, Place::Input { binary: false })
                        .map_err(|wrong| wrong.under(at).under("inputs"))?,
                );
                Ok(())
            }
            6 => {
                room(self.outputs.len())?;
                let at = self.outputs.len();
                let name = output(field).map_err(|wrong| wrong.under(at).under("outputs"))?;
                self.outputs.push(name);
                Ok(())
            }
            7 => {
                room(self.raw.len())?;
                self.raw.push(field.at..field.at + field.bytes()?.len());
                Ok(())
            }
            _ => Err(field.misfit()),
        }
    }

    fn finish(self, message: &Bytes) -> Result<Infer, Wrong> {
        let model = self.model.unwrap_or_default();
        check_name(&model).map_err(|wrong| wrong.under("model_name"))?;
        let id = self.id.filter(|id| !id.is_empty());
        if let Some(id) = &id {
            check_id(id, MAX_ID).map_err(|wrong| wrong.under("id"))?;
        }
        if self.inputs.is_empty() {
            return Err(Wrong::here("at least one input", "none").under("inputs"));
        }
        if !self.raw.is_empty() && self.raw.len() != self.inputs.len() {
            let expected = format!("{} of them, one for each input", self.inputs.len());
            return Err(Wrong::here(expected, self.raw.len().to_string()).under("raw_input_contents"));
        }
        let mut request = Request { id, outputs: self.outputs, ..Request::default() };
        let names: Vec<&str> = request.outputs.iter().map(|name| &**name).collect();
        unique(&names).map_err(|wrong| wrong.under("outputs"))?;
        let names: Vec<&str> = self.inputs.iter().map(|input| &*input.name).collect();
        unique(&names).map_err(|wrong| wrong.under("inputs"))?;
        for (at, input) in self.inputs.into_iter().enumerate() {
            let raw = self.raw.get(at).cloned();
            request.inputs.push(input.tensor(message, raw).map_err(|wrong| wrong.under(at).under("inputs"))?);
        }
        Ok(Infer { model, version: self.version.filter(|version| !version.is_empty()), request })
    }
}

/// `InferInputTensor`
#[derive(Debug, Default)]
struct Input {
    name: Box<str>,
    dtype: Option<Dtype>,
    shape: Dims,
    contents: Option<Contents>,
}

impl Input {
    fn read(field: &Field<'_>, place: Place) -> Result<Self, Wrong> {
        let (mut name, mut dtype, mut contents) = (None, None, None);
        let (mut shape, mut parameters) = (Dims::new(), Vec::new());
        let mut fields = field.message()?;
        while let Some(field) = fields.next()? {
            match field.number {
                1 => once(&mut name, text(&field)?, &field)?,
                2 => once(&mut dtype, field.text()?, &field)?,
                3 => dims(&field, &mut shape).map_err(|wrong| wrong.under("shape"))?,
                // A server may say what it likes there.
                4 if matches!(place, Place::Reply { .. }) => {}
                4 => {
                    parameter(&field, place, &mut parameters).map_err(|wrong| wrong.under("parameters"))?;
                }
                5 => once(&mut contents, Contents::read(&field).map_err(|wrong| wrong.under("contents"))?, &field)?,
                _ => return Err(field.misfit()),
            }
        }
        let name = name.unwrap_or_default();
        check_name(&name).map_err(|wrong| wrong.under("name"))?;
        let dtype = Dtype::from_name(dtype.unwrap_or_default().as_bytes());
        if dtype.is_none() {
            let expected = "a datatype of the protocol, such as `FP32`";
            return Err(Wrong::here(expected, "another string").under("datatype"));
        }
        Ok(Self { name, dtype, shape, contents })
    }

    fn tensor(self, message: &Bytes, raw: Option<std::ops::Range<usize>>) -> Result<Tensor, Wrong> {
        let Self { name, dtype, shape, contents } = self;
        let dtype = dtype.unwrap_or(Dtype::Bytes);
        let elements = tensor::elements(&shape, dtype)
            .ok_or_else(|| Wrong::here("a size that 64 bits can count", "a larger one").under("shape"))?;
        let contents = contents.filter(|contents| contents.kind.is_some());
        let (data, at) = match (contents, raw) {
            (Some(_), Some(_)) => {
                return Err(Wrong::here("either `contents` or `raw_input_contents`", "both").under("contents"));
            }
            (None, None) => return Err(Wrong::here("`contents` or `raw_input_contents`", "neither")),
            (Some(contents), None) => {
                let at = contents.at.clone();
                (contents.raw(dtype, elements).map_err(|wrong| wrong.under("contents"))?, at)
            }
            (None, Some(at)) => (message.slice(at.clone()), at),
        };
        let values = binary::values(data, dtype, elements).map_err(|wrong| wrong.under("contents"))?;
        Ok(Tensor { name, dtype, shape: shape.to_vec(), values, at })
    }
}

/// `InferTensorContents`: one list of values, brought into the raw form while it is read.
#[derive(Debug, Default)]
struct Contents {
    kind: Option<u64>,
    /// Varints as 64 bits each, fixed ones as they stand, strings behind their lengths.
    raw: BytesMut,
    count: u64,
    at: std::ops::Range<usize>,
}

impl Contents {
    fn read(field: &Field<'_>) -> Result<Self, Wrong> {
        let mut contents = Self { at: field.at..field.at + field.bytes()?.len(), ..Self::default() };
        let mut fields = field.message()?;
        while let Some(field) = fields.next()? {
            if contents.kind.is_some_and(|kind| kind != field.number) {
                return Err(Wrong::here("one list of values", "two"));
            }
            contents.kind = Some(field.number);
            contents.list(&field)?;
        }
        Ok(contents)
    }

    /// Reads one value, or a packed list of them.
    fn list(&mut self, field: &Field<'_>) -> Result<(), Wrong> {
        match (field.number, field.value) {
            (1..=5, Wire::Varint(value)) => self.push(&value.to_le_bytes()),
            (1..=5, Wire::Bytes(packed)) => {
                let mut packed = Fields::new(packed, field.at);
                while !packed.is_empty() {
                    let value = packed.varint()?;
                    self.push(&value.to_le_bytes());
                }
            }
            (6, Wire::Fixed32(value)) => self.push(&value),
            (7, Wire::Fixed64(value)) => self.push(&value),
            (6, Wire::Bytes(packed)) if packed.len().is_multiple_of(4) => self.extend(packed, 4),
            (7, Wire::Bytes(packed)) if packed.len().is_multiple_of(8) => self.extend(packed, 8),
            (8, Wire::Bytes(string)) => {
                let length = u32::try_from(string.len()).map_err(|_| field.misfit())?;
                self.raw.extend_from_slice(&length.to_le_bytes());
                self.push(string);
            }
            _ => return Err(field.misfit()),
        }
        Ok(())
    }

    fn push(&mut self, value: &[u8]) {
        self.raw.extend_from_slice(value);
        self.count += 1;
    }

    fn extend(&mut self, packed: &[u8], width: u64) {
        self.raw.extend_from_slice(packed);
        self.count += packed.len() as u64 / width;
    }

    /// The values in the raw form of `dtype`, each within its type.
    fn raw(self, dtype: Dtype, elements: u64) -> Result<Bytes, Wrong> {
        let own = match dtype {
            Dtype::Bf16 | Dtype::Fp16 => return Err(Wrong::here("`raw_input_contents`", dtype.name())),
            Dtype::Bool => 1,
            Dtype::Int8 | Dtype::Int16 | Dtype::Int32 => 2,
            Dtype::Int64 => 3,
            Dtype::Uint8 | Dtype::Uint16 | Dtype::Uint32 => 4,
            Dtype::Uint64 => 5,
            Dtype::Fp32 => 6,
            Dtype::Fp64 => 7,
            Dtype::Bytes => 8,
        };
        if self.kind != Some(own) {
            return Err(Wrong::here(format!("the list of {dtype} values"), "another list"));
        }
        if self.count != elements {
            let expected = format!("{elements} elements, the product of the shape");
            return Err(Wrong::here(expected, format!("{} elements", self.count)));
        }
        let Some(width) = dtype.width().filter(|_| own <= 5) else { return Ok(self.raw.freeze()) };
        let width = usize::try_from(width).unwrap_or(8);
        narrow(&self.raw, dtype, width)
    }
}

/// Cuts varints, kept as 64 bits, to the width of their type, where no bit is lost by it.
fn narrow(wide: &[u8], dtype: Dtype, width: usize) -> Result<Bytes, Wrong> {
    let signed = matches!(dtype, Dtype::Int8 | Dtype::Int16 | Dtype::Int32 | Dtype::Int64);
    let mut narrow = BytesMut::with_capacity(wide.len() / 8 * width);
    for (index, value) in wide.as_chunks::<8>().0.iter().enumerate() {
        let (kept, lost) = value.split_at_checked(width).unwrap_or((value, &[]));
        let negative = signed && kept.last().is_some_and(|byte| byte & 0x80 != 0);
        let filler = if negative { 0xFF } else { 0 };
        if lost.iter().any(|byte| *byte != filler) {
            return Err(Wrong::here(format!("a value of {dtype}"), "one beyond it").element(index as u64));
        }
        narrow.extend_from_slice(kept);
    }
    Ok(narrow.freeze())
}

/// `InferRequestedOutputTensor`
fn output(field: &Field<'_>) -> Result<Box<str>, Wrong> {
    let (mut name, mut parameters) = (None, Vec::new());
    let mut fields = field.message()?;
    while let Some(field) = fields.next()? {
        match field.number {
            1 => once(&mut name, text(&field)?, &field)?,
            2 => parameter(&field, Place::Output, &mut parameters).map_err(|wrong| wrong.under("parameters"))?,
            _ => return Err(field.misfit()),
        }
    }
    let name = name.unwrap_or_default();
    check_name(&name).map_err(|wrong| wrong.under("name"))?;
    Ok(name)
}

/// An entry of `map<string, InferParameter>`. A key twice is refused: libraries take the last.
fn parameter(field: &Field<'_>, place: Place, taken: &mut Vec<Box<str>>) -> Result<(), Wrong> {
    room(taken.len())?;
    let (mut key, mut count) = (None, None);
    let mut fields = field.message()?;
    while let Some(field) = fields.next()? {
        match field.number {
            1 => once(&mut key, text(&field)?, &field)?,
            2 => once(&mut count, choice(&field)?, &field)?,
            _ => return Err(field.misfit()),
        }
    }
    let key = key.unwrap_or_default();
    if taken.contains(&key) {
        return Err(Wrong::Broken { expected: "each key of a map once", at: field.at });
    }
    parameters::check_grpc(&key, place, count.flatten())?;
    taken.push(key);
    Ok(())
}

/// `InferParameter`: the integer, where it is one.
fn choice(field: &Field<'_>) -> Result<Option<i64>, Wrong> {
    let mut fields = field.message()?;
    let mut chosen = None;
    while let Some(field) = fields.next()? {
        let value = match (field.number, field.value) {
            (1, Wire::Varint(_)) | (3, Wire::Bytes(_)) | (4, Wire::Fixed64(_)) => None,
            (2 | 5, Wire::Varint(value)) => i64::try_from(value).ok(),
            _ => return Err(field.misfit()),
        };
        once(&mut chosen, value, &field)?;
    }
    Ok(chosen.flatten())
}

/// `repeated int64 shape`, packed or not.
fn dims(field: &Field<'_>, shape: &mut Dims) -> Result<(), Wrong> {
    match field.value {
        Wire::Varint(value) => dim(value, shape),
        Wire::Bytes(packed) => {
            let mut packed = Fields::new(packed, field.at);
            while !packed.is_empty() {
                dim(packed.varint()?, shape)?;
            }
            Ok(())
        }
        _ => Err(field.misfit()),
    }
}

fn dim(value: u64, shape: &mut Dims) -> Result<(), Wrong> {
    let signed = value.cast_signed();
    if signed < 1 {
        return Err(Wrong::here("an integer of at least 1", signed.to_string()).under(shape.len()));
    }
    shape.try_push(value).map_err(|_| Wrong::here(format!("at most {MAX_RANK} dimensions"), "more"))
}

/// A text without NUL.
fn text(field: &Field<'_>) -> Result<Box<str>, Wrong> {
    let text = field.text()?;
    if text.contains('\0') {
        return Err(Wrong::Broken { expected: "names and ids without NUL", at: field.at });
    }
    Ok(text.into())
}

fn room(taken: usize) -> Result<(), Wrong> {
    if taken < MAX_ENTRIES { Ok(()) } else { Err(Wrong::here(format!("at most {MAX_ENTRIES} of a kind"), "more")) }
}

fn unique(names: &[&str]) -> Result<(), Wrong> {
    for (at, name) in names.iter().enumerate() {
        if names.iter().take(at).any(|earlier| earlier == name) {
            return Err(Wrong::here("a name that stands once", "a name that stands twice").under("name").under(at));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
