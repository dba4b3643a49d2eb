//! The second half of an exchange: a place in line, the model, and the shape of the reply.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use tollgate_core::backend::{Backend, Output};
use tollgate_core::call::{Call, Dialect, ModelId};
use tollgate_core::guard::Mode;
use tollgate_core::identity::ExchangeId;
use tollgate_core::journal::{Event, Fact};
use tollgate_core::ruling::{Denial, Fault, Origin};
use tollgate_core::stage::Stage;
use tollgate_core::time::Tick;
use tollgate_layers::hygiene::{Fresh, Head, Ours, Trace};
use tollgate_layers::protocol::{self, kserve_v1, oip, plain};
use tollgate_layers::routes::Verb;

use crate::body::Payload;
use crate::exchange::Exchange;
use crate::flow::Flow;
use crate::pipeline::Admitted;
use crate::release;
use crate::reply::Pending;
use crate::rpc;
use crate::snapshot::Policy;
use crate::tab::Told;
use crate::talk::Talk;
use crate::tick::within;
use crate::turn::{self, deadline};
use crate::upstream::{Answer, Caller, Order, Over, Remote, Sent, Slot, Target, Upload, Upstream, Upward};
use crate::worker::Worker;

/// An answer on its way out.
pub enum Reply {
    /// Messages both ways; the exchange joins it on the way out.
    Messages(Box<Talk>),
    /// Streamed from a model server; what is open travels with it, and the exchange joins it on the way out.
    Stream(Response<Answer>, Box<Pending>),
    /// All of it is here.
    Whole(Response<Bytes>),
}

/// Answers what needs no model: health and metadata.
pub fn answer_here(p: &Arc<Policy>, w: &Worker, ex: &mut Exchange, job: &Admitted) -> Option<Reply> {
    let answer = match job.verb {
        _ if job.call.dialect == Dialect::OipGrpc => rpc::answer_here(p, w, job)?,
        Verb::Health => json(StatusCode::OK, Bytes::from_static(b"{\"status\":\"ok\"}")),
        Verb::ServerLive => json(StatusCode::OK, Bytes::from_static(b"{\"live\":true}")),
        Verb::ServerReady => ready(w.state.is_ready()),
        Verb::ServerMetadata => json(StatusCode::OK, p.server_metadata.clone()),
        Verb::ModelReady => ready(p.upstream_of(job.call.model?).is_some_and(|upstream| match &upstream.target {
            Target::Local(backend) => backend.ready(),
            Target::Remote(_) => true,
        })),
        Verb::ModelList => json(StatusCode::OK, Bytes::from(model_list(p, job))),
        Verb::ModelMetadata => {
            let model = p.models.get(job.call.model?.index())?;
            let card = protocol::model_card(job.route.protocol, &model.name);
            json(StatusCode::OK, card.map_or_else(|| model.metadata.clone(), Bytes::from))
        }
        Verb::Infer | Verb::Proxy | Verb::Stream => return None,
    };
    let mut answer = answer;
    p.output.secure(answer.headers_mut(), ex.facts.peer.tls);
    ex.log.note(Stage::Output, Event::Passed);
    Some(Reply::Whole(answer))
}

/// The models of the route that the caller may use: a server's own list shows file names (llama.cpp) and strangers' models.
fn model_list(p: &Policy, job: &Admitted) -> String {
    let authz = p.authz.layer.as_ref();
    let may = |id: &&ModelId| authz.is_none_or(|authz| authz.use_model(&job.who, &job.route, **id).is_ok());
    let names = job.route.models.iter().filter(may).filter_map(|id| Some(&*p.models.get(id.index())?.name));
    protocol::model_list(job.route.protocol, names)
}

fn ready(ready: bool) -> Response<Bytes> {
    let (status, body) = if ready {
        (StatusCode::OK, Bytes::from_static(b"{\"ready\":true}"))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"{\"ready\":false}"))
    };
    json(status, body)
}

