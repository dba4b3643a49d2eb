//! `StrictIo`: the filter between a socket and the HTTP/1 codec. No head reaches the codec before all of it was checked.
//!
//! It reads into the codec's own buffer and takes back what must wait, so a request that arrives in one piece is
//! looked at and not copied. Refused heads are replaced by a harmless one, so that the ordinary service answers them
//! in their turn. It watches over silence, slow heads and stalled writing; how long a body may take, and what any
//! request means, is decided behind the codec.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::listen::flaw::HeadFlaw;
use crate::listen::head::{Framing, HeadLimits, RawHead};
use crate::listen::heads::{Ended, Gate, HeadQueue};
use crate::listen::wire::{Step, Wire};
use crate::tick::{Alarm, Ticker};

/// What the codec sees in place of a refused head.
const REPLACEMENT: &[u8] = b"GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n";
/// How long, and how many bytes, a closing connection still reads: an unread byte would make the kernel reset the
/// connection and with it the answer that the client has not read (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 16 << 20;

/// How long a client may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadlines {
    /// From accept to the first byte, and from the first byte of a head to its last.
    pub head: Duration,
    /// From the end of a response to the first byte of the next head.
    pub idle: Duration,
    /// Without progress in writing.
    pub write_stall: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { head: seconds(10), idle: seconds(30), write_stall: seconds(30) }
    }
}

/// What a listener says about its connections.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StrictSettings {
    /// How large heads may be.
    pub limits: HeadLimits,
    /// How long a client may take.
    pub deadlines: Deadlines,
    /// Lets flawed heads through, noting the flaw: for conformance runs alone.
    pub lenient: bool,
}

/// A socket, or a TLS stream, seen through the strict head gate.
#[derive(Debug)]
pub struct StrictIo<T> {
    io: T,
    settings: StrictSettings,
    queue: Arc<HeadQueue>,
    wire: Wire,
    /// Received and not yet given to the codec. Without content it owns no memory.
    held: BytesMut,
    /// So many bytes of `held` may be given to the codec.
    cleared: usize,
    /// They begin with a head that waits for the one being served.
    withheld: bool,
    /// The client will send no more.
    eof: bool,
    /// Once `cleared` is gone, the codec sees the end.
    ended: Option<Ended>,
    watch: Watch,
    /// Something was written since the idle deadline was set.
    wrote: bool,
    reading: Alarm,
    writing: Option<Alarm>,
    stalled: bool,
    linger: Linger,
}

/// What the reading alarm is set for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Watch {
    Body,
    Busy,
    First,
    Head,
    Idle,
    /// Nothing: it has rung.
    Rung,
    /// Nothing that is due.
    Unset,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Linger {
    Not,
    Reading(usize),
    Over,
}

impl<T: AsyncRead + AsyncWrite + Unpin> StrictIo<T> {
    /// Guards `io`, whose first byte is due now. `queue` is shared with the connection's service.
    pub fn new(io: T, queue: Arc<HeadQueue>, settings: StrictSettings, ticker: &Arc<Ticker>) -> Self {
        Self {
            io,
            settings,
            queue,
            wire: Wire::new(settings.limits, settings.lenient),
            held: BytesMut::new(),
            cleared: 0,
            withheld: false,
            eof: false,
            ended: None,
            watch: Watch::First,
            wrote: false,
            reading: ticker.alarm(ticker.after(settings.deadlines.head)),
            writing: None,
            stalled: false,
            linger: Linger::Not,
        }
    }

    /// Puts bytes that were read before, to tell protocols apart, in front of what `io` will yield.
    #[must_use]
    pub fn preceded_by(mut self, bytes: &[u8]) -> Self {
        self.held.extend_from_slice(bytes);
        self
    }

    /// As hyper wants its I/O.
    pub fn into_hyper(self) -> TokioIo<Self> {
        TokioIo::new(self)
    }

    /// The socket or stream below.
    pub const fn get_ref(&self) -> &T {
        &self.io
    }

    /// Gives the codec what is cleared; true if that was something.
    fn release(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let count = self.cleared.min(buf.remaining());
        let Some(bytes) = self.held.get(..count).filter(|bytes| !bytes.is_empty()) else { return false };
        buf.put_slice(bytes);
        self.held.advance(count);
        self.cleared -= count;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        true
    }

