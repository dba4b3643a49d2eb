//! The body of an inference request: `{id?, parameters?, inputs: […], outputs?: […]}`.
//!
//! Structure only: which names, types and values a model takes is for its contract.

use std::ops::Range;

use bytes::Bytes;
use tollgate_core::call::{Dtype, Tensor};

use super::binary::Tail;
use super::parameters::{self, Place};
use crate::protocol::Wrong;
use crate::protocol::json::{self, Kind, Reader};
use crate::protocol::name;
use crate::protocol::tensor::{self, Dims, Form, MAX_RANK};

/// The longest `id`.
const MAX_ID: usize = 128;
/// The most inputs, and the most outputs, of a request.
const MAX_TENSORS: usize = 128;

/// A request as the protocol understands it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `id`
    pub id: Option<Box<str>>,
    /// `inputs`: at least one, names unique.
    pub inputs: Vec<Tensor>,
    /// Names of `outputs`, unique.
    pub outputs: Vec<Box<str>>,
    /// Members that the protocol does not have.
    pub unknown_members: u32,
}

/// Parses a body of JSON. What is malformed is `Malformed` even where something else is wrong before it.
///
/// # Errors
/// The first mistake.
pub fn request(body: &[u8], limits: json::Limits) -> Result<Request, Wrong> {
    parse(body, None, limits)
}

/// The tensors of a reply, whose first `json` bytes are JSON where it says so: its outputs, read like inputs.
///
/// # Errors
/// The first mistake.
pub fn reply_tensors(body: &Bytes, json: Option<usize>, limits: json::Limits) -> Result<Vec<Tensor>, Wrong> {
    let end = json.unwrap_or(body.len()).min(body.len());
    let tail = json.map(|json| Tail::new(body.slice(end..), json));
    let head = body.slice(..end);
    let mut parser = Parser { reader: Reader::new(&head, limits)?, request: Request::default(), tail, reply: true };
    parser.document()?;
    Ok(parser.request.inputs)
}

/// Parses a body whose first `json` bytes are JSON and whose rest is tensors.
///
/// # Errors
/// The first mistake.
pub fn binary_request(body: &Bytes, json: usize, limits: json::Limits) -> Result<Request, Wrong> {
    let (head, tail) = (body.slice(..json.min(body.len())), body.slice(json.min(body.len())..));
    parse(&head, Some(Tail::new(tail, json)), limits)
}

fn parse(body: &[u8], tail: Option<Tail>, limits: json::Limits) -> Result<Request, Wrong> {
    let mut parser = Parser { reader: Reader::new(body, limits)?, request: Request::default(), tail, reply: false };
    parser.document().map_err(|wrong| wrong.unless_malformed(body, limits))?;
    Ok(parser.request)
}

