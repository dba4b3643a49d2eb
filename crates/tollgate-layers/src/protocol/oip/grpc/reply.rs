//! `ModelInferResponse`: of an embedded model, written with every tensor in its raw form; of a model server, read as strictly
//! as a request.

use bytes::Bytes;
use tollgate_core::backend::Output;
use tollgate_core::call::{Call, Dtype, Tensor, Values};
use tollgate_core::ruling::Fault;

use super::super::parameters::Place;
use super::{Input, room, unique};
use crate::protocol::Wrong;
use crate::protocol::oip::reply::{fault, wished};
use crate::protocol::protobuf::{Fields, Writer};

/// Writes what a model gave: the outputs that the call asked for in that order, all without a wish.
///
/// # Errors
/// The model gave no output of a name that was asked for, or values that are not of their type.
pub fn reply(model: &str, call: &Call, output: &Output) -> Result<Vec<u8>, Fault> {
    let wished = wished(call, output)?;
    let mut out = Writer::default();
    out.bytes(1, model.as_bytes());
    out.bytes(3, call.id.as_deref().unwrap_or_default().as_bytes());
    for tensor in &wished {
        out.any_bytes(5, &described(tensor));
    }
    for tensor in wished {
        out.any_bytes(6, &raw(tensor)?);
    }
    Ok(out.done())
}

/// The outputs of a model server's answer.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn reply_tensors(message: &Bytes) -> Result<Vec<Tensor>, Wrong> {
    let (mut outputs, mut raw) = (Vec::new(), Vec::new());
    let mut fields = Fields::new(message, 0);
    while let Some(field) = fields.next()? {
        match field.number {
            1..=3 => drop(field.text()?),
            // A server may say what it likes there.
            4 => {
                field.message()?;
            }
            5 => {
                room(outputs.len())?;
                let at = outputs.len();
                let place = Place::Reply { binary: true };
                outputs.push(Input::read(&field, place).map_err(|wrong| wrong.under(at).under("outputs"))?);
            }
            6 => {
                room(raw.len())?;
                raw.push(field.at..field.at + field.bytes()?.len());
            }
            _ => return Err(field.misfit()),
        }
    }
    if !raw.is_empty() && raw.len() != outputs.len() {
        let expected = format!("{} of them, one for each output", outputs.len());
        return Err(Wrong::here(expected, raw.len().to_string()).under("raw_output_contents"));
    }
    let names: Vec<&str> = outputs.iter().map(|output| &*output.name).collect();
    unique(&names).map_err(|wrong| wrong.under("outputs"))?;
    let tensor = |(at, output): (usize, Input)| {
        output.tensor(message, raw.get(at).cloned()).map_err(|wrong| wrong.under(at).under("outputs"))
    };
    outputs.into_iter().enumerate().map(tensor).collect()
}

/// `InferOutputTensor`, whose values stand apart.
fn described(tensor: &Tensor) -> Vec<u8> {
    let mut shape = Writer::default();
    for dim in &tensor.shape {
        shape.raw(*dim);
    }
    let mut out = Writer::default();
    out.bytes(1, tensor.name.as_bytes());
    out.bytes(2, tensor.dtype.name().as_bytes());
    out.bytes(3, &shape.done());
    out.done()
}

/// The values, little endian; strings each behind its length.
fn raw(tensor: &Tensor) -> Result<Vec<u8>, Fault> {
    let width = tensor.dtype.width().and_then(|width| usize::try_from(width).ok());
    let raw = match &tensor.values {
        Values::Bool(values) => values.iter().map(|value| u8::from(*value)).collect(),
        Values::Bytes(values) => {
            let mut raw = Vec::new();
            for value in values {
                let length = u32::try_from(value.len()).map_err(|_| fault("gave a string of more than 32 bits"))?;
                raw.extend_from_slice(&length.to_le_bytes());
                raw.extend_from_slice(value);
            }
            raw
        }
        Values::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Values::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Values::Int(values) => cut(values.iter().map(|value| value.to_le_bytes()), width)?,
        Values::Raw(raw, _) => raw.to_vec(),
        Values::Uint(values) => cut(values.iter().map(|value| value.to_le_bytes()), width)?,
    };
    let fits = tensor.dtype == Dtype::Bytes || width.is_some_and(|width| raw.len() == tensor.values.len() * width);
    if fits { Ok(raw) } else { Err(fault("gave values that are not of their type")) }
}

