//! Between the tensors of a call and the values of the engine.
//!
//! The contract has been checked before. What is checked here again is what the engine takes without a word: a number
//! that does not fit its 32 bits, a count that is not the product of the shape.

use std::fmt;

use rten::Value;
use rten_tensor::{AsView as _, Layout as _};
use tollgate_core::backend::{Dim, Port, Signature};
use tollgate_core::call::{Call, Dtype, Tensor, Values};
use tollgate_core::ruling::{Fault, Origin};

use crate::tokens;

/// Name of the tensor that a text model takes instead of its token ids.
pub(crate) const TEXT: &str = "text";

/// One input, owned and checked, not yet a value of the engine.
pub(crate) struct Feed {
    shape: Vec<usize>,
    data: Data,
}

enum Data {
    F32(Vec<f32>),
    I32(Vec<i32>),
    I8(Vec<i8>),
    /// Texts, and how many ids each becomes.
    Texts(Vec<Box<[u8]>>, usize),
    U8(Vec<u8>),
}

/// The inputs of `call`, in the order of the signature.
pub(crate) fn feeds(signature: &Signature, call: &Call) -> Result<Vec<Feed>, Fault> {
    if signature.text
        && let [tensor] = call.inputs.as_slice()
        && *tensor.name == *TEXT
    {
        return Ok(vec![text_feed(signature, tensor)?]);
    }
    if call.inputs.len() != signature.inputs.len() {
        return Err(fault("the call has another number of inputs than the model"));
    }
    let mut symbols = Vec::new();
    let mut feeds = Vec::with_capacity(signature.inputs.len());
    for port in &signature.inputs {
        let tensor = call.inputs.iter().find(|tensor| tensor.name == port.name);
        let tensor = tensor.ok_or_else(|| fault(format_args!("the input `{}` is missing", port.name)))?;
        feeds.push(tensor_feed(port, tensor, &mut symbols)?);
    }
    Ok(feeds)
}

impl Feed {
    /// Makes the value; tokenises what is text. Long work: only on a compute thread.
    pub(crate) fn into_value(self) -> Result<Value, Fault> {
        let shape = self.shape;
        match self.data {
            Data::F32(data) => Value::from_shape(shape, data).map_err(fault),
            Data::I32(data) => Value::from_shape(shape, data).map_err(fault),
            Data::I8(data) => Value::from_shape(shape, data).map_err(fault),
            Data::U8(data) => Value::from_shape(shape, data).map_err(fault),
            Data::Texts(texts, length) => {
                let ids = texts.iter().flat_map(|text| tokens::token_ids(&String::from_utf8_lossy(text), length));
                Value::from_shape(shape, ids.collect::<Vec<i32>>()).map_err(fault)
            }
        }
    }
}

/// The tensor that `port` declares, from what the engine gave for it.
pub(crate) fn answer(port: &Port, value: Value) -> Result<Tensor, Fault> {
    let shape = value.shape().iter().map(|dim| *dim as u64).collect();
    let values = match (port.dtype, value) {
        (Dtype::Fp32, Value::FloatTensor(tensor)) => Values::F32(tensor.into_data()),
        (Dtype::Int32 | Dtype::Int64, Value::Int32Tensor(tensor)) => {
            Values::Int(tensor.iter().map(|element| i64::from(*element)).collect())
        }
        (Dtype::Bool, Value::Int32Tensor(tensor)) => Values::Bool(tensor.iter().map(|element| *element != 0).collect()),
        (Dtype::Int8, Value::Int8Tensor(tensor)) => {
            Values::Int(tensor.iter().map(|element| i64::from(*element)).collect())
        }
        (Dtype::Uint8, Value::UInt8Tensor(tensor)) => {
            Values::Uint(tensor.iter().map(|element| u64::from(*element)).collect())
        }
        (dtype, _) => return Err(fault(format_args!("the output `{}` is not {dtype}", port.name))),
    };
    Ok(Tensor { name: port.name.clone(), dtype: port.dtype, shape, values, at: 0..0 })
}

pub(crate) fn fault(why: impl fmt::Display) -> Fault {
    Fault::new(Origin::Own, why)
}

/// How many ids a text becomes, if the inputs are those of a text model: one INT64 input of [batch, length].
pub(crate) fn text_length(inputs: &[Port]) -> Option<usize> {
    let [Port { dtype: Dtype::Int64, dims, .. }] = inputs else { return None };
    let [Dim::Symbolic(_), Dim::Fixed(length)] = dims.as_slice() else { return None };
    usize::try_from(*length).ok()
}

