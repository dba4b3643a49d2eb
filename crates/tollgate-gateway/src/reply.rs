//! The single body of every answer: whole, or streamed from a model server with the open bill in hand.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tollgate_core::ruling::{Code, Denial, Fault, Origin, Refusal, Stop};
use tollgate_core::stage::Stage;
use tollgate_core::time::Tick;
use tollgate_layers::output::rpc;

use crate::body::Hold;
use crate::cache::Fill;
use crate::exchange::{Exchange, Outcome};
use crate::flow::Flow;
use crate::listen::heads::Turn;
use crate::listen::streams::OpenStream;
use crate::problem::{Face, Figures, event, trailers};
use crate::reading::Reading;
use crate::release;
use crate::tab::Tab;
use crate::talk::Spoken;
use crate::tick::{Alarm, Ticker};
use crate::upstream::{Answer, Running, Slot};
use crate::window::Window;

/// The body of an answer.
pub struct ReplyBody {
    from: From,
    /// What came of it and was too much for one piece.
    rest: Bytes,
    /// Dropped with the body, which tells the connection that this answer is done.
    kept: Kept,
}

/// What the codec of HTTP/2 is given at once: one frame. What it is given beyond the client's window it keeps, and whether
/// the client takes that nobody sees.
const PIECE: usize = 16_384;

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
    /// Made while it is written.
    Spoken(Box<Spoken>),
    /// All of it, and what ends it.
    Whole(Option<Bytes>, Option<HeaderMap>),
}

/// An answer that is still coming. It owns the exchange: however it ends, the bill is settled and the record written.
pub struct Stream {
    body: Answer,
    open: Option<Open>,
    /// Nothing more comes, though the body itself may not have ended.
    over: bool,
    /// What it is cut for, while what came before leaves: hyper throws away what it has not written when a body breaks.
    failed: Option<Denial>,
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
    /// Its place at the endpoint whose answer it is.
    pub running: Running,
    /// The worker's number.
    pub worker: usize,
    /// The worker's timer.
    pub ticker: Arc<Ticker>,
    /// Rings when the route's deadline has passed, or while the answer flows and says nothing.
    pub alarm: Alarm,
    /// How long it may say nothing.
    pub lull: Lull,
    /// What was held back for the rules and may flow now, with its room in the budget.
    pub ahead: Option<(Bytes, Hold)>,
    /// What the rules are shown of a reply that flows.
    pub window: Option<Window>,
    /// What is read off a generating answer.
    pub flow: Option<Flow>,
    /// What is kept of it.
    pub fill: Option<Box<Fill>>,
    /// How long its client takes to read it.
    pub reading: Reading,
}

/// How long an answer that flows may say nothing. Counted in quarters, so that a piece of it costs no look at a clock.
#[derive(Clone, Copy, Debug)]
pub struct Lull {
    /// The route's deadline.
    pub until: Tick,
    /// The longest silence.
    pub longest: Duration,
    /// Quarters of that since the last piece; `None` before the answer began to flow.
    pub quarters: Option<u8>,
}

impl Pending {
    /// What is wrong with going on, if anything is: the route's deadline also passes while it is the client that is slow, and the
    /// model server always has something ready.
    fn outlived(&mut self, cx: &Context<'_>) -> Option<Fault> {
        self.reading.asked(self.ticker.walks());
        // Before the answer flows the alarm rings for the deadline alone, then for each quarter of a silence as well.
        let past = self.alarm.poll_rung(cx).is_ready() && self.ticker.now() >= self.lull.until;
        past.then(outlived)
    }

    /// What is wrong with waiting longer, if anything is.
    fn overdue(&mut self, cx: &Context<'_>) -> Option<Fault> {
        let Lull { until, longest, quarters } = self.lull;
        if quarters.is_none() {
            self.lull.quarters = Some(0);
            self.alarm.reset(self.ticker.after(longest / 4).min(until));
        }
        while self.alarm.poll_rung(cx).is_ready() {
            let now = self.ticker.now();
            if now >= until {
                return Some(outlived());
            }
            let quarters = self.lull.quarters.unwrap_or(0) + 1;
            if quarters > 4 {
                self.running.broke(now);
                return Some(Fault::new(Origin::UpstreamLate, "the answer went silent"));
            }
            self.lull.quarters = Some(quarters);
            self.alarm.reset(now.after(longest / 4).min(until));
        }
        None
    }
}

fn outlived() -> Fault {
    Fault::new(Origin::UpstreamLate, "the answer outlived the route's deadline")
}

