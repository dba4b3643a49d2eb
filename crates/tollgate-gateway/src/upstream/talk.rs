//! One stream of HTTP/2 that carries messages both ways, until either side ends it.
//!
//! The two ways are two values, so that neither waits for the other. Dropping both resets the stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use tollgate_core::ruling::{Fault, Origin, Stop};
use tollgate_layers::output::rpc;

use super::fleet::Tried;
use super::mux::Place;
use super::outlier::Outcome;
use super::remote::no_answer;
use super::running::Face;
use super::{Caller, Over, Remote, Running, Upward, Want};
use crate::tick::Ticker;

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
    running: Option<Running>,
    ticker: Arc<Ticker>,
    place: Place,
}

impl Remote {
    /// Opens a stream to one endpoint. Nothing of a message has left us yet, so another endpoint is tried once.
    ///
    /// # Errors
    /// `overloaded` where nothing is left to send to, or a fault of the upstream.
    pub async fn talk(
        self: &Arc<Self>,
        head: &Upward,
        model: Option<&str>,
        by: Caller<'_>,
    ) -> Result<(Up, Down), Stop> {
        self.check_grant()?;
        let want = Want { model, cost: 0, repeatable: true, hedges: false, beginnings: None };
        let mut tried = Tried::new();
        loop {
            let pick = self.rpc.choose(&want, &tried, by.now)?;
            let mut running = Running::begin(self, (Face::Rpc, pick), (0, by.now), None);
            // No attempt is one too many for the list.
            let _full = tried.try_push(pick.endpoint);
            // Boxed: opening is short, and a stream carries its future about for as long as it lasts.
            match Box::pin(self.open_talk(pick.endpoint, head, by)).await {
                Ok((up, mut down)) => {
                    down.running = Some(running);
                    return Ok((up, down));
                }
                Err(fault) => {
                    running.ended(Outcome::Local, || by.ticker.now());
                    if !fault.retry || tried.len() > 1 {
                        return Err(fault.into());
                    }
                }
            }
        }
    }

    async fn open_talk(&self, endpoint: usize, head: &Upward, by: Caller<'_>) -> Result<(Up, Down), Fault> {
        let none = || Fault::new(Origin::Own, "the upstream has no endpoint for gRPC");
        let address = self.rpc.get(endpoint).ok_or_else(none)?;
        let mux = self.muxes.get(by.worker).ok_or_else(none)?;
        let bounds = (self.settings.mux, self.settings.connect);
        let place = mux.place(endpoint, address, bounds, by).await?;
        let request = head.request(address, by, (Over::Rpc, None)).ok_or_else(none)?;
        let opened = place.requests().send_request(request, false);
        let (response, stream) = opened.map_err(|error| no_answer(&error.into()).retryable())?;
        let ticker = Arc::clone(by.ticker);
        let down = Down { response: Some(response), coming: None, trailers: None, running: None, ticker, place };
        Ok((Up { stream }, down))
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
    /// What was asked on it was not answered in time.
    pub fn suspect(&self) {
        self.place.suspect();
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// What broke.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let next = self.piece().await;
        if next.is_err() {
            self.ended(Outcome::Local);
        }
        next
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        let broken = |error: h2::Error| no_answer(&error.into());
        if let Some(response) = &mut self.response {
            let (head, coming) = Pin::new(response).await.map_err(broken)?.into_parts();
            self.response = None;
            self.ended(Outcome::Answered);
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

    /// How it went, as far as that says anything about the endpoint.
    fn ended(&mut self, outcome: Outcome) {
        if let Some(running) = &mut self.running {
            running.ended(outcome, || self.ticker.now());
        }
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
