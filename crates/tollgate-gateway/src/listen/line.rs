//! The request line: method, target and version as no two parsers read differently.
//!
//! Whether a method or a path is served, and what an absolute target has to do with Host, is decided by layer
//! `hygiene` and the routes.

use http::Uri;
use memchr::memchr;

use crate::listen::flaw::HeadFlaw;
use crate::listen::kinds::{CONTROL, HIGH, NO_TOKEN, NO_URI, kinds};

/// Checks a request line, without its line end: two single spaces, a method that is a token, a target, a version.
pub(super) fn check_request_line(line: &[u8], max_target: usize) -> Result<(), HeadFlaw> {
    if memchr(b'\t', line).is_some() {
        return Err(HeadFlaw::SPACES);
    }
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        let short = line.iter().filter(|byte| **byte == b' ').count() < 2;
        return Err(if short { HeadFlaw::NO_VERSION } else { HeadFlaw::SPACES });
    };
    if method.is_empty() || target.is_empty() {
        return Err(HeadFlaw::SPACES);
    }
    if kinds(method) & NO_TOKEN != 0 {
        return Err(HeadFlaw::METHOD);
    }
    check_target(method, target, max_target)?;
    if version.is_empty() {
        return Err(HeadFlaw::NO_VERSION);
    }
    if !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Err(HeadFlaw::BAD_VERSION);
    }
    Ok(())
}

fn check_target(method: &[u8], target: &[u8], max: usize) -> Result<(), HeadFlaw> {
    if target.len() > max {
        return Err(HeadFlaw::TARGET_TOO_LONG);
    }
    let found = kinds(target);
    if found & CONTROL != 0 {
        return Err(HeadFlaw::CONTROL);
    }
    if found & HIGH != 0 {
        return Err(HeadFlaw::RAW_TARGET);
    }
    if memchr(b'#', target).is_some() {
        return Err(HeadFlaw::FRAGMENT);
    }
    let origin = target.first() == Some(&b'/');
    let known = origin
        || (target == b"*" && method == b"OPTIONS")
        || starts_with_ignoring_case(target, b"http://")
        || starts_with_ignoring_case(target, b"https://")
        || (method == b"CONNECT" && has_port(target));
    // What no URI has is refused here, where it leaves a record, and not by the codec behind us.
    let plain = origin && found & NO_URI == 0;
    if known && (plain || Uri::try_from(target).is_ok()) { Ok(()) } else { Err(HeadFlaw::TARGET) }
}

/// The one form that CONNECT may have: a host and a port (RFC 9112, 3.2.3).
fn has_port(target: &[u8]) -> bool {
    let port = target.rsplit(|byte| *byte == b':').next().unwrap_or_default();
    port.len() < target.len() && (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit)
}

fn starts_with_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
}