/// Why an answer was broken off; hyper then closes the connection or resets the stream.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut")]
pub struct CutError;

impl ReplyBody {
    /// An answer that is all here.
    #[must_use]
    pub fn whole(bytes: Bytes, kept: Kept) -> Self {
        Self::new(From::Whole(Some(bytes), None), kept)
    }

    /// An answer that is made while it is written.
    #[must_use]
    pub fn spoken(spoken: Spoken, kept: Kept) -> Self {
        Self::new(From::Spoken(Box::new(spoken)), kept)
    }

    /// With trailers behind what is all here.
    #[must_use]
    pub fn ending(mut self, trailers: Option<HeaderMap>) -> Self {
        if let From::Whole(_, end) = &mut self.from {
            *end = trailers;
        }
        self
    }

    /// An answer that is still coming.
    #[must_use]
    pub fn stream(stream: Stream, kept: Kept) -> Self {
        Self::new(From::Stream(Box::new(stream)), kept)
    }

    fn new(from: From, kept: Kept) -> Self {
        if let Kept::Stream(open) = &kept {
            open.moved(true);
        }
        Self { from, rest: Bytes::new(), kept }
    }

    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutError>>> {
        match &mut self.from {
            From::Spoken(spoken) => spoken.poll(cx).map(|frame| frame.map(Ok)),
            From::Stream(stream) => Pin::new(&mut **stream).poll_frame(cx),
            From::Whole(bytes, end) => {
                let data = bytes.take().filter(|bytes| !bytes.is_empty()).map(Frame::data);
                Poll::Ready(data.or_else(|| end.take().map(Frame::trailers)).map(Ok))
            }
        }
    }

    /// At most a piece; what is more is kept for the next time.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutError>>> {
        if self.rest.is_empty() {
            match std::task::ready!(self.poll_whole(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(end))) => return Poll::Ready(Some(Ok(end))),
                Some(Err(cut)) => return Poll::Ready(Some(Err(cut))),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(self.rest.len().min(PIECE))))))
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        if !matches!(&self.kept, Kept::Stream(open) if open.is_cut()) {
            return;
        }
        match &mut self.from {
            From::Spoken(spoken) => spoken.is_unread(),
            From::Stream(stream) => stream.is_unread(),
            // Its record is written.
            From::Whole(..) => {}
        }
    }
}

/// Why an answer ends whose client does not take it.
pub fn unread() -> Stop {
    Refusal::new(Code::TooSlow).because("the client did not read its answer").into()
}

impl Stream {
    /// An answer whose body is still coming.
    #[must_use]
    pub const fn new(body: Answer, open: Open) -> Self {
        Self { body, open: Some(open), over: false, failed: None }
    }

    fn complete(&mut self) {
        let Some(Open { mut exchange, pending }) = self.open.take() else { return };
        let Pending { mut tab, mut slot, running, worker, ticker, flow, fill, reading, .. } = *pending;
        count_use(&mut exchange, &mut tab, flow.as_ref());
        if let Some(fill) = fill {
            fill.done();
        }
        tab.answered(flow.as_ref().map(Flow::told).unwrap_or_default());
        let now = ticker.now();
        slot.hindered = reading.is_slow(now.since(running.began()));
        if slot.hindered || flow.as_ref().is_some_and(Flow::is_blind) {
            tab.learn_nothing();
        }
        running.done(worker, &mut self.body, (now, !slot.hindered));
        exchange.seen.spent = tab.settle(now);
        slot.spent = Some(exchange.seen.spent);
        exchange.answered(now);
    }

    /// The model server has ended its answer: what is left of it in our hands.
    ///
    /// # Errors
    /// Over gRPC it ended by saying that it failed.
    fn end(&mut self) -> Result<Option<Frame<Bytes>>, Denial> {
        let trailers = if self.body.is_rpc() { Some(self.clean_trailers()?) } else { None };
        self.over = true;
        let rest = self.open.as_mut().and_then(|open| {
            let rest = open.pending.flow.as_mut()?.end();
            open.exchange.seen.bytes_out += rest.len() as u64;
            (!rest.is_empty()).then(|| Frame::data(rest))
        });
        self.complete();
        Ok(rest.or_else(|| trailers.map(Frame::trailers)))
    }

