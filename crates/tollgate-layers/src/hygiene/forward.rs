//! What of a request's fields goes on to a model server: nothing of the hop, no credential, no claim about the client
//! but ours. Runs after authentication, so that nothing is dropped before it was read.

use std::io::Write as _;
use std::net::IpAddr;

use http::header::{CONNECTION, CONTENT_TYPE, COOKIE, HeaderValue};
use http::{HeaderMap, HeaderName};
use tollgate_core::identity::ExchangeId;

use super::Trace;
use super::fields::options;

/// Whether cookies go on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Cookies {
    /// They do not.
    #[default]
    Drop,
    /// They do.
    Keep,
}

/// Fields of our own, set on every request that is forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Ours {
    /// Number of the exchange, sent as `x-request-id`.
    pub id: ExchangeId,
    /// Our place in the trace, sent as `traceparent`.
    pub trace: Trace,
    /// The client's address, sent as `x-forwarded-for`; `None` keeps it from the model server.
    pub client: Option<IpAddr>,
    /// What the body was read as, in place of what the client called it.
    pub content_type: Option<&'static str>,
}

/// Fields that never go on: of the hop (RFC 9110 §7.6.1), framing (the body is framed anew), credentials, and claims
/// that only we may make. `host` is the upstream's own name, set where the connection is known.
const DROPPED: [&str; 27] = [
    "api-key",
    "authorization",
    "client-cert",
    "client-cert-chain",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-api-key",
    "x-client-ip",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-request-id",
    "true-client-ip",
];

/// Beginnings of further such names.
const DROPPED_PREFIXES: [&str; 2] = ["tollgate-", "x-forwarded-"];

/// Writes the fields of a forwarded request: of the client's those that may go on, and ours. `host`, `content-length`
/// and the upstream's own credential are written by who knows them.
pub fn write(out: &mut Vec<u8>, headers: &HeaderMap, cookies: Cookies, ours: &Ours) {
    for (name, value) in kept(headers, cookies) {
        // A `tracestate` goes on with the trace that it belongs to, and with no other.
        let foreign = ours.trace.parent.is_none() && name.as_str() == "tracestate";
        if !foreign && (ours.content_type.is_none() || *name != CONTENT_TYPE) {
            field(out, name.as_str(), value.as_bytes());
        }
    }
    if let Some(content_type) = ours.content_type {
        field(out, "content-type", content_type.as_bytes());
    }
    field(out, "x-request-id", &ours.id.digits());
    field(out, "traceparent", &ours.trace.field());
    if let Some(client) = ours.client {
        out.extend_from_slice(b"x-forwarded-for: ");
        address(out, client);
        out.extend_from_slice(b"\r\n");
    }
}

/// The same fields for HTTP/2, whose heads are written by who knows its tables.
#[must_use]
pub fn fields(headers: &HeaderMap, cookies: Cookies, ours: &Ours) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(headers.len() + 4);
    for (name, value) in kept(headers, cookies) {
        let foreign = ours.trace.parent.is_none() && name.as_str() == "tracestate";
        if !foreign && (ours.content_type.is_none() || *name != CONTENT_TYPE) {
            out.append(name.clone(), value.clone());
        }
    }
    if let Some(content_type) = ours.content_type {
        out.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let mut set = |name: &'static str, value: &[u8]| {
        // INVARIANT: digits, dashes, dots and colons alone.
        if let Ok(value) = HeaderValue::from_bytes(value) {
            out.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-request-id", &ours.id.digits());
    set("traceparent", &ours.trace.field());
    if let Some(client) = ours.client {
        set("x-forwarded-for", client.to_string().as_bytes());
    }
    out
}

/// The client's fields that go on.
pub fn kept(headers: &HeaderMap, cookies: Cookies) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let hops = headers.contains_key(CONNECTION);
    headers.iter().filter(move |(name, _)| {
        let text = name.as_str();
        let falls = DROPPED.contains(&text)
            || DROPPED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
            || (cookies == Cookies::Drop && **name == COOKIE)
            || (hops && options(headers).flatten().any(|option| option.eq_ignore_ascii_case(text)));
        !falls
    })
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// IPv4 without going through a formatter: nearly every forwarded request has one.
fn address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(v4) = address else {
        // Writing to memory cannot fail.
        let _ = write!(out, "{address}");
        return;
    };
    for (i, octet) in v4.octets().into_iter().enumerate() {
        if i > 0 {
            out.push(b'.');
        }
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let zeros = if octet >= 100 {
            0
        } else if octet >= 10 {
            1
        } else {
            2
        };
        out.extend(digits.iter().skip(zeros).map(|digit| b'0' + digit));
    }
}
