//! One model server: its endpoints, and one request to one of them.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use tollgate_core::ruling::{Fault, Origin};
use tollgate_core::time::Tick;

use super::call::Call;
use super::connect::connect;
use super::{Address, Answer, Caller, Link, LinkError, Mux, Order, Over, Pool, Sent, Settings, Upload, Upward};
use crate::tick::{Ticker, within};

/// A model server with one or more endpoints. Kept over a reload that does not change it.
pub struct Remote {
    /// Where it is.
    pub endpoints: Vec<Address>,
    /// Deadlines and pool sizes.
    pub settings: Settings,
    /// Idle connections, one pool for each worker.
    pub pools: Vec<Pool>,
    /// Where it is for calls over gRPC.
    pub rpc: Vec<Address>,
    /// Connections of those, shared by many calls, for each worker.
    pub muxes: Vec<Mux>,
    next: AtomicUsize,
}
impl Remote {
    /// A server with fresh pools for `workers` workers.
    #[must_use]
    pub fn new(endpoints: Vec<Address>, rpc: Vec<Address>, settings: Settings, workers: usize) -> Self {
        let pools = (0..workers.max(1)).map(|_| Pool::new(endpoints.len())).collect();
        let muxes = (0..workers.max(1)).map(|_| Mux::new(rpc.len())).collect();
        Self { endpoints, settings, pools, rpc, muxes, next: AtomicUsize::new(0) }
    }

    /// Sends one request to one endpoint; tries once more, elsewhere if there is an elsewhere, when nothing of an answer
    /// was seen and sending again is safe.
    ///
    /// # Errors
    /// A fault of the upstream.
    pub async fn send(&self, order: Order, by: Caller<'_>) -> Result<Sent, Fault> {
        let Order { mut head, upload, over, repeatable } = order;
        let first = self.turn();
        let spare = if repeatable { upload.again() } else { None };
        let failure = match self.attempt(first, &mut head, (upload, over), by).await {
            Ok(sent) => return Ok(sent),
            Err(failure) => failure,
        };
        let again = match failure.stage {
            // Nothing left us: what was to be sent came back as it was.
            Failed::Unsent(upload) => Some(upload),
            Failed::OnKept => spare,
            Failed::Final => None,
        };
        let Some(again) = again else { return Err(failure.fault) };
        match Box::pin(self.attempt(first + 1, &mut head, (again, over), by)).await {
            Ok(sent) => Ok(Sent { retried: true, ..sent }),
            Err(failure) => Err(failure.fault),
        }
    }