/// A whole JSON answer.
pub fn json(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A request with a place before its upstream.
pub struct Placed {
    job: Box<Admitted>,
    slot: Slot,
    /// When it got its place.
    at: Tick,
}

/// Waits for a place before the upstream of `job`.
///
/// # Errors
/// `overloaded`, or a fault if the policy names no upstream.
pub async fn enter(p: &Arc<Policy>, w: &Arc<Worker>, ex: &mut Exchange, job: Box<Admitted>) -> Result<Placed, Denial> {
    let Some(upstream) = upstream(p, w, ex, &job) else {
        return Err(ex.log.stop(Stage::Queue, Fault::new(Origin::Own, "the route has no upstream").into()));
    };
    if p.contract.mode(&ex.log) != Mode::Off {
        ex.seen.awaited = p.contract.layer.as_ref().and_then(|contracts| contracts.awaits(&job.call));
    }
    let bytes = match &job.body {
        Payload::Held(bytes, _) => bytes.len() as u64,
        Payload::Streamed(..) => 0,
    };
    let ask = turn::ask(p, ex, &job.estimate, bytes, job.at);
    let mut at = job.at;
    match upstream.queue.enter(ask, &w.ticker).await {
        Ok(slot) => {
            if let Some(entered) = slot.waited {
                at = w.tick(&ex.facts, &mut ex.log);
                let waited = u32::try_from(at.since(entered).as_micros()).unwrap_or(u32::MAX);
                ex.log.note(Stage::Queue, Event::Noted(Fact::QueueDepth, slot.depth));
                ex.log.note(Stage::Queue, Event::Noted(Fact::QueueWaitUs, waited));
            }
            ex.seen.curious.position = slot.position;
            ex.log.note(Stage::Queue, Event::Passed);
            Ok(Placed { job, slot, at })
        }
        Err(away) => Err(turn::away(w, ex, away)),
    }
}

fn upstream<'a>(p: &'a Policy, w: &Worker, ex: &mut Exchange, job: &Admitted) -> Option<&'a Upstream> {
    match job.call.model {
        Some(model) => release::upstream_of(p, w, ex, (model, &job.head.headers)),
        None => p.upstreams.get(job.route.upstream?),
    }
}

/// Lets the model work.
///
/// # Errors
/// What the client may know of a fault.
pub async fn run(p: &Arc<Policy>, w: &Arc<Worker>, ex: &mut Exchange, placed: Placed) -> Result<Reply, Denial> {
    let target = upstream(p, w, ex, &placed.job).map(|upstream| upstream.target.clone());
    release::shadow::mirror(p, w, ex, &placed.job);
    match target {
        Some(Target::Local(backend)) => local(p, w, ex, placed, &*backend).await,
        Some(Target::Remote(remote)) => forward(w, ex, placed, remote).await,
        None => Err(ex.log.stop(Stage::Upstream, Fault::new(Origin::Own, "the route has no upstream").into())),
    }
}

async fn local(
    p: &Arc<Policy>,
    w: &Arc<Worker>,
    ex: &mut Exchange,
    placed: Placed,
    backend: &dyn Backend,
) -> Result<Reply, Denial> {
    let Placed { mut job, mut slot, at } = placed;
    job.tab.begin(at);
    ex.seen.working = Some(at);
    let deadline = w.ticker.alarm(deadline(ex));
    let inferred = within(deadline, backend.infer(&job.call)).await;
    let inferred = inferred.unwrap_or_else(|_late| Err(Fault::new(Origin::UpstreamLate, "the model took too long")));
    ex.seen.working = None;
    let now = w.tick(&ex.facts, &mut ex.log);
    let output = match inferred {
        Ok(output) => output,
        Err(fault) => {
            job.tab.refund();
            return Err(ex.log.stop(Stage::Upstream, fault.into()));
        }
    };
    job.tab.answered(Told { compute_us: Some(output.compute_us), ..Told::default() });
    ex.seen.spent = job.tab.settle(now);
    slot.spent = Some(ex.seen.spent);
    drop(slot);
    ex.log.note(Stage::Upstream, Event::Passed);
    encode(p, &job.call, &output).map(Reply::Whole).map_err(|fault| ex.log.stop(Stage::Output, fault.into()))
}

/// The answer of an embedded model, in the words of the request.
fn encode(p: &Policy, call: &Call, output: &Output) -> Result<Response<Bytes>, Fault> {
    let model = call.model.and_then(|model| p.models.get(model.index()));
    let model = model.ok_or_else(|| Fault::new(Origin::Own, "the call names no model"))?;
    let body = match call.dialect {
        Dialect::OipGrpc => return rpc::encode(&model.name, call, output),
        Dialect::KserveV1 => kserve_v1::reply(kserve_v1::PREDICTIONS, output),
        Dialect::TfColumns => kserve_v1::reply(kserve_v1::OUTPUTS, output),
        Dialect::Plain => plain::reply(&model.name, &model.signature, call, output),
        Dialect::Anthropic | Dialect::Json | Dialect::Ollama | Dialect::OpenAi | Dialect::Upload => {
            Err(Fault::new(Origin::Own, "an embedded model has no such dialect"))
        }
        Dialect::Oip | Dialect::Other => oip::reply(&model.name, call, output),
    }?;
    Ok(json(StatusCode::OK, Bytes::from(body)))
}

