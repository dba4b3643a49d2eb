//! The body of a model server's answer, and the connection that it comes on.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::call::Call;
use super::head::{AnswerHead, Coming};
use super::link::{Link, LinkError};
use crate::listen::chunked::{ChunkCheck, Then};

/// The body of an answer. Dropped before its end, it closes the connection or resets the stream.
pub struct Answer {
    from: From,
}

enum From {
    Link(Linked),
    Stream(Box<Call>),
}

/// A body on a connection of HTTP/1.1.
struct Linked {
    /// Until it is kept for another request.
    link: Option<Box<Link>>,
    left: Left,
    /// Whether the server means to keep the connection.
    keep: bool,
}

/// What of the body is still to come.
enum Left {
    Chunked(Box<Chunks>),
    Close,
    Length(u64),
}

/// A body in chunks.
struct Chunks {
    check: ChunkCheck,
    /// Data of chunks that were received together.
    pieces: VecDeque<Bytes>,
    over: bool,
}

impl Answer {
    pub(super) fn over_link(link: Box<Link>, head: &AnswerHead) -> Self {
        Self { from: From::Link(Linked::new(link, head.coming, head.keep)) }
    }

    pub(super) const fn over_stream(call: Box<Call>) -> Self {
        Self { from: From::Stream(call) }
    }

    /// The connection, if it can carry another request: both sides have said all that they had to say. A stream of
    /// HTTP/2 gives its place back by being dropped.
    pub(super) fn take_link(&mut self) -> Option<Box<Link>> {
        match &mut self.from {
            From::Link(linked) => linked.take_link(),
            From::Stream(_) => None,
        }
    }

    /// Whether its end can be told from its being cut: not where it ends with its connection.
    #[must_use]
    pub fn tells_its_end(&self) -> bool {
        !matches!(&self.from, From::Link(linked) if matches!(linked.left, Left::Close))
    }

    /// Whether it is one of gRPC, which ends with trailers.
    #[must_use]
    pub fn is_rpc(&self) -> bool {
        matches!(&self.from, From::Stream(call) if call.is_rpc())
    }

    /// What came behind the body, once that has ended. Over HTTP/1.1 trailers say nothing that a client was promised.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        match &self.from {
            From::Link(_) => None,
            From::Stream(call) => call.trailers().filter(|_| call.is_rpc()),
        }
    }
}

impl Linked {
    fn new(link: Box<Link>, coming: Coming, keep: bool) -> Self {
        let left = match coming {
            Coming::Chunked => Left::Chunked(Box::new(Chunks::new())),
            Coming::Close => Left::Close,
            Coming::Length(length) => Left::Length(length),
        };
        Self { link: Some(link), left, keep }
    }

    fn take_link(&mut self) -> Option<Box<Link>> {
        let over = self.keep && self.is_end_stream();
        let mut link = self.link.take().filter(|link| over && link.is_clear())?;
        link.rest();
        Some(link)
    }

    /// A piece of the body that has been received, or its end.
    fn take(&mut self) -> Result<Option<Bytes>, LinkError> {
        let Some(link) = &mut self.link else { return Ok(None) };
        let received = link.received();
        match &mut self.left {
            Left::Chunked(chunks) => {
                if chunks.pieces.is_empty() && !chunks.over && !received.is_empty() {
                    chunks.sift(&received.split().freeze(), &mut self.keep)?;
                }
                Ok(chunks.pieces.pop_front())
            }
            Left::Close => Ok((!received.is_empty()).then(|| received.split().freeze())),
            Left::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(received.len());
                *left -= here as u64;
                Ok((here > 0).then(|| received.split_to(here).freeze()))
            }
        }
    }
}

impl Chunks {
    fn new() -> Self {
        Self { check: ChunkCheck::of_answer(), pieces: VecDeque::new(), over: false }
    }

    fn sift(&mut self, received: &Bytes, keep: &mut bool) -> Result<(), LinkError> {
        let pieces = &mut self.pieces;
        let passed = self.check.pass(received, |data| pieces.push_back(received.slice_ref(data)));
        match passed.then {
            Then::Bad(flaw) => return Err(LinkError::Malformed(flaw.why)),
            Then::Done => {
                self.over = true;
                // Something behind the end of the body is no answer to anything.
                *keep &= passed.good == received.len();
            }
            Then::More => {}
        }
        Ok(())
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = LinkError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, LinkError>>> {
        match &mut self.from {
            From::Link(linked) => Pin::new(linked).poll_frame(cx),
            From::Stream(call) => Pin::new(&mut **call).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            From::Link(linked) => linked.is_end_stream(),
            From::Stream(call) => call.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            From::Link(linked) => linked.size_hint(),
            From::Stream(call) => call.size_hint(),
        }
    }
}

impl Body for Linked {
    type Data = Bytes;
    type Error = LinkError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, LinkError>>> {
        loop {
            if let Some(data) = self.take()? {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if self.is_end_stream() {
                return Poll::Ready(None);
            }
            let Some(link) = &mut self.link else { return Poll::Ready(Some(Err(LinkError::Closed))) };
            // A server that answers early still gets the rest of the request.
            link.poll_upload(cx)?;
            if ready!(link.poll_receive(cx)).map_err(LinkError::Io)? > 0 {
                continue;
            }
            let whole = matches!(self.left, Left::Close);
            self.left = Left::Length(0);
            self.keep = false;
            return Poll::Ready(if whole { None } else { Some(Err(LinkError::Closed)) });
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.left {
            Left::Chunked(chunks) => chunks.over && chunks.pieces.is_empty(),
            Left::Close => false,
            Left::Length(left) => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.left {
            Left::Length(left) => SizeHint::with_exact(*left),
            Left::Chunked(_) | Left::Close => SizeHint::default(),
        }
    }
}
