//! One model server: its endpoints, and one request to one of them, or to another one where that is safe.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::header::RETRY_AFTER;
use http_body::Body as _;
use tollgate_core::ruling::{Fault, Origin, Stop};
use tollgate_core::time::Tick;
use tollgate_layers::output::rpc;

use super::call::Call;
use super::checks::HealthPlan;
use super::connect::connect;
use super::fleet::{Fleet, Tried};
use super::grant::Grant;
use super::mux::{Place, Reached as Found};
use super::outlier::Outcome;
use super::race::Racing;
use super::retry::{Again, Permit, Reached, Verdict, verdict};
use super::running::{Face, Running};
use super::{
    Address, Answer, Caller, Link, LinkError, Mux, Order, Over, Patience, Pool, Sent, Settings, Upload, Upward, Want,
};
use crate::tick::{Alarm, Ticker, within};

/// A model server with one or more endpoints. Kept over a reload that does not change it.
pub struct Remote {
    /// Where it is.
    pub endpoints: Fleet,
    /// Deadlines and pool sizes.
    pub settings: Settings,
    /// Idle connections, one pool for each worker.
    pub pools: Vec<Pool>,
    /// Connections of HTTP/2 to those that choose it, shared by many requests, for each worker.
    pub streams: Vec<Mux>,
    /// Where it is for calls over gRPC.
    pub rpc: Fleet,
    /// Connections of those, shared by many calls, for each worker.
    pub muxes: Vec<Mux>,
    /// How its endpoints are asked whether they are ready, where they are.
    pub health: Option<HealthPlan>,
    /// Whoever has a token for it, where that is what it asks for.
    pub grant: Option<Arc<Grant>>,
}

/// An attempt that was answered.
pub(super) struct Got {
    pub(super) response: Response<Answer>,
    alarm: Alarm,
    /// The head of the request is still whole.
    whole: bool,
}

/// An attempt that was not.
pub(super) struct Failure {
    fault: Fault,
    reached: Reached,
    /// What was to be sent, where it came back.
    upload: Option<Upload>,
    /// What it says of the endpoint; `None` where that is not to blame.
    pub(super) outcome: Option<Outcome>,
}

/// A server that takes so many times as long as was foreseen is to blame for it.
const HASTE: u32 = 8;

impl Remote {
    /// A server with fresh pools for `workers` workers.
    #[must_use]
    pub fn new(
        (endpoints, rpc): (Fleet, Fleet),
        settings: Settings,
        health: Option<HealthPlan>,
        workers: usize,
    ) -> Self {
        let pools = (0..workers.max(1)).map(|_| Pool::new(endpoints.len())).collect();
        let streams = (0..workers.max(1)).map(|_| Mux::new(endpoints.len())).collect();
        let muxes = (0..workers.max(1)).map(|_| Mux::new(rpc.len())).collect();
        Self { endpoints, settings, pools, streams, rpc, muxes, health, grant: None }
    }

    /// The endpoints of one kind.
    #[must_use]
    pub const fn fleet(&self, face: Face) -> &Fleet {
        match face {
            Face::Rest => &self.endpoints,
            Face::Rpc => &self.rpc,
        }
    }

    /// Whether a request for `model` would be sent anywhere now.
    #[must_use]
    pub fn is_able(&self, model: Option<&str>, now: Tick) -> bool {
        [&self.endpoints, &self.rpc].into_iter().any(|fleet| fleet.is_able(model, now))
    }