    /// Looks at what is held; true if the codec can be given something, or the end.
    fn clear_held(&mut self) -> bool {
        if self.held.is_empty() {
            self.withheld = false;
            return false;
        }
        let mut held = std::mem::take(&mut self.held);
        let (good, verdict) = self.sift(&held);
        let rest = match &verdict {
            Verdict::Fine => BytesMut::new(),
            Verdict::Flawed(_, end) => held.split_off((*end).min(held.len())),
            Verdict::BadBody(_) | Verdict::Refused(_) => BytesMut::new(),
        };
        if verdict != Verdict::Fine {
            held.truncate(good);
        }
        self.held = held;
        self.cleared = good;
        self.obey(verdict);
        self.held.extend_from_slice(&rest);
        self.cleared > 0 || self.ended.is_some()
    }

    /// How many of `bytes`, which follow what was cleared, may pass, and what is wrong with the rest.
    fn sift(&mut self, bytes: &[u8]) -> (usize, Verdict) {
        let mut good = 0;
        self.withheld = false;
        while let Some(rest) = bytes.get(good..).filter(|rest| !rest.is_empty()) {
            if self.wire.at_head() && self.queue.gate() == Gate::Busy {
                self.withheld = true;
                break;
            }
            match self.wire.step(rest, |_| {}) {
                Step::Body(count) => good += count,
                Step::BodyFlaw(count, flaw) => return (good + count, Verdict::BadBody(flaw)),
                // Only a lenient listener gets to see a flawed one here.
                Step::Head(count, head) if head.refused.is_some() => {
                    self.watch = Watch::Unset;
                    return (good, Verdict::Flawed(head, good + count));
                }
                Step::Head(count, head) => {
                    self.watch = Watch::Unset;
                    self.queue.push(head);
                    good += count;
                }
                Step::Partial => break,
                Step::Refused(head) => return (good, Verdict::Refused(head)),
            }
        }
        (good, Verdict::Fine)
    }

