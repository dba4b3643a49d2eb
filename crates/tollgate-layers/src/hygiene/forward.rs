//! What of a request's fields goes on to a model server: nothing of the hop, no credential, no claim about the client
//! but ours. Runs after authentication, so that nothing is dropped before it was read.

use std::net::IpAddr;

use http::header::{CONNECTION, COOKIE, HeaderValue};
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
pub struct Ours<'a> {
    /// Number of the exchange, sent as `x-request-id`.
    pub id: ExchangeId,
    /// Our place in the trace, sent as `traceparent`.
    pub trace: &'a Trace,
    /// The client's address, sent as `x-forwarded-for`; `None` keeps it from the model server.
    pub client: Option<IpAddr>,
}

/// Fields that never go on: of the hop (RFC 9110 §7.6.1), framing (the body is framed anew), credentials, and claims
/// that only we may make. `host` is the upstream's own name, set where the connection is known.
const DROPPED: [&str; 25] = [
    "api-key",
    "authorization",
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

/// Removes what must not go on. `host`, `content-length` and the upstream's own credential are set afterwards, by who
/// knows them.
pub fn strip(headers: &mut HeaderMap, cookies: Cookies) {
    let hops = headers.contains_key(CONNECTION);
    // One look at each field that is there, not one for each that could be.
    let falls = |name: &&HeaderName| {
        let text = name.as_str();
        DROPPED.contains(&text)
            || DROPPED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
            || (cookies == Cookies::Drop && **name == COOKIE)
            || (hops && options(headers).flatten().any(|option| option.eq_ignore_ascii_case(text)))
    };
    let falling: Vec<HeaderName> = headers.keys().filter(falls).cloned().collect();
    for name in falling {
        headers.remove(name);
    }
}

/// Sets our own fields on a stripped head. A `tracestate` goes on with the trace that it belongs to, and with no other.
pub fn set(headers: &mut HeaderMap, ours: &Ours<'_>) {
    if ours.trace.parent.is_none() {
        headers.remove("tracestate");
    }
    put(headers, REQUEST_ID, &ours.id.digits());
    put(headers, TRACEPARENT, &ours.trace.field());
    if let Some(client) = ours.client {
        put(headers, FORWARDED_FOR, client.to_string().as_bytes());
    }
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

fn put(headers: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.insert(name, value);
    }
}