    /// Sends one request to one endpoint; tries again, elsewhere if there is an elsewhere, while nothing of an answer has
    /// been passed on, sending again is safe, and the budget for that has room.
    ///
    /// # Errors
    /// `overloaded` where nothing is left to send to, or a fault of the upstream.
    pub async fn send(self: &Arc<Self>, order: Order<'_>, by: Caller<'_>) -> Result<Sent, Stop> {
        self.check_grant()?;
        let Order { mut head, upload, over, want, patience } = order;
        let face = if over == Over::Rest { Face::Rest } else { Face::Rpc };
        let fleet = self.fleet(face);
        // Where the route grants a long call little time, lateness says nothing of the server.
        let hasty = want.cost > 0 && by.until.since(by.now) < Duration::from_micros(want.cost).saturating_mul(HASTE);
        let patience = if hasty { Patience::Caller } else { patience };
        let (mut tried, mut permit, mut now, mut next) = (Tried::new(), None, by.now, upload);
        let mut pick = fleet.choose(&want, &tried, now)?;
        loop {
            let mut running = Running::begin(self, (face, pick), (want.cost, now), permit.take());
            // Over HTTP/1.1 the memory of a body must not outlive its being sent, unless it may be sent again.
            let spare = if want.repeatable || over != Over::Rest { next.again() } else { None };
            // No attempt is one too many for the list.
            let _full = tried.try_push(pick.endpoint);
            let attempt = match self.hedge_after(&want, (&tried, over)).filter(|_| spare.is_some()) {
                None => self.attempt(pick.endpoint, &mut head, (next, over, patience), by).await,
                Some(delay) => {
                    let (running, head, tried) = (&mut running, &mut head, &mut tried);
                    let racing = Racing { running, head, tried, want: &want, delay };
                    // Boxed: two attempts at once are rare, and most exchanges carry this future about.
                    Box::pin(self.raced(racing, (next, patience), by)).await
                }
            };
            let retried = u32::try_from(tried.len().saturating_sub(1)).unwrap_or(u32::MAX);
            let (reached, back, given) = match attempt {
                Ok(Got { response, alarm, whole }) => {
                    let outcome = outcome(&response);
                    running.ended(outcome.so_far(&response), || by.ticker.now());
                    if want.hedges && fleet.rules().hedge.is_some() && outcome == Outcome::Answered {
                        fleet.habits.took(by.ticker.now().since(now), want.cost);
                    }
                    let reached = if whole { Reached::status_of(&response, outcome) } else { Reached::Answer };
                    (reached, spare, Ok(Sent { response, running, alarm, retried }))
                }
                Err(Failure { fault, reached, upload, outcome }) => {
                    if let Some(outcome) = outcome {
                        running.ended(outcome, || by.ticker.now());
                    }
                    (reached, upload.or(spare), Err(fault))
                }
            };
            let Some(again) = back.filter(|_| Self::may_go_again(fleet, &want, (reached, &tried), &mut permit)) else {
                return given.map_err(Into::into);
            };
            now = by.ticker.now();
            let Ok(other) = fleet.choose(&want, &tried, now) else { return given.map_err(Into::into) };
            fleet.retries.count();
            (pick, next) = (other, again);
        }
    }

    /// Whether a request may be sent once more, with room in the budget where it needs some.
    fn may_go_again(
        fleet: &Fleet,
        want: &Want<'_>,
        (reached, tried): (Reached, &Tried),
        permit: &mut Option<Permit>,
    ) -> bool {
        let others = fleet.len().saturating_sub(tried.len());
        let again = Again { reached, repeatable: want.repeatable, cost: want.cost, attempts: tried.len(), others };
        let rules = &fleet.rules().retry;
        match verdict(&again, rules) {
            Verdict::Free => true,
            Verdict::No => false,
            Verdict::Spends => {
                *permit = fleet.retries.permit(rules, fleet.running());
                permit.is_some()
            }
        }
    }

    /// Sends to one endpoint. The fields of the answer take the place of those of `head`, which are still whole if it
    /// may be sent again.
    pub(super) async fn attempt(
        &self,
        endpoint: usize,
        head: &mut Upward,
        (upload, over, patience): (Upload, Over, Patience),
        by: Caller<'_>,
    ) -> Result<Got, Failure> {
        if over != Over::Rest {
            // Boxed: most exchanges are over HTTP/1.1, and carry this future about.
            return Box::pin(self.call(endpoint, head, (upload, over, patience), by)).await;
        }
        let address = self.endpoints.get(endpoint).ok_or_else(no_endpoint)?;
        if address.tls.is_some() {
            // Boxed for the same reason.
            return Box::pin(self.secure((endpoint, address), head, (upload, patience), by)).await;
        }
        match self.connection(endpoint, address, by).await {
            Ok((link, kept)) => self.over_link((link, kept, address), head, (upload, patience), by).await,
            Err(fault) => Err(Failure::unserved(fault, Some(upload))),
        }
    }

    /// The same over TLS, where the server chooses between HTTP/2 and HTTP/1.1.
    async fn secure(
        &self,
        (endpoint, address): (usize, &Address),
        head: &mut Upward,
        (upload, patience): (Upload, Patience),
        by: Caller<'_>,
    ) -> Result<Got, Failure> {
        let kept = self.pools.get(by.worker).and_then(|pool| pool.take(endpoint, self.oldest(by.now)));
        if let Some(link) = kept {
            return self.over_link((link, true, address), head, (upload, patience), by).await;
        }
        // A question of our own is asked on no worker, and on a connection that calls do not use.
        let own = Mux::new(if by.worker < self.streams.len() { 0 } else { self.endpoints.len() });
        match self
            .streams
            .get(by.worker)
            .unwrap_or(&own)
            .reach(endpoint, address, (self.settings.mux, self.settings.connect), by)
            .await
        {
            Ok(Found::Place(place)) => {
                self.over_stream((place, address), head, (upload, Over::Rest, patience), by).await
            }
            Ok(Found::Wire(wire)) => {
                self.over_link((Link::over(wire), false, address), head, (upload, patience), by).await
            }
            Err(fault) => Err(Failure::unserved(fault, Some(upload))),
        }
    }

