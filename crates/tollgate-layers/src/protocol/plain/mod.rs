//! The plain dialect: one JSON object whose members are the model's inputs.
//!
//! It has no shapes and types of its own, so it needs the model's signature to be understood.

mod reply;
#[cfg(test)]
mod tests;

use tollgate_core::backend::{Dim, Port, Signature};
use tollgate_core::call::{Dtype, Tensor, Values};

use super::json::{self, Kind, Reader};
use super::tensor::{self, Form};
use super::{Wrong, name};
pub use reply::reply;

/// The longest `request_id`.
const MAX_ID: usize = 50;

/// A request of the dialect, as tensors.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `request_id`
    pub id: Option<Box<str>>,
    /// The members that are inputs; a text is one tensor `text` of one `BYTES` element.
    pub inputs: Vec<Tensor>,
    /// Members that the signature does not name.
    pub unknown_members: u32,
}

/// The name of the tensor that carries the text of a text model.
pub const TEXT: &str = "text";
/// The member that stands for the only input of a model, whatever its name.
pub const FEATURES: &str = "features";

/// Parses a body for a model of that signature. What is malformed is `Malformed` even where something else is wrong
/// before it.
///
/// # Errors
/// The first mistake.
pub fn request(body: &[u8], limits: json::Limits, signature: &Signature) -> Result<Request, Wrong> {
    let mut parser = Parser { reader: Reader::new(body, limits)?, request: Request::default(), signature };
    parser.document().map_err(|wrong| wrong.unless_malformed(body, limits))?;
    Ok(parser.request)
}

struct Parser<'a, 's> {
    reader: Reader<'a>,
    request: Request,
    signature: &'s Signature,
}

impl Parser<'_, '_> {
    fn document(&mut self) -> Result<(), Wrong> {
        let kind = self.reader.peek()?;
        if kind != Kind::Object {
            return Err(Wrong::here(Kind::Object.name(), kind.name()));
        }
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            if key == "request_id" {
                let id = name::id(&mut self.reader, MAX_ID).map_err(|wrong| wrong.under("request_id"))?;
                self.request.id = Some(id);
            } else if self.signature.text && key == TEXT {
                self.text().map_err(|wrong| wrong.under(TEXT))?;
            } else if let Some(port) = port(self.signature, &key) {
                let member = if *key == *port.name { &port.name } else { FEATURES };
                self.input(port).map_err(|wrong| wrong.under_name(member))?;
            } else {
                self.request.unknown_members = self.request.unknown_members.saturating_add(1);
                self.reader.skip()?;
            }
        }
        Ok(self.reader.finish()?)
    }

    fn text(&mut self) -> Result<(), Wrong> {
        let kind = self.reader.peek()?;
        if kind != Kind::String {
            return Err(Wrong::here(Kind::String.name(), kind.name()));
        }
        let start = self.reader.at();
        let text = self.reader.string()?;
        let values = Values::Bytes(vec![text.as_bytes().into()]);
        let at = start..self.reader.at();
        self.request.inputs.push(Tensor { name: TEXT.into(), dtype: Dtype::Bytes, shape: vec![1], values, at });
        Ok(())
    }

    fn input(&mut self, port: &Port) -> Result<(), Wrong> {
        if self.request.inputs.iter().any(|input| input.name == port.name) {
            return Err(Wrong::here("each input once", "one under two names"));
        }
        self.reader.peek()?;
        let start = self.reader.at();
        let one_row = port.dims.iter().map(|dim| if let Dim::Fixed(size) = dim { *size } else { 1 });
        let likely = one_row.fold(1, u64::saturating_mul);
        let (values, nested) = tensor::read(&mut self.reader, port.dtype, Form::Free(likely))?;
        let shape = shaped(&nested, values.len() as u64, &port.dims)?;
        let at = start..self.reader.at();
        self.request.inputs.push(Tensor { name: port.name.clone(), dtype: port.dtype, shape, values, at });
        Ok(())
    }
}

/// The input that a member is for.
fn port<'s>(signature: &'s Signature, key: &str) -> Option<&'s Port> {
    let named = signature.inputs.iter().find(|port| *port.name == *key);
    named.or_else(|| match signature.inputs.as_slice() {
        [only] if key == FEATURES => Some(only),
        _ => None,
    })
}

/// The shape of values that were nested like `nested`, for a port of these dimensions: the same rank as it is; a flat
/// list, or a single value, as one row; one dimension less as a batch of one.
fn shaped(nested: &[u64], count: u64, dims: &[Dim]) -> Result<Vec<u64>, Wrong> {
    if nested.len() == dims.len() {
        return Ok(nested.to_vec());
    }
    if nested.len() <= 1 {
        return one_row(count, dims);
    }
    match dims {
        [Dim::Symbolic(_), rest @ ..] if rest.len() == nested.len() => {
            Ok(std::iter::once(1).chain(nested.iter().copied()).collect())
        }
        _ => {
            let expected = format!("a flat list, or lists {} deep", dims.len());
            Err(Wrong::here(expected, format!("lists {} deep", nested.len())))
        }
    }
}

/// One row of `count` values: the first symbolic dimension is 1, a second one takes what is left.
fn one_row(count: u64, dims: &[Dim]) -> Result<Vec<u64>, Wrong> {
    let fixed = dims.iter().filter_map(|dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None });
    let product = fixed.fold(1, u64::saturating_mul).max(1);
    let symbolic = dims.iter().filter(|dim| matches!(dim, Dim::Symbolic(_))).count();
    let found = || format!("{count} values");
    let rest = match symbolic {
        0 | 1 if count == product => 1,
        0 | 1 => return Err(Wrong::here(format!("{product} values"), found())),
        2 if count.is_multiple_of(product) => count / product,
        2 => return Err(Wrong::here(format!("a multiple of {product} values"), found())),
        _ => return Err(Wrong::here(format!("lists {} deep", dims.len()), "a flat list")),
    };
    let mut first = true;
    let shape = dims.iter().map(|dim| match dim {
        Dim::Fixed(size) => *size,
        Dim::Symbolic(_) if std::mem::take(&mut first) => 1,
        Dim::Symbolic(_) => rest,
    });
    Ok(shape.collect())
}