/// The low bytes of integers, as many as their type has.
fn cut(values: impl Iterator<Item = [u8; 8]>, width: Option<usize>) -> Result<Vec<u8>, Fault> {
    let width = width.filter(|width| *width <= 8).ok_or_else(|| fault("gave values that are not of their type"))?;
    Ok(values.flat_map(|value| value.into_iter().take(width)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, dtype: Dtype, shape: Vec<u64>, values: Values) -> Tensor {
        Tensor { name: name.into(), dtype, shape, values, at: 0..0 }
    }

    #[test]
    fn what_an_embedded_model_answers_can_be_read_again() {
        let tensors = vec![
            tensor("a", Dtype::Fp32, vec![2], Values::F32(vec![1.0, -1.0])),
            tensor("c", Dtype::Bytes, vec![1], Values::Bytes(vec![b"hi"[..].into()])),
        ];
        let output = Output { tensors, ..Output::default() };
        let message = Bytes::from(reply("m", &Call::default(), &output).expect("an answer"));
        let read = reply_tensors(&message).expect("sound");
        let seen: Vec<_> = read.iter().map(|tensor| (&*tensor.name, tensor.dtype, tensor.values.len())).collect();
        assert_eq!(seen, [("a", Dtype::Fp32, 2), ("c", Dtype::Bytes, 1)]);
        for cut in 1..message.len() {
            // No panic, whatever is cut off.
            drop(reply_tensors(&message.slice(..cut)));
        }
        for broken in [&b"\x2a\x0d\x0a\x01b\x12\x05INT32\x1a\x01\x02"[..], b"\x32\x01x", b"\x3a\x00", b"\xff"] {
            assert!(reply_tensors(&Bytes::from_static(broken)).is_err(), "{broken:?}");
        }
        let typed = b"\x2a\x16\x0a\x01y\x12\x04FP32\x1a\x01\x01\x22\x00\x2a\x06\x32\x04\0\0\x80\x3f";
        assert_eq!(reply_tensors(&Bytes::from_static(typed)).expect("typed contents").len(), 1);
    }

    #[test]
    fn outputs_are_described_first_and_follow_in_the_same_order() {
        let output = Output {
            tensors: vec![
                tensor("a", Dtype::Fp32, vec![1], Values::F32(vec![1.0])),
                tensor("b", Dtype::Int32, vec![2], Values::Int(vec![-1, 2])),
                tensor("c", Dtype::Bytes, vec![1], Values::Bytes(vec![b"hi"[..].into()])),
            ],
            ..Output::default()
        };
        let call = Call { id: Some("7".into()), outputs: vec!["c".into(), "b".into()], ..Call::default() };
        let message = reply("m", &call, &output).expect("an answer");
        let expected = [
            &b"\x0a\x01m\x1a\x017"[..],
            b"\x2a\x0d\x0a\x01c\x12\x05BYTES\x1a\x01\x01",
            b"\x2a\x0d\x0a\x01b\x12\x05INT32\x1a\x01\x02",
            b"\x32\x06\x02\x00\x00\x00hi",
            b"\x32\x08\xff\xff\xff\xff\x02\x00\x00\x00",
        ];
        assert_eq!(message, expected.concat());
        let strange = Call { outputs: vec!["d".into()], ..Call::default() };
        assert!(reply("m", &strange, &output).is_err());
    }
}