    /// Over a connection of HTTP/1.1, which may be a kept one.
    async fn over_link(
        &self,
        (mut link, kept, address): (Box<Link>, bool, &Address),
        head: &mut Upward,
        (upload, patience): (Upload, Patience),
        by: Caller<'_>,
    ) -> Result<Got, Failure> {
        link.begin(head, address, upload);
        let alarm = by.ticker.alarm(self.first_byte(by));
        let Upward { method, headers, .. } = head;
        match within(&alarm, poll_fn(|cx| link.poll_head(cx, method, headers))).await {
            Ok(Ok(mut found)) => {
                let (asked, status) = (found.asked.take(), found.status);
                let mut response = Response::new(Answer::over_link(link, &found));
                *response.status_mut() = status;
                *response.headers_mut() = std::mem::take(headers);
                let whole = asked.is_some();
                *headers = asked.map(|asked| *asked).unwrap_or_default();
                Ok(Got { response, alarm, whole })
            }
            Ok(Err(error)) => Err(match error {
                _ if !link.has_begun() => Failure::unserved(no_answer(&error), Some(link.take_upload())),
                LinkError::Closed | LinkError::Io(_) if kept && !link.has_heard() => {
                    // A kept connection that was closed says nothing of the server.
                    Failure { fault: no_answer(&error), reached: Reached::Unheard, upload: None, outcome: None }
                }
                _ => Failure::unanswered(&error),
            }),
            Err(_late) => Err(self.late(patience, by)),
        }
    }

    /// The same over a stream of HTTP/2.
    async fn call(
        &self,
        endpoint: usize,
        head: &mut Upward,
        (upload, over, patience): (Upload, Over, Patience),
        by: Caller<'_>,
    ) -> Result<Got, Failure> {
        let address = self.rpc.get(endpoint).ok_or_else(no_endpoint)?;
        let mux = self.muxes.get(by.worker).ok_or_else(no_endpoint)?;
        let bounds = (self.settings.mux, self.settings.connect);
        let place = match mux.place(endpoint, address, bounds, by).await {
            Ok(place) => place,
            Err(fault) => return Err(Failure::unserved(fault, Some(upload))),
        };
        self.over_stream((place, address), head, (upload, over, patience), by).await
    }

    /// Over a stream of HTTP/2.
    async fn over_stream(
        &self,
        (place, address): (Place, &Address),
        head: &Upward,
        (upload, over, patience): (Upload, Over, Patience),
        by: Caller<'_>,
    ) -> Result<Got, Failure> {
        let kept = place.kept;
        let length = upload.size_hint().exact().filter(|length| *length > 0);
        let request = head.request(address, by, (over, length)).ok_or_else(no_endpoint)?;
        // Whoever sends it knows whether it may be sent again; what the server did not begin with may.
        let spare = if over == Over::Rest { upload.again() } else { None };
        let mut call = match Call::begin(place, request, upload, over) {
            Ok(call) => call,
            Err((error, upload)) => return Err(Failure::unserved(no_answer(&error.into()), Some(upload))),
        };
        let alarm = by.ticker.alarm(self.first_byte(by));
        match within(&alarm, poll_fn(|cx| call.poll_head(cx))).await {
            Ok(Ok(found)) => {
                let response = Response::from_parts(found, Answer::over_stream(call));
                Ok(Got { response, alarm, whole: true })
            }
            Ok(Err(error)) => Err(match &error {
                // The server said that it did not begin (RFC 9113, 8.7).
                LinkError::Stream(stream) if is_refused(stream) => Failure::unserved(no_answer(&error), spare),
                LinkError::Stream(stream) if kept && stream.is_io() => {
                    Failure { fault: no_answer(&error), reached: Reached::Unheard, upload: None, outcome: None }
                }
                _ => Failure::unanswered(&error),
            }),
            Err(_late) => {
                call.suspect();
                Err(self.late(patience, by))
            }
        }
    }

    /// When the first byte of an answer is due.
    fn first_byte(&self, by: Caller<'_>) -> Tick {
        by.now.after(self.settings.first_byte).min(by.until)
    }

    /// It did not come. A caller who waits for a millisecond must not get an endpoint ejected.
    fn late(&self, patience: Patience, by: Caller<'_>) -> Failure {
        let own = patience == Patience::Route || by.now.after(self.settings.first_byte) <= by.until;
        let fault = Fault::new(Origin::UpstreamLate, "the first byte took too long");
        Failure { fault, reached: Reached::Perhaps, upload: None, outcome: own.then_some(Outcome::Local) }
    }

