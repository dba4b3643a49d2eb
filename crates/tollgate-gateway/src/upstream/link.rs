//! One HTTP/1.1 connection to a model server: the request goes out, the head of the answer comes in, on the task of the
//! exchange itself.
//!
//! No task drives it, so an exchange that is dropped closes its connection at once, and no channel stands between the
//! two. Whether a connection is kept is decided in `answer`, what is tried again in `mod`.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::connect::{Address, Wire};
use super::head::{self, AnswerHead, Sending};
use super::{Upload, UploadError, Upward};

/// Room for one read of an answer that is small, as most are.
const ROOM: usize = 8 * 1024;
/// Room for one read of an answer that has filled all smaller ones.
const MOST_ROOM: usize = 64 * 1024;

/// A connection to a model server, and the request that is on it.
pub struct Link {
    io: Io,
    /// Received and not yet taken.
    received: BytesMut,
    room: usize,
    /// The head of the request, or of the next chunk; its first `passed` bytes have left.
    out: Vec<u8>,
    passed: usize,
    /// What follows it.
    piece: Bytes,
    upload: Option<Streaming>,
    /// All of the request has left.
    sent: bool,
    /// A byte of the request has left.
    begun: bool,
    /// A byte of an answer has come.
    heard: bool,
    /// Why nothing more can be sent.
    unsendable: Option<io::Error>,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// An upload that comes piece by piece.
struct Streaming {
    body: Upload,
    /// Bytes that were announced and not sent; `None` where it goes in chunks.
    left: Option<u64>,
    /// A chunk was sent before.
    chunked_before: bool,
}

/// Why an exchange with a model server broke.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It closed where an answer was due.
    #[error("it closed the connection")]
    Closed,
    /// The connection.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It said something that is no answer.
    #[error("{0}")]
    Malformed(&'static str),
    /// The stream, over HTTP/2.
    #[error("{0}")]
    Stream(#[from] h2::Error),
    /// The client's part of it.
    #[error("{0}")]
    Upload(#[from] UploadError),
}

impl Link {
    /// Over a fresh connection.
    pub(super) fn over(wire: Wire) -> Box<Self> {
        Self::new(match wire {
            Wire::Plain(stream) => Io::Plain(stream),
            Wire::Tls(stream) => Io::Tls(stream),
        })
    }

    fn new(io: Io) -> Box<Self> {
        Box::new(Self {
            io,
            received: BytesMut::new(),
            room: ROOM,
            out: Vec::new(),
            passed: 0,
            piece: Bytes::new(),
            upload: None,
            sent: true,
            begun: false,
            heard: false,
            unsendable: None,
        })
    }

    /// Makes a request ready to be sent; [`Self::poll_head`] sends it.
    pub(super) fn begin(&mut self, head: &Upward, to: &Address, upload: Upload) {
        (self.passed, self.sent, self.begun, self.heard) = (0, false, false, false);
        self.out.clear();
        let sending = sending(&head.method, &upload);
        head::write(&mut self.out, head, to, sending);
        match (upload, sending) {
            (_, Sending::None) => {}
            (Upload::Held(bytes), _) => self.piece = bytes.unwrap_or_default(),
            (body, Sending::Chunked) => {
                self.upload = Some(Streaming { body, left: None, chunked_before: false });
            }
            (body, Sending::Length(length)) => {
                self.upload = Some(Streaming { body, left: Some(length), chunked_before: false });
            }
        }
    }

    /// Sends, and waits for the head of the answer, whose fields replace those in `fields`. A server may answer before
    /// it has all of the request.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        fields: &mut HeaderMap,
    ) -> Poll<Result<AnswerHead, LinkError>> {
        loop {
            self.poll_upload(cx)?;
            match ready!(self.poll_receive(cx)) {
                Ok(0) => return Poll::Ready(Err(self.unsendable.take().map_or(LinkError::Closed, LinkError::Io))),
                Ok(_) => self.heard = true,
                Err(error) => return Poll::Ready(Err(self.unsendable.take().unwrap_or(error).into())),
            }
            if let Some(head) = head::take(&mut self.received, method, fields)? {
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// Sends what can be sent now.
    ///
    /// # Errors
    /// Where the upload broke. That the server takes no more is no error: it may have answered already.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), LinkError> {
        if self.sent || self.unsendable.is_some() {
            return Ok(());
        }
        match self.poll_send(cx) {
            Poll::Ready(Err(LinkError::Io(error))) => self.unsendable = Some(error),
            Poll::Ready(Err(broken)) => return Err(broken),
            Poll::Ready(Ok(())) => self.sent = true,
            Poll::Pending => {}
        }
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        loop {
            while self.passed < self.out.len() || !self.piece.is_empty() {
                let out = self.out.get(self.passed..).unwrap_or_default();
                let written = ready!(self.io.poll_write(cx, &[IoSlice::new(out), IoSlice::new(&self.piece)]))?;
                if written == 0 {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
                }
                self.begun = true;
                let of_out = written.min(out.len());
                self.passed += of_out;
                self.piece.advance(written - of_out);
            }
            // The memory of a body is counted until here: it must not outlive its being sent.
            self.piece = Bytes::new();
            let Some(upload) = &mut self.upload else {
                ready!(self.io.poll_flush(cx))?;
                return Poll::Ready(Ok(()));
            };
            self.out.clear();
            self.passed = 0;
            let frame = match upload.poll_next(cx) {
                Poll::Ready(frame) => frame?,
                Poll::Pending => {
                    ready!(self.io.poll_flush(cx))?;
                    return Poll::Pending;
                }
            };
            match frame {
                Some(data) => {
                    upload.announce(&mut self.out, data.len());
                    self.piece = data;
                }
                None => {
                    upload.announce(&mut self.out, 0);
                    self.upload = None;
                }
            }
        }
    }

    /// Reads more; 0 is the end.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.received.reserve(self.room);
        let before = self.received.capacity() - self.received.len();
        let read = match &mut self.io {
            Io::Plain(io) => pin!(io.read_buf(&mut self.received)).poll(cx),
            Io::Tls(io) => pin!(io.read_buf(&mut self.received)).poll(cx),
        };
        if matches!(read, Poll::Ready(Ok(count)) if count == before) {
            self.room = (self.room * 4).min(MOST_ROOM);
        }
        read
    }

    /// What has been received, to be taken.
    pub(super) const fn received(&mut self) -> &mut BytesMut {
        &mut self.received
    }

    /// Whether a byte of the request may have reached the server.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether a byte of an answer has come.
    pub(super) const fn has_heard(&self) -> bool {
        self.heard
    }

    /// The upload of a request of which no byte has left.
    pub(super) fn take_upload(&mut self) -> Upload {
        match self.upload.take() {
            Some(streaming) => streaming.body,
            None => Upload::Held(Some(std::mem::take(&mut self.piece))),
        }
    }

    /// Whether nothing of the last exchange is left on it.
    pub(super) fn is_clear(&self) -> bool {
        self.sent && self.received.is_empty()
    }

    /// Gives memory back that a large answer needed.
    pub(super) fn rest(&mut self) {
        if self.room > ROOM {
            (self.room, self.received) = (ROOM, BytesMut::new());
        }
    }

    /// Whether an idle connection may be used: nobody closed it, and nothing came that nobody asked for. Costs no system
    /// call while nothing has happened on it.
    pub(super) fn is_live(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut stray = [0];
        let mut stray = ReadBuf::new(&mut stray);
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(&mut cx, &mut stray).is_pending(),
            Io::Tls(io) => Pin::new(io).poll_read(&mut cx, &mut stray).is_pending(),
        }
    }
}

/// What is empty is not announced, and a GET or HEAD has no body unless its length says so.
fn sending(method: &Method, upload: &Upload) -> Sending {
    match upload.size_hint().exact() {
        Some(0) => Sending::None,
        Some(length) => Sending::Length(length),
        None if matches!(*method, Method::GET | Method::HEAD) => Sending::None,
        None => Sending::Chunked,
    }
}

impl Io {
    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, pieces),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, pieces),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }
}

impl Streaming {
    /// The next piece that is not empty: an empty chunk would be the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, LinkError>> {
        if self.left == Some(0) {
            return Poll::Ready(Ok(None));
        }
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
                let whole = self.left.is_none_or(|left| left == 0);
                return Poll::Ready(if whole { Ok(None) } else { Err(UploadError::Short.into()) });
            };
            let Ok(data) = frame?.into_data() else { continue };
            if data.is_empty() {
                continue;
            }
            if let Some(left) = &mut self.left {
                *left = left.checked_sub(data.len() as u64).ok_or(UploadError::TooLarge)?;
            }
            return Poll::Ready(Ok(Some(data)));
        }
    }

    /// Writes what stands before a chunk of `size` bytes, which is the last one if that is zero.
    fn announce(&mut self, out: &mut Vec<u8>, size: usize) {
        if self.left.is_some() {
            return;
        }
        let before = if self.chunked_before { "\r\n" } else { "" };
        let after = if size == 0 { "\r\n" } else { "" };
        out.extend_from_slice(format!("{before}{size:x}\r\n{after}").as_bytes());
        self.chunked_before = true;
    }
}