struct Parser<'a> {
    reader: Reader<'a>,
    request: Request,
    /// What stands behind the JSON; `None` where nothing may.
    tail: Option<Tail>,
    /// It is a reply: its tensors are called outputs, and its parameters are the server's.
    reply: bool,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<(), Wrong> {
        let mut inputs = false;
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            match &*key {
                "outputs" if self.reply => {
                    inputs = true;
                    self.tensors(Self::input).map_err(|wrong| wrong.under("outputs"))?;
                }
                _ if self.reply => self.reader.skip()?,
                "id" => {
                    let id = name::id(&mut self.reader, MAX_ID).map_err(|wrong| wrong.under("id"))?;
                    self.request.id = Some(id);
                }
                "inputs" => {
                    inputs = true;
                    self.tensors(Self::input).map_err(|wrong| wrong.under("inputs"))?;
                }
                "outputs" => self.tensors(Self::output).map_err(|wrong| wrong.under("outputs"))?,
                "parameters" => {
                    parameters::read(&mut self.reader, Place::Request).map_err(|wrong| wrong.under("parameters"))?;
                }
                _ => self.unknown()?,
            }
        }
        self.reader.finish()?;
        let (one, many) = if self.reply { ("output", "outputs") } else { ("input", "inputs") };
        if !inputs {
            return Err(missing(many));
        }
        if self.request.inputs.is_empty() {
            return Err(Wrong::here(format!("at least one {one}"), "none").under(many));
        }
        self.tail.as_ref().map_or(Ok(()), Tail::finish)
    }

    /// Reads an array of at most [`MAX_TENSORS`] objects.
    fn tensors(&mut self, one: fn(&mut Self) -> Result<(), Wrong>) -> Result<(), Wrong> {
        let kind = self.reader.peek()?;
        if kind != Kind::Array {
            return Err(Wrong::here(Kind::Array.name(), kind.name()));
        }
        self.reader.enter_array()?;
        let mut count = 0;
        while self.reader.next_item()? {
            if count == MAX_TENSORS {
                return Err(Wrong::here(format!("at most {MAX_TENSORS} of them"), "more"));
            }
            one(self).map_err(|wrong| wrong.under(count))?;
            count += 1;
        }
        Ok(())
    }

    fn input(&mut self) -> Result<(), Wrong> {
        let mut input = Input::default();
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            match &*key {
                "name" => input.name = Some(self.name(Self::input_names)?),
                "datatype" => input.dtype = Some(self.dtype().map_err(|wrong| wrong.under("datatype"))?),
                "shape" => input.shape = Some(self.shape().map_err(|wrong| wrong.under("shape"))?),
                "parameters" => {
                    let binary = self.tail.is_some();
                    let place = if self.reply { Place::Reply { binary } } else { Place::Input { binary } };
                    let read = parameters::read(&mut self.reader, place);
                    input.size = read.map_err(|wrong| wrong.under("parameters"))?;
                }
                "data" => self.data(&mut input)?,
                _ => self.unknown()?,
            }
        }
        if let Some(size) = input.size {
            self.raw(&mut input, size)?;
        } else if input.values.is_none() {
            // The data came before its type or shape: it was passed over, and is read now.
            let at = input.at.clone().ok_or_else(|| missing("data"))?;
            let end = self.reader.at();
            self.reader.go_to(at.start);
            self.values(&mut input)?;
            self.reader.go_to(end);
        }
        self.request.inputs.push(input.tensor()?);
        Ok(())
    }

    /// Reads the data, or passes over it while its type or shape is not known.
    fn data(&mut self, input: &mut Input) -> Result<(), Wrong> {
        let kind = self.reader.peek()?;
        if kind != Kind::Array {
            return Err(Wrong::here(Kind::Array.name(), kind.name()).under("data"));
        }
        let start = self.reader.at();
        if input.dtype.is_some() && input.shape.is_some() {
            self.values(input)?;
        } else {
            self.reader.skip()?;
        }
        input.at = Some(start..self.reader.at());
        Ok(())
    }

    fn values(&mut self, input: &mut Input) -> Result<(), Wrong> {
        let (dtype, elements) = input.claim()?;
        let form = Form::Shaped(input.shape.as_deref().unwrap_or_default(), elements);
        let (values, _) = tensor::read(&mut self.reader, dtype, form).map_err(|wrong| wrong.under("data"))?;
        input.values = Some(values);
        Ok(())
    }

    /// Takes the data from behind the JSON. With both forms KServe silently takes the one in the JSON.
    fn raw(&mut self, input: &mut Input, size: usize) -> Result<(), Wrong> {
        if input.at.is_some() {
            return Err(Wrong::here("either `data` or `binary_data_size`", "both").under("data"));
        }
        let (dtype, elements) = input.claim()?;
        let tail = self.tail.as_mut().ok_or_else(|| missing("data"))?;
        let taken = tail.take(size, dtype, elements);
        let (values, at) = taken.map_err(|wrong| wrong.under("binary_data_size").under("parameters"))?;
        (input.values, input.at) = (Some(values), Some(at));
        Ok(())
    }

    fn output(&mut self) -> Result<(), Wrong> {
        let mut name = None;
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            match &*key {
                "name" => name = Some(self.name(Self::output_names)?),
                "parameters" => {
                    parameters::read(&mut self.reader, Place::Output).map_err(|wrong| wrong.under("parameters"))?;
                }
                _ => self.unknown()?,
            }
        }
        self.request.outputs.push(name.ok_or_else(|| missing("name"))?);
        Ok(())
    }

    /// Reads a name that none of `taken` has.
    fn name(&mut self, taken: fn(&Request, &str) -> bool) -> Result<Box<str>, Wrong> {
        let name = name::name(&mut self.reader).map_err(|wrong| wrong.under("name"))?;
        if taken(&self.request, &name) {
            return Err(Wrong::here("a name that stands once", "a name that stands twice").under("name"));
        }
        Ok(name)
    }

    fn input_names(request: &Request, name: &str) -> bool {
        request.inputs.iter().any(|input| &*input.name == name)
    }

    fn output_names(request: &Request, name: &str) -> bool {
        request.outputs.iter().any(|output| &**output == name)
    }

    fn dtype(&mut self) -> Result<Dtype, Wrong> {
        let kind = self.reader.peek()?;
        if kind != Kind::String {
            return Err(Wrong::here("a string", kind.name()));
        }
        match Dtype::from_name(self.reader.string()?.as_bytes()) {
            Some(dtype @ (Dtype::Bf16 | Dtype::Fp16)) if self.tail.is_none() => {
                Err(Wrong::here("a datatype that JSON can carry", dtype.name()))
            }
            Some(dtype) => Ok(dtype),
            None => Err(Wrong::here("a datatype of the protocol, such as `FP32`", "another string")),
        }
    }

    fn shape(&mut self) -> Result<Dims, Wrong> {
        let kind = self.reader.peek()?;
        if kind != Kind::Array {
            return Err(Wrong::here(Kind::Array.name(), kind.name()));
        }
        let mut shape = Dims::new();
        self.reader.enter_array()?;
        while self.reader.next_item()? {
            let dim = dimension(&mut self.reader).map_err(|wrong| wrong.under(shape.len()))?;
            if shape.try_push(dim).is_err() {
                return Err(Wrong::here(format!("at most {MAX_RANK} dimensions"), "more"));
            }
        }
        Ok(shape)
    }

    fn object(&mut self) -> Result<(), Wrong> {
        let kind = self.reader.peek()?;
        if kind != Kind::Object {
            return Err(Wrong::here(Kind::Object.name(), kind.name()));
        }
        Ok(self.reader.enter_object()?)
    }

    fn unknown(&mut self) -> Result<(), Wrong> {
        self.request.unknown_members = self.request.unknown_members.saturating_add(1);
        Ok(self.reader.skip()?)
    }
}