    /// What of the trailers leaves.
    fn clean_trailers(&mut self) -> Result<HeaderMap, Denial> {
        let mut trailers = self.body.trailers().cloned().unwrap_or_default();
        if let Some(Open { exchange, .. }) = &mut self.open {
            let output = &Arc::clone(exchange.policy()).output;
            output.rpc_verdict(&trailers).map_err(|stop| exchange.log.stop(Stage::Upstream, stop))?;
            exchange.seen.rpc_status = rpc::status_of(&trailers);
            output.clean_end(&mut trailers);
        }
        Ok(trailers)
    }

    /// Bytes that wait in front of the body.
    fn ahead(&self) -> u64 {
        let ahead = self.open.as_ref().and_then(|open| open.pending.ahead.as_ref());
        ahead.map_or(0, |(bytes, _)| bytes.len() as u64)
    }

    /// Lets a piece of the body go. `None` while a frame of it is not complete.
    ///
    /// # Errors
    /// The rules that follow the reply object, or a frame has no end.
    fn passed(&mut self, data: Bytes) -> Result<Option<Frame<Bytes>>, Denial> {
        let Some(Open { exchange, pending }) = &mut self.open else { return Ok(Some(Frame::data(data))) };
        if let Some(window) = &mut pending.window {
            window.show(&data, exchange, pending.worker)?;
        }
        release::shadow::show(exchange, &data);
        let data = match pending.flow.as_mut().map(|flow| flow.pass(data.clone())) {
            None => data,
            Some(Ok(data)) => data,
            Some(Err(too_long)) => {
                return Err(exchange.log.stop(Stage::Upstream, Fault::new(Origin::Upstream, too_long).into()));
            }
        };
        exchange.seen.bytes_out += data.len() as u64;
        pending.reading.given(pending.ticker.walks());
        pending.fill.take_if(|fill| !fill.push(&data));
        Ok((!data.is_empty()).then(|| Frame::data(data)))
    }

