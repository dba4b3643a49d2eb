//! The way out: a reply passes phase 3 of the rules, the contract of its model, phase 4, and then layer `output`, before
//! its first byte leaves.
//!
//! A reply that streams is never held unless its route says so. Any other is held whole for a contract that speaks of
//! replies, else as far as phase 4 wants to see it, within the budget for bytes in flight, and flows on from there.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as _;
use tollgate_core::cost::Cost;
use tollgate_core::guard::Mode;
use tollgate_core::journal::{Event, Fact, Journal};
use tollgate_core::ruling::{Code, Denial, Fault, Origin, Ruling};
use tollgate_core::stage::Stage;
use tollgate_layers::contract::{Awaited, Held, broken};
use tollgate_layers::intake::{Coding, Limits, decode};
use tollgate_layers::protocol::oip::binary;
use tollgate_layers::routes::{Protocol, ReplyMode};
use tollgate_layers::waf::REPLY_LIMIT;

use crate::body::{Begun, REPLY_RATIO, Share};
use crate::exchange::Exchange;
use crate::firewall::TEXT;
use crate::inspect::{INLINE, on_pool};
use crate::reply::Pending;
use crate::send::Reply;
use crate::snapshot::Policy;
use crate::tick::Alarm;
use crate::upstream::Answer;
use crate::worker::Worker;

/// Lets a reply leave.
///
/// # Errors
/// What the client may know of a refusal or fault; what the call cost is settled.
pub async fn leave(p: &Arc<Policy>, w: &Worker, ex: &mut Exchange, reply: Reply) -> Result<Reply, Denial> {
    match reply {
        // Its head says nothing, and what it says is not there yet.
        Reply::Messages(talk) => Ok(Reply::Messages(talk)),
        Reply::Whole(mut response) => {
            ask_of_head(p, w, ex, &response)?;
            if let Some(awaited) = ex.seen.awaited.take() {
                let body = Some(response.body().clone());
                ask_contract(p, w, ex, ToJudge::new(awaited, response.headers(), body)).await?;
            }
            let passes = ex.seen.route.as_ref().is_some_and(|route| route.reply == Some(ReplyMode::Pass));
            if !passes && wants_body(p, ex, response.headers(), true) {
                ask_of_body(p, w, ex, response.body().clone(), response.headers()).await?;
            }
            p.output.clean_head(response.headers_mut(), ex.facts.peer.tls);
            ex.log.note(Stage::Output, Event::Passed);
            Ok(Reply::Whole(response))
        }
        Reply::Stream(mut response, mut pending) => match guard(p, w, ex, &mut response, &mut pending).await {
            Ok(()) => {
                p.output.clean_head(response.headers_mut(), ex.facts.peer.tls);
                ex.log.note(Stage::Output, Event::Passed);
                Ok(Reply::Stream(response, pending))
            }
            Err(denial) => {
                let now = w.tick(&ex.facts, &mut ex.log);
                ex.seen.spent = pending.tab.settle(now);
                // What is given back of the bill was worked on all the same: its turn is not given back.
                pending.slot.spent = pending.slot.spent.or(Some(ex.seen.spent).filter(|spent| spent.0 > 0));
                Err(denial)
            }
        },
    }
}

async fn guard(
    p: &Arc<Policy>,
    w: &Worker,
    ex: &mut Exchange,
    response: &mut Response<Answer>,
    pending: &mut Pending,
) -> Result<(), Denial> {
    ask_of_head(p, w, ex, response)?;
    if let Err(stop) = p.output.verdict(response.status(), response.headers()) {
        // The model server's own words stay inside; a failed call costs nothing.
        pending.slot.spent = Some(Cost(0));
        pending.tab.refund();
        return Err(ex.log.stop(Stage::Upstream, stop));
    }
    if response.body().is_rpc() && response.body().is_end_stream() {
        // A call of gRPC that failed says so in place of its first message, under status 200.
        let none = HeaderMap::new();
        p.output.rpc_verdict(response.body().trailers().unwrap_or(&none)).map_err(|stop| {
            pending.slot.spent = Some(Cost(0));
            pending.tab.refund();
            ex.log.stop(Stage::Upstream, stop)
        })?;
    }
    ex.log.note(Stage::Upstream, Event::Passed);
    let judged = hold_to_contract(p, w, ex, response, &pending.alarm).await;
    let held = judged.map_err(|kept| match kept {
        NotPassed::Broken(denial) => {
            // The caller pays for no reply that the gateway keeps.
            pending.tab.refund();
            denial
        }
        NotPassed::Costly(denial) => denial,
    })?;
    let mode = ex.seen.route.as_ref().and_then(|route| route.reply);
    let may_hold = mode.is_none_or(|mode| mode == ReplyMode::Hold);
    if may_hold && wants_body(p, ex, response.headers(), mode.is_some()) {
        let begun = match held {
            Some(held) => held,
            None => begin(p, w, ex, (response, &pending.alarm), Share::Beginning(REPLY_LIMIT)).await?,
        };
        let Begun { bytes, hold, whole } = begun;
        if whole || !response.headers().contains_key(CONTENT_ENCODING) {
            let shown = bytes.slice(..bytes.len().min(REPLY_LIMIT));
            ask_of_body(p, w, ex, shown, response.headers()).await?;
        }
        pending.ahead = Some((bytes, hold));
    } else if let Some(held) = held {
        pending.ahead = Some((held.bytes, held.hold));
    } else if p.waf.mode(&ex.log) != Mode::Off {
        let windows = mode == Some(ReplyMode::Window);
        let follows = |layer: &tollgate_layers::waf::Waf| {
            mode != Some(ReplyMode::Pass) && layer.follows_reply(&ex.waf, response.headers(), windows)
        };
        pending.window = p.waf.layer.as_ref().is_some_and(follows).then(Default::default);
    }
    Ok(())
}