/// An input while its members are read.
#[derive(Debug, Default)]
struct Input {
    name: Option<Box<str>>,
    dtype: Option<Dtype>,
    shape: Option<Dims>,
    values: Option<tollgate_core::call::Values>,
    at: Option<Range<usize>>,
    /// Bytes of its data behind the JSON.
    size: Option<usize>,
}

impl Input {
    /// Its type, and how many elements its shape claims.
    fn claim(&self) -> Result<(Dtype, u64), Wrong> {
        let dtype = self.dtype.ok_or_else(|| missing("datatype"))?;
        let shape = self.shape.as_ref().ok_or_else(|| missing("shape"))?;
        let elements = tensor::elements(shape, dtype)
            .ok_or_else(|| Wrong::here("a size that 64 bits can count", "a larger one").under("shape"))?;
        Ok((dtype, elements))
    }

    fn tensor(self) -> Result<Tensor, Wrong> {
        Ok(Tensor {
            name: self.name.ok_or_else(|| missing("name"))?,
            dtype: self.dtype.ok_or_else(|| missing("datatype"))?,
            shape: self.shape.ok_or_else(|| missing("shape"))?.to_vec(),
            values: self.values.ok_or_else(|| missing("data"))?,
            at: self.at.ok_or_else(|| missing("data"))?,
        })
    }
}

/// An integer of at least 1.
fn dimension(reader: &mut Reader<'_>) -> Result<u64, Wrong> {
    const EXPECTED: &str = "an integer of at least 1";
    let kind = reader.peek()?;
    if kind != Kind::Number {
        return Err(Wrong::here(EXPECTED, kind.name()));
    }
    let number = reader.number()?;
    let dim = number.integer.and_then(json::Integer::unsigned).filter(|dim| *dim >= 1);
    dim.ok_or_else(|| Wrong::here(EXPECTED, number.text))
}

fn missing(member: &str) -> Wrong {
    Wrong::here(format!("a member `{member}`"), "none")
}
