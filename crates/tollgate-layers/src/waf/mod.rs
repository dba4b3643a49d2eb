//! Rules written for the web, run over every request and every reply: SecLang, the OWASP Core Rule Set, our own pack.
//!
//! The engine is the crate `seclang`. This layer says what it is shown of an exchange and in which order, and turns its
//! verdicts into rulings. It reads no file by itself and writes no log: both come through the gateway.

mod config;
mod desk;
mod evidence;
mod files;
mod known;
mod load;
mod pack;
mod scratch;
#[cfg(test)]
mod tests;
mod turn;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use seclang::{Processor, ReplyView, RuleSet, Scope, Scratch, Verdict};
use tollgate_core::call::{Call, Dialect};
use tollgate_core::guard::Mode;
use tollgate_core::identity::Facts;
use tollgate_core::journal::Notes;
use tollgate_core::ruling::{Code, Fault, Origin, Refusal, Ruling};

pub use config::{RouteWaf, WafConfig, WafLogConfig};
pub use load::Given;
use scratch::Scratches;
pub use seclang::ir::RuleInfo;
pub use seclang::{HeadView, Matched, Problem, Severity, Source, Tally};
pub use turn::Turn;

/// The compiled layer.
#[derive(Debug)]
pub struct Waf {
    /// One for each route, and a last one for exchanges that never found theirs; `None` where the layer is off.
    plans: Vec<Option<Plan>>,
    scratches: Scratches,
}

/// What one route runs.
#[derive(Clone, Debug)]
pub struct Plan {
    rules: Arc<RuleSet>,
    /// TX variables that no rule may change: paranoia and thresholds.
    pinned: Arc<[(Box<str>, Box<str>)]>,
    stream_reply: bool,
    /// Some rule looks at the bodies of replies.
    looks_at_replies: bool,
    /// Some rule runs in phase 5.
    concludes: bool,
}

/// Who is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The exchange.
    pub facts: &'a Facts,
    /// The client's address, behind trusted proxies.
    pub from: IpAddr,
    /// Place of the route, once it is known.
    pub route: Option<usize>,
    /// A number of the asking thread: threads of different numbers do not wait for each other.
    pub thread: usize,
}

/// The body of a request, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Its bytes; `None` where the route streams them past us.
    pub bytes: Option<&'a Bytes>,
    /// What the parser made of it.
    pub call: &'a Call,
}

/// The most bytes of a reply that phase 4 looks at: more than any page of an error, less than a stall.
pub const REPLY_LIMIT: usize = 512 * 1024;

/// Types of replies that come piece by piece: they are never held back.
const STREAMS: [&str; 7] = [
    "text/event-stream",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/stream+json",
    "application/grpc",
    "multipart/x-mixed-replace",
];

impl Waf {
    /// Phase 1: the head.
    ///
    /// # Errors
    /// `waf_blocked`; a fault of ours where the rules' budget is spent.
    pub fn head(&self, turn: &mut Turn, asked: &Asked<'_>, view: &HeadView<'_>, notes: &Notes<'_>) -> Ruling<()> {
        let Some(running) = turn.begin(self, asked, notes.mode() == Mode::Observe) else { return Ok(()) };
        let verdict = self.scratches.with(asked.thread, |scratch| running.transaction.head(view, scratch));
        turn.rule(1, &verdict)
    }

    /// Phase 2: the body, with what the parser already proved of it.
    ///
    /// # Errors
    /// As [`Waf::head`].
    pub fn body(&self, turn: &mut Turn, content: Content<'_>, thread: usize) -> Ruling<()> {
        self.ask(turn, 2, thread, |transaction, scratch| {
            if content.call.dialect == Dialect::OipGrpc {
                let (text, known) = known::spoken(content.call);
                if !text.is_empty() {
                    transaction.read_body(text, Processor::Json, &known);
                }
            } else if let Some(bytes) = content.bytes.filter(|bytes| !bytes.is_empty()) {
                let (processor, known) = match content.call.dialect {
                    Dialect::Other => (Processor::Auto, Vec::new()),
                    // A form is read by the rules' own reader; the bytes of an image are no text.
                    Dialect::Upload if !content.call.parts.is_empty() => (Processor::Auto, Vec::new()),
                    Dialect::Upload => (Processor::None, Vec::new()),
                    _ => (Processor::Json, known::of(content.call, bytes)),
                };
                // Tensors behind the JSON are numbers by contract, and no text.
                let text = bytes.slice(..known::text_end(content.call, bytes.len()));
                transaction.read_body(text, processor, &known);
            }
            transaction.body(scratch)
        })
    }

