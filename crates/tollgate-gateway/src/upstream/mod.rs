//! Model servers: where they are, their queue, their connections, and one request to one of them.

mod answer;
mod balance;
pub mod breaker;
mod call;
pub mod canary;
pub mod checks;
pub mod connect;
pub mod fleet;
pub mod grant;
mod head;
pub mod hedge;
mod link;
pub mod mux;
pub mod outlier;
pub mod pool;
pub mod prefix;
pub mod probe;
pub mod queue;
mod race;
mod remote;
pub mod retry;
mod running;
pub mod signals;
pub mod standing;
pub mod talk;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tollgate_core::backend::Backend;
use tollgate_core::time::Tick;
use tollgate_layers::auth::CREDENTIAL_HEADERS;
use tollgate_layers::hygiene::{Cookies, Ours, forwarded_fields};
use tollgate_layers::routes::Preset;

use crate::tick::{Alarm, Ticker};
use crate::worker::Tasks;
pub use answer::Answer;
pub use connect::{Address, Reach, Wire, reach};
pub use fleet::{Fleet, FleetRules, Want};
pub use link::{Link, LinkError};
pub use mux::{Mux, MuxBounds};
pub use pool::Pool;
pub use queue::{Ask, Queue, QueueBounds, Slot};
pub use remote::Remote;
pub use running::Running;
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

impl Upstream {
    /// Requests that run at its endpoints.
    #[must_use]
    pub fn running(&self) -> u64 {
        match &self.target {
            Target::Local(_) => 0,
            Target::Remote(remote) => remote.endpoints.running() + remote.rpc.running(),
        }
    }
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
    /// How long an answer may say nothing once it has begun.
    pub stream_idle: Duration,
    /// How many idle connections a worker keeps for an endpoint.
    pub max_idle: usize,
    /// Bounds of connections of HTTP/2.
    pub mux: MuxBounds,
    /// Its key was withdrawn: nothing is sent.
    pub closed: bool,
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
    /// Its place at the endpoint that answered.
    pub running: Running,
    /// The alarm of the first byte, which can serve the rest of the answer.
    pub alarm: Alarm,
    /// How often it had been sent before.
    pub retried: u32,
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
pub struct Order<'a> {
    /// Head.
    pub head: Upward,
    /// Body.
    pub upload: Upload,
    /// What carries it.
    pub over: Over,
    /// What decides where it goes, and whether it may go twice.
    pub want: Want<'a>,
    /// Whose patience ends at the deadline: an endpoint is not to blame for a caller's own.
    pub patience: Patience,
}

/// Who set the deadline of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patience {
    /// The caller, shorter than the route's.
    Caller,
    /// The route.
    Route,
}

/// What carries a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Over {
    /// A stream of HTTP/2, for a call of gRPC whose body nobody looked into.
    H2,
    /// A connection of HTTP/1.1 that carries nothing else meanwhile; a stream, where an `https://` server chooses HTTP/2.
    Rest,
    /// A stream of HTTP/2, for a call of gRPC with one message.
    Rpc,
}

/// The head of a request. What of the client's fields goes on is decided where it is written.
#[derive(Clone)]
pub struct Upward {
    /// Method.
    pub method: Method,
    /// Target, in origin form.
    pub uri: Uri,
    /// The client's fields.
    pub headers: HeaderMap,
    /// Our own.
    pub ours: Ours,
    /// The client's own credential goes on, to a server that has no key of its own.
    pub credentials: bool,
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
    /// The client's own credential, where it goes on.
    fn credentials(&self, to: &Address) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let go_on = self.credentials && to.key.is_none() && to.grant.is_none();
        self.headers.iter().filter(move |(name, _)| go_on && CREDENTIAL_HEADERS.contains(name))
    }

    /// The head for a stream of HTTP/2: what the client said of compression is over, and how long it waits is told anew.
    fn request(&self, address: &Address, by: Caller<'_>, (over, length): (Over, Option<u64>)) -> Option<Request<()>> {
        let host = address.host_field.to_str().ok()?;
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        let scheme = if address.tls.is_some() { "https" } else { "http" };
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = format!("{scheme}://{host}{target}").parse().ok()?;
        *request.version_mut() = Version::HTTP_2;
        let mut headers = forwarded_fields(&self.headers, Cookies::Drop, &self.ours);
        if over != Over::Rest && self.ours.content_type.is_some() {
            headers.remove("grpc-encoding");
            headers.remove("grpc-accept-encoding");
        }
        headers.extend(address.credential());
        for (name, value) in self.credentials(address) {
            headers.append(name.clone(), value.clone());
        }
        if over == Over::Rest {
            headers.extend(length.map(|length| (CONTENT_LENGTH, HeaderValue::from(length))));
        } else {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            // At most eight digits (gRPC over HTTP/2, "Timeout").
            let left = by.until.since(by.now).as_millis().min(99_999_999);
            headers.insert("grpc-timeout", HeaderValue::try_from(format!("{left}m")).ok()?);
        }
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
