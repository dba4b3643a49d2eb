//! W3C Trace Context: one request, one trace, through us and on to the model server.
//!
//! Spans are not recorded here; this only reads and writes `traceparent`.

use std::fmt;

use http::HeaderMap;
use tollgate_core::identity::hexadecimal;

/// Where this exchange stands in its trace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trace {
    /// Number of the trace.
    pub trace_id: u128,
    /// Number of our own span: the parent of what the model server does.
    pub span_id: u64,
    /// The caller's span; `None` where the trace begins here.
    pub parent: Option<u64>,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

/// Numbers for a trace that begins here, and for our span.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fresh {
    /// Number of a new trace.
    pub trace_id: u128,
    /// Number of our span.
    pub span_id: u64,
    /// Whether a new trace is recorded.
    pub sampled: bool,
}

impl Trace {
    /// Continues the caller's trace, or begins one where `traceparent` is absent, doubled or malformed.
    #[must_use]
    pub fn follow(headers: &HeaderMap, fresh: Fresh) -> Self {
        let mut values = headers.get_all("traceparent").iter();
        let only = values.next().filter(|_| values.next().is_none());
        // Zero is not a number to the specification.
        let span_id = fresh.span_id.max(1);
        match only.and_then(|value| parse(value.as_bytes())) {
            Some((trace_id, parent, sampled)) => Self { trace_id, span_id, parent: Some(parent), sampled },
            None => Self { trace_id: fresh.trace_id.max(1), span_id, parent: None, sampled: fresh.sampled },
        }
    }
}

impl Trace {
    /// The outgoing `traceparent`, without going through a formatter: every forwarded request has one.
    #[must_use]
    pub fn field(&self) -> [u8; 55] {
        let mut field = *b"00-________________________________-________________-00";
        field[3..35].copy_from_slice(&hexadecimal::<32>(self.trace_id));
        field[36..52].copy_from_slice(&hexadecimal::<16>(u128::from(self.span_id)));
        field[54] = b'0' + u8::from(self.sampled);
        field
    }
}

/// The outgoing `traceparent`.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.field()).expect("hexadecimal digits are ASCII"))
    }
}

/// `version-trace-parent-flags`; a later version may go on after another dash (W3C Trace Context §3.2.2).
fn parse(value: &[u8]) -> Option<(u128, u64, bool)> {
    let mut pieces = str::from_utf8(value).ok()?.splitn(5, '-');
    let version = hex(pieces.next()?, 2)?;
    let trace_id = hex(pieces.next()?, 32).filter(|id| *id != 0)?;
    let parent = hex(pieces.next()?, 16).and_then(|id| u64::try_from(id).ok()).filter(|id| *id != 0)?;
    let flags = hex(pieces.next()?, 2)?;
    let tail = pieces.next();
    if version == 0xff || (version == 0 && tail.is_some()) {
        return None;
    }
    Some((trace_id, parent, flags & 1 == 1))
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() == digits && lower { u128::from_str_radix(text, 16).ok() } else { None }
}
