//! The way out: a reply passes phases 3 and 4 of the rules and then layer `output`, before its first byte leaves.
//!
//! A reply that streams is never held. Any other is held as far as phase 4 wants to see it, within the budget for bytes
//! in flight, and flows on from there.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Response};
use http_body::Body as _;
use tollgate_core::cost::Cost;
use tollgate_core::guard::Mode;
use tollgate_core::journal::Event;
use tollgate_core::ruling::{Denial, Ruling};
use tollgate_core::stage::Stage;
use tollgate_layers::intake::{Coding, Limits, decode};
use tollgate_layers::waf::REPLY_LIMIT;

use crate::body::Begun;
use crate::exchange::Exchange;
use crate::firewall::TEXT;
use crate::inspect::on_pool;
use crate::reply::Pending;
use crate::send::Reply;
use crate::snapshot::Policy;
use crate::upstream::Answer;
use crate::worker::Worker;

/// How much larger than sent a coded reply may be read.
const MAX_RATIO: u32 = 20;

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
            if wants_body(p, ex, response.headers()) {
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
                pending.slot.spent = Some(ex.seen.spent);
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
        pending.tab.refund();
        pending.slot.spent = Some(Cost(0));
        return Err(ex.log.stop(Stage::Upstream, stop));
    }
    if response.body().is_rpc() && response.body().is_end_stream() {
        // A call of gRPC that failed says so in place of its first message, under status 200.
        let none = HeaderMap::new();
        p.output.rpc_verdict(response.body().trailers().unwrap_or(&none)).map_err(|stop| {
            pending.tab.refund();
            pending.slot.spent = Some(Cost(0));
            ex.log.stop(Stage::Upstream, stop)
        })?;
    }
    ex.log.note(Stage::Upstream, Event::Passed);
    if wants_body(p, ex, response.headers()) {
        let who = ex.seen.who.clone().unwrap_or_default();
        let reader = w.reader(p, ex.facts.started);
        let begun = reader.begin(response.body_mut(), REPLY_LIMIT, &who, &pending.alarm).await;
        let Begun { bytes, hold, whole } = begun.map_err(|stop| ex.log.stop(Stage::Upstream, stop))?;
        if whole || !response.headers().contains_key(CONTENT_ENCODING) {
            ask_of_body(p, w, ex, bytes.clone(), response.headers()).await?;
        }
        pending.ahead = Some((bytes, hold));
    } else if p.waf.mode(&ex.log) != Mode::Off {
        let follows = |layer: &tollgate_layers::waf::Waf| layer.follows_reply(&ex.waf, response.headers());
        pending.window = p.waf.layer.as_ref().is_some_and(follows).then(Default::default);
    }
    Ok(())
}

fn ask_of_head<B>(p: &Policy, w: &Worker, ex: &mut Exchange, response: &Response<B>) -> Result<(), Denial> {
    let Exchange { log, waf, .. } = ex;
    p.waf.ask(log, |f, _| f.reply_head(waf, response.status(), response.headers(), w.index))
}

fn wants_body(p: &Policy, ex: &Exchange, headers: &HeaderMap) -> bool {
    let wants = |layer: &tollgate_layers::waf::Waf| layer.wants_reply(&ex.waf, headers);
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
    let limits = Limits { max_decoded: REPLY_LIMIT as u64, max_ratio: MAX_RATIO };
    decode(coding, &body, limits, &mut |_| true).ok().map(|decoded| decoded.body)
}
