//! HTTP/2 connections to model servers: shared by many calls, bounded in streams and in age.
//!
//! One task drives each connection; whoever opens a stream on it keeps the two ends of that stream on the task of the
//! exchange, so that dropping an exchange resets its stream at once. What goes over a stream is the business of `call`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tollgate_core::ruling::{Fault, Origin};
use tollgate_core::time::Tick;

use super::Caller;
use super::connect::{Address, Wire, connect};
use crate::tick::{Ticker, within};
use crate::worker::Tasks;

/// Flow-control window of a stream: what a server may send before it is read.
const STREAM_WINDOW: u32 = 256 << 10;
/// Flow-control window of a connection.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What is written to a stream and not yet sent.
const SEND_BUFFER: usize = 256 << 10;
/// Bytes of the decoded head of an answer.
const MAX_HEAD: u32 = 65_536;
/// Connections to one endpoint, of one worker: far more than full ones can be, fewer than a server that opens no stream
/// could make us open.
const MAX_CONNECTIONS: usize = 64;

/// Bounds of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MuxBounds {
    /// Streams at once; the server may allow fewer.
    pub streams: usize,
    /// A connection as old as this takes no new streams.
    pub age: Duration,
    /// How long a connection without a stream is kept.
    pub idle: Duration,
}

/// The connections of one worker to the endpoints of one upstream.
pub struct Mux {
    endpoints: Vec<Endpoint>,
}

#[derive(Default)]
struct Endpoint {
    open: Mutex<Vec<Arc<Connection>>>,
    /// One opens, the others wait for what it opens.
    opening: tokio::sync::Mutex<()>,
    /// The server chose HTTP/1.1 when it was last asked: there is nothing to wait for that another opens.
    chose_h1: AtomicBool,
    /// When opening failed last: whoever waited for that fails with it, and does not try for as long again.
    failed: AtomicU64,
}

/// One connection.
struct Connection {
    requests: SendRequest<Bytes>,
    born: Tick,
    streams: AtomicUsize,
    /// When the last stream ended.
    used: AtomicU64,
    /// No new streams: a call on it was not answered in time, and nobody knows whether the server still lives.
    suspect: AtomicBool,
}

/// What was found at a server that may speak either version of HTTP.
pub enum Reached {
    /// A place on a connection of HTTP/2.
    Place(Place),
    /// A fresh connection, for HTTP/1.1.
    Wire(Wire),
}

/// A place for one stream on a connection.
pub struct Place {
    connection: Arc<Connection>,
    ticker: Arc<Ticker>,
    /// The connection had carried streams before.
    pub kept: bool,
}

impl Mux {
    /// No connections yet, to that many endpoints.
    #[must_use]
    pub fn new(endpoints: usize) -> Self {
        Self { endpoints: (0..endpoints).map(|_| Endpoint::default()).collect() }
    }

    /// A place on a connection to `endpoint`, opening one where none has room.
    ///
    /// # Errors
    /// A retryable fault of the upstream: nothing was sent.
    pub async fn place(
        &self,
        endpoint: usize,
        address: &Address,
        limits: (MuxBounds, Duration),
        by: Caller<'_>,
    ) -> Result<Place, Fault> {
        match self.reach(endpoint, address, limits, by).await? {
            Reached::Place(place) => Ok(place),
            Reached::Wire(_) => Err(Fault::new(Origin::Upstream, "the server does not offer HTTP/2").retryable()),
        }
    }

    /// A place on a connection to `endpoint`, opening one where none has room: one of HTTP/1.1, where the server chooses
    /// that.
    ///
    /// # Errors
    /// A retryable fault of the upstream: nothing was sent.
    pub async fn reach(
        &self,
        endpoint: usize,
        address: &Address,
        (bounds, limit): (MuxBounds, Duration),
        by: Caller<'_>,
    ) -> Result<Reached, Fault> {
        let Some(of) = self.endpoints.get(endpoint) else {
            return Err(Fault::new(Origin::Own, "an endpoint without a pool"));
        };
        if let Some(place) = of.take(bounds, by) {
            return Ok(Reached::Place(place));
        }
        let since = by.ticker.now();
        let mut turn = None;
        if !of.chose_h1.load(Ordering::Relaxed) {
            turn = Some(of.opening.lock().await);
        }
        if let Some(place) = of.take(bounds, by) {
            return Ok(Reached::Place(place));
        }
        if of.chose_h1.load(Ordering::Relaxed) {
            turn = None;
        }
        if of.failed.load(Ordering::Relaxed) > since.0 {
            return Err(Fault::new(Origin::Upstream, "cannot connect, as another call has just found").retryable());
        }
        if of.open.lock().len() >= MAX_CONNECTIONS {
            return Err(Fault::new(Origin::Upstream, "its connections take no more streams").retryable());
        }
        // Boxed: opening is rare, and would make every exchange's future larger.
        let opened = Box::pin(open(address, limit, by)).await.inspect_err(|_| {
            of.failed.store(by.ticker.now().0, Ordering::Relaxed);
        })?;
        of.chose_h1.store(matches!(opened, Opened::Wire(_)), Ordering::Relaxed);
        let requests = match opened {
            Opened::Streams(requests) => requests,
            Opened::Wire(wire) => return Ok(Reached::Wire(wire)),
        };
        let connection = Connection {
            requests,
            born: by.now,
            streams: AtomicUsize::new(1),
            used: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
        };
        let connection = Arc::new(connection);
        of.open.lock().push(Arc::clone(&connection));
        drop(turn);
        Ok(Reached::Place(Place { connection, ticker: Arc::clone(by.ticker), kept: false }))
    }

