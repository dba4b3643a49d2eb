//! The life of a request, on one screen.
//!
//! Each step returns the value that the next one needs, so the compiler enforces the order. Layers decide; modes,
//! failure policy and the journal live in `Guard` and `Gate`.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming as IncomingBody;
use tollgate_core::call::Call;
use tollgate_core::cost::{Cost, Estimate};
use tollgate_core::identity::Identity;
use tollgate_core::journal::Journal;
use tollgate_core::ruling::Denial;
use tollgate_core::time::Tick;
use tollgate_layers::auth::Asking;
use tollgate_layers::authz::{self, Late, Occasion};
use tollgate_layers::hygiene::{Head, RawVerdict};
use tollgate_layers::limits::{Demand, Payer};
use tollgate_layers::routes::{Found, Route, Verb};
use tollgate_layers::waf::{self, Asked, Content};

use crate::body::Payload;
use crate::cache;
use crate::exchange::Exchange;
use crate::firewall;
use crate::inspect::{Parts, inspect};
use crate::leave::leave;
use crate::send;
use crate::snapshot::Policy;
use crate::tab::Tab;
use crate::talk;
use crate::turn;
use crate::worker::Worker;

/// A request as it came in, from whichever codec.
pub struct Incoming {
    /// Its head.
    pub parts: http::request::Parts,
    /// What the strict head gate refused about its raw form.
    pub raw: Option<RawVerdict>,
    /// Its body, not read yet.
    pub body: IncomingBody,
    /// It came to a listener for conformance runs.
    pub lenient: bool,
}

/// A request that may go to the model: everything about it was judged, and it was paid for.
pub struct Admitted {
    /// Its head.
    pub head: Head,
    /// Its route.
    pub route: Arc<Route>,
    /// What it asks for.
    pub verb: Verb,
    /// Who asks.
    pub who: Identity,
    /// What it says.
    pub call: Call,
    /// What it is expected to cost.
    pub estimate: Estimate,
    /// What will be forwarded: exactly what was judged.
    pub body: Payload,
    /// The open bill.
    pub tab: Tab,
    /// When it was judged.
    pub at: Tick,
}

/// Order is policy: cheap before dear, identity before money, everything before the model.
///
/// # Errors
/// What the client may know of the first refusal or fault.
pub async fn judge(p: &Arc<Policy>, w: &Worker, ex: &mut Exchange, req: Incoming) -> Result<Box<Admitted>, Denial> {
    let Exchange { facts, log, seen, waf, .. } = ex; // disjoint borrows, once
    let Incoming { parts, raw, body, lenient } = req;
    let now = facts.started;
    let head = p.hygiene.demand(log, |h, notes| h.receive(parts, raw, lenient, notes))?; // framing, hosts, paths, caps
    let found = p.routes.demand(log, |r, _| r.find(&head))?; // default deny: unlisted is absent
    let route = seen.route.insert(Arc::clone(found.route));
    log.override_switches(route.switches);
    let from = p.network.ask(log, |n, _| n.admit(&facts.peer, &head))?; // lists, trusted proxies
    let from = *seen.from.insert(from.unwrap_or(facts.peer.ip));
    p.flood.ask(log, |f, _| f.check(from, now))?; // before any cryptography
    let asking = Asking { head: &head, peer: &facts.peer, from, at: now, unix_ms: facts.unix_ms, need: route.auth };
    let who = p.auth.demand_store(log, |a| a.identify(&asking)).await?;
    let who = seen.who.insert(who);
    let at = Occasion { from, unix_ms: facts.unix_ms };
    p.authz.ask(log, |z, _| z.permit(&authz::Asked::new(who, &found, head.path(), at)))?; // the model comes below
    let asked = Asked { facts, from, route: Some(route.index), thread: w.index };
    let heads = (seen.raw.as_ref(), Some(&head));
    p.waf.ask(log, |f, notes| firewall::head(f, waf, &asked, heads, notes))?; // phase 1
    let plan = p.intake.demand(log, |i, _| i.plan(&head, route))?; // class, caps, decoder
    (seen.timeout, seen.curious) = (plan.timeout, turn::curious(&head.headers));
    turn::foresee(p, log, (facts, who, from, now), (&found, &plan, seen.curious))?; // hopeless: said before the body is read
    let (body, sent) = w.reader(p, now).read(body, &plan, who, log).await?; // bytes, rate, time, ratio, budget
    seen.bytes_in = sent;
    let parts = Parts { head: &head, found: &found, body: &body, who, at };
    let call = inspect(p, w, (log, waf), parts).await?; // parse … contract, phase 2
    seen.model = call.model;
    seen.tokens_in = call.knobs.input_tokens;
    let now = w.tick(facts, log); // we may have waited
    let estimate = p.estimate(&found, &call, who); // what only we answer is free
    let payer = Payer { who, model: call.model, from, unix_ms: w.unix_ms(now) };
    let mut held = p.limits.ask_store(log, |l| l.reserve(payer, Demand::of(estimate, &call), now)).await?; // all or nothing
    held.tell(log); // budgets that only observe, or without their store
    seen.reserved = if estimate.exempt { Cost(0) } else { estimate.cost };
    let mut tab = Tab::open(p, &w.state.clock, held).of(&call, route, (who, estimate));
    tab.used(Some(call.knobs.input_tokens), sent); // until an answer says more
    let (route, verb, who) = (Arc::clone(route), found.verb, who.clone());
    Ok(Box::new(Admitted { head, route, verb, who, call, estimate, body, tab, at: now }))
}

