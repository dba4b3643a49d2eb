//! The body of an inference answer.

use tollgate_core::backend::Output;
use tollgate_core::call::{Call, Dtype, Tensor, Values};
use tollgate_core::ruling::{Fault, Origin};

use crate::protocol::write;

/// Writes what a model gave: the outputs that the call asked for in that order, all without a wish.
///
/// # Errors
/// The model gave something that JSON cannot carry: a number that is not finite, text that is not UTF-8, or a half;
/// or not an output that was asked for.
pub fn reply(model: &str, call: &Call, output: &Output) -> Result<String, Fault> {
    let mut out = String::from(r#"{"model_name":"#);
    write::string(&mut out, model);
    if let Some(id) = &call.id {
        out.push_str(r#","id":"#);
        write::string(&mut out, id);
    }
    out.push_str(r#","outputs":"#);
    let wished = wished(call, output)?;
    for tensor in &wished {
        check(tensor)?;
    }
    write::list(&mut out, wished, write_tensor);
    out.push('}');
    Ok(out)
}

/// The outputs that a call asked for, in its order; all without a wish.
pub(super) fn wished<'a>(call: &Call, output: &'a Output) -> Result<Vec<&'a Tensor>, Fault> {
    if call.outputs.is_empty() {
        return Ok(output.tensors.iter().collect());
    }
    let find = |name: &str| output.tensors.iter().find(|tensor| *tensor.name == *name);
    let found: Option<Vec<_>> = call.outputs.iter().map(|name| find(name)).collect();
    found.ok_or_else(|| fault("gave no output of a known name"))
}

/// Whether JSON can carry a tensor of an answer.
pub(in crate::protocol) fn check(tensor: &Tensor) -> Result<(), Fault> {
    if matches!(tensor.dtype, Dtype::Bf16 | Dtype::Fp16) {
        return Err(fault("gave a type without a JSON form"));
    }
    let carried = match &tensor.values {
        Values::F32(values) => values.iter().all(|value| value.is_finite()),
        Values::F64(values) => values.iter().all(|value| value.is_finite()),
        Values::Bytes(values) => values.iter().all(|value| std::str::from_utf8(value).is_ok()),
        Values::Bool(_) | Values::Int(_) | Values::Uint(_) => true,
        Values::Raw(..) => false,
    };
    if carried { Ok(()) } else { Err(fault("gave a value without a JSON form")) }
}

fn write_tensor(out: &mut String, tensor: &Tensor) {
    out.push_str(r#"{"name":"#);
    write::string(out, &tensor.name);
    out.push_str(r#","shape":"#);
    write::list(out, &tensor.shape, write::value);
    out.push_str(r#","datatype":"#);
    write::string(out, tensor.dtype.name());
    out.push_str(r#","data":"#);
    match &tensor.values {
        Values::Bool(values) => write::list(out, values, write::value),
        Values::Bytes(values) => write::list(out, values, |out, value| {
            write::string(out, std::str::from_utf8(value).unwrap_or_default());
        }),
        Values::F32(values) => write::list(out, values, write::value),
        Values::F64(values) => write::list(out, values, write::value),
        Values::Int(values) => write::list(out, values, write::value),
        Values::Uint(values) => write::list(out, values, write::value),
        // INVARIANT: `check` has refused it.
        Values::Raw(..) => out.push_str("[]"),
    }
    out.push('}');
}

pub(super) fn fault(what: &str) -> Fault {
    Fault::new(Origin::Upstream, format_args!("the model {what}"))
}
