//! One request and its answer before the rules, phases 1 to 5, without a socket.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use seclang::{Facts, HeadView, Known, Processor, ReplyView, RuleSet, Scratch, Tally, Transaction, Verdict};

use crate::front::Request;
use crate::reflect::Reply;

/// What came of an exchange.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the client got.
    pub status: u16,
    /// The first verdict that was not to pass, and its phase.
    pub verdict: Option<(u8, Verdict)>,
    /// What the rules found.
    pub tally: Tally,
}

/// What is known of every exchange in tests.
#[must_use]
pub fn facts(detect_only: bool) -> Facts {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Facts {
        remote: (loopback, 40_000),
        server: (loopback, 80),
        unique_id: "a1b2c3d4".into(),
        unix_ms: 1_750_000_000_000,
        detect_only,
        pinned: Arc::from([]),
    }
}

/// Runs a request through the rules, and the answer of the server behind them.
#[must_use]
pub fn run(rules: &Arc<RuleSet>, facts: Facts, request: &Request, scratch: &mut Scratch) -> Outcome {
    run_known(rules, facts, request, &[], scratch)
}

/// The same for a body of which the caller knows something.
#[must_use]
pub fn run_known(
    rules: &Arc<RuleSet>,
    facts: Facts,
    request: &Request,
    known: &[Known],
    scratch: &mut Scratch,
) -> Outcome {
    let mut transaction = Transaction::new(Arc::clone(rules), facts);
    let (status, verdict) = phases(rules, &mut transaction, (request, known), scratch);
    Outcome { status, verdict, tally: transaction.finish(status, scratch) }
}

fn phases(
    rules: &RuleSet,
    transaction: &mut Transaction,
    (request, known): (&Request, &[Known]),
    scratch: &mut Scratch,
) -> (u16, Option<(u8, Verdict)>) {
    let headers: Vec<(&[u8], &[u8])> = request.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let head = HeadView {
        line: &request.line,
        method: &request.method,
        target: &request.target,
        protocol: &request.protocol,
        headers: &headers,
    };
    let verdict = transaction.head(&head, scratch);
    if let Some(status) = request.refused {
        return (status, None);
    }
    if let Some(ended) = ends(1, verdict) {
        return ended;
    }
    transaction.read_body(request.body.clone(), Processor::Auto, known);
    if let Some(ended) = ends(2, transaction.body(scratch)) {
        return ended;
    }
    let reply = Reply::to(request);
    let headers: Vec<(&[u8], &[u8])> =
        reply.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let view = ReplyView { status: reply.status, protocol: b"HTTP/1.1", headers: &headers };
    if let Some(ended) = ends(3, transaction.reply_head(&view, scratch)) {
        return ended;
    }
    if rules.wants_reply(reply.header("content-type").unwrap_or_default().as_bytes())
        && let Some(ended) = ends(4, transaction.reply_body(Bytes::from(reply.body), scratch))
    {
        return ended;
    }
    (reply.status, None)
}

/// What the client gets when a verdict ends the exchange.
fn ends(phase: u8, verdict: Verdict) -> Option<(u16, Option<(u8, Verdict)>)> {
    let status = match &verdict {
        Verdict::Allow(_) | Verdict::Pass => return None,
        Verdict::Deny { status, .. } => *status,
        Verdict::Drop { .. } => 0,
        Verdict::OutOfWork => 503,
        Verdict::Redirect { .. } => 302,
    };
    Some((status, Some((phase, verdict))))
}