/// Why a reply that was held does not leave.
enum NotPassed {
    /// By the model server's doing.
    Broken(Denial),
    /// It took too long, or is too large: callers can bring that about, so it costs what it took.
    Costly(Denial),
}

impl From<Denial> for NotPassed {
    fn from(denial: Denial) -> Self {
        if denial.code == Code::UpstreamLate { Self::Costly(denial) } else { Self::Broken(denial) }
    }
}

/// Reads a reply, or its beginning.
async fn begin(
    p: &Arc<Policy>,
    w: &Worker,
    ex: &mut Exchange,
    (response, alarm): (&mut Response<Answer>, &Alarm),
    share: Share,
) -> Result<Begun, Denial> {
    let who = ex.seen.who.clone().unwrap_or_default();
    let reader = w.reader(p, ex.facts.started);
    let begun = reader.begin(response.body_mut(), share, &who, alarm).await;
    begun.map_err(|stop| ex.log.stop(Stage::Upstream, stop))
}

/// Holds a reply whose model's contract speaks of replies, and judges it.
async fn hold_to_contract(
    p: &Arc<Policy>,
    w: &Worker,
    ex: &mut Exchange,
    response: &mut Response<Answer>,
    alarm: &Alarm,
) -> Result<Option<Begun>, NotPassed> {
    // An error that is relayed has another form than a reply.
    let is_reply = response.status().is_success();
    let Some(awaited) = ex.seen.awaited.take().filter(|_| is_reply) else {
        ask_of_framing(p, ex, response)?;
        return hold(p, w, ex, response, alarm).await;
    };
    let most = awaited.max_bytes();
    let share = Share::Whole(usize::try_from(most).unwrap_or(usize::MAX));
    let begun = begin(p, w, ex, (response, alarm), share).await?;
    if response.body().is_rpc() && begun.whole {
        // A call that failed behind its message says so there, and breaks no contract.
        let none = HeaderMap::new();
        let end = p.output.rpc_verdict(response.body().trailers().unwrap_or(&none));
        end.map_err(|stop| ex.log.stop(Stage::Upstream, stop))?;
    }
    let who = ex.seen.who.clone().unwrap_or_default();
    let plain = match Coding::of(response.headers()) {
        Ok(coding) if begun.whole => w.reader(p, ex.facts.started).plain(&begun.bytes, coding, most, &who).await,
        _ => Ok(None),
    };
    let (body, _hold) = plain.map_err(|stop| ex.log.stop(Stage::Contract, stop))?.unzip();
    let judged = ask_contract(p, w, ex, ToJudge::new(awaited, response.headers(), body)).await;
    judged.map_err(if begun.whole { NotPassed::Broken } else { NotPassed::Costly })?;
    Ok(Some(begun))
}

/// Holds a reply whole where its route says so.
async fn hold(
    p: &Arc<Policy>,
    w: &Worker,
    ex: &mut Exchange,
    response: &mut Response<Answer>,
    alarm: &Alarm,
) -> Result<Option<Begun>, NotPassed> {
    let most = ex.seen.route.as_ref().filter(|route| route.reply == Some(ReplyMode::Hold));
    let Some(most) = most.map(|route| route.max_reply_bytes) else { return Ok(None) };
    let share = Share::Whole(usize::try_from(most).unwrap_or(usize::MAX));
    let begun = begin(p, w, ex, (response, alarm), share).await?;
    if begun.whole && begun.bytes.len() as u64 <= most {
        return Ok(Some(begun));
    }
    let fault = Fault::new(Origin::Upstream, format_args!("a reply of more than {most} bytes"));
    Err(NotPassed::Costly(ex.log.stop(Stage::Upstream, fault.into())))
}

