//! KServe v1 `:predict` and TensorFlow Serving's REST form of it: rows (`instances`) or columns (`inputs`).
//!
//! Like the plain dialect it has no shapes and types of its own, so it needs the model's signature to be understood.
//! `:explain`, `:classify` and `:regress` are not read here.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tollgate_core::backend::{Output, Port, Signature};
use tollgate_core::call::{Dtype, Tensor, Values};
use tollgate_core::ruling::Fault;

use super::json::{self, Kind, Reader};
use super::tensor::{self, Dims, Form};
use super::{Wrong, write};

/// The signature of a model that callers may name: another one could be a model of its own.
const SIGNATURE: &str = "serving_default";
/// The key of a binary value.
const B64: &str = "b64";

/// A request of the dialect, as tensors.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The inputs, each with the rows as first dimension.
    pub inputs: Vec<Tensor>,
    /// Members that the dialect does not have.
    pub unknown_members: u32,
    /// Whether the inputs came as columns.
    pub columns: bool,
}

/// Parses a body for a model of that signature. What is malformed is said first.
///
/// # Errors
/// The first mistake.
pub fn request(body: &[u8], limits: json::Limits, signature: &Signature) -> Result<Request, Wrong> {
    let mut parser = Parser { reader: Reader::new(body, limits)?, request: Request::default(), signature };
    parser.root().map_err(|wrong| wrong.unless_malformed(body, limits))?;
    Ok(parser.request)
}

/// The member of an answer to rows.
pub const PREDICTIONS: &str = "predictions";
/// The member of TensorFlow Serving's answer to columns.
pub const OUTPUTS: &str = "outputs";

/// Writes what a model gave: to rows a list with one entry a row, to columns the tensors; by name where there are several
/// outputs.
///
/// # Errors
/// The model gave something that JSON cannot carry.
pub fn reply(member: &str, output: &Output) -> Result<String, Fault> {
    for tensor in &output.tensors {
        super::oip::check(tensor)?;
    }
    let mut out = format!("{{\"{member}\":");
    let by_rows = member == PREDICTIONS;
    match output.tensors.as_slice() {
        [only] => nested(&mut out, only, 0..only.values.len(), &only.shape),
        several if by_rows => {
            let rows = several.iter().filter_map(|tensor| tensor.shape.first().copied()).min().unwrap_or(0);
            let rows = usize::try_from(rows).unwrap_or(0);
            write::list(&mut out, 0..rows, |out, row| {
                object(out, several, |out, tensor| {
                    let width = tensor.values.len() / rows_of(tensor);
                    nested(out, tensor, row * width..(row + 1) * width, tensor.shape.get(1..).unwrap_or_default());
                });
            });
        }
        several => object(&mut out, several, |out, tensor| nested(out, tensor, 0..tensor.values.len(), &tensor.shape)),
    }
    out.push('}');
    Ok(out)
}

fn object(out: &mut String, tensors: &[Tensor], mut each: impl FnMut(&mut String, &Tensor)) {
    out.push('{');
    for (at, tensor) in tensors.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write::string(out, &tensor.name);
        out.push(':');
        each(out, tensor);
    }
    out.push('}');
}

fn rows_of(tensor: &Tensor) -> usize {
    tensor.shape.first().and_then(|rows| usize::try_from(*rows).ok()).unwrap_or(1).max(1)
}

/// Writes the values of a range, nested as `shape`. It calls itself as deep as the shape is long.
fn nested(out: &mut String, tensor: &Tensor, range: Range<usize>, shape: &[u64]) {
    let Some((dim, inner)) = shape.split_first() else {
        return element(out, &tensor.values, range.start);
    };
    let dim = usize::try_from(*dim).unwrap_or(1).max(1);
    let width = range.len() / dim;
    write::list(out, 0..dim, |out, item| {
        let start = range.start + item * width;
        nested(out, tensor, start..start + width, inner);
    });
}

