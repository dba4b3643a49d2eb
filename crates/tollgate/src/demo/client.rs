//! The demo's own client: HTTP/1.1 by hyper over rustls, trusting nothing but the development CA; and raw bytes over the
//! same TLS, for what no honest client would send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollgate_core::time::Clock;

/// No answer of the gateway may take longer than this, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most bytes of a raw answer that are read.
const MAX_RAW: u64 = 64 * 1024;

/// Who connects where.
#[derive(Clone)]
pub(super) struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    clock: Clock,
}

/// An open connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    clock: Clock,
    /// Drives the connection, until it is dropped.
    _driver: JoinSet<()>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The `x-request-id`, by which the record is found.
    pub(super) id: Option<String>,
    /// The body, if it is JSON.
    pub(super) body: Value,
    /// From the first byte sent to the last byte of the answer, without the TLS handshake.
    pub(super) took: Duration,
}

impl Client {
    pub(super) fn new(address: SocketAddr, root: CertificateDer<'static>, clock: Clock) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(root).context("trusting the development CA")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { address, tls: Arc::new(tls), clock })
    }

    /// Opens a connection, TLS included.
    pub(super) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = self.dial().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.await) });
        let host = HeaderValue::try_from(self.address.to_string())?;
        Ok(Connection { sender, host, clock: self.clock.clone(), _driver: driver })
    }

    /// Sends one request on a connection of its own.
    pub(super) async fn once(&self, request: Request<Bytes>) -> anyhow::Result<Answer> {
        self.connect().await?.send(request).await
    }

    /// Sends bytes as they are, and reads one answer.
    pub(super) async fn raw(&self, bytes: &[u8]) -> anyhow::Result<Answer> {
        let mut stream = self.dial().await?;
        let began = self.clock.now();
        stream.write_all(bytes).await?;
        stream.flush().await?;
        let mut reply = Vec::new();
        let whole = async {
            while parse(&reply).is_none() && (reply.len() as u64) < MAX_RAW {
                if stream.read_buf(&mut reply).await? == 0 {
                    break;
                }
            }
            std::io::Result::Ok(())
        };
        tokio::time::timeout(PATIENCE, whole).await.context("no answer to raw bytes")??;
        let mut answer = parse(&reply).context("what came back is no answer")?;
        answer.took = self.clock.now().since(began);
        Ok(answer)
    }

    async fn dial(&self) -> anyhow::Result<TlsStream<tokio::net::TcpStream>> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        let stream = socket.connect(self.address).await.context("connecting to the gateway")?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        connector.connect(name, stream).await.context("shaking hands with the gateway")
    }
}

impl Connection {
    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&mut self, request: Request<Bytes>) -> anyhow::Result<Answer> {
        let mut request = request.map(Full::new);
        request.headers_mut().insert(HOST, self.host.clone());
        let began = self.clock.now();
        let exchange = async {
            let response = self.sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            anyhow::Ok((head, body.collect().await?.to_bytes()))
        };
        let (head, body) = tokio::time::timeout(PATIENCE, exchange).await.context("the gateway does not answer")??;
        let took = self.clock.now().since(began);
        let id = head.headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Answer { status: head.status.as_u16(), id, body, took })
    }
}

impl Answer {
    /// The code of a refusal.
    pub(super) fn code(&self) -> Option<&str> {
        self.body.get("code").and_then(Value::as_str)
    }

    /// The body, if the model answered.
    pub(super) fn good(self) -> anyhow::Result<Self> {
        if self.status != 200 {
            bail!("the gateway answered {} `{}`", self.status, self.code().unwrap_or("?"));
        }
        Ok(self)
    }
}

/// A request without a key or a body.
pub(super) fn get(path: &'static str) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = http::Uri::from_static(path);
    request
}

/// A JSON request with a bearer key.
pub(super) fn post(path: &str, key: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    let mut request = Request::new(body.into());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::try_from(path).expect("paths of the demo are written in it");
    let headers: &mut HeaderMap = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let bearer = HeaderValue::try_from(format!("Bearer {key}")).expect("keys are letters and digits");
    headers.insert(http::header::AUTHORIZATION, bearer);
    request
}

/// A whole answer, once it is all there.
fn parse(reply: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(reply).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let (mut id, mut length) = (None, 0);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        match name.to_ascii_lowercase().as_str() {
            "x-request-id" => id = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse().ok()?,
            _ => {}
        }
    }
    let body = body.get(..length)?;
    Some(Answer { status, id, body: serde_json::from_str(body).unwrap_or_default(), took: Duration::ZERO })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_answer_is_read_once_all_of_it_is_there() {
        let reply = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 14\r\nX-Request-Id: 7\r\n\r\n{\"code\":\"oops\"}";
        assert!(parse(&reply[..reply.len() - 2]).is_none());
        let reply = [&reply[..20], b"", &reply[20..]].concat();
        let answer = parse(&reply).expect("all of it");
        assert_eq!((answer.status, answer.id.as_deref()), (400, Some("7")));
    }
}
