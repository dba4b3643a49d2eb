//! One stream of HTTP/2 that carries messages both ways, until either side ends it.
//!
//! The two ways are two values, so that neither waits for the other. Dropping both resets the stream.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use tollgate_core::ruling::{Fault, Origin};
use tollgate_layers::output::rpc;

use super::mux::Place;
use super::remote::no_answer;
use super::{Caller, Remote, Upward};

/// The way up.
pub struct Up {
    stream: SendStream<Bytes>,
}

/// The way down.
pub struct Down {
    response: Option<ResponseFuture>,
    coming: Option<RecvStream>,
    /// Where the head was all there is.
    trailers: Option<HeaderMap>,
    _place: Place,
}

impl Remote {
    /// Opens a stream to one endpoint. Nothing of a message has left us yet, so another endpoint is tried once.
    ///
    /// # Errors
    /// A fault of the upstream.
    pub async fn talk(&self, head: &Upward, by: Caller<'_>) -> Result<(Up, Down), Fault> {
        let first = self.turn();
        match self.open_talk(first, head, by).await {
            Err(fault) if fault.retry => self.open_talk(first + 1, head, by).await,
            opened => opened,
        }
    }

    async fn open_talk(&self, turn: usize, head: &Upward, by: Caller<'_>) -> Result<(Up, Down), Fault> {
        let none = || Fault::new(Origin::Own, "the upstream has no endpoint for gRPC");
        let endpoint = turn % self.rpc.len().max(1);
        let address = self.rpc.get(endpoint).ok_or_else(none)?;
        let mux = self.muxes.get(by.worker).ok_or_else(none)?;
        let bounds = (self.settings.mux, self.settings.connect);
        let place = mux.place(endpoint, address, bounds, by).await?;
        let request = head.request(address, by).ok_or_else(none)?;
        let opened = place.requests().send_request(request, false);
        let (response, stream) = opened.map_err(|error| no_answer(&error.into()).retryable())?;
        Ok((Up { stream }, Down { response: Some(response), coming: None, trailers: None, _place: place }))
    }
}

impl Up {
    /// Sends bytes as the server takes them. `false` where it takes no more: it has ended the stream, and the way down
    /// says how.
    pub async fn send(&mut self, mut bytes: Bytes) -> bool {
        while !bytes.is_empty() {
            self.stream.reserve_capacity(bytes.len());
            let Some(Ok(room)) = poll_fn(|cx| self.stream.poll_capacity(cx)).await else { return false };
            let now = bytes.split_to(room.min(bytes.len()));
            if self.stream.send_data(now, false).is_err() {
                return false;
            }
        }
        true
    }

    /// Nothing more will be sent.
    pub fn end(&mut self) {
        // Where it cannot be said, the stream is over.
        drop(self.stream.send_data(Bytes::new(), true));
    }
}

impl Down {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// What broke.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let broken = |error: h2::Error| no_answer(&error.into());
        if let Some(response) = &mut self.response {
            let (head, coming) = Pin::new(response).await.map_err(broken)?.into_parts();
            self.response = None;
            if head.status != http::StatusCode::OK {
                let why = format_args!("the model server answered {}", head.status.as_u16());
                return Err(Fault::new(Origin::Upstream, why));
            }
            if coming.is_end_stream() && head.headers.contains_key(rpc::STATUS) {
                self.trailers = Some(head.headers);
            }
            self.coming = Some(coming);
        }
        let Some(coming) = &mut self.coming else { return Ok(None) };
        let Some(piece) = coming.data().await else { return Ok(None) };
        let piece = piece.map_err(broken)?;
        drop(coming.flow_control().release_capacity(piece.len()));
        Ok(Some(piece))
    }

    /// What came behind the last bytes.
    ///
    /// # Errors
    /// What broke.
    pub async fn trailers(&mut self) -> Result<HeaderMap, Fault> {
        if let Some(trailers) = self.trailers.take() {
            return Ok(trailers);
        }
        let Some(coming) = &mut self.coming else { return Ok(HeaderMap::new()) };
        let trailers = coming.trailers().await.map_err(|error| no_answer(&error.into()))?;
        Ok(trailers.unwrap_or_default())
    }
}
