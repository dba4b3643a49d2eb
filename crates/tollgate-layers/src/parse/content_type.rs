//! Which content types are read, and that no header gives the body a second meaning.

use http::header::CONTENT_TYPE;
use tollgate_core::ruling::{Code, Refusal, Ruling};

use crate::hygiene::Head;
use crate::protocol::oip::binary;

/// How the body of an Open Inference Protocol request is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    /// JSON alone.
    Json,
    /// So many bytes of JSON, then tensors.
    Mixed(usize),
    /// One tensor alone: Triton's raw mode.
    Raw,
}

/// Reads the framing of a body of `length` bytes.
pub(super) fn framing(head: &Head, length: usize) -> Ruling<Framing> {
    let mut values = head.headers.get_all(binary::HEADER).iter();
    let (first, second) = (values.next(), values.next());
    let Some(value) = first else {
        json(head, true)?;
        return Ok(Framing::Json);
    };
    if second.is_some() {
        return Err(Refusal::new(Code::BadRequest).because("two lengths of the JSON part").into());
    }
    essence(head, true, |essence| is_json(essence) || essence.trim().eq_ignore_ascii_case("application/octet-stream"))?;
    match binary::json_length(value.as_bytes()) {
        Some(0) => Ok(Framing::Raw),
        Some(json) if json <= length => Ok(Framing::Mixed(json)),
        Some(_) => Err(Refusal::new(Code::BadRequest).because("a JSON part longer than the body").into()),
        None => Err(Refusal::new(Code::BadRequest).because("a length of the JSON part that is no number").into()),
    }
}

/// Refuses binary framing where the dialect has none.
pub(super) fn refuse_binary(head: &Head) -> Ruling<()> {
    if head.headers.contains_key(binary::HEADER) {
        return Err(Refusal::new(Code::Unsupported).because("binary framing where there is none").into());
    }
    Ok(())
}

/// Takes `application/json`, with no other parameter than `charset=utf-8`. `tritonclient` sends no content type at all.
pub(super) fn json(head: &Head, absent_is_fine: bool) -> Ruling<()> {
    essence(head, absent_is_fine, is_json)
}

fn essence(head: &Head, absent_is_fine: bool, is_known: impl Fn(&str) -> bool) -> Ruling<()> {
    let mut values = head.headers.get_all(CONTENT_TYPE).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Refusal::new(Code::BadRequest).because("two content types").into());
    }
    let fits = first.map_or(absent_is_fine, |value| value.to_str().is_ok_and(is_known));
    if fits { Ok(()) } else { Err(Refusal::new(Code::Unsupported).because("another content type").into()) }
}

fn is_json(value: &str) -> bool {
    let mut parts = value.split(';').map(str::trim);
    let json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    let parameters: Vec<_> = parts.collect();
    json && match parameters.as_slice() {
        [] => true,
        [charset] => ["charset=utf-8", "charset=\"utf-8\""].iter().any(|utf8| charset.eq_ignore_ascii_case(utf8)),
        _ => false,
    }
}