fn text_feed(signature: &Signature, tensor: &Tensor) -> Result<Feed, Fault> {
    let length = text_length(&signature.inputs).ok_or_else(|| fault("the model takes no text"))?;
    let Values::Bytes(texts) = &tensor.values else { return Err(fault("the text is not BYTES")) };
    let count = match tensor.shape.as_slice() {
        [] => 1,
        [count] | [count, 1] => *count,
        _ => return Err(fault("the text is neither [n] nor [n, 1]")),
    };
    if usize::try_from(count).ok() != Some(texts.len()) {
        return Err(fault("the text has another number of elements than its shape says"));
    }
    Ok(Feed { shape: vec![texts.len(), length], data: Data::Texts(texts.clone(), length) })
}

fn tensor_feed<'a>(port: &'a Port, tensor: &Tensor, symbols: &mut Vec<(&'a str, u64)>) -> Result<Feed, Fault> {
    let wrong = |what: &str| fault(format_args!("the input `{}` has another {what} than the model", port.name));
    if tensor.dtype != port.dtype {
        return Err(wrong("type"));
    }
    if tensor.shape.len() != port.dims.len() {
        return Err(wrong("rank"));
    }
    for (size, dim) in tensor.shape.iter().zip(&port.dims) {
        if !fits(*size, dim, symbols) {
            return Err(wrong("size"));
        }
    }
    let shape: Option<Vec<usize>> = tensor.shape.iter().map(|size| usize::try_from(*size).ok()).collect();
    let shape = shape.ok_or_else(|| wrong("size"))?;
    let elements = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    if elements != Some(tensor.values.len()) {
        return Err(fault(format_args!("the input `{}` has another count than its shape says", port.name)));
    }
    let data = data(port.dtype, &tensor.values);
    let data = data.ok_or_else(|| fault(format_args!("a value of `{}` does not fit the engine", port.name)))?;
    Ok(Feed { shape, data })
}

/// Whether `size` may stand where `dim` is; a symbol stands for the same size everywhere.
fn fits<'a>(size: u64, dim: &'a Dim, symbols: &mut Vec<(&'a str, u64)>) -> bool {
    match dim {
        Dim::Fixed(fixed) => size == *fixed,
        Dim::Symbolic(symbol) => match symbols.iter().find(|(known, _)| **known == **symbol) {
            Some((_, known)) => size == *known,
            None => {
                symbols.push((symbol, size));
                true
            }
        },
    }
}

/// The values as the engine holds them; `None` if one would change. 2³² + 5 must not become 5.
fn data(dtype: Dtype, values: &Values) -> Option<Data> {
    match (dtype, values) {
        (dtype, Values::Raw(raw, _)) => raw_data(dtype, raw),
        (Dtype::Fp32, Values::F32(values)) => Some(Data::F32(values.clone())),
        (Dtype::Int32 | Dtype::Int64, Values::Int(values)) => narrow(values).map(Data::I32),
        (Dtype::Bool, Values::Bool(values)) => Some(Data::I32(values.iter().map(|value| i32::from(*value)).collect())),
        (Dtype::Int8, Values::Int(values)) => narrow(values).map(Data::I8),
        (Dtype::Uint8, Values::Uint(values)) => narrow(values).map(Data::U8),
        _ => None,
    }
}

/// The same of little-endian bytes.
fn raw_data(dtype: Dtype, raw: &[u8]) -> Option<Data> {
    match dtype {
        Dtype::Bool => Some(Data::I32(raw.iter().map(|byte| i32::from(*byte)).collect())),
        Dtype::Fp32 => Some(Data::F32(raw.as_chunks().0.iter().map(|cell| f32::from_le_bytes(*cell)).collect())),
        Dtype::Int32 => Some(Data::I32(raw.as_chunks().0.iter().map(|cell| i32::from_le_bytes(*cell)).collect())),
        Dtype::Int64 => {
            let wide = raw.as_chunks().0.iter().map(|cell| i64::from_le_bytes(*cell));
            wide.map(|value| i32::try_from(value).ok()).collect::<Option<_>>().map(Data::I32)
        }
        Dtype::Int8 => Some(Data::I8(raw.iter().map(|byte| byte.cast_signed()).collect())),
        Dtype::Uint8 => Some(Data::U8(raw.to_vec())),
        _ => None,
    }
}