async fn forward(w: &Arc<Worker>, ex: &mut Exchange, placed: Placed, remote: Arc<Remote>) -> Result<Reply, Denial> {
    let Placed { job, slot, at } = placed;
    let Admitted { head, verb, body, call, mut tab, .. } = *job;
    let body = body.edited(&call.edits);
    let (upload, hold) = match body {
        Payload::Held(bytes, hold) => (Upload::Held(Some(bytes)), Some(hold)),
        Payload::Streamed(body, most) => (Upload::Streamed(body, most), None),
    };
    let repeatable = verb == Verb::Infer || head.method.is_idempotent();
    let over = match call.dialect {
        Dialect::OipGrpc => Over::Rpc,
        _ if ex.seen.rpc && !remote.rpc.is_empty() => Over::H2,
        _ => Over::H1,
    };
    let spoken = verb == Verb::Infer && call.dialect != Dialect::Upload;
    let order = Order { head: upward(ex, head, spoken), upload, over, repeatable };
    tab.begin(at);
    ex.seen.working = Some(at);
    let by = Caller { worker: w.index, ticker: &w.ticker, tasks: &w.tasks, now: at, until: deadline(ex) };
    let sent = remote.send(order, by).await;
    ex.seen.working = None;
    // Where a later rule reads something of the body, the rules keep it until then, and its room in the budget with it.
    ex.held = hold.filter(|_| ex.waf.holds_body());
    let now = w.tick(&ex.facts, &mut ex.log);
    let sent = match sent {
        Ok(sent) => sent,
        Err(fault) => {
            if fault.origin == Origin::Upstream {
                tab.refund();
            }
            ex.seen.spent = tab.settle(now);
            return Err(ex.log.stop(Stage::Upstream, fault.into()));
        }
    };
    note(ex, &sent);
    tab.received(&sent.response, sent.retried);
    let Sent { mut response, alarm, .. } = sent;
    let flow = Flow::of(&call, response.headers());
    if flow.as_ref().is_some_and(Flow::is_framed) {
        // A frame may be taken out.
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    alarm.reset(deadline(ex));
    let (worker, ticker) = (w.index, Arc::clone(&w.ticker));
    let pending = Pending { tab, slot, remote, worker, ticker, alarm, ahead: None, window: None, flow };
    Ok(Reply::Stream(response, Box::new(pending)))
}

fn note(ex: &mut Exchange, sent: &Sent) {
    ex.seen.endpoint = Some(sent.endpoint);
    if sent.retried {
        ex.log.note(Stage::Upstream, Event::Noted(Fact::Retried, 1));
    }
    ex.log.note(Stage::Upstream, Event::Noted(Fact::UpstreamStatus, u32::from(sent.response.status().as_u16())));
}

/// The head that goes up, with our own fields beside the client's.
///
/// `spoken`: it was read as JSON. A file keeps the type that it was judged by.
pub fn upward(ex: &Exchange, head: Head, spoken: bool) -> Upward {
    let Head { method, uri, headers, .. } = head;
    let client = ex.seen.from.unwrap_or(ex.facts.peer.ip);
    // It was read as JSON, or as JSON and tensors, whatever the client called it; a server must not be left to guess (KServe
    // would).
    let binary = headers.contains_key(oip::binary::HEADER);
    let content_type = match (binary, ex.seen.rpc) {
        (_, true) => "application/grpc",
        (true, false) => "application/octet-stream",
        (false, false) => "application/json",
    };
    let content_type = spoken.then_some(content_type);
    let ours = Ours { id: ex.facts.id, trace: trace(ex, &headers), client: Some(client), content_type };
    Upward { method, uri, headers, ours }
}

/// The caller's trace, or one whose number is that of the exchange.
fn trace(ex: &Exchange, headers: &HeaderMap) -> Trace {
    let span_id = u64::try_from(ex.facts.id.0 >> 64).unwrap_or(1);
    Trace::follow(headers, Fresh { trace_id: ex.facts.id.0, span_id, sampled: false })
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The field that every answer carries.
pub fn stamp(headers: &mut HeaderMap, id: ExchangeId) {
    if let Ok(mut id) = HeaderValue::from_bytes(&id.digits()) {
        // Each is seen once: HTTP/2 must not fill its table with them, nor look for one there (RFC 7541, 6.2.3).
        id.set_sensitive(true);
        headers.insert(REQUEST_ID, id);
    }
}
