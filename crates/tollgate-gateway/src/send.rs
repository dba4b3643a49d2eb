//! The second half of an exchange: a place in line, the model, and the shape of the reply.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;
use tollgate_core::backend::{Backend, Output};
use tollgate_core::call::{Call, Dialect, ModelId};
use tollgate_core::cost::Cost;
use tollgate_core::guard::Mode;
use tollgate_core::identity::ExchangeId;
use tollgate_core::journal::{Event, Fact};
use tollgate_core::ruling::{Code, Denial, Fault, Origin, Stop};
use tollgate_core::stage::Stage;
use tollgate_core::time::Tick;
use tollgate_layers::authz::Asked;
use tollgate_layers::hygiene::{Fresh, Head, Ours, Trace};
use tollgate_layers::protocol::{self, kserve_v1, oip, plain};
use tollgate_layers::routes::{Found, Verb};

use crate::body::{Hold, Payload};
use crate::exchange::Exchange;
use crate::fallback;
use crate::flow::{self, Flow};
use crate::pipeline::Admitted;
use crate::quota;
use crate::reading::Reading;
use crate::release;
use crate::reply::{Lull, Pending};
use crate::rpc;
use crate::snapshot::Policy;
use crate::tab::Told;
use crate::talk::Talk;
use crate::tick::within;
use crate::turn::{self, deadline};
use crate::upstream::prefix::Beginnings;
use crate::upstream::queue::TurnedAway;
use crate::upstream::{
    Answer, Caller, Order, Over, Patience, Remote, Sent, Slot, Target, Upload, Upstream, Upward, Want,
};
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
        Verb::LimitsPolicy => p.published.answer(&job.head.headers),
        Verb::Quota => quota::own(p, w, ex, job),
        Verb::ResourceMetadata => json(StatusCode::OK, p.auth.layer.tokens().resource()?.metadata.clone()),
        Verb::ServerLive => json(StatusCode::OK, Bytes::from_static(b"{\"live\":true}")),
        Verb::ServerReady => ready(w.state.is_ready()),
        Verb::ServerMetadata => json(StatusCode::OK, p.server_metadata.clone()),
        Verb::ModelReady => ready(p.upstream_of(job.call.model?).is_some_and(|upstream| match &upstream.target {
            Target::Local(backend) => backend.ready(),
            Target::Remote(remote) => remote.is_able(job.call.model.and_then(|model| p.model_name(model)), job.at),
        })),
        Verb::ModelList => json(StatusCode::OK, Bytes::from(model_list(p, ex, job))),
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
fn model_list(p: &Policy, ex: &Exchange, job: &Admitted) -> String {
    let found = Found { route: &job.route, verb: job.verb, model: None };
    let asked = Asked::new(&job.who, &found, job.head.path(), ex.occasion());
    let may = |id: &&ModelId| p.authz.layer.as_ref().is_none_or(|authz| authz.may_use(&asked, **id, None).is_ok());
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
    /// The request.
    pub job: Box<Admitted>,
    /// Its place.
    pub slot: Slot,
    /// When it got that.
    pub at: Tick,
}

/// Whose deadline it is.
fn patience(ex: &Exchange) -> Patience {
    let route = ex.seen.route.as_ref().map_or(0, |route| route.timeout_ms);
    let asked = ex.seen.timeout.is_some_and(|asked| asked < Duration::from_millis(route));
    if asked { Patience::Caller } else { Patience::Route }
}

/// Waits for a place before the upstream of `job`.
///
/// # Errors
/// `overloaded`, or a fault if the policy names no upstream.
pub async fn enter(
    p: &Arc<Policy>,
    w: &Arc<Worker>,
    ex: &mut Exchange,
    mut job: Box<Admitted>,
) -> Result<Placed, Denial> {
    let Some(upstream) = upstream(p, w, ex, &job) else {
        return Err(ex.log.stop(Stage::Queue, Fault::new(Origin::Own, "the route has no upstream").into()));
    };
    job.tab.served_by(upstream);
    if p.contract.mode(&ex.log) != Mode::Off {
        ex.seen.awaited = p.contract.layer.as_ref().and_then(|contracts| contracts.awaits(&job.call));
    }
    match place(p, w, ex, (upstream, &job)).await {
        Ok((slot, at)) => {
            ex.log.note(Stage::Queue, Event::Passed);
            Ok(Placed { job, slot, at })
        }
        Err(away) => Err(turn::away(w, ex, away)),
    }
}

