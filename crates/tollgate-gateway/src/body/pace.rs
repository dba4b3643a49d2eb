//! How slowly a body may come: a total, and a minimum rate over a window. No timer exists for a body that is already there.
//!
//! What it holds and what it says is decided elsewhere.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use tollgate_core::ruling::{Code, Fault, Origin, Refusal, Ruling, Stop};
use tollgate_core::time::Tick;

use crate::tick::{Alarm, Ticker};

/// How long a window of the minimum rate is.
const WINDOW: Duration = Duration::from_secs(5);

/// How slowly a body may come.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// For the whole body.
    pub total: Duration,
    /// Fewer bytes than this in a second, over a window, is too slow.
    pub min_bytes_per_sec: u64,
}

impl Pace {
    /// The same for a caller who will not wait longer than that.
    pub(super) fn within(self, timeout: Option<Duration>) -> Self {
        Self { total: timeout.map_or(self.total, |timeout| self.total.min(timeout)), ..self }
    }
}

/// The total and the minimum rate of one body. No timer exists for a body that is already there.
pub struct Pacing {
    pace: Pace,
    started: Tick,
    window: (Tick, u64),
    received: u64,
    paused: Duration,
    alarm: Option<Alarm>,
}

impl Pacing {
    pub(super) const fn new(pace: Pace, started: Tick) -> Self {
        Self { pace, started, window: (started, 0), received: 0, paused: Duration::ZERO, alarm: None }
    }

    /// Time in which we did not read does not count against the client.
    pub(super) fn pause(&mut self, waited: Duration) {
        self.paused += waited;
        self.window.0 = self.window.0.after(waited);
    }

    /// The next piece of data; trailers are dropped.
    ///
    /// # Errors
    /// `too_slow`, `bad_request`, or a fault of the client's connection.
    pub async fn next(&mut self, body: &mut Incoming, ticker: &Arc<Ticker>) -> Ruling<Option<Bytes>> {
        loop {
            let frame = std::future::poll_fn(|cx| self.poll(body, ticker, cx)).await?;
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(data) = frame.into_data() {
                self.received += data.len() as u64;
                return Ok(Some(data));
            }
        }
    }

    fn poll(
        &mut self,
        body: &mut Incoming,
        ticker: &Arc<Ticker>,
        cx: &mut Context<'_>,
    ) -> Poll<Ruling<Option<http_body::Frame<Bytes>>>> {
        if let Poll::Ready(frame) = std::pin::Pin::new(body).poll_frame(cx) {
            let broken = |error: hyper::Error| broken_body(&error);
            return Poll::Ready(frame.transpose().map_err(broken));
        }
        loop {
            let next = self.window.0.after(WINDOW).min(self.started.after(self.pace.total + self.paused));
            let alarm = self.alarm.get_or_insert_with(|| ticker.alarm(next));
            if std::pin::Pin::new(&mut *alarm).poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = ticker.now();
            if let Err(slow) = self.judge(now) {
                return Poll::Ready(Err(slow));
            }
            let next = self.window.0.after(WINDOW).min(self.started.after(self.pace.total + self.paused));
            if let Some(alarm) = &mut self.alarm {
                alarm.reset(next);
            }
        }
    }

    fn judge(&mut self, now: Tick) -> Ruling<()> {
        if now.since(self.started).saturating_sub(self.paused) >= self.pace.total {
            return Err(Refusal::new(Code::TooSlow).because("the body took longer than its deadline").into());
        }
        if now.since(self.window.0) >= WINDOW {
            let least = self.pace.min_bytes_per_sec * WINDOW.as_secs();
            if self.received - self.window.1 < least {
                return Err(Refusal::new(Code::TooSlow).because("the body came below the minimum rate").into());
            }
            self.window = (now, self.received);
        }
        Ok(())
    }
}

/// A body that ended wrongly: malformed chunks are a bad request, the rest is the client's connection.
fn broken_body(error: &hyper::Error) -> Stop {
    if error.is_parse() || error.is_user() || error.is_body_write_aborted() {
        return Refusal::new(Code::BadRequest).because("the body's framing is malformed").into();
    }
    Fault::new(Origin::Client, "the body ended before its declared length").into()
}
