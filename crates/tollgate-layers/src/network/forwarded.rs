//! Reading `X-Forwarded-For` and `Forwarded` (RFC 7239) from the right: only what trusted proxies wrote is believed.
//!
//! Nothing is copied and nothing is kept: time is linear in the fields, which the head's caps bound.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use http::header::FORWARDED;

use super::canonical;

/// An address that was found, or why none could be.
type Found = Result<Option<IpAddr>, &'static str>;

const UNREADABLE: &str = "a trusted proxy does not name its client's address";

/// The client after `X-Forwarded-For`. `None`: no such field.
pub(super) fn x_forwarded_for(headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> Found {
    let mut farthest = None;
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        for entry in value.as_bytes().rsplit(|byte| *byte == b',') {
            let address = str::from_utf8(entry.trim_ascii()).ok().and_then(address).ok_or(UNREADABLE)?;
            if !trusted(address) {
                return Ok(Some(address));
            }
            farthest = Some(address);
        }
    }
    Ok(farthest)
}

/// The client after `Forwarded`. `None`: no such field.
///
/// A field line must parse as a whole, also to the left of the client: an open quote there could swallow what the proxy
/// wrote.
pub(super) fn rfc7239(headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> Found {
    let mut farthest = None;
    for value in headers.get_all(FORWARDED).iter().rev() {
        let mut rest = value.as_bytes();
        let mut client = None;
        let mut leftmost = None;
        loop {
            let (node, after) = element(rest)?;
            match node {
                Some(address) if trusted(address) => leftmost = leftmost.or(Some(address)),
                other => client = Some(other),
            }
            let Some(after) = after else { break };
            rest = after;
        }
        match client {
            Some(Some(address)) => return Ok(Some(address)),
            Some(None) => return Err(UNREADABLE),
            None => farthest = leftmost,
        }
    }
    Ok(farthest)
}

/// One `forwarded-element`: the address of its only `for`, if that is one, and what follows the comma.
type Element<'a> = (Option<IpAddr>, Option<&'a [u8]>);

fn element(mut rest: &[u8]) -> Result<Element<'_>, &'static str> {
    let mut node = None;
    let mut seen = false;
    loop {
        let (name, after) = pair_name(rest)?;
        let (value, after) = pair_value(after)?;
        if name.eq_ignore_ascii_case(b"for") {
            if seen {
                return Err("`forwarded` names two clients in one element");
            }
            seen = true;
            node = str::from_utf8(value).ok().and_then(address);
        }
        match after.trim_ascii_start().split_first() {
            None => return Ok((node, None)),
            Some((b',', after)) => return Ok((node, Some(after))),
            Some((b';', after)) => rest = after,
            Some(_) => return Err("`forwarded` is malformed"),
        }
    }
}

fn pair_name(text: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|byte| *byte == b'=').ok_or("`forwarded` holds a parameter without a value")?;
    let (name, rest) = text.split_at_checked(end).ok_or("`forwarded` is malformed")?;
    let rest = rest.strip_prefix(b"=").unwrap_or(rest);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err("`forwarded` holds a malformed parameter name");
    }
    Ok((name, rest))
}

/// A token or a quoted string, without its quotes. Backslashes are refused: no address holds one.
fn pair_value(text: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let malformed = "`forwarded` is malformed";
    if let Some(quoted) = text.strip_prefix(b"\"") {
        let end = quoted.iter().position(|byte| *byte == b'"').ok_or("`forwarded` holds an open quote")?;
        let (value, rest) = quoted.split_at_checked(end).ok_or(malformed)?;
        if value.contains(&b'\\') {
            return Err("`forwarded` holds a backslash");
        }
        return Ok((value, rest.strip_prefix(b"\"").unwrap_or(rest)));
    }
    // Colons and brackets need quotes by the letter of the RFC; proxies forget them, and they are not ambiguous.
    let bare = |byte: u8| is_token(byte) || matches!(byte, b':' | b'[' | b']' | b'/');
    let end = text.iter().position(|byte| !bare(*byte)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(value, _)| !value.is_empty()).ok_or(malformed)
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
        || matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// An address, with or without a port; IPv6 with or without brackets. Zones, names, `unknown` and `_hidden` are none.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(canonical(address));
    }
    if text.contains('%') {
        return None;
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(canonical(socket.ip()));
    }
    let bare = text.strip_prefix('[')?.strip_suffix(']')?;
    bare.parse::<Ipv6Addr>().ok().map(|address| canonical(IpAddr::V6(address)))
}