/// Waits for a place before that upstream, and says when it was given.
///
/// # Errors
/// There was none.
pub async fn place(
    p: &Policy,
    w: &Worker,
    ex: &mut Exchange,
    (upstream, job): (&Upstream, &Admitted),
) -> Result<(Slot, Tick), TurnedAway> {
    let bytes = match &job.body {
        Payload::Held(bytes, _) => bytes.len() as u64,
        Payload::Streamed(..) => 0,
    };
    let ask = turn::ask(p, ex, &job.estimate, bytes, job.at);
    let slot = upstream.queue.enter(ask, &w.ticker).await?;
    let mut at = job.at;
    if let Some(entered) = slot.waited {
        at = w.tick(&ex.facts, &mut ex.log);
        let waited = u32::try_from(at.since(entered).as_micros()).unwrap_or(u32::MAX);
        ex.log.note(Stage::Queue, Event::Noted(Fact::QueueDepth, slot.depth));
        ex.log.note(Stage::Queue, Event::Noted(Fact::QueueWaitUs, waited));
    }
    ex.seen.curious.position = slot.position;
    Ok((slot, at))
}

fn upstream<'a>(p: &'a Policy, w: &Worker, ex: &mut Exchange, job: &Admitted) -> Option<&'a Upstream> {
    match job.call.model {
        Some(model) => release::upstream_of(p, w, ex, (model, &job.head.headers)),
        None => p.upstreams.get(job.route.upstream?),
    }
}

/// Lets the model work; where it cannot, another one, if its calls have other ways.
///
/// # Errors
/// What the client may know of a fault.
pub async fn run(p: &Arc<Policy>, w: &Arc<Worker>, ex: &mut Exchange, placed: Placed) -> Result<Reply, Denial> {
    let upstream = upstream(p, w, ex, &placed.job);
    release::shadow::mirror(p, w, ex, &placed.job);
    let Some(upstream) = upstream else {
        return Err(ex.log.stop(Stage::Upstream, Fault::new(Origin::Own, "the route has no upstream").into()));
    };
    let ways = fallback::ways(p, &placed.job);
    match once(p, w, ex, placed, (upstream, !ways.is_empty())).await {
        Ok(reply) => Ok(reply),
        Err(failed) if ways.is_empty() => Err(failed.end(ex)),
        Err(failed) => Box::pin(fallback::run(p, w, ex, failed, ways)).await,
    }
}

/// A call that was not answered.
pub struct Failed {
    /// The call, as far as it is still here.
    pub job: Box<Admitted>,
    /// What stopped it first, and how.
    pub first: Box<Stopped>,
    /// All of it is still here.
    whole: bool,
}

/// What stopped a call.
pub struct Stopped {
    stage: Stage,
    stop: Stop,
    /// Nothing was done that is worth paying for.
    refund: bool,
    at: Tick,
}

impl Stopped {
    /// Writes it down, though another way answered.
    pub fn note(self, ex: &mut Exchange) {
        drop(ex.log.stop(self.stage, self.stop));
    }
}

impl Failed {
    /// Whether what failed was the model server, or there was none: a call that was refused is refused anywhere.
    #[must_use]
    pub fn may_go_elsewhere(&self) -> bool {
        let of_ours = matches!(&self.first.stop, Stop::Refuse(refusal) if refusal.code != Code::Overloaded);
        self.whole && !of_ours
    }

    /// It failed again, after what had stopped it first.
    #[must_use]
    pub fn after(self, first: Box<Stopped>) -> Self {
        Self { first, ..self }
    }

