//! Inputs and outputs as servers of tensors write them, and how they differ from a contract.

use serde_json::Value;
use tollgate_core::backend::{Dim, Port, Signature};
use tollgate_core::call::Dtype;

use super::{MOST, Ports};
use crate::protocol::tensor::MAX_RANK;

/// Metadata of the Open Inference Protocol.
pub(super) fn oip(document: &Value) -> Result<Ports, String> {
    let read = |key: &str| {
        let list = document.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let ports = list.iter().take(MOST).map(|port| {
            let name = text(port, "name")?;
            let dtype = text(port, "datatype")?;
            let dtype =
                Dtype::from_name(dtype.as_bytes()).ok_or_else(|| format!("`{dtype}` is no type of elements"))?;
            let shape = port.get("shape").and_then(Value::as_array).ok_or_else(|| format!("`{name}` has no shape"))?;
            Ok(Port { name: name.into(), dtype, dims: dims(shape, name)? })
        });
        ports.collect::<Result<Vec<_>, String>>()
    };
    let (inputs, outputs) = (read("inputs")?, read("outputs")?);
    Ok(Ports { name: name(document), inputs, outputs, max_batch: None })
}

/// A model's configuration at Triton, as JSON: the batch stands beside the shapes.
pub(super) fn triton_config(document: &Value) -> Result<Ports, String> {
    let batch = document.get("max_batch_size").and_then(integer).filter(|batch| *batch > 0);
    let read = |key: &str| {
        let list = document.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let ports = list.iter().take(MOST).map(|port| {
            let name = text(port, "name")?;
            let written = text(port, "data_type")?;
            let dtype = match written.strip_prefix("TYPE_") {
                Some("STRING") => Some(Dtype::Bytes),
                Some(dtype) => Dtype::from_name(dtype.as_bytes()),
                None => None,
            };
            let dtype = dtype.ok_or_else(|| format!("`{written}` is no type of elements"))?;
            let shape = port.get("dims").and_then(Value::as_array).ok_or_else(|| format!("`{name}` has no `dims`"))?;
            let mut shape = shape.clone();
            if batch.is_some() {
                shape.insert(0, Value::from(-1));
            }
            Ok(Port { name: name.into(), dtype, dims: dims(&shape, name)? })
        });
        ports.collect::<Result<Vec<_>, String>>()
    };
    let (inputs, outputs) = (read("input")?, read("output")?);
    let max_batch = batch.and_then(|batch| u64::try_from(batch).ok());
    Ok(Ports { name: name(document), inputs, outputs, max_batch })
}

/// Metadata of TensorFlow Serving: the default signature.
pub(super) fn tf_serving(document: &Value, definition: &Value) -> Result<Ports, String> {
    let signatures = definition.get("signature_def").unwrap_or(definition);
    let signature = signatures.get("serving_default").ok_or("there is no signature `serving_default`")?;
    let read = |key: &str| {
        let Some(members) = signature.get(key).and_then(Value::as_object) else { return Ok(Vec::new()) };
        let ports = members.iter().take(MOST).map(|(name, port)| {
            let written = text(port, "dtype")?;
            let dtype = tf_dtype(written).ok_or_else(|| format!("`{written}` is no type of elements"))?;
            let shape = port.pointer("/tensor_shape/dim").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let sizes: Vec<Value> = shape.iter().map(|dim| dim.get("size").cloned().unwrap_or_default()).collect();
            Ok(Port { name: name.as_str().into(), dtype, dims: dims(&sizes, name)? })
        });
        ports.collect::<Result<Vec<_>, String>>()
    };
    let (inputs, outputs) = (read("inputs")?, read("outputs")?);
    let name = document.pointer("/model_spec/name").and_then(Value::as_str).map(str::to_owned);
    Ok(Ports { name, inputs, outputs, max_batch: None })
}

fn tf_dtype(written: &str) -> Option<Dtype> {
    match written.strip_prefix("DT_")? {
        "FLOAT" => Some(Dtype::Fp32),
        "DOUBLE" => Some(Dtype::Fp64),
        "HALF" => Some(Dtype::Fp16),
        "BFLOAT16" => Some(Dtype::Bf16),
        "STRING" => Some(Dtype::Bytes),
        other => Dtype::from_name(other.as_bytes()),
    }
}

/// How a model's own words differ from its contract; empty where it says nothing or the same. A dimension with a name
/// stands for every size, so it differs from none.
#[must_use]
pub fn differences(contract: &Signature, told: &Ports) -> Vec<String> {
    let mut found = Vec::new();
    for (kind, ours, theirs) in
        [("input", &contract.inputs, &told.inputs), ("output", &contract.outputs, &told.outputs)]
    {
        // MLServer tells of no inputs where a model has no metadata; a contract need not name outputs.
        if theirs.is_empty() || ours.is_empty() {
            continue;
        }
        for port in theirs {
            match ours.iter().find(|own| own.name == port.name) {
                Some(own) => found.extend(difference(kind, own, port)),
                None if kind == "input" => found.push(format!("the server has an input `{}` more", port.name)),
                None => {}
            }
        }
        let gone = ours.iter().filter(|own| !theirs.iter().any(|port| port.name == own.name));
        found.extend(gone.map(|own| format!("the server has no {kind} `{}`", own.name)));
    }
    found
}

fn difference(kind: &str, own: &Port, port: &Port) -> Option<String> {
    if own.dtype != port.dtype {
        return Some(format!("{kind} `{}` is {} at the server, {} in the contract", own.name, port.dtype, own.dtype));
    }
    let fits = |(own, told): (&Dim, &Dim)| match (own, told) {
        (Dim::Fixed(own), Dim::Fixed(told)) => own == told,
        _ => true,
    };
    let same = own.dims.len() == port.dims.len() && own.dims.iter().zip(&port.dims).all(fits);
    (!same).then(|| {
        format!("{kind} `{}` is {} at the server, {} in the contract", own.name, shown(&port.dims), shown(&own.dims))
    })
}

fn shown(dims: &[Dim]) -> String {
    let dims: Vec<_> = dims
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => size.to_string(),
            Dim::Symbolic(name) => name.to_string(),
        })
        .collect();
    format!("[{}]", dims.join(", "))
}

/// Sizes, with names for those that vary: the first is the batch, any other belongs to its input alone.
fn dims(shape: &[Value], port: &str) -> Result<Vec<Dim>, String> {
    if shape.len() > MAX_RANK {
        return Err(format!("`{port}` has more than {MAX_RANK} dimensions"));
    }
    let dim = |(axis, size): (usize, &Value)| match integer(size) {
        Some(size) if size > 0 => Ok(Dim::Fixed(size.unsigned_abs())),
        Some(_) if axis == 0 => Ok(Dim::Symbolic("batch".into())),
        Some(_) => Ok(Dim::Symbolic(format!("{}_{axis}", word(port)).into())),
        None => Err(format!("a dimension of `{port}` is no integer")),
    };
    shape.iter().enumerate().map(dim).collect()
}

/// A name that may stand for a dimension.
fn word(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
    let word: String = name.chars().take(64).map(letter).collect();
    if word.starts_with(|first: char| first.is_ascii_alphabetic()) { word } else { format!("d{word}") }
}

/// An integer, also as text: so does the JSON form of protocol buffers write 64 bits.
fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    let text = value.get(key).and_then(Value::as_str).filter(|text| (1..=256).contains(&text.len()));
    text.ok_or_else(|| format!("an input or output without a usable `{key}`"))
}

fn name(document: &Value) -> Option<String> {
    document.get("name").and_then(Value::as_str).map(str::to_owned)
}
