//! What the parser has proved of a body, in the words of the engine: which bytes are numbers, which are prompts.

use bytes::Bytes;
use seclang::{Knowledge, Known};
use tollgate_core::call::{Call, Dtype, Values};

use crate::protocol::{tensor, write};

/// Where the text of a body of `length` bytes ends: before the first tensor that stands behind the JSON.
pub(super) fn text_end(call: &Call, length: usize) -> usize {
    let raw = call.inputs.iter().filter(|tensor| matches!(tensor.values, Values::Raw(..)));
    raw.map(|tensor| tensor.at.start).min().unwrap_or(length).min(length)
}

/// The ranges of `body` whose nature is known, in the order in which they stand. Numbers are never expanded into
/// arguments; prompts are judged by rules that make sense for them.
pub(super) fn of(call: &Call, body: &[u8]) -> Vec<Known> {
    let mut known: Vec<Known> = call
        .inputs
        .iter()
        .filter(|tensor| !tensor.at.is_empty())
        .filter_map(|tensor| {
            let first = body.get(tensor.at.start)?;
            let what = match (&tensor.values, first) {
                (Values::Bytes(_), b'"' | b'[') => Knowledge::Prompt,
                (Values::F32(_) | Values::F64(_) | Values::Int(_) | Values::Uint(_), b'[') => Knowledge::Numbers,
                // A single number is one argument like any other; so are words such as `true`.
                _ => return None,
            };
            Some(Known { at: tensor.at.clone(), what })
        })
        .collect();
    known.extend(call.prompts.iter().map(|prompt| Known { at: prompt.at.clone(), what: Knowledge::Prompt }));
    known.sort_by_key(|known| known.at.start);
    known
}

/// The texts of a call whose body no rule could read, as the JSON that would say the same: names and numbers are the
/// contract's, texts are what a model reads.
pub(super) fn spoken(call: &Call) -> (Bytes, Vec<Known>) {
    let (mut out, mut known) = (String::new(), Vec::new());
    for input in &call.inputs {
        let Values::Raw(raw, _) = &input.values else { continue };
        if input.dtype != Dtype::Bytes {
            continue;
        }
        out.push_str(if out.is_empty() { r#"{"inputs":[{"name":"# } else { r#",{"name":"# });
        write::string(&mut out, &input.name);
        out.push_str(r#","data":"#);
        let start = out.len();
        write::list(&mut out, tensor::strings(raw), |out, text| write::string(out, &String::from_utf8_lossy(text)));
        known.push(Known { at: start..out.len(), what: Knowledge::Prompt });
        out.push('}');
    }
    if !out.is_empty() {
        out.push_str("]}");
    }
    (out.into(), known)
}