    /// Settles it, and says what the client may know.
    pub fn end(self, ex: &mut Exchange) -> Denial {
        let Self { mut job, first, whole } = self;
        if let Payload::Held(_, hold) = &mut job.body
            && whole
        {
            ex.held = Some(std::mem::take(hold)).filter(|_| ex.waf.holds_body());
        }
        if first.refund {
            job.tab.refund();
        }
        ex.seen.spent = job.tab.settle(first.at);
        ex.log.stop(first.stage, first.stop)
    }
}

/// Lets one upstream work. With `spares`, what is sent is kept, so that a call that failed can be tried elsewhere.
///
/// # Errors
/// The call, and what stopped it.
pub async fn once(
    p: &Arc<Policy>,
    w: &Arc<Worker>,
    ex: &mut Exchange,
    placed: Placed,
    (upstream, spares): (&Upstream, bool),
) -> Result<Reply, Failed> {
    match &upstream.target {
        Target::Local(backend) => local(p, w, ex, placed, &**backend).await,
        Target::Remote(remote) => forward(p, w, ex, placed, (remote, spares)).await,
    }
}

async fn local(
    p: &Arc<Policy>,
    w: &Arc<Worker>,
    ex: &mut Exchange,
    placed: Placed,
    backend: &dyn Backend,
) -> Result<Reply, Failed> {
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
            slot.spent = Some(Cost(0));
            let first = Stopped { stage: Stage::Upstream, stop: fault.into(), refund: true, at: now };
            return Err(Failed { job, first: Box::new(first), whole: true });
        }
    };
    job.tab.answered(Told { compute_us: Some(output.compute_us), ..Told::default() });
    ex.seen.spent = job.tab.settle(now);
    slot.spent = Some(ex.seen.spent);
    drop(slot);
    ex.log.note(Stage::Upstream, Event::Passed);
    encode(p, &job.call, &output).map(Reply::Whole).map_err(|fault| {
        let first = Stopped { stage: Stage::Output, stop: fault.into(), refund: false, at: now };
        Failed { job, first: Box::new(first), whole: false }
    })
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

