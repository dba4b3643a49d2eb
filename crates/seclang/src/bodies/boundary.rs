//! The boundary of a multipart body, as its content type gives it.

use memchr::memmem;

use super::MultipartFlags;

/// Finds the boundary. Parameters before it are refused, as ModSecurity does: not everybody skips them alike.
pub(super) fn boundary<'c>(content_type: &'c [u8], flags: &mut MultipartFlags) -> Result<&'c [u8], &'static str> {
    const KIND: &[u8] = b"multipart/form-data";
    const MALFORMED: &str = "multipart: the boundary is malformed";
    if content_type.len() > 1024 {
        return Err("multipart: the content type is too long");
    }
    let (kind, parameters) = content_type.split_at_checked(KIND.len()).unwrap_or_default();
    if !kind.eq_ignore_ascii_case(KIND) {
        return Err("multipart: the content type is not form data");
    }
    match mentions(content_type) {
        0 => return Err("multipart: no boundary"),
        1 => {}
        _ => return Err("multipart: more than one boundary"),
    }
    let Some((before, behind)) = memmem::find(parameters, b"boundary").and_then(|at| parameters.split_at_checked(at))
    else {
        return Err("multipart: `boundary` is not written in lower case");
    };
    match before.trim_ascii() {
        b";" => {}
        b"" => flags.missing_semicolon = true,
        _ => return Err(MALFORMED),
    }
    let Some(behind) = behind.get(8..) else { return Err(MALFORMED) };
    let Some((gap, value)) = behind.iter().position(|&byte| byte == b'=').and_then(|at| behind.split_at_checked(at))
    else {
        return Err(MALFORMED);
    };
    if !gap.trim_ascii().is_empty() {
        return Err(MALFORMED);
    }
    let value = value.get(1..).unwrap_or_default();
    let value = value.split(|&byte| byte == b';').next().unwrap_or_default();
    flags.boundary_whitespace = !gap.is_empty() || value.trim_ascii().len() < value.len();
    let value = match value.trim_ascii() {
        [b'"', quoted @ .., b'"'] => {
            flags.boundary_quoted = true;
            quoted
        }
        value => value,
    };
    if value.is_empty() {
        return Err("multipart: the boundary is empty");
    }
    if value.ends_with(b" ") || !value.iter().all(|&byte| is_allowed(byte)) {
        return Err("multipart: the boundary has characters that RFC 2046 does not allow");
    }
    Ok(value)
}

/// How often a parameter called `boundary` seems to be there, in whatever case.
fn mentions(content_type: &[u8]) -> usize {
    let lower = content_type.to_ascii_lowercase();
    memmem::find_iter(&lower, b"boundary")
        .filter(|at| lower.get(at + 8..).is_some_and(|behind| behind.contains(&b'=')))
        .count()
}

/// RFC 2046, section 5.1.1.
const fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b' ' | b'\'' | b'(' | b')' | b'+' | b'_' | b',' | b'-' | b'.' | b'/' | b':' | b'=' | b'?')
}
