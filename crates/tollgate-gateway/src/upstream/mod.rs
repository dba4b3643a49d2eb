//! Model servers: where they are, their queue, their connections, and one request to one of them.

mod answer;
mod call;
pub mod canary;
pub mod connect;
mod head;
mod link;
pub mod mux;
pub mod pool;
pub mod probe;
pub mod queue;
pub mod signals;
pub mod talk;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::TE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tollgate_core::backend::Backend;
use tollgate_core::ruling::{Fault, Origin};
use tollgate_core::time::Tick;
use tollgate_layers::hygiene::{Cookies, Ours, forwarded_fields};
use tollgate_layers::routes::Preset;

use crate::tick::{Alarm, Ticker, within};
use crate::worker::Tasks;
pub use answer::Answer;
use call::Call;
pub use connect::Address;
pub use link::{Link, LinkError};
pub use mux::{Mux, MuxBounds};
pub use pool::Pool;
pub use queue::{Ask, Queue, QueueBounds, Slot};
pub use signals::Signals;

/// Who answers for a model.
#[derive(Clone)]
pub enum Target {
    /// A model inside the process.
    Local(Arc<dyn Backend>),
    /// A model server.
    Remote(Arc<Remote>),
}

/// One upstream of the configuration: a target and the queue before it.
#[derive(Clone)]
pub struct Upstream {
    /// Its name.
    pub name: Box<str>,
    /// Which server it is, where the configuration says so.
    pub preset: Option<Preset>,
    /// Who answers.
    pub target: Target,
    /// The line before it.
    pub queue: Arc<Queue>,
    /// Where it tells of its load, where that matters.
    pub signals: Option<Arc<Signals>>,
}

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

/// Deadlines and pool sizes of an upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the request to the first byte of the answer.
    pub first_byte: Duration,
    /// How long a kept connection may be idle.
    pub idle: Duration,
    /// How many idle connections a worker keeps for an endpoint.
    pub max_idle: usize,
    /// Bounds of connections of HTTP/2.
    pub mux: MuxBounds,
}

/// What goes up: a body that is held whole, or a stream under a cap.
pub enum Upload {
    /// All of it.
    Held(Option<Bytes>),
    /// As it comes, at most this many bytes more.
    Streamed(Incoming, u64),
}

/// An answer whose body is still coming.
pub struct Sent {
    /// Head and body.
    pub response: Response<Answer>,
    /// Which endpoint answered.
    pub endpoint: usize,
    /// The alarm of the first byte, which can serve the rest of the answer.
    pub alarm: Alarm,
    /// Whether this was the second attempt.
    pub retried: bool,
}

/// Which worker sends.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Its number.
    pub worker: usize,
    /// Its timer.
    pub ticker: &'a Arc<Ticker>,
    /// Its tasks.
    pub tasks: &'a Arc<Tasks>,
    /// Now.
    pub now: Tick,
    /// When the request must have been answered.
    pub until: Tick,
}

/// One request, ready to be sent and perhaps sent again.
pub struct Order {
    /// Head.
    pub head: Upward,
    /// Body.
    pub upload: Upload,
    /// What carries it.
    pub over: Over,
    /// Whether it may be sent again after a kept connection died without a byte of an answer.
    pub repeatable: bool,
}

/// What carries a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Over {
    /// A connection of HTTP/1.1 that carries nothing else meanwhile.
    H1,
    /// A stream of HTTP/2, for a call of gRPC whose body nobody looked into.
    H2,
    /// A stream of HTTP/2, for a call of gRPC with one message.
    Rpc,
}

/// The head of a request. What of the client's fields goes on is decided where it is written.
pub struct Upward {
    /// Method.
    pub method: Method,
    /// Target, in origin form.
    pub uri: Uri,
    /// The client's fields.
    pub headers: HeaderMap,
    /// Our own.
    pub ours: Ours,
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
    fn turn(&self) -> usize {
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
        link.begin(head, address, upload);
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
        let wire = Box::pin(connect::connect(address, self.settings.connect, ticker)).await?;
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

fn no_answer(error: &LinkError) -> Fault {
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

impl Upload {
    /// The same body once more, if it is held.
    fn again(&self) -> Option<Self> {
        match self {
            Self::Held(bytes) => Some(Self::Held(bytes.clone())),
            Self::Streamed(..) => None,
        }
    }
}

impl Upward {
    /// The head for a stream of HTTP/2: what the client said of compression is over, and how long it waits is told anew.
    fn request(&self, address: &Address, by: Caller<'_>) -> Option<Request<()>> {
        let host = address.host_field.to_str().ok()?;
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        let scheme = if address.tls.is_some() { "https" } else { "http" };
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = format!("{scheme}://{host}{target}").parse().ok()?;
        *request.version_mut() = Version::HTTP_2;
        let mut headers = forwarded_fields(&self.headers, Cookies::Drop, &self.ours);
        if self.ours.content_type.is_some() {
            headers.remove("grpc-encoding");
            headers.remove("grpc-accept-encoding");
        }
        headers.extend(address.key.clone());
        headers.insert(TE, HeaderValue::from_static("trailers"));
        // At most eight digits (gRPC over HTTP/2, "Timeout").
        let left = by.until.since(by.now).as_millis().min(99_999_999);
        headers.insert("grpc-timeout", HeaderValue::try_from(format!("{left}m")).ok()?);
        *request.headers_mut() = headers;
        Some(request)
    }
}

/// Why an upload was broken off.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The client's body broke.
    #[error("the client's body broke off")]
    Broken(#[source] hyper::Error),
    /// It ended before its announced length.
    #[error("the client's body ended early")]
    Short,
    /// It outgrew its cap.
    #[error("the body outgrew the route's cap")]
    TooLarge,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match &mut *self {
            Self::Held(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(|b| Ok(Frame::data(b))))
            }
            Self::Streamed(body, left) => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => match left.checked_sub(data.len() as u64) {
                        Some(rest) => {
                            *left = rest;
                            Poll::Ready(Some(Ok(Frame::data(data))))
                        }
                        None => Poll::Ready(Some(Err(UploadError::TooLarge))),
                    },
                    // Trailers end the body and are dropped.
                    Err(_trailers) => Poll::Ready(None),
                },
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(UploadError::Broken(error)))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Held(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Streamed(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Held(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Streamed(body, _) => body.size_hint(),
        }
    }
}