/// Judges, waits for a place, sends, and shapes the reply.
///
/// # Errors
/// What the client may know of the first refusal or fault.
pub async fn serve(p: &Arc<Policy>, w: &Arc<Worker>, ex: &mut Exchange, req: Incoming) -> Result<send::Reply, Denial> {
    let mut job = judge(p, w, ex, req).await?;
    if let Some(reply) = send::answer_here(p, w, ex, &job).or_else(|| cache::find(p, w, ex, &mut job)) {
        return Ok(reply); // health and metadata, and what was answered before
    }
    if job.verb == Verb::Stream {
        return talk::open(p, w, ex, *job).map(send::Reply::Messages); // each message: look, limits, queue
    }
    let placed = send::enter(p, w, ex, job).await?; // fair, bounded
    let reply = send::run(p, w, ex, placed).await?; // embedded or remote
    let reply = cache::consider(ex, reply);
    leave(p, w, ex, reply).await.map(|reply| cache::keep(ex, reply)) // phases 3 and 4, then `output`
}

/// Everything that reads the whole body, in order, on whichever thread.
///
/// # Errors
/// What the client may know of the first refusal or fault.
pub fn look(p: &Policy, log: &mut Journal, waf: &mut waf::Turn, x: &View<'_>) -> Result<Call, Denial> {
    let call = p.parse.demand(log, |s, _| s.call(x.given()))?; // one strict pass, no differentials
    if let Some(model) = call.model {
        let cost = || p.estimate(x.found, &call, x.who).cost.0;
        p.authz.ask(log, |z, _| z.use_model(&x.asked(), model, Late::Parsed { call: &call, cost: &cost }))?; // only now
    }
    if matches!(x.found.verb, Verb::Infer | Verb::Stream) {
        p.contract.ask(log, |c, notes| c.check(x.found.route, &call, x.body, notes))?; // shape, dtype, range, NaN
        p.observe(log, &call); // numbers for a proposal, where it is watched
    }
    let content = Content { bytes: Some(x.body), call: &call };
    p.waf.ask(log, |f, _| f.body(waf, content, x.thread))?; // phase 2, numbers as runs
    Ok(call)
}

/// What [`look`] sees of a request.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Its head.
    pub head: &'a Head,
    /// Its route and what the path said.
    pub found: &'a Found<'a>,
    /// Its body, decoded.
    pub body: &'a Bytes,
    /// Who asks.
    pub who: &'a Identity,
    /// From where, and when.
    pub at: Occasion,
    /// A number of the thread that looks.
    pub thread: usize,
}

impl<'a> View<'a> {
    /// What `authz` is asked about it.
    #[must_use]
    pub fn asked(&self) -> authz::Asked<'a> {
        authz::Asked::new(self.who, self.found, self.head.path(), self.at)
    }

    /// What `parse` is given of it.
    #[must_use]
    pub const fn given(&self) -> tollgate_layers::parse::Given<'_> {
        tollgate_layers::parse::Given { head: self.head, found: self.found, body: self.body }
    }
}