    /// Closes what is idle, old, or broken.
    pub fn sweep(&self, bounds: MuxBounds, now: Tick) {
        for endpoint in &self.endpoints {
            endpoint.open.lock().retain(|connection| connection.may_stay(bounds, now));
        }
    }
}

impl Endpoint {
    fn take(&self, bounds: MuxBounds, by: Caller<'_>) -> Option<Place> {
        let mut open = self.open.lock();
        open.retain(|connection| connection.may_stay(bounds, by.now));
        let connection = open.iter().find(|connection| connection.has_room(bounds))?;
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Some(Place { connection: Arc::clone(connection), ticker: Arc::clone(by.ticker), kept: true })
    }
}

impl Connection {
    /// Whether it may carry another stream some day. One that is let go ends when its last stream has.
    fn may_stay(&self, bounds: MuxBounds, now: Tick) -> bool {
        let idle = self.streams.load(Ordering::Relaxed) == 0
            && now.since(Tick(self.used.load(Ordering::Relaxed))) >= bounds.idle;
        let old = now.since(self.born) >= bounds.age;
        !idle && !old && !self.suspect.load(Ordering::Relaxed) && self.lives()
    }

    /// Whether neither side has ended it, or asked to (GOAWAY).
    fn lives(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !matches!(self.requests.clone().poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    fn has_room(&self, bounds: MuxBounds) -> bool {
        self.streams.load(Ordering::Relaxed) < bounds.streams.min(self.requests.current_max_send_streams())
    }
}

impl Place {
    /// The connection, to open the one stream on.
    #[must_use]
    pub fn requests(&self) -> SendRequest<Bytes> {
        self.connection.requests.clone()
    }

    /// A call was not answered in time: the connection takes no more of them.
    pub fn suspect(&self) {
        self.connection.suspect.store(true, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.used.fetch_max(self.ticker.now().0, Ordering::Relaxed);
        self.connection.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What was opened.
enum Opened {
    Streams(SendRequest<Bytes>),
    /// Over TLS, where the server did not choose HTTP/2.
    Wire(Wire),
}

async fn open(address: &Address, limit: Duration, by: Caller<'_>) -> Result<Opened, Fault> {
    let wire = connect(address, limit, by.ticker).await?;
    let shaken = async {
        match wire {
            Wire::Plain(stream) => handshake(stream, by.tasks).await.map(Opened::Streams),
            Wire::Tls(stream) if stream.get_ref().1.alpn_protocol() != Some(b"h2") => {
                Ok(Opened::Wire(Wire::Tls(stream)))
            }
            Wire::Tls(stream) => handshake(stream, by.tasks).await.map(Opened::Streams),
        }
    };
    let alarm = by.ticker.alarm(by.ticker.after(limit));
    let late = |_late| Err(Fault::new(Origin::Upstream, "the HTTP/2 handshake took too long").retryable());
    within(alarm, shaken).await.unwrap_or_else(late)
}

async fn handshake<T>(io: T, tasks: &Arc<Tasks>) -> Result<SendRequest<Bytes>, Fault>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEAD);
    let shaken = builder.handshake(io).await;
    let (requests, connection) =
        shaken.map_err(|error| Fault::new(Origin::Upstream, format_args!("no HTTP/2: {error}")).retryable())?;
    // It ends with its last stream once nobody holds it; drain does not wait for what is idle.
    tasks.spawn_detached(async move {
        // Every stream on it is told.
        drop(connection.await);
    });
    Ok(requests)
}