    /// Phase 3: the head of the reply, as the model server sent it.
    ///
    /// # Errors
    /// As [`Waf::head`].
    pub fn reply_head(&self, turn: &mut Turn, status: StatusCode, headers: &HeaderMap, thread: usize) -> Ruling<()> {
        let fields: Vec<(&[u8], &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect();
        let view = ReplyView { status: status.as_u16(), protocol: b"HTTP/1.1", headers: &fields };
        self.ask(turn, 3, thread, |transaction, scratch| transaction.reply_head(&view, scratch))
    }

    /// Whether phase 4 is to be shown the body of a reply with these fields, which must then be held back. What streams is
    /// shown only where it is `held` anyway and the rules list its type (`SecResponseBodyMimeType`).
    #[must_use]
    pub fn wants_reply(&self, turn: &Turn, headers: &HeaderMap, held: bool) -> bool {
        let kind = media_type(headers);
        let readable = held || !is_stream(kind);
        let asks = |plan: &Plan| plan.looks_at_replies && readable && plan.rules.wants_reply(kind);
        turn.is_open(4) && turn.plan().and_then(|plan| self.plan(plan)).is_some_and(asks)
    }

    /// Whether a reply is scanned as it passes: one that streams where the configuration says so, and any that is read
    /// where its route lets them pass in `windows`.
    #[must_use]
    pub fn follows_reply(&self, turn: &Turn, headers: &HeaderMap, windows: bool) -> bool {
        let kind = media_type(headers);
        let streams = |plan: &Plan| is_stream(kind) && (windows || plan.stream_reply);
        let asks = |plan: &Plan| plan.looks_at_replies && (streams(plan) || (windows && plan.rules.wants_reply(kind)));
        turn.is_open(4) && turn.plan().and_then(|plan| self.plan(plan)).is_some_and(asks)
    }

    /// Phase 4: the body of a reply, or its first [`REPLY_LIMIT`] bytes.
    ///
    /// # Errors
    /// As [`Waf::head`].
    pub fn reply_body(&self, turn: &mut Turn, body: Bytes, thread: usize) -> Ruling<()> {
        self.ask(turn, 4, thread, |transaction, scratch| transaction.reply_body(body, scratch))
    }

    /// The pattern rules of phase 4 on one piece of a reply that streams.
    ///
    /// # Errors
    /// As [`Waf::head`].
    pub fn reply_window(&self, turn: &mut Turn, window: &[u8], thread: usize) -> Ruling<()> {
        self.ask(turn, 4, thread, |transaction, scratch| transaction.reply_window(window, scratch))
    }

    /// Phase 5: whatever happened, also where another layer refused before the first phase. The turn keeps what was
    /// found.
    pub fn finish(&self, turn: &mut Turn, asked: &Asked<'_>, mode: Mode, status: u16) {
        if mode == Mode::Off || turn.tally().is_some() {
            return;
        }
        // Refused before phase 1, and no rule has a last word: a flood must not pay for a transaction.
        let silent = |plan: &Plan| !plan.concludes;
        if !turn.has_begun() && self.plan(asked.route.unwrap_or(usize::MAX)).is_some_and(silent) {
            return turn.close(Tally::default());
        }
        let Some(running) = turn.begin(self, asked, mode == Mode::Observe) else { return };
        let score = evidence::score(&running.transaction, 2);
        let mut tally = self.scratches.with(asked.thread, |scratch| running.transaction.finish(status, scratch));
        tally.inbound = tally.inbound.max(score);
        turn.close(tally);
    }

    /// `SecRequestBodyLimit` of the rules of a route: it lowers the route's own cap.
    #[must_use]
    pub fn body_limit(&self, route: usize) -> Option<u64> {
        self.plan(route)?.rules.request_body_limit()
    }

    fn ask(
        &self,
        turn: &mut Turn,
        phase: u8,
        thread: usize,
        run: impl FnOnce(&mut seclang::Transaction, &mut Scratch) -> Verdict,
    ) -> Ruling<()> {
        if !turn.is_open(phase) {
            return Ok(());
        }
        let Some(running) = turn.running() else { return Ok(()) };
        let verdict = self.scratches.with(thread, |scratch| run(&mut running.transaction, scratch));
        turn.rule(phase, &verdict)
    }

    /// The plan of a route; beyond the last route, that of exchanges without one.
    fn plan(&self, route: usize) -> Option<&Plan> {
        self.plans.get(route).or_else(|| self.plans.last())?.as_ref()
    }
}

impl Turn {
    /// Turns a verdict into a ruling. Whatever a rule wanted, a refusal is a 403 and says nothing of the rule.
    fn rule(&mut self, phase: u8, verdict: &Verdict) -> Ruling<()> {
        match *verdict {
            Verdict::Pass => Ok(()),
            Verdict::Allow(scope) => {
                self.allow(if scope == Scope::All { 4 } else { 2 });
                Ok(())
            }
            Verdict::Deny { rule, .. } | Verdict::Drop { rule } | Verdict::Redirect { rule, .. } => {
                let why = self.evidence(rule, phase);
                Err(Refusal::new(Code::WafBlocked).because(why).into())
            }
            Verdict::OutOfWork => {
                self.spend(phase);
                let why = format_args!("the budget of the rules is spent in phase {phase}");
                Err(Fault::new(Origin::Own, why).into())
            }
        }
    }
}

/// The media type of a message, without parameters.
fn media_type(headers: &HeaderMap) -> &[u8] {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

fn is_stream(kind: &[u8]) -> bool {
    let begins =
        |stream: &&str| kind.get(..stream.len()).is_some_and(|start| start.eq_ignore_ascii_case(stream.as_bytes()));
    STREAMS.iter().any(begins)
}
