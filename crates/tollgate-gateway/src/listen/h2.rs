//! One connection of HTTP/2: its codec, and the deadlines that end it or one of its streams.

use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming as IncomingBody;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tollgate_core::identity::Peer;
use tollgate_core::time::Tick;

use super::accept::{Front, answer};
use super::streams::{Streams, Watching};
use crate::snapshot::Policy;
use crate::tick::Ticker;
use crate::worker::Worker;

/// Serves one connection until either side ends it.
pub(super) async fn serve_h2<T>(worker: &Arc<Worker>, stream: T, peer: Arc<Peer>)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let policy = worker.state.policy();
    let h2 = policy.http.h2;
    let mut bounds = Bounds::new(&policy, worker.ticker.now());
    drop(policy);
    let streams = Streams::new(Arc::clone(&worker.ticker));
    let service = service_fn(|request: Request<IncomingBody>| {
        let open = streams.open();
        answer(Arc::clone(worker), Arc::clone(&peer), request, Front::H2(open))
    });
    let mut builder = http2::Builder::new(Watching(Arc::clone(&streams)));
    builder
        .max_concurrent_streams(h2.max_concurrent_streams)
        .initial_stream_window_size(h2.stream_window)
        .initial_connection_window_size(h2.connection_window)
        .max_header_list_size(h2.max_header_list_bytes);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut drain = worker.drain.clone();
    let alarm = worker.ticker.alarm(bounds.next_look(&streams, bounds.born));
    loop {
        let now = tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            _ = drain.wait_for(|draining| *draining), if bounds.left.is_none() => worker.ticker.now(),
            () = std::future::poll_fn(|cx| alarm.poll_rung(cx)) => {
                let now = worker.ticker.now();
                if bounds.is_over(&streams, now) {
                    return; // It was asked to go and has nothing left to do.
                }
                let dead = streams.cut(now, bounds.stall);
                if bounds.left.is_some() || (!dead && bounds.due(&streams, now) > now) {
                    alarm.reset(bounds.next_look(&streams, now));
                    continue;
                }
                now
            }
        };
        // A GOAWAY; running streams go on (RFC 9113 §6.8).
        bounds.left = Some(now);
        connection.as_mut().graceful_shutdown();
        alarm.reset(bounds.next_look(&streams, now));
    }
}

/// How long a connection may be what.
struct Bounds {
    born: Tick,
    /// Until its first stream.
    first: Duration,
    /// Without a stream.
    idle: Duration,
    /// At all, before it is asked to go.
    age: Duration,
    /// Of one stream: without a piece of its answer being taken.
    stall: Duration,
    /// When it was asked to go.
    left: Option<Tick>,
}

impl Bounds {
    fn new(policy: &Policy, born: Tick) -> Self {
        let (h2, deadlines) = (policy.http.h2, &policy.http.deadlines);
        Self {
            born,
            first: Duration::from_millis(deadlines.head_ms),
            idle: Duration::from_millis(h2.idle_ms),
            age: Duration::from_millis(h2.max_connection_age_ms),
            stall: Duration::from_millis(deadlines.write_stall_ms),
            left: None,
        }
    }

    /// When it is to be asked to go, as things stand.
    fn due(&self, streams: &Streams, now: Tick) -> Tick {
        let quiet = match (streams.running(), streams.last()) {
            (0, None) => self.born.after(self.first.min(self.idle)),
            (0, Some(last)) => last.after(self.idle),
            _ => now.after(self.idle),
        };
        quiet.min(self.born.after(self.age))
    }

    /// Whether it went as far as it will go by itself: it was asked to long ago, and carries nothing.
    fn is_over(&self, streams: &Streams, now: Tick) -> bool {
        let Some(left) = self.left else { return false };
        let quiet = left.max(streams.last().unwrap_or(left));
        streams.running() == 0 && now >= quiet.after(self.idle)
    }

    /// When to look again.
    fn next_look(&self, streams: &Streams, now: Tick) -> Tick {
        let end = match self.left {
            None => self.due(streams, now),
            Some(_) => now.after(self.idle),
        };
        // A stream that stalls is found up to three quarters late: by half, where none ran when it was last looked.
        let often = if streams.running() == 0 { self.stall / 2 } else { self.stall / 4 };
        end.min(now.after(often.max(Ticker::EVERY)))
    }
}