    /// Ends the reply at the next poll, so that what came before leaves first.
    fn fail(&mut self, denial: Option<Denial>, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutError>>> {
        let Some(denial) = denial else { return Poll::Ready(Some(Err(CutError))) };
        self.failed = Some(denial);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The model server said something.
    fn spoke(&mut self) {
        if let Some(quarters) = self.open.as_mut().and_then(|open| open.pending.lull.quarters.as_mut()) {
            *quarters = 0;
        }
    }

    fn broken(&mut self, fault: Fault) -> Option<Denial> {
        let Open { exchange, pending } = self.open.as_mut()?;
        if fault.origin == Origin::Upstream {
            pending.running.broke(pending.ticker.now());
        }
        Some(exchange.log.stop(Stage::Upstream, Stop::from(fault)))
    }

    /// Ends a reply before its end: a stream of events with a last one that says so, anything else abruptly.
    fn cut(&mut self, denial: &Denial) -> Result<Frame<Bytes>, CutError> {
        let framed = self.is_framed();
        self.over = true;
        let waiting = self.open.as_mut().and_then(|open| open.pending.flow.as_mut()).map(Flow::let_go);
        let Some(mut exchange) = self.settled() else { return Err(CutError) };
        let face = Face::of(&exchange.seen);
        let last = event(denial, exchange.facts.id, face).filter(|_| framed);
        let last = last.map(|last| Frame::data(Bytes::from([waiting.unwrap_or_default(), last].concat())));
        let end =
            (face == Face::Grpc).then(|| Frame::trailers(trailers(denial, exchange.facts.id, Figures::default())));
        exchange.seen.rpc_status = end.as_ref().map(|_| denial.code.grpc_status());
        exchange.seen.bytes_out += last.as_ref().and_then(Frame::data_ref).map_or(0, |last| last.len() as u64);
        exchange.finish(Outcome::Cut, Some(denial));
        last.or(end).ok_or(CutError)
    }

    /// Its client did not take it.
    fn is_unread(&mut self) {
        if self.failed.is_some() {
            return; // It ends for what it was cut for.
        }
        let Some(mut exchange) = self.settled() else { return };
        let denial = exchange.log.stop(Stage::Output, unread());
        exchange.finish(Outcome::Cut, Some(&denial));
    }

    fn is_framed(&self) -> bool {
        let flow = self.open.as_ref().and_then(|open| open.pending.flow.as_ref());
        flow.is_some_and(Flow::is_framed)
    }

    /// Whether everything that the model server sent has been read.
    fn is_read(&self) -> bool {
        self.ahead() == 0 && self.body.is_end_stream()
    }

    /// Settles a reply that did not come to its end; its connection is dropped with it.
    fn settled(&mut self) -> Option<Box<Exchange>> {
        let Open { mut exchange, mut pending } = self.open.take()?;
        count_use(&mut exchange, &mut pending.tab, pending.flow.as_ref());
        exchange.seen.spent = pending.tab.settle(pending.ticker.now());
        pending.slot.spent = Some(exchange.seen.spent);
        Some(exchange)
    }
}

/// Notes what an answer was, for the bill, and for the record what a generating one was.
fn count_use(exchange: &mut Exchange, tab: &mut Tab, flow: Option<&Flow>) {
    let seen = &mut exchange.seen;
    let written = flow.filter(|flow| !flow.is_blind()).map(Flow::tokens).map(|(read, written)| {
        seen.tokens_in = read.unwrap_or(seen.tokens_in);
        seen.tokens_out = written;
        seen.tokens_in.saturating_add(written)
    });
    tab.used(written, seen.bytes_in.saturating_add(seen.bytes_out));
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(denial) = self.failed.take() {
            // Nobody is there to read its last words.
            drop(self.cut(&denial));
        } else if self.is_read() {
            if let Some(flow) = self.open.as_mut().and_then(|open| open.pending.flow.as_mut()) {
                flow.end();
            }
            // hyper does not poll again once the end is known.
            self.complete();
        } else {
            // SDKs close at the last event, often before the server has ended its body: they have it all.
            let flow = self.open.as_ref().and_then(|open| open.pending.flow.as_ref());
            let outcome = if flow.is_some_and(Flow::is_done) { Outcome::Answered } else { Outcome::ClientLeft };
            if let Some(exchange) = self.settled() {
                exchange.finish(outcome, None);
            }
        }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = CutError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(denial) = self.failed.take() {
            return Poll::Ready(Some(self.cut(&denial)));
        }
        if let Some(fault) = self.open.as_mut().and_then(|open| open.pending.outlived(cx)) {
            let denial = self.broken(fault);
            return self.fail(denial, cx);
        }
        if let Some((data, _hold)) = self.open.as_mut().and_then(|open| open.pending.ahead.take())
            && !data.is_empty()
        {
            match self.passed(data) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) => {}
                Err(denial) => return self.fail(Some(denial), cx),
            }
        }
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.spoke();
                    // Trailers of an HTTP/1.1 model server say nothing that a client of ours was promised.
                    let Ok(data) = frame.into_data() else { continue };
                    match self.passed(data) {
                        Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                        Ok(None) => {}
                        Err(denial) => return self.fail(Some(denial), cx),
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let fault = Fault::new(Origin::Upstream, format_args!("the answer broke off: {error}"));
                    let denial = self.broken(fault);
                    return self.fail(denial, cx);
                }
                Poll::Ready(None) => {
                    return match self.end() {
                        Ok(last) => Poll::Ready(last.map(Ok)),
                        Err(denial) => self.fail(Some(denial), cx),
                    };
                }
                Poll::Pending => {
                    let Some(fault) = self.open.as_mut().and_then(|open| open.pending.overdue(cx)) else {
                        return Poll::Pending;
                    };
                    let denial = self.broken(fault);
                    return self.fail(denial, cx);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // Of a framed answer something may be left in our hands when the body has ended.
        self.over || (self.failed.is_none() && self.is_read() && !self.is_framed() && !self.body.is_rpc())
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_framed() {
            return SizeHint::default();
        }
        let ahead = self.ahead();
        let mut hint = self.body.size_hint();
        if ahead > 0 {
            // The upper bound first: the lower one may not rise above it.
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper.saturating_add(ahead));
            }
            hint.set_lower(hint.lower().saturating_add(ahead));
        }
        hint
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = CutError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutError>>> {
        if !matches!(self.kept, Kept::Stream(_)) {
            return self.poll_whole(cx);
        }
        let polled = self.poll_piece(cx);
        if let Kept::Stream(open) = &self.kept {
            open.moved(polled.is_ready());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        if !self.rest.is_empty() {
            return false;
        }
        match &self.from {
            From::Spoken(_) => false,
            From::Stream(stream) => stream.is_end_stream(),
            From::Whole(bytes, end) => end.is_none() && bytes.as_ref().is_none_or(Bytes::is_empty),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if !self.rest.is_empty() {
            // It has begun: its length was said.
            return SizeHint::default();
        }
        match &self.from {
            From::Spoken(_) => SizeHint::default(),
            From::Stream(stream) => stream.size_hint(),
            // A length would be a second statement of where it ends.
            From::Whole(_, Some(_)) => SizeHint::default(),
            From::Whole(bytes, None) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
        }
    }
}
