//! Targets: origin form, no dot segment in any spelling, nothing that two servers read differently.

use http::Uri;
use http::uri::PathAndQuery;
use tollgate_core::ruling::Ruling;

use super::bad;

/// Bytes of a target as it was sent.
pub(super) fn length(uri: &Uri) -> usize {
    let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + 3);
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let rest = uri.path_and_query().map_or(0, |rest| rest.as_str().len());
    scheme + authority + rest
}

/// Judges the target and brings it into origin form.
///
/// # Errors
/// `bad_request`.
pub(super) fn clean(uri: Uri) -> Ruling<Uri> {
    let Some(rest) = uri.into_parts().path_and_query else { return Err(bad("the target has no path")) };
    check(&rest).map_err(bad)?;
    Ok(Uri::from(rest))
}

fn check(target: &PathAndQuery) -> Result<(), &'static str> {
    let raw = target.as_str().as_bytes();
    // Folds without a way out, which are done many bytes at a time.
    if raw.iter().fold(false, |odd, byte| odd | !matches!(byte, b'!'..=b'~')) {
        return Err("the target holds a control character, a space or a byte that is not ASCII");
    }
    if raw.iter().fold(false, |odd, byte| odd | (*byte == b'\\')) {
        return Err("the target holds a backslash");
    }
    let Some(path) = target.path().strip_prefix('/') else { return Err("the target does not begin with `/`") };
    let mut segments = path.as_bytes().split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            // Some servers merge slashes, others do not: the path that was judged would not be the path that is served.
            return Err("the path holds an empty segment");
        }
        check_segment(segment)?;
    }
    Ok(())
}

/// Judges one segment as a server will see it that decodes it, and one that decodes it twice.
fn check_segment(segment: &[u8]) -> Result<(), &'static str> {
    if !segment.contains(&b'%') {
        return check_dots(segment);
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (hex(bytes.next()), hex(bytes.next())) else {
            return Err("the path holds a `%` that begins no escape");
        };
        let plain = high << 4 | low;
        match plain {
            0..=0x1f | 0x7f => return Err("the path holds an escaped control character"),
            b'/' | b'\\' => return Err("the path holds an escaped slash or backslash"),
            _ => decoded.push(plain),
        }
    }
    // Overlong forms such as `%c0%ae` are dots to lenient decoders (CVE-2008-2938).
    if str::from_utf8(&decoded).is_err() {
        return Err("the path is not UTF-8 once unescaped");
    }
    // Also where the second escape is escaped in turn: `%25%32%65`.
    let escape = |three: &[u8]| matches!(three, [b'%', high, low] if hex(Some(*high)).and(hex(Some(*low))).is_some());
    if decoded.windows(3).any(escape) {
        return Err("the path is escaped twice");
    }
    check_dots(&decoded)
}

fn check_dots(segment: &[u8]) -> Result<(), &'static str> {
    // `..;x` is `..` to servers that cut path parameters.
    if matches!(segment, [b'.'] | [b'.', b'.'] | [b'.', b';', ..] | [b'.', b'.', b';', ..]) {
        return Err("the path holds a dot segment");
    }
    Ok(())
}

fn hex(byte: Option<u8>) -> Option<u8> {
    match byte? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        letter @ b'a'..=b'f' => Some(letter - b'a' + 10),
        letter @ b'A'..=b'F' => Some(letter - b'A' + 10),
        _ => None,
    }
}