    /// Ends the input where a verdict says so, behind what is cleared and, for a refused head, a harmless one.
    fn obey(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::BadBody(flaw) => self.end(Ended::BadBody, Some(flaw)),
            Verdict::Fine => {}
            Verdict::Flawed(head, _) => {
                self.held.extend_from_slice(&stand_in(head.framing));
                self.cleared = self.held.len();
                self.queue.push(head);
            }
            Verdict::Refused(head) => {
                self.queue.push(head);
                self.held.extend_from_slice(REPLACEMENT);
                self.cleared = self.held.len();
                self.watch = Watch::Unset;
                self.end(Ended::Refused, None);
            }
        }
    }

    fn end(&mut self, why: Ended, flaw: Option<HeadFlaw>) {
        self.ended = Some(why);
        self.queue.end(why, flaw);
    }

    /// Reads into the codec's buffer and takes back what may not pass yet; true if something may.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if read.is_err() || fresh.is_empty() {
            // Passed on at once, over whatever is withheld: the codec then drops the exchange of a client that left.
            self.eof = true;
            self.held = BytesMut::new();
            self.end(Ended::Left, None);
            return Poll::Ready(read.map(|()| false));
        }
        if !self.held.is_empty() {
            self.held.extend_from_slice(fresh);
            buf.set_filled(before);
            return Poll::Ready(Ok(false));
        }
        let (good, verdict) = self.sift(fresh);
        let rest = match &verdict {
            Verdict::Fine => fresh.get(good..),
            Verdict::Flawed(_, end) => fresh.get(*end..),
            Verdict::BadBody(_) | Verdict::Refused(_) => None,
        };
        let rest = rest.unwrap_or_default().to_vec();
        if verdict == Verdict::Fine {
            self.held.extend_from_slice(&rest);
        } else {
            self.obey(verdict);
            self.held.extend_from_slice(&rest);
        }
        buf.set_filled(before + good);
        Poll::Ready(Ok(good > 0))
    }

    /// Nothing can be read now. Ready if a deadline has changed that.
    fn poll_deadline(&mut self, cx: &Context<'_>) -> Poll<()> {
        loop {
            let busy = self.queue.gate() == Gate::Busy;
            let now = match (self.ended, self.wire.at_head()) {
                (None, false) => Watch::Body,
                _ if busy => Watch::Busy,
                (None, true) if self.wire.begun(self.held.len()) => Watch::Head,
                (None, true) if self.watch == Watch::First => Watch::First,
                _ => Watch::Idle,
            };
            let deadlines = self.settings.deadlines;
            if now == Watch::Body || (now == Watch::Busy && self.watch != Watch::Rung) {
                // While busy it is a reminder to look again, in case the turn ends where no poll follows: when it comes
                // matters little.
                self.watch = now;
            } else if now != self.watch || (now == Watch::Idle && self.wrote) {
                self.reading.reset_after(if now == Watch::Head { deadlines.head } else { deadlines.idle });
                self.watch = now;
                self.wrote = false;
            }
            if now == Watch::Body {
                return Poll::Pending;
            }
            ready!(self.reading.poll_rung(cx));
            match now {
                Watch::Busy | Watch::Body | Watch::Rung | Watch::Unset => self.watch = Watch::Rung,
                Watch::Head => {
                    let bytes = Bytes::from(std::mem::take(&mut self.held));
                    let refused = Some(HeadFlaw::LATE);
                    self.obey(Verdict::Refused(RawHead { bytes, framing: Framing::None, refused }));
                    return Poll::Ready(());
                }
                Watch::First | Watch::Idle => {
                    self.end(Ended::Silent, None);
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Lets a result of writing pass, or fails it if the client has not taken a byte for too long.
    fn poll_stall<R>(&mut self, cx: &Context<'_>, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if result.is_ready() {
            self.stalled = false;
            self.wrote = true;
            return result;
        }
        let wait = self.settings.deadlines.write_stall;
        let alarm = self.writing.get_or_insert_with(|| self.reading.sibling());
        if !self.stalled {
            self.stalled = true;
            alarm.reset_after(wait);
        }
        ready!(alarm.poll_rung(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether the client may be sending what nobody will read.
    fn unread(&self) -> bool {
        let unfinished = matches!(self.ended, Some(Ended::BadBody | Ended::Refused)) || !self.wire.at_head();
        !self.eof && (unfinished || !self.held.is_empty())
    }
}

/// What became of bytes that were looked at.
#[derive(Debug, Eq, PartialEq)]
enum Verdict {
    BadBody(HeadFlaw),
    Fine,
    /// A head that the codec may not see, and where its body begins: a harmless one with that body takes its place.
    Flawed(RawHead, usize),
    Refused(RawHead),
}

/// What the codec sees in place of a flawed head whose body is still to be read.
fn stand_in(framing: Framing) -> Vec<u8> {
    let framing = match framing {
        Framing::None => return REPLACEMENT.to_vec(),
        Framing::Chunked => "Transfer-Encoding: chunked".to_owned(),
        Framing::Length(length) => format!("Content-Length: {length}"),
    };
    format!("POST / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n{framing}\r\n\r\n").into_bytes()
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for StrictIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if this.release(buf) {
                return Poll::Ready(Ok(()));
            }
            match this.ended {
                // The codec would take an end now for a client that left, and drop the answer. It closes by itself.
                Some(Ended::Refused) => ready!(this.poll_deadline(cx)),
                Some(_) => return Poll::Ready(Ok(())),
                None => {}
            }
            if this.wire.at_head() && this.queue.gate() == Gate::Through {
                this.wire.go_through();
            }
            if this.clear_held() {
                continue;
            }
            let full = this.held.len() >= this.settings.limits.max_head_bytes;
            let filled = if full { Poll::Pending } else { this.poll_fill(cx, buf)? };
            match filled {
                Poll::Ready(true) => return Poll::Ready(Ok(())),
                Poll::Ready(false) => {}
                Poll::Pending if this.queue.wait(this.held.len(), this.withheld, cx.waker()) => {
                    ready!(this.poll_deadline(cx));
                }
                // Answered meanwhile: what is held may pass now.
                Poll::Pending => {}
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StrictIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(cx, buf);
        this.poll_stall(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.poll_stall(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_flush(cx);
        // A flush that had nothing to do is no progress of a response.
        let wrote = this.wrote || this.stalled;
        let result = this.poll_stall(cx, result);
        this.wrote = wrote;
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger == Linger::Not {
            let result = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.poll_stall(cx, result))?;
            this.linger = if this.unread() { Linger::Reading(LINGER_BYTES) } else { Linger::Over };
            this.reading.reset_after(LINGER);
        }
        let mut scratch = [0; 4096];
        while let Linger::Reading(left) = this.linger {
            let mut buf = ReadBuf::new(&mut scratch);
            let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, &mut buf) else {
                ready!(this.reading.poll_rung(cx));
                break;
            };
            let count = buf.filled().len();
            let more = read.is_ok() && count > 0 && count < left;
            this.linger = if more { Linger::Reading(left - count) } else { Linger::Over };
        }
        this.linger = Linger::Over;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