/// A reply before its contract, owned, to cross to another thread.
struct ToJudge {
    awaited: Box<Awaited>,
    content_type: Option<String>,
    json_length: Vec<HeaderValue>,
    body: Option<Bytes>,
}

impl ToJudge {
    fn new(awaited: Box<Awaited>, headers: &HeaderMap, body: Option<Bytes>) -> Self {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let content_type = types.next().filter(|_| types.next().is_none()).and_then(|kind| kind.to_str().ok());
        let json_length = headers.get_all(binary::HEADER).iter().cloned().collect();
        Self { awaited, content_type: content_type.map(str::to_owned), json_length, body }
    }

    fn ask(&self, p: &Policy, log: &mut Journal) -> Result<(), Denial> {
        let json_length: Vec<&[u8]> = self.json_length.iter().map(HeaderValue::as_bytes).collect();
        let (content_type, body) = (self.content_type.as_deref(), self.body.as_ref());
        let held = Held { content_type, json_length: &json_length, body };
        p.contract.ask(log, |c, notes| c.judge_reply(&self.awaited, held, notes))
    }
}

async fn ask_contract(p: &Arc<Policy>, w: &Worker, ex: &mut Exchange, reply: ToJudge) -> Result<(), Denial> {
    let Exchange { log, waf, .. } = ex;
    if reply.body.as_ref().is_none_or(|body| body.len() <= INLINE) {
        return reply.ask(p, log);
    }
    let policy = Arc::clone(p);
    on_pool(w, Stage::Contract, (log, waf), move |log, _| reply.ask(&policy, log)).await
}

/// A reply with binary tensors says once, in digits, where they begin: otherwise clients cut it differently.
fn ask_of_framing(p: &Policy, ex: &mut Exchange, response: &Response<Answer>) -> Result<(), Denial> {
    let headers = response.headers();
    let spoken = ex.seen.route.as_ref().is_some_and(|route| route.protocol == Protocol::Oip);
    let mut lengths = headers.get_all(binary::HEADER).iter();
    let Some(length) = lengths.next().filter(|_| spoken) else { return Ok(()) };
    let coded = headers.contains_key(CONTENT_ENCODING);
    let whole = response.body().size_hint().exact().filter(|_| !coded).unwrap_or(u64::MAX);
    let length = binary::json_length(length.as_bytes()).filter(|length| *length as u64 <= whole);
    if length.is_some() && lengths.next().is_none() {
        return Ok(());
    }
    p.contract.ask(&mut ex.log, |_, notes| {
        notes.note(Fact::ReplyBroken, 1);
        Err(broken("a length of its JSON part that is none").into())
    })
}

fn ask_of_head<B>(p: &Policy, w: &Worker, ex: &mut Exchange, response: &Response<B>) -> Result<(), Denial> {
    let Exchange { log, waf, .. } = ex;
    p.waf.ask(log, |f, _| f.reply_head(waf, response.status(), response.headers(), w.index))
}

fn wants_body(p: &Policy, ex: &Exchange, headers: &HeaderMap, held: bool) -> bool {
    let wants = |layer: &tollgate_layers::waf::Waf| layer.wants_reply(&ex.waf, headers, held);
    p.waf.mode(&ex.log) != Mode::Off && p.waf.layer.as_ref().is_some_and(wants)
}

/// Phase 4, on the compute pool where it may take long.
async fn ask_of_body(
    p: &Arc<Policy>,
    w: &Worker,
    ex: &mut Exchange,
    body: Bytes,
    headers: &HeaderMap,
) -> Result<(), Denial> {
    let coding = Coding::of(headers).unwrap_or_default();
    let Exchange { log, waf, .. } = ex;
    if body.len() <= TEXT && coding == Coding::Identity {
        return p.waf.ask(log, |f, _| f.reply_body(waf, body, w.index));
    }
    let (policy, thread) = (Arc::clone(p), w.state.workers);
    on_pool(w, Stage::Waf, (log, waf), move |log, waf| {
        policy.waf.ask(log, |f, _| match decoded(coding, body) {
            Some(body) => f.reply_body(waf, body, thread),
            None => Ruling::Ok(()),
        })
    })
    .await
}

/// The plain text of a reply; `None` where it is no such coding, or a bomb: then the head is all that was judged.
fn decoded(coding: Coding, body: Bytes) -> Option<Bytes> {
    if coding == Coding::Identity {
        return Some(body);
    }
    let limits = Limits { max_decoded: REPLY_LIMIT as u64, max_ratio: REPLY_RATIO };
    decode(coding, &body, limits, &mut |_| true).ok().map(|decoded| decoded.body)
}
