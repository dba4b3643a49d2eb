//! One call over a stream of HTTP/2: the request goes out, its answer and the trailers come in, on the task of the
//! exchange.
//!
//! Dropping it before its end resets the stream. What trailers mean is decided on the way out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, response};
use http_body::{Body, Frame, SizeHint};
use tollgate_layers::output::rpc;
use tollgate_layers::protocol::frames::grpc;

use super::link::LinkError;
use super::mux::Place;
use super::{Over, Upload};

/// A call, and then the body of its answer.
pub(super) struct Call {
    over: Over,
    /// Until the head of the answer has come.
    response: Option<ResponseFuture>,
    /// The head, while the first piece of the body is awaited.
    head: Option<response::Parts>,
    coming: Option<RecvStream>,
    /// The first piece, where it was awaited with the head.
    first: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// Bytes of the body that are still to come, where the head says how many; the codec holds the server to that.
    left: Option<u64>,
    ended: bool,
    stream: SendStream<Bytes>,
    /// What is still to come from the client.
    upload: Option<Upload>,
    /// What came from it and waits for room.
    piece: Bytes,
    place: Place,
}

impl Call {
    /// Opens a stream for a request, and sends what is already there.
    ///
    /// # Errors
    /// The connection takes no more streams: nothing left us, and the upload comes back.
    pub(super) fn begin(
        place: Place,
        head: Request<()>,
        upload: Upload,
        over: Over,
    ) -> Result<Box<Self>, (h2::Error, Upload)> {
        let empty = over != Over::Rpc && upload.is_end_stream();
        let (response, stream) = match place.requests().send_request(head, empty) {
            Ok(opened) => opened,
            Err(error) => return Err((error, upload)),
        };
        let mut call = Self {
            over,
            response: Some(response),
            head: None,
            coming: None,
            first: None,
            trailers: None,
            left: None,
            ended: false,
            stream,
            upload: None,
            piece: Bytes::new(),
            place,
        };
        match upload {
            _ if empty => {}
            Upload::Held(bytes) => call.send_whole(bytes.unwrap_or_default()),
            streamed @ Upload::Streamed(..) => call.upload = Some(streamed),
        }
        Ok(Box::new(call))
    }

    /// All of it at once: what the window does not admit waits in the codec, which drops it with the stream.
    fn send_whole(&mut self, bytes: Bytes) {
        let prefix = if self.over == Over::Rpc { grpc::prefix(bytes.len()) } else { None };
        // Where nothing more can be sent, the answer says why.
        if let Some(prefix) = prefix {
            drop(self.stream.send_data(Bytes::copy_from_slice(&prefix), bytes.is_empty()));
        }
        if prefix.is_none() || !bytes.is_empty() {
            drop(self.stream.send_data(bytes, true));
        }
    }

    /// Sends, and waits for the head of the answer; with gRPC for the first piece of it as well, or for its end: until
    /// then the server may still say that it failed.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<response::Parts, LinkError>> {
        self.poll_upload(cx)?;
        if let Some(response) = &mut self.response {
            let (parts, coming) = ready!(Pin::new(response).poll(cx))?.into_parts();
            if !self.is_rpc() {
                self.ended = coming.is_end_stream();
                let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
                self.left = if self.ended { Some(0) } else { length };
            }
            (self.response, self.head, self.coming) = (None, Some(parts), Some(coming));
        }
        if self.over == Over::Rpc && self.first.is_none() && !self.ended {
            self.first = ready!(self.poll_piece(cx))?;
        }
        let Some(mut head) = self.head.take() else { return Poll::Pending };
        if self.is_rpc() && self.ended && self.trailers.is_none() && head.headers.contains_key(rpc::STATUS) {
            // An answer that is nothing but its end: its head says what trailers would.
            self.trailers = Some(head.headers.clone());
            head.headers.remove(rpc::STATUS);
            head.headers.remove(rpc::MESSAGE);
        }
        Poll::Ready(Ok(head))
    }

    /// The next piece of the answer; at its end its trailers are kept.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, LinkError>> {
        let Some(coming) = &mut self.coming else { return Poll::Ready(Err(LinkError::Closed)) };
        if let Some(piece) = ready!(coming.poll_data(cx)) {
            let piece = piece?;
            // What is taken here leaves by the client's own window: it makes room for as much.
            drop(coming.flow_control().release_capacity(piece.len()));
            self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
            return Poll::Ready(Ok(Some(piece)));
        }
        self.trailers = ready!(coming.poll_trailers(cx))?;
        self.ended = true;
        Poll::Ready(Ok(None))
    }

    /// Sends what can be sent now of a body that comes piece by piece.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), LinkError> {
        while self.upload.is_some() || !self.piece.is_empty() {
            if self.piece.is_empty() {
                let Some(upload) = &mut self.upload else { break };
                match Pin::new(upload).poll_frame(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Some(frame)) => self.piece = frame?.into_data().unwrap_or_default(),
                    Poll::Ready(None) => {
                        self.upload = None;
                        drop(self.stream.send_data(Bytes::new(), true));
                    }
                }
                continue;
            }
            self.stream.reserve_capacity(self.piece.len());
            match self.stream.poll_capacity(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(room))) => {
                    let now = self.piece.split_to(room.min(self.piece.len()));
                    drop(self.stream.send_data(now, false));
                }
                // The server takes no more: it may have answered already.
                Poll::Ready(None | Some(Err(_))) => (self.upload, self.piece) = (None, Bytes::new()),
            }
        }
        Ok(())
    }

    /// Whether it is one of gRPC.
    pub(super) fn is_rpc(&self) -> bool {
        self.over != Over::Rest
    }

    /// Where the body has ended: what came behind it.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The call was not answered in time.
    pub(super) fn suspect(&self) {
        self.place.suspect();
    }
}

impl Body for Call {
    type Data = Bytes;
    type Error = LinkError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, LinkError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        self.poll_upload(cx)?;
        Poll::Ready(ready!(self.poll_piece(cx)).map(|piece| piece.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.first.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}
