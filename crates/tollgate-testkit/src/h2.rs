//! A small HTTP/2 client: it can send what a polite one would not.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
pub use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::dial::{self, HOST, Io};
use crate::soon;

/// One connection.
pub struct H2Client {
    requests: SendRequest<Bytes>,
    driver: JoinSet<Result<(), h2::Error>>,
}

/// One answer.
#[derive(Debug)]
pub struct H2Reply {
    /// Its status.
    pub status: u16,
    /// Its fields.
    pub fields: HeaderMap,
    /// Its body, as far as it came.
    pub body: Vec<u8>,
    /// Whether trailers came.
    pub trailers: bool,
    /// The trailers.
    pub end: HeaderMap,
    /// How it broke off, if it did.
    pub broken: Option<h2::Error>,
}

/// A request whose answer has not come.
pub struct H2Open {
    /// The answer to come.
    pub response: ResponseFuture,
    /// Where the body goes.
    pub body: SendStream<Bytes>,
}

impl H2Client {
    /// Connects in plain text, by prior knowledge.
    ///
    /// # Panics
    /// If nobody listens there, or speaks no HTTP/2.
    pub async fn plain(at: SocketAddr) -> Self {
        Self::over(dial::tcp(at).await.expect("a connection")).await
    }

    /// Connects over TLS, as a client of [`HOST`].
    ///
    /// # Panics
    /// If the handshake fails.
    pub async fn tls(at: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::over(dial::tls(at, config).await.expect("a handshake")).await
    }

    /// Connects in plain text: what it does not read of one stream stops that at `window` bytes, and no other stream.
    ///
    /// # Panics
    /// If nobody listens there, or speaks no HTTP/2.
    pub async fn narrow(at: SocketAddr, window: u32) -> Self {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(16 << 20);
        Self::shaken(dial::tcp(at).await.expect("a connection"), &builder).await
    }

    async fn over(io: impl Io + 'static) -> Self {
        Self::shaken(io, &h2::client::Builder::new()).await
    }

    async fn shaken(io: impl Io + 'static, builder: &h2::client::Builder) -> Self {
        let (requests, connection) = soon("a preface", builder.handshake(io)).await.expect("a preface");
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Self { requests, driver }
    }

    /// Sends a head; `ends` says that no body follows.
    ///
    /// # Errors
    /// If the connection takes no more requests.
    pub async fn open(&mut self, request: Request<()>, ends: bool) -> Result<H2Open, h2::Error> {
        let mut requests = soon("room for a stream", self.requests.clone().ready()).await?;
        let (response, body) = requests.send_request(request, ends)?;
        Ok(H2Open { response, body })
    }

    /// Sends one message of gRPC, and reads the answer.
    ///
    /// # Errors
    /// If there is none.
    pub async fn call(&mut self, request: Request<()>, message: &[u8]) -> Result<H2Reply, h2::Error> {
        let mut open = self.open(request, false).await?;
        drop(open.body.send_data(crate::rpc::framed(message).into(), true));
        open.reply().await
    }

    /// Sends a request with a body, and reads its answer.
    ///
    /// # Errors
    /// If there is none.
    pub async fn ask(&mut self, request: Request<()>, body: &str) -> Result<H2Reply, h2::Error> {
        let mut open = self.open(request, body.is_empty()).await?;
        if !body.is_empty() {
            // The connection may be over before the body is: the answer tells.
            drop(open.body.send_data(Bytes::copy_from_slice(body.as_bytes()), true));
        }
        open.reply().await
    }

    /// Waits until the connection is over, and says why the other side ended it, if it said.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn ended(mut self) -> Option<Reason> {
        drop(self.requests);
        let ended = soon("the connection to end", self.driver.join_next()).await;
        ended.and_then(Result::ok).and_then(Result::err).and_then(|error| error.reason())
    }

    /// Waits until the connection is over while we would still send more.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn closed_by_peer(&mut self) -> Result<(), h2::Error> {
        let ended = soon("the other side to close", self.driver.join_next()).await;
        ended.expect("asked once").expect("the driver does not panic")
    }
}

impl H2Open {
    /// Reads the answer to its end.
    ///
    /// # Errors
    /// If there is none.
    pub async fn reply(self) -> Result<H2Reply, h2::Error> {
        let response = soon("an answer", self.response).await?;
        let (parts, mut stream) = response.into_parts();
        let (status, fields) = (parts.status.as_u16(), parts.headers);
        let mut reply =
            H2Reply { status, fields, body: Vec::new(), trailers: false, end: HeaderMap::new(), broken: None };
        reply.read(&mut stream).await;
        Ok(reply)
    }
}

impl H2Reply {
    async fn read(&mut self, stream: &mut RecvStream) {
        while let Some(data) = soon("more of an answer", stream.data()).await {
            match data {
                Ok(data) => {
                    drop(stream.flow_control().release_capacity(data.len()));
                    self.body.extend_from_slice(&data);
                }
                Err(error) => {
                    self.broken = Some(error);
                    return;
                }
            }
        }
        if let Ok(Some(end)) = soon("the end of an answer", stream.trailers()).await {
            (self.trailers, self.end) = (true, end);
        }
    }

    /// The status of a call over gRPC, and what we say that it is: from the trailers, or from a head that is all there is.
    #[must_use]
    pub fn ended(&self) -> (Option<&str>, Option<&str>) {
        let from = if self.trailers { &self.end } else { &self.fields };
        let field = |name: &str| from.get(name).and_then(|value| value.to_str().ok());
        (field("grpc-status"), field("tollgate-problem"))
    }

    /// The value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(|value| value.to_str().ok())
    }

    /// The number of its exchange.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn id(&self) -> String {
        self.field("x-request-id").expect("an answer carries the number of its exchange").to_owned()
    }
}

/// The head of a request.
///
/// # Panics
/// If a field is malformed.
#[must_use]
pub fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method.parse().expect("a method");
    *request.uri_mut() = format!("http://{HOST}{path}").parse().expect("a path");
    *request.version_mut() = http::Version::HTTP_2;
    for (name, value) in fields {
        let name: http::HeaderName = name.parse().expect("a field name");
        request.headers_mut().append(name, value.parse().expect("a field value"));
    }
    request
}
