//! Which content types are read, and that no header gives the body a second meaning.

use http::header::CONTENT_TYPE;
use tollgate_core::ruling::{Code, Refusal, Ruling};

use crate::hygiene::Head;

/// With it, the KServe and Triton binary extension cuts the body into JSON and raw tensors.
const BINARY: &str = "inference-header-content-length";

/// Refuses binary tensors, which are not read yet.
pub(super) fn refuse_binary(head: &Head) -> Ruling<()> {
    if head.headers.contains_key(BINARY) {
        return Err(Refusal::new(Code::Unsupported).because("binary tensors are not read yet").into());
    }
    Ok(())
}

/// Takes `application/json`, with no other parameter than `charset=utf-8`. `tritonclient` sends no content type at all.
pub(super) fn json(head: &Head, absent_is_fine: bool) -> Ruling<()> {
    let mut values = head.headers.get_all(CONTENT_TYPE).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Refusal::new(Code::BadRequest).because("two content types").into());
    }
    let fits = first.map_or(absent_is_fine, |value| value.to_str().is_ok_and(is_json));
    if fits { Ok(()) } else { Err(Refusal::new(Code::Unsupported).because("not `application/json`").into()) }
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
