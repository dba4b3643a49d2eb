//! Framing, hosts, paths and header caps: what every request must satisfy before anything looks at it.
//!
//! It judges heads only. Raw bytes of an HTTP/1.1 head (line ends, spaces, folding) are judged where they are read;
//! what was found there comes in as a [`RawVerdict`]. Bodies are the business of `intake`.

mod config;
mod fields;
mod forward;
mod head;
mod host;
mod target;
#[cfg(test)]
mod tests;
mod trace;

use http::request::Parts;
use http::{Method, Uri, Version};
use tollgate_core::journal::Notes;
use tollgate_core::ruling::{Code, Refusal, Ruling, Stop};

pub use config::HygieneConfig;
pub use forward::{Cookies, Ours, fields as forwarded_fields, kept, write};
pub use head::Head;
pub use host::{Authority, Hosts};
pub use trace::{Fresh, Trace};

/// The compiled layer.
#[derive(Debug)]
pub struct Hygiene {
    hosts: Hosts,
    max_head_bytes: usize,
    max_headers: usize,
    max_target_bytes: usize,
}

/// What the reader of raw HTTP/1.1 bytes found wrong with a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RawVerdict {
    /// The public reason.
    pub code: Code,
    /// What was wrong, for operators.
    pub why: &'static str,
}

/// Whether any route may serve it. All others, `CONNECT` and `TRACE` among them, do not exist here; methods are
/// case-sensitive (RFC 9110 §9.1), so `post` is one of the others.
fn is_served(method: &Method) -> bool {
    matches!(
        *method,
        Method::POST | Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::PATCH | Method::DELETE
    )
}

impl Hygiene {
    /// Judges a head and brings its target into origin form.
    ///
    /// # Errors
    /// `bad_request`, `headers_too_large`, `method_not_allowed` or `misdirected`. The connection must be closed after
    /// any of them: where a request ends is then no longer certain.
    pub fn clean(&self, parts: Parts, raw: Option<RawVerdict>) -> Ruling<Head> {
        if let Some(raw) = raw {
            return Err(Refusal::new(raw.code).because(raw.why).into());
        }
        self.measure(&parts)?;
        if !is_served(&parts.method) {
            let why = format_args!("method `{}` is not served", parts.method);
            return Err(Refusal::new(Code::MethodNotAllowed).because(why).into());
        }
        if !matches!(parts.version, Version::HTTP_10 | Version::HTTP_11 | Version::HTTP_2) {
            return Err(bad(format_args!("version {:?} is not served", parts.version)));
        }
        fields::check(&parts)?;
        let asked = host::asked(&parts)?;
        if !self.hosts.serves(&asked) {
            let why = format_args!("host `{}` is not served", asked.name);
            return Err(Refusal::new(Code::Misdirected).because(why).into());
        }
        let uri = target::clean(parts.uri)?;
        Ok(Head { method: parts.method, uri, version: parts.version, headers: parts.headers, host: asked.name })
    }

    /// As [`Hygiene::clean`]; on a `lenient` listener, for conformance runs, what would be refused and can be served all
    /// the same is noted and served.
    ///
    /// # Errors
    /// As [`Hygiene::clean`].
    pub fn receive(&self, parts: Parts, raw: Option<RawVerdict>, lenient: bool, notes: &mut Notes<'_>) -> Ruling<Head> {
        if !lenient {
            return self.clean(parts, raw);
        }
        let spare = parts.clone();
        match self.clean(parts, raw) {
            Err(Stop::Refuse(refusal)) if raw.is_none() && self.can_serve(&spare) => {
                notes.would_refuse(*refusal);
                let Parts { method, uri, version, headers, .. } = spare;
                let uri = uri.into_parts().path_and_query.map(Uri::from).unwrap_or_default();
                Ok(Head { method, uri, version, headers, host: "lenient".into() })
            }
            verdict => verdict,
        }
    }

    /// Whether a head has what it takes to be sent on: a method that routes know, a path and a host.
    #[must_use]
    pub fn can_serve(&self, parts: &Parts) -> bool {
        let path = parts.uri.path_and_query().is_some_and(|path| path.as_str().starts_with('/'));
        path && is_served(&parts.method) && host::asked(parts).is_ok()
    }

    /// The caps. Over HTTP/1.1 the reader of raw bytes has already held them; over HTTP/2 this is the place.
    fn measure(&self, parts: &Parts) -> Ruling<()> {
        let target = target::length(&parts.uri);
        let fields: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let too_large = |why: std::fmt::Arguments<'_>| Err(Refusal::new(Code::HeadersTooLarge).because(why).into());
        if parts.headers.len() > self.max_headers {
            return too_large(format_args!("{} header fields, at most {}", parts.headers.len(), self.max_headers));
        }
        if target > self.max_target_bytes {
            return too_large(format_args!("a target of {target} bytes, at most {}", self.max_target_bytes));
        }
        if fields.saturating_add(target) > self.max_head_bytes {
            let size = fields.saturating_add(target);
            return too_large(format_args!("a head of {size} bytes, at most {}", self.max_head_bytes));
        }
        Ok(())
    }
}

/// A malformed head.
fn bad(why: impl std::fmt::Display) -> Stop {
    Refusal::new(Code::BadRequest).because(why).into()
}