async fn forward(
    p: &Policy,
    w: &Arc<Worker>,
    ex: &mut Exchange,
    placed: Placed,
    (remote, spares): (&Arc<Remote>, bool),
) -> Result<Reply, Failed> {
    let Placed { mut job, mut slot, at } = placed;
    let (mut head, body, whole) = outgoing(&mut job, spares);
    let generates = flow::generates(&job.call);
    if generates {
        // What it wrote is read off its answer, and costs.
        head.headers.remove(ACCEPT_ENCODING);
    }
    let (upload, hold) = match body.edited(&job.call.edits) {
        Payload::Held(bytes, hold) => (Upload::Held(Some(bytes)), Some(hold)),
        Payload::Streamed(body, most) => (Upload::Streamed(body, most), None),
    };
    let Admitted { verb, call, estimate, who, .. } = &*job;
    let over = match call.dialect {
        Dialect::OipGrpc => Over::Rpc,
        _ if ex.seen.rpc && !remote.rpc.is_empty() => Over::H2,
        _ => Over::Rest,
    };
    let model = call.model.and_then(|model| p.model_name(model));
    let remembers = remote.endpoints.remembers() && over == Over::Rest;
    let beginnings =
        remembers.then(|| Beginnings::of(model.unwrap_or_default(), &call.prompts, who.tenant_id, w.state.seed));
    let repeatable = *verb == Verb::Infer || head.method.is_idempotent();
    let hedges = repeatable && *verb == Verb::Infer && !call.knobs.stream;
    let want = Want { model, cost: estimate.cost.0, repeatable, hedges, beginnings: beginnings.as_ref() };
    let spoken = *verb == Verb::Infer && call.dialect != Dialect::Upload;
    let order = Order { head: upward(ex, head, spoken), upload, over, want, patience: patience(ex) };
    job.tab.begin(at);
    ex.seen.working = Some(at);
    let by = Caller { worker: w.index, ticker: &w.ticker, tasks: &w.tasks, now: at, until: deadline(ex) };
    let sent = remote.send(order, by).await;
    ex.seen.working = None;
    // Where a later rule reads something of the body, the rules keep it until then, and its room in the budget with it.
    ex.held = hold.filter(|_| ex.waf.holds_body());
    let now = w.tick(&ex.facts, &mut ex.log);
    let failed = |job, stop, refund| {
        let first = Stopped { stage: Stage::Upstream, stop, refund, at: now };
        Failed { job, first: Box::new(first), whole }
    };
    let sent = match sent {
        Ok(sent) => sent,
        Err(stop) => {
            // What took too long was perhaps worked on; a fault of our own is one of a program that runs.
            let worked = matches!(&stop, Stop::Fault(fault) if fault.origin != Origin::Upstream);
            if !worked {
                // Nor does it say what calls cost.
                slot.spent = Some(Cost(0));
            }
            let stop = match stop {
                Stop::Refuse(refusal) => turn::spread(*refusal, w.random()).into(),
                fault @ Stop::Fault(_) => fault,
            };
            return Err(failed(job, stop, !worked));
        }
    };
    note(ex, &sent);
    if whole && let Some(stop) = failure(p, &sent.response) {
        slot.spent = Some(Cost(0));
        return Err(failed(job, stop, true));
    }
    let Sent { mut response, running, alarm, retried, .. } = sent;
    let Admitted { call, mut tab, body, .. } = *job;
    tab.received(&response, retried > 0);
    if let Payload::Held(_, hold) = body
        && whole
    {
        ex.held = Some(hold).filter(|_| ex.waf.holds_body());
    }
    let flow = Flow::of(&call, response.headers());
    if generates && flow.is_none() {
        tab.learn_nothing();
    }
    if flow.as_ref().is_some_and(Flow::is_framed) {
        // A frame may be taken out.
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    let until = deadline(ex);
    alarm.reset(until);
    let lull = Lull { until, longest: remote.settings.stream_idle, quarters: None };
    let (worker, ticker) = (w.index, Arc::clone(&w.ticker));
    let reading = Reading::begun(ticker.walks());
    let pending = Pending {
        tab,
        slot,
        running,
        worker,
        ticker,
        alarm,
        lull,
        ahead: None,
        window: None,
        flow,
        fill: None,
        reading,
    };
    Ok(Reply::Stream(response, Box::new(pending)))
}

/// What goes up, taken or, with `spares`, copied out of a call; and whether all of it is still there afterwards. The room
/// that a body holds in the budget stays with what stays.
fn outgoing(job: &mut Admitted, spares: bool) -> (Head, Payload, bool) {
    if let Payload::Held(bytes, _) = &job.body
        && spares
    {
        return (job.head.clone(), Payload::Held(bytes.clone(), Hold::default()), true);
    }
    let Head { method, uri, version, headers, host } = &mut job.head;
    let head = Head {
        method: std::mem::take(method),
        uri: std::mem::take(uri),
        version: *version,
        headers: std::mem::take(headers),
        host: std::mem::take(host),
    };
    let nothing = Payload::Held(Bytes::new(), Hold::default());
    (head, std::mem::replace(&mut job.body, nothing), false)
}

/// Whether an answer is a failure that another upstream may not have.
fn failure(p: &Policy, response: &Response<Answer>) -> Option<Stop> {
    let body = response.body();
    let none = HeaderMap::new();
    let ended = body.is_rpc() && body.is_end_stream();
    let verdict = match response.status() {
        status if status.is_server_error() => p.output.verdict(status, response.headers()),
        _ if ended => p.output.rpc_verdict(body.trailers().unwrap_or(&none)),
        _ => Ok(()),
    };
    verdict.err().filter(|stop| matches!(stop, Stop::Fault(_)))
}

fn note(ex: &mut Exchange, sent: &Sent) {
    if sent.retried > 0 {
        ex.log.note(Stage::Upstream, Event::Noted(Fact::Retried, sent.retried));
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
    let credentials = ex.seen.route.as_ref().is_some_and(|route| route.forward_credentials);
    Upward { method, uri, headers, ours, credentials }
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
