//! What leaves with a reply: header fields, and whether the model server's own status is passed on. It never looks into
//! a body, and it is a plain value of the pipeline rather than a guard: there is no mode in which errors leak.

mod config;
mod names;
pub mod rpc;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tollgate_core::ruling::{Code, Fault, Origin, Refusal, Ruling};

pub use config::{OutputConfig, UpstreamErrors};
use names::Names;

/// The compiled layer.
#[derive(Clone, Debug)]
pub struct Output {
    errors: UpstreamErrors,
    security_headers: bool,
    /// Dropped besides the built-in ones.
    drop: Names,
    /// Kept although the built-in list names them.
    keep: Names,
    /// Trailers of gRPC that leave besides the status.
    trailers: Names,
}

/// Fields that a browser obeys: the gateway decides them, never the model server. No scripts, frames, sniffing or
/// addresses of pages belong to an inference reply.
const BROWSER: [(HeaderName, HeaderValue); 3] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
];

/// One year. Subdomains are left out: the gateway does not know who serves them.
const TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// A wait above this is not passed on: a confused server must not send callers away for days.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

impl Output {
    /// Makes the head of a reply of the model server fit to leave: of its fields those that betray nothing, and ours on
    /// top. `tls` says whether the client's connection is encrypted.
    pub fn clean_head(&self, headers: &mut HeaderMap, tls: bool) {
        self.strip(headers);
        self.secure(headers, tls);
    }

    /// Adds the security fields: the whole treatment of a reply that the gateway wrote itself.
    pub fn secure(&self, headers: &mut HeaderMap, tls: bool) {
        if !self.security_headers {
            return;
        }
        for (name, value) in BROWSER {
            headers.insert(name, value);
        }
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if tls {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, TRANSPORT_SECURITY);
        } else {
            // RFC 6797, 7.2: never over plain HTTP.
            headers.remove(header::STRICT_TRANSPORT_SECURITY);
        }
    }

    /// Strips trailers like a head; they get nothing of ours.
    pub fn clean_trailers(&self, trailers: &mut HeaderMap) {
        self.strip(trailers);
    }

    /// Whether the model server's reply is passed on. If it is not, its body is thrown away and the stop answered:
    /// load (429, or 503 with `Retry-After`) is a refusal with the wait; a failure is a fault of the upstream; a 4xx
    /// keeps its class, without its text. `headers` are those of the model server.
    ///
    /// # Errors
    /// What is answered instead.
    pub fn verdict(&self, status: StatusCode, headers: &HeaderMap) -> Ruling<()> {
        let why = format_args!("the model server answered {}", status.as_u16());
        let wait = wait_of(headers);
        let code = match status.as_u16() {
            200..=299 => return Ok(()),
            429 => Code::Overloaded,
            503 if wait.is_some() => Code::Overloaded,
            504 => return Err(Fault::new(Origin::UpstreamLate, why).into()),
            // 401, 403 and 407 are about our own credential for the model server, never about the caller's.
            400 | 404 | 409 | 413 | 422 if self.errors == UpstreamErrors::Relay4xx => return Ok(()),
            400 | 422 => Code::InvalidCall,
            404 => Code::NotFound,
            413 => Code::TooLarge,
            // 1xx: no upgrade was offered. 3xx: a redirect would lead the caller around the gateway. The rest failed.
            _ => return Err(Fault::new(Origin::Upstream, why).into()),
        };
        let mut refusal = Refusal::new(code).because(why);
        refusal.retry_after = wait.filter(|_| code == Code::Overloaded);
        Err(refusal.into())
    }

    fn strip(&self, headers: &mut HeaderMap) {
        let connection = named_by_connection(headers);
        let falls = |name: &&HeaderName| connection.contains(name) || self.drops(name);
        let falling: Vec<HeaderName> = headers.keys().filter(falls).cloned().collect();
        for name in falling {
            headers.remove(name);
        }
    }

    fn drops(&self, name: &HeaderName) -> bool {
        names::is_hop_by_hop(name) || self.drop.has(name) || (names::is_internal(name) && !self.keep.has(name))
    }
}

/// The fields that `Connection` lists: they belong to one connection (RFC 9110, 7.6.1).
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    let words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    words.filter_map(|word| HeaderName::from_bytes(word.trim_ascii()).ok()).collect()
}

/// `Retry-After` in seconds; a date would need a clock, and no model server sends one.
fn wait_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = text.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(seconds).clamp(Duration::from_secs(1), LONGEST_WAIT))
}