    /// A connection to `endpoint`, and whether it was a kept one.
    async fn connection(&self, endpoint: usize, address: &Address, by: Caller<'_>) -> Result<(Box<Link>, bool), Fault> {
        let Caller { worker, ticker, now, .. } = by;
        let oldest = self.oldest(now);
        if let Some(kept) = self.pools.get(worker).and_then(|pool| pool.take(endpoint, oldest)) {
            return Ok((kept, true));
        }
        // Boxed: connecting is rare, and its TLS handshake would make every exchange's future 8 KB larger.
        let wire = Box::pin(connect(address, self.settings.connect, ticker)).await?;
        Ok((Link::over(wire), false))
    }

    /// Asks one endpoint on our own behalf. What it answers counts for nothing.
    ///
    /// # Errors
    /// A fault of the upstream.
    pub(super) async fn ask(
        &self,
        endpoint: usize,
        head: &mut Upward,
        by: Caller<'_>,
    ) -> Result<Response<Answer>, Fault> {
        self.check_grant()?;
        let attempt = self.attempt(endpoint, head, (Upload::Held(None), Over::Rest, Patience::Caller), by).await;
        attempt.map(|got| got.response).map_err(|failure| failure.fault)
    }

    /// Whether there is a token to show, where one is asked for.
    pub(super) fn check_grant(&self) -> Result<(), Fault> {
        self.grant.as_ref().map_or(Ok(()), |grant| grant.check())
    }

    /// Closes connections that were idle for too long.
    pub fn sweep(&self, worker: usize, ticker: &Ticker) {
        if let Some(pool) = self.pools.get(worker) {
            pool.sweep(self.oldest(ticker.now()));
        }
        for mux in self.muxes.get(worker).into_iter().chain(self.streams.get(worker)) {
            mux.sweep(self.settings.mux, ticker.now());
        }
    }

    /// When a connection that is kept now must have been used last.
    fn oldest(&self, now: Tick) -> Tick {
        let idle = u64::try_from(self.settings.idle.as_nanos()).unwrap_or(u64::MAX);
        Tick(now.0.saturating_sub(idle))
    }

    /// Keeps the connection of an answer that has been read to its end, if it can carry another one.
    pub(super) fn keep(&self, endpoint: usize, worker: usize, answer: &mut Answer, now: Tick) {
        if let (Some(pool), Some(link)) = (self.pools.get(worker), answer.take_link()) {
            pool.put(endpoint, link, now, self.settings.max_idle);
        }
    }
}

impl Failure {
    /// Nothing of it left us, or nobody began with it.
    const fn unserved(fault: Fault, upload: Option<Upload>) -> Self {
        Self { fault, reached: Reached::Unserved, upload, outcome: Some(Outcome::Local) }
    }

    fn unanswered(error: &LinkError) -> Self {
        // Where the client's part broke, the endpoint is not to blame.
        let outcome = (!matches!(error, LinkError::Upload(_))).then_some(Outcome::Local);
        Self { fault: no_answer(error), reached: Reached::Perhaps, upload: None, outcome }
    }
}

/// What the head of an answer says of the endpoint. A call of gRPC that failed says so in place of its first message,
/// under status 200.
pub(super) fn outcome(response: &Response<Answer>) -> Outcome {
    let failed = response.body().trailers().filter(|_| response.body().is_end_stream()).and_then(rpc::status_of);
    match (response.status().as_u16(), failed) {
        (200, Some(8)) | (429, _) => Outcome::Load,
        (200, Some(4 | 14)) => Outcome::Gateway,
        (200, Some(2 | 13 | 15)) => Outcome::Errored,
        (503, _) if response.headers().contains_key(RETRY_AFTER) => Outcome::Load,
        (502..=504, _) => Outcome::Gateway,
        (500.., _) => Outcome::Errored,
        _ => Outcome::Answered,
    }
}

impl Outcome {
    /// What an answer is as far as its head goes.
    fn so_far(self, response: &Response<Answer>) -> Self {
        if self == Self::Answered && !response.body().is_end_stream() { Self::Began } else { self }
    }
}

impl Reached {
    /// Of an answer that is a failure; what calls of gRPC say under status 200 has a status of HTTP that means the same.
    fn status_of(response: &Response<Answer>, outcome: Outcome) -> Self {
        match (outcome, response.status().as_u16()) {
            (Outcome::Errored, 200) => Self::Status(500),
            (Outcome::Gateway, 200) => Self::Status(503),
            (Outcome::Errored | Outcome::Gateway, status) => Self::Status(status),
            _ => Self::Answer,
        }
    }
}

pub(super) fn no_answer(error: &LinkError) -> Fault {
    Fault::new(Origin::Upstream, format_args!("no answer: {error}"))
}

fn is_refused(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

fn no_endpoint() -> Failure {
    let fault = Fault::new(Origin::Own, "the upstream has no endpoint");
    Failure { fault, reached: Reached::Perhaps, upload: None, outcome: None }
}