    /// Whose turn it is.
    pub(super) fn turn(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends to one endpoint. The fields of the answer take the place of those of `head`, which are still whole if it
    /// may be sent again.
    async fn attempt(
        &self,
        turn: usize,
        head: &mut Upward,
        (upload, over): (Upload, Over),
        by: Caller<'_>,
    ) -> Result<Sent, Failure> {
        if over != Over::H1 {
            // Boxed: most exchanges are over HTTP/1.1, and carry this future about.
            return Box::pin(self.call(turn, head, (upload, over), by)).await;
        }
        let endpoint = turn % self.endpoints.len().max(1);
        let address = self.endpoints.get(endpoint).ok_or_else(no_endpoint)?;
        let (mut link, kept) = match self.connection(endpoint, address, by).await {
            Ok(found) => found,
            Err(fault) => return Err(Failure { fault, stage: Failed::Unsent(upload) }),
        };
        link.begin(head, &address.host_field, upload);
        let alarm = by.ticker.alarm(by.now.after(self.settings.first_byte).min(by.until));
        let Upward { method, headers, .. } = head;
        match within(&alarm, poll_fn(|cx| link.poll_head(cx, method, headers))).await {
            Ok(Ok(found)) => {
                let mut response = Response::new(Answer::over_link(link, found));
                *response.status_mut() = found.status;
                *response.headers_mut() = std::mem::take(headers);
                Ok(Sent { response, endpoint, alarm, retried: false })
            }
            Ok(Err(error)) => {
                let stage = match error {
                    _ if !link.has_begun() => Failed::Unsent(link.take_upload()),
                    LinkError::Closed | LinkError::Io(_) if kept && !link.has_heard() => Failed::OnKept,
                    _ => Failed::Final,
                };
                Err(Failure { fault: no_answer(&error), stage })
            }
            Err(_late) => Err(Failure { fault: late(), stage: Failed::Final }),
        }
    }

    /// The same over a stream of HTTP/2.
    async fn call(
        &self,
        turn: usize,
        head: &mut Upward,
        (upload, over): (Upload, Over),
        by: Caller<'_>,
    ) -> Result<Sent, Failure> {
        let endpoint = turn % self.rpc.len().max(1);
        let address = self.rpc.get(endpoint).ok_or_else(no_endpoint)?;
        let mux = self.muxes.get(by.worker).ok_or_else(no_endpoint)?;
        let bounds = (self.settings.mux, self.settings.connect);
        let place = match mux.place(endpoint, address, bounds, by).await {
            Ok(place) => place,
            Err(fault) => return Err(Failure { fault, stage: Failed::Unsent(upload) }),
        };
        let kept = place.kept;
        let request = head.request(address, by).ok_or_else(no_endpoint)?;
        let mut call = match Call::begin(place, request, upload, over) {
            Ok(call) => call,
            Err((error, upload)) => {
                return Err(Failure { fault: no_answer(&error.into()), stage: Failed::Unsent(upload) });
            }
        };
        let alarm = by.ticker.alarm(by.now.after(self.settings.first_byte).min(by.until));
        match within(&alarm, poll_fn(|cx| call.poll_head(cx))).await {
            Ok(Ok(found)) => {
                let response = Response::from_parts(found, Answer::over_stream(call));
                Ok(Sent { response, endpoint, alarm, retried: false })
            }
            Ok(Err(error)) => {
                let again = matches!(&error, LinkError::Stream(error) if is_unserved(error, kept));
                let stage = if again { Failed::OnKept } else { Failed::Final };
                Err(Failure { fault: no_answer(&error), stage })
            }
            Err(_late) => {
                call.suspect();
                Err(Failure { fault: late(), stage: Failed::Final })
            }
        }
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

    /// Closes connections that were idle for too long.
    pub fn sweep(&self, worker: usize, ticker: &Ticker) {
        if let Some(pool) = self.pools.get(worker) {
            pool.sweep(self.oldest(ticker.now()));
        }
        if let Some(mux) = self.muxes.get(worker) {
            mux.sweep(self.settings.mux, ticker.now());
        }
    }

    /// When a connection that is kept now must have been used last.
    fn oldest(&self, now: Tick) -> Tick {
        let idle = u64::try_from(self.settings.idle.as_nanos()).unwrap_or(u64::MAX);
        Tick(now.0.saturating_sub(idle))
    }

    /// Keeps the connection of an answer that has been read to its end, if it can carry another one.
    pub fn keep(&self, endpoint: usize, worker: usize, answer: &mut Answer, now: Tick) {
        if let (Some(pool), Some(link)) = (self.pools.get(worker), answer.take_link()) {
            pool.put(endpoint, link, now, self.settings.max_idle);
        }
    }
}

pub(super) fn no_answer(error: &LinkError) -> Fault {
    Fault::new(Origin::Upstream, format_args!("no answer: {error}"))
}

fn late() -> Fault {
    Fault::new(Origin::UpstreamLate, "the first byte took too long")
}

/// Whether the server said that it did not begin (RFC 9113, 8.7), or a connection that was there before died: the common
/// race with a server that closes it.
fn is_unserved(error: &h2::Error, kept: bool) -> bool {
    let refused = error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM));
    refused || (kept && error.is_io())
}

fn no_endpoint() -> Failure {
    Failure { fault: Fault::new(Origin::Own, "the upstream has no endpoint"), stage: Failed::Final }
}

struct Failure {
    fault: Fault,
    stage: Failed,
}

/// How far a failed attempt had come.
enum Failed {
    /// Perhaps the server works on it.
    Final,
    /// A kept connection died without a byte of an answer: the common race with a server that closes idle ones.
    OnKept,
    /// Nothing of it left us.
    Unsent(Upload),
}