fn narrow<Wide: Copy, Small: TryFrom<Wide>>(values: &[Wide]) -> Option<Vec<Small>> {
    values.iter().map(|value| Small::try_from(*value).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(dtype: Dtype, dims: &[Dim]) -> Port {
        Port { name: "x".into(), dtype, dims: dims.to_vec() }
    }

    fn signature(inputs: Vec<Port>) -> Signature {
        Signature { inputs, ..Signature::default() }
    }

    fn call(inputs: Vec<Tensor>) -> Call {
        Call { inputs, ..Call::default() }
    }

    fn tensor(name: &str, dtype: Dtype, shape: &[u64], values: Values) -> Tensor {
        Tensor { name: name.into(), dtype, shape: shape.to_vec(), values, at: 0..0 }
    }

    fn why(signature: &Signature, inputs: Vec<Tensor>) -> String {
        feeds(signature, &call(inputs)).err().expect("a fault").evidence().to_owned()
    }

    #[test]
    fn an_integer_that_does_not_fit_32_bits_is_refused_and_not_cut() {
        let ids = signature(vec![port(Dtype::Int64, &[Dim::Fixed(1)])]);
        for outside in [(1_i64 << 32) + 5, i64::from(i32::MAX) + 1, i64::MIN] {
            let input = tensor("x", Dtype::Int64, &[1], Values::Int(vec![outside]));
            assert!(why(&ids, vec![input]).contains("does not fit"), "{outside}");
        }
        for inside in [i64::from(i32::MIN), 5, i64::from(i32::MAX)] {
            let input = tensor("x", Dtype::Int64, &[1], Values::Int(vec![inside]));
            let mut fed = feeds(&ids, &call(vec![input])).expect("it fits");
            let value = fed.remove(0).into_value().expect("a value");
            let back = answer(&ids.inputs[0], value).expect("the same type");
            assert_eq!(back.values, Values::Int(vec![inside]));
        }
    }

    #[test]
    fn what_the_contract_should_have_refused_is_refused_again() {
        let batch = Dim::Symbolic("N".into());
        let pair = signature(vec![port(Dtype::Fp32, &[batch, Dim::Fixed(2)])]);
        let fp32 = |shape: &[u64], count| tensor("x", Dtype::Fp32, shape, Values::F32(vec![0.0; count]));
        assert!(feeds(&pair, &call(vec![fp32(&[3, 2], 6)])).is_ok());
        assert!(why(&pair, vec![fp32(&[3, 2], 5)]).contains("count"));
        assert!(why(&pair, vec![fp32(&[3, 3], 9)]).contains("size"));
        assert!(why(&pair, vec![fp32(&[6], 6)]).contains("rank"));
        assert!(why(&pair, vec![fp32(&[(1 << 63) + 1, 2], 2)]).contains("count"));
        assert!(why(&pair, vec![]).contains("number of inputs"));
        assert!(why(&pair, vec![tensor("y", Dtype::Fp32, &[1, 2], Values::F32(vec![0.0; 2]))]).contains("missing"));
        assert!(why(&pair, vec![tensor("x", Dtype::Fp64, &[1, 2], Values::F64(vec![0.0; 2]))]).contains("type"));
    }

    #[test]
    fn a_symbol_stands_for_one_size() {
        let batch = Dim::Symbolic("N".into());
        let input = port(Dtype::Fp32, &[batch]);
        let mut two = signature(vec![input.clone(), input]);
        two.inputs[1].name = "y".into();
        let fp32 = |name, count: usize| tensor(name, Dtype::Fp32, &[count as u64], Values::F32(vec![0.0; count]));
        assert!(feeds(&two, &call(vec![fp32("y", 2), fp32("x", 2)])).is_ok());
        assert!(why(&two, vec![fp32("x", 2), fp32("y", 3)]).contains("size"));
    }

    #[test]
    fn a_text_is_taken_only_by_a_text_model() {
        let mut model = signature(vec![port(Dtype::Int64, &[Dim::Symbolic("N".into()), Dim::Fixed(4)])]);
        let texts = |shape: &[u64], count| {
            tensor(TEXT, Dtype::Bytes, shape, Values::Bytes(vec![b"so good".as_slice().into(); count]))
        };
        assert!(why(&model, vec![texts(&[1], 1)]).contains("missing"));
        model.text = true;
        let mut fed = feeds(&model, &call(vec![texts(&[2, 1], 2)])).expect("two texts");
        assert_eq!(fed.remove(0).into_value().expect("a value").shape().to_vec(), [2, 4]);
        assert!(why(&model, vec![texts(&[3], 2)]).contains("number of elements"));
        assert!(why(&model, vec![texts(&[1, 2], 2)]).contains("neither"));
    }
}
