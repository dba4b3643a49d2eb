//! What layer `waf` is shown of an exchange, and when: the head as it was received, the reply as it came, and the end of
//! every exchange, however it ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use http::Version;
use tollgate_core::guard::Mode;
use tollgate_core::journal::Notes;
use tollgate_core::ruling::Ruling;
use tollgate_core::stage::Stage;
use tollgate_layers::hygiene::Head;
use tollgate_layers::waf::{Asked, HeadView, Turn, Waf};

use crate::exchange::Exchange;
use crate::listen::head::RawHead;
use crate::record::Meters;

/// Text above this many bytes, numbers apart, takes the rules longer than a worker may stall.
pub const TEXT: usize = 2 * 1024;

/// Phase 1, over the head as it was received; over HTTP/2, which has no such form, as it was understood.
///
/// # Errors
/// As [`Waf::head`].
pub fn head(
    layer: &Waf,
    turn: &mut Turn,
    asked: &Asked<'_>,
    (raw, head): (Option<&RawHead>, Option<&Head>),
    notes: &Notes<'_>,
) -> Ruling<()> {
    if let Some(raw) = raw {
        let fields: Vec<_> = raw.fields().collect();
        let view = HeadView {
            line: raw.line(),
            method: raw.method(),
            target: raw.target(),
            protocol: raw.protocol(),
            headers: &fields,
        };
        return layer.head(turn, asked, &view, notes);
    }
    let Some(head) = head else { return Ok(()) };
    let target = head.uri.to_string();
    let protocol = protocol(head.version);
    let line = format!("{} {target} {protocol}", head.method);
    let mut fields: Vec<(&[u8], &[u8])> =
        head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect();
    if !head.headers.contains_key(http::header::HOST) {
        fields.insert(0, (b"host", head.host.as_bytes()));
    }
    let view = HeadView {
        line: line.as_bytes(),
        method: head.method.as_str().as_bytes(),
        target: target.as_bytes(),
        protocol: protocol.as_bytes(),
        headers: &fields,
    };
    layer.head(turn, asked, &view, notes)
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// Bytes of a body that are not the stuff of numbers: what a scan of it will cost goes with these.
#[must_use]
pub fn text_bytes(body: &[u8]) -> usize {
    let numeric =
        |byte: &u8| matches!(byte, b'0'..=b'9' | b',' | b'.' | b'-' | b'+' | b'e' | b'E' | b' ' | b'[' | b']' | b'\n');
    body.iter().filter(|byte| !numeric(byte)).count()
}

/// Phase 5, on the worker, after the answer: for every exchange, also where another layer refused it before phase 1.
pub fn finish(exchange: &mut Exchange, worker: usize, meters: &Meters) {
    let policy = std::sync::Arc::clone(exchange.policy());
    let Some(layer) = &policy.waf.layer else { return };
    let mode = policy.waf.mode(&exchange.log);
    let Exchange { facts, seen, waf, log, .. } = exchange;
    let asked = Asked {
        facts,
        from: seen.from.unwrap_or(facts.peer.ip),
        route: seen.route.as_ref().map(|route| route.index),
        thread: worker,
    };
    // An exchange may end while its task is torn down: a second panic there would take the process with it.
    let ended = catch_unwind(AssertUnwindSafe(|| layer.finish(waf, &asked, mode, seen.status)));
    if ended.is_err() {
        meters.panics.fetch_add(1, Ordering::Relaxed);
    }
    if mode == Mode::Observe
        && let Some(refusal) = waf.spared()
    {
        log.notes(Stage::Waf).would_refuse(refusal);
    }
}

#[cfg(test)]
mod tests {
    use super::text_bytes;

    #[test]
    fn numbers_are_no_text() {
        assert_eq!(text_bytes(b"[1.5, -2e-3,\n 4]"), 0);
        assert_eq!(text_bytes(b"{\"a\": [1, 2]}"), 6);
    }
}