fn element(out: &mut String, values: &Values, at: usize) {
    let none = || "null".to_owned();
    let text = match values {
        Values::Bool(values) => values.get(at).map_or_else(none, ToString::to_string),
        Values::Bytes(values) => {
            let text = values.get(at).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
            return write::string(out, text);
        }
        Values::F32(values) => values.get(at).map_or_else(none, |value| format!("{value:?}")),
        Values::F64(values) => values.get(at).map_or_else(none, |value| format!("{value:?}")),
        Values::Int(values) => values.get(at).map_or_else(none, ToString::to_string),
        // INVARIANT: raw values were refused before.
        Values::Raw(..) => none(),
        Values::Uint(values) => values.get(at).map_or_else(none, ToString::to_string),
    };
    out.push_str(&text);
}

struct Parser<'a, 's> {
    reader: Reader<'a>,
    request: Request,
    signature: &'s Signature,
}

impl<'s> Parser<'_, 's> {
    fn root(&mut self) -> Result<(), Wrong> {
        self.object()?;
        let mut read = false;
        while let Some(key) = self.reader.next_key()? {
            match &*key {
                // KServe passes over `inputs` where both stand.
                "instances" | "inputs" if read => {
                    return Err(Wrong::here("either `instances` or `inputs`", "both").under(&key));
                }
                "instances" => {
                    read = true;
                    self.rows().map_err(|wrong| wrong.under("instances"))?;
                }
                "inputs" => {
                    read = true;
                    self.request.columns = true;
                    self.columns().map_err(|wrong| wrong.under("inputs"))?;
                }
                "signature_name" => self.signature_name().map_err(|wrong| wrong.under("signature_name"))?,
                _ => {
                    self.request.unknown_members = self.request.unknown_members.saturating_add(1);
                    self.reader.skip()?;
                }
            }
        }
        self.reader.finish()?;
        if read { Ok(()) } else { Err(Wrong::here("a member `instances` or `inputs`", "none")) }
    }

    fn signature_name(&mut self) -> Result<(), Wrong> {
        match self.reader.peek()? {
            Kind::String if self.reader.string()? == SIGNATURE => Ok(()),
            Kind::String => Err(Wrong::here(format!("`{SIGNATURE}`"), "another string")),
            kind => Err(Wrong::here(Kind::String.name(), kind.name())),
        }
    }

    /// Rows: values of the only input, or objects with a value for each input.
    fn rows(&mut self) -> Result<(), Wrong> {
        let kind = self.reader.peek()?;
        let start = self.reader.at();
        match (kind, self.reader.first_inside()) {
            (Kind::Array, Some(b']')) => return Err(Wrong::here("at least one row", "none")),
            (Kind::Array, Some(b'{')) => {}
            // As one nested list it is read in one go.
            _ => {
                let port = self.only()?;
                return self.whole(port, start);
            }
        }
        self.reader.enter_array()?;
        let mut columns: Vec<Column<'_>> = Vec::new();
        let mut row = 0_u64;
        while self.reader.next_item()? {
            self.row(&mut columns, row).map_err(|wrong| wrong.under(row))?;
            row += 1;
        }
        for column in columns {
            if column.rows != row {
                let expected = format!("a value for `{}` in each of {row} rows", column.port.name);
                return Err(Wrong::here(expected, column.rows.to_string()));
            }
            let shape = std::iter::once(row).chain(column.dims.iter().copied()).collect();
            let (name, dtype) = (column.port.name.clone(), column.port.dtype);
            self.request.inputs.push(Tensor { name, dtype, shape, values: column.values, at: start..start });
        }
        Ok(())
    }

    /// An object with a value for each input, or a binary value of the only one.
    fn row(&mut self, columns: &mut Vec<Column<'s>>, row: u64) -> Result<(), Wrong> {
        if self.reader.begins_with_key(B64) {
            let port = self.only()?;
            return self.cell(port, columns, row);
        }
        self.object()?;
        let signature = self.signature;
        let mut empty = true;
        while let Some(key) = self.reader.next_key()? {
            let Some(port) = signature.inputs.iter().find(|port| *port.name == *key) else {
                return Err(Wrong::here("inputs of the model", "another name"));
            };
            self.cell(port, columns, row).map_err(|wrong| wrong.under_name(&port.name))?;
            empty = false;
        }
        if empty { Err(Wrong::here("inputs of the model", "none")) } else { Ok(()) }
    }

    /// Reads the value of one input in one row.
    fn cell(&mut self, port: &'s Port, columns: &mut Vec<Column<'s>>, row: u64) -> Result<(), Wrong> {
        let (values, dims) = self.value(port)?;
        let Some(column) = columns.iter_mut().find(|column| column.port.name == port.name) else {
            if row != 0 {
                return Err(Wrong::here("the same inputs in each row", "another"));
            }
            columns.push(Column { port, values, dims, rows: 1 });
            return Ok(());
        };
        if column.dims != dims {
            return Err(Wrong::here(format!("the shape {:?} of the first row", column.dims), format!("{dims:?}")));
        }
        column.rows += 1;
        append(&mut column.values, values);
        Ok(())
    }

    /// Columns: the value of the only input, or an object with a value for each.
    fn columns(&mut self) -> Result<(), Wrong> {
        if self.reader.peek()? != Kind::Object || self.reader.begins_with_key(B64) {
            let start = self.reader.at();
            let port = self.only()?;
            return self.whole(port, start);
        }
        self.object()?;
        while let Some(key) = self.reader.next_key()? {
            let Some(port) = self.signature.inputs.iter().find(|port| *port.name == *key) else {
                return Err(Wrong::here("inputs of the model", "another name"));
            };
            self.reader.peek()?;
            let start = self.reader.at();
            self.whole(port, start).map_err(|wrong| wrong.under_name(&port.name))?;
        }
        Ok(())
    }

    /// Reads all values of an input, nested as its shape.
    fn whole(&mut self, port: &Port, start: usize) -> Result<(), Wrong> {
        let (values, dims) = self.value(port)?;
        let (shape, at) = (dims.to_vec(), start..self.reader.at());
        self.request.inputs.push(Tensor { name: port.name.clone(), dtype: port.dtype, shape, values, at });
        Ok(())
    }

    fn value(&mut self, port: &Port) -> Result<(Values, Dims), Wrong> {
        if port.dtype == Dtype::Bytes && self.reader.peek()? == Kind::Object {
            return Ok((Values::Bytes(vec![self.binary()?]), Dims::new()));
        }
        tensor::read(&mut self.reader, port.dtype, Form::Free(1))
    }

    /// `{"b64": "…"}` with that single key.
    fn binary(&mut self) -> Result<Box<[u8]>, Wrong> {
        const EXPECTED: &str = "an object with `b64` alone";
        self.object()?;
        if self.reader.next_key()?.as_deref() != Some(B64) {
            return Err(Wrong::here(EXPECTED, "another"));
        }
        let kind = self.reader.peek()?;
        if kind != Kind::String {
            return Err(Wrong::here(Kind::String.name(), kind.name()).under(B64));
        }
        let text = self.reader.string()?;
        let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| Wrong::here("base64", "another string").under(B64))?;
        match self.reader.next_key()? {
            None => Ok(bytes.into()),
            Some(_) => Err(Wrong::here(EXPECTED, "more members")),
        }
    }

    fn only(&self) -> Result<&'s Port, Wrong> {
        match self.signature.inputs.as_slice() {
            [port] => Ok(port),
            _ => Err(Wrong::here("a value for each input, by name", "one without")),
        }
    }

    fn object(&mut self) -> Result<(), Wrong> {
        match self.reader.peek()? {
            Kind::Object => Ok(self.reader.enter_object()?),
            kind => Err(Wrong::here(Kind::Object.name(), kind.name())),
        }
    }
}

