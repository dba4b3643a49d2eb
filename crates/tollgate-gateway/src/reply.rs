//! The single body of every answer: whole, or streamed from a model server with the open bill in hand.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tollgate_core::ruling::{Fault, Origin, Stop};
use tollgate_core::stage::Stage;

use crate::exchange::{Exchange, Outcome};
use crate::listen::accept::OpenStream;
use crate::listen::heads::Turn;
use crate::pipeline::Tab;
use crate::tick::{Alarm, Ticker};
use crate::upstream::{Answer, Remote, Slot};

/// The body of an answer.
pub struct ReplyBody {
    from: From,
    /// Dropped with the body, which tells the connection that this answer is done.
    _kept: Kept,
}

/// Whatever must live as long as an answer is being written.
pub enum Kept {
    /// Nothing.
    Nothing,
    /// The stream of HTTP/2 that it goes out on.
    Stream(OpenStream),
    /// The turn on a connection of HTTP/1.1.
    Turn(Turn),
}

enum From {
    /// Streamed from a model server.
    Stream(Box<Stream>),
    /// All of it.
    Whole(Option<Bytes>),
}

/// An answer that is still coming. It owns the exchange: however it ends, the bill is settled and the record written.
pub struct Stream {
    body: Answer,
    open: Option<Open>,
    /// What broke it, while what came before leaves.
    broken: Option<Fault>,
}

/// What must be closed when a stream ends.
pub struct Open {
    /// The exchange.
    pub exchange: Box<Exchange>,
    /// The rest.
    pub pending: Box<Pending>,
}

/// What a reply that is still coming holds.
pub struct Pending {
    /// The bill.
    pub tab: Tab,
    /// The place in the upstream's line.
    pub slot: Slot,
    /// Whose connection the answer comes on.
    pub remote: Arc<Remote>,
    /// The worker's number.
    pub worker: usize,
    /// The worker's timer.
    pub ticker: Arc<Ticker>,
    /// Rings when the route's deadline has passed.
    pub alarm: Alarm,
}

/// Why an answer was broken off; hyper then closes the connection or resets the stream.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut")]
pub struct CutError;

impl ReplyBody {
    /// An answer that is all here.
    #[must_use]
    pub fn whole(bytes: Bytes, kept: Kept) -> Self {
        Self { from: From::Whole(Some(bytes)), _kept: kept }
    }

    /// An answer that is still coming.
    #[must_use]
    pub fn stream(stream: Stream, kept: Kept) -> Self {
        Self { from: From::Stream(Box::new(stream)), _kept: kept }
    }
}

impl Stream {
    /// An answer whose body is still coming.
    #[must_use]
    pub const fn new(body: Answer, open: Open) -> Self {
        Self { body, open: Some(open), broken: None }
    }

    fn complete(&mut self) {
        let Some(Open { mut exchange, pending }) = self.open.take() else { return };
        let Pending { mut tab, mut slot, remote, worker, ticker, .. } = *pending;
        let now = ticker.now();
        remote.keep(exchange.seen.endpoint.unwrap_or(0), worker, &mut self.body, now);
        exchange.seen.spent = tab.settle(now);
        slot.spent = Some(exchange.seen.spent);
        exchange.answered(now);
    }

    fn cut(&mut self, fault: Fault) -> CutError {
        if let Some(mut exchange) = self.settled() {
            let denial = exchange.log.stop(Stage::Upstream, Stop::from(fault));
            exchange.finish(Outcome::Cut, Some(&denial));
        }
        CutError
    }

    /// Settles a reply that did not come to its end; its connection is dropped with it.
    fn settled(&mut self) -> Option<Box<Exchange>> {
        let Open { mut exchange, mut pending } = self.open.take()?;
        exchange.seen.spent = pending.tab.settle(pending.ticker.now());
        pending.slot.spent = Some(exchange.seen.spent);
        Some(exchange)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(fault) = self.broken.take() {
            let _ = self.cut(fault);
        } else if self.body.is_end_stream() {
            // hyper does not poll again once the end is known.
            self.complete();
        } else if let Some(exchange) = self.settled() {
            exchange.finish(Outcome::ClientLeft, None);
        }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = CutError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutError>>> {
        if let Some(fault) = self.broken.take() {
            return Poll::Ready(Some(Err(self.cut(fault))));
        }
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers of an HTTP/1.1 model server say nothing that a client of ours was promised.
                    let Ok(data) = frame.into_data() else { continue };
                    if let Some(open) = &mut self.open {
                        open.exchange.seen.bytes_out += data.len() as u64;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(error))) => {
                    let fault = Fault::new(Origin::Upstream, format_args!("the answer broke off: {error}"));
                    // hyper throws away what it has not written when a body breaks: it is given a chance to write first.
                    self.broken = Some(fault);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    self.complete();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    if self.open.as_ref().is_some_and(|open| open.pending.alarm.poll_rung(cx).is_ready()) {
                        let fault = Fault::new(Origin::UpstreamLate, "the answer outlived the route's deadline");
                        return Poll::Ready(Some(Err(self.cut(fault))));
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = CutError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutError>>> {
        match &mut self.from {
            From::Stream(stream) => Pin::new(&mut **stream).poll_frame(cx),
            From::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            From::Stream(stream) => stream.is_end_stream(),
            From::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            From::Stream(stream) => stream.size_hint(),
            From::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
        }
    }
}