/// The values of one input while rows are read.
struct Column<'s> {
    port: &'s Port,
    values: Values,
    /// The shape of one row.
    dims: Dims,
    rows: u64,
}

/// Puts the values of a row behind those before it. Both came from the same type.
fn append(values: &mut Values, row: Values) {
    match (values, row) {
        (Values::Bool(values), Values::Bool(row)) => values.extend(row),
        (Values::Bytes(values), Values::Bytes(row)) => values.extend(row),
        (Values::F32(values), Values::F32(row)) => values.extend(row),
        (Values::F64(values), Values::F64(row)) => values.extend(row),
        (Values::Int(values), Values::Int(row)) => values.extend(row),
        (Values::Uint(values), Values::Uint(row)) => values.extend(row),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tollgate_core::backend::Dim;

    use super::*;

    fn signature(ports: &[(&str, Dtype, &[u64])]) -> Signature {
        let port = |(name, dtype, dims): &(&str, Dtype, &[u64])| {
            let rest = dims.iter().map(|dim| Dim::Fixed(*dim));
            let dims = std::iter::once(Dim::Symbolic("batch".into())).chain(rest).collect();
            Port { name: (*name).into(), dtype: *dtype, dims }
        };
        Signature { inputs: ports.iter().map(port).collect(), ..Signature::default() }
    }

    fn read(ports: &[(&str, Dtype, &[u64])], body: &str) -> Result<Request, Wrong> {
        request(body.as_bytes(), json::Limits::default(), &signature(ports))
    }

    /// Where the mistake stands; `malformed` for what is no JSON.
    fn spot(answer: Result<Request, Wrong>) -> String {
        match answer {
            Ok(taken) => panic!("it was taken: {taken:?}"),
            Err(Wrong::Invalid(spot)) => spot.pointer,
            Err(_) => "malformed".to_owned(),
        }
    }

    /// Names, types and shapes of one row.
    type Ports = &'static [(&'static str, Dtype, &'static [u64])];

    const ONE: Ports = &[("x", Dtype::Fp32, &[2])];
    const TWO: Ports = &[("a", Dtype::Int64, &[]), ("b", Dtype::Fp32, &[2])];
    const TEXTS: Ports = &[("t", Dtype::Bytes, &[])];

    #[test]
    fn rows_and_columns_are_the_same_tensors() {
        let rows = read(ONE, r#"{"instances":[[1,2],[3,4],[5,6]]}"#).expect("rows");
        let columns =
            read(ONE, r#"{"inputs":[[1,2],[3,4],[5,6]],"signature_name":"serving_default"}"#).expect("columns");
        let named = read(ONE, r#"{"instances":[{"x":[1,2]},{"x":[3,4]},{"x":[5,6]}]}"#).expect("named rows");
        for request in [&rows, &columns, &named] {
            let [tensor] = request.inputs.as_slice() else { panic!("one input") };
            assert_eq!(tensor.shape, [3, 2]);
            assert_eq!(tensor.values, Values::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        }
        let rows = read(TWO, r#"{"instances":[{"a":1,"b":[1,2]},{"b":[3,4],"a":2}]}"#).expect("rows");
        let columns = read(TWO, r#"{"inputs":{"a":[1,2],"b":[[1,2],[3,4]]}}"#).expect("columns");
        for (row, column) in rows.inputs.iter().zip(&columns.inputs) {
            assert_eq!((&row.shape, &row.values), (&column.shape, &column.values));
        }
        let texts = read(TEXTS, r#"{"instances":["a","b"]}"#).expect("texts");
        let binary = read(TEXTS, r#"{"instances":[{"b64":"YQ=="},{"b64":"Yg=="}]}"#).expect("binary");
        assert_eq!(
            (&texts.inputs[0].shape, &texts.inputs[0].values),
            (&binary.inputs[0].shape, &binary.inputs[0].values)
        );
    }

    #[test]
    fn answers_are_nested_as_their_shapes() {
        let tensor = |name: &str, shape: &[u64], values| Tensor {
            name: name.into(),
            dtype: Dtype::Fp32,
            shape: shape.to_vec(),
            values: Values::F32(values),
            at: 0..0,
        };
        let one = Output { tensors: vec![tensor("y", &[2, 2], vec![1.0, 2.0, 3.0, 4.5])], compute_us: 0 };
        assert_eq!(reply(PREDICTIONS, &one).expect("JSON"), r#"{"predictions":[[1.0,2.0],[3.0,4.5]]}"#);
        assert_eq!(reply(OUTPUTS, &one).expect("JSON"), r#"{"outputs":[[1.0,2.0],[3.0,4.5]]}"#);
        let two = vec![tensor("a", &[2], vec![1.0, 2.0]), tensor("b", &[2, 1], vec![3.0, 4.0])];
        let two = Output { tensors: two, compute_us: 0 };
        assert_eq!(
            reply(PREDICTIONS, &two).expect("JSON"),
            r#"{"predictions":[{"a":1.0,"b":[3.0]},{"a":2.0,"b":[4.0]}]}"#
        );
        assert_eq!(reply(OUTPUTS, &two).expect("JSON"), r#"{"outputs":{"a":[1.0,2.0],"b":[[3.0],[4.0]]}}"#);
        let nan = Output { tensors: vec![tensor("y", &[1], vec![f32::NAN])], compute_us: 0 };
        assert!(reply(PREDICTIONS, &nan).is_err());
    }

    #[test]
    fn what_two_servers_would_read_differently_is_refused() {
        let table: [(Ports, &str, &str); 17] = [
            (ONE, r#"{"instances":[[1,2]],"inputs":[[1,2]]}"#, "/inputs"),
            (ONE, r#"{"instances":[[1,2]],"instances":[[1,2]]}"#, "malformed"),
            (ONE, r#"{"instances":[[1,NaN]]}"#, "malformed"),
            (ONE, r#"{"instances":[]}"#, "/instances"),
            (ONE, r#"{"instances":{}}"#, "/instances"),
            (ONE, r#"{"instances":[[1,2],[3]]}"#, "/instances"),
            (ONE, r#"{"instances":[["1",2]]}"#, "/instances"),
            (ONE, r#"{"instances":[{"x":[1,2]},{"x":[3]}]}"#, "/instances/1/x"),
            (ONE, r#"{"instances":[{"y":[1,2]}]}"#, "/instances/0"),
            (ONE, r#"{"instances":[{"x":[1,2]},[1,2]]}"#, "/instances/1"),
            (ONE, r#"{}"#, ""),
            (ONE, r#"[]"#, ""),
            (ONE, r#"{"instances":[[1,2]],"signature_name":"other"}"#, "/signature_name"),
            (TWO, r#"{"instances":[[1,2]]}"#, "/instances"),
            (TWO, r#"{"instances":[{"a":1,"b":[1,2]},{"a":1}]}"#, "/instances"),
            (TEXTS, r#"{"instances":[{"b64":"?"}]}"#, "/instances/0/b64"),
            (TEXTS, r#"{"instances":[{"b64":"YQ==","x":1}]}"#, "/instances/0"),
        ];
        for (ports, body, at) in table {
            assert_eq!(spot(read(ports, body)), at, "{body}");
        }
    }

    proptest! {
        #[test]
        fn a_body_with_a_byte_changed_has_an_answer(at in 0_usize..64, byte in any::<u8>()) {
            let mut body = br#"{"instances":[{"a":1,"b":[1,2]},{"b":[3,4],"a":2}]}"#.to_vec();
            let at = at % body.len();
            body[at] = byte;
            if let Ok(request) = request(&body, json::Limits::default(), &signature(TWO)) {
                for tensor in request.inputs {
                    prop_assert_eq!(tensor.shape.iter().product::<u64>(), tensor.values.len() as u64);
                }
            }
        }
    }
}
